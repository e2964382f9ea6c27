//! Exceptions as objects.

use super::super::{FuncTranslator, Region};
use super::Extension;
use super::collector::Extent;
use crate::translate::stack::Values;
use cranelift_codegen::ir::{InstBuilder, Value, types as ir};
use waxwing_environ::gc::GcStructLayout;
use waxwing_environ::{ModuleTypeIndex, TagIndex, WasmStorageType};

impl FuncTranslator<'_, '_> {
    /// The type of a tag: a function type, whose parameters are the payload.
    pub(in crate::translate) fn tag_type(&self, tag: TagIndex) -> ModuleTypeIndex {
        self.translation.module.tags[tag].signature.unwrap_module()
    }

    /// What stands for a tag in the heap.
    pub(super) fn tag_id(&mut self, tag: TagIndex) -> Value {
        let ptr = self.offsets.ptr;
        let id = ptr.tag_definition_id() as i32;
        let (definition, offset) = match self.translation.module.defined_tag_index(tag) {
            Some(defined) => {
                let offset = self.offsets.tag_definition(defined) as i32;
                (self.vmctx, offset + id)
            }
            None => {
                let import = self.offsets.tag_import(tag);
                (self.load_context_word(import + ptr.tag_import_from()), id)
            }
        };
        let flags = self.flags(Region::Context).with_readonly().with_can_move();
        self.ins().load(ir::I32, flags, definition, offset)
    }

    /// Makes an exception.
    pub(in crate::translate) fn new_exception(
        &mut self,
        tag: TagIndex,
        payload: &[Value],
    ) -> Value {
        let translation = self.translation;
        let ty = self.tag_type(tag);
        let params = translation.types.func(ty).params();
        let layout = GcStructLayout::of_exception(translation.types.func(ty));
        // What calls the runtime comes before the allocation.
        let values: Values = params
            .iter()
            .zip(payload)
            .map(|(ty, value)| self.heap_value(*value, WasmStorageType::Val(*ty)))
            .collect();
        let exception = self.allocate(ty, Extent::Exception(tag, layout.size));
        let address = self.object_address(exception);
        for ((ty, value), (offset, _)) in params.iter().zip(values).zip(&layout.fields) {
            let region = Region::GcField(*offset);
            self.initialize_slot(WasmStorageType::Val(*ty), region, value, address, *offset);
        }
        exception
    }

    /// What an exception with this tag carries.
    pub(in crate::translate) fn load_payload(&mut self, tag: TagIndex, exception: Value) -> Values {
        let translation = self.translation;
        let ty = translation.types.func(self.tag_type(tag));
        let layout = GcStructLayout::of_exception(ty);
        let address = self.object_address(exception);
        let mut payload = Values::new();
        for (ty, (offset, _)) in ty.params().iter().zip(&layout.fields) {
            let ty = WasmStorageType::Val(*ty);
            let flags = self.slot_flags(Region::GcField(*offset), ty, None);
            payload.push(self.load_slot(ty, Extension::Unsigned, flags, address, *offset));
        }
        payload
    }
}
