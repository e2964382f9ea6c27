//! References of the internal hierarchy by their most general types.

use crate::{array_type, each_collector, panic_message, struct_type};
use waxwing::*;

#[test]
fn i31_wraps_or_refuses() {
    assert_eq!(I31::new_u32(0x7fff_ffff).unwrap().get_i32(), -1);
    assert!(I31::new_u32(0x8000_0000).is_none());
    assert_eq!(I31::new_i32(-0x4000_0000).unwrap().get_u32(), 0x4000_0000);
    assert!(I31::new_i32(-0x4000_0001).is_none());
    assert!(I31::new_i32(0x4000_0000).is_none());
    assert_eq!(I31::wrapping_u32(0x8000_0003).get_u32(), 3);
    assert_eq!(I31::wrapping_i32(i32::MIN), I31::wrapping_i32(0));
    let text = format!("{:?}", I31::wrapping_i32(-2));
    assert!(text.contains("-2") && text.contains("2147483646"), "{text}");
}

#[test]
fn anyref_tells_what_it_is() -> Result<()> {
    each_collector(|engine, _| {
        let mut store = Store::new(&engine, ());
        let struct_type = struct_type(&engine, [ValType::I32.into()]);
        let structs = StructRefPre::new(&mut store, struct_type.clone());
        let array_type = array_type(&engine, StorageType::I8);
        let arrays = ArrayRefPre::new(&mut store, array_type.clone());

        let i31 = EqRef::from_i31(&mut store, I31::wrapping_i32(-7)).to_anyref();
        let object = StructRef::new(&mut store, &structs, &[Val::I32(1)])?.to_anyref();
        let array: Rooted<AnyRef> = ArrayRef::new(&mut store, &arrays, &Val::I32(2), 3)?.into();
        let host = ExternRef::new(&mut store, "host")?;
        let host = AnyRef::convert_extern(&mut store, host)?;

        type Row = (Rooted<AnyRef>, HeapType, [bool; 4]);
        let rows: [Row; 4] = [
            (i31, HeapType::I31, [true, true, false, false]),
            (
                object,
                struct_type.clone().into(),
                [true, false, true, false],
            ),
            (array, array_type.clone().into(), [true, false, false, true]),
            (host, HeapType::Any, [false; 4]),
        ];
        for (reference, ty, expected) in rows {
            let found = [
                reference.is_eqref(&store)?,
                reference.is_i31(&store)?,
                reference.is_struct(&store)?,
                reference.is_array(&store)?,
            ];
            assert_eq!(found, expected, "{ty}");
            assert!(HeapType::eq(&reference.ty(&store)?, &ty), "{ty}");
            assert!(reference.matches_ty(&store, &ty)?);
            assert!(reference.matches_ty(&store, &HeapType::Any)?);
            assert!(!reference.matches_ty(&store, &HeapType::None)?);
            assert!(!reference.matches_ty(&store, &HeapType::Extern)?);
            let abstract_types = [
                HeapType::Eq,
                HeapType::I31,
                HeapType::Struct,
                HeapType::Array,
            ];
            for (ty, expected) in abstract_types.iter().zip(expected) {
                assert_eq!(reference.matches_ty(&store, ty)?, expected, "{ty}");
                // Values agree with references.
                let ty = RefType::new(false, ty.clone());
                assert_eq!(Ref::from(reference).matches_ty(&store, &ty)?, expected);
                let ty = ValType::Ref(ty);
                assert_eq!(Val::from(reference).matches_ty(&store, &ty)?, expected);
            }
            let ref_type = Ref::from(reference).ty(&store)?;
            assert!(!ref_type.is_nullable() && HeapType::eq(ref_type.heap_type(), &ty));

            assert_eq!(reference.as_eqref(&store)?.is_some(), expected[0]);
            assert_eq!(reference.as_i31(&store)?.is_some(), expected[1]);
            assert_eq!(reference.as_struct(&store)?.is_some(), expected[2]);
            assert_eq!(reference.as_array(&store)?.is_some(), expected[3]);
            if let Some(eq) = reference.as_eqref(&store)? {
                assert_eq!(eq.is_i31(&store)?, expected[1]);
                assert_eq!(eq.is_struct(&store)?, expected[2]);
                assert_eq!(eq.is_array(&store)?, expected[3]);
                assert_eq!(eq.as_i31(&store)?.is_some(), expected[1]);
                assert_eq!(eq.as_struct(&store)?.is_some(), expected[2]);
                assert_eq!(eq.as_array(&store)?.is_some(), expected[3]);
                assert!(HeapType::eq(&eq.ty(&store)?, &ty));
                assert!(eq.matches_ty(&store, &HeapType::Eq)?);
                assert!(Rooted::ref_eq(&store, &eq.to_anyref(), &reference)?);
            }
        }
        assert_eq!(i31.unwrap_i31(&store)?.get_i32(), -7);
        assert_eq!(i31.unwrap_eqref(&store)?.unwrap_i31(&store)?.get_i32(), -7);
        let field = object.unwrap_struct(&store)?.field(&mut store, 0)?;
        assert_eq!(field.unwrap_i32(), 1);
        let eq = object.unwrap_eqref(&store)?;
        assert_eq!(
            eq.unwrap_struct(&store)?.field(&mut store, 0)?.unwrap_i32(),
            1
        );
        assert_eq!(array.unwrap_array(&store)?.len(&store)?, 3);
        assert_eq!(
            array
                .unwrap_eqref(&store)?
                .unwrap_array(&store)?
                .len(&store)?,
            3
        );
        assert!(!object.matches_ty(&store, &array_type.into())?);
        assert!(!array.matches_ty(&store, &struct_type.into())?);

        assert!(panic_message(|| object.unwrap_i31(&store)).contains("i31"));
        assert!(panic_message(|| i31.unwrap_struct(&store)).contains("struct"));
        assert!(panic_message(|| i31.unwrap_array(&store)).contains("array"));
        assert!(panic_message(|| host.unwrap_eqref(&store)).contains("eq"));
        Ok(())
    })
}

#[test]
fn hierarchies_convert_into_each_other() -> Result<()> {
    each_collector(|engine, _| {
        let mut store = Store::new(&engine, ());
        let host = ExternRef::new(&mut store, 5_u8)?;
        let any = AnyRef::convert_extern(&mut store, host)?;
        let back = ExternRef::convert_any(&mut store, any)?;
        assert!(Rooted::ref_eq(&store, &host, &back)?);
        assert_eq!(back.data(&store)?.unwrap().downcast_ref(), Some(&5_u8));

        let structs = StructRefPre::new(&mut store, struct_type(&engine, []));
        let object = StructRef::new(&mut store, &structs, &[])?;
        let external = ExternRef::convert_any(&mut store, object.to_anyref())?;
        assert!(external.data(&store)?.is_none());
        assert!(external.data_mut(&mut store)?.is_none());
        let ty = Ref::from(external).ty(&store)?;
        assert!(ty.heap_type().is_extern());
        assert!(Ref::from(external).matches_ty(&store, &RefType::EXTERNREF)?);
        let any = AnyRef::convert_extern(&mut store, external)?;
        assert!(Rooted::ref_eq(&store, &object.to_anyref(), &any)?);

        let i31 = AnyRef::from_i31(&mut store, I31::wrapping_u32(1));
        let external = ExternRef::convert_any(&mut store, i31)?;
        assert!(external.data(&store)?.is_none());
        Ok(())
    })
}

#[test]
fn values_are_made_of_references() -> Result<()> {
    let mut store = Store::<()>::default();
    let engine = store.engine().clone();
    let structs = StructRefPre::new(&mut store, struct_type(&engine, []));
    let arrays = ArrayRefPre::new(&mut store, array_type(&engine, ValType::ANYREF));
    let object = StructRef::new(&mut store, &structs, &[])?;
    let array = ArrayRef::new_fixed(&mut store, &arrays, &[object.into(), Val::null_any_ref()])?;
    for val in [
        Val::from(object),
        Val::from(Some(object)),
        object.to_eqref().into(),
    ] {
        assert!(Rooted::ref_eq(
            &store,
            val.unwrap_anyref().unwrap(),
            &object.to_anyref()
        )?);
    }
    for reference in [
        Ref::from(array),
        Ref::from(Some(array)),
        Ref::from(array.to_eqref()),
    ] {
        assert!(reference.is_any() && reference.is_non_null());
        assert!(Rooted::ref_eq(
            &store,
            reference.unwrap_any().unwrap(),
            &array.to_anyref()
        )?);
    }
    assert!(
        Val::from(None::<Rooted<StructRef>>)
            .any_ref()
            .unwrap()
            .is_none()
    );
    assert!(
        Val::from(None::<Rooted<ArrayRef>>)
            .unwrap_any_ref()
            .is_none()
    );
    assert!(Ref::from(None::<Rooted<StructRef>>).is_null());
    assert!(Ref::from(None::<Rooted<ArrayRef>>).is_null());
    assert!(Val::from(None::<Rooted<EqRef>>).ref_().unwrap().is_null());
    assert!(NoneRef::null_ref().is_any() && NoneRef::null_val().anyref().is_some());
    let null = ValType::from(RefType::STRUCTREF).default_value().unwrap();
    assert!(null.unwrap_anyref().is_none());
    assert!(
        ValType::from(RefType::new(false, HeapType::Eq))
            .default_value()
            .is_none()
    );
    Ok(())
}

#[test]
fn raw_references_come_back() -> Result<()> {
    let mut store = Store::<()>::default();
    let engine = store.engine().clone();
    let structs = StructRefPre::new(&mut store, struct_type(&engine, [ValType::I64.into()]));
    let object = StructRef::new(&mut store, &structs, &[Val::I64(9)])?;
    // SAFETY: the reference is used with its own store, in which nothing else happens.
    let same = unsafe {
        let raw = object.to_anyref().to_raw(&mut store)?;
        AnyRef::from_raw(&mut store, raw).unwrap()
    };
    assert_eq!(
        same.unwrap_struct(&store)?
            .field(&mut store, 0)?
            .unwrap_i64(),
        9
    );
    // SAFETY: as above.
    let same = unsafe {
        let raw = Val::from(object).to_raw(&mut store)?;
        Val::from_raw(&mut store, raw, ValType::STRUCTREF)
    };
    assert!(Rooted::ref_eq(
        &store,
        same.unwrap_anyref().unwrap(),
        &object.to_anyref()
    )?);
    // SAFETY: zero is null.
    assert!(unsafe { AnyRef::from_raw(&mut store, 0) }.is_none());
    Ok(())
}
