//! What collectors have to be told of: references that are stored, and overwritten.

use waxwing_environ::gc::{GC_DRC_LISTED, GC_DRC_ONE, GC_DRC_STUCK, GC_HEADER_BITS, GcSlot};

use super::collector::Collector;
use super::{GcStore, is_extern, is_object};

impl GcStore {
    /// Whether references from objects, globals, tables and element segments are counted.
    #[inline]
    pub(crate) fn counts_references(&self) -> bool {
        matches!(self.collector, Collector::Counting(_))
    }

    /// Counts a reference up.
    pub(crate) fn count_up(&mut self, reference: u32) {
        if is_object(reference) {
            let bits = self.bits(reference);
            if bits < GC_DRC_STUCK {
                self.write_u32(reference + GC_HEADER_BITS, bits + GC_DRC_ONE);
            }
        } else if is_extern(reference) {
            self.externs.count_up(reference);
        }
    }

    /// Counts a reference down, and lists what has none left.
    pub(crate) fn count_down(&mut self, reference: u32) {
        if is_object(reference) {
            let bits = self.bits(reference);
            if (GC_DRC_ONE..GC_DRC_STUCK).contains(&bits) {
                let bits = bits - GC_DRC_ONE;
                self.write_u32(reference + GC_HEADER_BITS, bits);
                if bits < GC_DRC_ONE && bits & GC_DRC_LISTED == 0 {
                    self.list(reference);
                }
            }
        } else if is_extern(reference) && self.externs.count_down(reference) {
            self.push_listed(reference);
        }
    }

    /// Lists an object that has no counted references and is not listed.
    pub(crate) fn list(&mut self, object: u32) {
        let bits = self.bits(object);
        self.write_u32(object + GC_HEADER_BITS, bits | GC_DRC_LISTED);
        self.push_listed(object);
    }

    fn push_listed(&mut self, reference: u32) {
        if let Collector::Counting(counting) = &mut self.collector {
            counting.list(reference);
        }
    }

    /// A reference in a global, table or element segment, none of which is an object, is overwritten.
    #[inline]
    pub(crate) fn replace_root(&mut self, old: u32, new: u32) {
        if self.counts_references() {
            self.count_up(new);
            self.count_down(old);
        }
    }

    /// References, some perhaps to objects, are stored in `len` slots of an object, from the offset `slot` in the heap on.
    #[inline]
    pub(super) fn mark_slots(&mut self, slot: u32, len: u32) {
        if let (Collector::Copying(_), Some(heap)) = (&self.collector, &self.heap) {
            heap.mark_cards(slot..slot + len * GcSlot::GcRef.size());
        }
    }

    /// Stores a reference in an object.
    pub(super) fn store_reference(&mut self, object: u32, offset: u32, new: u32) {
        if is_object(new) {
            self.mark_slots(object + offset, 1);
        }
        if self.counts_references() {
            let old = self.read_u32(object + offset);
            self.replace_root(old, new);
        }
        self.write_u32(object + offset, new);
    }
}
