//! Hardware faults arrive as signals: SIGSEGV, SIGBUS, SIGILL and SIGFPE.
//!
//! One handler is installed for each, on the alternate signal stack. A fault of WebAssembly code is
//! given to [`handle_fault`], and the interrupted context is rewritten so that returning from the
//! handler continues in the entry trampoline. Any other signal goes to whoever handled it before, in
//! the way in which the kernel would have called them.
//!
//! `SA_NODEFER` lets an earlier handler, which runs inside ours, fault or leave by `longjmp`.
//!
//! The earlier dispositions are stored before the handlers that read them are installed, and are not
//! written again while a handler is installed: no lock is needed to read them.

use std::cell::UnsafeCell;
use std::fmt;
use std::io;
use std::mem::{self, MaybeUninit};
use std::ptr;

use libc::{c_int, c_void, sigaction, siginfo_t};

use super::{alternate_stack, ucontext};
use crate::traps::{Fault, handle_fault, signal_handler};

const SIGNALS: [c_int; 4] = [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE];

/// What was installed for each of [`SIGNALS`] before our handler.
struct Earlier([UnsafeCell<MaybeUninit<sigaction>>; SIGNALS.len()]);

// SAFETY: written under the lock of `traps::ProcessHandlers` while no handler reads them, see above.
unsafe impl Sync for Earlier {}

static EARLIER: Earlier =
    Earlier([const { UnsafeCell::new(MaybeUninit::uninit()) }; SIGNALS.len()]);

/// A store's own handler of signals: the number of the signal, what the kernel tells of it, and the registers of the
/// interrupted code, a `ucontext_t`. Returns whether the interrupted code can go on.
pub struct SignalHandler(Box<SignalHandlerFn>);

type SignalHandlerFn = dyn Fn(c_int, *const siginfo_t, *const c_void) -> bool + Send + Sync;

impl SignalHandler {
    /// The handler that a closure is.
    pub fn new(
        handler: impl Fn(c_int, *const siginfo_t, *const c_void) -> bool + Send + Sync + 'static,
    ) -> SignalHandler {
        SignalHandler(Box::new(handler))
    }
}

impl fmt::Debug for SignalHandler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SignalHandler(..)")
    }
}

/// Makes the calling thread ready for faults: their handler needs a stack.
pub(crate) fn prepare_thread() -> io::Result<()> {
    alternate_stack::ensure()
}

/// Installs the handlers.
///
/// # Safety
///
/// Called when they are not installed, and not concurrently with itself or [`uninstall`].
pub(crate) unsafe fn install() -> io::Result<()> {
    for (index, &signal) in SIGNALS.iter().enumerate() {
        let installed = current(signal).and_then(|earlier| {
            // SAFETY: our handler for this signal is not installed, so that nobody reads the slot;
            // the caller excludes other writers.
            unsafe { (*EARLIER.0[index].get()).write(earlier) };
            // SAFETY: an all-zero `sigaction` is a valid value: default disposition, no flags.
            let mut ours: sigaction = unsafe { mem::zeroed() };
            ours.sa_sigaction = handler as *const () as usize;
            ours.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_NODEFER;
            // SAFETY: the handler has the signature that SA_SIGINFO asks for, and what it reads was
            // written above.
            unsafe {
                libc::sigemptyset(&mut ours.sa_mask);
                set(signal, &ours)
            }
        });
        if let Err(error) = installed {
            for &signal in &SIGNALS[..index] {
                restore(signal);
            }
            return Err(error);
        }
    }
    Ok(())
}

/// Restores the earlier dispositions; returns whether all of ours are gone.
///
/// A signal whose handler was replaced after [`install`] is left alone: the newer handler may call
/// ours, which must then keep its knowledge of the earlier one.
///
/// # Safety
///
/// Called when the handlers are installed, not concurrently with itself or [`install`], and while no
/// thread runs WebAssembly code.
pub(crate) unsafe fn uninstall() -> bool {
    let ours =
        |signal| current(signal).is_ok_and(|now| now.sa_sigaction == handler as *const () as usize);
    if !SIGNALS.iter().all(|&signal| ours(signal)) {
        return false;
    }
    SIGNALS.iter().all(|&signal| restore(signal))
}

fn current(signal: c_int) -> io::Result<sigaction> {
    let mut current = MaybeUninit::uninit();
    // SAFETY: a null action only asks; success initialises `current`.
    unsafe {
        match sigaction(signal, ptr::null(), current.as_mut_ptr()) {
            0 => Ok(current.assume_init()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

/// # Safety
///
/// `action` names a handler that may be called for `signal` at any time.
unsafe fn set(signal: c_int, action: &sigaction) -> io::Result<()> {
    // SAFETY: required of the caller.
    match unsafe { sigaction(signal, action, ptr::null_mut()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn restore(signal: c_int) -> bool {
    // SAFETY: this disposition was in force before ours.
    unsafe { set(signal, earlier(signal)).is_ok() }
}

/// The disposition that ours replaced. Only for signals that our handler is or was installed for.
fn earlier(signal: c_int) -> &'static sigaction {
    let index = SIGNALS
        .iter()
        .position(|&one| one == signal)
        .expect("the handler is installed for these signals alone");
    // SAFETY: written before our handler was installed, and not since.
    unsafe { (*EARLIER.0[index].get()).assume_init_ref() }
}

/// Whether the CPU raised the signal, rather than a process that sent it.
fn is_fault(info: &siginfo_t) -> bool {
    // macOS leaves the code zero for some faults.
    info.si_code > 0 || (cfg!(target_vendor = "apple") && info.si_code == 0)
}

unsafe extern "C" fn handler(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel passes valid pointers to handlers installed with SA_SIGINFO.
    let info_ref = unsafe { &*info };
    if let Some(handler) = signal_handler()
        && (handler.0)(signal, info, context)
    {
        return;
    }
    if is_fault(info_ref) {
        // SAFETY: `context` is the kernel's, and this handler is running.
        let at = unsafe { ucontext::interrupted(context) };
        let address = matches!(signal, libc::SIGSEGV | libc::SIGBUS)
            // SAFETY: these signals carry an address.
            .then(|| unsafe { info_ref.si_addr() } as usize);
        // SAFETY: the registers are those of the code that faulted on this thread.
        if let Some(resume) = unsafe { handle_fault(&Fault { at, address }) } {
            // SAFETY: `handle_fault` returns the handler of the entry trampoline whose callee, or
            // a callee of that, faulted.
            unsafe { ucontext::set(context, &resume) };
            return;
        }
    }
    // SAFETY: the arguments are the kernel's.
    unsafe { call_earlier(signal, info, context) }
}

/// Does what the kernel would have done had our handler not been installed.
unsafe fn call_earlier(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel passes valid pointers to handlers installed with SA_SIGINFO.
    let fault = is_fault(unsafe { &*info });
    let earlier = earlier(signal);
    match earlier.sa_sigaction {
        // The kernel does not let a fault be ignored: the instruction would fault for ever.
        libc::SIG_IGN if !fault => {}
        libc::SIG_DFL | libc::SIG_IGN => {
            reset_to_default(signal);
            if !fault {
                // A fault happens again when this handler returns; a sent signal has to be sent.
                // SAFETY: raise takes no pointers.
                unsafe { libc::raise(signal) };
            }
        }
        function => {
            if earlier.sa_flags & libc::SA_RESETHAND != 0 {
                reset_to_default(signal);
            }
            // SAFETY: sets of signals on this stack, initialised before use.
            let interrupted = unsafe {
                let mut blocked = earlier.sa_mask;
                if earlier.sa_flags & libc::SA_NODEFER == 0 {
                    libc::sigaddset(&mut blocked, signal);
                }
                let mut interrupted = MaybeUninit::<libc::sigset_t>::uninit();
                libc::pthread_sigmask(libc::SIG_BLOCK, &blocked, interrupted.as_mut_ptr());
                interrupted.assume_init()
            };
            // SAFETY: the disposition says which of the two signatures the function has.
            unsafe {
                if earlier.sa_flags & libc::SA_SIGINFO != 0 {
                    let function = mem::transmute::<
                        usize,
                        unsafe extern "C" fn(c_int, *mut siginfo_t, *mut c_void),
                    >(function);
                    function(signal, info, context);
                } else {
                    let function = mem::transmute::<usize, unsafe extern "C" fn(c_int)>(function);
                    function(signal);
                }
                libc::pthread_sigmask(libc::SIG_SETMASK, &interrupted, ptr::null_mut());
            }
        }
    }
}

fn reset_to_default(signal: c_int) {
    // SAFETY: an all-zero `sigaction` is the default disposition without flags.
    unsafe {
        let mut default: sigaction = mem::zeroed();
        default.sa_sigaction = libc::SIG_DFL;
        // Failure is impossible for these signals, and would end in a loop of faults at worst.
        let _ = set(signal, &default);
    }
}
