//! Notes that survive a crash, so that a fault which ends the process can be reproduced.

use std::path::{Path, PathBuf};

/// A folder for the inputs that a test is working on and for those that failed.
pub struct Journal {
    folder: PathBuf,
}

impl Journal {
    /// The journal of test `name` under `target`, a folder for temporary files. What an earlier
    /// run was working on when it crashed is reported on standard error and kept.
    ///
    /// # Panics
    ///
    /// When the folder cannot be made.
    pub fn open(target: &str, name: &str) -> Self {
        let folder = Path::new(target).join(name);
        std::fs::create_dir_all(folder.join("working"))
            .unwrap_or_else(|error| panic!("cannot make {}: {error}", folder.display()));
        let journal = Journal { folder };
        for note in std::fs::read_dir(journal.folder.join("working"))
            .into_iter()
            .flatten()
            .flatten()
        {
            let what = std::fs::read_to_string(note.path()).unwrap_or_default();
            if !what.is_empty() {
                eprintln!("{name}: an earlier run ended while working on {what}");
            }
            std::fs::remove_file(note.path()).ok();
        }
        journal
    }

    /// Notes that this thread works on `what` until the returned guard is dropped.
    pub fn working_on(&self, what: &str) -> Working {
        let thread = rayon::current_thread_index().unwrap_or(usize::MAX);
        let note = self.folder.join("working").join(thread.to_string());
        std::fs::write(&note, what).ok();
        Working(note)
    }

    /// Keeps `contents` as `name` and returns where.
    pub fn keep(&self, name: &str, contents: impl AsRef<[u8]>) -> PathBuf {
        let path = self.folder.join(name);
        if let Err(error) = std::fs::write(&path, contents) {
            eprintln!("cannot write {}: {error}", path.display());
        }
        path
    }
}

/// See [`Journal::working_on`].
pub struct Working(PathBuf);

impl Drop for Working {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).ok();
    }
}
