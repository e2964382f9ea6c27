//! [`Storage`]: the bytes of a linear memory.
//!
//! ```text
//! | guard before | accessible … | reserved for growth … | guard |
//!                ^ base         ^ size, rounded up to host pages
//! ```
//!
//! A memory grows in place by making more of its reservation accessible. Beyond the reservation it is
//! moved to a new one, if its type and the engine's settings allow that generated code reloads the base. Where the
//! bytes are is up to the [`Backing`].

use std::ptr::NonNull;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, ensure};
use waxwing_environ::{MemoryImageFacts, Tunables};

use super::backing::{Backing, Plan};
use super::spares::MemoryKey;
use crate::allocator::{Affinity, Allocator, MemoryRequest, Pool, StoreKey, keys};
use crate::memory_image::MemoryImage;
use crate::mmap::round_up_to_host_pages;

/// The bytes of a linear memory, and how they may grow.
#[derive(Debug)]
pub struct Storage {
    ty: waxwing_environ::Memory,
    backing: Backing,
    /// The address of the first byte.
    base: NonNull<u8>,
    /// The size in bytes.
    size: usize,
    may_move: bool,
    /// The protection keys that a thread needs rights to, if any.
    rights: u32,
}

// SAFETY: the base is an address in the backing, which belongs to the value and to no thread.
unsafe impl Send for Storage {}
// SAFETY: as above; shared references only tell the address.
unsafe impl Sync for Storage {}

/// The initial contents of a memory.
#[derive(Copy, Clone)]
pub(crate) enum InitialContents<'a> {
    /// Zeros.
    Zeros,
    /// An image to map.
    Image(&'a Arc<MemoryImage>),
    /// Bytes to copy, and where they belong.
    Copy(&'a MemoryImageFacts, &'a [u8]),
}

fn to_usize(bytes: u64) -> Result<usize> {
    usize::try_from(bytes)
        .map_err(|_| anyhow!("{bytes:#x} bytes of linear memory exceed the address space"))
}

fn minimal_size(ty: &waxwing_environ::Memory) -> Result<usize> {
    let minimum = ty.minimum_byte_size().ok_or_else(|| {
        anyhow!(
            "a minimum of {} pages exceeds the address space",
            ty.limits.min
        )
    })?;
    to_usize(minimum)
}

impl Storage {
    /// A memory of type `ty`, of its minimal size. If there is a `key`, the module and its engine's settings are those of
    /// all memories with the same one.
    ///
    /// # Errors
    ///
    /// Fails if the system lacks the address space or memory, or the contents cannot be mapped.
    pub(crate) fn new(
        allocator: &Allocator,
        ty: &waxwing_environ::Memory,
        tunables: &Tunables,
        key: Option<MemoryKey>,
        contents: InitialContents<'_>,
    ) -> Result<Storage> {
        let size = minimal_size(ty)?;
        // Images are made of whole pages of the artifact, of which the memory may end within the last.
        let image_end = match contents {
            InitialContents::Image(image) => image
                .linear_memory_offset()
                .checked_add(image.len())
                .context("a memory image is beyond the address space")?,
            InitialContents::Zeros | InitialContents::Copy(..) => 0,
        };
        let accessible = round_up_to_host_pages(size)?.max(round_up_to_host_pages(image_end)?);
        let guard = round_up_to_host_pages(to_usize(tunables.memory_guard_size)?)?;
        let plan = Plan {
            ty,
            size,
            accessible,
            reserved: round_up_to_host_pages(to_usize(tunables.memory_reservation)?)?
                .max(accessible),
            fixed: ty.never_moves(tunables),
            pre_guard: if tunables.guard_before_linear_memory {
                guard
            } else {
                0
            },
            guard,
            room_for_growth: round_up_to_host_pages(to_usize(
                tunables.memory_reservation_for_growth,
            )?)?,
        };
        let image = match contents {
            InitialContents::Image(image) => Some(image),
            InitialContents::Zeros | InitialContents::Copy(..) => None,
        };
        let backing = reserve(allocator, plan, key, image)?;
        let mut memory = Storage {
            ty: *ty,
            base: backing.base(),
            backing,
            size,
            may_move: tunables.memory_may_move && !ty.shared,
            rights: 0,
        };
        if let InitialContents::Copy(facts, bytes) = contents {
            memory.copy_contents(facts, bytes)?;
        }
        Ok(memory)
    }

    /// A memory of type `ty`, of its minimal size, in a slot of a pool.
    ///
    /// # Errors
    ///
    /// Fails if all slots are in use, the memory is too large for them, or the contents cannot be mapped.
    pub(crate) fn pooled(
        pool: &Arc<Pool>,
        affinity: Affinity,
        key: &StoreKey,
        ty: &waxwing_environ::Memory,
        contents: InitialContents<'_>,
    ) -> Result<Storage> {
        let size = minimal_size(ty)?;
        let image = match contents {
            InitialContents::Image(image) => Some(image),
            InitialContents::Zeros | InitialContents::Copy(..) => None,
        };
        let slot = pool.memory(&MemoryRequest {
            affinity: Some(affinity),
            size,
            image,
            key,
        })?;
        let mut memory = Storage {
            ty: *ty,
            base: slot.base(),
            rights: slot.rights(),
            backing: Backing::Pooled(slot),
            size,
            may_move: false,
        };
        if let InitialContents::Copy(facts, bytes) = contents {
            memory.copy_contents(facts, bytes)?;
        }
        Ok(memory)
    }

    fn copy_contents(&mut self, facts: &MemoryImageFacts, bytes: &[u8]) -> Result<()> {
        // What an image has beyond the end of the memory pads it to whole pages.
        let start = to_usize(facts.offset)?.min(self.size);
        let len = bytes.len().min(self.size - start);
        // SAFETY: the range is within the memory, which nobody else uses yet.
        unsafe {
            let to = self.base().as_ptr().add(start);
            to.copy_from_nonoverlapping(bytes.as_ptr(), len);
        }
        Ok(())
    }

    /// The memory's type.
    #[inline]
    pub fn ty(&self) -> &waxwing_environ::Memory {
        &self.ty
    }

    /// The address of the first byte; not null, also of a memory of no bytes. From now on the calling thread may
    /// access the memory.
    #[inline]
    pub fn base(&self) -> NonNull<u8> {
        keys::allow(self.rights);
        self.base
    }

    /// The size in bytes.
    #[inline]
    pub fn byte_size(&self) -> usize {
        self.size
    }

    /// The addresses that the memory may ever use without moving, and those of its guards. An access in
    /// there that faults is out of bounds.
    pub fn address_range(&self) -> std::ops::Range<usize> {
        self.backing.address_range()
    }

    /// Makes the memory `new_size` bytes large, which is not less than before.
    ///
    /// # Errors
    ///
    /// Fails, leaving the memory as it was, if that exceeds its maximum, or it would have to move and
    /// may not, or the system lacks the address space or memory.
    pub(crate) fn grow_to(&mut self, new_size: usize) -> Result<()> {
        ensure!(
            new_size as u64 <= self.ty.maximum_byte_size(),
            "growing the memory to {new_size:#x} bytes exceeds its maximum of {:#x} bytes",
            self.ty.maximum_byte_size()
        );
        debug_assert!(new_size >= self.size);
        if new_size <= self.backing.capacity() {
            self.backing.grow_in_place(new_size)?;
        } else {
            ensure!(
                self.may_move || matches!(self.backing, Backing::Pooled(_)),
                "growing the memory to {new_size:#x} bytes exceeds its reservation of {:#x} bytes, and \
                 it may not move; see `Config::memory_reservation` and `Config::memory_may_move`",
                self.backing.capacity()
            );
            self.backing.relocate(self.size, new_size)?;
        }
        self.base = self.backing.base();
        self.size = new_size;
        Ok(())
    }
}

/// Reserves address space for a new memory: all that a shared one, which cannot move, may ever need, if there
/// is so much; room for growth for one that would have to move.
fn reserve(
    allocator: &Allocator,
    mut plan: Plan<'_>,
    key: Option<MemoryKey>,
    image: Option<&Arc<MemoryImage>>,
) -> Result<Backing> {
    if plan.ty.shared {
        let whole = to_usize(plan.ty.maximum_byte_size()).and_then(round_up_to_host_pages);
        let reserved = whole.unwrap_or(usize::MAX).max(plan.reserved);
        if let Ok(backing) = Backing::new(allocator, &Plan { reserved, ..plan }, None, image) {
            return Ok(backing);
        }
    }
    if plan.ty.shared || !plan.fixed {
        let with_room = plan.accessible.saturating_add(plan.room_for_growth);
        plan.reserved = plan.reserved.max(with_room);
    }
    Backing::new(allocator, &plan, key, image)
}

#[cfg(test)]
mod tests {
    use super::*;
    use waxwing_environ::{IndexType, Limits, Trap};

    impl Storage {
        /// The address of `len` bytes at `start`.
        ///
        /// # Errors
        ///
        /// Traps if they are not all within the memory.
        fn range(&self, start: u64, len: u64) -> Result<NonNull<u8>, Trap> {
            let in_bounds = start
                .checked_add(len)
                .is_some_and(|end| end <= self.size as u64);
            if !in_bounds {
                return Err(Trap::MemoryOutOfBounds);
            }
            // SAFETY: the range is within the mapping, as it is within the memory.
            Ok(unsafe { self.base().add(start as usize) })
        }
    }

    /// A memory that there are no others like.
    fn storage(
        ty: &waxwing_environ::Memory,
        tunables: &Tunables,
        contents: InitialContents<'_>,
    ) -> Result<Storage> {
        Storage::new(&Allocator::default(), ty, tunables, None, contents)
    }

    fn memory_type(min: u64, max: Option<u64>) -> waxwing_environ::Memory {
        waxwing_environ::Memory {
            idx_type: IndexType::I32,
            limits: Limits { min, max },
            shared: false,
            page_size_log2: 16,
        }
    }

    /// Small reservations, so that memories move.
    fn moving_tunables() -> Tunables {
        Tunables {
            memory_reservation: 0,
            memory_guard_size: 0x1_0000,
            memory_reservation_for_growth: 0x2_0000,
            ..Tunables::default()
        }
    }

    fn write(memory: &Storage, at: u64, byte: u8) {
        let address = memory.range(at, 1).unwrap();
        // SAFETY: the byte is within the memory, which nothing else uses.
        unsafe { address.write(byte) };
    }

    fn read(memory: &Storage, at: u64) -> u8 {
        let address = memory.range(at, 1).unwrap();
        // SAFETY: the byte is within the memory, which nothing else uses.
        unsafe { address.read() }
    }

    #[test]
    fn memories_grow_in_place_within_their_reservation() {
        let ty = memory_type(1, Some(65536));
        let mut memory = storage(&ty, &Tunables::default(), InitialContents::Zeros).unwrap();
        let base = memory.base();
        write(&memory, 0xffff, 7);
        assert!(memory.range(0x1_0000, 1).is_err());
        assert!(memory.range(0x1_0000, 0).is_ok());
        assert!(memory.range(u64::MAX, 2).is_err());
        memory.grow_to(1 << 32).unwrap();
        assert_eq!(memory.base(), base);
        assert_eq!(memory.byte_size(), 1 << 32);
        write(&memory, u64::from(u32::MAX), 9);
        assert_eq!((read(&memory, 0xffff), read(&memory, 0x1_0000)), (7, 0));
        assert!(memory.grow_to((1 << 32) + 0x1_0000).is_err());
    }

    #[test]
    fn memories_move_beyond_their_reservation() {
        let ty = memory_type(1, None);
        let mut memory = storage(&ty, &moving_tunables(), InitialContents::Zeros).unwrap();
        write(&memory, 5, 7);
        // The room for growth is used before the memory moves.
        for (in_place, beyond) in [(0x3_0000, 0x4_0000), (0x6_0000, 0x7_0000)] {
            let base = memory.base();
            memory.grow_to(in_place).unwrap();
            assert_eq!(memory.base(), base);
            write(&memory, in_place as u64 - 1, 1);
            memory.grow_to(beyond).unwrap();
            assert_ne!(memory.base(), base);
            let last = beyond as u64 - 1;
            assert_eq!((read(&memory, 5), read(&memory, last)), (7, 0));
        }

        let fixed = Tunables {
            memory_may_move: false,
            ..moving_tunables()
        };
        let mut memory = storage(&ty, &fixed, InitialContents::Zeros).unwrap();
        let error = memory.grow_to(0x2_0000).unwrap_err();
        assert!(error.to_string().contains("memory_may_move"), "{error}");
        assert_eq!(memory.byte_size(), 0x1_0000);
    }

    #[test]
    fn memories_of_single_bytes_have_exact_bounds() {
        let ty = waxwing_environ::Memory {
            page_size_log2: 0,
            ..memory_type(100, Some(5000))
        };
        let mut memory = storage(&ty, &moving_tunables(), InitialContents::Zeros).unwrap();
        assert!(memory.range(99, 1).is_ok());
        assert!(memory.range(100, 1).is_err());
        memory.grow_to(5000).unwrap();
        write(&memory, 4999, 1);
        assert!(memory.range(4999, 2).is_err());
        assert!(memory.grow_to(5001).is_err());
    }

    #[test]
    fn memories_may_be_empty_or_too_large() {
        let ty = memory_type(0, Some(0));
        let bare = Tunables {
            memory_guard_size: 0,
            guard_before_linear_memory: false,
            ..moving_tunables()
        };
        let memory = storage(&ty, &bare, InitialContents::Zeros).unwrap();
        assert_eq!(memory.byte_size(), 0);
        assert!(memory.range(0, 0).is_ok());
        assert!(memory.range(0, 1).is_err());
        for min in [1u64 << 47, u64::MAX] {
            let ty = waxwing_environ::Memory {
                idx_type: IndexType::I64,
                ..memory_type(min, None)
            };
            assert!(storage(&ty, &bare, InitialContents::Zeros).is_err());
        }
    }

    #[test]
    fn shared_memories_reserve_what_they_may_need() {
        let shared = |min, max| waxwing_environ::Memory {
            shared: true,
            ..memory_type(min, Some(max))
        };
        let tunables = moving_tunables();
        let mut memory = storage(&shared(1, 16), &tunables, InitialContents::Zeros).unwrap();
        let base = memory.base();
        memory.grow_to(16 << 16).unwrap();
        assert_eq!(memory.base(), base);
        assert!(memory.grow_to(17 << 16).is_err());
        // More than the address space has: the memory can grow as far as there is room.
        let ty = waxwing_environ::Memory {
            idx_type: IndexType::I64,
            ..shared(1, 1 << 40)
        };
        let mut memory = storage(&ty, &tunables, InitialContents::Zeros).unwrap();
        let base = memory.base();
        memory.grow_to(3 << 16).unwrap();
        assert_eq!(memory.base(), base);
        let error = memory.grow_to(4 << 16).unwrap_err();
        assert!(error.to_string().contains("reservation"), "{error}");
    }

    #[test]
    fn contents_are_copied_up_to_the_end() {
        let ty = waxwing_environ::Memory {
            page_size_log2: 0,
            ..memory_type(10, None)
        };
        let facts = MemoryImageFacts {
            offset: 0,
            data: 0..16,
        };
        let bytes: Vec<u8> = (1..=16).collect();
        let contents = InitialContents::Copy(&facts, &bytes);
        let memory = storage(&ty, &moving_tunables(), contents).unwrap();
        assert_eq!((read(&memory, 0), read(&memory, 9)), (1, 10));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn images_survive_growth_and_moves() {
        use crate::memory_image::ImageSource;
        let bytes = [5u8; 0x1_0000];
        let image = MemoryImage::new(ImageSource::Bytes(&bytes), bytes.len(), 0).unwrap();
        let image = Arc::new(image.expect("this system maps images"));
        let contents = InitialContents::Image(&image);
        let mut one = storage(&memory_type(1, None), &moving_tunables(), contents).unwrap();
        let two = storage(&memory_type(1, None), &moving_tunables(), contents).unwrap();
        write(&one, 3, 6);
        one.grow_to(0x10_0000).unwrap();
        assert_eq!(
            (read(&one, 3), read(&one, 4), read(&one, 0x1_0000)),
            (6, 5, 0)
        );
        assert_eq!(read(&two, 3), 5);
        // A memory that ends within the image's last page.
        let ty = waxwing_environ::Memory {
            page_size_log2: 0,
            ..memory_type(100, None)
        };
        let memory = storage(&ty, &moving_tunables(), contents).unwrap();
        assert_eq!(read(&memory, 99), 5);
        assert!(memory.range(100, 1).is_err());
    }

    /// A memory that there are others like.
    #[cfg(target_os = "linux")]
    fn one_of_many(module: u64, contents: InitialContents<'_>) -> Storage {
        let key = Some(MemoryKey { module, index: 0 });
        let (allocator, ty) = (Allocator::default(), memory_type(1, None));
        Storage::new(&allocator, &ty, &moving_tunables(), key, contents).unwrap()
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn spares_are_as_good_as_new_and_not_too_many() {
        use crate::memory_image::ImageSource;
        let bytes = [5u8; 0x1000];
        let image = || {
            let image = MemoryImage::new(ImageSource::Bytes(&bytes), bytes.len(), 0x1000).unwrap();
            Arc::new(image.expect("this system maps images"))
        };
        let (image, other) = (image(), image());
        let module = u64::MAX;
        let mut memory = one_of_many(module, InitialContents::Image(&image));
        let base = memory.base();
        memory.grow_to(0x2_0000).unwrap();
        for at in [0, 0x1000, 0xffff, 0x1_ffff] {
            write(&memory, at, 7);
        }
        drop(memory);

        // Neither is like the first one.
        let others = [
            one_of_many(module - 1, InitialContents::Image(&image)),
            one_of_many(module, InitialContents::Image(&other)),
        ];
        assert!(others.iter().all(|other| other.base() != base));

        let mut memory = one_of_many(module, InitialContents::Image(&image));
        assert_eq!(memory.base(), base);
        assert_eq!(memory.byte_size(), 0x1_0000);
        memory.grow_to(0x2_0000).unwrap();
        let found =
            [0, 0xfff, 0x1000, 0x1fff, 0x2000, 0xffff, 0x1_ffff].map(|at| read(&memory, at));
        assert_eq!(found, [0, 0, 5, 5, 0, 0, 0]);

        // One that has moved leaves a spare behind.
        write(&memory, 3, 9);
        memory.grow_to(0x10_0000).unwrap();
        assert_ne!(memory.base(), base);
        let next = one_of_many(module, InitialContents::Image(&image));
        assert_eq!((next.base(), read(&next, 3)), (base, 0));
        drop((memory, next));

        crate::memory::forget_module(module);
        assert!(!crate::memory::spares::has(module));

        let modules = module - 300..module;
        let many = |module| one_of_many(module, InitialContents::Image(&image));
        drop(modules.clone().map(many).collect::<Vec<_>>());
        let kept = modules.clone().filter(|&m| crate::memory::spares::has(m));
        assert!((1..300).contains(&kept.count()));
        modules.for_each(crate::memory::forget_module);
    }
}
