//! What is printed and written.

pub mod chart;
mod scale;
pub mod table;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};
use std::{fs, thread};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use self::table::{Table, date, seconds, verdict};
use crate::benchmarks::{Benchmark, Group, Heap};
use crate::engine::{Engine, Role};
use crate::measure::Outcome;
use crate::statistics::{Summary, geometric_mean};

/// How many times as long as the standard a benchmark that allocates may take.
const ALLOCATING_LIMIT: f64 = 1.5;

/// Quartiles further apart than this part of the median say that a ratio is not to be relied upon.
pub const TOO_FAR: f64 = 0.1;

#[derive(Serialize, Deserialize)]
pub struct Report {
    pub group: Group,
    pub machine: Machine,
    pub engines: Vec<Described>,
    pub benchmarks: Vec<Row>,
}

#[derive(Serialize, Deserialize)]
pub struct Described {
    pub name: String,
    pub version: String,
    pub role: Role,
}

/// A benchmark and what became of it.
#[derive(Serialize, Deserialize)]
pub struct Row {
    pub name: String,
    pub what: String,
    program: String,
    /// The length of the module, in bytes.
    bytes: usize,
    work: Value,
    heap: Heap,
    /// By the names of the engines.
    engines: BTreeMap<String, Outcome>,
}

impl Row {
    /// What was measured in the engine of this name.
    pub fn summary(&self, engine: &str) -> Option<&Summary> {
        match self.engines.get(engine)? {
            Outcome::Measured(summary) => Some(summary),
            Outcome::Failed { .. } => None,
        }
    }

    pub fn median(&self, engine: &str) -> Option<f64> {
        Some(self.summary(engine)?.median)
    }

    /// How many times as long as in `peer` it takes in `engine`.
    pub fn ratio(&self, engine: &str, peer: &str) -> Option<f64> {
        Some(self.median(engine)? / self.median(peer)?)
    }

    /// The same of the least that both took.
    pub fn ratio_of_minima(&self, engine: &str, peer: &str) -> Option<f64> {
        Some(self.summary(engine)?.minimum / self.summary(peer)?.minimum)
    }

    /// Whether it is a program with less to do than another line has for it.
    pub fn is_small(&self) -> bool {
        self.work["size"] == "small"
    }

    /// Whether the spread of one of the two makes their ratio meaningless.
    pub fn is_doubtful(&self, engine: &str, peer: &str) -> bool {
        [engine, peer]
            .iter()
            .filter_map(|it| self.summary(it))
            .any(|it| it.spread() > TOO_FAR)
    }
}

#[derive(Serialize, Deserialize)]
pub struct Machine {
    cpu: String,
    threads: usize,
    system: String,
    commit: String,
    /// Seconds since 1970.
    time: u64,
    /// The mean number of runnable threads in the minute before the first benchmark and before the end.
    load: [String; 2],
}

impl Machine {
    fn new() -> Machine {
        let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let cpu = cpu
            .lines()
            .find_map(|line| line.strip_prefix("model name"))
            .unwrap_or("an unknown CPU");
        Machine {
            cpu: cpu.trim_start_matches([' ', '\t', ':']).to_string(),
            threads: thread::available_parallelism().map_or(0, usize::from),
            system: first_line("uname", &["-srm"]),
            commit: first_line(
                "git",
                &[
                    "-C",
                    env!("CARGO_MANIFEST_DIR"),
                    "describe",
                    "--always",
                    "--dirty",
                ],
            ),
            time: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |time| time.as_secs()),
            load: [load(), String::new()],
        }
    }

    pub fn line(&self) -> String {
        let Machine {
            cpu,
            threads,
            system,
            commit,
            time,
            load: [before, after],
        } = self;
        let day = date(*time);
        format!(
            "{cpu}, {threads} threads, {system}; load {before} before, {after} after; commit {commit}; {day}."
        )
    }
}

fn first_line(command: &str, arguments: &[&str]) -> String {
    let output = Command::new(command).args(arguments).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    text.ok()
        .and_then(|text| text.lines().next().map(str::to_string))
        .unwrap_or_else(|| "unknown".into())
}

fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or_default().to_string()
}

impl Report {
    pub fn new(group: Group, engines: &[&dyn Engine]) -> Report {
        Report {
            group,
            engines: engines
                .iter()
                .map(|engine| Described {
                    name: engine.name().into(),
                    version: engine.version().into(),
                    role: engine.role(),
                })
                .collect(),
            benchmarks: Vec::new(),
            machine: Machine::new(),
        }
    }

    /// `outcomes` are in the order of the engines.
    pub fn add(&mut self, benchmark: &Benchmark, bytes: usize, outcomes: Vec<Option<Outcome>>) {
        let engines = self.engines.iter().zip(outcomes);
        let engines = engines.filter_map(|(engine, it)| Some((engine.name.clone(), it?)));
        self.benchmarks.push(Row {
            name: benchmark.name.into(),
            what: benchmark.what.into(),
            program: benchmark.program.into(),
            bytes,
            work: json!(benchmark.work),
            heap: benchmark.heap,
            engines: engines.collect(),
        });
    }

    pub fn finish(&mut self) {
        self.machine.load[1] = load();
    }

    /// Writes GROUP.json, GROUP.md and GROUP.svg.
    pub fn write(&self, folder: &Path) -> Result<()> {
        fs::create_dir_all(folder)
            .with_context(|| format!("cannot create {}", folder.display()))?;
        let json = serde_json::to_string_pretty(self)? + "\n";
        let chart = chart::chart(self)?;
        for (extension, text) in [("md", self.markdown()), ("json", json), ("svg", chart)] {
            let path = folder.join(self.group.name()).with_extension(extension);
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
            eprintln!("wrote {}", path.display());
        }
        Ok(())
    }

    pub fn markdown(&self) -> String {
        let mut text = format!(
            "# Benchmarks: {}\n\n{}\n\n",
            self.group.name(),
            self.machine.line()
        );
        for engine in &self.engines {
            let _ = writeln!(text, "- {}: {}", engine.name, engine.version);
        }
        text.push('\n');
        self.tables(&mut text);
        text
    }

    /// All tables of the group.
    pub fn tables(&self, text: &mut String) {
        if matches!(
            self.group,
            Group::Run | Group::Compile | Group::Calls | Group::Cold
        ) {
            text.push_str(
                "Ratios are of the time of the first engine to that of the one above them: below 1.00, the first is faster. `?` is where \
                 the quartiles of one of the two are more than 10 % apart: the ratio says little.\n\n",
            );
        }
        match self.group {
            Group::Run => self.programs(text),
            Group::Compile => {
                self.side_by_side(text, "waxwing", |_| true);
                text.push_str("\nThe most memory that the process had, in MB, and what was compiled in a second, in MB:\n\n");
                self.memory(text);
            }
            Group::Cold => self.side_by_side(text, "waxwing command", |_| true),
            Group::Gc => {
                self.times(text);
                text.push_str("\nThe goals:\n\n");
                self.goals(text);
            }
            Group::Interrupt => {
                self.times(text);
                text.push_str("\nThe overhead: shortest times, beside those of the same engine without either.\n\n");
                self.overheads(text);
            }
            Group::Calls => {
                text.push_str(
                    "Of a thousand calls each: a microsecond here is a nanosecond for each.\n\n",
                );
                self.side_by_side(text, "waxwing", |_| true);
            }
            Group::Scale => {
                text.push_str("Instances at the same time that do nothing:\n\n");
                self.footprints(text);
                text.push_str("\nMore threads:\n\n");
                self.speed_ups(text);
            }
            Group::Start | Group::Artifact => {
                self.times(text);
                text.push_str("\nBeside the rival with the same strategy:\n\n");
                self.ratios(text);
            }
        }
    }

    /// The names of those that `subject` is compared with in tables.
    fn peers(&self) -> Vec<&str> {
        let peers = self.engines.iter();
        peers
            .filter(|it| !matches!(it.role, Role::Subject | Role::Variant))
            .map(|it| it.name.as_str())
            .collect()
    }

    /// A line for each of the benchmarks and engines.
    fn times(&self, text: &mut String) {
        text.push_str(
            "Ratios are to the time of the engine above them: below 1.00 is faster than it.\n\n",
        );
        let peers = self.peers();
        let mut table = Table::new(["benchmark", "engine", "median", "spread"]);
        table.rows[0].extend(peers.iter().map(|peer| format!("/ {peer}")));
        for row in &self.benchmarks {
            let mut name = row.name.as_str();
            for engine in &self.engines {
                let mut cells = vec![name.to_string(), engine.name.clone()];
                match row.engines.get(&engine.name) {
                    Some(Outcome::Measured(summary)) => {
                        cells.push(seconds(summary.median));
                        cells.push(format!("{:.1}%", summary.spread() * 100.0));
                        cells.extend(peers.iter().map(|peer| {
                            let peer = row.median(peer);
                            peer.map_or(String::new(), |it| format!("{:.2}", summary.median / it))
                        }));
                    }
                    Some(Outcome::Failed { .. }) => cells.push("failed".to_string()),
                    None => continue,
                }
                table.rows.push(cells);
                name = "";
            }
        }
        table.write(text);
    }

    /// A line for each benchmark that is `wanted`: the time of `subject`, and its ratio to that of each other engine.
    fn side_by_side(&self, text: &mut String, subject: &str, wanted: impl Fn(&Row) -> bool) {
        let rows: Vec<&Row> = self.benchmarks.iter().filter(|it| wanted(it)).collect();
        let others: Vec<&str> = self
            .engines
            .iter()
            .map(|it| it.name.as_str())
            .filter(|it| *it != subject)
            .filter(|it| rows.iter().any(|row| row.engines.contains_key(*it)))
            .collect();
        let mut table = Table::new(["benchmark", "what", subject, "spread"]);
        table.texts = 2;
        table.rows[0].extend(others.iter().map(|it| format!("/ {it}")));
        let mut ratios: Vec<Vec<f64>> = vec![Vec::new(); others.len()];
        for row in rows {
            let mut cells = vec![row.name.clone(), row.what.clone()];
            match row.summary(subject) {
                Some(summary) => cells.extend([
                    seconds(summary.median),
                    format!("{:.1}%", summary.spread() * 100.0),
                ]),
                None => cells.extend(["failed".to_string(), String::new()]),
            }
            for (other, ratios) in others.iter().zip(&mut ratios) {
                cells.push(match (row.engines.get(*other), row.ratio(subject, other)) {
                    (Some(Outcome::Failed { .. }), _) => "failed".to_string(),
                    (_, Some(ratio)) => {
                        ratios.push(ratio);
                        let doubt = if row.is_doubtful(subject, other) {
                            "?"
                        } else {
                            ""
                        };
                        format!("{doubt}{ratio:.2}")
                    }
                    _ => String::new(),
                });
            }
            table.rows.push(cells);
        }
        let mut means = vec![
            "geometric mean".to_string(),
            String::new(),
            String::new(),
            String::new(),
        ];
        means.extend(
            ratios
                .iter()
                .map(|it| geometric_mean(it).map_or(String::new(), |it| format!("{it:.2}"))),
        );
        table.rows.push(means);
        table.write(text);
    }

    /// The programs, and those that an interpreter runs with less to do.
    fn programs(&self, text: &mut String) {
        self.side_by_side(text, "waxwing", |row| !row.is_small());
        text.push_str(
            "\nWith the smaller of the two sizes that each program has, for an interpreter:\n\n",
        );
        self.side_by_side(text, "waxwing", Row::is_small);
    }

    fn memory(&self, text: &mut String) {
        let mut table = Table::new(["benchmark", "module"]);
        for engine in &self.engines {
            table.rows[0].extend([engine.name.clone(), "MB/s".to_string()]);
        }
        for row in &self.benchmarks {
            let size = row.bytes as f64 / 1e6;
            let mut cells = vec![row.name.clone(), format!("{size:.2}")];
            for engine in &self.engines {
                cells.extend(match row.summary(&engine.name) {
                    Some(it) => [
                        it.memory
                            .map_or(String::new(), |it| format!("{:.0}", it / 1e6)),
                        format!("{:.1}", size / it.median),
                    ],
                    None => [String::new(), String::new()],
                });
            }
            table.rows.push(cells);
        }
        table.write(text);
    }

    /// The measured outcomes of the engines in a role.
    fn with_role<'r>(&'r self, row: &'r Row, role: Role) -> impl Iterator<Item = &'r Summary> {
        self.engines
            .iter()
            .filter(move |engine| engine.role == role)
            .filter_map(|engine| row.summary(&engine.name))
    }

    fn goals(&self, text: &mut String) {
        let mut table = Table::new([
            "benchmark",
            "/ best wasmtime",
            "below 1",
            "/ v8",
            "at most 1.5",
        ]);
        let (mut to_rival, mut to_standard) = (Vec::new(), Vec::new());
        for row in &self.benchmarks {
            let mut cells = vec![row.name.clone()];
            let subject = self.with_role(row, Role::Subject).next();
            let rival = self
                .with_role(row, Role::Rival)
                .map(|it| it.median)
                .min_by(f64::total_cmp);
            let standard = self.with_role(row, Role::Standard).next();
            if let (Some(subject), Some(rival)) = (subject, rival) {
                let ratio = subject.median / rival;
                to_rival.push(ratio);
                cells.extend([format!("{ratio:.2}"), verdict(ratio < 1.0)]);
            } else {
                cells.extend([String::new(), "no".to_string()]);
            }
            if let (Some(subject), Some(standard)) = (subject, standard) {
                let ratio = subject.median / standard.median;
                to_standard.push(ratio);
                cells.push(format!("{ratio:.2}"));
                cells.push(match row.heap {
                    Heap::Allocates => verdict(ratio <= ALLOCATING_LIMIT),
                    _ => String::new(),
                });
            }
            table.rows.push(cells);
        }
        let mean =
            |ratios: &[f64]| geometric_mean(ratios).map_or(String::new(), |it| format!("{it:.2}"));
        table.rows.push(vec![
            "geometric mean".into(),
            mean(&to_rival),
            String::new(),
            mean(&to_standard),
        ]);
        table.write(text);
    }

    /// How much longer programs take that can be interrupted, in Waxwing and in its rival: by the shortest times, as what
    /// disturbs a program on one thread only makes it longer.
    fn overheads(&self, text: &mut String) {
        const MODES: [&str; 2] = ["epochs", "fuel"];
        let mut table = Table::new(["benchmark", "", "waxwing", "wasmtime", "less overhead"]);
        let mut means = [const { [const { Vec::new() }; 2] }; 2];
        let percent = |overhead: f64| format!("{:+.1}%", (overhead - 1.0) * 100.0);
        for row in &self.benchmarks {
            for (mode, means) in MODES.iter().zip(&mut means) {
                let overhead = |engine: &str| {
                    let with = row.summary(&format!("{engine} {mode}"))?;
                    Some(with.minimum / row.summary(engine)?.minimum)
                };
                let (Some(ours), Some(theirs)) = (overhead("waxwing"), overhead("wasmtime")) else {
                    continue;
                };
                means[0].push(ours);
                means[1].push(theirs);
                table.rows.push(vec![
                    row.name.clone(),
                    mode.to_string(),
                    percent(ours),
                    percent(theirs),
                    verdict(ours < theirs),
                ]);
            }
        }
        for (mode, means) in MODES.iter().zip(&means) {
            let [Some(ours), Some(theirs)] = [&means[0], &means[1]].map(|it| geometric_mean(it))
            else {
                continue;
            };
            table.rows.push(vec![
                "geometric mean".to_string(),
                mode.to_string(),
                percent(ours),
                percent(theirs),
                verdict(ours < theirs),
            ]);
        }
        table.write(text);
    }

    /// The time of an instance beside that in the rival with the same strategy, and beside that on one thread.
    fn ratios(&self, text: &mut String) {
        let mut table = Table::new([
            "benchmark",
            "strategy",
            "/ wasmtime",
            "at most 1",
            "/ 1 thread",
        ]);
        for row in &self.benchmarks {
            for (engine, strategy) in [("", "on demand"), (" pooling", "pooling")] {
                let ours = format!("waxwing{engine}");
                let Some(time) = row.median(&ours) else {
                    continue;
                };
                let mut cells = vec![row.name.clone(), strategy.to_string()];
                cells.extend(match row.ratio(&ours, &format!("wasmtime{engine}")) {
                    Some(ratio) => [format!("{ratio:.2}"), verdict(ratio <= 1.0)],
                    None => [String::new(), String::new()],
                });
                let single = row.name.rsplit_once(", ").map_or("", |(name, _)| name);
                let single = self.benchmarks.iter().find(|other| other.name == single);
                let single = single
                    .filter(|_| row.name.ends_with("threads"))
                    .and_then(|other| other.median(&ours));
                cells.push(single.map_or(String::new(), |single| format!("{:.2}", time / single)));
                table.rows.push(cells);
            }
        }
        table.write(text);
    }
}
