//! Logging, which is not set up unless somebody asks for it.

use crate::options::DebugSettings;
use anyhow::{Context, Result};
use std::fs::File;
use std::sync::Mutex;
use tracing_subscriber::EnvFilter;

/// The environment variable that turns logging on, with a filter such as
/// `waxwing=debug`.
pub const VARIABLE: &str = "WAXWING_LOG";

/// Starts logging if the options or the environment ask for it.
pub fn start(debug: &DebugSettings) -> Result<()> {
    let filter = match (&debug.logging, std::env::var(VARIABLE)) {
        (Some(filter), _) => filter.clone(),
        (None, Ok(filter)) if !filter.is_empty() => filter,
        (None, _) if debug.log_to_files => "debug".to_string(),
        (None, _) => return Ok(()),
    };
    let parsed = EnvFilter::try_new(&filter).with_context(|| {
        format!("`{filter}` is not a log filter; try `info` or `waxwing=trace`")
    })?;
    let subscriber = tracing_subscriber::fmt().with_env_filter(parsed);
    let started = if debug.log_to_files {
        let path = format!("waxwing.{}.log", std::process::id());
        let file = File::create(&path)
            .with_context(|| format!("failed to create the log file `{path}`"))?;
        subscriber
            .with_ansi(false)
            .with_writer(Mutex::new(file))
            .try_init()
    } else {
        subscriber
            .with_ansi(crate::output::colours())
            .with_writer(std::io::stderr)
            .try_init()
    };
    started.map_err(|e| anyhow::anyhow!("failed to start logging: {e}"))
}
