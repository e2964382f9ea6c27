//! The calling thread: where its stack lies.

use std::ops::Range;
#[cfg(any(target_os = "linux", target_os = "android"))]
use std::ptr;

/// The addresses of the calling thread's stack that may be touched, if the system tells.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn stack_bounds() -> Option<Range<usize>> {
    let mut attributes = std::mem::MaybeUninit::<libc::pthread_attr_t>::uninit();
    // SAFETY: `attributes` is writable, and initialised by success.
    if unsafe { libc::pthread_getattr_np(libc::pthread_self(), attributes.as_mut_ptr()) } != 0 {
        return None;
    }
    let mut start = ptr::null_mut();
    let mut size = 0;
    let mut guard = 0;
    // SAFETY: `pthread_getattr_np` initialised the attributes, which are destroyed after the reads.
    let failed = unsafe {
        let failed = libc::pthread_attr_getstack(attributes.as_ptr(), &mut start, &mut size) != 0
            || libc::pthread_attr_getguardsize(attributes.as_ptr(), &mut guard) != 0;
        libc::pthread_attr_destroy(attributes.as_mut_ptr());
        failed
    };
    if failed {
        return None;
    }
    let end = (start as usize).checked_add(size)?;
    // Whether the reported stack includes its guard differs between versions of glibc; a guard
    // subtracted in vain costs a page.
    let mut low = (start as usize).checked_add(guard)?;
    if cfg!(target_env = "musl") && is_main_thread() {
        // musl reports what is mapped so far, glibc how far the kernel will let the stack grow.
        low = end.checked_sub(main_stack_limit()?)?;
    }
    (low < end).then_some(low..end)
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn is_main_thread() -> bool {
    // SAFETY: these calls take no arguments and cannot fail.
    unsafe { libc::gettid() == libc::getpid() }
}

/// How many bytes the kernel lets the main thread's stack grow to; `None` if it does not limit it.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn main_stack_limit() -> Option<usize> {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Stack);
    usize::try_from(limit.current?).ok()
}

/// The addresses of the calling thread's stack that may be touched, if the system tells.
#[cfg(target_vendor = "apple")]
pub(crate) fn stack_bounds() -> Option<Range<usize>> {
    // SAFETY: these calls read properties of the calling thread.
    let (end, size) = unsafe {
        let thread = libc::pthread_self();
        (
            libc::pthread_get_stackaddr_np(thread) as usize,
            libc::pthread_get_stacksize_np(thread),
        )
    };
    let low = end.checked_sub(size)?;
    (low < end).then_some(low..end)
}

/// The addresses of the calling thread's stack that may be touched, if the system tells.
#[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
pub(crate) fn stack_bounds() -> Option<Range<usize>> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_hold_the_stack_pointer_on_every_thread() {
        for size in [32 << 10, 128 << 10, 1 << 20, 8 << 20] {
            let check = || {
                let here = 0u8;
                let bounds = stack_bounds().expect("this system tells");
                assert!(bounds.contains(&(&raw const here as usize)));
                // The lowest byte is not in the guard.
                // SAFETY: the whole stack of a thread that is not the main one is mapped.
                unsafe { (bounds.start as *const u8).read_volatile() };
            };
            let thread = std::thread::Builder::new().stack_size(size);
            thread.spawn(check).unwrap().join().unwrap();
        }
    }
}
