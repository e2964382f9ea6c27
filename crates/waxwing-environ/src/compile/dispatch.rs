//! Tables of functions that never change: a copy beside the code has where the code of each element is.

use super::{BodyFacts, CompileError};
use crate::artifact::FunctionLoc;
use crate::{
    DefinedFuncIndex, DefinedTableIndex, EntityIndex, EntityRef, FuncIndex, FunctionFacts, Module,
    ModuleTypeIndex, PrimaryMap, ReservedValue, TableInitialValue, WasmHeapTop,
};
use std::collections::HashSet;

/// The longest table that has a copy.
const MAX_LEN: u64 = 1 << 16;

/// The size of an entry of a dispatch table: the distance from the table to the code, an `i32`, and the type of the
/// function, a [`ModuleTypeIndex`]. Both are little-endian.
pub const DISPATCH_ENTRY_SIZE: u32 = 8;

/// The offset of the type in an entry.
pub const DISPATCH_ENTRY_TYPE: u32 = 4;

/// The type in entries of null references, and of those that the table itself does not have.
pub const DISPATCH_NO_TYPE: u32 = u32::MAX;

/// The copy of a table that holds the same functions of its module, and nothing else, whenever code of the module runs.
///
/// Its length is a power of two: whatever an index is, its lower bits are one of an entry.
#[derive(Clone, Debug)]
pub struct DispatchTable {
    /// The length of the table itself.
    pub len: u64,
    /// The elements that are not null.
    pub elements: Vec<(u32, DefinedFuncIndex, ModuleTypeIndex)>,
}

impl DispatchTable {
    /// The number of entries.
    pub fn entries(&self) -> u64 {
        self.len.next_power_of_two()
    }

    /// The function, if all elements of type `ty` are the same.
    pub fn only_function(&self, ty: ModuleTypeIndex) -> Option<DefinedFuncIndex> {
        let mut found = self.elements.iter().filter(|(_, _, found)| *found == ty);
        let (_, first, _) = *found.next()?;
        found.all(|(_, func, _)| *func == first).then_some(first)
    }

    /// The size in bytes.
    pub fn size(&self) -> usize {
        self.entries() as usize * DISPATCH_ENTRY_SIZE as usize
    }

    /// Writes the table to `to`, a place in the text section at offset `start`, given where functions are there.
    pub(super) fn write(
        &self,
        to: &mut [u8],
        start: u64,
        locations: &[FunctionLoc],
    ) -> Result<(), CompileError> {
        let (entries, _) = to.as_chunks_mut::<{ DISPATCH_ENTRY_SIZE as usize }>();
        entries.fill([0xff; DISPATCH_ENTRY_SIZE as usize]);
        for (at, func, ty) in &self.elements {
            let code = i64::from(locations[func.index()].start);
            let distance = i32::try_from(code - start.cast_signed()).map_err(|_| {
                let what = "more than 2 GiB of machine code and tables of functions";
                CompileError::ImplementationLimit(what.to_string())
            })?;
            let ty = (ty.index() as u32).to_le_bytes();
            let (distance_bytes, type_bytes) =
                entries[*at as usize].split_at_mut(DISPATCH_ENTRY_TYPE as usize);
            distance_bytes.copy_from_slice(&distance.to_le_bytes());
            type_bytes.copy_from_slice(&ty);
        }
        Ok(())
    }
}

/// The tables of which there are copies.
pub(super) fn find<'a>(
    module: &Module,
    functions: &PrimaryMap<FuncIndex, FunctionFacts>,
    bodies: impl Iterator<Item = &'a BodyFacts>,
) -> PrimaryMap<DefinedTableIndex, Option<DispatchTable>> {
    let mut changing: HashSet<_> = bodies
        .flat_map(|body| body.written_tables.iter().copied())
        .collect();
    changing.extend(module.table_segments.iter().map(|segment| segment.table));
    changing.extend(
        module
            .exports
            .iter()
            .filter_map(|export| match export.index {
                EntityIndex::Table(table) => Some(table),
                _ => None,
            }),
    );
    let find = |(defined, initial): (DefinedTableIndex, &TableInitialValue)| {
        let index = module.table_index(defined);
        let table = &module.tables[index];
        let TableInitialValue::Null { precomputed } = initial else {
            return None;
        };
        let is_fit = table.ref_type.heap_type.top() == WasmHeapTop::Func
            && (1..=MAX_LEN).contains(&table.limits.min)
            && !changing.contains(&index);
        if !is_fit {
            return None;
        }
        let functions = precomputed
            .iter()
            .enumerate()
            .filter(|(_, func)| !func.is_reserved_value())
            .map(|(at, func)| {
                let defined = module.defined_func_index(*func)?;
                Some((at as u32, defined, functions[*func].signature))
            });
        Some(DispatchTable {
            len: table.limits.min,
            elements: functions.collect::<Option<_>>()?,
        })
    };
    module.table_initial_values.iter().map(find).collect()
}
