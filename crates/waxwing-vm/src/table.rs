//! [`Table`]: a table of references.
//!
//! Elements of functions are pointers to `VMFuncRef`s. With
//! [`table_lazy_init`](waxwing_environ::Tunables::table_lazy_init) they are tagged: a zero word is an
//! element that still has the table's initial value, which is found out when it is first asked for;
//! other words are a pointer, perhaps null, with the lowest bit set. Elements of GC references are 32
//! bits, zero for null.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ptr::NonNull;
use std::sync::Arc;

use anyhow::{Result, anyhow, ensure};
use waxwing_environ::{IndexType, Trap, Tunables, WasmHeapTop};

use crate::allocator::{Pool, TableSlot};
use crate::vmcontext::{VMFuncRef, VMGcRef, VMTableDefinition};

/// An element of a table.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum TableElement {
    /// A function, or null.
    FuncRef(Option<NonNull<VMFuncRef>>),
    /// A GC reference, or null.
    GcRef(Option<VMGcRef>),
}

impl TableElement {
    /// Whether it is a null reference.
    pub fn is_null(self) -> bool {
        matches!(
            self,
            TableElement::FuncRef(None) | TableElement::GcRef(None)
        )
    }
}

/// The bit that tells an initialised element of a lazily initialised table.
const INITIALIZED: usize = 1;

/// Words whose initial value is zero, without that a page of them is touched before it is used.
struct Words<T> {
    start: NonNull<T>,
    len: usize,
    capacity: usize,
    /// Where the words are if they have no allocation of their own.
    slot: Option<TableSlot>,
}

impl<T: Copy> Words<T> {
    fn new(len: usize, slot: Option<TableSlot>) -> Result<Words<T>> {
        let start = match &slot {
            Some(slot) => slot.start().cast(),
            None => Words::allocate(len)?,
        };
        let mut words = Words {
            start,
            len: 0,
            capacity: if slot.is_none() { len } else { 0 },
            slot,
        };
        words.grow_to(len)?;
        Ok(words)
    }

    fn layout(capacity: usize) -> Result<Layout> {
        Layout::array::<T>(capacity)
            .map_err(|_| anyhow!("a table of {capacity} elements exceeds the address space"))
    }

    fn allocate(capacity: usize) -> Result<NonNull<T>> {
        let layout = Words::<T>::layout(capacity)?;
        if layout.size() == 0 {
            return Ok(NonNull::dangling());
        }
        // SAFETY: the size is not zero.
        NonNull::new(unsafe { alloc_zeroed(layout) })
            .map(NonNull::cast)
            .ok_or_else(|| anyhow!("failed to allocate {:#x} bytes for a table", layout.size()))
    }

    /// Appends zeros.
    fn grow_to(&mut self, len: usize) -> Result<()> {
        debug_assert!(len >= self.len);
        if let Some(slot) = &mut self.slot {
            slot.use_up_to(len, size_of::<T>())?;
        } else if len > self.capacity {
            let amortized = self.capacity.saturating_mul(2).max(len).max(4);
            // Twice as much may be too much where enough is not.
            let (capacity, start) = match Words::<T>::allocate(amortized) {
                Ok(start) => (amortized, start),
                Err(_) => (len, Words::<T>::allocate(len)?),
            };
            // SAFETY: the new allocation is at least as long as the old one's part that is in use.
            unsafe { start.copy_from_nonoverlapping(self.start, self.len) };
            *self = Words {
                start,
                len: self.len,
                capacity,
                slot: None,
            };
        }
        // What is beyond the length was never written to.
        self.len = len;
        Ok(())
    }

    fn get(&self, index: usize) -> Option<T> {
        // SAFETY: elements within the length are initialised. No reference is made, as generated code
        // writes to them too.
        (index < self.len).then(|| unsafe { self.start.add(index).read() })
    }

    fn set(&mut self, index: usize, word: T) {
        assert!(index < self.len);
        // SAFETY: the element is within the length.
        unsafe { self.start.add(index).write(word) };
    }
}

impl<T> Drop for Words<T> {
    fn drop(&mut self) {
        if self.slot.is_some() {
            return;
        }
        let layout = Layout::array::<T>(self.capacity).expect("checked when it was allocated");
        if layout.size() != 0 {
            // SAFETY: it was allocated with this layout.
            unsafe { dealloc(self.start.as_ptr().cast(), layout) };
        }
    }
}

enum Elements {
    Functions {
        words: Words<*mut VMFuncRef>,
        lazy: bool,
    },
    GcRefs(Words<u32>),
}

/// A table. Indices are in elements.
pub struct Table {
    ty: waxwing_environ::Table,
    elements: Elements,
}

impl Table {
    /// A table of type `ty`, the references to types in which are the engine's, of its minimal size.
    /// Its elements are null, or, where that is the setting, uninitialised.
    ///
    /// # Errors
    ///
    /// Fails if memory is lacking, or if it is to come from a pool, that has none for such a table.
    pub(crate) fn new(
        ty: &waxwing_environ::Table,
        tunables: &Tunables,
        pool: Option<&Arc<Pool>>,
    ) -> Result<Table> {
        let minimum = usize::try_from(ty.limits.min).map_err(|_| {
            anyhow!(
                "a table of {} elements exceeds the address space",
                ty.limits.min
            )
        })?;
        let slot = pool.map(|pool| pool.table(ty)).transpose()?;
        let elements = match ty.ref_type.heap_type.top() {
            WasmHeapTop::Func => Elements::Functions {
                words: Words::new(minimum, slot)?,
                lazy: tunables.table_lazy_init,
            },
            WasmHeapTop::Extern | WasmHeapTop::Any | WasmHeapTop::Exn => {
                Elements::GcRefs(Words::new(minimum, slot)?)
            }
        };
        Ok(Table { ty: *ty, elements })
    }

    /// The table's type, with the engine's types.
    #[inline]
    pub fn ty(&self) -> &waxwing_environ::Table {
        &self.ty
    }

    /// The number of elements.
    #[inline]
    pub fn size(&self) -> usize {
        match &self.elements {
            Elements::Functions { words, .. } => words.len,
            Elements::GcRefs(words) => words.len,
        }
    }

    /// The record that generated code uses.
    pub(crate) fn definition(&self) -> VMTableDefinition {
        let base: *mut u8 = match &self.elements {
            Elements::Functions { words, .. } => words.start.as_ptr().cast(),
            Elements::GcRefs(words) => words.start.as_ptr().cast(),
        };
        VMTableDefinition {
            base,
            current_elements: self.size(),
        }
    }

    /// Whether elements may be uninitialised.
    pub(crate) fn is_lazy(&self) -> bool {
        matches!(self.elements, Elements::Functions { lazy: true, .. })
    }

    /// The most elements that the type and its indices allow.
    fn maximum(&self) -> u64 {
        let by_index = match self.ty.idx_type {
            IndexType::I32 => u64::from(u32::MAX),
            IndexType::I64 => u64::MAX,
        };
        self.ty.limits.max.map_or(by_index, |max| max.min(by_index))
    }

    /// The number of elements after growing by `delta`, saturating.
    pub(crate) fn size_after_growth(&self, delta: u64) -> usize {
        usize::try_from(delta).map_or(usize::MAX, |delta| self.size().saturating_add(delta))
    }

    /// The most elements that the type declares, for limiters; saturating.
    pub(crate) fn declared_maximum(&self) -> Option<usize> {
        let max = self.ty.limits.max?;
        Some(usize::try_from(max).unwrap_or(usize::MAX))
    }

    /// Appends elements up to `new_size`, which is not less than before.
    ///
    /// # Errors
    ///
    /// Fails, leaving the table as it was, if that exceeds its maximum, or memory is lacking.
    pub(crate) fn grow_to(&mut self, new_size: usize, init: TableElement) -> Result<()> {
        ensure!(
            new_size as u64 <= self.maximum(),
            "growing the table to {new_size} elements exceeds its maximum of {}",
            self.maximum()
        );
        let old_size = self.size();
        match &mut self.elements {
            Elements::Functions { words, .. } => words.grow_to(new_size)?,
            Elements::GcRefs(words) => words.grow_to(new_size)?,
        }
        // A new element that is left uninitialised is null: initial values are never longer than the
        // initial size.
        if !init.is_null() {
            for index in old_size..new_size {
                self.set(index, init);
            }
        }
        Ok(())
    }

    /// The element at `index`; `None` if it is uninitialised.
    ///
    /// # Errors
    ///
    /// Traps if there is no such element.
    pub(crate) fn get(&self, index: u64) -> Result<Option<TableElement>, Trap> {
        let index = usize::try_from(index).map_err(|_| Trap::TableOutOfBounds)?;
        match &self.elements {
            Elements::Functions { words, lazy } => {
                let word = words.get(index).ok_or(Trap::TableOutOfBounds)?;
                if !lazy {
                    return Ok(Some(TableElement::FuncRef(NonNull::new(word))));
                }
                if word.is_null() {
                    return Ok(None);
                }
                let func = word.map_addr(|address| address & !INITIALIZED);
                Ok(Some(TableElement::FuncRef(NonNull::new(func))))
            }
            Elements::GcRefs(words) => {
                let word = words.get(index).ok_or(Trap::TableOutOfBounds)?;
                Ok(Some(TableElement::GcRef(VMGcRef::new(word))))
            }
        }
    }

    /// Sets the element at `index`, which exists, to a reference of the table's kind.
    ///
    /// # Panics
    ///
    /// Panics if there is no such element, or the reference is of another kind.
    pub(crate) fn set(&mut self, index: usize, element: TableElement) {
        match (&mut self.elements, element) {
            (Elements::Functions { words, lazy }, TableElement::FuncRef(func)) => {
                let func = func.map_or(std::ptr::null_mut(), NonNull::as_ptr);
                let tag = if *lazy { INITIALIZED } else { 0 };
                words.set(index, func.map_addr(|address| address | tag));
            }
            (Elements::GcRefs(words), TableElement::GcRef(reference)) => {
                words.set(index, reference.map_or(0, VMGcRef::get));
            }
            _ => panic!("a table holds references of one kind"),
        }
    }

    /// The null reference of the table's kind.
    pub fn null(&self) -> TableElement {
        match &self.elements {
            Elements::Functions { .. } => TableElement::FuncRef(None),
            Elements::GcRefs(_) => TableElement::GcRef(None),
        }
    }

    /// Whether `len` elements at `start` are all within the table.
    ///
    /// # Errors
    ///
    /// Traps if they are not.
    pub(crate) fn check_range(&self, start: u64, len: u64) -> Result<std::ops::Range<usize>, Trap> {
        match start.checked_add(len) {
            Some(end) if end <= self.size() as u64 => Ok(start as usize..end as usize),
            _ => Err(Trap::TableOutOfBounds),
        }
    }

    /// Where the elements are.
    pub(crate) fn elements(&self) -> TableElements {
        match &self.elements {
            Elements::Functions { words, lazy } => TableElements::Functions {
                start: words.start,
                len: words.len,
                lazy: *lazy,
            },
            Elements::GcRefs(words) => TableElements::GcRefs {
                start: words.start,
                len: words.len,
            },
        }
    }
}

/// The elements of a table, by address.
#[derive(Copy, Clone)]
pub(crate) enum TableElements {
    Functions {
        start: NonNull<*mut VMFuncRef>,
        len: usize,
        lazy: bool,
    },
    GcRefs {
        start: NonNull<u32>,
        len: usize,
    },
}

impl TableElements {
    /// Copies `len` elements of `src`, that are all initialised, from `src_index` on to `self`, which may
    /// be the same table, from `index` on.
    ///
    /// # Panics
    ///
    /// Panics if they are not within the tables, or the tables differ in kind.
    ///
    /// # Safety
    ///
    /// The tables are live, have not grown since, and nobody else uses their elements.
    pub(crate) unsafe fn copy_from(
        self,
        index: usize,
        src: TableElements,
        src_index: usize,
        len: usize,
    ) {
        use TableElements::{Functions, GcRefs};
        let in_bounds = |dst_len: usize, src_len: usize| {
            assert!(index + len <= dst_len && src_index + len <= src_len);
        };
        match (self, src) {
            (
                Functions {
                    start,
                    len: dst_len,
                    lazy,
                },
                Functions {
                    start: src,
                    len: src_len,
                    lazy: src_lazy,
                },
            ) if lazy == src_lazy => {
                in_bounds(dst_len, src_len);
                // SAFETY: both ranges are within their tables; required of the caller.
                unsafe { start.add(index).copy_from(src.add(src_index), len) };
            }
            (
                GcRefs {
                    start,
                    len: dst_len,
                },
                GcRefs {
                    start: src,
                    len: src_len,
                },
            ) => {
                in_bounds(dst_len, src_len);
                // SAFETY: as above.
                unsafe { start.add(index).copy_from(src.add(src_index), len) };
            }
            _ => panic!("validation requires tables of one kind, of one engine"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use waxwing_environ::{Limits, WasmRefType};

    fn table_type(ref_type: WasmRefType, min: u64, max: Option<u64>) -> waxwing_environ::Table {
        waxwing_environ::Table {
            idx_type: IndexType::I32,
            limits: Limits { min, max },
            ref_type,
        }
    }

    fn gc_ref(n: u32) -> TableElement {
        TableElement::GcRef(VMGcRef::new(n))
    }

    #[test]
    fn lazy_tables_begin_uninitialised_and_eager_ones_null() {
        let ty = table_type(WasmRefType::FUNCREF, 2, None);
        let lazy = Tunables::default();
        let mut table = Table::new(&ty, &lazy, None).unwrap();
        assert_eq!(table.get(0), Ok(None));
        table.set(0, table.null());
        assert_eq!(table.get(0), Ok(Some(TableElement::FuncRef(None))));
        let func = NonNull::<VMFuncRef>::dangling();
        table.set(1, TableElement::FuncRef(Some(func)));
        assert_eq!(table.get(1), Ok(Some(TableElement::FuncRef(Some(func)))));
        assert_eq!(table.get(2), Err(Trap::TableOutOfBounds));
        assert_eq!(table.get(u64::MAX), Err(Trap::TableOutOfBounds));

        let eager = Tunables {
            table_lazy_init: false,
            ..lazy
        };
        let table = Table::new(&ty, &eager, None).unwrap();
        assert_eq!(table.get(0), Ok(Some(TableElement::FuncRef(None))));
    }

    #[test]
    fn tables_grow_up_to_their_maximum() {
        let ty = table_type(WasmRefType::EXTERNREF, 1, Some(5));
        let mut table = Table::new(&ty, &Tunables::default(), None).unwrap();
        table.set(0, gc_ref(9));
        table.grow_to(4, gc_ref(3)).unwrap();
        table.grow_to(5, table.null()).unwrap();
        let elements: Vec<_> = (0..5).map(|i| table.get(i).unwrap().unwrap()).collect();
        assert_eq!(
            elements,
            [gc_ref(9), gc_ref(3), gc_ref(3), gc_ref(3), gc_ref(0)]
        );
        assert!(table.grow_to(6, table.null()).is_err());
        assert_eq!(table.size(), 5);
        assert_eq!(table.definition().current_elements, 5);
        let mut table = Table::new(
            &table_type(WasmRefType::EXTERNREF, 1, None),
            &Tunables::default(),
            None,
        )
        .unwrap();
        assert_eq!(table.size_after_growth(u64::MAX), usize::MAX);
        assert!(table.grow_to(u32::MAX as usize + 1, table.null()).is_err());
    }

    #[test]
    fn tables_too_large_are_errors() {
        let ty = waxwing_environ::Table {
            idx_type: IndexType::I64,
            ..table_type(WasmRefType::FUNCREF, 1 << 60, None)
        };
        assert!(Table::new(&ty, &Tunables::default(), None).is_err());
        let ty = waxwing_environ::Table {
            idx_type: IndexType::I64,
            ..table_type(WasmRefType::FUNCREF, u64::MAX, None)
        };
        assert!(Table::new(&ty, &Tunables::default(), None).is_err());
        // Large, but only address space until it is used.
        let ty = table_type(WasmRefType::FUNCREF, 10_000_000, None);
        let table = Table::new(&ty, &Tunables::default(), None).unwrap();
        assert_eq!(table.get(9_999_999), Ok(None));
    }

    #[test]
    fn copies_overlap() {
        let ty = table_type(WasmRefType::EXTERNREF, 5, None);
        let mut table = Table::new(&ty, &Tunables::default(), None).unwrap();
        for i in 0..5 {
            table.set(i, gc_ref(i as u32 + 1));
        }
        let all = table.elements();
        // SAFETY: the table is used by nothing else.
        unsafe { all.copy_from(1, all, 0, 3) };
        let elements: Vec<_> = (0..5).map(|i| table.get(i).unwrap().unwrap()).collect();
        assert_eq!(
            elements,
            [gc_ref(1), gc_ref(1), gc_ref(2), gc_ref(3), gc_ref(5)]
        );
        assert_eq!(table.check_range(5, 0), Ok(5..5));
        assert!(table.check_range(5, 1).is_err());
        assert!(table.check_range(u64::MAX, 2).is_err());
    }
}
