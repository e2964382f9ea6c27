//! `RESULTS.md`: what all groups have given, put together from their files, and the goals.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use clap::ValueEnum;

use crate::benchmarks::Group;
use crate::report::table::{Table, verdict};
use crate::report::{Report, Row};
use crate::statistics::geometric_mean;

/// A ratio of Waxwing's time to wasmtime's that is not to be exceeded.
struct Goal {
    group: Group,
    what: &'static str,
    limit: f64,
    measure: Measure,
    /// Which benchmarks count.
    counts: fn(&Row) -> bool,
    /// Engines that are compared: of Waxwing, and of wasmtime.
    pairs: &'static [(&'static str, &'static str)],
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Measure {
    GeometricMean,
    Each,
}

const PLAIN: &[(&str, &str)] = &[("waxwing", "wasmtime")];
const STRATEGIES: &[(&str, &str)] = &[
    ("waxwing", "wasmtime"),
    ("waxwing pooling", "wasmtime pooling"),
];
const COMMANDS: &[(&str, &str)] = &[("waxwing command", "wasmtime command")];

const GOALS: &[Goal] = &[
    Goal {
        group: Group::Run,
        what: "programs, on the whole",
        limit: 0.90,
        measure: Measure::GeometricMean,
        counts: |_| true,
        pairs: PLAIN,
    },
    Goal {
        group: Group::Run,
        what: "each program",
        limit: 1.10,
        measure: Measure::Each,
        counts: |_| true,
        pairs: PLAIN,
    },
    Goal {
        group: Group::Compile,
        what: "compiling, on one thread",
        limit: 0.80,
        measure: Measure::GeometricMean,
        counts: |row| row.name.ends_with(", 1 thread"),
        pairs: PLAIN,
    },
    Goal {
        group: Group::Compile,
        what: "compiling, on all threads",
        limit: 0.80,
        measure: Measure::GeometricMean,
        counts: |row| !row.name.ends_with(", 1 thread"),
        pairs: PLAIN,
    },
    Goal {
        group: Group::Start,
        what: "instantiating",
        limit: 0.70,
        measure: Measure::Each,
        counts: |row| !row.name.ends_with(", dropped"),
        pairs: STRATEGIES,
    },
    Goal {
        group: Group::Calls,
        what: "each kind of call",
        limit: 1.00,
        measure: Measure::Each,
        counts: |_| true,
        pairs: PLAIN,
    },
    Goal {
        group: Group::Cold,
        what: "the command, doing nothing",
        limit: 0.50,
        measure: Measure::Each,
        counts: |row| row.name.starts_with("no-op"),
        pairs: COMMANDS,
    },
    Goal {
        group: Group::Artifact,
        what: "loading an artifact",
        limit: 0.50,
        measure: Measure::Each,
        counts: |_| true,
        pairs: PLAIN,
    },
];

/// Writes `RESULTS.md` beside the folder of the groups' files, from those that there are.
pub fn write(folder: &Path) -> Result<()> {
    let mut reports: Vec<Report> = Vec::new();
    for group in Group::value_variants() {
        let path = folder.join(group.name()).with_extension("json");
        let Ok(json) = fs::read_to_string(&path) else {
            continue;
        };
        // What an older version of this command wrote may lack something; then the group is to be measured again.
        match serde_json::from_str(&json) {
            Ok(report) => reports.push(report),
            Err(error) => eprintln!("{}: {error}", path.display()),
        }
    }
    let path = folder.with_file_name("RESULTS.md");
    let links = folder.file_name().unwrap_or_default().display().to_string();
    fs::write(&path, markdown(&reports, &links))
        .with_context(|| format!("cannot write {}", path.display()))?;
    eprintln!("wrote {}", path.display());
    Ok(())
}

fn markdown(reports: &[Report], links: &str) -> String {
    let mut text = String::from(
        "# Results\n\n\
         What `benches/run` has measured: see the [README](README.md) for what the benchmarks are, and how it measures.\n\n\
         ## Goals\n\n\
         Ratios of Waxwing's median time to that of wasmtime's, in the same run; and, for what they say on a noisy machine, of the \
         least time that both took.\n\n",
    );
    let mut table = Table::new([
        "goal",
        "at most",
        "measured",
        "highest",
        "reached",
        "of minima",
    ]);
    for goal in GOALS {
        if let Some(report) = reports.iter().find(|it| it.group == goal.group) {
            table.rows.push(goal.line(report));
        }
    }
    table.write(&mut text);
    for report in reports {
        let group = report.group.name();
        let _ = write!(
            text,
            "\n## {}\n\n{}\n\n![a chart of the ratios]({links}/{group}.svg)\n\nAll samples: [{group}.json]({links}/{group}.json).\n\n",
            heading(report.group),
            report.machine.line(),
        );
        for engine in &report.engines {
            let _ = writeln!(text, "- {}: {}", engine.name, engine.version);
        }
        text.push('\n');
        report.tables(&mut text);
    }
    text
}

fn heading(group: Group) -> String {
    let value = group.to_possible_value();
    let help = value.as_ref().and_then(|it| it.get_help());
    let help = help.map_or(String::new(), ToString::to_string);
    format!("{}: {}", group.name(), help.trim_end_matches('.'))
}

impl Goal {
    fn line(&self, report: &Report) -> Vec<String> {
        let medians = self.ratios(report, Row::ratio);
        let highest = medians.iter().max_by(|a, b| a.0.total_cmp(&b.0));
        let (Some((measured, decisive)), Some((highest, name))) =
            (self.measured(&medians), highest)
        else {
            return vec![self.what.to_string()];
        };
        let minima = self.measured(&self.ratios(report, Row::ratio_of_minima));
        vec![
            self.what.to_string(),
            format!("{:.2}", self.limit),
            measured,
            format!("{highest:.2} ({name})"),
            verdict(decisive <= self.limit),
            minima.map_or(String::new(), |(measured, _)| measured),
        ]
    }

    /// The ratios that count, and of what they are.
    fn ratios(
        &self,
        report: &Report,
        ratio: fn(&Row, &str, &str) -> Option<f64>,
    ) -> Vec<(f64, String)> {
        let mut ratios = Vec::new();
        for row in report.benchmarks.iter().filter(|it| (self.counts)(it)) {
            for (ours, theirs) in self.pairs {
                let Some(ratio) = ratio(row, ours, theirs) else {
                    continue;
                };
                let setting = ours.trim_start_matches("waxwing").trim();
                let setting = if self.pairs.len() > 1 && !setting.is_empty() {
                    format!(", {setting}")
                } else {
                    String::new()
                };
                ratios.push((ratio, format!("{}{setting}", row.name)));
            }
        }
        ratios
    }

    /// What a table says of ratios, and the one that must be within the limit.
    fn measured(&self, ratios: &[(f64, String)]) -> Option<(String, f64)> {
        let values: Vec<f64> = ratios.iter().map(|(ratio, _)| *ratio).collect();
        match self.measure {
            Measure::GeometricMean => {
                let mean = geometric_mean(&values)?;
                Some((format!("{mean:.2} (geometric mean)"), mean))
            }
            Measure::Each => {
                let highest = values.iter().copied().max_by(f64::total_cmp)?;
                let within = values.iter().filter(|it| **it <= self.limit).count();
                Some((format!("{within} of {}", values.len()), highest))
            }
        }
    }
}
