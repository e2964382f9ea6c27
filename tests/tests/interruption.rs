//! Random modules that may run for ever are stopped by fuel, always at the same place, and interrupted by epochs
//! without noticing.
//!
//! | environment variable | default | |
//! |---|---|---|
//! | `WAXWING_INTERRUPTED_MODULES` | 300 | how many modules |
//! | `WAXWING_INTERRUPTED_SEED` | 0 | the first module's seed |

use anyhow::{Result, ensure};
use rayon::prelude::*;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use waxwing::{
    Caller, Collector, Config, Engine, Extern, ExternType, Func, Global, Instance, Memory, Module,
    OptLevel, Ref, Store, StoreLimits, Table, Trap, UpdateDeadline, Val, ValType,
};
use waxwing_tests::journal::Journal;
use waxwing_tests::meter::{COUNT_EXPORT, metered};
use waxwing_tests::objects::Audience;
use waxwing_tests::rng::Rng;
use waxwing_tests::{engines, env_count, guest, smith, with_threads};

struct Data {
    limits: StoreLimits,
    /// What could be observed, in order.
    log: Vec<String>,
    /// How often the epoch's deadline was reached.
    interruptions: u64,
    /// At which of these execution is to end.
    last_interruption: u64,
}

/// A way to run modules that must make no difference.
struct Machine {
    name: &'static str,
    engine: Engine,
    /// Whether each check finds that the deadline is reached.
    interrupts: bool,
}

fn machines() -> Vec<Machine> {
    type Setup = fn(&mut Config);
    let setups: [(&'static str, bool, Setup); 6] = [
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

/// A value that seeds determine.
fn value(rng: &mut Rng, ty: &ValType) -> Option<Val> {
    Some(match ty {
        ValType::I32 => Val::I32(*rng.choose(&[0, 1, -1, 7, 1000, rng.clone().next_u64() as i32])),
        ValType::I64 => Val::I64(*rng.choose(&[0, 1, -1, 100, rng.clone().next_u64() as i64])),
        ValType::F32 => Val::F32((rng.below(1000) as f32 / 8.0).to_bits()),
        ValType::F64 => Val::F64((rng.below(1000) as f64 / 8.0).to_bits()),
        ValType::V128 => Val::V128(u128::from(rng.next_u64()).into()),
        ValType::Ref(_) => return Val::default_for_ty(ty),
    })
}

/// What a value is, for the log: references by whether they are null.
fn shown(val: &Val) -> String {
    match val {
        Val::I32(x) => format!("i32 {x}"),
        Val::I64(x) => format!("i64 {x}"),
        Val::F32(x) => format!("f32 {x:x}"),
        Val::F64(x) => format!("f64 {x:x}"),
        Val::V128(x) => format!("v128 {:x}", x.as_u128()),
        Val::FuncRef(x) => format!("funcref {}", x.is_some()),
        Val::ExternRef(x) => format!("externref {}", x.is_some()),
        _ => "another".to_string(),
    }
}

fn shown_error(error: &anyhow::Error) -> String {
    match error.downcast_ref::<Trap>() {
        Some(trap) => format!("{trap}"),
        None => error.root_cause().to_string(),
    }
}

fn import(store: &mut Store<Data>, seed: u64, ty: ExternType) -> Result<Extern> {
    Ok(match ty {
        ExternType::Func(ty) => {
            let results: Vec<ValType> = ty.results().collect();
            let call = move |mut caller: Caller<'_, Data>, params: &[Val], out: &mut [Val]| {
                let fuel = caller.get_fuel()?;
                let entry = format!(
                    "host with {fuel}: {:?}",
                    params.iter().map(shown).collect::<Vec<_>>()
                );
                caller.data_mut().log.push(entry);
                let mut rng = Rng::of(&[seed, fuel]);
                ensure!(!rng.one_in(20), "the host fails");
                if rng.one_in(10) {
                    caller.set_fuel(fuel / 2)?;
                }
                for (out, ty) in out.iter_mut().zip(&results) {
                    *out = value(&mut rng, ty).expect("the imports were chosen so");
                }
                Ok(())
            };
            Extern::Func(Func::new(store, ty, call))
        }
        ExternType::Global(ty) => {
            let value = value(&mut Rng::of(&[seed]), ty.content());
            let value = value.ok_or_else(|| anyhow::anyhow!("no default"))?;
            Extern::Global(Global::new(store, ty, value)?)
        }
        ExternType::Memory(ty) => Extern::Memory(Memory::new(store, ty)?),
        ExternType::Table(ty) => {
            let null = Ref::null(ty.element().heap_type());
            Extern::Table(Table::new(store, ty, null)?)
        }
        other => anyhow::bail!("{other:?} cannot be made"),
    })
}

/// Runs a module and tells what could be observed. `stop_at` is the interruption that ends an execution.
fn run(machine: &Machine, module: &Module, seed: u64, stop_at: u64) -> Result<Data> {
    let data = Data {
        limits: guest::limits(),
        log: Vec::new(),
        interruptions: 0,
        last_interruption: stop_at,
    };
    let mut store = Store::new(&machine.engine, data);
    store.limiter(|data| &mut data.limits);
    if machine.interrupts {
        store.epoch_deadline_callback(|mut store| {
            let data = store.data_mut();
            data.interruptions += 1;
            ensure!(data.interruptions != data.last_interruption, "stopped");
            Ok(UpdateDeadline::Continue(0))
        });
    }
    let mut rng = Rng::of(&[seed, 6]);
    let mut imports = Vec::new();
    for (index, ty) in module.imports().map(|import| import.ty()).enumerate() {
        imports.push(import(&mut store, seed ^ index as u64, ty)?);
    }
    let fuel = |rng: &mut Rng| *rng.choose(&[0, 10, 100, 1000, 5000, 5000, 20_000]);
    store.set_fuel(fuel(&mut rng))?;
    let instance = Instance::new(&mut store, module, &imports);
    let left = store.get_fuel()?;
    let outcome = match &instance {
        Ok(_) => "instantiated".to_string(),
        Err(error) => shown_error(error),
    };
    store.data_mut().log.push(format!("{left} left: {outcome}"));
    let Ok(instance) = instance else {
        return Ok(store.into_data());
    };
    let exports: Vec<(String, Extern)> = instance
        .exports(&mut store)
        .map(|export| (export.name().to_string(), export.into_extern()))
        .collect();
    for (name, export) in &exports {
        let Extern::Func(func) = export else { continue };
        let ty = func.ty(&store);
        let arguments = ty.params().map(|ty| value(&mut rng, &ty)).collect();
        let Some(arguments): Option<Vec<Val>> = arguments else {
            continue;
        };
        store.set_fuel(fuel(&mut rng))?;
        let mut results = vec![Val::I32(0); ty.results().len()];
        let outcome = match func.call(&mut store, &arguments, &mut results) {
            Ok(()) => format!("{:?}", results.iter().map(shown).collect::<Vec<_>>()),
            Err(error) => shown_error(&error),
        };
        let left = store.get_fuel()?;
        let entry = format!("{left} left of `{name}`: {outcome}");
        store.data_mut().log.push(entry);
    }
    for (name, export) in exports {
        let state = match export {
            Extern::Global(global) => shown(&global.get(&mut store)),
            Extern::Memory(memory) => {
                let data = memory.data(&store);
                let sum = data.iter().fold(0_u64, |sum, byte| {
                    sum.wrapping_mul(31).wrapping_add(u64::from(*byte))
                });
                format!("{} bytes, {sum:x}", data.len())
            }
            Extern::Table(table) => format!("{} elements", table.size(&store)),
            _ => continue,
        };
        store.data_mut().log.push(format!("`{name}`: {state}"));
    }
    Ok(store.into_data())
}

#[test]
fn fuel_ends_at_the_same_place_and_interruptions_make_no_difference() {
    let first = env_count("WAXWING_INTERRUPTED_SEED", 0);
    let count = env_count("WAXWING_INTERRUPTED_MODULES", 300);
    let journal = Journal::open(env!("CARGO_TARGET_TMPDIR"), "interruption");
    let machines = machines();
    let [entries, exhausted, interruptions, skipped] = [const { AtomicU64::new(0) }; 4];
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
                let Ok(data) = run(machine, &module, seed, 0) else {
                    skipped.fetch_add(1, Relaxed);
                    return;
                };
                // How deep calls can go, and how many objects there can be, is a matter of the
                // configuration.
                let limits = [Trap::StackOverflow, Trap::AllocationTooLarge].map(|t| t.to_string());
                let is_limit = |entry: &String| limits.iter().any(|limit| entry.contains(limit));
                if data.log.iter().any(is_limit) {
                    skipped.fetch_add(1, Relaxed);
                    return;
                }
                let again = run(machine, &module, seed, 0).expect("it could be run before");
                if again.log != data.log || again.interruptions != data.interruptions {
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
                if machine.interrupts {
                    interruptions.fetch_add(data.interruptions, Relaxed);
                    // To be stopped somewhere is no harm.
                    let mut rng = Rng::of(&[seed, 7]);
                    for _ in 0..3 {
                        let at = 1 + rng.below(data.interruptions as usize) as u64;
                        let stopped = run(machine, &module, seed, at).expect("as before");
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
    let [entries, exhausted, interruptions, skipped] =
        [entries, exhausted, interruptions, skipped].map(AtomicU64::into_inner);
    println!(
        "{count} modules, {entries} observations, {exhausted} times out of fuel, {interruptions} \
         interruptions, {skipped} modules skipped, {} differences",
        differences.len()
    );
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    assert!(
        exhausted > count / 4 && interruptions > 10 * count && skipped < count / 2,
        "these modules test little"
    );
}

/// What each exported function did, and what was consumed by then.
fn consumption(
    module: &Module,
    seed: u64,
    consumed: impl Fn(&mut Store<Data>, &Instance) -> u64,
) -> Result<Vec<(u64, String)>> {
    let data = Data {
        limits: guest::limits(),
        log: Vec::new(),
        interruptions: 0,
        last_interruption: 0,
    };
    let mut store = Store::new(module.engine(), data);
    store.limiter(|data| &mut data.limits);
    guest::never_stop(&mut store);
    let mut imports = Vec::new();
    for (index, import) in module.imports().enumerate() {
        imports.push(match import.ty() {
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
            other => self::import(&mut store, index as u64, other)?,
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
