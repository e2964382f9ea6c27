//! What is computed anew in each round of a loop though it is always the same.
//!
//! Cranelift puts sums of a value and a constant, and other cheap instructions, into each block that uses them, to keep
//! fewer values in registers. In a loop they are computed before it, if the value itself is not used there any more then,
//! or few values are alive there.

use super::{constant, definition};
use cranelift_codegen::dominator_tree::DominatorTree;
use cranelift_codegen::ir::{
    Block, Function, Inst, InstructionData, Opcode, Type, Value, ValueDef,
};
use cranelift_codegen::loop_analysis::{Loop, LoopAnalysis};
use std::collections::{HashMap, HashSet};

/// In loops that use no more values from outside than this, and carry on no more, others may be added.
const FEW: usize = 7;

#[derive(Default)]
pub(super) struct Hoister {
    /// What is known of loops that have candidates.
    pressure: HashMap<Loop, usize>,
    /// Loops that have others in them.
    outer: HashSet<Loop>,
    bases: HashMap<(Loop, Value), Base>,
    candidates: Vec<Candidate>,
    hoisted: HashMap<(Loop, Key), Value>,
}

#[derive(Default)]
struct Base {
    /// Uses in the loop.
    uses: usize,
    /// Uses by candidates, all of which are the same.
    same: usize,
    key: Option<Key>,
}

#[derive(Copy, Clone)]
struct Candidate {
    inst: Inst,
    innermost: Loop,
    key: Key,
}

/// An instruction on a value and a constant.
#[derive(Copy, Clone, PartialEq, Eq, Hash)]
struct Key {
    opcode: Opcode,
    ty: Type,
    base: Value,
    constant: u64,
}

impl Hoister {
    pub(super) fn run(
        &mut self,
        func: &mut Function,
        domtree: &DominatorTree,
        loops: &LoopAnalysis,
    ) {
        if loops.loops().len() == 0 {
            return;
        }
        self.pressure.clear();
        self.outer.clear();
        self.outer
            .extend(loops.loops().filter_map(|inner| loops.loop_parent(inner)));
        self.bases.clear();
        self.candidates.clear();
        self.hoisted.clear();
        self.each_block(func, loops, Self::find);
        if self.candidates.is_empty() {
            return;
        }
        for candidate in &self.candidates {
            self.pressure.insert(candidate.innermost, 0);
        }
        self.each_block(func, loops, Self::count);
        let mut has_aliases = false;
        for index in 0..self.candidates.len() {
            let candidate = self.candidates[index];
            if self.pays(candidate) {
                has_aliases |= self.hoist(func, domtree, loops, candidate);
            }
        }
        if has_aliases {
            func.dfg.resolve_all_aliases();
        }
    }

    /// Calls `visit` with the blocks of innermost loops.
    fn each_block(
        &mut self,
        func: &Function,
        loops: &LoopAnalysis,
        visit: fn(&mut Self, &Function, &LoopAnalysis, Block, Loop),
    ) {
        for block in func.layout.blocks() {
            if let Some(innermost) = loops.innermost_loop(block)
                && !self.outer.contains(&innermost)
            {
                visit(self, func, loops, block, innermost);
            }
        }
    }

    fn find(&mut self, func: &Function, loops: &LoopAnalysis, block: Block, innermost: Loop) {
        for inst in func.layout.block_insts(block) {
            if let Some(key) = key(func, inst)
                && is_outside(func, loops, key.base, innermost)
            {
                self.candidates.push(Candidate {
                    inst,
                    innermost,
                    key,
                });
                let base = self.bases.entry((innermost, key.base)).or_default();
                if *base.key.get_or_insert(key) == key {
                    base.same += 1;
                }
            }
        }
    }

    fn count(&mut self, func: &Function, loops: &LoopAnalysis, block: Block, innermost: Loop) {
        let Some(pressure) = self.pressure.get_mut(&innermost) else {
            return;
        };
        if loops.loop_header(innermost) == block {
            *pressure += func.dfg.block_params(block).len();
        }
        for inst in func.layout.block_insts(block) {
            for value in func.dfg.inst_values(inst) {
                if is_outside(func, loops, value, innermost) {
                    let base = self.bases.entry((innermost, value)).or_default();
                    base.uses += 1;
                    if base.uses == 1 {
                        *pressure += 1;
                    }
                }
            }
        }
    }

    fn pays(&mut self, candidate: Candidate) -> bool {
        let Candidate { innermost, key, .. } = candidate;
        if self.hoisted.contains_key(&(innermost, key)) {
            return true;
        }
        let base = &self.bases[&(innermost, key.base)];
        if base.uses == base.same {
            return true;
        }
        let pressure = self.pressure.get_mut(&innermost);
        match pressure {
            Some(pressure) if *pressure <= FEW => {
                *pressure += 1;
                true
            }
            _ => false,
        }
    }

    /// Puts an instruction before the loop, or makes its result an alias of one that is there: whether it does that.
    fn hoist(
        &mut self,
        func: &mut Function,
        domtree: &DominatorTree,
        loops: &LoopAnalysis,
        candidate: Candidate,
    ) -> bool {
        let Candidate {
            inst,
            innermost,
            key,
        } = candidate;
        let result = func.dfg.first_result(inst);
        if let Some(value) = self.hoisted.get(&(innermost, key)) {
            func.layout.remove_inst(inst);
            func.dfg.change_to_alias(result, *value);
            return true;
        }
        // What dominates both the header and this block, and is not in the loop, dominates this.
        let before = domtree.idom(loops.loop_header(innermost));
        let Some(end) = before.and_then(|before| func.layout.last_inst(before)) else {
            return false;
        };
        // The constant may be made in the loop.
        let constant_of = func.dfg.inst_args(inst)[1];
        if let Some(definition) = definition(func, constant_of) {
            let copy = func.dfg.clone_inst(definition);
            func.layout.insert_inst(copy, end);
            func.dfg.inst_args_mut(inst)[1] = func.dfg.first_result(copy);
        }
        func.layout.remove_inst(inst);
        func.layout.insert_inst(inst, end);
        self.hoisted.insert((innermost, key), result);
        false
    }
}

/// Whether a value that is no constant is defined outside a loop.
fn is_outside(func: &Function, loops: &LoopAnalysis, value: Value, innermost: Loop) -> bool {
    let block = match func.dfg.value_def(value) {
        ValueDef::Result(inst, _) => func.layout.inst_block(inst),
        ValueDef::Param(block, _) => Some(block),
        ValueDef::Union(..) => None,
    };
    block.is_some_and(|block| !loops.is_in_loop(block, innermost))
        && constant(func, value).is_none()
}

fn key(func: &Function, inst: Inst) -> Option<Key> {
    let InstructionData::Binary {
        opcode: opcode @ (Opcode::Iadd | Opcode::Isub | Opcode::Band | Opcode::Bor | Opcode::Bxor),
        args: [base, other],
    } = func.dfg.insts[inst]
    else {
        return None;
    };
    Some(Key {
        opcode,
        ty: func.dfg.value_type(base),
        base,
        constant: constant(func, other)?,
    })
}
