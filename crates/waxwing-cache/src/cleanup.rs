//! Keeping the directory within its limits, in the background.

use crate::CacheConfig;
use crate::cache::{TEMPORARY, is_entry};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, SystemTime};

/// The file whose time of modification is that of the last cleanup, and which is locked during one.
const STAMP: &str = "cleanup";
/// A file that is not renamed after such a time never will be.
const ABANDONED: Duration = Duration::from_secs(60 * 60);

/// What is allowed, and when to look.
#[derive(Clone, Copy)]
struct Limits {
    interval: Duration,
    drift: Duration,
    files: u64,
    files_if_deleting: u64,
    bytes: u64,
    bytes_if_deleting: u64,
}

impl Limits {
    fn of(config: &CacheConfig) -> Limits {
        let percent = |limit: u64, percent: u8| {
            let part = u128::from(limit) * u128::from(percent) / 100;
            u64::try_from(part).unwrap_or(u64::MAX)
        };
        let files = config.file_count_soft_limit();
        let bytes = config.files_total_size_soft_limit();
        Limits {
            interval: config.cleanup_interval(),
            drift: config.allowed_clock_drift_for_files_from_future(),
            files,
            files_if_deleting: percent(files, config.file_count_limit_percent_if_deleting()),
            bytes,
            bytes_if_deleting: percent(bytes, config.files_total_size_limit_percent_if_deleting()),
        }
    }
}

/// The thread that cleans up. It is started when the cache is first used, and ends with the cache.
pub(crate) struct Worker {
    directory: PathBuf,
    limits: Limits,
    queue: usize,
    sender: OnceLock<Option<SyncSender<()>>>,
}

impl Worker {
    pub(crate) fn new(directory: PathBuf, config: &CacheConfig) -> Worker {
        Worker {
            directory,
            limits: Limits::of(config),
            queue: usize::try_from(config.worker_event_queue_size()).unwrap_or(usize::MAX),
            sender: OnceLock::new(),
        }
    }

    /// Tells the thread that the cache was used. Never waits: if it has more to do than the queue holds, it
    /// will look at the directory anyway.
    pub(crate) fn notify(&self) {
        let sender = self.sender.get_or_init(|| {
            // A channel allocates room for all that it can hold.
            let (sender, receiver) = sync_channel(self.queue.clamp(1, 1 << 16));
            let (directory, limits) = (self.directory.clone(), self.limits);
            let work = move || {
                while receiver.recv().is_ok() {
                    // One look is enough for all that happened before.
                    while receiver.try_recv().is_ok() {}
                    if let Err(error) = clean_up_if_due(&directory, limits) {
                        let directory = directory.display();
                        log::debug!("the cache cannot clean up `{directory}`: {error}");
                    }
                }
            };
            let thread = thread::Builder::new().name("waxwing-cache".into());
            match thread.spawn(work) {
                Ok(_) => Some(sender),
                Err(error) => {
                    log::warn!("the cache has no thread to clean up: {error}");
                    None
                }
            }
        });
        if let Some(sender) = sender {
            let _ = sender.try_send(());
        }
    }
}

fn clean_up_if_due(directory: &Path, limits: Limits) -> io::Result<()> {
    let path = directory.join(STAMP);
    let is_new = !path.exists();
    let stamp = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)?;
    if !is_new && !is_due(stamp.metadata()?.modified()?, SystemTime::now(), limits) {
        return Ok(());
    }
    // One process at a time; whoever comes second has nothing to do.
    if stamp.try_lock().is_err() {
        return Ok(());
    }
    // Somebody may just have finished.
    if !is_new && !is_due(stamp.metadata()?.modified()?, SystemTime::now(), limits) {
        return Ok(());
    }
    clean_up(directory, limits)?;
    stamp.set_modified(SystemTime::now())
}

/// Whether the last cleanup is long ago, or in a future that is no mere difference of clocks.
fn is_due(last: SystemTime, now: SystemTime, limits: Limits) -> bool {
    match now.duration_since(last) {
        Ok(ago) => ago >= limits.interval,
        Err(ahead) => ahead.duration() > limits.drift,
    }
}

struct Used {
    at: SystemTime,
    size: u64,
    path: PathBuf,
}

fn clean_up(directory: &Path, limits: Limits) -> io::Result<()> {
    let now = SystemTime::now();
    let mut entries = Vec::new();
    for file in fs::read_dir(directory)? {
        let file = file?;
        // What is gone by now was deleted by another process.
        let Ok(metadata) = file.metadata() else {
            continue;
        };
        let (path, at) = (file.path(), metadata.modified()?);
        if is_entry(&path) {
            // A time that is far in the future says nothing of use.
            let is_wrong = at.duration_since(now).is_ok_and(|by| by > limits.drift);
            entries.push(Used {
                at: if is_wrong { SystemTime::UNIX_EPOCH } else { at },
                size: metadata.len(),
                path,
            });
        } else if file.file_name().to_string_lossy().starts_with(TEMPORARY)
            && now.duration_since(at).is_ok_and(|age| age > ABANDONED)
        {
            delete(&path);
        }
    }
    for path in excess(&mut entries, limits) {
        delete(&path);
    }
    Ok(())
}

fn delete(path: &Path) {
    match fs::remove_file(path) {
        Ok(()) => log::debug!("the cache deleted `{}`", path.display()),
        Err(error) => log::debug!("the cache cannot delete `{}`: {error}", path.display()),
    }
}

/// Which entries have to go: the least recently used, if a limit is exceeded, until all is well below it.
fn excess(entries: &mut [Used], limits: Limits) -> Vec<PathBuf> {
    let mut files = entries.len() as u64;
    let mut bytes: u64 = entries.iter().map(|entry| entry.size).sum();
    let too_many = files > limits.files;
    let too_large = bytes > limits.bytes;
    if !too_many && !too_large {
        return Vec::new();
    }
    entries.sort_by_key(|entry| entry.at);
    let mut gone = Vec::new();
    for entry in entries {
        let is_enough = (!too_many || files <= limits.files_if_deleting)
            && (!too_large || bytes <= limits.bytes_if_deleting);
        if is_enough {
            break;
        }
        files -= 1;
        bytes -= entry.size;
        gone.push(std::mem::take(&mut entry.path));
    }
    gone
}
