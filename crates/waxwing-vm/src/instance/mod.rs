//! [`Instance`]: a module with its state.
//!
//! An instance and its [`VMContext`] are one allocation, the instance first:
//!
//! ```text
//! | Instance, padded to 16 bytes | VMContext … |
//! ```
//!
//! Generated code knows the second part, and that part is only accessed through raw pointers to the
//! whole allocation. The first part is the runtime's own. References to it live for the length of
//! single operations, and are not held while other instances or WebAssembly code are at work; operations
//! that involve several instances, which may be the same one, take pointers.

mod allocate;
mod exports;
mod initialize;
mod segments;

use std::collections::HashMap;
use std::ptr::NonNull;
use std::sync::Arc;

use anyhow::Result;
use cranelift_entity::{EntitySet, entity_impl};
use waxwing_environ::artifact::TrampolineKind;
use waxwing_environ::{
    DataIndex, DefinedFuncIndex, DefinedMemoryIndex, DefinedTableIndex, ElemIndex, FuncIndex,
    FuncRefIndex, GlobalIndex, MemoryIndex, PrimaryMap, ReservedValue, TableIndex,
    TableInitialValue, Trap,
};

pub(crate) use allocate::InstanceHandle;
#[cfg(feature = "pooling-allocator")]
pub(crate) use allocate::instance_size;
pub use exports::VMExport;
pub(crate) use initialize::InstanceEnv;
pub(crate) use initialize::{initialize, is_gc_type};

use crate::allocator::InstancePermit;
use crate::loaded_module::LoadedModule;
use crate::memory::{Memory, SharedMemory, declared_maximum, size_after_growth};
use crate::store::VMStore;
use crate::table::{Table, TableElement, TableElements};
use crate::val_raw::ValRaw;
use crate::vmcontext::{
    VMArrayCall, VMContext, VMFuncRef, VMFunctionImport, VMGlobalDefinition, VMGlobalImport,
    VMMemoryDefinition, VMMemoryImport, VMTableDefinition, VMTableImport, VMTagImport,
};
#[cfg(feature = "wmemcheck")]
use {crate::wmemcheck::HeapCheck, std::collections::BTreeMap};

/// An instance of a store, by its place there.
#[derive(Copy, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InstanceId(u32);
entity_impl!(InstanceId, "instance");

/// An instance of a module.
pub struct Instance {
    id: InstanceId,
    /// Points into the instance's own allocation, and may access all of it.
    vmctx: NonNull<VMContext>,
    store: NonNull<dyn VMStore>,
    module: Arc<LoadedModule>,
    memories: PrimaryMap<DefinedMemoryIndex, Memory>,
    tables: PrimaryMap<DefinedTableIndex, Table>,
    /// The elements of passive segments of GC references, until they are dropped.
    passive_elements: HashMap<ElemIndex, Box<[u32]>>,
    dropped_elements: EntitySet<ElemIndex>,
    dropped_data: EntitySet<DataIndex>,
    /// What is known of the heaps in the instance's memories that code is compiled to check.
    #[cfg(feature = "wmemcheck")]
    heap_checks: BTreeMap<DefinedMemoryIndex, HeapCheck>,
    /// The right to be one, if their number is limited.
    _permit: Option<InstancePermit>,
}

impl Instance {
    /// The instance that a context belongs to.
    ///
    /// # Safety
    ///
    /// `vmctx` is the context of an instance.
    #[inline]
    pub(crate) unsafe fn from_vmctx(vmctx: NonNull<VMContext>) -> NonNull<Instance> {
        // SAFETY: the context of an instance is behind it in one allocation.
        unsafe { vmctx.byte_sub(allocate::HEADER_SIZE).cast() }
    }

    /// The instance's place in its store.
    #[inline]
    pub fn id(&self) -> InstanceId {
        self.id
    }

    /// The instance's context.
    #[inline]
    pub fn vmctx(&self) -> NonNull<VMContext> {
        self.vmctx
    }

    /// The place in its store of the instance that a context belongs to.
    ///
    /// # Safety
    ///
    /// `vmctx` is the context of a live instance.
    #[inline]
    pub unsafe fn id_of_vmctx(vmctx: NonNull<VMContext>) -> InstanceId {
        // SAFETY: required of the caller. The identity is never changed, so that reading it conflicts
        // with nothing.
        unsafe { (&raw const (*Instance::from_vmctx(vmctx).as_ptr()).id).read() }
    }

    /// The store of the instance that a context belongs to: the pointer of
    /// [`StoreCore::set_self`](crate::StoreCore::set_self).
    ///
    /// # Safety
    ///
    /// As for [`Self::id_of_vmctx`].
    #[inline]
    pub unsafe fn store_of_vmctx(vmctx: NonNull<VMContext>) -> NonNull<dyn VMStore> {
        // SAFETY: required of the caller. The store is never changed, so that reading it conflicts
        // with nothing.
        unsafe { (&raw const (*Instance::from_vmctx(vmctx).as_ptr()).store).read() }
    }

    /// The store that the instance belongs to.
    #[inline]
    pub(crate) fn store(&self) -> NonNull<dyn VMStore> {
        self.store
    }

    /// The module.
    #[inline]
    pub fn module(&self) -> &Arc<LoadedModule> {
        &self.module
    }

    /// The record at `offset` of the context.
    #[inline]
    fn record<T>(&self, offset: u32) -> NonNull<T> {
        // SAFETY: offsets of the module's layout are within the allocation.
        unsafe { self.vmctx.byte_add(offset as usize).cast() }
    }

    /// An imported function.
    fn function_import(&self, index: FuncIndex) -> VMFunctionImport {
        let offset = self.module.offsets().function_import(index);
        // SAFETY: imports were written when the instance was made, and are not changed.
        unsafe { self.record::<VMFunctionImport>(offset).read() }
    }

    /// The reference to a function, valid as long as the store. `None` if the function is one that never
    /// escapes, to which there are no references, or the artifact is damaged.
    pub fn func_ref(&self, index: FuncIndex) -> Option<NonNull<VMFuncRef>> {
        let Some(defined) = self.module.module().defined_func_index(index) else {
            return Some(self.function_import(index).func_ref);
        };
        let slot = self.module.functions().func_ref(index)?;
        let record = self.func_ref_slot(slot);
        // SAFETY: the slot is zeros until it is written as a whole. Its first word is a code address,
        // which is not zero.
        let written = unsafe { record.cast::<usize>().read() != 0 };
        if !written {
            let func_ref = self.make_func_ref(index, defined)?;
            // SAFETY: the slot is part of the context. Whoever calls has exclusive use of the store.
            unsafe { record.write(func_ref) };
        }
        Some(record)
    }

    fn func_ref_slot(&self, slot: FuncRefIndex) -> NonNull<VMFuncRef> {
        self.record(self.module.offsets().func_ref(slot))
    }

    #[cold]
    fn make_func_ref(&self, index: FuncIndex, defined: DefinedFuncIndex) -> Option<VMFuncRef> {
        let type_index = self.module.func_type(index);
        let array_call = self
            .module
            .trampoline(TrampolineKind::ArrayToWasm, type_index)?;
        Some(VMFuncRef {
            array_call: match self.module.code().is_bytecode() {
                #[cfg(feature = "pulley")]
                true => crate::pulley::array_call,
                // SAFETY: in machine code, such trampolines are functions of this convention.
                _ => unsafe {
                    std::mem::transmute::<*mut crate::VMWasmCode, VMArrayCall>(array_call.as_ptr())
                },
            },
            wasm_call: Some(self.module.func_code(defined)?),
            vmctx: VMContext::opaque(self.vmctx),
            type_index,
            gc_id: 0,
        })
    }

    /// The record of a global and the instance that owns it.
    pub(crate) fn global_import(&self, index: GlobalIndex) -> VMGlobalImport {
        let offsets = self.module.offsets();
        match self.module.module().defined_global_index(index) {
            Some(index) => VMGlobalImport {
                from: self.record(offsets.global_definition(index)),
                vmctx: self.vmctx,
                index,
            },
            // SAFETY: imports were written when the instance was made, and are not changed.
            None => unsafe {
                self.record::<VMGlobalImport>(offsets.global_import(index))
                    .read()
            },
        }
    }

    /// The record of a linear memory and the instance that owns it.
    pub(crate) fn memory_import(&self, index: MemoryIndex) -> VMMemoryImport {
        let offsets = self.module.offsets();
        match self.module.module().defined_memory_index(index) {
            Some(index) => VMMemoryImport {
                from: match &self.memories[index] {
                    Memory::Unshared(_) => self.record(offsets.memory_definition(index)),
                    Memory::Shared(memory) => memory.definition(),
                },
                vmctx: self.vmctx,
                index,
            },
            // SAFETY: imports were written when the instance was made, and are not changed.
            None => unsafe {
                self.record::<VMMemoryImport>(offsets.memory_import(index))
                    .read()
            },
        }
    }

    /// The record of a table and the instance that owns it.
    pub(crate) fn table_import(&self, index: TableIndex) -> VMTableImport {
        let offsets = self.module.offsets();
        match self.module.module().defined_table_index(index) {
            Some(index) => VMTableImport {
                from: self.record(offsets.table_definition(index)),
                vmctx: self.vmctx,
                index,
            },
            // SAFETY: imports were written when the instance was made, and are not changed.
            None => unsafe {
                self.record::<VMTableImport>(offsets.table_import(index))
                    .read()
            },
        }
    }

    /// The record of an exception tag and the instance that owns it.
    pub(crate) fn tag_import(&self, index: waxwing_environ::TagIndex) -> VMTagImport {
        let offsets = self.module.offsets();
        match self.module.module().defined_tag_index(index) {
            Some(index) => VMTagImport {
                from: self.record(offsets.tag_definition(index)),
                vmctx: self.vmctx,
                index,
            },
            // SAFETY: imports were written when the instance was made, and are not changed.
            None => unsafe { self.record::<VMTagImport>(offsets.tag_import(index)).read() },
        }
    }

    /// What stands for an exception tag in the store's GC heap; `None` if the module has no such tag.
    pub(crate) fn tag_id(&self, index: waxwing_environ::TagIndex) -> Option<u32> {
        self.module.module().tags.get(index)?;
        // SAFETY: tags live as long as the store, and do not change.
        Some(unsafe { self.tag_import(index).from.as_ref() }.id)
    }

    /// The address of a global, imported or defined.
    pub fn global(&self, index: GlobalIndex) -> NonNull<VMGlobalDefinition> {
        self.global_import(index).from
    }

    /// The value of a global, imported or defined.
    pub fn global_value(&self, index: GlobalIndex) -> ValRaw {
        let ty = self.module.module().globals[index].wasm_ty;
        // SAFETY: globals live as long as the store.
        unsafe { self.global(index).read() }.value(ty)
    }

    /// A linear memory that the instance owns.
    #[inline]
    pub fn memory(&self, index: DefinedMemoryIndex) -> &Memory {
        &self.memories[index]
    }

    /// All linear memories that the instance owns.
    pub fn memories(&self) -> impl Iterator<Item = &Memory> {
        self.memories.values()
    }

    /// What is known of the heap in a memory that the instance owns.
    #[cfg(feature = "wmemcheck")]
    pub(crate) fn heap_check(&mut self, index: DefinedMemoryIndex) -> &mut HeapCheck {
        self.heap_checks.entry(index).or_default()
    }

    /// A table that the instance owns.
    #[inline]
    pub fn table(&self, index: DefinedTableIndex) -> &Table {
        &self.tables[index]
    }

    /// Calls `visit` with the address and number of references in each global, table and element segment
    /// that the instance owns.
    pub(crate) fn visit_gc_roots(&mut self, visit: &mut dyn FnMut(NonNull<u32>, usize)) {
        let roots = self.module.gc_roots();
        for global in &roots.globals {
            let offset = self.module.offsets().global_definition(*global);
            visit(self.record(offset), 1);
        }
        for table in &roots.tables {
            if let TableElements::GcRefs { start, len } = self.tables[*table].elements() {
                visit(start, len);
            }
        }
        for elements in self.passive_elements.values_mut() {
            visit(NonNull::from(&mut **elements).cast(), elements.len());
        }
    }

    /// Tells generated code where a memory is, and how large.
    fn publish_memory(&mut self, index: DefinedMemoryIndex) {
        let offsets = self.module.offsets();
        match &self.memories[index] {
            Memory::Unshared(memory) => {
                let offset = offsets.memory_definition(index);
                let record = self.record::<VMMemoryDefinition>(offset);
                let definition = VMMemoryDefinition {
                    base: memory.base(),
                    current_length: memory.byte_size().into(),
                };
                // SAFETY: the record is part of the context, which nobody has references to. Whoever
                // uses it has exclusive use of the store.
                unsafe { record.write(definition) };
            }
            Memory::Shared(memory) => {
                let offset = offsets.shared_memory_pointer(index);
                let record = self.record::<NonNull<VMMemoryDefinition>>(offset);
                // SAFETY: as above.
                unsafe { record.write(memory.definition()) };
            }
        }
    }

    /// Tells generated code where a table is, and how large.
    fn publish_table(&mut self, index: DefinedTableIndex) {
        let offset = self.module.offsets().table_definition(index);
        let record = self.record::<VMTableDefinition>(offset);
        // SAFETY: the record is part of the context, which nobody has references to.
        unsafe { record.write(self.tables[index].definition()) };
    }

    /// The initial value of an element of a lazily initialised table, of functions.
    fn initial_element(&self, table: DefinedTableIndex, index: usize) -> TableElement {
        let precomputed = match &self.module.module().table_initial_values[table] {
            TableInitialValue::Null { precomputed } => precomputed,
            TableInitialValue::Expr(_) => return TableElement::FuncRef(None),
        };
        let func = precomputed
            .get(index)
            .filter(|func| !func.is_reserved_value());
        TableElement::FuncRef(func.and_then(|func| self.func_ref(*func)))
    }

    /// The element of a table that the instance owns.
    ///
    /// # Errors
    ///
    /// Traps if there is no such element.
    pub fn table_get(
        &mut self,
        table: DefinedTableIndex,
        index: u64,
    ) -> Result<TableElement, Trap> {
        if let Some(element) = self.tables[table].get(index)? {
            return Ok(element);
        }
        let index = index as usize;
        let element = self.initial_element(table, index);
        self.tables[table].set(index, element);
        Ok(element)
    }

    /// Sets `len` elements from `start` on of a table that the instance owns.
    ///
    /// # Errors
    ///
    /// Traps, before anything is changed, if they are not all within the table.
    ///
    /// # Panics
    ///
    /// Panics if the reference is not of the table's kind. That it is of the table's type, and counted where
    /// references are, is for the caller to see to.
    pub(crate) fn table_fill(
        &mut self,
        table: DefinedTableIndex,
        start: u64,
        element: TableElement,
        len: u64,
    ) -> Result<(), Trap> {
        let table = &mut self.tables[table];
        for index in table.check_range(start, len)? {
            table.set(index, element);
        }
        Ok(())
    }

    /// Gives all uninitialised elements of a range of a table their values.
    fn materialize(&mut self, table: DefinedTableIndex, range: std::ops::Range<usize>) {
        for index in range {
            // The range is within the table, so that this does not fail.
            let _ = self.table_get(table, index as u64);
        }
    }

    /// Copies elements between tables, which may be the same.
    ///
    /// # Errors
    ///
    /// Traps, before anything is changed, if they are not all within the tables.
    ///
    /// # Safety
    ///
    /// Both instances are live and of one store, of which the caller has exclusive use; nobody has
    /// references to them.
    pub(crate) unsafe fn table_copy(
        (dst, dst_table): (NonNull<Instance>, DefinedTableIndex),
        dst_index: u64,
        (src, src_table): (NonNull<Instance>, DefinedTableIndex),
        src_index: u64,
        len: u64,
    ) -> Result<(), Trap> {
        // SAFETY: required of the caller. The references end before the next ones are made.
        unsafe {
            let from = src.as_ref().tables[src_table].check_range(src_index, len)?;
            let to = dst.as_ref().tables[dst_table].check_range(dst_index, len)?;
            (*src.as_ptr()).materialize(src_table, from.clone());
            let src = src.as_ref().tables[src_table].elements();
            let dst = dst.as_ref().tables[dst_table].elements();
            dst.copy_from(to.start, src, from.start, from.len());
        }
        Ok(())
    }

    /// Grows a linear memory by `delta` pages. Returns the previous number of pages, or `None` if the
    /// memory cannot grow so far, or the store's limiter does not allow it.
    ///
    /// # Errors
    ///
    /// Fails if the limiter does.
    ///
    /// # Safety
    ///
    /// The instance is live and of this store; nobody has references to it.
    pub(crate) unsafe fn memory_grow(
        instance: NonNull<Instance>,
        store: &mut dyn VMStore,
        index: DefinedMemoryIndex,
        delta: u64,
    ) -> Result<Option<u64>> {
        let (ty, current) = {
            // SAFETY: required of the caller; the reference ends before the limiter is asked.
            let memory = unsafe { instance.as_ref() }.memory(index);
            if let Memory::Shared(memory) = memory {
                let memory = memory.clone();
                return grow_shared_memory(&memory, store, delta);
            }
            (*memory.ty(), memory.byte_size())
        };
        let pages = current as u64 >> ty.page_size_log2;
        // Growing by nothing always succeeds.
        if delta == 0 {
            return Ok(Some(pages));
        }
        let desired = size_after_growth(&ty, current, delta);
        if !store.memory_growing(current, desired, declared_maximum(&ty))? {
            return Ok(None);
        }
        let grown = {
            // SAFETY: required of the caller; the reference ends before the limiter is told.
            let instance = unsafe { &mut *instance.as_ptr() };
            let grown = match &mut instance.memories[index] {
                Memory::Unshared(memory) => memory.grow_to(desired),
                Memory::Shared(_) => unreachable!("was not shared above"),
            };
            instance.publish_memory(index);
            grown
        };
        match grown {
            Ok(()) => Ok(Some(pages)),
            Err(error) => {
                store.memory_grow_failed(error)?;
                Ok(None)
            }
        }
    }

    /// Grows a table by `delta` elements. Returns the previous number, or `None` if the table cannot
    /// grow so far, or the store's limiter does not allow it.
    ///
    /// # Errors
    ///
    /// Fails if the limiter does.
    ///
    /// # Safety
    ///
    /// As for [`Self::memory_grow`].
    pub(crate) unsafe fn table_grow(
        instance: NonNull<Instance>,
        store: &mut dyn VMStore,
        index: DefinedTableIndex,
        delta: u64,
        init: TableElement,
    ) -> Result<Option<u64>> {
        let (current, desired, maximum) = {
            // SAFETY: required of the caller; the reference ends before the limiter is asked.
            let table = unsafe { instance.as_ref() }.table(index);
            (
                table.size(),
                table.size_after_growth(delta),
                table.declared_maximum(),
            )
        };
        if delta == 0 {
            return Ok(Some(current as u64));
        }
        if !store.table_growing(current, desired, maximum)? {
            return Ok(None);
        }
        let grown = {
            // SAFETY: required of the caller; the reference ends before the limiter is told.
            let instance = unsafe { &mut *instance.as_ptr() };
            let grown = instance.tables[index].grow_to(desired, init);
            instance.publish_table(index);
            grown
        };
        match grown {
            Ok(()) => Ok(Some(current as u64)),
            Err(error) => {
                store.table_grow_failed(error)?;
                Ok(None)
            }
        }
    }
}

/// Grows a shared memory by `delta` pages, as far as the limiter of the store that asks for it allows.
/// Returns the previous number of pages, or `None` if it cannot grow so far.
fn grow_shared_memory(
    memory: &SharedMemory,
    store: &mut dyn VMStore,
    delta: u64,
) -> Result<Option<u64>> {
    let ty = memory.ty();
    loop {
        let current = memory.byte_size();
        let pages = current as u64 >> ty.page_size_log2;
        if delta == 0 {
            return Ok(Some(pages));
        }
        let desired = size_after_growth(ty, current, delta);
        if !store.memory_growing(current, desired, declared_maximum(ty))? {
            return Ok(None);
        }
        match memory.grow_from(current, desired) {
            Ok(true) => return Ok(Some(pages)),
            // Another thread grew it meanwhile: the limiter has to be asked for another size.
            Ok(false) => {}
            Err(error) => {
                store.memory_grow_failed(error)?;
                return Ok(None);
            }
        }
    }
}
