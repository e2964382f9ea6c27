//! [`ExnRef`] and [`ExnRefPre`].

use anyhow::{Context, Result, anyhow, ensure};
use waxwing_vm::{StoreId, VMGcRef};

use super::object;
use super::out_of_memory::GcHeapOutOfMemory;
use super::rooting::{GcRootIndex, gc_ref};
use crate::store::{StoreInner, StoreOpaque};
use crate::{
    AsContext, AsContextMut, Engine, ExnType, FieldType, HeapType, Rooted, StoreContextMut, Tag,
    Val,
};

/// What it takes to allocate exceptions of a type, made once for all of them.
///
/// See [`ExnRef`] for an example.
pub struct ExnRefPre {
    store: StoreId,
    ty: ExnType,
}

impl ExnRefPre {
    /// Prepares for exceptions of the type `ty` in `store`.
    ///
    /// # Panics
    ///
    /// Panics if `ty` belongs to another engine.
    pub fn new(mut store: impl AsContextMut, ty: ExnType) -> Self {
        let store = store.as_context_mut().0;
        assert!(
            Engine::same(ty.engine(), store.engine()),
            "type used with a store of another engine"
        );
        ExnRefPre {
            store: store.id(),
            ty,
        }
    }
}

/// A reference to an exception: a [`Tag`], which says what kind of exception it is, and the values
/// that it carries.
///
/// This is the type `(ref exn)`. `Option<Rooted<ExnRef>>` is `exnref`, which can be null.
///
/// A host function throws one by returning the error of [`Store::throw`](crate::Store::throw). An exception
/// that WebAssembly throws and does not catch reaches the host as a
/// [`ThrownException`](crate::ThrownException), and can be had by
/// [`Store::take_pending_exception`](crate::Store::take_pending_exception).
///
/// ```
/// # use waxwing::*;
/// # fn main() -> Result<()> {
/// let engine = Engine::new(Config::new().wasm_exceptions(true))?;
/// let module = Module::new(
///     &engine,
///     r#"(module
///         (import "host" "error" (tag $error (param i32)))
///         (import "host" "open" (func $open))
///         (func (export "run") (result i32)
///             (block $caught (result i32)
///                 (try_table (catch $error $caught) (call $open))
///                 (i32.const 0))))"#,
/// )?;
/// let mut store = Store::new(&engine, ());
/// let ty = TagType::new(FuncType::new(&engine, [ValType::I32], []));
/// let error = Tag::new(&mut store, &ty)?;
/// let open = Func::wrap(&mut store, move |mut caller: Caller<'_, ()>| -> Result<()> {
///     let ty = ExnType::from_tag_type(&error.ty(&caller))?;
///     let allocator = ExnRefPre::new(&mut caller, ty);
///     let exception = ExnRef::new(&mut caller, &allocator, &error, &[Val::I32(-2)])?;
///     caller.as_context_mut().throw(exception)
/// });
/// let instance = Instance::new(&mut store, &module, &[error.into(), open.into()])?;
/// let run = instance.get_typed_func::<(), i32>(&mut store, "run")?;
/// assert_eq!(run.call(&mut store, ())?, -2);
/// # Ok(())
/// # }
/// ```
#[repr(transparent)]
pub struct ExnRef {
    index: GcRootIndex,
}

gc_ref!(ExnRef, Exn);

impl ExnRef {
    /// Allocates an exception with the tag `tag` that carries `fields`, rooted in the current scope.
    /// Garbage may be collected before. Nothing is thrown yet.
    ///
    /// # Errors
    ///
    /// Fails if the tag is not of the type that `allocator` was made for, if `fields` are not as many as it
    /// says or not of the types that it says, if one is a reference of another store or not rooted any more, or
    /// if the store has no collector. Fails with [`GcHeapOutOfMemory<()>`](GcHeapOutOfMemory) if
    /// there is no room, or with the error of the store's limiter.
    ///
    /// # Panics
    ///
    /// Panics if `allocator` or `tag` belongs to another store.
    pub fn new(
        mut store: impl AsContextMut,
        allocator: &ExnRefPre,
        tag: &Tag,
        fields: &[Val],
    ) -> Result<Rooted<ExnRef>> {
        new_in(store.as_context_mut().0, allocator, tag, fields)
    }

    /// The exception's tag.
    ///
    /// # Errors
    ///
    /// Fails if the reference is not rooted any more.
    ///
    /// # Panics
    ///
    /// Panics if the reference belongs to another store.
    pub fn tag(&self, mut store: impl AsContextMut) -> Result<Tag> {
        let store = store.as_context_mut().0;
        let gc_ref = self.index.get(store)?;
        let (instance, index) = store.core().gc().exn_tag(gc_ref);
        Ok(Tag::new_handle(store.id(), instance, index))
    }

    /// The type of the exception.
    ///
    /// # Errors
    ///
    /// Fails if the reference is not rooted any more.
    ///
    /// # Panics
    ///
    /// Panics if the reference belongs to another store.
    pub fn ty(&self, store: impl AsContext) -> Result<ExnType> {
        let store = store.as_context().0;
        Ok(type_in(store, self.index.get(store)?))
    }

    /// Whether the exception is of the type `ty`: whether that is `exn`, or the exception's own type.
    ///
    /// # Errors
    ///
    /// Fails if the reference is not rooted any more.
    ///
    /// # Panics
    ///
    /// Panics if the reference belongs to another store, or `ty` to another engine.
    pub fn matches_ty(&self, store: impl AsContext, ty: &HeapType) -> Result<bool> {
        let store = store.as_context().0;
        assert!(
            ty.comes_from_same_engine(store.engine()),
            "type used with a store of another engine"
        );
        let actual = type_in(store, self.index.get(store)?);
        Ok(HeapType::ConcreteExn(actual).matches(ty))
    }

    /// All values that the exception carries, in order. References among them are rooted in the
    /// current scope.
    ///
    /// # Errors
    ///
    /// Fails if the reference is not rooted any more.
    ///
    /// # Panics
    ///
    /// Panics if the reference belongs to another store.
    pub fn fields<'a, T: 'static>(
        &'a self,
        store: impl Into<StoreContextMut<'a, T>>,
    ) -> Result<impl ExactSizeIterator<Item = Val> + 'a> {
        let store = store.into();
        let ty = type_in(store.0, self.index.get(store.0)?);
        let len = ty.fields().len();
        Ok(Fields {
            root: self.index,
            store,
            next: 0,
            len,
            ty,
        })
    }

    /// The value `index` of those that the exception carries. A reference is rooted in the current scope.
    ///
    /// # Errors
    ///
    /// Fails if there is no such value, or if the reference is not rooted any more.
    ///
    /// # Panics
    ///
    /// Panics if the reference belongs to another store.
    pub fn field(&self, mut store: impl AsContextMut, index: usize) -> Result<Val> {
        let store = store.as_context_mut().0;
        let ty = type_in(store, self.index.get(store)?);
        field_in(store, self.index, &ty, index)
    }

    /// The reference that `raw`, a result of [`to_raw`](Self::to_raw) or a
    /// [`ValRaw`](crate::ValRaw), stands for, rooted in the current scope. `None` for null.
    ///
    /// # Safety
    ///
    /// `raw` came from this store, and garbage was not collected since, which can move objects.
    pub unsafe fn from_raw(mut store: impl AsContextMut, raw: u32) -> Option<Rooted<Self>> {
        let gc_ref = VMGcRef::new(raw)?;
        Some(Rooted::new(store.as_context_mut().0, gc_ref))
    }

    /// The representation of the reference in a [`ValRaw`](crate::ValRaw).
    ///
    /// # Errors
    ///
    /// Fails if the reference is not rooted any more.
    ///
    /// # Panics
    ///
    /// Panics if the reference belongs to another store.
    ///
    /// # Safety
    ///
    /// The result does not keep the reference alive: it is for immediate use in a call, before
    /// anything else is done with the store.
    pub unsafe fn to_raw(&self, mut store: impl AsContextMut) -> Result<u32> {
        let gc_ref = self.index.get(store.as_context_mut().0)?;
        Ok(gc_ref.get())
    }
}

fn new_in<T>(
    store: &mut StoreInner<T>,
    allocator: &ExnRefPre,
    tag: &Tag,
    fields: &[Val],
) -> Result<Rooted<ExnRef>> {
    assert_eq!(
        allocator.store,
        store.id(),
        "allocator used with another store than its own"
    );
    object::ensure_collector(store)?;
    let ty = &allocator.ty;
    let tag_type = tag.func_type(store);
    ensure!(
        tag_type.type_index() == ty.type_index(),
        "cannot make an exception of the type `{ty}` with a tag of the type `{tag_type}`"
    );
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
    let gc_ref =
        waxwing_vm::alloc_exn(store, tag.vm_tag())?.ok_or_else(|| GcHeapOutOfMemory::new(()))?;
    // Only from here on are references read from their roots: the allocation may have moved what
    // they refer to. Nothing is allocated any more.
    for (index, value) in fields.iter().enumerate() {
        let raw = value.to_raw_in(store)?;
        let index = object::field_number(index)?;
        store.core_mut().gc_mut().set_field(gc_ref, index, raw);
    }
    Ok(Rooted::new(store, gc_ref))
}

/// The type of an exception.
pub(crate) fn type_in(store: &StoreOpaque, gc_ref: VMGcRef) -> ExnType {
    let index = store.core().gc().type_index(gc_ref);
    let registered = store.engine().type_registry().lookup(index);
    let registered = registered.expect("objects keep their types registered");
    ExnType::from_registered(store.engine(), registered)
}

/// The value of a field of the root's exception, which is of the type `ty`.
fn field_in(store: &mut StoreOpaque, root: GcRootIndex, ty: &ExnType, index: usize) -> Result<Val> {
    let gc_ref = root.get(store)?;
    let field: FieldType = ty.field(index).ok_or_else(|| {
        anyhow!(
            "no field {index} in `{ty}`: it has {} fields",
            ty.fields().len()
        )
    })?;
    let number = object::field_number(index)?;
    let raw = store.core().gc().field(gc_ref, number);
    // SAFETY: read from a field of this type.
    Ok(unsafe { object::from_storage(store, raw, field.element_type()) })
}

/// The iterator of [`ExnRef::fields`].
struct Fields<'a, T> {
    root: GcRootIndex,
    store: StoreContextMut<'a, T>,
    ty: ExnType,
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
