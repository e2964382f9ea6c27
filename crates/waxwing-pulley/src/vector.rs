//! Instructions on vector registers.

use std::array;

use pulley_interpreter::{BinaryOperands, FReg, Reg, VReg, XReg};

use crate::float::Float;
use crate::machine::{Cpu, Flow, NEXT, Vector};

/// A lane of a vector.
pub(crate) trait Lane: Copy {
    /// Reads the lane at the beginning of `bytes`.
    fn read(bytes: &[u8]) -> Self;
    fn write(self, bytes: &mut [u8]);
}

macro_rules! lanes {
    ($($ty:ident)*) => {
        $(impl Lane for $ty {
            #[inline(always)]
            fn read(bytes: &[u8]) -> $ty {
                let mut lane = [0; size_of::<$ty>()];
                lane.copy_from_slice(&bytes[..size_of::<$ty>()]);
                $ty::from_le_bytes(lane)
            }

            #[inline(always)]
            fn write(self, bytes: &mut [u8]) {
                bytes[..size_of::<$ty>()].copy_from_slice(&self.to_le_bytes());
            }
        })*
    };
}

lanes! { u8 i8 u16 i16 u32 i32 u64 i64 f32 f64 }

impl Vector {
    /// The first `N` lanes.
    #[inline(always)]
    pub(crate) fn lanes<T: Lane, const N: usize>(&self) -> [T; N] {
        array::from_fn(|i| T::read(&self.0[i * size_of::<T>()..]))
    }

    #[inline(always)]
    pub(crate) fn of<T: Lane, const N: usize>(lanes: [T; N]) -> Vector {
        let mut bytes = [0; 16];
        for (i, lane) in lanes.into_iter().enumerate() {
            lane.write(&mut bytes[i * size_of::<T>()..]);
        }
        Vector(bytes)
    }
}

impl Cpu<'_> {
    #[inline(always)]
    fn vector(&self, register: VReg) -> Vector {
        self.m.v[register.index()]
    }

    #[inline(always)]
    fn lanes<T: Lane, const N: usize>(&self, register: VReg) -> [T; N] {
        self.vector(register).lanes()
    }

    #[inline(always)]
    fn set_lanes<T: Lane, const N: usize>(&mut self, register: VReg, lanes: [T; N]) -> Flow {
        self.m.v[register.index()] = Vector::of(lanes);
        NEXT
    }
}

/// All bits of a lane that says yes.
macro_rules! mask {
    ($condition:expr) => {
        if $condition { !0 } else { 0 }
    };
}

/// Instructions that combine the lanes of two vectors one by one.
macro_rules! binary {
    ($($name:ident($a:ident, $b:ident: $ty:ident x $n:literal as $to:ident) $result:expr;)*) => {
        impl Cpu<'_> {
            $(#[inline(always)]
            pub(crate) fn $name(&mut self, operands: BinaryOperands<VReg>) -> Flow {
                let a = self.lanes::<$ty, $n>(operands.src1);
                let b = self.lanes::<$ty, $n>(operands.src2);
                let result: [$to; $n] = array::from_fn(|i| {
                    let ($a, $b) = (a[i], b[i]);
                    $result
                });
                self.set_lanes(operands.dst, result)
            })*
        }
    };
}

binary! {
    vaddi8x16(a, b: u8 x 16 as u8) a.wrapping_add(b);
    vaddi16x8(a, b: u16 x 8 as u16) a.wrapping_add(b);
    vaddi32x4(a, b: u32 x 4 as u32) a.wrapping_add(b);
    vaddi64x2(a, b: u64 x 2 as u64) a.wrapping_add(b);
    vaddi8x16_sat(a, b: i8 x 16 as i8) a.saturating_add(b);
    vaddu8x16_sat(a, b: u8 x 16 as u8) a.saturating_add(b);
    vaddi16x8_sat(a, b: i16 x 8 as i16) a.saturating_add(b);
    vaddu16x8_sat(a, b: u16 x 8 as u16) a.saturating_add(b);
    vsubi8x16(a, b: u8 x 16 as u8) a.wrapping_sub(b);
    vsubi16x8(a, b: u16 x 8 as u16) a.wrapping_sub(b);
    vsubi32x4(a, b: u32 x 4 as u32) a.wrapping_sub(b);
    vsubi64x2(a, b: u64 x 2 as u64) a.wrapping_sub(b);
    vsubi8x16_sat(a, b: i8 x 16 as i8) a.saturating_sub(b);
    vsubu8x16_sat(a, b: u8 x 16 as u8) a.saturating_sub(b);
    vsubi16x8_sat(a, b: i16 x 8 as i16) a.saturating_sub(b);
    vsubu16x8_sat(a, b: u16 x 8 as u16) a.saturating_sub(b);
    vmuli8x16(a, b: u8 x 16 as u8) a.wrapping_mul(b);
    vmuli16x8(a, b: u16 x 8 as u16) a.wrapping_mul(b);
    vmuli32x4(a, b: u32 x 4 as u32) a.wrapping_mul(b);
    vmuli64x2(a, b: u64 x 2 as u64) a.wrapping_mul(b);
    vqmulrsi16x8(a, b: i16 x 8 as i16)
        (((i32::from(a) * i32::from(b) + (1 << 14)) >> 15).min(i16::MAX.into())) as i16;
    vavground8x16(a, b: u8 x 16 as u8) ((u16::from(a) + u16::from(b) + 1) >> 1) as u8;
    vavground16x8(a, b: u16 x 8 as u16) ((u32::from(a) + u32::from(b) + 1) >> 1) as u16;
    vband128(a, b: u64 x 2 as u64) a & b;
    vbor128(a, b: u64 x 2 as u64) a | b;
    vbxor128(a, b: u64 x 2 as u64) a ^ b;
    vmin8x16_s(a, b: i8 x 16 as i8) a.min(b);
    vmin8x16_u(a, b: u8 x 16 as u8) a.min(b);
    vmin16x8_s(a, b: i16 x 8 as i16) a.min(b);
    vmin16x8_u(a, b: u16 x 8 as u16) a.min(b);
    vmin32x4_s(a, b: i32 x 4 as i32) a.min(b);
    vmin32x4_u(a, b: u32 x 4 as u32) a.min(b);
    vmax8x16_s(a, b: i8 x 16 as i8) a.max(b);
    vmax8x16_u(a, b: u8 x 16 as u8) a.max(b);
    vmax16x8_s(a, b: i16 x 8 as i16) a.max(b);
    vmax16x8_u(a, b: u16 x 8 as u16) a.max(b);
    vmax32x4_s(a, b: i32 x 4 as i32) a.max(b);
    vmax32x4_u(a, b: u32 x 4 as u32) a.max(b);
    veq8x16(a, b: u8 x 16 as u8) mask!(a == b);
    vneq8x16(a, b: u8 x 16 as u8) mask!(a != b);
    vslt8x16(a, b: i8 x 16 as i8) mask!(a < b);
    vslteq8x16(a, b: i8 x 16 as i8) mask!(a <= b);
    vult8x16(a, b: u8 x 16 as u8) mask!(a < b);
    vulteq8x16(a, b: u8 x 16 as u8) mask!(a <= b);
    veq16x8(a, b: u16 x 8 as u16) mask!(a == b);
    vneq16x8(a, b: u16 x 8 as u16) mask!(a != b);
    vslt16x8(a, b: i16 x 8 as i16) mask!(a < b);
    vslteq16x8(a, b: i16 x 8 as i16) mask!(a <= b);
    vult16x8(a, b: u16 x 8 as u16) mask!(a < b);
    vulteq16x8(a, b: u16 x 8 as u16) mask!(a <= b);
    veq32x4(a, b: u32 x 4 as u32) mask!(a == b);
    vneq32x4(a, b: u32 x 4 as u32) mask!(a != b);
    vslt32x4(a, b: i32 x 4 as i32) mask!(a < b);
    vslteq32x4(a, b: i32 x 4 as i32) mask!(a <= b);
    vult32x4(a, b: u32 x 4 as u32) mask!(a < b);
    vulteq32x4(a, b: u32 x 4 as u32) mask!(a <= b);
    veq64x2(a, b: u64 x 2 as u64) mask!(a == b);
    vneq64x2(a, b: u64 x 2 as u64) mask!(a != b);
    vslt64x2(a, b: i64 x 2 as i64) mask!(a < b);
    vslteq64x2(a, b: i64 x 2 as i64) mask!(a <= b);
    vult64x2(a, b: u64 x 2 as u64) mask!(a < b);
    vulteq64x2(a, b: u64 x 2 as u64) mask!(a <= b);
    vaddf32x4(a, b: f32 x 4 as f32) a + b;
    vaddf64x2(a, b: f64 x 2 as f64) a + b;
    vsubf32x4(a, b: f32 x 4 as f32) a - b;
    vsubf64x2(a, b: f64 x 2 as f64) a - b;
    vmulf32x4(a, b: f32 x 4 as f32) a * b;
    vmulf64x2(a, b: f64 x 2 as f64) a * b;
    vdivf32x4(a, b: f32 x 4 as f32) a / b;
    vdivf64x2(a, b: f64 x 2 as f64) a / b;
    vmaximumf32x4(a, b: f32 x 4 as f32) Float::greatest(a, b);
    vmaximumf64x2(a, b: f64 x 2 as f64) Float::greatest(a, b);
    vminimumf32x4(a, b: f32 x 4 as f32) Float::least(a, b);
    vminimumf64x2(a, b: f64 x 2 as f64) Float::least(a, b);
    veqf32x4(a, b: f32 x 4 as u32) mask!(a == b);
    vneqf32x4(a, b: f32 x 4 as u32) mask!(a != b);
    vltf32x4(a, b: f32 x 4 as u32) mask!(a < b);
    vlteqf32x4(a, b: f32 x 4 as u32) mask!(a <= b);
    veqf64x2(a, b: f64 x 2 as u64) mask!(a == b);
    vneqf64x2(a, b: f64 x 2 as u64) mask!(a != b);
    vltf64x2(a, b: f64 x 2 as u64) mask!(a < b);
    vlteqf64x2(a, b: f64 x 2 as u64) mask!(a <= b);
}

/// Instructions that map the lanes of a vector, from the lane `first` on, to as many as the result has.
macro_rules! unary {
    ($($name:ident($a:ident: $ty:ident x $n:literal from $first:literal as $to:ident x $m:literal)
        $result:expr;)*
    ) => {
        impl Cpu<'_> {
            $(#[inline(always)]
            pub(crate) fn $name(&mut self, dst: VReg, src: VReg) -> Flow {
                let lanes = self.lanes::<$ty, $n>(src);
                let result: [$to; $m] = array::from_fn(|i| {
                    let $a = lanes[$first + i];
                    $result
                });
                self.set_lanes(dst, result)
            })*
        }
    };
}

unary! {
    vmov(a: u64 x 2 from 0 as u64 x 2) a;
    vbnot128(a: u64 x 2 from 0 as u64 x 2) !a;
    vneg8x16(a: u8 x 16 from 0 as u8 x 16) a.wrapping_neg();
    vneg16x8(a: u16 x 8 from 0 as u16 x 8) a.wrapping_neg();
    vneg32x4(a: u32 x 4 from 0 as u32 x 4) a.wrapping_neg();
    vneg64x2(a: u64 x 2 from 0 as u64 x 2) a.wrapping_neg();
    vabs8x16(a: i8 x 16 from 0 as i8 x 16) a.wrapping_abs();
    vabs16x8(a: i16 x 8 from 0 as i16 x 8) a.wrapping_abs();
    vabs32x4(a: i32 x 4 from 0 as i32 x 4) a.wrapping_abs();
    vabs64x2(a: i64 x 2 from 0 as i64 x 2) a.wrapping_abs();
    vpopcnt8x16(a: u8 x 16 from 0 as u8 x 16) a.count_ones() as u8;
    vnegf32x4(a: f32 x 4 from 0 as f32 x 4) -a;
    vnegf64x2(a: f64 x 2 from 0 as f64 x 2) -a;
    vabsf32x4(a: f32 x 4 from 0 as f32 x 4) a.abs();
    vabsf64x2(a: f64 x 2 from 0 as f64 x 2) a.abs();
    vsqrt32x4(a: f32 x 4 from 0 as f32 x 4) a.sqrt();
    vsqrt64x2(a: f64 x 2 from 0 as f64 x 2) a.sqrt();
    vtrunc32x4(a: f32 x 4 from 0 as f32 x 4) a.rounded(f32::trunc);
    vtrunc64x2(a: f64 x 2 from 0 as f64 x 2) a.rounded(f64::trunc);
    vfloor32x4(a: f32 x 4 from 0 as f32 x 4) a.rounded(f32::floor);
    vfloor64x2(a: f64 x 2 from 0 as f64 x 2) a.rounded(f64::floor);
    vceil32x4(a: f32 x 4 from 0 as f32 x 4) a.rounded(f32::ceil);
    vceil64x2(a: f64 x 2 from 0 as f64 x 2) a.rounded(f64::ceil);
    vnearest32x4(a: f32 x 4 from 0 as f32 x 4) a.rounded(f32::round_ties_even);
    vnearest64x2(a: f64 x 2 from 0 as f64 x 2) a.rounded(f64::round_ties_even);
    vf32x4_from_i32x4_s(a: i32 x 4 from 0 as f32 x 4) a as f32;
    vf32x4_from_i32x4_u(a: u32 x 4 from 0 as f32 x 4) a as f32;
    vf64x2_from_i64x2_s(a: i64 x 2 from 0 as f64 x 2) a as f64;
    vf64x2_from_i64x2_u(a: u64 x 2 from 0 as f64 x 2) a as f64;
    vi32x4_from_f32x4_s(a: f32 x 4 from 0 as i32 x 4) a as i32;
    vi32x4_from_f32x4_u(a: f32 x 4 from 0 as u32 x 4) a as u32;
    vi64x2_from_f64x2_s(a: f64 x 2 from 0 as i64 x 2) a as i64;
    vi64x2_from_f64x2_u(a: f64 x 2 from 0 as u64 x 2) a as u64;
    vwidenlow8x16_s(a: i8 x 16 from 0 as i16 x 8) a.into();
    vwidenlow8x16_u(a: u8 x 16 from 0 as u16 x 8) a.into();
    vwidenlow16x8_s(a: i16 x 8 from 0 as i32 x 4) a.into();
    vwidenlow16x8_u(a: u16 x 8 from 0 as u32 x 4) a.into();
    vwidenlow32x4_s(a: i32 x 4 from 0 as i64 x 2) a.into();
    vwidenlow32x4_u(a: u32 x 4 from 0 as u64 x 2) a.into();
    vwidenhigh8x16_s(a: i8 x 16 from 8 as i16 x 8) a.into();
    vwidenhigh8x16_u(a: u8 x 16 from 8 as u16 x 8) a.into();
    vwidenhigh16x8_s(a: i16 x 8 from 4 as i32 x 4) a.into();
    vwidenhigh16x8_u(a: u16 x 8 from 4 as u32 x 4) a.into();
    vwidenhigh32x4_s(a: i32 x 4 from 2 as i64 x 2) a.into();
    vwidenhigh32x4_u(a: u32 x 4 from 2 as u64 x 2) a.into();
    vfpromotelow(a: f32 x 4 from 0 as f64 x 2) a.into();
    // The lanes that are left are zeros.
    vfdemote(a: f64 x 2 from 0 as f32 x 2) a as f32;
}

/// Instructions whose result has the lanes of one vector, half as wide and as near as can be, and then those of
/// another.
macro_rules! narrow {
    ($($name:ident($ty:ident x $n:literal to $to:ident);)*) => {
        impl Cpu<'_> {
            $(#[inline(always)]
            pub(crate) fn $name(&mut self, operands: BinaryOperands<VReg>) -> Flow {
                let a = self.lanes::<$ty, $n>(operands.src1);
                let b = self.lanes::<$ty, $n>(operands.src2);
                let result: [$to; 2 * $n] = array::from_fn(|i| {
                    let lane = if i < $n { a[i] } else { b[i - $n] };
                    lane.clamp($to::MIN as $ty, $to::MAX as $ty) as $to
                });
                self.set_lanes(operands.dst, result)
            })*
        }
    };
}

narrow! {
    vnarrow16x8_s(i16 x 8 to i8);
    vnarrow16x8_u(i16 x 8 to u8);
    vnarrow32x4_s(i32 x 4 to i16);
    vnarrow32x4_u(i32 x 4 to u16);
    vnarrow64x2_s(i64 x 2 to i32);
    vnarrow64x2_u(i64 x 2 to u32);
    vunarrow64x2_u(u64 x 2 to u32);
}

/// Sums of neighbours.
macro_rules! add_pairwise {
    ($($name:ident($ty:ident x $n:literal);)*) => {
        impl Cpu<'_> {
            $(#[inline(always)]
            pub(crate) fn $name(&mut self, operands: BinaryOperands<VReg>) -> Flow {
                let a = self.lanes::<$ty, $n>(operands.src1);
                let b = self.lanes::<$ty, $n>(operands.src2);
                let result: [$ty; $n] = array::from_fn(|i| {
                    let (lanes, i) = if i < $n / 2 { (&a, i) } else { (&b, i - $n / 2) };
                    lanes[2 * i].wrapping_add(lanes[2 * i + 1])
                });
                self.set_lanes(operands.dst, result)
            })*
        }
    };
}

add_pairwise! {
    vaddpairwisei16x8_s(i16 x 8);
    vaddpairwisei32x4_s(i32 x 4);
}

/// Shifts of all lanes by the bits of a register that count.
macro_rules! shifts {
    ($($name:ident($ty:ident x $n:literal) $shift:ident;)*) => {
        impl Cpu<'_> {
            $(#[inline(always)]
            pub(crate) fn $name(&mut self, operands: BinaryOperands<VReg, VReg, XReg>) -> Flow {
                let lanes = self.lanes::<$ty, $n>(operands.src1);
                let by = self.get::<u32>(operands.src2);
                self.set_lanes(operands.dst, lanes.map(|lane| lane.$shift(by)))
            })*
        }
    };
}

shifts! {
    vshli8x16(u8 x 16) wrapping_shl;
    vshli16x8(u16 x 8) wrapping_shl;
    vshli32x4(u32 x 4) wrapping_shl;
    vshli64x2(u64 x 2) wrapping_shl;
    vshri8x16_s(i8 x 16) wrapping_shr;
    vshri16x8_s(i16 x 8) wrapping_shr;
    vshri32x4_s(i32 x 4) wrapping_shr;
    vshri64x2_s(i64 x 2) wrapping_shr;
    vshri8x16_u(u8 x 16) wrapping_shr;
    vshri16x8_u(u16 x 8) wrapping_shr;
    vshri32x4_u(u32 x 4) wrapping_shr;
    vshri64x2_u(u64 x 2) wrapping_shr;
}

/// Vectors with the same value in all lanes.
macro_rules! splats {
    ($($name:ident($register:ident, $get:ident, $ty:ident x $n:literal);)*) => {
        impl Cpu<'_> {
            $(#[inline(always)]
            pub(crate) fn $name(&mut self, dst: VReg, src: $register) -> Flow {
                let value = self.$get::<$ty>(src);
                self.set_lanes(dst, [value; $n])
            })*
        }
    };
}

splats! {
    vsplatx8(XReg, get, u8 x 16);
    vsplatx16(XReg, get, u16 x 8);
    vsplatx32(XReg, get, u32 x 4);
    vsplatx64(XReg, get, u64 x 2);
    vsplatf32(FReg, float, f32 x 4);
    vsplatf64(FReg, float, f64 x 2);
}

/// Reading and replacing one lane.
macro_rules! single_lanes {
    ($($extract:ident $insert:ident($register:ident, $get:ident, $set:ident, $ty:ident x $n:literal);)*) => {
        impl Cpu<'_> {
            $(#[inline(always)]
            pub(crate) fn $extract(&mut self, dst: $register, src: VReg, lane: u8) -> Flow {
                let value = self.lanes::<$ty, $n>(src)[usize::from(lane) % $n];
                self.$set(dst, value);
                NEXT
            }

            #[inline(always)]
            pub(crate) fn $insert(
                &mut self,
                operands: BinaryOperands<VReg, VReg, $register>,
                lane: u8,
            ) -> Flow {
                let mut lanes = self.lanes::<$ty, $n>(operands.src1);
                lanes[usize::from(lane) % $n] = self.$get(operands.src2);
                self.set_lanes(operands.dst, lanes)
            })*
        }
    };
}

single_lanes! {
    xextractv8x16 vinsertx8(XReg, get, set, u8 x 16);
    xextractv16x8 vinsertx16(XReg, get, set, u16 x 8);
    xextractv32x4 vinsertx32(XReg, get, set, u32 x 4);
    xextractv64x2 vinsertx64(XReg, get, set, u64 x 2);
    fextractv32x4 vinsertf32(FReg, float, set_float, f32 x 4);
    fextractv64x2 vinsertf64(FReg, float, set_float, f64 x 2);
}

/// What is true of all lanes together.
macro_rules! reductions {
    ($($name:ident($lanes:ident: $ty:ident x $n:literal) $result:expr;)*) => {
        impl Cpu<'_> {
            $(#[inline(always)]
            pub(crate) fn $name(&mut self, dst: XReg, src: VReg) -> Flow {
                let $lanes = self.lanes::<$ty, $n>(src);
                self.set(dst, $result);
                NEXT
            })*
        }
    };
}

macro_rules! sign_bits {
    ($lanes:ident) => {
        $lanes
            .iter()
            .rev()
            .fold(0_u32, |bits, lane| bits << 1 | u32::from(*lane < 0))
    };
}

reductions! {
    vbitmask8x16(lanes: i8 x 16) sign_bits!(lanes);
    vbitmask16x8(lanes: i16 x 8) sign_bits!(lanes);
    vbitmask32x4(lanes: i32 x 4) sign_bits!(lanes);
    vbitmask64x2(lanes: i64 x 2) sign_bits!(lanes);
    valltrue8x16(lanes: u8 x 16) lanes.iter().all(|lane| *lane != 0);
    valltrue16x8(lanes: u16 x 8) lanes.iter().all(|lane| *lane != 0);
    valltrue32x4(lanes: u32 x 4) lanes.iter().all(|lane| *lane != 0);
    valltrue64x2(lanes: u64 x 2) lanes.iter().all(|lane| *lane != 0);
    vanytrue8x16(lanes: u64 x 2) lanes != [0, 0];
    vanytrue16x8(lanes: u64 x 2) lanes != [0, 0];
    vanytrue32x4(lanes: u64 x 2) lanes != [0, 0];
    vanytrue64x2(lanes: u64 x 2) lanes != [0, 0];
}

impl Cpu<'_> {
    #[inline(always)]
    pub(crate) fn vconst128(&mut self, dst: VReg, imm: u128) -> Flow {
        self.m.v[dst.index()] = Vector(imm.to_le_bytes());
        NEXT
    }

    #[inline(always)]
    pub(crate) fn vbitselect128(&mut self, dst: VReg, c: VReg, x: VReg, y: VReg) -> Flow {
        let c = self.lanes::<u64, 2>(c);
        let (x, y) = (self.lanes::<u64, 2>(x), self.lanes::<u64, 2>(y));
        self.set_lanes::<u64, 2>(dst, array::from_fn(|i| (c[i] & x[i]) | (!c[i] & y[i])))
    }

    #[inline(always)]
    pub(crate) fn vselect(
        &mut self,
        dst: VReg,
        cond: XReg,
        if_nonzero: VReg,
        if_zero: VReg,
    ) -> Flow {
        let (one, other) = (self.vector(if_nonzero), self.vector(if_zero));
        self.m.v[dst.index()] = if self.get::<bool>(cond) { one } else { other };
        NEXT
    }

    #[inline(always)]
    pub(crate) fn vshuffle(&mut self, dst: VReg, src1: VReg, src2: VReg, mask: u128) -> Flow {
        let mut both = [0; 32];
        both[..16].copy_from_slice(&self.vector(src1).0);
        both[16..].copy_from_slice(&self.vector(src2).0);
        let mask = mask.to_le_bytes();
        self.m.v[dst.index()] = Vector(mask.map(|index| both[usize::from(index & 31)]));
        NEXT
    }

    #[inline(always)]
    pub(crate) fn vswizzlei8x16(&mut self, operands: BinaryOperands<VReg>) -> Flow {
        let bytes = self.vector(operands.src1).0;
        let indices = self.vector(operands.src2).0;
        let pick = |index| bytes.get(usize::from(index)).copied().unwrap_or(0);
        self.m.v[operands.dst.index()] = Vector(indices.map(pick));
        NEXT
    }

    #[inline(always)]
    pub(crate) fn vfma32x4(&mut self, dst: VReg, a: VReg, b: VReg, c: VReg) -> Flow {
        let (a, b) = (self.lanes::<f32, 4>(a), self.lanes::<f32, 4>(b));
        let c = self.lanes::<f32, 4>(c);
        self.set_lanes::<f32, 4>(dst, array::from_fn(|i| a[i].mul_add(b[i], c[i])))
    }

    #[inline(always)]
    pub(crate) fn vfma64x2(&mut self, dst: VReg, a: VReg, b: VReg, c: VReg) -> Flow {
        let (a, b) = (self.lanes::<f64, 2>(a), self.lanes::<f64, 2>(b));
        let c = self.lanes::<f64, 2>(c);
        self.set_lanes::<f64, 2>(dst, array::from_fn(|i| a[i].mul_add(b[i], c[i])))
    }
}
