//! Stores: their data, and that nothing is used with another store than its own.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use waxwing::*;

/// The message of the panic of `f`.
fn panic_of<R>(f: impl FnOnce() -> R) -> String {
    let Err(payload) = catch_unwind(AssertUnwindSafe(f)) else {
        panic!("should have panicked")
    };
    match payload.downcast::<String>() {
        Ok(message) => *message,
        Err(payload) => payload.downcast_ref::<&str>().unwrap().to_string(),
    }
}

const ITEMS: &str = r#"(module
    (func (export "func"))
    (global (export "global") (mut i32) (i32.const 1))
    (table (export "table") 1 funcref)
    (memory (export "memory") 1))"#;

#[test]
fn items_panic_in_other_stores() -> Result<()> {
    let engine = Engine::default();
    let module = Module::new(&engine, ITEMS)?;
    let mut home = Store::new(&engine, ());
    let instance = Instance::new(&mut home, &module, &[])?;
    let func = instance.get_func(&mut home, "func").unwrap();
    let global = instance.get_global(&mut home, "global").unwrap();
    let table = instance.get_table(&mut home, "table").unwrap();
    let memory = instance.get_memory(&mut home, "memory").unwrap();
    let typed = func.typed::<(), ()>(&home)?;
    let reference = ExternRef::new(&mut home, 5)?;
    let kept = reference.to_manually_rooted(&mut home)?;

    // The other store has items at the same places.
    let mut other = Store::new(&engine, ());
    Instance::new(&mut other, &module, &[])?;
    ExternRef::new_manually_rooted(&mut other, 6)?;
    ExternRef::new(&mut other, 6)?;
    let o = &mut other;
    let messages = [
        panic_of(|| func.call(&mut *o, &[], &mut [])),
        panic_of(|| func.ty(&*o)),
        panic_of(|| func.typed::<(), ()>(&*o)),
        panic_of(|| typed.call(&mut *o, ())),
        panic_of(|| global.get(&mut *o)),
        panic_of(|| global.set(&mut *o, Val::I32(1))),
        panic_of(|| global.ty(&*o)),
        panic_of(|| table.get(&mut *o, 0)),
        panic_of(|| table.set(&mut *o, 0, Ref::Func(None))),
        panic_of(|| table.grow(&mut *o, 0, Ref::Func(None))),
        panic_of(|| table.size(&*o)),
        panic_of(|| memory.data(&*o).len()),
        panic_of(|| memory.data_mut(&mut *o).len()),
        panic_of(|| memory.grow(&mut *o, 0)),
        panic_of(|| memory.size(&*o)),
        panic_of(|| memory.write(&mut *o, 0, b"x")),
        panic_of(|| instance.get_export(&mut *o, "func")),
        panic_of(|| instance.exports(&mut *o).count()),
        panic_of(|| instance.module(&*o).name().is_some()),
        panic_of(|| reference.data(&*o).is_ok()),
        panic_of(|| kept.data(&*o).is_ok()),
        panic_of(|| Extern::from(memory).ty(&*o)),
        panic_of(|| Linker::new(&engine).define(&*o, "", "", memory).map(drop)),
        panic_of(|| {
            Linker::new(&engine)
                .instance(&mut *o, "", instance)
                .map(drop)
        }),
    ];
    for message in messages {
        assert_eq!(message, "object used with the wrong store");
    }
    // Nothing was changed.
    assert_eq!(global.get(&mut home).unwrap_i32(), 1);
    assert_eq!(memory.size(&home), 1);
    Ok(())
}

#[test]
fn items_of_other_engines_are_refused() -> Result<()> {
    let engine = Engine::default();
    let foreign = Engine::default();
    let mut store = Store::new(&engine, ());
    let module = Module::new(&foreign, "(module)")?;
    let error = Instance::new(&mut store, &module, &[]).unwrap_err();
    assert!(
        error.to_string().contains("cross-`Engine` instantiation"),
        "{error}"
    );

    let linker = Linker::new(&foreign);
    assert!(panic_of(|| linker.instantiate(&mut store, &module)).contains("cross-`Engine`"));
    let linker = Linker::<()>::new(&engine);
    assert!(panic_of(|| linker.instantiate_pre(&module)).contains("another engine"));

    let ty = FuncType::new(&foreign, [], []);
    let new = AssertUnwindSafe(|| Func::new(&mut store, ty.clone(), |_, _, _| Ok(())));
    assert!(panic_of(new.0).contains("another engine"));
    let ty = ValType::Ref(RefType::new(true, ty.into()));
    let ty = GlobalType::new(ty, Mutability::Var);
    assert!(
        panic_of(|| Global::new(&mut store, ty, Val::null_func_ref())).contains("another engine")
    );
    Ok(())
}

#[test]
fn imports_of_other_stores_are_errors() -> Result<()> {
    let engine = Engine::default();
    let mut store = Store::new(&engine, ());
    let mut other = Store::new(&engine, ());
    let memory = Memory::new(&mut other, MemoryType::new(1, None))?;
    let module = Module::new(&engine, r#"(module (import "a" "b" (memory 1)))"#)?;
    let error = Instance::new(&mut store, &module, &[memory.into()]).unwrap_err();
    assert!(
        error.to_string().contains("cross-`Store` instantiation"),
        "{error}"
    );
    assert!(error.to_string().contains("`a::b`"), "{error}");

    let mut linker = Linker::new(&engine);
    linker.define(&other, "a", "b", memory)?;
    linker.instantiate(&mut other, &module)?;
    let pre = linker.instantiate_pre(&module)?;
    for message in [
        panic_of(|| linker.instantiate(&mut store, &module)),
        panic_of(|| pre.instantiate(&mut store)),
        panic_of(|| linker.get(&mut store, "a", "b")),
    ] {
        assert_eq!(message, "object used with the wrong store");
    }
    Ok(())
}

#[test]
fn data_are_reached_and_come_back() {
    let engine = Engine::default();
    let mut store = Store::new(&engine, String::from("wax"));
    store.data_mut().push('w');
    store.as_context_mut().data_mut().push_str("ing");
    assert_eq!(store.data(), "waxwing");
    assert_eq!(store.as_context().data(), "waxwing");
    assert!(Engine::same(store.engine(), &engine));
    assert!(format!("{store:?}").contains("waxwing"));
    assert_eq!(store.into_data(), "waxwing");
    assert_eq!(*Store::<u32>::default().data(), 0);
}

#[test]
fn stores_drop_what_they_own_once() -> Result<()> {
    struct Count(Arc<AtomicUsize>);
    impl Drop for Count {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let engine = Engine::default();
    let module = Module::new(&engine, ITEMS)?;
    for into_data in [false, true] {
        let dropped = Arc::new(AtomicUsize::new(0));
        let count = || Count(dropped.clone());
        let mut store = Store::new(&engine, count());
        Instance::new(&mut store, &module, &[])?;
        ExternRef::new(&mut store, count())?;
        let in_closure = count();
        Func::wrap(&mut store, move || {
            let _ = &in_closure;
        });
        assert_eq!(dropped.load(Ordering::SeqCst), 0);
        if into_data {
            let data = store.into_data();
            assert_eq!(dropped.load(Ordering::SeqCst), 2);
            drop(data);
        } else {
            drop(store);
        }
        assert_eq!(dropped.load(Ordering::SeqCst), 3);
    }
    Ok(())
}

#[test]
fn stores_move_between_threads() -> Result<()> {
    let engine = Engine::default();
    let module = Module::new(
        &engine,
        r#"(module (func (export "div") (param i32 i32) (result i32)
            (i32.div_u (local.get 0) (local.get 1))))"#,
    )?;
    let mut store = Store::new(&engine, 0);
    let instance = Instance::new(&mut store, &module, &[])?;
    let div = instance.get_typed_func::<(u32, u32), u32>(&mut store, "div")?;
    for i in 0..4 {
        let div = div.clone();
        store = std::thread::spawn(move || {
            *store.data_mut() += div.call(&mut store, (8, 2)).unwrap();
            div.call(&mut store, (1, 0)).unwrap_err();
            store
        })
        .join()
        .unwrap();
        assert_eq!(*store.data(), 4 * (i + 1));
    }
    Ok(())
}

#[test]
fn stores_nest() -> Result<()> {
    // A host function of one store runs WebAssembly of another, which traps.
    let engine = Engine::default();
    let module = Module::new(
        &engine,
        r#"(module
            (import "" "" (func $host (result i32)))
            (func (export "run") (result i32) (i32.add (call $host) (i32.const 1)))
            (func $trap (export "trap") unreachable))"#,
    )?;
    let mut inner = Store::new(&engine, ());
    let nothing = Func::wrap(&mut inner, || 10);
    let inner_instance = Instance::new(&mut inner, &module, &[nothing.into()])?;
    let run = inner_instance.get_typed_func::<(), i32>(&mut inner, "run")?;
    let trap = inner_instance.get_typed_func::<(), ()>(&mut inner, "trap")?;

    let mut outer = Store::new(&engine, inner);
    let host = Func::wrap(
        &mut outer,
        move |mut caller: Caller<'_, Store<()>>| -> Result<i32> {
            assert_eq!(WasmBacktrace::capture(&caller).frames().len(), 1);
            let inner = caller.data_mut();
            let error = trap.call(&mut *inner, ()).unwrap_err();
            let backtrace = error.downcast_ref::<WasmBacktrace>().unwrap();
            assert_eq!(backtrace.frames().len(), 1);
            assert_eq!(backtrace.frames()[0].func_name(), Some("trap"));
            run.call(inner, ())
        },
    );
    let outer_instance = Instance::new(&mut outer, &module, &[host.into()])?;
    let run = outer_instance.get_typed_func::<(), i32>(&mut outer, "run")?;
    assert_eq!(run.call(&mut outer, ())?, 12);
    Ok(())
}
