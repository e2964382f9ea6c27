//! Copy-on-write sources: a range of a file, or of a sealed memfd.

use std::fs::File;
use std::io;
use std::sync::Arc;

use rustix::mm::{MapFlags, ProtFlags};

/// A file whose pages can be mapped privately again and again: the artifact's own, or an anonymous one
/// that holds the image alone.
#[derive(Debug)]
pub(crate) struct ImageFile(Arc<File>);

impl ImageFile {
    /// Uses a file that the artifact was mapped from.
    pub(crate) fn from_artifact(file: &Arc<File>) -> Option<ImageFile> {
        Some(ImageFile(Arc::clone(file)))
    }

    /// Copies `bytes` to an anonymous file that nobody can change afterwards; `None` where the
    /// system has no such thing.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    pub(crate) fn from_bytes(bytes: &[u8], len: usize) -> io::Result<Option<ImageFile>> {
        use rustix::fs::{MemfdFlags, SealFlags};
        use std::os::unix::fs::FileExt;

        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let fd = match rustix::fs::memfd_create(c"waxwing-memory-image", flags) {
            Ok(fd) => fd,
            // A kernel or sandbox without the call: memories are then initialised by copying.
            Err(rustix::io::Errno::NOSYS | rustix::io::Errno::PERM) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let file = File::from(fd);
        file.set_len(len as u64)?;
        file.write_all_at(bytes, 0)?;
        rustix::fs::fcntl_add_seals(
            &file,
            SealFlags::GROW | SealFlags::SHRINK | SealFlags::WRITE | SealFlags::SEAL,
        )?;
        Ok(Some(ImageFile(Arc::new(file))))
    }

    /// There are no anonymous files here.
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    pub(crate) fn from_bytes(_bytes: &[u8], _len: usize) -> io::Result<Option<ImageFile>> {
        Ok(None)
    }

    /// The file.
    #[cfg(feature = "pooling-allocator")]
    pub(crate) fn file(&self) -> &Arc<File> {
        &self.0
    }

    /// Maps `len` bytes from `offset` of the file privately at `addr`, writable if they are to be `accessible` at all.
    ///
    /// # Safety
    ///
    /// `addr..addr + len` is page aligned, lies within a mapping that the caller owns, and is not
    /// borrowed.
    pub(crate) unsafe fn map_at(
        &self,
        addr: *mut u8,
        len: usize,
        offset: u64,
        accessible: bool,
    ) -> io::Result<()> {
        let rights = match accessible {
            true => ProtFlags::READ | ProtFlags::WRITE,
            false => ProtFlags::empty(),
        };
        // SAFETY: the caller owns the range that MAP_FIXED replaces.
        unsafe {
            rustix::mm::mmap(
                addr.cast(),
                len,
                rights,
                MapFlags::PRIVATE | MapFlags::FIXED,
                &*self.0,
                offset,
            )?
        };
        Ok(())
    }
}

/// Replaces `addr..addr + len` by fresh pages of zeros, readable and writable.
///
/// # Safety
///
/// As for [`ImageFile::map_at`].
pub(crate) unsafe fn remap_as_zeros_at(addr: *mut u8, len: usize) -> io::Result<()> {
    // SAFETY: the caller owns the range that MAP_FIXED replaces.
    unsafe {
        rustix::mm::mmap_anonymous(
            addr.cast(),
            len,
            ProtFlags::READ | ProtFlags::WRITE,
            MapFlags::PRIVATE | MapFlags::FIXED | MapFlags::NORESERVE,
        )?
    };
    Ok(())
}
