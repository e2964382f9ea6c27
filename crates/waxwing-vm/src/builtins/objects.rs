//! Objects: allocation, barriers, instructions over many elements of arrays, exceptions.

use std::ffi::c_void;
use std::ptr::NonNull;
use std::sync::Arc;

use anyhow::Result;
use waxwing_environ::gc::GcSlot;
use waxwing_environ::{
    DataIndex, ElemIndex, EngineTypeIndex, ModuleTypeIndex, TagIndex, Trap, WasmCompositeType,
};

use super::Caller;
use super::work::at;
use crate::gc;
use crate::instance::{Instance, InstanceEnv};
use crate::store::interrupt::Granularity;
use crate::traps::{Landing, Thrower, TrapReason};
use crate::vmcontext::{VMFuncRef, VMGcRef};

/// The new object, or the trap for its lack.
fn allocated(object: Result<Option<VMGcRef>>) -> Result<u32, TrapReason> {
    Ok(object?.ok_or(Trap::AllocationTooLarge)?.get())
}

impl Caller {
    /// The bytes of an element of an array; one if it is null, when nothing is done with elements.
    fn element_size(self, array: Option<VMGcRef>) -> u32 {
        array.map_or(1, |array| self.with_gc(|gc| gc.element_slot(array).size()))
    }

    /// Charges for `len` elements of arrays, of `size` bytes each.
    fn charge_elements(self, size: u32, len: u32) -> Result<(), TrapReason> {
        let granularity = Granularity::elements_of(size);
        Ok(self.with_store(|store| granularity.charge(store, len.into()))?)
    }

    fn engine_type(self, ty: u32) -> EngineTypeIndex {
        self.with(|instance| instance.module().engine_type(ModuleTypeIndex::from_u32(ty)))
    }
}

pub(super) fn gc_alloc_struct(caller: Caller, ty: u32) -> Result<u32, TrapReason> {
    let ty = caller.engine_type(ty);
    // SAFETY: this is the only reference.
    let (store, _) = unsafe { caller.store() };
    allocated(gc::alloc_known_struct(store, ty))
}

pub(super) fn gc_alloc_array(caller: Caller, ty: u32, len: u32) -> Result<u32, TrapReason> {
    let ty = caller.engine_type(ty);
    // SAFETY: this is the only reference.
    let (store, _) = unsafe { caller.store() };
    allocated(gc::alloc_known_array(store, ty, len))
}

pub(super) fn gc_alloc_exn(caller: Caller, tag: u32) -> Result<u32, TrapReason> {
    let import = caller.with(|instance| instance.tag_import(TagIndex::from_u32(tag)));
    // SAFETY: the owner of an imported tag lives as long as the store.
    let owner = unsafe { Instance::id_of_vmctx(import.vmctx) };
    // SAFETY: this is the only reference.
    let (store, _) = unsafe { caller.store() };
    allocated(gc::alloc_exn(store, (owner, import.index)))
}

pub(super) fn gc_list(caller: Caller, object: u32) {
    caller.with_gc(|gc| gc.list(object));
}

pub(super) fn gc_count_extern(caller: Caller, reference: u32, delta: u32) {
    caller.with_gc(|gc| match delta {
        1 => gc.count_up(reference),
        _ => gc.count_down(reference),
    });
}

pub(super) fn gc_is_subtype(caller: Caller, actual: u32, expected: u32) -> u32 {
    // SAFETY: this is the only reference.
    let (store, _) = unsafe { caller.store() };
    let core = store.core();
    core.gc()
        .is_subtype(core.type_registry(), actual, expected)
        .into()
}

pub(super) fn gc_intern_func_ref(caller: Caller, func: *mut c_void) -> Result<u32, TrapReason> {
    let func = NonNull::new(func.cast::<VMFuncRef>());
    let func = func.ok_or(Trap::NullReference)?;
    // SAFETY: generated code passes functions of its own store.
    Ok(caller.with_gc(|gc| unsafe { gc.intern_func(func) })?)
}

pub(super) fn array_new_data(
    caller: Caller,
    ty: u32,
    data: u32,
    src: u32,
    len: u32,
) -> Result<u32, TrapReason> {
    let module = caller.with(|instance| Arc::clone(instance.module()));
    let data = DataIndex::from_u32(data);
    let segment = caller.with(|instance| instance.data_segment(&module, data))?;
    let element = match module.types().types[ModuleTypeIndex::from_u32(ty)].composite {
        WasmCompositeType::Array(element) => element.element_type,
        _ => return Err(Trap::AllocationTooLarge.into()),
    };
    // Bounds come before the lack of memory.
    gc::segment_bytes(segment, GcSlot::of_storage(element), src, len)?;
    caller.charge_elements(GcSlot::of_storage(element).size(), len)?;
    let array = gc_alloc_array(caller, ty, len)?;
    caller.with_gc(|gc| gc.array_init_data(VMGcRef::new(array), segment, 0, src, len))?;
    Ok(array)
}

pub(super) fn array_new_elem(
    caller: Caller,
    ty: u32,
    elem: u32,
    src: u32,
    len: u32,
) -> Result<u32, TrapReason> {
    let elem = ElemIndex::from_u32(elem);
    {
        // SAFETY: this is the only reference.
        let (store, instance) = unsafe { caller.store() };
        InstanceEnv { store, instance }.segment_words(elem, src, len)?;
    }
    caller.charge_elements(GcSlot::GcRef.size(), len)?;
    let array = gc_alloc_array(caller, ty, len)?;
    // Only now, as references may have changed.
    // SAFETY: this is the only reference.
    let (store, instance) = unsafe { caller.store() };
    let words = InstanceEnv { store, instance }.segment_words(elem, src, len)?;
    caller.with_gc(|gc| gc.array_init_elem(VMGcRef::new(array), &words, 0, 0, len))?;
    Ok(array)
}

pub(super) fn array_init_data(
    caller: Caller,
    array: u32,
    data: u32,
    dst: u32,
    src: u32,
    len: u32,
) -> Result<(), TrapReason> {
    let module = caller.with(|instance| Arc::clone(instance.module()));
    let data = DataIndex::from_u32(data);
    let segment = caller.with(|instance| instance.data_segment(&module, data))?;
    let array = VMGcRef::new(array);
    let slot = array.map(|array| caller.with_gc(|gc| gc.element_slot(array)));
    if let Some(slot) = slot {
        caller.with_gc(|gc| gc.check_elements(array, dst, len))?;
        gc::segment_bytes(segment, slot, src, len)?;
        caller.charge_elements(slot.size(), len)?;
    }
    Ok(caller.with_gc(|gc| gc.array_init_data(array, segment, dst, src, len))?)
}

pub(super) fn array_init_elem(
    caller: Caller,
    array: u32,
    elem: u32,
    dst: u32,
    src: u32,
    len: u32,
) -> Result<(), TrapReason> {
    let array = VMGcRef::new(array);
    caller.with_gc(|gc| gc.check_elements(array, dst, len))?;
    let elem = ElemIndex::from_u32(elem);
    // SAFETY: this is the only reference.
    let (store, instance) = unsafe { caller.store() };
    let words = InstanceEnv { store, instance }.segment_words(elem, src, len)?;
    caller.charge_elements(GcSlot::GcRef.size(), len)?;
    Ok(caller.with_gc(|gc| gc.array_init_elem(array, &words, dst, 0, len))?)
}

pub(super) fn array_copy(
    caller: Caller,
    dst_array: u32,
    dst: u32,
    src_array: u32,
    src: u32,
    len: u32,
) -> Result<(), TrapReason> {
    let size = caller.element_size(VMGcRef::new(dst_array));
    let arrays = [dst_array, src_array];
    let granularity = Granularity::elements_of(size);
    // What is yet to be copied must not be overwritten.
    caller.work_with(
        arrays,
        &granularity,
        len.into(),
        dst > src,
        |[dst_array, src_array], from, len| {
            let (dst_array, src_array) = (VMGcRef::new(dst_array), VMGcRef::new(src_array));
            let (dst, src) = (element_at(dst, from)?, element_at(src, from)?);
            let len = len as u32;
            Ok(caller.with_gc(|gc| gc.array_copy(dst_array, dst, src_array, src, len))?)
        },
    )
}

pub(super) fn array_fill(
    caller: Caller,
    array: u32,
    dst: u32,
    low: u64,
    high: u64,
    len: u32,
) -> Result<(), TrapReason> {
    let granularity = Granularity::elements_of(caller.element_size(VMGcRef::new(array)));
    fill_array(caller, &granularity, (array, dst), (low, high), len)
}

pub(super) fn array_fill_new(
    caller: Caller,
    array: u32,
    low: u64,
    high: u64,
    len: u32,
) -> Result<(), TrapReason> {
    let granularity = Granularity::elements_of(caller.element_size(VMGcRef::new(array)));
    fill_array(caller, &granularity.free(), (array, 0), (low, high), len)
}

fn fill_array(
    caller: Caller,
    granularity: &Granularity,
    (array, dst): (u32, u32),
    (low, high): (u64, u64),
    len: u32,
) -> Result<(), TrapReason> {
    let holds_references = VMGcRef::new(array)
        .is_some_and(|array| caller.with_gc(|gc| gc.element_slot(array) == GcSlot::GcRef));
    let reference = if holds_references { low as u32 } else { 0 };
    caller.work_with(
        [array, reference],
        granularity,
        len.into(),
        false,
        |[array, reference], from, len| {
            let low = if holds_references {
                reference.into()
            } else {
                low
            };
            let value = u128::from(high) << 64 | u128::from(low);
            let (array, dst) = (VMGcRef::new(array), element_at(dst, from)?);
            Ok(caller.with_gc(|gc| gc.array_fill(array, dst, value, len as u32))?)
        },
    )
}

/// The index that is `distance` from `start`, as far as there are such.
fn element_at(start: u32, distance: u64) -> Result<u32, Trap> {
    u32::try_from(at(start.into(), distance)).map_err(|_| Trap::ArrayOutOfBounds)
}

pub(super) fn throw_ref(caller: Caller, exception: u32) -> Landing {
    // SAFETY: this is the only reference.
    let (store, _) = unsafe { caller.store() };
    let exception = VMGcRef::new(exception).expect("generated code checks for null");
    // SAFETY: see `Caller`. Nothing here has to be dropped.
    unsafe { Thrower::new(store.core_mut()) }.throw(exception)
}
