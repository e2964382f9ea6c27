//! Structs made and used by the host.

use crate::{each_collector, message, struct_type};
use waxwing::*;

#[test]
fn fields_of_all_types_are_kept() -> Result<()> {
    each_collector(|engine, _| {
        let mut store = Store::new(&engine, ());
        let types: [StorageType; 11] = [
            StorageType::I8,
            ValType::I64.into(),
            StorageType::I16,
            ValType::I32.into(),
            ValType::F32.into(),
            ValType::F64.into(),
            ValType::V128.into(),
            ValType::FUNCREF.into(),
            ValType::EXTERNREF.into(),
            ValType::ANYREF.into(),
            ValType::EQREF.into(),
        ];
        let ty = struct_type(&engine, types);
        let allocator = StructRefPre::new(&mut store, ty.clone());
        let func = Func::wrap(&mut store, || 11);
        let host = ExternRef::new(&mut store, "external")?;
        let one = AnyRef::from_i31(&mut store, I31::wrapping_u32(1));
        let small = struct_type(&engine, []);
        let small = StructRefPre::new(&mut store, small);
        let other = StructRef::new(&mut store, &small, &[])?;
        let values = [
            Val::I32(0x1ff),
            Val::I64(i64::MIN),
            Val::I32(-1),
            Val::I32(-2),
            Val::from(1.5_f32),
            Val::from(-2.5_f64),
            Val::from(V128::from(1 << 100)),
            Val::from(func),
            Val::from(host),
            Val::from(one),
            Val::from(other),
        ];
        let object = StructRef::new(&mut store, &allocator, &values)?;
        let check = |store: &mut Store<()>, fields: &[Val]| -> Result<()> {
            assert_eq!(fields[0].unwrap_i32(), 0xff);
            assert_eq!(fields[1].unwrap_i64(), i64::MIN);
            assert_eq!(fields[2].unwrap_i32(), 0xffff);
            assert_eq!(fields[3].unwrap_i32(), -2);
            assert_eq!(fields[4].unwrap_f32(), 1.5);
            assert_eq!(fields[5].unwrap_f64(), -2.5);
            assert_eq!(fields[6].unwrap_v128(), V128::from(1 << 100));
            let func = fields[7]
                .unwrap_funcref()
                .unwrap()
                .typed::<(), i32>(&*store)?;
            assert_eq!(func.call(&mut *store, ())?, 11);
            let data = fields[8]
                .unwrap_externref()
                .unwrap()
                .data(&*store)?
                .unwrap();
            assert_eq!(data.downcast_ref(), Some(&"external"));
            assert_eq!(
                fields[9]
                    .unwrap_anyref()
                    .unwrap()
                    .unwrap_i31(&*store)?
                    .get_u32(),
                1
            );
            let object = fields[10].unwrap_anyref().unwrap();
            assert!(Rooted::ref_eq(&*store, object, &other.to_anyref())?);
            Ok(())
        };
        store.gc();
        let fields: Vec<Val> = object.fields(&mut store)?.collect();
        check(&mut store, &fields)?;
        store.gc();
        check(&mut store, &fields)?;
        let fields: Vec<Val> = (0..values.len())
            .map(|i| object.field(&mut store, i))
            .collect::<Result<_>>()?;
        check(&mut store, &fields)?;

        // The same by assignment.
        let zeros: Vec<Val> = ty
            .fields()
            .map(|field| Val::default_for_ty(field.element_type().unpack()).unwrap())
            .collect();
        let second = StructRef::new(&mut store, &allocator, &zeros)?;
        assert_eq!(second.fields(&mut store)?.len(), values.len());
        assert!(second.field(&mut store, 8)?.unwrap_externref().is_none());
        for (index, value) in values.iter().enumerate() {
            second.set_field(&mut store, index, *value)?;
            store.gc();
        }
        let fields: Vec<Val> = second.fields(&mut store)?.collect();
        check(&mut store, &fields)?;
        for (index, zero) in zeros.iter().enumerate() {
            second.set_field(&mut store, index, *zero)?;
        }
        assert!(second.field(&mut store, 7)?.unwrap_funcref().is_none());
        assert!(second.field(&mut store, 10)?.unwrap_anyref().is_none());

        assert!(StructType::eq(&object.ty(&store)?, &ty));
        assert!(object.matches_ty(&store, &ty)?);
        assert!(!other.matches_ty(&store, &ty)?);
        Ok(())
    })
}

#[test]
fn mistakes_are_named() -> Result<()> {
    let mut store = Store::<()>::default();
    let engine = store.engine().clone();
    let fixed = FieldType::new(Mutability::Const, ValType::I32.into());
    let variable = FieldType::new(Mutability::Var, ValType::STRUCTREF.into());
    let ty = StructType::new(&engine, [fixed, variable])?;
    let allocator = StructRefPre::new(&mut store, ty);
    let null = Val::null_any_ref();
    let object = StructRef::new(&mut store, &allocator, &[Val::I32(1), null])?;

    let error = message(StructRef::new(&mut store, &allocator, &[Val::I32(1)]));
    assert!(
        error.contains("expected 2 fields") && error.contains("found 1"),
        "{error}"
    );
    let error = message(StructRef::new(&mut store, &allocator, &[Val::I64(1), null]));
    assert!(
        error.contains("field 0") && error.contains("expected i32, found i64"),
        "{error}"
    );
    let i31 = AnyRef::from_i31(&mut store, I31::wrapping_u32(1));
    let error = message(object.set_field(&mut store, 1, i31.into()));
    assert!(
        error.contains("expected structref, found (ref i31)"),
        "{error}"
    );
    let error = message(object.set_field(&mut store, 1, Val::null_extern_ref()));
    assert!(
        error.contains("expected structref, found nullexternref"),
        "{error}"
    );
    let error = message(object.set_field(&mut store, 0, Val::I32(2)));
    assert!(
        error.contains("field 0") && error.contains("immutable"),
        "{error}"
    );
    for error in [
        message(object.set_field(&mut store, 2, Val::I32(2))),
        message(object.field(&mut store, 2)),
        message(object.field(&mut store, usize::MAX)),
    ] {
        assert!(
            error.contains("no field") && error.contains("2 fields"),
            "{error}"
        );
    }
    assert_eq!(object.field(&mut store, 0)?.unwrap_i32(), 1);
    assert!(object.field(&mut store, 1)?.unwrap_anyref().is_none());
    Ok(())
}

#[test]
fn subtypes_stand_for_their_supertypes() -> Result<()> {
    each_collector(|engine, _| {
        let mut store = Store::new(&engine, ());
        let int = FieldType::new(Mutability::Var, ValType::I32.into());
        let new = |supertype: Option<&StructType>, fields: usize| {
            let fields = vec![int.clone(); fields];
            StructType::with_finality_and_supertype(&engine, Finality::NonFinal, supertype, fields)
        };
        let base = new(None, 1)?;
        let middle = new(Some(&base), 2)?;
        let leaf = new(Some(&middle), 2)?;
        assert!(StructType::eq(&leaf.supertype().unwrap(), &middle));
        assert!(leaf.finality().is_non_final());
        let holder = struct_type(&engine, [RefType::new(true, base.clone().into()).into()]);
        let holders = StructRefPre::new(&mut store, holder);
        let leaves = StructRefPre::new(&mut store, leaf.clone());
        let bases = StructRefPre::new(&mut store, base.clone());
        let object = StructRef::new(&mut store, &leaves, &[Val::I32(1), Val::I32(2)])?;
        assert!(object.matches_ty(&store, &base)?);
        assert!(object.matches_ty(&store, &leaf)?);
        let holder = StructRef::new(&mut store, &holders, &[object.into()])?;
        let held = holder
            .field(&mut store, 0)?
            .unwrap_anyref()
            .unwrap()
            .unwrap_struct(&store)?;
        assert!(StructType::eq(&held.ty(&store)?, &leaf));
        let plain = StructRef::new(&mut store, &bases, &[Val::I32(1)])?;
        assert!(!plain.matches_ty(&store, &middle)?);
        holder.set_field(&mut store, 0, plain.into())?;
        let error = message(holder.set_field(&mut store, 0, holder.into()));
        assert!(
            error.contains("type mismatch: expected (ref null"),
            "{error}"
        );

        // No field may be lost, and nothing can be below a final type.
        assert!(new(Some(&middle), 1).is_err());
        let last = StructType::with_finality_and_supertype(
            &engine,
            Finality::Final,
            Some(&leaf),
            leaf.fields(),
        )?;
        assert!(message(new(Some(&last), 2)).contains("final"));
        Ok(())
    })
}

#[test]
fn types_of_objects_outlive_their_descriptors() -> Result<()> {
    each_collector(|engine, _| {
        let mut store = Store::new(&engine, ());
        let object = {
            let ty = struct_type(&engine, [ValType::I64.into(), StorageType::I8]);
            let allocator = StructRefPre::new(&mut store, ty);
            StructRef::new(&mut store, &allocator, &[Val::I64(3), Val::I32(4)])?
        };
        // Types that might take the place of the former one.
        let others: Vec<_> = (0..20)
            .map(|n| struct_type(&engine, vec![ValType::F32.into(); n]))
            .collect();
        assert_eq!(object.field(&mut store, 1)?.unwrap_i32(), 4);
        assert_eq!(
            object.ty(&store)?.to_string(),
            "(struct (field (mut i64)) (field (mut i8)))"
        );
        for other in &others {
            assert!(!object.matches_ty(&store, other)?);
        }
        Ok(())
    })
}
