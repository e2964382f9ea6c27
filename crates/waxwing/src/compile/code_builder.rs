//! [`CodeBuilder`].

use super::input;
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
        let wasm = self.wasm.as_deref().ok_or_else(|| {
            anyhow!("the code builder has no bytes: call `CodeBuilder::wasm_binary` first")
        })?;
        self.in_file(super::compile(self.engine, wasm))
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
        if let Some(cache) = self.engine.module_cache()
            && let Some(wasm) = self.wasm.as_deref()
        {
            return self.in_file(super::cached::compile(self.engine, cache, wasm));
        }
        let compiled = self.compile()?;
        self.in_file(Module::from_compiled(self.engine, compiled))
    }
}
