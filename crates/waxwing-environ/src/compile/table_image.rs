//! Active element segments that can be laid out at compile time.

use crate::{ElementSegment, FuncIndex, Module, ReservedValue, TableInitialValue, WasmHeapTop};

/// The most elements of a table that are laid out: longer tables keep their segments.
const MAX_PRECOMPUTED: u64 = 1 << 20;

/// Moves leading segments of constant offset, in bounds of a defined table of functions, into the
/// table's initial value. Stops at the first that does not fit, so that the order in which
/// segments take effect, or fail, stays.
pub(super) fn precompute(module: &mut Module) {
    let mut done = 0;
    for segment in &module.table_segments {
        let Some(defined) = module.defined_table_index(segment.table) else {
            break;
        };
        let table = &module.tables[segment.table];
        let ElementSegment::Functions(functions) = &segment.elements else {
            break;
        };
        let end = segment
            .offset
            .static_offset()
            .and_then(|offset| Some((offset, offset.checked_add(functions.len() as u64)?)));
        let Some((offset, end)) = end else { break };
        if end > table.limits.min
            || end > MAX_PRECOMPUTED
            || table.ref_type.heap_type.top() != WasmHeapTop::Func
        {
            break;
        }
        let TableInitialValue::Null { precomputed } = &mut module.table_initial_values[defined]
        else {
            break;
        };
        let mut list = core::mem::take(precomputed).into_vec();
        if (list.len() as u64) < end {
            list.resize(end as usize, FuncIndex::reserved_value());
        }
        list[offset as usize..end as usize].copy_from_slice(functions);
        *precomputed = list.into();
        done += 1;
    }
    module.table_segments.drain(..done);
}
