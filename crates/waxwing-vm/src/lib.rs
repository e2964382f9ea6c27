//! The heart of Waxwing: everything that runs generated code, and that touches the machine to do so.

mod allocator;
mod arch;
mod backtrace;
mod builtins;
mod code_memory;
mod code_registry;
mod const_eval;
mod fiber;
mod gc;
mod host_func;
mod imports;
mod instance;
mod loaded_module;
mod memory;
mod memory_image;
mod mmap;
#[cfg(feature = "profiling")]
pub mod profiling;
#[cfg(feature = "pulley")]
mod pulley;
mod store;
mod store_context;
mod sys;
mod table;
pub mod traps;
mod type_registry;
mod val_raw;
mod vmcontext;
#[cfg(feature = "wmemcheck")]
mod wmemcheck;

pub use allocator::Allocator;
#[cfg(feature = "pooling-allocator")]
pub use allocator::{PoolConcurrencyLimitError, PoolMetrics, PoolOptions, Wanted};
pub use arch::RUNS_MACHINE_CODE;
pub use backtrace::{RawBacktrace, RawFrame};
pub use code_memory::{ArtifactKind, CodeMemory, detect_artifact};
pub use code_registry::lookup as lookup_code;
pub use fiber::{
    Cancelled, FiberStack, HostStack, HostStackCreator, OnFiber, block_on, fiber_stack_size,
    is_cancelled, yield_now,
};
pub use gc::{
    GcKind, GcOptions, GcStore, alloc_array, alloc_exn, alloc_extern, alloc_struct, collect,
};
pub use host_func::{HostFunc, VMHostFuncContext};
pub use imports::{Imports, OwnedImports};
pub use instance::{Instance, InstanceId, VMExport};
pub use loaded_module::LoadedModule;
pub use memory::{HostMemories, LinearMemory, Memory, SharedMemory, Storage, WaitResult};
pub use memory_image::{ImageSource, MemoryImage};
pub use mmap::{Mmap, host_page_size, round_down_to_host_pages, round_up_to_host_pages};
pub use store::{
    StoreCore, StoreId, VMStore, call, call_unchecked, create_host_global, create_host_memory,
    create_host_table, create_host_tag, import_shared_memory, instantiate, memory_grow, table_copy,
    table_grow,
};
pub use store_context::VMStoreContext;
pub use sys::faults::SignalHandler;
pub use table::{Table, TableElement};
pub use type_registry::{RegisteredModuleTypes, RegisteredType, TypeRegistry};
pub use val_raw::ValRaw;
pub use vmcontext::{
    VMArrayCall, VMContext, VMFuncRef, VMFunctionImport, VMGcRef, VMGlobalDefinition,
    VMGlobalImport, VMMemoryDefinition, VMMemoryImport, VMOpaqueContext, VMTableDefinition,
    VMTableImport, VMTagDefinition, VMTagImport, VMWasmCode,
};
