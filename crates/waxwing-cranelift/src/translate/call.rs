//! Calls.

use super::FuncTranslator;
use super::exception::Code;
use crate::traps::trap_code;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{FuncRef, InstBuilder, SigRef, Value, types};
use smallvec::SmallVec;
use wasmparser::Operator;
use waxwing_environ::compile::{
    CompileError, DISPATCH_ENTRY_TYPE, DISPATCH_NO_TYPE, DispatchTable, RelocTarget,
};
use waxwing_environ::{
    DefinedFuncIndex, EntityRef, FuncIndex, ModuleTypeIndex, TableIndex, Trap, TypeRef,
    WasmHeapType, WasmRefType,
};

type Arguments = SmallVec<[Value; 16]>;

/// What is called, with the vmctx that it is given.
enum Callee {
    Direct(FuncRef, Value),
    Indirect(SigRef, Value, Value),
}

impl FuncTranslator<'_, '_> {
    pub(super) fn call_operator(&mut self, op: &Operator<'_>) -> Result<bool, CompileError> {
        match *op {
            Operator::Call { function_index } => {
                self.call(FuncIndex::from_u32(function_index), false)?;
            }
            Operator::ReturnCall { function_index } => {
                self.call(FuncIndex::from_u32(function_index), true)?;
            }
            Operator::CallIndirect {
                type_index,
                table_index,
            } => self.call_indirect(type_index, table_index, false)?,
            Operator::ReturnCallIndirect {
                type_index,
                table_index,
            } => self.call_indirect(type_index, table_index, true)?,
            Operator::CallRef { type_index } => self.call_ref(type_index, false)?,
            Operator::ReturnCallRef { type_index } => self.call_ref(type_index, true)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn call(&mut self, index: FuncIndex, is_tail: bool) -> Result<(), CompileError> {
        let ty = self.translation.functions[index].signature;
        let callee = match self.translation.module.defined_func_index(index) {
            Some(defined) => Callee::Direct(self.own_function(defined), self.vmctx),
            None => {
                let import = self.offsets.function_import(index);
                let ptr = self.offsets.ptr;
                let code = self.load_context_word(import + ptr.function_import_wasm_call());
                let vmctx = self.load_context_word(import + ptr.function_import_vmctx());
                Callee::Indirect(self.signature(ty), code, vmctx)
            }
        };
        self.emit_call(ty, callee, is_tail)
    }

    /// The reference to a function of the module's own.
    fn own_function(&mut self, defined: DefinedFuncIndex) -> FuncRef {
        let index = self.translation.module.func_index(defined);
        if let Some(callee) = self.references.functions.get(&index) {
            return *callee;
        }
        let signature = self.signature(self.translation.functions[index].signature);
        let callee = self.import(RelocTarget::Function(defined), signature);
        self.references.functions.insert(index, callee);
        callee
    }

    fn call_indirect(
        &mut self,
        type_index: u32,
        table_index: u32,
        is_tail: bool,
    ) -> Result<(), CompileError> {
        let ty = self.type_at(type_index);
        let table = TableIndex::from_u32(table_index);
        let index = self.pop();
        let elements = self.table(table).ref_type;
        let called = WasmHeapType::ConcreteFunc(TypeRef::Module(ty));
        let translation = self.translation;
        if let Some(dispatch) = translation.dispatch_table(table)
            && translation.types.types[ty].is_final
        {
            return self.call_dispatched(ty, table, dispatch, index, is_tail);
        }
        let func_ref = self.table_get(table, index);
        let null = self.null_function(func_ref, elements, Trap::IndirectCallToNull);
        if !self.heap_type_matches(elements.heap_type, called) {
            let actual = self.func_type_index(func_ref, null);
            if self.translation.types.types[ty].is_final {
                let expected = self.type_id(ty);
                let matches = self.ins().icmp(IntCC::Equal, actual, expected);
                self.trapz(matches, Trap::BadSignature);
            } else {
                let matches = self.builder.create_block();
                let mismatch = self.builder.create_block();
                self.builder.set_cold_block(mismatch);
                self.type_test(actual, ty, matches, mismatch);
                self.builder.seal_block(matches);
                self.builder.seal_block(mismatch);
                self.builder.switch_to_block(mismatch);
                self.trap(Trap::BadSignature);
                self.builder.switch_to_block(matches);
            }
        }
        self.call_func_ref(ty, func_ref, null, is_tail)
    }

    /// Calls an element of a table of which there is a copy with the code of its functions.
    fn call_dispatched(
        &mut self,
        ty: ModuleTypeIndex,
        table: TableIndex,
        dispatch: &DispatchTable,
        index: Value,
        is_tail: bool,
    ) -> Result<(), CompileError> {
        let (entry, flags) = self.dispatch_entry(table, dispatch, index);
        let actual = self
            .ins()
            .load(types::I32, flags, entry, DISPATCH_ENTRY_TYPE as i32);
        let expected = i64::from(ty.index() as u32);
        let matches = self.ins().icmp_imm_u(IntCC::Equal, actual, expected);
        let next = self.block_as_cold(false);
        let mismatch = self.block_as_cold(true);
        self.ins().brif(matches, next, &[], mismatch, &[]);
        self.builder.seal_block(next);
        self.builder.seal_block(mismatch);
        self.builder.switch_to_block(mismatch);
        let none = i64::from(DISPATCH_NO_TYPE);
        let is_null = self.ins().icmp_imm_u(IntCC::Equal, actual, none);
        self.trapnz(is_null, Trap::IndirectCallToNull);
        self.trap(Trap::BadSignature);
        self.builder.switch_to_block(next);
        let vmctx = self.vmctx;
        let callee = match dispatch.only_function(ty) {
            Some(func) => Callee::Direct(self.own_function(func), vmctx),
            None => {
                let distance = self.ins().sload32(flags, entry, 0);
                let base = self.dispatch_base(table);
                let code = self.ins().iadd(base, distance);
                Callee::Indirect(self.signature(ty), code, vmctx)
            }
        };
        self.emit_call(ty, callee, is_tail)
    }

    fn call_ref(&mut self, type_index: u32, is_tail: bool) -> Result<(), CompileError> {
        let ty = self.type_at(type_index);
        let func_ref = self.pop();
        let null = self.null_function(func_ref, self.operand_type(0), Trap::NullReference);
        self.call_func_ref(ty, func_ref, null, is_tail)
    }

    /// Checks that a reference to a function, which is of type `ty`, is not null, unless the first load
    /// from its `VMFuncRef` finds out: then it is to trap with what is returned. Address zero and what
    /// follows it cannot be read.
    fn null_function(&mut self, func_ref: Value, ty: WasmRefType, trap: Trap) -> Option<Trap> {
        if !ty.nullable {
            return None;
        }
        if self.instructions_trap() {
            return Some(trap);
        }
        self.trapz(func_ref, trap);
        None
    }

    /// Calls through a `VMFuncRef`, whose loads trap with `null`.
    fn call_func_ref(
        &mut self,
        ty: ModuleTypeIndex,
        func_ref: Value,
        null: Option<Trap>,
        is_tail: bool,
    ) -> Result<(), CompileError> {
        let ptr = self.offsets.ptr;
        let flags = self
            .flags(super::Region::Context)
            .with_trap_code(null.map(trap_code));
        let mut load = |offset: u32| {
            let offset = offset as i32;
            self.load_word(flags, func_ref, offset)
        };
        let code = load(ptr.func_ref_wasm_call());
        let vmctx = load(ptr.func_ref_vmctx());
        let signature = self.signature(ty);
        self.emit_call(ty, Callee::Indirect(signature, code, vmctx), is_tail)
    }

    fn emit_call(
        &mut self,
        ty: ModuleTypeIndex,
        callee: Callee,
        is_tail: bool,
    ) -> Result<(), CompileError> {
        let ty = self.translation.types.func(ty);
        self.check_simd(ty.params().iter().chain(ty.results()))?;
        let params = self.pop_canonical(ty.params().len());
        self.check_used(&params);
        let (Callee::Direct(_, vmctx) | Callee::Indirect(_, _, vmctx)) = callee;
        let mut args = Arguments::from_slice(&[vmctx, self.vmctx]);
        args.extend(params);
        let (code, may_be_host) = match callee {
            Callee::Direct(callee, _) => (Code::Direct(callee), false),
            Callee::Indirect(signature, code, _) => (Code::Indirect(signature, code), true),
        };
        if !is_tail {
            let results = self.call_code(code, &args)?;
            if may_be_host {
                args.extend(results.iter().copied());
                self.tell_of_host_call(vmctx, &args[2..]);
            }
            let n = results.len();
            self.stack.extend(results);
            self.track(n);
            return Ok(());
        }
        if self.heap_checks.is_known_function() {
            let handlers = std::mem::take(&mut self.handlers);
            let results = self.call_code(code, &args)?;
            self.handlers = handlers;
            self.leave_known_function(&results);
            self.ins().return_(&results);
            self.set_unreachable();
            return Ok(());
        }
        if may_be_host {
            self.tell_of_host_call(vmctx, &args[2..]);
        }
        // Exceptions are not handled by a frame that is gone.
        match code {
            Code::Direct(callee) => self.ins().return_call(callee, &args),
            Code::Indirect(signature, code) => {
                self.ins().return_call_indirect(signature, code, &args)
            }
        };
        self.set_unreachable();
        Ok(())
    }
}
