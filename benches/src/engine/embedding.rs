//! An engine that is a crate with wasmtime's interface, which the parent module names `api`.

#[path = "embedding/calls.rs"]
mod calls;
#[path = "embedding/scale.rs"]
mod scale;

use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail, ensure};

use super::api::{
    Collector, Config, Engine, Instance, InstanceAllocationStrategy, InstancePre, Linker,
    MemoryType, Module, OptLevel, PoolingAllocationConfig, SharedMemory, Store, TypedFunc,
};
use super::{Role, api};
use crate::benchmarks::{self, Benchmark, Group, Heap, Size, Work};
use crate::engine::process::Scratch;
use crate::engine::{self, Sample, Session, locked_version};

/// One engine for each collector: copying, deferred reference counting, and none.
pub fn collectors(
    package: &str,
    roles: [Role; 3],
    configure: fn(&mut Config),
) -> Vec<Box<dyn engine::Engine>> {
    let collectors = [
        ("copying", Collector::Copying),
        ("drc", Collector::DeferredReferenceCounting),
        ("null", Collector::Null),
    ];
    collectors
        .into_iter()
        .zip(roles)
        .map(|((name, collector), role)| -> Box<dyn engine::Engine> {
            Box::new(Embedding {
                name: format!("{package} {name}"),
                version: locked_version(package),
                role,
                setting: Setting::Collector(collector),
                configure,
            })
        })
        .collect()
}

/// One engine as it comes, and one for each setting that other groups compare with that.
pub fn settings(package: &str, role: Role) -> Vec<Box<dyn engine::Engine>> {
    let settings = [
        ("", Setting::Plain),
        (" pooling", Setting::Pooling),
        (" epochs", Setting::Epochs),
        (" fuel", Setting::Fuel),
    ];
    settings
        .into_iter()
        .map(|(name, setting)| -> Box<dyn engine::Engine> {
            Box::new(Embedding {
                name: format!("{package}{name}"),
                version: locked_version(package),
                role,
                setting,
                configure: |_| {},
            })
        })
        .collect()
}

/// An engine that compiles fast rather than well, which is compared where code is compiled and run.
pub fn baseline(
    package: &str,
    name: &str,
    role: Role,
    configure: fn(&mut Config),
) -> Box<dyn engine::Engine> {
    Box::new(Embedding {
        name: format!("{package} {name}"),
        version: locked_version(package),
        role,
        setting: Setting::Baseline,
        configure,
    })
}

/// What is special about an engine.
#[derive(Clone, Copy)]
enum Setting {
    Collector(Collector),
    Plain,
    Pooling,
    Epochs,
    Fuel,
    Baseline,
}

struct Embedding {
    name: String,
    version: &'static str,
    role: Role,
    setting: Setting,
    configure: fn(&mut Config),
}

/// A pool for so many instances at a time, whose memories and tables are as those of most programs.
fn pooling(instances: u32) -> InstanceAllocationStrategy {
    let mut pool = PoolingAllocationConfig::default();
    pool.total_core_instances(instances)
        .total_memories(instances)
        .total_tables(instances)
        .max_memory_size(32 << 20)
        .table_elements(1000)
        .max_unused_warm_slots(64);
    InstanceAllocationStrategy::Pooling(pool)
}

/// The crates have error types of their own. What is around the cause can be thousands of frames.
fn error(error: api::Error) -> anyhow::Error {
    anyhow!("{}", error.root_cause())
}

impl engine::Engine for Embedding {
    fn name(&self) -> &str {
        &self.name
    }

    fn version(&self) -> &str {
        self.version
    }

    fn role(&self) -> Role {
        self.role
    }

    fn takes(&self, benchmark: &Benchmark) -> bool {
        if let Work::Run {
            size, tail_calls, ..
        } = benchmark.work
        {
            return match self.setting {
                Setting::Plain => size == Size::Full || self.role == Role::Subject,
                // A peer compiles with a compiler of its own, which cannot do all.
                Setting::Baseline => size == Size::Full && !(tail_calls && self.role == Role::Peer),
                _ => false,
            };
        }
        match (benchmark.group, self.setting) {
            (Group::Compile, Setting::Plain) => true,
            // As above.
            (Group::Compile, Setting::Baseline) => {
                let is_plain = benchmark.heap == Heap::Untouched
                    && !matches!(
                        benchmark.work,
                        Work::Compile {
                            references: true,
                            ..
                        }
                    );
                is_plain || self.role != Role::Peer
            }
            (Group::Gc, Setting::Collector(collector)) => {
                benchmark.heap != Heap::Untouched || matches!(collector, Collector::Copying)
            }
            (Group::Scale, Setting::Pooling) => !matches!(benchmark.work, Work::CompileOn { .. }),
            (Group::Start | Group::Scale, Setting::Plain | Setting::Pooling) => true,
            (Group::Artifact | Group::Calls, Setting::Plain) => true,
            (Group::Interrupt, Setting::Plain | Setting::Epochs | Setting::Fuel) => true,
            _ => false,
        }
    }

    fn session<'e>(&'e self, benchmark: &Benchmark, wasm: &[u8]) -> Result<Box<dyn Session + 'e>> {
        let mut config = Config::new();
        // The default is not the same in all of them.
        config.cranelift_opt_level(OptLevel::Speed);
        match self.setting {
            Setting::Collector(collector) => {
                _ = config
                    .wasm_function_references(true)
                    .wasm_gc(true)
                    .wasm_exceptions(true)
                    .wasm_threads(true)
                    .collector(collector)
            }
            Setting::Plain | Setting::Baseline => {}
            Setting::Pooling => {
                let instances = match benchmark.work {
                    // One more is made before they are.
                    Work::Idle { instances, .. } => instances + 1,
                    _ => 64,
                };
                config.allocation_strategy(pooling(instances));
            }
            Setting::Epochs => _ = config.epoch_interruption(true),
            Setting::Fuel => _ = config.consume_fuel(true),
        }
        if let Work::Cross { crossing, .. } = benchmark.work {
            calls::configure(&mut config, crossing);
        }
        (self.configure)(&mut config);
        if let Work::Compile { threads, .. } = benchmark.work {
            config.parallel_compilation(threads == benchmarks::Threads::All);
            if benchmark.heap != Heap::Untouched {
                config.wasm_function_references(true).wasm_gc(true);
            }
            return Ok(Box::new(Compile {
                engine: Engine::new(&config).map_err(error)?,
                wasm: wasm.to_vec(),
            }));
        }
        let engine = Engine::new(&config).map_err(error)?;
        if let Work::CompileOn { threads, .. } = benchmark.work {
            return Ok(Box::new(scale::CompileOn::new(engine, wasm, threads)?));
        }
        let module = Module::new(&engine, wasm).map_err(error)?;
        Ok(match benchmark.work {
            Work::Call { export, argument } => Box::new(Call {
                // What does not free needs an empty heap for each sample.
                keep: !matches!(self.setting, Setting::Collector(Collector::Null)),
                setting: self.setting,
                module,
                export,
                argument,
                instance: None,
            }),
            Work::Threads {
                worker,
                threads,
                argument,
            } => Box::new(Threads::new(module, worker, threads, argument)?),
            Work::Cross { crossing, count } => {
                Box::new(calls::Crossings::new(&module, crossing, count)?)
            }
            Work::Load { mib, .. } => Box::new(Load::new(&module, mib)?),
            Work::Run { n, .. } => Box::new(Run::new(&module, n)?),
            Work::Compile { .. } | Work::CompileOn { .. } | Work::Command { .. } => {
                bail!("this is not done in a process")
            }
            Work::Idle {
                instances, touch, ..
            } => {
                let linker = Linker::new(&engine);
                let instance = linker.instantiate_pre(&module).map_err(error)?;
                Box::new(scale::Idle::new(instance, instances, touch))
            }
            Work::Drop { count, .. } => {
                let linker = Linker::new(&engine);
                let instance = linker.instantiate_pre(&module).map_err(error)?;
                Box::new(scale::Drops::new(instance, count))
            }
            Work::Start {
                threads,
                touch,
                count,
                ..
            } => {
                let linker = Linker::new(&engine);
                Box::new(Starts {
                    instance: linker.instantiate_pre(&module).map_err(error)?,
                    threads,
                    touch,
                    count,
                })
            }
        })
    }
}

struct Call {
    module: Module,
    export: &'static str,
    argument: i32,
    keep: bool,
    setting: Setting,
    instance: Option<(Store<()>, TypedFunc<i32, i64>)>,
}

impl Session for Call {
    fn sample(&mut self) -> Result<Sample> {
        let (mut store, run) = match self.instance.take() {
            Some(instance) => instance,
            None => {
                let mut store = Store::new(self.module.engine(), ());
                let instance = Instance::new(&mut store, &self.module, &[]).map_err(error)?;
                let run = instance
                    .get_typed_func(&mut store, self.export)
                    .map_err(error)?;
                (store, run)
            }
        };
        match self.setting {
            Setting::Epochs => store.set_epoch_deadline(1),
            Setting::Fuel => store.set_fuel(u64::MAX).map_err(error)?,
            _ => {}
        }
        let start = Instant::now();
        let checksum = run.call(&mut store, self.argument).map_err(error)?;
        let time = start.elapsed();
        if self.keep {
            self.instance = Some((store, run));
        }
        Ok(Sample::new(time, checksum))
    }
}

struct Threads {
    module: Module,
    memory: SharedMemory,
    worker: &'static str,
    threads: u32,
    argument: i32,
    leader: Store<()>,
    prepare: TypedFunc<(), ()>,
    await_: TypedFunc<i32, ()>,
    run: TypedFunc<i32, i64>,
}

fn instantiate(module: &Module, memory: &SharedMemory) -> Result<(Store<()>, Instance)> {
    let mut store = Store::new(module.engine(), ());
    let instance = Instance::new(&mut store, module, &[memory.clone().into()]).map_err(error)?;
    Ok((store, instance))
}

impl Threads {
    fn new(module: Module, worker: &'static str, threads: u32, argument: i32) -> Result<Threads> {
        let memory = SharedMemory::new(module.engine(), MemoryType::shared(1, 1)).map_err(error)?;
        let (mut leader, instance) = instantiate(&module, &memory)?;
        Ok(Threads {
            worker,
            threads,
            argument,
            prepare: instance
                .get_typed_func(&mut leader, "prepare")
                .map_err(error)?,
            await_: instance
                .get_typed_func(&mut leader, "await")
                .map_err(error)?,
            run: instance.get_typed_func(&mut leader, "run").map_err(error)?,
            module,
            memory,
            leader,
        })
    }
}

impl Session for Threads {
    fn sample(&mut self) -> Result<Sample> {
        self.prepare.call(&mut self.leader, ()).map_err(error)?;
        let mut workers = Vec::new();
        for _ in 0..self.threads {
            let (mut store, instance) = instantiate(&self.module, &self.memory)?;
            let worker: TypedFunc<i32, ()> = instance
                .get_typed_func(&mut store, self.worker)
                .map_err(error)?;
            workers.push((store, worker));
        }
        let (threads, argument) = (self.threads as i32, self.argument);
        thread::scope(|scope| {
            let workers: Vec<_> = workers
                .into_iter()
                .map(|(mut store, worker)| {
                    scope.spawn(move || worker.call(&mut store, argument).map_err(error))
                })
                .collect();
            self.await_.call(&mut self.leader, threads).map_err(error)?;
            let start = Instant::now();
            let checksum = self.run.call(&mut self.leader, threads).map_err(error)?;
            let time = start.elapsed();
            for worker in workers {
                let result = worker.join();
                ensure!(result.is_ok(), "a thread panicked");
                result.unwrap_or(Ok(()))?;
            }
            Ok(Sample::new(time, checksum))
        })
    }
}

struct Starts {
    instance: InstancePre<()>,
    threads: usize,
    touch: bool,
    count: u32,
}

/// Where the image begins.
const IMAGE: i32 = 0x1_0000;

/// Makes an instance in a store of its own, and uses it if it is to be.
fn start(instance: &InstancePre<()>, touch: bool) -> Result<(Store<()>, i64)> {
    let mut store = Store::new(instance.module().engine(), ());
    let instance = instance.instantiate(&mut store).map_err(error)?;
    if !touch {
        return Ok((store, 0));
    }
    let touch = instance.get_typed_func::<i32, i64>(&mut store, "touch");
    let touch = touch.map_err(error)?;
    let found = touch.call(&mut store, IMAGE).map_err(error)?;
    Ok((store, found))
}

impl Starts {
    /// The time for each instance, on one thread of those that wait for each other.
    fn starts(&self, together: &Barrier) -> Result<Duration> {
        together.wait();
        let clock = Instant::now();
        for _ in 0..self.count {
            start(&self.instance, self.touch)?;
        }
        Ok(clock.elapsed() / self.count)
    }
}

impl Session for Starts {
    fn sample(&mut self) -> Result<Sample> {
        let this = &*self;
        let together = &Barrier::new(this.threads);
        let time = thread::scope(|scope| {
            let threads: Vec<_> = (0..this.threads)
                .map(|_| scope.spawn(|| this.starts(together)))
                .collect();
            let times = threads
                .into_iter()
                .map(|thread| thread.join().map_err(|_| anyhow!("a thread panicked"))?);
            let times = times.collect::<Result<Vec<_>>>()?;
            Ok::<_, anyhow::Error>(times.into_iter().max().unwrap_or_default())
        })?;
        Ok(Sample::new(time, start(&self.instance, true)?.1))
    }
}

/// An artifact in a file.
struct Load {
    engine: Engine,
    file: Scratch,
}

impl Load {
    fn new(module: &Module, mib: u32) -> Result<Load> {
        ensure!(
            module.text().len() >= (mib as usize) << 20,
            "{} bytes of machine code are too few",
            module.text().len()
        );
        let artifact = module.serialize().map_err(error)?;
        Ok(Load {
            engine: module.engine().clone(),
            file: Scratch::write("cwasm", &artifact)?,
        })
    }
}

impl Session for Load {
    fn sample(&mut self) -> Result<Sample> {
        let start = Instant::now();
        // SAFETY: the engine made the file, and nobody changes it.
        let module = unsafe { Module::deserialize_file(&self.engine, &self.file.0) };
        let time = start.elapsed();
        let checksum = module.map_err(error)?.exports().len() as i64;
        Ok(Sample::new(time, checksum))
    }
}

struct Run {
    store: Store<()>,
    run: TypedFunc<i32, i64>,
    n: i32,
}

impl Run {
    fn new(module: &Module, n: i32) -> Result<Run> {
        let mut store = Store::new(module.engine(), ());
        let instance = Instance::new(&mut store, module, &[]).map_err(error)?;
        if let Ok(initialize) = instance.get_typed_func::<(), ()>(&mut store, "_initialize") {
            initialize.call(&mut store, ()).map_err(error)?;
        }
        let run = instance.get_typed_func(&mut store, "run").map_err(error)?;
        Ok(Run { store, run, n })
    }
}

impl Session for Run {
    fn sample(&mut self) -> Result<Sample> {
        let start = Instant::now();
        let checksum = self.run.call(&mut self.store, self.n).map_err(error)?;
        Ok(Sample::new(start.elapsed(), checksum))
    }
}

struct Compile {
    engine: Engine,
    wasm: Vec<u8>,
}

impl Session for Compile {
    fn sample(&mut self) -> Result<Sample> {
        let start = Instant::now();
        let module = Module::new(&self.engine, &self.wasm).map_err(error)?;
        let time = start.elapsed();
        Ok(Sample::new(time, module.exports().len() as i64))
    }
}
