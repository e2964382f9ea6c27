//! The artifact's address map: from machine code back to offsets in the wasm binary.

use crate::sorted_map::{self, SortedMap};

/// The wasm offset that stands for "no source position".
pub const NO_WASM_OFFSET: u32 = u32::MAX;

/// Encodes pairs of a text offset and a wasm offset, sorted by text offset. An entry holds from
/// its text offset up to the next entry's.
pub fn encode_address_map(entries: &[(u32, u32)]) -> Vec<u8> {
    sorted_map::encode(entries.iter().copied())
}

/// A view of an artifact's address map section: a map from text offsets to wasm offsets.
#[derive(Copy, Clone)]
pub struct AddressMap<'a>(SortedMap<'a>);

impl<'a> AddressMap<'a> {
    /// Reads the section `bytes`, or `None` when its length does not fit its count.
    pub fn new(bytes: &'a [u8]) -> Option<Self> {
        SortedMap::new(bytes).map(AddressMap)
    }

    /// The offset in the wasm binary of the instruction that the code at `text_offset` belongs to.
    pub fn lookup(&self, text_offset: u32) -> Option<u32> {
        let (_, wasm) = self.0.at_or_before(text_offset)?;
        decode(wasm)
    }

    /// All entries in order of their text offset.
    pub fn iter(&self) -> impl Iterator<Item = (u32, Option<u32>)> + use<'a> {
        self.0.iter().map(|(text, wasm)| (text, decode(wasm)))
    }
}

fn decode(wasm: u32) -> Option<u32> {
    (wasm != NO_WASM_OFFSET).then_some(wasm)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lookup_takes_the_entry_at_or_before() {
        let bytes = encode_address_map(&[(0, 10), (8, NO_WASM_OFFSET), (16, 30)]);
        let map = AddressMap::new(&bytes).unwrap();
        assert_eq!(map.lookup(0), Some(10));
        assert_eq!(map.lookup(7), Some(10));
        assert_eq!(map.lookup(8), None);
        assert_eq!(map.lookup(100), Some(30));
        assert!(AddressMap::new(&bytes[..bytes.len() - 1]).is_none());
    }
}
