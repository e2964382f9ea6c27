//! [`VMStoreContext`]: what generated code reads and writes of the store that it runs in.

use std::cell::Cell;
use std::ptr::NonNull;
use std::sync::atomic::AtomicU64;

use waxwing_environ::gc::GC_TYPE_DISPLAY_LEN;

use crate::allocator::keys::StoreRights;
use crate::fiber::Fiber;
use crate::sys::faults::SignalHandler;
use crate::vmcontext::VMFuncRef;

/// What generated code knows of a store, at the offsets of
/// [`StoreContextOffsets`](waxwing_environ::StoreContextOffsets), and behind it what the runtime needs at hand.
///
/// It belongs to whoever has exclusive use of the store; while WebAssembly code runs, that is the
/// running thread. The fields other than the stack limit mean something while the store has an activation
/// only.
#[derive(Debug, Default)]
#[repr(C)]
pub struct VMStoreContext {
    /// The lowest stack address that WebAssembly code may use; zero if and only if the store is idle, on
    /// all threads, not counting fibers that are suspended.
    pub stack_limit: Cell<usize>,
    /// The frame pointer of the trampoline through which WebAssembly code was last left, zero if it was
    /// not since it was last entered.
    pub last_wasm_exit_fp: Cell<usize>,
    /// The frame pointer of the entry trampoline, zero before it ran.
    pub last_wasm_entry_fp: Cell<usize>,
    /// The stack pointer of the entry trampoline.
    pub last_wasm_entry_sp: Cell<usize>,
    /// Where the entry trampoline continues after a trap.
    pub last_wasm_entry_trap_handler: Cell<usize>,
    /// The address of the GC heap, null before there is one.
    pub gc_heap: Cell<*mut u8>,
    /// The offset in the GC heap where the next object can be made. From there to `gc_end` all is zero.
    pub gc_next: Cell<u32>,
    /// The offset in the GC heap up to which objects can be made without asking the runtime.
    pub gc_end: Cell<u32>,
    /// The types that objects can have, by `EngineTypeIndex`.
    pub gc_types: Cell<*const VMGcType>,
    /// The functions that objects can refer to, by their identity. The first one is null.
    pub gc_funcs: Cell<*const Option<NonNull<VMFuncRef>>>,
    /// The number of `gc_funcs`.
    pub gc_funcs_len: Cell<usize>,
    /// The engine's epoch. Not null in the context of a store.
    pub epoch_counter: Cell<*const AtomicU64>,
    /// The fuel that is left, negative if more was used than there was. While generated code runs, it may have a later
    /// value in a register.
    pub fuel: Cell<i64>,
    /// The epoch from which on generated code calls the builtin `new_epoch`.
    pub epoch_deadline: Cell<u64>,
    /// Who sees signals first that arrive while an activation of the store is the thread's innermost, or null.
    pub(crate) signal_handler: Cell<*const SignalHandler>,
    /// The rights of code of the store to the memories of a pool.
    pub(crate) rights: Cell<StoreRights>,
    /// The fiber that the store's code runs on, or null.
    pub(crate) fiber: Cell<*const Fiber>,
}

/// What generated code knows of a type that objects have.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct VMGcType {
    /// The supertypes of the type by their depth, from the root on, and then the type itself; `u32::MAX`
    /// from there on.
    pub display: [u32; GC_TYPE_DISPLAY_LEN as usize],
    /// The runtime's own.
    pub reserved: [u32; 3],
}

#[cfg(test)]
mod tests {
    use super::{VMGcType, VMStoreContext};
    use std::mem::{offset_of, size_of};
    use waxwing_environ::{PtrSize, StoreContextOffsets};

    #[test]
    fn layout_is_the_contract() {
        let ptr = PtrSize(size_of::<usize>() as u8);
        let agree = |contract: u32, actual: usize| assert_eq!(contract as usize, actual);
        agree(
            ptr.store_context_stack_limit(),
            offset_of!(VMStoreContext, stack_limit),
        );
        agree(
            ptr.store_context_last_wasm_exit_fp(),
            offset_of!(VMStoreContext, last_wasm_exit_fp),
        );
        agree(
            ptr.store_context_last_wasm_entry_fp(),
            offset_of!(VMStoreContext, last_wasm_entry_fp),
        );
        agree(
            ptr.store_context_last_wasm_entry_sp(),
            offset_of!(VMStoreContext, last_wasm_entry_sp),
        );
        agree(
            ptr.store_context_last_wasm_entry_trap_handler(),
            offset_of!(VMStoreContext, last_wasm_entry_trap_handler),
        );
        agree(
            ptr.store_context_gc_heap(),
            offset_of!(VMStoreContext, gc_heap),
        );
        agree(
            ptr.store_context_gc_next(),
            offset_of!(VMStoreContext, gc_next),
        );
        agree(
            ptr.store_context_gc_end(),
            offset_of!(VMStoreContext, gc_end),
        );
        agree(
            ptr.store_context_gc_types(),
            offset_of!(VMStoreContext, gc_types),
        );
        agree(
            ptr.store_context_gc_funcs(),
            offset_of!(VMStoreContext, gc_funcs),
        );
        agree(
            ptr.store_context_gc_funcs_len(),
            offset_of!(VMStoreContext, gc_funcs_len),
        );
        agree(ptr.size_of_gc_type(), size_of::<VMGcType>());
        agree(ptr.store_context_fuel(), offset_of!(VMStoreContext, fuel));
        agree(
            ptr.store_context_epoch_deadline(),
            offset_of!(VMStoreContext, epoch_deadline),
        );
        agree(
            ptr.store_context_epoch_counter(),
            offset_of!(VMStoreContext, epoch_counter),
        );
    }
}
