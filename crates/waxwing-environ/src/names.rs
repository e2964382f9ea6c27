//! The artifact's function names, from the module's name section.

use crate::artifact::{binary_search_u32, read_u32};
use crate::{EntityRef, FuncIndex};

/// Encodes `names`, sorted by function index, as the contents of the artifact's name section.
pub fn encode_function_names(names: &[(FuncIndex, &str)]) -> Vec<u8> {
    let count = names.len();
    let text: usize = names.iter().map(|(_, name)| name.len()).sum();
    let mut bytes = Vec::with_capacity(4 + count * 12 + text);
    bytes.extend_from_slice(&(count as u32).to_le_bytes());
    for (index, _) in names {
        bytes.extend_from_slice(&(index.index() as u32).to_le_bytes());
    }
    let mut end = 0u32;
    for (_, name) in names {
        end += name.len() as u32;
        bytes.extend_from_slice(&end.to_le_bytes());
    }
    for (_, name) in names {
        bytes.extend_from_slice(name.as_bytes());
    }
    bytes
}

/// A view of an artifact's name section.
///
/// Layout: a count `n`, `n` sorted function indices, `n` ends of names relative to the start of
/// the text (all `u32`, little-endian), then the text in UTF-8.
#[derive(Copy, Clone)]
pub struct FunctionNames<'a> {
    indices: &'a [u8],
    ends: &'a [u8],
    text: &'a [u8],
}

impl<'a> FunctionNames<'a> {
    /// Reads the section `bytes`, or `None` when its length does not fit its count.
    pub fn new(bytes: &'a [u8]) -> Option<Self> {
        let (count, rest) = bytes.split_first_chunk::<4>()?;
        let size = (u32::from_le_bytes(*count) as usize).checked_mul(4)?;
        let (indices, rest) = rest.split_at_checked(size)?;
        let (ends, text) = rest.split_at_checked(size)?;
        Some(FunctionNames {
            indices,
            ends,
            text,
        })
    }

    /// The name of the function `index`.
    pub fn get(&self, index: FuncIndex) -> Option<&'a str> {
        let i = binary_search_u32(self.indices, index.index() as u32).ok()?;
        let start = match i.checked_sub(1) {
            Some(previous) => read_u32(self.ends, previous)?,
            None => 0,
        };
        let end = read_u32(self.ends, i)?;
        let name = self.text.get(start as usize..end as usize)?;
        core::str::from_utf8(name).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_by_index() {
        let bytes = encode_function_names(&[(FuncIndex::new(1), "one"), (FuncIndex::new(7), "")]);
        let names = FunctionNames::new(&bytes).unwrap();
        assert_eq!(names.get(FuncIndex::new(1)), Some("one"));
        assert_eq!(names.get(FuncIndex::new(7)), Some(""));
        assert_eq!(names.get(FuncIndex::new(2)), None);
    }
}
