//! [`Copying`]: a generational collector that moves objects.
//!
//! ```text
//! | null guard | nursery | old space A | old space B |
//! ```
//!
//! Objects are made in the nursery, one after the other. When it is full, a *young* collection copies what
//! is in use of it to the end of the active old space: what the roots lead to, and what is in those parts of
//! the old space to which references were stored since, the marked cards. As nothing stays in the nursery, no
//! card stays marked. What is marked of the nursery itself is never looked at. A *full* collection copies
//! everything in use from the nursery and the active old space to the other one, which becomes the active
//! one. Copied objects leave the reference to their copy in their header, and copies are scanned in
//! order, which copies what they refer to behind them.
//!
//! A collection can always be carried out: both old spaces are committed up to the same size, and what is
//! used of the active one and of the nursery together never exceeds it. So the part of the nursery that is used is
//! limited by what is free there.
//!
//! Large objects are made in the old space. Generated code initialises new objects without telling, so
//! their cards are marked from the start.

use std::ops::Range;

use anyhow::Result;
use waxwing_environ::gc::{
    GC_HEADER_BITS, GC_KIND_MASK, GC_REF_EXTERN_TAG, GC_REF_TAG_MASK, GcSlot,
};

use super::cards::{CARD_SIZE, Starts};
use super::collector::{
    Attempt, Env, Growth, Scope, Tried, array_len, object_size, visit_references,
};
use super::externs::ExternTable;
use super::heap::{COMMIT_UNIT, GcHeap, HEAP_END, HEAP_START};
use super::roots::Roots;
use super::types::Shape;

/// The size that a nursery has if memory is scarce.
const NURSERY_SCARCE: u32 = COMMIT_UNIT;
/// The size that a nursery has at first.
const NURSERY_FIRST: u32 = 1 << 20;
/// The size beyond which a nursery is not grown. Its address space is twice as much, for stress mode.
const NURSERY_MAX: u32 = 16 << 20;
/// How much of a nursery is made zero at a time: little enough to be still in the innermost cache when
/// objects are made there.
const ZERO_CHUNK: u32 = 16 << 10;
/// Objects of more bytes are made in the old space.
const LARGE: u32 = 16 << 10;
/// A full collection is not due while the old space has no more bytes than this.
const THRESHOLD_MIN: u32 = 4 << 20;
/// If more than this part of a nursery survived, a larger one would have been better.
const SURVIVAL: u32 = 8;
/// After a full collection at least this part of the old space has to be free for allocation to go on:
/// otherwise there would be little but collections.
const FREE_PART: u32 = 64;
/// In stress mode every so-manieth collection is a full one.
const STRESS_FULL: u32 = 5;

const OLD_START: u32 = HEAP_START + 2 * NURSERY_MAX;
/// The address space of each old space.
const OLD_MAX: u32 = (HEAP_END - OLD_START) / 2 / COMMIT_UNIT * COMMIT_UNIT;
/// How many times it is tried to grow by half as much before it is tried with what is necessary.
const HALVINGS: u32 = 3;

/// A generational collector that moves objects.
pub(super) struct Copying {
    /// Where the nursery begins; differs in stress mode alone.
    nursery: u32,
    /// The committed bytes of the nursery.
    nursery_len: u32,
    /// The bytes that the nursery had better have.
    nursery_wish: u32,
    /// The end of what may be used of the nursery.
    nursery_limit: u32,
    /// Which old space is active.
    active: usize,
    /// The end of the objects in the active old space.
    old_next: u32,
    /// The committed bytes of each old space.
    old_len: u32,
    /// In each old space, the end of what may not be zero.
    dirty: [u32; 2],
    /// A full collection is due when the old space has this many bytes.
    threshold: u32,
    /// The objects of the cards of the active old space.
    starts: Starts,
    /// The number of collections.
    collections: u32,
}

/// Where an old space begins.
fn space_start(space: usize) -> u32 {
    OLD_START + space as u32 * OLD_MAX
}

impl Default for Copying {
    fn default() -> Self {
        Copying {
            nursery: HEAP_START,
            nursery_len: 0,
            nursery_wish: NURSERY_FIRST,
            nursery_limit: HEAP_START,
            active: 0,
            old_next: space_start(0),
            old_len: 0,
            dirty: [space_start(0), space_start(1)],
            threshold: THRESHOLD_MIN,
            starts: Starts::new(space_start(0)),
            collections: 0,
        }
    }
}

impl Copying {
    pub(super) fn capacity(&self) -> u64 {
        u64::from(self.nursery_len) + 2 * u64::from(self.old_len)
    }

    fn old_used(&self) -> u32 {
        self.old_next - space_start(self.active)
    }

    fn old_free(&self) -> u32 {
        self.old_len - self.old_used()
    }

    fn nursery_used(&self, env: &Env<'_>) -> u32 {
        env.context.gc_next.get().saturating_sub(self.nursery)
    }

    /// Adapts what may be used of the nursery to what is free in the old space.
    fn limit_nursery(&mut self, env: &Env<'_>) {
        self.nursery_limit = self.nursery + self.nursery_len.min(self.old_free());
        let end = env.context.gc_end.get().min(self.nursery_limit);
        env.context.gc_end.set(end);
    }

    pub(super) fn allocate(&mut self, env: &Env<'_>, size: u32, tried: Tried) -> Attempt {
        let Some(heap) = env.heap else {
            return Attempt::Full;
        };
        if env.stress && tried.collected.is_none() && !tried.cannot_collect && self.old_len != 0 {
            let full = self.collections.is_multiple_of(STRESS_FULL);
            return Attempt::Collect(if full { Scope::All } else { Scope::Young });
        }
        if size > LARGE {
            return self.allocate_large(env, heap, size, tried);
        }
        let object = env.context.gc_next.get();
        let next = object + size;
        if object >= self.nursery && next <= self.nursery_limit {
            self.zero_up_to(env, heap, next);
            env.context.gc_next.set(next);
            if env.stress {
                env.context.gc_end.set(next);
            }
            return Attempt::Done(object);
        }
        if tried.cannot_collect {
            return self.allocate_large(env, heap, size, tried);
        }
        if self.nursery_len != 0 && tried.collected.is_none() {
            return Attempt::Collect(Scope::Young);
        }
        // The nursery is empty.
        let small = self.old_free() < self.nursery_len || self.nursery_len < self.nursery_wish;
        if small && !tried.grown && !tried.cannot_grow {
            return Attempt::Grow;
        }
        if tried.collected != Some(Scope::All) && self.old_free() < self.nursery_len {
            return Attempt::Collect(Scope::All);
        }
        let usable = self.nursery_limit - self.nursery;
        if usable < size || usable < self.old_len / FREE_PART {
            return Attempt::Full;
        }
        env.context.gc_next.set(self.nursery);
        env.context.gc_end.set(self.nursery);
        self.allocate(env, size, tried)
    }

    /// Makes the nursery zero up to `next` at least.
    fn zero_up_to(&mut self, env: &Env<'_>, heap: &GcHeap, next: u32) {
        let start = env.context.gc_end.get();
        if next <= start {
            return;
        }
        let end = match env.stress {
            true => next,
            false => next.saturating_add(ZERO_CHUNK).min(self.nursery_limit),
        };
        zero(heap, start..end);
        env.context.gc_end.set(end);
    }

    fn allocate_large(&mut self, env: &Env<'_>, heap: &GcHeap, size: u32, tried: Tried) -> Attempt {
        let fits = u64::from(self.nursery_used(env)) + u64::from(size) <= self.old_free().into();
        let due = u64::from(self.old_used()) + u64::from(size) > self.threshold.into();
        let can_collect = tried.collected != Some(Scope::All) && !tried.cannot_collect;
        if due && can_collect && self.old_used() > 0 {
            return Attempt::Collect(Scope::All);
        }
        if !fits {
            return match () {
                () if !tried.grown && !tried.cannot_grow => Attempt::Grow,
                () if can_collect => Attempt::Collect(Scope::All),
                () => Attempt::Full,
            };
        }
        let object = self.old_next;
        self.old_next += size;
        let dirty = &mut self.dirty[self.active];
        zero(heap, object..self.old_next.min(*dirty).max(object));
        *dirty = self.old_next.max(*dirty);
        heap.mark_cards(object..self.old_next);
        self.starts.record(object..self.old_next);
        self.limit_nursery(env);
        Attempt::Done(object)
    }

    pub(super) fn growth(&self, size: u32, step: u32) -> Option<Growth> {
        let round = |bytes: u64| bytes.next_multiple_of(COMMIT_UNIT.into());
        let used = u64::from(self.old_used());
        // The object may come beside what is in the nursery.
        let large = u64::from(size);
        let least_nursery = u64::from(self.nursery_len.max(NURSERY_SCARCE));
        let least_old = round(used + u64::from(NURSERY_SCARCE) + large)
            .max(round(
                used + large + u64::from(self.nursery_limit - self.nursery),
            ))
            .max(self.old_len.into());
        let good_nursery = least_nursery.max(self.nursery_wish.into());
        let good_old = round(used.max(self.threshold.into()) + good_nursery + large).max(least_old);
        let between = |least: u64, good: u64| match step {
            0..HALVINGS => Some(round(least + ((good - least) >> step))),
            HALVINGS => Some(least),
            _ => None,
        };
        let nursery = between(least_nursery, good_nursery)?;
        let old = between(least_old, good_old)?.min(OLD_MAX.into());
        let bytes = nursery - u64::from(self.nursery_len) + 2 * (old - u64::from(self.old_len));
        (old >= least_old && bytes > 0).then_some(Growth {
            bytes,
            parts: [nursery as u32, old as u32],
        })
    }

    pub(super) fn grow(&mut self, heap: &GcHeap, env: &Env<'_>, growth: &Growth) -> Result<()> {
        let [nursery_len, old_len] = growth.parts;
        heap.commit(self.nursery + self.nursery_len..self.nursery + nursery_len)?;
        self.nursery_len = nursery_len;
        self.starts.grow(old_len)?;
        for space in [0, 1] {
            let start = space_start(space);
            heap.commit(start + self.old_len..start + old_len)?;
        }
        self.old_len = old_len;
        self.nursery_wish = self.nursery_wish.max(nursery_len);
        self.limit_nursery(env);
        Ok(())
    }

    /// Copies what is in use, and returns what was looked at.
    pub(super) fn collect(&mut self, env: &mut Env<'_>, roots: &mut Roots, scope: Scope) -> Scope {
        self.collections = self.collections.wrapping_add(1);
        let scope = match scope {
            Scope::Young if self.old_used() < self.threshold => Scope::Young,
            _ => Scope::All,
        };
        match scope {
            Scope::Young => self.collect_young(env, roots),
            Scope::All => self.collect_all(env, roots),
        }
        if let Some(heap) = env.heap
            && env.stress
        {
            self.flip_nursery(heap);
        }
        env.context.gc_next.set(self.nursery);
        env.context.gc_end.set(self.nursery);
        self.limit_nursery(env);
        scope
    }

    fn collect_young(&mut self, env: &mut Env<'_>, roots: &mut Roots) {
        let used = self.nursery_used(env);
        let old = space_start(self.active)..self.old_next;
        let mut evacuation = Evacuation::<false> {
            base: env.base(),
            shapes: env.types.shapes(),
            offsets: env.types.offsets(),
            space: self.nursery..self.nursery + used,
            next: self.old_next,
            end: space_start(self.active) + self.old_len,
            starts: &mut self.starts,
            externs: env.externs,
        };
        // SAFETY: the roots, and the objects of the old space, are alive until a full collection. There is
        // room for all of the nursery, see above.
        unsafe {
            roots.visit(|slot| evacuation.forward(slot.as_ptr()));
            if let Some(heap) = env.heap {
                heap.take_marked_cards(old.clone(), |card| {
                    evacuation.scan_card(card..old.end.min(card + CARD_SIZE));
                });
            }
            evacuation.scan(self.old_next);
        }
        let survived = evacuation.next - self.old_next;
        self.old_next = evacuation.next;
        let dirty = &mut self.dirty[self.active];
        *dirty = self.old_next.max(*dirty);
        let crowded = survived > used / SURVIVAL || roots.len() > used as usize / 64;
        if crowded && used > self.nursery_len / 2 && self.nursery_len < NURSERY_MAX {
            self.nursery_wish = self.nursery_len * 2;
        }
    }

    fn collect_all(&mut self, env: &mut Env<'_>, roots: &mut Roots) {
        let (from, to) = (self.active, 1 - self.active);
        let start = space_start(to);
        if let Some(heap) = env.heap
            && env.stress
        {
            heap.commit(start..start + self.old_len)
                .expect("stress mode needs memory");
        }
        self.starts.move_to(start);
        let mut evacuation = Evacuation::<true> {
            base: env.base(),
            shapes: env.types.shapes(),
            offsets: env.types.offsets(),
            space: start..start + self.old_len,
            next: start,
            end: start + self.old_len,
            starts: &mut self.starts,
            externs: env.externs,
        };
        // SAFETY: the roots are alive. There is room for all of the nursery and the old space, see above.
        unsafe {
            roots.visit(|slot| evacuation.forward(slot.as_ptr()));
            evacuation.scan(start);
        }
        let next = evacuation.next;
        if let Some(heap) = env.heap {
            // Those of the other space have no marks.
            heap.clear_cards(space_start(from)..self.old_next);
        }
        env.externs.sweep(env.dead);
        self.active = to;
        self.old_next = next;
        self.dirty[to] = self.dirty[to].max(next);
        let live = next - start;
        self.threshold = live.saturating_mul(2).max(THRESHOLD_MIN);
        if let Some(heap) = env.heap {
            self.leave(heap, from, live, env.stress);
        }
    }

    /// Gives memory of an old space back that no object is in any more: the next collection is
    /// expected to need as much of it as this one did of the other.
    fn leave(&mut self, heap: &GcHeap, space: usize, keep: u32, stress: bool) {
        let start = space_start(space);
        if stress {
            // Stale references fault.
            heap.decommit(start..start + self.old_len)
                .expect("stress mode needs memory");
            self.dirty[space] = start;
            return;
        }
        let keep = start + keep.max(THRESHOLD_MIN).next_multiple_of(COMMIT_UNIT);
        let end = self.dirty[space].next_multiple_of(COMMIT_UNIT);
        // Should the system fail to, the memory stays as it is.
        if keep < end && heap.discard(keep..end).is_ok() {
            self.dirty[space] = keep;
        }
    }

    /// Stress mode: makes the nursery inaccessible and goes on with another one.
    fn flip_nursery(&mut self, heap: &GcHeap) {
        let other = match self.nursery {
            HEAP_START => HEAP_START + NURSERY_MAX,
            _ => HEAP_START,
        };
        heap.decommit(self.nursery..self.nursery + self.nursery_len)
            .and_then(|()| heap.commit(other..other + self.nursery_len))
            .expect("stress mode needs memory");
        self.nursery = other;
    }
}

/// Fills a range, which is committed and without live objects, with zeros.
fn zero(heap: &GcHeap, range: Range<u32>) {
    // SAFETY: required of the callers.
    unsafe {
        heap.base()
            .add(range.start as usize)
            .write_bytes(0, range.len());
    }
}

/// The copying of objects: of those in the nursery, or if `ALL` of all.
struct Evacuation<'a, const ALL: bool> {
    base: *mut u8,
    shapes: &'a [Shape],
    offsets: &'a [u32],
    /// The nursery; or if `ALL` the space that is copied to, and that nothing is copied from.
    space: Range<u32>,
    /// Where the next copy goes.
    next: u32,
    /// How far copies can reach.
    end: u32,
    /// The objects of the space that is copied to.
    starts: &'a mut Starts,
    externs: &'a mut ExternTable,
}

/// The bits of a header's second word in the header.
const BITS_SHIFT: u32 = GC_HEADER_BITS * 8;

impl<const ALL: bool> Evacuation<'_, ALL> {
    /// Whether `reference` is an object that has to be copied.
    #[inline(always)]
    fn is_from(&mut self, reference: u32) -> bool {
        let tag = reference & GC_REF_TAG_MASK;
        let len = self.space.end - self.space.start;
        let is_in = reference.wrapping_sub(self.space.start) < len;
        if ALL {
            if tag == GC_REF_EXTERN_TAG {
                self.externs.mark(reference);
            }
            tag == 0 && reference != 0 && !is_in
        } else {
            is_in && tag == 0
        }
    }

    /// Copies the object that a reference refers to, if it has to be and was not yet, and changes the
    /// reference.
    ///
    /// # Safety
    ///
    /// There is a reference at `slot`, null, no object, or to a live object.
    #[inline(always)]
    unsafe fn forward(&mut self, slot: *mut u32) {
        // SAFETY: required of the caller.
        unsafe {
            let reference = slot.read();
            if self.is_from(reference) {
                slot.write(self.copy_of(reference));
            }
        }
    }

    /// The copy of an object.
    ///
    /// # Safety
    ///
    /// The object was live when the collection began.
    #[inline(always)]
    unsafe fn copy_of(&mut self, reference: u32) -> u32 {
        // SAFETY: required of the caller. The header of an object that was copied has no kind, and the
        // copy's reference in its place of the type.
        unsafe {
            let object = self.base.add(reference as usize);
            let header = object.cast::<u64>().read();
            if (header >> BITS_SHIFT) as u32 & GC_KIND_MASK == 0 {
                return header as u32;
            }
            let shape = &self.shapes[header as u32 as usize];
            let size = object_size(shape, object);
            let new = self.next;
            assert!(
                size <= (self.end - new) as usize,
                "the heap's objects exceed the heap"
            );
            self.next = new + size as u32;
            let copy = self.base.add(new as usize);
            copy.cast::<u64>().write(header);
            copy_words(object.add(8).cast(), copy.add(8).cast(), size / 8 - 1);
            object.cast::<u64>().write(new.into());
            new
        }
    }

    /// Forwards the references of all copies from `start` on.
    ///
    /// # Safety
    ///
    /// All objects from `start` to `next` are copies.
    unsafe fn scan(&mut self, start: u32) {
        let mut scan = start;
        while scan < self.next {
            // SAFETY: required of the caller.
            unsafe {
                let object = self.base.add(scan as usize);
                let shape = self.shapes[object.cast::<u32>().read() as usize];
                visit_references(&shape, self.offsets, object, |slot| self.forward(slot));
                let next = scan + object_size(&shape, object) as u32;
                self.starts.record(scan..next);
                scan = next;
            }
        }
    }

    /// Forwards the references in a card of the old space, or what is used of it.
    ///
    /// # Safety
    ///
    /// Where the range begins a card does, and there are objects in all of it, whose references are as
    /// [`Self::forward`] wants them.
    unsafe fn scan_card(&mut self, card: Range<u32>) {
        const ARRAY: u32 = Shape::ARRAY | Shape::REFERENCES;
        let mut next = self.starts.object(card.start);
        while next < card.end {
            // SAFETY: required of the caller; elements are behind the base.
            unsafe {
                let object = self.base.add(next as usize);
                let shape = self.shapes[object.cast::<u32>().read() as usize];
                let end = next + object_size(&shape, object) as u32;
                if shape.flags & ARRAY == ARRAY {
                    let size = GcSlot::GcRef.size();
                    let elements = next + shape.size;
                    let elements_end = elements + array_len(object) * size;
                    let slots = elements.max(card.start)..elements_end.min(card.end);
                    for slot in slots.step_by(size as usize) {
                        self.forward(self.base.add(slot as usize).cast());
                    }
                } else {
                    visit_references(&shape, self.offsets, object, |slot| self.forward(slot));
                }
                next = end;
            }
        }
    }
}

/// Most objects are small: no call for those.
const WORDS_INLINE: usize = 16;

/// # Safety
///
/// There are `words` words at both, which do not overlap.
#[inline(always)]
unsafe fn copy_words(from: *const u64, to: *mut u64, words: usize) {
    // SAFETY: required of the caller.
    unsafe {
        if words > WORDS_INLINE {
            to.copy_from_nonoverlapping(from, words);
        } else {
            for i in 0..words {
                // So that this does not become a call.
                to.add(i).write_volatile(from.add(i).read());
            }
        }
    }
}
