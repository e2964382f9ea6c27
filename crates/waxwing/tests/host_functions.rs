//! Functions of the host: their types, errors, panics, and what they know of their caller.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use waxwing::*;

/// A module that calls its import, of this type, with its own parameters.
fn forwarder(engine: &Engine, ty: &str, num_params: usize) -> Module {
    let args: String = (0..num_params)
        .map(|i| format!("(local.get {i})"))
        .collect();
    let wat = format!(
        r#"(module
            (import "" "" (func $host {ty}))
            (func (export "run") {ty} (call $host {args})))"#
    );
    Module::new(engine, wat).unwrap()
}

#[derive(Debug, PartialEq)]
struct MyError(u32);

impl fmt::Display for MyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "my error {}", self.0)
    }
}

impl std::error::Error for MyError {}

#[test]
fn errors_keep_their_type() -> Result<()> {
    let engine = Engine::default();
    let module = forwarder(&engine, "(param i32)", 1);
    let mut store = Store::new(&engine, ());
    let host = Func::wrap(&mut store, |code: u32| -> Result<()> {
        Err(Error::from(MyError(code)).context("while testing"))
    });
    let instance = Instance::new(&mut store, &module, &[host.into()])?;
    let run = instance.get_typed_func::<u32, ()>(&mut store, "run")?;
    let error = run.call(&mut store, 7).unwrap_err();
    assert_eq!(error.downcast_ref::<MyError>(), Some(&MyError(7)));
    assert!(error.downcast_ref::<Trap>().is_none());
    let backtrace = error.downcast_ref::<WasmBacktrace>().unwrap();
    assert_eq!(backtrace.frames().len(), 1);
    let chain: Vec<_> = error.chain().skip(1).map(ToString::to_string).collect();
    assert_eq!(chain, ["while testing", "my error 7"]);

    // Without WebAssembly on the stack there is no backtrace.
    let error = host
        .typed::<u32, ()>(&store)?
        .call(&mut store, 8)
        .unwrap_err();
    assert!(error.downcast_ref::<WasmBacktrace>().is_none());
    assert_eq!(error.downcast::<MyError>()?, MyError(8));
    Ok(())
}

#[test]
fn traps_can_be_returned() -> Result<()> {
    let engine = Engine::default();
    let module = forwarder(&engine, "", 0);
    let mut store = Store::new(&engine, ());
    let host = Func::wrap(&mut store, || -> Result<()> { Err(Trap::Interrupt.into()) });
    let instance = Instance::new(&mut store, &module, &[host.into()])?;
    let run = instance.get_typed_func::<(), ()>(&mut store, "run")?;
    let error = run.call(&mut store, ()).unwrap_err();
    assert_eq!(error.downcast::<Trap>()?, Trap::Interrupt);
    Ok(())
}

#[test]
fn panics_go_through_wasm() -> Result<()> {
    let engine = Engine::default();
    let module = forwarder(&engine, "", 0);
    let mut store = Store::new(&engine, ());
    let wrapped = Func::wrap(&mut store, || -> () { std::panic::panic_any(41_u64) });
    let untyped = Func::new(&mut store, FuncType::new(&engine, [], []), |_, _, _| {
        std::panic::panic_any(41_u64)
    });
    for host in [wrapped, untyped] {
        let instance = Instance::new(&mut store, &module, &[host.into()])?;
        let through_wasm = instance.get_typed_func::<(), ()>(&mut store, "run")?;
        for func in [through_wasm, host.typed(&store)?] {
            let call = AssertUnwindSafe(|| func.call(&mut store, ()));
            let payload = catch_unwind(call).unwrap_err();
            assert_eq!(payload.downcast_ref::<u64>(), Some(&41));
        }
    }
    // The store is as good as before.
    let fine = Func::wrap(&mut store, || {});
    let instance = Instance::new(&mut store, &module, &[fine.into()])?;
    instance
        .get_typed_func::<(), ()>(&mut store, "run")?
        .call(&mut store, ())
}

#[test]
fn locals_are_dropped_when_errors_and_panics_leave() -> Result<()> {
    struct Count(Arc<AtomicUsize>);
    impl Drop for Count {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let dropped = Arc::new(AtomicUsize::new(0));
    let engine = Engine::default();
    let module = forwarder(&engine, "(param i32)", 1);
    let mut store = Store::new(&engine, ());
    let counter = dropped.clone();
    let host = Func::wrap(&mut store, move |panic: u32| -> Result<()> {
        let _count = Count(counter.clone());
        assert_eq!(panic, 0, "as asked for");
        anyhow::bail!("an error")
    });
    let instance = Instance::new(&mut store, &module, &[host.into()])?;
    let run = instance.get_typed_func::<u32, ()>(&mut store, "run")?;
    run.call(&mut store, 0).unwrap_err();
    assert_eq!(dropped.load(Ordering::SeqCst), 1);
    catch_unwind(AssertUnwindSafe(|| run.call(&mut store, 1))).unwrap_err();
    assert_eq!(dropped.load(Ordering::SeqCst), 2);
    Ok(())
}

#[test]
fn host_and_wasm_nest() -> Result<()> {
    let engine = Engine::default();
    // Ackermann's function, the recursion of which goes through the host.
    let module = Module::new(
        &engine,
        r#"(module
            (import "" "" (func $again (param i32 i32) (result i32)))
            (func (export "ack") (param i32 i32) (result i32)
                (if (i32.eqz (local.get 0))
                    (then (return (i32.add (local.get 1) (i32.const 1)))))
                (if (i32.eqz (local.get 1))
                    (then (return (call $again
                        (i32.sub (local.get 0) (i32.const 1)) (i32.const 1)))))
                (call $again
                    (i32.sub (local.get 0) (i32.const 1))
                    (call $again (local.get 0) (i32.sub (local.get 1) (i32.const 1))))))"#,
    )?;
    let mut store = Store::new(&engine, 0_usize);
    let again = Func::wrap(
        &mut store,
        |mut caller: Caller<'_, usize>, m: u32, n: u32| -> Result<u32> {
            *caller.data_mut() += 1;
            let ack = caller
                .get_export("ack")
                .and_then(Extern::into_func)
                .unwrap();
            ack.typed::<(u32, u32), u32>(&caller)?
                .call(&mut caller, (m, n))
        },
    );
    let instance = Instance::new(&mut store, &module, &[again.into()])?;
    let ack = instance.get_typed_func::<(u32, u32), u32>(&mut store, "ack")?;
    assert_eq!(ack.call(&mut store, (2, 3))?, 9);
    // All calls but the first one.
    assert_eq!(*store.data(), 43);
    Ok(())
}

macro_rules! arities {
    ($engine:ident, $store:ident: $($n:literal: $($p:ident)*;)*) => {$(
        let sum = Func::wrap(&mut $store, |$($p: u64),*| -> u64 { 0 $(+ $p)* });
        let with_caller = Func::wrap(
            &mut $store,
            |caller: Caller<'_, u64>, $($p: u64),*| -> u64 { *caller.data() $(+ $p)* },
        );
        let ty = format!("(param {}) (result i64)", "i64 ".repeat($n));
        let module = forwarder(&$engine, &ty, $n);
        for (host, extra) in [(sum, 0), (with_caller, 1000)] {
            let instance = Instance::new(&mut $store, &module, &[host.into()])?;
            let run = instance.get_func(&mut $store, "run").unwrap();
            let mut next = 0;
            $(next += 1; let $p: u64 = next;)*
            let expected: u64 = (1..=next).sum::<u64>() + extra;
            let typed = run.typed::<($(arities!(@u64 $p),)*), u64>(&$store)?;
            assert_eq!(typed.call(&mut $store, ($($p,)*))?, expected);
            let direct = host.typed::<($(arities!(@u64 $p),)*), u64>(&$store)?;
            assert_eq!(direct.call(&mut $store, ($($p,)*))?, expected);
            let mut results = [Val::I32(0)];
            run.call(&mut $store, &[$(Val::I64($p as i64)),*], &mut results)?;
            assert_eq!(results[0].unwrap_i64(), expected as i64);
        }
    )*};
    (@u64 $p:ident) => { u64 };
}

#[test]
fn closures_take_up_to_seventeen_parameters() -> Result<()> {
    let engine = Engine::default();
    let mut store = Store::new(&engine, 1000);
    arities! { engine, store:
        1: a;
        2: a b;
        3: a b c;
        4: a b c d;
        5: a b c d e;
        6: a b c d e f;
        7: a b c d e f g;
        8: a b c d e f g h;
        9: a b c d e f g h i;
        10: a b c d e f g h i j;
        11: a b c d e f g h i j k;
        12: a b c d e f g h i j k l;
        13: a b c d e f g h i j k l m;
        14: a b c d e f g h i j k l m n;
        15: a b c d e f g h i j k l m n o;
        16: a b c d e f g h i j k l m n o p;
        17: a b c d e f g h i j k l m n o p q;
    }
    Ok(())
}

#[test]
fn closures_return_nothing_values_and_tuples() -> Result<()> {
    let engine = Engine::default();
    let mut store = Store::new(&engine, ());
    let results = |func: Func, store: &Store<()>| -> Vec<String> {
        func.ty(store).results().map(|ty| ty.to_string()).collect()
    };
    let nothing = Func::wrap(&mut store, || {});
    let fails = Func::wrap(&mut store, || -> Result<()> { Ok(()) });
    let one = Func::wrap(&mut store, || 1.5_f32);
    let tuple = Func::wrap(&mut store, || (1_i32,));
    let many = Func::wrap(&mut store, || (1_i32, 2_u64, 3.0_f64, V128::from(4)));
    let all = Func::wrap(&mut store, || -> Result<(i64, Option<Func>)> {
        Ok((1, None))
    });
    assert!(results(nothing, &store).is_empty());
    assert!(results(fails, &store).is_empty());
    assert_eq!(results(one, &store), ["f32"]);
    assert_eq!(results(tuple, &store), ["i32"]);
    assert_eq!(results(many, &store), ["i32", "i64", "f64", "v128"]);
    assert_eq!(results(all, &store), ["i64", "funcref"]);

    let module = forwarder(&engine, "(result i32 i64 f64 v128)", 0);
    let instance = Instance::new(&mut store, &module, &[many.into()])?;
    let run = instance.get_typed_func::<(), (i32, i64, f64, V128)>(&mut store, "run")?;
    assert_eq!(run.call(&mut store, ())?, (1, 2, 3.0, V128::from(4)));
    Ok(())
}

#[test]
fn untyped_functions_are_checked() -> Result<()> {
    let engine = Engine::default();
    let mut store = Store::new(&engine, ());
    let ty = FuncType::new(
        &engine,
        [ValType::I32, ValType::F64],
        [ValType::F64, ValType::I32],
    );
    let module = forwarder(&engine, "(param i32 f64) (result f64 i32)", 2);
    let swap = Func::new(&mut store, ty.clone(), |_, params, results| {
        results[0] = params[1];
        results[1] = params[0];
        Ok(())
    });
    let forgets = Func::new(&mut store, ty.clone(), |_, _, _| Ok(()));
    let mistypes = Func::new(&mut store, ty, |_, params, results| {
        results.copy_from_slice(params);
        Ok(())
    });
    let call = |store: &mut Store<()>, host: Func| -> Result<(f64, i32)> {
        let instance = Instance::new(&mut *store, &module, &[host.into()])?;
        let run = instance.get_typed_func::<(i32, f64), (f64, i32)>(&mut *store, "run")?;
        run.call(store, (3, 0.5))
    };
    assert_eq!(call(&mut store, swap)?, (0.5, 3));
    for host in [forgets, mistypes] {
        let error = format!("{:#}", call(&mut store, host).unwrap_err());
        assert!(
            error.contains("function attempted to return an incompatible value"),
            "{error}"
        );
    }
    Ok(())
}

#[test]
fn unchecked_functions_work_on_raw_values() -> Result<()> {
    let engine = Engine::default();
    let mut store = Store::new(&engine, 10_i64);
    let ty = FuncType::new(&engine, [ValType::I32], [ValType::I64, ValType::I64]);
    // SAFETY: reads one `i32` and writes two `i64`, as the type says.
    let host = unsafe {
        Func::new_unchecked(&mut store, ty, |caller: Caller<'_, i64>, values| {
            let param = i64::from(values[0].get_i32());
            values[0] = ValRaw::i64(param + caller.data());
            values[1] = ValRaw::i64(param - caller.data());
            Ok(())
        })
    };
    let module = forwarder(&engine, "(param i32) (result i64 i64)", 1);
    let instance = Instance::new(&mut store, &module, &[host.into()])?;
    let run = instance.get_func(&mut store, "run").unwrap();
    for func in [run, host] {
        let mut values = [ValRaw::i32(-1), ValRaw::null()];
        // SAFETY: the parameter is an `i32`, and there is room for both results.
        unsafe { func.call_unchecked(&mut store, &mut values)? };
        assert_eq!((values[0].get_i64(), values[1].get_i64()), (9, -11));
    }
    Ok(())
}

#[test]
fn callers_give_exports() -> Result<()> {
    let engine = Engine::default();
    let module = Module::new(
        &engine,
        r#"(module
            (import "" "" (func $host (result i32)))
            (memory (export "memory") 1)
            (global (export "global") i32 (i32.const 5))
            (table (export "table") 3 funcref)
            (func (export "run") (result i32) (call $host)))"#,
    )?;
    let global = module.get_export_index("global").unwrap();
    let other = Module::new(&engine, r#"(module (memory (export "memory") 1))"#)?;
    let other = other.get_export_index("memory").unwrap();
    let mut store = Store::new(&engine, ());
    let host = Func::wrap(&mut store, move |mut caller: Caller<'_, ()>| -> i32 {
        assert!(caller.get_export("nothing").is_none());
        assert!(caller.get_module_export(&other).is_none());
        let Some(Extern::Global(global)) = caller.get_module_export(&global) else {
            return -1;
        };
        let Some(Extern::Table(table)) = caller.get_export("table") else {
            return -2;
        };
        assert!(matches!(
            caller.get_export("memory"),
            Some(Extern::Memory(_))
        ));
        assert!(matches!(caller.get_export("run"), Some(Extern::Func(_))));
        let global = global.get(&mut caller).unwrap_i32();
        global * 10 + table.size(&caller) as i32
    });
    let instance = Instance::new(&mut store, &module, &[host.into()])?;
    let run = instance.get_typed_func::<(), i32>(&mut store, "run")?;
    assert_eq!(run.call(&mut store, ())?, 53);
    // Called by the host itself, there is no instance to export anything.
    let direct = host.typed::<(), i32>(&store)?;
    assert_eq!(direct.call(&mut store, ())?, -1);
    Ok(())
}

#[test]
fn data_of_stores_may_borrow() -> Result<()> {
    let engine = Engine::default();
    let module = forwarder(&engine, "(param i32)", 1);
    let mut log = Vec::new();
    {
        let mut linker = Linker::<&mut Vec<u32>>::new(&engine);
        linker.func_wrap("", "", |mut caller: Caller<'_, &mut Vec<u32>>, x: u32| {
            caller.data_mut().push(x);
        })?;
        let mut store = Store::new(&engine, &mut log);
        let instance = linker.instantiate(&mut store, &module)?;
        let run = instance.get_typed_func::<u32, ()>(&mut store, "run")?;
        run.call(&mut store, 1)?;
        run.call(&mut store, 2)?;
    }
    assert_eq!(log, [1, 2]);
    Ok(())
}

#[test]
fn functions_can_be_called_through_tables_before_any_module_knows_their_type() -> Result<()> {
    let engine = Engine::default();
    let mut store = Store::new(&engine, ());
    let host = Func::wrap(&mut store, |x: i64| x + 1);
    let table = Table::new(
        &mut store,
        TableType::new(RefType::FUNCREF, 1, None),
        host.into(),
    )?;
    let module = Module::new(
        &engine,
        r#"(module
            (import "" "" (table 1 funcref))
            (func (export "run") (param i64) (result i64)
                (call_indirect (param i64) (result i64) (local.get 0) (i32.const 0))))"#,
    )?;
    let instance = Instance::new(&mut store, &module, &[table.into()])?;
    let run = instance.get_typed_func::<i64, i64>(&mut store, "run")?;
    assert_eq!(run.call(&mut store, 41)?, 42);
    Ok(())
}
