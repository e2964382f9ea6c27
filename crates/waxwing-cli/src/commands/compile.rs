use crate::load::{self, Source};
use crate::options::GroupArgs;
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Compile a module ahead of time, to an artifact for `waxwing run --allow-precompiled`
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    groups: GroupArgs,

    /// The artifact to write; FILE with the extension .cwasm if not given
    #[arg(short, long, value_name = "OUT")]
    output: Option<PathBuf>,

    /// The module, in the binary or text format; `-` is the standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

impl Args {
    pub fn execute(self) -> Result<ExitCode> {
        let mut settings = self.groups.settings()?;
        let file = &self.file;
        let output = match self.output {
            Some(output) => output,
            None if file == Path::new("-") => PathBuf::from("stdin.cwasm"),
            None => file.with_extension("cwasm"),
        };
        let wasm = Source::read(file)?.into_wasm(file)?;
        let engine = settings.engine(wasm.len())?;
        let artifact = load::with_progress(file, &wasm, || engine.precompile_module(&wasm))?;
        write(&output, &artifact)
            .with_context(|| format!("failed to write `{}`", output.display()))?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Replaces the file at `path` at once, so that a process that has the old
/// artifact mapped keeps it, and nobody sees half of the new one.
fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    if path.metadata().is_ok_and(|metadata| !metadata.is_file()) {
        // A device or a pipe cannot be replaced, only written to.
        return std::fs::write(path, bytes);
    }
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".{}.tmp", std::process::id()));
    let temporary = path.with_file_name(name);
    std::fs::write(&temporary, bytes)
        .and_then(|()| std::fs::rename(&temporary, path))
        .inspect_err(|_| {
            // The first error is the one that matters.
            let _ = std::fs::remove_file(&temporary);
        })
}
