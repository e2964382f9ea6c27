//! `compile`, `validate`, `wast` and `inspect`.

mod support;

use serde_json::{Value, json};
use support::{Ran, Sandbox};

const FIVE: &str = r#"(module (func (export "five") (result i32) (i32.const 5)))"#;

#[test]
fn compile_and_run_an_artifact() {
    let sandbox = Sandbox::new();
    sandbox.file("five.wat", FIVE);
    assert_eq!(sandbox.run("compile five.wat -o out.cwasm").success(), "");
    assert_eq!(
        sandbox
            .run("run --allow-precompiled --invoke five out.cwasm")
            .success(),
        "5\n"
    );
    sandbox.run("run --invoke five out.cwasm").failure(
        1,
        &["`out.cwasm` is a compiled module", "--allow-precompiled"],
    );
    // The default name.
    sandbox.run("compile five.wat").success();
    assert_eq!(
        std::fs::read(sandbox.path().join("five.cwasm")).unwrap(),
        std::fs::read(sandbox.path().join("out.cwasm")).unwrap()
    );
    // Nothing else is left behind.
    assert_eq!(std::fs::read_dir(sandbox.path()).unwrap().count(), 3);
}

#[test]
fn artifacts_of_other_settings_are_refused() {
    let sandbox = Sandbox::new();
    sandbox.file("five.wat", FIVE);
    sandbox
        .run("compile -O signals-based-traps=n five.wat")
        .success();
    sandbox
        .run("run --allow-precompiled --invoke five five.cwasm")
        .failure(1, &["failed to load `five.cwasm`"]);
    let arguments = "run -O signals-based-traps=n --allow-precompiled --invoke five five.cwasm";
    assert_eq!(sandbox.run(arguments).success(), "5\n");
}

#[test]
fn portable_code_runs_by_its_target() {
    let sandbox = Sandbox::new();
    sandbox.file("five.wat", FIVE);
    for target in ["--target pulley64", "-C target=pulley64"] {
        let arguments = format!("run {target} --invoke five five.wat");
        assert_eq!(sandbox.run(&arguments).success(), "5\n");
        sandbox.run(&format!("compile {target} five.wat")).success();
        let arguments = format!("run {target} --allow-precompiled --invoke five five.cwasm");
        assert_eq!(sandbox.run(&arguments).success(), "5\n");
        sandbox
            .run("run --allow-precompiled --invoke five five.cwasm")
            .failure(1, &["bytecode"]);
    }
    sandbox
        .run("compile --target vax five.wat")
        .failure(1, &["`--target vax`"]);
}

#[test]
fn compile_errors() {
    let sandbox = Sandbox::new();
    sandbox.file("bad.wat", "(module (func (result i32)))");
    sandbox
        .run("compile bad.wat")
        .failure(1, &["failed to compile `bad.wat`", "offset "]);
    sandbox.file("five.wat", FIVE);
    sandbox
        .run("compile five.wat -o no/such/dir.cwasm")
        .failure(1, &["failed to write `no/such/dir.cwasm`"]);
    sandbox.file("elf", b"\x7fELF and nothing more");
    sandbox
        .run("compile elf")
        .failure(1, &["`elf` is an ELF file"]);
    sandbox
        .run("run --allow-precompiled elf")
        .failure(1, &["`elf`"]);
}

#[test]
fn validate() {
    let sandbox = Sandbox::new();
    sandbox.file("good.wat", FIVE);
    sandbox.file("bad.wat", "(module (func (result i32) (i64.const 0)))");
    assert_eq!(
        sandbox.run("validate good.wat").success(),
        "good.wat: valid\n"
    );
    let stdout = sandbox.run("validate bad.wat good.wat none.wat").failure(
        1,
        &[
            "`bad.wat` is not valid",
            "type mismatch",
            "offset ",
            "`none.wat`",
        ],
    );
    assert_eq!(stdout, "good.wat: valid\n");
    sandbox.run("validate").failure(1, &["Usage"]);
}

#[test]
fn wast() {
    let sandbox = Sandbox::new();
    let script = format!("{FIVE}\n(assert_return (invoke \"five\") (i32.const 5))");
    sandbox.file("good.wast", &script);
    sandbox.file(
        "bad.wast",
        script.replace(
            "(invoke \"five\") (i32.const 5)",
            "(invoke \"five\") (i32.const 6)",
        ),
    );
    assert_eq!(
        sandbox.run("wast good.wast").success(),
        "good.wast: 2 passed, 0 failed, 0 skipped\n"
    );
    let stdout = sandbox
        .run("wast good.wast bad.wast")
        .failure(1, &["error: bad.wast:2:2: result 0: expected i32 6"]);
    assert!(
        stdout.ends_with("assertions: 1 passed, 1 failed, 0 skipped\n"),
        "{stdout}"
    );
    sandbox
        .run("wast none.wast")
        .failure(1, &["failed to read `none.wast`"]);
}

/// Something of every kind.
const RICH: &str = r#"(module $rich
    (import "env" "f" (func $f (param i32) (result i64 f32)))
    (import "env" "t" (table 1 funcref))
    (import "env" "g" (global (mut i32)))
    (memory (export "memory") 1 2)
    (global (export "answer") i32 (i32.const 42))
    (func $main (export "main") (param v128))
    (func $init)
    (start $init)
    (elem (i32.const 0) $f $main)
    (data (i32.const 0) "abc")
    (@producers (language "Rust" "2024") (processed-by "rustc" "1.95"))
    (@custom "note" "hello"))"#;

#[test]
fn inspect_json() {
    let sandbox = Sandbox::new();
    sandbox.file("rich.wat", RICH);
    let json = sandbox.run("inspect --json rich.wat").success();
    let json: Value = serde_json::from_str(&json).expect("the output is JSON");
    assert_eq!(json["kind"], "module");
    assert_eq!(json["name"], "rich");
    assert_eq!(
        json["imports"],
        json!([
            {"module": "env", "name": "f", "type": "func (i32) -> (i64, f32)"},
            {"module": "env", "name": "t", "type": "table 1 funcref"},
            {"module": "env", "name": "g", "type": "global (mut i32)"},
        ])
    );
    assert_eq!(
        json["exports"],
        json!([
            {"name": "memory", "type": "memory 1 2"},
            {"name": "answer", "type": "global i32"},
            {"name": "main", "type": "func (v128) -> ()"},
        ])
    );
    assert_eq!(json["functions"]["imported"], 1);
    assert_eq!(json["functions"]["defined"], 2);
    assert_eq!(
        json["memories"],
        json!([{"index": 0, "imported": false, "type": "1 2"}])
    );
    assert_eq!(
        json["globals"],
        json!([
            {"index": 0, "imported": true, "type": "(mut i32)"},
            {"index": 1, "imported": false, "type": "i32"},
        ])
    );
    assert_eq!(json["start"], 2);
    assert_eq!(json["data_segments"], json!({"count": 1, "size": 3}));
    assert_eq!(json["element_segments"], json!({"count": 1, "size": 2}));
    assert_eq!(
        json["producers"],
        json!([
            {"field": "language", "name": "Rust", "version": "2024"},
            {"field": "processed-by", "name": "rustc", "version": "1.95"},
        ])
    );
    let sections = json["sections"].as_array().unwrap();
    let note = sections
        .iter()
        .find(|section| section["name"] == "note")
        .unwrap();
    assert_eq!(
        (note["kind"].as_str(), note["size"].as_u64()),
        (Some("custom"), Some(5))
    );
}

#[test]
fn inspect_text() {
    let sandbox = Sandbox::new();
    sandbox.file("rich.wat", RICH);
    let text = sandbox.run("inspect rich.wat").success();
    for line in [
        "rich.wat: module, ",
        "named `rich`",
        "  env::f: func (i32) -> (i64, f32)\n",
        "  main: func (v128) -> ()\n",
        "data segments: 1 with 3 bytes\n",
        "language: Rust 2024\n",
        "  custom `note`: 5 bytes at 0x",
    ] {
        assert!(text.contains(line), "no {line:?} in {text}");
    }
    sandbox.file("bad.wasm", b"\0asm\x01\0\0\0\x01\x7f");
    sandbox
        .run("inspect bad.wasm")
        .failure(1, &["failed to inspect `bad.wasm`"]);
}

/// Something of every proposal that has types of its own.
const TYPED: &str = r#"(module
    (rec
        (type $list (sub (struct (field i32) (field $next (mut (ref null $list))))))
        (type $named (sub final $list (struct
            (field i32) (field (mut (ref null $list))) (field (ref $bytes)))))
        (type $bytes (array (mut i8))))
    (type $visit (func (param (ref $list)) (result i31ref)))
    (import "env" "thrown" (tag $thrown (param i32 externref)))
    (import "env" "visit" (func (type $visit)))
    (global (export "head") (mut (ref null $list)) (ref.null none))
    (table (export "visits") i64 2 (ref null $visit))
    (memory (export "far") i64 1)
    (memory (export "common") 1 2 shared)
    (memory (export "small") 3 (pagesize 1))
    (tag (export "stop"))
    (export "again" (tag $thrown))
    (func (export "throw") (param exnref) (throw_ref (local.get 0))))"#;

#[test]
fn inspect_types_of_proposals() {
    let sandbox = Sandbox::new();
    sandbox.file("typed.wat", TYPED);
    let json = sandbox.run("inspect --json typed.wat").success();
    let json: Value = serde_json::from_str(&json).expect("the output is JSON");
    assert_eq!(
        json["types"]["list"].as_array().unwrap()[..4],
        [
            "sub struct i32 (mut (ref null 0))",
            "sub final 0 struct i32 (mut (ref null 0)) (ref 2)",
            "array (mut i8)",
            "func ((ref 0)) -> (i31ref)",
        ]
    );
    assert_eq!(json["types"]["structs"], 2);
    assert_eq!(json["types"]["groups"], 1);
    assert_eq!(
        json["imports"],
        json!([
            {"module": "env", "name": "thrown", "type": "tag (i32, externref) -> ()"},
            {"module": "env", "name": "visit", "type": "func ((ref 0)) -> (i31ref)"},
        ])
    );
    assert_eq!(
        json["exports"],
        json!([
            {"name": "head", "type": "global (mut (ref null 0))"},
            {"name": "visits", "type": "table i64 2 (ref null 3)"},
            {"name": "far", "type": "memory i64 1"},
            {"name": "common", "type": "memory 1 2 shared"},
            {"name": "small", "type": "memory 3 (pagesize 1)"},
            {"name": "stop", "type": "tag () -> ()"},
            {"name": "again", "type": "tag (i32, externref) -> ()"},
            {"name": "throw", "type": "func (exnref) -> ()"},
        ])
    );
    let text = sandbox.run("inspect typed.wat").success();
    for line in [
        "types: 4 of functions, 2 of structs, 1 of arrays, 1 recursion groups\n",
        "  0: (i32, externref) -> ()  (imported)\n",
        "  1: () -> ()\n",
    ] {
        assert!(text.contains(line), "no {line:?} in {text}");
    }
}

#[test]
fn inspect_an_artifact() {
    let sandbox = Sandbox::new();
    sandbox.file("rich.wat", RICH);
    sandbox.run("compile rich.wat").success();
    let json = sandbox
        .run("inspect --json --allow-precompiled rich.cwasm")
        .success();
    let json: Value = serde_json::from_str(&json).expect("the output is JSON");
    assert_eq!(json["kind"], "artifact");
    assert_eq!(json["imports"][0]["type"], "func (i32) -> (i64, f32)");
    assert_eq!(
        json["exports"][2],
        json!({"name": "main", "type": "func (v128) -> ()"})
    );
    assert_eq!(json["resources"]["memories"], 1);
    sandbox
        .run("inspect rich.cwasm")
        .failure(1, &["--allow-precompiled"]);
}

#[test]
fn inspect_an_artifact_with_types_of_proposals() {
    let sandbox = Sandbox::new();
    sandbox.file("typed.wat", TYPED);
    sandbox.run("compile -W all-proposals typed.wat").success();
    let text = sandbox
        .run("inspect -W all-proposals --allow-precompiled typed.cwasm")
        .success();
    for line in [
        "  env::thrown: tag (i32, externref) -> ()\n",
        "  head: global (mut (ref null (concrete (struct (field i32) (field (mut (ref null (concrete struct))))))))\n",
        "  far: memory i64 1\n",
        "  common: memory 1 2 shared\n",
        "  small: memory 3 (pagesize 1)\n",
        "  stop: tag () -> ()\n",
    ] {
        assert!(text.contains(line), "no {line:?} in {text}");
    }
}

#[test]
#[cfg(unix)]
fn a_closed_pipe_is_no_panic() {
    let sandbox = Sandbox::new();
    sandbox.file("rich.wat", RICH);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = sandbox
        .waxwing("inspect rich.wat")
        .stdout(writer)
        .output()
        .unwrap();
    Ran::from(output).failure(1, &["failed to write the output"]);
}
