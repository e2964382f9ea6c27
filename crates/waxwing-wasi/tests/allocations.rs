//! Reads and writes of a guest do not allocate on the host.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use waxwing::{Engine, Linker, Module, Store};
use waxwing_wasi::preview1::{self, WasiP1Ctx};
use waxwing_wasi::{DirPerms, FilePerms, WasiCtxBuilder};

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

/// The system's allocator, counting what each thread asks of it.
struct Counting;

// SAFETY: every call is passed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: `pointer` came from `alloc` above with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Reads two buffers from descriptor 0 and writes them to descriptors 1 and 4,
/// as often as it is told.
const GUEST: &str = r#"(module
    (import "wasi_snapshot_preview1" "fd_read"
        (func $fd_read (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_write"
        (func $fd_write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_open"
        (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (data (i32.const 0) "\40\00\00\00\04\00\00\00\30\00\00\00\04\00\00\00")
    (data (i32.const 128) "file")
    (func (export "open") (result i32)
        (call $path_open (i32.const 3) (i32.const 0) (i32.const 128) (i32.const 4)
            (i32.const 1) (i64.const 64) (i64.const 0) (i32.const 0) (i32.const 256)))
    (func (export "copy") (param i32) (result i32)
        (local $errno i32)
        (loop $again
            (local.set $errno
                (i32.or
                    (call $fd_read (i32.const 0) (i32.const 0) (i32.const 2) (i32.const 256))
                    (i32.or
                        (call $fd_write (i32.const 1) (i32.const 0) (i32.const 2) (i32.const 256))
                        (call $fd_write
                            (i32.const 4) (i32.const 0) (i32.const 2) (i32.const 256)))))
            (local.set 0 (i32.sub (local.get 0) (i32.const 1)))
            (br_if $again
                (i32.and (i32.eqz (local.get $errno)) (i32.gt_s (local.get 0) (i32.const 0)))))
        (local.get $errno)))"#;

#[test]
fn reads_and_writes_do_not_allocate() {
    let temporary = tempfile::tempdir().unwrap();
    let mut builder = WasiCtxBuilder::new();
    builder
        .preopened_dir(temporary.path(), "/", DirPerms::all(), FilePerms::all())
        .unwrap();
    let engine = Engine::default();
    let module = Module::new(&engine, GUEST).unwrap();
    let mut linker = Linker::new(&engine);
    preview1::add_to_linker_sync(&mut linker, |ctx: &mut WasiP1Ctx| ctx).unwrap();
    let mut store = Store::new(&engine, builder.build_p1());
    let instance = linker.instantiate(&mut store, &module).unwrap();
    let open = instance
        .get_typed_func::<(), i32>(&mut store, "open")
        .unwrap();
    assert_eq!(open.call(&mut store, ()).unwrap(), 0);

    let copy = instance
        .get_typed_func::<i32, i32>(&mut store, "copy")
        .unwrap();
    let mut allocations = |rounds| {
        let before = ALLOCATIONS.get();
        assert_eq!(copy.call(&mut store, rounds).unwrap(), 0);
        ALLOCATIONS.get() - before
    };
    allocations(1);
    assert_eq!(allocations(1000), allocations(1));
    let written = std::fs::metadata(temporary.path().join("file"))
        .unwrap()
        .len();
    assert_eq!(written, 8 * 1002);
}
