//! [`RawBacktrace`]: the frames of WebAssembly code on the stack, found by their frame pointers.

use crate::arch;
use crate::store_context::VMStoreContext;
use crate::traps::activations;

/// A frame of generated code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawFrame {
    /// Where the frame's function returns to from the call that it is in, or, for the first frame of a
    /// fault's backtrace, the instruction that faulted.
    pub pc: usize,
    /// The frame pointer.
    pub fp: usize,
}

impl RawFrame {
    /// The frame that was left for the host by the trampoline whose frame pointer is `exit_fp`; `None` if that is zero.
    ///
    /// # Safety
    ///
    /// The trampoline's frame is live.
    pub(crate) unsafe fn of_exit(exit_fp: usize) -> Option<RawFrame> {
        // SAFETY: required of the caller. Trampolines keep frame pointers.
        (exit_fp != 0).then(|| unsafe { RawFrame::caller_of(exit_fp) })
    }

    /// The frame of the function that called the one at `fp`.
    ///
    /// # Safety
    ///
    /// That frame is live and keeps frame pointers.
    #[inline]
    unsafe fn caller_of(fp: usize) -> RawFrame {
        // SAFETY: required of the caller.
        unsafe {
            RawFrame {
                pc: arch::return_address(fp),
                fp: arch::caller_fp(fp),
            }
        }
    }

    /// The caller's frame, if it is one of generated code too: if it is older than this one and younger than
    /// the frame at `entry_fp`, that of the entry trampoline.
    ///
    /// # Safety
    ///
    /// The frame is live and, as all up to the entry trampoline, keeps frame pointers.
    #[inline]
    pub(crate) unsafe fn caller(self, entry_fp: usize) -> Option<RawFrame> {
        // SAFETY: required of the caller.
        let caller = unsafe { RawFrame::caller_of(self.fp) };
        // The stack grows down: callers have greater frame pointers, the entry trampoline the greatest.
        (self.fp < caller.fp && caller.fp < entry_fp).then_some(caller)
    }
}

/// The frames of generated code of one store on one thread's stack, the youngest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RawBacktrace {
    frames: Vec<RawFrame>,
}

impl RawBacktrace {
    /// The frames of WebAssembly code of a store that is in a call to the host, through all activations
    /// of the store on the calling thread.
    ///
    /// Empty if the store is not running WebAssembly code.
    ///
    /// # Safety
    ///
    /// `store` is valid, and the calling thread has exclusive use of it.
    pub unsafe fn capture(store: *const VMStoreContext) -> RawBacktrace {
        // SAFETY: required of the caller.
        unsafe { RawBacktrace::capture_from(store, None) }
    }

    /// As [`Self::capture`], but begins at the frame `first` if it is given: generated code that did not
    /// leave by a trampoline.
    ///
    /// # Safety
    ///
    /// As for [`Self::capture`]; `first` is a live frame of the store's innermost activation.
    pub(crate) unsafe fn capture_from(
        store: *const VMStoreContext,
        first: Option<RawFrame>,
    ) -> RawBacktrace {
        let mut backtrace = RawBacktrace::default();
        // SAFETY: required of the caller.
        unsafe { visit_frames(store, first, &mut |frame| backtrace.frames.push(frame)) };
        backtrace
    }

    /// The frames, the youngest first.
    pub fn frames(&self) -> &[RawFrame] {
        &self.frames
    }
}

/// Calls `visit` with the frames of generated code of one store on the calling thread's stack, the youngest
/// first. Whether these are all: a store may have activations on other threads, that wait for this one.
///
/// # Safety
///
/// As for [`RawBacktrace::capture_from`].
pub(crate) unsafe fn visit_frames(
    store: *const VMStoreContext,
    mut first: Option<RawFrame>,
    visit: &mut dyn FnMut(RawFrame),
) -> bool {
    // SAFETY: the caller guarantees that the store is valid and this thread's.
    let context = unsafe { &*store };
    let mut exit_fp = context.last_wasm_exit_fp.get();
    let mut entry_fp = context.last_wasm_entry_fp.get();
    let mut is_active = context.stack_limit.get() != 0;
    for activation in activations().filter(|activation| activation.is_of(store)) {
        // SAFETY: the values are those of an activation that is on the stack, the innermost at
        // first and then, as the saved ones, the next older one each.
        unsafe {
            let first = first.take().or_else(|| RawFrame::of_exit(exit_fp));
            walk(first, entry_fp, visit);
        }
        match activation.saved_frames() {
            Some(saved) => (exit_fp, entry_fp) = saved,
            None => {
                is_active = false;
                break;
            }
        }
    }
    !is_active
}

/// Visits the frames from `first` up to but without the entry trampoline's.
///
/// # Safety
///
/// The frames are live, and keep frame pointers.
unsafe fn walk(first: Option<RawFrame>, entry_fp: usize, visit: &mut dyn FnMut(RawFrame)) {
    let mut next = first.filter(|frame| frame.fp < entry_fp);
    while let Some(frame) = next {
        visit(frame);
        // SAFETY: the caller guarantees that this frame is live.
        next = unsafe { frame.caller(entry_fp) };
    }
}
