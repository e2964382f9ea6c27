//! `--profile`: telling native profilers of compiled code, or profiling the guest.

use super::guest::Host;
use crate::options::{Settings, parse_time};
use anyhow::{Context, Result, bail};
use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::{Duration, Instant};
use waxwing::{Engine, GuestProfiler, Module, ProfilingStrategy, Store, Trap, UpdateDeadline};

const DEFAULT_PATH: &str = "waxwing-guest-profile.json";
const DEFAULT_INTERVAL: Duration = Duration::from_millis(10);

/// The value of `--profile`.
#[derive(Clone, Debug)]
pub enum Profile {
    Native(ProfilingStrategy),
    Guest(GuestProfile),
}

/// Where a profile of the guest is written, and how often it is looked at.
#[derive(Clone, Debug)]
pub struct GuestProfile {
    path: PathBuf,
    interval: Duration,
}

impl FromStr for Profile {
    type Err = String;

    fn from_str(text: &str) -> Result<Profile, String> {
        let mut parts = text.split(',');
        let kind = parts.next().unwrap_or_default();
        let native = |strategy| match text == kind {
            true => Ok(Profile::Native(strategy)),
            false => Err(format!("`{kind}` has no further values")),
        };
        match kind {
            "perfmap" => native(ProfilingStrategy::PerfMap),
            "jitdump" => native(ProfilingStrategy::JitDump),
            "vtune" => native(ProfilingStrategy::VTune),
            "guest" => {
                let path = parts.next().unwrap_or(DEFAULT_PATH);
                let interval = parts.next().map(parse_time).transpose()?;
                let interval = interval.unwrap_or(DEFAULT_INTERVAL);
                if path.is_empty() || interval.is_zero() || parts.next().is_some() {
                    return Err(
                        "the form is guest[,PATH[,INTERVAL]], with an interval such as 10ms".into(),
                    );
                }
                Ok(Profile::Guest(GuestProfile {
                    path: path.into(),
                    interval,
                }))
            }
            _ => Err("takes guest[,PATH[,INTERVAL]], perfmap, jitdump or vtune".into()),
        }
    }
}

impl Profile {
    /// Makes the settings that it needs.
    pub fn apply(&self, settings: &mut Settings) {
        match self {
            Profile::Native(strategy) => _ = settings.config.profiler(*strategy),
            Profile::Guest(_) => _ = settings.config.epoch_interruption(true),
        }
    }
}

impl GuestProfile {
    /// Begins to look at what the store's guest does, and ends it after `timeout`. `file` is what the guest comes from,
    /// `modules` what is looked at.
    pub fn start(
        &self,
        engine: &Engine,
        store: &mut Store<Host>,
        file: &Path,
        modules: Vec<(String, Module)>,
        timeout: Option<Duration>,
    ) -> Result<Running<'_>> {
        let path = &self.path;
        let output = File::create(path)
            .with_context(|| format!("`--profile`: failed to make `{}`", path.display()))?;
        let interval = self.interval;
        let profiler = GuestProfiler::new(&name(file), interval, modules);
        store.data_mut().profiler = Some(profiler);
        let end = timeout.map(|timeout| Instant::now() + timeout);
        let mut last = Instant::now();
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(move |mut store| {
            let now = Instant::now();
            if let Some(mut profiler) = store.data_mut().profiler.take() {
                profiler.sample(&store, now - last);
                store.data_mut().profiler = Some(profiler);
            }
            last = now;
            if end.is_some_and(|end| now >= end) {
                bail!(Trap::Interrupt);
            }
            Ok(UpdateDeadline::Continue(1))
        });
        let engine = engine.weak();
        std::thread::Builder::new()
            .name("profile".into())
            .spawn(move || {
                loop {
                    std::thread::sleep(interval);
                    let Some(engine) = engine.upgrade() else {
                        break;
                    };
                    engine.increment_epoch();
                }
            })
            .context("failed to start a thread for `--profile`")?;
        Ok(Running { path, output })
    }
}

/// A profile that is being made.
pub struct Running<'a> {
    path: &'a Path,
    output: File,
}

impl Running<'_> {
    /// Writes what was seen.
    pub fn finish(self, store: &mut Store<Host>) -> Result<()> {
        let Some(profiler) = store.data_mut().profiler.take() else {
            return Ok(());
        };
        profiler
            .finish(BufWriter::new(self.output))
            .with_context(|| format!("failed to write `{}`", self.path.display()))
    }
}

/// How a profile calls what comes from a file.
pub fn name(file: &Path) -> String {
    let name = file.file_name().unwrap_or(file.as_os_str());
    name.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values() {
        let guest = |text: &str| match text.parse() {
            Ok(Profile::Guest(GuestProfile { path, interval })) => {
                Some((path.to_str().unwrap().to_string(), interval.as_micros()))
            }
            _ => None,
        };
        assert_eq!(guest("guest"), Some((DEFAULT_PATH.to_string(), 10_000)));
        assert_eq!(guest("guest,a b"), Some(("a b".to_string(), 10_000)));
        assert_eq!(guest("guest,p,500us"), Some(("p".to_string(), 500)));
        for wrong in [
            "guest,",
            "guest,p,0",
            "guest,p,x",
            "guest,p,1ms,q",
            "perfmap,p",
            "perf",
            "",
        ] {
            assert!(wrong.parse::<Profile>().is_err(), "{wrong:?}");
        }
        let native = "jitdump".parse();
        assert!(matches!(
            native,
            Ok(Profile::Native(ProfilingStrategy::JitDump))
        ));
    }
}
