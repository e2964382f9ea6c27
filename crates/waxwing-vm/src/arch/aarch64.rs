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
