//! What does not fit is refused, and told why.

use super::*;

/// Instantiates until it fails, and checks the reason and that a slot which became free is enough to go on.
fn exhaust(engine: &Engine, wat: &str, limit: usize, what: &str) -> Result<()> {
    let module = Module::new(engine, wat)?;
    let mut stores = Vec::new();
    let error = loop {
        match instantiate(engine, &module) {
            Ok((store, _)) => stores.push(store),
            Err(error) => break error,
        }
    };
    assert_eq!(stores.len(), limit, "{what}");
    let reason = error
        .downcast_ref::<PoolConcurrencyLimitError>()
        .expect("the limit is the reason");
    let text = reason.to_string();
    assert!(
        text.contains(what) && text.contains(&limit.to_string()),
        "{text}"
    );
    // From the middle, the end and the beginning.
    for index in [limit / 2, limit - 1, 0] {
        drop(stores.swap_remove(index));
        stores.push(instantiate(engine, &module)?.0);
        assert!(instantiate(engine, &module).is_err());
    }
    Ok(())
}

#[test]
fn concurrency_is_limited() -> Result<()> {
    for batch_size in [1, 3, 100] {
        let mut pool = small_pool(20);
        pool.decommit_batch_size(batch_size);
        let with = |set: fn(&mut PoolingAllocationConfig) -> &mut PoolingAllocationConfig| {
            let mut pool = pool.clone();
            set(&mut pool);
            configured(pool, |config| {
                config.wasm_function_references(true).wasm_gc(true);
            })
        };
        let memories = with(|pool| pool.total_memories(3));
        exhaust(&memories, "(module (memory 1))", 3, "linear memories")?;
        let tables = with(|pool| pool.total_tables(4));
        exhaust(&tables, "(module (table 1 funcref))", 4, "tables")?;
        let instances = with(|pool| pool.total_core_instances(5));
        exhaust(&instances, "(module)", 5, "core instances")?;
        let heaps = with(|pool| pool.total_gc_heaps(2));
        let wat = "(module (type $s (struct)) (global (ref $s) (struct.new $s)))";
        exhaust(&heaps, wat, 2, "GC heaps")?;
    }
    Ok(())
}

#[test]
fn a_limit_of_zero_refuses_the_first() {
    let mut pool = small_pool(1);
    pool.total_memories(0).total_tables(0);
    let engine = engine(pool);
    for wat in ["(module (memory 0))", "(module (table 0 funcref))"] {
        let module = Module::new(&engine, wat).unwrap();
        let error = instantiate(&engine, &module).unwrap_err();
        assert!(error.is::<PoolConcurrencyLimitError>(), "{error:?}");
    }
}

#[test]
fn what_failed_half_way_holds_nothing() -> Result<()> {
    let mut pool = small_pool(2);
    pool.total_tables(1).max_tables_per_module(2);
    let engine = engine(pool);
    let two = Module::new(
        &engine,
        "(module (memory 1) (table 1 funcref) (table 1 funcref))",
    )?;
    let one = Module::new(&engine, "(module (memory 1) (table 1 funcref))")?;
    for _ in 0..5 {
        let error = instantiate(&engine, &two).unwrap_err();
        assert!(error.is::<PoolConcurrencyLimitError>(), "{error:?}");
        instantiate(&engine, &one)?;
    }
    assert_eq!(metrics(&engine).memories(), 0);
    assert_eq!(metrics(&engine).tables(), 0);
    assert_eq!(metrics(&engine).core_instances(), 0);
    // A segment that does not fit: the instance exists as long as the store.
    let traps = r#"(module (memory 1) (data (i32.const 65536) "x"))"#;
    let traps = Module::new(&engine, traps)?;
    for _ in 0..5 {
        assert!(instantiate(&engine, &traps).unwrap_err().is::<Trap>());
    }
    assert_eq!(metrics(&engine).core_instances(), 0);
    Ok(())
}

#[test]
fn modules_that_never_fit_do_not_compile() {
    let mut pool = small_pool(2);
    pool.max_core_instance_size(1000);
    let engine = configured(pool, |config| {
        config.wasm_memory64(true);
    });
    let globals = "(global (mut i64) (i64.const 0))".repeat(200);
    let cases = [
        ("(memory 1) (memory 1)", "max_memories_per_module"),
        ("(memory 17)", "max_memory_size"),
        ("(memory i64 0x100000000)", "max_memory_size"),
        (
            "(table 1 funcref) (table 1 externref)",
            "max_tables_per_module",
        ),
        ("(table 1001 funcref)", "table_elements"),
        (globals.as_str(), "max_core_instance_size"),
    ];
    for (fields, option) in cases {
        let text = message(Module::new(&engine, format!("(module {fields})")));
        assert!(
            text.contains(&format!("`PoolingAllocationConfig::{option}`")),
            "{text}"
        );
    }
    let text = message(Module::new(&engine, format!("(module {globals})")));
    assert!(text.contains("200 globals"), "{text}");
    // What is imported is of somebody else, and what is shared is not the pool's.
    for fields in [
        r#"(memory 1) (import "" "" (memory 1)) (import "" "" (table 1 funcref)) (table 1000 funcref)"#,
        r#"(memory 1) (memory 1 100 shared)"#,
        "(memory 16)",
    ] {
        let imports_first = fields.replace("(memory 1) (import", "(import");
        Module::new(&engine, format!("(module {imports_first})")).unwrap();
    }
}

#[test]
fn growth_ends_with_the_slot() -> Result<()> {
    let mut pool = small_pool(1);
    pool.max_memory_size(3 << 16).table_elements(7);
    for signals in [true, false] {
        let engine = configured(pool.clone(), |config| {
            config.signals_based_traps(signals);
        });
        let wat = r#"(module
            (memory (export "memory") 1)
            (table (export "table") 2 funcref)
            (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
            (func (export "load") (param i32) (result i32) (i32.load8_u (local.get 0)))
            (func (export "grow table") (param i32) (result i32)
                (table.grow (ref.null func) (local.get 0))))"#;
        let module = Module::new(&engine, wat)?;
        let (mut store, instance) = instantiate(&engine, &module)?;
        let [grow, grow_table, load] = ["grow", "grow table", "load"].map(|name| {
            instance
                .get_typed_func::<i32, i32>(&mut store, name)
                .unwrap()
        });
        assert_eq!(grow.call(&mut store, 3)?, -1);
        assert_eq!(grow.call(&mut store, 2)?, 1);
        assert_eq!(grow.call(&mut store, 1)?, -1);
        assert_eq!(load.call(&mut store, (3 << 16) - 1)?, 0);
        assert!(load.call(&mut store, 3 << 16).unwrap_err().is::<Trap>());
        assert_eq!(grow_table.call(&mut store, 6)?, -1);
        assert_eq!(grow_table.call(&mut store, 5)?, 2);
        assert_eq!(grow_table.call(&mut store, 1)?, -1);
        let memory = instance.get_memory(&mut store, "memory").unwrap();
        assert!(memory.grow(&mut store, 1).is_err());
    }
    Ok(())
}

/// Sets options.
type Set = fn(&mut PoolingAllocationConfig);

#[test]
fn impossible_pools_are_refused() {
    let cases: [(Set, &str); 4] = [
        (
            |pool| _ = pool.total_memories(u32::MAX),
            "PoolingAllocationConfig::total_memories(4294967295)",
        ),
        (
            |pool| _ = pool.max_memory_size(usize::MAX),
            "PoolingAllocationConfig::max_memory_size",
        ),
        (
            |pool| _ = pool.table_elements(usize::MAX / 4),
            "PoolingAllocationConfig::table_elements",
        ),
        (
            |pool| _ = pool.table_elements(1 << 40),
            "PoolingAllocationConfig::total_tables(1000)",
        ),
    ];
    for (set, wanted) in cases {
        let mut pool = PoolingAllocationConfig::new();
        set(&mut pool);
        let text = message(Engine::new(Config::new().allocation_strategy(pool)));
        assert!(text.contains(wanted) && text.contains("lower"), "{text}");
    }
}

#[test]
fn items_of_the_host_are_not_the_pools() -> Result<()> {
    let engine = engine(small_pool(0));
    let mut store = Store::new(&engine, ());
    for _ in 0..10 {
        let memory = Memory::new(&mut store, MemoryType::new(100, None))?;
        memory.grow(&mut store, 100)?;
        Table::new(
            &mut store,
            TableType::new(RefType::FUNCREF, 5000, None),
            Ref::Func(None),
        )?;
        SharedMemory::new(&engine, MemoryType::shared(1, 100))?;
    }
    assert_eq!(metrics(&engine).core_instances(), 0);
    Ok(())
}
