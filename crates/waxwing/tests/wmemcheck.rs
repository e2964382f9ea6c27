//! Memory errors of programs, found by `Config::wmemcheck`.

use waxwing::*;

const ERRORS: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../tests/fixtures/wmemcheck/errors.wasm"
);

fn engine(change: impl FnOnce(&mut Config) -> &mut Config) -> Engine {
    let mut config = Config::new();
    change(config.wmemcheck(true));
    Engine::new(&config).unwrap()
}

/// Calls an export of the program in a new instance.
fn call(engine: &Engine, name: &str) -> Result<i32> {
    let module = Module::from_file(engine, ERRORS)?;
    let mut store = Store::new(engine, ());
    let mut linker = Linker::new(engine);
    linker.define_unknown_imports_as_traps(&module)?;
    let instance = linker.instantiate(&mut store, &module)?;
    if let Ok(start) = instance.get_typed_func::<(), ()>(&mut store, "_initialize") {
        start.call(&mut store, ())?;
    }
    instance
        .get_typed_func::<(), i32>(&mut store, name)?
        .call(&mut store, ())
}

fn errors_are_found(engine: &Engine) {
    for (name, parts) in [
        (
            "use_after_free",
            &["use after free: load of 1 bytes", "4 bytes into the freed block of 24 bytes"][..],
        ),
        (
            "write_after_free",
            &["use after free: store of 4 bytes", "8 bytes into the freed block of 24 bytes"],
        ),
        (
            "overflow_by_one",
            &["invalid store of 1 bytes", "0 bytes behind the block of 10 bytes"],
        ),
        (
            "copy_too_much",
            &["invalid store of 21 bytes", "0 bytes into the block of 20 bytes"],
        ),
        (
            "uninitialised_read",
            &["load of 4 uninitialised bytes", "8 bytes into the block of 16 bytes"],
        ),
        ("double_free", &["double free of", "a block of 30 bytes"]),
        (
            "invalid_free",
            &["invalid free of", "8 bytes into the block of 30 bytes"],
        ),
    ] {
        let error = call(engine, name).unwrap_err();
        let message = error.root_cause().to_string();
        assert!(message.starts_with("wmemcheck: "), "{name}: {error:?}");
        for part in parts {
            assert!(message.contains(part), "{name}: {message}");
        }
        let trace = error.downcast_ref::<WasmBacktrace>().unwrap();
        let frames = trace.frames().iter().filter_map(|frame| frame.func_name());
        let frames: Vec<_> = frames.collect();
        assert!(frames.contains(&name), "{name}: {frames:?}");
        if message.contains("free of") {
            assert_eq!(frames[0], "free", "{frames:?}");
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
    let result = call(&engine(|c| c), "correct").unwrap();
    assert_eq!(result, 2 + 3 + 23 + 7);
    // What is not asked for is not checked.
    let plain = Engine::default();
    call(&plain, "overflow_by_one").unwrap();
    call(&plain, "uninitialised_read").unwrap();
}

/// An allocator that hands out one block after the other from 1024 on, and code that uses it.
fn run(engine: &Engine, code: &str) -> Result<()> {
    let wat = format!(
        r#"(module (import "" "host" (func $host (param i32)))
            (memory (export "memory") 1) (memory $other 1)
            (global $next (mut i32) (i32.const 1024))
            (func $bump (param i32) (result i32)
                (i32.store (global.get $next) (local.get 0))
                (global.set $next (i32.add (global.get $next) (i32.add (local.get 0) (i32.const 16))))
                (i32.add (i32.const 8) (i32.sub (global.get $next) (i32.add (local.get 0) (i32.const 16)))))
            (func (export "malloc") (param i32) (result i32) (return_call $bump (local.get 0)))
            (func (export "free") (param i32)
                (i32.store (i32.sub (local.get 0) (i32.const 8)) (i32.const 0)))
            (func $f (export "run") (local $p i32) (local $q i32)
                (local.set $p (call 2 (i32.const 16)))
                (local.set $q (call 2 (i32.const 16)))
                {code}))"#
    );
    let module = Module::new(engine, wat)?;
    let mut store = Store::new(engine, ());
    let host = Func::wrap(&mut store, |_: i32| ());
    let instance = Instance::new(&mut store, &module, &[host.into()])?;
    instance
        .get_typed_func::<(), ()>(&mut store, "run")?
        .call(&mut store, ())
}

#[test]
fn all_kinds_of_accesses_are_checked() {
    let engine = engine(|c| c);
    for (code, found) in [
        ("(i32.store8 offset=16 (local.get $p) (i32.const 1))", "invalid store of 1 "),
        ("(drop (i64.load offset=16 (local.get $p)))", "invalid load of 8 "),
        ("(drop (i32.load16_u offset=15 (local.get $p)))", "invalid load of 2 "),
        ("(v128.store offset=1 (local.get $p) (v128.const i64x2 0 0))", "invalid store of 16 "),
        ("(drop (v128.load8_lane offset=17 0 (local.get $p) (v128.const i64x2 0 0)))", "invalid load of 1 "),
        ("(drop (i32.atomic.rmw.add (local.get $p) (i32.const 1)))", "load of 4 uninitialised "),
        ("(memory.fill 0 (local.get $p) (i32.const 1) (i32.const 17))", "invalid store of 17 "),
        ("(memory.copy 0 0 (local.get $p) (local.get $q) (i32.const 17))", "invalid load of 17 "),
        ("(memory.copy 1 0 (i32.const 0) (local.get $q) (i32.const 17))", "invalid load of 17 "),
        ("(memory.copy 0 1 (local.get $q) (i32.const 0) (i32.const 17))", "invalid store of 17 "),
        ("(call $host (i32.load (local.get $p)))", "load of 4 uninitialised "),
        ("(if (i32.load (local.get $p)) (then))", "load of 4 uninitialised "),
        ("(drop (i32.load (i32.load (local.get $p))))", "load of 4 uninitialised "),
        ("(i32.store (i32.const 0) (i32.load (local.get $p)))", "never written are copied to 0x0"),
        ("(i32.store (i32.const 100000) (i32.const 0))", "out of bounds"),
    ] {
        let error = run(&engine, code).unwrap_err();
        let message = error.root_cause().to_string();
        assert!(message.contains(found), "{code}: {message}");
    }
    for code in [
        // Copies of what was never written.
        "(i64.store (local.get $p) (i64.load (local.get $q)))",
        "(memory.copy 0 0 (local.get $p) (local.get $q) (i32.const 16))",
        // Written by the host, perhaps.
        "(call $host (local.get $p)) (drop (i32.eqz (i32.load (local.get $p))))",
        // No heap.
        "(drop (i32.eqz (i32.load (i32.const 8))))",
        "(drop (i32.eqz (i32.load 1 (local.get $p))))",
        "(i32.store (local.get $p) (i32.const 0)) (drop (i32.eqz (i32.load (local.get $p))))",
        "(call 3 (local.get $p)) (call 3 (local.get $q)) (call 3 (call 2 (i32.const 0)))",
    ] {
        if let Err(error) = run(&engine, code) {
            panic!("{code}: {error:?}");
        }
    }
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
