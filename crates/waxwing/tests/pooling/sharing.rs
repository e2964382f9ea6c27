//! A pool is used by many at once, in any order.

use super::*;
use std::sync::Arc;
use std::thread;

#[test]
fn threads_share_a_pool() -> Result<()> {
    const THREADS: usize = 8;
    for (batch_size, keep) in [(1, 0), (5, 0), (1, 100_000), (4, 4096)] {
        // Enough for all threads, and no more.
        let mut pool = small_pool(THREADS as u32);
        pool.decommit_batch_size(batch_size)
            .linear_memory_keep_resident(keep)
            .max_unused_warm_slots(3);
        let engine = engine(pool);
        let modules: Arc<[Module]> = (0..5)
            .map(|number| {
                let wat = format!(
                    r#"(module (memory (export "memory") {}) (table 10 funcref)
                        (data (i32.const {}) "module {number}")
                        (func (export "grow") (result i32) (memory.grow (i32.const 1))))"#,
                    1 + number % 2,
                    number * 5000,
                );
                Module::new(&engine, wat).unwrap()
            })
            .collect();
        let work = |seed: usize| {
            let (engine, modules) = (engine.clone(), Arc::clone(&modules));
            thread::spawn(move || {
                for round in 0..200 {
                    let number = (seed * 3 + round * (seed + 1)) % modules.len();
                    let (mut store, instance) = instantiate(&engine, &modules[number]).unwrap();
                    if round % 3 == 0 {
                        let grow = instance
                            .get_typed_func::<(), i32>(&mut store, "grow")
                            .unwrap();
                        grow.call(&mut store, ()).unwrap();
                    }
                    let memory = instance.get_memory(&mut store, "memory").unwrap();
                    let data = memory.data_mut(&mut store);
                    let text = format!("module {number}");
                    let start = number * 5000;
                    assert_eq!(&data[start..start + text.len()], text.as_bytes());
                    data[start..start + text.len()].fill(0);
                    assert!(data.iter().all(|byte| *byte == 0), "{number} {round}");
                    data.fill(seed as u8 + 1);
                }
            })
        };
        let threads: Vec<_> = (0..THREADS).map(work).collect();
        for thread in threads {
            thread.join().unwrap();
        }
        let metrics = metrics(&engine);
        assert_eq!((metrics.memories(), metrics.tables()), (0, 0));
        assert_eq!(metrics.core_instances(), 0);
    }
    Ok(())
}

#[test]
fn stores_outlive_engines_and_modules_stores() -> Result<()> {
    let engine = engine(small_pool(4));
    let wat = r#"(module (memory (export "memory") 1) (data (i32.const 5) "there"))"#;
    let module = Module::new(&engine, wat)?;
    let one = instantiate(&engine, &module)?;
    let (mut store, instance) = instantiate(&engine, &module)?;
    drop(module);
    drop(engine);
    drop(one);
    let memory = instance.get_memory(&mut store, "memory").unwrap();
    assert_eq!(&memory.data(&store)[5..10], b"there");
    thread::spawn(move || drop(store)).join().unwrap();
    Ok(())
}

/// Mappings of images in this process.
#[cfg(target_os = "linux")]
fn mapped_at(address: usize) -> bool {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    maps.lines().any(|line| {
        let (range, rest) = line.split_once(' ').unwrap();
        let (start, end) = range.split_once('-').unwrap();
        let parse = |text| usize::from_str_radix(text, 16).unwrap();
        (parse(start)..parse(end)).contains(&address) && rest.contains("waxwing-memory-image")
    })
}

#[cfg(target_os = "linux")]
#[test]
fn a_module_that_is_gone_leaves_nothing_mapped() -> Result<()> {
    let engine = engine(small_pool(4));
    let wat = r#"(module (memory (export "memory") 1) (data (i32.const 5) "there"))"#;
    let module = Module::new(&engine, wat)?;
    let place = {
        let (mut store, instance) = instantiate(&engine, &module)?;
        let memory = instance.get_memory(&mut store, "memory").unwrap();
        memory.data_ptr(&store) as usize
    };
    assert!(mapped_at(place));
    drop(module);
    assert!(!mapped_at(place));
    let other = Module::new(&engine, r#"(module (memory (export "memory") 1))"#)?;
    let (mut store, instance) = instantiate(&engine, &other)?;
    let memory = instance.get_memory(&mut store, "memory").unwrap();
    assert!(memory.data(&store).iter().all(|byte| *byte == 0));
    Ok(())
}

#[test]
fn one_store_has_many_instances() -> Result<()> {
    let engine = engine(small_pool(10));
    let module = Module::new(&engine, "(module (memory 1) (table 1 funcref))")?;
    for _ in 0..3 {
        let mut store = Store::new(&engine, ());
        for _ in 0..10 {
            Instance::new(&mut store, &module, &[])?;
        }
        let error = Instance::new(&mut store, &module, &[]).unwrap_err();
        assert!(error.is::<PoolConcurrencyLimitError>());
    }
    Ok(())
}
