//! Waxwing's optimizing compiler: WebAssembly function bodies to machine code, over Cranelift.
//!
//! [`CompilerBuilder`] configures a target and its settings and builds a
//! [`Compiler`](waxwing_environ::compile::Compiler). What generated code may rely on at run time
//! is written in `waxwing-environ`; this crate knows neither the runtime nor the OS.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod abi;
mod bounds;
mod builder;
mod compiler;
mod debug;
mod flags;
mod inline;
mod late;
mod narrow;
mod placement;
mod text;
mod trampolines;
mod translate;
mod traps;
mod unwind;

#[cfg(test)]
mod tests;

pub use builder::{CompilerBuilder, Setting, SettingGroup};
