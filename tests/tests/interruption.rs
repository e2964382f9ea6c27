//! Random modules that may run for ever are stopped by fuel, always at the same place, and interrupted by epochs
//! and suspended without noticing.
//!
//! | environment variable | default | |
//! |---|---|---|
//! | `WAXWING_INTERRUPTED_MODULES` | 300 | how many modules |
//! | `WAXWING_INTERRUPTED_SEED` | 0 | the first module's seed |
//! | `WAXWING_INTERRUPTED_CONFIGURATIONS` | 200 | how many modules under random configurations |

use anyhow::Result;
use rayon::prelude::*;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use waxwing::{
    Collector, Config, Engine, ExternType, Func, Instance, Module, OptLevel, Store, Trap, Val,
    ValType,
};
use waxwing_tests::interruption::{self, Data, Epochs, Plan, Shown, import, shown, value};
use waxwing_tests::journal::Journal;
use waxwing_tests::meter::{COUNT_EXPORT, metered};
use waxwing_tests::objects::Audience;
use waxwing_tests::rng::Rng;
use waxwing_tests::{engines, env_count, guest, smith, with_threads};

/// A way to run modules that must make no difference.
struct Machine {
    name: &'static str,
    engine: Engine,
    /// Whether each check finds that the deadline is reached.
    interrupts: bool,
}

fn machines() -> Vec<Machine> {
    type Setup = fn(&mut Config);
    let setups: [(&'static str, bool, Setup); 8] = [
        ("optimized", false, |_| {}),
        ("unoptimized", false, |config| {
            config.cranelift_opt_level(OptLevel::None);
            config.collector(Collector::DeferredReferenceCounting);
        }),
        ("no signals", false, |config| {
            config.signals_based_traps(false);
        }),
        (
            "explicit bounds checks, memories that move",
            false,
            |config| {
                config.memory_reservation(0);
                config.memory_guard_size(0);
                config.memory_reservation_for_growth(0);
                config.table_lazy_init(false);
            },
        ),
        ("interrupted", true, |config| {
            config.epoch_interruption(true);
            config.gc_stress(true);
        }),
        ("interrupted, unoptimized, no signals", true, |config| {
            config.epoch_interruption(true);
            config.cranelift_opt_level(OptLevel::None);
            config.signals_based_traps(false);
            config.collector(Collector::DeferredReferenceCounting);
            config.gc_stress(true);
        }),
        ("suspended", false, |config| {
            config.async_support(true);
        }),
        ("interrupted and suspended", true, |config| {
            config.async_support(true);
            config.epoch_interruption(true);
            config.gc_stress(true);
        }),
    ];
    setups
        .into_iter()
        .map(|(name, interrupts, setup)| {
            let mut config = engines::config();
            config.consume_fuel(true);
            setup(&mut config);
            let engine = Engine::new(&config).expect("the settings suit each other");
            Machine {
                name,
                engine,
                interrupts,
            }
        })
        .collect()
}

#[test]
fn fuel_ends_at_the_same_place_and_interruptions_make_no_difference() {
    let first = env_count("WAXWING_INTERRUPTED_SEED", 0);
    let count = env_count("WAXWING_INTERRUPTED_MODULES", 300);
    let journal = Journal::open(env!("CARGO_TARGET_TMPDIR"), "interruption");
    let machines = machines();
    let [entries, exhausted, interruptions, suspensions, skipped] =
        [const { AtomicU64::new(0) }; 5];
    let differences = Mutex::new(Vec::new());
    with_threads(|| {
        (first..first + count).into_par_iter().for_each(|seed| {
            let wasm = smith::untamed(seed);
            let _working = journal.working_on(&format!("seed {seed}"));
            let differ = |name: &str, what: String| {
                let kept = journal.keep(&format!("{seed}.wasm"), &wasm);
                let report = format!("seed {seed}, {name}, {}: {what}", kept.display());
                eprintln!("{report}");
                differences.lock().expect("no thread panics").push(report);
            };
            let mut expected: Option<Vec<String>> = None;
            for machine in &machines {
                let module = Module::new(&machine.engine, &wasm).expect("valid modules compile");
                let run = |stop_at, drop_at| {
                    let epochs = match machine.interrupts {
                        true => Epochs::Always { stop_at },
                        false => Epochs::Unused,
                    };
                    let plan = Plan {
                        epochs,
                        drop_at,
                        ..Plan::default()
                    };
                    interruption::run(&module, seed, plan)
                };
                let Some(data) = run(0, 0).ok().filter(|it| !it.met_a_limit()) else {
                    skipped.fetch_add(1, Relaxed);
                    return;
                };
                let again = run(0, 0).expect("it could be run before");
                if again.log != data.log
                    || again.interruptions != data.interruptions
                    || again.suspensions != data.suspensions
                {
                    differ(machine.name, "differs when it is run again".to_string());
                }
                if let Some(expected) = &expected {
                    let both = expected.iter().zip(&data.log);
                    let other = both.clone().find(|(a, b)| a != b);
                    if let Some((a, b)) = other {
                        differ(machine.name, format!("`{b}`, not `{a}`"));
                    } else if expected.len() != data.log.len() {
                        differ(machine.name, "more or less happened".to_string());
                    }
                }
                suspensions.fetch_add(data.suspensions, Relaxed);
                if data.suspensions > 0 {
                    // To be given up somewhere is no harm.
                    let mut rng = Rng::of(&[seed, 10]);
                    for _ in 0..3 {
                        let at = 1 + rng.below(data.suspensions as usize) as u64;
                        let dropped = run(0, at).expect("as before");
                        if !dropped.log.iter().any(|entry| entry.contains("dropped")) {
                            differ(machine.name, format!("was not dropped at {at}"));
                        }
                    }
                }
                if machine.interrupts {
                    interruptions.fetch_add(data.interruptions, Relaxed);
                    // To be stopped somewhere is no harm.
                    let mut rng = Rng::of(&[seed, 7]);
                    for _ in 0..3 {
                        let at = 1 + rng.below(data.interruptions as usize) as u64;
                        let stopped = run(at, 0).expect("as before");
                        if !stopped.log.iter().any(|entry| entry.contains("stopped"))
                            && data.interruptions > 0
                        {
                            differ(machine.name, format!("was not stopped at {at}"));
                        }
                    }
                } else {
                    entries.fetch_add(data.log.len() as u64, Relaxed);
                    let out = Trap::OutOfFuel.to_string();
                    let out = data.log.iter().filter(|entry| entry.contains(&out));
                    exhausted.fetch_add(out.count() as u64, Relaxed);
                }
                expected.get_or_insert(data.log);
            }
        });
    });
    let differences = differences.into_inner().expect("no thread panics");
    let [entries, exhausted, interruptions, suspensions, skipped] =
        [entries, exhausted, interruptions, suspensions, skipped].map(AtomicU64::into_inner);
    println!(
        "{count} modules, {entries} observations, {exhausted} times out of fuel, {interruptions} \
         interruptions, {suspensions} suspensions, {skipped} modules skipped, {} differences",
        differences.len()
    );
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    assert!(
        exhausted > count / 4
            && interruptions > 10 * count
            && suspensions > 10 * count
            && skipped < count / 2,
        "these modules test little"
    );
}

/// What each exported function did, and what was consumed by then.
fn consumption(
    module: &Module,
    seed: u64,
    consumed: impl Fn(&mut Store<Data>, &Instance) -> u64,
) -> Result<Vec<(u64, String)>> {
    let mut store = Store::new(module.engine(), Data::new());
    store.limiter(|data| &mut data.limits);
    guest::never_stop(&mut store);
    let mut imports = Vec::new();
    for (index, ty) in module.imports().map(|import| import.ty()).enumerate() {
        imports.push(match ty {
            ExternType::Func(ty) => {
                let results: Vec<ValType> = ty.results().collect();
                Func::new(&mut store, ty, move |_, _, out| {
                    for (out, ty) in out.iter_mut().zip(&results) {
                        let default = Val::default_for_ty(ty);
                        *out = default.ok_or_else(|| anyhow::anyhow!("no default"))?;
                    }
                    Ok(())
                })
                .into()
            }
            other => import(&mut store, index as u64, other)?,
        });
    }
    let instance = Instance::new(&mut store, module, &imports)?;
    let mut entries = vec![(consumed(&mut store, &instance), String::new())];
    let exports: Vec<Func> = instance
        .exports(&mut store)
        .filter_map(|export| export.into_func())
        .collect();
    let mut rng = Rng::of(&[seed, 8]);
    for func in exports {
        let ty = func.ty(&store);
        let arguments = ty.params().map(|ty| value(&mut rng, &ty)).collect();
        let Some(arguments): Option<Vec<Val>> = arguments else {
            continue;
        };
        let mut results = vec![Val::I32(0); ty.results().len()];
        // A trap in the middle of a function is not charged for to the last operator.
        if func.call(&mut store, &arguments, &mut results).is_err() {
            break;
        }
        let shown = format!("{:?}", results.iter().map(shown).collect::<Vec<_>>());
        entries.push((consumed(&mut store, &instance), shown));
    }
    Ok(entries)
}

#[test]
fn fuel_is_what_programs_count_themselves() {
    let first = env_count("WAXWING_INTERRUPTED_SEED", 0);
    let count = env_count("WAXWING_INTERRUPTED_MODULES", 300);
    let counting = &machines()[..2];
    let plain = Engine::new(&engines::config()).expect("the settings suit each other");
    let [compared, units] = [const { AtomicU64::new(0) }; 2];
    let differences = Mutex::new(Vec::new());
    with_threads(|| {
        (first..first + count).into_par_iter().for_each(|seed| {
            let wasm = match seed % 2 {
                0 => smith::terminating(seed),
                _ => smith::objects(seed, Audience::Waxwing),
            };
            let Some(metered) = metered(&wasm).expect("the module is well formed") else {
                return;
            };
            let module = Module::new(&plain, &metered).expect("what is added is valid");
            let count = |store: &mut Store<Data>, instance: &Instance| {
                let count = instance.get_global(&mut *store, COUNT_EXPORT);
                count
                    .expect("exported")
                    .get(store)
                    .unwrap_i64()
                    .cast_unsigned()
            };
            let Ok(expected) = consumption(&module, seed, count) else {
                return;
            };
            for machine in counting {
                let module = Module::new(&machine.engine, &wasm).expect("valid modules compile");
                let fuel = |store: &mut Store<Data>, _: &Instance| {
                    u64::MAX - store.get_fuel().expect("fuel is configured")
                };
                let actual = consumption(&module, seed, fuel);
                let actual = actual.expect("the metered module does the same");
                if actual != expected {
                    let report = format!(
                        "seed {seed}, {}: {actual:?}, not {expected:?}",
                        machine.name
                    );
                    differences.lock().expect("no thread panics").push(report);
                }
            }
            compared.fetch_add(1, Relaxed);
            units.fetch_add(expected.last().map_or(0, |(count, _)| *count), Relaxed);
        });
    });
    let differences = differences.into_inner().expect("no thread panics");
    let [compared, units] = [compared, units].map(AtomicU64::into_inner);
    println!("{compared} of {count} modules compared, {units} units");
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    assert!(
        compared * 4 > count,
        "{compared} of {count} modules test little"
    );
}

#[test]
fn configurations_make_no_difference_wherever_code_is_interrupted() {
    let first = env_count("WAXWING_INTERRUPTED_SEED", 0);
    let count = env_count("WAXWING_INTERRUPTED_CONFIGURATIONS", 200);
    let journal = Journal::open(env!("CARGO_TARGET_TMPDIR"), "configurations");
    let mut config = engines::config();
    config.consume_fuel(true);
    let usual = Engine::new(&config).expect("the settings suit each other");
    let differences = Mutex::new(Vec::new());
    let total = Mutex::new((0, Shown::default()));
    with_threads(|| {
        (first..first + count).into_par_iter().for_each(|seed| {
            let wasm = smith::untamed(seed);
            let _working = journal.working_on(&format!("seed {seed}"));
            match interruption::check(&usual, &wasm, seed) {
                Ok(None) => {}
                Ok(Some(shown)) => {
                    let mut total = total.lock().expect("no thread panics");
                    total.0 += 1;
                    total.1.entries += shown.entries;
                    total.1.refusals += shown.refusals;
                    total.1.interruptions += shown.interruptions;
                    total.1.stops += shown.stops;
                }
                Err(difference) => {
                    let kept = journal.keep(&format!("{seed}.wasm"), &wasm);
                    let report = format!("seed {seed}, {}: {difference}", kept.display());
                    eprintln!("{report}");
                    differences.lock().expect("no thread panics").push(report);
                }
            }
        });
    });
    let differences = differences.into_inner().expect("no thread panics");
    let (compared, shown) = total.into_inner().expect("no thread panics");
    println!("{compared} of {count} modules compared: {shown:?}");
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    assert!(
        compared * 2 > count && shown.refusals > 0 && shown.interruptions > count,
        "these modules test little"
    );
}
