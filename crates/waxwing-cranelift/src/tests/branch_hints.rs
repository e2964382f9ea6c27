//! Hints of the module reach the layout of the code.

use super::{Target, compile, host, targets};
use waxwing_environ::compile::RelocTarget;
use waxwing_environ::{DefinedFuncIndex, EntityRef};

/// Which of the functions 1 to 9 the last function of the module calls, in the order of its code.
fn calls(target: &Target, wat: &str) -> Vec<usize> {
    let module = compile(target, wat).unwrap_or_else(|error| panic!("{error}\n{wat}"));
    let function = module.functions.values().last().unwrap();
    let mut calls: Vec<_> = function
        .relocations
        .iter()
        .filter_map(|reloc| match reloc.target {
            RelocTarget::Function(func) => Some((reloc.offset, func.index())),
            RelocTarget::Builtin(_) => None,
        })
        .collect();
    calls.sort_unstable();
    calls.into_iter().map(|(_, func)| func).collect()
}

/// A module whose last function has this body and can call the functions 1 to 9.
fn module(body: &str) -> String {
    let callees = "(func)".repeat(10);
    format!("(module (table 1 funcref) {callees} (func (param i32 i32) {body}))")
}

/// Code that has blocks of its own.
const CHECKED: &str = "(drop (i32.div_u (local.get 0) (local.get 1)))
    (drop (table.get (i32.const 0)))";

const LIKELY: &str = "(@metadata.code.branch_hint \"\\01\")";
const UNLIKELY: &str = "(@metadata.code.branch_hint \"\\00\")";

#[test]
fn the_unlikely_side_of_an_if_comes_last() {
    let wat = |hint: &str| {
        module(&format!(
            "(call 1)
            {hint} (if (local.get 0)
                (then {CHECKED} (call 2))
                (else {CHECKED} (call 3)))
            (call 4)"
        ))
    };
    for target in targets() {
        assert_eq!(
            calls(&target, &wat(LIKELY)),
            [1, 2, 4, 3],
            "{}",
            target.name
        );
        assert_eq!(
            calls(&target, &wat(UNLIKELY)),
            [1, 3, 4, 2],
            "{}",
            target.name
        );
    }
    let code = |hint: &str| {
        let module = compile(&host(), &wat(hint)).unwrap();
        let index = DefinedFuncIndex::new(10);
        let function = &module.functions[index];
        (function.code.clone(), function.clif.clone().unwrap())
    };
    let (likely, likely_clif) = code(LIKELY);
    let (unlikely, unlikely_clif) = code(UNLIKELY);
    let (_, unhinted_clif) = code("");
    assert_ne!(likely, unlikely);
    let cold = |clif: &str| clif.matches(" cold").count();
    assert!(cold(&unhinted_clif) < cold(&likely_clif), "{likely_clif}");
    assert!(
        cold(&unhinted_clif) < cold(&unlikely_clif),
        "{unlikely_clif}"
    );
}

#[test]
fn what_follows_an_unlikely_branch_comes_last() {
    // The usual form of an error's handling: branches out of blocks that normal code returns from.
    let wat = |hint: &str| {
        module(&format!(
            "(block $error
                (call 1)
                {hint} (br_if $error (local.get 0))
                (call 2)
                {hint} (br_if $error (local.get 1))
                (call 3)
                return)
            (call 4)
            (if (local.get 0) (then (call 5)))
            (call 6)"
        ))
    };
    assert_eq!(calls(&host(), &wat(UNLIKELY)), [1, 2, 3, 4, 5, 6]);
    let clif = |hint: &str| {
        let module = compile(&host(), &wat(hint)).unwrap();
        let clif = &module.functions[DefinedFuncIndex::new(10)].clif;
        clif.as_ref().unwrap().matches(" cold").count()
    };
    assert_eq!(clif(""), 0);
    // The exit of the block, and everything after it, too.
    assert!(clif(UNLIKELY) >= 3, "{}", clif(UNLIKELY));

    // A block whose end is reached otherwise too is not cold.
    let wat = module(&format!(
        "(block $out (call 1) {UNLIKELY} (br_if $out (local.get 0)) (call 2)) (call 3)"
    ));
    let clif = compile(&host(), &wat).unwrap();
    let clif = &clif.functions[DefinedFuncIndex::new(10)].clif;
    assert!(!clif.as_ref().unwrap().contains(" cold"));

    // Likely branches make cold what follows them.
    let wat = |hint: &str| {
        module(&format!(
            "(block $out
                {hint} (br_if $out (local.get 0))
                (call 1)
                (if (local.get 1) (then (call 2)))
                (call 3))
            (call 4)"
        ))
    };
    assert_eq!(calls(&host(), &wat("")), [1, 2, 3, 4]);
    assert_eq!(calls(&host(), &wat(LIKELY)), [4, 1, 2, 3]);
}

#[test]
fn loops_and_what_follows_them_stay_in_place() {
    let wat = module(&format!(
        "(block $out
            (loop $again
                {UNLIKELY} (br_if $out (local.get 0))
                (call 1)
                {LIKELY} (br_if $again (local.get 1)))
            (call 2))
        (call 3)"
    ));
    assert_eq!(calls(&host(), &wat), [1, 2, 3]);
    let module = compile(&host(), &wat).unwrap();
    let clif = &module.functions[DefinedFuncIndex::new(10)].clif;
    assert!(!clif.as_ref().unwrap().contains(" cold"));
    // A loop in unlikely code is as unlikely.
    let wat = self::module(&format!(
        "{UNLIKELY} (if (local.get 0)
            (then (loop $again (call 1) (br_if $again (local.get 1))) (call 2)))
        (call 3)"
    ));
    assert_eq!(calls(&host(), &wat), [3, 1, 2]);
}

#[test]
fn hints_for_code_that_is_not_reached_are_passed_over() {
    let wat = module(&format!(
        "(block
            (br 0)
            {LIKELY} (if (local.get 0) (then (call 1)))
            {LIKELY} (br_if 0 (local.get 0)))
        {UNLIKELY} (if (local.get 0) (then (call 2)) (else (call 3)))
        (call 4)"
    ));
    assert_eq!(calls(&host(), &wat), [3, 4, 2]);
}
