//! Roots: how the host keeps references alive.
//!
//! A root is an entry in its store's [`RootSet`]. [`Rooted`] and [`ManuallyRooted`] are the places
//! of such entries, never references themselves, so that a collector may move or free what they
//! lead to without touching the values that the host holds.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;
use std::num::NonZeroU32;
use std::ops::Deref;

use anyhow::{Result, anyhow};
use waxwing_vm::StoreId;

use crate::store::StoreOpaque;
use crate::{AsContext, AsContextMut, StoreContext, StoreContextMut};

/// The place of a root: in which store, and where there.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct GcRootIndex {
    store: StoreId,
    /// Told apart from a root that had the same place before.
    generation: u32,
    place: Place,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Place {
    /// In the stack of scoped roots.
    Scoped(u32),
    /// In the slab of manual roots.
    Manual(u32),
}

impl GcRootIndex {
    pub(crate) fn comes_from(&self, store: &StoreOpaque) -> bool {
        self.store == store.id()
    }

    /// The reference that the root holds.
    ///
    /// # Errors
    ///
    /// Fails if the root's scope has been left or the root has been given up.
    ///
    /// # Panics
    ///
    /// Panics if the root belongs to another store.
    pub(crate) fn get(&self, store: &StoreOpaque) -> Result<NonZeroU32> {
        store.assert_owns(self.store);
        let roots = store.roots();
        let slot = match self.place {
            Place::Scoped(index) => roots
                .scoped
                .get(index as usize)
                .map(|root| (root.generation, root.gc_ref)),
            Place::Manual(index) => roots
                .manual
                .get(index as usize)
                .and_then(|slot| match slot {
                    ManualSlot::Used(root) => Some((root.generation, root.gc_ref)),
                    ManualSlot::Free { .. } => None,
                }),
        };
        slot.filter(|(generation, _)| *generation == self.generation)
            .map(|(_, gc_ref)| gc_ref)
            .ok_or_else(|| {
                anyhow!("attempted to use a garbage-collected reference that has been unrooted")
            })
    }
}

#[derive(Clone, Copy)]
struct Root {
    generation: u32,
    gc_ref: NonZeroU32,
}

enum ManualSlot {
    Used(Root),
    Free { next: Option<u32> },
}

/// All roots of a store.
#[derive(Default)]
pub(crate) struct RootSet {
    /// Scoped roots, those of inner scopes last.
    scoped: Vec<Root>,
    /// Changes whenever a scope with roots is left.
    scope_generation: u32,
    manual: Vec<ManualSlot>,
    first_free: Option<u32>,
    manual_generation: u32,
}

impl RootSet {
    /// What [`leave_scope`](Self::leave_scope) needs to forget all roots made from here on.
    #[inline]
    pub(crate) fn enter_scope(&self) -> usize {
        self.scoped.len()
    }

    #[inline]
    pub(crate) fn leave_scope(&mut self, scope: usize) {
        if self.scoped.len() > scope {
            self.forget_scoped(scope);
        }
    }

    #[cold]
    fn forget_scoped(&mut self, scope: usize) {
        self.scoped.truncate(scope);
        self.scope_generation = self.scope_generation.wrapping_add(1);
    }

    /// Calls `visit` with every reference that is rooted.
    pub(crate) fn trace(&mut self, visit: &mut dyn FnMut(&mut NonZeroU32)) {
        for root in &mut self.scoped {
            visit(&mut root.gc_ref);
        }
        for slot in &mut self.manual {
            if let ManualSlot::Used(root) = slot {
                visit(&mut root.gc_ref);
            }
        }
    }

    fn reserve(&mut self, additional: usize) {
        self.scoped.reserve(additional);
    }

    pub(crate) fn add_scoped(&mut self, store: StoreId, gc_ref: NonZeroU32) -> GcRootIndex {
        let place = Place::Scoped(
            u32::try_from(self.scoped.len()).expect("a store holds fewer than 2^32 scoped roots"),
        );
        let generation = self.scope_generation;
        self.scoped.push(Root { generation, gc_ref });
        GcRootIndex {
            store,
            generation,
            place,
        }
    }

    fn add_manual(&mut self, store: StoreId, gc_ref: NonZeroU32) -> GcRootIndex {
        self.manual_generation = self.manual_generation.wrapping_add(1);
        let generation = self.manual_generation;
        let root = ManualSlot::Used(Root { generation, gc_ref });
        let index = match self.first_free {
            Some(index) => {
                let slot = &mut self.manual[index as usize];
                if let ManualSlot::Free { next } = *slot {
                    self.first_free = next;
                }
                *slot = root;
                index
            }
            None => {
                self.manual.push(root);
                u32::try_from(self.manual.len() - 1)
                    .expect("a store holds fewer than 2^32 manual roots")
            }
        };
        GcRootIndex {
            store,
            generation,
            place: Place::Manual(index),
        }
    }

    fn remove_manual(&mut self, root: GcRootIndex) {
        let Place::Manual(index) = root.place else {
            return;
        };
        let slot = &mut self.manual[index as usize];
        if matches!(slot, ManualSlot::Used(used) if used.generation == root.generation) {
            *slot = ManualSlot::Free {
                next: self.first_free,
            };
            self.first_free = Some(index);
        }
    }
}

pub(crate) mod sealed {
    use super::GcRootIndex;
    use crate::HeapType;

    /// What makes a type a [`GcRef`](super::GcRef).
    pub trait GcRefImpl: Sized {
        /// Views the place of a root as the reference that is there.
        #[doc(hidden)]
        fn from_index(index: &GcRootIndex) -> &Self;

        /// What references of the type refer to.
        #[doc(hidden)]
        fn heap_type() -> HeapType;
    }

    /// What makes a type a [`RootedGcRef`](super::RootedGcRef).
    pub trait RootedGcRefImpl<T> {
        /// The place of the root.
        #[doc(hidden)]
        fn index(&self) -> GcRootIndex;
    }
}

/// A type of reference that a store manages: [`ExternRef`](crate::ExternRef) and
/// [`AnyRef`](crate::AnyRef).
///
/// Sealed: implemented by this crate's types alone.
pub trait GcRef: sealed::GcRefImpl {}

impl<T> GcRef for T where T: sealed::GcRefImpl {}

/// A reference that is certain to be rooted: [`Rooted`] or [`ManuallyRooted`].
///
/// Sealed: implemented by this crate's types alone.
pub trait RootedGcRef<T>: sealed::RootedGcRefImpl<T> + Deref<Target = T>
where
    T: GcRef,
{
}

impl<T, U> RootedGcRef<T> for U
where
    T: GcRef,
    U: sealed::RootedGcRefImpl<T> + Deref<Target = T>,
{
}

/// A reference that is rooted until its scope ends.
///
/// A scope is a [`RootScope`], or a call of a host function: what such a function gets as
/// arguments and makes itself is rooted until it returns. Outside of any scope roots last as long as
/// the store. To hold on to a reference beyond its scope, use [`ManuallyRooted`].
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
        debug_root("Rooted", self.index, f)
    }
}

fn debug_root(name: &str, index: GcRootIndex, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let (Place::Scoped(place) | Place::Manual(place)) = index.place;
    f.debug_struct(name)
        .field("store", &index.store)
        .field("generation", &index.generation)
        .field("index", &place)
        .finish()
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
    pub(crate) fn new(store: &mut StoreOpaque, gc_ref: NonZeroU32) -> Rooted<T> {
        let id = store.id();
        Rooted {
            index: store.roots_mut().add_scoped(id, gc_ref),
            _type: PhantomData,
        }
    }

    pub(crate) fn root_index(&self) -> GcRootIndex {
        self.index
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

    /// Hashes the identity of the object, consistently with [`ref_eq`](Self::ref_eq).
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
        debug_root("ManuallyRooted", self.index, f)
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
    pub(crate) fn new(store: &mut StoreOpaque, gc_ref: NonZeroU32) -> ManuallyRooted<T> {
        let id = store.id();
        ManuallyRooted {
            index: store.roots_mut().add_manual(id, gc_ref),
            _type: PhantomData,
        }
    }

    pub(crate) fn root_index(&self) -> GcRootIndex {
        self.index
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
        store.assert_owns(self.index.store);
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

    /// Hashes the identity of the object, consistently with [`ref_eq`](Self::ref_eq).
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

/// A scope for [`Rooted`] references: what is rooted through it is unrooted when it is dropped.
///
/// It stands for the store's context that it was made of. See [`Rooted`] for an example.
pub struct RootScope<C>
where
    C: AsContextMut,
{
    store: C,
    scope: usize,
}

impl<C> RootScope<C>
where
    C: AsContextMut,
{
    /// A scope within `store`'s current one.
    pub fn new(store: C) -> Self {
        let scope = store.as_context().0.roots().enter_scope();
        RootScope { store, scope }
    }

    /// Makes room for `additional` roots, so that rooting them need not allocate.
    pub fn reserve(&mut self, additional: usize) {
        let store = self.store.as_context_mut();
        store.0.roots_mut().reserve(additional);
    }
}

impl<C> Drop for RootScope<C>
where
    C: AsContextMut,
{
    fn drop(&mut self) {
        let store = self.store.as_context_mut();
        store.0.roots_mut().leave_scope(self.scope);
    }
}

impl<C> AsContext for RootScope<C>
where
    C: AsContextMut,
{
    type Data = C::Data;

    fn as_context(&self) -> StoreContext<'_, Self::Data> {
        self.store.as_context()
    }
}

impl<C> AsContextMut for RootScope<C>
where
    C: AsContextMut,
{
    fn as_context_mut(&mut self) -> StoreContextMut<'_, Self::Data> {
        self.store.as_context_mut()
    }
}
