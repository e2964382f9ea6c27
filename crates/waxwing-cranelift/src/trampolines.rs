//! Trampolines: between the host's array convention and wasm's, and from wasm to builtins.

use crate::abi::{self, POINTER, VAL_RAW_SIZE};
use crate::compiler::{CraneliftCompiler, Scratch, call_host};
use crate::traps::UNREACHED;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{
    AbiParam, BlockArg, BlockCall, Endianness, ExceptionTableData, ExceptionTableItem, InstBuilder,
    MemFlagsData, Signature, StackSlotData, StackSlotKind, Type, Value, types,
};
use cranelift_codegen::isa::TargetIsa;
use cranelift_frontend::FunctionBuilder;
use smallvec::SmallVec;
use waxwing_environ::compile::CompileError;
use waxwing_environ::{
    BuiltinFunctionIndex, BuiltinResult, BuiltinType, HostCall, HostFuncContextOffsets, PtrSize,
    StoreContextOffsets, WasmFuncType, WasmValType, is_bytecode,
};

type Values = SmallVec<[Value; 16]>;

/// A function under construction, with its entry block and parameters.
struct Trampoline<'a> {
    isa: &'a dyn TargetIsa,
    ptr: PtrSize,
    builder: FunctionBuilder<'a>,
    params: Values,
}

impl<'a> Trampoline<'a> {
    fn new(isa: &'a dyn TargetIsa, signature: Signature, scratch: &'a mut Scratch) -> Self {
        scratch.codegen.func.signature = signature;
        let mut builder = FunctionBuilder::new(&mut scratch.codegen.func, &mut scratch.builder);
        let entry = builder.create_block();
        builder.append_block_params_for_function_params(entry);
        builder.switch_to_block(entry);
        builder.seal_block(entry);
        let params = builder.block_params(entry).iter().copied().collect();
        Trampoline {
            isa,
            ptr: abi::pointer_size(isa),
            builder,
            params,
        }
    }

    fn finish(self) {
        self.builder.finalize(self.isa.frontend_config());
    }

    /// Loads a pointer of a record that the runtime keeps valid.
    fn load_pointer(&mut self, base: Value, offset: u32) -> Value {
        let flags = MemFlagsData::trusted();
        let ins = self.builder.ins();
        match self.ptr.size() {
            4 => ins.uload32(flags, base, offset as i32),
            _ => ins.load(POINTER, flags, base, offset as i32),
        }
    }

    fn store_pointer(&mut self, value: Value, base: Value, offset: u32) {
        let flags = MemFlagsData::trusted();
        let ty = self.builder.func.dfg.value_type(value);
        let ins = self.builder.ins();
        match self.ptr.size() {
            4 if ty == POINTER => ins.istore32(flags, value, base, offset as i32),
            _ => ins.store(flags, value, base, offset as i32),
        };
    }

    fn load_values(&mut self, types: &[WasmValType], values: Value) -> Values {
        let flags = val_raw_flags();
        let load = |(i, ty): (usize, &WasmValType)| {
            let offset = i as i32 * VAL_RAW_SIZE;
            let ty = abi::value_type(*ty);
            self.builder.ins().load(ty, flags, values, offset)
        };
        types.iter().enumerate().map(load).collect()
    }

    fn store_values(&mut self, what: &[Value], values: Value) {
        let flags = val_raw_flags();
        for (i, value) in what.iter().enumerate() {
            let offset = i as i32 * VAL_RAW_SIZE;
            let value = match self.builder.func.dfg.value_type(*value) {
                types::I32 => self.builder.ins().uextend(types::I64, *value),
                _ => *value,
            };
            self.builder.ins().store(flags, value, values, offset);
        }
    }

    /// Records where wasm is left, for backtraces: the frame of this trampoline, where the return address is.
    fn save_exit(&mut self, vmctx: Value) {
        let store_context = self.load_pointer(vmctx, self.ptr.vmctx_store_context());
        let fp = self
            .builder
            .ins()
            .get_frame_pointer(self.isa.pointer_type());
        self.store_pointer(
            fp,
            store_context,
            self.ptr.store_context_last_wasm_exit_fp(),
        );
    }

    fn has_fuel_register(&self) -> bool {
        self.isa.flags().enable_pinned_reg()
    }

    /// Lets the runtime know the fuel, where code keeps it in a register.
    fn save_fuel(&mut self, vmctx: Value) {
        if self.has_fuel_register() {
            let store_context = self.load_pointer(vmctx, self.ptr.vmctx_store_context());
            let fuel = self.builder.ins().get_pinned_reg(types::I64);
            self.store_pointer(fuel, store_context, self.ptr.store_context_fuel());
        }
    }

    /// Lets code know the fuel that the runtime has, where code keeps it in a register.
    fn load_fuel(&mut self, vmctx: Value) {
        if self.has_fuel_register() {
            let store_context = self.load_pointer(vmctx, self.ptr.vmctx_store_context());
            let fuel = self.load_pointer(store_context, self.ptr.store_context_fuel());
            self.builder.ins().set_pinned_reg(fuel);
        }
    }

    /// The value that the host has in the register where code keeps the fuel.
    fn host_register(&mut self) -> Option<Value> {
        self.has_fuel_register()
            .then(|| self.builder.ins().get_pinned_reg(POINTER))
    }

    /// Gives the host back what [`Self::host_register`] returned.
    fn restore_host_register(&mut self, value: Option<Value>) {
        if let Some(value) = value {
            self.builder.ins().set_pinned_reg(value);
        }
    }

    /// Unwinds with the trap that was recorded.
    fn call_raise(&mut self, vmctx: Value) {
        self.call_builtin(BuiltinFunctionIndex::raise, &[vmctx]);
        self.builder.ins().trap(UNREACHED);
    }

    /// Goes on in a new block if `ok` is not zero, and otherwise ends with `failure`.
    fn unless(&mut self, ok: Value, failure: impl FnOnce(&mut Self)) {
        let normal = self.builder.create_block();
        let failed = self.builder.create_block();
        self.builder.set_cold_block(failed);
        self.builder.ins().brif(ok, normal, &[], failed, &[]);
        self.builder.seal_block(normal);
        self.builder.seal_block(failed);
        self.builder.switch_to_block(failed);
        failure(self);
        self.builder.switch_to_block(normal);
    }

    /// Calls a builtin, whose first argument is the vmctx, in its native convention.
    fn call_builtin(&mut self, builtin: BuiltinFunctionIndex, args: &[Value]) -> Option<Value> {
        if self.is_bytecode() {
            let signature = abi::builtin_native_signature(self.isa, builtin);
            return call_host(
                &mut self.builder,
                HostCall::Builtin(builtin),
                signature,
                args,
            );
        }
        let builtins = self.load_pointer(args[0], self.ptr.vmctx_builtins());
        let callee = self.load_pointer(builtins, self.ptr.builtin(builtin));
        let signature = abi::builtin_native_signature(self.isa, builtin);
        let signature = self.builder.import_signature(signature);
        let call = self.builder.ins().call_indirect(signature, callee, args);
        self.builder.inst_results(call).first().copied()
    }

    fn is_bytecode(&self) -> bool {
        is_bytecode(self.isa.triple())
    }

    /// Calls a native function of the array convention.
    fn call_array(&mut self, code: Value, args: [Value; 4]) -> Value {
        let mut signature = abi::array_signature(self.isa);
        if self.is_bytecode() {
            signature.params.insert(0, AbiParam::new(POINTER));
            let [callee, caller, values, len] = args;
            let args = [code, callee, caller, values, len];
            let result = call_host(&mut self.builder, HostCall::ArrayCall, signature, &args);
            return result.expect("the array convention has a result");
        }
        let signature = self.builder.import_signature(signature);
        let call = self.builder.ins().call_indirect(signature, code, &args);
        self.builder.inst_results(call)[0]
    }
}

/// The slots of the array convention are little-endian on every target.
fn val_raw_flags() -> MemFlagsData {
    MemFlagsData::trusted().with_endianness(Endianness::Little)
}

fn check_types(compiler: &CraneliftCompiler, ty: &WasmFuncType) -> Result<(), CompileError> {
    let mut types = ty.params().iter().chain(ty.results());
    if !compiler.has_simd() && types.any(|ty| *ty == WasmValType::V128) {
        return Err(CompileError::Unsupported(
            "v128 on a target without vector registers".to_string(),
        ));
    }
    Ok(())
}

/// The function by which the host calls wasm functions of type `ty`.
///
/// It is where traps end: it records its own frame and a place to go on, to which the runtime
/// returns by restoring stack and frame pointer. Wasm functions preserve no registers, so that
/// everything that is needed there is in the frame.
pub(crate) fn array_to_wasm(
    compiler: &CraneliftCompiler,
    ty: &WasmFuncType,
    scratch: &mut Scratch,
) -> Result<(), CompileError> {
    check_types(compiler, ty)?;
    let isa = compiler.isa();
    let mut t = Trampoline::new(isa, abi::array_signature(isa), scratch);
    let (callee, caller_vmctx, values) = (t.params[0], t.params[1], t.params[2]);
    let wasm_call = t.load_pointer(callee, t.ptr.func_ref_wasm_call());
    let vmctx = t.load_pointer(callee, t.ptr.func_ref_vmctx());
    let mut args = Values::from_slice(&[vmctx, caller_vmctx]);
    args.extend(t.load_values(ty.params(), values));
    let host_register = t.host_register();

    // An instruction may refer to the block that ends with the call, but not to the entry block.
    let calling = t.builder.create_block();
    t.builder.ins().jump(calling, &[]);
    t.builder.seal_block(calling);
    t.builder.switch_to_block(calling);
    let store_context = t.load_pointer(vmctx, t.ptr.vmctx_store_context());
    let fp = t.builder.ins().get_frame_pointer(isa.pointer_type());
    t.store_pointer(fp, store_context, t.ptr.store_context_last_wasm_entry_fp());
    let sp = t.builder.ins().get_stack_pointer(isa.pointer_type());
    t.store_pointer(sp, store_context, t.ptr.store_context_last_wasm_entry_sp());
    let handler = t
        .builder
        .ins()
        .get_exception_handler_address(isa.pointer_type(), calling, 0);
    let offset = t.ptr.store_context_last_wasm_entry_trap_handler();
    t.store_pointer(handler, store_context, offset);

    t.load_fuel(vmctx);
    let signature = t.builder.import_signature(abi::wasm_signature(ty));
    let returned = t.builder.create_block();
    for result in ty.results() {
        t.builder
            .append_block_param(returned, abi::value_type(*result));
    }
    let trapped = t.builder.create_block();
    t.builder.set_cold_block(trapped);
    let dfg = &mut t.builder.func.dfg;
    let results = (0..ty.results().len() as u32).map(BlockArg::TryCallRet);
    let on_return = BlockCall::new(returned, results, &mut dfg.value_lists);
    let on_trap = BlockCall::new(trapped, [], &mut dfg.value_lists);
    let table = dfg.exception_tables.push(ExceptionTableData::new(
        signature,
        on_return,
        [ExceptionTableItem::Default(on_trap)],
    ));
    t.builder.ins().try_call_indirect(wasm_call, &args, table);
    t.builder.seal_block(returned);
    t.builder.seal_block(trapped);

    t.builder.switch_to_block(returned);
    let results: Values = t.builder.block_params(returned).iter().copied().collect();
    t.store_values(&results, values);
    t.save_fuel(vmctx);
    t.restore_host_register(host_register);
    let yes = t.builder.ins().iconst(types::I8, 1);
    t.builder.ins().return_(&[yes]);

    // Whatever ended the call has saved the fuel.
    t.builder.switch_to_block(trapped);
    t.restore_host_register(host_register);
    let no = t.builder.ins().iconst(types::I8, 0);
    t.builder.ins().return_(&[no]);
    t.finish();
    Ok(())
}

/// The function by which wasm calls host functions of type `ty`.
pub(crate) fn wasm_to_array(
    compiler: &CraneliftCompiler,
    ty: &WasmFuncType,
    scratch: &mut Scratch,
) -> Result<(), CompileError> {
    check_types(compiler, ty)?;
    let isa = compiler.isa();
    let mut t = Trampoline::new(isa, abi::wasm_signature(ty), scratch);
    let (callee_vmctx, caller_vmctx) = (t.params[0], t.params[1]);
    let args = Values::from_slice(&t.params[2..]);

    // The values, and behind them the caller's vmctx: in a register, it would be saved twice.
    let slots = ty.array_call_slots() as u32;
    let saved_vmctx = slots * VAL_RAW_SIZE as u32;
    let size = saved_vmctx + POINTER.bytes();
    let slot = StackSlotData::new(StackSlotKind::ExplicitSlot, size, 4);
    let slot = t.builder.create_sized_stack_slot(slot);
    let values = t.builder.ins().stack_addr(isa.pointer_type(), slot, 0);
    let values = match isa.pointer_type() {
        POINTER => values,
        _ => t.builder.ins().uextend(POINTER, values),
    };
    t.store_values(&args, values);
    t.store_pointer(caller_vmctx, values, saved_vmctx);
    t.save_exit(caller_vmctx);
    t.save_fuel(caller_vmctx);

    let offset = t.ptr.host_func_context_func_ref();
    let func_ref = t.builder.ins().iadd_imm_s(callee_vmctx, i64::from(offset));
    let array_call = t.load_pointer(func_ref, t.ptr.func_ref_array_call());
    let len = t.builder.ins().iconst(POINTER, i64::from(slots));
    let ok = t.call_array(array_call, [func_ref, caller_vmctx, values, len]);
    t.unless(ok, |t| {
        let caller_vmctx = t.load_pointer(values, saved_vmctx);
        t.call_raise(caller_vmctx);
    });
    if t.has_fuel_register() {
        let caller_vmctx = t.load_pointer(values, saved_vmctx);
        t.load_fuel(caller_vmctx);
    }
    let results = t.load_values(ty.results(), values);
    t.builder.ins().return_(&results);
    t.finish();
    Ok(())
}

/// The function by which wasm calls a builtin.
pub(crate) fn wasm_to_builtin(
    compiler: &CraneliftCompiler,
    builtin: BuiltinFunctionIndex,
    scratch: &mut Scratch,
) {
    let signature = abi::builtin_wasm_signature(compiler.isa(), builtin);
    let mut t = Trampoline::new(compiler.isa(), signature, scratch);
    let vmctx = t.params[0];
    if !abi::is_pure(builtin) && builtin != BuiltinFunctionIndex::raise {
        t.save_exit(vmctx);
    }
    let uses_fuel = builtin.uses_fuel();
    if uses_fuel {
        t.save_fuel(vmctx);
    }
    let finish = |t: &mut Trampoline<'_>, ok: Value, results: &[Value]| {
        t.unless(ok, |t| {
            if !uses_fuel {
                t.save_fuel(vmctx);
            }
            t.call_raise(vmctx);
        });
        if uses_fuel {
            t.load_fuel(vmctx);
        }
        t.builder.ins().return_(results);
    };
    let args = t.params.clone();
    let result = t.call_builtin(builtin, &args);
    match (builtin.result(), result) {
        (BuiltinResult::Never, _) => {
            t.builder.ins().trap(UNREACHED);
        }
        (BuiltinResult::TrapIfFalse, Some(ok)) => {
            finish(&mut t, ok, &[]);
        }
        (BuiltinResult::TrapIfSentinel(ty), Some(value)) => {
            let is_short = ty == BuiltinType::Pointer && t.ptr.size() == 4;
            let ty: Type = abi::builtin_value_type(ty);
            // In memory -1 and such are as short as pointers are.
            let value = match is_short {
                true => {
                    let low = t.builder.ins().ireduce(types::I32, value);
                    t.builder.ins().sextend(ty, low)
                }
                false => value,
            };
            let sentinel = BuiltinFunctionIndex::TRAP_SENTINEL;
            let sentinel = t.builder.ins().iconst(ty, sentinel & mask(ty));
            let ok = t.builder.ins().icmp(IntCC::NotEqual, value, sentinel);
            finish(&mut t, ok, &[value]);
        }
        (_, result) => {
            let result: Values = result.into_iter().collect();
            t.builder.ins().return_(&result);
        }
    }
    t.finish();
}

/// The bits of an integer type.
fn mask(ty: Type) -> i64 {
    (u64::MAX >> (64 - ty.bits())) as i64
}
