//! [`GcFuncs`]: the functions that objects refer to, by the number that stands for each in the heap.

use std::ptr::NonNull;

use anyhow::{Result, anyhow};

use crate::vmcontext::VMFuncRef;

/// The functions that objects refer to, by `VMFuncRef::gc_id`. They live as long as their store. There is none at first, and then
/// the first one is null.
#[derive(Default)]
pub(super) struct GcFuncs(Vec<Option<NonNull<VMFuncRef>>>);

impl GcFuncs {
    /// The number that stands for `func`, which may move the table.
    ///
    /// # Safety
    ///
    /// The function is live and of the table's store, of which the caller has exclusive use.
    pub(super) unsafe fn intern(&mut self, func: NonNull<VMFuncRef>) -> Result<u32> {
        // SAFETY: required of the caller.
        let id = unsafe { &raw mut (*func.as_ptr()).gc_id };
        // SAFETY: as above.
        let known = unsafe { id.read() };
        if known != 0 {
            return Ok(known);
        }
        let new = u32::try_from(self.0.len().max(1))
            .ok()
            .filter(|_| self.0.try_reserve(2).is_ok())
            .ok_or_else(|| anyhow!("no room for more functions in a garbage-collected heap"))?;
        self.0.resize(new as usize, None);
        self.0.push(Some(func));
        // SAFETY: as above.
        unsafe { id.write(new) };
        Ok(new)
    }

    /// The function that `id` stands for; `None` for null and numbers that stand for nothing.
    pub(super) fn get(&self, id: u32) -> Option<NonNull<VMFuncRef>> {
        *self.0.get(id as usize)?
    }

    /// The table, with null in it.
    pub(super) fn as_slice(&mut self) -> &[Option<NonNull<VMFuncRef>>] {
        if self.0.is_empty() {
            self.0.push(None);
        }
        &self.0
    }
}
