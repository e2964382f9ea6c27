//! Values of the host: when they are dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::{array_type, each_collector, engine, struct_type};
use waxwing::*;

/// Counts how many of its copies are alive.
#[derive(Clone, Default)]
struct Census(Arc<AtomicUsize>);

struct Counted(Census);

impl Census {
    fn new_value(&self) -> Counted {
        self.0.fetch_add(1, Ordering::Relaxed);
        Counted(self.clone())
    }

    fn alive(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[test]
fn values_are_dropped_when_nothing_refers_to_them() -> Result<()> {
    each_collector(|engine, collector| {
        let mut store = Store::new(&engine, ());
        let census = Census::default();
        let kept = ExternRef::new(&mut store, census.new_value())?;
        let manual = ExternRef::new_manually_rooted(&mut store, census.new_value())?;
        let owned = {
            let mut scope = RootScope::new(&mut store);
            for _ in 0..10 {
                ExternRef::new(&mut scope, census.new_value())?;
            }
            let owned = ExternRef::new(&mut scope, census.new_value())?;
            owned.to_owned_rooted(&mut scope)?
        };
        store.gc();
        if collector == Collector::Null {
            assert_eq!(census.alive(), 13);
            drop(store);
            assert_eq!(census.alive(), 0);
            return Ok(());
        }
        assert_eq!(census.alive(), 3);
        assert!(kept.data(&store)?.unwrap().is::<Counted>());
        manual.unroot(&mut store);
        store.gc();
        assert_eq!(census.alive(), 2);
        drop(owned);
        store.gc();
        assert_eq!(census.alive(), 1);
        assert!(kept.data(&store)?.unwrap().is::<Counted>());
        drop(store);
        assert_eq!(census.alive(), 0);
        Ok(())
    })
}

#[test]
fn globals_tables_and_objects_keep_values() -> Result<()> {
    each_collector(|engine, collector| {
        if collector == Collector::Null {
            return Ok(());
        }
        let mut store = Store::new(&engine, ());
        let census = Census::default();
        let null = Val::null_extern_ref();
        let ty = GlobalType::new(ValType::EXTERNREF, Mutability::Var);
        let global = Global::new(&mut store, ty, null)?;
        let ty = TableType::new(RefType::EXTERNREF, 2, None);
        let table = Table::new(&mut store, ty, Ref::Extern(None))?;
        let ty = struct_type(&engine, [ValType::EXTERNREF.into(), ValType::ANYREF.into()]);
        let structs = StructRefPre::new(&mut store, ty);
        let ty = array_type(&engine, ValType::EXTERNREF);
        let arrays = ArrayRefPre::new(&mut store, ty);
        let array = ArrayRef::new(&mut store, &arrays, &null, 4)?;
        let object = StructRef::new(&mut store, &structs, &[null, array.into()])?;
        // Only the object is rooted from here on.
        let object = object.to_owned_rooted(&mut store)?;
        {
            let mut scope = RootScope::new(&mut store);
            let new = |store: &mut RootScope<_>| ExternRef::new(store, census.new_value());
            let value = new(&mut scope)?;
            global.set(&mut scope, value.into())?;
            let value = new(&mut scope)?;
            table.set(&mut scope, 0, value.into())?;
            let value = new(&mut scope)?;
            table.grow(&mut scope, 3, value.into())?;
            let value = new(&mut scope)?;
            object.set_field(&mut scope, 0, value.into())?;
            let value = new(&mut scope)?;
            let array = object
                .field(&mut scope, 1)?
                .unwrap_anyref()
                .unwrap()
                .unwrap_array(&scope)?;
            array.set(&mut scope, 2, value.into())?;
            array.set(&mut scope, 3, value.into())?;
        }
        for _ in 0..3 {
            store.gc();
            assert_eq!(census.alive(), 5);
        }
        let is_counted = |store: &Store<()>, value: Option<&Rooted<ExternRef>>| {
            value.unwrap().data(store).unwrap().unwrap().is::<Counted>()
        };
        {
            let value = global.get(&mut store);
            assert!(is_counted(&store, value.unwrap_externref()));
            let value = table.get(&mut store, 4).unwrap();
            assert!(is_counted(&store, value.unwrap_extern()));
            let value = object.field(&mut store, 0)?;
            assert!(is_counted(&store, value.unwrap_externref()));
        }
        // What was read is rooted for good, as there is no scope: it does not go.
        global.set(&mut store, null)?;
        table.fill(&mut store, 0, Ref::Extern(None), 5)?;
        store.gc();
        assert_eq!(census.alive(), 4);
        // The array's goes with the object, which nothing refers to any more.
        let array = array.to_owned_rooted(&mut store)?;
        drop((object, array));
        store.gc();
        assert!(census.alive() >= 3);
        drop(store);
        assert_eq!(census.alive(), 0);
        Ok(())
    })
}

#[test]
fn garbage_values_do_not_pile_up() -> Result<()> {
    for (collector, stress) in [
        (Collector::Copying, false),
        (Collector::DeferredReferenceCounting, false),
        (Collector::DeferredReferenceCounting, true),
    ] {
        let mut store = Store::new(&engine(collector, stress), ());
        let census = Census::default();
        let mut most = 0;
        for _ in 0..if stress { 10_000 } else { 300_000 } {
            let mut scope = RootScope::new(&mut store);
            ExternRef::new(&mut scope, census.new_value())?;
            most = most.max(census.alive());
        }
        assert!(most < 100_000, "{most} of {collector:?}");
    }
    Ok(())
}

#[test]
fn stress_drops_values_at_once() -> Result<()> {
    let engine = engine(Collector::Auto, true);
    let mut store = Store::new(&engine, ());
    let census = Census::default();
    for _ in 0..10 {
        let mut scope = RootScope::new(&mut store);
        ExternRef::new(&mut scope, census.new_value())?;
        assert_eq!(census.alive(), 1);
    }
    Ok(())
}
