//! V8, as node has it: a process for each session, spoken to in lines of JSON.

use std::env::consts::{ARCH, OS};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;
use std::{fs, process};

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde::{Deserialize, Serialize};

use super::{Engine, Role, Sample, Session};
use crate::benchmarks::{Benchmark, Group, Work};

pub const NAME: &str = "v8";

/// The release of node that npm is asked for.
const NODE: &str = "26.10.0";

pub struct Node {
    command: PathBuf,
    version: String,
}

impl Node {
    /// `command`, or else the one under `target/`, which npm installs there if there is none.
    pub fn find(command: Option<&Path>) -> Result<Node> {
        let command = match command {
            Some(command) => command.to_path_buf(),
            None => installed()?,
        };
        let versions = output(Command::new(&command).args([
            "-p",
            "`${process.versions.v8} (node ${process.versions.node})`",
        ]))?;
        Ok(Node {
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
        NAME
    }

    fn version(&self) -> &str {
        &self.version
    }

    fn role(&self) -> Role {
        Role::Standard
    }

    fn takes(&self, benchmark: &Benchmark) -> bool {
        benchmark.group == Group::Gc
    }

    fn session<'e>(&'e self, benchmark: &Benchmark, wasm: &[u8]) -> Result<Box<dyn Session + 'e>> {
        let file = std::env::temp_dir().join(format!("waxwing-bench-{}.wasm", process::id()));
        fs::write(&file, wasm).with_context(|| format!("cannot write {}", file.display()))?;
        let driver = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/engine/node/driver.mjs");
        let mut child = Command::new(&self.command)
            .arg(driver)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot run {}", self.command.display()))?;
        let (Some(requests), Some(replies)) = (child.stdin.take(), child.stdout.take()) else {
            bail!("{} has no pipes", self.command.display());
        };
        let mut process = Process {
            child,
            requests,
            replies: BufReader::new(replies),
        };
        let loaded = process.ask(&Request::Load {
            file: &file,
            work: benchmark.work,
        });
        fs::remove_file(&file).with_context(|| format!("cannot remove {}", file.display()))?;
        loaded?;
        Ok(Box::new(process))
    }
}

#[derive(Serialize)]
#[serde(tag = "request", rename_all = "snake_case")]
enum Request<'r> {
    Load { file: &'r Path, work: Work },
    Sample,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Reply {
    Loaded,
    /// JSON has no 64-bit integers: `checksum` is decimal digits.
    Sample {
        nanoseconds: f64,
        checksum: String,
    },
    Error(String),
}

struct Process {
    child: Child,
    requests: ChildStdin,
    replies: BufReader<ChildStdout>,
}

impl Process {
    fn ask(&mut self, request: &Request<'_>) -> Result<Reply> {
        writeln!(self.requests, "{}", serde_json::to_string(request)?)
            .context("cannot ask node")?;
        let mut line = String::new();
        self.replies
            .read_line(&mut line)
            .context("cannot hear node")?;
        ensure!(
            !line.is_empty(),
            "node has ended: {:?}",
            self.child.try_wait()
        );
        match serde_json::from_str(&line).with_context(|| format!("node says {line:?}"))? {
            Reply::Error(error) => Err(anyhow!("in node: {error}")),
            reply => Ok(reply),
        }
    }
}

impl Session for Process {
    fn sample(&mut self) -> Result<Sample> {
        match self.ask(&Request::Sample)? {
            Reply::Sample {
                nanoseconds,
                checksum,
            } => Ok(Sample {
                time: Duration::from_nanos(nanoseconds as u64),
                checksum: checksum
                    .parse()
                    .with_context(|| format!("{checksum:?} is no checksum"))?,
            }),
            _ => bail!("node has no sample"),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Errors mean that it has ended, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
