//! [`ExternRef`]: values of the host in the hands of WebAssembly.

use std::any::Any;
use std::num::NonZeroU32;

use anyhow::Result;

use super::rooting::{GcRootIndex, ManuallyRooted, Rooted, sealed::GcRefImpl};
use crate::{AsContextMut, HeapType, StoreContext, StoreContextMut};

/// An opaque reference to a value of the host, which WebAssembly can hold and pass on as
/// `externref` but not look into.
///
/// The host holds one as [`Rooted<ExternRef>`](Rooted) or [`ManuallyRooted<ExternRef>`](ManuallyRooted).
/// `Option<Rooted<ExternRef>>` is the nullable `externref`. The value lives as long as its store.
///
/// ```
/// # use waxwing::*;
/// # fn main() -> Result<()> {
/// let engine = Engine::default();
/// let mut store = Store::new(&engine, ());
/// let module = Module::new(
///     &engine,
///     r#"(module (func (export "id") (param externref) (result externref) local.get 0))"#,
/// )?;
/// let instance = Instance::new(&mut store, &module, &[])?;
/// type Nullable = Option<Rooted<ExternRef>>;
/// let id = instance.get_typed_func::<Nullable, Nullable>(&mut store, "id")?;
///
/// let file = ExternRef::new(&mut store, String::from("/etc/motd"))?;
/// let same = id.call(&mut store, Some(file))?.expect("not null");
/// let data = same.data(&store)?.expect("the host's own value");
/// assert_eq!(data.downcast_ref::<String>().unwrap(), "/etc/motd");
/// # Ok(())
/// # }
/// ```
#[repr(transparent)]
pub struct ExternRef {
    index: GcRootIndex,
}

impl GcRefImpl for ExternRef {
    fn from_index(index: &GcRootIndex) -> &ExternRef {
        // SAFETY: `ExternRef` is a transparent wrapper of `GcRootIndex`.
        unsafe { &*std::ptr::from_ref(index).cast::<ExternRef>() }
    }

    fn heap_type() -> HeapType {
        HeapType::Extern
    }
}

impl ExternRef {
    /// Gives `value` to the store and refers to it, rooted in the current scope.
    ///
    /// # Errors
    ///
    /// Fails if the store cannot hold more references.
    pub fn new<T>(mut store: impl AsContextMut, value: T) -> Result<Rooted<ExternRef>>
    where
        T: 'static + Any + Send + Sync,
    {
        let store = store.as_context_mut();
        let gc_ref = store.0.core_mut().gc_mut().insert_extern(Box::new(value))?;
        Ok(Rooted::new(store.0, gc_ref))
    }

    /// Gives `value` to the store and refers to it, rooted until it is unrooted by hand.
    ///
    /// # Errors
    ///
    /// Fails if the store cannot hold more references.
    pub fn new_manually_rooted<T>(
        mut store: impl AsContextMut,
        value: T,
    ) -> Result<ManuallyRooted<ExternRef>>
    where
        T: 'static + Any + Send + Sync,
    {
        let store = store.as_context_mut();
        let gc_ref = store.0.core_mut().gc_mut().insert_extern(Box::new(value))?;
        Ok(ManuallyRooted::new(store.0, gc_ref))
    }

    /// The host's value.
    ///
    /// `None` for a reference that does not stand for a value of the host.
    ///
    /// # Errors
    ///
    /// Fails if the reference is not rooted any more.
    ///
    /// # Panics
    ///
    /// Panics if the reference belongs to another store.
    pub fn data<'a, T>(
        &self,
        store: impl Into<StoreContext<'a, T>>,
    ) -> Result<Option<&'a (dyn Any + Send + Sync)>>
    where
        T: 'a,
    {
        let store = store.into().0;
        let gc_ref = self.index.get(store)?;
        Ok(store.core().gc().extern_data(gc_ref))
    }

    /// The host's value, to be changed. Otherwise as [`data`](Self::data).
    ///
    /// # Errors
    ///
    /// As for [`data`](Self::data).
    ///
    /// # Panics
    ///
    /// Panics if the reference belongs to another store.
    pub fn data_mut<'a, T>(
        &self,
        store: impl Into<StoreContextMut<'a, T>>,
    ) -> Result<Option<&'a mut (dyn Any + Send + Sync)>>
    where
        T: 'a,
    {
        let store = store.into().0;
        let gc_ref = self.index.get(store)?;
        Ok(store.core_mut().gc_mut().extern_data_mut(gc_ref))
    }

    /// The reference that `raw`, a result of [`to_raw`](Self::to_raw) or a
    /// [`ValRaw`](crate::ValRaw), stands for, rooted in the current scope. `None` for null.
    ///
    /// # Safety
    ///
    /// `raw` came from this store, and the reference has been kept alive since.
    pub unsafe fn from_raw(mut store: impl AsContextMut, raw: u32) -> Option<Rooted<ExternRef>> {
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
