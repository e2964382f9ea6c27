//! Arrays.

use super::super::{FuncTranslator, Region};
use super::Extension;
use super::collector::Extent;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{Endianness, InstBuilder, MemFlagsData, Value, types as ir};
use wasmparser::Operator;
use waxwing_environ::compile::CompileError;
use waxwing_environ::gc::{GC_ARRAY_LENGTH, GcArrayLayout};
use waxwing_environ::{
    BuiltinFunctionIndex, GcCollector, ModuleTypeIndex, Trap, WasmCompositeType, WasmFieldType,
    WasmRefType,
};

/// Up to how many elements new arrays are filled in line.
const INLINE_FILL: i64 = 32;

impl FuncTranslator<'_, '_> {
    pub(super) fn array_operator(&mut self, op: &Operator<'_>) -> Result<bool, CompileError> {
        use BuiltinFunctionIndex as B;
        match *op {
            Operator::ArrayNew { array_type_index } => self.array_new(array_type_index)?,
            Operator::ArrayNewDefault { array_type_index } => {
                let ty = self.type_at(array_type_index);
                let (_, layout) = self.element(ty)?;
                let len = self.pop();
                self.charge_for_array(len, layout.slot.size());
                let array = self.allocate(ty, Extent::Array(layout, len));
                self.push(array);
            }
            Operator::ArrayNewFixed {
                array_type_index,
                array_size,
            } => self.array_new_fixed(array_type_index, array_size)?,
            Operator::ArrayNewData {
                array_type_index,
                array_data_index,
            } => self.array_new_segment(B::array_new_data, array_type_index, array_data_index),
            Operator::ArrayNewElem {
                array_type_index,
                array_elem_index,
            } => self.array_new_segment(B::array_new_elem, array_type_index, array_elem_index),
            Operator::ArrayGet { array_type_index } | Operator::ArrayGetU { array_type_index } => {
                self.array_get(array_type_index, Extension::Unsigned)?;
            }
            Operator::ArrayGetS { array_type_index } => {
                self.array_get(array_type_index, Extension::Signed)?;
            }
            Operator::ArraySet { array_type_index } => self.array_set(array_type_index)?,
            Operator::ArrayLen => {
                let array = self.pop();
                let len = self.array_length(array, self.operand_type(0));
                self.push(len);
            }
            Operator::ArrayFill { array_type_index } => {
                let ty = self.type_at(array_type_index);
                let (field, _) = self.element(ty)?;
                let (dst, value, len) = self.pop3();
                let array = self.pop();
                let value = self.heap_value(value, field.element_type);
                let (low, high) = self.halves(value);
                self.call_builtin(B::array_fill, &[array, dst, low, high, len]);
            }
            Operator::ArrayCopy { .. } => {
                let (src_array, src, len) = self.pop3();
                let (dst_array, dst) = self.pop2();
                self.call_builtin(B::array_copy, &[dst_array, dst, src_array, src, len]);
            }
            Operator::ArrayInitData {
                array_data_index, ..
            } => self.array_init(B::array_init_data, array_data_index),
            Operator::ArrayInitElem {
                array_elem_index, ..
            } => self.array_init(B::array_init_elem, array_elem_index),
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn element(&self, ty: ModuleTypeIndex) -> Result<(WasmFieldType, GcArrayLayout), CompileError> {
        let WasmCompositeType::Array(field) = self.translation.types.types[ty].composite else {
            unreachable!("validation requires an array type here");
        };
        self.check_storage([field.element_type])?;
        Ok((field, GcArrayLayout::new(field)))
    }

    /// `array.new_data` and `array.new_elem`.
    fn array_new_segment(&mut self, builtin: BuiltinFunctionIndex, ty: u32, segment: u32) {
        let (src, len) = self.pop2();
        let ty = self.index_constant(self.type_at(ty).as_u32());
        let segment = self.index_constant(segment);
        let array = self.call_builtin_value(builtin, &[ty, segment, src, len]);
        self.push(array);
        self.track(1);
    }

    /// `array.init_data` and `array.init_elem`.
    fn array_init(&mut self, builtin: BuiltinFunctionIndex, segment: u32) {
        let (dst, src, len) = self.pop3();
        let array = self.pop();
        let segment = self.index_constant(segment);
        self.call_builtin(builtin, &[array, segment, dst, src, len]);
    }

    fn array_new_fixed(&mut self, ty: u32, len: u32) -> Result<(), CompileError> {
        let ty = self.type_at(ty);
        let (field, layout) = self.element(ty)?;
        let start = self.stack.len() - len as usize;
        // What calls the runtime comes before the allocation.
        let values: Vec<Value> = (start..self.stack.len())
            .map(|i| {
                let value = self.operand(i);
                self.heap_value(value, field.element_type)
            })
            .collect();
        self.stack.truncate(start);
        let len = self.index_constant(len);
        let array = self.allocate(ty, Extent::Array(layout, len));
        let address = self.object_address(array);
        for (i, value) in (0..).zip(values) {
            // Validation limits the number of operands, and so the offset.
            let offset = layout.element(i) as u32;
            let region = Region::GcElement;
            self.initialize_slot(field.element_type, region, value, address, offset);
        }
        self.push(array);
        Ok(())
    }

    fn array_new(&mut self, ty: u32) -> Result<(), CompileError> {
        let ty = self.type_at(ty);
        let (field, layout) = self.element(ty)?;
        let (value, len) = self.pop2();
        let value = self.heap_value(value, field.element_type);
        self.charge_for_array(len, layout.slot.size());
        let array = self.allocate(ty, Extent::Array(layout, len));
        if !self.is_zero(value) {
            self.fill_new(array, field, layout, value, len);
        }
        self.push(array);
        Ok(())
    }

    /// Fills a new array: in line, if it is short and there is nothing to be done but to store.
    fn fill_new(
        &mut self,
        array: Value,
        field: WasmFieldType,
        layout: GcArrayLayout,
        value: Value,
        len: Value,
    ) {
        let zero = self.ins().iconst(ir::I32, 0);
        let collector = self.tunables().collector;
        if collector == Some(GcCollector::DeferredReferenceCounting) {
            self.call_array_fill_new(array, value, len);
            return;
        }
        let short = self.builder.create_block();
        let long = self.builder.create_block();
        let done = self.builder.create_block();
        let body = self.builder.create_block();
        let index = self.builder.append_block_param(body, ir::I32);
        let is_long = self
            .ins()
            .icmp_imm_u(IntCC::UnsignedGreaterThan, len, INLINE_FILL);
        self.ins().brif(is_long, long, &[], short, &[]);
        self.builder.seal_block(long);
        self.builder.seal_block(short);

        self.builder.switch_to_block(long);
        self.call_array_fill_new(array, value, len);
        self.ins().jump(done, &[]);

        self.builder.switch_to_block(short);
        let base = self.object_address(array);
        self.ins().brif(len, body, &[zero.into()], done, &[]);
        self.builder.switch_to_block(body);
        let shift = i64::from(layout.slot.size().trailing_zeros());
        let offset = self.ins().uextend(ir::I64, index);
        let offset = self.ins().ishl_imm_u(offset, shift);
        let address = self.ins().iadd(base, offset);
        let flags = self.slot_flags(Region::GcElement, field.element_type, None);
        self.store_slot(field.element_type, flags, value, address, layout.base);
        let next = self.ins().iadd_imm_u(index, 1);
        let more = self.ins().icmp(IntCC::UnsignedLessThan, next, len);
        self.ins().brif(more, body, &[next.into()], done, &[]);
        self.builder.seal_block(body);
        self.builder.seal_block(done);
        self.builder.switch_to_block(done);
    }

    /// Fills a new array with a value in its representation in the heap.
    fn call_array_fill_new(&mut self, array: Value, value: Value, len: Value) {
        let (low, high) = self.halves(value);
        let builtin = BuiltinFunctionIndex::array_fill_new;
        self.call_builtin(builtin, &[array, low, high, len]);
    }

    /// The bits of a value as two halves of 128 bits.
    fn halves(&mut self, value: Value) -> (Value, Value) {
        let ty = self.builder.func.dfg.value_type(value);
        if ty.is_vector() {
            let flags = MemFlagsData::new().with_endianness(Endianness::Little);
            let lanes = self.ins().bitcast(ir::I64X2, flags, value);
            let low = self.ins().extractlane(lanes, 0);
            let high = self.ins().extractlane(lanes, 1);
            return (low, high);
        }
        let bits = if ty.is_float() {
            let flags = MemFlagsData::new();
            self.ins().bitcast(ty.as_int(), flags, value)
        } else {
            value
        };
        let low = if ty.bits() < 64 {
            self.ins().uextend(ir::I64, bits)
        } else {
            bits
        };
        (low, self.ins().iconst(ir::I64, 0))
    }

    fn array_length(&mut self, array: Value, ty: WasmRefType) -> Value {
        let trap = self.check_null(array, ty, GC_ARRAY_LENGTH);
        let address = self.object_address(array);
        let flags = self.object_flags(Region::GcLength, trap);
        self.ins()
            .load(ir::I32, flags, address, GC_ARRAY_LENGTH as i32)
    }

    /// The offset in the heap to which the layout's base is to be added to get at an element, which is checked to
    /// be in bounds, and its address. Offsets wrap at 32 bits: whatever the words in the heap are, the address is in the
    /// heap's reservation.
    fn checked_element(
        &mut self,
        array: Value,
        ty: WasmRefType,
        index: Value,
        layout: GcArrayLayout,
    ) -> (Value, Value) {
        let len = self.array_length(array, ty);
        let is_out = self
            .ins()
            .icmp(IntCC::UnsignedGreaterThanOrEqual, index, len);
        self.trapnz(is_out, Trap::ArrayOutOfBounds);
        let shift = i64::from(layout.slot.size().trailing_zeros());
        let offset = self.ins().ishl_imm_u(index, shift);
        let offset = self.ins().iadd(array, offset);
        (offset, self.object_address(offset))
    }

    fn array_get(&mut self, ty: u32, extension: Extension) -> Result<(), CompileError> {
        let (field, layout) = self.element(self.type_at(ty))?;
        let (array, index) = self.pop2();
        let (_, address) = self.checked_element(array, self.operand_type(1), index, layout);
        let flags = self.slot_flags(Region::GcElement, field.element_type, None);
        let value = self.load_slot(field.element_type, extension, flags, address, layout.base);
        self.push(value);
        self.track(1);
        Ok(())
    }

    fn array_set(&mut self, ty: u32) -> Result<(), CompileError> {
        let (field, layout) = self.element(self.type_at(ty))?;
        let (array, index, value) = self.pop3();
        let value = self.heap_value(value, field.element_type);
        let (start, address) = self.checked_element(array, self.operand_type(2), index, layout);
        let flags = self.slot_flags(Region::GcElement, field.element_type, None);
        let value_type = self.operand_type(0);
        self.write_slot(
            field.element_type,
            flags,
            value,
            value_type,
            address,
            layout.base,
            start,
        );
        Ok(())
    }
}
