//! [`MemoryPool`]: slots for linear memories.
//!
//! ```text
//! | guard | slot 0 … accessible … | guard | slot 1 … | guard | … | guard |
//!         ^ base                  ^ where the accessible part ends changes with the memory
//! ```
//!
//! A slot has the address space that generated code relies on: the engine's reservation, or the largest memory of the
//! pool if that is more, and a guard. The guard of one slot is that before the next. With memory protection keys, slots of other keys
//! are part of the guard: see [`keys`](super::keys).
//!
//! A slot that is free keeps what is mapped there: an image, and what is accessible. All bytes that are accessible are
//! as they were when the slot was used for the same module for the first time; all others are zeros.

use std::ops::Range;
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result, anyhow, ensure};
use waxwing_environ::{Memory, Tunables};

use super::decommit::{Decommit, Freed};
use super::index::{Affinity, IndexAllocator, SlotId};
use super::keys::{self, Keys, StoreKey, StoreRights};
use super::{Pool, PoolConcurrencyLimitError, PoolOptions, Wanted};
use crate::memory_image::MemoryImage;
use crate::mmap::{Mmap, round_up_to_host_pages};
use crate::sys::{pagemap, vm};

/// What a new memory needs.
pub(crate) struct MemoryRequest<'a> {
    /// What else the slot would fit, if it was used for it.
    pub(crate) affinity: Option<Affinity>,
    /// The size in bytes.
    pub(crate) size: usize,
    /// The initial contents, if they are to be mapped.
    pub(crate) image: Option<&'a Arc<MemoryImage>>,
    /// The key of the store.
    pub(crate) key: &'a StoreKey,
}

/// What is mapped in a slot.
#[derive(Debug, Default)]
struct Mapped {
    /// Bytes from the start that are accessible, in whole pages.
    accessible: usize,
    /// What is mapped among them.
    image: Option<Arc<MemoryImage>>,
    /// The bytes that the slot keeps while it is free.
    kept: usize,
}

/// A slot among all, of whatever key.
#[derive(Copy, Clone, Debug)]
struct Place {
    key: usize,
    slot: SlotId,
}

/// A slot that goes back to the pool when it is reset.
pub(super) struct FreedMemory {
    place: Place,
    affinity: Option<Affinity>,
    mapped: Mapped,
}

pub(super) struct MemoryPool {
    // Before the keys, which nobody may have any more when others get them.
    mapping: Mmap,
    keys: Keys,
    /// The slots of each key; one part if there are no keys.
    parts: Box<[IndexAllocator]>,
    /// What is mapped in each slot that is free.
    mapped: Box<[Mutex<Mapped>]>,
    layout: SlotLayout,
    max_size: usize,
    /// Bytes of a slot, in whole pages, that are reset by writing to them.
    keep_resident: usize,
    /// Whether the system is asked which pages were written.
    scans: bool,
}

/// Where slots are, in bytes.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
struct SlotLayout {
    /// From the beginning of the reservation to the first slot.
    first: usize,
    /// From one slot to the next.
    stride: usize,
    /// From the beginning of a slot to where something may be that code which can access the slot can access too.
    reach: usize,
    /// The whole reservation.
    total: usize,
}

impl SlotLayout {
    /// `None` if it exceeds the address space.
    fn new(
        slots: usize,
        keys: usize,
        reserved: usize,
        max_size: usize,
        guard: usize,
        guard_before: bool,
    ) -> Option<SlotLayout> {
        let reach = reserved.max(max_size).checked_add(guard)?;
        let stride = match keys {
            0 | 1 => reach,
            // The next slot of the same key is as far away as it has to be.
            keys => {
                let part = round_up_to_host_pages(reach.div_ceil(keys)).ok()?;
                part.max(max_size)
            }
        };
        let first = if guard_before { guard } else { 0 };
        let last = slots.saturating_sub(1).checked_mul(stride)?;
        let slots_end = match slots {
            0 => 0,
            _ => last.checked_add(reach)?,
        };
        Some(SlotLayout {
            first,
            stride,
            reach,
            total: first.checked_add(slots_end)?,
        })
    }
}

impl MemoryPool {
    pub(super) fn new(options: &PoolOptions, tunables: &Tunables) -> Result<MemoryPool> {
        let total = options.total_memories;
        let keys = Keys::new(options)?;
        let too_large = || {
            format!(
                "`PoolingAllocationConfig::total_memories({total})` with `Config::memory_reservation` of {:#x} bytes, \
                 `Config::memory_guard_size` of {:#x} bytes and `PoolingAllocationConfig::max_memory_size` of {:#x} bytes \
                 needs more address space than the host has: lower one of them",
                tunables.memory_reservation, tunables.memory_guard_size, options.max_memory_size
            )
        };
        let round_up = |bytes: u64| round_up_to_host_pages(usize::try_from(bytes).ok()?).ok();
        let layout = || {
            SlotLayout::new(
                total as usize,
                keys.len(),
                round_up(tunables.memory_reservation)?,
                round_up_to_host_pages(options.max_memory_size).ok()?,
                round_up(tunables.memory_guard_size)?,
                tunables.guard_before_linear_memory,
            )
        };
        let layout = layout().with_context(too_large)?;
        let mapping = Mmap::reserve(layout.total).with_context(too_large)?;
        let parts = keys.len().max(1);
        let slots_of = |part: usize| {
            let (each, rest) = (total as usize / parts, total as usize % parts);
            (each + usize::from(part < rest)) as u32
        };
        // The limit holds for all parts together, as far as it can be divided.
        let warm = options.max_unused_warm_slots.div_ceil(parts as u32);
        Ok(MemoryPool {
            mapping,
            keys,
            parts: (0..parts)
                .map(|part| IndexAllocator::new(slots_of(part), warm))
                .collect(),
            mapped: (0..total).map(|_| Mutex::default()).collect(),
            layout,
            max_size: options.max_memory_size,
            keep_resident: round_up_to_host_pages(options.linear_memory_keep_resident)
                .unwrap_or(usize::MAX),
            scans: scans(options.pagemap_scan)?,
        })
    }

    pub(super) fn in_use(&self) -> usize {
        self.parts.iter().map(IndexAllocator::in_use).sum()
    }

    pub(super) fn unused_warm(&self) -> usize {
        self.parts.iter().map(IndexAllocator::unused_warm).sum()
    }

    pub(super) fn unused_bytes(&self) -> usize {
        let slots = self.mapped.iter();
        slots.map(|mapped| lock(mapped).kept).sum()
    }

    pub(super) fn check_minimum(&self, memory: &Memory) -> Result<()> {
        let minimum = memory.minimum_byte_size();
        ensure!(
            minimum.is_some_and(|minimum| minimum <= self.max_size as u64),
            "a linear memory has a minimum of {} pages of {} bytes, but an engine with this pooling allocator allows \
             {:#x} bytes; `PoolingAllocationConfig::max_memory_size` sets it",
            memory.limits.min,
            memory.page_size(),
            self.max_size
        );
        Ok(())
    }

    fn number(&self, place: Place) -> usize {
        place.slot.index() * self.parts.len() + place.key
    }

    /// Where in the reservation a slot begins.
    fn offset(&self, place: Place) -> usize {
        self.layout.first + self.number(place) * self.layout.stride
    }

    fn base(&self, place: Place) -> NonNull<u8> {
        let base = self.mapping.as_mut_ptr().wrapping_add(self.offset(place));
        NonNull::new(base).expect("slots are not at address zero")
    }

    fn mapped(&self, place: Place) -> MutexGuard<'_, Mapped> {
        lock(&self.mapped[self.number(place)])
    }

    /// Makes a part of a slot accessible for who has the right to its key.
    ///
    /// # Safety
    ///
    /// The slot is the caller's, and the part is not borrowed.
    unsafe fn make_accessible(&self, place: Place, part: Range<usize>) -> Result<()> {
        let offset = self.offset(place);
        match self.keys.get(place.key) {
            // SAFETY: required of the caller.
            None => unsafe {
                self.mapping
                    .make_accessible(offset + part.start..offset + part.end)
            },
            Some(_) if part.is_empty() => Ok(()),
            Some(key) => {
                let start = self.base(place).as_ptr().wrapping_add(part.start);
                // SAFETY: as above.
                unsafe { key.protect(start, part.len()) }.with_context(|| {
                    format!(
                        "failed to make {:#x} bytes of memory at {start:p} accessible",
                        part.len()
                    )
                })
            }
        }
    }

    /// Prepares a slot, which the caller has taken, for a memory: maps the image and makes `accessible` bytes so.
    fn prepare(
        &self,
        place: Place,
        mapped: &mut Mapped,
        accessible: usize,
        image: Option<&Arc<MemoryImage>>,
    ) -> Result<()> {
        let offset = self.offset(place);
        let keep_image = match (&mapped.image, image) {
            (Some(there), Some(wanted)) => Arc::ptr_eq(there, wanted),
            (None, _) => true,
            (Some(_), None) => false,
        };
        if !keep_image {
            self.remove_image(place, mapped)?;
        }
        // SAFETY: the slot is the caller's, who lends it, and nobody borrows its memory.
        unsafe {
            if mapped.accessible > accessible {
                self.mapping
                    .forbid(offset + accessible..offset + mapped.accessible)?;
            } else {
                self.make_accessible(place, mapped.accessible..accessible)?;
            }
        }
        mapped.accessible = accessible;
        if let (None, Some(image)) = (&mapped.image, image) {
            let base = self.base(place).as_ptr();
            // SAFETY: as above; the image lies within the accessible part.
            unsafe {
                match self.keys.get(place.key) {
                    None => image.map_at(base)?,
                    Some(_) => {
                        image.map_inaccessible_at(base)?;
                        let start = image.linear_memory_offset();
                        self.make_accessible(place, start..start + image.len())?;
                    }
                }
            }
            mapped.image = Some(Arc::clone(image));
        }
        Ok(())
    }

    /// Replaces the image in a slot, which the caller has taken, by zeros.
    fn remove_image(&self, place: Place, mapped: &mut Mapped) -> Result<()> {
        if let Some(image) = mapped.image.take() {
            let start = image.linear_memory_offset();
            let part = start..start + image.len();
            let offset = self.offset(place);
            // SAFETY: the slot is the caller's, who lends it, and nobody borrows its memory.
            unsafe {
                self.mapping
                    .make_inaccessible(offset + part.start..offset + part.end)?;
                self.make_accessible(place, part)?;
            }
        }
        Ok(())
    }

    /// Takes a slot back whose memory was reset, or could not be.
    pub(super) fn give_back(&self, freed: FreedMemory, was_reset: bool) {
        let FreedMemory {
            place,
            affinity,
            mut mapped,
        } = freed;
        if was_reset {
            if !vm::DISCARD_KEEPS_MAPPINGS {
                mapped.image = None;
            }
            *self.mapped(place) = mapped;
            self.parts[place.key].free(place.slot, affinity);
        } else {
            self.scrap(place);
        }
    }

    /// Makes a slot as if it had never been used. If the system cannot do that, it is never used again.
    fn scrap(&self, place: Place) {
        let start = self.offset(place);
        // A slot of another key may begin before the end of what this one could reach.
        let len = self.layout.stride.min(self.layout.reach);
        // SAFETY: the slot is the caller's, and nobody uses it any more.
        let fresh = unsafe { self.mapping.make_inaccessible(start..start + len) };
        if fresh.is_ok() {
            *self.mapped(place) = Mapped::default();
            self.parts[place.key].free(place.slot, None);
        }
    }

    /// Removes the images of a module that is gone from free slots.
    pub(super) fn forget(&self, affinity: Affinity) {
        for (key, part) in self.parts.iter().enumerate() {
            while let Some(slot) = part.allocate_affine(affinity) {
                let place = Place { key, slot };
                let mut mapped = std::mem::take(&mut *self.mapped(place));
                match self.remove_image(place, &mut mapped) {
                    Ok(()) => {
                        *self.mapped(place) = mapped;
                        part.free(slot, None);
                    }
                    Err(_) => self.scrap(place),
                }
            }
        }
    }

    /// Takes a slot: of the store's key, or of that with the most free slots if the store has none yet.
    fn take(&self, request: &MemoryRequest<'_>) -> Option<Place> {
        let key = match request.key.get() {
            _ if self.parts.len() == 1 => 0,
            Some(key) => key,
            None => {
                let free = |part: &IndexAllocator| part.total() - part.in_use();
                let parts = self.parts.iter().enumerate();
                parts.max_by_key(|(_, part)| free(part))?.0
            }
        };
        let slot = self.parts[key].allocate(request.affinity)?;
        request.key.set(key);
        Some(Place { key, slot })
    }
}

/// Whether the system is to be asked which pages were written.
fn scans(wanted: Wanted) -> Result<bool> {
    ensure!(
        wanted != Wanted::Yes || pagemap::available(),
        "`PoolingAllocationConfig::pagemap_scan(Enabled::Yes)`: this operating system does not have `PAGEMAP_SCAN`, which Linux \
         has from 6.7 on, or does not let this process use it; use `Enabled::Auto` to do without where it is missing"
    );
    Ok(wanted != Wanted::No && pagemap::available())
}

fn lock(mapped: &Mutex<Mapped>) -> MutexGuard<'_, Mapped> {
    mapped.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A slot for a memory. Goes back to its pool when it is dropped.
#[derive(Debug)]
pub(crate) struct MemorySlot {
    pool: Arc<Pool>,
    place: Place,
    affinity: Option<Affinity>,
    mapped: Mapped,
}

impl Pool {
    /// A slot for a memory, with its initial contents if they are mapped and zeros otherwise.
    ///
    /// # Errors
    ///
    /// Fails if all are in use, the memory is too large, or the system cannot map the contents.
    pub(crate) fn memory(self: &Arc<Pool>, request: &MemoryRequest<'_>) -> Result<MemorySlot> {
        let memories = &self.memories;
        ensure!(
            request.size <= memories.max_size,
            "a linear memory of {:#x} bytes exceeds the {:#x} that an engine with this pooling allocator allows; \
             `PoolingAllocationConfig::max_memory_size` sets it",
            request.size,
            memories.max_size
        );
        let image_end = match request.image {
            Some(image) => image
                .linear_memory_offset()
                .checked_add(image.len())
                .filter(|end| *end <= memories.layout.stride)
                .ok_or_else(|| {
                    anyhow!("a memory image exceeds the memory; compile the module again")
                })?,
            None => 0,
        };
        // Images are made of whole pages of the artifact, of which the memory may end within the last.
        let accessible = round_up_to_host_pages(request.size)?.max(image_end);
        let error = PoolConcurrencyLimitError {
            what: "linear memories",
            limit: memories.mapped.len(),
            option: "total_memories",
        };
        let place = self.take_or(|| memories.take(request), error)?;
        keys::allow(memories.keys.all());
        let mut mapped = std::mem::take(&mut *memories.mapped(place));
        mapped.kept = 0;
        if let Err(error) = memories.prepare(place, &mut mapped, accessible, request.image) {
            memories.scrap(place);
            return Err(error);
        }
        Ok(MemorySlot {
            pool: Arc::clone(self),
            place,
            affinity: request.affinity,
            mapped,
        })
    }

    /// The rights of code of a store.
    pub(crate) fn rights(&self, key: &StoreKey) -> StoreRights {
        self.memories.keys.rights(key.get())
    }
}

impl MemorySlot {
    /// The address of the first byte.
    pub(crate) fn base(&self) -> NonNull<u8> {
        self.pool.memories.base(self.place)
    }

    /// The largest size in bytes.
    pub(crate) fn capacity(&self) -> usize {
        self.pool.memories.max_size
    }

    /// The addresses of the slot and of what follows, up to where something else may be that the same code can access.
    pub(crate) fn address_range(&self) -> Range<usize> {
        let base = self.base().as_ptr() as usize;
        base..base + self.pool.memories.layout.reach
    }

    /// The keys of the pool that threads need rights to: those to its own, too.
    pub(crate) fn rights(&self) -> u32 {
        self.pool.memories.keys.all()
    }

    /// Makes the first `size` bytes, no more than the capacity, accessible. New ones are zeros.
    ///
    /// # Errors
    ///
    /// Fails, changing nothing, if there is no memory.
    pub(crate) fn grow(&mut self, size: usize) -> Result<()> {
        let accessible = round_up_to_host_pages(size)?;
        if accessible > self.mapped.accessible {
            let part = self.mapped.accessible..accessible;
            // SAFETY: the slot is owned, and these pages were inaccessible so far.
            unsafe { self.pool.memories.make_accessible(self.place, part)? };
            self.mapped.accessible = accessible;
        }
        Ok(())
    }

    /// Resets as many bytes as are to stay resident by writing to them. Returns how many did, and from where on the rest
    /// of the slot has to be reset otherwise.
    fn reset_by_writing(&self) -> (usize, usize) {
        let MemoryPool {
            keep_resident,
            scans,
            ..
        } = self.pool.memories;
        let accessible = self.mapped.accessible;
        let contents = match &self.mapped.image {
            // Where resetting the rest would remove the image, all of it has to be reset so.
            Some(_) if !vm::DISCARD_KEEPS_MAPPINGS => return (0, 0),
            Some(image) => match image.contents() {
                Some(contents) => (image.linear_memory_offset(), contents),
                None => return (0, 0),
            },
            None => (0, &[][..]),
        };
        keys::allow(self.rights());
        if !scans {
            let keep = accessible.min(keep_resident);
            self.write_contents(0..keep, contents);
            return (keep, keep);
        }
        let base = self.base().as_ptr() as usize;
        let mut kept = 0;
        let known = pagemap::scan(base, base + accessible, &mut |pages: Range<usize>| {
            let fits = kept + pages.len() <= keep_resident;
            if fits {
                self.write_contents(pages.start - base..pages.end - base, contents);
                kept += pages.len();
            }
            fits
        });
        (kept, known - base)
    }

    /// Writes what a part of the memory had at first: the image's bytes, which begin at an offset, and zeros around.
    fn write_contents(&self, part: Range<usize>, (image_start, image): (usize, &[u8])) {
        let base = self.base().as_ptr();
        let within = |offset: usize| offset.clamp(part.start, part.end);
        let (start, end) = (within(image_start), within(image_start + image.len()));
        // SAFETY: the part is accessible, and nobody uses it any more.
        unsafe {
            base.add(part.start).write_bytes(0, start - part.start);
            if start < end {
                let bytes = &image[start - image_start..end - image_start];
                base.add(start)
                    .copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
            }
            base.add(end).write_bytes(0, part.end - end);
        }
    }
}

impl Drop for MemorySlot {
    fn drop(&mut self) {
        let accessible = self.mapped.accessible;
        let (kept, rest) = match self.pool.memories.keep_resident {
            0 => (0, 0),
            _ => self.reset_by_writing(),
        };
        let mut mapped = std::mem::take(&mut self.mapped);
        mapped.kept = kept;
        let freed = FreedMemory {
            place: self.place,
            affinity: self.affinity,
            mapped,
        };
        if rest == accessible {
            return self.pool.memories.give_back(freed, true);
        }
        self.pool.decommit(Decommit {
            start: self.base().as_ptr().wrapping_add(rest),
            len: accessible - rest,
            freed: Freed::Memory(freed),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mmap::host_page_size;

    #[test]
    fn what_code_can_reach_is_nobodys() {
        let page = host_page_size();
        let sizes = [0, 1, 3, 64, 1000].map(|pages| pages * page);
        for slots in [0, 1, 2, 7] {
            for keys in 0..5 {
                for reserved in sizes {
                    for max_size in sizes {
                        for guard in sizes {
                            for before in [false, true] {
                                let layout =
                                    SlotLayout::new(slots, keys, reserved, max_size, guard, before);
                                check(
                                    &layout.expect("it is small"),
                                    slots,
                                    keys.max(1),
                                    reserved.max(max_size) + guard,
                                    max_size,
                                );
                            }
                        }
                    }
                }
            }
        }
        assert_eq!(SlotLayout::new(2, 1, usize::MAX / 2, 0, page, false), None);
        assert_eq!(SlotLayout::new(1, 1, usize::MAX, 0, page, false), None);
    }

    fn check(layout: &SlotLayout, slots: usize, keys: usize, reach: usize, max_size: usize) {
        let start = |slot: usize| layout.first + slot * layout.stride;
        for slot in 0..slots {
            assert!(start(slot).is_multiple_of(host_page_size()));
            // Its guard is in the reservation, and its bytes are its own.
            assert!(start(slot) + reach <= layout.total, "{layout:?}");
            assert!(start(slot) + max_size <= start(slot + 1), "{layout:?}");
            // The next one of the same key is beyond what it reaches.
            assert!(start(slot) + reach <= start(slot + keys), "{layout:?}");
        }
    }
}
