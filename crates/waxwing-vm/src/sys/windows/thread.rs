//! The calling thread: where its stack lies.

use std::ops::Range;

use windows_sys::Win32::System::Threading::GetCurrentThreadStackLimits;

/// The addresses of the calling thread's stack that may be touched.
pub(crate) fn stack_bounds() -> Option<Range<usize>> {
    let (mut low, mut high) = (0, 0);
    // SAFETY: both results are writable; the call cannot fail.
    unsafe { GetCurrentThreadStackLimits(&mut low, &mut high) };
    // The last pages are for the system's own handling of a stack overflow.
    let low = low.checked_add(4 * super::vm::page_size())?;
    (low < high).then_some(low..high)
}
