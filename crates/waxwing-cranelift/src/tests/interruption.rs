//! Where code looks whether it may go on.

use super::{compile, first_function, host, interruptible, target};
use waxwing_environ::compile::{CompiledFunction, RelocTarget};
use waxwing_environ::{BuiltinFunctionIndex, Tunables};

fn calls(function: &CompiledFunction, builtin: BuiltinFunctionIndex) -> usize {
    let targets = function.relocations.iter().map(|reloc| reloc.target);
    targets
        .filter(|target| *target == RelocTarget::Builtin(builtin))
        .count()
}

/// How often each function of a module checks the fuel, and the epoch.
fn checks(wat: &str) -> Vec<(usize, usize)> {
    let target = target("interruptible", None, &[], interruptible());
    let module = compile(&target, wat).unwrap_or_else(|error| panic!("{error}\n{wat}"));
    let checks = module.functions.values().map(|function| {
        (
            calls(function, BuiltinFunctionIndex::out_of_fuel),
            calls(function, BuiltinFunctionIndex::new_epoch),
        )
    });
    checks.collect()
}

#[test]
fn entries_and_loops_are_checked() {
    for (wat, expected) in [
        // Whom the host can call.
        ("(module (func (export \"f\")))", vec![(1, 1)]),
        ("(module (func $f) (start $f))", vec![(1, 1)]),
        ("(module (func $f) (elem declare func $f))", vec![(1, 1)]),
        // Whom its module alone can call is checked there, unless it may be long until it returns.
        ("(module (func))", vec![(1, 0)]),
        ("(module (func (block (br 0))))", vec![(1, 0)]),
        ("(module (func $f (call $f)))", vec![(1, 1)]),
        ("(module (func $f (return_call $f)))", vec![(1, 1)]),
        (
            "(module (type $t (func)) (func (param (ref $t)) (call_ref $t (local.get 0))))",
            vec![(1, 1)],
        ),
        ("(module (func (loop)))", vec![(2, 2)]),
        ("(module (func (loop (loop (br 1)))))", vec![(3, 3)]),
        // What is not reached is not there.
        ("(module (func (return) (loop (br 0))))", vec![(1, 1)]),
    ] {
        assert_eq!(checks(wat), expected, "{wat}");
    }
}

#[test]
fn without_the_settings_nothing_is_checked() {
    let wat = "(module (func (export \"f\") (loop (br 0))))";
    let function = first_function(&host(), wat);
    assert!(function.relocations.is_empty());
}

/// The adjustments of the fuel counter in a function.
fn adjustments(body: &str) -> usize {
    let tunables = Tunables {
        consume_fuel: true,
        ..Tunables::default()
    };
    let target = target("fuel", None, &[], tunables);
    let clif = first_function(&target, &format!("(module (func (param i32) {body}))")).clif;
    clif.expect("asked for").matches("set_pinned_reg").count()
}

#[test]
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
fn few_places_adjust_the_counter() {
    for (body, expected) in [
        // At the end.
        ("nop", 1),
        ("(if (local.get 0) (then (drop (i32.const 1))))", 2),
        // Ways of one price need not be told apart.
        (
            "(if (local.get 0) (then (drop (i32.const 1))) (else (drop (i32.const 2))))",
            1,
        ),
        ("(block (br_if 0 (local.get 0)) (drop (i32.const 1)))", 2),
        // In the loop, and at the end.
        ("(loop (br_if 0 (local.get 0)))", 2),
        (
            "(loop
                (if (local.get 0)
                    (then (local.set 0 (i32.const 1)))
                    (else (local.set 0 (i32.const 2))))
                (br_if 0 (local.get 0)))",
            2,
        ),
    ] {
        assert_eq!(adjustments(body), expected, "{body}");
    }
}

/// Targets without a register to set aside have the counter in memory.
#[test]
#[cfg(feature = "all-arch")]
fn every_target_can_count() {
    let wat = "(module (func $f (export \"f\") (param i32)
        (loop (call $f (local.get 0)) (br_if 0 (local.get 0)))))";
    for (triple, has_register) in [
        ("x86_64-pc-windows-msvc", true),
        ("aarch64-unknown-linux-gnu", true),
        ("riscv64gc-unknown-linux-gnu", false),
        ("s390x-unknown-linux-gnu", false),
    ] {
        let target = target(triple, Some(triple), &[], interruptible());
        let clif = first_function(&target, wat).clif.expect("asked for");
        assert_eq!(clif.contains("get_pinned_reg"), has_register, "{triple}");
        super::artifact(&target, wat);
    }
}
