//! Imports that a [`Linker`] does not have.

use std::fmt;

use anyhow::{Context, Result, anyhow};

use super::Linker;
use crate::{ExternType, FuncType, ImportType, Module, Val};

/// A module imports something that the [`Linker`] does not have.
///
/// [`Linker::instantiate`] and [`Linker::instantiate_pre`] fail with one, and so do functions that
/// [`Linker::define_unknown_imports_as_traps`] defined.
#[derive(Clone, Debug)]
pub struct UnknownImportError {
    module: String,
    name: String,
    ty: ExternType,
}

impl UnknownImportError {
    pub(super) fn new(import: &ImportType<'_>) -> Self {
        UnknownImportError {
            module: import.module().to_string(),
            name: import.name().to_string(),
            ty: import.ty(),
        }
    }

    /// The first name of the import: of the module to import from.
    pub fn module(&self) -> &str {
        &self.module
    }

    /// The second name of the import: of the item in that module.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The type of the import.
    pub fn ty(&self) -> ExternType {
        self.ty.clone()
    }
}

impl fmt::Display for UnknownImportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "unknown import: `{}::{}` has not been defined",
            self.module, self.name
        )
    }
}

impl std::error::Error for UnknownImportError {}

impl<T> Linker<T> {
    /// Defines the functions that `module` imports and that the linker does not have as functions
    /// that fail with an [`UnknownImportError`] when they are called.
    ///
    /// Other items that are missing stay so.
    ///
    /// # Errors
    ///
    /// Does not fail: what is defined already is left as it is.
    ///
    /// ```
    /// # use waxwing::*;
    /// # fn main() -> Result<()> {
    /// let engine = Engine::default();
    /// let wat = r#"(module
    ///     (import "host" "missing" (func $missing))
    ///     (func (export "run") (call $missing)))"#;
    /// let module = Module::new(&engine, wat)?;
    /// let mut store = Store::new(&engine, ());
    /// let mut linker = Linker::new(&engine);
    /// linker.define_unknown_imports_as_traps(&module)?;
    ///
    /// let instance = linker.instantiate(&mut store, &module)?;
    /// let run = instance.get_typed_func::<(), ()>(&mut store, "run")?;
    /// let error = run.call(&mut store, ()).unwrap_err();
    /// assert_eq!(error.downcast_ref::<UnknownImportError>().unwrap().name(), "missing");
    /// # Ok(())
    /// # }
    /// ```
    pub fn define_unknown_imports_as_traps(&mut self, module: &Module) -> Result<()> {
        self.define_unknown_functions(module, |linker, import, ty| {
            let error = UnknownImportError::new(import);
            linker.func_new(import.module(), import.name(), ty, move |_, _, _| {
                Err(error.clone().into())
            })?;
            Ok(())
        })
    }

    /// Defines the functions that `module` imports and that the linker does not have as functions
    /// that do nothing and return zeros and null references.
    ///
    /// Other items that are missing stay so.
    ///
    /// # Errors
    ///
    /// Fails if such a function has to return a reference that cannot be null.
    pub fn define_unknown_imports_as_default_values(&mut self, module: &Module) -> Result<()> {
        self.define_unknown_functions(module, |linker, import, ty| {
            let results = ty
                .results()
                .map(|ty| {
                    Val::default_for_ty(&ty)
                        .ok_or_else(|| anyhow!("no default value exists for type `{ty}`"))
                })
                .collect::<Result<Vec<Val>>>()
                .with_context(|| {
                    format!(
                        "cannot define the import `{}::{}` as default values",
                        import.module(),
                        import.name()
                    )
                })?;
            linker.func_new(import.module(), import.name(), ty, move |_, _, out| {
                out.copy_from_slice(&results);
                Ok(())
            })?;
            Ok(())
        })
    }

    fn define_unknown_functions(
        &mut self,
        module: &Module,
        define: impl Fn(&mut Self, &ImportType<'_>, FuncType) -> Result<()>,
    ) -> Result<()> {
        for import in module.imports() {
            if self.lookup(import.module(), import.name()).is_none()
                && let ExternType::Func(ty) = import.ty()
            {
                define(self, &import, ty)?;
            }
        }
        Ok(())
    }
}
