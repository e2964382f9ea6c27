//! [`Config`]: what an engine can do, and how.

mod allocation;
#[cfg(feature = "async")]
mod asynchronous;
#[cfg(any(feature = "cache", feature = "incremental-cache"))]
mod cache;
#[cfg(feature = "cranelift")]
mod compiler;
mod debug;
mod gc;
#[cfg(feature = "runtime")]
mod host_memory;
mod memory;
mod options;
mod profiling;
mod proposals;
mod resolve;
mod target;
#[cfg(test)]
mod tests;

pub use allocation::InstanceAllocationStrategy;
#[cfg(feature = "memory-protection-keys")]
pub use allocation::MpkEnabled;
#[cfg(feature = "pooling-allocator")]
pub use allocation::{Enabled, PoolingAllocationConfig};
pub use gc::Collector;
pub use options::{ModuleVersionStrategy, WasmBacktraceDetails};
#[cfg(feature = "cranelift")]
pub use options::{OptLevel, RegallocAlgorithm, Strategy};
pub use profiling::ProfilingStrategy;
pub(crate) use proposals::Proposals;
#[cfg(feature = "cranelift")]
pub(crate) use resolve::wasm_features;
#[cfg(feature = "cranelift")]
pub use waxwing_environ::Inlining;

use crate::Result;
use anyhow::ensure;
use std::env;
use std::fmt;
use target_lexicon::Triple;
#[cfg(feature = "runtime")]
use waxwing_environ::Tunables;

/// The longest version that [`ModuleVersionStrategy::Custom`] can name, in bytes.
const MAX_VERSION_LENGTH: usize = 255;

/// The default of [`Config::max_wasm_stack`].
const DEFAULT_MAX_WASM_STACK: usize = 512 << 10;

/// Whether faults of the hardware can become traps here. Code that is compiled to run elsewhere can rely on them anyway.
const SIGNALS_BASED_TRAPS: bool =
    cfg!(feature = "signals-based-traps") || !cfg!(feature = "runtime");

/// Environment variables that ask for file names and lines in backtraces.
const BACKTRACE_DETAILS_VARIABLES: [&str; 2] =
    ["WASMTIME_BACKTRACE_DETAILS", "WAXWING_BACKTRACE_DETAILS"];

/// Whether a feature of the host's processor, by the name that the Rust standard library gives
/// it, is there; `None` for a name that is not known.
#[cfg(feature = "runtime")]
pub(crate) type DetectHostFeature = fn(&str) -> Option<bool>;

/// The settings of an [`Engine`](crate::Engine): how modules are compiled, which WebAssembly
/// proposals they can use, and how they are run.
///
/// Methods take and return `&mut Self`, so that calls can be chained. Most values are only
/// checked when an engine is made of them, so it is [`Engine::new`](crate::Engine::new) that
/// tells of a bad one.
///
/// ```
/// use waxwing::{Config, Engine};
///
/// # fn main() -> waxwing::Result<()> {
/// let engine = Engine::new(Config::new().wasm_simd(false).wasm_relaxed_simd(false))?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Config {
    #[cfg(feature = "cranelift")]
    pub(crate) compiler: compiler::CompilerConfig,
    #[cfg(feature = "parallel-compilation")]
    pub(crate) parallel_compilation: bool,
    /// The host with all its features if `None`.
    pub(crate) target: Option<Triple>,
    pub(crate) proposals: Proposals,
    pub(crate) gc: gc::GcConfig,
    pub(crate) memory: memory::MemoryConfig,
    pub(crate) allocation_strategy: InstanceAllocationStrategy,
    #[cfg(feature = "runtime")]
    pub(crate) host_memory: host_memory::HostMemoryConfig,
    #[cfg(feature = "async")]
    pub(crate) asynchronous: asynchronous::AsyncConfig,
    pub(crate) debug: debug::DebugConfig,
    pub(crate) max_wasm_stack: usize,
    pub(crate) wasm_backtrace: bool,
    pub(crate) wasm_backtrace_details: WasmBacktraceDetails,
    pub(crate) generate_address_map: bool,
    pub(crate) signals_based_traps: bool,
    pub(crate) relaxed_simd_deterministic: bool,
    pub(crate) table_lazy_init: bool,
    pub(crate) consume_fuel: bool,
    pub(crate) epoch_interruption: bool,
    pub(crate) module_version: ModuleVersionStrategy,
    pub(crate) profiler: ProfilingStrategy,
    #[cfg(feature = "cache")]
    pub(crate) cache: Option<crate::Cache>,
    #[cfg(feature = "runtime")]
    pub(crate) detect_host_feature: DetectHostFeature,
}

impl Default for Config {
    fn default() -> Config {
        Config::new()
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut f = f.debug_struct("Config");
        #[cfg(feature = "cranelift")]
        f.field("compiler", &self.compiler);
        #[cfg(feature = "parallel-compilation")]
        f.field("parallel_compilation", &self.parallel_compilation);
        f.field("target", &self.target);
        #[cfg(feature = "runtime")]
        f.field("host_memory", &self.host_memory);
        f.field("proposals", &self.proposals)
            .field("gc", &self.gc)
            .field("memory", &self.memory)
            .field("allocation_strategy", &self.allocation_strategy)
            .field("debug", &self.debug)
            .field("max_wasm_stack", &self.max_wasm_stack);
        #[cfg(feature = "async")]
        f.field("asynchronous", &self.asynchronous);
        f.field("wasm_backtrace", &self.wasm_backtrace)
            .field("wasm_backtrace_details", &self.wasm_backtrace_details)
            .field("generate_address_map", &self.generate_address_map)
            .field("signals_based_traps", &self.signals_based_traps)
            .field(
                "relaxed_simd_deterministic",
                &self.relaxed_simd_deterministic,
            )
            .field("table_lazy_init", &self.table_lazy_init)
            .field("consume_fuel", &self.consume_fuel)
            .field("epoch_interruption", &self.epoch_interruption)
            .field("module_version", &self.module_version)
            .field("profiler", &self.profiler)
            .finish_non_exhaustive()
    }
}

impl Config {
    /// The settings that each option's documentation gives as its default.
    pub fn new() -> Self {
        Config {
            #[cfg(feature = "cranelift")]
            compiler: compiler::CompilerConfig::default(),
            #[cfg(feature = "parallel-compilation")]
            parallel_compilation: true,
            target: None,
            proposals: Proposals::default(),
            gc: gc::GcConfig::default(),
            memory: memory::MemoryConfig::default(),
            allocation_strategy: InstanceAllocationStrategy::default(),
            #[cfg(feature = "runtime")]
            host_memory: host_memory::HostMemoryConfig::default(),
            #[cfg(feature = "async")]
            asynchronous: asynchronous::AsyncConfig::default(),
            debug: debug::DebugConfig::default(),
            max_wasm_stack: DEFAULT_MAX_WASM_STACK,
            wasm_backtrace: true,
            wasm_backtrace_details: WasmBacktraceDetails::Environment,
            generate_address_map: true,
            signals_based_traps: SIGNALS_BASED_TRAPS,
            relaxed_simd_deterministic: false,
            table_lazy_init: true,
            consume_fuel: false,
            epoch_interruption: false,
            module_version: ModuleVersionStrategy::default(),
            profiler: ProfilingStrategy::None,
            #[cfg(feature = "cache")]
            cache: None,
            #[cfg(feature = "runtime")]
            detect_host_feature: crate::engine::detect_host_feature,
        }
    }

    /// Whether errors that come out of WebAssembly carry a
    /// [`WasmBacktrace`](crate::WasmBacktrace), for traps as well as for errors of host functions.
    ///
    /// A backtrace is taken by following frame pointers, which needs no locks and is cheap, but
    /// not free: a program in which errors are frequent may want to switch it off. With it,
    /// `error.downcast_ref::<WasmBacktrace>()` gives the backtrace; without, no error has any.
    ///
    /// Default: `true`.
    pub fn wasm_backtrace(&mut self, enable: bool) -> &mut Self {
        self.wasm_backtrace = enable;
        self
    }

    /// Whether backtraces name source files and lines, from the DWARF debugging information in
    /// the wasm binary.
    ///
    /// Modules that are compiled while this is on keep that information, which makes their
    /// artifacts larger.
    ///
    /// Default: [`WasmBacktraceDetails::Environment`].
    ///
    /// # Errors
    ///
    /// [`Engine::new`](crate::Engine::new) fails if details are asked for by
    /// [`WasmBacktraceDetails::Enable`] and this crate was built without its Cargo feature
    /// `addr2line`.
    pub fn wasm_backtrace_details(&mut self, enable: WasmBacktraceDetails) -> &mut Self {
        self.wasm_backtrace_details = enable;
        self
    }

    /// Whether modules keep the table that leads from machine code back to offsets in the wasm
    /// binary.
    ///
    /// Backtraces need it to give offsets, and to find source files and lines. Without it
    /// artifacts are smaller.
    ///
    /// Default: `true`.
    pub fn generate_address_map(&mut self, generate: bool) -> &mut Self {
        self.generate_address_map = generate;
        self
    }

    /// The most stack space, in bytes, that WebAssembly code may use on a thread.
    ///
    /// Code that needs more traps with [`Trap::StackOverflow`]. The limit is kept within the
    /// precision of one function's frame. It is counted from the outermost call into
    /// WebAssembly, and includes the frames of host functions in between; those are never
    /// stopped, but when one calls into WebAssembly beyond the limit, that call traps.
    ///
    /// The limit says nothing about how much stack the thread has. A thread with less stack than
    /// this can be exhausted before the limit is reached, which ends the process.
    ///
    /// Portable code, see [`target`](Self::target), has a stack of its own of this size in each store that it runs in. The limit
    /// counts for that, and for the thread's stack as well, which host functions that call into WebAssembly use.
    ///
    /// Default: 512 KiB.
    ///
    /// # Errors
    ///
    /// [`Engine::new`](crate::Engine::new) fails if the size is 0. With the Cargo feature `async` of this crate it
    /// also fails if the size exceeds `Config::async_stack_size`, whose default is 2 MiB.
    ///
    /// [`Trap::StackOverflow`]: waxwing_environ::Trap::StackOverflow
    pub fn max_wasm_stack(&mut self, size: usize) -> &mut Self {
        self.max_wasm_stack = size;
        self
    }

    /// Whether hardware faults are turned into traps.
    ///
    /// With it, generated code divides and accesses memory without checking first wherever a
    /// fault would tell, and the engine installs handlers of signals (or of exceptions, on
    /// Windows) for the whole process; faults that are not WebAssembly's go to the handlers that
    /// were there before. Without it, no handler is installed and generated code makes all checks
    /// itself, which makes it slower.
    ///
    /// Code without these handlers cannot have Cranelift's mitigations of Spectre for accesses of
    /// memory and tables, which rely on faults: they are switched off along with this option.
    ///
    /// Portable code, see [`target`](Self::target), is interpreted, and has no such faults. The option has no effect
    /// on it.
    ///
    /// Default: `true`; `false` if this crate runs WebAssembly without its Cargo feature `signals-based-traps`.
    ///
    /// # Errors
    ///
    /// [`Engine::new`](crate::Engine::new) fails if this is `false` and one of the Cranelift
    /// settings `enable_heap_access_spectre_mitigation` and
    /// `enable_table_access_spectre_mitigation` was switched on, and if it is `true` without the Cargo feature.
    pub fn signals_based_traps(&mut self, enable: bool) -> &mut Self {
        self.signals_based_traps = enable;
        self
    }

    /// Whether tables of functions are filled only when an element is first used.
    ///
    /// With it, instantiation is fast, and an indirect call checks whether its table element is
    /// there yet. Without it, instantiation fills tables.
    ///
    /// Default: `true`.
    pub fn table_lazy_init(&mut self, enable: bool) -> &mut Self {
        self.table_lazy_init = enable;
        self
    }

    /// Whether WebAssembly consumes fuel as it executes, and stops when there is none left.
    ///
    /// The fuel of a [`Store`](crate::Store) is set by
    /// [`Store::set_fuel`](crate::Store::set_fuel), which tells what consumes how much. A new store has none, so
    /// that its code traps at once.
    ///
    /// It is the way to stop code that depends on nothing but the code: the same call from the same state
    /// ends at the same place each time. It counts what is executed, which makes code slower than
    /// [`epoch_interruption`](Self::epoch_interruption) does.
    ///
    /// Default: `false`.
    pub fn consume_fuel(&mut self, enable: bool) -> &mut Self {
        self.consume_fuel = enable;
        self
    }

    /// Whether WebAssembly is interrupted by the passing of epochs.
    ///
    /// The epoch is a counter of the engine, that the embedder
    /// [increments](crate::Engine::increment_epoch), at regular intervals for example. Each
    /// [`Store`](crate::Store) has a deadline, set by
    /// [`Store::set_epoch_deadline`](crate::Store::set_epoch_deadline); that of a new store is reached from the start, so
    /// that its code traps at once. When the epoch reaches the deadline, code of the store traps, or asks the callback
    /// of [`Store::epoch_deadline_callback`](crate::Store::epoch_deadline_callback) how to go on.
    ///
    /// Code looks at the epoch at entries of functions and at the beginning of each iteration of a
    /// loop, and while it copies, fills or initialises a long range of a memory, array or table, after
    /// each mebibyte or 8192 elements; what it did by then stays done when it traps there. Whatever the
    /// code does, it cannot avoid that. What cannot be interrupted is the work of the host: host
    /// functions, instantiation, growing a memory or table, allocation and collection of garbage,
    /// waiting by `memory.atomic.wait`.
    ///
    /// Looking at the epoch is a load, a comparison and a branch. Where exactly code is interrupted is a matter of chance;
    /// [`consume_fuel`](Self::consume_fuel) is the alternative.
    ///
    /// Default: `false`.
    pub fn epoch_interruption(&mut self, enable: bool) -> &mut Self {
        self.epoch_interruption = enable;
        self
    }

    /// Whether hardware faults are to be handled by Mach ports on macOS, rather than by signals.
    ///
    /// This has no effect: faults are handled by signals on macOS, as on other systems of the Unix family. Programs that handle the
    /// signals themselves need not set it either, since signals that are not of WebAssembly's making go to the handlers that were installed
    /// before, as [`signals_based_traps`](Self::signals_based_traps) says.
    pub fn macos_use_mach_ports(&mut self, _mach_ports: bool) -> &mut Self {
        self
    }

    /// Which version artifacts bear, and must have to be loaded: see [`ModuleVersionStrategy`].
    ///
    /// Default: [`ModuleVersionStrategy::WasmtimeVersion`], the version of this crate.
    ///
    /// # Errors
    ///
    /// Fails if a custom version is longer than 255 bytes.
    pub fn module_version(&mut self, strategy: ModuleVersionStrategy) -> Result<&mut Self> {
        if let ModuleVersionStrategy::Custom(version) = &strategy {
            ensure!(
                version.len() <= MAX_VERSION_LENGTH,
                "a custom module version of {} bytes: at most {MAX_VERSION_LENGTH} are possible",
                version.len()
            );
        }
        self.module_version = strategy;
        Ok(self)
    }

    /// Replaces the function that tells whether the host's processor has a feature.
    ///
    /// Before code is run, every feature of the processor that it was compiled for is looked up
    /// by the name that the Rust standard library uses, such as `sse4.2`. The function returns
    /// `Some(true)` if the host has the feature, `Some(false)` if it does not, and `None` for a
    /// name that it does not know; the code is refused unless the answer is `Some(true)`.
    ///
    /// Default: the detection of the Rust standard library.
    ///
    /// # Safety
    ///
    /// Executing an instruction that the processor does not have is undefined behaviour, so
    /// `detect` must not return `Some(true)` for a feature that is absent.
    #[cfg(feature = "runtime")]
    pub unsafe fn detect_host_feature(&mut self, detect: fn(&str) -> Option<bool>) -> &mut Self {
        self.detect_host_feature = detect;
        self
    }

    /// Configures whether functions are compiled on several threads, those of rayon's pool, or
    /// all on the thread that asks for it. The resulting code is the same.
    ///
    /// Default: `true`.
    #[cfg(feature = "parallel-compilation")]
    pub fn parallel_compilation(&mut self, parallel: bool) -> &mut Self {
        self.parallel_compilation = parallel;
        self
    }

    /// Where the parts of instances come from.
    ///
    /// # Errors
    ///
    /// Fails if an option of the pool contradicts the host or another one.
    #[cfg(feature = "runtime")]
    #[cfg_attr(
        not(feature = "pooling-allocator"),
        allow(unused_variables, clippy::unnecessary_wraps)
    )]
    pub(crate) fn allocator(&self, tunables: &Tunables) -> Result<waxwing_vm::Allocator> {
        let mut allocator = waxwing_vm::Allocator::default();
        self.host_memory.apply(&mut allocator);
        #[cfg(feature = "async")]
        self.asynchronous.set_stacks(&mut allocator);
        #[cfg(feature = "pooling-allocator")]
        if let InstanceAllocationStrategy::Pooling(pool) = &self.allocation_strategy {
            allocator.set_pool(&pool.options, tunables)?;
        }
        Ok(allocator)
    }

    /// Whether backtraces shall name source files and lines.
    pub(crate) fn backtrace_details_enabled(&self) -> bool {
        match self.wasm_backtrace_details {
            WasmBacktraceDetails::Enable => true,
            WasmBacktraceDetails::Disable => false,
            WasmBacktraceDetails::Environment => BACKTRACE_DETAILS_VARIABLES
                .iter()
                .any(|name| env::var_os(name).is_some_and(|value| value == "1")),
        }
    }
}
