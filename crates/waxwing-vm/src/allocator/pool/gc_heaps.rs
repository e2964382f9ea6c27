//! [`GcHeapPool`]: address space of GC heaps that is used again.
//!
//! It is reserved when a heap is first needed and kept from then on: reserving it is one system call and giving it back another, that
//! takes longer the more of it was used.

use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Result;

use super::decommit::{Decommit, Freed};
use super::index::Permits;
use super::{Pool, PoolConcurrencyLimitError, PoolOptions};
use crate::mmap::Mmap;
use crate::sys::vm;

pub(super) struct GcHeapPool {
    permits: Permits,
    /// Of those that were used, all of one size.
    free: Mutex<Vec<Mmap>>,
}

impl GcHeapPool {
    pub(super) fn new(options: &PoolOptions) -> GcHeapPool {
        GcHeapPool {
            permits: Permits::new(options.total_gc_heaps as usize),
            free: Mutex::default(),
        }
    }

    pub(super) fn in_use(&self) -> usize {
        self.permits.taken()
    }

    fn free(&self) -> MutexGuard<'_, Vec<Mmap>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the address space of a heap back, if it is as good as new.
    pub(super) fn give_back(&self, mapping: Option<Mmap>) {
        if let Some(mapping) = mapping {
            self.free().push(mapping);
        }
        self.permits.give_back();
    }
}

/// Address space for a GC heap, in which all that is accessible is zeros.
pub(crate) struct PooledGcHeap {
    pool: Arc<Pool>,
    mapping: Mmap,
}

impl Pool {
    /// Address space for a GC heap. `reserve` makes it, all heaps of the pool in the same way.
    ///
    /// # Errors
    ///
    /// Fails if there are too many heaps, or `reserve` does.
    pub(crate) fn gc_heap(
        self: &Arc<Pool>,
        reserve: impl FnOnce() -> Result<Mmap>,
    ) -> Result<PooledGcHeap> {
        let heaps = &self.gc_heaps;
        let error = PoolConcurrencyLimitError {
            what: "GC heaps",
            limit: heaps.permits.total(),
            option: "total_gc_heaps",
        };
        self.take_or(|| heaps.permits.take().then_some(()), error)?;
        let used = heaps.free().pop();
        let mapping = used.map_or_else(reserve, Ok);
        match mapping {
            Ok(mapping) => Ok(PooledGcHeap {
                pool: Arc::clone(self),
                mapping,
            }),
            Err(error) => {
                heaps.permits.give_back();
                Err(error)
            }
        }
    }
}

impl Deref for PooledGcHeap {
    type Target = Mmap;

    fn deref(&self) -> &Mmap {
        &self.mapping
    }
}

impl Drop for PooledGcHeap {
    fn drop(&mut self) {
        let mapping = std::mem::replace(&mut self.mapping, Mmap::empty());
        if !vm::DISCARD_KEEPS_MAPPINGS {
            drop(mapping);
            return self.pool.gc_heaps.give_back(None);
        }
        self.pool.decommit(Decommit {
            start: mapping.as_mut_ptr(),
            len: mapping.len(),
            freed: Freed::GcHeap(mapping),
        });
    }
}

impl fmt::Debug for PooledGcHeap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PooledGcHeap").field(&self.mapping).finish()
    }
}
