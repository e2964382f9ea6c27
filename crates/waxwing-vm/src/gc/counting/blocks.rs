//! [`Blocks`]: memory for objects that do not move.
//!
//! The heap is divided into blocks. A block is free, holds small objects of one size class, or is part of a
//! run of blocks that one large object has. A block of small objects keeps a list of those that were
//! freed, through their first words; when all are, the block is free again.

use std::collections::BTreeMap;

use anyhow::Result;
use waxwing_environ::gc::GC_OBJECT_ALIGN;

use crate::gc::collector::Growth;
use crate::gc::heap::{COMMIT_UNIT, GcHeap, HEAP_END, HEAP_START};

/// The bytes of a block.
const BLOCK: u32 = COMMIT_UNIT;
/// The size of the largest small objects.
const SMALL_MAX: u32 = BLOCK / 4;
/// Up to this size there is a class for each multiple of eight bytes; beyond, four for each doubling.
const FINE_MAX: u32 = 128;
const FINE_CLASSES: usize = (FINE_MAX / GC_OBJECT_ALIGN) as usize;
/// The number of size classes.
const CLASSES: usize = FINE_CLASSES + 4 * (SMALL_MAX / FINE_MAX).ilog2() as usize;
/// The least and the most blocks to grow by, if there is a choice.
const GROWTH: std::ops::RangeInclusive<u32> = 16..=512;
/// How many times it is tried to grow by half as much before it is tried with what is necessary.
const HALVINGS: u32 = 3;
/// Free runs of at least so many blocks are given back to the system.
const DISCARD: u32 = 16;

/// The class of objects of a size.
fn class_of(size: u32) -> usize {
    if size <= FINE_MAX {
        return (size / GC_OBJECT_ALIGN) as usize - 1;
    }
    // The doubling that the size is in, and the quarter of that.
    let doubling = (size - 1).ilog2();
    let quarter = (size - 1) >> (doubling - 2) & 3;
    FINE_CLASSES + (doubling - FINE_MAX.ilog2()) as usize * 4 + quarter as usize
}

/// The size of objects of a class.
fn size_of_class(class: usize) -> u32 {
    match class.checked_sub(FINE_CLASSES) {
        None => (class as u32 + 1) * GC_OBJECT_ALIGN,
        Some(coarse) => {
            let doubling = FINE_MAX << (coarse / 4);
            doubling + (doubling / 4) * (coarse as u32 % 4 + 1)
        }
    }
}

/// Where an object is that is to be freed.
#[derive(Copy, Clone)]
pub(super) struct Place {
    object: u32,
    size: u32,
}

impl Place {
    pub(super) fn new(object: u32, size: u32) -> Place {
        Place { object, size }
    }
}

/// A block that holds small objects, or nothing.
#[derive(Copy, Clone, Default)]
struct Block {
    /// The class of its objects.
    class: u8,
    /// Whether it is in the list of blocks of its class that have room.
    has_room: bool,
    /// Whether it is the one that objects of its class are made in.
    is_current: bool,
    /// Whether it may not be zero.
    dirty: bool,
    /// How many objects there are.
    live: u16,
    /// The first object that was freed, zero if there is none.
    free: u32,
    /// The offset in the heap behind the last object that was made; beyond is what was never used since
    /// the block was free.
    next: u32,
}

/// The blocks of small objects of one class.
#[derive(Clone, Default)]
struct Class {
    /// The block that objects are made in.
    current: Option<u32>,
    /// Blocks that have room, if they say so: others may be listed that had it.
    with_room: Vec<u32>,
}

/// Memory for objects that do not move.
pub(super) struct Blocks {
    blocks: Vec<Block>,
    classes: Vec<Class>,
    /// Runs of free blocks: their length by their first.
    free_runs: BTreeMap<u32, u32>,
    /// Whether a large run became free since memory was last given back.
    can_discard: bool,
}

impl Default for Blocks {
    fn default() -> Self {
        Blocks {
            blocks: Vec::new(),
            classes: vec![Class::default(); CLASSES],
            free_runs: BTreeMap::new(),
            can_discard: false,
        }
    }
}

fn block_start(block: u32) -> u32 {
    HEAP_START + block * BLOCK
}

fn block_of(offset: u32) -> u32 {
    (offset - HEAP_START) / BLOCK
}

fn blocks_of(size: u32) -> u32 {
    size.div_ceil(BLOCK)
}

impl Blocks {
    pub(super) fn capacity(&self) -> u64 {
        self.blocks.len() as u64 * u64::from(BLOCK)
    }

    /// Zeroed memory for an object; `None` if there is none.
    #[inline]
    pub(super) fn allocate(&mut self, heap: &GcHeap, size: u32) -> Option<u32> {
        if size > SMALL_MAX {
            return self.allocate_large(heap, size);
        }
        let class = class_of(size);
        let current = self.classes[class].current;
        match current.and_then(|block| self.take(heap, block, class)) {
            Some(object) => Some(object),
            None => self.allocate_in_other_block(heap, class),
        }
    }

    /// Takes an object from a block of its class, if there is one.
    #[inline]
    fn take(&mut self, heap: &GcHeap, index: u32, class: usize) -> Option<u32> {
        let size = size_of_class(class);
        let block = &mut self.blocks[index as usize];
        let object = if block.free != 0 {
            let object = block.free;
            // SAFETY: there is no object, and its first word is the next one's offset.
            unsafe {
                let address = heap.base().add(object as usize);
                block.free = address.cast::<u32>().read();
                address.write_bytes(0, size as usize);
            }
            object
        } else {
            let object = block.next;
            if object + size > block_start(index) + BLOCK {
                return None;
            }
            block.next = object + size;
            if block.dirty {
                // SAFETY: the block is committed, and there is no object here.
                unsafe {
                    let address = heap.base().add(object as usize);
                    address.write_bytes(0, size as usize);
                }
            }
            object
        };
        block.live += 1;
        Some(object)
    }

    #[cold]
    fn allocate_in_other_block(&mut self, heap: &GcHeap, class: usize) -> Option<u32> {
        if let Some(full) = self.classes[class].current.take() {
            self.blocks[full as usize].is_current = false;
        }
        let block = loop {
            match self.classes[class].with_room.pop() {
                Some(listed) => {
                    let block = &mut self.blocks[listed as usize];
                    if usize::from(block.class) == class && std::mem::take(&mut block.has_room) {
                        break listed;
                    }
                }
                None => {
                    let new = self.take_run(1)?;
                    let block = &mut self.blocks[new as usize];
                    block.class = class as u8;
                    block.next = block_start(new);
                    break new;
                }
            }
        };
        self.blocks[block as usize].is_current = true;
        self.classes[class].current = Some(block);
        self.take(heap, block, class)
    }

    fn allocate_large(&mut self, heap: &GcHeap, size: u32) -> Option<u32> {
        let count = blocks_of(size);
        let first = self.take_run(count)?;
        for block in first..first + count {
            if std::mem::replace(&mut self.blocks[block as usize].dirty, true) {
                // SAFETY: the block is committed, and there is no object here.
                unsafe {
                    let address = heap.base().add(block_start(block) as usize);
                    address.write_bytes(0, BLOCK as usize);
                }
            }
        }
        Some(block_start(first))
    }

    /// Takes `count` free blocks that follow each other.
    fn take_run(&mut self, count: u32) -> Option<u32> {
        let (first, len) = self.free_runs.iter().find(|(_, len)| **len >= count)?;
        let (first, len) = (*first, *len);
        self.free_runs.remove(&first);
        if len > count {
            self.free_runs.insert(first + count, len - count);
        }
        Some(first)
    }

    /// Makes blocks free that nothing is in.
    fn free_run(&mut self, mut first: u32, mut count: u32) {
        if let Some(len) = self.free_runs.remove(&(first + count)) {
            count += len;
        }
        if let Some((before, len)) = self.free_runs.range(..first).next_back()
            && before + len == first
        {
            first = *before;
            count += len;
        }
        self.free_runs.insert(first, count);
        self.can_discard |= count >= DISCARD;
    }

    /// Frees an object. Its memory is used for others.
    pub(super) fn free(&mut self, heap: &GcHeap, Place { object, size }: Place) {
        let index = block_of(object);
        if size > SMALL_MAX {
            self.free_run(index, blocks_of(size));
            return;
        }
        let block = &mut self.blocks[index as usize];
        block.live -= 1;
        block.dirty = true;
        if block.live == 0 && !block.is_current {
            *block = Block {
                dirty: true,
                ..Block::default()
            };
            self.free_run(index, 1);
            return;
        }
        // SAFETY: there is no object any more.
        unsafe {
            let address = heap.base().add(object as usize);
            address.cast::<u32>().write(block.free);
        }
        block.free = object;
        if !block.is_current && !std::mem::replace(&mut block.has_room, true) {
            self.classes[usize::from(block.class)].with_room.push(index);
        }
    }

    /// Gives the memory of large free runs back to the system until they are used.
    pub(super) fn discard_unused(&mut self, heap: &GcHeap) {
        if !std::mem::take(&mut self.can_discard) {
            return;
        }
        for (first, count) in &self.free_runs {
            let blocks = &mut self.blocks[*first as usize..(first + count) as usize];
            let any_dirty = blocks.iter().any(|block| block.dirty);
            let range = block_start(*first)..block_start(*first) + count * BLOCK;
            // Should the system fail to, the memory stays as it is.
            if *count >= DISCARD && any_dirty && heap.discard(range).is_ok() {
                for block in blocks {
                    block.dirty = false;
                }
            }
        }
    }

    pub(super) fn growth(&self, size: u32, step: u32) -> Option<Growth> {
        let len = self.blocks.len() as u32;
        let necessary = match size {
            ..=SMALL_MAX => 1,
            _ => blocks_of(size),
        };
        let good = (len / 2).clamp(*GROWTH.start(), *GROWTH.end());
        let count = match step {
            0..HALVINGS => (good >> step).max(necessary),
            HALVINGS => necessary,
            _ => return None,
        };
        let count = count.min(block_of(HEAP_END) - len);
        (count >= necessary).then_some(Growth {
            bytes: u64::from(count) * u64::from(BLOCK),
            parts: [count, 0],
        })
    }

    pub(super) fn grow(&mut self, heap: &GcHeap, growth: &Growth) -> Result<()> {
        let [count, _] = growth.parts;
        let first = self.blocks.len() as u32;
        heap.commit(block_start(first)..block_start(first + count))?;
        let blocks = self.blocks.len() + count as usize;
        self.blocks.resize(blocks, Block::default());
        self.free_run(first, count);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_fit_their_sizes() {
        for size in (8..=SMALL_MAX).step_by(8) {
            let class = class_of(size);
            assert!(class < CLASSES, "{size}");
            let fits = size_of_class(class);
            assert!(fits >= size && fits.is_multiple_of(8), "{size} in {fits}");
            assert!(fits - size <= size / 4, "{size} in {fits}");
            if class > 0 {
                assert!(size_of_class(class - 1) < size, "{size}");
            }
        }
        assert_eq!(size_of_class(CLASSES - 1), SMALL_MAX);
    }

    #[test]
    fn blocks_are_used_again_for_other_sizes() {
        let heap = GcHeap::new(false, None).unwrap();
        let mut blocks = Blocks::default();
        assert_eq!(blocks.allocate(&heap, 24), None);
        let growth = blocks.growth(24, HALVINGS + 1);
        assert!(growth.is_none());
        blocks.grow(&heap, &blocks.growth(24, 2).unwrap()).unwrap();
        let capacity = blocks.capacity();
        for round in 0..3 {
            for size in [24, 4000, 200_000] {
                let mut objects = Vec::new();
                while let Some(object) = blocks.allocate(&heap, size) {
                    // SAFETY: the object is committed and nobody else's.
                    unsafe {
                        let address = heap.base().add(object as usize);
                        let bytes = std::slice::from_raw_parts_mut(address.as_ptr(), size as usize);
                        assert!(bytes.iter().all(|byte| *byte == 0), "{size} in {round}");
                        bytes.fill(1);
                    }
                    objects.push(object);
                }
                let bytes = objects.len() as u64 * u64::from(size);
                assert!(bytes > capacity / 2, "{bytes} of {size}");
                for object in objects {
                    blocks.free(&heap, Place::new(object, size));
                }
                blocks.discard_unused(&heap);
            }
        }
    }
}
