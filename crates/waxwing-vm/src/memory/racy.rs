//! Copies of bytes that other threads may change meanwhile.
//!
//! WebAssembly defines data races: each byte that is read has one of the values that were written to
//! it. In Rust they are undefined behaviour, unless all accesses are atomic. So bytes of shared memories
//! are only accessed by relaxed atomic operations, as wide as the alignment of both sides allows, and no
//! reference to them is ever made. What generated code does meanwhile is beyond Rust's memory model;
//! atomic operations keep the compiler from assuming that it does nothing.

use std::ptr::NonNull;
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicUsize, Ordering};

/// Integers that atomic operations work on.
///
/// # Safety
///
/// `SIZE` is both their size and their alignment in bytes, a power of two.
unsafe trait Unit {
    const SIZE: usize;

    /// Copies one.
    ///
    /// # Safety
    ///
    /// Both addresses are aligned, `src` may be read and `dst` be written, by atomic operations.
    unsafe fn copy(dst: *mut u8, src: *mut u8);

    /// Fills one with a byte.
    ///
    /// # Safety
    ///
    /// The address is aligned and may be written by atomic operations.
    unsafe fn fill(dst: *mut u8, byte: u8);
}

macro_rules! units {
    ($($atomic:ident $integer:ident;)*) => {$(
        // SAFETY: atomic integers have the size and alignment that is given.
        unsafe impl Unit for $atomic {
            const SIZE: usize = size_of::<$integer>();

            #[inline(always)]
            unsafe fn copy(dst: *mut u8, src: *mut u8) {
                // SAFETY: required of the caller.
                unsafe {
                    let value = $atomic::from_ptr(src.cast()).load(Ordering::Relaxed);
                    $atomic::from_ptr(dst.cast()).store(value, Ordering::Relaxed);
                }
            }

            #[inline(always)]
            unsafe fn fill(dst: *mut u8, byte: u8) {
                let value = $integer::from_ne_bytes([byte; size_of::<$integer>()]);
                // SAFETY: required of the caller.
                unsafe { $atomic::from_ptr(dst.cast()).store(value, Ordering::Relaxed) };
            }
        }
    )*};
}

units! {
    AtomicU8 u8;
    AtomicU16 u16;
    AtomicU32 u32;
    AtomicUsize usize;
}

/// Splits a range of `len` bytes at `start` into what comes before the first aligned unit, the units,
/// and what comes after the last.
fn split<U: Unit>(start: *mut u8, len: usize) -> (usize, usize, usize) {
    let head = start.addr().wrapping_neg() % U::SIZE;
    let head = head.min(len);
    let units = (len - head) / U::SIZE;
    (head, units, len - head - units * U::SIZE)
}

/// # Safety
///
/// As for [`copy`]; both addresses have the same distance to an aligned one.
unsafe fn copy_units<U: Unit>(dst: *mut u8, src: *mut u8, len: usize, backwards: bool) {
    let (head, units, tail) = split::<U>(dst, len);
    // SAFETY: all offsets are within the ranges, and those of units are aligned.
    unsafe {
        let byte = |at: usize| AtomicU8::copy(dst.add(at), src.add(at));
        let unit = |at: usize| {
            let at = head + at * U::SIZE;
            U::copy(dst.add(at), src.add(at));
        };
        if backwards {
            (len - tail..len).rev().for_each(byte);
            (0..units).rev().for_each(unit);
            (0..head).rev().for_each(byte);
        } else {
            (0..head).for_each(byte);
            (0..units).for_each(unit);
            (len - tail..len).for_each(byte);
        }
    }
}

/// Copies `len` bytes from `src` to `dst`, which may overlap.
///
/// # Safety
///
/// The bytes at both may be read and written. Whoever else accesses them meanwhile does so by atomic
/// operations, or is generated code.
pub(crate) unsafe fn copy(dst: NonNull<u8>, src: NonNull<u8>, len: usize) {
    let (dst, src) = (dst.as_ptr(), src.as_ptr());
    let backwards = dst.addr().wrapping_sub(src.addr()) < len;
    let distance = dst.addr() ^ src.addr();
    // SAFETY: required of the caller; the distance says which units both sides can have in common.
    unsafe {
        if distance.is_multiple_of(AtomicUsize::SIZE) {
            copy_units::<AtomicUsize>(dst, src, len, backwards);
        } else if distance.is_multiple_of(AtomicU32::SIZE) {
            copy_units::<AtomicU32>(dst, src, len, backwards);
        } else if distance.is_multiple_of(AtomicU16::SIZE) {
            copy_units::<AtomicU16>(dst, src, len, backwards);
        } else {
            copy_units::<AtomicU8>(dst, src, len, backwards);
        }
    }
}

/// Writes `bytes` to `dst`.
///
/// # Safety
///
/// As for [`copy`]; nobody changes `bytes`.
pub(crate) unsafe fn write(dst: NonNull<u8>, bytes: &[u8]) {
    let dst = dst.as_ptr();
    let (head, units, _) = split::<AtomicUsize>(dst, bytes.len());
    let (head, rest) = bytes.split_at(head);
    let (words, tail) = rest.as_chunks::<{ AtomicUsize::SIZE }>();
    debug_assert_eq!(words.len(), units);
    // SAFETY: required of the caller; all offsets are within the range, and those of words are aligned.
    unsafe {
        let byte = |(at, byte): (usize, &u8)| {
            AtomicU8::from_ptr(dst.add(at)).store(*byte, Ordering::Relaxed);
        };
        head.iter().enumerate().for_each(byte);
        for (at, word) in words.iter().enumerate() {
            let to = dst.add(head.len() + at * AtomicUsize::SIZE);
            let word = usize::from_ne_bytes(*word);
            AtomicUsize::from_ptr(to.cast()).store(word, Ordering::Relaxed);
        }
        let start = bytes.len() - tail.len();
        (start..).zip(tail).for_each(byte);
    }
}

/// Fills `len` bytes at `dst`.
///
/// # Safety
///
/// As for [`copy`].
pub(crate) unsafe fn fill(dst: NonNull<u8>, byte: u8, len: usize) {
    let dst = dst.as_ptr();
    let (head, units, tail) = split::<AtomicUsize>(dst, len);
    // SAFETY: required of the caller; all offsets are within the range, and those of units are aligned.
    unsafe {
        (0..head).for_each(|at| AtomicU8::fill(dst.add(at), byte));
        (0..units).for_each(|at| AtomicUsize::fill(dst.add(head + at * AtomicUsize::SIZE), byte));
        (len - tail..len).for_each(|at| AtomicU8::fill(dst.add(at), byte));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: usize = 64;

    /// What is in a buffer, of aligned words, after `change`.
    fn after(change: impl Fn(NonNull<u8>)) -> Vec<u8> {
        let mut words = [0u64; SIZE / 8];
        let start = NonNull::from(&mut words).cast::<u8>();
        for at in 0..SIZE {
            // SAFETY: within the buffer.
            unsafe { start.add(at).write(at as u8 + 1) };
        }
        change(start);
        words.iter().flat_map(|word| word.to_ne_bytes()).collect()
    }

    #[test]
    fn copies_are_exact_at_every_alignment() {
        let original = after(|_| {});
        for dst in 0..24 {
            for src in 0..24 {
                for len in [0, 1, 2, 3, 5, 7, 8, 9, 16, 23, 40] {
                    let mut expected = original.clone();
                    expected.copy_within(src..src + len, dst);
                    // SAFETY: both ranges are within the buffer, which nothing else uses.
                    let found = after(|start| unsafe { copy(start.add(dst), start.add(src), len) });
                    assert_eq!(found, expected, "{dst} {src} {len}");
                }
            }
        }
    }

    #[test]
    fn writes_are_exact_at_every_alignment() {
        let original = after(|_| {});
        let bytes: Vec<u8> = (100..140).collect();
        for dst in 0..10 {
            for from in 0..3 {
                for len in 0..37 {
                    let bytes = &bytes[from..from + len];
                    let mut expected = original.clone();
                    expected[dst..dst + len].copy_from_slice(bytes);
                    // SAFETY: the range is within the buffer, which nothing else uses.
                    let found = after(|start| unsafe { write(start.add(dst), bytes) });
                    assert_eq!(found, expected, "{dst} {len}");
                }
            }
        }
    }

    #[test]
    fn fills_are_exact_at_every_alignment() {
        let original = after(|_| {});
        for dst in 0..10 {
            for len in 0..40 {
                let mut expected = original.clone();
                expected[dst..dst + len].fill(0xa5);
                // SAFETY: the range is within the buffer, which nothing else uses.
                let found = after(|start| unsafe { fill(start.add(dst), 0xa5, len) });
                assert_eq!(found, expected, "{dst} {len}");
            }
        }
    }

    #[test]
    fn words_are_copied_whole_while_others_write() {
        let source = AtomicUsize::new(0);
        let pointer = NonNull::from(&source).cast::<u8>();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..20_000 {
                    source.store(usize::MAX, Ordering::Relaxed);
                    source.store(0, Ordering::Relaxed);
                }
            });
            for _ in 0..20_000 {
                let mut word = 1usize;
                // SAFETY: the source is accessed by atomic operations only, the word by nobody else.
                unsafe { copy(NonNull::from(&mut word).cast(), pointer, size_of::<usize>()) };
                assert!([0, usize::MAX].contains(&word), "{word:#x}");
            }
        });
    }
}
