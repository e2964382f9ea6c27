//! What a loop goes on with is computed at the end of the block that goes back, when nothing needs what it is computed from
//! any more: then both can have the same register, and nothing is moved on the way back.

use super::schedule::{Kind, kind};
use super::{definition, step};
use cranelift_codegen::ir::{Block, BlockArg, Function, Inst, InstructionData, Opcode, Value};
use cranelift_entity::SecondaryMap;

#[derive(Default)]
pub(super) struct Latches {
    /// Where each block is, counted through the function.
    position: SecondaryMap<Block, u32>,
    counters: Vec<Counter>,
}

/// A parameter of a loop's header and what it is when the loop goes on.
#[derive(Copy, Clone)]
struct Counter {
    param: Value,
    next: Value,
    inst: Inst,
}

impl Latches {
    pub(super) fn run(&mut self, func: &mut Function, uses: &SecondaryMap<Value, u32>) {
        self.position.clear();
        let mut block = func.layout.entry_block();
        let mut position = 0;
        while let Some(current) = block {
            self.position[current] = position;
            position += 1;
            if let Some(branch) = func.layout.last_inst(current) {
                self.collect(func, current, branch);
                if !self.counters.is_empty() {
                    self.sink(func, branch, uses);
                }
            }
            block = func.layout.next_block(current);
        }
    }

    /// Finds the counters of the loops that `branch`, the end of `block`, goes back to.
    fn collect(&mut self, func: &Function, block: Block, branch: Inst) {
        self.counters.clear();
        let calls: &[_] = match &func.dfg.insts[branch] {
            InstructionData::Jump { destination, .. } => std::slice::from_ref(destination),
            InstructionData::Brif { blocks, .. } => blocks,
            _ => return,
        };
        let lists = &func.dfg.value_lists;
        for call in calls {
            let header = call.block(lists);
            // Blocks that are still to come have no position. The entry block has no predecessors.
            let goes_back = header == block || self.position[header] != 0;
            if !goes_back {
                continue;
            }
            for (arg, param) in call.args(lists).zip(func.dfg.block_params(header)) {
                let BlockArg::Value(next) = arg else {
                    continue;
                };
                let Some(inst) = definition(func, next) else {
                    continue;
                };
                if func.layout.inst_block(inst) == Some(block)
                    && kind(func, inst) == Kind::Pure
                    && func.dfg.inst_args(inst).contains(param)
                {
                    self.counters.push(Counter {
                        param: *param,
                        next,
                        inst,
                    });
                }
            }
        }
    }

    fn sink(&mut self, func: &mut Function, branch: Inst, uses: &SecondaryMap<Value, u32>) {
        let mut tail = branch;
        // The comparison becomes part of the branch.
        if let InstructionData::Brif { arg, .. } = func.dfg.insts[branch]
            && uses[arg] == 1
            && let Some(compare) = definition(func, arg)
            && matches!(
                func.dfg.insts[compare].opcode(),
                Opcode::Icmp | Opcode::Fcmp
            )
            && func.layout.inst_block(compare) == func.layout.inst_block(branch)
        {
            move_before(func, compare, branch);
            tail = compare;
        }
        while let Some(place) = self.last_counter(func) {
            let counter = self.counters.swap_remove(place);
            if let Some(to) = new_place(func, counter, tail, branch) {
                move_before(func, counter.inst, to);
                if to == tail {
                    tail = counter.inst;
                }
            }
        }
    }

    /// A counter whose parameter and next value no other one is computed from.
    fn last_counter(&self, func: &Function) -> Option<usize> {
        (0..self.counters.len()).find(|place| {
            let Counter { param, next, inst } = self.counters[*place];
            self.counters.iter().all(|other| {
                let args = func.dfg.inst_args(other.inst);
                other.inst == inst || !(args.contains(&param) || args.contains(&next))
            })
        })
    }
}

/// Before which instruction a counter is counted so that its parameter is needed no longer, if that is not so now. It has to be before
/// `tail`.
fn new_place(func: &Function, counter: Counter, tail: Inst, branch: Inst) -> Option<Inst> {
    // What is computed from the parameter may be computed anew, from the parameter, where it is used.
    let mut has_uses_between = step(func, counter.param, counter.next).is_some();
    let mut at = func.layout.next_inst(counter.inst)?;
    let to = loop {
        if at == tail || func.dfg.inst_values(at).any(|value| value == counter.next) {
            break at;
        }
        has_uses_between |= func.dfg.inst_values(at).any(|value| value == counter.param);
        at = func.layout.next_inst(at)?;
    };
    if !has_uses_between {
        return None;
    }
    // Nothing may need the parameter from there on.
    let mut rest = Some(to);
    while let Some(inst) = rest {
        if func
            .dfg
            .inst_values(inst)
            .any(|value| value == counter.param)
        {
            return None;
        }
        rest = match inst == branch {
            true => None,
            false => func.layout.next_inst(inst),
        };
    }
    Some(to)
}

fn move_before(func: &mut Function, inst: Inst, before: Inst) {
    if func.layout.next_inst(inst) != Some(before) {
        func.layout.remove_inst(inst);
        func.layout.insert_inst(inst, before);
    }
}
