//! Checks of memory errors, if the tunables ask for them: code tells the runtime of each access to the first memory, and when
//! functions of the allocator begin and return.
//!
//! To copy bytes that were never written is no error, as compilers copy the padding of structs. So the runtime answers for each load
//! whether its bytes were never written, and what is loaded is followed through locals and the operand stack, to where it is stored. It
//! is an error to compute with it, branch on it, pass it to a function, return it or use it as an address.

use super::bulk::Range;
use super::{FuncTranslator, Region};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{Block, InstBuilder, Value, types};
use smallvec::SmallVec;
use std::collections::HashMap;
use wasmparser::{MemArg, MemArgTarget, Operator};
use waxwing_environ::compile::ModuleTranslation;
use waxwing_environ::{
    BuiltinFunctionIndex, EntityIndex, EntityRef, FuncIndex, IndexType, KnownFunction, MemoryIndex,
    VMHOSTFUNC_MAGIC, WasmValType,
};

/// What is known of a load.
#[derive(Copy, Clone)]
pub(super) struct Loaded {
    /// An `i32`, 1 if nothing of it was ever written.
    undefined: Value,
    address: Value,
    len: Value,
}

/// The checks of a function.
pub(super) struct HeapChecks {
    is_on: bool,
    /// The function itself, if it is one that the checks know.
    known: Option<KnownFunction>,
    /// What was loaded.
    loaded: HashMap<Value, Loaded>,
}

/// Values that an operator uses, if it computes with them: those on top of the stack, the topmost last, and its height.
pub(super) struct Operands {
    top: SmallVec<[Value; 3]>,
    height: usize,
}

impl HeapChecks {
    pub(super) fn new(translation: &ModuleTranslation<'_>, index: FuncIndex) -> HeapChecks {
        let memory = match translation.tunables.wmemcheck {
            true => translation.module.memories.get(MemoryIndex::new(0)),
            false => None,
        };
        let memory = memory.filter(|memory| !memory.shared);
        let pointer = memory.map(|memory| match memory.idx_type {
            IndexType::I32 => WasmValType::I32,
            IndexType::I64 => WasmValType::I64,
        });
        HeapChecks {
            is_on: memory.is_some(),
            known: pointer.and_then(|pointer| known_function(translation, index, pointer)),
            loaded: HashMap::new(),
        }
    }

    pub(super) fn is_known_function(&self) -> bool {
        self.known.is_some()
    }

    /// Whether accesses are checked. What known functions do is not.
    fn checks_accesses(&self) -> bool {
        self.is_on && self.known.is_none()
    }
}

/// The function at `index` as a known one, by its name or that of one of its exports.
fn known_function(
    translation: &ModuleTranslation<'_>,
    index: FuncIndex,
    pointer: WasmValType,
) -> Option<KnownFunction> {
    let signature = translation.functions[index].signature;
    let ty = translation.types.func(signature);
    let names = &translation.function_names;
    let name = names.binary_search_by_key(&index, |(named, _)| *named).ok();
    let exports = translation.module.exports.iter();
    let exports = exports
        .filter(|export| export.index == EntityIndex::Function(index))
        .map(|export| &*export.name);
    name.map(|at| names[at].1)
        .into_iter()
        .chain(exports)
        .find_map(|name| KnownFunction::find(name, ty, pointer))
}

impl FuncTranslator<'_, '_> {
    /// Tells that the function begins, if it is a known one, and else of its arguments, if the host calls it.
    pub(super) fn tell_of_entry(&mut self, entry: Block) {
        if !self.heap_checks.is_on {
            return;
        }
        let params: SmallVec<[Value; 8]> = self.builder.block_params(entry).into();
        let (caller, params) = (params[1], &params[2..]);
        let Some(function) = self.heap_checks.known else {
            let is_host = self.ins().icmp_imm_u(IntCC::Equal, caller, 0);
            self.tell_of_host(is_host, params);
            return;
        };
        let mut args = SmallVec::<[Value; 4]>::new();
        args.push(self.ins().iconst(types::I32, i64::from(function as u32)));
        for i in 0..3 {
            let arg = match params.get(i) {
                Some(param) => self.as_pointer(*param),
                None => self.ins().iconst(types::I64, 0),
            };
            args.push(arg);
        }
        self.call_builtin(BuiltinFunctionIndex::wmemcheck_enter, &args);
    }

    /// Tells that the function returns, if it is a known one.
    pub(super) fn leave_known_function(&mut self, results: &[Value]) {
        if !self.heap_checks.is_known_function() {
            self.check_used(results);
            return;
        }
        let result = match results.first() {
            Some(result) => self.as_pointer(*result),
            None => self.ins().iconst(types::I64, 0),
        };
        self.call_builtin(BuiltinFunctionIndex::wmemcheck_exit, &[result]);
    }

    /// An integer as 64 bits.
    fn as_pointer(&mut self, value: Value) -> Value {
        match self.builder.func.dfg.value_type(value) {
            types::I64 => value,
            _ => self.ins().uextend(types::I64, value),
        }
    }

    /// Tells of the arguments and results of a call of a function with the context `callee`, if that is one of the host.
    pub(super) fn tell_of_host_call(&mut self, callee: Value, values: &[Value]) {
        if self.heap_checks.checks_accesses() {
            let flags = self.flags(Region::Context);
            let magic = self.ins().load(types::I32, flags, callee, 0);
            let expected = i64::from(VMHOSTFUNC_MAGIC);
            let is_host = self.ins().icmp_imm_u(IntCC::Equal, magic, expected);
            self.tell_of_host(is_host, values);
        }
    }

    /// Tells of what may be pointers to what the host wrote, and that it may have written elsewhere, if `is_host` is not zero.
    fn tell_of_host(&mut self, is_host: Value, values: &[Value]) {
        let host = self.block_as_cold(true);
        let next = self.block_as_cold(false);
        self.ins().brif(is_host, host, &[], next, &[]);
        self.builder.seal_block(host);
        self.builder.switch_to_block(host);
        let mut pointers: SmallVec<[Value; 8]> = values.into();
        pointers.retain(|value| {
            let ty = self.builder.func.dfg.value_type(*value);
            ty == types::I32 || ty == types::I64
        });
        if pointers.is_empty() {
            pointers.push(self.ins().iconst(types::I64, 0));
        }
        for pointer in pointers {
            let pointer = self.as_pointer(pointer);
            self.call_builtin(BuiltinFunctionIndex::wmemcheck_host, &[pointer]);
        }
        self.ins().jump(next, &[]);
        self.builder.seal_block(next);
        self.builder.switch_to_block(next);
    }

    /// The address in the first memory that an access is to, whose index is on top of the stack, and its length.
    fn checked_address(&mut self, memarg: &MemArg, size: u8) -> Option<(Value, Value)> {
        let is_first = matches!(memarg.target, MemArgTarget::Memory(0));
        if !is_first || !self.heap_checks.checks_accesses() {
            return None;
        }
        let index = *self.stack.last()?;
        self.check_used(&[index]);
        let start = self.as_pointer(index);
        let offset = self.ins().iconst(types::I64, memarg.offset.cast_signed());
        let sum = self.ins().iadd(start, offset);
        // One beyond the address space is out of bounds, which the access itself finds.
        let wraps = self.ins().icmp(IntCC::UnsignedLessThan, sum, start);
        let beyond = self.ins().iconst(types::I64, -1);
        let address = self.ins().select(wraps, beyond, sum);
        let len = self.ins().iconst(types::I64, i64::from(size));
        Some((address, len))
    }

    /// Checks a load whose index is on top of the stack.
    pub(super) fn check_load(&mut self, memarg: &MemArg, size: u8) -> Option<Loaded> {
        let (address, len) = self.checked_address(memarg, size)?;
        let builtin = BuiltinFunctionIndex::wmemcheck_load;
        let undefined = self.call_builtin_value(builtin, &[address, len]);
        Some(Loaded {
            undefined,
            address,
            len,
        })
    }

    /// Says what `value` was loaded by.
    pub(super) fn note_loaded(&mut self, value: Value, loaded: Option<Loaded>) {
        if let Some(loaded) = loaded {
            self.heap_checks.loaded.insert(value, loaded);
        }
    }

    /// Checks a store whose index is on top of the stack.
    pub(super) fn check_store(&mut self, memarg: &MemArg, size: u8, value: Option<Value>) {
        let Some((address, len)) = self.checked_address(memarg, size) else {
            return;
        };
        let loaded = value.and_then(|value| self.heap_checks.loaded.get(&value));
        let undefined = match loaded.map(|loaded| loaded.undefined) {
            Some(undefined) => undefined,
            None => self.ins().iconst(types::I32, 0),
        };
        let args = [address, len, undefined];
        self.call_builtin(BuiltinFunctionIndex::wmemcheck_store, &args);
    }

    /// Checks that `len` bytes can be stored.
    pub(super) fn check_range_stored(&mut self, range: Range, len: Value) {
        if range.memory == 0 && self.heap_checks.checks_accesses() {
            let (address, len) = (self.as_pointer(range.start), self.as_pointer(len));
            let undefined = self.ins().iconst(types::I32, 0);
            let args = [address, len, undefined];
            self.call_builtin(BuiltinFunctionIndex::wmemcheck_store, &args);
        }
    }

    /// Checks a copy of `len` bytes.
    pub(super) fn check_copy(&mut self, dst: Range, src: Range, len: Value) {
        if !self.heap_checks.checks_accesses() {
            return;
        }
        match (dst.memory, src.memory) {
            (0, 0) => {
                let (dst, src) = (self.as_pointer(dst.start), self.as_pointer(src.start));
                self.call_builtin(BuiltinFunctionIndex::wmemcheck_copy, &[dst, src, len]);
            }
            (_, 0) => {
                let src = self.as_pointer(src.start);
                self.call_builtin(BuiltinFunctionIndex::wmemcheck_load, &[src, len]);
            }
            _ => self.check_range_stored(dst, len),
        }
    }

    /// Fails if any of the values was loaded from bytes that were never written.
    pub(super) fn check_used(&mut self, values: &[Value]) {
        for value in values {
            let loaded = self.heap_checks.loaded.get(value).copied();
            self.use_loaded(loaded);
        }
    }

    /// Fails if what was loaded was never written.
    pub(super) fn use_loaded(&mut self, loaded: Option<Loaded>) {
        let Some(loaded) = loaded else {
            return;
        };
        let fails = self.block_as_cold(true);
        let next = self.block_as_cold(false);
        self.ins().brif(loaded.undefined, fails, &[], next, &[]);
        self.builder.seal_block(fails);
        self.builder.switch_to_block(fails);
        let args = [loaded.address, loaded.len];
        self.call_builtin(BuiltinFunctionIndex::wmemcheck_undefined, &args);
        self.ins().jump(next, &[]);
        self.builder.seal_block(next);
        self.builder.switch_to_block(next);
    }

    /// The operands of an operator that may compute with them, before it is translated. Conditions, and operands of operators
    /// without results, are checked here.
    #[inline]
    pub(super) fn operands_to_check(&mut self, op: &Operator<'_>) -> Option<Operands> {
        if self.heap_checks.loaded.is_empty() {
            return None;
        }
        match op {
            Operator::If { .. }
            | Operator::BrIf { .. }
            | Operator::BrTable { .. }
            | Operator::Select
            | Operator::TypedSelect { .. }
            | Operator::MemoryGrow { .. } => {
                let condition = self.stack.last().copied();
                self.check_used(condition.as_slice());
                return None;
            }
            Operator::MemoryCopy { .. }
            | Operator::MemoryFill { .. }
            | Operator::MemoryInit { .. } => {
                let start = self.stack.len().saturating_sub(3);
                let operands: SmallVec<[Value; 3]> = self.stack[start..].into();
                self.check_used(&operands);
                return None;
            }
            _ => {}
        }
        let top = &self.stack[self.stack.len().saturating_sub(2)..];
        let is_loaded = |value| self.heap_checks.loaded.contains_key(value);
        if !top.iter().any(is_loaded) || !is_arithmetic(op) {
            return None;
        }
        Some(Operands {
            top: top.into(),
            height: self.stack.len(),
        })
    }

    /// Checks what an operator that was translated used: operators that compute have one result.
    pub(super) fn check_operands(&mut self, operands: Option<Operands>) {
        if let Some(Operands { top, height }) = operands {
            let used = (height + 1).saturating_sub(self.stack.len());
            self.check_used(&top[top.len().saturating_sub(used)..]);
        }
    }
}

/// Whether an operator computes its result from the values of its operands: those of numbers do, by their names.
fn is_arithmetic(op: &Operator<'_>) -> bool {
    let text = format!("{op:?}");
    let is_number = ["I32", "I64", "F32", "F64"]
        .iter()
        .any(|ty| text.starts_with(ty));
    let is_access = ["Load", "Store", "Const", "Atomic"]
        .iter()
        .any(|what| text.contains(what));
    is_number && !is_access
}
