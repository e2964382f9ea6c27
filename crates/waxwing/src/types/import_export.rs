//! [`ImportType`] and [`ExportType`].

use super::ExternType;
use crate::Module;
use std::fmt;
use waxwing_environ::EntityType;

/// An import that a module has.
#[derive(Clone)]
pub struct ImportType<'module> {
    owner: &'module Module,
    module: &'module str,
    name: &'module str,
    ty: EntityType,
}

impl<'module> ImportType<'module> {
    pub(crate) fn new(owner: &'module Module, import: &'module waxwing_environ::Import) -> Self {
        ImportType {
            owner,
            module: &import.module,
            name: &import.field,
            ty: owner.type_of(import.index),
        }
    }

    /// The first name: of the module to import from.
    pub fn module(&self) -> &'module str {
        self.module
    }

    /// The second name: of the item in that module.
    pub fn name(&self) -> &'module str {
        self.name
    }

    /// The type that the import must have.
    pub fn ty(&self) -> ExternType {
        ExternType::from_wasm(self.owner.engine(), &self.ty)
    }
}

impl<'module> fmt::Debug for ImportType<'module> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ImportType")
            .field("module", &self.module())
            .field("name", &self.name())
            .field("ty", &self.ty())
            .finish()
    }
}

/// An export that a module has.
#[derive(Clone)]
pub struct ExportType<'module> {
    owner: &'module Module,
    name: &'module str,
    ty: EntityType,
}

impl<'module> ExportType<'module> {
    pub(crate) fn new(owner: &'module Module, export: &'module waxwing_environ::Export) -> Self {
        ExportType {
            owner,
            name: &export.name,
            ty: owner.type_of(export.index),
        }
    }

    /// The name of the export.
    pub fn name(&self) -> &'module str {
        self.name
    }

    /// The type of the export.
    pub fn ty(&self) -> ExternType {
        ExternType::from_wasm(self.owner.engine(), &self.ty)
    }
}

impl<'module> fmt::Debug for ExportType<'module> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExportType")
            .field("name", &self.name())
            .field("ty", &self.ty())
            .finish()
    }
}
