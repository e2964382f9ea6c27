//! Descriptors of WebAssembly types.
//!
//! Types that a module or an embedder defines (functions, structs, arrays) are interned in an
//! [`Engine`](crate::Engine): a descriptor of one keeps it alive, and comparing two is comparing
//! two numbers.

#![allow(
    clippy::should_implement_trait,
    reason = "`eq` of two types panics for types of two engines, which `==` should not"
)]

mod concrete;
mod external;
mod heap;
mod import_export;
mod memory;
mod tag;
#[cfg(test)]
mod tests;
mod value;
mod within;

pub use concrete::{ArrayType, FieldType, Finality, FuncType, Mutability, StorageType, StructType};
pub use external::{ExternType, GlobalType, TableType};
pub use heap::{HeapType, RefType};
pub use import_export::{ExportType, ImportType};
pub use memory::{MemoryType, MemoryTypeBuilder};
pub use tag::{ExnType, TagType};
pub use value::ValType;
