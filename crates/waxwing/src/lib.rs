//! Waxwing is a WebAssembly engine to embed in Rust programs: it compiles modules to machine code,
//! just in time or ahead of time, and runs them in a sandbox.
//!
//! All of it is safe to use, but for a few functions that say otherwise: whatever a module does, it
//! has no access to the host but what it is given.
//!
//! ```
//! use waxwing::*;
//!
//! fn main() -> waxwing::Result<()> {
//!     let engine = Engine::default();
//!
//!     // A module, here in the text format. It imports a function of the host.
//!     let wat = r#"
//!         (module
//!             (import "host" "host_func" (func $host_hello (param i32)))
//!
//!             (func (export "hello")
//!                 i32.const 3
//!                 call $host_hello)
//!         )
//!     "#;
//!     let module = Module::new(&engine, wat)?;
//!
//!     // The host gives functions to modules through a linker, by their names. A function can be
//!     // any closure that is `Send + Sync`; the caller's data are at hand in it.
//!     let mut linker = Linker::new(&engine);
//!     linker.func_wrap("host", "host_func", |caller: Caller<'_, u32>, param: i32| {
//!         println!("Got {} from WebAssembly", param);
//!         println!("my host state is: {}", caller.data());
//!     })?;
//!
//!     // Whatever modules make while they run belongs to a store, and so do data of the host's
//!     // choice: the number 4, here.
//!     let mut store: Store<u32> = Store::new(&engine, 4);
//!
//!     // An instance is a module with its imports. Its exports are found by name, and functions
//!     // are given Rust types, which are checked once.
//!     let instance = linker.instantiate(&mut store, &module)?;
//!     let hello = instance.get_typed_func::<(), ()>(&mut store, "hello")?;
//!
//!     hello.call(&mut store, ())?;
//!
//!     Ok(())
//! }
//! ```
//!
//! # What there is
//!
//! - An [`Engine`] holds the settings, made with a [`Config`], by which modules are compiled and
//!   run. A program needs one, and all its threads share it.
//! - A [`Module`] is compiled code. Compiling is the slow part: a module is compiled once, or
//!   loaded from what an earlier process [serialized](Module::serialize), and instantiated often.
//! - A [`Store`] owns all that modules make while they run, and data of the host: instances,
//!   memories, tables, globals. It is made and dropped quickly, and nothing in it is freed before
//!   it is dropped, so it should not live longer than one task of the program.
//! - A [`Linker`] holds what the host gives to modules, by name. One linker serves many stores.
//! - An [`Instance`] is a module with its imports, in a store.
//! - [`Func`], [`Memory`], [`Table`] and [`Global`] are handles to what a store owns. They are
//!   small and `Copy`, and each of their methods takes the store: as anything that is
//!   [`AsContext`] or [`AsContextMut`], such as `&mut Store<T>` or `&mut Caller<'_, T>`. Used with
//!   a store that they do not belong to, they panic. A [`TypedFunc`] is a function whose type is
//!   known when the host is compiled, and faster to call.
//! - A [`Trap`] is what WebAssembly does instead of anything undefined. It reaches the host as an
//!   [`Error`], with a [`WasmBacktrace`].
//!
//! # Cargo features
//!
//! These are on by default.
//!
//! - `runtime`: running modules. Without it, only compiling ahead of time is offered.
//! - `cranelift`: compiling modules. Without it, modules come from [`Module::deserialize`] and
//!   [`Module::deserialize_file`].
//! - `wat`: accepting the text format wherever the binary format is.
//! - `parallel-compilation`: compiling functions on a pool of threads, rayon's.
//! - `threads`: the threads proposal, and [`SharedMemory`].
//! - `gc`: the proposals for references and garbage collection, and collectors. Without it,
//!   modules can refer to functions alone.
//! - `demangle`: Rust's and C++'s names of functions, demangled in backtraces.
//! - `addr2line`: source files and lines in backtraces.
//! - `debug-builtins`: what native debuggers find in the process, for [`Config::debug_info`].
//! - `pooling-allocator`: instances from a pool, [`PoolingAllocationConfig`].
//! - `async`: calls that can wait, and time slices for WebAssembly: see [`Config::async_support`].
//! - `coredump`: dumps of what a store holds when WebAssembly traps, `WasmCoreDump`.
//! - `profiling`: [`Config::profiler`], by which profilers of the system learn of compiled code, and
//!   [`GuestProfiler`].
//! - `cache`: keeping compiled modules on disk, see [`Config::cache_config_load`].
//! - `signals-based-traps`: traps by faults of the hardware, see [`Config::signals_based_traps`], and the module `unix`. Without it,
//!   code checks everything, and no handlers of signals are installed.
//! - `std`: what needs an operating system and has no feature of its own, which is `signals-based-traps`.
//! - `pulley`: portable bytecode and its interpreter, the targets `pulley64` and its like of [`Config::target`].
//!
//! These are off by default.
//!
//! - `all-arch`: compiling ahead of time for every architecture that there is a backend for, by [`Config::target`].
//! - `incremental-cache`: `Config::enable_incremental_compilation`, by which compiled functions are kept.
//! - `memory-protection-keys`: `PoolingAllocationConfig::memory_protection_keys`, by which keys of the CPU protect memories from
//!   each other.
//! - `call-hook`: `Store::call_hook`, which is told of each transition between the host and WebAssembly.
//! - `wmemcheck`: finding memory errors of programs in their heap, by [`Config::wmemcheck`].

#![warn(missing_docs)]

#[cfg(feature = "runtime")]
mod backtrace;
#[cfg(feature = "runtime")]
mod caller;
#[cfg(feature = "cranelift")]
mod compile;
mod config;
#[cfg(feature = "coredump")]
mod coredump;
mod engine;
#[cfg(feature = "runtime")]
mod externals;
#[cfg(feature = "runtime")]
mod func;
#[cfg(feature = "runtime")]
mod gc;
#[cfg(feature = "runtime")]
mod host_memory;
#[cfg(feature = "runtime")]
mod instance;
#[cfg(feature = "runtime")]
mod limits;
#[cfg(feature = "runtime")]
mod linker;
#[cfg(feature = "runtime")]
mod matching;
#[cfg(feature = "runtime")]
mod module;
#[cfg(all(feature = "runtime", feature = "profiling"))]
mod profiling;
#[cfg(feature = "runtime")]
mod resources;
#[cfg(feature = "async")]
mod stack;
#[cfg(feature = "runtime")]
mod store;
#[cfg(feature = "runtime")]
mod transition;
#[cfg(feature = "runtime")]
mod trap;
#[cfg(feature = "runtime")]
mod types;
#[cfg(all(feature = "runtime", feature = "signals-based-traps", unix))]
pub mod unix;
#[cfg(feature = "runtime")]
mod v128;
#[cfg(feature = "runtime")]
mod values;

pub use anyhow::{Error, Result};
#[cfg(feature = "runtime")]
pub use backtrace::{FrameInfo, FrameSymbol, WasmBacktrace};
#[cfg(feature = "runtime")]
pub use caller::Caller;
#[cfg(feature = "cranelift")]
pub use compile::{CodeBuilder, CodeHint};
#[cfg(feature = "memory-protection-keys")]
pub use config::MpkEnabled;
pub use config::{
    Collector, Config, InstanceAllocationStrategy, ModuleVersionStrategy, ProfilingStrategy,
    WasmBacktraceDetails,
};
#[cfg(feature = "pooling-allocator")]
pub use config::{Enabled, PoolingAllocationConfig};
#[cfg(feature = "cranelift")]
pub use config::{Inlining, OptLevel, RegallocAlgorithm, Strategy};
#[cfg(feature = "coredump")]
pub use coredump::WasmCoreDump;
#[cfg(feature = "pooling-allocator")]
pub use engine::PoolingAllocatorMetrics;
pub use engine::{Engine, EngineWeak, Precompiled};
#[cfg(feature = "runtime")]
pub use externals::{
    Export, Extern, Global, Memory, MemoryAccessError, SharedMemory, Table, Tag, WaitResult,
};
#[cfg(feature = "runtime")]
pub use func::{Func, IntoFunc, TypedFunc, WasmParams, WasmResults, WasmRet, WasmTy, WasmTyList};
#[cfg(feature = "runtime")]
pub use gc::{
    AnyRef, ArrayRef, ArrayRefPre, EqRef, ExnRef, ExnRefPre, ExternRef, GcHeapOutOfMemory, GcRef,
    I31, ManuallyRooted, NoExtern, NoFunc, NoneRef, OwnedRooted, RootScope, Rooted, RootedGcRef,
    StructRef, StructRefPre,
};
#[cfg(feature = "runtime")]
pub use host_memory::{LinearMemory, MemoryCreator};
#[cfg(feature = "runtime")]
pub use instance::{Instance, InstancePre};
#[cfg(feature = "async")]
pub use limits::ResourceLimiterAsync;
#[cfg(feature = "runtime")]
pub use limits::{
    DEFAULT_INSTANCE_LIMIT, DEFAULT_MEMORY_LIMIT, DEFAULT_TABLE_LIMIT, ResourceLimiter,
    StoreLimits, StoreLimitsBuilder,
};
#[cfg(feature = "runtime")]
pub use linker::{Linker, UnknownImportError};
#[cfg(feature = "runtime")]
pub use module::{Module, ModuleExport, ModuleFunction};
#[cfg(all(feature = "runtime", feature = "profiling"))]
pub use profiling::GuestProfiler;
#[cfg(feature = "runtime")]
pub use resources::ResourcesRequired;
#[cfg(feature = "async")]
pub use stack::{StackCreator, StackMemory};
#[cfg(all(feature = "async", feature = "call-hook"))]
pub use store::CallHookHandler;
#[cfg(feature = "runtime")]
pub use store::{
    AsContext, AsContextMut, Store, StoreContext, StoreContextMut, ThrownException, UpdateDeadline,
};
#[cfg(feature = "runtime")]
pub use transition::CallHook;
#[cfg(feature = "runtime")]
pub use types::{
    ArrayType, ExnType, ExportType, ExternType, FieldType, Finality, FuncType, GlobalType,
    HeapType, ImportType, MemoryType, MemoryTypeBuilder, Mutability, RefType, StorageType,
    StructType, TableType, TagType, ValType,
};
#[cfg(feature = "runtime")]
pub use v128::V128;
#[cfg(feature = "runtime")]
pub use values::{Ref, Val};
#[cfg(feature = "cache")]
pub use waxwing_cache::{Cache, CacheConfig};
pub use waxwing_environ::Trap;
#[cfg(feature = "incremental-cache")]
pub use waxwing_environ::compile::CacheStore;
#[cfg(feature = "pooling-allocator")]
pub use waxwing_vm::PoolConcurrencyLimitError;
#[cfg(feature = "runtime")]
pub use waxwing_vm::ValRaw;
