//! wasmi, an interpreter.

use std::time::Instant;

use anyhow::{Result, bail};
use wasmi::{Engine as Interpreter, Linker, Module, Store, TypedFunc};

use super::{Engine, Role, Sample, Session, locked_version};
use crate::benchmarks::{Benchmark, Size, Work};

pub struct Wasmi;

impl Engine for Wasmi {
    fn name(&self) -> &str {
        "wasmi"
    }

    fn version(&self) -> &str {
        locked_version("wasmi")
    }

    fn role(&self) -> Role {
        Role::Peer
    }

    fn takes(&self, benchmark: &Benchmark) -> bool {
        matches!(
            benchmark.work,
            Work::Run {
                size: Size::Small,
                ..
            }
        )
    }

    fn session<'e>(&'e self, benchmark: &Benchmark, wasm: &[u8]) -> Result<Box<dyn Session + 'e>> {
        let Work::Run { n, .. } = benchmark.work else {
            bail!("this is not done in wasmi");
        };
        let engine = Interpreter::default();
        let module = Module::new(&engine, wasm)?;
        let mut store = Store::new(&engine, ());
        let instance = Linker::new(&engine).instantiate_and_start(&mut store, &module)?;
        if let Ok(initialize) = instance.get_typed_func::<(), ()>(&store, "_initialize") {
            initialize.call(&mut store, ())?;
        }
        let run = instance.get_typed_func(&store, "run")?;
        Ok(Box::new(Run { store, run, n }))
    }
}

struct Run {
    store: Store<()>,
    run: TypedFunc<i32, i64>,
    n: i32,
}

impl Session for Run {
    fn sample(&mut self) -> Result<Sample> {
        let start = Instant::now();
        let checksum = self.run.call(&mut self.store, self.n)?;
        Ok(Sample::new(start.elapsed(), checksum))
    }
}
