//! Shared memories as items: growth, imports and exports, bulk operations, limits.

use super::{engines, on_threads, trap_of, word};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use waxwing::*;

#[test]
fn memories_grow_while_others_use_them() -> Result<()> {
    const PAGES: u32 = 64;
    for (name, engine) in engines() {
        let module = Module::new(
            &engine,
            r#"(module
                (import "" "" (memory 1 64 shared))
                (func (export "grow") (result i32) (memory.grow (i32.const 1)))
                (func (export "size") (result i32) (memory.size))
                ;; Writes to the last word that there is until there are enough pages.
                (func (export "use") (param $pages i32) (result i32) (local $last i32)
                    (loop $again
                        (local.set $last
                            (i32.sub (i32.shl (memory.size) (i32.const 16)) (i32.const 4)))
                        (drop (i32.atomic.rmw.add (local.get $last) (i32.const 1)))
                        (i32.store (i32.sub (local.get $last) (i32.const 4)) (i32.const 7))
                        (br_if $again (i32.lt_u (memory.size) (local.get $pages))))
                    (i32.load (i32.sub (local.get $last) (i32.const 4)))))"#,
        )?;
        let memory = SharedMemory::new(&engine, MemoryType::shared(1, PAGES))?;
        let base = memory.data().as_ptr();
        on_threads(4, &module, &memory, |i, store, instance| {
            if i < 2 {
                let reader = instance.get_typed_func::<u32, u32>(&mut *store, "use")?;
                assert_eq!(reader.call(store, PAGES)?, 7, "{name}");
                return Ok(());
            }
            let grow = instance.get_typed_func::<(), i32>(&mut *store, "grow")?;
            let size = instance.get_typed_func::<(), u32>(&mut *store, "size")?;
            loop {
                let before = size.call(&mut *store, ())?;
                match grow.call(&mut *store, ())? {
                    -1 => break,
                    previous => assert!(previous.cast_unsigned() >= before, "{name}"),
                }
                assert!(size.call(&mut *store, ())? > before, "{name}");
                thread::yield_now();
            }
            assert_eq!(size.call(store, ())?, PAGES, "{name}");
            Ok(())
        })?;
        assert_eq!(memory.size(), u64::from(PAGES), "{name}");
        assert_eq!(memory.data_size(), memory.data().len());
        assert_eq!(memory.data().as_ptr(), base, "shared memories never move");
        let error = memory.grow(1).unwrap_err();
        assert!(error.to_string().contains("failed to grow memory by `1`"));
    }
    Ok(())
}

#[test]
fn bulk_operations_work_on_memories_that_others_change() -> Result<()> {
    let engine = Engine::default();
    let module = Module::new(
        &engine,
        r#"(module
            (import "" "" (memory $shared 2 2 shared))
            (memory $own (export "own") 1)
            (data $text "waxwing")
            (func (export "init") (param i32 i32 i32)
                (memory.init $shared $text (local.get 0) (local.get 1) (local.get 2)))
            (func (export "fill") (param i32 i32 i32)
                (memory.fill $shared (local.get 0) (local.get 1) (local.get 2)))
            (func (export "copy") (param i32 i32 i32)
                (memory.copy $shared $shared (local.get 0) (local.get 1) (local.get 2)))
            (func (export "take") (param i32 i32 i32)
                (memory.copy $own $shared (local.get 0) (local.get 1) (local.get 2)))
            (func (export "give") (param i32 i32 i32)
                (memory.copy $shared $own (local.get 0) (local.get 1) (local.get 2))))"#,
    )?;
    let memory = SharedMemory::new(&engine, MemoryType::shared(2, 2))?;
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[memory.clone().into()])?;
    let own = instance.get_memory(&mut store, "own").unwrap();
    let run = |store: &mut Store<()>, name: &str, args: (u32, u32, u32)| -> Result<(), Trap> {
        let func = instance.get_typed_func::<(u32, u32, u32), ()>(&mut *store, name);
        let result = func.unwrap().call(store, args);
        result.map_err(|error| trap_of(&error))
    };
    run(&mut store, "init", (3, 0, 7))?;
    run(&mut store, "copy", (5, 3, 7))?;
    run(&mut store, "copy", (101, 3, 9))?;
    run(&mut store, "fill", (103, 0x178, 2))?;
    run(&mut store, "take", (1, 100, 12))?;
    run(&mut store, "give", (0x1_fffe, 2, 2))?;
    let out = Err(Trap::MemoryOutOfBounds);
    for name in ["fill", "copy", "give"] {
        assert_eq!(run(&mut store, name, (0x1_ffff, 0, 2)), out, "{name}");
        assert_eq!(run(&mut store, name, (0x2_0000, 0, 0)), Ok(()), "{name}");
        assert_eq!(
            run(&mut store, name, (u32::MAX, 0, u32::MAX)),
            out,
            "{name}"
        );
    }
    assert_eq!(run(&mut store, "init", (0x1_ffff, 0, 2)), out);
    assert_eq!(run(&mut store, "init", (0, 6, 2)), out);
    assert_eq!(&own.data(&store)[..12], b"\0\0waxxxwing\0");
    let bytes = |range: std::ops::Range<usize>| -> Vec<u8> {
        let cells = &memory.data()[range];
        // SAFETY: no other thread uses the memory.
        cells.iter().map(|cell| unsafe { *cell.get() }).collect()
    };
    assert_eq!(bytes(3..12), b"wawaxwing");
    assert_eq!(bytes(0x1_fffe..0x2_0000), b"wa");

    // Copies race with stores of other threads: every byte is an old or a new one.
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                for at in (0x8000..0x9000).step_by(4) {
                    word(&memory, at).store(0x0101_0101, Ordering::Relaxed);
                }
                for at in (0x8000..0x9000).step_by(4) {
                    word(&memory, at).store(0, Ordering::Relaxed);
                }
            }
        });
        for from in 0..2000 {
            run(
                &mut store,
                "copy",
                (0xa000 + from % 7, 0x8000 + from % 5, 0xf00),
            )
            .unwrap();
            run(&mut store, "take", (0x100, 0xa000, 0xf00)).unwrap();
        }
        stop.store(true, Ordering::Relaxed);
    });
    let copied = own.data(&store)[0x108..0x1000].iter();
    assert!(copied.max() <= Some(&1));
    Ok(())
}

#[test]
fn modules_define_and_export_shared_memories() -> Result<()> {
    for cow in [true, false] {
        let engine = Engine::new(Config::new().memory_init_cow(cow))?;
        let owner = Module::new(
            &engine,
            r#"(module
                (memory (export "memory") 1 3 shared)
                (data (i32.const 100) "\2a")
                (func (export "get") (param i32) (result i32) (i32.load8_u (local.get 0)))
                (func (export "size") (result i32) (memory.size))
                (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0))))"#,
        )?;
        let user = Module::new(
            &engine,
            r#"(module
                (import "owner" "memory" (memory 1 3 shared))
                (export "again" (memory 0))
                (data (i32.const 101) "\2b")
                (func (export "set") (param i32 i32) (i32.store8 (local.get 0) (local.get 1)))
                (func (export "size") (result i32) (memory.size))
                (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0))))"#,
        )?;
        let ty = owner.get_export("memory").unwrap();
        assert!(ty.unwrap_memory().is_shared());
        let mut store = Store::new(&engine, ());
        let instance = Instance::new(&mut store, &owner, &[])?;
        assert!(instance.get_memory(&mut store, "memory").is_none());
        let memory = instance.get_shared_memory(&mut store, "memory").unwrap();
        assert_eq!((memory.ty().minimum(), memory.ty().maximum()), (1, Some(3)));
        assert_eq!((memory.page_size(), memory.size()), (65536, 1));

        // Another store, on another thread, which outlives the one that made the memory.
        let (mut other, again) = thread::scope(|scope| {
            let user = &user;
            let worker = scope.spawn(|| -> Result<_> {
                let mut linker = Linker::new(&engine);
                let mut store = Store::new(&engine, ());
                linker.define(&store, "owner", "memory", memory.clone())?;
                let pre = linker.instantiate_pre(user)?;
                let instance = pre.instantiate(&mut store)?;
                let set = instance.get_typed_func::<(u32, u32), ()>(&mut store, "set")?;
                set.call(&mut store, (102, 0x2c))?;
                let mut third = Store::new(&engine, ());
                let third_instance = pre.instantiate(&mut third)?;
                let set = third_instance.get_typed_func::<(u32, u32), ()>(&mut third, "set")?;
                set.call(&mut third, (103, 0x2d))?;
                Ok((store, instance))
            });
            worker.join().unwrap()
        })?;
        let get = instance.get_typed_func::<u32, u32>(&mut store, "get")?;
        for (at, byte) in [(100, 0x2a), (101, 0x2b), (102, 0x2c), (103, 0x2d), (99, 0)] {
            assert_eq!(get.call(&mut store, at)?, byte, "{cow}");
        }
        let grow = again.get_typed_func::<u32, i32>(&mut other, "grow")?;
        assert_eq!(grow.call(&mut other, 1)?, 1);
        let size = instance.get_typed_func::<(), u32>(&mut store, "size")?;
        assert_eq!(size.call(&mut store, ())?, 2);
        assert_eq!(memory.grow(1)?, 2);
        assert_eq!(grow.call(&mut other, 1)?, -1);

        // It is freed with whoever is last.
        drop((store, memory));
        let memory = again.get_shared_memory(&mut other, "again").unwrap();
        let set = again.get_typed_func::<(u32, u32), ()>(&mut other, "set")?;
        set.call(&mut other, (0x2_ffff, 1))?;
        drop(other);
        assert_eq!(word(&memory, 100).load(Ordering::Relaxed), 0x2d2c_2b2a);
        let top = word(&memory, 0x2_fffc).load(Ordering::Relaxed);
        assert_eq!(top, 1 << 24);
    }
    Ok(())
}

#[test]
fn host_functions_reach_shared_memories() -> Result<()> {
    let engine = Engine::default();
    let module = Module::new(
        &engine,
        r#"(module
            (import "" "host" (func $host))
            (memory (export "memory") 1 1 shared)
            (func (export "run") (result i32)
                (i32.store (i32.const 4) (i32.const 41))
                (call $host)
                (i32.load (i32.const 4))))"#,
    )?;
    let mut store = Store::new(&engine, ());
    let host = Func::wrap(&mut store, |mut caller: Caller<'_, ()>| {
        let memory = caller.get_export("memory");
        let memory = memory.and_then(Extern::into_shared_memory).unwrap();
        word(&memory, 4).fetch_add(1, Ordering::Relaxed);
    });
    let instance = Instance::new(&mut store, &module, &[host.into()])?;
    let run = instance.get_typed_func::<(), u32>(&mut store, "run")?;
    assert_eq!(run.call(&mut store, ())?, 42);
    let exports: Vec<_> = instance.exports(&mut store).collect();
    let memory = exports.into_iter().find_map(Export::into_shared_memory);
    assert_eq!(word(&memory.unwrap(), 4).load(Ordering::Relaxed), 42);
    Ok(())
}

#[test]
fn types_of_imports_are_checked() -> Result<()> {
    let engine = Engine::default();
    let mut store = Store::new(&engine, ());
    let module = |ty: &str| {
        Module::new(
            &engine,
            format!("(module (import \"\" \"m\" (memory {ty})))"),
        )
    };
    let shared = SharedMemory::new(&engine, MemoryType::shared(1, 3))?;
    let unshared = Memory::new(&mut store, MemoryType::new(1, Some(3)))?;
    let mut check = |ty: &str, memory: &Extern| {
        let instance = Instance::new(
            &mut store,
            &module(ty).unwrap(),
            std::slice::from_ref(memory),
        );
        instance.err().map(|error| format!("{error:#}"))
    };
    let (shared, memory) = (Extern::from(shared.clone()), shared);
    assert_eq!(check("1 3 shared", &shared), None);
    assert_eq!(check("0 4 shared", &shared), None);
    let message = check("1 3", &shared).unwrap();
    assert!(message.contains("expected non-shared memory, found shared memory"));
    let message = check("1 3 shared", &unshared.into()).unwrap();
    assert!(message.contains("expected shared memory, found non-shared memory"));
    let message = check("2 3 shared", &shared).unwrap();
    assert!(message.contains("memory types incompatible"), "{message}");
    assert!(check("1 2 shared", &shared).is_some());
    // What counts is the size by now.
    memory.grow(1)?;
    assert_eq!(check("2 3 shared", &shared), None);

    // Linkers see the same.
    let mut linker = Linker::new(&engine);
    linker.define(&store, "", "m", memory.clone())?;
    let mut other = Store::new(&engine, ());
    linker.instantiate(&mut other, &module("2 3 shared")?)?;
    linker.instantiate_pre(&module("2 3 shared")?)?;
    memory.grow(1)?;
    linker.instantiate_pre(&module("3 3 shared")?)?;
    assert!(linker.instantiate_pre(&module("3 3")?).is_err());
    let found = linker.get(&mut other, "", "m");
    assert_eq!(found.unwrap().into_shared_memory().unwrap().size(), 3);

    // Of another engine.
    let foreign = Engine::default();
    let foreign = SharedMemory::new(&foreign, MemoryType::shared(1, 3))?;
    let instance = Instance::new(&mut store, &module("1 3 shared")?, &[foreign.into()]);
    assert!(instance.is_err());
    Ok(())
}

#[test]
fn kinds_of_memories_are_made_by_their_own_types() -> Result<()> {
    let engine = Engine::default();
    let mut store = Store::new(&engine, ());
    let error = Memory::new(&mut store, MemoryType::shared(1, 2)).unwrap_err();
    assert!(error.to_string().contains("SharedMemory"), "{error}");
    let error = SharedMemory::new(&engine, MemoryType::new(1, Some(2))).unwrap_err();
    assert!(error.to_string().contains("MemoryType::shared"), "{error}");
    let memory = SharedMemory::new(&engine, MemoryType::shared(1, 65536))?;
    assert_eq!(memory.grow(65535)?, 1);
    assert_eq!(memory.data_size(), 1 << 32);
    let item = Extern::from(memory.clone());
    let ty = item.ty(&store);
    assert_eq!(ty.unwrap_memory().maximum(), Some(65536));
    assert!(format!("{memory:?}").contains("SharedMemory"));
    // The same memory may be imported several times.
    let module = Module::new(
        &engine,
        r#"(module
            (import "" "a" (memory $a 1 65536 shared))
            (import "" "b" (memory $b 1 65536 shared))
            (func (export "run") (result i32)
                (i32.store $a (i32.const 0) (i32.const 5))
                (i32.atomic.load $b (i32.const 0))))"#,
    )?;
    let instance = Instance::new(&mut store, &module, &[item.clone(), item])?;
    let run = instance.get_typed_func::<(), u32>(&mut store, "run")?;
    assert_eq!(run.call(&mut store, ())?, 5);
    Ok(())
}

#[test]
fn limiters_are_asked_by_the_store_that_grows() -> Result<()> {
    let engine = Engine::default();
    let module = Module::new(
        &engine,
        r#"(module
            (import "" "" (memory 1 8 shared))
            (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0))))"#,
    )?;
    let memory = SharedMemory::new(&engine, MemoryType::shared(1, 8))?;
    let limits = StoreLimitsBuilder::new().memory_size(3 << 16).build();
    let mut store = Store::new(&engine, limits);
    store.limiter(|limits| limits);
    let instance = Instance::new(&mut store, &module, &[memory.clone().into()])?;
    let grow = instance.get_typed_func::<u32, i32>(&mut store, "grow")?;
    assert_eq!(grow.call(&mut store, 2)?, 1);
    assert_eq!(grow.call(&mut store, 1)?, -1);
    assert_eq!(memory.grow(2)?, 3);
    assert_eq!(grow.call(&mut store, 0)?, 5);
    assert_eq!(grow.call(&mut store, 1)?, -1);
    // A memory that the store's instances define counts from the start.
    let module = Module::new(&engine, "(module (memory 4 8 shared))")?;
    assert!(Instance::new(&mut store, &module, &[]).is_err());
    Ok(())
}

#[test]
fn threads_can_be_switched_off() -> Result<()> {
    let engine = Engine::new(Config::new().wasm_threads(false))?;
    for wat in [
        "(module (memory 1 2 shared))",
        "(module (func atomic.fence))",
        "(module (memory 1) (func (drop (i32.atomic.load (i32.const 0)))))",
    ] {
        let error = format!("{:#}", Module::new(&engine, wat).unwrap_err());
        assert!(error.contains("threads"), "{error}");
        Module::new(&Engine::default(), wat)?;
    }
    Ok(())
}

#[test]
fn traps_say_where_in_a_shared_memory() -> Result<()> {
    let engine = Engine::default();
    let module = Module::new(
        &engine,
        r#"(module
            (import "" "" (memory 1 8 shared))
            (func (export "load") (param i32) (drop (i32.atomic.load (local.get 0)))))"#,
    )?;
    let memory = SharedMemory::new(&engine, MemoryType::shared(1, 8))?;
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[memory.into()])?;
    let load = instance.get_typed_func::<u32, ()>(&mut store, "load")?;
    let error = load.call(&mut store, 0x2_0000).unwrap_err();
    assert_eq!(trap_of(&error), Trap::MemoryOutOfBounds);
    let message = format!("{error:#}");
    assert!(
        message.contains("wasm address 0x20000 in linear memory of size 0x10000"),
        "{message}"
    );
    Ok(())
}
