//! A compact map from sorted text offsets to numbers, read in place.
//!
//! Entries are kept in blocks of [`BLOCK`], each entry as two differences from the one before: of the key, and
//! of the value in zigzag form, both as LEB128. An index of fixed width holds each block's
//! first entry in full and where its other entries begin, so that a look-up is a binary search and the decoding of
//! at most one block. Nothing is allocated: signal handlers look up traps this way.
//!
//! Layout, `u32` little-endian: the number of entries; for each block its first key, its first value and the
//! position of its other entries; then all other entries.

use crate::artifact::{binary_search_u32, read_u32};

/// The number of entries in a block.
const BLOCK: usize = 32;

/// Encodes `entries`, sorted by key.
pub(crate) fn encode(entries: impl ExactSizeIterator<Item = (u32, u32)>) -> Vec<u8> {
    let count = entries.len();
    let blocks = count.div_ceil(BLOCK);
    let (mut keys, mut values, mut positions) = (Vec::new(), Vec::new(), Vec::new());
    let mut body = Vec::with_capacity(count * 2);
    let mut previous = (0, 0);
    for (i, (key, value)) in entries.enumerate() {
        if i % BLOCK == 0 {
            keys.extend_from_slice(&key.to_le_bytes());
            values.extend_from_slice(&value.to_le_bytes());
            positions.extend_from_slice(&(body.len() as u32).to_le_bytes());
        } else {
            write_leb(&mut body, key - previous.0);
            write_leb(&mut body, zigzag(value.wrapping_sub(previous.1) as i32));
        }
        previous = (key, value);
    }
    let mut bytes = Vec::with_capacity(4 + blocks * 12 + body.len());
    bytes.extend_from_slice(&(count as u32).to_le_bytes());
    for part in [&keys, &values, &positions, &body] {
        bytes.extend_from_slice(part);
    }
    bytes
}

fn zigzag(value: i32) -> u32 {
    ((value << 1) ^ (value >> 31)) as u32
}

fn unzigzag(value: u32) -> i32 {
    (value >> 1) as i32 ^ -((value & 1) as i32)
}

fn write_leb(bytes: &mut Vec<u8>, mut value: u32) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

/// Reads a number from the front of `bytes`, or `None` at their end.
fn read_leb(bytes: &mut &[u8]) -> Option<u32> {
    let mut value = 0;
    for shift in (0..35).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u32::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// A view of an encoded map.
#[derive(Copy, Clone)]
pub(crate) struct SortedMap<'a> {
    count: usize,
    keys: &'a [u8],
    values: &'a [u8],
    positions: &'a [u8],
    body: &'a [u8],
}

impl<'a> SortedMap<'a> {
    /// Reads the index, or `None` when `bytes` are too short for the count.
    pub fn new(bytes: &'a [u8]) -> Option<Self> {
        let (count, rest) = bytes.split_first_chunk::<4>()?;
        let count = u32::from_le_bytes(*count) as usize;
        let size = count.div_ceil(BLOCK).checked_mul(4)?;
        let (keys, rest) = rest.split_at_checked(size)?;
        let (values, rest) = rest.split_at_checked(size)?;
        let (positions, body) = rest.split_at_checked(size)?;
        // Every other entry takes two bytes at least.
        let others = count - size / 4;
        (body.len() >= others.checked_mul(2)?).then_some(SortedMap {
            count,
            keys,
            values,
            positions,
            body,
        })
    }

    /// The last entry whose key is `key` or less.
    pub fn at_or_before(&self, key: u32) -> Option<(u32, u32)> {
        let block = match binary_search_u32(self.keys, key) {
            Ok(block) => block,
            Err(next) => next.checked_sub(1)?,
        };
        self.block(block).take_while(|entry| entry.0 <= key).last()
    }

    /// The value of exactly `key`.
    pub fn get(&self, key: u32) -> Option<u32> {
        let (found, value) = self.at_or_before(key)?;
        (found == key).then_some(value)
    }

    /// All entries in order.
    pub fn iter(self) -> impl Iterator<Item = (u32, u32)> + 'a {
        (0..self.keys.len() / 4).flat_map(move |block| self.block(block))
    }

    fn block(&self, block: usize) -> Block<'a> {
        let first = read_u32(self.keys, block).zip(read_u32(self.values, block));
        let position = read_u32(self.positions, block).unwrap_or(u32::MAX);
        Block {
            next: first,
            left: self.count.saturating_sub(block * BLOCK).min(BLOCK),
            body: self.body.get(position as usize..).unwrap_or(&[]),
        }
    }
}

/// The entries of one block.
struct Block<'a> {
    next: Option<(u32, u32)>,
    left: usize,
    body: &'a [u8],
}

impl Iterator for Block<'_> {
    type Item = (u32, u32);

    fn next(&mut self) -> Option<(u32, u32)> {
        self.left = self.left.checked_sub(1)?;
        let entry = self.next?;
        if self.left > 0 {
            let key = read_leb(&mut self.body);
            let value = read_leb(&mut self.body);
            self.next = key.zip(value).map(|(key, value)| {
                let value = unzigzag(value) as u32;
                (entry.0.wrapping_add(key), entry.1.wrapping_add(value))
            });
        }
        Some(entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Vec<(u32, u32)> {
        (0..200u32)
            .map(|i| (i * i * 7, if i % 5 == 0 { u32::MAX } else { 1000 - i }))
            .collect()
    }

    #[test]
    fn every_entry_is_found_in_every_block() {
        for count in [0, 1, 31, 32, 33, 64, 200] {
            let entries = &sample()[..count];
            let bytes = encode(entries.iter().copied());
            let map = SortedMap::new(&bytes).unwrap();
            assert_eq!(map.iter().collect::<Vec<_>>(), entries);
            for entry in entries {
                assert_eq!(map.get(entry.0), Some(entry.1));
                assert_eq!(map.at_or_before(entry.0 + 1), Some(*entry));
                assert_eq!(map.get(entry.0 + 1), None);
            }
        }
    }

    #[test]
    fn nothing_comes_before_the_first_entry() {
        let bytes = encode([(5, 1), (9, 2)].into_iter());
        let map = SortedMap::new(&bytes).unwrap();
        assert_eq!(map.at_or_before(4), None);
        assert_eq!(map.at_or_before(u32::MAX), Some((9, 2)));
    }

    #[test]
    fn damaged_bytes_give_wrong_answers_at_most() {
        let bytes = encode(sample().into_iter());
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0xff;
            for bytes in [&damaged[..], &bytes[..at]] {
                if let Some(map) = SortedMap::new(bytes) {
                    map.get(700);
                    assert!(map.iter().count() <= u32::MAX as usize);
                }
            }
        }
    }
}
