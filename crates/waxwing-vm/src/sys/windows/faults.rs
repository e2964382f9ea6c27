//! Hardware faults arrive as exceptions, which a vectored handler sees before any other.

use std::io;
use std::sync::atomic::{AtomicPtr, Ordering};

use windows_sys::Win32::Foundation::{
    EXCEPTION_ACCESS_VIOLATION, EXCEPTION_ILLEGAL_INSTRUCTION, EXCEPTION_IN_PAGE_ERROR,
    EXCEPTION_INT_DIVIDE_BY_ZERO, EXCEPTION_INT_OVERFLOW,
};
use windows_sys::Win32::System::Diagnostics::Debug::{
    AddVectoredExceptionHandler, CONTEXT, EXCEPTION_POINTERS, RemoveVectoredExceptionHandler,
};

use crate::traps::{Fault, Interrupted, Resume, handle_fault};

const EXCEPTION_CONTINUE_EXECUTION: i32 = -1;
const EXCEPTION_CONTINUE_SEARCH: i32 = 0;

/// A handler of signals, of which there are none.
#[derive(Debug)]
pub enum SignalHandler {}

static HANDLE: AtomicPtr<core::ffi::c_void> = AtomicPtr::new(std::ptr::null_mut());

/// Nothing: exceptions are handled on the thread's own stack.
pub(crate) fn prepare_thread() -> io::Result<()> {
    Ok(())
}

/// Installs the handler.
///
/// # Safety
///
/// Called when it is not installed, and not concurrently with itself or [`uninstall`].
pub(crate) unsafe fn install() -> io::Result<()> {
    // SAFETY: the handler has the signature that is asked for.
    let handle = unsafe { AddVectoredExceptionHandler(1, Some(handler)) };
    if handle.is_null() {
        return Err(io::Error::last_os_error());
    }
    HANDLE.store(handle, Ordering::Release);
    Ok(())
}

/// Removes the handler; returns whether it is gone.
///
/// # Safety
///
/// Called when it is installed, not concurrently with itself or [`install`], and while no thread
/// runs WebAssembly code.
pub(crate) unsafe fn uninstall() -> bool {
    // SAFETY: the handle is the one that `install` was given.
    unsafe { RemoveVectoredExceptionHandler(HANDLE.load(Ordering::Acquire)) != 0 }
}

#[cfg(target_arch = "x86_64")]
fn interrupted(context: &CONTEXT) -> Interrupted {
    Interrupted {
        pc: context.Rip as usize,
        fp: context.Rbp as usize,
        fuel: context.R15 as usize,
    }
}

#[cfg(target_arch = "x86_64")]
fn set(context: &mut CONTEXT, resume: &Resume) {
    context.Rip = resume.pc as u64;
    context.Rsp = resume.sp as u64;
    context.Rbp = resume.fp as u64;
}

#[cfg(target_arch = "aarch64")]
fn interrupted(context: &CONTEXT) -> Interrupted {
    // SAFETY: every member of the union is plain integers.
    let registers = unsafe { context.Anonymous.Anonymous };
    Interrupted {
        pc: context.Pc as usize,
        fp: registers.Fp as usize,
        fuel: registers.X21 as usize,
    }
}

#[cfg(target_arch = "aarch64")]
fn set(context: &mut CONTEXT, resume: &Resume) {
    context.Pc = resume.pc as u64;
    context.Sp = resume.sp as u64;
    context.Anonymous.Anonymous.Fp = resume.fp as u64;
}

unsafe extern "system" fn handler(exception: *mut EXCEPTION_POINTERS) -> i32 {
    // SAFETY: the system passes valid pointers to a vectored handler.
    let (record, context) = unsafe {
        (
            &*(*exception).ExceptionRecord,
            &mut *(*exception).ContextRecord,
        )
    };
    let address = match record.ExceptionCode {
        // The second parameter is the address that was accessed.
        EXCEPTION_ACCESS_VIOLATION | EXCEPTION_IN_PAGE_ERROR => {
            Some(record.ExceptionInformation[1])
        }
        EXCEPTION_ILLEGAL_INSTRUCTION | EXCEPTION_INT_DIVIDE_BY_ZERO | EXCEPTION_INT_OVERFLOW => {
            None
        }
        _ => return EXCEPTION_CONTINUE_SEARCH,
    };
    let at = interrupted(context);
    // SAFETY: the registers are those of the code that faulted on this thread.
    match unsafe { handle_fault(&Fault { at, address }) } {
        Some(resume) => {
            set(context, &resume);
            EXCEPTION_CONTINUE_EXECUTION
        }
        None => EXCEPTION_CONTINUE_SEARCH,
    }
}
