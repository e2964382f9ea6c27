//! From places in the wasm binary to places in the text, and how the vmctx leads to what WebAssembly sees.
//!
//! Places in the binary are counted from the start of the code section's contents, as DWARF does.

use std::cell::Cell;
use std::ops::Range;
use waxwing_environ::address_map::NO_WASM_OFFSET;
use waxwing_environ::compile::{CompiledFunction, FrameVariables, ModuleTranslation};
use waxwing_environ::{
    EntityRef, GlobalIndex, IndexType, MemoryIndex, PtrSize, VMOffsets, WasmValType,
};

/// The layout of records where there is machine code: pointers have 64 bits.
const PTR: PtrSize = PtrSize(8);

/// How many steps the ranges of a module may take. Honest modules need a few for each instruction; in others, many entries may
/// share long lists.
const BUDGET: u64 = 1 << 32;

/// A function of the module.
pub(super) struct Function<'a> {
    /// Where its body is in the binary.
    pub(super) wasm: Range<u64>,
    /// Where its code is in the text.
    pub(super) code: Range<u64>,
    /// Pairs of a place in the text and the place in the binary that the code from there on belongs to, in the order of the text.
    pub(super) map: Vec<(u64, u64)>,
    /// Where its frame keeps variables.
    pub(super) variables: Option<&'a FrameVariables>,
}

impl Function<'_> {
    /// Where its variables can be looked up.
    pub(super) fn valid(&self) -> Range<u64> {
        let from = self.variables.map_or(u64::MAX, |v| v.valid_from.into());
        let from = self.code.start.saturating_add(from).min(self.code.end);
        from..self.code.end
    }

    /// Adds the places in the text that belong to `wasm`.
    fn push_ranges(&self, wasm: &Range<u64>, ranges: &mut Vec<Range<u64>>) {
        if wasm.start <= self.wasm.start && self.wasm.end <= wasm.end {
            ranges.push(self.code.clone());
            return;
        }
        for (i, (start, at)) in self.map.iter().enumerate() {
            if !wasm.contains(at) {
                continue;
            }
            let end = self.map.get(i + 1).map_or(self.code.end, |(next, _)| *next);
            match ranges.last_mut() {
                Some(last) if last.end == *start => last.end = end,
                _ if *start < end => ranges.push(*start..end),
                _ => {}
            }
        }
    }
}

/// How the vmctx leads to something: pointers to load one after the other, at these offsets.
pub(super) type Path = Vec<u32>;

/// All functions of the module, and the layout of its contexts.
pub(super) struct Places<'a> {
    translation: &'a ModuleTranslation<'a>,
    /// In the order of the binary.
    pub(super) functions: Vec<Function<'a>>,
    offsets: VMOffsets,
    /// What is left of [`BUDGET`].
    budget: Cell<u64>,
}

impl<'a> Places<'a> {
    pub(super) fn new(
        translation: &'a ModuleTranslation<'_>,
        functions: &[(u64, &'a CompiledFunction)],
    ) -> Self {
        let origin = translation.module.code_section_offset;
        let function = |(start, function): &(u64, &'a CompiledFunction)| {
            let body = function.body.as_ref()?;
            let wasm = body.start.checked_sub(origin)?..body.end.checked_sub(origin)?;
            let mut last = wasm.start;
            let map = function.address_map.iter().map(|(code, at)| {
                // Code that belongs to no operator was made for the one before.
                if *at != NO_WASM_OFFSET {
                    last = u64::from(*at).saturating_sub(origin);
                }
                (start + u64::from(*code), last)
            });
            Some(Function {
                map: map.collect(),
                wasm,
                code: *start..start + function.code.len() as u64,
                variables: function.variables.as_ref(),
            })
        };
        let mut functions: Vec<_> = functions.iter().filter_map(function).collect();
        functions.sort_by_key(|function| function.wasm.start);
        Places {
            translation,
            functions,
            offsets: VMOffsets::new(PTR, &translation.module),
            budget: Cell::new(BUDGET),
        }
    }

    /// Whether there is time for so many steps more, which are then gone.
    pub(super) fn spend(&self, steps: usize) -> bool {
        let rest = self.budget.get().checked_sub(steps as u64);
        self.budget.set(rest.unwrap_or(0));
        rest.is_some()
    }

    /// The function whose body contains a place.
    pub(super) fn function_at(&self, wasm: u64) -> Option<&Function<'a>> {
        let after = self.functions.partition_point(|f| f.wasm.start <= wasm);
        let function = &self.functions[after.checked_sub(1)?];
        (wasm < function.wasm.end).then_some(function)
    }

    /// The places in the text that belong to a range of the binary, in order.
    pub(super) fn ranges(&self, wasm: Range<u64>) -> Vec<Range<u64>> {
        let mut ranges = Vec::new();
        if wasm.is_empty() {
            return ranges;
        }
        let first = self.functions.partition_point(|f| f.wasm.end <= wasm.start);
        for function in &self.functions[first..] {
            if function.wasm.start >= wasm.end || !self.spend(1 + function.map.len()) {
                break;
            }
            function.push_ranges(&wasm, &mut ranges);
        }
        ranges
    }

    /// The way to the start of the first memory, if there is one.
    pub(super) fn memory(&self) -> Option<Path> {
        let module = &self.translation.module;
        let index = MemoryIndex::from_u32(0);
        let memory = module.memories.get(index)?;
        let base = PTR.memory_definition_base();
        Some(match module.defined_memory_index(index) {
            Some(defined) if memory.shared => {
                vec![self.offsets.shared_memory_pointer(defined), base]
            }
            Some(defined) => vec![self.offsets.memory_definition(defined) + base],
            None => {
                let import = self.offsets.memory_import(index);
                vec![import + PTR.memory_import_from(), base]
            }
        })
    }

    /// The bytes of an address in the first memory.
    pub(super) fn pointer_size(&self) -> u8 {
        let memories = &self.translation.module.memories;
        match memories.get(MemoryIndex::from_u32(0)).map(|m| m.idx_type) {
            Some(IndexType::I64) => 8,
            _ => 4,
        }
    }

    /// The way to a global that holds integers, of which the last step is to the value, and the bytes of that.
    pub(super) fn global(&self, index: u32) -> Option<(Path, u8)> {
        let module = &self.translation.module;
        if index as usize >= module.globals.len() {
            return None;
        }
        let index = GlobalIndex::new(index as usize);
        let size = match module.globals[index].wasm_ty {
            WasmValType::I32 => 4,
            WasmValType::I64 => 8,
            _ => return None,
        };
        let path = match module.defined_global_index(index) {
            Some(defined) => vec![self.offsets.global_definition(defined)],
            None => {
                let import = self.offsets.global_import(index);
                vec![import + PTR.global_import_from(), 0]
            }
        };
        Some((path, size))
    }
}
