//! Artifacts of another engine are refused, with an error that says what does not match.

use waxwing::{
    Collector, Config, Engine, Instance, Module, ModuleVersionStrategy, OptLevel, Precompiled,
    Store,
};
use waxwing_tests::engines;

const MODULE: &str = r#"(module
    (memory (export "memory") 1)
    (data (i32.const 0) "waxwing")
    (func (export "add") (param i32 i32) (result i32)
        local.get 0
        local.get 1
        i32.add))"#;

fn engine(setup: impl FnOnce(&mut Config)) -> Engine {
    let mut config = engines::config();
    setup(&mut config);
    Engine::new(&config).expect("the engine can be made")
}

fn artifact(engine: &Engine) -> Vec<u8> {
    engine
        .precompile_module(MODULE.as_bytes())
        .expect("the module compiles")
}

fn load(engine: &Engine, artifact: &[u8]) -> anyhow::Result<Module> {
    // SAFETY: the artifacts of these tests come from `precompile_module`.
    unsafe { Module::deserialize(engine, artifact) }
}

fn add(engine: &Engine, module: &Module) -> i32 {
    let mut store = Store::new(engine, ());
    let instance = Instance::new(&mut store, module, &[]).expect("the module instantiates");
    let memory = instance
        .get_memory(&mut store, "memory")
        .expect("it has one");
    assert_eq!(&memory.data(&store)[..7], b"waxwing");
    instance
        .get_typed_func::<(i32, i32), i32>(&mut store, "add")
        .expect("it has this type")
        .call(&mut store, (40, 2))
        .expect("adding does not trap")
}

/// Loading an artifact made under `compiled` into an engine with `loaded` must fail, naming `what`.
#[track_caller]
fn refused(compiled: impl FnOnce(&mut Config), loaded: impl FnOnce(&mut Config), what: &[&str]) {
    let artifact = artifact(&engine(compiled));
    let error = match load(&engine(loaded), &artifact) {
        Ok(_) => panic!("an artifact that differs in {what:?} was loaded"),
        Err(error) => format!("{error:?}").to_lowercase().replace(['-', '_'], " "),
    };
    assert!(
        what.iter().any(|what| error.contains(what)),
        "the error names none of {what:?}: {error}"
    );
}

#[test]
fn artifact_of_the_same_configuration_runs() {
    let artifact = artifact(&engine(|_| {}));
    let engine = engine(|_| {});
    assert_eq!(
        engine.detect_precompiled(&artifact),
        Some(Precompiled::Module)
    );
    let module = load(&engine, &artifact).expect("the configuration is the same");
    assert_eq!(add(&engine, &module), 42);
}

#[test]
fn artifact_runs_from_a_file_and_again_when_serialized() {
    let engine = engine(|_| {});
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(file.path(), artifact(&engine)).expect("it can be written");
    let found = engine
        .detect_precompiled_file(file.path())
        .expect("it can be read");
    assert_eq!(found, Some(Precompiled::Module));
    // SAFETY: the file was just written by this test.
    let module = unsafe { Module::deserialize_file(&engine, file.path()) }.expect("it loads");
    assert_eq!(add(&engine, &module), 42);
    let again = module
        .serialize()
        .expect("a loaded module can be serialized");
    let again = load(&engine, &again).expect("and loaded");
    assert_eq!(add(&engine, &again), 42);
}

#[test]
fn the_same_module_gives_the_same_artifact() {
    let parallel = engine(|config| {
        config.parallel_compilation(true);
    });
    let sequential = engine(|_| {});
    assert_eq!(artifact(&sequential), artifact(&sequential));
    assert_eq!(artifact(&sequential), artifact(&parallel));
}

#[test]
fn artifact_of_another_version_is_refused() {
    let other = |config: &mut Config| {
        config
            .module_version(ModuleVersionStrategy::Custom("another-1.2.3".into()))
            .expect("the version is short");
    };
    refused(other, |_| {}, &["another 1.2.3", "version"]);
    refused(|_| {}, other, &["version"]);
}

#[test]
fn artifact_with_other_trap_handling_is_refused() {
    let without = |config: &mut Config| {
        config.signals_based_traps(false);
    };
    refused(without, |_| {}, &["signal"]);
    refused(|_| {}, without, &["signal"]);
}

#[test]
fn artifact_with_other_memories_is_refused() {
    refused(
        |config| {
            config.memory_guard_size(1 << 16);
        },
        |_| {},
        &["guard"],
    );
    refused(
        |config| {
            config.memory_reservation(1 << 20);
        },
        |_| {},
        &["reservation", "memory"],
    );
}

#[test]
fn artifact_with_a_feature_that_is_off_is_refused() {
    let without_simd = |config: &mut Config| {
        config.wasm_relaxed_simd(false).wasm_simd(false);
    };
    refused(|_| {}, without_simd, &["simd"]);
    refused(
        |_| {},
        |config| {
            config.wasm_multi_memory(false);
        },
        &["multi memory"],
    );
    refused(
        |_| {},
        |config| {
            config.wasm_tail_call(false);
        },
        &["tail call"],
    );
}

#[test]
fn optimization_does_not_matter_to_loading() {
    let artifact = artifact(&engine(|config| {
        config.cranelift_opt_level(OptLevel::None);
    }));
    let engine = engine(|config| {
        config.cranelift_opt_level(OptLevel::Speed);
    });
    // Either it loads and runs, or the error says why not.
    match load(&engine, &artifact) {
        Ok(module) => assert_eq!(add(&engine, &module), 42),
        Err(error) => assert!(format!("{error:?}").contains("opt_level"), "{error:?}"),
    }
}

#[test]
fn files_that_are_no_artifacts_are_refused() {
    let engine = engine(|_| {});
    let wasm = wat::parse_str(MODULE).expect("the text is well formed");
    let this_program =
        std::fs::read(std::env::current_exe().expect("it has a path")).expect("it can be read");
    for (name, bytes) in [
        ("nothing", &b""[..]),
        ("text", MODULE.as_bytes()),
        ("a module", &wasm),
        ("the start of an ELF file", b"\x7fELF\x02\x01\x01"),
        ("an ELF program", &this_program),
    ] {
        assert_eq!(engine.detect_precompiled(bytes), None, "{name}");
        assert!(load(&engine, bytes).is_err(), "{name} was loaded");
    }
    // And a file's name is in the error.
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("no-artifact.cwasm");
    std::fs::write(&path, &wasm).expect("it can be written");
    // SAFETY: the file is not an artifact, which loading must find out.
    let error = unsafe { Module::deserialize_file(&engine, &path) }
        .map(|_| ())
        .expect_err("it is no artifact");
    assert!(
        format!("{error:?}").contains("no-artifact.cwasm"),
        "{error:?}"
    );
    // An artifact is no module.
    let error = Module::from_binary(&engine, &artifact(&engine))
        .map(|_| ())
        .expect_err("an artifact is not wasm");
    assert!(!format!("{error:?}").is_empty());
}

/// A proposal's name in errors, and its switch.
type Proposal = (&'static str, fn(&mut Config, bool));

/// In an order in which those that others need come after them.
const PROPOSALS: [Proposal; 15] = [
    ("wasm_gc", |config, on| _ = config.wasm_gc(on)),
    ("wasm_exceptions", |config, on| {
        _ = config.wasm_exceptions(on)
    }),
    ("wasm_function_references", |config, on| {
        _ = config
            .wasm_gc(false)
            .wasm_exceptions(false)
            .wasm_function_references(on);
    }),
    ("wasm_threads", |config, on| _ = config.wasm_threads(on)),
    ("wasm_reference_types", |config, on| {
        config
            .wasm_gc(false)
            .wasm_exceptions(false)
            .wasm_function_references(false);
        config.wasm_reference_types(on);
    }),
    ("wasm_bulk_memory", |config, on| {
        config
            .wasm_gc(false)
            .wasm_exceptions(false)
            .wasm_function_references(false);
        config
            .wasm_reference_types(false)
            .wasm_threads(false)
            .wasm_bulk_memory(on);
    }),
    ("wasm_relaxed_simd", |config, on| {
        _ = config.wasm_relaxed_simd(on)
    }),
    ("wasm_simd", |config, on| {
        _ = config.wasm_relaxed_simd(false).wasm_simd(on)
    }),
    ("wasm_tail_call", |config, on| _ = config.wasm_tail_call(on)),
    ("wasm_multi_value", |config, on| {
        _ = config.wasm_multi_value(on)
    }),
    ("wasm_multi_memory", |config, on| {
        _ = config.wasm_multi_memory(on)
    }),
    ("wasm_memory64", |config, on| _ = config.wasm_memory64(on)),
    ("wasm_extended_const", |config, on| {
        _ = config.wasm_extended_const(on)
    }),
    ("wasm_custom_page_sizes", |config, on| {
        _ = config.wasm_custom_page_sizes(on)
    }),
    ("wasm_wide_arithmetic", |config, on| {
        _ = config.wasm_wide_arithmetic(on)
    }),
];

#[test]
fn each_proposal_is_checked() {
    let nothing = "(module)".as_bytes();
    for (name, set) in PROPOSALS {
        let engines = [false, true].map(|on| engine(|config| set(config, on)));
        for (compiles, loads, value) in [(0, 1, "false"), (1, 0, "true")] {
            let artifact = engines[compiles].precompile_module(nothing).unwrap();
            let error = load(&engines[loads], &artifact).map(|_| ()).unwrap_err();
            let error = format!("{error:#}");
            let what = format!("`Config::{name}({value})`");
            assert!(error.contains(&what), "no {what} in {error}");
        }
    }
}

#[test]
fn what_code_does_to_be_stopped_and_for_collectors_is_checked() {
    type Set = fn(&mut Config);
    let cases: [(&str, Set); 5] = [
        ("enable pinned reg", |config| _ = config.consume_fuel(true)),
        ("epoch interruption", |config| {
            _ = config.epoch_interruption(true)
        }),
        ("deferredreferencecounting", |config| {
            _ = config.collector(Collector::DeferredReferenceCounting);
        }),
        ("collector::null", |config| {
            _ = config.collector(Collector::Null)
        }),
        ("no collector", |config| {
            PROPOSALS[2].1(config, false);
            PROPOSALS[4].1(config, false);
            config.gc_support(false);
        }),
    ];
    for (what, set) in cases {
        refused(set, |_| {}, &[what, "reference", "gc", "fuel"]);
        refused(|_| {}, set, &[what, "reference", "gc", "fuel"]);
    }
}

/// An artifact in which the only `from` of its header became `to`, of the same length.
fn forged(from: &[u8], to: &[u8]) -> Option<Vec<u8>> {
    assert_eq!(from.len(), to.len());
    let mut artifact = artifact(&engine(|_| {}));
    let at = artifact
        .windows(from.len())
        .position(|bytes| bytes == from)?;
    artifact[at..at + to.len()].copy_from_slice(to);
    Some(artifact)
}

#[test]
fn targets_and_flags_are_checked() {
    let refusal = |artifact: &[u8]| {
        let error = load(&engine(|_| {}), artifact).map(|_| ()).unwrap_err();
        format!("{error:#}")
    };
    // Names of the same length.
    for (host, other, what) in [
        (
            "x86_64-unknown-linux-gnu",
            "mips64-unknown-linux-gnu",
            "architecture mips64",
        ),
        (
            "aarch64-unknown-linux-gnu",
            "powerpc-unknown-linux-gnu",
            "architecture powerpc",
        ),
        ("-linux-gnu", "-hermit-xx", "target"),
    ] {
        if let Some(artifact) = forged(host.as_bytes(), other.as_bytes()) {
            let error = refusal(&artifact);
            assert!(error.contains(what), "no {what} in {error}");
        }
    }
    for (flag, is, becomes) in [
        ("preserve_frame_pointers", [2, 1], [2, 0]),
        ("enable_pinned_reg", [2, 0], [2, 1]),
        ("enable_probestack", [2, 1], [2, 0]),
    ] {
        let with = |value: [u8; 2]| [flag.as_bytes(), &value].concat();
        let artifact = forged(&with(is), &with(becomes)).expect("the flag is recorded");
        let error = refusal(&artifact);
        assert!(error.contains(&format!("`{flag}`")), "no {flag} in {error}");
    }
    #[cfg(target_arch = "x86_64")]
    {
        let artifact = forged(b"has_popcnt", b"has_popsnt").expect("the flag is recorded");
        let error = refusal(&artifact);
        assert!(
            error.contains("`has_popsnt`, which this engine does not know"),
            "{error}"
        );
    }
}

#[test]
fn what_the_text_and_the_hash_say_agree() {
    use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
    let hash = |engine: &Engine| {
        BuildHasherDefault::<DefaultHasher>::default()
            .hash_one(engine.precompile_compatibility_hash())
    };
    let base = engine(|_| {});
    assert_eq!(hash(&base), hash(&engine(|_| {})));
    for (name, set) in PROPOSALS {
        let [off, on] = [false, true].map(|on| hash(&engine(|config| set(config, on))));
        assert_ne!(off, on, "{name}");
    }
}
