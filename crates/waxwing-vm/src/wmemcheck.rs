//! [`HeapCheck`]: what is known of a program's heap, and the memory errors that are found by it.
//!
//! Blocks are known from the calls of the program's allocator, and each has a bit for every byte of it that tells whether it was
//! written. Bytes that the allocator never handed out, the stack and static data among them, are not checked.

use std::collections::BTreeMap;
use std::ops::Range;

use anyhow::{Result, anyhow};
use waxwing_environ::KnownFunction;

/// What the program's break is moved by. The rest of the page behind the last block is the allocator's.
const PAGE: u64 = 0x1_0000;

/// A block that is in use.
struct Block {
    len: u64,
    /// A bit for each byte: whether it was written.
    written: Vec<u64>,
}

impl Block {
    fn new(len: u64) -> Block {
        Block {
            len,
            written: vec![0; len.div_ceil(64) as usize],
        }
    }

    fn is_written(&self, at: u64) -> bool {
        self.written[(at / 64) as usize] & 1 << (at % 64) != 0
    }

    fn set_written(&mut self, at: u64, written: bool) {
        let word = &mut self.written[(at / 64) as usize];
        match written {
            true => *word |= 1 << (at % 64),
            false => *word &= !(1 << (at % 64)),
        }
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
    blocks: BTreeMap<u64, Block>,
    /// The lengths of blocks that are not in use any more, until their bytes are handed out again.
    freed: BTreeMap<u64, u64>,
    /// All that was ever handed out lies in this range.
    extent: Range<u64>,
    /// How many known functions are executing. Nothing is checked in them.
    depth: u32,
    call: Option<Call>,
}

fn hex(address: u64) -> String {
    format!("{address:#x}")
}

impl HeapCheck {
    /// Checks a load; see `wmemcheck_load`.
    pub(crate) fn load(&self, address: u64, len: u64) -> Result<bool> {
        if !self.is_checked(address, len) {
            return Ok(false);
        }
        // Functions on strings read whole words, as far as the last one that has a byte of the string.
        let is_word = matches!(len, 2 | 4 | 8 | 16) && address.is_multiple_of(len);
        let reach = if is_word { 1 } else { len };
        let found = self.block_at(address);
        match found {
            Some((start, block)) if reach <= start + block.len - address => {
                let end = address.saturating_add(len).min(start + block.len);
                Ok(len > 0 && !(address..end).any(|at| block.is_written(at - start)))
            }
            _ => Err(self.out_of_block("load", address, len)),
        }
    }

    /// Checks a store; see `wmemcheck_store`.
    pub(crate) fn store(&mut self, address: u64, len: u64, undefined: bool) -> Result<()> {
        if !self.is_checked(address, len) {
            return match undefined && self.depth == 0 {
                true => Err(anyhow!(
                    "wmemcheck: {len} bytes of the heap that were never written are copied to {address:#x}"
                )),
                false => Ok(()),
            };
        }
        self.in_block("store", address, len)?;
        self.mark(address, len, !undefined);
        Ok(())
    }

    /// Checks a copy; bytes that were never written stay so.
    pub(crate) fn copy(&mut self, dst: u64, src: u64, len: u64) -> Result<()> {
        if self.is_checked(src, len) {
            self.in_block("load", src, len)?;
        }
        if !self.is_checked(dst, len) {
            return Ok(());
        }
        self.in_block("store", dst, len)?;
        let Some((start, from)) = self.block_at(src) else {
            self.mark(dst, len, true);
            return Ok(());
        };
        let src = src - start;
        let end = src.saturating_add(len).min(from.len);
        let written: Vec<bool> = (src..end).map(|at| from.is_written(at)).collect();
        if let Some((start, to)) = self.blocks.range_mut(..=dst).next_back() {
            for (at, written) in (dst - start..to.len).zip(written) {
                to.set_written(at, written);
            }
        }
        Ok(())
    }

    /// The error of using what [`Self::load`] said was never written.
    pub(crate) fn undefined(&self, address: u64, len: u64) -> anyhow::Error {
        anyhow!(
            "wmemcheck: load of {len} uninitialised bytes at {address:#x}, {}",
            self.place(address)
        )
    }

    /// A known function begins.
    pub(crate) fn enter(&mut self, function: KnownFunction, args: [u64; 3]) -> Result<()> {
        let [first, second, third] = args;
        if self.depth == 0 {
            let (pointer, len) = match function {
                KnownFunction::Malloc => (0, first),
                KnownFunction::Calloc => (0, first.saturating_mul(second)),
                KnownFunction::Realloc => (first, second),
                KnownFunction::AlignedAlloc => (0, second),
                KnownFunction::PosixMemalign => (first, third),
                KnownFunction::Free => (first, 0),
                KnownFunction::UsableSize => (0, 0),
                KnownFunction::Copy => {
                    self.copy(first, second, third)?;
                    (0, 0)
                }
                KnownFunction::Fill => {
                    self.store(first, third, false)?;
                    (0, 0)
                }
            };
            match function {
                KnownFunction::Free => self.free(function, pointer)?,
                KnownFunction::Realloc if !self.blocks.contains_key(&pointer) => {
                    self.free(function, pointer)?;
                }
                _ => {}
            }
            self.call = Some(Call {
                function,
                pointer,
                len,
            });
        }
        self.depth = self.depth.saturating_add(1);
        Ok(())
    }

    /// Where the function that is executing stores the block's address, if it does not return it.
    pub(crate) fn place_of_result(&self) -> Option<u64> {
        let call = self.call.as_ref()?;
        (call.function == KnownFunction::PosixMemalign).then_some(call.pointer)
    }

    /// A known function returns. `stored` is what is at [`Self::place_of_result`], `size` that of the memory.
    pub(crate) fn exit(&mut self, result: u64, stored: Option<u64>, size: u64) {
        self.depth = self.depth.saturating_sub(1);
        if self.depth > 0 {
            return;
        }
        let Some(call) = self.call.take() else {
            return;
        };
        let start = match call.function {
            KnownFunction::PosixMemalign if result == 0 => {
                // The allocator wrote it.
                self.mark(call.pointer, 8, true);
                stored.unwrap_or(0)
            }
            KnownFunction::Malloc
            | KnownFunction::Calloc
            | KnownFunction::Realloc
            | KnownFunction::AlignedAlloc => result,
            _ => 0,
        };
        if start == 0 || start.checked_add(call.len).is_none_or(|end| end > size) {
            if call.function == KnownFunction::Realloc && call.len == 0 {
                self.release(call.pointer);
            }
            return;
        }
        let mut block = Block::new(call.len);
        match call.function {
            KnownFunction::Calloc => block.written.fill(u64::MAX),
            KnownFunction::Realloc => {
                if let Some(old) = self.release(call.pointer) {
                    for at in 0..old.len.min(block.len) {
                        block.set_written(at, old.is_written(at));
                    }
                }
            }
            _ => {}
        }
        self.insert(start, block);
    }

    /// A function of the host may write wherever `argument` points to, and where pointers point to that `words` holds, which are
    /// found there.
    pub(crate) fn host_may_write(&mut self, argument: u64, words: &[u64]) {
        if self.depth > 0 {
            return;
        }
        for pointer in words.iter().chain([&argument]) {
            if let Some((start, len)) = self.block_at(*pointer).map(|(at, block)| (at, block.len)) {
                self.mark(start, len, true);
            }
        }
    }

    fn insert(&mut self, start: u64, block: Block) {
        let end = start + block.len;
        // What is handed out anew is not what it was, whatever the allocator said.
        let overlaps = |at: u64, len: u64| at < end.max(start + 1) && start < at + len.max(1);
        while let Some((&at, old)) = self.blocks.range(..end.max(start + 1)).next_back()
            && overlaps(at, old.len)
        {
            self.blocks.remove(&at);
        }
        while let Some((&at, &len)) = self.freed.range(..end.max(start + 1)).next_back()
            && overlaps(at, len)
        {
            self.freed.remove(&at);
        }
        self.extent = match self.extent.is_empty() {
            true => start..end,
            false => self.extent.start.min(start)..self.extent.end.max(end),
        };
        self.blocks.insert(start, block);
    }

    fn release(&mut self, start: u64) -> Option<Block> {
        let block = self.blocks.remove(&start)?;
        self.freed.insert(start, block.len);
        Some(block)
    }

    fn free(&mut self, function: KnownFunction, pointer: u64) -> Result<()> {
        if pointer == 0 || self.release(pointer).is_some() {
            return Ok(());
        }
        let name = function.name();
        Err(match self.freed.get(&pointer) {
            Some(len) if function == KnownFunction::Free => {
                anyhow!("wmemcheck: double free of {pointer:#x}, a block of {len} bytes")
            }
            _ => anyhow!(
                "wmemcheck: invalid {name} of {pointer:#x}, which is not a block of the heap but {}",
                self.place(pointer)
            ),
        })
    }

    /// Whether an access is one to the heap, by the program.
    fn is_checked(&self, address: u64, len: u64) -> bool {
        self.depth == 0
            && !self.extent.is_empty()
            && len > 0
            && address < self.extent.end.next_multiple_of(PAGE)
            && address.saturating_add(len) > self.extent.start
    }

    /// The block that a byte is in.
    fn block_at(&self, address: u64) -> Option<(u64, &Block)> {
        let (start, block) = self.blocks.range(..=address).next_back()?;
        (address - start < block.len).then_some((*start, block))
    }

    fn in_block(&self, what: &str, address: u64, len: u64) -> Result<()> {
        match self.block_at(address) {
            Some((start, block)) if len <= start + block.len - address => Ok(()),
            _ => Err(self.out_of_block(what, address, len)),
        }
    }

    fn out_of_block(&self, what: &str, address: u64, len: u64) -> anyhow::Error {
        let freed = self.freed.range(..=address).next_back();
        if let Some((start, freed_len)) = freed.filter(|(start, len)| address - **start < **len) {
            return anyhow!(
                "wmemcheck: use after free: {what} of {len} bytes at {address:#x}, {} bytes into the freed block of {freed_len} bytes \
                 at {start:#x}",
                address - start
            );
        }
        anyhow!(
            "wmemcheck: invalid {what} of {len} bytes at {address:#x}, {}",
            self.place(address)
        )
    }

    /// Where an address is, for a message.
    fn place(&self, address: u64) -> String {
        let Some((&start, block)) = self.blocks.range(..=address).next_back() else {
            return match self.blocks.first_key_value() {
                Some((&start, block)) => format!(
                    "{} bytes before the block of {} bytes at {}",
                    start - address,
                    block.len,
                    hex(start)
                ),
                None => "where no block is".to_string(),
            };
        };
        let distance = address - start;
        match distance.checked_sub(block.len) {
            Some(behind) => format!(
                "{behind} bytes behind the block of {} bytes at {}",
                block.len,
                hex(start)
            ),
            None => format!(
                "{distance} bytes into the block of {} bytes at {}",
                block.len,
                hex(start)
            ),
        }
    }

    /// Says of the bytes of a range that are in the block that it begins in whether they were written.
    fn mark(&mut self, address: u64, len: u64, written: bool) {
        if let Some((start, block)) = self.blocks.range_mut(..=address).next_back() {
            let from = address - start;
            for at in from..from.saturating_add(len).min(block.len) {
                block.set_written(at, written);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: u64 = 0x10_0000;

    fn call(heap: &mut HeapCheck, function: KnownFunction, args: [u64; 3], result: u64) {
        heap.enter(function, args).unwrap();
        heap.exit(result, None, SIZE);
    }

    fn heap() -> HeapCheck {
        let mut heap = HeapCheck::default();
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
        assert!(error.ends_with("0 bytes behind the block of 10 bytes at 0x1000"), "{error}");
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
        heap.host_may_write(0x500, &[0x1104]);
        assert!(!heap.load(0x1110, 16).unwrap());
        call(&mut heap, KnownFunction::Calloc, [4, 4, 0], 0x1200);
        assert!(!heap.load(0x1200, 16).unwrap());
        assert!(message(heap.store(0x10, 4, true)).contains("never written"));
    }

    #[test]
    fn frees_are_checked() {
        let mut heap = heap();
        call(&mut heap, KnownFunction::Free, [0, 0, 0], 0);
        call(&mut heap, KnownFunction::Free, [0x1000, 0, 0], 0);
        let error = message(heap.enter(KnownFunction::Free, [0x1000, 0, 0]));
        assert!(error.contains("double free of 0x1000"), "{error}");
        let error = message(heap.enter(KnownFunction::Free, [0x1024, 0, 0]));
        assert!(error.contains("4 bytes into the block of 16 bytes"), "{error}");
        assert!(heap.enter(KnownFunction::Realloc, [0x1000, 4, 0]).is_err());
        call(&mut heap, KnownFunction::Malloc, [4, 0, 0], 0x1000);
        call(&mut heap, KnownFunction::Free, [0x1000, 0, 0], 0);
    }

    #[test]
    fn allocators_can_say_what_they_like() {
        let mut heap = heap();
        for (len, at) in [(u64::MAX, 0x1000), (SIZE, 8), (0, 0x1000), (64, 0xff0), (SIZE - 1, 1)] {
            call(&mut heap, KnownFunction::Malloc, [len, 0, 0], at);
        }
        heap.exit(0, None, SIZE);
        heap.host_may_write(u64::MAX, &[u64::MAX]);
        let _ = heap.load(u64::MAX, 16);
        let _ = heap.copy(u64::MAX, 0x1000, u64::MAX);
        let _ = heap.copy(0x1000, 0x2000, u64::MAX);
        let _ = heap.store(SIZE - 1, u64::MAX, false);
        call(&mut heap, KnownFunction::PosixMemalign, [u64::MAX, 8, 8], 0);
    }
}
