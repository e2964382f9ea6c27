//! Directories read through `cap-std`, for systems without `getdents`.
//!
//! The entries are listed once, when reading starts at the first, and cookies
//! count them. `.` and `..` are added, because `cap-std` leaves them out.

use super::DirectoryEntry;
use crate::preview1::FileType;
use cap_fs_ext::MetadataExt;
use cap_std::fs::Dir;
use std::fs::File;
use std::io;

/// Reads the entries of one directory.
#[derive(Debug, Default)]
pub(crate) struct DirectoryReader {
    entries: Vec<(String, u64, FileType)>,
    file: Option<File>,
}

impl DirectoryReader {
    /// A handle to `dir` that can be synchronised.
    pub(crate) fn file(&mut self, dir: &Dir) -> io::Result<&File> {
        if self.file.is_none() {
            self.file = Some(dir.try_clone()?.into_std_file());
        }
        Ok(self.file.as_ref().expect("cloned above"))
    }

    /// Hands the entries of `dir` after `cookie` to `sink`, until it wants no
    /// more. Names that are not Unicode cannot be expressed to the guest and
    /// are left out.
    pub(crate) fn read(
        &mut self,
        dir: &Dir,
        cookie: u64,
        mut sink: impl FnMut(&DirectoryEntry<'_>) -> bool,
    ) -> io::Result<()> {
        if cookie == 0 {
            self.entries = list(dir)?;
        }
        let start = usize::try_from(cookie).unwrap_or(usize::MAX);
        for (index, (name, inode, file_type)) in self.entries.iter().enumerate().skip(start) {
            let more = sink(&DirectoryEntry {
                next: index as u64 + 1,
                inode: *inode,
                file_type: *file_type,
                name,
            });
            if !more {
                break;
            }
        }
        Ok(())
    }
}

fn list(dir: &Dir) -> io::Result<Vec<(String, u64, FileType)>> {
    let own = dir.dir_metadata()?.ino();
    let mut entries = vec![
        (".".to_owned(), own, FileType::Directory),
        ("..".to_owned(), own, FileType::Directory),
    ];
    for entry in dir.entries()? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        let inode = entry.metadata().map_or(0, |metadata| metadata.ino());
        let file_type = entry
            .file_type()
            .map_or(FileType::Unknown, |file_type| file_type.into());
        entries.push((name, inode, file_type));
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_continue_where_a_read_stopped() {
        let temporary = tempfile::tempdir().unwrap();
        std::fs::write(temporary.path().join("file"), "").unwrap();
        std::fs::create_dir(temporary.path().join("directory")).unwrap();
        let authority = cap_std::ambient_authority();
        let dir = Dir::open_ambient_dir(temporary.path(), authority).unwrap();

        let mut reader = DirectoryReader::default();
        let mut names = Vec::new();
        let mut cookie = 0;
        loop {
            let (before, start) = (names.len(), cookie);
            let take_one = |entry: &DirectoryEntry<'_>| {
                names.push((entry.name.to_owned(), entry.file_type));
                cookie = entry.next;
                false
            };
            reader.read(&dir, start, take_one).unwrap();
            if names.len() == before {
                break;
            }
        }
        reader.file(&dir).unwrap().metadata().unwrap();
        names[2..].sort_by(|a, b| a.0.cmp(&b.0));
        let expected = [
            (".", FileType::Directory),
            ("..", FileType::Directory),
            ("directory", FileType::Directory),
            ("file", FileType::RegularFile),
        ];
        assert_eq!(names, expected.map(|(name, ty)| (name.to_owned(), ty)));
    }
}
