//! What the benchmarks share. They are in `benches/`; `cargo bench` in this folder runs them.

use std::time::Duration;

use criterion::Criterion;
use waxwing::{Config, Engine, Module, OptLevel};

/// So that all of them together are over in five minutes.
pub fn criterion() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(3))
        .configure_from_args()
}

/// The settings of `benches/run`.
pub fn config() -> Config {
    let mut config = Config::new();
    config
        .wasm_function_references(true)
        .cranelift_opt_level(OptLevel::Speed);
    config
}

/// A program in the text format that is valid, as all here are.
pub fn module(engine: &Engine, text: &str) -> Module {
    Module::new(engine, text).unwrap_or_else(|error| panic!("{error:?}"))
}

/// The programs of the group `calls` of `benches/run`.
pub const EXPORTS: &str = include_str!("../../programs/calls/exports.wat");
/// See [`EXPORTS`].
pub const IMPORTS: &str = include_str!("../../programs/calls/imports.wat");

/// The program of the group `start`, with an image of so many bytes.
pub fn guest(image: usize) -> String {
    include_str!("../../programs/start/guest.wat")
        .replace("PAGES", &((image >> 16) + 17).max(32).to_string())
        .replace("IMAGE", &"w".repeat(image))
}

/// Programs of the group `interrupt`, by name: a few dozen instructions, and a few hundred.
pub const SMALL: [(&str, &str); 3] = [
    ("fib", include_str!("../../programs/interrupt/fib.wat")),
    (
        "matmul",
        include_str!("../../programs/interrupt/matmul.wat"),
    ),
    ("nbody", include_str!("../../programs/interrupt/nbody.wat")),
];

/// The Lua interpreter: 300 KB.
pub const LUA: &[u8] = include_bytes!("../../../tests/fixtures/lua/lua.wasm");
