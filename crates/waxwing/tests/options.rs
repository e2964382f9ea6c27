//! Options of `Config` whose effect shows nowhere else. `docs/options.md` lists the test of each option.

use object::read::elf::ElfFile64;
use object::{Object, ObjectSection};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::process::Command;
use std::sync::Arc;
use waxwing::*;

fn engine(change: impl FnOnce(&mut Config) -> &mut Config) -> Engine {
    let mut config = Config::new();
    change(&mut config);
    Engine::new(&config).unwrap()
}

/// A section of the artifact of a module.
fn section(engine: &Engine, name: &str, wat: &str) -> Option<Vec<u8>> {
    let artifact = engine.precompile_module(wat.as_bytes()).unwrap();
    let elf = ElfFile64::<object::Endianness>::parse(&*artifact).unwrap();
    let section = elf.section_by_name(name)?;
    Some(section.data().unwrap().to_vec())
}

fn compatibility(engine: &Engine) -> u64 {
    let mut hasher = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    hasher.finish()
}

/// Some code that compilers can work on.
const CODE: &str = r#"(module (memory 1)
    (func (export "f") (param i32 i32) (result i32) (local i32 i32)
        (local.set 2 (i32.mul (local.get 0) (i32.const 8)))
        (local.set 3 (i32.add (i32.mul (local.get 0) (i32.const 8)) (i32.load (local.get 1))))
        (loop $again
            (local.set 2 (i32.add (local.get 2) (i32.load offset=70000 (local.get 3))))
            (br_if $again (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
        (i32.xor (local.get 2) (local.get 3))))"#;

fn text(change: impl FnOnce(&mut Config) -> &mut Config) -> Vec<u8> {
    section(&engine(change), ".text", CODE).unwrap()
}

#[test]
fn compiler_options_change_code() {
    let plain = text(|c| c);
    assert_eq!(plain, text(|c| c.cranelift_opt_level(OptLevel::None)));
    assert_ne!(plain, text(|c| c.cranelift_opt_level(OptLevel::Speed)));
    let algorithm = RegallocAlgorithm::SinglePass;
    assert_ne!(plain, text(|c| c.cranelift_regalloc_algorithm(algorithm)));
    assert_ne!(plain, text(|c| c.memory_guard_size(0)));
    assert_ne!(plain, text(|c| c.signals_based_traps(false)));
    assert_eq!(plain, text(|c| c.strategy(Strategy::Cranelift)));
}

#[test]
fn compiler_options_are_recorded() {
    let plain = compatibility(&engine(|c| c));
    let other = |change: fn(&mut Config) -> &mut Config| compatibility(&engine(change)) != plain;
    assert!(other(|c| c.cranelift_debug_verifier(true)));
    assert!(other(|c| c.cranelift_opt_level(OptLevel::Speed)));
    let size = |c: &mut Config| _ = c.cranelift_opt_level(OptLevel::SpeedAndSize);
    let mut config = Config::new();
    size(&mut config);
    let speed = engine(|c| c.cranelift_opt_level(OptLevel::Speed));
    let both = Engine::new(&config).unwrap();
    assert_ne!(compatibility(&both), compatibility(&speed));
}

#[test]
fn unwind_information_can_be_left_out() {
    let has = |enable| {
        let engine = engine(|c| c.native_unwind_info(enable));
        section(&engine, ".eh_frame", CODE).is_some()
    };
    assert!(has(true));
    assert!(!has(false));
}

fn run<P: WasmParams, R: WasmResults>(engine: &Engine, wat: &str, params: P) -> R {
    let module = Module::new(engine, wat).unwrap();
    let mut store = Store::new(engine, ());
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    let function = instance.get_typed_func::<P, R>(&mut store, "f").unwrap();
    function.call(&mut store, params).unwrap()
}

#[test]
fn nans_are_made_canonical() {
    let wat = r#"(module (func (export "f") (param i32) (result i32)
        (i32.reinterpret_f32 (f32.mul (f32.reinterpret_i32 (local.get 0)) (f32.const 2)))))"#;
    let payload = 0x7fc1_2345;
    let bits = |canonical| -> i32 {
        let engine = engine(|c| c.cranelift_nan_canonicalization(canonical));
        run(&engine, wat, payload)
    };
    assert_eq!(bits(true), 0x7fc0_0000);
    assert_eq!(bits(false), payload);
}

#[cfg(target_arch = "x86_64")]
#[test]
fn relaxed_vectors_can_be_the_same_everywhere() {
    let wat = r#"(module (func (export "f") (result i32)
        (i32x4.extract_lane 0 (i32x4.relaxed_trunc_f32x4_s (f32x4.splat (f32.const nan))))))"#;
    let lane = |same| -> i32 { run(&engine(|c| c.relaxed_simd_deterministic(same)), wat, ()) };
    assert_eq!(lane(true), 0);
    // What this processor makes of it.
    assert_eq!(lane(false), i32::MIN);
}

#[test]
fn stacks_are_as_deep_as_asked_for() {
    let depth = |size| {
        let engine = engine(|c| c.max_wasm_stack(size));
        let module = Module::new(&engine, r#"(module (func $f (export "f") (call $f)))"#).unwrap();
        let mut store = Store::new(&engine, ());
        let instance = Instance::new(&mut store, &module, &[]).unwrap();
        let function = instance.get_typed_func::<(), ()>(&mut store, "f").unwrap();
        let error = function.call(&mut store, ()).unwrap_err();
        let backtrace = error.downcast_ref::<WasmBacktrace>().unwrap();
        backtrace.frames().len()
    };
    let (small, large) = (depth(64 << 10), depth(512 << 10));
    assert!(small * 7 < large && large < small * 9, "{small} {large}");
}

#[test]
fn images_of_memories_are_made_as_configured() {
    // Three bytes, and two that are far apart.
    let near = r#"(module (memory 1) (data (i32.const 100) "wax"))"#;
    let far = r#"(module (memory 32) (data (i32.const 0) "a") (data (i32.const 0x100000) "b"))"#;
    let data = |wat, change: fn(&mut Config) -> &mut Config| {
        section(&engine(change), ".waxwing.data", wat)
            .unwrap()
            .len()
    };
    assert!(data(near, |c| c) >= 0x1000);
    assert_eq!(data(near, |c| c.memory_init_cow(false)), 3);
    assert!(data(far, |c| c) > 0x10_0000);
    let sparse = data(far, |c| c.memory_guaranteed_dense_image_size(0));
    assert_eq!(sparse, 2);
}

#[test]
fn memories_outgrow_their_reservation_only_if_they_may_move() {
    let grows = |reservation: u64, may_move, pages: u64| {
        let engine = engine(|c| c.memory_reservation(reservation).memory_may_move(may_move));
        let mut store = Store::new(&engine, ());
        let memory = Memory::new(&mut store, MemoryType::new(1, None)).unwrap();
        memory.grow(&mut store, pages).is_ok()
    };
    assert!(grows(1 << 20, false, 15));
    assert!(!grows(1 << 20, false, 16));
    assert!(grows(2 << 20, false, 16));
    assert!(grows(1 << 20, true, 16));
}

/// The line of the process's map that an address is in.
#[cfg(target_os = "linux")]
fn mapping_of(address: usize) -> String {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let contains = |line: &&str| {
        let (start, end) = line.split(' ').next().unwrap().split_once('-').unwrap();
        let parse = |text| usize::from_str_radix(text, 16).unwrap();
        (parse(start)..parse(end)).contains(&address)
    };
    maps.lines().find(contains).unwrap().to_string()
}

#[cfg(target_os = "linux")]
#[test]
fn images_of_mapped_artifacts_can_be_kept_in_memory() {
    let wat = r#"(module (memory (export "m") 1) (data (i32.const 0) "wax"))"#;
    let mapping = |force| {
        let engine = engine(|c| c.force_memory_init_memfd(force));
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("artifact.cwasm");
        std::fs::write(&path, engine.precompile_module(wat.as_bytes()).unwrap()).unwrap();
        // SAFETY: the artifact is of this engine, and nobody changes it.
        let module = unsafe { Module::deserialize_file(&engine, &path) }.unwrap();
        let mut store = Store::new(&engine, ());
        let instance = Instance::new(&mut store, &module, &[]).unwrap();
        let memory = instance.get_memory(&mut store, "m").unwrap();
        mapping_of(memory.data_ptr(&store) as usize)
    };
    let plain = mapping(false);
    assert!(plain.contains("artifact.cwasm"), "{plain}");
    let forced = mapping(true);
    assert!(forced.contains("memfd"), "{forced}");
}

#[cfg(feature = "gc")]
#[test]
fn garbage_is_collected_at_each_allocation_under_stress() {
    let alive = |stress| {
        let engine = engine(|c| c.gc_stress(stress));
        let mut store = Store::new(&engine, ());
        let value = Arc::new(());
        {
            let mut scope = RootScope::new(&mut store);
            ExternRef::new(&mut scope, Arc::clone(&value)).unwrap();
        }
        ExternRef::new(&mut store, ()).unwrap();
        Arc::strong_count(&value)
    };
    assert_eq!(alive(true), 1);
    assert_eq!(alive(false), 2);
}

type Switch = fn(&mut Config, bool);

/// Every proposal, with modules that need it; those that need another one come after it.
const PROPOSALS: &[(Switch, &str)] = &[
    (
        |c, on| _ = c.wasm_bulk_memory(on),
        "(memory 1) (func (memory.fill (i32.const 0) (i32.const 0) (i32.const 0)))",
    ),
    (|c, on| _ = c.wasm_threads(on), "(memory 1 1 shared)"),
    (
        |c, on| _ = c.wasm_reference_types(on),
        "(func (param externref))",
    ),
    (
        |c, on| _ = c.wasm_function_references(on),
        "(type $f (func)) (func (param (ref $f)))",
    ),
    (|c, on| _ = c.wasm_gc(on), "(type (struct (field i32)))"),
    (|c, on| _ = c.wasm_exceptions(on), "(tag) (func (throw 0))"),
    (|c, on| _ = c.wasm_simd(on), "(func (param v128))"),
    (
        |c, on| _ = c.wasm_relaxed_simd(on),
        "(func (param v128) (drop (i8x16.relaxed_swizzle (local.get 0) (local.get 0))))",
    ),
    (
        |c, on| _ = c.wasm_multi_value(on),
        "(func (result i32 i32) unreachable)",
    ),
    (|c, on| _ = c.wasm_multi_memory(on), "(memory 1) (memory 1)"),
    (|c, on| _ = c.wasm_tail_call(on), "(func return_call 0)"),
    (
        |c, on| _ = c.wasm_extended_const(on),
        "(global i32 i32.const 1 i32.const 2 i32.add)",
    ),
    (|c, on| _ = c.wasm_memory64(on), "(memory i64 1)"),
    (
        |c, on| _ = c.wasm_custom_page_sizes(on),
        "(memory 1 (pagesize 1))",
    ),
    (
        |c, on| _ = c.wasm_wide_arithmetic(on),
        "(func (param i64 i64) (result i64 i64) (i64.mul_wide_u (local.get 0) (local.get 1)))",
    ),
];

#[cfg(all(feature = "gc", feature = "threads"))]
#[test]
fn proposals_are_what_modules_may_use() {
    let mut all = Config::new();
    for (switch, _) in PROPOSALS {
        switch(&mut all, true);
    }
    let everything = Engine::new(&all).unwrap();
    for (i, (switch, text)) in PROPOSALS.iter().enumerate() {
        let text = format!("(module {text})");
        Module::new(&everything, &text).expect(&text);
        let mut config = all.clone();
        switch(&mut config, false);
        // Those that need it have to go with it.
        let mut others = PROPOSALS[i + 1..].iter();
        let without = loop {
            match Engine::new(&config) {
                Ok(engine) => break engine,
                Err(error) => match others.next() {
                    Some((switch, _)) => switch(&mut config, false),
                    None => panic!("{text}: {error:#}"),
                },
            }
        };
        assert!(Module::new(&without, &text).is_err(), "{text}");
    }
}

/// Starts itself again, to count the threads of a process that does nothing else.
#[cfg(all(target_os = "linux", feature = "parallel-compilation"))]
#[test]
fn functions_are_compiled_on_threads() {
    const VARIABLE: &str = "WAXWING_TEST_PARALLEL";
    if let Ok(parallel) = std::env::var(VARIABLE) {
        let threads = || std::fs::read_dir("/proc/self/task").unwrap().count();
        let before = threads();
        let function = "(func (param i32) (result i32) (i32.add (local.get 0) (i32.const 1)))";
        let wat = format!("(module {})", function.repeat(100));
        let engine = engine(|c| c.parallel_compilation(parallel == "1"));
        Module::new(&engine, wat).unwrap();
        println!("more threads: {}", threads() > before);
        return;
    }
    let more = |parallel| {
        let output = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "functions_are_compiled_on_threads",
                "--nocapture",
            ])
            .envs([("RAYON_NUM_THREADS", "3"), (VARIABLE, parallel)])
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains("more threads: "), "{text}");
        text.contains("more threads: true")
    };
    assert!(more("1"));
    assert!(!more("0"));
}

#[test]
fn what_is_not_there_is_refused_by_name() {
    let error = |change: fn(&mut Config) -> &mut Config| {
        let mut config = Config::new();
        Engine::new(change(&mut config)).unwrap_err().to_string()
    };
    let winch = error(|c| c.strategy(Strategy::Winch));
    assert!(winch.contains("`Strategy::Cranelift`"), "{winch}");
    let pcc = error(|c| c.cranelift_pcc(true));
    assert!(pcc.contains("`Config::cranelift_debug_verifier`"), "{pcc}");
    let adapters = error(|c| c.debug_adapter_modules(true));
    assert!(adapters.contains("no components"), "{adapters}");
    engine(|c| c.cranelift_pcc(false).debug_adapter_modules(false));
}
