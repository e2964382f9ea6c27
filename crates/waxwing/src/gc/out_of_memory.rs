//! [`GcHeapOutOfMemory`].

use std::error::Error;
use std::fmt;

/// The error of an allocation for which a store's heap had no room, even after a collection.
///
/// The heap may be full of what is still in use, or cannot grow: the store's
/// [limiter](crate::Store::limiter) does not allow it, or the system has no memory to give.
///
/// It holds the value that was to be allocated if the host gave it away for that, as with
/// [`ExternRef::new`](crate::ExternRef::new): the caller gets it back with
/// [`into_inner`](Self::into_inner), and can try again later. Where there is no such value, `T` is
/// `()`.
///
/// ```
/// # use waxwing::*;
/// # fn main() -> Result<()> {
/// # let engine = Engine::default();
/// // A store without any memory to give.
/// let limits = StoreLimitsBuilder::new().memory_size(0).build();
/// let mut store = Store::new(&engine, limits);
/// store.limiter(|limits| limits);
///
/// let document = String::from("not to be lost");
/// let error = ExternRef::new(&mut store, document).unwrap_err();
/// let error = error.downcast::<GcHeapOutOfMemory<String>>()?;
/// assert_eq!(error.into_inner(), "not to be lost");
/// # Ok(())
/// # }
/// ```
pub struct GcHeapOutOfMemory<T> {
    inner: T,
}

impl<T> GcHeapOutOfMemory<T> {
    pub(crate) fn new(inner: T) -> Self {
        GcHeapOutOfMemory { inner }
    }

    /// The value that was to be allocated.
    pub fn into_inner(self) -> T {
        self.inner
    }

    /// The value that was to be allocated, and the error without it.
    pub fn take_inner(self) -> (T, GcHeapOutOfMemory<()>) {
        (self.inner, GcHeapOutOfMemory::new(()))
    }
}

impl<T> fmt::Debug for GcHeapOutOfMemory<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GcHeapOutOfMemory").finish_non_exhaustive()
    }
}

impl<T> fmt::Display for GcHeapOutOfMemory<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "GC heap out of memory: no room for the allocation, even after a collection; drop \
             references, or let the store have more memory",
        )
    }
}

impl<T> Error for GcHeapOutOfMemory<T> {}
