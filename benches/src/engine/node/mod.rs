//! V8, as node has it: a process for each session.

use std::env::consts::{ARCH, OS};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use super::process::Remote;
use super::{Engine, Role, Session};
use crate::benchmarks::{Benchmark, Group, Size, Threads, Work};

/// The release of node that npm is asked for.
const NODE: &str = "26.10.0";

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Both of its compilers, as they come.
    Plain,
    /// The one that optimizes alone, for all functions at once, as the other engines' compilers do.
    TurboFan,
    /// The other one alone.
    Liftoff,
}

/// Each mode, with its name.
pub const MODES: [(Mode, &str); 3] = [
    (Mode::Plain, "v8"),
    (Mode::TurboFan, "v8 turbofan"),
    (Mode::Liftoff, "v8 liftoff"),
];

pub struct Node {
    mode: Mode,
    name: &'static str,
    command: PathBuf,
    version: String,
}

/// `command`, or else the one under `target/`, which npm installs there if there is none.
pub fn find(command: Option<&Path>) -> Result<PathBuf> {
    match command {
        Some(command) => Ok(command.to_path_buf()),
        None => installed(),
    }
}

impl Node {
    pub fn new(mode: Mode, name: &'static str, command: Option<&Path>) -> Result<Node> {
        let command = find(command)?;
        let versions = output(Command::new(&command).args([
            "-p",
            "`${process.versions.v8} (node ${process.versions.node})`",
        ]))?;
        Ok(Node {
            mode,
            name,
            command,
            version: versions.trim().to_string(),
        })
    }
}

/// The package of node's binaries for this platform, which npm's `node` depends on.
fn installed() -> Result<PathBuf> {
    let os = if OS == "macos" { "darwin" } else { OS };
    let arch = if ARCH == "x86_64" { "x64" } else { "arm64" };
    let package = format!("node-{os}-{arch}");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("target")
        .join(format!("node-{NODE}"));
    let command = folder.join("node_modules").join(&package).join("bin/node");
    if !command.exists() {
        eprintln!(
            "installing {package}@{NODE} from npm into {}",
            folder.display()
        );
        fs::create_dir_all(&folder)
            .with_context(|| format!("cannot create {}", folder.display()))?;
        output(
            Command::new("npm")
                .args([
                    "install",
                    "--no-audit",
                    "--no-fund",
                    "--no-save",
                    "--prefix",
                ])
                .arg(&folder)
                .arg(format!("{package}@{NODE}")),
        )?;
    }
    Ok(command)
}

fn output(command: &mut Command) -> Result<String> {
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot run {}", command.get_program().display()))?;
    ensure!(
        output.status.success(),
        "{command:?} ended with {}",
        output.status
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

impl Engine for Node {
    fn name(&self) -> &str {
        self.name
    }

    fn version(&self) -> &str {
        &self.version
    }

    fn role(&self) -> Role {
        match self.mode {
            Mode::Plain => Role::Standard,
            Mode::TurboFan | Mode::Liftoff => Role::Peer,
        }
    }

    fn takes(&self, benchmark: &Benchmark) -> bool {
        match (benchmark.group, benchmark.work) {
            (Group::Gc, _) => self.mode == Mode::Plain,
            (_, Work::Run { size, .. }) => self.mode == Mode::Plain && size == Size::Full,
            (_, Work::Compile { long, .. }) => match self.mode {
                Mode::Plain => false,
                Mode::TurboFan => !long,
                Mode::Liftoff => true,
            },
            _ => false,
        }
    }

    fn session<'e>(&'e self, benchmark: &Benchmark, wasm: &[u8]) -> Result<Box<dyn Session + 'e>> {
        let one_thread = matches!(
            benchmark.work,
            Work::Compile {
                threads: Threads::One,
                ..
            }
        );
        let flags: &[&str] = match self.mode {
            Mode::Plain => &[],
            Mode::TurboFan => &["--no-liftoff", "--no-wasm-lazy-compilation"],
            Mode::Liftoff => &["--liftoff-only", "--no-wasm-lazy-compilation"],
        };
        let command = move || {
            let driver = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/engine/node/driver.mjs");
            let mut command = Command::new(&self.command);
            command.args(flags);
            if one_thread {
                command.arg("--single-threaded");
            }
            command.arg(driver);
            command
        };
        Ok(Box::new(Remote::new(command, self.name, benchmark, wasm)?))
    }

    fn session_apart<'e>(
        &'e self,
        benchmark: &Benchmark,
        wasm: &[u8],
    ) -> Result<Box<dyn Session + 'e>> {
        self.session(benchmark, wasm)
    }
}
