//! Targets whose pointers are shorter than the type in which code computes with them.

use crate::abi::POINTER;
use cranelift_codegen::cursor::{Cursor, FuncCursor};
use cranelift_codegen::ir::{Function, Inst, InstBuilder, Opcode, Type};

/// Makes every address in the function one of the target's type `pointer`, which is shorter than [`POINTER`].
pub(crate) fn narrow_addresses(func: &mut Function, pointer: Type) {
    let mut cursor = FuncCursor::new(func);
    while cursor.next_block().is_some() {
        while let Some(inst) = cursor.next_inst() {
            let Some(position) = address_of(cursor.func, inst) else {
                continue;
            };
            let address = cursor.func.dfg.inst_args(inst)[position];
            if cursor.func.dfg.value_type(address) != POINTER {
                continue;
            }
            cursor.goto_inst(inst);
            cursor.set_srcloc(cursor.func.srcloc(inst));
            let narrow = cursor.ins().ireduce(pointer, address);
            cursor.func.dfg.inst_args_mut(inst)[position] = narrow;
        }
    }
}

/// Which argument of an instruction is an address, if one is.
fn address_of(func: &Function, inst: Inst) -> Option<usize> {
    let opcode = func.dfg.insts[inst].opcode();
    match opcode {
        Opcode::CallIndirect | Opcode::ReturnCallIndirect | Opcode::TryCallIndirect => Some(0),
        _ if opcode.can_load() && !opcode.is_call() => Some(0),
        _ if opcode.can_store() && !opcode.is_call() => Some(1),
        _ => None,
    }
}
