//! Execution that can be suspended: on stacks of their own.

mod stack;

pub use stack::{FiberStack, HostStack, HostStackCreator};
