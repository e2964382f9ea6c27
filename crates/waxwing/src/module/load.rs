//! How modules come to be: by compiling, or by loading an artifact.

use super::{Module, ModuleInner};
#[cfg(feature = "cranelift")]
use crate::engine::has_landing_pads;
use crate::{Engine, Result};
use anyhow::{Context, bail, ensure};
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use waxwing_environ::artifact::ArtifactInfo;
use waxwing_vm::{ArtifactKind, CodeMemory, LoadedModule};

#[cfg(feature = "cranelift")]
use crate::compile::{self, CodeBuilder, CompiledArtifact};

#[cfg(feature = "cranelift")]
impl Module {
    /// Compiles a module from the binary format or, with the Cargo feature `wat`, the text format.
    ///
    /// # Errors
    ///
    /// Fails if the bytes are no valid module, if the module uses a proposal that the engine's
    /// [`Config`](crate::Config) switches off, if it exceeds a limit of the engine, or if the
    /// engine compiles for another platform than this host.
    pub fn new(engine: &Engine, bytes: impl AsRef<[u8]>) -> Result<Module> {
        CodeBuilder::new(engine)
            .wasm_binary_or_text(bytes.as_ref(), None)?
            .compile_module()
    }

    /// Compiles a module from a file in the binary format or, with the Cargo feature `wat`, the
    /// text format.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be read, and as [`Module::new`] does. Errors name the file.
    pub fn from_file(engine: &Engine, file: impl AsRef<Path>) -> Result<Module> {
        CodeBuilder::new(engine)
            .wasm_binary_or_text_file(file.as_ref())?
            .compile_module()
    }

    /// Compiles a module from the binary format: the text format is never accepted.
    ///
    /// # Errors
    ///
    /// Fails as [`Module::new`] does.
    pub fn from_binary(engine: &Engine, binary: &[u8]) -> Result<Module> {
        CodeBuilder::new(engine)
            .wasm_binary(binary, None)?
            .compile_module()
    }

    /// Makes a module from a file of any kind: one that [`Module::from_file`] takes is compiled, and
    /// an artifact is loaded as by [`Module::deserialize_file`].
    ///
    /// # Errors
    ///
    /// Fails as those two functions do.
    ///
    /// # Safety
    ///
    /// The file is trusted if it is an artifact: see [`Module::deserialize_file`].
    pub unsafe fn from_trusted_file(engine: &Engine, file: impl AsRef<Path>) -> Result<Module> {
        let file = file.as_ref();
        match engine.detect_precompiled_file(file)? {
            // SAFETY: the caller trusts the file.
            Some(_) => unsafe { Module::deserialize_file(engine, file) },
            None => Module::from_file(engine, file),
        }
    }

    /// Checks that bytes in the binary format are a valid module of this engine's proposals, without
    /// compiling it.
    ///
    /// # Errors
    ///
    /// Fails if they are not; the error says what is wrong, and at which offset.
    pub fn validate(engine: &Engine, binary: &[u8]) -> Result<()> {
        compile::validate(engine, binary)
    }

    /// Makes a module from an entry of the cache, unless it is damaged.
    #[cfg(feature = "cache")]
    pub(crate) fn from_cache(engine: &Engine, entry: waxwing_cache::Entry) -> Result<Module> {
        let file = Arc::new(entry.file().try_clone()?);
        // SAFETY: nobody changes a file of the cache, which is trusted.
        let code = unsafe { CodeMemory::from_file(file)? };
        let artifact_len = usize::try_from(entry.len())?;
        let artifact = code.image().get(..artifact_len);
        ensure!(
            artifact.is_some_and(|artifact| entry.is_intact(artifact)),
            "the file does not have the bytes that were stored"
        );
        // SAFETY: the cache is trusted, and the artifact is as it was made.
        unsafe { Module::from_artifact(engine, code, artifact_len) }
    }

    /// Loads what this engine has just compiled.
    pub(crate) fn from_compiled(engine: &Engine, compiled: CompiledArtifact) -> Result<Module> {
        let CompiledArtifact { bytes, info } = compiled;
        let artifact_len = bytes.len();
        let code = CodeMemory::from_bytes(&bytes)?;
        drop(bytes);
        let has_landing_pads = has_landing_pads(&engine.compiler().isa_flags());
        // SAFETY: the artifact was made by this engine's compiler, for this host.
        unsafe { Module::load(engine, code, artifact_len, has_landing_pads, info) }
    }
}

impl Module {
    /// Makes a module from its artifact, the bytes that [`Module::serialize`] or
    /// [`Engine::precompile_module`](crate::Engine::precompile_module) gave. They are copied.
    ///
    /// # Errors
    ///
    /// Fails if the bytes are no artifact of a module, are damaged in a way that shows, were made
    /// by another version of the engine (see
    /// [`Config::module_version`](crate::Config::module_version)), for another platform, for a
    /// processor with features that this one does not have, or with settings that differ from
    /// this engine's in a way that matters. The error says which.
    ///
    /// # Safety
    ///
    /// An artifact is machine code, and what is in it is run. Errors are a help against mistakes:
    /// nothing keeps bytes that someone changed on purpose from being loaded, and from doing
    /// anything at all. Only pass bytes that come, unchanged, from one of the functions above.
    pub unsafe fn deserialize(engine: &Engine, bytes: impl AsRef<[u8]>) -> Result<Module> {
        let bytes = bytes.as_ref();
        let deserialize = || {
            let code = CodeMemory::from_bytes(bytes)?;
            // SAFETY: the caller trusts the artifact.
            unsafe { Module::from_artifact(engine, code, bytes.len()) }
        };
        deserialize().context("failed to deserialize a module")
    }

    /// Makes a module from a file that holds its artifact, without reading all of the file:
    /// it is mapped, parts are read when they are first used, and processes that map the same
    /// file share them. Of files of up to 64 KiB, the code is mapped and the rest is read.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be opened or mapped, and as [`Module::deserialize`] does. Errors
    /// name the file.
    ///
    /// # Safety
    ///
    /// The file is trusted as the bytes of [`Module::deserialize`] are, and must not be changed
    /// or truncated as long as the module, or anything made from it, is in use.
    pub unsafe fn deserialize_file(engine: &Engine, path: impl AsRef<Path>) -> Result<Module> {
        let path = path.as_ref();
        let deserialize = || {
            let file = File::open(path)?;
            // SAFETY: the caller trusts the file, and keeps it as it is.
            unsafe { Module::map(engine, file) }
        };
        deserialize().with_context(|| format!("failed to deserialize `{}`", path.display()))
    }

    /// Makes a module from an open file that holds its artifact: see
    /// [`Module::deserialize_file`].
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be mapped, and as [`Module::deserialize`] does.
    ///
    /// # Safety
    ///
    /// As for [`Module::deserialize_file`].
    pub unsafe fn deserialize_open_file(engine: &Engine, file: File) -> Result<Module> {
        // SAFETY: the caller trusts the file, and keeps it as it is.
        unsafe { Module::map(engine, file) }.context("failed to deserialize a module from a file")
    }

    /// # Safety
    ///
    /// The file is an artifact, unchanged since it was made, and stays as it is.
    unsafe fn map(engine: &Engine, file: File) -> Result<Module> {
        // SAFETY: the caller guarantees that the file stays as it is.
        let code = unsafe { CodeMemory::from_file(Arc::new(file))? };
        let artifact_len = code.image().len();
        // SAFETY: the caller guarantees that the artifact is as it was made.
        unsafe { Module::from_artifact(engine, code, artifact_len) }
    }

    /// # Safety
    ///
    /// The artifact is unchanged since it was made.
    unsafe fn from_artifact(
        engine: &Engine,
        code: CodeMemory,
        artifact_len: usize,
    ) -> Result<Module> {
        if code.kind() != ArtifactKind::Module {
            bail!("the artifact is a component's, not a module's");
        }
        let has_landing_pads = engine.check_artifact_header(code.engine())?;
        ensure!(
            code.is_intact(),
            "the artifact is damaged: its checksum does not fit; compile the module again"
        );
        let (info, rest) = postcard::take_from_bytes::<ArtifactInfo>(code.info())
            .context("the artifact's description of the module is damaged")?;
        ensure!(
            rest.is_empty(),
            "the artifact's description of the module is damaged"
        );
        // SAFETY: the artifact suits the engine, and the caller guarantees the rest.
        unsafe { Module::load(engine, code, artifact_len, has_landing_pads, info) }
    }

    /// # Safety
    ///
    /// The artifact is unchanged since it was made, for settings that suit `engine`.
    unsafe fn load(
        engine: &Engine,
        code: CodeMemory,
        artifact_len: usize,
        has_landing_pads: bool,
        info: ArtifactInfo,
    ) -> Result<Module> {
        // SAFETY: the caller guarantees that the artifact is fit to run.
        let code = unsafe { code.publish(has_landing_pads)? };
        let copy_images = engine.config().memory.force_init_memfd;
        let loaded = LoadedModule::new(code, info, engine.type_registry(), copy_images)?;
        engine.allocator().check_module(&loaded)?;
        let module = Module {
            inner: Arc::new(ModuleInner {
                engine: engine.clone(),
                loaded,
                artifact_len,
                #[cfg(feature = "addr2line")]
                source_map: Default::default(),
            }),
        };
        #[cfg(feature = "profiling")]
        if let Some(profiler) = engine.profiler() {
            crate::profiling::describe(profiler, &module)?;
        }
        Ok(module)
    }
}
