//! The functions of the runtime that generated code calls.
//!
//! Each has two halves. The body is written here in plain terms: it gets the instance and fails with a
//! [`TrapReason`]. Around it the table of builtins makes a function of the host's C convention, which
//! finds the instance, records failures and panics with the current activation, and tells generated
//! code by its result that it has to unwind.

use std::ffi::c_void;
use std::ptr::NonNull;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use waxwing_environ::gc::GcSlot;
use waxwing_environ::{
    BuiltinFunctionIndex, DataIndex, ElemIndex, EngineTypeIndex, FuncIndex, MemoryIndex,
    ModuleTypeIndex, TableIndex, TagIndex, Trap, WasmCompositeType, for_each_builtin,
};

use crate::gc::{self, GcStore};
use crate::instance::{Instance, InstanceEnv, InstanceId};
use crate::memory::{self, WaitResult};
use crate::store::{self, VMStore};
use crate::table::TableElement;
use crate::traps::{self, Thrower, TrapReason};
use crate::vmcontext::{VMContext, VMFuncRef, VMGcRef};

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
    ($body:expr ; never) => {
        $body
    };
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
}

fn func_element(func: *mut c_void) -> TableElement {
    TableElement::FuncRef(NonNull::new(func.cast::<VMFuncRef>()))
}

fn gc_element(reference: u32) -> TableElement {
    TableElement::GcRef(VMGcRef::new(reference))
}

fn raise(caller: Caller) -> ! {
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
    Ok(caller.with(|instance| instance.memory_copy(dst_memory, dst, src_memory, src, len))?)
}

fn memory_fill(
    caller: Caller,
    memory: u32,
    dst: u64,
    value: u32,
    len: u64,
) -> Result<(), TrapReason> {
    let memory = MemoryIndex::from_u32(memory);
    Ok(caller.with(|instance| instance.memory_fill(memory, dst, value as u8, len))?)
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
    caller.with(|instance| instance.memory_init(memory, data, dst, src, len))
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
    // SAFETY: this is the only reference.
    let (store, _) = unsafe { caller.store() };
    Ok(store::table_copy(
        store.core_mut(),
        dst_table,
        dst,
        src_table,
        src,
        len,
    )?)
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
    // SAFETY: this is the only reference.
    let (store, instance) = unsafe { caller.store() };
    InstanceEnv { store, instance }.table_init(table, elem, dst, src, len)
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
    Ok(store::table_grow(store, owner, import.index, delta, init)?)
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
    // SAFETY: this is the only reference.
    let (store, _) = unsafe { caller.store() };
    let core = store.core_mut();
    Ok(core.table_fill(owner, import.index, start, value, len)?)
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

fn table_get_lazy_init_func_ref(caller: Caller, table: u32, index: u64) -> *mut c_void {
    let import = caller.with(|instance| instance.table_import(TableIndex::from_u32(table)));
    // SAFETY: the owner of an imported table lives as long as the store.
    let owner = unsafe { Caller::new(import.vmctx) };
    match owner.with(|owner| owner.table_get(import.index, index)) {
        Ok(TableElement::FuncRef(Some(func))) => func.as_ptr().cast(),
        // Null, as generated code checked the bounds and tables of functions hold nothing else.
        _ => std::ptr::null_mut(),
    }
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

/// The new object, or the trap for its lack.
fn allocated(object: Result<Option<VMGcRef>>) -> Result<u32, TrapReason> {
    Ok(object?.ok_or(Trap::AllocationTooLarge)?.get())
}

impl Caller {
    fn engine_type(self, ty: u32) -> EngineTypeIndex {
        self.with(|instance| instance.module().engine_type(ModuleTypeIndex::from_u32(ty)))
    }
}

fn gc_alloc_struct(caller: Caller, ty: u32) -> Result<u32, TrapReason> {
    let ty = caller.engine_type(ty);
    // SAFETY: this is the only reference.
    let (store, _) = unsafe { caller.store() };
    allocated(gc::alloc_known_struct(store, ty))
}

fn gc_alloc_array(caller: Caller, ty: u32, len: u32) -> Result<u32, TrapReason> {
    let ty = caller.engine_type(ty);
    // SAFETY: this is the only reference.
    let (store, _) = unsafe { caller.store() };
    allocated(gc::alloc_known_array(store, ty, len))
}

fn gc_alloc_exn(caller: Caller, tag: u32) -> Result<u32, TrapReason> {
    let import = caller.with(|instance| instance.tag_import(TagIndex::from_u32(tag)));
    // SAFETY: the owner of an imported tag lives as long as the store.
    let owner = unsafe { Instance::id_of_vmctx(import.vmctx) };
    // SAFETY: this is the only reference.
    let (store, _) = unsafe { caller.store() };
    allocated(gc::alloc_exn(store, (owner, import.index)))
}

fn gc_remember(caller: Caller, object: u32) {
    caller.with_gc(|gc| gc.remember(object));
}

fn gc_list(caller: Caller, object: u32) {
    caller.with_gc(|gc| gc.list(object));
}

fn gc_count_extern(caller: Caller, reference: u32, delta: u32) {
    caller.with_gc(|gc| match delta {
        1 => gc.count_up(reference),
        _ => gc.count_down(reference),
    });
}

fn gc_is_subtype(caller: Caller, actual: u32, expected: u32) -> u32 {
    // SAFETY: this is the only reference.
    let (store, _) = unsafe { caller.store() };
    let core = store.core();
    core.gc()
        .is_subtype(core.type_registry(), actual, expected)
        .into()
}

fn gc_intern_func_ref(caller: Caller, func: *mut c_void) -> Result<u32, TrapReason> {
    let func = NonNull::new(func.cast::<VMFuncRef>());
    let func = func.ok_or(Trap::NullReference)?;
    // SAFETY: generated code passes functions of its own store.
    Ok(caller.with_gc(|gc| unsafe { gc.intern_func(func) })?)
}

fn array_new_data(
    caller: Caller,
    ty: u32,
    data: u32,
    src: u32,
    len: u32,
) -> Result<u32, TrapReason> {
    let module = caller.with(|instance| Arc::clone(instance.module()));
    let data = DataIndex::from_u32(data);
    let segment = caller.with(|instance| instance.data_segment(&module, data))?;
    let element = match module.types().types[ModuleTypeIndex::from_u32(ty)].composite {
        WasmCompositeType::Array(element) => element.element_type,
        _ => return Err(Trap::AllocationTooLarge.into()),
    };
    // Bounds come before the lack of memory.
    gc::segment_bytes(segment, GcSlot::of_storage(element), src, len)?;
    let array = gc_alloc_array(caller, ty, len)?;
    caller.with_gc(|gc| gc.array_init_data(VMGcRef::new(array), segment, 0, src, len))?;
    Ok(array)
}

fn array_new_elem(
    caller: Caller,
    ty: u32,
    elem: u32,
    src: u32,
    len: u32,
) -> Result<u32, TrapReason> {
    let elem = ElemIndex::from_u32(elem);
    {
        // SAFETY: this is the only reference.
        let (store, instance) = unsafe { caller.store() };
        InstanceEnv { store, instance }.segment_words(elem, src, len)?;
    }
    let array = gc_alloc_array(caller, ty, len)?;
    // Only now, as references may have changed.
    // SAFETY: this is the only reference.
    let (store, instance) = unsafe { caller.store() };
    let words = InstanceEnv { store, instance }.segment_words(elem, src, len)?;
    caller.with_gc(|gc| gc.array_init_elem(VMGcRef::new(array), &words, 0, 0, len))?;
    Ok(array)
}

fn array_init_data(
    caller: Caller,
    array: u32,
    data: u32,
    dst: u32,
    src: u32,
    len: u32,
) -> Result<(), TrapReason> {
    let module = caller.with(|instance| Arc::clone(instance.module()));
    let data = DataIndex::from_u32(data);
    let segment = caller.with(|instance| instance.data_segment(&module, data))?;
    let array = VMGcRef::new(array);
    Ok(caller.with_gc(|gc| gc.array_init_data(array, segment, dst, src, len))?)
}

fn array_init_elem(
    caller: Caller,
    array: u32,
    elem: u32,
    dst: u32,
    src: u32,
    len: u32,
) -> Result<(), TrapReason> {
    let array = VMGcRef::new(array);
    caller.with_gc(|gc| gc.check_elements(array, dst, len))?;
    let elem = ElemIndex::from_u32(elem);
    // SAFETY: this is the only reference.
    let (store, instance) = unsafe { caller.store() };
    let words = InstanceEnv { store, instance }.segment_words(elem, src, len)?;
    Ok(caller.with_gc(|gc| gc.array_init_elem(array, &words, dst, 0, len))?)
}

fn array_copy(
    caller: Caller,
    dst_array: u32,
    dst: u32,
    src_array: u32,
    src: u32,
    len: u32,
) -> Result<(), TrapReason> {
    let (dst_array, src_array) = (VMGcRef::new(dst_array), VMGcRef::new(src_array));
    Ok(caller.with_gc(|gc| gc.array_copy(dst_array, dst, src_array, src, len))?)
}

fn array_fill(
    caller: Caller,
    array: u32,
    dst: u32,
    low: u64,
    high: u64,
    len: u32,
) -> Result<(), TrapReason> {
    let value = u128::from(high) << 64 | u128::from(low);
    Ok(caller.with_gc(|gc| gc.array_fill(VMGcRef::new(array), dst, value, len))?)
}

fn throw_ref(caller: Caller, exception: u32) -> ! {
    // SAFETY: this is the only reference.
    let (store, _) = unsafe { caller.store() };
    let exception = VMGcRef::new(exception).expect("generated code checks for null");
    // SAFETY: see `Caller`. Nothing here has to be dropped.
    unsafe { Thrower::new(store.core_mut()) }.throw(exception)
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
                BuiltinFunctionIndex::fma_f64,
                offset_of!(VMBuiltinArray, fma_f64),
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
