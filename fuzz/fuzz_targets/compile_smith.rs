#![no_main]

use libfuzzer_sys::arbitrary::Unstructured;
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;
use waxwing::Module;
use waxwing_tests::engines::{self, Variant};
use waxwing_tests::{guest, smith};

static VARIANTS: LazyLock<Vec<Variant>> = LazyLock::new(engines::variants);

fuzz_target!(|bytes: &[u8]| {
    let mut u = Unstructured::new(bytes);
    let Some(wasm) = smith::any_arbitrary(&mut u) else {
        return;
    };
    for variant in VARIANTS.iter() {
        let module = Module::from_binary(&variant.engine, &wasm)
            .unwrap_or_else(|error| panic!("engine `{}`: {error:?}", variant.name));
        if !guest::has_start(&wasm) {
            let _ = guest::instantiate(&module);
        }
    }
});
