//! [`Mmap`]: a range of address space of this process's own.

use std::fs::File;
use std::ops::Range;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, anyhow, ensure};

use crate::sys::vm;

/// The size in bytes of the host's pages, a power of two.
#[inline]
pub fn host_page_size() -> usize {
    static PAGE_SIZE: AtomicUsize = AtomicUsize::new(0);
    match PAGE_SIZE.load(Ordering::Relaxed) {
        0 => {
            let size = vm::page_size();
            assert!(size.is_power_of_two());
            PAGE_SIZE.store(size, Ordering::Relaxed);
            size
        }
        size => size,
    }
}

/// Rounds up to a multiple of the host's page size.
///
/// # Errors
///
/// Fails if the result does not fit the address space.
pub fn round_up_to_host_pages(bytes: usize) -> Result<usize> {
    bytes
        .checked_next_multiple_of(host_page_size())
        .ok_or_else(|| anyhow!("{bytes} bytes in whole pages exceed the address space"))
}

/// Rounds down to a multiple of the host's page size.
pub fn round_down_to_host_pages(bytes: usize) -> usize {
    bytes & !(host_page_size() - 1)
}

/// The length of a file.
///
/// # Errors
///
/// Fails if it cannot be told, or does not fit the address space.
pub(crate) fn file_len(file: &File) -> Result<usize> {
    let metadata = file
        .metadata()
        .context("failed to read the size of a file to map")?;
    let len = metadata.len();
    usize::try_from(len)
        .map_err(|_| anyhow!("a file of {len} bytes does not fit the address space"))
}

/// A page-granular range of address space: reserved, or a private mapping of a file.
///
/// Access rights are given to parts of it by range, in bytes from its start. The memory is not
/// borrowed through this type: whoever hands out parts of it says who may use them.
#[derive(Debug)]
pub struct Mmap {
    ptr: NonNull<u8>,
    len: usize,
    file: Option<Arc<File>>,
}

// SAFETY: the mapping belongs to the value and to no thread; its methods that change rights are
// `unsafe` or take `&mut self`.
unsafe impl Send for Mmap {}
// SAFETY: as above; shared references only tell addresses.
unsafe impl Sync for Mmap {}

impl Mmap {
    /// A range of no bytes.
    pub fn empty() -> Mmap {
        Mmap {
            ptr: NonNull::dangling(),
            len: 0,
            file: None,
        }
    }

    /// Reserves at least `len` bytes of address space, in whole pages, that no access is allowed to.
    ///
    /// # Errors
    ///
    /// Fails if the address space has no such range.
    pub fn reserve(len: usize) -> Result<Mmap> {
        let len = round_up_to_host_pages(len)?;
        if len == 0 {
            return Ok(Mmap::empty());
        }
        let ptr = vm::reserve(len).with_context(|| {
            format!(
                "failed to reserve {len:#x} bytes of address space; if the process's address space \
                 is limited, reserve less per memory with `Config::memory_reservation` and \
                 `Config::memory_guard_size`"
            )
        })?;
        let file = None;
        Ok(Mmap { ptr, len, file })
    }

    /// Reserves `total` bytes, of which the first `accessible` are zeros that may be read and written.
    ///
    /// Both are rounded up to whole pages.
    ///
    /// # Errors
    ///
    /// Fails if `accessible` exceeds `total`, or the system lacks the address space or memory.
    pub fn accessible_reserved(accessible: usize, total: usize) -> Result<Mmap> {
        ensure!(
            accessible <= total,
            "{accessible:#x} accessible bytes do not fit a reservation of {total:#x} bytes"
        );
        let mmap = Mmap::reserve(total)?;
        // SAFETY: the new reservation is borrowed by nobody.
        unsafe { mmap.make_accessible(0..round_up_to_host_pages(accessible)?)? };
        Ok(mmap)
    }

    /// At least `len` bytes of zeros, in whole pages, that may be read and written.
    ///
    /// # Errors
    ///
    /// Fails if the system lacks the address space or memory.
    pub fn with_at_least(len: usize) -> Result<Mmap> {
        Mmap::accessible_reserved(len, len)
    }

    /// Maps the whole of `file` privately: readable, and later perhaps executable.
    ///
    /// The length is that of the file. The bytes after it up to the end of the last page are zeros.
    ///
    /// # Errors
    ///
    /// Fails if the file's size cannot be told or it cannot be mapped.
    pub fn from_file(file: Arc<File>) -> Result<Mmap> {
        let len = file_len(&file)?;
        Mmap::of_file(file, len, vm::map_file)
    }

    /// Maps the first `len` bytes of `file` privately, readable and executable; with `branch_protection` as
    /// [`make_executable`](Self::make_executable).
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be mapped, or the system forbids execution.
    pub fn code_from_file(file: Arc<File>, len: usize, branch_protection: bool) -> Result<Mmap> {
        Mmap::of_file(file, len, |file, len| {
            vm::map_code(file, len, branch_protection)
        })
    }

    fn of_file(
        file: Arc<File>,
        len: usize,
        map: impl FnOnce(&File, usize) -> std::io::Result<NonNull<u8>>,
    ) -> Result<Mmap> {
        if len == 0 {
            return Ok(Mmap::empty());
        }
        let ptr =
            map(&file, len).with_context(|| format!("failed to map a file of {len:#x} bytes"))?;
        let file = Some(file);
        Ok(Mmap { ptr, len, file })
    }

    /// The file that is mapped, if one is.
    pub fn file(&self) -> Option<&Arc<File>> {
        self.file.as_ref()
    }

    /// The first byte's address; dangling if the length is zero.
    pub fn as_ptr(&self) -> *const u8 {
        self.ptr.as_ptr()
    }

    /// The first byte's address; dangling if the length is zero.
    pub fn as_mut_ptr(&self) -> *mut u8 {
        self.ptr.as_ptr()
    }

    /// The length in bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the length is zero.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The addresses that the mapping covers.
    pub fn address_range(&self) -> Range<usize> {
        let start = self.ptr.as_ptr() as usize;
        start..start + self.len
    }

    /// The bytes of `range`.
    ///
    /// # Panics
    ///
    /// Panics if the range lies outside the mapping.
    ///
    /// # Safety
    ///
    /// The range is readable, and nobody writes to it while the result is borrowed.
    pub unsafe fn slice(&self, range: Range<usize>) -> &[u8] {
        assert!(range.start <= range.end && range.end <= self.len);
        // SAFETY: the range is within the mapping, and the caller guarantees the rest.
        unsafe { std::slice::from_raw_parts(self.as_ptr().add(range.start), range.len()) }
    }

    /// The bytes of `range`, to be written.
    ///
    /// # Panics
    ///
    /// Panics if the range lies outside the mapping.
    ///
    /// # Safety
    ///
    /// The range is readable and writable, and nobody else uses it while the result is borrowed.
    pub unsafe fn slice_mut(&mut self, range: Range<usize>) -> &mut [u8] {
        assert!(range.start <= range.end && range.end <= self.len);
        // SAFETY: the range is within the mapping, and the caller guarantees the rest.
        unsafe { std::slice::from_raw_parts_mut(self.as_mut_ptr().add(range.start), range.len()) }
    }

    /// The address and length of `range`, once it is known to be whole pages of the mapping. The last
    /// page of a mapped file may be cut short by the mapping's end.
    fn pages(&self, range: &Range<usize>) -> Result<(*mut u8, usize)> {
        let page = host_page_size();
        ensure!(
            range.start <= range.end
                && range.end <= self.len
                && range.start.is_multiple_of(page)
                && (range.end.is_multiple_of(page) || range.end == self.len),
            "{range:#x?} is not a range of whole pages of {page:#x} bytes within {:#x} bytes",
            self.len,
        );
        Ok((self.as_mut_ptr().wrapping_add(range.start), range.len()))
    }

    fn protect(
        &self,
        range: Range<usize>,
        wanted: &str,
        change: impl FnOnce(*mut u8, usize) -> std::io::Result<()>,
    ) -> Result<()> {
        let (ptr, len) = self.pages(&range)?;
        if len == 0 {
            return Ok(());
        }
        change(ptr, len)
            .with_context(|| format!("failed to make {len:#x} bytes of memory at {ptr:p} {wanted}"))
    }

    /// Allows reads and writes of a range of whole pages.
    ///
    /// # Errors
    ///
    /// Fails if the range is not whole pages of the mapping, or the system lacks the memory.
    ///
    /// # Safety
    ///
    /// The range is not borrowed.
    pub unsafe fn make_accessible(&self, range: Range<usize>) -> Result<()> {
        // SAFETY: `protect` passes whole pages of this mapping; the caller guarantees the rest.
        self.protect(range, "accessible", |ptr, len| unsafe {
            vm::make_accessible(ptr, len)
        })
    }

    /// Allows reads and execution of a range of whole pages. With `branch_protection`, and where the
    /// CPU can, indirect branches are allowed to marked instructions only.
    ///
    /// The instructions must be [synchronised](Self::synchronize_instructions) before they run.
    ///
    /// # Errors
    ///
    /// Fails if the range is not whole pages of the mapping, or the system forbids execution.
    ///
    /// # Safety
    ///
    /// The range is not borrowed mutably.
    pub unsafe fn make_executable(
        &self,
        range: Range<usize>,
        branch_protection: bool,
    ) -> Result<()> {
        // SAFETY: `protect` passes whole pages of this mapping; the caller guarantees the rest.
        self.protect(range, "executable", |ptr, len| unsafe {
            vm::make_executable(ptr, len, branch_protection)
        })
    }

    /// Allows reads only of a range of whole pages.
    ///
    /// # Errors
    ///
    /// Fails if the range is not whole pages of the mapping.
    ///
    /// # Safety
    ///
    /// The range is not borrowed mutably.
    pub unsafe fn make_readonly(&self, range: Range<usize>) -> Result<()> {
        // SAFETY: `protect` passes whole pages of this mapping; the caller guarantees the rest.
        self.protect(range, "read-only", |ptr, len| unsafe {
            vm::make_readonly(ptr, len)
        })
    }

    /// Gives the memory of a range of whole pages back and forbids all access; the address space
    /// stays reserved.
    ///
    /// # Errors
    ///
    /// Fails if the range is not whole pages of the mapping.
    ///
    /// # Safety
    ///
    /// The range is not borrowed.
    pub unsafe fn make_inaccessible(&self, range: Range<usize>) -> Result<()> {
        // SAFETY: `protect` passes whole pages of this mapping; the caller guarantees the rest.
        self.protect(range, "inaccessible", |ptr, len| unsafe {
            vm::make_inaccessible(ptr, len)
        })
    }

    /// Forbids all access to a range of whole pages, which are to be zeros when access is allowed again, and are so now.
    ///
    /// # Errors
    ///
    /// Fails if the range is not whole pages of the mapping.
    ///
    /// # Safety
    ///
    /// The range is not borrowed.
    #[cfg(feature = "pooling-allocator")]
    pub(crate) unsafe fn forbid(&self, range: Range<usize>) -> Result<()> {
        // SAFETY: `protect` passes whole pages of this mapping; the caller guarantees the rest.
        self.protect(range, "inaccessible", |ptr, len| unsafe {
            vm::forbid(ptr, len)
        })
    }

    /// Makes the bytes of a range of whole accessible pages zero, and gives their memory back until they are used
    /// again, where the system can.
    ///
    /// # Errors
    ///
    /// Fails if the range is not whole pages of the mapping, or a file is mapped.
    ///
    /// # Safety
    ///
    /// The range is not borrowed.
    pub unsafe fn discard(&self, range: Range<usize>) -> Result<()> {
        ensure!(
            self.file.is_none(),
            "the memory of a file cannot be discarded"
        );
        // SAFETY: `protect` passes whole pages of this mapping; the caller guarantees the rest.
        self.protect(range, "zero", |ptr, len| unsafe { vm::discard(ptr, len) })
    }

    /// Makes every core fetch the instructions that were written to `range`.
    ///
    /// # Errors
    ///
    /// Fails if the range lies outside the mapping or the system fails.
    ///
    /// # Safety
    ///
    /// The range is readable.
    pub unsafe fn synchronize_instructions(&self, range: Range<usize>) -> Result<()> {
        ensure!(
            range.start <= range.end && range.end <= self.len,
            "{range:#x?} lies outside a mapping of {:#x} bytes",
            self.len,
        );
        let start = self.as_ptr().wrapping_add(range.start);
        // SAFETY: the range is within the mapping, and the caller guarantees that it is readable.
        unsafe { crate::sys::icache::synchronize(start, range.len()) }
            .context("failed to synchronise instruction caches with new code")
    }
}

impl Drop for Mmap {
    fn drop(&mut self) {
        if self.len != 0 {
            // SAFETY: the mapping is this value's own, and borrows of it have ended. A failure leaks
            // address space.
            let _ = unsafe { vm::release(self.ptr, self.len) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn lengths_are_checked_and_rounded() {
        let page = host_page_size();
        assert_eq!(Mmap::reserve(1).unwrap().len(), page);
        assert_eq!(Mmap::reserve(0).unwrap().len(), 0);
        assert!(Mmap::reserve(usize::MAX).is_err());
        assert!(Mmap::accessible_reserved(2, 1).is_err());
        let error = Mmap::reserve(usize::MAX / 2).unwrap_err();
        assert!(
            format!("{error:#}").contains("Config::memory_reservation"),
            "{error:#}"
        );
        assert_eq!(round_down_to_host_pages(page + 1), page);
    }

    #[test]
    fn rights_follow_ranges() {
        let page = host_page_size();
        let mut mmap = Mmap::accessible_reserved(page, 4 * page).unwrap();
        // SAFETY: nothing else uses the mapping, and each slice is of accessible pages.
        unsafe {
            mmap.slice_mut(0..page).fill(7);
            mmap.make_accessible(2 * page..3 * page).unwrap();
            mmap.slice_mut(2 * page..3 * page).fill(9);
            mmap.make_readonly(0..page).unwrap();
            assert!(mmap.slice(0..page).iter().all(|&byte| byte == 7));
            mmap.make_inaccessible(2 * page..3 * page).unwrap();
            mmap.make_accessible(2 * page..3 * page).unwrap();
            assert!(mmap.slice(2 * page..3 * page).iter().all(|&byte| byte == 0));

            assert!(mmap.make_accessible(1..page).is_err());
            assert!(mmap.make_accessible(0..page + 1).is_err());
            assert!(mmap.make_accessible(0..5 * page).is_err());
            let end = 0;
            assert!(mmap.make_accessible(page..end).is_err());
        }
    }

    #[test]
    fn files_are_mapped_whole_and_privately() {
        let path = std::env::temp_dir().join(format!("waxwing-mmap-{}", std::process::id()));
        let mut file = File::create_new(&path).unwrap();
        file.write_all(b"twelve bytes").unwrap();
        let mmap = Mmap::from_file(Arc::new(File::open(&path).unwrap())).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(mmap.len(), 12);
        assert!(mmap.file().is_some());
        // SAFETY: the mapping is readable, and writable after the change; nothing else uses it.
        unsafe {
            assert_eq!(mmap.slice(0..12), b"twelve bytes");
            mmap.make_accessible(0..12).unwrap();
            mmap.as_mut_ptr().write(b'T');
            assert_eq!(mmap.slice(0..1), b"T");
        }
        let mut again = String::new();
        std::io::Read::read_to_string(&mut &file, &mut again).unwrap();
        assert!(!again.contains('T'));
    }
}
