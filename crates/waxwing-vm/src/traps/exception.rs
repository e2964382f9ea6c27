//! [`Thrower`]: from the place where an exception is thrown to its handler.
//!
//! An exception is handled by a function of the newest activation, in a frame that is waiting for a call
//! within reach of handlers. What these are is in the artifact's table, by the address that the call
//! returns to; so that code that does not throw pays nothing. The table names tags by the indices of the
//! function's instance, and tells where in the frame that instance's context is.
//!
//! A handler goes on in its function's frame, whose stack pointer follows from the frame pointer and the
//! frame's size, with the exception in a register. Everything else that it needs is in the frame.

use std::ops::Range;
use std::ptr::NonNull;

use waxwing_environ::call_sites::FrameHandlers;

use super::activation::innermost;
use super::{Resume, TrapReason, record_trap};
use crate::arch;
use crate::backtrace::RawFrame;
use crate::fiber;
use crate::instance::Instance;
use crate::loaded_module::LoadedModule;
use crate::store::StoreCore;
use crate::vmcontext::{VMContext, VMGcRef};

/// Where the code of a module is, and the module.
type ModuleCode<'a> = (Range<usize>, &'a LoadedModule);

/// A store whose code throws exceptions on the calling thread.
pub(crate) struct Thrower<'a>(&'a mut StoreCore);

impl<'a> Thrower<'a> {
    /// # Safety
    ///
    /// Code of the store's innermost activation, which is the calling thread's too, has called a builtin or
    /// host function by a trampoline and is waiting for it. Nothing between here and there has to be dropped.
    pub(crate) unsafe fn new(store: &'a mut StoreCore) -> Thrower<'a> {
        Thrower(store)
    }

    /// Throws an exception: execution goes on at its handler, or at that of the entry trampoline.
    pub(crate) fn throw(self, exception: VMGcRef) -> Landing {
        if let Some(place) = self.find_landing(exception) {
            return Landing::of_exception(place, exception);
        }
        self.0.set_pending_exception(exception);
        record_trap(TrapReason::Exception {
            error: None,
            has_backtrace: false,
        });
        self.unwind()
    }

    /// Where to go on after a builtin or host function has failed: at the handler of the pending exception, if that
    /// is why, or at that of the entry trampoline. On a fiber that has been cancelled nothing is handled.
    pub(crate) fn raise(self) -> Landing {
        // SAFETY: see `new`. The reference ends before anything is unwound.
        let is_throwing = innermost().is_some_and(|activation| unsafe { activation.is_throwing() });
        // SAFETY: the store's context is valid, and the calling thread has exclusive use of the store.
        let is_cancelled = unsafe { fiber::is_cancelled(self.0.vm_store_context()) };
        if is_throwing
            && !is_cancelled
            && let Some(exception) = self.0.take_pending_exception()
        {
            if let Some(place) = self.find_landing(exception) {
                if let Some(activation) = innermost() {
                    // SAFETY: as above.
                    unsafe { activation.forget() };
                }
                return Landing::of_exception(place, exception);
            }
            self.0.set_pending_exception(exception);
        }
        self.unwind()
    }

    /// The handler of the entry trampoline, for the reason that was recorded.
    fn unwind(self) -> Landing {
        if let Some(activation) = innermost() {
            // SAFETY: see `new`.
            unsafe { activation.trace_exception() };
        }
        Landing::of_entry()
    }

    /// Where the exception is handled, if it is by a frame of the innermost activation.
    fn find_landing(&self, exception: VMGcRef) -> Option<Resume> {
        let tag = self.0.gc().exn_tag_id(exception);
        // SAFETY: see `new`.
        let (first, entry_fp) = unsafe { innermost()?.frames()? };
        let mut current: Option<ModuleCode<'_>> = None;
        let mut next = Some(first).filter(|frame| frame.fp < entry_fp);
        while let Some(frame) = next {
            if let Some(landing) = self.landing_in(frame, tag, &mut current) {
                return Some(landing);
            }
            // SAFETY: see `new`: the frames up to the entry trampoline are live.
            next = unsafe { frame.caller(entry_fp) };
        }
        None
    }

    /// Where the frame handles an exception with the tag, if it does. `current` is the module of the frame
    /// before.
    fn landing_in<'s>(
        &'s self,
        frame: RawFrame,
        tag: u32,
        current: &mut Option<ModuleCode<'s>>,
    ) -> Option<Resume> {
        if !matches!(current, Some((range, _)) if range.contains(&frame.pc)) {
            let module = self.0.module_of_pc(frame.pc)?;
            *current = Some((module.code().text_range(), module));
        }
        let (text, module) = current.as_ref()?;
        let offset = u32::try_from(frame.pc - text.start).ok()?;
        let handlers: FrameHandlers<'_> = module.code().handlers()?.get(offset)?;
        let sp = frame.fp.checked_sub(handlers.frame_size as usize)?;
        // SAFETY: the compiler says that the frame, which is live, has the function's context there.
        let vmctx = unsafe {
            let slot = (sp + handlers.vmctx_slot as usize) as *const NonNull<VMContext>;
            slot.read()
        };
        let (_, code) = handlers.iter().find(|(handled, _)| match handled {
            None => true,
            // SAFETY: the instance whose code is running is alive; nobody changes it now.
            Some(handled) => unsafe {
                Instance::from_vmctx(vmctx)
                    .as_ref()
                    .tag_id(*handled)
                    .is_some_and(|handled| handled == tag)
            },
        })?;
        Some(Resume {
            pc: text.start + code as usize,
            sp,
            fp: frame.fp,
        })
    }
}

/// Where execution goes on when it does not return.
pub(crate) struct Landing {
    pub(crate) place: Resume,
    /// What is passed to the handler of an exception.
    pub(crate) exception: Option<VMGcRef>,
}

impl Landing {
    fn of_exception(place: Resume, exception: VMGcRef) -> Landing {
        Landing {
            place,
            exception: Some(exception),
        }
    }

    /// At the trap handler of the entry trampoline of the innermost activation.
    pub(crate) fn of_entry() -> Landing {
        match innermost() {
            Some(activation) => Landing {
                place: activation.resume_point(),
                exception: None,
            },
            // There is nowhere to continue, and nothing that could be told to.
            None => std::process::abort(),
        }
    }

    /// Goes on there, in machine code.
    ///
    /// # Safety
    ///
    /// The caller is a builtin called by machine code of the innermost activation, and it and everything that it
    /// called own nothing that has to be dropped.
    pub(crate) unsafe fn go(self) -> ! {
        let Resume { pc, sp, fp } = self.place;
        // SAFETY: the trampoline of the innermost activation is on the stack, as are the frames that a `Thrower`
        // finds landing blocks in, and the caller guarantees that nothing younger needs cleaning up.
        unsafe {
            match self.exception {
                None => arch::resume_to_handler(pc, sp, fp),
                Some(exception) => arch::resume_to_landing(pc, sp, fp, u64::from(exception.get())),
            }
        }
    }
}
