//! Which code is that of functions that were inlined in others.

use crate::DefinedFuncIndex;
use crate::artifact::read_u32;
use crate::sorted_map::{self, SortedMap};

/// A function that was inlined in a place of another.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct InlinedFunction {
    /// The function.
    pub func: DefinedFuncIndex,
    /// Where its body is in the wasm binary.
    pub start: u32,
    /// Where the call is in the wasm binary.
    pub call: u32,
    /// The function that the call is in, if that is inlined too: its place in the list. It comes before this one.
    pub caller: Option<u32>,
}

/// The number of words of an [`InlinedFunction`].
const WORDS: usize = 4;

/// Stands for no function.
const NONE: u32 = u32::MAX;

/// Encodes `functions`, and which of them code belongs to: pairs of text offset and place in the list, or `None` for code of no inlined
/// function, sorted by offset. A pair holds up to the next.
pub fn encode_inlined(functions: &[InlinedFunction], code: &[(u32, Option<u32>)]) -> Vec<u8> {
    let mut bytes = (functions.len() as u32).to_le_bytes().to_vec();
    for function in functions {
        let caller = function.caller.unwrap_or(NONE);
        for word in [
            function.func.as_u32(),
            function.start,
            function.call,
            caller,
        ] {
            bytes.extend_from_slice(&word.to_le_bytes());
        }
    }
    let map = code
        .iter()
        .map(|(offset, place)| (*offset, place.unwrap_or(NONE)));
    bytes.extend(sorted_map::encode(map));
    bytes
}

/// A view of an artifact's section of inlined functions.
#[derive(Copy, Clone)]
pub struct InlinedFunctions<'a> {
    functions: &'a [u8],
    map: SortedMap<'a>,
}

impl<'a> InlinedFunctions<'a> {
    /// Reads the section `bytes`, or `None` when its length does not fit its counts.
    pub fn new(bytes: &'a [u8]) -> Option<Self> {
        let (count, rest) = bytes.split_first_chunk::<4>()?;
        let size = (u32::from_le_bytes(*count) as usize).checked_mul(WORDS * 4)?;
        let (functions, map) = rest.split_at_checked(size)?;
        let map = SortedMap::new(map)?;
        Some(InlinedFunctions { functions, map })
    }

    /// The inlined functions that the code at `text_offset` belongs to, the innermost first.
    pub fn at(self, text_offset: u32) -> impl Iterator<Item = InlinedFunction> + use<'a> {
        let mut next = self.map.at_or_before(text_offset).map(|(_, place)| place);
        core::iter::from_fn(move || {
            let place = next?;
            let function = self.get(place)?;
            // Whatever the bytes are, this ends.
            next = function.caller.filter(|caller| *caller < place);
            Some(function)
        })
    }

    fn get(&self, place: u32) -> Option<InlinedFunction> {
        let word = |i: usize| {
            read_u32(
                self.functions,
                (place as usize).checked_mul(WORDS)?.checked_add(i)?,
            )
        };
        let caller = word(3)?;
        Some(InlinedFunction {
            func: DefinedFuncIndex::from_u32(word(0)?),
            start: word(1)?,
            call: word(2)?,
            caller: (caller != NONE).then_some(caller),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Vec<u8> {
        let function = |func, caller| InlinedFunction {
            func: DefinedFuncIndex::from_u32(func),
            start: 10 * func,
            call: 10 * func + 1,
            caller,
        };
        let functions = [function(1, None), function(2, Some(0)), function(3, None)];
        encode_inlined(
            &functions,
            &[(0, None), (4, Some(1)), (8, Some(2)), (12, None)],
        )
    }

    #[test]
    fn callers_follow_the_innermost() {
        let bytes = sample();
        let inlined = InlinedFunctions::new(&bytes).unwrap();
        let at = |offset| {
            inlined
                .at(offset)
                .map(|found| found.func.as_u32())
                .collect::<Vec<_>>()
        };
        assert_eq!(at(3), []);
        assert_eq!(at(4), [2, 1]);
        assert_eq!(at(11), [3]);
        assert_eq!(at(12), []);
    }

    #[test]
    fn damaged_bytes_give_wrong_answers_at_most() {
        let bytes = sample();
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0xff;
            for bytes in [&damaged[..], &bytes[..at]] {
                if let Some(inlined) = InlinedFunctions::new(bytes) {
                    assert!(inlined.at(5).count() <= 3);
                }
            }
        }
    }
}
