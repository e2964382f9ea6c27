//! What is done to a function after Cranelift's optimizations and before it is lowered: loops on vectors beside those that
//! there are, and the same instructions, in forms and in an order of which better machine code is made.

mod counters;
mod extend;
mod latch;
mod narrow;
mod schedule;
#[cfg(test)]
mod tests;
mod vectorize;

pub(crate) use vectorize::Heap;

use cranelift_codegen::ir::{Function, Inst, InstructionData, Opcode, Value, ValueDef, types};
use cranelift_entity::SecondaryMap;

/// What is allocated once and used for one function after another.
#[derive(Default)]
pub(crate) struct LateScratch {
    /// The memories of which loops are vectorized.
    pub(crate) heaps: Vec<Heap>,
    /// How often each value is used.
    uses: SecondaryMap<Value, u32>,
    schedule: schedule::Scheduler,
    latches: latch::Latches,
    extender: extend::Extender,
}

/// Rewrites `func`, of a target whose machine code is of x86-64 if `is_x64`. Says whether it has new blocks.
pub(crate) fn improve(func: &mut Function, is_x64: bool, scratch: &mut LateScratch) -> bool {
    let has_new_blocks = vectorize::run(func, &scratch.heaps);
    count_uses(func, &mut scratch.uses);
    counters::rewrite(func, &mut scratch.uses);
    if is_x64 {
        narrow::rewrite(func, &mut scratch.uses);
    }
    scratch.schedule.run(func, &scratch.uses);
    scratch.latches.run(func, &scratch.uses);
    if is_x64 {
        scratch.extender.run(func);
    }
    has_new_blocks
}

fn count_uses(func: &Function, uses: &mut SecondaryMap<Value, u32>) {
    uses.clear();
    uses.resize(func.dfg.num_values());
    for block in func.layout.blocks() {
        for inst in func.layout.block_insts(block) {
            for value in func.dfg.inst_values(inst) {
                uses[value] += 1;
            }
        }
    }
}

/// The instruction that makes a value.
fn definition(func: &Function, value: Value) -> Option<Inst> {
    match func.dfg.value_def(value) {
        ValueDef::Result(inst, _) => Some(inst),
        _ => None,
    }
}

/// The value of an integer constant, without a sign.
fn constant(func: &Function, value: Value) -> Option<u64> {
    match func.dfg.insts[definition(func, value)?] {
        InstructionData::UnaryImm { imm, .. } if func.dfg.value_type(value) != types::I128 => {
            Some(imm.bits().cast_unsigned())
        }
        _ => None,
    }
}

/// The constant that is added to `before` to make `next`, if that is how it is made.
fn step(func: &Function, before: Value, next: Value) -> Option<u64> {
    let InstructionData::Binary { opcode, args } = func.dfg.insts[definition(func, next)?] else {
        return None;
    };
    let [x, y] = args;
    match opcode {
        Opcode::Iadd if x == before => constant(func, y),
        Opcode::Iadd if y == before => constant(func, x),
        Opcode::Isub if x == before => Some(constant(func, y)?.wrapping_neg()),
        _ => None,
    }
}

/// The bits of an integer type that has at most 64.
fn mask(bits: u32) -> u64 {
    u64::MAX >> (64 - bits)
}
