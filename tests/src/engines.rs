//! Waxwing in several configurations that must not differ in what a program computes.

use waxwing::{Config, Engine, OptLevel};

/// An engine and what is special about it.
pub struct Variant {
    /// For messages.
    pub name: &'static str,
    /// The engine.
    pub engine: Engine,
}

/// The configurations by name.
pub fn variants() -> Vec<Variant> {
    type Setup = fn(&mut Config);
    let setups: [(&'static str, Setup); 7] = [
        ("default", |_| {}),
        ("unoptimized, verified", |config| {
            config.cranelift_opt_level(OptLevel::None);
            config.cranelift_debug_verifier(true);
        }),
        ("optimized for speed and size", |config| {
            config.cranelift_opt_level(OptLevel::SpeedAndSize);
        }),
        ("no signals", |config| {
            config.signals_based_traps(false);
        }),
        ("explicit bounds checks, memories that move", |config| {
            config.memory_reservation(0);
            config.memory_guard_size(0);
            config.memory_reservation_for_growth(0);
        }),
        ("small guards, eager initialization", |config| {
            config.memory_reservation(1 << 20);
            config.memory_guard_size(1 << 16);
            config.memory_init_cow(false);
            config.table_lazy_init(false);
        }),
        ("interruptible", |config| {
            config.consume_fuel(true);
            config.epoch_interruption(true);
        }),
    ];
    setups
        .into_iter()
        .map(|(name, setup)| {
            let mut config = config();
            setup(&mut config);
            let engine = Engine::new(&config)
                .unwrap_or_else(|error| panic!("engine `{name}` cannot be made: {error:?}"));
            Variant { name, engine }
        })
        .collect()
}

/// The configuration that all tests start from: every supported proposal on, and one compiling
/// thread a module because the tests themselves run in parallel.
pub fn config() -> Config {
    let mut config = Config::new();
    config
        .wasm_multi_memory(true)
        .wasm_tail_call(true)
        .wasm_extended_const(true)
        .wasm_relaxed_simd(true)
        .parallel_compilation(false)
        .max_wasm_stack(16 << 20);
    config
}
