//! What one store wrote, nobody finds.

use super::*;

/// Bytes that are not zero, and where.
type Contents = &'static [(usize, u8)];

/// The bytes that are looked for.
const CANARY: u8 = 0xc5;

/// Writes the canary wherever a guest can: all of its memory, also what it grew by, tables, globals, objects.
const VICTIM: &str = r#"
    (type $bytes (array (mut i8)))
    (memory (export "memory") 2)
    (table $functions (export "functions") 10 funcref)
    (table $numbers (export "numbers") 10 (ref null i31))
    (global $int (mut i64) (i64.const 0))
    (global $vector (mut v128) (v128.const i64x2 0 0))
    (global $array (mut (ref null $bytes)) (ref.null $bytes))
    (elem declare func $fill)
    (func $fill (export "fill")
        (local $i i32)
        (drop (memory.grow (i32.const 5)))
        (memory.fill (i32.const 0) (i32.const 0xc5) (i32.const 0x70000))
        (drop (table.grow $functions (ref.func $fill) (i32.const 900)))
        (drop (table.grow $numbers (ref.i31 (i32.const 0x45c5c5c5)) (i32.const 900)))
        (table.fill $functions (i32.const 0) (ref.func $fill) (i32.const 910))
        (table.fill $numbers (i32.const 0) (ref.i31 (i32.const 0x45c5c5c5)) (i32.const 910))
        (global.set $int (i64.const 0xc5c5c5c5c5c5c5c5))
        (global.set $vector (i8x16.splat (i32.const 0xc5)))
        (loop $again
            (global.set $array (array.new $bytes (i32.const 0xc5) (i32.const 100000)))
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br_if $again (i32.lt_u (local.get $i) (i32.const 100)))))
"#;

/// Looks at all that a guest can.
const FINDER: &str = r#"
    (type $bytes (array (mut i8)))
    (table $functions 10 funcref)
    (table $numbers 10 (ref null i31))
    (global $int (mut i64) (i64.const 0))
    (global $vector (mut v128) (v128.const i64x2 0 0))
    (func (export "grow") (result i32) (memory.grow (i32.const 6)))
    ;; The number of words of memory that are not zero.
    (func (export "in memory") (result i32)
        (local $at i64) (local $found i32) (local $end i64)
        (local.set $end (i64.shl (i64.extend_i32_u (memory.size)) (i64.const 16)))
        (loop $again
            (if (i64.lt_u (local.get $at) (local.get $end))
                (then
                    (if (i64.ne (i64.load (i32.wrap_i64 (local.get $at))) (i64.const 0))
                        (then (local.set $found (i32.add (local.get $found) (i32.const 1)))))
                    (local.set $at (i64.add (local.get $at) (i64.const 8)))
                    (br $again))))
        (local.get $found))
    ;; The number of elements of tables that are not null.
    (func (export "in tables") (result i32)
        (local $at i32) (local $found i32)
        (drop (table.grow $functions (ref.null func) (i32.const 900)))
        (drop (table.grow $numbers (ref.null i31) (i32.const 900)))
        (loop $again
            (local.set $found (i32.add (local.get $found)
                (i32.add
                    (i32.eqz (ref.is_null (table.get $functions (local.get $at))))
                    (i32.eqz (ref.is_null (table.get $numbers (local.get $at)))))))
            (local.set $at (i32.add (local.get $at) (i32.const 1)))
            (br_if $again (i32.lt_u (local.get $at) (i32.const 910))))
        (local.get $found))
    ;; Whether globals have their initial values.
    (func (export "in globals") (result i32)
        (i32.or (i64.ne (global.get $int) (i64.const 0)) (v128.any_true (global.get $vector))))
    ;; The number of bytes of new objects that are not zero.
    (func (export "in objects") (result i32)
        (local $i i32) (local $at i32) (local $found i32) (local $array (ref null $bytes))
        (loop $each
            (local.set $array (array.new_default $bytes (i32.const 100000)))
            (local.set $at (i32.const 0))
            (loop $again
                (if (array.get_u $bytes (local.get $array) (local.get $at))
                    (then (local.set $found (i32.add (local.get $found) (i32.const 1)))))
                (local.set $at (i32.add (local.get $at) (i32.const 1)))
                (br_if $again (i32.lt_u (local.get $at) (i32.const 100000))))
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br_if $each (i32.lt_u (local.get $i) (i32.const 4))))
        (local.get $found))
"#;

fn pool() -> PoolingAllocationConfig {
    let mut pool = small_pool(1);
    pool.total_tables(2).max_tables_per_module(2);
    pool
}

fn with_gc(pool: PoolingAllocationConfig, configure: fn(&mut Config)) -> Engine {
    configured(pool, |config| {
        config.wasm_function_references(true).wasm_gc(true);
        configure(config);
    })
}

fn leaves_a_mark(engine: &Engine, image: &str) -> Result<usize> {
    let victim = Module::new(engine, format!("(module {VICTIM} {image})"))?;
    let (mut store, instance) = instantiate(engine, &victim)?;
    let fill = instance.get_typed_func::<(), ()>(&mut store, "fill")?;
    fill.call(&mut store, ())?;
    let memory = instance.get_memory(&mut store, "memory").unwrap();
    assert!(memory.data(&store).iter().all(|byte| *byte == CANARY));
    assert_eq!(memory.data_size(&store), 7 << 16);
    // The host writes, too.
    memory.data_mut(&mut store)[1 << 16..2 << 16].fill(CANARY);
    Ok(memory.data_ptr(&store) as usize)
}

/// What is not as it should be in a new instance. `image` is where its memory has contents.
fn finds(engine: &Engine, pages: u32, image: &str, contents: Contents) -> Result<usize> {
    let wat = format!(r#"(module (memory (export "memory") {pages}) {FINDER} {image})"#);
    let module = Module::new(engine, wat)?;
    let (mut store, instance) = instantiate(engine, &module)?;
    let memory = instance.get_memory(&mut store, "memory").unwrap();
    // Twice, as the memory grows in between: what the guest sees of the slot, and what the host sees.
    for _ in 0..2 {
        let mut expected = vec![0; memory.data_size(&store)];
        for (at, byte) in contents {
            expected[*at] = *byte;
        }
        assert!(memory.data(&store) == expected, "the host sees more");
        let words = expected
            .chunks(8)
            .filter(|word| word.iter().any(|byte| *byte != 0));
        let in_memory = instance.get_typed_func::<(), u32>(&mut store, "in memory")?;
        assert_eq!(in_memory.call(&mut store, ())?, words.count() as u32);
        let grow = instance.get_typed_func::<(), i32>(&mut store, "grow")?;
        grow.call(&mut store, ())?;
    }
    for what in ["in tables", "in globals", "in objects"] {
        let find = instance.get_typed_func::<(), u32>(&mut store, what)?;
        assert_eq!(find.call(&mut store, ())?, 0, "{what}");
    }
    Ok(memory.data_ptr(&store) as usize)
}

fn nothing_is_found(engine: &Engine) -> Result<()> {
    let victims = [
        "",
        r#"(data (i32.const 0x100) "victim") (data (i32.const 0x11000) "victim")"#,
    ];
    let finders: [(u32, &str, Contents); 4] = [
        (1, "", &[]),
        (8, "", &[]),
        (2, r#"(data (i32.const 0x8000) "f")"#, &[(0x8000, b'f')]),
        (
            4,
            r#"(data (i32.const 3) "f") (data (i32.const 0x3ffff) "g")"#,
            &[(3, b'f'), (0x3_ffff, b'g')],
        ),
    ];
    for victim in victims {
        for (pages, image, contents) in finders {
            let place = leaves_a_mark(engine, victim)?;
            assert_eq!(place, finds(engine, pages, image, contents)?);
            assert_eq!(place, finds(engine, pages, image, contents)?);
        }
    }
    // The same module again, and again.
    let wat = format!(r#"(module {VICTIM} (data (i32.const 0x100) "victim"))"#);
    let module = Module::new(engine, wat)?;
    for _ in 0..3 {
        let (mut store, instance) = instantiate(engine, &module)?;
        let memory = instance.get_memory(&mut store, "memory").unwrap();
        let data = memory.data(&store);
        assert_eq!(&data[0x100..0x106], b"victim");
        assert_eq!(data.iter().filter(|byte| **byte != 0).count(), 6);
        let fill = instance.get_typed_func::<(), ()>(&mut store, "fill")?;
        fill.call(&mut store, ())?;
    }
    Ok(())
}

#[test]
fn slots_are_as_new_with_every_way_to_reset_them() -> Result<()> {
    let scans = match PoolingAllocationConfig::is_pagemap_scan_available() {
        true => [Enabled::Yes, Enabled::No],
        false => [Enabled::Auto, Enabled::No],
    };
    for (keep, scan) in [0, 1, 70_000, 1 << 30]
        .map(|keep| scans.map(|scan| (keep, scan)))
        .concat()
    {
        for batch_size in [1, 16] {
            let mut pool = pool();
            pool.pagemap_scan(scan);
            pool.linear_memory_keep_resident(keep)
                .table_keep_resident(keep)
                .decommit_batch_size(batch_size);
            nothing_is_found(&with_gc(pool, |_| {}))?;
        }
    }
    Ok(())
}

#[test]
fn slots_are_as_new_with_every_kind_of_memory() -> Result<()> {
    let configurations: [fn(&mut Config); 5] = [
        |config| _ = config.memory_init_cow(false),
        |config| _ = config.signals_based_traps(false),
        |config| _ = config.memory_reservation(0).memory_guard_size(0),
        |config| _ = config.table_lazy_init(false),
        |config| _ = config.memory_guaranteed_dense_image_size(0),
    ];
    for configure in configurations {
        for keep in [0, 70_000] {
            let mut pool = pool();
            pool.linear_memory_keep_resident(keep);
            nothing_is_found(&with_gc(pool, configure))?;
        }
    }
    Ok(())
}

#[test]
fn slots_are_as_new_with_every_collector() -> Result<()> {
    let configurations: [fn(&mut Config); 3] = [
        |config| _ = config.collector(Collector::Null),
        |config| _ = config.collector(Collector::DeferredReferenceCounting),
        |config| _ = config.collector(Collector::Copying),
    ];
    for configure in configurations {
        nothing_is_found(&with_gc(pool(), configure))?;
    }
    Ok(())
}

#[test]
fn slots_are_as_new_with_protection_keys() -> Result<()> {
    for keep in [0, 70_000] {
        let mut pool = pool();
        pool.memory_protection_keys(MpkEnabled::Auto)
            .max_memory_protection_keys(1)
            .linear_memory_keep_resident(keep);
        if PoolingAllocationConfig::are_memory_protection_keys_available() {
            pool.memory_protection_keys(MpkEnabled::Enable);
        }
        nothing_is_found(&with_gc(pool, |_| {}))?;
    }
    Ok(())
}

#[test]
fn artifacts_that_are_files_are_mapped_anew() -> Result<()> {
    let wat = r#"(module (memory (export "memory") 2) (data (i32.const 0x9000) "in a file"))"#;
    for (keep, forced) in [(0, false), (50_000, false), (50_000, true)] {
        let mut pool = pool();
        pool.linear_memory_keep_resident(keep);
        let engine = configured(pool, |config| {
            config.force_memory_init_memfd(forced);
        });
        let file = tempfile::NamedTempFile::new()?;
        std::fs::write(file.path(), engine.precompile_module(wat.as_bytes())?)?;
        // SAFETY: the artifact is what the engine made, and is not changed.
        let module = unsafe { Module::deserialize_file(&engine, file.path())? };
        for _ in 0..3 {
            let (mut store, instance) = instantiate(&engine, &module)?;
            let memory = instance.get_memory(&mut store, "memory").unwrap();
            let data = memory.data_mut(&mut store);
            assert_eq!(&data[0x9000..0x9009], b"in a file");
            assert_eq!(data.iter().filter(|byte| **byte != 0).count(), 9);
            data.fill(CANARY);
        }
    }
    Ok(())
}

/// Memory that is locked cannot be reset by the usual system call.
#[cfg(target_os = "linux")]
#[test]
fn what_the_system_refuses_to_reset_is_reset_all_the_same() -> Result<()> {
    for batch_size in [1, 4] {
        let mut pool = small_pool(1);
        pool.decommit_batch_size(batch_size);
        let engine = engine(pool);
        let wat = r#"(module (memory (export "memory") 3) (data (i32.const 5) "image"))"#;
        let module = Module::new(&engine, wat)?;
        for _ in 0..3 {
            let (mut store, instance) = instantiate(&engine, &module)?;
            let memory = instance.get_memory(&mut store, "memory").unwrap();
            let data = memory.data_mut(&mut store);
            assert_eq!(&data[5..10], b"image");
            assert_eq!(data.iter().filter(|byte| **byte != 0).count(), 5);
            data.fill(CANARY);
            // SAFETY: the page is the memory's.
            let locked = unsafe { libc::mlock(data[4096..].as_ptr().cast(), 4096) };
            assert_eq!(locked, 0, "a process may lock a page");
        }
    }
    Ok(())
}
