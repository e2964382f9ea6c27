//! [`GcTypes`]: what a store knows of the types that its objects can have.
//!
//! What follows from a type alone, [`GcType`], is made once and shared between stores. A store has three tables of
//! it by `EngineTypeIndex`: one for generated code, one for collectors, one for everybody else.

use std::sync::Arc;

use anyhow::{Result, anyhow};
use waxwing_environ::gc::{GC_TYPE_DISPLAY_LEN, GcLayout, GcSlot};
use waxwing_environ::{EngineTypeIndex, EntityRef, WasmSubType};

use crate::store_context::VMGcType;
use crate::type_registry::{RegisteredType, TypeRegistry};

/// What follows from a type.
#[derive(Debug)]
pub(crate) struct GcType {
    pub(super) index: EngineTypeIndex,
    /// The supertypes from the root on, and then the type itself.
    display: [u32; GC_TYPE_DISPLAY_LEN as usize],
    /// The kind in the header of objects of the type.
    kind: u32,
    /// How its objects lie in memory.
    pub(super) layout: GcLayout,
}

impl GcType {
    /// What follows from the type `ty`, given its index and those of its supertypes, the nearest first.
    pub(crate) fn new(
        index: EngineTypeIndex,
        ty: &WasmSubType,
        supertypes: impl IntoIterator<Item = EngineTypeIndex>,
    ) -> GcType {
        let mut chain: Vec<EngineTypeIndex> = supertypes.into_iter().collect();
        chain.reverse();
        chain.push(index);
        let mut display = [u32::MAX; GC_TYPE_DISPLAY_LEN as usize];
        for (place, ty) in display.iter_mut().zip(chain) {
            *place = ty.as_u32();
        }
        GcType {
            index,
            display,
            kind: GcLayout::kind(&ty.composite),
            layout: GcLayout::new(&ty.composite),
        }
    }

    /// What follows from a registered type.
    pub(super) fn of_registered(ty: &RegisteredType) -> Result<GcType> {
        let registry = ty.registry();
        let mut supertypes = Vec::new();
        let mut next = ty.ty().supertype;
        while let Some(reference) = next {
            let index = reference.unwrap_engine();
            supertypes.push(index);
            next = registry
                .lookup(index)
                .ok_or_else(|| anyhow!("a type refers to {index}, which does not exist"))?
                .ty()
                .supertype;
        }
        Ok(GcType::new(ty.index(), ty.ty(), supertypes))
    }
}

/// What a collector knows of a type.
#[derive(Copy, Clone, Default, Debug)]
pub(super) struct Shape {
    /// The size of structs, or the offset of an array's first element.
    pub(super) size: u32,
    /// What its objects are, and the size of elements: see the constants.
    pub(super) flags: u32,
    /// Where in [`GcTypes::offsets`] the offsets of a struct's references are.
    pub(super) first: u32,
    /// How many these are.
    pub(super) count: u32,
}

impl Shape {
    /// The objects are arrays; the bits below are the binary logarithm of the size of elements.
    pub(super) const ARRAY: u32 = 1 << 8;
    /// The elements are references.
    pub(super) const REFERENCES: u32 = 1 << 9;
    /// The bits with the logarithm.
    pub(super) const ELEMENT_LOG2: u32 = 0xff;
    /// Where the kind of objects begins.
    const KIND_SHIFT: u32 = 16;

    /// The kind in the header of objects; zero if there are none.
    #[inline]
    pub(super) fn kind(&self) -> u32 {
        self.flags >> Shape::KIND_SHIFT
    }
}

/// The types that the objects of a store can have.
#[derive(Default)]
pub(super) struct GcTypes {
    records: Vec<VMGcType>,
    shapes: Vec<Shape>,
    offsets: Vec<u32>,
    types: Vec<Option<Arc<GcType>>>,
    /// Types that no module keeps registered.
    kept: Vec<RegisteredType>,
}

impl GcTypes {
    /// What is known of a type; `None` if the store has never met it.
    pub(super) fn get(&self, index: EngineTypeIndex) -> Option<&Arc<GcType>> {
        self.types.get(index.index())?.as_ref()
    }

    /// Adds a type that stays registered as long as the store. The tables may move.
    pub(super) fn add(&mut self, ty: &Arc<GcType>) {
        let index = ty.index.index();
        if index >= self.types.len() {
            let unknown = VMGcType {
                display: [u32::MAX; GC_TYPE_DISPLAY_LEN as usize],
                reserved: [0; 3],
            };
            self.records.resize(index + 1, unknown);
            self.shapes.resize(index + 1, Shape::default());
            self.types.resize(index + 1, None);
        }
        if self.types[index].is_some() {
            return;
        }
        self.records[index].display = ty.display;
        self.shapes[index] = match &ty.layout {
            GcLayout::Struct(layout) => {
                let first = self.offsets.len() as u32;
                let references = layout.fields.iter();
                let references = references.filter(|(_, slot)| *slot == GcSlot::GcRef);
                self.offsets.extend(references.map(|(offset, _)| *offset));
                Shape {
                    size: layout.size,
                    flags: ty.kind << Shape::KIND_SHIFT,
                    first,
                    count: self.offsets.len() as u32 - first,
                }
            }
            GcLayout::Array(layout) => {
                let references = match layout.slot {
                    GcSlot::GcRef => Shape::REFERENCES,
                    _ => 0,
                };
                Shape {
                    size: layout.base,
                    flags: ty.kind << Shape::KIND_SHIFT
                        | Shape::ARRAY
                        | references
                        | layout.slot.size().ilog2(),
                    first: 0,
                    count: 0,
                }
            }
        };
        self.types[index] = Some(Arc::clone(ty));
    }

    /// Adds a type and keeps it registered.
    pub(super) fn add_registered(&mut self, ty: &RegisteredType) -> Result<()> {
        if self.get(ty.index()).is_none() {
            self.add(&Arc::new(GcType::of_registered(ty)?));
            self.kept.push(ty.clone());
        }
        Ok(())
    }

    /// Whether `sub` is `sup` or a declared subtype of it.
    pub(super) fn is_subtype(&self, registry: &TypeRegistry, sub: u32, sup: u32) -> bool {
        let display = self.records.get(sub as usize).map(|record| &record.display);
        sub == sup
            || display.is_some_and(|display| display.contains(&sup))
            || registry.is_subtype(
                EngineTypeIndex::from_u32(sub),
                EngineTypeIndex::from_u32(sup),
            )
    }

    /// The table for generated code.
    pub(super) fn records(&self) -> &[VMGcType] {
        &self.records
    }

    /// What collectors know of a type; `None` if the store has never met it.
    #[inline]
    pub(super) fn shape(&self, index: EngineTypeIndex) -> Option<Shape> {
        let shape = self.shapes.get(index.index())?;
        (shape.kind() != 0).then_some(*shape)
    }

    /// The table for collectors.
    #[inline]
    pub(super) fn shapes(&self) -> &[Shape] {
        &self.shapes
    }

    /// Offsets of references in structs, for [`Shape::first`].
    #[inline]
    pub(super) fn offsets(&self) -> &[u32] {
        &self.offsets
    }
}
