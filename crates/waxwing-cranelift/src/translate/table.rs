//! Tables: elements, size, growth and bulk operations.

use super::gc::Place;
use super::{FuncTranslator, Region};
use crate::abi::{POINTER, reference_type};
use crate::traps::trap_code;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{Endianness, InstBuilder, MemFlagsData, Value};
use wasmparser::Operator;
use waxwing_environ::compile::{CompileError, DISPATCH_ENTRY_SIZE, DispatchTable};
use waxwing_environ::{BuiltinFunctionIndex, IndexType, Table, TableIndex, Trap, WasmHeapTop};

/// The bit of an element of a lazily initialised table that says that it is initialised.
const INITIALIZED: i64 = 1;

impl FuncTranslator<'_, '_> {
    pub(super) fn table_operator(&mut self, op: &Operator<'_>) -> Result<bool, CompileError> {
        use BuiltinFunctionIndex as B;
        match *op {
            Operator::TableGet { table } => {
                let index = self.pop();
                let value = self.table_get(TableIndex::from_u32(table), index);
                self.push(value);
                self.track(1);
            }
            Operator::TableSet { table } => {
                let (index, value) = self.pop2();
                self.table_set(TableIndex::from_u32(table), index, value);
            }
            Operator::TableSize { table } => {
                let index = TableIndex::from_u32(table);
                let size = self.table_length(index);
                let ty = self.table(index).idx_type;
                let size = self.reduce_index(size, ty);
                self.push(size);
            }
            Operator::TableGrow { table } => {
                let delta = self.pop_table_index(table);
                let init = self.pop();
                let builtin = if self.holds_functions(table) {
                    B::table_grow_func_ref
                } else {
                    B::table_grow_gc_ref
                };
                let index = self.index_constant(table);
                let size = self.call_builtin_value(builtin, &[index, delta, init]);
                let ty = self.table(TableIndex::from_u32(table)).idx_type;
                let size = self.reduce_index(size, ty);
                self.push(size);
            }
            Operator::TableFill { table } => {
                let len = self.pop_table_index(table);
                let value = self.pop();
                let dst = self.pop_table_index(table);
                let builtin = if self.holds_functions(table) {
                    B::table_fill_func_ref
                } else {
                    B::table_fill_gc_ref
                };
                let index = self.index_constant(table);
                self.call_builtin(builtin, &[index, dst, value, len]);
            }
            Operator::TableCopy {
                dst_table,
                src_table,
            } => {
                // The length has the smaller of both index types.
                let len = self.pop();
                let wide = |t: &Self, table| {
                    t.table(TableIndex::from_u32(table)).idx_type == IndexType::I64
                };
                let len = if wide(self, dst_table) && wide(self, src_table) {
                    len
                } else {
                    self.extend_index(len, IndexType::I32)
                };
                let src = self.pop_table_index(src_table);
                let dst = self.pop_table_index(dst_table);
                let dst_table = self.index_constant(dst_table);
                let src_table = self.index_constant(src_table);
                self.call_builtin(B::table_copy, &[dst_table, src_table, dst, src, len]);
            }
            Operator::TableInit { elem_index, table } => {
                let (src, len) = self.pop2();
                let src = self.extend_index(src, IndexType::I32);
                let len = self.extend_index(len, IndexType::I32);
                let dst = self.pop_table_index(table);
                let table = self.index_constant(table);
                let elem = self.index_constant(elem_index);
                self.call_builtin(B::table_init, &[table, elem, dst, src, len]);
            }
            Operator::ElemDrop { elem_index } => {
                let elem = self.index_constant(elem_index);
                self.call_builtin(B::elem_drop, &[elem]);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    pub(super) fn table(&self, index: TableIndex) -> &Table {
        &self.translation.module.tables[index]
    }

    fn holds_functions(&self, table: u32) -> bool {
        let table = self.table(TableIndex::from_u32(table));
        table.ref_type.heap_type.top() == WasmHeapTop::Func
    }

    /// Pops an index of `table` as 64 bits.
    fn pop_table_index(&mut self, table: u32) -> Value {
        let value = self.pop();
        let ty = self.table(TableIndex::from_u32(table)).idx_type;
        self.extend_index(value, ty)
    }

    /// Whether the table has the same number of elements, at the same place, for ever.
    fn is_fixed(&self, index: TableIndex) -> bool {
        let limits = self.table(index).limits;
        limits.max == Some(limits.min)
    }

    /// Where the `VMTableDefinition` of a table is.
    fn table_definition(&mut self, index: TableIndex) -> (Value, i32) {
        match self.translation.module.defined_table_index(index) {
            Some(defined) => (self.vmctx, self.offsets.table_definition(defined) as i32),
            None => {
                let offset = self.offsets.table_import(index);
                let offset = offset + self.offsets.ptr.table_import_from();
                (self.load_context_word(offset), 0)
            }
        }
    }

    fn table_base(&mut self, index: TableIndex) -> Value {
        let (definition, offset) = self.table_definition(index);
        let offset = offset + self.offsets.ptr.table_definition_base() as i32;
        let flags = self.flags(Region::Context);
        if self.is_fixed(index) {
            let flags = flags.with_readonly().with_can_move();
            self.load_pointer_once(flags, definition, offset)
        } else {
            self.load_word(flags, definition, offset)
        }
    }

    /// The number of elements.
    fn table_length(&mut self, index: TableIndex) -> Value {
        if self.is_fixed(index) {
            let min = self.table(index).limits.min;
            return self.int_constant(POINTER, min.cast_signed());
        }
        let (definition, offset) = self.table_definition(index);
        let offset = offset + self.offsets.ptr.table_definition_current_elements() as i32;
        let flags = self.flags(Region::Context);
        self.load_word(flags, definition, offset)
    }

    /// The address of an element, checked to be in bounds, with the flags to access it and the
    /// index as 64 bits.
    fn element_address(&mut self, table: TableIndex, index: Value) -> (Value, MemFlagsData, Value) {
        let ty = *self.table(table);
        let index = self.extend_index(index, ty.idx_type);
        let length = self.table_length(table);
        let is_out = self
            .ins()
            .icmp(IntCC::UnsignedGreaterThanOrEqual, index, length);
        let signals = self.tunables().signals_based_traps;
        // An interpreter does not look ahead.
        let spectre = self.isa().flags().enable_table_access_spectre_mitigation()
            && !self.compiler.is_bytecode();
        if !(signals && spectre) {
            self.trapnz(is_out, Trap::TableOutOfBounds);
        }
        let base = self.table_base(table);
        let size = match ty.ref_type.heap_type.top() {
            WasmHeapTop::Func => self.offsets.ptr.size(),
            _ => reference_type(ty.ref_type.heap_type).bytes(),
        };
        let shift = i64::from(size.trailing_zeros());
        let offset = self.ins().ishl_imm_u(index, shift);
        let address = self.ins().iadd(base, offset);
        let flags = self.flags(Region::Table);
        if !spectre {
            return (address, flags, index);
        }
        // Out of bounds, even in speculation, there is only address zero, where accesses trap.
        let null = self.int_constant(POINTER, 0);
        let address = self.ins().select_spectre_guard(is_out, null, address);
        let flags = if signals {
            flags.with_trap_code(Some(trap_code(Trap::TableOutOfBounds)))
        } else {
            flags
        };
        (address, flags, index)
    }

    /// Where the copy of a table for dispatch is.
    pub(super) fn dispatch_base(&mut self, table: TableIndex) -> Value {
        let defined = self.translation.module.defined_table_index(table);
        let defined = defined.expect("imported tables have no copies");
        self.load_context_word(self.offsets.dispatch_table(defined))
    }

    /// The address of an entry of the copy of a table for dispatch, checked to be in bounds, with the flags to access it.
    pub(super) fn dispatch_entry(
        &mut self,
        table: TableIndex,
        dispatch: &DispatchTable,
        index: Value,
    ) -> (Value, MemFlagsData) {
        let idx_type = self.table(table).idx_type;
        let index = self.extend_index(index, idx_type);
        let len = dispatch.len.cast_signed();
        let is_out = self
            .ins()
            .icmp_imm_u(IntCC::UnsignedGreaterThanOrEqual, index, len);
        self.trapnz(is_out, Trap::TableOutOfBounds);
        // Within the copy even if the processor speculates that the check has been passed.
        let mask = dispatch.entries().cast_signed() - 1;
        let index = self.ins().band_imm_u(index, mask);
        let size = i64::from(DISPATCH_ENTRY_SIZE.trailing_zeros());
        let offset = self.ins().ishl_imm_u(index, size);
        let base = self.dispatch_base(table);
        let entry = self.ins().iadd(base, offset);
        let flags = self.flags(Region::Context).with_readonly().with_can_move();
        (entry, flags.with_endianness(Endianness::Little))
    }

    /// Whether elements of the table are initialised at their first use.
    fn is_lazy(&self, table: TableIndex) -> bool {
        self.tunables().table_lazy_init
            && self.table(table).ref_type.heap_type.top() == WasmHeapTop::Func
    }

    pub(super) fn table_get(&mut self, table: TableIndex, index: Value) -> Value {
        let (address, flags, index) = self.element_address(table, index);
        let heap_type = self.table(table).ref_type.heap_type;
        let value = match heap_type.top() {
            WasmHeapTop::Func => self.load_word(flags, address, 0),
            _ => self
                .ins()
                .load(reference_type(heap_type), flags, address, 0),
        };
        if !self.is_lazy(table) {
            return value;
        }
        let uninitialized = self.block_as_cold(true);
        let next = self.block_as_cold(false);
        let result = self.builder.append_block_param(next, POINTER);
        self.ins()
            .brif(value, next, &[value.into()], uninitialized, &[]);
        self.builder.seal_block(uninitialized);
        self.builder.switch_to_block(uninitialized);
        let table = self.index_constant(table.as_u32());
        let builtin = BuiltinFunctionIndex::table_lazy_init_func_ref;
        self.call_builtin(builtin, &[table, index]);
        let value = self.load_word(flags, address, 0);
        self.ins().jump(next, &[value.into()]);
        self.builder.seal_block(next);
        self.builder.switch_to_block(next);
        self.ins().band_imm_s(result, !INITIALIZED)
    }

    fn table_set(&mut self, table: TableIndex, index: Value, value: Value) {
        let (address, flags, _) = self.element_address(table, index);
        let value = if self.is_lazy(table) {
            self.ins().bor_imm_s(value, INITIALIZED)
        } else {
            value
        };
        let ty = self.table(table).ref_type;
        if ty.heap_type.top() == WasmHeapTop::Func {
            self.store_word(flags, value, address, 0);
        } else {
            let place = Place::new(address, 0, flags, ty);
            let value_type = self.operand_type(0);
            self.collector().write_root(self, place, value, value_type);
        }
    }
}
