//! The `waxwing` command: runs, compiles, validates and inspects WebAssembly.
//!
//! # Exit codes
//!
//! | code | when |
//! |---|---|
//! | what the guest passed to `proc_exit` | the guest ended itself; a status outside of 0..=255 becomes 1 |
//! | 0 | success |
//! | 1 | usage, load and link errors, and failed checks of `validate` and `wast` |
//! | 134 | the guest trapped, or a host function that it called failed |

#![warn(missing_docs)]

#[cfg(feature = "disas")]
mod code;
mod commands;
mod load;
mod logging;
mod options;
mod output;
mod progress;
mod values;

use clap::error::{ContextKind, ContextValue};
use clap::{Parser, Subcommand};
use commands::{compile, completions, config, inspect, run, settings, validate, wast};
#[cfg(feature = "disas")]
use commands::{explore, objdump};
use std::ffi::OsString;
use std::process::ExitCode;

/// A WebAssembly engine: runs, compiles, validates and inspects modules.
#[derive(Parser)]
#[command(
    name = "waxwing",
    version,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    arg_required_else_help = true,
    override_usage = "waxwing [OPTIONS] FILE [ARGS]...\n       waxwing <COMMAND> …",
    after_help = "Without a command, `waxwing FILE` runs FILE, with the options of `waxwing run`.\n\
                  Each option group lists its keys: `waxwing -C help`, `-O help`, `-W help`, \
                  `-S help`, `-D help`."
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,

    #[command(flatten)]
    run: run::Args,
}

#[derive(Subcommand)]
enum Command {
    Run(run::Args),
    Compile(compile::Args),
    Validate(validate::Args),
    Wast(wast::Args),
    Inspect(inspect::Args),
    #[cfg(feature = "disas")]
    Objdump(objdump::Args),
    #[cfg(feature = "disas")]
    Explore(explore::Args),
    Settings(settings::Args),
    Config(config::Args),
    Completions(completions::Args),
}

/// Runs the command that the process's arguments ask for.
pub fn main() -> ExitCode {
    main_with(std::env::args_os())
}

/// Runs the command that `args`, which begin with the program's name, ask for.
///
/// Returns the exit code that the process should end with.
pub fn main_with(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    let result = match cli.command {
        None => cli.run.execute_shorthand(),
        Some(Command::Run(args)) => args.execute(),
        Some(Command::Compile(args)) => args.execute(),
        Some(Command::Validate(args)) => args.execute(),
        Some(Command::Wast(args)) => args.execute(),
        Some(Command::Inspect(args)) => args.execute(),
        #[cfg(feature = "disas")]
        Some(Command::Objdump(args)) => args.execute(),
        #[cfg(feature = "disas")]
        Some(Command::Explore(args)) => args.execute(),
        Some(Command::Settings(args)) => args.execute(),
        Some(Command::Config(args)) => args.execute(),
        Some(Command::Completions(args)) => args.execute(),
    };
    result.unwrap_or_else(|error| {
        output::error(&error);
        ExitCode::FAILURE
    })
}

/// Prints what the argument parser has to say: help, the version, or an error.
fn usage(error: &clap::Error) -> ExitCode {
    let printed = match error.get(ContextKind::Custom) {
        Some(ContextValue::String(help)) => output::print(help),
        _ => error.print().map_err(Into::into),
    };
    if printed.is_ok() && !error.use_stderr() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
