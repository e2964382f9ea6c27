//! [`CacheConfig`].

use anyhow::{Context, Error, Result, anyhow, ensure};
use serde::Deserialize;
use serde::de::{Deserializer, Error as _};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The configuration of a [`Cache`](crate::Cache).
///
/// In a file it is the table `cache`, in TOML. Every key may be left out.
///
/// ```toml
/// [cache]
/// enabled = true
/// directory = "/var/cache/waxwing"
/// cleanup-interval = "30m"
/// files-total-size-soft-limit = "1Gi"
/// ```
///
/// | key | default | |
/// |---|---|---|
/// | `enabled` | `true` | whether anything is cached |
/// | `directory` | the user's, such as `~/.cache/waxwing` | where; an absolute path |
/// | `cleanup-interval` | `"1h"` | how often the limits are looked at; a whole number of `s`, `m`, `h` or `d` |
/// | `file-count-soft-limit` | `"65536"` | how many files are too many; a number, perhaps with `K`, `M`, `G`, `T` or `P` |
/// | `files-total-size-soft-limit` | `"512Mi"` | how many bytes are too many; a number, perhaps with such a prefix or with `Ki`, `Mi`, `Gi`, `Ti` or `Pi` |
/// | `file-count-limit-percent-if-deleting` | `"70%"` | what part of that many files is left when there were too many |
/// | `files-total-size-limit-percent-if-deleting` | `"70%"` | what part of that many bytes is left when there were too many |
/// | `allowed-clock-drift-for-files-from-future` | `"1d"` | how far in the future times of files can be, by clocks of other machines, and still be believed |
/// | `worker-event-queue-size` | `"16"` | how many uses the thread in the background can be behind |
///
/// Limits are soft: they can be exceeded until the cache is next looked at.
///
/// Entries are not compressed, as they are mapped where they are. The keys that configure compression in other caches with this form are
/// accepted and checked, and have no effect: `baseline-compression-level`, `optimized-compression-level` (numbers),
/// `optimized-compression-usage-counter-threshold` (a count) and `optimizing-compression-task-timeout` (a time).
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct CacheConfig {
    enabled: bool,
    directory: Option<PathBuf>,
    #[serde(deserialize_with = "count")]
    worker_event_queue_size: u64,
    baseline_compression_level: i32,
    optimized_compression_level: i32,
    #[serde(deserialize_with = "count")]
    optimized_compression_usage_counter_threshold: u64,
    #[serde(deserialize_with = "duration")]
    cleanup_interval: Duration,
    #[serde(deserialize_with = "duration")]
    optimizing_compression_task_timeout: Duration,
    #[serde(deserialize_with = "duration")]
    allowed_clock_drift_for_files_from_future: Duration,
    #[serde(deserialize_with = "count")]
    file_count_soft_limit: u64,
    #[serde(deserialize_with = "size")]
    files_total_size_soft_limit: u64,
    #[serde(deserialize_with = "percent")]
    file_count_limit_percent_if_deleting: u8,
    #[serde(deserialize_with = "percent")]
    files_total_size_limit_percent_if_deleting: u8,
}

/// What is in a file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ConfigFile {
    #[serde(default)]
    cache: CacheConfig,
}

impl Default for CacheConfig {
    fn default() -> CacheConfig {
        const MINUTE: Duration = Duration::from_secs(60);
        CacheConfig {
            enabled: true,
            directory: None,
            worker_event_queue_size: 16,
            baseline_compression_level: 3,
            optimized_compression_level: 20,
            optimized_compression_usage_counter_threshold: 256,
            cleanup_interval: MINUTE * 60,
            optimizing_compression_task_timeout: MINUTE * 30,
            allowed_clock_drift_for_files_from_future: MINUTE * 60 * 24,
            file_count_soft_limit: 1 << 16,
            files_total_size_soft_limit: 512 << 20,
            file_count_limit_percent_if_deleting: 70,
            files_total_size_limit_percent_if_deleting: 70,
        }
    }
}

/// A getter and a setter for each of the settings.
macro_rules! settings {
    ($($(#[$doc:meta])* $name:ident $with:ident: $ty:ty;)*) => {$(
        $(#[$doc])*
        pub fn $name(&self) -> $ty {
            self.$name
        }

        #[doc = concat!("Sets what [`Self::", stringify!($name), "`] is.")]
        pub fn $with(&mut self, value: $ty) -> &mut Self {
            self.$name = value;
            self
        }
    )*};
}

impl CacheConfig {
    /// The defaults.
    pub fn new() -> CacheConfig {
        CacheConfig::default()
    }

    /// The configuration in a file; `None` is the user's own, such as `~/.config/waxwing/config.toml`, and stands for the defaults if
    /// it does not exist.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be read, is no TOML, has keys that are not known, or values that are not possible. Errors name the file.
    pub fn from_file(config_file: Option<&Path>) -> Result<CacheConfig> {
        let (path, must_exist) = match config_file {
            Some(path) => (path.to_path_buf(), true),
            None => match crate::paths::config_file() {
                Some(path) => (path, false),
                None => return Ok(CacheConfig::new()),
            },
        };
        let read = || -> Result<CacheConfig> {
            let text = match fs::read_to_string(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound && !must_exist => {
                    return Ok(CacheConfig::new());
                }
                text => text?,
            };
            CacheConfig::parse(&text)
        };
        read().with_context(|| format!("failed to read the configuration `{}`", path.display()))
    }

    /// The configuration in a text.
    pub(crate) fn parse(text: &str) -> Result<CacheConfig> {
        let ConfigFile { cache } = toml::from_str(text)?;
        if let Some(directory) = &cache.directory {
            ensure!(
                directory.is_absolute(),
                "`directory` is `{}`, and must be an absolute path",
                directory.display()
            );
        }
        Ok(cache)
    }

    /// Whether anything is cached.
    pub fn is_enabled(&self) -> bool {
        self.enabled
    }

    /// Sets whether anything is cached.
    pub fn with_enabled(&mut self, enabled: bool) -> &mut Self {
        self.enabled = enabled;
        self
    }

    /// Where entries are, unless in the user's own directory for caches.
    pub fn directory(&self) -> Option<&PathBuf> {
        self.directory.as_ref()
    }

    /// Sets where entries are.
    pub fn with_directory(&mut self, directory: impl Into<PathBuf>) -> &mut Self {
        self.directory = Some(directory.into());
        self
    }

    settings! {
        /// How many uses the thread in the background can be behind. More are forgotten.
        worker_event_queue_size with_worker_event_queue_size: u64;
        /// Has no effect.
        baseline_compression_level with_baseline_compression_level: i32;
        /// Has no effect.
        optimized_compression_level with_optimized_compression_level: i32;
        /// Has no effect.
        optimized_compression_usage_counter_threshold
            with_optimized_compression_usage_counter_threshold: u64;
        /// How often the limits are looked at.
        cleanup_interval with_cleanup_interval: Duration;
        /// Has no effect.
        optimizing_compression_task_timeout with_optimizing_compression_task_timeout: Duration;
        /// How far in the future times of files can be and still be believed.
        allowed_clock_drift_for_files_from_future
            with_allowed_clock_drift_for_files_from_future: Duration;
        /// How many files are too many.
        file_count_soft_limit with_file_count_soft_limit: u64;
        /// How many bytes are too many.
        files_total_size_soft_limit with_files_total_size_soft_limit: u64;
        /// What part of that many files is left when there were too many, in percent.
        file_count_limit_percent_if_deleting with_file_count_limit_percent_if_deleting: u8;
        /// What part of that many bytes is left when there were too many, in percent.
        files_total_size_limit_percent_if_deleting
            with_files_total_size_limit_percent_if_deleting: u8;
    }
}

/// A whole number before one of some units, by what they multiply it.
fn number(text: &str, units: &[(&str, u64)], what: &str) -> Result<u64> {
    let digits = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let (digits, unit) = text.split_at(text.len() - digits.len());
    let factor = units.iter().find(|(name, _)| *name == unit.trim());
    let number = digits.parse::<u64>().ok();
    factor
        .zip(number)
        .and_then(|((_, factor), number)| number.checked_mul(*factor))
        .ok_or_else(|| anyhow!("`{text}` is no {what}"))
}

const COUNTS: [(&str, u64); 6] = [
    ("", 1),
    ("K", 1_000),
    ("M", 1_000_000),
    ("G", 1_000_000_000),
    ("T", 1_000_000_000_000),
    ("P", 1_000_000_000_000_000),
];

const SIZES: [(&str, u64); 11] = [
    ("", 1),
    ("K", 1_000),
    ("Ki", 1 << 10),
    ("M", 1_000_000),
    ("Mi", 1 << 20),
    ("G", 1_000_000_000),
    ("Gi", 1 << 30),
    ("T", 1_000_000_000_000),
    ("Ti", 1 << 40),
    ("P", 1_000_000_000_000_000),
    ("Pi", 1 << 50),
];

const TIMES: [(&str, u64); 4] = [("s", 1), ("m", 60), ("h", 60 * 60), ("d", 24 * 60 * 60)];

fn text<'de, D: Deserializer<'de>, T>(
    deserializer: D,
    parse: impl FnOnce(&str) -> Result<T>,
) -> Result<T, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse(&text).map_err(|error: Error| D::Error::custom(error))
}

fn count<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    text(deserializer, |text| {
        number(text, &COUNTS, "number such as \"16\" or \"4K\"")
    })
}

fn size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    text(deserializer, |text| {
        number(text, &SIZES, "size such as \"1000\", \"512Mi\" or \"1G\"")
    })
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    text(deserializer, |text| {
        number(
            text,
            &TIMES,
            "time such as \"30s\", \"10m\", \"1h\" or \"7d\"",
        )
        .map(Duration::from_secs)
    })
}

fn percent<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u8, D::Error> {
    text(deserializer, |text| {
        let what = "part such as \"70%\", at most \"100%\"";
        let number = number(text, &[("%", 1)], what)?;
        ensure!(number <= 100, "`{text}` is no {what}");
        Ok(number as u8)
    })
}
