//! Linear memories of an embedder's own, with guards, and a record of what was asked for.

use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, ensure};
use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap_anonymous, mprotect, munmap};
use waxwing::{LinearMemory, MemoryCreator, MemoryType};

/// What a creator was asked for: the parameters of [`MemoryCreator::new_memory`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The memory's type.
    pub ty: MemoryType,
    /// Its size in bytes.
    pub minimum: usize,
    /// The size that its type declares.
    pub maximum: Option<usize>,
    /// What it may use without moving.
    pub reserved: Option<usize>,
    /// The guard behind.
    pub guard: usize,
}

/// What a creator and its memories did.
#[derive(Debug, Default)]
pub struct Record {
    requests: Mutex<Vec<Request>>,
    live: AtomicUsize,
    growths: AtomicUsize,
}

impl Record {
    /// The memories that were asked for, in order.
    pub fn requests(&self) -> Vec<Request> {
        let requests = self.requests.lock();
        requests.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many memories there are.
    pub fn live(&self) -> usize {
        self.live.load(Ordering::SeqCst)
    }

    /// How often memories were grown.
    pub fn growths(&self) -> usize {
        self.growths.load(Ordering::SeqCst)
    }
}

/// Makes memories by mapping them. Those that may move have no room to spare.
#[derive(Debug, Default)]
pub struct HostMemories {
    /// What it does, for tests to look at.
    pub record: Arc<Record>,
}

// SAFETY: see `MappedMemory`; what is made has the size, reservation and guard that are asked for.
unsafe impl MemoryCreator for HostMemories {
    fn new_memory(
        &self,
        ty: MemoryType,
        minimum: usize,
        maximum: Option<usize>,
        reserved_size_in_bytes: Option<usize>,
        guard_size_in_bytes: usize,
    ) -> Result<Box<dyn LinearMemory>, String> {
        let request = Request {
            ty,
            minimum,
            maximum,
            reserved: reserved_size_in_bytes,
            guard: guard_size_in_bytes,
        };
        let requests = self.record.requests.lock();
        let mut requests = requests.unwrap_or_else(PoisonError::into_inner);
        requests.push(request);
        let mapping = Mapping::new(minimum, reserved_size_in_bytes, guard_size_in_bytes);
        let mapping = mapping.map_err(|error| format!("{error:#}"))?;
        self.record.live.fetch_add(1, Ordering::SeqCst);
        Ok(Box::new(MappedMemory {
            mapping,
            size: minimum,
            guard: guard_size_in_bytes,
            fixed: reserved_size_in_bytes.is_some(),
            record: Arc::clone(&self.record),
        }))
    }
}

/// Address space of which a part, at its beginning, is accessible.
struct Mapping {
    start: NonNull<u8>,
    /// Bytes to the end of the guard.
    len: usize,
    capacity: usize,
}

// SAFETY: the address space belongs to the value and to no thread.
unsafe impl Send for Mapping {}
// SAFETY: as above; shared references only tell addresses.
unsafe impl Sync for Mapping {}

fn whole_pages(bytes: usize) -> Result<usize> {
    let page = rustix::param::page_size();
    let pages = bytes.checked_next_multiple_of(page);
    pages.with_context(|| format!("{bytes:#x} bytes are too many"))
}

impl Mapping {
    fn new(size: usize, reserved: Option<usize>, guard: usize) -> Result<Mapping> {
        let accessible = whole_pages(size)?;
        let capacity = reserved.unwrap_or(accessible);
        ensure!(accessible <= capacity, "the reservation is too small");
        // A page more, as there are no mappings of no bytes.
        let len = capacity
            .checked_add(guard)
            .context("the guard is too large")?;
        let len = len.max(rustix::param::page_size());
        // SAFETY: a new mapping is at an address that nothing else has.
        let start = unsafe {
            let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
            mmap_anonymous(ptr::null_mut(), len, ProtFlags::empty(), flags)?
        };
        let mapping = Mapping {
            start: NonNull::new(start.cast()).context("a mapping is at address zero")?,
            len,
            capacity,
        };
        mapping.make_accessible(size)?;
        Ok(mapping)
    }

    fn make_accessible(&self, size: usize) -> Result<()> {
        let flags = MprotectFlags::READ | MprotectFlags::WRITE;
        // SAFETY: the pages are the mapping's own.
        unsafe { mprotect(self.start.as_ptr().cast(), whole_pages(size)?, flags)? };
        Ok(())
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping is the value's own.
        let result = unsafe { munmap(self.start.as_ptr().cast(), self.len) };
        result.expect("the mapping is there");
    }
}

struct MappedMemory {
    mapping: Mapping,
    size: usize,
    guard: usize,
    fixed: bool,
    record: Arc<Record>,
}

// SAFETY: the mapping begins at a page. Of it, as many bytes as the size, in whole pages, are accessible, and the rest
// is not. It is replaced by another only if there was no reservation, and the size exceeds the capacity.
unsafe impl LinearMemory for MappedMemory {
    fn byte_size(&self) -> usize {
        self.size
    }

    fn byte_capacity(&self) -> usize {
        self.mapping.capacity
    }

    fn grow_to(&mut self, new_size: usize) -> Result<()> {
        self.record.growths.fetch_add(1, Ordering::SeqCst);
        if new_size <= self.mapping.capacity {
            self.mapping.make_accessible(new_size)?;
        } else {
            ensure!(!self.fixed, "the reservation is used up");
            let mapping = Mapping::new(new_size, None, self.guard)?;
            // SAFETY: as many bytes are accessible in both, and the new mapping is nobody else's.
            unsafe {
                let to = mapping.start.as_ptr();
                to.copy_from_nonoverlapping(self.mapping.start.as_ptr(), self.size);
            }
            self.mapping = mapping;
        }
        self.size = new_size;
        Ok(())
    }

    fn as_ptr(&self) -> *mut u8 {
        self.mapping.start.as_ptr()
    }
}

impl Drop for MappedMemory {
    fn drop(&mut self) {
        self.record.live.fetch_sub(1, Ordering::SeqCst);
    }
}
