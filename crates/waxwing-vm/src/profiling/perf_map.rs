//! [`PerfMap`]: `/tmp/perf-PID.map`, a text file with a line for each function.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};

use super::{Agent, Symbol, one_line};
use crate::sys::profiling::create;

/// The map of this process, that all engines share.
static OF_PROCESS: Mutex<Option<Arc<PerfMap>>> = Mutex::new(None);

/// A file of lines `ADDRESS SIZE NAME`, numbers in hexadecimal, that `perf report` looks for by the number of
/// the process.
pub struct PerfMap {
    path: PathBuf,
    file: Mutex<File>,
}

impl PerfMap {
    /// The map of this process. The first call makes the file, in place of one that a former process
    /// with the same number left behind.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be made.
    pub fn of_process() -> Result<Arc<PerfMap>> {
        let mut of_process = OF_PROCESS.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(map) = &*of_process {
            return Ok(map.clone());
        }
        let path = PathBuf::from(format!("/tmp/perf-{}.map", std::process::id()));
        let file = create(&path)
            .with_context(|| format!("failed to make the perf map `{}`", path.display()))?;
        let map = Arc::new(PerfMap {
            path,
            file: Mutex::new(file),
        });
        Ok(of_process.insert(map).clone())
    }
}

impl Agent for PerfMap {
    fn takes_lines(&self) -> bool {
        false
    }

    fn describe(&self, symbols: &mut dyn Iterator<Item = Symbol<'_>>) -> Result<()> {
        let mut text = String::new();
        for Symbol { name, code, .. } in symbols {
            let (start, len) = (code.as_ptr() as usize, code.len());
            let _ = writeln!(text, "{start:x} {len:x} {}", one_line(&name));
        }
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.write_all(text.as_bytes())
            .with_context(|| format!("failed to write the perf map `{}`", self.path.display()))
    }
}
