//! One module a command: its arguments, and `execute`.

pub mod compile;
pub mod completions;
pub mod config;
pub mod inspect;
pub mod run;
pub mod validate;
pub mod wast;
