//! Work on ranges as long as the program likes: charged for, and interrupted.

use anyhow::Result;

use super::Caller;
use crate::gc;
use crate::store::interrupt::{Granularity, check_epoch};
use crate::traps::TrapReason;

impl Caller {
    /// Does the work of an instruction on `len` bytes or elements, charges for it, and looks at the
    /// epoch while it takes long; see [`Self::work_with`].
    pub(super) fn work(
        self,
        granularity: &Granularity,
        len: u64,
        backwards: bool,
        mut work: impl FnMut(u64, u64) -> Result<(), TrapReason>,
    ) -> Result<(), TrapReason> {
        let work = |_: [u32; 0], start, len| work(start, len);
        self.work_with([], granularity, len, backwards, work)
    }

    /// Does the work of an instruction on `len` bytes or elements, charges for it, and looks at the
    /// epoch while it takes long.
    ///
    /// `work` is given the references that the work is with, which may change as objects move, the
    /// distance of a part from the start, and its length. It fails if the part is not in bounds, also if
    /// it has no length. Parts follow each other from the end to the start if `backwards` is set.
    ///
    /// Nothing is done if the whole is not in bounds, or if the fuel does not suffice.
    pub(super) fn work_with<const N: usize>(
        self,
        mut references: [u32; N],
        granularity: &Granularity,
        len: u64,
        backwards: bool,
        mut work: impl FnMut([u32; N], u64, u64) -> Result<(), TrapReason>,
    ) -> Result<(), TrapReason> {
        if granularity.is_small(len) {
            return work(references, 0, len);
        }
        // No bytes at the end are in bounds if all that are before the end are.
        work(references, len, 0)?;
        let part = self.with_store(|store| {
            granularity.charge(store, len)?;
            anyhow::Ok(granularity.part(store))
        })?;
        let mut done = 0;
        loop {
            let now = part.min(len - done);
            let start = if backwards { len - done - now } else { done };
            work(references, start, now)?;
            done += now;
            if done == len {
                return Ok(());
            }
            self.with_store(|store| gc::with_roots(store, &mut references, check_epoch))?;
        }
    }
}

/// The position that is `distance` from `start`, or one that is out of all bounds.
pub(super) fn at(start: u64, distance: u64) -> u64 {
    start.saturating_add(distance)
}
