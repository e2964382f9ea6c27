//! Allocation of instances with their contexts.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::collections::HashMap;
use std::ptr::NonNull;
use std::sync::Arc;

use anyhow::{Result, anyhow, ensure};
use cranelift_entity::EntitySet;
use waxwing_environ::{
    DefinedMemoryIndex, DefinedTableIndex, DefinedTagIndex, EntityRef, FuncIndex, GlobalIndex,
    MemoryIndex, PrimaryMap, TableIndex, TagIndex,
};

use super::{Instance, InstanceId};
use crate::allocator::InstancePermit;
use crate::builtins::BUILTINS;
use crate::imports::Imports;
use crate::loaded_module::LoadedModule;
use crate::memory::Memory;
use crate::store::VMStore;
use crate::store_context::VMStoreContext;
use crate::table::Table;
use crate::vmcontext::{VMContext, VMTagDefinition};

const ALIGN: usize = align_of::<VMContext>();

/// Bytes from the start of an instance to its context.
pub(super) const HEADER_SIZE: usize = size_of::<Instance>().next_multiple_of(ALIGN);

const _: () = assert!(align_of::<Instance>() <= ALIGN);

/// The bytes that an instance takes, without its memories and tables.
pub(crate) fn instance_size(module: &LoadedModule) -> usize {
    HEADER_SIZE + module.offsets().size_of_vmctx() as usize
}

fn layout(module: &LoadedModule) -> Result<Layout> {
    let size = instance_size(module);
    Layout::from_size_align(size, ALIGN)
        .map_err(|_| anyhow!("an instance of {size:#x} bytes exceeds the address space"))
}

/// What an instance owns: memories, tables, and the numbers that stand for its tags.
pub(crate) type OwnedItems = (
    PrimaryMap<DefinedMemoryIndex, Memory>,
    PrimaryMap<DefinedTableIndex, Table>,
    PrimaryMap<DefinedTagIndex, u32>,
);

/// An instance, owned.
pub(crate) struct InstanceHandle(NonNull<Instance>);

impl InstanceHandle {
    /// Allocates an instance with everything but its globals and segments initialised.
    ///
    /// # Errors
    ///
    /// Fails if memory is lacking, or `imports` are not as many as the module has.
    ///
    /// # Safety
    ///
    /// The store is the one that the instance goes to, and both it and its context outlive the
    /// instance. The imports are of the types that the module wants, and live as long as the store.
    pub(crate) unsafe fn new(
        id: InstanceId,
        store: NonNull<dyn VMStore>,
        store_context: NonNull<VMStoreContext>,
        module: &Arc<LoadedModule>,
        imports: Imports<'_>,
        (memories, tables, tag_ids): OwnedItems,
        permit: Option<InstancePermit>,
    ) -> Result<InstanceHandle> {
        check_imports(module, &imports)?;
        let layout = layout(module)?;
        // SAFETY: the size is not zero.
        let start = NonNull::new(unsafe { alloc_zeroed(layout) }).ok_or_else(|| {
            anyhow!(
                "failed to allocate {:#x} bytes for an instance",
                layout.size()
            )
        })?;
        // SAFETY: the context is within the allocation, behind the instance.
        let vmctx = unsafe { start.byte_add(HEADER_SIZE).cast::<VMContext>() };
        let pointer = start.cast::<Instance>();
        let instance = Instance {
            id,
            vmctx,
            store,
            module: Arc::clone(module),
            memories,
            tables,
            passive_elements: HashMap::new(),
            dropped_elements: EntitySet::new(),
            dropped_data: EntitySet::new(),
            #[cfg(feature = "wmemcheck")]
            heap_checks: Default::default(),
            _permit: permit,
        };
        // SAFETY: both records fit the new allocation at these places, see `layout`.
        unsafe {
            pointer.write(instance);
            vmctx.write(VMContext::new(
                store_context,
                &BUILTINS,
                module.type_ids().as_ptr(),
            ));
        }
        let mut handle = InstanceHandle(pointer);
        handle.instance().write_context(imports, &tag_ids);
        Ok(handle)
    }

    pub(crate) fn as_ptr(&self) -> NonNull<Instance> {
        self.0
    }

    fn instance(&mut self) -> &mut Instance {
        // SAFETY: the instance is owned, and not yet known to anybody else.
        unsafe { self.0.as_mut() }
    }
}

impl Drop for InstanceHandle {
    fn drop(&mut self) {
        // SAFETY: the instance is owned, and nobody uses it any more. It keeps the module, which the
        // layout follows from, up to the last moment.
        unsafe {
            let layout = layout((*self.0.as_ptr()).module()).expect("it was allocated with it");
            self.0.drop_in_place();
            dealloc(self.0.as_ptr().cast(), layout);
        }
    }
}

fn check_imports(module: &LoadedModule, imports: &Imports<'_>) -> Result<()> {
    let facts = module.module();
    for (kind, wanted, given) in [
        (
            "functions",
            facts.num_imported_functions,
            imports.functions.len(),
        ),
        ("tables", facts.num_imported_tables, imports.tables.len()),
        (
            "memories",
            facts.num_imported_memories,
            imports.memories.len(),
        ),
        ("globals", facts.num_imported_globals, imports.globals.len()),
        ("tags", facts.num_imported_tags, imports.tags.len()),
    ] {
        ensure!(
            wanted == given,
            "the module imports {wanted} {kind}, but {given} were provided"
        );
    }
    Ok(())
}

impl Instance {
    /// Writes imports and definitions to the context.
    fn write_context(&mut self, imports: Imports<'_>, tag_ids: &PrimaryMap<DefinedTagIndex, u32>) {
        let module = Arc::clone(&self.module);
        let offsets = module.offsets();
        // SAFETY: the layout has room for as many imports of each kind as the module has, which was
        // checked; records of different kinds do not overlap.
        unsafe {
            self.write_records(
                offsets.function_import(FuncIndex::new(0)),
                imports.functions,
            );
            self.write_records(offsets.table_import(TableIndex::new(0)), imports.tables);
            self.write_records(offsets.memory_import(MemoryIndex::new(0)), imports.memories);
            self.write_records(offsets.global_import(GlobalIndex::new(0)), imports.globals);
            self.write_records(offsets.tag_import(TagIndex::new(0)), imports.tags);
        }
        for index in self.memories.keys() {
            self.publish_memory(index);
        }
        for index in self.tables.keys() {
            self.publish_table(index);
        }
        for (table, address) in module.dispatch_tables() {
            let record = self.record(offsets.dispatch_table(*table));
            // SAFETY: the record is part of the context, which nobody else uses yet.
            unsafe { record.write(*address) };
        }
        let facts = module.module();
        for tag in facts.tags.keys() {
            if let Some(defined) = facts.defined_tag_index(tag) {
                let definition = VMTagDefinition {
                    type_index: module.tag_type(tag).signature.unwrap_engine(),
                    id: tag_ids[defined],
                };
                // SAFETY: the record is part of the context, which nobody else uses yet.
                unsafe {
                    self.record(offsets.tag_definition(defined))
                        .write(definition)
                };
            }
        }
    }

    /// # Safety
    ///
    /// There are as many records of this type at `offset`, which nobody uses.
    unsafe fn write_records<T: Copy>(&mut self, offset: u32, records: &[T]) {
        // SAFETY: required of the caller.
        unsafe {
            let to = self.record::<T>(offset).as_ptr();
            to.copy_from_nonoverlapping(records.as_ptr(), records.len());
        }
    }
}
