//! Files and clocks for profilers of the system.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::ptr::{self, NonNull};

use rustix::mm::{MapFlags, ProtFlags};
use rustix::time::{ClockId, clock_gettime};

/// Makes a file that others may read, in place of any that is there; not through a link, which somebody
/// else may have put in a directory that is open to all.
pub(crate) fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o644)
        .custom_flags(libc::O_NOFOLLOW)
        .open(path)
}

/// The time by the clock that profilers compare with, in nanoseconds.
pub(crate) fn monotonic_nanos() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// The number of the calling thread.
pub(crate) fn thread_id() -> u32 {
    #[cfg(target_os = "linux")]
    return rustix::thread::gettid().as_raw_nonzero().get() as u32;
    // Other systems have nothing that reads it.
    #[cfg(not(target_os = "linux"))]
    return std::process::id();
}

/// An executable mapping of a file's first page, by which a profiler that records mappings learns of the file.
pub(crate) struct Marker(NonNull<u8>);

// SAFETY: the mapping is never accessed, and released by whoever owns the marker.
unsafe impl Send for Marker {}
// SAFETY: as above.
unsafe impl Sync for Marker {}

impl Marker {
    pub(crate) fn new(file: &File) -> io::Result<Marker> {
        // SAFETY: the address is left to the kernel, so that no existing mapping is replaced.
        let ptr = unsafe {
            rustix::mm::mmap(
                ptr::null_mut(),
                super::vm::page_size(),
                ProtFlags::READ | ProtFlags::EXEC,
                MapFlags::PRIVATE,
                file,
                0,
            )?
        };
        let ptr = NonNull::new(ptr.cast()).expect("mmap never returns the null page unasked");
        Ok(Marker(ptr))
    }
}

impl Drop for Marker {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's own, and nothing accesses it. Failing leaves it mapped.
        let _ = unsafe { rustix::mm::munmap(self.0.as_ptr().cast(), super::vm::page_size()) };
    }
}
