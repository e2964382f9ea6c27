//! Waxwing, in this process.

use super::{Engine, Role};

/// The crate whose interface `embedding` uses.
use ::waxwing as api;

#[path = "embedding.rs"]
#[expect(
    clippy::duplicate_mod,
    reason = "compiled once for each crate that has the interface"
)]
mod embedding;

pub fn all() -> Vec<Box<dyn Engine>> {
    let roles = [Role::Subject, Role::Variant, Role::Variant];
    let mut engines = embedding::collectors("waxwing", roles, |_| {});
    engines.extend(embedding::settings("waxwing", Role::Subject));
    engines.push(embedding::baseline(
        "waxwing",
        "fast",
        Role::Variant,
        |config| {
            // Its frames are large.
            config
                .max_wasm_stack(1 << 20)
                .cranelift_opt_level(api::OptLevel::None)
                .cranelift_regalloc_algorithm(api::RegallocAlgorithm::SinglePass);
        },
    ));
    engines
}
