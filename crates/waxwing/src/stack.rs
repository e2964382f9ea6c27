//! Stacks of asynchronous calls that the host supplies: [`StackCreator`] and [`StackMemory`].

use std::ops::Range;
use std::sync::Arc;

use anyhow::Result;
use waxwing_vm::{HostStack, HostStackCreator};

/// Makes the stacks that asynchronous calls run on: given to
/// [`Config::with_host_stack`](crate::Config::with_host_stack).
///
/// # Safety
///
/// What [`new_stack`](Self::new_stack) returns is as it says, and as [`StackMemory`] says.
pub unsafe trait StackCreator: Send + Sync {
    /// A stack of at least `size` bytes, not counting a guard, where `size` is a multiple of the host's page size. It
    /// belongs to one call, and is dropped when that is over.
    ///
    /// # Errors
    ///
    /// The call fails with the error.
    fn new_stack(&self, size: usize) -> Result<Box<dyn StackMemory>>;
}

/// The memory of a stack, which a [`StackCreator`] makes.
///
/// It grows down from [`top`](Self::top). Functions of the host that use more of it than there is access what lies below: a
/// guard of at least a page, where accesses fault, ends the process then, rather than
/// corrupting other memory.
///
/// # Safety
///
/// The memory in [`range`](Self::range) may be read and written, is used by nobody else, and stays so as long as the value
/// lives. No method ever returns anything else than before.
pub unsafe trait StackMemory: Send + Sync {
    /// The end of the stack, a multiple of the host's page size.
    fn top(&self) -> *mut u8;

    /// The addresses of the stack, without its guard. It ends at [`top`](Self::top).
    fn range(&self) -> Range<usize>;

    /// The addresses of the guard, below [`range`](Self::range).
    fn guard_range(&self) -> Range<*mut u8>;
}

/// Stacks of the host, as the runtime sees them.
struct Stack(Box<dyn StackMemory>);

// SAFETY: required of implementations of `StackMemory`.
unsafe impl HostStack for Stack {
    fn top(&self) -> *mut u8 {
        self.0.top()
    }

    fn range(&self) -> Range<usize> {
        self.0.range()
    }

    fn guard_range(&self) -> Range<*mut u8> {
        self.0.guard_range()
    }
}

pub(crate) struct Creator(pub(crate) Arc<dyn StackCreator>);

// SAFETY: required of implementations of `StackCreator`.
unsafe impl HostStackCreator for Creator {
    fn new_stack(&self, size: usize) -> Result<Box<dyn HostStack>> {
        Ok(Box::new(Stack(self.0.new_stack(size)?)))
    }
}
