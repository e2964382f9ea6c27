//! The operand stack.
//!
//! What a comparison gives is an `i8` on the stack until it is used as a number: branches use it as it is.
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
        let value = self.pop_condition();
        self.number(value)
    }

    /// Pops an operand of which it only matters whether it is zero.
    pub(super) fn pop_condition(&mut self) -> Value {
        self.stack.pop().expect(VALIDATED)
    }

    /// Pops an operand that is not used.
    pub(super) fn discard(&mut self) {
        self.pop_condition();
    }

    /// The operand at `index` from the bottom. It stays.
    pub(super) fn operand(&mut self, index: usize) -> Value {
        self.number(self.stack[index])
    }

    /// An operand that may be a condition as a number.
    fn number(&mut self, value: Value) -> Value {
        match self.builder.func.dfg.value_type(value) {
            types::I8 => self.ins().uextend(types::I32, value),
            _ => value,
        }
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
            self.number(value)
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

    /// Pushes what a comparison gave, an `i8` that is 0 or 1.
    pub(super) fn push_condition(&mut self, condition: Value) {
        debug_assert_eq!(self.builder.func.dfg.value_type(condition), types::I8);
        self.push(condition);
    }
}

/// Why there are operands to pop.
const VALIDATED: &str = "the validator checked the operands";
