//! How types are written within another type's definition.

use std::fmt;

use super::{FieldType, HeapType, Mutability, RefType, StorageType, ValType};

/// A type within the definition of another one.
///
/// Concrete types are named there by their kind alone: a type can refer to itself, and through many others
/// to each of which there are many ways.
pub(super) struct Within<'a, T>(pub(super) &'a T);

impl fmt::Display for Within<'_, FieldType> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let content = Within(self.0.element_type());
        match self.0.mutability() {
            Mutability::Const => fmt::Display::fmt(&content, f),
            Mutability::Var => write!(f, "(mut {content})"),
        }
    }
}

impl fmt::Display for Within<'_, StorageType> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            StorageType::ValType(ty) => fmt::Display::fmt(&Within(ty), f),
            packed => fmt::Display::fmt(packed, f),
        }
    }
}

impl fmt::Display for Within<'_, ValType> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            ValType::Ref(ty) => fmt::Display::fmt(&Within(ty), f),
            other => fmt::Display::fmt(other, f),
        }
    }
}

impl fmt::Display for Within<'_, RefType> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.0.heap_type() {
            HeapType::ConcreteFunc(_) => "func",
            HeapType::ConcreteArray(_) => "array",
            HeapType::ConcreteStruct(_) => "struct",
            HeapType::ConcreteExn(_) => "exn",
            _ => return fmt::Display::fmt(self.0, f),
        };
        let null = if self.0.is_nullable() { "null " } else { "" };
        write!(f, "(ref {null}(concrete {kind}))")
    }
}
