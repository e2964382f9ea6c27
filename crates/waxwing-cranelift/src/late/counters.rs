//! Counters of loops are compared with their end after they were counted on, so that what they were before need not be
//! kept: `i == n` becomes `i + 1 == n + 1` where `i + 1` is what the loop goes on with.

use super::{constant, definition, mask, step};
use cranelift_codegen::cursor::{Cursor, FuncCursor};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{
    BlockArg, Function, Inst, InstBuilder, InstructionData, Value, ValueDef,
};
use cranelift_entity::SecondaryMap;

pub(super) fn rewrite(func: &mut Function, uses: &mut SecondaryMap<Value, u32>) {
    let mut block = func.layout.entry_block();
    while let Some(current) = block {
        block = func.layout.next_block(current);
        let branch = func.layout.last_inst(current);
        if let Some(branch) = branch
            && let Some(compare) = counted_compare(func, branch)
        {
            replace(func, branch, compare, uses);
        }
    }
}

/// A comparison of a counter with its end.
struct Compare {
    inst: Inst,
    cond: IntCC,
    /// What the loop goes on with.
    next: Value,
    /// What that is compared with.
    end: u64,
}

fn replace(
    func: &mut Function,
    branch: Inst,
    compare: Compare,
    uses: &mut SecondaryMap<Value, u32>,
) {
    let mut cursor = FuncCursor::new(func).at_inst(branch);
    cursor.use_srcloc(branch);
    let ty = cursor.func.dfg.value_type(compare.next);
    let end = cursor.ins().iconst(ty, compare.end.cast_signed());
    let condition = cursor.ins().icmp(compare.cond, compare.next, end);
    for value in [compare.next, end, condition] {
        uses[value] += 1;
    }
    let InstructionData::Brif { arg, .. } = &mut func.dfg.insts[branch] else {
        unreachable!("the branch was one a moment ago");
    };
    let before = std::mem::replace(arg, condition);
    uses[before] -= 1;
    if uses[before] == 0 {
        for value in func.dfg.inst_values(compare.inst) {
            uses[value] -= 1;
        }
        func.layout.remove_inst(compare.inst);
    }
}

/// The comparison that a branch depends on, if what it compares is a counter of the loop that the branch goes back to.
fn counted_compare(func: &Function, branch: Inst) -> Option<Compare> {
    let InstructionData::Brif { arg, blocks, .. } = &func.dfg.insts[branch] else {
        return None;
    };
    let inst = definition(func, *arg)?;
    let InstructionData::IntCompare { args, cond, .. } = func.dfg.insts[inst] else {
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
        match call.args(lists).nth(index)? {
            BlockArg::Value(next) if call.block(lists) == header => Some(next),
            _ => None,
        }
    })?;
    let step = step(func, counter, next)?;
    let bits = func.dfg.value_type(counter).bits();
    Some(Compare {
        inst,
        cond,
        next,
        end: end.wrapping_add(step) & mask(bits),
    })
}
