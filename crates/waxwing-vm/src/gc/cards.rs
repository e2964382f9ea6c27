//! Cards: where in old objects references were stored.
//!
//! A card is a part of the heap of [`CARD_SIZE`] bytes. The card table, which lies before the heap, has a byte for
//! each: generated code and the runtime mark the card of every slot of an object that they store a reference
//! to. To find the objects of a card there is another table, [`Starts`].

use std::ops::Range;
use std::ptr::NonNull;

use anyhow::{Context, Result};
use waxwing_environ::gc::{GC_CARD_MARK, GC_CARD_SHIFT, GC_CARDS_SIZE};

use super::heap::GcHeap;

/// The bytes of a card. No slot of a reference is in two.
pub(super) const CARD_SIZE: u32 = 1 << GC_CARD_SHIFT;
/// How many bytes of the card table are looked at at once.
const WORD: u32 = u64::BITS / 8;

/// The cards that a range of offsets touches.
fn cards(range: Range<u32>) -> Range<u32> {
    range.start >> GC_CARD_SHIFT..range.end.div_ceil(CARD_SIZE)
}

impl GcHeap {
    /// The place of a card in the table.
    fn card(&self, card: u32) -> NonNull<u8> {
        // SAFETY: the table lies before the base, and a card is within the heap.
        unsafe { self.base().sub(GC_CARDS_SIZE as usize).add(card as usize) }
    }

    /// Gives the cards of a range of offsets this byte in the table.
    fn set_cards(&self, range: Range<u32>, byte: u8) {
        if range.is_empty() {
            return;
        }
        let cards = cards(range);
        // SAFETY: the heap of a collector that uses cards has an accessible table, which nobody borrows.
        unsafe { self.card(cards.start).write_bytes(byte, cards.len()) };
    }

    /// Marks the cards of a range of offsets.
    #[inline]
    pub(super) fn mark_cards(&self, range: Range<u32>) {
        self.set_cards(range, GC_CARD_MARK);
    }

    /// Removes all marks of cards of a range of offsets.
    pub(super) fn clear_cards(&self, range: Range<u32>) {
        self.set_cards(range, 0);
    }

    /// Calls `visit` with the start of each marked card of a range, which begins at a multiple of eight
    /// cards, and removes the marks.
    pub(super) fn take_marked_cards(&self, range: Range<u32>, mut visit: impl FnMut(u32)) {
        let cards = cards(range);
        debug_assert!(cards.start.is_multiple_of(WORD));
        for first in cards.clone().step_by(WORD as usize) {
            let word = self.card(first).cast::<u64>();
            // SAFETY: as above; the table is aligned, and its length a multiple of words.
            let marks = unsafe { word.read() };
            if marks == 0 {
                continue;
            }
            // SAFETY: as above.
            unsafe { word.write(0) };
            for (card, mark) in (first..cards.end).zip(marks.to_ne_bytes()) {
                if mark != 0 {
                    visit(card << GC_CARD_SHIFT);
                }
            }
        }
    }
}

/// For each card of a space, in which objects follow each other, the object that has its first byte.
pub(super) struct Starts {
    /// Where the space begins: where a card does.
    space: u32,
    objects: Vec<u32>,
}

impl Starts {
    /// A table for a space that begins at `space` and has no bytes yet.
    pub(super) fn new(space: u32) -> Starts {
        Starts {
            space,
            objects: Vec::new(),
        }
    }

    /// The space has `len` bytes from now on.
    pub(super) fn grow(&mut self, len: u32) -> Result<()> {
        let cards = len.div_ceil(CARD_SIZE) as usize;
        let more = cards.saturating_sub(self.objects.len());
        let reserved = self.objects.try_reserve_exact(more);
        reserved.context("failed to allocate the table of a garbage-collected heap's objects")?;
        self.objects.resize(cards, 0);
        Ok(())
    }

    /// Goes over to another space of the same length.
    pub(super) fn move_to(&mut self, space: u32) {
        self.space = space;
    }

    /// There is an object at these offsets.
    #[inline(always)]
    pub(super) fn record(&mut self, object: Range<u32>) {
        let first = object.start.div_ceil(CARD_SIZE);
        let end = object.end.div_ceil(CARD_SIZE);
        if first < end {
            self.record_cards(first..end, object.start);
        }
    }

    fn record_cards(&mut self, cards: Range<u32>, object: u32) {
        let space = self.space >> GC_CARD_SHIFT;
        let cards = (cards.start - space) as usize..(cards.end - space) as usize;
        self.objects[cards].fill(object);
    }

    /// The object that has the first byte of the card that begins at `card`.
    #[inline]
    pub(super) fn object(&self, card: u32) -> u32 {
        self.objects[((card - self.space) >> GC_CARD_SHIFT) as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gc::heap::HEAP_START;

    fn taken(heap: &GcHeap, range: Range<u32>) -> Vec<u32> {
        let mut taken = Vec::new();
        heap.take_marked_cards(range, |card| taken.push(card));
        taken
    }

    #[test]
    fn marked_cards_are_found_once() {
        let heap = GcHeap::new(true, None).unwrap();
        let card = |i: u32| HEAP_START + i * CARD_SIZE;
        let all = HEAP_START..card(20) + 8;
        heap.mark_cards(card(2)..card(2));
        assert_eq!(taken(&heap, all.clone()), []);
        heap.mark_cards(card(3) - 4..card(3));
        heap.mark_cards(card(7) + 4..card(9) + 4);
        heap.mark_cards(card(20)..card(20) + 4);
        let expected = [2, 7, 8, 9, 20].map(card);
        assert_eq!(taken(&heap, all.clone()), expected);
        assert_eq!(taken(&heap, all.clone()), []);
        heap.mark_cards(all.clone());
        heap.clear_cards(card(1)..card(19) + 1);
        assert_eq!(taken(&heap, all), [0, 20].map(card));
        heap.mark_cards(0..4);
        heap.mark_cards(u32::MAX - 8..u32::MAX - 4);
    }

    #[test]
    fn objects_of_cards_are_found() {
        let mut starts = Starts::new(CARD_SIZE * 8);
        starts.grow(CARD_SIZE * 8).unwrap();
        let card = |i: u32| CARD_SIZE * (8 + i);
        let ends = [
            card(0) + 16,
            card(1),
            card(1) + 8,
            card(2) + 8,
            card(2) + 16,
            card(5),
            card(6) + 8,
        ];
        let mut start = card(0);
        let objects = ends.map(|end| std::mem::replace(&mut start, end)..end);
        for object in objects.clone() {
            starts.record(object);
        }
        for i in 0..=6 {
            let object = objects.iter().find(|object| object.contains(&card(i)));
            assert_eq!(starts.object(card(i)), object.unwrap().start, "{i}");
        }
        assert!(starts.grow(CARD_SIZE * 16).is_ok());
        starts.move_to(CARD_SIZE * 100);
        starts.record(CARD_SIZE * 115..CARD_SIZE * 116);
        assert_eq!(starts.object(CARD_SIZE * 115), CARD_SIZE * 115);
    }
}
