//! Fuel and epochs of a store, and how the runtime's own work is accounted for and interrupted.
//!
//! Generated code counts its instructions itself. An instruction that works on a range as long as
//! the program likes is charged for the length, in addition, and in a store with epochs does its work in parts between
//! which the epoch is looked at.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use anyhow::Result;
use waxwing_environ::UNINTERRUPTED_BYTES;

use super::{StoreCore, VMStore};
use crate::sys::faults::SignalHandler;
use crate::traps;

/// How the work of an instruction on a range is accounted for.
pub(crate) struct Granularity {
    /// How many bytes or elements one unit of fuel pays for.
    per_unit: u64,
    /// How many bytes or elements are worked on before the epoch is looked at.
    part: u64,
    is_charged: bool,
}

/// Bytes of linear memories: a part takes some ten microseconds.
pub(crate) const BYTES: Granularity = Granularity {
    per_unit: 64,
    part: UNINTERRUPTED_BYTES,
    is_charged: true,
};

impl Granularity {
    /// Elements of arrays, of `size` bytes each: as many bytes.
    pub(crate) fn elements_of(size: u32) -> Granularity {
        let size = u64::from(size);
        Granularity {
            per_unit: BYTES.per_unit / size,
            part: BYTES.part / size,
            is_charged: true,
        }
    }

    /// The same for work that has been paid for.
    pub(crate) fn free(self) -> Granularity {
        Granularity {
            is_charged: false,
            ..self
        }
    }
}

/// Elements of tables, of which each may have to be made first.
pub(crate) const ELEMENTS: Granularity = Granularity {
    per_unit: 8,
    part: 1 << 13,
    is_charged: true,
};

impl StoreCore {
    /// The fuel that is left as far as code knows, negative if more was used than there was. Code that runs has told
    /// when it called the host.
    #[inline]
    pub fn fuel(&self) -> i64 {
        self.context().fuel.get()
    }

    /// Gives the store fuel.
    pub fn set_fuel(&mut self, fuel: i64) {
        traps::set_fuel(self.context(), fuel);
    }

    /// Gives the store fuel in addition: some that was kept back from code.
    pub fn add_fuel(&mut self, more: i64) {
        traps::add_fuel(self.context(), more);
    }

    /// Takes fuel from the store, or returns what was taken. It never has more than it was given.
    pub(crate) fn charge(&mut self, units: i64) {
        let fuel = &self.context().fuel;
        fuel.set(fuel.get().saturating_sub(units));
    }

    /// The engine's epoch.
    pub fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Relaxed)
    }

    /// The epoch from which on code is interrupted.
    pub fn epoch_deadline(&self) -> u64 {
        self.context().epoch_deadline.get()
    }

    /// Sets what [`Self::epoch_deadline`] returns.
    pub fn set_epoch_deadline(&mut self, deadline: u64) {
        self.context().epoch_deadline.set(deadline);
    }

    /// Whether code is to be interrupted for the epoch.
    fn is_deadline_reached(&self) -> bool {
        self.tunables.epoch_interruption && self.epoch() >= self.epoch_deadline()
    }

    /// Lets `handler` see signals first that arrive while code of the store, or host functions that it called, run.
    ///
    /// # Safety
    ///
    /// No code of the store is running. The handler does only what is allowed in a signal handler, and where it
    /// returns `true` it is sound to go on with what was interrupted.
    pub unsafe fn set_signal_handler(&mut self, handler: SignalHandler) {
        let handler = Arc::new(handler);
        let pointer = Arc::as_ptr(&handler);
        self.context().signal_handler.set(pointer);
        self.signal_handler = Some(handler);
    }
}

/// Finds fuel for a store that used more than there was.
///
/// # Errors
///
/// Fails if there is none.
pub(crate) fn refuel(store: &mut dyn VMStore) -> Result<()> {
    while store.core().fuel() < 0 {
        store.out_of_fuel()?;
    }
    Ok(())
}

/// Interrupts what a builtin does if the epoch has come.
///
/// # Errors
///
/// Fails if it must not go on.
pub(crate) fn check_epoch(store: &mut dyn VMStore) -> Result<()> {
    match store.core().is_deadline_reached() {
        true => store.new_epoch(),
        false => Ok(()),
    }
}

impl Granularity {
    /// Charges for work on `len` bytes or elements.
    ///
    /// # Errors
    ///
    /// Fails if there is not as much fuel.
    pub(crate) fn charge(&self, store: &mut dyn VMStore, len: u64) -> Result<()> {
        let units = len / self.per_unit;
        if units == 0 || !self.is_charged || !store.core().tunables().consume_fuel {
            return Ok(());
        }
        let units = i64::try_from(units).unwrap_or(i64::MAX);
        store.core_mut().charge(units);
        refuel(store)
    }

    /// The most to work on at once.
    pub(crate) fn part(&self, store: &dyn VMStore) -> u64 {
        match store.core().tunables().epoch_interruption {
            true => self.part,
            false => u64::MAX,
        }
    }

    /// Whether work on `len` bytes or elements is neither charged nor done in parts.
    #[inline]
    pub(crate) fn is_small(&self, len: u64) -> bool {
        len < self.per_unit
    }
}
