//! [`InstancePre`]: a module whose imports have been found.

use std::fmt;
use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::Arc;

use anyhow::{Context, Result};
use waxwing_vm::{HostFunc, Imports, OwnedImports, VMFuncRef, VMFunctionImport};

use super::{Instance, push_import};
use crate::store::StoreInner;
use crate::{AsContextMut, Engine, Extern, Module};

/// Where an import comes from.
#[derive(Clone)]
pub(crate) enum ImportSource {
    /// An item of a store.
    Extern(Extern),
    /// A function of the host, for use in any store whose data is of its type.
    HostFunc(Arc<HostFunc>),
}

/// A module whose imports have been found and type-checked, so that instantiating it again and again
/// is as fast as it can be.
///
/// Made by [`Linker::instantiate_pre`](crate::Linker::instantiate_pre). If all imports are functions
/// of the host, it can be instantiated in any number of stores, on any number of threads.
///
/// ```
/// # use waxwing::*;
/// # fn main() -> Result<()> {
/// let engine = Engine::default();
/// let wat = r#"(module
///     (import "host" "next" (func $next (result i32)))
///     (func (export "run") (result i32) (i32.add (call $next) (call $next))))"#;
/// let module = Module::new(&engine, wat)?;
/// let mut linker = Linker::new(&engine);
/// linker.func_wrap("host", "next", |mut caller: Caller<'_, i32>| {
///     *caller.data_mut() += 1;
///     *caller.data()
/// })?;
/// let pre = linker.instantiate_pre(&module)?;
/// for start in [0, 10] {
///     let mut store = Store::new(&engine, start);
///     let instance = pre.instantiate(&mut store)?;
///     let run = instance.get_typed_func::<(), i32>(&mut store, "run")?;
///     assert_eq!(run.call(&mut store, ())?, 2 * start + 3);
/// }
/// # Ok(())
/// # }
/// ```
pub struct InstancePre<T> {
    module: Module,
    prepared: Arc<Prepared>,
    _data: PhantomData<fn() -> T>,
}

/// What instances of an [`InstancePre`] share. Their stores keep it alive.
struct Prepared {
    imports: Box<[ImportSource]>,
    /// The functions of the host among the imports, in order, as WebAssembly can call them. Points
    /// into `_func_refs`.
    host_functions: Box<[VMFunctionImport]>,
    _func_refs: Box<[VMFuncRef]>,
}

impl<T> Clone for InstancePre<T> {
    fn clone(&self) -> Self {
        InstancePre {
            module: self.module.clone(),
            prepared: Arc::clone(&self.prepared),
            _data: PhantomData,
        }
    }
}

impl<T> fmt::Debug for InstancePre<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InstancePre")
            .field("module", &self.module)
            .finish_non_exhaustive()
    }
}

impl<T> InstancePre<T> {
    /// # Errors
    ///
    /// Fails if the artifact is damaged.
    ///
    /// # Safety
    ///
    /// The imports are of the types that the module wants, in the same order. Functions of the host
    /// among them are for stores whose data is a `T`.
    pub(crate) unsafe fn new(
        module: &Module,
        imports: Vec<ImportSource>,
    ) -> Result<InstancePre<T>> {
        let mut func_refs = Vec::new();
        for import in &imports {
            if let ImportSource::HostFunc(func) = import {
                // SAFETY: the function is alive, and nobody changes its own record.
                let mut func_ref = unsafe { func.func_ref().read() };
                let trampoline = module
                    .loaded()
                    .host_call(module.engine().type_registry(), func_ref.type_index)
                    .context("the artifact lacks a trampoline; compile the module again")?;
                func_ref.wasm_call = Some(trampoline.cast());
                func_refs.push(func_ref);
            }
        }
        let mut func_refs = func_refs.into_boxed_slice();
        let host_functions = func_refs
            .iter_mut()
            .map(|func_ref| VMFunctionImport {
                wasm_call: func_ref.wasm_call.expect("set above"),
                vmctx: func_ref.vmctx,
                func_ref: NonNull::from(func_ref),
            })
            .collect();
        let prepared = Prepared {
            imports: imports.into(),
            host_functions,
            _func_refs: func_refs,
        };
        Ok(InstancePre {
            module: module.clone(),
            prepared: Arc::new(prepared),
            _data: PhantomData,
        })
    }

    /// The module to be instantiated.
    pub fn module(&self) -> &Module {
        &self.module
    }

    /// Instantiates the module in `store`, and runs its start function.
    ///
    /// # Errors
    ///
    /// Fails as [`Instance::new`] does, but for the imports, which have been checked.
    ///
    /// # Panics
    ///
    /// Panics if `store` belongs to another engine, or if an import belongs to another store. Panics if the engine has
    /// `Config::async_support`.
    pub fn instantiate(&self, mut store: impl AsContextMut<Data = T>) -> Result<Instance> {
        let store = store.as_context_mut().0;
        store.assert_sync("InstancePre::instantiate_async");
        self.instantiate_in(store)
    }

    /// Instantiates the module as [`instantiate`](Self::instantiate) does, in an asynchronous store, where the start
    /// function can wait.
    ///
    /// # Errors
    ///
    /// As for [`instantiate`](Self::instantiate). Fails if there is no memory for a stack.
    ///
    /// # Panics
    ///
    /// Panics if `store` belongs to another engine, or if an import belongs to another store. Panics unless the
    /// engine has [`Config::async_support`](crate::Config::async_support).
    #[cfg(feature = "async")]
    pub async fn instantiate_async(
        &self,
        mut store: impl AsContextMut<Data = T>,
    ) -> Result<Instance>
    where
        T: Send,
    {
        let store = store.as_context_mut().0;
        store.assert_async("InstancePre::instantiate_async");
        match Instance::may_wait(store, &self.module) {
            true => store.on_fiber(|store| self.instantiate_in(store)).await,
            false => self.instantiate_in(store),
        }
    }

    fn instantiate_in(&self, store: &mut StoreInner<T>) -> Result<Instance> {
        assert!(
            Engine::same(self.module.engine(), store.engine()),
            "cross-`Engine` instantiation is not supported: the module and the store belong to \
             different engines"
        );
        let prepared = &*self.prepared;
        if !prepared.host_functions.is_empty() {
            store.core_mut().keep_alive(self.prepared.clone());
        }
        if prepared.host_functions.len() == prepared.imports.len() {
            let imports = Imports {
                functions: &prepared.host_functions,
                ..Imports::default()
            };
            // SAFETY: the imports were checked, and the store keeps them alive.
            return unsafe { Instance::instantiate(store, &self.module, imports) };
        }
        let owned = self.collect_imports(store)?;
        // SAFETY: the imports were checked, and belong to the store or are kept alive by it.
        unsafe { Instance::instantiate(store, &self.module, owned.as_ref()) }
    }

    fn collect_imports(&self, store: &mut StoreInner<T>) -> Result<OwnedImports> {
        let mut imports = OwnedImports::new(self.module.loaded());
        let mut host_functions = self.prepared.host_functions.iter();
        for import in &self.prepared.imports {
            match import {
                ImportSource::Extern(item) => {
                    assert!(
                        item.comes_from_same_store(store),
                        "object used with the wrong store"
                    );
                    push_import(store, &self.module, &mut imports, item)?;
                }
                ImportSource::HostFunc(_) => {
                    imports.functions.extend(host_functions.next().copied())
                }
            }
        }
        Ok(imports)
    }
}
