//! Functions that the host defines: from closures to what WebAssembly can call.
//!
//! Each closure gets its own entry, an instance of a generic `extern "C"` function that reads the
//! parameters straight from the array of the call. It finds its closure through the callee, and the
//! store through the instance that calls. When the host itself calls a host function there is no
//! such instance, and the store is found through [`DIRECT_CALL`].

use std::cell::Cell;
use std::ptr::{self, NonNull};

use anyhow::{Context, Result};
use waxwing_vm::traps::{UnwindReason, catch_host, catch_host_without_keys, keys_in_use};
use waxwing_vm::{HostFunc, VMContext, VMFuncRef, VMHostFuncContext, ValRaw, call_unchecked};

use super::lists::for_each_arity;
use super::{WasmRet, WasmTy, WasmTyList};
use crate::CallHook;
use crate::store::{CallValues, StoreInner, StoreOpaque, trap_reason};
use crate::{Caller, Engine, FuncType, StoreContextMut, Val};

thread_local! {
    /// The `StoreInner<T>` of the call of a host function that the host is about to make.
    static DIRECT_CALL: Cell<*mut ()> = const { Cell::new(ptr::null_mut()) };
}

/// Calls a host function without WebAssembly code in between.
///
/// # Errors
///
/// Fails with what ended the call early.
///
/// # Safety
///
/// `callee` is a host function of the store. There are `len` values at `values`, parameters of the
/// function's types and room for its results.
#[inline(never)]
pub(super) unsafe fn enter_directly<T>(
    store: &mut StoreInner<T>,
    callee: NonNull<VMFuncRef>,
    values: NonNull<ValRaw>,
    len: usize,
) -> Result<(), Box<UnwindReason>> {
    let context = store.core().vm_store_context();
    let options = *store.core().entry_options();
    DIRECT_CALL.set(ptr::from_mut(store).cast());
    // SAFETY: required of the caller. The function uses the store through the pointer that is set.
    unsafe { call_unchecked(context, &options, callee, values, len) }
}

/// The `StoreInner<T>` of a call of a host function that the host makes.
///
/// # Safety
///
/// [`enter_directly`] is what calls.
#[cold]
unsafe fn store_of_direct_call<T>() -> NonNull<StoreInner<T>> {
    // SAFETY: set by whoever calls without an instance that calls.
    unsafe { NonNull::new_unchecked(DIRECT_CALL.get()).cast() }
}

/// Runs `body`, the work of a host function whose state is an `S`. `false` means that an error or a panic was recorded.
///
/// It gets a scope of roots of its own if it is `SCOPED`; otherwise it makes no roots. Memory protection keys may be in
/// use if `KEYS`.
///
/// # Safety
///
/// An array call of a function whose state is an `S`, in a store whose data is a `T`. Without `KEYS`, keys were not in
/// use when it began.
#[inline(always)]
pub(super) unsafe fn run<T, S, const SCOPED: bool, const KEYS: bool>(
    callee: NonNull<VMFuncRef>,
    caller: Option<NonNull<VMContext>>,
    values: NonNull<ValRaw>,
    body: impl FnOnce(&S, NonNull<StoreInner<T>>) -> Result<()>,
) -> bool {
    // SAFETY: the callee is a host function, alive while it is being called; its state is an `S`.
    let state = unsafe {
        let state = VMHostFuncContext::of_callee(callee).host_state();
        &*ptr::from_ref(state).cast::<S>()
    };
    let store = match caller {
        // SAFETY: an instance that calls is alive, and its store is the one of this call.
        Some(caller) => unsafe { waxwing_vm::Instance::store_of_vmctx(caller) }.cast(),
        // SAFETY: WebAssembly code passes its instance, so that it is the host that calls.
        None => unsafe { store_of_direct_call() },
    };
    // SAFETY: the store is alive, and whoever called has given up exclusive use of it for the
    // duration of the call. The same holds for the next block.
    let scope = SCOPED.then(|| unsafe { roots(store) }.roots().enter_scope());
    let run = || {
        let call = CallValues::new(callee, values);
        // SAFETY: as above. The array holds the parameters at first, and the results after `body` has
        // succeeded.
        unsafe { (*store.as_ptr()).call_hook(CallHook::CallingHost, Some(call))? };
        let result = body(state, store);
        let call = result.is_ok().then_some(call);
        // SAFETY: as above; `body`'s borrows of the store have ended.
        unsafe { (*store.as_ptr()).call_hook(CallHook::ReturningFromHost, call)? };
        result
    };
    let run = || run().map_err(trap_reason);
    let result = match KEYS {
        true => catch_host(run),
        false => catch_host_without_keys(run),
    };
    if let Some(scope) = scope {
        // SAFETY: as above; `body`'s borrows of the store have ended.
        unsafe { roots(store) }.roots_mut().leave_scope(scope);
    }
    result.is_some()
}

/// # Safety
///
/// The store is alive and not borrowed for `'a`.
#[inline(always)]
unsafe fn roots<'a, T: 'a>(store: NonNull<StoreInner<T>>) -> &'a mut StoreOpaque {
    // SAFETY: required of the caller.
    unsafe { &mut *store.as_ptr() }
}

/// A host function of a closure whose parameters and results are known at compile time, and that uses the store if
/// `USES_STORE`.
fn wrap<T, F, P, R, const USES_STORE: bool>(engine: &Engine, func: F) -> HostFunc
where
    F: Fn(Caller<'_, T>, P) -> R + Send + Sync + 'static,
    P: WasmTyList,
    R: WasmRet,
{
    let ty = R::func_type(engine, P::valtypes());
    HostFunc::new(
        ty.registered_type().clone(),
        wrapped_call::<T, F, P, R, USES_STORE>,
        Box::new(func),
    )
}

/// The entry of a function made by [`wrap`].
///
/// # Safety
///
/// An array call of such a function with the same type parameters.
unsafe extern "C" fn wrapped_call<T, F, P, R, const USES_STORE: bool>(
    callee: NonNull<VMFuncRef>,
    caller: Option<NonNull<VMContext>>,
    values: NonNull<ValRaw>,
    _len: usize,
) -> bool
where
    F: Fn(Caller<'_, T>, P) -> R + Send + Sync + 'static,
    P: WasmTyList,
    R: WasmRet,
{
    // SAFETY: required of the caller.
    unsafe {
        match keys_in_use() {
            true => wrapped_call_with_keys::<T, F, P, R>(callee, caller, values),
            false => run_wrapped::<T, F, P, R, USES_STORE, false>(callee, caller, values),
        }
    }
}

/// As [`wrapped_call`]. It is out of the way, so that nothing has to be saved there.
///
/// # Safety
///
/// As for [`wrapped_call`].
#[cold]
#[inline(never)]
unsafe fn wrapped_call_with_keys<T, F, P, R>(
    callee: NonNull<VMFuncRef>,
    caller: Option<NonNull<VMContext>>,
    values: NonNull<ValRaw>,
) -> bool
where
    F: Fn(Caller<'_, T>, P) -> R + Send + Sync + 'static,
    P: WasmTyList,
    R: WasmRet,
{
    // SAFETY: required of the caller.
    unsafe { run_wrapped::<T, F, P, R, true, true>(callee, caller, values) }
}

/// # Safety
///
/// As for [`wrapped_call`] and [`run`].
#[inline(always)]
unsafe fn run_wrapped<T, F, P, R, const USES_STORE: bool, const KEYS: bool>(
    callee: NonNull<VMFuncRef>,
    caller: Option<NonNull<VMContext>>,
    values: NonNull<ValRaw>,
) -> bool
where
    F: Fn(Caller<'_, T>, P) -> R + Send + Sync + 'static,
    P: WasmTyList,
    R: WasmRet,
{
    // SAFETY: `F` is the state of the function, and the types of parameters and results are those
    // that it was registered with, so that `values` holds the former and has room for the latter.
    // The store is borrowed by one of the three steps at a time.
    let body = |func: &F, mut store: NonNull<StoreInner<T>>| unsafe {
        let params = P::load(store.as_mut(), values.as_ptr());
        let results = func(Caller::new(StoreContextMut(store.as_mut()), caller), params);
        results.store_results(store.as_mut(), values.as_ptr())
    };
    // SAFETY: as above. Roots are made of parameters, and by who uses the store.
    unsafe {
        match USES_STORE || P::HAS_REFS {
            true => run::<T, F, true, KEYS>(callee, caller, values, body),
            false => run::<T, F, false, KEYS>(callee, caller, values, body),
        }
    }
}

/// The state of a function whose type is known at run time only.
pub(super) struct Untyped<F> {
    pub(super) ty: FuncType,
    pub(super) func: F,
}

/// A host function of a closure that takes and returns [`Val`]s.
pub(crate) fn untyped<T, F>(engine: &Engine, ty: FuncType, func: F) -> HostFunc
where
    F: Fn(Caller<'_, T>, &[Val], &mut [Val]) -> Result<()> + Send + Sync + 'static,
{
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

/// The entry of a function made by [`untyped`].
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
    F: Fn(Caller<'_, T>, &[Val], &mut [Val]) -> Result<()> + Send + Sync + 'static,
{
    // SAFETY: as in `wrapped_call`.
    unsafe {
        run::<T, Untyped<F>, true, true>(callee, caller, values, |state, mut store| {
            let mut vals = take_values(store.as_mut(), &state.ty, values);
            let (params, results) = vals.split_at_mut(state.ty.params().len());
            let context = StoreContextMut(store.as_mut());
            (state.func)(Caller::new(context, caller), params, results)?;
            return_values(store.as_mut(), &state.ty, values, vals)
        })
    }
}

/// The parameters of a call of a function of the type `ty`, and null references in place of its results.
///
/// # Safety
///
/// The parameters are at `values`.
pub(super) unsafe fn take_values(
    store: &mut StoreOpaque,
    ty: &FuncType,
    values: NonNull<ValRaw>,
) -> Vec<Val> {
    let mut vals = store.take_spare_values();
    for (index, ty) in ty.params().enumerate() {
        // SAFETY: required of the caller.
        vals.push(unsafe { Val::from_raw_in(store, values.add(index).read(), &ty) });
    }
    vals.extend(ty.results().map(|_| Val::null_func_ref()));
    vals
}

/// Writes the results of a call, which follow the parameters in `vals`.
///
/// # Safety
///
/// At `values` there is room for them.
pub(super) unsafe fn return_values(
    store: &mut StoreOpaque,
    ty: &FuncType,
    values: NonNull<ValRaw>,
    vals: Vec<Val>,
) -> Result<()> {
    let results = &vals[ty.params().len()..];
    for (index, (result, ty)) in results.iter().zip(ty.results()).enumerate() {
        result
            .ensure_matches(store, &ty)
            .context("function attempted to return an incompatible value")?;
        let raw = result.to_raw_in(store)?;
        // SAFETY: required of the caller.
        unsafe { values.add(index).write(raw) };
    }
    store.return_spare_values(vals);
    Ok(())
}

/// The state of a function that works on the array of the call itself.
struct Unchecked<F> {
    func: F,
    slots: usize,
}

/// A host function of a closure that reads its parameters from raw values, and writes its results
/// there.
///
/// # Safety
///
/// `func` reads parameters and writes results of the types that `ty` says.
pub(crate) unsafe fn unchecked<T, F>(engine: &Engine, ty: &FuncType, func: F) -> HostFunc
where
    F: Fn(Caller<'_, T>, &mut [ValRaw]) -> Result<()> + Send + Sync + 'static,
{
    assert!(
        Engine::same(ty.engine(), engine),
        "cannot use a `FuncType` of another engine for a host function"
    );
    let slots = ty.params().len().max(ty.results().len());
    HostFunc::new(
        ty.registered_type().clone(),
        unchecked_call::<T, F>,
        Box::new(Unchecked { func, slots }),
    )
}

/// The entry of a function made by [`unchecked`].
///
/// # Safety
///
/// An array call of such a function with the same type parameters.
unsafe extern "C" fn unchecked_call<T, F>(
    callee: NonNull<VMFuncRef>,
    caller: Option<NonNull<VMContext>>,
    values: NonNull<ValRaw>,
    len: usize,
) -> bool
where
    F: Fn(Caller<'_, T>, &mut [ValRaw]) -> Result<()> + Send + Sync + 'static,
{
    // SAFETY: as in `wrapped_call`; `len` values are at `values`, enough for parameters and results.
    unsafe {
        run::<T, Unchecked<F>, true, true>(callee, caller, values, |state, mut store| {
            debug_assert!(len >= state.slots);
            let values = std::slice::from_raw_parts_mut(values.as_ptr(), state.slots);
            let context = StoreContextMut(store.as_mut());
            (state.func)(Caller::new(context, caller), values)
        })
    }
}

/// A closure that can be made a WebAssembly function: what [`Func::wrap`](crate::Func::wrap) and
/// [`Linker::func_wrap`](crate::Linker::func_wrap) take.
///
/// Implemented for closures with up to 17 parameters that are [`WasmTy`]s, before which there may
/// be a [`Caller`], and with a result that is a [`WasmRet`]. `Params` and `Results` are found by
/// type inference.
pub trait IntoFunc<T, Params, Results>: Send + Sync + 'static {
    /// The closure as a function of the host.
    #[doc(hidden)]
    fn into_func(self, engine: &Engine) -> HostFunc;
}

macro_rules! impl_into_func {
    // A single parameter is its own list.
    (1 $t:ident) => {
        impl_into_func!(@ $t, $t);
    };
    ($n:literal $($t:ident)*) => {
        impl_into_func!(@ ($($t,)*), $($t)*);
    };
    (@ $params:ty, $($t:ident)*) => {
        #[allow(non_snake_case, reason = "variables are named as their types")]
        impl<T, F, $($t,)* R> IntoFunc<T, $params, R> for F
        where
            F: Fn($($t),*) -> R + Send + Sync + 'static,
            $($t: WasmTy,)*
            R: WasmRet,
        {
            fn into_func(self, engine: &Engine) -> HostFunc {
                wrap::<_, _, _, _, false>(engine, move |_: Caller<'_, T>, ($($t,)*): ($($t,)*)| {
                    self($($t),*)
                })
            }
        }

        #[allow(non_snake_case, reason = "variables are named as their types")]
        impl<T, F, $($t,)* R> IntoFunc<T, (Caller<'_, T>, $($t,)*), R> for F
        where
            F: Fn(Caller<'_, T>, $($t),*) -> R + Send + Sync + 'static,
            $($t: WasmTy,)*
            R: WasmRet,
        {
            fn into_func(self, engine: &Engine) -> HostFunc {
                wrap::<_, _, _, _, true>(engine, move |caller: Caller<'_, T>, ($($t,)*): ($($t,)*)| {
                    self(caller, $($t),*)
                })
            }
        }
    };
}

for_each_arity!(impl_into_func);
