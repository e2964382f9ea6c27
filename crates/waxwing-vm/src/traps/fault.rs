//! Faults of generated code become traps.

use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};

use super::{Resume, activation};
use crate::backtrace::RawFrame;
use crate::{code_registry, sys};

/// Registers of interrupted code.
pub(crate) struct Interrupted {
    /// The address of the instruction that faulted.
    pub(crate) pc: usize,
    /// The frame pointer at that instruction.
    pub(crate) fp: usize,
    /// What is in the register where generated code keeps the fuel, if it counts any.
    pub(crate) fuel: usize,
}

/// A hardware fault of the calling thread.
pub(crate) struct Fault {
    /// Where it happened.
    pub(crate) at: Interrupted,
    /// The address that the instruction accessed, if it failed for that.
    pub(crate) address: Option<usize>,
}

/// Records the trap that a fault means and tells where to continue; `None` if the fault is not one that
/// generated code is meant to cause.
///
/// Runs in the fault handler. Up to the point where the fault is known to be of generated code this
/// neither allocates nor locks. After that it may do both, as the code that was interrupted does not.
///
/// # Safety
///
/// The calling thread is interrupted at the fault.
pub(crate) unsafe fn handle_fault(fault: &Fault) -> Option<Resume> {
    let Interrupted { pc, fp, fuel } = fault.at;
    let (code, text_offset) = code_registry::lookup(pc)?;
    let trap = code.trap_at(text_offset)?;
    let activation = activation::innermost()?;
    activation.save_fuel(fuel as i64);
    // SAFETY: the innermost activation is that of the code that faulted, whose frames are live and
    // keep frame pointers.
    unsafe { activation.record_fault(RawFrame { pc, fp }, fault.address, trap) };
    Some(activation.resume_point())
}

/// The handler that sees signals of the calling thread first, if the store whose code it runs has one.
#[cfg(unix)]
pub(crate) fn signal_handler() -> Option<&'static sys::faults::SignalHandler> {
    activation::innermost()?.signal_handler()
}

/// How many [`ProcessHandlers`] exist, and whether the handlers are installed.
struct State {
    users: usize,
    installed: bool,
}

static STATE: Mutex<State> = Mutex::new(State {
    users: 0,
    installed: false,
});

/// A reference to the process-wide handlers of hardware faults.
///
/// The first one installs them, and they stay when the last one is dropped: other code of the process
/// may have chained its own handlers to them. [`unload`](Self::unload) removes them.
#[derive(Debug)]
pub struct ProcessHandlers(());

impl ProcessHandlers {
    /// Installs the handlers unless they are.
    ///
    /// # Errors
    ///
    /// Fails if the system refuses.
    pub fn install() -> Result<ProcessHandlers> {
        let mut state = STATE.lock().unwrap_or_else(PoisonError::into_inner);
        if !state.installed {
            // SAFETY: they are not installed, and the lock excludes other installers.
            unsafe { sys::faults::install() }.context(
                "failed to install the process-wide handler of hardware faults; \
                 `Config::signals_based_traps(false)` does without it",
            )?;
            state.installed = true;
        }
        state.users += 1;
        Ok(ProcessHandlers(()))
    }

    /// Drops the reference and, if it was the last, puts back the handlers that ours replaced. Returns
    /// whether ours are gone: they stay while other references exist, or if other handlers were
    /// installed after ours, which may call them.
    ///
    /// # Safety
    ///
    /// If this is the last reference, no thread runs WebAssembly code.
    pub unsafe fn unload(self) -> bool {
        let last = {
            let mut state = STATE.lock().unwrap_or_else(PoisonError::into_inner);
            // SAFETY: the lock excludes other installers, and the caller guarantees the rest.
            if state.users == 1 && state.installed && unsafe { sys::faults::uninstall() } {
                state.installed = false;
            }
            !state.installed
        };
        drop(self);
        last
    }
}

impl Drop for ProcessHandlers {
    fn drop(&mut self) {
        let mut state = STATE.lock().unwrap_or_else(PoisonError::into_inner);
        state.users -= 1;
    }
}
