//! Relaxed vector instructions: what the target does fastest, or the same on every target.

use super::FuncTranslator;
use cranelift_codegen::ir::condcodes::FloatCC;
use cranelift_codegen::ir::{InstBuilder, Type, Value, types};
use target_lexicon::Architecture;
use types::{F32X4, F64X2, I8X16, I16X8, I32X4, I64X2};
use wasmparser::Operator;
use waxwing_environ::WasmValType;
use waxwing_environ::compile::CompileError;

impl FuncTranslator<'_, '_> {
    pub(super) fn relaxed_operator(&mut self, op: &Operator<'_>) -> Result<bool, CompileError> {
        match op {
            Operator::I8x16RelaxedSwizzle => {
                let (x, indices) = self.pop2_as(I8X16);
                let value = if self.relaxed() && self.isa().has_x86_pshufb_lowering() {
                    self.ins().x86_pshufb(x, indices)
                } else {
                    self.ins().swizzle(x, indices)
                };
                self.push(value);
            }
            Operator::I32x4RelaxedTruncF32x4S => {
                let x = self.pop_as(F32X4);
                let value = if self.relaxed() && self.is_x86() {
                    self.ins().x86_cvtt2dq(I32X4, x)
                } else {
                    self.ins().fcvt_to_sint_sat(I32X4, x)
                };
                self.push(value);
            }
            Operator::I32x4RelaxedTruncF32x4U => {
                let x = self.pop_as(F32X4);
                let value = self.ins().fcvt_to_uint_sat(I32X4, x);
                self.push(value);
            }
            Operator::I32x4RelaxedTruncF64x2SZero if self.relaxed() && self.is_x86() => {
                let x = self.pop_as(F64X2);
                let zero = self.zero(I64X2);
                let wide = self.ins().x86_cvtt2dq(I64X2, x);
                let value = self.ins().snarrow(wide, zero);
                self.push(value);
            }
            Operator::I32x4RelaxedTruncF64x2SZero => self.truncate_lanes(F64X2, true),
            Operator::I32x4RelaxedTruncF64x2UZero => self.truncate_lanes(F64X2, false),
            Operator::F32x4RelaxedMadd => self.multiply_add(F32X4, false),
            Operator::F32x4RelaxedNmadd => self.multiply_add(F32X4, true),
            Operator::F64x2RelaxedMadd => self.multiply_add(F64X2, false),
            Operator::F64x2RelaxedNmadd => self.multiply_add(F64X2, true),
            Operator::I8x16RelaxedLaneselect => self.lane_select(I8X16),
            Operator::I16x8RelaxedLaneselect => self.lane_select(I16X8),
            Operator::I32x4RelaxedLaneselect => self.lane_select(I32X4),
            Operator::I64x2RelaxedLaneselect => self.lane_select(I64X2),
            Operator::F32x4RelaxedMin => self.relaxed_extremum(F32X4, Extremum::Min),
            Operator::F32x4RelaxedMax => self.relaxed_extremum(F32X4, Extremum::Max),
            Operator::F64x2RelaxedMin => self.relaxed_extremum(F64X2, Extremum::Min),
            Operator::F64x2RelaxedMax => self.relaxed_extremum(F64X2, Extremum::Max),
            Operator::I16x8RelaxedQ15mulrS => {
                let (x, y) = self.pop2_as(I16X8);
                let value = if self.relaxed() && self.isa().has_x86_pmulhrsw_lowering() {
                    self.ins().x86_pmulhrsw(x, y)
                } else {
                    self.ins().sqmul_round_sat(x, y)
                };
                self.push(value);
            }
            Operator::I16x8RelaxedDotI8x16I7x16S => {
                let (x, y) = self.pop2_as(I8X16);
                let value = self.dot_i7(x, y);
                self.push(value);
            }
            Operator::I32x4RelaxedDotI8x16I7x16AddS => {
                let sum = self.pop_as(I32X4);
                let (x, y) = self.pop2_as(I8X16);
                let products = self.dot_i7(x, y);
                let low = self.ins().swiden_low(products);
                let high = self.ins().swiden_high(products);
                let pairs = self.ins().iadd_pairwise(low, high);
                let value = self.ins().iadd(pairs, sum);
                self.push(value);
            }
            _ => return Ok(false),
        }
        self.check_simd(&[WasmValType::V128])?;
        Ok(true)
    }

    /// Whether results may depend on the target.
    fn relaxed(&self) -> bool {
        !self.tunables().relaxed_simd_deterministic
    }

    fn is_x86(&self) -> bool {
        self.isa().triple().architecture == Architecture::X86_64
    }

    /// `x * y + z`, or `-(x * y) + z`: fused in deterministic mode and where it is fast.
    fn multiply_add(&mut self, ty: Type, negate: bool) {
        let (x, y, z) = self.pop3_as(ty);
        let x = if negate { self.ins().fneg(x) } else { x };
        let value = if self.relaxed() && !self.isa().has_native_fma() {
            let product = self.ins().fmul(x, y);
            self.ins().fadd(product, z)
        } else {
            self.fused_multiply_add(x, y, z)
        };
        self.push(value);
    }

    fn lane_select(&mut self, ty: Type) {
        let (x, y, mask) = self.pop3_as(ty);
        let value = if self.relaxed() && self.isa().has_blendv_lowering(ty) {
            self.ins().blendv(mask, x, y)
        } else {
            self.ins().bitselect(mask, x, y)
        };
        self.push(value);
    }

    /// On x86 the instruction that gives its second operand where neither is less.
    fn relaxed_extremum(&mut self, ty: Type, extremum: Extremum) {
        let (x, y) = self.pop2_as(ty);
        if self.relaxed() && self.is_x86() {
            let (small, large) = match extremum {
                Extremum::Min => (x, y),
                Extremum::Max => (y, x),
            };
            let condition = self.ins().fcmp(FloatCC::LessThan, small, large);
            self.push_lanes(ty, condition, x, y);
            return;
        }
        let value = match extremum {
            Extremum::Min => self.ins().fmin(x, y),
            Extremum::Max => self.ins().fmax(x, y),
        };
        self.push(value);
    }

    /// Products of signed bytes and 7-bit ones, with adjacent ones added to 16 bits.
    fn dot_i7(&mut self, x: Value, y: Value) -> Value {
        if self.relaxed() && self.isa().has_x86_pmaddubsw_lowering() {
            self.ins().x86_pmaddubsw(x, y)
        } else {
            self.dot_product(x, y)
        }
    }
}

#[derive(Copy, Clone)]
enum Extremum {
    Min,
    Max,
}
