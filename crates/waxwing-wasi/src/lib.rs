//! WASI for programs that embed Waxwing.
//!
//! A [`WasiCtxBuilder`] says what a guest may see: its arguments and
//! environment, its standard streams, the directories opened for it, its
//! clocks and its source of random numbers. What is not given does not exist
//! for the guest: a fresh builder has no arguments, no environment, no
//! directories, an empty standard input, and swallows output.
//!
//! The [`preview1`] module turns the context into the functions that modules
//! import as `wasi_snapshot_preview1` (or, from older toolchains,
//! `wasi_unstable`).
//!
//! ```
//! use waxwing::{Engine, Linker, Module, Store};
//! use waxwing_wasi::pipe::MemoryOutputPipe;
//! use waxwing_wasi::preview1::{self, WasiP1Ctx};
//! use waxwing_wasi::WasiCtxBuilder;
//!
//! # fn main() -> anyhow::Result<()> {
//! let engine = Engine::default();
//! let module = Module::new(
//!     &engine,
//!     r#"(module
//!         (import "wasi_snapshot_preview1" "fd_write"
//!             (func $fd_write (param i32 i32 i32 i32) (result i32)))
//!         (memory (export "memory") 1)
//!         (data (i32.const 0) "\08\00\00\00\06\00\00\00hello\n")
//!         (func (export "_start")
//!             (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16)))))"#,
//! )?;
//!
//! let mut linker = Linker::new(&engine);
//! preview1::add_to_linker_sync(&mut linker, |ctx: &mut WasiP1Ctx| ctx)?;
//!
//! let output = MemoryOutputPipe::new(4096);
//! let wasi = WasiCtxBuilder::new().stdout(output.clone()).build_p1();
//! let mut store = Store::new(&engine, wasi);
//! let instance = linker.instantiate(&mut store, &module)?;
//! instance.get_typed_func::<(), ()>(&mut store, "_start")?.call(&mut store, ())?;
//!
//! assert_eq!(output.contents(), b"hello\n");
//! # Ok(())
//! # }
//! ```
//!
//! # The sandbox
//!
//! A guest reaches files only through directories that were opened for it
//! with [`WasiCtxBuilder::preopened_dir`]. Paths are resolved by `cap-std`
//! relative to an open directory handle: absolute paths, `..` beyond the
//! directory and symbolic links that lead out of it are refused with
//! [`Errno::Perm`](preview1::Errno::Perm), also when the file system changes
//! while a path is being resolved.
//!
//! # Blocking
//!
//! Calls that wait (a read from a terminal, `poll_oneoff`, `sock_accept`)
//! block the calling thread.

mod clocks;
mod ctx;
mod exit;
pub mod pipe;
pub mod preview1;
mod socket;
mod streams;
mod sys;

pub use cap_rand::RngCore;
pub use clocks::{HostMonotonicClock, HostWallClock};
pub use ctx::{DirPerms, FilePerms, WasiCtx, WasiCtxBuilder};
pub use exit::I32Exit;
pub use socket::Socket;
pub use streams::{
    InputFile, InputStream, OutputFile, OutputStream, PollHandle, ReaderStream, Readiness, Stderr,
    Stdin, Stdout, WriterStream, stderr, stdin, stdout,
};
