//! [`Engine`]: settings made ready for use, and what all modules and stores share.

mod artifact;
#[cfg(feature = "runtime")]
mod host;
#[cfg(feature = "pooling-allocator")]
mod pooling;
#[cfg(test)]
mod tests;

pub use artifact::Precompiled;
#[cfg(all(feature = "runtime", feature = "cranelift"))]
pub(crate) use artifact::has_landing_pads;
#[cfg(feature = "runtime")]
pub(crate) use host::detect_host_feature;
#[cfg(feature = "pooling-allocator")]
pub use pooling::PoolingAllocatorMetrics;

use crate::config::Proposals;
use crate::{Config, Result};
#[cfg(feature = "runtime")]
use std::sync::OnceLock;
#[cfg(feature = "runtime")]
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use waxwing_environ::Tunables;
#[cfg(feature = "cranelift")]
use waxwing_environ::compile::Compiler;
#[cfg(all(feature = "runtime", feature = "signals-based-traps"))]
use waxwing_vm::traps::ProcessHandlers;
#[cfg(feature = "runtime")]
use waxwing_vm::{Allocator, TypeRegistry};

/// Where modules are compiled, and the settings with which they are compiled and run.
///
/// An engine can be used by several threads at once. Cloning one gives another handle to the same
/// engine, which is cheap; it is dropped with its last handle, and with the last module and store
/// that belongs to it. Most programs need one.
///
/// ```
/// use waxwing::{Config, Engine};
///
/// # fn main() -> waxwing::Result<()> {
/// let engine = Engine::default();
/// let same = engine.clone();
/// assert!(Engine::same(&engine, &same));
///
/// let other = Engine::new(Config::new().max_wasm_stack(1 << 20))?;
/// assert!(!Engine::same(&engine, &other));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Engine {
    inner: Arc<EngineInner>,
}

struct EngineInner {
    config: Config,
    tunables: Tunables,
    backtrace_details: bool,
    #[cfg(feature = "cranelift")]
    compiler: Box<dyn Compiler>,
    #[cfg(feature = "runtime")]
    type_registry: Arc<TypeRegistry>,
    /// Why code for the compiler's target cannot run on this host, if that is so. Found out when
    /// it is first needed.
    #[cfg(all(feature = "runtime", feature = "cranelift"))]
    host_mismatch: OnceLock<Option<String>>,
    /// The header of the first artifact that was loaded, encoded.
    #[cfg(feature = "runtime")]
    accepted_header: OnceLock<artifact::AcceptedHeader>,
    #[cfg(all(feature = "runtime", feature = "signals-based-traps"))]
    process_handlers: Option<ProcessHandlers>,
    #[cfg(feature = "runtime")]
    epoch: Arc<AtomicU64>,
    #[cfg(feature = "runtime")]
    allocator: Arc<Allocator>,
    #[cfg(all(feature = "runtime", feature = "profiling"))]
    profiler: Option<Arc<dyn waxwing_vm::profiling::Agent>>,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine")
            .field("config", &self.inner.config)
            .finish_non_exhaustive()
    }
}

impl Default for Engine {
    /// An engine with the default settings.
    ///
    /// # Panics
    ///
    /// Panics if the engine does not support this host, or the system does not let it install the
    /// handlers that [`Config::signals_based_traps`] describes.
    fn default() -> Engine {
        match Engine::new(&Config::default()) {
            Ok(engine) => engine,
            Err(error) => panic!("the default settings do not suit this host: {error:#}"),
        }
    }
}

impl Engine {
    /// An engine with the settings in `config`.
    ///
    /// # Errors
    ///
    /// Fails if settings are bad or contradict each other, as the options of [`Config`] document,
    /// or if the operating system refuses the handlers of hardware faults.
    pub fn new(config: &Config) -> Result<Engine> {
        config.check()?;
        #[cfg(feature = "cranelift")]
        let (compiler, tunables) = config.build_compiler()?;
        #[cfg(not(feature = "cranelift"))]
        let tunables = config.host_tunables()?;
        #[cfg(feature = "runtime")]
        let allocator = Arc::new(config.allocator(&tunables)?);
        let inner = EngineInner {
            backtrace_details: config.backtrace_details_enabled(),
            #[cfg(feature = "cranelift")]
            compiler,
            #[cfg(feature = "runtime")]
            type_registry: Arc::new(TypeRegistry::new()),
            #[cfg(all(feature = "runtime", feature = "cranelift"))]
            host_mismatch: OnceLock::new(),
            #[cfg(feature = "runtime")]
            accepted_header: OnceLock::new(),
            #[cfg(all(feature = "runtime", feature = "signals-based-traps"))]
            process_handlers: if config.uses_signals() {
                Some(ProcessHandlers::install()?)
            } else {
                None
            },
            #[cfg(feature = "runtime")]
            epoch: Arc::default(),
            #[cfg(feature = "runtime")]
            allocator,
            #[cfg(all(feature = "runtime", feature = "profiling"))]
            profiler: crate::profiling::agent(config.profiler)?,
            config: config.clone(),
            tunables,
        };
        Ok(Engine {
            inner: Arc::new(inner),
        })
    }

    /// The settings that the engine was made with.
    #[inline]
    pub fn config(&self) -> &Config {
        &self.inner.config
    }

    /// Whether `a` and `b` are handles to the same engine.
    pub fn same(a: &Engine, b: &Engine) -> bool {
        Arc::ptr_eq(&a.inner, &b.inner)
    }

    /// A handle that does not keep the engine alive.
    pub fn weak(&self) -> EngineWeak {
        EngineWeak {
            inner: Arc::downgrade(&self.inner),
        }
    }

    /// Prepares the calling thread for running WebAssembly, which the first call of a WebAssembly
    /// function on a thread would do otherwise.
    ///
    /// It is never needed. It makes the first call as fast as later ones, which is of use where
    /// threads are made ahead of time and calls must return soon.
    #[cfg(feature = "runtime")]
    pub fn tls_eager_initialize() {
        // A failure here is one of the first call, which reports it.
        if let Err(error) = waxwing_vm::traps::tls_eager_initialize() {
            log::warn!("a thread cannot be prepared for WebAssembly: {error:#}");
        }
    }

    /// Increments the epoch of the engine, by which
    /// [`Config::epoch_interruption`](crate::Config::epoch_interruption) measures time.
    ///
    /// Stores whose deadline is reached by it, see
    /// [`Store::set_epoch_deadline`](crate::Store::set_epoch_deadline), are interrupted soon,
    /// on whatever thread they run. The epoch starts at zero.
    ///
    /// This is one atomic addition. It can be called from any thread, and in a handler of signals, there on an
    /// engine that something else keeps alive: dropping the last handle of an engine is not for such handlers.
    #[cfg(feature = "runtime")]
    pub fn increment_epoch(&self) {
        self.inner.epoch.fetch_add(1, Ordering::Relaxed);
    }

    /// The counter that [`Self::increment_epoch`] increments.
    #[cfg(feature = "runtime")]
    pub(crate) fn epoch(&self) -> &Arc<AtomicU64> {
        &self.inner.epoch
    }

    /// Whether the engine's stores are asynchronous: whether it was made with
    /// [`Config::async_support`](crate::Config::async_support).
    #[cfg(feature = "async")]
    pub fn is_async(&self) -> bool {
        self.inner.config.asynchronous.support
    }

    /// Where the parts of instances come from.
    #[cfg(feature = "runtime")]
    pub(crate) fn allocator(&self) -> &Arc<Allocator> {
        &self.inner.allocator
    }

    /// Who is told of modules that are loaded.
    #[cfg(all(feature = "runtime", feature = "profiling"))]
    pub(crate) fn profiler(&self) -> Option<&dyn waxwing_vm::profiling::Agent> {
        self.inner.profiler.as_deref()
    }

    /// Removes this engine's claim to the process-wide handlers of hardware faults, and the
    /// handlers themselves if no other engine has a claim.
    ///
    /// Handlers otherwise stay when engines are dropped: other code may have installed its own
    /// handlers since, which call them. Where it has, they stay now too. For programs that unload
    /// the library that the engine is in.
    ///
    /// # Panics
    ///
    /// Panics if other handles to this engine exist, modules and stores included.
    ///
    /// # Safety
    ///
    /// No thread runs WebAssembly code of any engine, and no code relies on the handlers.
    #[cfg(all(feature = "runtime", feature = "signals-based-traps"))]
    pub unsafe fn unload_process_handlers(self) {
        let inner = Arc::into_inner(self.inner)
            .expect("an engine that is still in use keeps the handlers of hardware faults");
        if let Some(handlers) = inner.process_handlers {
            // SAFETY: the caller guarantees that no thread runs WebAssembly code.
            unsafe { handlers.unload() };
        }
    }

    /// The collector of the engine's stores: one of those that are built in, never
    /// [`Collector::Auto`](crate::Collector::Auto). `None` if
    /// [`Config::gc_support`] is off.
    pub fn get_collector(&self) -> Option<crate::Collector> {
        let collector = self.inner.tunables.collector?;
        Some(crate::Collector::of_tunables(collector))
    }

    /// Whether the engine's code is portable bytecode, which is interpreted: see
    /// [`Config::target`](crate::Config::target).
    pub fn is_pulley(&self) -> bool {
        self.inner.config.is_bytecode()
    }

    /// The types of all modules of the engine.
    #[cfg(feature = "runtime")]
    #[inline]
    pub(crate) fn type_registry(&self) -> &Arc<TypeRegistry> {
        &self.inner.type_registry
    }

    /// The settings that generated code relies on.
    #[inline]
    pub(crate) fn tunables(&self) -> &Tunables {
        &self.inner.tunables
    }

    /// The proposals that modules can use.
    pub(crate) fn proposals(&self) -> Proposals {
        self.inner.config.proposals
    }

    /// Whether backtraces name source files and lines, and modules keep what that needs.
    pub(crate) fn backtrace_details(&self) -> bool {
        self.inner.backtrace_details
    }

    /// Where modules are kept that are compiled to be run.
    #[cfg(all(feature = "cache", feature = "runtime", feature = "cranelift"))]
    pub(crate) fn module_cache(&self) -> Option<&crate::Cache> {
        let config = self.config();
        // Files of intermediate representation are written by compiling.
        let writes_clif = config.compiler.emit_clif.is_some();
        config.cache.as_ref().filter(|_| !writes_clif)
    }

    #[cfg(feature = "cranelift")]
    pub(crate) fn compiler(&self) -> &dyn Compiler {
        &*self.inner.compiler
    }
}

/// A handle to an [`Engine`] that does not keep it alive.
///
/// For those who increment the epoch, for example, and should end when nobody uses the engine any more.
#[derive(Clone)]
pub struct EngineWeak {
    inner: Weak<EngineInner>,
}

impl EngineWeak {
    /// The engine, if it is still alive.
    pub fn upgrade(&self) -> Option<Engine> {
        let inner = self.inner.upgrade()?;
        Some(Engine { inner })
    }
}
