#![no_main]

use libfuzzer_sys::arbitrary::Unstructured;
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;
use waxwing::Engine;
use waxwing_tests::{engines, interruption, smith};

static USUAL: LazyLock<Engine> = LazyLock::new(|| {
    let mut config = engines::config();
    config.consume_fuel(true);
    Engine::new(&config).expect("the settings suit each other")
});

fuzz_target!(|bytes: &[u8]| {
    let mut u = Unstructured::new(bytes);
    let Ok(seed) = u.arbitrary() else { return };
    let Some(wasm) = smith::untamed_arbitrary(&mut u) else {
        return;
    };
    if let Err(difference) = interruption::check(&USUAL, &wasm, seed) {
        panic!("seed {seed}: {difference}");
    }
});
