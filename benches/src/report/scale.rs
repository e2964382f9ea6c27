//! Tables of the group `scale`.

use super::Report;
use super::table::{Table, seconds};

impl Report {
    /// What instances take that do nothing.
    pub(super) fn footprints(&self, text: &mut String) {
        let mut table = Table::new(["benchmark", "engine", "KiB for each", "for each GiB"]);
        for row in &self.benchmarks {
            let mut name = row.name.as_str();
            for engine in &self.engines {
                let memory = row.summary(&engine.name).and_then(|it| it.memory);
                let Some(memory) = memory else { continue };
                table.rows.push(vec![
                    name.to_string(),
                    engine.name.clone(),
                    format!("{:.1}", memory / 1024.0),
                    format!("{:.0}", f64::from(1 << 30) / memory),
                ]);
                name = "";
            }
        }
        table.write(text);
    }

    /// How many there are in a second, and how many times as many as on one thread.
    pub(super) fn speed_ups(&self, text: &mut String) {
        let heading = [
            "benchmark",
            "engine",
            "a second",
            "/ 1 thread",
            "time",
            "spread",
        ];
        let mut table = Table::new(heading);
        // The time is that of all threads together for compiling, and of each one for instances.
        let rate = |name: &str, time: f64| match name.split_once(", ") {
            Some(("instances", threads)) => {
                let threads = threads.split(' ').next().unwrap_or_default();
                threads.parse().unwrap_or(1.0) / time
            }
            _ => 1.0 / time,
        };
        for row in &self.benchmarks {
            let Some((kind, _)) = row.name.split_once(" thread") else {
                continue;
            };
            let single = kind.trim_end_matches(char::is_numeric);
            let single = format!("{single}1 thread");
            let single = self.benchmarks.iter().find(|other| other.name == single);
            let mut name = row.name.as_str();
            for engine in &self.engines {
                let Some(summary) = row.summary(&engine.name) else {
                    continue;
                };
                let here = rate(&row.name, summary.median);
                let alone = single.and_then(|single| {
                    let time = single.median(&engine.name)?;
                    Some(rate(&single.name, time))
                });
                table.rows.push(vec![
                    name.to_string(),
                    engine.name.clone(),
                    format!("{here:.0}"),
                    alone.map_or(String::new(), |alone| format!("{:.2}", here / alone)),
                    seconds(summary.median),
                    format!("{:.1}%", summary.spread() * 100.0),
                ]);
                name = "";
            }
        }
        table.write(text);
    }
}
