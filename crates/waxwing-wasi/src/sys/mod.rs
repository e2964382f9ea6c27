//! What differs between operating systems.

#[cfg(unix)]
mod unix;
#[cfg(unix)]
pub(crate) use unix::*;

#[cfg(windows)]
mod windows;
#[cfg(windows)]
pub(crate) use windows::*;

#[cfg(target_os = "linux")]
mod getdents;
#[cfg(target_os = "linux")]
pub(crate) use getdents::DirectoryReader;

#[cfg(any(test, not(target_os = "linux")))]
mod listing;
#[cfg(not(target_os = "linux"))]
pub(crate) use listing::DirectoryReader;

use crate::preview1::FileType;

/// One entry of a directory, on its way to the guest.
pub(crate) struct DirectoryEntry<'a> {
    /// Where to continue after this entry.
    pub next: u64,
    pub inode: u64,
    pub file_type: FileType,
    pub name: &'a str,
}

/// What to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Interest {
    Read,
    Write,
}

/// What happened to a handle that was waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Polled {
    pub bytes: u64,
    pub hangup: bool,
}
