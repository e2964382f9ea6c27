//! [`Counting`]: deferred reference counting.
//!
//! References from objects, globals, tables and element segments are counted, in the bits of the object
//! that they lead to. References from frames of generated code, the host and the runtime are not. So what has no
//! counted references may be in use all the same: it is listed, and when something has to be freed, the
//! listed objects that no uncounted reference leads to are. That ends the references in them, which
//! may list others. Objects that refer to each other in a circle are never freed.

mod blocks;

use anyhow::Result;
use waxwing_environ::gc::{GC_DRC_LISTED, GC_DRC_ONE, GC_DRC_STUCK, GC_HEADER_BITS};

use super::collector::{Attempt, Env, Growth, Tried, object_size, visit_references};
use super::externs::{ExternTable, Listed};
use super::heap::GcHeap;
use super::roots::Roots;
use super::{is_extern, is_object};
use blocks::{Blocks, Place};

/// Set in an object's bits while a collection is going on: an uncounted reference leads to it.
const MARKED: u32 = 1 << 3;
/// A collection is due when so many bytes were allocated.
const BUDGET_MIN: u32 = 1 << 20;
/// How many uncounted references make a collection due this many bytes later.
const BUDGET_ROOT: usize = 64;
/// A collection is due when there are so many listed objects.
const LISTED_MAX: usize = 1 << 16;
/// What freed objects are filled with in stress mode.
const POISON: u8 = 0xdb;

/// A collector that counts references.
pub(super) struct Counting {
    blocks: Blocks,
    /// Objects and values of the host that may have no counted references.
    listed: Vec<u32>,
    /// The number of listed objects that the last collection could not free.
    listed_before: usize,
    /// How many bytes to allocate until the next collection.
    budget: u32,
    /// Bytes allocated since the last collection.
    allocated: u32,
    /// What is marked.
    marked: Vec<u32>,
    /// What stays listed.
    kept: Vec<u32>,
}

impl Default for Counting {
    fn default() -> Self {
        Counting {
            blocks: Blocks::default(),
            listed: Vec::new(),
            listed_before: 0,
            budget: BUDGET_MIN,
            allocated: 0,
            marked: Vec::new(),
            kept: Vec::new(),
        }
    }
}

/// The heap's words that counts are in.
#[derive(Copy, Clone)]
struct Words(*mut u8);

impl Words {
    fn bits(self, object: u32) -> *mut u32 {
        self.0
            .wrapping_add(object as usize + GC_HEADER_BITS as usize)
            .cast()
    }
}

impl Counting {
    pub(super) fn capacity(&self) -> u64 {
        self.blocks.capacity()
    }

    /// Lists an object whose bits say so, or a value of the host.
    #[inline]
    pub(super) fn list(&mut self, reference: u32) {
        self.listed.push(reference);
    }

    pub(super) fn allocate(&mut self, env: &Env<'_>, size: u32, tried: Tried) -> Attempt {
        let Some(heap) = env.heap else {
            return Attempt::Full;
        };
        let due = env.stress
            || self.allocated >= self.budget
            || self.listed.len() >= self.listed_before + LISTED_MAX;
        if due && tried.collected.is_none() && !tried.cannot_collect {
            return Attempt::Collect(super::collector::Scope::All);
        }
        match self.blocks.allocate(heap, size) {
            Some(object) => {
                self.allocated = self.allocated.saturating_add(size);
                // It is going to have a header that says so.
                self.listed.push(object);
                Attempt::Done(object)
            }
            None if !tried.cannot_grow => Attempt::Grow,
            None if tried.collected.is_none() && !tried.cannot_collect => {
                Attempt::Collect(super::collector::Scope::All)
            }
            None => Attempt::Full,
        }
    }

    pub(super) fn growth(&self, size: u32, step: u32) -> Option<Growth> {
        self.blocks.growth(size, step)
    }

    pub(super) fn grow(&mut self, heap: &GcHeap, growth: &Growth) -> Result<()> {
        self.blocks.grow(heap, growth)
    }

    /// Frees listed objects without counted references that no root leads to, and what is without
    /// references thereby.
    pub(super) fn collect(&mut self, env: &mut Env<'_>, roots: &mut Roots) {
        let words = Words(env.base());
        // SAFETY: roots are live references, and listed objects are not freed yet.
        unsafe {
            roots.visit(|slot| self.mark(env.externs, words, slot.read()));
            let mut next = 0;
            while let Some(reference) = self.listed.get(next) {
                self.look_at(env, words, *reference);
                next += 1;
            }
        }
        self.listed.clear();
        std::mem::swap(&mut self.listed, &mut self.kept);
        self.listed_before = self.listed.len();
        for reference in self.marked.drain(..) {
            if is_extern(reference) {
                env.externs.unmark(reference);
            } else {
                // SAFETY: marked objects are not freed.
                unsafe {
                    let bits = words.bits(reference);
                    bits.write(bits.read() & !MARKED);
                }
            }
        }
        self.allocated = 0;
        let roots = u32::try_from(roots.len().saturating_mul(BUDGET_ROOT));
        self.budget = BUDGET_MIN.max(roots.unwrap_or(u32::MAX));
        if let Some(heap) = env.heap {
            self.blocks.discard_unused(heap);
        }
    }

    /// # Safety
    ///
    /// The reference is null, no object, or to a live object.
    unsafe fn mark(&mut self, externs: &mut ExternTable, words: Words, reference: u32) {
        if is_object(reference) {
            let bits = words.bits(reference);
            // SAFETY: required of the caller.
            unsafe {
                if bits.read() & MARKED == 0 {
                    bits.write(bits.read() | MARKED);
                    self.marked.push(reference);
                }
            }
        } else if is_extern(reference) {
            externs.mark(reference);
            self.marked.push(reference);
        }
    }

    /// Decides what becomes of something listed.
    ///
    /// # Safety
    ///
    /// It is live.
    unsafe fn look_at(&mut self, env: &mut Env<'_>, words: Words, reference: u32) {
        if is_extern(reference) {
            match env.externs.look_at_listed(reference) {
                Listed::Counted => {}
                Listed::Stays => self.kept.push(reference),
                Listed::Freed(value) => env.dead.extend(value),
            }
            return;
        }
        let place = words.bits(reference);
        // SAFETY: required of the caller.
        unsafe {
            let bits = place.read();
            if bits >= GC_DRC_ONE {
                place.write(bits & !GC_DRC_LISTED);
            } else if bits & MARKED != 0 {
                self.kept.push(reference);
            } else {
                self.free(env, words, reference);
            }
        }
    }

    /// Frees an object, and counts down what it refers to.
    ///
    /// # Safety
    ///
    /// The object is live, and nothing refers to it.
    unsafe fn free(&mut self, env: &mut Env<'_>, words: Words, object: u32) {
        let address = words.0.wrapping_add(object as usize);
        // SAFETY: required of the caller. References in it are to live objects, as they are counted.
        let size = unsafe {
            let shape = env.types.shapes()[address.cast::<u32>().read() as usize];
            let offsets = env.types.offsets();
            visit_references(&shape, offsets, address, |slot| {
                self.count_down(env.externs, words, slot.read());
            });
            object_size(&shape, address)
        };
        if env.stress {
            // SAFETY: as above. Its type becomes one that no object has.
            unsafe { address.write_bytes(POISON, size) };
        }
        if let Some(heap) = env.heap {
            self.blocks.free(heap, Place::new(object, size as u32));
        }
    }

    /// # Safety
    ///
    /// The reference is null, no object, or to a live object.
    #[inline]
    unsafe fn count_down(&mut self, externs: &mut ExternTable, words: Words, reference: u32) {
        if is_object(reference) {
            let place = words.bits(reference);
            // SAFETY: required of the caller.
            unsafe {
                let bits = place.read();
                if !(GC_DRC_ONE..GC_DRC_STUCK).contains(&bits) {
                    return;
                }
                let bits = bits - GC_DRC_ONE;
                if bits < GC_DRC_ONE && bits & GC_DRC_LISTED == 0 {
                    place.write(bits | GC_DRC_LISTED);
                    self.listed.push(reference);
                } else {
                    place.write(bits);
                }
            }
        } else if is_extern(reference) && externs.count_down(reference) {
            self.listed.push(reference);
        }
    }
}
