//! What the whole-engine tests and the fuzz targets share: random modules, a comparison of two
//! engines, mutations, and a corpus.
//!
//! Everything here is a function of a seed: the same seed gives the same module, the same
//! arguments and the same mutation on every machine.

pub mod api_calls;
pub mod artifact;
pub mod corpus;
pub mod diff;
pub mod engines;
pub mod gc_programs;
pub mod graphs;
pub mod guest;
#[cfg(unix)]
pub mod host_memories;
pub mod interruption;
pub mod journal;
pub mod meter;
pub mod mutate;
pub mod object_calls;
pub mod objects;
pub mod rng;
pub mod sandbox;
pub mod smith;
pub mod suspension;

/// The number in the environment variable `name`, or `default` when it is not set.
///
/// # Panics
///
/// When the variable is set to something else than a number.
pub fn env_count(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(value) => value
            .parse()
            .unwrap_or_else(|_| panic!("{name} must be a number, not `{value}`")),
        Err(_) => default,
    }
}

/// Runs `work` on a thread pool whose threads have room for deep guest and host stacks.
pub fn with_threads<R: Send>(work: impl FnOnce() -> R + Send) -> R {
    rayon::ThreadPoolBuilder::new()
        .stack_size(32 << 20)
        .build()
        .expect("threads can be started")
        .install(work)
}
