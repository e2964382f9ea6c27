//! [`ResourcesRequired`].

use waxwing_environ as env;

/// What instances of a module need of an embedder: how many memories and tables they define, and
/// how large those are at first.
///
/// Imports are not counted: what is imported belongs to another instance. Memories and tables of
/// the modules of a program can be added up to find limits for stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResourcesRequired {
    /// The number of linear memories.
    pub num_memories: u32,
    /// The size of the largest initial memory in bytes, or `None` if there is no memory.
    ///
    /// A memory can grow beyond, up to its type's maximum.
    pub max_initial_memory_size: Option<u64>,
    /// The number of tables.
    pub num_tables: u32,
    /// The size of the largest initial table in elements, or `None` if there is no table.
    ///
    /// A table can grow beyond, up to its type's maximum.
    pub max_initial_table_size: Option<u64>,
}

impl ResourcesRequired {
    pub(crate) fn of_module(module: &env::Module) -> Self {
        let memories = module.memories.values().skip(module.num_imported_memories);
        let tables = module.tables.values().skip(module.num_imported_tables);
        ResourcesRequired {
            num_memories: module.num_defined_memories() as u32,
            max_initial_memory_size: memories
                .map(|memory| memory.minimum_byte_size().unwrap_or(u64::MAX))
                .max(),
            num_tables: module.num_defined_tables() as u32,
            max_initial_table_size: tables.map(|table| table.limits.min).max(),
        }
    }
}
