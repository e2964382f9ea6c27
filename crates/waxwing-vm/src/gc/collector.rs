//! [`Collector`]: what manages the memory of a heap; and how an object comes to be, whichever it is.

use anyhow::{Result, ensure};
use waxwing_environ::gc::{GC_ARRAY_LENGTH, GC_DRC_LISTED, GC_OBJECT_ALIGN, GcCollector};

use super::copying::Copying;
use super::counting::Counting;
use super::externs::{ExternTable, HostValue};
use super::heap::GcHeap;
use super::null::Null;
use super::roots::{Roots, WhichRoots};
use super::types::{GcTypes, Shape};
use crate::store::VMStore;
use crate::store_context::VMStoreContext;

/// How much a collection looks at.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Scope {
    /// What is likely to be garbage.
    Young,
    /// Everything.
    All,
}

/// What an allocation has tried.
#[derive(Copy, Clone, Default, Debug)]
pub(super) struct Tried {
    /// The greatest collection that was done.
    pub(super) collected: Option<Scope>,
    /// No collection is possible.
    pub(super) cannot_collect: bool,
    /// The heap has grown.
    pub(super) grown: bool,
    /// The heap cannot grow.
    pub(super) cannot_grow: bool,
}

/// What an allocation needs.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum Attempt {
    /// Nothing: here is zeroed memory for the object.
    Done(u32),
    /// A collection.
    Collect(Scope),
    /// More memory.
    Grow,
    /// More than there can be.
    Full,
}

/// By how much a heap is to grow.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) struct Growth {
    /// The bytes in total.
    pub(super) bytes: u64,
    /// The bytes of each part of the heap afterwards, as the collector divides it.
    pub(super) parts: [u32; 2],
}

/// What collectors work on.
pub(super) struct Env<'a> {
    pub(super) heap: Option<&'a GcHeap>,
    pub(super) context: &'a VMStoreContext,
    pub(super) types: &'a GcTypes,
    pub(super) externs: &'a mut ExternTable,
    /// Values of the host to be dropped when the collection is over.
    pub(super) dead: &'a mut Vec<HostValue>,
    pub(super) stress: bool,
}

impl Env<'_> {
    /// The address of the heap's offset zero; not to be used if there is no heap.
    pub(super) fn base(&self) -> *mut u8 {
        self.heap
            .map_or(std::ptr::null_mut(), |heap| heap.base().as_ptr())
    }
}

/// What manages the memory of a heap.
pub(super) enum Collector {
    /// There are no objects.
    None,
    Null(Null),
    Copying(Copying),
    Counting(Counting),
}

impl Collector {
    pub(super) fn new(algorithm: Option<GcCollector>) -> Collector {
        match algorithm {
            None => Collector::None,
            Some(GcCollector::Null) => Collector::Null(Null::default()),
            Some(GcCollector::Copying) => Collector::Copying(Copying::default()),
            Some(GcCollector::DeferredReferenceCounting) => {
                Collector::Counting(Counting::default())
            }
        }
    }

    /// What a new object's header says beside its type and kind.
    #[inline]
    pub(super) fn initial_bits(&self) -> u32 {
        match self {
            Collector::None | Collector::Null(_) | Collector::Copying(_) => 0,
            Collector::Counting(_) => GC_DRC_LISTED,
        }
    }

    /// The bytes of memory that the heap has.
    pub(super) fn capacity(&self) -> u64 {
        match self {
            Collector::None => 0,
            Collector::Null(null) => null.capacity(),
            Collector::Copying(copying) => copying.capacity(),
            Collector::Counting(counting) => counting.capacity(),
        }
    }

    /// Makes room for an object of `size` bytes.
    pub(super) fn allocate(&mut self, env: &Env<'_>, size: u32, tried: Tried) -> Attempt {
        match self {
            Collector::None => Attempt::Full,
            Collector::Null(null) => null.allocate(env, size, tried),
            Collector::Copying(copying) => copying.allocate(env, size, tried),
            Collector::Counting(counting) => counting.allocate(env, size, tried),
        }
    }

    /// How the heap can grow for an object of `size` bytes: at first as much as is good, then less and
    /// less, at last as much as is necessary.
    pub(super) fn growth(&self, size: u32, step: u32) -> Option<Growth> {
        match self {
            Collector::None => None,
            Collector::Null(null) => null.growth(size, step),
            Collector::Copying(copying) => copying.growth(size, step),
            Collector::Counting(counting) => counting.growth(size, step),
        }
    }

    /// Grows the heap.
    pub(super) fn grow(&mut self, env: &Env<'_>, growth: &Growth) -> Result<()> {
        match (self, env.heap) {
            (Collector::Null(null), Some(heap)) => null.grow(heap, growth),
            (Collector::Copying(copying), Some(heap)) => copying.grow(heap, env, growth),
            (Collector::Counting(counting), Some(heap)) => counting.grow(heap, growth),
            _ => Ok(()),
        }
    }

    /// Which roots a collection needs; `None` if nothing is ever freed.
    pub(super) fn which_roots(&self) -> Option<WhichRoots> {
        match self {
            Collector::None | Collector::Null(_) => None,
            Collector::Copying(_) => Some(WhichRoots::All),
            Collector::Counting(_) => Some(WhichRoots::Uncounted),
        }
    }

    /// Frees what the roots do not lead to. Returns what was looked at.
    pub(super) fn collect(&mut self, env: &mut Env<'_>, roots: &mut Roots, scope: Scope) -> Scope {
        match self {
            Collector::None | Collector::Null(_) => Scope::All,
            Collector::Copying(copying) => copying.collect(env, roots, scope),
            Collector::Counting(counting) => {
                counting.collect(env, roots);
                Scope::All
            }
        }
    }
}

/// The size of an array of a shape and this many elements, which exists.
#[inline]
pub(super) fn array_size(shape: &Shape, len: u32) -> usize {
    let elements = (len as usize) << (shape.flags & Shape::ELEMENT_LOG2);
    (shape.size as usize + elements).next_multiple_of(GC_OBJECT_ALIGN as usize)
}

/// The size of the object at `object`.
///
/// # Safety
///
/// There is a live object of this shape.
#[inline]
pub(super) unsafe fn object_size(shape: &Shape, object: *const u8) -> usize {
    if shape.flags & Shape::ARRAY == 0 {
        return shape.size as usize;
    }
    // SAFETY: required of the caller: it is an array.
    array_size(shape, unsafe { array_len(object) })
}

/// # Safety
///
/// There is a live array.
#[inline]
pub(super) unsafe fn array_len(array: *const u8) -> u32 {
    // SAFETY: required of the caller.
    unsafe { array.add(GC_ARRAY_LENGTH as usize).cast::<u32>().read() }
}

/// Calls `visit` with the address of each reference in an object.
///
/// # Safety
///
/// There is a live object of this shape, which has its references at `offsets` if it is a struct.
#[inline(always)]
pub(super) unsafe fn visit_references(
    shape: &Shape,
    offsets: &[u32],
    object: *mut u8,
    mut visit: impl FnMut(*mut u32),
) {
    if shape.flags & Shape::ARRAY == 0 {
        let references = &offsets[shape.first as usize..][..shape.count as usize];
        for offset in references {
            // SAFETY: required of the caller.
            visit(unsafe { object.add(*offset as usize).cast() });
        }
    } else if shape.flags & Shape::REFERENCES != 0 {
        // SAFETY: as above; elements are behind the base.
        unsafe {
            let elements = object.add(shape.size as usize).cast::<u32>();
            for i in 0..array_len(object) as usize {
                visit(elements.add(i));
            }
        }
    }
}

/// Makes room for an object of `size` bytes, which are zero. `None` if there is none, also after
/// collecting.
///
/// # Errors
///
/// Fails if the store's limiter does.
pub(super) fn allocate_bytes(store: &mut dyn VMStore, size: u32) -> Result<Option<u32>> {
    let mut tried = Tried::default();
    loop {
        let gc = store.core_mut().gc_mut();
        let (collector, env) = gc.collector_and_env();
        match collector.allocate(&env, size, tried) {
            Attempt::Done(offset) => return Ok(Some(offset)),
            Attempt::Collect(scope) => match collect(store, scope) {
                Some(done) => tried.collected = tried.collected.max(Some(done)),
                None => tried.cannot_collect = true,
            },
            Attempt::Grow => match grow(store, size)? {
                true => tried.grown = true,
                false => tried.cannot_grow = true,
            },
            Attempt::Full => {
                ensure!(
                    store.core().gc().algorithm.is_some(),
                    "objects of the garbage-collected heap need an engine with a garbage collector"
                );
                if store.core().gc().heap.is_some() {
                    return Ok(None);
                }
                store.core_mut().ensure_gc_heap()?;
            }
        }
    }
}

/// Grows the heap, as far as the store's limiter allows.
fn grow(store: &mut dyn VMStore, size: u32) -> Result<bool> {
    let mut last = None;
    for step in 0.. {
        let gc = store.core().gc();
        let Some(growth) = gc.collector.growth(size, step) else {
            break;
        };
        if last.replace(growth) == Some(growth) {
            continue;
        }
        let current = gc.capacity();
        let additional = usize::try_from(growth.bytes).unwrap_or(usize::MAX);
        let desired = current.saturating_add(additional);
        if !store.memory_growing(current, desired, None)? {
            continue;
        }
        let (collector, env) = store.core_mut().gc_mut().collector_and_env();
        match collector.grow(&env, &growth) {
            Ok(()) => return Ok(true),
            Err(error) => store.memory_grow_failed(error)?,
        }
    }
    Ok(false)
}

/// Collects, and drops what was freed of the host's. Returns what was looked at, `None` if that is not
/// possible now.
///
/// # Panics
///
/// Panics if the destructor of a value of the host does; all of them are run before.
pub(super) fn collect(store: &mut dyn VMStore, scope: Scope) -> Option<Scope> {
    store.prepare_collection();
    let Some(which) = store.core().gc().collector.which_roots() else {
        return Some(Scope::All);
    };
    let mut roots = std::mem::take(&mut store.core_mut().gc_mut().roots);
    let done = roots.gather(store, which).then(|| {
        let (collector, mut env) = store.core_mut().gc_mut().collector_and_env();
        let done = collector.collect(&mut env, &mut roots, scope);
        roots.write_back(store);
        done
    });
    let gc = store.core_mut().gc_mut();
    gc.roots = roots;
    drop_all(std::mem::take(&mut gc.dead));
    done
}

/// Drops all values, and then goes on with the first panic of a destructor.
fn drop_all(values: Vec<HostValue>) {
    let mut panicked = None;
    for value in values {
        let dropped = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(value)));
        panicked = panicked.or(dropped.err());
    }
    if let Some(payload) = panicked {
        std::panic::resume_unwind(payload);
    }
}
