//! The records that generated code reads and writes, at the offsets of [`waxwing_environ`].

use std::marker::{PhantomData, PhantomPinned};
use std::ptr::NonNull;
use std::sync::atomic::AtomicUsize;

use waxwing_environ::{
    DefinedGlobalIndex, DefinedMemoryIndex, DefinedTableIndex, DefinedTagIndex, EngineTypeIndex,
    VMCONTEXT_MAGIC, VMHOSTFUNC_MAGIC, WasmHeapTop, WasmValType,
};

use crate::builtins::VMBuiltinArray;
use crate::store_context::VMStoreContext;
use crate::val_raw::ValRaw;

/// A GC reference that is not null. What its bits mean is the business of the store that it belongs to.
pub type VMGcRef = std::num::NonZeroU32;

/// Machine code of a WebAssembly function in the convention of WebAssembly functions. Never called by
/// the host.
#[repr(C)]
pub struct VMWasmCode {
    _code: [u8; 0],
    _pinned: PhantomData<PhantomPinned>,
}

/// The callee context of a function: a [`VMContext`] of a WebAssembly function, a
/// [`VMHostFuncContext`](crate::VMHostFuncContext) of one of the host. Both begin with a word that
/// tells which it is.
#[repr(C)]
pub struct VMOpaqueContext {
    magic: u32,
    _pinned: PhantomData<PhantomPinned>,
}

impl VMOpaqueContext {
    /// The context as that of an instance, if it is one.
    ///
    /// # Safety
    ///
    /// `context` is the context of a live function.
    pub unsafe fn as_instance(context: NonNull<Self>) -> Option<NonNull<VMContext>> {
        // SAFETY: the caller guarantees that the context is live; all contexts begin with the magic.
        let magic = unsafe { (*context.as_ptr()).magic };
        (magic == VMCONTEXT_MAGIC).then(|| context.cast())
    }

    /// The context as that of a host function, if it is one.
    ///
    /// # Safety
    ///
    /// As for [`Self::as_instance`].
    pub unsafe fn as_host_func(
        context: NonNull<Self>,
    ) -> Option<NonNull<crate::host_func::VMHostFuncContext>> {
        // SAFETY: the caller guarantees that the context is live; all contexts begin with the magic.
        let magic = unsafe { (*context.as_ptr()).magic };
        (magic == VMHOSTFUNC_MAGIC).then(|| context.cast())
    }
}

/// The part of an instance that generated code knows.
///
/// What is declared here is the part that is the same for all modules; the rest follows as
/// [`VMOffsets`](waxwing_environ::VMOffsets) says. It is only used through raw pointers, as generated
/// code changes it.
#[repr(C, align(16))]
pub struct VMContext {
    /// [`VMCONTEXT_MAGIC`]
    pub(crate) magic: u32,
    /// The store's record.
    pub(crate) store_context: NonNull<VMStoreContext>,
    /// The builtin functions.
    pub(crate) builtins: &'static VMBuiltinArray,
    /// The module's types in the engine's numbering.
    pub(crate) type_ids: *const EngineTypeIndex,
    _pinned: PhantomData<PhantomPinned>,
}

impl VMContext {
    pub(crate) fn new(
        store_context: NonNull<VMStoreContext>,
        builtins: &'static VMBuiltinArray,
        type_ids: *const EngineTypeIndex,
    ) -> VMContext {
        VMContext {
            magic: VMCONTEXT_MAGIC,
            store_context,
            builtins,
            type_ids,
            _pinned: PhantomData,
        }
    }

    /// The context as that of any function.
    #[inline]
    pub fn opaque(context: NonNull<VMContext>) -> NonNull<VMOpaqueContext> {
        context.cast()
    }
}

/// A function in the array calling convention: parameters are read from `values`, results are written
/// there, `len` is at least the greater of their numbers. `caller` is the instance that calls, if
/// WebAssembly calls.
///
/// `false` means that a trap, an error or a panic was recorded with the current activation.
pub type VMArrayCall = unsafe extern "C" fn(
    callee: NonNull<VMFuncRef>,
    caller: Option<NonNull<VMContext>>,
    values: NonNull<ValRaw>,
    len: usize,
) -> bool;

/// A function that can be called: what a `funcref` points to.
#[derive(Copy, Clone, Debug)]
#[repr(C)]
pub struct VMFuncRef {
    /// How the host calls it.
    pub array_call: VMArrayCall,
    /// How WebAssembly calls it. Empty for a function of the host while no module of the store has a
    /// trampoline for its type; then no WebAssembly code of the store can know the type either.
    pub wasm_call: Option<NonNull<VMWasmCode>>,
    /// The callee's context.
    pub vmctx: NonNull<VMOpaqueContext>,
    /// The function's type.
    pub type_index: EngineTypeIndex,
    /// What stands for the function in the store's GC heap, zero if nothing does yet.
    pub gc_id: u32,
}

// SAFETY: a record of addresses. Using them is `unsafe`, and bound to exclusive use of the store.
unsafe impl Send for VMFuncRef {}
// SAFETY: as above.
unsafe impl Sync for VMFuncRef {}

/// An imported function.
#[derive(Copy, Clone, Debug)]
#[repr(C)]
pub struct VMFunctionImport {
    /// How WebAssembly calls it.
    pub wasm_call: NonNull<VMWasmCode>,
    /// The callee's context.
    pub vmctx: NonNull<VMOpaqueContext>,
    /// The reference to the function.
    pub func_ref: NonNull<VMFuncRef>,
}

/// The state of a table.
#[derive(Copy, Clone, Debug)]
#[repr(C)]
pub struct VMTableDefinition {
    /// The elements.
    pub base: *mut u8,
    /// How many there are.
    pub current_elements: usize,
}

/// The state of a linear memory.
#[derive(Debug)]
#[repr(C)]
pub struct VMMemoryDefinition {
    /// The first byte.
    pub base: NonNull<u8>,
    /// The size in bytes.
    pub current_length: AtomicUsize,
}

/// A global: 16 bytes that hold a value of the global's type at their start, in the host's byte order.
#[derive(Copy, Clone, Debug)]
#[repr(C, align(16))]
pub struct VMGlobalDefinition {
    storage: [u8; 16],
}

/// The identity of an exception tag.
#[derive(Copy, Clone, Debug)]
#[repr(C)]
pub struct VMTagDefinition {
    /// The function type whose parameters are the payload.
    pub type_index: EngineTypeIndex,
    /// What stands for the tag in the store's GC heap: its place in the store's list of tags.
    pub id: u32,
}

macro_rules! import_records {
    ($($(#[$doc:meta])* $name:ident($definition:ident, $index:ident);)*) => {$(
        $(#[$doc])*
        #[derive(Copy, Clone, Debug)]
        #[repr(C)]
        pub struct $name {
            /// The definition.
            pub from: NonNull<$definition>,
            /// The instance that owns it.
            pub vmctx: NonNull<VMContext>,
            /// Its index among the definitions of that instance.
            pub index: $index,
        }

        // SAFETY: a record of addresses. Using them is `unsafe`, and bound to exclusive use of the
        // store.
        unsafe impl Send for $name {}
        // SAFETY: as above.
        unsafe impl Sync for $name {}
    )*};
}

import_records! {
    /// An imported table.
    VMTableImport(VMTableDefinition, DefinedTableIndex);
    /// An imported linear memory.
    VMMemoryImport(VMMemoryDefinition, DefinedMemoryIndex);
    /// An imported global.
    VMGlobalImport(VMGlobalDefinition, DefinedGlobalIndex);
    /// An imported exception tag.
    VMTagImport(VMTagDefinition, DefinedTagIndex);
}

// SAFETY: a record of addresses. Using them is `unsafe`, and bound to exclusive use of the store.
unsafe impl Send for VMFunctionImport {}
// SAFETY: as above.
unsafe impl Sync for VMFunctionImport {}

impl VMGlobalDefinition {
    /// A global that holds `value`, which is of type `ty`.
    pub fn new(ty: WasmValType, value: ValRaw) -> VMGlobalDefinition {
        let mut storage = [0; 16];
        match ty {
            WasmValType::I32 => storage[..4].copy_from_slice(&value.get_i32().to_ne_bytes()),
            WasmValType::I64 => storage[..8].copy_from_slice(&value.get_i64().to_ne_bytes()),
            WasmValType::F32 => storage[..4].copy_from_slice(&value.get_f32().to_ne_bytes()),
            WasmValType::F64 => storage[..8].copy_from_slice(&value.get_f64().to_ne_bytes()),
            WasmValType::V128 => storage = value.get_v128().to_le_bytes(),
            WasmValType::Ref(ty) => match ty.heap_type.top() {
                WasmHeapTop::Func => {
                    let address = value.get_funcref().expose_provenance();
                    storage[..size_of::<usize>()].copy_from_slice(&address.to_ne_bytes());
                }
                WasmHeapTop::Extern | WasmHeapTop::Any | WasmHeapTop::Exn => {
                    storage[..4].copy_from_slice(&value.get_anyref().to_ne_bytes());
                }
            },
        }
        VMGlobalDefinition { storage }
    }

    /// The value of a global of type `ty`.
    pub fn value(&self, ty: WasmValType) -> ValRaw {
        let low_half = || u32::from_ne_bytes(*self.storage.first_chunk().expect("16 bytes"));
        let low = || u64::from_ne_bytes(*self.storage.first_chunk().expect("16 bytes"));
        match ty {
            WasmValType::I32 => ValRaw::u32(low_half()),
            WasmValType::I64 => ValRaw::u64(low()),
            WasmValType::F32 => ValRaw::f32(low_half()),
            WasmValType::F64 => ValRaw::f64(low()),
            WasmValType::V128 => ValRaw::v128(u128::from_le_bytes(self.storage)),
            WasmValType::Ref(ty) => match ty.heap_type.top() {
                WasmHeapTop::Func => {
                    let address = *self.storage.first_chunk().expect("16 bytes");
                    let address = usize::from_ne_bytes(address);
                    ValRaw::funcref(std::ptr::with_exposed_provenance_mut(address))
                }
                WasmHeapTop::Extern | WasmHeapTop::Any | WasmHeapTop::Exn => {
                    ValRaw::anyref(low_half())
                }
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::offset_of;
    use waxwing_environ::{PtrSize, WasmRefType};

    const PTR: PtrSize = PtrSize(size_of::<usize>() as u8);

    #[track_caller]
    fn agree(contract: u32, actual: usize) {
        assert_eq!(contract as usize, actual);
    }

    #[test]
    fn contexts_are_the_contract() {
        agree(
            PTR.vmctx_store_context(),
            offset_of!(VMContext, store_context),
        );
        agree(PTR.vmctx_builtins(), offset_of!(VMContext, builtins));
        agree(PTR.vmctx_type_ids(), offset_of!(VMContext, type_ids));
        agree(PTR.vmctx_fixed_size(), size_of::<VMContext>());
        assert_eq!(
            offset_of!(VMContext, magic),
            offset_of!(VMOpaqueContext, magic)
        );
        assert_eq!(align_of::<VMContext>(), 16);
    }

    #[test]
    fn functions_are_the_contract() {
        agree(PTR.func_ref_array_call(), offset_of!(VMFuncRef, array_call));
        agree(PTR.func_ref_wasm_call(), offset_of!(VMFuncRef, wasm_call));
        agree(PTR.func_ref_vmctx(), offset_of!(VMFuncRef, vmctx));
        agree(PTR.func_ref_type_index(), offset_of!(VMFuncRef, type_index));
        agree(PTR.size_of_func_ref(), size_of::<VMFuncRef>());
        agree(
            PTR.function_import_wasm_call(),
            offset_of!(VMFunctionImport, wasm_call),
        );
        agree(
            PTR.function_import_vmctx(),
            offset_of!(VMFunctionImport, vmctx),
        );
        agree(
            PTR.function_import_func_ref(),
            offset_of!(VMFunctionImport, func_ref),
        );
        agree(PTR.size_of_function_import(), size_of::<VMFunctionImport>());
    }

    #[test]
    fn definitions_are_the_contract() {
        agree(
            PTR.table_definition_base(),
            offset_of!(VMTableDefinition, base),
        );
        agree(
            PTR.table_definition_current_elements(),
            offset_of!(VMTableDefinition, current_elements),
        );
        agree(
            PTR.size_of_table_definition(),
            size_of::<VMTableDefinition>(),
        );
        agree(
            PTR.memory_definition_base(),
            offset_of!(VMMemoryDefinition, base),
        );
        agree(
            PTR.memory_definition_current_length(),
            offset_of!(VMMemoryDefinition, current_length),
        );
        agree(
            PTR.size_of_memory_definition(),
            size_of::<VMMemoryDefinition>(),
        );
        agree(
            PTR.size_of_global_definition(),
            size_of::<VMGlobalDefinition>(),
        );
        assert_eq!(align_of::<VMGlobalDefinition>(), 16);
        agree(PTR.size_of_tag_definition(), size_of::<VMTagDefinition>());
    }

    #[test]
    fn imports_are_the_contract() {
        macro_rules! check {
            ($record:ident, $from:ident, $vmctx:ident, $index:ident, $size:ident) => {
                agree(PTR.$from(), offset_of!($record, from));
                agree(PTR.$vmctx(), offset_of!($record, vmctx));
                agree(PTR.$index(), offset_of!($record, index));
                agree(PTR.$size(), size_of::<$record>());
            };
        }
        check!(
            VMTableImport,
            table_import_from,
            table_import_vmctx,
            table_import_index,
            size_of_table_import
        );
        check!(
            VMMemoryImport,
            memory_import_from,
            memory_import_vmctx,
            memory_import_index,
            size_of_memory_import
        );
        check!(
            VMGlobalImport,
            global_import_from,
            global_import_vmctx,
            global_import_index,
            size_of_global_import
        );
        check!(
            VMTagImport,
            tag_import_from,
            tag_import_vmctx,
            tag_import_index,
            size_of_tag_import
        );
    }

    #[test]
    fn globals_hold_every_type() {
        let round = |ty, value| VMGlobalDefinition::new(ty, value).value(ty);
        assert_eq!(round(WasmValType::I32, ValRaw::i32(-5)).get_i32(), -5);
        assert_eq!(
            round(WasmValType::I64, ValRaw::i64(i64::MIN)).get_i64(),
            i64::MIN
        );
        assert_eq!(round(WasmValType::F32, ValRaw::f32(9)).get_f32(), 9);
        assert_eq!(round(WasmValType::F64, ValRaw::f64(9)).get_f64(), 9);
        let vector = u128::MAX - 5;
        assert_eq!(
            round(WasmValType::V128, ValRaw::v128(vector)).get_v128(),
            vector
        );
        let reference = WasmValType::Ref(WasmRefType::EXTERNREF);
        assert_eq!(round(reference, ValRaw::externref(3)).get_externref(), 3);
        let mut target = 0u64;
        let pointer: *mut std::ffi::c_void = (&raw mut target).cast();
        let reference = WasmValType::Ref(WasmRefType::FUNCREF);
        assert_eq!(
            round(reference, ValRaw::funcref(pointer)).get_funcref(),
            pointer
        );
    }
}
