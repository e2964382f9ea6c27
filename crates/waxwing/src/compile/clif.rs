//! Files of intermediate representation, for [`Config::emit_clif`](crate::Config::emit_clif).

use crate::Result;
use anyhow::Context;
use std::fs;
use std::path::Path;

pub(super) struct ClifFiles<'a> {
    directory: &'a Path,
}

impl<'a> ClifFiles<'a> {
    pub(super) fn new(directory: &'a Path) -> Result<Self> {
        fs::create_dir_all(directory).with_context(|| {
            format!(
                "failed to make the directory `{}` for CLIF",
                directory.display()
            )
        })?;
        Ok(ClifFiles { directory })
    }

    pub(super) fn write(&self, name: &str, text: &str) -> Result<()> {
        let path = self.directory.join(format!("{name}.clif"));
        fs::write(&path, text).with_context(|| format!("failed to write `{}`", path.display()))
    }
}
