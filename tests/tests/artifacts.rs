//! Artifacts of another engine are refused, with an error that says what does not match.

use waxwing::{
    Config, Engine, Instance, Module, ModuleVersionStrategy, OptLevel, Precompiled, Store,
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
