//! The copy of a loop that works on vectors, and what leads to it.
//!
//! ```text
//! entry:   rounds = …              how often the loop goes back
//!          if there are enough of them → check, else → loop
//! check:   if nothing traps and nothing overlaps → vectors, else → loop
//! vectors: some iterations at a time, as long as there are as many before the last → rest
//! rest:    → loop, with what its parameters are by then
//! loop:    as it was
//! ```

use super::super::constant;
use super::Plan;
use super::guard::{Before, Int};
use super::pack::{Kind, PackId};
use super::range;
use super::shape::{Loop, Param};
use cranelift_codegen::cursor::{Cursor, FuncCursor};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{
    Block, BlockArg, BlockCall, ConstantData, Endianness, Function, Inst, InstBuilder,
    InstBuilderBase, InstructionData, MemFlagsData, Opcode, Type, Value, types,
};
use smallvec::SmallVec;
use std::collections::HashMap;
use types::{F64X2, I8X16, I32, I64};

/// Puts a copy of the plan's loop on vectors in front of it.
pub(super) fn copy(func: &mut Function, plan: &Plan) {
    let shape = &plan.shape;
    let [entry, check, vectors, rest] = [(); 4].map(|()| {
        let block = func.dfg.make_block();
        func.layout.insert_block(block, shape.block);
        block
    });
    let first = enter_by(func, shape, entry);
    let mut cursor = FuncCursor::new(func).at_bottom(entry);
    cursor.use_srcloc(shape.branch);
    let mut before = Before::new(cursor, shape, first);
    let found = before.rounds(plan);
    before.go(found.is_long, check, &[]);

    before.cursor.goto_bottom(check);
    let classes = &plan.accesses.classes;
    let starts: Vec<Int> = classes
        .iter()
        .map(|class| before.affine(&class.lowest))
        .collect();
    let is_safe = before.is_safe(plan, found.rounds, &starts);
    let turn = u64::from(plan.packs.rounds);
    let done = before.and(I32, found.rounds, u64::from(u32::MAX) & !(turn - 1));
    let (mut emitter, arguments) = Emitter::new(plan, &mut before, starts, done, vectors);
    before.go(is_safe, vectors, &arguments);

    let Before { cursor, first, .. } = &mut before;
    cursor.goto_bottom(vectors);
    emitter.vectors(cursor, vectors, rest);
    cursor.goto_bottom(rest);
    let first = first.clone();
    let arguments: Vec<BlockArg> = (0..first.len())
        .map(|param| emitter.after(&mut before, param, first[param], done).into())
        .collect();
    before.cursor.ins().jump(shape.block, &arguments);
}

/// Moves the edges that lead into a loop from elsewhere to `entry`. Gives what the loop's parameters are at first.
fn enter_by(func: &mut Function, shape: &Loop, entry: Block) -> Vec<Value> {
    let mut edges: Vec<Inst> = Vec::new();
    let mut next = func.layout.entry_block();
    while let Some(from) = next {
        next = func.layout.next_block(from);
        let Some(last) = func.layout.last_inst(from).filter(|_| from != shape.block) else {
            continue;
        };
        let dfg = &mut func.dfg;
        let calls =
            dfg.insts[last].branch_destination_mut(&mut dfg.jump_tables, &mut dfg.exception_tables);
        for call in calls {
            if call.block(&dfg.value_lists) == shape.block {
                call.set_block(entry, &mut dfg.value_lists);
                edges.push(last);
            }
        }
    }
    if let [edge] = edges[..]
        && let InstructionData::Jump { destination, .. } = func.dfg.insts[edge]
    {
        let lists = &mut func.dfg.value_lists;
        let values: Option<Vec<Value>> = destination
            .args(lists)
            .map(|argument| argument.as_value())
            .collect();
        if let Some(values) = values {
            let direct = BlockCall::new(entry, [], lists);
            if let InstructionData::Jump { destination, .. } = &mut func.dfg.insts[edge] {
                *destination = direct;
            }
            return values;
        }
    }
    let params = func.dfg.block_params(shape.block).to_vec();
    let types = params.iter().map(|param| func.dfg.value_type(*param));
    let types: Vec<Type> = types.collect();
    types
        .into_iter()
        .map(|ty| func.dfg.append_block_param(entry, ty))
        .collect()
}

impl Before<'_> {
    /// Goes to a block if `condition` holds, else to the loop as it was.
    fn go(&mut self, condition: Int, block: Block, arguments: &[BlockArg]) {
        let first: Vec<BlockArg> = self.first.iter().map(|value| (*value).into()).collect();
        let scalar = self.shape.block;
        let ins = self.cursor.ins();
        match condition {
            Int::Known(0) => ins.jump(scalar, &first),
            Int::Known(_) => ins.jump(block, arguments),
            Int::Value(condition) => ins.brif(condition, block, arguments, scalar, &first),
        };
    }
}

/// What makes the loop on vectors.
struct Emitter<'a> {
    plan: &'a Plan,
    /// The indices of the classes of addresses at first.
    starts: Vec<Value>,
    /// What indices advance by in an iteration, how far they are, and how far the first of them comes.
    ways: Vec<(u32, Value)>,
    end: Value,
    /// Vectors of what is the same in all lanes.
    splats: HashMap<PackId, Value>,
    /// What the lanes of others are shifted by.
    amounts: HashMap<PackId, Value>,
    /// For each pack that is carried what was carried last.
    carried: Vec<(PackId, Value)>,
    /// The low halves of lanes, if any is stored.
    low: Option<Value>,
}

impl<'a> Emitter<'a> {
    /// Makes what the loop needs, and the parameters of its block. Gives the arguments for these.
    fn new(
        plan: &'a Plan,
        before: &mut Before<'_>,
        starts: Vec<Int>,
        done: Int,
        vectors: Block,
    ) -> (Self, Vec<BlockArg>) {
        let classes = &plan.accesses.classes;
        let starts = starts.iter().map(|start| before.value(I32, *start));
        let starts: Vec<Value> = starts.collect();
        let end = before.times(I32, done, classes[0].lowest.step.into());
        let end = before.value(I32, end);
        let mut emitter = Emitter {
            plan,
            starts,
            ways: Vec::new(),
            end,
            splats: HashMap::new(),
            amounts: HashMap::new(),
            carried: Vec::new(),
            low: None,
        };
        let mut arguments = Vec::new();
        let zero = before.cursor.ins().iconst(I32, 0);
        for class in classes {
            let step = class.lowest.step;
            if emitter.ways.iter().all(|way| way.0 != step) {
                let dfg = &mut before.cursor.func.dfg;
                emitter
                    .ways
                    .push((step, dfg.append_block_param(vectors, I32)));
                arguments.push(zero.into());
            }
        }
        emitter.make_splats(before);
        for (id, pack) in plan.packs.list.iter().enumerate() {
            if let Kind::Carried(_) = pack.kind {
                let ty = plan.packs.vector_type(before.cursor.func, id);
                let first = before.make(pack.values[0]);
                arguments.push(splat(&mut before.cursor, ty, first).into());
                let dfg = &mut before.cursor.func.dfg;
                emitter
                    .carried
                    .push((id, dfg.append_block_param(vectors, ty)));
            }
        }
        (emitter, arguments)
    }

    fn make_splats(&mut self, before: &mut Before<'_>) {
        let packs = &self.plan.packs;
        let is_splat = |id: &PackId| matches!(packs.list[*id].kind, Kind::Splat);
        let mut used: Vec<PackId> = packs.stores.iter().map(|store| store.value).collect();
        for pack in &packs.list {
            match &pack.kind {
                Kind::Op(inst, operands) if is_shift(before.cursor.func, *inst) => {
                    used.push(operands[0]);
                    self.make_amount(before, operands[1]);
                }
                Kind::Op(_, operands) => used.extend(operands),
                Kind::Carried(next) => used.push(*next),
                Kind::Splat | Kind::Load(_) => {}
            }
        }
        for id in used.into_iter().filter(is_splat) {
            self.splats.entry(id).or_insert_with(|| {
                let ty = packs.vector_type(before.cursor.func, id);
                let value = before.make(packs.list[id].values[0]);
                splat(&mut before.cursor, ty, value)
            });
        }
        let is_cut = |store: &super::pack::StorePack| {
            let bits = self.plan.accesses.list[store.accesses[0]].bytes * 8;
            bits < packs.lane && !range::is_unsigned(packs.ranges[store.value], bits)
        };
        if packs.stores.iter().any(is_cut) {
            let ty = Type::int(packs.lane as u16).expect("lanes have 16 to 64 bits");
            let mask = i64::from(u32::MAX >> (32 - packs.lane / 2));
            let mask = before.cursor.ins().iconst(ty, mask);
            let ty = ty.by(packs.lanes()).expect("lanes fill a vector");
            self.low = Some(before.cursor.ins().splat(ty, mask));
        }
    }

    /// Lanes that are narrower than their numbers are shifted by fewer bits at most. More shift out what all bits above the
    /// lane are.
    fn make_amount(&mut self, before: &mut Before<'_>, id: PackId) {
        if self.amounts.contains_key(&id) {
            return;
        }
        let packs = &self.plan.packs;
        let value = packs.list[id].values[0];
        let amount = match constant(before.cursor.func, value) {
            Some(amount) if packs.lane < 32 => {
                let amount = (amount % 32).min(u64::from(packs.lane) - 1);
                before.cursor.ins().iconst(I32, amount.cast_signed())
            }
            _ => before.make(value),
        };
        self.amounts.insert(id, amount);
    }

    /// The block of the loop on vectors, which ends going to `rest`.
    fn vectors(&mut self, cursor: &mut FuncCursor<'_>, block: Block, rest: Block) {
        let plan = self.plan;
        cursor.use_srcloc(plan.shape.branch);
        let addresses: Vec<Value> = plan
            .accesses
            .classes
            .iter()
            .zip(&self.starts)
            .map(|(class, start)| {
                let step = class.lowest.step;
                let way = self.ways.iter().find(|way| way.0 == step);
                let (_, way) = way.expect("there is one for each step");
                let index = cursor.ins().iadd(*start, *way);
                let index = cursor.ins().uextend(I64, index);
                cursor.ins().iadd(plan.accesses.base, index)
            })
            .collect();
        for group in 0..plan.packs.groups {
            self.group(cursor, &addresses, group);
        }
        cursor.use_srcloc(plan.shape.branch);
        let mut arguments: Vec<BlockArg> = Vec::new();
        let mut first_way = None;
        for (step, way) in &self.ways {
            let step = i64::from(step * plan.packs.rounds);
            let step = cursor.ins().iconst(I32, step);
            let next = cursor.ins().iadd(*way, step);
            first_way.get_or_insert(next);
            arguments.push(next.into());
        }
        arguments.extend(self.carried.iter().map(|(_, last)| BlockArg::from(*last)));
        let way = first_way.expect("a loop accesses something");
        let goes_on = cursor.ins().icmp(IntCC::NotEqual, way, self.end);
        cursor.ins().brif(goes_on, block, &arguments, rest, &[]);
    }

    /// One vector of each kind, of the elements that follow those of the groups before.
    fn group(&mut self, cursor: &mut FuncCursor<'_>, addresses: &[Value], group: u32) {
        let plan = self.plan;
        let packs = &plan.packs;
        let mut made: Vec<Value> = Vec::with_capacity(packs.list.len());
        let place = |access: usize| {
            let access = &plan.accesses.list[access];
            let offset = access.offset + i64::from(group * packs.lanes() * access.bytes);
            let offset = i32::try_from(offset).expect("a vector behind any access is within reach");
            (access, addresses[access.class], offset)
        };
        for (id, pack) in packs.list.iter().enumerate() {
            let value = match &pack.kind {
                Kind::Splat => match self.splats.get(&id) {
                    Some(splat) => *splat,
                    // It is used as a scalar alone.
                    None => self.amounts[&id],
                },
                Kind::Load(of) => {
                    let (access, address, offset) = place(of[0]);
                    cursor.use_srcloc(access.inst);
                    let ty = packs.vector_type(cursor.func, id);
                    let flags = access.flags;
                    let ins = cursor.ins();
                    match access.opcode {
                        _ if access.bytes * 8 == packs.lane => ins.load(ty, flags, address, offset),
                        Opcode::Uload8 => ins.uload8x8(flags, address, offset),
                        Opcode::Sload8 => ins.sload8x8(flags, address, offset),
                        Opcode::Uload16 => ins.uload16x4(flags, address, offset),
                        Opcode::Sload16 => ins.sload16x4(flags, address, offset),
                        Opcode::Uload32 => ins.uload32x2(flags, address, offset),
                        _ => ins.sload32x2(flags, address, offset),
                    }
                }
                Kind::Op(inst, ids) => {
                    cursor.use_srcloc(*inst);
                    let mut operands: SmallVec<[Value; 3]> =
                        ids.iter().map(|id| made[*id]).collect();
                    if is_shift(cursor.func, *inst) {
                        operands[1] = self.amounts[&ids[1]];
                    }
                    self.operation(cursor, *inst, &operands)
                }
                Kind::Carried(next) => {
                    let carried = self.carried.iter_mut().find(|(of, _)| *of == id);
                    let (_, last) = carried.expect("there is one for each such pack");
                    let before = std::mem::replace(last, made[*next]);
                    one_later(cursor, before, made[*next], packs.lane / 8)
                }
            };
            made.push(value);
        }
        for store in &packs.stores {
            let (access, address, offset) = place(store.accesses[0]);
            cursor.use_srcloc(access.inst);
            let mut value = made[store.value];
            let bits = access.bytes * 8;
            if bits < packs.lane {
                if !range::is_unsigned(packs.ranges[store.value], bits) {
                    let low = self.low.expect("it was made for such stores");
                    value = cursor.ins().band(value, low);
                }
                let halves = cursor.ins().unarrow(value, value);
                // Of integers it would be a slower instruction.
                let halves = cursor.ins().bitcast(F64X2, lanes_in_order(), halves);
                value = cursor.ins().extractlane(halves, 0);
            }
            cursor.ins().store(access.flags, value, address, offset);
        }
    }

    /// Does what `inst` does to each lane of `operands`.
    fn operation(&self, cursor: &mut FuncCursor<'_>, inst: Inst, operands: &[Value]) -> Value {
        let ty = cursor.func.dfg.value_type(operands[0]);
        match (cursor.func.dfg.insts[inst], operands) {
            (InstructionData::IntCompare { cond, .. }, &[x, y]) => cursor.ins().icmp(cond, x, y),
            (InstructionData::FloatCompare { cond, .. }, &[x, y]) => cursor.ins().fcmp(cond, x, y),
            (InstructionData::Ternary { .. }, &[mask, x, y]) => {
                let ty = cursor.func.dfg.value_type(x);
                let mask = cursor.ins().bitcast(ty, lanes_in_order(), mask);
                cursor.ins().bitselect(mask, x, y)
            }
            (mut data, _) => {
                let arguments = data.arguments_mut(&mut cursor.func.dfg.value_lists);
                arguments.copy_from_slice(operands);
                let (inst, dfg) = cursor.ins().build(data, ty);
                dfg.first_result(inst)
            }
        }
    }

    /// What a parameter of the loop is when the vectors are done.
    fn after(&self, before: &mut Before<'_>, param: usize, first: Value, done: Int) -> Value {
        let packs = &self.plan.packs;
        let ty = before.cursor.func.dfg.value_type(first);
        match self.plan.shape.params[param] {
            Param::Fixed => first,
            Param::Counter { step } => {
                let done = if ty == I64 { before.extend(done) } else { done };
                let way = before.times(
                    ty,
                    done,
                    step.cast_unsigned() & super::super::mask(ty.bits()),
                );
                let after = before.add(ty, Int::Value(first), way);
                before.value(ty, after)
            }
            Param::Carried { .. } => {
                let value = before.cursor.func.dfg.block_params(self.plan.shape.block)[param];
                let carried = |(id, _): &&(PackId, Value)| packs.list[*id].values[0] == value;
                let carried = self.carried.iter().find(carried);
                let (id, last) = carried.expect("all parameters have packs");
                let lane = before
                    .cursor
                    .ins()
                    .extractlane(*last, packs.lanes() as u8 - 1);
                if packs.lane >= ty.bits() {
                    return lane;
                }
                let computed = packs.computed(*id, packs.lanes() + 1);
                let computed = computed.expect("it was looked for when lanes were chosen");
                match range::is_unsigned(packs.ranges[computed], packs.lane) {
                    true => before.cursor.ins().uextend(ty, lane),
                    false => before.cursor.ins().sextend(ty, lane),
                }
            }
        }
    }
}

fn is_shift(func: &Function, inst: Inst) -> bool {
    matches!(
        func.dfg.insts[inst].opcode(),
        Opcode::Ishl | Opcode::Ushr | Opcode::Sshr
    )
}

/// How vectors become vectors of other lanes: as they would in memory.
fn lanes_in_order() -> MemFlagsData {
    MemFlagsData::new().with_endianness(Endianness::Little)
}

/// A vector with a value in each lane, or its low bits.
fn splat(cursor: &mut FuncCursor<'_>, ty: Type, value: Value) -> Value {
    let lane = ty.lane_type();
    let is_wider = cursor.func.dfg.value_type(value).bits() > lane.bits();
    let value = match is_wider {
        true => cursor.ins().ireduce(lane, value),
        false => value,
    };
    cursor.ins().splat(ty, value)
}

/// The lanes of `now`, each one later, behind the last lane of `before`.
fn one_later(cursor: &mut FuncCursor<'_>, before: Value, now: Value, bytes: u32) -> Value {
    let ty = cursor.func.dfg.value_type(now);
    let [before, now] =
        [before, now].map(|value| cursor.ins().bitcast(I8X16, lanes_in_order(), value));
    let start = 16 - bytes as u8;
    let places: Vec<u8> = (start..start + 16).collect();
    let places = cursor
        .func
        .dfg
        .immediates
        .push(ConstantData::from(&places[..]));
    let shuffled = cursor.ins().shuffle(before, now, places);
    cursor.ins().bitcast(ty, lanes_in_order(), shuffled)
}
