//! Mappings of memories that are gone, kept for the same memories of instances to come.
//!
//! Reserving address space, making a part of it accessible, mapping an image there and giving all of it back are four
//! system calls, each of which keeps other threads of the process from changing its mappings. Making what is there as
//! good as new is one, which keeps nobody from anything.
//!
//! *Invariant:* all bytes of a spare are as when its memory was made: the image's, or zeros that take no memory.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::backing::{OwnMapping, Plan};
use crate::memory_image::MemoryImage;

/// The most bytes of address space that all spares of the process have. With the usual reservations, those of 32 memories.
/// None where addresses are short.
const MOST_BYTES: usize = match cfg!(target_pointer_width = "64") {
    true => (256_u64 << 30) as usize,
    false => 0,
};

/// The most spares of the process: each takes some of the mappings that a system allows a process, 65,530 on Linux, and those who
/// look for one look at all of them.
const MOST: usize = 128;

/// Which memory it is: the identity of its module, and its index there.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) struct MemoryKey {
    pub(crate) module: u64,
    pub(crate) index: u32,
}

/// What a mapping can be used for again.
#[derive(Debug)]
pub(super) struct Origin {
    pub(super) key: MemoryKey,
    /// What is mapped in it.
    pub(super) image: Option<Arc<MemoryImage>>,
    /// Bytes from the base that were accessible at first.
    pub(super) accessible: usize,
}

impl Origin {
    fn is_image(&self, image: Option<&Arc<MemoryImage>>) -> bool {
        match (&self.image, image) {
            (Some(there), Some(wanted)) => Arc::ptr_eq(there, wanted),
            (None, None) => true,
            _ => false,
        }
    }
}

/// The spares, with the one that came last at the end.
#[derive(Default)]
struct Spares {
    mappings: VecDeque<(Origin, OwnMapping)>,
    bytes: usize,
}

static SPARES: Mutex<Spares> = Mutex::new(Spares {
    mappings: VecDeque::new(),
    bytes: 0,
});

fn spares() -> MutexGuard<'static, Spares> {
    SPARES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A mapping for a memory like this one, with the image mapped, if there is a spare one.
pub(super) fn take(
    key: MemoryKey,
    plan: &Plan<'_>,
    image: Option<&Arc<MemoryImage>>,
) -> Option<(Origin, OwnMapping)> {
    let mut spares = spares();
    let fits = |(origin, mapping): &(Origin, OwnMapping)| {
        origin.key == key && origin.is_image(image) && mapping.fits(plan)
    };
    let place = spares.mappings.iter().rposition(fits)?;
    let spare = spares.mappings.remove(place)?;
    spares.bytes -= spare.1.address_space();
    Some(spare)
}

/// Keeps a mapping that is as good as new, in place of the oldest ones if there are many.
pub(super) fn keep(origin: Origin, mapping: OwnMapping) {
    let size = mapping.address_space();
    if size > MOST_BYTES {
        return;
    }
    // What makes room is unmapped when the lock is released.
    let mut oldest = Vec::new();
    let mut spares = spares();
    while spares.bytes + size > MOST_BYTES || spares.mappings.len() >= MOST {
        let Some(spare) = spares.mappings.pop_front() else {
            break;
        };
        spares.bytes -= spare.1.address_space();
        oldest.push(spare);
    }
    spares.bytes += size;
    spares.mappings.push_back((origin, mapping));
    drop(spares);
}

/// Unmaps the spares of a module that is gone.
pub(crate) fn forget_module(module: u64) {
    release(|origin| origin.key.module == module);
}

/// Unmaps all spares. Whether there were any.
pub(super) fn release_all() -> bool {
    release(|_| true)
}

fn release(is_wanted: impl Fn(&Origin) -> bool) -> bool {
    let mut spares = spares();
    let all = std::mem::take(&mut spares.mappings);
    let (unwanted, rest): (VecDeque<_>, VecDeque<_>) =
        all.into_iter().partition(|(origin, _)| is_wanted(origin));
    spares.bytes = rest
        .iter()
        .map(|(_, mapping)| mapping.address_space())
        .sum();
    spares.mappings = rest;
    drop(spares);
    !unwanted.is_empty()
}

/// Whether there are spares of a module.
#[cfg(test)]
pub(super) fn has(module: u64) -> bool {
    let spares = spares();
    spares
        .mappings
        .iter()
        .any(|(origin, _)| origin.key.module == module)
}
