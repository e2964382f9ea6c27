//! `waxwing explore`: a page that shows WebAssembly beside machine code.

mod page;

use crate::code::Code;
use crate::options::GroupArgs;
use crate::output;
use anyhow::{Context, Result, ensure};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Write a page of HTML that shows a module's text beside its machine code, linked line by line
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    groups: GroupArgs,

    /// The page to write; FILE with the extension .explore.html if not given
    #[arg(short, long, value_name = "OUT")]
    output: Option<PathBuf>,

    /// Show only functions whose name contains NAME, or the one of this index
    #[arg(long, value_name = "NAME|INDEX")]
    function: Option<String>,

    /// Show the bytes of each instruction, too, which make the page about twice as large
    #[arg(long)]
    bytes: bool,

    /// The module, in the binary or text format; `-` is the standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

impl Args {
    pub fn execute(self) -> Result<ExitCode> {
        let mut settings = self.groups.settings()?;
        let mut code = Code::read(&self.file, &mut settings)?;
        ensure!(
            code.wasm.is_some(),
            "`{}` is an artifact, which does not have the module's text: `waxwing objdump` shows its code",
            self.file.display()
        );
        if let Some(wanted) = &self.function {
            code.filter(wanted)?;
        }
        let path = match self.output {
            Some(path) => path,
            None if self.file == Path::new("-") => PathBuf::from("stdin.explore.html"),
            None => self.file.with_extension("explore.html"),
        };
        let name = self.file.file_name().unwrap_or(self.file.as_os_str());
        let page = page::html(&name.to_string_lossy(), &code, self.bytes);
        std::fs::write(&path, page)
            .with_context(|| format!("failed to write `{}`", path.display()))?;
        output::print(format_args!("{}\n", path.display()))?;
        Ok(ExitCode::SUCCESS)
    }
}
