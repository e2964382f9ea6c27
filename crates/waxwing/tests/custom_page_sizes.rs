//! Memories whose pages have one byte.

use waxwing::*;

/// Configurations in which accesses are checked in different ways.
fn engines() -> Vec<(&'static str, Engine)> {
    type Setup = fn(&mut Config);
    let setups: [(&str, Setup); 5] = [
        ("guards", |_| {}),
        ("moving", |c| {
            c.memory_reservation(0).memory_reservation_for_growth(0);
        }),
        ("no guards, copied images", |c| {
            c.memory_reservation(0)
                .memory_guard_size(0)
                .memory_init_cow(false);
        }),
        ("no signals", |c| {
            c.signals_based_traps(false);
        }),
        ("unoptimized", |c| {
            c.cranelift_opt_level(OptLevel::None);
        }),
    ];
    let make = |(name, setup): (_, Setup)| {
        let mut config = Config::new();
        config
            .wasm_custom_page_sizes(true)
            .wasm_memory64(true)
            .cranelift_opt_level(OptLevel::Speed);
        setup(&mut config);
        (name, Engine::new(&config).unwrap())
    };
    setups.into_iter().map(make).collect()
}

fn trap_of(error: &Error) -> Trap {
    *error
        .downcast_ref()
        .unwrap_or_else(|| panic!("no trap: {error:?}"))
}

#[test]
fn bounds_are_exact_before_and_after_growth() -> Result<()> {
    for (name, engine) in engines() {
        for (size, max) in [(0, 9), (5, 70_000), (4096, 4097), (70_001, 1 << 20)] {
            let module = Module::new(
                &engine,
                format!(
                    r#"(module
                        (memory (export "memory") {size} {max} (pagesize 1))
                        (func (export "load8") (param i32) (result i32)
                            (i32.load8_u (local.get 0)))
                        (func (export "load64") (param i32) (result i64)
                            (i64.load (local.get 0)))
                        (func (export "store16") (param i32)
                            (i32.store16 (local.get 0) (i32.const 0xabcd)))
                        (func (export "size") (result i32) memory.size)
                        (func (export "grow") (param i32) (result i32)
                            (memory.grow (local.get 0)))
                        (func (export "fill") (param i32 i32)
                            (memory.fill (local.get 0) (i32.const 7) (local.get 1))))"#
                ),
            )?;
            let mut store = Store::new(&engine, ());
            let instance = Instance::new(&mut store, &module, &[])?;
            let memory = instance.get_memory(&mut store, "memory").unwrap();
            assert_eq!(memory.page_size(&store), 1);
            assert_eq!(memory.page_size_log2(&store), 0);
            let load8 = instance.get_typed_func::<u32, u32>(&mut store, "load8")?;
            let load64 = instance.get_typed_func::<u32, u64>(&mut store, "load64")?;
            let store16 = instance.get_typed_func::<u32, ()>(&mut store, "store16")?;
            let get_size = instance.get_typed_func::<(), u32>(&mut store, "size")?;
            let grow = instance.get_typed_func::<u32, i32>(&mut store, "grow")?;
            let fill = instance.get_typed_func::<(u32, u32), ()>(&mut store, "fill")?;
            let mut size = size;
            for delta in [0, 1, 3] {
                let what = format!("{size} + {delta} with {name}");
                let grown = grow.call(&mut store, delta)?;
                if size + delta <= max {
                    assert_eq!(grown, size as i32, "{what}");
                    size += delta;
                } else {
                    assert_eq!(grown, -1, "{what}");
                }
                assert_eq!(get_size.call(&mut store, ())?, size, "{what}");
                assert_eq!(memory.size(&store), u64::from(size), "{what}");
                assert_eq!(memory.data(&store).len(), size as usize, "{what}");
                for at in size.saturating_sub(12)..size + 12 {
                    let end = |bytes| at.checked_add(bytes).is_some_and(|end| end <= size);
                    let loaded = load8.call(&mut store, at);
                    assert_eq!(loaded.is_ok(), end(1), "{at} {what}");
                    if let Err(error) = loaded {
                        assert_eq!(trap_of(&error), Trap::MemoryOutOfBounds);
                    }
                    assert_eq!(load64.call(&mut store, at).is_ok(), end(8), "{at} {what}");
                    assert_eq!(store16.call(&mut store, at).is_ok(), end(2), "{at} {what}");
                    assert_eq!(
                        fill.call(&mut store, (at, 3)).is_ok(),
                        end(3),
                        "{at} {what}"
                    );
                }
                for at in [0xffff, 0x1_0000, 0x7fff_ffff, u32::MAX - 7, u32::MAX] {
                    if at > size {
                        assert!(load8.call(&mut store, at).is_err(), "{at} {what}");
                        assert!(load64.call(&mut store, at).is_err(), "{at} {what}");
                    }
                }
            }
        }
    }
    Ok(())
}

#[test]
fn images_fit_memories_that_end_within_a_page() -> Result<()> {
    for (name, engine) in engines() {
        for index in ["", "i64"] {
            let constant = if index == "i64" {
                "i64.const"
            } else {
                "i32.const"
            };
            let module = Module::new(
                &engine,
                format!(
                    r#"(module
                        (memory (export "memory") {index} 5003 (pagesize 1))
                        (data ({constant} 0) "first")
                        (data ({constant} 4998) "last!"))"#
                ),
            )?;
            let mut store = Store::new(&engine, ());
            for _ in 0..2 {
                let instance = Instance::new(&mut store, &module, &[])?;
                let memory = instance.get_memory(&mut store, "memory").unwrap();
                let bytes = memory.data(&store);
                assert_eq!(bytes.len(), 5003);
                assert_eq!(
                    (&bytes[..5], &bytes[4998..]),
                    (&b"first"[..], &b"last!"[..])
                );
                assert!(bytes[5..4998].iter().all(|byte| *byte == 0));
                // What comes after the end is zeros when the memory grows.
                assert_eq!(memory.grow(&mut store, 7000)?, 5003, "{name}");
                let bytes = memory.data(&store);
                assert_eq!(&bytes[4998..5003], b"last!");
                assert!(bytes[5003..].iter().all(|byte| *byte == 0));
                memory.data_mut(&mut store).fill(1);
            }
            // One byte too far.
            let module = Module::new(
                &engine,
                format!(
                    "(module (memory {index} 5003 (pagesize 1)) (data ({constant} 4999) \"last!\"))"
                ),
            )?;
            let error = Instance::new(&mut store, &module, &[]).unwrap_err();
            assert_eq!(trap_of(&error), Trap::MemoryOutOfBounds, "{name}");
        }
    }
    Ok(())
}

#[test]
fn segments_at_the_end_of_the_address_space_are_errors() -> Result<()> {
    for (_, engine) in engines() {
        let module = Module::new(
            &engine,
            r#"(module
                (memory i64 0xffff_ffff_ffff_ffff (pagesize 1))
                (data (i64.const 0xffff_ffff_ffff_fff0) "x"))"#,
        )?;
        let mut store = Store::new(&engine, ());
        let error = Instance::new(&mut store, &module, &[]).unwrap_err();
        let error = format!("{error:#}");
        assert!(error.contains("failed to create a memory of"), "{error}");
    }
    Ok(())
}

#[test]
fn types_say_their_page_size() -> Result<()> {
    let engine = Engine::new(Config::new().wasm_custom_page_sizes(true))?;
    let mut store = Store::new(&engine, ());
    let bytes = MemoryType::builder()
        .page_size_log2(0)
        .min(100)
        .max(Some(70_000))
        .build()?;
    assert_eq!((bytes.page_size(), bytes.page_size_log2()), (1, 0));
    let memory = Memory::new(&mut store, bytes)?;
    assert_eq!(memory.data_size(&store), 100);
    assert_eq!(memory.grow(&mut store, 69_900)?, 100);
    assert!(memory.grow(&mut store, 1).is_err());
    assert_eq!(memory.ty(&store).page_size(), 1);

    let module = |ty: &str| {
        let wat = format!("(module (import \"\" \"m\" (memory {ty})))");
        Module::new(&engine, wat)
    };
    let good = module("70000 70000 (pagesize 1)")?;
    let ty = good.imports().next().unwrap().ty();
    assert_eq!(ty.unwrap_memory().page_size(), 1);
    Instance::new(&mut store, &good, &[memory.into()])?;
    for other in ["1", "1 (pagesize 65536)"] {
        let error = Instance::new(&mut store, &module(other)?, &[memory.into()]).unwrap_err();
        let error = format!("{error:#}");
        assert!(error.contains("pages of 0x1"), "{error}");
    }
    // 64 KiB can be said too, and other sizes are not valid.
    let usual = Memory::new(&mut store, MemoryType::new(1, None))?;
    Instance::new(&mut store, &module("1 (pagesize 65536)")?, &[usual.into()])?;
    assert!(module("1 (pagesize 4096)").is_err());
    Ok(())
}

#[test]
fn limiters_are_asked_in_bytes() -> Result<()> {
    let engine = Engine::new(Config::new().wasm_custom_page_sizes(true))?;
    let limits = StoreLimitsBuilder::new().memory_size(1000).build();
    let mut store = Store::new(&engine, limits);
    store.limiter(|limits| limits);
    let module = Module::new(
        &engine,
        r#"(module
            (memory 990 (pagesize 1))
            (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0))))"#,
    )?;
    let instance = Instance::new(&mut store, &module, &[])?;
    let grow = instance.get_typed_func::<u32, i32>(&mut store, "grow")?;
    assert_eq!(grow.call(&mut store, 11)?, -1);
    assert_eq!(grow.call(&mut store, 10)?, 990);
    assert_eq!(grow.call(&mut store, 1)?, -1);
    assert_eq!(grow.call(&mut store, u32::MAX)?, -1);
    Ok(())
}

#[test]
fn small_pages_can_be_shared() -> Result<()> {
    for (name, engine) in engines() {
        let module = Module::new(
            &engine,
            r#"(module
                (import "" "m" (memory 10 5000 shared (pagesize 1)))
                (func (export "add") (param i32) (result i32)
                    (i32.atomic.rmw.add (local.get 0) (i32.const 2)))
                (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0))))"#,
        )?;
        let ty = module.imports().next().unwrap().ty();
        let memory = SharedMemory::new(&engine, ty.unwrap_memory().clone())?;
        assert_eq!((memory.page_size(), memory.size()), (1, 10));
        let mut store = Store::new(&engine, ());
        let instance = Instance::new(&mut store, &module, &[memory.clone().into()])?;
        let add = instance.get_typed_func::<u32, u32>(&mut store, "add")?;
        let grow = instance.get_typed_func::<u32, i32>(&mut store, "grow")?;
        assert_eq!(add.call(&mut store, 4)?, 0, "{name}");
        let trap = add.call(&mut store, 8).unwrap_err();
        assert_eq!(trap_of(&trap), Trap::MemoryOutOfBounds, "{name}");
        assert_eq!(grow.call(&mut store, 2)?, 10);
        assert_eq!(add.call(&mut store, 8)?, 0, "{name}");
        assert_eq!(memory.grow(4988)?, 12);
        assert_eq!(add.call(&mut store, 4996)?, 0, "{name}");
        let trap = add.call(&mut store, 5000).unwrap_err();
        assert_eq!(trap_of(&trap), Trap::MemoryOutOfBounds, "{name}");
        assert_eq!(grow.call(&mut store, 1)?, -1);
    }
    Ok(())
}
