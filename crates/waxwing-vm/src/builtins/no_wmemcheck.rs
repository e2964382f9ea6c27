//! The crate is built without checks of memory errors. Code that has them is for other engines, which is found out before it is loaded.

use anyhow::anyhow;

use super::Caller;
use crate::traps::TrapReason;

fn absent<R>() -> Result<R, TrapReason> {
    Err(TrapReason::Host(anyhow!(
        "the code looks for memory errors, for which the runtime was built without the Cargo feature `wmemcheck`"
    )))
}

pub(super) fn wmemcheck_load(_: Caller, _: u64, _: u64) -> Result<u32, TrapReason> {
    absent()
}

pub(super) fn wmemcheck_store(_: Caller, _: u64, _: u64, _: u32) -> Result<(), TrapReason> {
    absent()
}

pub(super) fn wmemcheck_copy(_: Caller, _: u64, _: u64, _: u64) -> Result<(), TrapReason> {
    absent()
}

pub(super) fn wmemcheck_undefined(_: Caller, _: u64, _: u64) -> Result<(), TrapReason> {
    absent()
}

pub(super) fn wmemcheck_enter(_: Caller, _: u32, _: u64, _: u64, _: u64) -> Result<(), TrapReason> {
    absent()
}

pub(super) fn wmemcheck_exit(_: Caller, _: u64) {}

pub(super) fn wmemcheck_host(_: Caller, _: u64) {}
