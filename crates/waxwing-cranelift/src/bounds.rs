//! Addresses in linear memories, checked to be in bounds.

use crate::abi::POINTER;
use crate::translate::{FuncTranslator, Region};
use crate::traps::trap_code;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{
    Endianness, InstBuilder, InstructionData, MemFlagsData, Value, ValueDef, types,
};
use waxwing_environ::{IndexType, Memory, MemoryIndex, Trap};

/// Where and how to access a linear memory.
#[derive(Copy, Clone)]
pub(crate) struct HeapAddress {
    /// The address.
    pub(crate) base: Value,
    /// What the access adds to it.
    pub(crate) offset: i32,
    /// The flags of the access.
    pub(crate) flags: MemFlagsData,
}

impl FuncTranslator<'_, '_> {
    /// The address of `size` bytes at `index + offset` of a memory. It is checked to be in
    /// bounds here, or the access itself traps when it is not.
    pub(crate) fn heap_address(
        &mut self,
        index: MemoryIndex,
        position: Value,
        offset: u64,
        size: u8,
    ) -> HeapAddress {
        let memory = self.translation.module.memories[index];
        // No access reaches 2^64: an offset that does is out of bounds anyway.
        let reach = offset.saturating_add(u64::from(size));
        let trap = Some(trap_code(Trap::MemoryOutOfBounds));
        let region = self.flags(Region::Heap).alias_region();
        let flags = MemFlagsData::new()
            .with_endianness(Endianness::Little)
            .with_alias_region(region)
            .with_trap_code(trap);

        if memory.can_elide_bounds_check(self.tunables(), reach) {
            if let Some(constant) = self.constant_position(position, memory.idx_type)
                && let Some(offset) = constant.checked_add(offset)
                && let Ok(offset) = i32::try_from(offset)
            {
                return HeapAddress {
                    base: self.memory_base(index),
                    offset,
                    flags,
                };
            }
            let base = match memory.never_moves(self.tunables()) {
                true => {
                    self.address_once(index, position, |t| t.unchecked_address(index, position))
                }
                false => self.unchecked_address(index, position),
            };
            return match i32::try_from(offset) {
                Ok(offset) => HeapAddress {
                    base,
                    offset,
                    flags,
                },
                Err(_) => HeapAddress {
                    base: self.add_offset(base, offset),
                    offset: 0,
                    flags,
                },
            };
        }

        let position = self.extend_index(position, memory.idx_type);
        let is_out = self.is_out_of_bounds(index, &memory, position, reach);
        if self.compiler.is_bytecode() {
            let start = self.memory_base(index);
            let base = self.ins().iadd(start, position);
            let base = self.add_offset(base, offset);
            let base = if self.has_checked_access(index, &memory, offset, reach) {
                let null = self.int_constant(POINTER, 0);
                self.ins().select(is_out, null, base)
            } else {
                self.trapnz(is_out, Trap::MemoryOutOfBounds);
                base
            };
            return HeapAddress {
                base,
                offset: 0,
                flags,
            };
        }
        let signals = self.tunables().signals_based_traps;
        let spectre = self.isa().flags().enable_heap_access_spectre_mitigation();
        let flags = if signals { flags } else { flags.with_notrap() };
        if !(signals && spectre) {
            self.trapnz(is_out, Trap::MemoryOutOfBounds);
        }
        let start = self.memory_base(index);
        let base = self.ins().iadd(start, position);
        let base = self.add_offset(base, offset);
        let base = if spectre {
            // Out of bounds, even in speculation, there is only address zero, where accesses
            // trap.
            let null = self.int_constant(POINTER, 0);
            self.ins().select_spectre_guard(is_out, null, base)
        } else {
            base
        };
        HeapAddress {
            base,
            offset: 0,
            flags,
        }
    }

    /// The position in a memory that is a constant, if it is.
    fn constant_position(&self, position: Value, ty: IndexType) -> Option<u64> {
        let dfg = &self.builder.func.dfg;
        let ValueDef::Result(inst, _) = dfg.value_def(position) else {
            return None;
        };
        match (&dfg.insts[inst], ty) {
            (InstructionData::UnaryImm { imm, .. }, IndexType::I32) => {
                Some(u64::from(imm.bits() as u32))
            }
            (InstructionData::UnaryImm { imm, .. }, IndexType::I64) => {
                Some(imm.bits().cast_unsigned())
            }
            _ => None,
        }
    }

    /// The address of the byte at a position of a memory.
    fn unchecked_address(&mut self, index: MemoryIndex, position: Value) -> Value {
        let position = match self.translation.module.memories[index].idx_type {
            IndexType::I32 => self.extend_once(position),
            IndexType::I64 => position,
        };
        let start = self.memory_base(index);
        self.ins().iadd(start, position)
    }

    /// Whether Pulley has an instruction that checks the bounds of an access and does it. It is found by
    /// its form, an access to an address that is null when it is out of bounds.
    fn has_checked_access(
        &mut self,
        index: MemoryIndex,
        memory: &Memory,
        offset: u64,
        reach: u64,
    ) -> bool {
        memory.idx_type == IndexType::I32
            && self.isa().pointer_type() == POINTER
            && offset <= u16::MAX.into()
            && memory.minimum_byte_size().is_some_and(|min| reach <= min)
            && self.constant_length(index).is_none()
    }

    /// Whether an access that ends `reach` bytes after `position` is out of bounds, up to what
    /// guard pages catch.
    fn is_out_of_bounds(
        &mut self,
        index: MemoryIndex,
        memory: &Memory,
        position: Value,
        reach: u64,
    ) -> Value {
        let tunables = self.tunables();
        if reach > memory.maximum_byte_size() {
            return self.int_constant(types::I8, 1);
        }
        let length = self.memory_length(index);
        // The memory ends at a page of the host, and inaccessible pages follow.
        if tunables.signals_based_traps
            && memory.page_size_log2 >= 16
            && reach <= tunables.memory_guard_size
        {
            return self
                .ins()
                .icmp(IntCC::UnsignedGreaterThan, position, length);
        }
        if memory.minimum_byte_size().is_some_and(|min| reach <= min) {
            let last = self.constant(reach);
            let last = self.ins().isub(length, last);
            return self.ins().icmp(IntCC::UnsignedGreaterThan, position, last);
        }
        match memory.idx_type {
            // A 32-bit position plus what fits in a memory does not overflow.
            IndexType::I32 => {
                let end = self.add_offset(position, reach);
                self.ins().icmp(IntCC::UnsignedGreaterThan, end, length)
            }
            IndexType::I64 => {
                let reach = self.constant(reach);
                let too_short = self.ins().icmp(IntCC::UnsignedLessThan, length, reach);
                let last = self.ins().isub(length, reach);
                let after = self.ins().icmp(IntCC::UnsignedGreaterThan, position, last);
                self.ins().bor(too_short, after)
            }
        }
    }

    fn constant(&mut self, value: u64) -> Value {
        self.int_constant(POINTER, value.cast_signed())
    }

    fn add_offset(&mut self, base: Value, offset: u64) -> Value {
        if offset == 0 {
            return base;
        }
        let offset = self.constant(offset);
        self.ins().iadd(base, offset)
    }

    /// An index of a memory or table as 64 bits.
    pub(crate) fn extend_index(&mut self, index: Value, ty: IndexType) -> Value {
        match ty {
            IndexType::I32 => self.ins().uextend(types::I64, index),
            IndexType::I64 => index,
        }
    }

    /// A 64-bit size as a value of an index type; -1 stays -1.
    pub(crate) fn reduce_index(&mut self, size: Value, ty: IndexType) -> Value {
        match ty {
            IndexType::I32 => self.ins().ireduce(types::I32, size),
            IndexType::I64 => size,
        }
    }

    /// Where the `VMMemoryDefinition` of a memory is.
    fn memory_definition(&mut self, index: MemoryIndex) -> (Value, i32) {
        let module = &self.translation.module;
        match module.defined_memory_index(index) {
            Some(defined) if module.memories[index].shared => {
                let offset = self.offsets.shared_memory_pointer(defined);
                (self.load_context_word(offset), 0)
            }
            Some(defined) => (self.vmctx, self.offsets.memory_definition(defined) as i32),
            None => {
                let offset = self.offsets.memory_import(index);
                let offset = offset + self.offsets.ptr.memory_import_from();
                (self.load_context_word(offset), 0)
            }
        }
    }

    /// The address of the first byte of a memory.
    pub(crate) fn memory_base(&mut self, index: MemoryIndex) -> Value {
        let (definition, offset) = self.memory_definition(index);
        let offset = offset + self.offsets.ptr.memory_definition_base() as i32;
        let flags = self.flags(Region::Context);
        if self.translation.module.memories[index].never_moves(self.tunables()) {
            let flags = flags.with_readonly().with_can_move();
            self.load_pointer_once(flags, definition, offset)
        } else {
            self.load_word(flags, definition, offset)
        }
    }

    /// The length of a memory in bytes, to check bounds with.
    ///
    /// That of a shared memory may be an earlier one: it only grows, and an access that is not
    /// synchronised with the growth may still be out of bounds. The load is of an aligned word, so
    /// that it gives one of the lengths that there were.
    pub(crate) fn memory_length(&mut self, index: MemoryIndex) -> Value {
        if let Some(length) = self.constant_length(index) {
            return length;
        }
        let (definition, offset) = self.memory_definition(index);
        let offset = offset + self.offsets.ptr.memory_definition_current_length() as i32;
        let flags = self.flags(Region::Context);
        self.load_word(flags, definition, offset)
    }

    /// The length of a memory in bytes, that of a shared one in order with all atomic accesses.
    pub(crate) fn memory_length_in_order(&mut self, index: MemoryIndex) -> Value {
        if !self.translation.module.memories[index].shared {
            return self.memory_length(index);
        }
        if let Some(length) = self.constant_length(index) {
            return length;
        }
        let (definition, offset) = self.memory_definition(index);
        let offset = offset as u32 + self.offsets.ptr.memory_definition_current_length();
        let address = self.add_offset(definition, offset.into());
        let flags = self.flags(Region::Context);
        if self.offsets.ptr.size() == 4 {
            let length = self.atomic_load(types::I32, flags, address);
            return self.ins().uextend(POINTER, length);
        }
        self.atomic_load(POINTER, flags, address)
    }

    /// The length of a memory that cannot grow.
    fn constant_length(&mut self, index: MemoryIndex) -> Option<Value> {
        let memory = self.translation.module.memories[index];
        let min = memory.minimum_byte_size()?;
        (memory.limits.max == Some(memory.limits.min)).then(|| self.constant(min))
    }
}
