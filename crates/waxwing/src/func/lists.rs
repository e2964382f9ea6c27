//! Lists of [`WasmTy`]s: the parameters and results of functions whose types are known at compile
//! time.

use std::mem::MaybeUninit;

use anyhow::{Context, Result, bail};
use waxwing_vm::ValRaw;

use super::WasmTy;
use crate::store::StoreOpaque;
use crate::{Engine, FuncType, ValType};

/// A tuple of up to 17 [`WasmTy`]s: the parameters of a host function.
///
/// # Safety
///
/// Not for implementation outside of this crate.
pub unsafe trait WasmTyList {
    /// Whether any element depends on a store.
    #[doc(hidden)]
    const HAS_REFS: bool;

    /// The WebAssembly types of the elements.
    fn valtypes() -> impl Iterator<Item = ValType>;

    /// The elements that the first items of `values` represent.
    ///
    /// # Safety
    ///
    /// `values` leads to as many values as there are elements, of these types and of this store.
    #[doc(hidden)]
    unsafe fn load(store: &mut StoreOpaque, values: *const ValRaw) -> Self;
}

/// The parameters of a [`TypedFunc`](crate::TypedFunc): a [`WasmTy`], or a tuple of up to 17 of
/// them.
///
/// # Safety
///
/// Not for implementation outside of this crate.
pub unsafe trait WasmParams: Send {
    /// Room for the parameters in a call.
    #[doc(hidden)]
    type Storage: Copy;

    /// Whether any parameter depends on a store.
    #[doc(hidden)]
    const HAS_REFS: bool;

    /// Fails unless these can be the parameters of functions with parameters of the types
    /// `actual`. `Ok(true)` if that has to be checked for each value.
    #[doc(hidden)]
    fn check_params(actual: impl ExactSizeIterator<Item = ValType>) -> Result<bool>;

    /// Whether all values can be used with `store`.
    #[doc(hidden)]
    fn comes_from_same_store(&self, store: &StoreOpaque) -> bool;

    /// Fails unless the values are of the types `actual`.
    #[doc(hidden)]
    fn check_values(
        &self,
        store: &StoreOpaque,
        actual: impl ExactSizeIterator<Item = ValType>,
    ) -> Result<()>;

    /// Writes the representations of the values.
    ///
    /// # Safety
    ///
    /// `values` has room for all of them.
    #[doc(hidden)]
    unsafe fn store(self, store: &mut StoreOpaque, values: *mut ValRaw) -> Result<()>;
}

/// The results of a [`TypedFunc`](crate::TypedFunc): a [`WasmTy`], or a tuple of up to 17 of them.
///
/// # Safety
///
/// Not for implementation outside of this crate.
pub unsafe trait WasmResults: WasmParams {
    /// Fails unless these can be the results of functions with results of the types `actual`.
    #[doc(hidden)]
    fn check_results(actual: impl ExactSizeIterator<Item = ValType>) -> Result<()>;

    /// The values that `values` represents.
    ///
    /// # Safety
    ///
    /// `values` leads to as many values as there are results, of these types and of this store.
    #[doc(hidden)]
    unsafe fn load_results(store: &mut StoreOpaque, values: *const ValRaw) -> Self;
}

/// What a host function passed to [`Func::wrap`](crate::Func::wrap) can return: a [`WasmTy`], a
/// tuple of up to 17 of them, or a [`Result`] of either.
///
/// An error becomes the error of the call from the host that led to the host function.
///
/// # Safety
///
/// Not for implementation outside of this crate.
pub unsafe trait WasmRet {
    /// The type of functions from `params` to these results.
    #[doc(hidden)]
    fn func_type(engine: &Engine, params: impl Iterator<Item = ValType>) -> FuncType;

    /// Writes the representations of the results.
    ///
    /// # Safety
    ///
    /// `values` has room for all of them.
    #[doc(hidden)]
    unsafe fn store_results(self, store: &mut StoreOpaque, values: *mut ValRaw) -> Result<()>;
}

fn check_len(expected: usize, actual: usize) -> Result<()> {
    if expected != actual {
        bail!("expected {expected} types, found {actual}");
    }
    Ok(())
}

/// Whether passing a value of the type `given` to a parameter of the type `actual` has to be
/// checked at run time.
fn check_param(given: &ValType, actual: &ValType) -> Result<bool> {
    if given.matches(actual) {
        return Ok(false);
    }
    // A reference to any struct, for example, may well be one to a struct of the right type.
    if let (ValType::Ref(given), ValType::Ref(actual)) = (given, actual)
        && actual.heap_type().is_concrete()
        && actual.heap_type().matches(given.heap_type())
    {
        return Ok(true);
    }
    bail!("expected {given}, found {actual}")
}

fn check_value<T: WasmTy>(value: &T, store: &StoreOpaque, actual: &ValType) -> Result<()> {
    if let ValType::Ref(ty) = actual
        && !value.matches(store, ty)?
    {
        bail!(
            "argument type mismatch: expected {actual}, found another {}",
            T::valtype()
        );
    }
    Ok(())
}

fn check_result(expected: &ValType, actual: &ValType) -> Result<()> {
    if !actual.matches(expected) {
        bail!("expected {expected}, found {actual}");
    }
    Ok(())
}

macro_rules! impl_lists {
    ($n:literal $($t:ident)*) => {
        // SAFETY: the elements are read in the order of their types.
        #[allow(non_snake_case, reason = "variables are named as their types")]
        unsafe impl<$($t: WasmTy),*> WasmTyList for ($($t,)*) {
            const HAS_REFS: bool = false $(|| $t::IS_REF)*;

            fn valtypes() -> impl Iterator<Item = ValType> {
                IntoIterator::into_iter([$($t::valtype()),*])
            }

            #[inline]
            #[allow(unused, clippy::unused_unit, reason = "the empty list reads nothing")]
            unsafe fn load(store: &mut StoreOpaque, values: *const ValRaw) -> Self {
                let mut next = 0;
                $(
                    // SAFETY: the caller guarantees a value of this type for each element.
                    let $t = unsafe { $t::from_raw(store, *values.add(next)) };
                    next += 1;
                )*
                ($($t,)*)
            }
        }

        // SAFETY: there is room for each element, and each is written as its type says.
        #[allow(non_snake_case, reason = "variables are named as their types")]
        #[allow(unused, reason = "the empty list has no use for most parameters")]
        unsafe impl<$($t: WasmTy),*> WasmParams for ($($t,)*) {
            type Storage = [MaybeUninit<ValRaw>; $n];

            const HAS_REFS: bool = false $(|| $t::IS_REF)*;

            fn check_params(mut actual: impl ExactSizeIterator<Item = ValType>) -> Result<bool> {
                check_len($n, actual.len())?;
                let mut at_run_time = false;
                $(
                    let ty = actual.next().expect("as many as the length says");
                    at_run_time |= check_param(&$t::valtype(), &ty)?;
                )*
                Ok(at_run_time)
            }

            #[inline]
            fn comes_from_same_store(&self, store: &StoreOpaque) -> bool {
                let ($($t,)*) = self;
                true $(&& $t.comes_from_same_store(store))*
            }

            fn check_values(
                &self,
                store: &StoreOpaque,
                mut actual: impl ExactSizeIterator<Item = ValType>,
            ) -> Result<()> {
                let ($($t,)*) = self;
                $(
                    let ty = actual.next().context("fewer parameters than types")?;
                    check_value($t, store, &ty)?;
                )*
                Ok(())
            }

            #[inline]
            unsafe fn store(self, store: &mut StoreOpaque, values: *mut ValRaw) -> Result<()> {
                let ($($t,)*) = self;
                let mut next = 0;
                $(
                    let raw = $t.into_raw(store)?;
                    // SAFETY: the caller guarantees room for each element.
                    unsafe { values.add(next).write(raw) };
                    next += 1;
                )*
                Ok(())
            }
        }

        // SAFETY: the elements are read in the order of their types.
        #[allow(unused, reason = "the empty list has no use for most parameters")]
        unsafe impl<$($t: WasmTy),*> WasmResults for ($($t,)*) {
            fn check_results(mut actual: impl ExactSizeIterator<Item = ValType>) -> Result<()> {
                check_len($n, actual.len())?;
                $(
                    let ty = actual.next().expect("as many as the length says");
                    check_result(&$t::valtype(), &ty)?;
                )*
                Ok(())
            }

            #[inline]
            unsafe fn load_results(store: &mut StoreOpaque, values: *const ValRaw) -> Self {
                // SAFETY: required of the caller.
                unsafe { <Self as WasmTyList>::load(store, values) }
            }
        }

        // SAFETY: each element is written as its type says.
        unsafe impl<$($t: WasmTy),*> WasmRet for ($($t,)*) {
            fn func_type(engine: &Engine, params: impl Iterator<Item = ValType>) -> FuncType {
                FuncType::new(engine, params, <Self as WasmTyList>::valtypes())
            }

            #[inline]
            unsafe fn store_results(
                self,
                store: &mut StoreOpaque,
                values: *mut ValRaw,
            ) -> Result<()> {
                if <Self as WasmParams>::HAS_REFS && !WasmParams::comes_from_same_store(&self, store) {
                    bail!("host function attempted to return a value of another store");
                }
                // SAFETY: required of the caller.
                unsafe { WasmParams::store(self, store, values) }
            }
        }
    };
}

macro_rules! for_each_arity {
    ($mac:ident) => {
        $mac!(0);
        $mac!(1 A1);
        $mac!(2 A1 A2);
        $mac!(3 A1 A2 A3);
        $mac!(4 A1 A2 A3 A4);
        $mac!(5 A1 A2 A3 A4 A5);
        $mac!(6 A1 A2 A3 A4 A5 A6);
        $mac!(7 A1 A2 A3 A4 A5 A6 A7);
        $mac!(8 A1 A2 A3 A4 A5 A6 A7 A8);
        $mac!(9 A1 A2 A3 A4 A5 A6 A7 A8 A9);
        $mac!(10 A1 A2 A3 A4 A5 A6 A7 A8 A9 A10);
        $mac!(11 A1 A2 A3 A4 A5 A6 A7 A8 A9 A10 A11);
        $mac!(12 A1 A2 A3 A4 A5 A6 A7 A8 A9 A10 A11 A12);
        $mac!(13 A1 A2 A3 A4 A5 A6 A7 A8 A9 A10 A11 A12 A13);
        $mac!(14 A1 A2 A3 A4 A5 A6 A7 A8 A9 A10 A11 A12 A13 A14);
        $mac!(15 A1 A2 A3 A4 A5 A6 A7 A8 A9 A10 A11 A12 A13 A14 A15);
        $mac!(16 A1 A2 A3 A4 A5 A6 A7 A8 A9 A10 A11 A12 A13 A14 A15 A16);
        $mac!(17 A1 A2 A3 A4 A5 A6 A7 A8 A9 A10 A11 A12 A13 A14 A15 A16 A17);
    };
}
pub(super) use for_each_arity;

for_each_arity!(impl_lists);

// SAFETY: as for the list of the one element.
unsafe impl<T: WasmTy> WasmParams for T {
    type Storage = <(T,) as WasmParams>::Storage;

    const HAS_REFS: bool = T::IS_REF;

    fn check_params(actual: impl ExactSizeIterator<Item = ValType>) -> Result<bool> {
        <(T,) as WasmParams>::check_params(actual)
    }

    #[inline]
    fn comes_from_same_store(&self, store: &StoreOpaque) -> bool {
        WasmTy::comes_from_same_store(self, store)
    }

    fn check_values(
        &self,
        store: &StoreOpaque,
        mut actual: impl ExactSizeIterator<Item = ValType>,
    ) -> Result<()> {
        let ty = actual.next().context("fewer parameters than types")?;
        check_value(self, store, &ty)
    }

    #[inline]
    unsafe fn store(self, store: &mut StoreOpaque, values: *mut ValRaw) -> Result<()> {
        // SAFETY: required of the caller.
        unsafe { WasmParams::store((self,), store, values) }
    }
}

// SAFETY: as for the list of the one element.
unsafe impl<T: WasmTy> WasmResults for T {
    fn check_results(actual: impl ExactSizeIterator<Item = ValType>) -> Result<()> {
        <(T,) as WasmResults>::check_results(actual)
    }

    #[inline]
    unsafe fn load_results(store: &mut StoreOpaque, values: *const ValRaw) -> Self {
        // SAFETY: required of the caller.
        unsafe { <(T,) as WasmResults>::load_results(store, values).0 }
    }
}

// SAFETY: as for the list of the one element.
unsafe impl<T: WasmTy> WasmRet for T {
    fn func_type(engine: &Engine, params: impl Iterator<Item = ValType>) -> FuncType {
        <(T,) as WasmRet>::func_type(engine, params)
    }

    #[inline]
    unsafe fn store_results(self, store: &mut StoreOpaque, values: *mut ValRaw) -> Result<()> {
        // SAFETY: required of the caller.
        unsafe { (self,).store_results(store, values) }
    }
}

// SAFETY: as for the results that are not an error.
unsafe impl<T: WasmRet> WasmRet for Result<T> {
    fn func_type(engine: &Engine, params: impl Iterator<Item = ValType>) -> FuncType {
        T::func_type(engine, params)
    }

    #[inline]
    unsafe fn store_results(self, store: &mut StoreOpaque, values: *mut ValRaw) -> Result<()> {
        // SAFETY: required of the caller.
        self.and_then(|results| unsafe { results.store_results(store, values) })
    }
}
