#![no_main]

use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;
use waxwing::{Engine, Module};
use waxwing_tests::{artifact, corpus, engines};

static ENGINE: LazyLock<Engine> =
    LazyLock::new(|| Engine::new(&engines::config()).expect("the engine can be made"));

/// Artifacts, and where each may be damaged.
static ARTIFACTS: LazyLock<Vec<(Vec<u8>, Vec<usize>)>> = LazyLock::new(|| {
    corpus::modules(2 << 10)
        .iter()
        .step_by(40)
        .filter_map(|wasm| ENGINE.precompile_module(wasm).ok())
        .map(|artifact| {
            let places = artifact::outside_text(&artifact);
            (artifact, places)
        })
        .collect()
});

/// Which artifact, what to write where, and where to cut it off.
type Damage = (u8, Vec<(u32, u8)>, Option<u32>);

fuzz_target!(|damage: Damage| {
    let (which, writes, cut) = damage;
    let (artifact, places) = &ARTIFACTS[usize::from(which) % ARTIFACTS.len()];
    let mut damaged = artifact.clone();
    for (place, byte) in writes {
        damaged[places[place as usize % places.len()]] = byte;
    }
    if let Some(cut) = cut {
        damaged.truncate(cut as usize % artifact.len());
    }
    // SAFETY: the machine code is as the compiler made it, and none of it runs.
    if let Ok(module) = unsafe { Module::deserialize(&ENGINE, &damaged) } {
        let _ = (module.imports().count(), module.exports().count());
    }
});
