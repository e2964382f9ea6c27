//! Vector instructions.

use super::FuncTranslator;
use super::memory::{Load, Store};
use super::numeric::Rounding;
use crate::abi::V128;
use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::{InstBuilder, Type, Value, types};
use cranelift_frontend::FunctionBuilder;
use types::{F32X4, F64X2, I8, I8X16, I16, I16X8, I32, I32X4, I64, I64X2};
use wasmparser::{MemArg, Operator};
use waxwing_environ::compile::CompileError;

/// The table of operators without immediates: a shape with the type of the lanes that it works
/// on, and the operators of that form.
macro_rules! vectors {
    ($t:ident, $op:expr; $($shape:ident($ty:ident $($what:tt)*): $($name:ident)+;)*) => {
        match $op {
            $($(Operator::$name)|+ => vectors!(@$shape $t, $ty, $($what)*),)*
            _ => return false,
        }
    };
    (@unary $t:ident, $ty:ident, $method:ident $($to:ident)?) => {
        $t.vector_unary($ty, |b, x| b.ins().$method($($to,)? x))
    };
    (@binary $t:ident, $ty:ident, $method:ident) => {
        $t.vector_binary($ty, |b, x, y| b.ins().$method(x, y))
    };
    (@icmp $t:ident, $ty:ident, $cc:ident) => {
        $t.vector_binary($ty, |b, x, y| b.ins().icmp(IntCC::$cc, x, y))
    };
    (@fcmp $t:ident, $ty:ident, $cc:ident) => {
        $t.vector_binary($ty, |b, x, y| b.ins().fcmp(FloatCC::$cc, x, y))
    };
    (@shift $t:ident, $ty:ident, $method:ident) => {
        $t.shift($ty, |b, x, n| b.ins().$method(x, n))
    };
    (@test $t:ident, $ty:ident, $method:ident) => {
        $t.test($ty, |b, x| b.ins().$method(x))
    };
    (@extmul $t:ident, $ty:ident, $widen:ident) => {
        $t.vector_binary($ty, |b, x, y| {
            let x = b.ins().$widen(x);
            let y = b.ins().$widen(y);
            b.ins().imul(x, y)
        })
    };
    (@pairwise $t:ident, $ty:ident, $low:ident $high:ident) => {
        $t.vector_unary($ty, |b, x| {
            let low = b.ins().$low(x);
            let high = b.ins().$high(x);
            b.ins().iadd_pairwise(low, high)
        })
    };
    (@widen_convert $t:ident, $ty:ident, $widen:ident $convert:ident $to:ident) => {
        $t.vector_unary($ty, |b, x| {
            let x = b.ins().$widen(x);
            b.ins().$convert($to, x)
        })
    };
    (@call $t:ident, $ty:ident, $method:ident $($arg:expr)?) => {
        $t.$method($ty $(, $arg)?)
    };
}

/// The table of operators on one lane.
macro_rules! lanes {
    ($t:ident, $op:expr; $($shape:ident($ty:ident $($what:tt)*): $name:ident;)*) => {
        match $op {
            $(Operator::$name { lane } => lanes!(@$shape $t, *lane, $ty, $($what)*),)*
            _ => return false,
        }
    };
    (@extract $t:ident, $lane:expr, $ty:ident, $($extend:ident)?) => {{
        let vector = $t.pop_as($ty);
        let value = $t.ins().extractlane(vector, $lane);
        $(let value = $t.ins().$extend(I32, value);)?
        $t.push(value);
    }};
    (@replace $t:ident, $lane:expr, $ty:ident, $($narrow:ident)?) => {{
        let value = $t.pop();
        $(let value = $t.ins().ireduce($narrow, value);)?
        let vector = $t.pop_as($ty);
        let vector = $t.ins().insertlane(vector, value, $lane);
        $t.push(vector);
    }};
}

impl FuncTranslator<'_, '_> {
    pub(super) fn simd_operator(&mut self, op: &Operator<'_>) -> Result<bool, CompileError> {
        let handled = self.vector_operator(op)
            || self.lane_operator(op)
            || self.vector_memory_operator(op)?
            || self.vector_other_operator(op);
        if handled {
            self.check_simd(&[waxwing_environ::WasmValType::V128])?;
        }
        Ok(handled)
    }

    fn vector_operator(&mut self, op: &Operator<'_>) -> bool {
        vectors! { self, op;
            unary(V128 bnot): V128Not;
            binary(V128 band): V128And;
            binary(V128 band_not): V128AndNot;
            binary(V128 bor): V128Or;
            binary(V128 bxor): V128Xor;
            test(V128 vany_true): V128AnyTrue;
            test(I8X16 vall_true): I8x16AllTrue;
            test(I16X8 vall_true): I16x8AllTrue;
            test(I32X4 vall_true): I32x4AllTrue;
            test(I64X2 vall_true): I64x2AllTrue;
            unary(I8X16 vhigh_bits I32): I8x16Bitmask;
            unary(I16X8 vhigh_bits I32): I16x8Bitmask;
            unary(I32X4 vhigh_bits I32): I32x4Bitmask;
            unary(I64X2 vhigh_bits I32): I64x2Bitmask;

            icmp(I8X16 Equal): I8x16Eq;
            icmp(I8X16 NotEqual): I8x16Ne;
            icmp(I8X16 SignedLessThan): I8x16LtS;
            icmp(I8X16 UnsignedLessThan): I8x16LtU;
            icmp(I8X16 SignedGreaterThan): I8x16GtS;
            icmp(I8X16 UnsignedGreaterThan): I8x16GtU;
            icmp(I8X16 SignedLessThanOrEqual): I8x16LeS;
            icmp(I8X16 UnsignedLessThanOrEqual): I8x16LeU;
            icmp(I8X16 SignedGreaterThanOrEqual): I8x16GeS;
            icmp(I8X16 UnsignedGreaterThanOrEqual): I8x16GeU;
            icmp(I16X8 Equal): I16x8Eq;
            icmp(I16X8 NotEqual): I16x8Ne;
            icmp(I16X8 SignedLessThan): I16x8LtS;
            icmp(I16X8 UnsignedLessThan): I16x8LtU;
            icmp(I16X8 SignedGreaterThan): I16x8GtS;
            icmp(I16X8 UnsignedGreaterThan): I16x8GtU;
            icmp(I16X8 SignedLessThanOrEqual): I16x8LeS;
            icmp(I16X8 UnsignedLessThanOrEqual): I16x8LeU;
            icmp(I16X8 SignedGreaterThanOrEqual): I16x8GeS;
            icmp(I16X8 UnsignedGreaterThanOrEqual): I16x8GeU;
            icmp(I32X4 Equal): I32x4Eq;
            icmp(I32X4 NotEqual): I32x4Ne;
            icmp(I32X4 SignedLessThan): I32x4LtS;
            icmp(I32X4 UnsignedLessThan): I32x4LtU;
            icmp(I32X4 SignedGreaterThan): I32x4GtS;
            icmp(I32X4 UnsignedGreaterThan): I32x4GtU;
            icmp(I32X4 SignedLessThanOrEqual): I32x4LeS;
            icmp(I32X4 UnsignedLessThanOrEqual): I32x4LeU;
            icmp(I32X4 SignedGreaterThanOrEqual): I32x4GeS;
            icmp(I32X4 UnsignedGreaterThanOrEqual): I32x4GeU;
            icmp(I64X2 Equal): I64x2Eq;
            icmp(I64X2 NotEqual): I64x2Ne;
            icmp(I64X2 SignedLessThan): I64x2LtS;
            icmp(I64X2 SignedGreaterThan): I64x2GtS;
            icmp(I64X2 SignedLessThanOrEqual): I64x2LeS;
            icmp(I64X2 SignedGreaterThanOrEqual): I64x2GeS;
            fcmp(F32X4 Equal): F32x4Eq;
            fcmp(F32X4 NotEqual): F32x4Ne;
            fcmp(F32X4 LessThan): F32x4Lt;
            fcmp(F32X4 GreaterThan): F32x4Gt;
            fcmp(F32X4 LessThanOrEqual): F32x4Le;
            fcmp(F32X4 GreaterThanOrEqual): F32x4Ge;
            fcmp(F64X2 Equal): F64x2Eq;
            fcmp(F64X2 NotEqual): F64x2Ne;
            fcmp(F64X2 LessThan): F64x2Lt;
            fcmp(F64X2 GreaterThan): F64x2Gt;
            fcmp(F64X2 LessThanOrEqual): F64x2Le;
            fcmp(F64X2 GreaterThanOrEqual): F64x2Ge;

            binary(I8X16 swizzle): I8x16Swizzle;
            unary(I8X16 iabs): I8x16Abs;
            unary(I8X16 ineg): I8x16Neg;
            unary(I8X16 popcnt): I8x16Popcnt;
            shift(I8X16 ishl): I8x16Shl;
            shift(I8X16 sshr): I8x16ShrS;
            shift(I8X16 ushr): I8x16ShrU;
            binary(I8X16 iadd): I8x16Add;
            binary(I8X16 sadd_sat): I8x16AddSatS;
            binary(I8X16 uadd_sat): I8x16AddSatU;
            binary(I8X16 isub): I8x16Sub;
            binary(I8X16 ssub_sat): I8x16SubSatS;
            binary(I8X16 usub_sat): I8x16SubSatU;
            binary(I8X16 smin): I8x16MinS;
            binary(I8X16 umin): I8x16MinU;
            binary(I8X16 smax): I8x16MaxS;
            binary(I8X16 umax): I8x16MaxU;
            binary(I8X16 avg_round): I8x16AvgrU;
            binary(I16X8 snarrow): I8x16NarrowI16x8S;
            binary(I16X8 unarrow): I8x16NarrowI16x8U;

            unary(I16X8 iabs): I16x8Abs;
            unary(I16X8 ineg): I16x8Neg;
            shift(I16X8 ishl): I16x8Shl;
            shift(I16X8 sshr): I16x8ShrS;
            shift(I16X8 ushr): I16x8ShrU;
            binary(I16X8 iadd): I16x8Add;
            binary(I16X8 sadd_sat): I16x8AddSatS;
            binary(I16X8 uadd_sat): I16x8AddSatU;
            binary(I16X8 isub): I16x8Sub;
            binary(I16X8 ssub_sat): I16x8SubSatS;
            binary(I16X8 usub_sat): I16x8SubSatU;
            binary(I16X8 imul): I16x8Mul;
            binary(I16X8 smin): I16x8MinS;
            binary(I16X8 umin): I16x8MinU;
            binary(I16X8 smax): I16x8MaxS;
            binary(I16X8 umax): I16x8MaxU;
            binary(I16X8 avg_round): I16x8AvgrU;
            binary(I16X8 sqmul_round_sat): I16x8Q15MulrSatS;
            binary(I32X4 snarrow): I16x8NarrowI32x4S;
            binary(I32X4 unarrow): I16x8NarrowI32x4U;
            unary(I8X16 swiden_low): I16x8ExtendLowI8x16S;
            unary(I8X16 swiden_high): I16x8ExtendHighI8x16S;
            unary(I8X16 uwiden_low): I16x8ExtendLowI8x16U;
            unary(I8X16 uwiden_high): I16x8ExtendHighI8x16U;
            extmul(I8X16 swiden_low): I16x8ExtMulLowI8x16S;
            extmul(I8X16 swiden_high): I16x8ExtMulHighI8x16S;
            extmul(I8X16 uwiden_low): I16x8ExtMulLowI8x16U;
            extmul(I8X16 uwiden_high): I16x8ExtMulHighI8x16U;
            pairwise(I8X16 swiden_low swiden_high): I16x8ExtAddPairwiseI8x16S;
            pairwise(I8X16 uwiden_low uwiden_high): I16x8ExtAddPairwiseI8x16U;

            unary(I32X4 iabs): I32x4Abs;
            unary(I32X4 ineg): I32x4Neg;
            shift(I32X4 ishl): I32x4Shl;
            shift(I32X4 sshr): I32x4ShrS;
            shift(I32X4 ushr): I32x4ShrU;
            binary(I32X4 iadd): I32x4Add;
            binary(I32X4 isub): I32x4Sub;
            binary(I32X4 imul): I32x4Mul;
            binary(I32X4 smin): I32x4MinS;
            binary(I32X4 umin): I32x4MinU;
            binary(I32X4 smax): I32x4MaxS;
            binary(I32X4 umax): I32x4MaxU;
            unary(I16X8 swiden_low): I32x4ExtendLowI16x8S;
            unary(I16X8 swiden_high): I32x4ExtendHighI16x8S;
            unary(I16X8 uwiden_low): I32x4ExtendLowI16x8U;
            unary(I16X8 uwiden_high): I32x4ExtendHighI16x8U;
            extmul(I16X8 swiden_low): I32x4ExtMulLowI16x8S;
            extmul(I16X8 swiden_high): I32x4ExtMulHighI16x8S;
            extmul(I16X8 uwiden_low): I32x4ExtMulLowI16x8U;
            extmul(I16X8 uwiden_high): I32x4ExtMulHighI16x8U;
            pairwise(I16X8 swiden_low swiden_high): I32x4ExtAddPairwiseI16x8S;
            pairwise(I16X8 uwiden_low uwiden_high): I32x4ExtAddPairwiseI16x8U;
            call(I16X8 dot): I32x4DotI16x8S;

            unary(I64X2 iabs): I64x2Abs;
            unary(I64X2 ineg): I64x2Neg;
            shift(I64X2 ishl): I64x2Shl;
            shift(I64X2 sshr): I64x2ShrS;
            shift(I64X2 ushr): I64x2ShrU;
            binary(I64X2 iadd): I64x2Add;
            binary(I64X2 isub): I64x2Sub;
            binary(I64X2 imul): I64x2Mul;
            unary(I32X4 swiden_low): I64x2ExtendLowI32x4S;
            unary(I32X4 swiden_high): I64x2ExtendHighI32x4S;
            unary(I32X4 uwiden_low): I64x2ExtendLowI32x4U;
            unary(I32X4 uwiden_high): I64x2ExtendHighI32x4U;
            extmul(I32X4 swiden_low): I64x2ExtMulLowI32x4S;
            extmul(I32X4 swiden_high): I64x2ExtMulHighI32x4S;
            extmul(I32X4 uwiden_low): I64x2ExtMulLowI32x4U;
            extmul(I32X4 uwiden_high): I64x2ExtMulHighI32x4U;

            unary(F32X4 fabs): F32x4Abs;
            unary(F32X4 fneg): F32x4Neg;
            unary(F32X4 sqrt): F32x4Sqrt;
            binary(F32X4 fadd): F32x4Add;
            binary(F32X4 fsub): F32x4Sub;
            binary(F32X4 fmul): F32x4Mul;
            binary(F32X4 fdiv): F32x4Div;
            binary(F32X4 fmin): F32x4Min;
            binary(F32X4 fmax): F32x4Max;
            call(F32X4 pseudo_min): F32x4PMin;
            call(F32X4 pseudo_max): F32x4PMax;
            call(F32X4 round_lanes Rounding::Ceil): F32x4Ceil;
            call(F32X4 round_lanes Rounding::Floor): F32x4Floor;
            call(F32X4 round_lanes Rounding::Trunc): F32x4Trunc;
            call(F32X4 round_lanes Rounding::Nearest): F32x4Nearest;

            unary(F64X2 fabs): F64x2Abs;
            unary(F64X2 fneg): F64x2Neg;
            unary(F64X2 sqrt): F64x2Sqrt;
            binary(F64X2 fadd): F64x2Add;
            binary(F64X2 fsub): F64x2Sub;
            binary(F64X2 fmul): F64x2Mul;
            binary(F64X2 fdiv): F64x2Div;
            binary(F64X2 fmin): F64x2Min;
            binary(F64X2 fmax): F64x2Max;
            call(F64X2 pseudo_min): F64x2PMin;
            call(F64X2 pseudo_max): F64x2PMax;
            call(F64X2 round_lanes Rounding::Ceil): F64x2Ceil;
            call(F64X2 round_lanes Rounding::Floor): F64x2Floor;
            call(F64X2 round_lanes Rounding::Trunc): F64x2Trunc;
            call(F64X2 round_lanes Rounding::Nearest): F64x2Nearest;

            unary(F32X4 fcvt_to_sint_sat I32X4): I32x4TruncSatF32x4S;
            unary(F32X4 fcvt_to_uint_sat I32X4): I32x4TruncSatF32x4U;
            unary(I32X4 fcvt_from_sint F32X4): F32x4ConvertI32x4S;
            unary(I32X4 fcvt_from_uint F32X4): F32x4ConvertI32x4U;
            widen_convert(I32X4 swiden_low fcvt_from_sint F64X2): F64x2ConvertLowI32x4S;
            widen_convert(I32X4 uwiden_low fcvt_from_uint F64X2): F64x2ConvertLowI32x4U;
            unary(F64X2 fvdemote): F32x4DemoteF64x2Zero;
            unary(F32X4 fvpromote_low): F64x2PromoteLowF32x4;
            call(F64X2 truncate_lanes true): I32x4TruncSatF64x2SZero;
            call(F64X2 truncate_lanes false): I32x4TruncSatF64x2UZero;

            call(I8X16 splat Some(I8)): I8x16Splat;
            call(I16X8 splat Some(I16)): I16x8Splat;
            call(I32X4 splat None): I32x4Splat;
            call(I64X2 splat None): I64x2Splat;
            call(F32X4 splat None): F32x4Splat;
            call(F64X2 splat None): F64x2Splat;
        }
        true
    }

    fn lane_operator(&mut self, op: &Operator<'_>) -> bool {
        lanes! { self, op;
            extract(I8X16 sextend): I8x16ExtractLaneS;
            extract(I8X16 uextend): I8x16ExtractLaneU;
            extract(I16X8 sextend): I16x8ExtractLaneS;
            extract(I16X8 uextend): I16x8ExtractLaneU;
            extract(I32X4): I32x4ExtractLane;
            extract(I64X2): I64x2ExtractLane;
            extract(F32X4): F32x4ExtractLane;
            extract(F64X2): F64x2ExtractLane;
            replace(I8X16 I8): I8x16ReplaceLane;
            replace(I16X8 I16): I16x8ReplaceLane;
            replace(I32X4): I32x4ReplaceLane;
            replace(I64X2): I64x2ReplaceLane;
            replace(F32X4): F32x4ReplaceLane;
            replace(F64X2): F64x2ReplaceLane;
        }
        true
    }

    fn vector_memory_operator(&mut self, op: &Operator<'_>) -> Result<bool, CompileError> {
        macro_rules! load {
            ($memarg:ident, $size:literal, $($what:tt)*) => {
                self.load($memarg, $size, load!(@$($what)*))?
            };
            (@widen $method:ident) => {
                |b, a| b.ins().$method(a.flags, a.base, a.offset)
            };
            (@splat $from:ident $to:ident) => {
                |b, a| {
                    let value = b.ins().load($from, a.flags, a.base, a.offset);
                    b.ins().splat($to, value)
                }
            };
            (@zero $from:ident $to:ident) => {
                |b, a| {
                    let value = b.ins().load($from, a.flags, a.base, a.offset);
                    b.ins().scalar_to_vector($to, value)
                }
            };
        }
        match op {
            Operator::V128Load { memarg } => {
                let load: Load = |b, a| b.ins().load(V128, a.flags, a.base, a.offset);
                self.load(memarg, 16, load)?;
            }
            Operator::V128Store { memarg } => {
                let value = self.pop_as(V128);
                self.push(value);
                let store: Store = |b, a, value| {
                    b.ins().store(a.flags, value, a.base, a.offset);
                };
                self.store(memarg, 16, store)?;
            }
            Operator::V128Load8x8S { memarg } => load!(memarg, 8, widen sload8x8),
            Operator::V128Load8x8U { memarg } => load!(memarg, 8, widen uload8x8),
            Operator::V128Load16x4S { memarg } => load!(memarg, 8, widen sload16x4),
            Operator::V128Load16x4U { memarg } => load!(memarg, 8, widen uload16x4),
            Operator::V128Load32x2S { memarg } => load!(memarg, 8, widen sload32x2),
            Operator::V128Load32x2U { memarg } => load!(memarg, 8, widen uload32x2),
            Operator::V128Load8Splat { memarg } => load!(memarg, 1, splat I8 I8X16),
            Operator::V128Load16Splat { memarg } => load!(memarg, 2, splat I16 I16X8),
            Operator::V128Load32Splat { memarg } => load!(memarg, 4, splat I32 I32X4),
            Operator::V128Load64Splat { memarg } => load!(memarg, 8, splat I64 I64X2),
            Operator::V128Load32Zero { memarg } => load!(memarg, 4, zero I32 I32X4),
            Operator::V128Load64Zero { memarg } => load!(memarg, 8, zero I64 I64X2),
            Operator::V128Load8Lane { memarg, lane } => self.load_lane(memarg, I8X16, *lane)?,
            Operator::V128Load16Lane { memarg, lane } => self.load_lane(memarg, I16X8, *lane)?,
            Operator::V128Load32Lane { memarg, lane } => self.load_lane(memarg, I32X4, *lane)?,
            Operator::V128Load64Lane { memarg, lane } => self.load_lane(memarg, I64X2, *lane)?,
            Operator::V128Store8Lane { memarg, lane } => self.store_lane(memarg, I8X16, *lane)?,
            Operator::V128Store16Lane { memarg, lane } => self.store_lane(memarg, I16X8, *lane)?,
            Operator::V128Store32Lane { memarg, lane } => self.store_lane(memarg, I32X4, *lane)?,
            Operator::V128Store64Lane { memarg, lane } => self.store_lane(memarg, I64X2, *lane)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn vector_other_operator(&mut self, op: &Operator<'_>) -> bool {
        match op {
            Operator::V128Const { value } => {
                let bytes = value.bytes().as_slice().into();
                let constant = self.builder.func.dfg.constants.insert(bytes);
                let value = self.ins().vconst(V128, constant);
                self.push(value);
            }
            Operator::V128Bitselect => {
                let (a, b, mask) = self.pop3_as(V128);
                let value = self.ins().bitselect(mask, a, b);
                self.push(value);
            }
            Operator::I8x16Shuffle { lanes } => {
                let (a, b) = self.pop2_as(I8X16);
                let lanes = lanes.as_slice().into();
                let lanes = self.builder.func.dfg.immediates.push(lanes);
                let value = self.ins().shuffle(a, b, lanes);
                self.push(value);
            }
            _ => return false,
        }
        true
    }

    fn vector_unary(&mut self, ty: Type, build: fn(&mut FunctionBuilder<'_>, Value) -> Value) {
        let x = self.pop_as(ty);
        let value = build(&mut self.builder, x);
        self.push(value);
    }

    pub(super) fn vector_binary(
        &mut self,
        ty: Type,
        build: fn(&mut FunctionBuilder<'_>, Value, Value) -> Value,
    ) {
        let (x, y) = self.pop2_as(ty);
        let value = build(&mut self.builder, x, y);
        self.push(value);
    }

    /// A shift of all lanes by a scalar, of which Cranelift, too, takes the low bits.
    fn shift(&mut self, ty: Type, build: fn(&mut FunctionBuilder<'_>, Value, Value) -> Value) {
        let count = self.pop();
        let vector = self.pop_as(ty);
        let value = build(&mut self.builder, vector, count);
        self.push(value);
    }

    fn test(&mut self, ty: Type, build: fn(&mut FunctionBuilder<'_>, Value) -> Value) {
        let vector = self.pop_as(ty);
        let condition = build(&mut self.builder, vector);
        self.push_condition(condition);
    }

    fn splat(&mut self, ty: Type, narrow: Option<Type>) {
        let value = self.pop();
        let value = match narrow {
            Some(lane) => self.ins().ireduce(lane, value),
            None => value,
        };
        let value = self.ins().splat(ty, value);
        self.push(value);
    }

    fn round_lanes(&mut self, ty: Type, rounding: Rounding) {
        let vector = self.pop_as(ty);
        let value = self.rounded(vector, rounding);
        self.push(value);
    }

    fn load_lane(&mut self, memarg: &MemArg, ty: Type, lane: u8) -> Result<(), CompileError> {
        let vector = self.pop_as(ty);
        let scalar = ty.lane_type();
        let loaded = self.check_load(memarg, scalar.bytes() as u8);
        self.use_loaded(loaded);
        let address = self.pop_address(memarg, scalar.bytes() as u8)?;
        let (flags, offset) = (address.flags, address.offset);
        let value = self.ins().load(scalar, flags, address.base, offset);
        let vector = self.ins().insertlane(vector, value, lane);
        self.push(vector);
        Ok(())
    }

    fn store_lane(&mut self, memarg: &MemArg, ty: Type, lane: u8) -> Result<(), CompileError> {
        let vector = self.pop_as(ty);
        self.check_store(memarg, ty.lane_type().bytes() as u8, None);
        let address = self.pop_address(memarg, ty.lane_type().bytes() as u8)?;
        let value = self.ins().extractlane(vector, lane);
        let (flags, offset) = (address.flags, address.offset);
        self.ins().store(flags, value, address.base, offset);
        Ok(())
    }

    /// Sums of adjacent products.
    fn dot(&mut self, ty: Type) {
        let (x, y) = self.pop2_as(ty);
        let value = self.dot_product(x, y);
        self.push(value);
    }

    /// Products of lanes, signed and twice as wide, with adjacent ones added.
    pub(super) fn dot_product(&mut self, x: Value, y: Value) -> Value {
        let x_low = self.ins().swiden_low(x);
        let y_low = self.ins().swiden_low(y);
        let low = self.ins().imul(x_low, y_low);
        let x_high = self.ins().swiden_high(x);
        let y_high = self.ins().swiden_high(y);
        let high = self.ins().imul(x_high, y_high);
        self.ins().iadd_pairwise(low, high)
    }

    /// `y` where `y < x`, else `x`.
    fn pseudo_min(&mut self, ty: Type) {
        let (x, y) = self.pop2_as(ty);
        let condition = self.ins().fcmp(FloatCC::LessThan, y, x);
        self.push_lanes(ty, condition, y, x);
    }

    /// `y` where `x < y`, else `x`.
    fn pseudo_max(&mut self, ty: Type) {
        let (x, y) = self.pop2_as(ty);
        let condition = self.ins().fcmp(FloatCC::LessThan, x, y);
        self.push_lanes(ty, condition, y, x);
    }

    /// Pushes lanes of `x` where those of `condition` are all ones, else of `y`.
    pub(super) fn push_lanes(&mut self, ty: Type, condition: Value, x: Value, y: Value) {
        let condition = self.cast(condition, ty);
        let value = self.ins().bitselect(condition, x, y);
        self.push(value);
    }

    /// Two doubles to 32-bit integers, saturating; the high lanes are zero.
    pub(super) fn truncate_lanes(&mut self, ty: Type, signed: bool) {
        let vector = self.pop_as(ty);
        if !self.isa().has_round() {
            let value = self.truncate_lanes_one_by_one(vector, signed);
            self.push(value);
            return;
        }
        let zero = self.zero(I64X2);
        let value = if signed {
            let wide = self.ins().fcvt_to_sint_sat(I64X2, vector);
            self.ins().snarrow(wide, zero)
        } else {
            let wide = self.ins().fcvt_to_uint_sat(I64X2, vector);
            self.ins().uunarrow(wide, zero)
        };
        self.push(value);
    }

    /// The same where vectors of doubles cannot be rounded.
    fn truncate_lanes_one_by_one(&mut self, vector: Value, signed: bool) -> Value {
        let mut result = self.zero(I32X4);
        for lane in 0..2u8 {
            let double = self.ins().extractlane(vector, lane);
            let int = if signed {
                self.ins().fcvt_to_sint_sat(I32, double)
            } else {
                self.ins().fcvt_to_uint_sat(I32, double)
            };
            result = self.ins().insertlane(result, int, lane);
        }
        result
    }
}
