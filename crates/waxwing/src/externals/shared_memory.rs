//! [`SharedMemory`].

use std::cell::UnsafeCell;
use std::fmt;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::{Engine, MemoryType, Trap};

pub use waxwing_vm::WaitResult;

/// A linear memory that several threads can use at the same time.
///
/// The memory belongs to no store: the same one can be imported by instances of any number of
/// stores of one engine, which run on different threads. A `SharedMemory` is a reference to it that
/// is cheap to clone, and that can be sent to other threads. It is made by
/// [`SharedMemory::new`], or by a module that defines a shared memory and exports it. It is freed
/// when the last reference is dropped, and the last store that has an instance which uses it.
///
/// The memory never moves, and other threads can change its bytes at any time. So there are no
/// slices of bytes to be had, but only the cells that [`data`](Self::data) gives, which are up to the
/// host to access as a data race allows: by atomic operations, for example.
///
/// Shared memories do not count for the limits of a store, unless WebAssembly code makes or grows them.
///
/// ```
/// # use waxwing::*;
/// # use std::sync::atomic::{AtomicU32, Ordering};
/// # fn main() -> Result<()> {
/// let engine = Engine::default();
/// let module = Module::new(
///     &engine,
///     r#"(module
///         (import "env" "memory" (memory 1 4 shared))
///         (func (export "count") (param $n i32)
///             (loop $again
///                 (drop (i32.atomic.rmw.add (i32.const 8) (i32.const 1)))
///                 (local.tee $n (i32.sub (local.get $n) (i32.const 1)))
///                 br_if $again)))"#,
/// )?;
/// let memory = SharedMemory::new(&engine, MemoryType::shared(1, 4))?;
/// std::thread::scope(|scope| {
///     for _ in 0..4 {
///         scope.spawn(|| {
///             let mut store = Store::new(&engine, ());
///             let instance = Instance::new(&mut store, &module, &[memory.clone().into()])?;
///             let count = instance.get_typed_func::<u32, ()>(&mut store, "count")?;
///             count.call(&mut store, 1000)
///         });
///     }
/// });
/// let counter = memory.data()[8].get().cast::<u32>();
/// // SAFETY: the counter is within the memory, aligned, and only accessed by atomic operations.
/// let counter = unsafe { AtomicU32::from_ptr(counter) };
/// assert_eq!(counter.load(Ordering::Relaxed), 4000);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct SharedMemory {
    engine: Engine,
    memory: waxwing_vm::SharedMemory,
}

impl fmt::Debug for SharedMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedMemory")
            .field("ty", &self.ty())
            .field("size", &self.size())
            .finish_non_exhaustive()
    }
}

impl SharedMemory {
    /// A new memory of the type `ty`, all zeros, for stores of `engine`.
    ///
    /// Address space for its maximal size is reserved at once, as the memory cannot move.
    ///
    /// # Errors
    ///
    /// Fails if the type is not that of a [shared](MemoryType::shared) memory, if the system lacks the
    /// address space or memory, or if this crate was built without its Cargo feature `threads`.
    pub fn new(engine: &Engine, ty: MemoryType) -> Result<SharedMemory> {
        ensure!(
            cfg!(feature = "threads"),
            "shared memories need the Cargo feature `threads` of this crate"
        );
        if !ty.is_shared() {
            bail!(
                "the type is that of a memory that is not shared: use `MemoryType::shared`, or make \
                 the memory through `Memory`"
            );
        }
        let memory =
            waxwing_vm::SharedMemory::new(engine.allocator(), ty.as_wasm(), engine.tunables());
        let memory = memory.with_context(|| {
            format!("failed to create a shared memory of {} pages", ty.minimum())
        })?;
        Ok(SharedMemory::from_vm(engine, &memory))
    }

    pub(crate) fn from_vm(engine: &Engine, memory: &waxwing_vm::SharedMemory) -> SharedMemory {
        SharedMemory {
            engine: engine.clone(),
            memory: memory.clone(),
        }
    }

    pub(crate) fn vm(&self) -> &waxwing_vm::SharedMemory {
        &self.memory
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    pub(crate) fn current_type(&self) -> waxwing_environ::Memory {
        let mut ty = *self.memory.ty();
        ty.limits.min = self.memory.pages();
        ty
    }

    /// The type of the memory. Its minimum is the size that it had at first.
    pub fn ty(&self) -> MemoryType {
        MemoryType::from_wasm(self.memory.ty())
    }

    /// The bytes of a page: 65536 unless the memory's type says otherwise.
    pub fn page_size(&self) -> u32 {
        1 << self.memory.ty().page_size_log2
    }

    /// The size in pages, each of [`page_size`](Self::page_size) bytes. Other threads may make it
    /// larger at any time.
    pub fn size(&self) -> u64 {
        self.memory.pages()
    }

    /// The size in bytes. Other threads may make it larger at any time.
    pub fn data_size(&self) -> usize {
        self.memory.byte_size()
    }

    /// The bytes of the memory, as many as it has by now.
    ///
    /// Other threads may read and write the bytes at any time. Accessing them safely is up to the
    /// caller: as in any Rust program, accesses of which one is a write must be atomic unless they are
    /// synchronised. WebAssembly code accesses them as the specification of threads says.
    pub fn data(&self) -> &[UnsafeCell<u8>] {
        let start = self.memory.base().as_ptr().cast_const();
        // SAFETY: the memory has as many bytes at its base, all initialised, and neither moves nor shrinks
        // as long as `self` keeps it. That they change meanwhile is what cells are for.
        unsafe { std::slice::from_raw_parts(start.cast(), self.data_size()) }
    }

    /// Appends `delta` pages of zeros, and returns how many pages there were before.
    ///
    /// No limiter is asked, as the memory belongs to no store.
    ///
    /// # Errors
    ///
    /// Fails if the memory would exceed its maximum, or if the system lacks memory. The memory is then
    /// as before.
    pub fn grow(&self, delta: u64) -> Result<u64> {
        let grown = self.memory.grow(delta);
        grown.with_context(|| format!("failed to grow memory by `{delta}`"))
    }

    /// Wakes at most `count` of the threads that wait at `addr`, those first that have waited longest,
    /// and returns how many there were: the instruction `memory.atomic.notify`.
    ///
    /// # Errors
    ///
    /// [`Trap::HeapMisaligned`] if `addr` is no multiple of 4, and [`Trap::MemoryOutOfBounds`] if there
    /// are no 4 bytes at it.
    pub fn atomic_notify(&self, addr: u64, count: u32) -> Result<u32, Trap> {
        self.memory.atomic_notify(addr, count)
    }

    /// Puts the calling thread to sleep if the 4 bytes at `addr` are `expected`, until another thread
    /// notifies it or `timeout` is over, if there is one: the instruction `memory.atomic.wait32`.
    ///
    /// # Errors
    ///
    /// [`Trap::HeapMisaligned`] if `addr` is no multiple of 4, and [`Trap::MemoryOutOfBounds`] if there
    /// are no 4 bytes at it.
    pub fn atomic_wait32(
        &self,
        addr: u64,
        expected: u32,
        timeout: Option<Duration>,
    ) -> Result<WaitResult, Trap> {
        self.memory.atomic_wait32(addr, expected, timeout)
    }

    /// Puts the calling thread to sleep if the 8 bytes at `addr` are `expected`, until another thread
    /// notifies it or `timeout` is over, if there is one: the instruction `memory.atomic.wait64`.
    ///
    /// # Errors
    ///
    /// [`Trap::HeapMisaligned`] if `addr` is no multiple of 8, and [`Trap::MemoryOutOfBounds`] if there
    /// are no 8 bytes at it.
    pub fn atomic_wait64(
        &self,
        addr: u64,
        expected: u64,
        timeout: Option<Duration>,
    ) -> Result<WaitResult, Trap> {
        self.memory.atomic_wait64(addr, expected, timeout)
    }
}
