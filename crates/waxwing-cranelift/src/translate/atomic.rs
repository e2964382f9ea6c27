//! Atomic accesses, fences, waiting and notifying.
//!
//! All of them are sequentially consistent. Cranelift moves no access to memory, whatever its
//! region, across any of the instructions that are built here, nor across calls of builtins.

use super::FuncTranslator;
use crate::abi;
use crate::compiler::call_host;
use cranelift_codegen::ir::{
    AtomicRmwOp, Endianness, InstBuilder, MemFlagsData, Signature, Type, Value, types,
};
use types::{I8, I16, I32, I64};
use wasmparser::{MemArg, MemArgTarget, Operator};
use waxwing_environ::compile::CompileError;
use waxwing_environ::{
    AtomicOp, AtomicWidth, BuiltinFunctionIndex, HostCall, IndexType, MemoryIndex, Trap,
};

/// What an atomic instruction does with its place in memory.
#[derive(Copy, Clone)]
enum Access {
    Load,
    Store,
    Modify(AtomicRmwOp),
    CompareExchange,
}

/// The table of atomic accesses: what is done, and the operators that do it with values and memory
/// of certain types.
macro_rules! atomic_accesses {
    ($t:ident, $op:expr; $($access:expr =>
        $i32:ident $i64:ident $i32_8:ident $i32_16:ident $i64_8:ident $i64_16:ident $i64_32:ident;)*
    ) => {
        match $op {
            $(
                Operator::$i32 { memarg } => $t.atomic_access($access, memarg, I32, I32)?,
                Operator::$i64 { memarg } => $t.atomic_access($access, memarg, I64, I64)?,
                Operator::$i32_8 { memarg } => $t.atomic_access($access, memarg, I32, I8)?,
                Operator::$i32_16 { memarg } => $t.atomic_access($access, memarg, I32, I16)?,
                Operator::$i64_8 { memarg } => $t.atomic_access($access, memarg, I64, I8)?,
                Operator::$i64_16 { memarg } => $t.atomic_access($access, memarg, I64, I16)?,
                Operator::$i64_32 { memarg } => $t.atomic_access($access, memarg, I64, I32)?,
            )*
            _ => return Ok(false),
        }
    };
}

impl FuncTranslator<'_, '_> {
    pub(super) fn atomic_operator(&mut self, op: &Operator<'_>) -> Result<bool, CompileError> {
        match op {
            Operator::AtomicFence { .. } => self.fence(),
            Operator::MemoryAtomicNotify { memarg } => self.notify(memarg)?,
            Operator::MemoryAtomicWait32 { memarg } => {
                self.wait(BuiltinFunctionIndex::memory_atomic_wait32, memarg, 4)?;
            }
            Operator::MemoryAtomicWait64 { memarg } => {
                self.wait(BuiltinFunctionIndex::memory_atomic_wait64, memarg, 8)?;
            }
            _ => return self.atomic_access_operator(op),
        }
        Ok(true)
    }

    #[rustfmt::skip]
    fn atomic_access_operator(&mut self, op: &Operator<'_>) -> Result<bool, CompileError> {
        atomic_accesses! { self, op;
            Access::Load =>
                I32AtomicLoad I64AtomicLoad I32AtomicLoad8U I32AtomicLoad16U
                I64AtomicLoad8U I64AtomicLoad16U I64AtomicLoad32U;
            Access::Store =>
                I32AtomicStore I64AtomicStore I32AtomicStore8 I32AtomicStore16
                I64AtomicStore8 I64AtomicStore16 I64AtomicStore32;
            Access::Modify(AtomicRmwOp::Add) =>
                I32AtomicRmwAdd I64AtomicRmwAdd I32AtomicRmw8AddU I32AtomicRmw16AddU
                I64AtomicRmw8AddU I64AtomicRmw16AddU I64AtomicRmw32AddU;
            Access::Modify(AtomicRmwOp::Sub) =>
                I32AtomicRmwSub I64AtomicRmwSub I32AtomicRmw8SubU I32AtomicRmw16SubU
                I64AtomicRmw8SubU I64AtomicRmw16SubU I64AtomicRmw32SubU;
            Access::Modify(AtomicRmwOp::And) =>
                I32AtomicRmwAnd I64AtomicRmwAnd I32AtomicRmw8AndU I32AtomicRmw16AndU
                I64AtomicRmw8AndU I64AtomicRmw16AndU I64AtomicRmw32AndU;
            Access::Modify(AtomicRmwOp::Or) =>
                I32AtomicRmwOr I64AtomicRmwOr I32AtomicRmw8OrU I32AtomicRmw16OrU
                I64AtomicRmw8OrU I64AtomicRmw16OrU I64AtomicRmw32OrU;
            Access::Modify(AtomicRmwOp::Xor) =>
                I32AtomicRmwXor I64AtomicRmwXor I32AtomicRmw8XorU I32AtomicRmw16XorU
                I64AtomicRmw8XorU I64AtomicRmw16XorU I64AtomicRmw32XorU;
            Access::Modify(AtomicRmwOp::Xchg) =>
                I32AtomicRmwXchg I64AtomicRmwXchg I32AtomicRmw8XchgU I32AtomicRmw16XchgU
                I64AtomicRmw8XchgU I64AtomicRmw16XchgU I64AtomicRmw32XchgU;
            Access::CompareExchange =>
                I32AtomicRmwCmpxchg I64AtomicRmwCmpxchg I32AtomicRmw8CmpxchgU I32AtomicRmw16CmpxchgU
                I64AtomicRmw8CmpxchgU I64AtomicRmw16CmpxchgU I64AtomicRmw32CmpxchgU;
        }
        Ok(true)
    }

    /// Builds an access to a value of type `stored`, which is one of type `ty` on the stack.
    fn atomic_access(
        &mut self,
        access: Access,
        memarg: &MemArg,
        ty: Type,
        stored: Type,
    ) -> Result<(), CompileError> {
        let result = match access {
            Access::Load => {
                let (address, flags) = self.pop_atomic_address(memarg, stored, access)?;
                self.atomic_load(stored, flags, address)
            }
            Access::Store => {
                let value = self.pop_wrapped(stored);
                let (address, flags) = self.pop_atomic_address(memarg, stored, access)?;
                if self.compiler.is_bytecode() {
                    self.call_atomic(AtomicOp::Store, stored, address, value, None);
                } else if self.compiler.has_fast_exchange() {
                    let op = AtomicRmwOp::Xchg;
                    self.ins().atomic_rmw(stored, flags, op, address, value);
                } else {
                    self.ins().atomic_store(flags, value, address);
                }
                return Ok(());
            }
            Access::Modify(op) => {
                let value = self.pop_wrapped(stored);
                let (address, flags) = self.pop_atomic_address(memarg, stored, access)?;
                if self.compiler.is_bytecode() {
                    self.call_atomic(host_op(op), stored, address, value, None)
                } else {
                    self.ins().atomic_rmw(stored, flags, op, address, value)
                }
            }
            Access::CompareExchange => {
                let replacement = self.pop_wrapped(stored);
                let expected = self.pop_wrapped(stored);
                let (address, flags) = self.pop_atomic_address(memarg, stored, access)?;
                if self.compiler.is_bytecode() {
                    let op = AtomicOp::CompareExchange;
                    self.call_atomic(op, stored, address, expected, Some(replacement))
                } else {
                    self.ins().atomic_cas(flags, address, expected, replacement)
                }
            }
        };
        let result = if stored == ty {
            result
        } else {
            self.ins().uextend(ty, result)
        };
        self.push(result);
        Ok(())
    }

    fn fence(&mut self) {
        if self.compiler.is_bytecode() {
            let signature = Signature::new(self.isa().default_call_conv());
            call_host(&mut self.builder, HostCall::Fence, signature, &[]);
        } else {
            self.ins().fence();
        }
    }

    pub(crate) fn atomic_load(&mut self, ty: Type, flags: MemFlagsData, address: Value) -> Value {
        if self.compiler.is_bytecode() {
            let nothing = self.ins().iconst(ty, 0);
            let value = self.call_atomic(AtomicOp::Load, ty, address, nothing, None);
            // The host takes it for one in a linear memory.
            match flags.endianness(self.isa().endianness()) {
                Endianness::Big => self.ins().bswap(value),
                Endianness::Little => value,
            }
        } else {
            self.ins().atomic_load(ty, flags, address)
        }
    }

    /// An atomic access by the host, for bytecode, which has none.
    fn call_atomic(
        &mut self,
        op: AtomicOp,
        ty: Type,
        address: Value,
        value: Value,
        replacement: Option<Value>,
    ) -> Value {
        let (width, is_narrow) = match ty {
            I8 => (AtomicWidth::W8, true),
            I16 => (AtomicWidth::W16, true),
            I32 => (AtomicWidth::W32, true),
            _ => (AtomicWidth::W64, false),
        };
        let wide = |t: &mut Self, value| match is_narrow {
            true => t.ins().uextend(I64, value),
            false => value,
        };
        let value = wide(self, value);
        let replacement = match replacement {
            Some(replacement) => wide(self, replacement),
            None => value,
        };
        let signature = abi::atomic_signature(self.isa());
        let args = [address, value, replacement];
        let old = call_host(
            &mut self.builder,
            HostCall::Atomic(op, width),
            signature,
            &args,
        );
        let old = old.expect("atomic accesses have a result");
        match is_narrow {
            true => self.ins().ireduce(ty, old),
            false => old,
        }
    }

    /// Pops an integer as the one of type `stored` that its low bits are.
    fn pop_wrapped(&mut self, stored: Type) -> Value {
        let value = self.pop();
        if self.builder.func.dfg.value_type(value) == stored {
            value
        } else {
            self.ins().ireduce(stored, value)
        }
    }

    /// Pops an index and gives the address that it and the immediates mean. It is aligned, and as for
    /// any other access in bounds, or the access itself traps.
    fn pop_atomic_address(
        &mut self,
        memarg: &MemArg,
        stored: Type,
        access: Access,
    ) -> Result<(Value, MemFlagsData), CompileError> {
        let size = stored.bytes() as u8;
        let index = *self
            .stack
            .last()
            .expect("the validator checked the operands");
        self.check_alignment(index, memarg.offset, size);
        if !matches!(access, Access::Store) {
            let loaded = self.check_load(memarg, size);
            self.use_loaded(loaded);
        }
        if !matches!(access, Access::Load) {
            self.check_store(memarg, size, None);
        }
        let address = self.pop_address(memarg, size)?;
        let value = match address.offset {
            0 => address.base,
            offset => self.ins().iadd_imm_s(address.base, i64::from(offset)),
        };
        Ok((value, address.flags))
    }

    /// Traps unless `index + offset` is a multiple of `size`.
    fn check_alignment(&mut self, index: Value, offset: u64, size: u8) {
        if size == 1 {
            return;
        }
        // Only the low bits matter, so that it does not if the sum wraps around.
        let mask = i64::from(size) - 1;
        let position = match offset.cast_signed() & mask {
            0 => index,
            low => self.ins().iadd_imm_u(index, low),
        };
        let misaligned = self.ins().band_imm_u(position, mask);
        self.trapnz(misaligned, Trap::HeapMisaligned);
    }

    /// Pops an index and gives the memory that is meant, and the effective address in it as 64 bits,
    /// which is aligned but perhaps not in bounds.
    fn pop_effective_address(
        &mut self,
        memarg: &MemArg,
        size: u8,
    ) -> Result<(Value, Value), CompileError> {
        let MemArgTarget::Memory(memory) = memarg.target else {
            return Err(CompileError::Unsupported("waiting on arrays".to_string()));
        };
        let index = self.pop();
        self.check_alignment(index, memarg.offset, size);
        let ty = self.translation.module.memories[MemoryIndex::from_u32(memory)].idx_type;
        let mut address = self.extend_index(index, ty);
        if memarg.offset != 0 {
            let offset = self.ins().iconst(I64, memarg.offset.cast_signed());
            address = match ty {
                // 32 bits each: the sum fits.
                IndexType::I32 => self.ins().iadd(address, offset),
                IndexType::I64 => {
                    let (sum, overflow) = self.ins().uadd_overflow(address, offset);
                    self.trapnz(overflow, Trap::MemoryOutOfBounds);
                    sum
                }
            };
        }
        let memory = self.index_constant(memory);
        Ok((memory, address))
    }

    fn notify(&mut self, memarg: &MemArg) -> Result<(), CompileError> {
        let count = self.pop();
        let (memory, address) = self.pop_effective_address(memarg, 4)?;
        let builtin = BuiltinFunctionIndex::memory_atomic_notify;
        let woken = self.call_builtin_value(builtin, &[memory, address, count]);
        let woken = self.ins().ireduce(I32, woken);
        self.push(woken);
        Ok(())
    }

    fn wait(
        &mut self,
        builtin: BuiltinFunctionIndex,
        memarg: &MemArg,
        size: u8,
    ) -> Result<(), CompileError> {
        let (expected, timeout) = self.pop2();
        let (memory, address) = self.pop_effective_address(memarg, size)?;
        let result = self.call_builtin_value(builtin, &[memory, address, expected, timeout]);
        let result = self.ins().ireduce(I32, result);
        self.push(result);
        Ok(())
    }
}

/// What the host does for a read-modify-write access.
fn host_op(op: AtomicRmwOp) -> AtomicOp {
    match op {
        AtomicRmwOp::Add => AtomicOp::Add,
        AtomicRmwOp::Sub => AtomicOp::Sub,
        AtomicRmwOp::And => AtomicOp::And,
        AtomicRmwOp::Or => AtomicOp::Or,
        AtomicRmwOp::Xor => AtomicOp::Xor,
        AtomicRmwOp::Xchg => AtomicOp::Exchange,
        AtomicRmwOp::Nand
        | AtomicRmwOp::Umin
        | AtomicRmwOp::Umax
        | AtomicRmwOp::Smin
        | AtomicRmwOp::Smax => unreachable!("WebAssembly has no such instructions"),
    }
}
