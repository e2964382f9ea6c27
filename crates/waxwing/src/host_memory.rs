//! [`MemoryCreator`]: linear memories that the embedder provides.

use std::sync::Arc;

use anyhow::{Result, anyhow};
use waxwing_vm::HostMemories;
pub use waxwing_vm::LinearMemory;

use crate::MemoryType;

/// Makes linear memories for an engine, in place of the engine's own; see
/// [`Config::with_host_memory`](crate::Config::with_host_memory).
///
/// # Safety
///
/// Compiled code relies on the memories being as was asked for: see
/// [`new_memory`](Self::new_memory) and [`LinearMemory`].
pub unsafe trait MemoryCreator: Send + Sync {
    /// A memory of type `ty`, all zeros.
    ///
    /// - `minimum` is its initial size in bytes, and `maximum` the one beyond which it never grows, if its type declares one;
    ///   they are what `ty` says in pages.
    /// - With `reserved_size_in_bytes`, that many bytes of address space are reserved for the memory, so that it grows to any
    ///   size up to there and never moves. It has to have at least this [capacity](LinearMemory::byte_capacity). The engine asks
    ///   for it if the memory's type, or the settings, say that it never moves; then code may access it without checking
    ///   bounds, up to the end of the guard. Without, the memory may be moved whenever it outgrows its capacity.
    /// - `guard_size_in_bytes` is how much address space behind the reservation, or behind the capacity if there is none, has to be
    ///   inaccessible: what follows from [`Config::memory_guard_size`](crate::Config::memory_guard_size).
    ///
    /// The last two are multiples of the host's page size. How large they are follows from
    /// [`Config::memory_reservation`](crate::Config::memory_reservation),
    /// [`Config::memory_may_move`](crate::Config::memory_may_move) and the
    /// options beside them; a shared memory is asked for with all that its maximum needs.
    ///
    /// The creator is not told of a guard [before](crate::Config::guard_before_linear_memory) the
    /// memory: there it may have what it likes.
    ///
    /// # Errors
    ///
    /// Fails, with a message, if there is no such memory. Making the memory's instance, or
    /// [`Memory::new`](crate::Memory::new), then fails with that message. The same happens to a memory whose
    /// address, size or capacity is not what was asked for.
    fn new_memory(
        &self,
        ty: MemoryType,
        minimum: usize,
        maximum: Option<usize>,
        reserved_size_in_bytes: Option<usize>,
        guard_size_in_bytes: usize,
    ) -> Result<Box<dyn LinearMemory>, String>;
}

/// The creator as the runtime knows it.
pub(crate) struct Creator(pub(crate) Arc<dyn MemoryCreator>);

impl HostMemories for Creator {
    fn new_memory(
        &self,
        ty: &waxwing_environ::Memory,
        minimum: usize,
        maximum: Option<usize>,
        reserved: Option<usize>,
        guard: usize,
    ) -> Result<Box<dyn LinearMemory>> {
        let ty = MemoryType::from_wasm(ty);
        let memory = self.0.new_memory(ty, minimum, maximum, reserved, guard);
        memory.map_err(|message| anyhow!(message).context("the memory creator failed"))
    }
}
