//! The GC heap: what references are, and how objects lie in it.
//!
//! A GC reference is a `u32` (see [`GC_REF_TAG_MASK`]): zero is null; an odd number is an `i31`; a number
//! with the tag [`GC_REF_EXTERN_TAG`] is a value of the host, by its place in the store's list; every other
//! number, a multiple of [`GC_OBJECT_ALIGN`], is the offset of an object in the store's GC heap. The
//! references `anyref` and `externref` have the same representation, so that conversion between them
//! does nothing.
//!
//! ```text
//! object:  type_index: u32        EngineTypeIndex; of an exception that of its tag's function type
//!          bits: u32              kind, and what belongs to the collector
//! struct:  fields from offset 8, in order, each at a multiple of its size (at most 8)
//! array:   length: u32 at offset 8, then the elements
//! exn:     tag: u32 at offset 8 (VMTagDefinition::id), then the payload's fields
//! ```
//!
//! A reference to a function is stored as the `u32` that identifies it in its store
//! (`VMFuncRef::gc_id`), zero for null: no heap word is ever a pointer. The first
//! [`GC_HEAP_NULL_GUARD`] bytes of the heap are inaccessible, so that an access through null faults. Before
//! them is the card table, [`GC_CARDS_SIZE`] bytes.

use crate::{
    WasmCompositeType, WasmFieldType, WasmFuncType, WasmHeapTop, WasmStorageType, WasmValType,
};
use serde::{Deserialize, Serialize};

/// The algorithm that manages a GC heap. Generated code allocates, and stores references, as
/// it requires.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum GcCollector {
    /// Bump allocation, nothing is ever freed.
    Null,
    /// References from objects, globals and tables are counted; those on the stack are found when
    /// objects without counted references are freed.
    DeferredReferenceCounting,
    /// A generational, moving collector: bump allocation in a nursery, survivors are copied.
    Copying,
}

/// The bits of a reference that tell its kind.
pub const GC_REF_TAG_MASK: u32 = 0b11;
/// The bit that is set in an `i31`, whose value is in the other 31 bits.
pub const GC_REF_I31_BIT: u32 = 0b01;
/// The tag of a host value; the other 30 bits are its place in the store's list.
pub const GC_REF_EXTERN_TAG: u32 = 0b10;

/// Objects begin at multiples of this many bytes, and their sizes are rounded up to such.
pub const GC_OBJECT_ALIGN: u32 = 8;
/// The offset of `type_index` in an object.
pub const GC_HEADER_TYPE_INDEX: u32 = 0;
/// The offset of `bits` in an object.
pub const GC_HEADER_BITS: u32 = 4;
/// The bytes of the header of every object.
pub const GC_HEADER_SIZE: u32 = 8;
/// The offset of the length in an array.
pub const GC_ARRAY_LENGTH: u32 = 8;
/// The offset of the tag's identity in an exception.
pub const GC_EXN_TAG: u32 = 8;

/// The bits of an object's `bits` that tell what it is.
pub const GC_KIND_MASK: u32 = 0b11;
/// The kind of structs.
pub const GC_KIND_STRUCT: u32 = 1;
/// The kind of arrays.
pub const GC_KIND_ARRAY: u32 = 2;
/// The kind of exceptions.
pub const GC_KIND_EXN: u32 = 3;

/// [`GcCollector::DeferredReferenceCounting`]: the object is in the list of those to look at when
/// garbage is freed. New objects have it set.
pub const GC_DRC_LISTED: u32 = 1 << 2;
/// [`GcCollector::DeferredReferenceCounting`]: one counted reference. The count is in this bit and those above.
pub const GC_DRC_ONE: u32 = 1 << 4;
/// [`GcCollector::DeferredReferenceCounting`]: an object whose `bits` are at least this has more references than
/// can be counted: it is counted neither up nor down any more, and never freed.
pub const GC_DRC_STUCK: u32 = 0xf000_0000;

/// The address space of a GC heap, in bytes, without guards: what a reference can reach.
pub const GC_HEAP_RESERVATION: u64 = 1 << 32;
/// The inaccessible bytes at the start of a heap.
pub const GC_HEAP_NULL_GUARD: u32 = 0x1_0000;
/// The inaccessible bytes after the end of a heap's reservation: more than the largest struct.
pub const GC_HEAP_GUARD: u64 = 32 << 20;
/// [`GcCollector::Copying`]: each byte of the card table stands for a card, 2 to the power of this many bytes
/// of the heap.
pub const GC_CARD_SHIFT: u32 = 9;
/// The bytes of the card table, which ends where the heap begins.
pub const GC_CARDS_SIZE: u32 = (GC_HEAP_RESERVATION >> GC_CARD_SHIFT) as u32;
/// What is in the card table for a card in which a reference was stored since the last collection; zero
/// for all others.
pub const GC_CARD_MARK: u8 = 1;
/// The most bytes that an object can have.
pub const GC_MAX_OBJECT_SIZE: u32 = 1 << 30;

/// How many supertypes a `VMGcType` lists.
pub const GC_TYPE_DISPLAY_LEN: u32 = 13;

/// What a place in an object holds.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub enum GcSlot {
    /// An 8-bit integer.
    I8,
    /// A 16-bit integer.
    I16,
    /// An `i32` or `f32`.
    Bits32,
    /// An `i64` or `f64`.
    Bits64,
    /// A `v128`.
    Bits128,
    /// A GC reference.
    GcRef,
    /// The identity of a function.
    FuncRef,
}

impl GcSlot {
    /// What stores a value of the type.
    pub fn of_value(ty: WasmValType) -> GcSlot {
        match ty {
            WasmValType::I32 | WasmValType::F32 => GcSlot::Bits32,
            WasmValType::I64 | WasmValType::F64 => GcSlot::Bits64,
            WasmValType::V128 => GcSlot::Bits128,
            WasmValType::Ref(ty) => match ty.heap_type.top() {
                WasmHeapTop::Func => GcSlot::FuncRef,
                WasmHeapTop::Any | WasmHeapTop::Extern | WasmHeapTop::Exn => GcSlot::GcRef,
            },
        }
    }

    /// What stores a field or element of the type.
    pub fn of_storage(ty: WasmStorageType) -> GcSlot {
        match ty {
            WasmStorageType::I8 => GcSlot::I8,
            WasmStorageType::I16 => GcSlot::I16,
            WasmStorageType::Val(ty) => GcSlot::of_value(ty),
        }
    }

    /// The size in bytes.
    pub fn size(self) -> u32 {
        match self {
            GcSlot::I8 => 1,
            GcSlot::I16 => 2,
            GcSlot::Bits32 | GcSlot::GcRef | GcSlot::FuncRef => 4,
            GcSlot::Bits64 => 8,
            GcSlot::Bits128 => 16,
        }
    }

    /// The alignment in bytes.
    pub fn align(self) -> u32 {
        self.size().min(GC_OBJECT_ALIGN)
    }
}

/// The layout of structs of a type, or of exceptions with a payload.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GcStructLayout {
    /// The size of an object in bytes, a multiple of [`GC_OBJECT_ALIGN`].
    pub size: u32,
    /// Each field's offset, and what is there.
    pub fields: Box<[(u32, GcSlot)]>,
}

impl GcStructLayout {
    /// The layout of a struct with these fields. That of a subtype, which has further fields at its end,
    /// agrees with it.
    pub fn of_struct(fields: &[WasmFieldType]) -> Self {
        let slots = fields
            .iter()
            .map(|field| GcSlot::of_storage(field.element_type));
        Self::new(GC_HEADER_SIZE, slots)
    }

    /// The layout of an exception whose tag has this type.
    pub fn of_exception(ty: &WasmFuncType) -> Self {
        let slots = ty.params().iter().map(|ty| GcSlot::of_value(*ty));
        Self::new(GC_EXN_TAG + 4, slots)
    }

    fn new(start: u32, slots: impl Iterator<Item = GcSlot>) -> Self {
        let mut next = start;
        let fields = slots
            .map(|slot| {
                // Validation limits the number of fields.
                let offset = next.next_multiple_of(slot.align());
                next = offset + slot.size();
                (offset, slot)
            })
            .collect();
        GcStructLayout {
            size: next.next_multiple_of(GC_OBJECT_ALIGN),
            fields,
        }
    }
}

/// The layout of arrays of a type.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct GcArrayLayout {
    /// The offset of the first element.
    pub base: u32,
    /// What an element is.
    pub slot: GcSlot,
}

impl GcArrayLayout {
    /// The layout of an array with such elements.
    pub fn new(element: WasmFieldType) -> Self {
        let slot = GcSlot::of_storage(element.element_type);
        GcArrayLayout {
            base: (GC_ARRAY_LENGTH + 4).next_multiple_of(slot.align()),
            slot,
        }
    }

    /// The size in bytes of an array of `len` elements, a multiple of [`GC_OBJECT_ALIGN`]; `None` if it
    /// exceeds [`GC_MAX_OBJECT_SIZE`].
    pub fn size(&self, len: u32) -> Option<u32> {
        let size = u64::from(len) * u64::from(self.slot.size()) + u64::from(self.base);
        let size = size.next_multiple_of(u64::from(GC_OBJECT_ALIGN));
        u32::try_from(size)
            .ok()
            .filter(|size| *size <= GC_MAX_OBJECT_SIZE)
    }

    /// The offset of an element.
    pub fn element(&self, index: u32) -> u64 {
        u64::from(self.base) + u64::from(index) * u64::from(self.slot.size())
    }
}

/// The layout of objects of a type.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum GcLayout {
    /// Structs, and exceptions: their tag's type is a function type.
    Struct(GcStructLayout),
    /// Arrays.
    Array(GcArrayLayout),
}

impl GcLayout {
    /// The layout of objects with this type index: exceptions, if it is a function type.
    pub fn new(ty: &WasmCompositeType) -> Self {
        match ty {
            WasmCompositeType::Func(ty) => GcLayout::Struct(GcStructLayout::of_exception(ty)),
            WasmCompositeType::Struct(fields) => {
                GcLayout::Struct(GcStructLayout::of_struct(fields))
            }
            WasmCompositeType::Array(element) => GcLayout::Array(GcArrayLayout::new(*element)),
        }
    }

    /// The kind in the header of such objects.
    pub fn kind(ty: &WasmCompositeType) -> u32 {
        match ty {
            WasmCompositeType::Func(_) => GC_KIND_EXN,
            WasmCompositeType::Struct(_) => GC_KIND_STRUCT,
            WasmCompositeType::Array(_) => GC_KIND_ARRAY,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::WasmRefType;

    fn field(element_type: WasmStorageType) -> WasmFieldType {
        WasmFieldType {
            element_type,
            mutable: true,
        }
    }

    #[test]
    fn fields_are_aligned_and_prefixes_agree() {
        let fields = [
            field(WasmStorageType::I8),
            field(WasmStorageType::Val(WasmValType::I64)),
            field(WasmStorageType::I16),
            field(WasmStorageType::Val(WasmValType::Ref(
                WasmRefType::EXTERNREF,
            ))),
            field(WasmStorageType::Val(WasmValType::V128)),
        ];
        let layout = GcStructLayout::of_struct(&fields);
        let offsets: Vec<u32> = layout.fields.iter().map(|(offset, _)| *offset).collect();
        assert_eq!(offsets, [8, 16, 24, 28, 32]);
        assert_eq!(layout.size, 48);
        let prefix = GcStructLayout::of_struct(&fields[..3]);
        assert_eq!(prefix.fields[..], layout.fields[..3]);
        assert_eq!(GcStructLayout::of_struct(&[]).size, GC_HEADER_SIZE);
    }

    #[test]
    fn array_sizes_are_bounded() {
        let bytes = GcArrayLayout::new(field(WasmStorageType::I8));
        assert_eq!((bytes.base, bytes.size(5)), (12, Some(24)));
        assert_eq!(bytes.element(3), 15);
        let longs = GcArrayLayout::new(field(WasmStorageType::Val(WasmValType::I64)));
        assert_eq!((longs.base, longs.size(1)), (16, Some(24)));
        assert_eq!(longs.size(u32::MAX), None);
        let vectors = GcArrayLayout::new(field(WasmStorageType::Val(WasmValType::V128)));
        assert_eq!(vectors.base, 16);
    }

    #[test]
    fn exceptions_hold_their_payload_after_the_tag() {
        let ty = WasmFuncType::new([WasmValType::I32, WasmValType::I64], []);
        let layout = GcStructLayout::of_exception(&ty);
        let fields = [(12, GcSlot::Bits32), (16, GcSlot::Bits64)];
        assert_eq!(layout.fields[..], fields);
        assert_eq!(layout.size, 24);
    }
}
