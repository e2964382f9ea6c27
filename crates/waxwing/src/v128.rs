//! [`V128`]: the value type `v128`.

use std::cmp::Ordering;
use std::fmt;

/// A 128-bit vector, the representation of the WebAssembly type `v128`.
///
/// The bytes of the vector are those of a `u128` in little-endian order, so lane 0 is in the least
/// significant bits. Converts from and to `u128`.
///
/// ```
/// # use waxwing::*;
/// let vector = V128::from(0x0102_u128);
/// assert_eq!(vector.as_u128(), 0x0102);
/// assert_eq!(u128::from(vector), 0x0102);
/// ```
#[repr(transparent)]
#[derive(Clone, Copy)]
pub struct V128(u128);

impl V128 {
    /// The 128 bits of the vector, lane 0 being the least significant ones.
    pub fn as_u128(&self) -> u128 {
        self.0
    }
}

impl From<u128> for V128 {
    fn from(bits: u128) -> V128 {
        V128(bits)
    }
}

impl From<V128> for u128 {
    fn from(vector: V128) -> u128 {
        vector.0
    }
}

impl fmt::Debug for V128 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "V128({:#034x})", self.0)
    }
}

impl PartialEq for V128 {
    fn eq(&self, other: &V128) -> bool {
        self.0 == other.0
    }
}

impl Eq for V128 {}

impl PartialOrd for V128 {
    fn partial_cmp(&self, other: &V128) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for V128 {
    fn cmp(&self, other: &V128) -> Ordering {
        self.0.cmp(&other.0)
    }
}
