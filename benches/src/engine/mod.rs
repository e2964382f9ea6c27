//! The engines.

mod command;
mod native;
mod node;
pub mod process;
#[cfg(feature = "wasmer")]
mod wasmer;
#[cfg(feature = "wasmi")]
mod wasmi;
#[cfg(feature = "wasmtime")]
mod wasmtime;
#[cfg(feature = "waxwing")]
mod waxwing;

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::benchmarks::Benchmark;

/// An engine in one configuration.
pub trait Engine {
    /// As it stands in the tables: the engine, and its collector or setting where it has several.
    fn name(&self) -> &str;

    fn version(&self) -> &str;

    fn role(&self) -> Role;

    /// Whether it can, and should, run `benchmark`.
    fn takes(&self, benchmark: &Benchmark) -> bool;

    /// Compiles `wasm` and makes all ready for samples of `benchmark`.
    fn session<'e>(&'e self, benchmark: &Benchmark, wasm: &[u8]) -> Result<Box<dyn Session + 'e>>;

    /// The same in a process of its own.
    fn session_apart<'e>(
        &'e self,
        benchmark: &Benchmark,
        wasm: &[u8],
    ) -> Result<Box<dyn Session + 'e>> {
        let remote = process::Remote::of_this_command(self.name(), benchmark, wasm)?;
        Ok(Box::new(remote))
    }
}

/// What an engine's times are compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Waxwing, with the collector for which it is known.
    Subject,
    /// Waxwing with another collector or setting.
    Variant,
    /// The peer that Waxwing is to be ahead of, where there are collectors with one that frees.
    Rival,
    /// The same without freeing: a bound rather than a rival.
    Bound,
    /// The peer that Waxwing is to stay close to.
    Standard,
    /// Another one, to compare with.
    Peer,
}

pub trait Session {
    /// Runs the benchmark once.
    fn sample(&mut self) -> Result<Sample>;
}

pub struct Sample {
    pub time: Duration,
    pub checksum: i64,
    /// The most memory that the process has had, in bytes, where that is measured.
    pub memory: Option<u64>,
}

impl Sample {
    pub fn new(time: Duration, checksum: i64) -> Sample {
        Sample {
            time,
            checksum,
            memory: None,
        }
    }
}

/// All engines that `wanted` accepts by name, Waxwing's configurations first.
pub fn all(node: Option<&Path>, wanted: &dyn Fn(&str) -> bool) -> Result<Vec<Box<dyn Engine>>> {
    let mut engines: Vec<Box<dyn Engine>> = Vec::new();
    #[cfg(feature = "waxwing")]
    engines.extend(waxwing::all());
    #[cfg(feature = "wasmtime")]
    engines.extend(wasmtime::all());
    #[cfg(feature = "wasmer")]
    engines.extend(wasmer::all());
    #[cfg(feature = "wasmi")]
    engines.push(Box::new(wasmi::Wasmi));
    engines.push(Box::new(native::Native));
    engines.extend(command::all(node, wanted)?);
    engines.retain(|engine| wanted(engine.name()));
    for (mode, name) in node::MODES {
        if wanted(name) {
            engines.push(Box::new(node::Node::new(mode, name, node)?));
        }
    }
    Ok(engines)
}

/// The version of a package in this workspace's lock file.
#[cfg(any(
    feature = "wasmer",
    feature = "wasmi",
    feature = "wasmtime",
    feature = "waxwing"
))]
fn locked_version(package: &str) -> &'static str {
    let lock = include_str!("../../Cargo.lock");
    lock.split_once(&format!("\nname = \"{package}\"\nversion = \""))
        .and_then(|(_, rest)| rest.split_once('"'))
        .map_or("unknown", |(version, _)| version)
}
