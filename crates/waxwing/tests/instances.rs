//! Instances: imports, exports and start functions.

use waxwing::*;

#[test]
fn exports_are_listed_in_order() -> Result<()> {
    let engine = Engine::default();
    let module = Module::new(
        &engine,
        r#"(module
            (func $f (export "z"))
            (memory (export "y") 1 2)
            (export "x" (func $f))
            (table (export "w") 3 externref)
            (global (export "") f64 (f64.const 1)))"#,
    )?;
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[])?;
    let exports: Vec<_> = instance.exports(&mut store).collect();
    let names: Vec<_> = exports.iter().map(Export::name).collect();
    assert_eq!(names, ["z", "y", "x", "w", ""]);
    assert_eq!(instance.exports(&mut store).len(), 5);

    let exports: Vec<_> = instance
        .exports(&mut store)
        .map(Export::into_extern)
        .collect();
    let types: Vec<_> = exports.iter().map(|item| item.ty(&store)).collect();
    assert!(matches!(&types[..], [
        ExternType::Func(_),
        ExternType::Memory(memory),
        ExternType::Func(_),
        ExternType::Table(_),
        ExternType::Global(_),
    ] if memory.maximum() == Some(2)));
    assert!(instance.get_func(&mut store, "y").is_none());
    assert!(instance.get_memory(&mut store, "y").is_some());
    assert!(instance.get_table(&mut store, "w").is_some());
    assert!(instance.get_global(&mut store, "").is_some());
    assert!(instance.get_export(&mut store, "v").is_none());
    assert!(std::ptr::eq(
        instance.module(&store),
        instance.module(&mut store)
    ));
    assert_eq!(instance.module(&store).exports().len(), 5);
    Ok(())
}

#[test]
fn module_exports_belong_to_their_module() -> Result<()> {
    let engine = Engine::default();
    let wat = r#"(module (global (export "g") i32 (i32.const 3)))"#;
    let (a, b) = (Module::new(&engine, wat)?, Module::new(&engine, wat)?);
    let export = a.get_export_index("g").unwrap();
    let mut store = Store::new(&engine, ());
    let of_a = Instance::new(&mut store, &a, &[])?;
    let of_b = Instance::new(&mut store, &b, &[])?;
    let global = of_a.get_module_export(&mut store, &export).unwrap();
    assert_eq!(
        global.into_global().unwrap().get(&mut store).unwrap_i32(),
        3
    );
    assert!(of_b.get_module_export(&mut store, &export).is_none());
    Ok(())
}

#[test]
fn imports_are_counted_and_type_checked() -> Result<()> {
    let engine = Engine::default();
    let mut store = Store::new(&engine, ());
    let module = Module::new(
        &engine,
        r#"(module
            (import "a" "func" (func (param i32)))
            (import "b" "memory" (memory 1 2)))"#,
    )?;
    let func = Func::wrap(&mut store, |_: i32| {});
    let memory = Memory::new(&mut store, MemoryType::new(1, Some(2)))?;
    let good: [Extern; 2] = [func.into(), memory.into()];
    Instance::new(&mut store, &module, &good)?;

    let error = Instance::new(&mut store, &module, &good[..1]).unwrap_err();
    assert_eq!(error.to_string(), "expected 2 imports, found 1");
    let error =
        Instance::new(&mut store, &module, &[good[1].clone(), good[0].clone()]).unwrap_err();
    let text = format!("{error:#}");
    assert_eq!(
        text,
        "incompatible import type for `a::func`: expected func, found memory"
    );
    let mistyped = Func::wrap(&mut store, || {});
    let error =
        Instance::new(&mut store, &module, &[mistyped.into(), good[1].clone()]).unwrap_err();
    assert!(
        format!("{error:#}").contains("expected type `(func (param i32))`"),
        "{error:#}"
    );
    let unlimited = Memory::new(&mut store, MemoryType::new(1, None))?;
    let error =
        Instance::new(&mut store, &module, &[good[0].clone(), unlimited.into()]).unwrap_err();
    assert!(format!("{error:#}").contains("`b::memory`"), "{error:#}");
    Ok(())
}

#[test]
fn start_functions_run() -> Result<()> {
    let engine = Engine::default();
    let module = Module::new(
        &engine,
        r#"(module
            (import "" "" (func $host))
            (start $host))"#,
    )?;
    let own = Module::new(
        &engine,
        r#"(module
            (global (export "g") (mut i32) (i32.const 0))
            (func $start (global.set 0 (i32.const 9)))
            (start $start))"#,
    )?;
    let mut store = Store::new(&engine, 0);
    let host = Func::wrap(&mut store, |mut caller: Caller<'_, i32>| {
        *caller.data_mut() += 1
    });
    Instance::new(&mut store, &module, &[host.into()])?;
    assert_eq!(*store.data(), 1);
    let instance = Instance::new(&mut store, &own, &[])?;
    let global = instance.get_global(&mut store, "g").unwrap();
    assert_eq!(global.get(&mut store).unwrap_i32(), 9);
    Ok(())
}

#[test]
fn start_functions_and_segments_trap() -> Result<()> {
    let engine = Engine::default();
    let mut store = Store::new(&engine, ());
    let mut trap_of = |wat: &str| -> Result<Trap> {
        let module = Module::new(&engine, wat)?;
        Instance::new(&mut store, &module, &[])
            .unwrap_err()
            .downcast()
    };
    let trap = trap_of("(module (func $start unreachable) (start $start))")?;
    assert_eq!(trap, Trap::UnreachableCodeReached);
    let trap = trap_of(r#"(module (memory 1) (data (i32.const 65535) "ab"))"#)?;
    assert_eq!(trap, Trap::MemoryOutOfBounds);
    let trap = trap_of("(module (table 1 funcref) (elem (i32.const 1) $f) (func $f))")?;
    assert_eq!(trap, Trap::TableOutOfBounds);
    Ok(())
}

#[test]
fn what_a_failed_instance_left_in_tables_can_be_called() -> Result<()> {
    let engine = Engine::default();
    let mut store = Store::new(&engine, ());
    let ty = TableType::new(RefType::FUNCREF, 1, None);
    let table = Table::new(&mut store, ty, Ref::Func(None))?;
    let module = Module::new(
        &engine,
        r#"(module
            (import "" "" (table 1 funcref))
            (memory 1)
            (elem (i32.const 0) $f)
            (data (i32.const 65536) "beyond")
            (func $f (result i32) (i32.load8_u (i32.const 0))))"#,
    )?;
    let error = Instance::new(&mut store, &module, &[table.into()]).unwrap_err();
    assert_eq!(error.downcast::<Trap>()?, Trap::MemoryOutOfBounds);
    drop(module);
    let f = *table.get(&mut store, 0).unwrap().unwrap_func().unwrap();
    assert_eq!(f.typed::<(), i32>(&store)?.call(&mut store, ())?, 0);
    Ok(())
}

#[test]
fn instances_of_one_module_are_independent() -> Result<()> {
    let engine = Engine::default();
    let module = Module::new(
        &engine,
        r#"(module
            (memory (export "memory") 1)
            (data (i32.const 0) "image")
            (global $n (mut i32) (i32.const 0))
            (func (export "next") (result i32)
                (global.set $n (i32.add (global.get $n) (i32.const 1)))
                (i32.store8 (i32.const 0) (global.get $n))
                (global.get $n)))"#,
    )?;
    let mut store = Store::new(&engine, ());
    for _ in 0..3 {
        let instance = Instance::new(&mut store, &module, &[])?;
        let memory = instance.get_memory(&mut store, "memory").unwrap();
        assert_eq!(&memory.data(&store)[..6], b"image\0");
        let next = instance.get_typed_func::<(), i32>(&mut store, "next")?;
        assert_eq!(
            (next.call(&mut store, ())?, next.call(&mut store, ())?),
            (1, 2)
        );
        assert_eq!(memory.data(&store)[0], 2);
    }
    Ok(())
}
