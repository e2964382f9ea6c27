//! Types that are defined and interned: functions, structs and arrays.

use super::ValType;
use super::within::Within;
use crate::{Engine, RefType, Result};
use anyhow::{bail, ensure};
use std::fmt;
use std::hash::{Hash, Hasher};
use waxwing_environ::{
    EngineTypeIndex, TypeRef, WasmCompositeType, WasmFieldType, WasmFuncType, WasmStorageType,
    WasmSubType,
};
use waxwing_vm::RegisteredType;

/// Whether a global, a field of a struct or the elements of an array can change.
#[derive(Debug, Clone, Copy, Hash, Eq, PartialEq)]
pub enum Mutability {
    /// It keeps its first value.
    Const,
    /// It can be assigned.
    Var,
}

impl Mutability {
    /// Whether this is [`Mutability::Const`].
    pub fn is_const(&self) -> bool {
        *self == Mutability::Const
    }

    /// Whether this is [`Mutability::Var`].
    pub fn is_var(&self) -> bool {
        *self == Mutability::Var
    }

    pub(crate) fn from_wasm(mutable: bool) -> Self {
        if mutable {
            Mutability::Var
        } else {
            Mutability::Const
        }
    }
}

/// Whether a type can be the declared supertype of others.
#[derive(Debug, Clone, Copy, Hash, Eq, PartialEq)]
pub enum Finality {
    /// It cannot.
    Final,
    /// It can.
    NonFinal,
}

impl Finality {
    /// Whether this is [`Finality::Final`].
    pub fn is_final(&self) -> bool {
        *self == Finality::Final
    }

    /// Whether this is [`Finality::NonFinal`].
    pub fn is_non_final(&self) -> bool {
        *self == Finality::NonFinal
    }
}

/// What a field of a struct or an element of an array stores.
#[derive(Debug, Clone, Hash)]
pub enum StorageType {
    /// An integer of 8 bits, `i32` when it is read.
    I8,
    /// An integer of 16 bits, `i32` when it is read.
    I16,
    /// A value.
    ValType(ValType),
}

impl StorageType {
    /// Whether this is `i8`.
    pub fn is_i8(&self) -> bool {
        matches!(self, StorageType::I8)
    }

    /// Whether this is `i16`.
    pub fn is_i16(&self) -> bool {
        matches!(self, StorageType::I16)
    }

    /// Whether this is the type of a value.
    pub fn is_val_type(&self) -> bool {
        matches!(self, StorageType::ValType(_))
    }

    /// The type of the value, unless this is a packed integer.
    pub fn as_val_type(&self) -> Option<&ValType> {
        match self {
            StorageType::ValType(ty) => Some(ty),
            _ => None,
        }
    }

    /// The type of the value.
    ///
    /// # Panics
    ///
    /// Panics if this is a packed integer.
    pub fn unwrap_val_type(&self) -> &ValType {
        match self.as_val_type() {
            Some(ty) => ty,
            None => panic!("{self} is packed, not the type of a value"),
        }
    }

    /// The type that the stored value has when it is read: `i32` for packed integers.
    pub fn unpack(&self) -> &ValType {
        self.as_val_type().unwrap_or(&ValType::I32)
    }

    /// Whether what this type stores, `other` could store: whether both are the same packed
    /// integer, or this value type is the other or a subtype.
    ///
    /// # Panics
    ///
    /// Panics if both types belong to engines, and not to the same.
    pub fn matches(&self, other: &Self) -> bool {
        match (self, other) {
            (StorageType::ValType(a), StorageType::ValType(b)) => a.matches(b),
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
            (StorageType::ValType(a), StorageType::ValType(b)) => ValType::eq(a, b),
            _ => a.to_wasm() == b.to_wasm(),
        }
    }

    fn from_wasm(engine: &Engine, ty: &WasmStorageType) -> Self {
        match ty {
            WasmStorageType::I8 => StorageType::I8,
            WasmStorageType::I16 => StorageType::I16,
            WasmStorageType::Val(ty) => StorageType::ValType(ValType::from_wasm(engine, ty)),
        }
    }

    fn to_wasm(&self) -> WasmStorageType {
        match self {
            StorageType::I8 => WasmStorageType::I8,
            StorageType::I16 => WasmStorageType::I16,
            StorageType::ValType(ty) => WasmStorageType::Val(ty.to_wasm()),
        }
    }
}

impl fmt::Display for StorageType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StorageType::I8 => f.write_str("i8"),
            StorageType::I16 => f.write_str("i16"),
            StorageType::ValType(ty) => fmt::Display::fmt(ty, f),
        }
    }
}

impl From<ValType> for StorageType {
    fn from(ty: ValType) -> Self {
        StorageType::ValType(ty)
    }
}

impl From<RefType> for StorageType {
    fn from(ty: RefType) -> Self {
        StorageType::ValType(ty.into())
    }
}

/// A field of a struct, or the elements of an array: what is stored and whether it can change.
#[derive(Debug, Clone, Hash)]
pub struct FieldType {
    mutability: Mutability,
    element_type: StorageType,
}

impl FieldType {
    /// A field that stores `element_type`.
    pub fn new(mutability: Mutability, element_type: StorageType) -> Self {
        FieldType {
            mutability,
            element_type,
        }
    }

    /// Whether the field can be assigned.
    pub fn mutability(&self) -> Mutability {
        self.mutability
    }

    /// What is stored.
    pub fn element_type(&self) -> &StorageType {
        &self.element_type
    }

    /// Whether a field of this type can stand for one of the type `other`: both are equally
    /// mutable and store the same type or, if constant, this one a subtype.
    ///
    /// # Panics
    ///
    /// Panics if both types belong to engines, and not to the same.
    pub fn matches(&self, other: &Self) -> bool {
        self.mutability == other.mutability
            && match self.mutability {
                Mutability::Const => self.element_type.matches(&other.element_type),
                Mutability::Var => StorageType::eq(&self.element_type, &other.element_type),
            }
    }

    /// Whether `a` and `b` are the same type.
    ///
    /// # Panics
    ///
    /// Panics if both types belong to engines, and not to the same.
    pub fn eq(a: &Self, b: &Self) -> bool {
        a.mutability == b.mutability && StorageType::eq(&a.element_type, &b.element_type)
    }

    fn from_wasm(engine: &Engine, ty: &WasmFieldType) -> Self {
        FieldType {
            mutability: Mutability::from_wasm(ty.mutable),
            element_type: StorageType::from_wasm(engine, &ty.element_type),
        }
    }

    fn to_wasm(&self, engine: &Engine) -> WasmFieldType {
        if let StorageType::ValType(ty) = &self.element_type {
            assert_same_engine(ty, engine);
        }
        WasmFieldType {
            element_type: self.element_type.to_wasm(),
            mutable: self.mutability.is_var(),
        }
    }
}

/// As in the text format: `i32`, or `(mut i32)` if it can change.
impl fmt::Display for FieldType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.mutability {
            Mutability::Const => fmt::Display::fmt(&self.element_type, f),
            Mutability::Var => write!(f, "(mut {})", self.element_type),
        }
    }
}

fn assert_same_engine(ty: &ValType, engine: &Engine) {
    assert!(
        ty.comes_from_same_engine(engine),
        "the type {ty} belongs to another engine"
    );
}

macro_rules! registered_type {
    ($name:ident $what:literal) => {
        impl $name {
            /// The engine that the type belongs to.
            pub fn engine(&self) -> &Engine {
                &self.engine
            }

            /// Whether the type can be the declared supertype of others.
            pub fn finality(&self) -> Finality {
                if self.registered.ty().is_final {
                    Finality::Final
                } else {
                    Finality::NonFinal
                }
            }

            /// The declared supertype, if there is one.
            pub fn supertype(&self) -> Option<Self> {
                let index = self.registered.ty().supertype?.unwrap_engine();
                let registered = self
                    .engine
                    .type_registry()
                    .lookup(index)
                    .expect("a type keeps its supertype registered");
                Some(Self::from_registered(&self.engine, registered))
            }

            #[doc = concat!("Whether every ", $what, " of this type is one of the type `other`: ")]
            /// whether it is the same type or has `other` among its declared supertypes.
            ///
            /// # Panics
            ///
            /// Panics if the types belong to different engines.
            pub fn matches(&self, other: &Self) -> bool {
                let registry = self.common_engine(other).type_registry();
                self.type_index() == other.type_index()
                    || registry.is_subtype(self.type_index(), other.type_index())
            }

            /// Whether `a` and `b` are the same type.
            ///
            /// # Panics
            ///
            /// Panics if the types belong to different engines.
            pub fn eq(a: &Self, b: &Self) -> bool {
                a.common_engine(b);
                a.type_index() == b.type_index()
            }

            fn common_engine(&self, other: &Self) -> &Engine {
                assert!(
                    Engine::same(&self.engine, &other.engine),
                    "types of different engines compared"
                );
                &self.engine
            }

            /// The descriptor of a type that is registered in `engine`.
            pub(crate) fn from_registered(engine: &Engine, registered: RegisteredType) -> Self {
                $name {
                    engine: engine.clone(),
                    registered,
                }
            }

            /// What keeps the type registered.
            pub(crate) fn registered_type(&self) -> &RegisteredType {
                &self.registered
            }

            /// The index by which the engine knows the type.
            pub(crate) fn type_index(&self) -> EngineTypeIndex {
                self.registered.index()
            }

            /// Registers a type; `supertype` is checked.
            fn register(
                engine: &Engine,
                finality: Finality,
                supertype: Option<&Self>,
                composite: WasmCompositeType,
                matches: impl FnOnce(&Self, &Self) -> bool,
            ) -> Result<Self> {
                let ty = |supertype| WasmSubType {
                    is_final: finality.is_final(),
                    supertype,
                    composite,
                };
                let Some(supertype) = supertype else {
                    let registered = engine.type_registry().register(ty(None));
                    return Ok(Self::from_registered(engine, registered));
                };
                assert!(
                    Engine::same(engine, &supertype.engine),
                    "the supertype belongs to another engine"
                );
                ensure!(
                    supertype.finality().is_non_final(),
                    "the supertype is final: {supertype}"
                );
                let index = TypeRef::Engine(supertype.type_index());
                let registered = engine.type_registry().register(ty(Some(index)));
                let subtype = Self::from_registered(engine, registered);
                ensure!(
                    matches(&subtype, supertype),
                    "not a subtype of the given supertype: {subtype} does not match {supertype}"
                );
                Ok(subtype)
            }
        }

        impl Hash for $name {
            fn hash<H: Hasher>(&self, state: &mut H) {
                self.type_index().hash(state);
            }
        }
    };
}

/// The type of a function: the types of its parameters and results.
///
/// It is interned in an [`Engine`], so that comparing two function types takes the same time
/// however long they are.
#[derive(Debug, Clone)]
pub struct FuncType {
    engine: Engine,
    registered: RegisteredType,
}

registered_type!(FuncType "function");

impl FuncType {
    /// The type of functions from `params` to `results`: final, without a supertype.
    ///
    /// # Panics
    ///
    /// Panics if any of the types belongs to another engine.
    pub fn new(
        engine: &Engine,
        params: impl IntoIterator<Item = ValType>,
        results: impl IntoIterator<Item = ValType>,
    ) -> FuncType {
        let (params, results) = (Vec::from_iter(params), Vec::from_iter(results));
        let ty = WasmSubType::func(FuncType::convert(engine, &params, &results));
        FuncType::from_registered(engine, engine.type_registry().register(ty))
    }

    /// The type of functions from `params` to `results`, with its place in the subtype hierarchy.
    ///
    /// # Errors
    ///
    /// Fails if `supertype` is final, or if a function of the new type cannot stand for one of
    /// the supertype: parameters may be supertypes and results subtypes of the supertype's.
    ///
    /// # Panics
    ///
    /// Panics if any of the types belongs to another engine.
    pub fn with_finality_and_supertype(
        engine: &Engine,
        finality: Finality,
        supertype: Option<&Self>,
        params: impl IntoIterator<Item = ValType>,
        results: impl IntoIterator<Item = ValType>,
    ) -> Result<Self> {
        let (params, results) = (Vec::from_iter(params), Vec::from_iter(results));
        let ty = FuncType::convert(engine, &params, &results);
        let composite = WasmCompositeType::Func(ty);
        Self::register(engine, finality, supertype, composite, |sub, sup| {
            sub.params().len() == sup.params().len()
                && sub.results().len() == sup.results().len()
                && sup.params().zip(sub.params()).all(|(a, b)| a.matches(&b))
                && sub.results().zip(sup.results()).all(|(a, b)| a.matches(&b))
        })
    }

    /// The result refers to types that only `params` and `results` may keep registered.
    fn convert(engine: &Engine, params: &[ValType], results: &[ValType]) -> WasmFuncType {
        let convert = |ty: &ValType| {
            assert_same_engine(ty, engine);
            ty.to_wasm()
        };
        WasmFuncType::new(
            params.iter().map(convert).collect::<Box<[_]>>(),
            results.iter().map(convert).collect::<Box<[_]>>(),
        )
    }

    /// The type of the parameter `i`, or `None` if there are fewer.
    pub fn param(&self, i: usize) -> Option<ValType> {
        let ty = self.as_wasm().params().get(i)?;
        Some(ValType::from_wasm(&self.engine, ty))
    }

    /// The types of the parameters.
    pub fn params(&self) -> impl ExactSizeIterator<Item = ValType> + '_ {
        let params = self.as_wasm().params().iter();
        params.map(|ty| ValType::from_wasm(&self.engine, ty))
    }

    /// The type of the result `i`, or `None` if there are fewer.
    pub fn result(&self, i: usize) -> Option<ValType> {
        let ty = self.as_wasm().results().get(i)?;
        Some(ValType::from_wasm(&self.engine, ty))
    }

    /// The types of the results.
    pub fn results(&self) -> impl ExactSizeIterator<Item = ValType> + '_ {
        let results = self.as_wasm().results().iter();
        results.map(|ty| ValType::from_wasm(&self.engine, ty))
    }

    /// The function type with references to types as indices of the engine.
    pub(crate) fn as_wasm(&self) -> &WasmFuncType {
        self.registered
            .ty()
            .as_func()
            .expect("a function type is registered as one")
    }
}

/// As in the text format, such as `(func (param i32 i32) (result i64))`. Concrete types in it are named by
/// their kind alone.
impl fmt::Display for FuncType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(func")?;
        let lists: [(_, Vec<ValType>); 2] = [
            ("param", self.params().collect()),
            ("result", self.results().collect()),
        ];
        for (word, types) in lists {
            if !types.is_empty() {
                write!(f, " ({word}")?;
                for ty in &types {
                    write!(f, " {}", Within(ty))?;
                }
                f.write_str(")")?;
            }
        }
        f.write_str(")")
    }
}

/// The type of a struct: its fields in order.
#[derive(Debug, Clone)]
pub struct StructType {
    engine: Engine,
    registered: RegisteredType,
}

registered_type!(StructType "struct");

/// The most fields that a struct can have, as the JavaScript API's limits say.
const MAX_STRUCT_FIELDS: usize = 10_000;

impl StructType {
    /// The type of structs with these fields: final, without a supertype.
    ///
    /// # Errors
    ///
    /// Fails if there are more than 10,000 fields.
    ///
    /// # Panics
    ///
    /// Panics if any of the fields' types belongs to another engine.
    pub fn new(engine: &Engine, fields: impl IntoIterator<Item = FieldType>) -> Result<Self> {
        Self::with_finality_and_supertype(engine, Finality::Final, None, fields)
    }

    /// The type of structs with these fields, with its place in the subtype hierarchy.
    ///
    /// # Errors
    ///
    /// Fails if there are more than 10,000 fields, if `supertype` is final, or if its fields are
    /// not the first of the new type's: see [`FieldType::matches`].
    ///
    /// # Panics
    ///
    /// Panics if any of the types belongs to another engine.
    pub fn with_finality_and_supertype(
        engine: &Engine,
        finality: Finality,
        supertype: Option<&Self>,
        fields: impl IntoIterator<Item = FieldType>,
    ) -> Result<Self> {
        // Kept until the new type is registered, as they may be all that keeps theirs so.
        let field_types = Vec::from_iter(fields);
        let fields: Box<[_]> = field_types.iter().map(|ty| ty.to_wasm(engine)).collect();
        if fields.len() > MAX_STRUCT_FIELDS {
            bail!(
                "a struct type with {} fields: at most {MAX_STRUCT_FIELDS} are possible",
                fields.len()
            );
        }
        let composite = WasmCompositeType::Struct(fields);
        Self::register(engine, finality, supertype, composite, |sub, sup| {
            sub.fields().len() >= sup.fields().len()
                && sub.fields().zip(sup.fields()).all(|(a, b)| a.matches(&b))
        })
    }

    /// The field `i`, or `None` if there are fewer.
    pub fn field(&self, i: usize) -> Option<FieldType> {
        let ty = self.as_wasm().get(i)?;
        Some(FieldType::from_wasm(&self.engine, ty))
    }

    /// The fields in order.
    pub fn fields(&self) -> impl ExactSizeIterator<Item = FieldType> + '_ {
        let fields = self.as_wasm().iter();
        fields.map(|ty| FieldType::from_wasm(&self.engine, ty))
    }

    fn as_wasm(&self) -> &[WasmFieldType] {
        match &self.registered.ty().composite {
            WasmCompositeType::Struct(fields) => fields,
            _ => unreachable!("a struct type is registered as one"),
        }
    }
}

/// As in the text format, such as `(struct (field i32) (field (mut i8)))`. Concrete types in it are named
/// by their kind alone.
impl fmt::Display for StructType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(struct")?;
        for field in self.fields() {
            write!(f, " (field {})", Within(&field))?;
        }
        f.write_str(")")
    }
}

/// The type of an array: what its elements are.
#[derive(Debug, Clone)]
pub struct ArrayType {
    engine: Engine,
    registered: RegisteredType,
}

registered_type!(ArrayType "array");

impl ArrayType {
    /// The type of arrays with these elements: final, without a supertype.
    ///
    /// # Panics
    ///
    /// Panics if the elements' type belongs to another engine.
    pub fn new(engine: &Engine, field_type: FieldType) -> Self {
        let ty = WasmSubType {
            is_final: true,
            supertype: None,
            composite: WasmCompositeType::Array(field_type.to_wasm(engine)),
        };
        ArrayType::from_registered(engine, engine.type_registry().register(ty))
    }

    /// The type of arrays with these elements, with its place in the subtype hierarchy.
    ///
    /// # Errors
    ///
    /// Fails if `supertype` is final, or if its elements do not match: see
    /// [`FieldType::matches`].
    ///
    /// # Panics
    ///
    /// Panics if any of the types belongs to another engine.
    pub fn with_finality_and_supertype(
        engine: &Engine,
        finality: Finality,
        supertype: Option<&Self>,
        field_type: FieldType,
    ) -> Result<Self> {
        let composite = WasmCompositeType::Array(field_type.to_wasm(engine));
        Self::register(engine, finality, supertype, composite, |sub, sup| {
            sub.field_type().matches(&sup.field_type())
        })
    }

    /// What the elements store, and whether they can change.
    pub fn field_type(&self) -> FieldType {
        match &self.registered.ty().composite {
            WasmCompositeType::Array(ty) => FieldType::from_wasm(&self.engine, ty),
            _ => unreachable!("an array type is registered as one"),
        }
    }

    /// Whether elements can be assigned.
    pub fn mutability(&self) -> Mutability {
        self.field_type().mutability
    }

    /// What the elements store.
    pub fn element_type(&self) -> StorageType {
        self.field_type().element_type
    }
}

/// As in the text format, such as `(array (mut i8))`. A concrete type in it is named by its kind alone.
impl fmt::Display for ArrayType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "(array {})", Within(&self.field_type()))
    }
}
