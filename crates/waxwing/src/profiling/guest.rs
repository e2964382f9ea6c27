//! [`GuestProfiler`].

use std::fmt;
use std::io::Write;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use fxprof_processed_profile::debugid::DebugId;
use fxprof_processed_profile::{
    CategoryColor, CategoryHandle, CpuDelta, Frame, FrameFlags, FrameInfo, LibraryHandle,
    LibraryInfo, MarkerLocations, MarkerTiming, ProcessHandle, Profile, ReferenceTimestamp,
    StackHandle, StaticSchemaMarker, StaticSchemaMarkerField, StringHandle, Symbol, SymbolTable,
    ThreadHandle, Timestamp,
};
use waxwing_environ::EntityRef;
use waxwing_vm::RawBacktrace;

use crate::backtrace::Demangled;
use crate::{AsContext, CallHook, Module, Result};

/// Collects a profile of what one guest does: which functions of which modules it spends its time in.
///
/// The embedder calls [`sample`](Self::sample) again and again while the guest runs; in a callback of
/// [`Store::epoch_deadline_callback`](crate::Store::epoch_deadline_callback), for example, with epochs that pass
/// at regular intervals. What it collects is written at the end by [`finish`](Self::finish), in the format of
/// the Firefox Profiler, which shows it: <https://profiler.firefox.com>.
///
/// Functions have the names that the modules' name sections give them.
///
/// The host's functions are not part of the profile. For those to be told from the guest's own time, call
/// [`call_hook`](Self::call_hook) at each transition.
///
/// ```
/// # use waxwing::*;
/// # use std::time::Duration;
/// # fn main() -> Result<()> {
/// let engine = Engine::new(Config::new().epoch_interruption(true))?;
/// let module = Module::new(
///     &engine,
///     r#"(module
///         (func $spin (export "spin") (local i32)
///             (loop
///                 (br_if 0 (i32.lt_u (local.tee 0 (i32.add (local.get 0) (i32.const 1)))
///                                    (i32.const 1000000))))))"#,
/// )?;
/// let interval = Duration::from_millis(1);
/// let modules = vec![("spin.wasm".to_string(), module.clone())];
/// let mut store = Store::new(&engine, Some(GuestProfiler::new("spin", interval, modules)));
/// store.set_epoch_deadline(1);
/// store.epoch_deadline_callback(move |mut store| {
///     // The profiler reads the store, which it is taken out of for that time.
///     if let Some(mut profiler) = store.data_mut().take() {
///         profiler.sample(&store, interval);
///         *store.data_mut() = Some(profiler);
///     }
///     Ok(UpdateDeadline::Continue(1))
/// });
/// // Another thread would do this every millisecond.
/// engine.increment_epoch();
///
/// let instance = Instance::new(&mut store, &module, &[])?;
/// instance.get_typed_func::<(), ()>(&mut store, "spin")?.call(&mut store, ())?;
///
/// let mut json = Vec::new();
/// store.data_mut().take().unwrap().finish(&mut json)?;
/// assert!(String::from_utf8(json)?.contains("\"spin\""));
/// # Ok(())
/// # }
/// ```
pub struct GuestProfiler {
    profile: Profile,
    process: ProcessHandle,
    thread: ThreadHandle,
    category: CategoryHandle,
    /// In the order of their code.
    modules: Vec<ProfiledModule>,
    start: Instant,
    /// The calls of the host that have not returned, the innermost last.
    host_calls: Vec<(Timestamp, Option<StackHandle>)>,
}

struct ProfiledModule {
    text: Range<usize>,
    library: LibraryHandle,
    /// Keeps the code where it is, too.
    module: Module,
}

impl fmt::Debug for GuestProfiler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuestProfiler")
            .field("modules", &self.modules.len())
            .finish_non_exhaustive()
    }
}

impl GuestProfiler {
    /// Begins a profile that is shown as `module_name`, of code of `modules`, each with the name to show for
    /// it. `interval` is the time between samples, which the profile shows; the embedder sees to it.
    ///
    /// Frames of other modules are left out.
    pub fn new(module_name: &str, interval: Duration, modules: Vec<(String, Module)>) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let mut profile = Profile::new(
            module_name,
            ReferenceTimestamp::from_duration_since_unix_epoch(now.unwrap_or_default()),
            interval.into(),
        );
        let beginning = Timestamp::from_nanos_since_reference(0);
        let id = std::process::id();
        let process = profile.add_process(module_name, id, beginning);
        let thread = profile.add_thread(process, id, beginning, true);
        let category = profile.add_category("WebAssembly", CategoryColor::Purple);
        let mut modules: Vec<_> = modules
            .into_iter()
            .map(|(name, module)| ProfiledModule {
                text: module.loaded().code().text_range(),
                library: profile.add_lib(library(name, &module)),
                module,
            })
            .collect();
        modules.sort_by_key(|module| module.text.start);
        profile.set_symbolicated(true);
        GuestProfiler {
            profile,
            process,
            thread,
            category,
            modules,
            start: Instant::now(),
            host_calls: Vec::new(),
        }
    }

    fn now(&self) -> Timestamp {
        let nanos = self.start.elapsed().as_nanos();
        Timestamp::from_nanos_since_reference(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// Records the functions that are being executed in `store` by the calling thread. `delta` is the
    /// processor time that the guest used since the last sample, or an estimate of it.
    ///
    /// Has to be called while the guest is in a call of the host: in a callback of the epoch, in a host
    /// function, or in a hook of calls. Otherwise the sample is empty.
    pub fn sample(&mut self, store: impl AsContext, delta: Duration) {
        let now = self.now();
        let stack = self.stack(store);
        self.profile
            .add_sample(self.thread, now, stack, delta.into(), 1);
    }

    /// Records a transition between the host and WebAssembly, of which the hook of `Store::call_hook` is
    /// told: call this in it.
    ///
    /// The profile then has a marker for each call of the host, which shows from where it was made
    /// and how long it took.
    pub fn call_hook(&mut self, store: impl AsContext, kind: CallHook) {
        let now = self.now();
        match kind {
            CallHook::CallingWasm | CallHook::ReturningFromWasm => {
                // Where the guest begins and ends, so that time before and after is not taken for its own.
                let stack = self.stack(store);
                let none = CpuDelta::ZERO;
                self.profile.add_sample(self.thread, now, stack, none, 0);
            }
            CallHook::CallingHost => {
                let stack = self.stack(store);
                self.host_calls.push((now, stack));
            }
            CallHook::ReturningFromHost => {
                if let Some((start, stack)) = self.host_calls.pop() {
                    let marker = HostCall::new(&mut self.profile);
                    let timing = MarkerTiming::Interval(start, now);
                    let marker = self.profile.add_marker(self.thread, timing, marker);
                    self.profile.set_marker_stack(self.thread, marker, stack);
                }
            }
        }
    }

    /// Writes the profile as JSON, in the "processed" format of the Firefox Profiler.
    ///
    /// # Errors
    ///
    /// Fails if `output` cannot be written to.
    pub fn finish(mut self, mut output: impl Write) -> Result<()> {
        let now = self.now();
        self.profile.set_thread_end_time(self.thread, now);
        self.profile.set_process_end_time(self.process, now);
        serde_json::to_writer(&mut output, &self.profile)
            .map_err(std::io::Error::from)
            .and_then(|()| output.flush())
            .context("failed to write the profile")
    }

    fn stack(&mut self, store: impl AsContext) -> Option<StackHandle> {
        let store = store.as_context().0;
        // SAFETY: the record is valid as long as the store. It is only changed by the thread that runs code
        // of the store; then no other has access to the store.
        let raw = unsafe { RawBacktrace::capture(store.core().vm_store_context().as_ptr()) };
        let (modules, category) = (&self.modules, self.category);
        let frames = raw.frames().iter().rev();
        let frames = frames.flat_map(|frame| {
            // The address before the one to return to is certain to be within the call.
            let pc = frame.pc - 1;
            let after = modules.partition_point(|module| module.text.start <= pc);
            let module = after.checked_sub(1).and_then(|at| modules.get(at));
            let found = module.and_then(|module| {
                let offset = module.text.contains(&pc).then(|| pc - module.text.start)?;
                Some((module, u32::try_from(offset).ok()?))
            });
            let offsets = found.map(|(module, offset)| {
                let loaded = module.module.loaded();
                // Functions that are inlined there are shown as what is at the beginning of their own code.
                let mut offsets: Vec<u32> = loaded
                    .inlined_at(offset)
                    .filter_map(|inlined| {
                        let func = inlined.func;
                        (func.index() < loaded.functions().num_defined())
                            .then(|| loaded.functions().code(func).start)
                    })
                    .collect();
                offsets.push(offset);
                offsets.into_iter().rev().map(|offset| FrameInfo {
                    frame: Frame::RelativeAddressFromAdjustedReturnAddress(module.library, offset),
                    category_pair: category.into(),
                    flags: FrameFlags::empty(),
                })
            });
            offsets.into_iter().flatten()
        });
        self.profile.intern_stack_frames(self.thread, frames)
    }
}

/// What the profile says of a module: the names of its functions, by their offsets.
fn library(name: String, module: &Module) -> LibraryInfo {
    let loaded = module.loaded();
    let symbols = module.functions().map(|function| {
        let index = waxwing_environ::DefinedFuncIndex::from_u32(function.index);
        Symbol {
            address: function.offset as u32,
            size: Some(function.len as u32),
            name: match &function.name {
                Some(name) => Demangled(name).to_string(),
                None => format!(
                    "wasm function {}",
                    loaded.module().func_index(index).index()
                ),
            },
        }
    });
    LibraryInfo {
        debug_name: name.clone(),
        path: name.clone(),
        debug_path: name.clone(),
        name,
        debug_id: DebugId::nil(),
        code_id: None,
        arch: None,
        symbol_table: Some(Arc::new(SymbolTable::new(symbols.collect()))),
    }
}

/// A call of a host function.
struct HostCall {
    name: StringHandle,
}

impl HostCall {
    fn new(profile: &mut Profile) -> HostCall {
        HostCall {
            name: profile.intern_string("host call"),
        }
    }
}

impl StaticSchemaMarker for HostCall {
    const UNIQUE_MARKER_TYPE_NAME: &'static str = "HostCall";
    const LOCATIONS: MarkerLocations =
        MarkerLocations::MARKER_CHART.union(MarkerLocations::MARKER_TABLE);
    const FIELDS: &'static [StaticSchemaMarkerField] = &[];

    fn name(&self, _profile: &mut Profile) -> StringHandle {
        self.name
    }

    fn category(&self, _profile: &mut Profile) -> CategoryHandle {
        CategoryHandle::OTHER
    }

    fn string_field_value(&self, _field_index: u32) -> StringHandle {
        self.name
    }

    fn number_field_value(&self, _field_index: u32) -> f64 {
        0.0
    }
}
