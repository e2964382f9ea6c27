//! Instructions on float registers, and the arithmetic of floats that vectors share.

use pulley_interpreter::{BinaryOperands, FReg, Reg, XReg};

use crate::machine::{Cpu, Fault, Flow, NEXT};

/// A float as WebAssembly computes with it.
pub(crate) trait Float: Copy + PartialOrd {
    fn from_low_bits(bits: u64) -> Self;
    fn into_bits(self) -> u64;
    /// Makes a NaN quiet.
    fn quiet(self) -> Self;
    /// The result of an operation of which an operand is NaN.
    fn nan_of(self, other: Self) -> Self;
    /// Rounds by a function that is not sure to make signalling NaNs quiet.
    fn rounded(self, round: fn(Self) -> Self) -> Self;
    fn least(self, other: Self) -> Self;
    fn greatest(self, other: Self) -> Self;
}

macro_rules! floats {
    ($($ty:ident($bits:ident);)*) => {
        $(impl Float for $ty {
            #[inline(always)]
            fn from_low_bits(bits: u64) -> $ty {
                $ty::from_bits(bits as $bits)
            }

            #[inline(always)]
            fn into_bits(self) -> u64 {
                self.to_bits().into()
            }

            #[inline(always)]
            fn quiet(self) -> $ty {
                // The highest bit of the fraction.
                $ty::from_bits(self.to_bits() | 1 << ($ty::MANTISSA_DIGITS - 2))
            }

            #[inline(always)]
            fn nan_of(self, other: $ty) -> $ty {
                if self.is_nan() { self.quiet() } else { other.quiet() }
            }

            #[inline(always)]
            fn rounded(self, round: fn($ty) -> $ty) -> $ty {
                if self.is_nan() { self.quiet() } else { round(self) }
            }

            #[inline(always)]
            fn least(self, other: $ty) -> $ty {
                if self < other {
                    self
                } else if other < self {
                    other
                } else if self == other {
                    // Zeros differ in their signs.
                    $ty::from_bits(self.to_bits() | other.to_bits())
                } else {
                    self.nan_of(other)
                }
            }

            #[inline(always)]
            fn greatest(self, other: $ty) -> $ty {
                if self > other {
                    self
                } else if other > self {
                    other
                } else if self == other {
                    $ty::from_bits(self.to_bits() & other.to_bits())
                } else {
                    self.nan_of(other)
                }
            }
        })*
    };
}

floats! {
    f32(u32);
    f64(u64);
}

impl Cpu<'_> {
    #[inline(always)]
    pub(crate) fn float<F: Float>(&self, register: FReg) -> F {
        F::from_low_bits(self.m.f[register.index()])
    }

    #[inline(always)]
    pub(crate) fn set_float<F: Float>(&mut self, register: FReg, value: F) {
        self.m.f[register.index()] = value.into_bits();
    }
}

/// Instructions of two float registers.
macro_rules! binary {
    ($($name:ident($a:ident, $b:ident: $ty:ident) $result:expr;)*) => {
        impl Cpu<'_> {
            $(#[inline(always)]
            pub(crate) fn $name(&mut self, operands: BinaryOperands<FReg>) -> Flow {
                let $a = self.float::<$ty>(operands.src1);
                let $b = self.float::<$ty>(operands.src2);
                self.set_float::<$ty>(operands.dst, $result);
                NEXT
            })*
        }
    };
}

binary! {
    fadd32(a, b: f32) a + b;
    fsub32(a, b: f32) a - b;
    fmul32(a, b: f32) a * b;
    fdiv32(a, b: f32) a / b;
    fmaximum32(a, b: f32) a.greatest(b);
    fminimum32(a, b: f32) a.least(b);
    fcopysign32(a, b: f32) a.copysign(b);
    fadd64(a, b: f64) a + b;
    fsub64(a, b: f64) a - b;
    fmul64(a, b: f64) a * b;
    fdiv64(a, b: f64) a / b;
    fmaximum64(a, b: f64) a.greatest(b);
    fminimum64(a, b: f64) a.least(b);
    fcopysign64(a, b: f64) a.copysign(b);
}

/// Instructions of one float register.
macro_rules! unary {
    ($($name:ident($a:ident: $ty:ident) $result:expr;)*) => {
        impl Cpu<'_> {
            $(#[inline(always)]
            pub(crate) fn $name(&mut self, dst: FReg, src: FReg) -> Flow {
                let $a = self.float::<$ty>(src);
                self.set_float(dst, $result);
                NEXT
            })*
        }
    };
}

unary! {
    ftrunc32(a: f32) a.rounded(f32::trunc);
    ffloor32(a: f32) a.rounded(f32::floor);
    fceil32(a: f32) a.rounded(f32::ceil);
    fnearest32(a: f32) a.rounded(f32::round_ties_even);
    fsqrt32(a: f32) a.sqrt();
    fneg32(a: f32) -a;
    fabs32(a: f32) a.abs();
    ftrunc64(a: f64) a.rounded(f64::trunc);
    ffloor64(a: f64) a.rounded(f64::floor);
    fceil64(a: f64) a.rounded(f64::ceil);
    fnearest64(a: f64) a.rounded(f64::round_ties_even);
    fsqrt64(a: f64) a.sqrt();
    fneg64(a: f64) -a;
    fabs64(a: f64) a.abs();
    f32_from_f64(a: f64) a as f32;
    f64_from_f32(a: f32) f64::from(a);
}

/// Comparisons.
macro_rules! compare {
    ($($name:ident($ty:ident) $op:tt;)*) => {
        impl Cpu<'_> {
            $(#[inline(always)]
            pub(crate) fn $name(&mut self, dst: XReg, src1: FReg, src2: FReg) -> Flow {
                self.set(dst, self.float::<$ty>(src1) $op self.float::<$ty>(src2));
                NEXT
            })*
        }
    };
}

compare! {
    feq32(f32) ==;
    fneq32(f32) !=;
    flt32(f32) <;
    flteq32(f32) <=;
    feq64(f64) ==;
    fneq64(f64) !=;
    flt64(f64) <;
    flteq64(f64) <=;
}

/// Floats of integers.
macro_rules! from_integer {
    ($($name:ident($from:ident to $to:ident);)*) => {
        impl Cpu<'_> {
            $(#[inline(always)]
            pub(crate) fn $name(&mut self, dst: FReg, src: XReg) -> Flow {
                self.set_float(dst, self.get::<$from>(src) as $to);
                NEXT
            })*
        }
    };
}

from_integer! {
    f32_from_x32_s(i32 to f32);
    f32_from_x32_u(u32 to f32);
    f32_from_x64_s(i64 to f32);
    f32_from_x64_u(u64 to f32);
    f64_from_x32_s(i32 to f64);
    f64_from_x32_u(u32 to f64);
    f64_from_x64_s(i64 to f64);
    f64_from_x64_u(u64 to f64);
}

/// Integers of floats, without their fractions: those that trap if there is none, and those that give the nearest.
macro_rules! to_integer {
    ($($checked:ident $saturating:ident($from:ident to $to:ident);)*) => {
        impl Cpu<'_> {
            $(#[inline(always)]
            pub(crate) fn $checked(&mut self, dst: XReg, src: FReg) -> Flow {
                // Every f32 is an f64.
                let value = f64::from(self.float::<$from>(src));
                if value.is_nan() {
                    return Self::fault(Fault::BadConversion);
                }
                let whole = value.trunc();
                // The least value is a power of two or zero, and so is what follows the greatest one.
                let lowest = $to::MIN as f64;
                let end = ((1_u128 << ($to::BITS - 1)) as f64) * if $to::MIN == 0 { 2.0 } else { 1.0 };
                if !(lowest..end).contains(&whole) {
                    return Self::fault(Fault::IntegerOverflow);
                }
                self.set(dst, whole as $to);
                NEXT
            }

            #[inline(always)]
            pub(crate) fn $saturating(&mut self, dst: XReg, src: FReg) -> Flow {
                self.set(dst, self.float::<$from>(src) as $to);
                NEXT
            })*
        }
    };
}

to_integer! {
    x32_from_f32_s x32_from_f32_s_sat(f32 to i32);
    x32_from_f32_u x32_from_f32_u_sat(f32 to u32);
    x32_from_f64_s x32_from_f64_s_sat(f64 to i32);
    x32_from_f64_u x32_from_f64_u_sat(f64 to u32);
    x64_from_f32_s x64_from_f32_s_sat(f32 to i64);
    x64_from_f32_u x64_from_f32_u_sat(f32 to u64);
    x64_from_f64_s x64_from_f64_s_sat(f64 to i64);
    x64_from_f64_u x64_from_f64_u_sat(f64 to u64);
}

impl Cpu<'_> {
    #[inline(always)]
    pub(crate) fn fmov(&mut self, dst: FReg, src: FReg) -> Flow {
        self.m.f[dst.index()] = self.m.f[src.index()];
        NEXT
    }

    #[inline(always)]
    pub(crate) fn fconst32(&mut self, dst: FReg, bits: u32) -> Flow {
        self.m.f[dst.index()] = bits.into();
        NEXT
    }

    #[inline(always)]
    pub(crate) fn fconst64(&mut self, dst: FReg, bits: u64) -> Flow {
        self.m.f[dst.index()] = bits;
        NEXT
    }

    #[inline(always)]
    pub(crate) fn fselect32(
        &mut self,
        dst: FReg,
        cond: XReg,
        if_nonzero: FReg,
        if_zero: FReg,
    ) -> Flow {
        self.fselect64(dst, cond, if_nonzero, if_zero)
    }

    #[inline(always)]
    pub(crate) fn fselect64(
        &mut self,
        dst: FReg,
        cond: XReg,
        if_nonzero: FReg,
        if_zero: FReg,
    ) -> Flow {
        let (one, other) = (self.m.f[if_nonzero.index()], self.m.f[if_zero.index()]);
        self.m.f[dst.index()] = if self.get::<bool>(cond) { one } else { other };
        NEXT
    }

    #[inline(always)]
    pub(crate) fn bitcast_int_from_float_32(&mut self, dst: XReg, src: FReg) -> Flow {
        self.set(dst, self.m.f[src.index()] as u32);
        NEXT
    }

    #[inline(always)]
    pub(crate) fn bitcast_int_from_float_64(&mut self, dst: XReg, src: FReg) -> Flow {
        self.set(dst, self.m.f[src.index()]);
        NEXT
    }

    #[inline(always)]
    pub(crate) fn bitcast_float_from_int_32(&mut self, dst: FReg, src: XReg) -> Flow {
        self.m.f[dst.index()] = self.get::<u32>(src).into();
        NEXT
    }

    #[inline(always)]
    pub(crate) fn bitcast_float_from_int_64(&mut self, dst: FReg, src: XReg) -> Flow {
        self.m.f[dst.index()] = self.get(src);
        NEXT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extrema_see_the_signs_of_zeros_and_nans() {
        assert_eq!(0.0_f64.least(-0.0).to_bits(), (-0.0_f64).to_bits());
        assert_eq!((-0.0_f64).greatest(0.0).to_bits(), 0);
        assert_eq!(2.0_f32.least(1.0), 1.0);
        assert_eq!(2.0_f32.greatest(1.0), 2.0);
        let signalling = f32::from_bits(0x7fa0_0000);
        assert_eq!(1.0_f32.least(signalling).to_bits(), 0x7fe0_0000);
        assert_eq!(signalling.greatest(1.0).to_bits(), 0x7fe0_0000);
        assert_eq!(signalling.rounded(f32::floor).to_bits(), 0x7fe0_0000);
    }
}
