//! Traps, errors, exceptions and panics of calls that have waited.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use super::*;

#[test]
fn traps_have_the_frames_of_what_waited() {
    let (mut store, instance) = instantiate(
        &engine(),
        r#"
        (func $inner (drop (call $wait (i32.const 2))) unreachable)
        (func $middle (call $inner))
        (func (export "f") (call $middle))"#,
    );
    let f = typed::<(), ()>(&mut store, instance, "f");
    for _ in 0..2 {
        let error = run(f.call_async(&mut store, ())).unwrap_err();
        assert_eq!(error.downcast_ref(), Some(&Trap::UnreachableCodeReached));
        let backtrace: &WasmBacktrace = error.downcast_ref().unwrap();
        let names: Vec<_> = backtrace
            .frames()
            .iter()
            .map(|frame| frame.func_name())
            .collect();
        assert_eq!(names, [Some("inner"), Some("middle"), None]);
    }
}

#[test]
fn errors_of_the_host_end_the_call() {
    let (mut store, instance) = instantiate(
        &engine(),
        r#"(func (export "f") (param i32) (call $fail (local.get 0)) (call $log (i32.const 1)))"#,
    );
    let f = typed::<i32, ()>(&mut store, instance, "f");
    for times in [0, 1, 3] {
        let (result, pending) = run_counted(f.call_async(&mut store, times));
        let error = result.unwrap_err();
        assert_eq!(error.root_cause().to_string(), "the host fails");
        assert_eq!(
            error
                .downcast_ref::<WasmBacktrace>()
                .unwrap()
                .frames()
                .len(),
            1
        );
        assert_eq!(pending, times as usize);
    }
    assert!(store.data().log.is_empty());
}

/// Throws an exception with the payload after it has waited.
fn throwing(engine: &Engine) -> Linker<Host> {
    let mut linker = linker(engine);
    linker
        .func_wrap_async(
            "host",
            "throw",
            |mut caller: Caller<'_, Host>,
             (times,): (i32,)|
             -> Box<dyn Future<Output = Result<()>> + Send + '_> {
                Box::new(async move {
                    let tag = caller.get_export("tag").and_then(Extern::into_tag).unwrap();
                    let ty = ExnType::from_tag_type(&tag.ty(&caller))?;
                    Pend(times as usize).await;
                    let pre = ExnRefPre::new(&mut caller, ty);
                    let exception = ExnRef::new(&mut caller, &pre, &tag, &[Val::I32(times)])?;
                    caller.throw(exception)
                })
            },
        )
        .unwrap();
    linker
}

#[test]
fn exceptions_are_caught_in_frames_that_waited() {
    let engine = engine();
    let text = format!(
        r#"(module {IMPORTS}
            (import "host" "throw" (func $throw (param i32)))
            (tag (export "tag") (param i32))
            (func $by_wasm (param i32) (drop (call $wait (local.get 0))) (throw 0 (local.get 0)))
            (func (export "by_wasm") (param i32) (result i32)
                (block $caught (result i32)
                    (try_table (catch 0 $caught) (call $by_wasm (local.get 0)))
                    (i32.const -1)))
            (func (export "by_host") (param i32) (result i32)
                (block $caught (result i32)
                    (try_table (catch 0 $caught) (call $throw (local.get 0)))
                    (i32.const -1)))
            (func (export "uncaught") (param i32) (call $throw (local.get 0))))"#
    );
    let module = Module::new(&engine, text).unwrap();
    let mut store = Store::new(&engine, Host::default());
    let instance = run(throwing(&engine).instantiate_async(&mut store, &module)).unwrap();
    for name in ["by_wasm", "by_host"] {
        let f = typed::<i32, i32>(&mut store, instance, name);
        for times in [0, 1, 4] {
            let (result, pending) = run_counted(f.call_async(&mut store, times));
            assert_eq!(
                (result.unwrap(), pending),
                (times, times as usize),
                "{name}"
            );
        }
    }
    let f = typed::<i32, ()>(&mut store, instance, "uncaught");
    let error = run(f.call_async(&mut store, 2)).unwrap_err();
    assert!(error.is::<ThrownException>());
    let exception = store.take_pending_exception().unwrap();
    assert_eq!(exception.field(&mut store, 0).unwrap().unwrap_i32(), 2);
}

#[test]
fn exceptions_pass_through_calls_of_the_host() {
    let engine = engine();
    let mut linker = throwing(&engine);
    linker
        .func_wrap_async(
            "host",
            "call",
            |mut caller: Caller<'_, Host>,
             (times,): (i32,)|
             -> Box<dyn Future<Output = Result<()>> + Send + '_> {
                Box::new(async move {
                    let func = caller.get_export("uncaught").and_then(Extern::into_func);
                    Pend(1).await;
                    func.unwrap()
                        .call_async(&mut caller, &[Val::I32(times)], &mut [])
                        .await
                })
            },
        )
        .unwrap();
    let text = r#"(module
        (import "host" "throw" (func $throw (param i32)))
        (import "host" "call" (func $call (param i32)))
        (tag (export "tag") (param i32))
        (func (export "uncaught") (param i32) (call $throw (local.get 0)))
        (func (export "f") (param i32) (result i32)
            (block $caught (result i32)
                (try_table (catch 0 $caught) (call $call (local.get 0)))
                (i32.const -1))))"#;
    let module = Module::new(&engine, text).unwrap();
    let mut store = Store::new(&engine, Host::default());
    let instance = run(linker.instantiate_async(&mut store, &module)).unwrap();
    let f = typed::<i32, i32>(&mut store, instance, "f");
    let (result, pending) = run_counted(f.call_async(&mut store, 3));
    assert_eq!((result.unwrap(), pending), (3, 4));
}

#[test]
fn panics_pass_through_webassembly() {
    let engine = engine();
    let mut linker = linker(&engine);
    let panics = |times: i32| -> Box<dyn Future<Output = ()> + Send> {
        Box::new(async move {
            Pend(times as usize).await;
            resume_unwind(Box::new(times))
        })
    };
    linker
        .func_wrap_async(
            "host",
            "panic",
            move |_: Caller<'_, Host>, (times,): (i32,)| panics(times),
        )
        .unwrap();
    let text = r#"(module
        (import "host" "panic" (func $panic (param i32)))
        (func (export "f") (param i32)
            (block $caught (try_table (catch_all $caught) (call $panic (local.get 0))))))"#;
    let module = Module::new(&engine, text).unwrap();
    let mut store = Store::new(&engine, Host::default());
    let instance = run(linker.instantiate_async(&mut store, &module)).unwrap();
    let f = typed::<i32, ()>(&mut store, instance, "f");
    for times in [0, 1, 3] {
        let panicked = catch_unwind(AssertUnwindSafe(|| run(f.call_async(&mut store, times))));
        assert_eq!(panicked.err().unwrap().downcast_ref(), Some(&times));
    }
}

#[test]
fn recursion_without_end_is_a_trap() {
    let mut engines = vec![engine()];
    let mut config = config();
    // As little as there can be, and as much as there is.
    config.max_wasm_stack(64 << 10).async_stack_size(64 << 10);
    engines.push(Engine::new(&config).unwrap());
    config.max_wasm_stack(4 << 20).async_stack_size(4 << 20);
    engines.push(Engine::new(&config).unwrap());
    let mut depths = Vec::new();
    for engine in engines {
        let (mut store, instance) = instantiate(
            &engine,
            r#"(global $depth (export "depth") (mut i32) (i32.const 0))
            (func $deeper
                (global.set $depth (i32.add (global.get $depth) (i32.const 1)))
                (drop (call $wait (i32.const 0)))
                (call $deeper)
                (call $log (i32.const 1)))
            (func (export "f") (drop (call $wait (i32.const 1))) (call $deeper))"#,
        );
        let f = typed::<(), ()>(&mut store, instance, "f");
        let error = run(f.call_async(&mut store, ())).unwrap_err();
        assert_eq!(error.downcast_ref(), Some(&Trap::StackOverflow));
        let depth = instance.get_global(&mut store, "depth").unwrap();
        depths.push(depth.get(&mut store).unwrap_i32());
        assert!(store.data().log.is_empty());
    }
    assert!(
        depths[1] > 100 && depths[1] * 4 < depths[0] && depths[0] * 4 < depths[2],
        "{depths:?}"
    );
}
