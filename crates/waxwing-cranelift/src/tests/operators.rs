//! Every family of operators compiles on every configuration.

use super::{compile, compile_bytes, host, target, targets};
use waxwing_environ::Tunables;
use waxwing_environ::compile::CompileError;

fn compiles_everywhere(wat: &str) {
    for target in targets() {
        if let Err(error) = compile(&target, wat) {
            panic!("{}: {error}\n{wat}", target.name);
        }
    }
}

/// A module with one function for each operator, of the given type.
fn one_function_each(params: &[&str], result: &str, operators: &[String]) -> String {
    let types = params.join(" ");
    let gets: String = (0..params.len())
        .map(|i| format!("(local.get {i})"))
        .collect();
    let result = if result.is_empty() {
        String::new()
    } else {
        format!("(result {result})")
    };
    let functions: String = operators
        .iter()
        .map(|op| format!("(func (param {types}) {result} {gets} {op})\n"))
        .collect();
    format!("(module (memory 1) {functions})")
}

fn with_prefixes(prefixes: &[&str], names: &str) -> Vec<String> {
    let names = names.split_whitespace();
    names
        .flat_map(|name| {
            prefixes
                .iter()
                .map(move |prefix| format!("{prefix}.{name}"))
        })
        .collect()
}

#[test]
fn integers() {
    for ty in ["i32", "i64"] {
        let unary = with_prefixes(&[ty], "clz ctz popcnt extend8_s extend16_s");
        compiles_everywhere(&one_function_each(&[ty], ty, &unary));
        let binary = "add sub mul div_s div_u rem_s rem_u and or xor shl shr_s shr_u rotl rotr";
        let binary = with_prefixes(&[ty], binary);
        compiles_everywhere(&one_function_each(&[ty, ty], ty, &binary));
        let compare = "eq ne lt_s lt_u gt_s gt_u le_s le_u ge_s ge_u";
        let compare = with_prefixes(&[ty], compare);
        compiles_everywhere(&one_function_each(&[ty, ty], "i32", &compare));
        let eqz = with_prefixes(&[ty], "eqz");
        compiles_everywhere(&one_function_each(&[ty], "i32", &eqz));
    }
    compiles_everywhere(&one_function_each(
        &["i64"],
        "i64",
        &["i64.extend32_s".to_string()],
    ));
}

#[test]
fn floats() {
    for ty in ["f32", "f64"] {
        let unary = with_prefixes(&[ty], "abs neg sqrt ceil floor trunc nearest");
        compiles_everywhere(&one_function_each(&[ty], ty, &unary));
        let binary = with_prefixes(&[ty], "add sub mul div min max copysign");
        compiles_everywhere(&one_function_each(&[ty, ty], ty, &binary));
        let compare = with_prefixes(&[ty], "eq ne lt gt le ge");
        compiles_everywhere(&one_function_each(&[ty, ty], "i32", &compare));
    }
}

#[test]
fn conversions() {
    for int in ["i32", "i64"] {
        for float in ["f32", "f64"] {
            let to_int =
                format!("trunc_{float}_s trunc_{float}_u trunc_sat_{float}_s trunc_sat_{float}_u");
            let to_int = with_prefixes(&[int], &to_int);
            compiles_everywhere(&one_function_each(&[float], int, &to_int));
            let to_float = format!("convert_{int}_s convert_{int}_u");
            let to_float = with_prefixes(&[float], &to_float);
            compiles_everywhere(&one_function_each(&[int], float, &to_float));
        }
    }
    for (from, to, op) in [
        ("i64", "i32", "i32.wrap_i64"),
        ("i32", "i64", "i64.extend_i32_s"),
        ("i32", "i64", "i64.extend_i32_u"),
        ("f64", "f32", "f32.demote_f64"),
        ("f32", "f64", "f64.promote_f32"),
        ("f32", "i32", "i32.reinterpret_f32"),
        ("f64", "i64", "i64.reinterpret_f64"),
        ("i32", "f32", "f32.reinterpret_i32"),
        ("i64", "f64", "f64.reinterpret_i64"),
    ] {
        compiles_everywhere(&one_function_each(&[from], to, &[op.to_string()]));
    }
}

#[test]
fn wide_arithmetic() {
    let functions: String = ["i64.add128", "i64.sub128"]
        .map(|op| {
            format!(
                "(func (param i64 i64 i64 i64) (result i64 i64)
                   local.get 0 local.get 1 local.get 2 local.get 3 {op})"
            )
        })
        .concat();
    compiles_everywhere(&format!("(module {functions})"));
    let multiply: String = ["i64.mul_wide_s", "i64.mul_wide_u"]
        .map(|op| format!("(func (param i64 i64) (result i64 i64) local.get 0 local.get 1 {op})"))
        .concat();
    compiles_everywhere(&format!("(module {multiply})"));
}

#[test]
fn control() {
    compiles_everywhere(
        r#"(module
          (func (param i32) (result i32)
            (block $out (result i32)
              (loop $again (result i32)
                (br_if $out (i32.const 1) (local.get 0))
                (drop)
                (br_if $again (i32.eqz (local.get 0)))
                (i32.const 7))))
          (func (param i32) (result i32)
            (if (result i32) (local.get 0)
              (then (return (i32.const 1)))
              (else (i32.const 2))))
          (func (param i32) (if (local.get 0) (then (unreachable))))
          (func (param i32 f32) (result f32)
            (local.get 1)
            (if (param f32) (result f32) (local.get 0) (then (f32.neg))))
          (func (param i32 i64) (result i64)
            (local.get 1)
            (loop $l (param i64) (result i64)
              (i64.const 1)
              (i64.sub)
              (br_if $l (local.get 0))))
          (func (param i32) (result i32)
            (block $a (result i32)
              (block $b (result i32)
                (loop $c
                  (br_table $a $b $a $b (i32.const 3) (local.get 0)))
                (unreachable))
              (drop)
              (i32.const 5)))
          (func (param i32)
            (loop $c (br_table $c 1 $c (local.get 0))))
          (func (result i32)
            (block (br 0) (i32.const 1) (drop) (block (br 1)) (if (i32.const 0) (then) (else)))
            (unreachable)
            (i32.add)
            (loop (br 0)))
          (func (param i32) (result i32 i64 f32)
            (block (result i32 i64 f32)
              (br 0 (i32.const 1) (i64.const 2) (f32.const 3))))
          (func (param i32 v128 v128) (result v128)
            (select (i32x4.add (local.get 1) (local.get 2)) (local.get 2) (local.get 0)))
          (func (param i32 externref externref) (result externref)
            (select (result externref) (local.get 1) (local.get 2) (local.get 0)))
          (func (param i32 v128) (result v128)
            (local v128)
            (local.set 2 (f32x4.neg (local.get 1)))
            (block (result v128)
              (br_if 0 (i64x2.neg (local.get 2)) (local.get 0))))
          (func nop)
        )"#,
    );
}

#[test]
fn calls() {
    let many = "i32 ".repeat(30) + &"v128 ".repeat(20) + &"f64 ".repeat(20);
    compiles_everywhere(&format!(
        r#"(module
          (type $t (func (param i32) (result i32)))
          (type $many (func (param {many}) (result {many})))
          (import "" "i" (func $imported (type $t)))
          (import "" "m" (func $many_imported (type $many)))
          (import "" "t" (table $imported_table 1 funcref))
          (table $t 10 10 funcref)
          (table $typed 10 (ref null $t))
          (func $f (type $t) (call $imported (call $f (local.get 0))))
          (func (type $t) (call_indirect $t (type $t) (local.get 0) (local.get 0)))
          (func (type $t) (call_indirect $imported_table (type $t) (local.get 0) (local.get 0)))
          (func (type $t) (call_indirect $typed (type $t) (local.get 0) (local.get 0)))
          (func (type $t) (return_call $f (local.get 0)))
          (func (type $t) (return_call $imported (local.get 0)))
          (func (type $t) (return_call_indirect $t (type $t) (local.get 0) (local.get 0)))
          (func (param (ref null $t)) (result i32) (call_ref $t (i32.const 1) (local.get 0)))
          (func (param (ref null $t)) (result i32)
            (return_call_ref $t (i32.const 1) (local.get 0)))
          (func $g (type $many) {gets} call $many_imported call $g return_call $many_imported)
        )"#,
        gets = (0..70)
            .map(|i| format!("local.get {i} "))
            .collect::<String>(),
    ));
}

#[test]
fn memories() {
    for memory in [
        "(memory $m 1)",
        "(memory $m 1 1)",
        "(memory $m 0)",
        r#"(import "" "m" (memory $m 1 60000))"#,
        "(memory i64 1)",
        "(memory i64 1 2)",
        "(memory 1 (pagesize 1))",
        "(memory 1 2 shared)",
    ] {
        let ty = if memory.contains("i64") { "i64" } else { "i32" };
        let mut functions = String::new();
        for (value, ops) in [
            (
                "i32",
                "load load8_s load8_u load16_s load16_u store store8 store16",
            ),
            (
                "i64",
                "load load8_s load8_u load16_s load16_u load32_s load32_u store store8 store16 store32",
            ),
            ("f32", "load store"),
            ("f64", "load store"),
        ] {
            for op in ops.split_whitespace() {
                for offset in ["0", "8", "65532", "2147483648", "4294967295"] {
                    functions += &if op.contains("load") {
                        format!(
                            "(func (param {ty}) (result {value})
                               ({value}.{op} offset={offset} (local.get 0)))\n"
                        )
                    } else {
                        format!(
                            "(func (param {ty} {value})
                               ({value}.{op} offset={offset} (local.get 0) (local.get 1)))\n"
                        )
                    };
                }
            }
        }
        compiles_everywhere(&format!(
            r#"(module
              {memory}
              (memory $other 1)
              (data $d "abc")
              (func (result {ty}) (memory.size 0))
              (func (param {ty}) (result {ty}) (memory.grow 0 (local.get 0)))
              (func (param {ty} {ty}) (memory.fill 0 (local.get 0) (i32.const 1) (local.get 1)))
              (func (param {ty} {ty})
                (memory.copy 0 0 (local.get 0) (local.get 1) (local.get 1)))
              (func (param {ty})
                (memory.copy 0 $other (local.get 0) (i32.const 1) (i32.const 2)))
              (func (param {ty})
                (memory.init 0 $d (local.get 0) (i32.const 1) (i32.const 2))
                (data.drop $d))
              {functions}
            )"#
        ));
    }
}

#[test]
fn tables_references_and_globals() {
    compiles_everywhere(
        r#"(module
          (type $t (func))
          (import "" "t" (table $i 1 funcref))
          (import "" "g" (global $gi (mut i64)))
          (import "" "gi" (global $gc i32))
          (table $f 10 funcref)
          (table $x 10 20 externref)
          (table $fixed 5 5 externref)
          (table $wide i64 1 funcref)
          (global $a (mut i32) (i32.const 1))
          (global $b (mut v128) (v128.const i32x4 1 2 3 4))
          (global $c i32 (i32.const 3))
          (global $d i64 (i64.const 3))
          (global $e f32 (f32.const 3))
          (global $g f64 (f64.const 3))
          (global $h funcref (ref.null func))
          (elem $e func 0)
          (func (param i32) (result funcref) (table.get $f (local.get 0)))
          (func (param i32) (result funcref) (table.get $i (local.get 0)))
          (func (param i64) (result funcref) (table.get $wide (local.get 0)))
          (func (param i32) (result externref) (table.get $x (local.get 0)))
          (func (param i32) (result externref) (table.get $fixed (local.get 0)))
          (func (param i32 funcref) (table.set $f (local.get 0) (local.get 1)))
          (func (param i32 externref) (table.set $x (local.get 0) (local.get 1)))
          (func (result i32) (i32.add (table.size $f) (table.size $fixed)))
          (func (result i64) (table.size $wide))
          (func (param funcref i32) (result i32) (table.grow $f (local.get 0) (local.get 1)))
          (func (param externref i32) (result i32) (table.grow $x (local.get 0) (local.get 1)))
          (func (param funcref) (table.fill $f (i32.const 0) (local.get 0) (i32.const 2)))
          (func (param externref) (table.fill $x (i32.const 0) (local.get 0) (i32.const 2)))
          (func (table.copy $f $i (i32.const 0) (i32.const 1) (i32.const 2)))
          (func (table.copy $wide $i (i64.const 0) (i32.const 1) (i32.const 2)))
          (func (table.init $f $e (i32.const 0) (i32.const 1) (i32.const 2)) (elem.drop $e))
          (func (result funcref) (ref.func 0))
          (func (param externref) (result i32) (ref.is_null (local.get 0)))
          (func (result i32) (ref.is_null (ref.null func)))
          (func (result i32) (ref.is_null (ref.null extern)))
          (func (param funcref) (result (ref func)) (ref.as_non_null (local.get 0)))
          (func (param externref) (block (br_on_null 0 (local.get 0)) (drop)))
          (func (param externref) (result (ref extern))
            (block (result (ref extern)) (br_on_non_null 0 (local.get 0)) (unreachable)))
          (func (result i32) (global.set $a (i32.const 2)) (global.get $a))
          (func (result v128) (global.set $b (i32x4.neg (global.get $b))) (global.get $b))
          (func (result i32 i64 f32 f64)
            (global.get $c) (global.get $d) (global.get $e) (global.get $g))
          (func (result funcref) (global.get $h))
          (func (result i64) (global.set $gi (global.get $gi)) (global.get $gi))
          (func (result i32) (global.get $gc))
        )"#,
    );
}

/// Modules of all operators on vectors of the proposal.
fn vector_modules() -> Vec<String> {
    let ints = ["i8x16", "i16x8", "i32x4", "i64x2"];
    let floats = ["f32x4", "f64x2"];
    let v = "v128";
    let strings = |list: &str| {
        list.split_whitespace()
            .map(String::from)
            .collect::<Vec<_>>()
    };

    let mut unary = with_prefixes(&ints, "abs neg");
    unary.extend(with_prefixes(
        &floats,
        "abs neg sqrt ceil floor trunc nearest",
    ));
    unary.extend(strings(
        "v128.not i8x16.popcnt
         i16x8.extadd_pairwise_i8x16_s i16x8.extadd_pairwise_i8x16_u
         i32x4.extadd_pairwise_i16x8_s i32x4.extadd_pairwise_i16x8_u
         i32x4.trunc_sat_f32x4_s i32x4.trunc_sat_f32x4_u
         i32x4.trunc_sat_f64x2_s_zero i32x4.trunc_sat_f64x2_u_zero
         f32x4.convert_i32x4_s f32x4.convert_i32x4_u
         f64x2.convert_low_i32x4_s f64x2.convert_low_i32x4_u
         f32x4.demote_f64x2_zero f64x2.promote_low_f32x4
         i32x4.relaxed_trunc_f32x4_s i32x4.relaxed_trunc_f32x4_u
         i32x4.relaxed_trunc_f64x2_s_zero i32x4.relaxed_trunc_f64x2_u_zero",
    ));
    let mut binary = with_prefixes(&ints, "eq ne lt_s gt_s le_s ge_s add sub");
    binary.extend(with_prefixes(
        &ints[..3],
        "lt_u gt_u le_u ge_u min_s min_u max_s max_u",
    ));
    binary.extend(with_prefixes(
        &ints[..2],
        "add_sat_s add_sat_u sub_sat_s sub_sat_u avgr_u",
    ));
    binary.extend(with_prefixes(&ints[1..], "mul"));
    binary.extend(with_prefixes(
        &floats,
        "eq ne lt gt le ge add sub mul div min max pmin pmax relaxed_min relaxed_max",
    ));
    binary.extend(strings(
        "v128.and v128.andnot v128.or v128.xor i8x16.swizzle i8x16.relaxed_swizzle
         i8x16.narrow_i16x8_s i8x16.narrow_i16x8_u i16x8.narrow_i32x4_s i16x8.narrow_i32x4_u
         i16x8.q15mulr_sat_s i16x8.relaxed_q15mulr_s i32x4.dot_i16x8_s
         i16x8.relaxed_dot_i8x16_i7x16_s",
    ));
    for (to, from) in [("i16x8", "i8x16"), ("i32x4", "i16x8"), ("i64x2", "i32x4")] {
        for half in ["low", "high"] {
            for sign in ["s", "u"] {
                unary.push(format!("{to}.extend_{half}_{from}_{sign}"));
                binary.push(format!("{to}.extmul_{half}_{from}_{sign}"));
            }
        }
    }
    let mut ternary = with_prefixes(&ints, "relaxed_laneselect");
    ternary.extend(with_prefixes(&floats, "relaxed_madd relaxed_nmadd"));
    ternary.extend(strings(
        "v128.bitselect i32x4.relaxed_dot_i8x16_i7x16_add_s",
    ));
    let shifts = with_prefixes(&ints, "shl shr_s shr_u");
    let mut tests = with_prefixes(&ints, "all_true bitmask");
    tests.extend(strings("v128.any_true"));

    let mut modules = vec![
        one_function_each(&[v], v, &unary),
        one_function_each(&[v, v], v, &binary),
        one_function_each(&[v, v, v], v, &ternary),
        one_function_each(&[v, "i32"], v, &shifts),
        one_function_each(&[v], "i32", &tests),
        one_function_each(
            &[v, v],
            v,
            &strings("")
                .into_iter()
                .chain([
                    "i8x16.shuffle 0 1 2 3 4 5 6 7 24 25 26 27 28 29 30 31".to_string(),
                    "i8x16.shuffle 7 31 2 3 4 5 9 7 24 25 1 27 28 29 30 31".to_string(),
                ])
                .collect::<Vec<_>>(),
        ),
        "(module (func (result v128) (v128.const i64x2 -1 5)))".to_string(),
    ];
    for (lanes, scalar, count) in [
        ("i8x16", "i32", 16),
        ("i16x8", "i32", 8),
        ("i32x4", "i32", 4),
        ("i64x2", "i64", 2),
        ("f32x4", "f32", 4),
        ("f64x2", "f64", 2),
    ] {
        let splat = [format!("{lanes}.splat")];
        modules.push(one_function_each(&[scalar], v, &splat));
        for lane in [0, count - 1] {
            let extract: Vec<_> = if count > 4 {
                ["s", "u"]
                    .map(|sign| format!("{lanes}.extract_lane_{sign} {lane}"))
                    .to_vec()
            } else {
                vec![format!("{lanes}.extract_lane {lane}")]
            };
            modules.push(one_function_each(&[v], scalar, &extract));
            let replace = [format!("{lanes}.replace_lane {lane}")];
            modules.push(one_function_each(&[v, scalar], v, &replace));
        }
    }
    let loads = strings(
        "v128.load v128.load8x8_s v128.load8x8_u v128.load16x4_s v128.load16x4_u
         v128.load32x2_s v128.load32x2_u v128.load8_splat v128.load16_splat v128.load32_splat
         v128.load64_splat v128.load32_zero v128.load64_zero",
    );
    modules.push(one_function_each(&["i32"], v, &loads));
    modules.push(one_function_each(&["i32", v], "", &strings("v128.store")));
    let (mut load_lanes, mut store_lanes) = (Vec::new(), Vec::new());
    for (bits, lane) in [(8, 15), (16, 7), (32, 3), (64, 1)] {
        load_lanes.push(format!("v128.load{bits}_lane offset=3 {lane}"));
        store_lanes.push(format!("v128.store{bits}_lane offset=3 {lane}"));
    }
    modules.push(one_function_each(&["i32", v], v, &load_lanes));
    modules.push(one_function_each(&["i32", v], "", &store_lanes));
    modules
}

#[test]
fn vectors() {
    for module in vector_modules() {
        compiles_everywhere(&module);
    }
}

/// A target without any extension either compiles an operator or says what it lacks.
#[test]
fn vectors_on_a_baseline_processor() {
    let baseline = target(
        "baseline",
        Some("x86_64-unknown-linux-gnu"),
        &[],
        Tunables::default(),
    );
    for module in vector_modules() {
        let wasm = wat::parse_str(&module).unwrap();
        match compile_bytes(&baseline, &wasm) {
            Ok(_) => {}
            Err(CompileError::Unsupported(what)) => {
                assert!(what.contains("processor lacks a feature"), "{what}");
            }
            Err(error) => panic!("{error}\n{module}"),
        }
    }
    let rounding = with_prefixes(&["f32", "f64"], "ceil floor trunc nearest");
    for ty in ["f32", "f64"] {
        let ops: Vec<_> = rounding
            .iter()
            .filter(|op| op.starts_with(ty))
            .cloned()
            .collect();
        compile(&baseline, &one_function_each(&[ty], ty, &ops)).unwrap();
    }
}

#[test]
fn operators_that_are_not_there_are_named() {
    let wat = "(module (memory 1)
      (func (memory.discard (i32.const 0) (i32.const 0))))";
    let Err(CompileError::Unsupported(what)) = compile(&host(), wat) else {
        panic!("memory control compiled");
    };
    assert!(
        what.starts_with("the operator MemoryDiscard (at offset 0x"),
        "{what}"
    );
}

#[test]
fn invalid_bodies_are_refused() {
    let wasm = wat::parse_str("(module (func (result i32) (i64.const 0)))").unwrap();
    let Err(CompileError::Invalid { message, offset }) = compile_bytes(&host(), &wasm) else {
        panic!("an invalid body compiled");
    };
    assert!(message.contains("type mismatch"), "{message}");
    assert!(offset > 0);
}
