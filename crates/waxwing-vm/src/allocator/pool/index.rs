//! [`IndexAllocator`]: which slot of a pool is used next.
//!
//! A slot is *cold* until it is used for the first time, and *warm* from then on. A warm slot that is free remembers
//! what it was last used for, its [`Affinity`], since whoever uses it for the same again finds memory mapped that
//! it would otherwise have to map. A slot is chosen so:
//!
//! 1. the free one of the same affinity that was used most recently, if there is one;
//! 2. if there are as many free warm slots as is wanted, the one that was used least recently;
//! 3. a cold one;
//! 4. the free warm one that was used least recently.
//!
//! # On many threads
//!
//! Free warm slots are spread over shards, each with a lock of its own. A thread gives slots back to its own shard and looks there
//! first, so that threads that use the same modules over and over meet no other thread's lock, and get the slots
//! whose memory their core has seen. Only when a shard has no slot of the affinity are the others asked. The order of
//! "recently" is that within a shard.
//!
//! The number of free slots is a counter beside all that. Whoever has decremented it owns one of the free slots, and only has to find out
//! which: nobody is told that there is no slot while there is one.

use std::cell::Cell;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

/// A slot of a pool.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) struct SlotId(pub(super) u32);

impl SlotId {
    pub(super) fn index(self) -> usize {
        self.0 as usize
    }
}

/// What a slot was used for: an item of a module, by the identity of the module and the item's index.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Affinity {
    pub(crate) module: u64,
    pub(crate) index: u32,
}

/// Mixes what little an [`Affinity`] consists of. The numbers are the engine's own, so that nobody can choose them to collide.
#[derive(Default)]
struct Mixer(u64);

impl Hasher for Mixer {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u32(&mut self, word: u32) {
        self.write_u64(word.into());
    }

    fn write_u64(&mut self, word: u64) {
        // The multiplier is 2^64 divided by the golden ratio.
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn write_isize(&mut self, discriminant: isize) {
        self.write_u64(discriminant as u64);
    }

    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 32)
    }
}

/// How many affinities a list remembers of which it has no slot: one may come back.
const MOST_EMPTY: usize = 64;

/// No node.
const NONE: u32 = u32::MAX;

/// A list of nodes, from the least to the most recent.
#[derive(Copy, Clone)]
struct Ends {
    oldest: u32,
    newest: u32,
}

impl Ends {
    const EMPTY: Ends = Ends {
        oldest: NONE,
        newest: NONE,
    };
}

/// The neighbours of a node in a list.
#[derive(Copy, Clone)]
struct Links {
    older: u32,
    newer: u32,
}

/// The two lists that each node is in.
#[derive(Copy, Clone)]
enum List {
    All = 0,
    SameAffinity = 1,
}

struct Node {
    slot: SlotId,
    affinity: Option<Affinity>,
    links: [Links; 2],
}

/// Free warm slots.
#[derive(Default)]
struct FreeList {
    nodes: Vec<Node>,
    /// Places in `nodes` that are not used.
    vacant: Vec<u32>,
    all: Option<Ends>,
    by_affinity: HashMap<Option<Affinity>, Ends, BuildHasherDefault<Mixer>>,
}

impl FreeList {
    fn link_newest(nodes: &mut [Node], list: List, ends: &mut Ends, node: u32) {
        let list = list as usize;
        nodes[node as usize].links[list] = Links {
            older: ends.newest,
            newer: NONE,
        };
        match ends.newest {
            NONE => ends.oldest = node,
            newest => nodes[newest as usize].links[list].newer = node,
        }
        ends.newest = node;
    }

    fn unlink(nodes: &mut [Node], list: List, ends: &mut Ends, node: u32) {
        let list = list as usize;
        let Links { older, newer } = nodes[node as usize].links[list];
        match older {
            NONE => ends.oldest = newer,
            older => nodes[older as usize].links[list].newer = newer,
        }
        match newer {
            NONE => ends.newest = older,
            newer => nodes[newer as usize].links[list].older = older,
        }
    }

    fn push(&mut self, slot: SlotId, affinity: Option<Affinity>) {
        let place = match self.vacant.pop() {
            Some(place) => {
                let node = &mut self.nodes[place as usize];
                (node.slot, node.affinity) = (slot, affinity);
                place
            }
            None => {
                let unlinked = Links {
                    older: NONE,
                    newer: NONE,
                };
                self.nodes.push(Node {
                    slot,
                    affinity,
                    links: [unlinked; 2],
                });
                self.nodes.len() as u32 - 1
            }
        };
        let all = self.all.get_or_insert(Ends::EMPTY);
        FreeList::link_newest(&mut self.nodes, List::All, all, place);
        match self.by_affinity.get_mut(&affinity) {
            Some(same) => {
                FreeList::link_newest(&mut self.nodes, List::SameAffinity, same, place);
            }
            None => {
                let mut same = Ends::EMPTY;
                FreeList::link_newest(&mut self.nodes, List::SameAffinity, &mut same, place);
                self.by_affinity.insert(affinity, same);
            }
        }
    }

    fn remove(&mut self, place: u32) -> SlotId {
        let Node { slot, affinity, .. } = self.nodes[place as usize];
        if let Some(all) = &mut self.all {
            FreeList::unlink(&mut self.nodes, List::All, all, place);
        }
        if let Some(same) = self.by_affinity.get_mut(&affinity) {
            FreeList::unlink(&mut self.nodes, List::SameAffinity, same, place);
            // Entries that come and go take time.
            if same.newest == NONE && self.by_affinity.len() > MOST_EMPTY {
                self.by_affinity.remove(&affinity);
            }
        }
        self.vacant.push(place);
        slot
    }

    /// The most recent slot of the affinity.
    fn pop_affine(&mut self, affinity: Option<Affinity>) -> Option<SlotId> {
        let place = self.by_affinity.get(&affinity)?.newest;
        (place != NONE).then(|| self.remove(place))
    }

    /// The least recent slot.
    fn pop_oldest(&mut self) -> Option<SlotId> {
        let place = self.all?.oldest;
        (place != NONE).then(|| self.remove(place))
    }
}

/// A part of the free warm slots. Aligned so that no two share what a core caches at once.
#[derive(Default)]
#[repr(align(128))]
struct Shard {
    /// The number of slots in `list`, written with the lock held.
    len: AtomicUsize,
    list: Mutex<FreeList>,
}

impl Shard {
    fn list(&self) -> MutexGuard<'_, FreeList> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says how many slots there are.
    fn count(&self, list: &FreeList) {
        let len = list.nodes.len() - list.vacant.len();
        self.len.store(len, Ordering::Relaxed);
    }

    fn take(&self, take: impl FnOnce(&mut FreeList) -> Option<SlotId>) -> Option<SlotId> {
        if self.len.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let mut list = self.list();
        let slot = take(&mut list)?;
        self.count(&list);
        Some(slot)
    }
}

/// A counter that many threads write.
#[repr(align(128))]
struct Padded(AtomicUsize);

/// How many of a limited number of things are left.
pub(super) struct Permits {
    total: usize,
    left: Padded,
}

impl Permits {
    pub(super) fn new(total: usize) -> Permits {
        Permits {
            total,
            left: Padded(AtomicUsize::new(total)),
        }
    }

    pub(super) fn total(&self) -> usize {
        self.total
    }

    /// How many are taken.
    pub(super) fn taken(&self) -> usize {
        let left = self.left.0.load(Ordering::Relaxed);
        self.total.saturating_sub(left)
    }

    /// Takes one, if one is left.
    pub(super) fn take(&self) -> bool {
        let less = |left: usize| left.checked_sub(1);
        let left = &self.left.0;
        left.fetch_update(Ordering::Acquire, Ordering::Relaxed, less)
            .is_ok()
    }

    /// Gives one back.
    pub(super) fn give_back(&self) {
        self.left.0.fetch_add(1, Ordering::Release);
    }
}

/// The number of shards that are enough for any machine: each one more is one more to look at when a module is new.
const MAX_SHARDS: usize = 16;

/// Tells which slot of a pool is used next: see the [module](self).
pub(super) struct IndexAllocator {
    permits: Permits,
    max_unused_warm: usize,
    /// The first slot that was never used.
    next_cold: AtomicUsize,
    shards: Box<[Shard]>,
}

impl IndexAllocator {
    /// `total` slots, all cold.
    pub(super) fn new(total: u32, max_unused_warm: u32) -> IndexAllocator {
        let threads = thread::available_parallelism().map_or(1, usize::from);
        IndexAllocator::with_shards(total, max_unused_warm, threads.clamp(1, MAX_SHARDS))
    }

    fn with_shards(total: u32, max_unused_warm: u32, shards: usize) -> IndexAllocator {
        IndexAllocator {
            permits: Permits::new(total as usize),
            max_unused_warm: max_unused_warm as usize,
            next_cold: AtomicUsize::new(0),
            shards: (0..shards).map(|_| Shard::default()).collect(),
        }
    }

    /// The number of slots.
    pub(super) fn total(&self) -> usize {
        self.permits.total()
    }

    /// The number of slots that are not free.
    pub(super) fn in_use(&self) -> usize {
        self.permits.taken()
    }

    /// The number of free warm slots.
    pub(super) fn unused_warm(&self) -> usize {
        let lens = self.shards.iter();
        lens.map(|shard| shard.len.load(Ordering::Relaxed)).sum()
    }

    /// A slot for something of this affinity. `None` if no slot is free.
    pub(super) fn allocate(&self, affinity: Option<Affinity>) -> Option<SlotId> {
        if !self.permits.take() {
            return None;
        }
        loop {
            // There is a slot, perhaps one that moved between shards while they were looked at.
            if let Some(slot) = self.find(affinity) {
                return Some(slot);
            }
            thread::yield_now();
        }
    }

    /// A free slot of this affinity, if there is one.
    pub(super) fn allocate_affine(&self, affinity: Affinity) -> Option<SlotId> {
        if !self.permits.take() {
            return None;
        }
        let slot = self.take_from_any(|list| list.pop_affine(Some(affinity)));
        if slot.is_none() {
            self.permits.give_back();
        }
        slot
    }

    /// Makes a slot free, which was used for something of this affinity.
    pub(super) fn free(&self, slot: SlotId, affinity: Option<Affinity>) {
        let shard = &self.shards[home() % self.shards.len()];
        let mut list = shard.list();
        list.push(slot, affinity);
        shard.count(&list);
        drop(list);
        self.permits.give_back();
    }

    fn find(&self, affinity: Option<Affinity>) -> Option<SlotId> {
        let oldest = || self.take_from_any(FreeList::pop_oldest);
        self.take_from_any(|list| list.pop_affine(affinity))
            .or_else(|| match self.unused_warm() >= self.max_unused_warm {
                true => oldest(),
                false => None,
            })
            .or_else(|| self.take_cold())
            .or_else(oldest)
    }

    fn take_from_any(
        &self,
        take: impl Fn(&mut FreeList) -> Option<SlotId> + Copy,
    ) -> Option<SlotId> {
        let (before, from) = self.shards.split_at(home() % self.shards.len());
        from.iter().chain(before).find_map(|shard| shard.take(take))
    }

    fn take_cold(&self) -> Option<SlotId> {
        let next = |slot: usize| (slot < self.total()).then_some(slot + 1);
        let slot = self
            .next_cold
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
        slot.ok().map(|slot| SlotId(slot as u32))
    }
}

/// A number of the calling thread, by which it finds its shard.
fn home() -> usize {
    const UNKNOWN: usize = usize::MAX;
    thread_local! {
        static HOME: Cell<usize> = const { Cell::new(UNKNOWN) };
    }
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    HOME.with(|home| {
        if home.get() == UNKNOWN {
            home.set(NEXT.fetch_add(1, Ordering::Relaxed) % UNKNOWN);
        }
        home.get()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use std::sync::Arc;

    fn affinity(module: u64) -> Option<Affinity> {
        Some(Affinity { module, index: 0 })
    }

    /// The policy, in a straightforward way.
    struct Model {
        total: usize,
        max_unused_warm: usize,
        next_cold: usize,
        /// From the least to the most recent.
        free: Vec<(SlotId, Option<Affinity>)>,
    }

    impl Model {
        fn allocate(&mut self, affinity: Option<Affinity>) -> Option<SlotId> {
            let affine = self.free.iter().rposition(|(_, of)| *of == affinity);
            if let Some(place) = affine {
                return Some(self.free.remove(place).0);
            }
            let enough = self.free.len() >= self.max_unused_warm;
            let cold = self.next_cold < self.total;
            if !self.free.is_empty() && (enough || !cold) {
                return Some(self.free.remove(0).0);
            }
            cold.then(|| {
                self.next_cold += 1;
                SlotId(self.next_cold as u32 - 1)
            })
        }
    }

    /// A generator of numbers that look random, the same ones for each seed.
    struct Random(u64);

    impl Random {
        fn below(&mut self, end: usize) -> usize {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            (self.0 % end as u64) as usize
        }
    }

    #[test]
    fn slots_are_those_of_the_model() {
        for seed in 1..200u64 {
            let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            let total = random.below(12) as u32;
            let max_unused_warm = random.below(8) as u32;
            let index = IndexAllocator::with_shards(total, max_unused_warm, 1 + random.below(4));
            let mut model = Model {
                total: total as usize,
                max_unused_warm: max_unused_warm as usize,
                next_cold: 0,
                free: Vec::new(),
            };
            let mut used = Vec::new();
            for _ in 0..400 {
                if random.below(2) == 0 || used.is_empty() {
                    let affinity = match random.below(5) {
                        0 => None,
                        n => affinity(n as u64),
                    };
                    let slot = index.allocate(affinity);
                    assert_eq!(slot, model.allocate(affinity), "seed {seed}");
                    used.extend(slot.map(|slot| (slot, affinity)));
                } else {
                    let (slot, affinity) = used.swap_remove(random.below(used.len()));
                    index.free(slot, affinity);
                    model.free.push((slot, affinity));
                }
                assert_eq!(index.unused_warm(), model.free.len());
                assert_eq!(index.in_use(), used.len());
            }
        }
    }

    #[test]
    fn slots_of_an_affinity_can_be_taken_alone() {
        let index = IndexAllocator::new(3, 10);
        let [one, two] = [1, 2].map(|module| index.allocate(affinity(module)).unwrap());
        index.free(one, affinity(1));
        index.free(two, affinity(2));
        let wanted = affinity(2).unwrap();
        assert_eq!(index.allocate_affine(wanted), Some(two));
        assert_eq!(index.allocate_affine(wanted), None);
        assert_eq!(index.in_use(), 1);
    }

    #[test]
    fn threads_never_share_a_slot_nor_miss_one() {
        const THREADS: usize = 8;
        // As many slots as there are threads: each of them always gets one.
        let index = Arc::new(IndexAllocator::with_shards(THREADS as u32, 4, 3));
        let used = Arc::new(Mutex::new(HashSet::new()));
        let run = |number: usize| {
            let (index, used) = (Arc::clone(&index), Arc::clone(&used));
            thread::spawn(move || {
                for i in 0..2000 {
                    let affinity = affinity(((number + i) % 5) as u64);
                    let slot = index.allocate(affinity).expect("there is one for each");
                    assert!(used.lock().unwrap().insert(slot.0));
                    used.lock().unwrap().remove(&slot.0);
                    index.free(slot, affinity);
                }
            })
        };
        let threads: Vec<_> = (0..THREADS).map(run).collect();
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(index.in_use(), 0);
        let all: HashSet<u32> = (0..THREADS)
            .map(|_| index.allocate(None).unwrap().0)
            .collect();
        assert_eq!(all.len(), THREADS);
        assert_eq!(index.allocate(None), None);
    }
}
