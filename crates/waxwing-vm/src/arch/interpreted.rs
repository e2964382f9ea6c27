//! A processor for which there is no machine code: what runs is bytecode, whose frames have the form of others.

use std::hint::black_box;

/// The calling function's stack pointer, within a few words.
#[inline(always)]
pub(crate) fn stack_pointer() -> usize {
    let local = 0_u8;
    black_box(&raw const local).addr()
}

/// Nothing can continue: no machine code was entered.
///
/// # Safety
///
/// As on other processors.
pub(crate) unsafe fn resume_to_handler(_pc: usize, _sp: usize, _fp: usize) -> ! {
    std::process::abort()
}

/// Nothing can continue: no machine code was entered.
///
/// # Safety
///
/// As on other processors.
pub(crate) unsafe fn resume_to_landing(_pc: usize, _sp: usize, _fp: usize, _payload: u64) -> ! {
    std::process::abort()
}

/// Where the function whose frame is at `fp` returns to.
///
/// # Safety
///
/// `fp` is the frame pointer of a live frame of bytecode.
pub(crate) unsafe fn return_address(fp: usize) -> usize {
    // SAFETY: required of the caller.
    unsafe { *(fp as *const usize).add(1) }
}

/// The frame pointer of the caller of the function whose frame is at `fp`.
///
/// # Safety
///
/// As for [`return_address`].
pub(crate) unsafe fn caller_fp(fp: usize) -> usize {
    // SAFETY: required of the caller.
    unsafe { *(fp as *const usize) }
}

/// There is no machine code in memory.
#[cfg(all(unix, not(target_os = "macos")))]
pub(crate) unsafe fn clean_instruction_cache(_ptr: *const u8, _len: usize) {}
