//! Linear memories that the embedder provides.

use std::fmt;
use std::ops::Range;
use std::ptr::NonNull;

use anyhow::{Result, ensure};

use super::backing::Plan;
use crate::mmap::host_page_size;

/// The bytes of one linear memory, which the embedder provides.
///
/// Values come from a creator of memories that an engine is configured with. The engine asks for growth by
/// [`grow_to`](Self::grow_to), and drops the value when the memory's store, or the last handle to a shared memory, is
/// dropped.
///
/// # Safety
///
/// Compiled code accesses the memory without asking, and relies on this:
///
/// - [`as_ptr`](Self::as_ptr) is a multiple of the host's page size. The [`byte_size`](Self::byte_size) bytes
///   there can be read and written, are zeros as long as nobody writes to them, and belong to the memory alone. The rest
///   of the page in which they end can be accessed or not.
/// - What follows, up to the [capacity](Self::byte_capacity) and for as many bytes more as the guard that was asked for,
///   cannot be accessed: doing so is a fault of the kind that a page without any rights gives.
/// - Only `grow_to` changes the address, the size or the capacity. The address stays the same when it grows to a size that does
///   not exceed the capacity, or if a reservation was asked for. What was written stays, wherever the address is.
pub unsafe trait LinearMemory: Send + Sync + 'static {
    /// The bytes that are accessible. At least the memory's size.
    fn byte_size(&self) -> usize;

    /// The bytes that the memory can grow to without a change of its address.
    fn byte_capacity(&self) -> usize;

    /// Grows the memory to `new_size` bytes, which is more than it was asked for so far.
    ///
    /// # Errors
    ///
    /// Fails, leaving the memory as it was, if that is not possible. The growth then fails, as that of any memory may, and the
    /// store's limiter is told the error.
    fn grow_to(&mut self, new_size: usize) -> Result<()>;

    /// The address of the first byte. Not null, also if there are no bytes.
    fn as_ptr(&self) -> *mut u8;
}

/// Who makes linear memories for an engine, in place of the engine's own mappings.
pub trait HostMemories: Send + Sync {
    /// A memory of type `ty`, of `minimum` bytes, which may grow to `maximum` bytes if that is known. With
    /// `reserved`, it does not move, and has a capacity of at least as much. `guard` bytes behind are
    /// inaccessible.
    ///
    /// # Errors
    ///
    /// Fails if there is no such memory.
    fn new_memory(
        &self,
        ty: &waxwing_environ::Memory,
        minimum: usize,
        maximum: Option<usize>,
        reserved: Option<usize>,
        guard: usize,
    ) -> Result<Box<dyn LinearMemory>>;
}

/// A memory of the embedder's, as far as it was checked.
pub(super) struct HostMemory {
    memory: Box<dyn LinearMemory>,
    guard: usize,
    fixed: bool,
}

impl fmt::Debug for HostMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostMemory")
            .field("address_range", &self.address_range())
            .finish_non_exhaustive()
    }
}

impl HostMemory {
    /// # Errors
    ///
    /// Fails if the creator does, or made what was not asked for.
    pub(super) fn new(creator: &dyn HostMemories, plan: &Plan<'_>) -> Result<HostMemory> {
        let maximum = super::declared_maximum(plan.ty);
        let reserved = plan.fixed.then_some(plan.reserved);
        let memory = creator.new_memory(plan.ty, plan.size, maximum, reserved, plan.guard)?;
        let address = memory.as_ptr().addr();
        ensure!(
            address != 0 && address.is_multiple_of(host_page_size()),
            "the memory creator returned a memory at {address:#x}, which is not a page of the host: its \
             address has to be a multiple of {:#x}",
            host_page_size()
        );
        let (size, capacity) = (memory.byte_size(), memory.byte_capacity());
        ensure!(
            size >= plan.size,
            "the memory creator returned a memory of {size:#x} bytes instead of {:#x}",
            plan.size
        );
        ensure!(
            capacity >= size && capacity >= reserved.unwrap_or(0),
            "the memory creator returned a memory with a capacity of {capacity:#x} bytes, for a size of \
             {size:#x} and a reservation of {:#x} bytes",
            reserved.unwrap_or(0)
        );
        let end = capacity.checked_add(plan.guard);
        ensure!(
            end.is_some_and(|end| address.checked_add(end).is_some()),
            "the memory creator returned a memory at {address:#x} with a capacity of {capacity:#x} bytes, \
             which with its guard of {:#x} bytes exceeds the address space",
            plan.guard
        );
        Ok(HostMemory {
            memory,
            guard: plan.guard,
            fixed: plan.fixed,
        })
    }

    pub(super) fn base(&self) -> NonNull<u8> {
        NonNull::new(self.memory.as_ptr()).expect("the address of a linear memory is not null")
    }

    pub(super) fn capacity(&self) -> usize {
        self.memory.byte_capacity()
    }

    pub(super) fn address_range(&self) -> Range<usize> {
        let start = self.memory.as_ptr().addr();
        start..start + self.capacity() + self.guard
    }

    /// # Panics
    ///
    /// Panics if the embedder's memory breaks what [`LinearMemory`] requires, as accesses are not safe then.
    pub(super) fn grow(&mut self, size: usize) -> Result<()> {
        let stays = self.fixed || size <= self.capacity();
        let base = self.base();
        self.memory.grow_to(size)?;
        assert!(
            !stays || self.base() == base,
            "`LinearMemory::grow_to` moved a memory that has to stay at {base:p}"
        );
        assert!(
            self.memory.byte_size() >= size && self.capacity() >= size,
            "`LinearMemory::grow_to` succeeded, but did not grow the memory to {size:#x} bytes"
        );
        Ok(())
    }
}
