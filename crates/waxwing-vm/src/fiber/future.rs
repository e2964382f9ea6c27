//! [`OnFiber`].

use std::cell::UnsafeCell;
use std::marker::PhantomPinned;
use std::mem;
use std::panic::{self, AssertUnwindSafe};
use std::pin::Pin;
use std::ptr::{self, NonNull};
use std::task::{Context, Poll};
use std::thread;

use anyhow::Result;

use super::{Fiber, FiberStack, State};
use crate::store_context::VMStoreContext;

/// A future whose work is a function that runs on a stack of its own, where it can wait.
pub struct OnFiber<F, R> {
    fiber: Fiber,
    body: UnsafeCell<Body<F, R>>,
    /// Frames on the stack refer to the future.
    _pinned: PhantomPinned,
}

enum Body<F, R> {
    /// What to run.
    Start(F),
    Running,
    /// What it returned, or has panicked with.
    End(thread::Result<Result<R>>),
    /// The result has been taken.
    Over,
}

// SAFETY: what the future has, and what its stack holds, may be sent: see the module. Nothing in it is used
// but through exclusive references, and by the fiber, that runs while such a reference exists.
unsafe impl<F: Send, R: Send> Send for OnFiber<F, R> {}
// SAFETY: shared references allow nothing.
unsafe impl<F, R> Sync for OnFiber<F, R> {}

impl<F, R> OnFiber<F, R>
where
    F: FnOnce() -> Result<R>,
{
    /// A future that runs `func`.
    ///
    /// # Safety
    ///
    /// `store` is the context of a store of which `func` has exclusive use as long as the future lives, and the
    /// store lives longer. As long as `func` runs, WebAssembly code of the store is entered by it alone. What it keeps on the stack
    /// while it waits, by the functions of this module, may be used on any thread.
    pub unsafe fn new(store: NonNull<VMStoreContext>, stack: FiberStack, func: F) -> OnFiber<F, R> {
        OnFiber {
            // SAFETY: required of the caller.
            fiber: unsafe { Fiber::new(store, stack) },
            body: UnsafeCell::new(Body::Start(func)),
            _pinned: PhantomPinned,
        }
    }

    /// What the fiber does.
    ///
    /// # Safety
    ///
    /// `this` is an `OnFiber<F, R>` that has been pinned, whose fiber this is called on.
    unsafe extern "C" fn run(this: *const ()) -> ! {
        // SAFETY: required of the caller. All that is changed in it is in cells.
        let this = unsafe { &*this.cast::<Self>() };
        // SAFETY: the other side uses the body before the fiber starts and after it has finished.
        let body = unsafe { mem::replace(&mut *this.body.get(), Body::Running) };
        if let Body::Start(func) = body
            && !this.fiber.is_cancelled.get()
        {
            // The panic is resumed on the other side, where whoever catches it judges what is still sound.
            let result = panic::catch_unwind(AssertUnwindSafe(func));
            // SAFETY: as above.
            unsafe { *this.body.get() = Body::End(result) };
        }
        // SAFETY: on the fiber, and nothing is left in this frame that has to be dropped.
        unsafe { this.fiber.finish() }
    }
}

impl<F, R> OnFiber<F, R> {
    /// What the function, which has ended, has returned.
    fn end(&self) -> Option<thread::Result<Result<R>>> {
        // SAFETY: the fiber does not run any more, and nobody else uses the body.
        match unsafe { mem::replace(&mut *self.body.get(), Body::Over) } {
            Body::End(result) => Some(result),
            _ => None,
        }
    }
}

impl<F, R> Future for OnFiber<F, R>
where
    F: FnOnce() -> Result<R>,
{
    type Output = Result<R>;

    /// # Panics
    ///
    /// Panics if the function does, or the future is polled after it was ready.
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<R>> {
        // SAFETY: nothing is moved out of the future, all whose state is in cells.
        let this: &Self = unsafe { self.get_unchecked_mut() };
        if this.fiber.state.get() == State::New {
            // SAFETY: the future is pinned, and is not dropped before its fiber has finished.
            unsafe { this.fiber.start(Self::run, ptr::from_ref(this).cast())? };
        }
        assert!(
            this.fiber.state.get() == State::Suspended,
            "an asynchronous call was polled after it had completed"
        );
        // SAFETY: `new` requires exclusive use of the store, which whoever polls has got.
        if !unsafe { this.fiber.poll(cx)? } {
            return Poll::Pending;
        }
        match this.end() {
            Some(Ok(result)) => Poll::Ready(result),
            Some(Err(payload)) => panic::resume_unwind(payload),
            None => unreachable!("a fiber finishes with a result"),
        }
    }
}

impl<F, R> Drop for OnFiber<F, R> {
    /// # Panics
    ///
    /// Panics if the function is ended, and something that it drops panics; but not if the thread is panicking.
    fn drop(&mut self) {
        if self.fiber.state.get() != State::Suspended {
            return;
        }
        // SAFETY: as in `poll`.
        unsafe { self.fiber.cancel() };
        if let Some(Err(payload)) = self.end()
            && !thread::panicking()
        {
            panic::resume_unwind(payload);
        }
    }
}
