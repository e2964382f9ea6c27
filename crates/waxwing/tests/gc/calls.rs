//! Garbage-collected values in calls of WebAssembly and of the host, in globals and in tables.

use crate::{each_collector, message, struct_type};
use waxwing::*;

const MODULE: &str = r#"(module
    (type $point (sub (struct (field $x (mut i32)) (field $y (mut i32)))))
    (type $point3 (sub final $point
        (struct (field $x (mut i32)) (field $y (mut i32)) (field $z (mut i32)))))
    (type $numbers (array (mut i64)))
    (import "host" "garbage" (func $garbage))

    (global (export "point") (mut (ref null $point)) (ref.null $point))
    (table (export "numbers") 2 10 (ref null $numbers))

    (func (export "new") (param i32 i32) (result (ref $point))
        (struct.new $point (local.get 0) (local.get 1)))
    (func (export "sum") (param $p (ref null $point)) (result i32)
        (call $garbage)
        (i32.add
            (struct.get $point $x (local.get $p))
            (struct.get $point $y (local.get $p))))
    (func (export "second") (param $a (ref $point)) (param $b (ref $point)) (result (ref $point))
        (call $garbage)
        (local.get $b))
    (func (export "total") (param $array (ref null $numbers)) (result i64)
        (local $i i32) (local $total i64)
        (call $garbage)
        (loop $again
            (if (i32.lt_u (local.get $i) (array.len (local.get $array)))
                (then
                    (local.set $total
                        (i64.add
                            (local.get $total)
                            (array.get $numbers (local.get $array) (local.get $i))))
                    (local.set $i (i32.add (local.get $i) (i32.const 1)))
                    (br $again))))
        (local.get $total))
    (func (export "any") (param anyref) (result anyref) (call $garbage) (local.get 0))
    (func (export "eq") (param eqref) (result eqref) (call $garbage) (local.get 0))
    (func (export "struct") (param structref) (result structref) (call $garbage) (local.get 0))
    (func (export "array") (param arrayref) (result arrayref) (call $garbage) (local.get 0))
    (func (export "i31") (param i31ref) (result i31ref) (call $garbage) (local.get 0))
    (func (export "double") (param (ref i31)) (result (ref i31))
        (ref.i31 (i32.mul (i31.get_s (local.get 0)) (i32.const 2))))
    (func (export "none") (param nullref) (result nullref) (local.get 0))
    (func (export "extern") (param externref) (result anyref)
        (call $garbage) (any.convert_extern (local.get 0)))
)"#;

struct Fixture {
    store: Store<()>,
    instance: Instance,
    points: StructRefPre,
    points3: StructRefPre,
    numbers: ArrayRefPre,
}

fn fixture(engine: &Engine) -> Result<Fixture> {
    let module = Module::new(engine, MODULE)?;
    let mut store = Store::new(engine, ());
    let garbage = Func::wrap(&mut store, |mut caller: Caller<'_, ()>| caller.gc());
    let instance = Instance::new(&mut store, &module, &[garbage.into()])?;
    let field = FieldType::new(Mutability::Var, ValType::I32.into());
    let new = |finality, supertype: Option<&StructType>, fields: usize| {
        let fields = vec![field.clone(); fields];
        StructType::with_finality_and_supertype(engine, finality, supertype, fields)
    };
    let point = new(Finality::NonFinal, None, 2)?;
    let point3 = new(Finality::Final, Some(&point), 3)?;
    let numbers = FieldType::new(Mutability::Var, ValType::I64.into());
    Ok(Fixture {
        points: StructRefPre::new(&mut store, point),
        points3: StructRefPre::new(&mut store, point3),
        numbers: ArrayRefPre::new(&mut store, ArrayType::new(engine, numbers)),
        store,
        instance,
    })
}

#[test]
fn typed_functions_take_and_return_references() -> Result<()> {
    each_collector(|engine, _| {
        let Fixture {
            mut store,
            instance,
            points,
            numbers,
            ..
        } = fixture(&engine)?;
        let store = &mut store;
        let point = StructRef::new(&mut *store, &points, &[Val::I32(3), Val::I32(4)])?;
        let array = ArrayRef::new(&mut *store, &numbers, &Val::I64(7), 5)?;
        let i31 = I31::wrapping_i32(-21);

        macro_rules! identity {
            ($name:literal, $ty:ty, $value:expr) => {
                let func = instance.get_typed_func::<Option<Rooted<$ty>>, Option<Rooted<$ty>>>(
                    &mut *store,
                    $name,
                )?;
                assert!(func.call(&mut *store, None)?.is_none());
                let value: Rooted<$ty> = $value;
                let same = func.call(&mut *store, Some(value))?.unwrap();
                assert!(Rooted::ref_eq(&*store, &same, &value)?);
                // The other kinds of roots.
                let func = instance
                    .get_typed_func::<Option<ManuallyRooted<$ty>>, Option<OwnedRooted<$ty>>>(
                        &mut *store,
                        $name,
                    )?;
                let manual = value.to_manually_rooted(&mut *store)?;
                let same = func.call(&mut *store, Some(manual))?.unwrap();
                assert!(Rooted::ref_eq(&*store, &same, &value)?);
                let func = instance
                    .get_typed_func::<OwnedRooted<$ty>, Option<ManuallyRooted<$ty>>>(
                        &mut *store,
                        $name,
                    )?;
                let same = func.call(&mut *store, same)?.unwrap();
                assert!(Rooted::ref_eq(&*store, &same, &value)?);
                same.unroot(&mut *store);
            };
        }
        let any = AnyRef::from_i31(&mut *store, i31);
        identity!("any", AnyRef, any);
        identity!("any", AnyRef, point.into());
        identity!("eq", EqRef, array.into());
        identity!("struct", StructRef, point);
        identity!("array", ArrayRef, array);

        let func = instance.get_typed_func::<Option<I31>, Option<I31>>(&mut *store, "i31")?;
        assert_eq!(func.call(&mut *store, Some(i31))?, Some(i31));
        assert_eq!(func.call(&mut *store, None)?, None);
        let func = instance.get_typed_func::<I31, I31>(&mut *store, "double")?;
        assert_eq!(func.call(&mut *store, i31)?.get_i32(), -42);
        let func =
            instance.get_typed_func::<Option<NoneRef>, Option<NoneRef>>(&mut *store, "none")?;
        assert!(func.call(&mut *store, None)?.is_none());
        type Extern = Option<Rooted<ExternRef>>;
        type Any = Option<Rooted<AnyRef>>;
        let func = instance.get_typed_func::<Extern, Any>(&mut *store, "extern")?;
        let host = ExternRef::new(&mut *store, 5_u8)?;
        let converted = func.call(&mut *store, Some(host))?.unwrap();
        assert!(!converted.is_eqref(&*store)?);
        let host = ExternRef::convert_any(&mut *store, converted)?;
        assert_eq!(host.data(&*store)?.unwrap().downcast_ref(), Some(&5_u8));
        Ok(())
    })
}

#[test]
fn references_to_one_type_are_checked_at_each_call() -> Result<()> {
    each_collector(|engine, _| {
        let Fixture {
            mut store,
            instance,
            points,
            points3,
            numbers,
        } = fixture(&engine)?;
        let new = instance.get_typed_func::<(i32, i32), Rooted<StructRef>>(&mut store, "new")?;
        let point = new.call(&mut store, (1, 2))?;
        assert!(HeapType::from(point.ty(&store)?).is_concrete_struct());
        assert_eq!(point.field(&mut store, 1)?.unwrap_i32(), 2);
        // The same type, though one was defined by a module and the other by the host.
        let own = StructRef::new(&mut store, &points, &[Val::I32(5), Val::I32(6)])?;
        assert!(StructType::eq(&own.ty(&store)?, &point.ty(&store)?));
        let three = [1, 10, 100].map(Val::I32);
        let three = StructRef::new(&mut store, &points3, &three)?;

        let sum = instance.get_typed_func::<Option<Rooted<StructRef>>, i32>(&mut store, "sum")?;
        assert_eq!(sum.call(&mut store, Some(point))?, 3);
        assert_eq!(sum.call(&mut store, Some(own))?, 11);
        assert_eq!(sum.call(&mut store, Some(three))?, 11);
        let error = sum.call(&mut store, None).unwrap_err();
        assert_eq!(error.downcast::<Trap>()?, Trap::NullReference);
        let other = struct_type(&engine, [ValType::F32.into()]);
        let other = StructRefPre::new(&mut store, other);
        let other = StructRef::new(&mut store, &other, &[Val::F32(0)])?;
        let error = message(sum.call(&mut store, Some(other)));
        assert!(
            error.contains("type mismatch") && error.contains("expected (ref null"),
            "{error}"
        );
        // By a more general type, too.
        let sum = instance.get_typed_func::<Rooted<AnyRef>, i32>(&mut store, "sum")?;
        assert_eq!(sum.call(&mut store, own.into())?, 11);
        let i31 = AnyRef::from_i31(&mut store, I31::wrapping_u32(1));
        assert!(message(sum.call(&mut store, i31)).contains("type mismatch"));

        type Point = Rooted<StructRef>;
        let second = instance.get_typed_func::<(Point, Point), Point>(&mut store, "second")?;
        let same = second.call(&mut store, (own, three))?;
        assert!(Rooted::ref_eq(&store, &same, &three)?);
        assert!(message(second.call(&mut store, (own, other))).contains("type mismatch"));
        // Null is checked for as well.
        type Nullable = Option<Point>;
        let second = instance.get_typed_func::<(Nullable, Point), Point>(&mut store, "second")?;
        assert!(second.call(&mut store, (Some(own), own)).is_ok());
        assert!(message(second.call(&mut store, (None, own))).contains("type mismatch"));

        let array = [1, 2, 3, 4].map(Val::I64);
        let array = ArrayRef::new_fixed(&mut store, &numbers, &array)?;
        let total = instance.get_typed_func::<Rooted<ArrayRef>, i64>(&mut store, "total")?;
        assert_eq!(total.call(&mut store, array)?, 10);

        // What can never be right is refused at once.
        for error in [
            message(instance.get_typed_func::<Rooted<ArrayRef>, i32>(&mut store, "sum")),
            message(instance.get_typed_func::<Rooted<ExternRef>, i32>(&mut store, "sum")),
            message(instance.get_typed_func::<I31, i32>(&mut store, "sum")),
            message(instance.get_typed_func::<Rooted<AnyRef>, Nullable>(&mut store, "struct")),
        ] {
            assert!(error.contains("type mismatch with parameters"), "{error}");
        }
        for error in [
            message(instance.get_typed_func::<(i32, i32), Rooted<ArrayRef>>(&mut store, "new")),
            message(instance.get_typed_func::<Nullable, Rooted<StructRef>>(&mut store, "struct")),
        ] {
            assert!(error.contains("type mismatch with results"), "{error}");
        }
        Ok(())
    })
}

#[test]
fn untyped_functions_take_and_return_references() -> Result<()> {
    each_collector(|engine, _| {
        let Fixture {
            mut store,
            instance,
            points,
            ..
        } = fixture(&engine)?;
        let point = StructRef::new(&mut store, &points, &[Val::I32(3), Val::I32(4)])?;
        let second = instance.get_func(&mut store, "second").unwrap();
        let other = StructRef::new(&mut store, &points, &[Val::I32(5), Val::I32(6)])?;
        let mut results = [Val::I32(0)];
        second.call(&mut store, &[point.into(), other.into()], &mut results)?;
        let same = results[0].unwrap_anyref().unwrap();
        assert!(Rooted::ref_eq(&store, same, &other.to_anyref())?);
        let i31 = AnyRef::from_i31(&mut store, I31::wrapping_u32(1));
        let error = message(second.call(&mut store, &[point.into(), i31.into()], &mut results));
        assert!(
            error.contains("type mismatch: expected (ref (concrete"),
            "{error}"
        );
        assert!(error.contains("found (ref i31)"), "{error}");
        Ok(())
    })
}

#[test]
fn host_functions_take_and_return_references() -> Result<()> {
    each_collector(|engine, _| {
        let module = Module::new(
            &engine,
            r#"(module
                (type $box (struct (field (mut i32))))
                (import "" "wrapped" (func $wrapped
                    (param structref i31ref anyref) (result structref)))
                (import "" "untyped" (func $untyped
                    (param (ref $box) (ref null $box)) (result (ref $box) anyref)))
                (func (export "wrapped") (param i32) (result i32)
                    (local $a (ref $box)) (local $b (ref $box))
                    (local.set $a (struct.new $box (local.get 0)))
                    (local.set $b (struct.new $box (i32.const 1000)))
                    (i32.add
                        (struct.get $box 0
                            (ref.cast (ref $box)
                                (call $wrapped
                                    (local.get $a)
                                    (ref.i31 (local.get 0))
                                    (local.get $b))))
                        (struct.get $box 0 (local.get $b))))
                (func (export "untyped") (param i32) (result i32)
                    (local $a (ref $box))
                    (local.set $a (struct.new $box (local.get 0)))
                    (call $untyped (local.get $a) (ref.null $box))
                    drop
                    (struct.get $box 0)
                    (struct.get $box 0 (local.get $a))
                    i32.add))"#,
        )?;
        let mut store = Store::new(&engine, ());
        let ty = struct_type(&engine, [ValType::I32.into()]);
        let boxed = HeapType::from(ty);
        let wrapped = Func::wrap(
            &mut store,
            |mut caller: Caller<'_, ()>,
             object: Option<Rooted<StructRef>>,
             number: Option<I31>,
             any: Option<Rooted<AnyRef>>|
             -> Result<Option<Rooted<StructRef>>> {
                caller.gc();
                let number = number.unwrap().get_i32();
                let object = object.unwrap();
                assert_eq!(object.field(&mut caller, 0)?.unwrap_i32(), number);
                let any = any.unwrap().unwrap_struct(&caller)?;
                any.set_field(&mut caller, 0, Val::I32(2000))?;
                let ty = object.ty(&caller)?;
                let boxes = StructRefPre::new(&mut caller, ty);
                let new = StructRef::new(&mut caller, &boxes, &[Val::I32(number + 1)])?;
                caller.gc();
                Ok(Some(new))
            },
        );
        let (nullable, non_null) = [true, false].map(|n| RefType::new(n, boxed.clone())).into();
        let untyped = FuncType::new(
            &engine,
            [non_null.clone().into(), nullable.into()],
            [non_null.into(), ValType::ANYREF],
        );
        let untyped = Func::new(&mut store, untyped, |mut caller, params, results| {
            caller.gc();
            let object = params[0].unwrap_anyref().unwrap().unwrap_struct(&caller)?;
            assert!(params[1].unwrap_anyref().is_none());
            let ty = object.ty(&caller)?;
            let boxes = StructRefPre::new(&mut caller, ty);
            let field = object.field(&mut caller, 0)?;
            object.set_field(&mut caller, 0, Val::I32(7))?;
            results[0] = StructRef::new(&mut caller, &boxes, &[field])?.into();
            results[1] = object.into();
            caller.gc();
            Ok(())
        });
        let instance = Instance::new(&mut store, &module, &[wrapped.into(), untyped.into()])?;
        let call = instance.get_typed_func::<i32, i32>(&mut store, "wrapped")?;
        assert_eq!(call.call(&mut store, 5)?, 2006);
        let call = instance.get_typed_func::<i32, i32>(&mut store, "untyped")?;
        assert_eq!(call.call(&mut store, 5)?, 12);
        Ok(())
    })
}

#[test]
fn results_of_host_functions_are_checked() -> Result<()> {
    let mut store = Store::<()>::default();
    let engine = store.engine().clone();
    let ty = struct_type(&engine, [ValType::I32.into()]);
    let result = RefType::new(false, ty.into());
    let ty = FuncType::new(&engine, [], [result.into()]);
    let wrong = Func::new(&mut store, ty, |mut caller, _, results| {
        results[0] = AnyRef::from_i31(&mut caller, I31::wrapping_u32(1)).into();
        Ok(())
    });
    let error = message(wrong.call(&mut store, &[], &mut [Val::I32(0)]));
    assert!(error.contains("incompatible value"), "{error}");
    assert!(error.contains("found (ref i31)"), "{error}");
    Ok(())
}

#[test]
fn globals_and_tables_hold_objects() -> Result<()> {
    each_collector(|engine, _| {
        let Fixture {
            mut store,
            instance,
            points,
            points3,
            numbers,
        } = fixture(&engine)?;
        let global = instance.get_global(&mut store, "point").unwrap();
        let table = instance.get_table(&mut store, "numbers").unwrap();
        assert!(global.get(&mut store).unwrap_anyref().is_none());
        assert!(
            global
                .ty(&store)
                .content()
                .unwrap_ref()
                .heap_type()
                .is_concrete_struct()
        );
        {
            let mut scope = RootScope::new(&mut store);
            let point = StructRef::new(&mut scope, &points, &[Val::I32(3), Val::I32(4)])?;
            global.set(&mut scope, point.into())?;
            let three = StructRef::new(&mut scope, &points3, &[1, 2, 3].map(Val::I32))?;
            global.set(&mut scope, three.into())?;
            for length in 0..2 {
                let array = ArrayRef::new(&mut scope, &numbers, &Val::I64(9), length)?;
                table.set(&mut scope, length.into(), array.into())?;
            }
            let array = ArrayRef::new(&mut scope, &numbers, &Val::I64(9), 2)?;
            assert_eq!(table.grow(&mut scope, 3, array.into())?, 2);
            Table::copy(&mut scope, &table, 4, &table, 1, 1)?;
        }
        store.gc();
        let three = global
            .get(&mut store)
            .unwrap_anyref()
            .unwrap()
            .unwrap_struct(&store)?;
        assert_eq!(three.field(&mut store, 2)?.unwrap_i32(), 3);
        let lengths: Vec<u32> = (0..5)
            .map(|i| {
                let array = *table.get(&mut store, i).unwrap().unwrap_any().unwrap();
                array.unwrap_array(&store).unwrap().len(&store).unwrap()
            })
            .collect();
        assert_eq!(lengths, [0, 1, 2, 2, 1]);
        table.fill(&mut store, 0, Ref::Any(None), 5)?;
        store.gc();
        assert!(table.get(&mut store, 3).unwrap().is_null());

        let error = message(table.set(&mut store, 0, three.into()));
        assert!(error.contains("type mismatch"), "{error}");
        assert!(
            error.contains("array") && error.contains("struct"),
            "{error}"
        );
        let error = message(global.set(&mut store, Val::null_func_ref()));
        assert!(error.contains("found nullfuncref"), "{error}");
        Ok(())
    })
}

#[test]
fn functions_are_referred_to_by_their_types() -> Result<()> {
    each_collector(|engine, _| {
        let module = Module::new(
            &engine,
            r#"(module
                (type $op (func (param i32) (result i32)))
                (type $holder (struct (field (mut (ref null $op)))))
                (func $double (export "double") (type $op)
                    (i32.mul (local.get 0) (i32.const 2)))
                (func (export "call") (param (ref $op) i32) (result i32)
                    (call_ref $op (local.get 1) (local.get 0)))
                (func (export "hold") (param (ref null $op)) (result (ref $holder))
                    (struct.new $holder (local.get 0)))
                (func (export "call_held") (param (ref $holder) i32) (result i32)
                    (call_ref $op
                        (local.get 1)
                        (struct.get $holder 0 (local.get 0)))))"#,
        )?;
        let mut store = Store::new(&engine, ());
        let instance = Instance::new(&mut store, &module, &[])?;
        let double = instance.get_func(&mut store, "double").unwrap();
        let host = Func::wrap(&mut store, |x: i32| x + 100);
        let other = Func::wrap(&mut store, |x: i64| x);
        let call = instance.get_typed_func::<(Func, i32), i32>(&mut store, "call")?;
        assert_eq!(call.call(&mut store, (double, 4))?, 8);
        assert_eq!(call.call(&mut store, (host, 4))?, 104);
        assert!(message(call.call(&mut store, (other, 4))).contains("type mismatch"));
        let hold =
            instance.get_typed_func::<Option<Func>, Rooted<StructRef>>(&mut store, "hold")?;
        type Args = (Rooted<StructRef>, i32);
        let call = instance.get_typed_func::<Args, i32>(&mut store, "call_held")?;
        let holder = hold.call(&mut store, Some(double))?;
        assert_eq!(call.call(&mut store, (holder, 4))?, 8);
        holder.set_field(&mut store, 0, host.into())?;
        store.gc();
        assert_eq!(call.call(&mut store, (holder, 4))?, 104);
        let held = *holder.field(&mut store, 0)?.unwrap_funcref().unwrap();
        assert_eq!(held.typed::<i32, i32>(&store)?.call(&mut store, 1)?, 101);
        assert!(message(holder.set_field(&mut store, 0, other.into())).contains("type mismatch"));
        holder.set_field(&mut store, 0, Val::null_func_ref())?;
        let error = call.call(&mut store, (holder, 4)).unwrap_err();
        assert_eq!(error.downcast::<Trap>()?, Trap::NullReference);
        Ok(())
    })
}

#[test]
fn functions_of_the_host_may_be_of_subtypes() -> Result<()> {
    each_collector(|engine, _| {
        let module = Module::new(
            &engine,
            r#"(module
                (type $op (sub (func (param i32) (result anyref))))
                (import "" "op" (func $imported (type $op)))
                (table (export "table") 1 funcref)
                (func (export "imported") (param i32) (result anyref)
                    (call $imported (local.get 0)))
                (func (export "ref") (param (ref $op) i32) (result anyref)
                    (call_ref $op (local.get 1) (local.get 0)))
                (func (export "indirect") (param i32) (result anyref)
                    (call_indirect (type $op) (local.get 0) (i32.const 0))))"#,
        )?;
        let any = ValType::ANYREF;
        let (open, i32) = (Finality::NonFinal, ValType::I32);
        let op = FuncType::with_finality_and_supertype(&engine, open, None, [i32.clone()], [any])?;
        let i31 = ValType::I31REF;
        let sub = |sup: &FuncType| {
            let (params, results) = ([i32.clone()], [i31.clone()]);
            FuncType::with_finality_and_supertype(&engine, open, Some(sup), params, results)
        };
        let subtype = sub(&sub(&op)?)?;
        let double = |mut caller: Caller<'_, ()>, params: &[Val], results: &mut [Val]| {
            let number = I31::wrapping_i32(params[0].unwrap_i32() * 2);
            results[0] = AnyRef::from_i31(&mut caller, number).into();
            Ok(())
        };
        let mut linker = Linker::new(&engine);
        linker.func_new("", "op", subtype.clone(), double)?;
        let mut store = Store::new(&engine, ());
        let before = Func::new(&mut store, subtype.clone(), double);
        let instance = linker.instantiate_pre(&module)?.instantiate(&mut store)?;
        let after = Func::new(&mut store, subtype, double);
        let imported = instance.get_typed_func::<i32, Rooted<AnyRef>>(&mut store, "imported");
        assert!(message(imported.map(drop)).contains("mismatch"));
        type Any = Option<Rooted<AnyRef>>;
        let imported = instance.get_typed_func::<i32, Any>(&mut store, "imported")?;
        let number = imported.call(&mut store, 4)?.unwrap();
        assert_eq!(number.unwrap_i31(&store)?.get_i32(), 8);
        let by_ref = instance.get_typed_func::<(Func, i32), Any>(&mut store, "ref")?;
        let indirect = instance.get_typed_func::<i32, Any>(&mut store, "indirect")?;
        let table = instance.get_table(&mut store, "table").unwrap();
        for func in [before, after] {
            let number = by_ref.call(&mut store, (func, 5))?.unwrap();
            assert_eq!(number.unwrap_i31(&store)?.get_i32(), 10);
            table.set(&mut store, 0, func.into())?;
            let number = indirect.call(&mut store, 6)?.unwrap();
            assert_eq!(number.unwrap_i31(&store)?.get_i32(), 12);
        }
        Ok(())
    })
}
