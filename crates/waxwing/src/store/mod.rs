//! [`Store`]: the owner of all that WebAssembly works on at run time.
//!
//! A [`Store<T>`] owns one heap allocation, [`StoreInner<T>`], whose address never changes: the
//! instances in it keep a pointer to it, by which host functions and builtins find their store.
//! What does not depend on `T` is in [`StoreOpaque`], to which the rest dereferences, so that
//! nearly all code is compiled once.

#[cfg_attr(not(feature = "async"), path = "synchronous.rs")]
mod asynchronous;
#[cfg_attr(not(feature = "call-hook"), path = "no_call_hook.rs")]
mod call_hook;
mod context;
mod exceptions;
mod interrupt;
mod limiter;

use std::fmt;
use std::marker::PhantomData;
use std::mem;
use std::num::NonZeroU64;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::sync::Arc;

use anyhow::Result;
use smallvec::SmallVec;
use waxwing_environ::EngineTypeIndex;
use waxwing_vm::traps::EntryOptions;
use waxwing_vm::{GcOptions, LoadedModule, StoreCore, StoreId, VMGcRef, VMStore, ValRaw};

use crate::gc::RootSet;
use crate::limits::{DEFAULT_INSTANCE_LIMIT, DEFAULT_MEMORY_LIMIT, DEFAULT_TABLE_LIMIT};
use crate::{Engine, FuncType, Module, Val};
use interrupt::EpochBehavior;
use limiter::Limiter;

#[cfg(feature = "async")]
pub(crate) use asynchronous::assert_async;
#[cfg(all(feature = "async", feature = "call-hook"))]
pub use call_hook::CallHookHandler;
pub(crate) use call_hook::CallValues;
pub use context::{AsContext, AsContextMut, StoreContext, StoreContextMut};
pub use exceptions::ThrownException;
pub(crate) use exceptions::trap_reason;
pub use interrupt::UpdateDeadline;

/// A collection of WebAssembly instances and of the host's state.
///
/// All items of WebAssembly at run time, [`Instance`]s, [`Func`]s, [`Memory`]s and so on, live in a
/// store and are used together with it: they are small handles, and their methods take the store as
/// a context. Using one with another store than its own panics.
///
/// The store also holds a value of the type `T` of the embedder's choice, which host functions
/// reach by [`Caller::data`] and [`Caller::data_mut`].
///
/// Nothing in a store but garbage-collected values is freed before the store itself is dropped. A
/// store is cheap to make, so it
/// should live no longer than the instances in it are of use: a new one for each request of a
/// server, for example.
///
/// [`Instance`]: crate::Instance
/// [`Func`]: crate::Func
/// [`Memory`]: crate::Memory
/// [`Caller::data`]: crate::Caller::data
/// [`Caller::data_mut`]: crate::Caller::data_mut
pub struct Store<T> {
    /// From `Box::into_raw`; freed in `drop` or `into_data`. Not a box, as that would claim
    /// exclusive access whenever the store is moved.
    inner: NonNull<StoreInner<T>>,
    _owns: PhantomData<StoreInner<T>>,
}

// SAFETY: a `Store` owns what it points to. All state in it is reached through the store alone:
// through `&mut Store` for every change, and read-only through `&Store`.
unsafe impl<T: Send> Send for Store<T> {}
// SAFETY: as above; what `&Store` offers never writes, but for the registries of the engine, which
// have their locks.
unsafe impl<T: Sync> Sync for Store<T> {}

/// What a [`Store`] owns, at a stable address.
pub struct StoreInner<T> {
    opaque: StoreOpaque,
    limiter: Option<Limiter<T>>,
    epoch_behavior: EpochBehavior<T>,
    #[cfg(feature = "call-hook")]
    hook: Option<call_hook::Hook<T>>,
    data: T,
}

/// The part of a store that does not depend on the type of its data.
pub struct StoreOpaque {
    core: StoreCore,
    engine: Engine,
    /// Whether WebAssembly is called by functions that are `async` alone.
    is_async: bool,
    roots: RootSet,
    /// The modules of the store's instances, sorted by the address of their `LoadedModule`.
    modules: SmallVec<[Module; 1]>,
    instance_limit: usize,
    table_limit: usize,
    memory_limit: usize,
    /// Fuel beside what code counts.
    fuel_reserve: u64,
    /// After how much fuel code lets other tasks run, if it does.
    fuel_yield_interval: Option<NonZeroU64>,
    /// An empty vector whose capacity is reused by calls of and to untyped functions.
    spare_values: Vec<Val>,
    /// As `spare_values`, for arguments and results in transit.
    spare_raw_values: Vec<ValRaw>,
    /// The type of the function that was last called by [`Func::call`](crate::Func::call), to call
    /// it again without a look-up.
    recent_func_type: Option<FuncType>,
}

impl<T> Deref for StoreInner<T> {
    type Target = StoreOpaque;

    #[inline]
    fn deref(&self) -> &StoreOpaque {
        &self.opaque
    }
}

impl<T> DerefMut for StoreInner<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut StoreOpaque {
        &mut self.opaque
    }
}

impl<T> StoreInner<T> {
    /// The embedder's data beside the rest of the store.
    pub(crate) fn split(&mut self) -> (&mut StoreOpaque, &mut T) {
        (&mut self.opaque, &mut self.data)
    }

    fn collect_garbage(&mut self) {
        waxwing_vm::collect(self);
    }
}

impl<T> Store<T> {
    /// A store without instances, that holds `data` and runs code of `engine`.
    pub fn new(engine: &Engine, data: T) -> Self {
        let inner = Box::new(StoreInner {
            opaque: StoreOpaque {
                core: StoreCore::new(
                    engine.type_registry(),
                    engine.tunables(),
                    EntryOptions {
                        max_wasm_stack: engine.config().max_wasm_stack,
                        backtraces: engine.config().wasm_backtrace
                            || engine.config().debug.coredump_on_trap,
                    },
                    GcOptions {
                        stress: engine.config().gc.stress,
                    },
                    engine.allocator(),
                    engine.epoch(),
                ),
                engine: engine.clone(),
                is_async: asynchronous::is_async(engine),
                roots: RootSet::default(),
                modules: SmallVec::new(),
                instance_limit: DEFAULT_INSTANCE_LIMIT,
                table_limit: DEFAULT_TABLE_LIMIT,
                memory_limit: DEFAULT_MEMORY_LIMIT,
                fuel_reserve: 0,
                fuel_yield_interval: None,
                spare_values: Vec::new(),
                spare_raw_values: Vec::new(),
                recent_func_type: None,
            },
            limiter: None,
            epoch_behavior: EpochBehavior::Trap,
            #[cfg(feature = "call-hook")]
            hook: None,
            data,
        });
        let inner = NonNull::from(Box::leak(inner));
        let mut store = Store {
            inner,
            _owns: PhantomData,
        };
        // SAFETY: the pointer is valid as long as the store. Code of the store's instances runs
        // within calls that have exclusive use of the store, which they pass on to it.
        unsafe { store.inner_mut().opaque.core.set_self(inner) };
        store
    }

    #[inline]
    fn inner(&self) -> &StoreInner<T> {
        // SAFETY: the pointer is valid as long as the store, and `&self` excludes changes.
        unsafe { self.inner.as_ref() }
    }

    #[inline]
    fn inner_mut(&mut self) -> &mut StoreInner<T> {
        // SAFETY: as in `inner`, and `&mut self` gives exclusive access.
        unsafe { self.inner.as_mut() }
    }

    /// The embedder's data.
    #[inline]
    pub fn data(&self) -> &T {
        &self.inner().data
    }

    /// The embedder's data, to be changed.
    #[inline]
    pub fn data_mut(&mut self) -> &mut T {
        &mut self.inner_mut().data
    }

    /// Frees the store but for its data.
    pub fn into_data(self) -> T {
        let store = mem::ManuallyDrop::new(self);
        // SAFETY: the pointer came from a box, and the store, which is not dropped, is its only
        // owner.
        let inner = unsafe { Box::from_raw(store.inner.as_ptr()) };
        let StoreInner { opaque, data, .. } = *inner;
        drop(opaque);
        data
    }

    /// The engine that the store was made with.
    pub fn engine(&self) -> &Engine {
        &self.inner().engine
    }

    /// Collects garbage: frees the objects and the values of the host that neither WebAssembly nor a
    /// root of the host refers to any more, as far as the engine's
    /// [collector](crate::Config::collector) finds them.
    ///
    /// There is no need to call this: stores collect garbage when they run out of room. It is for
    /// programs that know a good moment for it, or wait for values of the host to be dropped.
    ///
    /// ```
    /// # use waxwing::*;
    /// # use std::sync::Arc;
    /// # fn main() -> Result<()> {
    /// let mut store = Store::<()>::default();
    /// let value = Arc::new("shared with the store");
    /// {
    ///     let mut scope = RootScope::new(&mut store);
    ///     ExternRef::new(&mut scope, Arc::clone(&value))?;
    ///     assert_eq!(Arc::strong_count(&value), 2);
    /// }
    /// store.gc();
    /// assert_eq!(Arc::strong_count(&value), 1);
    /// # Ok(())
    /// # }
    /// ```
    pub fn gc(&mut self) {
        self.inner_mut().collect_garbage();
    }

    /// The bytes of memory that the store's heap for garbage-collected values has, in use or not.
    pub fn gc_heap_capacity(&self) -> usize {
        self.inner().gc_heap_capacity()
    }
}

impl<T> Drop for Store<T> {
    fn drop(&mut self) {
        // SAFETY: the pointer came from a box, and the store is its only owner.
        drop(unsafe { Box::from_raw(self.inner.as_ptr()) });
    }
}

impl<T: Default> Default for Store<T> {
    /// A store of a new default engine.
    fn default() -> Store<T> {
        Store::new(&Engine::default(), T::default())
    }
}

impl<T: fmt::Debug> fmt::Debug for Store<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("id", &self.inner().id())
            .field("data", self.data())
            .finish_non_exhaustive()
    }
}

impl<T> VMStore for StoreInner<T> {
    fn core(&self) -> &StoreCore {
        &self.opaque.core
    }

    fn core_mut(&mut self) -> &mut StoreCore {
        &mut self.opaque.core
    }

    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool> {
        StoreInner::memory_growing(self, current, desired, maximum)
    }

    fn memory_grow_failed(&mut self, error: anyhow::Error) -> Result<()> {
        StoreInner::memory_grow_failed(self, error)
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool> {
        StoreInner::table_growing(self, current, desired, maximum)
    }

    fn table_grow_failed(&mut self, error: anyhow::Error) -> Result<()> {
        StoreInner::table_grow_failed(self, error)
    }

    fn out_of_fuel(&mut self) -> Result<()> {
        self.opaque.out_of_fuel()
    }

    fn new_epoch(&mut self) -> Result<()> {
        StoreInner::new_epoch(self)
    }

    fn instances_limit(&self) -> usize {
        self.instance_limit
    }

    fn memories_limit(&self) -> usize {
        self.memory_limit
    }

    fn tables_limit(&self) -> usize {
        self.table_limit
    }

    fn prepare_collection(&mut self) {
        self.opaque.roots.trim();
    }

    fn trace_host_roots(&mut self, visit: &mut dyn FnMut(&mut VMGcRef)) {
        self.opaque.roots.trace(visit);
    }
}

impl StoreOpaque {
    #[inline]
    pub(crate) fn id(&self) -> StoreId {
        self.core.id()
    }

    #[inline]
    pub(crate) fn core(&self) -> &StoreCore {
        &self.core
    }

    #[inline]
    pub(crate) fn core_mut(&mut self) -> &mut StoreCore {
        &mut self.core
    }

    #[inline]
    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    fn gc_heap_capacity(&self) -> usize {
        self.core.gc().capacity()
    }

    #[inline]
    pub(crate) fn roots(&self) -> &RootSet {
        &self.roots
    }

    #[inline]
    pub(crate) fn roots_mut(&mut self) -> &mut RootSet {
        &mut self.roots
    }

    /// Panics if `owner` is another store.
    #[inline]
    pub(crate) fn assert_owns(&self, owner: StoreId) {
        if owner != self.id() {
            wrong_store();
        }
    }

    /// Keeps the module of an instance that is about to be made.
    pub(crate) fn register_module(&mut self, module: &Module) {
        if let Err(position) = self.module_position(module.loaded()) {
            self.modules.insert(position, module.clone());
        }
    }

    fn module_position(&self, loaded: &Arc<LoadedModule>) -> Result<usize, usize> {
        let address = Arc::as_ptr(loaded);
        self.modules
            .binary_search_by_key(&address, |module| Arc::as_ptr(module.loaded()))
    }

    /// The module that an instance of the store was made of; `None` if the host made the instance.
    pub(crate) fn module_of(&self, loaded: &Arc<LoadedModule>) -> Option<&Module> {
        let position = self.module_position(loaded).ok()?;
        Some(&self.modules[position])
    }

    /// The modules of all instances.
    #[cfg(feature = "coredump")]
    pub(crate) fn modules(&self) -> &[Module] {
        &self.modules
    }

    /// The module whose code contains the address `pc`.
    pub(crate) fn module_of_code(&self, pc: usize) -> Option<&Module> {
        self.module_of(self.core.module_of_pc(pc)?)
    }

    /// The type of a function of the store.
    pub(crate) fn look_up_func_type(&self, index: EngineTypeIndex) -> FuncType {
        let registered = self.engine.type_registry().lookup(index);
        let registered = registered.expect("functions keep their types registered");
        FuncType::from_registered(&self.engine, registered)
    }

    /// As [`look_up_func_type`](Self::look_up_func_type); fast if it is the type that was last
    /// [returned](Self::return_func_type).
    pub(crate) fn take_func_type(&mut self, index: EngineTypeIndex) -> FuncType {
        match self.recent_func_type.take() {
            Some(ty) if ty.type_index() == index => ty,
            _ => self.look_up_func_type(index),
        }
    }

    pub(crate) fn return_func_type(&mut self, ty: FuncType) {
        self.recent_func_type = Some(ty);
    }

    pub(crate) fn take_spare_values(&mut self) -> Vec<Val> {
        mem::take(&mut self.spare_values)
    }

    pub(crate) fn return_spare_values(&mut self, mut values: Vec<Val>) {
        values.clear();
        self.spare_values = values;
    }

    pub(crate) fn take_spare_raw_values(&mut self) -> Vec<ValRaw> {
        mem::take(&mut self.spare_raw_values)
    }

    pub(crate) fn return_spare_raw_values(&mut self, mut values: Vec<ValRaw>) {
        values.clear();
        self.spare_raw_values = values;
    }
}

#[cold]
fn wrong_store() -> ! {
    panic!("object used with the wrong store")
}
