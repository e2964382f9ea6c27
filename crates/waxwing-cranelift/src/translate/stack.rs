//! The operand stack.
//!
//! A `v128` on the stack has the vector type that made it; it is cast to the one that is used.

use super::FuncTranslator;
use crate::abi;
use cranelift_codegen::ir::{Endianness, InstBuilder, MemFlagsData, Type, Value, types};
use smallvec::SmallVec;

/// A few operands.
pub(super) type Values = SmallVec<[Value; 8]>;

impl FuncTranslator<'_, '_> {
    pub(super) fn push(&mut self, value: Value) {
        self.stack.push(value);
    }

    pub(super) fn pop(&mut self) -> Value {
        self.stack.pop().expect(VALIDATED)
    }

    pub(super) fn pop2(&mut self) -> (Value, Value) {
        let b = self.pop();
        (self.pop(), b)
    }

    pub(super) fn pop3(&mut self) -> (Value, Value, Value) {
        let c = self.pop();
        let (a, b) = self.pop2();
        (a, b, c)
    }

    /// Pops a `v128` as a vector of type `ty`.
    pub(super) fn pop_as(&mut self, ty: Type) -> Value {
        let value = self.pop();
        self.cast(value, ty)
    }

    pub(super) fn pop2_as(&mut self, ty: Type) -> (Value, Value) {
        let (a, b) = self.pop2();
        (self.cast(a, ty), self.cast(b, ty))
    }

    pub(super) fn pop3_as(&mut self, ty: Type) -> (Value, Value, Value) {
        let (a, b, c) = self.pop3();
        (self.cast(a, ty), self.cast(b, ty), self.cast(c, ty))
    }

    /// The same bits as a vector of type `ty`, lanes in little-endian order.
    pub(super) fn cast(&mut self, value: Value, ty: Type) -> Value {
        if self.builder.func.dfg.value_type(value) == ty {
            return value;
        }
        let flags = MemFlagsData::new().with_endianness(Endianness::Little);
        self.ins().bitcast(ty, flags, value)
    }

    /// The value in the representation that crosses boundaries of blocks and functions.
    pub(super) fn canonical(&mut self, value: Value) -> Value {
        if self.builder.func.dfg.value_type(value).is_vector() {
            self.cast(value, abi::V128)
        } else {
            value
        }
    }

    /// The top `n` operands in the representation that crosses boundaries. They stay.
    pub(super) fn peek_canonical(&mut self, n: usize) -> Values {
        let start = self.stack.len().checked_sub(n).expect(VALIDATED);
        let values = Values::from_slice(&self.stack[start..]);
        values.iter().map(|v| self.canonical(*v)).collect()
    }

    /// Like [`Self::peek_canonical`]; they are popped.
    pub(super) fn pop_canonical(&mut self, n: usize) -> Values {
        let values = self.peek_canonical(n);
        self.stack.truncate(self.stack.len() - n);
        values
    }

    /// Pushes a condition as an `i32`.
    pub(super) fn push_condition(&mut self, condition: Value) {
        let value = self.ins().uextend(types::I32, condition);
        self.push(value);
    }
}

/// Why there are operands to pop.
const VALIDATED: &str = "the validator checked the operands";
