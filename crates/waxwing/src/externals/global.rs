//! [`Global`].

use anyhow::{Context, Result, bail};
use waxwing_environ::DefinedGlobalIndex;
use waxwing_vm::{InstanceId, StoreId, VMGlobalImport};

use super::handle;
use crate::store::StoreOpaque;
use crate::{AsContext, AsContextMut, GlobalType, Val, ValType};

/// A global variable, of WebAssembly or of the host.
///
/// ```
/// # use waxwing::*;
/// # fn main() -> Result<()> {
/// let engine = Engine::default();
/// let mut store = Store::new(&engine, ());
/// let ty = GlobalType::new(ValType::I64, Mutability::Var);
/// let counter = Global::new(&mut store, ty, Val::I64(1))?;
/// let module = Module::new(
///     &engine,
///     r#"(module
///         (import "" "counter" (global $counter (mut i64)))
///         (func (export "add") (param i64)
///             (global.set $counter (i64.add (global.get $counter) (local.get 0)))))"#,
/// )?;
/// let instance = Instance::new(&mut store, &module, &[counter.into()])?;
/// let add = instance.get_typed_func::<i64, ()>(&mut store, "add")?;
/// add.call(&mut store, 41)?;
/// assert_eq!(counter.get(&mut store).unwrap_i64(), 42);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct Global {
    store: StoreId,
    instance: InstanceId,
    index: DefinedGlobalIndex,
}

handle!(Global, DefinedGlobalIndex);

impl Global {
    /// A new global of the type `ty` that holds `val`.
    ///
    /// # Errors
    ///
    /// Fails if `val` is not of the type that `ty` says, or belongs to another store.
    ///
    /// # Panics
    ///
    /// Panics if `ty` belongs to another engine.
    pub fn new(mut store: impl AsContextMut, ty: GlobalType, val: Val) -> Result<Global> {
        let store = store.as_context_mut().0;
        val.ensure_matches(store, ty.content())
            .context("type mismatch: initial value of a global")?;
        let raw = val.to_raw_in(store)?;
        // SAFETY: the value is of the global's type and of this store.
        let (instance, index) =
            unsafe { waxwing_vm::create_host_global(store, &ty.as_wasm(), raw)? };
        Ok(Global::new_handle(store.id(), instance, index))
    }

    pub(crate) fn vm_type(&self, store: &StoreOpaque) -> waxwing_environ::Global {
        self.owner(store).defined_global_type(self.index)
    }

    pub(crate) fn vm_import(&self, store: &StoreOpaque) -> VMGlobalImport {
        self.owner(store).defined_global(self.index)
    }

    /// The type of the global.
    ///
    /// # Panics
    ///
    /// Panics if the global belongs to another store.
    pub fn ty(&self, store: impl AsContext) -> GlobalType {
        let store = store.as_context().0;
        GlobalType::from_wasm(store.engine(), &self.vm_type(store))
    }

    /// The value of the global. A reference is rooted in the store's current scope.
    ///
    /// # Panics
    ///
    /// Panics if the global belongs to another store.
    pub fn get(&self, mut store: impl AsContextMut) -> Val {
        let store = store.as_context_mut().0;
        let ty = self.vm_type(store).wasm_ty;
        // SAFETY: globals live as long as their store, which this is, and the value in it is of the
        // global's type and of this store.
        unsafe {
            let raw = self.vm_import(store).from.read().value(ty);
            let ty = ValType::from_wasm(store.engine(), &ty);
            Val::from_raw_in(store, raw, &ty)
        }
    }

    /// Gives the global a new value.
    ///
    /// # Errors
    ///
    /// Fails if the global is constant, or if `val` is of another type than the global or belongs
    /// to another store.
    ///
    /// # Panics
    ///
    /// Panics if the global belongs to another store.
    pub fn set(&self, mut store: impl AsContextMut, val: Val) -> Result<()> {
        let store = store.as_context_mut().0;
        let vm_type = self.vm_type(store);
        if !vm_type.mutability {
            bail!("immutable global cannot be set");
        }
        let ty = ValType::from_wasm(store.engine(), &vm_type.wasm_ty);
        val.ensure_matches(store, &ty)
            .context("type mismatch: attempt to set global to value of wrong type")?;
        let raw = val.to_raw_in(store)?;
        let core = store.core_mut();
        // SAFETY: the value is of the global's type and of this store.
        unsafe { core.global_set(self.instance, self.index, raw) };
        Ok(())
    }
}
