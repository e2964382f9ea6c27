//! The artifact's address map: from machine code back to offsets in the wasm binary.

use crate::artifact::{binary_search_u32, read_u32};

/// The wasm offset that stands for "no source position".
pub const NO_WASM_OFFSET: u32 = u32::MAX;

/// Encodes pairs of a text offset and a wasm offset, sorted by text offset. An entry holds from
/// its text offset up to the next entry's.
pub fn encode_address_map(entries: &[(u32, u32)]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(4 + entries.len() * 8);
    bytes.extend_from_slice(&(entries.len() as u32).to_le_bytes());
    for (text, _) in entries {
        bytes.extend_from_slice(&text.to_le_bytes());
    }
    for (_, wasm) in entries {
        bytes.extend_from_slice(&wasm.to_le_bytes());
    }
    bytes
}

/// A view of an artifact's address map section.
///
/// Layout: a count `n`, `n` sorted text offsets, `n` wasm offsets; all `u32`, little-endian.
#[derive(Copy, Clone)]
pub struct AddressMap<'a> {
    text: &'a [u8],
    wasm: &'a [u8],
}

impl<'a> AddressMap<'a> {
    /// Reads the section `bytes`, or `None` when its length does not fit its count.
    pub fn new(bytes: &'a [u8]) -> Option<Self> {
        let (count, rest) = bytes.split_first_chunk::<4>()?;
        let size = (u32::from_le_bytes(*count) as usize).checked_mul(4)?;
        let (text, wasm) = rest.split_at_checked(size)?;
        (wasm.len() == size).then_some(AddressMap { text, wasm })
    }

    /// The offset in the wasm binary of the instruction that the code at `text_offset` belongs to.
    pub fn lookup(&self, text_offset: u32) -> Option<u32> {
        let index = match binary_search_u32(self.text, text_offset) {
            Ok(index) => index,
            Err(0) => return None,
            Err(next) => next - 1,
        };
        read_u32(self.wasm, index).filter(|offset| *offset != NO_WASM_OFFSET)
    }

    /// All entries in order of their text offset.
    pub fn iter(&self) -> impl Iterator<Item = (u32, Option<u32>)> + use<'a> {
        let AddressMap { text, wasm } = *self;
        (0..text.len() / 4).filter_map(move |i| {
            let wasm = read_u32(wasm, i).filter(|offset| *offset != NO_WASM_OFFSET);
            Some((read_u32(text, i)?, wasm))
        })
    }
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
