//! What modules are made from: the binary format, or the text format.

use crate::Result;
use anyhow::{Context, bail};
use std::borrow::Cow;
use std::fs;
use std::path::Path;

/// Bytes of a module in the binary format, from bytes in the binary or the text format. Errors
/// name `path`.
pub(super) fn binary<'a>(bytes: &'a [u8], path: Option<&Path>) -> Result<Cow<'a, [u8]>> {
    if bytes.starts_with(b"\x7fELF") {
        bail!(
            "{} a precompiled artifact or another ELF file, not a WebAssembly module: artifacts \
             are loaded by `Module::deserialize`",
            match path {
                Some(path) => format!("`{}` is", path.display()),
                None => "the bytes are".to_string(),
            }
        );
    }
    #[cfg(feature = "wat")]
    {
        wat::parse_bytes(bytes).map_err(|mut error| {
            if let Some(path) = path {
                error.set_path(path);
            }
            error.into()
        })
    }
    #[cfg(not(feature = "wat"))]
    Ok(Cow::Borrowed(bytes))
}

/// The contents of a file.
pub(super) fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("failed to read `{}`", path.display()))
}
