//! Telling the system's profilers which code is where.
//!
//! A profiler of the system sees addresses alone. What is here leaves a description of generated code
//! where such profilers look for it, in the files that their documentation names.

mod jit_dump;
mod perf_map;

pub use jit_dump::JitDump;
pub use perf_map::PerfMap;

use anyhow::Result;

/// A piece of generated code, by the name that profiles shall show.
pub struct Symbol<'a> {
    /// The name. Control characters in it become spaces.
    pub name: String,
    /// The code, where it is executed.
    pub code: &'a [u8],
    /// Places in the source, in the order of the code.
    pub lines: Vec<Line>,
}

/// Where the code from an offset on stems from.
pub struct Line {
    /// The offset in the code of the [`Symbol`].
    pub offset: u32,
    /// The file.
    pub file: String,
    /// The line, counted from 1.
    pub line: u32,
}

/// One of the files that describe generated code.
pub trait Agent: Send + Sync {
    /// Whether the description has room for places in the source.
    fn takes_lines(&self) -> bool;

    /// Describes code that was made executable and is about to be run.
    ///
    /// All of it is written at once, whatever other threads describe at the same time.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be written to.
    fn describe(&self, symbols: &mut dyn Iterator<Item = Symbol<'_>>) -> Result<()>;
}

/// `name` on one line.
fn one_line(name: &str) -> String {
    name.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}
