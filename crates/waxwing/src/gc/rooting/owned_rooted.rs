//! [`OwnedRooted`].

use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::Arc;

use anyhow::Result;
use waxwing_vm::VMGcRef;

use super::{GcRef, GcRootIndex, Rooted, RootedGcRef, sealed};
use crate::store::StoreOpaque;
use crate::{AsContext, AsContextMut};

/// A reference that is rooted until it and its clones are dropped.
///
/// This is the most convenient way to hold on to a reference beyond its scope, and a little slower
/// than [`ManuallyRooted`](crate::ManuallyRooted): an allocation is made for each. The root ends at
/// the store's next collection after the last owner was dropped, on whatever thread that was.
///
/// ```
/// # use waxwing::*;
/// # fn main() -> Result<()> {
/// let engine = Engine::default();
/// let mut store = Store::new(&engine, ());
/// let kept = {
///     let mut scope = RootScope::new(&mut store);
///     let scoped = ExternRef::new(&mut scope, 7_u32)?;
///     scoped.to_owned_rooted(&mut scope)?
/// };
/// store.gc();
/// assert!(kept.data(&store)?.expect("the host's own value").is::<u32>());
/// # Ok(())
/// # }
/// ```
pub struct OwnedRooted<T>
where
    T: GcRef,
{
    index: GcRootIndex,
    /// What tells the store that the root is still in use.
    token: Arc<()>,
    _type: PhantomData<T>,
}

impl<T: GcRef> fmt::Debug for OwnedRooted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OwnedRooted").field(&self.index).finish()
    }
}

/// A clone shares the root.
impl<T: GcRef> Clone for OwnedRooted<T> {
    fn clone(&self) -> Self {
        OwnedRooted {
            index: self.index,
            token: Arc::clone(&self.token),
            _type: PhantomData,
        }
    }
}

impl<T: GcRef> Deref for OwnedRooted<T> {
    type Target = T;

    fn deref(&self) -> &T {
        T::from_index(&self.index)
    }
}

impl<T: GcRef> sealed::RootedGcRefImpl<T> for OwnedRooted<T> {
    fn index(&self) -> GcRootIndex {
        self.index
    }
}

/// Why an owned root can always be read.
const OWNED: &str = "an owned root lasts as long as its owners";

impl<T> OwnedRooted<T>
where
    T: GcRef,
{
    pub(crate) fn new(store: &mut StoreOpaque, gc_ref: VMGcRef) -> OwnedRooted<T> {
        let id = store.id();
        let (index, token) = store.roots_mut().add_owned(id, gc_ref);
        OwnedRooted {
            index,
            token,
            _type: PhantomData,
        }
    }

    #[inline]
    pub(crate) fn root_index(&self) -> GcRootIndex {
        self.index
    }

    /// The same reference by the name of another type. What it refers to is of the type `U`.
    #[inline]
    pub(super) fn cast<U: GcRef>(self) -> OwnedRooted<U> {
        OwnedRooted {
            index: self.index,
            token: self.token,
            _type: PhantomData,
        }
    }

    /// Roots the same reference in the current scope, beside this root.
    ///
    /// # Panics
    ///
    /// Panics if `self` belongs to another store.
    pub fn to_rooted(&self, mut store: impl AsContextMut) -> Rooted<T> {
        let store = store.as_context_mut();
        let gc_ref = self.index.get(store.0).expect(OWNED);
        Rooted::new(store.0, gc_ref)
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
        let gc_ref = self.index.get(store.as_context().0).expect(OWNED);
        gc_ref.hash(state);
    }
}
