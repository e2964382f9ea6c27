#![no_main]

use libfuzzer_sys::arbitrary::Unstructured;
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;
use waxwing_tests::engines::{self, Variant};
use waxwing_tests::objects::{Audience, Plan, first_difference, transcribe};
use waxwing_tests::{graphs, smith};

static VARIANTS: LazyLock<Vec<Variant>> = LazyLock::new(engines::collectors);

fuzz_target!(|bytes: &[u8]| {
    let mut u = Unstructured::new(bytes);
    let Ok(seed) = u.arbitrary() else { return };
    let wasm = match u.ratio(1, 4) {
        Ok(true) => graphs::module(seed),
        _ => match smith::objects_arbitrary(&mut u, Audience::Waxwing) {
            Some(wasm) => wasm,
            None => return,
        },
    };
    let plan = Plan::new(&wasm, seed, Audience::Waxwing).expect("the module is valid");
    let mut expected = None;
    for variant in VARIANTS.iter() {
        let actual = transcribe(&variant.engine, &wasm, &plan, Audience::Waxwing)
            .unwrap_or_else(|error| panic!("engine `{}`: {error:?}", variant.name));
        let expected = expected.get_or_insert_with(|| actual.clone());
        if let Some(difference) = first_difference(expected, &actual) {
            panic!("engine `{}`: {difference}", variant.name);
        }
    }
});
