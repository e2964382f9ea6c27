//! Initial contents of linear memories, mapped copy-on-write.
//!
//! Instances of a module share the pages of an image until they write to them. The image comes from
//! the artifact's own file where there is one, and from an anonymous file otherwise.

use std::fs::File;
use std::sync::Arc;
#[cfg(feature = "pooling-allocator")]
use std::sync::OnceLock;

use anyhow::{Context, Result, ensure};

#[cfg(feature = "pooling-allocator")]
use crate::mmap::Mmap;
use crate::mmap::{host_page_size, round_up_to_host_pages};
use crate::sys::image::{self, ImageFile};

/// Where the bytes of an image are.
#[derive(Clone, Copy, Debug)]
pub enum ImageSource<'a> {
    /// In a file, which nobody changes, from this offset in bytes.
    File {
        /// The file.
        file: &'a Arc<File>,
        /// Where the image begins.
        offset: u64,
    },
    /// In memory.
    Bytes(&'a [u8]),
}

/// The initial contents of a part of a linear memory, ready to be mapped.
#[derive(Debug)]
pub struct MemoryImage {
    file: ImageFile,
    file_offset: u64,
    len: usize,
    linear_memory_offset: usize,
    /// The file, mapped to be read, once somebody wants to.
    #[cfg(feature = "pooling-allocator")]
    contents: OnceLock<Option<Mmap>>,
}

impl MemoryImage {
    /// Prepares an image of `len` bytes that begins `linear_memory_offset` bytes into a linear memory.
    ///
    /// `len` is rounded up to whole pages. Bytes of the image after the end of an
    /// [`ImageSource::Bytes`] are zeros; a file has to hold all of them.
    ///
    /// Returns `None` when the system cannot map such an image, so that the memory has to be
    /// initialised by copying: there are no private mappings or anonymous files here, or an offset is
    /// no multiple of the host's page size.
    ///
    /// # Errors
    ///
    /// Fails if the source does not fit `len` bytes, or the system fails to make an anonymous file.
    pub fn new(
        source: ImageSource<'_>,
        len: usize,
        linear_memory_offset: usize,
    ) -> Result<Option<MemoryImage>> {
        let page = host_page_size();
        let len = round_up_to_host_pages(len)?;
        if len == 0 || !linear_memory_offset.is_multiple_of(page) {
            return Ok(None);
        }
        let (file, file_offset) = match source {
            ImageSource::File { file, offset } => {
                if !offset.is_multiple_of(page as u64) {
                    return Ok(None);
                }
                let size = file
                    .metadata()
                    .context("failed to read the size of an artifact's file")?
                    .len();
                ensure!(
                    offset
                        .checked_add(len as u64)
                        .is_some_and(|end| end <= size),
                    "a memory image of {len:#x} bytes at {offset:#x} exceeds the artifact's file of \
                     {size:#x} bytes; compile the module again"
                );
                (ImageFile::from_artifact(file), offset)
            }
            ImageSource::Bytes(bytes) => {
                ensure!(
                    bytes.len() <= len,
                    "{:#x} bytes do not fit a memory image of {len:#x} bytes",
                    bytes.len()
                );
                let file = ImageFile::from_bytes(bytes, len).with_context(|| {
                    format!(
                        "failed to create an anonymous file for a memory image of {len:#x} bytes"
                    )
                })?;
                (file, 0)
            }
        };
        Ok(file.map(|file| MemoryImage {
            file,
            file_offset,
            len,
            linear_memory_offset,
            #[cfg(feature = "pooling-allocator")]
            contents: OnceLock::new(),
        }))
    }

    /// The length in bytes, whole pages.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the image has no bytes. There are no such images.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Where in the linear memory the image begins, in bytes.
    pub fn linear_memory_offset(&self) -> usize {
        self.linear_memory_offset
    }

    /// Replaces the pages of the image in the linear memory that begins at `base` by the initial
    /// contents, readable and writable. Also the way to undo all writes.
    ///
    /// # Errors
    ///
    /// Fails if the system cannot map the image; the pages are then undefined.
    ///
    /// # Safety
    ///
    /// `base` is page aligned, the image lies within a reservation there that the caller owns, and the
    /// pages are not borrowed.
    pub unsafe fn map_at(&self, base: *mut u8) -> Result<()> {
        // SAFETY: required of the caller.
        unsafe { self.map(base, true) }
    }

    /// As [`map_at`](Self::map_at), with no access allowed.
    ///
    /// # Errors
    ///
    /// As for [`Self::map_at`].
    ///
    /// # Safety
    ///
    /// As for [`Self::map_at`].
    #[cfg(feature = "pooling-allocator")]
    pub(crate) unsafe fn map_inaccessible_at(&self, base: *mut u8) -> Result<()> {
        // SAFETY: required of the caller.
        unsafe { self.map(base, false) }
    }

    unsafe fn map(&self, base: *mut u8, accessible: bool) -> Result<()> {
        let addr = base.wrapping_add(self.linear_memory_offset);
        // SAFETY: required of the caller; offset and length are whole pages.
        let mapped = unsafe {
            self.file
                .map_at(addr, self.len, self.file_offset, accessible)
        };
        mapped.with_context(|| {
            format!(
                "failed to map a memory image of {:#x} bytes at {addr:p}",
                self.len
            )
        })
    }

    /// The bytes of the image; `None` if the system cannot map them.
    #[cfg(feature = "pooling-allocator")]
    pub(crate) fn contents(&self) -> Option<&[u8]> {
        let map = || Mmap::from_file(Arc::clone(self.file.file())).ok();
        let mapping = self.contents.get_or_init(map).as_ref()?;
        let start = usize::try_from(self.file_offset).ok()?;
        let end = start.checked_add(self.len)?;
        // SAFETY: the mapping is readable and lasts as long as the image, and nobody changes the file. That the
        // image lies within the file was checked when it was made.
        (end <= mapping.len()).then(|| unsafe { mapping.slice(start..end) })
    }

    /// Replaces the pages of the image in the linear memory that begins at `base` by zeros, readable
    /// and writable.
    ///
    /// # Errors
    ///
    /// Fails if the system cannot map the pages, which are then undefined.
    ///
    /// # Safety
    ///
    /// As for [`Self::map_at`].
    pub unsafe fn remap_as_zeros_at(&self, base: *mut u8) -> Result<()> {
        let addr = base.wrapping_add(self.linear_memory_offset);
        // SAFETY: required of the caller; offset and length are whole pages.
        unsafe { image::remap_as_zeros_at(addr, self.len) }
            .with_context(|| format!("failed to map {:#x} bytes of zeros at {addr:p}", self.len))
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use crate::mmap::Mmap;
    use std::io::Write;

    /// Maps `image` into two memories; they must not see each other's writes.
    fn isolated(image: &MemoryImage, expected: &[u8]) {
        let page = host_page_size();
        let start = image.linear_memory_offset();
        let total = start + image.len() + page;
        let memories = [(); 2].map(|()| Mmap::accessible_reserved(total, total).unwrap());
        let bytes = |memory: &Mmap| {
            // SAFETY: the memory is accessible, and copied before the next write.
            unsafe { memory.slice(start..start + expected.len()) }.to_vec()
        };
        // SAFETY: the image fits both memories, which nothing else uses.
        unsafe {
            for memory in &memories {
                image.map_at(memory.as_mut_ptr()).unwrap();
                assert_eq!(bytes(memory), expected);
            }
            memories[0].as_mut_ptr().add(start).write(!expected[0]);
            assert_eq!(bytes(&memories[0])[0], !expected[0]);
            assert_eq!(bytes(&memories[1]), expected);

            image.map_at(memories[0].as_mut_ptr()).unwrap();
            assert_eq!(bytes(&memories[0]), expected);
            image.remap_as_zeros_at(memories[0].as_mut_ptr()).unwrap();
            assert!(bytes(&memories[0]).iter().all(|&byte| byte == 0));
            assert_eq!(bytes(&memories[1]), expected);
        }
    }

    #[test]
    fn bytes_are_copied_on_write() {
        let page = host_page_size();
        let source = ImageSource::Bytes(b"contents");
        let image = MemoryImage::new(source, 8, page).unwrap().unwrap();
        assert_eq!((image.len(), image.linear_memory_offset()), (page, page));
        isolated(&image, b"contents\0\0");
    }

    #[test]
    fn files_are_copied_on_write() {
        let page = host_page_size();
        let path = std::env::temp_dir().join(format!("waxwing-image-{}", std::process::id()));
        let mut file = File::create_new(&path).unwrap();
        file.write_all(&vec![1; page]).unwrap();
        file.write_all(&vec![2; page]).unwrap();
        let file = Arc::new(File::open(&path).unwrap());
        std::fs::remove_file(&path).unwrap();
        let source = |offset| ImageSource::File {
            file: &file,
            offset,
        };
        let image = MemoryImage::new(source(page as u64), page, 0)
            .unwrap()
            .unwrap();
        isolated(&image, &vec![2; page]);

        assert!(MemoryImage::new(source(1), page, 0).unwrap().is_none());
        assert!(MemoryImage::new(source(page as u64), 2 * page, 0).is_err());
        assert!(MemoryImage::new(source(u64::MAX - 4095), page, 0).is_err());
    }

    #[test]
    fn unfit_images_are_refused() {
        let bytes = vec![1; host_page_size() + 1];
        assert!(MemoryImage::new(ImageSource::Bytes(&bytes), 1, 0).is_err());
        assert!(MemoryImage::new(ImageSource::Bytes(&bytes), usize::MAX, 0).is_err());
        assert!(
            MemoryImage::new(ImageSource::Bytes(&[1]), 1, 1)
                .unwrap()
                .is_none()
        );
        assert!(
            MemoryImage::new(ImageSource::Bytes(&[]), 0, 0)
                .unwrap()
                .is_none()
        );
    }
}
