//! Whole functions through the compiler, with Cranelift's verifier on.

mod atomics;
mod branch_hints;
mod debug;
mod exceptions;
mod gc;
mod interruption;
mod operators;
mod structure;

use crate::CompilerBuilder;
use wasmparser::WasmFeatures;
use waxwing_environ::compile::{
    CompileError, CompiledFunction, CompiledModule, Compiler, ModuleTranslation, RelocTarget, link,
};
use waxwing_environ::{BuiltinFunctionIndex, PrimaryMap, Tunables, WasmCompositeType};

/// A configuration to compile with.
struct Target {
    name: String,
    compiler: Box<dyn Compiler>,
    tunables: Tunables,
}

fn target(
    name: &str,
    triple: Option<&str>,
    settings: &[(&str, &str)],
    tunables: Tunables,
) -> Target {
    let triple = triple.map(|triple| triple.parse().unwrap());
    let mut builder = CompilerBuilder::new(triple).unwrap();
    builder.set("enable_verifier", "true").unwrap();
    for (name, value) in settings {
        builder.set(name, value).unwrap();
    }
    builder.tunables(tunables.clone()).emit_clif(true);
    Target {
        name: name.to_string(),
        compiler: builder.build().unwrap(),
        tunables,
    }
}

fn host() -> Target {
    target("host", None, &[], Tunables::default())
}

fn explicit_traps() -> Tunables {
    Tunables {
        signals_based_traps: false,
        ..Tunables::default()
    }
}

fn interruptible() -> Tunables {
    Tunables {
        consume_fuel: true,
        epoch_interruption: true,
        ..Tunables::default()
    }
}

fn debugged() -> Tunables {
    Tunables {
        debug_info: true,
        ..Tunables::default()
    }
}

/// Configurations that take different ways through translation.
fn targets() -> Vec<Target> {
    let small_memories = Tunables {
        memory_reservation: 0,
        memory_guard_size: 0,
        table_lazy_init: false,
        relaxed_simd_deterministic: true,
        ..Tunables::default()
    };
    let no_spectre = [
        ("enable_heap_access_spectre_mitigation", "false"),
        ("enable_table_access_spectre_mitigation", "false"),
    ];
    let unoptimized = [
        ("opt_level", "none"),
        ("enable_nan_canonicalization", "true"),
    ];
    let mut triples = vec![("host", None)];
    if cfg!(feature = "all-arch") {
        triples.push(("aarch64", Some("aarch64-unknown-linux-gnu")));
        triples.push(("aarch64-macos", Some("aarch64-apple-darwin")));
    }
    if cfg!(feature = "pulley") {
        triples.push(("pulley64", Some("pulley64")));
        triples.push(("pulley32", Some("pulley32")));
        triples.push(("pulley64be", Some("pulley64be")));
        triples.push(("pulley32be", Some("pulley32be")));
    }
    let mut targets = Vec::new();
    for (name, triple) in triples {
        for (how, settings, tunables) in [
            ("default", &[][..], Tunables::default()),
            ("unoptimized", &unoptimized, Tunables::default()),
            ("small memories", &[], small_memories.clone()),
            ("no spectre", &no_spectre, small_memories.clone()),
            ("explicit traps", &[], explicit_traps()),
            ("interruptible", &[], interruptible()),
            ("interruptible, unoptimized", &unoptimized, interruptible()),
            ("debugged", &[], debugged()),
            ("debugged, unoptimized", &unoptimized, debugged()),
        ] {
            // The other kinds of bytecode differ in nothing that depends on settings.
            let is_variant = matches!(name, "pulley32" | "pulley64be" | "pulley32be");
            if is_variant && !matches!(how, "default" | "interruptible, unoptimized") {
                continue;
            }
            let name = format!("{name}, {how}");
            targets.push(target(&name, triple, settings, tunables));
        }
    }
    targets
}

fn features() -> WasmFeatures {
    WasmFeatures::WASM2
        | WasmFeatures::TAIL_CALL
        | WasmFeatures::MULTI_MEMORY
        | WasmFeatures::MEMORY64
        | WasmFeatures::EXTENDED_CONST
        | WasmFeatures::RELAXED_SIMD
        | WasmFeatures::FUNCTION_REFERENCES
        | WasmFeatures::GC
        | WasmFeatures::EXCEPTIONS
        | WasmFeatures::WIDE_ARITHMETIC
        | WasmFeatures::CUSTOM_PAGE_SIZES
        | WasmFeatures::THREADS
        // Validated, but not compiled.
        | WasmFeatures::MEMORY_CONTROL
        | WasmFeatures::EXCEPTIONS
}

fn translate<'a>(target: &Target, wasm: &'a [u8]) -> Result<ModuleTranslation<'a>, CompileError> {
    let mut translation = ModuleTranslation::new(wasm, features(), &target.tunables)?;
    // There is something that debuggers can ask for, if nothing that they understand.
    translation.debug_sections.push((".debug_info", &[]));
    Ok(translation)
}

fn compile_bytes(target: &Target, wasm: &[u8]) -> Result<CompiledModule, CompileError> {
    let translation = translate(target, wasm)?;
    let bodies = &translation.bodies;
    let mut module = CompiledModule {
        functions: PrimaryMap::with_capacity(bodies.len()),
        ..CompiledModule::default()
    };
    for (index, body) in bodies {
        let body = body.clone();
        let function = target
            .compiler
            .compile_function(&translation, index, body)?;
        module.functions.push(function);
    }
    Ok(module)
}

fn compile(target: &Target, wat: &str) -> Result<CompiledModule, CompileError> {
    let wasm = wat::parse_str(wat).unwrap_or_else(|error| panic!("{error}\n{wat}"));
    compile_bytes(target, &wasm)
}

/// The first function of a module that compiles.
fn first_function(target: &Target, wat: &str) -> CompiledFunction {
    let module =
        compile(target, wat).unwrap_or_else(|error| panic!("{}: {error}\n{wat}", target.name));
    module.functions.into_iter().next().unwrap().1
}

/// Compiles everything that an artifact holds, and links it.
fn artifact(target: &Target, wat: &str) -> Vec<u8> {
    let wasm = wat::parse_str(wat).unwrap();
    let translation = translate(target, &wasm).unwrap();
    let mut module = compile_bytes(target, &wasm).unwrap();
    for (index, ty) in translation.types.types.iter() {
        let WasmCompositeType::Func(ty) = &ty.composite else {
            continue;
        };
        let entry = target.compiler.compile_array_to_wasm(ty).unwrap();
        module.array_to_wasm.push((index, entry));
        let exit = target.compiler.compile_wasm_to_array(ty).unwrap();
        module.wasm_to_array.push((index, exit));
    }
    let used = |builtin: &BuiltinFunctionIndex| {
        let mut relocations = module.functions.values().flat_map(|f| &f.relocations);
        relocations.any(|reloc| reloc.target == RelocTarget::Builtin(*builtin))
    };
    let builtins: Vec<_> = BuiltinFunctionIndex::ALL
        .iter()
        .copied()
        .filter(|builtin| used(builtin))
        .collect();
    for builtin in builtins {
        let code = target.compiler.compile_wasm_to_builtin(builtin).unwrap();
        module.builtins.push((builtin, code));
    }
    let header = waxwing_environ::artifact::ArtifactHeader {
        version: String::new(),
        target: target.compiler.triple().to_string(),
        shared_flags: target.compiler.shared_flags(),
        isa_flags: target.compiler.isa_flags(),
        tunables: target.tunables.clone(),
        features: Vec::new(),
    };
    link(&*target.compiler, &translation, &module, &header)
        .unwrap()
        .elf
}
