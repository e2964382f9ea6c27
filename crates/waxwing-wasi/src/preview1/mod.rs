//! WASI preview 1: the functions of `wasi_snapshot_preview1`, and of its
//! forerunner `wasi_unstable`.

mod descriptor;
mod linker;
mod memory;
mod path;
mod poll;
mod process;
mod snapshot0;
mod socket;
mod table;
mod types;

pub use linker::add_to_linker_sync;
pub use types::Errno;
pub(crate) use types::{Advice, FileType, NewTime, for_each_errno};

use crate::clocks::{HostMonotonicClock, HostWallClock};
use crate::ctx::WasiCtx;
use cap_rand::RngCore;
use process::StringList;
use std::fmt;
use table::Table;

/// The state of one guest of WASI preview 1: its open descriptors and what
/// else [`WasiCtx`] gives it. Put it into the data of a `Store`.
///
/// Made by [`WasiCtxBuilder::build_p1`](crate::WasiCtxBuilder::build_p1).
pub struct WasiP1Ctx {
    args: StringList,
    environ: StringList,
    table: Table,
    random: Box<dyn RngCore + Send>,
    wall_clock: Box<dyn HostWallClock>,
    monotonic_clock: Box<dyn HostMonotonicClock>,
}

impl WasiP1Ctx {
    /// The state of a guest that has not run yet.
    pub fn new(ctx: WasiCtx) -> Self {
        let environ = ctx
            .env
            .iter()
            .map(|(name, value)| format!("{name}={value}"));
        Self {
            args: StringList::new(ctx.args.iter()),
            environ: StringList::new(environ),
            table: Table::new(ctx.stdin, ctx.stdout, ctx.stderr, ctx.preopens, ctx.sockets),
            random: ctx.random,
            wall_clock: ctx.wall_clock,
            monotonic_clock: ctx.monotonic_clock,
        }
    }
}

impl From<WasiCtx> for WasiP1Ctx {
    fn from(ctx: WasiCtx) -> Self {
        Self::new(ctx)
    }
}

impl fmt::Debug for WasiP1Ctx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WasiP1Ctx").finish_non_exhaustive()
    }
}
