//! Making freshly written code visible to instruction fetch, on every core.

/// Synchronises instruction fetch with the code written to `ptr..ptr + len`.
///
/// # Safety
///
/// The range is mapped and readable.
pub(crate) unsafe fn synchronize(ptr: *const u8, len: usize) -> std::io::Result<()> {
    #[cfg(target_os = "macos")]
    {
        unsafe extern "C" {
            fn sys_icache_invalidate(start: *mut libc::c_void, len: libc::size_t);
        }
        // SAFETY: the caller guarantees that the range is mapped; the call only cleans caches.
        unsafe { sys_icache_invalidate(ptr.cast_mut().cast(), len) };
    }
    #[cfg(not(target_os = "macos"))]
    // SAFETY: required of the caller.
    unsafe {
        crate::arch::clean_instruction_cache(ptr, len);
    }
    #[cfg(all(
        target_arch = "aarch64",
        any(target_os = "linux", target_os = "android")
    ))]
    synchronize_cores()?;
    Ok(())
}

/// Makes every other core that runs a thread of this process discard instructions fetched before
/// the caches were cleaned: `isb` acts on the core that executes it alone.
#[cfg(all(
    target_arch = "aarch64",
    any(target_os = "linux", target_os = "android")
))]
fn synchronize_cores() -> std::io::Result<()> {
    use std::sync::OnceLock;

    const PRIVATE_EXPEDITED_SYNC_CORE: libc::c_int = 1 << 5;
    const REGISTER_PRIVATE_EXPEDITED_SYNC_CORE: libc::c_int = 1 << 6;
    fn membarrier(command: libc::c_int) -> std::io::Result<()> {
        // SAFETY: membarrier takes no pointers.
        match unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) } {
            -1 => Err(std::io::Error::last_os_error()),
            _ => Ok(()),
        }
    }

    // Kernels older than 4.16 lack the command. There the switch to the thread that runs the code
    // first is what synchronises its core.
    static SUPPORTED: OnceLock<bool> = OnceLock::new();
    if *SUPPORTED.get_or_init(|| membarrier(REGISTER_PRIVATE_EXPEDITED_SYNC_CORE).is_ok()) {
        membarrier(PRIVATE_EXPEDITED_SYNC_CORE)?;
    }
    Ok(())
}
