//! Memory protection keys: pages have one of 16 keys, and each thread a register that says for which keys it
//! has what rights.

use std::arch::asm;
use std::io;
use std::sync::OnceLock;

/// A key that nobody else of the process uses.
#[derive(Debug)]
pub(crate) struct Key(u32);

/// What the register has for each key: one bit that denies all access, one that denies writes.
const BITS: u32 = 2;

impl Key {
    /// Takes a key. The calling thread has all rights to it.
    ///
    /// # Errors
    ///
    /// Fails if all keys are taken, or there are none.
    pub(crate) fn new() -> io::Result<Key> {
        if !cpu_has_keys() {
            return Err(io::ErrorKind::Unsupported.into());
        }
        // SAFETY: the call takes no pointers.
        let key = unsafe { libc::syscall(libc::SYS_pkey_alloc, 0, 0) };
        match u32::try_from(key) {
            Ok(key) => Ok(Key(key)),
            Err(_) => Err(io::Error::last_os_error()),
        }
    }

    /// The bits of the register that deny access.
    pub(crate) fn rights(&self) -> u32 {
        0b11 << (self.0 * BITS)
    }

    /// Gives the pages of `ptr..ptr + len` this key, and allows reads and writes to those who have the right.
    ///
    /// # Safety
    ///
    /// The range is page aligned, lies within one mapping that the caller owns and is not borrowed.
    pub(crate) unsafe fn protect(&self, ptr: *mut u8, len: usize) -> io::Result<()> {
        let rights = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: required of the caller.
        match unsafe { libc::syscall(libc::SYS_pkey_mprotect, ptr, len, rights, self.0) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        // SAFETY: the call takes no pointers. A failure leaves the key taken.
        unsafe { libc::syscall(libc::SYS_pkey_free, self.0) };
    }
}

/// Whether the CPU has keys and the system uses them.
fn cpu_has_keys() -> bool {
    let highest = std::arch::x86_64::__cpuid(0).eax;
    // Leaf 7, ECX, bit 4: OSPKE.
    highest >= 7 && std::arch::x86_64::__cpuid_count(7, 0).ecx & (1 << 4) != 0
}

/// Whether there are keys at all: those that are left are told by [`Key::new`].
pub(crate) fn available() -> bool {
    static AVAILABLE: OnceLock<bool> = OnceLock::new();
    *AVAILABLE.get_or_init(|| {
        // When all keys are taken, there are keys.
        let taken = |error: io::Error| error.raw_os_error() == Some(libc::ENOSPC);
        Key::new().map_or_else(taken, |_| true)
    })
}

/// The calling thread's register.
#[inline]
pub(crate) fn denied() -> u32 {
    let rights: u32;
    // SAFETY: the instruction reads a register; that the CPU has it follows from that there is a key.
    unsafe {
        asm!("rdpkru", in("ecx") 0, out("eax") rights, out("edx") _, options(nomem, nostack, preserves_flags));
    }
    rights
}

/// Writes the calling thread's register.
///
/// # Safety
///
/// There is a [`Key`]. The thread has references to no memory that it loses the right to.
#[inline]
pub(crate) unsafe fn deny(rights: u32) {
    // SAFETY: the CPU has the register, and the caller guarantees the rest. Accesses are not moved
    // across, as the block is one that may use memory.
    unsafe {
        asm!("wrpkru", in("eax") rights, in("ecx") 0, in("edx") 0, options(nostack, preserves_flags));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mmap::{Mmap, host_page_size};

    #[test]
    fn rights_are_the_threads_own() {
        if !available() {
            return;
        }
        let page = host_page_size();
        let mapping = Mmap::reserve(page).unwrap();
        let key = Key::new().expect("not all keys are taken");
        // SAFETY: the page is the mapping's, which nothing else uses.
        unsafe { key.protect(mapping.as_mut_ptr(), page).unwrap() };
        let before = denied();
        assert_eq!(before & key.rights(), 0);
        // SAFETY: as above; nothing refers to the page while it is denied.
        unsafe {
            mapping.as_mut_ptr().write_volatile(7);
            deny(before | key.rights());
            assert_eq!(denied(), before | key.rights());
            deny(before);
            assert_eq!(mapping.as_mut_ptr().read_volatile(), 7);
        }
    }
}
