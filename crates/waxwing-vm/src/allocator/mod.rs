//! [`Allocator`]: where the parts of instances come from.

use std::sync::Arc;

use anyhow::Result;

use crate::fiber::{FiberStack, HostStackCreator};
use crate::memory::HostMemories;

/// Where memories, tables, GC heaps, instances and stacks come from. An engine has one, which its stores share.
#[derive(Default)]
pub struct Allocator {
    host_memories: Option<Arc<dyn HostMemories>>,
    stack_creator: Option<Arc<dyn HostStackCreator>>,
}

impl Allocator {
    /// Has linear memories made by `creator`.
    pub fn set_host_memories(&mut self, creator: Arc<dyn HostMemories>) {
        self.host_memories = Some(creator);
    }

    pub(crate) fn host_memories(&self) -> Option<&Arc<dyn HostMemories>> {
        self.host_memories.as_ref()
    }

    /// Whether images can be mapped to the memories that come from here.
    pub(crate) fn maps_images(&self) -> bool {
        self.host_memories.is_none()
    }

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
