//! Source places in backtraces of compiled programs, which are in `tests/fixtures/debug`.

use std::path::{Path, PathBuf};
use std::process::Command;
use waxwing::*;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/fixtures/debug")
        .join(name)
}

fn engine() -> Engine {
    Engine::new(Config::new().wasm_backtrace_details(WasmBacktraceDetails::Enable)).unwrap()
}

/// The error of a call that traps.
fn trap(module: &Module, function: &str, arguments: &[i32]) -> Error {
    let mut store = Store::new(module.engine(), ());
    let instance = Instance::new(&mut store, module, &[]).unwrap();
    let function = instance.get_func(&mut store, function).unwrap();
    let arguments: Vec<Val> = arguments.iter().map(|n| Val::I32(*n)).collect();
    let mut results = [Val::I32(0)];
    let called = function.call(&mut store, &arguments, &mut results);
    called.unwrap_err()
}

/// The symbols of each frame: name, file without its directory, line.
fn symbols(error: &Error) -> Vec<Vec<(String, String, u32)>> {
    let backtrace = error.downcast_ref::<WasmBacktrace>().unwrap();
    let symbol = |symbol: &FrameSymbol| {
        let file = symbol.file().unwrap_or_default();
        (
            symbol.name().unwrap_or_default().to_string(),
            file.rsplit('/').next().unwrap().to_string(),
            symbol.line().unwrap_or(0),
        )
    };
    let frames = backtrace.frames().iter();
    frames
        .map(|frame| frame.symbols().iter().map(symbol).collect())
        .collect()
}

/// What the frames of `measure(6, 5)` are in `shapes.cpp`, the innermost inlined function first.
fn check_shapes(error: &Error) {
    let file = || "shapes.cpp".to_string();
    assert_eq!(
        symbols(error),
        [
            vec![
                ("_ZNK6shapes6Square4areaEi".to_string(), file(), 10),
                ("_ZN6shapes5twiceERKNS_6SquareEi".to_string(), file(), 16),
                ("_ZN6shapes7measureERKNS_6SquareEi".to_string(), file(), 20),
            ],
            vec![("run".to_string(), file(), 27)],
        ]
    );
}

#[test]
fn inlined_functions_of_cpp_are_frames_of_their_own() {
    for name in ["shapes.wasm", "shapes5.wasm"] {
        let module = Module::from_file(&engine(), fixture(name)).unwrap();
        let error = trap(&module, "measure", &[6, 5]);
        check_shapes(&error);
        let text = format!("{error:?}");
        for line in [
            "shapes::measure(shapes::Square const&, int)\n",
            "at shapes::Square::area(int) const /guest/shapes.cpp:10:",
            "at shapes::twice(shapes::Square const&, int) /guest/shapes.cpp:16:",
        ] {
            assert!(text.contains(line), "{line}: {text}");
        }
    }
}

#[test]
fn rust_names_are_demangled() {
    let module = Module::from_file(&engine(), fixture("words.wasm")).unwrap();
    let error = trap(&module, "letter", &[7]);
    let text = format!("{error:?}");
    for line in [
        "words::words::letter\n",
        "at words::words::at /guest/words.rs:",
        "at words::words::letter /guest/words.rs:",
        "at letter /guest/words.rs:27:",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
}

#[test]
fn packages_beside_modules_are_found() {
    let engine = engine();
    let module = Module::from_file(&engine, fixture("split.wasm")).unwrap();
    check_shapes(&trap(&module, "measure", &[6, 5]));
    // Artifacts keep what is in the package.
    let artifact = module.serialize().unwrap();
    // SAFETY: the artifact is the engine's own.
    let module = unsafe { Module::deserialize(&engine, artifact) }.unwrap();
    check_shapes(&trap(&module, "measure", &[6, 5]));

    let directory = tempfile::tempdir().unwrap();
    let app = directory.path().join("app.wasm");
    std::fs::copy(fixture("split.wasm"), &app).unwrap();
    let without = Module::from_file(&engine, &app).unwrap();
    let names = symbols(&trap(&without, "measure", &[6, 5]));
    assert!(
        names[0].iter().all(|(name, ..)| name.is_empty()),
        "{names:?}"
    );
    std::fs::write(directory.path().join("app.dwp"), b"damaged").unwrap();
    Module::from_file(&engine, &app).unwrap();
    std::fs::remove_file(directory.path().join("app.dwp")).unwrap();
    std::fs::copy(fixture("split.dwp"), directory.path().join("app.wasm.dwp")).unwrap();
    let module = Module::from_file(&engine, &app).unwrap();
    check_shapes(&trap(&module, "measure", &[6, 5]));
}

#[test]
fn packages_can_be_given() {
    let engine = engine();
    let wasm = std::fs::read(fixture("split.wasm")).unwrap();
    let package = std::fs::read(fixture("split.dwp")).unwrap();
    let mut builder = CodeBuilder::new(&engine);
    builder.wasm_binary(&wasm, None).unwrap();
    builder.dwarf_package(&package).unwrap();
    check_shapes(&trap(
        &builder.compile_module().unwrap(),
        "measure",
        &[6, 5],
    ));
    assert!(builder.dwarf_package(&package).is_err());

    let mut builder = CodeBuilder::new(&engine);
    builder.wasm_binary(&wasm, None).unwrap();
    builder.dwarf_package_file(&fixture("split.dwp")).unwrap();
    check_shapes(&trap(
        &builder.compile_module().unwrap(),
        "measure",
        &[6, 5],
    ));
}

#[test]
fn what_is_no_package_is_refused() {
    let engine = engine();
    let mut builder = CodeBuilder::new(&engine);
    let error = builder
        .dwarf_package_file(&fixture("split.wasm"))
        .err()
        .unwrap();
    let text = format!("{error:#}");
    assert!(
        text.contains("split.wasm") && text.contains(".debug_cu_index"),
        "{text}"
    );
    assert!(builder.dwarf_package(b"\x7fELF\x02 and no more").is_err());
    assert!(builder.dwarf_package(b"text").is_err());
    assert!(builder.dwarf_package_file(&fixture("none.dwp")).is_err());
    let package = std::fs::read(fixture("split.dwp")).unwrap();
    assert!(
        builder
            .dwarf_package(&package[..package.len() - 9])
            .is_err()
    );
}

#[test]
fn damaged_packages_give_no_wrong_places() {
    let engine = engine();
    let wasm = std::fs::read(fixture("split.wasm")).unwrap();
    let package = std::fs::read(fixture("split.dwp")).unwrap();
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    for _ in 0..300 {
        let mut damaged = package.clone();
        for _ in 0..3 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let at = 8 + state as usize % (damaged.len() - 8);
            damaged[at] = (state >> 32) as u8;
        }
        let mut builder = CodeBuilder::new(&engine);
        builder.wasm_binary(&wasm, None).unwrap();
        if builder.dwarf_package(&damaged).is_ok() {
            let module = builder.compile_module().unwrap();
            let error = trap(&module, "measure", &[6, 5]);
            assert_eq!(
                error.downcast_ref::<Trap>(),
                Some(&Trap::UnreachableCodeReached)
            );
        }
    }
}

#[test]
fn without_an_address_map_there_are_functions_but_no_places() {
    let mut config = Config::new();
    config
        .generate_address_map(false)
        .wasm_backtrace_details(WasmBacktraceDetails::Enable);
    let engine = Engine::new(&config).unwrap();
    let module = Module::from_file(&engine, fixture("shapes.wasm")).unwrap();
    let error = trap(&module, "measure", &[6, 5]);
    let frames = error.downcast_ref::<WasmBacktrace>().unwrap().frames();
    let names: Vec<_> = frames.iter().map(FrameInfo::func_name).collect();
    assert_eq!(
        names,
        [
            Some("shapes::measure(shapes::Square const&, int)"),
            Some("run")
        ]
    );
    for frame in frames {
        assert_eq!((frame.module_offset(), frame.func_offset()), (None, None));
        assert!(frame.symbols().is_empty());
    }
}

/// Starts itself again, with other variables.
#[test]
fn the_environment_asks_for_details() {
    const CHILD: &str = "WAXWING_TEST_CHILD";
    if std::env::var_os(CHILD).is_some() {
        let module = Module::from_file(&Engine::default(), fixture("shapes.wasm")).unwrap();
        let error = trap(&module, "measure", &[6, 5]);
        println!("places: {}", symbols(&error)[0].len());
        return;
    }
    let places = |variable: Option<(&str, &str)>| {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["--exact", "the_environment_asks_for_details", "--nocapture"])
            .env_remove("WASMTIME_BACKTRACE_DETAILS")
            .env_remove("WAXWING_BACKTRACE_DETAILS")
            .env(CHILD, "1")
            .envs(variable);
        let output = String::from_utf8(command.output().unwrap().stdout).unwrap();
        let at = output.find("places: ").expect(&output) + "places: ".len();
        output[at..at + 1].parse::<u32>().unwrap()
    };
    assert_eq!(places(None), 0);
    assert_eq!(places(Some(("WASMTIME_BACKTRACE_DETAILS", "1"))), 3);
    assert_eq!(places(Some(("WAXWING_BACKTRACE_DETAILS", "1"))), 3);
    assert_eq!(places(Some(("WAXWING_BACKTRACE_DETAILS", "0"))), 0);
}
