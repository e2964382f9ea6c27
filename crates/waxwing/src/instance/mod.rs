//! [`Instance`]: a module with its state.

mod pre;

use anyhow::{Context, Result, anyhow, bail};
use waxwing_environ::EntityIndex;
use waxwing_vm::{Imports, InstanceId, OwnedImports, StoreId};

use crate::store::{StoreInner, StoreOpaque};
use crate::{
    AsContextMut, Engine, Export, Extern, Func, Global, Memory, Module, ModuleExport, SharedMemory,
    StoreContext, StoreContextMut, Table, Tag, TypedFunc, WasmParams, WasmResults, matching,
};

pub(crate) use pre::ImportSource;
pub use pre::InstancePre;

/// An instance of a [`Module`]: its functions, memories, tables and globals, with their state.
///
/// An `Instance` is a handle to an instance in a [`Store`](crate::Store). Made by
/// [`Instance::new`] from a list of imports, or by [`Linker::instantiate`], which finds them by
/// name.
///
/// [`Linker::instantiate`]: crate::Linker::instantiate
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct Instance {
    store: StoreId,
    id: InstanceId,
}

impl Instance {
    /// Instantiates `module` with `imports`, one for each of its [imports](Module::imports) in the
    /// same order, and runs its start function.
    ///
    /// [`Linker`](crate::Linker) does the same with imports found by name.
    ///
    /// # Errors
    ///
    /// Fails if the number or the types of the imports are not those that the module wants, or if
    /// they belong to another store; if the store's limiter does not allow the module's memories and
    /// tables or another instance; if memory is lacking; if an active segment is out of bounds, or
    /// the start function traps, with an error that can be downcast to [`Trap`](crate::Trap).
    ///
    /// # Panics
    ///
    /// Panics if the store's engine has `Config::async_support`. A panic of a host function that the start function
    /// calls goes on from here.
    pub fn new(
        mut store: impl AsContextMut,
        module: &Module,
        imports: &[Extern],
    ) -> Result<Instance> {
        let store = store.as_context_mut().0;
        store.assert_sync("Instance::new_async");
        Instance::new_in(store, module, imports)
    }

    /// Instantiates `module` as [`new`](Self::new) does, in an asynchronous store, where the start function can wait.
    ///
    /// # Errors
    ///
    /// As for [`new`](Self::new). Fails if there is no memory for a stack.
    ///
    /// # Panics
    ///
    /// Panics unless the store's engine has [`Config::async_support`](crate::Config::async_support). A panic of a host
    /// function that the start function calls goes on from here.
    #[cfg(feature = "async")]
    pub async fn new_async<T>(
        mut store: impl AsContextMut<Data = T>,
        module: &Module,
        imports: &[Extern],
    ) -> Result<Instance>
    where
        T: Send,
    {
        let store = store.as_context_mut().0;
        store.assert_async("Instance::new_async");
        match Instance::may_wait(store, module) {
            true => {
                store
                    .on_fiber(|store| Instance::new_in(store, module, imports))
                    .await
            }
            false => Instance::new_in(store, module, imports),
        }
    }

    /// Whether instantiating the module runs what can wait.
    #[cfg(feature = "async")]
    fn may_wait<T>(store: &StoreInner<T>, module: &Module) -> bool {
        module.loaded().module().start.is_some() || store.has_async_limiter()
    }

    fn new_in<T>(
        store: &mut StoreInner<T>,
        module: &Module,
        imports: &[Extern],
    ) -> Result<Instance> {
        if !Engine::same(module.engine(), store.engine()) {
            bail!(
                "cross-`Engine` instantiation is not supported: the module and the store belong to different engines"
            );
        }
        let wanted = &module.loaded().module().imports;
        if wanted.len() != imports.len() {
            bail!("expected {} imports, found {}", wanted.len(), imports.len());
        }
        for (wanted, given) in wanted.iter().zip(imports) {
            if !given.comes_from_same_store(store) {
                bail!(
                    "cross-`Store` instantiation is not supported: the import `{}::{}` belongs to another store",
                    wanted.module,
                    wanted.field
                );
            }
            check_import(module, wanted, &given.current_type(store))?;
        }
        let mut owned = OwnedImports::new(module.loaded());
        for import in imports {
            push_import(store, module, &mut owned, import)?;
        }
        // SAFETY: the imports are of the types that the module wants, and of this store.
        unsafe { Instance::instantiate(store, module, owned.as_ref()) }
    }

    /// Instantiates `module`, and runs its start function.
    ///
    /// # Safety
    ///
    /// The imports are of the types that the module wants, and live as long as the store. The module
    /// belongs to the store's engine.
    pub(crate) unsafe fn instantiate<T>(
        store: &mut StoreInner<T>,
        module: &Module,
        imports: Imports<'_>,
    ) -> Result<Instance> {
        store.register_module(module);
        // SAFETY: required of the caller.
        let id = unsafe { waxwing_vm::instantiate(store, module.loaded(), imports)? };
        let instance = Instance::from_id(store, id);
        if let Some(start) = module.loaded().module().start {
            let start = EntityIndex::Function(start);
            let start = instance
                .item(store, start)
                .and_then(Extern::into_func)
                .context("the start function is not in the artifact; compile the module again")?;
            // SAFETY: the function is of the instance. Start functions have neither parameters nor
            // results.
            unsafe { start.enter(store, &mut [])? };
        }
        Ok(instance)
    }

    /// The store that the instance belongs to.
    #[cfg(feature = "coredump")]
    pub(crate) fn owner(&self) -> StoreId {
        self.store
    }

    /// What finds the instance in its store.
    #[cfg(feature = "coredump")]
    pub(crate) fn vm_id(&self) -> InstanceId {
        self.id
    }

    pub(crate) fn from_id(store: &StoreOpaque, id: InstanceId) -> Instance {
        Instance {
            store: store.id(),
            id,
        }
    }

    /// The instance's record. Panics if the instance belongs to another store.
    fn vm<'a>(&self, store: &'a StoreOpaque) -> &'a waxwing_vm::Instance {
        store.assert_owns(self.store);
        store.core().instance(self.id)
    }

    fn item(&self, store: &StoreOpaque, index: EntityIndex) -> Option<Extern> {
        let item = self.vm(store).export(index)?;
        // SAFETY: an item of an instance of this store.
        Some(unsafe { Extern::from_vm(store, item) })
    }

    /// The module that the instance was made of.
    ///
    /// # Panics
    ///
    /// Panics if the instance belongs to another store.
    pub fn module<'a, T: 'a>(&self, store: impl Into<StoreContext<'a, T>>) -> &'a Module {
        let store = store.into().0;
        store
            .module_of(self.vm(store).module())
            .expect("the store keeps the modules of its instances")
    }

    /// All exports of the instance, in the order of the module.
    ///
    /// # Panics
    ///
    /// Panics if the instance belongs to another store.
    pub fn exports<'a, T: 'a>(
        &'a self,
        store: impl Into<StoreContextMut<'a, T>>,
    ) -> impl ExactSizeIterator<Item = Export<'a>> + 'a {
        // Exclusive use of the store, which making functions' records takes, lasts as long as the
        // iterator, though it is used as a shared borrow.
        let store: &'a StoreOpaque = store.into().0;
        let exports = &self.vm(store).module().module().exports;
        exports.iter().map(move |export| {
            let item = self.item(store, export.index).expect(EXPORTED);
            Export::new(&export.name, item)
        })
    }

    /// The export `name`, `None` if there is no such export.
    ///
    /// # Panics
    ///
    /// Panics if the instance belongs to another store.
    pub fn get_export(&self, mut store: impl AsContextMut, name: &str) -> Option<Extern> {
        let store = store.as_context_mut().0;
        let module = self.vm(store).module().module();
        let position = module.export_position(name)?;
        self.item(store, module.exports[position].index)
    }

    /// The export `export`, `None` if the instance was made of another module than `export` belongs
    /// to. Faster than [`get_export`](Self::get_export), as it needs no look-up by name.
    ///
    /// # Panics
    ///
    /// Panics if the instance belongs to another store.
    pub fn get_module_export(
        &self,
        mut store: impl AsContextMut,
        export: &ModuleExport,
    ) -> Option<Extern> {
        let store = store.as_context_mut().0;
        let index = export.entity_in(self.vm(store).module())?;
        self.item(store, index)
    }

    /// The exported function `name`, `None` if there is no such function.
    ///
    /// # Panics
    ///
    /// Panics if the instance belongs to another store.
    pub fn get_func(&self, store: impl AsContextMut, name: &str) -> Option<Func> {
        self.get_export(store, name)?.into_func()
    }

    /// The exported function `name`, with static types: [`get_func`](Self::get_func) and
    /// [`Func::typed`] in one.
    ///
    /// # Errors
    ///
    /// Fails if there is no such function, or if it is of another type.
    ///
    /// # Panics
    ///
    /// Panics if the instance belongs to another store.
    pub fn get_typed_func<Params, Results>(
        &self,
        mut store: impl AsContextMut,
        name: &str,
    ) -> Result<TypedFunc<Params, Results>>
    where
        Params: WasmParams,
        Results: WasmResults,
    {
        let func = self
            .get_export(store.as_context_mut(), name)
            .and_then(Extern::into_func)
            .ok_or_else(|| anyhow!("failed to find function export `{name}`"))?;
        func.typed::<Params, Results>(store.as_context())
            .with_context(|| format!("failed to convert function `{name}` to given type"))
    }

    /// The exported table `name`, `None` if there is no such table.
    ///
    /// # Panics
    ///
    /// Panics if the instance belongs to another store.
    pub fn get_table(&self, store: impl AsContextMut, name: &str) -> Option<Table> {
        self.get_export(store, name)?.into_table()
    }

    /// The exported linear memory `name`, `None` if there is no such memory, or if it is a
    /// [shared](Self::get_shared_memory) one.
    ///
    /// # Panics
    ///
    /// Panics if the instance belongs to another store.
    pub fn get_memory(&self, store: impl AsContextMut, name: &str) -> Option<Memory> {
        self.get_export(store, name)?.into_memory()
    }

    /// The exported shared linear memory `name`, `None` if there is no such memory.
    ///
    /// # Panics
    ///
    /// Panics if the instance belongs to another store.
    pub fn get_shared_memory(&self, store: impl AsContextMut, name: &str) -> Option<SharedMemory> {
        self.get_export(store, name)?.into_shared_memory()
    }

    /// The exported global `name`, `None` if there is no such global.
    ///
    /// # Panics
    ///
    /// Panics if the instance belongs to another store.
    pub fn get_global(&self, store: impl AsContextMut, name: &str) -> Option<Global> {
        self.get_export(store, name)?.into_global()
    }

    /// The exported exception tag `name`, `None` if there is no such tag.
    ///
    /// # Panics
    ///
    /// Panics if the instance belongs to another store.
    pub fn get_tag(&self, store: impl AsContextMut, name: &str) -> Option<Tag> {
        self.get_export(store, name)?.into_tag()
    }
}

/// Why an export can always be had.
const EXPORTED: &str = "exported functions have records";

/// Fails unless an item of the type `actual` can be what `wanted` of `module` imports.
pub(crate) fn check_import(
    module: &Module,
    wanted: &waxwing_environ::Import,
    actual: &waxwing_environ::EntityType,
) -> Result<()> {
    let registry = module.engine().type_registry();
    let expected = module.type_of(wanted.index);
    matching::check_import(registry, &expected, actual, None).with_context(|| {
        format!(
            "incompatible import type for `{}::{}`",
            wanted.module, wanted.field
        )
    })
}

/// Adds an item, which is of `store`, to the imports of an instance of `module`.
pub(crate) fn push_import(
    store: &mut StoreOpaque,
    module: &Module,
    imports: &mut OwnedImports,
    item: &Extern,
) -> Result<()> {
    match item {
        Extern::Func(item) => {
            let func_ref = item.vm_func_ref(store);
            // SAFETY: the function is one of this store, which was checked, and lives as long.
            unsafe { imports.push_function(store.core_mut(), module.loaded(), func_ref)? };
        }
        Extern::Table(item) => imports.tables.push(item.vm_import(store)),
        Extern::Memory(item) => imports.memories.push(item.vm_import(store)),
        Extern::SharedMemory(item) => {
            let import = waxwing_vm::import_shared_memory(store.core_mut(), item.vm())?;
            imports.memories.push(import);
        }
        Extern::Global(item) => imports.globals.push(item.vm_import(store)),
        Extern::Tag(item) => imports.tags.push(item.vm_import(store)),
    }
    Ok(())
}
