//! Facts of calls in machine code, by the address that the callee returns to: where live GC references are in
//! the frame, and which exceptions it handles.
//!
//! Both are tables of one form, read in place. Layout, `u32` little-endian: the number of entries; the text
//! offset of each, sorted; for each the position, in words, of its record; then the records, each
//! distinct one once.
//!
//! A stack map's record: the frame's size (from the stack pointer to the frame pointer), the number of references, the offset of each
//! from the stack pointer. A handler table's record: the frame's size, the offset from the stack pointer of
//! the function's `vmctx`, the number of handlers, and for each the tag (`CATCH_ALL` for any) and the text
//! offset of its code.

use crate::TagIndex;
use crate::artifact::{binary_search_u32, read_u32};
use std::collections::HashMap;

/// The tag of a handler of all exceptions.
const CATCH_ALL: u32 = u32::MAX;

/// Where a call's frame holds GC references that are alive across the call.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StackMap {
    /// The offset in the code that the callee returns to.
    pub return_offset: u32,
    /// The bytes from the stack pointer to the frame pointer.
    pub frame_size: u32,
    /// The offset of each reference, a `u32`, from the stack pointer.
    pub slots: Vec<u32>,
}

/// The exceptions that a call's function handles.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HandlerTable {
    /// The offset in the code that the callee returns to.
    pub return_offset: u32,
    /// The bytes from the stack pointer to the frame pointer.
    pub frame_size: u32,
    /// The offset from the stack pointer of the function's `vmctx`, in whose terms tags are meant.
    pub vmctx_slot: u32,
    /// The handlers, of which the first that fits is taken: the tag, or `None` for any, and the offset of
    /// its code.
    pub handlers: Vec<(Option<TagIndex>, u32)>,
}

/// Encodes stack maps, sorted by return offset, whose offsets are in the text section.
pub fn encode_stack_maps<'a>(maps: impl Iterator<Item = (u32, &'a StackMap)>) -> Vec<u8> {
    encode(maps.map(|(start, map)| {
        let mut record = vec![map.frame_size, map.slots.len() as u32];
        record.extend_from_slice(&map.slots);
        (start + map.return_offset, record)
    }))
}

/// Encodes handler tables, sorted by return offset; each comes with the text offset of its function.
pub fn encode_handlers<'a>(tables: impl Iterator<Item = (u32, &'a HandlerTable)>) -> Vec<u8> {
    encode(tables.map(|(start, table)| {
        let count = table.handlers.len() as u32;
        let mut record = vec![table.frame_size, table.vmctx_slot, count];
        for (tag, code) in &table.handlers {
            record.push(tag.map_or(CATCH_ALL, |tag| tag.as_u32()));
            record.push(start + code);
        }
        (start + table.return_offset, record)
    }))
}

fn encode(entries: impl Iterator<Item = (u32, Vec<u32>)>) -> Vec<u8> {
    let (mut keys, mut positions, mut records) = (Vec::new(), Vec::new(), Vec::<u32>::new());
    let mut known: HashMap<Vec<u32>, u32> = HashMap::new();
    for (key, record) in entries {
        let position = *known.entry(record).or_insert_with_key(|record| {
            let position = records.len() as u32;
            records.extend_from_slice(record);
            position
        });
        keys.push(key);
        positions.push(position);
    }
    let count = keys.len() as u32;
    let words = [count]
        .into_iter()
        .chain(keys)
        .chain(positions)
        .chain(records);
    words.flat_map(u32::to_le_bytes).collect()
}

#[derive(Copy, Clone)]
struct Table<'a> {
    keys: &'a [u8],
    positions: &'a [u8],
    records: &'a [u8],
}

impl<'a> Table<'a> {
    fn new(bytes: &'a [u8]) -> Option<Self> {
        let (count, rest) = bytes.split_first_chunk::<4>()?;
        let size = (u32::from_le_bytes(*count) as usize).checked_mul(4)?;
        let (keys, rest) = rest.split_at_checked(size)?;
        let (positions, records) = rest.split_at_checked(size)?;
        Some(Table {
            keys,
            positions,
            records,
        })
    }

    /// The record for `key`, and all that follows it.
    fn get(&self, key: u32) -> Option<&'a [u8]> {
        let index = binary_search_u32(self.keys, key).ok()?;
        let position = read_u32(self.positions, index)? as usize;
        self.records.get(position.checked_mul(4)?..)
    }
}

/// `count` groups of `size` words of `bytes`.
fn groups(bytes: &[u8], count: u32, size: usize) -> Option<&[u8]> {
    bytes.get(..(count as usize).checked_mul(size * 4)?)
}

/// A view of an artifact's stack maps.
#[derive(Copy, Clone)]
pub struct StackMaps<'a>(Table<'a>);

/// One call's entry in [`StackMaps`].
#[derive(Copy, Clone)]
pub struct FrameReferences<'a> {
    /// The bytes from the stack pointer to the frame pointer.
    pub frame_size: u32,
    slots: &'a [u8],
}

impl FrameReferences<'_> {
    /// The offset of each reference from the stack pointer.
    pub fn slots(&self) -> impl Iterator<Item = u32> {
        let (words, _) = self.slots.as_chunks::<4>();
        words.iter().map(|word| u32::from_le_bytes(*word))
    }
}

impl<'a> StackMaps<'a> {
    /// Reads the section `bytes`, or `None` when its length does not fit its count.
    pub fn new(bytes: &'a [u8]) -> Option<Self> {
        Table::new(bytes).map(StackMaps)
    }

    /// The frame of the call that returns to `offset` in the text section; `None` if no reference is
    /// alive across it.
    pub fn get(&self, offset: u32) -> Option<FrameReferences<'a>> {
        let record = self.0.get(offset)?;
        let (frame_size, count) = (read_u32(record, 0)?, read_u32(record, 1)?);
        let slots = groups(&record[8..], count, 1)?;
        Some(FrameReferences { frame_size, slots })
    }
}

/// A view of an artifact's handler tables.
#[derive(Copy, Clone)]
pub struct Handlers<'a>(Table<'a>);

/// One call's entry in [`Handlers`].
#[derive(Copy, Clone)]
pub struct FrameHandlers<'a> {
    /// The bytes from the stack pointer to the frame pointer.
    pub frame_size: u32,
    /// The offset from the stack pointer of the function's `vmctx`.
    pub vmctx_slot: u32,
    handlers: &'a [u8],
}

impl FrameHandlers<'_> {
    /// The handlers in order: the tag, or `None` for any, and the text offset of its code.
    pub fn iter(&self) -> impl Iterator<Item = (Option<TagIndex>, u32)> {
        let (words, _) = self.handlers.as_chunks::<4>();
        let word = |word: &[u8; 4]| u32::from_le_bytes(*word);
        words.chunks_exact(2).map(move |pair| {
            let tag = Some(word(&pair[0])).filter(|tag| *tag != CATCH_ALL);
            (tag.map(TagIndex::from_u32), word(&pair[1]))
        })
    }
}

impl<'a> Handlers<'a> {
    /// Reads the section `bytes`, or `None` when its length does not fit its count.
    pub fn new(bytes: &'a [u8]) -> Option<Self> {
        Table::new(bytes).map(Handlers)
    }

    /// The handlers around the call that returns to `offset` in the text section, if there are any.
    pub fn get(&self, offset: u32) -> Option<FrameHandlers<'a>> {
        let record = self.0.get(offset)?;
        let (frame_size, vmctx_slot) = (read_u32(record, 0)?, read_u32(record, 1)?);
        let handlers = groups(&record[12..], read_u32(record, 2)?, 2)?;
        Some(FrameHandlers {
            frame_size,
            vmctx_slot,
            handlers,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_find_their_frames() {
        let map = |return_offset, slots: &[u32]| StackMap {
            return_offset,
            frame_size: 48,
            slots: slots.to_vec(),
        };
        let maps = [map(4, &[0, 8]), map(9, &[]), map(12, &[0, 8])];
        let bytes = encode_stack_maps(maps.iter().map(|map| (100, map)));
        let table = StackMaps::new(&bytes).unwrap();
        for map in &maps {
            let found = table.get(100 + map.return_offset).unwrap();
            assert_eq!(found.frame_size, 48);
            assert_eq!(found.slots().collect::<Vec<_>>(), map.slots);
        }
        assert!(table.get(4).is_none());
        assert!(StackMaps::new(&bytes[..12]).is_none());
    }

    #[test]
    fn calls_find_their_handlers() {
        let tag = TagIndex::from_u32(3);
        let table = HandlerTable {
            return_offset: 20,
            frame_size: 64,
            vmctx_slot: 16,
            handlers: vec![(Some(tag), 40), (None, 48)],
        };
        let bytes = encode_handlers([(1000, &table)].into_iter());
        let found = Handlers::new(&bytes).unwrap().get(1020).unwrap();
        assert_eq!((found.frame_size, found.vmctx_slot), (64, 16));
        let handlers: Vec<_> = found.iter().collect();
        assert_eq!(handlers, [(Some(tag), 1040), (None, 1048)]);
        let damaged = &bytes[..bytes.len() - 4];
        assert!(Handlers::new(damaged).unwrap().get(1020).is_none());
    }
}
