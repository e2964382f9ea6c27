//! One engine and one module, used by many threads at once.

use anyhow::Result;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Barrier};
use std::thread;
use waxwing::{Caller, Engine, Func, Instance, Linker, Memory, Module, Store, Trap, TypedFunc};
use waxwing_tests::engines;

const THREADS: usize = 16;
const ROUNDS: i32 = 50;

const MODULE: &str = r#"(module
    (import "host" "twice" (func $twice (param i32) (result i32)))
    (memory (export "memory") 1)
    (table $table 1 funcref)
    (global $calls (mut i32) (i32.const 0))
    (data (i32.const 0) "\01\02\03\04")
    (elem declare func $deep)
    (func (export "sum") (param $n i32) (result i32) (local $sum i32)
        (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
        (loop $next
            (local.set $sum (i32.add (local.get $sum) (call $twice (local.get $n))))
            (local.set $n (i32.sub (local.get $n) (i32.const 1)))
            (br_if $next (local.get $n)))
        (i32.store (i32.const 8) (local.get $sum))
        (local.get $sum))
    (func (export "calls") (result i32) (global.get $calls))
    (func (export "load") (param i32) (result i32) (i32.load (local.get 0)))
    (func (export "divide") (param i32 i32) (result i32)
        (i32.div_s (local.get 0) (local.get 1)))
    (func $deep (export "deep") (param i32) (result i32)
        (i32.add (i32.const 1) (call $deep (local.get 0))))
    (func (export "grow") (result i32)
        (drop (table.grow $table (ref.func $deep) (i32.const 10)))
        (drop (memory.grow (i32.const 1)))
        (i32.store (i32.sub (i32.mul (memory.size) (i32.const 65536)) (i32.const 4)) (i32.const 5))
        (i32.add (memory.size) (table.size $table)))
    (func (export "unreachable") unreachable))"#;

fn engine() -> Engine {
    let mut config = engines::config();
    config.parallel_compilation(true).max_wasm_stack(256 << 10);
    Engine::new(&config).expect("the engine can be made")
}

fn linker(engine: &Engine) -> Linker<u32> {
    let mut linker = Linker::new(engine);
    linker
        .func_wrap("host", "twice", |mut caller: Caller<'_, u32>, n: i32| {
            *caller.data_mut() += 1;
            n * 2
        })
        .expect("the name is free");
    linker
}

#[track_caller]
fn trap<R>(result: Result<R>) -> Trap {
    let error = result.map(|_| ()).expect_err("the call traps");
    *error.downcast_ref::<Trap>().expect("with a trap")
}

/// Everything that an instance can go through.
fn exercise(linker: &Linker<u32>, module: &Module, seed: i32) {
    let mut store = Store::new(module.engine(), 0);
    let instance = linker
        .instantiate(&mut store, module)
        .expect("the module instantiates");
    fn typed<P: waxwing::WasmParams>(
        instance: &Instance,
        store: &mut Store<u32>,
        name: &str,
    ) -> TypedFunc<P, i32> {
        instance
            .get_typed_func(store, name)
            .expect("it has this type")
    }
    let sum = typed::<i32>(&instance, &mut store, "sum");
    let load = typed::<i32>(&instance, &mut store, "load");
    let divide = typed::<(i32, i32)>(&instance, &mut store, "divide");
    let deep = typed::<i32>(&instance, &mut store, "deep");
    let grow = typed::<()>(&instance, &mut store, "grow");
    let calls = typed::<()>(&instance, &mut store, "calls");

    assert_eq!(load.call(&mut store, 0).expect("in bounds"), 0x0403_0201);
    let n = 10 + seed % 7;
    assert_eq!(sum.call(&mut store, n).expect("no trap"), n * (n + 1));
    assert_eq!(*store.data(), n as u32);
    assert_eq!(trap(load.call(&mut store, -5)), Trap::MemoryOutOfBounds);
    assert_eq!(
        trap(divide.call(&mut store, (seed, 0))),
        Trap::IntegerDivisionByZero
    );
    assert_eq!(
        trap(divide.call(&mut store, (i32::MIN, -1))),
        Trap::IntegerOverflow
    );
    assert_eq!(trap(deep.call(&mut store, 0)), Trap::StackOverflow);
    assert_eq!(grow.call(&mut store, ()).expect("it grows"), 2 + 11);
    assert_eq!(load.call(&mut store, 2 * 65536 - 4).expect("in bounds"), 5);
    assert_eq!(load.call(&mut store, 8).expect("in bounds"), n * (n + 1));
    assert_eq!(calls.call(&mut store, ()).expect("no trap"), 1);
    let unreachable = instance
        .get_typed_func::<(), ()>(&mut store, "unreachable")
        .expect("it has this type");
    assert_eq!(
        trap(unreachable.call(&mut store, ())),
        Trap::UnreachableCodeReached
    );
}

/// Runs `work` on many threads that start together.
fn together(work: impl Fn(usize) + Sync) {
    let barrier = Barrier::new(THREADS);
    thread::scope(|scope| {
        for index in 0..THREADS {
            let (barrier, work) = (&barrier, &work);
            scope.spawn(move || {
                barrier.wait();
                work(index);
            });
        }
    });
}

#[test]
fn threads_share_a_module() {
    let engine = engine();
    let module = Module::new(&engine, MODULE).expect("the module compiles");
    let linker = linker(&engine);
    together(|index| {
        for round in 0..ROUNDS {
            exercise(&linker, &module, index as i32 * ROUNDS + round);
        }
    });
}

#[test]
fn threads_compile_and_drop_modules() {
    let engine = engine();
    let linker = linker(&engine);
    together(|index| {
        for round in 0..5 {
            let module = Module::new(&engine, MODULE).expect("the module compiles");
            exercise(&linker, &module, index as i32 + round);
            let artifact = module.serialize().expect("it can be serialized");
            drop(module);
            // SAFETY: the artifact was just made by this engine.
            let module = unsafe { Module::deserialize(&engine, &artifact) }.expect("it loads");
            exercise(&linker, &module, index as i32);
        }
    });
}

#[test]
fn each_thread_has_its_own_engine() {
    together(|index| {
        let engine = engine();
        let module = Module::new(&engine, MODULE).expect("the module compiles");
        exercise(&linker(&engine), &module, index as i32);
    });
}

#[test]
fn a_pre_linked_module_is_shared() {
    let engine = engine();
    let module = Module::new(&engine, MODULE).expect("the module compiles");
    let pre = linker(&engine)
        .instantiate_pre(&module)
        .expect("all imports are defined");
    together(|_| {
        for _ in 0..ROUNDS {
            let mut store = Store::new(&engine, 0);
            let instance = pre.instantiate(&mut store).expect("it instantiates");
            let sum = instance
                .get_typed_func::<i32, i32>(&mut store, "sum")
                .expect("it has this type");
            assert_eq!(sum.call(&mut store, 4).expect("no trap"), 20);
        }
    });
}

#[test]
fn what_is_dropped_first_does_not_matter() {
    let engine = engine();
    let module = Module::new(&engine, MODULE).expect("the module compiles");
    let linker = linker(&engine);
    let mut store = Store::new(&engine, 0);
    let instance = linker
        .instantiate(&mut store, &module)
        .expect("the module instantiates");
    let weak = engine.weak();
    drop((linker, module, engine));
    let sum = instance
        .get_typed_func::<i32, i32>(&mut store, "sum")
        .expect("it has this type");
    assert_eq!(sum.call(&mut store, 4).expect("no trap"), 20);
    let divide = instance
        .get_typed_func::<(i32, i32), i32>(&mut store, "divide")
        .expect("it has this type");
    assert_eq!(
        trap(divide.call(&mut store, (1, 0))),
        Trap::IntegerDivisionByZero
    );
    assert!(weak.upgrade().is_some());
    drop(store);
    assert!(weak.upgrade().is_none());
}

#[test]
fn a_store_moves_between_threads() {
    let engine = engine();
    let module = Module::new(&engine, MODULE).expect("the module compiles");
    let linker = linker(&engine);
    let mut store = Store::new(&engine, 0);
    let instance = linker
        .instantiate(&mut store, &module)
        .expect("the module instantiates");
    let deep = instance
        .get_typed_func::<i32, i32>(&mut store, "deep")
        .expect("it has this type");
    for _ in 0..THREADS {
        // Each thread has another stack, and the limit must follow.
        let deep = deep.clone();
        store = thread::spawn(move || {
            assert_eq!(trap(deep.call(&mut store, 0)), Trap::StackOverflow);
            let load = instance
                .get_typed_func::<i32, i32>(&mut store, "load")
                .expect("it has this type");
            assert_eq!(trap(load.call(&mut store, -1)), Trap::MemoryOutOfBounds);
            store
        })
        .join()
        .expect("the thread does not panic");
    }
}

#[test]
fn a_thread_calls_from_within_a_host_function_of_another() {
    let engine = engine();
    let module = Module::new(&engine, MODULE).expect("the module compiles");
    let inner = linker(&engine);
    let mut outer = Linker::new(&engine);
    let spawned = Arc::new(AtomicU32::new(0));
    let (counter, inner_module) = (spawned.clone(), module.clone());
    outer
        .func_wrap("host", "twice", move |n: i32| -> i32 {
            thread::scope(|scope| {
                scope.spawn(|| exercise(&inner, &inner_module, n));
            });
            exercise(&inner, &inner_module, n);
            counter.fetch_add(1, Relaxed);
            n * 2
        })
        .expect("the name is free");
    let mut store = Store::new(&engine, ());
    let instance = outer
        .instantiate(&mut store, &module)
        .expect("the module instantiates");
    let sum = instance
        .get_typed_func::<i32, i32>(&mut store, "sum")
        .expect("it has this type");
    assert_eq!(sum.call(&mut store, 4).expect("no trap"), 20);
    assert_eq!(spawned.load(Relaxed), 4);
}

#[test]
fn a_panic_of_the_host_crosses_wasm_and_leaves_the_thread_usable() {
    let engine = engine();
    let module = Module::new(&engine, MODULE).expect("the module compiles");
    let mut panicking = Linker::new(&engine);
    panicking
        .func_wrap("host", "twice", |n: i32| -> i32 {
            std::panic::panic_any(format!("on purpose: {n}"))
        })
        .expect("the name is free");
    let usable = linker(&engine);
    together(|index| {
        let mut store = Store::new(&engine, ());
        let instance = panicking
            .instantiate(&mut store, &module)
            .expect("the module instantiates");
        let sum = instance
            .get_typed_func::<i32, i32>(&mut store, "sum")
            .expect("it has this type");
        let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            sum.call(&mut store, index as i32 + 1)
        }))
        .map(|_| ())
        .expect_err("the panic arrives");
        assert_eq!(
            panic.downcast_ref::<String>(),
            Some(&format!("on purpose: {}", index + 1))
        );
        exercise(&usable, &module, index as i32);
    });
}

#[test]
fn memories_and_functions_of_the_host_live_with_their_store() {
    let engine = engine();
    together(|index| {
        let mut store = Store::new(&engine, index);
        let ty = waxwing::MemoryType::new(1, Some(4));
        let memory = Memory::new(&mut store, ty).expect("it can be made");
        memory
            .write(&mut store, 65_530, &[index as u8; 6])
            .expect("in bounds");
        assert!(memory.write(&mut store, 65_531, &[0; 6]).is_err());
        let add = Func::wrap(&mut store, |caller: Caller<'_, usize>, n: u64| {
            n + *caller.data() as u64
        });
        let add = add.typed::<u64, u64>(&store).expect("it has this type");
        assert_eq!(add.call(&mut store, 5).expect("no trap"), 5 + index as u64);
        assert_eq!(memory.data(&store)[65_535], index as u8);
    });
}
