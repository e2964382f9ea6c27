//! References of the host in the hands of WebAssembly, and their roots.

use std::collections::hash_map::DefaultHasher;
use std::hash::Hasher;
use waxwing::*;

type Nullable = Option<Rooted<ExternRef>>;

fn string(store: impl AsContext, reference: &ExternRef) -> String {
    let data = reference.data(store.as_context()).unwrap().unwrap();
    data.downcast_ref::<String>().unwrap().clone()
}

#[test]
fn references_go_through_wasm_and_come_back() -> Result<()> {
    let engine = Engine::default();
    let module = Module::new(
        &engine,
        r#"(module
            (import "" "" (func $host (param externref) (result externref)))
            (table (export "table") 2 externref)
            (global $kept (mut externref) (ref.null extern))
            (func (export "keep") (param externref)
                (global.set $kept (local.get 0))
                (table.set (i32.const 1) (local.get 0)))
            (func (export "kept") (result externref) (call $host (global.get $kept)))
            (func (export "is_null") (param externref) (result i32)
                (ref.is_null (local.get 0))))"#,
    )?;
    let mut store = Store::new(&engine, ());
    let host = Func::wrap(&mut store, |caller: Caller<'_, ()>, reference: Nullable| {
        if let Some(reference) = &reference {
            assert_eq!(string(&caller, reference), "wax");
        }
        reference
    });
    let instance = Instance::new(&mut store, &module, &[host.into()])?;
    let keep = instance.get_typed_func::<Nullable, ()>(&mut store, "keep")?;
    let kept = instance.get_typed_func::<(), Nullable>(&mut store, "kept")?;
    let is_null = instance.get_typed_func::<Nullable, i32>(&mut store, "is_null")?;
    assert!(kept.call(&mut store, ())?.is_none());

    let reference = ExternRef::new(&mut store, String::from("wax"))?;
    keep.call(&mut store, Some(reference))?;
    let back = kept.call(&mut store, ())?.unwrap();
    assert!(Rooted::ref_eq(&store, &reference, &back)?);
    assert_eq!(is_null.call(&mut store, None)?, 1);
    assert_eq!(is_null.call(&mut store, Some(back))?, 0);

    let table = instance.get_table(&mut store, "table").unwrap();
    let element = table.get(&mut store, 1).unwrap();
    assert_eq!(string(&store, element.unwrap_extern().unwrap()), "wax");
    assert!(table.get(&mut store, 0).unwrap().unwrap_extern().is_none());

    let data = back.data_mut(&mut store)?.unwrap();
    data.downcast_mut::<String>().unwrap().push_str("wing");
    assert_eq!(string(&store, &reference), "waxwing");
    Ok(())
}

#[test]
fn roots_end_with_their_scope() -> Result<()> {
    let mut store = Store::<()>::default();
    let outer = ExternRef::new(&mut store, 1)?;
    let (inner, kept) = {
        let mut scope = RootScope::new(&mut store);
        scope.reserve(2);
        let inner = ExternRef::new(&mut scope, 2)?;
        {
            let mut innermost = RootScope::new(&mut scope);
            ExternRef::new(&mut innermost, 3)?;
        }
        assert!(inner.data(&scope).is_ok());
        (inner, inner.to_manually_rooted(&mut scope)?)
    };
    assert!(outer.data(&store).is_ok());
    let error = inner.data(&store).unwrap_err();
    assert!(error.to_string().contains("unrooted"), "{error}");
    // A new root at the same place is another root.
    let other = ExternRef::new(&mut store, 4)?;
    assert!(inner.data(&store).is_err());
    assert!(!Rooted::rooted_eq(inner, other));
    assert!(inner.to_manually_rooted(&mut store).is_err());
    assert!(
        Global::new(
            &mut store,
            GlobalType::new(ValType::EXTERNREF, Mutability::Const),
            inner.into()
        )
        .is_err()
    );

    assert_eq!(kept.data(&store)?.unwrap().downcast_ref(), Some(&2));
    let second = kept.clone(&mut store);
    let rooted = kept.into_rooted(&mut store);
    assert!(ManuallyRooted::ref_eq(&store, &second, &rooted)?);
    assert!(!Rooted::ref_eq(&store, &rooted, &outer)?);
    let hash = |f: &dyn Fn(&mut DefaultHasher)| {
        let mut hasher = DefaultHasher::new();
        f(&mut hasher);
        hasher.finish()
    };
    assert_eq!(
        hash(&|state| second.ref_hash(&store, state)),
        hash(&|state| rooted.ref_hash(&store, state).unwrap())
    );
    second.unroot(&mut store);
    assert!(rooted.data(&store).is_ok());
    Ok(())
}

#[test]
fn host_functions_are_scopes() -> Result<()> {
    let engine = Engine::default();
    let module = Module::new(
        &engine,
        r#"(module
            (import "" "" (func $host (param externref)))
            (func (export "run") (param externref) (call $host (local.get 0))))"#,
    )?;
    let mut store = Store::new(&engine, Vec::<Rooted<ExternRef>>::new());
    let host = Func::wrap(
        &mut store,
        |mut caller: Caller<'_, Vec<Rooted<ExternRef>>>, param: Nullable| -> Result<()> {
            let made = ExternRef::new(&mut caller, 2)?;
            caller.data_mut().push(made);
            caller.data_mut().extend(param);
            assert!(made.data(&caller).is_ok());
            Ok(())
        },
    );
    let instance = Instance::new(&mut store, &module, &[host.into()])?;
    let run = instance.get_typed_func::<Nullable, ()>(&mut store, "run")?;
    let reference = ExternRef::new(&mut store, 1)?;
    run.call(&mut store, Some(reference))?;
    assert!(reference.data(&store).is_ok());
    let [made, param] = store.data()[..] else {
        panic!("both were stored")
    };
    assert!(made.data(&store).is_err());
    assert!(param.data(&store).is_err());
    Ok(())
}

#[test]
fn manually_rooted_references_can_be_passed() -> Result<()> {
    let mut store = Store::<()>::default();
    let id = Func::wrap(&mut store, |x: Option<ManuallyRooted<ExternRef>>| x);
    let id = id.typed::<ManuallyRooted<ExternRef>, Nullable>(&store)?;
    let kept = ExternRef::new_manually_rooted(&mut store, String::from("wax"))?;
    let back = id.call(&mut store, kept)?.unwrap();
    assert_eq!(string(&store, &back), "wax");
    Ok(())
}

#[test]
fn raw_references_come_back() -> Result<()> {
    let mut store = Store::<()>::default();
    let reference = ExternRef::new(&mut store, String::from("wax"))?;
    // SAFETY: the reference is used with its own store, in which it is rooted.
    let same = unsafe {
        let raw = reference.to_raw(&mut store)?;
        assert_ne!(raw, 0);
        ExternRef::from_raw(&mut store, raw).unwrap()
    };
    assert_eq!(string(&store, &same), "wax");
    // SAFETY: zero is null.
    assert!(unsafe { ExternRef::from_raw(&mut store, 0) }.is_none());
    Ok(())
}

#[test]
fn references_have_types() -> Result<()> {
    let mut store = Store::<()>::default();
    let reference = Ref::from(ExternRef::new(&mut store, 1)?);
    let ty = reference.ty(&store)?;
    assert!(!ty.is_nullable());
    assert!(reference.matches_ty(&store, &RefType::EXTERNREF)?);
    assert!(!reference.matches_ty(&store, &RefType::FUNCREF)?);
    assert!(!reference.matches_ty(&store, &RefType::NULLEXTERNREF)?);
    for (null, of, not) in [
        (
            Ref::null(&HeapType::Extern),
            RefType::NULLEXTERNREF,
            RefType::FUNCREF,
        ),
        (
            Ref::null(&HeapType::NoFunc),
            RefType::FUNCREF,
            RefType::EXTERNREF,
        ),
        (
            Ref::null(&HeapType::I31),
            RefType::ANYREF,
            RefType::NULLFUNCREF,
        ),
    ] {
        assert!(null.is_null());
        assert!(null.matches_ty(&store, &of)?, "{null:?}");
        assert!(!null.matches_ty(&store, &not)?, "{null:?}");
        let non_null = RefType::new(false, of.heap_type().clone());
        assert!(!null.matches_ty(&store, &non_null)?, "{null:?}");
    }
    assert!(NoExtern::null_ref().is_extern());
    assert!(matches!(NoFunc::null_val(), Val::FuncRef(None)));
    assert!(NoneRef::null().is_none());
    let ty = ValType::Ref(RefType::new(false, HeapType::Func));
    assert!(Val::default_for_ty(&ty).is_none());
    assert!(matches!(
        Val::default_for_ty(&ValType::EXTERNREF),
        Some(Val::ExternRef(None))
    ));
    Ok(())
}

#[test]
fn functions_are_passed_by_reference() -> Result<()> {
    let engine = Engine::default();
    let module = Module::new(
        &engine,
        r#"(module
            (type $f (func (param i32) (result i32)))
            (table 1 funcref)
            (func $double (export "double") (type $f) (i32.mul (local.get 0) (i32.const 2)))
            (func (export "get") (result funcref) (ref.func $double))
            (func (export "call") (param funcref i32) (result i32)
                (table.set (i32.const 0) (local.get 0))
                (call_indirect (type $f) (local.get 1) (i32.const 0))))"#,
    )?;
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[])?;
    let get = instance.get_typed_func::<(), Option<Func>>(&mut store, "get")?;
    let call = instance.get_typed_func::<(Option<Func>, i32), i32>(&mut store, "call")?;
    let double = get.call(&mut store, ())?.unwrap();
    assert_eq!(call.call(&mut store, (Some(double), 4))?, 8);
    let host = Func::wrap(&mut store, |x: i32| x + 100);
    assert_eq!(call.call(&mut store, (Some(host), 4))?, 104);
    let error = call.call(&mut store, (None, 4)).unwrap_err();
    assert_eq!(error.downcast::<Trap>()?, Trap::IndirectCallToNull);
    let other = Func::wrap(&mut store, || {});
    let error = call.call(&mut store, (Some(other), 4)).unwrap_err();
    assert_eq!(error.downcast::<Trap>()?, Trap::BadSignature);
    // Non-null references are subtypes.
    let call = instance.get_func(&mut store, "call").unwrap();
    let call = call.typed::<(Func, i32), i32>(&store)?;
    assert_eq!(call.call(&mut store, (double, 5))?, 10);
    Ok(())
}
