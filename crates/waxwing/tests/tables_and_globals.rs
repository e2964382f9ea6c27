//! Tables and globals in the hands of the host.

use waxwing::*;

fn func_of(reference: Option<Ref>) -> Func {
    *reference.unwrap().unwrap_func().unwrap()
}

fn call(store: &mut Store<()>, func: Func) -> Result<i32> {
    func.typed::<(), i32>(&*store)?.call(store, ())
}

#[test]
fn tables_hold_what_the_module_says() -> Result<()> {
    let engine = Engine::default();
    for lazy in [true, false] {
        let engine = match lazy {
            true => engine.clone(),
            false => Engine::new(Config::new().table_lazy_init(false))?,
        };
        let module = Module::new(
            &engine,
            r#"(module
                (table (export "table") 4 funcref)
                (elem (i32.const 1) $one $two)
                (func $one (result i32) (i32.const 1))
                (func $two (result i32) (i32.const 2)))"#,
        )?;
        let mut store = Store::new(&engine, ());
        let instance = Instance::new(&mut store, &module, &[])?;
        let table = instance.get_table(&mut store, "table").unwrap();
        assert!(table.get(&mut store, 0).unwrap().is_null());
        let one = func_of(table.get(&mut store, 1));
        let two = func_of(table.get(&mut store, 2));
        assert_eq!((call(&mut store, one)?, call(&mut store, two)?), (1, 2));
        assert!(table.get(&mut store, 3).unwrap().is_null());
        assert!(table.get(&mut store, 4).is_none());
        assert!(table.get(&mut store, u64::MAX).is_none());
    }
    Ok(())
}

#[test]
fn tables_are_changed_within_bounds_and_types() -> Result<()> {
    let mut store = Store::<()>::default();
    let ty = TableType::new(RefType::FUNCREF, 4, Some(8));
    let table = Table::new(&mut store, ty, Ref::Func(None))?;
    let func = Func::wrap(&mut store, || 3_i32);
    table.set(&mut store, 3, func.into())?;
    let element = func_of(table.get(&mut store, 3));
    assert_eq!(call(&mut store, element)?, 3);
    let error = table.set(&mut store, 4, func.into()).unwrap_err();
    assert!(error.to_string().contains("out of bounds"), "{error}");
    let error = table.set(&mut store, 0, Ref::Extern(None)).unwrap_err();
    assert!(format!("{error:#}").contains("type mismatch"), "{error:#}");

    table.fill(&mut store, 0, func.into(), 2)?;
    assert!(table.get(&mut store, 1).unwrap().is_non_null());
    assert!(table.get(&mut store, 2).unwrap().is_null());
    let error = table.fill(&mut store, 3, func.into(), 2).unwrap_err();
    assert_eq!(error.downcast::<Trap>()?, Trap::TableOutOfBounds);

    assert_eq!(table.grow(&mut store, 4, func.into())?, 4);
    assert_eq!(table.size(&store), 8);
    assert!(table.get(&mut store, 7).unwrap().is_non_null());
    let error = table.grow(&mut store, 1, func.into()).unwrap_err();
    assert_eq!(error.to_string(), "failed to grow table by `1`");
    assert!(table.grow(&mut store, 0, Ref::Any(None)).is_err());
    let ty = table.ty(&store);
    assert_eq!((ty.minimum(), ty.maximum()), (4, Some(8)));
    Ok(())
}

#[test]
fn tables_are_copied() -> Result<()> {
    let engine = Engine::default();
    let mut store = Store::new(&engine, ());
    let module = Module::new(
        &engine,
        r#"(module
            (table (export "table") 3 funcref)
            (elem (i32.const 0) $a $b $c)
            (func $a (result i32) (i32.const 10))
            (func $b (result i32) (i32.const 20))
            (func $c (result i32) (i32.const 30)))"#,
    )?;
    let instance = Instance::new(&mut store, &module, &[])?;
    let src = instance.get_table(&mut store, "table").unwrap();
    let ty = TableType::new(RefType::FUNCREF, 5, None);
    let dst = Table::new(&mut store, ty, Ref::Func(None))?;
    Table::copy(&mut store, &dst, 2, &src, 0, 3)?;
    assert!(dst.get(&mut store, 1).unwrap().is_null());
    let last = func_of(dst.get(&mut store, 4));
    assert_eq!(call(&mut store, last)?, 30);
    // Within one table, overlapping.
    Table::copy(&mut store, &dst, 1, &dst, 2, 3)?;
    let values: Vec<_> = (1..5)
        .map(|i| func_of(dst.get(&mut store, i)))
        .collect::<Vec<_>>()
        .into_iter()
        .map(|func| call(&mut store, func).unwrap())
        .collect();
    assert_eq!(values, [10, 20, 30, 30]);

    let error = Table::copy(&mut store, &dst, 3, &src, 0, 3).unwrap_err();
    assert_eq!(error.downcast::<Trap>()?, Trap::TableOutOfBounds);
    let ty = TableType::new(RefType::EXTERNREF, 5, None);
    let others = Table::new(&mut store, ty, Ref::Extern(None))?;
    assert!(Table::copy(&mut store, &others, 0, &src, 0, 1).is_err());
    Ok(())
}

#[test]
fn globals_of_every_type() -> Result<()> {
    let engine = Engine::default();
    let mut store = Store::new(&engine, ());
    let module = Module::new(
        &engine,
        r#"(module
            (global (export "i32") (mut i32) (i32.const -7))
            (global (export "i64") (mut i64) (i64.const -8))
            (global (export "f32") (mut f32) (f32.const 1.5))
            (global (export "f64") (mut f64) (f64.const -0.25))
            (global (export "v128") (mut v128) (v128.const i64x2 1 2))
            (global (export "func") (mut funcref) (ref.func $f))
            (global (export "extern") (mut externref) (ref.null extern))
            (func $f (result i32) (i32.const 6)))"#,
    )?;
    let instance = Instance::new(&mut store, &module, &[])?;
    let mut get = |name| instance.get_global(&mut store, name).unwrap();
    let [i, l, f, d, v] = ["i32", "i64", "f32", "f64", "v128"].map(&mut get);
    let [func, external] = ["func", "extern"].map(&mut get);
    assert_eq!(i.get(&mut store).unwrap_i32(), -7);
    assert_eq!(l.get(&mut store).unwrap_i64(), -8);
    assert_eq!(f.get(&mut store).unwrap_f32(), 1.5);
    assert_eq!(d.get(&mut store).unwrap_f64(), -0.25);
    assert_eq!(v.get(&mut store).unwrap_v128().as_u128(), 1 | 2 << 64);
    let six = *func.get(&mut store).unwrap_func_ref().unwrap();
    assert_eq!(call(&mut store, six)?, 6);
    assert!(external.get(&mut store).unwrap_extern_ref().is_none());

    let reference = ExternRef::new(&mut store, "held")?;
    for (global, val) in [
        (i, Val::I32(1)),
        (l, Val::I64(2)),
        (f, Val::from(3.0_f32)),
        (d, Val::from(4.0_f64)),
        (v, Val::from(5_u128)),
        (func, Val::null_func_ref()),
        (external, reference.into()),
    ] {
        global.set(&mut store, val)?;
        let ty = global.ty(&store);
        assert!(global.get(&mut store).matches_ty(&store, ty.content())?);
        assert!(ty.mutability().is_var());
    }
    assert_eq!(v.get(&mut store).unwrap_v128().as_u128(), 5);
    assert!(func.get(&mut store).unwrap_func_ref().is_none());
    let held = *external.get(&mut store).unwrap_extern_ref().unwrap();
    assert!(Rooted::ref_eq(&store, &held, &reference)?);
    Ok(())
}

#[test]
fn globals_are_set_within_their_types() -> Result<()> {
    let mut store = Store::<()>::default();
    let constant = GlobalType::new(ValType::I32, Mutability::Const);
    let variable = GlobalType::new(ValType::I32, Mutability::Var);
    let error = Global::new(&mut store, constant.clone(), Val::I64(1)).unwrap_err();
    assert!(
        format!("{error:#}").contains("expected i32, found i64"),
        "{error:#}"
    );
    let global = Global::new(&mut store, constant, Val::I32(1))?;
    let error = global.set(&mut store, Val::I32(2)).unwrap_err();
    assert_eq!(error.to_string(), "immutable global cannot be set");
    let global = Global::new(&mut store, variable, Val::I32(1))?;
    assert!(global.set(&mut store, Val::F32(2)).is_err());
    assert_eq!(global.get(&mut store).unwrap_i32(), 1);
    Ok(())
}
