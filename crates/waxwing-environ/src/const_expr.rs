//! Constant expressions: initial values of globals, offsets of segments, elements of tables.

use crate::{FuncIndex, GlobalIndex, ModuleTypeIndex, WasmHeapType};
use serde::{Deserialize, Serialize};
use smallvec::{SmallVec, smallvec};

/// One instruction of a constant expression.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum ConstOp {
    /// `i32.const`
    I32Const(i32),
    /// `i64.const`
    I64Const(i64),
    /// `f32.const`, as bits
    F32Const(u32),
    /// `f64.const`, as bits
    F64Const(u64),
    /// `v128.const`, as bits
    V128Const(u128),
    /// `global.get`
    GlobalGet(GlobalIndex),
    /// `ref.null`
    RefNull(WasmHeapType),
    /// `ref.func`
    RefFunc(FuncIndex),
    /// `i32.add`
    I32Add,
    /// `i32.sub`
    I32Sub,
    /// `i32.mul`
    I32Mul,
    /// `i64.add`
    I64Add,
    /// `i64.sub`
    I64Sub,
    /// `i64.mul`
    I64Mul,
    /// `ref.i31`
    RefI31,
    /// `struct.new`
    StructNew(ModuleTypeIndex),
    /// `struct.new_default`
    StructNewDefault(ModuleTypeIndex),
    /// `array.new`
    ArrayNew(ModuleTypeIndex),
    /// `array.new_default`
    ArrayNewDefault(ModuleTypeIndex),
    /// `array.new_fixed`, with the number of elements
    ArrayNewFixed(ModuleTypeIndex, u32),
    /// `any.convert_extern` or `extern.convert_any`: both leave the reference as it is.
    ConvertExtern,
}

/// A validated constant expression: instructions of a stack machine that leave one value.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct ConstExpr {
    /// The instructions, without the closing `end`.
    pub ops: SmallVec<[ConstOp; 1]>,
}

impl ConstExpr {
    /// An expression of one instruction.
    pub fn single(op: ConstOp) -> Self {
        ConstExpr { ops: smallvec![op] }
    }

    /// The value of the expression as an unsigned offset or length, when it is the same in every
    /// instance: made of constants and arithmetic alone.
    pub fn static_offset(&self) -> Option<u64> {
        let mut stack = SmallVec::<[i64; 4]>::new();
        let mut is_32 = true;
        for op in &self.ops {
            let binary = |f: fn(i64, i64) -> i64, stack: &mut SmallVec<[i64; 4]>| {
                let (b, a) = (stack.pop()?, stack.pop()?);
                stack.push(f(a, b));
                Some(())
            };
            match *op {
                ConstOp::I32Const(value) => stack.push(value.into()),
                ConstOp::I64Const(value) => {
                    is_32 = false;
                    stack.push(value);
                }
                ConstOp::I32Add | ConstOp::I64Add => binary(i64::wrapping_add, &mut stack)?,
                ConstOp::I32Sub | ConstOp::I64Sub => binary(i64::wrapping_sub, &mut stack)?,
                ConstOp::I32Mul | ConstOp::I64Mul => binary(i64::wrapping_mul, &mut stack)?,
                _ => return None,
            }
        }
        let value = stack.pop()?;
        Some(if is_32 {
            u64::from(value as u32)
        } else {
            value as u64
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constants_and_arithmetic_are_static() {
        let expr = |ops: &[ConstOp]| ConstExpr {
            ops: ops.iter().copied().collect(),
        };
        assert_eq!(
            expr(&[ConstOp::I32Const(-1)]).static_offset(),
            Some(0xffff_ffff)
        );
        let sum = expr(&[
            ConstOp::I32Const(i32::MAX),
            ConstOp::I32Const(1),
            ConstOp::I32Add,
        ]);
        assert_eq!(sum.static_offset(), Some(0x8000_0000));
        let get = expr(&[ConstOp::GlobalGet(GlobalIndex::from_u32(0))]);
        assert_eq!(get.static_offset(), None);
    }
}
