//! From a function body to Cranelift's intermediate representation.
//!
//! The validator runs in step with translation, operator by operator. Each family of operators
//! is a module with a table from operators to what they build; [`FuncTranslator::operator`] asks
//! one after the other. Code that validation calls unreachable is validated but not translated.

mod atomic;
mod branch_hint;
mod bulk;
mod call;
mod control;
mod debug;
mod exception;
mod gc;
mod interrupt;
mod memory;
mod numeric;
mod reference;
mod relaxed;
mod reuse;
mod simd;
mod stack;
mod table;
mod variable;
mod wmemcheck;

use crate::abi::{self, POINTER};
use crate::compiler::{CraneliftCompiler, Scratch, external_name};
use crate::traps::{UNREACHED, trap_code};
use control::{Frame, PendingBranch};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{
    AliasRegionData, Block, ExtFuncData, ExternalName, FuncRef, GlobalValueData, InstBuilder,
    MemFlagsData, SigRef, SourceLoc, StackSlot, Type, Value, types,
};
use cranelift_codegen::isa::TargetIsa;
use cranelift_frontend::{FuncInstBuilder, FunctionBuilder, Variable};
use debug::FrameSlots;
use exception::Handler;
use interrupt::Interruption;
use reuse::Reuse;
use std::collections::HashMap;
use wasmparser::{
    FuncValidator, FuncValidatorAllocations, Operator, OperatorsReaderAllocations,
    ValidatorResources,
};
use waxwing_environ::compile::{
    BranchHint, CompileError, FunctionBodyData, ModuleTranslation, RelocTarget,
};
use waxwing_environ::{
    BuiltinFunctionIndex, DefinedFuncIndex, FuncIndex, ModuleTypeIndex, StoreContextOffsets, Trap,
    Tunables, VMOffsets, WasmValType,
};

/// What is allocated once and used for one function after another.
#[derive(Default)]
pub(crate) struct TranslateScratch {
    validator: FuncValidatorAllocations,
    operators: OperatorsReaderAllocations,
    stack: Vec<Value>,
    control: Vec<Frame>,
    handlers: Vec<Handler>,
    references: References,
    reuse: Reuse,
}

/// What a function refers to, each declared at its first use.
#[derive(Default)]
struct References {
    functions: HashMap<FuncIndex, FuncRef>,
    builtins: HashMap<BuiltinFunctionIndex, FuncRef>,
    signatures: HashMap<ModuleTypeIndex, SigRef>,
}

impl References {
    fn clear(&mut self) {
        self.functions.clear();
        self.builtins.clear();
        self.signatures.clear();
    }
}

/// Parts of memory that no two accesses of different parts share.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Region {
    /// Records of the runtime, which wasm only reads.
    Context,
    /// Globals, own and imported ones.
    Global,
    /// Linear memories.
    Heap,
    /// Elements of tables.
    Table,
    /// Where the next object of the GC heap is made.
    GcNext,
    /// Headers of objects.
    GcHeader,
    /// The collector's part of headers, where generated code changes it.
    GcBits,
    /// Lengths of arrays.
    GcLength,
    /// Elements of arrays.
    GcElement,
    /// The card table of the GC heap, which generated code only writes to.
    GcCards,
    /// Fields of structs at this offset. Whatever the types that a struct is accessed by, it has one field
    /// there, and other offsets are other fields.
    GcField(u32),
    /// The place of a reference in the frame.
    Spill(StackSlot),
}

/// Of regions that there are many of, so many are told apart.
const REGIONS_OF_A_KIND: u32 = 64;

/// The number of regions that [`Region::kind`] tells apart.
const REGION_KINDS: usize = 4;

impl Region {
    /// The number of a region that nearly all functions use.
    fn kind(self) -> Option<usize> {
        match self {
            Region::Context => Some(0),
            Region::Global => Some(1),
            Region::Heap => Some(2),
            Region::Table => Some(3),
            _ => None,
        }
    }

    fn data(self) -> AliasRegionData {
        let (user_id, description) = match self {
            Region::Context => (0, "context"),
            Region::Global => (1, "global"),
            Region::Heap => (2, "heap"),
            Region::Table => (3, "table"),
            Region::GcNext => (4, "gc next"),
            Region::GcHeader => (5, "gc header"),
            Region::GcBits => (6, "gc bits"),
            Region::GcLength => (7, "gc length"),
            Region::GcElement => (8, "gc element"),
            Region::GcCards => (9, "gc cards"),
            Region::GcField(offset) => {
                // A field that others follow in the same word is accessed at its own offset.
                let id = (offset / 4) % REGIONS_OF_A_KIND;
                (REGIONS_OF_A_KIND + id, "gc field")
            }
            Region::Spill(slot) => {
                let id = slot.as_u32() % REGIONS_OF_A_KIND;
                (2 * REGIONS_OF_A_KIND + id, "spill")
            }
        };
        AliasRegionData {
            user_id,
            description: description.into(),
        }
    }
}

pub(crate) struct FuncTranslator<'a, 'data> {
    pub(crate) builder: FunctionBuilder<'a>,
    pub(crate) compiler: &'a CraneliftCompiler,
    pub(crate) translation: &'a ModuleTranslation<'data>,
    pub(crate) offsets: VMOffsets,
    pub(crate) vmctx: Value,
    validator: FuncValidator<ValidatorResources>,
    references: &'a mut References,
    reuse: &'a mut Reuse,
    /// The block where the function begins.
    entry: Block,
    stack: Vec<Value>,
    control: Vec<Frame>,
    /// The handlers of exceptions that the next operator is in reach of, the innermost last.
    handlers: Vec<Handler>,
    /// How many handlers are in the tables of calls.
    table_items: usize,
    /// The branch that ends the current block.
    pending_branch: Option<PendingBranch>,
    /// Whether the next operator can be reached.
    reachable: bool,
    /// How many blocks have begun in the code that cannot be reached.
    skipped_blocks: usize,
    /// What the module says of the branches that are still to come.
    branch_hints: &'a [BranchHint],
    /// Where the function's body begins in the binary.
    body_start: u32,
    /// The types of the operands from the top, before the operator, of operators that want to know.
    operand_types: [Option<wasmparser::ValType>; gc::KNOWN_OPERANDS],
    /// Whether GC references have to be in stack maps.
    tracks: bool,
    interruption: Interruption,
    /// Where the frame keeps what debuggers ask for, if they may.
    slots: Option<FrameSlots>,
    /// What is checked of accesses to memory.
    heap_checks: wmemcheck::HeapChecks,
}

/// Validates `body` and builds the function in `scratch`. With `is_copy` it is to be inlined in others, which look whether there is
/// stack enough.
pub(crate) fn translate(
    compiler: &CraneliftCompiler,
    translation: &ModuleTranslation<'_>,
    index: DefinedFuncIndex,
    body: FunctionBodyData<'_>,
    is_copy: bool,
    scratch: &mut Scratch,
) -> Result<(), CompileError> {
    let space = &mut scratch.translate;
    space.references.clear();
    space.reuse.clear();
    let func_index = translation.module.func_index(index);
    let ty = translation
        .types
        .func(translation.functions[func_index].signature);
    let func = &mut scratch.codegen.func;
    func.signature = abi::wasm_signature(ty);
    let FunctionBodyData { body, validator } = body;
    let validator = validator.into_validator(std::mem::take(&mut space.validator));
    let mut builder = FunctionBuilder::new(func, &mut scratch.builder);
    let entry = builder.create_block();
    builder.append_block_params_for_function_params(entry);
    builder.switch_to_block(entry);
    builder.seal_block(entry);
    let vmctx = builder.block_params(entry)[0];

    let mut t = FuncTranslator {
        builder,
        compiler,
        translation,
        offsets: VMOffsets::new(abi::pointer_size(compiler.isa()), &translation.module),
        vmctx,
        validator,
        references: &mut space.references,
        reuse: &mut space.reuse,
        entry,
        stack: std::mem::take(&mut space.stack),
        control: std::mem::take(&mut space.control),
        handlers: std::mem::take(&mut space.handlers),
        table_items: 0,
        pending_branch: None,
        reachable: true,
        skipped_blocks: 0,
        branch_hints: translation.branch_hints.of(index),
        body_start: u32::try_from(body.range().start).unwrap_or(u32::MAX),
        operand_types: [None; gc::KNOWN_OPERANDS],
        tracks: gc::needs_stack_maps(translation.tunables.collector),
        interruption: Interruption::default(),
        slots: None,
        heap_checks: wmemcheck::HeapChecks::new(translation, func_index),
    };
    if t.tracks {
        t.builder
            .make_stack_map_alias_region(Box::new(|regions, _, slot, _| {
                Some(regions.insert(Region::Spill(slot).data()))
            }));
    }
    t.stack.clear();
    t.control.clear();
    t.handlers.clear();
    t.check_simd(ty.params().iter().chain(ty.results()))?;
    t.builder.set_srcloc(SourceLoc::new(t.body_start));
    if translation.is_debugged() {
        t.keep_vmctx();
    }
    for (i, param) in ty.params().iter().enumerate() {
        let var = t.declare_local(*param);
        let value = t.builder.block_params(entry)[2 + i];
        t.builder.def_var(var, value);
        t.keep_local(i as u32, value);
    }
    if !is_copy {
        t.check_stack();
    }
    t.declare_locals(&body)?;
    // Variables from here on are no locals.
    t.check_at_entry(index, &body);
    t.tell_of_entry(entry);
    t.push_function_frame(ty);

    let reader = body.get_binary_reader_for_operators()?;
    let allocations = std::mem::take(&mut space.operators);
    let mut reader = wasmparser::OperatorsReader::new_with_allocs(reader, allocations);
    while !reader.eof() {
        let (op, offset) = reader.read_with_offset()?;
        t.note_operand_types(&op);
        t.validator.op(offset, &op)?;
        let location = u32::try_from(offset).unwrap_or(u32::MAX);
        t.builder.set_srcloc(SourceLoc::new(location));
        t.operator(&op, offset)?;
    }
    reader.finish()?;

    space.operators = reader.into_allocations();
    space.validator = t.validator.into_allocations();
    space.stack = t.stack;
    space.control = t.control;
    space.handlers = t.handlers;
    t.builder.finalize(compiler.isa().frontend_config());
    Ok(())
}

impl<'a, 'data> FuncTranslator<'a, 'data> {
    fn operator(&mut self, op: &Operator<'_>, offset: u64) -> Result<(), CompileError> {
        if !self.reachable {
            self.unreachable_operator(op);
            return Ok(());
        }
        if self.pending_branch.is_some() && !Self::takes_pending_branch(op) {
            self.flush_branch();
        }
        self.count(op);
        let operands = self.operands_to_check(op);
        let handled = self.variable_operator(op)?
            || self.control_operator(op)?
            || self.numeric_operator(op)
            || self.memory_operator(op)?
            || self.call_operator(op)?
            || self.exception_operator(op)?
            || self.reference_operator(op)?
            || self.table_operator(op)?
            || self.gc_operator(op)?
            || self.simd_operator(op)?
            || self.relaxed_operator(op)?
            || self.atomic_operator(op)?;
        if handled {
            self.check_operands(operands);
            return Ok(());
        }
        // `Debug` of an operator is its name, then its immediates.
        let text = format!("{op:?}");
        let name = text.split([' ', '(']).next().unwrap_or_default();
        Err(CompileError::Unsupported(format!(
            "the operator {name} (at offset {offset:#x})"
        )))
    }

    pub(crate) fn ins<'short>(&'short mut self) -> FuncInstBuilder<'short, 'a> {
        self.builder.ins()
    }

    pub(crate) fn isa(&self) -> &'a dyn TargetIsa {
        self.compiler.isa()
    }

    pub(crate) fn tunables(&self) -> &'a Tunables {
        &self.translation.tunables
    }

    fn check_simd<'t>(
        &self,
        types: impl IntoIterator<Item = &'t WasmValType>,
    ) -> Result<(), CompileError> {
        if !self.compiler.has_simd() && types.into_iter().any(|ty| *ty == WasmValType::V128) {
            return Err(CompileError::Unsupported(format!(
                "v128 on {} without vector registers",
                self.isa().triple()
            )));
        }
        Ok(())
    }

    /// The type of a value in its representation at the boundaries of blocks.
    fn clif_type(&self, ty: wasmparser::ValType) -> Result<Type, CompileError> {
        Ok(match ty {
            wasmparser::ValType::I32 => types::I32,
            wasmparser::ValType::I64 => types::I64,
            wasmparser::ValType::F32 => types::F32,
            wasmparser::ValType::F64 => types::F64,
            wasmparser::ValType::V128 => {
                self.check_simd(&[WasmValType::V128])?;
                abi::V128
            }
            wasmparser::ValType::Ref(_) => {
                let converter = &self.translation.type_converter;
                abi::value_type(converter.val_type(ty, &self.translation.types)?)
            }
        })
    }

    fn declare_locals(&mut self, body: &wasmparser::FunctionBody<'_>) -> Result<(), CompileError> {
        let mut locals = body.get_locals_reader()?;
        for _ in 0..locals.get_count() {
            let offset = locals.original_position();
            let (count, ty) = locals.read()?;
            // The validator limits the number of locals.
            self.validator.define_locals(offset, count, ty)?;
            let converter = &self.translation.type_converter;
            let ty = converter.val_type(ty, &self.translation.types)?;
            self.check_simd(&[ty])?;
            if count > 0 {
                let zero = self.zero(abi::value_type(ty));
                for _ in 0..count {
                    let var = self.declare_local(ty);
                    self.builder.def_var(var, zero);
                    self.keep_local(var.as_u32(), zero);
                }
            }
        }
        Ok(())
    }

    fn declare_local(&mut self, ty: WasmValType) -> Variable {
        let var = self.builder.declare_var(abi::value_type(ty));
        if self.is_tracked(ty) {
            self.builder.declare_var_needs_stack_map(var);
        }
        self.declare_slot(ty);
        var
    }

    /// Makes the function trap when there is too little stack left for it.
    fn check_stack(&mut self) {
        // Interpreters do, where frames are made.
        if self.compiler.is_bytecode() {
            return;
        }
        let offset = self.offsets.ptr.store_context_stack_limit();
        if self.tunables().signals_based_traps {
            let flags = MemFlagsData::trusted().with_readonly();
            let flags = self
                .builder
                .func
                .dfg
                .mem_flags
                .insert(flags)
                .expect("a new function has no other flags");
            let vmctx = self.builder.create_global_value(GlobalValueData::VMContext);
            let store_context = self.builder.create_global_value(GlobalValueData::Load {
                base: vmctx,
                offset: (self.offsets.ptr.vmctx_store_context() as i32).into(),
                global_type: POINTER,
                flags,
            });
            let limit = self.builder.create_global_value(GlobalValueData::Load {
                base: store_context,
                offset: (offset as i32).into(),
                global_type: POINTER,
                flags,
            });
            self.builder.func.stack_limit = Some(limit);
        } else {
            let store_context = self.load_context_word(self.offsets.ptr.vmctx_store_context());
            // The limit may be changed by other threads; it is read anew at each entry.
            let flags = self.flags(Region::Context);
            let limit = self.load_word(flags, store_context, offset as i32);
            let sp = self.ins().get_stack_pointer(POINTER);
            let overflow = self.ins().icmp(IntCC::UnsignedLessThan, sp, limit);
            self.trapnz(overflow, Trap::StackOverflow);
        }
    }

    /// Flags of aligned accesses in `region` that never trap.
    pub(crate) fn flags(&mut self, region: Region) -> MemFlagsData {
        let region = self.region(region);
        MemFlagsData::trusted().with_alias_region(Some(region))
    }

    /// Loads a pointer, or another word of its size.
    pub(crate) fn load_word(&mut self, flags: MemFlagsData, base: Value, offset: i32) -> Value {
        match self.offsets.ptr.size() {
            4 => self.ins().uload32(flags, base, offset),
            _ => self.ins().load(POINTER, flags, base, offset),
        }
    }

    /// Stores a pointer.
    pub(crate) fn store_word(
        &mut self,
        flags: MemFlagsData,
        value: Value,
        base: Value,
        offset: i32,
    ) {
        match self.offsets.ptr.size() {
            4 => self.ins().istore32(flags, value, base, offset),
            _ => self.ins().store(flags, value, base, offset),
        };
    }

    /// Loads a pointer at `offset` in `base` that is the same as long as the instance lives.
    pub(crate) fn load_constant_pointer(&mut self, base: Value, offset: u32) -> Value {
        let flags = self.flags(Region::Context).with_readonly().with_can_move();
        self.load_word(flags, base, offset as i32)
    }

    /// Loads a word of the vmctx that is the same as long as the instance lives.
    pub(crate) fn load_context_word(&mut self, offset: u32) -> Value {
        let flags = self.flags(Region::Context).with_readonly().with_can_move();
        self.load_pointer_once(flags, self.vmctx, offset as i32)
    }

    /// Whether instructions trap by themselves: hardware faults become traps, or an interpreter sees to it. What
    /// guard pages catch takes hardware.
    pub(crate) fn instructions_trap(&self) -> bool {
        self.tunables().signals_based_traps || self.compiler.is_bytecode()
    }

    /// Traps.
    fn trap(&mut self, trap: Trap) {
        if self.instructions_trap() {
            self.ins().trap(trap_code(trap));
        } else {
            self.call_trap(trap);
        }
    }

    fn call_trap(&mut self, trap: Trap) {
        let code = self.int_constant(types::I32, i64::from(trap as u8));
        self.call_builtin(BuiltinFunctionIndex::trap, &[code]);
        self.ins().trap(UNREACHED);
    }

    /// Traps if `condition` is not zero.
    pub(crate) fn trapnz(&mut self, condition: Value, trap: Trap) {
        if self.instructions_trap() {
            self.ins().trapnz(condition, trap_code(trap));
        } else {
            self.explicit_trap(condition, trap, true);
        }
    }

    /// Traps if `condition` is zero.
    pub(crate) fn trapz(&mut self, condition: Value, trap: Trap) {
        if self.instructions_trap() {
            self.ins().trapz(condition, trap_code(trap));
        } else {
            self.explicit_trap(condition, trap, false);
        }
    }

    /// A trap as a branch and a call; each has its own call, for the address that it is at.
    fn explicit_trap(&mut self, condition: Value, trap: Trap, when: bool) {
        let traps = self.block_as_cold(true);
        let next = self.block_as_cold(false);
        let (then, otherwise) = if when { (traps, next) } else { (next, traps) };
        self.ins().brif(condition, then, &[], otherwise, &[]);
        self.builder.seal_block(traps);
        self.builder.seal_block(next);
        self.builder.switch_to_block(traps);
        self.call_trap(trap);
        self.builder.switch_to_block(next);
    }

    /// Calls a builtin with the vmctx and `args`.
    pub(crate) fn call_builtin(
        &mut self,
        builtin: BuiltinFunctionIndex,
        args: &[Value],
    ) -> Option<Value> {
        let callee = self.builtin(builtin);
        let mut all = smallvec::SmallVec::<[Value; 8]>::new();
        all.push(self.vmctx);
        all.extend_from_slice(args);
        let call = self.ins().call(callee, &all);
        self.builder.inst_results(call).first().copied()
    }

    /// The trampoline to a builtin.
    fn builtin(&mut self, builtin: BuiltinFunctionIndex) -> FuncRef {
        match self.references.builtins.get(&builtin) {
            Some(callee) => *callee,
            None => {
                let signature = abi::builtin_wasm_signature(self.isa(), builtin);
                let signature = self.builder.import_signature(signature);
                let callee = self.import(RelocTarget::Builtin(builtin), signature);
                self.references.builtins.insert(builtin, callee);
                callee
            }
        }
    }

    /// Like [`Self::call_builtin`], of a builtin that has a result.
    pub(crate) fn call_builtin_value(
        &mut self,
        builtin: BuiltinFunctionIndex,
        args: &[Value],
    ) -> Value {
        self.call_builtin(builtin, args)
            .expect("the builtin has a result")
    }

    fn import(&mut self, target: RelocTarget, signature: SigRef) -> FuncRef {
        let name = self
            .builder
            .func
            .declare_imported_user_function(external_name(target));
        self.builder.import_function(ExtFuncData {
            name: ExternalName::user(name),
            signature,
            colocated: true,
            patchable: false,
        })
    }

    fn signature(&mut self, ty: ModuleTypeIndex) -> SigRef {
        if let Some(signature) = self.references.signatures.get(&ty) {
            return *signature;
        }
        let signature = abi::wasm_signature(self.translation.types.func(ty));
        let signature = self.builder.import_signature(signature);
        self.references.signatures.insert(ty, signature);
        signature
    }

    /// The zero of a type.
    fn zero(&mut self, ty: Type) -> Value {
        match ty {
            types::F32 => self.ins().f32const(0.0),
            types::F64 => self.ins().f64const(0.0),
            ty if ty.is_vector() => {
                let zeros = self.builder.func.dfg.constants.insert(vec![0; 16].into());
                self.ins().vconst(ty, zeros)
            }
            ty => self.int_constant(ty, 0),
        }
    }
}
