//! Core dumps, read back by wasmparser.

use std::collections::BTreeMap;
use wasmparser::{
    CoreDumpInstance, CoreDumpStackFrame, DataKind, KnownCustom, Operator, Parser, Payload,
};
use waxwing::*;

fn engine() -> Engine {
    let mut config = Config::new();
    config
        .coredump_on_trap(true)
        .wasm_exceptions(true)
        .wasm_memory64(true)
        .wasm_custom_page_sizes(true);
    Engine::new(&config).unwrap()
}

/// What a file says.
#[derive(Default)]
struct Read {
    name: String,
    modules: Vec<String>,
    instances: Vec<CoreDumpInstance>,
    frames: Vec<CoreDumpStackFrame>,
    /// Pages, and the bytes that are not zero, by their address.
    memories: Vec<(u64, BTreeMap<u64, u8>)>,
    globals: Vec<String>,
}

fn read(file: &[u8]) -> Read {
    let mut read = Read::default();
    for payload in Parser::new(0).parse_all(file) {
        match payload.unwrap() {
            Payload::CustomSection(section) => match section.as_known() {
                KnownCustom::CoreDump(section) => read.name = section.name.to_string(),
                KnownCustom::CoreDumpModules(section) => {
                    read.modules = section
                        .modules
                        .iter()
                        .map(|name| name.to_string())
                        .collect();
                }
                KnownCustom::CoreDumpInstances(section) => read.instances = section.instances,
                KnownCustom::CoreDumpStack(section) => {
                    assert_eq!(section.name, "main");
                    read.frames = section.frames;
                }
                _ => panic!("an unknown section `{}`", section.name()),
            },
            Payload::MemorySection(section) => {
                for ty in section {
                    read.memories.push((ty.unwrap().initial, BTreeMap::new()));
                }
            }
            Payload::GlobalSection(section) => {
                for global in section {
                    let global = global.unwrap();
                    let value = global.init_expr.get_operators_reader().read().unwrap();
                    let mutable = if global.ty.mutable { "mut " } else { "" };
                    read.globals
                        .push(format!("{mutable}{}: {value:?}", global.ty.content_type));
                }
            }
            Payload::DataSection(section) => {
                for data in section {
                    let data = data.unwrap();
                    let DataKind::Active {
                        memory_index,
                        offset_expr,
                    } = data.kind
                    else {
                        panic!("a passive segment");
                    };
                    let offset = match offset_expr.get_operators_reader().read().unwrap() {
                        Operator::I32Const { value } => u64::from(value as u32),
                        Operator::I64Const { value } => value as u64,
                        other => panic!("{other:?}"),
                    };
                    let bytes = data.data.iter().enumerate().filter(|(_, byte)| **byte != 0);
                    let bytes = bytes.map(|(at, byte)| (offset + at as u64, *byte));
                    read.memories[memory_index as usize].1.extend(bytes);
                }
            }
            _ => {}
        }
    }
    read
}

/// The dump that an error carries.
fn dump(error: &Error) -> &WasmCoreDump {
    error
        .downcast_ref::<WasmCoreDump>()
        .expect("there is a dump")
}

fn functions(read: &Read) -> Vec<(u32, u32)> {
    let frames = read.frames.iter();
    frames.map(|f| (f.instanceidx, f.funcidx)).collect()
}

#[test]
fn dumps_hold_frames_memories_and_globals() -> Result<()> {
    let engine = engine();
    let module = Module::new(
        &engine,
        r#"(module $first
            (memory (export "m") 2 5)
            (memory i64 1)
            (memory 70 (pagesize 1))
            (data (i32.const 10) "wax")
            (global i32 (i32.const 7))
            (global $counter (mut i64) (i64.const 0))
            (global f32 (f32.const 1.5))
            (global f64 (f64.const -0.25))
            (global v128 (v128.const i64x2 1 2))
            (global externref (ref.null extern))
            (func $fail (param i32)
                (i32.store8 (i32.const 131071) (i32.const 255))
                (i32.store8 2 (i32.const 69) (i32.const 3))
                (i64.store 1 (i64.const 4096) (i64.const 513))
                (global.set $counter (i64.const -3))
                unreachable)
            (func (export "run") (call $fail (i32.const 1))))"#,
    )?;
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[])?;
    let run = instance.get_typed_func::<(), ()>(&mut store, "run")?;
    let error = run.call(&mut store, ()).unwrap_err();
    assert_eq!(
        error.downcast_ref::<Trap>(),
        Some(&Trap::UnreachableCodeReached)
    );
    assert!(error.is::<WasmBacktrace>());

    let dump = dump(&error);
    let summary = "modules: 1, instances: 1, memories: 3, globals: 6, frames: 2";
    assert_eq!(dump.to_string(), format!("wasm core dump: {summary}"));
    assert_eq!(dump.frames()[0].func_name(), Some("fail"));
    assert_eq!(dump.modules()[0].name(), Some("first"));
    assert_eq!(dump.instances(), [instance]);
    assert!(
        dump.memories()
            .contains(&instance.get_memory(&mut store, "m").unwrap())
    );
    assert_eq!(dump.globals()[1].get(&mut store).unwrap_i64(), -3);

    let read = read(&dump.serialize(&mut store, "first.wasm"));
    assert_eq!(read.name, "first.wasm");
    assert_eq!(read.modules, ["first"]);
    assert_eq!(functions(&read), [(0, 0), (0, 1)]);
    for (frame, written) in dump.frames().iter().zip(&read.frames) {
        assert_eq!(Some(written.codeoffset as usize), frame.func_offset());
    }
    assert_eq!(read.instances.len(), 1);
    assert_eq!(read.instances[0].module_index, 0);
    assert_eq!(read.instances[0].memories, [0, 1, 2]);
    assert_eq!(read.instances[0].globals, [0, 1, 2, 3, 4, 5]);
    let bytes = |list: &[(u64, u8)]| list.iter().copied().collect::<BTreeMap<_, _>>();
    assert_eq!(
        read.memories,
        [
            (
                2,
                bytes(&[(10, b'w'), (11, b'a'), (12, b'x'), (131_071, 255)])
            ),
            (1, bytes(&[(4096, 1), (4097, 2)])),
            (70, bytes(&[(69, 3)])),
        ]
    );
    assert_eq!(read.globals[0], "i32: I32Const { value: 7 }");
    assert_eq!(read.globals[1], "mut i64: I64Const { value: -3 }");
    assert!(
        read.globals[2].starts_with("f32: F32Const"),
        "{:?}",
        read.globals
    );
    assert!(
        read.globals[3].starts_with("f64: F64Const"),
        "{:?}",
        read.globals
    );
    assert!(
        read.globals[4].starts_with("v128: V128Const"),
        "{:?}",
        read.globals
    );
    assert!(
        read.globals[5].starts_with("externref: RefNull"),
        "{:?}",
        read.globals
    );
    Ok(())
}

#[test]
fn several_instances_share_what_they_import() -> Result<()> {
    let engine = engine();
    let provider = Module::new(
        &engine,
        r#"(module $provider
            (memory (export "m") 1) (global (export "g") (mut i32) (i32.const 5))
            (func (export "poke") (i32.store (i32.const 0) (i32.const 9)) unreachable))"#,
    )?;
    let user = Module::new(
        &engine,
        r#"(module
            (import "" "m" (memory 1)) (import "" "g" (global (mut i32))) (import "" "poke" (func $poke))
            (import "" "h" (global i64))
            (memory 3)
            (func (export "run") (call $poke)))"#,
    )?;
    let mut store = Store::new(&engine, ());
    let provider = Instance::new(&mut store, &provider, &[])?;
    let ty = GlobalType::new(ValType::I64, Mutability::Const);
    let host = Global::new(&mut store, ty, Val::I64(11))?;
    let imports: Vec<Extern> = ["m", "g", "poke"]
        .iter()
        .map(|name| provider.get_export(&mut store, name).unwrap())
        .chain([host.into()])
        .collect();
    Instance::new(&mut store, &user, &imports)?;
    let second = Instance::new(&mut store, &user, &imports)?;
    let run = second.get_typed_func::<(), ()>(&mut store, "run")?;
    let error = run.call(&mut store, ()).unwrap_err();

    let dump = dump(&error);
    assert!(dump.globals().contains(&host));
    let read = read(&dump.serialize(&mut store, ""));
    assert_eq!((read.modules.len(), read.instances.len()), (2, 3));
    let names: Vec<&str> = read
        .instances
        .iter()
        .map(|instance| read.modules[instance.module_index as usize].as_str())
        .collect();
    assert_eq!(names[0], "provider");
    assert_eq!(names[1], names[2]);
    let [provider, first, second] = &read.instances[..] else {
        panic!("three instances");
    };
    assert_eq!(first.memories[0], provider.memories[0]);
    assert_eq!(second.memories[0], provider.memories[0]);
    assert_ne!(first.memories[1], second.memories[1]);
    assert_eq!(second.globals[0], provider.globals[0]);
    let imported = read.globals[second.globals[1] as usize].as_str();
    assert_eq!(imported, "i64: I64Const { value: 11 }");
    assert_eq!(read.memories[provider.memories[0] as usize].1[&0], 9);
    // The function that trapped is the provider's, its caller the user's.
    assert_eq!(read.frames[0].instanceidx, 0);
    assert_eq!(names[read.frames[1].instanceidx as usize], names[2]);
    Ok(())
}

#[test]
fn whatever_ends_a_call_is_dumped_once() -> Result<()> {
    let engine = engine();
    let module = Module::new(
        &engine,
        r#"(module
            (import "" "fail" (func $fail))
            (import "" "enter" (func $enter))
            (tag $tag)
            (memory 1)
            (func $overflow (export "overflow") (call $overflow))
            (func (export "load") (drop (i32.load (i32.const 65536))))
            (func (export "throw") (throw $tag))
            (func (export "host") (call $fail))
            (func (export "nested") (call $enter)))"#,
    )?;
    let mut store = Store::new(&engine, None::<Func>);
    let fail = Func::wrap(&mut store, || -> Result<()> {
        anyhow::bail!("the host is at fault")
    });
    let enter = Func::wrap(&mut store, |mut caller: Caller<'_, Option<Func>>| {
        let func = caller.data().expect("set below");
        func.call(&mut caller, &[], &mut [])
    });
    let instance = Instance::new(&mut store, &module, &[fail.into(), enter.into()])?;
    *store.data_mut() = instance.get_func(&mut store, "host");
    for (name, frames) in [
        ("overflow", 100..),
        ("load", 1..),
        ("throw", 1..),
        ("host", 1..),
        ("nested", 2..),
    ] {
        let run = instance.get_typed_func::<(), ()>(&mut store, name)?;
        let error = run.call(&mut store, ()).unwrap_err();
        let dumps = error
            .chain()
            .filter(|e| e.to_string().starts_with("wasm core dump"));
        assert_eq!(dumps.count(), 1, "{name}: {error:?}");
        let dump = dump(&error);
        assert!(frames.contains(&dump.frames().len()), "{name}");
        let read = read(&dump.serialize(&mut store, name));
        assert_eq!(read.frames.len(), dump.frames().len(), "{name}");
        assert_eq!(read.instances.len(), 1, "{name}");
    }
    Ok(())
}

#[test]
fn dumps_do_without_backtraces_and_are_off_by_default() -> Result<()> {
    let wat = r#"(module (func (export "run") unreachable))"#;
    let error = |config: &mut Config| {
        let engine = Engine::new(config)?;
        let module = Module::new(&engine, wat)?;
        let mut store = Store::new(&engine, ());
        let instance = Instance::new(&mut store, &module, &[])?;
        let run = instance.get_typed_func::<(), ()>(&mut store, "run")?;
        anyhow::Ok(run.call(&mut store, ()).unwrap_err())
    };
    let with_dump = error(Config::new().coredump_on_trap(true).wasm_backtrace(false))?;
    assert_eq!(dump(&with_dump).frames().len(), 1);
    assert!(!with_dump.is::<WasmBacktrace>());
    assert!(!error(&mut Config::new())?.is::<WasmCoreDump>());
    Ok(())
}

#[test]
#[cfg(feature = "threads")]
fn shared_memories_have_a_place_but_no_contents() -> Result<()> {
    let engine = engine();
    let module = Module::new(
        &engine,
        r#"(module (memory 1 1 shared) (memory 1) (func (export "run")
            (i32.store (i32.const 0) (i32.const 1)) (i32.store 1 (i32.const 0) (i32.const 2)) unreachable))"#,
    )?;
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[])?;
    let run = instance.get_typed_func::<(), ()>(&mut store, "run")?;
    let error = run.call(&mut store, ()).unwrap_err();
    assert_eq!(dump(&error).memories().len(), 1);
    let read = read(&dump(&error).serialize(&mut store, ""));
    assert_eq!(read.instances[0].memories, [0, 1]);
    assert_eq!(
        read.memories,
        [(1, BTreeMap::new()), (1, BTreeMap::from([(0, 2)]))]
    );
    Ok(())
}
