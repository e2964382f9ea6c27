//! Masks that are extensions of a part of a register, of which x86-64 has instructions that are shorter and do not
//! overwrite their operand.

use super::{constant, definition};
use cranelift_codegen::cursor::{Cursor, FuncCursor};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{
    Function, Inst, InstBuilder, InstructionData, Opcode, Type, Value, types,
};
use cranelift_entity::SecondaryMap;

pub(super) fn rewrite(func: &mut Function, uses: &mut SecondaryMap<Value, u32>) {
    let mut block = func.layout.entry_block();
    while let Some(current) = block {
        block = func.layout.next_block(current);
        let mut inst = func.layout.first_inst(current);
        while let Some(at) = inst {
            inst = func.layout.next_inst(at);
            match func.dfg.insts[at] {
                InstructionData::Binary {
                    opcode: Opcode::Band,
                    args: [x, y],
                } => mask_to_extension(func, at, x, y, uses),
                InstructionData::IntCompare {
                    args: [x, y], cond, ..
                } => {
                    narrow_compare(func, at, x, y, cond, uses);
                }
                _ => {}
            }
        }
    }
}

fn mask_to_extension(
    func: &mut Function,
    at: Inst,
    x: Value,
    y: Value,
    uses: &mut SecondaryMap<Value, u32>,
) {
    let ty = func.dfg.value_type(x);
    if ty != types::I32 && ty != types::I64 {
        return;
    }
    let narrow: Type = match constant(func, y) {
        Some(0xff) => types::I8,
        Some(0xffff) => types::I16,
        _ => return,
    };
    let mut cursor = FuncCursor::new(func).at_inst(at);
    cursor.use_srcloc(at);
    let low = cursor.ins().ireduce(narrow, x);
    func.dfg.insts[at] = InstructionData::Unary {
        opcode: Opcode::Uextend,
        arg: low,
    };
    uses[low] = 1;
    uses[y] -= 1;
}

/// A comparison of a byte that was extended with a small constant is one of bytes.
fn narrow_compare(
    func: &mut Function,
    at: Inst,
    x: Value,
    y: Value,
    cond: IntCC,
    uses: &mut SecondaryMap<Value, u32>,
) {
    let Some(end) = constant(func, y).filter(|end| *end <= 0xff) else {
        return;
    };
    if uses[x] != 1 || (end == 0 && matches!(cond, IntCC::Equal | IntCC::NotEqual)) {
        return;
    }
    let Some(extend) = definition(func, x) else {
        return;
    };
    let InstructionData::Unary {
        opcode: Opcode::Uextend,
        arg: low,
    } = func.dfg.insts[extend]
    else {
        return;
    };
    if func.dfg.value_type(low) != types::I8 {
        return;
    }
    // Loads extend.
    let Some(reduce) = definition(func, low) else {
        return;
    };
    if func.dfg.insts[reduce].opcode() != Opcode::Ireduce {
        return;
    }
    let mut cursor = FuncCursor::new(func).at_inst(at);
    cursor.use_srcloc(at);
    let end = cursor.ins().iconst(types::I8, end.cast_signed());
    uses[end] = 1;
    uses[x] = 0;
    uses[y] -= 1;
    func.dfg.insts[at] = InstructionData::IntCompare {
        opcode: Opcode::Icmp,
        args: [low, end],
        cond: cond.unsigned(),
    };
}
