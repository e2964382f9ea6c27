//! Objects of the GC heap, and references to them.
//!
//! No load from the heap is `readonly`, not even of what never changes: code motion could carry such a
//! load, and with it the bare reference that it goes through, across a call that moves the object. Alias
//! regions do instead: those of headers and lengths, that nothing stores to but allocation, and one for each
//! offset of fields, so that most later loads are found redundant until the next call.

mod arrays;
mod casts;
mod collector;
mod exceptions;
mod objects;
mod types;

pub(in crate::translate) use collector::Place;
pub(super) use types::{KNOWN_OPERANDS, needs_stack_maps};

use super::{FuncTranslator, Region};
use crate::abi::{self, POINTER};
use crate::traps::trap_code;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{Endianness, InstBuilder, MemFlagsData, Value, types as ir};
use wasmparser::Operator;
use waxwing_environ::compile::CompileError;
use waxwing_environ::gc::{GC_HEADER_TYPE_INDEX, GC_HEAP_NULL_GUARD, GcSlot};
use waxwing_environ::{
    BuiltinFunctionIndex, GcCollector, ModuleTypeIndex, StoreContextOffsets, Trap, TypeIndex,
    WasmRefType, WasmStorageType, WasmValType,
};

/// How a packed field is read.
#[derive(Copy, Clone)]
enum Extension {
    Signed,
    /// Also of fields that are not packed.
    Unsigned,
}

impl FuncTranslator<'_, '_> {
    pub(super) fn gc_operator(&mut self, op: &Operator<'_>) -> Result<bool, CompileError> {
        Ok(self.struct_operator(op)?
            || self.array_operator(op)?
            || self.cast_operator(op)?
            || self.i31_operator(op))
    }

    fn i31_operator(&mut self, op: &Operator<'_>) -> bool {
        match op {
            Operator::RefI31 => {
                let value = self.pop();
                let value = self.ins().ishl_imm_u(value, 1);
                let value = self.ins().bor_imm_u(value, 1);
                self.push(value);
            }
            Operator::I31GetS => {
                let value = self.pop_i31();
                let value = self.ins().sshr_imm_u(value, 1);
                self.push(value);
            }
            Operator::I31GetU => {
                let value = self.pop_i31();
                let value = self.ins().ushr_imm_u(value, 1);
                self.push(value);
            }
            Operator::RefEq => {
                let (a, b) = self.pop2();
                let equal = self.ins().icmp(IntCC::Equal, a, b);
                self.push_condition(equal);
            }
            // Both hierarchies have one representation.
            Operator::AnyConvertExtern | Operator::ExternConvertAny => {}
            _ => return false,
        }
        true
    }

    fn pop_i31(&mut self) -> Value {
        let value = self.pop();
        if self.operand_type(0).nullable {
            self.trapz(value, Trap::NullReference);
        }
        value
    }

    pub(super) fn type_at(&self, index: u32) -> ModuleTypeIndex {
        self.translation.types.by_index[TypeIndex::from_u32(index)]
    }

    /// The `EngineTypeIndex` of a type.
    pub(super) fn type_id(&mut self, ty: ModuleTypeIndex) -> Value {
        let type_ids = self.load_context_word(self.offsets.ptr.vmctx_type_ids());
        let flags = self.flags(Region::Context).with_readonly().with_can_move();
        let offset = ty.as_u32() as i32 * 4;
        self.ins().load(ir::I32, flags, type_ids, offset)
    }

    pub(super) fn store_context(&mut self) -> Value {
        self.load_context_word(self.offsets.ptr.vmctx_store_context())
    }

    /// The address of the GC heap.
    fn heap_base(&mut self) -> Value {
        let store_context = self.store_context();
        let offset = self.offsets.ptr.store_context_gc_heap();
        if self.translation.module.needs_gc_heap {
            return self.load_constant_pointer(store_context, offset);
        }
        // The module makes no objects, but may get some from others: then there is a heap.
        let flags = self.flags(Region::Context);
        self.load_word(flags, store_context, offset as i32)
    }

    /// The address of what is at a 32-bit offset in the heap.
    pub(super) fn object_address(&mut self, reference: Value) -> Value {
        let base = self.heap_base();
        let offset = self.ins().uextend(POINTER, reference);
        self.ins().iadd(base, offset)
    }

    /// Checks that a reference is not null, unless an access at `offset` in the object finds out:
    /// then it is to trap with what is returned.
    fn check_null(&mut self, reference: Value, ty: WasmRefType, offset: u32) -> Option<Trap> {
        if !ty.nullable {
            return None;
        }
        let reach = offset + GcSlot::Bits128.size();
        if self.tunables().signals_based_traps && reach <= GC_HEAP_NULL_GUARD {
            return Some(Trap::NullReference);
        }
        self.trapz(reference, Trap::NullReference);
        None
    }

    /// Flags of aligned accesses to an object.
    fn object_flags(&mut self, region: Region, trap: Option<Trap>) -> MemFlagsData {
        self.flags(region).with_trap_code(trap.map(trap_code))
    }

    /// Flags of accesses to a field or element of a type.
    fn slot_flags(
        &mut self,
        region: Region,
        ty: WasmStorageType,
        trap: Option<Trap>,
    ) -> MemFlagsData {
        let flags = self.object_flags(region, trap);
        if GcSlot::of_storage(ty) == GcSlot::Bits128 {
            // Objects are less aligned than vectors, whose lanes are in this order on every target.
            let plain = MemFlagsData::new()
                .with_endianness(Endianness::Little)
                .with_trap_code(flags.trap_code());
            return plain.with_alias_region(flags.alias_region());
        }
        flags
    }

    /// The alias region of the word of an object's header that has its kind. Collectors that change it in
    /// generated code do not write it there at once with the type index.
    fn bits_region(&self) -> Region {
        match self.tunables().collector {
            Some(GcCollector::DeferredReferenceCounting) => Region::GcBits,
            _ => Region::GcHeader,
        }
    }

    /// Loads the type index of an object.
    fn load_type_index(&mut self, reference: Value, trap: Option<Trap>) -> Value {
        let address = self.object_address(reference);
        let flags = self.object_flags(Region::GcHeader, trap);
        self.ins()
            .load(ir::I32, flags, address, GC_HEADER_TYPE_INDEX as i32)
    }

    /// Loads a field or element as a value.
    fn load_slot(
        &mut self,
        ty: WasmStorageType,
        extension: Extension,
        flags: MemFlagsData,
        address: Value,
        offset: u32,
    ) -> Value {
        let offset = offset as i32;
        match (ty, extension) {
            (WasmStorageType::I8, Extension::Signed) => {
                self.ins().sload8(ir::I32, flags, address, offset)
            }
            (WasmStorageType::I8, Extension::Unsigned) => {
                self.ins().uload8(ir::I32, flags, address, offset)
            }
            (WasmStorageType::I16, Extension::Signed) => {
                self.ins().sload16(ir::I32, flags, address, offset)
            }
            (WasmStorageType::I16, Extension::Unsigned) => {
                self.ins().uload16(ir::I32, flags, address, offset)
            }
            (WasmStorageType::Val(value), _) => match GcSlot::of_storage(ty) {
                GcSlot::FuncRef => {
                    let id = self.ins().load(ir::I32, flags, address, offset);
                    self.func_ref_of_id(id)
                }
                _ => {
                    let ty = abi::value_type(value);
                    self.ins().load(ty, flags, address, offset)
                }
            },
        }
    }

    /// Stores a value in its representation in the heap.
    fn store_slot(
        &mut self,
        ty: WasmStorageType,
        flags: MemFlagsData,
        value: Value,
        address: Value,
        offset: u32,
    ) {
        let offset = offset as i32;
        match ty {
            WasmStorageType::I8 => self.ins().istore8(flags, value, address, offset),
            WasmStorageType::I16 => self.ins().istore16(flags, value, address, offset),
            WasmStorageType::Val(_) => self.ins().store(flags, value, address, offset),
        };
    }

    /// A value in its representation in the heap.
    fn heap_value(&mut self, value: Value, ty: WasmStorageType) -> Value {
        match GcSlot::of_storage(ty) {
            GcSlot::FuncRef => self.id_of_func_ref(value, is_nullable(ty)),
            _ => self.canonical(value),
        }
    }

    /// The function that an identity in the heap stands for.
    fn func_ref_of_id(&mut self, id: Value) -> Value {
        let ptr = self.offsets.ptr;
        let store_context = self.store_context();
        let flags = self.flags(Region::Context);
        let offset = ptr.store_context_gc_funcs_len() as i32;
        let len = self.load_word(flags, store_context, offset);
        let offset = ptr.store_context_gc_funcs() as i32;
        let funcs = self.load_word(flags, store_context, offset);
        let id = self.ins().uextend(POINTER, id);
        let known = self.ins().icmp(IntCC::UnsignedLessThan, id, len);
        // Whatever the word is, it becomes a function of the store or null.
        let load = self.builder.create_block();
        let done = self.builder.create_block();
        let result = self.builder.append_block_param(done, POINTER);
        let null = self.ins().iconst(POINTER, 0);
        self.ins().brif(known, load, &[], done, &[null.into()]);
        self.builder.seal_block(load);
        self.builder.switch_to_block(load);
        let shift = i64::from(ptr.size().trailing_zeros());
        let offset = self.ins().ishl_imm_u(id, shift);
        let entry = self.ins().iadd(funcs, offset);
        let func = self.load_word(flags, entry, 0);
        self.ins().jump(done, &[func.into()]);
        self.builder.seal_block(done);
        self.builder.switch_to_block(done);
        result
    }

    /// What stands for a function in the heap.
    fn id_of_func_ref(&mut self, func: Value, nullable: bool) -> Value {
        let done = self.builder.create_block();
        let result = self.builder.append_block_param(done, ir::I32);
        if nullable {
            let some = self.builder.create_block();
            let zero = self.ins().iconst(ir::I32, 0);
            self.ins().brif(func, some, &[], done, &[zero.into()]);
            self.builder.seal_block(some);
            self.builder.switch_to_block(some);
        }
        let unknown = self.builder.create_block();
        self.builder.set_cold_block(unknown);
        let flags = self.flags(Region::Context);
        let offset = self.offsets.ptr.func_ref_gc_id() as i32;
        let id = self.ins().load(ir::I32, flags, func, offset);
        self.ins().brif(id, done, &[id.into()], unknown, &[]);
        self.builder.seal_block(unknown);
        self.builder.switch_to_block(unknown);
        let builtin = BuiltinFunctionIndex::gc_intern_func_ref;
        let id = self.call_builtin_value(builtin, &[func]);
        self.ins().jump(done, &[id.into()]);
        self.builder.seal_block(done);
        self.builder.switch_to_block(done);
        result
    }

    /// Whether a value is known to be all zero bits.
    fn is_zero(&self, value: Value) -> bool {
        use cranelift_codegen::ir::InstructionData as I;
        let dfg = &self.builder.func.dfg;
        let Some(inst) = dfg.value_def(value).inst() else {
            return false;
        };
        match dfg.insts[inst] {
            I::UnaryImm { imm, .. } => imm.bits() == 0,
            I::UnaryIeee32 { imm, .. } => imm.bits() == 0,
            I::UnaryIeee64 { imm, .. } => imm.bits() == 0,
            _ => false,
        }
    }

    /// Initialises a field or element of a new object, whose memory is zero, with a value in its
    /// representation in the heap.
    fn initialize_slot(
        &mut self,
        ty: WasmStorageType,
        region: Region,
        value: Value,
        address: Value,
        offset: u32,
    ) {
        if self.is_zero(value) {
            return;
        }
        let flags = self.slot_flags(region, ty, None);
        match traced_type(ty) {
            Some(reference) => {
                let place = Place::new(address, offset, flags, reference);
                self.collector().initialize(self, place, value);
            }
            None => self.store_slot(ty, flags, value, address, offset),
        }
    }

    /// Writes a field or element at `offset` from `address`, which is `start` in the heap. The value, in its
    /// representation in the heap, has the type `value_type` if it is a reference.
    #[expect(clippy::too_many_arguments, reason = "a place and what is put there")]
    fn write_slot(
        &mut self,
        ty: WasmStorageType,
        flags: MemFlagsData,
        value: Value,
        value_type: WasmRefType,
        address: Value,
        offset: u32,
        start: Value,
    ) {
        match traced_type(ty) {
            Some(reference) => {
                let place = Place::new(address, offset, flags, reference);
                let collector = self.collector();
                collector.write_object(self, place, value, value_type, start);
            }
            None => self.store_slot(ty, flags, value, address, offset),
        }
    }
}

/// The type of a field, if the collector traces it.
fn traced_type(ty: WasmStorageType) -> Option<WasmRefType> {
    match ty {
        WasmStorageType::Val(WasmValType::Ref(ty))
            if types::Contents::of(ty.heap_type).is_traced() =>
        {
            Some(ty)
        }
        _ => None,
    }
}

fn is_nullable(ty: WasmStorageType) -> bool {
    match ty {
        WasmStorageType::Val(WasmValType::Ref(ty)) => ty.nullable,
        _ => false,
    }
}
