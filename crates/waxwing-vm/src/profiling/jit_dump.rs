//! [`JitDump`]: `jit-PID.dump`, from which `perf inject --jit` makes files that have code, names and lines.
//!
//! The format is documented in the sources of Linux, `tools/perf/Documentation/jitdump-specification.txt`.
//! All numbers are in the order of bytes of the host.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};

use super::{Agent, Symbol, one_line};
use crate::arch::ELF_MACHINE;
use crate::sys::profiling::{Marker, create, monotonic_nanos, thread_id};

/// "JiTD", written as a number.
const MAGIC: u32 = 0x4a69_5444;
const VERSION: u32 = 1;
const HEADER_LEN: u32 = 40;
const CODE_LOAD: u32 = 0;
const CODE_DEBUG_INFO: u32 = 2;
/// What begins every record: its kind, its length and the time.
const RECORD_HEADER_LEN: usize = 16;
/// Stands for the file of the entry before.
const SAME_FILE: &[u8] = b"\xff\0";

/// The dump of this process, that all engines share.
static OF_PROCESS: Mutex<Option<Arc<JitDump>>> = Mutex::new(None);

/// A file with a record for each function that has its code.
pub struct JitDump {
    path: PathBuf,
    state: Mutex<State>,
    _marker: Marker,
}

struct State {
    file: File,
    /// The number of functions so far: each has its own.
    functions: u64,
}

impl JitDump {
    /// The dump of this process. The first call makes the file, in the working directory, in place of one
    /// that a former process with the same number left behind, and maps a page of it: that is what
    /// `perf record` keeps in its data, and `perf inject` looks for.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be made or mapped.
    pub fn of_process() -> Result<Arc<JitDump>> {
        let mut of_process = OF_PROCESS.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(dump) = &*of_process {
            return Ok(dump.clone());
        }
        let path = PathBuf::from(format!("jit-{}.dump", std::process::id()));
        let failed = || format!("failed to make the dump of code `{}`", path.display());
        let mut file = create(&path).with_context(failed)?;
        file.write_all(&header()).with_context(failed)?;
        let marker = Marker::new(&file).with_context(failed)?;
        let state = State { file, functions: 0 };
        let dump = Arc::new(JitDump {
            path,
            state: Mutex::new(state),
            _marker: marker,
        });
        Ok(of_process.insert(dump).clone())
    }
}

fn header() -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER_LEN as usize);
    let machine = u32::from(ELF_MACHINE);
    for word in [MAGIC, VERSION, HEADER_LEN, machine, 0, std::process::id()] {
        bytes.extend(word.to_ne_bytes());
    }
    for word in [monotonic_nanos(), 0] {
        bytes.extend(word.to_ne_bytes());
    }
    bytes
}

/// Appends a record with the contents that `write` appends.
fn record(bytes: &mut Vec<u8>, kind: u32, write: impl FnOnce(&mut Vec<u8>)) -> Result<()> {
    let start = bytes.len();
    bytes.extend(kind.to_ne_bytes());
    let len_at = bytes.len();
    bytes.extend([0; 4]);
    bytes.extend(monotonic_nanos().to_ne_bytes());
    debug_assert_eq!(bytes.len() - start, RECORD_HEADER_LEN);
    write(bytes);
    let len = u32::try_from(bytes.len() - start).context("a function of 4 GiB")?;
    bytes[len_at..len_at + 4].copy_from_slice(&len.to_ne_bytes());
    Ok(())
}

fn write_lines(bytes: &mut Vec<u8>, symbol: &Symbol<'_>) {
    let start = symbol.code.as_ptr() as u64;
    bytes.extend(start.to_ne_bytes());
    bytes.extend((symbol.lines.len() as u64).to_ne_bytes());
    let mut file = None;
    for line in &symbol.lines {
        bytes.extend((start + u64::from(line.offset)).to_ne_bytes());
        bytes.extend(line.line.to_ne_bytes());
        bytes.extend(0u32.to_ne_bytes());
        if file == Some(&line.file) {
            bytes.extend(SAME_FILE);
        } else {
            bytes.extend(one_line(&line.file).bytes());
            bytes.push(0);
        }
        file = Some(&line.file);
    }
}

fn write_code(bytes: &mut Vec<u8>, symbol: &Symbol<'_>, index: u64) {
    let start = symbol.code.as_ptr() as u64;
    for word in [std::process::id(), thread_id()] {
        bytes.extend(word.to_ne_bytes());
    }
    for word in [start, start, symbol.code.len() as u64, index] {
        bytes.extend(word.to_ne_bytes());
    }
    bytes.extend(one_line(&symbol.name).bytes());
    bytes.push(0);
    bytes.extend(symbol.code);
}

impl Agent for JitDump {
    fn takes_lines(&self) -> bool {
        true
    }

    fn describe(&self, symbols: &mut dyn Iterator<Item = Symbol<'_>>) -> Result<()> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut bytes = Vec::new();
        for symbol in symbols {
            // Lines come before the code that they belong to.
            if !symbol.lines.is_empty() {
                record(&mut bytes, CODE_DEBUG_INFO, |b| write_lines(b, &symbol))?;
            }
            let index = state.functions;
            state.functions += 1;
            record(&mut bytes, CODE_LOAD, |b| write_code(b, &symbol, index))?;
        }
        let path = self.path.display();
        let written = state.file.write_all(&bytes);
        written.with_context(|| format!("failed to write the dump of code `{path}`"))
    }
}
