//! How the host keeps references alive.

use std::collections::hash_map::DefaultHasher;
use std::hash::Hasher;
use std::sync::Arc;

use crate::{array_type, each_collector, message, struct_type};
use waxwing::*;

/// A struct with the number in its only field.
fn number(mut store: impl AsContextMut, number: i32) -> Result<Rooted<StructRef>> {
    let ty = struct_type(store.as_context().engine(), [ValType::I32.into()]);
    let allocator = StructRefPre::new(&mut store, ty);
    StructRef::new(&mut store, &allocator, &[Val::I32(number)])
}

fn value(store: impl AsContextMut, object: &StructRef) -> Result<i32> {
    Ok(object.field(store, 0)?.unwrap_i32())
}

#[test]
fn scopes_end_roots() -> Result<()> {
    each_collector(|engine, _| {
        let mut store = Store::new(&engine, ());
        let outer = number(&mut store, 1)?;
        let (inner, innermost) = {
            let mut scope = RootScope::new(&mut store);
            scope.reserve(10);
            let inner = number(&mut scope, 2)?;
            let innermost = {
                let mut scope = RootScope::new(&mut scope);
                number(&mut scope, 3)?
            };
            scope.as_context_mut().gc();
            assert_eq!(value(&mut scope, &inner)?, 2);
            (inner, innermost)
        };
        // New roots at the same places are other roots.
        let other = number(&mut store, 4)?;
        number(&mut store, 5)?;
        store.gc();
        for gone in [inner, innermost] {
            let any = gone.to_anyref();
            for error in [
                message(gone.field(&mut store, 0)),
                message(gone.set_field(&mut store, 0, Val::I32(1))),
                message(gone.ty(&store)),
                message(gone.fields(&mut store).map(|fields| fields.len())),
                message(any.is_struct(&store)),
                message(any.as_i31(&store)),
                message(any.ty(&store)),
                message(any.matches_ty(&store, &HeapType::Any)),
                message(gone.to_eqref().ty(&store)),
                message(gone.to_manually_rooted(&mut store)),
                message(gone.to_owned_rooted(&mut store)),
                message(Rooted::ref_eq(&store, &gone, &outer)),
                message(Val::from(gone).ty(&store)),
                message(Ref::from(gone).matches_ty(&store, &RefType::ANYREF)),
                message(ExternRef::convert_any(&mut store, any)),
                message(Global::new(
                    &mut store,
                    GlobalType::new(ValType::ANYREF, Mutability::Var),
                    gone.into(),
                )),
                message(Table::new(
                    &mut store,
                    TableType::new(RefType::STRUCTREF, 1, None),
                    gone.into(),
                )),
                // SAFETY: it fails.
                message(unsafe { any.to_raw(&mut store) }),
            ] {
                assert!(error.contains("unrooted"), "{error}");
            }
        }
        assert_eq!(value(&mut store, &outer)?, 1);
        assert_eq!(value(&mut store, &other)?, 4);
        assert!(!Rooted::rooted_eq(inner, other));
        Ok(())
    })
}

#[test]
fn arrays_notice_that_they_are_not_rooted() -> Result<()> {
    let mut store = Store::<()>::default();
    let ty = array_type(store.engine(), ValType::I32);
    let allocator = ArrayRefPre::new(&mut store, ty.clone());
    let gone = {
        let mut scope = RootScope::new(&mut store);
        ArrayRef::new(&mut scope, &allocator, &Val::I32(0), 1)?
    };
    for error in [
        message(gone.len(&store)),
        message(gone.get(&mut store, 0)),
        message(gone.set(&mut store, 0, Val::I32(1))),
        message(gone.elems(&mut store).map(|elems| elems.len())),
        message(gone.ty(&store)),
        message(gone.matches_ty(&store, &ty)),
        message(gone.copy_to_i8_slice(&mut store, &mut [])),
        message(gone.to_anyref().as_array(&store)),
    ] {
        assert!(error.contains("unrooted"), "{error}");
    }
    Ok(())
}

#[test]
fn manual_roots_last_until_they_are_given_up() -> Result<()> {
    each_collector(|engine, _| {
        let mut store = Store::new(&engine, ());
        let kept = {
            let mut scope = RootScope::new(&mut store);
            number(&mut scope, 1)?.to_manually_rooted(&mut scope)?
        };
        store.gc();
        assert_eq!(value(&mut store, &kept)?, 1);
        let second = kept.clone(&mut store);
        let rooted = kept.to_rooted(&mut store);
        assert!(ManuallyRooted::ref_eq(&store, &second, &rooted)?);
        let any: ManuallyRooted<AnyRef> = second.into();
        let view = any.unwrap_struct(&store)?;
        assert_eq!(value(&mut store, &view)?, 1);
        any.unroot(&mut store);
        // The view has the root that was given up.
        assert!(message(view.ty(&store)).contains("unrooted"));
        let eq = kept.to_eqref();
        let any = eq.to_anyref();
        let rooted_again = any.into_rooted(&mut store);
        store.gc();
        assert!(Rooted::ref_eq(&store, &rooted_again, &rooted.to_anyref())?);
        // A new root at the same place is another root.
        let other = number(&mut store, 2)?.to_manually_rooted(&mut store)?;
        assert!(view.ty(&store).is_err());
        assert_eq!(value(&mut store, &other)?, 2);
        let array = ArrayRefPre::new(&mut store, array_type(&engine, StorageType::I8));
        let array = ArrayRef::new_from_i8_slice(&mut store, &array, b"wax")?;
        let array = array.to_manually_rooted(&mut store)?.to_anyref();
        assert!(array.is_array(&store)?);
        Ok(())
    })
}

#[test]
fn owned_roots_last_as_long_as_their_owners() -> Result<()> {
    each_collector(|engine, _| {
        let mut store = Store::new(&engine, ());
        let owned = {
            let mut scope = RootScope::new(&mut store);
            number(&mut scope, 1)?.to_owned_rooted(&mut scope)?
        };
        let second = owned.clone();
        drop(owned);
        store.gc();
        assert_eq!(value(&mut store, &second)?, 1);
        let rooted = second.to_rooted(&mut store);
        assert!(OwnedRooted::ref_eq(&store, &second, &rooted)?);
        let view = {
            let any: OwnedRooted<AnyRef> = second.clone().to_eqref().to_anyref();
            any.unwrap_struct(&store)?
        };
        assert_eq!(value(&mut store, &view)?, 1);
        // Owners may be dropped by other threads.
        std::thread::spawn(move || drop(second)).join().unwrap();
        store.gc();
        assert!(message(view.ty(&store)).contains("unrooted"));
        assert_eq!(value(&mut store, &rooted)?, 1);
        // An owner may outlive its store.
        let owned = number(&mut store, 2)?.to_owned_rooted(&mut store)?;
        drop(store);
        assert!(format!("{owned:?}").contains("OwnedRooted"));
        Ok(())
    })
}

#[test]
fn many_owned_roots_come_and_go() -> Result<()> {
    let mut store = Store::<()>::default();
    let token = Arc::new(());
    let first = ExternRef::new(&mut store, ())?.to_owned_rooted(&mut store)?;
    for _ in 0..10_000 {
        let mut scope = RootScope::new(&mut store);
        let value = ExternRef::new(&mut scope, Arc::clone(&token))?;
        value.to_owned_rooted(&mut scope)?;
    }
    store.gc();
    assert_eq!(Arc::strong_count(&token), 1);
    assert!(first.data(&store)?.is_some());
    Ok(())
}

#[test]
fn identity_is_hashed() -> Result<()> {
    each_collector(|engine, _| {
        let mut store = Store::new(&engine, ());
        let object = number(&mut store, 1)?;
        let manual = object.to_manually_rooted(&mut store)?;
        let owned = object.to_owned_rooted(&mut store)?;
        let other = number(&mut store, 1)?;
        let hash = |f: &dyn Fn(&mut DefaultHasher)| {
            let mut hasher = DefaultHasher::new();
            f(&mut hasher);
            hasher.finish()
        };
        let by_object = hash(&|state| object.ref_hash(&store, state).unwrap());
        assert_eq!(by_object, hash(&|state| manual.ref_hash(&store, state)));
        assert_eq!(by_object, hash(&|state| owned.ref_hash(&store, state)));
        assert_ne!(
            by_object,
            hash(&|state| other.ref_hash(&store, state).unwrap())
        );
        let by_root = hash(&|state| object.rooted_hash(state));
        assert_ne!(by_root, hash(&|state| manual.rooted_hash(state)));
        assert_ne!(by_root, hash(&|state| owned.rooted_hash(state)));
        assert!(Rooted::ref_eq(&store, &manual, &owned)?);
        assert!(!Rooted::ref_eq(&store, &object, &other)?);
        assert!(Rooted::rooted_eq(object, object));
        Ok(())
    })
}

#[test]
fn host_functions_are_scopes() -> Result<()> {
    each_collector(|engine, _| {
        let mut store = Store::new(&engine, Vec::<Rooted<StructRef>>::new());
        type Data = Vec<Rooted<StructRef>>;
        let keep = Func::wrap(
            &mut store,
            |mut caller: Caller<'_, Data>, param: Option<Rooted<StructRef>>| -> Result<()> {
                let made = number(&mut caller, 2)?;
                caller.gc();
                assert!(caller.gc_heap_capacity() > 0);
                assert_eq!(value(&mut caller, &made)?, 2);
                if let Some(param) = param {
                    assert_eq!(value(&mut caller, &param)?, 1);
                }
                caller.data_mut().push(made);
                caller.data_mut().extend(param);
                Ok(())
            },
        );
        let object = number(&mut store, 1)?;
        keep.typed::<Rooted<StructRef>, ()>(&store)?
            .call(&mut store, object)?;
        keep.call(&mut store, &[object.into()], &mut [])?;
        assert_eq!(store.data().len(), 4);
        for gone in store.data().clone() {
            assert!(message(gone.ty(&store)).contains("unrooted"));
        }
        assert_eq!(value(&mut store, &object)?, 1);
        Ok(())
    })
}
