//! Linear memories: loads, stores, size, growth and bulk operations.

use super::FuncTranslator;
use super::bulk::Range;
use crate::bounds::HeapAddress;
use cranelift_codegen::ir::{InstBuilder, Value, types};
use cranelift_frontend::FunctionBuilder;
use types::{F32, F64, I32, I64};
use wasmparser::{MemArg, MemArgTarget, Operator};
use waxwing_environ::compile::CompileError;
use waxwing_environ::{BuiltinFunctionIndex, IndexType, MemoryIndex};

pub(super) type Load = fn(&mut FunctionBuilder<'_>, HeapAddress) -> Value;
pub(super) type Store = fn(&mut FunctionBuilder<'_>, HeapAddress, Value);

/// The table of loads and stores: the bytes accessed, what is built, the operator.
macro_rules! accesses {
    ($t:ident, $op:expr; $($shape:ident($size:literal $($what:tt)*): $($name:ident)+;)*) => {
        match $op {
            $($(Operator::$name { memarg })|+ => {
                accesses!(@$shape $t, memarg, $size, $($what)*)?
            })*
            _ => return Ok(false),
        }
    };
    (@load $t:ident, $memarg:ident, $size:literal, $ty:ident) => {
        $t.load($memarg, $size, |b, a| b.ins().load($ty, a.flags, a.base, a.offset))
    };
    (@extend $t:ident, $memarg:ident, $size:literal, $method:ident $($ty:ident)?) => {
        $t.load($memarg, $size, |b, a| b.ins().$method($($ty,)? a.flags, a.base, a.offset))
    };
    (@store $t:ident, $memarg:ident, $size:literal, $method:ident) => {
        $t.store($memarg, $size, |b, a, value| {
            b.ins().$method(a.flags, value, a.base, a.offset);
        })
    };
}

impl FuncTranslator<'_, '_> {
    pub(super) fn memory_operator(&mut self, op: &Operator<'_>) -> Result<bool, CompileError> {
        Ok(self.access_operator(op)? || self.bulk_memory_operator(op))
    }

    fn access_operator(&mut self, op: &Operator<'_>) -> Result<bool, CompileError> {
        accesses! { self, op;
            load(4 I32): I32Load;
            load(8 I64): I64Load;
            load(4 F32): F32Load;
            load(8 F64): F64Load;
            extend(1 sload8 I32): I32Load8S;
            extend(1 uload8 I32): I32Load8U;
            extend(2 sload16 I32): I32Load16S;
            extend(2 uload16 I32): I32Load16U;
            extend(1 sload8 I64): I64Load8S;
            extend(1 uload8 I64): I64Load8U;
            extend(2 sload16 I64): I64Load16S;
            extend(2 uload16 I64): I64Load16U;
            extend(4 sload32): I64Load32S;
            extend(4 uload32): I64Load32U;
            store(4 store): I32Store F32Store;
            store(8 store): I64Store F64Store;
            store(1 istore8): I32Store8 I64Store8;
            store(2 istore16): I32Store16 I64Store16;
            store(4 istore32): I64Store32;
        }
        Ok(true)
    }

    /// Pops an index and gives the address that it and the immediates mean.
    pub(super) fn pop_address(
        &mut self,
        memarg: &MemArg,
        size: u8,
    ) -> Result<HeapAddress, CompileError> {
        match memarg.target {
            MemArgTarget::Memory(memory) => {
                let index = self.pop();
                let memory = MemoryIndex::from_u32(memory);
                Ok(self.heap_address(memory, index, memarg.offset, size))
            }
            MemArgTarget::Array(_) => Err(CompileError::Unsupported(
                "loads and stores of arrays".to_string(),
            )),
        }
    }

    pub(super) fn load(
        &mut self,
        memarg: &MemArg,
        size: u8,
        build: Load,
    ) -> Result<(), CompileError> {
        let loaded = self.check_load(memarg, size);
        let address = self.pop_address(memarg, size)?;
        let value = build(&mut self.builder, address);
        self.note_loaded(value, loaded);
        self.push(value);
        Ok(())
    }

    pub(super) fn store(
        &mut self,
        memarg: &MemArg,
        size: u8,
        build: Store,
    ) -> Result<(), CompileError> {
        let value = self.pop();
        self.check_store(memarg, size, Some(value));
        let address = self.pop_address(memarg, size)?;
        build(&mut self.builder, address, value);
        Ok(())
    }

    fn memory_index_type(&self, memory: u32) -> IndexType {
        self.translation.module.memories[MemoryIndex::from_u32(memory)].idx_type
    }

    /// Pops an index of `memory` as 64 bits.
    fn pop_memory_index(&mut self, memory: u32) -> Value {
        let value = self.pop();
        let ty = self.memory_index_type(memory);
        self.extend_index(value, ty)
    }

    /// Pops the start of a range of `memory`.
    fn pop_range(&mut self, memory: u32) -> Range {
        let start = self.pop();
        Range { memory, start }
    }

    pub(super) fn index_constant(&mut self, index: u32) -> Value {
        self.int_constant(I32, i64::from(index))
    }

    fn bulk_memory_operator(&mut self, op: &Operator<'_>) -> bool {
        match *op {
            Operator::MemorySize { mem } => {
                let index = MemoryIndex::from_u32(mem);
                let memory = self.translation.module.memories[index];
                let length = self.memory_length_in_order(index);
                let pages = self
                    .ins()
                    .ushr_imm_u(length, i64::from(memory.page_size_log2));
                let pages = self.reduce_index(pages, memory.idx_type);
                self.push(pages);
            }
            Operator::MemoryGrow { mem } => {
                let delta = self.pop_memory_index(mem);
                let memory = self.index_constant(mem);
                let builtin = BuiltinFunctionIndex::memory_grow;
                let size = self.call_builtin_value(builtin, &[memory, delta]);
                let ty = self.memory_index_type(mem);
                let size = self.reduce_index(size, ty);
                self.push(size);
            }
            Operator::MemoryFill { mem } => {
                let len = self.pop_memory_index(mem);
                let value = self.pop();
                let dst = self.pop_range(mem);
                self.check_range_stored(dst, len);
                self.memory_fill(dst, value, len);
            }
            Operator::MemoryCopy { dst_mem, src_mem } => {
                // The length has the smaller of both index types.
                let len = self.pop();
                let len = match (
                    self.memory_index_type(dst_mem),
                    self.memory_index_type(src_mem),
                ) {
                    (IndexType::I64, IndexType::I64) => len,
                    _ => self.extend_index(len, IndexType::I32),
                };
                let src = self.pop_range(src_mem);
                let dst = self.pop_range(dst_mem);
                self.check_copy(dst, src, len);
                self.memory_copy(dst, src, len);
            }
            Operator::MemoryInit { data_index, mem } => {
                let (src, len) = self.pop2();
                let range = self.pop_range(mem);
                self.check_range_stored(range, len);
                let dst = self.extend_index(range.start, self.memory_index_type(mem));
                let memory = self.index_constant(mem);
                let data = self.index_constant(data_index);
                let args = [memory, data, dst, src, len];
                self.call_builtin(BuiltinFunctionIndex::memory_init, &args);
            }
            Operator::DataDrop { data_index } => {
                let data = self.index_constant(data_index);
                self.call_builtin(BuiltinFunctionIndex::data_drop, &[data]);
            }
            _ => return false,
        }
        true
    }
}
