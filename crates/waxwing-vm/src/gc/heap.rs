//! [`GcHeap`]: the address space of a store's objects.
//!
//! ```text
//! | card table | null guard | 4 GiB that references can reach … | guard |
//! ```
//!
//! The whole range is reserved at once and inaccessible; collectors commit the parts that they use. The card
//! table (see `cards`) is committed from the start if there is one: it has memory for what was used
//! of it, about a 500th of the heap, which does not count as memory of the heap.

use std::ops::{Deref, Range};
use std::ptr::NonNull;
use std::sync::Arc;

use anyhow::{Context, Result};
use waxwing_environ::gc::{GC_CARDS_SIZE, GC_HEAP_GUARD, GC_HEAP_NULL_GUARD, GC_HEAP_RESERVATION};

use crate::allocator::{Pool, PooledGcHeap};
use crate::mmap::Mmap;

/// Where the first object can be.
pub(super) const HEAP_START: u32 = GC_HEAP_NULL_GUARD;
/// The end of the last object that there can be.
pub(super) const HEAP_END: u32 = (GC_HEAP_RESERVATION - GC_HEAP_NULL_GUARD as u64) as u32;
/// Memory is committed in multiples of this: a multiple of every host's page size.
pub(super) const COMMIT_UNIT: u32 = 0x1_0000;

/// Whose the address space is.
enum Reservation {
    Own(Mmap),
    Pooled(PooledGcHeap),
}

impl Deref for Reservation {
    type Target = Mmap;

    #[inline]
    fn deref(&self) -> &Mmap {
        match self {
            Reservation::Own(mmap) => mmap,
            Reservation::Pooled(heap) => heap,
        }
    }
}

/// The address space of a store's objects.
pub(super) struct GcHeap {
    mmap: Reservation,
    base: NonNull<u8>,
}

// SAFETY: the memory belongs to the value, which is used by one thread at a time.
unsafe impl Send for GcHeap {}
// SAFETY: shared references only read.
unsafe impl Sync for GcHeap {}

impl GcHeap {
    /// Reserves the address space, or takes some from the pool. The card table is accessible if there are to be `cards`.
    pub(super) fn new(cards: bool, pool: Option<&Arc<Pool>>) -> Result<GcHeap> {
        let size = u64::from(GC_CARDS_SIZE) + GC_HEAP_RESERVATION + GC_HEAP_GUARD;
        let size = usize::try_from(size)
            .context("a garbage-collected heap needs a 64-bit address space")?;
        let accessible = if cards { GC_CARDS_SIZE as usize } else { 0 };
        let reserve = || {
            Mmap::accessible_reserved(accessible, size)
                .context("failed to reserve a garbage-collected heap")
        };
        // What the last user of one from the pool committed is still accessible, and zeros.
        let mmap = match pool {
            Some(pool) => Reservation::Pooled(pool.gc_heap(reserve)?),
            None => Reservation::Own(reserve()?),
        };
        let start = NonNull::new(mmap.as_mut_ptr()).expect("reservations are not null");
        // SAFETY: the reservation is longer than the card table.
        let base = unsafe { start.add(GC_CARDS_SIZE as usize) };
        Ok(GcHeap { mmap, base })
    }

    /// The address of offset zero.
    #[inline]
    pub(super) fn base(&self) -> NonNull<u8> {
        self.base
    }

    /// Makes a range of whole units accessible; what was not before becomes zeros.
    pub(super) fn commit(&self, range: Range<u32>) -> Result<()> {
        // SAFETY: nobody borrows memory of the heap.
        unsafe { self.mmap.make_accessible(part(range)) }
    }

    /// Makes a range of whole units, which are committed, zero, and gives its memory back until it is used
    /// again.
    pub(super) fn discard(&self, range: Range<u32>) -> Result<()> {
        // SAFETY: as above; no live object is in the range.
        unsafe { self.mmap.discard(part(range)) }
    }

    /// Gives the memory of a range of whole units back, and makes it inaccessible.
    pub(super) fn decommit(&self, range: Range<u32>) -> Result<()> {
        // SAFETY: as above; no live object is in the range.
        unsafe { self.mmap.make_inaccessible(part(range)) }
    }
}

/// The part of the reservation that a range of offsets is.
fn part(range: Range<u32>) -> Range<usize> {
    let place = |offset: u32| GC_CARDS_SIZE as usize + offset as usize;
    place(range.start)..place(range.end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn committed_memory_is_zero_again_after_it_was_given_back() {
        let heap = GcHeap::new(false, None).unwrap();
        let range = HEAP_START..HEAP_START + 2 * COMMIT_UNIT;
        heap.commit(range.clone()).unwrap();
        // SAFETY: the range was committed.
        let first = unsafe { heap.base().add(HEAP_START as usize) };
        // SAFETY: as above.
        unsafe { first.write(7) };
        heap.decommit(range.clone()).unwrap();
        heap.commit(range).unwrap();
        // SAFETY: as above.
        assert_eq!(unsafe { first.read() }, 0);
        heap.commit(HEAP_END - COMMIT_UNIT..HEAP_END).unwrap();
    }
}
