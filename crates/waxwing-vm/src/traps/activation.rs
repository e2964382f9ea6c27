//! [`Activation`]: one entry from the host to WebAssembly code.

use std::any::Any;
use std::cell::{Cell, UnsafeCell};
use std::mem::{ManuallyDrop, MaybeUninit};
use std::panic::{self, AssertUnwindSafe};
use std::ptr::{self, NonNull};

use anyhow::{Context, Result};
#[cfg(any(feature = "pulley", feature = "signals-based-traps"))]
use waxwing_environ::Trap;

use super::stack::ThreadStack;
use super::{Resume, TrapReason, UnwindReason};
use crate::allocator::keys::{self, StoreRights};
use crate::arch;
use crate::backtrace::{RawBacktrace, RawFrame};
use crate::store_context::VMStoreContext;
use crate::sys::faults;

/// What every thread has. Constant and without a destructor, so that using it is an access relative to a
/// register, in the fault handler too.
pub(super) struct ThreadState {
    /// The newest activation, or null.
    pub(super) innermost: Cell<*const Activation>,
    /// The stack that the thread runs on: its own, or that of a fiber.
    pub(super) stack: ThreadStack,
}

thread_local! {
    static THREAD: ThreadState = const {
        ThreadState {
            innermost: Cell::new(ptr::null()),
            stack: ThreadStack::unknown(),
        }
    };
}

/// The calling thread's state. Found without a closure around its use, which would keep entries from
/// being inlined.
///
/// Compilers take it that a function stays on its thread, and find the state's address once. That is not so where
/// a fiber may be suspended in between, see [`this_thread_state`].
#[inline(always)]
fn thread_state<'a>() -> &'a ThreadState {
    let state = THREAD.with(|state| NonNull::from(state));
    // SAFETY: the state has no destructor, so that it is there as long as its thread. It is not `Sync`,
    // so that the reference stays on the thread.
    unsafe { state.as_ref() }
}

/// The state of the thread that calls just now, though it may be another one than before.
#[inline(never)]
pub(super) fn this_thread_state<'a>() -> &'a ThreadState {
    thread_state()
}

impl ThreadState {
    /// Prepares the thread for WebAssembly code, unless it is.
    pub(super) fn ensure_initialized(&self) -> Result<()> {
        match self.stack.is_initialized() {
            true => Ok(()),
            false => self.initialize(),
        }
    }

    /// The lowest stack address to use from here on.
    #[inline]
    fn stack_limit(&self, max_wasm_stack: usize) -> Result<usize> {
        self.ensure_initialized()?;
        Ok(self.stack.limit(arch::stack_pointer(), max_wasm_stack))
    }

    #[cold]
    fn initialize(&self) -> Result<()> {
        faults::prepare_thread()
            .context("failed to allocate a stack for this thread's signal handlers")?;
        self.stack.initialize();
        Ok(())
    }
}

/// What the context of a store that waits for the host held before it was entered again.
pub(super) struct Saved {
    stack_limit: usize,
    exit_fp: usize,
    entry_fp: usize,
    entry_sp: usize,
    entry_trap_handler: usize,
}

impl Saved {
    #[inline]
    pub(super) fn from(store: &VMStoreContext) -> Saved {
        Saved {
            stack_limit: store.stack_limit.get(),
            exit_fp: store.last_wasm_exit_fp.get(),
            entry_fp: store.last_wasm_entry_fp.get(),
            entry_sp: store.last_wasm_entry_sp.get(),
            entry_trap_handler: store.last_wasm_entry_trap_handler.get(),
        }
    }

    #[inline]
    pub(super) fn restore(&self, store: &VMStoreContext) {
        store.stack_limit.set(self.stack_limit);
        store.last_wasm_exit_fp.set(self.exit_fp);
        store.last_wasm_entry_fp.set(self.entry_fp);
        store.last_wasm_entry_sp.set(self.entry_sp);
        store
            .last_wasm_entry_trap_handler
            .set(self.entry_trap_handler);
    }
}

/// One entry from the host to WebAssembly code, on the stack of the thread that entered.
pub(crate) struct Activation {
    /// The next older activation of the thread, or null. It is another one when a fiber goes on elsewhere.
    pub(super) older: Cell<*const Activation>,
    store: NonNull<VMStoreContext>,
    /// Whether the store was waiting for the host, rather than idle.
    reentry: bool,
    /// Initialised if this is a reentry. The context of an idle store holds nothing that anybody needs.
    saved: MaybeUninit<Saved>,
    backtraces: bool,
    /// The most fuel that the store can have: what it had at entry, or was given since.
    most_fuel: Cell<i64>,
    /// Why this activation is being unwound. Only its own thread and that thread's fault handler use it,
    /// and the latter only while generated code runs. Taken out when the activation ends by it, and
    /// empty when it ends otherwise: there is nothing to drop.
    reason: ManuallyDrop<UnsafeCell<Option<UnwindReason>>>,
}

impl Activation {
    /// Whether the activation is one of this store.
    pub(crate) fn is_of(&self, store: *const VMStoreContext) -> bool {
        ptr::eq(self.store.as_ptr(), store)
    }

    /// What the store's context held of the next older activation of the same store: the frame pointers of
    /// its last exit and of its entry.
    pub(crate) fn saved_frames(&self) -> Option<(usize, usize)> {
        let saved = self.saved()?;
        Some((saved.exit_fp, saved.entry_fp))
    }

    #[inline]
    fn saved(&self) -> Option<&Saved> {
        // SAFETY: `enter_wasm` initialises it for reentries.
        self.reentry
            .then(|| unsafe { self.saved.assume_init_ref() })
    }

    #[inline]
    fn context(&self) -> &VMStoreContext {
        // SAFETY: `enter_wasm` requires that the store's context outlives the call.
        unsafe { self.store.as_ref() }
    }

    /// Takes over the fuel that interrupted code had in its register. If code of the store does not count
    /// fuel, nobody looks at it.
    #[cfg(feature = "signals-based-traps")]
    pub(super) fn save_fuel(&self, fuel: i64) {
        self.context().fuel.set(fuel);
    }

    /// The store's own handler of signals.
    #[cfg(all(feature = "signals-based-traps", unix))]
    pub(super) fn signal_handler(&self) -> Option<&'static faults::SignalHandler> {
        // SAFETY: the store keeps its handler alive, and is not dropped while it has an activation. As for the lifetime
        // see `activations`: the handler of signals that uses it is younger than the activation.
        unsafe { self.context().signal_handler.get().as_ref() }
    }

    /// Records why this activation is going to be unwound.
    ///
    /// # Safety
    ///
    /// This is the innermost activation of the calling thread.
    pub(super) unsafe fn record(&self, reason: impl FnOnce(BacktraceOf<'_>) -> UnwindReason) {
        let reason = reason(BacktraceOf(self));
        // SAFETY: this thread alone uses the cell, and nobody keeps references into it.
        unsafe { *self.reason.get() = Some(reason) };
    }

    /// The youngest frame of WebAssembly code, and the frame pointer of the entry trampoline, while
    /// WebAssembly code has left for the host by a trampoline.
    ///
    /// # Safety
    ///
    /// This is the innermost activation of the calling thread.
    pub(super) unsafe fn frames(&self) -> Option<(RawFrame, usize)> {
        let store = self.context();
        // SAFETY: the trampoline is on the stack.
        let frame = unsafe { RawFrame::of_exit(store.last_wasm_exit_fp.get()) }?;
        Some((frame, store.last_wasm_entry_fp.get()))
    }

    /// Whether the recorded reason is that an exception was thrown.
    ///
    /// # Safety
    ///
    /// This is the innermost activation of the calling thread.
    pub(super) unsafe fn is_throwing(&self) -> bool {
        // SAFETY: this thread alone uses the cell, and nobody keeps references into it.
        let reason = unsafe { &*self.reason.get() };
        matches!(
            reason,
            Some(UnwindReason::Trap {
                reason: TrapReason::Exception { .. },
                ..
            })
        )
    }

    /// Forgets the recorded reason.
    ///
    /// # Safety
    ///
    /// This is the innermost activation of the calling thread.
    pub(super) unsafe fn forget(&self) {
        // SAFETY: this thread alone uses the cell, and nobody keeps references into it.
        drop(unsafe { (*self.reason.get()).take() });
    }

    /// Gives the recorded exception, for which there is no handler, its backtrace.
    ///
    /// # Safety
    ///
    /// This is the innermost activation of the calling thread, and the frames in which the exception was
    /// thrown are still there.
    pub(super) unsafe fn trace_exception(&self) {
        // SAFETY: this thread alone uses the cell, and nobody keeps references into it.
        let reason = unsafe { &mut *self.reason.get() };
        if let Some(UnwindReason::Trap {
            reason:
                TrapReason::Exception {
                    has_backtrace: false,
                    ..
                },
            backtrace,
        }) = reason
        {
            // SAFETY: required of the caller.
            *backtrace = unsafe { BacktraceOf(self).capture(None) };
        }
    }

    /// Records the trap of an instruction, at which and in whose frame the code of this activation is.
    ///
    /// # Safety
    ///
    /// This is the innermost activation of the calling thread, the frames of its code are live and keep frame
    /// pointers.
    #[cfg(any(feature = "pulley", feature = "signals-based-traps"))]
    pub(super) unsafe fn record_fault(&self, at: RawFrame, address: Option<usize>, trap: Trap) {
        let reason = TrapReason::Signal {
            pc: at.pc,
            faulting_addr: address,
            trap,
        };
        // SAFETY: required of the caller.
        unsafe {
            self.record(|backtrace| UnwindReason::Trap {
                reason,
                backtrace: backtrace.capture(Some(at)),
            });
        }
    }

    /// The trap handler of the entry trampoline, if this is the innermost activation of the calling
    /// thread and its entry trampoline ran.
    pub(super) fn resume_point(&self) -> Resume {
        let store = self.context();
        Resume {
            pc: store.last_wasm_entry_trap_handler.get(),
            sp: store.last_wasm_entry_sp.get(),
            fp: store.last_wasm_entry_fp.get(),
        }
    }
}

/// Captures backtraces of an activation's store, if the activation wants them.
pub(super) struct BacktraceOf<'a>(&'a Activation);

impl BacktraceOf<'_> {
    /// # Safety
    ///
    /// As for [`RawBacktrace::capture_from`], with this activation being the innermost one.
    pub(super) unsafe fn capture(&self, first: Option<RawFrame>) -> Option<RawBacktrace> {
        // SAFETY: required of the caller; running an activation implies exclusive use of its store.
        self.0
            .backtraces
            .then(|| unsafe { RawBacktrace::capture_from(self.0.store.as_ptr(), first) })
    }
}

/// The calling thread's activations, the newest first.
pub(crate) fn activations() -> impl Iterator<Item = &'static Activation> {
    // SAFETY: activations are removed from the list before they go out of scope, so that all in it are
    // live. The lifetime is a lie that ends with this crate: nobody keeps a reference beyond the
    // frame that it was obtained in, and that frame is younger than all activations.
    let activation = |pointer: *const Activation| unsafe { pointer.as_ref() };
    let innermost = this_thread_state().innermost.get();
    std::iter::successors(activation(innermost), move |newer| {
        activation(newer.older.get())
    })
}

/// Gives fuel to a store, of which the calling thread has exclusive use.
pub(crate) fn set_fuel(store: &VMStoreContext, fuel: i64) {
    store.fuel.set(fuel);
    for activation in activations().filter(|activation| activation.is_of(store)) {
        activation.most_fuel.set(fuel);
    }
}

/// Gives fuel in addition to a store, of which the calling thread has exclusive use.
pub(crate) fn add_fuel(store: &VMStoreContext, more: i64) {
    store.fuel.set(store.fuel.get().saturating_add(more));
    for activation in activations().filter(|activation| activation.is_of(store)) {
        let most = activation.most_fuel.get().saturating_add(more);
        activation.most_fuel.set(most);
    }
}

/// Whether the store's newest activation on the calling thread is on the stack that the thread runs on.
#[cold]
fn is_active_here(store: *const VMStoreContext) -> bool {
    let stack = &this_thread_state().stack;
    let newest = activations().find(|activation| activation.is_of(store));
    newest.is_some_and(|newest| {
        let address = ptr::from_ref(newest) as usize;
        stack.contains(address) == stack.contains(arch::stack_pointer())
    })
}

/// The calling thread's newest activation.
pub(super) fn innermost() -> Option<&'static Activation> {
    activations().next()
}

/// Settings of an entry to WebAssembly code.
#[derive(Clone, Copy, Debug)]
pub struct EntryOptions {
    /// How many bytes of stack WebAssembly code may use, over all nested entries of one store on one
    /// thread; less if the thread's stack is smaller.
    pub max_wasm_stack: usize,
    /// Whether traps and errors come with the frames that were on the stack.
    pub backtraces: bool,
}

/// Removes an activation from its thread's list and puts its store's context back.
struct Leave<'a> {
    thread: &'a ThreadState,
    activation: &'a Activation,
}

impl Drop for Leave<'_> {
    #[inline]
    fn drop(&mut self) {
        let context = self.activation.context();
        context.rights.get().of_host();
        let thread = match context.fiber.get().is_null() {
            true => self.thread,
            false => this_thread_state(),
        };
        thread.innermost.set(self.activation.older.get());
        match self.activation.saved() {
            Some(saved) => saved.restore(context),
            None => context.stack_limit.set(0),
        }
    }
}

/// Runs `call`, which calls an entry trampoline of WebAssembly code and returns its result: `false` if
/// execution was ended by a trap, an error or a panic.
///
/// A call that succeeds allocates nothing and takes no lock, but for the first one of each thread.
///
/// # Errors
///
/// Fails with what was recorded if `call` returns `false`, or if the thread cannot be prepared.
///
/// # Panics
///
/// Panics if `call` does. Panics if it returns `false` though nothing was recorded, which would be a
/// defect of the trampoline.
///
/// # Safety
///
/// The calling thread has exclusive use of the store that `store` belongs to, and `store` is valid until
/// the function returns. Trampolines that `call` enters get this same `store`, and follow the contract
/// of [this module](crate::traps).
#[inline]
pub unsafe fn enter_wasm<F>(
    store: NonNull<VMStoreContext>,
    options: &EntryOptions,
    call: F,
) -> Result<(), Box<UnwindReason>>
where
    F: FnOnce() -> bool,
{
    // SAFETY: the caller guarantees that the pointer is valid.
    let context = unsafe { store.as_ref() };
    // Only a call of the fiber's own store can be suspended.
    let thread = match context.fiber.get().is_null() {
        true => thread_state(),
        false => this_thread_state(),
    };
    let older = thread.innermost.get();
    let reentry = context.stack_limit.get() != 0;
    let mut activation = Activation {
        older: Cell::new(older),
        store,
        reentry,
        saved: MaybeUninit::uninit(),
        backtraces: options.backtraces,
        most_fuel: Cell::new(context.fuel.get()),
        reason: ManuallyDrop::new(UnsafeCell::new(None)),
    };
    if reentry {
        activation.saved.write(Saved::from(context));
    }
    // Nested entries share the outermost one's allowance. But the store may wait on another stack
    // than this one, where its limit means nothing.
    if !reentry || !is_active_here(store.as_ptr()) {
        match thread.stack_limit(options.max_wasm_stack) {
            Ok(limit) => context.stack_limit.set(limit),
            Err(error) => return Err(failed_to_enter(error)),
        }
    }
    // So that a failure before the trampoline ran does not find the older activation's frames.
    context.last_wasm_exit_fp.set(0);
    context.last_wasm_entry_fp.set(0);
    thread.innermost.set(&activation);
    let leave = Leave {
        thread,
        activation: &activation,
    };
    // SAFETY: other memory is not used before `leave` gives the rights to it back, or a host function gets them.
    unsafe { context.rights.get().of_wasm() };
    let succeeded = call();
    drop(leave);
    match succeeded {
        true => Ok(()),
        false => Err(recorded(&activation)),
    }
}

#[cold]
fn failed_to_enter(error: anyhow::Error) -> Box<UnwindReason> {
    Box::new(UnwindReason::Trap {
        reason: TrapReason::Host(error),
        backtrace: None,
    })
}

#[cold]
fn recorded(activation: &Activation) -> Box<UnwindReason> {
    // The counter of code is ahead at times.
    let fuel = &activation.context().fuel;
    fuel.set(fuel.get().min(activation.most_fuel.get()));
    // SAFETY: the activation has ended, so that nobody else uses the cell.
    let reason = unsafe { (*activation.reason.get()).take() };
    Box::new(reason.expect("entry trampolines fail only after a reason was recorded"))
}

/// Records why the innermost activation is going to be unwound, with a backtrace that begins where
/// WebAssembly code was last left.
///
/// # Panics
///
/// Panics if the calling thread is not within [`enter_wasm`].
pub fn record_trap(reason: impl Into<TrapReason>) {
    let reason = reason.into();
    let activation = innermost().expect("builtins and host functions run within `enter_wasm`");
    // Exceptions get theirs when it is known that nobody handles them.
    let is_traced = !matches!(reason, TrapReason::Exception { .. });
    // SAFETY: it is the innermost activation, and this function runs on top of its frames.
    unsafe {
        activation.record(|backtrace| UnwindReason::Trap {
            reason,
            backtrace: is_traced.then(|| backtrace.capture(None)).flatten(),
        });
    }
}

/// Whether the innermost activation's store was waiting for the host when it was entered.
#[cfg(feature = "pulley")]
pub(crate) fn is_reentry() -> bool {
    innermost().is_some_and(|activation| activation.reentry)
}

/// Records the trap of an instruction of bytecode, with a backtrace that begins there.
///
/// # Safety
///
/// The calling thread interprets the code of the innermost activation and is at the instruction `at`, whose frame
/// pointer is that of a live frame.
#[cfg(feature = "pulley")]
pub(crate) unsafe fn record_bytecode_fault(at: RawFrame, trap: Trap) {
    let activation = innermost().expect("bytecode runs within `enter_wasm`");
    // SAFETY: required of the caller.
    unsafe { activation.record_fault(at, None, trap) };
}

/// The rights to all memory that a thread has while it runs a function of the host that generated code called.
struct HostRights;

impl HostRights {
    /// What generated code of the innermost activation may do.
    fn of_innermost() -> StoreRights {
        innermost().map_or(StoreRights::default(), |activation| {
            activation.context().rights.get()
        })
    }

    #[cold]
    fn take() -> HostRights {
        HostRights::of_innermost().of_host();
        HostRights
    }
}

impl Drop for HostRights {
    fn drop(&mut self) {
        // SAFETY: generated code goes on, which does not use other memory.
        unsafe { HostRights::of_innermost().of_wasm() };
    }
}

/// Runs the body of a builtin or host function that generated code called. `None` means that a trap, an
/// error or a panic was recorded, and that the caller, after it has dropped all, has to let generated code
/// call the builtin `raise`.
///
/// # Panics
///
/// Panics if the body fails and the calling thread is not within [`enter_wasm`].
#[inline]
pub fn catch_host<R, E>(body: impl FnOnce() -> Result<R, E>) -> Option<R>
where
    E: Into<TrapReason>,
{
    let _rights = keys::in_use().then(HostRights::take);
    catch_host_without_keys(body)
}

/// Whether there may be memory protection keys, see [`catch_host_without_keys`].
#[inline(always)]
pub fn keys_in_use() -> bool {
    keys::in_use()
}

/// As [`catch_host`], where [`keys_in_use`] said that there are none when generated code called.
///
/// # Panics
///
/// As for [`catch_host`].
#[inline]
pub fn catch_host_without_keys<R, E>(body: impl FnOnce() -> Result<R, E>) -> Option<R>
where
    E: Into<TrapReason>,
{
    // A panic is resumed on the other side, where whoever catches it judges what is still sound.
    match panic::catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(result)) => Some(result),
        Ok(Err(error)) => {
            record_trap(error);
            None
        }
        Err(payload) => {
            record_panic(payload);
            None
        }
    }
}

/// Records a panic of the host, which is going to be resumed by whoever entered the innermost activation.
///
/// # Panics
///
/// Panics if the calling thread is not within [`enter_wasm`].
#[cold]
pub fn record_panic(payload: Box<dyn Any + Send>) {
    let activation = innermost().expect("builtins and host functions run within `enter_wasm`");
    // SAFETY: it is the innermost activation.
    unsafe { activation.record(|_| UnwindReason::Panic(payload)) };
}

/// The lowest stack address that WebAssembly code entered here may use, if it may use `max_wasm_stack`
/// bytes: within the calling thread's stack, leaving some to the host.
///
/// # Errors
///
/// Fails if the thread cannot be prepared.
pub fn stack_limit_for_entry(max_wasm_stack: usize) -> Result<usize> {
    this_thread_state().stack_limit(max_wasm_stack)
}

/// Prepares the calling thread for WebAssembly code, which its first entry would do otherwise: finds the
/// bounds of its stack, and allocates a stack for signal handlers.
///
/// # Errors
///
/// Fails if memory is lacking.
pub fn tls_eager_initialize() -> Result<()> {
    this_thread_state().ensure_initialized()
}
