//! Engines in processes of their own, which answer in lines of JSON.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use std::{env, fs, io, process};

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde::{Deserialize, Serialize};

use super::{Engine, Sample, Session};
use crate::benchmarks::{self, Benchmark, Group, Work};

/// The hidden option of this command that makes it answer.
pub const SERVE: &str = "--serve";

#[derive(Serialize)]
#[serde(tag = "request", rename_all = "snake_case")]
enum Request<'r> {
    Load {
        engine: &'r str,
        group: Group,
        benchmark: &'r str,
        file: &'r Path,
        work: Work,
    },
    Sample,
}

#[derive(Deserialize)]
#[serde(tag = "request", rename_all = "snake_case")]
enum Asked {
    Load {
        engine: String,
        group: Group,
        benchmark: String,
        file: PathBuf,
    },
    Sample,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Reply {
    Loaded,
    /// JSON has no 64-bit integers: `checksum` is decimal digits.
    Sample {
        nanoseconds: f64,
        checksum: String,
        #[serde(default)]
        memory: Option<u64>,
    },
    Error(String),
}

/// A session in a process that `command` starts; in a new one for each sample where the work asks for that.
pub struct Remote<'e> {
    command: Box<dyn Fn() -> Command + 'e>,
    engine: &'e str,
    benchmark: Benchmark,
    wasm: Scratch,
    process: Option<Process>,
}

/// A file that is removed when it is no longer needed.
pub struct Scratch(pub PathBuf);

impl Scratch {
    /// A file of its own among the temporary ones.
    pub fn new(extension: &str) -> Scratch {
        static COUNTER: AtomicUsize = AtomicUsize::new(0);
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let name = format!("waxwing-bench-{}-{number}.{extension}", process::id());
        Scratch(env::temp_dir().join(name))
    }

    pub fn write(extension: &str, bytes: &[u8]) -> Result<Scratch> {
        let file = Scratch::new(extension);
        fs::write(&file.0, bytes).with_context(|| format!("cannot write {}", file.0.display()))?;
        Ok(file)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // It is in a folder for temporary files.
        let _ = fs::remove_file(&self.0);
    }
}

impl<'e> Remote<'e> {
    pub fn new(
        command: impl Fn() -> Command + 'e,
        engine: &'e str,
        benchmark: &Benchmark,
        wasm: &[u8],
    ) -> Result<Remote<'e>> {
        let mut remote = Remote {
            command: Box::new(command),
            engine,
            benchmark: benchmark.clone(),
            wasm: Scratch::write("wasm", wasm)?,
            process: None,
        };
        if !remote.fresh() {
            remote.process = Some(remote.start()?);
        }
        Ok(remote)
    }

    /// This command, answering.
    pub fn of_this_command(
        engine: &'e str,
        benchmark: &Benchmark,
        wasm: &[u8],
    ) -> Result<Remote<'e>> {
        let this = env::current_exe().context("this command has no file")?;
        let command = move || {
            let mut command = Command::new(&this);
            command.arg(SERVE);
            command
        };
        Remote::new(command, engine, benchmark, wasm)
    }

    fn fresh(&self) -> bool {
        matches!(
            self.benchmark.work,
            Work::Compile { .. } | Work::Idle { .. }
        )
    }

    fn start(&self) -> Result<Process> {
        let mut process = Process::new(&mut (self.command)())?;
        process.ask(&Request::Load {
            engine: self.engine,
            group: self.benchmark.group,
            benchmark: self.benchmark.name,
            file: &self.wasm.0,
            work: self.benchmark.work,
        })?;
        Ok(process)
    }
}

impl Session for Remote<'_> {
    fn sample(&mut self) -> Result<Sample> {
        if self.fresh() {
            let mut process = self.start()?;
            let mut sample = process.sample()?;
            sample.memory = sample.memory.or_else(|| process.peak_memory());
            return Ok(sample);
        }
        match &mut self.process {
            Some(process) => process.sample(),
            None => bail!("there is no process"),
        }
    }
}

struct Process {
    name: String,
    child: Child,
    requests: ChildStdin,
    replies: BufReader<ChildStdout>,
}

impl Process {
    fn new(command: &mut Command) -> Result<Process> {
        let name = command.get_program().display().to_string();
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot run {name}"))?;
        let (Some(requests), Some(replies)) = (child.stdin.take(), child.stdout.take()) else {
            bail!("{name} has no pipes");
        };
        Ok(Process {
            name,
            child,
            requests,
            replies: BufReader::new(replies),
        })
    }

    fn ask(&mut self, request: &Request<'_>) -> Result<Reply> {
        let name = &self.name;
        writeln!(self.requests, "{}", serde_json::to_string(request)?)
            .with_context(|| format!("cannot ask {name}"))?;
        let mut line = String::new();
        self.replies
            .read_line(&mut line)
            .with_context(|| format!("cannot hear {name}"))?;
        ensure!(
            !line.is_empty(),
            "{name} has ended: {:?}",
            self.child.wait()
        );
        match serde_json::from_str(&line).with_context(|| format!("{name} says {line:?}"))? {
            Reply::Error(error) => Err(anyhow!("{error}")),
            reply => Ok(reply),
        }
    }

    fn sample(&mut self) -> Result<Sample> {
        match self.ask(&Request::Sample)? {
            Reply::Sample {
                nanoseconds,
                checksum,
                memory,
            } => Ok(Sample {
                time: Duration::from_nanos(nanoseconds as u64),
                checksum: checksum
                    .parse()
                    .with_context(|| format!("{checksum:?} is no checksum"))?,
                memory,
            }),
            _ => bail!("{} has no sample", self.name),
        }
    }

    /// The most memory that it has had, in bytes, where the system tells.
    fn peak_memory(&self) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let line = status.lines().find_map(|it| it.strip_prefix("VmHWM:"))?;
        let kibibytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
        Some(kibibytes << 10)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Errors mean that it has ended, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Answers requests until there are no more. `engines` finds an engine by its name.
pub fn serve(engines: &dyn Fn(&str) -> Result<Box<dyn Engine>>) -> Result<()> {
    let mut session: Option<Box<dyn Session>> = None;
    for line in io::stdin().lines() {
        let reply = answer(&line?, engines, &mut session);
        let reply = reply.unwrap_or_else(|error| Reply::Error(format!("{error:#}")));
        println!("{}", serde_json::to_string(&reply)?);
    }
    Ok(())
}

fn answer(
    line: &str,
    engines: &dyn Fn(&str) -> Result<Box<dyn Engine>>,
    session: &mut Option<Box<dyn Session>>,
) -> Result<Reply> {
    match serde_json::from_str(line)? {
        Asked::Load {
            engine,
            group,
            benchmark,
            file,
        } => {
            let benchmark = benchmarks::all()
                .iter()
                .find(|it| it.group == group && it.name == benchmark)
                .context("there is no such benchmark")?;
            let wasm = fs::read(&file);
            let wasm = wasm.with_context(|| format!("cannot read {}", file.display()))?;
            // It is the only one that this process ever has.
            let engine: &'static dyn Engine = Box::leak(engines(&engine)?);
            *session = Some(engine.session(benchmark, &wasm)?);
            Ok(Reply::Loaded)
        }
        Asked::Sample => {
            let session = session.as_mut().context("there is no session")?;
            let sample = session.sample()?;
            Ok(Reply::Sample {
                nanoseconds: sample.time.as_nanos() as f64,
                checksum: sample.checksum.to_string(),
                memory: sample.memory,
            })
        }
    }
}
