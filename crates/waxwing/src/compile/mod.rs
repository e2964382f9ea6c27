//! From the bytes of a module to an artifact: drives the compiler over all functions, then links.

#[cfg(all(feature = "cache", feature = "runtime"))]
mod cached;
mod clif;
mod code_builder;
mod dwarf_package;
mod input;
mod parallel;

pub use code_builder::{CodeBuilder, CodeHint};

use crate::config::{Proposals, wasm_features};
use crate::{Engine, Result};
use anyhow::{Context, Error};
use clif::ClifFiles;
use std::borrow::Cow;
use std::collections::BTreeSet;
use waxwing_environ::artifact::ArtifactInfo;
use waxwing_environ::compile::{
    BodyFacts, CompileError, CompiledFunction, CompiledModule, Compiler, FunctionBodyData,
    ModuleTranslation, RelocTarget, link,
};
use waxwing_environ::{
    BuiltinFunctionIndex, DefinedFuncIndex, EntityRef, FuncIndex, FunctionFacts, ModuleTypeIndex,
    PrimaryMap, WasmFuncType, WasmHeapTop,
};

/// A module that was just compiled.
pub(crate) struct CompiledArtifact {
    /// The bytes of the artifact.
    pub(crate) bytes: Vec<u8>,
    /// The facts that are encoded in it.
    #[cfg_attr(
        not(feature = "runtime"),
        expect(dead_code, reason = "for loading only")
    )]
    pub(crate) info: ArtifactInfo,
}

/// Compiles a module in the binary format. `package` is what there is of the DWARF package that belongs to it.
fn compile(
    engine: &Engine,
    wasm: &[u8],
    package: dwarf_package::Sections<'_>,
) -> Result<CompiledArtifact> {
    let features = wasm_features(engine.proposals(), engine.tunables().collector.is_some());
    let mut translation = ModuleTranslation::new(wasm, features, engine.tunables())
        .context("failed to compile a WebAssembly module")?;
    translation.keep_debug_sections = engine.backtrace_details();
    if !engine.backtrace_details() && !engine.tunables().debug_info {
        translation.debug_sections.clear();
    } else {
        let own = package
            .iter()
            .map(|(name, bytes)| (name.clone(), Cow::Borrowed(&**bytes)));
        translation.package_sections = own.collect();
    }
    analyze(engine, &mut translation)?;
    let compiled = Driver::new(engine, &translation)?.compile_all()?;
    engine.compiler().free_scratch_space();
    let artifact = link(
        engine.compiler(),
        &translation,
        &compiled,
        &engine.artifact_header(),
    )
    .context("failed to link a WebAssembly module")?;
    Ok(CompiledArtifact {
        bytes: artifact.elf,
        info: artifact.info,
    })
}

/// Looks at all function bodies, for code to be better than it is when nothing is known of them.
fn analyze(engine: &Engine, translation: &mut ModuleTranslation<'_>) -> Result<()> {
    let bodies: Vec<_> = translation.bodies.iter().collect();
    let facts = parallel::map(
        is_parallel(engine),
        bodies,
        |(index, _)| index.index(),
        |(_, body)| Ok(BodyFacts::new(body)),
    )?;
    translation.analyze(&facts.into_iter().collect());
    Ok(())
}

/// Whether to compile on many threads.
fn is_parallel(engine: &Engine) -> bool {
    #[cfg(feature = "parallel-compilation")]
    return engine.config().parallel_compilation;
    #[cfg(not(feature = "parallel-compilation"))]
    {
        let _ = engine;
        false
    }
}

/// Fails unless `wasm` is a valid module in the binary format.
#[cfg(feature = "runtime")]
pub(crate) fn validate(engine: &Engine, wasm: &[u8]) -> Result<()> {
    let features = wasm_features(engine.proposals(), engine.tunables().collector.is_some());
    wasmparser::Validator::new_with_features(features)
        .validate_all(wasm)
        .map_err(CompileError::from)
        .context("failed to validate a WebAssembly module")?;
    Ok(())
}

struct Driver<'a, 'data> {
    compiler: &'a dyn Compiler,
    translation: &'a ModuleTranslation<'data>,
    clif: Option<ClifFiles<'a>>,
    parallel: bool,
    /// Whether functions can be called through references.
    has_call_ref: bool,
}

impl<'a, 'data> Driver<'a, 'data> {
    fn new(engine: &'a Engine, translation: &'a ModuleTranslation<'data>) -> Result<Self> {
        let clif = engine.config().compiler.emit_clif.as_deref();
        Ok(Driver {
            compiler: engine.compiler(),
            translation,
            clif: clif.map(ClifFiles::new).transpose()?,
            has_call_ref: engine.proposals().contains(Proposals::FUNCTION_REFERENCES),
            parallel: is_parallel(engine),
        })
    }

    fn compile_all(self) -> Result<CompiledModule> {
        let functions = self.compile_functions()?;
        let (entered, left) = self.trampoline_types();
        let array_to_wasm =
            self.compile_trampolines(entered, "array-to-wasm", |compiler, ty| {
                compiler.compile_array_to_wasm(ty)
            })?;
        let wasm_to_array = self.compile_trampolines(left, "wasm-to-array", |compiler, ty| {
            compiler.compile_wasm_to_array(ty)
        })?;
        let trampolines = array_to_wasm.iter().chain(&wasm_to_array);
        let all = functions.values().chain(trampolines.map(|(_, f)| f));
        let builtins = self.compile_builtins(builtins_used(all))?;
        Ok(CompiledModule {
            functions,
            array_to_wasm,
            wasm_to_array,
            builtins,
        })
    }

    fn compile_functions(&self) -> Result<PrimaryMap<DefinedFuncIndex, CompiledFunction>> {
        let mut jobs: Vec<_> = self.translation.bodies.iter().collect();
        if self.parallel {
            // Large functions first: none is left for last, to be waited for.
            jobs.sort_by_key(|(_, data)| std::cmp::Reverse(body_length(data)));
        }
        let order = |job: &(DefinedFuncIndex, _)| job.0.index();
        let compiled = parallel::map(self.parallel, jobs, order, |(index, data)| {
            self.compile_function(index, data.clone())
        })?;
        Ok(compiled.into_iter().collect())
    }

    fn compile_function(
        &self,
        index: DefinedFuncIndex,
        data: FunctionBodyData<'data>,
    ) -> Result<CompiledFunction> {
        let start = data.body.range().start;
        let mut function = self
            .compiler
            .compile_function(self.translation, index, data)
            .map_err(|error| self.function_error(index, start, error))?;
        let func = self.translation.module.func_index(index);
        self.write_clif(&mut function, || format!("function-{}", func.index()))?;
        Ok(function)
    }

    /// Says in which function, and where, something is wrong.
    fn function_error(&self, index: DefinedFuncIndex, start: u64, error: CompileError) -> Error {
        let func = self.translation.module.func_index(index);
        let name = match self.function_name(func) {
            Some(name) => format!(" (`{name}`)"),
            None => String::new(),
        };
        let (offset, cause) = match error {
            CompileError::Invalid { message, offset } => (offset, Error::msg(message)),
            other => (start, Error::new(other)),
        };
        cause.context(format!(
            "failed to compile wasm function {}{name} at offset {offset:#x}",
            func.index()
        ))
    }

    fn function_name(&self, func: FuncIndex) -> Option<&'data str> {
        let names = &self.translation.function_names;
        let at = names
            .binary_search_by_key(&func, |(index, _)| *index)
            .ok()?;
        Some(names[at].1)
    }

    /// The signatures that need trampolines into WebAssembly, and those that need trampolines out
    /// of it, both sorted.
    fn trampoline_types(&self) -> (Vec<ModuleTypeIndex>, Vec<ModuleTypeIndex>) {
        let module = &self.translation.module;
        let functions = &self.translation.functions;
        let signatures = |wanted: &dyn Fn(FuncIndex, &FunctionFacts) -> bool| {
            let wanted = functions
                .iter()
                .filter(|(index, facts)| wanted(*index, facts));
            wanted
                .map(|(_, facts)| facts.signature)
                .collect::<BTreeSet<_>>()
        };
        // The host gets hold of functions that escape.
        let entered = signatures(&|_, facts| facts.func_ref.is_some());
        // Functions of the host are imported, or called through a table or reference.
        let mut left = signatures(&|index, _| module.is_imported_function(index));
        let has_function_table = module
            .tables
            .values()
            .any(|table| table.ref_type.heap_type.top() == WasmHeapTop::Func);
        if has_function_table || self.has_call_ref {
            let types = self.translation.types.types.iter();
            left.extend(
                types
                    .filter(|(_, ty)| ty.as_func().is_some())
                    .map(|(i, _)| i),
            );
        }
        (entered.into_iter().collect(), left.into_iter().collect())
    }

    fn compile_trampolines(
        &self,
        signatures: Vec<ModuleTypeIndex>,
        kind: &str,
        compile: impl Fn(&dyn Compiler, &WasmFuncType) -> Result<CompiledFunction, CompileError> + Sync,
    ) -> Result<Vec<(ModuleTypeIndex, CompiledFunction)>> {
        let jobs: Vec<(usize, ModuleTypeIndex)> = signatures.into_iter().enumerate().collect();
        parallel::map(
            self.parallel,
            jobs,
            |job| job.0,
            |(_, ty)| {
                let signature = self.translation.types.func(ty);
                let mut trampoline = compile(self.compiler, signature)
                    .with_context(|| format!("failed to compile a trampoline for {signature}"))?;
                self.write_clif(&mut trampoline, || format!("{kind}-{}", ty.index()))?;
                Ok((ty, trampoline))
            },
        )
    }

    fn compile_builtins(
        &self,
        builtins: BTreeSet<BuiltinFunctionIndex>,
    ) -> Result<Vec<(BuiltinFunctionIndex, CompiledFunction)>> {
        let compile = |builtin: BuiltinFunctionIndex| {
            let mut trampoline = self
                .compiler
                .compile_wasm_to_builtin(builtin)
                .with_context(|| {
                    format!("failed to compile a trampoline for `{}`", builtin.name())
                })?;
            let name = || format!("wasm-to-builtin-{}", builtin.name());
            self.write_clif(&mut trampoline, name)?;
            Ok((builtin, trampoline))
        };
        builtins.into_iter().map(compile).collect()
    }

    /// Writes the intermediate representation to its file, if that is asked for, and drops it.
    fn write_clif(
        &self,
        function: &mut CompiledFunction,
        name: impl FnOnce() -> String,
    ) -> Result<()> {
        match (&self.clif, function.clif.take()) {
            (Some(files), Some(text)) => files.write(&name(), &text),
            _ => Ok(()),
        }
    }
}

fn body_length(data: &FunctionBodyData<'_>) -> usize {
    let range = data.body.range();
    (range.end - range.start) as usize
}

/// The builtins that code refers to.
fn builtins_used<'a>(
    functions: impl Iterator<Item = &'a CompiledFunction>,
) -> BTreeSet<BuiltinFunctionIndex> {
    functions
        .flat_map(|function| &function.relocations)
        .filter_map(|reloc| match reloc.target {
            RelocTarget::Builtin(builtin) => Some(builtin),
            RelocTarget::Function(_) => None,
        })
        .collect()
}
