//! Typed indices: one type per index space, so that two spaces can never be mixed up.

use cranelift_entity::entity_impl;
use serde::{Deserialize, Serialize};

macro_rules! index_types {
    ($($(#[$doc:meta])* $name:ident $display:literal,)*) => {$(
        $(#[$doc])*
        #[derive(Copy, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub struct $name(u32);
        entity_impl!($name, $display);
    )*};
}

index_types! {
    /// A function of a module's index space: imports first, then definitions.
    FuncIndex "func",
    /// A function that the module defines itself.
    DefinedFuncIndex "dfunc",
    /// A slot for a `VMFuncRef` in a `VMContext`: one for each defined function that escapes.
    FuncRefIndex "funcref",
    /// A table of a module's index space.
    TableIndex "table",
    /// A table that the module defines itself.
    DefinedTableIndex "dtable",
    /// A linear memory of a module's index space.
    MemoryIndex "memory",
    /// A linear memory that the module defines itself.
    DefinedMemoryIndex "dmemory",
    /// A global of a module's index space.
    GlobalIndex "global",
    /// A global that the module defines itself.
    DefinedGlobalIndex "dglobal",
    /// An exception tag of a module's index space.
    TagIndex "tag",
    /// An exception tag that the module defines itself.
    DefinedTagIndex "dtag",
    /// A type as the module's binary numbers it.
    TypeIndex "type",
    /// A type interned within one module: equal types have one index.
    ModuleTypeIndex "mtype",
    /// A type interned within one engine: equal types of all modules have one index. Generated
    /// code compares these to check signatures.
    EngineTypeIndex "etype",
    /// A data segment.
    DataIndex "data",
    /// An element segment.
    ElemIndex "elem",
}

/// An item of a module that can be imported or exported.
#[derive(Copy, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum EntityIndex {
    /// A function.
    Function(FuncIndex),
    /// A table.
    Table(TableIndex),
    /// A linear memory.
    Memory(MemoryIndex),
    /// A global.
    Global(GlobalIndex),
    /// An exception tag.
    Tag(TagIndex),
}
