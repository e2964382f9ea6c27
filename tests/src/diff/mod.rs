//! Runs one module on two engines and compares all that can be seen from outside: traps, results,
//! calls of the host with their arguments, and at the end memories, tables and globals.
//!
//! Programs must be deterministic and terminate, as those of [`crate::smith::terminating`] do.

mod host;
mod observe;
mod on_wasmi;
mod on_waxwing;
mod value;

pub use observe::{Observation, Outcome, State};
pub use value::{Type, Value};

use crate::engines::Variant;
use std::fmt;

/// What comparing one module came to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Summary {
    /// Calls of exported functions that were compared.
    pub calls: u64,
    /// How many of them returned rather than trapped.
    pub returned: u64,
    /// Calls of host functions that were compared.
    pub host_calls: u64,
    /// Whether an engine reached a limit of its own, after which nothing was compared.
    pub inconclusive: bool,
}

/// A way in which the engines disagree about a module.
#[derive(Debug)]
pub struct Difference(String);

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The engine that Waxwing is compared with.
pub struct Reference(wasmi::Engine);

impl Default for Reference {
    fn default() -> Self {
        let mut config = wasmi::Config::default();
        config
            .wasm_memory64(true)
            .wasm_custom_page_sizes(true)
            .wasm_wide_arithmetic(true)
            .set_max_recursion_depth(100_000)
            .set_max_stack_height(64 << 20);
        Reference(wasmi::Engine::new(&config))
    }
}

/// Runs `wasm` with calls and arguments drawn from `seed` on `reference` and on `variant`.
///
/// # Errors
///
/// The first difference.
pub fn compare(
    reference: &Reference,
    variant: &Variant,
    wasm: &[u8],
    seed: u64,
) -> Result<Summary, Difference> {
    let expected = wasmi::Module::new(&reference.0, wasm);
    let actual = waxwing::Module::new(&variant.engine, wasm);
    let (expected, actual) = match (expected, actual) {
        (Ok(expected), Ok(actual)) => (expected, actual),
        (Err(_), Err(_)) => return Ok(Summary::default()),
        (Ok(_), Err(error)) => {
            return Err(Difference(format!("only wasmi compiles it: {error:?}")));
        }
        (Err(error), Ok(_)) => {
            if let wasmi::errors::ErrorKind::Translation(_) | wasmi::errors::ErrorKind::Ir(_) =
                error.kind()
            {
                return Ok(Summary {
                    inconclusive: true,
                    ..Summary::default()
                });
            }
            return Err(Difference(format!("only waxwing compiles it: {error}")));
        }
    };
    let functions = on_wasmi::functions(&expected);
    let expected = observe::observe(on_wasmi::Machine::new(&expected, &functions, seed), seed);
    let actual = observe::observe(on_waxwing::Machine::new(&actual, &functions, seed), seed);
    match expected.first_difference(&actual) {
        Some(difference) => Err(Difference(difference)),
        None => Ok(expected.summary(&actual)),
    }
}
