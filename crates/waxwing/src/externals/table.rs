//! [`Table`].

use anyhow::{Context, Result, anyhow, bail};
use waxwing_environ::{DefinedTableIndex, Trap, WasmHeapTop};
use waxwing_vm::{InstanceId, StoreId, TableElement, VMTableImport};

use super::handle;
use crate::store::{StoreInner, StoreOpaque};
use crate::{AsContext, AsContextMut, Func, Ref, RefType, Rooted, TableType};

/// A table: an array of references, of WebAssembly or of the host.
///
/// ```
/// # use waxwing::*;
/// # fn main() -> Result<()> {
/// let engine = Engine::default();
/// let mut store = Store::new(&engine, ());
/// let ty = TableType::new(RefType::FUNCREF, 1, Some(3));
/// let table = Table::new(&mut store, ty, Ref::Func(None))?;
///
/// let func = Func::wrap(&mut store, || 7);
/// table.set(&mut store, 0, func.into())?;
/// assert_eq!(table.grow(&mut store, 2, Ref::Func(None))?, 1);
/// assert!(table.get(&mut store, 0).is_some_and(|element| element.is_non_null()));
/// assert!(table.get(&mut store, 2).is_some_and(|element| element.is_null()));
/// assert!(table.get(&mut store, 3).is_none());
/// assert!(table.grow(&mut store, 1, Ref::Func(None)).is_err());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct Table {
    store: StoreId,
    instance: InstanceId,
    index: DefinedTableIndex,
}

handle!(Table, DefinedTableIndex);

impl Table {
    /// A new table of the type `ty`, each element of which is `init`.
    ///
    /// # Errors
    ///
    /// Fails if `init` is not of the type of the table's elements or belongs to another store, if
    /// the store's limiter does not allow the table, or if memory is lacking.
    ///
    /// # Panics
    ///
    /// Panics if `ty` belongs to another engine. Panics if the store has a limiter that may wait, by
    /// `Store::limiter_async`.
    pub fn new(mut store: impl AsContextMut, ty: TableType, init: Ref) -> Result<Table> {
        let store = store.as_context_mut().0;
        store.assert_limiter_never_waits("Table::new_async");
        Table::new_in(store, ty, init)
    }

    /// A new table, as [`new`](Self::new) makes it, in an asynchronous store, whose limiter may wait.
    ///
    /// # Errors
    ///
    /// As for [`new`](Self::new).
    ///
    /// # Panics
    ///
    /// Panics if `ty` belongs to another engine, or the store's engine lacks
    /// [`Config::async_support`](crate::Config::async_support).
    #[cfg(feature = "async")]
    pub async fn new_async<T>(
        mut store: impl AsContextMut<Data = T>,
        ty: TableType,
        init: Ref,
    ) -> Result<Table>
    where
        T: Send,
    {
        let store = store.as_context_mut().0;
        store.assert_async("Table::new_async");
        match store.has_async_limiter() {
            true => store.on_fiber(|store| Table::new_in(store, ty, init)).await,
            false => Table::new_in(store, ty, init),
        }
    }

    fn new_in<T>(store: &mut StoreInner<T>, ty: TableType, init: Ref) -> Result<Table> {
        let element = element_of(store, &init, ty.element())
            .context("type mismatch: initial value of a table")?;
        let (instance, index) = waxwing_vm::create_host_table(store, &ty.as_wasm(), element)?;
        Ok(Table::new_handle(store.id(), instance, index))
    }

    fn vm_type(&self, store: &StoreOpaque) -> waxwing_environ::Table {
        *self.owner(store).table(self.index).ty()
    }

    pub(crate) fn vm_import(&self, store: &StoreOpaque) -> VMTableImport {
        self.owner(store).defined_table(self.index)
    }

    pub(crate) fn current_type(&self, store: &StoreOpaque) -> waxwing_environ::Table {
        let mut ty = self.vm_type(store);
        ty.limits.min = self.owner(store).table(self.index).size() as u64;
        ty
    }

    fn element_type(&self, store: &StoreOpaque) -> RefType {
        RefType::from_wasm(store.engine(), &self.vm_type(store).ref_type)
    }

    /// The type of the table. Its minimum is the size that it had at first.
    ///
    /// # Panics
    ///
    /// Panics if the table belongs to another store.
    pub fn ty(&self, store: impl AsContext) -> TableType {
        let store = store.as_context().0;
        TableType::from_wasm(store.engine(), &self.vm_type(store))
    }

    /// The element at `index`, `None` if there is no such element. A reference is rooted in the
    /// store's current scope.
    ///
    /// # Panics
    ///
    /// Panics if the table belongs to another store.
    pub fn get(&self, mut store: impl AsContextMut, index: u64) -> Option<Ref> {
        let store = store.as_context_mut().0;
        let top = self.vm_type(store).ref_type.heap_type.top();
        let element = store
            .core_mut()
            .instance_mut(self.instance)
            .table_get(self.index, index)
            .ok()?;
        Some(match element {
            TableElement::FuncRef(func) => {
                // SAFETY: functions in tables are of the table's store, and live as long as it.
                Ref::Func(func.map(|func| unsafe { Func::from_vm(store, func) }))
            }
            TableElement::GcRef(gc_ref) if top == WasmHeapTop::Extern => {
                Ref::Extern(gc_ref.map(|gc_ref| Rooted::new(store, gc_ref)))
            }
            TableElement::GcRef(gc_ref) if top == WasmHeapTop::Exn => {
                Ref::Exn(gc_ref.map(|gc_ref| Rooted::new(store, gc_ref)))
            }
            TableElement::GcRef(gc_ref) => {
                Ref::Any(gc_ref.map(|gc_ref| Rooted::new(store, gc_ref)))
            }
        })
    }

    /// Sets the element at `index`.
    ///
    /// # Errors
    ///
    /// Fails if there is no such element, or if `val` is not of the type of the table's elements or
    /// belongs to another store.
    ///
    /// # Panics
    ///
    /// Panics if the table belongs to another store.
    pub fn set(&self, mut store: impl AsContextMut, index: u64, val: Ref) -> Result<()> {
        let store = store.as_context_mut().0;
        let element = element_of(store, &val, &self.element_type(store))
            .context("type mismatch: value does not match table element type")?;
        let size = self.owner(store).table(self.index).size();
        store
            .core_mut()
            .table_set(self.instance, self.index, index, element)
            .map_err(|_| {
                anyhow!("table element index out of bounds: no element {index} among {size}")
            })
    }

    /// The number of elements.
    ///
    /// # Panics
    ///
    /// Panics if the table belongs to another store.
    pub fn size(&self, store: impl AsContext) -> u64 {
        let store = store.as_context().0;
        self.owner(store).table(self.index).size() as u64
    }

    /// Appends `delta` elements, each `init`, and returns how many there were before.
    ///
    /// # Errors
    ///
    /// Fails if the table would exceed its maximum, if the store's limiter does not allow it, if
    /// memory is lacking, or if `init` is not of the type of the table's elements or belongs to
    /// another store.
    ///
    /// # Panics
    ///
    /// Panics if the table belongs to another store. Panics if the store has a limiter that may wait, by
    /// `Store::limiter_async`.
    pub fn grow(&self, mut store: impl AsContextMut, delta: u64, init: Ref) -> Result<u64> {
        let store = store.as_context_mut().0;
        store.assert_limiter_never_waits("Table::grow_async");
        self.grow_in(store, delta, init)
    }

    /// Grows as [`grow`](Self::grow) does, in an asynchronous store, whose limiter may wait.
    ///
    /// # Errors
    ///
    /// As for [`grow`](Self::grow).
    ///
    /// # Panics
    ///
    /// Panics if the table belongs to another store, or the store's engine lacks
    /// [`Config::async_support`](crate::Config::async_support).
    #[cfg(feature = "async")]
    pub async fn grow_async<T>(
        &self,
        mut store: impl AsContextMut<Data = T>,
        delta: u64,
        init: Ref,
    ) -> Result<u64>
    where
        T: Send,
    {
        let store = store.as_context_mut().0;
        store.assert_async("Table::grow_async");
        match store.has_async_limiter() {
            true => {
                store
                    .on_fiber(|store| self.grow_in(store, delta, init))
                    .await
            }
            false => self.grow_in(store, delta, init),
        }
    }

    fn grow_in<T>(&self, store: &mut StoreInner<T>, delta: u64, init: Ref) -> Result<u64> {
        let element = element_of(store, &init, &self.element_type(store))
            .context("type mismatch: value does not match table element type")?;
        match waxwing_vm::table_grow(store, self.instance, self.index, delta, element)? {
            Some(previous) => Ok(previous),
            None => bail!("failed to grow table by `{delta}`"),
        }
    }

    /// Copies `len` elements from `src_index` on in `src_table` to `dst_index` on in `dst_table`,
    /// which may be the same table.
    ///
    /// # Errors
    ///
    /// Fails with [`Trap::TableOutOfBounds`] if they are not all within the tables, and then copies
    /// none. Fails if the elements of `src_table` are not of the type that `dst_table` holds.
    ///
    /// # Panics
    ///
    /// Panics if one of the tables belongs to another store.
    pub fn copy(
        mut store: impl AsContextMut,
        dst_table: &Table,
        dst_index: u64,
        src_table: &Table,
        src_index: u64,
        len: u64,
    ) -> Result<()> {
        let store = store.as_context_mut().0;
        let (dst_type, src_type) = (dst_table.element_type(store), src_table.element_type(store));
        if !src_type.matches(&dst_type) {
            bail!(
                "type mismatch: source table element type does not match destination table's \
                 element type: expected {dst_type}, found {src_type}"
            );
        }
        waxwing_vm::table_copy(
            store.core_mut(),
            (dst_table.instance, dst_table.index),
            dst_index,
            (src_table.instance, src_table.index),
            src_index,
            len,
        )?;
        Ok(())
    }

    /// Sets `len` elements from `dst` on to `val`.
    ///
    /// # Errors
    ///
    /// Fails with [`Trap::TableOutOfBounds`] if they are not all within the table, and then sets
    /// none. Fails if `val` is not of the type of the table's elements or belongs to another store.
    ///
    /// # Panics
    ///
    /// Panics if the table belongs to another store.
    pub fn fill(&self, mut store: impl AsContextMut, dst: u64, val: Ref, len: u64) -> Result<()> {
        let store = store.as_context_mut().0;
        let element = element_of(store, &val, &self.element_type(store))
            .context("type mismatch: value does not match table element type")?;
        store
            .core_mut()
            .table_fill(self.instance, self.index, dst, element, len)
            .map_err(|trap: Trap| trap.into())
    }
}

/// The reference as an element of a table of elements of the type `ty`.
fn element_of(store: &StoreOpaque, reference: &Ref, ty: &RefType) -> Result<TableElement> {
    reference.ensure_matches(store, ty)?;
    Ok(match reference {
        Ref::Func(func) => TableElement::FuncRef(func.map(|func| func.vm_func_ref(store))),
        Ref::Extern(None) | Ref::Any(None) | Ref::Exn(None) => TableElement::GcRef(None),
        Ref::Extern(Some(reference)) => {
            TableElement::GcRef(Some(reference.root_index().get(store)?))
        }
        Ref::Any(Some(reference)) => TableElement::GcRef(Some(reference.root_index().get(store)?)),
        Ref::Exn(Some(reference)) => TableElement::GcRef(Some(reference.root_index().get(store)?)),
    })
}
