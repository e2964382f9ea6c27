//! What is printed and written.

use std::fmt::Write as _;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};
use std::{fs, thread};

use anyhow::Result;
use serde::Serialize;
use serde_json::{Value, json};

use crate::benchmarks::{Benchmark, Group, Heap};
use crate::engine::{Engine, Role};
use crate::measure::Outcome;
use crate::statistics::{Summary, geometric_mean};

/// How many times as long as the standard a benchmark that allocates may take.
const ALLOCATING_LIMIT: f64 = 1.5;

pub struct Report {
    group: Group,
    engines: Vec<(String, String, Role)>,
    rows: Vec<(&'static Benchmark, Vec<Outcome>)>,
    machine: Machine,
}

#[derive(Serialize)]
struct Machine {
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
                .map(|engine| (engine.name().into(), engine.version().into(), engine.role()))
                .collect(),
            rows: Vec::new(),
            machine: Machine::new(),
        }
    }

    pub fn add(&mut self, benchmark: &'static Benchmark, outcomes: Vec<Outcome>) {
        self.rows.push((benchmark, outcomes));
    }

    pub fn finish(&mut self) {
        self.machine.load[1] = load();
    }

    pub fn json(&self) -> Result<String> {
        let engines: Vec<Value> = self
            .engines
            .iter()
            .map(|(name, version, _)| json!({ "name": name, "version": version }))
            .collect();
        let benchmarks: Vec<Value> = self
            .rows
            .iter()
            .map(|(benchmark, outcomes)| self.row(benchmark, outcomes))
            .collect();
        let report = json!({
            "group": self.group,
            "machine": self.machine,
            "engines": engines,
            "benchmarks": benchmarks,
        });
        Ok(serde_json::to_string_pretty(&report)? + "\n")
    }

    fn row(&self, benchmark: &Benchmark, outcomes: &[Outcome]) -> Value {
        let engines: serde_json::Map<String, Value> = self
            .engines
            .iter()
            .zip(outcomes)
            .filter_map(|((name, ..), outcome)| match outcome {
                Outcome::Measured(summary) => Some((name.clone(), json!(summary))),
                Outcome::Skipped => None,
                Outcome::Failed(error) => Some((name.clone(), json!({ "error": error }))),
            })
            .collect();
        json!({
            "name": benchmark.name,
            "program": benchmark.program,
            "work": benchmark.work,
            "heap": benchmark.heap,
            "engines": engines,
        })
    }

    pub fn markdown(&self) -> String {
        let mut text = String::new();
        self.heading(&mut text);
        text.push_str("\n## Times\n\nRatios are to the time of the engine above them: below 1.00 is faster than it.\n\n");
        self.times(&mut text);
        text.push_str("\n## Goals\n\n");
        match self.group {
            Group::Gc => self.goals(&mut text),
            Group::Interrupt => {
                text.push_str(
                    "Shortest times, beside those of the same engine without either.\n\n",
                );
                self.overheads(&mut text);
            }
            Group::Calls | Group::Start | Group::Artifact => self.ratios(&mut text),
        }
        text
    }

    fn heading(&self, text: &mut String) {
        let Machine {
            cpu,
            threads,
            system,
            commit,
            time,
            load,
        } = &self.machine;
        let _ = write!(
            text,
            "# Benchmarks: {}\n\n{cpu}, {threads} threads, {system}; load {} before, {} after; commit {commit}; {}.\n\n",
            self.group.name(),
            load[0],
            load[1],
            date(*time),
        );
        for (name, version, _) in &self.engines {
            let _ = writeln!(text, "- {name}: {version}");
        }
    }

    fn times(&self, text: &mut String) {
        let peers: Vec<usize> = (0..self.engines.len())
            .filter(|&it| !matches!(self.engines[it].2, Role::Subject | Role::Variant))
            .collect();
        let mut table = Table::new(["benchmark", "engine", "median", "spread"]);
        table.rows[0].extend(
            peers
                .iter()
                .map(|&peer| format!("/ {}", self.engines[peer].0)),
        );
        for (benchmark, outcomes) in &self.rows {
            let mut name = benchmark.name;
            for ((engine, ..), outcome) in self.engines.iter().zip(outcomes) {
                let mut row = vec![name.to_string(), engine.clone()];
                match outcome {
                    Outcome::Measured(summary) => {
                        row.push(seconds(summary.median));
                        row.push(format!("{:.1}%", summary.spread() * 100.0));
                        row.extend(peers.iter().map(|&peer| match &outcomes[peer] {
                            Outcome::Measured(peer) => {
                                format!("{:.2}", summary.median / peer.median)
                            }
                            _ => String::new(),
                        }));
                    }
                    Outcome::Skipped => continue,
                    Outcome::Failed(_) => row.push("failed".to_string()),
                }
                table.rows.push(row);
                name = "";
            }
        }
        table.write(text);
    }

    /// The measured outcomes of the engines in a role.
    fn with_role<'r>(
        &'r self,
        outcomes: &'r [Outcome],
        role: Role,
    ) -> impl Iterator<Item = &'r Summary> {
        self.engines
            .iter()
            .zip(outcomes)
            .filter(move |(engine, _)| engine.2 == role)
            .filter_map(|(_, outcome)| match outcome {
                Outcome::Measured(summary) => Some(summary),
                _ => None,
            })
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
        for (benchmark, outcomes) in &self.rows {
            let mut row = vec![benchmark.name.to_string()];
            let subject = self.with_role(outcomes, Role::Subject).next();
            let rival = self
                .with_role(outcomes, Role::Rival)
                .map(|it| it.median)
                .min_by(f64::total_cmp);
            let standard = self.with_role(outcomes, Role::Standard).next();
            if let (Some(subject), Some(rival)) = (subject, rival) {
                let ratio = subject.median / rival;
                to_rival.push(ratio);
                row.extend([format!("{ratio:.2}"), verdict(ratio < 1.0)]);
            } else {
                row.extend([String::new(), "no".to_string()]);
            }
            if let (Some(subject), Some(standard)) = (subject, standard) {
                let ratio = subject.median / standard.median;
                to_standard.push(ratio);
                row.push(format!("{ratio:.2}"));
                row.push(match benchmark.heap {
                    Heap::Allocates => verdict(ratio <= ALLOCATING_LIMIT),
                    _ => String::new(),
                });
            }
            table.rows.push(row);
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
}

impl Report {
    /// What was measured of a benchmark in the engine of this name.
    fn summary<'o>(&self, outcomes: &'o [Outcome], engine: &str) -> Option<&'o Summary> {
        let place = self.engines.iter().position(|(name, ..)| name == engine)?;
        match outcomes.get(place)? {
            Outcome::Measured(summary) => Some(summary),
            _ => None,
        }
    }

    fn median(&self, outcomes: &[Outcome], engine: &str) -> Option<f64> {
        Some(self.summary(outcomes, engine)?.median)
    }

    /// How much longer programs take that can be interrupted, in Waxwing and in its rival: by the shortest times, as what
    /// disturbs a program on one thread only makes it longer.
    fn overheads(&self, text: &mut String) {
        const MODES: [&str; 2] = ["epochs", "fuel"];
        let mut table = Table::new(["benchmark", "", "waxwing", "wasmtime", "less overhead"]);
        let mut means = [const { [const { Vec::new() }; 2] }; 2];
        let percent = |overhead: f64| format!("{:+.1}%", (overhead - 1.0) * 100.0);
        for (benchmark, outcomes) in &self.rows {
            for (mode, means) in MODES.iter().zip(&mut means) {
                let overhead = |engine: &str| {
                    let with = self.summary(outcomes, &format!("{engine} {mode}"))?;
                    Some(with.minimum / self.summary(outcomes, engine)?.minimum)
                };
                let (Some(ours), Some(theirs)) = (overhead("waxwing"), overhead("wasmtime")) else {
                    continue;
                };
                means[0].push(ours);
                means[1].push(theirs);
                table.rows.push(vec![
                    benchmark.name.to_string(),
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
        for (benchmark, outcomes) in &self.rows {
            for (engine, strategy) in [("", "on demand"), (" pooling", "pooling")] {
                let Some(ours) = self.median(outcomes, &format!("waxwing{engine}")) else {
                    continue;
                };
                let mut row = vec![benchmark.name.to_string(), strategy.to_string()];
                let theirs = self.median(outcomes, &format!("wasmtime{engine}"));
                row.extend(match theirs.map(|theirs| ours / theirs) {
                    Some(ratio) => [format!("{ratio:.2}"), verdict(ratio <= 1.0)],
                    None => [String::new(), String::new()],
                });
                let single = benchmark
                    .name
                    .rsplit_once(", ")
                    .map_or("", |(name, _)| name);
                let single = self.rows.iter().find(|(other, _)| other.name == single);
                let single = single
                    .filter(|_| benchmark.name.ends_with("threads"))
                    .and_then(|(_, outcomes)| self.median(outcomes, &format!("waxwing{engine}")));
                row.push(single.map_or(String::new(), |single| format!("{:.2}", ours / single)));
                table.rows.push(row);
            }
        }
        table.write(text);
    }
}

fn verdict(reached: bool) -> String {
    if reached { "yes" } else { "no" }.to_string()
}

fn seconds(value: f64) -> String {
    match value {
        1.0.. => format!("{value:.3} s"),
        1e-3.. => format!("{:.2} ms", value * 1e3),
        1e-6.. => format!("{:.2} µs", value * 1e6),
        _ => format!("{:.1} ns", value * 1e9),
    }
}

/// The day, in UTC, of a time in seconds since 1970, after Howard Hinnant's `civil_from_days`.
fn date(time: u64) -> String {
    let days = time / 86_400 + 719_468;
    let day_of_era = days % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = days / 146_097 * 400 + year_of_era + u64::from(month <= 2);
    format!("{year}-{month:02}-{day:02}")
}

/// A Markdown table that can be read as it stands. The first row is the heading, the first column text.
struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    fn new<const N: usize>(heading: [&str; N]) -> Table {
        Table {
            rows: vec![heading.map(str::to_string).to_vec()],
        }
    }

    fn write(&self, text: &mut String) {
        let widths: Vec<usize> = (0..self.rows[0].len())
            .map(|column| {
                self.rows
                    .iter()
                    .filter_map(|row| row.get(column))
                    .map(|it| it.chars().count())
                    .max()
                    .unwrap_or(0)
            })
            .collect();
        for (number, row) in self.rows.iter().enumerate() {
            for (column, &width) in widths.iter().enumerate() {
                let cell = row.get(column).map_or("", String::as_str);
                let _ = match column {
                    0 => write!(text, "| {cell:width$} "),
                    _ => write!(text, "| {cell:>width$} "),
                };
            }
            text.push_str("|\n");
            if number == 0 {
                for (column, &width) in widths.iter().enumerate() {
                    let end = if column == 0 { "-" } else { ":" };
                    let _ = write!(text, "|-{}{end}", "-".repeat(width));
                }
                text.push_str("|\n");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        assert_eq!(date(0), "1970-01-01");
        assert_eq!(date(951_782_400), "2000-02-29");
        assert_eq!(date(1_767_225_599), "2025-12-31");
    }

    #[test]
    fn units() {
        assert_eq!(seconds(1.5), "1.500 s");
        assert_eq!(seconds(0.0123), "12.30 ms");
        assert_eq!(seconds(4.2e-5), "42.00 µs");
        assert_eq!(seconds(7e-9), "7.0 ns");
    }

    #[test]
    fn tables() {
        let mut table = Table::new(["name", "time"]);
        table.rows.push(vec!["a".into(), "10".into()]);
        let mut text = String::new();
        table.write(&mut text);
        assert_eq!(text, "| name | time |\n|------|-----:|\n| a    |   10 |\n");
    }
}
