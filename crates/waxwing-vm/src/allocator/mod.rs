//! [`Allocator`]: where the parts of instances come from.

/// Where memories, tables, GC heaps, instances and stacks come from. An engine has one, which its stores share.
#[derive(Default)]
pub struct Allocator {}
