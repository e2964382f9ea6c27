//! Structs.

use super::super::{FuncTranslator, Region};
use super::Extension;
use super::collector::Extent;
use cranelift_codegen::ir::Value;
use wasmparser::Operator;
use waxwing_environ::compile::CompileError;
use waxwing_environ::gc::GcStructLayout;
use waxwing_environ::{ModuleTypeIndex, WasmCompositeType, WasmFieldType, WasmStorageType};

impl<'data> FuncTranslator<'_, 'data> {
    pub(super) fn struct_operator(&mut self, op: &Operator<'_>) -> Result<bool, CompileError> {
        match *op {
            Operator::StructNew { struct_type_index } => {
                let ty = self.type_at(struct_type_index);
                self.struct_new(ty)?;
            }
            Operator::StructNewDefault { struct_type_index } => {
                let ty = self.type_at(struct_type_index);
                self.check_fields(ty)?;
                let size = GcStructLayout::of_struct(self.fields(ty)).size;
                let object = self.allocate(ty, Extent::Struct(size));
                self.push(object);
            }
            Operator::StructGet {
                struct_type_index,
                field_index,
            }
            | Operator::StructGetU {
                struct_type_index,
                field_index,
            } => self.struct_get(struct_type_index, field_index, Extension::Unsigned)?,
            Operator::StructGetS {
                struct_type_index,
                field_index,
            } => self.struct_get(struct_type_index, field_index, Extension::Signed)?,
            Operator::StructSet {
                struct_type_index,
                field_index,
            } => self.struct_set(struct_type_index, field_index)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn fields(&self, ty: ModuleTypeIndex) -> &[WasmFieldType] {
        match &self.translation.types.types[ty].composite {
            WasmCompositeType::Struct(fields) => fields,
            _ => unreachable!("validation requires a struct type here"),
        }
    }

    fn check_fields(&self, ty: ModuleTypeIndex) -> Result<(), CompileError> {
        let fields = self.fields(ty).iter();
        self.check_storage(fields.map(|field| field.element_type))
    }

    /// Refuses vectors where there are none.
    pub(super) fn check_storage(
        &self,
        types: impl IntoIterator<Item = WasmStorageType>,
    ) -> Result<(), CompileError> {
        for ty in types {
            if let WasmStorageType::Val(ty) = ty {
                self.check_simd(&[ty])?;
            }
        }
        Ok(())
    }

    fn struct_new(&mut self, ty: ModuleTypeIndex) -> Result<(), CompileError> {
        self.check_fields(ty)?;
        let translation = self.translation;
        let WasmCompositeType::Struct(fields) = &translation.types.types[ty].composite else {
            unreachable!("validation requires a struct type here");
        };
        let layout = GcStructLayout::of_struct(fields);
        let start = self.stack.len() - fields.len();
        // What calls the runtime comes before the allocation.
        let values: Vec<Value> = (0..fields.len())
            .map(|i| {
                let value = self.operand(start + i);
                self.heap_value(value, fields[i].element_type)
            })
            .collect();
        self.stack.truncate(start);
        let object = self.allocate(ty, Extent::Struct(layout.size));
        let address = self.object_address(object);
        for ((field, value), (offset, _)) in fields.iter().zip(values).zip(&layout.fields) {
            let region = Region::GcField(*offset);
            self.initialize_slot(field.element_type, region, value, address, *offset);
        }
        self.push(object);
        Ok(())
    }

    /// A field and its offset.
    fn field(&self, ty: u32, field: u32) -> Result<(WasmFieldType, u32), CompileError> {
        let fields = self.fields(self.type_at(ty));
        // The offset of a field follows from those before it.
        let layout = GcStructLayout::of_struct(&fields[..=field as usize]);
        let (offset, _) = layout.fields[field as usize];
        let field = fields[field as usize];
        self.check_storage([field.element_type])?;
        Ok((field, offset))
    }

    fn struct_get(
        &mut self,
        ty: u32,
        field: u32,
        extension: Extension,
    ) -> Result<(), CompileError> {
        let (field, offset) = self.field(ty, field)?;
        let object = self.pop();
        let trap = self.check_null(object, self.operand_type(0), offset);
        let address = self.object_address(object);
        let flags = self.slot_flags(Region::GcField(offset), field.element_type, trap);
        let value = self.load_slot(field.element_type, extension, flags, address, offset);
        self.push(value);
        self.track(1);
        Ok(())
    }

    fn struct_set(&mut self, ty: u32, field: u32) -> Result<(), CompileError> {
        let (field, offset) = self.field(ty, field)?;
        let (object, value) = self.pop2();
        let value = self.heap_value(value, field.element_type);
        let trap = self.check_null(object, self.operand_type(1), offset);
        let address = self.object_address(object);
        let flags = self.slot_flags(Region::GcField(offset), field.element_type, trap);
        let value_type = self.operand_type(0);
        self.write_slot(
            field.element_type,
            flags,
            value,
            value_type,
            address,
            offset,
            object,
        );
        Ok(())
    }
}
