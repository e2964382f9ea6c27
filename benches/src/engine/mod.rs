//! The engines.

mod node;
#[cfg(feature = "wasmtime")]
mod wasmtime;
#[cfg(feature = "waxwing")]
mod waxwing;

use std::path::Path;
use std::time::Duration;

use anyhow::Result;

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
}

/// What an engine's times are compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Waxwing, with the collector for which it is known.
    Subject,
    /// Waxwing with another collector.
    Variant,
    /// A peer that Waxwing is to be ahead of, where there are collectors with one that frees.
    Rival,
    /// The same without freeing: a bound rather than a rival.
    Bound,
    /// The peer that Waxwing is to stay close to.
    Standard,
}

pub trait Session {
    /// Runs the benchmark once.
    fn sample(&mut self) -> Result<Sample>;
}

pub struct Sample {
    pub time: Duration,
    pub checksum: i64,
}

/// All engines that `wanted` accepts by name, Waxwing's configurations first.
pub fn all(node: Option<&Path>, wanted: &dyn Fn(&str) -> bool) -> Result<Vec<Box<dyn Engine>>> {
    let mut engines: Vec<Box<dyn Engine>> = Vec::new();
    #[cfg(feature = "waxwing")]
    engines.extend(waxwing::all());
    #[cfg(feature = "wasmtime")]
    engines.extend(wasmtime::all());
    engines.retain(|engine| wanted(engine.name()));
    if wanted(node::NAME) {
        engines.push(Box::new(node::Node::find(node)?));
    }
    Ok(engines)
}

/// The version of a package in this workspace's lock file.
#[cfg(any(feature = "wasmtime", feature = "waxwing"))]
fn locked_version(package: &str) -> &'static str {
    let lock = include_str!("../../Cargo.lock");
    lock.split_once(&format!("\nname = \"{package}\"\nversion = \""))
        .and_then(|(_, rest)| rest.split_once('"'))
        .map_or("unknown", |(version, _)| version)
}
