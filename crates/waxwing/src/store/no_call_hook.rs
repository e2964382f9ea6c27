//! What stands for `call_hook` where the Cargo feature is off: transitions that nobody is told of.

use std::ptr::NonNull;

use anyhow::Result;
use waxwing_vm::{VMFuncRef, ValRaw};

use super::StoreInner;
use crate::CallHook;

/// The values of a call.
#[derive(Clone, Copy)]
pub(crate) struct CallValues;

impl CallValues {
    #[inline]
    pub(crate) fn new(_callee: NonNull<VMFuncRef>, _values: NonNull<ValRaw>) -> CallValues {
        CallValues
    }
}

impl<T> StoreInner<T> {
    /// # Safety
    ///
    /// None is needed here; where there are hooks, they look at the values.
    #[inline(always)]
    pub(crate) unsafe fn call_hook(
        &mut self,
        _transition: CallHook,
        _values: Option<CallValues>,
    ) -> Result<()> {
        Ok(())
    }
}
