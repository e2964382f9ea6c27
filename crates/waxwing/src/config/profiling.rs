//! How the system's profilers learn of compiled code.

use super::Config;

/// How the system's profilers learn of compiled code: for [`Config::profiler`].
///
/// They see addresses. To show functions of WebAssembly they have to be told which code is where.
///
/// ```sh
/// # With `ProfilingStrategy::PerfMap`:
/// perf record -g -k mono program
/// perf report
/// # With `ProfilingStrategy::JitDump`, which gives annotated code as well:
/// perf record -g -k mono program
/// perf inject --jit -i perf.data -o perf.jit.data
/// perf report -i perf.jit.data
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ProfilingStrategy {
    /// They are told nothing.
    None,

    /// By the file `/tmp/perf-PID.map`, in which each module that is loaded adds the addresses and names of its functions and
    /// trampolines. `perf report` and other programs read it.
    ///
    /// The file stays when the process ends, which is when it is read.
    PerfMap,

    /// By the file `jit-PID.dump` in the working directory, in which each module that is loaded adds its functions and trampolines
    /// with their code, and with the lines of the source where backtraces would have them (see [`Config::wasm_backtrace_details`]);
    /// where the source is not known, with offsets in the wasm binary. `perf inject --jit` reads it.
    JitDump,

    /// By the interface of VTune, which is a library in C and is not part of this build.
    VTune,
}

impl Config {
    /// How the system's profilers learn of compiled code: see [`ProfilingStrategy`].
    ///
    /// Default: [`ProfilingStrategy::None`].
    ///
    /// # Errors
    ///
    /// [`Engine::new`](crate::Engine::new) fails if the strategy is not possible on this system or with this build, which
    /// takes the Cargo feature `profiling`; or if its file cannot be made. Making a module fails if the file
    /// cannot be written to.
    pub fn profiler(&mut self, profile: ProfilingStrategy) -> &mut Self {
        self.profiler = profile;
        self
    }
}
