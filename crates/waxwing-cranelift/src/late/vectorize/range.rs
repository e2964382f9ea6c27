//! The numbers that 32-bit values can be, to know which of them are certain in lanes of 16 bits.
//!
//! A lane holds the low bits of a number. Sums, products and the like are right in lanes whatever their operands; what
//! shifts right, or compares, must have operands that a lane holds completely.

use super::super::constant;
use super::access::Accesses;
use super::pack::{Kind, Packs};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{Function, Inst, InstructionData, Opcode};

/// The least and the greatest number that a value can be, as a signed one.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) struct Range {
    low: i64,
    high: i64,
}

const ANY: Range = Range {
    low: i32::MIN as i64,
    high: i32::MAX as i64,
};

impl Range {
    fn new(low: i64, high: i64) -> Self {
        let range = Range { low, high };
        if range.is_within(ANY) { range } else { ANY }
    }

    fn is_within(self, other: Range) -> bool {
        other.low <= self.low && self.high <= other.high
    }

    fn with(self, other: Range) -> Self {
        Range {
            low: self.low.min(other.low),
            high: self.high.max(other.high),
        }
    }

    /// The numbers of the fewest bits, with a sign if there are negative ones, that include these.
    fn rounded(self) -> Self {
        let most = self.high.max(!self.low).max(0).cast_unsigned();
        let mask = u64::MAX.checked_shr(most.leading_zeros()).unwrap_or(0);
        let mask = mask.cast_signed();
        Range {
            low: if self.low < 0 { !mask } else { 0 },
            high: mask,
        }
    }

    /// Numbers without a sign of so many bits.
    fn unsigned(bits: u32) -> Self {
        Range {
            low: 0,
            high: (1 << bits) - 1,
        }
    }

    /// Numbers with a sign of so many bits.
    fn signed(bits: u32) -> Self {
        Range {
            low: -(1 << (bits - 1)),
            high: (1 << (bits - 1)) - 1,
        }
    }
}

/// The ranges of all packs.
pub(super) fn ranges(func: &Function, accesses: &Accesses, packs: &Packs) -> Vec<Range> {
    let mut ranges: Vec<Range> = Vec::with_capacity(packs.list.len());
    for pack in &packs.list {
        let range = match &pack.kind {
            Kind::Splat => match constant(func, pack.values[0]) {
                Some(constant) => {
                    let constant = i64::from(constant as i32);
                    Range::new(constant, constant)
                }
                None => ANY,
            },
            Kind::Load(of) => match accesses.list[of[0]].opcode {
                Opcode::Uload8 => Range::unsigned(8),
                Opcode::Sload8 => Range::signed(8),
                Opcode::Uload16 => Range::unsigned(16),
                Opcode::Sload16 => Range::signed(16),
                _ => ANY,
            },
            Kind::Op(inst, operands) => {
                let operands: Vec<Range> = operands.iter().map(|id| ranges[*id]).collect();
                result(func.dfg.insts[*inst].opcode(), &operands)
            }
            // In the first iteration it can be anything.
            Kind::Carried(_) => ANY,
        };
        ranges.push(range);
    }
    ranges
}

/// What an operation makes of operands of these ranges.
fn result(opcode: Opcode, operands: &[Range]) -> Range {
    let (x, y) = match operands {
        [x, y] => (*x, *y),
        [_, x, y] if opcode == Opcode::Select => return x.with(*y),
        [x] if opcode == Opcode::Bnot => return Range::new(!x.high, !x.low),
        [x] if opcode == Opcode::Ineg => return Range::new(-x.high, -x.low),
        _ => return ANY,
    };
    let amount = (y.low == y.high).then_some(y.low & 31);
    match (opcode, amount) {
        (Opcode::Iadd, _) => Range::new(x.low + y.low, x.high + y.high),
        (Opcode::Isub, _) => Range::new(x.low - y.high, x.high - y.low),
        (Opcode::Imul, _) => product(x, y),
        (Opcode::Ishl, Some(amount)) => Range::new(x.low << amount, x.high << amount),
        (Opcode::Sshr, Some(amount)) => Range::new(x.low >> amount, x.high >> amount),
        (Opcode::Ushr, Some(amount)) if x.low >= 0 => Range::new(x.low >> amount, x.high >> amount),
        (Opcode::Ushr, Some(amount)) if amount > 0 => Range::unsigned(32 - amount as u32),
        (Opcode::Band, _) => match (x.low >= 0, y.low >= 0) {
            (true, true) => Range::new(0, x.high.min(y.high)),
            (true, false) => Range::new(0, x.high),
            (false, true) => Range::new(0, y.high),
            (false, false) => x.with(y).rounded(),
        },
        (Opcode::Bor | Opcode::Bxor, _) => x.with(y).rounded(),
        (Opcode::Smin | Opcode::Smax, _) => x.with(y),
        (Opcode::Umin, _) if x.low >= 0 && y.low >= 0 => {
            Range::new(x.low.min(y.low), x.high.min(y.high))
        }
        // Negative numbers are greater.
        (Opcode::Umin, _) if x.low >= 0 => Range::new(0, x.high),
        (Opcode::Umin, _) if y.low >= 0 => Range::new(0, y.high),
        (Opcode::Umax, _) if x.low >= 0 && y.low >= 0 => x.with(y),
        _ => ANY,
    }
}

fn product(x: Range, y: Range) -> Range {
    let corners = [
        x.low * y.low,
        x.low * y.high,
        x.high * y.low,
        x.high * y.high,
    ];
    let low = corners.iter().min().expect("there are four");
    let high = corners.iter().max().expect("there are four");
    Range::new(*low, *high)
}

/// Whether an operation on operands of these ranges is right in lanes of so many bits.
pub(super) fn fits(
    func: &Function,
    inst: Inst,
    operands: impl Iterator<Item = Range>,
    lane: u32,
) -> bool {
    let operands: Vec<Range> = operands.collect();
    let all = |range: Range| operands.iter().all(|operand| operand.is_within(range));
    let amount = || {
        let amount = operands[1];
        (amount.low == amount.high).then_some(amount.low & 31)
    };
    match func.dfg.insts[inst] {
        InstructionData::IntCompare { cond, .. } => {
            let has_sign =
                !matches!(cond, IntCC::Equal | IntCC::NotEqual) && cond != cond.unsigned();
            all(Range::signed(lane)) || (!has_sign && all(Range::unsigned(lane)))
        }
        InstructionData::Binary { opcode, .. } => match opcode {
            Opcode::Smin | Opcode::Smax => all(Range::signed(lane)),
            Opcode::Umin | Opcode::Umax => all(Range::signed(lane)) || all(Range::unsigned(lane)),
            Opcode::Ishl => amount().is_some_and(|amount| amount < lane.into()),
            Opcode::Ushr => {
                operands[0].is_within(Range::unsigned(lane))
                    && amount().is_some_and(|amount| amount < lane.into())
            }
            Opcode::Sshr => operands[0].is_within(Range::signed(lane)) && amount().is_some(),
            _ => true,
        },
        _ => true,
    }
}

/// Whether a number of this range can be made of the low bits that are in a lane.
pub(super) fn is_extended(range: Range, lane: u32) -> bool {
    lane >= 32 || range.is_within(Range::signed(lane)) || range.is_within(Range::unsigned(lane))
}

/// Whether what extends the low bits in a lane to such a number puts zeros above them.
pub(super) fn is_unsigned(range: Range, lane: u32) -> bool {
    range.is_within(Range::unsigned(lane))
}
