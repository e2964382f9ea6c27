//! wasmer, with each of its compilers that need nothing installed.

use std::num::NonZero;
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use wasmer::sys::{Cranelift, CraneliftOptLevel, EngineBuilder, Singlepass};
use wasmer::{Instance, Module, Store, TypedFunction, imports};

use super::{Engine, Role, Sample, Session, locked_version};
use crate::benchmarks::{Benchmark, Heap, Size, Threads, Work};

pub fn all() -> Vec<Box<dyn Engine>> {
    let compilers = [Compiler::Cranelift, Compiler::Singlepass];
    let engine = |compiler| -> Box<dyn Engine> { Box::new(Wasmer { compiler }) };
    compilers.into_iter().map(engine).collect()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Compiler {
    Cranelift,
    Singlepass,
}

struct Wasmer {
    compiler: Compiler,
}

impl Wasmer {
    fn store(&self, threads: NonZero<usize>) -> Store {
        let engine = match self.compiler {
            Compiler::Cranelift => {
                let mut compiler = Cranelift::new();
                compiler.opt_level(CraneliftOptLevel::Speed);
                compiler.num_threads(threads);
                EngineBuilder::new(compiler).engine()
            }
            Compiler::Singlepass => {
                let mut compiler = Singlepass::new();
                compiler.num_threads(threads);
                EngineBuilder::new(compiler).engine()
            }
        };
        Store::new(engine)
    }
}

impl Engine for Wasmer {
    fn name(&self) -> &str {
        match self.compiler {
            Compiler::Cranelift => "wasmer cranelift",
            Compiler::Singlepass => "wasmer singlepass",
        }
    }

    fn version(&self) -> &str {
        locked_version("wasmer")
    }

    fn role(&self) -> Role {
        Role::Peer
    }

    fn takes(&self, benchmark: &Benchmark) -> bool {
        match benchmark.work {
            Work::Run {
                size,
                tail_calls,
                vectors,
                ..
            } => {
                let lacks = tail_calls || vectors && self.compiler == Compiler::Singlepass;
                size == Size::Full && !lacks
            }
            Work::Compile { long, .. } => {
                benchmark.heap == Heap::Untouched && !(long && self.compiler == Compiler::Cranelift)
            }
            _ => false,
        }
    }

    fn session<'e>(&'e self, benchmark: &Benchmark, wasm: &[u8]) -> Result<Box<dyn Session + 'e>> {
        let all = thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN);
        match benchmark.work {
            Work::Run { n, .. } => {
                let mut store = self.store(all);
                let module = Module::new(&store, wasm)?;
                let instance = Instance::new(&mut store, &module, &imports! {})?;
                if let Ok(initialize) = instance.exports.get_function("_initialize") {
                    initialize.call(&mut store, &[])?;
                }
                let run = instance.exports.get_typed_function(&store, "run");
                let run = run.context("the program is not as its README says")?;
                Ok(Box::new(Run { store, run, n }))
            }
            Work::Compile { threads, .. } => Ok(Box::new(Compile {
                store: self.store(match threads {
                    Threads::One => NonZero::<usize>::MIN,
                    Threads::All => all,
                }),
                wasm: wasm.to_vec(),
            })),
            _ => bail!("this is not done in wasmer"),
        }
    }
}

struct Run {
    store: Store,
    run: TypedFunction<i32, i64>,
    n: i32,
}

impl Session for Run {
    fn sample(&mut self) -> Result<Sample> {
        let start = Instant::now();
        let checksum = self.run.call(&mut self.store, self.n)?;
        Ok(Sample::new(start.elapsed(), checksum))
    }
}

struct Compile {
    store: Store,
    wasm: Vec<u8>,
}

impl Session for Compile {
    fn sample(&mut self) -> Result<Sample> {
        let start = Instant::now();
        let module = Module::new(&self.store, &self.wasm)?;
        let time = start.elapsed();
        Ok(Sample::new(time, module.exports().count() as i64))
    }
}
