//! References.

use super::{FuncTranslator, Region};
use crate::abi::{POINTER, reference_type};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, Value};
use wasmparser::Operator;
use waxwing_environ::compile::CompileError;
use waxwing_environ::{BuiltinFunctionIndex, FuncIndex, Trap};

impl FuncTranslator<'_, '_> {
    pub(super) fn reference_operator(&mut self, op: &Operator<'_>) -> Result<bool, CompileError> {
        match *op {
            Operator::RefNull { hty } => {
                let converter = &self.translation.type_converter;
                let heap_type = converter.heap_type(hty, &self.translation.types)?;
                let null = self.int_constant(reference_type(heap_type), 0);
                self.push(null);
            }
            Operator::RefIsNull => {
                let reference = self.pop();
                let is_null = self.is_null(reference);
                self.push_condition(is_null);
            }
            Operator::RefFunc { function_index } => {
                let value = self.ref_func(FuncIndex::from_u32(function_index));
                self.push(value);
            }
            Operator::RefAsNonNull => {
                let reference = self.pop();
                if self.operand_type(0).nullable {
                    self.trapz(reference, Trap::NullReference);
                }
                self.push(reference);
            }
            Operator::BrOnNull { .. } if !self.operand_type(0).nullable => {}
            Operator::BrOnNull { relative_depth } => {
                let reference = self.pop();
                let is_null = self.is_null(reference);
                self.br_if(is_null, relative_depth);
                self.push(reference);
            }
            Operator::BrOnNonNull { relative_depth } => {
                // The reference is the last argument of the label, and not there after.
                let reference = self.pop();
                self.push(reference);
                self.br_if(reference, relative_depth);
                self.pop();
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// The `VMFuncRef` of a function. Those of the module's own functions are made at their first use.
    fn ref_func(&mut self, func: FuncIndex) -> Value {
        let ptr = self.offsets.ptr;
        if self.translation.module.is_imported_function(func) {
            let import = self.offsets.function_import(func);
            return self.load_context_word(import + ptr.function_import_func_ref());
        }
        let index = self.index_constant(func.as_u32());
        let builtin = BuiltinFunctionIndex::ref_func;
        let Some(slot) = self.translation.functions[func].func_ref else {
            return self.call_builtin_value(builtin, &[index]);
        };
        let offset = self.offsets.func_ref(slot);
        let flags = self.flags(Region::Context);
        let code_offset = (offset + ptr.func_ref_wasm_call()) as i32;
        let vmctx = self.vmctx;
        let code = self.load_word(flags, vmctx, code_offset);
        let made = self.ins().iadd_imm_u(vmctx, i64::from(offset));
        let missing = self.builder.create_block();
        let done = self.builder.create_block();
        let result = self.builder.append_block_param(done, POINTER);
        self.builder.set_cold_block(missing);
        self.ins().brif(code, done, &[made.into()], missing, &[]);
        self.builder.seal_block(missing);
        self.builder.switch_to_block(missing);
        let func = self.call_builtin_value(builtin, &[index]);
        self.ins().jump(done, &[func.into()]);
        self.builder.seal_block(done);
        self.builder.switch_to_block(done);
        result
    }

    pub(super) fn is_null(&mut self, reference: Value) -> Value {
        self.ins().icmp_imm_u(IntCC::Equal, reference, 0)
    }
}
