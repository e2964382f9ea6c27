//! Memory protection keys.

use super::*;

fn keyed(keys: usize) -> PoolingAllocationConfig {
    let mut pool = small_pool(60);
    pool.memory_protection_keys(MpkEnabled::Enable)
        .max_memory_protection_keys(keys)
        .max_memories_per_module(2);
    pool
}

const WAT: &str = r#"(module
    (import "" "host" (func $host))
    (memory (export "memory") 1)
    (memory 1)
    (func (export "load") (param i32) (result i32) (i32.load (local.get 0)))
    (func (export "call") (param i32) (result i32)
        (call $host) (i32.load (local.get 0))))"#;

#[test]
fn keys_are_used_only_where_they_are() {
    let there = PoolingAllocationConfig::are_memory_protection_keys_available();
    let result = Engine::new(Config::new().allocation_strategy(keyed(1)));
    if !there {
        let text = message(result);
        assert!(text.contains("memory_protection_keys"), "{text}");
    } else {
        result.unwrap();
    }
    let mut pool = keyed(0);
    let text = message(Engine::new(Config::new().allocation_strategy(pool.clone())));
    assert!(
        !there || text.contains("max_memory_protection_keys(0)"),
        "{text}"
    );
    pool.memory_protection_keys(MpkEnabled::Auto);
    Engine::new(Config::new().allocation_strategy(pool.clone())).unwrap();
    pool.memory_protection_keys(MpkEnabled::Disable);
    Engine::new(Config::new().allocation_strategy(pool)).unwrap();
}

#[test]
fn slots_guard_each_other() -> Result<()> {
    if !PoolingAllocationConfig::are_memory_protection_keys_available() {
        return Ok(());
    }
    let engine = engine(keyed(4));
    let module = Module::new(&engine, WAT)?;
    let mut places = Vec::new();
    let mut stores: Vec<(Store<()>, Instance)> = (0..6)
        .map(|number| {
            let mut store = Store::new(&engine, ());
            let host = Func::wrap(&mut store, || {});
            let instance = Instance::new(&mut store, &module, &[host.into()]).unwrap();
            let memory = instance.get_memory(&mut store, "memory").unwrap();
            memory.data_mut(&mut store).fill(number);
            places.push(memory.data_ptr(&store) as usize);
            (store, instance)
        })
        .collect();
    // Some memories are within what a 32-bit index reaches from others: keys alone protect them.
    let mut within_reach = 0;
    for (number, (store, instance)) in stores.iter_mut().enumerate() {
        let load = instance.get_typed_func::<u32, u32>(&mut *store, "load")?;
        let call = instance.get_typed_func::<u32, u32>(&mut *store, "call")?;
        let expected = u32::from_ne_bytes([number as u8; 4]);
        let distances = places
            .iter()
            .map(|place| place.wrapping_sub(places[number]));
        for distance in distances.filter_map(|distance| u32::try_from(distance).ok()) {
            if distance == 0 {
                continue;
            }
            for func in [&load, &call] {
                let trap = func.call(&mut *store, distance).unwrap_err();
                assert_eq!(trap.downcast_ref(), Some(&Trap::MemoryOutOfBounds));
                assert_eq!(func.call(&mut *store, 0)?, expected);
            }
            within_reach += 1;
        }
    }
    assert!(within_reach > 0);
    Ok(())
}

#[test]
fn the_host_may_use_all_memories_everywhere() -> Result<()> {
    if !PoolingAllocationConfig::are_memory_protection_keys_available() {
        return Ok(());
    }
    // A thread that is older than the keys.
    let (to_thread, for_thread) = std::sync::mpsc::channel::<(Store<()>, Instance)>();
    let thread = std::thread::spawn(move || {
        while let Ok((mut store, instance)) = for_thread.recv() {
            let memory = instance.get_memory(&mut store, "memory").unwrap();
            assert_eq!(memory.data(&store)[100], 1);
            memory.data_mut(&mut store)[0..4].fill(9);
            let load = instance
                .get_typed_func::<u32, u32>(&mut store, "call")
                .unwrap();
            assert_eq!(load.call(&mut store, 0).unwrap(), 0x0909_0909);
        }
    });
    let mut pool = keyed(3);
    pool.linear_memory_keep_resident(1 << 16);
    let engine = engine(pool);
    let module = Module::new(&engine, WAT)?;
    let (other, other_instance) = {
        let mut store = Store::new(&engine, ());
        let host = Func::wrap(&mut store, || {});
        let instance = Instance::new(&mut store, &module, &[host.into()])?;
        (store, instance)
    };
    let other = std::sync::Arc::new(std::sync::Mutex::new((other, other_instance)));
    for round in 0..10u8 {
        let mut store = Store::new(&engine, ());
        let other = std::sync::Arc::clone(&other);
        // The host's function uses the memory of another store, of another key.
        let host = Func::wrap(&mut store, move || {
            let (store, instance) = &mut *other.lock().unwrap();
            let memory = instance.get_memory(&mut *store, "memory").unwrap();
            memory.data_mut(&mut *store)[7] = round;
            let load = instance
                .get_typed_func::<u32, u32>(&mut *store, "load")
                .unwrap();
            assert_eq!(load.call(&mut *store, 4).unwrap(), u32::from(round) << 24);
        });
        let instance = Instance::new(&mut store, &module, &[host.into()])?;
        let memory = instance.get_memory(&mut store, "memory").unwrap();
        memory.data_mut(&mut store).fill(1);
        let call = instance.get_typed_func::<u32, u32>(&mut store, "call")?;
        assert_eq!(call.call(&mut store, 0)?, 0x0101_0101);
        to_thread.send((store, instance)).unwrap();
    }
    drop(to_thread);
    thread.join().unwrap();
    Ok(())
}

#[test]
fn a_store_has_the_slots_of_one_key() -> Result<()> {
    if !PoolingAllocationConfig::are_memory_protection_keys_available() {
        return Ok(());
    }
    let mut pool = keyed(2);
    pool.total_memories(4).max_memories_per_module(1);
    let engine = engine(pool);
    let module = Module::new(&engine, "(module (memory 1))")?;
    let mut one = Store::new(&engine, ());
    let mut two = Store::new(&engine, ());
    for store in [&mut one, &mut two] {
        Instance::new(&mut *store, &module, &[])?;
        Instance::new(&mut *store, &module, &[])?;
        let error = Instance::new(&mut *store, &module, &[]).unwrap_err();
        assert!(error.is::<PoolConcurrencyLimitError>(), "{error:?}");
    }
    drop(one);
    Instance::new(&mut Store::new(&engine, ()), &module, &[])?;
    Ok(())
}
