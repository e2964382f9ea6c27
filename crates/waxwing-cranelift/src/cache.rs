//! The embedder's store of compiled functions, in Cranelift's terms.

use cranelift_codegen::incremental_cache::CacheKvStore;
use std::borrow::Cow;
use waxwing_environ::compile::CacheStore;

/// Cranelift's keys are hashes of a function's intermediate representation, the target and the settings.
pub(crate) struct Store<'a>(pub(crate) &'a dyn CacheStore);

impl CacheKvStore for Store<'_> {
    fn get(&self, key: &[u8]) -> Option<Cow<'_, [u8]>> {
        self.0.get(key)
    }

    fn insert(&mut self, key: &[u8], val: Vec<u8>) {
        // Whether it was stored only matters for the time that the next compilation takes.
        self.0.insert(key, val);
    }
}
