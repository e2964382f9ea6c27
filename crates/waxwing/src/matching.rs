//! Whether types match: subtyping of the specification, and what an import accepts.

use crate::Result;
use anyhow::{anyhow, bail, ensure};
use std::sync::Arc;
use waxwing_environ::{
    EngineTypeIndex, EntityType, Global, IndexType, Limits, Memory, Table, TypeRef, WasmHeapType,
    WasmRefType, WasmSubType, WasmValType,
};
use waxwing_vm::TypeRegistry;

/// Whether a defined type is the same as, or a declared subtype of, another.
type IsSubtype<'a> = &'a dyn Fn(EngineTypeIndex, EngineTypeIndex) -> bool;

/// Whether the heap type `a` is `b` or a subtype. Types are the engine's.
pub(crate) fn heap_type(a: WasmHeapType, b: WasmHeapType, is_subtype: IsSubtype<'_>) -> bool {
    use WasmHeapType as H;
    if a == b {
        return true;
    }
    match (a, b) {
        (H::ConcreteFunc(a), H::ConcreteFunc(b))
        | (H::ConcreteArray(a), H::ConcreteArray(b))
        | (H::ConcreteStruct(a), H::ConcreteStruct(b)) => {
            is_subtype(a.unwrap_engine(), b.unwrap_engine())
        }
        (H::NoExtern, H::Extern) | (H::NoExn, H::Exn) => true,
        (H::ConcreteFunc(_) | H::NoFunc, H::Func) | (H::NoFunc, H::ConcreteFunc(_)) => true,
        (H::ConcreteArray(_), H::Array) | (H::ConcreteStruct(_), H::Struct) => true,
        (
            H::I31 | H::Array | H::ConcreteArray(_) | H::Struct | H::ConcreteStruct(_),
            H::Eq | H::Any,
        )
        | (H::Eq, H::Any) => true,
        (
            H::None,
            H::Any
            | H::Eq
            | H::I31
            | H::Array
            | H::ConcreteArray(_)
            | H::Struct
            | H::ConcreteStruct(_),
        ) => true,
        _ => false,
    }
}

fn ref_type(a: WasmRefType, b: WasmRefType, is_subtype: IsSubtype<'_>) -> bool {
    (b.nullable || !a.nullable) && heap_type(a.heap_type, b.heap_type, is_subtype)
}

fn val_type(a: WasmValType, b: WasmValType, is_subtype: IsSubtype<'_>) -> bool {
    match (a, b) {
        (WasmValType::Ref(a), WasmValType::Ref(b)) => ref_type(a, b, is_subtype),
        _ => a == b,
    }
}

/// Fails unless an item of the type `actual` can be imported where `expected` is asked for.
///
/// All types are the engine's. `current_size` is what a table (in elements) or memory (in pages)
/// has now, which counts in place of the minimum that it was made with.
pub(crate) fn check_import(
    registry: &Arc<TypeRegistry>,
    expected: &EntityType,
    actual: &EntityType,
    current_size: Option<u64>,
) -> Result<()> {
    let is_subtype: IsSubtype<'_> = &|a, b| a == b || registry.is_subtype(a, b);
    match (expected, actual) {
        (EntityType::Function(expected), EntityType::Function(actual)) => {
            function(registry, *expected, *actual)
        }
        (EntityType::Global(expected), EntityType::Global(actual)) => {
            global(expected, actual, is_subtype)
        }
        (EntityType::Table(expected), EntityType::Table(actual)) => {
            table(expected, actual, current_size)
        }
        (EntityType::Memory(expected), EntityType::Memory(actual)) => {
            memory(expected, actual, current_size)
        }
        (EntityType::Tag(expected), EntityType::Tag(actual)) => {
            ensure!(
                expected.signature == actual.signature,
                "expected a tag of another type than the one found"
            );
            Ok(())
        }
        _ => bail!("expected {}, found {}", kind(expected), kind(actual)),
    }
}

fn kind(ty: &EntityType) -> &'static str {
    match ty {
        EntityType::Function(_) => "func",
        EntityType::Global(_) => "global",
        EntityType::Table(_) => "table",
        EntityType::Memory(_) => "memory",
        EntityType::Tag(_) => "tag",
    }
}

fn function(registry: &Arc<TypeRegistry>, expected: TypeRef, actual: TypeRef) -> Result<()> {
    let (expected, actual) = (expected.unwrap_engine(), actual.unwrap_engine());
    if actual == expected || registry.is_subtype(actual, expected) {
        return Ok(());
    }
    let display = |index| {
        let ty = registry.lookup(index);
        let ty = ty.as_ref().and_then(|ty| WasmSubType::as_func(ty.ty()));
        ty.map_or_else(|| "(func)".to_string(), ToString::to_string)
    };
    Err(anyhow!(
        "expected type `{}`, found type `{}`",
        display(expected),
        display(actual)
    ))
}

fn global(expected: &Global, actual: &Global, is_subtype: IsSubtype<'_>) -> Result<()> {
    let mutability = |mutable| if mutable { "mutable" } else { "immutable" };
    ensure!(
        expected.mutability == actual.mutability,
        "expected {} global, found {} global",
        mutability(expected.mutability),
        mutability(actual.mutability)
    );
    let matches = if expected.mutability {
        expected.wasm_ty == actual.wasm_ty
    } else {
        val_type(actual.wasm_ty, expected.wasm_ty, is_subtype)
    };
    ensure!(
        matches,
        "expected global of type `{}`, found global of type `{}`",
        expected.wasm_ty,
        actual.wasm_ty
    );
    Ok(())
}

fn table(expected: &Table, actual: &Table, current_size: Option<u64>) -> Result<()> {
    ensure!(
        expected.ref_type == actual.ref_type,
        "expected table of `{}`, found table of `{}`",
        expected.ref_type,
        actual.ref_type
    );
    index_type("table", expected.idx_type, actual.idx_type)?;
    limits(
        "table",
        "elements",
        expected.limits,
        actual.limits,
        current_size,
    )
}

fn memory(expected: &Memory, actual: &Memory, current_size: Option<u64>) -> Result<()> {
    let shared = |shared| if shared { "shared" } else { "non-shared" };
    ensure!(
        expected.shared == actual.shared,
        "expected {} memory, found {} memory",
        shared(expected.shared),
        shared(actual.shared)
    );
    index_type("memory", expected.idx_type, actual.idx_type)?;
    ensure!(
        expected.page_size_log2 == actual.page_size_log2,
        "expected memory with pages of {:#x} bytes, found pages of {:#x} bytes",
        expected.page_size(),
        actual.page_size()
    );
    limits(
        "memory",
        "pages",
        expected.limits,
        actual.limits,
        current_size,
    )
}

fn index_type(what: &str, expected: IndexType, actual: IndexType) -> Result<()> {
    let bits = |ty| match ty {
        IndexType::I32 => "32-bit",
        IndexType::I64 => "64-bit",
    };
    ensure!(
        expected == actual,
        "expected {} {what}, found {} {what}",
        bits(expected),
        bits(actual)
    );
    Ok(())
}

fn limits(
    what: &str,
    unit: &str,
    expected: Limits,
    actual: Limits,
    current_size: Option<u64>,
) -> Result<()> {
    let size = current_size.unwrap_or(actual.min);
    let maximum_fits = match (expected.max, actual.max) {
        (None, _) => true,
        (Some(expected), Some(actual)) => actual <= expected,
        (Some(_), None) => false,
    };
    let max = |limits: Limits| limits.max.map_or("none".to_string(), |max| max.to_string());
    ensure!(
        size >= expected.min && maximum_fits,
        "{what} types incompatible: expected {unit} (min: {}, max: {}), found {unit} (min: {size}, \
         max: {})",
        expected.min,
        max(expected),
        max(actual)
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(expected: &EntityType, actual: &EntityType, size: Option<u64>) -> Option<String> {
        let registry = Arc::new(TypeRegistry::new());
        let result = check_import(&registry, expected, actual, size);
        result.err().map(|error| error.to_string())
    }

    fn memory_of(min: u64, max: Option<u64>) -> EntityType {
        EntityType::Memory(Memory {
            idx_type: IndexType::I32,
            limits: Limits { min, max },
            shared: false,
            page_size_log2: 16,
        })
    }

    fn global_of(wasm_ty: WasmValType, mutability: bool) -> EntityType {
        EntityType::Global(Global {
            wasm_ty,
            mutability,
        })
    }

    #[test]
    fn limits_must_be_at_least_as_narrow() {
        let accepts = |expected, actual, size| {
            let (a, b) = (memory_of_pair(expected), memory_of_pair(actual));
            error(&a, &b, size).is_none()
        };
        fn memory_of_pair((min, max): (u64, Option<u64>)) -> EntityType {
            memory_of(min, max)
        }
        assert!(accepts((1, None), (1, None), None));
        assert!(accepts((1, None), (2, Some(2)), None));
        assert!(accepts((1, Some(3)), (1, Some(3)), None));
        assert!(!accepts((2, None), (1, None), None));
        assert!(!accepts((1, Some(3)), (1, None), None));
        assert!(!accepts((1, Some(3)), (1, Some(4)), None));
        assert!(accepts((2, None), (1, None), Some(2)));
        let message = error(&memory_of(2, Some(3)), &memory_of(1, None), None).unwrap();
        assert!(
            message.contains("expected pages (min: 2, max: 3)"),
            "{message}"
        );
    }

    #[test]
    fn mutable_globals_must_be_equal_and_constants_may_be_subtypes() {
        let reference = |nullable, heap_type| {
            WasmValType::Ref(WasmRefType {
                nullable,
                heap_type,
            })
        };
        let any = reference(true, WasmHeapType::Func);
        let none = reference(true, WasmHeapType::NoFunc);
        assert_eq!(
            error(&global_of(any, false), &global_of(none, false), None),
            None
        );
        assert!(error(&global_of(none, false), &global_of(any, false), None).is_some());
        assert!(error(&global_of(any, true), &global_of(none, true), None).is_some());
        let message = error(&global_of(any, true), &global_of(any, false), None).unwrap();
        assert_eq!(message, "expected mutable global, found immutable global");
    }

    #[test]
    fn kinds_must_be_equal() {
        let message = error(
            &memory_of(1, None),
            &global_of(WasmValType::I32, false),
            None,
        );
        assert_eq!(message.as_deref(), Some("expected memory, found global"));
    }

    #[test]
    fn heap_types_form_hierarchies() {
        use WasmHeapType as H;
        let chains: [&[H]; 6] = [
            &[H::None, H::I31, H::Eq, H::Any],
            &[H::None, H::Struct, H::Eq, H::Any],
            &[H::None, H::Array, H::Eq, H::Any],
            &[H::NoExtern, H::Extern],
            &[H::NoFunc, H::Func],
            &[H::NoExn, H::Exn],
        ];
        for chain in chains {
            for (i, a) in chain.iter().enumerate() {
                for (j, b) in chain.iter().enumerate() {
                    assert_eq!(heap_type(*a, *b, &|_, _| false), i <= j, "{a} {b}");
                }
            }
        }
        for (i, a) in chains.iter().flat_map(|chain| chain.iter()).enumerate() {
            for b in chains.iter().flat_map(|chain| chain.iter()).skip(i) {
                if a.top() != b.top() {
                    assert!(!heap_type(*a, *b, &|_, _| true), "{a} {b}");
                }
            }
        }
    }
}
