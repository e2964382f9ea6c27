//! [`VMStoreContext`]: what generated code reads and writes of the store that it runs in.

use std::cell::Cell;

/// The part of a store that generated code knows, at the offsets of
/// [`StoreContextOffsets`](waxwing_environ::StoreContextOffsets).
///
/// It belongs to whoever has exclusive use of the store; while WebAssembly code runs, that is the
/// running thread. The fields other than the stack limit mean something while the store has an activation
/// only.
#[derive(Debug, Default)]
#[repr(C)]
pub struct VMStoreContext {
    /// The lowest stack address that WebAssembly code may use; zero if and only if the store is idle, on
    /// all threads.
    pub stack_limit: Cell<usize>,
    /// The frame pointer of the trampoline through which WebAssembly code was last left, zero if it was
    /// not since it was last entered.
    pub last_wasm_exit_fp: Cell<usize>,
    /// Where that trampoline returns to.
    pub last_wasm_exit_pc: Cell<usize>,
    /// The frame pointer of the entry trampoline, zero before it ran.
    pub last_wasm_entry_fp: Cell<usize>,
    /// The stack pointer of the entry trampoline.
    pub last_wasm_entry_sp: Cell<usize>,
    /// Where the entry trampoline continues after a trap.
    pub last_wasm_entry_trap_handler: Cell<usize>,
}

#[cfg(test)]
mod tests {
    use super::VMStoreContext;
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
            ptr.store_context_last_wasm_exit_pc(),
            offset_of!(VMStoreContext, last_wasm_exit_pc),
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
        agree(ptr.size_of_store_context(), size_of::<VMStoreContext>());
    }
}
