//! Stopping code: fuel and epochs of a store.

use std::mem;
#[cfg(feature = "async")]
use std::num::NonZeroU64;

#[cfg(feature = "async")]
use anyhow::Context;
use anyhow::{Result, bail, ensure};
use waxwing_environ::Trap;

use super::{Store, StoreContext, StoreContextMut, StoreInner, StoreOpaque};
use crate::Caller;

/// What to do when the engine's epoch has reached the deadline of a store: what the callback of
/// [`Store::epoch_deadline_callback`] returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpdateDeadline {
    /// Go on, with a deadline that is so many ticks beyond the engine's current epoch.
    Continue(u64),
    /// Let other tasks run, and then go on with a deadline that is so many ticks beyond the engine's
    /// epoch at that time.
    ///
    /// That takes an engine with `Config::async_support`. In others, execution ends with an error.
    Yield(u64),
}

type EpochCallback<T> =
    Box<dyn FnMut(StoreContextMut<'_, T>) -> Result<UpdateDeadline> + Send + Sync>;

/// What happens when the deadline is reached.
pub(super) enum EpochBehavior<T> {
    Trap,
    /// Other tasks run, and then the deadline is so many ticks ahead.
    #[cfg(feature = "async")]
    Yield(u64),
    Callback(EpochCallback<T>),
    /// The callback is being called. Code that runs meanwhile traps.
    InCallback,
}

impl StoreOpaque {
    fn ensure_fuel(&self) -> Result<()> {
        ensure!(
            self.engine.tunables().consume_fuel,
            "fuel is not configured in this store: its engine needs `Config::consume_fuel(true)`"
        );
        Ok(())
    }

    /// The store's fuel is a part that code counts down, and a reserve from which that part is filled.
    fn fuel(&self) -> Result<u64> {
        self.ensure_fuel()?;
        let fuel = i128::from(self.fuel_reserve) + i128::from(self.core.fuel());
        // More may have been used than there was, up to the next check.
        Ok(u64::try_from(fuel.max(0)).unwrap_or(u64::MAX))
    }

    fn set_fuel(&mut self, fuel: u64) -> Result<()> {
        self.ensure_fuel()?;
        self.core.set_fuel(0);
        self.fuel_reserve = fuel;
        self.refill();
        Ok(())
    }

    /// Gives code as much of the reserve as it can count, and a little more, as its counter is ahead at times; or as
    /// much as it may count until it lets other tasks run.
    fn refill(&mut self) {
        const MOST: u64 = 1 << 62;
        let active = self.core.fuel();
        let wanted = match self.fuel_yield_interval {
            None => MOST.saturating_sub_signed(active),
            // Whole intervals, for them to begin where they would if checks were everywhere.
            Some(interval) => {
                let missing = active.min(0).unsigned_abs().max(1);
                let intervals = missing.div_ceil(interval.get());
                intervals.saturating_mul(interval.get()).min(MOST)
            }
        };
        let more = self.fuel_reserve.min(wanted);
        self.fuel_reserve -= more;
        self.core.add_fuel(more.cast_signed());
    }

    /// Makes code let other tasks run each time that it has consumed so much.
    #[cfg(feature = "async")]
    pub(super) fn set_fuel_yield_interval(&mut self, interval: Option<u64>) -> Result<()> {
        self.ensure_fuel()?;
        ensure!(
            self.engine.is_async(),
            "async support is not configured in this store: its engine needs `Config::async_support(true)`"
        );
        let interval = match interval {
            Some(units) => Some(NonZeroU64::new(units).context(
                "a fuel yield interval of 0 units: use `None` not to yield, or a positive number",
            )?),
            None => None,
        };
        self.fuel_yield_interval = interval;
        // What code can count goes back first.
        let active = self.core.fuel();
        if active > 0 {
            self.core.add_fuel(-active);
            self.fuel_reserve = self.fuel_reserve.saturating_add(active.cast_unsigned());
            self.refill();
        }
        Ok(())
    }

    fn set_epoch_deadline(&mut self, ticks_beyond_current: u64) {
        let deadline = self.core.epoch().saturating_add(ticks_beyond_current);
        self.core.set_epoch_deadline(deadline);
    }

    /// Finds fuel when code used more than it could count.
    pub(super) fn out_of_fuel(&mut self) -> Result<()> {
        if self.fuel_reserve < self.core.fuel().min(-1).unsigned_abs() {
            bail!(Trap::OutOfFuel);
        }
        self.refill();
        match self.fuel_yield_interval {
            Some(_) => self.yield_now(),
            None => Ok(()),
        }
    }
}

impl<T> StoreInner<T> {
    /// The deadline is reached.
    pub(super) fn new_epoch(&mut self) -> Result<()> {
        #[cfg(feature = "async")]
        if let EpochBehavior::Yield(ticks) = self.epoch_behavior {
            self.yield_now()?;
            self.set_epoch_deadline(ticks);
            return Ok(());
        }
        let behavior = mem::replace(&mut self.epoch_behavior, EpochBehavior::InCallback);
        let EpochBehavior::Callback(mut callback) = behavior else {
            self.epoch_behavior = behavior;
            bail!(Trap::Interrupt);
        };
        let update = callback(StoreContextMut(self));
        // The callback may have asked for something else.
        if matches!(self.epoch_behavior, EpochBehavior::InCallback) {
            self.epoch_behavior = EpochBehavior::Callback(callback);
        }
        match update? {
            UpdateDeadline::Continue(ticks) => self.set_epoch_deadline(ticks),
            UpdateDeadline::Yield(ticks) => {
                ensure!(
                    self.is_async,
                    "cannot use `UpdateDeadline::Yield` without enabling async support in the config"
                );
                self.yield_now()?;
                self.set_epoch_deadline(ticks);
            }
        }
        Ok(())
    }
}

/// Methods that are the same for everything that gives access to a store.
macro_rules! fuel_methods {
    (get) => {
        /// The fuel that is left, in units; see [`Store::set_fuel`].
        ///
        /// A host function that WebAssembly called finds all consumed that was executed before the
        /// call. After a trap, some operators of the function that trapped may not have been counted:
        /// at most those since it was entered, last called another, or began the last iteration of a
        /// loop, and always the same ones.
        ///
        /// # Errors
        ///
        /// Fails unless the store's engine has [`Config::consume_fuel`](crate::Config::consume_fuel).
        pub fn get_fuel(&self) -> Result<u64> {
            self.opaque().fuel()
        }
    };
    (set) => {
        /// Sets the fuel of the store, whatever was left of it; see [`Store::set_fuel`].
        ///
        /// # Errors
        ///
        /// Fails unless the store's engine has [`Config::consume_fuel`](crate::Config::consume_fuel).
        pub fn set_fuel(&mut self, fuel: u64) -> Result<()> {
            self.opaque_mut().set_fuel(fuel)
        }
    };
}

impl<T> Store<T> {
    fn opaque(&self) -> &StoreOpaque {
        &self.inner().opaque
    }

    pub(super) fn opaque_mut(&mut self) -> &mut StoreOpaque {
        &mut self.inner_mut().opaque
    }

    fuel_methods!(get);

    /// Sets the fuel of the store, in units, whatever was left of it. A new store has none.
    ///
    /// WebAssembly consumes fuel as it executes, and traps with
    /// [`Trap::OutOfFuel`](crate::Trap::OutOfFuel) where it finds more consumed than there was.
    ///
    /// What consumes how much:
    ///
    /// - Entering a function: one unit.
    /// - An operator: one unit. But `nop`, `drop`, `block`, `loop`, `try_table`, `else`, `end`,
    ///   `return` and `unreachable` consume nothing, as what they do is done by others.
    /// - `memory.copy`, `memory.fill` and `memory.init` in addition one unit for each full 64 bytes
    ///   of their range, and operators that make, copy, fill or initialise an array of any length one
    ///   for each full 64 bytes of elements.
    /// - `table.copy`, `table.fill`, `table.init` and, if it succeeds, `table.grow` one unit for each
    ///   full 8 elements.
    /// - What the host does, host functions and instantiation, consumes nothing; but a start function
    ///   does.
    ///
    /// Whether there is fuel left is looked at on entering a function, at the beginning of each
    /// iteration of a loop, and before operators work on a range. In between, code can consume more
    /// than there is: not more than the longest way through one function without a loop, or what a
    /// new array costs. That is forgotten, and [`get_fuel`](Self::get_fuel) returns 0 after it. So a
    /// call that consumes just what there is always succeeds, and one that consumes a little more may.
    ///
    /// All that depends on the program and its inputs alone: the same call from the same state
    /// consumes the same fuel, and ends at the same place if there is too little, on every host and
    /// with every configuration. (How deep calls can be nested, and how many objects there can be, is
    /// another matter.)
    ///
    /// ```
    /// # use waxwing::*;
    /// # fn main() -> Result<()> {
    /// let engine = Engine::new(Config::new().consume_fuel(true))?;
    /// let wat = r#"(module
    ///     (func (export "add") (param i32 i32) (result i32)
    ///         (i32.add (local.get 0) (local.get 1)))
    ///     (func (export "forever") (loop (br 0))))"#;
    /// let module = Module::new(&engine, wat)?;
    /// let mut store = Store::new(&engine, ());
    /// let instance = Instance::new(&mut store, &module, &[])?;
    /// let add = instance.get_typed_func::<(i32, i32), i32>(&mut store, "add")?;
    /// let forever = instance.get_typed_func::<(), ()>(&mut store, "forever")?;
    ///
    /// store.set_fuel(1_000)?;
    /// add.call(&mut store, (1, 2))?;
    /// assert_eq!(store.get_fuel()?, 996);
    ///
    /// let error = forever.call(&mut store, ()).unwrap_err();
    /// assert_eq!(error.downcast::<Trap>()?, Trap::OutOfFuel);
    /// assert_eq!(store.get_fuel()?, 0);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Fails unless the store's engine has [`Config::consume_fuel`](crate::Config::consume_fuel).
    pub fn set_fuel(&mut self, fuel: u64) -> Result<()> {
        self.opaque_mut().set_fuel(fuel)
    }

    /// Sets the deadline of the store: so many ticks beyond the current epoch of its engine, at most 2^64 - 1 in all.
    ///
    /// Once the [engine's epoch](crate::Engine::increment_epoch) has reached the deadline, code of the store is
    /// interrupted: it traps, or what was set by
    /// [`epoch_deadline_callback`](Self::epoch_deadline_callback) happens. With zero ticks that is at once.
    /// The deadline of a new store is epoch zero, so that its code is interrupted at once, too.
    ///
    /// Without [`Config::epoch_interruption`](crate::Config::epoch_interruption) this has no effect.
    pub fn set_epoch_deadline(&mut self, ticks_beyond_current: u64) {
        self.opaque_mut().set_epoch_deadline(ticks_beyond_current);
    }

    /// Makes code of the store trap with [`Trap::Interrupt`](crate::Trap::Interrupt) when the deadline is reached.
    ///
    /// That is how a new store is.
    pub fn epoch_deadline_trap(&mut self) {
        self.inner_mut().epoch_behavior = EpochBehavior::Trap;
    }

    /// Makes code of the store call `callback` when the deadline is reached, which decides how to
    /// go on.
    ///
    /// The callback has access to the store in the middle of the execution, as host functions do. Code that
    /// it calls traps if it in turn reaches the deadline.
    ///
    /// An error that the callback returns ends the execution, as one of a host function does.
    /// So does [`UpdateDeadline::Yield`] in a store that is not asynchronous.
    ///
    /// ```
    /// # use waxwing::*;
    /// # fn main() -> Result<()> {
    /// let engine = Engine::new(Config::new().epoch_interruption(true))?;
    /// let module = Module::new(&engine, r#"(module (func (export "forever") (loop (br 0))))"#)?;
    /// let mut store = Store::new(&engine, 0);
    /// let instance = Instance::new(&mut store, &module, &[])?;
    /// let forever = instance.get_typed_func::<(), ()>(&mut store, "forever")?;
    ///
    /// store.epoch_deadline_callback(|mut store| {
    ///     *store.data_mut() += 1;
    ///     match store.data() {
    ///         3 => Err(Error::msg("three times is enough")),
    ///         _ => Ok(UpdateDeadline::Continue(0)),
    ///     }
    /// });
    /// assert!(forever.call(&mut store, ()).is_err());
    /// assert_eq!(*store.data(), 3);
    /// # Ok(())
    /// # }
    /// ```
    pub fn epoch_deadline_callback(
        &mut self,
        callback: impl FnMut(StoreContextMut<'_, T>) -> Result<UpdateDeadline> + Send + Sync + 'static,
    ) {
        self.inner_mut().epoch_behavior = EpochBehavior::Callback(Box::new(callback));
    }

    /// Makes code of the store let other tasks run when the deadline is reached, and go on with one that is `delta`
    /// ticks beyond the engine's epoch at the time when it goes on.
    ///
    /// The future of the call is pending then once, and asks to be polled again at once.
    ///
    /// # Panics
    ///
    /// Panics unless the store's engine has [`Config::async_support`](crate::Config::async_support).
    #[cfg(feature = "async")]
    pub fn epoch_deadline_async_yield_and_update(&mut self, delta: u64) {
        self.inner_mut().set_epoch_yield(delta);
    }
}

#[cfg(feature = "async")]
impl<T> StoreInner<T> {
    fn set_epoch_yield(&mut self, delta: u64) {
        self.assert_async("epoch_deadline_async_yield_and_update");
        self.epoch_behavior = EpochBehavior::Yield(delta);
    }
}

impl<T> StoreContext<'_, T> {
    fn opaque(&self) -> &StoreOpaque {
        &self.0.opaque
    }

    fuel_methods!(get);
}

impl<T> StoreContextMut<'_, T> {
    fn opaque(&self) -> &StoreOpaque {
        &self.0.opaque
    }

    pub(super) fn opaque_mut(&mut self) -> &mut StoreOpaque {
        &mut self.0.opaque
    }

    fuel_methods!(get);
    fuel_methods!(set);

    /// Sets the deadline of the store; see [`Store::set_epoch_deadline`].
    pub fn set_epoch_deadline(&mut self, ticks_beyond_current: u64) {
        self.opaque_mut().set_epoch_deadline(ticks_beyond_current);
    }

    /// Makes code of the store trap when the deadline is reached; see
    /// [`Store::epoch_deadline_trap`].
    pub fn epoch_deadline_trap(&mut self) {
        self.0.epoch_behavior = EpochBehavior::Trap;
    }

    /// Makes code of the store let other tasks run when the deadline is reached; see
    /// [`Store::epoch_deadline_async_yield_and_update`].
    ///
    /// # Panics
    ///
    /// As for [`Store::epoch_deadline_async_yield_and_update`].
    #[cfg(feature = "async")]
    pub fn epoch_deadline_async_yield_and_update(&mut self, delta: u64) {
        self.0.set_epoch_yield(delta);
    }
}

impl<T> Caller<'_, T> {
    fn opaque(&self) -> &StoreOpaque {
        &self.context().0.opaque
    }

    pub(super) fn opaque_mut(&mut self) -> &mut StoreOpaque {
        &mut self.context_mut().0.opaque
    }

    fuel_methods!(get);
    fuel_methods!(set);
}
