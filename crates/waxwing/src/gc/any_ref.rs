//! [`AnyRef`]: references to internal values.

use anyhow::Result;
use waxwing_environ::WasmHeapType;
use waxwing_vm::{GcKind, VMGcRef};

use super::object::{self, downcasts};
use super::rooting::{GcRootIndex, gc_ref};
use crate::{AsContext, AsContextMut, EqRef, ExternRef, HeapType, I31, Rooted};

/// A reference to an internal value: to a struct, an array or a 31-bit integer, or to a value of
/// the host in the form that internal references have.
///
/// This is the type `(ref any)`. `Option<Rooted<AnyRef>>` is `anyref`, which can be null.
///
/// ```
/// # use waxwing::*;
/// # fn main() -> Result<()> {
/// let mut store = Store::<()>::default();
/// let five = AnyRef::from_i31(&mut store, I31::wrapping_u32(5));
/// assert!(five.is_eqref(&store)? && !five.is_struct(&store)?);
/// assert_eq!(five.unwrap_i31(&store)?.get_u32(), 5);
/// assert!(five.ty(&store)?.matches(&HeapType::Eq));
///
/// let text = ExternRef::new(&mut store, "a value of the host")?;
/// let text = AnyRef::convert_extern(&mut store, text)?;
/// assert!(!text.is_eqref(&store)?);
/// # Ok(())
/// # }
/// ```
#[repr(transparent)]
pub struct AnyRef {
    pub(super) index: GcRootIndex,
}

gc_ref!(AnyRef, Any);
downcasts!(AnyRef);

impl AnyRef {
    /// A reference that holds the integer, rooted in the current scope.
    pub fn from_i31(mut store: impl AsContextMut, value: I31) -> Rooted<Self> {
        Rooted::new(store.as_context_mut().0, value.to_gc_ref())
    }

    /// The same reference as an internal one, as the instruction `any.convert_extern` makes it,
    /// rooted in the current scope.
    ///
    /// # Errors
    ///
    /// Fails if the reference is not rooted any more.
    ///
    /// # Panics
    ///
    /// Panics if the reference belongs to another store.
    pub fn convert_extern(
        mut store: impl AsContextMut,
        extern_ref: Rooted<ExternRef>,
    ) -> Result<Rooted<Self>> {
        let store = store.as_context_mut().0;
        let gc_ref = extern_ref.root_index().get(store)?;
        Ok(Rooted::new(store, gc_ref))
    }

    /// The reference that `raw`, a result of [`to_raw`](Self::to_raw) or a
    /// [`ValRaw`](crate::ValRaw), stands for, rooted in the current scope. `None` for null.
    ///
    /// # Safety
    ///
    /// `raw` came from this store, and garbage was not collected since, which can move objects.
    pub unsafe fn from_raw(mut store: impl AsContextMut, raw: u32) -> Option<Rooted<Self>> {
        let gc_ref = VMGcRef::new(raw)?;
        Some(Rooted::new(store.as_context_mut().0, gc_ref))
    }

    /// The representation of the reference in a [`ValRaw`](crate::ValRaw).
    ///
    /// # Errors
    ///
    /// Fails if the reference is not rooted any more.
    ///
    /// # Panics
    ///
    /// Panics if the reference belongs to another store.
    ///
    /// # Safety
    ///
    /// The result does not keep the reference alive: it is for immediate use in a call, before
    /// anything else is done with the store.
    pub unsafe fn to_raw(&self, mut store: impl AsContextMut) -> Result<u32> {
        let gc_ref = self.index.get(store.as_context_mut().0)?;
        Ok(gc_ref.get())
    }

    /// The type of what this refers to, the most precise one: `i31`, or the type of the struct or
    /// array. `any` for a value of the host.
    ///
    /// # Errors
    ///
    /// Fails if the reference is not rooted any more.
    ///
    /// # Panics
    ///
    /// Panics if the reference belongs to another store.
    pub fn ty(&self, store: impl AsContext) -> Result<HeapType> {
        let store = store.as_context().0;
        let ty = object::type_of(store, self.index.get(store)?);
        Ok(HeapType::from_wasm(store.engine(), ty))
    }

    /// Whether what this refers to is of the type `ty`.
    ///
    /// # Errors
    ///
    /// Fails if the reference is not rooted any more.
    ///
    /// # Panics
    ///
    /// Panics if the reference belongs to another store, or `ty` to another engine.
    pub fn matches_ty(&self, store: impl AsContext, ty: &HeapType) -> Result<bool> {
        let store = store.as_context().0;
        let actual: WasmHeapType = object::type_of(store, self.index.get(store)?);
        Ok(object::is_of_type(store, actual, ty))
    }

    /// Whether this is something that `ref.eq` can compare: everything but a value of the host.
    ///
    /// # Errors
    ///
    /// Fails if the reference is not rooted any more.
    ///
    /// # Panics
    ///
    /// Panics if the reference belongs to another store.
    pub fn is_eqref(&self, store: impl AsContext) -> Result<bool> {
        let kind = object::kind(store.as_context().0, self.index)?;
        Ok(matches!(kind, GcKind::I31 | GcKind::Struct | GcKind::Array))
    }

    /// The same reference by its more special type, if this is an `eq`.
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
    pub fn as_eqref(&self, store: impl AsContext) -> Result<Option<Rooted<EqRef>>> {
        let is = self.is_eqref(store)?;
        Ok(is.then(|| Rooted::of_root(self.index)))
    }

    /// The same reference by its more special type: this is an `eq`.
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
    pub fn unwrap_eqref(&self, store: impl AsContext) -> Result<Rooted<EqRef>> {
        Ok(self.as_eqref(store)?.expect("the reference is not an eq"))
    }
}
