#![no_main]

use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;
use waxwing::{Engine, Module};
use waxwing_tests::{engines, guest};

static ENGINE: LazyLock<Engine> =
    LazyLock::new(|| Engine::new(&engines::config()).expect("the engine can be made"));

fuzz_target!(|wasm: &[u8]| {
    let valid = Module::validate(&ENGINE, wasm);
    if let Ok(module) = Module::from_binary(&ENGINE, wasm) {
        valid.expect("what compiles is valid");
        // A start function might never return.
        if !guest::has_start(wasm) {
            let _ = guest::instantiate(&module);
        }
    }
});
