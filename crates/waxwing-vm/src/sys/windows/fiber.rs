//! Switching between stacks. The system wants to know which stack a thread runs on: to grow it, and to believe that what
//! exceptions unwind is on it. Its bounds are in the thread's information block, and go with the stack pointer.

use std::arch::naked_asm;
use std::ops::Range;

/// Continues on another stack: saves here what a function preserves and the bounds of this stack, exchanges the
/// stack pointer with the one at `other`, and returns there.
///
/// # Safety
///
/// At `other` is the stack pointer that this function left there when it was last called on that
/// stack, or one that [`prepare_stack`] made, and nobody else goes on from there.
#[cfg(target_arch = "x86_64")]
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn switch_stacks(other: *mut usize) {
    naked_asm!(
        "push rbp",
        "push rbx",
        "push rdi",
        "push rsi",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        // `StackBase`, `StackLimit`, `DeallocationStack` and `GuaranteedStackBytes`.
        "push qword ptr gs:[0x08]",
        "push qword ptr gs:[0x10]",
        "push qword ptr gs:[0x1478]",
        "push qword ptr gs:[0x1748]",
        "sub rsp, 168",
        "movups [rsp], xmm6",
        "movups [rsp + 16], xmm7",
        "movups [rsp + 32], xmm8",
        "movups [rsp + 48], xmm9",
        "movups [rsp + 64], xmm10",
        "movups [rsp + 80], xmm11",
        "movups [rsp + 96], xmm12",
        "movups [rsp + 112], xmm13",
        "movups [rsp + 128], xmm14",
        "movups [rsp + 144], xmm15",
        "stmxcsr [rsp + 160]",
        "fnstcw [rsp + 164]",
        "mov rax, [rcx]",
        "mov [rcx], rsp",
        "mov rsp, rax",
        "movups xmm6, [rsp]",
        "movups xmm7, [rsp + 16]",
        "movups xmm8, [rsp + 32]",
        "movups xmm9, [rsp + 48]",
        "movups xmm10, [rsp + 64]",
        "movups xmm11, [rsp + 80]",
        "movups xmm12, [rsp + 96]",
        "movups xmm13, [rsp + 112]",
        "movups xmm14, [rsp + 128]",
        "movups xmm15, [rsp + 144]",
        "ldmxcsr [rsp + 160]",
        "fldcw [rsp + 164]",
        "add rsp, 168",
        "pop qword ptr gs:[0x1748]",
        "pop qword ptr gs:[0x1478]",
        "pop qword ptr gs:[0x10]",
        "pop qword ptr gs:[0x08]",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rsi",
        "pop rdi",
        "pop rbx",
        "pop rbp",
        "ret",
    )
}

/// The oldest frame of a new stack. It has no unwind information, so that unwinding takes what is on the stack for its
/// return address: zero, where it ends.
#[cfg(target_arch = "x86_64")]
#[unsafe(naked)]
unsafe extern "C" fn start_on_stack() {
    naked_asm!("mov rcx, r12", "call rbx", "ud2")
}

/// Makes a stack that [`switch_stacks`] can continue on: there `entry(arg)` is called. Returns its stack
/// pointer.
///
/// # Safety
///
/// The stack's memory, whose end is 16-byte aligned, is not used by anybody else.
#[cfg(target_arch = "x86_64")]
pub(crate) unsafe fn prepare_stack(
    stack: Range<usize>,
    entry: unsafe extern "C" fn(*const ()) -> !,
    arg: *const (),
) -> usize {
    let mut control_words = 0_u64;
    // SAFETY: stores two words of 4 and of 2 bytes.
    unsafe {
        std::arch::asm!(
            "stmxcsr [{0}]",
            "fnstcw [{0} + 4]",
            in(reg) &mut control_words,
            options(nostack, preserves_flags),
        )
    };
    let mut frame = [0_usize; 40];
    frame[20] = control_words as usize;
    frame[22] = stack.start;
    frame[23] = stack.start;
    frame[24] = stack.end;
    frame[28] = arg as usize;
    frame[31] = entry as usize;
    frame[33] = start_on_stack as *const () as usize;
    let sp = stack.end - size_of_val(&frame);
    // SAFETY: the memory is nobody else's.
    unsafe { (sp as *mut [usize; 40]).write(frame) };
    sp
}

/// Continues on another stack: saves here what a function preserves and the bounds of this stack, exchanges the
/// stack pointer with the one at `other`, and returns there.
///
/// # Safety
///
/// At `other` is the stack pointer that this function left there when it was last called on that
/// stack, or one that [`prepare_stack`] made, and nobody else goes on from there.
#[cfg(target_arch = "aarch64")]
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn switch_stacks(other: *mut usize) {
    naked_asm!(
        "stp x29, x30, [sp, #-192]!",
        "stp x19, x20, [sp, #16]",
        "stp x21, x22, [sp, #32]",
        "stp x23, x24, [sp, #48]",
        "stp x25, x26, [sp, #64]",
        "stp x27, x28, [sp, #80]",
        "stp d8, d9, [sp, #96]",
        "stp d10, d11, [sp, #112]",
        "stp d12, d13, [sp, #128]",
        "stp d14, d15, [sp, #144]",
        // `StackBase`, `StackLimit` and `DeallocationStack`.
        "ldp x9, x10, [x18, #0x08]",
        "ldr x11, [x18, #0x1478]",
        "stp x9, x10, [sp, #160]",
        "str x11, [sp, #176]",
        "ldr x9, [x0]",
        "mov x10, sp",
        "str x10, [x0]",
        "mov sp, x9",
        "ldp x9, x10, [sp, #160]",
        "ldr x11, [sp, #176]",
        "stp x9, x10, [x18, #0x08]",
        "str x11, [x18, #0x1478]",
        "ldp x19, x20, [sp, #16]",
        "ldp x21, x22, [sp, #32]",
        "ldp x23, x24, [sp, #48]",
        "ldp x25, x26, [sp, #64]",
        "ldp x27, x28, [sp, #80]",
        "ldp d8, d9, [sp, #96]",
        "ldp d10, d11, [sp, #112]",
        "ldp d12, d13, [sp, #128]",
        "ldp d14, d15, [sp, #144]",
        "ldp x29, x30, [sp], #192",
        "ret",
    )
}

/// The oldest frame of a new stack, whose caller is nobody: there unwinding ends.
#[cfg(target_arch = "aarch64")]
#[unsafe(naked)]
unsafe extern "C" fn start_on_stack() {
    naked_asm!("mov x0, x20", "mov x30, xzr", "blr x19", "brk #1")
}

/// Makes a stack that [`switch_stacks`] can continue on: there `entry(arg)` is called. Returns its stack
/// pointer.
///
/// # Safety
///
/// The stack's memory, whose end is 16-byte aligned, is not used by anybody else.
#[cfg(target_arch = "aarch64")]
pub(crate) unsafe fn prepare_stack(
    stack: Range<usize>,
    entry: unsafe extern "C" fn(*const ()) -> !,
    arg: *const (),
) -> usize {
    let mut frame = [0_usize; 26];
    frame[1] = start_on_stack as *const () as usize;
    frame[2] = entry as usize;
    frame[3] = arg as usize;
    frame[20] = stack.end;
    frame[21] = stack.start;
    frame[22] = stack.start;
    let sp = stack.end - size_of_val(&frame);
    // SAFETY: the memory is nobody else's.
    unsafe { (sp as *mut [usize; 26]).write(frame) };
    sp
}
