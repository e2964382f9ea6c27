//! [`TablePool`]: slots for tables.
//!
//! ```text
//! | slot 0, elements … | slot 1 … | …
//! ```
//!
//! All slots are accessible all the time, as generated code checks the bounds of tables. What was not used of a slot is
//! zeros.

use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, ensure};
use waxwing_environ::Table;

use super::decommit::{Decommit, Freed};
use super::index::{IndexAllocator, SlotId};
use super::{Pool, PoolConcurrencyLimitError, PoolOptions};
use crate::mmap::{Mmap, round_up_to_host_pages};
use crate::vmcontext::VMFuncRef;

/// The size of the largest elements in bytes.
const ELEMENT_SIZE: usize = size_of::<*mut VMFuncRef>();

pub(super) struct TablePool {
    mapping: Mmap,
    index: IndexAllocator,
    /// Bytes from one slot to the next, whole pages.
    stride: usize,
    max_elements: usize,
    /// Bytes of a slot, in whole pages, that are reset by writing zeros.
    keep_resident: usize,
    /// The bytes that each slot keeps while it is free.
    kept: Box<[AtomicUsize]>,
}

impl TablePool {
    pub(super) fn new(options: &PoolOptions) -> Result<TablePool> {
        let total = options.total_tables;
        let too_large = || {
            format!(
                "`PoolingAllocationConfig::total_tables({total})` with \
                 `PoolingAllocationConfig::table_elements({})` exceeds the address space of the host: lower one of \
                 them",
                options.table_elements
            )
        };
        let stride = options
            .table_elements
            .checked_mul(ELEMENT_SIZE)
            .and_then(|bytes| round_up_to_host_pages(bytes).ok())
            .with_context(too_large)?;
        let size = stride.checked_mul(total as usize).with_context(too_large)?;
        let mapping = Mmap::with_at_least(size).with_context(too_large)?;
        Ok(TablePool {
            mapping,
            index: IndexAllocator::new(total, options.max_unused_warm_slots),
            stride,
            max_elements: options.table_elements,
            keep_resident: round_up_to_host_pages(options.table_keep_resident)
                .unwrap_or(usize::MAX),
            kept: (0..total).map(|_| AtomicUsize::new(0)).collect(),
        })
    }

    pub(super) fn in_use(&self) -> usize {
        self.index.in_use()
    }

    pub(super) fn unused_warm(&self) -> usize {
        self.index.unused_warm()
    }

    pub(super) fn unused_bytes(&self) -> usize {
        let kept = self.kept.iter();
        kept.map(|bytes| bytes.load(Ordering::Relaxed)).sum()
    }

    pub(super) fn check_minimum(&self, table: &Table) -> Result<()> {
        ensure!(
            table.limits.min <= self.max_elements as u64,
            "a table has a minimum of {} elements, but an engine with this pooling allocator allows {}; \
             `PoolingAllocationConfig::table_elements` sets it",
            table.limits.min,
            self.max_elements
        );
        Ok(())
    }

    fn start(&self, slot: SlotId) -> NonNull<u8> {
        let offset = slot.index() * self.stride;
        let start = self.mapping.as_mut_ptr().wrapping_add(offset);
        NonNull::new(start).expect("slots are not at address zero")
    }

    fn set_kept(&self, slot: SlotId, bytes: usize) {
        if self.keep_resident > 0 {
            self.kept[slot.index()].store(bytes, Ordering::Relaxed);
        }
    }

    /// Takes a slot back whose memory was reset, or could not be.
    pub(super) fn give_back(&self, slot: SlotId, was_reset: bool) {
        if !was_reset {
            // SAFETY: the slot is accessible, and nobody uses it any more.
            unsafe { self.start(slot).write_bytes(0, self.stride) };
        }
        self.index.free(slot, None);
    }
}

/// A slot for a table, all zeros at first.
pub(crate) struct TableSlot {
    pool: Arc<Pool>,
    id: SlotId,
    /// The bytes that may not be zeros.
    used: usize,
}

impl Pool {
    /// A slot for a table of this type.
    ///
    /// # Errors
    ///
    /// Fails if all are in use, or the table is too large.
    pub(crate) fn table(self: &Arc<Pool>, ty: &Table) -> Result<TableSlot> {
        self.tables.check_minimum(ty)?;
        let error = PoolConcurrencyLimitError {
            what: "tables",
            limit: self.tables.index.total(),
            option: "total_tables",
        };
        let id = self.take_or(|| self.tables.index.allocate(None), error)?;
        self.tables.set_kept(id, 0);
        Ok(TableSlot {
            pool: Arc::clone(self),
            id,
            used: 0,
        })
    }
}

impl TableSlot {
    /// The address of the first element, aligned for any.
    pub(crate) fn start(&self) -> NonNull<u8> {
        self.pool.tables.start(self.id)
    }

    /// Makes room for `len` elements of `size` bytes each.
    ///
    /// # Errors
    ///
    /// Fails if they are too many.
    pub(crate) fn use_up_to(&mut self, len: usize, size: usize) -> Result<()> {
        let max = self.pool.tables.max_elements;
        ensure!(
            len <= max,
            "a table of {len} elements exceeds the {max} that an engine with this pooling allocator allows; \
             `PoolingAllocationConfig::table_elements` sets it"
        );
        // There is room for the largest elements.
        self.used = self.used.max(len * size);
        Ok(())
    }
}

impl TableSlot {
    /// Whether all bytes from `start`, whole pages, on are zeros, as far as finding out takes less time than resetting them:
    /// elements that are made when they are first asked for, or null, are.
    fn is_untouched(&self, start: usize) -> bool {
        let len = self.used - start;
        if len > crate::mmap::host_page_size() {
            return false;
        }
        // SAFETY: the slot has so many bytes, rounded up to whole words. All are initialised, and nobody uses them any more.
        let words = unsafe {
            let start = self.start().as_ptr().add(start).cast::<usize>();
            std::slice::from_raw_parts(start, len.div_ceil(size_of::<usize>()))
        };
        words.iter().fold(0, |any, word| any | word) == 0
    }
}

impl Drop for TableSlot {
    fn drop(&mut self) {
        let tables = &self.pool.tables;
        let start = tables.start(self.id).as_ptr();
        let keep = self.used.min(tables.keep_resident);
        // SAFETY: the slot has so many bytes, and nobody uses it any more.
        unsafe { start.write_bytes(0, keep) };
        tables.set_kept(self.id, keep);
        if self.used == keep || self.is_untouched(keep) {
            return tables.give_back(self.id, true);
        }
        let used = self.used.next_multiple_of(crate::mmap::host_page_size());
        self.pool.decommit(Decommit {
            start: start.wrapping_add(keep),
            len: used - keep,
            freed: Freed::Table(self.id),
        });
    }
}
