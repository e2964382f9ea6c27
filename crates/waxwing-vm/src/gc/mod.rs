//! The garbage-collected heap of a store, and all that belongs to it.

mod array;
mod barriers;
mod cards;
mod collector;
mod copying;
mod counting;
mod externs;
mod funcs;
mod heap;
mod host_values;
mod null;
mod object;
mod roots;
#[cfg(test)]
mod tests;
mod types;

use std::any::Any;
use std::panic::{self, AssertUnwindSafe};
use std::ptr::NonNull;
use std::sync::Arc;

use anyhow::{Result, anyhow, ensure};
use waxwing_environ::gc::{
    GC_ARRAY_LENGTH, GC_EXN_TAG, GC_KIND_ARRAY, GC_MAX_OBJECT_SIZE, GC_REF_EXTERN_TAG,
    GC_REF_I31_BIT, GC_REF_TAG_MASK, GcCollector,
};
use waxwing_environ::{DefinedTagIndex, EngineTypeIndex};

pub(crate) use array::segment_bytes;
pub use host_values::alloc_extern;
pub(crate) use types::GcType;

use crate::allocator::Allocator;
use crate::instance::InstanceId;
use crate::store::VMStore;
use crate::store_context::VMStoreContext;
use crate::type_registry::{RegisteredType, TypeRegistry};
use crate::vmcontext::{VMFuncRef, VMGcRef};
use collector::{Attempt, Collector, Env, Scope, Tried, allocate_bytes, array_size};
use externs::{ExternTable, HostValue};
use funcs::GcFuncs;
use heap::{GcHeap, HEAP_START};
use roots::Roots;
use types::{GcTypes, Shape};

/// How a store's garbage collector behaves.
#[derive(Copy, Clone, Debug, Default)]
pub struct GcOptions {
    /// Collect at every allocation, and make what was freed or moved unusable, to find references that
    /// are not known to the collector.
    pub stress: bool,
}

/// What a GC reference refers to.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum GcKind {
    /// A 31-bit integer, which the reference itself is.
    I31,
    /// A value of the host.
    Extern,
    /// A struct.
    Struct,
    /// An array.
    Array,
    /// An exception.
    Exn,
}

/// What a store has for its objects: heap, types, collector.
pub struct GcStore {
    algorithm: Option<GcCollector>,
    collector: Collector,
    options: GcOptions,
    context: NonNull<VMStoreContext>,
    heap: Option<GcHeap>,
    active: bool,
    types: GcTypes,
    funcs: GcFuncs,
    externs: ExternTable,
    /// Values of the host that are free but not dropped.
    dead: Vec<HostValue>,
    /// The exception tags of the store by the number that stands for each in the heap.
    tags: Vec<(InstanceId, DefinedTagIndex)>,
    /// References that the runtime's own code holds.
    native_roots: Vec<u32>,
    pending_exception: Option<VMGcRef>,
    /// Instances with globals, tables or element segments that hold references.
    rooted_instances: Vec<InstanceId>,
    /// Memory to be used for the roots of a collection.
    roots: Roots,
}

// SAFETY: all pointers lead to what belongs to the store.
unsafe impl Send for GcStore {}
// SAFETY: shared references allow nothing but reading, and what is read is `Sync`.
unsafe impl Sync for GcStore {}

impl GcStore {
    pub(crate) fn new(
        algorithm: Option<GcCollector>,
        options: GcOptions,
        context: NonNull<VMStoreContext>,
    ) -> GcStore {
        GcStore {
            algorithm,
            collector: Collector::new(algorithm),
            options,
            context,
            heap: None,
            active: false,
            types: GcTypes::default(),
            funcs: GcFuncs::default(),
            externs: ExternTable::default(),
            dead: Vec::new(),
            tags: Vec::new(),
            native_roots: Vec::new(),
            pending_exception: None,
            rooted_instances: Vec::new(),
            roots: Roots::default(),
        }
    }

    fn context(&self) -> &VMStoreContext {
        // SAFETY: the context lives as long as the store, and all its fields are cells.
        unsafe { self.context.as_ref() }
    }

    /// Makes the heap, if there is none yet.
    pub(crate) fn ensure_heap(&mut self, allocator: &Allocator) -> Result<()> {
        ensure!(
            self.algorithm.is_some(),
            "objects of the garbage-collected heap need an engine with a garbage collector"
        );
        if self.heap.is_none() {
            let cards = self.algorithm == Some(GcCollector::Copying);
            let heap = GcHeap::new(cards, allocator.pool())?;
            self.context().gc_heap.set(heap.base().as_ptr());
            self.context().gc_next.set(HEAP_START);
            self.context().gc_end.set(HEAP_START);
            self.heap = Some(heap);
        }
        Ok(())
    }

    /// Whether the store's types are in its table.
    pub(crate) fn is_active(&self) -> bool {
        self.active
    }

    /// From now on all types of the store's modules and functions are added.
    pub(crate) fn activate(&mut self) {
        self.active = true;
        self.publish_funcs();
    }

    /// Adds types that stay registered as long as the store.
    pub(crate) fn add_types(&mut self, types: &[Arc<GcType>]) {
        for ty in types {
            self.types.add(ty);
        }
        self.publish_types();
    }

    /// Adds a type and keeps it registered.
    pub(crate) fn add_registered_type(&mut self, ty: &RegisteredType) -> Result<()> {
        self.types.add_registered(ty)?;
        self.publish_types();
        Ok(())
    }

    fn publish_types(&self) {
        self.context().gc_types.set(self.types.records().as_ptr());
    }

    fn publish_funcs(&mut self) {
        let funcs = self.funcs.as_slice();
        let (start, len) = (funcs.as_ptr(), funcs.len());
        self.context().gc_funcs.set(start);
        self.context().gc_funcs_len.set(len);
    }

    /// The number that stands for a function in the heap.
    ///
    /// # Safety
    ///
    /// The function is live and of this store.
    pub(crate) unsafe fn intern_func(&mut self, func: NonNull<VMFuncRef>) -> Result<u32> {
        // SAFETY: required of the caller; the store is borrowed exclusively.
        let id = unsafe { self.funcs.intern(func)? };
        self.publish_funcs();
        Ok(id)
    }

    /// An instance has globals, tables or element segments that hold references.
    pub(crate) fn add_rooted_instance(&mut self, instance: InstanceId) {
        self.rooted_instances.push(instance);
    }

    /// Gives an exception tag its number.
    pub(crate) fn add_tag(&mut self, instance: InstanceId, tag: DefinedTagIndex) -> Result<u32> {
        let id = u32::try_from(self.tags.len())
            .map_err(|_| anyhow!("no room for more exception tags in a store"))?;
        self.tags.push((instance, tag));
        Ok(id)
    }

    /// Whether the first type is the second or a declared subtype of it.
    pub(crate) fn is_subtype(&self, registry: &TypeRegistry, sub: u32, sup: u32) -> bool {
        self.types.is_subtype(registry, sub, sup)
    }

    /// The bytes of memory that the heap has, with the places of values of the host.
    pub fn capacity(&self) -> usize {
        let objects = usize::try_from(self.collector.capacity());
        objects.expect("a heap fits the address space") + self.externs.capacity()
    }

    /// The value of the host that `reference` stands for, if it stands for one.
    pub fn extern_data(&self, reference: VMGcRef) -> Option<&(dyn Any + Send + Sync)> {
        let is_extern = reference.get() & GC_REF_TAG_MASK == GC_REF_EXTERN_TAG;
        is_extern.then(|| self.externs.get(reference.get()))?
    }

    /// The value of the host that `reference` stands for, if it stands for one.
    pub fn extern_data_mut(&mut self, reference: VMGcRef) -> Option<&mut (dyn Any + Send + Sync)> {
        let is_extern = reference.get() & GC_REF_TAG_MASK == GC_REF_EXTERN_TAG;
        is_extern.then(|| self.externs.get_mut(reference.get()))?
    }

    pub(crate) fn set_pending_exception(&mut self, exception: Option<VMGcRef>) {
        self.pending_exception = exception;
    }

    pub(crate) fn has_pending_exception(&self) -> bool {
        self.pending_exception.is_some()
    }

    pub(crate) fn take_pending_exception(&mut self) -> Option<VMGcRef> {
        self.pending_exception.take()
    }

    /// The collector, and what it works on.
    fn collector_and_env(&mut self) -> (&mut Collector, Env<'_>) {
        // SAFETY: the context lives as long as the store, and all its fields are cells.
        let context = unsafe { self.context.as_ref() };
        let env = Env {
            heap: self.heap.as_ref(),
            context,
            types: &self.types,
            externs: &mut self.externs,
            dead: &mut self.dead,
            stress: self.options.stress,
        };
        (&mut self.collector, env)
    }
}

/// What the store knows of a type.
fn shape_of(store: &dyn VMStore, index: EngineTypeIndex) -> Result<Shape> {
    let shape = store.core().gc().types.shape(index);
    shape.ok_or_else(|| anyhow!("the store does not know {index} as a type of objects"))
}

/// Makes an object, zeroed but for its header.
fn allocate(
    store: &mut dyn VMStore,
    index: EngineTypeIndex,
    shape: Shape,
    size: u32,
) -> Result<Option<VMGcRef>> {
    let (collector, env) = store.core_mut().gc_mut().collector_and_env();
    let object = match collector.allocate(&env, size, Tried::default()) {
        Attempt::Done(object) => object,
        _ => match allocate_bytes(store, size)? {
            Some(object) => object,
            None => return Ok(None),
        },
    };
    let gc = store.core_mut().gc_mut();
    let bits = shape.kind() | gc.collector.initial_bits();
    gc.write_header(object, index, bits);
    Ok(VMGcRef::new(object))
}

/// A zeroed struct of a type that the store knows.
pub(crate) fn alloc_known_struct(
    store: &mut dyn VMStore,
    index: EngineTypeIndex,
) -> Result<Option<VMGcRef>> {
    let shape = shape_of(store, index)?;
    ensure!(
        shape.kind() != GC_KIND_ARRAY,
        "{index} is a type of arrays, not of structs"
    );
    allocate(store, index, shape, shape.size)
}

/// A zeroed array of a type that the store knows.
pub(crate) fn alloc_known_array(
    store: &mut dyn VMStore,
    index: EngineTypeIndex,
    len: u32,
) -> Result<Option<VMGcRef>> {
    let shape = shape_of(store, index)?;
    ensure!(
        shape.kind() == GC_KIND_ARRAY,
        "{index} is a type of structs, not of arrays"
    );
    let size = u32::try_from(array_size(&shape, len));
    let Some(size) = size.ok().filter(|size| *size <= GC_MAX_OBJECT_SIZE) else {
        return Ok(None);
    };
    let array = allocate(store, index, shape, size)?;
    if let Some(array) = array {
        let gc = store.core_mut().gc_mut();
        gc.write_u32(array.get() + GC_ARRAY_LENGTH, len);
    }
    Ok(array)
}

/// A zeroed struct. `None` if the heap is full of what is in use.
///
/// # Errors
///
/// Fails if the store's limiter does, or the type is none of structs.
pub fn alloc_struct(store: &mut dyn VMStore, ty: &RegisteredType) -> Result<Option<VMGcRef>> {
    store.core_mut().gc_mut().add_registered_type(ty)?;
    alloc_known_struct(store, ty.index())
}

/// A zeroed array of `len` elements. `None` if it is too large, or the heap is full of what is in use.
///
/// # Errors
///
/// Fails if the store's limiter does, or the type is none of arrays.
pub fn alloc_array(
    store: &mut dyn VMStore,
    ty: &RegisteredType,
    len: u32,
) -> Result<Option<VMGcRef>> {
    store.core_mut().gc_mut().add_registered_type(ty)?;
    alloc_known_array(store, ty.index(), len)
}

/// A zeroed exception of a tag of the store. `None` if the heap is full of what is in use.
///
/// # Errors
///
/// Fails if the store's limiter does.
///
/// # Panics
///
/// Panics if the store has no such tag.
pub fn alloc_exn(
    store: &mut dyn VMStore,
    (instance, tag): (InstanceId, DefinedTagIndex),
) -> Result<Option<VMGcRef>> {
    let record = store.core().instance(instance).defined_tag(tag).from;
    // SAFETY: tags live as long as the store, and are not changed.
    let record = unsafe { record.read() };
    let exception = alloc_known_struct(store, record.type_index)?;
    if let Some(exception) = exception {
        let gc = store.core_mut().gc_mut();
        gc.write_u32(exception.get() + GC_EXN_TAG, record.id);
    }
    Ok(exception)
}

/// Frees what is not in use any more, as far as the store's collector finds it.
///
/// # Panics
///
/// Panics if the destructor of a value of the host does; all of them are run before.
pub fn collect(store: &mut dyn VMStore) {
    collector::collect(store, Scope::All);
}

/// Whether `reference` is an object, rather than a number, a value of the host or null.
#[inline]
pub(crate) fn is_object(reference: u32) -> bool {
    reference & GC_REF_TAG_MASK == 0 && reference != 0
}

/// Whether `reference` is a value of the host.
#[inline]
pub(crate) fn is_extern(reference: u32) -> bool {
    reference & GC_REF_TAG_MASK == GC_REF_EXTERN_TAG
}

/// Whether `reference` is a 31-bit integer.
#[inline]
pub(crate) fn is_i31(reference: u32) -> bool {
    reference & GC_REF_I31_BIT != 0
}

/// Runs `f` while the runtime's own code holds `references`, which change if what they refer to moves.
pub(crate) fn with_roots<R>(
    store: &mut dyn VMStore,
    references: &mut [u32],
    f: impl FnOnce(&mut dyn VMStore) -> R,
) -> R {
    let roots = &mut store.core_mut().gc_mut().native_roots;
    let first = roots.len();
    roots.extend_from_slice(references);
    let result = panic::catch_unwind(AssertUnwindSafe(|| f(store)));
    let roots = &mut store.core_mut().gc_mut().native_roots;
    references.copy_from_slice(&roots[first..first + references.len()]);
    roots.truncate(first);
    result.unwrap_or_else(|payload| panic::resume_unwind(payload))
}
