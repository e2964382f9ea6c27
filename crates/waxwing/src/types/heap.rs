//! [`RefType`] and [`HeapType`].

use super::concrete::{ArrayType, FuncType, StructType};
use super::tag::ExnType;
use crate::{Engine, matching};
use std::fmt;
use waxwing_environ::{TypeRef, WasmCompositeType, WasmHeapTop, WasmHeapType, WasmRefType};

/// The type of a reference: what it refers to, and whether it can be null.
#[derive(Clone, Hash)]
pub struct RefType {
    is_nullable: bool,
    heap_type: HeapType,
}

macro_rules! nullable_constants {
    ($($name:ident $heap:ident $text:literal;)*) => {
        impl RefType {
            $(
                #[doc = concat!("The type `", $text, "`.")]
                pub const $name: Self = RefType {
                    is_nullable: true,
                    heap_type: HeapType::$heap,
                };
            )*
        }

        impl fmt::Display for RefType {
            /// As in the text format, by the short name where there is one.
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match (self.is_nullable, &self.heap_type) {
                    $((true, HeapType::$heap) => f.write_str($text),)*
                    (true, heap_type) => write!(f, "(ref null {heap_type})"),
                    (false, heap_type) => write!(f, "(ref {heap_type})"),
                }
            }
        }
    };
}

nullable_constants! {
    EXTERNREF Extern "externref";
    NULLEXTERNREF NoExtern "nullexternref";
    FUNCREF Func "funcref";
    NULLFUNCREF NoFunc "nullfuncref";
    ANYREF Any "anyref";
    EQREF Eq "eqref";
    I31REF I31 "i31ref";
    ARRAYREF Array "arrayref";
    STRUCTREF Struct "structref";
    NULLREF None "nullref";
    EXNREF Exn "exnref";
    NULLEXNREF NoExn "nullexnref";
}

impl fmt::Debug for RefType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl RefType {
    /// A reference to `heap_type` that can be null if `is_nullable`.
    pub fn new(is_nullable: bool, heap_type: HeapType) -> RefType {
        RefType {
            is_nullable,
            heap_type,
        }
    }

    /// Whether null is a value of this type.
    pub fn is_nullable(&self) -> bool {
        self.is_nullable
    }

    /// What the reference refers to.
    pub fn heap_type(&self) -> &HeapType {
        &self.heap_type
    }

    /// Whether every reference of this type is one of the type `other` too: whether it is the
    /// same type or a subtype.
    ///
    /// # Panics
    ///
    /// Panics if both types belong to engines, and not to the same.
    pub fn matches(&self, other: &RefType) -> bool {
        (other.is_nullable || !self.is_nullable) && self.heap_type.matches(&other.heap_type)
    }

    /// Whether `a` and `b` are the same type.
    ///
    /// # Panics
    ///
    /// Panics if both types belong to engines, and not to the same.
    pub fn eq(a: &RefType, b: &RefType) -> bool {
        a.is_nullable == b.is_nullable && HeapType::eq(&a.heap_type, &b.heap_type)
    }

    pub(crate) fn from_wasm(engine: &Engine, ty: &WasmRefType) -> Self {
        RefType::new(ty.nullable, HeapType::from_wasm(engine, ty.heap_type))
    }

    pub(crate) fn to_wasm(&self) -> WasmRefType {
        WasmRefType {
            nullable: self.is_nullable,
            heap_type: self.heap_type.to_wasm(),
        }
    }
}

/// What a reference refers to.
///
/// Heap types form hierarchies that have no value in common, each with a top, the supertype of
/// all its members, and a bottom, their subtype that no value has:
///
/// ```text
///          any                extern     func        exn
///           │                   │         │           │
///           eq                  │    concrete func  concrete exn
///      ┌────┼──────┐            │         │           │
///    i31  struct  array         │         │           │
///      │    │      │            │         │           │
///      │ concrete concrete      │         │           │
///      └────┴──┬───┘            │         │           │
///             none           noextern   nofunc      noexn
/// ```
#[derive(Debug, Clone, Hash)]
pub enum HeapType {
    /// Any value of the host.
    Extern,
    /// No value: the bottom below `extern`.
    NoExtern,
    /// A function of any type.
    Func,
    /// A function of one type.
    ConcreteFunc(FuncType),
    /// No value: the bottom below `func`.
    NoFunc,
    /// Any internal value.
    Any,
    /// Any value that `ref.eq` can compare.
    Eq,
    /// A 31-bit integer that needs no allocation.
    I31,
    /// An array of any type.
    Array,
    /// An array of one type.
    ConcreteArray(ArrayType),
    /// A struct of any type.
    Struct,
    /// A struct of one type.
    ConcreteStruct(StructType),
    /// No value: the bottom below `any`.
    None,
    /// Any exception.
    Exn,
    /// An exception of one type.
    ConcreteExn(ExnType),
    /// No value: the bottom below `exn`.
    NoExn,
}

macro_rules! is_heap_type {
    ($($name:ident $variant:ident $text:literal;)*) => {
        impl HeapType {
            $(
                #[doc = concat!("Whether this is `", $text, "`.")]
                pub fn $name(&self) -> bool {
                    matches!(self, HeapType::$variant)
                }
            )*
        }
    };
}

is_heap_type! {
    is_extern Extern "extern";
    is_func Func "func";
    is_no_func NoFunc "nofunc";
    is_any Any "any";
    is_i31 I31 "i31";
    is_none None "none";
    is_exn Exn "exn";
    is_no_exn NoExn "noexn";
}

macro_rules! concrete_heap_type {
    ($($variant:ident $ty:ident $what:literal $is:ident $as_concrete:ident $unwrap:ident;)*) => {
        impl HeapType {
            $(
                #[doc = concat!("Whether this is one type of ", $what, ".")]
                pub fn $is(&self) -> bool {
                    self.$as_concrete().is_some()
                }

                #[doc = concat!("The type of ", $what, ", if this is one.")]
                pub fn $as_concrete(&self) -> Option<&$ty> {
                    match self {
                        HeapType::$variant(ty) => Some(ty),
                        _ => None,
                    }
                }

                #[doc = concat!("The type of ", $what, ".")]
                ///
                /// # Panics
                ///
                #[doc = concat!("Panics if this is not one type of ", $what, ".")]
                pub fn $unwrap(&self) -> &$ty {
                    match self.$as_concrete() {
                        Some(ty) => ty,
                        None => panic!("{self} is not a type of {}", $what),
                    }
                }
            )*
        }

        $(
            impl From<$ty> for HeapType {
                fn from(ty: $ty) -> Self {
                    HeapType::$variant(ty)
                }
            }
        )*
    };
}

concrete_heap_type! {
    ConcreteFunc FuncType "functions" is_concrete_func as_concrete_func unwrap_concrete_func;
    ConcreteArray ArrayType "arrays" is_concrete_array as_concrete_array unwrap_concrete_array;
    ConcreteStruct StructType "structs" is_concrete_struct as_concrete_struct unwrap_concrete_struct;
    ConcreteExn ExnType "exceptions" is_concrete_exn as_concrete_exn unwrap_concrete_exn;
}

impl HeapType {
    /// Whether this is one type that a module or an embedder has defined.
    pub fn is_concrete(&self) -> bool {
        self.engine().is_some()
    }

    /// Whether this is one of the types that the specification defines.
    pub fn is_abstract(&self) -> bool {
        !self.is_concrete()
    }

    /// Whether this is the top of its hierarchy.
    pub fn is_top(&self) -> bool {
        matches!(
            self,
            HeapType::Any | HeapType::Extern | HeapType::Func | HeapType::Exn
        )
    }

    /// Whether this is the bottom of its hierarchy.
    pub fn is_bottom(&self) -> bool {
        matches!(
            self,
            HeapType::None | HeapType::NoExtern | HeapType::NoFunc | HeapType::NoExn
        )
    }

    /// The top of this type's hierarchy.
    pub fn top(&self) -> HeapType {
        match self.to_wasm().top() {
            WasmHeapTop::Func => HeapType::Func,
            WasmHeapTop::Extern => HeapType::Extern,
            WasmHeapTop::Any => HeapType::Any,
            WasmHeapTop::Exn => HeapType::Exn,
        }
    }

    /// The bottom of this type's hierarchy.
    pub fn bottom(&self) -> HeapType {
        match self.to_wasm().top() {
            WasmHeapTop::Func => HeapType::NoFunc,
            WasmHeapTop::Extern => HeapType::NoExtern,
            WasmHeapTop::Any => HeapType::None,
            WasmHeapTop::Exn => HeapType::NoExn,
        }
    }

    /// Whether every value of this type is a value of the type `other`: whether it is the same
    /// type or a subtype.
    ///
    /// # Panics
    ///
    /// Panics if both types belong to engines, and not to the same.
    pub fn matches(&self, other: &HeapType) -> bool {
        let engine = HeapType::common_engine(self, other);
        if let HeapType::ConcreteExn(other) = other {
            return match self {
                HeapType::ConcreteExn(ty) => ty.matches(other),
                other => other.is_no_exn(),
            };
        }
        matching::heap_type(self.to_wasm(), other.to_wasm(), &|a, b| {
            engine.is_some_and(|engine| engine.type_registry().is_subtype(a, b))
        })
    }

    /// Whether `a` and `b` are the same type.
    ///
    /// # Panics
    ///
    /// Panics if both types belong to engines, and not to the same.
    pub fn eq(a: &HeapType, b: &HeapType) -> bool {
        HeapType::common_engine(a, b);
        match (a, b) {
            (HeapType::ConcreteExn(a), HeapType::ConcreteExn(b)) => a.matches(b),
            (HeapType::ConcreteExn(_), _) | (_, HeapType::ConcreteExn(_)) => false,
            _ => a.to_wasm() == b.to_wasm(),
        }
    }

    fn common_engine<'a>(a: &'a HeapType, b: &'a HeapType) -> Option<&'a Engine> {
        match (a.engine(), b.engine()) {
            (Some(a), Some(b)) => {
                assert!(Engine::same(a, b), "types of different engines compared");
                Some(a)
            }
            (a, b) => a.or(b),
        }
    }

    /// The engine that a concrete type belongs to.
    fn engine(&self) -> Option<&Engine> {
        match self {
            HeapType::ConcreteFunc(ty) => Some(ty.engine()),
            HeapType::ConcreteArray(ty) => Some(ty.engine()),
            HeapType::ConcreteStruct(ty) => Some(ty.engine()),
            HeapType::ConcreteExn(ty) => Some(ty.engine()),
            _ => None,
        }
    }

    pub(crate) fn comes_from_same_engine(&self, engine: &Engine) -> bool {
        self.engine().is_none_or(|own| Engine::same(own, engine))
    }

    pub(crate) fn from_wasm(engine: &Engine, ty: WasmHeapType) -> Self {
        use WasmHeapType as W;
        match ty {
            W::Extern => HeapType::Extern,
            W::NoExtern => HeapType::NoExtern,
            W::Func => HeapType::Func,
            W::NoFunc => HeapType::NoFunc,
            W::Any => HeapType::Any,
            W::Eq => HeapType::Eq,
            W::I31 => HeapType::I31,
            W::Array => HeapType::Array,
            W::Struct => HeapType::Struct,
            W::None => HeapType::None,
            W::Exn => HeapType::Exn,
            W::NoExn => HeapType::NoExn,
            W::ConcreteFunc(ty) | W::ConcreteArray(ty) | W::ConcreteStruct(ty) => {
                let registered = engine
                    .type_registry()
                    .lookup(ty.unwrap_engine())
                    .expect("whatever refers to a type keeps it registered");
                match &registered.ty().composite {
                    WasmCompositeType::Func(_) => {
                        HeapType::ConcreteFunc(FuncType::from_registered(engine, registered))
                    }
                    WasmCompositeType::Array(_) => {
                        HeapType::ConcreteArray(ArrayType::from_registered(engine, registered))
                    }
                    WasmCompositeType::Struct(_) => {
                        HeapType::ConcreteStruct(StructType::from_registered(engine, registered))
                    }
                }
            }
        }
    }

    /// The type as WebAssembly knows it, where there are no types of exceptions but `exn`.
    pub(crate) fn to_wasm(&self) -> WasmHeapType {
        use WasmHeapType as W;
        match self {
            HeapType::Extern => W::Extern,
            HeapType::NoExtern => W::NoExtern,
            HeapType::Func => W::Func,
            HeapType::NoFunc => W::NoFunc,
            HeapType::Any => W::Any,
            HeapType::Eq => W::Eq,
            HeapType::I31 => W::I31,
            HeapType::Array => W::Array,
            HeapType::Struct => W::Struct,
            HeapType::None => W::None,
            HeapType::Exn | HeapType::ConcreteExn(_) => W::Exn,
            HeapType::NoExn => W::NoExn,
            HeapType::ConcreteFunc(ty) => W::ConcreteFunc(TypeRef::Engine(ty.type_index())),
            HeapType::ConcreteArray(ty) => W::ConcreteArray(TypeRef::Engine(ty.type_index())),
            HeapType::ConcreteStruct(ty) => W::ConcreteStruct(TypeRef::Engine(ty.type_index())),
        }
    }
}

/// By the name of an abstract type, such as `func`, or `(concrete …)` with the definition.
impl fmt::Display for HeapType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HeapType::ConcreteFunc(ty) => write!(f, "(concrete {ty})"),
            HeapType::ConcreteArray(ty) => write!(f, "(concrete {ty})"),
            HeapType::ConcreteStruct(ty) => write!(f, "(concrete {ty})"),
            HeapType::ConcreteExn(ty) => write!(f, "(concrete {ty})"),
            other => fmt::Display::fmt(&other.to_wasm(), f),
        }
    }
}
