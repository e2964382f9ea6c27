//! [`Pool`]: memories, tables, GC heaps and stacks that are made ahead, or once, and used again and again.
//!
//! Each kind of thing has a module of its own that limits how many there are and knows how to make one as good as new:
//!
//! | module | what |
//! |---|---|
//! | `memories` | slots for linear memories in one reservation, with guards in between |
//! | `tables` | slots for tables in one mapping |
//! | `instances` | the number and size of instances; their memory is the global allocator's |
//! | `gc_heaps` | address space for GC heaps, made when first needed |
//! | `stacks` | stacks for fibers, made when first needed |
//! | `index` | which slot is used next |
//! | `decommit` | slots to be reset, in batches |
//! | `keys` | memory protection keys, by which slots guard each other |
//!
//! What is handed out keeps the pool alive and goes back when it is dropped, in any order, on any thread. It is reset before
//! anybody else gets it: a slot that cannot be reset is never used again.

mod decommit;
mod gc_heaps;
mod index;
mod instances;
pub(crate) mod keys;
mod memories;
mod stacks;
mod tables;

use std::fmt;
use std::sync::Arc;

use anyhow::{Result, ensure};

use crate::loaded_module::LoadedModule;
use decommit::DecommitQueue;
use gc_heaps::GcHeapPool;
pub(crate) use gc_heaps::PooledGcHeap;
pub(crate) use index::Affinity;
pub(crate) use instances::InstancePermit;
use instances::InstancePool;
pub(crate) use keys::StoreKey;
use memories::MemoryPool;
pub(crate) use memories::{MemoryRequest, MemorySlot};
pub(crate) use stacks::PooledStack;
use stacks::StackPool;
use tables::TablePool;
pub(crate) use tables::TableSlot;

/// Whether something is used that not all hosts have.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum Wanted {
    /// If it is there.
    Auto,
    /// In any case.
    Yes,
    /// Not at all.
    No,
}

/// How large a pool is, and how it works. The embedding API has the documentation of each option.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "they are the options of the embedding API")]
pub struct PoolOptions {
    pub max_unused_warm_slots: u32,
    pub decommit_batch_size: usize,
    pub async_stack_zeroing: bool,
    pub async_stack_keep_resident: usize,
    pub linear_memory_keep_resident: usize,
    pub table_keep_resident: usize,
    pub total_memories: u32,
    pub total_tables: u32,
    pub total_stacks: u32,
    pub total_core_instances: u32,
    pub total_gc_heaps: u32,
    pub max_core_instance_size: usize,
    pub max_memories_per_module: u32,
    pub max_memory_size: usize,
    pub max_tables_per_module: u32,
    pub table_elements: usize,
    pub memory_protection_keys: Wanted,
    pub max_memory_protection_keys: usize,
    pub pagemap_scan: Wanted,
}

impl Default for PoolOptions {
    fn default() -> PoolOptions {
        PoolOptions {
            max_unused_warm_slots: 100,
            decommit_batch_size: 1,
            async_stack_zeroing: false,
            async_stack_keep_resident: 0,
            linear_memory_keep_resident: 0,
            table_keep_resident: 0,
            total_memories: 1000,
            total_tables: 1000,
            total_stacks: 1000,
            total_core_instances: 1000,
            total_gc_heaps: 1000,
            max_core_instance_size: 1 << 20,
            max_memories_per_module: 1,
            max_memory_size: if cfg!(target_pointer_width = "64") {
                1 << 32
            } else {
                10 << 20
            },
            max_tables_per_module: 1,
            table_elements: 20_000,
            memory_protection_keys: Wanted::No,
            max_memory_protection_keys: 16,
            pagemap_scan: Wanted::Auto,
        }
    }
}

/// Everything of a kind that the pool has is in use.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct PoolConcurrencyLimitError {
    what: &'static str,
    limit: usize,
    option: &'static str,
}

impl fmt::Display for PoolConcurrencyLimitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let PoolConcurrencyLimitError {
            what,
            limit,
            option,
        } = self;
        write!(
            f,
            "maximum concurrent limit of {limit} for {what} reached; \
             `PoolingAllocationConfig::{option}` sets it"
        )
    }
}

impl std::error::Error for PoolConcurrencyLimitError {}

/// How much of a pool is in use.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct PoolMetrics {
    /// Instances of modules that exist.
    pub instances: usize,
    /// Memories that exist.
    pub memories: usize,
    /// Tables that exist.
    pub tables: usize,
    /// Stacks of fibers that exist.
    pub stacks: usize,
    /// GC heaps that exist.
    pub gc_heaps: usize,
    /// Slots for memories that were used and are free.
    pub unused_warm_memories: usize,
    /// Slots for tables that were used and are free.
    pub unused_warm_tables: usize,
    /// Stacks that were used and are free.
    pub unused_warm_stacks: usize,
    /// Bytes that free slots for memories keep.
    pub unused_memory_bytes: usize,
    /// Bytes that free slots for tables keep.
    pub unused_table_bytes: usize,
    /// Bytes that free stacks keep, if that is known.
    pub unused_stack_bytes: Option<usize>,
}

/// See the [module](self).
pub(crate) struct Pool {
    options: PoolOptions,
    memories: MemoryPool,
    tables: TablePool,
    instances: InstancePool,
    gc_heaps: GcHeapPool,
    stacks: StackPool,
    /// What waits to be reset, and then goes back to the pools above.
    queue: DecommitQueue,
}

impl Pool {
    /// # Errors
    ///
    /// Fails if an option contradicts the host or another one.
    pub(crate) fn new(
        options: &PoolOptions,
        tunables: &waxwing_environ::Tunables,
    ) -> Result<Arc<Pool>> {
        Ok(Arc::new(Pool {
            memories: MemoryPool::new(options, tunables)?,
            tables: TablePool::new(options)?,
            instances: InstancePool::new(options),
            gc_heaps: GcHeapPool::new(options),
            stacks: StackPool::new(options),
            queue: DecommitQueue::new(options.decommit_batch_size),
            options: options.clone(),
        }))
    }

    /// Fails if instances of the module could never be made here.
    pub(crate) fn check_module(&self, module: &LoadedModule) -> Result<()> {
        let facts = module.module();
        let count = |what: &str, found: usize, limit: u32, option: &str| {
            ensure!(
                found <= limit as usize,
                "the module defines {found} {what}, but an engine with this pooling allocator allows {limit} for each \
                 module; `PoolingAllocationConfig::{option}` sets it"
            );
            Ok(())
        };
        // Shared memories are not of the pool.
        let memories = facts.memories.values().skip(facts.num_imported_memories);
        let memories: Vec<_> = memories.filter(|memory| !memory.shared).collect();
        count(
            "linear memories",
            memories.len(),
            self.options.max_memories_per_module,
            "max_memories_per_module",
        )?;
        for memory in memories {
            self.memories.check_minimum(memory)?;
        }
        count(
            "tables",
            facts.num_defined_tables(),
            self.options.max_tables_per_module,
            "max_tables_per_module",
        )?;
        for table in facts.tables.values().skip(facts.num_imported_tables) {
            self.tables.check_minimum(table)?;
        }
        self.instances.check_size(module)
    }

    /// Gives up what is kept for a module that is gone.
    pub(crate) fn forget_module(&self, module: u64, memories: u32) {
        for index in 0..memories {
            self.memories.forget(Affinity { module, index });
        }
    }

    /// How much is in use.
    pub(crate) fn metrics(&self) -> PoolMetrics {
        let waiting = self.queue.waiting();
        let less = |taken: usize, waiting: usize| taken.saturating_sub(waiting);
        PoolMetrics {
            instances: self.instances.in_use(),
            memories: less(self.memories.in_use(), waiting.memories),
            tables: less(self.tables.in_use(), waiting.tables),
            stacks: less(self.stacks.in_use(), waiting.stacks),
            gc_heaps: less(self.gc_heaps.in_use(), waiting.gc_heaps),
            unused_warm_memories: self.memories.unused_warm(),
            unused_warm_tables: self.tables.unused_warm(),
            unused_warm_stacks: self.stacks.unused_warm(),
            unused_memory_bytes: self.memories.unused_bytes(),
            unused_table_bytes: self.tables.unused_bytes(),
            unused_stack_bytes: self.stacks.unused_bytes(),
        }
    }

    /// Takes something by `take`; if there is nothing left, once more after all that waits to be reset has been.
    fn take_or<T>(
        &self,
        take: impl Fn() -> Option<T>,
        error: PoolConcurrencyLimitError,
    ) -> Result<T> {
        let taken = take().or_else(|| self.flush_and(take));
        Ok(taken.ok_or(error)?)
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}
