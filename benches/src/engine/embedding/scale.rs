//! Many instances at the same time, and many threads.

use std::fs;
use std::time::Instant;

use anyhow::{Context, Result};
use rayon::{ThreadPool, ThreadPoolBuilder};

use super::api::{Engine, InstancePre, Module};
use super::{error, start};
use crate::engine::{Sample, Session};

/// Instances that are all there at the same time.
pub struct Idle {
    instance: InstancePre<()>,
    instances: u32,
    touch: bool,
}

impl Idle {
    pub fn new(instance: InstancePre<()>, instances: u32, touch: bool) -> Idle {
        Idle {
            instance,
            instances,
            touch,
        }
    }
}

/// The memory of this process, in bytes, with the page tables for it.
fn memory() -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status").context("this is not Linux")?;
    let kibibytes = |name: &str| -> Result<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let number = line.and_then(|line| line.split_whitespace().next());
        let number = number.with_context(|| format!("the system does not tell {name}"))?;
        Ok(number.parse()?)
    };
    Ok((kibibytes("VmRSS:")? + kibibytes("VmPTE:")?) << 10)
}

impl Session for Idle {
    fn sample(&mut self) -> Result<Sample> {
        // What is made once is not counted.
        start(&self.instance, self.touch)?;
        let mut instances = Vec::with_capacity(self.instances as usize);
        let (mut checksum, before) = (0, memory()?);
        let clock = Instant::now();
        for _ in 0..self.instances {
            let (store, found) = start(&self.instance, self.touch)?;
            instances.push(store);
            checksum = found;
        }
        let time = clock.elapsed() / self.instances;
        let memory = memory()?.saturating_sub(before) / u64::from(self.instances);
        if !self.touch {
            checksum = start(&self.instance, true)?.1;
        }
        drop(instances);
        Ok(Sample {
            time,
            checksum,
            memory: Some(memory),
        })
    }
}

/// Instances that are dropped.
pub struct Drops {
    instance: InstancePre<()>,
    count: u32,
}

impl Drops {
    pub fn new(instance: InstancePre<()>, count: u32) -> Drops {
        Drops { instance, count }
    }
}

impl Session for Drops {
    fn sample(&mut self) -> Result<Sample> {
        let instances = (0..self.count).map(|_| start(&self.instance, true));
        let instances = instances.collect::<Result<Vec<_>>>()?;
        let checksum = instances.last().map_or(0, |(_, found)| *found);
        let clock = Instant::now();
        drop(instances);
        Ok(Sample::new(clock.elapsed() / self.count, checksum))
    }
}

/// Compiling on threads of a pool.
pub struct CompileOn {
    engine: Engine,
    wasm: Vec<u8>,
    pool: ThreadPool,
}

impl CompileOn {
    pub fn new(engine: Engine, wasm: &[u8], threads: usize) -> Result<CompileOn> {
        Ok(CompileOn {
            engine,
            wasm: wasm.to_vec(),
            pool: ThreadPoolBuilder::new().num_threads(threads).build()?,
        })
    }
}

impl Session for CompileOn {
    fn sample(&mut self) -> Result<Sample> {
        let clock = Instant::now();
        let module = self.pool.install(|| Module::new(&self.engine, &self.wasm));
        let time = clock.elapsed();
        Ok(Sample::new(
            time,
            module.map_err(error)?.exports().len() as i64,
        ))
    }
}
