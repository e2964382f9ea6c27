//! What happens between the allocation of an instance and its start function.

use std::ptr::NonNull;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use waxwing_environ::{
    ConstExpr, ConstOp, ElementSegment, FuncIndex, GlobalIndex, MemoryInitialization,
    ReservedValue, TableInitialValue, Trap, WasmCompositeType, WasmHeapTop, WasmValType,
};

use super::{Instance, InstanceId};
use crate::const_eval::{ConstEnv, Operand, Stack, eval, eval_offset};
use crate::gc;
use crate::loaded_module::LoadedModule;
use crate::store::VMStore;
use crate::table::TableElement;
use crate::traps::TrapReason;
use crate::vmcontext::{VMFuncRef, VMGcRef};

/// Initialises globals, element segments and tables, then applies active element segments and active data
/// segments, each in order.
///
/// # Errors
///
/// Fails with a [`Trap`] at the first segment that is out of bounds, or when there is no memory for an
/// object; what was written before stays.
pub(crate) fn initialize(store: &mut dyn VMStore, instance: InstanceId) -> Result<()> {
    let module = Arc::clone(store.core().instance(instance).module());
    let mut env = InstanceEnv { store, instance };
    env.initialize_globals(&module)?;
    env.evaluate_passive_elements(&module)?;
    env.initialize_tables(&module)?;
    env.apply_element_segments(&module)?;
    env.apply_data_segments(&module)
}

/// An instance of a store, whose constant expressions are evaluated.
pub(crate) struct InstanceEnv<'a> {
    pub(crate) store: &'a mut dyn VMStore,
    pub(crate) instance: InstanceId,
}

/// Whether values of the type are GC references.
pub(crate) fn is_gc_type(ty: WasmValType) -> bool {
    matches!(ty, WasmValType::Ref(ty) if ty.heap_type.top() != WasmHeapTop::Func)
}

impl InstanceEnv<'_> {
    fn instance(&self) -> &Instance {
        self.store.core().instance(self.instance)
    }

    fn instance_mut(&mut self) -> &mut Instance {
        self.store.core_mut().instance_mut(self.instance)
    }

    fn initialize_globals(&mut self, module: &LoadedModule) -> Result<()> {
        let facts = module.module();
        for (index, expr) in &facts.global_initializers {
            let value = eval(expr, self)?;
            // SAFETY: validation requires the value to be of the global's type.
            unsafe {
                self.store
                    .core_mut()
                    .global_set(self.instance, index, value)
            };
        }
        Ok(())
    }

    /// Evaluates passive segments of GC references, whose elements are the same objects whenever they are
    /// used.
    fn evaluate_passive_elements(&mut self, module: &LoadedModule) -> Result<()> {
        for (index, segment) in &module.module().passive_elements {
            let Some(ElementSegment::Expressions(ty, expressions)) = segment else {
                continue;
            };
            if !is_gc_type(*ty) {
                continue;
            }
            let elements = vec![0; expressions.len()].into_boxed_slice();
            self.instance_mut().passive_elements.insert(index, elements);
            for (i, expr) in expressions.iter().enumerate() {
                let value = eval(expr, self)?.get_anyref();
                self.store.core_mut().gc_mut().replace_root(0, value);
                let elements = self.instance_mut().passive_elements.get_mut(&index);
                elements.context("it was just made")?[i] = value;
            }
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
                    let size = self.instance().tables[index].size() as u64;
                    if !element.is_null() {
                        let core = self.store.core_mut();
                        core.table_fill(self.instance, index, 0, element, size)?;
                    }
                }
                TableInitialValue::Null { precomputed } => {
                    if self.instance().tables[index].is_lazy() {
                        continue;
                    }
                    for (at, func) in precomputed.iter().enumerate() {
                        if !func.is_reserved_value() {
                            let element = TableElement::FuncRef(self.instance().func_ref(*func));
                            let core = self.store.core_mut();
                            core.table_set(self.instance, index, at as u64, element)?;
                        }
                    }
                }
            }
        }
        Ok(())
    }

    fn apply_element_segments(&mut self, module: &LoadedModule) -> Result<()> {
        let facts = module.module();
        for segment in &facts.table_segments {
            let idx_type = facts.tables[segment.table].idx_type;
            let len = segment.elements.len();
            let offset = eval_offset(&segment.offset, idx_type, self)?;
            let applied = self.apply_elements(segment.table, &segment.elements, offset, 0, len);
            applied.map_err(|reason| match reason {
                TrapReason::Wasm(trap) | TrapReason::Signal { trap, .. } => trap.into(),
                TrapReason::Host(error) => error,
                TrapReason::Exception { .. } => anyhow!("an element segment threw an exception"),
            })?;
        }
        Ok(())
    }

    fn apply_data_segments(&mut self, module: &LoadedModule) -> Result<()> {
        let facts = module.module();
        let MemoryInitialization::Segmented(segments) = &facts.memory_initialization else {
            // Images were put in place when the memories were made.
            return Ok(());
        };
        for segment in segments {
            let idx_type = facts.memories[segment.memory].idx_type;
            let offset = eval_offset(&segment.offset, idx_type, self)?;
            let bytes = module.data(segment.data.clone())?;
            self.instance()
                .memory_write(segment.memory, offset, bytes)?;
        }
        Ok(())
    }

    pub(super) fn eval(&mut self, expr: &ConstExpr) -> Result<crate::ValRaw> {
        eval(expr, self)
    }
}

impl ConstEnv for InstanceEnv<'_> {
    fn global(&self, index: GlobalIndex) -> Operand {
        let instance = self.instance();
        let ty = instance.module().module().globals[index].wasm_ty;
        Operand {
            value: instance.global_value(index),
            is_gc_ref: is_gc_type(ty),
        }
    }

    fn func_ref(&self, index: FuncIndex) -> Option<NonNull<VMFuncRef>> {
        self.instance().func_ref(index)
    }

    fn new_object(&mut self, op: ConstOp, stack: &mut Stack) -> Result<Operand> {
        let not_valid = || anyhow!("a constant expression is not valid; compile the module again");
        let module = Arc::clone(self.instance().module());
        let mut pop_len = || Some(stack.pop()?.value.get_u32());
        // How many elements an array has.
        let (ty, len) = match op {
            ConstOp::StructNew(ty) | ConstOp::StructNewDefault(ty) => (ty, None),
            ConstOp::ArrayNew(ty) | ConstOp::ArrayNewDefault(ty) => {
                (ty, Some(pop_len().ok_or_else(not_valid)?))
            }
            ConstOp::ArrayNewFixed(ty, len) => (ty, Some(len)),
            _ => return Err(not_valid()),
        };
        let definition = module.types().types.get(ty).ok_or_else(not_valid)?;
        // How many operands become fields or elements.
        let operands = match (op, &definition.composite) {
            (ConstOp::StructNew(_), WasmCompositeType::Struct(fields)) => fields.len(),
            (ConstOp::ArrayNew(_), _) => 1,
            (ConstOp::ArrayNewFixed(_, len), _) => len as usize,
            _ => 0,
        };
        let first = stack.len().checked_sub(operands).ok_or_else(not_valid)?;
        let ty = module.engine_type(ty);
        let is_gc_ref = |operand: &&mut Operand| operand.is_gc_ref;
        let mut references: Vec<u32> = stack
            .iter_mut()
            .filter(is_gc_ref)
            .map(|operand| operand.value.get_anyref())
            .collect();
        let object = gc::with_roots(self.store, &mut references, |store| match len {
            None => gc::alloc_known_struct(store, ty),
            Some(len) => gc::alloc_known_array(store, ty, len),
        })?;
        for (operand, reference) in stack.iter_mut().filter(is_gc_ref).zip(references) {
            *operand = Operand::gc_ref(reference);
        }
        let object: VMGcRef = object.ok_or(Trap::AllocationTooLarge)?;
        let gc = self.store.core_mut().gc_mut();
        match (op, len) {
            (ConstOp::ArrayNew(_), Some(len)) => {
                let value = stack[first].value;
                for i in 0..len {
                    gc.set_element(object, i, value);
                }
            }
            (_, Some(_)) => {
                for (i, operand) in stack[first..].iter().enumerate() {
                    gc.set_element(object, i as u32, operand.value);
                }
            }
            (_, None) => {
                for (i, operand) in stack[first..].iter().enumerate() {
                    gc.set_field(object, i as u32, operand.value);
                }
            }
        }
        stack.truncate(first);
        Ok(Operand::gc_ref(object.get()))
    }
}
