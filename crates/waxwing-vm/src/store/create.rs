//! Making things in a store: instances, and single items of the host.
//!
//! An item of the host is owned by an instance of a module made up for it, so that whoever owns an item
//! is always an instance.

use std::sync::Arc;

use anyhow::{Context, Result, anyhow, ensure};
use waxwing_environ::{
    DefinedGlobalIndex, DefinedMemoryIndex, DefinedTableIndex, DefinedTagIndex, EntityRef, Global,
    Memory, Module, PrimaryMap, Table, TableInitialValue, Tag, TypeRef, WasmValType,
};

use super::{Counts, StoreCore, VMStore};
use crate::allocator::{Affinity, InstancePermit, Pool};
use crate::imports::Imports;
use crate::instance::{self, InstanceHandle, InstanceId};
use crate::loaded_module::LoadedModule;
use crate::memory::{self, InitialContents, SharedMemory};
use crate::table::{self, TableElement};
use crate::type_registry::RegisteredType;
use crate::val_raw::ValRaw;
use crate::vmcontext::VMMemoryImport;

/// Instantiates a module: everything but running its start function.
///
/// # Errors
///
/// Fails if a limit of the store is reached, memory is lacking, or, with a
/// [`Trap`](waxwing_environ::Trap), an active segment is out of bounds. In the last case what earlier
/// segments wrote to imported items stays, and so does the instance as far as others refer to it.
///
/// # Safety
///
/// The imports are the store's, and of the types that the module wants.
pub unsafe fn instantiate(
    store: &mut dyn VMStore,
    module: &Arc<LoadedModule>,
    imports: Imports<'_>,
) -> Result<InstanceId> {
    let counts = count(store, module.module())?;
    store.core_mut().register_module(module);
    // SAFETY: required of the caller.
    let id = unsafe { allocate(store, module, imports)? };
    store.core_mut().counts = counts;
    instance::initialize(store, id)?;
    Ok(id)
}

/// How much there will be with another instance.
fn count(store: &dyn VMStore, module: &Module) -> Result<Counts> {
    let counts = store.core().counts;
    let add = |what: &str, current: usize, more: usize, limit: usize| {
        let sum = current.saturating_add(more);
        ensure!(
            sum <= limit,
            "resource limit exceeded: {what} count too high at {sum}, the store's limit is {limit}"
        );
        Ok(sum)
    };
    Ok(Counts {
        instances: add("instance", counts.instances, 1, store.instances_limit())?,
        memories: add(
            "memory",
            counts.memories,
            module.num_defined_memories(),
            store.memories_limit(),
        )?,
        tables: add(
            "table",
            counts.tables,
            module.num_defined_tables(),
            store.tables_limit(),
        )?,
    })
}

/// Makes an instance, with new memories and tables, and everything but its globals and segments
/// initialised.
///
/// # Safety
///
/// As for [`instantiate`].
unsafe fn allocate(
    store: &mut dyn VMStore,
    module: &Arc<LoadedModule>,
    imports: Imports<'_>,
) -> Result<InstanceId> {
    let facts = module.module();
    let pool = store.core().allocator().pool_for(module);
    let permit = pool.map(|pool| pool.instance(module)).transpose()?;
    let mut memories = PrimaryMap::with_capacity(facts.num_defined_memories());
    for index in (0..facts.num_defined_memories()).map(DefinedMemoryIndex::new) {
        memories.push(make_memory(store, module, index)?);
    }
    let mut tables = PrimaryMap::with_capacity(facts.num_defined_tables());
    for index in (0..facts.num_defined_tables()).map(DefinedTableIndex::new) {
        tables.push(make_table(store, module, index)?);
    }
    // SAFETY: required of the caller.
    unsafe {
        let items = (memories, tables);
        add_instance(store.core_mut(), module, imports, items, permit)
    }
}

/// Makes an instance of these memories and tables.
///
/// # Safety
///
/// As for [`instantiate`]. The memories and tables are those that the module defines.
unsafe fn add_instance(
    core: &mut StoreCore,
    module: &Arc<LoadedModule>,
    imports: Imports<'_>,
    (memories, tables): (
        PrimaryMap<DefinedMemoryIndex, memory::Memory>,
        PrimaryMap<DefinedTableIndex, table::Table>,
    ),
    permit: Option<InstancePermit>,
) -> Result<InstanceId> {
    let facts = module.module();
    if facts.needs_gc_heap {
        core.ensure_gc_heap()?;
    }
    let this = core
        .this
        .expect("`set_self` is called before anything is created");
    let id = core.instances.next_key();
    let context = core.vm_store_context();
    let mut tag_ids = PrimaryMap::with_capacity(facts.num_defined_tags());
    for tag in (0..facts.num_defined_tags()).map(DefinedTagIndex::new) {
        tag_ids.push(core.gc.add_tag(id, tag)?);
    }
    // SAFETY: the instance goes to this store, which drops it before its context; the rest is required
    // of the caller.
    let handle = unsafe {
        let items = (memories, tables, tag_ids);
        InstanceHandle::new(id, this, context, module, imports, items, permit)?
    };
    if !module.gc_roots().is_empty() {
        core.gc.add_rooted_instance(id);
    }
    Ok(core.instances.push(handle))
}

fn make_memory(
    store: &mut dyn VMStore,
    module: &LoadedModule,
    index: DefinedMemoryIndex,
) -> Result<memory::Memory> {
    let ty = &module.module().memories[module.module().memory_index(index)];
    let saturate = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
    let minimum = saturate(ty.minimum_byte_size().unwrap_or(u64::MAX));
    let maximum = ty
        .limits
        .max
        .map(|max| saturate(max.saturating_mul(ty.page_size())));
    ensure!(
        store.memory_growing(0, minimum, maximum)?,
        "memory minimum size of {} pages exceeds memory limits",
        ty.limits.min
    );
    let core = store.core();
    let pool = core.allocator().pool_for(module).filter(|_| !ty.shared);
    let contents = match module.image_facts(index) {
        None => InitialContents::Zeros,
        Some(facts) => {
            let image = if pool.is_some() || core.allocator().maps_images() {
                module.image(index)?
            } else {
                None
            };
            match image {
                Some(image) => InitialContents::Image(image),
                None => InitialContents::Copy(facts, module.data(facts.data.clone())?),
            }
        }
    };
    let memory = match pool {
        Some(pool) => core.pooled_memory(pool, module, index, contents),
        None => {
            let key = module.memory_key(index);
            memory::Memory::new(core.allocator(), ty, core.tunables(), key, contents)
        }
    };
    memory.with_context(|| format!("failed to create a memory of {} pages", ty.limits.min))
}

fn make_table(
    store: &mut dyn VMStore,
    module: &LoadedModule,
    index: DefinedTableIndex,
) -> Result<table::Table> {
    let ty = module.table_type(module.module().table_index(index));
    let saturate = |elements: u64| usize::try_from(elements).unwrap_or(usize::MAX);
    ensure!(
        store.table_growing(0, saturate(ty.limits.min), ty.limits.max.map(saturate))?,
        "table minimum size of {} elements exceeds table limits",
        ty.limits.min
    );
    let core = store.core();
    let pool = core.allocator().pool_for(module);
    table::Table::new(&ty, core.tunables(), pool)
        .with_context(|| format!("failed to create a table of {} elements", ty.limits.min))
}

/// Makes an instance of a made up module, which counts for no limit on their number.
fn create_host_item(
    store: &mut dyn VMStore,
    module: Module,
    types: impl IntoIterator<Item = Option<TypeRef>>,
) -> Result<InstanceId> {
    let registry = store.core().type_registry();
    let foreign_types = types
        .into_iter()
        .flatten()
        .map(|reference| {
            let index = reference.unwrap_engine();
            registry
                .lookup(index)
                .ok_or_else(|| anyhow!("an item's type refers to {index}, which does not exist"))
        })
        .collect::<Result<Vec<RegisteredType>>>()?;
    let module = LoadedModule::synthetic(module, registry, foreign_types)?;
    // SAFETY: the module has no imports.
    unsafe { allocate(store, &module, Imports::default()) }
}

/// The record to import a shared memory with, which the store keeps from here on.
///
/// # Errors
///
/// Fails if memory is lacking.
pub fn import_shared_memory(
    store: &mut StoreCore,
    memory: &SharedMemory,
) -> Result<VMMemoryImport> {
    let identity = memory.identity();
    let owner = match store.shared_memories.get(&identity) {
        Some(owner) => *owner,
        None => {
            let mut module = Module::default();
            module.memories.push(*memory.ty());
            let module = LoadedModule::synthetic(module, &store.registry, Vec::new())?;
            let mut memories = PrimaryMap::new();
            memories.push(memory::Memory::Shared(memory.clone()));
            let imports = Imports::default();
            // SAFETY: the module has no imports, this memory and no tables.
            let owner = unsafe {
                let items = (memories, PrimaryMap::new());
                add_instance(store, &module, imports, items, None)?
            };
            store.shared_memories.insert(identity, owner);
            owner
        }
    };
    let index = DefinedMemoryIndex::new(0);
    Ok(store.instance(owner).defined_memory(index))
}

/// Makes a linear memory of the host, of its minimal size.
///
/// # Errors
///
/// Fails if the store's limiter does not allow it, or address space or memory is lacking.
pub fn create_host_memory(
    store: &mut dyn VMStore,
    ty: &Memory,
) -> Result<(InstanceId, DefinedMemoryIndex)> {
    let mut module = Module::default();
    module.memories.push(*ty);
    let instance = create_host_item(store, module, [])?;
    Ok((instance, DefinedMemoryIndex::new(0)))
}

/// Makes a table of the host, of its minimal size, with all elements being `init`. Types that `ty` refers to
/// are the engine's.
///
/// # Errors
///
/// Fails if the store's limiter does not allow it, or memory is lacking.
///
/// # Panics
///
/// Panics if `init` is not of the table's kind.
pub fn create_host_table(
    store: &mut dyn VMStore,
    ty: &Table,
    init: TableElement,
) -> Result<(InstanceId, DefinedTableIndex)> {
    let mut module = Module::default();
    module.tables.push(*ty);
    module.table_initial_values.push(TableInitialValue::Null {
        precomputed: Box::new([]),
    });
    let instance = create_host_item(store, module, [ty.ref_type.heap_type.type_ref()])?;
    let index = DefinedTableIndex::new(0);
    if !init.is_null() {
        let size = store.core().instance(instance).table(index).size() as u64;
        let core = store.core_mut();
        core.table_fill(instance, index, 0, init, size)?;
    }
    Ok((instance, index))
}

/// Makes an exception tag of the host, whose type is a function type without results.
///
/// # Errors
///
/// Fails if memory is lacking.
pub fn create_host_tag(
    store: &mut dyn VMStore,
    ty: &RegisteredType,
) -> Result<(InstanceId, DefinedTagIndex)> {
    let mut module = Module::default();
    let signature = TypeRef::Engine(ty.index());
    module.tags.push(Tag { signature });
    store.core_mut().gc.add_registered_type(ty)?;
    let instance = create_host_item(store, module, [Some(signature)])?;
    Ok((instance, DefinedTagIndex::new(0)))
}

/// Makes a global of the host. Types that `ty` refers to are the engine's.
///
/// # Errors
///
/// Fails if memory is lacking.
///
/// # Safety
///
/// The value is of the type, and the store's if it is a reference.
pub unsafe fn create_host_global(
    store: &mut dyn VMStore,
    ty: &Global,
    value: ValRaw,
) -> Result<(InstanceId, DefinedGlobalIndex)> {
    let mut module = Module::default();
    module.globals.push(*ty);
    let reference = match ty.wasm_ty {
        WasmValType::Ref(ty) => ty.heap_type.type_ref(),
        _ => None,
    };
    let instance = create_host_item(store, module, [reference])?;
    let index = DefinedGlobalIndex::new(0);
    // SAFETY: required of the caller.
    unsafe { store.core_mut().global_set(instance, index, value) };
    Ok((instance, index))
}

impl StoreCore {
    /// A memory of a module in a slot of the pool.
    fn pooled_memory(
        &self,
        pool: &Arc<Pool>,
        module: &LoadedModule,
        index: DefinedMemoryIndex,
        contents: InitialContents<'_>,
    ) -> Result<memory::Memory> {
        module.remember_pool(pool);
        let affinity = Affinity {
            module: module.id(),
            index: index.as_u32(),
        };
        let ty = &module.module().memories[module.module().memory_index(index)];
        let memory = memory::Memory::pooled(pool, affinity, &self.pool_key, ty, contents)?;
        // The first memory decides on the store's key.
        let rights = pool.rights(&self.pool_key);
        self.context().rights.set(rights);
        Ok(memory)
    }
}
