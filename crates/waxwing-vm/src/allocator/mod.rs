//! [`Allocator`]: where the parts of instances come from.

use std::sync::Arc;

use anyhow::Result;

use crate::fiber::{FiberStack, HostStackCreator};

/// Where memories, tables, GC heaps, instances and stacks come from. An engine has one, which its stores share.
#[derive(Default)]
pub struct Allocator {
    stack_creator: Option<Arc<dyn HostStackCreator>>,
}

impl Allocator {
    /// Stacks come from the host.
    pub fn with_stack_creator(&mut self, creator: Arc<dyn HostStackCreator>) {
        self.stack_creator = Some(creator);
    }

    /// A stack of at least `size` bytes, not counting its guard.
    ///
    /// # Errors
    ///
    /// Fails if memory is lacking, or the host that supplies stacks fails.
    pub fn stack(&self, size: usize) -> Result<FiberStack> {
        match &self.stack_creator {
            Some(creator) => FiberStack::host(size, &**creator),
            None => FiberStack::own(size),
        }
    }
}
