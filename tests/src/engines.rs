//! Waxwing in several configurations that must not differ in what a program computes.

use waxwing::{Collector, Config, Engine, OptLevel};

/// An engine and what is special about it.
pub struct Variant {
    /// For messages.
    pub name: &'static str,
    /// The engine.
    pub engine: Engine,
}

/// The configurations by name.
pub fn variants() -> Vec<Variant> {
    engines([
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
        ("bytecode", bytecode),
        (
            "bytecode, interruptible, unoptimized, memories that move",
            |config| {
                bytecode(config);
                config.consume_fuel(true);
                config.epoch_interruption(true);
                config.cranelift_opt_level(OptLevel::None);
                config.memory_reservation(0);
                config.memory_reservation_for_growth(0);
            },
        ),
    ])
}

/// Every collector, with what generated code and the runtime do differently for it, and as it is
/// when each allocation collects.
pub fn collectors() -> Vec<Variant> {
    use Collector::{Copying, DeferredReferenceCounting, Null};
    engines([
        ("copying", |config| _ = config.collector(Copying)),
        ("copying, at each allocation", |config| {
            config.collector(Copying).gc_stress(true);
        }),
        ("copying, at each allocation, no signals", |config| {
            config.collector(Copying).gc_stress(true);
            config.signals_based_traps(false);
        }),
        ("copying, unoptimized, verified", |config| {
            config.collector(Copying);
            config.cranelift_opt_level(OptLevel::None);
            config.cranelift_debug_verifier(true);
        }),
        ("reference counting", |config| {
            config.collector(DeferredReferenceCounting);
        }),
        ("reference counting, at each allocation", |config| {
            config.collector(DeferredReferenceCounting).gc_stress(true);
        }),
        ("reference counting, unoptimized, no signals", |config| {
            config.collector(DeferredReferenceCounting);
            config.cranelift_opt_level(OptLevel::None);
            config.signals_based_traps(false);
        }),
        ("none", |config| _ = config.collector(Null)),
        ("copying, at each allocation, bytecode", |config| {
            config.collector(Copying).gc_stress(true);
            bytecode(config);
        }),
        ("reference counting, bytecode", |config| {
            config.collector(DeferredReferenceCounting);
            bytecode(config);
        }),
    ])
}

fn bytecode(config: &mut Config) {
    config
        .target("pulley64")
        .expect("the feature `pulley` is on");
}

/// A name, and what it does to the configuration that all tests start from.
type Setup = (&'static str, fn(&mut Config));

fn engines<const N: usize>(setups: [Setup; N]) -> Vec<Variant> {
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
        .wasm_function_references(true)
        .wasm_gc(true)
        .wasm_exceptions(true)
        .wasm_memory64(true)
        .wasm_threads(true)
        .wasm_custom_page_sizes(true)
        .wasm_wide_arithmetic(true)
        .parallel_compilation(false)
        .max_wasm_stack(16 << 20)
        .async_stack_size(16 << 20);
    config
}
