//! What there is on Unix alone.

use libc::{c_int, c_void, siginfo_t};
use waxwing_vm::SignalHandler;

use crate::{AsContextMut, Store};

/// Methods of a [`Store`] on Unix.
pub trait StoreExt {
    /// Lets `handler` see signals first that arrive on a thread while it runs WebAssembly of this
    /// store, or host functions that it called: SIGSEGV, SIGBUS, SIGILL and SIGFPE.
    ///
    /// The handler gets the number of the signal, what the kernel tells of it, and the interrupted
    /// thread's registers, a `ucontext_t`. If it returns `true`, the signal is taken to be dealt with, and
    /// what was interrupted goes on, with the registers as the handler left them. If it returns `false`, the
    /// signal is handled as without it: it becomes a trap, or goes to the handler that the process had before.
    ///
    /// It replaces any handler set before. The handlers of the process that it is called from are installed for engines with
    /// [`Config::signals_based_traps`](crate::Config::signals_based_traps) alone.
    ///
    /// # Safety
    ///
    /// The handler runs in a signal handler, in the middle of any code: it must do nothing but what is allowed there, and not
    /// use the store. Where it returns `true`, it must be sound for the interrupted code to go on.
    unsafe fn set_signal_handler<H>(&mut self, handler: H)
    where
        H: 'static + Fn(c_int, *const siginfo_t, *const c_void) -> bool + Send + Sync;
}

impl<T> StoreExt for Store<T> {
    unsafe fn set_signal_handler<H>(&mut self, handler: H)
    where
        H: 'static + Fn(c_int, *const siginfo_t, *const c_void) -> bool + Send + Sync,
    {
        let store = self.as_context_mut().0;
        // SAFETY: required of the caller. Code of a store runs within calls that borrow the `Store`.
        unsafe {
            store
                .core_mut()
                .set_signal_handler(SignalHandler::new(handler));
        }
    }
}
