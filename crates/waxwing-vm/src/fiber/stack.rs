//! [`FiberStack`]: the memory that a fiber runs on.

use std::cell::RefCell;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, ensure};

use crate::allocator::{Pool, PooledStack};
use crate::mmap::{Mmap, host_page_size, round_up_to_host_pages};

/// Least size in bytes of a stack: what entering and leaving code takes, and a host function that fails.
const MIN_SIZE: usize = 32 * 1024;

/// How many stacks that are not in use a thread keeps.
const MAX_SPARE: usize = 4;

/// Memory that the host supplies for a stack.
///
/// # Safety
///
/// [`range`](Self::range) is memory that may be read and written, and that nothing else uses, as long as the value
/// lives. [`top`](Self::top) is its end, page aligned, and does not change.
pub unsafe trait HostStack: Send + Sync {
    /// The end of the stack, where its use begins.
    fn top(&self) -> *mut u8;

    /// The addresses of the stack, without its guard.
    fn range(&self) -> Range<usize>;

    /// The addresses below it where an access faults.
    fn guard_range(&self) -> Range<*mut u8>;
}

/// Who makes stacks for the host.
///
/// # Safety
///
/// What it makes is as the trait [`HostStack`] says, and of at least the size that was asked for.
pub unsafe trait HostStackCreator: Send + Sync {
    /// A stack of at least `size` bytes, not counting its guard.
    ///
    /// # Errors
    ///
    /// Fails if there is none.
    fn new_stack(&self, size: usize) -> Result<Box<dyn HostStack>>;
}

/// Whose memory a stack is.
enum Owner {
    /// Our own: a guard page, and the stack above it.
    Mapping(Mmap),
    Host(Box<dyn HostStack>),
    /// A pool's: a mapping as ours.
    Pooled(PooledStack),
    /// Nobody's: only in `drop`.
    Nobody,
}

/// The memory of a stack, which grows down from [`top`](Self::top) and has a guard below.
///
/// Dropping it gives the memory back to where it came from.
pub struct FiberStack {
    owner: Owner,
    /// Without the guard.
    range: Range<usize>,
}

/// The size of the guard below a stack of at least `size` bytes, and of both.
fn sizes(size: usize) -> Result<(usize, usize)> {
    let size = round_up_to_host_pages(size.max(MIN_SIZE))?;
    let guard = host_page_size();
    let total = size
        .checked_add(guard)
        .ok_or_else(|| anyhow!("a stack of {size:#x} bytes exceeds the address space"))?;
    Ok((guard, total))
}

/// Maps a stack with its guard.
fn map(guard: usize, total: usize) -> Result<Mmap> {
    let map = || -> Result<Mmap> {
        let mapping = Mmap::reserve(total)?;
        // SAFETY: the new mapping is borrowed by nobody.
        unsafe { mapping.make_accessible(guard..total)? };
        Ok(mapping)
    };
    map().with_context(|| {
        format!(
            "failed to allocate a stack of {:#x} bytes for asynchronous execution; \
             `Config::async_stack_size` makes stacks smaller",
            total - guard
        )
    })
}

impl FiberStack {
    /// A stack of at least `size` bytes in a mapping of its own, or one that this thread used before.
    ///
    /// # Errors
    ///
    /// Fails if the system lacks the memory.
    pub(crate) fn own(size: usize) -> Result<FiberStack> {
        let (guard, total) = sizes(size)?;
        let mapping = match take_spare(total) {
            Some(mapping) => mapping,
            None => map(guard, total)?,
        };
        let addresses = mapping.address_range();
        Ok(FiberStack {
            owner: Owner::Mapping(mapping),
            range: addresses.start + guard..addresses.end,
        })
    }

    /// A stack of at least `size` bytes that is the pool's.
    ///
    /// # Errors
    ///
    /// Fails if all are in use, or the system lacks the memory.
    pub(crate) fn pooled(size: usize, pool: &Arc<Pool>) -> Result<FiberStack> {
        let (guard, total) = sizes(size)?;
        let stack = pool.stack(guard, total, || map(guard, total))?;
        let addresses = stack.mapping().address_range();
        Ok(FiberStack {
            owner: Owner::Pooled(stack),
            range: addresses.start + guard..addresses.end,
        })
    }

    /// A stack of at least `size` bytes that the host makes.
    ///
    /// # Errors
    ///
    /// Fails if the host does, or made something else.
    pub(crate) fn host(size: usize, creator: &dyn HostStackCreator) -> Result<FiberStack> {
        let size = round_up_to_host_pages(size.max(MIN_SIZE))?;
        let stack = creator
            .new_stack(size)
            .with_context(|| format!("the host failed to create a stack of {size:#x} bytes"))?;
        let range = stack.range();
        let top = stack.top() as usize;
        ensure!(
            range.start <= range.end && range.end == top && top.is_multiple_of(host_page_size()),
            "the host created a stack at {range:#x?} with its top at {top:#x}, which has to be the end of \
             the range and a multiple of the page size {:#x}",
            host_page_size(),
        );
        ensure!(
            range.len() >= size,
            "the host created a stack of {:#x} bytes where at least {size:#x} were asked for",
            range.len(),
        );
        Ok(FiberStack {
            owner: Owner::Host(stack),
            range,
        })
    }

    /// The end of the stack, where its use begins; page aligned.
    #[inline]
    pub fn top(&self) -> usize {
        self.range.end
    }

    /// The addresses of the stack, without its guard.
    #[inline]
    pub fn range(&self) -> Range<usize> {
        self.range.clone()
    }

    /// The addresses of the guard below the stack. An access there faults.
    pub fn guard_range(&self) -> Range<usize> {
        match &self.owner {
            Owner::Mapping(mapping) => mapping.address_range().start..self.range.start,
            Owner::Pooled(stack) => stack.mapping().address_range().start..self.range.start,
            Owner::Host(stack) => {
                let guard = stack.guard_range();
                guard.start as usize..guard.end as usize
            }
            Owner::Nobody => self.range.start..self.range.start,
        }
    }
}

impl Drop for FiberStack {
    fn drop(&mut self) {
        match std::mem::replace(&mut self.owner, Owner::Nobody) {
            Owner::Mapping(mapping) => keep_spare(mapping),
            Owner::Host(stack) => drop(stack),
            // A pooled one goes back to its pool by being dropped.
            Owner::Pooled(_) | Owner::Nobody => {}
        }
    }
}

impl fmt::Debug for FiberStack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FiberStack")
            .field("range", &self.range)
            .field("guard_range", &self.guard_range())
            .finish_non_exhaustive()
    }
}

thread_local! {
    /// Mappings of stacks that this thread used last. Mapping one is expensive, and so is touching its pages
    /// for the first time. They are the thread's and not a store's: what waits idly needs no stack.
    static SPARE: RefCell<Vec<Mmap>> = const { RefCell::new(Vec::new()) };
}

/// A spare mapping of exactly `total` bytes.
fn take_spare(total: usize) -> Option<Mmap> {
    SPARE
        .try_with(|spare| {
            let mut spare = spare.borrow_mut();
            let newest = spare.iter().rposition(|mapping| mapping.len() == total)?;
            Some(spare.remove(newest))
        })
        .ok()
        .flatten()
}

/// Keeps a mapping for the next stack of its size, in place of the oldest one if there are many.
fn keep_spare(mapping: Mmap) {
    // A thread that is ending keeps nothing: the closure is not called, and drops what it holds.
    let oldest = SPARE.try_with(move |spare| {
        let mut spare = spare.borrow_mut();
        let oldest = (spare.len() == MAX_SPARE).then(|| spare.remove(0));
        spare.push(mapping);
        oldest
    });
    drop(oldest);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stack_is_whole_pages_above_a_guard() {
        let stack = FiberStack::own(100_000).unwrap();
        let page = host_page_size();
        assert!(stack.range().len() >= 100_000);
        assert_eq!(stack.top() % page, 0);
        assert_eq!(
            stack.guard_range(),
            stack.range().start - page..stack.range().start
        );
        let (lowest, highest) = (stack.range().start as *mut u8, (stack.top() - 1) as *mut u8);
        // SAFETY: both are bytes of the stack, which nobody else uses.
        unsafe {
            lowest.write_volatile(1);
            highest.write_volatile(2);
        }
        assert!(FiberStack::own(usize::MAX).is_err());
        assert!(FiberStack::own(usize::MAX / 2).is_err());
    }

    #[test]
    fn a_thread_uses_its_stacks_again() {
        std::thread::spawn(|| {
            let range = |stack: &FiberStack| stack.range();
            let first = FiberStack::own(1 << 20).unwrap();
            let second = FiberStack::own(1 << 20).unwrap();
            let (at_first, at_second) = (range(&first), range(&second));
            assert_ne!(at_first, at_second);
            drop(first);
            drop(second);
            assert_ne!(range(&FiberStack::own(1 << 21).unwrap()), at_second);
            let again = FiberStack::own(1 << 20).unwrap();
            assert_eq!(range(&again), at_second);
            let many: Vec<_> = (0..2 * MAX_SPARE)
                .map(|_| FiberStack::own(1 << 16).unwrap())
                .collect();
            drop(many);
            assert_eq!(SPARE.with_borrow(Vec::len), MAX_SPARE);
        })
        .join()
        .unwrap();
    }

    struct Heap(Mmap, usize);

    // SAFETY: the second half of an own mapping of which nothing else is used.
    unsafe impl HostStack for Heap {
        fn top(&self) -> *mut u8 {
            self.0.as_mut_ptr().wrapping_add(self.0.len())
        }

        fn range(&self) -> Range<usize> {
            self.0.address_range().start + self.1..self.0.address_range().end
        }

        fn guard_range(&self) -> Range<*mut u8> {
            self.0.as_mut_ptr()..self.0.as_mut_ptr().wrapping_add(self.1)
        }
    }

    /// Makes stacks that lack so many bytes.
    struct Creator(usize);

    // SAFETY: where it makes too little, the result is not used.
    unsafe impl HostStackCreator for Creator {
        fn new_stack(&self, size: usize) -> Result<Box<dyn HostStack>> {
            let page = host_page_size();
            let mapping = Mmap::accessible_reserved(page + size, page + size)?;
            Ok(Box::new(Heap(mapping, page + self.0)))
        }
    }

    #[test]
    fn the_hosts_stacks_are_checked() {
        let stack = FiberStack::host(1 << 17, &Creator(0)).unwrap();
        assert_eq!(stack.range().len(), 1 << 17);
        assert_eq!(stack.guard_range().end, stack.range().start);
        let error = FiberStack::host(1 << 17, &Creator(host_page_size())).unwrap_err();
        assert!(error.to_string().contains("were asked for"), "{error}");
    }
}
