//! `waxwing run`: instantiates a module with WASI and calls into it.

mod guest;
mod profile;
mod spawn;

use self::profile::Profile;
use crate::load::Source;
use crate::options::{GroupArgs, Settings};
use anyhow::{Context, Result, anyhow, bail, ensure};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use waxwing_wasi::preview1::WasiP1Ctx;
use waxwing_wasi::{DirPerms, FilePerms, WasiCtxBuilder};

/// Run a module
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    groups: GroupArgs,

    /// Let the guest use a directory, under its own name or as GUEST; repeatable
    #[arg(long = "dir", value_name = "HOST[::GUEST]")]
    directories: Vec<String>,

    /// Set an environment variable of the guest, or pass on the host's; repeatable
    #[arg(long = "env", value_name = "NAME[=VAL]")]
    environment: Vec<String>,

    /// Call an exported function, with ARGS as its arguments, and print its results
    #[arg(long, value_name = "NAME")]
    invoke: Option<String>,

    /// Instantiate a module before FILE, which imports its exports from NAME; repeatable
    #[arg(long = "preload", value_name = "NAME=FILE")]
    preloads: Vec<String>,

    /// What the guest sees as its name, instead of FILE's
    #[arg(long, value_name = "NAME")]
    argv0: Option<String>,

    /// Write a profile of the guest for profiler.firefox.com, or tell native profilers of its code:
    /// guest[,PATH[,INTERVAL]], perfmap, jitdump or vtune
    #[arg(long, value_name = "HOW")]
    profile: Option<Profile>,

    /// Load artifacts of `waxwing compile`, whose machine code is trusted
    #[arg(long)]
    allow_precompiled: bool,

    /// The module (binary, text or artifact; `-` is the standard input), and the guest's arguments
    #[arg(value_name = "FILE [ARGS]", required = true, trailing_var_arg = true)]
    file_and_arguments: Vec<OsString>,
}

/// What to run, read and checked as far as possible without an engine.
struct Job {
    file: PathBuf,
    source: Source,
    arguments: Vec<String>,
    preloads: Vec<Preload>,
    invoke: Option<String>,
    allow_precompiled: bool,
    fuel: Option<u64>,
    timeout: Option<Duration>,
    /// Where a core dump is to be written.
    coredump: Option<String>,
    profile: Option<Profile>,
}

/// A module that others import from.
struct Preload {
    name: String,
    file: PathBuf,
    source: Source,
}

impl Args {
    /// As `waxwing FILE`, where a mistyped command looks like a file.
    pub fn execute_shorthand(self) -> Result<ExitCode> {
        let word = self.file_and_arguments.first().cloned().unwrap_or_default();
        let path = Path::new(&word);
        let is_word = word
            .to_str()
            .is_some_and(|w| w != "-" && !w.contains(['.', '/', '\\']));
        if is_word && !path.exists() {
            bail!(
                "`{}` is neither a file nor a command; `waxwing --help` lists the commands",
                path.display()
            );
        }
        self.execute()
    }

    pub fn execute(self) -> Result<ExitCode> {
        let mut settings = self.groups.settings()?;
        let (file, arguments) = self
            .file_and_arguments
            .split_first()
            .context("no file is given")?;
        let file = PathBuf::from(file);
        let arguments = arguments
            .iter()
            .map(|argument| {
                argument.to_str().map(str::to_string).ok_or_else(|| {
                    anyhow!("the argument `{}` is not UTF-8", argument.to_string_lossy())
                })
            })
            .collect::<Result<Vec<String>>>()?;
        let wasi = self.wasi(&mut settings, &file, &arguments)?;

        let preloads = self
            .preloads
            .iter()
            .map(|preload| Preload::read(preload))
            .collect::<Result<Vec<Preload>>>()?;
        let source = Source::read(&file)?;
        let size = |source: &Source| match source {
            Source::Wasm(bytes) => bytes.len(),
            Source::Elf => 0,
        };
        let total = preloads
            .iter()
            .map(|preload| size(&preload.source))
            .sum::<usize>();
        if let Some(profile) = &self.profile {
            profile.apply(&mut settings);
        }
        let engine = settings.engine(total + size(&source))?;
        let job = Job {
            file,
            source,
            arguments,
            preloads,
            invoke: self.invoke,
            allow_precompiled: self.allow_precompiled,
            fuel: settings.fuel,
            timeout: settings.timeout,
            coredump: settings.debug.coredump.take(),
            profile: self.profile,
        };
        let limits = settings.store_limits();
        spawn::with_stack(settings.max_wasm_stack, move || {
            guest::run(&engine, job, guest::Host::new(wasi, limits))
        })?
    }

    /// The guest's view of the system; `None` if it gets none.
    fn wasi(
        &self,
        settings: &mut Settings,
        file: &Path,
        arguments: &[String],
    ) -> Result<Option<WasiP1Ctx>> {
        if !settings.wasi.preview1 {
            for (option, given) in [("--dir", &self.directories), ("--env", &self.environment)] {
                ensure!(
                    given.is_empty(),
                    "`{option}` needs WASI, which `-S preview1=n` takes away"
                );
            }
            return Ok(None);
        }
        let mut wasi = WasiCtxBuilder::new();
        wasi.inherit_stdout().inherit_stderr();
        if settings.wasi.inherit_stdin {
            wasi.inherit_stdin();
        }
        let name = match &self.argv0 {
            Some(name) => name.clone(),
            None => file
                .file_name()
                .unwrap_or(file.as_os_str())
                .to_string_lossy()
                .into_owned(),
        };
        wasi.arg(name);
        // With `--invoke` they are the function's.
        if self.invoke.is_none() {
            wasi.args(arguments);
        }
        if settings.wasi.inherit_env {
            wasi.inherit_env();
        }
        for variable in &self.environment {
            let (name, value) = environment_variable(variable)?;
            wasi.env(name, value);
        }
        for directory in &self.directories {
            let (host, guest) = directory.split_once("::").unwrap_or((directory, directory));
            ensure!(
                !host.is_empty() && !guest.is_empty(),
                "`--dir {directory}`: the form is HOST[::GUEST], and neither may be empty"
            );
            wasi.preopened_dir(host, guest, DirPerms::all(), FilePerms::all())
                .with_context(|| format!("`--dir {directory}`: failed to open `{host}`"))?;
        }
        for listener in settings.wasi.listeners.drain(..) {
            wasi.preopened_socket(listener);
        }
        if let Some(seed) = settings.wasi.random_seed {
            wasi.random_seed(seed);
        }
        Ok(Some(wasi.build_p1()))
    }
}

fn environment_variable(text: &str) -> Result<(&str, String)> {
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (name, value.to_string()),
        None => {
            let value = std::env::var(text)
                .map_err(|e| anyhow!("`--env {text}`: {e}; give a value as `{text}=VALUE`"))?;
            (text, value)
        }
    };
    ensure!(!name.is_empty(), "`--env {text}`: the name is empty");
    Ok((name, value))
}

impl Preload {
    fn read(text: &str) -> Result<Preload> {
        let (name, file) = text
            .split_once('=')
            .filter(|(_, file)| !file.is_empty())
            .ok_or_else(|| anyhow!("`--preload {text}`: the form is NAME=FILE"))?;
        let file = PathBuf::from(file);
        let source = Source::read(&file).with_context(|| format!("`--preload {text}`"))?;
        Ok(Preload {
            name: name.to_string(),
            file,
            source,
        })
    }
}
