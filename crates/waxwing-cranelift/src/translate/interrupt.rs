//! Fuel and epochs: how code that would go on is stopped.
//!
//! Every way through a function that does not end goes through a loop header, and every way
//! through a program that does not end goes through those or through entries of functions. There code checks whether
//! it may go on, and in no other place. Checks that fail call a builtin, which returns if the runtime found a
//! way to go on. Such calls preserve all registers, so that the code around a check is as if they were not there.
//!
//! # Fuel
//!
//! What there is left is counted down, in the pinned register where the target has one, and
//! otherwise in the `VMStoreContext`. Trampolines move it between the two, so that it costs nothing around
//! calls of other functions of WebAssembly. A variable has a copy of the counter, which is read in its place until a call
//! changes the counter.
//!
//! The counter is behind: what operators cost is added up while they are translated, and the counter is only
//! told where others can see it, that is at calls and at the end of functions, and where ways meet that cost
//! differently. The sum at a label is that of the first branch to it, and later ones adjust the counter by what they
//! differ. So a loop with one way through it adjusts the counter once, and most blocks not at all.
//!
//! # Epochs
//!
//! The deadline is kept in a variable, for checks to be a load, a comparison and a branch. Host functions
//! can change it: where code goes on to a loop after a call, it is loaded anew.

use super::{FuncTranslator, Region};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, Value, types};
use cranelift_frontend::Variable;
use wasmparser::{FunctionBody, Operator};
use waxwing_environ::{BuiltinFunctionIndex, DefinedFuncIndex, StoreContextOffsets};

/// What entering a function costs, in units of fuel.
const ENTRY_COST: i64 = 1;

/// The bytes of a new array that cost one unit of fuel, as a power of two.
const ARRAY_UNIT_LOG2: u32 = 6;

/// What an operator costs, in units of fuel, beside what the runtime charges for the size of its operands.
fn cost(op: &Operator<'_>) -> i64 {
    match op {
        // What these do is done by others, which are charged: nothing at all, or ending what others began.
        Operator::Nop
        | Operator::Drop
        | Operator::Block { .. }
        | Operator::Loop { .. }
        | Operator::TryTable { .. }
        | Operator::Else
        | Operator::End
        | Operator::Return
        | Operator::Unreachable => 0,
        _ => 1,
    }
}

/// What an operator has to do with what happens outside of the function.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum Outlook {
    /// Nothing.
    Local,
    /// Others see the counter, and may change it.
    Counter,
    /// A call that returns here: others see the counter, and may change both it and the deadline.
    Call,
}

fn outlook(op: &Operator<'_>) -> Outlook {
    match op {
        Operator::Call { .. } | Operator::CallIndirect { .. } | Operator::CallRef { .. } => {
            Outlook::Call
        }
        Operator::ReturnCall { .. }
        | Operator::ReturnCallIndirect { .. }
        | Operator::ReturnCallRef { .. }
        | Operator::Return
        | Operator::Unreachable
        | Operator::Throw { .. }
        | Operator::ThrowRef
        | Operator::MemoryCopy { .. }
        | Operator::MemoryFill { .. }
        | Operator::MemoryInit { .. }
        | Operator::TableCopy { .. }
        | Operator::TableFill { .. }
        | Operator::TableInit { .. }
        | Operator::TableGrow { .. }
        | Operator::ArrayNew { .. }
        | Operator::ArrayNewDefault { .. }
        | Operator::ArrayNewData { .. }
        | Operator::ArrayNewElem { .. }
        | Operator::ArrayFill { .. }
        | Operator::ArrayCopy { .. }
        | Operator::ArrayInitData { .. }
        | Operator::ArrayInitElem { .. } => Outlook::Counter,
        _ => Outlook::Local,
    }
}

/// Whether a function that is called by others of its module alone can take part in what does not end.
fn can_repeat(body: &FunctionBody<'_>) -> bool {
    let Ok(mut operators) = body.get_operators_reader() else {
        return true;
    };
    while !operators.eof() {
        match operators.read() {
            Ok(
                Operator::Loop { .. }
                | Operator::Call { .. }
                | Operator::CallIndirect { .. }
                | Operator::CallRef { .. }
                | Operator::ReturnCall { .. }
                | Operator::ReturnCallIndirect { .. }
                | Operator::ReturnCallRef { .. },
            )
            | Err(_) => return true,
            Ok(_) => {}
        }
    }
    false
}

/// What is known at a place in a function of how its code is interrupted.
#[derive(Copy, Clone, Default, PartialEq, Eq, Debug)]
pub(super) struct Progress {
    /// How far the counter is behind: the fuel that was used and not charged. Negative if it is ahead.
    pending: i64,
    /// Whether the variable for the counter may have another value.
    fuel_is_stale: bool,
    /// Whether the variable for the deadline may have another value.
    deadline_is_stale: bool,
}

/// The state of translation that interruption needs.
#[derive(Default)]
pub(super) struct Interruption {
    pub(super) progress: Progress,
    /// A copy of the counter, if fuel is counted.
    fuel: Option<Variable>,
    /// The deadline, if there are epochs.
    deadline: Option<Variable>,
}

impl FuncTranslator<'_, '_> {
    /// Whether `body`, the function `index`, checks the epoch at its entry. It need not if only functions
    /// of its module call it, which check, and it ends by itself.
    fn checks_epoch_at_entry(&self, index: DefinedFuncIndex, body: &FunctionBody<'_>) -> bool {
        let func = self.translation.module.func_index(index);
        let escapes = self.translation.functions[func].func_ref.is_some();
        escapes || can_repeat(body)
    }

    /// The checks at the entry of a function.
    pub(super) fn check_at_entry(&mut self, index: DefinedFuncIndex, body: &FunctionBody<'_>) {
        if self.tunables().consume_fuel {
            self.interruption.fuel = Some(self.builder.declare_var(types::I64));
            self.interruption.progress.pending = ENTRY_COST;
            self.read_fuel();
            self.check_fuel();
        }
        if self.tunables().epoch_interruption && self.checks_epoch_at_entry(index, body) {
            let deadline = self.builder.declare_var(types::I64);
            self.interruption.deadline = Some(deadline);
            self.load_deadline();
            self.check_epoch();
        }
    }

    /// Whether code checks for anything, so that the state of that has to be the same where ways meet.
    pub(super) fn is_interrupted(&self) -> bool {
        self.interruption.fuel.is_some() || self.interruption.deadline.is_some()
    }

    /// Prepares going on to a loop header.
    pub(super) fn prepare_loop(&mut self) {
        if self.interruption.progress.fuel_is_stale {
            self.read_fuel();
        }
        if self.interruption.progress.deadline_is_stale {
            self.load_deadline();
        }
    }

    /// The checks at a loop header.
    pub(super) fn check_at_loop(&mut self) {
        self.check_fuel();
        self.check_epoch();
    }

    /// Counts an operator that is about to be translated.
    pub(super) fn count(&mut self, op: &Operator<'_>) {
        if !self.is_interrupted() {
            return;
        }
        let outlook = outlook(op);
        if self.interruption.fuel.is_some() {
            self.interruption.progress.pending += cost(op);
            if outlook != Outlook::Local {
                self.settle();
                self.interruption.progress.fuel_is_stale = true;
            }
        }
        if outlook == Outlook::Call && self.interruption.deadline.is_some() {
            self.interruption.progress.deadline_is_stale = true;
        }
    }

    /// Makes the counter true.
    pub(super) fn settle(&mut self) {
        self.let_pend(0);
    }

    /// Adjusts the counter to be `pending` units behind.
    fn let_pend(&mut self, pending: i64) {
        let progress = &mut self.interruption.progress;
        let charge = progress.pending - pending;
        progress.pending = pending;
        if charge != 0
            && let Some(variable) = self.interruption.fuel
        {
            let fuel = self.fuel(variable);
            let fuel = self.ins().iadd_imm_s(fuel, -charge);
            self.builder.def_var(variable, fuel);
            self.write_fuel(fuel);
        }
    }

    /// Whether a branch from here to a label at which `expected` is known needs code to go before it.
    pub(super) fn is_ready_for(&self, expected: Progress, is_loop: bool) -> bool {
        let progress = self.interruption.progress;
        let is_stale = progress.fuel_is_stale || progress.deadline_is_stale;
        progress.pending == expected.pending && !(is_loop && is_stale)
    }

    /// Does what has to be done before a branch to a label at which `expected` is known.
    pub(super) fn prepare_branch(&mut self, expected: Progress, is_loop: bool) {
        self.let_pend(expected.pending);
        if is_loop {
            self.prepare_loop();
        }
    }

    /// Goes on after a branch to a loop that was not taken.
    pub(super) fn leave_loop(&mut self) {
        // A value that is computed from the one of the loop would keep that in a register of its own.
        if self.interruption.fuel.is_some() {
            self.interruption.progress.fuel_is_stale = true;
        }
    }

    /// Begins a landing block, where exceptions of calls arrive.
    pub(super) fn land(&mut self) {
        // The way here is through the host, which has the fuel. Calls are preceded by charging for all.
        if self.interruption.fuel.is_some() && self.isa().flags().enable_pinned_reg() {
            let fuel = self.load_store_context(self.offsets.ptr.store_context_fuel());
            self.ins().set_pinned_reg(fuel);
        }
        self.interruption.progress = Progress {
            pending: 0,
            fuel_is_stale: self.interruption.fuel.is_some(),
            deadline_is_stale: self.interruption.deadline.is_some(),
        };
    }

    /// Charges for a new array of `len` elements of `size` bytes. It is not checked whether there is so much fuel: the
    /// next check will.
    pub(super) fn charge_for_array(&mut self, len: Value, size: u32) {
        let Some(variable) = self.interruption.fuel else {
            return;
        };
        let fuel = self.fuel(variable);
        let len = self.ins().uextend(types::I64, len);
        let shift = ARRAY_UNIT_LOG2 - size.trailing_zeros();
        let units = self.ins().ushr_imm_u(len, i64::from(shift));
        let fuel = self.ins().isub(fuel, units);
        self.write_fuel(fuel);
        self.interruption.progress.fuel_is_stale = true;
    }

    /// What is known where a way on which `self` is known meets the way that is being translated, from which
    /// [`Self::prepare_branch`] prepared the branch.
    pub(super) fn meet(&self, other: Progress) -> Progress {
        let here = self.interruption.progress;
        Progress {
            pending: other.pending,
            fuel_is_stale: here.fuel_is_stale || other.fuel_is_stale,
            deadline_is_stale: here.deadline_is_stale || other.deadline_is_stale,
        }
    }

    /// Copies the counter to its variable.
    fn read_fuel(&mut self) {
        if let Some(variable) = self.interruption.fuel {
            let fuel = if self.isa().flags().enable_pinned_reg() {
                self.ins().get_pinned_reg(types::I64)
            } else {
                self.load_store_context(self.offsets.ptr.store_context_fuel())
            };
            self.builder.def_var(variable, fuel);
        }
        self.interruption.progress.fuel_is_stale = false;
    }

    /// The counter, given its variable.
    fn fuel(&mut self, variable: Variable) -> Value {
        if self.interruption.progress.fuel_is_stale {
            self.read_fuel();
        }
        self.builder.use_var(variable)
    }

    fn write_fuel(&mut self, fuel: Value) {
        if self.isa().flags().enable_pinned_reg() {
            self.ins().set_pinned_reg(fuel);
        } else {
            let store_context = self.load_context_word(self.offsets.ptr.vmctx_store_context());
            let flags = self.flags(Region::Context);
            let offset = self.offsets.ptr.store_context_fuel() as i32;
            self.ins().store(flags, fuel, store_context, offset);
        }
    }

    /// Loads 64 bits of the store's record that may change.
    fn load_store_context(&mut self, offset: u32) -> Value {
        let store_context = self.load_context_word(self.offsets.ptr.vmctx_store_context());
        let flags = self.flags(Region::Context);
        self.ins()
            .load(types::I64, flags, store_context, offset as i32)
    }

    fn load_deadline(&mut self) {
        if let Some(variable) = self.interruption.deadline {
            let deadline = self.load_store_context(self.offsets.ptr.store_context_epoch_deadline());
            self.builder.def_var(variable, deadline);
        }
        self.interruption.progress.deadline_is_stale = false;
    }

    fn check_fuel(&mut self) {
        let Some(variable) = self.interruption.fuel else {
            return;
        };
        let fuel = self.fuel(variable);
        let pending = self.interruption.progress.pending;
        let is_out = self.ins().icmp_imm_s(IntCC::SignedLessThan, fuel, pending);
        self.unless(is_out, |t| {
            // What is left is not a constant, which would be kept in a register around loops.
            let left = t.ins().iadd_imm_s(fuel, -pending);
            t.call_builtin(BuiltinFunctionIndex::out_of_fuel, &[left]);
            t.read_fuel();
        });
    }

    fn check_epoch(&mut self) {
        let Some(variable) = self.interruption.deadline else {
            return;
        };
        let deadline = self.builder.use_var(variable);
        let store_context = self.load_context_word(self.offsets.ptr.vmctx_store_context());
        let counter = self.offsets.ptr.store_context_epoch_counter();
        let counter = self.load_constant_pointer(store_context, counter);
        // No two checks become one: from each there is a way with a call to the next.
        let flags = self.flags(Region::Context);
        let epoch = self.ins().load(types::I64, flags, counter, 0);
        let is_reached = self
            .ins()
            .icmp(IntCC::UnsignedLessThanOrEqual, deadline, epoch);
        self.unless(is_reached, |t| {
            // The host may ask for the fuel, and change it.
            let pending = t.interruption.progress.pending;
            t.settle();
            t.call_builtin(BuiltinFunctionIndex::new_epoch, &[]);
            t.read_fuel();
            t.let_pend(pending);
            t.load_deadline();
        });
    }

    /// Goes on, after `work` if `condition` is not zero.
    fn unless(&mut self, condition: Value, work: impl FnOnce(&mut Self)) {
        let interrupted = self.builder.create_block();
        let next = self.builder.create_block();
        self.builder.set_cold_block(interrupted);
        self.ins().brif(condition, interrupted, &[], next, &[]);
        self.builder.seal_block(interrupted);
        self.builder.switch_to_block(interrupted);
        work(self);
        self.ins().jump(next, &[]);
        self.builder.seal_block(next);
        self.builder.switch_to_block(next);
    }
}
