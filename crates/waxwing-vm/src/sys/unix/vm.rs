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
    map(file, len, ProtFlags::READ)
}

/// Maps the first `len` bytes of `file` privately, readable and executable; with `bti`, as [`make_executable`].
pub(crate) fn map_code(file: &File, len: usize, bti: bool) -> io::Result<NonNull<u8>> {
    // The flags of both calls have the same bits.
    map(
        file,
        len,
        ProtFlags::from_bits_retain(executable(bti).bits()),
    )
}

fn map(file: &File, len: usize, protection: ProtFlags) -> io::Result<NonNull<u8>> {
    // SAFETY: the address is left to the kernel, so that no existing mapping is replaced.
    let ptr =
        unsafe { rustix::mm::mmap(ptr::null_mut(), len, protection, MapFlags::PRIVATE, file, 0)? };
    Ok(NonNull::new(ptr.cast()).expect("mmap never returns the null page unasked"))
}

/// The longest file that takes less time to read than to map, and then to change the rights to a part of the mapping.
pub(crate) const MOST_TO_READ: usize = 64 << 10;

/// Reads the first `len` bytes of `file`, wherever its cursor is, or as many as there are.
pub(crate) fn read_file(file: &File, len: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(len);
    while bytes.len() < len {
        let at = bytes.len() as u64;
        match rustix::io::pread(file, rustix::buffer::spare_capacity(&mut bytes), at) {
            Ok(0) => break,
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(bytes)
}

/// Gives back a mapping made by [`reserve`], [`map_file`] or [`map_code`].
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
    // SAFETY: required of the caller.
    unsafe { protect(ptr, len, executable(bti)) }
}

fn executable(bti: bool) -> MprotectFlags {
    let flags = MprotectFlags::READ | MprotectFlags::EXEC;
    #[cfg(all(target_arch = "aarch64", target_os = "linux"))]
    let flags = if bti && std::arch::is_aarch64_feature_detected!("bti") {
        flags | PROT_BTI
    } else {
        flags
    };
    #[cfg(not(all(target_arch = "aarch64", target_os = "linux")))]
    let _ = bti;
    flags
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

/// Forbids all access to the pages of `ptr..ptr + len`, which keep their contents until
/// [`make_accessible`] allows it again.
///
/// # Safety
///
/// As for [`make_accessible`].
#[cfg(feature = "pooling-allocator")]
pub(crate) unsafe fn forbid(ptr: *mut u8, len: usize) -> io::Result<()> {
    // SAFETY: required of the caller.
    unsafe { protect(ptr, len, MprotectFlags::empty()) }
}

/// Whether [`discard`] leaves pages of a file that is mapped privately with the contents of the file, rather than zeros, and
/// may be used on pages that are not accessible.
pub(crate) const DISCARD_KEEPS_MAPPINGS: bool = cfg!(target_os = "linux");

/// [`discard`]s many ranges, by one system call where there is such a call, and says of each whether that succeeded.
///
/// # Safety
///
/// As for [`discard`], of each range.
#[cfg(feature = "pooling-allocator")]
pub(crate) unsafe fn discard_all(ranges: &[(*mut u8, usize)], done: &mut dyn FnMut(usize, bool)) {
    #[cfg(target_os = "linux")]
    let first = match ranges {
        [] | [_] => 0,
        // SAFETY: required of the caller.
        ranges => unsafe { discard_at_once(ranges) },
    };
    #[cfg(not(target_os = "linux"))]
    let first = 0;
    for index in 0..first {
        done(index, true);
    }
    for (index, (ptr, len)) in ranges.iter().enumerate().skip(first) {
        // SAFETY: required of the caller.
        let result = unsafe { discard(*ptr, *len) };
        done(index, result.is_ok());
    }
}

/// Discards ranges from the first on, and returns how many: none if the kernel, which has to be Linux 6.13 or newer, cannot do that.
///
/// # Safety
///
/// As for [`discard`], of each range.
#[cfg(all(target_os = "linux", feature = "pooling-allocator"))]
unsafe fn discard_at_once(ranges: &[(*mut u8, usize)]) -> usize {
    use std::sync::atomic::{AtomicBool, Ordering};

    /// Stands for the calling process, as long as no descriptor is negative.
    const PIDFD_SELF: libc::c_int = -10000;
    /// The most ranges of one call.
    const MOST: usize = 128;
    static REFUSED: AtomicBool = AtomicBool::new(false);

    let mut complete = 0;
    for ranges in ranges.chunks(MOST) {
        if REFUSED.load(Ordering::Relaxed) {
            break;
        }
        let vectors: smallvec::SmallVec<[libc::iovec; 16]> = ranges
            .iter()
            .map(|(ptr, len)| libc::iovec {
                iov_base: ptr.cast(),
                iov_len: *len,
            })
            .collect();
        // SAFETY: the call reads the vectors, and does to their ranges what the caller allows.
        let bytes = unsafe {
            libc::syscall(
                libc::SYS_process_madvise,
                PIDFD_SELF,
                vectors.as_ptr(),
                vectors.len(),
                libc::MADV_DONTNEED,
                0,
            )
        };
        let Ok(mut bytes) = usize::try_from(bytes) else {
            // Whatever the reason is, it may be one of a single range: only that the call is unknown is for ever.
            let error = io::Error::last_os_error().raw_os_error();
            let unknown = [libc::ENOSYS, libc::EINVAL, libc::EPERM, libc::EBADF];
            if complete == 0 && error.is_some_and(|error| unknown.contains(&error)) {
                REFUSED.store(true, Ordering::Relaxed);
            }
            break;
        };
        for (_, len) in ranges {
            match bytes.checked_sub(*len) {
                Some(rest) => bytes = rest,
                None => return complete,
            }
            complete += 1;
        }
    }
    complete
}
