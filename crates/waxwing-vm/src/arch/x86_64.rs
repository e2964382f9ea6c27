//! x86_64.

use std::arch::asm;

/// `e_machine` of ELF files for this CPU.
#[cfg(feature = "profiling")]
pub(crate) const ELF_MACHINE: u16 = 62;

/// The calling function's stack pointer, within a few words.
#[inline(always)]
pub(crate) fn stack_pointer() -> usize {
    let sp;
    // SAFETY: reads a register.
    unsafe { asm!("mov {}, rsp", out(reg) sp, options(nomem, nostack, preserves_flags)) };
    sp
}

/// Continues at `pc` with the given stack and frame pointers; abandons all younger frames.
///
/// # Safety
///
/// The three were stored together by an entry trampoline whose frame is still live on this stack, and
/// no frame between it and the caller has anything to clean up.
pub(crate) unsafe fn resume_to_handler(pc: usize, sp: usize, fp: usize) -> ! {
    // SAFETY: required of the caller. The values sit in registers that the moves do not change.
    unsafe {
        asm!(
            "mov rsp, rcx",
            "mov rbp, r8",
            "jmp r9",
            in("rcx") sp,
            in("r8") fp,
            in("r9") pc,
            options(noreturn),
        )
    }
}

/// Continues at `pc` with the given stack and frame pointers, and a word for the handler of an exception that is
/// there; abandons all younger frames.
///
/// # Safety
///
/// `pc` is a landing block of generated code for a call by the function whose live frame on this stack the two
/// pointers are those of, and no frame between it and the caller has anything to clean up.
pub(crate) unsafe fn resume_to_landing(pc: usize, sp: usize, fp: usize, payload: u64) -> ! {
    // SAFETY: required of the caller. The payload is where the `tail` convention has it.
    unsafe {
        asm!(
            "mov rsp, rcx",
            "mov rbp, r8",
            "jmp r9",
            in("rcx") sp,
            in("r8") fp,
            in("r9") pc,
            in("rax") payload,
            in("rdx") 0_u64,
            options(noreturn),
        )
    }
}

/// Where the function whose frame is at `fp` returns to.
///
/// # Safety
///
/// `fp` is the frame pointer of a live frame of code that keeps frame pointers.
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

/// Instruction fetch is coherent with stores.
#[cfg(all(unix, not(target_os = "macos")))]
pub(crate) unsafe fn clean_instruction_cache(_ptr: *const u8, _len: usize) {}
