//! One module a command: its arguments, and `execute`.

pub mod compile;
pub mod completions;
pub mod config;
#[cfg(feature = "disas")]
pub mod explore;
pub mod inspect;
#[cfg(feature = "disas")]
pub mod objdump;
pub mod run;
pub mod settings;
pub mod validate;
pub mod wast;
