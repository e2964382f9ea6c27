//! Stores whose WebAssembly is called by `async` functions: it runs on fibers, where it can wait.

use anyhow::Result;
use waxwing_vm::OnFiber;

use super::{Store, StoreContextMut, StoreInner, StoreOpaque};
use crate::{Caller, Engine};

pub(super) fn is_async(engine: &Engine) -> bool {
    engine.is_async()
}

impl StoreOpaque {
    /// Panics if WebAssembly of the store is to be called by `async` functions, such as `instead`.
    #[inline(always)]
    pub(crate) fn assert_sync(&self, instead: &str) {
        if self.is_async {
            must_be_async(instead);
        }
    }

    /// Panics unless WebAssembly of the store is to be called by `async` functions, as `what` is.
    #[inline]
    pub(crate) fn assert_async(&self, what: &str) {
        assert_async(&self.engine, what);
    }

    /// Lets other tasks run.
    ///
    /// # Errors
    ///
    /// Fails if the call in which that happens has been ended.
    pub(super) fn yield_now(&mut self) -> Result<()> {
        // SAFETY: whose code uses the store calls this, on its fiber. What is below are the runtime and
        // generated code.
        unsafe { waxwing_vm::yield_now(self.core.vm_store_context()) }
    }
}

/// Panics unless stores of the engine are asynchronous.
#[inline]
pub(crate) fn assert_async(engine: &Engine, what: &str) {
    assert!(
        engine.is_async(),
        "cannot use `{what}` without enabling async support in the config: see `Config::async_support`"
    );
}

#[cold]
fn must_be_async(instead: &str) -> ! {
    panic!("must use `{instead}` when async support is enabled on the config");
}

impl<T> StoreInner<T> {
    /// Runs `func` on a stack of its own, where it can wait.
    ///
    /// What `func` does is this crate's: where it waits, nothing of the host is on the stack that was not made for
    /// being sent to other threads.
    pub(crate) async fn on_fiber<R: Send>(
        &mut self,
        func: impl FnOnce(&mut StoreInner<T>) -> Result<R> + Send,
    ) -> Result<R>
    where
        T: Send,
    {
        let context = self.core.vm_store_context();
        let size = self.engine.config().fiber_stack_size();
        let stack = self.core.allocator().stack(size)?;
        // SAFETY: the function, and with it the future, has the store borrowed exclusively. The rest is said above.
        let future = unsafe { OnFiber::new(context, stack, move || func(self)) };
        future.await
    }
}

/// Methods that are the same for everything that gives exclusive access to a store.
macro_rules! async_methods {
    () => {
        /// Makes code of the store let other tasks run each time that it has consumed so much fuel; see
        /// [`Store::fuel_async_yield_interval`].
        ///
        /// # Errors
        ///
        /// As for [`Store::fuel_async_yield_interval`].
        pub fn fuel_async_yield_interval(&mut self, interval: Option<u64>) -> Result<()> {
            self.opaque_mut().set_fuel_yield_interval(interval)
        }

        /// Collects garbage; see [`Store::gc_async`].
        ///
        /// # Panics
        ///
        /// As for [`Store::gc_async`].
        pub async fn gc_async(&mut self)
        where
            T: Send,
        {
            self.opaque_mut().assert_async("gc_async");
            self.gc();
        }
    };
}

impl<T> StoreContextMut<'_, T> {
    async_methods!();
}

impl<T> Caller<'_, T> {
    async_methods!();
}

impl<T> Store<T> {
    /// Makes code of the store let other tasks run each time that it has consumed `interval` units of fuel: its future
    /// is pending then once, and asks to be polled again. `None`, as at first, makes it go on as long as there is
    /// fuel.
    ///
    /// The interval has no influence on how much fuel is consumed, nor on where it runs out.
    ///
    /// ```
    /// # use waxwing::*;
    /// # use std::future::Future;
    /// # use std::pin::pin;
    /// # use std::task::{Context, Waker};
    /// # fn main() -> Result<()> {
    /// let engine = Engine::new(Config::new().async_support(true).consume_fuel(true))?;
    /// let module = Module::new(&engine, r#"(module (func (export "forever") (loop (br 0))))"#)?;
    /// let mut store = Store::new(&engine, ());
    /// store.set_fuel(10_000)?;
    /// store.fuel_async_yield_interval(Some(1_000))?;
    ///
    /// // An executor would do this.
    /// let mut cx = Context::from_waker(Waker::noop());
    /// let mut slices = 0;
    /// let mut run = pin!(async {
    ///     let instance = Instance::new_async(&mut store, &module, &[]).await?;
    ///     let forever = instance.get_typed_func::<(), ()>(&mut store, "forever")?;
    ///     forever.call_async(&mut store, ()).await
    /// });
    /// while run.as_mut().poll(&mut cx).is_pending() {
    ///     slices += 1;
    /// }
    /// assert_eq!(slices, 9);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Fails if the interval is zero, or if the store's engine lacks
    /// [`Config::consume_fuel`](crate::Config::consume_fuel) or
    /// [`Config::async_support`](crate::Config::async_support).
    pub fn fuel_async_yield_interval(&mut self, interval: Option<u64>) -> Result<()> {
        self.inner_mut().opaque.set_fuel_yield_interval(interval)
    }

    /// Collects garbage, as [`gc`](Self::gc) does. It never waits.
    ///
    /// # Panics
    ///
    /// Panics unless the store's engine has [`Config::async_support`](crate::Config::async_support).
    pub async fn gc_async(&mut self)
    where
        T: Send,
    {
        self.inner().opaque.assert_async("gc_async");
        self.gc();
    }
}
