//! [`ExternTable`]: the values of the host that references with the tag
//! [`GC_REF_EXTERN_TAG`](waxwing_environ::gc::GC_REF_EXTERN_TAG) stand for.

use std::any::Any;

use anyhow::{Result, anyhow, ensure};
use waxwing_environ::gc::GC_REF_EXTERN_TAG;

use crate::vmcontext::VMGcRef;

/// A value of the host.
pub type HostValue = Box<dyn Any + Send + Sync>;

/// The number of places. References to the last one would be the value that says that a trap is under way.
const MAX_PLACES: usize = (1 << 30) - 1;

enum Entry {
    Free {
        next: Option<u32>,
    },
    Used {
        value: HostValue,
        /// Counted references, where references are counted.
        count: u32,
        /// Whether it was found by the collection that is going on.
        marked: bool,
        /// Whether it is in the list of what has no counted references.
        listed: bool,
    },
}

/// The least number of values at which a collection is due.
const MIN_COLLECTION_THRESHOLD: usize = 1 << 10;

/// Values of the host by the references that WebAssembly holds to them.
#[derive(Default)]
pub(super) struct ExternTable {
    entries: Vec<Entry>,
    first_free: Option<u32>,
    used: usize,
    /// How many values there may be, by the store's limiter. There is memory for as many.
    room: usize,
    /// The number of values at which a collection is due.
    threshold: usize,
}

fn reference(place: usize) -> VMGcRef {
    VMGcRef::new((place as u32) << 2 | GC_REF_EXTERN_TAG).expect("the tag is not zero")
}

fn place(reference: u32) -> usize {
    (reference >> 2) as usize
}

impl ExternTable {
    /// The number of values.
    pub(super) fn len(&self) -> usize {
        self.used
    }

    /// The places that are made at a time.
    const GROWTH: usize = 1 << 10;
    /// The memory that they take, in bytes.
    pub(super) const GROWTH_BYTES: usize = Self::GROWTH * size_of::<Entry>();

    /// The bytes of memory for places.
    pub(super) fn capacity(&self) -> usize {
        self.room * size_of::<Entry>()
    }

    /// Whether there is a place for another value.
    pub(super) fn has_room(&self) -> bool {
        self.len() < self.room
    }

    /// Makes more places.
    pub(super) fn grow(&mut self) -> Result<()> {
        let room = self.room + Self::GROWTH;
        ensure!(
            room <= MAX_PLACES,
            "no room for more external references beside {}; use fewer, or another store",
            self.room
        );
        let additional = room - self.entries.len();
        self.entries
            .try_reserve(additional)
            .map_err(|error| anyhow!(error).context("no memory for more external references"))?;
        self.room = room;
        Ok(())
    }

    /// Whether so many values came in since the last collection that another one is worth its time.
    pub(super) fn is_collection_due(&self) -> bool {
        self.len() >= self.threshold.max(MIN_COLLECTION_THRESHOLD)
    }

    /// A collection has freed what it could.
    pub(super) fn collection_done(&mut self) {
        self.threshold = self.len().saturating_mul(2);
    }

    /// Keeps `value` and returns the reference to it; gives it back if there is no room.
    pub(super) fn insert(&mut self, value: HostValue) -> Result<VMGcRef, HostValue> {
        if !self.has_room() {
            return Err(value);
        }
        let entry = Entry::Used {
            value,
            count: 0,
            marked: false,
            listed: true,
        };
        let place = match self.first_free {
            Some(place) => {
                let place = place as usize;
                if let Entry::Free { next } = self.entries[place] {
                    self.first_free = next;
                }
                self.entries[place] = entry;
                place
            }
            None => {
                let place = self.entries.len();
                self.entries.push(entry);
                place
            }
        };
        self.used += 1;
        Ok(reference(place))
    }

    /// The value that `reference`, which has the tag, stands for.
    pub(super) fn get(&self, reference: u32) -> Option<&(dyn Any + Send + Sync)> {
        match self.entries.get(place(reference))? {
            Entry::Used { value, .. } => Some(&**value),
            Entry::Free { .. } => None,
        }
    }

    /// The value that `reference`, which has the tag, stands for.
    pub(super) fn get_mut(&mut self, reference: u32) -> Option<&mut (dyn Any + Send + Sync)> {
        match self.entries.get_mut(place(reference))? {
            Entry::Used { value, .. } => Some(&mut **value),
            Entry::Free { .. } => None,
        }
    }

    /// Counts a reference up. Counts that reach the maximum stay there.
    pub(super) fn count_up(&mut self, reference: u32) {
        if let Some(Entry::Used { count, .. }) = self.entries.get_mut(place(reference)) {
            *count = count.saturating_add(1);
        }
    }

    /// Counts a reference down. Whether it was the last one, and the value has to be listed, which it
    /// is taken to be from now on.
    pub(super) fn count_down(&mut self, reference: u32) -> bool {
        let entry = self.entries.get_mut(place(reference));
        let Some(Entry::Used { count, listed, .. }) = entry else {
            return false;
        };
        if *count != u32::MAX {
            *count = count.saturating_sub(1);
        }
        *count == 0 && !std::mem::replace(listed, true)
    }

    /// Marks the value that `reference` stands for.
    #[inline]
    pub(super) fn mark(&mut self, reference: u32) {
        if let Some(Entry::Used { marked, .. }) = self.entries.get_mut(place(reference)) {
            *marked = true;
        }
    }

    /// Ends the mark of the value that `reference` stands for.
    pub(super) fn unmark(&mut self, reference: u32) {
        if let Some(Entry::Used { marked, .. }) = self.entries.get_mut(place(reference)) {
            *marked = false;
        }
    }

    /// What becomes of a listed value.
    pub(super) fn look_at_listed(&mut self, reference: u32) -> Listed {
        let entry = self.entries.get_mut(place(reference));
        match entry {
            Some(Entry::Used {
                count: 0, marked, ..
            }) => match *marked {
                true => Listed::Stays,
                false => Listed::Freed(self.free(place(reference))),
            },
            Some(Entry::Used { listed, .. }) => {
                *listed = false;
                Listed::Counted
            }
            _ => Listed::Counted,
        }
    }

    fn free(&mut self, place: usize) -> Option<HostValue> {
        let free = Entry::Free {
            next: self.first_free,
        };
        match std::mem::replace(&mut self.entries[place], free) {
            Entry::Used { value, .. } => {
                self.first_free = Some(place as u32);
                self.used -= 1;
                Some(value)
            }
            Entry::Free { next } => {
                self.entries[place] = Entry::Free { next };
                None
            }
        }
    }

    /// Frees all values that are not marked, and ends the marks of the others. Their destructors are for
    /// the caller to run.
    pub(super) fn sweep(&mut self, dead: &mut Vec<HostValue>) {
        for place in 0..self.entries.len() {
            if let Entry::Used { marked, .. } = &mut self.entries[place]
                && !std::mem::take(marked)
            {
                dead.extend(self.free(place));
            }
        }
    }
}

/// What became of a listed value.
pub(super) enum Listed {
    /// It has counted references and is not listed any more.
    Counted,
    /// It has none, but is marked: it stays listed.
    Stays,
    /// It has none, and is free.
    Freed(Option<HostValue>),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_find_their_values() {
        let mut table = ExternTable::default();
        table.grow().unwrap();
        let one = table.insert(Box::new(1i32)).ok().unwrap().get();
        let two = table.insert(Box::new("two")).ok().unwrap().get();
        assert_ne!(one, two);
        assert_eq!((one & 3, two & 3), (2, 2));
        assert_eq!(table.get(one).unwrap().downcast_ref(), Some(&1i32));
        assert_eq!(table.get(two).unwrap().downcast_ref(), Some(&"two"));
        *table.get_mut(one).unwrap().downcast_mut::<i32>().unwrap() = 5;
        assert_eq!(table.get(one).unwrap().downcast_ref(), Some(&5i32));
        assert!(table.get(u32::MAX).is_none());
    }

    #[test]
    fn values_come_back_if_there_is_no_room() {
        let mut table = ExternTable::default();
        let value = table.insert(Box::new(7u8)).unwrap_err();
        assert_eq!(value.downcast_ref(), Some(&7u8));
        table.grow().unwrap();
        assert_eq!(table.capacity(), ExternTable::GROWTH_BYTES);
        for _ in 0..ExternTable::GROWTH {
            assert!(table.insert(Box::new(())).is_ok());
        }
        assert!(!table.has_room());
        table.sweep(&mut Vec::new());
        assert!(table.has_room());
    }

    #[test]
    fn places_of_unmarked_values_are_used_again() {
        let mut table = ExternTable::default();
        table.grow().unwrap();
        let references: Vec<u32> = (0..4u32)
            .map(|i| table.insert(Box::new(i)).ok().unwrap().get())
            .collect();
        table.mark(references[1]);
        let mut dead = Vec::new();
        table.sweep(&mut dead);
        assert_eq!((dead.len(), table.len()), (3, 1));
        assert!(table.get(references[0]).is_none());
        let again: Vec<u32> = (0..3)
            .map(|_| table.insert(Box::new(())).ok().unwrap().get())
            .collect();
        assert!(again.iter().all(|again| references.contains(again)));
        assert!(!again.contains(&references[1]));
        table.sweep(&mut dead);
        assert_eq!(table.len(), 0);
    }

    #[test]
    fn listed_values_are_freed_when_nothing_counts_them() {
        let mut table = ExternTable::default();
        table.grow().unwrap();
        let value = table.insert(Box::new(())).ok().unwrap().get();
        table.mark(value);
        assert!(matches!(table.look_at_listed(value), Listed::Stays));
        table.unmark(value);
        table.count_up(value);
        assert!(matches!(table.look_at_listed(value), Listed::Counted));
        table.count_up(value);
        assert!(!table.count_down(value));
        assert!(table.count_down(value));
        assert!(matches!(
            table.look_at_listed(value),
            Listed::Freed(Some(_))
        ));
        assert_eq!(table.len(), 0);
    }
}
