//! Variables that frames keep for debuggers.

use super::*;
use waxwing_environ::compile::FrameVariables;

const WAT: &str = "(module (func (param i64 f32) (local i32 v128)
    (local.set 2 (i32.const 0x11111111))
    (local.set 2 (i32.const 0x22222222))
    (drop (local.tee 2 (i32.const 0x33333333)))))";

#[test]
fn locals_have_places_of_their_own() {
    for settings in [&[("opt_level", "none")][..], &[("opt_level", "speed")]] {
        let function = first_function(&target("debugged", None, settings, debugged()), WAT);
        let variables = function.variables.expect("debuggers may ask");
        // A vector has none.
        assert!(variables.locals.get(3).copied().flatten().is_none());
        check(&variables, function.code.len());
    }
}

fn check(variables: &FrameVariables, code: usize) {
    let FrameVariables {
        vmctx,
        locals,
        valid_from,
    } = variables;
    let locals: Vec<_> = locals.iter().flatten().collect();
    let facts: Vec<_> = locals.iter().map(|l| (l.size, l.is_float)).collect();
    assert_eq!(facts, [(8, false), (4, true), (4, false)]);
    let mut places: Vec<(i64, i64)> = locals
        .iter()
        .map(|l| (l.offset, l.offset + i64::from(l.size)))
        .chain([(*vmctx, vmctx + 8)])
        .collect();
    places.sort();
    // Below the caller's frame pointer and the return address, one after the other.
    assert!(places.iter().all(|place| place.1 <= -16), "{places:?}");
    assert!(
        places.windows(2).all(|pair| pair[0].1 <= pair[1].0),
        "{places:?}"
    );
    assert!((1..code as u32).contains(valid_from));
}

#[cfg(target_arch = "x86_64")]
#[test]
fn every_value_of_a_local_is_kept() {
    let contains = |tunables: Tunables, value: u32| {
        let settings = [("opt_level", "speed")];
        let code = first_function(&target("optimized", None, &settings, tunables), WAT).code;
        code.windows(4).any(|bytes| bytes == value.to_le_bytes())
    };
    for value in [0x1111_1111, 0x2222_2222, 0x3333_3333] {
        assert!(contains(debugged(), value), "{value:#x}");
        assert!(!contains(Tunables::default(), value), "{value:#x}");
    }
}

#[test]
fn frames_keep_nothing_that_nobody_asks_for() {
    assert!(first_function(&host(), WAT).variables.is_none());
}
