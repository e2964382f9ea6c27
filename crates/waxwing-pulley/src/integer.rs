//! Instructions on integer registers.

use pulley_interpreter::{BinaryOperands, U6, XReg};

use crate::machine::{Cpu, Fault, Flow, NEXT};

/// Instructions of two registers that are read as values of a type.
macro_rules! binary {
    ($($name:ident($a:ident, $b:ident: $ty:ident) $result:expr;)*) => {
        impl Cpu<'_> {
            $(#[inline(always)]
            pub(crate) fn $name(&mut self, operands: BinaryOperands<XReg>) -> Flow {
                let ($a, $b) = (self.get::<$ty>(operands.src1), self.get::<$ty>(operands.src2));
                self.set(operands.dst, $result);
                NEXT
            })*
        }
    };
}

binary! {
    xadd32(a, b: u32) a.wrapping_add(b);
    xadd64(a, b: u64) a.wrapping_add(b);
    xsub32(a, b: u32) a.wrapping_sub(b);
    xsub64(a, b: u64) a.wrapping_sub(b);
    xmul32(a, b: u32) a.wrapping_mul(b);
    xmul64(a, b: u64) a.wrapping_mul(b);
    xmulhi64_s(a, b: i64) ((i128::from(a) * i128::from(b)) >> 64) as i64;
    xmulhi64_u(a, b: u64) ((u128::from(a) * u128::from(b)) >> 64) as u64;
    xrotl32(a, b: u32) a.rotate_left(b & 31);
    xrotl64(a, b: u64) a.rotate_left(b as u32 & 63);
    xrotr32(a, b: u32) a.rotate_right(b & 31);
    xrotr64(a, b: u64) a.rotate_right(b as u32 & 63);
    xshl32(a, b: u32) a.wrapping_shl(b);
    xshr32_s(a, b: i32) a.wrapping_shr(b as u32);
    xshr32_u(a, b: u32) a.wrapping_shr(b);
    xshl64(a, b: u64) a.wrapping_shl(b as u32);
    xshr64_s(a, b: i64) a.wrapping_shr(b as u32);
    xshr64_u(a, b: u64) a.wrapping_shr(b as u32);
    xeq64(a, b: u64) a == b;
    xneq64(a, b: u64) a != b;
    xslt64(a, b: i64) a < b;
    xslteq64(a, b: i64) a <= b;
    xult64(a, b: u64) a < b;
    xulteq64(a, b: u64) a <= b;
    xeq32(a, b: u32) a == b;
    xneq32(a, b: u32) a != b;
    xslt32(a, b: i32) a < b;
    xslteq32(a, b: i32) a <= b;
    xult32(a, b: u32) a < b;
    xulteq32(a, b: u32) a <= b;
    xband32(a, b: u32) a & b;
    xband64(a, b: u64) a & b;
    xbor32(a, b: u32) a | b;
    xbor64(a, b: u64) a | b;
    xbxor32(a, b: u32) a ^ b;
    xbxor64(a, b: u64) a ^ b;
    xmin32_u(a, b: u32) a.min(b);
    xmin32_s(a, b: i32) a.min(b);
    xmax32_u(a, b: u32) a.max(b);
    xmax32_s(a, b: i32) a.max(b);
    xmin64_u(a, b: u64) a.min(b);
    xmin64_s(a, b: i64) a.min(b);
    xmax64_u(a, b: u64) a.max(b);
    xmax64_s(a, b: i64) a.max(b);
}

/// Instructions of two registers that may fail.
macro_rules! checked {
    ($($name:ident($a:ident, $b:ident: $ty:ident) $result:expr;)*) => {
        impl Cpu<'_> {
            $(#[inline(always)]
            pub(crate) fn $name(&mut self, operands: BinaryOperands<XReg>) -> Flow {
                let ($a, $b) = (self.get::<$ty>(operands.src1), self.get::<$ty>(operands.src2));
                match $result {
                    Ok(result) => {
                        self.set(operands.dst, result);
                        NEXT
                    }
                    Err(fault) => Self::fault(fault),
                }
            })*
        }
    };
}

macro_rules! divide {
    ($a:ident.$checked:ident($b:ident)) => {
        match $b {
            0 => Err(Fault::DivisionByZero),
            _ => $a.$checked($b).ok_or(Fault::IntegerOverflow),
        }
    };
}

/// The remainder of the one quotient that overflows is zero.
macro_rules! remainder {
    ($a:ident, $b:ident) => {
        match $b {
            0 => Err(Fault::DivisionByZero),
            _ => Ok($a.wrapping_rem($b)),
        }
    };
}

checked! {
    xdiv32_s(a, b: i32) divide!(a.checked_div(b));
    xdiv64_s(a, b: i64) divide!(a.checked_div(b));
    xdiv32_u(a, b: u32) divide!(a.checked_div(b));
    xdiv64_u(a, b: u64) divide!(a.checked_div(b));
    xrem32_s(a, b: i32) remainder!(a, b);
    xrem64_s(a, b: i64) remainder!(a, b);
    xrem32_u(a, b: u32) remainder!(a, b);
    xrem64_u(a, b: u64) remainder!(a, b);
    xadd32_uoverflow_trap(a, b: u32) a.checked_add(b).ok_or(Fault::Trap);
    xadd64_uoverflow_trap(a, b: u64) a.checked_add(b).ok_or(Fault::Trap);
}

/// Instructions of a register and a constant.
macro_rules! with_constant {
    ($($name:ident($a:ident: $ty:ident, $b:ident: $constant:ident) $result:expr;)*) => {
        impl Cpu<'_> {
            $(#[inline(always)]
            pub(crate) fn $name(&mut self, dst: XReg, src1: XReg, src2: $constant) -> Flow {
                let ($a, $b) = (self.get::<$ty>(src1), src2 as $ty);
                self.set(dst, $result);
                NEXT
            })*
        }
    };
}

with_constant! {
    xadd32_u8(a: u32, b: u8) a.wrapping_add(b);
    xadd32_u32(a: u32, b: u32) a.wrapping_add(b);
    xadd64_u8(a: u64, b: u8) a.wrapping_add(b);
    xadd64_u32(a: u64, b: u32) a.wrapping_add(b);
    xsub32_u8(a: u32, b: u8) a.wrapping_sub(b);
    xsub32_u32(a: u32, b: u32) a.wrapping_sub(b);
    xsub64_u8(a: u64, b: u8) a.wrapping_sub(b);
    xsub64_u32(a: u64, b: u32) a.wrapping_sub(b);
    xmul32_s8(a: i32, b: i8) a.wrapping_mul(b);
    xmul32_s32(a: i32, b: i32) a.wrapping_mul(b);
    xmul64_s8(a: i64, b: i8) a.wrapping_mul(b);
    xmul64_s32(a: i64, b: i32) a.wrapping_mul(b);
    xband32_s8(a: i32, b: i8) a & b;
    xband32_s32(a: i32, b: i32) a & b;
    xband64_s8(a: i64, b: i8) a & b;
    xband64_s32(a: i64, b: i32) a & b;
    xbor32_s8(a: i32, b: i8) a | b;
    xbor32_s32(a: i32, b: i32) a | b;
    xbor64_s8(a: i64, b: i8) a | b;
    xbor64_s32(a: i64, b: i32) a | b;
    xbxor32_s8(a: i32, b: i8) a ^ b;
    xbxor32_s32(a: i32, b: i32) a ^ b;
    xbxor64_s8(a: i64, b: i8) a ^ b;
    xbxor64_s32(a: i64, b: i32) a ^ b;
}

/// Shifts by a constant.
macro_rules! constant_shifts {
    ($($name:ident($ty:ident) $shift:ident;)*) => {
        impl Cpu<'_> {
            $(#[inline(always)]
            pub(crate) fn $name(&mut self, operands: BinaryOperands<XReg, XReg, U6>) -> Flow {
                let by = u8::from(operands.src2).into();
                self.set(operands.dst, self.get::<$ty>(operands.src1).$shift(by));
                NEXT
            })*
        }
    };
}

constant_shifts! {
    xshl32_u6(u32) wrapping_shl;
    xshr32_s_u6(i32) wrapping_shr;
    xshr32_u_u6(u32) wrapping_shr;
    xshl64_u6(u64) wrapping_shl;
    xshr64_s_u6(i64) wrapping_shr;
    xshr64_u_u6(u64) wrapping_shr;
}

/// Instructions of one register.
macro_rules! unary {
    ($($name:ident($a:ident: $ty:ident) $result:expr;)*) => {
        impl Cpu<'_> {
            $(#[inline(always)]
            pub(crate) fn $name(&mut self, dst: XReg, src: XReg) -> Flow {
                let $a = self.get::<$ty>(src);
                self.set(dst, $result);
                NEXT
            })*
        }
    };
}

unary! {
    xmov(a: u64) a;
    xctz32(a: u32) a.trailing_zeros();
    xctz64(a: u64) a.trailing_zeros();
    xclz32(a: u32) a.leading_zeros();
    xclz64(a: u64) a.leading_zeros();
    xpopcnt32(a: u32) a.count_ones();
    xpopcnt64(a: u64) a.count_ones();
    xneg32(a: u32) a.wrapping_neg();
    xneg64(a: u64) a.wrapping_neg();
    zext8(a: u8) u64::from(a);
    zext16(a: u16) u64::from(a);
    zext32(a: u32) u64::from(a);
    sext8(a: i8) i64::from(a);
    sext16(a: i16) i64::from(a);
    sext32(a: i32) i64::from(a);
    xabs32(a: i32) a.wrapping_abs();
    xabs64(a: i64) a.wrapping_abs();
    xbnot32(a: u32) !a;
    xbnot64(a: u64) !a;
    bswap32(a: u32) a.swap_bytes();
    bswap64(a: u64) a.swap_bytes();
    xbmask32(a: u32) if a == 0 { 0 } else { u32::MAX };
    xbmask64(a: u64) if a == 0 { 0 } else { u64::MAX };
}

/// Constants.
macro_rules! constants {
    ($($name:ident($ty:ident);)*) => {
        impl Cpu<'_> {
            $(#[inline(always)]
            pub(crate) fn $name(&mut self, dst: XReg, imm: $ty) -> Flow {
                self.set(dst, i64::from(imm));
                NEXT
            })*
        }
    };
}

constants! {
    xconst8(i8);
    xconst16(i16);
    xconst32(i32);
    xconst64(i64);
}

impl Cpu<'_> {
    #[inline(always)]
    pub(crate) fn xzero(&mut self, dst: XReg) -> Flow {
        self.set(dst, 0_u64);
        NEXT
    }

    #[inline(always)]
    pub(crate) fn xone(&mut self, dst: XReg) -> Flow {
        self.set(dst, 1_u64);
        NEXT
    }

    #[inline(always)]
    pub(crate) fn xmadd32(&mut self, dst: XReg, src1: XReg, src2: XReg, src3: XReg) -> Flow {
        let product = self.get::<u32>(src1).wrapping_mul(self.get(src2));
        self.set(dst, product.wrapping_add(self.get(src3)));
        NEXT
    }

    #[inline(always)]
    pub(crate) fn xmadd64(&mut self, dst: XReg, src1: XReg, src2: XReg, src3: XReg) -> Flow {
        let product = self.get::<u64>(src1).wrapping_mul(self.get(src2));
        self.set(dst, product.wrapping_add(self.get(src3)));
        NEXT
    }

    #[inline(always)]
    pub(crate) fn xselect32(
        &mut self,
        dst: XReg,
        cond: XReg,
        if_nonzero: XReg,
        if_zero: XReg,
    ) -> Flow {
        self.xselect64(dst, cond, if_nonzero, if_zero)
    }

    #[inline(always)]
    pub(crate) fn xselect64(
        &mut self,
        dst: XReg,
        cond: XReg,
        if_nonzero: XReg,
        if_zero: XReg,
    ) -> Flow {
        let (one, other) = (self.get::<u64>(if_nonzero), self.get::<u64>(if_zero));
        self.set(dst, if self.get::<bool>(cond) { one } else { other });
        NEXT
    }

    /// 128 bits of two registers.
    #[inline(always)]
    fn wide(&self, low: XReg, high: XReg) -> u128 {
        u128::from(self.get::<u64>(high)) << 64 | u128::from(self.get::<u64>(low))
    }

    #[inline(always)]
    fn set_wide(&mut self, low: XReg, high: XReg, value: u128) -> Flow {
        self.set(low, value as u64);
        self.set(high, (value >> 64) as u64);
        NEXT
    }

    #[inline(always)]
    pub(crate) fn xadd128(
        &mut self,
        dst_lo: XReg,
        dst_hi: XReg,
        lhs_lo: XReg,
        lhs_hi: XReg,
        rhs_lo: XReg,
        rhs_hi: XReg,
    ) -> Flow {
        let sum = self
            .wide(lhs_lo, lhs_hi)
            .wrapping_add(self.wide(rhs_lo, rhs_hi));
        self.set_wide(dst_lo, dst_hi, sum)
    }

    #[inline(always)]
    pub(crate) fn xsub128(
        &mut self,
        dst_lo: XReg,
        dst_hi: XReg,
        lhs_lo: XReg,
        lhs_hi: XReg,
        rhs_lo: XReg,
        rhs_hi: XReg,
    ) -> Flow {
        let difference = self
            .wide(lhs_lo, lhs_hi)
            .wrapping_sub(self.wide(rhs_lo, rhs_hi));
        self.set_wide(dst_lo, dst_hi, difference)
    }

    #[inline(always)]
    pub(crate) fn xwidemul64_s(
        &mut self,
        dst_lo: XReg,
        dst_hi: XReg,
        lhs: XReg,
        rhs: XReg,
    ) -> Flow {
        let product = i128::from(self.get::<i64>(lhs)) * i128::from(self.get::<i64>(rhs));
        self.set_wide(dst_lo, dst_hi, product as u128)
    }

    #[inline(always)]
    pub(crate) fn xwidemul64_u(
        &mut self,
        dst_lo: XReg,
        dst_hi: XReg,
        lhs: XReg,
        rhs: XReg,
    ) -> Flow {
        let product = u128::from(self.get::<u64>(lhs)) * u128::from(self.get::<u64>(rhs));
        self.set_wide(dst_lo, dst_hi, product)
    }
}
