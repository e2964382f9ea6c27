//! Execution that can be suspended: on stacks of their own.
//!
//! A [`OnFiber`] is a future whose work is a function that runs on a [`FiberStack`]. Polling it switches to that
//! stack, until the function returns or waits for something: for another future, by [`block_on`], or for its turn, by
//! [`yield_now`]. Then the stack is left as it is, and polling returns `Pending`. So code that knows nothing of
//! futures, generated code above all, can be in the middle of a call that waits.
//!
//! # Who runs where
//!
//! Fibers nest as polling does: one may poll another, of the same store or of another one, and goes on when that is
//! suspended. A fiber belongs to one store, of which it has exclusive use for its whole life.
//! Only calls of that store can be suspended, and only where the innermost thing on the stack is a function
//! of this module: what is in between has returned, and waits on the heap, as futures do.
//!
//! A suspended fiber may go on on another thread. For what its frames hold that is sound as it is for futures that are
//! `Send`: the frames are generated code, the runtime's and the embedding API's, and what these hold of the host
//! is `Send`. The runtime's own frames hold nothing of a thread, see [`crate::traps`].
//!
//! # The end
//!
//! A future that is dropped while it is suspended is resumed one last time. Whatever it waits for fails with
//! [`Cancelled`], so that generated code is unwound and the frames of the host return. No WebAssembly runs in it any more.
//!
//! A panic on a fiber goes on in the function that polls it, or drops it.

mod future;
mod stack;
#[cfg(test)]
mod tests;
mod wait;

use std::cell::Cell;
use std::fmt;
use std::ops::Range;
use std::ptr::{self, NonNull};
use std::task::Context;

use anyhow::{Result, bail};

use crate::store_context::VMStoreContext;
use crate::sys;
use crate::traps::{HOST_HEADROOM, Parked, prepare_thread, run_fiber};

pub use future::OnFiber;
pub use stack::{FiberStack, HostStack, HostStackCreator};
pub use wait::{block_on, is_cancelled, yield_now};

/// The size in bytes of stacks on which WebAssembly may use `max_wasm_stack`, if the host wants `wanted`: such that
/// functions that WebAssembly calls have some in any case.
pub fn fiber_stack_size(wanted: usize, max_wasm_stack: usize) -> usize {
    wanted.max(max_wasm_stack.saturating_add(2 * HOST_HEADROOM))
}

/// The future of an asynchronous call was dropped while the call waited, which ends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cancelled;

impl fmt::Display for Cancelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the future of this asynchronous call was dropped")
    }
}

impl std::error::Error for Cancelled {}

/// How far a fiber is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    New,
    Running,
    Suspended,
    /// It has run to its end, and has no stack any more.
    Finished,
}

/// What of a fiber does not depend on what it runs.
pub(crate) struct Fiber {
    context: NonNull<VMStoreContext>,
    state: Cell<State>,
    is_cancelled: Cell<bool>,
    /// The stack pointer of the side that does not run.
    other: Cell<usize>,
    /// The context of the poll by which the fiber runs; null if there is none, or while somebody uses it.
    poll: Cell<*mut Context<'static>>,
    stack: Cell<Option<FiberStack>>,
    stack_range: Range<usize>,
    parked: Cell<Option<Parked>>,
}

impl Fiber {
    /// # Safety
    ///
    /// The context outlives the fiber.
    unsafe fn new(context: NonNull<VMStoreContext>, stack: FiberStack) -> Fiber {
        Fiber {
            context,
            state: Cell::new(State::New),
            is_cancelled: Cell::new(false),
            other: Cell::new(0),
            poll: Cell::new(ptr::null_mut()),
            stack_range: stack.range(),
            stack: Cell::new(Some(stack)),
            parked: Cell::new(None),
        }
    }

    /// The context of the fiber's store.
    pub(crate) fn store_context(&self) -> &VMStoreContext {
        // SAFETY: whoever makes a fiber guarantees that the context lives longer.
        unsafe { self.context.as_ref() }
    }

    /// The addresses of the fiber's stack.
    pub(crate) fn stack_range(&self) -> Range<usize> {
        self.stack_range.clone()
    }

    /// Makes the fiber call `entry(arg)` when it is resumed for the first time. Fails if the fiber by which it would
    /// be polled must not run WebAssembly any more.
    ///
    /// # Safety
    ///
    /// What `entry` does is sound, once, on a stack of its own. It ends by [`Self::finish`].
    unsafe fn start(
        &self,
        entry: unsafe extern "C" fn(*const ()) -> !,
        arg: *const (),
    ) -> Result<()> {
        // SAFETY: nothing uses the context now but the calling thread.
        if unsafe { is_cancelled(self.context) } {
            bail!(Cancelled);
        }
        // SAFETY: the stack is the fiber's, and nothing is on it.
        let sp = unsafe { sys::fiber::prepare_stack(self.stack_range(), entry, arg) };
        self.other.set(sp);
        self.state.set(State::Suspended);
        Ok(())
    }

    /// Lets the fiber run. Whether it has finished.
    ///
    /// # Errors
    ///
    /// Fails, before anything has run, if the thread cannot be prepared.
    ///
    /// # Safety
    ///
    /// It is suspended. The calling thread has exclusive use of the store.
    unsafe fn poll(&self, cx: &mut Context<'_>) -> Result<bool> {
        prepare_thread()?;
        self.poll.set(ptr::from_mut(cx).cast());
        // SAFETY: required of the caller.
        let is_finished = unsafe { self.resume() };
        self.poll.set(ptr::null_mut());
        Ok(is_finished)
    }

    /// Lets the fiber, which is suspended, run to its end.
    ///
    /// # Safety
    ///
    /// As for [`Self::poll`].
    unsafe fn cancel(&self) {
        self.is_cancelled.set(true);
        // SAFETY: required of the caller. The fiber enters no WebAssembly code.
        let is_finished = unsafe { self.resume() };
        if !is_finished {
            // Its frames refer to what is about to be freed.
            std::process::abort();
        }
    }

    /// # Safety
    ///
    /// As for [`Self::poll`].
    unsafe fn resume(&self) -> bool {
        self.state.set(State::Running);
        // The fiber may have waited on another thread, and goes on in code of the host.
        self.store_context().rights.get().of_host();
        // SAFETY: required of the caller.
        let parked = unsafe { run_fiber(self, self.parked.take()) };
        match self.state.get() == State::Finished {
            true => {
                drop(self.stack.take());
                true
            }
            false => {
                self.parked.set(Some(parked));
                false
            }
        }
    }

    /// Switches to the other side: to the fiber, or from it to whoever resumed it.
    ///
    /// # Safety
    ///
    /// The other side waits in this function, or was started and has not run.
    pub(crate) unsafe fn switch(&self) {
        // SAFETY: required of the caller; the other side's stack pointer is its alone.
        unsafe { sys::fiber::switch_stacks(self.other.as_ptr()) };
    }

    /// Goes on in whoever resumed the fiber, until it is resumed again.
    ///
    /// # Safety
    ///
    /// Called on the fiber. What its frames hold may be used on another thread afterwards.
    unsafe fn suspend(&self) {
        self.state.set(State::Suspended);
        // SAFETY: who resumed the fiber waits.
        unsafe { self.switch() };
    }

    /// Goes on in whoever resumed the fiber, for good.
    ///
    /// # Safety
    ///
    /// Called on the fiber, whose frames own nothing any more.
    unsafe fn finish(&self) -> ! {
        self.state.set(State::Finished);
        // SAFETY: who resumed the fiber waits.
        unsafe { self.switch() };
        // Nobody resumes a fiber that is finished.
        std::process::abort()
    }
}
