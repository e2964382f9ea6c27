//! What an engine tells of its pool.

use super::Engine;
use crate::{InstanceAllocationStrategy, PoolingAllocationConfig};
use waxwing_vm::PoolMetrics;

/// How much of an engine's pool is in use, from [`Engine::pooling_allocator_metrics`].
///
/// Each method tells of the moment when it is called. While other threads use the engine, two numbers may be of
/// different moments.
#[derive(Clone, Debug)]
pub struct PoolingAllocatorMetrics {
    engine: Engine,
}

impl Engine {
    /// How much of the pool is in use, if the engine has [one](InstanceAllocationStrategy::Pooling).
    pub fn pooling_allocator_metrics(&self) -> Option<PoolingAllocatorMetrics> {
        self.allocator().pool_metrics()?;
        Some(PoolingAllocatorMetrics {
            engine: self.clone(),
        })
    }

    /// The options of the pool, if the engine has [one](InstanceAllocationStrategy::Pooling).
    pub fn get_pooling_config(&self) -> Option<&PoolingAllocationConfig> {
        match &self.config().allocation_strategy {
            InstanceAllocationStrategy::Pooling(config) => Some(config),
            InstanceAllocationStrategy::OnDemand => None,
        }
    }
}

impl PoolingAllocatorMetrics {
    fn metrics(&self) -> PoolMetrics {
        let metrics = self.engine.allocator().pool_metrics();
        metrics.expect("an engine keeps its pool")
    }

    /// How many instances of modules exist.
    pub fn core_instances(&self) -> u64 {
        self.metrics().instances as u64
    }

    /// How many linear memories exist that come from the pool.
    pub fn memories(&self) -> usize {
        self.metrics().memories
    }

    /// How many tables exist that come from the pool.
    pub fn tables(&self) -> usize {
        self.metrics().tables
    }

    /// How many stacks of asynchronous execution exist that come from the pool.
    pub fn stacks(&self) -> usize {
        self.metrics().stacks
    }

    /// How many garbage-collected heaps exist.
    #[cfg(feature = "gc")]
    pub fn gc_heaps(&self) -> usize {
        self.metrics().gc_heaps
    }

    /// How many slots for linear memories were used before and are free: see
    /// [`PoolingAllocationConfig::max_unused_warm_slots`].
    pub fn unused_warm_memories(&self) -> u32 {
        saturate(self.metrics().unused_warm_memories)
    }

    /// How many slots for tables were used before and are free.
    pub fn unused_warm_tables(&self) -> u32 {
        saturate(self.metrics().unused_warm_tables)
    }

    /// How many stacks were used before and are free.
    pub fn unused_warm_stacks(&self) -> u32 {
        saturate(self.metrics().unused_warm_stacks)
    }

    /// How many bytes free slots for linear memories keep resident: see
    /// [`PoolingAllocationConfig::linear_memory_keep_resident`].
    pub fn unused_memory_bytes_resident(&self) -> usize {
        self.metrics().unused_memory_bytes
    }

    /// How many bytes free slots for tables keep resident: see [`PoolingAllocationConfig::table_keep_resident`].
    pub fn unused_table_bytes_resident(&self) -> usize {
        self.metrics().unused_table_bytes
    }

    /// How many bytes free stacks keep resident: see [`PoolingAllocationConfig::async_stack_keep_resident`]. `None` if stacks are not
    /// [reset](PoolingAllocationConfig::async_stack_zeroing), as what they keep is then up to what ran on them.
    pub fn unused_stack_bytes_resident(&self) -> Option<usize> {
        self.metrics().unused_stack_bytes
    }
}

fn saturate(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
