//! Code of the target Pulley: bytecode, which the interpreter of the crate `waxwing-pulley` executes.
//!
//! It is compiled, linked and loaded as machine code is, keeps the same records and has the same three kinds of
//! trampolines. What is different is here:
//!
//! - **Frames** are on a stack of the interpreter's, of which a store has one. They have the form of those of machine code,
//!   so that walking them is the same.
//! - **Entering**: `VMFuncRef::array_call` is machine code, [`array_call`] for all functions of bytecode. It finds the
//!   entry trampoline of the callee's type and interprets it. Entries that nest share the stack. Whoever calls the host
//!   puts the machine back to where it was itself: an entry on a fiber that is suspended and forgotten does not.
//! - **Calls of the host** are an instruction with the number of a [`HostCall`].
//! - **Faults** are found by the interpreter, and recorded as those of machine code.
//!
//! Two limits guard against endless recursion: that of the interpreter's stack, and that of the thread's, as host functions
//! that enter WebAssembly use both.

mod atomics;

use std::ptr::{self, NonNull};
use std::sync::atomic::{self, Ordering};

use anyhow::{Context, Result, anyhow};
use waxwing_environ::artifact::TrampolineKind;
use waxwing_environ::{HostCall, Trap};
use waxwing_pulley::{Exit, Fault, Machine, host_call};

use crate::arch;
use crate::backtrace::RawFrame;
use crate::builtins::call_builtin;
use crate::instance::Instance;
use crate::mmap::Mmap;
use crate::store::VMStore;
use crate::traps::{
    Landing, TrapReason, catch_host, is_reentry, record_bytecode_fault, record_trap,
};
use crate::val_raw::ValRaw;
use crate::vmcontext::{VMArrayCall, VMContext, VMFuncRef, VMWasmCode};

/// Where entry trampolines return to.
static RETURN: [u8; 4] = host_call(HostCall::Return.id());

/// What executes the bytecode of a store.
pub(crate) struct Interpreter {
    /// At one address as long as the interpreter.
    machine: NonNull<Machine>,
    stack: Mmap,
}

impl Interpreter {
    /// An interpreter whose code may use `stack` bytes.
    pub(crate) fn new(stack: usize) -> Result<Interpreter> {
        let stack = Mmap::with_at_least(Machine::stack_size(stack))
            .context("failed to allocate the interpreter's stack")?;
        let low = stack.as_mut_ptr().expose_provenance();
        let machine = Machine::new(low, low + stack.len());
        Ok(Interpreter {
            machine: NonNull::from(Box::leak(Box::new(machine))),
            stack,
        })
    }

    /// Where its stack begins.
    fn stack_top(&self) -> usize {
        self.stack.address_range().end
    }
}

impl Drop for Interpreter {
    fn drop(&mut self) {
        // SAFETY: it came from a box, and whoever used it is gone.
        drop(unsafe { Box::from_raw(self.machine.as_ptr()) });
    }
}

/// The array call of functions of bytecode.
///
/// # Safety
///
/// As for every [`VMArrayCall`]: within [`enter_wasm`](crate::traps::enter_wasm) for the store of `callee`, a
/// function of bytecode, with values for its type.
pub(crate) unsafe extern "C" fn array_call(
    callee: NonNull<VMFuncRef>,
    caller: Option<NonNull<VMContext>>,
    values: NonNull<ValRaw>,
    len: usize,
) -> bool {
    // SAFETY: the callee is a function of an instance, in a store that the calling thread has exclusive use
    // of. No reference is kept when code runs.
    let (mut store, context, code) = unsafe {
        let VMFuncRef {
            vmctx, type_index, ..
        } = callee.read();
        let vmctx = vmctx.cast::<VMContext>();
        let module = Instance::from_vmctx(vmctx).as_ref().module();
        (
            Instance::store_of_vmctx(vmctx),
            (&raw const (*vmctx.as_ptr()).store_context).read(),
            module.trampoline(TrampolineKind::ArrayToWasm, type_index),
        )
    };
    let prepared = catch_host(|| {
        // SAFETY: the limit is that of the activation that this is in.
        if arch::stack_pointer() < unsafe { context.as_ref() }.stack_limit.get() {
            return Err(TrapReason::Wasm(Trap::StackOverflow));
        }
        let code = code.context("the artifact has no way to call a function; compile it again")?;
        // SAFETY: this is the only reference to the store.
        let interpreter = unsafe { store.as_mut() }.core_mut().interpreter()?;
        Ok((interpreter.machine, interpreter.stack_top(), code))
    });
    let Some((machine, stack_top, code)) = prepared else {
        return false;
    };
    let execution = Execution {
        machine,
        stack_top,
        store,
    };
    let callee = callee.as_ptr().expose_provenance();
    let caller = caller.map_or(0, |caller| caller.as_ptr().expose_provenance());
    let values = values.as_ptr().expose_provenance();
    // SAFETY: the code is the entry trampoline for functions of this type.
    unsafe { execution.enter(code, [callee, caller, values, len]) }
}

/// An entry from the host to bytecode.
struct Execution {
    machine: NonNull<Machine>,
    stack_top: usize,
    store: NonNull<dyn VMStore>,
}

impl Execution {
    /// Calls an entry trampoline.
    ///
    /// # Safety
    ///
    /// It is one, and the arguments are those of its convention. The calling thread has exclusive use of the store,
    /// whose interpreter this is.
    unsafe fn enter(self, code: NonNull<VMWasmCode>, args: [usize; 4]) -> bool {
        let machine = self.machine();
        let older = machine.preserved();
        // Entries that were forgotten while they were suspended may have left their frames.
        if !is_reentry() {
            machine.set_sp(self.stack_top);
        }
        for (index, arg) in (0..).zip(args) {
            machine.set_x(index, arg as u64);
        }
        machine.set_lr(RETURN.as_ptr().expose_provenance());
        // The code refers to other code, by distance.
        let code = ptr::with_exposed_provenance_mut(code.as_ptr().addr());
        // SAFETY: it is the address that it was before.
        machine.set_pc(unsafe { NonNull::new_unchecked(code) });
        // SAFETY: required of the caller.
        let succeeded = unsafe { self.run() };
        self.machine().restore(&older);
        succeeded
    }

    /// The machine, for as long as no code runs.
    #[allow(clippy::mut_from_ref, reason = "each use ends before the next begins")]
    fn machine(&self) -> &mut Machine {
        // SAFETY: the store's interpreter lives as long as the store, and this thread has exclusive use of it.
        unsafe { &mut *self.machine.as_ptr() }
    }

    /// Executes until the entry trampoline returns, and returns its result.
    ///
    /// # Safety
    ///
    /// The machine is at an entry trampoline of the store.
    unsafe fn run(&self) -> bool {
        loop {
            // SAFETY: the code is the compiler's, and the machine's stack is its own.
            match unsafe { self.machine().run() } {
                Exit::Host(id) => match HostCall::from_id(id) {
                    Some(HostCall::Return) => return self.machine().x(0) as u8 != 0,
                    // SAFETY: code calls the host according to the convention.
                    Some(call) => unsafe { self.call_host(call) },
                    None => {
                        record_trap(anyhow!(
                            "bytecode calls the unknown function {id} of the host; compile the \
                             module again"
                        ));
                        self.go_on(&Landing::of_entry());
                    }
                },
                Exit::Fault(fault) => {
                    // SAFETY: the machine is at the instruction.
                    unsafe { self.record_fault(fault) };
                    let landing = Landing::of_entry();
                    // The fault may be that there is no room for the frame of the entry trampoline.
                    if landing.place.fp == 0 {
                        return false;
                    }
                    self.go_on(&landing);
                }
            }
        }
    }

    /// Does what the code asks the host for.
    ///
    /// # Safety
    ///
    /// The code called this function, with operands in registers.
    unsafe fn call_host(&self, call: HostCall) {
        match call {
            HostCall::Builtin(builtin) => {
                let here = self.machine().preserved();
                // SAFETY: required of the caller.
                let landing = unsafe { call_builtin(self.machine, builtin) };
                self.machine().restore(&here);
                if let Some(landing) = landing {
                    self.go_on(&landing);
                }
            }
            HostCall::ArrayCall => {
                let machine = self.machine();
                let here = machine.preserved();
                let pointer = |index| machine.x(index) as usize;
                let code = ptr::with_exposed_provenance::<()>(pointer(0));
                // SAFETY: code passes what a host function's `VMFuncRef` has for this, its own context and
                // values on its stack.
                let result = unsafe {
                    let code = std::mem::transmute::<*const (), VMArrayCall>(code);
                    code(
                        NonNull::new_unchecked(ptr::with_exposed_provenance_mut(pointer(1))),
                        NonNull::new(ptr::with_exposed_provenance_mut(pointer(2))),
                        NonNull::new_unchecked(ptr::with_exposed_provenance_mut(pointer(3))),
                        pointer(4),
                    )
                };
                let machine = self.machine();
                machine.restore(&here);
                machine.set_x(0, result.into());
            }
            HostCall::Atomic(op, width) => {
                let machine = self.machine();
                let (address, value, replacement) = (machine.x(0), machine.x(1), machine.x(2));
                if address == 0 {
                    // It is what addresses out of bounds become.
                    let call = machine.pc().as_ptr().addr() - RETURN.len();
                    // SAFETY: the machine is after the call, in the frame of the function.
                    unsafe { self.record_trap(call, Trap::MemoryOutOfBounds) };
                    self.go_on(&Landing::of_entry());
                    return;
                }
                // SAFETY: code checked that the address is within a memory, and aligned.
                let old = unsafe { atomics::access(op, width, address, value, replacement) };
                machine.set_x(0, old);
            }
            HostCall::Fence => atomic::fence(Ordering::SeqCst),
            HostCall::Return => {}
        }
    }

    /// Goes on elsewhere than after the instruction.
    fn go_on(&self, landing: &Landing) {
        let machine = self.machine();
        let Some(pc) = NonNull::new(ptr::with_exposed_provenance_mut(landing.place.pc)) else {
            // No trampoline was entered, so that there is no code that could have failed.
            std::process::abort();
        };
        machine.set_pc(pc);
        machine.set_sp(landing.place.sp);
        machine.set_fp(landing.place.fp);
        if let Some(exception) = landing.exception {
            machine.set_x(0, exception.get().into());
            machine.set_x(1, 0);
        }
    }

    /// Records why the instruction at the machine's pc cannot be executed.
    ///
    /// # Safety
    ///
    /// The machine is at the instruction, and its frames are live.
    unsafe fn record_fault(&self, fault: Fault) {
        let pc = self.machine().pc().as_ptr().addr();
        let trap = match fault {
            Fault::Trap => self.trap_at(pc),
            Fault::MemoryOutOfBounds => Some(Trap::MemoryOutOfBounds),
            Fault::DivisionByZero => Some(Trap::IntegerDivisionByZero),
            Fault::IntegerOverflow => Some(Trap::IntegerOverflow),
            Fault::BadConversion => Some(Trap::BadConversionToInteger),
            Fault::StackOverflow => Some(Trap::StackOverflow),
        };
        match trap {
            // SAFETY: required of the caller.
            Some(trap) => unsafe { self.record_trap(pc, trap) },
            None => record_trap(anyhow!(
                "bytecode fails at an instruction that should not; compile the module again"
            )),
        }
    }

    /// Records a trap of the instruction at `pc`.
    ///
    /// # Safety
    ///
    /// It is one of the function in whose frame the machine is, and its frames are live.
    unsafe fn record_trap(&self, pc: usize, trap: Trap) {
        let fp = self.machine().fp();
        // SAFETY: required of the caller.
        unsafe { record_bytecode_fault(RawFrame { pc, fp }, trap) };
    }

    /// Why the instruction at an address traps, by the artifact.
    fn trap_at(&self, pc: usize) -> Option<Trap> {
        // SAFETY: no code runs, so that this is the only reference.
        let store = unsafe { self.store.as_ref() };
        let code = store.core().module_of_pc(pc)?.code();
        code.trap_at(pc - code.text_range().start)
    }
}
