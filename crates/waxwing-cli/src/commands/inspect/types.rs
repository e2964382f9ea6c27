//! Types of the binary format, written nearly as in the text format.

use wasmparser::{
    ArrayType, CompositeInnerType, FieldType, FuncType, GlobalType, HeapType, MemoryType, RefType,
    StorageType, StructType, SubType, TableType, UnpackedIndex, ValType,
};

/// A defined type, as `sub 0 struct i32 (mut (ref null 1))`; `final` and what follows from it are
/// left out where the text format leaves them out.
pub fn sub(ty: &SubType) -> String {
    let mut text = String::new();
    let supertypes: Vec<String> = ty
        .supertype_idxs
        .iter()
        .map(|supertype| index(supertype.unpack()))
        .collect();
    if !ty.is_final || !supertypes.is_empty() {
        text += "sub ";
        if ty.is_final {
            text += "final ";
        }
        for supertype in supertypes {
            text += &supertype;
            text += " ";
        }
    }
    if ty.composite_type.shared {
        text += "shared ";
    }
    text + &match &ty.composite_type.inner {
        CompositeInnerType::Func(ty) => format!("func {}", function(ty)),
        CompositeInnerType::Array(ArrayType(element)) => format!("array {}", field(element)),
        CompositeInnerType::Struct(StructType { fields, .. }) => fields
            .iter()
            .fold("struct".to_string(), |text, ty| text + " " + &field(ty)),
        CompositeInnerType::Cont(ty) => format!("cont {}", index(ty.0.unpack())),
    }
}

fn function(ty: &FuncType) -> String {
    let list = |types: &[ValType]| {
        let types: Vec<String> = types.iter().map(|ty| value(*ty)).collect();
        format!("({})", types.join(", "))
    };
    format!("{} -> {}", list(ty.params()), list(ty.results()))
}

fn field(ty: &FieldType) -> String {
    let content = match ty.element_type {
        StorageType::I8 => "i8".to_string(),
        StorageType::I16 => "i16".to_string(),
        StorageType::Val(ty) => value(ty),
    };
    mutable(content, ty.mutable)
}

fn mutable(content: String, mutable: bool) -> String {
    if mutable {
        format!("(mut {content})")
    } else {
        content
    }
}

fn value(ty: ValType) -> String {
    match ty {
        ValType::Ref(ty) => reference(ty),
        other => other.to_string(),
    }
}

fn reference(ty: RefType) -> String {
    let null = if ty.is_nullable() { "null " } else { "" };
    match ty.heap_type() {
        HeapType::Concrete(ty) => format!("(ref {null}{})", index(ty)),
        HeapType::Exact(ty) => format!("(ref {null}(exact {}))", index(ty)),
        // Nothing in it needs a name of ours.
        HeapType::Abstract { .. } => ty.to_string(),
    }
}

/// The index of a type in the module.
fn index(ty: UnpackedIndex) -> String {
    match ty.as_module_index() {
        Some(index) => index.to_string(),
        None => "?".to_string(),
    }
}

pub fn global(ty: &GlobalType) -> String {
    let shared = if ty.shared { " shared" } else { "" };
    mutable(value(ty.content_type), ty.mutable) + shared
}

pub fn table(ty: &TableType) -> String {
    format!(
        "{} {}",
        limits(ty.table64, ty.initial, ty.maximum),
        reference(ty.element_type)
    )
}

pub fn memory(ty: &MemoryType) -> String {
    let mut text = limits(ty.memory64, ty.initial, ty.maximum);
    if ty.shared {
        text += " shared";
    }
    if let Some(log2) = ty.page_size_log2 {
        text += &format!(" (pagesize {})", 1u64.checked_shl(log2).unwrap_or(0));
    }
    text
}

/// Limits as in the text format.
pub fn limits(is_64: bool, minimum: u64, maximum: Option<u64>) -> String {
    let index = if is_64 { "i64 " } else { "" };
    match maximum {
        Some(maximum) => format!("{index}{minimum} {maximum}"),
        None => format!("{index}{minimum}"),
    }
}
