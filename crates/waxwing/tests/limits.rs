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

#[test]
fn numbers_are_limited_without_a_limiter_too() -> Result<()> {
    let engine = Engine::default();
    let module = Module::new(&engine, "(module)")?;
    let mut store = Store::new(&engine, ());
    for _ in 0..DEFAULT_INSTANCE_LIMIT {
        Instance::new(&mut store, &module, &[])?;
    }
    let error = Instance::new(&mut store, &module, &[]).unwrap_err();
    assert!(error.to_string().contains("limit is 10000"), "{error}");
    let defaults = StoreLimits::default();
    assert_eq!(defaults.instances(), DEFAULT_INSTANCE_LIMIT);
    assert_eq!(defaults.memories(), DEFAULT_MEMORY_LIMIT);
    assert_eq!(defaults.tables(), DEFAULT_TABLE_LIMIT);
    let others = Recorder::default();
    assert_eq!(others.instances(), DEFAULT_INSTANCE_LIMIT);
    assert_eq!(others.memories(), DEFAULT_MEMORY_LIMIT);
    assert_eq!(others.tables(), DEFAULT_TABLE_LIMIT);
    Ok(())
}

#[test]
fn failed_instances_count_only_if_they_were_made() -> Result<()> {
    let engine = Engine::default();
    let limits = StoreLimitsBuilder::new()
        .instances(2)
        .memory_size(65536)
        .build();
    let mut store = store_with(&engine, limits);
    let large = Module::new(&engine, "(module (memory 2))")?;
    for _ in 0..3 {
        let error = Instance::new(&mut store, &large, &[]).unwrap_err();
        assert!(error.to_string().contains("memory limits"), "{error}");
    }
    let small = Module::new(&engine, "(module (memory 1))")?;
    Instance::new(&mut store, &small, &[])?;
    Instance::new(&mut store, &small, &[])?;
    let error = Instance::new(&mut store, &small, &[]).unwrap_err();
    assert!(error.to_string().contains("instance count"), "{error}");
    Ok(())
}

/// What modules say that they need is what their instances need.
#[test]
fn required_resources_are_enough_and_no_less_is() -> Result<()> {
    let mut config = Config::new();
    config.wasm_memory64(true).wasm_custom_page_sizes(true);
    let engine = Engine::new(&config)?;
    let page = 65536;
    let modules = [
        ("(module)", [0, 0], None, None),
        ("(module (memory 0))", [1, 0], Some(0), None),
        (
            "(module (memory 3) (memory i64 1 9) (table 7 funcref) (table 2 externref))",
            [2, 2],
            Some(3 * page),
            Some(7),
        ),
        (
            "(module (memory 1000 (pagesize 1)))",
            [1, 0],
            Some(1000),
            None,
        ),
        // Imported items are somebody else's.
        (
            r#"(module (import "" "m" (memory 1)) (import "" "t" (table 5 funcref)) (table 1 funcref))"#,
            [0, 1],
            None,
            Some(1),
        ),
    ];
    for (wat, [memories, tables], memory_size, table_size) in modules {
        let module = Module::new(&engine, wat)?;
        let resources = module.resources_required();
        let numbers = [resources.num_memories, resources.num_tables];
        assert_eq!(numbers, [memories, tables], "{wat}");
        assert_eq!(resources.max_initial_memory_size, memory_size, "{wat}");
        assert_eq!(resources.max_initial_table_size, table_size, "{wat}");

        let fits = |less: [u32; 4]| -> Result<bool> {
            let mut store = store_with(&engine, StoreLimits::default());
            let m = Memory::new(&mut store, MemoryType::new(1, None))?;
            let ty = TableType::new(RefType::FUNCREF, 5, None);
            let t = Table::new(&mut store, ty, Ref::Func(None))?;
            *store.data_mut() = StoreLimitsBuilder::new()
                .memories((memories - less[0]) as usize)
                .tables((tables - less[1]) as usize)
                .memory_size(memory_size.unwrap_or(0) as usize - less[2] as usize)
                .table_elements(table_size.unwrap_or(0) as usize - less[3] as usize)
                .build();
            store.limiter(|limits| limits);
            let imports: Vec<Extern> = match module.imports().len() {
                0 => Vec::new(),
                _ => vec![m.into(), t.into()],
            };
            Ok(Instance::new(&mut store, &module, &imports).is_ok())
        };
        assert!(fits([0; 4])?, "{wat}");
        let needed = [
            u64::from(memories),
            u64::from(tables),
            memory_size.unwrap_or(0),
            table_size.unwrap_or(0),
        ];
        for (index, needed) in needed.into_iter().enumerate() {
            if needed > 0 {
                let mut less = [0; 4];
                less[index] = 1;
                assert!(!fits(less)?, "{wat}: {less:?}");
            }
        }
    }
    Ok(())
}

/// The heap of objects counts as bytes, but is no linear memory.
#[test]
#[cfg(feature = "gc")]
fn heaps_of_objects_ask_the_limiter() -> Result<()> {
    struct Heap {
        asked: Vec<(usize, usize)>,
        limit: usize,
    }
    impl ResourceLimiter for Heap {
        fn memory_growing(
            &mut self,
            current: usize,
            desired: usize,
            maximum: Option<usize>,
        ) -> Result<bool> {
            assert_eq!(maximum, None);
            self.asked.push((current, desired));
            Ok(desired <= self.limit)
        }
        fn table_growing(&mut self, _: usize, _: usize, _: Option<usize>) -> Result<bool> {
            Ok(false)
        }
        fn memories(&self) -> usize {
            0
        }
    }
    let engine = Engine::new(Config::new().wasm_function_references(true).wasm_gc(true))?;
    let module = Module::new(
        &engine,
        r#"(module
            (type $bytes (array (mut i8)))
            (global $keep (mut (ref null $bytes)) (ref.null $bytes))
            (func (export "f") (param i32)
                (global.set $keep (array.new_default $bytes (local.get 0)))))"#,
    )?;
    let heap = Heap {
        asked: Vec::new(),
        limit: 256 << 20,
    };
    let mut store = Store::new(&engine, heap);
    store.limiter(|heap| heap);
    let instance = Instance::new(&mut store, &module, &[])?;
    let f = instance.get_typed_func::<i32, ()>(&mut store, "f")?;
    f.call(&mut store, 1)?;
    f.call(&mut store, 20 << 20)?;
    let asked = &store.data().asked;
    assert!(!asked.is_empty());
    assert_eq!(asked[0].0, 0, "at first there is nothing");
    // What was allowed is where the next growth begins.
    assert!(asked.iter().all(|(current, desired)| current < desired));
    assert!(asked.windows(2).all(|two| two[1].0 == two[0].1));
    let largest = asked.last().unwrap().1;
    assert!(largest > 20 << 20, "{largest}");
    assert!(store.gc_heap_capacity() <= largest);
    store.data_mut().limit = largest;
    let error = f.call(&mut store, 60 << 20).unwrap_err();
    assert!(
        error.is::<Trap>() || error.to_string().contains("memory"),
        "{error:?}"
    );
    f.call(&mut store, 1)?;
    Ok(())
}
