//! What generated code does for a collector.

mod copying;
mod counting;
mod null;

use super::super::{FuncTranslator, Region};
use super::types::Contents;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{Endianness, InstBuilder, MemFlagsData, Value, types as ir};
use waxwing_environ::gc::{
    GC_ARRAY_LENGTH, GC_EXN_TAG, GC_HEADER_TYPE_INDEX, GC_KIND_ARRAY, GC_KIND_EXN, GC_KIND_STRUCT,
    GC_MAX_OBJECT_SIZE, GC_OBJECT_ALIGN, GcArrayLayout,
};
use waxwing_environ::{
    BuiltinFunctionIndex, GcCollector, ModuleTypeIndex, StoreContextOffsets, TagIndex, WasmRefType,
};

/// Where a reference is stored.
#[derive(Copy, Clone)]
pub(in crate::translate) struct Place {
    address: Value,
    offset: i32,
    flags: MemFlagsData,
    /// The type of what can be there.
    ty: WasmRefType,
}

impl Place {
    pub(in crate::translate) fn new(
        address: Value,
        offset: u32,
        flags: MemFlagsData,
        ty: WasmRefType,
    ) -> Place {
        Place {
            address,
            offset: offset as i32,
            flags,
            ty,
        }
    }

    fn load(self, t: &mut FuncTranslator<'_, '_>) -> Value {
        t.ins().load(ir::I32, self.flags, self.address, self.offset)
    }

    fn store(self, t: &mut FuncTranslator<'_, '_>, value: Value) {
        t.ins().store(self.flags, value, self.address, self.offset);
    }
}

/// How large a new object is.
#[derive(Copy, Clone)]
pub(in crate::translate) enum Extent {
    /// A struct of so many bytes.
    Struct(u32),
    /// An array of so many elements.
    Array(GcArrayLayout, Value),
    /// An exception with this tag, of so many bytes.
    Exception(TagIndex, u32),
}

/// The code that a collector wants where objects are made and references stored.
pub(in crate::translate) trait Collector {
    /// A new object, its memory zero after the header.
    fn allocate(
        &self,
        t: &mut FuncTranslator<'_, '_>,
        ty: ModuleTypeIndex,
        extent: Extent,
    ) -> Value;

    /// Stores a reference to an object that was made after the last call.
    fn initialize(&self, t: &mut FuncTranslator<'_, '_>, place: Place, value: Value);

    /// Stores a reference, of type `ty`, to an object. `start` is the offset in the heap of the place's
    /// address, 32 bits.
    fn write_object(
        &self,
        t: &mut FuncTranslator<'_, '_>,
        place: Place,
        value: Value,
        ty: WasmRefType,
        start: Value,
    );

    /// Stores a reference, of type `ty`, to a global or table.
    fn write_root(
        &self,
        t: &mut FuncTranslator<'_, '_>,
        place: Place,
        value: Value,
        ty: WasmRefType,
    );
}

impl FuncTranslator<'_, '_> {
    pub(in crate::translate) fn collector(&self) -> &'static dyn Collector {
        match self.tunables().collector {
            Some(GcCollector::Copying) => &copying::Copying,
            Some(GcCollector::DeferredReferenceCounting) => &counting::Counting,
            // Without a collector there are values of the host alone.
            Some(GcCollector::Null) | None => &null::Null,
        }
    }

    /// A new object of a type.
    pub(super) fn allocate(&mut self, ty: ModuleTypeIndex, extent: Extent) -> Value {
        let collector = self.collector();
        let object = collector.allocate(self, ty, extent);
        if self.tracks {
            self.builder.declare_value_needs_stack_map(object);
        }
        object
    }
}

/// Has the runtime make an object.
fn call_allocate(t: &mut FuncTranslator<'_, '_>, ty: ModuleTypeIndex, extent: Extent) -> Value {
    let ty = t.index_constant(ty.as_u32());
    match extent {
        Extent::Struct(_) => t.call_builtin_value(BuiltinFunctionIndex::gc_alloc_struct, &[ty]),
        Extent::Array(_, len) => {
            t.call_builtin_value(BuiltinFunctionIndex::gc_alloc_array, &[ty, len])
        }
        Extent::Exception(tag, _) => {
            let tag = t.index_constant(tag.as_u32());
            t.call_builtin_value(BuiltinFunctionIndex::gc_alloc_exn, &[tag])
        }
    }
}

/// Makes an object at the heap's `gc_next`, or has the runtime do it if there is no room.
fn bump_allocate(t: &mut FuncTranslator<'_, '_>, ty: ModuleTypeIndex, extent: Extent) -> Value {
    let slow = t.builder.create_block();
    let fast = t.builder.create_block();
    let done = t.builder.create_block();
    let object = t.builder.append_block_param(done, ir::I32);
    t.builder.set_cold_block(slow);

    let (kind, size) = match extent {
        Extent::Struct(size) => (GC_KIND_STRUCT, t.index_constant(size)),
        Extent::Exception(_, size) => (GC_KIND_EXN, t.index_constant(size)),
        Extent::Array(layout, len) => {
            let most = (GC_MAX_OBJECT_SIZE - layout.base) / layout.slot.size();
            let too_long = t
                .ins()
                .icmp_imm_u(IntCC::UnsignedGreaterThan, len, i64::from(most));
            let short = t.builder.create_block();
            t.ins().brif(too_long, slow, &[], short, &[]);
            t.builder.seal_block(short);
            t.builder.switch_to_block(short);
            (GC_KIND_ARRAY, array_size(t, layout, len))
        }
    };
    let ptr = t.offsets.ptr;
    let store_context = t.store_context();
    let flags = t.flags(Region::GcNext);
    let offset = ptr.store_context_gc_next() as i32;
    let next = t.ins().load(ir::I32, flags, store_context, offset);
    let end_offset = ptr.store_context_gc_end() as i32;
    let end = t.ins().load(ir::I32, flags, store_context, end_offset);
    // Sizes are far below 2^32, and `gc_next` is never beyond `gc_end`.
    let room = t.ins().isub(end, next);
    let too_large = t.ins().icmp(IntCC::UnsignedGreaterThan, size, room);
    t.ins().brif(too_large, slow, &[], fast, &[]);
    t.builder.seal_block(fast);
    t.builder.seal_block(slow);

    t.builder.switch_to_block(fast);
    let new_next = t.ins().iadd(next, size);
    t.ins().store(flags, new_next, store_context, offset);
    let address = t.object_address(next);
    store_header(t, address, ty, kind);
    match extent {
        Extent::Struct(_) => {}
        Extent::Array(_, len) => {
            let flags = t.flags(Region::GcLength);
            t.ins().store(flags, len, address, GC_ARRAY_LENGTH as i32);
        }
        Extent::Exception(tag, _) => {
            let id = t.tag_id(tag);
            let flags = t.flags(Region::GcHeader);
            t.ins().store(flags, id, address, GC_EXN_TAG as i32);
        }
    }
    t.ins().jump(done, &[next.into()]);

    t.builder.switch_to_block(slow);
    let other = call_allocate(t, ty, extent);
    t.ins().jump(done, &[other.into()]);
    t.builder.seal_block(done);
    t.builder.switch_to_block(done);
    object
}

/// The size in bytes of an array whose length is small enough for it not to overflow.
fn array_size(t: &mut FuncTranslator<'_, '_>, layout: GcArrayLayout, len: Value) -> Value {
    let element = layout.slot.size();
    let shift = i64::from(element.trailing_zeros());
    let size = t.ins().ishl_imm_u(len, shift);
    if element.is_multiple_of(GC_OBJECT_ALIGN) && layout.base.is_multiple_of(GC_OBJECT_ALIGN) {
        return t.ins().iadd_imm_u(size, i64::from(layout.base));
    }
    let round = layout.base + GC_OBJECT_ALIGN - 1;
    let size = t.ins().iadd_imm_u(size, i64::from(round));
    let mask = !(GC_OBJECT_ALIGN - 1);
    t.ins().band_imm_u(size, i64::from(mask))
}

/// Writes the header of an object, type index and bits at once.
fn store_header(t: &mut FuncTranslator<'_, '_>, address: Value, ty: ModuleTypeIndex, bits: u32) {
    let type_index = t.type_id(ty);
    let type_index = t.ins().uextend(ir::I64, type_index);
    let bits = u64::from(bits);
    let (type_index, bits) = match t.isa().endianness() {
        Endianness::Little => (type_index, bits << 32),
        Endianness::Big => (t.ins().ishl_imm_u(type_index, 32), bits),
    };
    let bits = t.ins().iconst(ir::I64, bits.cast_signed());
    let header = t.ins().bor(type_index, bits);
    let flags = t.flags(Region::GcHeader);
    t.ins()
        .store(flags, header, address, GC_HEADER_TYPE_INDEX as i32);
}

/// Whether a reference of a type can be to what the collector cares for.
fn is_traced(ty: WasmRefType) -> bool {
    Contents::of(ty.heap_type).is_traced()
}
