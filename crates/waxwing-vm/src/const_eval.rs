//! Evaluation of constant expressions.

use anyhow::{Context, Result};
use smallvec::SmallVec;
use waxwing_environ::{ConstExpr, ConstOp, FuncIndex, GlobalIndex, IndexType};

use crate::val_raw::ValRaw;
use crate::vmcontext::VMFuncRef;
use std::ptr::NonNull;

/// What constant expressions refer to.
pub(crate) trait ConstEnv {
    /// The value of a global, imported or defined before.
    fn global(&self, index: GlobalIndex) -> ValRaw;

    /// A function of the instance.
    fn func_ref(&self, index: FuncIndex) -> Option<NonNull<VMFuncRef>>;
}

/// The value of a validated expression.
///
/// # Errors
///
/// Fails if the expression is not valid, which only a damaged artifact brings about.
pub(crate) fn eval(expr: &ConstExpr, env: &impl ConstEnv) -> Result<ValRaw> {
    let mut stack = SmallVec::<[ValRaw; 4]>::new();
    for op in &expr.ops {
        let value = evaluate_op(*op, &mut stack, env)
            .context("a constant expression is not valid; compile the module again")?;
        stack.push(value);
    }
    let value = stack.pop();
    value.context("a constant expression is empty; compile the module again")
}

fn evaluate_op(
    op: ConstOp,
    stack: &mut SmallVec<[ValRaw; 4]>,
    env: &impl ConstEnv,
) -> Option<ValRaw> {
    let mut binary_i32 = |f: fn(i32, i32) -> i32| {
        let (b, a) = (stack.pop()?, stack.pop()?);
        Some(ValRaw::i32(f(a.get_i32(), b.get_i32())))
    };
    match op {
        ConstOp::I32Add => return binary_i32(i32::wrapping_add),
        ConstOp::I32Sub => return binary_i32(i32::wrapping_sub),
        ConstOp::I32Mul => return binary_i32(i32::wrapping_mul),
        _ => {}
    }
    let mut binary_i64 = |f: fn(i64, i64) -> i64| {
        let (b, a) = (stack.pop()?, stack.pop()?);
        Some(ValRaw::i64(f(a.get_i64(), b.get_i64())))
    };
    Some(match op {
        ConstOp::I32Const(value) => ValRaw::i32(value),
        ConstOp::I64Const(value) => ValRaw::i64(value),
        ConstOp::F32Const(bits) => ValRaw::f32(bits),
        ConstOp::F64Const(bits) => ValRaw::f64(bits),
        ConstOp::V128Const(bits) => ValRaw::v128(bits),
        ConstOp::GlobalGet(index) => env.global(index),
        ConstOp::RefNull(_) => ValRaw::null(),
        ConstOp::RefFunc(index) => ValRaw::funcref(env.func_ref(index)?.as_ptr().cast()),
        ConstOp::I64Add => binary_i64(i64::wrapping_add)?,
        ConstOp::I64Sub => binary_i64(i64::wrapping_sub)?,
        ConstOp::I64Mul => binary_i64(i64::wrapping_mul)?,
        ConstOp::I32Add | ConstOp::I32Sub | ConstOp::I32Mul => return None,
    })
}

/// The value of an expression as an offset into a memory or table with such indices.
pub(crate) fn eval_offset(
    expr: &ConstExpr,
    idx_type: IndexType,
    env: &impl ConstEnv,
) -> Result<u64> {
    let value = eval(expr, env)?;
    Ok(match idx_type {
        IndexType::I32 => u64::from(value.get_u32()),
        IndexType::I64 => value.get_u64(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use waxwing_environ::{EntityRef, WasmHeapType};

    struct Env;

    impl ConstEnv for Env {
        fn global(&self, index: GlobalIndex) -> ValRaw {
            ValRaw::i32(index.index() as i32 + 100)
        }

        fn func_ref(&self, index: FuncIndex) -> Option<NonNull<VMFuncRef>> {
            (index.index() == 1).then(NonNull::dangling)
        }
    }

    fn run(ops: &[ConstOp]) -> Result<ValRaw> {
        let ops = ops.iter().copied().collect();
        eval(&ConstExpr { ops }, &Env)
    }

    #[test]
    fn expressions_are_evaluated() {
        use ConstOp as O;
        assert_eq!(run(&[O::I32Const(-7)]).unwrap().get_i32(), -7);
        assert_eq!(run(&[O::F64Const(5)]).unwrap().get_f64(), 5);
        assert_eq!(
            run(&[O::V128Const(u128::MAX)]).unwrap().get_v128(),
            u128::MAX
        );
        let global = GlobalIndex::new(2);
        // (2 + 102) * 3 - i32::MIN, wrapping
        let ops = [
            O::I32Const(2),
            O::GlobalGet(global),
            O::I32Add,
            O::I32Const(3),
            O::I32Mul,
            O::I32Const(i32::MIN),
            O::I32Sub,
        ];
        assert_eq!(run(&ops).unwrap().get_i32(), 312i32.wrapping_sub(i32::MIN));
        let ops = [O::I64Const(5), O::I64Const(7), O::I64Sub];
        assert_eq!(run(&ops).unwrap().get_i64(), -2);
        assert!(
            run(&[O::RefNull(WasmHeapType::Func)])
                .unwrap()
                .get_funcref()
                .is_null()
        );
        let func = run(&[O::RefFunc(FuncIndex::new(1))]).unwrap();
        assert!(!func.get_funcref().is_null());
    }

    #[test]
    fn invalid_expressions_are_errors() {
        use ConstOp as O;
        assert!(run(&[]).is_err());
        assert!(run(&[O::I32Const(1), O::I32Add]).is_err());
        assert!(run(&[O::I64Mul]).is_err());
        assert!(run(&[O::RefFunc(FuncIndex::new(0))]).is_err());
    }

    #[test]
    fn offsets_are_unsigned() {
        let expr = ConstExpr::single(ConstOp::I32Const(-1));
        assert_eq!(
            eval_offset(&expr, IndexType::I32, &Env).unwrap(),
            0xffff_ffff
        );
        let expr = ConstExpr::single(ConstOp::I64Const(-1));
        assert_eq!(eval_offset(&expr, IndexType::I64, &Env).unwrap(), u64::MAX);
    }
}
