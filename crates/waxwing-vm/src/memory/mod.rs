//! [`Memory`]: a linear memory, which belongs to a store or is shared between several.

mod backing;
mod host;
mod parking_lot;
mod racy;
mod shared;
mod spares;
mod storage;

use std::ops::Range;
use std::ptr::NonNull;
use std::sync::Arc;

use anyhow::Result;
use waxwing_environ::{Trap, Tunables};

use crate::allocator::{Affinity, Allocator, Pool, StoreKey};

pub use host::{HostMemories, LinearMemory};
pub(crate) use parking_lot::notify;
pub(crate) use racy::{copy as racy_copy, fill as racy_fill, write as racy_write};
pub use shared::SharedMemory;
pub(crate) use shared::{wait32, wait64};
pub(crate) use spares::{MemoryKey, forget_module};
pub(crate) use storage::InitialContents;
pub use storage::Storage;

/// How waiting at an address of a shared memory ended.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum WaitResult {
    /// Another thread notified this one.
    Ok = 0,
    /// The value in memory was not the expected one: there was no wait.
    Mismatch = 1,
    /// Nobody notified this thread in time.
    TimedOut = 2,
}

/// A linear memory.
#[derive(Debug)]
pub enum Memory {
    /// One that belongs to a store.
    Unshared(Storage),
    /// One that several stores, and threads, may use.
    Shared(SharedMemory),
}

impl Memory {
    /// A memory of type `ty`, of its minimal size. If there is a `key`, the module and its engine's settings are those of
    /// all memories with the same one.
    ///
    /// # Errors
    ///
    /// Fails if the system lacks the address space or memory, or the contents cannot be mapped.
    pub(crate) fn new(
        allocator: &Allocator,
        ty: &waxwing_environ::Memory,
        tunables: &Tunables,
        key: Option<MemoryKey>,
        contents: InitialContents<'_>,
    ) -> Result<Memory> {
        let storage = Storage::new(allocator, ty, tunables, key, contents)?;
        Ok(if ty.shared {
            Memory::Shared(SharedMemory::from_storage(storage))
        } else {
            Memory::Unshared(storage)
        })
    }

    /// A memory of type `ty`, which is not a shared one, in a slot of a pool.
    ///
    /// # Errors
    ///
    /// Fails if all slots are in use, the memory is too large for them, or the contents cannot be mapped.
    pub(crate) fn pooled(
        pool: &Arc<Pool>,
        affinity: Affinity,
        key: &StoreKey,
        ty: &waxwing_environ::Memory,
        contents: InitialContents<'_>,
    ) -> Result<Memory> {
        Storage::pooled(pool, affinity, key, ty, contents).map(Memory::Unshared)
    }

    /// The memory as one that others may use too, if it is.
    #[inline]
    pub fn as_shared(&self) -> Option<&SharedMemory> {
        match self {
            Memory::Shared(memory) => Some(memory),
            Memory::Unshared(_) => None,
        }
    }

    /// The memory's type.
    #[inline]
    pub fn ty(&self) -> &waxwing_environ::Memory {
        match self {
            Memory::Unshared(memory) => memory.ty(),
            Memory::Shared(memory) => memory.ty(),
        }
    }

    /// The address of the first byte; not null, also of a memory of no bytes.
    #[inline]
    pub fn base(&self) -> NonNull<u8> {
        match self {
            Memory::Unshared(memory) => memory.base(),
            Memory::Shared(memory) => memory.base(),
        }
    }

    /// The size in bytes.
    #[inline]
    pub fn byte_size(&self) -> usize {
        match self {
            Memory::Unshared(memory) => memory.byte_size(),
            Memory::Shared(memory) => memory.byte_size(),
        }
    }

    /// The size in pages of the memory's type.
    pub fn pages(&self) -> u64 {
        self.byte_size() as u64 >> self.ty().page_size_log2
    }

    /// The addresses that the memory may ever use without moving, and those of its guards. An access in
    /// there that faults is out of bounds.
    pub fn address_range(&self) -> Range<usize> {
        match self {
            Memory::Unshared(memory) => memory.address_range(),
            Memory::Shared(memory) => memory.address_range(),
        }
    }
}

/// The size in bytes of a memory of `current` bytes after growing by `delta` pages, saturating.
pub(crate) fn size_after_growth(ty: &waxwing_environ::Memory, current: usize, delta: u64) -> usize {
    let delta = u128::from(delta) << ty.page_size_log2;
    usize::try_from(current as u128 + delta).unwrap_or(usize::MAX)
}

/// The most bytes that a type of memories declares, for limiters; saturating.
pub(crate) fn declared_maximum(ty: &waxwing_environ::Memory) -> Option<usize> {
    let bytes = u128::from(ty.limits.max?) << ty.page_size_log2;
    Some(usize::try_from(bytes).unwrap_or(usize::MAX))
}

/// The address of `size` bytes at `address` of a memory, for an atomic access to them.
///
/// # Errors
///
/// Traps if they are not aligned, or not all among the `length` bytes at `base`.
pub(crate) fn atomic_address(
    base: NonNull<u8>,
    length: usize,
    address: u64,
    size: u64,
) -> Result<NonNull<u8>, Trap> {
    if !address.is_multiple_of(size) {
        return Err(Trap::HeapMisaligned);
    }
    match address.checked_add(size) {
        // Bases are aligned to pages, so that the sum is aligned too.
        Some(end) if end <= length as u64 => {
            let start = base.as_ptr().wrapping_add(address as usize);
            Ok(NonNull::new(start).expect("memories do not wrap around"))
        }
        _ => Err(Trap::MemoryOutOfBounds),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use waxwing_environ::{IndexType, Limits};

    #[test]
    fn growth_saturates() {
        let ty = waxwing_environ::Memory {
            idx_type: IndexType::I32,
            limits: Limits {
                min: 1,
                max: Some(1 << 60),
            },
            shared: false,
            page_size_log2: 16,
        };
        assert_eq!(size_after_growth(&ty, 0x1_0000, 2), 0x3_0000);
        assert_eq!(size_after_growth(&ty, 0x1_0000, u64::MAX), usize::MAX);
        assert_eq!(declared_maximum(&ty), Some(usize::MAX));
    }

    #[test]
    fn atomic_accesses_are_checked() {
        let base = NonNull::<u64>::dangling().cast::<u8>();
        let at = |address, size| atomic_address(base, 16, address, size).map(|_| ());
        assert_eq!(at(8, 8), Ok(()));
        assert_eq!(at(12, 4), Ok(()));
        assert_eq!(at(12, 8), Err(Trap::HeapMisaligned));
        assert_eq!(at(16, 4), Err(Trap::MemoryOutOfBounds));
        assert_eq!(at(u64::MAX - 7, 8), Err(Trap::MemoryOutOfBounds));
        // What is neither aligned nor in bounds is not aligned.
        assert_eq!(at(u64::MAX - 1, 4), Err(Trap::HeapMisaligned));
    }
}
