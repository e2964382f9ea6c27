//! A generational collector: it has to know where in objects that were made long ago references to ones that
//! were not are stored. The card table tells it.

use super::{Collector, Extent, Place, bump_allocate, is_traced};
use crate::abi::POINTER;
use crate::translate::{FuncTranslator, Region};
use cranelift_codegen::ir::{InstBuilder, Value, types as ir};
use waxwing_environ::gc::{GC_CARD_MARK, GC_CARD_SHIFT, GC_CARDS_SIZE};
use waxwing_environ::{ModuleTypeIndex, WasmRefType};

pub(super) struct Copying;

impl Collector for Copying {
    fn allocate(
        &self,
        t: &mut FuncTranslator<'_, '_>,
        ty: ModuleTypeIndex,
        extent: Extent,
    ) -> Value {
        bump_allocate(t, ty, extent)
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
        start: Value,
    ) {
        place.store(t, value);
        if !is_traced(ty) {
            return;
        }
        // Whatever the offset is, modulo 2^32 it has a card.
        let slot = t.ins().iadd_imm_u(start, i64::from(place.offset));
        let card = t.ins().ushr_imm_u(slot, i64::from(GC_CARD_SHIFT));
        let card = t.ins().uextend(POINTER, card);
        let base = t.heap_base();
        let address = t.ins().iadd(base, card);
        let mark = t.ins().iconst(ir::I8, i64::from(GC_CARD_MARK));
        let flags = t.flags(Region::GcCards);
        let offset = -(GC_CARDS_SIZE as i32);
        t.ins().store(flags, mark, address, offset);
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
