//! Giving values of the host to a store: its limiter is asked for their room, and values that nothing
//! refers to are dropped before there are too many.

use anyhow::Result;

use super::collect;
use super::collector::Collector;
use super::externs::{ExternTable, HostValue};
use crate::store::VMStore;
use crate::vmcontext::VMGcRef;

/// Gives a value of the host to the store and returns the reference to it. Garbage may be collected
/// before. If there is no room, the value is given back.
///
/// # Errors
///
/// Fails if the store's limiter does.
pub fn alloc_extern(
    store: &mut dyn VMStore,
    value: HostValue,
) -> Result<Result<VMGcRef, HostValue>> {
    let gc = store.core_mut().gc_mut();
    if gc.options.stress || gc.externs.is_collection_due() {
        collect_values(store);
    }
    if !store.core().gc().externs.has_room() && !grow(store)? {
        collect_values(store);
    }
    let gc = store.core_mut().gc_mut();
    let inserted = gc.externs.insert(value);
    if let (Ok(reference), Collector::Counting(counting)) = (&inserted, &mut gc.collector) {
        counting.list(reference.get());
    }
    Ok(inserted)
}

fn collect_values(store: &mut dyn VMStore) {
    collect(store);
    store.core_mut().gc_mut().externs.collection_done();
}

/// Makes room for more values. `false` if the store's limiter does not allow it, or memory is lacking.
fn grow(store: &mut dyn VMStore) -> Result<bool> {
    let current = store.core().gc().capacity();
    let desired = current.saturating_add(ExternTable::GROWTH_BYTES);
    if !store.memory_growing(current, desired, None)? {
        return Ok(false);
    }
    match store.core_mut().gc_mut().externs.grow() {
        Ok(()) => Ok(true),
        Err(error) => {
            store.memory_grow_failed(error)?;
            Ok(false)
        }
    }
}
