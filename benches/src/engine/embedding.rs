//! An engine that is a crate with wasmtime's interface, which the parent module names `api`.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use anyhow::{Result, anyhow, ensure};

use super::api::{
    Collector, Config, Engine, Instance, MemoryType, Module, SharedMemory, Store, TypedFunc,
};
use super::{Role, api};
use crate::benchmarks::{Benchmark, Heap, Work};
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
                collector,
                configure,
            })
        })
        .collect()
}

struct Embedding {
    name: String,
    version: &'static str,
    role: Role,
    collector: Collector,
    configure: fn(&mut Config),
}

/// The crates have error types of their own.
fn error(error: api::Error) -> anyhow::Error {
    anyhow!("{error:?}")
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
        benchmark.heap != Heap::Untouched || matches!(self.collector, Collector::Copying)
    }

    fn session<'e>(&'e self, benchmark: &Benchmark, wasm: &[u8]) -> Result<Box<dyn Session + 'e>> {
        let mut config = Config::new();
        config
            .wasm_function_references(true)
            .wasm_gc(true)
            .wasm_exceptions(true)
            .wasm_threads(true)
            .collector(self.collector);
        (self.configure)(&mut config);
        let engine = Engine::new(&config).map_err(error)?;
        let module = Module::new(&engine, wasm).map_err(error)?;
        Ok(match benchmark.work {
            Work::Call { export, argument } => Box::new(Call {
                // What does not free needs an empty heap for each sample.
                keep: !matches!(self.collector, Collector::Null),
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
            Work::Load { mib, .. } => Box::new(Load::new(&module, mib)?),
        })
    }
}

struct Call {
    module: Module,
    export: &'static str,
    argument: i32,
    keep: bool,
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
        let start = Instant::now();
        let checksum = run.call(&mut store, self.argument).map_err(error)?;
        let time = start.elapsed();
        if self.keep {
            self.instance = Some((store, run));
        }
        Ok(Sample { time, checksum })
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
            Ok(Sample { time, checksum })
        })
    }
}

/// An artifact in a file.
struct Load {
    engine: Engine,
    path: PathBuf,
}

impl Load {
    fn new(module: &Module, mib: u32) -> Result<Load> {
        static COUNTER: AtomicUsize = AtomicUsize::new(0);
        ensure!(
            module.text().len() >= (mib as usize) << 20,
            "{} bytes of machine code are too few",
            module.text().len()
        );
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}-{}-{number}.cwasm", module_path!(), std::process::id());
        let load = Load {
            engine: module.engine().clone(),
            path: std::env::temp_dir().join(name.replace("::", "-")),
        };
        std::fs::write(&load.path, module.serialize().map_err(error)?)?;
        Ok(load)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        // It is in a folder for temporary files.
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Session for Load {
    fn sample(&mut self) -> Result<Sample> {
        let start = Instant::now();
        // SAFETY: the engine made the file, and nobody changes it.
        let module = unsafe { Module::deserialize_file(&self.engine, &self.path) };
        let time = start.elapsed();
        let checksum = module.map_err(error)?.exports().len() as i64;
        Ok(Sample { time, checksum })
    }
}
