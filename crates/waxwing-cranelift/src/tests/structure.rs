//! What comes with the code: traps, maps, references, unwind information, settings.

use super::{artifact, compile, explicit_traps, first_function, host, target, targets};
use crate::CompilerBuilder;
use waxwing_environ::artifact::FlagValue;
use waxwing_environ::compile::{CompileError, RelocTarget};
use waxwing_environ::{BuiltinFunctionIndex, DefinedFuncIndex, EntityRef, Trap, Tunables};

fn traps(function: &waxwing_environ::compile::CompiledFunction) -> Vec<Trap> {
    let mut traps: Vec<Trap> = function.traps.iter().map(|(_, trap)| *trap).collect();
    traps.sort_by_key(|trap| *trap as u8);
    traps.dedup();
    traps
}

pub(super) fn builtins(
    function: &waxwing_environ::compile::CompiledFunction,
) -> Vec<BuiltinFunctionIndex> {
    let targets = function.relocations.iter().map(|reloc| reloc.target);
    targets
        .filter_map(|target| match target {
            RelocTarget::Builtin(builtin) => Some(builtin),
            RelocTarget::Function(_) => None,
        })
        .collect()
}

#[test]
fn instructions_trap_with_their_reason() {
    let cases = [
        ("(func (unreachable))", vec![Trap::UnreachableCodeReached]),
        (
            "(func (param i32 i32) (result i32) (i32.div_u (local.get 0) (local.get 1)))",
            vec![Trap::IntegerDivisionByZero],
        ),
        (
            "(func (param i32 i32) (result i32) (i32.div_s (local.get 0) (local.get 1)))",
            vec![Trap::IntegerOverflow, Trap::IntegerDivisionByZero],
        ),
        (
            "(func (param f32) (result i32) (i32.trunc_f32_s (local.get 0)))",
            vec![Trap::IntegerOverflow, Trap::BadConversionToInteger],
        ),
        (
            "(memory 1) (func (param i32) (result i32) (i32.load (local.get 0)))",
            vec![Trap::MemoryOutOfBounds],
        ),
        (
            "(table 1 funcref) (func (param i32) (call_indirect (local.get 0)))",
            vec![
                Trap::StackOverflow,
                Trap::TableOutOfBounds,
                Trap::IndirectCallToNull,
                Trap::BadSignature,
            ],
        ),
        (
            "(type $t (func)) (func (param (ref null $t)) (call_ref $t (local.get 0)))",
            vec![Trap::StackOverflow, Trap::NullReference],
        ),
        ("(func)", vec![]),
    ];
    for (body, expected) in cases {
        let function = first_function(&host(), &format!("(module {body})"));
        assert_eq!(traps(&function), expected, "{body}");
        assert!(function.traps.is_sorted_by_key(|(offset, _)| *offset));
        let len = function.code.len() as u32;
        assert!(function.traps.iter().all(|(offset, _)| *offset < len));
    }
}

#[test]
fn explicit_traps_are_calls() {
    let target = target("explicit", None, &[], explicit_traps());
    for body in [
        "(func (unreachable))",
        "(func (param i64 i64) (result i64) (i64.rem_s (local.get 0) (local.get 1)))",
        "(func (param f64) (result i64) (i64.trunc_f64_u (local.get 0)))",
        "(memory 1) (func (param i32) (i32.store (local.get 0) (i32.const 1)))",
        "(table 1 funcref) (func (param i32) (call_indirect (local.get 0)))",
        "(table 1 externref) (func (param i32) (result externref) (table.get (local.get 0)))",
        "(func)",
    ] {
        let function = first_function(&target, &format!("(module {body})"));
        assert!(
            builtins(&function).contains(&BuiltinFunctionIndex::trap),
            "{body}"
        );
    }
}

#[test]
fn memories_with_guard_pages_need_no_checks() {
    let wat = "(module (memory 1)
      (func (param i32) (result i32) (i32.load offset=16 (local.get 0))))";
    let clif = |target| first_function(&target, wat).clif.unwrap();
    assert!(!clif(host()).contains("icmp"), "{}", clif(host()));
    let checked = Tunables {
        memory_reservation: 1 << 20,
        ..Tunables::default()
    };
    let clif = clif(target("checked", None, &[], checked));
    assert!(clif.contains("icmp ugt"), "{clif}");
    assert!(clif.contains("select_spectre_guard"), "{clif}");
}

#[test]
fn references_name_their_targets() {
    let module = compile(
        &host(),
        "(module (func $a (call $b)) (func $b (drop (memory.grow (i32.const 1)))) (memory 1))",
    )
    .unwrap();
    let a = &module.functions[DefinedFuncIndex::new(0)];
    let b = &module.functions[DefinedFuncIndex::new(1)];
    assert_eq!(a.relocations.len(), 1);
    assert_eq!(
        a.relocations[0].target,
        RelocTarget::Function(DefinedFuncIndex::new(1))
    );
    assert_eq!(builtins(b), [BuiltinFunctionIndex::memory_grow]);
}

#[test]
fn address_map_starts_with_the_function_and_is_sorted() {
    let wat = "(module (memory 1) (func (param i32) (result i32)
      (i32.add (i32.load (local.get 0)) (i32.load offset=4 (local.get 0)))))";
    let function = first_function(&host(), wat);
    let map = &function.address_map;
    // The function is the last section's only one, and its body the last 13 bytes of the binary.
    let binary = wat::parse_str(wat).unwrap();
    assert_eq!(map[0], (0, binary.len() as u32 - 13));
    assert!(map.len() >= 3, "{map:?}");
    assert!(map.is_sorted_by(|a, b| a.0 < b.0), "{map:?}");
    assert!(map.windows(2).all(|pair| pair[0].1 != pair[1].1), "{map:?}");
    let without = Tunables {
        generate_address_map: false,
        ..Tunables::default()
    };
    let function = first_function(&target("no map", None, &[], without), wat);
    assert!(function.address_map.is_empty());
}

#[test]
fn everything_links() {
    let wat = r#"(module
      (import "" "f" (func (param i64 f32 v128 externref funcref) (result f64 i32)))
      (memory 1)
      (table 4 funcref)
      (func $f (export "f") (param i32) (result i32)
        (drop (memory.grow (i32.const 1)))
        (table.fill (i32.const 0) (ref.func $f) (i32.const 1))
        (call $f (f32.ne (f32.floor (f32.const 1)) (f32.const 2))))
      (func (result i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (unreachable))
      (elem declare func $f))"#;
    for target in targets() {
        let first = artifact(&target, wat);
        assert_eq!(&first[..4], b"\x7fELF", "{}", target.name);
        assert!(
            first == artifact(&target, wat),
            "{}: compiling twice gave different bytes",
            target.name
        );
    }
}

#[test]
fn all_builtins_have_trampolines() {
    for target in targets() {
        for builtin in BuiltinFunctionIndex::ALL {
            let code = target.compiler.compile_wasm_to_builtin(*builtin);
            assert!(!code.unwrap().code.is_empty(), "{builtin:?}");
        }
    }
}

#[test]
fn unwind_information_follows_a_flag() {
    let wat = "(module (func))";
    let function = first_function(&host(), wat);
    assert!(function.unwind.is_some());
    let on = host();
    let section = on
        .compiler
        .unwind_section(0x1_0000, &[(0, &function)])
        .unwrap()
        .unwrap();
    // Entries are a length, then that many bytes; the address of the function is relative to
    // its own place, and the section is right after the text.
    let word = |at: usize| i32::from_le_bytes(section[at..at + 4].try_into().unwrap());
    let fde = 4 + word(0) as usize;
    let place = fde + 8;
    let relative = i64::from_le_bytes(section[place..place + 8].try_into().unwrap());
    assert_eq!(0x1_0000 + place as i64 + relative, 0);
    assert_eq!(section[section.len() - 4..], [0; 4]);
    let off = target(
        "off",
        None,
        &[("unwind_info", "false")],
        Tunables::default(),
    );
    let function = first_function(&off, wat);
    assert!(function.unwind.is_none());
    let section = off.compiler.unwind_section(0x1000, &[(0, &function)]);
    assert!(section.unwrap().is_none());
}

#[test]
fn settings_are_checked() {
    let mut builder = CompilerBuilder::new(None).unwrap();
    let error = |result: anyhow::Result<&mut CompilerBuilder>| match result {
        Ok(_) => panic!("the setting was taken"),
        Err(error) => error.to_string(),
    };
    assert!(error(builder.set("no_such_setting", "1")).contains("`no_such_setting`"));
    assert!(error(builder.set("opt_level", "warp")).contains("`opt_level` to `warp`"));
    assert!(error(builder.enable("opt_level")).contains("`opt_level`"));
    assert!(error(builder.enable("no_such_setting")).contains("`no_such_setting`"));
    builder.set("opt_level", "none").unwrap();
    builder.enable("enable_verifier").unwrap();
    assert!(builder.settings().iter().any(|s| s.name == "opt_level"));
    let compiler = builder.build().unwrap();
    let flags = compiler.shared_flags();
    assert!(flags.contains(&("opt_level".into(), FlagValue::Enum("none".into()))));
    assert!(flags.contains(&("enable_verifier".into(), FlagValue::Bool(true))));
    builder.set("preserve_frame_pointers", "false").unwrap();
    let error = builder.build().err().unwrap().to_string();
    assert!(error.contains("`preserve_frame_pointers`"), "{error}");
    assert!(builder.page_align().unwrap().is_power_of_two());
}

#[test]
fn targets_that_are_not_there_are_refused() {
    for triple in ["wasm32-unknown-unknown", "i686-unknown-linux-gnu"] {
        let error = CompilerBuilder::new(Some(triple.parse().unwrap())).err();
        assert!(error.unwrap().to_string().contains(triple));
    }
}

#[test]
fn frames_of_unusual_size_compile_or_are_refused() {
    let locals = "(local ".to_string() + &"v128 ".repeat(40_000) + ")";
    let mut body = String::new();
    for i in 0..2_000 {
        body += &format!("(local.set {i} (v128.load (i32.const {i})))");
    }
    body += "(call 0)";
    for i in 0..2_000 {
        body += &format!("(v128.store (i32.const {i}) (local.get {i}))");
    }
    let wat = format!("(module (memory 1) (func {locals} {body}))");
    match compile(&host(), &wat) {
        Ok(_) | Err(CompileError::ImplementationLimit(_)) => {}
        Err(error) => panic!("{error}"),
    }
}
