//! [`StackPool`]: stacks of fibers that are used again.
//!
//! ```text
//! | guard | … the stack, which grows down |
//! ```
//!
//! A stack is mapped when it is first needed and kept from then on. What was written there is only removed
//! if that is asked for: nobody reads of a stack what they did not write.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Result;

use super::decommit::{Decommit, Freed};
use super::index::Permits;
use super::{Pool, PoolConcurrencyLimitError, PoolOptions};
use crate::mmap::{Mmap, round_up_to_host_pages};

pub(super) struct StackPool {
    permits: Permits,
    /// Those that were used, the most recent one last.
    free: Mutex<Vec<Mmap>>,
    zeroing: bool,
    /// Bytes at the end of a stack, in whole pages, that are reset by writing zeros.
    keep_resident: usize,
}

impl StackPool {
    pub(super) fn new(options: &PoolOptions) -> StackPool {
        StackPool {
            permits: Permits::new(options.total_stacks as usize),
            free: Mutex::default(),
            zeroing: options.async_stack_zeroing,
            keep_resident: round_up_to_host_pages(options.async_stack_keep_resident)
                .unwrap_or(usize::MAX),
        }
    }

    pub(super) fn in_use(&self) -> usize {
        self.permits.taken()
    }

    fn free(&self) -> MutexGuard<'_, Vec<Mmap>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn unused_warm(&self) -> usize {
        self.free().len()
    }

    /// What free stacks keep, if they are reset: how much others use is not known.
    pub(super) fn unused_bytes(&self) -> Option<usize> {
        let kept = |stack: &Mmap| stack.len().min(self.keep_resident);
        self.zeroing.then(|| self.free().iter().map(kept).sum())
    }

    /// Takes the memory of a stack back, if it is as good as new.
    pub(super) fn give_back(&self, mapping: Option<Mmap>) {
        if let Some(mapping) = mapping {
            self.free().push(mapping);
        }
        self.permits.give_back();
    }
}

/// The memory of a stack, and of its guard below.
pub(crate) struct PooledStack {
    pool: Arc<Pool>,
    mapping: Mmap,
    guard: usize,
}

impl Pool {
    /// The memory of a stack: `total` bytes, of which the first `guard` ones are inaccessible. `map` makes it.
    ///
    /// # Errors
    ///
    /// Fails if there are too many stacks, or `map` does.
    pub(crate) fn stack(
        self: &Arc<Pool>,
        guard: usize,
        total: usize,
        map: impl FnOnce() -> Result<Mmap>,
    ) -> Result<PooledStack> {
        let stacks = &self.stacks;
        let error = PoolConcurrencyLimitError {
            what: "stacks of asynchronous execution",
            limit: stacks.permits.total(),
            option: "total_stacks",
        };
        self.take_or(|| stacks.permits.take().then_some(()), error)?;
        // An engine has stacks of one size. One of another size is dropped.
        let used = stacks.free().pop().filter(|stack| stack.len() == total);
        match used.map_or_else(map, Ok) {
            Ok(mapping) => Ok(PooledStack {
                pool: Arc::clone(self),
                mapping,
                guard,
            }),
            Err(error) => {
                stacks.permits.give_back();
                Err(error)
            }
        }
    }
}

impl PooledStack {
    /// The stack with its guard.
    pub(crate) fn mapping(&self) -> &Mmap {
        &self.mapping
    }
}

impl Drop for PooledStack {
    fn drop(&mut self) {
        let stacks = &self.pool.stacks;
        let mapping = std::mem::replace(&mut self.mapping, Mmap::empty());
        if !stacks.zeroing {
            return stacks.give_back(Some(mapping));
        }
        let size = mapping.len() - self.guard;
        let keep = size.min(stacks.keep_resident);
        let end = mapping.as_mut_ptr().wrapping_add(mapping.len());
        // SAFETY: the stack is accessible from the guard to its end, and nobody uses it any more.
        unsafe { end.sub(keep).write_bytes(0, keep) };
        if keep == size {
            return stacks.give_back(Some(mapping));
        }
        self.pool.decommit(Decommit {
            start: mapping.as_mut_ptr().wrapping_add(self.guard),
            len: size - keep,
            freed: Freed::Stack(mapping),
        });
    }
}
