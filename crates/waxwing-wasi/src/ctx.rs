//! What a guest may see and use: the builder and what it builds.

use crate::clocks::{HostMonotonicClock, HostWallClock, SystemMonotonicClock, SystemWallClock};
use crate::pipe::{ClosedInputStream, SinkOutputStream};
use crate::preview1::WasiP1Ctx;
use crate::socket::Socket;
use crate::streams::{self, InputStream, OutputStream};
use anyhow::{Context, Result};
use bitflags::bitflags;
use cap_rand::{RngCore, SeedableRng};
use cap_std::ambient_authority;
use cap_std::fs::Dir;
use std::fmt;
use std::path::Path;

bitflags! {
    /// What a guest may do with the entries of a preopened directory, at any depth.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    pub struct DirPerms: usize {
        /// List the directory, look at its entries, and open them.
        const READ = 0b1;
        /// Create, rename, link and remove entries, and change their times.
        const MUTATE = 0b10;
    }

    /// What a guest may do with the files in a preopened directory, at any depth.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    pub struct FilePerms: usize {
        /// Read files.
        const READ = 0b1;
        /// Write, truncate and extend files, and change their times.
        const WRITE = 0b10;
    }
}

/// A directory that a guest finds open when it starts.
pub(crate) struct Preopen {
    pub dir: Dir,
    pub guest_path: String,
    pub dir_perms: DirPerms,
    pub file_perms: FilePerms,
}

/// Everything that a guest may see and use, apart from how it names it.
///
/// Built by [`WasiCtxBuilder::build`]; turn it into a [`WasiP1Ctx`] to run
/// modules with it.
pub struct WasiCtx {
    pub(crate) args: Vec<String>,
    pub(crate) env: Vec<(String, String)>,
    pub(crate) stdin: Box<dyn InputStream>,
    pub(crate) stdout: Box<dyn OutputStream>,
    pub(crate) stderr: Box<dyn OutputStream>,
    pub(crate) preopens: Vec<Preopen>,
    pub(crate) sockets: Vec<Socket>,
    pub(crate) random: Box<dyn RngCore + Send>,
    pub(crate) wall_clock: Box<dyn HostWallClock>,
    pub(crate) monotonic_clock: Box<dyn HostMonotonicClock>,
}

impl WasiCtx {
    /// Starts building a context; the same as [`WasiCtxBuilder::new`].
    pub fn builder() -> WasiCtxBuilder {
        WasiCtxBuilder::new()
    }
}

impl fmt::Debug for WasiCtx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WasiCtx")
            .field("args", &self.args)
            .field("env", &self.env)
            .finish_non_exhaustive()
    }
}

/// Says what a guest may see and use. See the [crate's example](crate).
///
/// A new builder gives nothing away: no arguments, no environment, no
/// directories, no sockets, an empty standard input, and a standard output and
/// standard error that swallow what is written. Clocks and random numbers are
/// the host's.
pub struct WasiCtxBuilder {
    args: Vec<String>,
    env: Vec<(String, String)>,
    stdin: Box<dyn InputStream>,
    stdout: Box<dyn OutputStream>,
    stderr: Box<dyn OutputStream>,
    preopens: Vec<Preopen>,
    sockets: Vec<Socket>,
    random: Option<Box<dyn RngCore + Send>>,
    wall_clock: Box<dyn HostWallClock>,
    monotonic_clock: Option<Box<dyn HostMonotonicClock>>,
}

impl Default for WasiCtxBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for WasiCtxBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WasiCtxBuilder")
            .field("args", &self.args)
            .field("env", &self.env)
            .finish_non_exhaustive()
    }
}

impl WasiCtxBuilder {
    /// A builder that gives nothing away.
    pub fn new() -> Self {
        Self {
            args: Vec::new(),
            env: Vec::new(),
            stdin: Box::new(ClosedInputStream),
            stdout: Box::new(SinkOutputStream),
            stderr: Box::new(SinkOutputStream),
            preopens: Vec::new(),
            sockets: Vec::new(),
            random: None,
            wall_clock: Box::new(SystemWallClock),
            monotonic_clock: None,
        }
    }

    /// Appends a command-line argument. The first is the program's name.
    pub fn arg(&mut self, arg: impl AsRef<str>) -> &mut Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// Appends command-line arguments.
    pub fn args(&mut self, args: &[impl AsRef<str>]) -> &mut Self {
        self.args
            .extend(args.iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// Appends the arguments of this process, its name included. What is not
    /// Unicode in them is replaced by `U+FFFD`.
    pub fn inherit_args(&mut self) -> &mut Self {
        self.args
            .extend(std::env::args_os().map(|arg| arg.to_string_lossy().into_owned()));
        self
    }

    /// Sets an environment variable, in place of an earlier one of that name.
    pub fn env(&mut self, name: impl AsRef<str>, value: impl AsRef<str>) -> &mut Self {
        let (name, value) = (name.as_ref(), value.as_ref().to_owned());
        match self.env.iter_mut().find(|(known, _)| known == name) {
            Some((_, known)) => *known = value,
            None => self.env.push((name.to_owned(), value)),
        }
        self
    }

    /// Sets environment variables, in place of earlier ones of those names.
    pub fn envs(&mut self, variables: &[(impl AsRef<str>, impl AsRef<str>)]) -> &mut Self {
        for (name, value) in variables {
            self.env(name, value);
        }
        self
    }

    /// Sets the environment variables of this process. What is not Unicode in
    /// them is replaced by `U+FFFD`.
    pub fn inherit_env(&mut self) -> &mut Self {
        for (name, value) in std::env::vars_os() {
            self.env(name.to_string_lossy(), value.to_string_lossy());
        }
        self
    }

    /// Sets the stream that the guest reads as its standard input.
    pub fn stdin(&mut self, stream: impl InputStream) -> &mut Self {
        self.stdin = Box::new(stream);
        self
    }

    /// Sets the stream that the guest writes as its standard output.
    pub fn stdout(&mut self, stream: impl OutputStream) -> &mut Self {
        self.stdout = Box::new(stream);
        self
    }

    /// Sets the stream that the guest writes as its standard error.
    pub fn stderr(&mut self, stream: impl OutputStream) -> &mut Self {
        self.stderr = Box::new(stream);
        self
    }

    /// Lets the guest read the standard input of this process.
    pub fn inherit_stdin(&mut self) -> &mut Self {
        self.stdin(streams::stdin())
    }

    /// Lets the guest write the standard output of this process.
    pub fn inherit_stdout(&mut self) -> &mut Self {
        self.stdout(streams::stdout())
    }

    /// Lets the guest write the standard error of this process.
    pub fn inherit_stderr(&mut self) -> &mut Self {
        self.stderr(streams::stderr())
    }

    /// Lets the guest use the three standard streams of this process.
    pub fn inherit_stdio(&mut self) -> &mut Self {
        self.inherit_stdin().inherit_stdout().inherit_stderr()
    }

    /// Opens the directory `host_path` of this machine for the guest, which
    /// finds it under the name `guest_path`. The permissions hold for all
    /// that is reached through it.
    ///
    /// The guest finds its directories in the order of these calls, as
    /// descriptors 3, 4 and so on.
    ///
    /// # Errors
    ///
    /// If `host_path` cannot be opened or is not a directory.
    pub fn preopened_dir(
        &mut self,
        host_path: impl AsRef<Path>,
        guest_path: impl AsRef<str>,
        dir_perms: DirPerms,
        file_perms: FilePerms,
    ) -> Result<&mut Self> {
        let host_path = host_path.as_ref();
        let guest_path = guest_path.as_ref().to_owned();
        let dir = Dir::open_ambient_dir(host_path, ambient_authority()).with_context(|| {
            format!(
                "failed to open the directory `{}` for the guest as `{guest_path}`",
                host_path.display()
            )
        })?;
        self.preopens.push(Preopen {
            dir,
            guest_path,
            dir_perms,
            file_perms,
        });
        Ok(self)
    }

    /// Gives the guest an open socket: a listener, from which it accepts
    /// connections, or a connected stream.
    ///
    /// The guest finds its sockets in the order of these calls, as the
    /// descriptors after those of its directories.
    pub fn preopened_socket(&mut self, socket: impl Into<Socket>) -> &mut Self {
        self.sockets.push(socket.into());
        self
    }

    /// Sets where `random_get` takes its bytes from. Guests make keys from
    /// them: outside of tests the generator must be cryptographically secure.
    ///
    /// By default it is one that the operating system seeds.
    pub fn secure_random(&mut self, random: impl RngCore + Send + 'static) -> &mut Self {
        self.random = Some(Box::new(random));
        self
    }

    /// Makes `random_get` give the same bytes in every run that uses `seed`,
    /// for tests and reproducible runs. The bytes are not secret.
    pub fn random_seed(&mut self, seed: u64) -> &mut Self {
        self.secure_random(cap_rand::rngs::StdRng::seed_from_u64(seed))
    }

    /// Sets the clock that shows the guest the date and time.
    pub fn wall_clock(&mut self, clock: impl HostWallClock + 'static) -> &mut Self {
        self.wall_clock = Box::new(clock);
        self
    }

    /// Sets the clock by which the guest measures time that passes. By default
    /// it starts at zero when the context is built.
    ///
    /// Waiting in `poll_oneoff` takes as long as this clock says is left when
    /// the call begins, by the host's time.
    pub fn monotonic_clock(&mut self, clock: impl HostMonotonicClock + 'static) -> &mut Self {
        self.monotonic_clock = Some(Box::new(clock));
        self
    }

    /// Builds the context, and leaves the builder as new.
    pub fn build(&mut self) -> WasiCtx {
        let built = std::mem::take(self);
        WasiCtx {
            args: built.args,
            env: built.env,
            stdin: built.stdin,
            stdout: built.stdout,
            stderr: built.stderr,
            preopens: built.preopens,
            sockets: built.sockets,
            random: built
                .random
                .unwrap_or_else(|| Box::new(cap_rand::std_rng_from_os_rng(ambient_authority()))),
            wall_clock: built.wall_clock,
            monotonic_clock: built
                .monotonic_clock
                .unwrap_or_else(|| Box::new(SystemMonotonicClock::new())),
        }
    }

    /// Builds the context for WASI preview 1, and leaves the builder as new.
    pub fn build_p1(&mut self) -> WasiP1Ctx {
        WasiP1Ctx::new(self.build())
    }
}
