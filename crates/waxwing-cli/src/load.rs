//! Modules from files: binary, text, or compiled ahead of time.

use crate::progress::Progress;
use anyhow::{Context, Result, anyhow, bail, ensure};
use std::fs::File;
use std::io::Read;
use std::path::Path;
use waxwing::{Engine, Module, Precompiled};

/// Modules smaller than this compile faster than a spinner's thread starts.
const LARGE: usize = 64 << 10;

/// What a file holds.
pub enum Source {
    /// A module in the binary format, translated if the file holds text.
    Wasm(Vec<u8>),
    /// An ELF file, which should be an artifact.
    Elf,
}

impl Source {
    /// Reads the file at `path`; `-` is the standard input.
    ///
    /// Artifacts are not read: they are mapped when they are loaded.
    ///
    /// # Errors
    ///
    /// Fails, naming the file, if it cannot be read, or if it holds text that
    /// is not a module.
    pub fn read(path: &Path) -> Result<Source> {
        let bytes = if path == Path::new("-") {
            let mut bytes = Vec::new();
            std::io::stdin()
                .lock()
                .read_to_end(&mut bytes)
                .context("failed to read the standard input")?;
            bytes
        } else {
            match read_unless_elf(path)
                .with_context(|| format!("failed to read `{}`", path.display()))?
            {
                Some(bytes) => bytes,
                None => return Ok(Source::Elf),
            }
        };
        ensure!(
            !bytes.is_empty(),
            "failed to read `{}`: it is empty",
            path.display()
        );
        let wasm = if bytes.starts_with(b"\0asm") {
            bytes
        } else {
            wat::parse_bytes(&bytes)
                .map_err(|mut error| {
                    error.set_path(path);
                    anyhow!("failed to parse `{}` as text: {error}", path.display())
                })?
                .into_owned()
        };
        ensure!(
            !wasmparser::Parser::is_component(&wasm),
            "`{}` is a component, and only core modules are supported",
            path.display()
        );
        Ok(Source::Wasm(wasm))
    }

    /// The module's bytes in the binary format.
    ///
    /// # Errors
    ///
    /// Fails for artifacts, which a command that works on wasm cannot take.
    pub fn into_wasm(self, path: &Path) -> Result<Vec<u8>> {
        match self {
            Source::Wasm(bytes) => Ok(bytes),
            Source::Elf => bail!(
                "`{}` is an ELF file, and a WebAssembly module (binary or text) is needed",
                path.display()
            ),
        }
    }

    /// The module, compiled by `engine` or loaded from the artifact.
    ///
    /// `allow_precompiled` is the user's word that artifacts are trusted.
    pub fn into_module(
        self,
        engine: &Engine,
        path: &Path,
        allow_precompiled: bool,
    ) -> Result<Module> {
        match self {
            Source::Wasm(bytes) => compile(engine, path, &bytes),
            Source::Elf => load_artifact(engine, path, allow_precompiled),
        }
    }
}

fn read_unless_elf(path: &Path) -> std::io::Result<Option<Vec<u8>>> {
    let mut file = File::open(path)?;
    let mut bytes = Vec::new();
    (&mut file).take(4).read_to_end(&mut bytes)?;
    if bytes == b"\x7fELF" {
        return Ok(None);
    }
    file.read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

fn compile(engine: &Engine, path: &Path, bytes: &[u8]) -> Result<Module> {
    with_progress(path, bytes, || Module::new(engine, bytes))
}

/// Does `work` on the module at `path`, and names the file in its errors.
pub fn with_progress<T>(path: &Path, bytes: &[u8], work: impl FnOnce() -> Result<T>) -> Result<T> {
    let _progress =
        (bytes.len() >= LARGE).then(|| Progress::start(format!("compiling {}", path.display())));
    work().with_context(|| format!("failed to compile `{}`", path.display()))
}

fn load_artifact(engine: &Engine, path: &Path, allow_precompiled: bool) -> Result<Module> {
    match engine.detect_precompiled_file(path) {
        Ok(Some(Precompiled::Module)) => {}
        Ok(_) => bail!(
            "failed to load `{}`: it is an ELF file, but not a compiled module",
            path.display()
        ),
        Err(error) => {
            return Err(error.context(format!("failed to read `{}`", path.display())));
        }
    }
    ensure!(
        allow_precompiled,
        "`{}` is a compiled module, whose machine code is run as it is: pass \
         `--allow-precompiled` if you trust where it comes from",
        path.display()
    );
    // SAFETY: with the option the user vouches that the file was made by this
    // engine's compiler and is not changed while it is mapped.
    unsafe { Module::deserialize_file(engine, path) }
        .with_context(|| format!("failed to load `{}`", path.display()))
}
