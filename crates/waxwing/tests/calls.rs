//! Calls from the host: static and dynamic types, and what is checked.

use waxwing::*;

fn instantiate(wat: &str) -> (Store<()>, Instance) {
    let engine = Engine::default();
    let module = Module::new(&engine, wat).unwrap();
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    (store, instance)
}

#[test]
fn all_numbers_pass_unchanged() -> Result<()> {
    let (mut store, instance) = instantiate(
        r#"(module
            (func (export "run") (param i32 i64 f32 f64 v128) (result v128 f64 f32 i64 i32)
                (local.get 4) (local.get 3) (local.get 2) (local.get 1) (local.get 0)))"#,
    );
    type Params = (i32, i64, f32, f64, V128);
    type Results = (V128, f64, f32, i64, i32);
    let run = instance.get_typed_func::<Params, Results>(&mut store, "run")?;
    let vector = V128::from(0x1234_5678_9abc_def0_0fed_cba9_8765_4321);
    let nan = f32::from_bits(0x7fa0_0001);
    let (v, d, f, l, i) = run.call(&mut store, (-1, i64::MIN, nan, -0.0, vector))?;
    assert_eq!((v, l, i), (vector, i64::MIN, -1));
    assert_eq!(d.to_bits(), (-0.0_f64).to_bits());
    assert_eq!(f.to_bits(), nan.to_bits());

    let params = [
        Val::I32(-1),
        Val::I64(i64::MIN),
        Val::F32(nan.to_bits()),
        Val::F64(0),
        Val::V128(vector),
    ];
    let mut results = [Val::null_func_ref(); 5];
    run.func().call(&mut store, &params, &mut results)?;
    assert_eq!(results[0].unwrap_v128(), vector);
    assert_eq!(results[1].unwrap_f64(), 0.0);
    assert!(matches!(results[2], Val::F32(bits) if bits == nan.to_bits()));
    assert_eq!(results[3].unwrap_i64(), i64::MIN);
    assert_eq!(results[4].unwrap_i32(), -1);

    // Unsigned types are the same WebAssembly types.
    type Unsigned = (u32, u64, f32, f64, V128);
    let run = instance.get_typed_func::<Unsigned, (V128, f64, f32, u64, u32)>(&mut store, "run")?;
    let results = run.call(&mut store, (u32::MAX, u64::MAX, 0.0, 0.0, vector))?;
    assert_eq!((results.3, results.4), (u64::MAX, u32::MAX));
    Ok(())
}

#[test]
fn static_types_are_checked_once() {
    let (mut store, instance) =
        instantiate(r#"(module (func (export "run") (param i32 f32) (result i64) (i64.const 1)))"#);
    let run = instance.get_func(&mut store, "run").unwrap();
    assert!(run.typed::<(i32, f32), i64>(&store).is_ok());
    assert!(run.typed::<(u32, f32), u64>(&store).is_ok());
    assert!(run.typed::<(u32, f32), (u64,)>(&store).is_ok());
    let message = |error: Option<Error>| format!("{:#}", error.unwrap());
    let error = message(run.typed::<(i32, i32), i64>(&store).err());
    assert_eq!(
        error,
        "type mismatch with parameters: expected i32, found f32"
    );
    let error = message(run.typed::<i32, i64>(&store).err());
    assert_eq!(
        error,
        "type mismatch with parameters: expected 1 types, found 2"
    );
    let error = message(run.typed::<(i32, f32), ()>(&store).err());
    assert_eq!(
        error,
        "type mismatch with results: expected 0 types, found 1"
    );
    let error = message(run.typed::<(i32, f32), i32>(&store).err());
    assert_eq!(error, "type mismatch with results: expected i32, found i64");

    let error = instance
        .get_typed_func::<(), ()>(&mut store, "run")
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "failed to convert function `run` to given type"
    );
    let error = instance
        .get_typed_func::<(), ()>(&mut store, "walk")
        .unwrap_err();
    assert_eq!(error.to_string(), "failed to find function export `walk`");
}

#[test]
fn dynamic_types_are_checked_at_each_call() {
    let (mut store, instance) = instantiate(
        r#"(module (func (export "run") (param i32 funcref) (result i32) (i32.const 9)))"#,
    );
    let run = instance.get_func(&mut store, "run").unwrap();
    let mut call = |params: &[Val], results: &mut [Val]| {
        let result = run.call(&mut store, params, results);
        result.map_err(|error| format!("{error:#}"))
    };
    let mut results = [Val::F32(0)];
    let good = [Val::I32(1), Val::null_func_ref()];
    assert_eq!(call(&good, &mut results), Ok(()));
    assert_eq!(results[0].unwrap_i32(), 9);
    let error = call(&good[..1], &mut results).unwrap_err();
    assert_eq!(error, "expected 2 arguments, got 1");
    let error = call(&good, &mut []).unwrap_err();
    assert_eq!(error, "expected 1 results, got 0");
    let error = call(&[Val::I64(1), Val::null_func_ref()], &mut results).unwrap_err();
    assert_eq!(
        error,
        "argument type mismatch: type mismatch: expected i32, found i64"
    );
    let error = call(&[Val::I32(1), Val::null_extern_ref()], &mut results).unwrap_err();
    assert!(
        error.starts_with("argument type mismatch: type mismatch: expected funcref"),
        "{error}"
    );
    // Failed calls leave the results alone.
    assert_eq!(results[0].unwrap_i32(), 9);
}

#[test]
fn arguments_of_other_stores_are_errors() -> Result<()> {
    let engine = Engine::default();
    let module = Module::new(
        &engine,
        r#"(module (func (export "f") (param funcref)) (func (export "e") (param externref)))"#,
    )?;
    let mut store = Store::new(&engine, ());
    let mut other = Store::new(&engine, ());
    let foreign_func = Func::wrap(&mut other, || {});
    let foreign_extern = ExternRef::new(&mut other, 1)?;
    let instance = Instance::new(&mut store, &module, &[])?;
    let f = instance.get_func(&mut store, "f").unwrap();
    let e = instance.get_func(&mut store, "e").unwrap();
    f.call(&mut store, &[foreign_func.into()], &mut [])
        .unwrap_err();
    e.call(&mut store, &[foreign_extern.into()], &mut [])
        .unwrap_err();
    let f = f.typed::<Option<Func>, ()>(&store)?;
    f.call(&mut store, Some(foreign_func)).unwrap_err();
    let e = e.typed::<Option<Rooted<ExternRef>>, ()>(&store)?;
    e.call(&mut store, Some(foreign_extern)).unwrap_err();
    // Results of host functions likewise.
    let ty = FuncType::new(&engine, [], [ValType::FUNCREF]);
    let untyped = Func::new(&mut store, ty, move |_, _, results| {
        results[0] = foreign_func.into();
        Ok(())
    });
    let wrapped = Func::wrap(&mut store, move || Some(foreign_func));
    for func in [untyped, wrapped] {
        let func = func.typed::<(), Option<Func>>(&store)?;
        func.call(&mut store, ()).unwrap_err();
    }
    Ok(())
}

#[test]
fn functions_have_types() -> Result<()> {
    let engine = Engine::default();
    let mut store = Store::new(&engine, ());
    let func = Func::wrap(&mut store, |_: i32, _: Option<Func>| 1_i64);
    let ty = func.ty(&store);
    assert_eq!(
        ty.params().map(|ty| ty.to_string()).collect::<Vec<_>>(),
        ["i32", "funcref"]
    );
    assert!(func.matches_ty(&store, &ty));
    let other = FuncType::new(&engine, [], []);
    assert!(!func.matches_ty(&store, &other));
    let val = Val::from(func);
    assert!(val.matches_ty(&store, &ValType::FUNCREF)?);
    assert!(val.matches_ty(
        &store,
        &ValType::Ref(RefType::new(false, ty.clone().into()))
    )?);
    assert!(!val.matches_ty(&store, &ValType::Ref(RefType::new(false, other.into())))?);
    assert!(!val.matches_ty(&store, &ValType::EXTERNREF)?);
    assert!(ValType::eq(
        &val.ty(&store)?,
        &ValType::Ref(RefType::new(false, ty.into()))
    ));
    Ok(())
}

#[test]
fn functions_of_any_type_are_checked_where_one_type_is_wanted() -> Result<()> {
    let engine = Engine::default();
    let mut store = Store::new(&engine, ());
    let wanted = FuncType::new(&engine, [ValType::I32], []);
    let reference = ValType::Ref(RefType::new(true, wanted.into()));
    let ty = FuncType::new(&engine, [reference], []);
    let takes = Func::new(&mut store, ty, |_, _, _| Ok(()));
    let right = Func::wrap(&mut store, |_: i32| {});
    let wrong = Func::wrap(&mut store, |_: i64| {});
    let nullable = takes.typed::<Option<Func>, ()>(&store)?;
    let non_null = takes.typed::<(Func,), ()>(&store)?;
    nullable.call(&mut store, None)?;
    nullable.call(&mut store, Some(right))?;
    non_null.call(&mut store, (right,))?;
    assert!(nullable.call(&mut store, Some(wrong)).is_err());
    assert!(non_null.call(&mut store, (wrong,)).is_err());
    assert!(
        takes
            .typed::<Option<Rooted<ExternRef>>, ()>(&store)
            .is_err()
    );
    assert!(takes.call(&mut store, &[wrong.into()], &mut []).is_err());
    takes.call(&mut store, &[right.into()], &mut [])?;
    takes.call(&mut store, &[Val::null_func_ref()], &mut [])
}

#[test]
fn raw_functions_come_back() -> Result<()> {
    let engine = Engine::default();
    let mut store = Store::new(&engine, ());
    let func = Func::wrap(&mut store, || 5_i32);
    // SAFETY: the pointer is used with its own store.
    let same = unsafe {
        let raw = func.to_raw(&mut store);
        Func::from_raw(&mut store, raw).unwrap()
    };
    assert_eq!(same.typed::<(), i32>(&store)?.call(&mut store, ())?, 5);
    // SAFETY: null is no function.
    assert!(unsafe { Func::from_raw(&mut store, std::ptr::null_mut()) }.is_none());
    // SAFETY: the type of the function is known.
    let typed = unsafe { TypedFunc::<(), i32>::new_unchecked(&store, func) };
    assert_eq!(typed.call(&mut store, ())?, 5);
    Ok(())
}

#[test]
fn functions_with_many_parameters_and_results() -> Result<()> {
    let n = 100;
    let types = "i32 ".repeat(n);
    let body: String = (0..n).rev().map(|i| format!("(local.get {i})")).collect();
    let (mut store, instance) = instantiate(&format!(
        r#"(module (func (export "run") (param {types}) (result {types}) {body}))"#
    ));
    let run = instance.get_func(&mut store, "run").unwrap();
    let params: Vec<_> = (0..n as i32).map(Val::I32).collect();
    let mut results = vec![Val::I32(0); n];
    run.call(&mut store, &params, &mut results)?;
    let reversed: Vec<_> = results.iter().rev().map(Val::unwrap_i32).collect();
    assert_eq!(reversed, (0..n as i32).collect::<Vec<_>>());
    Ok(())
}

#[test]
fn seventeen_results() -> Result<()> {
    let engine = Engine::default();
    let types = "i32 ".repeat(17);
    let module = Module::new(
        &engine,
        format!(
            r#"(module
                (import "" "" (func $host (result {types})))
                (func (export "run") (result {types}) (call $host)))"#
        ),
    )?;
    let mut store = Store::new(&engine, ());
    let host = Func::wrap(&mut store, || {
        (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17)
    });
    let instance = Instance::new(&mut store, &module, &[host.into()])?;
    let run = instance.get_func(&mut store, "run").unwrap();
    let mut results = [Val::I32(0); 17];
    run.call(&mut store, &[], &mut results)?;
    assert_eq!(results[16].unwrap_i32(), 17);
    Ok(())
}
