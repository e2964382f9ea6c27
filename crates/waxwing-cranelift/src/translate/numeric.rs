//! Numeric instructions on scalars.

use super::FuncTranslator;
use cranelift_codegen::ir::condcodes::{CondCode, FloatCC, IntCC};
use cranelift_codegen::ir::{
    InstBuilder, InstructionData, MemFlagsData, Type, Value, ValueDef, types,
};
use cranelift_frontend::FunctionBuilder;
use types::{F32, F64, I8, I16, I32, I64, I128};
use wasmparser::Operator;
use waxwing_environ::{BuiltinFunctionIndex, Trap};

/// The table of operators: each line is a shape, what it builds, and the operators of that form.
macro_rules! numeric {
    ($t:ident, $op:expr; $($shape:ident($($what:tt)*): $($name:ident)+;)*) => {
        match $op {
            $($(Operator::$name)|+ => numeric!(@$shape $t, $($what)*),)*
            _ => return false,
        }
    };
    (@unary $t:ident, $method:ident) => {
        $t.unary(|b, x| b.ins().$method(x))
    };
    (@convert $t:ident, $method:ident $ty:ident) => {
        $t.unary(|b, x| b.ins().$method($ty, x))
    };
    (@extend $t:ident, $from:ident $to:ident) => {
        $t.unary(|b, x| {
            let low = b.ins().ireduce($from, x);
            b.ins().sextend($to, low)
        })
    };
    (@reinterpret $t:ident, $ty:ident) => {
        $t.unary(|b, x| b.ins().bitcast($ty, MemFlagsData::new(), x))
    };
    (@binary $t:ident, $method:ident) => {
        $t.binary(|b, x, y| b.ins().$method(x, y))
    };
    (@icmp $t:ident, $cc:ident) => {
        $t.binary(|b, x, y| b.ins().icmp(IntCC::$cc, x, y))
    };
    (@fcmp $t:ident, $cc:ident) => {
        $t.binary(|b, x, y| b.ins().fcmp(FloatCC::$cc, x, y))
    };
    (@call $t:ident, $method:ident $($arg:expr)?) => {
        $t.$method($($arg)?)
    };
}

/// What a division leaves.
#[derive(Copy, Clone)]
enum Division {
    SignedQuotient,
    UnsignedQuotient,
    SignedRemainder,
    UnsignedRemainder,
}

/// How a float is rounded to an integral float.
#[derive(Copy, Clone)]
pub(super) enum Rounding {
    Ceil,
    Floor,
    Trunc,
    Nearest,
}

impl Rounding {
    fn builtin(self, ty: Type) -> BuiltinFunctionIndex {
        use BuiltinFunctionIndex as B;
        match (self, ty == F32) {
            (Rounding::Ceil, true) => B::ceil_f32,
            (Rounding::Ceil, false) => B::ceil_f64,
            (Rounding::Floor, true) => B::floor_f32,
            (Rounding::Floor, false) => B::floor_f64,
            (Rounding::Trunc, true) => B::trunc_f32,
            (Rounding::Trunc, false) => B::trunc_f64,
            (Rounding::Nearest, true) => B::nearest_f32,
            (Rounding::Nearest, false) => B::nearest_f64,
        }
    }
}

impl FuncTranslator<'_, '_> {
    pub(super) fn numeric_operator(&mut self, op: &Operator<'_>) -> bool {
        numeric! { self, op;
            unary(clz): I32Clz I64Clz;
            unary(ctz): I32Ctz I64Ctz;
            unary(popcnt): I32Popcnt I64Popcnt;
            unary(fabs): F32Abs F64Abs;
            unary(fneg): F32Neg F64Neg;
            unary(sqrt): F32Sqrt F64Sqrt;

            binary(iadd): I32Add I64Add;
            binary(isub): I32Sub I64Sub;
            binary(imul): I32Mul I64Mul;
            binary(band): I32And I64And;
            binary(bor): I32Or I64Or;
            binary(bxor): I32Xor I64Xor;
            binary(ishl): I32Shl I64Shl;
            binary(sshr): I32ShrS I64ShrS;
            binary(ushr): I32ShrU I64ShrU;
            binary(rotl): I32Rotl I64Rotl;
            binary(rotr): I32Rotr I64Rotr;
            binary(fadd): F32Add F64Add;
            binary(fsub): F32Sub F64Sub;
            binary(fmul): F32Mul F64Mul;
            binary(fdiv): F32Div F64Div;
            binary(fmin): F32Min F64Min;
            binary(fmax): F32Max F64Max;
            binary(fcopysign): F32Copysign F64Copysign;

            icmp(Equal): I32Eq I64Eq;
            icmp(NotEqual): I32Ne I64Ne;
            icmp(SignedLessThan): I32LtS I64LtS;
            icmp(UnsignedLessThan): I32LtU I64LtU;
            icmp(SignedGreaterThan): I32GtS I64GtS;
            icmp(UnsignedGreaterThan): I32GtU I64GtU;
            icmp(SignedLessThanOrEqual): I32LeS I64LeS;
            icmp(UnsignedLessThanOrEqual): I32LeU I64LeU;
            icmp(SignedGreaterThanOrEqual): I32GeS I64GeS;
            icmp(UnsignedGreaterThanOrEqual): I32GeU I64GeU;
            fcmp(Equal): F32Eq F64Eq;
            fcmp(NotEqual): F32Ne F64Ne;
            fcmp(LessThan): F32Lt F64Lt;
            fcmp(GreaterThan): F32Gt F64Gt;
            fcmp(LessThanOrEqual): F32Le F64Le;
            fcmp(GreaterThanOrEqual): F32Ge F64Ge;

            convert(ireduce I32): I32WrapI64;
            convert(sextend I64): I64ExtendI32S;
            convert(fdemote F32): F32DemoteF64;
            convert(fpromote F64): F64PromoteF32;
            convert(fcvt_from_sint F32): F32ConvertI32S F32ConvertI64S;
            convert(fcvt_from_uint F32): F32ConvertI32U F32ConvertI64U;
            convert(fcvt_from_sint F64): F64ConvertI32S F64ConvertI64S;
            convert(fcvt_from_uint F64): F64ConvertI32U F64ConvertI64U;
            convert(fcvt_to_sint_sat I32): I32TruncSatF32S I32TruncSatF64S;
            convert(fcvt_to_uint_sat I32): I32TruncSatF32U I32TruncSatF64U;
            convert(fcvt_to_sint_sat I64): I64TruncSatF32S I64TruncSatF64S;
            convert(fcvt_to_uint_sat I64): I64TruncSatF32U I64TruncSatF64U;
            extend(I8 I32): I32Extend8S;
            extend(I16 I32): I32Extend16S;
            extend(I8 I64): I64Extend8S;
            extend(I16 I64): I64Extend16S;
            extend(I32 I64): I64Extend32S;
            reinterpret(I32): I32ReinterpretF32;
            reinterpret(I64): I64ReinterpretF64;
            reinterpret(F32): F32ReinterpretI32;
            reinterpret(F64): F64ReinterpretI64;

            call(extend_unsigned): I64ExtendI32U;
            call(eqz): I32Eqz I64Eqz;
            call(round Rounding::Ceil): F32Ceil F64Ceil;
            call(round Rounding::Floor): F32Floor F64Floor;
            call(round Rounding::Trunc): F32Trunc F64Trunc;
            call(round Rounding::Nearest): F32Nearest F64Nearest;
            call(divide Division::SignedQuotient): I32DivS I64DivS;
            call(divide Division::UnsignedQuotient): I32DivU I64DivU;
            call(divide Division::SignedRemainder): I32RemS I64RemS;
            call(divide Division::UnsignedRemainder): I32RemU I64RemU;
            call(truncate_signed I32): I32TruncF32S I32TruncF64S;
            call(truncate_unsigned I32): I32TruncF32U I32TruncF64U;
            call(truncate_signed I64): I64TruncF32S I64TruncF64S;
            call(truncate_unsigned I64): I64TruncF32U I64TruncF64U;

            call(wide_binary |b, x, y| b.ins().iadd(x, y)): I64Add128;
            call(wide_binary |b, x, y| b.ins().isub(x, y)): I64Sub128;
            call(wide_multiply |b, x| b.ins().sextend(I128, x)): I64MulWideS;
            call(wide_multiply |b, x| b.ins().uextend(I128, x)): I64MulWideU;
        }
        true
    }

    fn unary(&mut self, build: fn(&mut FunctionBuilder<'_>, Value) -> Value) {
        let x = self.pop();
        let value = build(&mut self.builder, x);
        self.push(value);
    }

    fn binary(&mut self, build: fn(&mut FunctionBuilder<'_>, Value, Value) -> Value) {
        let (x, y) = self.pop2();
        let value = build(&mut self.builder, x, y);
        self.push(value);
    }

    fn extend_unsigned(&mut self) {
        let x = self.pop();
        let value = self.extend_once(x);
        self.push(value);
    }

    fn eqz(&mut self) {
        let x = self.pop_condition();
        if self.negate_comparison(x) {
            self.push_condition(x);
            return;
        }
        let ty = self.builder.func.dfg.value_type(x);
        let zero = self.int_constant(ty, 0);
        let condition = self.ins().icmp(IntCC::Equal, x, zero);
        self.push_condition(condition);
    }

    /// Makes a comparison its opposite, if `x`, an operand that was popped, is what it gave and nothing else can use it yet,
    /// as it is the last instruction.
    fn negate_comparison(&mut self, x: Value) -> bool {
        let block = self.builder.current_block();
        let func = &mut self.builder.func;
        let last = block.and_then(|block| func.layout.last_inst(block));
        let inst = match func.dfg.value_def(x) {
            ValueDef::Result(inst, _) if last == Some(inst) => inst,
            _ => return false,
        };
        match &mut func.dfg.insts[inst] {
            InstructionData::IntCompare { cond, .. } => *cond = cond.complement(),
            InstructionData::FloatCompare { cond, .. } => *cond = cond.complement(),
            _ => return false,
        }
        true
    }

    fn round(&mut self, rounding: Rounding) {
        let x = self.pop();
        let value = self.rounded(x, rounding);
        self.push(value);
    }

    /// A scalar or vector rounded, by the builtin where there is no instruction.
    pub(super) fn rounded(&mut self, x: Value, rounding: Rounding) -> Value {
        if self.isa().has_round() {
            return match rounding {
                Rounding::Ceil => self.ins().ceil(x),
                Rounding::Floor => self.ins().floor(x),
                Rounding::Trunc => self.ins().trunc(x),
                Rounding::Nearest => self.ins().nearest(x),
            };
        }
        let ty = self.builder.func.dfg.value_type(x);
        let builtin = rounding.builtin(ty.lane_type());
        self.call_on_lanes(builtin, &[x])
    }

    /// Fused multiply-add of scalars or vectors, by the builtin where there is no instruction.
    pub(super) fn fused_multiply_add(&mut self, x: Value, y: Value, z: Value) -> Value {
        if self.isa().has_native_fma() {
            return self.ins().fma(x, y, z);
        }
        let builtin = match self.builder.func.dfg.value_type(x).lane_type() {
            F32 => BuiltinFunctionIndex::fma_f32,
            _ => BuiltinFunctionIndex::fma_f64,
        };
        self.call_on_lanes(builtin, &[x, y, z])
    }

    /// Calls a builtin with scalars, or with each lane of vectors.
    fn call_on_lanes(&mut self, builtin: BuiltinFunctionIndex, args: &[Value]) -> Value {
        let ty = self.builder.func.dfg.value_type(args[0]);
        if !ty.is_vector() {
            return self.call_builtin_value(builtin, args);
        }
        let mut result = args[0];
        for lane in 0..ty.lane_count() as u8 {
            let scalars: smallvec::SmallVec<[Value; 3]> = args
                .iter()
                .map(|x| self.builder.ins().extractlane(*x, lane))
                .collect();
            let value = self.call_builtin_value(builtin, &scalars);
            result = self.ins().insertlane(result, value, lane);
        }
        result
    }

    fn divide(&mut self, division: Division) {
        let (x, y) = self.pop2();
        if !self.instructions_trap() {
            self.trapz(y, Trap::IntegerDivisionByZero);
            if let Division::SignedQuotient = division {
                let ty = self.builder.func.dfg.value_type(x);
                let min = i64::MIN >> (64 - ty.bits());
                let is_min = self.ins().icmp_imm_s(IntCC::Equal, x, min);
                let is_minus_one = self.ins().icmp_imm_s(IntCC::Equal, y, -1);
                let overflow = self.ins().band(is_min, is_minus_one);
                self.trapnz(overflow, Trap::IntegerOverflow);
            }
        }
        let value = match division {
            Division::SignedQuotient => self.ins().sdiv(x, y),
            Division::UnsignedQuotient => self.ins().udiv(x, y),
            Division::SignedRemainder => self.ins().srem(x, y),
            Division::UnsignedRemainder => self.ins().urem(x, y),
        };
        self.push(value);
    }

    fn truncate_signed(&mut self, ty: Type) {
        self.truncate(ty, true);
    }

    fn truncate_unsigned(&mut self, ty: Type) {
        self.truncate(ty, false);
    }

    /// A float to an integer, trapping on NaN and on what does not fit.
    fn truncate(&mut self, to: Type, signed: bool) {
        let x = self.pop();
        let value = if self.instructions_trap() {
            if signed {
                self.ins().fcvt_to_sint(to, x)
            } else {
                self.ins().fcvt_to_uint(to, x)
            }
        } else {
            self.check_truncation(x, to, signed);
            if signed {
                self.ins().fcvt_to_sint_sat(to, x)
            } else {
                self.ins().fcvt_to_uint_sat(to, x)
            }
        };
        self.push(value);
    }

    fn check_truncation(&mut self, x: Value, to: Type, signed: bool) {
        let from = self.builder.func.dfg.value_type(x);
        let is_nan = self.ins().fcmp(FloatCC::Unordered, x, x);
        self.trapnz(is_nan, Trap::BadConversionToInteger);
        let bound = |t: &mut Self, bound: f64| match from {
            F32 => t.ins().f32const(bound as f32),
            _ => t.ins().f64const(bound),
        };
        let bits = to.bits() as i32;
        // Everything that truncates to an integer of the type is above `low`, or is `low` where
        // the next lower integer is not a float.
        let (low, low_cc) = match (signed, bits, from) {
            (false, _, _) => (-1.0, FloatCC::LessThanOrEqual),
            (true, 32, F64) => (-2f64.powi(31) - 1.0, FloatCC::LessThanOrEqual),
            (true, _, _) => (-2f64.powi(bits - 1), FloatCC::LessThan),
        };
        let high = 2f64.powi(if signed { bits - 1 } else { bits });
        let low = bound(self, low);
        let too_low = self.ins().fcmp(low_cc, x, low);
        let high = bound(self, high);
        let too_high = self.ins().fcmp(FloatCC::GreaterThanOrEqual, x, high);
        let overflow = self.ins().bor(too_low, too_high);
        self.trapnz(overflow, Trap::IntegerOverflow);
    }

    fn wide_binary(&mut self, build: fn(&mut FunctionBuilder<'_>, Value, Value) -> Value) {
        let (y_low, y_high) = self.pop2();
        let (x_low, x_high) = self.pop2();
        let x = self.ins().iconcat(x_low, x_high);
        let y = self.ins().iconcat(y_low, y_high);
        let value = build(&mut self.builder, x, y);
        self.push_wide(value);
    }

    fn wide_multiply(&mut self, extend: fn(&mut FunctionBuilder<'_>, Value) -> Value) {
        let (x, y) = self.pop2();
        let x = extend(&mut self.builder, x);
        let y = extend(&mut self.builder, y);
        let value = self.ins().imul(x, y);
        self.push_wide(value);
    }

    fn push_wide(&mut self, value: Value) {
        let (low, high) = self.ins().isplit(value);
        self.push(low);
        self.push(high);
    }
}
