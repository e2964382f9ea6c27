//! What happens between the allocation of an instance and its start function.

use std::ptr::NonNull;
use std::sync::Arc;

use anyhow::Result;
use waxwing_environ::{MemoryInitialization, ReservedValue, TableInitialValue};

use super::Instance;
use crate::const_eval::{eval, eval_offset};
use crate::loaded_module::LoadedModule;
use crate::table::TableElement;
use crate::traps::TrapReason;
use crate::vmcontext::VMGlobalDefinition;

/// Initialises globals and tables, then applies active element segments and active data segments, each
/// in order.
///
/// # Errors
///
/// Fails with a [`Trap`](waxwing_environ::Trap) at the first segment that is out of bounds; what was written before stays.
///
/// # Safety
///
/// The instance is new, and the caller has exclusive use of its store; nobody has references to its
/// instances.
pub(crate) unsafe fn initialize(instance: NonNull<Instance>) -> Result<()> {
    // SAFETY: required of the caller, and no reference outlives its statement.
    unsafe {
        let module = Arc::clone((*instance.as_ptr()).module());
        (*instance.as_ptr()).initialize_globals(&module)?;
        (*instance.as_ptr()).initialize_tables(&module)?;
        apply_element_segments(instance, &module)?;
        (*instance.as_ptr()).apply_data_segments(&module)
    }
}

impl Instance {
    fn initialize_globals(&mut self, module: &LoadedModule) -> Result<()> {
        let facts = module.module();
        for (index, expr) in &facts.global_initializers {
            let ty = facts.globals[facts.global_index(index)].wasm_ty;
            let value = VMGlobalDefinition::new(ty, eval(expr, self)?);
            let record = self.record(module.offsets().global_definition(index));
            // SAFETY: the record is part of the context, which no other code uses yet.
            unsafe { record.write(value) };
        }
        Ok(())
    }

    fn initialize_tables(&mut self, module: &LoadedModule) -> Result<()> {
        let facts = module.module();
        for (index, initial) in &facts.table_initial_values {
            let ty = facts.tables[facts.table_index(index)].ref_type;
            match initial {
                TableInitialValue::Expr(expr) => {
                    let element = TableElement::from_raw(ty, eval(expr, self)?);
                    let size = self.tables[index].size() as u64;
                    if !element.is_null() {
                        self.table_fill(index, 0, element, size)?;
                    }
                }
                TableInitialValue::Null { precomputed } => {
                    if self.tables[index].is_lazy() {
                        continue;
                    }
                    for (at, func) in precomputed.iter().enumerate() {
                        if !func.is_reserved_value() {
                            let element = TableElement::FuncRef(self.func_ref(*func));
                            self.table_set(index, at as u64, element)?;
                        }
                    }
                }
            }
        }
        Ok(())
    }

    fn apply_data_segments(&self, module: &LoadedModule) -> Result<()> {
        let facts = module.module();
        let MemoryInitialization::Segmented(segments) = &facts.memory_initialization else {
            // Images were put in place when the memories were made.
            return Ok(());
        };
        for segment in segments {
            let idx_type = facts.memories[segment.memory].idx_type;
            let offset = eval_offset(&segment.offset, idx_type, self)?;
            let bytes = module.data(segment.data.clone())?;
            self.memory_write(segment.memory, offset, bytes)?;
        }
        Ok(())
    }
}

/// # Safety
///
/// As for [`initialize`].
unsafe fn apply_element_segments(instance: NonNull<Instance>, module: &LoadedModule) -> Result<()> {
    let facts = module.module();
    for segment in &facts.table_segments {
        let idx_type = facts.tables[segment.table].idx_type;
        let len = segment.elements.len();
        // SAFETY: required of the caller.
        let applied = unsafe {
            let offset = eval_offset(&segment.offset, idx_type, &*instance.as_ptr())?;
            Instance::apply_elements(instance, segment.table, &segment.elements, offset, 0, len)
        };
        applied.map_err(|reason| match reason {
            TrapReason::Wasm(trap) | TrapReason::Signal { trap, .. } => trap.into(),
            TrapReason::Host(error) => error,
        })?;
    }
    Ok(())
}
