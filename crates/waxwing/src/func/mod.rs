//! [`Func`]: functions, of WebAssembly and of the host.

#[cfg(feature = "async")]
mod asynchronous;
mod host;
mod lists;
mod typed;
mod wasm_ty;

use std::ffi::c_void;
use std::fmt;
use std::ptr::NonNull;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use waxwing_environ::EngineTypeIndex;
use waxwing_vm::{HostFunc, StoreId, VMFuncRef, VMOpaqueContext, ValRaw, call_unchecked};

use crate::CallHook;
use crate::store::{CallValues, StoreInner, StoreOpaque};
use crate::{AsContext, AsContextMut, Caller, FuncType, HeapType, Val, trap};

#[cfg(feature = "async")]
pub(crate) use asynchronous::{untyped_async, wrap_async};
pub use host::IntoFunc;
pub(crate) use host::{unchecked, untyped};
pub use lists::{WasmParams, WasmResults, WasmRet, WasmTyList};
pub use typed::TypedFunc;
pub use wasm_ty::WasmTy;

/// A function, defined by WebAssembly or by the host.
///
/// A `Func` is a handle to a function in a [`Store`](crate::Store). It can be called by the host
/// with [`call`](Self::call), or faster with [`typed`](Self::typed), and by WebAssembly when it is
/// passed to it as an import or a reference.
///
/// ```
/// # use waxwing::*;
/// # fn main() -> Result<()> {
/// let engine = Engine::default();
/// let module = Module::new(
///     &engine,
///     r#"
///         (module
///             (import "" "add" (func $add (param i32 i32) (result i32)))
///             (func (export "add_twice") (param i32 i32) (result i32)
///                 local.get 0 local.get 1 call $add
///                 local.get 1 call $add))
///     "#,
/// )?;
/// let mut store = Store::new(&engine, ());
/// let add = Func::wrap(&mut store, |a: i32, b: i32| a + b);
/// let instance = Instance::new(&mut store, &module, &[add.into()])?;
///
/// let func = instance.get_func(&mut store, "add_twice").expect("exported");
/// let mut results = [Val::I32(0)];
/// func.call(&mut store, &[Val::I32(1), Val::I32(4)], &mut results)?;
/// assert_eq!(results[0].unwrap_i32(), 9);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct Func {
    store: StoreId,
    /// Lives as long as the store.
    func_ref: FuncRefPtr,
}

/// The address of a function in its store.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct FuncRefPtr(NonNull<VMFuncRef>);

// SAFETY: an address, that is only followed with use of its store, whose id is checked first.
unsafe impl Send for FuncRefPtr {}
// SAFETY: as above.
unsafe impl Sync for FuncRefPtr {}

impl fmt::Debug for Func {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Func")
            .field("store", &self.store)
            .field("func_ref", &self.func_ref.0)
            .finish()
    }
}

impl Func {
    /// A function of the type `ty` that the closure `func` implements with [`Val`]s: to be used
    /// where the type is known at run time only. Otherwise [`wrap`](Self::wrap) is simpler and much
    /// faster.
    ///
    /// `func` gets the arguments, which are of the types that `ty` says, and fills in the results,
    /// which are null references at first.
    ///
    /// An error of `func` ends the execution of WebAssembly, and is returned from the call by which
    /// the host entered it. The same goes for results that are not of the types that `ty` says.
    ///
    /// # Panics
    ///
    /// Panics if `ty` belongs to another engine than `store`.
    pub fn new<T>(
        mut store: impl AsContextMut<Data = T>,
        ty: FuncType,
        func: impl Fn(Caller<'_, T>, &[Val], &mut [Val]) -> Result<()> + Send + Sync + 'static,
    ) -> Self {
        let store = store.as_context_mut().0;
        let host = untyped(store.engine(), ty, func);
        Func::from_host(store, host)
    }

    /// A function of the type `ty` that the closure `func` implements on the raw values of the
    /// call: its parameters are at the start of the slice, where it leaves its results.
    ///
    /// # Panics
    ///
    /// Panics if `ty` belongs to another engine than `store`.
    ///
    /// # Safety
    ///
    /// `func` reads no other parameters than those of `ty`, and leaves results of the types that
    /// `ty` says. References among them belong to the store of the call and are alive.
    pub unsafe fn new_unchecked<T>(
        mut store: impl AsContextMut<Data = T>,
        ty: FuncType,
        func: impl Fn(Caller<'_, T>, &mut [ValRaw]) -> Result<()> + Send + Sync + 'static,
    ) -> Self {
        let store = store.as_context_mut().0;
        // SAFETY: required of the caller.
        let host = unsafe { unchecked(store.engine(), &ty, func) };
        Func::from_host(store, host)
    }

    /// A function that the closure `func` implements, of the type that the closure's signature
    /// says.
    ///
    /// The closure takes up to 17 parameters, each a [`WasmTy`], before which there may be a
    /// [`Caller`]. It returns nothing, one [`WasmTy`] or a tuple of them, or a [`Result`] of any of
    /// these.
    ///
    /// ```
    /// # use waxwing::*;
    /// # let engine = Engine::default();
    /// # let mut store = Store::new(&engine, 0);
    /// // No parameters, no results.
    /// Func::wrap(&mut store, || println!("called"));
    /// // May fail.
    /// Func::wrap(&mut store, |a: u32, b: u32| -> Result<u32> {
    ///     a.checked_add(b).ok_or_else(|| Error::msg("overflow"))
    /// });
    /// // Uses the store, and returns several values.
    /// Func::wrap(&mut store, |mut caller: Caller<'_, i32>, x: i64| -> (i64, f32) {
    ///     *caller.data_mut() += 1;
    ///     (x * 2, 0.5)
    /// });
    /// ```
    ///
    /// An error ends the execution of WebAssembly, and is returned from the call by which the host
    /// entered it. A panic ends it likewise, and goes on from there.
    pub fn wrap<T, Params, Results>(
        mut store: impl AsContextMut<Data = T>,
        func: impl IntoFunc<T, Params, Results>,
    ) -> Func {
        let store = store.as_context_mut().0;
        let host = func.into_func(store.engine());
        Func::from_host(store, host)
    }

    fn from_host(store: &mut StoreOpaque, host: HostFunc) -> Func {
        let func_ref = store.core_mut().add_host_func(host);
        // SAFETY: the store keeps the function alive.
        unsafe { Func::from_vm(store, func_ref) }
    }

    /// A function of the host that other stores may use too. The data of `store` is of the type
    /// that the function expects.
    pub(crate) fn from_shared_host(store: &mut StoreOpaque, host: &Arc<HostFunc>) -> Func {
        let func_ref = store.core_mut().add_shared_host_func(host);
        // SAFETY: the store keeps the function alive.
        unsafe { Func::from_vm(store, func_ref) }
    }

    /// # Safety
    ///
    /// `func_ref` is a function of `store`, and lives as long as it.
    #[inline]
    pub(crate) unsafe fn from_vm(store: &StoreOpaque, func_ref: NonNull<VMFuncRef>) -> Func {
        Func {
            store: store.id(),
            func_ref: FuncRefPtr(func_ref),
        }
    }

    /// # Safety
    ///
    /// `raw` is null or a function of `store`, that lives as long as it.
    #[inline]
    pub(crate) unsafe fn from_vm_raw(store: &StoreOpaque, raw: *mut c_void) -> Option<Func> {
        // SAFETY: required of the caller.
        NonNull::new(raw.cast()).map(|func_ref| unsafe { Func::from_vm(store, func_ref) })
    }

    #[inline]
    pub(crate) fn store_id(&self) -> StoreId {
        self.store
    }

    #[inline]
    pub(crate) fn comes_from_same_store(&self, store: &StoreOpaque) -> bool {
        self.store == store.id()
    }

    /// The function's record. Panics if the function belongs to another store.
    #[inline]
    pub(crate) fn vm_func_ref(&self, store: &StoreOpaque) -> NonNull<VMFuncRef> {
        store.assert_owns(self.store);
        self.func_ref.0
    }

    fn record(&self, store: &StoreOpaque) -> VMFuncRef {
        // SAFETY: the function lives as long as its store, which is this one, as the check says.
        unsafe { self.vm_func_ref(store).read() }
    }

    /// Whether the host defines the function.
    fn is_host_in(&self, store: &StoreOpaque) -> bool {
        let context = self.record(store).vmctx;
        // SAFETY: the context of a live function.
        unsafe { VMOpaqueContext::as_host_func(context) }.is_some()
    }

    pub(crate) fn type_index(&self, store: &StoreOpaque) -> EngineTypeIndex {
        self.record(store).type_index
    }

    pub(crate) fn type_in(&self, store: &StoreOpaque) -> FuncType {
        store.look_up_func_type(self.type_index(store))
    }

    pub(crate) fn matches_heap_type(&self, store: &StoreOpaque, ty: &HeapType) -> bool {
        match ty {
            HeapType::Func => {
                store.assert_owns(self.store);
                true
            }
            HeapType::ConcreteFunc(expected) => {
                let actual = self.record(store).type_index;
                actual == expected.type_index()
                    || store
                        .engine()
                        .type_registry()
                        .is_subtype(actual, expected.type_index())
            }
            _ => false,
        }
    }

    /// The type of the function.
    ///
    /// # Panics
    ///
    /// Panics if the function belongs to another store.
    pub fn ty(&self, store: impl AsContext) -> FuncType {
        self.type_in(store.as_context().0)
    }

    /// Whether the function is of the type `ty`, or of a subtype.
    ///
    /// # Panics
    ///
    /// Panics if the function belongs to another store, or `ty` to another engine.
    pub fn matches_ty(&self, store: impl AsContext, ty: &FuncType) -> bool {
        self.type_in(store.as_context().0).matches(ty)
    }

    /// The function with static types, for fast calls.
    ///
    /// `Params` and `Results` are each a [`WasmTy`] or a tuple of them; `()` stands for none.
    ///
    /// # Errors
    ///
    /// Fails if the function's type is another one. The function may take more general references
    /// and return more special ones than `Params` and `Results` say. Where it takes references to
    /// functions of one type, and `Params` says `Func`, each call checks what it is given.
    ///
    /// # Panics
    ///
    /// Panics if the function belongs to another store.
    pub fn typed<Params, Results>(
        &self,
        store: impl AsContext,
    ) -> Result<TypedFunc<Params, Results>>
    where
        Params: WasmParams,
        Results: WasmResults,
    {
        let store = store.as_context().0;
        let ty = self.type_in(store);
        let check_values =
            Params::check_params(ty.params()).context("type mismatch with parameters")?;
        Results::check_results(ty.results()).context("type mismatch with results")?;
        Ok(TypedFunc::new(*self, self.is_host_in(store), check_values))
    }

    /// Calls the function with `params`, and leaves what it returns in `results`.
    ///
    /// What `results` holds before does not matter, but for its length.
    ///
    /// # Errors
    ///
    /// Fails if the numbers of parameters or results or the types of parameters are not the
    /// function's, or if a parameter belongs to another store. Fails as
    /// [`TypedFunc::call`](TypedFunc::call) does if execution traps or a host function fails; then
    /// `results` is unchanged.
    ///
    /// # Panics
    ///
    /// Panics if the function belongs to another store. Panics if the store's engine has
    /// `Config::async_support`. A panic of a host function goes through WebAssembly up to here, and on.
    pub fn call(
        &self,
        mut store: impl AsContextMut,
        params: &[Val],
        results: &mut [Val],
    ) -> Result<()> {
        let store = store.as_context_mut().0;
        store.assert_sync("Func::call_async");
        self.call_in(store, params, results)
    }

    fn call_in<T>(
        &self,
        store: &mut StoreInner<T>,
        params: &[Val],
        results: &mut [Val],
    ) -> Result<()> {
        let type_index = self.type_index(store);
        let ty = store.take_func_type(type_index);
        self.check_arguments(store, &ty, params, results)?;
        let mut values = store.take_spare_raw_values();
        for param in params {
            values.push(param.to_raw_in(store)?);
        }
        values.resize(params.len().max(results.len()), ValRaw::null());
        // SAFETY: the parameters have been checked, and there is room for the results.
        unsafe { self.enter(store, &mut values)? };
        for ((result, raw), ty) in results.iter_mut().zip(&values).zip(ty.results()) {
            // SAFETY: the function left results of its types.
            *result = unsafe { Val::from_raw_in(store, *raw, &ty) };
        }
        store.return_spare_raw_values(values);
        store.return_func_type(ty);
        Ok(())
    }

    fn check_arguments(
        &self,
        store: &StoreOpaque,
        ty: &FuncType,
        params: &[Val],
        results: &[Val],
    ) -> Result<()> {
        if ty.params().len() != params.len() {
            bail!(
                "expected {} arguments, got {}",
                ty.params().len(),
                params.len()
            );
        }
        if ty.results().len() != results.len() {
            bail!(
                "expected {} results, got {}",
                ty.results().len(),
                results.len()
            );
        }
        for (param, ty) in params.iter().zip(ty.params()) {
            param
                .ensure_matches(store, &ty)
                .context("argument type mismatch")?;
        }
        Ok(())
    }

    /// Calls the function without checks: parameters are read from `params_and_returns`, where the
    /// results are left.
    ///
    /// # Errors
    ///
    /// Fails as [`TypedFunc::call`](TypedFunc::call) does if execution traps or a host function
    /// fails.
    ///
    /// # Panics
    ///
    /// Panics if the function belongs to another store, and as [`TypedFunc::call`] does.
    ///
    /// # Safety
    ///
    /// `params_and_returns` is valid for reads and writes, long enough for the parameters and for
    /// the results, and holds parameters of the function's types, references of this store.
    pub unsafe fn call_unchecked(
        &self,
        mut store: impl AsContextMut,
        params_and_returns: *mut [ValRaw],
    ) -> Result<()> {
        let store = store.as_context_mut().0;
        store.assert_sync("Func::call_async");
        // SAFETY: required of the caller.
        unsafe { self.enter(store, &mut *params_and_returns) }
    }

    /// # Safety
    ///
    /// `values` is long enough for parameters and results, and holds parameters of the function's
    /// types.
    pub(crate) unsafe fn enter<T>(
        &self,
        store: &mut StoreInner<T>,
        values: &mut [ValRaw],
    ) -> Result<()> {
        let callee = self.vm_func_ref(store);
        let len = values.len();
        let values = NonNull::from(values).cast::<ValRaw>();
        let call = CallValues::new(callee, values);
        // SAFETY: the array holds the parameters.
        unsafe { store.call_hook(CallHook::CallingWasm, Some(call))? };
        // SAFETY: the caller guarantees that `values` is what the function expects. The function
        // lives as long as its store, of which `store` gives exclusive use.
        let result = unsafe {
            if self.is_host_in(store) {
                host::enter_directly(store, callee, values, len)
            } else {
                let core = store.core();
                call_unchecked(
                    core.vm_store_context(),
                    core.entry_options(),
                    callee,
                    values,
                    len,
                )
            }
        };
        let result = result.map_err(|reason| trap::error_of(store, *reason));
        // SAFETY: the array holds the results if there are any.
        unsafe { store.call_hook(CallHook::ReturningFromWasm, result.is_ok().then_some(call))? };
        result
    }

    /// The function that `raw`, a result of [`to_raw`](Self::to_raw) or a [`ValRaw`], stands for.
    /// `None` for null.
    ///
    /// # Safety
    ///
    /// `raw` came from this store.
    pub unsafe fn from_raw(mut store: impl AsContextMut, raw: *mut c_void) -> Option<Func> {
        // SAFETY: required of the caller.
        unsafe { Func::from_vm_raw(store.as_context_mut().0, raw) }
    }

    /// The representation of the function in a [`ValRaw`].
    ///
    /// # Panics
    ///
    /// Panics if the function belongs to another store.
    ///
    /// # Safety
    ///
    /// The result is only used with this store, and while it lives.
    pub unsafe fn to_raw(&self, mut store: impl AsContextMut) -> *mut c_void {
        self.vm_func_ref(store.as_context_mut().0).as_ptr().cast()
    }
}
