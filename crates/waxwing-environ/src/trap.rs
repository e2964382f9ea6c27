//! Trap codes, and the table of an artifact that maps machine code to them.

use crate::sorted_map::{self, SortedMap};
use core::fmt;

macro_rules! traps {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $message:literal;)*) => {
        /// Why WebAssembly execution stopped: a trap of the specification, or one of the engine's
        /// own for a limit that was reached.
        #[non_exhaustive]
        #[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Trap {
            $($(#[$doc])* $name = $code,)*
        }

        impl Trap {
            /// The trap with the code `code`, if there is one.
            pub fn from_u8(code: u8) -> Option<Trap> {
                match code {
                    $($code => Some(Trap::$name),)*
                    _ => None,
                }
            }

            fn message(self) -> &'static str {
                match self {
                    $(Trap::$name => $message,)*
                }
            }
        }
    };
}

traps! {
    /// The stack space that WebAssembly may use is exhausted.
    StackOverflow = 1, "call stack exhausted";
    /// A linear memory was accessed outside its bounds.
    MemoryOutOfBounds = 2, "out of bounds memory access";
    /// An atomic access was not naturally aligned.
    HeapMisaligned = 3, "unaligned atomic";
    /// A table was accessed outside its bounds.
    TableOutOfBounds = 4, "undefined element: out of bounds table access";
    /// An indirect call met a null table element.
    IndirectCallToNull = 5, "uninitialized element";
    /// An indirect call met a function of another type.
    BadSignature = 6, "indirect call type mismatch";
    /// An integer operation overflowed.
    IntegerOverflow = 7, "integer overflow";
    /// An integer was divided by zero.
    IntegerDivisionByZero = 8, "integer divide by zero";
    /// A float that is NaN was converted to an integer.
    BadConversionToInteger = 9, "invalid conversion to integer";
    /// An `unreachable` instruction was executed.
    UnreachableCodeReached = 10, "wasm `unreachable` instruction executed";
    /// Execution was interrupted by the epoch deadline.
    Interrupt = 11, "interrupt";
    /// A component's adapter always traps.
    AlwaysTrapAdapter = 12, "degenerate component adapter called";
    /// Execution ran out of fuel.
    OutOfFuel = 13, "all fuel consumed by WebAssembly";
    /// An atomic wait was executed on a memory that is not shared.
    AtomicWaitNonSharedMemory = 14, "atomic wait on non-shared memory";
    /// A null reference was dereferenced.
    NullReference = 15, "null reference";
    /// An array was accessed outside its bounds.
    ArrayOutOfBounds = 16, "out of bounds array access";
    /// An allocation was too large to succeed.
    AllocationTooLarge = 17, "allocation size too large";
    /// A reference was cast to a type it does not have.
    CastFailure = 18, "cast failure";
    /// A component was entered while it must not be.
    CannotEnterComponent = 19, "cannot enter component instance";
}

impl fmt::Display for Trap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "wasm trap: {}", self.message())
    }
}

impl core::error::Error for Trap {}

/// Encodes `traps`, pairs of an offset into the text section and a trap sorted by offset, as the
/// contents of the artifact's trap section.
pub fn encode_traps(traps: &[(u32, Trap)]) -> Vec<u8> {
    sorted_map::encode(traps.iter().map(|(offset, trap)| (*offset, *trap as u32)))
}

/// A view of an artifact's trap section: which instruction traps, and why.
///
/// A map from text offsets to trap codes. Look-ups neither allocate nor panic.
#[derive(Copy, Clone)]
pub struct TrapTable<'a>(SortedMap<'a>);

impl<'a> TrapTable<'a> {
    /// Reads the section `bytes`, or `None` when its length does not fit its count.
    pub fn new(bytes: &'a [u8]) -> Option<Self> {
        SortedMap::new(bytes).map(TrapTable)
    }

    /// The trap of the instruction at `offset` in the text section.
    pub fn lookup(&self, offset: u32) -> Option<Trap> {
        self.0.get(offset).and_then(decode)
    }

    /// All entries in order of their offset.
    pub fn iter(&self) -> impl Iterator<Item = (u32, Trap)> + use<'a> {
        let entries = self.0.iter();
        entries.filter_map(|(offset, code)| Some((offset, decode(code)?)))
    }
}

fn decode(code: u32) -> Option<Trap> {
    u8::try_from(code).ok().and_then(Trap::from_u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_finds_what_was_encoded() {
        let traps = [
            (4, Trap::MemoryOutOfBounds),
            (9, Trap::UnreachableCodeReached),
        ];
        let bytes = encode_traps(&traps);
        let table = TrapTable::new(&bytes).unwrap();
        assert_eq!(table.lookup(4), Some(Trap::MemoryOutOfBounds));
        assert_eq!(table.lookup(9), Some(Trap::UnreachableCodeReached));
        assert_eq!(table.lookup(5), None);
        assert_eq!(table.iter().collect::<Vec<_>>(), traps);
    }

    #[test]
    fn truncated_table_is_refused() {
        let bytes = encode_traps(&[(4, Trap::BadSignature)]);
        for len in 0..bytes.len() {
            assert!(TrapTable::new(&bytes[..len]).is_none(), "length {len}");
        }
    }
}
