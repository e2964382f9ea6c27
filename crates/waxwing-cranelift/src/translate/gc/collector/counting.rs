//! Deferred reference counting: references in objects, globals and tables are counted.
//!
//! None of the runtime's functions that are called here moves or frees anything.

use super::{Collector, Extent, Place, call_allocate};
use crate::translate::FuncTranslator;
use crate::translate::gc::types::Contents;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, Value, types as ir};
use waxwing_environ::gc::{
    GC_DRC_LISTED, GC_DRC_ONE, GC_DRC_STUCK, GC_HEADER_BITS, GC_REF_EXTERN_TAG, GC_REF_TAG_MASK,
};
use waxwing_environ::{BuiltinFunctionIndex, ModuleTypeIndex, WasmRefType};

pub(super) struct Counting;

/// Which way to count.
#[derive(Copy, Clone, PartialEq, Eq)]
enum Way {
    Up,
    Down,
}

impl Collector for Counting {
    fn allocate(
        &self,
        t: &mut FuncTranslator<'_, '_>,
        ty: ModuleTypeIndex,
        extent: Extent,
    ) -> Value {
        call_allocate(t, ty, extent)
    }

    fn initialize(&self, t: &mut FuncTranslator<'_, '_>, place: Place, value: Value) {
        count(t, value, place.ty, Way::Up);
        place.store(t, value);
    }

    fn write_object(
        &self,
        t: &mut FuncTranslator<'_, '_>,
        place: Place,
        value: Value,
        ty: WasmRefType,
        _start: Value,
    ) {
        self.write_root(t, place, value, ty);
    }

    fn write_root(
        &self,
        t: &mut FuncTranslator<'_, '_>,
        place: Place,
        value: Value,
        ty: WasmRefType,
    ) {
        let old = place.load(t);
        count(t, value, ty, Way::Up);
        place.store(t, value);
        count(t, old, place.ty, Way::Down);
    }
}

/// Counts a reference, which is of type `ty`, up or down.
fn count(t: &mut FuncTranslator<'_, '_>, reference: Value, ty: WasmRefType, way: Way) {
    let contents = Contents::of(ty.heap_type);
    if !contents.is_traced() {
        return;
    }
    let object = t.builder.create_block();
    let done = t.builder.create_block();
    if ty.nullable {
        let some = t.builder.create_block();
        t.ins().brif(reference, some, &[], done, &[]);
        t.builder.seal_block(some);
        t.builder.switch_to_block(some);
    }
    if contents.only_objects() {
        t.ins().jump(object, &[]);
    } else {
        let tagged = t.builder.create_block();
        let tag = t.ins().band_imm_u(reference, i64::from(GC_REF_TAG_MASK));
        t.ins().brif(tag, tagged, &[], object, &[]);
        t.builder.seal_block(tagged);
        t.builder.switch_to_block(tagged);
        if contents.host {
            count_host(t, reference, tag, way);
        }
        t.ins().jump(done, &[]);
    }
    t.builder.seal_block(object);
    t.builder.switch_to_block(object);
    count_object(t, reference, way);
    t.ins().jump(done, &[]);
    t.builder.seal_block(done);
    t.builder.switch_to_block(done);
}

/// Counts a reference that is not to an object, if it is to a value of the host.
fn count_host(t: &mut FuncTranslator<'_, '_>, reference: Value, tag: Value, way: Way) {
    let host = t.builder.create_block();
    let next = t.builder.create_block();
    let is_host = t
        .ins()
        .icmp_imm_u(IntCC::Equal, tag, i64::from(GC_REF_EXTERN_TAG));
    t.ins().brif(is_host, host, &[], next, &[]);
    t.builder.seal_block(host);
    t.builder.switch_to_block(host);
    let delta = match way {
        Way::Up => 1,
        Way::Down => u32::MAX,
    };
    let delta = t.index_constant(delta);
    t.call_builtin(BuiltinFunctionIndex::gc_count_extern, &[reference, delta]);
    t.ins().jump(next, &[]);
    t.builder.seal_block(next);
    t.builder.switch_to_block(next);
}

/// Counts a reference to an object.
fn count_object(t: &mut FuncTranslator<'_, '_>, object: Value, way: Way) {
    let address = t.object_address(object);
    let region = t.bits_region();
    let flags = t.flags(region);
    let offset = GC_HEADER_BITS as i32;
    let bits = t.ins().load(ir::I32, flags, address, offset);
    let stuck = i64::from(GC_DRC_STUCK);
    let is_stuck = t
        .ins()
        .icmp_imm_u(IntCC::UnsignedGreaterThanOrEqual, bits, stuck);
    let one = t.index_constant(GC_DRC_ONE);
    let counted = match way {
        Way::Up => t.ins().iadd(bits, one),
        Way::Down => t.ins().isub(bits, one),
    };
    let bits = t.ins().select(is_stuck, bits, counted);
    t.ins().store(flags, bits, address, offset);
    if way == Way::Up {
        return;
    }
    let list = t.builder.create_block();
    let next = t.builder.create_block();
    t.builder.set_cold_block(list);
    // A count of zero, of an object that is not listed.
    let mask = !(GC_DRC_ONE - 1) | GC_DRC_LISTED;
    let kept = t.ins().band_imm_u(bits, i64::from(mask));
    t.ins().brif(kept, next, &[], list, &[]);
    t.builder.seal_block(list);
    t.builder.switch_to_block(list);
    t.call_builtin(BuiltinFunctionIndex::gc_list, &[object]);
    t.ins().jump(next, &[]);
    t.builder.seal_block(next);
    t.builder.switch_to_block(next);
}
