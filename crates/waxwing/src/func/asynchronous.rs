//! Functions that can wait: calls of them, and those that the host defines.

use std::pin::Pin;
use std::ptr::NonNull;

use anyhow::Result;
use waxwing_vm::{HostFunc, VMContext, VMFuncRef, ValRaw, block_on};

use super::host::{Untyped, return_values, run, take_values};
use super::{Func, TypedFunc, WasmParams, WasmResults, WasmRet, WasmTyList};
use crate::store::assert_async;
use crate::{AsContextMut, Caller, Engine, FuncType, StoreContextMut, Val};

impl Func {
    /// A function of the type `ty` that the closure `func` implements with [`Val`]s and that can wait: as
    /// [`new`](Self::new), but the closure returns a future, which the call waits for.
    ///
    /// While the future is pending, so is the one of the call by which the host entered WebAssembly. If
    /// that is dropped, the closure's future is dropped too.
    ///
    /// # Panics
    ///
    /// Panics if `ty` belongs to another engine than `store`. Panics unless the store's engine has
    /// [`Config::async_support`](crate::Config::async_support).
    pub fn new_async<T, F>(mut store: impl AsContextMut<Data = T>, ty: FuncType, func: F) -> Func
    where
        F: for<'a> Fn(
                Caller<'a, T>,
                &'a [Val],
                &'a mut [Val],
            ) -> Box<dyn Future<Output = Result<()>> + Send + 'a>
            + Send
            + Sync
            + 'static,
    {
        let store = store.as_context_mut().0;
        store.assert_async("Func::new_async");
        let host = untyped_async(store.engine(), ty, func);
        Func::from_host(store, host)
    }

    /// A function that the closure `func` implements, of the type that the closure's signature says, and that can wait:
    /// as [`wrap`](Self::wrap), but the closure returns a future, which the call waits for.
    ///
    /// The closure takes a [`Caller`] and the parameters as one list, a tuple. See [`new_async`](Self::new_async)
    /// for what waiting means.
    ///
    /// ```
    /// # use waxwing::*;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<()> {
    /// let engine = Engine::new(Config::new().async_support(true))?;
    /// let mut store = Store::new(&engine, 10);
    /// let add = Func::wrap_async(&mut store, |mut caller: Caller<'_, i32>, (a, b): (i32, i32)| {
    ///     Box::new(async move {
    ///         tokio::task::yield_now().await;
    ///         *caller.data_mut() += a + b;
    ///         *caller.data()
    ///     })
    /// });
    /// let add = add.typed::<(i32, i32), i32>(&store)?;
    /// assert_eq!(add.call_async(&mut store, (1, 2)).await?, 13);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// Panics unless the store's engine has [`Config::async_support`](crate::Config::async_support).
    pub fn wrap_async<T, F, P, R>(mut store: impl AsContextMut<Data = T>, func: F) -> Func
    where
        F: for<'a> Fn(Caller<'a, T>, P) -> Box<dyn Future<Output = R> + Send + 'a>
            + Send
            + Sync
            + 'static,
        P: WasmTyList,
        R: WasmRet,
    {
        let store = store.as_context_mut().0;
        store.assert_async("Func::wrap_async");
        let host = wrap_async(store.engine(), func);
        Func::from_host(store, host)
    }

    /// Calls the function with `params`, and leaves what it returns in `results`: as [`call`](Self::call), in an
    /// asynchronous store, where functions of the host that it calls can wait.
    ///
    /// The function runs while the future is polled. If the future is dropped when it has begun, and is not ready,
    /// what the function waits for fails, and no WebAssembly runs any more.
    ///
    /// # Errors
    ///
    /// As for [`call`](Self::call). Fails if there is no memory for a stack.
    ///
    /// # Panics
    ///
    /// As for [`call`](Self::call), but panics unless the store's engine has
    /// [`Config::async_support`](crate::Config::async_support).
    pub async fn call_async<T>(
        &self,
        mut store: impl AsContextMut<Data = T>,
        params: &[Val],
        results: &mut [Val],
    ) -> Result<()>
    where
        T: Send,
    {
        let store = store.as_context_mut().0;
        store.assert_async("Func::call_async");
        store
            .on_fiber(|store| self.call_in(store, params, results))
            .await
    }
}

impl<Params, Results> TypedFunc<Params, Results>
where
    Params: WasmParams,
    Results: WasmResults,
{
    /// Calls the function: as [`call`](Self::call), in an asynchronous store, where functions of the host that it calls
    /// can wait.
    ///
    /// The function runs while the future is polled. If the future is dropped when it has begun, and is not ready,
    /// what the function waits for fails, and no WebAssembly runs any more.
    ///
    /// # Errors
    ///
    /// As for [`call`](Self::call). Fails if there is no memory for a stack.
    ///
    /// # Panics
    ///
    /// As for [`call`](Self::call), but panics unless the store's engine has
    /// [`Config::async_support`](crate::Config::async_support).
    pub async fn call_async<T>(
        &self,
        mut store: impl AsContextMut<Data = T>,
        params: Params,
    ) -> Result<Results>
    where
        T: Send,
    {
        let store = store.as_context_mut().0;
        store.assert_async("TypedFunc::call_async");
        store.on_fiber(|store| self.call_in(store, params)).await
    }
}

/// A host function of a closure that returns a future, and whose parameters and results are known at compile
/// time.
pub(crate) fn wrap_async<T, F, P, R>(engine: &Engine, func: F) -> HostFunc
where
    F: for<'a> Fn(Caller<'a, T>, P) -> Box<dyn Future<Output = R> + Send + 'a>
        + Send
        + Sync
        + 'static,
    P: WasmTyList,
    R: WasmRet,
{
    assert_async(engine, "func_wrap_async");
    let ty = R::func_type(engine, P::valtypes());
    HostFunc::new(
        ty.registered_type().clone(),
        wrapped_call::<T, F, P, R>,
        Box::new(func),
    )
}

/// The entry of a function made by [`wrap_async`].
///
/// # Safety
///
/// An array call of such a function with the same type parameters.
unsafe extern "C" fn wrapped_call<T, F, P, R>(
    callee: NonNull<VMFuncRef>,
    caller: Option<NonNull<VMContext>>,
    values: NonNull<ValRaw>,
    _len: usize,
) -> bool
where
    F: for<'a> Fn(Caller<'a, T>, P) -> Box<dyn Future<Output = R> + Send + 'a>
        + Send
        + Sync
        + 'static,
    P: WasmTyList,
    R: WasmRet,
{
    // SAFETY: as for functions that do not wait. The call is on the fiber of its store, if on one. The
    // future is `Send`, and nothing else of the host is on the stack while it waits.
    unsafe {
        run::<T, F, true, true>(callee, caller, values, |func, mut store| {
            let context = store.as_ref().core().vm_store_context();
            let params = P::load(store.as_mut(), values.as_ptr());
            let call = func(Caller::new(StoreContextMut(store.as_mut()), caller), params);
            let mut call = Pin::from(call);
            let results = block_on(context, call.as_mut())?;
            drop(call);
            results.store_results(store.as_mut(), values.as_ptr())
        })
    }
}

/// A host function of a closure that takes and returns [`Val`]s, and returns a future.
pub(crate) fn untyped_async<T, F>(engine: &Engine, ty: FuncType, func: F) -> HostFunc
where
    F: for<'a> Fn(
            Caller<'a, T>,
            &'a [Val],
            &'a mut [Val],
        ) -> Box<dyn Future<Output = Result<()>> + Send + 'a>
        + Send
        + Sync
        + 'static,
{
    assert_async(engine, "func_new_async");
    assert!(
        Engine::same(ty.engine(), engine),
        "cannot use a `FuncType` of another engine for a host function"
    );
    HostFunc::new(
        ty.registered_type().clone(),
        untyped_call::<T, F>,
        Box::new(Untyped { ty, func }),
    )
}

/// The entry of a function made by [`untyped_async`].
///
/// # Safety
///
/// An array call of such a function with the same type parameters.
unsafe extern "C" fn untyped_call<T, F>(
    callee: NonNull<VMFuncRef>,
    caller: Option<NonNull<VMContext>>,
    values: NonNull<ValRaw>,
    _len: usize,
) -> bool
where
    F: for<'a> Fn(
            Caller<'a, T>,
            &'a [Val],
            &'a mut [Val],
        ) -> Box<dyn Future<Output = Result<()>> + Send + 'a>
        + Send
        + Sync
        + 'static,
{
    // SAFETY: as in `wrapped_call`.
    unsafe {
        run::<T, Untyped<F>, true, true>(callee, caller, values, |state, mut store| {
            let context = store.as_ref().core().vm_store_context();
            let mut vals = take_values(store.as_mut(), &state.ty, values);
            let (params, results) = vals.split_at_mut(state.ty.params().len());
            let caller = Caller::new(StoreContextMut(store.as_mut()), caller);
            let mut call = Pin::from((state.func)(caller, params, results));
            block_on(context, call.as_mut())??;
            drop(call);
            return_values(store.as_mut(), &state.ty, values, vals)
        })
    }
}
