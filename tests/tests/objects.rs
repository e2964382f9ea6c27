//! Random modules that make and pass around objects, typed functions and exceptions must do the
//! same under every collector, when each allocation collects, and however they are compiled: modules of
//! every instruction, and programs that build and change graphs of objects.
//!
//! | environment variable | default | |
//! |---|---|---|
//! | `WAXWING_OBJECT_MODULES` | 200 and 60 | how many modules of each kind |
//! | `WAXWING_OBJECT_SEED` | 0 | the first module's seed; each next module has the next seed |

use rayon::prelude::*;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use waxwing_tests::journal::Journal;
use waxwing_tests::objects::{Audience, Plan, Transcript, first_difference, transcribe};
use waxwing_tests::{engines, env_count, graphs, smith, with_threads};

/// Follows a plan for each module on each engine, and compares what is seen.
fn compare(name: &str, count: u64, make: impl Fn(u64) -> Vec<u8> + Sync) {
    let first = env_count("WAXWING_OBJECT_SEED", 0);
    let count = env_count("WAXWING_OBJECT_MODULES", count);
    let journal = Journal::open(env!("CARGO_TARGET_TMPDIR"), name);
    let variants = engines::collectors();

    let [calls, returned, limited] = [const { AtomicU64::new(0) }; 3];
    let differences = Mutex::new(Vec::new());
    with_threads(|| {
        (first..first + count).into_par_iter().for_each(|seed| {
            let wasm = make(seed);
            let plan = Plan::new(&wasm, seed, Audience::Waxwing).expect("the module is valid");
            let mut expected: Option<Transcript> = None;
            for variant in &variants {
                let _working =
                    journal.working_on(&format!("seed {seed}, engine: {}", variant.name));
                let actual = transcribe(&variant.engine, &wasm, &plan, Audience::Waxwing);
                let difference = match (actual, &expected) {
                    (Ok(actual), None) => {
                        let (of_them_returned, all) = actual.calls();
                        calls.fetch_add(all, Relaxed);
                        returned.fetch_add(of_them_returned, Relaxed);
                        expected = Some(actual);
                        continue;
                    }
                    (Ok(actual), Some(expected)) => {
                        if actual.limit().is_some() || expected.limit().is_some() {
                            limited.fetch_add(1, Relaxed);
                        }
                        first_difference(expected, &actual).map(|difference| difference.to_string())
                    }
                    (Err(error), _) => Some(format!("{error:?}")),
                };
                if let Some(difference) = difference {
                    let kept = journal.keep(&format!("{seed}.wasm"), &wasm);
                    let report = format!(
                        "seed {seed}, engine: {}, module: {}: {difference}",
                        variant.name,
                        kept.display()
                    );
                    eprintln!("{report}");
                    differences.lock().expect("no thread panics").push(report);
                }
            }
        });
    });

    let differences = differences.into_inner().expect("no thread panics");
    let [calls, returned, limited] = [calls, returned, limited].map(AtomicU64::into_inner);
    println!(
        "{name}: {count} modules, each on {} engines: {calls} calls on each ({returned} returned), {} \
         differences, {limited} runs stopped at an engine's own limit",
        variants.len(),
        differences.len(),
    );
    assert!(
        differences.is_empty(),
        "{} differences:\n{}",
        differences.len(),
        differences.join("\n")
    );
    assert!(
        returned > 0 || count == 0,
        "no call returned: nothing was compared"
    );
}

#[test]
fn modules_of_every_instruction_do_the_same_under_every_collector() {
    compare("objects", 200, |seed| {
        smith::objects(seed, Audience::Waxwing)
    });
}

#[test]
fn programs_that_change_graphs_do_the_same_under_every_collector() {
    compare("graphs", 60, graphs::module);
}
