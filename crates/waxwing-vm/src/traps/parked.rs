//! [`Parked`]: what a fiber that is suspended has taken from its thread.
//!
//! Whoever resumes a fiber puts its activations on top of those of the thread, and its store's context back as it was, and
//! takes both out again when the fiber is suspended. So a thread's list and a store's context never tell
//! of a fiber that is not running, be it suspended, going on elsewhere or forgotten.

use std::ptr;

use anyhow::Result;

use super::activation::{Activation, Saved, this_thread_state};
use crate::fiber::Fiber;

/// What of a suspended fiber its thread and its store do not know.
pub(crate) struct Parked {
    /// The fiber's newest and oldest activations, if it has any.
    activations: Option<(*const Activation, *const Activation)>,
    /// What the store's context held.
    context: Saved,
}

/// Prepares the calling thread for code that a fiber may run.
///
/// # Errors
///
/// Fails if memory is lacking.
pub(crate) fn prepare_thread() -> Result<()> {
    this_thread_state().ensure_initialized()
}

/// Lets `fiber` run on the calling thread until it is suspended or finished. `parked` is what it had when it
/// was last suspended. Returns what it has now.
///
/// # Safety
///
/// The calling thread is prepared, unless the fiber enters no WebAssembly code, and has exclusive use of the fiber's
/// store. The fiber is not running, and not finished.
#[inline(never)]
pub(crate) unsafe fn run_fiber(fiber: &Fiber, parked: Option<Parked>) -> Parked {
    // The frame of this function stays on its thread, whatever the fiber does.
    let thread = this_thread_state();
    let context = fiber.store_context();
    let outer = Saved::from(context);
    let outer_fiber = context.fiber.replace(fiber);
    let base = thread.innermost.get();
    if let Some(Parked {
        activations,
        context: inner,
    }) = parked
    {
        inner.restore(context);
        if let Some((newest, oldest)) = activations {
            // SAFETY: the fiber's activations are on its stack, which nobody else uses.
            unsafe { (*oldest).older.set(base) };
            thread.innermost.set(newest);
        }
    }
    let outer_stack = thread.stack.replace(fiber.stack_range());

    // SAFETY: required of the caller.
    unsafe { fiber.switch() };

    thread.stack.replace(outer_stack);
    let newest = thread.innermost.replace(base);
    let activations = (!ptr::eq(newest, base)).then(|| {
        let mut oldest = newest;
        // SAFETY: the list from the newest activation on down to `base` is the fiber's.
        unsafe {
            while !ptr::eq((*oldest).older.get(), base) {
                oldest = (*oldest).older.get();
            }
        }
        (newest, oldest)
    });
    let inner = Saved::from(context);
    outer.restore(context);
    context.fiber.set(outer_fiber);
    Parked {
        activations,
        context: inner,
    }
}
