//! [`Rooted`].

use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;
use std::ops::Deref;

use anyhow::Result;
use waxwing_vm::VMGcRef;

use super::{GcRef, GcRootIndex, ManuallyRooted, OwnedRooted, RootedGcRef, sealed};
use crate::store::StoreOpaque;
use crate::{AsContext, AsContextMut};

/// A reference that is rooted until its scope ends.
///
/// A scope is a [`RootScope`](crate::RootScope), or a call of a host function: what such a function
/// gets as arguments and makes itself is rooted until it returns. Outside of any scope roots last as
/// long as the store: a program that keeps a store for long needs scopes. To hold on to a reference
/// beyond its scope, use [`OwnedRooted`] or
/// [`ManuallyRooted`].
///
/// A `Rooted` is small and `Copy`. Using one after the end of its scope gives an error; using one
/// with another store than its own panics.
///
/// ```
/// # use waxwing::*;
/// # fn main() -> Result<()> {
/// let engine = Engine::default();
/// let mut store = Store::new(&engine, ());
/// let hello;
/// {
///     let mut scope = RootScope::new(&mut store);
///     hello = ExternRef::new(&mut scope, "hello")?;
///     let data = hello.data(&scope)?.expect("the host's own value");
///     assert_eq!(data.downcast_ref::<&str>(), Some(&"hello"));
/// }
/// assert!(hello.data(&store).is_err());
/// # Ok(())
/// # }
/// ```
#[repr(transparent)]
pub struct Rooted<T: GcRef> {
    index: GcRootIndex,
    _type: PhantomData<T>,
}

impl<T: GcRef> Clone for Rooted<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: GcRef> Copy for Rooted<T> {}

impl<T: GcRef> fmt::Debug for Rooted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Rooted").field(&self.index).finish()
    }
}

impl<T: GcRef> Deref for Rooted<T> {
    type Target = T;

    fn deref(&self) -> &T {
        T::from_index(&self.index)
    }
}

impl<T: GcRef> sealed::RootedGcRefImpl<T> for Rooted<T> {
    fn index(&self) -> GcRootIndex {
        self.index
    }
}

impl<T: GcRef> Rooted<T> {
    /// Roots `gc_ref` in the store's current scope.
    pub(crate) fn new(store: &mut StoreOpaque, gc_ref: VMGcRef) -> Rooted<T> {
        let id = store.id();
        Rooted {
            index: store.roots_mut().add_scoped(id, gc_ref),
            _type: PhantomData,
        }
    }

    /// The reference of a root that exists already. What it refers to is of the type `T`.
    pub(crate) fn of_root(index: GcRootIndex) -> Rooted<T> {
        Rooted {
            index,
            _type: PhantomData,
        }
    }

    #[inline]
    pub(crate) fn root_index(&self) -> GcRootIndex {
        self.index
    }

    /// The same reference by the name of another type. What it refers to is of the type `U`.
    #[inline]
    pub(crate) fn cast<U: GcRef>(self) -> Rooted<U> {
        Rooted::of_root(self.index)
    }

    /// Roots the same reference until it is unrooted by hand.
    ///
    /// # Errors
    ///
    /// Fails if the scope of `self` has ended.
    ///
    /// # Panics
    ///
    /// Panics if `self` belongs to another store.
    pub fn to_manually_rooted(&self, mut store: impl AsContextMut) -> Result<ManuallyRooted<T>> {
        let store = store.as_context_mut();
        let gc_ref = self.index.get(store.0)?;
        Ok(ManuallyRooted::new(store.0, gc_ref))
    }

    /// Roots the same reference until the result and all its clones are dropped.
    ///
    /// # Errors
    ///
    /// Fails if the scope of `self` has ended.
    ///
    /// # Panics
    ///
    /// Panics if `self` belongs to another store.
    pub fn to_owned_rooted(&self, mut store: impl AsContextMut) -> Result<OwnedRooted<T>> {
        let store = store.as_context_mut();
        let gc_ref = self.index.get(store.0)?;
        Ok(OwnedRooted::new(store.0, gc_ref))
    }

    /// Whether `a` and `b` are one root. Two roots may lead to one object: see
    /// [`ref_eq`](Self::ref_eq).
    pub fn rooted_eq(a: Self, b: Self) -> bool {
        a.index == b.index
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
        let store = store.as_context();
        Ok(a.index().get(store.0)? == b.index().get(store.0)?)
    }

    /// Hashes the root, consistently with [`rooted_eq`](Self::rooted_eq).
    pub fn rooted_hash<H>(&self, state: &mut H)
    where
        H: Hasher,
    {
        self.index.hash(state);
    }

    /// Hashes the identity of the object, consistently with [`ref_eq`](Self::ref_eq). After a
    /// collection, which may move the object, the hash can be another one.
    ///
    /// # Errors
    ///
    /// Fails if the scope of `self` has ended.
    ///
    /// # Panics
    ///
    /// Panics if `self` belongs to another store.
    pub fn ref_hash<H>(&self, store: impl AsContext, state: &mut H) -> Result<()>
    where
        H: Hasher,
    {
        self.index.get(store.as_context().0)?.hash(state);
        Ok(())
    }
}
