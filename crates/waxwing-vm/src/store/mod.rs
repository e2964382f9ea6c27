//! [`StoreCore`]: what a store owns, whatever the embedder keeps in it.

mod create;
pub(crate) mod interrupt;
#[cfg(test)]
pub(crate) mod tests;

use std::any::Any;
use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroU64;
use std::ops::Bound;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Result;
use waxwing_environ::{
    DefinedGlobalIndex, DefinedMemoryIndex, DefinedTableIndex, EngineTypeIndex, PrimaryMap, Trap,
    Tunables,
};

pub use create::{
    create_host_global, create_host_memory, create_host_table, create_host_tag,
    import_shared_memory, instantiate,
};

use crate::allocator::{Allocator, StoreKey};
use crate::gc::{GcOptions, GcStore};
use crate::host_func::HostFunc;
use crate::instance::{Instance, InstanceHandle, InstanceId, is_gc_type};
use crate::loaded_module::LoadedModule;
#[cfg(feature = "pulley")]
use crate::pulley::Interpreter;
use crate::store_context::VMStoreContext;
use crate::sys::faults::SignalHandler;
use crate::table::TableElement;
use crate::traps::{EntryOptions, UnwindReason, enter_wasm};
use crate::type_registry::{RegisteredType, TypeRegistry};
use crate::val_raw::ValRaw;
use crate::vmcontext::{VMFuncRef, VMGcRef, VMGlobalDefinition, VMWasmCode};

/// The identity of a store: no two stores of a process have the same.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub struct StoreId(NonZeroU64);

impl StoreId {
    fn allocate() -> StoreId {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        StoreId(NonZeroU64::new(id).expect("nobody makes 2^64 stores"))
    }
}

/// A store as the runtime sees it. Limits and their errors are the embedder's.
pub trait VMStore {
    /// The part that the runtime works on.
    fn core(&self) -> &StoreCore;

    /// The part that the runtime works on.
    fn core_mut(&mut self) -> &mut StoreCore;

    /// Whether a linear memory may grow from `current` to `desired` bytes, or be made with that size, in
    /// which case `current` is zero. `maximum` is what its type declares.
    ///
    /// # Errors
    ///
    /// An error ends the instruction or operation that wanted to grow.
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool>;

    /// Growth that was allowed failed.
    ///
    /// # Errors
    ///
    /// As for [`Self::memory_growing`].
    fn memory_grow_failed(&mut self, error: anyhow::Error) -> Result<()>;

    /// Whether a table may grow from `current` to `desired` elements, or be made with that size, in which
    /// case `current` is zero. `maximum` is what its type declares.
    ///
    /// # Errors
    ///
    /// As for [`Self::memory_growing`].
    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool>;

    /// Growth that was allowed failed.
    ///
    /// # Errors
    ///
    /// As for [`Self::memory_growing`].
    fn table_grow_failed(&mut self, error: anyhow::Error) -> Result<()>;

    /// The store's fuel, [`StoreCore::fuel`], is negative. Asked until it is not.
    ///
    /// # Errors
    ///
    /// An error ends the execution. If there is none, there is more fuel than before.
    fn out_of_fuel(&mut self) -> Result<()>;

    /// The engine's epoch has reached the store's deadline.
    ///
    /// # Errors
    ///
    /// An error ends the execution.
    fn new_epoch(&mut self) -> Result<()>;

    /// How many instances the store may have.
    fn instances_limit(&self) -> usize;

    /// How many linear memories the instances of the store may define.
    fn memories_limit(&self) -> usize;

    /// How many tables the instances of the store may define.
    fn tables_limit(&self) -> usize;

    /// A collection begins. Roots that the host gave up without telling the store may end here, and no
    /// others until the collection has ended.
    fn prepare_collection(&mut self) {}

    /// Calls `visit` with every reference that the host holds on to, in an order that is the same each
    /// time as long as nothing else is done with the store. `visit` may change references.
    fn trace_host_roots(&mut self, visit: &mut dyn FnMut(&mut VMGcRef));
}

/// A record that generated code works on, at one address as long as the store.
struct PinnedContext(NonNull<VMStoreContext>);

impl Drop for PinnedContext {
    fn drop(&mut self) {
        // SAFETY: it came from a box, and who used it is gone.
        drop(unsafe { Box::from_raw(self.0.as_ptr()) });
    }
}

/// References to functions that the store made, at one address as long as the store.
#[derive(Default)]
struct FuncRefs(Vec<NonNull<VMFuncRef>>);

impl FuncRefs {
    fn push(&mut self, func_ref: VMFuncRef) -> NonNull<VMFuncRef> {
        let pointer = NonNull::from(Box::leak(Box::new(func_ref)));
        self.0.push(pointer);
        pointer
    }
}

impl Drop for FuncRefs {
    fn drop(&mut self) {
        for func_ref in &self.0 {
            // SAFETY: it came from a box, and who used it is gone.
            drop(unsafe { Box::from_raw(func_ref.as_ptr()) });
        }
    }
}

/// Values that live as long as a store. Most stores have one.
#[derive(Default)]
struct KeptAlive {
    first: Option<Arc<dyn Any + Send + Sync>>,
    /// The others, by address.
    others: HashMap<*const (), Arc<dyn Any + Send + Sync>>,
}

impl KeptAlive {
    fn insert(&mut self, value: Arc<dyn Any + Send + Sync>) {
        let address = |value: &Arc<dyn Any + Send + Sync>| Arc::as_ptr(value).cast::<()>();
        match &self.first {
            None => self.first = Some(value),
            Some(first) if address(first) == address(&value) => {}
            Some(_) => {
                self.others.entry(address(&value)).or_insert(value);
            }
        }
    }
}

/// The modules whose code a store may run. Most stores have one.
#[derive(Default)]
struct Modules {
    first: Option<Arc<LoadedModule>>,
    /// The others, by address.
    others: HashMap<*const LoadedModule, Arc<LoadedModule>>,
    /// Those of the others that have code, by the address of its end.
    by_end: BTreeMap<usize, Arc<LoadedModule>>,
}

impl Modules {
    /// Whether the module is a new one, and is added.
    fn insert(&mut self, module: &Arc<LoadedModule>) -> bool {
        let Some(first) = &self.first else {
            self.first = Some(Arc::clone(module));
            return true;
        };
        let key = Arc::as_ptr(module);
        if Arc::ptr_eq(first, module) || self.others.contains_key(&key) {
            return false;
        }
        self.others.insert(key, Arc::clone(module));
        if module.has_code() && !module.code().text().is_empty() {
            let end = module.code().text_range().end;
            self.by_end.insert(end, Arc::clone(module));
        }
        true
    }

    fn iter(&self) -> impl Iterator<Item = &Arc<LoadedModule>> {
        self.first.iter().chain(self.others.values())
    }

    /// The module whose code contains the address `pc`.
    fn of_pc(&self, pc: usize) -> Option<&Arc<LoadedModule>> {
        let contains = |module: &&Arc<LoadedModule>| {
            module.has_code() && module.code().text_range().contains(&pc)
        };
        self.first.as_ref().filter(contains).or_else(|| {
            // A return address is never the end of the text: no function ends with a call.
            let ends = (Bound::Excluded(pc), Bound::Unbounded);
            let (_, module) = self.by_end.range(ends).next()?;
            Some(module).filter(contains)
        })
    }
}

/// How much of what the store limits there is.
#[derive(Copy, Clone, Default)]
struct Counts {
    instances: usize,
    memories: usize,
    tables: usize,
}

/// What a store owns: its instances, and all that they use.
///
/// Functions, and the addresses of globals and such, are valid as long as the store.
// Fields are dropped in this order: instances before the modules whose layout they have.
pub struct StoreCore {
    instances: PrimaryMap<InstanceId, InstanceHandle>,
    host_funcs: Vec<HostFunc>,
    shared_host_funcs: HashMap<*const HostFunc, (NonNull<VMFuncRef>, Arc<HostFunc>)>,
    func_refs: FuncRefs,
    /// The instances that own what the host has of shared memories, by the memories' identity.
    shared_memories: HashMap<usize, InstanceId>,
    gc: GcStore,
    kept_alive: KeptAlive,
    modules: Modules,
    /// Entries for WebAssembly to host functions, by type, as far as they were looked for.
    wasm_calls: HashMap<EngineTypeIndex, NonNull<VMWasmCode>>,
    /// Functions without such an entry.
    holes: Vec<NonNull<VMFuncRef>>,
    counts: Counts,
    context: PinnedContext,
    /// What the context points to.
    epoch: Arc<AtomicU64>,
    /// What the context points to.
    signal_handler: Option<Arc<SignalHandler>>,
    #[cfg(feature = "pulley")]
    interpreter: Option<Interpreter>,
    this: Option<NonNull<dyn VMStore>>,
    id: StoreId,
    entry_options: EntryOptions,
    tunables: Tunables,
    registry: Arc<TypeRegistry>,
    allocator: Arc<Allocator>,
    /// The protection key of the store's memories that are the pool's.
    pool_key: StoreKey,
}

// SAFETY: all that the pointers lead to belongs to the store or to what it keeps alive, and is `Send`:
// instances, functions of the host (whose state has to be), values. The embedder's part of the store is
// behind `this`, which points to the very object that contains the core, and moves with it.
unsafe impl Send for StoreCore {}
// SAFETY: shared references allow nothing but reading, and what is read is `Sync`.
unsafe impl Sync for StoreCore {}

impl StoreCore {
    /// An empty store for an engine with these types and settings, and with this epoch, which deadlines are of. [`Self::set_self`] has to be called
    /// before anything is created in it.
    pub fn new(
        registry: &Arc<TypeRegistry>,
        tunables: &Tunables,
        entry_options: EntryOptions,
        gc_options: GcOptions,
        allocator: &Arc<Allocator>,
        epoch: &Arc<AtomicU64>,
    ) -> StoreCore {
        let context = PinnedContext(NonNull::from(Box::leak(Box::default())));
        let core = StoreCore {
            instances: PrimaryMap::new(),
            host_funcs: Vec::new(),
            shared_host_funcs: HashMap::new(),
            func_refs: FuncRefs::default(),
            shared_memories: HashMap::new(),
            gc: GcStore::new(tunables.collector, gc_options, context.0),
            kept_alive: KeptAlive::default(),
            modules: Modules::default(),
            wasm_calls: HashMap::new(),
            holes: Vec::new(),
            counts: Counts::default(),
            context,
            epoch: Arc::clone(epoch),
            signal_handler: None,
            #[cfg(feature = "pulley")]
            interpreter: None,
            this: None,
            id: StoreId::allocate(),
            entry_options,
            tunables: tunables.clone(),
            registry: Arc::clone(registry),
            allocator: Arc::clone(allocator),
            pool_key: StoreKey::default(),
        };
        if let Some(pool) = allocator.pool() {
            core.context().rights.set(pool.rights(&core.pool_key));
        }
        core.context().epoch_counter.set(Arc::as_ptr(epoch));
        core
    }

    /// Says which object this is the core of, for limits to be asked for.
    ///
    /// # Safety
    ///
    /// `this` is valid whenever code of the store's instances runs, and its [`VMStore::core`] is this
    /// object. It may be used for exclusive access whenever such code calls a builtin.
    pub unsafe fn set_self(&mut self, this: NonNull<dyn VMStore + '_>) {
        // SAFETY: only the lifetime changes; the caller guarantees that the pointer is valid when used.
        self.this = Some(unsafe {
            std::mem::transmute::<NonNull<dyn VMStore + '_>, NonNull<dyn VMStore + 'static>>(this)
        });
    }

    /// The store's identity.
    #[inline]
    pub fn id(&self) -> StoreId {
        self.id
    }

    /// The record that generated code works on; valid as long as the store.
    #[inline]
    pub fn vm_store_context(&self) -> NonNull<VMStoreContext> {
        self.context.0
    }

    #[inline]
    fn context(&self) -> &VMStoreContext {
        // SAFETY: the record lives as long as the store. It consists of cells, which generated code does not use
        // while the store is borrowed.
        unsafe { self.context.0.as_ref() }
    }

    /// How WebAssembly is entered.
    #[inline]
    pub fn entry_options(&self) -> &EntryOptions {
        &self.entry_options
    }

    /// The engine's settings.
    pub fn tunables(&self) -> &Tunables {
        &self.tunables
    }

    /// The engine's types.
    pub fn type_registry(&self) -> &Arc<TypeRegistry> {
        &self.registry
    }

    /// Where what belongs to the store comes from.
    pub fn allocator(&self) -> &Arc<Allocator> {
        &self.allocator
    }

    /// Makes the garbage-collected heap, if there is none yet.
    pub(crate) fn ensure_gc_heap(&mut self) -> Result<()> {
        self.gc.ensure_heap(&self.allocator)
    }

    /// The garbage-collected heap.
    #[inline]
    pub fn gc(&self) -> &GcStore {
        &self.gc
    }

    /// The garbage-collected heap.
    #[inline]
    pub fn gc_mut(&mut self) -> &mut GcStore {
        &mut self.gc
    }

    /// Makes `exception` the one that no handler caught, for the host to take. It stays alive until then.
    pub fn set_pending_exception(&mut self, exception: VMGcRef) {
        self.gc.set_pending_exception(Some(exception));
    }

    /// The exception that no handler caught, if there is one. From now on the host keeps it alive.
    pub fn take_pending_exception(&mut self) -> Option<VMGcRef> {
        self.gc.take_pending_exception()
    }

    /// Whether there is an exception that no handler caught.
    pub fn has_pending_exception(&self) -> bool {
        self.gc.has_pending_exception()
    }

    /// An instance of the store.
    ///
    /// # Panics
    ///
    /// Panics if the store has no such instance.
    #[inline]
    pub fn instance(&self, id: InstanceId) -> &Instance {
        // SAFETY: the store owns the instance. The reference borrows the store, so that neither code of
        // the store runs nor another reference is made that changes it.
        unsafe { self.instances[id].as_ptr().as_ref() }
    }

    /// An instance of the store.
    ///
    /// # Panics
    ///
    /// As for [`Self::instance`].
    #[inline]
    pub fn instance_mut(&mut self, id: InstanceId) -> &mut Instance {
        // SAFETY: as for `instance`, and the borrow of the store is exclusive.
        unsafe { self.instances[id].as_ptr().as_mut() }
    }

    /// All instances, among them those that were made up for items of the host.
    pub fn instances(&self) -> impl Iterator<Item = InstanceId> + '_ {
        self.instances.keys()
    }

    /// Keeps a module alive as long as the store, and gives functions of the host that have none yet an
    /// entry for WebAssembly, as far as the module has trampolines. Whoever instantiates does so.
    pub fn register_module(&mut self, module: &Arc<LoadedModule>) {
        if !self.modules.insert(module) {
            return;
        }
        if module.has_code() {
            module.code().register_unwinding();
        }
        self.add_types_of(module);
        self.holes.retain(|hole| {
            // SAFETY: the store owns these records, and nobody has references to them.
            let func_ref = unsafe { &mut *hole.as_ptr() };
            func_ref.wasm_call = module.host_call(&self.registry, func_ref.type_index);
            func_ref.wasm_call.is_none()
        });
    }

    /// Makes the types of a module known to generated code and the collector, if any module of the store
    /// asks for them.
    fn add_types_of(&mut self, module: &LoadedModule) {
        if self.gc.is_active() {
            self.gc.add_types(module.gc_types());
        } else if module.needs_gc_types() {
            self.gc.activate();
            for module in self.modules.iter() {
                self.gc.add_types(module.gc_types());
            }
            let shared = self.shared_host_funcs.values().map(|(_, func)| &**func);
            for func in self.host_funcs.iter().chain(shared) {
                add_registered_type(&mut self.gc, func.ty());
            }
        }
    }

    fn add_func_type(&mut self, ty: &RegisteredType) {
        if self.gc.is_active() {
            add_registered_type(&mut self.gc, ty);
        }
    }

    /// Gives a global that an instance owns another value.
    ///
    /// # Panics
    ///
    /// Panics if the store has no such global.
    ///
    /// # Safety
    ///
    /// The value is of the global's type, and the store's if it is a reference.
    pub unsafe fn global_set(
        &mut self,
        instance: InstanceId,
        index: DefinedGlobalIndex,
        value: ValRaw,
    ) {
        let owner = self.instance(instance);
        let ty = owner.defined_global_type(index).wasm_ty;
        let record = owner.defined_global(index).from;
        if is_gc_type(ty) {
            // SAFETY: globals live as long as their store, which is borrowed exclusively.
            let old = unsafe { record.read() }.value(ty).get_anyref();
            self.gc.replace_root(old, value.get_anyref());
        }
        // SAFETY: as above.
        unsafe { record.write(VMGlobalDefinition::new(ty, value)) };
    }

    /// Sets an element of a table that an instance owns.
    ///
    /// # Errors
    ///
    /// Traps if there is no such element.
    ///
    /// # Panics
    ///
    /// Panics if the store has no such table, or the reference is not of its kind. That it is of the
    /// table's type is for the caller to know.
    pub fn table_set(
        &mut self,
        instance: InstanceId,
        table: DefinedTableIndex,
        index: u64,
        element: TableElement,
    ) -> Result<(), Trap> {
        self.table_fill(instance, table, index, element, 1)
    }

    /// Sets `len` elements from `start` on of a table that an instance owns.
    ///
    /// # Errors
    ///
    /// Traps, before anything is changed, if they are not all within the table.
    ///
    /// # Panics
    ///
    /// As for [`Self::table_set`].
    pub fn table_fill(
        &mut self,
        instance: InstanceId,
        table: DefinedTableIndex,
        start: u64,
        element: TableElement,
        len: u64,
    ) -> Result<(), Trap> {
        let range = self
            .instance(instance)
            .table(table)
            .check_range(start, len)?;
        if let TableElement::GcRef(new) = element
            && self.gc.counts_references()
        {
            let new = new.map_or(0, VMGcRef::get);
            for index in range {
                let old = self.gc_element(instance, table, index as u64);
                self.gc.replace_root(old, new);
            }
        }
        let owner = self.instance_mut(instance);
        owner.table_fill(table, start, element, len)
    }

    /// An element of a table of GC references, zero if it is null.
    fn gc_element(&self, instance: InstanceId, table: DefinedTableIndex, index: u64) -> u32 {
        match self.instance(instance).table(table).get(index) {
            Ok(Some(TableElement::GcRef(Some(reference)))) => reference.get(),
            _ => 0,
        }
    }

    /// Counts what copying between tables overwrites and what it adds.
    fn count_table_copy(
        &mut self,
        (dst, dst_table): (InstanceId, DefinedTableIndex),
        dst_index: u64,
        (src, src_table): (InstanceId, DefinedTableIndex),
        src_index: u64,
        len: u64,
    ) -> Result<(), Trap> {
        let from = self.instance(src).table(src_table);
        from.check_range(src_index, len)?;
        let to = self.instance(dst).table(dst_table);
        to.check_range(dst_index, len)?;
        if !matches!(to.null(), TableElement::GcRef(_)) {
            return Ok(());
        }
        for i in 0..len {
            let new = self.gc_element(src, src_table, src_index + i);
            self.gc.count_up(new);
        }
        for i in 0..len {
            let old = self.gc_element(dst, dst_table, dst_index + i);
            self.gc.count_down(old);
        }
        Ok(())
    }

    /// The interpreter of the store's bytecode, made at the first call.
    ///
    /// # Errors
    ///
    /// Fails if there is no memory for its stack.
    #[cfg(feature = "pulley")]
    pub(crate) fn interpreter(&mut self) -> Result<&Interpreter> {
        Ok(match &mut self.interpreter {
            Some(interpreter) => interpreter,
            none => none.insert(Interpreter::new(self.entry_options.max_wasm_stack)?),
        })
    }

    /// The module whose code contains the address `pc`.
    pub fn module_of_pc(&self, pc: usize) -> Option<&Arc<LoadedModule>> {
        self.modules.of_pc(pc)
    }

    /// How WebAssembly calls host functions of a type, if a module of the store can.
    pub fn find_wasm_call(&mut self, ty: EngineTypeIndex) -> Option<NonNull<VMWasmCode>> {
        if let Some(code) = self.wasm_calls.get(&ty) {
            return Some(*code);
        }
        let code = self
            .modules
            .iter()
            .find_map(|module| module.host_call(&self.registry, ty))?;
        self.wasm_calls.insert(ty, code);
        Some(code)
    }

    /// Fills a function's entry for WebAssembly, or remembers that it lacks one.
    fn fill_or_remember(&mut self, func_ref: NonNull<VMFuncRef>) {
        // SAFETY: the store owns the record, and nobody has references to it.
        let ty = unsafe { (*func_ref.as_ptr()).type_index };
        match self.find_wasm_call(ty) {
            // SAFETY: as above.
            Some(code) => unsafe { (*func_ref.as_ptr()).wasm_call = Some(code) },
            None => self.holes.push(func_ref),
        }
    }

    /// Takes a function of the host over, and returns the store's reference to it.
    pub fn add_host_func(&mut self, func: HostFunc) -> NonNull<VMFuncRef> {
        let func_ref = func.func_ref();
        self.add_func_type(func.ty());
        self.host_funcs.push(func);
        self.fill_or_remember(func_ref);
        func_ref
    }

    /// The store's reference to a function of the host that others may use too.
    pub fn add_shared_host_func(&mut self, func: &Arc<HostFunc>) -> NonNull<VMFuncRef> {
        let key = Arc::as_ptr(func);
        if let Some((func_ref, _)) = self.shared_host_funcs.get(&key) {
            return *func_ref;
        }
        self.add_func_type(func.ty());
        // SAFETY: the function is alive, and its record is not changed while it is shared.
        let func_ref = self.func_refs.push(unsafe { func.func_ref().read() });
        self.shared_host_funcs
            .insert(key, (func_ref, Arc::clone(func)));
        self.fill_or_remember(func_ref);
        func_ref
    }

    /// Keeps a value alive as long as the store; the same one once.
    pub fn keep_alive(&mut self, value: Arc<dyn Any + Send + Sync>) {
        self.kept_alive.insert(value);
    }
}

fn add_registered_type(gc: &mut GcStore, ty: &RegisteredType) {
    gc.add_registered_type(ty)
        .expect("a registered type keeps those registered that it refers to");
}

/// Grows a linear memory by `delta` pages. Returns the previous number of pages, or `None` if the memory
/// cannot grow so far, or the store's limiter does not allow it.
///
/// # Errors
///
/// Fails if the limiter does.
///
/// # Panics
///
/// Panics if the store has no such memory.
pub fn memory_grow(
    store: &mut dyn VMStore,
    instance: InstanceId,
    index: DefinedMemoryIndex,
    delta: u64,
) -> Result<Option<u64>> {
    let instance = store.core_mut().instances[instance].as_ptr();
    // SAFETY: the instance is the store's, which is borrowed exclusively.
    unsafe { Instance::memory_grow(instance, store, index, delta) }
}

/// Grows a table by `delta` elements, which become `init`. Returns the previous number, or `None` if the
/// table cannot grow so far, or the store's limiter does not allow it.
///
/// # Errors
///
/// Fails if the limiter does.
///
/// # Panics
///
/// Panics if the store has no such table, or `init` is not of its kind.
pub fn table_grow(
    store: &mut dyn VMStore,
    instance: InstanceId,
    index: DefinedTableIndex,
    delta: u64,
    init: TableElement,
) -> Result<Option<u64>> {
    let pointer = store.core_mut().instances[instance].as_ptr();
    // SAFETY: the instance is the store's, which is borrowed exclusively.
    let grown = unsafe { Instance::table_grow(pointer, store, index, delta, init)? };
    if let (Some(_), TableElement::GcRef(Some(init))) = (grown, init)
        && store.core().gc.counts_references()
    {
        let gc = &mut store.core_mut().gc;
        for _ in 0..delta {
            gc.count_up(init.get());
        }
    }
    Ok(grown)
}

/// Copies elements between tables, which may be the same.
///
/// # Errors
///
/// Traps, before anything is changed, if the elements are not all within the tables.
///
/// # Panics
///
/// Panics if the store has no such tables, or they differ in kind.
pub fn table_copy(
    store: &mut StoreCore,
    (dst, dst_table): (InstanceId, DefinedTableIndex),
    dst_index: u64,
    (src, src_table): (InstanceId, DefinedTableIndex),
    src_index: u64,
    len: u64,
) -> Result<(), Trap> {
    if store.gc.counts_references() {
        store.count_table_copy(
            (dst, dst_table),
            dst_index,
            (src, src_table),
            src_index,
            len,
        )?;
    }
    let dst = (store.instances[dst].as_ptr(), dst_table);
    let src = (store.instances[src].as_ptr(), src_table);
    // SAFETY: the instances are the store's, which is borrowed exclusively.
    unsafe { Instance::table_copy(dst, dst_index, src, src_index, len) }
}

/// Calls a function of a store, of WebAssembly or of the host. Parameters are read from `values`, results
/// are written there.
///
/// # Errors
///
/// Fails with what ended the call early.
///
/// # Safety
///
/// The function is the store's. The values are of the types of its parameters, and there is room for all
/// parameters and for all results.
pub unsafe fn call(
    store: &mut dyn VMStore,
    func: NonNull<VMFuncRef>,
    values: &mut [ValRaw],
) -> Result<(), Box<UnwindReason>> {
    let core = store.core();
    let (context, options) = (core.vm_store_context(), core.entry_options);
    let len = values.len();
    let values = NonNull::from(values).cast();
    // SAFETY: required of the caller; the store is borrowed exclusively.
    unsafe { call_unchecked(context, &options, func, values, len) }
}

/// As [`call`], without anything that a call does not need: for typed calls.
///
/// # Errors
///
/// Fails with what ended the call early.
///
/// # Safety
///
/// As for [`call`]. `context` is that of the function's store, of which the caller has exclusive use. There
/// are `len` values at `values`, that nobody else uses.
#[inline]
pub unsafe fn call_unchecked(
    context: NonNull<VMStoreContext>,
    options: &EntryOptions,
    func: NonNull<VMFuncRef>,
    values: NonNull<ValRaw>,
    len: usize,
) -> Result<(), Box<UnwindReason>> {
    // SAFETY: required of the caller.
    unsafe {
        let array_call = (*func.as_ptr()).array_call;
        enter_wasm(context, options, || array_call(func, None, values, len))
    }
}
