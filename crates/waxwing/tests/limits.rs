//! Limits of what a store's instances use.

use waxwing::*;

fn store_with(engine: &Engine, limits: StoreLimits) -> Store<StoreLimits> {
    let mut store = Store::new(engine, limits);
    store.limiter(|limits| limits);
    store
}

const GROWS: &str = r#"(module
    (memory 1 10)
    (table 2 20 funcref)
    (func (export "memory") (param i32) (result i32) (memory.grow (local.get 0)))
    (func (export "table") (param i32) (result i32)
        (table.grow (ref.null func) (local.get 0))))"#;

#[test]
fn growth_is_limited() -> Result<()> {
    let engine = Engine::default();
    let module = Module::new(&engine, GROWS)?;
    let limits = StoreLimitsBuilder::new()
        .memory_size(3 * 65536)
        .table_elements(5)
        .build();
    let mut store = store_with(&engine, limits);
    let instance = Instance::new(&mut store, &module, &[])?;
    let memory = instance.get_typed_func::<i32, i32>(&mut store, "memory")?;
    let table = instance.get_typed_func::<i32, i32>(&mut store, "table")?;
    assert_eq!(memory.call(&mut store, 3)?, -1);
    assert_eq!(memory.call(&mut store, 2)?, 1);
    assert_eq!(memory.call(&mut store, 1)?, -1);
    assert_eq!(memory.call(&mut store, 0)?, 3);
    assert_eq!(table.call(&mut store, 4)?, -1);
    assert_eq!(table.call(&mut store, 3)?, 2);
    assert_eq!(table.call(&mut store, 1)?, -1);

    // The host is limited likewise.
    let host_memory = Memory::new(&mut store, MemoryType::new(3, None))?;
    let error = host_memory.grow(&mut store, 1).unwrap_err();
    assert_eq!(error.to_string(), "failed to grow memory by `1`");
    assert!(Memory::new(&mut store, MemoryType::new(4, None)).is_err());
    let ty = TableType::new(RefType::EXTERNREF, 6, None);
    assert!(Table::new(&mut store, ty, Ref::Extern(None)).is_err());
    Ok(())
}

#[test]
fn initial_sizes_are_limited() -> Result<()> {
    let engine = Engine::default();
    let module = Module::new(&engine, GROWS)?;
    let limits = StoreLimitsBuilder::new().memory_size(65535).build();
    let error = Instance::new(&mut store_with(&engine, limits), &module, &[]).unwrap_err();
    assert!(
        error.to_string().contains("exceeds memory limits"),
        "{error}"
    );
    let limits = StoreLimitsBuilder::new().table_elements(1).build();
    let error = Instance::new(&mut store_with(&engine, limits), &module, &[]).unwrap_err();
    assert!(
        error.to_string().contains("exceeds table limits"),
        "{error}"
    );
    Ok(())
}

#[test]
fn failure_to_grow_can_trap() -> Result<()> {
    let engine = Engine::default();
    let module = Module::new(&engine, GROWS)?;
    let limits = StoreLimitsBuilder::new()
        .memory_size(2 * 65536)
        .trap_on_grow_failure(true)
        .build();
    let mut store = store_with(&engine, limits);
    let instance = Instance::new(&mut store, &module, &[])?;
    for (name, delta) in [("memory", 2), ("memory", 10), ("table", 19)] {
        let grow = instance.get_typed_func::<i32, i32>(&mut store, name)?;
        let error = grow.call(&mut store, delta).unwrap_err();
        let text = format!("{error:#}");
        assert!(text.contains("forcing a trap"), "{name}: {text}");
        assert!(error.downcast_ref::<WasmBacktrace>().is_some());
    }
    Ok(())
}

#[test]
fn numbers_are_limited() -> Result<()> {
    let engine = Engine::default();
    let module = Module::new(&engine, GROWS)?;
    let builder = StoreLimitsBuilder::new;
    for (what, limits) in [
        ("instance", builder().instances(2).build()),
        ("memory", builder().memories(2).build()),
        ("table", builder().tables(2).build()),
    ] {
        let mut store = store_with(&engine, limits);
        Instance::new(&mut store, &module, &[])?;
        Instance::new(&mut store, &module, &[])?;
        let error = Instance::new(&mut store, &module, &[]).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with(&format!("resource limit exceeded: {what} count")),
            "{error}"
        );
    }
    Ok(())
}

/// Records what it is asked.
#[derive(Default)]
struct Recorder {
    asked: Vec<(&'static str, usize, usize, Option<usize>)>,
    failed: usize,
    refuse: Option<&'static str>,
}

impl ResourceLimiter for Recorder {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool> {
        self.asked.push(("memory", current, desired, maximum));
        match self.refuse {
            Some(message) => Err(Error::msg(message)),
            None => Ok(true),
        }
    }

    fn memory_grow_failed(&mut self, _: Error) -> Result<()> {
        self.failed += 1;
        Ok(())
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool> {
        self.asked.push(("table", current, desired, maximum));
        Ok(desired < 10)
    }
}

#[test]
fn limiters_are_asked_and_told() -> Result<()> {
    let engine = Engine::default();
    let module = Module::new(&engine, GROWS)?;
    let mut store = Store::new(&engine, Recorder::default());
    store.limiter(|recorder| recorder);
    let instance = Instance::new(&mut store, &module, &[])?;
    let memory = instance.get_typed_func::<i32, i32>(&mut store, "memory")?;
    let table = instance.get_typed_func::<i32, i32>(&mut store, "table")?;
    assert_eq!(memory.call(&mut store, 1)?, 1);
    assert_eq!(memory.call(&mut store, 9)?, -1);
    assert_eq!(table.call(&mut store, 8)?, -1);
    let page = 65536;
    let mut asked = std::mem::take(&mut store.data_mut().asked);
    asked[..2].sort_unstable();
    assert_eq!(
        asked,
        [
            ("memory", 0, page, Some(10 * page)),
            ("table", 0, 2, Some(20)),
            ("memory", page, 2 * page, Some(10 * page)),
            ("memory", 2 * page, 11 * page, Some(10 * page)),
            ("table", 2, 10, Some(20)),
        ]
    );
    assert_eq!(store.data().failed, 1);

    store.data_mut().refuse = Some("no more");
    let error = memory.call(&mut store, 1).unwrap_err();
    assert_eq!(error.root_cause().to_string(), "no more");
    Ok(())
}
