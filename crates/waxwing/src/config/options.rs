//! The values of options that are neither numbers nor switches.

/// Which compiler turns modules into machine code.
#[cfg(feature = "cranelift")]
#[non_exhaustive]
#[derive(PartialEq, Eq, Clone, Debug, Copy)]
pub enum Strategy {
    /// The best that is built in: Cranelift.
    Auto,

    /// Cranelift, an optimizing compiler.
    Cranelift,

    /// A baseline compiler by the name of Winch, which is not part of this crate: [`Engine::new`](crate::Engine::new) fails. To
    /// compile fast, use Cranelift with [`OptLevel::None`] and [`RegallocAlgorithm::SinglePass`].
    Winch,
}

/// How much Cranelift optimizes.
#[cfg(feature = "cranelift")]
#[non_exhaustive]
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum OptLevel {
    /// Hardly at all: modules compile fast.
    None,
    /// For fast code.
    Speed,
    /// For fast code, and small where that costs little speed.
    SpeedAndSize,
}

/// How Cranelift assigns registers.
#[cfg(feature = "cranelift")]
#[non_exhaustive]
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum RegallocAlgorithm {
    /// By backtracking: good code.
    Backtracking,
    /// In a single pass: fast compilation, slower code.
    SinglePass,
}

/// Whether backtraces name source files and lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WasmBacktraceDetails {
    /// They do.
    Enable,
    /// They do not.
    Disable,
    /// They do if the environment variable `WASMTIME_BACKTRACE_DETAILS` or
    /// `WAXWING_BACKTRACE_DETAILS` is `1` when an engine is made.
    Environment,
}

/// Which version an artifact bears, so that one of another version is refused when it is loaded.
///
/// Whether an artifact fits an engine's settings is checked in any case. The version guards
/// against what settings do not tell: another layout of the engine's own data.
#[derive(Clone, Default, Debug, PartialEq, Eq, Hash)]
pub enum ModuleVersionStrategy {
    /// The version of this crate.
    #[default]
    WasmtimeVersion,
    /// A version of the embedder's choice, of at most 255 bytes. The embedder takes care that
    /// artifacts with it are only loaded by builds of the engine that can run them.
    Custom(String),
    /// None: artifacts bear no version, and any version is accepted.
    None,
}

impl ModuleVersionStrategy {
    /// The version that artifacts bear; empty for none.
    pub(crate) fn as_str(&self) -> &str {
        match self {
            ModuleVersionStrategy::WasmtimeVersion => env!("CARGO_PKG_VERSION"),
            ModuleVersionStrategy::Custom(version) => version,
            ModuleVersionStrategy::None => "",
        }
    }
}
