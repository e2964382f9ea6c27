//! [`AnyRef`]: references to the values of the GC proposal.

use std::num::NonZeroU32;

use anyhow::Result;

use super::rooting::{GcRootIndex, Rooted, sealed::GcRefImpl};
use crate::{AsContextMut, HeapType};

/// A reference of the type `anyref`.
///
/// No instruction and no function of this release makes one, so null, `None` of
/// `Option<Rooted<AnyRef>>`, is its only value in practice.
#[repr(transparent)]
pub struct AnyRef {
    index: GcRootIndex,
}

impl GcRefImpl for AnyRef {
    fn from_index(index: &GcRootIndex) -> &AnyRef {
        // SAFETY: `AnyRef` is a transparent wrapper of `GcRootIndex`.
        unsafe { &*std::ptr::from_ref(index).cast::<AnyRef>() }
    }

    fn heap_type() -> HeapType {
        HeapType::Any
    }
}

impl AnyRef {
    /// The reference that `raw`, a result of [`to_raw`](Self::to_raw) or a
    /// [`ValRaw`](crate::ValRaw), stands for, rooted in the current scope. `None` for null.
    ///
    /// # Safety
    ///
    /// `raw` came from this store, and the reference has been kept alive since.
    pub unsafe fn from_raw(mut store: impl AsContextMut, raw: u32) -> Option<Rooted<AnyRef>> {
        let gc_ref = NonZeroU32::new(raw)?;
        Some(Rooted::new(store.as_context_mut().0, gc_ref))
    }

    /// The representation of the reference in a [`ValRaw`](crate::ValRaw).
    ///
    /// # Errors
    ///
    /// Fails if the reference is not rooted any more.
    ///
    /// # Panics
    ///
    /// Panics if the reference belongs to another store.
    ///
    /// # Safety
    ///
    /// The result does not keep the reference alive: it is for immediate use in a call, before
    /// anything else is done with the store.
    pub unsafe fn to_raw(&self, mut store: impl AsContextMut) -> Result<u32> {
        let gc_ref = self.index.get(store.as_context_mut().0)?;
        Ok(gc_ref.get())
    }
}
