//! Tests of modules: compiling, inspecting, serializing, and refusing.

#![cfg(feature = "wat")]

use super::*;
use crate::{Config, ExternType, ModuleVersionStrategy, Mutability, Precompiled, ValType};
use std::fs;

const SAMPLE: &str = r#"
    (module $sample
        (import "env" "f" (func $f (param i32) (result i64)))
        (import "env" "m" (memory 1 4))
        (import "env" "t" (table 3 funcref))
        (import "env" "g" (global (mut f32)))
        (memory $own (export "memory") 2)
        (table $tab (export "table") 5 10 funcref)
        (global (export "global") i32 i32.const 7)
        (func $callee (export "callee") (param i32 i32) (result i32)
            local.get 0 local.get 1 i32.div_u)
        (func (export "indirect") (result i32)
            i32.const 6 i32.const 2 i32.const 0
            call_indirect $tab (param i32 i32) (result i32))
        (func (drop (call $f (i32.const 1))) unreachable)
        (elem (table $tab) (i32.const 0) func $callee $f)
        (data (memory $own) (i32.const 100) "contents"))
"#;

type Change = fn(&mut Config) -> &mut Config;

fn sample(engine: &Engine) -> Module {
    Module::new(engine, SAMPLE).unwrap()
}

fn describe(module: &Module) -> (Vec<String>, Vec<String>) {
    (
        module
            .imports()
            .map(|import| format!("{import:?}"))
            .collect(),
        module
            .exports()
            .map(|export| format!("{export:?}"))
            .collect(),
    )
}

fn deserialize(engine: &Engine, bytes: &[u8]) -> Result<Module> {
    // SAFETY: what is deserialized is never run.
    unsafe { Module::deserialize(engine, bytes) }
}

fn error(result: Result<Module>) -> String {
    format!("{:#}", result.unwrap_err())
}

#[test]
fn imports_and_exports_are_described() {
    let engine = Engine::default();
    let module = sample(&engine);
    assert_eq!(module.name(), Some("sample"));
    let imports: Vec<_> = module.imports().collect();
    assert_eq!(imports.len(), 4);
    assert_eq!((imports[0].module(), imports[0].name()), ("env", "f"));
    let func = imports[0].ty();
    assert_eq!(
        func.unwrap_func().to_string(),
        "(func (param i32) (result i64))"
    );
    assert_eq!(imports[1].ty().unwrap_memory().maximum(), Some(4));
    assert!(ValType::eq(
        &imports[2].ty().unwrap_table().element().clone().into(),
        &ValType::FUNCREF
    ));
    assert_eq!(
        imports[3].ty().unwrap_global().mutability(),
        Mutability::Var
    );

    let names: Vec<_> = module.exports().map(|export| export.name()).collect();
    assert_eq!(names, ["memory", "table", "global", "callee", "indirect"]);
    assert!(matches!(
        module.get_export("global"),
        Some(ExternType::Global(_))
    ));
    assert!(module.get_export("none").is_none());
    let export = module.get_export_index("callee").unwrap();
    assert!(export.entity_in(module.loaded()).is_some());
    assert!(export.entity_in(sample(&engine).loaded()).is_none());
    assert!(module.get_export_index("none").is_none());

    let resources = module.resources_required();
    assert_eq!((resources.num_memories, resources.num_tables), (1, 1));
    assert_eq!(resources.max_initial_memory_size, Some(2 << 16));
    assert_eq!(resources.max_initial_table_size, Some(5));
}

#[test]
fn code_can_be_looked_at() {
    let module = sample(&Engine::default());
    let functions: Vec<_> = module.functions().collect();
    assert_eq!(functions.len(), 3);
    assert_eq!(functions[0].name.as_deref(), Some("callee"));
    assert_eq!(functions[2].name, None);
    for function in &functions {
        assert!(function.len > 0 && function.offset + function.len <= module.text().len());
    }
    let image = module.image_range();
    assert!(image.contains(&module.text().as_ptr()));
    let map: Vec<_> = module.address_map().unwrap().collect();
    assert!(map.is_sorted_by_key(|(text, _)| *text));
    assert!(map.iter().any(|(_, wasm)| wasm.is_some()));
    module.initialize_copy_on_write_image().unwrap();

    let engine = Engine::new(Config::new().generate_address_map(false)).unwrap();
    assert!(sample(&engine).address_map().is_none());
}

#[test]
fn artifacts_give_the_module_back() {
    let engine = Engine::default();
    let module = sample(&engine);
    let bytes = module.serialize().unwrap();
    assert_eq!(bytes, engine.precompile_module(SAMPLE.as_bytes()).unwrap());
    assert_eq!(engine.detect_precompiled(&bytes), Some(Precompiled::Module));
    let again = deserialize(&engine, &bytes).unwrap();
    assert_eq!(describe(&module), describe(&again));
    assert_eq!(again.serialize().unwrap(), bytes);

    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), &bytes).unwrap();
    // SAFETY: the file is an artifact that nobody changes.
    let mapped = unsafe { Module::deserialize_file(&engine, file.path()) }.unwrap();
    assert_eq!(describe(&module), describe(&mapped));
    assert_eq!(mapped.serialize().unwrap(), bytes);
    // SAFETY: as above.
    let opened = unsafe { Module::deserialize_open_file(&engine, file.reopen().unwrap()) };
    assert_eq!(describe(&module), describe(&opened.unwrap()));
    // SAFETY: as above.
    let trusted = unsafe { Module::from_trusted_file(&engine, file.path()) }.unwrap();
    assert_eq!(describe(&module), describe(&trusted));
    let text = tempfile::NamedTempFile::new().unwrap();
    fs::write(text.path(), SAMPLE).unwrap();
    // SAFETY: the file holds no artifact.
    let compiled = unsafe { Module::from_trusted_file(&engine, text.path()) }.unwrap();
    assert_eq!(describe(&module), describe(&compiled));
}

#[test]
fn compiling_gives_the_same_bytes_on_any_number_of_threads() {
    let mut text = String::from("(module");
    for i in 0..200 {
        let body = "local.get 0 i32.const 3 i32.mul ".repeat(i % 17 + 1);
        let drops = "drop ".repeat(i % 17);
        text += &format!("(func (export \"{i}\") (param i32) (result i32) {body} {drops})");
    }
    text += ")";
    let compile = |parallel| {
        let mut config = Config::new();
        config.parallel_compilation(parallel);
        Engine::new(&config)
            .unwrap()
            .precompile_module(text.as_bytes())
            .unwrap()
    };
    let alone = compile(false);
    assert!(alone == compile(true) && alone == compile(true));
}

#[test]
fn engines_with_other_settings_refuse() {
    let bytes = sample(&Engine::default()).serialize().unwrap();
    let refusal = |change: Change| {
        let mut config = Config::new();
        change(&mut config);
        error(deserialize(&Engine::new(&config).unwrap(), &bytes))
    };
    let cases: [(Change, &str); 12] = [
        (|c| c.memory_reservation(1 << 20), "memory_reservation"),
        (|c| c.memory_guard_size(1 << 20), "memory_guard_size"),
        (
            |c| c.memory_reservation_for_growth(0),
            "memory_reservation_for_growth",
        ),
        (|c| c.memory_may_move(false), "memory_may_move"),
        (
            |c| c.guard_before_linear_memory(false),
            "guard_before_linear_memory",
        ),
        (|c| c.memory_init_cow(false), "memory_init_cow"),
        (|c| c.table_lazy_init(false), "table_lazy_init"),
        (|c| c.generate_address_map(false), "generate_address_map"),
        (|c| c.signals_based_traps(false), "signals_based_traps"),
        (
            |c| c.relaxed_simd_deterministic(true),
            "relaxed_simd_deterministic",
        ),
        (|c| c.wasm_tail_call(false), "wasm_tail_call(true)"),
        (
            |c| {
                let version = ModuleVersionStrategy::Custom("9.9".into());
                c.module_version(version).unwrap()
            },
            "`9.9`",
        ),
    ];
    for (change, word) in cases {
        let message = refusal(change);
        assert!(message.contains(word), "{word}: {message}");
    }
    let mut config = Config::new();
    config.module_version(ModuleVersionStrategy::None).unwrap();
    config.max_wasm_stack(1 << 20);
    deserialize(&Engine::new(&config).unwrap(), &bytes).unwrap();
    #[cfg(target_arch = "x86_64")]
    {
        // SAFETY: no feature is claimed to be there.
        unsafe { config.detect_host_feature(|_| Some(false)) };
        let message = error(deserialize(&Engine::new(&config).unwrap(), &bytes));
        assert!(message.contains("this host's does not have"), "{message}");
    }
}

#[test]
fn damaged_artifacts_are_refused_or_harmless() {
    let engine = Engine::default();
    let good = sample(&engine).serialize().unwrap();
    for len in (0..200).chain((200..good.len()).step_by(61)) {
        assert!(deserialize(&engine, &good[..len]).is_err(), "length {len}");
    }
    assert!(deserialize(&engine, b"").is_err());
    assert!(deserialize(&engine, &[0xff; 4096]).is_err());
    assert!(error(deserialize(&engine, SAMPLE.as_bytes())).contains("not a precompiled artifact"));
    // Most of an artifact is padding and code: damage the rest, one bit at a time.
    let mut bad = good.clone();
    let places = (0..good.len()).filter(|at| *at < 64 || good[*at] != 0);
    let (mut refused, mut loaded) = (0, 0);
    for at in places {
        let bit = 1 << (at * 5 % 8);
        bad[at] ^= bit;
        match deserialize(&engine, &bad) {
            Ok(module) => {
                describe(&module);
                module.functions().count();
                module.address_map().map(Iterator::count);
                let _ = module.initialize_copy_on_write_image();
                loaded += 1;
            }
            Err(_) => refused += 1,
        }
        bad[at] ^= bit;
    }
    assert!(
        refused > 500 && loaded > 100,
        "{refused} refused, {loaded} loaded"
    );
}

#[test]
fn errors_say_where() {
    let engine = Engine::default();
    let message = error(Module::new(&engine, "(module\n  (func $f i32.add))"));
    assert!(
        message.contains("failed to compile wasm function 0 (`f`) at offset 0x"),
        "{message}"
    );
    assert!(message.contains("type mismatch"), "{message}");
    let message = error(Module::new(&engine, "(module\n  (funk))"));
    assert!(message.contains("2:4"), "{message}");
    let message = error(Module::new(&engine, b"\0asm\x01\0\0\0\x01\x7f"));
    assert!(message.contains("offset 0x"), "{message}");
    let message = error(Module::from_binary(&engine, b"(module)"));
    assert!(message.contains("magic header"), "{message}");
    let component = wat::parse_str("(component)").unwrap();
    let message = error(Module::new(&engine, component));
    assert!(message.contains("component"), "{message}");
    let artifact = engine.precompile_module(b"(module)").unwrap();
    let message = error(Module::new(&engine, artifact));
    assert!(message.contains("Module::deserialize"), "{message}");

    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("bad.wat");
    for text in ["(module (func i32.add))", "(module (funk))"] {
        fs::write(&path, text).unwrap();
        let message = error(Module::from_file(&engine, &path));
        assert!(message.contains("bad.wat"), "{message}");
    }
    let message = error(Module::from_file(&engine, dir.path().join("none.wat")));
    assert!(message.contains("none.wat"), "{message}");
    // SAFETY: there is no such file.
    let none = unsafe { Module::deserialize_file(&engine, dir.path().join("none.cwasm")) };
    assert!(error(none).contains("none.cwasm"));
}

#[test]
fn the_first_error_is_told_whatever_finishes_first() {
    let mut text = String::from("(module");
    for i in 0..100 {
        let bad = if i % 10 == 7 { "i32.add" } else { "" };
        text += &format!("(func {} {bad})", "nop ".repeat(i));
    }
    text += ")";
    for _ in 0..5 {
        let message = error(Module::new(&Engine::default(), &text));
        assert!(message.contains("wasm function 7 at"), "{message}");
    }
}

#[test]
fn proposals_that_are_off_are_refused() {
    let cases: [(Change, &str); 8] = [
        (|c| c.wasm_tail_call(false), "(func return_call 0)"),
        (|c| c.wasm_multi_memory(false), "(memory 1) (memory 1)"),
        (
            |c| c.wasm_multi_value(false),
            "(func (result i32 i32) unreachable)",
        ),
        (
            |c| c.wasm_simd(false).wasm_relaxed_simd(false),
            "(func (param v128))",
        ),
        (
            |c| c.wasm_relaxed_simd(false),
            "(func (param v128) (drop (i8x16.relaxed_swizzle (local.get 0) (local.get 0))))",
        ),
        (
            |c| c.wasm_extended_const(false),
            "(global i32 i32.const 1 i32.const 2 i32.add)",
        ),
        (
            |c| {
                c.wasm_bulk_memory(false)
                    .wasm_reference_types(false)
                    .wasm_threads(false)
            },
            "(memory 1) (func (memory.fill (i32.const 0) (i32.const 0) (i32.const 0)))",
        ),
        (|c| c.wasm_threads(false), "(memory 1 1 shared)"),
    ];
    for (change, text) in cases {
        let text = format!("(module {text})");
        let wasm = wat::parse_str(&text).unwrap();
        let mut config = Config::new();
        Module::validate(&Engine::new(&config).unwrap(), &wasm).expect(&text);
        Module::new(&Engine::new(&config).unwrap(), &wasm).expect(&text);
        change(&mut config);
        let engine = Engine::new(&config).unwrap();
        assert!(Module::validate(&engine, &wasm).is_err(), "{text}");
        assert!(Module::new(&engine, &wasm).is_err(), "{text}");
    }
}

#[test]
fn proposals_that_are_off_by_default_can_be_switched_on() {
    let cases: [(Change, &str); 4] = [
        (|c| c.wasm_memory64(true), "(memory i64 1)"),
        (|c| c.wasm_memory64(true), "(table i64 1 funcref)"),
        (
            |c| c.wasm_custom_page_sizes(true),
            "(memory 1 (pagesize 1))",
        ),
        (
            |c| c.wasm_wide_arithmetic(true),
            "(func (param i64 i64) (result i64 i64)
                (i64.mul_wide_u (local.get 0) (local.get 1)))",
        ),
    ];
    for (change, text) in cases {
        let text = format!("(module {text})");
        let mut config = Config::new();
        let off = Engine::new(&config).unwrap();
        assert!(Module::new(&off, &text).is_err(), "{text}");
        change(&mut config);
        let engine = Engine::new(&config).unwrap();
        let module = Module::new(&engine, &text).expect(&text);
        // The artifact says what it was compiled with.
        let artifact = module.serialize().unwrap();
        // SAFETY: the artifact was made by this process.
        let error = unsafe { Module::deserialize(&off, &artifact) }.unwrap_err();
        let error = format!("{error:#}");
        assert!(error.contains("(true)`, but this engine has it"), "{error}");
        // SAFETY: as above.
        unsafe { Module::deserialize(&engine, &artifact) }.unwrap();
    }
}

#[test]
fn intermediate_representation_is_written_by_function() {
    let dir = tempfile::tempdir().unwrap();
    let clif = dir.path().join("clif");
    let engine = Engine::new(Config::new().emit_clif(&clif)).unwrap();
    sample(&engine);
    let text = fs::read_to_string(clif.join("function-1.clif")).unwrap();
    assert!(text.contains("udiv"), "{text}");
    assert!(clif.join("function-3.clif").exists());
    let names = fs::read_dir(&clif)
        .unwrap()
        .map(|entry| entry.unwrap().file_name());
    assert!(
        names
            .into_iter()
            .any(|n| n.to_string_lossy().starts_with("array-to-wasm-"))
    );
}

#[test]
fn debugging_information_is_kept_when_asked_for() {
    let mut wasm = wat::parse_str("(module (func))").unwrap();
    wasm.extend_from_slice(b"\0\x10\x0b.debug_infoDWRF");
    let sections = |details| {
        let engine = Engine::new(Config::new().wasm_backtrace_details(details)).unwrap();
        let module = Module::new(&engine, &wasm).unwrap();
        assert!(module.env_module().code_section_offset > 8);
        module
            .loaded()
            .code()
            .section(".debug_info")
            .map(<[u8]>::to_vec)
    };
    use crate::WasmBacktraceDetails as Details;
    assert_eq!(sections(Details::Enable).as_deref(), Some(&b"DWRF"[..]));
    assert_eq!(sections(Details::Disable), None);
}

#[test]
fn many_empty_functions_compile_in_seconds() {
    let count = 100_000;
    let mut module = wasm_encoder::Module::new();
    let mut types = wasm_encoder::TypeSection::new();
    types.ty().function([], []);
    let mut functions = wasm_encoder::FunctionSection::new();
    let mut code = wasm_encoder::CodeSection::new();
    for _ in 0..count {
        functions.function(0);
        let mut body = wasm_encoder::Function::new([]);
        body.instruction(&wasm_encoder::Instruction::End);
        code.function(&body);
    }
    module.section(&types).section(&functions).section(&code);
    let start = std::time::Instant::now();
    let module = Module::new(&Engine::default(), module.finish()).unwrap();
    assert_eq!(module.functions().len(), count);
    let elapsed = start.elapsed();
    assert!(elapsed.as_secs() < 60, "{elapsed:?}");
}
