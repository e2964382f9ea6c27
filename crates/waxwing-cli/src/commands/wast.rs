use crate::options::GroupArgs;
use crate::output;
use anyhow::{Context, Result};
use std::path::PathBuf;
use std::process::ExitCode;
use waxwing_wast::{Report, SpectestOutput, WastContext};

/// Run specification scripts (.wast)
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    groups: GroupArgs,

    /// Scripts; each runs in a store of its own
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
}

impl Args {
    pub fn execute(self) -> Result<ExitCode> {
        let engine = self.groups.settings()?.engine(0)?;
        let mut total = Report::default();
        for file in &self.files {
            let name = file.display().to_string();
            let text = std::fs::read_to_string(file)
                .with_context(|| format!("failed to read `{name}`"))?;
            let mut report = Report::default();
            WastContext::new(&engine, SpectestOutput::Stdout)?.run_wast(&name, &text, &mut report);
            for failure in &report.failures {
                output::line(output::Style::ERROR, "error", &failure.to_string());
            }
            for skip in &report.skips {
                output::line(output::Style::WARNING, "skipped", &skip.to_string());
            }
            output::print(format_args!("{name}: {}\n", report.directives))?;
            total.merge(report);
        }
        if self.files.len() > 1 {
            output::print(format_args!(
                "{} scripts: directives: {}; assertions: {}\n",
                total.files, total.directives, total.assertions
            ))?;
        }
        Ok(if total.is_success() {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }
}
