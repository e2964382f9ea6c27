//! The artifact's function table: types, slots and code of all functions, read in place.

use super::{binary_search_u32, read_u32};
use crate::{
    DefinedFuncIndex, EntityRef, FuncIndex, FuncRefIndex, FunctionFacts, ModuleTypeIndex,
    PrimaryMap,
};

const NONE: u32 = u32::MAX;

/// A range of the text section.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct FunctionLoc {
    /// The offset of the first byte.
    pub start: u32,
    /// The number of bytes.
    pub length: u32,
}

/// The trampolines that exist once for each signature.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum TrampolineKind {
    /// From the host into wasm.
    ArrayToWasm,
    /// From wasm to the host.
    WasmToArray,
}

/// Writes the contents of the function table section.
#[derive(Default)]
pub struct FunctionTableBuilder {
    /// The code of each defined function.
    pub code: PrimaryMap<DefinedFuncIndex, FunctionLoc>,
    /// Trampolines from the host into wasm, sorted by signature.
    pub array_to_wasm: Vec<(ModuleTypeIndex, FunctionLoc)>,
    /// Trampolines from wasm to the host, sorted by signature.
    pub wasm_to_array: Vec<(ModuleTypeIndex, FunctionLoc)>,
}

impl FunctionTableBuilder {
    /// The section's bytes.
    pub fn finish(&self, functions: &PrimaryMap<FuncIndex, FunctionFacts>) -> Vec<u8> {
        let mut words = vec![
            functions.len() as u32,
            self.code.len() as u32,
            self.array_to_wasm.len() as u32,
            self.wasm_to_array.len() as u32,
        ];
        words.extend(functions.values().map(|f| f.signature.index() as u32));
        words.extend(
            functions
                .values()
                .map(|f| f.func_ref.map_or(NONE, |slot| slot.index() as u32)),
        );
        words.extend(self.code.values().map(|loc| loc.start));
        words.extend(self.code.values().map(|loc| loc.length));
        for trampolines in [&self.array_to_wasm, &self.wasm_to_array] {
            words.extend(trampolines.iter().map(|(ty, _)| ty.index() as u32));
            words.extend(trampolines.iter().map(|(_, loc)| loc.start));
            words.extend(trampolines.iter().map(|(_, loc)| loc.length));
        }
        words.into_iter().flat_map(u32::to_le_bytes).collect()
    }
}

#[derive(Copy, Clone)]
struct Trampolines<'a> {
    types: &'a [u8],
    starts: &'a [u8],
    lengths: &'a [u8],
}

/// A view of an artifact's function table section.
///
/// Layout, all `u32`, little-endian: the numbers of functions, defined functions, entry
/// trampolines and exit trampolines; the type of each function; the slot of each function
/// (`u32::MAX` for none); start, then length of each defined function; and for both kinds of
/// trampolines sorted types, starts and lengths.
#[derive(Copy, Clone)]
pub struct FunctionTable<'a> {
    types: &'a [u8],
    slots: &'a [u8],
    starts: &'a [u8],
    lengths: &'a [u8],
    array_to_wasm: Trampolines<'a>,
    wasm_to_array: Trampolines<'a>,
}

impl<'a> FunctionTable<'a> {
    /// Reads the section `bytes`, or `None` when its length does not fit its counts.
    pub fn new(bytes: &'a [u8]) -> Option<Self> {
        let (header, mut rest) = bytes.split_at_checked(16)?;
        let mut take = |count: usize| {
            let (head, tail) = rest.split_at_checked(count.checked_mul(4)?)?;
            rest = tail;
            Some(head)
        };
        let count = |i| read_u32(header, i).map(|n| n as usize);
        let (functions, defined) = (count(0)?, count(1)?);
        let (entries, exits) = (count(2)?, count(3)?);
        let table = FunctionTable {
            types: take(functions)?,
            slots: take(functions)?,
            starts: take(defined)?,
            lengths: take(defined)?,
            array_to_wasm: Trampolines {
                types: take(entries)?,
                starts: take(entries)?,
                lengths: take(entries)?,
            },
            wasm_to_array: Trampolines {
                types: take(exits)?,
                starts: take(exits)?,
                lengths: take(exits)?,
            },
        };
        (rest.is_empty() && defined <= functions).then_some(table)
    }

    /// The number of functions, imported and defined.
    pub fn num_functions(&self) -> usize {
        self.types.len() / 4
    }

    /// The number of defined functions.
    pub fn num_defined(&self) -> usize {
        self.starts.len() / 4
    }

    /// The type of a function.
    ///
    /// # Panics
    ///
    /// Panics when there is no such function.
    pub fn signature(&self, index: FuncIndex) -> ModuleTypeIndex {
        let ty = read_u32(self.types, index.index()).expect("the module has such a function");
        ModuleTypeIndex::from_u32(ty)
    }

    /// The slot of the function's `VMFuncRef`, if it is defined by the module and escapes.
    pub fn func_ref(&self, index: FuncIndex) -> Option<FuncRefIndex> {
        let slot = read_u32(self.slots, index.index())?;
        (slot != NONE).then(|| FuncRefIndex::from_u32(slot))
    }

    /// All defined functions that have a slot for a `VMFuncRef`.
    pub fn escaped(&self) -> impl Iterator<Item = (FuncIndex, FuncRefIndex)> + 'a {
        let (slots, _) = self.slots.as_chunks::<4>();
        slots.iter().enumerate().filter_map(|(func, slot)| {
            let slot = u32::from_le_bytes(*slot);
            (slot != NONE).then(|| (FuncIndex::new(func), FuncRefIndex::from_u32(slot)))
        })
    }

    /// The code of a defined function.
    ///
    /// # Panics
    ///
    /// Panics when there is no such function.
    pub fn code(&self, index: DefinedFuncIndex) -> FunctionLoc {
        let read = |words| read_u32(words, index.index()).expect("the module has such a function");
        FunctionLoc {
            start: read(self.starts),
            length: read(self.lengths),
        }
    }

    /// The trampoline of a kind for a signature.
    pub fn trampoline(&self, kind: TrampolineKind, ty: ModuleTypeIndex) -> Option<FunctionLoc> {
        let list = match kind {
            TrampolineKind::ArrayToWasm => self.array_to_wasm,
            TrampolineKind::WasmToArray => self.wasm_to_array,
        };
        let index = binary_search_u32(list.types, ty.index() as u32).ok()?;
        Some(FunctionLoc {
            start: read_u32(list.starts, index)?,
            length: read_u32(list.lengths, index)?,
        })
    }

    /// All trampolines of a kind.
    pub fn trampolines(
        &self,
        kind: TrampolineKind,
    ) -> impl Iterator<Item = (ModuleTypeIndex, FunctionLoc)> + use<'a> {
        let list = match kind {
            TrampolineKind::ArrayToWasm => self.array_to_wasm,
            TrampolineKind::WasmToArray => self.wasm_to_array,
        };
        (0..list.types.len() / 4).filter_map(move |i| {
            let ty = ModuleTypeIndex::from_u32(read_u32(list.types, i)?);
            let (start, length) = (read_u32(list.starts, i)?, read_u32(list.lengths, i)?);
            Some((ty, FunctionLoc { start, length }))
        })
    }

    /// The defined function whose code contains `text_offset`, and where that code is.
    pub fn find(&self, text_offset: u32) -> Option<(DefinedFuncIndex, FunctionLoc)> {
        let index = match binary_search_u32(self.starts, text_offset) {
            Ok(index) => index,
            Err(next) => next.checked_sub(1)?,
        };
        let index = DefinedFuncIndex::new(index);
        let loc = self.code(index);
        (text_offset - loc.start < loc.length).then_some((index, loc))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Vec<u8> {
        let mut functions = PrimaryMap::new();
        for (signature, func_ref) in [(2, None), (0, Some(0)), (1, None)] {
            functions.push(FunctionFacts {
                signature: ModuleTypeIndex::from_u32(signature),
                func_ref: func_ref.map(FuncRefIndex::from_u32),
            });
        }
        let mut builder = FunctionTableBuilder::default();
        builder.code.push(FunctionLoc {
            start: 0,
            length: 10,
        });
        builder.code.push(FunctionLoc {
            start: 16,
            length: 4,
        });
        let trampoline = FunctionLoc {
            start: 32,
            length: 8,
        };
        builder
            .array_to_wasm
            .push((ModuleTypeIndex::from_u32(0), trampoline));
        builder.finish(&functions)
    }

    #[test]
    fn table_reads_back() {
        let bytes = sample();
        let table = FunctionTable::new(&bytes).unwrap();
        assert_eq!((table.num_functions(), table.num_defined()), (3, 2));
        assert_eq!(table.signature(FuncIndex::new(0)), ModuleTypeIndex::new(2));
        assert_eq!(table.func_ref(FuncIndex::new(0)), None);
        assert_eq!(
            table.func_ref(FuncIndex::new(1)),
            Some(FuncRefIndex::new(0))
        );
        assert_eq!(table.escaped().count(), 1);
        let entry = table.trampoline(TrampolineKind::ArrayToWasm, ModuleTypeIndex::new(0));
        assert_eq!(
            entry,
            Some(FunctionLoc {
                start: 32,
                length: 8
            })
        );
        let exit = table.trampoline(TrampolineKind::WasmToArray, ModuleTypeIndex::new(0));
        assert_eq!(exit, None);
        assert_eq!(table.find(9).unwrap().0, DefinedFuncIndex::new(0));
        assert_eq!(table.find(12), None);
        assert_eq!(table.find(16).unwrap().0, DefinedFuncIndex::new(1));
        assert_eq!(table.find(20), None);
    }

    #[test]
    fn truncated_table_is_refused() {
        let bytes = sample();
        for len in 0..bytes.len() {
            assert!(FunctionTable::new(&bytes[..len]).is_none(), "length {len}");
        }
    }
}
