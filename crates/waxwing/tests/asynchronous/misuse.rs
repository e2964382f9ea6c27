//! What panics: functions that do not wait in asynchronous stores, and those that do in others.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::*;

/// Asserts that `f` panics with a message that has `part`.
pub(crate) fn panics(part: &str, f: impl FnOnce()) {
    let payload = catch_unwind(AssertUnwindSafe(f)).expect_err("it panics");
    let message = payload
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| payload.downcast_ref().copied())
        .unwrap();
    assert!(message.contains(part), "{message}");
}

#[test]
fn asynchronous_stores_are_used_by_asynchronous_functions() {
    let engine = engine();
    let module = Module::new(&engine, r#"(module (func (export "f")))"#).unwrap();
    let mut store = Store::new(&engine, ());
    let mut linker = Linker::new(&engine);
    let instance = run(linker.instantiate_async(&mut store, &module)).unwrap();
    let func = instance.get_func(&mut store, "f").unwrap();
    let typed = func.typed::<(), ()>(&store).unwrap();
    let pre = linker.instantiate_pre(&module).unwrap();
    const MESSAGE: &str = "when async support is enabled on the config";
    panics(MESSAGE, || drop(func.call(&mut store, &[], &mut [])));
    panics(MESSAGE, || drop(typed.call(&mut store, ())));
    panics(MESSAGE, || {
        // SAFETY: there are neither parameters nor results.
        drop(unsafe { func.call_unchecked(&mut store, &mut []) });
    });
    panics(MESSAGE, || drop(Instance::new(&mut store, &module, &[])));
    panics(MESSAGE, || drop(pre.instantiate(&mut store)));
    panics(MESSAGE, || drop(linker.instantiate(&mut store, &module)));
    panics(MESSAGE, || drop(linker.module(&mut store, "m", &module)));
}

#[test]
fn functions_of_the_host_cannot_call_synchronously_either() {
    let engine = engine();
    let mut store = Store::new(&engine, Host::default());
    let call = |mut caller: Caller<'_, Host>| {
        let func = caller.get_export("g").and_then(Extern::into_func).unwrap();
        panics("call_async", || drop(func.call(&mut caller, &[], &mut [])));
    };
    let sync = Func::wrap(&mut store, call);
    let waits = Func::wrap_async(&mut store, move |caller, (): ()| {
        Box::new(async move {
            Pend(1).await;
            call(caller);
        })
    });
    let text =
        r#"(module (import "" "f" (func $f)) (func (export "g")) (func (export "f") (call $f)))"#;
    let module = Module::new(&engine, text).unwrap();
    for func in [sync, waits] {
        let instance = run(Instance::new_async(&mut store, &module, &[func.into()])).unwrap();
        let f = typed::<(), ()>(&mut store, instance, "f");
        run(f.call_async(&mut store, ())).unwrap();
    }
}

#[test]
fn other_stores_are_not() {
    let engine = Engine::default();
    let module = Module::new(&engine, r#"(module (func (export "f")))"#).unwrap();
    let mut store = Store::new(&engine, StoreLimits::default());
    let mut linker = Linker::new(&engine);
    let instance = linker.instantiate(&mut store, &module).unwrap();
    let func = instance.get_func(&mut store, "f").unwrap();
    let typed = func.typed::<(), ()>(&store).unwrap();
    let pre = linker.instantiate_pre(&module).unwrap();
    let memory = Memory::new(&mut store, MemoryType::new(1, None)).unwrap();
    let ty = TableType::new(RefType::FUNCREF, 1, None);
    let table = Table::new(&mut store, ty.clone(), Ref::Func(None)).unwrap();
    let func_ty = FuncType::new(&engine, [], []);
    const MESSAGE: &str = "without enabling async support in the config";
    let none = Ref::Func(None);
    panics(MESSAGE, || {
        drop(run(func.call_async(&mut store, &[], &mut [])))
    });
    panics(MESSAGE, || drop(run(typed.call_async(&mut store, ()))));
    panics(MESSAGE, || {
        drop(run(Instance::new_async(&mut store, &module, &[])))
    });
    panics(MESSAGE, || drop(run(pre.instantiate_async(&mut store))));
    panics(MESSAGE, || {
        drop(run(linker.instantiate_async(&mut store, &module)))
    });
    panics(MESSAGE, || {
        drop(run(linker.module_async(&mut store, "m", &module)))
    });
    panics(MESSAGE, || {
        drop(run(Memory::new_async(&mut store, MemoryType::new(1, None))))
    });
    panics(MESSAGE, || drop(run(memory.grow_async(&mut store, 1))));
    panics(MESSAGE, || {
        drop(run(Table::new_async(&mut store, ty, none)))
    });
    panics(MESSAGE, || drop(run(table.grow_async(&mut store, 1, none))));
    panics(MESSAGE, || run(store.gc_async()));
    panics(MESSAGE, || store.epoch_deadline_async_yield_and_update(1));
    panics(MESSAGE, || {
        Func::wrap_async(&mut store, |_: Caller<'_, StoreLimits>, (): ()| {
            Box::new(async {})
        });
    });
    panics(MESSAGE, || {
        let ty = func_ty.clone();
        Func::new_async(&mut store, ty, |_, _, _| Box::new(async { Ok(()) }));
    });
    panics(MESSAGE, || {
        let defined = linker.func_wrap_async("m", "a", |_: Caller<'_, StoreLimits>, (): ()| {
            Box::new(async {})
        });
        drop(defined);
    });
    panics(MESSAGE, || {
        drop(linker.func_new_async("m", "b", func_ty, |_, _, _| Box::new(async { Ok(()) })));
    });
}

#[test]
fn a_deadline_that_yields_is_an_error_elsewhere() {
    let engine = Engine::new(Config::new().epoch_interruption(true)).unwrap();
    let module = Module::new(&engine, r#"(module (func (export "f") (loop (br 0))))"#).unwrap();
    let mut store = Store::new(&engine, ());
    store.epoch_deadline_callback(|_| Ok(UpdateDeadline::Yield(1)));
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    let f = instance.get_typed_func::<(), ()>(&mut store, "f").unwrap();
    let error = f.call(&mut store, ()).unwrap_err();
    assert!(format!("{error:?}").contains("async support"), "{error:?}");
}
