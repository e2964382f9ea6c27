//! What an instance offers to others.

use std::ptr::NonNull;

use waxwing_environ::{
    DefinedGlobalIndex, DefinedMemoryIndex, DefinedTableIndex, DefinedTagIndex, EntityIndex,
};

use super::{Instance, InstanceId};
use crate::vmcontext::{
    VMContext, VMFuncRef, VMGlobalImport, VMMemoryImport, VMTableImport, VMTagImport,
};

/// An item of an instance, by the instance that owns it.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum VMExport {
    /// A function, valid as long as the store.
    Function(NonNull<VMFuncRef>),
    /// A table.
    Table {
        /// The owner.
        instance: InstanceId,
        /// The index among the owner's tables.
        index: DefinedTableIndex,
    },
    /// A linear memory.
    Memory {
        /// The owner.
        instance: InstanceId,
        /// The index among the owner's memories.
        index: DefinedMemoryIndex,
    },
    /// A global.
    Global {
        /// The owner.
        instance: InstanceId,
        /// The index among the owner's globals.
        index: DefinedGlobalIndex,
    },
    /// An exception tag.
    Tag {
        /// The owner.
        instance: InstanceId,
        /// The index among the owner's tags.
        index: DefinedTagIndex,
    },
}

/// The instance that owns an item.
fn owner(vmctx: NonNull<VMContext>) -> InstanceId {
    // SAFETY: the contexts in records of imports are those of instances, which live as long as the store.
    unsafe { Instance::id_of_vmctx(vmctx) }
}

impl Instance {
    /// An item of the module's index spaces, imported or defined. `None` if it is a function that never
    /// escapes, which no export is.
    pub fn export(&self, index: EntityIndex) -> Option<VMExport> {
        Some(match index {
            EntityIndex::Function(index) => VMExport::Function(self.func_ref(index)?),
            EntityIndex::Table(index) => {
                let VMTableImport { vmctx, index, .. } = self.table_import(index);
                let instance = owner(vmctx);
                VMExport::Table { instance, index }
            }
            EntityIndex::Memory(index) => {
                let VMMemoryImport { vmctx, index, .. } = self.memory_import(index);
                let instance = owner(vmctx);
                VMExport::Memory { instance, index }
            }
            EntityIndex::Global(index) => {
                let VMGlobalImport { vmctx, index, .. } = self.global_import(index);
                let instance = owner(vmctx);
                VMExport::Global { instance, index }
            }
            EntityIndex::Tag(index) => {
                let VMTagImport { vmctx, index, .. } = self.tag_import(index);
                let instance = owner(vmctx);
                VMExport::Tag { instance, index }
            }
        })
    }

    /// The record to import a table with that the instance owns.
    pub fn defined_table(&self, index: DefinedTableIndex) -> VMTableImport {
        self.table_import(self.module().module().table_index(index))
    }

    /// The record to import a linear memory with that the instance owns.
    pub fn defined_memory(&self, index: DefinedMemoryIndex) -> VMMemoryImport {
        self.memory_import(self.module().module().memory_index(index))
    }

    /// The record to import a global with that the instance owns.
    pub fn defined_global(&self, index: DefinedGlobalIndex) -> VMGlobalImport {
        self.global_import(self.module().module().global_index(index))
    }

    /// The record to import an exception tag with that the instance owns.
    pub fn defined_tag(&self, index: DefinedTagIndex) -> VMTagImport {
        self.tag_import(self.module().module().tag_index(index))
    }

    /// The type of a global that the instance owns, with the engine's types.
    pub fn defined_global_type(&self, index: DefinedGlobalIndex) -> waxwing_environ::Global {
        let module = self.module();
        module.global_type(module.module().global_index(index))
    }
}
