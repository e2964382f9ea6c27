//! [`Linker`]: imports by name.

#[cfg(feature = "async")]
mod asynchronous;
mod module;
mod unknown;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use anyhow::{Result, bail};
use waxwing_environ::EntityType;
use waxwing_environ::TypeRef;
use waxwing_vm::{HostFunc, ValRaw};

use crate::func::{unchecked, untyped};
use crate::instance::{ImportSource, check_import};
use crate::store::StoreOpaque;
use crate::{
    AsContext, AsContextMut, Caller, Engine, Extern, Func, FuncType, ImportType, Instance,
    InstancePre, IntoFunc, Module, Val,
};

pub use unknown::UnknownImportError;

/// Finds the imports of modules by their names, and instantiates them.
///
/// Each item in a linker has two names, of a module and of the item in it, as imports do. Functions
/// of the host that are defined through [`func_wrap`](Self::func_wrap) and
/// [`func_new`](Self::func_new) belong to no store: a linker with such items only can be used for
/// any number of stores, on any number of threads. Other items belong to a store, and can be used
/// with that one only.
///
/// ```
/// # use waxwing::*;
/// # fn main() -> Result<()> {
/// let engine = Engine::default();
/// let mut linker = Linker::new(&engine);
/// linker.func_wrap("host", "double", |x: i32| x * 2)?;
///
/// let wat = r#"(module
///     (import "host" "double" (func $double (param i32) (result i32)))
///     (func (export "run") (result i32) (call $double (i32.const 21))))"#;
/// let module = Module::new(&engine, wat)?;
/// let mut store = Store::new(&engine, ());
/// let instance = linker.instantiate(&mut store, &module)?;
/// let run = instance.get_typed_func::<(), i32>(&mut store, "run")?;
/// assert_eq!(run.call(&mut store, ())?, 42);
/// # Ok(())
/// # }
/// ```
pub struct Linker<T> {
    engine: Engine,
    /// Names by number, and back.
    names: Vec<Arc<str>>,
    numbers: HashMap<Arc<str>, u32>,
    items: HashMap<Key, Definition>,
    allow_shadowing: bool,
    allow_unknown_exports: bool,
    _data: PhantomData<fn() -> T>,
}

/// Both names of an item, by their numbers.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    module: u32,
    name: u32,
}

/// An item, with its type as far as that is known without its store.
#[derive(Clone)]
struct Definition {
    source: ImportSource,
    ty: EntityType,
}

impl Definition {
    fn of_host(func: HostFunc) -> Definition {
        Definition {
            ty: EntityType::Function(TypeRef::Engine(func.ty().index())),
            source: ImportSource::HostFunc(Arc::new(func)),
        }
    }

    fn of_item(store: &StoreOpaque, item: Extern) -> Definition {
        Definition {
            ty: item.current_type(store),
            source: ImportSource::Extern(item),
        }
    }

    fn to_extern(&self, store: &mut StoreOpaque) -> Extern {
        match &self.source {
            ImportSource::Extern(item) => {
                assert!(
                    item.comes_from_same_store(store),
                    "object used with the wrong store"
                );
                item.clone()
            }
            ImportSource::HostFunc(func) => Func::from_shared_host(store, func).into(),
        }
    }

    /// The type, with the size that a memory or table has by now if it is one of `store`, or of none.
    fn current_type(&self, store: Option<&StoreOpaque>) -> EntityType {
        match (&self.source, store) {
            (ImportSource::Extern(Extern::SharedMemory(item)), _) => {
                EntityType::Memory(item.current_type())
            }
            (ImportSource::Extern(item), Some(store)) if item.comes_from_same_store(store) => {
                item.current_type(store)
            }
            _ => self.ty,
        }
    }
}

impl<T> Clone for Linker<T> {
    fn clone(&self) -> Linker<T> {
        Linker {
            engine: self.engine.clone(),
            names: self.names.clone(),
            numbers: self.numbers.clone(),
            items: self.items.clone(),
            ..*self
        }
    }
}

impl<T> Default for Linker<T> {
    /// An empty linker of a new default engine.
    fn default() -> Linker<T> {
        Linker::new(&Engine::default())
    }
}

impl<T> fmt::Debug for Linker<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut names: Vec<_> = self.items.keys().map(|key| self.names_of(*key)).collect();
        names.sort_unstable();
        f.debug_struct("Linker")
            .field("items", &names)
            .finish_non_exhaustive()
    }
}

impl<T> Linker<T> {
    /// An empty linker.
    pub fn new(engine: &Engine) -> Linker<T> {
        Linker {
            engine: engine.clone(),
            names: Vec::new(),
            numbers: HashMap::new(),
            items: HashMap::new(),
            allow_shadowing: false,
            allow_unknown_exports: false,
            _data: PhantomData,
        }
    }

    /// The engine that the linker was made with.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Whether defining an item replaces one of the same names, which is an error otherwise. Off by
    /// default.
    pub fn allow_shadowing(&mut self, allow: bool) -> &mut Self {
        self.allow_shadowing = allow;
        self
    }

    /// Whether [`module`](Self::module) accepts commands that export other items than functions and
    /// what toolchains are known to export, and ignores these. Off by default.
    pub fn allow_unknown_exports(&mut self, allow: bool) -> &mut Self {
        self.allow_unknown_exports = allow;
        self
    }

    /// Defines an item of a store.
    ///
    /// # Errors
    ///
    /// Fails if there is an item of these names, unless
    /// [shadowing is allowed](Self::allow_shadowing).
    ///
    /// # Panics
    ///
    /// Panics if the item belongs to another store.
    pub fn define(
        &mut self,
        store: impl AsContext<Data = T>,
        module: &str,
        name: &str,
        item: impl Into<Extern>,
    ) -> Result<&mut Self> {
        let definition = Definition::of_item(store.as_context().0, item.into());
        self.insert(module, name, definition)
    }

    /// Defines an item of a store under an empty module name.
    ///
    /// # Errors
    ///
    /// As for [`define`](Self::define).
    ///
    /// # Panics
    ///
    /// As for [`define`](Self::define).
    pub fn define_name(
        &mut self,
        store: impl AsContext<Data = T>,
        name: &str,
        item: impl Into<Extern>,
    ) -> Result<&mut Self> {
        self.define(store, "", name, item)
    }

    /// Defines a function of the type `ty` that the closure `func` implements with [`Val`]s, for any
    /// store: see [`Func::new`].
    ///
    /// # Errors
    ///
    /// As for [`define`](Self::define).
    ///
    /// # Panics
    ///
    /// Panics if `ty` belongs to another engine.
    pub fn func_new(
        &mut self,
        module: &str,
        name: &str,
        ty: FuncType,
        func: impl Fn(Caller<'_, T>, &[Val], &mut [Val]) -> Result<()> + Send + Sync + 'static,
    ) -> Result<&mut Self> {
        let func = untyped(&self.engine, ty, func);
        self.insert(module, name, Definition::of_host(func))
    }

    /// Defines a function of the type `ty` that the closure `func` implements on the raw values of
    /// the call, for any store: see [`Func::new_unchecked`].
    ///
    /// # Errors
    ///
    /// As for [`define`](Self::define).
    ///
    /// # Panics
    ///
    /// Panics if `ty` belongs to another engine.
    ///
    /// # Safety
    ///
    /// As for [`Func::new_unchecked`].
    pub unsafe fn func_new_unchecked(
        &mut self,
        module: &str,
        name: &str,
        ty: FuncType,
        func: impl Fn(Caller<'_, T>, &mut [ValRaw]) -> Result<()> + Send + Sync + 'static,
    ) -> Result<&mut Self> {
        // SAFETY: required of the caller.
        let func = unsafe { unchecked(&self.engine, &ty, func) };
        self.insert(module, name, Definition::of_host(func))
    }

    /// Defines a function that the closure `func` implements, of the type that the closure's
    /// signature says, for any store: see [`Func::wrap`].
    ///
    /// # Errors
    ///
    /// As for [`define`](Self::define).
    pub fn func_wrap<Params, Args>(
        &mut self,
        module: &str,
        name: &str,
        func: impl IntoFunc<T, Params, Args>,
    ) -> Result<&mut Self> {
        let func = func.into_func(&self.engine);
        self.insert(module, name, Definition::of_host(func))
    }

    /// Defines all exports of `instance`, under the module name `module_name`.
    ///
    /// # Errors
    ///
    /// Fails if there is an item of the names of one, unless
    /// [shadowing is allowed](Self::allow_shadowing).
    ///
    /// # Panics
    ///
    /// Panics if the instance belongs to another store.
    pub fn instance(
        &mut self,
        mut store: impl AsContextMut<Data = T>,
        module_name: &str,
        instance: Instance,
    ) -> Result<&mut Self> {
        let mut store = store.as_context_mut();
        let exports: Vec<_> = instance
            .exports(&mut store)
            .map(|export| (export.name().to_string(), export.into_extern()))
            .collect();
        for (name, item) in exports {
            self.define(&store, module_name, &name, item)?;
        }
        Ok(self)
    }

    /// Gives an item other names beside its own.
    ///
    /// # Errors
    ///
    /// Fails if there is no item `module`, `name`. Fails if there is an item `as_module`, `as_name`,
    /// unless [shadowing is allowed](Self::allow_shadowing).
    pub fn alias(
        &mut self,
        module: &str,
        name: &str,
        as_module: &str,
        as_name: &str,
    ) -> Result<&mut Self> {
        match self.lookup(module, name).cloned() {
            Some(item) => self.insert(as_module, as_name, item),
            None => bail!("no item named `{module}::{name}` defined"),
        }
    }

    /// Gives all items of the module name `module` the module name `as_module` beside it.
    ///
    /// # Errors
    ///
    /// Fails if there is an item of the new names of one, unless
    /// [shadowing is allowed](Self::allow_shadowing).
    pub fn alias_module(&mut self, module: &str, as_module: &str) -> Result<()> {
        let Some(module) = self.numbers.get(module).copied() else {
            return Ok(());
        };
        let as_module = self.intern(as_module);
        let items: Vec<_> = self
            .items
            .iter()
            .filter(|(key, _)| key.module == module)
            .map(|(key, item)| (key.name, item.clone()))
            .collect();
        for (name, item) in items {
            let module = as_module;
            self.insert_key(Key { module, name }, item)?;
        }
        Ok(())
    }

    /// Instantiates `module`, with its imports being the items of their names, and runs its start
    /// function.
    ///
    /// # Errors
    ///
    /// Fails with an [`UnknownImportError`] if there is no item of an import's names. Fails if an item
    /// is not of the type that the module wants, and otherwise as [`Instance::new`] does.
    ///
    /// # Panics
    ///
    /// Panics if an item that is needed belongs to another store, or `store` or `module` to another
    /// engine. Panics if the engine has `Config::async_support`.
    pub fn instantiate(
        &self,
        mut store: impl AsContextMut<Data = T>,
        module: &Module,
    ) -> Result<Instance> {
        let mut store = store.as_context_mut();
        store.0.assert_sync("Linker::instantiate_async");
        self.prepare(module, Some(store.0))?.instantiate(&mut store)
    }

    /// Finds the imports of `module` and checks their types, for it to be instantiated later.
    ///
    /// # Errors
    ///
    /// Fails with an [`UnknownImportError`] if there is no item of an import's names. Fails if an item
    /// is not of the type that the module wants.
    ///
    /// # Panics
    ///
    /// Panics if `module` belongs to another engine.
    pub fn instantiate_pre(&self, module: &Module) -> Result<InstancePre<T>> {
        self.prepare(module, None)
    }

    fn prepare(&self, module: &Module, store: Option<&StoreOpaque>) -> Result<InstancePre<T>> {
        assert!(
            Engine::same(&self.engine, module.engine()),
            "the module belongs to another engine than the linker"
        );
        let wanted = &module.loaded().module().imports;
        let mut imports = Vec::with_capacity(wanted.len());
        for (i, wanted) in wanted.iter().enumerate() {
            let Some(item) = self.lookup(&wanted.module, &wanted.field) else {
                let import = module.imports().nth(i).expect("as many as there are");
                bail!(UnknownImportError::new(&import));
            };
            check_import(module, wanted, &item.current_type(store))?;
            imports.push(item.source.clone());
        }
        // SAFETY: the types were checked. Functions of the host were defined for stores of a `T`.
        unsafe { InstancePre::new(module, imports) }
    }

    /// The item of these names; `None` if there is none.
    ///
    /// # Panics
    ///
    /// Panics if the item belongs to another store.
    pub fn get(
        &self,
        mut store: impl AsContextMut<Data = T>,
        module: &str,
        name: &str,
    ) -> Option<Extern> {
        let store = store.as_context_mut().0;
        Some(self.lookup(module, name)?.to_extern(store))
    }

    /// The item of an import's names; `None` if there is none.
    ///
    /// # Panics
    ///
    /// Panics if the item belongs to another store.
    pub fn get_by_import(
        &self,
        store: impl AsContextMut<Data = T>,
        import: &ImportType<'_>,
    ) -> Option<Extern> {
        self.get(store, import.module(), import.name())
    }

    /// The function to run for a module as a whole: the item of the names `module` and `""`, or the
    /// one of `module` and `_start`. If there is neither, a function that does nothing.
    ///
    /// # Errors
    ///
    /// Fails if that item is not a function.
    ///
    /// # Panics
    ///
    /// Panics if the item belongs to another store.
    pub fn get_default(
        &self,
        mut store: impl AsContextMut<Data = T>,
        module: &str,
    ) -> Result<Func> {
        for name in ["", "_start"] {
            match self.get(store.as_context_mut(), module, name) {
                Some(Extern::Func(func)) => return Ok(func),
                Some(_) => bail!("default export `{name}` of `{module}` is not a function"),
                None => {}
            }
        }
        Ok(Func::wrap(store, || {}))
    }

    /// All items with their names, in no particular order.
    ///
    /// # Panics
    ///
    /// The iterator panics at an item that belongs to another store.
    pub fn iter<'a: 'p, 'p>(
        &'a self,
        mut store: impl AsContextMut<Data = T> + 'p,
    ) -> impl Iterator<Item = (&'a str, &'a str, Extern)> + 'p
    where
        T: 'p,
    {
        self.items.iter().map(move |(key, item)| {
            let (module, name) = self.names_of(*key);
            (module, name, item.to_extern(store.as_context_mut().0))
        })
    }

    fn names_of(&self, key: Key) -> (&str, &str) {
        let name = |number: u32| &*self.names[number as usize];
        (name(key.module), name(key.name))
    }

    fn lookup(&self, module: &str, name: &str) -> Option<&Definition> {
        self.items.get(&Key {
            module: *self.numbers.get(module)?,
            name: *self.numbers.get(name)?,
        })
    }

    fn intern(&mut self, name: &str) -> u32 {
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        let number = u32::try_from(self.names.len()).expect("fewer than 2^32 names in a linker");
        let name: Arc<str> = name.into();
        self.names.push(name.clone());
        self.numbers.insert(name, number);
        number
    }

    fn insert(&mut self, module: &str, name: &str, item: Definition) -> Result<&mut Self> {
        let module = self.intern(module);
        let name = self.intern(name);
        self.insert_key(Key { module, name }, item)?;
        Ok(self)
    }

    fn insert_key(&mut self, key: Key, item: Definition) -> Result<()> {
        match self.items.entry(key) {
            Entry::Occupied(_) if !self.allow_shadowing => {
                let (module, name) = self.names_of(key);
                bail!("import of `{module}::{name}` defined twice")
            }
            Entry::Occupied(mut entry) => {
                entry.insert(item);
            }
            Entry::Vacant(entry) => {
                entry.insert(item);
            }
        }
        Ok(())
    }
}
