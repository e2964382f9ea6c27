//! Traps, and the errors and backtraces that they become.

use waxwing::*;

fn instantiate(wat: &str) -> Result<(Store<()>, Instance)> {
    let engine = Engine::default();
    let module = Module::new(&engine, wat)?;
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[])?;
    Ok((store, instance))
}

fn run(wat: &str) -> Error {
    let (mut store, instance) = instantiate(wat).unwrap();
    let run = instance.get_func(&mut store, "run").unwrap();
    run.call(&mut store, &[], &mut []).unwrap_err()
}

#[test]
fn every_trap_has_its_code() {
    let body = |body: &str| {
        format!(
            r#"(module
                (type $other (func (param i32)))
                (memory 1)
                (table 2 funcref)
                (elem (i32.const 0) $run)
                (func $run (export "run") {body}))"#
        )
    };
    let cases = [
        ("unreachable", Trap::UnreachableCodeReached),
        (
            "(drop (i32.div_s (i32.const 1) (i32.const 0)))",
            Trap::IntegerDivisionByZero,
        ),
        (
            "(drop (i64.rem_u (i64.const 1) (i64.const 0)))",
            Trap::IntegerDivisionByZero,
        ),
        (
            "(drop (i32.div_s (i32.const 0x80000000) (i32.const -1)))",
            Trap::IntegerOverflow,
        ),
        (
            "(drop (i32.trunc_f64_s (f64.const nan)))",
            Trap::BadConversionToInteger,
        ),
        (
            "(drop (i32.trunc_f32_u (f32.const 1e30)))",
            Trap::IntegerOverflow,
        ),
        (
            "(drop (i32.load (i32.const 65533)))",
            Trap::MemoryOutOfBounds,
        ),
        (
            "(memory.fill (i32.const 1) (i32.const 0) (i32.const 65536))",
            Trap::MemoryOutOfBounds,
        ),
        ("(drop (table.get (i32.const 2)))", Trap::TableOutOfBounds),
        ("(call_indirect (i32.const 2))", Trap::TableOutOfBounds),
        ("(call_indirect (i32.const 1))", Trap::IndirectCallToNull),
        (
            "(call_indirect (type $other) (i32.const 0) (i32.const 0))",
            Trap::BadSignature,
        ),
        ("(call $run)", Trap::StackOverflow),
    ];
    for (instructions, trap) in cases {
        let error = run(&body(instructions));
        assert_eq!(
            error.downcast_ref::<Trap>(),
            Some(&trap),
            "{instructions}: {error:?}"
        );
        assert_eq!(error.root_cause().to_string(), trap.to_string());
    }
}

#[test]
fn backtraces_name_modules_functions_and_offsets() {
    let error = run(r#"
        (module $app
            (func $leaf unreachable)
            (func (call $leaf) nop)
            (func (export "run") (call 1)))
    "#);
    let backtrace = error.downcast_ref::<WasmBacktrace>().unwrap();
    let frames = backtrace.frames();
    let functions: Vec<_> = frames
        .iter()
        .map(|frame| (frame.func_index(), frame.func_name()))
        .collect();
    assert_eq!(functions, [(0, Some("leaf")), (1, None), (2, None)]);
    assert!(
        frames
            .iter()
            .all(|frame| frame.module().name() == Some("app"))
    );

    let offsets: Vec<_> = frames
        .iter()
        .map(|frame| frame.module_offset().unwrap())
        .collect();
    assert!(
        offsets.is_sorted(),
        "functions follow each other: {offsets:?}"
    );
    let text = error.to_string();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines[0], "error while executing at wasm backtrace:");
    assert_eq!(lines[1], format!("    0: {:#6x} - app!leaf", offsets[0]));
    assert_eq!(
        lines[2],
        format!("    1: {:#6x} - app!<wasm function 1>", offsets[1])
    );
    assert_eq!(lines.len(), 4);
    assert_eq!(
        format!("{error:#}"),
        format!("{text}: wasm trap: wasm `unreachable` instruction executed")
    );
}

#[test]
fn offsets_are_those_of_the_instruction() {
    let wat = r#"(module (func (export "run") nop nop unreachable))"#;
    let error = run(wat);
    let frame = &error.downcast_ref::<WasmBacktrace>().unwrap().frames()[0];
    let binary = wat::parse_str(wat).unwrap();
    assert_eq!(
        binary[frame.module_offset().unwrap()],
        0x00,
        "`unreachable`"
    );
    // The body begins with the number of declarations of locals, then there are two `nop`s.
    assert_eq!(frame.func_offset(), Some(3));
}

#[test]
fn tail_calls_leave_no_frame() {
    let error = run(r#"
        (module
            (func $leaf unreachable)
            (func $middle (return_call $leaf))
            (func $run (export "run") (call $middle)))
    "#);
    let frames = error.downcast_ref::<WasmBacktrace>().unwrap().frames();
    let names: Vec<_> = frames.iter().filter_map(FrameInfo::func_name).collect();
    assert_eq!(names, ["leaf", "run"]);
}

#[test]
fn mangled_names_are_demangled_in_the_text_only() {
    let rust = "_ZN4core3ops8function6FnOnce9call_once17h0123456789abcdefE";
    let error = run(&format!(
        r#"(module
            (func $_Z3foov unreachable)
            (func ${rust} (export "run") (call $_Z3foov)))"#
    ));
    let backtrace = error.downcast_ref::<WasmBacktrace>().unwrap();
    assert_eq!(backtrace.frames()[0].func_name(), Some("_Z3foov"));
    assert_eq!(backtrace.frames()[1].func_name(), Some(rust));
    let text = backtrace.to_string();
    assert!(text.contains("!foo()\n"), "{text}");
    assert!(
        text.ends_with("!core::ops::function::FnOnce::call_once"),
        "{text}"
    );
}

#[test]
fn names_that_are_not_mangled_stay_as_they_are() {
    let error = run("(module (func $f (export \"run\") unreachable))");
    let text = error.downcast_ref::<WasmBacktrace>().unwrap().to_string();
    assert!(text.ends_with("!f"), "{text}");
}

#[test]
fn faults_of_memories_say_where() {
    let error = run(r#"
        (module
            (memory 1)
            (func (export "run") (drop (i32.load8_u offset=16 (i32.const 0x1ffff)))))
    "#);
    assert_eq!(error.downcast_ref::<Trap>(), Some(&Trap::MemoryOutOfBounds));
    let text = format!("{error:#}");
    assert!(
        text.contains("memory fault at wasm address 0x2000f in linear memory of size 0x10000"),
        "{text}"
    );
}

#[test]
fn backtraces_can_be_off() -> Result<()> {
    let engine = Engine::new(Config::new().wasm_backtrace(false))?;
    let module = Module::new(
        &engine,
        r#"(module
            (import "" "" (func $capture))
            (func (export "run") (call $capture) unreachable))"#,
    )?;
    let mut store = Store::new(&engine, ());
    let capture = Func::wrap(&mut store, |caller: Caller<'_, ()>| {
        assert!(WasmBacktrace::capture(&caller).frames().is_empty());
        assert_eq!(WasmBacktrace::force_capture(&caller).frames().len(), 1);
    });
    let instance = Instance::new(&mut store, &module, &[capture.into()])?;
    let run = instance.get_typed_func::<(), ()>(&mut store, "run")?;
    let error = run.call(&mut store, ()).unwrap_err();
    assert!(error.downcast_ref::<WasmBacktrace>().is_none());
    assert_eq!(error.downcast::<Trap>()?, Trap::UnreachableCodeReached);
    Ok(())
}

#[test]
fn host_functions_can_capture_backtraces() -> Result<()> {
    let engine = Engine::default();
    let module = Module::new(
        &engine,
        r#"(module
            (import "" "" (func $capture))
            (func $inner (call $capture))
            (func $run (export "run") (call $inner)))"#,
    )?;
    let mut store = Store::new(&engine, Vec::new());
    assert!(WasmBacktrace::capture(&store).frames().is_empty());
    let capture = Func::wrap(&mut store, |mut caller: Caller<'_, Vec<String>>| {
        let backtrace = WasmBacktrace::capture(&caller);
        let names = backtrace.frames().iter().filter_map(|f| f.func_name());
        let names = names.map(str::to_string).collect();
        *caller.data_mut() = names;
    });
    let instance = Instance::new(&mut store, &module, &[capture.into()])?;
    let run = instance.get_typed_func::<(), ()>(&mut store, "run")?;
    run.call(&mut store, ())?;
    assert_eq!(store.data()[..], ["inner", "run"]);
    assert!(WasmBacktrace::capture(&store).frames().is_empty());
    Ok(())
}

#[test]
fn backtraces_span_nested_entries() -> Result<()> {
    let engine = Engine::default();
    let module = Module::new(
        &engine,
        r#"(module
            (import "" "" (func $host))
            (func $trap (export "trap") unreachable)
            (func $run (export "run") (call $host)))"#,
    )?;
    let mut store = Store::new(&engine, ());
    let host = Func::wrap(&mut store, |mut caller: Caller<'_, ()>| -> Result<()> {
        let trap = caller
            .get_export("trap")
            .and_then(Extern::into_func)
            .unwrap();
        trap.typed::<(), ()>(&caller)?.call(&mut caller, ())
    });
    let instance = Instance::new(&mut store, &module, &[host.into()])?;
    let run = instance.get_typed_func::<(), ()>(&mut store, "run")?;
    let error = run.call(&mut store, ()).unwrap_err();
    let frames = error.downcast_ref::<WasmBacktrace>().unwrap().frames();
    let names: Vec<_> = frames.iter().filter_map(FrameInfo::func_name).collect();
    assert_eq!(names, ["trap", "run"]);
    assert_eq!(
        error.downcast_ref::<Trap>(),
        Some(&Trap::UnreachableCodeReached)
    );
    Ok(())
}

#[test]
fn a_store_is_usable_after_a_trap() -> Result<()> {
    let (mut store, instance) = instantiate(
        r#"(module
            (global $n (export "n") (mut i32) (i32.const 0))
            (func (export "run") (param i32) (result i32)
                (global.set $n (i32.add (global.get $n) (i32.const 1)))
                (i32.div_u (i32.const 100) (local.get 0))))"#,
    )?;
    let run = instance.get_typed_func::<u32, u32>(&mut store, "run")?;
    for _ in 0..1000 {
        run.call(&mut store, 0).unwrap_err();
        assert_eq!(run.call(&mut store, 5)?, 20);
    }
    let n = instance.get_global(&mut store, "n").unwrap();
    assert_eq!(n.get(&mut store).unwrap_i32(), 2000);
    Ok(())
}

#[test]
fn the_engine_can_check_everything_explicitly() -> Result<()> {
    let engine = Engine::new(Config::new().signals_based_traps(false))?;
    let module = Module::new(
        &engine,
        r#"(module
            (memory 1)
            (func (export "load") (param i32) (result i32) (i32.load (local.get 0)))
            (func (export "div") (param i32 i32) (result i32)
                (i32.div_s (local.get 0) (local.get 1)))
            (func $recurse (export "recurse") (call $recurse)))"#,
    )?;
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[])?;
    let load = instance.get_typed_func::<u32, u32>(&mut store, "load")?;
    assert_eq!(load.call(&mut store, 65532)?, 0);
    let trap = |error: Error| error.downcast::<Trap>().unwrap();
    assert_eq!(
        trap(load.call(&mut store, 65533).unwrap_err()),
        Trap::MemoryOutOfBounds
    );
    let div = instance.get_typed_func::<(i32, i32), i32>(&mut store, "div")?;
    assert_eq!(
        trap(div.call(&mut store, (1, 0)).unwrap_err()),
        Trap::IntegerDivisionByZero
    );
    assert_eq!(
        trap(div.call(&mut store, (i32::MIN, -1)).unwrap_err()),
        Trap::IntegerOverflow
    );
    let recurse = instance.get_typed_func::<(), ()>(&mut store, "recurse")?;
    assert_eq!(
        trap(recurse.call(&mut store, ()).unwrap_err()),
        Trap::StackOverflow
    );
    Ok(())
}
