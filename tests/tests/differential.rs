//! Random modules must do the same on Waxwing, in each of several configurations, as on wasmi.
//!
//! | environment variable | default | |
//! |---|---|---|
//! | `WAXWING_DIFF_MODULES` | 200 | how many modules |
//! | `WAXWING_DIFF_SEED` | 0 | the first module's seed; each next module has the next seed |

use rayon::prelude::*;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use waxwing_tests::diff::{Reference, compare};
use waxwing_tests::journal::Journal;
use waxwing_tests::{engines, env_count, smith, with_threads};

#[test]
fn random_modules_do_the_same_on_wasmi() {
    let first = env_count("WAXWING_DIFF_SEED", 0);
    let count = env_count("WAXWING_DIFF_MODULES", 200);
    let journal = Journal::open(env!("CARGO_TARGET_TMPDIR"), "differential");
    let reference = Reference::default();
    let variants = engines::variants();

    let [modules, limited, calls, returned, host_calls] = [const { AtomicU64::new(0) }; 5];
    let differences = Mutex::new(Vec::new());
    with_threads(|| {
        (first..first + count).into_par_iter().for_each(|seed| {
            let wasm = smith::terminating(seed);
            let variant = &variants[seed as usize % variants.len()];
            let _working = journal.working_on(&format!("seed {seed}, engine: {}", variant.name));
            match compare(&reference, variant, &wasm, seed) {
                Ok(summary) => {
                    modules.fetch_add(1, Relaxed);
                    limited.fetch_add(summary.inconclusive.into(), Relaxed);
                    calls.fetch_add(summary.calls, Relaxed);
                    returned.fetch_add(summary.returned, Relaxed);
                    host_calls.fetch_add(summary.host_calls, Relaxed);
                }
                Err(difference) => {
                    let kept = journal.keep(&format!("{seed}.wasm"), &wasm);
                    let report = format!(
                        "seed {seed}, engine: {}, module: {}\n  {difference}",
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
    let modules = modules.into_inner() + differences.len() as u64;
    println!(
        "{modules} modules compared, {calls} calls ({returned} returned, {host_calls} events at \
         the host), {differences} differences, {limited} modules stopped at an engine's own limit",
        calls = calls.into_inner(),
        returned = returned.into_inner(),
        host_calls = host_calls.into_inner(),
        limited = limited.into_inner(),
        differences = differences.len(),
    );
    assert_eq!(modules, count);
    assert!(
        differences.is_empty(),
        "{} differences:\n{}",
        differences.len(),
        differences.join("\n")
    );
}
