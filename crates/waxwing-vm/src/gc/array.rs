//! Instructions over many elements of arrays. All bounds are checked before anything is written.

use std::ptr::NonNull;

use waxwing_environ::Trap;
use waxwing_environ::gc::{GcArrayLayout, GcSlot};

use super::{GcStore, is_object};
use crate::val_raw::ValRaw;
use crate::vmcontext::VMGcRef;

impl GcStore {
    /// The offset in the heap of `len` elements from `start` on, and the array's layout.
    fn elements(&self, array: VMGcRef, start: u32, len: u32) -> Result<(u32, GcArrayLayout), Trap> {
        let layout = self.array_layout(array);
        match start.checked_add(len) {
            Some(end) if end <= self.array_len(array) => {
                Ok((array.get() + layout.element(start) as u32, layout))
            }
            _ => Err(Trap::ArrayOutOfBounds),
        }
    }

    /// Counts `len` references from `start` on up or down.
    fn count_range(&mut self, start: u32, len: u32, count: fn(&mut GcStore, u32)) {
        for i in 0..len {
            let reference = self.read_u32(start + i * 4);
            count(self, reference);
        }
    }

    /// Whether `len` elements from `start` on are all in an array.
    pub(crate) fn check_elements(
        &self,
        array: Option<VMGcRef>,
        start: u32,
        len: u32,
    ) -> Result<(), Trap> {
        let array = array.ok_or(Trap::NullReference)?;
        self.elements(array, start, len).map(drop)
    }

    /// `array.copy`
    pub(crate) fn array_copy(
        &mut self,
        dst_array: Option<VMGcRef>,
        dst: u32,
        src_array: Option<VMGcRef>,
        src: u32,
        len: u32,
    ) -> Result<(), Trap> {
        let dst_array = dst_array.ok_or(Trap::NullReference)?;
        let src_array = src_array.ok_or(Trap::NullReference)?;
        let (to, layout) = self.elements(dst_array, dst, len)?;
        let (from, src_layout) = self.elements(src_array, src, len)?;
        debug_assert_eq!(layout, src_layout, "validation requires equal elements");
        if layout.slot == GcSlot::GcRef {
            self.mark_slots(to, len);
            if self.counts_references() {
                self.count_range(from, len, GcStore::count_up);
                self.count_range(to, len, GcStore::count_down);
            }
        }
        let bytes = len as usize * layout.slot.size() as usize;
        // SAFETY: both ranges are within live arrays, and may overlap.
        unsafe { self.address(to).copy_from(self.address(from), bytes) };
        Ok(())
    }

    /// `array.fill`
    pub(crate) fn array_fill(
        &mut self,
        array: Option<VMGcRef>,
        dst: u32,
        value: u128,
        len: u32,
    ) -> Result<(), Trap> {
        let array = array.ok_or(Trap::NullReference)?;
        let (to, layout) = self.elements(array, dst, len)?;
        if layout.slot == GcSlot::GcRef {
            if is_object(value as u32) {
                self.mark_slots(to, len);
            }
            if self.counts_references() {
                for _ in 0..len {
                    self.count_up(value as u32);
                }
                self.count_range(to, len, GcStore::count_down);
            }
        }
        let (to, len) = (self.address(to), len as usize);
        // SAFETY: the range is within a live array. Elements are aligned up to eight bytes.
        unsafe {
            match layout.slot {
                GcSlot::I8 => to.write_bytes(value as u8, len),
                GcSlot::I16 => fill(to.cast(), value as u16, len),
                GcSlot::Bits32 | GcSlot::GcRef | GcSlot::FuncRef => {
                    fill(to.cast(), value as u32, len);
                }
                GcSlot::Bits64 => fill(to.cast(), value as u64, len),
                GcSlot::Bits128 => {
                    let value = [value as u64, (value >> 64) as u64];
                    fill(to.cast(), value, len);
                }
            }
        }
        Ok(())
    }

    /// Sets all elements of an array to a value of their type.
    ///
    /// # Panics
    ///
    /// Panics if the object is not an array.
    pub fn fill_elements(&mut self, array: VMGcRef, value: ValRaw) {
        let value = self.heap_bits(self.array_layout(array).slot, value);
        let len = self.array_len(array);
        self.array_fill(Some(array), 0, value, len)
            .expect("an array has all of its elements");
    }

    /// The elements of an array of bytes.
    ///
    /// # Panics
    ///
    /// Panics if the object is not an array of bytes.
    pub fn byte_elements(&self, array: VMGcRef) -> &[u8] {
        let (start, len) = self.byte_range(array);
        // SAFETY: the range is within a live array, which is not changed while the store is borrowed.
        unsafe { NonNull::slice_from_raw_parts(start, len).as_ref() }
    }

    /// The elements of an array of bytes.
    ///
    /// # Panics
    ///
    /// Panics if the object is not an array of bytes.
    pub fn byte_elements_mut(&mut self, array: VMGcRef) -> &mut [u8] {
        let (start, len) = self.byte_range(array);
        // SAFETY: as above, and the store is borrowed exclusively.
        unsafe { NonNull::slice_from_raw_parts(start, len).as_mut() }
    }

    fn byte_range(&self, array: VMGcRef) -> (NonNull<u8>, usize) {
        let layout = self.array_layout(array);
        assert_eq!(layout.slot, GcSlot::I8, "the elements are not bytes");
        let start = self.address(array.get() + layout.base);
        (start, self.array_len(array) as usize)
    }

    /// `array.init_data`, given the bytes of the whole segment.
    pub(crate) fn array_init_data(
        &mut self,
        array: Option<VMGcRef>,
        segment: &[u8],
        dst: u32,
        src: u32,
        len: u32,
    ) -> Result<(), Trap> {
        let array = array.ok_or(Trap::NullReference)?;
        let (to, layout) = self.elements(array, dst, len)?;
        let bytes = segment_bytes(segment, layout.slot, src, len)?;
        // SAFETY: the range is within a live array; the segment is the artifact's.
        unsafe {
            let to = self.address(to).as_ptr();
            to.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
        }
        Ok(())
    }

    /// `array.init_elem`, given references in their representation in the heap, of the whole segment.
    pub(crate) fn array_init_elem(
        &mut self,
        array: Option<VMGcRef>,
        segment: &[u32],
        dst: u32,
        src: u32,
        len: u32,
    ) -> Result<(), Trap> {
        let array = array.ok_or(Trap::NullReference)?;
        let (to, layout) = self.elements(array, dst, len)?;
        let end = src.checked_add(len).ok_or(Trap::TableOutOfBounds)?;
        let elements = segment.get(src as usize..end as usize);
        let elements = elements.ok_or(Trap::TableOutOfBounds)?;
        if layout.slot == GcSlot::GcRef {
            self.mark_slots(to, len);
            if self.counts_references() {
                for element in elements {
                    self.count_up(*element);
                }
                self.count_range(to, len, GcStore::count_down);
            }
        }
        // SAFETY: the range is within a live array; the elements are not in the heap.
        unsafe {
            let to = self.address(to).as_ptr().cast::<u32>();
            to.copy_from_nonoverlapping(elements.as_ptr(), elements.len());
        }
        Ok(())
    }
}

/// The bytes of `len` numbers of a data segment, from the byte `src` on.
pub(crate) fn segment_bytes(
    segment: &[u8],
    slot: GcSlot,
    src: u32,
    len: u32,
) -> Result<&[u8], Trap> {
    let bytes = u64::from(len) * u64::from(slot.size());
    let end = u64::from(src) + bytes;
    // A segment is shorter than an address space.
    let range = src as usize..usize::try_from(end).map_err(|_| Trap::MemoryOutOfBounds)?;
    segment.get(range).ok_or(Trap::MemoryOutOfBounds)
}

/// # Safety
///
/// There are `len` aligned elements at `to`, that nobody else uses.
unsafe fn fill<T: Copy>(to: NonNull<T>, value: T, len: usize) {
    for i in 0..len {
        // SAFETY: required of the caller.
        unsafe { to.add(i).write(value) };
    }
}
