//! Windows: `VirtualAlloc` and vectored exception handling.

pub(crate) mod faults;
pub(crate) mod icache;
pub(crate) mod image;
#[cfg(feature = "profiling")]
pub(crate) mod profiling;
pub(crate) mod thread;
pub(crate) mod unwind;
pub(crate) mod vm;
