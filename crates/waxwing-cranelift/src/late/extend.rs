//! Values of 32 bits that are used as 64 as well, as indices of memories are, are of 64 bits from the beginning where that
//! costs nothing: instructions that make 32 bits clear the others. Else they would be extended by a move in each round of a loop,
//! and take a register more.

use super::constant;
use cranelift_codegen::cursor::{Cursor, FuncCursor};
use cranelift_codegen::ir::{
    Block, BlockArg, BlockCall, Function, Inst, InstBuilder, InstructionData, Opcode, Value,
    ValueDef, types,
};
use cranelift_entity::SecondaryMap;
use cranelift_entity::packed_option::PackedOption;
use smallvec::SmallVec;
use types::{I32, I64};

/// How often parameters that turned out to be extended at a cost are looked at again.
const ROUNDS: usize = 4;

#[derive(Default)]
pub(super) struct Extender {
    /// Where each block is, counted through the function.
    position: SecondaryMap<Block, u32>,
    /// Ends of blocks, by where they lead.
    edges: Vec<(Block, Inst)>,
    /// Instructions that extend.
    extensions: Vec<Inst>,
    /// What is known of values.
    state: SecondaryMap<Value, State>,
    /// Parameters of blocks that may become 64 bits.
    params: Vec<Value>,
    /// Loads that become 64 bits.
    loads: Vec<Inst>,
    /// The 64 bits of values.
    wide: SecondaryMap<Value, PackedOption<Value>>,
    /// What stands for extensions.
    replaced: SecondaryMap<Value, PackedOption<Value>>,
}

#[derive(Copy, Clone, PartialEq, Eq, Default)]
enum State {
    #[default]
    Unknown,
    /// A parameter that can be extended for nothing, as far as is known, or a load.
    Candidate,
    /// One that is wanted as 64 bits.
    Wanted,
    /// One that cannot.
    Costly,
}

impl Extender {
    pub(super) fn run(&mut self, func: &mut Function) {
        if !self.find(func) {
            return;
        }
        if !self.params.is_empty() {
            self.find_edges(func);
            self.close(func);
            self.drop_costly(func);
            self.want(func);
        }
        if self.params.is_empty() && self.loads.is_empty() {
            return;
        }
        self.widen(func);
        self.replace(func);
    }

    /// Finds what is extended. Returns whether anything is that can become 64 bits.
    fn find(&mut self, func: &Function) -> bool {
        self.params.clear();
        self.loads.clear();
        self.extensions.clear();
        self.state.clear();
        let entry = func.layout.entry_block();
        for block in func.layout.blocks() {
            for inst in func.layout.block_insts(block) {
                let Some(arg) = extended(func, inst) else {
                    continue;
                };
                if self.state[arg] != State::Costly {
                    self.extensions.push(inst);
                }
                if self.state[arg] != State::Unknown {
                    continue;
                }
                match func.dfg.value_def(arg) {
                    ValueDef::Param(block, _) if Some(block) != entry => {
                        self.state[arg] = State::Candidate;
                        self.params.push(arg);
                    }
                    ValueDef::Result(load, _) if is_load(func, load) => {
                        self.state[arg] = State::Wanted;
                        self.loads.push(load);
                    }
                    _ => self.state[arg] = State::Costly,
                }
            }
        }
        !self.params.is_empty() || !self.loads.is_empty()
    }

    fn find_edges(&mut self, func: &Function) {
        self.edges.clear();
        self.position.clear();
        for (position, block) in func.layout.blocks().enumerate() {
            self.position[block] = position as u32;
            let Some(branch) = func.layout.last_inst(block) else {
                continue;
            };
            if func.dfg.insts[branch].opcode().is_branch() {
                for call in destinations(func, branch) {
                    let edge = (call.block(&func.dfg.value_lists), branch);
                    if self.edges.last() != Some(&edge) {
                        self.edges.push(edge);
                    }
                }
            }
        }
        self.edges.sort_unstable();
        self.edges.dedup();
    }

    /// What is passed for a parameter, with whether that is on the way into a loop.
    fn incoming(&self, func: &Function, param: Value) -> Option<SmallVec<[(Value, bool); 4]>> {
        let ValueDef::Param(block, index) = func.dfg.value_def(param) else {
            return None;
        };
        let start = self.edges.partition_point(|(target, _)| *target < block);
        let edges = self.edges[start..]
            .iter()
            .take_while(|(target, _)| *target == block);
        let here = self.position[block];
        let lists = &func.dfg.value_lists;
        let mut values = SmallVec::new();
        let mut is_loop = false;
        for (_, branch) in edges {
            let from = func.layout.inst_block(*branch)?;
            let enters = self.position[from] < here;
            is_loop |= !enters;
            for call in destinations(func, *branch) {
                if call.block(lists) == block {
                    match call.args(lists).nth(index)? {
                        BlockArg::Value(value) => values.push((value, enters)),
                        _ => return None,
                    }
                }
            }
        }
        for (_, enters) in &mut values {
            *enters &= is_loop;
        }
        Some(values)
    }

    /// Adds parameters that are passed for candidates.
    fn close(&mut self, func: &Function) {
        let entry = func.layout.entry_block();
        let mut next = 0;
        while next < self.params.len() {
            let param = self.params[next];
            next += 1;
            for (value, _) in self.incoming(func, param).unwrap_or_default() {
                if let ValueDef::Param(block, _) = func.dfg.value_def(value)
                    && Some(block) != entry
                    && self.state[value] == State::Unknown
                {
                    self.state[value] = State::Candidate;
                    self.params.push(value);
                }
            }
        }
    }

    fn drop_costly(&mut self, func: &Function) {
        for _ in 0..ROUNDS {
            let mut changed = false;
            for place in 0..self.params.len() {
                let param = self.params[place];
                if self.state[param] != State::Candidate {
                    continue;
                }
                let is_free = match self.incoming(func, param) {
                    Some(incoming) => incoming
                        .iter()
                        .all(|(value, enters)| *enters || self.is_free(func, *value)),
                    None => false,
                };
                if !is_free {
                    self.state[param] = State::Costly;
                    changed = true;
                }
            }
            if !changed {
                break;
            }
        }
    }

    fn is_free(&self, func: &Function, value: Value) -> bool {
        match func.dfg.value_def(value) {
            ValueDef::Result(inst, _) => {
                is_load(func, inst)
                    || matches!(
                        func.dfg.insts[inst].opcode(),
                        Opcode::Iconst
                            | Opcode::Iadd
                            | Opcode::Isub
                            | Opcode::Imul
                            | Opcode::Band
                            | Opcode::Bor
                            | Opcode::Bxor
                            | Opcode::Ishl
                            | Opcode::Ushr
                    )
            }
            ValueDef::Param(..) => self.state[value] == State::Candidate,
            ValueDef::Union(..) => false,
        }
    }

    /// Leaves those parameters that are extended, and those that are passed for them.
    fn want(&mut self, func: &Function) {
        let mut wanted: Vec<Value> = Vec::new();
        for inst in &self.extensions {
            if let Some(arg) = extended(func, *inst)
                && self.state[arg] == State::Candidate
            {
                self.state[arg] = State::Wanted;
                wanted.push(arg);
            }
        }
        let mut next = 0;
        while next < wanted.len() {
            let param = wanted[next];
            next += 1;
            for (value, _) in self.incoming(func, param).unwrap_or_default() {
                match func.dfg.value_def(value) {
                    ValueDef::Param(..) if self.state[value] == State::Candidate => {
                        self.state[value] = State::Wanted;
                        wanted.push(value);
                    }
                    ValueDef::Result(load, _)
                        if self.state[value] == State::Unknown && is_load(func, load) =>
                    {
                        self.state[value] = State::Wanted;
                        self.loads.push(load);
                    }
                    _ => {}
                }
            }
        }
        self.params = wanted;
    }

    /// Makes loads and parameters 64 bits, and what they were parts of those.
    fn widen(&mut self, func: &mut Function) {
        self.wide.clear();
        self.replaced.clear();
        for load in &self.loads {
            let narrow = func.dfg.first_result(*load);
            let wide = func.dfg.replace_result(narrow, I64);
            if let InstructionData::Load { opcode, .. } = &mut func.dfg.insts[*load]
                && *opcode == Opcode::Load
            {
                *opcode = Opcode::Uload32;
            }
            self.wide[narrow] = wide.into();
            let reduce = reduction(func, wide, narrow);
            let location = func.srcloc(*load);
            func.set_srcloc(reduce, location);
            let next = func.layout.next_inst(*load).expect("a load ends no block");
            func.layout.insert_inst(reduce, next);
        }
        for param in &self.params {
            let ValueDef::Param(block, _) = func.dfg.value_def(*param) else {
                continue;
            };
            let wide = func.dfg.replace_block_param(*param, I64);
            self.wide[*param] = wide.into();
            let reduce = reduction(func, wide, *param);
            let first = func
                .layout
                .first_inst(block)
                .expect("blocks end in branches");
            func.layout.insert_inst(reduce, first);
        }
    }

    /// Uses the 64 bits.
    fn replace(&mut self, func: &mut Function) {
        for inst in &self.extensions {
            if let Some(arg) = extended(func, *inst)
                && self.wide[arg].is_some()
            {
                let result = func.dfg.first_result(*inst);
                self.replaced[result] = self.wide[arg];
                func.layout.remove_inst(*inst);
            }
        }
        let mut block = func.layout.entry_block();
        while let Some(current) = block {
            let mut inst = func.layout.first_inst(current);
            while let Some(at) = inst {
                inst = func.layout.next_inst(at);
                let replaced = &self.replaced;
                func.dfg
                    .map_inst_values(at, |value| replaced[value].expand().unwrap_or(value));
                if !self.params.is_empty() && func.dfg.insts[at].opcode().is_branch() {
                    self.pass_wide(func, at);
                }
            }
            block = func.layout.next_block(current);
        }
    }

    /// Passes 64 bits for the parameters that have as many now.
    fn pass_wide(&self, func: &mut Function, branch: Inst) {
        let calls = destinations(func, branch).len();
        for call in 0..calls {
            let lists = &func.dfg.value_lists;
            let target = destinations(func, branch)[call];
            let params = func.dfg.block_params(target.block(lists));
            let narrow: SmallVec<[(usize, Value); 8]> = target
                .args(lists)
                .zip(params)
                .enumerate()
                .filter_map(|(index, (arg, param))| match arg {
                    BlockArg::Value(value)
                        if func.dfg.value_type(value) == I32
                            && func.dfg.value_type(*param) == I64 =>
                    {
                        Some((index, value))
                    }
                    _ => None,
                })
                .collect();
            if narrow.is_empty() {
                continue;
            }
            let wide: SmallVec<[(usize, Value); 8]> = narrow
                .into_iter()
                .map(|(index, value)| (index, self.extend(func, branch, value)))
                .collect();
            let dfg = &mut func.dfg;
            let calls = dfg.insts[branch]
                .branch_destination_mut(&mut dfg.jump_tables, &mut dfg.exception_tables);
            let mut index = 0;
            calls[call].update_args(&mut dfg.value_lists, |arg| {
                let new = wide.iter().find(|(place, _)| *place == index);
                index += 1;
                new.map_or(arg, |(_, value)| BlockArg::Value(*value))
            });
        }
    }

    fn extend(&self, func: &mut Function, before: Inst, value: Value) -> Value {
        if let Some(wide) = self.wide[value].expand() {
            return wide;
        }
        let constant = constant(func, value);
        let mut cursor = FuncCursor::new(func).at_inst(before);
        cursor.use_srcloc(before);
        match constant {
            Some(bits) => cursor.ins().iconst(I64, i64::from(bits as u32)),
            None => cursor.ins().uextend(I64, value),
        }
    }
}

/// What an instruction extends from 32 to 64 bits with zeros, if it does.
fn extended(func: &Function, inst: Inst) -> Option<Value> {
    match func.dfg.insts[inst] {
        InstructionData::Unary {
            opcode: Opcode::Uextend,
            arg,
        } if func.dfg.value_type(arg) == I32
            && func.dfg.value_type(func.dfg.first_result(inst)) == I64 =>
        {
            Some(arg)
        }
        _ => None,
    }
}

/// Whether an instruction loads what has 32 bits, or is extended to as many with zeros.
fn is_load(func: &Function, inst: Inst) -> bool {
    matches!(
        func.dfg.insts[inst].opcode(),
        Opcode::Load | Opcode::Uload8 | Opcode::Uload16
    ) && func.dfg.value_type(func.dfg.first_result(inst)) == I32
}

/// An instruction whose result is `narrow`, the 32 low bits of `wide`.
fn reduction(func: &mut Function, wide: Value, narrow: Value) -> Inst {
    let data = InstructionData::Unary {
        opcode: Opcode::Ireduce,
        arg: wide,
    };
    let inst = func.dfg.make_inst(data);
    func.dfg
        .make_inst_results_reusing(inst, I32, std::iter::once(Some(narrow)));
    inst
}

fn destinations(func: &Function, branch: Inst) -> &[BlockCall] {
    func.dfg.insts[branch].branch_destination(&func.dfg.jump_tables, &func.dfg.exception_tables)
}
