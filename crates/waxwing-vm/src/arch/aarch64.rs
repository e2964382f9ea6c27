//! aarch64.

use std::arch::asm;

/// `e_machine` of ELF files for this CPU.
#[cfg(feature = "profiling")]
pub(crate) const ELF_MACHINE: u16 = 183;

/// The calling function's stack pointer, within a few words.
#[inline(always)]
pub(crate) fn stack_pointer() -> usize {
    let sp;
    // SAFETY: reads a register.
    unsafe { asm!("mov {}, sp", out(reg) sp, options(nomem, nostack, preserves_flags)) };
    sp
}

/// Continues at `pc` with the given stack and frame pointers; abandons all younger frames.
///
/// # Safety
///
/// The three were stored together by an entry trampoline whose frame is still live on this stack, and
/// no frame between it and the caller has anything to clean up.
pub(crate) unsafe fn resume_to_handler(pc: usize, sp: usize, fp: usize) -> ! {
    // SAFETY: required of the caller. A branch through x16 may land on every kind of `bti`.
    unsafe {
        asm!(
            "mov sp, x0",
            "mov x29, x1",
            "br x16",
            in("x0") sp,
            in("x1") fp,
            in("x16") pc,
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
    // SAFETY: required of the caller. The payload is where the `tail` convention has it. A branch
    // through x16 may land on every kind of `bti`.
    unsafe {
        asm!(
            "mov sp, x2",
            "mov x29, x3",
            "br x16",
            in("x2") sp,
            in("x3") fp,
            in("x16") pc,
            in("x0") payload,
            in("x1") 0_u64,
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
    let signed = unsafe { *(fp as *const usize).add(1) };
    strip_pointer_authentication(signed)
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

/// Removes the signature from a return address.
///
/// `xpaclri` is a hint: a CPU without pointer authentication does nothing.
fn strip_pointer_authentication(address: usize) -> usize {
    let mut address = address;
    // SAFETY: `hint 7` is `xpaclri`, which changes x30 alone.
    unsafe {
        asm!(
            "mov x30, {address}",
            "hint 7",
            "mov {address}, x30",
            address = inout(reg) address,
            out("x30") _,
            options(nomem, nostack, preserves_flags),
        )
    };
    address
}

/// Cleans the data cache to the point of unification and invalidates the instruction cache.
///
/// # Safety
///
/// The range is mapped and readable.
#[cfg(all(unix, not(target_os = "macos")))]
pub(crate) unsafe fn clean_instruction_cache(ptr: *const u8, len: usize) {
    let cache_type: usize;
    // SAFETY: reads a register that systems allow user code to read.
    unsafe { asm!("mrs {}, ctr_el0", out(reg) cache_type, options(nomem, nostack)) };
    let data_line = 4usize << ((cache_type >> 16) & 0xf);
    let instruction_line = 4usize << (cache_type & 0xf);
    let (start, end) = (ptr as usize, ptr as usize + len);

    let mut line = start & !(data_line - 1);
    while line < end {
        // SAFETY: cleaning a line of mapped memory has no visible effect but on caches.
        unsafe { asm!("dc cvau, {}", in(reg) line, options(nostack)) };
        line += data_line;
    }
    // SAFETY: barriers.
    unsafe { asm!("dsb ish", options(nostack)) };
    let mut line = start & !(instruction_line - 1);
    while line < end {
        // SAFETY: invalidating a line of mapped memory has no visible effect but on caches.
        unsafe { asm!("ic ivau, {}", in(reg) line, options(nostack)) };
        line += instruction_line;
    }
    // SAFETY: barriers.
    unsafe { asm!("dsb ish", "isb", options(nostack)) };
}

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
        "stp x29, x30, [sp, #-160]!",
        "stp x19, x20, [sp, #16]",
        "stp x21, x22, [sp, #32]",
        "stp x23, x24, [sp, #48]",
        "stp x25, x26, [sp, #64]",
        "stp x27, x28, [sp, #80]",
        "stp d8, d9, [sp, #96]",
        "stp d10, d11, [sp, #112]",
        "stp d12, d13, [sp, #128]",
        "stp d14, d15, [sp, #144]",
        "ldr x9, [x0]",
        "mov x10, sp",
        "str x10, [x0]",
        "mov sp, x9",
        "ldp x19, x20, [sp, #16]",
        "ldp x21, x22, [sp, #32]",
        "ldp x23, x24, [sp, #48]",
        "ldp x25, x26, [sp, #64]",
        "ldp x27, x28, [sp, #80]",
        "ldp d8, d9, [sp, #96]",
        "ldp d10, d11, [sp, #112]",
        "ldp d12, d13, [sp, #128]",
        "ldp d14, d15, [sp, #144]",
        "ldp x29, x30, [sp], #160",
        "ret",
    )
}

/// The oldest frame of a new stack, in which unwinding ends.
#[cfg(unix)]
#[unsafe(naked)]
unsafe extern "C" fn start_on_stack() {
    std::arch::naked_asm!(
        ".cfi_startproc",
        ".cfi_undefined x30",
        "mov x0, x20",
        "blr x19",
        "brk #1",
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
    let mut frame = [0_usize; 22];
    frame[1] = start_on_stack as *const () as usize;
    frame[2] = entry as usize;
    frame[3] = arg as usize;
    let sp = top - size_of_val(&frame);
    // SAFETY: the memory is nobody else's.
    unsafe { (sp as *mut [usize; 22]).write(frame) };
    sp
}
