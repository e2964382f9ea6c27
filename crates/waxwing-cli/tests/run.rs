//! `waxwing run`: what guests see, and how their end is reported.

mod support;

use std::io::Write;
use std::process::Stdio;
use support::{Ran, Sandbox};

/// A module with the parts of WASI that the tests use; `body` is what `_start` does.
fn wasi(body: &str) -> String {
    format!(
        r#"(module
            (import "wasi_snapshot_preview1" "fd_write"
                (func $fd_write (param i32 i32 i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "fd_read"
                (func $fd_read (param i32 i32 i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "args_sizes_get"
                (func $args_sizes_get (param i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "args_get"
                (func $args_get (param i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "environ_sizes_get"
                (func $environ_sizes_get (param i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "environ_get"
                (func $environ_get (param i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "path_open"
                (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "fd_prestat_dir_name"
                (func $fd_prestat_dir_name (param i32 i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
            (memory (export "memory") 1)
            (func $print (param $at i32) (param $length i32)
                (i32.store (i32.const 0) (local.get $at))
                (i32.store (i32.const 4) (local.get $length))
                (call $check (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))
            (func $check (param i32) (if (local.get 0) (then (call $proc_exit (local.get 0)))))
            (func (export "_start") {body}))"#
    )
}

#[test]
fn the_example_greets() {
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/hello.wat");
    let sandbox = Sandbox::new();
    assert_eq!(
        sandbox.run(&format!("run {example}")).success(),
        "Hello from Waxwing!\n"
    );
    assert_eq!(sandbox.run(example).success(), "Hello from Waxwing!\n");
}

#[test]
fn exit_codes_are_passed_through() {
    let sandbox = Sandbox::new();
    for (status, code) in [
        (0, 0),
        (1, 1),
        (42, 42),
        (134, 134),
        (255, 255),
        (256, 1),
        (-1, 1),
    ] {
        sandbox.file(
            "exit.wat",
            wasi(&format!("(call $proc_exit (i32.const {status}))")),
        );
        let ran = sandbox.run("run exit.wat");
        assert_eq!(
            (ran.code, ran.stderr.as_str()),
            (Some(code), ""),
            "status {status}"
        );
    }
}

#[test]
fn traps_exit_134_with_a_backtrace() {
    let sandbox = Sandbox::new();
    sandbox.file(
        "trap.wat",
        r#"(module $app
            (func $inner (drop (i32.div_s (i32.const 1) (i32.const 0))))
            (func $outer (export "_start") (call $inner)))"#,
    );
    sandbox.run("run trap.wat").failure(
        134,
        &[
            "error: failed to run `trap.wat`",
            "integer divide by zero",
            "inner",
            "outer",
        ],
    );
    let ran = sandbox.run("run -D backtrace=n trap.wat");
    assert!(!ran.stderr.contains("inner"), "{ran:#?}");
    ran.failure(134, &["integer divide by zero"]);
    // Also where the start function traps.
    sandbox.file(
        "start.wat",
        "(module (func $boom unreachable) (start $boom))",
    );
    sandbox
        .run("start.wat")
        .failure(134, &["failed to run `start.wat`", "unreachable", "boom"]);
}

#[test]
fn stack_overflow_is_a_trap() {
    let sandbox = Sandbox::new();
    sandbox.file(
        "deep.wat",
        r#"(module (func $f (export "_start") (call $f)))"#,
    );
    sandbox
        .run("deep.wat")
        .failure(134, &["call stack exhausted"]);
    let ran = sandbox.run("run -W max-wasm-stack=32M deep.wat");
    assert!(
        ran.stderr.lines().count() < 200,
        "nobody reads a line for each call"
    );
    ran.failure(134, &["call stack exhausted"]);
    sandbox
        .run("run -W max-wasm-stack=0xffffffffffffffff deep.wat")
        .failure(1, &["max-wasm-stack=18446744073709551615", "too large"]);
}

const INVOKE: &str = r#"(module
    (func (export "add") (param i32 i64) (result i64)
        (i64.add (i64.extend_i32_s (local.get 0)) (local.get 1)))
    (func (export "pair") (param f32 f64) (result f64 f32) (local.get 1) (local.get 0))
    (func (export "vector") (param v128) (result v128) (local.get 0))
    (func (export "same") (param externref funcref) (result externref funcref)
        (local.get 0) (local.get 1))
    (func (export "self") (result funcref) (ref.func 0))
    (func (export "nothing")))"#;

#[test]
fn invoke_with_typed_arguments() {
    let sandbox = Sandbox::new();
    sandbox.file("m.wat", INVOKE);
    for (arguments, results) in [
        ("add -1 0x10", "15\n"),
        ("add 4294967295 1", "0\n"),
        ("pair 1.5 -inf", "-inf\n1.5\n"),
        ("pair nan:0x200000 0x1p-1", "0.5\nnan:0x200000\n"),
        (
            "vector 1",
            "i32x4 0x00000001 0x00000000 0x00000000 0x00000000\n",
        ),
        ("same null null", "null\nnull\n"),
        ("self", "funcref\n"),
        ("nothing", ""),
    ] {
        let (name, arguments) = arguments.split_once(' ').unwrap_or((arguments, ""));
        let ran = sandbox.run(&format!("run --invoke {name} m.wat {arguments}"));
        assert_eq!(ran.success(), results, "{name} {arguments}");
    }
    let mut command = sandbox.waxwing("--invoke vector m.wat");
    let ran = Ran::from(command.arg("f32x4 1 2 3 4").output().unwrap());
    assert_eq!(
        ran.success(),
        "i32x4 0x3f800000 0x40000000 0x40400000 0x40800000\n"
    );
}

#[test]
fn invoke_errors() {
    let sandbox = Sandbox::new();
    sandbox.file("m.wat", INVOKE);
    for (arguments, texts) in [
        (
            "add m.wat 1",
            &["`add` takes 2 arguments (i32, i64), but 1 were given"][..],
        ),
        (
            "add m.wat 1 x",
            &["argument 2 of `add`: `x` is no i64", "64-bit integer"],
        ),
        ("add m.wat 1.5 1", &["argument 1 of `add`: `1.5` is no i32"]),
        (
            "same m.wat 1 null",
            &["argument 1 of `same`", "references other than `null`"],
        ),
        (
            "none m.wat",
            &["`m.wat` exports no function `none`", "`add`", "`nothing`"],
        ),
    ] {
        sandbox
            .run(&format!("run --invoke {arguments}"))
            .failure(1, texts);
    }
}

#[test]
fn what_is_run_without_invoke() {
    let sandbox = Sandbox::new();
    sandbox.file("library.wat", INVOKE);
    sandbox.run("library.wat").failure(
        1,
        &[
            "`library.wat` exports no `_start`",
            "--invoke NAME",
            "`pair`",
        ],
    );
    sandbox.file("empty.wat", "(module)");
    assert_eq!(sandbox.run("empty.wat").success(), "");
    sandbox.file(
        "typed.wat",
        r#"(module (func (export "_start") (param i32)))"#,
    );
    sandbox.run("typed.wat").failure(1, &["`_start`", "(i32)"]);
}

#[test]
fn reactors_are_initialized_once_before_the_call() {
    let sandbox = Sandbox::new();
    sandbox.file(
        "reactor.wat",
        r#"(module (global $g (mut i32) (i32.const 0))
            (func (export "_initialize") (global.set $g (i32.add (global.get $g) (i32.const 1))))
            (func (export "get") (result i32) (global.get $g)))"#,
    );
    assert_eq!(sandbox.run("run --invoke get reactor.wat").success(), "1\n");
    assert_eq!(sandbox.run("run reactor.wat").success(), "");
    sandbox.file(
        "bad.wat",
        r#"(module (func (export "_initialize") unreachable))"#,
    );
    sandbox
        .run("run bad.wat")
        .failure(134, &["bad.wat", "unreachable"]);
}

#[test]
fn arguments_and_argv0() {
    let sandbox = Sandbox::new();
    // The strings of all arguments, each with its terminating zero.
    sandbox.file(
        "args.wat",
        wasi(
            "(call $check (call $args_sizes_get (i32.const 16) (i32.const 20)))
            (call $check (call $args_get (i32.const 1024) (i32.const 4096)))
            (call $print (i32.const 4096) (i32.load (i32.const 20)))",
        ),
    );
    for (arguments, seen) in [
        ("run args.wat", "args.wat\0"),
        ("args.wat a --dir -W help", "args.wat\0a\0--dir\0-W\0help\0"),
        ("run --argv0 me args.wat -- x", "me\0--\0x\0"),
    ] {
        assert_eq!(sandbox.run(arguments).success(), seen, "{arguments}");
    }
}

#[test]
fn environment() {
    let sandbox = Sandbox::new();
    sandbox.file(
        "env.wat",
        wasi(
            "(call $check (call $environ_sizes_get (i32.const 16) (i32.const 20)))
            (call $check (call $environ_get (i32.const 1024) (i32.const 4096)))
            (call $print (i32.const 4096) (i32.load (i32.const 20)))",
        ),
    );
    let run = |arguments: &str| {
        let mut command = sandbox.waxwing(arguments);
        Ran::from(command.env_clear().env("GIVEN", "host").output().unwrap())
    };
    assert_eq!(run("run env.wat").success(), "");
    assert_eq!(
        run("run --env A=1 --env GIVEN --env B= env.wat").success(),
        "A=1\0GIVEN=host\0B=\0"
    );
    assert_eq!(run("run -S inherit-env env.wat").success(), "GIVEN=host\0");
    run("run --env MISSING env.wat").failure(1, &["`--env MISSING`", "MISSING=VALUE"]);
    run("run --env =1 env.wat").failure(1, &["`--env =1`: the name is empty"]);
}

#[test]
fn directories() {
    let sandbox = Sandbox::new();
    sandbox.file("data/in.txt", "contents of the file");
    // Prints the first directory's name, then the file `in.txt` in it.
    sandbox.file(
        "cat.wat",
        wasi(
            r#"(memory.init 0 (i32.const 100) (i32.const 0) (i32.const 6))
            (call $check (call $path_open (i32.const 3) (i32.const 0) (i32.const 100) (i32.const 6)
                (i32.const 0) (i64.const 2) (i64.const 2) (i32.const 0) (i32.const 16)))
            (i32.store (i32.const 24) (i32.const 4096))
            (i32.store (i32.const 28) (i32.const 4096))
            (call $check (call $fd_read (i32.load (i32.const 16))
                (i32.const 24) (i32.const 1) (i32.const 20)))
            (call $print (i32.const 4096) (i32.load (i32.const 20))))
            (data "in.txt")
            (func (export "name") (param $length i32)
                (call $check (call $fd_prestat_dir_name (i32.const 3) (i32.const 4096) (local.get $length)))
                (call $print (i32.const 4096) (local.get $length))"#,
        ),
    );
    assert_eq!(
        sandbox.run("run --dir data cat.wat").success(),
        "contents of the file"
    );
    assert_eq!(
        sandbox.run("run --dir data::/mnt cat.wat").success(),
        "contents of the file"
    );
    assert_eq!(
        sandbox
            .run("run --dir data --invoke name cat.wat 4")
            .success(),
        "data"
    );
    assert_eq!(
        sandbox
            .run("run --dir data::/mnt --invoke name cat.wat 4")
            .success(),
        "/mnt"
    );
    // The file is not in this one, nor is there a directory without the option.
    sandbox.run("run --dir . cat.wat").failure(44, &[]);
    sandbox.run("run cat.wat").failure(8, &[]);
    sandbox
        .run("run --dir none cat.wat")
        .failure(1, &["`--dir none`", "failed to open `none`"]);
    sandbox
        .run("run --dir ::/x cat.wat")
        .failure(1, &["`--dir ::/x`", "HOST[::GUEST]"]);
}

#[test]
fn standard_input() {
    let sandbox = Sandbox::new();
    let program = wasi(
        "(i32.store (i32.const 24) (i32.const 4096))
        (i32.store (i32.const 28) (i32.const 4096))
        (call $check (call $fd_read (i32.const 0) (i32.const 24) (i32.const 1) (i32.const 20)))
        (call $print (i32.const 4096) (i32.load (i32.const 20)))",
    );
    sandbox.file("echo.wat", &program);
    let run = |arguments: &str, input: &str| {
        let mut child = sandbox
            .waxwing(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // The guest may be gone, or not read at all.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        Ran::from(child.wait_with_output().unwrap())
    };
    assert_eq!(run("run echo.wat", "typed").success(), "typed");
    assert_eq!(
        run("run -S inherit-stdin=n echo.wat", "typed").success(),
        ""
    );
    // The module itself may come from there.
    assert_eq!(run("run -", &wasi("")).success(), "");
}

#[test]
fn listeners() {
    let sandbox = Sandbox::new();
    // 6 is the type of sockets that stream, in the first byte of the descriptor's state.
    sandbox.file(
        "socket.wat",
        r#"(module
            (import "wasi_snapshot_preview1" "fd_fdstat_get"
                (func $fd_fdstat_get (param i32 i32) (result i32)))
            (memory (export "memory") 1)
            (func (export "type") (param i32) (result i32 i32)
                (call $fd_fdstat_get (local.get 0) (i32.const 0))
                (i32.load8_u (i32.const 0))))"#,
    );
    let run = |options: &str, descriptor: i32| {
        sandbox.run(&format!(
            "run {options} --invoke type socket.wat {descriptor}"
        ))
    };
    assert_eq!(run("-S tcplisten=127.0.0.1:0", 3).success(), "0\n6\n");
    assert_eq!(
        run("-S tcplisten=127.0.0.1:0 --dir .", 4).success(),
        "0\n6\n"
    );
    assert_eq!(run("", 3).success(), "8\n0\n");
    run("-S tcplisten=nowhere", 3).failure(1, &["`-S tcplisten=nowhere`"]);
}

#[test]
fn seeded_random_numbers() {
    let sandbox = Sandbox::new();
    sandbox.file(
        "random.wat",
        r#"(module
            (import "wasi_snapshot_preview1" "random_get"
                (func $random_get (param i32 i32) (result i32)))
            (memory (export "memory") 1)
            (func (export "random") (result i64)
                (drop (call $random_get (i32.const 0) (i32.const 8)))
                (i64.load (i32.const 0))))"#,
    );
    let run = |options: &str| {
        sandbox
            .run(&format!("run {options} --invoke random random.wat"))
            .success()
    };
    assert_eq!(run("-S random-seed=1"), run("-S random-seed=1"));
    assert_ne!(run("-S random-seed=1"), run("-S random-seed=2"));
    assert_ne!(run(""), run(""));
}

#[test]
fn preloads() {
    let sandbox = Sandbox::new();
    sandbox.file(
        "library.wat",
        r#"(module (func (export "five") (result i32) (i32.const 5)))"#,
    );
    sandbox.file(
        "main.wat",
        r#"(module (import "lib" "five" (func $five (result i32)))
            (func (export "six") (result i32) (i32.add (call $five) (i32.const 1))))"#,
    );
    let arguments = "run --preload lib=library.wat --invoke six main.wat";
    assert_eq!(sandbox.run(arguments).success(), "6\n");
    sandbox
        .run("run --invoke six main.wat")
        .failure(1, &["failed to instantiate `main.wat`", "lib", "five"]);
    sandbox
        .run("run --preload lib main.wat")
        .failure(1, &["`--preload lib`", "NAME=FILE"]);
    sandbox
        .run("run --preload lib=no.wat main.wat")
        .failure(1, &["`no.wat`"]);
}

#[test]
fn wasi_can_be_taken_away() {
    let sandbox = Sandbox::new();
    sandbox.file("hello.wat", wasi(""));
    sandbox.run("run hello.wat").success();
    sandbox.run("run -S preview1=n hello.wat").failure(
        1,
        &[
            "failed to instantiate `hello.wat`",
            "wasi_snapshot_preview1",
        ],
    );
    sandbox
        .run("run -S preview1=n --dir . hello.wat")
        .failure(1, &["`--dir` needs WASI"]);
}

#[test]
fn limits() {
    let sandbox = Sandbox::new();
    sandbox.file(
        "grow.wat",
        r#"(module (memory 1)
            (func (export "grow") (result i32) (memory.grow (i32.const 1))))"#,
    );
    assert_eq!(sandbox.run("run --invoke grow grow.wat").success(), "1\n");
    assert_eq!(
        sandbox
            .run("run -W max-memory-size=64K --invoke grow grow.wat")
            .success(),
        "-1\n"
    );
    sandbox
        .run("run -W max-memory-size=64K,trap-on-grow-failure --invoke grow grow.wat")
        .failure(134, &["grow.wat"]);
    sandbox
        .run("run -W max-memory-size=1K --invoke grow grow.wat")
        .failure(1, &["failed to instantiate `grow.wat`"]);
}

#[test]
fn files_that_cannot_be_loaded() {
    let sandbox = Sandbox::new();
    sandbox
        .run("run none.wasm")
        .failure(1, &["failed to read `none.wasm`", "No such file"]);
    sandbox
        .run("none.wasm")
        .failure(1, &["failed to read `none.wasm`"]);
    sandbox
        .run("compil")
        .failure(1, &["`compil` is neither a file nor a command"]);
    sandbox.run("run .").failure(1, &["failed to read `.`"]);
    sandbox.file("empty.wasm", "");
    sandbox
        .run("run empty.wasm")
        .failure(1, &["`empty.wasm`", "empty"]);
    sandbox.file("typo.wat", "(module\n  (funk))");
    sandbox
        .run("run typo.wat")
        .failure(1, &["failed to parse `typo.wat`", "typo.wat:2:4"]);
    sandbox.file("invalid.wat", "(module (func (result i32)))");
    sandbox.run("run invalid.wat").failure(
        1,
        &[
            "failed to compile `invalid.wat`",
            "type mismatch",
            "offset ",
        ],
    );
    sandbox.file("truncated.wasm", b"\0asm\x01\0\0\0\x01\x7f");
    sandbox
        .run("run truncated.wasm")
        .failure(1, &["failed to compile `truncated.wasm`"]);
    sandbox.file("garbage", [0xff, 0xfe, 0x00, 0x80]);
    sandbox
        .run("run garbage")
        .failure(1, &["failed to parse `garbage`"]);
    sandbox.file("component.wat", "(component)");
    sandbox
        .run("run component.wat")
        .failure(1, &["`component.wat` is a component"]);
}

#[test]
fn programs_are_stopped() {
    let sandbox = Sandbox::new();
    sandbox.file(
        "forever.wat",
        r#"(module (func $spin (export "_start") (loop (br 0))))"#,
    );
    for (options, text) in [
        ("-W fuel=10000", "all fuel consumed"),
        ("-W fuel=0", "all fuel consumed"),
        ("-W timeout=50ms", "interrupt"),
        ("-W timeout=0.05,fuel=1T", "interrupt"),
        ("-W timeout=1h,fuel=1M", "all fuel consumed"),
    ] {
        sandbox
            .run(&format!("run {options} forever.wat"))
            .failure(134, &[text, "spin"]);
    }
    sandbox.file("short.wat", r#"(module (func (export "_start")))"#);
    for options in [
        "-W fuel=1",
        "-W timeout=1h",
        "-W epoch-interruption",
        "-W epoch-interruption=n",
    ] {
        sandbox.run(&format!("run {options} short.wat")).success();
    }
    // Artifacts are made for it.
    sandbox.run("compile short.wat").success();
    sandbox
        .run("run --allow-precompiled -W timeout=1s short.cwasm")
        .failure(1, &["epoch_interruption"]);
    sandbox
        .run("compile -W timeout=1s,fuel=1 short.wat")
        .success();
    sandbox
        .run("run --allow-precompiled -W timeout=10s,fuel=100 short.cwasm")
        .success();
    sandbox
        .run("run -W timeout=soon short.wat")
        .failure(1, &["`timeout` takes a time", "`soon`"]);
}
