//! There are no memory protection keys here.

use std::convert::Infallible;
use std::io;

/// No value of this type exists.
#[derive(Debug)]
pub(crate) struct Key(Infallible);

impl Key {
    /// Always fails.
    pub(crate) fn new() -> io::Result<Key> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Never called, as there is no value to call it with.
    pub(crate) fn rights(&self) -> u32 {
        match self.0 {}
    }

    /// Never called, as there is no value to call it with.
    ///
    /// # Safety
    ///
    /// None.
    pub(crate) unsafe fn protect(&self, _: *mut u8, _: usize) -> io::Result<()> {
        match self.0 {}
    }
}

/// Whether there are any.
pub(crate) fn available() -> bool {
    false
}

/// Never called, as there are no keys.
pub(crate) fn denied() -> u32 {
    0
}

/// Never called, as there are no keys.
///
/// # Safety
///
/// None.
pub(crate) unsafe fn deny(_: u32) {}
