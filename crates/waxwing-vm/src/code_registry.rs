//! Which code memory holds a program counter: one map for the process.
//!
//! The fault handler asks it in the middle of anything: code of this process's host may fault while it
//! holds any lock, also one of this module's. So looking up takes no lock, does not wait and does not
//! allocate:
//!
//! - The map is an immutable [`Snapshot`] behind an atomic pointer. Writers, who exclude each other by
//!   a lock that readers never touch, build another one and swap the pointer.
//! - A reader counts itself in [`READERS`] before it loads the pointer and out after its last use. A
//!   writer that has swapped the pointer and then sees zero readers knows that nobody holds an old
//!   snapshot: a reader that came later loaded the pointer later, and got the new one (all four
//!   accesses are sequentially consistent). It then frees the retired snapshots; otherwise they stay
//!   for a later writer. Nobody waits for anybody.
//! - Entries are weak. A lookup that wins the race with the last owner's drop gets a strong reference;
//!   one that loses gets nothing. The strong reference that the fault handler gets is never the last:
//!   the store whose code is running owns the code.
//!
//! A snapshot is a sorted list of sorted chunks. Replacing it copies the list and one chunk, so that
//! a process with ten thousand modules does not copy ten thousand entries for each.

use std::ops::Range;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::code_memory::CodeMemory;

/// A chunk that grows beyond this is split.
const MAX_CHUNK: usize = 128;

struct Entry<T> {
    range: Range<usize>,
    code: Weak<T>,
}

impl<T> Clone for Entry<T> {
    fn clone(&self) -> Self {
        Entry {
            range: self.range.clone(),
            code: Weak::clone(&self.code),
        }
    }
}

/// Entries sorted by address, not empty.
type Chunk<T> = Arc<[Entry<T>]>;

/// All entries, in chunks that are sorted by address.
struct Snapshot<T> {
    chunks: Vec<Chunk<T>>,
}

impl<T> Snapshot<T> {
    /// The position of the chunk that holds `address`, if any does.
    fn chunk_of(&self, address: usize) -> Option<usize> {
        self.chunks
            .partition_point(|chunk| chunk[0].range.start <= address)
            .checked_sub(1)
    }

    fn find(&self, address: usize) -> Option<&Entry<T>> {
        let chunk = &self.chunks[self.chunk_of(address)?];
        let index = chunk
            .partition_point(|entry| entry.range.start <= address)
            .checked_sub(1)?;
        Some(&chunk[index]).filter(|entry| entry.range.contains(&address))
    }

    fn with(&self, entry: Entry<T>) -> Snapshot<T> {
        let mut chunks = self.chunks.clone();
        if chunks.is_empty() {
            chunks.push(Arc::new([entry]));
            return Snapshot { chunks };
        }
        let position = self.chunk_of(entry.range.start).unwrap_or(0);
        let mut entries = chunks[position].to_vec();
        let index = entries.partition_point(|other| other.range.start <= entry.range.start);
        entries.insert(index, entry);
        if entries.len() > MAX_CHUNK {
            let upper = entries.split_off(entries.len() / 2);
            chunks.insert(position + 1, upper.into());
        }
        chunks[position] = entries.into();
        Snapshot { chunks }
    }

    fn without(&self, start: usize, code: *const T) -> Option<Snapshot<T>> {
        let position = self.chunk_of(start)?;
        let mut entries = self.chunks[position].to_vec();
        let index = entries
            .iter()
            .position(|entry| entry.range.start == start && entry.code.as_ptr() == code)?;
        entries.remove(index);
        let mut chunks = self.chunks.clone();
        if entries.is_empty() {
            chunks.remove(position);
        } else {
            chunks[position] = entries.into();
        }
        Some(Snapshot { chunks })
    }
}

/// A snapshot that was current, and that readers may still use.
struct Retired<T>(NonNull<Snapshot<T>>);

// SAFETY: it owns the snapshot, whose entries are shared between threads anyway.
unsafe impl<T: Send + Sync> Send for Retired<T> {}

impl<T> Drop for Retired<T> {
    fn drop(&mut self) {
        // SAFETY: the pointer came from `Box::into_raw`, and `replace` drops this value when nobody
        // else has it any more.
        drop(unsafe { Box::from_raw(self.0.as_ptr()) });
    }
}

/// A map from address ranges to values that can be read in a signal handler.
struct Registry<T> {
    /// The current snapshot, or null while there never was one.
    current: AtomicPtr<Snapshot<T>>,
    /// How many lookups are under way.
    readers: AtomicUsize,
    /// Held by writers.
    retired: Mutex<Vec<Retired<T>>>,
}

impl<T> Registry<T> {
    const fn new() -> Registry<T> {
        Registry {
            current: AtomicPtr::new(ptr::null_mut()),
            readers: AtomicUsize::new(0),
            retired: Mutex::new(Vec::new()),
        }
    }

    fn lookup(&self, address: usize) -> Option<(Arc<T>, usize)> {
        self.readers.fetch_add(1, SeqCst);
        // SAFETY: a snapshot is freed only after a writer saw no readers since it was replaced, and
        // this reader is counted until its last use below.
        let found = unsafe { self.current.load(SeqCst).as_ref() }
            .and_then(|snapshot| snapshot.find(address))
            .and_then(|entry| Some((entry.code.upgrade()?, address - entry.range.start)));
        self.readers.fetch_sub(1, SeqCst);
        found
    }

    fn replace(&self, change: impl FnOnce(&Snapshot<T>) -> Option<Snapshot<T>>) {
        let mut retired = self.retired.lock().unwrap_or_else(PoisonError::into_inner);
        let empty = Snapshot { chunks: Vec::new() };
        // SAFETY: only writers free snapshots, and this one holds their lock.
        let current = unsafe { self.current.load(SeqCst).as_ref() };
        let Some(next) = change(current.unwrap_or(&empty)) else {
            return;
        };
        let previous = self.current.swap(Box::into_raw(Box::new(next)), SeqCst);
        retired.extend(NonNull::new(previous).map(Retired));
        if self.readers.load(SeqCst) == 0 {
            retired.clear();
        }
    }

    fn register(&self, range: Range<usize>, code: &Arc<T>) {
        let code = Arc::downgrade(code);
        self.replace(|snapshot| Some(snapshot.with(Entry { range, code })));
    }

    fn deregister(&self, start: usize, code: *const T) {
        self.replace(|snapshot| snapshot.without(start, code));
    }
}

static REGISTRY: Registry<CodeMemory> = Registry::new();

/// The published code that contains the address `pc`, and the offset of `pc` in its text.
///
/// May be called in a signal handler.
pub fn lookup(pc: usize) -> Option<(Arc<CodeMemory>, usize)> {
    REGISTRY.lookup(pc)
}

/// Makes `code` known by the addresses of its text.
pub(crate) fn register(code: &Arc<CodeMemory>) {
    REGISTRY.register(code.text_range(), code);
}

/// Forgets what [`register`] was called with. Called while `code` is being dropped.
pub(crate) fn deregister(code: &CodeMemory) {
    REGISTRY.deregister(code.text_range().start, code);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_found_in_any_order_of_registration() {
        let registry = Registry::new();
        let codes: Vec<Arc<usize>> = (0..1000).map(Arc::new).collect();
        let range = |i: usize| 0x1000 + i * 0x100..0x1000 + i * 0x100 + 0x80;
        // 7 is coprime to 1000, so that this visits every code once.
        for i in (0..1000).map(|i| i * 7 % 1000) {
            registry.register(range(i), &codes[i]);
        }
        for i in 0..codes.len() {
            let (code, offset) = registry.lookup(range(i).start + 0x7f).unwrap();
            assert_eq!((*code, offset), (i, 0x7f));
            assert!(registry.lookup(range(i).end).is_none());
        }
        assert!(registry.lookup(0xfff).is_none());
        assert!(registry.lookup(usize::MAX).is_none());
        for i in (0..1000).step_by(3) {
            registry.deregister(range(i).start, &*codes[i]);
        }
        for i in 0..1000 {
            assert_eq!(registry.lookup(range(i).start).is_some(), i % 3 != 0);
        }
        // Deregistering what is not registered changes nothing.
        registry.deregister(range(0).start, &*codes[0]);
        registry.deregister(range(1).start, &*codes[2]);
        assert!(registry.lookup(range(1).start).is_some());
        for code in &codes {
            registry.deregister(range(**code).start, &**code);
        }
        // SAFETY: no other thread uses the registry.
        assert!(unsafe { &*registry.current.load(SeqCst) }.chunks.is_empty());
    }

    #[test]
    fn entries_do_not_keep_code_alive() {
        let registry = Registry::new();
        let code = Arc::new(());
        registry.register(0..10, &code);
        assert_eq!(Arc::strong_count(&code), 1);
        drop(code);
        assert!(registry.lookup(5).is_none());
    }

    #[test]
    fn lookups_race_with_changes() {
        let registry = Registry::new();
        let stop = AtomicUsize::new(0);
        let permanent = Arc::new(0usize);
        registry.register(1..0x100, &permanent);
        std::thread::scope(|scope| {
            let readers: Vec<_> = (0..3)
                .map(|_| {
                    scope.spawn(|| {
                        let mut hits = 0usize;
                        while stop.load(SeqCst) == 0 {
                            assert!(registry.lookup(0x80).is_some());
                            for slot in 1..9 {
                                if let Some((code, offset)) = registry.lookup(slot * 0x100 + 3) {
                                    assert_eq!((*code, offset), (slot, 3));
                                    hits += 1;
                                }
                            }
                        }
                        hits
                    })
                })
                .collect();
            let writers: Vec<_> = (1..9)
                .map(|slot| {
                    let registry = &registry;
                    scope.spawn(move || {
                        for _ in 0..500 {
                            let code = Arc::new(slot);
                            registry.register(slot * 0x100..slot * 0x100 + 0x80, &code);
                            assert!(registry.lookup(slot * 0x100).is_some());
                            registry.deregister(slot * 0x100, &*code);
                        }
                    })
                })
                .collect();
            for writer in writers {
                writer.join().unwrap();
            }
            stop.store(1, SeqCst);
            for reader in readers {
                reader.join().unwrap();
            }
        });
        registry.deregister(1, &*permanent);
        assert!(registry.retired.lock().unwrap().is_empty());
    }
}
