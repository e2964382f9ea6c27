//! What is checked before a loop runs on vectors, and the arithmetic for it.

use super::super::constant;
use super::Plan;
use super::affine::Affine;
use super::shape::Loop;
use cranelift_codegen::cursor::{Cursor, FuncCursor};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{ArgumentPurpose, InstBuilder, MemFlagsData, Type, Value, types};
use std::collections::HashMap;
use types::{I32, I64};

/// An integer that may be known.
#[derive(Copy, Clone)]
pub(super) enum Int {
    Known(u64),
    Value(Value),
}

/// Arithmetic before a loop.
pub(super) struct Before<'a> {
    pub(super) cursor: FuncCursor<'a>,
    pub(super) shape: &'a Loop,
    /// What the parameters of the loop are at first.
    pub(super) first: Vec<Value>,
    /// What was made of invariant values of the loop.
    made: HashMap<Value, Value>,
}

/// What was found out in front of a loop.
pub(super) struct Found {
    /// How often the loop goes back at least.
    pub(super) rounds: Int,
    /// Whether it does so often enough.
    pub(super) is_long: Int,
}

impl<'a> Before<'a> {
    pub(super) fn new(cursor: FuncCursor<'a>, shape: &'a Loop, first: Vec<Value>) -> Self {
        Before {
            cursor,
            shape,
            first,
            made: HashMap::new(),
        }
    }

    /// How often the loop goes back.
    pub(super) fn rounds(&mut self, plan: &Plan) -> Found {
        let trip = &plan.shape.trip;
        let step = trip.counter.step.cast_signed();
        let counter = self.affine(&trip.counter);
        let end = match trip.end {
            Some(end) => self.known(end),
            None => Int::Known(0),
        };
        let way = match step > 0 {
            true => self.sub(I32, end, counter),
            false => self.sub(I32, counter, end),
        };
        let certain = match trip.cond {
            // Otherwise the counter never is the end.
            IntCC::NotEqual => {
                let rest = self.and(I32, way, u64::from(step.unsigned_abs()) - 1);
                self.compare(IntCC::Equal, I32, rest, Int::Known(0))
            }
            cond => self.compare(cond, I32, counter, end),
        };
        let rounds = self.shift_right(I32, way, step.unsigned_abs().trailing_zeros());
        let least = Int::Known(plan.packs.least_rounds().into());
        let is_enough = self.compare(IntCC::UnsignedGreaterThanOrEqual, I32, rounds, least);
        Found {
            rounds,
            is_long: self.both(certain, is_enough),
        }
    }

    /// Whether all accesses of the loop are in bounds, and none of those done at a time touches what another one stores.
    /// `starts` are the indices of the classes in the first iteration.
    pub(super) fn is_safe(&mut self, plan: &Plan, rounds: Int, starts: &[Int]) -> Int {
        let accesses = &plan.accesses;
        let rounds = self.extend(rounds);
        let mut safe = Int::Known(1);
        let starts: Vec<Int> = starts.iter().map(|start| self.extend(*start)).collect();
        let ways: Vec<Int> = accesses
            .classes
            .iter()
            .map(|class| self.times(I64, rounds, class.lowest.step.into()))
            .collect();
        let length = self.length(plan);
        for ((class, start), way) in accesses.classes.iter().zip(&starts).zip(&ways) {
            let way = self.plus(*way, class.accessed.end);
            let end = self.add(I64, *start, way);
            let is_in = self.compare(IntCC::UnsignedLessThanOrEqual, I64, end, length);
            safe = self.both(safe, is_in);
        }
        for &(x, y) in &accesses.apart {
            let stored = accesses.classes[x].stored;
            let stored = stored.expect("the first of the two is stored to");
            let accessed = accesses.classes[y].accessed;
            let [step, other] = [x, y].map(|class| accesses.classes[class].lowest.step);
            // Those that advance together must be apart in what is done at a time, others in all of the loop.
            let turn = u64::from(step) * u64::from(plan.packs.rounds - 1);
            let ways = match step == other {
                true => [Int::Known(turn); 2],
                false => [ways[x], ways[y]],
            };
            let before = self.ends_before(
                (starts[x], ways[0], stored.end),
                (starts[y], accessed.start),
            );
            let after = self.ends_before(
                (starts[y], ways[1], accessed.end),
                (starts[x], stored.start),
            );
            let apart = self.either(before, after);
            safe = self.both(safe, apart);
        }
        safe
    }

    /// Whether what begins somewhere, and ends so far behind where it comes, ends before something else begins.
    fn ends_before(&mut self, (start, way, end): (Int, Int, i64), other: (Int, i64)) -> Int {
        let way = self.plus(way, end);
        let end = self.add(I64, start, way);
        let start = self.plus(other.0, other.1);
        self.compare(IntCC::UnsignedLessThanOrEqual, I64, end, start)
    }

    fn length(&mut self, plan: &Plan) -> Int {
        let vmctx = self.cursor.func.special_param(ArgumentPurpose::VMContext);
        let vmctx = vmctx.expect("the memory was found by it");
        let flags = MemFlagsData::trusted();
        let ins = self.cursor.ins();
        Int::Value(ins.load(I64, flags, vmctx, plan.heap.length))
    }

    /// What such a number is in the first iteration.
    pub(super) fn affine(&mut self, affine: &Affine) -> Int {
        let mut sum = Int::Known(affine.constant.into());
        for &(value, factor) in &affine.terms {
            let value = self.known(value);
            let term = self.times(I32, value, factor.into());
            sum = self.add(I32, term, sum);
        }
        sum
    }

    /// An invariant value of 32 bits.
    fn known(&mut self, value: Value) -> Int {
        let value = self.make(value);
        match constant(self.cursor.func, value) {
            Some(known) => Int::Known(cut(I32, known)),
            None => Int::Value(value),
        }
    }

    /// A value that the loop makes, and that is the same in all iterations; or a parameter as it is at first.
    pub(super) fn make(&mut self, value: Value) -> Value {
        if let Some(param) = self.shape.param(self.cursor.func, value) {
            return self.first[param];
        }
        if let Some(made) = self.made.get(&value) {
            return *made;
        }
        let definition = super::super::definition(self.cursor.func, value);
        let Some(inst) = definition.filter(|inst| self.shape.position(*inst).is_some()) else {
            return value;
        };
        let operands: Vec<Value> = self.cursor.func.dfg.inst_args(inst).to_vec();
        let operands: Vec<Value> = operands.iter().map(|operand| self.make(*operand)).collect();
        let dfg = &mut self.cursor.func.dfg;
        let copy = dfg.clone_inst(inst);
        for (place, operand) in dfg.inst_args_mut(copy).iter_mut().zip(operands) {
            *place = operand;
        }
        self.cursor.insert_inst(copy);
        let made = self.cursor.func.dfg.first_result(copy);
        self.made.insert(value, made);
        made
    }

    pub(super) fn value(&mut self, ty: Type, int: Int) -> Value {
        match int {
            Int::Known(known) => self.cursor.ins().iconst(ty, known.cast_signed()),
            Int::Value(value) => value,
        }
    }

    pub(super) fn extend(&mut self, int: Int) -> Int {
        match int {
            Int::Known(known) => Int::Known(known),
            Int::Value(value) => Int::Value(self.cursor.ins().uextend(I64, value)),
        }
    }

    pub(super) fn add(&mut self, ty: Type, x: Int, y: Int) -> Int {
        match (x, y) {
            (Int::Known(x), Int::Known(y)) => Int::Known(cut(ty, x.wrapping_add(y))),
            (x, Int::Known(0)) => x,
            (Int::Known(0), y) => y,
            (x, y) => {
                let (x, y) = (self.value(ty, x), self.value(ty, y));
                Int::Value(self.cursor.ins().iadd(x, y))
            }
        }
    }

    fn plus(&mut self, x: Int, y: i64) -> Int {
        self.add(I64, x, Int::Known(y.cast_unsigned()))
    }

    fn sub(&mut self, ty: Type, x: Int, y: Int) -> Int {
        match (x, y) {
            (Int::Known(x), Int::Known(y)) => Int::Known(cut(ty, x.wrapping_sub(y))),
            (x, Int::Known(0)) => x,
            (x, y) => {
                let (x, y) = (self.value(ty, x), self.value(ty, y));
                Int::Value(self.cursor.ins().isub(x, y))
            }
        }
    }

    pub(super) fn times(&mut self, ty: Type, x: Int, factor: u64) -> Int {
        match (x, factor) {
            (x, 1) => x,
            (Int::Known(x), _) => Int::Known(cut(ty, x.wrapping_mul(factor))),
            (Int::Value(x), _) if factor.is_power_of_two() => {
                let amount = self
                    .cursor
                    .ins()
                    .iconst(I32, i64::from(factor.trailing_zeros()));
                Int::Value(self.cursor.ins().ishl(x, amount))
            }
            (Int::Value(x), _) => {
                let factor = self.cursor.ins().iconst(ty, factor.cast_signed());
                Int::Value(self.cursor.ins().imul(x, factor))
            }
        }
    }

    pub(super) fn and(&mut self, ty: Type, x: Int, mask: u64) -> Int {
        match (x, mask) {
            (_, 0) => Int::Known(0),
            (Int::Known(x), _) => Int::Known(x & mask),
            (Int::Value(x), _) => {
                let mask = self.cursor.ins().iconst(ty, mask.cast_signed());
                Int::Value(self.cursor.ins().band(x, mask))
            }
        }
    }

    fn shift_right(&mut self, ty: Type, x: Int, amount: u32) -> Int {
        match (x, amount) {
            (x, 0) => x,
            (Int::Known(x), _) => Int::Known(x >> amount),
            (Int::Value(x), _) => {
                let amount = self.cursor.ins().iconst(ty, i64::from(amount));
                Int::Value(self.cursor.ins().ushr(x, amount))
            }
        }
    }

    fn compare(&mut self, cond: IntCC, ty: Type, x: Int, y: Int) -> Int {
        if let (Int::Known(x), Int::Known(y)) = (x, y) {
            return Int::Known(compare(cond, ty, x, y).into());
        }
        let (x, y) = (self.value(ty, x), self.value(ty, y));
        Int::Value(self.cursor.ins().icmp(cond, x, y))
    }

    fn both(&mut self, x: Int, y: Int) -> Int {
        match (x, y) {
            (Int::Known(0), _) | (_, Int::Known(0)) => Int::Known(0),
            (Int::Known(_), x) | (x, Int::Known(_)) => x,
            (Int::Value(x), Int::Value(y)) => Int::Value(self.cursor.ins().band(x, y)),
        }
    }

    fn either(&mut self, x: Int, y: Int) -> Int {
        match (x, y) {
            (Int::Known(0), x) | (x, Int::Known(0)) => x,
            (Int::Known(_), _) | (_, Int::Known(_)) => Int::Known(1),
            (Int::Value(x), Int::Value(y)) => Int::Value(self.cursor.ins().bor(x, y)),
        }
    }
}

/// The bits of a number that are in a type.
fn cut(ty: Type, number: u64) -> u64 {
    number & super::super::mask(ty.bits())
}

/// Compares two numbers of a type.
fn compare(cond: IntCC, ty: Type, x: u64, y: u64) -> bool {
    let signed = |number: u64| {
        let unused = 64 - ty.bits();
        (number << unused).cast_signed() >> unused
    };
    match cond {
        IntCC::Equal => x == y,
        IntCC::NotEqual => x != y,
        IntCC::UnsignedLessThan => x < y,
        IntCC::UnsignedLessThanOrEqual => x <= y,
        IntCC::UnsignedGreaterThan => x > y,
        IntCC::UnsignedGreaterThanOrEqual => x >= y,
        IntCC::SignedLessThan => signed(x) < signed(y),
        IntCC::SignedLessThanOrEqual => signed(x) <= signed(y),
        IntCC::SignedGreaterThan => signed(x) > signed(y),
        IntCC::SignedGreaterThanOrEqual => signed(x) >= signed(y),
    }
}
