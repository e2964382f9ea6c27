//! Address space by `VirtualAlloc`, `VirtualProtect` and `VirtualFree`.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::mem::MaybeUninit;
use std::ptr::{self, NonNull};

use windows_sys::Win32::System::Memory::{
    MEM_COMMIT, MEM_DECOMMIT, MEM_RELEASE, MEM_RESERVE, PAGE_EXECUTE_READ, PAGE_NOACCESS,
    PAGE_PROTECTION_FLAGS, PAGE_READONLY, PAGE_READWRITE, VirtualAlloc, VirtualFree,
    VirtualProtect,
};
use windows_sys::Win32::System::SystemInformation::GetSystemInfo;

fn check(success: windows_sys::core::BOOL) -> io::Result<()> {
    match success {
        0 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// The size in bytes of the system's pages.
pub(crate) fn page_size() -> usize {
    let mut info = MaybeUninit::uninit();
    // SAFETY: the call initialises `info` and cannot fail.
    unsafe {
        GetSystemInfo(info.as_mut_ptr());
        info.assume_init().dwPageSize as usize
    }
}

/// Reserves `len` bytes of address space that no access is allowed to.
pub(crate) fn reserve(len: usize) -> io::Result<NonNull<u8>> {
    // SAFETY: the address is left to the system, so that no existing mapping is replaced.
    let ptr = unsafe { VirtualAlloc(ptr::null(), len, MEM_RESERVE, PAGE_NOACCESS) };
    NonNull::new(ptr.cast()).ok_or_else(io::Error::last_os_error)
}

/// Reads the first `len` bytes of `file` into fresh pages, which are left readable.
///
/// The bytes are copied: a view of a file cannot be made executable in place here unless the file
/// was opened for execution.
pub(crate) fn map_file(mut file: &File, len: usize) -> io::Result<NonNull<u8>> {
    let ptr = reserve(len)?;
    let filled = (|| {
        // SAFETY: the new reservation is nobody else's.
        unsafe { make_accessible(ptr.as_ptr(), len)? };
        file.rewind()?;
        // SAFETY: the range was just made accessible, and is nobody else's.
        let bytes = unsafe { std::slice::from_raw_parts_mut(ptr.as_ptr(), len) };
        file.read_exact(bytes)?;
        // SAFETY: `bytes` is not used any more.
        unsafe { make_readonly(ptr.as_ptr(), len) }
    })();
    match filled {
        Ok(()) => Ok(ptr),
        Err(error) => {
            // SAFETY: the reservation is this function's own.
            let _ = unsafe { release(ptr, len) };
            Err(error)
        }
    }
}

/// Reads the first `len` bytes of `file` into fresh pages, which are left readable and executable.
pub(crate) fn map_code(file: &File, len: usize, bti: bool) -> io::Result<NonNull<u8>> {
    let ptr = map_file(file, len)?;
    // SAFETY: the pages are this function's own.
    unsafe {
        make_executable(ptr.as_ptr(), len, bti).inspect_err(|_| {
            let _ = release(ptr, len);
        })?;
    }
    Ok(ptr)
}

/// The longest file of which a copy is made before it is mapped: none, as mapping is copying.
pub(crate) const MOST_TO_READ: usize = 0;

/// Reads the first `len` bytes of `file`, or as many as there are.
pub(crate) fn read_file(mut file: &File, len: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(len);
    file.rewind()?;
    file.take(len as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Gives back a mapping made by [`reserve`], [`map_file`] or [`map_code`].
///
/// # Safety
///
/// `ptr` and `len` are those of the mapping, and nothing uses its memory any more.
pub(crate) unsafe fn release(ptr: NonNull<u8>, _len: usize) -> io::Result<()> {
    // SAFETY: required of the caller; releasing is by whole reservations, whose length is zero here.
    check(unsafe { VirtualFree(ptr.as_ptr().cast(), 0, MEM_RELEASE) })
}

unsafe fn protect(ptr: *mut u8, len: usize, flags: PAGE_PROTECTION_FLAGS) -> io::Result<()> {
    let mut earlier = 0;
    // SAFETY: required of the callers.
    check(unsafe { VirtualProtect(ptr.cast(), len, flags, &mut earlier) })
}

/// Allows reads and writes of the pages of `ptr..ptr + len`.
///
/// # Safety
///
/// The range is page aligned, lies within one mapping of this module and is not borrowed.
pub(crate) unsafe fn make_accessible(ptr: *mut u8, len: usize) -> io::Result<()> {
    // SAFETY: required of the caller; committing committed pages keeps their contents.
    match unsafe { VirtualAlloc(ptr.cast(), len, MEM_COMMIT, PAGE_READWRITE) }.is_null() {
        true => Err(io::Error::last_os_error()),
        false => Ok(()),
    }
}

/// Allows reads only.
///
/// # Safety
///
/// As for [`make_accessible`]; shared borrows may exist.
pub(crate) unsafe fn make_readonly(ptr: *mut u8, len: usize) -> io::Result<()> {
    // SAFETY: required of the caller.
    unsafe { protect(ptr, len, PAGE_READONLY) }
}

/// Allows reads and execution. Branch targets are not enforced here.
///
/// # Safety
///
/// As for [`make_accessible`]; shared borrows may exist.
pub(crate) unsafe fn make_executable(ptr: *mut u8, len: usize, _bti: bool) -> io::Result<()> {
    // SAFETY: required of the caller.
    unsafe { protect(ptr, len, PAGE_EXECUTE_READ) }
}

/// Replaces the contents of the pages of `ptr..ptr + len`, which are accessible, by zeros. They keep their memory:
/// giving it back and asking for it again could fail half-way.
///
/// # Safety
///
/// As for [`make_accessible`].
pub(crate) unsafe fn discard(ptr: *mut u8, len: usize) -> io::Result<()> {
    // SAFETY: required of the caller.
    unsafe { ptr.write_bytes(0, len) };
    Ok(())
}

/// Replaces the pages of `ptr..ptr + len` by fresh ones that no access is allowed to.
///
/// # Safety
///
/// As for [`make_accessible`].
pub(crate) unsafe fn make_inaccessible(ptr: *mut u8, len: usize) -> io::Result<()> {
    // SAFETY: required of the caller; decommitting uncommitted pages does nothing.
    check(unsafe { VirtualFree(ptr.cast(), len, MEM_DECOMMIT) })
}

/// Forbids all access to the pages of `ptr..ptr + len`, whose contents are zeros when [`make_accessible`] allows it
/// again.
///
/// # Safety
///
/// As for [`make_accessible`].
#[cfg(feature = "pooling-allocator")]
pub(crate) unsafe fn forbid(ptr: *mut u8, len: usize) -> io::Result<()> {
    // SAFETY: required of the caller.
    unsafe { make_inaccessible(ptr, len) }
}

/// Whether [`discard`] leaves pages of a file that is mapped privately with the contents of the file, rather than zeros, and
/// may be used on pages that are not accessible.
pub(crate) const DISCARD_KEEPS_MAPPINGS: bool = false;

/// [`discard`]s many ranges, and says of each whether that succeeded.
///
/// # Safety
///
/// As for [`discard`], of each range.
#[cfg(feature = "pooling-allocator")]
pub(crate) unsafe fn discard_all(ranges: &[(*mut u8, usize)], done: &mut dyn FnMut(usize, bool)) {
    for (index, (ptr, len)) in ranges.iter().enumerate() {
        // SAFETY: required of the caller.
        let result = unsafe { discard(*ptr, *len) };
        done(index, result.is_ok());
    }
}
