//! References.

use super::FuncTranslator;
use crate::abi::reference_type;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, Value};
use wasmparser::Operator;
use waxwing_environ::compile::CompileError;
use waxwing_environ::{BuiltinFunctionIndex, Trap};

impl FuncTranslator<'_, '_> {
    pub(super) fn reference_operator(&mut self, op: &Operator<'_>) -> Result<bool, CompileError> {
        match *op {
            Operator::RefNull { hty } => {
                let converter = &self.translation.type_converter;
                let heap_type = converter.heap_type(hty, &self.translation.types)?;
                let null = self.ins().iconst(reference_type(heap_type), 0);
                self.push(null);
            }
            Operator::RefIsNull => {
                let reference = self.pop();
                let is_null = self.is_null(reference);
                self.push_condition(is_null);
            }
            Operator::RefFunc { function_index } => {
                let index = self.index_constant(function_index);
                let value = self.call_builtin_value(BuiltinFunctionIndex::ref_func, &[index]);
                self.push(value);
            }
            Operator::RefAsNonNull => {
                let reference = self.pop();
                self.trapz(reference, Trap::NullReference);
                self.push(reference);
            }
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

    fn is_null(&mut self, reference: Value) -> Value {
        self.ins().icmp_imm_u(IntCC::Equal, reference, 0)
    }
}
