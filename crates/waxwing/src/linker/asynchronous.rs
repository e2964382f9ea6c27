//! Linkers of asynchronous stores.

use anyhow::{Context, Result, anyhow};

use super::module::ModuleKind;
use super::{Definition, Linker};
use crate::func::{untyped_async, wrap_async};
use crate::{
    AsContextMut, Caller, FuncType, Instance, InstancePre, Module, Val, WasmRet, WasmTyList,
};

impl<T> Linker<T> {
    /// Defines a function of the type `ty` that the closure `func` implements with [`Val`]s and that can wait, for any
    /// store: see [`Func::new_async`](crate::Func::new_async).
    ///
    /// # Errors
    ///
    /// As for [`define`](Self::define).
    ///
    /// # Panics
    ///
    /// Panics if `ty` belongs to another engine. Panics unless the engine has
    /// [`Config::async_support`](crate::Config::async_support).
    pub fn func_new_async<F>(
        &mut self,
        module: &str,
        name: &str,
        ty: FuncType,
        func: F,
    ) -> Result<&mut Self>
    where
        F: for<'a> Fn(
                Caller<'a, T>,
                &'a [Val],
                &'a mut [Val],
            ) -> Box<dyn Future<Output = Result<()>> + Send + 'a>
            + Send
            + Sync
            + 'static,
    {
        let func = untyped_async(&self.engine, ty, func);
        self.insert(module, name, Definition::of_host(func))
    }

    /// Defines a function that the closure `func` implements, of the type that the closure's signature says, and that can
    /// wait, for any store: see [`Func::wrap_async`](crate::Func::wrap_async).
    ///
    /// # Errors
    ///
    /// As for [`define`](Self::define).
    ///
    /// # Panics
    ///
    /// Panics unless the engine has [`Config::async_support`](crate::Config::async_support).
    pub fn func_wrap_async<F, Params: WasmTyList, Args: WasmRet>(
        &mut self,
        module: &str,
        name: &str,
        func: F,
    ) -> Result<&mut Self>
    where
        F: for<'a> Fn(Caller<'a, T>, Params) -> Box<dyn Future<Output = Args> + Send + 'a>
            + Send
            + Sync
            + 'static,
    {
        let func = wrap_async(&self.engine, func);
        self.insert(module, name, Definition::of_host(func))
    }

    /// Instantiates `module` as [`instantiate`](Self::instantiate) does, in an asynchronous store, where the start
    /// function can wait.
    ///
    /// # Errors
    ///
    /// As for [`instantiate`](Self::instantiate). Fails if there is no memory for a stack.
    ///
    /// # Panics
    ///
    /// Panics if an item that is needed belongs to another store, or `store` or `module` to another
    /// engine. Panics unless the engine has [`Config::async_support`](crate::Config::async_support).
    pub async fn instantiate_async(
        &self,
        mut store: impl AsContextMut<Data = T>,
        module: &Module,
    ) -> Result<Instance>
    where
        T: Send,
    {
        let mut store = store.as_context_mut();
        store.0.assert_async("Linker::instantiate_async");
        let pre = self.prepare(module, Some(store.0))?;
        pre.instantiate_async(&mut store).await
    }

    /// Defines the exports of `module`, as [`module`](Self::module) does, in an asynchronous store, where functions of the
    /// module can wait.
    ///
    /// # Errors
    ///
    /// As for [`module`](Self::module). Fails if there is no memory for a stack.
    ///
    /// # Panics
    ///
    /// Panics if an item that is needed belongs to another store, or `store` or `module` to another
    /// engine. Panics unless the engine has [`Config::async_support`](crate::Config::async_support).
    pub async fn module_async(
        &mut self,
        mut store: impl AsContextMut<Data = T>,
        module_name: &str,
        module: &Module,
    ) -> Result<&mut Self>
    where
        T: Send + 'static,
    {
        let mut store = store.as_context_mut();
        store.0.assert_async("Linker::module_async");
        match ModuleKind::of(module)? {
            ModuleKind::Command => {
                let pre = self.prepare(module, Some(store.0))?;
                self.define_command(module_name, module, |linker, name, ty| {
                    let (pre, name) = (pre.clone(), name.to_string());
                    let call = linker.func_new_async(
                        module_name,
                        &name.clone(),
                        ty,
                        move |caller, params, results| {
                            command_call(&pre, &name, caller, params, results)
                        },
                    );
                    call.map(drop)
                })
            }
            ModuleKind::Reactor => {
                let instance = self.instantiate_async(&mut store, module).await?;
                if let Some(initialize) = instance.get_func(&mut store, "_initialize") {
                    let context = || format!("failed to call `_initialize` of `{module_name}`");
                    let initialize = initialize.typed::<(), ()>(&store).with_context(context)?;
                    let called = initialize.call_async(&mut store, ()).await;
                    called.with_context(context)?;
                }
                self.instance(store, module_name, instance)
            }
        }
    }
}

/// Calls the export `name` of a new instance.
fn command_call<'a, T: Send + 'static>(
    pre: &InstancePre<T>,
    name: &str,
    mut caller: Caller<'a, T>,
    params: &'a [Val],
    results: &'a mut [Val],
) -> Box<dyn Future<Output = Result<()>> + Send + 'a> {
    let (pre, name) = (pre.clone(), name.to_string());
    Box::new(async move {
        let instance = pre.instantiate_async(&mut caller).await?;
        let func = instance
            .get_func(&mut caller, &name)
            .ok_or_else(|| anyhow!("the command does not export a function `{name}`"))?;
        func.call_async(&mut caller, params, results).await
    })
}
