//! The order of instructions within blocks.
//!
//! Cranelift computes what has no effects where it is first needed. Where that is long after its operands were made, and
//! it is the last to need them, they are kept in registers that it would set free: sums of many loads are. Here such
//! instructions follow their operands.

use cranelift_codegen::ir::{
    Block, Function, Inst, InstructionData, Opcode, Type, Value, ValueDef,
};
use cranelift_entity::SecondaryMap;

/// So many instructions are far.
const FAR: u32 = 4;

#[derive(Default)]
pub(super) struct Scheduler {
    /// Where each instruction is, counted through the function.
    position: SecondaryMap<Inst, u32>,
    /// The first of the entries of `users` for each value.
    heads: SecondaryMap<Value, u32>,
    /// Uses of the value that are still to be placed, of values that the block makes and nobody else uses.
    remaining: SecondaryMap<Value, u32>,
    /// Instructions of the block that can be moved, and the next entry for the same value.
    users: Vec<(u32, u32)>,
    touched: Vec<Value>,
    block: Vec<Item>,
    order: Vec<Inst>,
    candidates: Vec<u32>,
    start: u32,
}

struct Item {
    inst: Inst,
    kind: Kind,
    placed: bool,
}

#[derive(Copy, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// Stays where it is, relative to others that stay.
    Fixed,
    /// A constant, which is put before its first user.
    Constant,
    /// Has no effects and one result.
    Pure,
}

impl Scheduler {
    pub(super) fn run(&mut self, func: &mut Function, uses: &SecondaryMap<Value, u32>) {
        self.position.clear();
        self.position.resize(func.dfg.num_insts());
        self.heads.clear();
        self.remaining.clear();
        self.remaining.resize(func.dfg.num_values());
        self.start = 1;
        let mut block = func.layout.entry_block();
        while let Some(current) = block {
            self.block(func, current, uses);
            block = func.layout.next_block(current);
        }
    }

    fn block(&mut self, func: &mut Function, block: Block, uses: &SecondaryMap<Value, u32>) {
        self.block.clear();
        let start = self.start;
        let mut is_worthwhile = false;
        for inst in func.layout.block_insts(block) {
            let kind = kind(func, inst);
            let position = start + self.block.len() as u32;
            if kind == Kind::Pure && !is_worthwhile {
                is_worthwhile = self.is_late(func, inst, start, position, uses);
            }
            self.position[inst] = position;
            self.block.push(Item {
                inst,
                kind,
                placed: false,
            });
        }
        self.start += self.block.len() as u32;
        if !is_worthwhile {
            return;
        }
        self.users.clear();
        self.order.clear();
        for (index, item) in self.block.iter().enumerate() {
            if item.kind == Kind::Pure {
                for value in func.dfg.inst_values(item.inst) {
                    // Zero says that there is none.
                    let head = self.heads[value];
                    if head == 0 {
                        self.touched.push(value);
                    }
                    self.users.push((index as u32, head));
                    self.heads[value] = self.users.len() as u32;
                }
            }
            for value in func.dfg.inst_results(item.inst) {
                self.remaining[*value] = uses[*value];
            }
        }
        for value in func.dfg.block_params(block) {
            self.remaining[*value] = uses[*value];
        }
        for index in 0..self.block.len() {
            let item = &self.block[index];
            if item.placed {
                continue;
            }
            self.place(func, index, start);
            while let Some(candidate) = self.candidates.pop() {
                if self.pays(func, candidate as usize, start) {
                    self.place(func, candidate as usize, start);
                }
            }
        }
        for value in self.touched.drain(..) {
            self.heads[value] = 0;
        }
        // Values of this block are alive or not in others, which does not matter there.
        self.apply(func, block);
    }

    /// Whether an instruction, that would be at `position`, is far from the last of its operands that the block makes, and
    /// one of the operands is not used otherwise.
    fn is_late(
        &self,
        func: &Function,
        inst: Inst,
        start: u32,
        position: u32,
        uses: &SecondaryMap<Value, u32>,
    ) -> bool {
        let mut made = start;
        let mut has_single_use = false;
        for value in func.dfg.inst_values(inst) {
            has_single_use |= uses[value] == 1;
            if let ValueDef::Result(definition, _) = func.dfg.value_def(value) {
                made = made.max(self.position[definition]);
            }
        }
        has_single_use && made + FAR < position
    }

    fn place(&mut self, func: &Function, index: usize, start: u32) {
        let inst = self.block[index].inst;
        for value in func.dfg.inst_values(inst) {
            if let Some(at) = self.index_of_definition(func, value, start)
                && !self.block[at].placed
            {
                debug_assert!(self.block[at].kind == Kind::Constant);
                self.block[at].placed = true;
                self.order.push(self.block[at].inst);
            }
        }
        self.block[index].placed = true;
        self.order.push(inst);
        for value in func.dfg.inst_values(inst) {
            let remaining = &mut self.remaining[value];
            if *remaining > 0 {
                *remaining -= 1;
                if *remaining == 1 {
                    self.ask_users(value);
                }
            }
        }
        if self.block[index].kind != Kind::Constant {
            for value in func.dfg.inst_results(inst) {
                self.ask_users(*value);
            }
        }
    }

    fn ask_users(&mut self, value: Value) {
        let mut entry = self.heads[value];
        while entry != 0 {
            let (user, next) = self.users[entry as usize - 1];
            if !self.block[user as usize].placed {
                self.candidates.push(user);
            }
            entry = next;
        }
    }

    fn index_of_definition(&self, func: &Function, value: Value, start: u32) -> Option<usize> {
        let ValueDef::Result(inst, _) = func.dfg.value_def(value) else {
            return None;
        };
        let index = self.position[inst].checked_sub(start)? as usize;
        (index < self.block.len()).then_some(index)
    }

    /// Whether an instruction can be placed here and then fewer values, or as many, are alive.
    fn pays(&self, func: &Function, index: usize, start: u32) -> bool {
        let item = &self.block[index];
        if item.placed {
            return false;
        }
        let result = func.dfg.inst_results(item.inst)[0];
        let class = is_float(func.dfg.value_type(result));
        let mut killed = 0;
        let args = func.dfg.inst_args(item.inst);
        for (i, value) in args.iter().enumerate() {
            if let Some(at) = self.index_of_definition(func, *value, start) {
                let definition = &self.block[at];
                if definition.kind == Kind::Constant {
                    continue;
                }
                if !definition.placed {
                    return false;
                }
            }
            if args[..i].contains(value) {
                continue;
            }
            let count = args.iter().filter(|arg| *arg == value).count() as u32;
            if self.remaining[*value] == count && is_float(func.dfg.value_type(*value)) == class {
                killed += 1;
            }
        }
        killed >= 1
    }

    fn apply(&self, func: &mut Function, block: Block) {
        let layout = &mut func.layout;
        let mut current = layout.first_inst(block);
        for inst in &self.order {
            match current {
                Some(at) if at == *inst => current = layout.next_inst(at),
                Some(at) => {
                    layout.remove_inst(*inst);
                    layout.insert_inst(*inst, at);
                }
                None => unreachable!("a block has as many instructions as before"),
            }
        }
    }
}

fn is_float(ty: Type) -> bool {
    ty.is_float() || ty.is_vector()
}

/// How an instruction can be moved.
pub(super) fn kind(func: &Function, inst: Inst) -> Kind {
    let data = &func.dfg.insts[inst];
    let opcode = data.opcode();
    match opcode {
        Opcode::Iconst | Opcode::F32const | Opcode::F64const => return Kind::Constant,
        // They become part of what uses them.
        Opcode::Icmp | Opcode::Fcmp => return Kind::Fixed,
        _ => {}
    }
    let has_effects = opcode.is_call()
        || opcode.is_branch()
        || opcode.is_terminator()
        || opcode.is_return()
        || opcode.can_trap()
        || opcode.other_side_effects()
        || opcode.can_store();
    let may_move = match *data {
        InstructionData::Load {
            opcode: Opcode::Load,
            flags,
            ..
        } => {
            let flags = func.dfg.mem_flags[flags];
            flags.readonly() && flags.notrap() && flags.can_move()
        }
        _ => !opcode.can_load(),
    };
    if has_effects || !may_move || func.dfg.inst_results(inst).len() != 1 {
        Kind::Fixed
    } else {
        Kind::Pure
    }
}
