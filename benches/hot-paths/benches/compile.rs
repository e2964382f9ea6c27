//! Translating and compiling modules.

use criterion::{Criterion, Throughput};
use waxwing::{Engine, Module, OptLevel};
use waxwing_hot_paths::{LUA, SMALL, config, criterion};

fn main() {
    let mut criterion = criterion();
    small(&mut criterion);
    large(&mut criterion);
    criterion.final_summary();
}

/// On one thread, with and without optimising.
fn small(criterion: &mut Criterion) {
    for (level, name) in [(OptLevel::Speed, "speed"), (OptLevel::None, "none")] {
        let mut group = criterion.benchmark_group(format!("compile/{name}"));
        let mut config = config();
        config
            .parallel_compilation(false)
            .cranelift_opt_level(level);
        let engine = Engine::new(&config).expect("these settings suit any host");
        for (name, text) in SMALL {
            let wasm = wat::parse_str(text).expect("it is valid");
            group.throughput(Throughput::Bytes(wasm.len() as u64));
            group.bench_function(name, |bencher| {
                bencher.iter(|| Module::new(&engine, &wasm).expect("it is valid"));
            });
        }
    }
}

/// The Lua interpreter, on all threads; and what it takes to find it valid.
fn large(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("lua");
    group.sample_size(10);
    group.throughput(Throughput::Bytes(LUA.len() as u64));
    let engine = Engine::new(&config()).expect("these settings suit any host");
    group.bench_function("validate", |bencher| {
        bencher.iter(|| Module::validate(&engine, LUA).expect("it is valid"));
    });
    group.bench_function("compile", |bencher| {
        bencher.iter(|| Module::new(&engine, LUA).expect("it is valid"));
    });
}
