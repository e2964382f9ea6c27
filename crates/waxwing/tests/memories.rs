//! Linear memories in the hands of the host.

use waxwing::*;

#[test]
fn accesses_are_checked() -> Result<()> {
    let mut store = Store::<()>::default();
    let memory = Memory::new(&mut store, MemoryType::new(1, Some(2)))?;
    memory.write(&mut store, 65532, &[1, 2, 3, 4])?;
    let mut buffer = [0; 2];
    memory.read(&store, 65533, &mut buffer)?;
    assert_eq!(buffer, [2, 3]);
    for offset in [65535, 65536, usize::MAX] {
        let error = memory.read(&store, offset, &mut buffer).unwrap_err();
        assert_eq!(error.to_string(), "out of bounds memory access");
        memory.write(&mut store, offset, &[9, 9]).unwrap_err();
    }
    assert_eq!(
        memory.data(&store)[65532..],
        [1, 2, 3, 4],
        "failed writes write nothing"
    );
    memory.read(&store, 65536, &mut [])?;
    assert!(memory.read(&store, 65537, &mut []).is_err());
    Ok(())
}

#[test]
fn growth_keeps_contents_and_obeys_the_type() -> Result<()> {
    let mut store = Store::<()>::default();
    let ty = MemoryType::new(1, Some(3));
    let memory = Memory::new(&mut store, ty)?;
    assert_eq!((memory.size(&store), memory.data_size(&store)), (1, 65536));
    assert_eq!(
        (memory.page_size(&store), memory.page_size_log2(&store)),
        (65536, 16)
    );
    memory.data_mut(&mut store)[65535] = 7;
    assert_eq!(memory.grow(&mut store, 2)?, 1);
    assert_eq!(memory.data(&store)[65535..65538], [7, 0, 0]);
    assert_eq!(memory.data(&store).len(), 3 * 65536);
    assert_eq!(memory.grow(&mut store, 0)?, 3);
    for delta in [1, 65536, u64::MAX] {
        let error = memory.grow(&mut store, delta).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("failed to grow memory by `{delta}`")
        );
    }
    let ty = memory.ty(&store);
    assert_eq!((ty.minimum(), ty.maximum()), (1, Some(3)));
    Ok(())
}

#[test]
fn moving_memories_are_seen_by_wasm_and_host() -> Result<()> {
    // Without a reservation every growth moves the memory.
    let mut config = Config::new();
    config
        .memory_reservation(0)
        .memory_reservation_for_growth(0);
    let engine = Engine::new(&config)?;
    let module = Module::new(
        &engine,
        r#"(module
            (import "" "grow" (func $grow (result i32)))
            (memory (export "memory") 1)
            (func (export "run") (result i32)
                (i32.store (i32.const 0) (i32.const 77))
                (drop (call $grow))
                (drop (memory.grow (i32.const 1)))
                (i32.store (i32.const 0x2fffc) (i32.const 78))
                (i32.add (i32.load (i32.const 0)) (i32.load (i32.const 0x2fffc)))))"#,
    )?;
    let mut store = Store::new(&engine, ());
    let grow = Func::wrap(&mut store, |mut caller: Caller<'_, ()>| -> Result<u32> {
        let memory = caller
            .get_export("memory")
            .and_then(Extern::into_memory)
            .unwrap();
        Ok(memory.grow(&mut caller, 1)? as u32)
    });
    let instance = Instance::new(&mut store, &module, &[grow.into()])?;
    let run = instance.get_typed_func::<(), u32>(&mut store, "run")?;
    assert_eq!(run.call(&mut store, ())?, 155);
    let memory = instance.get_memory(&mut store, "memory").unwrap();
    assert_eq!(memory.size(&store), 3);
    assert_eq!(memory.data(&store)[0x2fffc], 78);
    Ok(())
}

#[test]
fn memory_and_data_are_borrowed_together() -> Result<()> {
    let engine = Engine::default();
    let mut store = Store::new(&engine, vec![1_u8, 2, 3]);
    let memory = Memory::new(&mut store, MemoryType::new(1, None))?;
    let (bytes, data) = memory.data_and_store_mut(&mut store);
    bytes[..3].copy_from_slice(data);
    data.push(bytes[1]);
    assert_eq!(store.data()[..], [1, 2, 3, 2]);
    assert_eq!(memory.data(&store)[..4], [1, 2, 3, 0]);
    // SAFETY: the memory is not used otherwise meanwhile, and has this byte.
    unsafe { *memory.data_ptr(&store).add(3) = 4 };
    assert_eq!(memory.data(&store)[..4], [1, 2, 3, 4]);
    Ok(())
}

#[test]
fn imported_memories_are_shared_between_instances() -> Result<()> {
    let engine = Engine::default();
    let module = Module::new(
        &engine,
        r#"(module
            (import "" "" (memory $memory 1))
            (export "memory" (memory $memory))
            (func (export "get") (param i32) (result i32) (i32.load8_u (local.get 0))))"#,
    )?;
    let mut store = Store::new(&engine, ());
    let memory = Memory::new(&mut store, MemoryType::new(1, None))?;
    let a = Instance::new(&mut store, &module, &[memory.into()])?;
    let reexported = a.get_memory(&mut store, "memory").unwrap();
    let b = Instance::new(&mut store, &module, &[reexported.into()])?;
    reexported.write(&mut store, 9, &[5])?;
    for instance in [a, b] {
        let get = instance.get_typed_func::<u32, u32>(&mut store, "get")?;
        assert_eq!(get.call(&mut store, 9)?, 5);
    }
    assert_eq!(memory.data(&store)[9], 5);
    Ok(())
}
