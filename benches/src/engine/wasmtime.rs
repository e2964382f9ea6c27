//! wasmtime, in this process.

use super::{Engine, Role};

/// The crate whose interface `embedding` uses.
use ::wasmtime as api;

#[path = "embedding.rs"]
mod embedding;

pub fn all() -> Vec<Box<dyn Engine>> {
    let roles = [Role::Rival, Role::Rival, Role::Bound];
    let mut engines = embedding::collectors("wasmtime", roles, |config| {
        // Shared memories have an option of their own there.
        config.shared_memory(true);
    });
    engines.extend(embedding::settings("wasmtime", Role::Rival));
    engines.push(embedding::baseline(
        "wasmtime",
        "winch",
        Role::Peer,
        |config| {
            config.strategy(api::Strategy::Winch);
        },
    ));
    engines
}
