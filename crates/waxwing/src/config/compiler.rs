//! Options of the compiler.

use super::{Config, Inlining, OptLevel, RegallocAlgorithm, Strategy};
use std::path::{Path, PathBuf};

/// What was set of the compiler's options.
#[derive(Clone, Debug)]
pub(crate) struct CompilerConfig {
    pub(crate) strategy: Strategy,
    pub(crate) opt_level: OptLevel,
    pub(crate) regalloc_algorithm: RegallocAlgorithm,
    pub(crate) debug_verifier: bool,
    pub(crate) pcc: bool,
    pub(crate) nan_canonicalization: bool,
    pub(crate) inlining: Inlining,
    pub(crate) native_unwind_info: Option<bool>,
    /// Settings in the order in which they were made: a name, and a value unless it is enabled.
    pub(crate) flags: Vec<(String, Option<String>)>,
    pub(crate) emit_clif: Option<PathBuf>,
    #[cfg(feature = "incremental-cache")]
    pub(crate) cache_store: Option<std::sync::Arc<dyn crate::CacheStore>>,
}

impl Default for CompilerConfig {
    fn default() -> Self {
        CompilerConfig {
            strategy: Strategy::Auto,
            opt_level: OptLevel::None,
            regalloc_algorithm: RegallocAlgorithm::Backtracking,
            debug_verifier: false,
            pcc: false,
            nan_canonicalization: false,
            inlining: Inlining::Yes,
            native_unwind_info: None,
            flags: Vec::new(),
            emit_clif: None,
            #[cfg(feature = "incremental-cache")]
            cache_store: None,
        }
    }
}

impl Config {
    /// Which compiler is used: see [`Strategy`].
    ///
    /// Default: [`Strategy::Auto`].
    pub fn strategy(&mut self, strategy: Strategy) -> &mut Self {
        self.compiler.strategy = strategy;
        self
    }

    /// How much Cranelift optimizes: see [`OptLevel`].
    ///
    /// Default: [`OptLevel::None`].
    pub fn cranelift_opt_level(&mut self, level: OptLevel) -> &mut Self {
        self.compiler.opt_level = level;
        self
    }

    /// How Cranelift assigns registers: see [`RegallocAlgorithm`].
    ///
    /// Default: [`RegallocAlgorithm::Backtracking`].
    pub fn cranelift_regalloc_algorithm(&mut self, algorithm: RegallocAlgorithm) -> &mut Self {
        self.compiler.regalloc_algorithm = algorithm;
        self
    }

    /// Whether Cranelift checks its intermediate representation while it compiles. For those who
    /// develop the engine: it takes time, and finds defects of the engine only.
    ///
    /// Default: `false`.
    pub fn cranelift_debug_verifier(&mut self, enable: bool) -> &mut Self {
        self.compiler.debug_verifier = enable;
        self
    }

    /// Whether Cranelift proves, by facts that it carries along to machine code, that checks of bounds came through its passes whole.
    ///
    /// Default: `false`.
    ///
    /// # Errors
    ///
    /// [`Engine::new`](crate::Engine::new) fails if this is on: the releases of Cranelift that this crate uses have no such proofs
    /// any more. [`cranelift_debug_verifier`](Self::cranelift_debug_verifier) is what they have.
    pub fn cranelift_pcc(&mut self, enable: bool) -> &mut Self {
        self.compiler.pcc = enable;
        self
    }

    /// Whether every NaN that arithmetic gives is replaced by the canonical one.
    ///
    /// WebAssembly leaves the bits of such a NaN open to some degree, and processors differ. For
    /// programs that must give the same results on every host, this makes them the same, at the
    /// cost of a check after each operation. It applies to `f32`, `f64` and vectors of both.
    ///
    /// Default: `false`.
    pub fn cranelift_nan_canonicalization(&mut self, enable: bool) -> &mut Self {
        self.compiler.nan_canonicalization = enable;
        self
    }

    /// Which calls may be replaced by the bodies of the functions that they call: see [`Inlining`].
    ///
    /// Functions are chosen by their size, in loops more generously than elsewhere; none grows by more than a twelfth, or
    /// a few hundred bytes of WebAssembly if it is short. What is inlined does the same as it does when it is called: it uses as
    /// much fuel, traps where it would, and is in backtraces.
    ///
    /// Nothing is inlined if [`cranelift_opt_level`](Self::cranelift_opt_level) is [`OptLevel::None`], or with
    /// [`debug_info`](Self::debug_info), for native debuggers to see functions as they are.
    ///
    /// Default: [`Inlining::Yes`].
    pub fn compiler_inlining(&mut self, inlining: Inlining) -> &mut Self {
        self.compiler.inlining = inlining;
        self
    }

    /// What calls are inlined, all options considered.
    pub(crate) fn inlining(&self) -> Inlining {
        match self.compiler.opt_level {
            OptLevel::None => Inlining::No,
            _ => self.compiler.inlining,
        }
    }

    /// Whether artifacts contain the system's native unwind information, such as `.eh_frame`.
    ///
    /// It lets the system's own unwinder, debuggers and profilers walk through WebAssembly
    /// frames. The engine itself does not need it: [`Config::wasm_backtrace`] works without.
    ///
    /// Default: `true`.
    ///
    /// # Errors
    ///
    /// [`Engine::new`](crate::Engine::new) fails if this is `false` for a Windows target, whose
    /// calling convention requires the information, or if it contradicts the Cranelift setting
    /// `unwind_info`.
    pub fn native_unwind_info(&mut self, enable: bool) -> &mut Self {
        self.compiler.native_unwind_info = Some(enable);
        self
    }

    /// Switches on a Cranelift setting, or applies a preset such as `skylake`.
    ///
    /// Cranelift's settings change from release to release: prefer the other options of `Config`
    /// where one does the same.
    ///
    /// # Safety
    ///
    /// A setting can break what the engine relies on, and compiled code then is not safe to run.
    ///
    /// # Errors
    ///
    /// [`Engine::new`](crate::Engine::new) fails if there is no such setting, or it is not one to
    /// switch on.
    pub unsafe fn cranelift_flag_enable(&mut self, flag: &str) -> &mut Self {
        self.compiler.flags.push((flag.to_string(), None));
        self
    }

    /// Sets the Cranelift setting `name` to `value`.
    ///
    /// Cranelift's settings change from release to release: prefer the other options of `Config`
    /// where one does the same.
    ///
    /// # Safety
    ///
    /// A setting can break what the engine relies on, and compiled code then is not safe to run.
    ///
    /// # Errors
    ///
    /// [`Engine::new`](crate::Engine::new) fails if there is no such setting, if the value is none
    /// of its, or if it contradicts another option: the engine requires `preserve_frame_pointers`
    /// to be true, for instance.
    pub unsafe fn cranelift_flag_set(&mut self, name: &str, value: &str) -> &mut Self {
        let flag = (name.to_string(), Some(value.to_string()));
        self.compiler.flags.push(flag);
        self
    }

    /// Writes Cranelift's intermediate representation of every function that is compiled to a
    /// file of its own in the directory `path`, which is made if need be.
    ///
    /// A function's file is called `function-INDEX.clif`, by its index in the module; trampolines
    /// are in `array-to-wasm-TYPE.clif` and `wasm-to-array-TYPE.clif`. Compiling another module
    /// overwrites them.
    ///
    /// Default: nothing is written.
    pub fn emit_clif(&mut self, path: &Path) -> &mut Self {
        self.compiler.emit_clif = Some(path.to_path_buf());
        self
    }
}
