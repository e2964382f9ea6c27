//! [`EqRef`]: references that can be compared.

use anyhow::Result;

use super::object::{self, downcasts};
use super::rooting::{GcRootIndex, gc_ref};
use crate::{AsContext, AsContextMut, HeapType, I31, Rooted};

/// A reference to something that the instruction `ref.eq` can compare: to a struct, an array or a
/// 31-bit integer.
///
/// This is the type `(ref eq)`. `Option<Rooted<EqRef>>` is `eqref`, which can be null.
///
/// ```
/// # use waxwing::*;
/// # fn main() -> Result<()> {
/// let mut store = Store::<()>::default();
/// let five = EqRef::from_i31(&mut store, I31::wrapping_u32(5));
/// assert!(five.is_i31(&store)?);
/// // Every `eq` is an `any`, and every `any` may be an `eq`.
/// let any: Rooted<AnyRef> = five.to_anyref();
/// let same: Rooted<EqRef> = any.unwrap_eqref(&store)?;
/// assert!(Rooted::ref_eq(&store, &five, &same)?);
/// # Ok(())
/// # }
/// ```
#[repr(transparent)]
pub struct EqRef {
    pub(super) index: GcRootIndex,
}

gc_ref!(EqRef, Eq);
downcasts!(EqRef);

impl EqRef {
    /// A reference that holds the integer, rooted in the current scope.
    pub fn from_i31(mut store: impl AsContextMut, value: I31) -> Rooted<Self> {
        Rooted::new(store.as_context_mut().0, value.to_gc_ref())
    }

    /// The type of what this refers to, the most precise one: `i31`, or the type of the struct or
    /// array.
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
        let actual = object::type_of(store, self.index.get(store)?);
        Ok(object::is_of_type(store, actual, ty))
    }
}
