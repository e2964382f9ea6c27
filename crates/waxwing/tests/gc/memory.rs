//! Heaps that are full, and heaps that are collected in time.

use crate::{COLLECTORS, array_type, each_collector, engine, message, struct_type};
use waxwing::*;

/// A store whose memories and heap have at most `bytes`.
fn limited(engine: &Engine, bytes: usize) -> Store<StoreLimits> {
    let limits = StoreLimitsBuilder::new().memory_size(bytes).build();
    let mut store = Store::new(engine, limits);
    store.limiter(|limits| limits);
    store
}

/// A type of structs that can be linked to a list.
fn list_type(engine: &Engine) -> StructType {
    struct_type(engine, [ValType::I64.into(), ValType::STRUCTREF.into()])
}

#[test]
fn hosts_are_told_that_the_heap_is_full() -> Result<()> {
    each_collector(|engine, _| {
        let mut store = limited(&engine, 4 << 20);
        let lists = StructRefPre::new(&mut store, list_type(&engine));
        let arrays = ArrayRefPre::new(&mut store, array_type(&engine, ValType::I64));
        // Large objects, so that little is collected at each allocation under stress.
        let mut kept = Vec::new();
        let error = loop {
            match ArrayRef::new(&mut store, &arrays, &Val::I64(1), 10_000) {
                Ok(array) => kept.push(array),
                Err(error) => break error,
            }
            assert!(kept.len() < 100);
        };
        let error = error.downcast::<GcHeapOutOfMemory<()>>()?;
        assert!(error.to_string().contains("out of memory"), "{error}");
        let ((), error) = error.take_inner();
        assert!(format!("{error:?}").contains("GcHeapOutOfMemory"));
        error.into_inner();
        assert!(kept.len() > 10, "{}", kept.len());
        assert!(store.gc_heap_capacity() <= 4 << 20);
        assert!(store.gc_heap_capacity() >= kept.len() * 80_000);
        // Everything that was allocated is there.
        for array in &kept {
            assert_eq!(array.get(&mut store, 9_999)?.unwrap_i64(), 1);
        }
        let fixed = vec![Val::I64(2); 100_000];
        let error = ArrayRef::new_fixed(&mut store, &arrays, &fixed).unwrap_err();
        assert!(error.is::<GcHeapOutOfMemory<()>>(), "{error:#}");
        // Larger than any object can be.
        let error = ArrayRef::new(&mut store, &arrays, &Val::I64(0), u32::MAX).unwrap_err();
        assert!(error.is::<GcHeapOutOfMemory<()>>(), "{error:#}");
        let mut last = Val::null_any_ref();
        let error = loop {
            match StructRef::new(&mut store, &lists, &[Val::I64(1), last]) {
                Ok(list) => last = list.into(),
                Err(error) => break error,
            }
        };
        assert!(error.is::<GcHeapOutOfMemory<()>>(), "{error:#}");
        Ok(())
    })
}

#[test]
fn room_comes_back_when_roots_end() -> Result<()> {
    each_collector(|engine, collector| {
        if collector == Collector::Null {
            return Ok(());
        }
        let mut store = limited(&engine, 8 << 20);
        let arrays = ArrayRefPre::new(&mut store, array_type(&engine, StorageType::I8));
        for _ in 0..100 {
            let mut scope = RootScope::new(&mut store);
            ArrayRef::new(&mut scope, &arrays, &Val::I32(1), 1_000_000)?;
        }
        Ok(())
    })
}

#[test]
fn values_of_the_host_come_back_when_there_is_no_room() -> Result<()> {
    each_collector(|engine, _| {
        let mut store = limited(&engine, 70_000);
        let mut kept = Vec::new();
        let error = loop {
            let value = format!("value {}", kept.len());
            match ExternRef::new(&mut store, value) {
                Ok(reference) => kept.push(reference),
                Err(error) => break error,
            }
            assert!(kept.len() < 100_000);
        };
        let error = error.downcast::<GcHeapOutOfMemory<String>>()?;
        assert_eq!(error.into_inner(), format!("value {}", kept.len()));
        for (index, reference) in kept.iter().enumerate() {
            let data = reference.data(&store)?.unwrap();
            assert_eq!(data.downcast_ref(), Some(&format!("value {index}")));
        }
        Ok(())
    })
}

#[test]
fn limiters_may_fail() -> Result<()> {
    struct Failing;

    impl ResourceLimiter for Failing {
        fn memory_growing(&mut self, _: usize, _: usize, maximum: Option<usize>) -> Result<bool> {
            assert_eq!(maximum, None);
            Err(Error::msg("no memory today"))
        }

        fn table_growing(&mut self, _: usize, _: usize, _: Option<usize>) -> Result<bool> {
            Ok(true)
        }
    }

    each_collector(|engine, _| {
        let mut store = Store::new(&engine, Failing);
        store.limiter(|limiter| limiter);
        let lists = StructRefPre::new(&mut store, list_type(&engine));
        let fields = [Val::I64(1), Val::null_any_ref()];
        let error = message(StructRef::new(&mut store, &lists, &fields));
        assert!(error.contains("no memory today"), "{error}");
        let error = message(ExternRef::new(&mut store, 1));
        assert!(error.contains("no memory today"), "{error}");
        Ok(())
    })
}

#[test]
fn a_million_garbage_objects_need_little_memory() -> Result<()> {
    for collector in [Collector::Copying, Collector::DeferredReferenceCounting] {
        let engine = engine(collector, false);
        let mut store = limited(&engine, 16 << 20);
        let lists = StructRefPre::new(&mut store, list_type(&engine));
        let kept = StructRef::new(&mut store, &lists, &[Val::I64(-1), Val::null_any_ref()])?;
        for number in 0..500_000 {
            let mut scope = RootScope::new(&mut store);
            let fields = [Val::I64(number), Val::null_any_ref()];
            let first = StructRef::new(&mut scope, &lists, &fields)?;
            let second = [Val::I64(number), first.into()];
            let second = StructRef::new(&mut scope, &lists, &second)?;
            assert_eq!(second.field(&mut scope, 0)?.unwrap_i64(), number);
        }
        assert!(store.gc_heap_capacity() <= 16 << 20);
        assert_eq!(kept.field(&mut store, 0)?.unwrap_i64(), -1);
    }
    Ok(())
}

#[test]
fn circles_are_freed_by_tracing() -> Result<()> {
    let engine = engine(Collector::Copying, false);
    let mut store = limited(&engine, 16 << 20);
    let lists = StructRefPre::new(&mut store, list_type(&engine));
    for number in 0..200_000 {
        let mut scope = RootScope::new(&mut store);
        let fields = [Val::I64(number), Val::null_any_ref()];
        let first = StructRef::new(&mut scope, &lists, &fields)?;
        let fields = [Val::I64(number), first.into()];
        let second = StructRef::new(&mut scope, &lists, &fields)?;
        first.set_field(&mut scope, 1, second.into())?;
    }
    Ok(())
}

#[test]
fn graphs_survive_collections() -> Result<()> {
    each_collector(|engine, _| {
        let mut store = Store::new(&engine, ());
        let lists = StructRefPre::new(&mut store, list_type(&engine));
        let ty = array_type(&engine, ValType::STRUCTREF);
        let arrays = ArrayRefPre::new(&mut store, ty);
        let null = Val::null_any_ref();
        let array = ArrayRef::new(&mut store, &arrays, &null, 10)?;
        // Ten lists, each longer than the one before, that grow in turns.
        for round in 0..30 {
            for list in 0..10 {
                let mut scope = RootScope::new(&mut store);
                let rest = array.get(&mut scope, list)?;
                let fields = [Val::I64(round * 10 + i64::from(list)), rest];
                let longer = StructRef::new(&mut scope, &lists, &fields)?;
                array.set(&mut scope, list, longer.into())?;
            }
            if round % 7 == 0 {
                store.gc();
            }
        }
        store.gc();
        for list in 0..10 {
            let mut scope = RootScope::new(&mut store);
            let mut next = array.get(&mut scope, list)?;
            for round in (0..30).rev() {
                let node = next.unwrap_anyref().unwrap().unwrap_struct(&scope)?;
                let number = node.field(&mut scope, 0)?.unwrap_i64();
                assert_eq!(number, round * 10 + i64::from(list));
                next = node.field(&mut scope, 1)?;
            }
            assert!(next.unwrap_anyref().is_none());
        }
        Ok(())
    })
}

#[test]
fn guests_trap_when_the_heap_is_full() -> Result<()> {
    each_collector(|engine, _| {
        let module = Module::new(
            &engine,
            r#"(module
                (type $bytes (array i8))
                (type $list (struct (field (ref null $list)) (field (ref $bytes))))
                (global $kept (mut (ref null $list)) (ref.null $list))
                (func (export "fill")
                    (loop $again
                        (global.set $kept
                            (struct.new $list
                                (global.get $kept)
                                (array.new $bytes (i32.const 1) (i32.const 50000))))
                        (br $again)))
                (func (export "huge") (result i32)
                    (array.len (array.new $bytes (i32.const 1) (i32.const -1)))))"#,
        )?;
        let mut store = limited(&engine, 4 << 20);
        let instance = Instance::new(&mut store, &module, &[])?;
        for name in ["huge", "fill"] {
            let func = instance.get_func(&mut store, name).unwrap();
            let mut results = vec![Val::I32(0); func.ty(&store).results().len()];
            let error = func.call(&mut store, &[], &mut results).unwrap_err();
            assert_eq!(error.downcast::<Trap>()?, Trap::AllocationTooLarge);
        }
        Ok(())
    })
}

#[test]
fn large_new_arrays_keep_what_they_are_made_of() -> Result<()> {
    const LEN: usize = 5000;
    let elements = "(local.get $s)".repeat(LEN);
    let wat = format!(
        r#"(module
          (type $s (struct (field (mut i32))))
          (type $a (array (mut (ref null $s))))
          (global $a (mut (ref null $a)) (ref.null $a))
          (func (export "make") (local $s (ref $s))
            (local.set $s (struct.new $s (i32.const -2)))
            (global.set $a (array.new_fixed $a {LEN} {elements})))
          (func (export "waste") (param $n i32)
            (loop $again
              (drop (struct.new $s (i32.const -1)))
              (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1))))))
          (func (export "set") (param $i i32)
            (array.set $a (global.get $a) (local.get $i) (struct.new $s (local.get $i))))
          (func (export "get") (param $i i32) (result i32)
            (struct.get $s 0 (array.get $a (global.get $a) (local.get $i)))))"#
    );
    for (collector, stress) in COLLECTORS {
        let engine = engine(collector, stress);
        let mut store = Store::new(&engine, ());
        let module = Module::new(&engine, &wat)?;
        let instance = Instance::new(&mut store, &module, &[])?;
        instance
            .get_typed_func::<(), ()>(&mut store, "make")?
            .call(&mut store, ())?;
        let waste = instance.get_typed_func::<u32, ()>(&mut store, "waste")?;
        let set = instance.get_typed_func::<u32, ()>(&mut store, "set")?;
        let get = instance.get_typed_func::<u32, i32>(&mut store, "get")?;
        // Enough for a few collections, and for what was freed to be overwritten.
        let count = if stress { 20 } else { 300_000 };
        let mut expected = [-2; LEN];
        for step in [1, 3, 127] {
            waste.call(&mut store, count)?;
            for (i, expected) in (0..).zip(expected) {
                let found = get.call(&mut store, i)?;
                assert_eq!(found, expected, "{collector:?}, {stress}: {i}");
            }
            // Elements in all parts of an array that is old by then.
            for i in (0..LEN).step_by(step * 50) {
                set.call(&mut store, i as u32)?;
                expected[i] = i as i32;
            }
        }
    }
    Ok(())
}
