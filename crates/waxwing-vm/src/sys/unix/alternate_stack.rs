//! The stack that signal handlers of the calling thread run on.

use std::cell::RefCell;
use std::io;
use std::ptr::{self, NonNull};

use super::vm;

/// Least size in bytes of the stack for signal handlers.
///
/// The fault handler captures a backtrace, and a handler that was installed before ours may do more;
/// the size that Rust's threads begin with is enough for printing a message only.
const ALTERNATE_STACK_SIZE: usize = 256 * 1024;

/// Gives the calling thread an alternate signal stack of a sufficient size, unless it has one.
///
/// The stack is freed when the thread ends. A thread that is already ending gets none: its local
/// storage can hold nothing new.
pub(super) fn ensure() -> io::Result<()> {
    thread_local! {
        static STACK: RefCell<Option<AlternateStack>> = const { RefCell::new(None) };
    }
    STACK
        .try_with(|stack| {
            let mut stack = stack.borrow_mut();
            if stack.is_none() && !has_alternate_stack()? {
                *stack = Some(AlternateStack::install()?);
            }
            Ok(())
        })
        .unwrap_or(Ok(()))
}

fn current_alternate_stack() -> io::Result<libc::stack_t> {
    let mut current = libc::stack_t {
        ss_sp: ptr::null_mut(),
        ss_flags: 0,
        ss_size: 0,
    };
    // SAFETY: `current` is writable, and no stack is set.
    match unsafe { libc::sigaltstack(ptr::null(), &mut current) } {
        0 => Ok(current),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Whether the thread has a stack that is large enough, or cannot change it as it runs on it.
fn has_alternate_stack() -> io::Result<bool> {
    let current = current_alternate_stack()?;
    Ok(current.ss_flags & libc::SS_ONSTACK != 0
        || (current.ss_flags & libc::SS_DISABLE == 0 && current.ss_size >= ALTERNATE_STACK_SIZE))
}

/// An alternate signal stack with a guard page below it.
struct AlternateStack {
    mapping: NonNull<u8>,
    len: usize,
}

impl AlternateStack {
    fn install() -> io::Result<AlternateStack> {
        let guard = vm::page_size();
        let len = guard + ALTERNATE_STACK_SIZE;
        let mapping = vm::reserve(len)?;
        let stack = AlternateStack { mapping, len };
        let base = mapping.as_ptr().wrapping_add(guard);
        // SAFETY: the range is the new mapping without its first page; both sizes are multiples of
        // every page size in use.
        unsafe { vm::make_accessible(base, ALTERNATE_STACK_SIZE)? };
        let new = libc::stack_t {
            ss_sp: base.cast(),
            ss_flags: 0,
            ss_size: ALTERNATE_STACK_SIZE,
        };
        // SAFETY: the memory stays mapped until `drop`, which takes the stack out of use first.
        match unsafe { libc::sigaltstack(&new, ptr::null_mut()) } {
            0 => Ok(stack),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

impl Drop for AlternateStack {
    fn drop(&mut self) {
        let base = self.mapping.as_ptr().wrapping_add(vm::page_size());
        // Some other code may have set a stack of its own since. The stack that ours replaced is
        // not set again: its owner may have freed it, as Rust's threads do before their locals.
        if let Ok(current) = current_alternate_stack()
            && current.ss_sp == base.cast()
            && current.ss_flags & libc::SS_DISABLE == 0
        {
            let disable = libc::stack_t {
                ss_sp: ptr::null_mut(),
                ss_flags: libc::SS_DISABLE,
                ss_size: ALTERNATE_STACK_SIZE,
            };
            // SAFETY: disabling takes no memory.
            if unsafe { libc::sigaltstack(&disable, ptr::null_mut()) } != 0 {
                // Still in use, by a handler that ends the thread: leave it mapped.
                return;
            }
        }
        // SAFETY: the mapping is this value's own, and no signal uses it any more. A failure leaks.
        let _ = unsafe { vm::release(self.mapping, self.len) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_gets_a_large_signal_stack_once() {
        std::thread::spawn(|| {
            assert!(!has_alternate_stack().unwrap());
            ensure().unwrap();
            let first = current_alternate_stack().unwrap();
            assert!(first.ss_size >= ALTERNATE_STACK_SIZE);
            ensure().unwrap();
            assert_eq!(current_alternate_stack().unwrap().ss_sp, first.ss_sp);
        })
        .join()
        .unwrap();
    }
}
