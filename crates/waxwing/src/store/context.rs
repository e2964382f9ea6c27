//! Contexts: how functions take a store, whatever stands for it.

use super::{Store, StoreInner};
use crate::Engine;

/// A temporary `&Store<T>`.
///
/// Made by [`AsContext::as_context`].
#[repr(transparent)]
pub struct StoreContext<'a, T>(pub(crate) &'a StoreInner<T>);

/// A temporary `&mut Store<T>`.
///
/// Made by [`AsContextMut::as_context_mut`].
#[repr(transparent)]
pub struct StoreContextMut<'a, T>(pub(crate) &'a mut StoreInner<T>);

impl<T> Clone for StoreContext<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for StoreContext<'_, T> {}

/// What gives shared access to a [`Store`].
///
/// Functions that only look at a store take `impl AsContext`: a `&Store<T>`, a `&Caller<'_, T>` or
/// a [`StoreContext<'_, T>`](StoreContext), for example.
pub trait AsContext {
    /// The type of the store's data, the `T` of [`Store<T>`](Store).
    type Data;

    /// The store, borrowed.
    fn as_context(&self) -> StoreContext<'_, Self::Data>;
}

/// What gives exclusive access to a [`Store`].
///
/// Functions that change something in a store take `impl AsContextMut`: a `&mut Store<T>`, a
/// `&mut Caller<'_, T>` or a [`StoreContextMut<'_, T>`](StoreContextMut), for example.
pub trait AsContextMut: AsContext {
    /// The store, borrowed exclusively.
    fn as_context_mut(&mut self) -> StoreContextMut<'_, Self::Data>;
}

impl<'a, T> StoreContext<'a, T> {
    /// The embedder's data; see [`Store::data`].
    pub fn data(&self) -> &'a T {
        &self.0.data
    }

    /// The store's engine; see [`Store::engine`].
    pub fn engine(&self) -> &Engine {
        &self.0.engine
    }
}

impl<'a, T> StoreContextMut<'a, T> {
    /// The embedder's data; see [`Store::data`].
    pub fn data(&self) -> &T {
        &self.0.data
    }

    /// The embedder's data, to be changed; see [`Store::data_mut`].
    pub fn data_mut(&mut self) -> &mut T {
        &mut self.0.data
    }

    /// The store's engine; see [`Store::engine`].
    pub fn engine(&self) -> &Engine {
        &self.0.engine
    }

    /// Collects garbage; see [`Store::gc`].
    pub fn gc(&mut self) {
        self.0.collect_garbage();
    }

    /// The bytes of memory that the store's heap for garbage-collected values has; see
    /// [`Store::gc_heap_capacity`].
    pub fn gc_heap_capacity(&self) -> usize {
        self.0.gc_heap_capacity()
    }
}

impl<T> AsContext for Store<T> {
    type Data = T;

    #[inline]
    fn as_context(&self) -> StoreContext<'_, T> {
        StoreContext(self.inner())
    }
}

impl<T> AsContextMut for Store<T> {
    #[inline]
    fn as_context_mut(&mut self) -> StoreContextMut<'_, T> {
        StoreContextMut(self.inner_mut())
    }
}

impl<T> AsContext for StoreContext<'_, T> {
    type Data = T;

    #[inline]
    fn as_context(&self) -> StoreContext<'_, T> {
        StoreContext(self.0)
    }
}

impl<T> AsContext for StoreContextMut<'_, T> {
    type Data = T;

    #[inline]
    fn as_context(&self) -> StoreContext<'_, T> {
        StoreContext(self.0)
    }
}

impl<T> AsContextMut for StoreContextMut<'_, T> {
    #[inline]
    fn as_context_mut(&mut self) -> StoreContextMut<'_, T> {
        StoreContextMut(self.0)
    }
}

impl<T: AsContext> AsContext for &T {
    type Data = T::Data;

    #[inline]
    fn as_context(&self) -> StoreContext<'_, T::Data> {
        T::as_context(self)
    }
}

impl<T: AsContext> AsContext for &mut T {
    type Data = T::Data;

    #[inline]
    fn as_context(&self) -> StoreContext<'_, T::Data> {
        T::as_context(self)
    }
}

impl<T: AsContextMut> AsContextMut for &mut T {
    #[inline]
    fn as_context_mut(&mut self) -> StoreContextMut<'_, T::Data> {
        T::as_context_mut(self)
    }
}

impl<'a, T: AsContext> From<&'a T> for StoreContext<'a, T::Data> {
    fn from(store: &'a T) -> Self {
        store.as_context()
    }
}

impl<'a, T: AsContext> From<&'a mut T> for StoreContext<'a, T::Data> {
    fn from(store: &'a mut T) -> Self {
        T::as_context(store)
    }
}

impl<'a, T: AsContextMut> From<&'a mut T> for StoreContextMut<'a, T::Data> {
    fn from(store: &'a mut T) -> Self {
        store.as_context_mut()
    }
}

impl<'a, T> From<StoreContextMut<'a, T>> for StoreContext<'a, T> {
    fn from(store: StoreContextMut<'a, T>) -> Self {
        StoreContext(store.0)
    }
}
