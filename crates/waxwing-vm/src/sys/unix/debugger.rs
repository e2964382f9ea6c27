//! Telling debuggers of the process about generated code, by the interface that gdb defines for just-in-time compilers.
//!
//! There is one list of descriptions in a process, at a symbol, and a function in which debuggers set a breakpoint to learn of its
//! changes. Both symbols are weak: where another compiler of the process defines them too, all use the same. Such a compiler takes
//! no lock of ours, so that the two must not make or drop modules for debuggers at the same time.
//!
//! Systems whose debuggers do not read ELF files, Apple's, have no such list here.

use std::ptr::{self, NonNull};
use std::sync::{Mutex, PoisonError};

/// What `Descriptor::action_flag` says.
const ACTION_NONE: u32 = 0;
const ACTION_REGISTER: u32 = 1;
const ACTION_UNREGISTER: u32 = 2;

/// An entry of the list, as debuggers read it.
#[repr(C)]
struct CodeEntry {
    next: *mut CodeEntry,
    previous: *mut CodeEntry,
    symfile_addr: *const u8,
    symfile_size: u64,
}

/// The head of the list, as debuggers read it.
#[repr(C)]
struct Descriptor {
    version: u32,
    action_flag: u32,
    relevant_entry: *mut CodeEntry,
    first_entry: *mut CodeEntry,
}

// A function that does nothing, and the head of an empty list of version 1.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
#[cfg(not(target_vendor = "apple"))]
std::arch::global_asm!(
    ".pushsection .text.__jit_debug_register_code,\"ax\"",
    ".weak __jit_debug_register_code",
    ".type __jit_debug_register_code, @function",
    ".p2align 4",
    "__jit_debug_register_code:",
    "ret",
    ".size __jit_debug_register_code, . - __jit_debug_register_code",
    ".popsection",
    ".pushsection .data.__jit_debug_descriptor,\"aw\"",
    ".weak __jit_debug_descriptor",
    ".type __jit_debug_descriptor, @object",
    ".p2align 3",
    "__jit_debug_descriptor:",
    ".long 1",
    ".long 0",
    ".quad 0",
    ".quad 0",
    ".size __jit_debug_descriptor, . - __jit_debug_descriptor",
    ".popsection",
);

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
#[cfg(not(target_vendor = "apple"))]
mod list {
    use super::Descriptor;

    unsafe extern "C" {
        fn __jit_debug_register_code();
        static mut __jit_debug_descriptor: Descriptor;
    }

    pub(super) fn head() -> Option<*mut Descriptor> {
        Some(&raw mut __jit_debug_descriptor)
    }

    pub(super) fn announce() {
        // SAFETY: the function does nothing, if no debugger does.
        unsafe { __jit_debug_register_code() }
    }
}

#[cfg(any(
    target_vendor = "apple",
    not(any(target_arch = "x86_64", target_arch = "aarch64"))
))]
mod list {
    use super::Descriptor;

    pub(super) fn head() -> Option<*mut Descriptor> {
        None
    }

    pub(super) fn announce() {}
}

/// Held by whoever changes the list.
static LOCK: Mutex<()> = Mutex::new(());

/// Code that debuggers know; dropping it makes them forget.
#[derive(Debug)]
pub(crate) struct DebuggerRegistration {
    /// From `Box::into_raw`, and in the list. `None` if there is no list.
    entry: Option<NonNull<CodeEntry>>,
    /// What the entry points to.
    _elf: Box<[u8]>,
}

// SAFETY: the entry is the value's own, but for the list's lock; and the bytes never change.
unsafe impl Send for DebuggerRegistration {}
// SAFETY: as above, and there is nothing to do with a shared reference.
unsafe impl Sync for DebuggerRegistration {}

impl DebuggerRegistration {
    /// Tells debuggers of the code that an ELF file describes at its final address.
    pub(crate) fn new(elf: Box<[u8]>) -> DebuggerRegistration {
        let Some(head) = list::head() else {
            return DebuggerRegistration {
                entry: None,
                _elf: elf,
            };
        };
        let entry = Box::into_raw(Box::new(CodeEntry {
            next: ptr::null_mut(),
            previous: ptr::null_mut(),
            symfile_addr: elf.as_ptr(),
            symfile_size: elf.len() as u64,
        }));
        let _guard = LOCK.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: the lock excludes others from the list, whose entries are live: they leave it before they are freed.
        unsafe {
            let first = (*head).first_entry;
            (*entry).next = first;
            if !first.is_null() {
                (*first).previous = entry;
            }
            (*head).first_entry = entry;
            tell(head, entry, ACTION_REGISTER);
        }
        DebuggerRegistration {
            entry: NonNull::new(entry),
            _elf: elf,
        }
    }
}

impl Drop for DebuggerRegistration {
    fn drop(&mut self) {
        let (Some(entry), Some(head)) = (self.entry, list::head()) else {
            return;
        };
        let entry = entry.as_ptr();
        let _guard = LOCK.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: as in `new`; the entry is in the list, and freed once, after debuggers were told.
        unsafe {
            let (next, previous) = ((*entry).next, (*entry).previous);
            match previous.is_null() {
                true => (*head).first_entry = next,
                false => (*previous).next = next,
            }
            if !next.is_null() {
                (*next).previous = previous;
            }
            tell(head, entry, ACTION_UNREGISTER);
            drop(Box::from_raw(entry));
        }
    }
}

/// # Safety
///
/// The caller holds the lock; `head` is the list's and `entry` is live.
unsafe fn tell(head: *mut Descriptor, entry: *mut CodeEntry, action: u32) {
    // SAFETY: required of the caller. Debuggers read what is in memory at the call: the writes are not moved past it.
    unsafe {
        (&raw mut (*head).relevant_entry).write_volatile(entry);
        (&raw mut (*head).action_flag).write_volatile(action);
        list::announce();
        (&raw mut (*head).relevant_entry).write_volatile(ptr::null_mut());
        (&raw mut (*head).action_flag).write_volatile(ACTION_NONE);
    }
}

#[cfg(all(test, target_os = "linux"))]
pub(crate) mod tests {
    use super::*;

    /// The ELF files in the list, as a debugger would read them.
    pub(crate) fn listed() -> Vec<Vec<u8>> {
        let _guard = LOCK.lock().unwrap_or_else(PoisonError::into_inner);
        let mut files = Vec::new();
        // SAFETY: the lock excludes others from the list, whose entries and files are live.
        unsafe {
            let head = list::head().unwrap();
            assert_eq!(((*head).version, (*head).action_flag), (1, ACTION_NONE));
            let mut next = (*head).first_entry;
            while !next.is_null() {
                let entry = &*next;
                let len = entry.symfile_size as usize;
                files.push(std::slice::from_raw_parts(entry.symfile_addr, len).to_vec());
                next = entry.next;
            }
        }
        files
    }

    #[test]
    fn debuggers_see_what_is_registered() {
        let file = |n: u8| vec![0xe0, n, 0x55, n];
        let is_listed = |n: u8| listed().contains(&file(n));
        let register = |n: u8| DebuggerRegistration::new(file(n).into());
        let (one, two, three) = (register(1), register(2), register(3));
        assert!(is_listed(1) && is_listed(2) && is_listed(3));
        drop(two);
        assert!(is_listed(1) && !is_listed(2) && is_listed(3));
        drop(three);
        drop(one);
        assert!(!is_listed(1) && !is_listed(3));
    }
}
