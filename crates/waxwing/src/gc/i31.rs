//! [`I31`].

use std::fmt;

use waxwing_environ::gc::GC_REF_I31_BIT;
use waxwing_vm::VMGcRef;

/// A 31-bit integer, a value of the type `i31`.
///
/// It takes no memory in the heap: references hold it themselves. Whether it has a sign is up to
/// the one who reads it.
///
/// ```
/// # use waxwing::*;
/// assert_eq!(I31::new_i32(-1).unwrap().get_i32(), -1);
/// assert_eq!(I31::new_i32(-1).unwrap().get_u32(), 0x7fff_ffff);
/// assert!(I31::new_u32(1 << 31).is_none());
/// assert_eq!(I31::wrapping_u32((1 << 31) + 5).get_u32(), 5);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct I31 {
    /// The lower 31 bits of the integer; the highest bit is zero.
    bits: u32,
}

const MASK: u32 = 0x7fff_ffff;

impl fmt::Debug for I31 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("I31")
            .field("as_u32", &self.get_u32())
            .field("as_i32", &self.get_i32())
            .finish()
    }
}

impl I31 {
    /// The unsigned integer, or `None` if it does not fit in 31 bits.
    #[inline]
    pub fn new_u32(value: u32) -> Option<Self> {
        let i31 = I31::wrapping_u32(value);
        (i31.get_u32() == value).then_some(i31)
    }

    /// The signed integer, or `None` if it does not fit in 31 bits.
    #[inline]
    pub fn new_i32(value: i32) -> Option<Self> {
        let i31 = I31::wrapping_i32(value);
        (i31.get_i32() == value).then_some(i31)
    }

    /// The lower 31 bits of `value`, as the instruction `ref.i31` takes them.
    #[inline]
    pub fn wrapping_u32(value: u32) -> Self {
        I31 { bits: value & MASK }
    }

    /// The lower 31 bits of `value`, as the instruction `ref.i31` takes them.
    #[inline]
    pub fn wrapping_i32(value: i32) -> Self {
        I31::wrapping_u32(value as u32)
    }

    /// The unsigned integer, as the instruction `i31.get_u` gives it.
    #[inline]
    pub fn get_u32(&self) -> u32 {
        self.bits
    }

    /// The signed integer, as the instruction `i31.get_s` gives it.
    #[inline]
    pub fn get_i32(&self) -> i32 {
        ((self.bits << 1) as i32) >> 1
    }

    /// The reference that holds the integer.
    #[inline]
    pub(crate) fn to_gc_ref(self) -> VMGcRef {
        VMGcRef::new(self.bits << 1 | GC_REF_I31_BIT).expect("a bit is set")
    }

    /// The integer that a reference holds, if it holds one.
    #[inline]
    pub(crate) fn of_gc_ref(gc_ref: VMGcRef) -> Option<I31> {
        let is_i31 = gc_ref.get() & GC_REF_I31_BIT != 0;
        is_i31.then_some(I31 {
            bits: gc_ref.get() >> 1,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_hold_integers() {
        for value in [0, 1, -1, 5, -(1 << 30), (1 << 30) - 1] {
            let i31 = I31::new_i32(value).unwrap();
            assert_eq!(i31.get_i32(), value);
            assert_eq!(I31::of_gc_ref(i31.to_gc_ref()), Some(i31));
        }
        assert_eq!(I31::of_gc_ref(VMGcRef::new(8).unwrap()), None);
    }
}
