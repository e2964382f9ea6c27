//! [`Allocator`]: where the parts of instances come from.

use std::sync::Arc;

use crate::memory::HostMemories;

/// Where memories, tables, GC heaps, instances and stacks come from. An engine has one, which its stores share.
#[derive(Default)]
pub struct Allocator {
    host_memories: Option<Arc<dyn HostMemories>>,
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
}
