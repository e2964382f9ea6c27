//! Profiling: what the system's profilers are told of modules, and [`GuestProfiler`].

mod guest;
mod native;

pub use guest::GuestProfiler;
pub(crate) use native::{agent, describe};
