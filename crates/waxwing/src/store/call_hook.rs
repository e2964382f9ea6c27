//! Being told of each transition between the host and WebAssembly.

#[cfg(feature = "async")]
use std::pin::Pin;
use std::ptr::NonNull;

use anyhow::Result;
use waxwing_vm::{VMFuncRef, ValRaw};

use super::{Store, StoreInner};
use crate::{CallHook, StoreContextMut, Val};

/// The values of a call, at the time of a transition.
#[derive(Clone, Copy)]
pub(crate) struct CallValues {
    callee: NonNull<VMFuncRef>,
    values: NonNull<ValRaw>,
}

impl CallValues {
    /// Those in the array of a call of `callee`: the parameters when the transition is a call, the
    /// results when it is a return.
    #[inline]
    pub(crate) fn new(callee: NonNull<VMFuncRef>, values: NonNull<ValRaw>) -> CallValues {
        CallValues { callee, values }
    }
}

impl<T> StoreInner<T> {
    /// Tells the hook, if there is one, of a transition. `values` is `None` if the call failed.
    ///
    /// # Safety
    ///
    /// The callee is a function of the store. Where the transition is a call its parameters are in the array, where it is a
    /// return its results are.
    #[inline(always)]
    pub(crate) unsafe fn call_hook(
        &mut self,
        transition: CallHook,
        values: Option<CallValues>,
    ) -> Result<()> {
        match self.hook {
            None => Ok(()),
            // SAFETY: required of the caller.
            Some(_) => unsafe { self.call_hook_slow(transition, values) },
        }
    }
}

type SyncHook<T> = Box<dyn FnMut(StoreContextMut<'_, T>, CallHook) -> Result<()> + Send + Sync>;

/// The hook of a store.
pub(super) enum Hook<T> {
    Sync(SyncHook<T>),
    #[cfg(feature = "async")]
    Async(Box<dyn CallHookHandler<T> + Send + Sync>),
}

/// A hook that may wait: given to [`Store::call_hook_async`].
///
/// Implementations are easiest to write with the attribute of the crate `async-trait`:
///
/// ```
/// # use waxwing::*;
/// struct Count;
///
/// #[async_trait::async_trait]
/// impl CallHookHandler<usize> for Count {
///     async fn handle_call_event(
///         &self,
///         mut store: StoreContextMut<'_, usize>,
///         transition: CallHook,
///     ) -> Result<()> {
///         *store.data_mut() += usize::from(transition == CallHook::CallingHost);
///         Ok(())
///     }
/// }
/// ```
#[cfg(feature = "async")]
pub trait CallHookHandler<T>: Send {
    /// Called at each transition between the host and WebAssembly, which does not take place before the future is
    /// ready.
    ///
    /// # Errors
    ///
    /// An error takes the place of what the hook was told of; see [`Store::call_hook`].
    fn handle_call_event<'life0, 'life1, 'async_trait>(
        &'life0 self,
        store: StoreContextMut<'life1, T>,
        transition: CallHook,
    ) -> Pin<Box<dyn Future<Output = Result<()>> + Send + 'async_trait>>
    where
        'life0: 'async_trait,
        'life1: 'async_trait,
        Self: 'async_trait;
}

impl<T> Store<T> {
    /// Installs a hook that is called at each transition between the host and WebAssembly, in place
    /// of any installed before: to measure the time that each takes, for example, or to limit it.
    ///
    /// Calls come in pairs: to [`CallHook::CallingWasm`] belongs a [`CallHook::ReturningFromWasm`],
    /// also if the function trapped, and to [`CallHook::CallingHost`] a
    /// [`CallHook::ReturningFromHost`], also if the host function failed; but not if it panicked.
    /// When the host calls a host function, both pairs are called, one within the other. Running the
    /// start function of a module is a call of WebAssembly.
    ///
    /// An error of the hook takes the place of what it was told of: for [`CallHook::CallingWasm`] and
    /// [`CallHook::ReturningFromWasm`] the call of the host fails with it, for the others the
    /// execution of WebAssembly ends with it, as with an error of the host function. A call that the
    /// hook did not allow does not take place, and the hook is not told of a return from it.
    ///
    /// The hook has access to the store, and is not called for what it does there itself.
    ///
    /// ```
    /// # use waxwing::*;
    /// # fn main() -> Result<()> {
    /// let engine = Engine::default();
    /// let mut store = Store::new(&engine, Vec::new());
    /// store.call_hook(|mut store, transition| {
    ///     store.data_mut().push(transition);
    ///     Ok(())
    /// });
    /// let module = Module::new(&engine, r#"(module (func (export "f")))"#)?;
    /// let instance = Instance::new(&mut store, &module, &[])?;
    /// instance.get_typed_func::<(), ()>(&mut store, "f")?.call(&mut store, ())?;
    /// assert_eq!(store.data()[..], [CallHook::CallingWasm, CallHook::ReturningFromWasm]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn call_hook(
        &mut self,
        hook: impl FnMut(StoreContextMut<'_, T>, CallHook) -> Result<()> + Send + Sync + 'static,
    ) {
        self.inner_mut().hook = Some(Hook::Sync(Box::new(hook)));
    }

    /// Installs a hook as [`call_hook`](Self::call_hook) does, one that may wait.
    ///
    /// If the future of a call is dropped while it waits, the hook is not called for the returns that are due.
    ///
    /// # Panics
    ///
    /// Panics unless the store's engine has [`Config::async_support`](crate::Config::async_support).
    #[cfg(feature = "async")]
    pub fn call_hook_async(&mut self, hook: impl CallHookHandler<T> + Sync + 'static) {
        self.inner_mut().assert_async("call_hook_async");
        self.inner_mut().hook = Some(Hook::Async(Box::new(hook)));
    }
}

impl<T> StoreInner<T> {
    /// # Safety
    ///
    /// As for [`Self::call_hook`].
    #[cold]
    unsafe fn call_hook_slow(
        &mut self,
        transition: CallHook,
        values: Option<CallValues>,
    ) -> Result<()> {
        let Some(mut hook) = self.hook.take() else {
            return Ok(());
        };
        let scope = self.roots().enter_scope();
        // SAFETY: required of the caller.
        let references = values.map(|values| unsafe { self.take_references(transition, values) });
        let result = match &mut hook {
            Hook::Sync(hook) => hook(StoreContextMut(self), transition),
            #[cfg(feature = "async")]
            Hook::Async(hook) => {
                let context = self.core.vm_store_context();
                let mut future = hook.handle_call_event(StoreContextMut(self), transition);
                // SAFETY: called by what may use the store, on the fiber where it does so. The future is
                // `Send`, and what is below is the runtime's and this crate's.
                unsafe { waxwing_vm::block_on(context, future.as_mut()) }.flatten()
            }
        };
        self.hook = Some(hook);
        for (place, reference) in references.into_iter().flatten() {
            let raw = reference.to_raw_in(self)?;
            // SAFETY: the place is that of this reference, see `take_references`.
            unsafe { place.write(raw) };
        }
        self.roots_mut().leave_scope(scope);
        result
    }

    /// The references among the values of a call, rooted, with their places.
    ///
    /// # Safety
    ///
    /// As for [`Self::call_hook`].
    unsafe fn take_references(
        &mut self,
        transition: CallHook,
        values: CallValues,
    ) -> Vec<(NonNull<ValRaw>, Val)> {
        let CallValues { callee, values } = values;
        // SAFETY: the callee is alive, as its store is.
        let type_index = unsafe { callee.read() }.type_index;
        let ty = self.take_func_type(type_index);
        let types: Vec<_> = match transition {
            CallHook::CallingWasm | CallHook::CallingHost => ty.params().collect(),
            CallHook::ReturningFromWasm | CallHook::ReturningFromHost => ty.results().collect(),
        };
        self.return_func_type(ty);
        let references = types.iter().enumerate().filter(|(_, ty)| ty.is_ref());
        references
            .map(|(index, ty)| {
                // SAFETY: the array holds values of these types, which are the store's.
                unsafe {
                    let place = values.add(index);
                    (place, Val::from_raw_in(self, place.read(), ty))
                }
            })
            .collect()
    }
}
