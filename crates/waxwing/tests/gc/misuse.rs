//! Values used with stores and engines that they do not belong to.

use crate::{array_type, message, panic_message, struct_type};
use waxwing::*;

const FOREIGN: &str = "object used with the wrong store";

#[test]
fn using_a_reference_with_another_store_panics() -> Result<()> {
    let engine = Engine::default();
    let mut home = Store::new(&engine, ());
    let mut away = Store::new(&engine, ());
    let structs = StructRefPre::new(&mut home, struct_type(&engine, [ValType::I32.into()]));
    let arrays = ArrayRefPre::new(&mut home, array_type(&engine, ValType::I32));
    let object = StructRef::new(&mut home, &structs, &[Val::I32(1)])?;
    let array = ArrayRef::new(&mut home, &arrays, &Val::I32(1), 1)?;
    let any = object.to_anyref();
    let eq = object.to_eqref();
    let external = ExternRef::new(&mut home, 1)?;
    let owned = object.to_owned_rooted(&mut home)?;
    let manual = object.to_manually_rooted(&mut home)?;
    let messages = [
        panic_message(|| object.field(&mut away, 0)),
        panic_message(|| object.set_field(&mut away, 0, Val::I32(1))),
        panic_message(|| object.fields(&mut away).map(|fields| fields.len())),
        panic_message(|| object.ty(&away)),
        panic_message(|| array.get(&mut away, 0)),
        panic_message(|| array.set(&mut away, 0, Val::I32(1))),
        panic_message(|| array.elems(&mut away).map(|elems| elems.len())),
        panic_message(|| array.len(&away)),
        panic_message(|| array.ty(&away)),
        panic_message(|| any.is_i31(&away)),
        panic_message(|| any.as_struct(&away)),
        panic_message(|| any.ty(&away)),
        panic_message(|| eq.is_array(&away)),
        panic_message(|| eq.matches_ty(&away, &HeapType::Eq)),
        panic_message(|| external.data(&away).map(|data| data.is_some())),
        panic_message(|| AnyRef::convert_extern(&mut away, external)),
        panic_message(|| ExternRef::convert_any(&mut away, any)),
        panic_message(|| object.to_manually_rooted(&mut away)),
        panic_message(|| object.to_owned_rooted(&mut away)),
        panic_message(|| owned.to_rooted(&mut away)),
        panic_message(|| manual.to_rooted(&mut away)),
        panic_message(|| Rooted::ref_eq(&away, &object, &object)),
        panic_message(|| Val::from(object).ty(&away)),
        panic_message(|| Ref::from(object).ty(&away)),
    ];
    for message in messages {
        assert_eq!(message, FOREIGN);
    }
    let messages = [
        panic_message(|| StructRef::new(&mut away, &structs, &[Val::I32(1)])),
        panic_message(|| ArrayRef::new(&mut away, &arrays, &Val::I32(1), 1)),
        panic_message(|| ArrayRef::new_fixed(&mut away, &arrays, &[])),
        panic_message(|| ArrayRef::new_from_i8_slice(&mut away, &arrays, &[])),
    ];
    for message in messages {
        assert!(
            message.contains("allocator used with another store"),
            "{message}"
        );
    }
    // Nothing of this changed anything.
    assert_eq!(object.field(&mut home, 0)?.unwrap_i32(), 1);
    assert_eq!(away.gc_heap_capacity(), 0);
    Ok(())
}

#[test]
fn storing_a_reference_of_another_store_fails() -> Result<()> {
    let engine = Engine::default();
    let mut home = Store::new(&engine, ());
    let mut away = Store::new(&engine, ());
    let foreign = AnyRef::from_i31(&mut away, I31::wrapping_u32(1));
    let ty = struct_type(&engine, [ValType::ANYREF.into()]);
    let structs = StructRefPre::new(&mut home, ty);
    let arrays = ArrayRefPre::new(&mut home, array_type(&engine, ValType::ANYREF));
    let object = StructRef::new(&mut home, &structs, &[Val::null_any_ref()])?;
    let array = ArrayRef::new(&mut home, &arrays, &Val::null_any_ref(), 1)?;
    let global = GlobalType::new(ValType::ANYREF, Mutability::Var);
    let table = TableType::new(RefType::ANYREF, 1, None);
    let null = Val::null_any_ref();
    let own_global = Global::new(&mut home, global.clone(), null)?;
    let own_table = Table::new(&mut home, table.clone(), Ref::null(&HeapType::Any))?;
    let take = Func::wrap(&mut home, |_: Option<Rooted<AnyRef>>| {});
    let typed = take.typed::<Rooted<AnyRef>, ()>(&home)?;
    let give = Func::wrap(&mut home, move || foreign);
    let messages = [
        message(StructRef::new(&mut home, &structs, &[foreign.into()])),
        message(object.set_field(&mut home, 0, foreign.into())),
        message(ArrayRef::new(&mut home, &arrays, &foreign.into(), 1)),
        message(ArrayRef::new_fixed(&mut home, &arrays, &[foreign.into()])),
        message(array.set(&mut home, 0, foreign.into())),
        message(Global::new(&mut home, global, foreign.into())),
        message(own_global.set(&mut home, foreign.into())),
        message(Table::new(&mut home, table, foreign.into())),
        message(own_table.set(&mut home, 0, foreign.into())),
        message(own_table.grow(&mut home, 1, foreign.into())),
        message(own_table.fill(&mut home, 0, foreign.into(), 1)),
        message(take.call(&mut home, &[foreign.into()], &mut [])),
        message(typed.call(&mut home, foreign)),
        message(give.call(&mut home, &[], &mut [null])),
    ];
    for message in messages {
        let names_store = message.contains("different store") || message.contains("another store");
        assert!(names_store, "{message}");
    }
    Ok(())
}

#[test]
fn types_of_another_engine_panic() -> Result<()> {
    let engine = Engine::default();
    let other = Engine::default();
    let mut store = Store::new(&engine, ());
    let foreign_struct = struct_type(&other, []);
    let foreign_array = array_type(&other, ValType::I32);
    let structs = StructRefPre::new(&mut store, struct_type(&engine, []));
    let object = StructRef::new(&mut store, &structs, &[])?;
    let arrays = ArrayRefPre::new(&mut store, array_type(&engine, ValType::I32));
    let array = ArrayRef::new(&mut store, &arrays, &Val::I32(0), 0)?;
    let foreign = HeapType::from(foreign_struct.clone());
    let messages = [
        panic_message(|| StructRefPre::new(&mut store, foreign_struct.clone())),
        panic_message(|| ArrayRefPre::new(&mut store, foreign_array.clone())),
        panic_message(|| object.matches_ty(&store, &foreign_struct)),
        panic_message(|| array.matches_ty(&store, &foreign_array)),
        panic_message(|| object.to_anyref().matches_ty(&store, &foreign)),
        panic_message(|| array.to_eqref().matches_ty(&store, &foreign)),
        panic_message(|| {
            let ty = RefType::new(true, foreign.clone());
            Ref::from(object).matches_ty(&store, &ty)
        }),
        panic_message(|| object.ty(&store).unwrap().matches(&foreign_struct)),
        panic_message(|| array.ty(&store).unwrap().matches(&foreign_array)),
    ];
    for message in messages {
        assert!(
            message.contains("another engine") || message.contains("different engines"),
            "{message}"
        );
    }
    Ok(())
}
