#![no_main]

use libfuzzer_sys::arbitrary::Unstructured;
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;
use waxwing_tests::diff::{Reference, compare};
use waxwing_tests::engines::{self, Variant};
use waxwing_tests::smith;

static REFERENCE: LazyLock<Reference> = LazyLock::new(Reference::default);
static VARIANTS: LazyLock<Vec<Variant>> = LazyLock::new(engines::variants);

fuzz_target!(|bytes: &[u8]| {
    let mut u = Unstructured::new(bytes);
    let Ok(seed) = u.arbitrary() else { return };
    let Some(wasm) = smith::terminating_arbitrary(&mut u) else {
        return;
    };
    let variant = &VARIANTS[seed as usize % VARIANTS.len()];
    if let Err(difference) = compare(&REFERENCE, variant, &wasm, seed) {
        panic!("engine `{}`: {difference}", variant.name);
    }
});
