//! Random modules of the proposals for garbage collection and exceptions, for comparing this engine
//! with another: see `tests/real/gc-random/run`.
//!
//! - `gc-random generate FOLDER FIRST COUNT` writes `SEED.wasm` and `SEED.json`, what to call in it,
//!   for each of COUNT seeds from FIRST on;
//! - `gc-random compare FOLDER FIRST COUNT` follows each plan under every collector and compares
//!   what is seen with `SEED.txt`, which the other engine wrote.

use anyhow::{Context, Result, bail, ensure};
use rayon::prelude::*;
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use waxwing_tests::objects::{Audience, Plan, Transcript, first_difference, transcribe};
use waxwing_tests::{engines, graphs, smith, with_threads};

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:?}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<bool> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [command, folder, first, count] = args.as_slice() else {
        bail!("usage: gc-random generate|compare FOLDER FIRST COUNT");
    };
    let folder = Path::new(folder);
    let first: u64 = first.parse().context("FIRST must be a number")?;
    let count: u64 = count.parse().context("COUNT must be a number")?;
    let seeds = first..first + count;
    match command.as_str() {
        "generate" => {
            with_threads(|| {
                seeds
                    .into_par_iter()
                    .try_for_each(|seed| generate(folder, seed))
            })?;
            Ok(true)
        }
        "compare" => compare(folder, seeds),
        other => bail!("there is no command `{other}`"),
    }
}

fn generate(folder: &Path, seed: u64) -> Result<()> {
    let wasm = if seed.is_multiple_of(2) {
        smith::objects(seed, Audience::JavaScript)
    } else {
        graphs::module(seed)
    };
    let plan = Plan::new(&wasm, seed, Audience::JavaScript)?;
    std::fs::write(folder.join(format!("{seed}.wasm")), &wasm)?;
    let json = serde_json::to_string(&plan.to_json())?;
    std::fs::write(folder.join(format!("{seed}.json")), json)?;
    Ok(())
}

fn compare(folder: &Path, seeds: std::ops::Range<u64>) -> Result<bool> {
    let variants = engines::collectors();
    let [modules, calls, returned, limited, differences] = [const { AtomicU64::new(0) }; 5];
    with_threads(|| {
        seeds.into_par_iter().try_for_each(|seed| -> Result<()> {
            let wasm = std::fs::read(folder.join(format!("{seed}.wasm")))?;
            let expected = std::fs::read_to_string(folder.join(format!("{seed}.txt")))
                .with_context(|| format!("the other engine did not write {seed}.txt"))?;
            let expected: Transcript = expected.lines().map(str::to_string).collect();
            let plan = Plan::new(&wasm, seed, Audience::JavaScript)?;
            modules.fetch_add(1, Relaxed);
            for variant in &variants {
                let actual = transcribe(&variant.engine, &wasm, &plan, Audience::JavaScript)
                    .with_context(|| format!("seed {seed}, engine: {}", variant.name))?;
                let (of_them_returned, all) = actual.calls();
                calls.fetch_add(all, Relaxed);
                returned.fetch_add(of_them_returned, Relaxed);
                if expected.limit().or(actual.limit()).is_some() {
                    limited.fetch_add(1, Relaxed);
                }
                if let Some(difference) = first_difference(&expected, &actual) {
                    differences.fetch_add(1, Relaxed);
                    println!("seed {seed}, engine: {}: {difference}", variant.name);
                }
            }
            Ok(())
        })
    })?;
    let [modules, calls, returned, limited, differences] =
        [modules, calls, returned, limited, differences].map(AtomicU64::into_inner);
    println!(
        "{modules} modules under {} engines each: {calls} calls ({returned} returned), \
         {differences} differences, {limited} runs stopped at an engine's own limit",
        variants.len()
    );
    ensure!(calls > 0 || modules == 0, "nothing was called");
    Ok(differences == 0)
}
