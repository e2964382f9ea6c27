//! [`Memory`].

use std::fmt;

use anyhow::{Result, bail};
use waxwing_environ::DefinedMemoryIndex;
use waxwing_vm::{InstanceId, StoreId, VMMemoryImport};

use super::handle;
use crate::store::{StoreInner, StoreOpaque};
use crate::{AsContext, AsContextMut, MemoryType, StoreContext, StoreContextMut};

/// An access to a [`Memory`] was not within its bounds.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct MemoryAccessError {
    _private: (),
}

impl fmt::Display for MemoryAccessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("out of bounds memory access")
    }
}

impl std::error::Error for MemoryAccessError {}

/// A linear memory, of WebAssembly or of the host: an array of bytes that can grow.
///
/// Its bytes are reached in two ways. [`read`](Self::read) and [`write`](Self::write) copy, and
/// check bounds. [`data`](Self::data) and [`data_mut`](Self::data_mut) borrow all of the memory
/// together with the store, so that nothing can move or change it meanwhile;
/// [`data_and_store_mut`](Self::data_and_store_mut) gives the store's data along with it.
///
/// A raw pointer by [`data_ptr`](Self::data_ptr) is for those who can vouch for what WebAssembly
/// does meanwhile: a memory that grows may move.
///
/// ```
/// # use waxwing::*;
/// # fn main() -> Result<()> {
/// let engine = Engine::default();
/// let module = Module::new(
///     &engine,
///     r#"(module (memory (export "memory") 1 2) (data (i32.const 2) "wax"))"#,
/// )?;
/// let mut store = Store::new(&engine, ());
/// let instance = Instance::new(&mut store, &module, &[])?;
/// let memory = instance.get_memory(&mut store, "memory").expect("exported");
///
/// memory.write(&mut store, 5, b"wing")?;
/// assert_eq!(&memory.data(&store)[2..9], b"waxwing");
/// assert!(memory.write(&mut store, 65535, b"xy").is_err());
///
/// assert_eq!(memory.grow(&mut store, 1)?, 1);
/// assert_eq!(memory.data_size(&store), 2 * 65536);
/// assert!(memory.grow(&mut store, 1).is_err());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct Memory {
    store: StoreId,
    instance: InstanceId,
    index: DefinedMemoryIndex,
}

handle!(Memory, DefinedMemoryIndex);

impl Memory {
    /// A new memory of the type `ty`, all zeros.
    ///
    /// # Errors
    ///
    /// Fails if the store's limiter does not allow the memory, if the system lacks the address
    /// space or memory, or if the memory is a shared one.
    ///
    /// # Panics
    ///
    /// Panics if the store has a limiter that may wait, by `Store::limiter_async`.
    pub fn new(mut store: impl AsContextMut, ty: MemoryType) -> Result<Memory> {
        let store = store.as_context_mut().0;
        store.assert_limiter_never_waits("Memory::new_async");
        Memory::new_in(store, ty)
    }

    /// A new memory, as [`new`](Self::new) makes it, in an asynchronous store, whose limiter may wait.
    ///
    /// # Errors
    ///
    /// As for [`new`](Self::new).
    ///
    /// # Panics
    ///
    /// Panics unless the store's engine has [`Config::async_support`](crate::Config::async_support).
    #[cfg(feature = "async")]
    pub async fn new_async<T>(
        mut store: impl AsContextMut<Data = T>,
        ty: MemoryType,
    ) -> Result<Memory>
    where
        T: Send,
    {
        let store = store.as_context_mut().0;
        store.assert_async("Memory::new_async");
        match store.has_async_limiter() {
            true => store.on_fiber(|store| Memory::new_in(store, ty)).await,
            false => Memory::new_in(store, ty),
        }
    }

    fn new_in<T>(store: &mut StoreInner<T>, ty: MemoryType) -> Result<Memory> {
        if ty.is_shared() {
            bail!("shared memories must be created through `SharedMemory`");
        }
        let (instance, index) = waxwing_vm::create_host_memory(store, ty.as_wasm())?;
        Ok(Memory::new_handle(store.id(), instance, index))
    }

    pub(crate) fn vm_import(&self, store: &StoreOpaque) -> VMMemoryImport {
        self.owner(store).defined_memory(self.index)
    }

    #[inline]
    fn vm_memory<'a>(&self, store: &'a StoreOpaque) -> &'a waxwing_vm::Memory {
        self.owner(store).memory(self.index)
    }

    pub(crate) fn current_type(&self, store: &StoreOpaque) -> waxwing_environ::Memory {
        let memory = self.vm_memory(store);
        let mut ty = *memory.ty();
        ty.limits.min = memory.pages();
        ty
    }

    /// The type of the memory. Its minimum is the size that it had at first.
    ///
    /// # Panics
    ///
    /// Panics if the memory belongs to another store.
    pub fn ty(&self, store: impl AsContext) -> MemoryType {
        MemoryType::from_wasm(self.vm_memory(store.as_context().0).ty())
    }

    /// Copies bytes from `offset` on to `buffer`, which says how many.
    ///
    /// # Errors
    ///
    /// Fails if they are not all within the memory.
    ///
    /// # Panics
    ///
    /// Panics if the memory belongs to another store.
    pub fn read(
        &self,
        store: impl AsContext,
        offset: usize,
        buffer: &mut [u8],
    ) -> Result<(), MemoryAccessError> {
        let store = store.as_context();
        let bytes = self.bytes(store.0);
        let end = offset.checked_add(buffer.len());
        match end.and_then(|end| bytes.get(offset..end)) {
            Some(bytes) => buffer.copy_from_slice(bytes),
            None => return Err(MemoryAccessError { _private: () }),
        }
        Ok(())
    }

    /// Copies the bytes of `buffer` to the memory, from `offset` on.
    ///
    /// # Errors
    ///
    /// Fails if not all would be within the memory, and then writes none.
    ///
    /// # Panics
    ///
    /// Panics if the memory belongs to another store.
    pub fn write(
        &self,
        mut store: impl AsContextMut,
        offset: usize,
        buffer: &[u8],
    ) -> Result<(), MemoryAccessError> {
        let store = store.as_context_mut();
        let bytes = self.bytes_mut(store.0);
        let end = offset.checked_add(buffer.len());
        match end.and_then(|end| bytes.get_mut(offset..end)) {
            Some(bytes) => bytes.copy_from_slice(buffer),
            None => return Err(MemoryAccessError { _private: () }),
        }
        Ok(())
    }

    /// All bytes of the memory, along with which the store is borrowed.
    ///
    /// # Panics
    ///
    /// Panics if the memory belongs to another store.
    #[inline]
    pub fn data<'a, T: 'a>(&self, store: impl Into<StoreContext<'a, T>>) -> &'a [u8] {
        self.bytes(store.into().0)
    }

    /// All bytes of the memory, to be changed, along with which the store is borrowed.
    ///
    /// # Panics
    ///
    /// Panics if the memory belongs to another store.
    #[inline]
    pub fn data_mut<'a, T: 'a>(&self, store: impl Into<StoreContextMut<'a, T>>) -> &'a mut [u8] {
        self.bytes_mut(store.into().0)
    }

    /// All bytes of the memory, and the store's data, both to be changed.
    ///
    /// # Panics
    ///
    /// Panics if the memory belongs to another store.
    pub fn data_and_store_mut<'a, T: 'a>(
        &self,
        store: impl Into<StoreContextMut<'a, T>>,
    ) -> (&'a mut [u8], &'a mut T) {
        let (store, data) = store.into().0.split();
        (self.bytes_mut(store), data)
    }

    #[inline]
    pub(crate) fn bytes<'a>(&self, store: &'a StoreOpaque) -> &'a [u8] {
        let memory = self.vm_memory(store);
        // SAFETY: the memory has as many bytes at its base, all initialised. Borrowing the store
        // keeps WebAssembly code and the host from changing or growing it.
        unsafe { std::slice::from_raw_parts(memory.base().as_ptr(), memory.byte_size()) }
    }

    #[inline]
    fn bytes_mut<'a>(&self, store: &'a mut StoreOpaque) -> &'a mut [u8] {
        let memory = self.vm_memory(store);
        // SAFETY: as in `bytes`. The store is borrowed exclusively, and its memories do not overlap
        // anything else in it.
        unsafe { std::slice::from_raw_parts_mut(memory.base().as_ptr(), memory.byte_size()) }
    }

    /// The address of the first byte. It may change when the memory grows.
    ///
    /// # Panics
    ///
    /// Panics if the memory belongs to another store.
    pub fn data_ptr(&self, store: impl AsContext) -> *mut u8 {
        self.vm_memory(store.as_context().0).base().as_ptr()
    }

    /// The size in bytes.
    ///
    /// # Panics
    ///
    /// Panics if the memory belongs to another store.
    pub fn data_size(&self, store: impl AsContext) -> usize {
        self.vm_memory(store.as_context().0).byte_size()
    }

    /// The size in pages, each of [`page_size`](Self::page_size) bytes.
    ///
    /// # Panics
    ///
    /// Panics if the memory belongs to another store.
    pub fn size(&self, store: impl AsContext) -> u64 {
        self.vm_memory(store.as_context().0).pages()
    }

    /// The bytes of a page: 65536 unless the memory's type says otherwise.
    ///
    /// # Panics
    ///
    /// Panics if the memory belongs to another store.
    pub fn page_size(&self, store: impl AsContext) -> u64 {
        self.vm_memory(store.as_context().0).ty().page_size()
    }

    /// The base-2 logarithm of [`page_size`](Self::page_size).
    ///
    /// # Panics
    ///
    /// Panics if the memory belongs to another store.
    pub fn page_size_log2(&self, store: impl AsContext) -> u8 {
        self.vm_memory(store.as_context().0).ty().page_size_log2
    }

    /// Appends `delta` pages of zeros, and returns how many pages there were before.
    ///
    /// # Errors
    ///
    /// Fails if the memory would exceed its maximum, if the store's limiter does not allow it, or if
    /// the system lacks the address space or memory. The memory is then as before.
    ///
    /// # Panics
    ///
    /// Panics if the memory belongs to another store. Panics if the store has a limiter that may wait, by
    /// `Store::limiter_async`.
    pub fn grow(&self, mut store: impl AsContextMut, delta: u64) -> Result<u64> {
        let store = store.as_context_mut().0;
        store.assert_limiter_never_waits("Memory::grow_async");
        self.grow_in(store, delta)
    }

    /// Grows as [`grow`](Self::grow) does, in an asynchronous store, whose limiter may wait.
    ///
    /// # Errors
    ///
    /// As for [`grow`](Self::grow).
    ///
    /// # Panics
    ///
    /// Panics if the memory belongs to another store, or the store's engine lacks
    /// [`Config::async_support`](crate::Config::async_support).
    #[cfg(feature = "async")]
    pub async fn grow_async<T>(
        &self,
        mut store: impl AsContextMut<Data = T>,
        delta: u64,
    ) -> Result<u64>
    where
        T: Send,
    {
        let store = store.as_context_mut().0;
        store.assert_async("Memory::grow_async");
        match store.has_async_limiter() {
            true => store.on_fiber(|store| self.grow_in(store, delta)).await,
            false => self.grow_in(store, delta),
        }
    }

    fn grow_in<T>(&self, store: &mut StoreInner<T>, delta: u64) -> Result<u64> {
        store.assert_owns(self.store);
        match waxwing_vm::memory_grow(store, self.instance, self.index, delta)? {
            Some(previous) => Ok(previous),
            None => bail!("failed to grow memory by `{delta}`"),
        }
    }
}
