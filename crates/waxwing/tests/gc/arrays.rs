//! Arrays made and used by the host.

use crate::{array_type, each_collector, message};
use waxwing::*;

#[test]
fn elements_of_all_types_are_kept() -> Result<()> {
    each_collector(|engine, _| {
        let mut store = Store::new(&engine, ());
        let host = ExternRef::new(&mut store, 5_u8)?;
        let i31 = AnyRef::from_i31(&mut store, I31::wrapping_u32(6));
        let func = Func::wrap(&mut store, || {});
        let rows: [(StorageType, Val, Val); 10] = [
            (StorageType::I8, Val::I32(-1), Val::I32(0xff)),
            (StorageType::I16, Val::I32(-1), Val::I32(0xffff)),
            (ValType::I32.into(), Val::I32(-1), Val::I32(-1)),
            (ValType::I64.into(), Val::I64(-5), Val::I64(-5)),
            (ValType::F32.into(), Val::F32(7), Val::F32(7)),
            (ValType::F64.into(), Val::F64(8), Val::F64(8)),
            (
                ValType::V128.into(),
                V128::from(9).into(),
                V128::from(9).into(),
            ),
            (ValType::FUNCREF.into(), func.into(), func.into()),
            (ValType::EXTERNREF.into(), host.into(), host.into()),
            (ValType::I31REF.into(), i31.into(), i31.into()),
        ];
        for (ty, value, expected) in rows {
            let ty = array_type(&engine, ty);
            let allocator = ArrayRefPre::new(&mut store, ty.clone());
            let zero = Val::default_for_ty(ty.element_type().unpack()).unwrap();
            let zeros = ArrayRef::new(&mut store, &allocator, &zero, 3)?;
            let full = ArrayRef::new(&mut store, &allocator, &value, 300)?;
            let fixed = ArrayRef::new_fixed(&mut store, &allocator, &[zero, value])?;
            store.gc();
            let is = |store: &Store<()>, val: Val, expected: Val| -> Result<bool> {
                Ok(match (val.ref_(), expected.ref_()) {
                    (Some(Ref::Any(Some(a))), Some(Ref::Any(Some(b)))) => {
                        Rooted::ref_eq(store, &a, &b)?
                    }
                    (Some(Ref::Extern(Some(a))), Some(Ref::Extern(Some(b)))) => {
                        Rooted::ref_eq(store, &a, &b)?
                    }
                    _ => format!("{val:?}") == format!("{expected:?}"),
                })
            };
            assert_eq!(
                [zeros.len(&store)?, full.len(&store)?, fixed.len(&store)?],
                [3, 300, 2]
            );
            let elems = zeros.elems(&mut store)?;
            assert_eq!(elems.len(), 3);
            let elems: Vec<Val> = elems.collect();
            for elem in elems {
                assert!(is(&store, elem, zero)?, "{ty}");
            }
            let elems: Vec<Val> = full.elems(&mut store)?.collect();
            for elem in elems {
                assert!(is(&store, elem, expected)?, "{ty}: {elem:?}");
            }
            let [first, second] = [0, 1].map(|i| fixed.get(&mut store, i).unwrap());
            assert!(
                is(&store, first, zero)? && is(&store, second, expected)?,
                "{ty}"
            );
            fixed.set(&mut store, 0, value)?;
            fixed.set(&mut store, 1, zero)?;
            store.gc();
            let [first, second] = [0, 1].map(|i| fixed.get(&mut store, i).unwrap());
            assert!(
                is(&store, first, expected)? && is(&store, second, zero)?,
                "{ty}"
            );
            assert!(ArrayType::eq(&fixed.ty(&store)?, &ty));
            assert!(fixed.matches_ty(&store, &ty)?);
        }
        Ok(())
    })
}

#[test]
fn bytes_are_copied_in_and_out() -> Result<()> {
    each_collector(|engine, _| {
        let mut store = Store::new(&engine, ());
        let bytes = ArrayRefPre::new(&mut store, array_type(&engine, StorageType::I8));
        let text = b"honey and wax";
        let array = ArrayRef::new_from_i8_slice(&mut store, &bytes, text)?;
        let mut copy = [0; 13];
        array.copy_to_i8_slice(&mut store, &mut copy)?;
        assert_eq!(&copy, text);
        assert_eq!(array.get(&mut store, 0)?.unwrap_i32(), i32::from(b'h'));
        let error = message(array.copy_to_i8_slice(&mut store, &mut copy[1..]));
        assert!(error.contains("13") && error.contains("12"), "{error}");
        let empty = ArrayRef::new_from_i8_slice(&mut store, &bytes, &[])?;
        empty.copy_to_i8_slice(&mut store, &mut [])?;

        let words = ArrayRefPre::new(&mut store, array_type(&engine, StorageType::I16));
        let error = message(ArrayRef::new_from_i8_slice(&mut store, &words, text));
        assert!(error.contains("expected an array of i8"), "{error}");
        let array = ArrayRef::new(&mut store, &words, &Val::I32(0), 13)?;
        assert!(array.copy_to_i8_slice(&mut store, &mut copy).is_err());
        Ok(())
    })
}

#[test]
fn mistakes_are_named() -> Result<()> {
    let mut store = Store::<()>::default();
    let engine = store.engine().clone();
    let allocator = ArrayRefPre::new(&mut store, array_type(&engine, ValType::I32));
    let error = message(ArrayRef::new(&mut store, &allocator, &Val::I64(1), 2));
    assert!(error.contains("expected i32, found i64"), "{error}");
    let error = message(ArrayRef::new_fixed(
        &mut store,
        &allocator,
        &[Val::I32(1), Val::F32(1)],
    ));
    assert!(
        error.contains("element 1") && error.contains("found f32"),
        "{error}"
    );
    let array = ArrayRef::new(&mut store, &allocator, &Val::I32(1), 2)?;
    for error in [
        message(array.get(&mut store, 2)),
        message(array.set(&mut store, u32::MAX, Val::I32(1))),
    ] {
        assert!(
            error.contains("out of bounds") && error.contains("length 2"),
            "{error}"
        );
    }
    let error = message(array.set(&mut store, 0, Val::null_any_ref()));
    assert!(error.contains("expected i32, found nullref"), "{error}");

    let constant = FieldType::new(Mutability::Const, ValType::I32.into());
    let constant = ArrayType::new(&engine, constant);
    let allocator = ArrayRefPre::new(&mut store, constant.clone());
    let array = ArrayRef::new(&mut store, &allocator, &Val::I32(1), 2)?;
    let error = message(array.set(&mut store, 0, Val::I32(2)));
    assert!(error.contains("immutable"), "{error}");
    assert!(array.matches_ty(&store, &constant)?);
    Ok(())
}

#[test]
fn subtypes_stand_for_their_supertypes() -> Result<()> {
    let mut store = Store::<()>::default();
    let engine = store.engine().clone();
    let new = |supertype: Option<&ArrayType>, element: ValType| {
        let element = FieldType::new(Mutability::Const, element.into());
        ArrayType::with_finality_and_supertype(&engine, Finality::NonFinal, supertype, element)
    };
    let base = new(None, ValType::ANYREF)?;
    let sub = new(Some(&base), ValType::I31REF)?;
    assert!(new(Some(&sub), ValType::ANYREF).is_err());
    let allocator = ArrayRefPre::new(&mut store, sub.clone());
    let array = ArrayRef::new(&mut store, &allocator, &Val::null_any_ref(), 1)?;
    assert!(array.matches_ty(&store, &base)? && array.matches_ty(&store, &sub)?);
    let any = array.to_anyref();
    assert!(any.matches_ty(&store, &HeapType::from(base))?);
    assert!(!any.matches_ty(&store, &HeapType::Struct)?);
    Ok(())
}
