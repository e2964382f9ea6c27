//! Items that modules import and export: [`Extern`], and those that are not functions.

mod global;
mod memory;
mod shared_memory;
mod table;
mod tag;

use waxwing_environ::{EntityType, TypeRef};
use waxwing_vm::VMExport;

use crate::store::StoreOpaque;
use crate::{AsContext, Engine, ExternType, Func};

pub use global::Global;
pub use memory::{Memory, MemoryAccessError};
pub use shared_memory::{SharedMemory, WaitResult};
pub use table::Table;
pub use tag::Tag;

/// An item that a module can import or export.
#[derive(Clone, Debug)]
pub enum Extern {
    /// A function.
    Func(Func),
    /// A global.
    Global(Global),
    /// A table.
    Table(Table),
    /// A linear memory.
    Memory(Memory),
    /// A linear memory that is shared between threads. Unlike all other items it belongs to no
    /// store.
    SharedMemory(SharedMemory),
    /// An exception tag.
    Tag(Tag),
}

macro_rules! extern_accessors {
    ($($what:literal, $ty:ident, $into:ident;)*) => {
        impl Extern {
            $(
                #[doc = concat!("The item if it is a ", $what, ".")]
                pub fn $into(self) -> Option<$ty> {
                    match self {
                        Extern::$ty(item) => Some(item),
                        _ => None,
                    }
                }
            )*
        }

        impl<'instance> Export<'instance> {
            $(
                #[doc = concat!("The exported item if it is a ", $what, ".")]
                pub fn $into(self) -> Option<$ty> {
                    self.item.$into()
                }
            )*
        }

        $(
            impl From<$ty> for Extern {
                fn from(item: $ty) -> Self {
                    Extern::$ty(item)
                }
            }
        )*
    };
}

extern_accessors! {
    "function", Func, into_func;
    "global", Global, into_global;
    "table", Table, into_table;
    "linear memory", Memory, into_memory;
    "shared linear memory", SharedMemory, into_shared_memory;
    "tag", Tag, into_tag;
}

impl Extern {
    /// The type of the item. That of a memory or table says how large it was at first, not how
    /// large it is.
    ///
    /// # Panics
    ///
    /// Panics if the item belongs to another store.
    pub fn ty(&self, store: impl AsContext) -> ExternType {
        let store = store.as_context();
        match self {
            Extern::Func(item) => ExternType::Func(item.ty(store)),
            Extern::Global(item) => ExternType::Global(item.ty(store)),
            Extern::Table(item) => ExternType::Table(item.ty(store)),
            Extern::Memory(item) => ExternType::Memory(item.ty(store)),
            Extern::SharedMemory(item) => ExternType::Memory(item.ty()),
            Extern::Tag(item) => ExternType::Tag(item.ty(store)),
        }
    }

    pub(crate) fn comes_from_same_store(&self, store: &StoreOpaque) -> bool {
        match self {
            Extern::Func(item) => item.comes_from_same_store(store),
            Extern::Global(item) => item.comes_from_same_store(store),
            Extern::Table(item) => item.comes_from_same_store(store),
            Extern::Memory(item) => item.comes_from_same_store(store),
            // Of the same engine: shared memories belong to no store.
            Extern::SharedMemory(item) => Engine::same(item.engine(), store.engine()),
            Extern::Tag(item) => item.comes_from_same_store(store),
        }
    }

    /// The type of the item as importing it sees it: with the current size of a memory or table.
    pub(crate) fn current_type(&self, store: &StoreOpaque) -> EntityType {
        match self {
            Extern::Func(item) => EntityType::Function(TypeRef::Engine(item.type_index(store))),
            Extern::Global(item) => EntityType::Global(item.vm_type(store)),
            Extern::Table(item) => EntityType::Table(item.current_type(store)),
            Extern::Memory(item) => EntityType::Memory(item.current_type(store)),
            Extern::SharedMemory(item) => EntityType::Memory(item.current_type()),
            Extern::Tag(item) => EntityType::Tag(item.vm_type(store)),
        }
    }

    /// # Safety
    ///
    /// `item` is one of `store`.
    pub(crate) unsafe fn from_vm(store: &StoreOpaque, item: VMExport) -> Extern {
        let owner = store.id();
        match item {
            // SAFETY: required of the caller; functions of instances live as long as the store.
            VMExport::Function(func_ref) => unsafe { Func::from_vm(store, func_ref) }.into(),
            VMExport::Global { instance, index } => {
                Global::new_handle(owner, instance, index).into()
            }
            VMExport::Table { instance, index } => Table::new_handle(owner, instance, index).into(),
            VMExport::Memory { instance, index } => {
                match store.core().instance(instance).memory(index).as_shared() {
                    Some(memory) => SharedMemory::from_vm(store.engine(), memory).into(),
                    None => Memory::new_handle(owner, instance, index).into(),
                }
            }
            VMExport::Tag { instance, index } => Tag::new_handle(owner, instance, index).into(),
        }
    }
}

/// An item that an instance exports, with its name.
///
/// See [`Instance::exports`](crate::Instance::exports).
#[derive(Clone, Debug)]
pub struct Export<'instance> {
    name: &'instance str,
    item: Extern,
}

impl<'instance> Export<'instance> {
    pub(crate) fn new(name: &'instance str, item: Extern) -> Export<'instance> {
        Export { name, item }
    }

    /// The name of the export.
    pub fn name(&self) -> &'instance str {
        self.name
    }

    /// The type of the exported item.
    ///
    /// # Panics
    ///
    /// Panics if the item belongs to another store.
    pub fn ty(&self, store: impl AsContext) -> ExternType {
        self.item.ty(store)
    }

    /// The exported item.
    pub fn into_extern(self) -> Extern {
        self.item
    }
}

/// A handle to an item that an instance of a store owns.
macro_rules! handle {
    ($name:ident, $index:ident) => {
        impl $name {
            pub(crate) fn new_handle(
                store: waxwing_vm::StoreId,
                instance: waxwing_vm::InstanceId,
                index: waxwing_environ::$index,
            ) -> $name {
                $name {
                    store,
                    instance,
                    index,
                }
            }

            #[inline]
            pub(crate) fn comes_from_same_store(&self, store: &crate::store::StoreOpaque) -> bool {
                self.store == store.id()
            }

            /// The instance that owns the item. Panics if it belongs to another store.
            #[inline]
            fn owner<'a>(&self, store: &'a crate::store::StoreOpaque) -> &'a waxwing_vm::Instance {
                store.assert_owns(self.store);
                store.core().instance(self.instance)
            }
        }
    };
}
use handle;
