//! Engines as commands: a sample is a process from its start to its end.

use std::cell::OnceCell;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;
use std::{env, fs};

use anyhow::{Context, Result, bail, ensure};

use super::process::Scratch;
use super::{Engine, Role, Sample, Session, node};
use crate::benchmarks::{Benchmark, Job, Work};

/// The release that is asked for.
const WASMTIME: &str = "48.0.8";

/// One that is not there is an error when it is first used.
pub fn all(node: Option<&Path>, wanted: &dyn Fn(&str) -> bool) -> Result<Vec<Box<dyn Engine>>> {
    let mut tools = vec![
        Tool::new("waxwing command", Role::Subject, Kind::Waxwing, &[]),
        Tool::new(
            "waxwing command fast",
            Role::Variant,
            Kind::Waxwing,
            &[
                "-O",
                "opt-level=none",
                "-C",
                "regalloc-algorithm=single-pass",
                // Its frames are larger.
                "-W",
                "max-wasm-stack=4M",
            ],
        ),
        Tool::new(
            "wasmtime command",
            Role::Rival,
            Kind::Wasmtime,
            &["-C", "cache=n"],
        ),
        Tool::new(
            "wasmtime command winch",
            Role::Peer,
            Kind::Wasmtime,
            &["-C", "cache=n,compiler=winch"],
        ),
        Tool::new("node command", Role::Standard, Kind::Node, &[]),
    ];
    tools.retain(|it| wanted(it.name));
    for tool in &mut tools {
        tool.node = node.map(Path::to_path_buf);
    }
    Ok(tools
        .into_iter()
        .map(|it| -> Box<dyn Engine> { Box::new(it) })
        .collect())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Waxwing,
    Wasmtime,
    Node,
}

struct Tool {
    name: &'static str,
    role: Role,
    kind: Kind,
    flags: &'static [&'static str],
    node: Option<PathBuf>,
    command: OnceCell<PathBuf>,
    version: OnceCell<String>,
}

/// What the environment variable names, or else what is in `PATH` under that name.
fn found(variable: &str, name: &str) -> Option<PathBuf> {
    if let Some(command) = env::var_os(variable) {
        return Some(command.into());
    }
    let path = env::var_os("PATH")?;
    env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|command| command.is_file())
}

fn output(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .output()
        .with_context(|| format!("cannot run {}", command.get_program().display()))?;
    ensure!(
        output.status.success(),
        "{command:?} ended with {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// wasmtime's command of the release that is asked for: the one found, or else the one under `target/`.
fn wasmtime() -> PathBuf {
    found("WASMTIME", "wasmtime").unwrap_or_else(|| wasmtime_folder().join("bin/wasmtime"))
}

fn wasmtime_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("target")
        .join(format!("wasmtime-{WASMTIME}"))
}

/// Installs wasmtime's command unless it is there.
fn install_wasmtime() -> Result<()> {
    let folder = wasmtime_folder();
    if !wasmtime().exists() {
        eprintln!(
            "installing wasmtime-cli {WASMTIME} from crates.io into {}",
            folder.display()
        );
        let install = ["install", "wasmtime-cli", "--locked", "--version", WASMTIME];
        output(
            Command::new("cargo")
                .args(install)
                .arg("--root")
                .arg(&folder),
        )?;
    }
    Ok(())
}

/// `WAXWING`, or else what `benches/run` has built.
fn waxwing() -> Result<PathBuf> {
    if let Some(command) = env::var_os("WAXWING") {
        return Ok(command.into());
    }
    let command = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/release/waxwing");
    ensure!(
        command.exists(),
        "there is no target/release/waxwing: `benches/run` builds it, or WAXWING names one"
    );
    Ok(command)
}

impl Tool {
    fn new(name: &'static str, role: Role, kind: Kind, flags: &'static [&'static str]) -> Tool {
        Tool {
            name,
            role,
            kind,
            flags,
            node: None,
            command: OnceCell::new(),
            version: OnceCell::new(),
        }
    }

    fn command(&self) -> Result<Command> {
        if let Some(command) = self.command.get() {
            return Ok(Command::new(command));
        }
        let command = match self.kind {
            Kind::Waxwing => waxwing()?,
            Kind::Wasmtime => wasmtime(),
            Kind::Node => node::find(self.node.as_deref())?,
        };
        Ok(Command::new(self.command.get_or_init(|| command)))
    }
}

impl Engine for Tool {
    fn name(&self) -> &str {
        self.name
    }

    fn version(&self) -> &str {
        self.version.get_or_init(|| {
            let text = self
                .command()
                .and_then(|mut it| output(it.arg("--version")));
            text.map_or_else(|error| format!("{error:#}"), |it| it.trim().to_string())
        })
    }

    fn role(&self) -> Role {
        self.role
    }

    fn takes(&self, benchmark: &Benchmark) -> bool {
        match benchmark.work {
            Work::Command { precompiled, .. } => {
                !precompiled || matches!(self.role, Role::Subject | Role::Rival)
            }
            _ => false,
        }
    }

    fn session<'e>(&'e self, benchmark: &Benchmark, wasm: &[u8]) -> Result<Box<dyn Session + 'e>> {
        let Work::Command {
            precompiled, job, ..
        } = benchmark.work
        else {
            bail!("this is not done by a command");
        };
        if self.kind == Kind::Wasmtime {
            install_wasmtime()?;
        }
        let folder = Folder::new()?;
        let mut module = folder.0.0.join("program.wasm");
        fs::write(&module, wasm)?;
        if let Some(input) = job.input {
            let from = Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("programs")
                .join(input);
            let name = from.file_name().context("the input has no name")?;
            fs::copy(&from, folder.0.0.join(name))
                .with_context(|| format!("cannot copy {}", from.display()))?;
        }
        if precompiled {
            let artifact = folder.0.0.join("program.cwasm");
            let mut compile = self.command()?;
            compile.arg("compile").args(self.flags);
            output(compile.arg(&module).arg("-o").arg(&artifact))?;
            module = artifact;
        }
        Ok(Box::new(Start {
            tool: self,
            folder,
            module,
            precompiled,
            job,
        }))
    }
}

/// A folder that is removed when it is no longer needed.
struct Folder(Scratch);

impl Folder {
    fn new() -> Result<Folder> {
        let folder = Scratch::new("folder");
        fs::create_dir_all(&folder.0)
            .with_context(|| format!("cannot create {}", folder.0.display()))?;
        Ok(Folder(folder))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // It is in a folder for temporary files.
        let _ = fs::remove_dir_all(&self.0.0);
    }
}

struct Start<'e> {
    tool: &'e Tool,
    folder: Folder,
    module: PathBuf,
    precompiled: bool,
    job: Job,
}

impl Start<'_> {
    fn command(&self) -> Result<Command> {
        let mut command = self.tool.command()?;
        command.current_dir(&self.folder.0.0);
        match self.tool.kind {
            Kind::Waxwing | Kind::Wasmtime => {
                command.arg("run").args(self.tool.flags);
                if self.precompiled {
                    command.arg("--allow-precompiled");
                }
                command.args(["--dir", ".::/"]);
            }
            Kind::Node => {
                command.args(["--no-warnings"]);
                let driver = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/engine/node/wasi.mjs");
                command.arg(driver);
            }
        }
        command.arg(&self.module);
        command.args(self.job.arguments);
        Ok(command)
    }
}

impl Session for Start<'_> {
    fn sample(&mut self) -> Result<Sample> {
        let mut command = self.command()?;
        let start = Instant::now();
        let text = output(&mut command)?;
        let time = start.elapsed();
        ensure!(
            text.contains(self.job.output),
            "the output is {text:?}, expected {:?}",
            self.job.output
        );
        Ok(Sample::new(time, 0))
    }
}
