//! `memory.copy` and `memory.fill`.
//!
//! Short ranges of constant length, which is how compilers copy structs, become loads and stores. Others are checked to be
//! in bounds by generated code, which then calls a builtin that does nothing but the work, by the native convention
//! where there is one. What is left goes to the builtins of the instructions' names: ranges that are out of bounds or take long, shared
//! memories, and code that counts fuel.

use super::FuncTranslator;
use crate::abi;
use crate::bounds::HeapAddress;
use crate::compiler::call_host;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, InstructionData, Opcode, Type, Value, ValueDef, types};
use smallvec::SmallVec;
use types::{I8, I8X16, I16, I32, I64};
use waxwing_environ::{
    BuiltinFunctionIndex, HostCall, IndexType, MemoryIndex, UNINTERRUPTED_BYTES,
};

/// The longest range that becomes loads and stores.
const MOST_INLINE: u8 = 128;
/// The longest range that costs no fuel.
const MOST_FREE: u8 = 63;

/// A part of a range: its type and its distance from the start.
type Part = (Type, i32);

/// The parts that make up a range of `len` bytes, which is not zero. They may overlap. The first reaches to the end: if
/// it is in bounds, all are.
fn parts(len: u8, widest: Type) -> impl Iterator<Item = Part> {
    let ty = [I8X16, I64, I32, I16, I8]
        .into_iter()
        .skip_while(move |ty| ty.bytes() > widest.bytes())
        .find(|ty| ty.bytes() <= u32::from(len))
        .expect("every range has room for one byte");
    let (len, step) = (i32::from(len), ty.bytes() as i32);
    (0..)
        .map(move |i| len - (i + 1) * step)
        .take_while(move |end| *end > -step)
        .map(move |start| (ty, start.max(0)))
}

/// Where a range of a linear memory starts.
#[derive(Copy, Clone)]
pub(super) struct Range {
    pub(super) memory: u32,
    /// Of the memory's index type.
    pub(super) start: Value,
}

impl Range {
    fn index(self) -> MemoryIndex {
        MemoryIndex::from_u32(self.memory)
    }
}

impl FuncTranslator<'_, '_> {
    /// `memory.copy`, of a length of 64 bits.
    pub(super) fn memory_copy(&mut self, dst: Range, src: Range, len: Value) {
        if let Some(len) = self.inline_length(len) {
            self.copy_inline(dst, src, len);
            return;
        }
        let slow = |t: &mut Self| {
            let (to, from) = (t.index_constant(dst.memory), t.index_constant(src.memory));
            let args = [to, t.start(dst), from, t.start(src), len];
            t.call_builtin(BuiltinFunctionIndex::memory_copy, &args);
        };
        self.in_bounds_or(&[dst, src], len, slow, |t| {
            let (dst, src) = (t.address_in_bounds(dst), t.address_in_bounds(src));
            t.call_leaf(BuiltinFunctionIndex::memory_move, &[dst, src, len]);
        });
    }

    /// `memory.fill`, of a length of 64 bits.
    pub(super) fn memory_fill(&mut self, dst: Range, value: Value, len: Value) {
        if let Some(len) = self.inline_length(len) {
            self.fill_inline(dst, value, len);
            return;
        }
        let slow = |t: &mut Self| {
            let memory = t.index_constant(dst.memory);
            let args = [memory, t.start(dst), value, len];
            t.call_builtin(BuiltinFunctionIndex::memory_fill, &args);
        };
        self.in_bounds_or(&[dst], len, slow, |t| {
            let dst = t.address_in_bounds(dst);
            t.call_leaf(BuiltinFunctionIndex::memory_set, &[dst, value, len]);
        });
    }

    /// A length that is constant, and short enough for loads and stores.
    fn inline_length(&self, len: Value) -> Option<u8> {
        let len = u8::try_from(self.integer_constant(len)?).ok()?;
        let most = match self.tunables().consume_fuel {
            true => MOST_FREE,
            false => MOST_INLINE,
        };
        (1..=most).contains(&len).then_some(len)
    }

    /// The value of a constant, perhaps extended without sign.
    fn integer_constant(&self, value: Value) -> Option<u64> {
        let dfg = &self.builder.func.dfg;
        let definition = |value| match dfg.value_def(dfg.resolve_aliases(value)) {
            ValueDef::Result(inst, _) => Some(dfg.insts[inst]),
            _ => None,
        };
        let constant = |data, mask: u64| match data {
            InstructionData::UnaryImm {
                opcode: Opcode::Iconst,
                imm,
            } => Some(imm.bits().cast_unsigned() & mask),
            _ => None,
        };
        match definition(value)? {
            InstructionData::Unary {
                opcode: Opcode::Uextend,
                arg,
            } => constant(definition(arg)?, u64::from(u32::MAX)),
            data => constant(data, u64::MAX),
        }
    }

    fn widest_part(&self) -> Type {
        match self.compiler.has_simd() {
            true => I8X16,
            false => I64,
        }
    }

    fn copy_inline(&mut self, dst: Range, src: Range, len: u8) {
        let widest = self.widest_part();
        let src = self.heap_address(src.index(), src.start, 0, len);
        let dst = self.heap_address(dst.index(), dst.start, 0, len);
        let at = |address: HeapAddress, start: i32| address.offset + start;
        let loaded: SmallVec<[(Value, i32); 8]> = parts(len, widest)
            .map(|(ty, start)| {
                let offset = at(src, start);
                let value = self.ins().load(ty, src.flags, src.base, offset);
                (value, start)
            })
            .collect();
        for (value, start) in loaded {
            let offset = at(dst, start);
            self.ins().store(dst.flags, value, dst.base, offset);
        }
    }

    fn fill_inline(&mut self, dst: Range, value: Value, len: u8) {
        let widest = self.widest_part();
        let dst = self.heap_address(dst.index(), dst.start, 0, len);
        let mut filled = None;
        for (ty, start) in parts(len, widest) {
            let filled = match filled {
                Some(filled) => filled,
                None => *filled.insert(self.repeat_byte(value, ty)),
            };
            let offset = dst.offset + start;
            self.ins().store(dst.flags, filled, dst.base, offset);
        }
    }

    /// A value of `ty` all bytes of which are the lowest of the 32-bit integer `value`.
    fn repeat_byte(&mut self, value: Value, ty: Type) -> Value {
        let constant = self.integer_constant(value).map(|value| value as u8);
        let repeated = |byte: u8| u64::from_ne_bytes([byte; 8]);
        if ty.is_vector() {
            let byte = match constant {
                Some(byte) => self.int_constant(I8, i64::from(byte)),
                None => self.ins().ireduce(I8, value),
            };
            return self.ins().splat(ty, byte);
        }
        if let Some(byte) = constant {
            let bits = repeated(byte) & (u64::MAX >> (64 - ty.bits()));
            return self.int_constant(ty, bits.cast_signed());
        }
        let byte = self.ins().ireduce(I8, value);
        if ty == I8 {
            return byte;
        }
        let byte = self.ins().uextend(ty, byte);
        let ones = repeated(1) & (u64::MAX >> (64 - ty.bits()));
        let ones = self.int_constant(ty, ones.cast_signed());
        self.ins().imul(byte, ones)
    }

    /// Does the work on ranges of `len` bytes: by `fast` if they are in bounds and the work can be done at once, and otherwise by
    /// `slow`, which traps or does it in parts.
    fn in_bounds_or(
        &mut self,
        ranges: &[Range],
        len: Value,
        slow: impl FnOnce(&mut Self),
        fast: impl FnOnce(&mut Self),
    ) {
        let memories = &self.translation.module.memories;
        let shared = ranges.iter().any(|range| memories[range.index()].shared);
        if shared || self.tunables().consume_fuel {
            slow(self);
            return;
        }
        let mut is_slow = None;
        for range in ranges {
            let is_out = self.is_range_out_of_bounds(*range, len);
            is_slow = Some(self.or(is_slow, is_out));
        }
        if self.tunables().epoch_interruption {
            let most = self.int_constant(I64, UNINTERRUPTED_BYTES.cast_signed());
            let is_long = self.ins().icmp(IntCC::UnsignedGreaterThan, len, most);
            is_slow = Some(self.or(is_slow, is_long));
        }
        let is_slow = is_slow.expect("there is a range");
        let [slow_block, fast_block, next] = [(); 3].map(|()| self.builder.create_block());
        self.builder.set_cold_block(slow_block);
        self.ins().brif(is_slow, slow_block, &[], fast_block, &[]);
        self.builder.seal_block(slow_block);
        self.builder.seal_block(fast_block);
        self.builder.switch_to_block(slow_block);
        slow(self);
        self.ins().jump(next, &[]);
        self.builder.switch_to_block(fast_block);
        fast(self);
        self.ins().jump(next, &[]);
        self.builder.seal_block(next);
        self.builder.switch_to_block(next);
    }

    fn or(&mut self, one: Option<Value>, other: Value) -> Value {
        match one {
            Some(one) => self.ins().bor(one, other),
            None => other,
        }
    }

    fn is_range_out_of_bounds(&mut self, range: Range, len: Value) -> Value {
        let start = self.start(range);
        let length = self.memory_length(range.index());
        match self.translation.module.memories[range.index()].idx_type {
            // The length of the range has no more bits than its start.
            IndexType::I32 => {
                let end = self.ins().iadd(start, len);
                self.ins().icmp(IntCC::UnsignedGreaterThan, end, length)
            }
            IndexType::I64 => {
                let is_longer = self.ins().icmp(IntCC::UnsignedGreaterThan, len, length);
                let last = self.ins().isub(length, len);
                let is_after = self.ins().icmp(IntCC::UnsignedGreaterThan, start, last);
                self.ins().bor(is_longer, is_after)
            }
        }
    }

    /// The start of a range as 64 bits.
    fn start(&mut self, range: Range) -> Value {
        let ty = self.translation.module.memories[range.index()].idx_type;
        self.extend_index(range.start, ty)
    }

    /// The address of the start of a range that is in bounds.
    fn address_in_bounds(&mut self, range: Range) -> Value {
        let start = self.start(range);
        let base = self.memory_base(range.index());
        self.ins().iadd(base, start)
    }

    /// Calls a builtin that neither fails nor looks at the stack, and has no result, in its native convention.
    fn call_leaf(&mut self, builtin: BuiltinFunctionIndex, args: &[Value]) {
        let signature = abi::builtin_native_signature(self.isa(), builtin);
        let mut all = SmallVec::<[Value; 8]>::new();
        all.push(self.vmctx);
        all.extend_from_slice(args);
        if self.compiler.is_bytecode() {
            call_host(
                &mut self.builder,
                HostCall::Builtin(builtin),
                signature,
                &all,
            );
            return;
        }
        let ptr = self.offsets.ptr;
        let builtins = self.load_context_word(ptr.vmctx_builtins());
        let callee = self.load_constant_pointer(builtins, ptr.builtin(builtin));
        let signature = self.builder.import_signature(signature);
        self.ins().call_indirect(signature, callee, &all);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_each_range_and_nothing_else() {
        for widest in [I8X16, I64] {
            for len in 1..=MOST_INLINE {
                let mut covered = vec![false; usize::from(len)];
                for (i, (ty, start)) in parts(len, widest).enumerate() {
                    let (start, bytes) = (start as usize, ty.bytes() as usize);
                    covered[start..start + bytes].fill(true);
                    assert!(i > 0 || start + bytes == usize::from(len));
                }
                assert!(covered.iter().all(|covered| *covered), "{len} {widest}");
            }
        }
    }
}
