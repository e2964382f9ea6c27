//! Linux, macOS and the other systems with POSIX signals and `mmap`.

#[cfg(feature = "signals-based-traps")]
mod alternate_stack;
#[cfg(feature = "debugger")]
pub(crate) mod debugger;
#[cfg_attr(not(feature = "signals-based-traps"), path = "../no_faults.rs")]
pub(crate) mod faults;
pub(crate) mod fiber;
pub(crate) mod icache;
pub(crate) mod image;
#[cfg(feature = "pooling-allocator")]
#[cfg_attr(
    not(all(
        feature = "memory-protection-keys",
        target_os = "linux",
        target_arch = "x86_64"
    )),
    path = "../no_keys.rs"
)]
pub(crate) mod keys;
#[cfg(feature = "pooling-allocator")]
#[cfg_attr(not(target_os = "linux"), path = "../no_pagemap.rs")]
pub(crate) mod pagemap;
#[cfg(feature = "profiling")]
pub(crate) mod profiling;
pub(crate) mod thread;
#[cfg(feature = "signals-based-traps")]
mod ucontext;
pub(crate) mod unwind;
pub(crate) mod vm;
