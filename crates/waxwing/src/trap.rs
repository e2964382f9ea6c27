//! From the end of an execution to an [`Error`](crate::Error).

use std::fmt;
use std::panic::resume_unwind;

use waxwing_vm::RawBacktrace;
use waxwing_vm::traps::{TrapReason, UnwindReason};

#[cfg(feature = "coredump")]
use crate::WasmCoreDump;
use crate::store::StoreOpaque;
use crate::{Error, ThrownException, WasmBacktrace};

/// The error that ended a call of WebAssembly: the trap or the host's error, with a backtrace. A
/// panic goes on instead.
#[cold]
pub(crate) fn error_of(store: &StoreOpaque, reason: UnwindReason) -> Error {
    let (reason, backtrace) = match reason {
        UnwindReason::Trap { reason, backtrace } => (reason, backtrace),
        UnwindReason::Panic(payload) => resume_unwind(payload),
    };
    let with_backtrace = |error: Error, exact_first_pc| match &backtrace {
        Some(raw) => with_context(store, error, raw, exact_first_pc),
        None => error,
    };
    match reason {
        TrapReason::Wasm(trap) => with_backtrace(trap.into(), false),
        TrapReason::Signal {
            faulting_addr,
            trap,
            ..
        } => {
            let error = match faulting_addr.and_then(|address| MemoryFault::at(store, address)) {
                Some(fault) => Error::from(trap).context(fault),
                None => trap.into(),
            };
            with_backtrace(error, true)
        }
        TrapReason::Host(error) => with_backtrace(error, false),
        TrapReason::Exception { error, .. } => {
            let error = error.unwrap_or_else(|| ThrownException.into());
            with_backtrace(error, false)
        }
    }
}

/// Adds what the configuration asks for to an error.
fn with_context(
    store: &StoreOpaque,
    mut error: Error,
    raw: &RawBacktrace,
    exact_first_pc: bool,
) -> Error {
    // An error that went through WebAssembly before has its backtrace, the longer one, and its dump.
    #[cfg(feature = "coredump")]
    if store.engine().config().debug.coredump_on_trap && !error.is::<WasmCoreDump>() {
        error = error.context(WasmCoreDump::new(store, raw, exact_first_pc));
    }
    if store.engine().config().wasm_backtrace && !error.is::<WasmBacktrace>() {
        let backtrace = WasmBacktrace::from_raw(store, raw, exact_first_pc);
        if !backtrace.frames().is_empty() {
            error = error.context(backtrace);
        }
    }
    error
}

/// Where an access out of bounds went.
#[derive(Debug)]
struct MemoryFault {
    address: usize,
    size: usize,
}

impl MemoryFault {
    fn at(store: &StoreOpaque, address: usize) -> Option<MemoryFault> {
        store.core().instances().find_map(|id| {
            let instance = store.core().instance(id);
            instance.memories().find_map(|memory| {
                let base = memory.base().as_ptr() as usize;
                let is_in = memory.address_range().contains(&address) && address >= base;
                is_in.then(|| MemoryFault {
                    address: address - base,
                    size: memory.byte_size(),
                })
            })
        })
    }
}

impl fmt::Display for MemoryFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "memory fault at wasm address {:#x} in linear memory of size {:#x}",
            self.address, self.size
        )
    }
}
