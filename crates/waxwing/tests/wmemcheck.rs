//! Memory errors of programs, found by `Config::wmemcheck`.

use anyhow::bail;
use waxwing::*;

/// Programs with errors, without optimization and with.
const PROGRAMS: [&str; 2] = ["errors-O0.wasm", "errors-O2.wasm"];

fn engine(change: impl FnOnce(&mut Config) -> &mut Config) -> Engine {
    let mut config = Config::new();
    change(config.wmemcheck(true));
    Engine::new(&config).unwrap()
}

/// Calls an export of a program in a new instance.
fn call(engine: &Engine, program: &str, name: &str) -> Result<i32> {
    let fixtures = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../tests/fixtures/wmemcheck/"
    );
    let module = Module::from_file(engine, format!("{fixtures}{program}"))?;
    let mut store = Store::new(engine, ());
    let mut linker = Linker::new(engine);
    // What the allocator places blocks by, if the program is not optimized.
    linker.func_wrap("wasi_snapshot_preview1", "random_get", |_: i32, _: i32| 0)?;
    let instance = linker.instantiate(&mut store, &module)?;
    instance
        .get_typed_func::<(), ()>(&mut store, "_initialize")?
        .call(&mut store, ())?;
    instance
        .get_typed_func::<(), i32>(&mut store, name)?
        .call(&mut store, ())
}

/// The functions of the programs, and what is found in them.
const ERRORS: &[(&str, &[&str])] = &[
    (
        "use_after_free",
        &[
            "use after free: load of 1 bytes",
            "4 bytes into the freed block of 24 bytes",
        ],
    ),
    (
        "write_after_free",
        &[
            "use after free: store of 4 bytes",
            "8 bytes into the freed block of 24 bytes",
        ],
    ),
    (
        "use_after_realloc",
        &[
            "use after free: load of 1 bytes",
            "3 bytes into the freed block of 20 bytes",
        ],
    ),
    (
        "overflow_by_one",
        &[
            "invalid store of 1 bytes",
            "0 bytes behind the block of 10 bytes",
        ],
    ),
    (
        "overflow_aligned",
        &[
            "invalid load of 1 bytes",
            "0 bytes behind the block of 128 bytes",
        ],
    ),
    (
        "overflow_calloc",
        &[
            "invalid store of 2 bytes",
            "14 bytes into the block of 15 bytes",
        ],
    ),
    ("copy_too_much", &["invalid ", "the block of 20 bytes"]),
    (
        "uninitialised_read",
        &[
            "load of 4 uninitialised bytes",
            "8 bytes into the block of 16 bytes",
        ],
    ),
    (
        "uninitialised_copy",
        &[
            "load of 8 uninitialised bytes",
            "8 bytes into the block of 32 bytes",
        ],
    ),
    (
        "double_free",
        &["double free of", "a block of 30 bytes, by `free`"],
    ),
    (
        "invalid_free",
        &["invalid free of", "8 bytes into the block of 30 bytes"],
    ),
    (
        "realloc_of_freed",
        &["double free of", "a block of 30 bytes, by `realloc`"],
    ),
];

fn errors_are_found(engine: &Engine) {
    for program in PROGRAMS {
        for (name, parts) in ERRORS {
            let error = match call(engine, program, name) {
                Ok(result) => panic!("{program}: {name}: {result}"),
                Err(error) => error,
            };
            let message = error.root_cause().to_string();
            assert!(
                message.starts_with("wmemcheck: "),
                "{program}: {name}: {error:?}"
            );
            for part in *parts {
                assert!(message.contains(part), "{program}: {name}: {message}");
            }
            let trace = error.downcast_ref::<WasmBacktrace>().unwrap();
            let frames = trace.frames().iter().filter_map(|frame| frame.func_name());
            let frames: Vec<_> = frames.collect();
            assert!(frames.contains(name), "{program}: {name}: {frames:?}");
            if message.contains("free of") {
                let function = if message.contains("by `free`") {
                    "free"
                } else {
                    "realloc"
                };
                assert!(
                    frames[0].ends_with(function) || *name == "invalid_free",
                    "{frames:?}"
                );
            }
        }
    }
}

#[test]
fn memory_errors_are_found() {
    errors_are_found(&engine(|c| c));
    errors_are_found(&engine(|c| c.cranelift_opt_level(OptLevel::Speed)));
    errors_are_found(&engine(|c| c.signals_based_traps(false)));
}

#[cfg(feature = "pulley")]
#[test]
fn memory_errors_are_found_in_bytecode() {
    errors_are_found(&engine(|c| c.target("pulley64").unwrap()));
}

#[test]
fn correct_programs_are_left_alone() {
    for program in PROGRAMS {
        let result = call(&engine(|c| c), program, "correct").unwrap();
        assert_eq!(result, 2 + 3 + 23 + 7);
        // What is not asked for is not checked.
        for name in ["overflow_by_one", "uninitialised_read", "use_after_free"] {
            call(&Engine::default(), program, name).unwrap();
        }
    }
}

/// An allocator that hands out one block after the other from 1024 on.
const ALLOCATOR: &str = r#"
    (global $next (mut i32) (i32.const 1024))
    (func $bump (param i32) (result i32)
        (i32.store (global.get $next) (local.get 0))
        (global.set $next (i32.add (global.get $next) (i32.add (local.get 0) (i32.const 16))))
        (i32.add (i32.const 8) (i32.sub (global.get $next) (i32.add (local.get 0) (i32.const 16)))))
    (func $malloc (export "malloc") (param i32) (result i32) (return_call $bump (local.get 0)))
    (func $free (export "free") (param i32)
        (i32.store (i32.sub (local.get 0) (i32.const 8)) (i32.const 0)))"#;

/// Runs code with two blocks of 16 bytes. The host fills the block that it is given a pointer to, and returns one that it made.
fn run(engine: &Engine, code: &str) -> Result<()> {
    let wat = format!(
        r#"(module
            (type $of_host (func (param i32) (result i32)))
            (import "" "host" (func $host (type $of_host)))
            (memory (export "memory") 1) (memory $other 1)
            (table funcref (elem $host))
            (data $d "0123456789abcdefghij")
            {ALLOCATOR}
            (func $id (param i32) (result i32) (local.get 0))
            (func (export "run") (local $p i32) (local $q i32)
                (local.set $p (call $malloc (i32.const 16)))
                (local.set $q (call $malloc (i32.const 16)))
                {code}))"#
    );
    let module = Module::new(engine, wat)?;
    let mut store = Store::new(engine, ());
    let host = Func::wrap(&mut store, |mut caller: Caller<'_, ()>, pointer: i32| {
        let Some(Extern::Func(malloc)) = caller.get_export("malloc") else {
            bail!("no malloc");
        };
        let Some(Extern::Memory(memory)) = caller.get_export("memory") else {
            bail!("no memory");
        };
        let made = malloc.typed::<i32, i32>(&caller)?.call(&mut caller, 8)?;
        memory.write(&mut caller, pointer as usize, &[7; 8])?;
        memory.write(&mut caller, made as usize, &[9; 8])?;
        Ok(made)
    });
    let instance = Instance::new(&mut store, &module, &[host.into()])?;
    instance
        .get_typed_func::<(), ()>(&mut store, "run")?
        .call(&mut store, ())
}

#[rustfmt::skip]
#[test]
fn all_kinds_of_accesses_are_checked() {
    let engine = engine(|c| c);
    for (code, found) in [
        ("(i32.store8 offset=16 (local.get $p) (i32.const 1))", "invalid store of 1 "),
        ("(drop (i64.load offset=16 (local.get $p)))", "invalid load of 8 "),
        ("(drop (i32.load16_u offset=15 (local.get $p)))", "invalid load of 2 "),
        ("(f64.store offset=9 (local.get $p) (f64.const 0))", "invalid store of 8 "),
        ("(v128.store offset=1 (local.get $p) (v128.const i64x2 0 0))", "invalid store of 16 "),
        ("(drop (v128.load offset=1 (local.get $p)))", "invalid load of 16 "),
        ("(drop (v128.load32_zero offset=17 (local.get $p)))", "invalid load of 4 "),
        ("(drop (v128.load8_lane offset=17 0 (local.get $p) (v128.const i64x2 0 0)))", "invalid load of 1 "),
        ("(v128.store64_lane offset=9 0 (local.get $p) (v128.const i64x2 0 0))", "invalid store of 8 "),
        ("(drop (i32.atomic.load offset=16 (local.get $p)))", "invalid load of 4 "),
        ("(i32.atomic.store8 offset=16 (local.get $p) (i32.const 1))", "invalid store of 1 "),
        ("(drop (i32.atomic.rmw.add (local.get $p) (i32.const 1)))", "load of 4 uninitialised "),
        ("(drop (i64.atomic.rmw.cmpxchg (local.get $p) (i64.const 1) (i64.const 1)))", "load of 8 uninitialised "),
        ("(memory.fill (local.get $p) (i32.const 1) (i32.const 17))", "invalid store of 17 "),
        ("(memory.fill (local.get $p) (i32.const 1) (i32.mul (local.get $p) (i32.const 4)))", "invalid store of 4128 "),
        ("(memory.init $d (local.get $p) (i32.const 0) (i32.const 17))", "invalid store of 17 "),
        ("(memory.copy (local.get $p) (local.get $q) (i32.const 17))", "invalid load of 17 "),
        ("(memory.copy $other 0 (i32.const 0) (local.get $q) (i32.const 17))", "invalid load of 17 "),
        ("(memory.copy 0 $other (local.get $q) (i32.const 0) (i32.const 17))", "invalid store of 17 "),
        ("(drop (call $id (i32.load (local.get $p))))", "load of 4 uninitialised "),
        ("(drop (call $host (i32.load (local.get $p))))", "load of 4 uninitialised "),
        ("(if (i32.load (local.get $p)) (then))", "load of 4 uninitialised "),
        ("(drop (f32.neg (f32.load (local.get $p))))", "load of 4 uninitialised "),
        ("(drop (i64.add (i64.const 1) (i64.load8_s (local.get $p))))", "load of 1 uninitialised "),
        ("(drop (i32.load (i32.load (local.get $p))))", "load of 4 uninitialised "),
        ("(memory.fill (i32.const 0) (i32.const 0) (i32.load (local.get $p)))", "load of 4 uninitialised "),
        ("(drop (memory.grow (i32.load (local.get $p))))", "load of 4 uninitialised "),
        // Copies are as undefined as what they were made from.
        ("(i32.store (i32.const 8) (i32.load (local.get $p))) (drop (i32.eqz (i32.load (i32.const 8))))",
            "at 0x8, to where they were copied"),
        ("(memory.copy (i32.const 8) (local.get $p) (i32.const 16)) (drop (i32.eqz (i32.load (i32.const 20))))",
            "at 0x14, to where they were copied"),
        ("(i32.store (local.get $q) (i32.load (local.get $p))) (drop (i32.eqz (i32.load (local.get $q))))",
            "0 bytes into the block of 16 bytes at 0x428"),
        // What is not in memory is found as ever.
        ("(i32.store (i32.const 100000) (i32.const 0))", "out of bounds"),
        ("(i32.store offset=0xffffffff (i32.const 2000) (i32.const 0))", "out of bounds"),
        ("(memory.fill (local.get $p) (i32.const 1) (i32.const 100000))", "out of bounds"),
    ] {
        let error = match run(&engine, code) {
            Ok(()) => panic!("{code}"),
            Err(error) => error,
        };
        let message = error.root_cause().to_string();
        assert!(message.contains(found), "{code}: {message}");
    }
    for code in [
        // Copies of what was never written.
        "(i64.store (local.get $p) (i64.load (local.get $q)))",
        "(i64.store (i32.const 0) (i64.load (local.get $q)))",
        "(memory.copy (local.get $p) (local.get $q) (i32.const 16))",
        // No heap.
        "(drop (i32.eqz (i32.load (i32.const 8))))",
        "(drop (i32.eqz (i32.load $other (local.get $p))))",
        "(drop (memory.grow (i32.const 1))) (i32.store (i32.const 70000) (i32.const 1))",
        // Written.
        "(i32.store (local.get $p) (i32.const 0)) (drop (i32.eqz (i32.load (local.get $p))))",
        "(memory.fill (local.get $p) (i32.const 1) (i32.const 16)) (drop (i64.eqz (i64.load offset=8 (local.get $p))))",
        "(memory.init $d (local.get $p) (i32.const 0) (i32.const 9)) (drop (i32.eqz (i32.load offset=8 (local.get $p))))",
        "(memory.copy 0 $other (local.get $p) (i32.const 0) (i32.const 9)) (drop (i32.eqz (i32.load offset=8 (local.get $p))))",
        "(call $free (local.get $p)) (call $free (local.get $q)) (call $free (call $malloc (i32.const 0)))",
    ] {
        if let Err(error) = run(&engine, code) {
            panic!("{code}: {error:?}");
        }
    }
}

#[test]
fn what_the_host_is_given_counts_as_written() {
    let engine = engine(|c| c);
    let uses_p = "(drop (i32.eqz (i32.load (local.get $p))))";
    for code in [
        &format!("(drop (call $host (local.get $p))) {uses_p}"),
        &format!("(drop (call_indirect (type $of_host) (local.get $p) (i32.const 0))) {uses_p}"),
        // A list of buffers.
        &format!(
            "(i32.store (i32.const 24) (local.get $p)) (drop (call $host (i32.const 8))) {uses_p}"
        ),
        // What the host made.
        "(drop (i32.eqz (i32.load (call $host (local.get $p)))))",
    ] {
        if let Err(error) = run(&engine, code) {
            panic!("{code}: {error:?}");
        }
    }
    let error = run(
        &engine,
        &format!("(drop (call $host (local.get $q))) {uses_p}"),
    )
    .unwrap_err();
    assert!(
        error.root_cause().to_string().contains("uninitialised"),
        "{error:?}"
    );
}

#[test]
fn the_host_calls_with_blocks_that_it_filled() -> Result<()> {
    let engine = engine(|c| c);
    let wat = format!(
        r#"(module (memory (export "memory") 1) {ALLOCATOR}
            (func (export "first") (param i32) (result i32) (i32.add (i32.const 1) (i32.load (local.get 0)))))"#
    );
    let module = Module::new(&engine, wat)?;
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[])?;
    let memory = instance.get_memory(&mut store, "memory").unwrap();
    let malloc = instance.get_typed_func::<i32, i32>(&mut store, "malloc")?;
    let first = instance.get_typed_func::<i32, i32>(&mut store, "first")?;
    let free = instance.get_typed_func::<i32, ()>(&mut store, "free")?;
    let block = malloc.call(&mut store, 4)?;
    memory.write(&mut store, block as usize, &[4, 0, 0, 0])?;
    assert_eq!(first.call(&mut store, block)?, 5);
    free.call(&mut store, block)?;
    let message = |error: Error| error.root_cause().to_string();
    let error = message(first.call(&mut store, block).unwrap_err());
    assert!(error.contains("use after free"), "{error}");
    let error = message(free.call(&mut store, block).unwrap_err());
    assert!(error.contains("double free"), "{error}");
    Ok(())
}

/// Heaps are those of memories, whoever uses them, and memories of one instance are not mixed up.
#[test]
fn memories_can_be_imported() -> Result<()> {
    let engine = engine(|c| c);
    let mut store = Store::new(&engine, ());
    let owner = Module::new(
        &engine,
        r#"(module (memory (export "a") 1) (memory (export "b") 1))"#,
    )?;
    let owner = Instance::new(&mut store, &owner, &[])?;
    let user = Module::new(
        &engine,
        format!(
            r#"(module (import "" "" (memory 1)) {ALLOCATOR}
                (func (export "store") (param i32) (i32.store8 (local.get 0) (i32.const 1))))"#
        ),
    )?;
    let mut users = Vec::new();
    for name in ["a", "b", "a"] {
        let memory = owner.get_memory(&mut store, name).unwrap();
        users.push(Instance::new(&mut store, &user, &[memory.into()])?);
    }
    let malloc = users[0].get_typed_func::<i32, i32>(&mut store, "malloc")?;
    let end = malloc.call(&mut store, 8)? + 8;
    for (user, finds) in users.iter().zip([true, false, true]) {
        let call = user.get_typed_func::<i32, ()>(&mut store, "store")?;
        assert_eq!(call.call(&mut store, end).is_err(), finds);
    }
    Ok(())
}

#[test]
fn memories_of_64_bits_are_checked() -> Result<()> {
    let engine = engine(|c| c.wasm_memory64(true));
    let module = Module::new(
        &engine,
        r#"(module (memory i64 1)
            (func $malloc (export "malloc") (param i64) (result i64) (i64.const 2048))
            (func (export "store") (param i64) (drop (call $malloc (i64.const 8)))
                (i64.store offset=8 (local.get 0) (i64.const 1))))"#,
    )?;
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[])?;
    let call = instance.get_typed_func::<i64, ()>(&mut store, "store")?;
    call.call(&mut store, 2040)?;
    for (at, found) in [
        (2044, "4 bytes into the block of 8 bytes"),
        (-1, "out of bounds"),
        (-8, "out of bounds"),
    ] {
        let error = call.call(&mut store, at).unwrap_err();
        assert!(
            error.root_cause().to_string().contains(found),
            "{at}: {error:?}"
        );
    }
    Ok(())
}

#[test]
fn artifacts_are_checked_for_it() {
    let checked = engine(|c| c);
    let artifact = checked.precompile_module(b"(module)").unwrap();
    // SAFETY: the artifact was just made.
    let loaded = unsafe { Module::deserialize(&Engine::default(), &artifact) };
    let message = format!("{:#}", loaded.err().unwrap());
    assert!(message.contains("Config::wmemcheck"), "{message}");
}
