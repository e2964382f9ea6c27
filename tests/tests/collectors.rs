//! Random programs compute the same under every collector, whenever it collects.
//!
//! | environment variable | default | |
//! |---|---|---|
//! | `WAXWING_GC_PROGRAMS` | 30 | how many programs |
//! | `WAXWING_GC_SEED` | 0 | the first program's seed; each next program has the next seed |

use rayon::prelude::*;
use std::sync::Mutex;
use waxwing::{Collector, Config, Engine, Instance, Module, OptLevel, Store, Trap};
use waxwing_tests::{env_count, gc_programs, with_threads};

/// A way to run programs.
struct Way {
    name: String,
    engine: Engine,
    /// Whether to collect from the host between calls, too.
    collects: bool,
}

fn ways() -> Vec<Way> {
    let mut ways = Vec::new();
    for collector in [
        Collector::Null,
        Collector::Copying,
        Collector::DeferredReferenceCounting,
    ] {
        for (how, stress, level, signals) in [
            ("", false, OptLevel::Speed, true),
            (" stress", true, OptLevel::Speed, true),
            (" stress, unoptimized", true, OptLevel::None, true),
            (" stress, explicit checks", true, OptLevel::Speed, false),
        ] {
            if collector == Collector::Null && stress {
                continue;
            }
            let mut config = Config::new();
            config
                .wasm_function_references(true)
                .wasm_gc(true)
                .wasm_exceptions(true)
                .collector(collector)
                .gc_stress(stress)
                .cranelift_opt_level(level)
                .cranelift_debug_verifier(true)
                .parallel_compilation(false)
                .signals_based_traps(signals);
            ways.push(Way {
                name: format!("{collector:?}{how}"),
                engine: Engine::new(&config).unwrap(),
                collects: stress,
            });
        }
    }
    ways
}

/// What two runs of a program in one store return, or how they trap.
fn run(way: &Way, wasm: &[u8]) -> [Result<i32, String>; 2] {
    let module = Module::new(&way.engine, wasm).unwrap();
    let mut store = Store::new(&way.engine, ());
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    let run = instance.get_typed_func::<(), i32>(&mut store, "run");
    let run = run.unwrap();
    [(); 2].map(|()| {
        let result = run.call(&mut store, ());
        if way.collects {
            store.gc();
        }
        result.map_err(|error| match error.downcast_ref::<Trap>() {
            Some(trap) => trap.to_string(),
            None => format!("{error:#}"),
        })
    })
}

#[test]
fn collectors_agree_on_random_programs() {
    let first = env_count("WAXWING_GC_SEED", 0);
    let count = env_count("WAXWING_GC_PROGRAMS", 30);
    let ways = ways();
    let differences = Mutex::new(Vec::new());
    with_threads(|| {
        (first..first + count).into_par_iter().for_each(|seed| {
            let text = gc_programs::program(seed, 300);
            let wasm = wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
            let expected = run(&ways[0], &wasm);
            for way in &ways[1..] {
                let found = run(way, &wasm);
                if found != expected {
                    let difference = format!(
                        "seed {seed}: {} gives {found:?}, {} gives {expected:?}",
                        way.name, ways[0].name
                    );
                    eprintln!("{difference}");
                    differences.lock().unwrap().push(difference);
                }
            }
        });
    });
    let differences = differences.into_inner().unwrap();
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}
