//! Programs that use WASI run in asynchronous calls: its functions do not wait, which is no hindrance.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use waxwing::{Caller, Config, Engine, Linker, Module, Store};
use waxwing_wasi::pipe::MemoryOutputPipe;
use waxwing_wasi::preview1::{self, WasiP1Ctx};
use waxwing_wasi::{I32Exit, WasiCtxBuilder};

const PROGRAM: &str = r#"(module
    (import "wasi_snapshot_preview1" "fd_write"
        (func $fd_write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "random_get" (func $random_get (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "sched_yield" (func $sched_yield (result i32)))
    (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
    (import "host" "wait" (func $wait))
    (memory (export "memory") 1)
    (data (i32.const 0) "\08\00\00\00\06\00\00\00hello\n")
    (func (export "_start")
        (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16)))
        (call $wait)
        (drop (call $random_get (i32.const 100) (i32.const 100)))
        (drop (call $sched_yield))
        (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16)))
        (call $proc_exit (i32.const 3))))"#;

#[test]
fn a_program_writes_waits_and_exits() {
    let engine = Engine::new(Config::new().async_support(true)).unwrap();
    let module = Module::new(&engine, PROGRAM).unwrap();
    let mut linker = Linker::new(&engine);
    preview1::add_to_linker_sync(&mut linker, |ctx: &mut WasiP1Ctx| ctx).unwrap();
    linker
        .func_wrap_async("host", "wait", |_: Caller<'_, WasiP1Ctx>, (): ()| {
            let mut waits = true;
            Box::new(std::future::poll_fn(move |_| {
                match std::mem::replace(&mut waits, false) {
                    true => Poll::Pending,
                    false => Poll::Ready(()),
                }
            }))
        })
        .unwrap();
    let output = MemoryOutputPipe::new(4096);
    let wasi = WasiCtxBuilder::new().stdout(output.clone()).build_p1();
    let mut store = Store::new(&engine, wasi);
    let mut run = pin!(async {
        let instance = linker.instantiate_async(&mut store, &module).await?;
        let start = instance.get_typed_func::<(), ()>(&mut store, "_start")?;
        start.call_async(&mut store, ()).await
    });
    let mut cx = Context::from_waker(Waker::noop());
    assert!(run.as_mut().poll(&mut cx).is_pending());
    assert_eq!(output.contents(), b"hello\n");
    let Poll::Ready(result) = run.as_mut().poll(&mut cx) else {
        panic!("nothing else waits");
    };
    assert_eq!(result.unwrap_err().downcast_ref::<I32Exit>().unwrap().0, 3);
    assert_eq!(output.contents(), b"hello\nhello\n");
}
