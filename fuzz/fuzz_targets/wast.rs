#![no_main]

use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;
use waxwing::Engine;
use waxwing_tests::engines;
use waxwing_wast::{Report, SpectestOutput, WastContext};

static ENGINE: LazyLock<Engine> =
    LazyLock::new(|| Engine::new(&engines::config()).expect("the engine can be made"));

fuzz_target!(|script: &str| {
    // What might never return, or take all memory, is not run.
    let unbounded = [
        "loop",
        "return_call",
        "grow",
        "memory",
        "table",
        "array.new",
    ];
    if unbounded.iter().any(|word| script.contains(word)) {
        return;
    }
    let mut report = Report::default();
    WastContext::new(&ENGINE, SpectestOutput::Discard)
        .expect("the context can be made")
        .run_wast("fuzz.wast", script, &mut report);
});
