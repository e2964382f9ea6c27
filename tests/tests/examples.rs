//! The programs under `examples/` do what they say.

use std::collections::BTreeMap;
use std::path::Path;
use waxwing::{Engine, Linker, Module, Store};
use waxwing_wasi::pipe::MemoryOutputPipe;
use waxwing_wasi::preview1::{self, WasiP1Ctx};
use waxwing_wasi::{I32Exit, WasiCtxBuilder};

/// What each program prints.
const PRINTS: [(&str, &str); 1] = [("hello.wat", "Hello from Waxwing!\n")];

#[test]
fn every_text_program_prints_what_it_should() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let programs: Vec<_> = std::fs::read_dir(&folder)
        .expect("the folder exists")
        .map(|entry| entry.expect("the folder can be listed").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "wat"))
        .collect();
    let prints = BTreeMap::from(PRINTS);
    assert_eq!(programs.len(), prints.len(), "programs: {programs:?}");
    for program in programs {
        let name = program.file_name().and_then(|name| name.to_str());
        let name = name.expect("names of examples are plain");
        assert_eq!(run(&program), prints[name], "{name}");
    }
}

/// Runs a command and returns what it prints.
fn run(program: &Path) -> String {
    let engine = Engine::default();
    let module = Module::from_file(&engine, program).expect("the example compiles");
    let mut linker = Linker::new(&engine);
    preview1::add_to_linker_sync(&mut linker, |ctx: &mut WasiP1Ctx| ctx)
        .expect("the names are free");
    let output = MemoryOutputPipe::new(1 << 16);
    let wasi = WasiCtxBuilder::new().stdout(output.clone()).build_p1();
    let mut store = Store::new(&engine, wasi);
    let instance = linker
        .instantiate(&mut store, &module)
        .expect("the example instantiates");
    let start = instance
        .get_typed_func::<(), ()>(&mut store, "_start")
        .expect("the example is a command");
    if let Err(error) = start.call(&mut store, ()) {
        let exit = error.downcast_ref::<I32Exit>().expect("it does not trap");
        assert_eq!(exit.0, 0);
    }
    String::from_utf8(output.contents()).expect("the output is text")
}
