//! The compiler: contexts, code generation and what becomes of its results.

use crate::abi;
use crate::inline::{Locations, inline_calls};
use crate::late::{self, Heap, LateScratch};
use crate::narrow::narrow_addresses;
use crate::placement;
use crate::text::{TextBuilder, relocation_kind};
use crate::trampolines;
use crate::translate::{self, TranslateScratch};
use crate::traps::trap_of;
use crate::{debug, flags, unwind};
use cranelift_codegen::binemit::{CodeOffset, Reloc};
#[cfg(feature = "incremental-cache")]
use cranelift_codegen::incremental_cache;
use cranelift_codegen::ir::{
    ExtFuncData, ExternalName, FuncRef, Function, InstBuilder, Signature, UserExternalName,
    UserFuncName, UserStackMap, Value,
};
use cranelift_codegen::isa::{OwnedTargetIsa, TargetIsa};
use cranelift_codegen::settings::OptLevel;
use cranelift_codegen::{
    CodegenError, CodegenResult, CompiledCode, Context, ExceptionContextLoc, FinalizedMachCallSite,
    FinalizedMachExceptionHandler, FinalizedMachReloc, FinalizedRelocTarget, MachSrcLoc,
};
use cranelift_control::ControlPlane;
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use std::any::Any;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};
use target_lexicon::{Architecture, Triple};
use waxwing_environ::address_map::NO_WASM_OFFSET;
use waxwing_environ::artifact::FlagValue;
use waxwing_environ::call_sites::{HandlerTable, StackMap};
use waxwing_environ::compile::{
    CompileError, CompiledFunction, Compiler, DebugSection, FunctionBodyData, ModuleTranslation,
    RelocTarget, Relocation,
};
use waxwing_environ::{
    BuiltinFunctionIndex, DefinedFuncIndex, EntityRef, HostCall, TagIndex, Trap, Tunables,
    VMOffsets, WasmFuncType, is_bytecode,
};

/// The namespace of references to functions of the module, by `DefinedFuncIndex`.
const NAMESPACE_FUNCTION: u32 = 0;
/// The namespace of references to trampolines to builtins, by `BuiltinFunctionIndex`.
const NAMESPACE_BUILTIN: u32 = 1;

/// The namespace of calls of the host by bytecode, by the numbers of `HostCall`.
const NAMESPACE_HOST: u32 = 2;

/// Where in an instruction that calls the host its number is.
const HOST_CALL_ID: usize = 3;

/// Calls the host from bytecode.
pub(crate) fn call_host(
    builder: &mut FunctionBuilder<'_>,
    call: HostCall,
    signature: Signature,
    args: &[Value],
) -> Option<Value> {
    let name = UserExternalName::new(NAMESPACE_HOST, call.id().into());
    let name = builder.func.declare_imported_user_function(name);
    let signature = builder.import_signature(signature);
    let callee = builder.import_function(ExtFuncData {
        name: ExternalName::user(name),
        signature,
        colocated: false,
        patchable: false,
    });
    let call = builder.ins().call(callee, args);
    builder.inst_results(call).first().copied()
}

/// The name of what a reference in code refers to.
pub(crate) fn external_name(target: RelocTarget) -> UserExternalName {
    match target {
        RelocTarget::Function(index) => {
            UserExternalName::new(NAMESPACE_FUNCTION, index.index() as u32)
        }
        RelocTarget::Builtin(builtin) => UserExternalName::new(NAMESPACE_BUILTIN, builtin.index()),
    }
}

fn reloc_target(name: &UserExternalName) -> Option<RelocTarget> {
    match name.namespace {
        NAMESPACE_FUNCTION => Some(RelocTarget::Function(DefinedFuncIndex::from_u32(
            name.index,
        ))),
        NAMESPACE_BUILTIN => BuiltinFunctionIndex::from_index(name.index).map(RelocTarget::Builtin),
        _ => None,
    }
}

/// The function of the module that a reference in code refers to, if it does to one.
pub(crate) fn called_function(func: &Function, callee: FuncRef) -> Option<DefinedFuncIndex> {
    let ExternalName::User(name) = func.dfg.ext_funcs[callee].name else {
        return None;
    };
    match reloc_target(&func.params.user_named_funcs()[name])? {
        RelocTarget::Function(index) => Some(index),
        RelocTarget::Builtin(_) => None,
    }
}

/// Everything that is allocated once and used for one function after another.
pub(crate) struct Scratch {
    pub(crate) codegen: Context,
    pub(crate) builder: FunctionBuilderContext,
    pub(crate) translate: TranslateScratch,
    late: LateScratch,
    registers: regalloc2::Ctx,
    pub(crate) locations: Locations,
}

impl Scratch {
    fn new() -> Box<Self> {
        Box::new(Scratch {
            codegen: Context::new(),
            builder: FunctionBuilderContext::new(),
            translate: TranslateScratch::default(),
            late: LateScratch::default(),
            registers: regalloc2::Ctx::default(),
            locations: Locations::default(),
        })
    }
}

/// An implementation of the contract's [`Compiler`] over Cranelift.
pub(crate) struct CraneliftCompiler {
    isa: OwnedTargetIsa,
    tunables: Tunables,
    emit_clif: bool,
    has_simd: bool,
    optimizes: bool,
    vectorizes: bool,
    #[cfg(feature = "incremental-cache")]
    cache: Option<std::sync::Arc<dyn waxwing_environ::compile::CacheStore>>,
    pool: Mutex<Vec<Box<Scratch>>>,
}

impl CraneliftCompiler {
    pub(crate) fn new(isa: OwnedTargetIsa, tunables: Tunables, emit_clif: bool) -> Self {
        let has_simd = match isa.triple().architecture {
            Architecture::Riscv64(_) => isa
                .isa_flags()
                .iter()
                .any(|flag| flag.name == "has_v" && flag.as_bool() == Some(true)),
            _ => true,
        };
        let optimizes = isa.flags().opt_level() != OptLevel::None;
        let vectorizes = vectorizes(&*isa);
        CraneliftCompiler {
            isa,
            tunables,
            emit_clif,
            has_simd,
            optimizes,
            vectorizes,
            #[cfg(feature = "incremental-cache")]
            cache: None,
            pool: Mutex::default(),
        }
    }

    /// Keeps compiled functions in `cache`, and takes from there what was compiled before.
    #[cfg(feature = "incremental-cache")]
    pub(crate) fn with_cache(
        mut self,
        cache: Option<std::sync::Arc<dyn waxwing_environ::compile::CacheStore>>,
    ) -> Self {
        self.cache = cache;
        self
    }

    /// Generates the code of the function in `scratch`.
    fn compile(&self, scratch: &mut Scratch) -> Result<CompiledCode, CompileError> {
        let generate = |scratch: &mut Scratch| -> CodegenResult<_> {
            let mut control = ControlPlane::default();
            let context = &mut scratch.codegen;
            context.optimize(self.isa(), &mut control)?;
            if self.optimizes && !self.is_bytecode() {
                let is_x64 = self.isa.triple().architecture == Architecture::X86_64;
                if late::improve(&mut context.func, is_x64, &mut scratch.late) {
                    context.compute_cfg();
                    context.compute_domtree();
                }
                context.verify_if(self.isa())?;
            }
            let registers = &mut scratch.registers;
            let (func, domtree) = (&context.func, &context.domtree);
            self.isa
                .compile_function(func, domtree, registers, false, &mut control)
        };
        #[cfg(feature = "incremental-cache")]
        if let Some(cache) = &self.cache {
            let func = &scratch.codegen.func;
            let key = incremental_cache::compute_cache_key(self.isa(), func);
            // What is done late is of this version, and relies on what is known of memories.
            let key = format!(
                "{key} {} {:?}",
                env!("CARGO_PKG_VERSION"),
                scratch.late.heaps
            );
            if let Some(found) = cache.get(key.as_bytes())
                && let Ok(code) = incremental_cache::try_finish_recompile(func, &found)
            {
                return Ok(code);
            }
            let stencil = generate(scratch).map_err(|error| codegen_error(&error))?;
            let (stencil, bytes) = incremental_cache::serialize_compiled(stencil);
            if let Ok(bytes) = bytes {
                // Whether it was stored only matters for the time that the next compilation takes.
                cache.insert(key.as_bytes(), bytes);
            }
            return Ok(stencil.apply_params(&scratch.codegen.func.params));
        }
        let stencil = generate(scratch).map_err(|error| codegen_error(&error))?;
        Ok(stencil.apply_params(&scratch.codegen.func.params))
    }

    pub(crate) fn isa(&self) -> &dyn TargetIsa {
        &*self.isa
    }

    /// Whether the target has vector registers.
    pub(crate) fn has_simd(&self) -> bool {
        self.has_simd
    }

    /// Whether code is optimised.
    pub(crate) fn optimizes(&self) -> bool {
        self.optimizes
    }

    /// Whether the code is bytecode, which an interpreter executes.
    pub(crate) fn is_bytecode(&self) -> bool {
        is_bytecode(self.isa.triple())
    }

    /// Whether exchanging a value in memory is faster than storing it and then waiting for the
    /// store to be seen, which makes it a sequentially consistent store.
    pub(crate) fn has_fast_exchange(&self) -> bool {
        self.isa.triple().architecture == Architecture::X86_64
    }

    /// Builds a function with `build` in a scratch space of the pool and generates its code.
    /// `build` returns where the function's body is in the wasm binary, if it is.
    fn compile_with(
        &self,
        tunables: &Tunables,
        name: UserFuncName,
        build: impl FnOnce(&mut Scratch) -> Result<Option<Range<u64>>, CompileError>,
    ) -> Result<CompiledFunction, CompileError> {
        let mut scratch = self.take();
        scratch.codegen.func.name = name;
        let body = build(&mut scratch)?;
        let compiled = self.generate(&mut scratch, tunables, body)?;
        self.give_back(scratch);
        Ok(compiled)
    }

    /// A scratch space of the pool.
    pub(crate) fn take(&self) -> Box<Scratch> {
        let pooled = self
            .pool
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        let mut scratch = pooled.unwrap_or_else(Scratch::new);
        scratch.codegen.clear();
        // Cranelift leaves these where they are. They would be part of the next function, and of its key in a store
        // of functions.
        scratch.codegen.func.dfg.exception_tables.clear();
        scratch.locations.clear(0, 0);
        scratch.late.heaps.clear();
        scratch
    }

    /// Gives a scratch space back to the pool. One in which building or code generation failed may be in any state, and
    /// does not go back.
    pub(crate) fn give_back(&self, scratch: Box<Scratch>) {
        let mut pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        pool.push(scratch);
    }

    fn generate(
        &self,
        scratch: &mut Scratch,
        tunables: &Tunables,
        body: Option<Range<u64>>,
    ) -> Result<CompiledFunction, CompileError> {
        if self.isa.pointer_type() != abi::POINTER {
            narrow_addresses(&mut scratch.codegen.func, self.isa.pointer_type());
        }
        let clif = self
            .emit_clif
            .then(|| scratch.codegen.func.display().to_string());
        let code = self.compile(scratch)?;
        let buffer = &code.buffer;
        let alignment = self.isa.function_alignment();
        let displacement = match self.optimizes && !self.is_bytecode() {
            true => placement::displacement(&code),
            false => None,
        };
        let names = scratch.codegen.func.params.user_named_funcs();
        let mut bytes = buffer.data().to_vec();
        let is_host_call =
            |reloc: &&FinalizedMachReloc| reloc.kind == Reloc::PulleyCallIndirectHost;
        for reloc in buffer.relocs().iter().filter(is_host_call) {
            let id = match &reloc.target {
                FinalizedRelocTarget::ExternalName(ExternalName::User(name)) => names.get(*name),
                _ => None,
            };
            let id = id.filter(|name| name.namespace == NAMESPACE_HOST);
            let place = bytes.get_mut(reloc.offset as usize + HOST_CALL_ID);
            let (Some(id), Some(place)) = (id, place) else {
                return Err(CompileError::Codegen(format!(
                    "generated code calls {:?} of the host",
                    reloc.target
                )));
            };
            *place = id.index as u8;
        }
        let relocations = buffer
            .relocs()
            .iter()
            .filter(|reloc| !is_host_call(reloc))
            .map(|reloc| relocation(reloc, |name| names.get(name).and_then(reloc_target)))
            .collect::<Result<_, _>>()?;
        let mut traps: Vec<(u32, Trap)> = buffer
            .traps()
            .iter()
            .filter_map(|trap| Some((trap.offset, trap_of(trap.code)?)))
            .collect();
        traps.sort_by_key(|(offset, _)| *offset);
        traps.dedup_by_key(|(offset, _)| *offset);
        let start = body
            .as_ref()
            .and_then(|body| u32::try_from(body.start).ok());
        let start = start.unwrap_or(NO_WASM_OFFSET);
        let mut address_map = address_map(start, buffer.get_srclocs_sorted(), buffer.total_size());
        let inlined = scratch.locations.resolve(&mut address_map);
        if !tunables.generate_address_map && !tunables.debug_info {
            address_map.clear();
        }
        let stack_maps = buffer.user_stack_maps().iter().map(stack_map).collect();
        let handlers = buffer
            .call_sites()
            .filter_map(handler_table)
            .collect::<Result<_, _>>()?;
        let unwind = if self.isa.flags().unwind_info() {
            let info = code
                .create_unwind_info(self.isa())
                .map_err(|error| codegen_error(&error))?;
            info.map(|info| Box::new(info) as Box<dyn Any + Send + Sync>)
        } else {
            None
        };
        Ok(CompiledFunction {
            code: bytes,
            alignment: match displacement {
                Some(_) => placement::LINE,
                None => buffer.alignment.max(alignment.preferred),
            },
            displacement: displacement.unwrap_or(0),
            relocations,
            traps,
            stack_maps,
            handlers,
            inlined,
            unwind,
            variables: debug::frame_variables(self.isa(), buffer, start, &address_map),
            address_map,
            body,
            clif,
        })
    }
}

fn relocation(
    reloc: &FinalizedMachReloc,
    target: impl Fn(cranelift_codegen::ir::UserExternalNameRef) -> Option<RelocTarget>,
) -> Result<Relocation, CompileError> {
    let unknown = |what: &dyn std::fmt::Debug| {
        CompileError::Codegen(format!("generated code refers to {what:?}"))
    };
    let target = match &reloc.target {
        FinalizedRelocTarget::ExternalName(ExternalName::User(name)) => target(*name),
        FinalizedRelocTarget::ExternalName(ExternalName::LibCall(libcall)) => {
            return Err(CompileError::Unsupported(format!(
                "the processor lacks a feature that the function needs ({libcall}): enable more \
                 features of the target"
            )));
        }
        _ => None,
    };
    Ok(Relocation {
        offset: reloc.offset,
        kind: relocation_kind(reloc.kind).ok_or_else(|| unknown(&reloc.kind))?,
        addend: reloc.addend,
        target: target.ok_or_else(|| unknown(&reloc.target))?,
    })
}

/// The references that are alive across a call.
fn stack_map((return_offset, frame_size, map): &(CodeOffset, u32, UserStackMap)) -> StackMap {
    StackMap {
        return_offset: *return_offset,
        frame_size: *frame_size,
        slots: map.entries().map(|(_, offset)| offset).collect(),
    }
}

/// The handlers of exceptions around a call, if there are any. Calls that handle anything but exceptions of
/// WebAssembly, as entry trampolines do, give no `vmctx` to understand tags by.
fn handler_table(site: FinalizedMachCallSite<'_>) -> Option<Result<HandlerTable, CompileError>> {
    let mut vmctx = None;
    let mut handlers = Vec::new();
    for handler in site.exception_handlers {
        match *handler {
            FinalizedMachExceptionHandler::Context(location) => vmctx = Some(location),
            FinalizedMachExceptionHandler::Tag(tag, code) => {
                handlers.push((Some(TagIndex::from_u32(tag.as_u32())), code));
            }
            FinalizedMachExceptionHandler::Default(code) => handlers.push((None, code)),
        }
    }
    let vmctx = vmctx?;
    // Callees of the `tail` convention preserve no registers.
    let (Some(frame_size), ExceptionContextLoc::SPOffset(vmctx_slot)) = (site.frame_offset, vmctx)
    else {
        return Some(Err(CompileError::Codegen(format!(
            "a call that handles exceptions keeps its context in {vmctx:?} of a frame of {:?} bytes",
            site.frame_offset
        ))));
    };
    Some(Ok(HandlerTable {
        return_offset: site.ret_addr,
        frame_size,
        vmctx_slot,
        handlers,
    }))
}

fn codegen_error(error: &CodegenError) -> CompileError {
    match error {
        CodegenError::ImplLimitExceeded => CompileError::ImplementationLimit(
            "the function is too large for the code generator".to_string(),
        ),
        CodegenError::CodeTooLarge => CompileError::ImplementationLimit(
            "the machine code of the function is too large".to_string(),
        ),
        CodegenError::Unsupported(what) => CompileError::Unsupported(what.clone()),
        CodegenError::Verifier(errors) => CompileError::Codegen(errors.to_string()),
        other => CompileError::Codegen(other.to_string()),
    }
}

/// The address map of a function of `len` bytes: its first instructions, and everything that
/// belongs to no wasm instruction at its start, belong to `start`.
fn address_map(
    start: u32,
    locations: &[MachSrcLoc<cranelift_codegen::Final>],
    len: CodeOffset,
) -> Vec<(u32, u32)> {
    let mut map: Vec<(u32, u32)> = Vec::with_capacity(locations.len() + 2);
    let mut push = |code: CodeOffset, wasm: u32| match map.last_mut() {
        Some((last, previous)) if *last == code => *previous = wasm,
        Some((_, previous)) if *previous == wasm => {}
        _ => map.push((code, wasm)),
    };
    push(0, start);
    let mut end = None;
    for location in locations {
        if let Some(end) = end
            && end < location.start
        {
            push(end, NO_WASM_OFFSET);
        }
        let wasm = match location.loc.is_default() {
            true if location.start == 0 => start,
            true => NO_WASM_OFFSET,
            false => location.loc.bits(),
        };
        push(location.start, wasm);
        end = Some(location.end);
    }
    if let Some(end) = end
        && end < len
    {
        push(end, NO_WASM_OFFSET);
    }
    map
}

/// Whether loops are vectorized for a target: if it has all instructions that vectors of 128 bits need, and code is to be fast
/// rather than small.
fn vectorizes(isa: &dyn TargetIsa) -> bool {
    let has = |name| {
        let mut flags = isa.isa_flags().into_iter();
        flags.any(|flag| flag.name == name && flag.as_bool() == Some(true))
    };
    let has_vectors = match isa.triple().architecture {
        // Those before AVX need aligned operands, which Cranelift does not always see to.
        Architecture::X86_64 => ["has_ssse3", "has_sse41", "has_avx"].into_iter().all(has),
        Architecture::Aarch64(_) => true,
        _ => false,
    };
    has_vectors && isa.flags().opt_level() == OptLevel::Speed
}

/// Finds the memories of which loops are vectorized.
fn find_heaps(isa: &dyn TargetIsa, translation: &ModuleTranslation<'_>, heaps: &mut Vec<Heap>) {
    let (module, tunables) = (&translation.module, &translation.tunables);
    let offsets = VMOffsets::new(abi::pointer_size(isa), module);
    for (index, memory) in module.memories.iter() {
        let Some(defined) = module.defined_memory_index(index) else {
            continue;
        };
        if memory.shared
            || !memory.never_moves(tunables)
            || !memory.can_elide_bounds_check(tunables, 0)
        {
            continue;
        }
        let definition = offsets.memory_definition(defined);
        let word = |offset: u32| i32::try_from(definition + offset);
        if let (Ok(base), Ok(length)) = (
            word(offsets.ptr.memory_definition_base()),
            word(offsets.ptr.memory_definition_current_length()),
        ) {
            heaps.push(Heap {
                base,
                length,
                reach: tunables
                    .memory_reservation
                    .saturating_add(tunables.memory_guard_size)
                    - (1 << 32),
            });
        }
    }
}

impl Compiler for CraneliftCompiler {
    fn compile_function(
        &self,
        translation: &ModuleTranslation<'_>,
        index: DefinedFuncIndex,
        body: FunctionBodyData<'_>,
    ) -> Result<CompiledFunction, CompileError> {
        let name = UserFuncName::User(external_name(RelocTarget::Function(index)));
        self.compile_with(&translation.tunables, name, |scratch| {
            let range = body.body.range();
            translate::translate(self, translation, index, body, false, scratch)?;
            inline_calls(self, translation, index, false, scratch)?;
            if self.vectorizes {
                find_heaps(self.isa(), translation, &mut scratch.late.heaps);
            }
            Ok(Some(range))
        })
    }

    fn compile_array_to_wasm(&self, ty: &WasmFuncType) -> Result<CompiledFunction, CompileError> {
        self.compile_with(&self.tunables, UserFuncName::default(), |scratch| {
            trampolines::array_to_wasm(self, ty, scratch)?;
            Ok(None)
        })
    }

    fn compile_wasm_to_array(&self, ty: &WasmFuncType) -> Result<CompiledFunction, CompileError> {
        self.compile_with(&self.tunables, UserFuncName::default(), |scratch| {
            trampolines::wasm_to_array(self, ty, scratch)?;
            Ok(None)
        })
    }

    fn compile_wasm_to_builtin(
        &self,
        builtin: BuiltinFunctionIndex,
    ) -> Result<CompiledFunction, CompileError> {
        self.compile_with(&self.tunables, UserFuncName::default(), |scratch| {
            trampolines::wasm_to_builtin(self, builtin, scratch);
            Ok(None)
        })
    }

    fn free_scratch_space(&self) {
        let mut pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        *pool = Vec::new();
    }

    fn text_builder(&self, labels: usize) -> Box<dyn waxwing_environ::compile::TextBuilder> {
        Box::new(TextBuilder::new(self.isa(), labels))
    }

    fn unwind_section(
        &self,
        text_len: u64,
        functions: &[(u64, &CompiledFunction)],
    ) -> Result<Option<Vec<u8>>, CompileError> {
        unwind::eh_frame(self.isa(), text_len, functions)
    }

    fn debug_sections(
        &self,
        translation: &ModuleTranslation<'_>,
        functions: &[(u64, &CompiledFunction)],
    ) -> Result<Vec<DebugSection>, CompileError> {
        debug::sections(self.isa(), translation, functions)
    }

    fn triple(&self) -> &Triple {
        self.isa.triple()
    }

    fn shared_flags(&self) -> Vec<(String, FlagValue)> {
        flags::recorded(self.isa.flags().iter())
    }

    fn isa_flags(&self) -> Vec<(String, FlagValue)> {
        flags::recorded(self.isa.isa_flags())
    }
}
