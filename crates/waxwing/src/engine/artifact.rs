//! What artifacts of an engine say of themselves, and which ones an engine can load.

use super::Engine;
use crate::Result;
use anyhow::Context;
use std::fs::File;
use std::hash::Hash;
use std::io::Read;
use std::path::Path;
#[cfg(any(feature = "runtime", feature = "cranelift"))]
use waxwing_environ::artifact::ArtifactHeader;
use waxwing_environ::artifact::{ELF_FLAGS_COMPONENT, ELF_FLAGS_MODULE, ELF_OS_ABI};

#[cfg(feature = "runtime")]
use {
    super::host,
    anyhow::{anyhow, bail, ensure},
    target_lexicon::Triple,
    waxwing_environ::artifact::FlagValue,
    waxwing_environ::{GcCollector, Tunables, bytecode_for_host, is_bytecode},
};

/// The length of the header of a 64-bit ELF file.
const ELF_HEADER_LENGTH: usize = 64;

/// What a precompiled artifact was made from.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Precompiled {
    /// A WebAssembly module: [`Module::deserialize`](crate::Module::deserialize) loads it.
    Module,
    /// A WebAssembly component.
    Component,
}

/// What kind of artifact begins with these bytes.
fn detect(bytes: &[u8]) -> Option<Precompiled> {
    const CLASS_64_BIT: u8 = 2;
    const BIG_ENDIAN: u8 = 2;
    let (header, _) = bytes.split_first_chunk::<ELF_HEADER_LENGTH>()?;
    if !header.starts_with(b"\x7fELF") || header[4] != CLASS_64_BIT || header[7] != ELF_OS_ABI {
        return None;
    }
    let flags = *header[48..].first_chunk()?;
    let flags = if header[5] == BIG_ENDIAN {
        u32::from_be_bytes(flags)
    } else {
        u32::from_le_bytes(flags)
    };
    match flags {
        ELF_FLAGS_MODULE => Some(Precompiled::Module),
        ELF_FLAGS_COMPONENT => Some(Precompiled::Component),
        _ => None,
    }
}

impl Engine {
    /// What `bytes` were made from if they are a precompiled artifact, of any engine and for any
    /// platform, or `None`.
    ///
    /// Only their header is read, so artifacts may turn out to be damaged, or to suit another
    /// engine, when they are loaded.
    pub fn detect_precompiled(&self, bytes: &[u8]) -> Option<Precompiled> {
        detect(bytes)
    }

    /// Like [`Engine::detect_precompiled`] for the contents of a file, of which no more than the
    /// header is read.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be read.
    pub fn detect_precompiled_file(&self, path: impl AsRef<Path>) -> Result<Option<Precompiled>> {
        let path = path.as_ref();
        let read = || {
            let mut header = Vec::with_capacity(ELF_HEADER_LENGTH);
            let file = File::open(path)?;
            file.take(ELF_HEADER_LENGTH as u64)
                .read_to_end(&mut header)?;
            Ok::<_, std::io::Error>(header)
        };
        let header = read().with_context(|| format!("failed to read `{}`", path.display()))?;
        Ok(detect(&header))
    }

    /// Whatever two engines must agree on for one to load artifacts of the other, and for both to
    /// put the same in them: if what two engines return hashes to the same value, they do.
    ///
    /// Embedders that keep artifacts can make the hash part of their keys.
    pub fn precompile_compatibility_hash(&self) -> impl Hash + '_ {
        CompatibilityHash(self)
    }
}

struct CompatibilityHash<'a>(&'a Engine);

impl Hash for CompatibilityHash<'_> {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        let engine = self.0;
        engine.config().module_version.hash(state);
        engine.config().module_version.as_str().hash(state);
        engine.proposals().hash(state);
        engine.tunables().hash(state);
        engine.backtrace_details().hash(state);
        #[cfg(feature = "cranelift")]
        {
            let compiler = engine.compiler();
            compiler.triple().to_string().hash(state);
            compiler.shared_flags().hash(state);
            compiler.isa_flags().hash(state);
        }
    }
}

#[cfg(feature = "cranelift")]
impl Engine {
    /// Compiles a module to an artifact, the bytes that
    /// [`Module::deserialize`](crate::Module::deserialize) loads, perhaps in another process or,
    /// with [`Config::target`](crate::Config::target), on another host.
    ///
    /// `bytes` are the binary format or, with the Cargo feature `wat`, the text format.
    ///
    /// # Errors
    ///
    /// Fails if the bytes are no valid module, or the module uses a proposal that is switched off.
    pub fn precompile_module(&self, bytes: &[u8]) -> Result<Vec<u8>> {
        crate::compile::CodeBuilder::new(self)
            .wasm_binary_or_text(bytes, None)?
            .compile_module_serialized()
    }

    /// What artifacts of this engine say of themselves.
    pub(crate) fn artifact_header(&self) -> ArtifactHeader {
        let compiler = self.compiler();
        ArtifactHeader {
            version: self.config().module_version.as_str().to_string(),
            target: compiler.triple().to_string(),
            shared_flags: compiler.shared_flags(),
            isa_flags: compiler.isa_flags(),
            tunables: self.tunables().clone(),
            features: self.proposals().by_name().collect(),
        }
    }
}

#[cfg(all(feature = "runtime", feature = "cranelift"))]
impl Engine {
    /// Fails unless code that this engine compiles can run on this host.
    pub(crate) fn check_compatible_with_native_host(&self) -> Result<()> {
        let mismatch = self.inner.host_mismatch.get_or_init(|| {
            let compiler = self.compiler();
            let check = host::check_target(compiler.triple())
                .and_then(|()| self.check_shared_flags(&compiler.shared_flags()))
                .and_then(|()| self.check_processor(&compiler.isa_flags()));
            check.err().map(|error| format!("{error:#}"))
        });
        match mismatch {
            Some(mismatch) => {
                Err(anyhow!("{mismatch}").context("this engine's code cannot run on this host"))
            }
            None => Ok(()),
        }
    }
}

/// The header of an artifact that an engine can run.
#[cfg(feature = "runtime")]
pub(super) struct AcceptedHeader {
    bytes: Box<[u8]>,
    has_landing_pads: bool,
}

/// Whether indirect branches in code that is compiled with these flags land on instructions that allow it.
#[cfg(feature = "runtime")]
pub(crate) fn has_landing_pads(isa_flags: &[(String, FlagValue)]) -> bool {
    let mut flags = isa_flags.iter();
    flags.any(|(name, value)| name == "use_bti" && *value == FlagValue::Bool(true))
}

/// How to speak of a collector, or of its absence.
#[cfg(feature = "runtime")]
fn collector_name(collector: Option<GcCollector>) -> &'static str {
    match collector {
        Some(GcCollector::Null) => "`Collector::Null`",
        Some(GcCollector::DeferredReferenceCounting) => "`Collector::DeferredReferenceCounting`",
        Some(GcCollector::Copying) => "`Collector::Copying`",
        None => "no collector, `Config::gc_support(false)`",
    }
}

#[cfg(feature = "runtime")]
impl Engine {
    fn check_processor(&self, flags: &[(String, FlagValue)]) -> Result<()> {
        // Those of bytecode say what its target does, and need nothing of the processor.
        if self.is_pulley() {
            return Ok(());
        }
        host::check_isa_flags(flags, self.config().detect_host_feature)
    }

    /// Fails unless this engine can run the artifact whose encoded header this is. Returns whether its code has
    /// [landing pads](has_landing_pads).
    pub(crate) fn check_artifact_header(&self, bytes: &[u8]) -> Result<bool> {
        let accepted = &self.inner.accepted_header;
        match accepted.get() {
            // What was checked once need not be again: headers of artifacts of one engine are the same.
            Some(accepted) if *accepted.bytes == *bytes => Ok(accepted.has_landing_pads),
            _ => {
                let header = self.decode_artifact_header(bytes)?;
                let has_landing_pads = has_landing_pads(&header.isa_flags);
                accepted.get_or_init(|| AcceptedHeader {
                    bytes: bytes.into(),
                    has_landing_pads,
                });
                Ok(has_landing_pads)
            }
        }
    }

    fn decode_artifact_header(&self, bytes: &[u8]) -> Result<ArtifactHeader> {
        let damaged = |_| anyhow!("the artifact's description of itself is damaged");
        // The version comes first, so that it can be told apart even if all else is different.
        let (version, _) = postcard::take_from_bytes::<&str>(bytes).map_err(damaged)?;
        let expected = self.config().module_version.as_str();
        ensure!(
            version == expected || expected.is_empty(),
            "compiled by version `{version}` of the engine, but this is version `{expected}`"
        );
        let (header, rest) = postcard::take_from_bytes::<ArtifactHeader>(bytes).map_err(damaged)?;
        ensure!(
            rest.is_empty(),
            "the artifact's description of itself is damaged"
        );
        let target: Triple = header
            .target
            .parse()
            .map_err(|error| anyhow!("the artifact's target `{}`: {error}", header.target))?;
        host::check_target(&target)?;
        match (is_bytecode(&target), self.is_pulley()) {
            (true, false) => bail!(
                "compiled to bytecode for {target}, but this engine runs machine code: give it the target by \
                 `Config::target`, or compile the module for this host"
            ),
            (false, true) => bail!(
                "compiled to machine code for {target}, but this engine runs bytecode: leave out `Config::target`, or \
                 compile the module for `{}`",
                bytecode_for_host()
            ),
            _ => {}
        }
        self.check_shared_flags(&header.shared_flags)?;
        self.check_processor(&header.isa_flags)?;
        self.check_tunables(&header.tunables)?;
        self.check_proposals(&header.features)?;
        Ok(header)
    }

    fn check_shared_flags(&self, flags: &[(String, FlagValue)]) -> Result<()> {
        let fuel_register = self.tunables().consume_fuel && !self.is_pulley();
        host::check_shared_flags(flags, fuel_register)
    }

    fn check_tunables(&self, found: &Tunables) -> Result<()> {
        // Every field, so that none can be forgotten. Images are checked as sections are: the
        // size up to which they are dense is of no concern at run time. Nor is which calls were inlined, or
        // whether artifacts describe themselves to debuggers.
        let Tunables {
            memory_reservation,
            memory_guard_size,
            memory_reservation_for_growth,
            memory_may_move,
            guard_before_linear_memory,
            memory_init_cow,
            memory_guaranteed_dense_image_size: _,
            table_lazy_init,
            generate_address_map,
            signals_based_traps,
            page_align,
            relaxed_simd_deterministic,
            collector,
            consume_fuel,
            epoch_interruption,
            inlining: _,
            debug_info: _,
            wmemcheck,
        } = self.tunables();
        macro_rules! check {
            ($($field:ident)*) => {$(
                ensure!(
                    found.$field == *$field,
                    "compiled with `Config::{}` as {}, but this engine has {}",
                    stringify!($field),
                    found.$field,
                    $field
                );
            )*};
        }
        check! {
            memory_reservation memory_guard_size memory_reservation_for_growth memory_may_move
            guard_before_linear_memory memory_init_cow table_lazy_init generate_address_map
            signals_based_traps relaxed_simd_deterministic consume_fuel epoch_interruption wmemcheck
        }
        ensure!(
            found.collector == *collector,
            "compiled for {}, but this engine has {}",
            collector_name(found.collector),
            collector_name(*collector)
        );
        ensure!(
            found.page_align == *page_align,
            "compiled for pages of {:#x} bytes, but this engine needs {page_align:#x}",
            found.page_align
        );
        Ok(())
    }

    fn check_proposals(&self, found: &[(String, bool)]) -> Result<()> {
        for (name, here) in self.proposals().by_name() {
            let there = found.iter().find(|(found, _)| *found == name);
            match (there.is_some_and(|(_, on)| *on), here) {
                (true, false) => bail!(
                    "compiled with `Config::wasm_{name}(true)`, but this engine has it switched off"
                ),
                (false, true) => bail!(
                    "compiled with `Config::wasm_{name}(false)`, but this engine has it switched on"
                ),
                _ => {}
            }
        }
        let known: Vec<String> = self.proposals().by_name().map(|(name, _)| name).collect();
        for (name, on) in found {
            ensure!(
                !on || known.contains(name),
                "compiled with the proposal `{name}`, which this engine does not know"
            );
        }
        Ok(())
    }
}
