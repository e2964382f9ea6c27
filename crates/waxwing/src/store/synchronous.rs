//! What stands for `asynchronous` where the Cargo feature is off.

use anyhow::{Result, bail};

use super::StoreOpaque;
use crate::Engine;

pub(super) fn is_async(_engine: &Engine) -> bool {
    false
}

impl StoreOpaque {
    /// Panics if WebAssembly of the store is to be called by `async` functions, as it never is.
    #[inline(always)]
    pub(crate) fn assert_sync(&self, _instead: &str) {}

    /// Lets other tasks run.
    pub(super) fn yield_now(&mut self) -> Result<()> {
        bail!("letting other tasks run needs the Cargo feature `async` of this crate")
    }
}
