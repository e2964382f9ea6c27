//! [`CodeBuilder`].

use super::{dwarf_package, input};
use crate::{Engine, Result};
use anyhow::{Context, anyhow, ensure};
use std::borrow::Cow;
use std::path::Path;

#[cfg(feature = "runtime")]
use crate::Module;

/// Compiles WebAssembly step by step: first give the bytes, with where they come from, then
/// choose what they become.
///
/// [`Module::new`](crate::Module::new) and the like are shorter; this tells errors the path of
/// bytes that were read elsewhere, and looks at bytes before they are compiled.
///
/// ```
/// use waxwing::{CodeBuilder, CodeHint, Engine};
///
/// # fn main() -> waxwing::Result<()> {
/// let engine = Engine::default();
/// let mut builder = CodeBuilder::new(&engine);
/// builder.wasm_binary_or_text(b"(module)", None)?;
/// assert_eq!(builder.hint(), Some(CodeHint::Module));
/// let module = builder.compile_module()?;
/// # assert_eq!(module.imports().len(), 0);
/// # Ok(())
/// # }
/// ```
pub struct CodeBuilder<'a> {
    engine: &'a Engine,
    wasm: Option<Cow<'a, [u8]>>,
    path: Option<&'a Path>,
    dwarf_package: Option<Cow<'a, [u8]>>,
}

/// What the bytes of a [`CodeBuilder`] look like.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum CodeHint {
    /// A WebAssembly module.
    Module,
    /// A WebAssembly component.
    Component,
}

impl<'a> CodeBuilder<'a> {
    /// A builder of code for `engine`.
    pub fn new(engine: &'a Engine) -> CodeBuilder<'a> {
        CodeBuilder {
            engine,
            wasm: None,
            path: None,
            dwarf_package: None,
        }
    }

    /// Takes bytes in the binary format. Errors name `path`, which need not exist.
    ///
    /// # Errors
    ///
    /// Fails if the builder has bytes already. Whether they are valid shows when they are
    /// compiled.
    pub fn wasm_binary(
        &mut self,
        wasm_bytes: impl Into<Cow<'a, [u8]>>,
        wasm_path: Option<&'a Path>,
    ) -> Result<&mut Self> {
        ensure!(
            self.wasm.is_none(),
            "the code builder has the bytes of a module already"
        );
        self.wasm = Some(wasm_bytes.into());
        self.path = wasm_path;
        Ok(self)
    }

    /// Takes bytes in the binary format or, with the Cargo feature `wat`, the text format. Errors
    /// name `wasm_path`, which need not exist.
    ///
    /// # Errors
    ///
    /// Fails if the builder has bytes already, or if text is malformed.
    pub fn wasm_binary_or_text(
        &mut self,
        wasm_bytes: &'a [u8],
        wasm_path: Option<&'a Path>,
    ) -> Result<&mut Self> {
        let binary = input::binary(wasm_bytes, wasm_path)?;
        self.wasm_binary(binary, wasm_path)
    }

    /// Reads a file in the binary format.
    ///
    /// # Errors
    ///
    /// Fails if the builder has bytes already, or if the file cannot be read.
    pub fn wasm_binary_file(&mut self, file: &'a Path) -> Result<&mut Self> {
        self.wasm_binary(input::read(file)?, Some(file))
    }

    /// Reads a file in the binary format or, with the Cargo feature `wat`, the text format.
    ///
    /// # Errors
    ///
    /// Fails if the builder has bytes already, if the file cannot be read, or if text in it is
    /// malformed.
    pub fn wasm_binary_or_text_file(&mut self, file: &'a Path) -> Result<&mut Self> {
        let bytes = input::read(file)?;
        let binary = input::binary(&bytes, Some(file))?.into_owned();
        self.wasm_binary(binary, Some(file))
    }

    /// Takes the DWARF package (`.dwp`) that belongs to the module: debugging information that is not in the module itself, as
    /// compilers write it with `-gsplit-dwarf`.
    ///
    /// It is of use if [`Config::wasm_backtrace_details`](crate::Config::wasm_backtrace_details) or
    /// [`Config::debug_info`](crate::Config::debug_info) is on.
    ///
    /// Without it, a package is looked for beside the module's file, if the builder knows its path: `app.dwp` or `app.wasm.dwp` beside
    /// `app.wasm`. One that is found but cannot be read is ignored.
    ///
    /// # Errors
    ///
    /// Fails if the builder has a package already, or if the bytes are none.
    pub fn dwarf_package(&mut self, dwp_bytes: &'a [u8]) -> Result<&mut Self> {
        self.set_package(Cow::Borrowed(dwp_bytes))
    }

    /// Reads the DWARF package that belongs to the module from a file: see [`dwarf_package`](Self::dwarf_package).
    ///
    /// # Errors
    ///
    /// Fails if the builder has a package already, or if the file cannot be read or is none.
    pub fn dwarf_package_file(&mut self, file: &Path) -> Result<&mut Self> {
        let bytes = input::read(file)?;
        self.set_package(Cow::Owned(bytes))
            .with_context(|| format!("failed to use `{}`", file.display()))
    }

    fn set_package(&mut self, bytes: Cow<'a, [u8]>) -> Result<&mut Self> {
        ensure!(
            self.dwarf_package.is_none(),
            "the code builder has a DWARF package already"
        );
        dwarf_package::sections(&bytes)?;
        self.dwarf_package = Some(bytes);
        Ok(self)
    }

    /// Whether the bytes look like a module or a component, or `None` if they look like neither
    /// or there are none.
    pub fn hint(&self) -> Option<CodeHint> {
        let wasm = self.wasm.as_deref()?;
        if wasmparser::Parser::is_core_wasm(wasm) {
            Some(CodeHint::Module)
        } else if wasmparser::Parser::is_component(wasm) {
            Some(CodeHint::Component)
        } else {
            None
        }
    }

    /// Compiles the bytes to an artifact for [`Module::deserialize`](crate::Module::deserialize).
    ///
    /// # Errors
    ///
    /// Fails if there are no bytes, or they are no valid module of this engine's proposals.
    pub fn compile_module_serialized(&self) -> Result<Vec<u8>> {
        Ok(self.compile()?.bytes)
    }

    fn compile(&self) -> Result<super::CompiledArtifact> {
        self.with_inputs(|wasm, package| super::compile(self.engine, wasm, package))
    }

    /// Does something with the bytes and what there is of the DWARF package that belongs to them.
    fn with_inputs<R>(
        &self,
        f: impl FnOnce(&[u8], dwarf_package::Sections<'_>) -> Result<R>,
    ) -> Result<R> {
        let wasm = self.wasm.as_deref().ok_or_else(|| {
            anyhow!("the code builder has no bytes: call `CodeBuilder::wasm_binary` first")
        })?;
        let is_wanted = self.engine.backtrace_details() || self.engine.tunables().debug_info;
        let found = match (&self.dwarf_package, self.path) {
            (None, Some(path)) if is_wanted => dwarf_package::beside(path),
            _ => None,
        };
        let package = match (&self.dwarf_package, &found) {
            (Some(bytes), _) => dwarf_package::sections(bytes)?,
            (None, Some((path, bytes))) => dwarf_package::sections(bytes).unwrap_or_else(|error| {
                log::warn!("ignoring `{}`: {error:#}", path.display());
                Vec::new()
            }),
            (None, None) => Vec::new(),
        };
        self.in_file(f(wasm, package))
    }

    /// Adds the name of the file, if there is one, to an error.
    fn in_file<T>(&self, result: Result<T>) -> Result<T> {
        match self.path {
            Some(path) => result.with_context(|| format!("failed to compile `{}`", path.display())),
            None => result,
        }
    }

    /// Compiles the bytes to a module, or finds in the cache what they were compiled to before, if there is one.
    ///
    /// # Errors
    ///
    /// Fails if there are no bytes, if they are no valid module of this engine's proposals, or if
    /// the engine compiles for another platform than this host.
    #[cfg(feature = "runtime")]
    pub fn compile_module(&self) -> Result<Module> {
        self.engine.check_compatible_with_native_host()?;
        #[cfg(feature = "cache")]
        if let Some(cache) = self.engine.module_cache() {
            return self.with_inputs(|wasm, package| {
                super::cached::compile(self.engine, cache, wasm, package)
            });
        }
        let compiled = self.compile()?;
        self.in_file(Module::from_compiled(self.engine, compiled))
    }
}
