//! Damaged modules, texts and artifacts must be refused or accepted, never more than that: no
//! panic, no signal.
//!
//! | environment variable | default | |
//! |---|---|---|
//! | `WAXWING_MUTATIONS` | 2000 | how many damaged modules; texts and artifacts are a tenth each |
//! | `WAXWING_MUTATION_SEED` | 0 | the first seed |

use rayon::prelude::*;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use waxwing::{Engine, Module, WasmBacktraceDetails};
use waxwing_tests::journal::Journal;
use waxwing_tests::rng::Rng;
use waxwing_tests::{artifact, corpus, engines, env_count, guest, mutate, smith, with_threads};

/// What became of an input.
enum Fate {
    Refused,
    Accepted,
    Instantiated,
}

/// Makes `count` inputs by `damage` and counts what `attempt` makes of them.
fn survive(
    name: &str,
    count: u64,
    damage: impl Fn(&mut Rng) -> Vec<u8> + Sync,
    attempt: impl Fn(&[u8]) -> Fate + Sync,
) {
    let journal = Journal::open(env!("CARGO_TARGET_TMPDIR"), name);
    let first = env_count("WAXWING_MUTATION_SEED", 0);
    let [refused, accepted, instantiated, panics] = [const { AtomicU64::new(0) }; 4];
    with_threads(|| {
        (first..first + count).into_par_iter().for_each(|seed| {
            let input = damage(&mut Rng::of(&[seed, 3]));
            let _working = journal.working_on(&format!("seed {seed}"));
            let counter = match catch_unwind(AssertUnwindSafe(|| attempt(&input))) {
                Ok(Fate::Refused) => &refused,
                Ok(Fate::Accepted) => &accepted,
                Ok(Fate::Instantiated) => &instantiated,
                Err(_) => {
                    let kept = journal.keep(&seed.to_string(), &input);
                    eprintln!("{name}: panic with seed {seed}: {}", kept.display());
                    &panics
                }
            };
            counter.fetch_add(1, Relaxed);
        });
    });
    let [refused, accepted, instantiated, panics] =
        [refused, accepted, instantiated, panics].map(AtomicU64::into_inner);
    println!(
        "{name}: {count} inputs, {refused} refused, {} accepted, {instantiated} of them \
         instantiated, {panics} panics",
        accepted + instantiated
    );
    assert_eq!(panics, 0);
    assert!(
        refused > 0 && accepted + instantiated > 0,
        "the damage is too small or too great to test much"
    );
}

fn modules() -> Vec<Vec<u8>> {
    let mut modules = corpus::modules(4 << 10);
    modules.extend((0..200).map(smith::any));
    modules.extend(fixtures());
    modules
}

/// The compiled programs that are checked in, unless they are large.
fn fixtures() -> Vec<Vec<u8>> {
    fn visit(folder: &Path, found: &mut Vec<Vec<u8>>) {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                visit(&path, found);
            } else if path
                .extension()
                .is_some_and(|extension| extension == "wasm")
            {
                let module = std::fs::read(&path).expect("fixtures can be read");
                found.extend((module.len() <= 64 << 10).then_some(module));
            }
        }
    }
    let mut found = Vec::new();
    visit(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures"),
        &mut found,
    );
    found
}

fn mutations() -> u64 {
    env_count("WAXWING_MUTATIONS", 2_000)
}

#[test]
fn damaged_modules_are_refused_or_accepted() {
    let engine = Engine::new(&engines::config()).expect("the engine can be made");
    let originals = modules();
    survive(
        "damaged modules",
        mutations(),
        |rng| {
            let mut wasm = rng.choose(&originals).clone();
            if rng.one_in(3) {
                mutate::bytes(rng, &mut wasm, &originals);
            } else if let Some(damaged) = mutate::inside_section(rng, &wasm, &originals) {
                wasm = damaged;
            }
            wasm
        },
        |wasm| {
            let validated = Module::validate(&engine, wasm);
            match Module::from_binary(&engine, wasm) {
                Err(_) => Fate::Refused,
                Ok(module) => {
                    validated.expect("what compiles is valid");
                    // Nothing of the module runs: its functions may never return.
                    if !guest::has_start(wasm) && guest::instantiate(&module).is_ok() {
                        Fate::Instantiated
                    } else {
                        Fate::Accepted
                    }
                }
            }
        },
    );
}

#[test]
fn damaged_texts_are_refused_or_accepted() {
    let engine = Engine::new(&engines::config()).expect("the engine can be made");
    let texts = corpus::texts(2 << 10);
    survive(
        "damaged texts",
        mutations() / 10,
        |rng| {
            let text = rng.choose(&texts);
            mutate::text(rng, text).into_bytes()
        },
        |text| match Module::new(&engine, text) {
            Ok(_) => Fate::Accepted,
            Err(_) => Fate::Refused,
        },
    );
}

const WITH_EVERYTHING: &str = r#"(module $everything
    (type $list (struct (field (mut (ref null $list)))))
    (import "host" "f" (func $host (param externref)))
    (memory 1)
    (table 4 funcref)
    (tag $tag (param i32))
    (elem (i32.const 0) $reference $handler)
    (data (i32.const 100) "data")
    (func $reference (export "reference") (param externref) (result (ref $list))
        (local $x (ref $list))
        (local.set $x (struct.new $list (ref.null $list)))
        (call $host (local.get 0))
        (local.get $x))
    (func $handler (export "handler") (param i32) (result i32)
        (block $h (result i32)
            (try_table (result i32) (catch $tag $h)
                (call $handler (i32.div_s (i32.load (local.get 0)) (local.get 0))))))
    (@custom ".debug_info" "not what it should be")
    (@custom ".debug_line" "nor this"))"#;

#[test]
fn damaged_artifacts_are_refused_or_loaded() {
    // With all sections that there can be: debugging information, references across calls, handlers of exceptions, names.
    let mut config = engines::config();
    config.wasm_backtrace_details(WasmBacktraceDetails::Enable);
    let engine = Engine::new(&config).expect("the engine can be made");
    let with_everything = wat::parse_str(WITH_EVERYTHING).expect("the text is well formed");
    let compiled = engine.precompile_module(&with_everything);
    let compiled = compiled.expect("the module compiles");
    for section in [
        ".waxwing.stackmaps",
        ".waxwing.handlers",
        ".waxwing.names",
        ".waxwing.data",
        ".waxwing.addrmap",
        ".waxwing.traps",
        ".eh_frame",
        ".debug_info",
        ".debug_line",
    ] {
        assert!(artifact::has_section(&compiled, section), "no {section}");
    }
    let modules = modules();
    let some = modules.iter().step_by(50);
    let artifacts: Vec<(Vec<u8>, Vec<usize>)> = some
        .filter_map(|wasm| engine.precompile_module(wasm).ok())
        .chain(std::iter::repeat_n(compiled, 10))
        .map(|artifact| {
            let places = artifact::outside_text(&artifact);
            (artifact, places)
        })
        .collect();
    survive(
        "damaged artifacts",
        mutations() / 10,
        |rng| {
            let (artifact, places) = rng.choose(&artifacts);
            let mut damaged = artifact.clone();
            for _ in 0..=rng.below(3) {
                let place = *rng.choose(places);
                match rng.below(3) {
                    0 => damaged[place] ^= 1 << rng.below(8),
                    1 => damaged[place] = rng.byte(),
                    _ => damaged[place] = 0xff,
                }
            }
            if rng.one_in(4) {
                damaged.truncate(rng.below(artifact.len()));
            }
            damaged
        },
        |artifact| {
            // SAFETY: the machine code is as the compiler made it, and none of it runs.
            match unsafe { Module::deserialize(&engine, artifact) } {
                Ok(module) => {
                    let _ = (module.imports().count(), module.exports().count());
                    let _ = (module.functions().count(), module.resources_required());
                    module.address_map().map(Iterator::count);
                    let _ = module.initialize_copy_on_write_image();
                    Fate::Accepted
                }
                Err(_) => Fate::Refused,
            }
        },
    );
}

#[test]
fn every_truncation_of_a_module_is_refused() {
    let engine = Engine::new(&engines::config()).expect("the engine can be made");
    let wasm = wat::parse_str(
        r#"(module
            (import "a" "b" (func (param i32)))
            (memory 1)
            (table 2 funcref)
            (global (mut i64) (i64.const 1))
            (func (export "f") (result i32) data.drop 0 i32.const 5)
            (elem (i32.const 0) func 0 1)
            (data (i32.const 8) "hello"))"#,
    )
    .expect("the text is well formed");
    Module::from_binary(&engine, &wasm).expect("the whole module compiles");
    for len in 0..wasm.len() {
        // Between sections a module may end; nothing may refer to what is missing then.
        if let Ok(module) = Module::from_binary(&engine, &wasm[..len]) {
            assert!(module.exports().len() == 0, "accepted at {len}");
        }
    }
}

#[test]
fn every_truncation_of_an_artifact_is_refused() {
    let engine = Engine::new(&engines::config()).expect("the engine can be made");
    let wasm = r#"(module (memory (export "m") 1) (func (export "f")) (data (i32.const 0) "x"))"#;
    let artifact = engine
        .precompile_module(wasm.as_bytes())
        .expect("the module compiles");
    let step = (artifact.len() / 2_000).max(1);
    for len in (0..artifact.len()).step_by(step) {
        // SAFETY: what is there is as the compiler made it, and none of it runs.
        let loaded = unsafe { Module::deserialize(&engine, &artifact[..len]) };
        if let Ok(module) = loaded {
            // What follows the last section may be missing.
            assert_eq!(
                module.exports().len(),
                2,
                "cut off at {len} of {}",
                artifact.len()
            );
        }
    }
}
