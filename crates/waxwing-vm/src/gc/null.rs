//! [`Null`]: the collector that never frees anything.

use anyhow::Result;

use super::collector::{Attempt, Env, Growth, Tried};
use super::heap::{COMMIT_UNIT, GcHeap, HEAP_END, HEAP_START};

/// The least and the most bytes to grow by, if there is a choice.
const GROWTH: std::ops::RangeInclusive<u32> = 1 << 20..=64 << 20;

/// How many times it is tried to grow by half as much before it is tried with what is necessary.
const HALVINGS: u32 = 3;

/// Objects follow each other from the start of the heap. All memory that is committed beyond them is zero.
pub(super) struct Null {
    /// The end of what is committed.
    end: u32,
}

impl Default for Null {
    fn default() -> Self {
        Null { end: HEAP_START }
    }
}

impl Null {
    pub(super) fn capacity(&self) -> u64 {
        u64::from(self.end - HEAP_START)
    }

    pub(super) fn allocate(&mut self, env: &Env<'_>, size: u32, tried: Tried) -> Attempt {
        if env.heap.is_none() {
            return Attempt::Full;
        }
        let object = env.context.gc_next.get().max(HEAP_START);
        match object.checked_add(size) {
            Some(next) if next <= self.end => {
                env.context.gc_next.set(next);
                let end = if env.stress { next } else { self.end };
                env.context.gc_end.set(end);
                Attempt::Done(object)
            }
            _ if tried.cannot_grow => Attempt::Full,
            _ => Attempt::Grow,
        }
    }

    pub(super) fn growth(&self, size: u32, step: u32) -> Option<Growth> {
        // What is left at the end is not counted: it is less than the object.
        let necessary = size.next_multiple_of(COMMIT_UNIT);
        let good = (self.capacity() / 2) as u32;
        let good = good.clamp(*GROWTH.start(), *GROWTH.end()).max(necessary);
        let bytes = match step {
            0..HALVINGS => (good >> step).next_multiple_of(COMMIT_UNIT).max(necessary),
            HALVINGS => necessary,
            _ => return None,
        };
        let bytes = bytes.min(HEAP_END - self.end);
        (bytes >= necessary).then_some(Growth {
            bytes: bytes.into(),
            parts: [self.end + bytes, 0],
        })
    }

    pub(super) fn grow(&mut self, heap: &GcHeap, growth: &Growth) -> Result<()> {
        let [end, _] = growth.parts;
        heap.commit(self.end..end)?;
        self.end = end;
        Ok(())
    }
}
