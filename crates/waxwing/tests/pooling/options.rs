//! Each option does what it says.

use super::*;

/// How many bytes of address space the process has.
#[cfg(target_os = "linux")]
fn address_space() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = statm.split(' ').next().unwrap().parse().unwrap();
    pages * 4096
}

/// How many of the bytes at an address are resident.
#[cfg(target_os = "linux")]
fn resident(start: *const u8, len: usize) -> usize {
    let mut pages = vec![0u8; len / 4096];
    // SAFETY: there is room for a byte for each page.
    let result = unsafe { libc::mincore(start as *mut libc::c_void, len, pages.as_mut_ptr()) };
    assert_eq!(result, 0);
    pages.iter().filter(|page| **page & 1 != 0).count() * 4096
}

const MEMORY: &str = r#"(module
    (memory (export "memory") 4)
    (func (export "fill") (memory.fill (i32.const 0) (i32.const 7) (i32.const 0x40000))))"#;

#[test]
fn defaults_are_the_documented_ones() {
    let pool = PoolingAllocationConfig::new();
    assert_eq!(pool.get_max_unused_warm_slots(), 100);
    assert_eq!(pool.get_decommit_batch_size(), 1);
    assert!(!pool.get_async_stack_zeroing());
    assert_eq!(pool.get_async_stack_keep_resident(), 0);
    assert_eq!(pool.get_memory_keep_resident(), 0);
    assert_eq!(pool.get_table_keep_resident(), 0);
    assert_eq!(pool.get_total_memories(), 1000);
    assert_eq!(pool.get_total_tables(), 1000);
    assert_eq!(pool.get_total_stacks(), 1000);
    assert_eq!(pool.get_total_core_instances(), 1000);
    assert_eq!(pool.get_total_gc_heaps(), 1000);
    assert_eq!(pool.get_max_core_instance_size(), 1 << 20);
    assert_eq!(pool.get_max_memories_per_module(), 1);
    assert_eq!(pool.get_max_memory_size(), 1 << 32);
    assert_eq!(pool.get_max_tables_per_module(), 1);
    assert_eq!(pool.get_table_elements(), 20_000);
    assert_eq!(pool.get_memory_protection_keys(), MpkEnabled::Disable);
    assert_eq!(pool.get_max_memory_protection_keys(), 16);
    assert_eq!(pool.get_pagemap_scan(), Enabled::Auto);
    let strategy = InstanceAllocationStrategy::default();
    assert!(matches!(strategy, InstanceAllocationStrategy::OnDemand));
    let engine = Engine::default();
    assert!(engine.pooling_allocator_metrics().is_none());
    assert!(engine.get_pooling_config().is_none());
    let mut config = Config::new();
    config.allocation_strategy(InstanceAllocationStrategy::pooling());
    let engine = Engine::new(&config).unwrap();
    assert!(engine.get_pooling_config().is_some());
}

#[test]
fn warm_slots_are_as_many_as_wanted() -> Result<()> {
    for (max, expected) in [(0, 1), (1, 1), (3, 3), (100, 5)] {
        let mut pool = small_pool(20);
        pool.max_unused_warm_slots(max);
        let engine = engine(pool);
        for number in 0..5 {
            let wat = format!("(module (memory 1) (table {number} funcref))");
            let module = Module::new(&engine, wat)?;
            instantiate(&engine, &module)?;
        }
        assert_eq!(metrics(&engine).unused_warm_memories(), expected, "{max}");
        assert_eq!(metrics(&engine).unused_warm_tables(), 1);
    }
    Ok(())
}

#[test]
fn a_module_gets_its_slot_again() -> Result<()> {
    let engine = engine(small_pool(20));
    let modules = [1, 2, 3].map(|pages| {
        let wat = format!(r#"(module (memory (export "memory") {pages}))"#);
        Module::new(&engine, wat).unwrap()
    });
    let place = |module: &Module| {
        let (mut store, instance) = instantiate(&engine, module).unwrap();
        let memory = instance.get_memory(&mut store, "memory").unwrap();
        memory.data_ptr(&store) as usize
    };
    let places = modules.each_ref().map(place);
    assert!(places[0] != places[1] && places[1] != places[2] && places[0] != places[2]);
    for index in [2, 0, 0, 1, 2] {
        assert_eq!(place(&modules[index]), places[index]);
    }
    Ok(())
}

#[test]
fn metrics_count_what_there_is() -> Result<()> {
    let mut pool = small_pool(20);
    pool.decommit_batch_size(4);
    let engine = engine(pool);
    let module = Module::new(&engine, "(module (memory 1) (table 1 externref))")?;
    let one = instantiate(&engine, &module)?;
    let two = instantiate(&engine, &module)?;
    let now = || {
        let metrics = metrics(&engine);
        let counts = (metrics.memories(), metrics.tables());
        (counts, metrics.core_instances(), metrics.stacks())
    };
    assert_eq!(now(), ((2, 2), 2, 0));
    drop(one);
    // What waits to be reset does not count.
    assert_eq!(now(), ((1, 1), 1, 0));
    drop(two);
    assert_eq!(now(), ((0, 0), 0, 0));
    Ok(())
}

#[cfg(target_os = "linux")]
#[test]
fn memory_is_kept_resident_as_far_as_wanted() -> Result<()> {
    for (keep, least) in [(0, 0), (64 << 10, 64 << 10), (1 << 30, 256 << 10)] {
        let mut pool = small_pool(1);
        // The first bytes, whichever were written.
        pool.linear_memory_keep_resident(keep)
            .pagemap_scan(Enabled::No);
        let engine = engine(pool);
        let module = Module::new(&engine, MEMORY)?;
        let (mut store, instance) = instantiate(&engine, &module)?;
        let fill = instance.get_typed_func::<(), ()>(&mut store, "fill")?;
        fill.call(&mut store, ())?;
        let memory = instance.get_memory(&mut store, "memory").unwrap();
        let start = memory.data_ptr(&store);
        assert_eq!(resident(start, 256 << 10), 256 << 10);
        assert_eq!(metrics(&engine).unused_memory_bytes_resident(), 0);
        drop(store);
        assert_eq!(resident(start, 256 << 10), least, "{keep}");
        assert_eq!(metrics(&engine).unused_memory_bytes_resident(), least);
        let (mut store, instance) = instantiate(&engine, &module)?;
        let memory = instance.get_memory(&mut store, "memory").unwrap();
        assert_eq!(memory.data_ptr(&store), start);
        assert!(memory.data(&store).iter().all(|byte| *byte == 0));
        assert_eq!(metrics(&engine).unused_memory_bytes_resident(), 0);
    }
    Ok(())
}

#[cfg(target_os = "linux")]
#[test]
fn written_pages_are_kept_wherever_they_are() -> Result<()> {
    let mut pool = small_pool(1);
    if !PoolingAllocationConfig::is_pagemap_scan_available() {
        pool.pagemap_scan(Enabled::Yes);
        let text = message(Engine::new(Config::new().allocation_strategy(pool)));
        assert!(text.contains("pagemap_scan"), "{text}");
        return Ok(());
    }
    pool.pagemap_scan(Enabled::Yes)
        .linear_memory_keep_resident(3 * 4096);
    let engine = engine(pool);
    let wat = r#"(module (memory (export "memory") 4) (data (i32.const 0x20ffe) "image"))"#;
    let module = Module::new(&engine, wat)?;
    for (pages, kept) in [
        (&[][..], 0),
        (&[0x21, 0x3f], 2),
        (&[1, 0x20, 0x21], 3),
        // The last one is one too many.
        (&[0, 2, 0x20, 0x22], 3),
    ] {
        let (mut store, instance) = instantiate(&engine, &module)?;
        let memory = instance.get_memory(&mut store, "memory").unwrap();
        let start = memory.data_ptr(&store);
        for page in pages {
            memory.data_mut(&mut store)[page * 4096..][..4096].fill(7);
        }
        drop(store);
        let bytes = metrics(&engine).unused_memory_bytes_resident();
        assert_eq!(bytes, kept * 4096, "{pages:?}");
        let (mut store, instance) = instantiate(&engine, &module)?;
        let memory = instance.get_memory(&mut store, "memory").unwrap();
        assert_eq!(memory.data_ptr(&store), start);
        let data = memory.data(&store);
        assert_eq!(&data[0x20ffe..0x21003], b"image");
        assert_eq!(
            data.iter().filter(|byte| **byte != 0).count(),
            5,
            "{pages:?}"
        );
    }
    Ok(())
}

#[test]
fn tables_are_kept_resident_as_far_as_wanted() -> Result<()> {
    for (keep, expected) in [(0, 0), (4096, 4096), (1 << 20, 8000)] {
        let mut pool = small_pool(1);
        pool.table_keep_resident(keep);
        let engine = engine(pool);
        let module = Module::new(&engine, "(module (table 1000 funcref))")?;
        let instance = instantiate(&engine, &module)?;
        assert_eq!(metrics(&engine).unused_table_bytes_resident(), 0);
        drop(instance);
        assert_eq!(metrics(&engine).unused_table_bytes_resident(), expected);
    }
    Ok(())
}

#[cfg(target_os = "linux")]
#[test]
fn resets_wait_for_each_other() -> Result<()> {
    let mut pool = small_pool(20);
    pool.decommit_batch_size(3);
    let engine = engine(pool);
    let module = Module::new(&engine, MEMORY)?;
    let filled = |_| {
        let (mut store, instance) = instantiate(&engine, &module).unwrap();
        let fill = instance
            .get_typed_func::<(), ()>(&mut store, "fill")
            .unwrap();
        fill.call(&mut store, ()).unwrap();
        let memory = instance.get_memory(&mut store, "memory").unwrap();
        (memory.data_ptr(&store) as usize, store)
    };
    let [one, two, three] = [(); 3].map(filled);
    let resident = |start: usize| resident(start as *const u8, 256 << 10);
    let places = [one.0, two.0, three.0];
    drop(one);
    drop(two);
    assert!(places.iter().all(|place| resident(*place) == 256 << 10));
    assert_eq!(metrics(&engine).unused_warm_memories(), 0);
    drop(three);
    assert!(places.iter().all(|place| resident(*place) == 0));
    assert_eq!(metrics(&engine).unused_warm_memories(), 3);
    Ok(())
}

/// Alone in its process would be better: others reserve address space, too. So it is much that is looked for.
#[cfg(target_os = "linux")]
#[test]
fn totals_and_sizes_decide_on_the_reservation() {
    const TERABYTE: usize = 1 << 40;
    let reserved = |set: fn(&mut PoolingAllocationConfig, &mut Config)| {
        let mut pool = small_pool(1);
        let mut config = Config::new();
        set(&mut pool, &mut config);
        let before = address_space();
        let engine = Engine::new(config.allocation_strategy(pool)).unwrap();
        let after = address_space();
        drop(engine);
        after.saturating_sub(before)
    };
    let memories = reserved(|pool, _| _ = pool.total_memories(3000));
    assert!(memories > 17 * TERABYTE, "{memories:#x}");
    let large = reserved(|pool, _| _ = pool.max_memory_size(18 * TERABYTE));
    assert!(large > 17 * TERABYTE, "{large:#x}");
    let small = reserved(|pool, config| {
        pool.total_memories(3000);
        config.memory_reservation(0).memory_guard_size(0);
    });
    assert!(small < 2 * TERABYTE, "{small:#x}");
}
