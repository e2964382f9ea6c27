//! A generational collector: it has to know of the objects that were made long ago and get
//! references to ones that were not.

use super::{Collector, Extent, Place, bump_allocate, is_traced};
use crate::translate::FuncTranslator;
use cranelift_codegen::ir::{InstBuilder, Value, types as ir};
use waxwing_environ::gc::{GC_COPYING_NO_BARRIER, GC_HEADER_BITS};
use waxwing_environ::{BuiltinFunctionIndex, ModuleTypeIndex, WasmRefType};

pub(super) struct Copying;

impl Collector for Copying {
    fn allocate(
        &self,
        t: &mut FuncTranslator<'_, '_>,
        ty: ModuleTypeIndex,
        extent: Extent,
    ) -> Value {
        bump_allocate(t, ty, extent, GC_COPYING_NO_BARRIER)
    }

    fn initialize(&self, t: &mut FuncTranslator<'_, '_>, place: Place, value: Value) {
        place.store(t, value);
    }

    fn write_object(
        &self,
        t: &mut FuncTranslator<'_, '_>,
        place: Place,
        value: Value,
        ty: WasmRefType,
        holder: Value,
    ) {
        place.store(t, value);
        if !is_traced(ty) {
            return;
        }
        let remember = t.builder.create_block();
        let done = t.builder.create_block();
        t.builder.set_cold_block(remember);
        let address = t.object_address(holder);
        let region = t.bits_region();
        let flags = t.flags(region);
        let bits = t.ins().load(ir::I32, flags, address, GC_HEADER_BITS as i32);
        let skips = t.ins().band_imm_u(bits, i64::from(GC_COPYING_NO_BARRIER));
        t.ins().brif(skips, done, &[], remember, &[]);
        t.builder.seal_block(remember);
        t.builder.switch_to_block(remember);
        t.call_builtin(BuiltinFunctionIndex::gc_remember, &[holder]);
        t.ins().jump(done, &[]);
        t.builder.seal_block(done);
        t.builder.switch_to_block(done);
    }

    // Every collection looks at all globals and tables.
    fn write_root(
        &self,
        t: &mut FuncTranslator<'_, '_>,
        place: Place,
        value: Value,
        _ty: WasmRefType,
    ) {
        place.store(t, value);
    }
}
