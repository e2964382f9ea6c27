//! The crate is built without pools: there are no values of these types.

use std::convert::Infallible;
use std::ops::{Deref, Range};
use std::ptr::NonNull;
use std::sync::Arc;

use anyhow::Result;
use waxwing_environ::Table;

use crate::loaded_module::LoadedModule;
use crate::memory_image::MemoryImage;
use crate::mmap::Mmap;

/// There is none.
#[derive(Debug)]
pub(crate) struct Pool(Infallible);

impl Pool {
    pub(crate) fn check_module(&self, _: &LoadedModule) -> Result<()> {
        match self.0 {}
    }

    pub(crate) fn forget_module(&self, _: u64, _: u32) {
        match self.0 {}
    }

    pub(crate) fn memory(&self, _: &MemoryRequest<'_>) -> Result<MemorySlot> {
        match self.0 {}
    }

    pub(crate) fn rights_denied(&self, _: &StoreKey) -> u32 {
        match self.0 {}
    }

    pub(crate) fn table(&self, _: &Table) -> Result<TableSlot> {
        match self.0 {}
    }

    pub(crate) fn instance(&self, _: &LoadedModule) -> Result<InstancePermit> {
        match self.0 {}
    }

    pub(crate) fn gc_heap(&self, _: impl FnOnce() -> Result<Mmap>) -> Result<PooledGcHeap> {
        match self.0 {}
    }

    pub(crate) fn stack(
        &self,
        _: usize,
        _: usize,
        _: impl FnOnce() -> Result<Mmap>,
    ) -> Result<PooledStack> {
        match self.0 {}
    }
}

/// What a memory would be used for.
#[expect(dead_code, reason = "for pools alone")]
pub(crate) struct Affinity {
    pub(crate) module: u64,
    pub(crate) index: u32,
}

/// What a memory would need.
#[expect(dead_code, reason = "for pools alone")]
pub(crate) struct MemoryRequest<'a> {
    pub(crate) affinity: Option<Affinity>,
    pub(crate) size: usize,
    pub(crate) image: Option<&'a Arc<MemoryImage>>,
    pub(crate) key: &'a StoreKey,
}

/// No key.
#[derive(Clone, Debug, Default)]
pub(crate) struct StoreKey;

/// There is none.
#[derive(Debug)]
pub(crate) struct MemorySlot(Infallible);

impl MemorySlot {
    pub(crate) fn base(&self) -> NonNull<u8> {
        match self.0 {}
    }

    pub(crate) fn capacity(&self) -> usize {
        match self.0 {}
    }

    pub(crate) fn address_range(&self) -> Range<usize> {
        match self.0 {}
    }

    pub(crate) fn rights(&self) -> u32 {
        match self.0 {}
    }

    pub(crate) fn grow(&mut self, _: usize) -> Result<()> {
        match self.0 {}
    }
}

/// There is none.
pub(crate) struct TableSlot(Infallible);

impl TableSlot {
    pub(crate) fn start(&self) -> NonNull<u8> {
        match self.0 {}
    }

    pub(crate) fn use_up_to(&mut self, _: usize, _: usize) -> Result<()> {
        match self.0 {}
    }
}

/// There is none.
pub(crate) struct InstancePermit(Infallible);

/// There is none.
#[derive(Debug)]
pub(crate) struct PooledGcHeap(Infallible);

impl Deref for PooledGcHeap {
    type Target = Mmap;

    fn deref(&self) -> &Mmap {
        match self.0 {}
    }
}

/// There is none.
pub(crate) struct PooledStack(Infallible);

impl PooledStack {
    pub(crate) fn mapping(&self) -> &Mmap {
        match self.0 {}
    }
}

/// Rights to memory, which are never changed.
pub(crate) mod keys {
    #[inline]
    pub(crate) fn in_use() -> bool {
        false
    }

    #[inline]
    pub(crate) fn allow(_: u32) {}

    /// # Safety
    ///
    /// None.
    #[inline]
    pub(crate) unsafe fn forbid(_: u32) {}
}
