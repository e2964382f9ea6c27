//! The settings that change generated code or the contents of an artifact.

use crate::GcCollector;
use serde::{Deserialize, Serialize};

/// Which calls may be replaced by the bodies of the functions that they call.
///
/// Backtraces have the functions that were inlined as they have others.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Inlining {
    /// All, where it is worth it.
    Yes,
    /// Calls from module to module, and those within modules that make objects on the GC heap. There are no calls of the former kind
    /// that could be.
    InterModuleAndIntraGc,
    /// Calls from module to module, of which there are none that could be.
    InterModule,
    /// Calls of functions that the engine makes, of which there are none that could be.
    Intrinsics,
    /// None.
    No,
}

/// Settings that generated code relies on. An artifact runs only in an engine whose tunables are
/// the ones it was compiled with.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Tunables {
    /// Bytes of address space to reserve for a linear memory, its growth included.
    pub memory_reservation: u64,
    /// Bytes of inaccessible address space after a linear memory's reservation.
    pub memory_guard_size: u64,
    /// Extra bytes to reserve beyond the current size of a memory that may move when it grows.
    pub memory_reservation_for_growth: u64,
    /// Whether a memory that outgrows its reservation may be moved.
    pub memory_may_move: bool,
    /// Whether a guard region also precedes each linear memory.
    pub guard_before_linear_memory: bool,
    /// Whether memories are initialised by mapping an image copy-on-write.
    pub memory_init_cow: bool,
    /// Images up to this many bytes are made however sparse they are.
    pub memory_guaranteed_dense_image_size: u64,
    /// Whether tables of functions are filled at the first use of an element.
    pub table_lazy_init: bool,
    /// Whether the artifact maps machine code back to wasm offsets.
    pub generate_address_map: bool,
    /// Whether hardware faults are turned into traps; otherwise every check is explicit.
    pub signals_based_traps: bool,
    /// The largest page of any host of the target, in bytes: the alignment in the artifact of
    /// text, data and memory images.
    pub page_align: u64,
    /// Whether relaxed SIMD instructions give the same results on every host.
    pub relaxed_simd_deterministic: bool,
    /// How GC heaps are managed; `None` if there are none, so that modules that need one are refused.
    pub collector: Option<GcCollector>,
    /// Whether code counts what it executes and stops when its store has no fuel left.
    pub consume_fuel: bool,
    /// Whether code compares the engine's epoch with the store's deadline.
    pub epoch_interruption: bool,
    /// Which calls may be replaced by the bodies of the functions that they call.
    pub inlining: Inlining,
    /// Whether the artifact describes its code to native debuggers, and code keeps in its frames what they ask for.
    pub debug_info: bool,
    /// Whether code tells the runtime of accesses to memory, and of calls of the program's allocator, to find memory errors.
    pub wmemcheck: bool,
}

impl Default for Tunables {
    fn default() -> Self {
        Tunables {
            memory_reservation: 4 << 30,
            memory_guard_size: 2 << 30,
            memory_reservation_for_growth: 2 << 30,
            memory_may_move: true,
            guard_before_linear_memory: true,
            memory_init_cow: true,
            memory_guaranteed_dense_image_size: 16 << 20,
            table_lazy_init: true,
            generate_address_map: true,
            signals_based_traps: true,
            page_align: 0x1_0000,
            relaxed_simd_deterministic: false,
            collector: Some(GcCollector::Copying),
            consume_fuel: false,
            epoch_interruption: false,
            inlining: Inlining::Yes,
            debug_info: false,
            wmemcheck: false,
        }
    }
}
