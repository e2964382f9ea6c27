//! [`ValType`].

use super::{HeapType, RefType};
use crate::{Engine, Val};
use std::fmt;
use waxwing_environ::WasmValType;

/// The type of a WebAssembly value: of a parameter, a result, a local or a global.
///
/// Value types are compared with [`ValType::eq`], and with [`ValType::matches`] where a subtype
/// will do. There is no `==`: a type that refers to a [`FuncType`](crate::FuncType) belongs to an
/// engine, and comparing types of two engines is a mistake that panics.
#[derive(Clone, Hash)]
pub enum ValType {
    /// A 32-bit integer, without a sign of its own.
    I32,
    /// A 64-bit integer, without a sign of its own.
    I64,
    /// A 32-bit IEEE 754 float.
    F32,
    /// A 64-bit IEEE 754 float.
    F64,
    /// A 128-bit vector.
    V128,
    /// A reference to a function, a host value or a garbage-collected value.
    Ref(RefType),
}

macro_rules! reference_constants {
    ($($name:ident $text:literal;)*) => {
        impl ValType {
            $(
                #[doc = concat!("The type `", $text, "`.")]
                pub const $name: Self = ValType::Ref(RefType::$name);
            )*
        }
    };
}

reference_constants! {
    EXTERNREF "externref";
    NULLEXTERNREF "nullexternref";
    FUNCREF "funcref";
    NULLFUNCREF "nullfuncref";
    ANYREF "anyref";
    EQREF "eqref";
    I31REF "i31ref";
    ARRAYREF "arrayref";
    STRUCTREF "structref";
    NULLREF "nullref";
    EXNREF "exnref";
    NULLEXNREF "nullexnref";
}

impl ValType {
    /// Whether this is a number: an integer or a float.
    pub fn is_num(&self) -> bool {
        matches!(
            self,
            ValType::I32 | ValType::I64 | ValType::F32 | ValType::F64
        )
    }

    /// Whether this is `i32`.
    pub fn is_i32(&self) -> bool {
        matches!(self, ValType::I32)
    }

    /// Whether this is `i64`.
    pub fn is_i64(&self) -> bool {
        matches!(self, ValType::I64)
    }

    /// Whether this is `f32`.
    pub fn is_f32(&self) -> bool {
        matches!(self, ValType::F32)
    }

    /// Whether this is `f64`.
    pub fn is_f64(&self) -> bool {
        matches!(self, ValType::F64)
    }

    /// Whether this is `v128`.
    pub fn is_v128(&self) -> bool {
        matches!(self, ValType::V128)
    }

    /// Whether this is a reference of any type.
    pub fn is_ref(&self) -> bool {
        matches!(self, ValType::Ref(_))
    }

    /// Whether this is exactly `funcref`: a nullable reference to any function.
    pub fn is_funcref(&self) -> bool {
        self.is_nullable_to(|heap_type| matches!(heap_type, HeapType::Func))
    }

    /// Whether this is exactly `externref`: a nullable reference to any host value.
    pub fn is_externref(&self) -> bool {
        self.is_nullable_to(|heap_type| matches!(heap_type, HeapType::Extern))
    }

    /// Whether this is exactly `anyref`: a nullable reference to any internal value.
    pub fn is_anyref(&self) -> bool {
        self.is_nullable_to(|heap_type| matches!(heap_type, HeapType::Any))
    }

    fn is_nullable_to(&self, to: fn(&HeapType) -> bool) -> bool {
        self.as_ref()
            .is_some_and(|ty| ty.is_nullable() && to(ty.heap_type()))
    }

    /// Zero if this is a number or vector, null if it is a nullable reference; `None` for a
    /// reference type that has no null. As [`Val::default_for_ty`].
    pub fn default_value(&self) -> Option<Val> {
        Val::default_for_ty(self)
    }

    /// The reference type, if this is one.
    pub fn as_ref(&self) -> Option<&RefType> {
        match self {
            ValType::Ref(ty) => Some(ty),
            _ => None,
        }
    }

    /// The reference type.
    ///
    /// # Panics
    ///
    /// Panics if this is not a reference type.
    pub fn unwrap_ref(&self) -> &RefType {
        match self.as_ref() {
            Some(ty) => ty,
            None => panic!("{self} is not a reference type"),
        }
    }

    /// Whether every value of this type is a value of the type `other`: whether it is the same
    /// type or a subtype.
    ///
    /// # Panics
    ///
    /// Panics if both types belong to engines, and not to the same.
    pub fn matches(&self, other: &ValType) -> bool {
        match (self, other) {
            (ValType::Ref(a), ValType::Ref(b)) => a.matches(b),
            _ => self.to_wasm() == other.to_wasm(),
        }
    }

    /// Whether `a` and `b` are the same type.
    ///
    /// # Panics
    ///
    /// Panics if both types belong to engines, and not to the same.
    pub fn eq(a: &Self, b: &Self) -> bool {
        match (a, b) {
            (ValType::Ref(a), ValType::Ref(b)) => RefType::eq(a, b),
            _ => a.to_wasm() == b.to_wasm(),
        }
    }

    /// Whether values of this type can be used with `engine`: the type belongs to no engine or
    /// to this one.
    pub(crate) fn comes_from_same_engine(&self, engine: &Engine) -> bool {
        self.as_ref()
            .is_none_or(|ty| ty.heap_type().comes_from_same_engine(engine))
    }

    /// The descriptor of a type of `engine`: its references to types are interned there.
    pub(crate) fn from_wasm(engine: &Engine, ty: &WasmValType) -> Self {
        match ty {
            WasmValType::I32 => ValType::I32,
            WasmValType::I64 => ValType::I64,
            WasmValType::F32 => ValType::F32,
            WasmValType::F64 => ValType::F64,
            WasmValType::V128 => ValType::V128,
            WasmValType::Ref(ty) => ValType::Ref(RefType::from_wasm(engine, ty)),
        }
    }

    /// The type with its references to other types as indices of the engine.
    pub(crate) fn to_wasm(&self) -> WasmValType {
        match self {
            ValType::I32 => WasmValType::I32,
            ValType::I64 => WasmValType::I64,
            ValType::F32 => WasmValType::F32,
            ValType::F64 => WasmValType::F64,
            ValType::V128 => WasmValType::V128,
            ValType::Ref(ty) => WasmValType::Ref(ty.to_wasm()),
        }
    }
}

impl From<RefType> for ValType {
    fn from(ty: RefType) -> Self {
        ValType::Ref(ty)
    }
}

impl fmt::Debug for ValType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// As in the text format, such as `i32` or `(ref null func)`, `funcref` for short.
impl fmt::Display for ValType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ValType::I32 => f.write_str("i32"),
            ValType::I64 => f.write_str("i64"),
            ValType::F32 => f.write_str("f32"),
            ValType::F64 => f.write_str("f64"),
            ValType::V128 => f.write_str("v128"),
            ValType::Ref(ty) => fmt::Display::fmt(ty, f),
        }
    }
}
