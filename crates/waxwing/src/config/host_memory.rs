//! The option of linear memories that the embedder provides.

use std::fmt;
use std::sync::Arc;

use waxwing_vm::Allocator;

use super::Config;
use crate::MemoryCreator;
use crate::host_memory::Creator;

/// Who makes linear memories, if not the engine.
#[derive(Clone, Default)]
pub(crate) struct HostMemoryConfig(Option<Arc<dyn MemoryCreator>>);

impl fmt::Debug for HostMemoryConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() {
            "MemoryCreator"
        } else {
            "None"
        })
    }
}

impl HostMemoryConfig {
    /// Tells an engine's allocator.
    pub(crate) fn apply(&self, allocator: &mut Allocator) {
        if let Some(creator) = &self.0 {
            allocator.set_host_memories(Arc::new(Creator(Arc::clone(creator))));
        }
    }
}

impl Config {
    /// Has linear memories made by `mem_creator`: those of instances, those made by
    /// [`Memory::new`](crate::Memory::new), and [shared](crate::SharedMemory) ones. If instances come from a
    /// [pool](Self::allocation_strategy), so do their memories, but for shared ones.
    ///
    /// The creator decides where the bytes are; what it has to provide, and what it is told, is up to
    /// [`MemoryCreator::new_memory`]. Initial contents are copied there, as images cannot be
    /// [mapped](Self::memory_init_cow).
    ///
    /// Default: none, memories are mapped by the engine.
    pub fn with_host_memory(&mut self, mem_creator: Arc<dyn MemoryCreator>) -> &mut Self {
        self.host_memory = HostMemoryConfig(Some(mem_creator));
        self
    }
}
