//! The host types that have a WebAssembly type known at compile time, and lists of them.

use anyhow::Result;
use waxwing_vm::{VMGcRef, ValRaw};

use super::Func;
use crate::gc::{GcRootIndex, is_of_type, sealed::GcRefImpl};
use crate::store::StoreOpaque;
use crate::{
    AnyRef, ArrayRef, EqRef, ExnRef, ExternRef, HeapType, I31, ManuallyRooted, NoExtern, NoFunc,
    NoneRef, OwnedRooted, RefType, Rooted, StructRef, V128, ValType,
};

/// A host type that stands for a WebAssembly type: a parameter or result of closures passed to
/// [`Func::wrap`], and of functions cast by [`Func::typed`].
///
/// | WebAssembly | host |
/// |---|---|
/// | `i32` | `i32` or `u32` |
/// | `i64` | `i64` or `u64` |
/// | `f32` | `f32` |
/// | `f64` | `f64` |
/// | `v128` | [`V128`] |
/// | `funcref`, `(ref func)` | `Option<Func>`, [`Func`] |
/// | `externref`, `(ref extern)` | `Option<Rooted<ExternRef>>`, `Rooted<ExternRef>` |
/// | `anyref`, `(ref any)` | `Option<Rooted<AnyRef>>`, `Rooted<AnyRef>` |
/// | `eqref`, `(ref eq)` | `Option<Rooted<EqRef>>`, `Rooted<EqRef>` |
/// | `structref`, `(ref struct)` | `Option<Rooted<StructRef>>`, `Rooted<StructRef>` |
/// | `arrayref`, `(ref array)` | `Option<Rooted<ArrayRef>>`, `Rooted<ArrayRef>` |
/// | `i31ref`, `(ref i31)` | `Option<I31>`, [`I31`] |
/// | `nullfuncref`, `(ref nofunc)` | `Option<NoFunc>`, [`NoFunc`] |
/// | `nullexternref`, `(ref noextern)` | `Option<NoExtern>`, [`NoExtern`] |
/// | `nullref`, `(ref none)` | `Option<NoneRef>`, [`NoneRef`] |
///
/// Wherever there is [`Rooted`] in the table, there can be [`ManuallyRooted`] or [`OwnedRooted`]
/// too. References to one type of functions, structs or arrays are passed by the type above it:
/// each call of a [`TypedFunc`](crate::TypedFunc) checks them.
///
/// # Safety
///
/// Not for implementation outside of this crate.
pub unsafe trait WasmTy: Send + Sized {
    /// Whether values depend on a store.
    #[doc(hidden)]
    const IS_REF: bool;

    /// The WebAssembly type.
    #[doc(hidden)]
    fn valtype() -> ValType;

    /// Whether the value can be used with `store`.
    #[doc(hidden)]
    fn comes_from_same_store(&self, store: &StoreOpaque) -> bool;

    /// Whether the value, which is of the hierarchy of `ty`, is of that type.
    #[doc(hidden)]
    fn matches(&self, store: &StoreOpaque, ty: &RefType) -> Result<bool>;

    /// The representation in a call.
    ///
    /// Fails if the value is a reference that is not rooted any more.
    #[doc(hidden)]
    fn into_raw(self, store: &mut StoreOpaque) -> Result<ValRaw>;

    /// The value that `raw` represents.
    ///
    /// # Safety
    ///
    /// `raw` is of this type and came from `store`.
    #[doc(hidden)]
    unsafe fn from_raw(store: &mut StoreOpaque, raw: ValRaw) -> Self;
}

macro_rules! numbers {
    ($($ty:ty, $valtype:ident, $x:ident => $into:expr, $raw:ident => $from:expr;)*) => {$(
        // SAFETY: any bits are a value of these types.
        unsafe impl WasmTy for $ty {
            const IS_REF: bool = false;

            #[inline]
            fn valtype() -> ValType {
                ValType::$valtype
            }

            #[inline]
            fn comes_from_same_store(&self, _: &StoreOpaque) -> bool {
                true
            }

            fn matches(&self, _: &StoreOpaque, _: &RefType) -> Result<bool> {
                Ok(false)
            }

            #[inline]
            fn into_raw(self, _: &mut StoreOpaque) -> Result<ValRaw> {
                let $x = self;
                Ok($into)
            }

            #[inline]
            unsafe fn from_raw(_: &mut StoreOpaque, $raw: ValRaw) -> Self {
                $from
            }
        }
    )*};
}

numbers! {
    i32, I32, x => ValRaw::i32(x), raw => raw.get_i32();
    u32, I32, x => ValRaw::u32(x), raw => raw.get_u32();
    i64, I64, x => ValRaw::i64(x), raw => raw.get_i64();
    u64, I64, x => ValRaw::u64(x), raw => raw.get_u64();
    f32, F32, x => ValRaw::f32(x.to_bits()), raw => f32::from_bits(raw.get_f32());
    f64, F64, x => ValRaw::f64(x.to_bits()), raw => f64::from_bits(raw.get_f64());
    V128, V128, x => ValRaw::v128(x.as_u128()), raw => V128::from(raw.get_v128());
}

/// The non-null references among the [`WasmTy`]s.
trait NonNullRef: Sized {
    fn heap_type() -> HeapType;

    fn comes_from_same_store(&self, store: &StoreOpaque) -> bool;

    fn matches(&self, store: &StoreOpaque, ty: &HeapType) -> Result<bool>;

    fn into_raw(self, store: &mut StoreOpaque) -> Result<ValRaw>;

    /// `None` for null.
    ///
    /// # Safety
    ///
    /// As for [`WasmTy::from_raw`].
    unsafe fn from_raw(store: &mut StoreOpaque, raw: ValRaw) -> Option<Self>;
}

impl NonNullRef for Func {
    #[inline]
    fn heap_type() -> HeapType {
        HeapType::Func
    }

    #[inline]
    fn comes_from_same_store(&self, store: &StoreOpaque) -> bool {
        Func::comes_from_same_store(self, store)
    }

    fn matches(&self, store: &StoreOpaque, ty: &HeapType) -> Result<bool> {
        Ok(self.matches_heap_type(store, ty))
    }

    #[inline]
    fn into_raw(self, store: &mut StoreOpaque) -> Result<ValRaw> {
        Ok(ValRaw::funcref(self.vm_func_ref(store).as_ptr().cast()))
    }

    #[inline]
    unsafe fn from_raw(store: &mut StoreOpaque, raw: ValRaw) -> Option<Func> {
        // SAFETY: the caller guarantees a function reference of this store.
        unsafe { Func::from_vm_raw(store, raw.get_funcref()) }
    }
}

/// Whether what a root's reference refers to, by the type `T`, is of the type `ty`.
fn root_matches<T: GcRefImpl>(
    root: GcRootIndex,
    store: &StoreOpaque,
    ty: &HeapType,
) -> Result<bool> {
    let actual = T::type_of(store, root.get(store)?);
    Ok(is_of_type(store, actual, ty))
}

impl<T: GcRefImpl> NonNullRef for Rooted<T> {
    #[inline]
    fn heap_type() -> HeapType {
        T::heap_type()
    }

    #[inline]
    fn comes_from_same_store(&self, store: &StoreOpaque) -> bool {
        self.root_index().comes_from(store)
    }

    fn matches(&self, store: &StoreOpaque, ty: &HeapType) -> Result<bool> {
        root_matches::<T>(self.root_index(), store, ty)
    }

    #[inline]
    fn into_raw(self, store: &mut StoreOpaque) -> Result<ValRaw> {
        Ok(ValRaw::externref(self.root_index().get(store)?.get()))
    }

    #[inline]
    unsafe fn from_raw(store: &mut StoreOpaque, raw: ValRaw) -> Option<Rooted<T>> {
        VMGcRef::new(raw.get_externref()).map(|gc_ref| Rooted::new(store, gc_ref))
    }
}

/// Passing a manually rooted reference gives up its root.
impl<T: GcRefImpl> NonNullRef for ManuallyRooted<T> {
    #[inline]
    fn heap_type() -> HeapType {
        T::heap_type()
    }

    #[inline]
    fn comes_from_same_store(&self, store: &StoreOpaque) -> bool {
        self.root_index().comes_from(store)
    }

    fn matches(&self, store: &StoreOpaque, ty: &HeapType) -> Result<bool> {
        root_matches::<T>(self.root_index(), store, ty)
    }

    #[inline]
    fn into_raw(self, store: &mut StoreOpaque) -> Result<ValRaw> {
        let gc_ref = self.root_index().get(store)?;
        self.unroot_in(store);
        Ok(ValRaw::externref(gc_ref.get()))
    }

    #[inline]
    unsafe fn from_raw(store: &mut StoreOpaque, raw: ValRaw) -> Option<ManuallyRooted<T>> {
        VMGcRef::new(raw.get_externref()).map(|gc_ref| ManuallyRooted::new(store, gc_ref))
    }
}

/// Passing an owned reference gives up the owner.
impl<T: GcRefImpl> NonNullRef for OwnedRooted<T> {
    #[inline]
    fn heap_type() -> HeapType {
        T::heap_type()
    }

    #[inline]
    fn comes_from_same_store(&self, store: &StoreOpaque) -> bool {
        self.root_index().comes_from(store)
    }

    fn matches(&self, store: &StoreOpaque, ty: &HeapType) -> Result<bool> {
        root_matches::<T>(self.root_index(), store, ty)
    }

    #[inline]
    fn into_raw(self, store: &mut StoreOpaque) -> Result<ValRaw> {
        Ok(ValRaw::externref(self.root_index().get(store)?.get()))
    }

    #[inline]
    unsafe fn from_raw(store: &mut StoreOpaque, raw: ValRaw) -> Option<OwnedRooted<T>> {
        VMGcRef::new(raw.get_externref()).map(|gc_ref| OwnedRooted::new(store, gc_ref))
    }
}

impl NonNullRef for I31 {
    #[inline]
    fn heap_type() -> HeapType {
        HeapType::I31
    }

    #[inline]
    fn comes_from_same_store(&self, _: &StoreOpaque) -> bool {
        true
    }

    fn matches(&self, _: &StoreOpaque, ty: &HeapType) -> Result<bool> {
        Ok(HeapType::I31.matches(ty))
    }

    #[inline]
    fn into_raw(self, _: &mut StoreOpaque) -> Result<ValRaw> {
        Ok(ValRaw::anyref(self.to_gc_ref().get()))
    }

    #[inline]
    unsafe fn from_raw(_: &mut StoreOpaque, raw: ValRaw) -> Option<I31> {
        I31::of_gc_ref(VMGcRef::new(raw.get_anyref())?)
    }
}

macro_rules! bottoms {
    ($($ty:ident, $heap:ident;)*) => {$(
        impl NonNullRef for $ty {
            #[inline]
            fn heap_type() -> HeapType {
                HeapType::$heap
            }

            fn comes_from_same_store(&self, _: &StoreOpaque) -> bool {
                match self.never {}
            }

            fn matches(&self, _: &StoreOpaque, _: &HeapType) -> Result<bool> {
                match self.never {}
            }

            fn into_raw(self, _: &mut StoreOpaque) -> Result<ValRaw> {
                match self.never {}
            }

            #[inline]
            unsafe fn from_raw(_: &mut StoreOpaque, _: ValRaw) -> Option<$ty> {
                None
            }
        }
    )*};
}

bottoms! {
    NoFunc, NoFunc;
    NoExtern, NoExtern;
    NoneRef, None;
}

macro_rules! references {
    ($($ty:ty,)*) => {$(
        // SAFETY: the representation of the nullable type, without null.
        unsafe impl WasmTy for $ty {
            const IS_REF: bool = true;

            #[inline]
            fn valtype() -> ValType {
                ValType::Ref(RefType::new(false, <$ty as NonNullRef>::heap_type()))
            }

            #[inline]
            fn comes_from_same_store(&self, store: &StoreOpaque) -> bool {
                NonNullRef::comes_from_same_store(self, store)
            }

            fn matches(&self, store: &StoreOpaque, ty: &RefType) -> Result<bool> {
                NonNullRef::matches(self, store, ty.heap_type())
            }

            #[inline]
            fn into_raw(self, store: &mut StoreOpaque) -> Result<ValRaw> {
                NonNullRef::into_raw(self, store)
            }

            #[inline]
            unsafe fn from_raw(store: &mut StoreOpaque, raw: ValRaw) -> Self {
                // SAFETY: required of the caller.
                unsafe { <$ty as NonNullRef>::from_raw(store, raw) }
                    .expect("the type of the function excludes null")
            }
        }

        // SAFETY: null is represented by zero, everything else as its type says.
        unsafe impl WasmTy for Option<$ty> {
            const IS_REF: bool = true;

            #[inline]
            fn valtype() -> ValType {
                ValType::Ref(RefType::new(true, <$ty as NonNullRef>::heap_type()))
            }

            #[inline]
            fn comes_from_same_store(&self, store: &StoreOpaque) -> bool {
                self.as_ref()
                    .is_none_or(|reference| NonNullRef::comes_from_same_store(reference, store))
            }

            fn matches(&self, store: &StoreOpaque, ty: &RefType) -> Result<bool> {
                match self {
                    Some(reference) => NonNullRef::matches(reference, store, ty.heap_type()),
                    None => Ok(ty.is_nullable()),
                }
            }

            #[inline]
            fn into_raw(self, store: &mut StoreOpaque) -> Result<ValRaw> {
                match self {
                    Some(reference) => NonNullRef::into_raw(reference, store),
                    None => Ok(ValRaw::null()),
                }
            }

            #[inline]
            unsafe fn from_raw(store: &mut StoreOpaque, raw: ValRaw) -> Self {
                // SAFETY: required of the caller.
                unsafe { NonNullRef::from_raw(store, raw) }
            }
        }
    )*};
}

references! {
    Func,
    I31,
    NoFunc,
    NoExtern,
    NoneRef,
}

/// References to what a store manages, by each kind of root.
macro_rules! rooted_references {
    ($($ty:ident)*) => {
        references! {
            $(Rooted<$ty>, ManuallyRooted<$ty>, OwnedRooted<$ty>,)*
        }
    };
}

rooted_references!(ExternRef AnyRef EqRef StructRef ArrayRef ExnRef);
