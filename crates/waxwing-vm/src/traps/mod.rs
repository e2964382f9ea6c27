//! Entering WebAssembly code, and leaving it by a trap, an error or a panic.
//!
//! # The way in
//!
//! [`enter_wasm`] pushes an `Activation`, a record on the stack that a thread-local pointer leads to,
//! and calls an entry trampoline. The trampoline is generated code. It stores its frame pointer, its
//! stack pointer and the address of its trap handler in the
//! [`VMStoreContext`](crate::VMStoreContext), calls the function, and
//! returns `true`.
//!
//! # The way out
//!
//! Whatever ends execution early is first recorded in the newest activation and then unwinds to the
//! trap handler of its entry trampoline, which returns `false`:
//!
//! - A hardware fault of generated code is recorded by the fault handler, which makes the interrupted
//!   thread continue at the trap handler.
//! - A builtin or host function that fails is wrapped in [`catch_host`], which records the trap, error
//!   or panic. Its caller, generated code, sees that and calls the builtin `raise`.
//! - An exception is thrown by the builtin `throw_ref`, or by a host function that fails with
//!   [`TrapReason::Exception`]. The frames of the newest activation are searched for a handler first; see
//!   the module `exception`. Only if there is none does it go the way of the others.
//!
//! Bytecode has no hardware faults: its interpreter finds what is wrong with an instruction, records that in the same
//! way, and goes on at the trap handler itself. See the module `pulley`.
//!
//! Unwinding restores three registers: the trampoline saved all that its own caller wants preserved.
//! The frames that it abandons are those of generated code, which own nothing, and of `raise`. Frames
//! of Rust code are left by returning. So neither `setjmp` nor a personality routine is needed, and a
//! call that succeeds pays for a few stores.
//!
//! # Nesting
//!
//! Host functions may enter WebAssembly code again, of the same store or of another one. An activation
//! saves what its store's context held and puts it back, so that a trap unwinds to the innermost
//! entry, and a backtrace finds the frames of all.
//!
//! # Fibers
//!
//! The activations of a fiber are in the list of the thread that runs it, as long as it does: while it is suspended they
//! are `Parked`, along with what its store's context held.

mod activation;
mod exception;
#[cfg(feature = "signals-based-traps")]
mod fault;
mod parked;
mod stack;
#[cfg(all(test, target_arch = "x86_64", target_os = "linux"))]
mod tests;

use std::any::Any;
use std::fmt;

use waxwing_environ::Trap;

use crate::backtrace::RawBacktrace;

pub use activation::{
    EntryOptions, catch_host, catch_host_without_keys, enter_wasm, keys_in_use, record_panic,
    record_trap, stack_limit_for_entry, tls_eager_initialize,
};
pub(crate) use activation::{activations, add_fuel, set_fuel};
#[cfg(feature = "pulley")]
pub(crate) use activation::{is_reentry, record_bytecode_fault};
pub(crate) use exception::{Landing, Thrower};
#[cfg(feature = "signals-based-traps")]
pub use fault::ProcessHandlers;
#[cfg(all(feature = "signals-based-traps", unix))]
pub(crate) use fault::signal_handler;
#[cfg(feature = "signals-based-traps")]
pub(crate) use fault::{Fault, Interrupted, handle_fault};
pub(crate) use parked::{Parked, prepare_thread, run_fiber};
pub(crate) use stack::HOST_HEADROOM;

/// Where a thread continues that leaves WebAssembly code for a fault or an exception.
pub(crate) struct Resume {
    pub(crate) pc: usize,
    pub(crate) sp: usize,
    pub(crate) fp: usize,
}

/// What ended the execution of WebAssembly code.
pub enum UnwindReason {
    /// A trap, or an error of the host.
    Trap {
        /// Which.
        reason: TrapReason,
        /// The frames of WebAssembly code that were on the stack; `None` if
        /// [`EntryOptions::backtraces`] is off.
        backtrace: Option<RawBacktrace>,
    },
    /// A panic of the host, to be resumed.
    Panic(Box<dyn Any + Send>),
}

impl fmt::Debug for UnwindReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UnwindReason::Trap { reason, backtrace } => f
                .debug_struct("Trap")
                .field("reason", reason)
                .field("backtrace", backtrace)
                .finish(),
            UnwindReason::Panic(_) => f.write_str("Panic(..)"),
        }
    }
}

/// Why WebAssembly code could not go on.
#[derive(Debug)]
pub enum TrapReason {
    /// A builtin found a reason to trap.
    Wasm(Trap),
    /// An instruction faulted. Its trap's backtrace begins with its own address, not with an address to
    /// return to.
    Signal {
        /// The address of the instruction.
        pc: usize,
        /// The address that it accessed, if it failed for that.
        faulting_addr: Option<usize>,
        /// What the fault means by the artifact's trap table.
        trap: Trap,
    },
    /// The host failed.
    Host(anyhow::Error),
    /// The store's pending exception was thrown. It is not pending any more if a handler was found.
    Exception {
        /// The error that stands for it, if a host function returned one.
        error: Option<anyhow::Error>,
        /// Whether the error comes with a backtrace.
        has_backtrace: bool,
    },
}

impl From<Trap> for TrapReason {
    fn from(trap: Trap) -> TrapReason {
        TrapReason::Wasm(trap)
    }
}

impl From<anyhow::Error> for TrapReason {
    fn from(error: anyhow::Error) -> TrapReason {
        TrapReason::Host(error)
    }
}
