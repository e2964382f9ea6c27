//! The contract between Waxwing's compilers and its runtime.
//!
//! Everything that both generated code and the runtime must agree on is written here once: module
//! facts ([`Module`]), interned types ([`ModuleTypes`]), the layout of a `VMContext`
//! ([`VMOffsets`]), the builtin functions ([`BuiltinFunctionIndex`]), trap codes ([`Trap`]), the
//! settings that change generated code ([`Tunables`]) and the artifact format ([`artifact`]).
//!
//! This crate knows neither how code is generated nor how it is run, and holds no `unsafe`.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod address_map;
pub mod artifact;
mod builtins;
pub mod call_sites;
#[cfg(feature = "compile")]
pub mod compile;
mod const_expr;
pub mod gc;
mod host_calls;
mod indices;
mod inlined;
mod module;
mod names;
mod sorted_map;
mod target;
mod trap;
mod tunables;
mod types;
mod vm_offsets;
mod wmemcheck;

pub use builtins::{BuiltinFunctionIndex, BuiltinResult, BuiltinType, UNINTERRUPTED_BYTES};
pub use const_expr::{ConstExpr, ConstOp};
pub use gc::GcCollector;
pub use host_calls::{AtomicOp, AtomicWidth, HostCall};
pub use indices::*;
pub use inlined::{InlinedFunction, InlinedFunctions, encode_inlined};
pub use module::*;
pub use names::{FunctionNames, encode_function_names};
pub use target::{bytecode_for_host, is_bytecode};
pub use trap::{Trap, TrapTable, encode_traps};
pub use tunables::{Inlining, Tunables};
pub use types::*;
pub use vm_offsets::{
    HostFuncContextOffsets, PtrSize, StoreContextOffsets, VMCONTEXT_MAGIC, VMHOSTFUNC_MAGIC,
    VMOffsets,
};
pub use wmemcheck::KnownFunction;

pub use cranelift_entity::{EntityRef, PrimaryMap, SecondaryMap, packed_option::ReservedValue};
