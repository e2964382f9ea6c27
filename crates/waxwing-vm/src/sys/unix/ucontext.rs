//! The registers of the interrupted code within the context that a signal handler is given.

use libc::{c_void, ucontext_t};

use crate::traps::{Interrupted, Resume};

/// Pointers to the registers of `context` that traps need.
struct Registers<T> {
    pc: *mut T,
    sp: *mut T,
    fp: *mut T,
    /// Where generated code keeps fuel: Cranelift's pinned register.
    fuel: *mut T,
}

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
type Word = libc::greg_t;
#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
type Word = u64;

/// # Safety
///
/// `context` is what the kernel passed to a handler that is still running.
unsafe fn registers(context: *mut c_void) -> Registers<Word> {
    let context = context.cast::<ucontext_t>();
    // SAFETY: the kernel passes a valid context, whose layout the C library declares.
    unsafe {
        #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
        {
            let gregs = (&raw mut (*context).uc_mcontext.gregs).cast::<Word>();
            Registers {
                pc: gregs.add(libc::REG_RIP as usize),
                sp: gregs.add(libc::REG_RSP as usize),
                fp: gregs.add(libc::REG_RBP as usize),
                fuel: gregs.add(libc::REG_R15 as usize),
            }
        }
        #[cfg(all(
            any(target_os = "linux", target_os = "android"),
            target_arch = "aarch64"
        ))]
        {
            let machine = &raw mut (*context).uc_mcontext;
            Registers {
                pc: &raw mut (*machine).pc,
                sp: &raw mut (*machine).sp,
                fp: (&raw mut (*machine).regs).cast::<Word>().add(29),
                fuel: (&raw mut (*machine).regs).cast::<Word>().add(21),
            }
        }
        #[cfg(all(target_vendor = "apple", target_arch = "x86_64"))]
        {
            let state = &raw mut (*(*context).uc_mcontext).__ss;
            Registers {
                pc: &raw mut (*state).__rip,
                sp: &raw mut (*state).__rsp,
                fp: &raw mut (*state).__rbp,
                fuel: &raw mut (*state).__r15,
            }
        }
        #[cfg(all(target_vendor = "apple", target_arch = "aarch64"))]
        {
            let state = &raw mut (*(*context).uc_mcontext).__ss;
            Registers {
                pc: &raw mut (*state).__pc,
                sp: &raw mut (*state).__sp,
                fp: &raw mut (*state).__fp,
                fuel: (&raw mut (*state).__x).cast::<Word>().add(21),
            }
        }
        // No handler is installed where no machine code runs.
        #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
        {
            let _ = context;
            std::process::abort()
        }
    }
}

/// The registers of the interrupted code.
///
/// # Safety
///
/// `context` is what the kernel passed to a handler that is still running.
pub(super) unsafe fn interrupted(context: *mut c_void) -> Interrupted {
    // SAFETY: required of the caller.
    unsafe {
        let registers = registers(context);
        Interrupted {
            pc: registers.pc.read() as usize,
            fp: registers.fp.read() as usize,
            fuel: registers.fuel.read() as usize,
        }
    }
}

/// Makes the interrupted thread continue at `resume` when the handler returns.
///
/// # Safety
///
/// `context` is what the kernel passed to a handler that is still running, and continuing there is
/// sound.
pub(super) unsafe fn set(context: *mut c_void, resume: &Resume) {
    // SAFETY: required of the caller.
    unsafe {
        let registers = registers(context);
        registers.pc.write(resume.pc as Word);
        registers.sp.write(resume.sp as Word);
        registers.fp.write(resume.fp as Word);
    }
}
