//! [`ValRaw`]: a WebAssembly value without its type, as the array calling convention passes it.

use std::ffi::c_void;
use std::fmt;

/// A WebAssembly value of a type that is known from elsewhere: the signature of the function that is
/// called.
///
/// Parameters and results share one array of these in calls between the host and WebAssembly. Values
/// are stored in little-endian byte order on every host. Reading another type than was written gives
/// unspecified bits, but no undefined behaviour as long as the bits are only used as numbers.
#[derive(Copy, Clone)]
#[repr(C)]
pub union ValRaw {
    /// An `i32`, little-endian. Use [`ValRaw::i32`] to create one, which clears the upper bytes.
    i32: i32,
    /// An `i64`, little-endian.
    i64: i64,
    /// The bits of an `f32`, little-endian.
    f32: u32,
    /// The bits of an `f64`, little-endian.
    f64: u64,
    /// The bytes of a `v128`.
    v128: [u8; 16],
    /// A pointer to a function reference, null for a null reference.
    funcref: *mut c_void,
    /// A GC reference of the host, little-endian, zero for a null reference.
    externref: u32,
    /// An internal GC reference, little-endian, zero for a null reference.
    anyref: u32,
}

// SAFETY: a plain value. Whoever turns one into a reference vouches for the store that it is used with.
unsafe impl Send for ValRaw {}
// SAFETY: as above.
unsafe impl Sync for ValRaw {}

impl fmt::Debug for ValRaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Only bytes that every variant initialises are read.
        // SAFETY: every constructor initialises at least the first eight bytes.
        let low = unsafe { u64::from_le(self.f64) };
        write!(f, "ValRaw({low:#018x}, ..)")
    }
}

impl ValRaw {
    /// A null reference of any hierarchy, or a zero.
    #[inline]
    pub fn null() -> ValRaw {
        ValRaw { v128: [0; 16] }
    }

    /// A WebAssembly `i32`.
    #[inline]
    pub fn i32(i: i32) -> ValRaw {
        ValRaw::u32(i as u32)
    }

    /// A WebAssembly `i64`.
    #[inline]
    pub fn i64(i: i64) -> ValRaw {
        ValRaw { i64: i.to_le() }
    }

    /// A WebAssembly `i32`, unsigned.
    #[inline]
    pub fn u32(i: u32) -> ValRaw {
        // The upper bytes are cleared, so that reading 64 bits gives the zero-extended value.
        ValRaw::u64(u64::from(i))
    }

    /// A WebAssembly `i64`, unsigned.
    #[inline]
    pub fn u64(i: u64) -> ValRaw {
        ValRaw::i64(i as i64)
    }

    /// A WebAssembly `f32`, by its bits.
    #[inline]
    pub fn f32(bits: u32) -> ValRaw {
        ValRaw::u32(bits)
    }

    /// A WebAssembly `f64`, by its bits.
    #[inline]
    pub fn f64(bits: u64) -> ValRaw {
        ValRaw { f64: bits.to_le() }
    }

    /// A WebAssembly `v128`.
    #[inline]
    pub fn v128(bits: u128) -> ValRaw {
        ValRaw {
            v128: bits.to_le_bytes(),
        }
    }

    /// A WebAssembly `funcref`, null for a null reference.
    #[inline]
    pub fn funcref(pointer: *mut c_void) -> ValRaw {
        ValRaw {
            funcref: pointer.map_addr(usize::to_le),
        }
    }

    /// A WebAssembly `externref`, zero for a null reference.
    #[inline]
    pub fn externref(reference: u32) -> ValRaw {
        ValRaw::u32(reference)
    }

    /// A WebAssembly `anyref`, zero for a null reference.
    #[inline]
    pub fn anyref(reference: u32) -> ValRaw {
        ValRaw::u32(reference)
    }

    /// A WebAssembly `exnref`, zero for a null reference.
    #[inline]
    pub fn exnref(reference: u32) -> ValRaw {
        ValRaw::u32(reference)
    }

    /// The value of a WebAssembly `i32`.
    #[inline]
    pub fn get_i32(&self) -> i32 {
        // SAFETY: every constructor initialises these bytes, and any bits are an integer.
        unsafe { i32::from_le(self.i32) }
    }

    /// The value of a WebAssembly `i64`.
    #[inline]
    pub fn get_i64(&self) -> i64 {
        // SAFETY: every constructor initialises these bytes, and any bits are an integer.
        unsafe { i64::from_le(self.i64) }
    }

    /// The value of a WebAssembly `i32`, unsigned.
    #[inline]
    pub fn get_u32(&self) -> u32 {
        self.get_i32() as u32
    }

    /// The value of a WebAssembly `i64`, unsigned.
    #[inline]
    pub fn get_u64(&self) -> u64 {
        self.get_i64() as u64
    }

    /// The bits of a WebAssembly `f32`.
    #[inline]
    pub fn get_f32(&self) -> u32 {
        // SAFETY: every constructor initialises these bytes, and any bits are an integer.
        unsafe { u32::from_le(self.f32) }
    }

    /// The bits of a WebAssembly `f64`.
    #[inline]
    pub fn get_f64(&self) -> u64 {
        // SAFETY: every constructor initialises these bytes, and any bits are an integer.
        unsafe { u64::from_le(self.f64) }
    }

    /// The bits of a WebAssembly `v128`.
    #[inline]
    pub fn get_v128(&self) -> u128 {
        // SAFETY: a `v128` is read only where one was written, by generated code or `ValRaw::v128`;
        // arrays that values are passed in are initialised as a whole.
        unsafe { u128::from_le_bytes(self.v128) }
    }

    /// The pointer of a WebAssembly `funcref`, null for a null reference.
    #[inline]
    pub fn get_funcref(&self) -> *mut c_void {
        // SAFETY: every constructor initialises these bytes, and any bits are a pointer to look at.
        unsafe { self.funcref.map_addr(usize::from_le) }
    }

    /// A WebAssembly `externref`, zero for a null reference.
    #[inline]
    pub fn get_externref(&self) -> u32 {
        // SAFETY: every constructor initialises these bytes, and any bits are an integer.
        unsafe { u32::from_le(self.externref) }
    }

    /// A WebAssembly `anyref`, zero for a null reference.
    #[inline]
    pub fn get_anyref(&self) -> u32 {
        // SAFETY: every constructor initialises these bytes, and any bits are an integer.
        unsafe { u32::from_le(self.anyref) }
    }

    /// A WebAssembly `exnref`, zero for a null reference.
    #[inline]
    pub fn get_exnref(&self) -> u32 {
        self.get_u32()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_sixteen_bytes_and_zero_extended() {
        assert_eq!(size_of::<ValRaw>(), 16);
        assert_eq!(ValRaw::i32(-1).get_u64(), 0xffff_ffff);
        assert_eq!(ValRaw::f32(0x8000_0000).get_i64(), 0x8000_0000);
        assert_eq!(ValRaw::v128(1 << 100).get_v128(), 1 << 100);
        assert!(ValRaw::null().get_funcref().is_null());
        let mut target = 0u64;
        let pointer = (&raw mut target).cast();
        assert_eq!(ValRaw::funcref(pointer).get_funcref(), pointer);
        assert_eq!(ValRaw::externref(7).get_externref(), 7);
    }
}
