//! Asking the limiter of a store.

use anyhow::{Error, Result};

use super::{Store, StoreInner};
use crate::ResourceLimiter;
#[cfg(feature = "async")]
use crate::ResourceLimiterAsync;

/// Where a store's data has the limiter.
pub(super) enum Limiter<T> {
    Sync(Box<dyn (FnMut(&mut T) -> &mut dyn ResourceLimiter) + Send + Sync>),
    #[cfg(feature = "async")]
    Async(Box<dyn (FnMut(&mut T) -> &mut dyn ResourceLimiterAsync) + Send + Sync>),
}

impl<T> Store<T> {
    /// Installs a limiter that decides what the store's instances may allocate from here on.
    ///
    /// `limiter` projects the limiter out of the store's data, where it lives. What has been
    /// allocated already is not affected. See [`ResourceLimiter`].
    pub fn limiter(
        &mut self,
        mut limiter: impl (FnMut(&mut T) -> &mut dyn ResourceLimiter) + Send + Sync + 'static,
    ) {
        let inner = self.inner_mut();
        let limits = limiter(&mut inner.data);
        let (instances, tables, memories) =
            (limits.instances(), limits.tables(), limits.memories());
        inner.set_limits(instances, tables, memories);
        inner.limiter = Some(Limiter::Sync(Box::new(limiter)));
    }

    /// Installs a limiter as [`limiter`](Self::limiter) does, one that may wait before it decides.
    ///
    /// What allocates memories and tables in the store has to be asynchronous then:
    /// [`Memory::new_async`](crate::Memory::new_async) and [`Memory::grow_async`](crate::Memory::grow_async),
    /// for example, rather than [`Memory::new`](crate::Memory::new) and
    /// [`Memory::grow`](crate::Memory::grow), which panic. See [`ResourceLimiterAsync`].
    ///
    /// # Panics
    ///
    /// Panics unless the store's engine has [`Config::async_support`](crate::Config::async_support).
    #[cfg(feature = "async")]
    pub fn limiter_async(
        &mut self,
        mut limiter: impl (FnMut(&mut T) -> &mut dyn ResourceLimiterAsync) + Send + Sync + 'static,
    ) {
        let inner = self.inner_mut();
        inner.assert_async("limiter_async");
        let limits = limiter(&mut inner.data);
        let (instances, tables, memories) =
            (limits.instances(), limits.tables(), limits.memories());
        inner.set_limits(instances, tables, memories);
        inner.limiter = Some(Limiter::Async(Box::new(limiter)));
    }
}

/// Asks the limiter, whichever it is, and waits if it wants to; without one, `$otherwise`.
macro_rules! ask {
    ($store:ident.$method:ident($($arg:expr),*) waits, otherwise $otherwise:expr) => {
        match &mut $store.limiter {
            Some(Limiter::Sync(limiter)) => limiter(&mut $store.data).$method($($arg),*),
            #[cfg(feature = "async")]
            Some(Limiter::Async(limiter)) => {
                let context = $store.opaque.core.vm_store_context();
                let mut future = limiter(&mut $store.data).$method($($arg),*);
                // SAFETY: what may use the store asks, on the fiber where it does so. The future is
                // `Send`, and what is below is the runtime's.
                unsafe { waxwing_vm::block_on(context, future.as_mut())? }
            }
            None => $otherwise,
        }
    };
    ($store:ident.$method:ident($($arg:expr),*), otherwise $otherwise:expr) => {
        match &mut $store.limiter {
            Some(Limiter::Sync(limiter)) => limiter(&mut $store.data).$method($($arg),*),
            #[cfg(feature = "async")]
            Some(Limiter::Async(limiter)) => limiter(&mut $store.data).$method($($arg),*),
            None => $otherwise,
        }
    };
}

impl<T> StoreInner<T> {
    fn set_limits(&mut self, instances: usize, tables: usize, memories: usize) {
        self.instance_limit = instances;
        self.table_limit = tables;
        self.memory_limit = memories;
    }

    /// Whether asking the limiter may take waiting.
    #[cfg(feature = "async")]
    pub(crate) fn has_async_limiter(&self) -> bool {
        matches!(self.limiter, Some(Limiter::Async(_)))
    }

    /// Panics if asking the limiter may take waiting, where `instead` is the function that can.
    pub(crate) fn assert_limiter_never_waits(&self, instead: &str) {
        #[cfg(feature = "async")]
        assert!(
            !self.has_async_limiter(),
            "must use `{instead}` with a store that has a `ResourceLimiterAsync`"
        );
        #[cfg(not(feature = "async"))]
        let _ = instead;
    }

    pub(super) fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool> {
        ask!(self.memory_growing(current, desired, maximum) waits, otherwise Ok(true))
    }

    pub(super) fn memory_grow_failed(&mut self, error: Error) -> Result<()> {
        ask!(self.memory_grow_failed(error), otherwise {
            log::debug!("ignoring a failure to grow a memory: {error:?}");
            Ok(())
        })
    }

    pub(super) fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool> {
        ask!(self.table_growing(current, desired, maximum) waits, otherwise Ok(true))
    }

    pub(super) fn table_grow_failed(&mut self, error: Error) -> Result<()> {
        ask!(self.table_grow_failed(error), otherwise {
            log::debug!("ignoring a failure to grow a table: {error:?}");
            Ok(())
        })
    }
}
