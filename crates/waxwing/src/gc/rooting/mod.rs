//! Roots: how the host keeps references alive.
//!
//! A root is an entry in its store's [`RootSet`]. [`Rooted`], [`ManuallyRooted`] and [`OwnedRooted`] are
//! the places of such entries, never references themselves, so that a collector may move or free what
//! they lead to without touching the values that the host holds.
//!
//! Code of this crate that takes a reference out of its root holds it for as long as nothing allocates:
//! it is given to WebAssembly, stored or looked at first, and read from the root again afterwards. What
//! WebAssembly gives to the host is rooted before anything else happens.

mod manually_rooted;
mod owned_rooted;
mod root_set;
mod rooted;

use std::ops::Deref;

use crate::{
    AnyRef, ArrayRef, AsContext, AsContextMut, EqRef, StoreContext, StoreContextMut, StructRef,
};

pub use manually_rooted::ManuallyRooted;
pub use owned_rooted::OwnedRooted;
pub use root_set::GcRootIndex;
pub(crate) use root_set::RootSet;
pub use rooted::Rooted;

pub(crate) mod sealed {
    use super::GcRootIndex;
    use crate::HeapType;
    use crate::store::StoreOpaque;
    use waxwing_environ::WasmHeapType;
    use waxwing_vm::VMGcRef;

    /// What makes a type a [`GcRef`](super::GcRef).
    pub trait GcRefImpl: Sized {
        /// Views the place of a root as the reference that is there.
        #[doc(hidden)]
        fn from_index(index: &GcRootIndex) -> &Self;

        /// What references of the type refer to.
        #[doc(hidden)]
        fn heap_type() -> HeapType;

        /// The type of what one reference of the type refers to, the most precise one.
        #[doc(hidden)]
        fn type_of(store: &StoreOpaque, gc_ref: VMGcRef) -> WasmHeapType {
            crate::gc::object::type_of(store, gc_ref)
        }
    }

    /// What makes a type a [`RootedGcRef`](super::RootedGcRef).
    pub trait RootedGcRefImpl<T> {
        /// The place of the root.
        #[doc(hidden)]
        fn index(&self) -> GcRootIndex;
    }
}

/// A type of reference that a store manages: [`ExternRef`](crate::ExternRef), [`AnyRef`], and what
/// can be below it.
///
/// Sealed: implemented by this crate's types alone.
pub trait GcRef: sealed::GcRefImpl {}

impl<T> GcRef for T where T: sealed::GcRefImpl {}

/// A reference with a root: [`Rooted`], [`ManuallyRooted`] or [`OwnedRooted`].
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

/// Makes a wrapper of a root's place a reference.
macro_rules! gc_ref {
    ($name:ident, $heap:ident) => {
        impl $crate::gc::sealed::GcRefImpl for $name {
            fn from_index(index: &$crate::gc::rooting::GcRootIndex) -> &$name {
                // SAFETY: the type is a transparent wrapper of `GcRootIndex`.
                unsafe { &*std::ptr::from_ref(index).cast::<$name>() }
            }

            fn heap_type() -> $crate::HeapType {
                $crate::HeapType::$heap
            }
        }
    };
}
pub(super) use gc_ref;

/// Roots of subtypes as roots of supertypes: the root stays the same.
macro_rules! upcasts {
    ($($rooted:ident { $($from:ident => $to:ident $method:ident $what:literal;)* })*) => {$($(
        impl $rooted<$from> {
            #[doc = concat!("The same reference as ", $what, ". The root stays the same.")]
            #[inline]
            pub fn $method(self) -> $rooted<$to> {
                self.cast()
            }
        }

        impl From<$rooted<$from>> for $rooted<$to> {
            #[inline]
            fn from(reference: $rooted<$from>) -> Self {
                reference.cast()
            }
        }
    )*)*};
}

macro_rules! each_upcast {
    ($($rooted:ident)*) => {
        upcasts! {$(
            $rooted {
                StructRef => AnyRef to_anyref "an [`AnyRef`]";
                StructRef => EqRef to_eqref "an [`EqRef`]";
                ArrayRef => AnyRef to_anyref "an [`AnyRef`]";
                ArrayRef => EqRef to_eqref "an [`EqRef`]";
                EqRef => AnyRef to_anyref "an [`AnyRef`]";
            }
        )*}
    };
}

each_upcast!(Rooted ManuallyRooted OwnedRooted);

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
