//! Linux, macOS and the other systems with POSIX signals and `mmap`.

#[cfg(feature = "debugger")]
pub(crate) mod debugger;
pub(crate) mod faults;
pub(crate) mod icache;
pub(crate) mod image;
pub(crate) mod thread;
mod ucontext;
pub(crate) mod unwind;
pub(crate) mod vm;
