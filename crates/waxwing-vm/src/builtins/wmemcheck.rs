//! Checks of memory errors: what code tells of the first memory goes to the instance that owns it.

use std::slice;

use waxwing_environ::{IndexType, KnownFunction, MemoryIndex};

use super::Caller;
use crate::instance::Instance;
use crate::traps::TrapReason;
use crate::wmemcheck::{HeapCheck, Memory};

/// The memory that is checked.
fn memory() -> MemoryIndex {
    MemoryIndex::from_u32(0)
}

impl Caller {
    /// Runs `f` with the heap in the first memory, and the memory.
    fn with_heap<R>(self, f: impl FnOnce(&mut HeapCheck, Memory<'_>) -> R) -> R {
        let (import, (base, len), index_type) = self.with(|instance| {
            (
                instance.memory_import(memory()),
                instance.memory_extent(memory()),
                instance.module().module().memories[memory()].idx_type,
            )
        });
        // SAFETY: the owner of an imported memory lives as long as the store; see `Caller`. The reference ends with this function,
        // and there is no other.
        let owner = unsafe { Instance::from_vmctx(import.vmctx).as_mut() };
        let heap = owner.heap_check(import.index);
        heap.set_size(len as u64);
        let memory = Memory {
            // SAFETY: the memory is not shared, as code checks no other, and nobody uses it meanwhile.
            bytes: unsafe { slice::from_raw_parts(base.as_ptr(), len) },
            pointer_size: match index_type {
                IndexType::I32 => 4,
                IndexType::I64 => 8,
            },
        };
        f(heap, memory)
    }
}

pub(super) fn wmemcheck_load(caller: Caller, address: u64, len: u64) -> Result<u32, TrapReason> {
    Ok(caller.with_heap(|heap, _| heap.load(address, len))?.into())
}

pub(super) fn wmemcheck_store(
    caller: Caller,
    address: u64,
    len: u64,
    undefined: u32,
) -> Result<(), TrapReason> {
    Ok(caller.with_heap(|heap, _| heap.store(address, len, undefined != 0))?)
}

pub(super) fn wmemcheck_copy(
    caller: Caller,
    dst: u64,
    src: u64,
    len: u64,
) -> Result<(), TrapReason> {
    Ok(caller.with_heap(|heap, _| heap.copy(dst, src, len))?)
}

pub(super) fn wmemcheck_undefined(
    caller: Caller,
    address: u64,
    len: u64,
) -> Result<(), TrapReason> {
    Err(caller
        .with_heap(|heap, _| heap.undefined(address, len))
        .into())
}

pub(super) fn wmemcheck_enter(
    caller: Caller,
    function: u32,
    first: u64,
    second: u64,
    third: u64,
) -> Result<(), TrapReason> {
    match KnownFunction::from_u32(function) {
        Some(function) => {
            Ok(caller.with_heap(|heap, _| heap.enter(function, [first, second, third]))?)
        }
        None => Err(TrapReason::Host(anyhow::anyhow!(
            "generated code names the unknown allocator function {function}; compile the module again"
        ))),
    }
}

pub(super) fn wmemcheck_exit(caller: Caller, result: u64) {
    caller.with_heap(|heap, memory| heap.exit(result, memory));
}

pub(super) fn wmemcheck_host(caller: Caller, argument: u64) {
    caller.with_heap(|heap, memory| heap.host_may_write(argument, memory));
}
