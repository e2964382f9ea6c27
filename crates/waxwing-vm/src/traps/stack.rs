//! How far WebAssembly code may use the calling thread's stack.

use std::cell::Cell;
use std::ops::Range;

use crate::sys::thread;

/// Bytes at the end of each thread's stack that WebAssembly code leaves to the host: to the builtins and
/// host functions that it calls, which check no limit.
pub(crate) const HOST_HEADROOM: usize = 64 * 1024;

/// What is known of the stack that a thread runs on. All zeros before it was asked for.
pub(super) struct ThreadStack {
    low: Cell<usize>,
    /// The lowest address for WebAssembly code.
    floor: Cell<usize>,
    high: Cell<usize>,
}

impl ThreadStack {
    pub(super) const fn unknown() -> ThreadStack {
        ThreadStack {
            low: Cell::new(0),
            floor: Cell::new(0),
            high: Cell::new(0),
        }
    }

    #[inline]
    pub(super) fn is_initialized(&self) -> bool {
        self.high.get() != 0
    }

    /// Asks the system. Where it does not tell, no address counts as within the bounds.
    pub(super) fn initialize(&self) {
        self.set(thread::stack_bounds().unwrap_or(1..1));
    }

    /// Whether an address is of the stack.
    #[inline]
    pub(super) fn contains(&self, address: usize) -> bool {
        (self.low.get()..self.high.get()).contains(&address)
    }

    /// Takes these bounds for the time being, those of a fiber. Returns those before.
    pub(super) fn replace(&self, bounds: Range<usize>) -> Range<usize> {
        let before = self.low.get()..self.high.get();
        self.set(bounds);
        before
    }

    fn set(&self, bounds: Range<usize>) {
        self.low.set(bounds.start);
        self.floor.set(bounds.start.saturating_add(HOST_HEADROOM));
        self.high.set(bounds.end);
    }

    /// The lowest address, not zero, to use by code that begins at the stack pointer `sp` and may use
    /// `max_wasm_stack` bytes.
    ///
    /// A stack pointer outside of it is on a stack that somebody else made, who takes care that it is
    /// large enough.
    #[inline]
    pub(super) fn limit(&self, sp: usize, max_wasm_stack: usize) -> usize {
        let wanted = sp.saturating_sub(max_wasm_stack).max(1);
        if self.contains(sp) {
            wanted.max(self.floor.get())
        } else {
            wanted
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_clamped_to_the_threads_own_stack() {
        let stack = ThreadStack::unknown();
        assert!(!stack.is_initialized());
        assert_eq!(stack.limit(0x50_0000, 0x1000), 0x4f_f000);
        assert_eq!(stack.limit(0x50_0000, usize::MAX), 1);
        stack.set(0x10_0000..0x90_0000);
        assert_eq!(stack.limit(0x50_0000, 0x1000), 0x4f_f000);
        assert_eq!(stack.limit(0x50_0000, 0x40_0000), 0x10_0000 + HOST_HEADROOM);
        assert_eq!(
            stack.limit(0x50_0000, usize::MAX),
            0x10_0000 + HOST_HEADROOM
        );
        // Less is left than the headroom: the limit is above the stack pointer.
        assert!(stack.limit(0x10_1000, 0x1000) > 0x10_1000);
        assert_eq!(stack.limit(0x90_0000, 0x10_0000), 0x80_0000);
    }
}
