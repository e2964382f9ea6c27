//! [`ExternRef`]: values of the host in the hands of WebAssembly.

use std::any::Any;

use anyhow::Result;
use waxwing_environ::WasmHeapType;
use waxwing_vm::VMGcRef;

use super::object;
use super::out_of_memory::GcHeapOutOfMemory;
use super::rooting::{GcRootIndex, ManuallyRooted, Rooted, sealed::GcRefImpl};
use crate::store::{StoreInner, StoreOpaque};
use crate::{AnyRef, AsContextMut, HeapType, StoreContext, StoreContextMut};

/// An opaque reference to a value of the host, which WebAssembly can hold and pass on as
/// `externref` but not look into.
///
/// The host holds one as [`Rooted<ExternRef>`](Rooted), [`ManuallyRooted<ExternRef>`](ManuallyRooted) or
/// [`OwnedRooted<ExternRef>`](crate::OwnedRooted). `Option<Rooted<ExternRef>>` is the nullable
/// `externref`. The value is dropped by a collection of garbage that finds no reference to it any
/// more, in roots of the host or in WebAssembly, and at the latest with its store.
///
/// A reference of the internal hierarchy can be [converted](Self::convert_any) to an external one,
/// and then does not stand for a value of the host.
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

    fn type_of(_: &StoreOpaque, _: VMGcRef) -> WasmHeapType {
        WasmHeapType::Extern
    }
}

/// Gives `value` to the store. Garbage may be collected before.
fn allocate<S, T>(store: &mut StoreInner<S>, value: T) -> Result<VMGcRef>
where
    T: 'static + Any + Send + Sync,
{
    object::ensure_collector(store)?;
    waxwing_vm::alloc_extern(store, Box::new(value))?.map_err(|value| {
        let value: Box<T> = value.downcast().expect("the value that was given");
        GcHeapOutOfMemory::new(*value).into()
    })
}

impl ExternRef {
    /// Gives `value` to the store and refers to it, rooted in the current scope. Garbage may be
    /// collected before.
    ///
    /// # Errors
    ///
    /// Fails with [`GcHeapOutOfMemory<T>`](GcHeapOutOfMemory), which holds the value, if the store
    /// cannot hold more references, or with the error of its limiter. Fails if the store has no
    /// collector.
    pub fn new<T>(mut store: impl AsContextMut, value: T) -> Result<Rooted<ExternRef>>
    where
        T: 'static + Any + Send + Sync,
    {
        let store = store.as_context_mut().0;
        let gc_ref = allocate(store, value)?;
        Ok(Rooted::new(store, gc_ref))
    }

    /// Gives `value` to the store and refers to it, rooted until it is unrooted by hand. Garbage may
    /// be collected before.
    ///
    /// # Errors
    ///
    /// As for [`new`](Self::new).
    pub fn new_manually_rooted<T>(
        mut store: impl AsContextMut,
        value: T,
    ) -> Result<ManuallyRooted<ExternRef>>
    where
        T: 'static + Any + Send + Sync,
    {
        let store = store.as_context_mut().0;
        let gc_ref = allocate(store, value)?;
        Ok(ManuallyRooted::new(store, gc_ref))
    }

    /// The same reference as an external one, as the instruction `extern.convert_any` makes it,
    /// rooted in the current scope.
    ///
    /// # Errors
    ///
    /// Fails if the reference is not rooted any more.
    ///
    /// # Panics
    ///
    /// Panics if the reference belongs to another store.
    pub fn convert_any(
        mut store: impl AsContextMut,
        any_ref: Rooted<AnyRef>,
    ) -> Result<Rooted<ExternRef>> {
        let store = store.as_context_mut().0;
        let gc_ref = any_ref.root_index().get(store)?;
        Ok(Rooted::new(store, gc_ref))
    }

    /// The host's value.
    ///
    /// `None` for a reference that does not stand for a value of the host, but was converted from
    /// an internal one.
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
    /// `raw` came from this store, and garbage was not collected since, which can move objects.
    pub unsafe fn from_raw(mut store: impl AsContextMut, raw: u32) -> Option<Rooted<ExternRef>> {
        let gc_ref = VMGcRef::new(raw)?;
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
