//! Nothing is ever freed.

use super::{Collector, Extent, Place, bump_allocate};
use crate::translate::FuncTranslator;
use cranelift_codegen::ir::Value;
use waxwing_environ::{ModuleTypeIndex, WasmRefType};

pub(super) struct Null;

impl Collector for Null {
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
        _ty: WasmRefType,
        _start: Value,
    ) {
        place.store(t, value);
    }

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
