//! Tests and casts of references.

use super::super::{FuncTranslator, Region};
use super::types::{self, Contents};
use crate::abi::POINTER;
use crate::traps::trap_code;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{Block, InstBuilder, Value, types as ir};
use wasmparser::{HeapType, Operator};
use waxwing_environ::compile::CompileError;
use waxwing_environ::gc::{
    GC_HEADER_BITS, GC_KIND_ARRAY, GC_KIND_MASK, GC_KIND_STRUCT, GC_REF_EXTERN_TAG, GC_REF_I31_BIT,
    GC_REF_TAG_MASK, GC_TYPE_DISPLAY_LEN,
};
use waxwing_environ::{
    BuiltinFunctionIndex, ModuleTypeIndex, StoreContextOffsets, Trap, TypeRef, WasmHeapTop,
    WasmHeapType, WasmRefType,
};

/// What the static types say about a cast.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum Outcome {
    Always,
    Never,
    /// If the reference is null.
    IfNull,
    /// Unless the reference is null.
    UnlessNull,
    /// It depends on the object.
    Dynamic,
}

/// Where a test goes on.
#[derive(Copy, Clone)]
struct Targets {
    yes: Block,
    no: Block,
    /// Whether `no` does nothing but trap, so that a faulting access may stand for it.
    no_traps: bool,
}

impl FuncTranslator<'_, '_> {
    pub(super) fn cast_operator(&mut self, op: &Operator<'_>) -> Result<bool, CompileError> {
        match *op {
            Operator::RefTestNonNull { hty } => self.ref_test(hty, false)?,
            Operator::RefTestNullable { hty } => self.ref_test(hty, true)?,
            Operator::RefCastNonNull { hty } => self.ref_cast(hty, false)?,
            Operator::RefCastNullable { hty } => self.ref_cast(hty, true)?,
            Operator::BrOnCast {
                relative_depth,
                from_ref_type,
                to_ref_type,
            } => self.br_on_cast(relative_depth, from_ref_type, to_ref_type, true)?,
            Operator::BrOnCastFail {
                relative_depth,
                from_ref_type,
                to_ref_type,
            } => self.br_on_cast(relative_depth, from_ref_type, to_ref_type, false)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn target_type(&self, ty: HeapType, nullable: bool) -> Result<WasmRefType, CompileError> {
        let converter = &self.translation.type_converter;
        Ok(WasmRefType {
            nullable,
            heap_type: converter.heap_type(ty, &self.translation.types)?,
        })
    }

    fn outcome(&self, from: WasmRefType, to: WasmRefType) -> Outcome {
        let is_bottom = matches!(
            to.heap_type,
            WasmHeapType::None
                | WasmHeapType::NoFunc
                | WasmHeapType::NoExtern
                | WasmHeapType::NoExn
        );
        if self.heap_type_matches(from.heap_type, to.heap_type) {
            if to.nullable || !from.nullable {
                Outcome::Always
            } else {
                Outcome::UnlessNull
            }
        } else if is_bottom || !self.heap_type_matches(to.heap_type, from.heap_type) {
            // Types have one supertype: if neither is that of the other, they share no value but null.
            if to.nullable && from.nullable {
                Outcome::IfNull
            } else {
                Outcome::Never
            }
        } else {
            Outcome::Dynamic
        }
    }

    fn ref_test(&mut self, ty: HeapType, nullable: bool) -> Result<(), CompileError> {
        let (from, to) = (self.operand_type(0), self.target_type(ty, nullable)?);
        let value = self.pop();
        match self.outcome(from, to) {
            outcome @ (Outcome::Always | Outcome::Never) => {
                let result = i64::from(outcome == Outcome::Always);
                let result = self.ins().iconst(ir::I32, result);
                self.push(result);
            }
            Outcome::IfNull => {
                let is_null = self.is_null(value);
                self.push_condition(is_null);
            }
            Outcome::UnlessNull => {
                let is_some = self.ins().icmp_imm_u(IntCC::NotEqual, value, 0);
                self.push_condition(is_some);
            }
            Outcome::Dynamic => {
                let targets = self.targets(false);
                let done = self.builder.create_block();
                let result = self.builder.append_block_param(done, ir::I32);
                self.type_branch(value, from, to, targets);
                for (block, result) in [(targets.yes, 1), (targets.no, 0)] {
                    self.builder.seal_block(block);
                    self.builder.switch_to_block(block);
                    let result = self.ins().iconst(ir::I32, result);
                    self.ins().jump(done, &[result.into()]);
                }
                self.builder.seal_block(done);
                self.builder.switch_to_block(done);
                self.push(result);
            }
        }
        Ok(())
    }

    fn ref_cast(&mut self, ty: HeapType, nullable: bool) -> Result<(), CompileError> {
        let (from, to) = (self.operand_type(0), self.target_type(ty, nullable)?);
        let value = *self
            .stack
            .last()
            .expect("the validator checked the operand");
        match self.outcome(from, to) {
            Outcome::Always => {}
            Outcome::Never => {
                self.trap(Trap::CastFailure);
                self.set_unreachable();
            }
            Outcome::IfNull => self.trapnz(value, Trap::CastFailure),
            Outcome::UnlessNull => self.trapz(value, Trap::CastFailure),
            Outcome::Dynamic => {
                let targets = self.targets(true);
                self.type_branch(value, from, to, targets);
                self.builder.seal_block(targets.no);
                self.builder.switch_to_block(targets.no);
                self.trap(Trap::CastFailure);
                self.builder.seal_block(targets.yes);
                self.builder.switch_to_block(targets.yes);
            }
        }
        Ok(())
    }

    /// `br_on_cast`, which branches `on` success, and `br_on_cast_fail`. The reference stays on the stack.
    fn br_on_cast(
        &mut self,
        depth: u32,
        from: wasmparser::RefType,
        to: wasmparser::RefType,
        on: bool,
    ) -> Result<(), CompileError> {
        let from = self.target_type(from.heap_type(), from.is_nullable())?;
        let to = self.target_type(to.heap_type(), to.is_nullable())?;
        let value = *self
            .stack
            .last()
            .expect("the validator checked the operand");
        match self.outcome(from, to) {
            outcome @ (Outcome::Always | Outcome::Never) => {
                if (outcome == Outcome::Always) == on {
                    self.br(depth);
                }
            }
            outcome @ (Outcome::IfNull | Outcome::UnlessNull) => {
                let branches_on_null = (outcome == Outcome::IfNull) == on;
                let condition = if branches_on_null {
                    self.is_null(value)
                } else {
                    value
                };
                self.br_if(condition, depth);
            }
            Outcome::Dynamic => {
                let targets = self.targets(false);
                self.type_branch(value, from, to, targets);
                self.builder.seal_block(targets.yes);
                self.builder.seal_block(targets.no);
                let (branch, next) = if on {
                    (targets.yes, targets.no)
                } else {
                    (targets.no, targets.yes)
                };
                self.builder.switch_to_block(branch);
                self.jump_to_label(depth);
                self.builder.switch_to_block(next);
            }
        }
        Ok(())
    }

    fn targets(&mut self, no_traps: bool) -> Targets {
        let targets = Targets {
            yes: self.builder.create_block(),
            no: self.builder.create_block(),
            no_traps,
        };
        if no_traps {
            self.builder.set_cold_block(targets.no);
        }
        targets
    }

    /// Ends the block with the test whether a reference, which is of type `from`, is of the type `to`.
    fn type_branch(&mut self, value: Value, from: WasmRefType, to: WasmRefType, targets: Targets) {
        let Targets { yes, no, .. } = targets;
        let contents = Contents::of(from.heap_type);
        if to.nullable && from.nullable {
            self.branch_unless(value, yes);
        }
        let maybe_null = from.nullable && !to.nullable;
        match to.heap_type {
            WasmHeapType::I31 => {
                // Null is even.
                let bit = self.ins().band_imm_u(value, i64::from(GC_REF_I31_BIT));
                self.ins().brif(bit, yes, &[], no, &[]);
            }
            WasmHeapType::Eq => {
                if maybe_null {
                    self.branch_unless(value, no);
                }
                let tag = self.ins().band_imm_u(value, i64::from(GC_REF_TAG_MASK));
                let of_host = i64::from(GC_REF_EXTERN_TAG);
                let host = self.ins().icmp_imm_u(IntCC::Equal, tag, of_host);
                self.ins().brif(host, no, &[], yes, &[]);
            }
            heap_type => {
                let faults = targets.no_traps && self.tunables().signals_based_traps;
                let trap = if maybe_null && faults {
                    Some(Trap::CastFailure)
                } else {
                    if maybe_null {
                        self.branch_unless(value, no);
                    }
                    None
                };
                if contents.i31 || contents.host {
                    let next = self.builder.create_block();
                    let tag = self.ins().band_imm_u(value, i64::from(GC_REF_TAG_MASK));
                    self.ins().brif(tag, no, &[], next, &[]);
                    self.builder.seal_block(next);
                    self.builder.switch_to_block(next);
                }
                self.object_test(value, heap_type, trap, targets);
            }
        }
    }

    /// Ends the block with the test whether an object, or function, is of a type. If it is null, the first
    /// access is to trap.
    fn object_test(
        &mut self,
        value: Value,
        to: WasmHeapType,
        trap: Option<Trap>,
        targets: Targets,
    ) {
        let kind = match to {
            WasmHeapType::Struct => GC_KIND_STRUCT,
            WasmHeapType::Array => GC_KIND_ARRAY,
            _ => {
                let ty = to.type_ref().map(TypeRef::unwrap_module);
                let ty = ty.expect("all abstract types that are not the top or bottom are known");
                let is_func = to.top() == WasmHeapTop::Func;
                let actual = if is_func {
                    self.func_type_index(value, trap)
                } else {
                    self.load_type_index(value, trap)
                };
                self.type_test(actual, ty, targets.yes, targets.no);
                return;
            }
        };
        let address = self.object_address(value);
        let flags = self.object_flags(self.bits_region(), trap);
        let bits = self
            .ins()
            .load(ir::I32, flags, address, GC_HEADER_BITS as i32);
        let actual = self.ins().band_imm_u(bits, i64::from(GC_KIND_MASK));
        let equal = self.ins().icmp_imm_u(IntCC::Equal, actual, i64::from(kind));
        self.ins().brif(equal, targets.yes, &[], targets.no, &[]);
    }

    /// Loads the type index of a function.
    pub(in crate::translate) fn func_type_index(
        &mut self,
        func: Value,
        trap: Option<Trap>,
    ) -> Value {
        let flags = self
            .flags(Region::Context)
            .with_trap_code(trap.map(trap_code));
        let offset = self.offsets.ptr.func_ref_type_index() as i32;
        self.ins().load(ir::I32, flags, func, offset)
    }

    /// Ends the block with the test whether a type, by its `EngineTypeIndex`, is `ty` or a subtype.
    pub(in crate::translate) fn type_test(
        &mut self,
        actual: Value,
        ty: ModuleTypeIndex,
        yes: Block,
        no: Block,
    ) {
        let types = &self.translation.types;
        let (is_final, is_func) = (
            types.types[ty].is_final,
            types.types[ty].as_func().is_some(),
        );
        let depth = types::depth(types, ty);
        let expected = self.type_id(ty);
        let equal = self.ins().icmp(IntCC::Equal, actual, expected);
        if is_final {
            self.ins().brif(equal, yes, &[], no, &[]);
            return;
        }
        let other = self.builder.create_block();
        self.ins().brif(equal, yes, &[], other, &[]);
        self.builder.seal_block(other);
        self.builder.switch_to_block(other);
        // The runtime's table is of the types of objects.
        let matches = if is_func || depth >= GC_TYPE_DISPLAY_LEN {
            let builtin = BuiltinFunctionIndex::gc_is_subtype;
            self.call_builtin_value(builtin, &[actual, expected])
        } else {
            let ptr = self.offsets.ptr;
            let store_context = self.store_context();
            let flags = self.flags(Region::Context);
            let offset = ptr.store_context_gc_types() as i32;
            let records = self.load_word(flags, store_context, offset);
            let shift = i64::from(ptr.size_of_gc_type().trailing_zeros());
            let offset = self.ins().uextend(POINTER, actual);
            let offset = self.ins().ishl_imm_u(offset, shift);
            let record = self.ins().iadd(records, offset);
            let offset = depth as i32 * 4;
            let ancestor = self.ins().load(ir::I32, flags, record, offset);
            self.ins().icmp(IntCC::Equal, ancestor, expected)
        };
        self.ins().brif(matches, yes, &[], no, &[]);
    }

    /// Branches if `condition` is zero.
    fn branch_unless(&mut self, condition: Value, target: Block) {
        let next = self.builder.create_block();
        self.ins().brif(condition, next, &[], target, &[]);
        self.builder.seal_block(next);
        self.builder.switch_to_block(next);
    }
}
