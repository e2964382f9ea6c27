//! Options of where instances come from.

use super::Config;
#[cfg(feature = "pooling-allocator")]
use waxwing_vm::{Allocator, PoolOptions, Wanted};

/// Where an engine gets memories, tables, instances, GC heaps and stacks from: see [`Config::allocation_strategy`].
#[non_exhaustive]
#[derive(Clone, Default, Debug)]
pub enum InstanceAllocationStrategy {
    /// From the operating system, whenever one is needed, and back to it when its store is dropped.
    ///
    /// There are no limits but those of the store and of the system.
    #[default]
    OnDemand,

    /// From a pool that the engine reserves when it is made.
    ///
    /// Instantiation takes few system calls, as address space is reserved and contents are mapped already, and scales with
    /// the number of threads. The pool limits how many of each thing exist at once, and how large they are.
    #[cfg(feature = "pooling-allocator")]
    Pooling(PoolingAllocationConfig),
}

impl InstanceAllocationStrategy {
    /// A pool with the default options of [`PoolingAllocationConfig`].
    #[cfg(feature = "pooling-allocator")]
    pub fn pooling() -> Self {
        InstanceAllocationStrategy::Pooling(PoolingAllocationConfig::default())
    }
}

#[cfg(feature = "pooling-allocator")]
impl From<PoolingAllocationConfig> for InstanceAllocationStrategy {
    fn from(config: PoolingAllocationConfig) -> InstanceAllocationStrategy {
        InstanceAllocationStrategy::Pooling(config)
    }
}

impl Config {
    /// Where instances, their memories and tables, GC heaps and stacks come from.
    ///
    /// ```
    /// # use waxwing::*;
    /// # fn main() -> Result<()> {
    /// let mut pool = PoolingAllocationConfig::new();
    /// pool.total_memories(20).total_tables(20).total_core_instances(20);
    /// pool.max_memory_size(64 << 20);
    /// let engine = Engine::new(Config::new().allocation_strategy(pool))?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// What the host makes itself, by [`Memory::new`](crate::Memory::new) and [`Table::new`](crate::Table::new) for example,
    /// and shared memories are always made on demand. Compiled code is the same for all strategies.
    ///
    /// Default: [`InstanceAllocationStrategy::OnDemand`].
    ///
    /// # Errors
    ///
    /// [`Engine::new`](crate::Engine::new) fails if a pool is too large for the address space, or wants memory
    /// protection keys that do not exist.
    pub fn allocation_strategy(
        &mut self,
        strategy: impl Into<InstanceAllocationStrategy>,
    ) -> &mut Self {
        self.allocation_strategy = strategy.into();
        self
    }
}

/// Whether a pool protects memories by keys of the CPU: see [`PoolingAllocationConfig::memory_protection_keys`].
#[cfg(feature = "memory-protection-keys")]
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub enum MpkEnabled {
    /// If the CPU and the operating system have keys, and at least two are left.
    Auto,
    /// In any case: where there are no keys, [`Engine::new`](crate::Engine::new) fails.
    Enable,
    /// Not at all.
    Disable,
}

/// Whether something is used that not all hosts have: see [`PoolingAllocationConfig::pagemap_scan`].
#[cfg(feature = "pooling-allocator")]
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub enum Enabled {
    /// Where it is there.
    Auto,
    /// In any case: where it is not there, [`Engine::new`](crate::Engine::new) fails.
    Yes,
    /// Not at all.
    No,
}

/// Options of the pool that [`InstanceAllocationStrategy::Pooling`] gets instances from.
///
/// A pool consists of *slots*: places for a linear memory, a table and so on, each as large as the largest that is
/// allowed. Address space for all of them is reserved by [`Engine::new`](crate::Engine::new), memory when it is used. What is in a slot
/// belongs to one store, and is made as good as new when that store is dropped: nobody ever sees what others wrote.
///
/// Two things make this fast. Making a memory takes no new reservation of address space, for which a process has one lock.
/// And a slot remembers the module that it was used for, so that the next instance of that module finds the initial contents of its
/// memory [mapped](Config::memory_init_cow) already.
///
/// What does not fit the options is refused as early as it is known: a module when it is compiled or loaded, a number of things that is
/// too large by a [`PoolConcurrencyLimitError`](crate::PoolConcurrencyLimitError) when one more is made, growth beyond a slot as any growth that fails.
///
/// The methods return `&mut Self` so that calls can be chained.
#[cfg(feature = "pooling-allocator")]
#[derive(Clone, Debug, Default)]
pub struct PoolingAllocationConfig {
    pub(crate) options: PoolOptions,
}

#[cfg(feature = "pooling-allocator")]
impl PoolingAllocationConfig {
    /// The defaults that each option's documentation gives.
    pub fn new() -> PoolingAllocationConfig {
        PoolingAllocationConfig::default()
    }

    /// How many slots that are warm are kept unused before others are warmed up.
    ///
    /// A slot is *cold* until it is used for the first time, and *warm* from then on. For a memory the pool
    /// chooses, in this order: the free slot that was used most recently for the same memory of the same module; if there are at least this many free
    /// warm slots, the one of them that was used least recently; a cold one; the free warm one that was used
    /// least recently.
    ///
    /// With a larger number, more modules find a slot that has their contents mapped. With a smaller one, less memory is kept for
    /// modules that are not used: with 0, a slot that is warm is always used again before a cold one is.
    ///
    /// Default: 100.
    pub fn max_unused_warm_slots(&mut self, max: u32) -> &mut Self {
        self.options.max_unused_warm_slots = max;
        self
    }

    /// How many slots are reset at once.
    ///
    /// Memory that was used has to be reset by a system call, which every core that runs a thread of the process takes part
    /// in. With a batch size of more than 1, slots wait until there are that many, and are reset together: by one call where the system can (Linux 6.13
    /// and later), by one for each elsewhere. Those that wait are reset at once when nothing else is
    /// free. The memory that they have is not given back before.
    ///
    /// Default: 1, which resets each slot when it becomes free.
    pub fn decommit_batch_size(&mut self, batch_size: usize) -> &mut Self {
        self.options.decommit_batch_size = batch_size;
        self
    }

    /// Whether stacks of asynchronous execution are filled with zeros before they are used again.
    ///
    /// No WebAssembly code can read of a stack what it did not write. This is a second line of defence, for
    /// the case that the compiler has a defect.
    ///
    /// Default: `false`.
    pub fn async_stack_zeroing(&mut self, enable: bool) -> &mut Self {
        self.options.async_stack_zeroing = enable;
        self
    }

    /// How many bytes of each stack are reset by writing zeros rather than by a system call, where
    /// [`async_stack_zeroing`](Self::async_stack_zeroing) is on. They are those that are used first, at the end of the stack, and
    /// they stay resident. Rounded up to whole pages.
    ///
    /// Default: 0.
    pub fn async_stack_keep_resident(&mut self, size: usize) -> &mut Self {
        self.options.async_stack_keep_resident = size;
        self
    }

    /// How many bytes of each linear memory are reset by writing to them rather than by a system call.
    ///
    /// They stay resident while the slot is not used, and the next instance in the slot uses them without page faults. With
    /// [`pagemap_scan`](Self::pagemap_scan) they are those that were written, wherever they are. Without, they are the first ones of the memory,
    /// and all of them are reset whenever an instance ends, whether it wrote them or not; that is of use for modules of which each
    /// instance writes most of a small memory. Rounded up to whole pages.
    ///
    /// Default: 0.
    pub fn linear_memory_keep_resident(&mut self, size: usize) -> &mut Self {
        self.options.linear_memory_keep_resident = size;
        self
    }

    /// As [`linear_memory_keep_resident`](Self::linear_memory_keep_resident), for each table.
    ///
    /// Default: 0.
    pub fn table_keep_resident(&mut self, size: usize) -> &mut Self {
        self.options.table_keep_resident = size;
        self
    }

    /// How many linear memories there can be at once.
    ///
    /// For each of them address space is reserved: [`Config::memory_reservation`] or [`max_memory_size`](Self::max_memory_size), whichever
    /// is more, and [`Config::memory_guard_size`]. Memory protection keys, of the Cargo feature `memory-protection-keys`, make that less.
    ///
    /// Default: 1000.
    pub fn total_memories(&mut self, count: u32) -> &mut Self {
        self.options.total_memories = count;
        self
    }

    /// How many tables there can be at once.
    ///
    /// Default: 1000.
    pub fn total_tables(&mut self, count: u32) -> &mut Self {
        self.options.total_tables = count;
        self
    }

    /// How many stacks of asynchronous execution there can be at once: one for each call that is suspended or
    /// running. Those of a host that [supplies stacks](Config::with_host_stack) do not count.
    ///
    /// Default: 1000.
    pub fn total_stacks(&mut self, count: u32) -> &mut Self {
        self.options.total_stacks = count;
        self
    }

    /// How many instances of modules there can be at once.
    ///
    /// Default: 1000.
    pub fn total_core_instances(&mut self, count: u32) -> &mut Self {
        self.options.total_core_instances = count;
        self
    }

    /// How many garbage-collected heaps there can be at once: one for each store that needs any.
    ///
    /// Default: 1000.
    #[cfg(feature = "gc")]
    pub fn total_gc_heaps(&mut self, count: u32) -> &mut Self {
        self.options.total_gc_heaps = count;
        self
    }

    /// The most bytes that an instance takes, without its memories and tables: what the runtime knows of it, its globals, imports and
    /// references to its functions. Modules whose instances take more are refused, by an error that says how much.
    ///
    /// Default: 1 MiB.
    pub fn max_core_instance_size(&mut self, size: usize) -> &mut Self {
        self.options.max_core_instance_size = size;
        self
    }

    /// The most linear memories that a module can define, without those that it imports. Modules with more are refused.
    ///
    /// Default: 1.
    pub fn max_memories_per_module(&mut self, memories: u32) -> &mut Self {
        self.options.max_memories_per_module = memories;
        self
    }

    /// The most bytes that a linear memory can have.
    ///
    /// Modules with a memory of a larger minimum are refused, and growth beyond fails.
    ///
    /// Default: 4 GiB, or 10 MiB on 32-bit platforms.
    pub fn max_memory_size(&mut self, bytes: usize) -> &mut Self {
        self.options.max_memory_size = bytes;
        self
    }

    /// The most tables that a module can define, without those that it imports. Modules with more are refused.
    ///
    /// Default: 1.
    pub fn max_tables_per_module(&mut self, tables: u32) -> &mut Self {
        self.options.max_tables_per_module = tables;
        self
    }

    /// The most elements that a table can have.
    ///
    /// Modules with a table of a larger minimum are refused, and growth beyond fails.
    ///
    /// Default: 20000.
    pub fn table_elements(&mut self, elements: usize) -> &mut Self {
        self.options.table_elements = elements;
        self
    }

    /// Whether memories are protected from each other by keys of the CPU, rather than by guards alone.
    ///
    /// Linear memories have gigabytes of inaccessible address space behind them, so that code need not check its accesses. With
    /// memory protection keys, which x86-64 CPUs have and Linux offers to processes, that space can hold other memories: each store is
    /// given one of up to 15 keys, and its code has no right to memory of any other key. Many more memories then fit
    /// the address space. How many depends on [`max_memory_size`](Self::max_memory_size), which should be a small part of the reservation,
    /// and on the number of keys.
    ///
    /// Changing rights takes a few dozen cycles, at each call into WebAssembly and out of it. The memories of a store come from the
    /// slots of its key: there are fewer of them than [`total_memories`](Self::total_memories).
    ///
    /// A process has 15 keys for all its parts. Rights belong to threads: a thread gets those to the memories of the pool when it
    /// runs WebAssembly, or asks for the address or the contents of a [`Memory`](crate::Memory). A raw pointer that is handed to a thread which
    /// did neither faults there, and so does one that a handler of signals uses.
    ///
    /// Default: [`MpkEnabled::Disable`].
    #[cfg(feature = "memory-protection-keys")]
    pub fn memory_protection_keys(&mut self, enable: MpkEnabled) -> &mut Self {
        self.options.memory_protection_keys = match enable {
            MpkEnabled::Auto => Wanted::Auto,
            MpkEnabled::Enable => Wanted::Yes,
            MpkEnabled::Disable => Wanted::No,
        };
        self
    }

    /// The most memory protection keys that the pool takes, so that several engines can have some.
    ///
    /// Default: 16, which is all.
    #[cfg(feature = "memory-protection-keys")]
    pub fn max_memory_protection_keys(&mut self, max: usize) -> &mut Self {
        self.options.max_memory_protection_keys = max;
        self
    }

    /// Whether the operating system is asked which pages of a linear memory were written, so that
    /// [`linear_memory_keep_resident`](Self::linear_memory_keep_resident) resets those alone.
    ///
    /// Linux can tell from 6.7 on (`PAGEMAP_SCAN`). With it, resetting an instance that wrote few pages, of a large memory, takes about the time of
    /// writing those, and other cores need not take part. It is not used if nothing is kept resident.
    ///
    /// Default: [`Enabled::Auto`].
    pub fn pagemap_scan(&mut self, enable: Enabled) -> &mut Self {
        self.options.pagemap_scan = match enable {
            Enabled::Auto => Wanted::Auto,
            Enabled::Yes => Wanted::Yes,
            Enabled::No => Wanted::No,
        };
        self
    }

    /// Whether this operating system lets this process ask which pages were written, for
    /// [`pagemap_scan`](Self::pagemap_scan).
    pub fn is_pagemap_scan_available() -> bool {
        Allocator::has_pagemap_scan()
    }

    /// Whether this CPU and operating system have memory protection keys, for
    /// [`memory_protection_keys`](Self::memory_protection_keys).
    #[cfg(feature = "memory-protection-keys")]
    pub fn are_memory_protection_keys_available() -> bool {
        Allocator::has_protection_keys()
    }
}

/// Methods that tell what was set, or the default.
#[cfg(feature = "pooling-allocator")]
macro_rules! getters {
    ($($name:ident $setter:ident $field:ident $ty:ty;)*) => {
        impl PoolingAllocationConfig {
            $(
                #[doc = concat!("What was set by [`", stringify!($setter), "`](Self::", stringify!($setter), "), or its default.")]
                pub fn $name(&self) -> $ty {
                    self.options.$field.into()
                }
            )*
        }
    };
}

#[cfg(feature = "pooling-allocator")]
getters! {
    get_max_unused_warm_slots max_unused_warm_slots max_unused_warm_slots u32;
    get_decommit_batch_size decommit_batch_size decommit_batch_size usize;
    get_async_stack_zeroing async_stack_zeroing async_stack_zeroing bool;
    get_async_stack_keep_resident async_stack_keep_resident async_stack_keep_resident usize;
    get_memory_keep_resident linear_memory_keep_resident linear_memory_keep_resident usize;
    get_table_keep_resident table_keep_resident table_keep_resident usize;
    get_total_memories total_memories total_memories u32;
    get_total_tables total_tables total_tables u32;
    get_total_stacks total_stacks total_stacks u32;
    get_total_core_instances total_core_instances total_core_instances u32;
    get_max_core_instance_size max_core_instance_size max_core_instance_size usize;
    get_max_memories_per_module max_memories_per_module max_memories_per_module u32;
    get_max_memory_size max_memory_size max_memory_size usize;
    get_max_tables_per_module max_tables_per_module max_tables_per_module u32;
    get_table_elements table_elements table_elements usize;
    get_pagemap_scan pagemap_scan pagemap_scan Enabled;
}

#[cfg(feature = "memory-protection-keys")]
getters! {
    get_memory_protection_keys memory_protection_keys memory_protection_keys MpkEnabled;
    get_max_memory_protection_keys max_memory_protection_keys max_memory_protection_keys usize;
}

#[cfg(all(feature = "pooling-allocator", feature = "gc"))]
getters! {
    get_total_gc_heaps total_gc_heaps total_gc_heaps u32;
}

#[cfg(feature = "memory-protection-keys")]
impl From<Wanted> for MpkEnabled {
    fn from(wanted: Wanted) -> MpkEnabled {
        match wanted {
            Wanted::Auto => MpkEnabled::Auto,
            Wanted::Yes => MpkEnabled::Enable,
            Wanted::No => MpkEnabled::Disable,
        }
    }
}

#[cfg(feature = "pooling-allocator")]
impl From<Wanted> for Enabled {
    fn from(wanted: Wanted) -> Enabled {
        match wanted {
            Wanted::Auto => Enabled::Auto,
            Wanted::Yes => Enabled::Yes,
            Wanted::No => Enabled::No,
        }
    }
}
