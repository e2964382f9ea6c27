//! Handlers of exceptions: which calls have them, and in which order.

use super::structure::builtins;
use super::{artifact, compile, first_function, host, targets};
use waxwing_environ::BuiltinFunctionIndex as Builtin;
use waxwing_environ::TagIndex;
use waxwing_environ::compile::CompiledFunction;

/// The tags of the handlers of each call that has any.
fn handlers(function: &CompiledFunction) -> Vec<Vec<Option<u32>>> {
    let tables = function.handlers.iter();
    tables
        .map(|table| {
            let handlers = table.handlers.iter();
            handlers.map(|(tag, _)| tag.map(TagIndex::as_u32)).collect()
        })
        .collect()
}

/// A module with this function, a function `$h`, imported tags `$0` and `$1` of one type and `$2` of
/// another, and own tags `$3` and `$4`.
fn module(function: &str) -> String {
    format!(
        r#"(module
          (import "" "" (func $h (param i32) (result f64 i32 v128)))
          (import "" "" (tag $0 (param i32)))
          (import "" "" (tag $1 (param i32)))
          (import "" "" (tag $2 (param i64)))
          (tag $3 (param i32))
          (tag $4 (param i32 f64 v128 funcref externref exnref))
          (func $f {function})
          (memory 1) (table 1 funcref))"#
    )
}

#[test]
fn calls_have_the_handlers_around_them_innermost_first() {
    let wat = module(
        "(param i32) (result i32)
         (call $g)
         (block $i (result i32)
           (block $l (result i64)
             (try_table (catch $3 $i) (catch $2 $l) (catch $0 $i)
               (call $g)
               (try_table (catch $1 $i) (catch $3 $i)
                 (call $g)
                 (br_if 0 (i32.eqz (memory.grow (i32.const 1))))
                 (return_call $f (i32.const 1)))
               (try_table (catch $0 $i) (catch_all 0) (catch $1 $i) (call_indirect (i32.const 0))))
             (call $g)
             (i64.const 0))
           (i32.wrap_i64)))
         (func $g",
    );
    for target in targets() {
        let function = first_function(&target, &wat);
        let expected = [
            vec![Some(3), Some(2), Some(0)],
            vec![Some(1), Some(3), Some(2), Some(0)],
            vec![Some(0), None],
        ];
        assert_eq!(handlers(&function), expected, "{}", target.name);
        let len = function.code.len() as u32;
        let returns = function.handlers.iter().map(|table| table.return_offset);
        assert!(returns.is_sorted());
        for table in &function.handlers {
            assert!(table.return_offset < len);
            assert!(table.handlers.iter().all(|(_, code)| *code < len));
            assert!(table.vmctx_slot < table.frame_size, "{table:?}");
            assert_eq!(table.vmctx_slot % 8, 0);
            assert_eq!(table.frame_size % 16, 0);
        }
    }
}

#[test]
fn entries_have_no_handlers_of_wasm() {
    for target in targets() {
        let ty = waxwing_environ::WasmFuncType::new([], []);
        let entry = target.compiler.compile_array_to_wasm(&ty).unwrap();
        assert!(entry.handlers.is_empty(), "{}", target.name);
    }
}

#[test]
fn a_throw_to_a_known_handler_is_a_branch() {
    let throws = |function: &str| {
        let function = first_function(&host(), &module(function));
        let builtins = builtins(&function);
        (
            builtins.contains(&Builtin::gc_alloc_exn),
            builtins.contains(&Builtin::throw_ref),
        )
    };
    let caught = |clauses: &str, throw: &str| {
        throws(&format!(
            "(result i32)
             (block $r (result i32 exnref)
               (block $l (result i64)
                 (block $i (result i32) (try_table (result i32) {clauses} ({throw})) return)
                 return)
               (return (i32.wrap_i64)))
             (drop)"
        ))
    };
    let three = "throw $3 (i32.const 1)";
    assert_eq!(caught("(catch $3 $i)", three), (false, false));
    assert_eq!(
        caught("(catch $0 $i) (catch $2 $l) (catch $3 $i)", three),
        (false, false)
    );
    assert_eq!(caught("(catch_ref $3 $r)", three), (true, false));
    assert_eq!(caught("(catch $0 $i)", three), (true, true));
    let zero = "throw $0 (i32.const 1)";
    assert_eq!(caught("(catch $0 $i)", zero), (false, false));
    assert_eq!(
        caught("(catch $2 $l) (catch $3 $i) (catch $0 $i)", zero),
        (false, false)
    );
    // Two imports may be one tag.
    assert_eq!(caught("(catch $1 $i) (catch $0 $i)", zero), (true, true));
    assert_eq!(throws("(throw $3 (i32.const 1))"), (true, true));
    assert_eq!(
        throws("(try_table (catch_all 0) (throw $3 (i32.const 1)))"),
        (false, false)
    );
    assert_eq!(
        throws("(param exnref) (try_table (catch_all 0) (throw_ref (local.get 0)))"),
        (false, true)
    );
}

#[test]
fn payloads_of_all_types_compile() {
    let wat = module(
        "(param i32 f64 v128 funcref externref exnref) (result externref exnref)
         (block $all (result i32 f64 v128 funcref externref exnref)
           (block $ref (result i32 f64 v128 funcref externref exnref exnref)
             (try_table (catch_ref $4 $ref)
               (try_table (catch $4 $all)
                 (call $h (local.get 0)) (drop) (drop) (drop)
                 (throw $4 (local.get 0) (local.get 1) (local.get 2)
                   (local.get 3) (local.get 4) (local.get 5))))
             (unreachable))
           (throw_ref))
         (call $h (i32.const 2)) (drop) (drop) (drop)
         (local.set 5) (local.set 4) (drop) (drop) (drop) (drop)
         (local.get 4) (local.get 5)",
    );
    for target in targets() {
        assert_eq!(&artifact(&target, &wat)[..4], b"\x7fELF", "{}", target.name);
    }
}

#[test]
fn too_many_handlers_are_refused() {
    let depth = 1500;
    let tags = "(tag)".repeat(depth);
    let open: String = (0..depth)
        .map(|tag| format!("(try_table (catch {tag} 0)"))
        .collect();
    let calls = "(call 0)".repeat(depth);
    let wat = format!(
        "(module {tags} (func {open} {calls} {}))",
        ")".repeat(depth)
    );
    let error = compile(&host(), &wat).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("handler of exceptions"), "{error}");
}
