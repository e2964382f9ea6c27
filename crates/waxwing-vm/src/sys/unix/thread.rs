//! The calling thread: where its stack lies.

use std::ops::Range;
#[cfg(any(target_os = "linux", target_os = "android"))]
use std::ptr;

#[cfg(target_os = "linux")]
use super::vm;

/// The addresses of the calling thread's stack that may be touched, if the system tells.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn stack_bounds() -> Option<Range<usize>> {
    #[cfg(target_os = "linux")]
    if is_main_thread()
        && let Some(bounds) = main_stack_bounds()
    {
        return Some(bounds);
    }
    thread_stack_bounds()
}

/// The same for the main thread, from what the kernel left on its stack when the program began. `None` where that does not
/// tell.
///
/// The C library finds them too, in the list of all mappings of the process, which takes longer than the rest of what a thread
/// needs for its first entry.
#[cfg(target_os = "linux")]
fn main_stack_bounds() -> Option<Range<usize>> {
    /// If the stack may grow further than this, the kernel may have put other mappings where it could.
    const MOST: usize = 64 << 20;
    let end = main_stack_end()?;
    let limit = main_stack_limit().filter(|limit| *limit <= MOST)?;
    let bounds = end.checked_sub(limit)?.next_multiple_of(vm::page_size())..end;
    let here = 0_u8;
    bounds
        .contains(&(&raw const here as usize))
        .then_some(bounds)
}

/// Where the stack of the main thread begins: behind the program's name, above which there is nothing but a null pointer.
#[cfg(target_os = "linux")]
fn main_stack_end() -> Option<usize> {
    // SAFETY: the call reads what the kernel told the process when the program began.
    let name = unsafe { libc::getauxval(libc::AT_EXECFN) } as *const libc::c_char;
    if name.is_null() {
        return None;
    }
    // SAFETY: the name, ended by a zero, stays where the kernel put it for as long as the process lives.
    let len = unsafe { libc::strlen(name) };
    let end = (name as usize).checked_add(len + 1)?;
    end.checked_next_multiple_of(vm::page_size())
}

/// The same for any thread, from the C library.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn thread_stack_bounds() -> Option<Range<usize>> {
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

    /// Tests run on other threads than the main one, whose stack is found all the same.
    #[cfg(target_os = "linux")]
    #[test]
    fn the_main_stack_is_where_the_kernel_says() {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let stack = maps.lines().find(|line| line.ends_with("[stack]"));
        let range = stack.and_then(|line| line.split(' ').next());
        let (_, end) = range.and_then(|range| range.split_once('-')).unwrap();
        let end = usize::from_str_radix(end, 16).unwrap();
        assert_eq!(main_stack_end(), Some(end));
    }
}
