//! Options of garbage collection.

#[cfg(feature = "gc")]
use super::Config;
use waxwing_environ::GcCollector;

/// The algorithm by which stores manage the objects of the GC proposal, and the host's values that
/// WebAssembly refers to.
///
/// All of them give the same results, and differ in when memory is freed and how long that takes.
/// Modules are compiled for one.
#[non_exhaustive]
#[derive(Copy, Clone, Default, Debug, PartialEq, Eq, Hash)]
pub enum Collector {
    /// The best that is built in: [`Collector::Copying`].
    #[default]
    Auto,

    /// References from objects, globals and tables are counted. What no reference is left to is
    /// freed from time to time, unless the stack of WebAssembly or a root of the host refers to
    /// it.
    ///
    /// Objects stay where they are, and memory is freed a little at a time. Reading and writing
    /// references costs more than with the other collectors, and objects that refer to each other
    /// in a circle are never freed before their store.
    DeferredReferenceCounting,

    /// Nothing is ever freed before its store: allocation fails when the heap is full.
    ///
    /// Allocation is as fast as it can be, and nothing else costs anything. For programs that
    /// run for a short time, each in its own store.
    Null,

    /// A generational, moving collector.
    ///
    /// Allocation is as fast as with [`Collector::Null`]. When the part of the heap for new
    /// objects is full, those that are still in use are copied out of it; the whole heap is
    /// collected seldom. Circles are freed as everything else.
    Copying,
}

impl Collector {
    fn resolve(self) -> GcCollector {
        match self {
            Collector::Auto | Collector::Copying => GcCollector::Copying,
            Collector::DeferredReferenceCounting => GcCollector::DeferredReferenceCounting,
            Collector::Null => GcCollector::Null,
        }
    }

    pub(crate) fn of_tunables(collector: GcCollector) -> Self {
        match collector {
            GcCollector::Copying => Collector::Copying,
            GcCollector::DeferredReferenceCounting => Collector::DeferredReferenceCounting,
            GcCollector::Null => Collector::Null,
        }
    }
}

/// What was set of garbage collection.
#[derive(Clone, Debug)]
pub(crate) struct GcConfig {
    pub(crate) support: bool,
    pub(crate) collector: Collector,
    #[cfg(feature = "runtime")]
    pub(crate) stress: bool,
}

impl Default for GcConfig {
    fn default() -> Self {
        GcConfig {
            support: cfg!(feature = "gc"),
            collector: Collector::Auto,
            #[cfg(feature = "runtime")]
            stress: false,
        }
    }
}

impl GcConfig {
    /// The collector of stores, `None` if they have none.
    pub(super) fn collector(&self) -> Option<GcCollector> {
        self.support.then(|| self.collector.resolve())
    }
}

#[cfg(feature = "gc")]
impl Config {
    /// Which collector stores have: see [`Collector`].
    ///
    /// ```
    /// use waxwing::{Collector, Config, Engine};
    ///
    /// # fn main() -> waxwing::Result<()> {
    /// let engine = Engine::new(Config::new().collector(Collector::Null))?;
    /// assert_eq!(engine.get_collector(), Some(Collector::Null));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Default: [`Collector::Auto`].
    pub fn collector(&mut self, collector: Collector) -> &mut Self {
        self.gc.collector = collector;
        self
    }

    /// Whether stores have a collector at all.
    ///
    /// Without one, modules can refer to functions alone: one that uses `externref`, or a type of
    /// the GC or the exception handling proposal, does not compile, and the host cannot make such
    /// references.
    ///
    /// Default: `true`.
    ///
    /// # Errors
    ///
    /// [`Engine::new`](crate::Engine::new) fails if this is off while a proposal that needs a
    /// collector is on: [`Config::wasm_gc`], for example.
    pub fn gc_support(&mut self, enable: bool) -> &mut Self {
        self.gc.support = enable;
        self
    }

    /// Whether stores collect garbage whenever an object is allocated.
    ///
    /// This is for tests of programs that embed the engine: a reference that is used though it is
    /// not rooted any more is found at once, and not only when memory happens to run out.
    /// Everything takes far longer.
    ///
    /// Default: `false`.
    #[cfg(feature = "runtime")]
    pub fn gc_stress(&mut self, enable: bool) -> &mut Self {
        self.gc.stress = enable;
        self
    }
}
