//! Numbers of 32 bits that advance by the same amount in each iteration.

use super::super::{constant, definition};
use super::shape::{Loop, Param};
use cranelift_codegen::ir::{Function, InstructionData, Opcode, Value, types};

/// Sums of more levels are not looked into: they could be of two to the power of that many values.
const DEEPEST: u32 = 8;

/// In the first iteration the sum of `terms` and `constant`, `step` more in each that follows; modulo 2³².
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Affine {
    /// Values and their factors, in the values' order. A parameter of the loop means what it is at first.
    pub(super) terms: Vec<(Value, u32)>,
    pub(super) constant: u32,
    pub(super) step: u32,
}

impl Affine {
    /// What is known of a value of the loop, if it is such a number.
    pub(super) fn new(func: &Function, shape: &Loop, value: Value) -> Option<Self> {
        Affine::within(func, shape, value, DEEPEST)
    }

    fn within(func: &Function, shape: &Loop, value: Value, depth: u32) -> Option<Self> {
        if func.dfg.value_type(value) != types::I32 {
            return None;
        }
        if let Some(constant) = constant(func, value) {
            return Some(Affine {
                constant: constant as u32,
                ..Affine::default()
            });
        }
        if let Some(param) = shape.param(func, value) {
            let step = match shape.params[param] {
                Param::Fixed => 0,
                Param::Counter { step } => step as u32,
                Param::Carried { .. } => return None,
            };
            return Some(Affine {
                step,
                ..Affine::term(value)
            });
        }
        let inst = definition(func, value).filter(|inst| shape.position(*inst).is_some());
        if let Some(inst) = inst
            && let Some(depth) = depth.checked_sub(1)
            && let InstructionData::Binary { opcode, args } = func.dfg.insts[inst]
            && let Some(found) = Affine::of_binary(func, shape, opcode, args, depth)
        {
            return Some(found);
        }
        shape.is_invariant(func, value).then(|| Affine::term(value))
    }

    fn term(value: Value) -> Self {
        Affine {
            terms: vec![(value, 1)],
            ..Affine::default()
        }
    }

    fn of_binary(
        func: &Function,
        shape: &Loop,
        opcode: Opcode,
        args: [Value; 2],
        depth: u32,
    ) -> Option<Self> {
        let [x, y] = args;
        let known = |value| Affine::within(func, shape, value, depth);
        match opcode {
            Opcode::Iadd => Some(known(x)?.plus(&known(y)?)),
            Opcode::Isub => Some(known(x)?.plus(&known(y)?.times(u32::MAX))),
            Opcode::Imul => match (constant(func, x), constant(func, y)) {
                (_, Some(factor)) => Some(known(x)?.times(factor as u32)),
                (Some(factor), _) => Some(known(y)?.times(factor as u32)),
                _ => None,
            },
            Opcode::Ishl => Some(known(x)?.times(1 << (constant(func, y)? % 32))),
            _ => None,
        }
    }

    fn plus(mut self, other: &Affine) -> Self {
        for &(value, factor) in &other.terms {
            match self.terms.binary_search_by_key(&value, |term| term.0) {
                Ok(at) => self.terms[at].1 = self.terms[at].1.wrapping_add(factor),
                Err(at) => self.terms.insert(at, (value, factor)),
            }
        }
        self.terms.retain(|term| term.1 != 0);
        self.constant = self.constant.wrapping_add(other.constant);
        self.step = self.step.wrapping_add(other.step);
        self
    }

    fn times(mut self, factor: u32) -> Self {
        for term in &mut self.terms {
            term.1 = term.1.wrapping_mul(factor);
        }
        self.terms.retain(|term| term.1 != 0);
        self.constant = self.constant.wrapping_mul(factor);
        self.step = self.step.wrapping_mul(factor);
        self
    }
}
