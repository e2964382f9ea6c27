//! Compiling modules with the cache on disk.

use super::dwarf_package;
use crate::{Cache, Engine, Module, Result};
use std::hash::Hash;
use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};
use waxwing_cache::{Key, KeyBuilder};
use waxwing_environ::artifact::ELF_ABI_VERSION;

/// The module that `wasm` was compiled to before, or is compiled to now.
pub(super) fn compile(
    engine: &Engine,
    cache: &Cache,
    wasm: &[u8],
    package: dwarf_package::Sections<'_>,
) -> Result<Module> {
    let package_parts = package
        .iter()
        .flat_map(|(name, bytes)| [name.as_bytes(), &**bytes]);
    let key = key(engine, std::iter::once(wasm).chain(package_parts));
    let found = cache.get(&key, |entry| match Module::from_cache(engine, entry) {
        Ok(module) => Some(module),
        Err(error) => {
            log::debug!("a cached module cannot be used: {error:#}");
            None
        }
    });
    if let Some(module) = found {
        return Ok(module);
    }
    let compiled = super::compile(engine, wasm, package)?;
    cache.insert(&key, &compiled.bytes);
    Module::from_compiled(engine, compiled)
}

/// What an artifact depends on: the compiler, the engine's settings, and the bytes that it is made from.
fn key<'a>(engine: &Engine, inputs: impl Iterator<Item = &'a [u8]>) -> Key {
    let mut key = KeyBuilder::new();
    key.part(env!("CARGO_PKG_VERSION").as_bytes());
    ELF_ABI_VERSION.hash(&mut key);
    program().hash(&mut key);
    engine.precompile_compatibility_hash().hash(&mut key);
    for input in inputs {
        key.part(input);
    }
    key.finish_key()
}

/// Tells builds of programs apart. The compiler is part of the program, and may change while its version does not.
fn program() -> (u64, u128) {
    static PROGRAM: OnceLock<(u64, u128)> = OnceLock::new();
    *PROGRAM.get_or_init(|| {
        let metadata = std::env::current_exe().and_then(|path| path.metadata());
        let Ok(metadata) = metadata else {
            return (0, 0);
        };
        let modified = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
        let age = modified.duration_since(UNIX_EPOCH).unwrap_or_default();
        (metadata.len(), age.as_nanos())
    })
}
