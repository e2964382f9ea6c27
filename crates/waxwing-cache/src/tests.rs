use crate::entry::TRAILER_LEN;
use crate::{Cache, CacheConfig, Entry, Key, KeyBuilder};
use std::fs::{self, File};
use std::hash::Hash;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};
use tempfile::TempDir;

fn key(text: &str) -> Key {
    let mut key = KeyBuilder::new();
    text.hash(&mut key);
    key.finish_key()
}

fn config(directory: &TempDir) -> CacheConfig {
    let mut config = CacheConfig::new();
    config.with_directory(directory.path());
    config
}

fn bytes(entry: Entry) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let len = entry.len();
    entry.file().take(len).read_to_end(&mut bytes).unwrap();
    entry.is_intact(&bytes).then_some(bytes)
}

fn get(cache: &Cache, name: &str) -> Option<Vec<u8>> {
    cache.get(&key(name), bytes)
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let Ok(list) = fs::read_dir(directory) else {
        return Vec::new();
    };
    let paths = list.map(|file| file.unwrap().path());
    let mut entries: Vec<_> = paths.filter(|path| crate::cache::is_entry(path)).collect();
    entries.sort();
    entries
}

/// Waits for what a thread in the background does.
#[track_caller]
fn wait_for(done: impl Fn() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(
            start.elapsed() < Duration::from_secs(20),
            "it does not happen"
        );
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn what_is_stored_is_found() {
    let directory = tempfile::tempdir().unwrap();
    let cache = Cache::new(config(&directory)).unwrap();
    assert_eq!(get(&cache, "a"), None);
    cache.insert(&key("a"), b"the bytes of a");
    cache.insert(&key("empty"), b"");
    assert_eq!(get(&cache, "a").unwrap(), b"the bytes of a");
    assert_eq!(get(&cache, "empty").unwrap(), b"");
    assert_eq!(get(&cache, "b"), None);
    assert_eq!((cache.cache_hits(), cache.cache_misses()), (2, 2));

    // Another process would do the same.
    let other = Cache::new(config(&directory)).unwrap();
    assert_eq!(get(&other, "a").unwrap(), b"the bytes of a");
    other.insert(&key("a"), b"others");
    assert_eq!(get(&cache, "a").unwrap(), b"others");
    // Nothing is left behind.
    assert_eq!(files(cache.directory().unwrap()).len(), 2);
}

#[test]
fn keys_tell_parts_apart() {
    let of = |parts: &[&[u8]]| {
        let mut key = KeyBuilder::new();
        for part in parts {
            key.part(part);
        }
        key.finish_key()
    };
    assert_eq!(of(&[b"ab", b"c"]), of(&[b"ab", b"c"]));
    assert_ne!(of(&[b"ab", b"c"]), of(&[b"a", b"bc"]));
    assert_ne!(of(&[b"ab"]), of(&[b"ab", b""]));
}

#[test]
fn damaged_entries_are_ignored_and_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let cache = Cache::new(config(&directory)).unwrap();
    let data = b"some bytes that are long enough";
    cache.insert(&key("a"), data);
    let path = files(cache.directory().unwrap()).pop().unwrap();
    let good = fs::read(&path).unwrap();
    assert_eq!(good.len(), data.len() + TRAILER_LEN);
    let mut damaged: Vec<Vec<u8>> = (0..good.len()).map(|len| good[..len].to_vec()).collect();
    for bit in 0..good.len() * 8 {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        damaged.push(bad);
    }
    damaged.push([&good[..], b"more"].concat());
    damaged.push([&good[..], &good[..]].concat());
    damaged.push(vec![0; 1000]);
    for bad in damaged {
        fs::write(&path, &bad).unwrap();
        assert_eq!(get(&cache, "a"), None, "{bad:?}");
        assert!(!path.exists());
    }
    cache.insert(&key("a"), data);
    assert_eq!(get(&cache, "a").unwrap(), data);
    // The entry of another key, by a mistake of whoever copies files.
    cache.insert(&key("b"), b"another");
    let b = files(cache.directory().unwrap());
    let b = b.iter().find(|found| **found != path).unwrap();
    fs::copy(b, &path).unwrap();
    assert_eq!(get(&cache, "a"), None);
    assert_eq!(get(&cache, "b").unwrap(), b"another");
}

#[test]
fn entries_that_are_of_no_use_are_deleted() {
    let directory = tempfile::tempdir().unwrap();
    let cache = Cache::new(config(&directory)).unwrap();
    cache.insert(&key("a"), b"bytes");
    assert_eq!(cache.get(&key("a"), |_| None::<()>), None);
    assert_eq!(cache.cache_misses(), 1);
    assert!(files(cache.directory().unwrap()).is_empty());
}

#[test]
fn a_cache_that_is_switched_off_keeps_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = config(&directory);
    config.with_enabled(false);
    let cache = Cache::new(config).unwrap();
    cache.insert(&key("a"), b"bytes");
    assert_eq!(get(&cache, "a"), None);
    assert_eq!(cache.directory(), None);
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
fn a_directory_that_cannot_be_written_to_is_no_error() {
    let directory = tempfile::tempdir().unwrap();
    // A file stands where the directory should be, which stops also those who may do anything.
    let file = directory.path().join("file");
    fs::write(&file, b"").unwrap();
    let mut config = CacheConfig::new();
    config.with_directory(&file);
    let cache = Cache::new(config).unwrap();
    cache.insert(&key("a"), b"bytes");
    cache.insert(&key("a"), b"bytes");
    assert_eq!(get(&cache, "a"), None);
    assert_eq!(fs::read(&file).unwrap(), b"");
}

#[test]
fn threads_and_handles_share_a_directory() {
    let directory = tempfile::tempdir().unwrap();
    let data = |i: usize| vec![i as u8; 10_000 + i];
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let cache = Cache::new(config(&directory)).unwrap();
                for round in 0..50 {
                    let i = round % 10;
                    if let Some(found) = get(&cache, &i.to_string()) {
                        assert_eq!(found, data(i));
                    }
                    cache.insert(&key(&i.to_string()), &data(i));
                }
            });
        }
    });
    let cache = Cache::new(config(&directory)).unwrap();
    for i in 0..10 {
        assert_eq!(get(&cache, &i.to_string()).unwrap(), data(i));
    }
    assert_eq!(files(cache.directory().unwrap()).len(), 10);
}

/// Stores ten entries of 1000 bytes, used in the order of their names.
fn fill(directory: &TempDir) -> Cache {
    let mut config = config(directory);
    config.with_cleanup_interval(Duration::from_secs(1000));
    let cache = Cache::new(config).unwrap();
    // The first use cleans up, when there is nothing to clean.
    get(&cache, "none");
    cache.insert(&key("0"), &[0; 1000 - TRAILER_LEN]);
    let stamp = cache.directory().unwrap().join("cleanup");
    wait_for(|| stamp.exists());
    for i in 0..10u64 {
        let name = i.to_string();
        cache.insert(&key(&name), &[0; 1000 - TRAILER_LEN]);
        let path = cache
            .directory()
            .unwrap()
            .join(format!("{}.entry", key(&name)));
        let used = SystemTime::now() - Duration::from_secs(10_000 - 100 * i);
        File::open(path).unwrap().set_modified(used).unwrap();
    }
    cache
}

fn left(cache: &Cache) -> Vec<String> {
    let directory = cache.directory().unwrap();
    let names = (0..10).map(|i| i.to_string());
    let path = |name: &str| directory.join(format!("{}.entry", key(name)));
    names.filter(|name| path(name).exists()).collect()
}

/// Makes the last cleanup one of that time.
fn last_cleanup(cache: &Cache, at: SystemTime) {
    let stamp = cache.directory().unwrap().join("cleanup");
    let stamp = File::options().write(true).open(stamp).unwrap();
    stamp.set_modified(at).unwrap();
}

/// Uses the cache with other limits, when it is time to look at them.
fn limited(directory: &TempDir, limit: impl FnOnce(&mut CacheConfig)) -> Cache {
    let mut config = config(directory);
    config.with_cleanup_interval(Duration::ZERO);
    limit(&mut config);
    Cache::new(config).unwrap()
}

#[test]
fn the_least_recently_used_entries_go_when_there_are_too_many() {
    let directory = tempfile::tempdir().unwrap();
    let cache = fill(&directory);
    assert_eq!(left(&cache).len(), 10);
    // Not too many.
    let same = limited(&directory, |config| {
        _ = config.with_file_count_soft_limit(10)
    });
    assert!(get(&same, "0").is_some());
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(left(&cache).len(), 10);
    // One too many: 70 percent of 9 are left. The one that was just used is among them.
    let fewer = limited(&directory, |config| {
        _ = config.with_file_count_soft_limit(9)
    });
    get(&fewer, "0");
    wait_for(|| left(&cache).len() <= 6);
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(left(&cache), ["0", "5", "6", "7", "8", "9"]);
}

#[test]
fn the_least_recently_used_entries_go_when_they_are_too_large() {
    let directory = tempfile::tempdir().unwrap();
    let cache = fill(&directory);
    let limit = |config: &mut CacheConfig| {
        config
            .with_files_total_size_soft_limit(9_999)
            .with_files_total_size_limit_percent_if_deleting(50);
    };
    let smaller = limited(&directory, limit);
    get(&smaller, "1");
    wait_for(|| left(&cache).len() <= 4);
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(left(&cache), ["1", "7", "8", "9"]);
}

#[test]
fn limits_are_looked_at_when_it_is_time() {
    let directory = tempfile::tempdir().unwrap();
    let cache = fill(&directory);
    let limit = |config: &mut CacheConfig| {
        config
            .with_file_count_soft_limit(1)
            .with_cleanup_interval(Duration::from_secs(1000));
    };
    let one = limited(&directory, limit);
    get(&one, "0");
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(left(&cache).len(), 10);
    // A little in the future: the clock of another machine.
    last_cleanup(&cache, SystemTime::now() + Duration::from_secs(1000));
    get(&one, "0");
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(left(&cache).len(), 10);
    // Far in the future: a mistake.
    last_cleanup(
        &cache,
        SystemTime::now() + Duration::from_secs(100 * 24 * 60 * 60),
    );
    get(&one, "0");
    wait_for(|| left(&cache).is_empty());
    // That it happened is remembered.
    let stamp = cache.directory().unwrap().join("cleanup");
    wait_for(|| fs::metadata(&stamp).unwrap().modified().unwrap() <= SystemTime::now());
}

#[test]
fn abandoned_files_are_deleted() {
    let directory = tempfile::tempdir().unwrap();
    let cache = fill(&directory);
    let file = |name: &str, age: u64| {
        let path = cache.directory().unwrap().join(name);
        fs::write(&path, b"half of").unwrap();
        let at = SystemTime::now() - Duration::from_secs(age);
        File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_modified(at)
            .unwrap();
        path
    };
    let old = file("tmp-1-2", 10_000);
    let new = file("tmp-1-3", 10);
    let foreign = file("README", 10_000);
    get(&limited(&directory, |_| {}), "0");
    wait_for(|| !old.exists());
    assert!(new.exists() && foreign.exists());
    assert_eq!(left(&cache).len(), 10);
}

#[test]
fn configurations_are_read() {
    let text = r#"
        [cache]
        enabled = false
        directory = "/somewhere/else"
        worker-event-queue-size = "2K"
        baseline-compression-level = 1
        optimized-compression-level = -2
        optimized-compression-usage-counter-threshold = "3M"
        cleanup-interval = "90s"
        optimizing-compression-task-timeout = "5m"
        allowed-clock-drift-for-files-from-future = "2d"
        file-count-soft-limit = "100"
        files-total-size-soft-limit = "3Ki"
        file-count-limit-percent-if-deleting = "0%"
        files-total-size-limit-percent-if-deleting = "100%"
    "#;
    let config = CacheConfig::parse(text).unwrap();
    assert!(!config.is_enabled());
    assert_eq!(config.directory().unwrap(), Path::new("/somewhere/else"));
    assert_eq!(config.worker_event_queue_size(), 2_000);
    assert_eq!(config.baseline_compression_level(), 1);
    assert_eq!(config.optimized_compression_level(), -2);
    assert_eq!(
        config.optimized_compression_usage_counter_threshold(),
        3_000_000
    );
    assert_eq!(config.cleanup_interval(), Duration::from_secs(90));
    assert_eq!(
        config.optimizing_compression_task_timeout(),
        Duration::from_secs(300)
    );
    let drift = config.allowed_clock_drift_for_files_from_future();
    assert_eq!(drift, Duration::from_secs(2 * 24 * 60 * 60));
    assert_eq!(config.file_count_soft_limit(), 100);
    assert_eq!(config.files_total_size_soft_limit(), 3 << 10);
    assert_eq!(config.file_count_limit_percent_if_deleting(), 0);
    assert_eq!(config.files_total_size_limit_percent_if_deleting(), 100);

    for text in ["", "[cache]"] {
        let config = CacheConfig::parse(text).unwrap();
        assert!(config.is_enabled());
        assert_eq!(config.files_total_size_soft_limit(), 512 << 20);
        assert_eq!(config.file_count_soft_limit(), 1 << 16);
        assert_eq!(config.cleanup_interval(), Duration::from_secs(60 * 60));
    }
}

#[test]
fn mistakes_in_configurations_are_told() {
    for (text, what) in [
        ("[cache", "expected"),
        ("[cached]", "cached"),
        ("[cache]\nenable = true", "enable"),
        ("[cache]\nenabled = 1", "boolean"),
        ("[cache]\ndirectory = 'relative'", "absolute"),
        ("[cache]\ncleanup-interval = '1x'", "`1x` is no time"),
        ("[cache]\ncleanup-interval = 'h'", "`h` is no time"),
        ("[cache]\ncleanup-interval = '-1h'", "`-1h` is no time"),
        (
            "[cache]\ncleanup-interval = '99999999999999999d'",
            "is no time",
        ),
        (
            "[cache]\nfile-count-soft-limit = '1Ki'",
            "`1Ki` is no number",
        ),
        ("[cache]\nfile-count-soft-limit = 1", "string"),
        (
            "[cache]\nfiles-total-size-soft-limit = '1.5G'",
            "`1.5G` is no size",
        ),
        (
            "[cache]\nfile-count-limit-percent-if-deleting = '101%'",
            "`101%` is no part",
        ),
        (
            "[cache]\nfile-count-limit-percent-if-deleting = '70'",
            "`70` is no part",
        ),
    ] {
        let error = format!("{:#}", CacheConfig::parse(text).unwrap_err());
        assert!(error.contains(what), "{text}: {error}");
    }
    let missing = Path::new("/no/such/file.toml");
    let error = format!("{:#}", CacheConfig::from_file(Some(missing)).unwrap_err());
    assert!(error.contains("/no/such/file.toml"), "{error}");
}
