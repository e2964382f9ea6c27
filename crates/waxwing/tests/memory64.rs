//! Memories and tables with 64-bit indices.

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

const MEMORY: &str = r#"(module
    (memory (export "memory") i64 1 4)
    (data (i64.const 0xfffc) "wax!")
    (data $more "wing")
    (func (export "load") (param i64) (result i32) (i32.load (local.get 0)))
    (func (export "load_far") (param i64) (result i32)
        (i32.load offset=0x100000000 (local.get 0)))
    (func (export "load_last") (param i64) (result i32)
        (i32.load8_u offset=0xffffffffffffffff (local.get 0)))
    (func (export "store") (param i64 i32) (i32.store (local.get 0) (local.get 1)))
    (func (export "size") (result i64) memory.size)
    (func (export "grow") (param i64) (result i64) (memory.grow (local.get 0)))
    (func (export "fill") (param i64 i32 i64)
        (memory.fill (local.get 0) (local.get 1) (local.get 2)))
    (func (export "copy") (param i64 i64 i64)
        (memory.copy (local.get 0) (local.get 1) (local.get 2)))
    (func (export "init") (param i64 i32 i32)
        (memory.init $more (local.get 0) (local.get 1) (local.get 2))))"#;

#[test]
fn accesses_are_checked_in_64_bits() -> Result<()> {
    for (name, engine) in engines() {
        let module = Module::new(&engine, MEMORY)?;
        let mut store = Store::new(&engine, ());
        let instance = Instance::new(&mut store, &module, &[])?;
        let mut load = |func: &str, at: u64| {
            let func = instance
                .get_typed_func::<u64, u32>(&mut store, func)
                .unwrap();
            func.call(&mut store, at).map_err(|error| trap_of(&error))
        };
        let out = Err(Trap::MemoryOutOfBounds);
        assert_eq!(load("load", 0xfffc), Ok(u32::from_le_bytes(*b"wax!")));
        for at in [
            0xfffd,
            0x1_0000,
            0x1_fffc,
            0xffff_fffc,
            0x1_0000_0000,
            0x1_0000_fffc,
            1 << 40,
            1 << 63,
            u64::MAX - 3,
            u64::MAX,
        ] {
            assert_eq!(load("load", at), out, "{at:#x} with {name}");
            assert_eq!(load("load_far", at), out, "{at:#x} with {name}");
            assert_eq!(load("load_last", at), out, "{at:#x} with {name}");
        }
        // Sums are not taken modulo 2^64.
        assert_eq!(load("load_far", 0_u64.wrapping_sub(1 << 32)), out, "{name}");
        assert_eq!(load("load_last", 1), out, "{name}");
        assert_eq!(load("load_last", 0), out, "{name}");
    }
    Ok(())
}

#[test]
fn memories_grow_and_are_copied_with_64_bit_operands() -> Result<()> {
    for (name, engine) in engines() {
        let module = Module::new(&engine, MEMORY)?;
        let mut store = Store::new(&engine, ());
        let instance = Instance::new(&mut store, &module, &[])?;
        let memory = instance.get_memory(&mut store, "memory").unwrap();
        assert!(memory.ty(&store).is_64());
        let size = instance.get_typed_func::<(), u64>(&mut store, "size")?;
        let grow = instance.get_typed_func::<u64, i64>(&mut store, "grow")?;
        assert_eq!(grow.call(&mut store, 1)?, 1);
        for delta in [3, 1 << 32, 1 << 48, u64::MAX] {
            assert_eq!(grow.call(&mut store, delta)?, -1, "{delta} with {name}");
        }
        assert_eq!(memory.grow(&mut store, 1)?, 2);
        assert_eq!(size.call(&mut store, ())?, 3);
        assert_eq!(&memory.data(&store)[0xfffc..0x1_0000], b"wax!");

        let fill = instance.get_typed_func::<(u64, u32, u64), ()>(&mut store, "fill")?;
        let copy = instance.get_typed_func::<(u64, u64, u64), ()>(&mut store, "copy")?;
        let init = instance.get_typed_func::<(u64, u32, u32), ()>(&mut store, "init")?;
        copy.call(&mut store, (0x2_fff8, 0xfffc, 4))?;
        init.call(&mut store, (0x2_fffb, 0, 4))?;
        fill.call(&mut store, (0x2_ffff, 0x21, 1))?;
        assert_eq!(&memory.data(&store)[0x2_fff8..], b"waxwing!");
        for (at, len) in [(0x2_fff9, 8), (1 << 32, 1), (u64::MAX, 2), (2, u64::MAX)] {
            let trap = fill.call(&mut store, (at, 0, len)).unwrap_err();
            assert_eq!(
                trap_of(&trap),
                Trap::MemoryOutOfBounds,
                "{at:#x} with {name}"
            );
            let trap = copy.call(&mut store, (at, 0, len)).unwrap_err();
            assert_eq!(
                trap_of(&trap),
                Trap::MemoryOutOfBounds,
                "{at:#x} with {name}"
            );
            let trap = copy.call(&mut store, (0, at, len)).unwrap_err();
            assert_eq!(
                trap_of(&trap),
                Trap::MemoryOutOfBounds,
                "{at:#x} with {name}"
            );
        }
        let trap = init.call(&mut store, (1 << 32, 0, 1)).unwrap_err();
        assert_eq!(trap_of(&trap), Trap::MemoryOutOfBounds);
        assert_eq!(&memory.data(&store)[0x2_fff8..], b"waxwing!");
    }
    Ok(())
}

#[test]
fn memories_of_both_kinds_are_copied_between() -> Result<()> {
    for (name, engine) in engines() {
        let module = Module::new(
            &engine,
            r#"(module
                (memory $narrow (export "narrow") 1)
                (memory $wide (export "wide") i64 1)
                (data (memory $narrow) (i32.const 0) "narrow")
                (data (memory $wide) (i64.const 0) "wide")
                (func (export "widen") (param i64 i32 i32)
                    (memory.copy $wide $narrow (local.get 0) (local.get 1) (local.get 2)))
                (func (export "narrow_down") (param i32 i64 i32)
                    (memory.copy $narrow $wide (local.get 0) (local.get 1) (local.get 2))))"#,
        )?;
        let mut store = Store::new(&engine, ());
        let instance = Instance::new(&mut store, &module, &[])?;
        let widen = instance.get_typed_func::<(u64, u32, u32), ()>(&mut store, "widen")?;
        let narrow = instance.get_typed_func::<(u32, u64, u32), ()>(&mut store, "narrow_down")?;
        widen.call(&mut store, (4, 0, 6))?;
        narrow.call(&mut store, (2, 0, 4))?;
        assert!(widen.call(&mut store, (1 << 32, 0, 1)).is_err());
        assert!(narrow.call(&mut store, (0, 1 << 32, 1)).is_err());
        let memory = instance.get_memory(&mut store, "wide").unwrap();
        assert_eq!(&memory.data(&store)[..11], b"widenarrow\0", "{name}");
        let memory = instance.get_memory(&mut store, "narrow").unwrap();
        assert_eq!(&memory.data(&store)[..7], b"nawide\0", "{name}");
    }
    Ok(())
}

#[test]
fn memories_exceed_what_32_bits_address() -> Result<()> {
    let pages = (1 << 16) + 1;
    let mut config = Config::new();
    config.wasm_memory64(true).memory_reservation(8 << 30);
    for signals in [true, false] {
        let engine = Engine::new(config.signals_based_traps(signals))?;
        let module = Module::new(
            &engine,
            format!(
                r#"(module
                    (memory (export "memory") i64 {pages} 0x1_0010)
                    (data (i64.const 0x100000010) "far away")
                    (func (export "load") (param i64) (result i64) (i64.load (local.get 0)))
                    (func (export "load_at") (param i64) (result i64)
                        (i64.load offset=0x100000000 (local.get 0)))
                    (func (export "store") (param i64 i64) (i64.store (local.get 0) (local.get 1)))
                    (func (export "grow") (param i64) (result i64) (memory.grow (local.get 0))))"#
            ),
        )?;
        let mut store = Store::new(&engine, ());
        let instance = Instance::new(&mut store, &module, &[])?;
        let load = instance.get_typed_func::<u64, u64>(&mut store, "load")?;
        let load_at = instance.get_typed_func::<u64, u64>(&mut store, "load_at")?;
        let set = instance.get_typed_func::<(u64, u64), ()>(&mut store, "store")?;
        let grow = instance.get_typed_func::<u64, u64>(&mut store, "grow")?;
        let text = u64::from_le_bytes(*b"far away");
        assert_eq!(load.call(&mut store, 0x1_0000_0010)?, text);
        assert_eq!(load_at.call(&mut store, 0x10)?, text);
        assert_eq!(load.call(&mut store, 0x10)?, 0);
        set.call(&mut store, (0xffff_fffc, 1 << 40))?;
        assert_eq!(load.call(&mut store, 0x1_0000_0000)?, 1 << 8);
        assert!(load.call(&mut store, 0x1_0000_fff9).is_err());
        assert_eq!(grow.call(&mut store, 1)?, pages);
        assert_eq!(load.call(&mut store, 0x1_0000_fff9)?, 0);
        assert!(load_at.call(&mut store, 0x1_fff9).is_err());
        let memory = instance.get_memory(&mut store, "memory").unwrap();
        assert_eq!(memory.size(&store), pages + 1);
        let mut bytes = [0; 8];
        memory.read(&store, 0x1_0000_0010, &mut bytes)?;
        assert_eq!(&bytes, b"far away");
    }
    Ok(())
}

#[test]
fn the_host_makes_memories_and_tables() -> Result<()> {
    let engine = Engine::new(Config::new().wasm_memory64(true))?;
    let mut store = Store::new(&engine, ());
    let ty = MemoryType::new64(1, Some(1 << 40));
    assert!(ty.is_64() && !ty.is_shared());
    assert_eq!((ty.minimum(), ty.maximum()), (1, Some(1 << 40)));
    let memory = Memory::new(&mut store, ty)?;
    assert_eq!(memory.grow(&mut store, 2)?, 1);
    let ty = TableType::new64(RefType::FUNCREF, 2, Some(1 << 40));
    assert!(ty.is_64());
    assert_eq!((ty.minimum(), ty.maximum()), (2, Some(1 << 40)));
    let table = Table::new(&mut store, ty, Ref::Func(None))?;
    assert!(table.ty(&store).is_64());
    let import = |memory: &str, table: &str| {
        Module::new(
            &engine,
            format!(
                r#"(module
                    (import "" "m" (memory {memory}))
                    (import "" "t" (table {table}))
                    (func (export "size") (result i64)
                        (i64.add (memory.size) (table.size 0))))"#
            ),
        )
    };
    let items = [memory.into(), table.into()];
    let module = import("i64 3", "i64 2 0x10000000000 funcref")?;
    let ty = module.imports().next().unwrap().ty();
    assert!(ty.unwrap_memory().is_64());
    let ty = module.imports().nth(1).unwrap().ty();
    assert!(ty.unwrap_table().is_64());
    let instance = Instance::new(&mut store, &module, &items)?;
    let size = instance.get_typed_func::<(), u64>(&mut store, "size")?;
    assert_eq!(size.call(&mut store, ())?, 5);

    let mut error = |module: &str| {
        let module = Module::new(&engine, module).unwrap();
        let items: Vec<_> = items[..module.imports().len()].to_vec();
        let error = Instance::new(&mut store, &module, &items).unwrap_err();
        format!("{error:#}")
    };
    let message = error(r#"(module (import "" "m" (memory 1)))"#);
    assert!(message.contains("expected 32-bit memory, found 64-bit memory"));
    let message =
        error(r#"(module (import "" "m" (memory i64 1)) (import "" "t" (table 1 funcref)))"#);
    assert!(message.contains("expected 32-bit table, found 64-bit table"));
    Ok(())
}

#[test]
fn memories_that_cannot_be_had_are_errors() -> Result<()> {
    for (name, engine) in engines() {
        for memory in [
            "i64 0x1_0000_0000_0000",
            "i64 0x7fff_ffff",
            "i64 0x7fff_ffff shared",
        ] {
            let memory = match memory.strip_suffix(" shared") {
                Some(minimum) => format!("{minimum} 0x1_0000_0000_0000 shared"),
                None => memory.to_string(),
            };
            let module = Module::new(&engine, format!("(module (memory {memory}))"))?;
            let mut store = Store::new(&engine, ());
            let error = Instance::new(&mut store, &module, &[]).unwrap_err();
            let error = format!("{error:#}");
            assert!(
                error.contains("failed to create a memory of"),
                "{error} with {name}"
            );
        }
        // A maximum that cannot be had is none.
        for shared in ["", "shared"] {
            let module = Module::new(
                &engine,
                format!(
                    "(module (memory i64 1 0x1_0000_0000_0000 {shared})
                        (func (export \"grow\") (param i64) (result i64)
                            (memory.grow (local.get 0))))"
                ),
            )?;
            let mut store = Store::new(&engine, ());
            let instance = Instance::new(&mut store, &module, &[])?;
            let grow = instance.get_typed_func::<u64, i64>(&mut store, "grow")?;
            assert_eq!(grow.call(&mut store, 1 << 47)?, -1, "{name} {shared}");
            assert_eq!(grow.call(&mut store, 0)?, 1, "{name} {shared}");
        }
    }
    Ok(())
}

#[test]
fn limits_hold_in_64_bits() -> Result<()> {
    let engine = Engine::new(Config::new().wasm_memory64(true))?;
    let limits = StoreLimitsBuilder::new()
        .memory_size(2 << 16)
        .table_elements(10)
        .build();
    let mut store = Store::new(&engine, limits);
    store.limiter(|limits| limits);
    let module = Module::new(
        &engine,
        r#"(module
            (memory i64 1)
            (table i64 1 funcref)
            (func (export "memory") (param i64) (result i64) (memory.grow (local.get 0)))
            (func (export "table") (param i64) (result i64)
                (table.grow (ref.null func) (local.get 0))))"#,
    )?;
    let instance = Instance::new(&mut store, &module, &[])?;
    for (name, good, size) in [("memory", 1, 2), ("table", 9, 10)] {
        let grow = instance.get_typed_func::<u64, i64>(&mut store, name)?;
        assert_eq!(grow.call(&mut store, good)?, 1, "{name}");
        for delta in [1, 1 << 32, 1 << 48, u64::MAX] {
            assert_eq!(grow.call(&mut store, delta)?, -1, "{name} {delta}");
        }
        assert_eq!(grow.call(&mut store, 0)?, size, "{name}");
    }
    Ok(())
}

#[test]
fn tables_are_used_with_64_bit_indices() -> Result<()> {
    for (name, engine) in engines() {
        let module = Module::new(
            &engine,
            r#"(module
                (type $f (func (result i32)))
                (table $wide (export "wide") i64 4 funcref)
                (table $narrow (export "narrow") 4 funcref)
                (elem (table $wide) (i64.const 1) func $one $two)
                (elem $more func $two $one)
                (func $one (result i32) (i32.const 1))
                (func $two (result i32) (i32.const 2))
                (func (export "call") (param i64) (result i32)
                    (call_indirect $wide (type $f) (local.get 0)))
                (func (export "get") (param i64) (result funcref)
                    (table.get $wide (local.get 0)))
                (func (export "set") (param i64) (table.set $wide (local.get 0) (ref.func $two)))
                (func (export "size") (result i64) (table.size $wide))
                (func (export "grow") (param i64) (result i64)
                    (table.grow $wide (ref.func $one) (local.get 0)))
                (func (export "fill") (param i64 i64)
                    (table.fill $wide (local.get 0) (ref.func $one) (local.get 1)))
                (func (export "init") (param i64 i32 i32)
                    (table.init $wide $more (local.get 0) (local.get 1) (local.get 2)))
                (func (export "copy") (param i64 i64 i64)
                    (table.copy $wide $wide (local.get 0) (local.get 1) (local.get 2)))
                (func (export "narrow_down") (param i32 i64 i32)
                    (table.copy $narrow $wide (local.get 0) (local.get 1) (local.get 2))))"#,
        )?;
        let mut store = Store::new(&engine, ());
        let instance = Instance::new(&mut store, &module, &[])?;
        let call = instance.get_typed_func::<u64, u32>(&mut store, "call")?;
        let get = instance.get_typed_func::<u64, Option<Func>>(&mut store, "get")?;
        let set = instance.get_typed_func::<u64, ()>(&mut store, "set")?;
        let grow = instance.get_typed_func::<u64, i64>(&mut store, "grow")?;
        let fill = instance.get_typed_func::<(u64, u64), ()>(&mut store, "fill")?;
        let init = instance.get_typed_func::<(u64, u32, u32), ()>(&mut store, "init")?;
        let copy = instance.get_typed_func::<(u64, u64, u64), ()>(&mut store, "copy")?;
        let narrow = instance.get_typed_func::<(u32, u64, u32), ()>(&mut store, "narrow_down")?;

        assert_eq!(call.call(&mut store, 1)?, 1);
        assert_eq!(call.call(&mut store, 2)?, 2);
        let trap = call.call(&mut store, 3).unwrap_err();
        assert_eq!(trap_of(&trap), Trap::IndirectCallToNull);
        for index in [4, 1 << 32, (1 << 32) + 1, u64::MAX] {
            let out = Trap::TableOutOfBounds;
            let trap = call.call(&mut store, index).unwrap_err();
            assert_eq!(trap_of(&trap), out, "{index:#x} with {name}");
            let trap = get.call(&mut store, index).unwrap_err();
            assert_eq!(trap_of(&trap), out, "{index:#x} with {name}");
            let trap = set.call(&mut store, index).unwrap_err();
            assert_eq!(trap_of(&trap), out, "{index:#x} with {name}");
            let trap = fill.call(&mut store, (index, 1)).unwrap_err();
            assert_eq!(trap_of(&trap), out, "{index:#x} with {name}");
            let trap = fill.call(&mut store, (1, index)).unwrap_err();
            assert_eq!(trap_of(&trap), out, "{index:#x} with {name}");
            let trap = init.call(&mut store, (index, 0, 1)).unwrap_err();
            assert_eq!(trap_of(&trap), out, "{index:#x} with {name}");
            let trap = copy.call(&mut store, (index, 0, 1)).unwrap_err();
            assert_eq!(trap_of(&trap), out, "{index:#x} with {name}");
            let trap = copy.call(&mut store, (0, index, 1)).unwrap_err();
            assert_eq!(trap_of(&trap), out, "{index:#x} with {name}");
            let trap = narrow.call(&mut store, (0, index, 1)).unwrap_err();
            assert_eq!(trap_of(&trap), out, "{index:#x} with {name}");
        }
        assert!(get.call(&mut store, 0)?.is_none());
        set.call(&mut store, 0)?;
        assert_eq!(call.call(&mut store, 0)?, 2);
        assert_eq!(grow.call(&mut store, 3)?, 4);
        assert_eq!(grow.call(&mut store, u64::MAX)?, -1);
        assert_eq!(call.call(&mut store, 6)?, 1);
        init.call(&mut store, (5, 0, 2))?;
        copy.call(&mut store, (3, 5, 2))?;
        fill.call(&mut store, (2, 1))?;
        narrow.call(&mut store, (1, 2, 3))?;
        let called: Vec<u32> = (0..7).map(|i| call.call(&mut store, i).unwrap()).collect();
        assert_eq!(called, [2, 1, 1, 2, 1, 2, 1], "{name}");
        let table = instance.get_table(&mut store, "narrow").unwrap();
        assert!(!table.ty(&store).is_64());
        assert!(matches!(table.get(&mut store, 0), Some(Ref::Func(None))));
        assert!(matches!(table.get(&mut store, 3), Some(Ref::Func(Some(_)))));
        let table = instance.get_table(&mut store, "wide").unwrap();
        assert_eq!(table.size(&store), 7);
        assert_eq!(table.grow(&mut store, 1, Ref::Func(None))?, 7);
        assert!(table.get(&mut store, 1 << 32).is_none());
        assert!(table.set(&mut store, 1 << 32, Ref::Func(None)).is_err());
    }
    Ok(())
}
