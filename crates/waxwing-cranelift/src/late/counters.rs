//! Counters of loops are compared with their end after they were counted on, so that what they were before need not be
//! kept: `i == n` becomes `i + 1 == n + 1` where `i + 1` is what the loop goes on with.

use super::{constant, definition, mask};
use cranelift_codegen::cursor::{Cursor, FuncCursor};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{
    Block, BlockArg, Function, Inst, InstBuilder, InstructionData, Opcode, Value, ValueDef,
};

pub(super) fn rewrite(func: &mut Function) {
    let mut block = func.layout.entry_block();
    while let Some(current) = block {
        block = func.layout.next_block(current);
        let Some(branch) = func.layout.last_inst(current) else {
            continue;
        };
        if let Some((compare, condition)) = counted_compare(func, branch) {
            let (next, cc, end) = compare;
            let mut cursor = FuncCursor::new(func).at_inst(branch);
            cursor.use_srcloc(branch);
            let ty = cursor.func.dfg.value_type(next);
            let end = cursor.ins().iconst(ty, end.cast_signed());
            let compared = cursor.ins().icmp(cc, next, end);
            if let InstructionData::Brif { arg, .. } = &mut func.dfg.insts[branch] {
                *arg = compared;
            }
            let _ = condition;
        }
    }
}

/// What the condition of a branch is to be: the next value of the counter, how it is compared, and its end.
fn counted_compare(func: &Function, branch: Inst) -> Option<((Value, IntCC, u64), Value)> {
    let InstructionData::Brif { arg, blocks, .. } = &func.dfg.insts[branch] else {
        return None;
    };
    let InstructionData::IntCompare { args, cond, .. } = func.dfg.insts[definition(func, *arg)?]
    else {
        return None;
    };
    if !matches!(cond, IntCC::Equal | IntCC::NotEqual) {
        return None;
    }
    let [counter, end] = args;
    let end = constant(func, end)?;
    let ValueDef::Param(header, index) = func.dfg.value_def(counter) else {
        return None;
    };
    let next = blocks.iter().find_map(|call| {
        let lists = &func.dfg.value_lists;
        if call.block(lists) != header {
            return None;
        }
        match call.args(lists).nth(index)? {
            BlockArg::Value(next) => Some(next),
            _ => None,
        }
    })?;
    let step = step_from(func, next, counter, header)?;
    let bits = func.dfg.value_type(counter).bits();
    let end = end.wrapping_add(step) & mask(bits);
    Some(((next, cond, end), *arg))
}

/// What is added to `counter` to give `next`.
fn step_from(func: &Function, next: Value, counter: Value, _header: Block) -> Option<u64> {
    let InstructionData::Binary { opcode, args } = func.dfg.insts[definition(func, next)?] else {
        return None;
    };
    let [x, y] = args;
    match opcode {
        Opcode::Iadd if x == counter => constant(func, y),
        Opcode::Isub if x == counter => Some(constant(func, y)?.wrapping_neg()),
        _ => None,
    }
}
