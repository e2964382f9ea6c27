//! [`ArrayRef`] and [`ArrayRefPre`].

use anyhow::{Context, Result, bail, ensure};
use waxwing_vm::{StoreId, VMGcRef};

use super::object;
use super::out_of_memory::GcHeapOutOfMemory;
use super::rooting::{GcRootIndex, gc_ref};
use crate::store::{StoreInner, StoreOpaque};
use crate::{
    ArrayType, AsContext, AsContextMut, Engine, HeapType, Rooted, StorageType, StoreContextMut, Val,
};

/// What it takes to allocate arrays of a type, made once for all of them.
///
/// See [`ArrayRef`] for an example.
pub struct ArrayRefPre {
    store: StoreId,
    ty: ArrayType,
}

impl ArrayRefPre {
    /// Prepares for arrays of the type `ty` in `store`.
    ///
    /// # Panics
    ///
    /// Panics if `ty` belongs to another engine.
    pub fn new(mut store: impl AsContextMut, ty: ArrayType) -> Self {
        let store = store.as_context_mut().0;
        assert!(
            Engine::same(ty.engine(), store.engine()),
            "type used with a store of another engine"
        );
        ArrayRefPre {
            store: store.id(),
            ty,
        }
    }
}

/// A reference to an array, an object with elements of one type.
///
/// This is the type `(ref array)`. `Option<Rooted<ArrayRef>>` is `arrayref`, which can be null.
///
/// ```
/// # use waxwing::*;
/// # fn main() -> Result<()> {
/// let mut store = Store::<()>::default();
/// let ty = FieldType::new(Mutability::Var, ValType::I32.into());
/// let ty = ArrayType::new(store.engine(), ty);
/// let arrays = ArrayRefPre::new(&mut store, ty);
///
/// let mut scope = RootScope::new(&mut store);
/// let zeros = ArrayRef::new(&mut scope, &arrays, &Val::I32(0), 1000)?;
/// assert_eq!(zeros.len(&scope)?, 1000);
/// let primes = [2, 3, 5, 7].map(Val::I32);
/// let primes = ArrayRef::new_fixed(&mut scope, &arrays, &primes)?;
/// primes.set(&mut scope, 0, Val::I32(11))?;
/// let sum: i32 = primes.elems(&mut scope)?.map(|prime| prime.unwrap_i32()).sum();
/// assert_eq!(sum, 26);
/// assert!(primes.get(&mut scope, 4).is_err());
/// # Ok(())
/// # }
/// ```
#[repr(transparent)]
pub struct ArrayRef {
    index: GcRootIndex,
}

gc_ref!(ArrayRef, Array);

impl ArrayRef {
    /// Allocates an array of `len` elements, each `elem`, rooted in the current scope. Garbage may
    /// be collected before.
    ///
    /// Of the value of a packed element, only the lower bits are kept.
    ///
    /// # Errors
    ///
    /// Fails if `elem` is not of the elements' type, if it is a reference of another store or not
    /// rooted any more, or if the store has no collector. Fails with
    /// [`GcHeapOutOfMemory<()>`](GcHeapOutOfMemory) if there is no room, or with the error of the
    /// store's limiter.
    ///
    /// # Panics
    ///
    /// Panics if `allocator` belongs to another store.
    pub fn new(
        mut store: impl AsContextMut,
        allocator: &ArrayRefPre,
        elem: &Val,
        len: u32,
    ) -> Result<Rooted<ArrayRef>> {
        let store = store.as_context_mut().0;
        let ty = &allocator.ty;
        allocator.check(store)?;
        object::check_storable(store, elem, &ty.element_type())
            .with_context(|| format!("cannot fill an array of the type `{ty}`"))?;
        let gc_ref = allocator.allocate(store, len)?;
        // Read from its root after the allocation, which may have moved what it refers to.
        let raw = elem.to_raw_in(store)?;
        if !is_zero(elem) {
            store.core_mut().gc_mut().fill_elements(gc_ref, raw);
        }
        Ok(Rooted::new(store, gc_ref))
    }

    /// Allocates an array of these elements, rooted in the current scope. Garbage may be collected
    /// before.
    ///
    /// Of the values of packed elements, only the lower bits are kept.
    ///
    /// # Errors
    ///
    /// As for [`new`](Self::new), for any of `elems`. Fails if they are 2³² or more.
    ///
    /// # Panics
    ///
    /// Panics if `allocator` belongs to another store.
    pub fn new_fixed(
        mut store: impl AsContextMut,
        allocator: &ArrayRefPre,
        elems: &[Val],
    ) -> Result<Rooted<ArrayRef>> {
        let store = store.as_context_mut().0;
        let ty = &allocator.ty;
        allocator.check(store)?;
        let element_type = ty.element_type();
        for (index, elem) in elems.iter().enumerate() {
            object::check_storable(store, elem, &element_type)
                .with_context(|| format!("cannot make element {index} of an array `{ty}`"))?;
        }
        let gc_ref = allocator.allocate(store, length(elems.len())?)?;
        // Read from their roots after the allocation, which may have moved what they refer to.
        for (index, elem) in (0..).zip(elems) {
            let raw = elem.to_raw_in(store)?;
            store.core_mut().gc_mut().set_element(gc_ref, index, raw);
        }
        Ok(Rooted::new(store, gc_ref))
    }

    /// Allocates an array of these bytes, rooted in the current scope. Garbage may be collected
    /// before.
    ///
    /// # Errors
    ///
    /// Fails if the elements of the allocator's type are not `i8`, and as [`new`](Self::new) does.
    ///
    /// # Panics
    ///
    /// Panics if `allocator` belongs to another store.
    pub fn new_from_i8_slice(
        mut store: impl AsContextMut,
        allocator: &ArrayRefPre,
        elems: &[u8],
    ) -> Result<Rooted<ArrayRef>> {
        let store = store.as_context_mut().0;
        allocator.check(store)?;
        ensure_bytes(&allocator.ty)?;
        let gc_ref = allocator.allocate(store, length(elems.len())?)?;
        let gc = store.core_mut().gc_mut();
        gc.byte_elements_mut(gc_ref).copy_from_slice(elems);
        Ok(Rooted::new(store, gc_ref))
    }

    /// Copies all elements of an array of bytes to `dst`.
    ///
    /// # Errors
    ///
    /// Fails if the elements are not `i8`, if `dst` is not as long as the array, or if the reference
    /// is not rooted any more.
    ///
    /// # Panics
    ///
    /// Panics if the reference belongs to another store.
    pub fn copy_to_i8_slice(&self, mut store: impl AsContextMut, dst: &mut [u8]) -> Result<()> {
        let store = store.as_context_mut().0;
        let gc_ref = self.index.get(store)?;
        ensure_bytes(&type_in(store, gc_ref))?;
        let src = store.core().gc().byte_elements(gc_ref);
        ensure!(
            dst.len() == src.len(),
            "cannot copy an array of length {} to a slice of length {}",
            src.len(),
            dst.len()
        );
        dst.copy_from_slice(src);
        Ok(())
    }

    /// The type of the array.
    ///
    /// # Errors
    ///
    /// Fails if the reference is not rooted any more.
    ///
    /// # Panics
    ///
    /// Panics if the reference belongs to another store.
    pub fn ty(&self, store: impl AsContext) -> Result<ArrayType> {
        let store = store.as_context().0;
        Ok(type_in(store, self.index.get(store)?))
    }

    /// Whether the array is of the type `ty`, or of a subtype.
    ///
    /// # Errors
    ///
    /// Fails if the reference is not rooted any more.
    ///
    /// # Panics
    ///
    /// Panics if the reference belongs to another store, or `ty` to another engine.
    pub fn matches_ty(&self, store: impl AsContext, ty: &ArrayType) -> Result<bool> {
        let store = store.as_context().0;
        let actual = object::type_of(store, self.index.get(store)?);
        let ty = HeapType::ConcreteArray(ty.clone());
        Ok(object::is_of_type(store, actual, &ty))
    }

    /// The number of elements.
    ///
    /// # Errors
    ///
    /// Fails if the reference is not rooted any more.
    ///
    /// # Panics
    ///
    /// Panics if the reference belongs to another store.
    pub fn len(&self, store: impl AsContext) -> Result<u32> {
        let store = store.as_context().0;
        let gc_ref = self.index.get(store)?;
        Ok(store.core().gc().array_len(gc_ref))
    }

    /// The values of all elements, in order. References among them are rooted in the current scope.
    ///
    /// # Errors
    ///
    /// Fails if the reference is not rooted any more.
    ///
    /// # Panics
    ///
    /// Panics if the reference belongs to another store.
    pub fn elems<'a, T: 'a>(
        &'a self,
        store: impl Into<StoreContextMut<'a, T>>,
    ) -> Result<impl ExactSizeIterator<Item = Val> + 'a> {
        let store = store.into();
        let gc_ref = self.index.get(store.0)?;
        Ok(Elems {
            root: self.index,
            ty: type_in(store.0, gc_ref).element_type(),
            next: 0,
            len: store.0.core().gc().array_len(gc_ref),
            store,
        })
    }

    /// The value of the element `index`. That of a packed element is zero-extended; a reference is
    /// rooted in the current scope.
    ///
    /// # Errors
    ///
    /// Fails if there is no such element, or if the reference is not rooted any more.
    ///
    /// # Panics
    ///
    /// Panics if the reference belongs to another store.
    pub fn get(&self, mut store: impl AsContextMut, index: u32) -> Result<Val> {
        let store = store.as_context_mut().0;
        let gc_ref = self.index.get(store)?;
        check_index(store, gc_ref, index)?;
        let ty = type_in(store, gc_ref).element_type();
        Ok(element_in(store, gc_ref, &ty, index))
    }

    /// Gives the element `index` a new value. Of the value of a packed element, only the lower bits
    /// are kept.
    ///
    /// # Errors
    ///
    /// Fails if there is no such element, if elements cannot change, if `value` is not of their
    /// type or is a reference of another store, or if a reference is not rooted any more.
    ///
    /// # Panics
    ///
    /// Panics if the reference belongs to another store.
    pub fn set(&self, mut store: impl AsContextMut, index: u32, value: Val) -> Result<()> {
        let store = store.as_context_mut().0;
        let gc_ref = self.index.get(store)?;
        let ty = type_in(store, gc_ref);
        if ty.mutability().is_const() {
            bail!("cannot set element {index} of an array `{ty}`: it is immutable");
        }
        check_index(store, gc_ref, index)?;
        let raw = object::to_storage(store, &value, &ty.element_type())
            .with_context(|| format!("cannot set element {index} of an array `{ty}`"))?;
        store.core_mut().gc_mut().set_element(gc_ref, index, raw);
        Ok(())
    }
}

impl ArrayRefPre {
    /// Panics unless the allocator is the store's, and fails if that has no collector.
    fn check(&self, store: &StoreOpaque) -> Result<()> {
        assert_eq!(
            self.store,
            store.id(),
            "allocator used with another store than its own"
        );
        object::ensure_collector(store)
    }

    /// An array of zeros or nulls, which the caller fills before anything else happens.
    fn allocate<T>(&self, store: &mut StoreInner<T>, len: u32) -> Result<VMGcRef> {
        let array = waxwing_vm::alloc_array(store, self.ty.registered_type(), len)?;
        Ok(array.ok_or_else(|| GcHeapOutOfMemory::new(()))?)
    }
}

/// Whether a new array's elements are this already.
fn is_zero(elem: &Val) -> bool {
    match elem {
        Val::I32(x) => *x == 0,
        Val::I64(x) => *x == 0,
        Val::F32(x) => *x == 0,
        Val::F64(x) => *x == 0,
        Val::V128(x) => x.as_u128() == 0,
        reference => reference
            .ref_()
            .is_some_and(|reference| reference.is_null()),
    }
}

fn length(len: usize) -> Result<u32> {
    u32::try_from(len).with_context(|| format!("an array cannot have {len} elements"))
}

fn ensure_bytes(ty: &ArrayType) -> Result<()> {
    ensure!(
        ty.element_type().is_i8(),
        "type mismatch: expected an array of i8, found `{ty}`"
    );
    Ok(())
}

fn check_index(store: &StoreOpaque, gc_ref: VMGcRef, index: u32) -> Result<()> {
    let len = store.core().gc().array_len(gc_ref);
    ensure!(
        index < len,
        "index out of bounds: no element {index} in an array of length {len}"
    );
    Ok(())
}

/// The type of an array.
fn type_in(store: &StoreOpaque, gc_ref: VMGcRef) -> ArrayType {
    let index = store.core().gc().type_index(gc_ref);
    let registered = store.engine().type_registry().lookup(index);
    let registered = registered.expect("objects keep their types registered");
    ArrayType::from_registered(store.engine(), registered)
}

/// The value of an element that is there and is of the type `ty`.
fn element_in(store: &mut StoreOpaque, gc_ref: VMGcRef, ty: &StorageType, index: u32) -> Val {
    let raw = store.core().gc().element(gc_ref, index);
    // SAFETY: read from an element of this type.
    unsafe { object::from_storage(store, raw, ty) }
}

/// The iterator of [`ArrayRef::elems`].
struct Elems<'a, T> {
    root: GcRootIndex,
    store: StoreContextMut<'a, T>,
    ty: StorageType,
    next: u32,
    len: u32,
}

impl<T> Iterator for Elems<'_, T> {
    type Item = Val;

    fn next(&mut self) -> Option<Val> {
        if self.next == self.len {
            return None;
        }
        let gc_ref = self.root.get(self.store.0);
        let gc_ref = gc_ref.expect("no root ends while the store is borrowed");
        let value = element_in(self.store.0, gc_ref, &self.ty, self.next);
        self.next += 1;
        Some(value)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let rest = (self.len - self.next) as usize;
        (rest, Some(rest))
    }
}

impl<T> ExactSizeIterator for Elems<'_, T> {}
