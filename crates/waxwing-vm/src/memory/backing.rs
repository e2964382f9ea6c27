//! [`Backing`]: where the bytes of a linear memory are.

use std::ops::Range;
use std::ptr::NonNull;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail, ensure};

use super::host::HostMemory;
use super::spares::{self, MemoryKey, Origin};
use crate::allocator::{Allocator, MemorySlot};
use crate::memory_image::MemoryImage;
use crate::mmap::{Mmap, round_up_to_host_pages};
use crate::sys::vm;

/// What a new memory needs, in bytes. All but the first two are whole pages of the host.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Plan<'a> {
    /// The memory's type.
    pub(crate) ty: &'a waxwing_environ::Memory,
    /// The size.
    pub(crate) size: usize,
    /// What is accessible at first: the size, and what an initial image has beyond.
    pub(crate) accessible: usize,
    /// What the memory may use without moving.
    pub(crate) reserved: usize,
    /// Whether it never moves, which generated code relies on.
    pub(crate) fixed: bool,
    /// The guard before the first byte.
    pub(crate) pre_guard: usize,
    /// What stays inaccessible after the reservation.
    pub(crate) guard: usize,
    /// What is reserved in addition where the memory is moved to.
    pub(crate) room_for_growth: usize,
}

/// Where the bytes of a memory are.
#[derive(Debug)]
pub(super) enum Backing {
    /// In a mapping of the memory's own.
    Own(OwnMapping),
    /// Where the embedder has them.
    Host(HostMemory),
    /// In a slot of a pool.
    Pooled(MemorySlot),
}

impl Backing {
    /// Bytes for a new memory, zeros but for the image. If there is a `key`, they may be those of a memory with the same one,
    /// and may be used again when this memory is gone.
    ///
    /// # Errors
    ///
    /// Fails if there is no such address space or memory, or the image cannot be mapped.
    pub(super) fn new(
        allocator: &Allocator,
        plan: &Plan<'_>,
        key: Option<MemoryKey>,
        image: Option<&Arc<MemoryImage>>,
    ) -> Result<Backing> {
        if let Some(creator) = allocator.host_memories() {
            let memory = HostMemory::new(&**creator, plan)?;
            if let Some(image) = image {
                // SAFETY: the image lies within the new memory, see `Plan::accessible`, which nobody uses.
                unsafe { image.map_at(memory.base().as_ptr())? };
            }
            return Ok(Backing::Host(memory));
        }
        let key = key.filter(|_| vm::DISCARD_KEEPS_MAPPINGS && !plan.ty.shared);
        if let Some((origin, mut mapping)) = key.and_then(|key| spares::take(key, plan, image)) {
            mapping.origin = Some(origin);
            return Ok(Backing::Own(mapping));
        }
        let mapping = match OwnMapping::new(plan, image) {
            // Perhaps it is the spare ones that take the address space.
            Err(_) if spares::release_all() => OwnMapping::new(plan, image),
            result => result,
        };
        let mut mapping = mapping?;
        mapping.origin = key.map(|key| Origin {
            key,
            image: image.cloned(),
            accessible: plan.accessible,
        });
        Ok(Backing::Own(mapping))
    }

    /// The address of the first byte.
    pub(super) fn base(&self) -> NonNull<u8> {
        match self {
            Backing::Own(mapping) => mapping.base(),
            Backing::Host(memory) => memory.base(),
            Backing::Pooled(slot) => slot.base(),
        }
    }

    /// The bytes from the base that the memory may use without moving.
    pub(super) fn capacity(&self) -> usize {
        match self {
            Backing::Own(mapping) => mapping.reserved,
            Backing::Host(memory) => memory.capacity(),
            Backing::Pooled(slot) => slot.capacity(),
        }
    }

    /// The addresses of the bytes, of those that the memory may grow to without moving, and of its guards.
    pub(super) fn address_range(&self) -> Range<usize> {
        match self {
            Backing::Own(mapping) => mapping.mapping.address_range(),
            Backing::Host(memory) => memory.address_range(),
            Backing::Pooled(slot) => slot.address_range(),
        }
    }

    /// Makes the first `size` bytes, no more than the capacity, accessible. New ones are zeros.
    ///
    /// # Errors
    ///
    /// Fails, changing nothing, if there is no memory.
    pub(super) fn grow_in_place(&mut self, size: usize) -> Result<()> {
        match self {
            Backing::Own(mapping) => mapping.grow_in_place(size),
            Backing::Host(memory) => memory.grow(size),
            Backing::Pooled(slot) => slot.grow(size),
        }
    }

    /// Moves the first `used` bytes to where `size`, more than the capacity, are accessible. New ones are
    /// zeros.
    ///
    /// # Errors
    ///
    /// Fails, changing nothing, if there is no such address space or memory.
    pub(super) fn relocate(&mut self, used: usize, size: usize) -> Result<()> {
        match self {
            Backing::Own(mapping) => mapping.relocate(used, size),
            Backing::Host(memory) => memory.grow(size),
            Backing::Pooled(slot) => bail!(
                "growing the memory to {size:#x} bytes exceeds the {:#x} that an engine with this pooling allocator \
                 allows; `PoolingAllocationConfig::max_memory_size` sets it",
                slot.capacity()
            ),
        }
    }
}

/// A mapping of a memory's own.
#[derive(Debug)]
pub(super) struct OwnMapping {
    mapping: Mmap,
    /// Bytes of guard before the first byte.
    pre_guard: usize,
    /// Bytes after the last reserved one that stay inaccessible.
    guard: usize,
    /// Bytes from the base that the memory may use without moving.
    reserved: usize,
    /// Bytes from the base that are accessible, in host pages.
    accessible: usize,
    room_for_growth: usize,
    /// What the mapping can be used for when its memory is gone, if anything. Nothing is if there is no memory in it.
    origin: Option<Origin>,
}

impl OwnMapping {
    fn new(plan: &Plan<'_>, image: Option<&Arc<MemoryImage>>) -> Result<OwnMapping> {
        let mut new = OwnMapping {
            mapping: Mmap::empty(),
            pre_guard: plan.pre_guard,
            guard: plan.guard,
            reserved: plan.reserved,
            accessible: plan.accessible,
            room_for_growth: plan.room_for_growth,
            origin: None,
        };
        new.mapping = new.reserve()?;
        if let Some(image) = image {
            // SAFETY: the image lies within the accessible bytes, see `Plan::accessible`, which nobody uses.
            unsafe { image.map_at(new.base().as_ptr())? };
        }
        Ok(new)
    }

    /// Whether this is what the plan would make.
    pub(super) fn fits(&self, plan: &Plan<'_>) -> bool {
        self.pre_guard == plan.pre_guard
            && self.guard == plan.guard
            && self.reserved == plan.reserved
            && self.accessible == plan.accessible
            && self.room_for_growth == plan.room_for_growth
    }

    /// The length in bytes, with all that is reserved.
    pub(super) fn address_space(&self) -> usize {
        self.mapping.len()
    }

    /// Makes all as when it was new, with the first `accessible` bytes being so.
    fn reset(&mut self, accessible: usize) -> Result<()> {
        let start = self.pre_guard;
        // SAFETY: whose memory this was is gone.
        unsafe {
            if self.accessible > accessible {
                let rest = start + accessible..start + self.accessible;
                self.mapping.make_inaccessible(rest)?;
                self.accessible = accessible;
            }
            self.mapping.discard(start..start + accessible)
        }
    }

    /// Reserves address space for the reserved bytes and the guards, with the accessible ones being zeros.
    fn reserve(&self) -> Result<Mmap> {
        let total = self
            .pre_guard
            .checked_add(self.reserved)
            .and_then(|bytes| bytes.checked_add(self.guard))
            .ok_or_else(|| {
                anyhow!(
                    "a linear memory of {:#x} bytes and its guards exceed the address space",
                    self.reserved
                )
            })?;
        let mapping = Mmap::reserve(total)?;
        let range = self.pre_guard..self.pre_guard + self.accessible;
        // SAFETY: nobody uses the new mapping.
        unsafe { mapping.make_accessible(range)? };
        Ok(mapping)
    }

    fn base(&self) -> NonNull<u8> {
        let base = self.mapping.as_mut_ptr().wrapping_add(self.pre_guard);
        NonNull::new(base).expect("mappings are not at address zero and do not wrap around")
    }

    fn grow_in_place(&mut self, size: usize) -> Result<()> {
        let accessible = round_up_to_host_pages(size)?;
        if accessible > self.accessible {
            let range = self.pre_guard + self.accessible..self.pre_guard + accessible;
            // SAFETY: these pages are reserved by this memory and were inaccessible so far.
            unsafe { self.mapping.make_accessible(range)? };
            self.accessible = accessible;
        }
        Ok(())
    }

    fn relocate(&mut self, used: usize, size: usize) -> Result<()> {
        let accessible = round_up_to_host_pages(size)?;
        let reserved = accessible
            .checked_add(self.room_for_growth)
            .with_context(|| format!("a memory of {accessible:#x} bytes has no room for growth"))?;
        ensure!(used <= self.accessible, "more bytes to move than there are");
        let mut new = OwnMapping {
            mapping: Mmap::empty(),
            reserved,
            accessible,
            // There is no new memory that begins there.
            origin: None,
            ..*self
        };
        new.mapping = new.reserve()?;
        // SAFETY: both ranges are accessible, and the new one is nobody else's.
        unsafe {
            let (from, to) = (self.base().as_ptr(), new.base().as_ptr());
            to.copy_from_nonoverlapping(from, used);
        }
        *self = new;
        Ok(())
    }
}

impl Drop for OwnMapping {
    fn drop(&mut self) {
        let Some(origin) = self.origin.take() else {
            return;
        };
        let mut spare = OwnMapping {
            mapping: std::mem::replace(&mut self.mapping, Mmap::empty()),
            origin: None,
            ..*self
        };
        if spare.reset(origin.accessible).is_ok() {
            spares::keep(origin, spare);
        }
    }
}
