//! [`Val`] and [`Ref`]: values of types that are known at run time only.

use std::ptr;

use anyhow::{Result, bail};
use waxwing_environ::{TypeRef, WasmHeapType};
use waxwing_vm::{VMGcRef, ValRaw};

use crate::gc::{exn_type, is_of_type, sealed::GcRefImpl};
use crate::store::StoreOpaque;
use crate::{
    AnyRef, ArrayRef, AsContext, AsContextMut, EqRef, ExnRef, ExternRef, Func, HeapType, RefType,
    Rooted, StructRef, V128, ValType,
};

/// A WebAssembly value, of any type.
///
/// [`Func::call`], [`Global`](crate::Global)s and untyped host functions use it. Where types are
/// known at compile time, [`TypedFunc`](crate::TypedFunc) and [`Func::wrap`] avoid it.
#[derive(Debug, Clone, Copy)]
pub enum Val {
    /// An `i32`.
    I32(i32),
    /// An `i64`.
    I64(i64),
    /// An `f32`, by its bits: `f32::from_bits` gives the number.
    F32(u32),
    /// An `f64`, by its bits: `f64::from_bits` gives the number.
    F64(u64),
    /// A `v128`.
    V128(V128),
    /// A reference to a function, or null.
    FuncRef(Option<Func>),
    /// A reference to a value of the host, or null.
    ExternRef(Option<Rooted<ExternRef>>),
    /// A reference to a value of the GC proposal, or null.
    AnyRef(Option<Rooted<AnyRef>>),
    /// A reference to an exception, or null.
    ExnRef(Option<Rooted<ExnRef>>),
}

/// A WebAssembly reference, of any type.
#[derive(Debug, Clone, Copy)]
pub enum Ref {
    /// A reference to a function, or null.
    Func(Option<Func>),
    /// A reference to a value of the host, or null.
    Extern(Option<Rooted<ExternRef>>),
    /// A reference to a value of the GC proposal, or null.
    Any(Option<Rooted<AnyRef>>),
    /// A reference to an exception, or null.
    Exn(Option<Rooted<ExnRef>>),
}

macro_rules! val_accessors {
    ($($ty:literal, $result:ty, $get:ident, $unwrap:ident, $pattern:pat => $value:expr;)*) => {
        impl Val {
            $(
                #[doc = concat!("The value if this is ", $ty, ".")]
                #[inline]
                pub fn $get(&self) -> Option<$result> {
                    match self {
                        $pattern => Some($value),
                        _ => None,
                    }
                }

                #[doc = concat!("The value, which is ", $ty, ".")]
                ///
                /// # Panics
                ///
                /// Panics if it is something else.
                #[inline]
                #[track_caller]
                pub fn $unwrap(&self) -> $result {
                    match self {
                        $pattern => $value,
                        other => panic!("expected {}, found {other:?}", $ty),
                    }
                }
            )*
        }
    };
}

val_accessors! {
    "an `i32`", i32, i32, unwrap_i32, Val::I32(x) => *x;
    "an `i64`", i64, i64, unwrap_i64, Val::I64(x) => *x;
    "an `f32`", f32, f32, unwrap_f32, Val::F32(x) => f32::from_bits(*x);
    "an `f64`", f64, f64, unwrap_f64, Val::F64(x) => f64::from_bits(*x);
    "a `v128`", V128, v128, unwrap_v128, Val::V128(x) => *x;
    "a function reference, `None` being null", Option<&Func>, func_ref, unwrap_func_ref,
        Val::FuncRef(x) => x.as_ref();
    "a function reference, `None` being null", Option<&Func>, funcref, unwrap_funcref,
        Val::FuncRef(x) => x.as_ref();
    "an external reference, `None` being null", Option<&Rooted<ExternRef>>, extern_ref,
        unwrap_extern_ref, Val::ExternRef(x) => x.as_ref();
    "an external reference, `None` being null", Option<&Rooted<ExternRef>>, externref,
        unwrap_externref, Val::ExternRef(x) => x.as_ref();
    "an internal reference, `None` being null", Option<&Rooted<AnyRef>>, any_ref,
        unwrap_any_ref, Val::AnyRef(x) => x.as_ref();
    "an internal reference, `None` being null", Option<&Rooted<AnyRef>>, anyref,
        unwrap_anyref, Val::AnyRef(x) => x.as_ref();
    "a reference to an exception, `None` being null", Option<&Rooted<ExnRef>>, exnref,
        unwrap_exnref, Val::ExnRef(x) => x.as_ref();
}

impl Val {
    /// The null `funcref`.
    #[inline]
    pub const fn null_func_ref() -> Val {
        Val::FuncRef(None)
    }

    /// The null `externref`.
    #[inline]
    pub const fn null_extern_ref() -> Val {
        Val::ExternRef(None)
    }

    /// The null `anyref`.
    #[inline]
    pub const fn null_any_ref() -> Val {
        Val::AnyRef(None)
    }

    /// The null reference of the hierarchy that `heap_type` is in.
    pub fn null_ref(heap_type: &HeapType) -> Val {
        Ref::null(heap_type).into()
    }

    /// Zero for a number or vector, null for a nullable reference; `None` for a reference type
    /// that has no null.
    pub fn default_for_ty(ty: &ValType) -> Option<Val> {
        Some(match ty {
            ValType::I32 => Val::I32(0),
            ValType::I64 => Val::I64(0),
            ValType::F32 => Val::F32(0),
            ValType::F64 => Val::F64(0),
            ValType::V128 => Val::V128(V128::from(0)),
            ValType::Ref(ty) if ty.is_nullable() => Val::null_ref(ty.heap_type()),
            ValType::Ref(_) => return None,
        })
    }

    /// The type of the value, the most precise one.
    ///
    /// # Errors
    ///
    /// Fails if the value is a reference that is not rooted any more.
    ///
    /// # Panics
    ///
    /// Panics if the value is a reference of another store.
    pub fn ty(&self, store: impl AsContext) -> Result<ValType> {
        Ok(match self {
            Val::I32(_) => ValType::I32,
            Val::I64(_) => ValType::I64,
            Val::F32(_) => ValType::F32,
            Val::F64(_) => ValType::F64,
            Val::V128(_) => ValType::V128,
            Val::FuncRef(x) => ValType::Ref(Ref::Func(*x).ty(store)?),
            Val::ExternRef(x) => ValType::Ref(Ref::Extern(*x).ty(store)?),
            Val::AnyRef(x) => ValType::Ref(Ref::Any(*x).ty(store)?),
            Val::ExnRef(x) => ValType::Ref(Ref::Exn(*x).ty(store)?),
        })
    }

    /// Whether the value is one of the type `ty`.
    ///
    /// # Errors
    ///
    /// Fails if the value is a reference that is not rooted any more.
    ///
    /// # Panics
    ///
    /// Panics if the value is a reference of another store, or if `ty` belongs to another engine.
    pub fn matches_ty(&self, store: impl AsContext, ty: &ValType) -> Result<bool> {
        self.matches(store.as_context().0, ty)
    }

    #[inline]
    pub(crate) fn matches(&self, store: &StoreOpaque, ty: &ValType) -> Result<bool> {
        assert!(
            ty.comes_from_same_engine(store.engine()),
            "type used with a store of another engine"
        );
        match (self, ty) {
            (Val::I32(_), ValType::I32)
            | (Val::I64(_), ValType::I64)
            | (Val::F32(_), ValType::F32)
            | (Val::F64(_), ValType::F64)
            | (Val::V128(_), ValType::V128) => Ok(true),
            (_, ValType::Ref(ty)) => match self.ref_() {
                Some(reference) => reference.matches(store, ty),
                None => Ok(false),
            },
            _ => Ok(false),
        }
    }

    /// Fails unless the value is one of the type `ty`.
    pub(crate) fn ensure_matches(&self, store: &StoreOpaque, ty: &ValType) -> Result<()> {
        if !self.comes_from_same_store(store) {
            bail!("type mismatch: value is from a different store");
        }
        if !self.matches(store, ty)? {
            bail!(
                "type mismatch: expected {ty}, found {}",
                self.describe_type(store)?
            );
        }
        Ok(())
    }

    fn describe_type(&self, store: &StoreOpaque) -> Result<ValType> {
        Ok(match self.ref_() {
            Some(reference) => ValType::Ref(reference.precise_type(store)?),
            None => match self {
                Val::I64(_) => ValType::I64,
                Val::F32(_) => ValType::F32,
                Val::F64(_) => ValType::F64,
                Val::V128(_) => ValType::V128,
                _ => ValType::I32,
            },
        })
    }

    /// The reference, if the value is one.
    pub fn ref_(self) -> Option<Ref> {
        match self {
            Val::FuncRef(x) => Some(Ref::Func(x)),
            Val::ExternRef(x) => Some(Ref::Extern(x)),
            Val::AnyRef(x) => Some(Ref::Any(x)),
            Val::ExnRef(x) => Some(Ref::Exn(x)),
            Val::I32(_) | Val::I64(_) | Val::F32(_) | Val::F64(_) | Val::V128(_) => None,
        }
    }

    pub(crate) fn comes_from_same_store(&self, store: &StoreOpaque) -> bool {
        self.ref_()
            .is_none_or(|reference| reference.comes_from_same_store(store))
    }

    /// The representation of the value in calls that are not type-checked.
    ///
    /// # Errors
    ///
    /// Fails if the value is a reference that is not rooted any more.
    ///
    /// # Panics
    ///
    /// Panics if the value is a reference of another store.
    ///
    /// # Safety
    ///
    /// The result does not keep a reference alive: it is for immediate use in a call, before
    /// anything else is done with the store.
    pub unsafe fn to_raw(&self, mut store: impl AsContextMut) -> Result<ValRaw> {
        self.to_raw_in(store.as_context_mut().0)
    }

    #[inline]
    pub(crate) fn to_raw_in(self, store: &StoreOpaque) -> Result<ValRaw> {
        Ok(match self {
            Val::I32(x) => ValRaw::i32(x),
            Val::I64(x) => ValRaw::i64(x),
            Val::F32(x) => ValRaw::f32(x),
            Val::F64(x) => ValRaw::f64(x),
            Val::V128(x) => ValRaw::v128(x.as_u128()),
            Val::FuncRef(None) => ValRaw::funcref(ptr::null_mut()),
            Val::FuncRef(Some(x)) => ValRaw::funcref(x.vm_func_ref(store).as_ptr().cast()),
            Val::ExternRef(None) | Val::AnyRef(None) | Val::ExnRef(None) => ValRaw::null(),
            Val::ExternRef(Some(x)) => ValRaw::externref(x.root_index().get(store)?.get()),
            Val::AnyRef(Some(x)) => ValRaw::anyref(x.root_index().get(store)?.get()),
            Val::ExnRef(Some(x)) => ValRaw::exnref(x.root_index().get(store)?.get()),
        })
    }

    /// The value of the type `ty` that `raw` represents. A reference is rooted in the store's
    /// current scope.
    ///
    /// # Safety
    ///
    /// `raw` is of the type `ty`; if that is a reference type, it came from this store, in which
    /// garbage was not collected since.
    pub unsafe fn from_raw(mut store: impl AsContextMut, raw: ValRaw, ty: ValType) -> Val {
        // SAFETY: required of the caller.
        unsafe { Val::from_raw_in(store.as_context_mut().0, raw, &ty) }
    }

    /// # Safety
    ///
    /// As for [`Val::from_raw`].
    #[inline]
    pub(crate) unsafe fn from_raw_in(store: &mut StoreOpaque, raw: ValRaw, ty: &ValType) -> Val {
        match ty {
            ValType::I32 => Val::I32(raw.get_i32()),
            ValType::I64 => Val::I64(raw.get_i64()),
            ValType::F32 => Val::F32(raw.get_f32()),
            ValType::F64 => Val::F64(raw.get_f64()),
            ValType::V128 => Val::V128(raw.get_v128().into()),
            // SAFETY: required of the caller.
            ValType::Ref(ty) => unsafe { Ref::from_raw_in(store, raw, ty.heap_type()) }.into(),
        }
    }
}

macro_rules! ref_accessors {
    ($($what:literal, $variant:ident, $ty:ty, $is:ident, $get:ident, $unwrap:ident;)*) => {
        impl Ref {
            $(
                #[doc = concat!("Whether this is ", $what, ", null or not.")]
                #[inline]
                pub fn $is(&self) -> bool {
                    matches!(self, Ref::$variant(_))
                }

                #[doc = concat!("The reference if this is ", $what, ": `Some(None)` if it is null.")]
                #[inline]
                pub fn $get(&self) -> Option<Option<&$ty>> {
                    match self {
                        Ref::$variant(x) => Some(x.as_ref()),
                        _ => None,
                    }
                }

                #[doc = concat!("The reference, which is ", $what, ": `None` if it is null.")]
                ///
                /// # Panics
                ///
                /// Panics if it is something else.
                #[inline]
                #[track_caller]
                pub fn $unwrap(&self) -> Option<&$ty> {
                    match self {
                        Ref::$variant(x) => x.as_ref(),
                        other => panic!("expected {}, found {other:?}", $what),
                    }
                }
            )*
        }
    };
}

ref_accessors! {
    "a function reference", Func, Func, is_func, as_func, unwrap_func;
    "an external reference", Extern, Rooted<ExternRef>, is_extern, as_extern, unwrap_extern;
    "an internal reference", Any, Rooted<AnyRef>, is_any, as_any, unwrap_any;
    "a reference to an exception", Exn, Rooted<ExnRef>, is_exn, as_exn, unwrap_exn;
}

impl Ref {
    /// The null reference of the hierarchy that `heap_type` is in.
    #[inline]
    pub fn null(heap_type: &HeapType) -> Self {
        match heap_type.top() {
            HeapType::Extern => Ref::Extern(None),
            HeapType::Any => Ref::Any(None),
            HeapType::Exn => Ref::Exn(None),
            _ => Ref::Func(None),
        }
    }

    /// Whether the reference is null.
    #[inline]
    pub fn is_null(&self) -> bool {
        matches!(
            self,
            Ref::Func(None) | Ref::Extern(None) | Ref::Any(None) | Ref::Exn(None)
        )
    }

    /// Whether the reference is not null.
    #[inline]
    pub fn is_non_null(&self) -> bool {
        !self.is_null()
    }

    /// The type of the reference, the most precise one: `nullfuncref`, for example, for the null
    /// function reference.
    ///
    /// # Errors
    ///
    /// Fails if the reference is not rooted any more.
    ///
    /// # Panics
    ///
    /// Panics if the reference belongs to another store.
    pub fn ty(&self, store: impl AsContext) -> Result<RefType> {
        self.precise_type(store.as_context().0)
    }

    fn precise_type(&self, store: &StoreOpaque) -> Result<RefType> {
        let heap_type = match self {
            Ref::Exn(Some(x)) => HeapType::ConcreteExn(exn_type(store, x.root_index().get(store)?)),
            _ => HeapType::from_wasm(store.engine(), self.type_of(store)?),
        };
        Ok(RefType::new(self.is_null(), heap_type))
    }

    /// The most precise type of what this refers to, or of null.
    fn type_of(&self, store: &StoreOpaque) -> Result<WasmHeapType> {
        fn gc_type<T: GcRefImpl>(store: &StoreOpaque, x: &Rooted<T>) -> Result<WasmHeapType> {
            Ok(T::type_of(store, x.root_index().get(store)?))
        }
        Ok(match self {
            Ref::Func(None) => WasmHeapType::NoFunc,
            Ref::Extern(None) => WasmHeapType::NoExtern,
            Ref::Any(None) => WasmHeapType::None,
            Ref::Func(Some(x)) => WasmHeapType::ConcreteFunc(TypeRef::Engine(x.type_index(store))),
            Ref::Extern(Some(x)) => gc_type(store, x)?,
            Ref::Any(Some(x)) => gc_type(store, x)?,
            Ref::Exn(None) => WasmHeapType::NoExn,
            Ref::Exn(Some(x)) => gc_type(store, x)?,
        })
    }

    /// Whether the reference is a value of the type `ty`.
    ///
    /// # Errors
    ///
    /// Fails if the reference is not rooted any more.
    ///
    /// # Panics
    ///
    /// Panics if the reference belongs to another store, or if `ty` belongs to another engine.
    pub fn matches_ty(&self, store: impl AsContext, ty: &RefType) -> Result<bool> {
        let store = store.as_context().0;
        assert!(
            ty.heap_type().comes_from_same_engine(store.engine()),
            "type used with a store of another engine"
        );
        self.matches(store, ty)
    }

    pub(crate) fn matches(&self, store: &StoreOpaque, ty: &RefType) -> Result<bool> {
        if let Ref::Func(Some(func)) = self {
            return Ok(func.matches_heap_type(store, ty.heap_type()));
        }
        if let (Ref::Exn(Some(_)), HeapType::ConcreteExn(_)) = (self, ty.heap_type()) {
            return Ok(self.precise_type(store)?.matches(ty));
        }
        let may_be_so = ty.is_nullable() || self.is_non_null();
        Ok(is_of_type(store, self.type_of(store)?, ty.heap_type()) && may_be_so)
    }

    /// Fails unless the reference is of this store and a value of the type `ty`.
    pub(crate) fn ensure_matches(&self, store: &StoreOpaque, ty: &RefType) -> Result<()> {
        Val::from(*self).ensure_matches(store, &ValType::Ref(ty.clone()))
    }

    pub(crate) fn comes_from_same_store(&self, store: &StoreOpaque) -> bool {
        match self {
            Ref::Func(Some(func)) => func.comes_from_same_store(store),
            Ref::Extern(Some(reference)) => reference.root_index().comes_from(store),
            Ref::Any(Some(reference)) => reference.root_index().comes_from(store),
            Ref::Exn(Some(reference)) => reference.root_index().comes_from(store),
            Ref::Func(None) | Ref::Extern(None) | Ref::Any(None) | Ref::Exn(None) => true,
        }
    }

    /// # Safety
    ///
    /// `raw` is a reference of the hierarchy of `heap_type` and came from this store.
    pub(crate) unsafe fn from_raw_in(
        store: &mut StoreOpaque,
        raw: ValRaw,
        heap_type: &HeapType,
    ) -> Ref {
        match heap_type.top() {
            HeapType::Extern => Ref::Extern(
                VMGcRef::new(raw.get_externref()).map(|gc_ref| Rooted::new(store, gc_ref)),
            ),
            HeapType::Any => {
                Ref::Any(VMGcRef::new(raw.get_anyref()).map(|gc_ref| Rooted::new(store, gc_ref)))
            }
            HeapType::Exn => {
                Ref::Exn(VMGcRef::new(raw.get_exnref()).map(|gc_ref| Rooted::new(store, gc_ref)))
            }
            // SAFETY: a function reference of this store, as the caller guarantees.
            _ => Ref::Func(unsafe { Func::from_vm_raw(store, raw.get_funcref()) }),
        }
    }
}

impl From<Ref> for Val {
    #[inline]
    fn from(reference: Ref) -> Val {
        match reference {
            Ref::Func(x) => Val::FuncRef(x),
            Ref::Extern(x) => Val::ExternRef(x),
            Ref::Any(x) => Val::AnyRef(x),
            Ref::Exn(x) => Val::ExnRef(x),
        }
    }
}

macro_rules! conversions {
    ($($from:ty => $to:ident: $x:ident => $value:expr;)*) => {$(
        impl From<$from> for $to {
            #[inline]
            fn from($x: $from) -> $to {
                $value
            }
        }
    )*};
}

conversions! {
    i32 => Val: x => Val::I32(x);
    i64 => Val: x => Val::I64(x);
    f32 => Val: x => Val::F32(x.to_bits());
    f64 => Val: x => Val::F64(x.to_bits());
    u128 => Val: x => Val::V128(x.into());
    V128 => Val: x => Val::V128(x);
    Func => Val: x => Val::FuncRef(Some(x));
    Option<Func> => Val: x => Val::FuncRef(x);
    Rooted<ExternRef> => Val: x => Val::ExternRef(Some(x));
    Option<Rooted<ExternRef>> => Val: x => Val::ExternRef(x);
    Rooted<AnyRef> => Val: x => Val::AnyRef(Some(x));
    Option<Rooted<AnyRef>> => Val: x => Val::AnyRef(x);
    Rooted<ExnRef> => Val: x => Val::ExnRef(Some(x));
    Option<Rooted<ExnRef>> => Val: x => Val::ExnRef(x);
    Rooted<EqRef> => Val: x => Val::AnyRef(Some(x.cast()));
    Option<Rooted<EqRef>> => Val: x => Val::AnyRef(x.map(Rooted::cast));
    Rooted<StructRef> => Val: x => Val::AnyRef(Some(x.cast()));
    Option<Rooted<StructRef>> => Val: x => Val::AnyRef(x.map(Rooted::cast));
    Rooted<ArrayRef> => Val: x => Val::AnyRef(Some(x.cast()));
    Option<Rooted<ArrayRef>> => Val: x => Val::AnyRef(x.map(Rooted::cast));
    Func => Ref: x => Ref::Func(Some(x));
    Option<Func> => Ref: x => Ref::Func(x);
    Rooted<ExternRef> => Ref: x => Ref::Extern(Some(x));
    Option<Rooted<ExternRef>> => Ref: x => Ref::Extern(x);
    Rooted<AnyRef> => Ref: x => Ref::Any(Some(x));
    Option<Rooted<AnyRef>> => Ref: x => Ref::Any(x);
    Rooted<ExnRef> => Ref: x => Ref::Exn(Some(x));
    Option<Rooted<ExnRef>> => Ref: x => Ref::Exn(x);
    Rooted<EqRef> => Ref: x => Ref::Any(Some(x.cast()));
    Option<Rooted<EqRef>> => Ref: x => Ref::Any(x.map(Rooted::cast));
    Rooted<StructRef> => Ref: x => Ref::Any(Some(x.cast()));
    Option<Rooted<StructRef>> => Ref: x => Ref::Any(x.map(Rooted::cast));
    Rooted<ArrayRef> => Ref: x => Ref::Any(Some(x.cast()));
    Option<Rooted<ArrayRef>> => Ref: x => Ref::Any(x.map(Rooted::cast));
}
