//! Address space by `mmap`, `mprotect` and `munmap`.

use std::fs::File;
use std::io;
use std::ptr::{self, NonNull};

use rustix::mm::{MapFlags, MprotectFlags, ProtFlags};

/// `PROT_BTI` of Linux on aarch64: indirect branches may only land on `bti` instructions.
#[cfg(all(target_arch = "aarch64", target_os = "linux"))]
const PROT_BTI: MprotectFlags = MprotectFlags::from_bits_retain(0x10);

/// The size in bytes of the system's pages.
pub(crate) fn page_size() -> usize {
    rustix::param::page_size()
}

/// Reserves `len` bytes of address space that no access is allowed to.
pub(crate) fn reserve(len: usize) -> io::Result<NonNull<u8>> {
    // SAFETY: the address is left to the kernel, so that no existing mapping is replaced.
    let ptr = unsafe {
        rustix::mm::mmap_anonymous(
            ptr::null_mut(),
            len,
            ProtFlags::empty(),
            MapFlags::PRIVATE | MapFlags::NORESERVE,
        )?
    };
    Ok(NonNull::new(ptr.cast()).expect("mmap never returns the null page unasked"))
}

/// Maps the first `len` bytes of `file` privately, readable.
pub(crate) fn map_file(file: &File, len: usize) -> io::Result<NonNull<u8>> {
    // SAFETY: the address is left to the kernel, so that no existing mapping is replaced.
    let ptr = unsafe {
        rustix::mm::mmap(
            ptr::null_mut(),
            len,
            ProtFlags::READ,
            MapFlags::PRIVATE,
            file,
            0,
        )?
    };
    Ok(NonNull::new(ptr.cast()).expect("mmap never returns the null page unasked"))
}

/// Gives back a mapping made by [`reserve`] or [`map_file`].
///
/// # Safety
///
/// `ptr` and `len` are those of the mapping, and nothing uses its memory any more.
pub(crate) unsafe fn release(ptr: NonNull<u8>, len: usize) -> io::Result<()> {
    // SAFETY: required of the caller.
    unsafe { rustix::mm::munmap(ptr.as_ptr().cast(), len)? };
    Ok(())
}

unsafe fn protect(ptr: *mut u8, len: usize, flags: MprotectFlags) -> io::Result<()> {
    // SAFETY: required of the callers.
    unsafe { rustix::mm::mprotect(ptr.cast(), len, flags)? };
    Ok(())
}

/// Allows reads and writes of the pages of `ptr..ptr + len`.
///
/// # Safety
///
/// The range is page aligned, lies within one mapping of this module and is not borrowed.
pub(crate) unsafe fn make_accessible(ptr: *mut u8, len: usize) -> io::Result<()> {
    // SAFETY: required of the caller.
    unsafe { protect(ptr, len, MprotectFlags::READ | MprotectFlags::WRITE) }
}

/// Allows reads only.
///
/// # Safety
///
/// As for [`make_accessible`]; shared borrows may exist.
pub(crate) unsafe fn make_readonly(ptr: *mut u8, len: usize) -> io::Result<()> {
    // SAFETY: required of the caller.
    unsafe { protect(ptr, len, MprotectFlags::READ) }
}

/// Allows reads and execution; with `bti`, enforces branch targets where the CPU can.
///
/// # Safety
///
/// As for [`make_accessible`]; shared borrows may exist.
pub(crate) unsafe fn make_executable(ptr: *mut u8, len: usize, bti: bool) -> io::Result<()> {
    let flags = MprotectFlags::READ | MprotectFlags::EXEC;
    #[cfg(all(target_arch = "aarch64", target_os = "linux"))]
    let flags = if bti && std::arch::is_aarch64_feature_detected!("bti") {
        flags | PROT_BTI
    } else {
        flags
    };
    #[cfg(not(all(target_arch = "aarch64", target_os = "linux")))]
    let _ = bti;
    // SAFETY: required of the caller.
    unsafe { protect(ptr, len, flags) }
}

/// Replaces the contents of the pages of `ptr..ptr + len`, which are accessible, by zeros, and gives their
/// memory back until they are used again.
///
/// # Safety
///
/// As for [`make_accessible`].
pub(crate) unsafe fn discard(ptr: *mut u8, len: usize) -> io::Result<()> {
    // SAFETY: the caller guarantees that the range lies within a mapping that it owns, of no file,
    // and that nothing borrows.
    unsafe {
        #[cfg(target_os = "linux")]
        rustix::mm::madvise(ptr.cast(), len, rustix::mm::Advice::LinuxDontNeed)?;
        #[cfg(not(target_os = "linux"))]
        rustix::mm::mmap_anonymous(
            ptr.cast(),
            len,
            ProtFlags::READ | ProtFlags::WRITE,
            MapFlags::PRIVATE | MapFlags::NORESERVE | MapFlags::FIXED,
        )?;
    }
    Ok(())
}

/// Replaces the pages of `ptr..ptr + len` by fresh ones that no access is allowed to.
///
/// # Safety
///
/// As for [`make_accessible`].
pub(crate) unsafe fn make_inaccessible(ptr: *mut u8, len: usize) -> io::Result<()> {
    // SAFETY: the caller guarantees that the range lies within a mapping that it owns and that
    // nothing borrows, so that replacing it harms nobody.
    unsafe {
        rustix::mm::mmap_anonymous(
            ptr.cast(),
            len,
            ProtFlags::empty(),
            MapFlags::PRIVATE | MapFlags::NORESERVE | MapFlags::FIXED,
        )?
    };
    Ok(())
}
