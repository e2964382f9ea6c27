//! [`SharedMemory`]: a linear memory of several stores and threads.

use std::ops::Range;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use waxwing_environ::{Trap, Tunables};

use super::storage::{InitialContents, Storage};
use super::{WaitResult, atomic_address, parking_lot, size_after_growth};
use crate::allocator::Allocator;
use crate::vmcontext::VMMemoryDefinition;

/// A linear memory that several stores, and threads, may use.
///
/// It never moves, and never shrinks. Its bytes are accessed by generated code and by atomic operations,
/// and no reference to them is made.
#[derive(Clone)]
pub struct SharedMemory(Arc<Inner>);

struct Inner {
    /// What generated code reads. The base is never changed; the length is by growth.
    definition: VMMemoryDefinition,
    ty: waxwing_environ::Memory,
    address_range: Range<usize>,
    /// The bytes themselves. Locked to grow.
    storage: Mutex<Storage>,
}

// SAFETY: the base is an address in the storage, which belongs to the value and to no thread. Who accesses
// the bytes there argues for it.
unsafe impl Send for Inner {}
// SAFETY: as above; all that changes is atomic or behind a lock.
unsafe impl Sync for Inner {}

impl std::fmt::Debug for SharedMemory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SharedMemory")
            .field("ty", self.ty())
            .field("byte_size", &self.byte_size())
            .finish_non_exhaustive()
    }
}

impl SharedMemory {
    /// A shared memory of type `ty`, which says that it is one, of its minimal size and all zeros.
    ///
    /// # Errors
    ///
    /// Fails if the type is that of a memory that is not shared, or the system lacks the address space or
    /// memory.
    pub fn new(
        allocator: &Allocator,
        ty: &waxwing_environ::Memory,
        tunables: &Tunables,
    ) -> Result<SharedMemory> {
        ensure!(ty.shared, "the memory's type is not a shared one");
        let storage = Storage::new(allocator, ty, tunables, None, InitialContents::Zeros)?;
        Ok(SharedMemory::from_storage(storage))
    }

    /// Makes a memory that nobody uses yet a shared one.
    pub(super) fn from_storage(storage: Storage) -> SharedMemory {
        SharedMemory(Arc::new(Inner {
            definition: VMMemoryDefinition {
                base: storage.base(),
                current_length: AtomicUsize::new(storage.byte_size()),
            },
            ty: *storage.ty(),
            address_range: storage.address_range(),
            storage: Mutex::new(storage),
        }))
    }

    /// What generated code reads; valid as long as the memory.
    pub(crate) fn definition(&self) -> NonNull<VMMemoryDefinition> {
        NonNull::from(&self.0.definition)
    }

    /// Whether both are the same memory.
    pub fn is(&self, other: &SharedMemory) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// What no other memory has as long as this one exists.
    pub(crate) fn identity(&self) -> usize {
        Arc::as_ptr(&self.0).addr()
    }

    /// The memory's type.
    #[inline]
    pub fn ty(&self) -> &waxwing_environ::Memory {
        &self.0.ty
    }

    /// The address of the first byte; not null, also of a memory of no bytes. It never changes.
    #[inline]
    pub fn base(&self) -> NonNull<u8> {
        self.0.definition.base
    }

    /// The size in bytes. Other threads may make it larger at any time.
    #[inline]
    pub fn byte_size(&self) -> usize {
        self.0.definition.current_length.load(Ordering::SeqCst)
    }

    /// The size in pages of the memory's type. Other threads may make it larger at any time.
    pub fn pages(&self) -> u64 {
        self.byte_size() as u64 >> self.ty().page_size_log2
    }

    /// The addresses that the memory may ever use, and those of its guards.
    pub fn address_range(&self) -> Range<usize> {
        self.0.address_range.clone()
    }

    /// Grows by `delta` pages. Returns the previous number of pages.
    ///
    /// # Errors
    ///
    /// Fails, leaving the memory as it was, if that exceeds its maximum or its reservation, or the system
    /// lacks memory.
    pub fn grow(&self, delta: u64) -> Result<u64> {
        let mut storage = self.lock();
        let current = storage.byte_size();
        if delta > 0 {
            let desired = size_after_growth(self.ty(), current, delta);
            self.grow_storage(&mut storage, desired)?;
        }
        Ok(current as u64 >> self.ty().page_size_log2)
    }

    /// Grows from `current` bytes, unless the size is another by now, to `desired` bytes. Returns whether
    /// it was `current`.
    ///
    /// # Errors
    ///
    /// As for [`Self::grow`].
    pub(crate) fn grow_from(&self, current: usize, desired: usize) -> Result<bool> {
        let mut storage = self.lock();
        if storage.byte_size() != current {
            return Ok(false);
        }
        self.grow_storage(&mut storage, desired)?;
        Ok(true)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Storage> {
        // Growth leaves the storage as it was if it fails, be it by a panic.
        let storage = self.0.storage.lock();
        storage.unwrap_or_else(PoisonError::into_inner)
    }

    fn grow_storage(&self, storage: &mut Storage, desired: usize) -> Result<()> {
        storage.grow_to(desired)?;
        debug_assert_eq!(storage.base(), self.base());
        let length = &self.0.definition.current_length;
        length.store(desired, Ordering::SeqCst);
        Ok(())
    }

    fn atomic_address(&self, address: u64, size: u64) -> Result<NonNull<u8>, Trap> {
        atomic_address(self.base(), self.byte_size(), address, size)
    }

    /// `memory.atomic.notify`: wakes at most `count` threads that wait at `address`. Returns how many.
    ///
    /// # Errors
    ///
    /// Traps if the address is no multiple of 4, or out of bounds.
    pub fn atomic_notify(&self, address: u64, count: u32) -> Result<u32, Trap> {
        let address = self.atomic_address(address, 4)?;
        Ok(parking_lot::notify(address.addr().get(), count))
    }

    /// `memory.atomic.wait32`: waits at `address` if the value there is `expected`, for no longer than
    /// `timeout` if there is one.
    ///
    /// # Errors
    ///
    /// Traps if the address is no multiple of 4, or out of bounds.
    pub fn atomic_wait32(
        &self,
        address: u64,
        expected: u32,
        timeout: Option<Duration>,
    ) -> Result<WaitResult, Trap> {
        let address = self.atomic_address(address, 4)?;
        // SAFETY: the word is within the memory, which exists as long as `self`.
        Ok(unsafe { wait32(address, expected, timeout) })
    }

    /// `memory.atomic.wait64`: waits at `address` if the value there is `expected`, for no longer than
    /// `timeout` if there is one.
    ///
    /// # Errors
    ///
    /// Traps if the address is no multiple of 8, or out of bounds.
    pub fn atomic_wait64(
        &self,
        address: u64,
        expected: u64,
        timeout: Option<Duration>,
    ) -> Result<WaitResult, Trap> {
        let address = self.atomic_address(address, 8)?;
        // SAFETY: as in `atomic_wait32`.
        Ok(unsafe { wait64(address, expected, timeout) })
    }
}

macro_rules! waits {
    ($($name:ident $atomic:ident $integer:ident;)*) => {$(
        /// Waits at `address` if the value there is `expected`, for no longer than `timeout` if there is
        /// one.
        ///
        /// # Safety
        ///
        /// The address is aligned, in a shared memory, and stays accessible meanwhile.
        pub(crate) unsafe fn $name(
            address: NonNull<u8>,
            expected: $integer,
            timeout: Option<Duration>,
        ) -> WaitResult {
            // A time too far to be told is never reached.
            let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
            parking_lot::wait(address.addr().get(), deadline, || {
                // SAFETY: required of the caller; it is accessed by atomic operations and generated
                // code only, as all shared memory is.
                let value = unsafe { $atomic::from_ptr(address.as_ptr().cast()) };
                value.load(Ordering::SeqCst) == expected.to_le()
            })
        }
    )*};
}

waits! {
    wait32 AtomicU32 u32;
    wait64 AtomicU64 u64;
}

#[cfg(test)]
mod tests {
    use super::*;
    use waxwing_environ::{IndexType, Limits};

    fn memory(min: u64, max: u64) -> SharedMemory {
        let ty = waxwing_environ::Memory {
            idx_type: IndexType::I32,
            limits: Limits {
                min,
                max: Some(max),
            },
            shared: true,
            page_size_log2: 16,
        };
        let tunables = Tunables {
            memory_reservation: 0,
            ..Tunables::default()
        };
        SharedMemory::new(&Allocator::default(), &ty, &tunables).unwrap()
    }

    #[test]
    fn threads_grow_one_after_the_other() {
        let memory = memory(1, 100);
        let base = memory.base();
        let mut previous: Vec<u64> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| (0..20).map(|_| memory.grow(1).unwrap()).collect()))
                .collect();
            let sizes = threads.into_iter().map(|thread| thread.join().unwrap());
            sizes.collect::<Vec<Vec<u64>>>().concat()
        });
        previous.sort_unstable();
        assert_eq!(previous, (1..=80).collect::<Vec<_>>());
        assert_eq!((memory.pages(), memory.base()), (81, base));
        assert!(memory.grow(20).is_err());
        assert!(memory.grow(u64::MAX).is_err());
        assert_eq!(memory.grow(19).unwrap(), 81);
        assert_eq!(memory.grow(0).unwrap(), 100);
    }

    #[test]
    fn growth_from_another_size_is_refused() {
        let memory = memory(1, 4);
        assert!(!memory.grow_from(0, 0x3_0000).unwrap());
        assert!(memory.grow_from(0x1_0000, 0x3_0000).unwrap());
        assert!(memory.grow_from(0x3_0000, 0x5_0000).is_err());
        assert_eq!(memory.byte_size(), 0x3_0000);
    }

    #[test]
    fn waits_check_their_address() {
        let memory = memory(1, 2);
        let timeout = Some(Duration::ZERO);
        assert_eq!(
            memory.atomic_wait32(2, 0, timeout),
            Err(Trap::HeapMisaligned)
        );
        assert_eq!(
            memory.atomic_wait64(4, 0, timeout),
            Err(Trap::HeapMisaligned)
        );
        let end = 0x1_0000;
        assert_eq!(
            memory.atomic_wait64(end, 0, timeout),
            Err(Trap::MemoryOutOfBounds)
        );
        assert_eq!(memory.atomic_notify(end, 1), Err(Trap::MemoryOutOfBounds));
        assert_eq!(memory.atomic_notify(0, 1), Ok(0));
        assert_eq!(
            memory.atomic_wait64(8, 0, timeout),
            Ok(WaitResult::TimedOut)
        );
        assert_eq!(
            memory.atomic_wait32(8, 1, Some(Duration::MAX)),
            Ok(WaitResult::Mismatch)
        );
    }
}
