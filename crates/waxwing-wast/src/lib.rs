//! Runs WebAssembly specification scripts (`.wast`) on Waxwing.
//!
//! A script is a list of directives: modules to instantiate, functions to
//! invoke, and assertions about what must happen. [`WastContext`] runs them
//! against the public embedding API and writes what happened to a [`Report`];
//! a directive that fails does not stop the script.
//!
//! ```
//! use waxwing::Engine;
//! use waxwing_wast::{Report, SpectestOutput, WastContext};
//!
//! let script = r#"
//!     (module (func (export "add") (param i32 i32) (result i32)
//!         (i32.add (local.get 0) (local.get 1))))
//!     (assert_return (invoke "add" (i32.const 1) (i32.const 2)) (i32.const 3))
//! "#;
//! let mut report = Report::default();
//! WastContext::new(&Engine::default(), SpectestOutput::Discard)?
//!     .run_wast("add.wast", script, &mut report);
//! assert!(report.is_success(), "{:?}", report.failures);
//! assert_eq!(report.assertions.passed, 1);
//! # Ok::<(), anyhow::Error>(())
//! ```
//!
//! With an engine that has [`Config::async_support`](waxwing::Config::async_support), everything runs in asynchronous
//! calls, which are polled until they are ready. If it has
//! [`Config::consume_fuel`](waxwing::Config::consume_fuel) too, they are suspended again and again meanwhile.
//!
//! # What counts as passing
//!
//! - `assert_return`: every result equals its pattern, bit for bit;
//!   `nan:canonical`, `nan:arithmetic`, `either` and the `ref.*` patterns match
//!   as the specification's script grammar says.
//! - `assert_trap`, `assert_exhaustion`: the engine must report a trap whose
//!   kind is one that the script's text may name. Texts are compared by prefix,
//!   as the reference interpreter does.
//! - `assert_unlinkable`: instantiation must fail with a matching link error.
//! - `assert_invalid`, `assert_malformed` and their custom-section forms: the
//!   text parser, or else the engine, must reject the module. The texts that
//!   the script gives are those of the reference interpreter, so the reason is
//!   not compared.
//! - `assert_exception`: the invocation must throw an exception that nothing catches.
//! - `assert_invalid_custom`, `assert_malformed_custom`: as without `_custom`; counted as skipped
//!   if the module is accepted, since engines need not look into custom sections.
//! - `thread`: the directives run on a thread with a store of its own. What is defined there before
//!   they run is the `spectest` module, and of what the script has registered or names with
//!   `shared` the shared memories, which stores can share.
//! - Directives about components and `assert_suspension` are counted as skipped.

#![warn(missing_docs)]

mod context;
mod messages;
mod report;
mod script;
mod spectest;
mod values;
mod wait;

pub use context::WastContext;
pub use report::{Failure, Report, Tally};
pub use spectest::SpectestOutput;
