//! Loops that are one block, what counts in them, and how often they run.

use super::super::{definition, step};
use super::affine::Affine;
use cranelift_codegen::ir::condcodes::{CondCode, IntCC};
use cranelift_codegen::ir::{
    Block, BlockArg, BlockCall, Function, Inst, InstructionData, Opcode, Value, ValueDef, types,
};
use std::collections::HashMap;

/// Longer loops have too many values for the registers, and take long to look at.
const LONGEST: usize = 256;

pub(super) struct Loop {
    pub(super) block: Block,
    pub(super) branch: Inst,
    /// What becomes of each of the block's parameters.
    pub(super) params: Vec<Param>,
    pub(super) trip: Trip,
    /// The block's instructions, and whether each makes the same in all iterations.
    insts: HashMap<Inst, Position>,
}

struct Position {
    index: u32,
    is_invariant: bool,
}

/// What a parameter of the block is in the next iteration.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Param {
    /// The same.
    Fixed,
    /// Another number of 32 or 64 bits.
    Counter { step: i64 },
    /// What the iteration computed.
    Carried { next: Value },
}

/// The loop goes on while `counter` and `end` compare so.
pub(super) struct Trip {
    pub(super) counter: Affine,
    pub(super) cond: IntCC,
    /// Zero if there is none.
    pub(super) end: Option<Value>,
}

/// The last instruction of a block that could be such a loop: one that goes on with the same block or another, and has
/// nothing before it but arithmetic, loads and stores, one of which stores what the block computes.
///
/// Loops that only copy mostly run a few times, where programs do not use `memory.copy`: they gain nothing, and there are
/// many.
pub(super) fn candidate(func: &Function, block: Block) -> Option<Inst> {
    let branch = func.layout.last_inst(block)?;
    let InstructionData::Brif { blocks, .. } = &func.dfg.insts[branch] else {
        return None;
    };
    let lists = &func.dfg.value_lists;
    let goes_back = |call: &BlockCall| call.block(lists) == block;
    if goes_back(&blocks[0]) == goes_back(&blocks[1]) {
        return None;
    }
    if func.layout.is_cold(block) || func.layout.entry_block() == Some(block) {
        return None;
    }
    let computes = |value| {
        definition(func, value).is_some_and(|inst| {
            let is_computed =
                !func.dfg.insts[inst].opcode().can_load() && !func.dfg.inst_args(inst).is_empty();
            is_computed && func.layout.inst_block(inst) == Some(block)
        })
    };
    let mut stores_computed = false;
    for (count, inst) in func.layout.block_insts(block).enumerate() {
        let is_plain = match func.dfg.insts[inst] {
            InstructionData::Load { .. } => true,
            InstructionData::Store { args, .. } => {
                stores_computed |= computes(args[0]);
                true
            }
            ref data => inst == branch || is_pure(data.opcode()),
        };
        if count >= LONGEST || !is_plain {
            return None;
        }
    }
    stores_computed.then_some(branch)
}

/// Whether an instruction computes a value of its operands and does nothing else.
fn is_pure(opcode: Opcode) -> bool {
    !(opcode.can_trap()
        || opcode.can_load()
        || opcode.can_store()
        || opcode.is_call()
        || opcode.is_branch()
        || opcode.is_terminator()
        || opcode.other_side_effects())
}

impl Loop {
    pub(super) fn new(func: &Function, block: Block, branch: Inst) -> Option<Self> {
        let InstructionData::Brif { arg, blocks, .. } = &func.dfg.insts[branch] else {
            return None;
        };
        let lists = &func.dfg.value_lists;
        let while_true = blocks[0].block(lists) == block;
        let back = &blocks[usize::from(!while_true)];
        let params = func.dfg.block_params(block).iter().zip(back.args(lists));
        let params = params
            .map(|(param, next)| match next {
                BlockArg::Value(next) => Some(change(func, *param, next)),
                _ => None,
            })
            .collect::<Option<_>>()?;
        let mut shape = Loop {
            block,
            branch,
            params,
            trip: Trip {
                counter: Affine::default(),
                cond: IntCC::NotEqual,
                end: None,
            },
            insts: HashMap::new(),
        };
        for (index, inst) in func.layout.block_insts(block).enumerate() {
            let is_invariant = is_pure(func.dfg.insts[inst].opcode())
                && func
                    .dfg
                    .inst_values(inst)
                    .all(|value| shape.is_invariant(func, value));
            let index = index as u32;
            shape.insts.insert(
                inst,
                Position {
                    index,
                    is_invariant,
                },
            );
        }
        shape.trip = shape.find_trip(func, *arg, while_true)?;
        Some(shape)
    }

    /// Whether a value is the same in all iterations.
    pub(super) fn is_invariant(&self, func: &Function, value: Value) -> bool {
        match func.dfg.value_def(value) {
            ValueDef::Result(inst, _) => self.insts.get(&inst).is_none_or(|at| at.is_invariant),
            ValueDef::Param(block, index) if block == self.block => {
                self.params[index] == Param::Fixed
            }
            _ => true,
        }
    }

    /// Which parameter of the block a value is.
    pub(super) fn param(&self, func: &Function, value: Value) -> Option<usize> {
        match func.dfg.value_def(value) {
            ValueDef::Param(block, index) if block == self.block => Some(index),
            _ => None,
        }
    }

    /// Where in the block an instruction is.
    pub(super) fn position(&self, inst: Inst) -> Option<u32> {
        self.insts.get(&inst).map(|at| at.index)
    }

    fn find_trip(&self, func: &Function, condition: Value, while_true: bool) -> Option<Trip> {
        let trip = |counter, cond, end| {
            let counter = Affine::new(func, self, counter)?;
            let step = counter.step.cast_signed();
            let counts_up =
                step > 0 && matches!(cond, IntCC::UnsignedLessThan | IntCC::SignedLessThan);
            let is_exact = cond == IntCC::NotEqual && step != 0;
            (step.unsigned_abs().is_power_of_two() && (is_exact || counts_up)).then_some(Trip {
                counter,
                cond,
                end,
            })
        };
        if func.dfg.value_type(condition) == types::I32 {
            return while_true.then(|| trip(condition, IntCC::NotEqual, None))?;
        }
        let InstructionData::IntCompare { args, cond, .. } =
            func.dfg.insts[definition(func, condition)?]
        else {
            return None;
        };
        if func.dfg.value_type(args[0]) != types::I32 {
            return None;
        }
        let cond = if while_true { cond } else { cond.complement() };
        let [x, y] = args;
        if self.is_invariant(func, y) {
            trip(x, cond, Some(y))
        } else if self.is_invariant(func, x) {
            trip(y, cond.swap_args(), Some(x))
        } else {
            None
        }
    }
}

/// What becomes of `param`, which is `next` in the next iteration.
fn change(func: &Function, param: Value, next: Value) -> Param {
    if param == next {
        return Param::Fixed;
    }
    let is_number = matches!(func.dfg.value_type(param), types::I32 | types::I64);
    match step(func, param, next) {
        Some(step) if is_number => Param::Counter {
            step: step.cast_signed(),
        },
        _ => Param::Carried { next },
    }
}
