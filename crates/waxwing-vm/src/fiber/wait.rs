//! Waiting on a fiber.
//!
//! None of this is inlined into a function that uses a thread's state: it may return on another thread.

use std::pin::Pin;
use std::ptr::{self, NonNull};
use std::task::{Context, Poll};

use anyhow::{Result, anyhow, bail};

use super::{Cancelled, Fiber};
use crate::store_context::VMStoreContext;

/// The fiber that code of a store runs on.
///
/// # Safety
///
/// The context is valid, and the calling thread has exclusive use of its store. The result is used by frames of the fiber
/// alone.
unsafe fn current<'a>(store: NonNull<VMStoreContext>) -> Option<&'a Fiber> {
    // SAFETY: the caller guarantees that the context is valid. Fibers are in their store's context while they run.
    unsafe { store.as_ref().fiber.get().as_ref() }
}

/// Whether code of a store runs on a fiber that has been cancelled, so that no WebAssembly code must run there any
/// more.
///
/// # Safety
///
/// The context is valid, and the calling thread has exclusive use of its store.
pub unsafe fn is_cancelled(store: NonNull<VMStoreContext>) -> bool {
    // SAFETY: required of the caller; the reference ends here.
    unsafe { current(store) }.is_some_and(|fiber| fiber.is_cancelled.get())
}

/// The poll that a fiber waits by, while somebody uses it: nobody else can wait then.
struct PollContext<'a> {
    fiber: &'a Fiber,
    context: *mut Context<'static>,
}

impl Drop for PollContext<'_> {
    fn drop(&mut self) {
        self.fiber.poll.set(self.context);
    }
}

impl Fiber {
    /// # Errors
    ///
    /// Fails if the fiber has been cancelled, or polls something else already.
    fn take_poll(&self) -> Result<PollContext<'_>> {
        if self.is_cancelled.get() {
            bail!(Cancelled);
        }
        let context = self.poll.replace(ptr::null_mut());
        if context.is_null() {
            bail!("an asynchronous call cannot wait within a poll of something that it waits for");
        }
        Ok(PollContext {
            fiber: self,
            context,
        })
    }
}

/// # Errors
///
/// Fails if the store's code does not run on a fiber.
///
/// # Safety
///
/// As for [`block_on`].
unsafe fn current_to_wait<'a>(store: NonNull<VMStoreContext>) -> Result<&'a Fiber> {
    // SAFETY: required of the caller.
    unsafe { current(store) }.ok_or_else(|| {
        anyhow!("waiting for a future takes an asynchronous call of WebAssembly by the host")
    })
}

/// Calls `poll` until it returns `true`, and suspends the fiber in between.
///
/// # Errors
///
/// As for [`block_on`].
///
/// # Safety
///
/// As for [`block_on`].
#[inline(never)]
unsafe fn wait(
    store: NonNull<VMStoreContext>,
    poll: &mut dyn FnMut(&mut Context<'_>) -> bool,
) -> Result<()> {
    // SAFETY: required of the caller.
    let fiber = unsafe { current_to_wait(store)? };
    loop {
        let cx = fiber.take_poll()?;
        // SAFETY: the context is borrowed by the poll that runs the fiber, which waits. It was taken for
        // exclusive use.
        let is_ready = poll(unsafe { &mut *cx.context });
        drop(cx);
        if is_ready {
            return Ok(());
        }
        // SAFETY: this runs on the fiber; for the frames see the caller's promise.
        unsafe { fiber.suspend() };
    }
}

/// Waits until `future` is ready, and returns its result. The future is not polled again once the fiber is cancelled.
///
/// # Errors
///
/// Fails if the store's code does not run on a fiber, or the fiber has been [cancelled](Cancelled), or it is
/// waiting for something else by which this is called.
///
/// # Safety
///
/// Called on the fiber that the store's code runs on, if it does so on one, by a thread that has exclusive use of the store.
/// What is on the fiber's stack may be used on another thread afterwards, and so may the future.
#[inline]
pub unsafe fn block_on<R>(
    store: NonNull<VMStoreContext>,
    mut future: Pin<&mut (dyn Future<Output = R> + '_)>,
) -> Result<R> {
    let mut result = None;
    let mut poll = |cx: &mut Context<'_>| match future.as_mut().poll(cx) {
        Poll::Ready(ready) => {
            result = Some(ready);
            true
        }
        Poll::Pending => false,
    };
    // SAFETY: required of the caller.
    unsafe { wait(store, &mut poll)? };
    Ok(result.expect("waited until there is one"))
}

/// Lets other tasks run: suspends the fiber once, and asks for it to be polled again.
///
/// # Errors
///
/// As for [`block_on`].
///
/// # Safety
///
/// As for [`block_on`].
#[inline(never)]
pub unsafe fn yield_now(store: NonNull<VMStoreContext>) -> Result<()> {
    // SAFETY: required of the caller.
    let fiber = unsafe { current_to_wait(store)? };
    let cx = fiber.take_poll()?;
    // SAFETY: as in `wait`.
    unsafe { (*cx.context).waker().wake_by_ref() };
    drop(cx);
    // SAFETY: as in `wait`.
    unsafe { fiber.suspend() };
    match fiber.is_cancelled.get() {
        true => bail!(Cancelled),
        false => Ok(()),
    }
}
