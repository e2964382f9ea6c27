//! [`HeapCheck`]: what is known of a program's heap, and the memory errors that are found by it.
//!
//! Blocks are known from the calls of the program's allocator. Of each byte of the memory there is a bit that tells whether it was never
//! written: those of new blocks, and what they were copied to. Of bytes that the allocator never handed out, the stack and static data
//! among them, nothing else is known.

use std::collections::BTreeMap;
use std::ops::Range;

use anyhow::{Result, anyhow};
use waxwing_environ::KnownFunction;

/// What the program's break is moved by. The rest of the page behind the last block is the allocator's.
const PAGE: u64 = 0x1_0000;

/// How many pointers are looked at where an argument of a host function points to: buffers are passed in lists.
const POINTERS: u64 = 32;

/// A bit for each byte of a memory. Those that were never set are clear.
#[derive(Default)]
struct Bits(Vec<u64>);

impl Bits {
    fn chunks(range: Range<u64>) -> impl Iterator<Item = (u64, u64)> {
        let end = range.end;
        range
            .step_by(64)
            .map(move |start| (start, (end - start).min(64)))
    }

    /// The lowest `len` bits, of at most 64.
    fn mask(len: u64) -> u64 {
        u64::MAX >> (64 - len)
    }

    /// The bits of `len` bytes, 1 to 64.
    fn read(&self, start: u64, len: u64) -> u64 {
        let (word, shift) = ((start / 64) as usize, start % 64);
        let word_at = |at: usize| self.0.get(at).copied().unwrap_or(0);
        let high = match shift {
            0 => 0,
            _ => word_at(word + 1) << (64 - shift),
        };
        (word_at(word) >> shift | high) & Self::mask(len)
    }

    fn write(&mut self, start: u64, len: u64, bits: u64) {
        let (word, shift) = ((start / 64) as usize, start % 64);
        let mask = Self::mask(len);
        self.write_word(word, mask << shift, bits << shift);
        if shift + len > 64 {
            self.write_word(word + 1, mask >> (64 - shift), bits >> (64 - shift));
        }
    }

    fn write_word(&mut self, at: usize, mask: u64, bits: u64) {
        if at >= self.0.len() {
            if bits & mask == 0 {
                return;
            }
            self.0.resize(at + 1, 0);
        }
        self.0[at] = self.0[at] & !mask | bits & mask;
    }

    fn fill(&mut self, range: Range<u64>, bit: bool) {
        let bits = if bit { u64::MAX } else { 0 };
        for (start, len) in Self::chunks(range) {
            self.write(start, len, bits);
        }
    }

    fn all(&self, range: Range<u64>) -> bool {
        Self::chunks(range).all(|(start, len)| self.read(start, len) == Self::mask(len))
    }

    fn any(&self, range: Range<u64>) -> bool {
        Self::chunks(range).any(|(start, len)| self.read(start, len) != 0)
    }

    /// Copies bits to a range that may overlap them.
    fn copy(&mut self, to: u64, from: Range<u64>) {
        let start = from.start;
        let copied: Vec<_> = Self::chunks(from)
            .map(|(at, len)| (at, len, self.read(at, len)))
            .collect();
        for (at, len, bits) in copied {
            self.write(to + (at - start), len, bits);
        }
    }
}

/// The bytes of the memory that the heap is in.
#[derive(Copy, Clone)]
pub(crate) struct Memory<'m> {
    pub(crate) bytes: &'m [u8],
    /// The bytes of a pointer: 4 or 8.
    pub(crate) pointer_size: usize,
}

impl Memory<'_> {
    fn pointer(&self, address: u64) -> Option<u64> {
        let bytes = self.bytes.get(usize::try_from(address).ok()?..)?;
        let mut pointer = [0; 8];
        pointer[..self.pointer_size].copy_from_slice(bytes.get(..self.pointer_size)?);
        Some(u64::from_le_bytes(pointer))
    }

    /// The first pointers that are at an address.
    fn pointers(&self, address: u64) -> impl Iterator<Item = u64> {
        let places = (0..POINTERS).map(move |i| address.checked_add(i * self.pointer_size as u64));
        places.map_while(|place| self.pointer(place?))
    }

    /// The bytes of a string, with the zero that ends it.
    fn string_size(&self, address: u64) -> u64 {
        let start = usize::try_from(address).unwrap_or(usize::MAX);
        let bytes = self.bytes.get(start..).unwrap_or_default();
        let end = bytes.iter().position(|byte| *byte == 0);
        end.map_or(0, |end| end as u64 + 1)
    }
}

/// What is to be done when the allocator returns.
struct Call {
    function: KnownFunction,
    /// The block that is to be replaced, or the place for the result.
    pointer: u64,
    len: u64,
}

/// A heap, by what its allocator said.
#[derive(Default)]
pub(crate) struct HeapCheck {
    /// The bytes of the memory.
    size: u64,
    /// The lengths of blocks that are in use.
    blocks: BTreeMap<u64, u64>,
    /// The lengths of blocks that are not in use any more, until their bytes are handed out again.
    freed: BTreeMap<u64, u64>,
    /// All that was ever handed out lies in this range.
    extent: Range<u64>,
    /// The bytes that were never written.
    undefined: Bits,
    /// Those of them that are not in the heap lie in this range.
    moved: Range<u64>,
    /// How many known functions are executing. Nothing is checked in them.
    depth: u32,
    call: Option<Call>,
}

/// The smallest range that holds both.
fn hull(one: &Range<u64>, other: Range<u64>) -> Range<u64> {
    match one.is_empty() {
        true => other,
        false => one.start.min(other.start)..one.end.max(other.end),
    }
}

/// The last block that begins at `address` or before it, and its length.
fn last_block(blocks: &BTreeMap<u64, u64>, address: u64) -> Option<(u64, u64)> {
    let (start, len) = blocks.range(..=address).next_back()?;
    Some((*start, *len))
}

/// The block that a byte is in, and its length.
fn block_at(blocks: &BTreeMap<u64, u64>, address: u64) -> Option<(u64, u64)> {
    last_block(blocks, address).filter(|(start, len)| address - start < *len)
}

impl HeapCheck {
    /// Says how long the memory is. What is accessed beyond that is not this check's concern.
    pub(crate) fn set_size(&mut self, size: u64) {
        self.size = size;
    }

    /// Checks a load: whether all of its bytes were never written.
    pub(crate) fn load(&self, address: u64, len: u64) -> Result<bool> {
        let Some(mut range) = self.checked_range(address, len) else {
            return Ok(false);
        };
        if self.is_in_heap(&range) {
            // Functions on strings read whole words, as far as the last one that has a byte of the string.
            let is_word = matches!(len, 2 | 4 | 8 | 16) && address.is_multiple_of(len);
            let reach = if is_word { 1 } else { len };
            let end = self.in_block("load", address, len, reach)?;
            range.end = range.end.min(end);
        }
        Ok(self.undefined.all(range))
    }

    /// Checks a store, of bytes that are perhaps copies of bytes that were never written.
    pub(crate) fn store(&mut self, address: u64, len: u64, undefined: bool) -> Result<()> {
        let Some(range) = self.checked_range(address, len) else {
            return Ok(());
        };
        self.check_written("store", &range)?;
        if undefined {
            self.note_moved(&range);
        }
        self.undefined.fill(range, undefined);
        Ok(())
    }

    /// Checks a copy; bytes that were never written stay so.
    pub(crate) fn copy(&mut self, dst: u64, src: u64, len: u64) -> Result<()> {
        let (Some(to), Some(from)) = (self.checked_range(dst, len), self.checked_range(src, len))
        else {
            return Ok(());
        };
        self.check_written("load", &from)?;
        self.check_written("store", &to)?;
        if self.undefined.any(from.clone()) {
            self.note_moved(&to);
        }
        self.undefined.copy(dst, from);
        Ok(())
    }

    /// The error of using what [`Self::load`] said was never written.
    pub(crate) fn undefined(&self, address: u64, len: u64) -> anyhow::Error {
        let place = match block_at(&self.blocks, address) {
            Some(_) => self.place(address),
            None => "to where they were copied from the heap".to_string(),
        };
        anyhow!("wmemcheck: load of {len} uninitialised bytes at {address:#x}, {place}")
    }

    /// A known function begins.
    pub(crate) fn enter(&mut self, function: KnownFunction, args: [u64; 3]) -> Result<()> {
        if self.depth == 0 {
            self.begin(function, args)?;
        }
        self.depth = self.depth.saturating_add(1);
        Ok(())
    }

    fn begin(&mut self, function: KnownFunction, [first, second, third]: [u64; 3]) -> Result<()> {
        let (pointer, len) = match function {
            KnownFunction::Malloc => (0, first),
            KnownFunction::Calloc => (0, first.saturating_mul(second)),
            KnownFunction::Realloc => (first, second),
            KnownFunction::AlignedAlloc => (0, second),
            KnownFunction::PosixMemalign => (first, third),
            KnownFunction::Free => (first, 0),
            KnownFunction::Strdup
            | KnownFunction::Strndup
            | KnownFunction::UsableSize
            | KnownFunction::Copy
            | KnownFunction::Fill => (0, 0),
        };
        match function {
            KnownFunction::Copy => self.copy(first, second, third)?,
            KnownFunction::Fill => self.store(first, third, false)?,
            KnownFunction::Free => {
                self.check_freed(function, pointer)?;
                self.release(pointer);
            }
            // It is still there if this fails.
            KnownFunction::Realloc => self.check_freed(function, pointer)?,
            _ => {}
        }
        self.call = Some(Call {
            function,
            pointer,
            len,
        });
        Ok(())
    }

    /// A known function returns; `memory` is what it left.
    pub(crate) fn exit(&mut self, result: u64, memory: Memory<'_>) {
        self.depth = self.depth.saturating_sub(1);
        let Some(mut call) = self.call.take_if(|_| self.depth == 0) else {
            return;
        };
        let start = match call.function {
            KnownFunction::PosixMemalign if result == 0 => {
                self.define(call.pointer, memory.pointer_size as u64);
                memory.pointer(call.pointer).unwrap_or(0)
            }
            KnownFunction::Strdup | KnownFunction::Strndup => {
                call.len = memory.string_size(result);
                result
            }
            KnownFunction::Malloc
            | KnownFunction::Calloc
            | KnownFunction::Realloc
            | KnownFunction::AlignedAlloc => result,
            _ => 0,
        };
        let end = start.checked_add(call.len).filter(|end| *end <= self.size);
        let Some(end) = end.filter(|_| start != 0) else {
            if call.function == KnownFunction::Realloc && call.len == 0 {
                self.release(call.pointer);
            }
            return;
        };
        let mut kept = 0;
        if call.function == KnownFunction::Realloc
            && let Some(len) = self.release(call.pointer)
        {
            kept = len.min(call.len);
            self.undefined
                .copy(start, call.pointer..call.pointer + kept);
        }
        let is_written = matches!(
            call.function,
            KnownFunction::Calloc | KnownFunction::Strdup | KnownFunction::Strndup
        );
        self.undefined.fill(start + kept..end, !is_written);
        self.insert(start, call.len);
    }

    /// The host may have written wherever `argument` points to, where pointers point to that are found there, and anywhere outside of
    /// the heap.
    pub(crate) fn host_may_write(&mut self, argument: u64, memory: Memory<'_>) {
        if self.depth > 0 {
            return;
        }
        for pointer in memory.pointers(argument).chain([argument]) {
            if let Some((start, len)) = block_at(&self.blocks, pointer) {
                self.define(start, len);
            }
        }
        let moved = std::mem::take(&mut self.moved);
        for part in [
            moved.start..moved.end.min(self.extent.start),
            moved.start.max(self.extent.end)..moved.end,
        ] {
            self.undefined.fill(part, false);
        }
    }

    fn define(&mut self, address: u64, len: u64) {
        self.undefined
            .fill(address..address.saturating_add(len), false);
    }

    fn note_moved(&mut self, range: &Range<u64>) {
        if !self.is_in_heap(range) {
            self.moved = hull(&self.moved, range.clone());
        }
    }

    fn insert(&mut self, start: u64, len: u64) {
        // What is handed out anew is not what it was, whatever the allocator said.
        let end = start + len.max(1);
        for blocks in [&mut self.blocks, &mut self.freed] {
            while let Some((at, len)) = last_block(blocks, end - 1)
                && start < at + len.max(1)
            {
                blocks.remove(&at);
            }
        }
        self.extent = hull(&self.extent, start..start + len);
        self.blocks.insert(start, len);
    }

    /// Makes a block one that was freed, and returns its length.
    fn release(&mut self, start: u64) -> Option<u64> {
        let len = self.blocks.remove(&start)?;
        self.freed.insert(start, len);
        Some(len)
    }

    /// Checks that a pointer may be freed.
    fn check_freed(&self, function: KnownFunction, pointer: u64) -> Result<()> {
        if pointer == 0 || self.blocks.contains_key(&pointer) {
            return Ok(());
        }
        let name = function.name();
        Err(match self.freed.get(&pointer) {
            Some(len) => anyhow!(
                "wmemcheck: double free of {pointer:#x}, a block of {len} bytes, by `{name}`"
            ),
            None => anyhow!(
                "wmemcheck: invalid free of {pointer:#x} by `{name}`, which is not a block of the heap but {}",
                self.place(pointer)
            ),
        })
    }

    /// The bytes that the program accesses, if there is something to check.
    fn checked_range(&self, address: u64, len: u64) -> Option<Range<u64>> {
        let end = address.checked_add(len).filter(|end| *end <= self.size)?;
        (self.depth == 0 && !self.extent.is_empty() && len > 0).then_some(address..end)
    }

    fn is_in_heap(&self, range: &Range<u64>) -> bool {
        range.start < self.extent.end.next_multiple_of(PAGE) && range.end > self.extent.start
    }

    /// Checks that the first `reach` bytes of an access are in one block, and returns where that ends.
    fn in_block(&self, what: &str, address: u64, len: u64, reach: u64) -> Result<u64> {
        if let Some((start, block_len)) = block_at(&self.blocks, address)
            && reach <= start + block_len - address
        {
            return Ok(start + block_len);
        }
        Err(match block_at(&self.freed, address) {
            Some((start, freed_len)) => anyhow!(
                "wmemcheck: use after free: {what} of {len} bytes at {address:#x}, {} bytes into the freed block of {freed_len} bytes \
                 at {start:#x}",
                address - start
            ),
            None => anyhow!(
                "wmemcheck: invalid {what} of {len} bytes at {address:#x}, {}",
                self.place(address)
            ),
        })
    }

    /// Checks that a range that reaches into the heap is in one block.
    fn check_written(&self, what: &str, range: &Range<u64>) -> Result<()> {
        if self.is_in_heap(range) {
            let len = range.end - range.start;
            self.in_block(what, range.start, len, len)?;
        }
        Ok(())
    }

    /// Where an address is, for a message.
    fn place(&self, address: u64) -> String {
        let before = last_block(&self.blocks, address);
        let (start, len) = match before.or_else(|| {
            self.blocks
                .first_key_value()
                .map(|(start, len)| (*start, *len))
        }) {
            Some(block) => block,
            None => return "where no block is".to_string(),
        };
        let (distance, preposition) = match address.checked_sub(start) {
            None => (start - address, "before"),
            Some(distance) => match distance.checked_sub(len) {
                None => (distance, "into"),
                Some(behind) => (behind, "behind"),
            },
        };
        format!("{distance} bytes {preposition} the block of {len} bytes at {start:#x}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: u64 = 0x10_0000;

    fn call(heap: &mut HeapCheck, function: KnownFunction, args: [u64; 3], result: u64) {
        heap.enter(function, args).unwrap();
        heap.exit(result, memory(&[]));
    }

    fn memory(bytes: &[u8]) -> Memory<'_> {
        Memory {
            bytes,
            pointer_size: 4,
        }
    }

    fn heap() -> HeapCheck {
        let mut heap = HeapCheck::default();
        heap.set_size(SIZE);
        call(&mut heap, KnownFunction::Malloc, [10, 0, 0], 0x1000);
        call(&mut heap, KnownFunction::Malloc, [16, 0, 0], 0x1020);
        heap
    }

    fn message<T>(result: Result<T>) -> String {
        match result {
            Ok(_) => String::new(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn bounds_are_those_of_blocks() {
        let mut heap = heap();
        heap.store(0x1000, 10, false).unwrap();
        let error = message(heap.store(0x100a, 1, false));
        assert!(
            error.ends_with("0 bytes behind the block of 10 bytes at 0x1000"),
            "{error}"
        );
        assert!(heap.load(0x100c, 4).is_err());
        assert!(heap.load(0x1021, 16).is_err());
        // The last word of a string.
        assert!(!heap.load(0x1008, 4).unwrap());
        // Static data, and what another page holds.
        heap.store(0x10, 8, false).unwrap();
        heap.store(0x2_0000, 8, false).unwrap();
    }

    #[test]
    fn bytes_are_defined_when_they_are_written() {
        let mut heap = heap();
        assert!(heap.load(0x1000, 4).unwrap());
        heap.store(0x1001, 1, false).unwrap();
        assert!(!heap.load(0x1000, 4).unwrap());
        heap.copy(0x1020, 0x1000, 10).unwrap();
        assert!(heap.load(0x1020, 1).unwrap());
        assert!(!heap.load(0x1021, 1).unwrap());
        call(&mut heap, KnownFunction::Realloc, [0x1020, 64, 0], 0x1100);
        assert!(!heap.load(0x1101, 1).unwrap());
        assert!(heap.load(0x1110, 16).unwrap());
        assert!(message(heap.load(0x1020, 1)).contains("use after free"));
        let mut bytes = vec![0; 0x600];
        bytes[0x508..0x50c].copy_from_slice(&[4, 0x11, 0, 0]);
        heap.host_may_write(0x500, memory(&bytes));
        assert!(!heap.load(0x1110, 16).unwrap());
        call(&mut heap, KnownFunction::Calloc, [4, 4, 0], 0x1200);
        assert!(!heap.load(0x1200, 16).unwrap());
    }

    #[test]
    fn copies_of_what_was_never_written_are_the_same() {
        let mut heap = heap();
        heap.store(0x10, 4, true).unwrap();
        heap.copy(0x100, 0x1000, 10).unwrap();
        assert!(heap.load(0x10, 4).unwrap() && heap.load(0x108, 2).unwrap());
        assert!(!heap.load(0x10, 8).unwrap());
        let error = heap.undefined(0x10, 4).to_string();
        assert!(
            error.ends_with("to where they were copied from the heap"),
            "{error}"
        );
        heap.store(0x12, 1, false).unwrap();
        assert!(!heap.load(0x10, 4).unwrap() && heap.load(0x10, 2).unwrap());
        // The host may have written there, but not to blocks that it knows nothing of.
        heap.host_may_write(0, memory(&[]));
        assert!(!heap.load(0x10, 2).unwrap() && !heap.load(0x108, 2).unwrap());
        assert!(heap.load(0x1000, 4).unwrap());
    }

    #[test]
    fn results_are_where_the_allocator_puts_them() {
        let mut heap = heap();
        heap.enter(KnownFunction::PosixMemalign, [0x1004, 64, 8])
            .unwrap();
        // Allocators are made of others.
        heap.enter(KnownFunction::Malloc, [100, 0, 0]).unwrap();
        let mut bytes = vec![0; 0x2000];
        heap.exit(0x1040, memory(&bytes));
        bytes[0x1004..0x1008].copy_from_slice(&[0x80, 0x10, 0, 0]);
        heap.exit(0, memory(&bytes));
        assert!(!heap.load(0x1004, 4).unwrap() && heap.load(0x1008, 2).unwrap());
        assert!(heap.load(0x1080, 8).unwrap());
        assert!(heap.load(0x1040, 8).is_err());
        bytes[0x1100..0x1103].copy_from_slice(b"ab\0");
        heap.enter(KnownFunction::Strdup, [0x10, 0, 0]).unwrap();
        heap.exit(0x1100, memory(&bytes));
        assert!(!heap.load(0x1102, 1).unwrap());
        assert!(heap.load(0x1103, 1).is_err());
    }

    #[test]
    fn bits_of_ranges_are_those_of_bytes() {
        for (start, len, to) in [
            (0, 64, 3),
            (5, 130, 70),
            (63, 2, 0),
            (70, 100, 71),
            (1, 0, 9),
        ] {
            let mut bits = Bits::default();
            bits.fill(start..start + len, true);
            for at in 0..300 {
                assert_eq!(
                    bits.read(at, 1) == 1,
                    (start..start + len).contains(&at),
                    "{at}"
                );
            }
            assert!(bits.all(start..start + len) && !bits.any(start + len..400));
            assert_eq!(bits.any(0..start + 1), len > 0);
            assert!(!bits.all(start..start + len + 1));
            bits.fill(start + len / 2..start + len, false);
            let byte = |bits: &Bits, at| bits.read(at, 1);
            let copied: Vec<u64> = (start..start + len).map(|at| byte(&bits, at)).collect();
            bits.copy(to, start..start + len);
            let copies: Vec<u64> = (to..to + len).map(|at| byte(&bits, at)).collect();
            assert_eq!(copies, copied);
        }
    }

    #[test]
    fn frees_are_checked() {
        let mut heap = heap();
        call(&mut heap, KnownFunction::Free, [0, 0, 0], 0);
        call(&mut heap, KnownFunction::Free, [0x1000, 0, 0], 0);
        let error = message(heap.enter(KnownFunction::Free, [0x1000, 0, 0]));
        assert!(
            error.contains("double free of 0x1000, a block of 10 bytes, by `free`"),
            "{error}"
        );
        let error = message(heap.enter(KnownFunction::Free, [0x1024, 0, 0]));
        assert!(
            error.contains("4 bytes into the block of 16 bytes"),
            "{error}"
        );
        assert!(heap.enter(KnownFunction::Realloc, [0x1000, 4, 0]).is_err());
        call(&mut heap, KnownFunction::Malloc, [4, 0, 0], 0x1000);
        call(&mut heap, KnownFunction::Free, [0x1000, 0, 0], 0);
    }

    #[test]
    fn allocators_can_say_what_they_like() {
        let mut heap = heap();
        for (len, at) in [
            (u64::MAX, 0x1000),
            (SIZE, 8),
            (0, 0x1000),
            (64, 0xff0),
            (SIZE - 1, 1),
        ] {
            call(&mut heap, KnownFunction::Malloc, [len, 0, 0], at);
        }
        heap.exit(0, memory(&[]));
        heap.host_may_write(u64::MAX, memory(&[0xff; 64]));
        heap.host_may_write(0, memory(&[0xff; 64]));
        let _ = heap.load(u64::MAX, 16);
        let _ = heap.copy(u64::MAX, 0x1000, u64::MAX);
        let _ = heap.copy(0x1000, 0x2000, u64::MAX);
        let _ = heap.store(SIZE - 1, u64::MAX, false);
        call(&mut heap, KnownFunction::PosixMemalign, [u64::MAX, 8, 8], 0);
    }
}
