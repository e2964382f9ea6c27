//! Portable bytecode: it does what machine code does.

#![cfg(feature = "pulley")]

use std::sync::atomic::{AtomicUsize, Ordering};
use waxwing::*;

fn machine_code() -> Config {
    Config::new()
}

fn bytecode() -> Config {
    let mut config = Config::new();
    config.target("pulley64").unwrap();
    config
}

/// An engine of each kind, machine code first.
fn both(configure: impl Fn(&mut Config)) -> [Engine; 2] {
    [machine_code(), bytecode()].map(|mut config| {
        configure(&mut config);
        Engine::new(&config).unwrap()
    })
}

fn engine() -> Engine {
    Engine::new(&bytecode()).unwrap()
}

fn instantiate(engine: &Engine, wat: &str) -> (Store<()>, Instance) {
    let module = Module::new(engine, wat).unwrap();
    let mut store = Store::new(engine, ());
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    (store, instance)
}

#[test]
fn engines_are_of_one_kind() {
    let [native, portable] = both(|_| {});
    assert!(!native.is_pulley());
    assert!(portable.is_pulley());
}

#[test]
fn values_of_all_types_cross_in_both_directions() {
    let params = "i32 i64 f32 f64 v128 i32 i64 f32 f64 v128 ".repeat(4);
    let wat = format!(
        r#"(module
            (import "" "host" (func $host (param {params}) (result {params})))
            (func (export "run") (param {params}) (result {params})
                {gets} (call $host)))"#,
        gets = (0..40)
            .map(|i| format!("(local.get {i})"))
            .collect::<String>(),
    );
    let values: Vec<Val> = (0..8)
        .flat_map(|i: u32| {
            [
                Val::I32(i as i32 - 4),
                Val::I64(i64::from(i) << 40 | 1),
                Val::F32(i.wrapping_mul(0x1234_5677)),
                Val::F64(u64::from(i) << 52 | 3),
                Val::V128(V128::from(u128::from(i) << 90 | 7)),
            ]
        })
        .collect();
    for engine in both(|_| {}) {
        let module = Module::new(&engine, &wat).unwrap();
        let mut store = Store::new(&engine, ());
        let ty = module.imports().next().unwrap().ty().unwrap_func().clone();
        let host = Func::new(&mut store, ty, |_, params, results| {
            // So that types match, and no value stays where it was.
            for (i, result) in results.iter_mut().enumerate() {
                *result = params[(i + 10) % 40];
            }
            Ok(())
        });
        let instance = Instance::new(&mut store, &module, &[host.into()]).unwrap();
        let run = instance.get_func(&mut store, "run").unwrap();
        let mut results = vec![Val::I32(0); 40];
        run.call(&mut store, &values, &mut results).unwrap();
        for (i, result) in results.iter().enumerate() {
            let expected = &values[(i + 10) % 40];
            assert_eq!(format!("{result:?}"), format!("{expected:?}"));
        }
    }
}

#[test]
fn traps_come_with_the_same_codes_and_backtraces() {
    let cases = [
        ("(unreachable)", Trap::UnreachableCodeReached),
        (
            "(drop (i32.div_s (i32.const 1) (local.get 0)))",
            Trap::IntegerDivisionByZero,
        ),
        (
            "(drop (i64.rem_u (i64.const 1) (i64.extend_i32_s (local.get 0))))",
            Trap::IntegerDivisionByZero,
        ),
        (
            "(drop (i64.div_s (i64.const 0x8000000000000000) (i64.extend_i32_s (local.get 1))))",
            Trap::IntegerOverflow,
        ),
        (
            "(drop (i32.trunc_f64_s (f64.div (f64.const 0) (f64.convert_i32_s (local.get 0)))))",
            Trap::BadConversionToInteger,
        ),
        (
            "(drop (i64.trunc_f32_u (f32.convert_i32_s (local.get 1))))",
            Trap::IntegerOverflow,
        ),
        (
            "(drop (i32.load offset=65533 (local.get 0)))",
            Trap::MemoryOutOfBounds,
        ),
        (
            "(i64.store offset=0xfffffff0 (local.get 1) (i64.const 0))",
            Trap::MemoryOutOfBounds,
        ),
        (
            "(drop (v128.load8x8_s (local.get 1)))",
            Trap::MemoryOutOfBounds,
        ),
        (
            "(memory.fill (i32.const 1) (i32.const 0) (i32.const 65536))",
            Trap::MemoryOutOfBounds,
        ),
        ("(drop (table.get (local.get 1)))", Trap::TableOutOfBounds),
        ("(call_indirect (i32.const 1))", Trap::IndirectCallToNull),
        (
            "(call_indirect (type $other) (i32.const 0))",
            Trap::BadSignature,
        ),
        (
            "(drop (ref.as_non_null (table.get (i32.const 1))))",
            Trap::NullReference,
        ),
        (
            "(drop (struct.get $s 0 (ref.null $s)))",
            Trap::NullReference,
        ),
        (
            "(drop (array.get $a (array.new $a (i32.const 1) (i32.const 2)) (i32.const 2)))",
            Trap::ArrayOutOfBounds,
        ),
        (
            "(drop (i32.atomic.load (i32.const 65536)))",
            Trap::MemoryOutOfBounds,
        ),
        (
            "(drop (i32.atomic.rmw.add (i32.const 1) (i32.const 1)))",
            Trap::HeapMisaligned,
        ),
    ];
    for (instructions, expected) in cases {
        let wat = format!(
            r#"(module
                (type $other (func (result i64)))
                (type $s (struct (field i32)))
                (type $a (array (mut i32)))
                (memory 1)
                (table 2 funcref)
                (elem (i32.const 0) $run)
                (func $fail (param i32 i32) {instructions})
                (func $middle (call $fail (i32.const 0) (i32.const -1)) (nop))
                (func $run (export "run") (call $middle) (nop)))"#,
            instructions = instructions.replace(
                "(call_indirect (type $other) (i32.const 0))",
                "(drop (call_indirect (type $other) (i32.const 0)))"
            )
        );
        let [native, portable] = both(|config| {
            config.wasm_gc(true).wasm_function_references(true);
        })
        .map(|engine| {
            let (mut store, instance) = instantiate(&engine, &wat);
            let run = instance
                .get_typed_func::<(), ()>(&mut store, "run")
                .unwrap();
            let error = run.call(&mut store, ()).unwrap_err();
            assert_eq!(
                error.downcast_ref::<Trap>(),
                Some(&expected),
                "{instructions}"
            );
            // The instance is as usable as before.
            run.call(&mut store, ()).unwrap_err();
            let backtrace = error.downcast_ref::<WasmBacktrace>().unwrap();
            let frames = backtrace.frames().iter();
            frames
                .map(|frame| (frame.func_index(), frame.module_offset()))
                .collect::<Vec<_>>()
        });
        assert_eq!(native.len(), 3, "{instructions}");
        assert_eq!(native, portable, "{instructions}");
    }
}

#[test]
fn the_stack_is_as_large_as_was_said() {
    const WAT: &str = r#"(module
        (global $depth (export "depth") (mut i32) (i32.const 0))
        (func $deep (export "run")
            (global.set $depth (i32.add (global.get $depth) (i32.const 1)))
            (call $deep)
            (global.set $depth (i32.const 0))))"#;
    let depth_of = |stack: usize| {
        let engine = Engine::new(bytecode().max_wasm_stack(stack)).unwrap();
        let (mut store, instance) = instantiate(&engine, WAT);
        let run = instance
            .get_typed_func::<(), ()>(&mut store, "run")
            .unwrap();
        let depth = instance.get_global(&mut store, "depth").unwrap();
        let mut depths = Vec::new();
        for _ in 0..3 {
            depth.set(&mut store, Val::I32(0)).unwrap();
            let error = run.call(&mut store, ()).unwrap_err();
            assert_eq!(error.downcast_ref::<Trap>(), Some(&Trap::StackOverflow));
            let backtrace = error.downcast_ref::<WasmBacktrace>().unwrap();
            let reached = depth.get(&mut store).unwrap_i32() as usize;
            // The frame of the call that failed is there too.
            assert_eq!(backtrace.frames().len(), reached + 1);
            depths.push(reached);
        }
        assert!(depths.iter().all(|depth| *depth == depths[0]), "{depths:?}");
        depths[0]
    };
    let (small, large) = (depth_of(64 << 10), depth_of(1 << 20));
    assert!((15 * small..17 * small).contains(&large), "{small} {large}");
    assert!(large > 10_000);
}

#[test]
fn recursion_through_the_host_is_stopped_before_the_threads_stack_ends() {
    let engine = engine();
    let module = Module::new(
        &engine,
        r#"(module
            (import "" "again" (func $again))
            (func (export "run") (call $again)))"#,
    )
    .unwrap();
    let mut store = Store::new(&engine, ());
    let again = Func::wrap(&mut store, |mut caller: Caller<'_, ()>| {
        let run = caller.get_export("run").and_then(Extern::into_func);
        let run = run.expect("the instance exports it");
        run.call(&mut caller, &[], &mut [])
    });
    let instance = Instance::new(&mut store, &module, &[again.into()]).unwrap();
    let run = instance
        .get_typed_func::<(), ()>(&mut store, "run")
        .unwrap();
    for _ in 0..2 {
        let error = run.call(&mut store, ()).unwrap_err();
        assert_eq!(error.downcast_ref::<Trap>(), Some(&Trap::StackOverflow));
    }
}

#[test]
fn entries_nest_and_each_unwinds_to_its_own() {
    let engine = engine();
    let module = Module::new(
        &engine,
        r#"(module
            (import "" "enter" (func $enter (param i32) (result i32)))
            (func (export "run") (param $n i32) (result i32)
                (if (i32.eqz (local.get $n)) (then (unreachable)))
                (i32.add (i32.mul (local.get $n) (i32.const 10))
                    (call $enter (i32.sub (local.get $n) (i32.const 1))))))"#,
    )
    .unwrap();
    let mut store = Store::new(&engine, ());
    let enter = Func::wrap(&mut store, |mut caller: Caller<'_, ()>, n: i32| {
        let run = caller.get_export("run").and_then(Extern::into_func);
        let run = run.unwrap().typed::<i32, i32>(&caller).unwrap();
        match run.call(&mut caller, n) {
            Ok(sum) => sum,
            Err(error) => {
                assert_eq!(error.downcast_ref(), Some(&Trap::UnreachableCodeReached));
                let backtrace = error.downcast_ref::<WasmBacktrace>().unwrap();
                assert_eq!(backtrace.frames().len(), 5);
                1000
            }
        }
    });
    let instance = Instance::new(&mut store, &module, &[enter.into()]).unwrap();
    let run = instance
        .get_typed_func::<i32, i32>(&mut store, "run")
        .unwrap();
    for _ in 0..3 {
        assert_eq!(run.call(&mut store, 4).unwrap(), 1100);
    }
}

#[test]
fn panics_of_the_host_go_through() {
    let engine = engine();
    let module = Module::new(
        &engine,
        r#"(module
            (import "" "panic" (func $panic))
            (func (export "run") (call $panic))
            (func (export "fine") (result i32) (i32.const 5)))"#,
    )
    .unwrap();
    let mut store = Store::new(&engine, ());
    let panic = Func::wrap(&mut store, || -> () {
        std::panic::resume_unwind(Box::new("the host's"));
    });
    let instance = Instance::new(&mut store, &module, &[panic.into()]).unwrap();
    let run = instance
        .get_typed_func::<(), ()>(&mut store, "run")
        .unwrap();
    let payload = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _ = run.call(&mut store, ());
    }))
    .unwrap_err();
    assert_eq!(payload.downcast_ref::<&str>(), Some(&"the host's"));
    let fine = instance
        .get_typed_func::<(), i32>(&mut store, "fine")
        .unwrap();
    assert_eq!(fine.call(&mut store, ()).unwrap(), 5);
}

#[test]
fn the_same_fuel_is_consumed() {
    const WAT: &str = r#"(module
        (memory 1)
        (func $fib (export "fib") (param i32) (result i32)
            (if (result i32) (i32.lt_u (local.get 0) (i32.const 2))
                (then (local.get 0))
                (else
                    (memory.fill (i32.const 0) (i32.const 1) (i32.const 3000))
                    (i32.add
                        (call $fib (i32.sub (local.get 0) (i32.const 1)))
                        (call $fib (i32.sub (local.get 0) (i32.const 2))))))))"#;
    let engines = both(|config| _ = config.consume_fuel(true));
    let [native, portable] = engines.map(|engine| {
        let (mut store, instance) = instantiate(&engine, WAT);
        let fib = instance
            .get_typed_func::<i32, i32>(&mut store, "fib")
            .unwrap();
        store.set_fuel(1_000_000).unwrap();
        assert_eq!(fib.call(&mut store, 12).unwrap(), 144);
        let left = store.get_fuel().unwrap();
        store.set_fuel(777).unwrap();
        let error = fib.call(&mut store, 12).unwrap_err();
        assert_eq!(error.downcast_ref::<Trap>(), Some(&Trap::OutOfFuel));
        let backtrace = error.downcast_ref::<WasmBacktrace>().unwrap();
        (left, backtrace.frames().len())
    });
    assert_eq!(native, portable);
}

#[test]
fn endless_loops_are_interrupted() {
    let engine = Engine::new(bytecode().epoch_interruption(true)).unwrap();
    let (mut store, instance) =
        instantiate(&engine, r#"(module (func (export "run") (loop (br 0))))"#);
    store.set_epoch_deadline(1);
    let run = instance
        .get_typed_func::<(), ()>(&mut store, "run")
        .unwrap();
    let other = engine.clone();
    let thread = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_millis(20));
        other.increment_epoch();
    });
    let error = run.call(&mut store, ()).unwrap_err();
    assert_eq!(error.downcast_ref::<Trap>(), Some(&Trap::Interrupt));
    thread.join().unwrap();
}

#[test]
fn threads_share_memory_atomically() {
    const TURNS: i32 = 20_000;
    let engine = engine();
    let module = Module::new(
        &engine,
        r#"(module
            (import "" "memory" (memory 1 1 shared))
            (func (export "run") (param $n i32)
                (loop $again
                    (drop (i32.atomic.rmw16.add_u (i32.const 2) (i32.const 1)))
                    (drop (i64.atomic.rmw.sub (i32.const 8) (i64.const 1)))
                    (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
                (atomic.fence)))"#,
    )
    .unwrap();
    let memory = SharedMemory::new(&engine, MemoryType::shared(1, 1)).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let mut store = Store::new(&engine, ());
                let imports = [memory.clone().into()];
                let instance = Instance::new(&mut store, &module, &imports).unwrap();
                let run = instance
                    .get_typed_func::<i32, ()>(&mut store, "run")
                    .unwrap();
                run.call(&mut store, TURNS).unwrap();
            });
        }
    });
    let byte = |at: usize| {
        // SAFETY: the threads are gone.
        unsafe { memory.data()[at].get().read() }
    };
    let sum = u16::from_le_bytes([byte(2), byte(3)]);
    assert_eq!(sum, (3 * TURNS % 0x1_0000) as u16);
    let difference = i64::from_le_bytes(std::array::from_fn(|i| byte(8 + i)));
    assert_eq!(difference, i64::from(-3 * TURNS));
}

#[test]
fn exceptions_find_handlers_in_older_entries() {
    let mut config = bytecode();
    config.wasm_gc(true).wasm_exceptions(true);
    let engine = Engine::new(config.wasm_function_references(true)).unwrap();
    let module = Module::new(
        &engine,
        r#"(module
            (import "" "enter" (func $enter (param i32)))
            (tag $e (param i32 f64))
            (func (export "throw") (param i32)
                (throw $e (local.get 0) (f64.const 2.5)))
            (func (export "run") (param i32) (result i32 f64)
                (block $caught (result i32 f64)
                    (try_table (catch $e $caught) (call $enter (local.get 0)))
                    (unreachable))))"#,
    )
    .unwrap();
    let mut store = Store::new(&engine, ());
    let enter = Func::wrap(&mut store, |mut caller: Caller<'_, ()>, n: i32| {
        let throw = caller.get_export("throw").and_then(Extern::into_func);
        throw.unwrap().call(&mut caller, &[Val::I32(n)], &mut [])
    });
    let instance = Instance::new(&mut store, &module, &[enter.into()]).unwrap();
    let run = instance
        .get_typed_func::<i32, (i32, f64)>(&mut store, "run")
        .unwrap();
    for n in [7, 8] {
        assert_eq!(run.call(&mut store, n).unwrap(), (n, 2.5));
    }
}

#[test]
fn tail_calls_use_no_stack() {
    let (mut store, instance) = instantiate(
        &Engine::new(bytecode().max_wasm_stack(32 << 10)).unwrap(),
        r#"(module
            (func $few (export "run") (param $n i32) (result i32)
                (if (i32.eqz (local.get $n)) (then (return (i32.const 3))))
                (return_call $many (i32.sub (local.get $n) (i32.const 1))
                    (i64.const 1) (i64.const 1) (i64.const 1) (i64.const 1) (i64.const 1)
                    (i64.const 1) (i64.const 1) (i64.const 1) (i64.const 1) (i64.const 1)
                    (i64.const 1) (i64.const 1) (i64.const 1) (i64.const 1) (i64.const 1)))
            (func $many (param $n i32)
                (param i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64) (result i32)
                (return_call $few (local.get $n))))"#,
    );
    let run = instance
        .get_typed_func::<i32, i32>(&mut store, "run")
        .unwrap();
    assert_eq!(run.call(&mut store, 100_000).unwrap(), 3);
}

#[test]
fn artifacts_say_what_they_are_for() {
    let wat = r#"(module (func (export "run") (result i32) (i32.const 42)))"#;
    let [native, portable] = both(|_| {});
    let artifact = portable.precompile_module(wat.as_bytes()).unwrap();
    assert_eq!(
        portable.detect_precompiled(&artifact),
        Some(Precompiled::Module)
    );
    // SAFETY: the artifacts are what engines made, here and below.
    let load = |engine: &Engine, artifact: &[u8]| unsafe { Module::deserialize(engine, artifact) };
    let module = load(&engine(), &artifact).unwrap();
    let mut store = Store::new(module.engine(), ());
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    let run = instance
        .get_typed_func::<(), i32>(&mut store, "run")
        .unwrap();
    assert_eq!(run.call(&mut store, ()).unwrap(), 42);

    let refusal =
        |engine: &Engine, artifact: &[u8]| format!("{:#}", load(engine, artifact).unwrap_err());
    let message = refusal(&native, &artifact);
    assert!(
        message.contains("compiled to bytecode for pulley64"),
        "{message}"
    );
    let message = refusal(
        &portable,
        &native.precompile_module(wat.as_bytes()).unwrap(),
    );
    assert!(message.contains("this engine runs bytecode"), "{message}");

    for target in ["pulley64be", "pulley32", "pulley32be"] {
        let other = Engine::new(Config::new().target(target).unwrap()).unwrap();
        let artifact = other.precompile_module(wat.as_bytes()).unwrap();
        assert_eq!(
            native.detect_precompiled(&artifact),
            Some(Precompiled::Module)
        );
        let message = refusal(&portable, &artifact);
        let expected = format!("{target}, but this host interprets pulley64");
        assert!(message.contains(&expected), "{message}");
        let message = format!("{:#}", Module::new(&other, wat).unwrap_err());
        assert!(message.contains(&expected), "{message}");
    }
}

#[test]
fn the_option_for_hardware_faults_has_no_effect() {
    let wat = r#"(module (memory 1) (func (export "run") (drop (i32.load (i32.const -1)))))"#;
    let engines = [true, false].map(|signals| {
        let engine = Engine::new(bytecode().signals_based_traps(signals)).unwrap();
        let artifact = engine.precompile_module(wat.as_bytes()).unwrap();
        (engine, artifact)
    });
    assert_eq!(engines[0].1, engines[1].1);
    for (engine, _) in &engines {
        // SAFETY: the artifact is what an engine made.
        let module = unsafe { Module::deserialize(engine, &engines[0].1) }.unwrap();
        let mut store = Store::new(engine, ());
        let instance = Instance::new(&mut store, &module, &[]).unwrap();
        let run = instance.get_func(&mut store, "run").unwrap();
        let error = run.call(&mut store, &[], &mut []).unwrap_err();
        assert_eq!(error.downcast_ref(), Some(&Trap::MemoryOutOfBounds));
    }
}

#[test]
fn values_of_the_host_are_dropped_with_the_store() {
    static DROPPED: AtomicUsize = AtomicUsize::new(0);
    struct Counted;
    impl Drop for Counted {
        fn drop(&mut self) {
            DROPPED.fetch_add(1, Ordering::SeqCst);
        }
    }
    let engine = engine();
    let (mut store, instance) = instantiate(
        &engine,
        r#"(module
            (table 10 externref)
            (func (export "keep") (param externref)
                (table.fill (i32.const 0) (local.get 0) (i32.const 10))))"#,
    );
    let keep = instance
        .get_typed_func::<Option<Rooted<ExternRef>>, ()>(&mut store, "keep")
        .unwrap();
    for _ in 0..10 {
        let value = ExternRef::new(&mut store, Counted).unwrap();
        keep.call(&mut store, Some(value)).unwrap();
    }
    drop(store);
    assert_eq!(DROPPED.load(Ordering::SeqCst), 10);
}
