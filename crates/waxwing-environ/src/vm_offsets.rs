//! The layout of a `VMContext` and of the records that generated code reads.
//!
//! ```text
//! VMContext:
//!     magic: u32, padded to a pointer
//!     store_context: *mut VMStoreContext
//!     builtins: *const VMBuiltinArray
//!     type_ids: *const EngineTypeIndex          by ModuleTypeIndex
//!     imported_functions: [VMFunctionImport]    by FuncIndex
//!     imported_tables: [VMTableImport]          by TableIndex
//!     imported_memories: [VMMemoryImport]       by MemoryIndex
//!     imported_globals: [VMGlobalImport]        by GlobalIndex
//!     imported_tags: [VMTagImport]              by TagIndex
//!     tables: [VMTableDefinition]               by DefinedTableIndex
//!     dispatch_tables: [*const u8]              by DefinedTableIndex, null unless there is one
//!     memories: [VMMemoryDefinition]            by DefinedMemoryIndex, unused where shared
//!     shared_memories: [*mut VMMemoryDefinition] by DefinedMemoryIndex, null unless shared
//!     globals: [VMGlobalDefinition]             by DefinedGlobalIndex, 16-byte aligned
//!     tags: [VMTagDefinition]                   by DefinedTagIndex
//!     func_refs: [VMFuncRef]                    by FuncRefIndex
//! ```

use crate::{
    BuiltinFunctionIndex, DefinedGlobalIndex, DefinedMemoryIndex, DefinedTableIndex,
    DefinedTagIndex, EntityRef, FuncIndex, FuncRefIndex, GlobalIndex, MemoryIndex, Module,
    TableIndex, TagIndex,
};

/// The first word of every `VMContext`: "vmwx".
pub const VMCONTEXT_MAGIC: u32 = u32::from_le_bytes(*b"vmwx");
/// The first word of every host function's context: "hfwx".
pub const VMHOSTFUNC_MAGIC: u32 = u32::from_le_bytes(*b"hfwx");

/// The size of pointers, from which the layout of fixed records follows.
///
/// Sizes and offsets are in bytes.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct PtrSize(pub u8);

macro_rules! pointer_multiples {
    ($($(#[$doc:meta])* $name:ident = $n:literal;)*) => {
        impl PtrSize {
            $($(#[$doc])* pub const fn $name(self) -> u32 { self.0 as u32 * $n })*
        }
    };
}

pointer_multiples! {
    /// `VMContext::store_context`
    vmctx_store_context = 1;
    /// `VMContext::builtins`
    vmctx_builtins = 2;
    /// `VMContext::type_ids`
    vmctx_type_ids = 3;
    /// The size of the part of a `VMContext` that is the same for all modules.
    vmctx_fixed_size = 4;

    /// `VMFuncRef::array_call`
    func_ref_array_call = 0;
    /// `VMFuncRef::wasm_call`
    func_ref_wasm_call = 1;
    /// `VMFuncRef::vmctx`
    func_ref_vmctx = 2;
    /// `VMFuncRef::type_index`, a `u32`
    func_ref_type_index = 3;
    /// The size of a `VMFuncRef`.
    size_of_func_ref = 4;

    /// `VMFunctionImport::wasm_call`
    function_import_wasm_call = 0;
    /// `VMFunctionImport::vmctx`
    function_import_vmctx = 1;
    /// `VMFunctionImport::func_ref`
    function_import_func_ref = 2;
    /// The size of a `VMFunctionImport`.
    size_of_function_import = 3;

    /// `VMTableDefinition::base`
    table_definition_base = 0;
    /// `VMTableDefinition::current_elements`, pointer-sized
    table_definition_current_elements = 1;
    /// The size of a `VMTableDefinition`.
    size_of_table_definition = 2;

    /// `VMTableImport::from`
    table_import_from = 0;
    /// `VMTableImport::vmctx`
    table_import_vmctx = 1;
    /// `VMTableImport::index`, a `u32`
    table_import_index = 2;
    /// The size of a `VMTableImport`.
    size_of_table_import = 3;

    /// `VMMemoryDefinition::base`
    memory_definition_base = 0;
    /// `VMMemoryDefinition::current_length`, bytes, pointer-sized
    memory_definition_current_length = 1;
    /// The size of a `VMMemoryDefinition`.
    size_of_memory_definition = 2;

    /// `VMMemoryImport::from`
    memory_import_from = 0;
    /// `VMMemoryImport::vmctx`
    memory_import_vmctx = 1;
    /// `VMMemoryImport::index`, a `u32`
    memory_import_index = 2;
    /// The size of a `VMMemoryImport`.
    size_of_memory_import = 3;

    /// `VMGlobalImport::from`
    global_import_from = 0;
    /// `VMGlobalImport::vmctx`
    global_import_vmctx = 1;
    /// `VMGlobalImport::index`, a `u32`
    global_import_index = 2;
    /// The size of a `VMGlobalImport`.
    size_of_global_import = 3;

    /// `VMTagImport::from`
    tag_import_from = 0;
    /// `VMTagImport::vmctx`
    tag_import_vmctx = 1;
    /// `VMTagImport::index`, a `u32`
    tag_import_index = 2;
    /// The size of a `VMTagImport`.
    size_of_tag_import = 3;
}

impl PtrSize {
    /// The size of a pointer.
    pub const fn size(self) -> u32 {
        self.0 as u32
    }

    /// `VMFuncRef::gc_id`, a `u32`: what stands for the function in the GC heap, zero if nothing does yet.
    pub const fn func_ref_gc_id(self) -> u32 {
        self.func_ref_type_index() + 4
    }

    /// `VMTagDefinition::type_index`, a `u32`
    pub const fn tag_definition_type_index(self) -> u32 {
        0
    }

    /// `VMTagDefinition::id`, a `u32`: what stands for the tag in the GC heap.
    pub const fn tag_definition_id(self) -> u32 {
        4
    }

    /// The size of a `VMGlobalDefinition`: any value, 16-byte aligned.
    pub const fn size_of_global_definition(self) -> u32 {
        16
    }

    /// The size of a `VMTagDefinition`.
    pub const fn size_of_tag_definition(self) -> u32 {
        8
    }

    /// The size of a `VMGcType`: an array of [`GC_TYPE_DISPLAY_LEN`](crate::gc::GC_TYPE_DISPLAY_LEN)
    /// `EngineTypeIndex`es, the declared supertypes of a type by their depth from the root and then itself (`u32::MAX`
    /// after it, or if it lies deeper), and three `u32`s that are the runtime's own.
    pub const fn size_of_gc_type(self) -> u32 {
        64
    }

    /// The offset of a builtin's code pointer in the array of builtins.
    pub const fn builtin(self, builtin: BuiltinFunctionIndex) -> u32 {
        self.0 as u32 * builtin as u32
    }
}

/// Offsets in a `VMStoreContext`, the record of a store that generated code works on.
pub trait StoreContextOffsets {
    /// `stack_limit`: the lowest stack address that wasm may use.
    fn store_context_stack_limit(self) -> u32;
    /// `last_wasm_exit_fp`: the frame pointer of the trampoline through which wasm was last left.
    fn store_context_last_wasm_exit_fp(self) -> u32;
    /// `last_wasm_entry_fp`: the frame pointer of the entry trampoline.
    fn store_context_last_wasm_entry_fp(self) -> u32;
    /// `last_wasm_entry_sp`: the stack pointer of the entry trampoline.
    fn store_context_last_wasm_entry_sp(self) -> u32;
    /// `last_wasm_entry_trap_handler`: where the entry trampoline goes on after a trap.
    fn store_context_last_wasm_entry_trap_handler(self) -> u32;
    /// `gc_heap`: the address of the GC heap, which is the same from the instantiation of a module that needs it on.
    fn store_context_gc_heap(self) -> u32;
    /// `gc_next`, a `u32`: the offset in the GC heap where the next object can be made. The memory from
    /// there to `gc_end` is zero.
    fn store_context_gc_next(self) -> u32;
    /// `gc_end`, a `u32`: the offset in the GC heap up to which objects can be made without asking the runtime.
    fn store_context_gc_end(self) -> u32;
    /// `gc_types`: a `VMGcType` for each `EngineTypeIndex` that objects of the store can have. Moves when it grows.
    fn store_context_gc_types(self) -> u32;
    /// `gc_funcs`: a pointer to the `VMFuncRef` for each `gc_id`. Moves when it grows.
    fn store_context_gc_funcs(self) -> u32;
    /// `gc_funcs_len`: the number of these pointers, pointer-sized.
    fn store_context_gc_funcs_len(self) -> u32;
    /// `epoch_counter`: a pointer to the engine's epoch, an atomic `u64`; the same as long as the store lives.
    fn store_context_epoch_counter(self) -> u32;
    /// `fuel`, an `i64`: the fuel that is left, negative when more was used than there was. Code of targets that
    /// keep it in a register writes it here whenever the runtime may look.
    fn store_context_fuel(self) -> u32;
    /// `epoch_deadline`, a `u64`: the epoch from which on code calls the builtin `new_epoch`.
    fn store_context_epoch_deadline(self) -> u32;
}

impl StoreContextOffsets for PtrSize {
    fn store_context_stack_limit(self) -> u32 {
        0
    }
    fn store_context_last_wasm_exit_fp(self) -> u32 {
        self.size()
    }
    fn store_context_last_wasm_entry_fp(self) -> u32 {
        self.size() * 2
    }
    fn store_context_last_wasm_entry_sp(self) -> u32 {
        self.size() * 3
    }
    fn store_context_last_wasm_entry_trap_handler(self) -> u32 {
        self.size() * 4
    }
    fn store_context_gc_heap(self) -> u32 {
        self.size() * 5
    }
    fn store_context_gc_next(self) -> u32 {
        self.size() * 6
    }
    fn store_context_gc_end(self) -> u32 {
        self.size() * 6 + 4
    }
    fn store_context_gc_types(self) -> u32 {
        self.size() * 6 + 8
    }
    fn store_context_gc_funcs(self) -> u32 {
        self.size() * 7 + 8
    }
    fn store_context_gc_funcs_len(self) -> u32 {
        self.size() * 8 + 8
    }
    fn store_context_epoch_counter(self) -> u32 {
        self.size() * 9 + 8
    }
    fn store_context_fuel(self) -> u32 {
        self.size() * 10 + 8
    }
    fn store_context_epoch_deadline(self) -> u32 {
        self.size() * 10 + 16
    }
}

/// Offsets in a `VMHostFuncContext`, the callee context of a function that the host defines:
/// magic (padded to a pointer), then its own `VMFuncRef`.
pub trait HostFuncContextOffsets {
    /// `func_ref`
    fn host_func_context_func_ref(self) -> u32;
}

impl HostFuncContextOffsets for PtrSize {
    fn host_func_context_func_ref(self) -> u32 {
        self.size()
    }
}

/// The layout of one module's `VMContext`.
#[derive(Clone, Debug)]
pub struct VMOffsets {
    /// The layout of the fixed records.
    pub ptr: PtrSize,
    imported_functions: u32,
    imported_tables: u32,
    imported_memories: u32,
    imported_globals: u32,
    imported_tags: u32,
    tables: u32,
    dispatch_tables: u32,
    memories: u32,
    shared_memories: u32,
    globals: u32,
    tags: u32,
    func_refs: u32,
    size: u32,
}

impl VMOffsets {
    /// The layout for `module` on a target with pointers of `ptr` bytes.
    ///
    /// The implementation limits that validation enforces keep every offset below 2^32.
    pub fn new(ptr: PtrSize, module: &Module) -> Self {
        let mut next = ptr.vmctx_fixed_size();
        let mut region = |count: usize, size: u32, align: u32| {
            let start = next.next_multiple_of(align);
            let bytes = u32::try_from(count).ok().and_then(|n| n.checked_mul(size));
            next = bytes
                .and_then(|bytes| start.checked_add(bytes))
                .expect("validation limits the number of items in a module");
            start
        };
        let word = ptr.size();
        VMOffsets {
            ptr,
            imported_functions: region(
                module.num_imported_functions,
                ptr.size_of_function_import(),
                word,
            ),
            imported_tables: region(module.num_imported_tables, ptr.size_of_table_import(), word),
            imported_memories: region(
                module.num_imported_memories,
                ptr.size_of_memory_import(),
                word,
            ),
            imported_globals: region(
                module.num_imported_globals,
                ptr.size_of_global_import(),
                word,
            ),
            imported_tags: region(module.num_imported_tags, ptr.size_of_tag_import(), word),
            tables: region(
                module.num_defined_tables(),
                ptr.size_of_table_definition(),
                word,
            ),
            dispatch_tables: region(module.num_defined_tables(), word, word),
            memories: region(
                module.num_defined_memories(),
                ptr.size_of_memory_definition(),
                word,
            ),
            shared_memories: region(module.num_defined_memories(), word, word),
            globals: region(
                module.num_defined_globals(),
                ptr.size_of_global_definition(),
                16,
            ),
            tags: region(module.num_defined_tags(), ptr.size_of_tag_definition(), 4),
            func_refs: region(module.num_escaped_funcs, ptr.size_of_func_ref(), word),
            size: region(0, 0, 16),
        }
    }

    /// The size of the whole `VMContext`; its alignment is 16.
    pub fn size_of_vmctx(&self) -> u32 {
        self.size
    }
}

macro_rules! region_offsets {
    ($($(#[$doc:meta])* $name:ident($index:ident) = $region:ident, $size:ident;)*) => {
        impl VMOffsets {
            $($(#[$doc])* pub fn $name(&self, index: $index) -> u32 {
                self.$region + index.index() as u32 * self.ptr.$size()
            })*
        }
    };
}

region_offsets! {
    /// The `VMFunctionImport` of an imported function.
    function_import(FuncIndex) = imported_functions, size_of_function_import;
    /// The `VMTableImport` of an imported table.
    table_import(TableIndex) = imported_tables, size_of_table_import;
    /// The `VMMemoryImport` of an imported memory.
    memory_import(MemoryIndex) = imported_memories, size_of_memory_import;
    /// The `VMGlobalImport` of an imported global.
    global_import(GlobalIndex) = imported_globals, size_of_global_import;
    /// The `VMTagImport` of an imported tag.
    tag_import(TagIndex) = imported_tags, size_of_tag_import;
    /// The `VMTableDefinition` of a defined table.
    table_definition(DefinedTableIndex) = tables, size_of_table_definition;
    /// The pointer to the dispatch table of a defined table.
    dispatch_table(DefinedTableIndex) = dispatch_tables, size;
    /// The `VMMemoryDefinition` of a defined memory that is not shared.
    memory_definition(DefinedMemoryIndex) = memories, size_of_memory_definition;
    /// The pointer to the `VMMemoryDefinition` of a defined shared memory.
    shared_memory_pointer(DefinedMemoryIndex) = shared_memories, size;
    /// The `VMGlobalDefinition` of a defined global.
    global_definition(DefinedGlobalIndex) = globals, size_of_global_definition;
    /// The `VMTagDefinition` of a defined tag.
    tag_definition(DefinedTagIndex) = tags, size_of_tag_definition;
    /// The `VMFuncRef` of an escaping function.
    func_ref(FuncRefIndex) = func_refs, size_of_func_ref;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_follow_each_other() {
        let mut module = Module {
            num_imported_functions: 3,
            num_escaped_funcs: 2,
            ..Module::default()
        };
        module.num_imported_globals = 0;
        let offsets = VMOffsets::new(PtrSize(8), &module);
        assert_eq!(offsets.function_import(FuncIndex::new(0)), 32);
        assert_eq!(offsets.function_import(FuncIndex::new(2)), 32 + 48);
        assert_eq!(offsets.func_ref(FuncRefIndex::new(0)) % 8, 0);
        assert_eq!(
            offsets.global_definition(DefinedGlobalIndex::new(0)) % 16,
            0
        );
        assert!(offsets.size_of_vmctx() >= offsets.func_ref(FuncRefIndex::new(1)) + 32);
    }
}
