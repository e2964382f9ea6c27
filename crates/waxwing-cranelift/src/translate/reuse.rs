//! Values that are made once in a function.
//!
//! Cranelift's optimiser finds computations that are the same, and places what is left of them where it is used. It looks at
//! each instruction for that, and constants, the bases of memories and addresses are most of all instructions. Those that the
//! translator does not make again are not looked at.
//!
//! What is the same in all of the function is made at the end of the entry block, from where the optimiser takes it. Without
//! the optimiser it would stay there and be kept in registers, so that there every value is made where it is used.

use super::{FuncTranslator, REGION_KINDS, Region};
use crate::abi::POINTER;
use cranelift_codegen::ir::immediates::{Imm64, Offset32};
use cranelift_codegen::ir::{
    AliasRegion, Block, InstBuilder, InstructionData, MemFlagsData, Opcode, Type, Value, types,
};
use cranelift_codegen::packed_option::PackedOption;
use waxwing_environ::MemoryIndex;

/// Of so many constants, the last ones of each remainder are remembered.
const CONSTANTS: usize = 256;
/// Likewise of pointers.
const POINTERS: usize = 16;
/// Likewise of addresses.
const ADDRESSES: usize = 32;

/// The type and bits of a constant.
type ConstantKey = (Option<Type>, i64);

/// A value that there is in functions of one number.
#[derive(Copy, Clone, Default)]
struct Remembered<K> {
    /// The function, or part of one.
    scope: u32,
    key: K,
    value: PackedOption<Value>,
}

impl<K: PartialEq> Remembered<K> {
    fn get(&self, scope: u32, key: &K) -> Option<Value> {
        match self.scope == scope && self.key == *key {
            true => self.value.expand(),
            false => None,
        }
    }
}

/// The values that a function has already.
pub(super) struct Reuse {
    /// The number of the function.
    function: u32,
    constants: Box<[Remembered<ConstantKey>; CONSTANTS]>,
    /// By what they are loaded from.
    pointers: [Remembered<(u32, i32)>; POINTERS],
    /// By memory and index, in the current block and those that follow it alone.
    addresses: [Remembered<(u32, u32)>; ADDRESSES],
    /// Values extended to 64 bits, in the same scope.
    extensions: [Remembered<u32>; ADDRESSES],
    /// The number of the scope of addresses.
    scope: u32,
    /// The last block of that scope.
    block: PackedOption<Block>,
    regions: [PackedOption<AliasRegion>; REGION_KINDS],
}

impl Default for Reuse {
    fn default() -> Self {
        Reuse {
            function: 0,
            constants: Box::new([Remembered::default(); CONSTANTS]),
            pointers: Default::default(),
            addresses: Default::default(),
            extensions: Default::default(),
            scope: 0,
            block: None.into(),
            regions: Default::default(),
        }
    }
}

impl Reuse {
    /// Forgets all, for the next function.
    pub(super) fn clear(&mut self) {
        if self.function == u32::MAX || self.scope == u32::MAX {
            *self = Reuse::default();
        }
        self.function += 1;
        self.next_scope(None);
        self.regions = Default::default();
    }

    fn next_scope(&mut self, block: Option<Block>) {
        match self.scope.checked_add(1) {
            Some(scope) => self.scope = scope,
            None => {
                self.scope = 1;
                self.addresses = Default::default();
                self.extensions = Default::default();
            }
        }
        self.block = block.into();
    }
}

impl FuncTranslator<'_, '_> {
    /// A constant of an integer type: its bits, without a sign.
    pub(crate) fn int_constant(&mut self, ty: Type, bits: i64) -> Value {
        if !self.compiler.optimizes() {
            return self.ins().iconst(ty, bits);
        }
        let key = (Some(ty), bits);
        let mixed = bits ^ (bits >> 8) ^ i64::from(ty.bits());
        let slot = mixed as usize % CONSTANTS;
        let function = self.reuse.function;
        if let Some(value) = self.reuse.constants[slot].get(function, &key) {
            return value;
        }
        let data = InstructionData::UnaryImm {
            opcode: Opcode::Iconst,
            imm: Imm64::new(bits),
        };
        let value = self.in_entry(data, ty);
        self.reuse.constants[slot] = Remembered {
            scope: function,
            key,
            value: value.into(),
        };
        value
    }

    /// Loads a pointer at `offset` in `base`, which is the vmctx or was loaded by this function, with flags by which the load
    /// can be anywhere.
    pub(crate) fn load_pointer_once(
        &mut self,
        flags: MemFlagsData,
        base: Value,
        offset: i32,
    ) -> Value {
        debug_assert!(flags.readonly() && flags.can_move() && flags.notrap());
        if !self.compiler.optimizes() || self.offsets.ptr.size() != 8 {
            return self.load_word(flags, base, offset);
        }
        let key = (base.as_u32(), offset);
        let slot = (base.as_u32() as usize ^ (offset as usize / 8)) % POINTERS;
        let function = self.reuse.function;
        if let Some(value) = self.reuse.pointers[slot].get(function, &key) {
            return value;
        }
        let set = &mut self.builder.func.dfg.mem_flags;
        let flags = set
            .insert(flags)
            .expect("a function has few kinds of accesses");
        let data = InstructionData::Load {
            opcode: Opcode::Load,
            flags,
            offset: Offset32::new(offset),
            arg: base,
        };
        let value = self.in_entry(data, POINTER);
        self.reuse.pointers[slot] = Remembered {
            scope: function,
            key,
            value: value.into(),
        };
        value
    }

    /// Makes an instruction in the entry block, whose value all that follows can use.
    fn in_entry(&mut self, data: InstructionData, ty: Type) -> Value {
        let location = self.builder.srcloc();
        let is_in_entry = self.builder.current_block() == Some(self.entry);
        if is_in_entry {
            self.builder.ensure_inserted_block();
        }
        let func = &mut self.builder.func;
        let inst = func.dfg.make_inst(data);
        func.dfg.make_inst_results(inst, ty);
        match func.layout.last_inst(self.entry) {
            Some(last) if !is_in_entry => func.layout.insert_inst(inst, last),
            _ => func.layout.append_inst(inst, self.entry),
        }
        func.set_srcloc(inst, location);
        func.dfg.first_result(inst)
    }

    /// The address of the byte at an index, not extended yet, of a memory whose base is the same for ever.
    pub(crate) fn address_once(
        &mut self,
        memory: MemoryIndex,
        index: Value,
        make: impl FnOnce(&mut Self) -> Value,
    ) -> Value {
        if !self.compiler.optimizes() {
            return make(self);
        }
        let scope = self.scope();
        let key = (memory.as_u32(), index.as_u32());
        let slot = index.as_u32() as usize % ADDRESSES;
        if let Some(value) = self.reuse.addresses[slot].get(scope, &key) {
            return value;
        }
        let value = make(self);
        self.reuse.addresses[slot] = Remembered {
            scope,
            key,
            value: value.into(),
        };
        value
    }

    /// A 32-bit value extended to 64 bits with zeros.
    pub(crate) fn extend_once(&mut self, value: Value) -> Value {
        if !self.compiler.optimizes() {
            return self.ins().uextend(types::I64, value);
        }
        let scope = self.scope();
        let key = value.as_u32();
        let slot = key as usize % ADDRESSES;
        if let Some(value) = self.reuse.extensions[slot].get(scope, &key) {
            return value;
        }
        let value = self.ins().uextend(types::I64, value);
        self.reuse.extensions[slot] = Remembered {
            scope,
            key,
            value: value.into(),
        };
        value
    }

    /// The number of what is now the scope of addresses.
    fn scope(&mut self) -> u32 {
        let block = self.builder.current_block();
        if self.reuse.block.expand() != block {
            self.reuse.next_scope(block);
        }
        self.reuse.scope
    }

    /// Says that the only way to `next`, which becomes the current block, is from the end of the current one.
    pub(super) fn extend_scope(&mut self, next: Block) {
        if self.reuse.block.expand() == self.builder.current_block() {
            self.reuse.block = next.into();
        }
    }

    pub(super) fn region(&mut self, region: Region) -> AliasRegion {
        let kind = region.kind();
        if let Some(found) = kind.and_then(|kind| self.reuse.regions[kind].expand()) {
            return found;
        }
        let inserted = self.builder.func.dfg.alias_regions.insert(region.data());
        if let Some(kind) = kind {
            self.reuse.regions[kind] = inserted.into();
        }
        inserted
    }
}
