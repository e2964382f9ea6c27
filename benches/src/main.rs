//! Runs the programs under `programs/` in Waxwing and in other engines, side by side, and reports how long each took.

mod benchmarks;
mod engine;
mod measure;
mod report;
mod statistics;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Parser;

use crate::benchmarks::{BENCHMARKS, Benchmark, Group, IMAGE_BYTE, Work};
use crate::engine::Engine;
use crate::measure::{Effort, Outcome};
use crate::report::Report;

/// Measures Waxwing beside other engines.
#[derive(Parser)]
#[command(name = "benches/run", version, max_term_width = 100)]
struct Options {
    /// Groups of benchmarks; all of them when none is named.
    groups: Vec<Group>,
    /// Only benchmarks whose name contains TEXT; may be repeated.
    #[arg(long, value_name = "TEXT")]
    only: Vec<String>,
    /// Only engines whose name contains TEXT; may be repeated.
    #[arg(long, value_name = "TEXT")]
    engine: Vec<String>,
    /// Samples of each benchmark in each engine.
    #[arg(long, default_value_t = 15)]
    rounds: usize,
    /// Seconds after which a benchmark in one engine gets no more than three samples.
    #[arg(long, default_value_t = 8.0)]
    budget: f64,
    /// The command for V8: node 24 or later. By default the one that npm installs into `target/`.
    #[arg(long, env = "NODE")]
    node: Option<PathBuf>,
    /// Where GROUP.json and GROUP.md are written.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/results"))]
    results: PathBuf,
    /// Print the table alone; write no files.
    #[arg(long)]
    dry: bool,
    /// List benchmarks and engines.
    #[arg(long)]
    list: bool,
}

fn selected(name: &str, filters: &[String]) -> bool {
    filters.is_empty() || filters.iter().any(|filter| name.contains(filter.as_str()))
}

fn main() -> Result<()> {
    let options = Options::parse();
    let benchmarks: Vec<&Benchmark> = BENCHMARKS
        .iter()
        .filter(|it| options.groups.is_empty() || options.groups.contains(&it.group))
        .filter(|it| selected(it.name, &options.only))
        .collect();
    let engines = engine::all(options.node.as_deref(), &|name| {
        selected(name, &options.engine)
    })?;
    if options.list {
        for benchmark in benchmarks {
            println!(
                "{:9} {:24} {}",
                benchmark.group.name(),
                benchmark.name,
                benchmark.what
            );
        }
        for engine in engines {
            println!("{} ({})", engine.name(), engine.version());
        }
        return Ok(());
    }
    if benchmarks.is_empty() || engines.is_empty() {
        bail!("nothing to measure: see `--list` for what there is");
    }

    let effort = Effort::new(options.rounds, options.budget);
    let groups: BTreeSet<Group> = benchmarks.iter().map(|it| it.group).collect();
    let mut failures = 0;
    for group in groups {
        let benchmarks = benchmarks.iter().filter(|it| it.group == group);
        let takes = |engine: &&dyn Engine| benchmarks.clone().any(|it| engine.takes(it));
        let engines: Vec<&dyn Engine> = engines.iter().map(|it| &**it).filter(takes).collect();
        let mut report = Report::new(group, &engines);
        for benchmark in benchmarks.clone() {
            let wasm = program(benchmark)?;
            eprint!("{} ", benchmark.name);
            let outcomes = measure::measure(benchmark, &wasm, &engines, &effort);
            eprintln!();
            for (engine, outcome) in engines.iter().zip(&outcomes) {
                if let Outcome::Failed(error) = outcome {
                    eprintln!("{}: {}: {error}", engine.name(), benchmark.name);
                    failures += 1;
                }
            }
            report.add(benchmark, outcomes);
        }
        report.finish();
        println!("{}", report.markdown());
        if !options.dry {
            write(&options.results, group, &report)?;
        }
    }
    if failures > 0 {
        bail!("{failures} of the benchmarks failed");
    }
    Ok(())
}

/// The binary that all engines are given.
fn program(benchmark: &Benchmark) -> Result<Vec<u8>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("programs")
        .join(benchmark.program);
    let text = std::fs::read_to_string(&path);
    let mut text = text.with_context(|| format!("cannot read {}", path.display()))?;
    if let Work::Start { image, .. } = benchmark.work {
        let image = char::from(IMAGE_BYTE).to_string().repeat(image);
        text = text.replace("IMAGE", &image);
    }
    if let Work::Load { copies, .. } = benchmark.work {
        let functions = text.repeat(copies as usize);
        text = format!(r#"(module (memory (export "memory") 1) {functions})"#);
    }
    wat::parse_str(&text).with_context(|| format!("cannot assemble {}", path.display()))
}

fn write(folder: &Path, group: Group, report: &Report) -> Result<()> {
    std::fs::create_dir_all(folder)
        .with_context(|| format!("cannot create {}", folder.display()))?;
    for (extension, text) in [("md", report.markdown()), ("json", report.json()?)] {
        let path = folder.join(group.name()).with_extension(extension);
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        eprintln!("wrote {}", path.display());
    }
    Ok(())
}
