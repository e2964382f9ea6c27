//! Options that switch WebAssembly proposals.

use super::Config;
use crate::Result;
use anyhow::bail;

bitflags::bitflags! {
    /// WebAssembly proposals that can be switched.
    #[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
    pub(crate) struct Proposals: u32 {
        const BULK_MEMORY = 1 << 0;
        const REFERENCE_TYPES = 1 << 1;
        const MULTI_VALUE = 1 << 2;
        const SIMD = 1 << 3;
        const RELAXED_SIMD = 1 << 4;
        const MULTI_MEMORY = 1 << 5;
        const TAIL_CALL = 1 << 6;
        const EXTENDED_CONST = 1 << 7;
        const THREADS = 1 << 8;
        const MEMORY64 = 1 << 9;
        const CUSTOM_PAGE_SIZES = 1 << 10;
        const WIDE_ARITHMETIC = 1 << 11;
        const FUNCTION_REFERENCES = 1 << 12;
        const GC = 1 << 13;
        const EXCEPTIONS = 1 << 14;
    }
}

/// The proposals that are not on unless they are asked for.
const OFF_BY_DEFAULT: Proposals = Proposals::FUNCTION_REFERENCES
    .union(Proposals::MEMORY64)
    .union(Proposals::CUSTOM_PAGE_SIZES)
    .union(Proposals::WIDE_ARITHMETIC)
    .union(Proposals::GC)
    .union(Proposals::EXCEPTIONS);

/// The proposals whose values a collector manages, and their names as a user knows them.
const NEED_COLLECTOR: [(Proposals, &str); 2] = [
    (Proposals::GC, "wasm_gc"),
    (Proposals::EXCEPTIONS, "wasm_exceptions"),
];

impl Default for Proposals {
    fn default() -> Self {
        let mut on = Proposals::all() - OFF_BY_DEFAULT;
        on.set(Proposals::REFERENCE_TYPES, cfg!(feature = "gc"));
        on.set(Proposals::THREADS, cfg!(feature = "threads"));
        on
    }
}

/// A proposal that builds on another: what is on, what it needs, and both as a user knows them.
const DEPENDENCIES: [(Proposals, Proposals, &str, &str); 6] = [
    (
        Proposals::REFERENCE_TYPES,
        Proposals::BULK_MEMORY,
        "wasm_reference_types",
        "wasm_bulk_memory",
    ),
    (
        Proposals::FUNCTION_REFERENCES,
        Proposals::REFERENCE_TYPES,
        "wasm_function_references",
        "wasm_reference_types",
    ),
    (
        Proposals::GC,
        Proposals::FUNCTION_REFERENCES,
        "wasm_gc",
        "wasm_function_references",
    ),
    (
        Proposals::EXCEPTIONS,
        Proposals::REFERENCE_TYPES,
        "wasm_exceptions",
        "wasm_reference_types",
    ),
    (
        Proposals::RELAXED_SIMD,
        Proposals::SIMD,
        "wasm_relaxed_simd",
        "wasm_simd",
    ),
    (
        Proposals::THREADS,
        Proposals::BULK_MEMORY,
        "wasm_threads",
        "wasm_bulk_memory",
    ),
];

impl Proposals {
    /// Each proposal by its name in artifacts, and whether it is on.
    #[cfg(any(feature = "cranelift", feature = "runtime"))]
    pub(crate) fn by_name(self) -> impl Iterator<Item = (String, bool)> {
        Proposals::all()
            .iter_names()
            .map(move |(name, flag)| (name.to_lowercase(), self.contains(flag)))
    }

    /// Fails if a proposal is on without what it needs: another one, or a collector.
    pub(super) fn check(self, has_collector: bool) -> Result<()> {
        for (proposal, needed, name, needed_name) in DEPENDENCIES {
            if self.contains(proposal) && !self.contains(needed) {
                bail!(
                    "`Config::{name}(true)` needs `Config::{needed_name}(true)`: \
                     switch both on or both off"
                );
            }
        }
        for (proposal, name) in NEED_COLLECTOR {
            if self.contains(proposal) && !has_collector {
                bail!(
                    "`Config::{name}(true)` needs a collector: leave out \
                     `Config::gc_support(false)`, or switch both off"
                );
            }
        }
        Ok(())
    }
}

macro_rules! proposal_options {
    ($($(#[$attr:meta])* $name:ident = $flag:ident;)*) => {
        impl Config {
            $(
                $(#[$attr])*
                pub fn $name(&mut self, enable: bool) -> &mut Self {
                    self.proposals.set(Proposals::$flag, enable);
                    self
                }
            )*
        }
    };
}

proposal_options! {
    /// Whether modules can use the tail call proposal: `return_call` and `return_call_indirect`,
    /// which run a function in place of the caller, however often, without using more stack.
    ///
    /// Default: `true`.
    wasm_tail_call = TAIL_CALL;

    /// Whether modules can use the reference types proposal: values of the types `funcref` and
    /// `externref`, several tables, and instructions that read and write tables.
    ///
    /// Default: `true`.
    ///
    /// # Errors
    ///
    /// The proposal builds on bulk memory operations: [`Engine::new`](crate::Engine::new) fails
    /// if this is on and [`Config::wasm_bulk_memory`] is off, or if this is off while
    /// [`Config::wasm_function_references`], which builds on it, is on.
    #[cfg(feature = "gc")]
    wasm_reference_types = REFERENCE_TYPES;

    /// Whether modules can use the typed function references proposal: references to functions of
    /// one type, references that cannot be null, and calls through references, which need no check
    /// of the function's type.
    ///
    /// Default: `false`.
    ///
    /// # Errors
    ///
    /// The proposal builds on reference types: [`Engine::new`](crate::Engine::new) fails if this
    /// is on and [`Config::wasm_reference_types`] is off, or if this is off while
    /// [`Config::wasm_gc`], which builds on it, is on.
    #[cfg(feature = "gc")]
    wasm_function_references = FUNCTION_REFERENCES;

    /// Whether modules can use the garbage collection proposal: structs and arrays that a
    /// [collector](Config::collector) manages, `i31` numbers, subtyping, and casts.
    ///
    /// Default: `false`.
    ///
    /// # Errors
    ///
    /// The proposal builds on typed function references: [`Engine::new`](crate::Engine::new) fails
    /// if this is on and [`Config::wasm_function_references`] or [`Config::gc_support`] is off.
    #[cfg(feature = "gc")]
    wasm_gc = GC;

    /// Whether modules can use the exception handling proposal: tags, the instructions `try_table`,
    /// `throw` and `throw_ref`, and references to exceptions, which a [collector](Config::collector)
    /// manages.
    ///
    /// Code that does not throw is as fast as without handlers. The instructions of the proposal's first version, `try`
    /// and `catch`, are not part of it.
    ///
    /// Default: `false`.
    ///
    /// # Errors
    ///
    /// [`Engine::new`](crate::Engine::new) fails if this is on and [`Config::wasm_reference_types`]
    /// or [`Config::gc_support`] is off.
    #[cfg(feature = "gc")]
    wasm_exceptions = EXCEPTIONS;

    /// Whether modules can use the SIMD proposal: the type `v128` and its instructions.
    ///
    /// Code for x86_64 then needs a processor with SSSE3 and SSE4.1 or better.
    ///
    /// Default: `true`.
    ///
    /// # Errors
    ///
    /// [`Engine::new`](crate::Engine::new) fails if this is off and
    /// [`Config::wasm_relaxed_simd`] is on.
    wasm_simd = SIMD;

    /// Whether modules can use the relaxed SIMD proposal: vector instructions whose results for
    /// some inputs depend on the processor, and which are faster for that.
    ///
    /// [`Config::relaxed_simd_deterministic`] makes their results the same everywhere.
    ///
    /// Default: `true`.
    ///
    /// # Errors
    ///
    /// The proposal builds on SIMD: [`Engine::new`](crate::Engine::new) fails if this is on and
    /// [`Config::wasm_simd`] is off.
    wasm_relaxed_simd = RELAXED_SIMD;

    /// Whether modules can use the bulk memory operations proposal: instructions that copy and
    /// fill ranges of memories and tables, and passive segments.
    ///
    /// Default: `true`.
    ///
    /// # Errors
    ///
    /// [`Engine::new`](crate::Engine::new) fails if this is off while the reference types or the
    /// threads proposal, which build on it, is on.
    wasm_bulk_memory = BULK_MEMORY;

    /// Whether modules can use the multi-value proposal: functions and blocks with several
    /// results, and blocks with parameters.
    ///
    /// Default: `true`.
    wasm_multi_value = MULTI_VALUE;

    /// Whether modules can use the multi-memory proposal: more than one linear memory.
    ///
    /// Default: `true`.
    wasm_multi_memory = MULTI_MEMORY;

    /// Whether modules can use the extended constant expressions proposal: addition, subtraction
    /// and multiplication of integers in constant expressions.
    ///
    /// Default: `true`.
    wasm_extended_const = EXTENDED_CONST;

    /// Whether modules can use the threads proposal: shared linear memories, atomic instructions,
    /// and waiting and notifying.
    ///
    /// Despite its name the proposal does not let modules start threads. It is the host that runs
    /// instances on several threads, each in a store of its own, and gives them a
    /// [`SharedMemory`](crate::SharedMemory) as an import.
    ///
    /// Default: `true`.
    ///
    /// # Errors
    ///
    /// The proposal builds on bulk memory operations: [`Engine::new`](crate::Engine::new) fails
    /// if this is on and [`Config::wasm_bulk_memory`] is off.
    #[cfg(feature = "threads")]
    wasm_threads = THREADS;

    /// Whether modules can use the memory64 proposal: linear memories and tables with 64-bit
    /// indices.
    ///
    /// Accesses to such memories are checked by code where those to memories with 32-bit indices
    /// are caught by guard pages, so that they are slower.
    ///
    /// Default: `false`.
    wasm_memory64 = MEMORY64;

    /// Whether modules can use the custom page sizes proposal: linear memories whose pages are not
    /// 64 KiB large.
    ///
    /// The page size is part of a memory's type, and memories of one module can have different
    /// ones. The proposal allows 64 KiB and one byte. With small pages WebAssembly can run where
    /// there are less than 64 KiB of memory.
    ///
    /// Default: `false`.
    wasm_custom_page_sizes = CUSTOM_PAGE_SIZES;

    /// Whether modules can use the wide arithmetic proposal: addition and subtraction of 128-bit
    /// integers, and multiplication of 64-bit integers to 128 bits.
    ///
    /// Default: `false`.
    wasm_wide_arithmetic = WIDE_ARITHMETIC;
}

impl Config {
    /// Whether the instructions of the relaxed SIMD proposal give the same results on every
    /// host: those that the specification's deterministic profile defines.
    ///
    /// By default each is compiled to what is fastest on the processor, and some inputs give
    /// different results on different processors.
    ///
    /// Default: `false`.
    pub fn relaxed_simd_deterministic(&mut self, enable: bool) -> &mut Self {
        self.relaxed_simd_deterministic = enable;
        self
    }
}
