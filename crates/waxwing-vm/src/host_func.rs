//! Functions that the host defines.

use std::any::Any;
use std::ptr::NonNull;

use waxwing_environ::VMHOSTFUNC_MAGIC;

use crate::type_registry::RegisteredType;
use crate::vmcontext::{VMArrayCall, VMFuncRef, VMOpaqueContext};

/// The callee context of a function that the host defines, as generated code knows it.
#[repr(C)]
pub struct VMHostFuncContext {
    magic: u32,
    func_ref: VMFuncRef,
    host_state: Box<dyn Any + Send + Sync>,
}

impl VMHostFuncContext {
    /// The host's own state of the function.
    #[inline]
    pub fn host_state(&self) -> &(dyn Any + Send + Sync) {
        &*self.host_state
    }

    /// The context of the host function that `callee` refers to. How an array call of a host function
    /// finds its state.
    ///
    /// # Safety
    ///
    /// `callee` refers to a host function that stays alive for `'a`.
    #[inline]
    pub unsafe fn of_callee<'a>(callee: NonNull<VMFuncRef>) -> &'a VMHostFuncContext {
        // SAFETY: the caller guarantees that this is a live host function, whose context is never
        // changed after its creation but for `func_ref.wasm_call`, which is not accessed through here.
        unsafe {
            let context = (*callee.as_ptr()).vmctx.cast::<VMHostFuncContext>();
            debug_assert_eq!((*context.as_ptr()).magic, VMHOSTFUNC_MAGIC);
            context.as_ref()
        }
    }
}

/// A function of the host: owns its [`VMHostFuncContext`] and keeps its type registered.
pub struct HostFunc {
    context: NonNull<VMHostFuncContext>,
    ty: RegisteredType,
}

// SAFETY: the context is owned, its state is `Send` and `Sync`, and it is not changed while shared.
unsafe impl Send for HostFunc {}
// SAFETY: as above.
unsafe impl Sync for HostFunc {}

impl HostFunc {
    /// A function of type `ty` whose calls are done by `array_call`, which finds `host_state` with
    /// [`VMHostFuncContext::of_callee`].
    pub fn new(
        ty: RegisteredType,
        array_call: VMArrayCall,
        host_state: Box<dyn Any + Send + Sync>,
    ) -> HostFunc {
        let context = Box::into_raw(Box::new(VMHostFuncContext {
            magic: VMHOSTFUNC_MAGIC,
            func_ref: VMFuncRef {
                array_call,
                wasm_call: None,
                vmctx: NonNull::dangling(),
                type_index: ty.index(),
                gc_id: 0,
            },
            host_state,
        }));
        let context = NonNull::new(context).expect("boxes are not null");
        // SAFETY: the context was just allocated, and nobody else knows it.
        unsafe { (*context.as_ptr()).func_ref.vmctx = context.cast::<VMOpaqueContext>() };
        HostFunc { context, ty }
    }

    /// The function's type.
    pub fn ty(&self) -> &RegisteredType {
        &self.ty
    }

    /// The function's state.
    pub fn host_state(&self) -> &(dyn Any + Send + Sync) {
        // SAFETY: the context lives as long as `self`, and the state is not changed.
        unsafe { (*self.context.as_ptr()).host_state() }
    }

    /// The reference to the function, valid as long as `self`. It has no entry for WebAssembly, which
    /// is a matter of each store.
    pub fn func_ref(&self) -> NonNull<VMFuncRef> {
        // SAFETY: the context lives as long as `self`; no reference is made.
        unsafe { NonNull::new_unchecked(&raw mut (*self.context.as_ptr()).func_ref) }
    }
}

impl Drop for HostFunc {
    fn drop(&mut self) {
        // SAFETY: the context came from a box and is owned by `self`; who uses the function keeps
        // `self` alive.
        drop(unsafe { Box::from_raw(self.context.as_ptr()) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::type_registry::TypeRegistry;
    use crate::val_raw::ValRaw;
    use crate::vmcontext::VMContext;
    use std::mem::offset_of;
    use std::sync::Arc;
    use waxwing_environ::{HostFuncContextOffsets, PtrSize, WasmFuncType, WasmSubType};

    unsafe extern "C" fn add_state(
        callee: NonNull<VMFuncRef>,
        _caller: Option<NonNull<VMContext>>,
        values: NonNull<ValRaw>,
        _len: usize,
    ) -> bool {
        // SAFETY: the test passes its own host function and one value.
        unsafe {
            let state = VMHostFuncContext::of_callee(callee).host_state();
            let state = state.downcast_ref::<i32>().copied().unwrap_or_default();
            let values = values.as_ptr();
            *values = ValRaw::i32((*values).get_i32() + state);
        }
        true
    }

    #[test]
    fn layout_is_the_contract() {
        let ptr = PtrSize(size_of::<usize>() as u8);
        assert_eq!(
            ptr.host_func_context_func_ref() as usize,
            offset_of!(VMHostFuncContext, func_ref)
        );
        assert_eq!(offset_of!(VMHostFuncContext, magic), 0);
    }

    #[test]
    fn calls_find_their_state_also_through_copies() {
        let registry = Arc::new(TypeRegistry::new());
        let ty = registry.register(WasmSubType::func(WasmFuncType::new([], [])));
        let func = HostFunc::new(ty, add_state, Box::new(40i32));
        // SAFETY: the function is alive.
        let mut copy = unsafe { func.func_ref().read() };
        for func_ref in [func.func_ref(), NonNull::from(&mut copy)] {
            let mut values = [ValRaw::i32(2)];
            // SAFETY: the function is alive, and takes one value.
            let ok = unsafe {
                let call = (*func_ref.as_ptr()).array_call;
                call(func_ref, None, NonNull::from(&mut values).cast(), 1)
            };
            assert!(ok);
            assert_eq!(values[0].get_i32(), 42);
        }
    }
}
