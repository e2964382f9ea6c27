//! [`Module`]: compiled code with its types, ready to be instantiated.

mod load;
#[cfg(feature = "addr2line")]
mod source;
#[cfg(test)]
mod tests;

use crate::{Engine, ExportType, ExternType, ImportType, ResourcesRequired, Result};
use anyhow::Context;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Weak};
use waxwing_environ::{DefinedFuncIndex, EntityIndex, EntityRef, EntityType};
use waxwing_vm::LoadedModule;

/// A compiled WebAssembly module, ready to be instantiated.
///
/// A module has no state: it can be instantiated any number of times, in any stores of its
/// engine, by several threads at once. Cloning one gives another handle to the same module, which
/// is cheap.
///
/// # Text format
///
/// Where the Cargo feature `wat` is on, as it is by default, functions that take a module accept
/// the text format as well as the binary format. Bytes that begin with `\0asm` are binary.
///
/// ```
/// use waxwing::{Engine, Module};
///
/// # fn main() -> waxwing::Result<()> {
/// let engine = Engine::default();
/// let module = Module::new(&engine, r#"(module (func (export "f") (result i32) i32.const 1))"#)?;
/// let export = module.exports().next().unwrap();
/// assert_eq!(export.name(), "f");
/// assert_eq!(export.ty().unwrap_func().results().len(), 1);
///
/// let error = Module::new(&engine, "(module (func i32.add))").unwrap_err();
/// assert!(format!("{error:#}").contains("failed to compile wasm function 0"));
/// # Ok(())
/// # }
/// ```
///
/// # Ahead of time
///
/// Compiling takes time. [`Module::serialize`] gives a module's artifact, from which
/// [`Module::deserialize`] or, faster, [`Module::deserialize_file`] makes it again without a
/// compiler.
#[derive(Clone)]
pub struct Module {
    inner: Arc<ModuleInner>,
}

struct ModuleInner {
    engine: Engine,
    loaded: Arc<LoadedModule>,
    /// The length of the artifact, which may be shorter than its place in memory.
    artifact_len: usize,
    /// Made when it is first needed; nothing if there is no debugging information.
    #[cfg(feature = "addr2line")]
    source_map: std::sync::OnceLock<Option<source::SourceMap>>,
}

/// A function that a module defines: where its code is.
///
/// From [`Module::functions`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModuleFunction {
    /// The index among the functions that the module itself defines.
    pub index: u32,
    /// The name in the module's name section.
    pub name: Option<String>,
    /// The offset in [`Module::text`] at which the function begins, in bytes.
    pub offset: usize,
    /// The length of the function, in bytes.
    pub len: usize,
}

/// An export of a [`Module`], found by name once: with
/// [`Instance::get_module_export`](crate::Instance::get_module_export) an instance's export is
/// then found without looking at names.
///
/// From [`Module::get_export_index`].
#[derive(Clone)]
pub struct ModuleExport {
    module: Weak<LoadedModule>,
    entity: EntityIndex,
}

impl fmt::Debug for ModuleExport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ModuleExport")
            .field("entity", &self.entity)
            .finish_non_exhaustive()
    }
}

impl ModuleExport {
    /// The exported item, if this is an export of `module`.
    pub(crate) fn entity_in(&self, module: &Arc<LoadedModule>) -> Option<EntityIndex> {
        std::ptr::eq(self.module.as_ptr(), Arc::as_ptr(module)).then_some(self.entity)
    }
}

impl fmt::Debug for Module {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Module")
            .field("name", &self.name())
            .finish_non_exhaustive()
    }
}

impl Module {
    /// The engine that the module belongs to.
    pub fn engine(&self) -> &Engine {
        &self.inner.engine
    }

    /// The name in the module's name section, if it has one.
    pub fn name(&self) -> Option<&str> {
        self.env_module().name.as_deref()
    }

    /// The imports, in the order in which the module declares them and instantiation takes them.
    pub fn imports<'module>(
        &'module self,
    ) -> impl ExactSizeIterator<Item = ImportType<'module>> + 'module {
        let imports = self.env_module().imports.iter();
        imports.map(|import| ImportType::new(self, import))
    }

    /// The exports, in the order in which the module declares them.
    pub fn exports<'module>(
        &'module self,
    ) -> impl ExactSizeIterator<Item = ExportType<'module>> + 'module {
        let exports = self.env_module().exports.iter();
        exports.map(|export| ExportType::new(self, export))
    }

    /// The type of the export `name`, if there is one.
    pub fn get_export(&self, name: &str) -> Option<ExternType> {
        let ty = self.type_of(self.export_entity(name)?);
        Some(ExternType::from_wasm(self.engine(), &ty))
    }

    /// The export `name`, if there is one, in a form by which instances find it faster than by
    /// its name.
    pub fn get_export_index(&self, name: &str) -> Option<ModuleExport> {
        Some(ModuleExport {
            entity: self.export_entity(name)?,
            module: Arc::downgrade(self.loaded()),
        })
    }

    fn export_entity(&self, name: &str) -> Option<EntityIndex> {
        let module = self.env_module();
        Some(module.exports[module.export_position(name)?].index)
    }

    /// The artifact that the module is: bytes from which [`Module::deserialize`] makes it again.
    ///
    /// # Errors
    ///
    /// Does not fail at present.
    pub fn serialize(&self) -> Result<Vec<u8>> {
        Ok(self.artifact().to_vec())
    }

    fn artifact(&self) -> &[u8] {
        let image = self.loaded().code().image();
        &image[..self.inner.artifact_len.min(image.len())]
    }

    /// What an instance of the module needs.
    pub fn resources_required(&self) -> ResourcesRequired {
        ResourcesRequired::of_module(self.env_module())
    }

    /// The addresses at which the module's artifact lies in memory: all of it or, of small ones that come from a file, what
    /// holds the code.
    pub fn image_range(&self) -> Range<*const u8> {
        self.loaded().code().mapped_image().as_ptr_range()
    }

    /// The module's machine code. Offsets of [`Module::functions`] and [`Module::address_map`]
    /// count from its start.
    pub fn text(&self) -> &[u8] {
        self.loaded().code().text()
    }

    /// The functions that the module defines, with their places in [`Module::text`].
    pub fn functions<'a>(&'a self) -> impl ExactSizeIterator<Item = ModuleFunction> + 'a {
        let loaded = self.loaded();
        (0..loaded.module().num_defined_functions()).map(|i| {
            let index = DefinedFuncIndex::new(i);
            let loc = loaded.func_range(index);
            ModuleFunction {
                index: index.as_u32(),
                name: loaded
                    .func_name(loaded.module().func_index(index))
                    .map(str::to_string),
                offset: loc.start as usize,
                len: loc.length as usize,
            }
        })
    }

    /// From machine code back to the wasm binary: pairs of an offset in [`Module::text`] and the
    /// offset in the binary that the code from there up to the next pair stems from, `None` for
    /// code that stems from nothing in particular. In order of the code.
    ///
    /// Is itself `None` for modules that were compiled without
    /// [`Config::generate_address_map`](crate::Config::generate_address_map).
    pub fn address_map<'a>(&'a self) -> Option<impl Iterator<Item = (usize, Option<u32>)> + 'a> {
        let map = self.loaded().code().address_map()?;
        Some(map.iter().map(|(text, wasm)| (text as usize, wasm)))
    }

    /// Prepares the images of the module's memories, which instantiation does when it first needs
    /// them: see [`Config::memory_init_cow`](crate::Config::memory_init_cow).
    ///
    /// Call it to have the work done at a time of your choice.
    ///
    /// # Errors
    ///
    /// Fails if the system lacks the memory or the file handles for them.
    pub fn initialize_copy_on_write_image(&self) -> Result<()> {
        let loaded = self.loaded();
        for i in 0..loaded.module().num_defined_memories() {
            loaded
                .image(waxwing_environ::DefinedMemoryIndex::new(i))
                .with_context(|| format!("failed to prepare the image of memory {i}"))?;
        }
        Ok(())
    }

    /// The module as the runtime knows it.
    #[inline]
    pub(crate) fn loaded(&self) -> &Arc<LoadedModule> {
        &self.inner.loaded
    }

    /// The facts of the module. Types in it are the module's own, not the engine's.
    pub(crate) fn env_module(&self) -> &waxwing_environ::Module {
        self.loaded().module()
    }

    /// The type of an item, with the engine's types.
    pub(crate) fn type_of(&self, index: EntityIndex) -> EntityType {
        self.loaded().entity_type(index)
    }
}
