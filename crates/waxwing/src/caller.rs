//! [`Caller`]: what a host function knows of its caller.

use std::ptr::NonNull;

use waxwing_vm::VMContext;

use crate::{
    AsContext, AsContextMut, Engine, Extern, Instance, ModuleExport, StoreContext, StoreContextMut,
};

/// The context of a call of a host function: the store, and the instance that called.
///
/// Host functions that take one as their first parameter, passed to [`Func::wrap`], [`Func::new`]
/// or the [`Linker`](crate::Linker), get it in addition to their WebAssembly parameters. It stands
/// for the store wherever a context is needed.
///
/// ```
/// # use waxwing::*;
/// # fn main() -> Result<()> {
/// let engine = Engine::default();
/// let module = Module::new(
///     &engine,
///     r#"
///         (module
///             (import "host" "log" (func $log (param i32 i32)))
///             (memory (export "memory") 1)
///             (data (i32.const 8) "hello")
///             (func (export "run") (call $log (i32.const 8) (i32.const 5))))
///     "#,
/// )?;
/// let mut store = Store::new(&engine, Vec::<String>::new());
/// let log = Func::wrap(
///     &mut store,
///     |mut caller: Caller<'_, Vec<String>>, start: u32, len: u32| -> Result<()> {
///         let memory = caller.get_export("memory").and_then(Extern::into_memory);
///         let memory = memory.ok_or_else(|| Error::msg("no memory exported"))?;
///         let mut text = vec![0; len as usize];
///         memory.read(&caller, start as usize, &mut text)?;
///         caller.data_mut().push(String::from_utf8(text)?);
///         Ok(())
///     },
/// );
/// let instance = Instance::new(&mut store, &module, &[log.into()])?;
/// instance.get_typed_func::<(), ()>(&mut store, "run")?.call(&mut store, ())?;
/// assert_eq!(store.data()[..], ["hello"]);
/// # Ok(())
/// # }
/// ```
///
/// [`Func::wrap`]: crate::Func::wrap
/// [`Func::new`]: crate::Func::new
pub struct Caller<'a, T> {
    store: StoreContextMut<'a, T>,
    /// The instance that called; `None` if the host did.
    caller: Option<CallingInstance>,
}

/// The context of an instance that is waiting for a host function.
struct CallingInstance(NonNull<VMContext>);

// SAFETY: an address in the store that is borrowed along with it, and that goes where the store
// goes.
unsafe impl Send for CallingInstance {}
// SAFETY: as above; all that is read through it never changes.
unsafe impl Sync for CallingInstance {}

impl<'a, T> Caller<'a, T> {
    pub(crate) fn new(store: StoreContextMut<'a, T>, caller: Option<NonNull<VMContext>>) -> Self {
        let caller = caller.map(CallingInstance);
        Caller { store, caller }
    }

    pub(crate) fn context(&self) -> &StoreContextMut<'a, T> {
        &self.store
    }

    pub(crate) fn context_mut(&mut self) -> &mut StoreContextMut<'a, T> {
        &mut self.store
    }

    fn instance(&self) -> Option<Instance> {
        let CallingInstance(vmctx) = self.caller.as_ref()?;
        // SAFETY: the caller is an instance that is on the stack, so that it is alive.
        let id = unsafe { waxwing_vm::Instance::id_of_vmctx(*vmctx) };
        Some(Instance::from_id(self.store.0, id))
    }
}

impl<T> Caller<'_, T> {
    /// The export `name` of the instance that called.
    ///
    /// `None` if it has no such export, or if the host called the function itself.
    pub fn get_export(&mut self, name: &str) -> Option<Extern> {
        self.instance()?.get_export(&mut self.store, name)
    }

    /// The export `export` of the instance that called; faster than
    /// [`get_export`](Self::get_export), as it needs no look-up by name.
    ///
    /// `None` if the instance was made of another module than `export` belongs to, or if the host
    /// called the function itself.
    pub fn get_module_export(&mut self, export: &ModuleExport) -> Option<Extern> {
        self.instance()?.get_module_export(&mut self.store, export)
    }

    /// The embedder's data; see [`Store::data`](crate::Store::data).
    pub fn data(&self) -> &T {
        self.store.data()
    }

    /// The embedder's data, to be changed; see [`Store::data_mut`](crate::Store::data_mut).
    pub fn data_mut(&mut self) -> &mut T {
        self.store.data_mut()
    }

    /// The store's engine.
    pub fn engine(&self) -> &Engine {
        self.store.engine()
    }

    /// Collects garbage; see [`Store::gc`](crate::Store::gc).
    pub fn gc(&mut self) {
        self.store.gc();
    }

    /// The bytes of memory that the store's heap for garbage-collected values has; see
    /// [`Store::gc_heap_capacity`](crate::Store::gc_heap_capacity).
    pub fn gc_heap_capacity(&self) -> usize {
        self.store.gc_heap_capacity()
    }
}

impl<T> AsContext for Caller<'_, T> {
    type Data = T;

    #[inline]
    fn as_context(&self) -> StoreContext<'_, T> {
        self.store.as_context()
    }
}

impl<T> AsContextMut for Caller<'_, T> {
    #[inline]
    fn as_context_mut(&mut self) -> StoreContextMut<'_, T> {
        self.store.as_context_mut()
    }
}
