//! [`ManuallyRooted`].

use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;
use std::ops::Deref;

use anyhow::Result;
use waxwing_vm::VMGcRef;

use super::{GcRef, GcRootIndex, Rooted, RootedGcRef, sealed};
use crate::store::StoreOpaque;
use crate::{AsContext, AsContextMut};

/// A reference that is rooted until it is unrooted by hand.
///
/// Dropping one does not end its root, as that takes the store: use [`unroot`](Self::unroot) or
/// [`into_rooted`](Self::into_rooted). Otherwise it lasts as long as the store.
///
/// ```
/// # use waxwing::*;
/// # fn main() -> Result<()> {
/// let engine = Engine::default();
/// let mut store = Store::new(&engine, ());
/// let kept = {
///     let mut scope = RootScope::new(&mut store);
///     let scoped = ExternRef::new(&mut scope, 7_u32)?;
///     scoped.to_manually_rooted(&mut scope)?
/// };
/// assert!(kept.data(&store)?.expect("the host's own value").is::<u32>());
/// kept.unroot(&mut store);
/// # Ok(())
/// # }
/// ```
#[repr(transparent)]
pub struct ManuallyRooted<T>
where
    T: GcRef,
{
    index: GcRootIndex,
    _type: PhantomData<T>,
}

impl<T: GcRef> fmt::Debug for ManuallyRooted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ManuallyRooted").field(&self.index).finish()
    }
}

impl<T: GcRef> Deref for ManuallyRooted<T> {
    type Target = T;

    fn deref(&self) -> &T {
        T::from_index(&self.index)
    }
}

impl<T: GcRef> sealed::RootedGcRefImpl<T> for ManuallyRooted<T> {
    fn index(&self) -> GcRootIndex {
        self.index
    }
}

/// Why a manual root can always be read: nothing but consuming it ends it.
const ROOTED: &str = "a manual root lasts until it is consumed";

impl<T> ManuallyRooted<T>
where
    T: GcRef,
{
    pub(crate) fn new(store: &mut StoreOpaque, gc_ref: VMGcRef) -> ManuallyRooted<T> {
        let id = store.id();
        ManuallyRooted {
            index: store.roots_mut().add_manual(id, gc_ref),
            _type: PhantomData,
        }
    }

    #[inline]
    pub(crate) fn root_index(&self) -> GcRootIndex {
        self.index
    }

    /// The same reference by the name of another type. What it refers to is of the type `U`.
    #[inline]
    pub(super) fn cast<U: GcRef>(self) -> ManuallyRooted<U> {
        ManuallyRooted {
            index: self.index,
            _type: PhantomData,
        }
    }

    /// Roots the same reference once more, independently of `self`.
    ///
    /// # Panics
    ///
    /// Panics if `self` belongs to another store.
    pub fn clone(&self, mut store: impl AsContextMut) -> Self {
        let store = store.as_context_mut();
        let gc_ref = self.index.get(store.0).expect(ROOTED);
        ManuallyRooted::new(store.0, gc_ref)
    }

    /// Ends the root.
    ///
    /// # Panics
    ///
    /// Panics if `self` belongs to another store.
    pub fn unroot(self, mut store: impl AsContextMut) {
        let store = store.as_context_mut();
        self.unroot_in(store.0);
    }

    pub(crate) fn unroot_in(self, store: &mut StoreOpaque) {
        store.assert_owns(self.index.store());
        store.roots_mut().remove_manual(self.index);
    }

    /// Roots the same reference in the current scope, beside this root.
    ///
    /// # Panics
    ///
    /// Panics if `self` belongs to another store.
    pub fn to_rooted(&self, mut store: impl AsContextMut) -> Rooted<T> {
        let store = store.as_context_mut();
        let gc_ref = self.index.get(store.0).expect(ROOTED);
        Rooted::new(store.0, gc_ref)
    }

    /// Roots the same reference in the current scope, in place of this root.
    ///
    /// # Panics
    ///
    /// Panics if `self` belongs to another store.
    pub fn into_rooted(self, mut store: impl AsContextMut) -> Rooted<T> {
        let mut store = store.as_context_mut();
        let rooted = self.to_rooted(&mut store);
        self.unroot(store);
        rooted
    }

    /// Whether `a` and `b` refer to the same object.
    ///
    /// # Errors
    ///
    /// Fails if one of them is not rooted any more.
    ///
    /// # Panics
    ///
    /// Panics if one of them belongs to another store.
    pub fn ref_eq(
        store: impl AsContext,
        a: &impl RootedGcRef<T>,
        b: &impl RootedGcRef<T>,
    ) -> Result<bool> {
        Rooted::ref_eq(store, a, b)
    }

    /// Hashes the root itself. Roots of one object may differ: see [`ref_hash`](Self::ref_hash).
    pub fn rooted_hash<H>(&self, state: &mut H)
    where
        H: Hasher,
    {
        self.index.hash(state);
    }

    /// Hashes the identity of the object, consistently with [`ref_eq`](Self::ref_eq). After a
    /// collection, which may move the object, the hash can be another one.
    ///
    /// # Panics
    ///
    /// Panics if `self` belongs to another store.
    pub fn ref_hash<H>(&self, store: impl AsContext, state: &mut H)
    where
        H: Hasher,
    {
        let gc_ref = self.index.get(store.as_context().0).expect(ROOTED);
        gc_ref.hash(state);
    }
}
