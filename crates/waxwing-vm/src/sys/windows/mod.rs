//! Windows: `VirtualAlloc` and vectored exception handling.

#[cfg(feature = "debugger")]
pub(crate) mod debugger;
#[cfg_attr(not(feature = "signals-based-traps"), path = "../no_faults.rs")]
pub(crate) mod faults;
pub(crate) mod fiber;
pub(crate) mod icache;
pub(crate) mod image;
#[cfg(feature = "pooling-allocator")]
#[path = "../no_keys.rs"]
pub(crate) mod keys;
#[cfg(feature = "pooling-allocator")]
#[path = "../no_pagemap.rs"]
pub(crate) mod pagemap;
#[cfg(feature = "profiling")]
pub(crate) mod profiling;
pub(crate) mod thread;
pub(crate) mod unwind;
pub(crate) mod vm;
