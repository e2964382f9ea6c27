//! Limiters that wait.

use super::*;

/// Decides after it has waited.
struct Limiter {
    waits: usize,
    bytes: usize,
    elements: usize,
    asked: Vec<(usize, usize, Option<usize>)>,
    failures: usize,
}

impl Limiter {
    fn new() -> Limiter {
        Limiter {
            waits: 2,
            bytes: 3 << 16,
            elements: 10,
            asked: Vec::new(),
            failures: 0,
        }
    }
}

#[async_trait::async_trait]
impl ResourceLimiterAsync for Limiter {
    async fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool> {
        self.asked.push((current, desired, maximum));
        Pend(self.waits).await;
        if desired > 100 << 16 {
            anyhow::bail!("far too much");
        }
        Ok(desired <= self.bytes)
    }

    async fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool> {
        self.asked.push((current, desired, maximum));
        Pend(self.waits).await;
        Ok(desired <= self.elements)
    }

    fn memory_grow_failed(&mut self, _error: Error) -> Result<()> {
        self.failures += 1;
        Ok(())
    }

    fn instances(&self) -> usize {
        2
    }
}

fn store() -> Store<Limiter> {
    let mut store = Store::new(&engine(), Limiter::new());
    store.limiter_async(|limiter| limiter);
    store
}

const GROWS: &str = r#"(module
    (memory (export "memory") 1)
    (table (export "table") 1 funcref)
    (func (export "grow_memory") (param i32) (result i32) (memory.grow (local.get 0)))
    (func (export "grow_table") (param i32) (result i32)
        (table.grow (ref.null func) (local.get 0))))"#;

#[test]
fn webassembly_waits_for_the_limiter() {
    let mut store = store();
    let module = Module::new(store.engine(), GROWS).unwrap();
    let (instance, pending) = run_counted(Instance::new_async(&mut store, &module, &[]));
    let instance = instance.unwrap();
    assert_eq!(pending, 4);
    assert_eq!(store.data().asked, [(0, 1 << 16, None), (0, 1, None)]);
    let memory = instance
        .get_typed_func::<i32, i32>(&mut store, "grow_memory")
        .unwrap();
    let table = instance
        .get_typed_func::<i32, i32>(&mut store, "grow_table")
        .unwrap();
    let grow = |store: &mut Store<Limiter>, func: &TypedFunc<i32, i32>, by| {
        let (result, pending) = run_counted(func.call_async(store, by));
        assert_eq!(pending, 2);
        result
    };
    assert_eq!(grow(&mut store, &memory, 2).unwrap(), 1);
    assert_eq!(grow(&mut store, &memory, 1).unwrap(), -1);
    assert_eq!(grow(&mut store, &table, 9).unwrap(), 1);
    assert_eq!(grow(&mut store, &table, 1).unwrap(), -1);
    let error = grow(&mut store, &memory, 200).unwrap_err();
    assert_eq!(error.root_cause().to_string(), "far too much");

    // As many instances as there may be.
    run(Instance::new_async(&mut store, &module, &[])).unwrap();
    let error = run(Instance::new_async(&mut store, &module, &[])).unwrap_err();
    assert!(error.to_string().contains("instance"), "{error}");
}

#[test]
fn the_host_waits_for_the_limiter() {
    let mut store = store();
    let (memory, pending) = run_counted(Memory::new_async(&mut store, MemoryType::new(1, None)));
    let memory = memory.unwrap();
    assert_eq!(pending, 2);
    let (grown, pending) = run_counted(memory.grow_async(&mut store, 2));
    assert_eq!((grown.unwrap(), pending), (1, 2));
    assert!(run(memory.grow_async(&mut store, 1)).is_err());
    let error = run(memory.grow_async(&mut store, 200)).unwrap_err();
    assert_eq!(error.root_cause().to_string(), "far too much");
    assert!(run(Memory::new_async(&mut store, MemoryType::new(4, None))).is_err());
    let ty = TableType::new(RefType::FUNCREF, 5, None);
    let table = run(Table::new_async(&mut store, ty, Ref::Func(None))).unwrap();
    let (grown, pending) = run_counted(table.grow_async(&mut store, 5, Ref::Func(None)));
    assert_eq!((grown.unwrap(), pending), (5, 2));
    assert!(run(table.grow_async(&mut store, 1, Ref::Func(None))).is_err());
}

#[test]
fn a_growth_that_is_given_up_does_not_happen() {
    let mut store = store();
    let memory = run(Memory::new_async(&mut store, MemoryType::new(1, None))).unwrap();
    let mut future = Box::pin(memory.grow_async(&mut store, 1));
    assert!(poll(future.as_mut()).is_pending());
    drop(future);
    assert_eq!(memory.size(&store), 1);

    let module = Module::new(store.engine(), GROWS).unwrap();
    let instance = run(Instance::new_async(&mut store, &module, &[])).unwrap();
    let grow = instance
        .get_typed_func::<i32, i32>(&mut store, "grow_memory")
        .unwrap();
    let mut future = Box::pin(grow.call_async(&mut store, 1));
    assert!(poll(future.as_mut()).is_pending());
    drop(future);
    let memory = instance.get_memory(&mut store, "memory").unwrap();
    assert_eq!(memory.size(&store), 1);
}

#[test]
fn functions_that_cannot_wait_panic() {
    let mut store = store();
    let memory = run(Memory::new_async(&mut store, MemoryType::new(1, None))).unwrap();
    let ty = TableType::new(RefType::FUNCREF, 1, None);
    let table = run(Table::new_async(&mut store, ty.clone(), Ref::Func(None))).unwrap();
    misuse::panics("Memory::new_async", || {
        drop(Memory::new(&mut store, MemoryType::new(1, None)))
    });
    misuse::panics("Memory::grow_async", || drop(memory.grow(&mut store, 1)));
    misuse::panics("Table::new_async", || {
        drop(Table::new(&mut store, ty, Ref::Func(None)))
    });
    misuse::panics("Table::grow_async", || {
        drop(table.grow(&mut store, 1, Ref::Func(None)))
    });
}
