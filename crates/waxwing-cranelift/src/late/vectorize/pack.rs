//! Which values are lanes of one vector: what the copies of an iteration compute in the same way, for elements that
//! follow each other.

use super::super::constant;
use super::access::Accesses;
use super::range::{self, Range};
use super::shape::{Loop, Param};
use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::{
    Function, Inst, InstructionData, Opcode, Type, Value, ValueDef, types,
};
use std::collections::HashMap;

/// The bits of a vector.
const VECTOR_BITS: u32 = 128;
/// With fewer vectors than this in an iteration, the loop on vectors does two at a time.
const FEW: usize = 8;
/// The loop on vectors must run so often for it to be worth its checks.
const LEAST_TURNS: u32 = 2;

pub(super) struct Packs {
    /// Operands come before what they are operands of, but for values carried from one iteration to the next.
    pub(super) list: Vec<Pack>,
    /// In the order of the block.
    pub(super) stores: Vec<StorePack>,
    /// The bits of a lane.
    pub(super) lane: u32,
    /// What numbers each pack can be.
    pub(super) ranges: Vec<Range>,
    /// How many iterations the loop on vectors does at a time, a power of two.
    pub(super) rounds: u32,
    /// How many vectors of each kind it works on at a time.
    pub(super) groups: u32,
}

/// An index in the list of packs.
pub(super) type PackId = usize;

pub(super) struct Pack {
    /// One for each copy of the iteration.
    pub(super) values: Vec<Value>,
    pub(super) kind: Kind,
}

#[derive(Clone)]
pub(super) enum Kind {
    /// The same in all lanes and iterations.
    Splat,
    /// Of elements that follow each other, by index in the list of accesses.
    Load(Vec<usize>),
    /// What the instruction does, which is that of the first copy.
    Op(Inst, Vec<PackId>),
    /// A parameter of the block: what the iteration before computed.
    Carried(PackId),
}

pub(super) struct StorePack {
    /// The accesses, one for each copy.
    pub(super) accesses: Vec<usize>,
    pub(super) value: PackId,
}

impl Packs {
    pub(super) fn new(func: &Function, shape: &Loop, accesses: &Accesses) -> Option<Self> {
        let mut builder = Builder {
            func,
            shape,
            accesses,
            list: Vec::new(),
            found: HashMap::new(),
        };
        let mut stores = Vec::new();
        for accesses in builder.groups_of_stores()? {
            let stored = |access: &usize| builder.accesses.list[*access].stored;
            let values = accesses.iter().map(stored).collect::<Option<_>>()?;
            let value = builder.vector(values)?;
            stores.push(StorePack { accesses, value });
        }
        // What the loop goes on with must be known when the vectors are done.
        for (index, param) in shape.params.iter().enumerate() {
            if matches!(param, Param::Carried { .. }) {
                if accesses.copies != 1 {
                    return None;
                }
                builder.vector(vec![func.dfg.block_params(shape.block)[index]])?;
            }
        }
        let mut packs = Packs {
            list: builder.list,
            stores,
            lane: 0,
            ranges: Vec::new(),
            rounds: 0,
            groups: 0,
        };
        packs.ranges = range::ranges(func, accesses, &packs);
        packs.lane = packs.choose_lane(func, accesses)?;
        packs.choose_groups(accesses.copies);
        Some(packs)
    }

    /// The lanes of a vector.
    pub(super) fn lanes(&self) -> u32 {
        VECTOR_BITS / self.lane
    }

    /// The iterations, all but the last, that there must be for vectors to be worth it.
    pub(super) fn least_rounds(&self) -> u32 {
        self.rounds * LEAST_TURNS
    }

    /// The type of the vectors of a pack.
    pub(super) fn vector_type(&self, func: &Function, pack: PackId) -> Type {
        let ty = func.dfg.value_type(self.list[pack].values[0]);
        vector_type(ty, self.lane).expect("lanes were chosen that hold all values")
    }

    /// The bits that lanes need for every value to be one.
    fn choose_lane(&self, func: &Function, accesses: &Accesses) -> Option<u32> {
        let ranges = &self.ranges;
        [16, 32, 64].into_iter().find(|&lane| {
            let has_type = |value| vector_type(func.dfg.value_type(value), lane).is_some();
            let fits = |pack: &Pack| match &pack.kind {
                Kind::Op(inst, operands) => {
                    let operands = operands.iter().map(|id| ranges[*id]);
                    (is_condition(func, *inst) || has_type(pack.values[0]))
                        && works_on(func, *inst, lane)
                        && (lane >= 32 || range::fits(func, *inst, operands, lane))
                }
                // Amounts of shifts and the like are not lanes.
                Kind::Splat => true,
                Kind::Load(of) => {
                    let access = &accesses.list[of[0]];
                    has_type(pack.values[0]) && [lane, lane / 2].contains(&(access.bytes * 8))
                }
                Kind::Carried(next) => {
                    let computed = self.computed(*next, VECTOR_BITS / lane);
                    let fits = |pack: PackId| range::is_extended(ranges[pack], lane);
                    has_type(pack.values[0]) && computed.is_some_and(fits)
                }
            };
            let stored = |store: &StorePack| {
                let access = &accesses.list[store.accesses[0]];
                let bits = access.bytes * 8;
                has_type(self.list[store.value].values[0])
                    && (bits == lane || (lane < 64 && bits == lane / 2))
            };
            self.list.iter().all(fits) && self.stores.iter().all(stored)
        })
    }

    /// The pack that is not carried itself, of which `pack` is what so many iterations ago at most computed.
    pub(super) fn computed(&self, mut pack: PackId, most: u32) -> Option<PackId> {
        for _ in 0..most {
            match self.list[pack].kind {
                Kind::Carried(next) => pack = next,
                _ => return Some(pack),
            }
        }
        None
    }

    fn choose_groups(&mut self, copies: u32) {
        let lanes = self.lanes();
        self.rounds = (lanes / copies).max(1);
        self.groups = (copies / lanes).max(1);
        let work = |pack: &&Pack| !matches!(pack.kind, Kind::Splat);
        if self.list.iter().filter(work).count() * (self.groups as usize) < FEW {
            self.rounds *= 2;
            self.groups *= 2;
        }
    }
}

struct Builder<'a> {
    func: &'a Function,
    shape: &'a Loop,
    accesses: &'a Accesses,
    list: Vec<Pack>,
    /// The pack in which a value is first. There is none yet while its operands are looked for.
    found: HashMap<Value, Option<PackId>>,
}

impl Builder<'_> {
    /// Stores to elements that follow each other, as many as there are copies.
    fn groups_of_stores(&self) -> Option<Vec<Vec<usize>>> {
        let list = &self.accesses.list;
        let mut stores: Vec<usize> = (0..list.len())
            .filter(|access| list[*access].stored.is_some())
            .collect();
        stores.sort_by_key(|access| (list[*access].class, list[*access].offset));
        let mut groups = Vec::new();
        for group in stores.chunks(self.accesses.copies as usize) {
            if group.len() != self.accesses.copies as usize || !self.follow_each_other(group) {
                return None;
            }
            groups.push(group.to_vec());
        }
        groups.sort_by_key(|group| group[0]);
        Some(groups)
    }

    fn follow_each_other(&self, group: &[usize]) -> bool {
        group.windows(2).all(|pair| {
            let [x, y] = [pair[0], pair[1]].map(|access| &self.accesses.list[access]);
            x.class == y.class
                && x.opcode == y.opcode
                && x.ty == y.ty
                && x.offset + i64::from(x.bytes) == y.offset
        })
    }

    /// The pack of values that are not conditions.
    fn vector(&mut self, values: Vec<Value>) -> Option<PackId> {
        let pack = self.pack(values)?;
        let is_condition = match self.list[pack].kind {
            Kind::Op(inst, _) => is_condition(self.func, inst),
            _ => false,
        };
        (!is_condition).then_some(pack)
    }

    fn pack(&mut self, values: Vec<Value>) -> Option<PackId> {
        let first = values[0];
        if let Some(known) = self.found.get(&first) {
            let known = (*known)?;
            return (self.list[known].values == values).then_some(known);
        }
        self.found.insert(first, None);
        let kind = self.kind(&values)?;
        self.list.push(Pack { values, kind });
        let pack = self.list.len() - 1;
        self.found.insert(first, Some(pack));
        Some(pack)
    }

    fn kind(&mut self, values: &[Value]) -> Option<Kind> {
        let first = values[0];
        let (func, shape) = (self.func, self.shape);
        if shape.is_invariant(func, first) {
            let is_same = |value: &Value| {
                *value == first
                    || (constant(func, first).is_some()
                        && constant(func, first) == constant(func, *value))
            };
            return values.iter().all(is_same).then_some(Kind::Splat);
        }
        if let Some(param) = shape.param(func, first) {
            return match shape.params[param] {
                Param::Carried { next } => Some(Kind::Carried(self.vector(vec![next])?)),
                _ => None,
            };
        }
        let insts: Vec<Inst> = values
            .iter()
            .map(|value| self.definition(*value))
            .collect::<Option<_>>()?;
        if func.dfg.insts[insts[0]].opcode().can_load() {
            let accesses: Vec<usize> = insts
                .iter()
                .map(|inst| self.accesses.of(*inst))
                .collect::<Option<_>>()?;
            return self
                .follow_each_other(&accesses)
                .then_some(Kind::Load(accesses));
        }
        let is_same = |inst: &Inst| is_same_operation(func, insts[0], *inst);
        if !insts.iter().all(is_same) {
            return None;
        }
        let vectors = vectors_among_operands(func, insts[0])?;
        let count = func.dfg.inst_args(insts[0]).len();
        let operands = (0..count)
            .map(|index| {
                let operand = |inst: &Inst| func.dfg.inst_args(*inst)[index];
                let operands = insts.iter().map(operand).collect();
                let pack = match vectors {
                    Vectors::AllButFirst if index == 0 => self.pack(operands),
                    _ => self.vector(operands),
                }?;
                let of_kind = |wanted: bool| wanted.then_some(pack);
                match (vectors, index) {
                    (Vectors::First, 1) => of_kind(matches!(self.list[pack].kind, Kind::Splat)),
                    (Vectors::AllButFirst, 0) => of_kind(self.is_condition(pack)),
                    _ => Some(pack),
                }
            })
            .collect::<Option<_>>()?;
        Some(Kind::Op(insts[0], operands))
    }

    fn is_condition(&self, pack: PackId) -> bool {
        match self.list[pack].kind {
            Kind::Op(inst, _) => is_condition(self.func, inst),
            _ => false,
        }
    }

    /// The instruction of the loop that makes a value.
    fn definition(&self, value: Value) -> Option<Inst> {
        match self.func.dfg.value_def(value) {
            ValueDef::Result(inst, _) => self.shape.position(inst).and(Some(inst)),
            _ => None,
        }
    }
}

/// Which operands of an operation are vectors.
#[derive(Copy, Clone)]
enum Vectors {
    All,
    /// The other one is the same for all lanes.
    First,
    /// The first is a condition.
    AllButFirst,
}

/// How the operands of an operation on vectors are given, if there is one that does the same to each lane.
fn vectors_among_operands(func: &Function, inst: Inst) -> Option<Vectors> {
    match func.dfg.insts[inst].opcode() {
        Opcode::Fadd
        | Opcode::Fsub
        | Opcode::Fmul
        | Opcode::Fdiv
        | Opcode::Sqrt
        | Opcode::Fneg
        | Opcode::Fabs
        | Opcode::Iadd
        | Opcode::Isub
        | Opcode::Imul
        | Opcode::Ineg
        | Opcode::Band
        | Opcode::Bor
        | Opcode::Bxor
        | Opcode::Bnot
        | Opcode::Umin
        | Opcode::Umax
        | Opcode::Smin
        | Opcode::Smax
        | Opcode::Icmp
        | Opcode::Fcmp => Some(Vectors::All),
        Opcode::Ishl | Opcode::Ushr | Opcode::Sshr => Some(Vectors::First),
        Opcode::Select => Some(Vectors::AllButFirst),
        _ => None,
    }
}

/// Whether there is the operation for lanes of so many bits on every target.
fn works_on(func: &Function, inst: Inst, lane: u32) -> bool {
    match func.dfg.insts[inst] {
        InstructionData::FloatCompare { cond, .. } => matches!(
            cond,
            FloatCC::Equal
                | FloatCC::NotEqual
                | FloatCC::LessThan
                | FloatCC::LessThanOrEqual
                | FloatCC::GreaterThan
                | FloatCC::GreaterThanOrEqual
        ),
        InstructionData::IntCompare { cond, args, .. } => {
            let is_signed =
                matches!(cond, IntCC::Equal | IntCC::NotEqual) || cond != cond.unsigned();
            func.dfg.value_type(args[0]).bits() == if lane == 64 { 64 } else { 32 }
                && (lane < 64 || is_signed)
        }
        InstructionData::Binary { opcode, .. } => {
            lane < 64
                || !matches!(
                    opcode,
                    Opcode::Umin | Opcode::Umax | Opcode::Smin | Opcode::Smax
                )
        }
        _ => true,
    }
}

fn is_condition(func: &Function, inst: Inst) -> bool {
    matches!(func.dfg.insts[inst].opcode(), Opcode::Icmp | Opcode::Fcmp)
}

/// Whether two instructions do the same to their operands.
fn is_same_operation(func: &Function, x: Inst, y: Inst) -> bool {
    let result = |inst| func.dfg.value_type(func.dfg.first_result(inst));
    match (&func.dfg.insts[x], &func.dfg.insts[y]) {
        (
            InstructionData::IntCompare { cond, args, .. },
            InstructionData::IntCompare {
                cond: other,
                args: others,
                ..
            },
        ) => cond == other && func.dfg.value_type(args[0]) == func.dfg.value_type(others[0]),
        (
            InstructionData::FloatCompare { cond, args, .. },
            InstructionData::FloatCompare {
                cond: other,
                args: others,
                ..
            },
        ) => cond == other && func.dfg.value_type(args[0]) == func.dfg.value_type(others[0]),
        (x_data, y_data) => x_data.opcode() == y_data.opcode() && result(x) == result(y),
    }
}

/// The type of a vector with such lanes for values of a type.
fn vector_type(ty: Type, lane: u32) -> Option<Type> {
    match (ty, lane) {
        (types::F64, 64) => Some(types::F64X2),
        (types::I64, 64) => Some(types::I64X2),
        (types::F32, 32) => Some(types::F32X4),
        (types::I32, 32) => Some(types::I32X4),
        (types::I32, 16) => Some(types::I16X8),
        _ => None,
    }
}
