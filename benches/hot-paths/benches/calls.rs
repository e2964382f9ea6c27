//! Calls between the host and WebAssembly.

use std::hint::black_box;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use criterion::{Bencher, Criterion};
use waxwing::{Engine, Func, FuncType, Instance, Store, Val, ValType};
use waxwing_hot_paths::{EXPORTS, IMPORTS, config, criterion, module};

fn main() {
    let mut criterion = criterion();
    from_host(&mut criterion);
    to_host(&mut criterion);
    within(&mut criterion);
    asynchronous(&mut criterion);
    criterion.final_summary();
}

fn from_host(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("host to wasm");
    let mut store = store();
    let module = module(store.engine(), EXPORTS);
    let instance = Instance::new(&mut store, &module, &[]).expect("it has no imports");
    let add = instance.get_typed_func::<(i64, i64), i64>(&mut store, "add");
    let add = add.expect("it is of this type");
    group.bench_function("typed", |bencher| {
        bencher.iter(|| add.call(&mut store, black_box((1, 2))).expect("it returns"));
    });
    let untyped = *add.func();
    let mut results = [Val::I64(0)];
    group.bench_function("untyped", |bencher| {
        bencher.iter(|| {
            let arguments = black_box([Val::I64(1), Val::I64(2)]);
            let call = untyped.call(&mut store, &arguments, &mut results);
            call.expect("it returns");
        });
    });
}

/// Measures what `run` does for each of the rounds that it is told.
fn rounds(bencher: &mut Bencher<'_>, mut run: impl FnMut(i32) -> i64) {
    bencher.iter_custom(|count| {
        const MOST: u64 = 1 << 20;
        let mut time = Duration::ZERO;
        let mut rest = count;
        while rest > 0 {
            let now = rest.min(MOST);
            let start = Instant::now();
            let sum = run(now as i32);
            time += start.elapsed();
            assert_eq!(sum, now as i64);
            rest -= now;
        }
        time
    });
}

fn to_host(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("wasm to host");
    let mut store = store();
    let module = module(store.engine(), IMPORTS);
    let wrapped = Func::wrap(&mut store, |a: i64, b: i64| a + b);
    let ty = FuncType::new(store.engine(), [ValType::I64, ValType::I64], [ValType::I64]);
    let dynamic = Func::new(&mut store, ty, |_, arguments, results| {
        results[0] = Val::I64(arguments[0].unwrap_i64() + arguments[1].unwrap_i64());
        Ok(())
    });
    for (name, add) in [("wrapped", wrapped), ("dynamic", dynamic)] {
        let instance = Instance::new(&mut store, &module, &[add.into()]);
        let instance = instance.expect("it is of the type that is imported");
        let run = instance.get_typed_func::<i32, i64>(&mut store, "run");
        let run = run.expect("it is of this type");
        group.bench_function(name, |bencher| {
            rounds(bencher, |count| {
                run.call(&mut store, count).expect("it returns")
            });
        });
    }
}

fn within(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("wasm to wasm");
    let mut store = store();
    let exports = module(store.engine(), EXPORTS);
    let exports = Instance::new(&mut store, &exports, &[]).expect("it has no imports");
    let imports = module(store.engine(), IMPORTS);
    let add = exports.get_func(&mut store, "add").expect("it is exported");
    let imports = Instance::new(&mut store, &imports, &[add.into()]);
    let imports = imports.expect("it is of the type that is imported");
    for (name, instance, function) in [
        ("direct", exports, "direct"),
        ("call_indirect", exports, "call_indirect"),
        ("call_ref", exports, "call_ref"),
        ("across instances", imports, "run"),
    ] {
        let run = instance.get_typed_func::<i32, i64>(&mut store, function);
        let run = run.expect("it is of this type");
        group.bench_function(name, |bencher| {
            rounds(bencher, |count| {
                run.call(&mut store, count).expect("it returns")
            });
        });
    }
}

/// Polls until the future is ready.
fn block_on<R>(future: impl Future<Output = R>) -> R {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(result) = future.as_mut().poll(&mut context) {
            return result;
        }
    }
}

fn asynchronous(criterion: &mut Criterion) {
    let engine = Engine::new(config().async_support(true)).expect("this host has stacks");
    let mut store = Store::new(&engine, ());
    let module = module(&engine, EXPORTS);
    let instance = block_on(Instance::new_async(&mut store, &module, &[]));
    let instance = instance.expect("it has no imports");
    let add = instance.get_typed_func::<(i64, i64), i64>(&mut store, "add");
    let add = add.expect("it is of this type");
    criterion.bench_function("host to wasm/async", |bencher| {
        bencher.iter(|| {
            let call = add.call_async(&mut store, black_box((1, 2)));
            block_on(call).expect("it returns")
        });
    });
}

fn store() -> Store<()> {
    let engine = Engine::new(&config()).expect("these settings suit any host");
    Store::new(&engine, ())
}
