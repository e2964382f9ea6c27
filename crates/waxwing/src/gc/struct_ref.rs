//! [`StructRef`] and [`StructRefPre`].

use anyhow::{Context, Result, anyhow, bail, ensure};
use waxwing_vm::{StoreId, VMGcRef};

use super::object;
use super::out_of_memory::GcHeapOutOfMemory;
use super::rooting::{GcRootIndex, gc_ref};
use crate::store::{StoreInner, StoreOpaque};
use crate::{
    AsContext, AsContextMut, Engine, FieldType, HeapType, Rooted, StoreContextMut, StructType, Val,
};

/// What it takes to allocate structs of a type, made once for all of them.
///
/// See [`StructRef`] for an example.
pub struct StructRefPre {
    store: StoreId,
    ty: StructType,
}

impl StructRefPre {
    /// Prepares for structs of the type `ty` in `store`.
    ///
    /// # Panics
    ///
    /// Panics if `ty` belongs to another engine.
    pub fn new(mut store: impl AsContextMut, ty: StructType) -> Self {
        let store = store.as_context_mut().0;
        assert!(
            Engine::same(ty.engine(), store.engine()),
            "type used with a store of another engine"
        );
        StructRefPre {
            store: store.id(),
            ty,
        }
    }
}

/// A reference to a struct, an object with fields.
///
/// This is the type `(ref struct)`. `Option<Rooted<StructRef>>` is `structref`, which can be null.
///
/// ```
/// # use waxwing::*;
/// # fn main() -> Result<()> {
/// let mut store = Store::<()>::default();
/// // A pair of a 16-bit integer that can change and one of 64 bits that cannot.
/// let i16 = FieldType::new(Mutability::Var, StorageType::I16);
/// let i64 = FieldType::new(Mutability::Const, ValType::I64.into());
/// let ty = StructType::new(store.engine(), [i16, i64])?;
/// let pairs = StructRefPre::new(&mut store, ty);
///
/// // Objects live while they are referred to: by roots, in a scope of them.
/// let mut scope = RootScope::new(&mut store);
/// let pair = StructRef::new(&mut scope, &pairs, &[Val::I32(1), Val::I64(2)])?;
/// pair.set_field(&mut scope, 0, Val::I32(0x12_3456))?;
/// assert_eq!(pair.field(&mut scope, 0)?.unwrap_i32(), 0x3456);
/// assert_eq!(pair.field(&mut scope, 1)?.unwrap_i64(), 2);
/// assert!(pair.set_field(&mut scope, 1, Val::I64(3)).is_err());
/// # Ok(())
/// # }
/// ```
#[repr(transparent)]
pub struct StructRef {
    index: GcRootIndex,
}

gc_ref!(StructRef, Struct);

impl StructRef {
    /// Allocates a struct with these values of its fields, rooted in the current scope. Garbage may
    /// be collected before.
    ///
    /// Of the values of packed fields, only the lower bits are kept.
    ///
    /// # Errors
    ///
    /// Fails if `fields` are not as many as the type has or not of the fields' types, if one is a
    /// reference of another store or not rooted any more, or if the store has no collector. Fails
    /// with [`GcHeapOutOfMemory<()>`](GcHeapOutOfMemory) if there is no room, or with the error of
    /// the store's limiter.
    ///
    /// # Panics
    ///
    /// Panics if `allocator` belongs to another store.
    pub fn new(
        mut store: impl AsContextMut,
        allocator: &StructRefPre,
        fields: &[Val],
    ) -> Result<Rooted<StructRef>> {
        new_in(store.as_context_mut().0, allocator, fields)
    }

    /// The type of the struct.
    ///
    /// # Errors
    ///
    /// Fails if the reference is not rooted any more.
    ///
    /// # Panics
    ///
    /// Panics if the reference belongs to another store.
    pub fn ty(&self, store: impl AsContext) -> Result<StructType> {
        let store = store.as_context().0;
        Ok(type_in(store, self.index.get(store)?))
    }

    /// Whether the struct is of the type `ty`, or of a subtype.
    ///
    /// # Errors
    ///
    /// Fails if the reference is not rooted any more.
    ///
    /// # Panics
    ///
    /// Panics if the reference belongs to another store, or `ty` to another engine.
    pub fn matches_ty(&self, store: impl AsContext, ty: &StructType) -> Result<bool> {
        let store = store.as_context().0;
        let actual = object::type_of(store, self.index.get(store)?);
        let ty = HeapType::ConcreteStruct(ty.clone());
        Ok(object::is_of_type(store, actual, &ty))
    }

    /// The values of all fields, in order. References among them are rooted in the current scope.
    ///
    /// # Errors
    ///
    /// Fails if the reference is not rooted any more.
    ///
    /// # Panics
    ///
    /// Panics if the reference belongs to another store.
    pub fn fields<'a, T: 'a>(
        &'a self,
        store: impl Into<StoreContextMut<'a, T>>,
    ) -> Result<impl ExactSizeIterator<Item = Val> + 'a> {
        let store = store.into();
        let ty = type_in(store.0, self.index.get(store.0)?);
        let len = ty.fields().len();
        Ok(Fields {
            root: self.index,
            store,
            ty,
            next: 0,
            len,
        })
    }

    /// The value of the field `index`. That of a packed field is zero-extended; a reference is
    /// rooted in the current scope.
    ///
    /// # Errors
    ///
    /// Fails if there is no such field, or if the reference is not rooted any more.
    ///
    /// # Panics
    ///
    /// Panics if the reference belongs to another store.
    pub fn field(&self, mut store: impl AsContextMut, index: usize) -> Result<Val> {
        let store = store.as_context_mut().0;
        let ty = type_in(store, self.index.get(store)?);
        field_in(store, self.index, &ty, index)
    }

    /// Gives the field `index` a new value. Of the value of a packed field, only the lower bits are
    /// kept.
    ///
    /// # Errors
    ///
    /// Fails if there is no such field, if it cannot change, if `value` is not of its type or is a
    /// reference of another store, or if a reference is not rooted any more.
    ///
    /// # Panics
    ///
    /// Panics if the reference belongs to another store.
    pub fn set_field(&self, mut store: impl AsContextMut, index: usize, value: Val) -> Result<()> {
        let store = store.as_context_mut().0;
        let gc_ref = self.index.get(store)?;
        let ty = type_in(store, gc_ref);
        let field = field_type(&ty, index)?;
        if field.mutability().is_const() {
            bail!("cannot set field {index} of `{ty}`: it is immutable");
        }
        let raw = object::to_storage(store, &value, field.element_type())
            .with_context(|| format!("cannot set field {index} of `{ty}`"))?;
        let index = object::field_number(index)?;
        store.core_mut().gc_mut().set_field(gc_ref, index, raw);
        Ok(())
    }
}

fn new_in<T>(
    store: &mut StoreInner<T>,
    allocator: &StructRefPre,
    fields: &[Val],
) -> Result<Rooted<StructRef>> {
    assert_eq!(
        allocator.store,
        store.id(),
        "allocator used with another store than its own"
    );
    object::ensure_collector(store)?;
    let ty = &allocator.ty;
    let expected = ty.fields().len();
    ensure!(
        fields.len() == expected,
        "expected {expected} fields of `{ty}`, found {}",
        fields.len()
    );
    for (index, (value, field)) in fields.iter().zip(ty.fields()).enumerate() {
        object::check_storable(store, value, field.element_type())
            .with_context(|| format!("cannot make field {index} of `{ty}`"))?;
    }
    let gc_ref = waxwing_vm::alloc_struct(store, ty.registered_type())?
        .ok_or_else(|| GcHeapOutOfMemory::new(()))?;
    // Only from here on are references read from their roots: the allocation may have moved what
    // they refer to. Nothing is allocated any more.
    for (index, value) in fields.iter().enumerate() {
        let raw = value.to_raw_in(store)?;
        let index = object::field_number(index)?;
        store.core_mut().gc_mut().set_field(gc_ref, index, raw);
    }
    Ok(Rooted::new(store, gc_ref))
}

/// The type of a struct.
fn type_in(store: &StoreOpaque, gc_ref: VMGcRef) -> StructType {
    let index = store.core().gc().type_index(gc_ref);
    let registered = store.engine().type_registry().lookup(index);
    let registered = registered.expect("objects keep their types registered");
    StructType::from_registered(store.engine(), registered)
}

fn field_type(ty: &StructType, index: usize) -> Result<FieldType> {
    ty.field(index).ok_or_else(|| {
        anyhow!(
            "no field {index} in `{ty}`: it has {} fields",
            ty.fields().len()
        )
    })
}

/// The value of a field of the root's struct, which is of the type `ty`.
fn field_in(
    store: &mut StoreOpaque,
    root: GcRootIndex,
    ty: &StructType,
    index: usize,
) -> Result<Val> {
    let gc_ref = root.get(store)?;
    let field = field_type(ty, index)?;
    let raw = store
        .core()
        .gc()
        .field(gc_ref, object::field_number(index)?);
    // SAFETY: read from a field of this type.
    Ok(unsafe { object::from_storage(store, raw, field.element_type()) })
}

/// The iterator of [`StructRef::fields`].
struct Fields<'a, T> {
    root: GcRootIndex,
    store: StoreContextMut<'a, T>,
    ty: StructType,
    next: usize,
    len: usize,
}

impl<T> Iterator for Fields<'_, T> {
    type Item = Val;

    fn next(&mut self) -> Option<Val> {
        if self.next == self.len {
            return None;
        }
        let value = field_in(self.store.0, self.root, &self.ty, self.next);
        self.next += 1;
        Some(value.expect("no root ends while the store is borrowed, and there is the field"))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let rest = self.len - self.next;
        (rest, Some(rest))
    }
}

impl<T> ExactSizeIterator for Fields<'_, T> {}
