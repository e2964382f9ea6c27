//! The functions of the runtime that generated code calls.
//!
//! Each has two halves. The body is written here in plain terms: it gets the instance and fails with a
//! [`TrapReason`]. Around it the table of builtins makes a function of the host's C convention, which
//! finds the instance, records failures and panics with the current activation, and tells generated
//! code by its result that it has to unwind.

#[cfg(not(feature = "wmemcheck"))]
mod no_wmemcheck;
mod objects;
#[cfg(feature = "wmemcheck")]
mod wmemcheck;
mod work;

use std::ffi::c_void;
use std::ptr::NonNull;
use std::time::Duration;

use anyhow::Result;
use waxwing_environ::{
    BuiltinFunctionIndex, DataIndex, ElemIndex, FuncIndex, MemoryIndex, TableIndex, Trap,
    for_each_builtin,
};

use crate::gc::GcStore;
use crate::instance::{Instance, InstanceEnv, InstanceId};
use crate::memory::{self, WaitResult};
use crate::store::interrupt::{BYTES, ELEMENTS, refuel};
use crate::store::{self, VMStore};
use crate::table::TableElement;
use crate::traps::{self, Landing, Thrower, TrapReason};
use crate::vmcontext::{VMContext, VMFuncRef, VMGcRef};
#[cfg(feature = "pulley")]
pub(crate) use bytecode::call_builtin;
#[cfg(not(feature = "wmemcheck"))]
use no_wmemcheck::*;
use objects::*;
#[cfg(feature = "wmemcheck")]
use wmemcheck::*;
use work::at;

/// The address that stands for -1: an instruction that fails without trapping.
const FAILED: usize = usize::MAX;
/// The address that says that a trap was recorded.
const TRAPPED: usize = BuiltinFunctionIndex::TRAP_SENTINEL as usize;

/// The Rust type of a builtin's parameter or result.
macro_rules! native_type {
    (i32) => { u32 };
    (i64) => { u64 };
    (f32) => { f32 };
    (f64) => { f64 };
    (pointer) => { *mut c_void };
}

/// The Rust type of what a builtin returns to generated code.
macro_rules! native_result {
    () => { () };
    (never) => { ! };
    (bool) => { bool };
    (trap pointer) => { *mut c_void };
    (trap i32) => { u32 };
    ($ty:ident) => { native_type!($ty) };
}

/// Runs a builtin's body and makes its result what generated code expects.
macro_rules! run_body {
    ($body:expr ;) => {
        $body
    };
    ($body:expr ; never) => {{
        let landing = $body;
        // SAFETY: machine code called this, and there is nothing to drop.
        unsafe { landing.go() }
    }};
    ($body:expr ; bool) => {
        traps::catch_host(|| $body).is_some()
    };
    ($body:expr ; trap pointer) => {
        std::ptr::without_provenance_mut(match traps::catch_host(|| $body) {
            Some(Some(previous)) => previous as usize,
            Some(None) => FAILED,
            None => TRAPPED,
        })
    };
    ($body:expr ; trap i32) => {
        traps::catch_host(|| $body).unwrap_or(TRAPPED as u32)
    };
    ($body:expr ; $ty:ident) => {
        $body
    };
}

macro_rules! define_array {
    ($(
        $(#[$doc:meta])*
        $name:ident(vmctx: vmctx $(, $param:ident: $ty:ident)*) $(-> $($result:ident)+)?;
    )*) => {
        /// The code of all builtins, in the order of [`BuiltinFunctionIndex`].
        #[repr(C)]
        pub struct VMBuiltinArray {
            $(pub(crate) $name: unsafe extern "C" fn(
                NonNull<VMContext> $(, native_type!($ty))*
            ) -> native_result!($($($result)+)?),)*
        }

        /// The builtins of this runtime.
        pub(crate) static BUILTINS: VMBuiltinArray = VMBuiltinArray {
            $($name: entry::$name,)*
        };

        /// The functions that generated code calls.
        mod entry {
            use super::*;

            $(
                /// # Safety
                ///
                /// Called by generated code, with its own context and operands of its module.
                pub(super) unsafe extern "C" fn $name(
                    vmctx: NonNull<VMContext> $(, $param: native_type!($ty))*
                ) -> native_result!($($($result)+)?) {
                    // SAFETY: generated code passes its own context. It runs in a store that its thread
                    // has exclusive use of, and keeps no references.
                    let caller = unsafe { Caller::new(vmctx) };
                    run_body!(super::$name(caller $(, $param)*); $($($result)+)?)
                }
            )*
        }
    };
}

for_each_builtin!(define_array);

// After the macros that it uses.
#[cfg(feature = "pulley")]
mod bytecode;

/// The instance whose code called a builtin.
///
/// As long as it exists, the calling thread has exclusive use of the instance's store, and nobody has
/// references to the store or its instances: they end before generated code runs.
#[derive(Copy, Clone)]
struct Caller(NonNull<Instance>);

impl Caller {
    /// # Safety
    ///
    /// `vmctx` is the context of generated code that called, in a store that the calling thread has
    /// exclusive use of.
    unsafe fn new(vmctx: NonNull<VMContext>) -> Caller {
        // SAFETY: required of the caller.
        Caller(unsafe { Instance::from_vmctx(vmctx) })
    }

    /// The store that the instance belongs to, and its place there.
    ///
    /// # Safety
    ///
    /// The caller uses no other reference to the store or its instances as long as this one.
    unsafe fn store<'a>(self) -> (&'a mut dyn VMStore, InstanceId) {
        let (mut store, id) = self.with(|instance| (instance.store(), instance.id()));
        // SAFETY: see `Caller`; required of the caller.
        (unsafe { store.as_mut() }, id)
    }

    /// Runs `f` with the instance's part of the store's heap.
    fn with_gc<R>(self, f: impl FnOnce(&mut GcStore) -> R) -> R {
        // SAFETY: the reference ends with this function.
        let (store, _) = unsafe { self.store() };
        f(store.core_mut().gc_mut())
    }

    fn with<R>(self, f: impl FnOnce(&mut Instance) -> R) -> R {
        // SAFETY: see `Caller`; the reference ends with this function.
        f(unsafe { &mut *self.0.as_ptr() })
    }

    /// Runs `f` with the store.
    fn with_store<R>(self, f: impl FnOnce(&mut dyn VMStore) -> R) -> R {
        // SAFETY: the reference ends with this function.
        let (store, _) = unsafe { self.store() };
        f(store)
    }
}

fn func_element(func: *mut c_void) -> TableElement {
    TableElement::FuncRef(NonNull::new(func.cast::<VMFuncRef>()))
}

fn gc_element(reference: u32) -> TableElement {
    TableElement::GcRef(VMGcRef::new(reference))
}

fn raise(caller: Caller) -> Landing {
    // SAFETY: this is the only reference.
    let (store, _) = unsafe { caller.store() };
    // SAFETY: see `Caller`. Generated code calls this after another builtin or a host function failed, which
    // recorded why, and nothing here has to be dropped.
    unsafe { Thrower::new(store.core_mut()) }.raise()
}

fn trap(_caller: Caller, code: u32) -> Result<(), TrapReason> {
    let trap = u8::try_from(code).ok().and_then(Trap::from_u8);
    Err(match trap {
        Some(trap) => trap.into(),
        None => TrapReason::Host(anyhow::anyhow!(
            "generated code trapped with the unknown code {code}; compile the module again"
        )),
    })
}

fn memory_grow(caller: Caller, memory: u32, delta: u64) -> Result<Option<u64>, TrapReason> {
    let (import, mut store) = caller.with(|instance| {
        (
            instance.memory_import(MemoryIndex::from_u32(memory)),
            instance.store(),
        )
    });
    // SAFETY: the owner of an imported memory lives as long as the store; see `Caller`. The store is no
    // part of its instances.
    unsafe {
        let owner = Instance::from_vmctx(import.vmctx);
        Ok(Instance::memory_grow(
            owner,
            store.as_mut(),
            import.index,
            delta,
        )?)
    }
}

fn memory_copy(
    caller: Caller,
    dst_memory: u32,
    dst: u64,
    src_memory: u32,
    src: u64,
    len: u64,
) -> Result<(), TrapReason> {
    let (dst_memory, src_memory) = (
        MemoryIndex::from_u32(dst_memory),
        MemoryIndex::from_u32(src_memory),
    );
    // What is yet to be copied must not be overwritten.
    caller.work(&BYTES, len, dst > src, |from, len| {
        let (dst, src) = (at(dst, from), at(src, from));
        Ok(caller.with(|instance| instance.memory_copy(dst_memory, dst, src_memory, src, len))?)
    })
}

fn memory_fill(
    caller: Caller,
    memory: u32,
    dst: u64,
    value: u32,
    len: u64,
) -> Result<(), TrapReason> {
    let memory = MemoryIndex::from_u32(memory);
    caller.work(&BYTES, len, false, |from, len| {
        let dst = at(dst, from);
        Ok(caller.with(|instance| instance.memory_fill(memory, dst, value as u8, len))?)
    })
}

fn memory_move(_caller: Caller, dst: *mut c_void, src: *mut c_void, len: *mut c_void) {
    // SAFETY: generated code has checked that both ranges are in bounds of memories, which nobody else uses as they are not
    // shared.
    unsafe { dst.cast::<u8>().copy_from(src.cast(), len.addr()) };
}

fn memory_set(_caller: Caller, dst: *mut c_void, value: u32, len: *mut c_void) {
    // SAFETY: as for `memory_move`.
    unsafe { dst.cast::<u8>().write_bytes(value as u8, len.addr()) };
}

fn memory_init(
    caller: Caller,
    memory: u32,
    data: u32,
    dst: u64,
    src: u32,
    len: u32,
) -> Result<(), TrapReason> {
    let (memory, data) = (MemoryIndex::from_u32(memory), DataIndex::from_u32(data));
    caller.work(&BYTES, u64::from(len), false, |from, len| {
        // Segments are shorter than 4 GiB.
        let position = |index: u64| u32::try_from(index).map_err(|_| Trap::MemoryOutOfBounds);
        let (dst, src) = (at(dst, from), position(u64::from(src) + from)?);
        let len = position(len)?;
        caller.with(|instance| instance.memory_init(memory, data, dst, src, len))
    })
}

fn data_drop(caller: Caller, data: u32) {
    caller.with(|instance| instance.data_drop(DataIndex::from_u32(data)));
}

fn ref_func(caller: Caller, func: u32) -> *mut c_void {
    let func = caller.with(|instance| instance.func_ref(FuncIndex::from_u32(func)));
    func.map_or(std::ptr::null_mut(), |func| func.as_ptr().cast())
}

fn table_copy(
    caller: Caller,
    dst_table: u32,
    src_table: u32,
    dst: u64,
    src: u64,
    len: u64,
) -> Result<(), TrapReason> {
    let owner = |table| {
        let import = caller.with(|instance| instance.table_import(TableIndex::from_u32(table)));
        // SAFETY: the owner of an imported table lives as long as the store.
        (unsafe { Instance::id_of_vmctx(import.vmctx) }, import.index)
    };
    let (dst_table, src_table) = (owner(dst_table), owner(src_table));
    // What is yet to be copied must not be overwritten.
    caller.work(&ELEMENTS, len, dst > src, |from, len| {
        let (dst, src) = (at(dst, from), at(src, from));
        Ok(caller.with_store(|store| {
            store::table_copy(store.core_mut(), dst_table, dst, src_table, src, len)
        })?)
    })
}

fn table_init(
    caller: Caller,
    table: u32,
    elem: u32,
    dst: u64,
    src: u64,
    len: u64,
) -> Result<(), TrapReason> {
    let (table, elem) = (TableIndex::from_u32(table), ElemIndex::from_u32(elem));
    caller.work(&ELEMENTS, len, false, |from, len| {
        let (dst, src) = (at(dst, from), at(src, from));
        // SAFETY: this is the only reference.
        let (store, instance) = unsafe { caller.store() };
        InstanceEnv { store, instance }.table_init(table, elem, dst, src, len)
    })
}

fn elem_drop(caller: Caller, elem: u32) {
    // SAFETY: this is the only reference.
    let (store, instance) = unsafe { caller.store() };
    InstanceEnv { store, instance }.elem_drop(ElemIndex::from_u32(elem));
}

fn table_grow(
    caller: Caller,
    table: u32,
    delta: u64,
    init: TableElement,
) -> Result<Option<u64>, TrapReason> {
    let import = caller.with(|instance| instance.table_import(TableIndex::from_u32(table)));
    // SAFETY: the owner of an imported table lives as long as the store.
    let owner = unsafe { Instance::id_of_vmctx(import.vmctx) };
    // SAFETY: this is the only reference.
    let (store, _) = unsafe { caller.store() };
    let grown = store::table_grow(store, owner, import.index, delta, init)?;
    if grown.is_some() {
        ELEMENTS.charge(store, delta)?;
    }
    Ok(grown)
}

fn table_grow_func_ref(
    caller: Caller,
    table: u32,
    delta: u64,
    init: *mut c_void,
) -> Result<Option<u64>, TrapReason> {
    table_grow(caller, table, delta, func_element(init))
}

fn table_grow_gc_ref(
    caller: Caller,
    table: u32,
    delta: u64,
    init: u32,
) -> Result<Option<u64>, TrapReason> {
    table_grow(caller, table, delta, gc_element(init))
}

fn table_fill(
    caller: Caller,
    table: u32,
    start: u64,
    value: TableElement,
    len: u64,
) -> Result<(), TrapReason> {
    let import = caller.with(|instance| instance.table_import(TableIndex::from_u32(table)));
    // SAFETY: the owner of an imported table lives as long as the store.
    let owner = unsafe { Instance::id_of_vmctx(import.vmctx) };
    let reference = match value {
        TableElement::GcRef(reference) => reference.map_or(0, VMGcRef::get),
        TableElement::FuncRef(_) => 0,
    };
    caller.work_with(
        [reference],
        &ELEMENTS,
        len,
        false,
        |[reference], from, len| {
            let value = match value {
                TableElement::GcRef(_) => gc_element(reference),
                func => func,
            };
            let start = at(start, from);
            Ok(caller.with_store(|store| {
                let core = store.core_mut();
                core.table_fill(owner, import.index, start, value, len)
            })?)
        },
    )
}

fn table_fill_func_ref(
    caller: Caller,
    table: u32,
    start: u64,
    value: *mut c_void,
    len: u64,
) -> Result<(), TrapReason> {
    table_fill(caller, table, start, func_element(value), len)
}

fn table_fill_gc_ref(
    caller: Caller,
    table: u32,
    start: u64,
    value: u32,
    len: u64,
) -> Result<(), TrapReason> {
    table_fill(caller, table, start, gc_element(value), len)
}

fn table_lazy_init_func_ref(caller: Caller, table: u32, index: u64) {
    let import = caller.with(|instance| instance.table_import(TableIndex::from_u32(table)));
    // SAFETY: the owner of an imported table lives as long as the store.
    let owner = unsafe { Caller::new(import.vmctx) };
    // Generated code checked the bounds, and reads the element that is there afterwards.
    _ = owner.with(|owner| owner.table_get(import.index, index));
}

fn memory_atomic_notify(
    caller: Caller,
    memory: u32,
    address: u64,
    count: u32,
) -> Result<Option<u64>, TrapReason> {
    let memory = MemoryIndex::from_u32(memory);
    let woken = caller.with(|instance| instance.memory_notify(memory, address, count))?;
    Ok(Some(woken.into()))
}

/// The time to wait that WebAssembly gives in nanoseconds: none if negative.
fn timeout(nanoseconds: u64) -> Option<Duration> {
    (nanoseconds.cast_signed() >= 0).then(|| Duration::from_nanos(nanoseconds))
}

fn wait_result(result: WaitResult) -> Result<Option<u64>, TrapReason> {
    Ok(Some(result as u64))
}

fn memory_atomic_wait32(
    caller: Caller,
    memory: u32,
    address: u64,
    expected: u32,
    nanoseconds: u64,
) -> Result<Option<u64>, TrapReason> {
    let memory = MemoryIndex::from_u32(memory);
    let address = caller.with(|instance| instance.address_to_wait_at(memory, address, 4))?;
    // SAFETY: the address was checked, and the instance keeps its memories, as the store does that of
    // others.
    wait_result(unsafe { memory::wait32(address, expected, timeout(nanoseconds)) })
}

fn memory_atomic_wait64(
    caller: Caller,
    memory: u32,
    address: u64,
    expected: u64,
    nanoseconds: u64,
) -> Result<Option<u64>, TrapReason> {
    let memory = MemoryIndex::from_u32(memory);
    let address = caller.with(|instance| instance.address_to_wait_at(memory, address, 8))?;
    // SAFETY: as above.
    wait_result(unsafe { memory::wait64(address, expected, timeout(nanoseconds)) })
}

fn out_of_fuel(caller: Caller, left: u64) -> Result<(), TrapReason> {
    let left = left.cast_signed();
    caller.with_store(|store| {
        let pending = store.core().fuel().saturating_sub(left);
        store.core_mut().charge(pending);
        refuel(store)?;
        store.core_mut().charge(-pending);
        Ok(())
    })
}

fn new_epoch(caller: Caller) -> Result<(), TrapReason> {
    Ok(caller.with_store(|store| store.new_epoch())?)
}

/// Defines builtins that compute a float.
macro_rules! float_builtins {
    ($($name:ident($($param:ident),*): $ty:ident = $result:expr;)*) => {
        $(fn $name(_caller: Caller $(, $param: $ty)*) -> $ty { $result })*
    };
}

float_builtins! {
    ceil_f32(x): f32 = x.ceil();
    ceil_f64(x): f64 = x.ceil();
    floor_f32(x): f32 = x.floor();
    floor_f64(x): f64 = x.floor();
    trunc_f32(x): f32 = x.trunc();
    trunc_f64(x): f64 = x.trunc();
    nearest_f32(x): f32 = x.round_ties_even();
    nearest_f64(x): f64 = x.round_ties_even();
    fma_f32(x, y, z): f32 = x.mul_add(y, z);
    fma_f64(x, y, z): f64 = x.mul_add(y, z);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loaded_module::HOST_PTR;
    use std::mem::offset_of;

    #[test]
    fn array_is_the_contract() {
        assert_eq!(
            size_of::<VMBuiltinArray>(),
            BuiltinFunctionIndex::ALL.len() * size_of::<usize>()
        );
        for (builtin, offset) in [
            (
                BuiltinFunctionIndex::raise,
                offset_of!(VMBuiltinArray, raise),
            ),
            (
                BuiltinFunctionIndex::memory_grow,
                offset_of!(VMBuiltinArray, memory_grow),
            ),
            (
                BuiltinFunctionIndex::array_fill_new,
                offset_of!(VMBuiltinArray, array_fill_new),
            ),
        ] {
            assert_eq!(HOST_PTR.builtin(builtin) as usize, offset, "{builtin:?}");
        }
    }

    #[test]
    fn floats_are_rounded_as_wasm_does() {
        let call = |f: unsafe extern "C" fn(NonNull<VMContext>, f64) -> f64, x: f64| {
            // SAFETY: these builtins do not use their context.
            unsafe { f(NonNull::dangling(), x) }
        };
        assert_eq!(call(BUILTINS.nearest_f64, 2.5), 2.0);
        assert_eq!(call(BUILTINS.nearest_f64, 3.5), 4.0);
        assert!(call(BUILTINS.nearest_f64, -0.5).is_sign_negative());
        assert_eq!(call(BUILTINS.trunc_f64, -1.9), -1.0);
        assert_eq!(call(BUILTINS.ceil_f64, 1.1), 2.0);
        assert_eq!(call(BUILTINS.floor_f64, -1.1), -2.0);
        assert!(call(BUILTINS.nearest_f64, f64::NAN).is_nan());
        // The product is not rounded before the sum.
        let x = 1.0 + f64::EPSILON;
        // SAFETY: this builtin does not use its context.
        let fused = unsafe { (BUILTINS.fma_f64)(NonNull::dangling(), x, x, -1.0) };
        assert_eq!(fused, 2.0 * f64::EPSILON + f64::EPSILON * f64::EPSILON);
    }
}
