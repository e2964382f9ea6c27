//! [`Allocator`]: where the parts of instances come from.

#[cfg(feature = "pooling-allocator")]
mod pool;
#[cfg(not(feature = "pooling-allocator"))]
#[path = "no_pool.rs"]
mod pool;

use std::sync::Arc;

use anyhow::Result;

use crate::fiber::{FiberStack, HostStackCreator};
use crate::loaded_module::LoadedModule;
use crate::memory::HostMemories;
pub(crate) use pool::{
    Affinity, InstancePermit, MemoryRequest, MemorySlot, Pool, PooledGcHeap, PooledStack, StoreKey,
    TableSlot, keys,
};
#[cfg(feature = "pooling-allocator")]
pub use pool::{PoolConcurrencyLimitError, PoolMetrics, PoolOptions, Wanted};

/// Where memories, tables, GC heaps, instances and stacks come from. An engine has one, which its stores share.
#[derive(Default)]
pub struct Allocator {
    host_memories: Option<Arc<dyn HostMemories>>,
    /// What instances of modules, GC heaps and stacks come from; not single items of the host, nor shared memories.
    pool: Option<Arc<Pool>>,
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

    /// Instances of modules come from a pool.
    ///
    /// # Errors
    ///
    /// Fails if an option contradicts the host or another one.
    #[cfg(feature = "pooling-allocator")]
    pub fn set_pool(
        &mut self,
        options: &PoolOptions,
        tunables: &waxwing_environ::Tunables,
    ) -> Result<()> {
        self.pool = Some(Pool::new(options, tunables)?);
        Ok(())
    }

    /// How much of the pool is in use, if there is one.
    #[cfg(feature = "pooling-allocator")]
    pub fn pool_metrics(&self) -> Option<PoolMetrics> {
        Some(self.pool.as_ref()?.metrics())
    }

    /// Whether the CPU and the operating system have memory protection keys.
    #[cfg(feature = "memory-protection-keys")]
    pub fn has_protection_keys() -> bool {
        keys::are_available()
    }

    /// Whether the operating system tells which pages were written.
    #[cfg(feature = "pooling-allocator")]
    pub fn has_pagemap_scan() -> bool {
        crate::sys::pagemap::available()
    }

    pub(crate) fn pool(&self) -> Option<&Arc<Pool>> {
        self.pool.as_ref()
    }

    /// The pool for an instance of a module, unless the module is made up for items of the host.
    pub(crate) fn pool_for(&self, module: &LoadedModule) -> Option<&Arc<Pool>> {
        self.pool.as_ref().filter(|_| module.has_code())
    }

    /// Checks that instances of the module can be made.
    ///
    /// # Errors
    ///
    /// Fails if the module is too large for the pool.
    pub fn check_module(&self, module: &LoadedModule) -> Result<()> {
        match &self.pool {
            Some(pool) => pool.check_module(module),
            None => Ok(()),
        }
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
        match (&self.stack_creator, &self.pool) {
            (Some(creator), _) => FiberStack::host(size, &**creator),
            (None, Some(pool)) => FiberStack::pooled(size, pool),
            (None, None) => FiberStack::own(size),
        }
    }
}
