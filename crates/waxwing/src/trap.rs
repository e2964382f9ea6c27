//! From the end of an execution to an [`Error`](crate::Error).

use std::fmt;
use std::panic::resume_unwind;

use waxwing_vm::RawBacktrace;
use waxwing_vm::traps::{TrapReason, UnwindReason};

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
    let backtrace = |exact_first_pc| {
        let raw: &RawBacktrace = backtrace.as_ref()?;
        let backtrace = WasmBacktrace::from_raw(store, raw, exact_first_pc);
        (!backtrace.frames().is_empty()).then_some(backtrace)
    };
    let with_backtrace = |error: Error, backtrace: Option<WasmBacktrace>| match backtrace {
        Some(backtrace) => error.context(backtrace),
        None => error,
    };
    match reason {
        TrapReason::Wasm(trap) => with_backtrace(trap.into(), backtrace(false)),
        TrapReason::Signal {
            faulting_addr,
            trap,
            ..
        } => {
            let error = match faulting_addr.and_then(|address| MemoryFault::at(store, address)) {
                Some(fault) => Error::from(trap).context(fault),
                None => trap.into(),
            };
            with_backtrace(error, backtrace(true))
        }
        // An error that went through WebAssembly before has its backtrace, the longer one.
        TrapReason::Host(error) if error.is::<WasmBacktrace>() => error,
        TrapReason::Host(error) => with_backtrace(error, backtrace(false)),
        TrapReason::Exception { error, .. } => {
            let error = error.unwrap_or_else(|| ThrownException.into());
            with_backtrace(error, backtrace(false))
        }
    }
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
