#![no_main]

use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;
use waxwing::{Engine, Module};
use waxwing_tests::engines;

static ENGINE: LazyLock<Engine> =
    LazyLock::new(|| Engine::new(&engines::config()).expect("the engine can be made"));

fuzz_target!(|text: &str| {
    // Texts alone: the binary format has targets of its own.
    if text.trim_start().starts_with('(')
        && let Err(error) = Module::new(&ENGINE, text)
    {
        assert!(!format!("{error:?}").is_empty());
    }
});
