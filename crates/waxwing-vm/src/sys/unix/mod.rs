//! Linux, macOS and the other systems with POSIX signals and `mmap`.

pub(crate) mod faults;
pub(crate) mod icache;
pub(crate) mod image;
#[cfg(feature = "profiling")]
pub(crate) mod profiling;
pub(crate) mod thread;
mod ucontext;
pub(crate) mod unwind;
pub(crate) mod vm;
