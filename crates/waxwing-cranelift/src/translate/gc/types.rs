//! What is known of references while code is compiled.

use super::super::FuncTranslator;
use wasmparser::{Operator, ValType};
use waxwing_environ::{
    GcCollector, ModuleTypeIndex, ModuleTypes, TypeRef, WasmHeapTop, WasmHeapType, WasmRefType,
    WasmValType,
};

/// How many operands, from the top, operators want to know the types of.
pub(in crate::translate) const KNOWN_OPERANDS: usize = 3;

/// Whether the types of an operator's operands matter, more than validation has to know.
pub(in crate::translate) fn uses_operand_types(op: &Operator<'_>) -> bool {
    matches!(
        op,
        Operator::GlobalSet { .. }
            | Operator::TableSet { .. }
            | Operator::CallRef { .. }
            | Operator::ReturnCallRef { .. }
            | Operator::RefIsNull
            | Operator::RefAsNonNull
            | Operator::BrOnNull { .. }
            | Operator::BrOnNonNull { .. }
            | Operator::StructGet { .. }
            | Operator::StructGetS { .. }
            | Operator::StructGetU { .. }
            | Operator::StructSet { .. }
            | Operator::ArrayGet { .. }
            | Operator::ArrayGetS { .. }
            | Operator::ArrayGetU { .. }
            | Operator::ArraySet { .. }
            | Operator::ArrayLen
            | Operator::RefTestNonNull { .. }
            | Operator::RefTestNullable { .. }
            | Operator::RefCastNonNull { .. }
            | Operator::RefCastNullable { .. }
            | Operator::I31GetS
            | Operator::I31GetU
    )
}

/// What the values of a reference type in the GC hierarchies can be, apart from null.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) struct Contents {
    /// Objects of the heap.
    pub(super) objects: bool,
    /// Values of the host.
    pub(super) host: bool,
    /// `i31`s.
    pub(super) i31: bool,
}

impl Contents {
    pub(super) fn of(ty: WasmHeapType) -> Contents {
        use WasmHeapType as H;
        let (objects, host, i31) = match ty {
            // Conversion puts everything internal among the external values, and the other way round.
            H::Any | H::Extern => (true, true, true),
            H::Eq => (true, false, true),
            H::I31 => (false, false, true),
            H::Struct | H::ConcreteStruct(_) | H::Array | H::ConcreteArray(_) | H::Exn => {
                (true, false, false)
            }
            H::None | H::NoExtern | H::NoExn => (false, false, false),
            H::Func | H::ConcreteFunc(_) | H::NoFunc => (false, false, false),
        };
        Contents { objects, host, i31 }
    }

    /// Whether all values but null are objects of the heap.
    pub(super) fn only_objects(self) -> bool {
        self.objects && !self.host && !self.i31
    }

    /// Whether the collector has to know of such values.
    pub(super) fn is_traced(self) -> bool {
        self.objects || self.host
    }
}

/// Whether the heap type `a` is `b` or a subtype. Concrete types are the module's.
pub(super) fn matches(types: &ModuleTypes, a: WasmHeapType, b: WasmHeapType) -> bool {
    use WasmHeapType as H;
    if a == b {
        return true;
    }
    match (a, b) {
        (H::NoFunc, b) => b.top() == WasmHeapTop::Func,
        (H::None, b) => b.top() == WasmHeapTop::Any,
        (H::NoExtern, H::Extern) | (H::NoExn, H::Exn) | (H::ConcreteFunc(_), H::Func) => true,
        (H::Eq, H::Any) => true,
        (H::I31 | H::Struct | H::ConcreteStruct(_) | H::Array | H::ConcreteArray(_), b) => {
            match b {
                H::Any | H::Eq => true,
                H::Struct => matches!(a, H::ConcreteStruct(_)),
                H::Array => matches!(a, H::ConcreteArray(_)),
                _ => is_declared_subtype(types, a, b),
            }
        }
        _ => is_declared_subtype(types, a, b),
    }
}

fn is_declared_subtype(types: &ModuleTypes, a: WasmHeapType, b: WasmHeapType) -> bool {
    let (Some(TypeRef::Module(a)), Some(TypeRef::Module(b))) = (a.type_ref(), b.type_ref()) else {
        return false;
    };
    supertypes(types, a).any(|ty| ty == b)
}

/// A type and its declared supertypes, up to the root.
fn supertypes(types: &ModuleTypes, ty: ModuleTypeIndex) -> impl Iterator<Item = ModuleTypeIndex> {
    std::iter::successors(Some(ty), |ty| {
        types.types[*ty].supertype.map(TypeRef::unwrap_module)
    })
}

/// How many declared supertypes a type has.
pub(super) fn depth(types: &ModuleTypes, ty: ModuleTypeIndex) -> u32 {
    supertypes(types, ty).skip(1).count() as u32
}

/// Whether a collector has to find the references on the stack: all do but one that never frees anything.
pub(in crate::translate) fn needs_stack_maps(collector: Option<GcCollector>) -> bool {
    match collector {
        Some(GcCollector::Copying | GcCollector::DeferredReferenceCounting) => true,
        Some(GcCollector::Null) | None => false,
    }
}

impl FuncTranslator<'_, '_> {
    /// Remembers the types of the operands that the operator, which is validated next, takes.
    pub(in crate::translate) fn note_operand_types(&mut self, op: &Operator<'_>) {
        if uses_operand_types(op) {
            for (depth, ty) in self.operand_types.iter_mut().enumerate() {
                *ty = self.validator.get_operand_type(depth).flatten();
            }
        }
    }

    /// The type that the reference had that was at `depth` before the operator.
    pub(in crate::translate) fn operand_type(&self, depth: usize) -> WasmRefType {
        let converter = &self.translation.type_converter;
        let ty = match self.operand_types[depth] {
            Some(ValType::Ref(ty)) => converter.ref_type(ty, &self.translation.types).ok(),
            _ => None,
        };
        // Nothing is known of an operand that validation has no type for.
        ty.unwrap_or(WasmRefType {
            nullable: true,
            heap_type: WasmHeapType::Any,
        })
    }

    pub(in crate::translate) fn heap_type_matches(&self, a: WasmHeapType, b: WasmHeapType) -> bool {
        matches(&self.translation.types, a, b)
    }

    /// Whether values of the type have to be in stack maps.
    pub(in crate::translate) fn is_tracked(&self, ty: WasmValType) -> bool {
        match ty {
            WasmValType::Ref(ty) => self.tracks && Contents::of(ty.heap_type).is_traced(),
            _ => false,
        }
    }

    /// Declares those of the top `n` operands that are references for stack maps. They have their
    /// types in the validator already.
    pub(in crate::translate) fn track(&mut self, n: usize) {
        if !self.tracks {
            return;
        }
        for depth in 0..n {
            if let Some(Some(ty @ ValType::Ref(_))) = self.validator.get_operand_type(depth) {
                let converter = &self.translation.type_converter;
                let ty = converter.val_type(ty, &self.translation.types);
                if ty.is_ok_and(|ty| self.is_tracked(ty)) {
                    let value = self.stack[self.stack.len() - 1 - depth];
                    self.builder.declare_value_needs_stack_map(value);
                }
            }
        }
    }
}
