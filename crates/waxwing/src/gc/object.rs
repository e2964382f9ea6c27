//! What the references of the internal hierarchy have in common: looking at what they refer to.

use anyhow::{Context, Result, ensure};
use waxwing_environ::{TypeRef, WasmHeapType};
use waxwing_vm::{GcKind, VMGcRef, ValRaw};

use super::rooting::GcRootIndex;
use crate::store::StoreOpaque;
use crate::{HeapType, StorageType, Val, matching};

/// The type of what an internal reference refers to, the most precise one.
pub(crate) fn type_of(store: &StoreOpaque, gc_ref: VMGcRef) -> WasmHeapType {
    let gc = store.core().gc();
    let concrete = || TypeRef::Engine(gc.type_index(gc_ref));
    match gc.kind(gc_ref) {
        GcKind::I31 => WasmHeapType::I31,
        GcKind::Struct => WasmHeapType::ConcreteStruct(concrete()),
        GcKind::Array => WasmHeapType::ConcreteArray(concrete()),
        GcKind::Exn => WasmHeapType::Exn,
        // A value of the host that was converted: it is nothing more special.
        GcKind::Extern => WasmHeapType::Any,
    }
}

/// Whether something whose most precise type is `actual` is of the type `ty`.
///
/// # Panics
///
/// Panics if `ty` belongs to another engine.
pub(crate) fn is_of_type(store: &StoreOpaque, actual: WasmHeapType, ty: &HeapType) -> bool {
    assert!(
        ty.comes_from_same_engine(store.engine()),
        "type used with a store of another engine"
    );
    matching::heap_type(actual, ty.to_wasm(), &|a, b| {
        store.engine().type_registry().is_subtype(a, b)
    })
}

/// The kind of what the root's reference refers to.
pub(super) fn kind(store: &StoreOpaque, root: GcRootIndex) -> Result<GcKind> {
    let gc_ref = root.get(store)?;
    Ok(store.core().gc().kind(gc_ref))
}

/// Fails if objects cannot be made in the store.
pub(super) fn ensure_collector(store: &StoreOpaque) -> Result<()> {
    ensure!(
        store.engine().tunables().collector.is_some(),
        "the engine has no collector for references: use `Config::gc_support(true)`, and the Cargo \
         feature `gc` of this crate"
    );
    Ok(())
}

/// Fails unless the value can be stored in a field or element of the type `ty`.
pub(super) fn check_storable(store: &StoreOpaque, val: &Val, ty: &StorageType) -> Result<()> {
    val.ensure_matches(store, ty.unpack())
}

/// The value as a field or element of the type `ty` stores it.
pub(super) fn to_storage(store: &StoreOpaque, val: &Val, ty: &StorageType) -> Result<ValRaw> {
    check_storable(store, val, ty)?;
    val.to_raw_in(store)
}

/// The value of a field or element of the type `ty`, zero-extended if it is packed. A reference is
/// rooted in the current scope.
///
/// # Safety
///
/// `raw` was read from such a field or element of this store.
pub(super) unsafe fn from_storage(store: &mut StoreOpaque, raw: ValRaw, ty: &StorageType) -> Val {
    // SAFETY: required of the caller.
    unsafe { Val::from_raw_in(store, raw, ty.unpack()) }
}

/// The position of a field, as the runtime counts them.
pub(super) fn field_number(index: usize) -> Result<u32> {
    u32::try_from(index).context("no object has so many fields")
}

/// Casts from the type `$name`, a wrapper of a root's index, to the types below it.
macro_rules! downcasts {
    ($name:ident) => {
        impl $name {
            /// Whether this is a 31-bit integer.
            ///
            /// # Errors
            ///
            /// Fails if the reference is not rooted any more.
            ///
            /// # Panics
            ///
            /// Panics if the reference belongs to another store.
            pub fn is_i31(&self, store: impl $crate::AsContext) -> anyhow::Result<bool> {
                let kind = $crate::gc::object::kind(store.as_context().0, self.index)?;
                Ok(kind == waxwing_vm::GcKind::I31)
            }

            /// The integer, if this is a 31-bit integer.
            ///
            /// # Errors
            ///
            /// Fails if the reference is not rooted any more.
            ///
            /// # Panics
            ///
            /// Panics if the reference belongs to another store.
            pub fn as_i31(
                &self,
                store: impl $crate::AsContext,
            ) -> anyhow::Result<Option<$crate::I31>> {
                let gc_ref = self.index.get(store.as_context().0)?;
                Ok($crate::I31::of_gc_ref(gc_ref))
            }

            /// The integer, which this is.
            ///
            /// # Errors
            ///
            /// Fails if the reference is not rooted any more.
            ///
            /// # Panics
            ///
            /// Panics if this is something else, or if the reference belongs to another store.
            #[track_caller]
            pub fn unwrap_i31(&self, store: impl $crate::AsContext) -> anyhow::Result<$crate::I31> {
                Ok(self.as_i31(store)?.expect("the reference is not an i31"))
            }
        }

        $crate::gc::object::object_downcasts! {
            $name:
                StructRef Struct "a struct" is_struct as_struct unwrap_struct;
                ArrayRef Array "an array" is_array as_array unwrap_array;
        }
    };
}

macro_rules! object_downcasts {
    ($name:ident: $($to:ident $kind:ident $what:literal $is:ident $as:ident $unwrap:ident;)*) => {
        impl $name {
            $(
                #[doc = concat!("Whether this is ", $what, ".")]
                ///
                /// # Errors
                ///
                /// Fails if the reference is not rooted any more.
                ///
                /// # Panics
                ///
                /// Panics if the reference belongs to another store.
                pub fn $is(&self, store: impl $crate::AsContext) -> anyhow::Result<bool> {
                    let kind = $crate::gc::object::kind(store.as_context().0, self.index)?;
                    Ok(kind == waxwing_vm::GcKind::$kind)
                }

                #[doc = concat!("The same reference by its more special type, if this is ", $what, ".")]
                ///
                /// The result has the root that `self` has, and is good for as long.
                ///
                /// # Errors
                ///
                /// Fails if the reference is not rooted any more.
                ///
                /// # Panics
                ///
                /// Panics if the reference belongs to another store.
                pub fn $as(
                    &self,
                    store: impl $crate::AsContext,
                ) -> anyhow::Result<Option<$crate::Rooted<$crate::$to>>> {
                    let is = self.$is(store)?;
                    Ok(is.then(|| $crate::Rooted::of_root(self.index)))
                }

                #[doc = concat!("The same reference by its more special type: this is ", $what, ".")]
                ///
                /// The result has the root that `self` has, and is good for as long.
                ///
                /// # Errors
                ///
                /// Fails if the reference is not rooted any more.
                ///
                /// # Panics
                ///
                /// Panics if this is something else, or if the reference belongs to another store.
                #[track_caller]
                pub fn $unwrap(
                    &self,
                    store: impl $crate::AsContext,
                ) -> anyhow::Result<$crate::Rooted<$crate::$to>> {
                    Ok(self.$as(store)?.expect(concat!("the reference is not ", $what)))
                }
            )*
        }
    };
}

pub(super) use {downcasts, object_downcasts};
