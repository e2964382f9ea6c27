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

/// Continues on another stack: saves here what a function preserves, exchanges the stack pointer with the one at
/// `other`, and returns there.
///
/// # Safety
///
/// At `other` is the stack pointer that this function left there when it was last called on that
/// stack, or one that [`prepare_stack`] made, and nobody else goes on from there.
#[cfg(unix)]
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn switch_stacks(other: *mut usize) {
    std::arch::naked_asm!(
        "push rbp",
        "push rbx",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "sub rsp, 8",
        "stmxcsr [rsp]",
        "fnstcw [rsp + 4]",
        "mov rax, [rdi]",
        "mov [rdi], rsp",
        "mov rsp, rax",
        "ldmxcsr [rsp]",
        "fldcw [rsp + 4]",
        "add rsp, 8",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbx",
        "pop rbp",
        "ret",
    )
}

/// The oldest frame of a new stack, in which unwinding ends.
#[cfg(unix)]
#[unsafe(naked)]
unsafe extern "C" fn start_on_stack() {
    std::arch::naked_asm!(
        ".cfi_startproc",
        ".cfi_undefined rip",
        "mov rdi, r12",
        "call rbx",
        "ud2",
        ".cfi_endproc",
    )
}

/// Makes a stack that [`switch_stacks`] can continue on: there `entry(arg)` is called, on a stack whose end is `top`. Returns its
/// stack pointer.
///
/// # Safety
///
/// The memory below `top`, which is 16-byte aligned, is not used by anybody else.
#[cfg(unix)]
pub(crate) unsafe fn prepare_stack(
    top: usize,
    entry: unsafe extern "C" fn(*const ()) -> !,
    arg: *const (),
) -> usize {
    let mut control_words = 0_u64;
    // SAFETY: stores two words of 4 and of 2 bytes.
    unsafe {
        asm!(
            "stmxcsr [{0}]",
            "fnstcw [{0} + 4]",
            in(reg) &mut control_words,
            options(nostack, preserves_flags),
        )
    };
    let frame = [
        control_words as usize,
        0,
        0,
        0,
        arg as usize,
        entry as usize,
        0,
        start_on_stack as *const () as usize,
        0,
        0,
    ];
    let sp = top - size_of_val(&frame);
    // SAFETY: the memory is nobody else's.
    unsafe { (sp as *mut [usize; 10]).write(frame) };
    sp
}
