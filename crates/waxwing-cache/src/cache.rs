//! [`Cache`].

use crate::cleanup::Worker;
use crate::{CacheConfig, Entry, Key};
use anyhow::{Context, Result};
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::SystemTime;

/// Raised when the form of entries changes: others are not looked at.
const FORMAT: &str = "v1";
const EXTENSION: &str = "entry";
/// What names of files begin with that are being written.
pub(crate) const TEMPORARY: &str = "tmp-";

/// A cache in a directory. Cloning gives another handle to the same cache.
#[derive(Clone)]
pub struct Cache {
    inner: Arc<Inner>,
}

struct Inner {
    config: CacheConfig,
    /// `None` if the cache is switched off.
    place: Option<Place>,
    hits: AtomicU64,
    misses: AtomicU64,
    /// Whether it was said that the directory cannot be written to.
    complained: AtomicBool,
}

struct Place {
    directory: PathBuf,
    worker: Worker,
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache")
            .field("directory", &self.directory())
            .finish_non_exhaustive()
    }
}

/// The getters of the configuration.
macro_rules! getters {
    ($($name:ident: $ty:ty;)*) => {$(
        #[doc = concat!("What [`CacheConfig::", stringify!($name), "`] is.")]
        pub fn $name(&self) -> $ty {
            self.inner.config.$name()
        }
    )*};
}

impl Cache {
    /// A cache with this configuration.
    ///
    /// The directory is made when the first entry is stored. One that cannot be made or written to is no error: nothing
    /// is found then, and the first time that something should be stored, a warning is logged.
    ///
    /// # Errors
    ///
    /// Fails if no directory is configured and the user has none for caches.
    pub fn new(config: CacheConfig) -> Result<Cache> {
        let place = if config.is_enabled() {
            let directory = match config.directory() {
                Some(directory) => directory.clone(),
                None => crate::paths::cache_directory()
                    .context("the user has no directory for caches: configure one")?,
            };
            let directory = directory.join(FORMAT);
            Some(Place {
                worker: Worker::new(directory.clone(), &config),
                directory,
            })
        } else {
            None
        };
        Ok(Cache {
            inner: Arc::new(Inner {
                config,
                place,
                hits: AtomicU64::new(0),
                misses: AtomicU64::new(0),
                complained: AtomicBool::new(false),
            }),
        })
    }

    /// A cache with the configuration in a file: see [`CacheConfig::from_file`].
    ///
    /// # Errors
    ///
    /// Fails as [`CacheConfig::from_file`] and [`Cache::new`] do.
    pub fn from_file(path: Option<&Path>) -> Result<Cache> {
        Cache::new(CacheConfig::from_file(path)?)
    }

    /// The configuration.
    pub fn config(&self) -> &CacheConfig {
        &self.inner.config
    }

    /// The directory in which entries are; `None` if the cache is switched off.
    pub fn directory(&self) -> Option<&Path> {
        Some(&self.inner.place.as_ref()?.directory)
    }

    getters! {
        worker_event_queue_size: u64;
        baseline_compression_level: i32;
        optimized_compression_level: i32;
        optimized_compression_usage_counter_threshold: u64;
        cleanup_interval: std::time::Duration;
        optimizing_compression_task_timeout: std::time::Duration;
        allowed_clock_drift_for_files_from_future: std::time::Duration;
        file_count_soft_limit: u64;
        files_total_size_soft_limit: u64;
        file_count_limit_percent_if_deleting: u8;
        files_total_size_limit_percent_if_deleting: u8;
    }

    /// How often an entry was found and could be used.
    pub fn cache_hits(&self) -> usize {
        self.inner.hits.load(Relaxed) as usize
    }

    /// How often there was none.
    pub fn cache_misses(&self) -> usize {
        self.inner.misses.load(Relaxed) as usize
    }

    /// What is stored under `key`, as far as `use_entry` can use it: it returns `None` for an entry whose bytes are
    /// not [intact](Entry::is_intact), or are of no use otherwise. That entry is then deleted.
    pub fn get<T>(&self, key: &Key, use_entry: impl FnOnce(Entry) -> Option<T>) -> Option<T> {
        let found = self.find(key, use_entry);
        let counter = match found {
            Some(_) => &self.inner.hits,
            None => &self.inner.misses,
        };
        counter.fetch_add(1, Relaxed);
        found
    }

    fn find<T>(&self, key: &Key, use_entry: impl FnOnce(Entry) -> Option<T>) -> Option<T> {
        let place = self.inner.place.as_ref()?;
        let path = place.path(key);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) => {
                if error.kind() != io::ErrorKind::NotFound {
                    log::debug!("the cache cannot read `{}`: {error}", path.display());
                }
                return None;
            }
        };
        // The least recently used entry is the first to go.
        if let Err(error) = file.set_modified(SystemTime::now()) {
            log::debug!(
                "the cache cannot mark `{}` as used: {error}",
                path.display()
            );
        }
        let found = match Entry::read(file, key) {
            Ok(entry) => use_entry(entry),
            Err(error) => {
                log::debug!("the cache cannot use `{}`: {error}", path.display());
                None
            }
        };
        if found.is_none() {
            log::warn!("the cache ignores `{}`, which is damaged", path.display());
            // Whoever finds it next need not look at it. Storing replaces it in any case.
            let _ = fs::remove_file(&path);
        }
        place.worker.notify();
        found
    }

    /// Stores bytes under a key, in place of any that are there. Failing is logged, and has no effect.
    pub fn insert(&self, key: &Key, bytes: &[u8]) {
        let Some(place) = &self.inner.place else {
            return;
        };
        match place.write(key, bytes) {
            Ok(()) => place.worker.notify(),
            Err(error) => {
                if !self.inner.complained.swap(true, Relaxed) {
                    let directory = place.directory.display();
                    log::warn!("the cache cannot write to `{directory}`: {error}");
                }
            }
        }
    }
}

impl Place {
    fn path(&self, key: &Key) -> PathBuf {
        self.directory.join(format!("{key}.{EXTENSION}"))
    }

    /// Writes a file of another name and renames it: an entry is there as a whole, or not at all.
    fn write(&self, key: &Key, bytes: &[u8]) -> io::Result<()> {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        let (pid, number) = (std::process::id(), COUNTER.fetch_add(1, Relaxed));
        let temporary = self.directory.join(format!("{TEMPORARY}{pid}-{number}"));
        fs::create_dir_all(&self.directory)?;
        let write = || {
            let file = File::options()
                .write(true)
                .create_new(true)
                .open(&temporary)
                .or_else(|error| match error.kind() {
                    // Left behind by a process of the same number that is no more.
                    io::ErrorKind::AlreadyExists => {
                        fs::remove_file(&temporary)?;
                        File::create_new(&temporary)
                    }
                    _ => Err(error),
                })?;
            Entry::write(file, key, bytes)?;
            fs::rename(&temporary, self.path(key))
        };
        write().inspect_err(|_| {
            // The first error is the one that matters.
            let _ = fs::remove_file(&temporary);
        })
    }
}

/// Whether a file of the directory is an entry.
pub(crate) fn is_entry(path: &Path) -> bool {
    path.extension()
        .is_some_and(|extension| extension == EXTENSION)
}
