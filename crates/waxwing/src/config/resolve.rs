//! From options to what the compiler and the runtime are given: checks that need more than one
//! option.

use super::{Config, ProfilingStrategy, SIGNALS_BASED_TRAPS, WasmBacktraceDetails};
use crate::Result;
use anyhow::{Context, ensure};
use waxwing_environ::Tunables;

#[cfg(feature = "cranelift")]
use {
    super::{OptLevel, Proposals, RegallocAlgorithm, Strategy},
    anyhow::bail,
    target_lexicon::OperatingSystem,
    wasmparser::WasmFeatures,
    waxwing_cranelift::CompilerBuilder,
    waxwing_environ::compile::Compiler,
};

/// The Cranelift settings that make code rely on faults of the hardware.
#[cfg(feature = "cranelift")]
const SPECTRE_MITIGATIONS: [&str; 2] = [
    "enable_heap_access_spectre_mitigation",
    "enable_table_access_spectre_mitigation",
];

/// The page size to assume when no compiler tells that of the target: the largest of the host's
/// architecture.
#[cfg(not(feature = "cranelift"))]
const HOST_PAGE_ALIGN: u64 = if cfg!(any(
    target_arch = "x86_64",
    target_arch = "s390x",
    target_arch = "riscv64"
)) {
    0x1000
} else if cfg!(target_vendor = "apple") {
    0x4000
} else {
    0x1_0000
};

/// The page size of bytecode, which is for hosts of all sizes.
#[cfg(not(feature = "cranelift"))]
const BYTECODE_PAGE_ALIGN: u64 = 0x1_0000;

impl Config {
    /// Checks what concerns neither the compiler nor memories.
    pub(crate) fn check(&self) -> Result<()> {
        ensure!(
            self.max_wasm_stack > 0,
            "`Config::max_wasm_stack(0)` leaves WebAssembly no stack: give a size in bytes"
        );
        ensure!(
            cfg!(feature = "addr2line")
                || !cfg!(feature = "runtime")
                || self.wasm_backtrace_details != WasmBacktraceDetails::Enable,
            "`Config::wasm_backtrace_details` needs the Cargo feature `addr2line` of this crate"
        );
        ensure!(
            SIGNALS_BASED_TRAPS || !self.signals_based_traps,
            "`Config::signals_based_traps(true)` needs the Cargo feature `signals-based-traps` of this crate"
        );
        ensure!(
            !self.debug.adapter_modules,
            "`Config::debug_adapter_modules(true)`: this crate has no components, and no modules that adapt them"
        );
        ensure!(
            cfg!(feature = "wmemcheck") || !self.debug.wmemcheck,
            "`Config::wmemcheck(true)` needs the Cargo feature `wmemcheck` of this crate"
        );
        #[cfg(feature = "async")]
        self.asynchronous.check(self.max_wasm_stack)?;
        ensure!(
            cfg!(all(feature = "profiling", feature = "runtime"))
                || self.profiler == ProfilingStrategy::None,
            "`Config::profiler({:?})` needs the Cargo features `profiling` and `runtime` of this crate",
            self.profiler
        );
        self.proposals.check(self.gc.support)
    }

    /// The settings that the compiler and the runtime share, but for the target's page size.
    fn tunables(&self, page_align: u64) -> Result<Tunables> {
        let memory = &self.memory;
        let sizes = [
            ("memory_reservation", memory.reservation),
            ("memory_guard_size", memory.guard_size),
            (
                "memory_reservation_for_growth",
                memory.reservation_for_growth,
            ),
        ];
        // A guard may lie at both ends.
        let mut total = memory.guard_size;
        for (name, bytes) in sizes {
            let sum = total
                .checked_add(bytes)
                .filter(|sum| *sum <= isize::MAX as u64);
            total = sum.with_context(|| {
                format!("`Config::{name}({bytes:#x})` exceeds the address space of the host")
            })?;
        }
        let [reservation, guard_size, reservation_for_growth] =
            sizes.map(|(_, bytes)| bytes.next_multiple_of(page_align));
        Ok(Tunables {
            memory_reservation: reservation,
            memory_guard_size: guard_size,
            memory_reservation_for_growth: reservation_for_growth,
            memory_may_move: memory.may_move,
            guard_before_linear_memory: memory.guard_before,
            memory_init_cow: memory.init_cow,
            memory_guaranteed_dense_image_size: memory.guaranteed_dense_image_size,
            table_lazy_init: self.table_lazy_init,
            generate_address_map: self.generate_address_map,
            signals_based_traps: self.uses_signals(),
            page_align,
            relaxed_simd_deterministic: self.relaxed_simd_deterministic,
            collector: self.gc.collector(),
            consume_fuel: self.consume_fuel,
            epoch_interruption: self.epoch_interruption,
            #[cfg(feature = "cranelift")]
            inlining: self.inlining(),
            #[cfg(not(feature = "cranelift"))]
            inlining: waxwing_environ::Inlining::No,
            // No debugger knows bytecode.
            debug_info: self.debug.debug_info && !self.is_bytecode(),
            wmemcheck: self.debug.wmemcheck,
        })
    }

    /// The settings of an engine that cannot compile.
    #[cfg(not(feature = "cranelift"))]
    pub(crate) fn host_tunables(&self) -> Result<Tunables> {
        self.tunables(match self.is_bytecode() {
            true => BYTECODE_PAGE_ALIGN,
            false => HOST_PAGE_ALIGN,
        })
    }

    /// The compiler, and the settings that it shares with the runtime.
    #[cfg(feature = "cranelift")]
    pub(crate) fn build_compiler(&self) -> Result<(Box<dyn Compiler>, Tunables)> {
        let mut builder = self.compiler_builder()?;
        let tunables = self.tunables(builder.page_align()?)?;
        builder
            .tunables(tunables.clone())
            .emit_clif(self.compiler.emit_clif.is_some());
        #[cfg(feature = "incremental-cache")]
        if let Some(store) = &self.compiler.cache_store {
            builder.incremental_cache(store.clone());
        }
        Ok((builder.build()?, tunables))
    }

    #[cfg(feature = "cranelift")]
    fn compiler_builder(&self) -> Result<CompilerBuilder> {
        let options = &self.compiler;
        ensure!(
            !options.pcc,
            "`Config::cranelift_pcc(true)`: Cranelift has no proof-carrying code any more; use `Config::cranelift_debug_verifier`"
        );
        let mut builder = match options.strategy {
            Strategy::Winch => bail!(
                "`Config::strategy(Strategy::Winch)`: this crate has no such compiler; use `Strategy::Cranelift`, and to compile fast \
                 `OptLevel::None` with `RegallocAlgorithm::SinglePass`"
            ),
            Strategy::Auto | Strategy::Cranelift => CompilerBuilder::new(self.compiler_target())?,
        };
        let opt_level = match options.opt_level {
            OptLevel::None => "none",
            OptLevel::Speed => "speed",
            OptLevel::SpeedAndSize => "speed_and_size",
        };
        let regalloc_algorithm = match options.regalloc_algorithm {
            RegallocAlgorithm::Backtracking => "backtracking",
            RegallocAlgorithm::SinglePass => "single_pass",
        };
        let on_or_off = |on| if on { "true" } else { "false" };
        let unwind_info = self.unwind_info(&builder)?;
        builder
            .set("opt_level", opt_level)?
            .set("regalloc_algorithm", regalloc_algorithm)?
            .set("enable_verifier", on_or_off(options.debug_verifier))?
            .set(
                "enable_nan_canonicalization",
                on_or_off(options.nan_canonicalization),
            )?
            .set("unwind_info", on_or_off(unwind_info))?;
        // Bytecode has no use for them, whatever they are.
        let faults = self.signals_based_traps || self.is_bytecode();
        if !faults {
            for name in SPECTRE_MITIGATIONS {
                builder.set(name, "false")?;
            }
        }
        for (name, value) in &options.flags {
            match value {
                Some(value) => builder.set(name, value)?,
                None => builder.enable(name)?,
            };
        }
        for name in SPECTRE_MITIGATIONS {
            if !faults && self.explicit_switch(name) == Some(true) {
                bail!(
                    "the Cranelift setting `{name}` relies on hardware faults: leave it out, or use \
                     `Config::signals_based_traps(true)`"
                );
            }
        }
        Ok(builder)
    }

    /// Whether functions get native unwind information.
    #[cfg(feature = "cranelift")]
    fn unwind_info(&self, builder: &CompilerBuilder) -> Result<bool> {
        let option = self.compiler.native_unwind_info;
        let setting = self.explicit_switch("unwind_info");
        if let (Some(option), Some(setting)) = (option, setting) {
            ensure!(
                option == setting,
                "`Config::native_unwind_info({option})` contradicts the Cranelift setting \
                 `unwind_info={setting}`: leave one out"
            );
        }
        let enable = option.or(setting).unwrap_or(true);
        ensure!(
            enable || builder.triple().operating_system != OperatingSystem::Windows,
            "Windows needs unwind information: leave out `Config::native_unwind_info(false)`"
        );
        Ok(enable)
    }

    /// What a Cranelift setting that is on or off was set to by name, if it was.
    #[cfg(feature = "cranelift")]
    fn explicit_switch(&self, name: &str) -> Option<bool> {
        let mut settings = self.compiler.flags.iter().rev();
        let (_, value) = settings.find(|(flag, _)| flag == name)?;
        match value.as_deref() {
            None | Some("true" | "on" | "yes" | "1") => Some(true),
            Some(_) => Some(false),
        }
    }
}

/// The features with which modules are validated. References to what a collector manages are among
/// them only if there is one.
#[cfg(feature = "cranelift")]
pub(crate) fn wasm_features(proposals: Proposals, has_collector: bool) -> WasmFeatures {
    let mut features = WasmFeatures::MUTABLE_GLOBAL
        | WasmFeatures::SATURATING_FLOAT_TO_INT
        | WasmFeatures::SIGN_EXTENSION
        | WasmFeatures::FLOATS;
    features.set(WasmFeatures::GC_TYPES, has_collector);
    for (proposal, feature) in [
        (Proposals::BULK_MEMORY, WasmFeatures::BULK_MEMORY),
        (Proposals::REFERENCE_TYPES, WasmFeatures::REFERENCE_TYPES),
        (Proposals::MULTI_VALUE, WasmFeatures::MULTI_VALUE),
        (Proposals::SIMD, WasmFeatures::SIMD),
        (Proposals::RELAXED_SIMD, WasmFeatures::RELAXED_SIMD),
        (Proposals::MULTI_MEMORY, WasmFeatures::MULTI_MEMORY),
        (Proposals::TAIL_CALL, WasmFeatures::TAIL_CALL),
        (Proposals::EXTENDED_CONST, WasmFeatures::EXTENDED_CONST),
        (Proposals::THREADS, WasmFeatures::THREADS),
        (Proposals::MEMORY64, WasmFeatures::MEMORY64),
        (
            Proposals::CUSTOM_PAGE_SIZES,
            WasmFeatures::CUSTOM_PAGE_SIZES,
        ),
        (Proposals::WIDE_ARITHMETIC, WasmFeatures::WIDE_ARITHMETIC),
        (
            Proposals::FUNCTION_REFERENCES,
            WasmFeatures::FUNCTION_REFERENCES,
        ),
        (Proposals::GC, WasmFeatures::GC),
        (Proposals::EXCEPTIONS, WasmFeatures::EXCEPTIONS),
    ] {
        features.set(feature, proposals.contains(proposal));
    }
    features
}
