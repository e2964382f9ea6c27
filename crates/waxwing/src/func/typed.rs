//! [`TypedFunc`]: functions whose types are known at compile time.

use std::fmt;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ptr::NonNull;

use anyhow::{Result, bail};
use waxwing_vm::{ValRaw, call_unchecked};

use super::{Func, WasmParams, WasmResults, host};
use crate::CallHook;
use crate::store::{CallValues, StoreInner};
use crate::{AsContext, AsContextMut, trap};

/// A [`Func`] whose parameters and results are known at compile time, which makes calls as fast as
/// they can be: nothing is checked or allocated for a call.
///
/// Made by [`Func::typed`] or [`Instance::get_typed_func`](crate::Instance::get_typed_func).
pub struct TypedFunc<Params, Results> {
    func: Func,
    /// Whether the host defines the function.
    is_host: bool,
    /// Whether references among the parameters have to be checked at each call.
    check_values: bool,
    _types: PhantomData<fn(Params) -> Results>,
}

impl<Params, Results> Clone for TypedFunc<Params, Results> {
    fn clone(&self) -> TypedFunc<Params, Results> {
        TypedFunc { ..*self }
    }
}

impl<Params, Results> fmt::Debug for TypedFunc<Params, Results> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TypedFunc").field(&self.func).finish()
    }
}

/// Room for the arguments of a call and then for its results.
#[derive(Clone, Copy)]
#[allow(dead_code, reason = "the fields only give the union its size")]
union Slots<P: Copy, R: Copy> {
    params: P,
    results: R,
}

impl<Params, Results> TypedFunc<Params, Results>
where
    Params: WasmParams,
    Results: WasmResults,
{
    /// Gives `func` these types without a check.
    ///
    /// # Panics
    ///
    /// Panics if `func` belongs to another store.
    ///
    /// # Safety
    ///
    /// [`func.typed::<Params, Results>(store)`](Func::typed) would succeed.
    pub unsafe fn new_unchecked(store: impl AsContext, func: Func) -> TypedFunc<Params, Results> {
        let store = store.as_context().0;
        store.assert_owns(func.store_id());
        let check_values =
            Params::HAS_REFS && Params::check_params(func.type_in(store).params()).unwrap_or(true);
        TypedFunc::new(func, func.is_host_in(store), check_values)
    }

    pub(super) fn new(func: Func, is_host: bool, check_values: bool) -> Self {
        TypedFunc {
            func,
            is_host,
            check_values,
            _types: PhantomData,
        }
    }

    /// The function without its static types.
    pub fn func(&self) -> &Func {
        &self.func
    }

    /// Calls the function.
    ///
    /// ```
    /// # use waxwing::*;
    /// # fn main() -> Result<()> {
    /// let engine = Engine::default();
    /// let wat = r#"(module (func (export "div") (param i32 i32) (result i32)
    ///     (i32.div_s (local.get 0) (local.get 1))))"#;
    /// let module = Module::new(&engine, wat)?;
    /// let mut store = Store::new(&engine, ());
    /// let instance = Instance::new(&mut store, &module, &[])?;
    /// let div = instance.get_typed_func::<(i32, i32), i32>(&mut store, "div")?;
    ///
    /// assert_eq!(div.call(&mut store, (7, 2))?, 3);
    /// let error = div.call(&mut store, (7, 0)).unwrap_err();
    /// assert_eq!(error.downcast::<Trap>()?, Trap::IntegerDivisionByZero);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Fails if execution traps, with an error that can be downcast to [`Trap`](crate::Trap), or if
    /// a host function fails that the function called, with that function's error. Either comes
    /// with a [`WasmBacktrace`](crate::WasmBacktrace) unless
    /// [`Config::wasm_backtrace`](crate::Config::wasm_backtrace) is off. Fails if a parameter is a
    /// reference of another store, or one that is not rooted any more.
    ///
    /// # Panics
    ///
    /// Panics if the function belongs to another store. Panics if the store's engine has
    /// `Config::async_support`. A panic of a host function goes through WebAssembly up to here, and on.
    #[inline]
    pub fn call(&self, mut store: impl AsContextMut, params: Params) -> Result<Results> {
        let store = store.as_context_mut().0;
        store.assert_sync("TypedFunc::call_async");
        self.call_in(store, params)
    }

    #[inline]
    pub(super) fn call_in<T>(&self, store: &mut StoreInner<T>, params: Params) -> Result<Results> {
        store.assert_owns(self.func.store_id());
        if Params::HAS_REFS {
            self.check(store, &params)?;
        }
        let mut slots = MaybeUninit::<Slots<Params::Storage, Results::Storage>>::uninit();
        let len = size_of_val(&slots) / size_of::<ValRaw>();
        let values = NonNull::from(&mut slots).cast::<ValRaw>();
        let callee = self.func.vm_func_ref(store);
        // SAFETY: `slots` has room for the parameters and the results, which are of the function's
        // types, by the checks that precede a `TypedFunc`. The function is alive as its store is, of
        // which `store` gives exclusive use.
        unsafe {
            params.store(store, values.as_ptr())?;
            let call = CallValues::new(callee, values);
            store.call_hook(CallHook::CallingWasm, Some(call))?;
            let result = if self.is_host {
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
            };
            match result {
                Ok(()) => {
                    store.call_hook(CallHook::ReturningFromWasm, Some(call))?;
                    Ok(Results::load_results(store, values.as_ptr()))
                }
                Err(reason) => {
                    let error = trap::error_of(store, *reason);
                    store.call_hook(CallHook::ReturningFromWasm, None)?;
                    Err(error)
                }
            }
        }
    }

    fn check<T>(&self, store: &StoreInner<T>, params: &Params) -> Result<()> {
        if !params.comes_from_same_store(store) {
            bail!("attempt to pass a reference of another store as a function's argument");
        }
        if self.check_values {
            params.check_values(store, self.func.type_in(store).params())?;
        }
        Ok(())
    }
}
