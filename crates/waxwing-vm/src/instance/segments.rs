//! Instructions over segments and memories: `memory.init`, `memory.copy`, `memory.fill`, `data.drop`,
//! `table.init`, `elem.drop`, and where `memory.atomic.wait` and `memory.atomic.notify` act.
//!
//! All bounds are checked before anything is written.

use std::ffi::c_void;
use std::ops::Range;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use anyhow::Result;
use smallvec::SmallVec;
use waxwing_environ::{
    DataIndex, DefinedTableIndex, ElemIndex, ElementSegment, MemoryIndex, TableIndex, Trap,
    WasmHeapTop, WasmRefType, WasmValType,
};

use super::{Instance, InstanceEnv, InstanceId};
use crate::loaded_module::LoadedModule;
use crate::memory;
use crate::table::TableElement;
use crate::traps::TrapReason;
use crate::val_raw::ValRaw;
use crate::vmcontext::{VMFuncRef, VMGcRef};

impl TableElement {
    /// The reference `value` of type `ty`.
    pub fn from_raw(ty: WasmRefType, value: ValRaw) -> TableElement {
        match ty.heap_type.top() {
            WasmHeapTop::Func => {
                let func: *mut c_void = value.get_funcref();
                TableElement::FuncRef(NonNull::new(func.cast::<VMFuncRef>()))
            }
            WasmHeapTop::Extern | WasmHeapTop::Any | WasmHeapTop::Exn => {
                TableElement::GcRef(VMGcRef::new(value.get_anyref()))
            }
        }
    }
}

impl Instance {
    /// Where a memory, imported or defined, is, and how many bytes it has.
    pub(crate) fn memory_extent(&self, index: MemoryIndex) -> (NonNull<u8>, usize) {
        let definition = self.memory_import(index).from.as_ptr();
        // SAFETY: memories and their records live as long as the store, of which the caller has
        // exclusive use. Records are only changed by growth, that of a shared memory only in its length.
        unsafe {
            (
                (&raw const (*definition).base).read(),
                (*definition).current_length.load(Ordering::Acquire),
            )
        }
    }

    fn is_shared(&self, memory: MemoryIndex) -> bool {
        self.module.module().memories[memory].shared
    }

    /// The address of `len` bytes at `start` of a memory, imported or defined.
    fn memory_range(&self, index: MemoryIndex, start: u64, len: u64) -> Result<NonNull<u8>, Trap> {
        let (base, size) = self.memory_extent(index);
        match start.checked_add(len) {
            // SAFETY: the offset is not beyond the end of the memory.
            Some(end) if end <= size as u64 => Ok(unsafe { base.add(start as usize) }),
            _ => Err(Trap::MemoryOutOfBounds),
        }
    }

    /// `memory.copy`
    pub(crate) fn memory_copy(
        &self,
        dst_memory: MemoryIndex,
        dst: u64,
        src_memory: MemoryIndex,
        src: u64,
        len: u64,
    ) -> Result<(), Trap> {
        let src = self.memory_range(src_memory, src, len)?;
        let dst = self.memory_range(dst_memory, dst, len)?;
        let len = len as usize;
        // SAFETY: both ranges are within their memories, and may overlap. Memories that are not shared
        // are not accessed by others meanwhile, and shared ones only by atomic operations and generated
        // code.
        unsafe {
            if self.is_shared(src_memory) || self.is_shared(dst_memory) {
                memory::racy_copy(dst, src, len);
            } else {
                dst.copy_from(src, len);
            }
        }
        Ok(())
    }

    /// `memory.fill`
    pub(crate) fn memory_fill(
        &self,
        memory: MemoryIndex,
        dst: u64,
        value: u8,
        len: u64,
    ) -> Result<(), Trap> {
        let dst = self.memory_range(memory, dst, len)?;
        let len = len as usize;
        // SAFETY: the range is within the memory; see `memory_copy`.
        unsafe {
            if self.is_shared(memory) {
                memory::racy_fill(dst, value, len);
            } else {
                dst.write_bytes(value, len);
            }
        }
        Ok(())
    }

    /// Writes `bytes` to a memory.
    pub(super) fn memory_write(
        &self,
        memory: MemoryIndex,
        dst: u64,
        bytes: &[u8],
    ) -> Result<(), Trap> {
        let dst = self.memory_range(memory, dst, bytes.len() as u64)?;
        // SAFETY: the range is within the memory, and the bytes are the artifact's, outside of it, and
        // not changed; see `memory_copy`.
        unsafe {
            if self.is_shared(memory) {
                memory::racy_write(dst, bytes);
            } else {
                let dst = dst.as_ptr();
                dst.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
            }
        }
        Ok(())
    }

    /// The address of `size` bytes at `address` of a memory to wait at or to notify, and whether the
    /// memory is shared.
    fn waiting_address(
        &self,
        memory: MemoryIndex,
        address: u64,
        size: u64,
    ) -> Result<(NonNull<u8>, bool), Trap> {
        let (base, length) = self.memory_extent(memory);
        let address = memory::atomic_address(base, length, address, size)?;
        Ok((address, self.is_shared(memory)))
    }

    /// The address of `size` bytes at `address` of a memory to wait at.
    pub(crate) fn address_to_wait_at(
        &self,
        memory: MemoryIndex,
        address: u64,
        size: u64,
    ) -> Result<NonNull<u8>, Trap> {
        match self.waiting_address(memory, address, size)? {
            (address, true) => Ok(address),
            (_, false) => Err(Trap::AtomicWaitNonSharedMemory),
        }
    }

    /// `memory.atomic.notify`
    pub(crate) fn memory_notify(
        &self,
        memory: MemoryIndex,
        address: u64,
        count: u32,
    ) -> Result<u32, Trap> {
        Ok(match self.waiting_address(memory, address, 4)? {
            (address, true) => memory::notify(address.addr().get(), count),
            // Nobody can wait there.
            (_, false) => 0,
        })
    }

    /// `memory.init`
    pub(crate) fn memory_init(
        &self,
        memory: MemoryIndex,
        data: DataIndex,
        dst: u64,
        src: u32,
        len: u32,
    ) -> Result<(), TrapReason> {
        let bytes = self.data_segment(&self.module, data)?;
        let end = (src as usize).checked_add(len as usize);
        let bytes = end.and_then(|end| bytes.get(src as usize..end));
        let bytes = bytes.ok_or(Trap::MemoryOutOfBounds)?;
        Ok(self.memory_write(memory, dst, bytes)?)
    }

    /// `data.drop`
    pub(crate) fn data_drop(&mut self, data: DataIndex) {
        self.dropped_data.insert(data);
    }

    /// The bytes of a passive segment, none if it was dropped.
    pub(crate) fn data_segment<'a>(
        &self,
        module: &'a LoadedModule,
        data: DataIndex,
    ) -> Result<&'a [u8]> {
        let range = match &module.module().passive_data[data] {
            Some(range) if !self.dropped_data.contains(data) => range.clone(),
            _ => 0..0,
        };
        module.data(range)
    }
}

impl InstanceEnv<'_> {
    /// `elem.drop`
    pub(crate) fn elem_drop(&mut self, elem: ElemIndex) {
        let instance = self.store.core_mut().instance_mut(self.instance);
        instance.dropped_elements.insert(elem);
        let elements = instance.passive_elements.remove(&elem);
        for element in elements.iter().flatten() {
            self.store.core_mut().gc_mut().replace_root(*element, 0);
        }
    }

    /// `table.init`
    pub(crate) fn table_init(
        &mut self,
        table: TableIndex,
        elem: ElemIndex,
        dst: u64,
        src: u64,
        len: u64,
    ) -> Result<(), TrapReason> {
        let instance = self.store.core().instance(self.instance);
        let module = Arc::clone(&instance.module);
        if let Some(elements) = instance.passive_elements.get(&elem) {
            let end = src.checked_add(len).ok_or(Trap::TableOutOfBounds)?;
            let elements = elements.get(src as usize..end as usize);
            let elements: SmallVec<[u32; 8]> = elements.ok_or(Trap::TableOutOfBounds)?.into();
            let (owner, index, range) = self.table_range(table, dst, len)?;
            for (at, element) in range.zip(elements) {
                let element = TableElement::GcRef(VMGcRef::new(element));
                let core = self.store.core_mut();
                core.table_set(owner, index, at as u64, element)?;
            }
            return Ok(());
        }
        let empty = ElementSegment::Functions(Box::new([]));
        let segment = match &module.module().passive_elements[elem] {
            Some(segment) if !instance.dropped_elements.contains(elem) => segment,
            _ => &empty,
        };
        self.apply_elements(table, segment, dst, src, len)
    }

    /// The owner of a table, imported or defined, and the range of its elements.
    fn table_range(
        &self,
        table: TableIndex,
        start: u64,
        len: u64,
    ) -> Result<(InstanceId, DefinedTableIndex, Range<usize>), Trap> {
        let core = self.store.core();
        let import = core.instance(self.instance).table_import(table);
        // SAFETY: the owner of an imported table lives as long as the store.
        let owner = unsafe { Instance::id_of_vmctx(import.vmctx) };
        let range = core.instance(owner).tables[import.index].check_range(start, len)?;
        Ok((owner, import.index, range))
    }

    /// Writes elements of a segment to a table, imported or defined.
    pub(super) fn apply_elements(
        &mut self,
        table: TableIndex,
        segment: &ElementSegment,
        dst: u64,
        src: u64,
        len: u64,
    ) -> Result<(), TrapReason> {
        if src.checked_add(len).is_none_or(|end| end > segment.len()) {
            return Err(Trap::TableOutOfBounds.into());
        }
        let (owner, index, range) = self.table_range(table, dst, len)?;
        for (at, from) in range.zip(src as usize..) {
            let element = self.segment_element(segment, from)?;
            let core = self.store.core_mut();
            core.table_set(owner, index, at as u64, element)?;
        }
        Ok(())
    }

    /// An element of a segment, which exists.
    fn segment_element(&mut self, segment: &ElementSegment, index: usize) -> Result<TableElement> {
        Ok(match segment {
            ElementSegment::Functions(functions) => {
                let instance = self.store.core().instance(self.instance);
                TableElement::FuncRef(instance.func_ref(functions[index]))
            }
            ElementSegment::Expressions(ty, expressions) => {
                let value = self.eval(&expressions[index])?;
                match ty {
                    WasmValType::Ref(ty) => TableElement::from_raw(*ty, value),
                    other => anyhow::bail!(
                        "an element segment of type {other} is not valid; compile the module again"
                    ),
                }
            }
        })
    }

    /// The elements of a passive segment from `src` on, in their representation in the heap: for
    /// instructions over arrays.
    pub(crate) fn segment_words(
        &mut self,
        elem: ElemIndex,
        src: u32,
        len: u32,
    ) -> Result<Vec<u32>, TrapReason> {
        let end = src.checked_add(len).ok_or(Trap::TableOutOfBounds)?;
        let range = src as usize..end as usize;
        let instance = self.store.core().instance(self.instance);
        if let Some(elements) = instance.passive_elements.get(&elem) {
            let elements = elements.get(range).ok_or(Trap::TableOutOfBounds)?;
            return Ok(elements.to_vec());
        }
        let module = Arc::clone(&instance.module);
        let empty = ElementSegment::Functions(Box::new([]));
        let segment = match &module.module().passive_elements[elem] {
            Some(segment) if !instance.dropped_elements.contains(elem) => segment,
            _ => &empty,
        };
        if u64::from(end) > segment.len() {
            return Err(Trap::TableOutOfBounds.into());
        }
        let words = range.map(|index| match self.segment_element(segment, index)? {
            TableElement::FuncRef(None) => Ok(0),
            TableElement::FuncRef(Some(func)) => {
                let gc = self.store.core_mut().gc_mut();
                // SAFETY: functions in segments are of the store, and live as long as it.
                unsafe { gc.intern_func(func) }
            }
            TableElement::GcRef(reference) => Ok(reference.map_or(0, VMGcRef::get)),
        });
        Ok(words.collect::<Result<Vec<u32>>>()?)
    }
}
