//! Directories read with the kernel's own cookies.
//!
//! Nothing is kept between two reads, so a directory of any size costs no
//! memory, and entries that are removed between two reads do not shift the rest.

use super::DirectoryEntry;
use crate::preview1::FileType;
use cap_std::fs::Dir;
use rustix::fs::{AtFlags, Mode, OFlags, RawDir, SeekFrom};
use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::mem::MaybeUninit;

/// Holds more than a hundred entries of usual names, and any single one.
const BUFFER: usize = 8 * 1024;

/// Reads the entries of one directory.
#[derive(Debug, Default)]
pub(crate) struct DirectoryReader {
    /// The directory opened once more: a `Dir` may be a handle that only
    /// resolves paths, and reading moves the handle's position.
    file: Option<File>,
}

impl DirectoryReader {
    /// A handle to `dir` that can be read and synchronised.
    pub(crate) fn file(&mut self, dir: &Dir) -> io::Result<&File> {
        if self.file.is_none() {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let file = rustix::fs::openat(dir, c".", flags, Mode::empty())?;
            self.file = Some(file.into());
        }
        Ok(self.file.as_ref().expect("opened above"))
    }

    /// Hands the entries of `dir` after `cookie` to `sink`, until it wants no
    /// more. Names that are not UTF-8 cannot be expressed to the guest and are
    /// left out.
    pub(crate) fn read(
        &mut self,
        dir: &Dir,
        cookie: u64,
        mut sink: impl FnMut(&DirectoryEntry<'_>) -> bool,
    ) -> io::Result<()> {
        let file = self.file(dir)?;
        rustix::fs::seek(file, SeekFrom::Start(cookie))?;
        let mut buffer = [MaybeUninit::uninit(); BUFFER];
        let mut entries = RawDir::new(file, &mut buffer);
        while let Some(entry) = entries.next() {
            let entry = match entry {
                Ok(entry) => entry,
                // The directory was removed: it has no entries.
                Err(rustix::io::Errno::NOENT) => break,
                Err(error) => return Err(error.into()),
            };
            let Ok(name) = entry.file_name().to_str() else {
                continue;
            };
            let more = sink(&DirectoryEntry {
                next: entry.next_entry_cookie(),
                inode: entry.ino(),
                file_type: file_type(file, entry.file_name(), entry.file_type()),
                name,
            });
            if !more {
                break;
            }
        }
        Ok(())
    }
}

/// Some file systems do not keep the type beside the name.
fn file_type(directory: &File, name: &CStr, known: rustix::fs::FileType) -> FileType {
    use rustix::fs::FileType as Host;
    let known = match known {
        Host::Unknown => rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)
            .map_or(Host::Unknown, |stat| Host::from_raw_mode(stat.st_mode)),
        known => known,
    };
    match known {
        Host::RegularFile => FileType::RegularFile,
        Host::Directory => FileType::Directory,
        Host::Symlink => FileType::SymbolicLink,
        Host::CharacterDevice => FileType::CharacterDevice,
        Host::BlockDevice => FileType::BlockDevice,
        Host::Socket => FileType::SocketStream,
        Host::Fifo | Host::Unknown => FileType::Unknown,
    }
}
