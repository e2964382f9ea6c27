//! Objects: their headers, fields and elements.
//!
//! Offsets of objects come from references that are known to be live: roots of the host, operands
//! of generated code. All of them are within the heap's reservation.

use std::ptr::NonNull;

use waxwing_environ::gc::{
    GC_ARRAY_LENGTH, GC_EXN_TAG, GC_HEADER_BITS, GC_HEADER_TYPE_INDEX, GC_KIND_ARRAY, GC_KIND_EXN,
    GC_KIND_MASK, GcArrayLayout, GcLayout, GcSlot,
};
use waxwing_environ::{DefinedTagIndex, EngineTypeIndex};

use super::{GcKind, GcStore, GcType, is_extern, is_i31};
use crate::instance::InstanceId;
use crate::val_raw::ValRaw;
use crate::vmcontext::{VMFuncRef, VMGcRef};

impl GcStore {
    /// The address of an offset in the heap.
    ///
    /// # Panics
    ///
    /// Panics if there is no heap, and so no object.
    #[inline]
    pub(super) fn address(&self, offset: u32) -> NonNull<u8> {
        let base = self.heap.as_ref().expect("there is an object").base();
        // SAFETY: the reservation is longer than any offset.
        unsafe { base.add(offset as usize) }
    }

    #[inline]
    pub(super) fn read_u32(&self, offset: u32) -> u32 {
        // SAFETY: see the module: the word is part of a live object. Words of objects are aligned.
        unsafe { self.address(offset).cast::<u32>().read() }
    }

    #[inline]
    pub(super) fn write_u32(&mut self, offset: u32, value: u32) {
        // SAFETY: as above; the store is borrowed exclusively.
        unsafe { self.address(offset).cast::<u32>().write(value) }
    }

    pub(super) fn write_header(&mut self, object: u32, ty: EngineTypeIndex, bits: u32) {
        self.write_u32(object + GC_HEADER_TYPE_INDEX, ty.as_u32());
        self.write_u32(object + GC_HEADER_BITS, bits);
    }

    pub(super) fn bits(&self, object: u32) -> u32 {
        self.read_u32(object + GC_HEADER_BITS)
    }

    /// What a reference refers to.
    pub fn kind(&self, reference: VMGcRef) -> GcKind {
        let reference = reference.get();
        if is_i31(reference) {
            GcKind::I31
        } else if is_extern(reference) {
            GcKind::Extern
        } else {
            match self.bits(reference) & GC_KIND_MASK {
                GC_KIND_ARRAY => GcKind::Array,
                GC_KIND_EXN => GcKind::Exn,
                _ => GcKind::Struct,
            }
        }
    }

    /// What stands for an exception's tag.
    pub(crate) fn exn_tag_id(&self, exception: VMGcRef) -> u32 {
        self.read_u32(exception.get() + GC_EXN_TAG)
    }

    /// The type of an object; of an exception that of its tag.
    pub fn type_index(&self, object: VMGcRef) -> EngineTypeIndex {
        EngineTypeIndex::from_u32(self.read_u32(object.get() + GC_HEADER_TYPE_INDEX))
    }

    fn type_of(&self, object: VMGcRef) -> &GcType {
        let ty = self.types.get(self.type_index(object));
        ty.expect("objects are of types that the store knows")
    }

    /// The layout of an array.
    ///
    /// # Panics
    ///
    /// Panics if the object is none.
    pub(super) fn array_layout(&self, array: VMGcRef) -> GcArrayLayout {
        match &self.type_of(array).layout {
            GcLayout::Array(layout) => *layout,
            GcLayout::Struct(_) => panic!("a struct is used as an array"),
        }
    }

    /// What the elements of an array are in the heap.
    ///
    /// # Panics
    ///
    /// Panics if the object is none.
    pub(crate) fn element_slot(&self, array: VMGcRef) -> GcSlot {
        self.array_layout(array).slot
    }

    /// The number of elements of an array.
    pub fn array_len(&self, array: VMGcRef) -> u32 {
        self.read_u32(array.get() + GC_ARRAY_LENGTH)
    }

    fn field_place(&self, object: VMGcRef, index: u32) -> (u32, GcSlot) {
        match &self.type_of(object).layout {
            GcLayout::Struct(layout) => layout.fields[index as usize],
            GcLayout::Array(_) => panic!("an array is used as a struct"),
        }
    }

    fn element_place(&self, array: VMGcRef, index: u32) -> (u32, GcSlot) {
        let layout = self.array_layout(array);
        let len = self.array_len(array);
        assert!(index < len, "no element {index} among {len}");
        (layout.element(index) as u32, layout.slot)
    }

    /// A field of a struct, or of the payload of an exception. Packed ones are zero-extended.
    ///
    /// # Panics
    ///
    /// Panics if there is no such field.
    pub fn field(&self, object: VMGcRef, index: u32) -> ValRaw {
        let (offset, slot) = self.field_place(object, index);
        self.read_slot(object.get() + offset, slot)
    }

    /// Sets a field of a struct, or of the payload of an exception. The value is of the field's type.
    ///
    /// # Panics
    ///
    /// Panics if there is no such field.
    pub fn set_field(&mut self, object: VMGcRef, index: u32, value: ValRaw) {
        let (offset, slot) = self.field_place(object, index);
        self.write_slot(object.get(), offset, slot, value);
    }

    /// An element of an array. Packed ones are zero-extended.
    ///
    /// # Panics
    ///
    /// Panics if there is no such element.
    pub fn element(&self, array: VMGcRef, index: u32) -> ValRaw {
        let (offset, slot) = self.element_place(array, index);
        self.read_slot(array.get() + offset, slot)
    }

    /// Sets an element of an array. The value is of the elements' type.
    ///
    /// # Panics
    ///
    /// Panics if there is no such element.
    pub fn set_element(&mut self, array: VMGcRef, index: u32, value: ValRaw) {
        let (offset, slot) = self.element_place(array, index);
        self.write_slot(array.get(), offset, slot, value);
    }

    /// The tag of an exception.
    pub fn exn_tag(&self, exception: VMGcRef) -> (InstanceId, DefinedTagIndex) {
        self.tags[self.read_u32(exception.get() + GC_EXN_TAG) as usize]
    }

    fn read_slot(&self, offset: u32, slot: GcSlot) -> ValRaw {
        let at = self.address(offset);
        // SAFETY: see the module: the place is part of a live object, and aligned up to eight bytes.
        unsafe {
            match slot {
                GcSlot::I8 => ValRaw::u32(at.read().into()),
                GcSlot::I16 => ValRaw::u32(at.cast::<u16>().read().into()),
                GcSlot::Bits32 | GcSlot::GcRef => ValRaw::u32(at.cast::<u32>().read()),
                GcSlot::Bits64 => ValRaw::u64(at.cast::<u64>().read()),
                GcSlot::Bits128 => ValRaw::v128(u128::from_le(at.cast::<u128>().read_unaligned())),
                GcSlot::FuncRef => {
                    let func = self.funcs.get(at.cast::<u32>().read());
                    ValRaw::funcref(func.map_or(std::ptr::null_mut(), |f| f.as_ptr().cast()))
                }
            }
        }
    }

    /// The representation in the heap of a value of the host's.
    ///
    /// # Panics
    ///
    /// Panics if it is a function and there are too many.
    pub(super) fn heap_bits(&mut self, slot: GcSlot, value: ValRaw) -> u128 {
        match slot {
            GcSlot::I8 | GcSlot::I16 | GcSlot::Bits32 | GcSlot::GcRef => value.get_u32().into(),
            GcSlot::Bits64 => value.get_u64().into(),
            GcSlot::Bits128 => value.get_v128(),
            GcSlot::FuncRef => {
                let func = NonNull::new(value.get_funcref().cast::<VMFuncRef>());
                // SAFETY: values are of the store that they are used with; functions live as long.
                let id = func.map(|func| unsafe { self.intern_func(func) });
                let id = id.transpose().expect("there are fewer than 2^32 functions");
                id.unwrap_or(0).into()
            }
        }
    }

    fn write_slot(&mut self, object: u32, offset: u32, slot: GcSlot, value: ValRaw) {
        let bits = self.heap_bits(slot, value);
        let at = self.address(object + offset);
        // SAFETY: as in `read_slot`; the store is borrowed exclusively.
        unsafe {
            match slot {
                GcSlot::I8 => at.write(bits as u8),
                GcSlot::I16 => at.cast::<u16>().write(bits as u16),
                GcSlot::Bits32 | GcSlot::FuncRef => at.cast::<u32>().write(bits as u32),
                GcSlot::GcRef => self.store_reference(object, offset, bits as u32),
                GcSlot::Bits64 => at.cast::<u64>().write(bits as u64),
                GcSlot::Bits128 => at.cast::<u128>().write_unaligned(bits.to_le()),
            }
        }
    }
}
