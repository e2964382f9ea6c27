//! `waxwing objdump`: machine code, and the WebAssembly that it stems from.

use crate::code::{Code, Function};
use crate::options::GroupArgs;
use anyhow::{Context, Result};
use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{BufWriter, ErrorKind, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

/// Show the machine code of a module or an artifact, beside the WebAssembly that it is made from
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    groups: GroupArgs,

    /// Show only functions whose name contains NAME, or the one of this index
    #[arg(long, value_name = "NAME|INDEX")]
    function: Option<String>,

    /// Show the bytes of each instruction
    #[arg(long)]
    bytes: bool,

    /// A module in the binary or text format, which is compiled, or an artifact of any target; `-` is the standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

impl Args {
    pub fn execute(self) -> Result<ExitCode> {
        let mut settings = self.groups.settings()?;
        let mut code = Code::read(&self.file, &mut settings)?;
        if let Some(wanted) = &self.function {
            code.filter(wanted)?;
        }
        let mut out = BufWriter::new(std::io::stdout().lock());
        let mut print = || -> std::io::Result<()> {
            writeln!(out, "{}: {}", self.file.display(), code.target)?;
            for function in &code.functions {
                out.write_all(text(&code, function, self.bytes).as_bytes())?;
            }
            out.flush()
        };
        match print() {
            // Whoever reads has seen enough.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
            printed => {
                printed.context("failed to write the output")?;
                Ok(ExitCode::SUCCESS)
            }
        }
    }
}

fn text(code: &Code, function: &Function, bytes: bool) -> String {
    let mut text = String::new();
    let _ = write!(text, "\n{:08x} {}:", function.range.start, function.name);
    if let Some((index, _)) = function.index {
        let _ = write!(text, "  ; function {index}");
    }
    text.push('\n');
    let lines: HashMap<u32, &str> = match (&code.wasm, function.index) {
        (Some(wasm), Some((_, defined))) => wasm.function(defined).collect(),
        _ => HashMap::new(),
    };
    let mut current = None;
    for instruction in code.instructions(function) {
        let offset = code.wasm_offset(instruction.offset);
        if offset.is_some() && offset != current {
            let offset = offset.unwrap_or_default();
            let line = lines.get(&offset).map_or("", |line| line.trim_start());
            let _ = writeln!(text, "  ;; {offset:#x}  {line}");
        }
        current = offset;
        let _ = write!(text, "{:8x}:  ", instruction.offset);
        if bytes {
            let mut hex = String::new();
            for byte in code.bytes(&instruction) {
                let _ = write!(hex, "{byte:02x} ");
            }
            let _ = write!(text, "{hex:32}");
        }
        let _ = writeln!(text, "{}", instruction.text);
    }
    text
}
