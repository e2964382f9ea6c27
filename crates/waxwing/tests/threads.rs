//! One engine and one module on many threads, and the stacks of threads.

use std::thread;
use waxwing::*;

const WAT: &str = r#"(module $m
    (import "host" "add" (func $add (param i32 i32) (result i32)))
    (memory (export "memory") 1 100)
    (table 10 funcref)
    (elem (i32.const 3) $fib)
    (type $fib (func (param i32) (result i32)))
    (func $fib (export "fib") (type $fib)
        (if (i32.lt_u (local.get 0) (i32.const 2)) (then (return (local.get 0))))
        (call $add
            (call_indirect (type $fib) (i32.sub (local.get 0) (i32.const 1)) (i32.const 3))
            (call $fib (i32.sub (local.get 0) (i32.const 2)))))
    (func (export "load") (param i32) (result i32) (i32.load (local.get 0)))
    (func (export "grow") (result i32) (memory.grow (i32.const 1)))
    (func $recurse (export "recurse") (result i32)
        (i32.add (call $recurse) (i32.const 1))))"#;

#[test]
fn what_can_be_sent_and_shared() {
    fn send<T: Send>() {}
    fn send_and_sync<T: Send + Sync>() {}
    send_and_sync::<Engine>();
    send_and_sync::<Module>();
    // Whatever the data of their stores are.
    send_and_sync::<Linker<*mut u8>>();
    send_and_sync::<InstancePre<*mut u8>>();
    send_and_sync::<Store<u32>>();
    send::<Store<std::cell::Cell<u32>>>();
    send::<StoreContextMut<'static, u32>>();
    send_and_sync::<StoreContext<'static, u32>>();
    send::<Caller<'static, u32>>();
    send_and_sync::<(Func, Memory, Table, Global, Instance, Extern)>();
    send_and_sync::<TypedFunc<(i32, Func), (f64, V128)>>();
    send_and_sync::<(Val, Ref, Rooted<ExternRef>, ManuallyRooted<ExternRef>)>();
    send_and_sync::<(WasmBacktrace, UnknownImportError, Trap, MemoryAccessError)>();
}

#[test]
fn sixteen_threads_share_an_engine_a_module_and_a_linker() -> Result<()> {
    let engine = Engine::default();
    let module = Module::new(&engine, WAT)?;
    let mut linker = Linker::new(&engine);
    linker.func_wrap(
        "host",
        "add",
        |mut caller: Caller<'_, u64>, a: i32, b: i32| {
            *caller.data_mut() += 1;
            a + b
        },
    )?;
    let pre = linker.instantiate_pre(&module)?;
    thread::scope(|scope| {
        let workers: Vec<_> = (0..16)
            .map(|thread| {
                let (linker, module, pre, engine) = (&linker, &module, &pre, &engine);
                scope.spawn(move || -> Result<()> {
                    for round in 0..20 {
                        let mut store = Store::new(engine, 0_u64);
                        let instance = match round % 2 {
                            0 => pre.instantiate(&mut store)?,
                            _ => linker.instantiate(&mut store, module)?,
                        };
                        let fib = instance.get_typed_func::<i32, i32>(&mut store, "fib")?;
                        assert_eq!(fib.call(&mut store, 12)?, 144);
                        assert_eq!(*store.data(), 232);
                        let load = instance.get_typed_func::<i32, i32>(&mut store, "load")?;
                        let error = load.call(&mut store, 0x1_0000 + thread).unwrap_err();
                        assert_eq!(error.downcast::<Trap>()?, Trap::MemoryOutOfBounds);
                        let grow = instance.get_typed_func::<(), i32>(&mut store, "grow")?;
                        assert_eq!(grow.call(&mut store, ())?, 1);
                        assert_eq!(load.call(&mut store, 0x1_0000 + thread)?, 0);
                    }
                    Ok(())
                })
            })
            .collect();
        workers
            .into_iter()
            .try_for_each(|worker| worker.join().unwrap())
    })
}

#[test]
fn modules_are_compiled_and_dropped_on_many_threads() -> Result<()> {
    let engine = Engine::default();
    thread::scope(|scope| {
        let workers: Vec<_> = (0..8)
            .map(|i| {
                let engine = &engine;
                scope.spawn(move || -> Result<()> {
                    for j in 0..10 {
                        let wat = format!(
                            r#"(module (func (export "f") (param i{bits}) (result i32)
                                (i32.div_u (i32.const {j}) (i32.const 0))))"#,
                            bits = if i % 2 == 0 { 32 } else { 64 }
                        );
                        let module = Module::new(engine, wat)?;
                        let mut store = Store::new(engine, ());
                        let instance = Instance::new(&mut store, &module, &[])?;
                        drop(module);
                        let f = instance.get_func(&mut store, "f").unwrap();
                        let param = if i % 2 == 0 { Val::I32(1) } else { Val::I64(1) };
                        let error = f
                            .call(&mut store, &[param], &mut [Val::I32(0)])
                            .unwrap_err();
                        assert_eq!(error.downcast::<Trap>()?, Trap::IntegerDivisionByZero);
                    }
                    Ok(())
                })
            })
            .collect();
        workers
            .into_iter()
            .try_for_each(|worker| worker.join().unwrap())
    })
}

#[test]
fn the_stack_overflows_as_a_trap_on_any_thread() -> Result<()> {
    let engine = Engine::new(Config::new().max_wasm_stack(1 << 20))?;
    let module = Module::new(&engine, WAT)?;
    let overflow = |engine: Engine, module: Module| -> Result<usize> {
        let mut store = Store::new(&engine, ());
        let add = Func::wrap(&mut store, |a: i32, b: i32| a + b);
        let instance = Instance::new(&mut store, &module, &[add.into()])?;
        let recurse = instance.get_typed_func::<(), i32>(&mut store, "recurse")?;
        let fib = instance.get_typed_func::<i32, i32>(&mut store, "fib")?;
        let mut depth = 0;
        for _ in 0..3 {
            let error = recurse.call(&mut store, ()).unwrap_err();
            assert_eq!(error.downcast_ref::<Trap>(), Some(&Trap::StackOverflow));
            depth = error
                .downcast_ref::<WasmBacktrace>()
                .unwrap()
                .frames()
                .len();
            assert_eq!(fib.call(&mut store, 10)?, 55);
        }
        Ok(depth)
    };
    let mut depths = Vec::new();
    for kib in [256, 512, 1024, 8192] {
        let (engine, module) = (engine.clone(), module.clone());
        let thread = thread::Builder::new().stack_size(kib << 10);
        let worker = thread.spawn(move || overflow(engine, module))?;
        depths.push(worker.join().unwrap()?);
    }
    assert!(
        depths.is_sorted(),
        "larger stacks allow deeper recursion: {depths:?}"
    );
    assert!(depths[0] > 100, "{depths:?}");
    Ok(())
}

#[test]
fn nested_calls_share_the_stack_limit() -> Result<()> {
    let engine = Engine::new(Config::new().max_wasm_stack(256 << 10))?;
    let module = Module::new(
        &engine,
        r#"(module
            (import "" "" (func $host))
            (func (export "run") (call $host)))"#,
    )?;
    let mut store = Store::new(&engine, 0_usize);
    let host = Func::wrap(&mut store, |mut caller: Caller<'_, usize>| -> Result<()> {
        *caller.data_mut() += 1;
        let run = caller
            .get_export("run")
            .and_then(Extern::into_func)
            .unwrap();
        run.typed::<(), ()>(&caller)?.call(&mut caller, ())
    });
    let instance = Instance::new(&mut store, &module, &[host.into()])?;
    let run = instance.get_typed_func::<(), ()>(&mut store, "run")?;
    let error = run.call(&mut store, ()).unwrap_err();
    assert_eq!(error.downcast::<Trap>()?, Trap::StackOverflow);
    assert!(*store.data() > 10, "{}", store.data());
    Ok(())
}
