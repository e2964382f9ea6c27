//! Random modules that may run for ever are stopped by fuel, always at the same place, and interrupted by epochs
//! and suspended without noticing.
//!
//! | environment variable | default | |
//! |---|---|---|
//! | `WAXWING_INTERRUPTED_MODULES` | 300 | how many modules |
//! | `WAXWING_INTERRUPTED_SEED` | 0 | the first module's seed |

use anyhow::{Result, ensure};
use rayon::prelude::*;
use std::pin::Pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, Waker};
use std::thread;
use waxwing::{
    Caller, Collector, Config, Engine, Extern, ExternType, Func, FuncType, Global, Instance,
    Memory, Module, OptLevel, Ref, Store, StoreLimits, Table, Trap, UpdateDeadline, Val, ValType,
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

/// What functions of the host do.
fn answer(
    caller: &mut Caller<'_, Data>,
    seed: u64,
    ty: &FuncType,
    params: &[Val],
    out: &mut [Val],
) -> Result<()> {
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
    for (out, ty) in out.iter_mut().zip(ty.results()) {
        *out = value(&mut rng, &ty).expect("the imports were chosen so");
    }
    Ok(())
}

/// Pending, and then ready.
struct Once(bool);

impl Future for Once {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<()> {
        match std::mem::replace(&mut self.0, true) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }
}

/// Who polls what is suspended, at times on other threads.
struct Executor {
    /// How often something was pending.
    pending: u64,
    /// At which of these times it is dropped.
    drop_at: u64,
}

impl Executor {
    fn run<R: Send>(&mut self, future: impl Future<Output = Result<R>> + Send) -> Result<R> {
        let mut future = Box::pin(future);
        loop {
            let mut poll = || {
                let mut cx = Context::from_waker(Waker::noop());
                future.as_mut().poll(&mut cx)
            };
            let polled = match self.pending % 512 {
                0 => thread::scope(|scope| scope.spawn(poll).join()).expect("nothing panics"),
                _ => poll(),
            };
            if let Poll::Ready(result) = polled {
                return result;
            }
            self.pending += 1;
            ensure!(self.pending != self.drop_at, "dropped");
        }
    }
}

fn import(store: &mut Store<Data>, seed: u64, ty: ExternType) -> Result<Extern> {
    Ok(match ty {
        ExternType::Func(ty) if store.engine().is_async() => {
            let call_ty = ty.clone();
            Extern::Func(Func::new_async(
                store,
                call_ty,
                move |mut caller, params, out| {
                    let ty = ty.clone();
                    Box::new(async move {
                        Once(false).await;
                        let result = answer(&mut caller, seed, &ty, params, out);
                        Once(false).await;
                        result
                    })
                },
            ))
        }
        ExternType::Func(ty) => {
            let call_ty = ty.clone();
            Extern::Func(Func::new(store, call_ty, move |mut caller, params, out| {
                answer(&mut caller, seed, &ty, params, out)
            }))
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

/// What ends an execution early, if anything does.
#[derive(Clone, Copy)]
enum End {
    Never,
    /// This interruption.
    Stopped(u64),
    /// Its future is dropped when it is pending for the so manieth time.
    Dropped(u64),
}

/// Runs a module and tells what could be observed, and how often it was suspended.
fn run(machine: &Machine, module: &Module, seed: u64, end: End) -> Result<(Data, u64)> {
    let stop_at = match end {
        End::Stopped(at) => at,
        _ => 0,
    };
    let mut executor = Executor {
        pending: 0,
        drop_at: match end {
            End::Dropped(at) => at,
            _ => 0,
        },
    };
    let is_async = machine.engine.is_async();
    let data = Data {
        limits: guest::limits(),
        log: Vec::new(),
        interruptions: 0,
        last_interruption: stop_at,
    };
    let mut store = Store::new(&machine.engine, data);
    store.limiter(|data| &mut data.limits);
    if machine.interrupts {
        store.epoch_deadline_callback(move |mut store| {
            let data = store.data_mut();
            data.interruptions += 1;
            ensure!(data.interruptions != data.last_interruption, "stopped");
            Ok(match data.interruptions % 3 {
                0 if is_async => UpdateDeadline::Yield(0),
                _ => UpdateDeadline::Continue(0),
            })
        });
    }
    let mut rng = Rng::of(&[seed, 6]);
    let mut imports = Vec::new();
    for (index, ty) in module.imports().map(|import| import.ty()).enumerate() {
        imports.push(import(&mut store, seed ^ index as u64, ty)?);
    }
    let fuel = |rng: &mut Rng| *rng.choose(&[0, 10, 100, 1000, 5000, 5000, 20_000]);
    store.set_fuel(fuel(&mut rng))?;
    if is_async {
        let interval = *Rng::of(&[seed, 9]).choose(&[1, 3, 10, 100, 1000]);
        store.fuel_async_yield_interval(Some(interval))?;
    }
    let instance = match is_async {
        true => executor.run(Instance::new_async(&mut store, module, &imports)),
        false => Instance::new(&mut store, module, &imports),
    };
    let left = store.get_fuel()?;
    let outcome = match &instance {
        Ok(_) => "instantiated".to_string(),
        Err(error) => shown_error(error),
    };
    store.data_mut().log.push(format!("{left} left: {outcome}"));
    let Ok(instance) = instance else {
        return Ok((store.into_data(), executor.pending));
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
        let called = match is_async {
            true => executor.run(func.call_async(&mut store, &arguments, &mut results)),
            false => func.call(&mut store, &arguments, &mut results),
        };
        let outcome = match called {
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
    Ok((store.into_data(), executor.pending))
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
                let Ok((data, pending)) = run(machine, &module, seed, End::Never) else {
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
                let (again, pending_again) =
                    run(machine, &module, seed, End::Never).expect("it could be run before");
                if again.log != data.log
                    || again.interruptions != data.interruptions
                    || pending_again != pending
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
                suspensions.fetch_add(pending, Relaxed);
                if pending > 0 {
                    // To be given up somewhere is no harm.
                    let mut rng = Rng::of(&[seed, 10]);
                    for _ in 0..3 {
                        let at = 1 + rng.below(pending as usize) as u64;
                        let (dropped, _) =
                            run(machine, &module, seed, End::Dropped(at)).expect("as before");
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
                        let (stopped, _) =
                            run(machine, &module, seed, End::Stopped(at)).expect("as before");
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
