//! Types of what modules import and export.

use super::{FuncType, MemoryType, Mutability, RefType, TagType, ValType};
use crate::Engine;
use waxwing_environ as env;
use waxwing_environ::{EntityType, IndexType, Limits, TypeRef};

/// The type of an import or export.
#[derive(Debug, Clone)]
pub enum ExternType {
    /// A function.
    Func(FuncType),
    /// A global.
    Global(GlobalType),
    /// A table.
    Table(TableType),
    /// A linear memory.
    Memory(MemoryType),
    /// An exception tag.
    Tag(TagType),
}

macro_rules! extern_type_accessors {
    ($($variant:ident $ty:ident $what:literal $get:ident $unwrap:ident;)*) => {
        impl ExternType {
            $(
                #[doc = concat!("The type of the ", $what, ", if this is one.")]
                pub fn $get(&self) -> Option<&$ty> {
                    match self {
                        ExternType::$variant(ty) => Some(ty),
                        _ => None,
                    }
                }

                #[doc = concat!("The type of the ", $what, ".")]
                ///
                /// # Panics
                ///
                #[doc = concat!("Panics if this is not the type of a ", $what, ".")]
                pub fn $unwrap(&self) -> &$ty {
                    match self.$get() {
                        Some(ty) => ty,
                        None => panic!("expected a {}, found {self:?}", $what),
                    }
                }
            )*
        }

        $(
            impl From<$ty> for ExternType {
                fn from(ty: $ty) -> ExternType {
                    ExternType::$variant(ty)
                }
            }
        )*
    };
}

extern_type_accessors! {
    Func FuncType "function" func unwrap_func;
    Global GlobalType "global" global unwrap_global;
    Table TableType "table" table unwrap_table;
    Memory MemoryType "memory" memory unwrap_memory;
    Tag TagType "tag" tag unwrap_tag;
}

impl ExternType {
    /// The descriptor of a type of `engine`.
    pub(crate) fn from_wasm(engine: &Engine, ty: &EntityType) -> ExternType {
        match ty {
            EntityType::Function(ty) => func_type(engine, *ty).into(),
            EntityType::Global(ty) => GlobalType::from_wasm(engine, ty).into(),
            EntityType::Memory(ty) => MemoryType::from_wasm(ty).into(),
            EntityType::Table(ty) => TableType::from_wasm(engine, ty).into(),
            EntityType::Tag(ty) => TagType::new(func_type(engine, ty.signature)).into(),
        }
    }
}

/// The descriptor of a function type of `engine`.
fn func_type(engine: &Engine, ty: TypeRef) -> FuncType {
    let registered = engine
        .type_registry()
        .lookup(ty.unwrap_engine())
        .expect("whatever has a function type keeps it registered");
    FuncType::from_registered(engine, registered)
}

/// The type of a global: of its value, and whether that can change.
#[derive(Debug, Clone, Hash)]
pub struct GlobalType {
    content: ValType,
    mutability: Mutability,
}

impl GlobalType {
    /// The type of globals that hold `content`.
    pub fn new(content: ValType, mutability: Mutability) -> GlobalType {
        GlobalType {
            content,
            mutability,
        }
    }

    /// The type of the value.
    pub fn content(&self) -> &ValType {
        &self.content
    }

    /// Whether the value can change.
    pub fn mutability(&self) -> Mutability {
        self.mutability
    }

    pub(crate) fn from_wasm(engine: &Engine, ty: &env::Global) -> GlobalType {
        GlobalType {
            content: ValType::from_wasm(engine, &ty.wasm_ty),
            mutability: Mutability::from_wasm(ty.mutability),
        }
    }

    pub(crate) fn as_wasm(&self) -> env::Global {
        env::Global {
            wasm_ty: self.content.to_wasm(),
            mutability: self.mutability.is_var(),
        }
    }
}

/// The type of a table: of its elements, and how many there can be.
#[derive(Debug, Clone, Hash)]
pub struct TableType {
    element: RefType,
    idx_type: IndexType,
    limits: Limits,
}

impl TableType {
    /// The type of tables of `element` that have `min` elements at first and never more than
    /// `max`, with 32-bit indices.
    ///
    /// # Panics
    ///
    /// Panics if `max` is less than `min`.
    pub fn new(element: RefType, min: u32, max: Option<u32>) -> TableType {
        TableType::with_limits(element, IndexType::I32, min.into(), max.map(u64::from))
    }

    /// The type of tables of `element` that have `min` elements at first and never more than
    /// `max`, with 64-bit indices, of the memory64 proposal.
    ///
    /// # Panics
    ///
    /// Panics if `max` is less than `min`.
    pub fn new64(element: RefType, min: u64, max: Option<u64>) -> TableType {
        TableType::with_limits(element, IndexType::I64, min, max)
    }

    fn with_limits(element: RefType, idx_type: IndexType, min: u64, max: Option<u64>) -> Self {
        assert!(
            max.is_none_or(|max| min <= max),
            "a table with at least {min} and at most {max:?} elements"
        );
        TableType {
            element,
            idx_type,
            limits: Limits { min, max },
        }
    }

    /// Whether indices have 64 bits.
    pub fn is_64(&self) -> bool {
        self.idx_type == IndexType::I64
    }

    /// The type of the elements.
    pub fn element(&self) -> &RefType {
        &self.element
    }

    /// The number of elements at first.
    pub fn minimum(&self) -> u64 {
        self.limits.min
    }

    /// The number of elements beyond which the table cannot grow, if one is declared.
    pub fn maximum(&self) -> Option<u64> {
        self.limits.max
    }

    pub(crate) fn from_wasm(engine: &Engine, ty: &env::Table) -> TableType {
        TableType {
            element: RefType::from_wasm(engine, &ty.ref_type),
            idx_type: ty.idx_type,
            limits: ty.limits,
        }
    }

    pub(crate) fn as_wasm(&self) -> env::Table {
        env::Table {
            idx_type: self.idx_type,
            limits: self.limits,
            ref_type: self.element.to_wasm(),
        }
    }
}
