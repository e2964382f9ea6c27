//! Arguments, environment, random numbers, the end of a guest, and guests that
//! are not set up for WASI.

use crate::guest::{Guest, MEMORY};
use waxwing::{Engine, Linker, Module, Store};
use waxwing_wasi::preview1::{self, Errno, WasiP1Ctx};
use waxwing_wasi::{I32Exit, WasiCtx, WasiCtxBuilder};

/// Reads a list of strings that `get` and `sizes` give.
fn strings(guest: &mut Guest, sizes: &str, get: &str) -> Vec<String> {
    guest.call(sizes, &[0, 4]).unwrap();
    let (count, length) = (guest.u32(0), guest.u32(4));
    guest.call(get, &[16, 1024]).unwrap();
    let bytes = guest.read(1024, length);
    (0..count)
        .map(|index| {
            let start = guest.u32(16 + 4 * index) as usize - 1024;
            let string = bytes[start..].split(|&byte| byte == 0).next().unwrap();
            String::from_utf8(string.to_vec()).unwrap()
        })
        .collect()
}

#[test]
fn arguments_and_environment_are_stored_in_order() {
    let mut builder = WasiCtxBuilder::new();
    builder
        .arg("program")
        .args(&["", "häß"])
        .env("A", "1")
        .envs(&[("B", "2"), ("A", "=3")]);
    let mut guest = Guest::new(&mut builder);
    let args = strings(&mut guest, "args_sizes_get", "args_get");
    assert_eq!(args, ["program", "", "häß"]);
    let environ = strings(&mut guest, "environ_sizes_get", "environ_get");
    assert_eq!(environ, ["A==3", "B=2"]);
}

#[test]
fn a_new_context_has_no_arguments_and_no_environment() {
    let mut guest = Guest::new(&mut WasiCtxBuilder::new());
    assert!(strings(&mut guest, "args_sizes_get", "args_get").is_empty());
    assert!(strings(&mut guest, "environ_sizes_get", "environ_get").is_empty());
}

#[test]
fn inherited_arguments_and_environment_are_those_of_the_process() {
    let mut builder = WasiCtxBuilder::new();
    builder.inherit_args().inherit_env();
    let mut guest = Guest::new(&mut builder);
    let args = strings(&mut guest, "args_sizes_get", "args_get");
    assert_eq!(args, std::env::args().collect::<Vec<_>>());
    guest.call("environ_sizes_get", &[0, 4]).unwrap();
    assert_eq!(guest.u32(0) as usize, std::env::vars_os().count());
}

#[test]
fn lists_that_do_not_fit_into_the_memory_are_refused() {
    let mut guest = Guest::new(WasiCtxBuilder::new().arg("argument"));
    let end = i64::from(MEMORY);
    assert_eq!(guest.call("args_sizes_get", &[end, 0]), Err(Errno::Fault));
    assert_eq!(guest.call("args_sizes_get", &[0, -1]), Err(Errno::Fault));
    assert_eq!(guest.call("args_get", &[0, end - 8]), Err(Errno::Fault));
    assert_eq!(guest.call("args_get", &[end - 3, 0]), Err(Errno::Fault));
    assert_eq!(guest.call("args_get", &[end - 4, end - 9 - 4]), Ok(()));
}

#[test]
fn random_bytes_fill_exactly_the_buffer() {
    let mut guest = Guest::new(&mut WasiCtxBuilder::new());
    guest.call("random_get", &[64, 64]).unwrap();
    assert_eq!(guest.read(0, 64), [0; 64]);
    assert_ne!(guest.read(64, 64), [0; 64]);
    assert_eq!(guest.read(128, 64), [0; 64]);
    let first = guest.read(64, 64);
    guest.call("random_get", &[64, 64]).unwrap();
    assert_ne!(guest.read(64, 64), first);

    assert_eq!(guest.call("random_get", &[i64::from(MEMORY), 0]), Ok(()));
    assert_eq!(
        guest.call("random_get", &[1, MEMORY.into()]),
        Err(Errno::Fault)
    );
    assert_eq!(guest.call("random_get", &[0, -1]), Err(Errno::Fault));
}

#[test]
fn a_seed_makes_random_bytes_repeatable() {
    let bytes = |seed| {
        let mut guest = Guest::new(WasiCtxBuilder::new().random_seed(seed));
        guest.call("random_get", &[0, 32]).unwrap();
        guest.read(0, 32)
    };
    assert_eq!(bytes(1), bytes(1));
    assert_ne!(bytes(1), bytes(2));
}

#[test]
fn proc_exit_carries_its_status() {
    for status in [0, 1, 255, -1, i32::MIN] {
        let mut guest = Guest::new(&mut WasiCtxBuilder::new());
        let error = guest.try_call("proc_exit", &[status.into()]).unwrap_err();
        assert_eq!(error.downcast_ref(), Some(&I32Exit(status)));
        let message = error.root_cause().to_string();
        assert_eq!(message, format!("exited with status {status}"));
    }
}

#[test]
fn raised_signals_have_their_default_actions() {
    let mut guest = Guest::new(&mut WasiCtxBuilder::new());
    assert_eq!(guest.call("proc_raise", &[0]), Ok(()));
    assert_eq!(guest.call("proc_raise", &[16]), Ok(()));
    assert_eq!(guest.call("proc_raise", &[18]), Err(Errno::Notsup));
    assert_eq!(guest.call("proc_raise", &[31]), Err(Errno::Inval));
    let error = guest.try_call("proc_raise", &[6]).unwrap_err();
    assert_eq!(error.downcast_ref(), Some(&I32Exit(134)));
}

#[test]
fn yielding_succeeds() {
    let mut guest = Guest::new(&mut WasiCtxBuilder::new());
    assert_eq!(guest.call("sched_yield", &[]), Ok(()));
}

/// Runs `start` of a module whose state is a context with nothing in it.
fn run(text: &str) -> anyhow::Result<()> {
    let engine = Engine::default();
    let module = Module::new(&engine, text)?;
    let mut linker = Linker::new(&engine);
    preview1::add_to_linker_sync(&mut linker, |ctx: &mut WasiP1Ctx| ctx)?;
    let ctx = WasiP1Ctx::new(WasiCtx::builder().build());
    let mut store = Store::new(&engine, ctx);
    let instance = linker.instantiate(&mut store, &module)?;
    let start = instance.get_typed_func::<(), ()>(&mut store, "start")?;
    start.call(&mut store, ())
}

#[test]
fn without_a_memory_calls_that_need_one_trap() {
    let guest = |rest: &str| {
        format!(
            "(module (import \"wasi_snapshot_preview1\" \"random_get\"
                (func $random_get (param i32 i32) (result i32)))
              {rest}
              (func (export \"start\")
                (drop (call $random_get (i32.const 0) (i32.const 0)))))"
        )
    };
    let message = |text: &str| format!("{:#}", run(text).unwrap_err().root_cause());
    assert!(message(&guest("")).contains("exports no memory"));
    assert!(message(&guest("(memory 1)")).contains("exports no memory"));
    let global = "(global (export \"memory\") i32 (i32.const 0))";
    assert!(message(&guest(global)).contains("is not a linear memory"));
    run(&guest("(memory (export \"memory\") 0)")).unwrap();
}

#[test]
fn without_a_memory_other_calls_work() {
    run("(module
        (import \"wasi_snapshot_preview1\" \"fd_close\" (func $fd_close (param i32) (result i32)))
        (func (export \"start\")
            (if (i32.ne (call $fd_close (i32.const 99)) (i32.const 8)) (then unreachable))))")
    .unwrap();
}

#[test]
fn defining_the_functions_twice_is_an_error() {
    let mut linker = Linker::<WasiP1Ctx>::new(&Engine::default());
    preview1::add_to_linker_sync(&mut linker, |ctx| ctx).unwrap();
    assert!(preview1::add_to_linker_sync(&mut linker, |ctx| ctx).is_err());
}
