//! Accesses out of bounds trap, wherever another slot is.

use super::*;

/// Accesses near and far, by index and by offset.
const WAT: &str = r#"(module
    (memory (export "memory") 1)
    (func (export "load") (param i32) (result i32) (i32.load8_u (local.get 0)))
    (func (export "load far") (param i32) (result i32)
        (i32.load8_u offset=0x7fffffff (local.get 0)))
    (func (export "load farther") (param i32) (result i32)
        (i32.load8_u offset=0xffffffff (local.get 0)))
    (func (export "load wide") (param i32) (result i32)
        (i32x4.extract_lane 0 (v128.load offset=0xfff0 (local.get 0))))
    (func (export "store") (param i32) (result i32)
        (i64.store offset=0x10000 (local.get 0) (i64.const -1)) (i32.const 0))
    (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0))))"#;

fn traps_everywhere(engine: &Engine) -> Result<()> {
    let module = Module::new(engine, WAT)?;
    // Neighbours on all sides, with something to find.
    let mut stores: Vec<(Store<()>, Instance)> = (0..5)
        .map(|_| instantiate(engine, &module).unwrap())
        .collect();
    for (store, instance) in &mut stores {
        let memory = instance.get_memory(&mut *store, "memory").unwrap();
        memory.data_mut(&mut *store).fill(0xc5);
    }
    let index = stores.len() / 2;
    for size in [1u32, 2, 16] {
        let (store, instance) = &mut stores[index];
        let mut call = |name: &str, param: u32| {
            let func = instance
                .get_typed_func::<u32, i32>(&mut *store, name)
                .unwrap();
            func.call(&mut *store, param)
        };
        if size > 1 {
            let current = call("grow", 0)? as u32;
            assert_eq!(call("grow", size - current)? as u32, current);
        }
        let end = size << 16;
        assert!(call("load", end - 1).is_ok());
        for (name, param) in [
            ("load", end),
            ("load", end + 4096),
            ("load", 1 << 20),
            ("load", 1 << 31),
            ("load", u32::MAX),
            ("load far", 0),
            ("load far", u32::MAX),
            ("load farther", 0),
            ("load farther", 1),
            ("load farther", u32::MAX),
            ("load wide", end - 0xfff0 - 15),
            ("store", (end - 0x10000).wrapping_sub(7)),
            ("store", u32::MAX),
        ] {
            let trap = call(name, param).unwrap_err();
            let trap = trap.downcast_ref::<Trap>();
            assert_eq!(trap, Some(&Trap::MemoryOutOfBounds), "{name} {param:#x}");
        }
        // All over the reservation and its guard.
        for place in (end..0xffff_0000).step_by(0x07f3_1000) {
            for name in ["load", "load far", "load farther"] {
                assert!(call(name, place).is_err(), "{name} {place:#x}");
            }
        }
    }
    for (at, (store, instance)) in stores.iter_mut().enumerate() {
        let memory = instance.get_memory(&mut *store, "memory").unwrap();
        let data = &memory.data(&*store)[..1 << 16];
        assert!(data.iter().all(|byte| *byte == 0xc5), "{at}");
    }
    Ok(())
}

#[test]
fn accesses_out_of_bounds_trap() -> Result<()> {
    let configurations: [fn(&mut Config); 6] = [
        |_| {},
        |config| _ = config.signals_based_traps(false),
        |config| _ = config.memory_reservation(0),
        |config| _ = config.memory_reservation(0).memory_guard_size(0),
        |config| _ = config.memory_guard_size(1 << 16),
        |config| {
            _ = config
                .memory_guard_size(4 << 30)
                .guard_before_linear_memory(false)
        },
    ];
    for configure in configurations {
        for mpk in [MpkEnabled::Disable, MpkEnabled::Auto] {
            let mut pool = small_pool(7);
            pool.memory_protection_keys(mpk)
                .max_memory_protection_keys(3);
            traps_everywhere(&configured(pool, configure))?;
        }
    }
    Ok(())
}

#[test]
fn a_slot_shrinks_and_grows_with_its_memories() -> Result<()> {
    let engine = engine(small_pool(1));
    let module = |pages: u32| {
        let wat = format!(
            r#"(module (memory (export "memory") {pages})
                (func (export "load") (param i32) (result i32) (i32.load8_u (local.get 0)))
                (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0))))"#
        );
        Module::new(&engine, wat).unwrap()
    };
    let modules = [0, 1, 3, 16].map(|pages| (pages, module(pages)));
    for round in 0..20 {
        let (pages, module) = &modules[(round * 7 + round / 4) % 4];
        let (mut store, instance) = instantiate(&engine, module)?;
        let load = instance.get_typed_func::<u32, i32>(&mut store, "load")?;
        let grow = instance.get_typed_func::<u32, i32>(&mut store, "grow")?;
        let mut end = pages << 16;
        for _ in 0..2 {
            if end > 0 {
                assert_eq!(load.call(&mut store, end - 1)?, 0);
            }
            assert!(load.call(&mut store, end).is_err(), "{end:#x}");
            assert!(load.call(&mut store, 15 << 16 | end).is_err());
            if end < 16 << 16 {
                grow.call(&mut store, 1)?;
                end += 1 << 16;
                let memory = instance.get_memory(&mut store, "memory").unwrap();
                memory.data_mut(&mut store).fill(1);
                memory.data_mut(&mut store)[end as usize - 1] = 0;
            }
        }
    }
    Ok(())
}
