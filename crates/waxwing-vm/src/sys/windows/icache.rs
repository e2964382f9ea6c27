//! Making freshly written code visible to instruction fetch, on every core.

use windows_sys::Win32::System::Diagnostics::Debug::FlushInstructionCache;
use windows_sys::Win32::System::Threading::GetCurrentProcess;

/// Synchronises instruction fetch with the code written to `ptr..ptr + len`.
///
/// # Safety
///
/// The range is mapped and readable.
pub(crate) unsafe fn synchronize(ptr: *const u8, len: usize) -> std::io::Result<()> {
    // SAFETY: the call cleans caches for a range of this process.
    match unsafe { FlushInstructionCache(GetCurrentProcess(), ptr.cast(), len) } {
        0 => Err(std::io::Error::last_os_error()),
        _ => Ok(()),
    }
}
