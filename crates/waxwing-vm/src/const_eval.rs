//! Evaluation of constant expressions.

use anyhow::{Context, Result};
use smallvec::SmallVec;
use waxwing_environ::gc::GC_REF_I31_BIT;
use waxwing_environ::{ConstExpr, ConstOp, FuncIndex, GlobalIndex, IndexType, WasmHeapTop};

use crate::val_raw::ValRaw;
use crate::vmcontext::VMFuncRef;
use std::ptr::NonNull;

/// A value on the stack of an expression.
#[derive(Copy, Clone)]
pub(crate) struct Operand {
    pub(crate) value: ValRaw,
    /// Whether it is a GC reference.
    pub(crate) is_gc_ref: bool,
}

impl Operand {
    fn plain(value: ValRaw) -> Operand {
        Operand {
            value,
            is_gc_ref: false,
        }
    }

    pub(crate) fn gc_ref(reference: u32) -> Operand {
        Operand {
            value: ValRaw::anyref(reference),
            is_gc_ref: true,
        }
    }
}

/// The stack of an expression.
pub(crate) type Stack = SmallVec<[Operand; 4]>;

/// What constant expressions refer to.
pub(crate) trait ConstEnv {
    /// The value of a global, imported or defined before.
    fn global(&self, index: GlobalIndex) -> Operand;

    /// A function of the instance.
    fn func_ref(&self, index: FuncIndex) -> Option<NonNull<VMFuncRef>>;

    /// Executes an instruction that makes an object. References on the stack are kept alive, and
    /// changed if what they refer to moves.
    ///
    /// # Errors
    ///
    /// Fails if there is no memory for the object, or the stack does not hold the instruction's operands.
    fn new_object(&mut self, op: ConstOp, stack: &mut Stack) -> Result<Operand>;
}

const NOT_VALID: &str = "a constant expression is not valid; compile the module again";

/// The value of a validated expression.
///
/// # Errors
///
/// Fails if memory is lacking for an object, or the expression is not valid, which only a damaged
/// artifact brings about.
pub(crate) fn eval(expr: &ConstExpr, env: &mut impl ConstEnv) -> Result<ValRaw> {
    let mut stack = Stack::new();
    for op in &expr.ops {
        let operand = match op {
            ConstOp::StructNew(_)
            | ConstOp::StructNewDefault(_)
            | ConstOp::ArrayNew(_)
            | ConstOp::ArrayNewDefault(_)
            | ConstOp::ArrayNewFixed(..) => env.new_object(*op, &mut stack)?,
            op => evaluate_op(*op, &mut stack, env).context(NOT_VALID)?,
        };
        stack.push(operand);
    }
    let operand = stack.pop();
    let operand = operand.context("a constant expression is empty; compile the module again")?;
    Ok(operand.value)
}

fn evaluate_op(op: ConstOp, stack: &mut Stack, env: &impl ConstEnv) -> Option<Operand> {
    let mut pop = || Some(stack.pop()?.value);
    let mut binary_i32 = |f: fn(i32, i32) -> i32| {
        let (b, a) = (pop()?, pop()?);
        Some(ValRaw::i32(f(a.get_i32(), b.get_i32())))
    };
    let value = match op {
        ConstOp::I32Add => binary_i32(i32::wrapping_add)?,
        ConstOp::I32Sub => binary_i32(i32::wrapping_sub)?,
        ConstOp::I32Mul => binary_i32(i32::wrapping_mul)?,
        ConstOp::RefI31 => {
            let value = pop()?.get_u32();
            return Some(Operand::gc_ref(value << 1 | GC_REF_I31_BIT));
        }
        ConstOp::ConvertExtern => return stack.pop(),
        ConstOp::GlobalGet(index) => return Some(env.global(index)),
        ConstOp::RefNull(ty) => {
            return Some(Operand {
                value: ValRaw::null(),
                is_gc_ref: ty.top() != WasmHeapTop::Func,
            });
        }
        ConstOp::RefFunc(index) => ValRaw::funcref(env.func_ref(index)?.as_ptr().cast()),
        ConstOp::I32Const(value) => ValRaw::i32(value),
        ConstOp::I64Const(value) => ValRaw::i64(value),
        ConstOp::F32Const(bits) => ValRaw::f32(bits),
        ConstOp::F64Const(bits) => ValRaw::f64(bits),
        ConstOp::V128Const(bits) => ValRaw::v128(bits),
        ConstOp::I64Add | ConstOp::I64Sub | ConstOp::I64Mul => {
            let f = match op {
                ConstOp::I64Add => i64::wrapping_add,
                ConstOp::I64Sub => i64::wrapping_sub,
                _ => i64::wrapping_mul,
            };
            let (b, a) = (pop()?, pop()?);
            ValRaw::i64(f(a.get_i64(), b.get_i64()))
        }
        // Executed by the environment.
        ConstOp::StructNew(_)
        | ConstOp::StructNewDefault(_)
        | ConstOp::ArrayNew(_)
        | ConstOp::ArrayNewDefault(_)
        | ConstOp::ArrayNewFixed(..) => return None,
    };
    Some(Operand::plain(value))
}

/// The value of an expression as an offset into a memory or table with such indices.
pub(crate) fn eval_offset(
    expr: &ConstExpr,
    idx_type: IndexType,
    env: &mut impl ConstEnv,
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
        fn global(&self, index: GlobalIndex) -> Operand {
            Operand::plain(ValRaw::i32(index.index() as i32 + 100))
        }

        fn func_ref(&self, index: FuncIndex) -> Option<NonNull<VMFuncRef>> {
            (index.index() == 1).then(NonNull::dangling)
        }

        /// Objects are the number of their operands here.
        fn new_object(&mut self, _op: ConstOp, stack: &mut Stack) -> Result<Operand> {
            let reference = stack.len() as u32 * 8;
            stack.clear();
            Ok(Operand::gc_ref(reference))
        }
    }

    fn run(ops: &[ConstOp]) -> Result<ValRaw> {
        let ops = ops.iter().copied().collect();
        eval(&ConstExpr { ops }, &mut Env)
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
        assert_eq!(
            run(&[O::I32Const(-3), O::RefI31]).unwrap().get_anyref(),
            -5i32 as u32
        );
        let ty = waxwing_environ::ModuleTypeIndex::new(0);
        let ops = [
            O::I32Const(1),
            O::RefI31,
            O::ConvertExtern,
            O::StructNew(ty),
        ];
        assert_eq!(run(&ops).unwrap().get_anyref(), 8);
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
            eval_offset(&expr, IndexType::I32, &mut Env).unwrap(),
            0xffff_ffff
        );
        let expr = ConstExpr::single(ConstOp::I64Const(-1));
        assert_eq!(
            eval_offset(&expr, IndexType::I64, &mut Env).unwrap(),
            u64::MAX
        );
    }
}
