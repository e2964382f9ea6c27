//! From the parser's types to ours, each type of a module once.

use super::CompileError;
use crate::{
    EntityRef, IndexType, Limits, Memory, ModuleTypeIndex, ModuleTypes, Table, TypeIndex, TypeRef,
    WasmCompositeType, WasmFieldType, WasmFuncType, WasmHeapType, WasmRefType, WasmStorageType,
    WasmSubType, WasmValType,
};
use std::collections::HashMap;
use wasmparser::types::{CoreTypeId, TypesRef};
use wasmparser::{AbstractHeapType, CompositeInnerType, HeapType, UnpackedIndex};

/// Interns a module's types by the identity that validation gives them, and converts the
/// parser's types to ours.
#[derive(Default)]
pub struct TypeConverter {
    interned: HashMap<CoreTypeId, ModuleTypeIndex>,
    /// The types that are a recursion group each. Without garbage collection validation does not tell that some are the same.
    alone: HashMap<WasmSubType, ModuleTypeIndex>,
}

impl TypeConverter {
    /// Interns all types that the validator has seen so far and `types` does not hold yet.
    pub fn intern_all(
        &mut self,
        validator: TypesRef<'_>,
        types: &mut ModuleTypes,
    ) -> Result<(), CompileError> {
        for i in types.by_index.len() as u32..validator.core_type_count_in_module() {
            let id = validator.core_type_at_in_module(i);
            let index = self.intern(validator, id, types)?;
            types.by_index.push(index);
        }
        Ok(())
    }

    fn intern(
        &mut self,
        validator: TypesRef<'_>,
        id: CoreTypeId,
        types: &mut ModuleTypes,
    ) -> Result<ModuleTypeIndex, CompileError> {
        if let Some(index) = self.interned.get(&id) {
            return Ok(*index);
        }
        let group: Vec<CoreTypeId> = validator
            .rec_group_elements(validator.rec_group_id_of(id))
            .collect();
        let start = types.types.next_key();
        for (i, member) in group.iter().enumerate() {
            let index = ModuleTypeIndex::new(start.index() + i);
            self.interned.insert(*member, index);
        }
        let kinds: Vec<Kind> = group
            .iter()
            .map(|member| Kind::of_parsed(&validator[*member].composite_type.inner))
            .collect();
        for member in &group {
            let scope = Scope {
                start,
                group: &kinds,
                types,
            };
            let ty = self.sub_type(&validator[*member], &scope)?;
            if group.len() == 1 {
                if let Some(same) = self.alone.get(&ty) {
                    self.interned.insert(id, *same);
                    return Ok(*same);
                }
                self.alone.insert(ty.clone(), start);
            }
            types.types.push(ty);
        }
        types.rec_groups.push(start..types.types.next_key());
        Ok(self.interned[&id])
    }

    fn sub_type(
        &self,
        ty: &wasmparser::SubType,
        scope: &Scope<'_>,
    ) -> Result<WasmSubType, CompileError> {
        if ty.composite_type.shared {
            return Err(CompileError::Unsupported("shared types".to_string()));
        }
        let field = |field: &wasmparser::FieldType| {
            Ok::<_, CompileError>(WasmFieldType {
                element_type: match field.element_type {
                    wasmparser::StorageType::I8 => WasmStorageType::I8,
                    wasmparser::StorageType::I16 => WasmStorageType::I16,
                    wasmparser::StorageType::Val(ty) => {
                        WasmStorageType::Val(self.val_type_in(ty, scope)?)
                    }
                },
                mutable: field.mutable,
            })
        };
        let composite = match &ty.composite_type.inner {
            CompositeInnerType::Func(ty) => {
                let convert = |list: &[wasmparser::ValType]| {
                    let types = list.iter().map(|ty| self.val_type_in(*ty, scope));
                    types.collect::<Result<Vec<_>, _>>()
                };
                WasmCompositeType::Func(WasmFuncType::new(
                    convert(ty.params())?,
                    convert(ty.results())?,
                ))
            }
            CompositeInnerType::Array(ty) => WasmCompositeType::Array(field(&ty.0)?),
            CompositeInnerType::Struct(ty) => {
                let fields = ty.fields.iter().map(field);
                WasmCompositeType::Struct(fields.collect::<Result<_, _>>()?)
            }
            CompositeInnerType::Cont(_) => {
                return Err(CompileError::Unsupported("continuation types".to_string()));
            }
        };
        let supertype = match ty.supertype_idxs.first() {
            Some(index) => Some(self.type_ref(index.unpack(), scope)?),
            None => None,
        };
        Ok(WasmSubType {
            is_final: ty.is_final,
            supertype,
            composite,
        })
    }

    fn type_ref(&self, index: UnpackedIndex, scope: &Scope<'_>) -> Result<TypeRef, CompileError> {
        let index = match index {
            UnpackedIndex::Module(i) => scope.types.by_index.get(TypeIndex::from_u32(i)).copied(),
            UnpackedIndex::RecGroup(i) => {
                Some(ModuleTypeIndex::new(scope.start.index() + i as usize))
            }
            UnpackedIndex::Id(id) => self.interned.get(&id).copied(),
        };
        let index = index.ok_or_else(|| {
            CompileError::Unsupported("a reference to a type outside of the module".to_string())
        })?;
        Ok(TypeRef::Module(index))
    }

    fn val_type_in(
        &self,
        ty: wasmparser::ValType,
        scope: &Scope<'_>,
    ) -> Result<WasmValType, CompileError> {
        Ok(match ty {
            wasmparser::ValType::I32 => WasmValType::I32,
            wasmparser::ValType::I64 => WasmValType::I64,
            wasmparser::ValType::F32 => WasmValType::F32,
            wasmparser::ValType::F64 => WasmValType::F64,
            wasmparser::ValType::V128 => WasmValType::V128,
            wasmparser::ValType::Ref(ty) => WasmValType::Ref(WasmRefType {
                nullable: ty.is_nullable(),
                heap_type: self.heap_type_in(ty.heap_type(), scope)?,
            }),
        })
    }

    fn heap_type_in(&self, ty: HeapType, scope: &Scope<'_>) -> Result<WasmHeapType, CompileError> {
        let unsupported = |what: &str| Err(CompileError::Unsupported(what.to_string()));
        Ok(match ty {
            HeapType::Concrete(index) => {
                let ty = self.type_ref(index, scope)?;
                match scope.kind(ty.unwrap_module()) {
                    Kind::Array => WasmHeapType::ConcreteArray(ty),
                    Kind::Struct => WasmHeapType::ConcreteStruct(ty),
                    Kind::Func => WasmHeapType::ConcreteFunc(ty),
                    Kind::Cont => return unsupported("continuation references"),
                }
            }
            HeapType::Exact(_) => return unsupported("exact reference types"),
            HeapType::Abstract { shared: true, .. } => return unsupported("shared references"),
            HeapType::Abstract { ty, .. } => match ty {
                AbstractHeapType::Extern => WasmHeapType::Extern,
                AbstractHeapType::NoExtern => WasmHeapType::NoExtern,
                AbstractHeapType::Func => WasmHeapType::Func,
                AbstractHeapType::NoFunc => WasmHeapType::NoFunc,
                AbstractHeapType::Any => WasmHeapType::Any,
                AbstractHeapType::Eq => WasmHeapType::Eq,
                AbstractHeapType::I31 => WasmHeapType::I31,
                AbstractHeapType::Array => WasmHeapType::Array,
                AbstractHeapType::Struct => WasmHeapType::Struct,
                AbstractHeapType::None => WasmHeapType::None,
                AbstractHeapType::Exn => WasmHeapType::Exn,
                AbstractHeapType::NoExn => WasmHeapType::NoExn,
                AbstractHeapType::Cont | AbstractHeapType::NoCont => {
                    return unsupported("continuation references");
                }
            },
        })
    }

    /// Converts a value type of the module.
    pub fn val_type(
        &self,
        ty: wasmparser::ValType,
        types: &ModuleTypes,
    ) -> Result<WasmValType, CompileError> {
        self.val_type_in(ty, &Scope::outside(types))
    }

    /// Converts a heap type of the module.
    pub fn heap_type(
        &self,
        ty: HeapType,
        types: &ModuleTypes,
    ) -> Result<WasmHeapType, CompileError> {
        self.heap_type_in(ty, &Scope::outside(types))
    }

    /// Converts a reference type of the module.
    pub fn ref_type(
        &self,
        ty: wasmparser::RefType,
        types: &ModuleTypes,
    ) -> Result<WasmRefType, CompileError> {
        Ok(WasmRefType {
            nullable: ty.is_nullable(),
            heap_type: self.heap_type(ty.heap_type(), types)?,
        })
    }

    /// Converts a table type of the module.
    pub fn table(
        &self,
        ty: wasmparser::TableType,
        types: &ModuleTypes,
    ) -> Result<Table, CompileError> {
        Ok(Table {
            idx_type: index_type(ty.table64),
            limits: Limits {
                min: ty.initial,
                max: ty.maximum,
            },
            ref_type: self.ref_type(ty.element_type, types)?,
        })
    }
}

/// Converts a memory type.
pub(super) fn memory(ty: wasmparser::MemoryType) -> Memory {
    Memory {
        idx_type: index_type(ty.memory64),
        limits: Limits {
            min: ty.initial,
            max: ty.maximum,
        },
        shared: ty.shared,
        page_size_log2: ty.page_size_log2.map_or(16, |log2| log2 as u8),
    }
}

fn index_type(is_64: bool) -> IndexType {
    if is_64 {
        IndexType::I64
    } else {
        IndexType::I32
    }
}

/// What a defined type is.
#[derive(Copy, Clone)]
enum Kind {
    Func,
    Array,
    Struct,
    Cont,
}

impl Kind {
    fn of_parsed(ty: &CompositeInnerType) -> Kind {
        match ty {
            CompositeInnerType::Func(_) => Kind::Func,
            CompositeInnerType::Array(_) => Kind::Array,
            CompositeInnerType::Struct(_) => Kind::Struct,
            CompositeInnerType::Cont(_) => Kind::Cont,
        }
    }

    fn of(ty: &WasmCompositeType) -> Kind {
        match ty {
            WasmCompositeType::Func(_) => Kind::Func,
            WasmCompositeType::Array(_) => Kind::Array,
            WasmCompositeType::Struct(_) => Kind::Struct,
        }
    }
}

/// The types that a type can refer to: all that are interned, and those of the rec group that is being
/// interned, of which no more than the kind is known.
struct Scope<'a> {
    /// The index of the first type of the group.
    start: ModuleTypeIndex,
    group: &'a [Kind],
    types: &'a ModuleTypes,
}

impl<'a> Scope<'a> {
    fn outside(types: &'a ModuleTypes) -> Self {
        Scope {
            start: types.types.next_key(),
            group: &[],
            types,
        }
    }

    fn kind(&self, index: ModuleTypeIndex) -> Kind {
        match index.index().checked_sub(self.start.index()) {
            Some(position) => self.group[position],
            None => Kind::of(&self.types.types[index].composite),
        }
    }
}
