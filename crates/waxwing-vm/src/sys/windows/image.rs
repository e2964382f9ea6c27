//! Copy-on-write images are not used here: memories are initialised by copying.

use std::convert::Infallible;
use std::fs::File;
use std::io;
use std::sync::Arc;

/// No value of this type exists.
#[derive(Debug)]
pub(crate) struct ImageFile(Infallible);

impl ImageFile {
    /// Files are not mapped.
    pub(crate) fn from_artifact(_file: &Arc<File>) -> Option<ImageFile> {
        None
    }

    /// There are no anonymous files.
    pub(crate) fn from_bytes(_bytes: &[u8], _len: usize) -> io::Result<Option<ImageFile>> {
        Ok(None)
    }

    /// Never called, as there is no value to call it with.
    #[cfg(feature = "pooling-allocator")]
    pub(crate) fn file(&self) -> &Arc<File> {
        match self.0 {}
    }

    /// Never called, as there is no value to call it with.
    ///
    /// # Safety
    ///
    /// None.
    pub(crate) unsafe fn map_at(&self, _: *mut u8, _: usize, _: u64, _: bool) -> io::Result<()> {
        match self.0 {}
    }
}

/// Fills `addr..addr + len` with zeros.
///
/// # Safety
///
/// The range is page aligned, lies within accessible memory that the caller owns, and is not
/// borrowed.
pub(crate) unsafe fn remap_as_zeros_at(addr: *mut u8, len: usize) -> io::Result<()> {
    // SAFETY: required of the caller.
    unsafe { addr.write_bytes(0, len) };
    Ok(())
}
