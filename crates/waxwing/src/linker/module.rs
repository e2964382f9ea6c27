//! [`Linker::module`]: modules as a whole, by the conventions of WASI commands and reactors.

use anyhow::{Context, Result, anyhow, bail};

use super::Linker;
use crate::{AsContextMut, Caller, ExternType, FuncType, InstancePre, Module, Val};

/// What a module wants to be.
pub(super) enum ModuleKind {
    /// Instantiated anew for each call.
    Command,
    /// Instantiated once.
    Reactor,
}

impl ModuleKind {
    pub(super) fn of(module: &Module) -> Result<ModuleKind> {
        let is_entry = |name| match module.get_export(name) {
            Some(ExternType::Func(ty)) => ty.params().len() == 0 && ty.results().len() == 0,
            _ => false,
        };
        match (is_entry("_start"), is_entry("_initialize")) {
            (true, true) => bail!(
                "a module cannot be both a command and a reactor, but this one exports `_start` \
                 and `_initialize`"
            ),
            (true, false) => Ok(ModuleKind::Command),
            (false, _) => Ok(ModuleKind::Reactor),
        }
    }
}

/// What toolchains have commands export beside functions.
fn is_known_export(name: &str) -> bool {
    matches!(
        name,
        "memory" | "__indirect_function_table" | "__data_end" | "__heap_base" | "__dso_handle"
    ) || name.starts_with("__rtti_base")
}

impl<T> Linker<T> {
    /// Defines the exports of `module`, under the module name `module_name`. How depends on what the
    /// module is:
    ///
    /// - A *command* exports a function `_start` without parameters or results. Each call of one of
    ///   its functions instantiates it anew, so that no state is left from earlier calls. Its other
    ///   exports cannot be defined then: the memory, table and globals that toolchains are known to
    ///   export are ignored, others are an error unless
    ///   [allowed](Self::allow_unknown_exports).
    /// - Any other module, a *reactor*, is instantiated once, here. Its function `_initialize`, if
    ///   it exports one without parameters or results, is called, and all other exports are
    ///   defined.
    ///
    /// The imports of the module are the items that the linker has by now.
    ///
    /// # Errors
    ///
    /// Fails if the module cannot be [instantiated](Self::instantiate), if `_initialize` traps, if it
    /// exports both `_start` and `_initialize`, or if there is an item of the names of an export,
    /// unless [shadowing is allowed](Self::allow_shadowing).
    ///
    /// # Panics
    ///
    /// Panics if an item that is needed belongs to another store, or `store` or `module` to another
    /// engine. Panics if the engine has `Config::async_support`.
    pub fn module(
        &mut self,
        mut store: impl AsContextMut<Data = T>,
        module_name: &str,
        module: &Module,
    ) -> Result<&mut Self>
    where
        T: 'static,
    {
        store.as_context_mut().0.assert_sync("Linker::module_async");
        match ModuleKind::of(module)? {
            ModuleKind::Command => {
                let pre = self.prepare(module, Some(store.as_context_mut().0))?;
                self.define_command(module_name, module, |linker, name, ty| {
                    let call = command_call(pre.clone(), name);
                    linker.func_new(module_name, name, ty, call).map(drop)
                })
            }
            ModuleKind::Reactor => {
                let instance = self.instantiate(&mut store, module)?;
                if let Some(initialize) = instance.get_func(&mut store, "_initialize") {
                    initialize
                        .typed::<(), ()>(&store)
                        .and_then(|initialize| initialize.call(&mut store, ()))
                        .with_context(|| {
                            format!("failed to call `_initialize` of `{module_name}`")
                        })?;
                }
                self.instance(store, module_name, instance)
            }
        }
    }

    /// Defines the exports of a command, its functions by `define`.
    pub(super) fn define_command(
        &mut self,
        module_name: &str,
        module: &Module,
        mut define: impl FnMut(&mut Self, &str, FuncType) -> Result<()>,
    ) -> Result<&mut Self> {
        for export in module.exports() {
            match export.ty() {
                ExternType::Func(ty) => define(self, export.name(), ty)?,
                _ if self.allow_unknown_exports || is_known_export(export.name()) => {}
                _ => bail!(
                    "cannot define the export `{}` of the command `{module_name}`: only functions \
                     can be, see `Linker::allow_unknown_exports`",
                    export.name()
                ),
            }
        }
        Ok(self)
    }
}

/// A function that calls the export `name` of a new instance.
fn command_call<T: 'static>(
    pre: InstancePre<T>,
    name: &str,
) -> impl Fn(Caller<'_, T>, &[Val], &mut [Val]) -> Result<()> + Send + Sync + 'static {
    let name = name.to_string();
    move |mut caller, params, results| {
        let instance = pre.instantiate(&mut caller)?;
        let func = instance
            .get_func(&mut caller, &name)
            .ok_or_else(|| anyhow!("the command does not export a function `{name}`"))?;
        func.call(&mut caller, params, results)
    }
}
