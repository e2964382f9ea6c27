//! Runs the programs under `programs/` in Waxwing and in other engines, side by side, and reports how long each took.

mod benchmarks;
mod engine;
mod measure;
mod report;
mod results;
mod statistics;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;

use crate::benchmarks::{Benchmark, Group, IMAGE_BYTE, Place, Work};
use crate::engine::Engine;
use crate::measure::{Effort, Outcome};
use crate::report::Report;

/// Measures Waxwing beside other engines.
#[derive(Parser)]
#[command(name = "benches/run", version, max_term_width = 100)]
struct Options {
    /// Groups of benchmarks; all of them when none is named.
    groups: Vec<Group>,
    /// Only benchmarks whose name contains TEXT, or is NAME when TEXT is `=NAME`; may be repeated.
    #[arg(long, value_name = "TEXT")]
    only: Vec<String>,
    /// Only engines whose name contains TEXT, or is NAME when TEXT is `=NAME`; may be repeated.
    #[arg(long, value_name = "TEXT")]
    engine: Vec<String>,
    /// Samples of each benchmark in each engine; by default, as many as are usual in the group.
    #[arg(long)]
    rounds: Option<usize>,
    /// Seconds after which a benchmark in one engine gets no more than the fewest samples: three, or two of compiling. By
    /// default, as many as are usual in the group.
    #[arg(long)]
    budget: Option<f64>,
    /// The command for V8: node 24 or later. By default the one that npm installs into `target/`.
    #[arg(long, env = "NODE")]
    node: Option<PathBuf>,
    /// Where GROUP.json, GROUP.md and the charts are written, and RESULTS.md beside.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/results"))]
    results: PathBuf,
    /// Print the table alone; write no files.
    #[arg(long)]
    dry: bool,
    /// List benchmarks and engines.
    #[arg(long)]
    list: bool,
    /// Answer requests for samples: see `engine/process.rs`.
    #[arg(long, hide = true)]
    serve: bool,
}

fn selected(name: &str, filters: &[String]) -> bool {
    let accepts = |filter: &String| match filter.strip_prefix('=') {
        Some(exact) => name == exact,
        None => name.contains(filter.as_str()),
    };
    filters.is_empty() || filters.iter().any(accepts)
}

fn main() -> Result<()> {
    let options = Options::parse();
    if options.serve {
        return engine::process::serve(&|name| {
            let engines = engine::all(None, &|it| it == name)?;
            engines
                .into_iter()
                .next()
                .with_context(|| format!("there is no engine {name}"))
        });
    }
    let benchmarks: Vec<&'static Benchmark> = benchmarks::all()
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

    let groups: BTreeSet<Group> = benchmarks.iter().map(|it| it.group).collect();
    let mut failures = 0;
    for group in groups {
        let effort = Effort::new(group, options.rounds, options.budget);
        let benchmarks = benchmarks.iter().filter(|it| it.group == group);
        let takes = |engine: &&dyn Engine| benchmarks.clone().any(|it| engine.takes(it));
        let engines: Vec<&dyn Engine> = engines.iter().map(|it| &**it).filter(takes).collect();
        let mut report = Report::new(group, &engines);
        for benchmark in benchmarks.clone() {
            let Some(wasm) = program(benchmark)? else {
                continue;
            };
            eprint!("{} ", benchmark.name);
            let outcomes = measure::measure(benchmark, &wasm, &engines, &effort);
            eprintln!();
            for (engine, outcome) in engines.iter().zip(&outcomes) {
                if let Some(Outcome::Failed { error }) = outcome {
                    eprintln!("{}: {}: {error}", engine.name(), benchmark.name);
                    failures += 1;
                }
            }
            report.add(benchmark, wasm.len(), outcomes);
        }
        report.finish();
        println!("{}", report.markdown());
        if !options.dry {
            report.write(&options.results)?;
        }
    }
    if !options.dry {
        results::write(&options.results)?;
    }
    if failures > 0 {
        bail!("{failures} of the benchmarks failed");
    }
    Ok(())
}

/// The binary that all engines are given; `None` where it could not be fetched.
fn program(benchmark: &Benchmark) -> Result<Option<Vec<u8>>> {
    let place = match benchmark.work {
        Work::Run { .. } => Place::Built,
        Work::Compile { from, .. } | Work::CompileOn { from, .. } | Work::Command { from, .. } => {
            from
        }
        _ => Place::Text,
    };
    let path = benchmarks::folder(place).join(benchmark.program);
    if place != Place::Text {
        if !path.exists() {
            make(place)?;
        }
        if !path.exists() {
            eprintln!("{}: there is no {}", benchmark.name, benchmark.program);
            return Ok(None);
        }
        let wasm = std::fs::read(&path);
        return Ok(Some(
            wasm.with_context(|| format!("cannot read {}", path.display()))?,
        ));
    }
    let text = std::fs::read_to_string(&path);
    let mut text = text.with_context(|| format!("cannot read {}", path.display()))?;
    if let Some(image) = benchmark.work.image() {
        // A megabyte more than the image takes, and what is before it; at least as much as most programs have.
        let pages = (image >> 16) + 17;
        text = text.replace("PAGES", &pages.max(32).to_string());
        let image = char::from(IMAGE_BYTE).to_string().repeat(image);
        text = text.replace("IMAGE", &image);
    }
    if let Work::Load { copies, .. } = benchmark.work {
        let functions = text.repeat(copies as usize);
        text = format!(r#"(module (memory (export "memory") 1) {functions})"#);
    }
    let wasm = wat::parse_str(&text);
    Ok(Some(wasm.with_context(|| {
        format!("cannot assemble {}", path.display())
    })?))
}

/// Builds or fetches the modules that come from `place`.
fn make(place: Place) -> Result<()> {
    let script = match place {
        Place::Built => "programs/run/build",
        Place::Fetched => "programs/compile/fetch",
        Place::Text | Place::Repository => return Ok(()),
    };
    let status = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join(script)).status();
    let status = status.with_context(|| format!("cannot run {script}"))?;
    ensure!(status.success(), "{script} ended with {status}");
    Ok(())
}
