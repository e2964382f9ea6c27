//! Running modules that may run for ever: stopped by fuel, by epochs and by limits, suspended in between, with everything that
//! can be observed written down.

use anyhow::{Result, ensure};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;
use waxwing::{
    Caller, Config, Engine, Extern, ExternType, Func, FuncType, Global, Instance, Memory, Module,
    OptLevel, PoolingAllocationConfig, Ref, ResourceLimiter, Store, StoreLimits, Table, Trap,
    UpdateDeadline, Val, ValType,
};

use crate::rng::Rng;
use crate::{engines, guest};

/// How the passing of epochs interrupts a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Epochs {
    /// Not at all: the engine is not configured for it.
    #[default]
    Unused,
    /// Each check finds that the deadline is reached. The one of this number ends the execution.
    Always {
        /// Counted from 1; 0 for none.
        stop_at: u64,
    },
    /// Another thread increments the epoch, and execution goes on.
    Continue,
    /// Another thread increments the epoch, and execution traps.
    Trap,
}

/// How a run is disturbed. By default it is not.
#[derive(Clone, Copy, Debug, Default)]
pub struct Plan {
    /// How epochs pass.
    pub epochs: Epochs,
    /// The question that the limiter answers with no, counted from 1. 0 for none.
    pub refuse: u64,
    /// When a future is pending for the so manieth time, it is dropped. 0 for never. Engines without asynchronous calls have no
    /// futures.
    pub drop_at: u64,
}

/// What could be observed of a run.
#[derive(Debug)]
pub struct Observed {
    /// What happened, in order, with the fuel that there was.
    pub log: Vec<String>,
    /// How often the epoch's deadline was reached and execution could go on.
    pub interruptions: u64,
    /// How often the limiter was asked.
    pub asked: u64,
    /// How often a future was pending.
    pub suspensions: u64,
}

impl Observed {
    /// Whether the run met a limit that is a matter of the configuration: how deep calls can go, and how many objects
    /// there can be.
    pub fn met_a_limit(&self) -> bool {
        let limits = [Trap::StackOverflow, Trap::AllocationTooLarge].map(|it| it.to_string());
        let is_limit = |entry: &String| limits.iter().any(|limit| entry.contains(limit));
        self.log.iter().any(is_limit)
    }
}

/// What is in the store of a run.
pub struct Data {
    /// Refuses growth.
    pub limits: Limits,
    /// See [`Observed`].
    pub log: Vec<String>,
    interruptions: u64,
    stop_at: u64,
}

impl Data {
    /// With the limits of [`guest`] alone.
    pub fn new() -> Data {
        Data {
            limits: Limits {
                fixed: guest::limits(),
                asked: 0,
                refuse: 0,
            },
            log: Vec::new(),
            interruptions: 0,
            stop_at: 0,
        }
    }
}

impl Default for Data {
    fn default() -> Data {
        Data::new()
    }
}

/// Limits that can refuse what is asked for at some time.
pub struct Limits {
    fixed: StoreLimits,
    asked: u64,
    /// The question that is answered with no, counted from 1. 0 for none.
    refuse: u64,
}

impl Limits {
    fn asked(&mut self) -> bool {
        self.asked += 1;
        self.asked != self.refuse
    }
}

impl ResourceLimiter for Limits {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool> {
        Ok(self.asked() && self.fixed.memory_growing(current, desired, maximum)?)
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool> {
        Ok(self.asked() && self.fixed.table_growing(current, desired, maximum)?)
    }

    fn instances(&self) -> usize {
        self.fixed.instances()
    }

    fn memories(&self) -> usize {
        self.fixed.memories()
    }

    fn tables(&self) -> usize {
        self.fixed.tables()
    }
}

/// A value that seeds determine.
pub fn value(rng: &mut Rng, ty: &ValType) -> Option<Val> {
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
pub fn shown(val: &Val) -> String {
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

/// What functions of the host do: they log their calls, and change the fuel.
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

/// What satisfies an import.
///
/// # Errors
///
/// When there is nothing of the type, or limits do not allow it.
pub fn import(store: &mut Store<Data>, seed: u64, ty: ExternType) -> Result<Extern> {
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

/// Runs a module of an engine that consumes fuel, and tells what could be observed.
///
/// # Errors
///
/// When the module's imports cannot be satisfied.
pub fn run(module: &Module, seed: u64, plan: Plan) -> Result<Observed> {
    if !matches!(plan.epochs, Epochs::Continue | Epochs::Trap) {
        return run_alone(module, seed, plan);
    }
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut rng = Rng::of(&[seed, 9]);
            while !done.load(Ordering::Relaxed) {
                module.engine().increment_epoch();
                thread::sleep(Duration::from_micros(rng.below(30) as u64));
            }
        });
        let observed = run_alone(module, seed, plan);
        done.store(true, Ordering::Relaxed);
        observed
    })
}

fn run_alone(module: &Module, seed: u64, plan: Plan) -> Result<Observed> {
    let epochs = plan.epochs;
    let is_async = module.engine().is_async();
    let mut executor = Executor {
        pending: 0,
        drop_at: plan.drop_at,
    };
    let mut data = Data::new();
    data.limits.refuse = plan.refuse;
    if let Epochs::Always { stop_at } = epochs {
        data.stop_at = stop_at;
    }
    let mut store = Store::new(module.engine(), data);
    store.limiter(|data| &mut data.limits);
    if matches!(epochs, Epochs::Always { .. } | Epochs::Continue) {
        let beyond = u64::from(epochs == Epochs::Continue);
        store.epoch_deadline_callback(move |mut store| {
            let data = store.data_mut();
            data.interruptions += 1;
            ensure!(data.interruptions != data.stop_at, "stopped");
            Ok(match data.interruptions % 3 {
                0 if is_async => UpdateDeadline::Yield(beyond),
                _ => UpdateDeadline::Continue(beyond),
            })
        });
    }
    let mut rng = Rng::of(&[seed, 6]);
    let mut imports = Vec::new();
    for (index, ty) in module.imports().map(|import| import.ty()).enumerate() {
        imports.push(import(&mut store, seed ^ index as u64, ty)?);
    }
    let fuel = |rng: &mut Rng| *rng.choose(&[0, 10, 100, 1000, 5000, 5000, 20_000]);
    let deadline = |store: &mut Store<Data>| {
        if epochs == Epochs::Trap {
            store.set_epoch_deadline(1);
        }
    };
    store.set_fuel(fuel(&mut rng))?;
    deadline(&mut store);
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
    if let Ok(instance) = instance {
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
            deadline(&mut store);
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
    }
    let data = store.into_data();
    Ok(Observed {
        log: data.log,
        interruptions: data.interruptions,
        asked: data.limits.asked,
        suspensions: executor.pending,
    })
}

/// A configuration that consumes fuel, and else has settings that make no difference to what programs do, but for how deep
/// calls can go.
pub fn any_config(rng: &mut Rng) -> Config {
    let mut config = engines::config();
    let reservation = *rng.choose(&[0, 1, 64 << 10, 1 << 20, 100 << 20, 4 << 30, 8 << 30]);
    config
        .consume_fuel(true)
        .memory_reservation(reservation)
        .memory_guard_size(*rng.choose(&[0, 1, 64 << 10, 32 << 20, 2 << 30, 4 << 30]))
        .memory_reservation_for_growth(*rng.choose(&[0, 64 << 10, 1 << 20, 2 << 30]))
        // No more than the limits let memories have anyway.
        .memory_may_move(reservation < guest::MAX_MEMORY as u64 || rng.one_in(2))
        .guard_before_linear_memory(rng.one_in(2))
        .memory_init_cow(!rng.one_in(3))
        .memory_guaranteed_dense_image_size(*rng.choose(&[0, 16 << 20]))
        .table_lazy_init(!rng.one_in(3))
        .generate_address_map(!rng.one_in(4))
        .wasm_backtrace(!rng.one_in(4))
        .cranelift_opt_level(*rng.choose(&[
            OptLevel::None,
            OptLevel::Speed,
            OptLevel::SpeedAndSize,
        ]))
        .cranelift_nan_canonicalization(rng.one_in(4))
        .cranelift_debug_verifier(rng.one_in(4));
    if rng.one_in(3) {
        config.signals_based_traps(false);
    }
    if rng.one_in(3) {
        let mut pool = PoolingAllocationConfig::new();
        // For one store at a time, and its modules that wasm-smith makes.
        pool.total_core_instances(4)
            .total_memories(8)
            .total_tables(8)
            .total_gc_heaps(4)
            .max_memories_per_module(8)
            .max_tables_per_module(8)
            .max_memory_size(*rng.choose(&[guest::MAX_MEMORY, 4 << 30]))
            .table_elements(guest::MAX_TABLE)
            .linear_memory_keep_resident(*rng.choose(&[0, 4096, 1 << 20]))
            .table_keep_resident(*rng.choose(&[0, 4096]))
            .max_unused_warm_slots(*rng.choose(&[0, 1, 100]))
            .decommit_batch_size(*rng.choose(&[1, 5]));
        config.allocation_strategy(pool);
    }
    if rng.one_in(3) {
        config.async_support(true);
    }
    #[cfg(unix)]
    if rng.one_in(3) {
        let creator = crate::host_memories::HostMemories::default();
        config.with_host_memory(std::sync::Arc::new(creator));
    }
    config
}

/// How much a check showed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Shown {
    /// Entries of logs that were compared.
    pub entries: u64,
    /// Entries that are different because the limiter refused something.
    pub refusals: u64,
    /// How often another thread interrupted the execution, and it went on.
    pub interruptions: u64,
    /// How often another thread stopped the execution.
    pub stops: u64,
}

/// Checks that a module does the same, and consumes the same fuel, in the engine `usual` and in one of a random configuration,
/// again and again; also when growth is refused to it, and while another thread increments the epoch. `None` if
/// it cannot be compared.
///
/// # Errors
///
/// Tells the first difference.
pub fn check(usual: &Engine, wasm: &[u8], seed: u64) -> Result<Option<Shown>, String> {
    let mut rng = Rng::of(&[seed, 10]);
    let compile = |engine: &Engine| {
        Module::new(engine, wasm).map_err(|error| format!("does not compile: {error:?}"))
    };
    let config = any_config(&mut rng);
    let other = |config: &Config| {
        Engine::new(config).map_err(|error| format!("the settings are refused: {error:?}"))
    };
    let module = compile(usual)?;
    let Ok(expected) = run(&module, seed, Plan::default()) else {
        return Ok(None);
    };
    if expected.met_a_limit() {
        return Ok(None);
    }
    let mut shown = Shown::default();
    let mut compare = |what: &str, expected: &[String], actual: &[String]| {
        shown.entries += actual.len() as u64;
        match expected.iter().zip(actual).find(|(a, b)| a != b) {
            Some((a, b)) => Err(format!("{what}: `{b}`, not `{a}`; {config:?}")),
            None if expected.len() != actual.len() => {
                Err(format!("{what}: more or less happened; {config:?}"))
            }
            None => Ok(()),
        }
    };
    let again = |module: &Module, epochs| {
        let plan = Plan {
            epochs,
            ..Plan::default()
        };
        run(module, seed, plan).map_err(|error| format!("cannot be run: {error:?}"))
    };

    let random = compile(&other(&config)?)?;
    let mut suspensions = 0;
    for what in ["once", "again"] {
        let actual = again(&random, Epochs::Unused)?;
        compare(what, &expected.log, &actual.log)?;
        suspensions = actual.suspensions;
    }

    if suspensions > 0 {
        let plan = Plan {
            drop_at: 1 + rng.below(suspensions as usize) as u64,
            ..Plan::default()
        };
        let dropped = run(&random, seed, plan).map_err(|error| format!("dropped: {error:?}"))?;
        let is_dropped = |entry: &String| entry.ends_with(": dropped");
        let until = dropped.log.iter().position(is_dropped);
        let until = until.ok_or("a future was not dropped")?;
        compare("dropped", &expected.log[..until], &dropped.log[..until])?;
    }

    let refusing = Plan {
        refuse: 1 + rng.below(expected.asked as usize) as u64,
        ..Plan::default()
    };
    let refused = run(&module, seed, refusing);
    let actual = run(&random, seed, refusing);
    match (refused, actual) {
        (Ok(refused), Ok(actual)) => {
            if !refused.met_a_limit() {
                compare("refused", &refused.log, &actual.log)?;
                let both = expected.log.iter().zip(&refused.log);
                shown.refusals += both.filter(|(a, b)| a != b).count() as u64;
            }
        }
        (Err(_), Err(_)) => {}
        (a, b) => return Err(format!("refused: {b:?}, not {a:?}; {config:?}")),
    }

    let mut config = config.clone();
    config.epoch_interruption(true);
    let random = compile(&other(&config)?)?;
    let actual = again(&random, Epochs::Continue)?;
    let mut compare = |what: &str, expected: &[String], actual: &[String]| {
        shown.entries += actual.len() as u64;
        let other = expected.iter().zip(actual).find(|(a, b)| a != b);
        other.map_or(Ok(()), |(a, b)| {
            Err(format!("{what}: `{b}`, not `{a}`; {config:?}"))
        })
    };
    compare("interrupted", &expected.log, &actual.log)?;
    let stopped = again(&random, Epochs::Trap)?;
    let interrupt = Trap::Interrupt.to_string();
    let is_stop = |entry: &&String| entry.contains(&interrupt);
    // All is as it would be up to the first time that it was stopped.
    let until = stopped.log.iter().position(|entry| is_stop(&entry));
    compare(
        "stopped",
        &expected.log,
        &stopped.log[..until.unwrap_or(stopped.log.len())],
    )?;
    shown.interruptions = actual.interruptions;
    shown.stops = stopped.log.iter().filter(is_stop).count() as u64;
    Ok(Some(shown))
}
