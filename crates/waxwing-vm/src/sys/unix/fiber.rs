//! Switching between stacks: no business of the system, which knows of registers only.

use std::ops::Range;

use crate::arch;
pub(crate) use crate::arch::switch_stacks;

/// Makes a stack that [`switch_stacks`] can continue on: there `entry(arg)` is called. Returns its stack
/// pointer.
///
/// # Safety
///
/// The stack's memory, whose end is 16-byte aligned, is not used by anybody else.
pub(crate) unsafe fn prepare_stack(
    stack: Range<usize>,
    entry: unsafe extern "C" fn(*const ()) -> !,
    arg: *const (),
) -> usize {
    // SAFETY: required of the caller.
    unsafe { arch::prepare_stack(stack.end, entry, arg) }
}
