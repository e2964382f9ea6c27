//! Locals, globals, constants and what else moves values around.

use super::gc::Place;
use super::{FuncTranslator, Region};
use crate::abi::{self, POINTER};
use cranelift_codegen::ir::immediates::{Ieee32, Ieee64};
use cranelift_codegen::ir::{Endianness, InstBuilder, MemFlagsData, Type, Value, types};
use cranelift_frontend::Variable;
use wasmparser::Operator;
use waxwing_environ::compile::CompileError;
use waxwing_environ::{ConstOp, GlobalIndex, WasmValType};

impl FuncTranslator<'_, '_> {
    pub(super) fn variable_operator(&mut self, op: &Operator<'_>) -> Result<bool, CompileError> {
        match op {
            Operator::LocalGet { local_index } => {
                let value = self.builder.use_var(Variable::from_u32(*local_index));
                self.push(value);
            }
            Operator::LocalSet { local_index } => {
                let value = self.pop();
                let value = self.canonical(value);
                self.builder
                    .def_var(Variable::from_u32(*local_index), value);
                self.keep_local(*local_index, value);
            }
            Operator::LocalTee { local_index } => {
                let value = self.pop();
                let value = self.canonical(value);
                self.builder
                    .def_var(Variable::from_u32(*local_index), value);
                self.keep_local(*local_index, value);
                self.push(value);
            }
            Operator::GlobalGet { global_index } => {
                self.global_get(GlobalIndex::from_u32(*global_index))?;
            }
            Operator::GlobalSet { global_index } => {
                self.global_set(GlobalIndex::from_u32(*global_index))?;
            }
            Operator::I32Const { value } => {
                // Immediates are the bits of the type, without a sign.
                let bits = i64::from(value.cast_unsigned());
                let value = self.int_constant(types::I32, bits);
                self.push(value);
            }
            Operator::I64Const { value } => {
                let value = self.int_constant(types::I64, *value);
                self.push(value);
            }
            Operator::F32Const { value } => {
                let value = self.ins().f32const(Ieee32::with_bits(value.bits()));
                self.push(value);
            }
            Operator::F64Const { value } => {
                let value = self.ins().f64const(Ieee64::with_bits(value.bits()));
                self.push(value);
            }
            Operator::Drop => {
                self.discard();
            }
            Operator::Select | Operator::TypedSelect { .. } => self.select(),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Where a global is, and its type and flags.
    fn global(
        &mut self,
        index: GlobalIndex,
    ) -> Result<(Value, i32, Type, MemFlagsData), CompileError> {
        let module = &self.translation.module;
        let global = module.globals[index];
        self.check_simd(&[global.wasm_ty])?;
        let (base, offset) = match module.defined_global_index(index) {
            Some(defined) => (self.vmctx, self.offsets.global_definition(defined) as i32),
            None => {
                let offset = self.offsets.global_import(index);
                let offset = offset + self.offsets.ptr.global_import_from();
                (self.load_context_word(offset), 0)
            }
        };
        let flags = self.flags(Region::Global);
        let flags = match global.wasm_ty {
            // Lanes are in this order on every target.
            WasmValType::V128 => flags.with_endianness(Endianness::Little),
            _ => flags,
        };
        // A collector may move what the global refers to.
        let flags = if global.mutability || self.is_tracked(global.wasm_ty) {
            flags
        } else {
            flags.with_readonly().with_can_move()
        };
        Ok((base, offset, abi::value_type(global.wasm_ty), flags))
    }

    fn global_get(&mut self, index: GlobalIndex) -> Result<(), CompileError> {
        let value = match self.constant_global(index) {
            Some(value) => value,
            None => {
                let (base, offset, ty, flags) = self.global(index)?;
                match self.translation.module.globals[index].wasm_ty {
                    WasmValType::Ref(_) if ty == POINTER => self.load_word(flags, base, offset),
                    _ => self.ins().load(ty, flags, base, offset),
                }
            }
        };
        self.push(value);
        self.track(1);
        Ok(())
    }

    /// The value of a global that never changes and is the same in every instance.
    fn constant_global(&mut self, index: GlobalIndex) -> Option<Value> {
        let module = &self.translation.module;
        if module.globals[index].mutability {
            return None;
        }
        let defined = module.defined_global_index(index)?;
        let [op] = module.global_initializers[defined].ops[..] else {
            return None;
        };
        Some(match op {
            ConstOp::I32Const(value) => {
                let bits = i64::from(value.cast_unsigned());
                self.int_constant(types::I32, bits)
            }
            ConstOp::I64Const(value) => self.int_constant(types::I64, value),
            ConstOp::F32Const(bits) => self.ins().f32const(Ieee32::with_bits(bits)),
            ConstOp::F64Const(bits) => self.ins().f64const(Ieee64::with_bits(bits)),
            _ => return None,
        })
    }

    fn global_set(&mut self, index: GlobalIndex) -> Result<(), CompileError> {
        let value = self.pop();
        let value = self.canonical(value);
        let (base, offset, ty, flags) = self.global(index)?;
        match self.translation.module.globals[index].wasm_ty {
            WasmValType::Ref(global) if ty == types::I32 => {
                let place = Place::new(base, offset as u32, flags, global);
                let value_type = self.operand_type(0);
                self.collector().write_root(self, place, value, value_type);
            }
            WasmValType::Ref(_) => self.store_word(flags, value, base, offset),
            _ => {
                self.ins().store(flags, value, base, offset);
            }
        }
        Ok(())
    }
}
