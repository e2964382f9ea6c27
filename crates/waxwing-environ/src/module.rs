//! The facts of a module that are known without running it.

use crate::{
    ConstExpr, DataIndex, DefinedFuncIndex, DefinedGlobalIndex, DefinedMemoryIndex,
    DefinedTableIndex, DefinedTagIndex, ElemIndex, EntityIndex, EntityRef, EntityType, FuncIndex,
    FuncRefIndex, Global, GlobalIndex, Memory, MemoryIndex, ModuleTypeIndex, PrimaryMap, Table,
    TableIndex, Tag, TagIndex, TypeRef, WasmValType,
};
use core::ops::Range;
use serde::{Deserialize, Serialize};

/// An import.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Import {
    /// The first name.
    pub module: String,
    /// The second name.
    pub field: String,
    /// What it becomes in the index spaces of the module.
    pub index: EntityIndex,
    /// Its type.
    pub ty: EntityType,
}

/// An export.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Export {
    /// The name.
    pub name: String,
    /// What is exported.
    pub index: EntityIndex,
}

/// The elements of a segment.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum ElementSegment {
    /// Functions.
    Functions(Box<[FuncIndex]>),
    /// Expressions, all of one reference type.
    Expressions(WasmValType, Box<[ConstExpr]>),
}

impl ElementSegment {
    /// The number of elements.
    pub fn len(&self) -> u64 {
        match self {
            ElementSegment::Functions(list) => list.len() as u64,
            ElementSegment::Expressions(_, list) => list.len() as u64,
        }
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// An active element segment.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TableSegment {
    /// The table to write to.
    pub table: TableIndex,
    /// The first index to write to.
    pub offset: ConstExpr,
    /// What to write.
    pub elements: ElementSegment,
}

/// What a defined table holds before any segment is applied.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum TableInitialValue {
    /// Null references, but for leading functions known at compile time:
    /// `FuncIndex::reserved_value()` among them is null. The list is never longer than the
    /// table's minimum.
    Null {
        /// The functions, from index 0.
        precomputed: Box<[FuncIndex]>,
    },
    /// The value of an expression in every element.
    Expr(ConstExpr),
}

/// An active data segment.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DataSegment {
    /// The memory to write to.
    pub memory: MemoryIndex,
    /// The first address to write to.
    pub offset: ConstExpr,
    /// The bytes, as a range of the artifact's data section.
    pub data: Range<u32>,
}

/// The initial contents of a defined memory as one image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryImageFacts {
    /// The address of the image in the memory, a multiple of `Tunables::page_align`.
    pub offset: u64,
    /// The bytes, as a range of the artifact's data section, page-aligned like `offset`.
    pub data: Range<u32>,
}

/// How memories get their initial contents.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum MemoryInitialization {
    /// Segments are evaluated, checked and copied in order.
    Segmented(Vec<DataSegment>),
    /// Every defined memory has an image or is all zeros; nothing can fail.
    Static(PrimaryMap<MemoryIndex, Option<MemoryImageFacts>>),
}

impl Default for MemoryInitialization {
    fn default() -> Self {
        MemoryInitialization::Segmented(Vec::new())
    }
}

/// The facts of a module that are needed to instantiate and inspect it. Facts of single functions
/// are in [`FunctionFacts`] while compiling and in the artifact's function table later.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Module {
    /// The name in the name section.
    pub name: Option<String>,
    /// Imports in order.
    pub imports: Vec<Import>,
    /// Exports in order.
    pub exports: Vec<Export>,
    /// Indices into `exports`, sorted by name.
    pub exports_by_name: Vec<u32>,
    /// The start function.
    pub start: Option<FuncIndex>,
    /// The offset of the code section's contents in the binary: DWARF counts from there.
    pub code_section_offset: u64,
    /// The number of functions, imported and defined.
    pub num_functions: usize,
    /// The number of functions that are imported.
    pub num_imported_functions: usize,
    /// The number of tables that are imported.
    pub num_imported_tables: usize,
    /// The number of memories that are imported.
    pub num_imported_memories: usize,
    /// The number of globals that are imported.
    pub num_imported_globals: usize,
    /// The number of tags that are imported.
    pub num_imported_tags: usize,
    /// Whether its code can make objects, so that the store's GC heap has to be there.
    pub needs_gc_heap: bool,
    /// The number of defined functions that have a `VMFuncRef`.
    pub num_escaped_funcs: usize,
    /// The tables.
    pub tables: PrimaryMap<TableIndex, Table>,
    /// The memories.
    pub memories: PrimaryMap<MemoryIndex, Memory>,
    /// The globals.
    pub globals: PrimaryMap<GlobalIndex, Global>,
    /// The tags.
    pub tags: PrimaryMap<TagIndex, Tag>,
    /// The initial values of defined globals.
    pub global_initializers: PrimaryMap<DefinedGlobalIndex, ConstExpr>,
    /// The initial values of defined tables.
    pub table_initial_values: PrimaryMap<DefinedTableIndex, TableInitialValue>,
    /// Active element segments to apply at instantiation, in order, after the initial values.
    pub table_segments: Vec<TableSegment>,
    /// How memories get their initial contents.
    pub memory_initialization: MemoryInitialization,
    /// Passive element segments; active and declared ones are `None`: dropped from the start.
    pub passive_elements: PrimaryMap<ElemIndex, Option<ElementSegment>>,
    /// Passive data segments as ranges of the artifact's data section; active ones are `None`.
    pub passive_data: PrimaryMap<DataIndex, Option<Range<u32>>>,
}

macro_rules! index_spaces {
    ($($index:ident, $defined:ident, $imports:ident, $to_defined:ident, $from_defined:ident, $is_imported:ident;)*) => {
        impl Module {
            $(
                #[doc = concat!("The index among the module's own, or `None` if `index` is imported.")]
                pub fn $to_defined(&self, index: $index) -> Option<$defined> {
                    index.index().checked_sub(self.$imports).map($defined::new)
                }

                #[doc = concat!("The index in the whole index space.")]
                pub fn $from_defined(&self, index: $defined) -> $index {
                    $index::new(self.$imports + index.index())
                }

                #[doc = concat!("Whether `index` is imported.")]
                pub fn $is_imported(&self, index: $index) -> bool {
                    index.index() < self.$imports
                }
            )*
        }
    };
}

index_spaces! {
    FuncIndex, DefinedFuncIndex, num_imported_functions, defined_func_index, func_index, is_imported_function;
    TableIndex, DefinedTableIndex, num_imported_tables, defined_table_index, table_index, is_imported_table;
    MemoryIndex, DefinedMemoryIndex, num_imported_memories, defined_memory_index, memory_index, is_imported_memory;
    GlobalIndex, DefinedGlobalIndex, num_imported_globals, defined_global_index, global_index, is_imported_global;
    TagIndex, DefinedTagIndex, num_imported_tags, defined_tag_index, tag_index, is_imported_tag;
}

impl Module {
    /// The number of functions that the module defines.
    pub fn num_defined_functions(&self) -> usize {
        self.num_functions - self.num_imported_functions
    }

    /// The number of tables that the module defines.
    pub fn num_defined_tables(&self) -> usize {
        self.tables.len() - self.num_imported_tables
    }

    /// The number of memories that the module defines.
    pub fn num_defined_memories(&self) -> usize {
        self.memories.len() - self.num_imported_memories
    }

    /// The number of globals that the module defines.
    pub fn num_defined_globals(&self) -> usize {
        self.globals.len() - self.num_imported_globals
    }

    /// The number of tags that the module defines.
    pub fn num_defined_tags(&self) -> usize {
        self.tags.len() - self.num_imported_tags
    }

    /// The position in `exports` of the export `name`.
    pub fn export_position(&self, name: &str) -> Option<usize> {
        let found = self
            .exports_by_name
            .binary_search_by(|i| self.exports[*i as usize].name.as_str().cmp(name));
        found.ok().map(|i| self.exports_by_name[i] as usize)
    }

    /// Sorts `exports_by_name` anew from `exports`.
    pub fn index_exports(&mut self) {
        let exports = &self.exports;
        self.exports_by_name = (0..exports.len() as u32).collect();
        self.exports_by_name
            .sort_by(|a, b| exports[*a as usize].name.cmp(&exports[*b as usize].name));
    }

    /// The type of an item, given the type of functions.
    pub fn type_of(
        &self,
        index: EntityIndex,
        func_type: impl FnOnce(FuncIndex) -> ModuleTypeIndex,
    ) -> EntityType {
        match index {
            EntityIndex::Function(i) => EntityType::Function(TypeRef::Module(func_type(i))),
            EntityIndex::Table(i) => EntityType::Table(self.tables[i]),
            EntityIndex::Memory(i) => EntityType::Memory(self.memories[i]),
            EntityIndex::Global(i) => EntityType::Global(self.globals[i]),
            EntityIndex::Tag(i) => EntityType::Tag(self.tags[i]),
        }
    }
}

/// The facts of one function.
#[derive(Copy, Clone, Debug)]
pub struct FunctionFacts {
    /// The function's type.
    pub signature: ModuleTypeIndex,
    /// The slot for its `VMFuncRef`, if it is defined by the module and escapes: it is exported,
    /// in a segment, referred to by a constant expression or `ref.func`, or the start function.
    pub func_ref: Option<FuncRefIndex>,
}
