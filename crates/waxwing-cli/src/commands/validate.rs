use crate::load::Source;
use crate::options::GroupArgs;
use crate::output;
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use waxwing::{Engine, Module};

/// Check that modules are valid, without compiling them
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    groups: GroupArgs,

    /// Modules in the binary or text format; `-` is the standard input
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
}

impl Args {
    pub fn execute(self) -> Result<ExitCode> {
        let engine = self.groups.settings()?.engine(0)?;
        let mut code = ExitCode::SUCCESS;
        for file in &self.files {
            match validate(&engine, file) {
                Ok(()) => output::print(format_args!("{}: valid\n", file.display()))?,
                Err(error) => {
                    output::error(&error);
                    code = ExitCode::FAILURE;
                }
            }
        }
        Ok(code)
    }
}

fn validate(engine: &Engine, file: &Path) -> Result<()> {
    let wasm = Source::read(file)?.into_wasm(file)?;
    Module::validate(engine, &wasm).with_context(|| format!("`{}` is not valid", file.display()))
}
