//! Throwing exceptions of WebAssembly, and those that nobody caught.

use std::fmt;

use anyhow::{Error, Result};
use waxwing_vm::traps::TrapReason;

use super::{Store, StoreContextMut, StoreOpaque};
use crate::{Caller, ExnRef, Rooted, WasmBacktrace};

/// The error that stands for an exception of WebAssembly that is on its way: the pending one of its
/// store.
///
/// [`Store::throw`] makes one. Where a call of WebAssembly fails with one, an exception was thrown there and not
/// caught; [`Store::take_pending_exception`] gives it.
#[derive(Debug)]
pub struct ThrownException;

impl fmt::Display for ThrownException {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an exception was thrown and not caught")
    }
}

impl std::error::Error for ThrownException {}

/// What the error of a host function means to WebAssembly.
pub(crate) fn trap_reason(error: Error) -> TrapReason {
    if error.is::<ThrownException>() {
        TrapReason::Exception {
            has_backtrace: error.is::<WasmBacktrace>(),
            error: Some(error),
        }
    } else {
        TrapReason::Host(error)
    }
}

impl StoreOpaque {
    fn throw<R>(&mut self, exception: Rooted<ExnRef>) -> Result<R> {
        let exception = exception.root_index().get(self)?;
        self.core.set_pending_exception(exception);
        Err(ThrownException.into())
    }

    fn take_pending_exception(&mut self) -> Option<Rooted<ExnRef>> {
        let exception = self.core.take_pending_exception()?;
        Some(Rooted::new(self, exception))
    }

    fn has_pending_exception(&self) -> bool {
        self.core.has_pending_exception()
    }
}

impl<T> Store<T> {
    /// Makes `exception` the store's pending exception, in place of one that there may be, and returns the error
    /// that stands for it.
    ///
    /// When a host function that WebAssembly called returns this error, with or without further context,
    /// the exception is thrown there: it goes to the nearest handler of WebAssembly that catches it, or on
    /// to the host as an error of the call by which the host entered WebAssembly. A host function that gets the
    /// error from a call of its own passes the exception on by returning it, and ends its way
    /// by not doing so. It may then [take](Self::take_pending_exception) it.
    ///
    /// See [`ExnRef`] for an example.
    ///
    /// # Errors
    ///
    /// Always fails: with [`ThrownException`], or because `exception` is not rooted any more.
    ///
    /// # Panics
    ///
    /// Panics if `exception` belongs to another store.
    pub fn throw<R>(&mut self, exception: Rooted<ExnRef>) -> Result<R> {
        self.inner_mut().opaque.throw(exception)
    }

    /// The store's pending exception, rooted in the current scope, which is not pending any more: what
    /// was thrown if a call has failed with [`ThrownException`].
    ///
    /// An exception stays pending, and alive, until it is taken, caught by WebAssembly or followed by
    /// another one. If it is taken, returning [`ThrownException`] to WebAssembly throws nothing:
    /// it is an error as any other.
    pub fn take_pending_exception(&mut self) -> Option<Rooted<ExnRef>> {
        self.inner_mut().opaque.take_pending_exception()
    }

    /// Whether there is a [pending exception](Self::take_pending_exception).
    pub fn has_pending_exception(&self) -> bool {
        self.inner().opaque.has_pending_exception()
    }
}

impl<T> StoreContextMut<'_, T> {
    /// Throws an exception; see [`Store::throw`].
    ///
    /// # Errors
    ///
    /// Always fails, as [`Store::throw`] does.
    ///
    /// # Panics
    ///
    /// Panics if `exception` belongs to another store.
    pub fn throw<R>(&mut self, exception: Rooted<ExnRef>) -> Result<R> {
        self.0.throw(exception)
    }

    /// The pending exception; see [`Store::take_pending_exception`].
    pub fn take_pending_exception(&mut self) -> Option<Rooted<ExnRef>> {
        self.0.take_pending_exception()
    }

    /// Whether there is a pending exception; see [`Store::take_pending_exception`].
    pub fn has_pending_exception(&self) -> bool {
        self.0.has_pending_exception()
    }
}

impl<T> Caller<'_, T> {
    /// Throws an exception; see [`Store::throw`].
    ///
    /// # Errors
    ///
    /// Always fails, as [`Store::throw`] does.
    ///
    /// # Panics
    ///
    /// Panics if `exception` belongs to another store.
    pub fn throw<R>(&mut self, exception: Rooted<ExnRef>) -> Result<R> {
        self.context_mut().throw(exception)
    }

    /// The pending exception; see [`Store::take_pending_exception`].
    pub fn take_pending_exception(&mut self) -> Option<Rooted<ExnRef>> {
        self.context_mut().take_pending_exception()
    }

    /// Whether there is a pending exception; see [`Store::take_pending_exception`].
    pub fn has_pending_exception(&self) -> bool {
        self.context().has_pending_exception()
    }
}
