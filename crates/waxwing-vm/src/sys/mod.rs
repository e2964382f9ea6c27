//! The operating system, chosen once.
//!
//! Everything above this module is written against the items re-exported here and never asks which
//! system it runs on. Both implementations offer the same modules:
//!
//! | module | offers |
//! |---|---|
//! | `vm` | page-granular address space: reserve, protect, map a file, release |
//! | `image` | copy-on-write sources for the initial contents of linear memories |
//! | `pagemap` | which pages of a private mapping have contents of their own, where the system tells |
//! | `keys` | memory protection keys, where the system and the CPU have them, and the feature is on |
//! | `icache` | making freshly written machine code visible to instruction fetch |
//! | `unwind` | telling the system's unwinder about generated code |
//! | `debugger` | telling native debuggers about generated code |
//! | `thread` | stack bounds of the calling thread |
//! | `profiling` | files and clocks for profilers of the system |
//! | `faults` | hardware faults: the process-wide handler and its chain, what it needs of each thread; nothing if the feature is off |
//! | `fiber` | switching between stacks |

#[cfg(unix)]
mod unix;
#[cfg(unix)]
pub(crate) use unix::*;

#[cfg(windows)]
mod windows;
#[cfg(windows)]
pub(crate) use windows::*;
