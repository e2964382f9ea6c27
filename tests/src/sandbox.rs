//! A guest that tries to leave its directory.
//!
//! Any sequence of calls of WASI's path functions, with paths made to escape, must leave everything
//! outside the preopened directory unread and unchanged.

use anyhow::{Context, Result, ensure};
use arbitrary::{Arbitrary, Unstructured};
use std::fs;
use std::path::Path;
use std::sync::LazyLock;
use waxwing::{Engine, Instance, Linker, Memory, Module, Store};
use waxwing_wasi::preview1::{self, WasiP1Ctx};
use waxwing_wasi::{DirPerms, FilePerms, WasiCtxBuilder};

/// What the guest must not see.
const SECRET: &[u8] = b"the secret outside";

/// A path: how many pieces it has, and which of [`PIECES`].
type Steps = (u8, [u8; 4]);

/// One call of the guest.
#[derive(Arbitrary, Debug)]
enum Call {
    Open {
        path: Steps,
        lookup: u8,
        create: u8,
        at: u8,
    },
    CreateDirectory(Steps),
    RemoveDirectory(Steps),
    Unlink(Steps),
    Symlink {
        target: Steps,
        path: Steps,
    },
    Link {
        from: Steps,
        to: Steps,
        lookup: u8,
    },
    Rename {
        from: Steps,
        to: Steps,
    },
    ReadLink(Steps),
    Stat {
        path: Steps,
        lookup: u8,
    },
    SetTimes {
        path: Steps,
        lookup: u8,
    },
    Write(u8),
    Read(u8),
    ReadDirectory(u8),
    Renumber(u8, u8),
    Close(u8),
}

/// What paths are made of.
const PIECES: [&str; 24] = [
    "/",
    "..",
    ".",
    "a",
    "b.txt",
    "up",
    "out",
    "loop",
    "new",
    "\\",
    "//",
    "../",
    "../..",
    "secret.txt",
    "..\\",
    "\0",
    "sandbox",
    "./",
    "a/",
    "a/../..",
    "/etc/passwd",
    "C:",
    "é",
    "up/",
];

const GUEST: &str = r#"(module
    (import "wasi_snapshot_preview1" "path_open"
        (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_create_directory"
        (func $create_directory (param i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_remove_directory"
        (func $remove_directory (param i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_unlink_file"
        (func $unlink (param i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_symlink"
        (func $symlink (param i32 i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_link"
        (func $link (param i32 i32 i32 i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_rename"
        (func $rename (param i32 i32 i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_readlink"
        (func $readlink (param i32 i32 i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_filestat_get"
        (func $stat (param i32 i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_filestat_set_times"
        (func $set_times (param i32 i32 i32 i32 i64 i64 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_write"
        (func $write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_read"
        (func $read (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_readdir"
        (func $readdir (param i32 i32 i32 i64 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_renumber"
        (func $renumber (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_close"
        (func $close (param i32) (result i32)))
    (memory (export "memory") 1)
    ;; An iovec over the buffer at 8192, for reading, and one over text, for writing.
    (data (i32.const 0) "\00\20\00\00\00\10\00\00")
    (data (i32.const 8) "\10\00\00\00\07\00\00\00changed")
    ;; The first path is at 1024, the second at 4096; results go to 32.
    (func (export "open") (param $fd i32) (param $len i32) (param $lookup i32) (param $create i32)
        (result i32)
        (call $open (local.get $fd) (local.get $lookup) (i32.const 1024) (local.get $len)
            (local.get $create) (i64.const 0x1fffffff) (i64.const 0x1fffffff) (i32.const 0)
            (i32.const 32)))
    (func (export "create_directory") (param i32) (result i32)
        (call $create_directory (i32.const 3) (i32.const 1024) (local.get 0)))
    (func (export "remove_directory") (param i32) (result i32)
        (call $remove_directory (i32.const 3) (i32.const 1024) (local.get 0)))
    (func (export "unlink") (param i32) (result i32)
        (call $unlink (i32.const 3) (i32.const 1024) (local.get 0)))
    (func (export "symlink") (param i32 i32) (result i32)
        (call $symlink (i32.const 1024) (local.get 0) (i32.const 3) (i32.const 4096) (local.get 1)))
    (func (export "link") (param i32 i32 i32) (result i32)
        (call $link (i32.const 3) (local.get 2) (i32.const 1024) (local.get 0)
            (i32.const 3) (i32.const 4096) (local.get 1)))
    (func (export "rename") (param i32 i32) (result i32)
        (call $rename (i32.const 3) (i32.const 1024) (local.get 0)
            (i32.const 3) (i32.const 4096) (local.get 1)))
    (func (export "readlink") (param i32) (result i32)
        (call $readlink (i32.const 3) (i32.const 1024) (local.get 0)
            (i32.const 8192) (i32.const 4096) (i32.const 32)))
    (func (export "stat") (param i32 i32) (result i32)
        (call $stat (i32.const 3) (local.get 1) (i32.const 1024) (local.get 0) (i32.const 8192)))
    (func (export "set_times") (param i32 i32) (result i32)
        (call $set_times (i32.const 3) (local.get 1) (i32.const 1024) (local.get 0)
            (i64.const 1000000000) (i64.const 1000000000) (i32.const 5)))
    (func (export "write") (param i32) (result i32)
        (call $write (local.get 0) (i32.const 8) (i32.const 1) (i32.const 32)))
    (func (export "read") (param i32) (result i32)
        (call $read (local.get 0) (i32.const 0) (i32.const 1) (i32.const 32)))
    (func (export "readdir") (param i32) (result i32)
        (call $readdir (local.get 0) (i32.const 8192) (i32.const 4096) (i64.const 0)
            (i32.const 32)))
    (func (export "renumber") (param i32 i32) (result i32)
        (call $renumber (local.get 0) (local.get 1)))
    (func (export "close") (param i32) (result i32)
        (call $close (local.get 0))))"#;

static MODULE: LazyLock<Module> =
    LazyLock::new(|| Module::new(&Engine::default(), GUEST).expect("the guest compiles"));

struct Guest {
    store: Store<WasiP1Ctx>,
    instance: Instance,
    memory: Memory,
}

impl Guest {
    fn new(sandbox: &Path) -> Result<Self> {
        let engine = MODULE.engine();
        let mut linker = Linker::new(engine);
        preview1::add_to_linker_sync(&mut linker, |ctx: &mut WasiP1Ctx| ctx)?;
        let wasi = WasiCtxBuilder::new()
            .preopened_dir(sandbox, "/", DirPerms::all(), FilePerms::all())?
            .build_p1();
        let mut store = Store::new(engine, wasi);
        let instance = linker.instantiate(&mut store, &MODULE)?;
        let memory = instance
            .get_memory(&mut store, "memory")
            .context("the guest has a memory")?;
        Ok(Guest {
            store,
            instance,
            memory,
        })
    }

    /// Puts a path at `at` and returns its length.
    fn path(&mut self, at: usize, (count, steps): &Steps) -> Result<i32> {
        // Short paths more often than long ones.
        let count = [1, 1, 1, 2, 3, 4][usize::from(*count) % 6];
        let mut path = String::new();
        for step in &steps[..count] {
            path.push_str(PIECES[usize::from(*step) % PIECES.len()]);
        }
        self.memory.write(&mut self.store, at, path.as_bytes())?;
        Ok(path.len() as i32)
    }

    fn call<P: waxwing::WasmParams>(&mut self, name: &str, params: P) -> Result<i32> {
        self.instance
            .get_typed_func::<P, i32>(&mut self.store, name)?
            .call(&mut self.store, params)
    }

    fn make(&mut self, call: &Call) -> Result<i32> {
        // Descriptors: 3 is the directory, and what is opened follows.
        let fd = |n: u8| 3 + i32::from(n % 6);
        let (first, second) = (1024, 4096);
        match call {
            Call::Open {
                path,
                lookup,
                create,
                at,
            } => {
                let len = self.path(first, path)?;
                // Half of all calls open what exists, relative to the directory given to the guest.
                let create = if create & 16 == 0 { create & 15 } else { 0 };
                let at = if at & 64 == 0 { 3 } else { fd(*at) };
                self.call("open", (at, len, i32::from(lookup & 1), i32::from(create)))
            }
            Call::CreateDirectory(path) => {
                let len = self.path(first, path)?;
                self.call("create_directory", len)
            }
            Call::RemoveDirectory(path) => {
                let len = self.path(first, path)?;
                self.call("remove_directory", len)
            }
            Call::Unlink(path) => {
                let len = self.path(first, path)?;
                self.call("unlink", len)
            }
            Call::Symlink { target, path } => {
                let lens = (self.path(first, target)?, self.path(second, path)?);
                self.call("symlink", lens)
            }
            Call::Link { from, to, lookup } => {
                let lens = (self.path(first, from)?, self.path(second, to)?);
                self.call("link", (lens.0, lens.1, i32::from(lookup & 1)))
            }
            Call::Rename { from, to } => {
                let lens = (self.path(first, from)?, self.path(second, to)?);
                self.call("rename", lens)
            }
            Call::ReadLink(path) => {
                let len = self.path(first, path)?;
                self.call("readlink", len)
            }
            Call::Stat { path, lookup } => {
                let len = self.path(first, path)?;
                self.call("stat", (len, i32::from(lookup & 1)))
            }
            Call::SetTimes { path, lookup } => {
                let len = self.path(first, path)?;
                self.call("set_times", (len, i32::from(lookup & 1)))
            }
            Call::Write(n) => self.call("write", fd(*n)),
            Call::Read(n) => self.call("read", fd(*n)),
            Call::ReadDirectory(n) => self.call("readdir", fd(*n)),
            Call::Renumber(from, to) => self.call("renumber", (fd(*from), fd(*to))),
            // The directory itself stays open, or all that follows would fail.
            Call::Close(n) => self.call("close", fd(*n).max(4)),
        }
    }
}

/// How many calls a guest made, and how many of them succeeded.
#[derive(Clone, Copy, Debug, Default)]
pub struct Calls {
    /// All calls.
    pub made: u64,
    /// Those that returned no error to the guest.
    pub succeeded: u64,
}

/// Lets a guest make the calls that `u` describes.
///
/// # Errors
///
/// When a call traps, or when something outside the directory was seen or changed.
///
/// # Panics
///
/// When the host's file system cannot be prepared.
pub fn escape(u: &mut Unstructured<'_>) -> Result<Calls> {
    let outside = tempfile::tempdir().expect("a temporary folder");
    let sandbox = outside.path().join("sandbox");
    prepare(outside.path(), &sandbox).expect("files can be made");
    let before = describe(outside.path())?;

    let mut guest = Guest::new(&sandbox)?;
    let mut calls = Calls::default();
    while !u.is_empty() && calls.made < 100 {
        let Ok(call) = Call::arbitrary(u) else { break };
        let errno = guest
            .make(&call)
            .with_context(|| format!("call {}: {call:?}", calls.made))?;
        calls.made += 1;
        calls.succeeded += u64::from(errno == 0);
        // What is read arrives at the buffer's start; what is listed or linked does not matter.
        let seen = &guest.memory.data(&guest.store)[8192..][..SECRET.len()];
        ensure!(seen != SECRET, "the guest read the secret by {call:?}");
    }
    drop(guest);
    let after = describe(outside.path())?;
    ensure!(
        before == after,
        "outside the directory: before {before:?}, after {after:?}"
    );
    Ok(calls)
}

fn prepare(outside: &Path, sandbox: &Path) -> std::io::Result<()> {
    fs::write(outside.join("secret.txt"), SECRET)?;
    fs::create_dir(outside.join("other"))?;
    fs::create_dir_all(sandbox.join("a/a"))?;
    fs::write(sandbox.join("b.txt"), "inside")?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::symlink;
        symlink("..", sandbox.join("up"))?;
        symlink(outside.join("secret.txt"), sandbox.join("out"))?;
        symlink("loop", sandbox.join("loop"))?;
    }
    Ok(())
}

/// All that is outside the sandbox: names, contents and times of change.
fn describe(outside: &Path) -> Result<Vec<(String, Vec<u8>, std::time::SystemTime)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(outside)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name == "sandbox" {
            continue;
        }
        let metadata = entry.metadata()?;
        let contents = if metadata.is_file() {
            fs::read(entry.path())?
        } else {
            let inside: Vec<_> = fs::read_dir(entry.path())?.collect::<Result<_, _>>()?;
            format!("{inside:?}").into_bytes()
        };
        found.push((name, contents, metadata.modified()?));
    }
    found.sort();
    ensure!(
        fs::symlink_metadata(outside.join("sandbox"))?.is_dir(),
        "the directory itself was replaced"
    );
    Ok(found)
}
