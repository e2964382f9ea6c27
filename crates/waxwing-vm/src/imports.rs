//! What an instance is linked with.

use std::ptr::NonNull;
use std::sync::Arc;

use anyhow::{Result, anyhow};

use crate::loaded_module::LoadedModule;
use crate::store::StoreCore;
use crate::vmcontext::{
    VMFuncRef, VMFunctionImport, VMGlobalImport, VMMemoryImport, VMTableImport, VMTagImport,
};

/// The imports of an instance, in the order of the module's index spaces.
#[derive(Copy, Clone, Default)]
pub struct Imports<'a> {
    /// The functions.
    pub functions: &'a [VMFunctionImport],
    /// The tables.
    pub tables: &'a [VMTableImport],
    /// The linear memories.
    pub memories: &'a [VMMemoryImport],
    /// The globals.
    pub globals: &'a [VMGlobalImport],
    /// The exception tags.
    pub tags: &'a [VMTagImport],
}

/// [`Imports`] that are being collected: items of each kind in the order of the module's imports.
#[derive(Clone, Default)]
pub struct OwnedImports {
    /// The functions.
    pub functions: Vec<VMFunctionImport>,
    /// The tables.
    pub tables: Vec<VMTableImport>,
    /// The linear memories.
    pub memories: Vec<VMMemoryImport>,
    /// The globals.
    pub globals: Vec<VMGlobalImport>,
    /// The exception tags.
    pub tags: Vec<VMTagImport>,
}

impl OwnedImports {
    /// No imports yet, with room for those of `module`.
    pub fn new(module: &LoadedModule) -> OwnedImports {
        let module = module.module();
        OwnedImports {
            functions: Vec::with_capacity(module.num_imported_functions),
            tables: Vec::with_capacity(module.num_imported_tables),
            memories: Vec::with_capacity(module.num_imported_memories),
            globals: Vec::with_capacity(module.num_imported_globals),
            tags: Vec::with_capacity(module.num_imported_tags),
        }
    }

    /// Adds a function of `store` for an instance of `module`. Where the function has no entry for
    /// WebAssembly yet, it gets one.
    ///
    /// # Errors
    ///
    /// Fails if no module of the store has a trampoline for the function's type, so that `module` does
    /// not import a function of this type.
    ///
    /// # Safety
    ///
    /// `func` is a live function that the store owns.
    pub unsafe fn push_function(
        &mut self,
        store: &mut StoreCore,
        module: &Arc<LoadedModule>,
        func: NonNull<VMFuncRef>,
    ) -> Result<()> {
        // SAFETY: the caller guarantees that the function is live.
        let VMFuncRef {
            wasm_call,
            vmctx,
            type_index,
            ..
        } = unsafe { func.read() };
        let wasm_call = match wasm_call {
            Some(code) => code,
            None => {
                // The store keeps the module, and with it the trampoline, as long as the function.
                store.register_module(module);
                let code = store.find_wasm_call(type_index).ok_or_else(|| {
                    anyhow!(
                        "the module has no way to call a host function of type {type_index}, as it \
                         imports none of this type"
                    )
                })?;
                // SAFETY: the caller guarantees that the function is live, and the store's own.
                unsafe { (*func.as_ptr()).wasm_call = Some(code) };
                code
            }
        };
        self.functions.push(VMFunctionImport {
            wasm_call,
            vmctx,
            func_ref: func,
        });
        Ok(())
    }

    /// The collected imports.
    pub fn as_ref(&self) -> Imports<'_> {
        Imports {
            functions: &self.functions,
            tables: &self.tables,
            memories: &self.memories,
            globals: &self.globals,
            tags: &self.tags,
        }
    }
}
