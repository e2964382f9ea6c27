//! Checks of memory errors: what code tells of the first memory goes to the instance that owns it.

use waxwing_environ::{EntityRef, IndexType, KnownFunction, MemoryIndex};

use super::Caller;
use crate::instance::Instance;
use crate::traps::TrapReason;
use crate::wmemcheck::HeapCheck;

/// How many words are looked at where an argument of a host function points to: buffers are passed in lists.
const WORDS: u64 = 32;

impl Caller {
    fn with_heap<R>(self, f: impl FnOnce(&mut HeapCheck) -> R) -> R {
        let import = self.with(|instance| instance.memory_import(MemoryIndex::new(0)));
        // SAFETY: the owner of an imported memory lives as long as the store; see `Caller`. The reference ends with this function,
        // and there is no other.
        let owner = unsafe { Instance::from_vmctx(import.vmctx).as_mut() };
        f(owner.heap_check())
    }

    /// The pointer that is in the first memory at `address`.
    fn read_pointer(self, address: u64) -> Option<u64> {
        self.with(|instance| instance.memory_pointer(MemoryIndex::new(0), address))
    }

    /// The bytes that a pointer has in the first memory.
    fn pointer_size(self) -> u64 {
        self.with(|instance| match instance.module().module().memories[MemoryIndex::new(0)].idx_type {
            IndexType::I32 => 4,
            IndexType::I64 => 8,
        })
    }
}

pub(super) fn wmemcheck_load(caller: Caller, address: u64, len: u64) -> Result<u32, TrapReason> {
    Ok(caller.with_heap(|heap| heap.load(address, len))?.into())
}

pub(super) fn wmemcheck_store(
    caller: Caller,
    address: u64,
    len: u64,
    undefined: u32,
) -> Result<(), TrapReason> {
    Ok(caller.with_heap(|heap| heap.store(address, len, undefined != 0))?)
}

pub(super) fn wmemcheck_copy(
    caller: Caller,
    dst: u64,
    src: u64,
    len: u64,
) -> Result<(), TrapReason> {
    Ok(caller.with_heap(|heap| heap.copy(dst, src, len))?)
}

pub(super) fn wmemcheck_undefined(
    caller: Caller,
    address: u64,
    len: u64,
) -> Result<(), TrapReason> {
    Err(caller.with_heap(|heap| heap.undefined(address, len)).into())
}

pub(super) fn wmemcheck_enter(
    caller: Caller,
    function: u32,
    first: u64,
    second: u64,
    third: u64,
) -> Result<(), TrapReason> {
    match KnownFunction::from_u32(function) {
        Some(function) => Ok(caller.with_heap(|heap| heap.enter(function, [first, second, third]))?),
        None => Ok(()),
    }
}

pub(super) fn wmemcheck_exit(caller: Caller, result: u64) {
    let size = caller.with(|instance| instance.memory_size(MemoryIndex::new(0)));
    let place = caller.with_heap(|heap| heap.place_of_result());
    let stored = place.and_then(|place| caller.read_pointer(place));
    caller.with_heap(|heap| heap.exit(result, stored, size));
}

pub(super) fn wmemcheck_host(caller: Caller, argument: u64) {
    let size = caller.pointer_size();
    let words: Vec<u64> = (0..WORDS)
        .map_while(|i| caller.read_pointer(argument.checked_add(i * size)?))
        .collect();
    caller.with_heap(|heap| heap.host_may_write(argument, &words));
}
