//! Types of WebAssembly: values, references, composite types, limits.

use crate::{EngineTypeIndex, ModuleTypeIndex, PrimaryMap, TypeIndex};
use core::fmt;
use core::ops::Range;
use serde::{Deserialize, Serialize};

/// The bytes of a WebAssembly page of the default size.
pub const WASM_PAGE_SIZE: u64 = 0x1_0000;
/// The most pages of the default size that a 32-bit memory can have.
pub const WASM32_MAX_PAGES: u64 = 1 << 16;
/// The most pages of the default size that a 64-bit memory can have.
pub const WASM64_MAX_PAGES: u64 = 1 << 48;

/// A reference from one type to another.
#[derive(Copy, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum TypeRef {
    /// A type interned in the engine.
    Engine(EngineTypeIndex),
    /// A type interned in the module.
    Module(ModuleTypeIndex),
    /// The n-th type of the same rec group. Only within canonical rec groups.
    RecGroup(u32),
}

impl TypeRef {
    /// The module's index; panics on a type of another space, which the use of the type excludes.
    pub fn unwrap_module(self) -> ModuleTypeIndex {
        match self {
            TypeRef::Module(index) => index,
            other => panic!("{other:?} is not interned in a module"),
        }
    }

    /// The engine's index; panics on a type of another space, which the use of the type excludes.
    pub fn unwrap_engine(self) -> EngineTypeIndex {
        match self {
            TypeRef::Engine(index) => index,
            other => panic!("{other:?} is not interned in an engine"),
        }
    }
}

/// What a reference points to.
#[derive(Copy, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum WasmHeapType {
    /// Any host value.
    Extern,
    /// The bottom of the extern hierarchy.
    NoExtern,
    /// Any function.
    Func,
    /// A function of one type.
    ConcreteFunc(TypeRef),
    /// The bottom of the function hierarchy.
    NoFunc,
    /// Any internal value.
    Any,
    /// Any value with identity.
    Eq,
    /// A 31-bit integer.
    I31,
    /// Any array.
    Array,
    /// An array of one type.
    ConcreteArray(TypeRef),
    /// Any struct.
    Struct,
    /// A struct of one type.
    ConcreteStruct(TypeRef),
    /// The bottom of the internal hierarchy.
    None,
    /// Any exception.
    Exn,
    /// The bottom of the exception hierarchy.
    NoExn,
}

/// The hierarchies of heap types. References of one hierarchy have one representation.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub enum WasmHeapTop {
    /// Functions: a pointer to a `VMFuncRef`, null for a null reference.
    Func,
    /// Host values: a 32-bit GC reference, zero for a null reference.
    Extern,
    /// Internal values: a 32-bit GC reference, zero for a null reference.
    Any,
    /// Exceptions: a 32-bit GC reference, zero for a null reference.
    Exn,
}

impl WasmHeapType {
    /// The hierarchy that this type is in.
    pub fn top(self) -> WasmHeapTop {
        use WasmHeapType as H;
        match self {
            H::Extern | H::NoExtern => WasmHeapTop::Extern,
            H::Func | H::ConcreteFunc(_) | H::NoFunc => WasmHeapTop::Func,
            H::Exn | H::NoExn => WasmHeapTop::Exn,
            H::Any
            | H::Eq
            | H::I31
            | H::Array
            | H::ConcreteArray(_)
            | H::Struct
            | H::ConcreteStruct(_)
            | H::None => WasmHeapTop::Any,
        }
    }

    /// The type that this one refers to, if it is concrete.
    pub fn type_ref(self) -> Option<TypeRef> {
        match self {
            WasmHeapType::ConcreteFunc(ty)
            | WasmHeapType::ConcreteArray(ty)
            | WasmHeapType::ConcreteStruct(ty) => Some(ty),
            _ => None,
        }
    }

    /// The same type with its reference to another type replaced by `f`'s result.
    pub fn map_type_ref(self, f: &mut dyn FnMut(TypeRef) -> TypeRef) -> Self {
        match self {
            WasmHeapType::ConcreteFunc(ty) => WasmHeapType::ConcreteFunc(f(ty)),
            WasmHeapType::ConcreteArray(ty) => WasmHeapType::ConcreteArray(f(ty)),
            WasmHeapType::ConcreteStruct(ty) => WasmHeapType::ConcreteStruct(f(ty)),
            other => other,
        }
    }
}

impl fmt::Display for WasmHeapType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use WasmHeapType as H;
        f.write_str(match self {
            H::Extern => "extern",
            H::NoExtern => "noextern",
            H::Func => "func",
            H::NoFunc => "nofunc",
            H::Any => "any",
            H::Eq => "eq",
            H::I31 => "i31",
            H::Array => "array",
            H::Struct => "struct",
            H::None => "none",
            H::Exn => "exn",
            H::NoExn => "noexn",
            H::ConcreteFunc(ty) | H::ConcreteArray(ty) | H::ConcreteStruct(ty) => {
                return match ty {
                    TypeRef::Engine(i) => write!(f, "{i}"),
                    TypeRef::Module(i) => write!(f, "{i}"),
                    TypeRef::RecGroup(i) => write!(f, "rec{i}"),
                };
            }
        })
    }
}

/// A reference type.
#[derive(Copy, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct WasmRefType {
    /// Whether null is a value of the type.
    pub nullable: bool,
    /// What the reference points to.
    pub heap_type: WasmHeapType,
}

impl WasmRefType {
    /// `funcref`
    pub const FUNCREF: WasmRefType = WasmRefType {
        nullable: true,
        heap_type: WasmHeapType::Func,
    };
    /// `externref`
    pub const EXTERNREF: WasmRefType = WasmRefType {
        nullable: true,
        heap_type: WasmHeapType::Extern,
    };
}

impl fmt::Display for WasmRefType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            WasmRefType::FUNCREF => f.write_str("funcref"),
            WasmRefType::EXTERNREF => f.write_str("externref"),
            _ => {
                let null = if self.nullable { "null " } else { "" };
                write!(f, "(ref {null}{})", self.heap_type)
            }
        }
    }
}

/// A value type.
#[derive(Copy, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum WasmValType {
    /// A 32-bit integer.
    I32,
    /// A 64-bit integer.
    I64,
    /// A 32-bit float.
    F32,
    /// A 64-bit float.
    F64,
    /// A 128-bit vector.
    V128,
    /// A reference.
    Ref(WasmRefType),
}

impl WasmValType {
    /// The same type with its reference to another type replaced by `f`'s result.
    pub fn map_type_ref(self, f: &mut dyn FnMut(TypeRef) -> TypeRef) -> Self {
        match self {
            WasmValType::Ref(ty) => WasmValType::Ref(WasmRefType {
                nullable: ty.nullable,
                heap_type: ty.heap_type.map_type_ref(f),
            }),
            other => other,
        }
    }
}

impl fmt::Display for WasmValType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WasmValType::I32 => f.write_str("i32"),
            WasmValType::I64 => f.write_str("i64"),
            WasmValType::F32 => f.write_str("f32"),
            WasmValType::F64 => f.write_str("f64"),
            WasmValType::V128 => f.write_str("v128"),
            WasmValType::Ref(ty) => ty.fmt(f),
        }
    }
}

/// A function type.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct WasmFuncType {
    params: Box<[WasmValType]>,
    results: Box<[WasmValType]>,
}

impl WasmFuncType {
    /// The function type from `params` to `results`.
    pub fn new(
        params: impl Into<Box<[WasmValType]>>,
        results: impl Into<Box<[WasmValType]>>,
    ) -> Self {
        WasmFuncType {
            params: params.into(),
            results: results.into(),
        }
    }

    /// The types of the parameters.
    pub fn params(&self) -> &[WasmValType] {
        &self.params
    }

    /// The types of the results.
    pub fn results(&self) -> &[WasmValType] {
        &self.results
    }

    /// The number of `ValRaw` slots that a call through the array convention needs: parameters
    /// and results share them.
    pub fn array_call_slots(&self) -> usize {
        self.params.len().max(self.results.len())
    }
}

impl fmt::Display for WasmFuncType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(func")?;
        for (word, types) in [("param", &self.params), ("result", &self.results)] {
            if !types.is_empty() {
                write!(f, " ({word}")?;
                for ty in types {
                    write!(f, " {ty}")?;
                }
                f.write_str(")")?;
            }
        }
        f.write_str(")")
    }
}

/// What a field of a struct or an element of an array stores.
#[derive(Copy, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum WasmStorageType {
    /// A packed 8-bit integer.
    I8,
    /// A packed 16-bit integer.
    I16,
    /// A value.
    Val(WasmValType),
}

/// A field of a struct, or the elements of an array.
#[derive(Copy, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct WasmFieldType {
    /// What is stored.
    pub element_type: WasmStorageType,
    /// Whether it can be changed.
    pub mutable: bool,
}

/// The structure of a defined type.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum WasmCompositeType {
    /// A function type.
    Func(WasmFuncType),
    /// An array type.
    Array(WasmFieldType),
    /// A struct type.
    Struct(Box<[WasmFieldType]>),
}

/// A type that a module can define: a structure with its place in the subtype hierarchy.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct WasmSubType {
    /// Whether the type can have no further subtypes.
    pub is_final: bool,
    /// The declared supertype.
    pub supertype: Option<TypeRef>,
    /// The structure.
    pub composite: WasmCompositeType,
}

impl WasmSubType {
    /// A final function type without a supertype: what every function type is without GC.
    pub fn func(ty: WasmFuncType) -> Self {
        WasmSubType {
            is_final: true,
            supertype: None,
            composite: WasmCompositeType::Func(ty),
        }
    }

    /// The function type, if this is one.
    pub fn as_func(&self) -> Option<&WasmFuncType> {
        match &self.composite {
            WasmCompositeType::Func(ty) => Some(ty),
            _ => None,
        }
    }

    /// The same type with every reference to another type replaced by `f`'s result.
    pub fn map_type_refs(&self, f: &mut dyn FnMut(TypeRef) -> TypeRef) -> Self {
        let map_field = |field: &WasmFieldType, f: &mut dyn FnMut(TypeRef) -> TypeRef| {
            let element_type = match field.element_type {
                WasmStorageType::Val(ty) => WasmStorageType::Val(ty.map_type_ref(f)),
                packed => packed,
            };
            WasmFieldType {
                element_type,
                mutable: field.mutable,
            }
        };
        WasmSubType {
            is_final: self.is_final,
            supertype: self.supertype.map(&mut *f),
            composite: match &self.composite {
                WasmCompositeType::Func(ty) => WasmCompositeType::Func(WasmFuncType {
                    params: ty.params.iter().map(|t| t.map_type_ref(f)).collect(),
                    results: ty.results.iter().map(|t| t.map_type_ref(f)).collect(),
                }),
                WasmCompositeType::Array(field) => WasmCompositeType::Array(map_field(field, f)),
                WasmCompositeType::Struct(fields) => WasmCompositeType::Struct(
                    fields.iter().map(|field| map_field(field, f)).collect(),
                ),
            },
        }
    }
}

/// All types of a module, each once, in rec groups.
#[derive(Clone, Default, Debug, Serialize, Deserialize)]
pub struct ModuleTypes {
    /// The interned types. References between them are [`TypeRef::Module`].
    pub types: PrimaryMap<ModuleTypeIndex, WasmSubType>,
    /// The rec groups as ranges of `types`, in order and without gaps.
    pub rec_groups: Vec<Range<ModuleTypeIndex>>,
    /// From the binary's numbering to the interned types.
    pub by_index: PrimaryMap<TypeIndex, ModuleTypeIndex>,
}

impl ModuleTypes {
    /// The function type at `index`; panics when another kind of type is there, which validation
    /// excludes wherever a function type is required.
    pub fn func(&self, index: ModuleTypeIndex) -> &WasmFuncType {
        self.types[index]
            .as_func()
            .expect("validation requires a function type here")
    }
}

/// Whether indices of a memory or table are 32-bit or 64-bit.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum IndexType {
    /// 32-bit indices.
    I32,
    /// 64-bit indices.
    I64,
}

/// The size limits of a memory (in pages) or table (in elements).
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Limits {
    /// The initial size.
    pub min: u64,
    /// The size beyond which it cannot grow.
    pub max: Option<u64>,
}

/// The type of a table.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Table {
    /// The type of indices.
    pub idx_type: IndexType,
    /// The size in elements.
    pub limits: Limits,
    /// The type of elements.
    pub ref_type: WasmRefType,
}

/// The type of a linear memory.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Memory {
    /// The type of indices.
    pub idx_type: IndexType,
    /// The size in pages.
    pub limits: Limits,
    /// Whether several threads can access it.
    pub shared: bool,
    /// The base-2 logarithm of the page size in bytes: 16 by default, 0 for one-byte pages.
    pub page_size_log2: u8,
}

impl Memory {
    /// The bytes of a page.
    pub fn page_size(&self) -> u64 {
        1 << self.page_size_log2
    }

    /// The bytes of the initial size, or `None` when that does not fit 64 bits.
    pub fn minimum_byte_size(&self) -> Option<u64> {
        self.limits.min.checked_mul(self.page_size())
    }

    /// The most bytes that the memory can ever have by its type: the declared maximum or what
    /// its index type can address. Saturates at `u64::MAX`.
    pub fn maximum_byte_size(&self) -> u64 {
        let by_index = self.max_size_by_index_type();
        match self.limits.max {
            Some(max) => max.saturating_mul(self.page_size()).min(by_index),
            None => by_index,
        }
    }

    /// The most bytes that an index of this memory's type can address, in whole pages.
    pub fn max_size_by_index_type(&self) -> u64 {
        match self.idx_type {
            IndexType::I32 => 1 << 32,
            IndexType::I64 => 0u64.wrapping_sub(self.page_size().max(1)),
        }
    }

    /// Whether the base address of such a memory is the same for as long as it lives.
    pub fn never_moves(&self, tunables: &crate::Tunables) -> bool {
        !tunables.memory_may_move
            || self.shared
            || self.maximum_byte_size() <= tunables.memory_reservation
    }

    /// Whether an access at any 32-bit index plus `offset_and_size` bytes is certain to hit
    /// either the memory or inaccessible guard pages, so that no explicit check is needed.
    pub fn can_elide_bounds_check(&self, tunables: &crate::Tunables, offset_and_size: u64) -> bool {
        let reachable = (1u64 << 32).saturating_add(offset_and_size);
        tunables.signals_based_traps
            && self.idx_type == IndexType::I32
            && self.page_size_log2 == 16
            && tunables.memory_reservation >= 1 << 32
            && reachable
                <= tunables
                    .memory_reservation
                    .saturating_add(tunables.memory_guard_size)
    }
}

/// The type of a global.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Global {
    /// The type of the value.
    pub wasm_ty: WasmValType,
    /// Whether the value can change.
    pub mutability: bool,
}

/// The type of an exception tag.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Tag {
    /// The function type whose parameters are the payload.
    pub signature: TypeRef,
}

/// The type of an import or export.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum EntityType {
    /// A function.
    Function(TypeRef),
    /// A table.
    Table(Table),
    /// A linear memory.
    Memory(Memory),
    /// A global.
    Global(Global),
    /// An exception tag.
    Tag(Tag),
}
