//! [`DecommitQueue`]: what is no longer used and waits to be reset.
//!
//! Resetting memory by a system call is what takes longest when an instance ends: the kernel has to tell every core that runs a thread
//! of the process. A batch of resets is one call, on kernels that have it, and tells them once.
//!
//! *Invariant:* what waits here is in use for the pools that it came from. It goes back to them when it is reset, or never, if the
//! system cannot reset it.

use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};

use smallvec::SmallVec;

use super::Pool;
use super::index::SlotId;
use super::memories::FreedMemory;
use crate::mmap::Mmap;
use crate::sys::vm;

/// What goes back to its pool once its memory is reset.
pub(super) enum Freed {
    Memory(FreedMemory),
    Table(SlotId),
    GcHeap(Mmap),
    Stack(Mmap),
}

/// Memory to be reset: what is mapped of a file becomes the file's contents again, and all else zeros.
pub(super) struct Decommit {
    pub(super) start: *mut u8,
    /// Whole pages.
    pub(super) len: usize,
    pub(super) freed: Freed,
}

// SAFETY: the memory belongs to the value, and to no thread.
unsafe impl Send for Decommit {}

/// How many of each kind wait.
#[derive(Copy, Clone, Default)]
pub(super) struct Waiting {
    pub(super) memories: usize,
    pub(super) tables: usize,
    pub(super) gc_heaps: usize,
    pub(super) stacks: usize,
}

/// See the [module](self).
pub(super) struct DecommitQueue {
    batch_size: usize,
    pending: Mutex<Vec<Decommit>>,
    /// Held, shared, by those who reset what they took from the queue; alone by who waits for them.
    resetting: RwLock<()>,
}

impl DecommitQueue {
    pub(super) fn new(batch_size: usize) -> DecommitQueue {
        DecommitQueue {
            batch_size,
            pending: Mutex::default(),
            resetting: RwLock::default(),
        }
    }

    fn pending(&self) -> MutexGuard<'_, Vec<Decommit>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn waiting(&self) -> Waiting {
        let mut waiting = Waiting::default();
        for decommit in &*self.pending() {
            match decommit.freed {
                Freed::Memory(_) => waiting.memories += 1,
                Freed::Table(_) => waiting.tables += 1,
                Freed::GcHeap(_) => waiting.gc_heaps += 1,
                Freed::Stack(_) => waiting.stacks += 1,
            }
        }
        waiting
    }
}

impl Pool {
    /// Resets memory and gives it back to its pool, now or with others.
    pub(super) fn decommit(&self, decommit: Decommit) {
        if self.queue.batch_size <= 1 {
            // SAFETY: as in `reset`.
            let result = unsafe { vm::discard(decommit.start, decommit.len) };
            return self.return_freed(decommit.freed, result.is_ok());
        }
        let _resetting = self
            .queue
            .resetting
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        let batch = {
            let mut pending = self.queue.pending();
            pending.push(decommit);
            if pending.len() < self.queue.batch_size {
                return;
            }
            let room = Vec::with_capacity(pending.len());
            std::mem::replace(&mut *pending, room)
        };
        self.reset(batch);
    }

    /// Resets all that waits, and waits for those who are doing so. Then calls `take`, before anything can wait again.
    pub(super) fn flush_and<T>(&self, take: impl Fn() -> Option<T>) -> Option<T> {
        if self.queue.batch_size <= 1 {
            return None;
        }
        let _alone = self
            .queue
            .resetting
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let batch = std::mem::take(&mut *self.queue.pending());
        self.reset(batch);
        take()
    }

    /// Gives what was reset, or could not be, back to its pool.
    fn return_freed(&self, freed: Freed, was_reset: bool) {
        match freed {
            Freed::Memory(memory) => self.memories.give_back(memory, was_reset),
            Freed::Table(slot) => self.tables.give_back(slot, was_reset),
            Freed::GcHeap(mapping) => self.gc_heaps.give_back(was_reset.then_some(mapping)),
            Freed::Stack(mapping) => self.stacks.give_back(was_reset.then_some(mapping)),
        }
    }

    fn reset(&self, batch: impl IntoIterator<Item = Decommit>) {
        let mut batch: SmallVec<[Option<Decommit>; 16]> = batch.into_iter().map(Some).collect();
        let ranges: SmallVec<[(*mut u8, usize); 16]> = batch
            .iter()
            .flatten()
            .map(|decommit| (decommit.start, decommit.len))
            .collect();
        let mut done = |index: usize, succeeded: bool| {
            let Some(Decommit { freed, .. }) = batch[index].take() else {
                return;
            };
            self.return_freed(freed, succeeded);
        };
        // SAFETY: the ranges are whole pages of what was freed, which nobody uses any more.
        unsafe { vm::discard_all(&ranges, &mut done) };
    }
}
