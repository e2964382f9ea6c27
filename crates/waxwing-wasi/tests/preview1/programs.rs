//! Whole programs, compiled from C: see `tests/fixtures/wasi` in the workspace.

use crate::guest::scratch;
use anyhow::Result;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use waxwing::{Engine, Linker, Module, Store};
use waxwing_wasi::pipe::{MemoryInputPipe, MemoryOutputPipe};
use waxwing_wasi::preview1::{self, WasiP1Ctx};
use waxwing_wasi::{DirPerms, FilePerms, I32Exit, InputFile, OutputFile, WasiCtxBuilder};

/// What a program did.
#[derive(Debug, PartialEq, Eq)]
struct Ran {
    status: i32,
    output: String,
    errors: String,
}

impl Ran {
    fn new(status: i32, output: &str, errors: &str) -> Self {
        let (output, errors) = (output.to_owned(), errors.to_owned());
        Self {
            status,
            output,
            errors,
        }
    }
}

/// Runs the program, and gives the status that it exits with.
fn start(name: &str, builder: &mut WasiCtxBuilder) -> Result<i32> {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/wasi");
    let engine = Engine::default();
    let module = Module::from_file(&engine, fixtures.join(name).with_extension("wasm"))?;
    let mut linker = Linker::new(&engine);
    preview1::add_to_linker_sync(&mut linker, |ctx: &mut WasiP1Ctx| ctx)?;
    let mut store = Store::new(&engine, builder.build_p1());
    let instance = linker.instantiate(&mut store, &module)?;
    let start = instance.get_typed_func::<(), ()>(&mut store, "_start")?;
    match start.call(&mut store, ()) {
        Ok(()) => Ok(0),
        Err(error) => match error.downcast_ref() {
            Some(&I32Exit(status)) => Ok(status),
            None => Err(error),
        },
    }
}

/// Runs the program with its output in memory.
fn run(name: &str, builder: &mut WasiCtxBuilder) -> Ran {
    let (output, errors) = (
        MemoryOutputPipe::new(1 << 20),
        MemoryOutputPipe::new(1 << 20),
    );
    builder.stdout(output.clone()).stderr(errors.clone());
    let status = start(name, builder).unwrap();
    let text = |pipe: MemoryOutputPipe| String::from_utf8(pipe.contents()).unwrap();
    Ran {
        status,
        output: text(output),
        errors: text(errors),
    }
}

#[test]
fn hello() {
    let ran = run("hello", &mut WasiCtxBuilder::new());
    assert_eq!(ran, Ran::new(0, "Hello, world!\n", "to standard error\n"));
}

#[test]
fn printenv() {
    let mut builder = WasiCtxBuilder::new();
    builder
        .args(&["printenv", "a b", ""])
        .env("HOME", "/there")
        .env("EMPTY", "");
    let output = "0: printenv\n1: a b\n2: \nHOME=/there\nEMPTY=\nhome is /there\n";
    assert_eq!(run("printenv", &mut builder), Ran::new(3, output, ""));
}

#[test]
fn cat() {
    let ran = run(
        "cat",
        WasiCtxBuilder::new().stdin(MemoryInputPipe::new("piped\n")),
    );
    assert_eq!(ran, Ran::new(0, "piped\n", ""));

    let temporary = scratch();
    std::fs::write(temporary.path().join("a"), "from a\n").unwrap();
    std::fs::write(temporary.path().join("b"), "from b\n").unwrap();
    let mut builder = WasiCtxBuilder::new();
    builder
        .args(&[
            "cat",
            "/data/a",
            "/data/missing",
            "/data/./b",
            "/etc/passwd",
        ])
        .preopened_dir(temporary.path(), "/data", DirPerms::READ, FilePerms::READ)
        .unwrap();
    let ran = run("cat", &mut builder);
    assert_eq!((ran.status, &*ran.output), (1, "from a\nfrom b\n"));
    assert!(
        ran.errors
            .starts_with("cat: /data/missing: No such file or directory\n")
    );
    assert!(ran.errors.contains("cat: /etc/passwd: "));
}

/// The test runs itself as another process, in which the guest gets the
/// standard streams.
#[test]
fn inherited_streams() {
    const ROLE: &str = "WAXWING_WASI_TEST_CHILD";
    if std::env::var_os(ROLE).is_some() {
        print!("from the host, ");
        let mut builder = WasiCtxBuilder::new();
        builder.inherit_stdio();
        start("checksum", &mut builder).unwrap();
        return;
    }
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "programs::inherited_streams", "--nocapture"])
        .env(ROLE, "")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(b"through the guest")
        .unwrap();
    let ran = child.wait_with_output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    assert!(
        text(&ran.stdout).contains("from the host, through the guest"),
        "{ran:?}"
    );
    assert!(text(&ran.stderr).contains("17 3cb906ab"), "{ran:?}");
}

#[test]
fn files() {
    let temporary = scratch();
    let mut builder = WasiCtxBuilder::new();
    builder
        .args(&["files", "/work"])
        .preopened_dir(temporary.path(), "/work", DirPerms::all(), FilePerms::all())
        .unwrap();
    assert_eq!(run("files", &mut builder), Ran::new(0, "all done\n", ""));
    assert_eq!(std::fs::read_dir(temporary.path()).unwrap().count(), 0);
}

#[test]
fn clocks() {
    let start = Instant::now();
    let ran = run("clocks", WasiCtxBuilder::new().args(&["clocks", "30"]));
    assert_eq!(ran, Ran::new(0, "slept\n", ""));
    assert!(start.elapsed() >= Duration::from_millis(36));
}

#[test]
fn checksum_of_large_input() {
    let temporary = scratch();
    let (input, output) = (temporary.path().join("in"), temporary.path().join("out"));
    let bytes: Vec<u8> = (0..8_u32 << 20)
        .map(|index| (index.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    std::fs::write(&input, &bytes).unwrap();
    let errors = MemoryOutputPipe::new(100);
    let mut builder = WasiCtxBuilder::new();
    builder
        .stdin(InputFile::new(std::fs::File::open(&input).unwrap()))
        .stdout(OutputFile::new(std::fs::File::create(&output).unwrap()))
        .stderr(errors.clone());
    assert_eq!(start("checksum", &mut builder).unwrap(), 0);
    assert!(std::fs::read(&output).unwrap() == bytes);

    let (mut a, mut b) = (1_u32, 0_u32);
    for byte in &bytes {
        a = (a + u32::from(*byte)) % 65521;
        b = (b + a) % 65521;
    }
    let expected = format!("{} {:08x}\n", bytes.len(), b << 16 | a);
    assert_eq!(String::from_utf8(errors.contents()).unwrap(), expected);
}

#[test]
fn serve() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let client = std::thread::spawn(move || {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(b"shout this").unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).unwrap();
        reply
    });
    let ran = run("serve", WasiCtxBuilder::new().preopened_socket(listener));
    assert_eq!(ran, Ran::new(0, "", ""));
    assert_eq!(client.join().unwrap(), "SHOUT THIS");
}
