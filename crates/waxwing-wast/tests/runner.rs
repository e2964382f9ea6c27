//! The runner itself: what passes, what fails, and where it says that it failed.

use waxwing::{Config, Engine};
use waxwing_wast::{Report, SpectestOutput, WastContext};

fn run(engine: &Engine, script: &str) -> Report {
    let mut report = Report::default();
    WastContext::new(engine, SpectestOutput::Discard)
        .expect("the spectest module is always definable")
        .run_wast("test.wast", script, &mut report);
    report
}

/// The failures as `line:column: message`.
fn failures(engine: &Engine, script: &str) -> Vec<String> {
    run(engine, script)
        .failures
        .iter()
        .map(|f| format!("{}:{}: {}", f.line, f.column, f.message))
        .collect()
}

#[track_caller]
fn passes(script: &str) {
    passes_on(&Engine::default(), script);
}

#[track_caller]
fn passes_on(engine: &Engine, script: &str) {
    assert_eq!(failures(engine, script), Vec::<String>::new());
}

#[track_caller]
fn fails(script: &str, expected: &[&str]) {
    fails_on(&Engine::default(), script, expected);
}

#[track_caller]
fn fails_on(engine: &Engine, script: &str, expected: &[&str]) {
    let failures = failures(engine, script);
    assert_eq!(failures.len(), expected.len(), "{failures:#?}");
    for (failure, expected) in failures.iter().zip(expected) {
        assert!(
            failure.starts_with(expected),
            "{failure:?} should start with {expected:?}"
        );
    }
}

#[test]
fn results_are_compared_bit_for_bit() {
    let module = r#"(module
        (func (export "i") (result i32) (i32.const 7))
        (func (export "f") (result f32) (f32.const -0))
        (func (export "n") (result f64) (f64.const nan:0x123))
        (func (export "v") (result v128) (v128.const i32x4 1 2 3 4))
        (func (export "two") (result i32 i64) (i32.const 1) (i64.const 2)))"#;
    passes(&format!(
        r#"{module}
        (assert_return (invoke "i") (i32.const 7))
        (assert_return (invoke "i") (either (i32.const 6) (i32.const 7)))
        (assert_return (invoke "f") (f32.const -0))
        (assert_return (invoke "n") (f64.const nan:0x123))
        (assert_return (invoke "v") (v128.const i64x2 0x200000001 0x400000003))
        (assert_return (invoke "two") (i32.const 1) (i64.const 2))"#
    ));
    fails(
        &format!(
            "{module}\n(assert_return (invoke \"i\") (i32.const 8))
  (assert_return (invoke \"f\") (f32.const 0))
(assert_return (invoke \"n\") (f64.const nan:canonical))
(assert_return (invoke \"v\") (v128.const i32x4 1 2 3 5))
(assert_return (invoke \"two\") (i32.const 1))
(assert_return (invoke \"none\"))
(assert_return (invoke \"i\") (either (i32.const 6) (i32.const 5)))"
        ),
        &[
            "7:2: result 0: expected i32 8 (0x8), found i32 7 (0x7)",
            "8:4: result 0: expected f32 0 (0x00000000), found f32 -0 (0x80000000)",
            "9:2: result 0: expected f64 nan:canonical, found f64 NaN",
            "10:2: result 0: expected V128",
            "11:2: expected 1 results, found 2",
            "12:2: the instance exports no function `none`",
            "13:2: result 0: expected either (i32 6 (0x6)) (i32 5 (0x5)), found i32 7",
        ],
    );
}

#[test]
fn references() {
    let module = r#"(module
        (func (export "id") (param externref) (result externref) (local.get 0))
        (func $f (export "func") (result funcref) (ref.func $f))
        (func (export "null") (result funcref) (ref.null func))
        (elem declare func $f))"#;
    passes(&format!(
        r#"{module}
        (assert_return (invoke "id" (ref.extern 3)) (ref.extern 3))
        (assert_return (invoke "id" (ref.extern 3)) (ref.extern))
        (assert_return (invoke "id" (ref.null extern)) (ref.null extern))
        (assert_return (invoke "id" (ref.null extern)) (ref.null))
        (assert_return (invoke "func") (ref.func))
        (assert_return (invoke "null") (ref.null func))"#
    ));
    fails(
        &format!(
            r#"{module}
(assert_return (invoke "id" (ref.extern 3)) (ref.extern 4))
(assert_return (invoke "id" (ref.extern 3)) (ref.null extern))
(assert_return (invoke "id" (ref.null extern)) (ref.extern))
(assert_return (invoke "null") (ref.func))
(assert_return (invoke "null") (ref.null extern))"#
        ),
        &[
            "6:2: result 0",
            "7:2: result 0",
            "8:2: result 0",
            "9:2: result 0",
            "10:2: result 0",
        ],
    );
}

#[test]
fn traps_must_be_of_the_named_kind() {
    let module = r#"(module (memory 1)
        (func (export "div") (param i32) (drop (i32.div_s (i32.const 1) (local.get 0))))
        (func (export "load") (param i32) (drop (i32.load (local.get 0))))
        (func $r (export "recurse") (call $r)))"#;
    passes(&format!(
        r#"{module}
        (assert_trap (invoke "div" (i32.const 0)) "integer divide by zero")
        (assert_trap (invoke "load" (i32.const 65533)) "out of bounds memory access")
        (assert_exhaustion (invoke "recurse") "call stack exhausted")
        (assert_trap (module (func unreachable) (start 0)) "unreachable")"#
    ));
    fails(
        &format!(
            r#"{module}
(assert_trap (invoke "div" (i32.const 0)) "integer overflow")
(assert_trap (invoke "div" (i32.const 1)) "integer divide by zero")
(assert_exhaustion (invoke "load" (i32.const -1)) "call stack exhausted")
(assert_return (invoke "div" (i32.const 0)))
(invoke "div" (i32.const 0))
(assert_trap (module (func) (start 0)) "unreachable")"#
        ),
        &[
            "5:2: expected the error `integer overflow`, found another",
            "6:2: expected a trap (integer divide by zero), found []",
            "7:2: expected the error `call stack exhausted`",
            "8:2: ",
            "9:2: ",
            "10:2: expected a trap (unreachable), found []",
        ],
    );
}

#[test]
fn rejected_modules() {
    passes(
        r#"
        (assert_invalid (module (func (result i32))) "type mismatch")
        (assert_malformed (module quote "(func (i32.const nonsense))") "unexpected token")
        (assert_malformed (module quote "(func $f) (func $f)") "duplicate func")
        (assert_malformed (module binary "\00asm\02\00\00\00") "unknown binary version")"#,
    );
    fails(
        "(assert_invalid (module (func)) \"type mismatch\")
(assert_malformed (module quote \"(func)\") \"unexpected token\")",
        &[
            "1:2: the module validates, but must be rejected: type mismatch",
            "2:2: the module validates",
        ],
    );
}

#[test]
fn linking() {
    let exporter = r#"(module $M (func (export "f") (result i32) (i32.const 5))
        (global (export "g") i32 (i32.const 9)))
        (register "M" $M)"#;
    passes(&format!(
        r#"{exporter}
        (module (import "M" "f" (func (result i32))) (export "again" (func 0)))
        (assert_return (invoke "again") (i32.const 5))
        (assert_return (invoke $M "f") (i32.const 5))
        (assert_return (get $M "g") (i32.const 9))
        (assert_unlinkable (module (import "M" "none" (func))) "unknown import")
        (assert_unlinkable (module (import "M" "f" (func))) "incompatible import type")
        (module definition $D (global (export "x") (mut i32) (i32.const 0))
            (func (export "set") (global.set 0 (i32.const 1))))
        (module instance $A $D)
        (module instance $B $D)
        (invoke $A "set")
        (assert_return (get $A "x") (i32.const 1))
        (assert_return (get $B "x") (i32.const 0))
        (assert_return (get "x") (i32.const 0))"#
    ));
    fails(
        &format!(
            r#"{exporter}
(assert_unlinkable (module (import "M" "f" (func (result i32)))) "unknown import")
(assert_unlinkable (module (import "M" "f" (func))) "unknown import")
(invoke $N "f")
(assert_return (get $M "f"))
(module (import "M" "none" (func)))
(invoke "f")"#
        ),
        &[
            "4:2: the module links, but must not: unknown import",
            "5:2: expected the error `unknown import`, found another",
            "6:2: no instance is called `$N`",
            "7:2: the export `f` is not a global",
            "8:2: ",
            "9:2: no module has been instantiated",
        ],
    );
}

#[test]
fn spectest_module() {
    passes(
        r#"(module
            (import "spectest" "global_i32" (global $i i32))
            (import "spectest" "global_f64" (global $d f64))
            (import "spectest" "memory" (memory 1 2))
            (import "spectest" "table" (table 10 20 funcref))
            (import "spectest" "print_f64_f64" (func $p (param f64 f64)))
            (func (export "i") (result i32) (global.get $i))
            (func (export "d") (result f64) (call $p (f64.const 1) (f64.const 2)) (global.get $d)))
        (assert_return (invoke "i") (i32.const 666))
        (assert_return (invoke "d") (f64.const 666.6))"#,
    );
}

#[test]
fn threads_have_their_own_store() {
    passes(
        r#"(module (func (export "outer")))
        (thread $T
            (module (func (export "inner") (result i32) (i32.const 1)))
            (assert_return (invoke "inner") (i32.const 1)))
        (wait $T)
        (invoke "outer")"#,
    );
    fails(
        r#"(module (func (export "outer")))
(thread $T
  (invoke "outer"))
(wait $T)
(wait $U)"#,
        &[
            "3:4: no module has been instantiated",
            "5:2: no thread is called `$U`",
        ],
    );
}

fn with_objects() -> Engine {
    let mut config = Config::new();
    config
        .wasm_function_references(true)
        .wasm_gc(true)
        .wasm_exceptions(true);
    Engine::new(&config).expect("the proposals fit together")
}

#[test]
fn references_of_the_gc_proposal() {
    let module = r#"(module
        (type $s (struct))
        (type $a (array i8))
        (func (export "struct") (result anyref) (struct.new $s))
        (func (export "array") (result anyref) (array.new_default $a (i32.const 2)))
        (func (export "i31") (result anyref) (ref.i31 (i32.const 3)))
        (func (export "null") (result anyref) (ref.null none))
        (func (export "in") (param externref) (result anyref)
            (any.convert_extern (local.get 0)))
        (func (export "out") (param anyref) (result externref)
            (extern.convert_any (local.get 0)))
        (func (export "exn") (result exnref) (ref.null exn)))"#;
    passes_on(
        &with_objects(),
        &format!(
            r#"{module}
        (assert_return (invoke "struct") (ref.struct))
        (assert_return (invoke "struct") (ref.eq))
        (assert_return (invoke "struct") (ref.any))
        (assert_return (invoke "array") (ref.array))
        (assert_return (invoke "array") (ref.eq))
        (assert_return (invoke "i31") (ref.i31))
        (assert_return (invoke "i31") (ref.eq))
        (assert_return (invoke "null") (ref.null))
        (assert_return (invoke "null") (ref.null any))
        (assert_return (invoke "null") (ref.null struct))
        (assert_return (invoke "in" (ref.extern 4)) (ref.host 4))
        (assert_return (invoke "in" (ref.extern 4)) (ref.any))
        (assert_return (invoke "out" (ref.host 5)) (ref.extern 5))
        (assert_return (invoke "out" (ref.host 5)) (ref.extern))
        (assert_return (invoke "out" (ref.null none)) (ref.null extern))
        (assert_return (invoke "exn") (ref.null exn))
        (assert_return (invoke "exn") (ref.null noexn))"#
        ),
    );
    fails_on(
        &with_objects(),
        &format!(
            r#"{module}
(assert_return (invoke "struct") (ref.array))
(assert_return (invoke "array") (ref.struct))
(assert_return (invoke "array") (ref.i31))
(assert_return (invoke "i31") (ref.struct))
(assert_return (invoke "i31") (ref.null any))
(assert_return (invoke "null") (ref.any))
(assert_return (invoke "null") (ref.null func))
(assert_return (invoke "in" (ref.extern 4)) (ref.host 5))
(assert_return (invoke "in" (ref.extern 4)) (ref.eq))
(assert_return (invoke "out" (ref.host 5)) (ref.extern 4))
(assert_return (invoke "exn") (ref.null any))"#
        ),
        &[
            "13:2: result 0: expected RefArray, found non-null (",
            "14:2: result 0: expected RefStruct, found non-null (",
            "15:2: result 0: ",
            "16:2: result 0: expected RefStruct, found non-null i31 reference",
            "17:2: result 0: ",
            "18:2: result 0: ",
            "19:2: result 0: ",
            "20:2: result 0: ",
            "21:2: result 0: ",
            "22:2: result 0: ",
            "23:2: result 0: ",
        ],
    );
}

#[test]
fn exceptions() {
    let module = r#"(module
        (tag $t (param i32))
        (func (export "throw") (param i32) (throw $t (local.get 0)))
        (func (export "throw in start") (throw $t (i32.const 0)))
        (func (export "trap") (unreachable))
        (func (export "return")))"#;
    passes_on(
        &with_objects(),
        &format!(
            r#"{module}
        (assert_exception (invoke "throw" (i32.const 1)))
        (assert_exception (invoke "throw" (i32.const 1)))
        (assert_return (invoke "return"))
        (assert_trap (invoke "trap") "unreachable")
        (assert_exception (module (tag $t) (func $f (throw $t)) (start $f)))"#
        ),
    );
    fails_on(
        &with_objects(),
        &format!(
            r#"{module}
(assert_exception (invoke "return"))
(assert_exception (invoke "trap"))
(assert_trap (invoke "throw" (i32.const 1)) "unreachable")
(assert_return (invoke "throw" (i32.const 1)))
(invoke "throw" (i32.const 1))"#
        ),
        &[
            "7:2: expected an exception, found []",
            "8:2: expected an exception: ",
            "9:2: expected the error `unreachable`, found another",
            "10:2: ",
            "11:2: ",
        ],
    );
}

#[test]
fn threads_share_memories() {
    // The message is never seen without what it announces.
    passes(
        r#"(module $Mem (memory (export "shared") 1 1 shared))
        (register "mem" $Mem)
        (thread $Writer (shared (module $Mem))
            (register "memory of the other" $Mem)
            (module
                (memory (import "memory of the other" "shared") 1 1 shared)
                (func (export "run")
                    (i32.atomic.store (i32.const 0) (i32.const 42))
                    (i32.atomic.store (i32.const 4) (i32.const 1))))
            (invoke "run"))
        (thread $Reader
            (module
                (memory (import "mem" "shared") 1 1 shared)
                (func (export "run") (result i32 i32)
                    (i32.atomic.load (i32.const 4))
                    (i32.atomic.load (i32.const 0))))
            (assert_return (invoke "run")
                (either (i32.const 0) (i32.const 1))
                (either (i32.const 0) (i32.const 42))))
        (wait $Writer)
        (wait $Reader)
        (module
            (memory (import "mem" "shared") 1 1 shared)
            (func (export "run") (result i32) (i32.atomic.load (i32.const 0))))
        (assert_return (invoke "run") (i32.const 42))"#,
    );
    fails(
        r#"(module $Mem (memory (export "own") 1 1))
(register "mem" $Mem)
(thread $T (shared (module $Mem))
  (register "again" $Mem)
  (invoke $Mem "own")
  (module (import "mem" "own" (memory 1 1)))
  (module (import "again" "own" (memory 1 1))))
(wait $T)
(thread $U (shared (module $None)))"#,
        &[
            "5:4: no instance is called `$Mem`",
            "6:4: ",
            "7:4: ",
            "9:2: no instance is called `$None`",
        ],
    );
}

#[test]
fn threads_wait_for_each_other() {
    passes(
        r#"(module $Mem (memory (export "shared") 1 1 shared))
        (thread $Sleeper (shared (module $Mem))
            (register "mem" $Mem)
            (module
                (memory (import "mem" "shared") 1 1 shared)
                (func (export "run") (result i32)
                    (memory.atomic.wait32 (i32.const 0) (i32.const 0) (i64.const -1))))
            ;; Woken, or late.
            (assert_return (invoke "run") (either (i32.const 0) (i32.const 1))))
        (thread $Waker (shared (module $Mem))
            (register "mem" $Mem)
            (module
                (memory (import "mem" "shared") 1 1 shared)
                (func (export "notify-0") (result i32)
                    (memory.atomic.notify (i32.const 0) (i32.const 0)))
                (func (export "notify-1-while")
                    (i32.atomic.store (i32.const 0) (i32.const 1))
                    (drop (memory.atomic.notify (i32.const 0) (i32.const 1)))))
            (assert_return (invoke "notify-0") (i32.const 0))
            (assert_return (invoke "notify-1-while")))
        (wait $Sleeper)
        (wait $Waker)"#,
    );
}

#[test]
fn threads_share_the_spectest_memory() {
    passes(
        r#"(module)
        (thread $T
            (module
                (memory (import "spectest" "shared_memory") 1 2 shared)
                (func (export "run") (i32.atomic.store (i32.const 8) (i32.const 7))))
            (invoke "run"))
        (wait $T)
        (module
            (memory (import "spectest" "shared_memory") 1 2 shared)
            (func (export "run") (result i32) (i32.atomic.load (i32.const 8))))
        (assert_return (invoke "run") (i32.const 7))"#,
    );
}

#[test]
fn counts() {
    let report = run(
        &Engine::default(),
        r#"(module (func (export "f")))
        (invoke "f")
        (assert_return (invoke "f"))
        (assert_trap (invoke "f") "unreachable")
        (component)"#,
    );
    assert_eq!(report.files, 1);
    assert_eq!(
        report.directives.to_string(),
        "3 passed, 1 failed, 1 skipped"
    );
    assert_eq!(
        report.assertions.to_string(),
        "1 passed, 1 failed, 0 skipped"
    );
    assert!(!report.is_success());
    assert_eq!(
        report.skips[0].to_string(),
        "test.wast:5:10: components are not supported"
    );
}

#[test]
fn scripts_that_do_not_parse() {
    fails("(module)\n (assert_nothing)", &["2:3: "]);
    fails("(module \"", &["1:10: "]);
}
