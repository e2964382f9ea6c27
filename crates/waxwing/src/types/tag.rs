//! Types of exceptions: [`TagType`] and [`ExnType`].

use super::concrete::{FieldType, FuncType, Mutability};
use super::within::Within;
use super::{StorageType, ValType};
use crate::{AsContextMut, Engine, Result, Tag};
use anyhow::ensure;
use std::fmt;
use waxwing_environ::EngineTypeIndex;
use waxwing_vm::RegisteredType;

/// The type of an exception [tag](crate::Tag): a function type, whose parameters are what exceptions
/// with the tag carry.
#[derive(Debug, Clone, Hash)]
pub struct TagType {
    ty: FuncType,
}

impl TagType {
    /// The type of tags whose exceptions carry what `ty` has as parameters.
    ///
    /// Tags of types with results belong to a proposal that does not exist yet: none can be made.
    pub fn new(ty: FuncType) -> TagType {
        TagType { ty }
    }

    /// The function type.
    pub fn ty(&self) -> &FuncType {
        &self.ty
    }

    /// A new tag of this type.
    ///
    /// # Errors
    ///
    /// Fails as [`Tag::new`] does.
    ///
    /// # Panics
    ///
    /// Panics if the type belongs to another engine than `store`.
    pub fn default_value(&self, store: impl AsContextMut) -> Result<Tag> {
        Tag::new(store, self)
    }
}

/// The type of an exception: what exceptions with a tag of one [`TagType`] carry, as fields that do
/// not change.
#[derive(Debug, Clone, Hash)]
pub struct ExnType {
    /// Without results.
    func: FuncType,
}

impl ExnType {
    /// The type of exceptions that carry values of these types.
    ///
    /// # Errors
    ///
    /// Does not fail in this release.
    ///
    /// # Panics
    ///
    /// Panics if any of the types belongs to another engine.
    pub fn new(engine: &Engine, fields: impl IntoIterator<Item = ValType>) -> Result<ExnType> {
        Ok(ExnType {
            func: FuncType::new(engine, fields, []),
        })
    }

    /// The type of exceptions with tags of the type `tag`.
    ///
    /// # Errors
    ///
    /// Fails if the tag's function type has results.
    pub fn from_tag_type(tag: &TagType) -> Result<ExnType> {
        ensure!(
            tag.ty.results().len() == 0,
            "the type of an exception's tag has no results, but `{}` has",
            tag.ty
        );
        Ok(ExnType {
            func: tag.ty.clone(),
        })
    }

    /// The type of the tags that exceptions of this type have.
    pub fn tag_type(&self) -> TagType {
        TagType::new(self.func.clone())
    }

    /// The engine that the type belongs to.
    pub fn engine(&self) -> &Engine {
        self.func.engine()
    }

    /// The field `i`, or `None` if there are fewer.
    pub fn field(&self, i: usize) -> Option<FieldType> {
        self.func.param(i).map(field)
    }

    /// The fields in order.
    pub fn fields(&self) -> impl ExactSizeIterator<Item = FieldType> + '_ {
        self.func.params().map(field)
    }

    /// Whether every exception of this type is one of the type `other`: whether both are the same
    /// type.
    ///
    /// # Panics
    ///
    /// Panics if the types belong to different engines.
    pub fn matches(&self, other: &ExnType) -> bool {
        FuncType::eq(&self.func, &other.func)
    }

    /// The type of exceptions whose tag is of the type that is registered.
    pub(crate) fn from_registered(engine: &Engine, registered: RegisteredType) -> ExnType {
        ExnType {
            func: FuncType::from_registered(engine, registered),
        }
    }

    /// The index by which the engine knows the tags' type.
    pub(crate) fn type_index(&self) -> EngineTypeIndex {
        self.func.type_index()
    }
}

fn field(ty: ValType) -> FieldType {
    FieldType::new(Mutability::Const, StorageType::ValType(ty))
}

/// With its fields, such as `(exn (field i32) (field i64))`.
impl fmt::Display for ExnType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(exn")?;
        for field in self.fields() {
            write!(f, " (field {})", Within(&field))?;
        }
        f.write_str(")")
    }
}
