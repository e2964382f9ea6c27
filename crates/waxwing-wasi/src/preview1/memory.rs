//! The guest's memory: every access of the functions goes through here, and
//! is checked against the bounds of the memory first.

use super::types::Errno;
use std::io::{IoSlice, IoSliceMut};
use std::ops::Range;

/// The longest path, in bytes, that a guest may pass.
pub(crate) const MAX_PATH: u32 = 4096;

/// The most buffers that a guest may pass to one call.
const MAX_BUFFERS: u32 = 1024;

/// So many buffers are handled without an allocation.
const INLINE_BUFFERS: usize = 8;

/// The size of `iovec` and `ciovec`.
const IOVEC_SIZE: u32 = 8;

/// The linear memory of the calling guest.
pub(crate) struct GuestMemory<'a> {
    bytes: &'a mut [u8],
}

impl<'a> GuestMemory<'a> {
    pub(crate) fn new(bytes: &'a mut [u8]) -> Self {
        Self { bytes }
    }

    /// The bytes `pointer..pointer + length`, if they are all inside.
    fn range(&self, pointer: u32, length: u32) -> Result<Range<usize>, Errno> {
        let start = pointer as usize;
        let end = start.checked_add(length as usize).ok_or(Errno::Fault)?;
        if end > self.bytes.len() {
            return Err(Errno::Fault);
        }
        Ok(start..end)
    }

    /// Fails if `length` bytes at `pointer` are not all inside, so that a call
    /// finds out before it has an effect.
    pub(crate) fn check(&self, pointer: u32, length: u32) -> Result<(), Errno> {
        self.range(pointer, length).map(drop)
    }

    pub(crate) fn slice(&self, pointer: u32, length: u32) -> Result<&[u8], Errno> {
        let range = self.range(pointer, length)?;
        Ok(&self.bytes[range])
    }

    pub(crate) fn slice_mut(&mut self, pointer: u32, length: u32) -> Result<&mut [u8], Errno> {
        let range = self.range(pointer, length)?;
        Ok(&mut self.bytes[range])
    }

    /// The `count` elements of `size` bytes each, one after the other, at `pointer`.
    pub(crate) fn array(&self, pointer: u32, count: u32, size: u32) -> Result<&[u8], Errno> {
        let length = count.checked_mul(size).ok_or(Errno::Fault)?;
        self.slice(pointer, length)
    }

    pub(crate) fn array_mut(
        &mut self,
        pointer: u32,
        count: u32,
        size: u32,
    ) -> Result<&mut [u8], Errno> {
        let length = count.checked_mul(size).ok_or(Errno::Fault)?;
        self.slice_mut(pointer, length)
    }

    pub(crate) fn put_u32(&mut self, pointer: u32, value: u32) -> Result<(), Errno> {
        self.put(pointer, &value.to_le_bytes())
    }

    pub(crate) fn put_u64(&mut self, pointer: u32, value: u64) -> Result<(), Errno> {
        self.put(pointer, &value.to_le_bytes())
    }

    pub(crate) fn put(&mut self, pointer: u32, bytes: &[u8]) -> Result<(), Errno> {
        let length = u32::try_from(bytes.len()).map_err(|_| Errno::Fault)?;
        self.slice_mut(pointer, length)?.copy_from_slice(bytes);
        Ok(())
    }

    /// A path: UTF-8, not empty, without NUL.
    pub(crate) fn path(&self, pointer: u32, length: u32) -> Result<&str, Errno> {
        if length > MAX_PATH {
            return Err(Errno::Nametoolong);
        }
        let bytes = self.slice(pointer, length)?;
        let path = std::str::from_utf8(bytes).map_err(|_| Errno::Ilseq)?;
        if path.is_empty() {
            return Err(Errno::Noent);
        }
        if bytes.contains(&0) {
            return Err(Errno::Inval);
        }
        Ok(path)
    }

    /// Calls `write` with the guest's buffers that the `count` structures
    /// `ciovec` at `pointer` describe. All of them are inside of the memory,
    /// and their lengths add up to a `u32`.
    pub(crate) fn with_output<R>(
        &self,
        pointer: u32,
        count: u32,
        write: impl FnOnce(&[IoSlice<'_>]) -> R,
    ) -> Result<R, Errno> {
        let descriptors = self.descriptors(pointer, count)?;
        let count = descriptors.len();
        if count <= INLINE_BUFFERS {
            let mut slices = [IoSlice::new(&[]); INLINE_BUFFERS];
            self.fill_output(descriptors, &mut slices)?;
            Ok(write(&slices[..count]))
        } else {
            let mut slices = vec![IoSlice::new(&[]); count];
            self.fill_output(descriptors, &mut slices)?;
            Ok(write(&slices))
        }
    }

    fn fill_output<'m>(
        &'m self,
        descriptors: &[[u8; IOVEC_SIZE as usize]],
        slices: &mut [IoSlice<'m>],
    ) -> Result<(), Errno> {
        let mut total = 0;
        for (descriptor, slice) in descriptors.iter().zip(slices) {
            *slice = IoSlice::new(&self.bytes[self.buffer(descriptor, &mut total)?]);
        }
        Ok(())
    }

    /// Calls `read` with the guest's buffers that the `count` structures
    /// `iovec` at `pointer` describe. All of them are inside of the memory, and
    /// their lengths add up to a `u32`.
    ///
    /// Buffers that overlap cannot be lent out together; then `read` gets the
    /// first alone, which a guest sees as a short read.
    pub(crate) fn with_input<R>(
        &mut self,
        pointer: u32,
        count: u32,
        read: impl FnOnce(&mut [IoSliceMut<'_>]) -> R,
    ) -> Result<R, Errno> {
        let descriptors = self.descriptors(pointer, count)?;
        let count = descriptors.len();
        let mut total = 0;
        if let [descriptor] = descriptors {
            let range = self.buffer(descriptor, &mut total)?;
            return Ok(read(&mut [IoSliceMut::new(&mut self.bytes[range])]));
        }
        if count <= INLINE_BUFFERS {
            let mut ranges = [(); INLINE_BUFFERS].map(|()| (0, 0..0));
            self.fill_ranges(descriptors, &mut ranges)?;
            let mut slices = [(); INLINE_BUFFERS].map(|()| IoSliceMut::new(&mut []));
            Ok(self.lend(&mut ranges[..count], &mut slices[..count], read))
        } else {
            let mut ranges = vec![(0, 0..0); count];
            self.fill_ranges(descriptors, &mut ranges)?;
            let mut slices = Vec::with_capacity(count);
            slices.resize_with(count, || IoSliceMut::new(&mut []));
            Ok(self.lend(&mut ranges, &mut slices, read))
        }
    }

    fn fill_ranges(
        &self,
        descriptors: &[[u8; IOVEC_SIZE as usize]],
        ranges: &mut [(usize, Range<usize>)],
    ) -> Result<(), Errno> {
        let mut total = 0;
        for (index, (descriptor, range)) in descriptors.iter().zip(ranges).enumerate() {
            *range = (index, self.buffer(descriptor, &mut total)?);
        }
        Ok(())
    }

    /// Splits the memory at the `ranges`, which say their place among the
    /// buffers, and lends the parts to `read`.
    fn lend<'m, R>(
        &'m mut self,
        ranges: &mut [(usize, Range<usize>)],
        slices: &mut [IoSliceMut<'m>],
        read: impl FnOnce(&mut [IoSliceMut<'_>]) -> R,
    ) -> R {
        let first = ranges.iter().find(|(_, range)| !range.is_empty());
        let first = first.map_or(0..0, |(_, range)| range.clone());
        ranges.sort_unstable_by_key(|(_, range)| range.start);
        let filled = || ranges.iter().filter(|(_, range)| !range.is_empty());
        if filled()
            .zip(filled().skip(1))
            .any(|((_, left), (_, right))| left.end > right.start)
        {
            return read(&mut [IoSliceMut::new(&mut self.bytes[first])]);
        }
        let mut rest = &mut self.bytes[..];
        let mut position = 0;
        for (index, range) in filled() {
            let (_, tail) = rest.split_at_mut(range.start - position);
            let (part, tail) = tail.split_at_mut(range.len());
            slices[*index] = IoSliceMut::new(part);
            rest = tail;
            position = range.end;
        }
        read(slices)
    }

    /// The structures `iovec` or `ciovec` themselves.
    fn descriptors(&self, pointer: u32, count: u32) -> Result<&[[u8; IOVEC_SIZE as usize]], Errno> {
        if count > MAX_BUFFERS {
            return Err(Errno::Inval);
        }
        let (descriptors, _) = self.array(pointer, count, IOVEC_SIZE)?.as_chunks();
        Ok(descriptors)
    }

    /// The buffer that a structure describes; its length is added to `total`.
    fn buffer(
        &self,
        descriptor: &[u8; IOVEC_SIZE as usize],
        total: &mut u32,
    ) -> Result<Range<usize>, Errno> {
        let [p0, p1, p2, p3, l0, l1, l2, l3] = *descriptor;
        let length = u32::from_le_bytes([l0, l1, l2, l3]);
        let range = self.range(u32::from_le_bytes([p0, p1, p2, p3]), length)?;
        *total = total.checked_add(length).ok_or(Errno::Inval)?;
        Ok(range)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A memory of 64 bytes that starts with the given buffers.
    fn memory_with(buffers: &[(u32, u32)]) -> Vec<u8> {
        let words = buffers
            .iter()
            .flat_map(|&(pointer, length)| [pointer, length]);
        let mut bytes: Vec<u8> = words.flat_map(u32::to_le_bytes).collect();
        bytes.resize(64, 0);
        bytes
    }

    #[test]
    fn buffers_are_lent_in_their_order_wherever_they_lie() {
        let mut bytes = memory_with(&[(50, 2), (60, 0), (40, 3)]);
        let mut memory = GuestMemory::new(&mut bytes);
        let lengths = memory.with_input(0, 3, |buffers| {
            for (index, buffer) in buffers.iter_mut().enumerate() {
                buffer.fill(index as u8 + 1);
            }
            buffers
                .iter()
                .map(|buffer| buffer.len())
                .collect::<Vec<_>>()
        });
        assert_eq!(lengths, Ok(vec![2, 0, 3]));
        assert_eq!(bytes[40..52], [3, 3, 3, 0, 0, 0, 0, 0, 0, 0, 1, 1]);
    }

    #[test]
    fn more_buffers_than_fit_inline_are_lent_too() {
        let mut bytes: Vec<u8> = (0..=INLINE_BUFFERS as u32)
            .flat_map(|index| [80 + index, 1].map(u32::to_le_bytes).concat())
            .collect();
        bytes.resize(128, 0);
        let mut memory = GuestMemory::new(&mut bytes);
        let count = INLINE_BUFFERS as u32 + 1;
        let sum = |buffers: &[IoSlice<'_>]| buffers.iter().map(|b| b.len()).sum::<usize>();
        assert_eq!(memory.with_output(0, count, sum), Ok(9));
        assert_eq!(memory.with_input(0, count, |buffers| buffers.len()), Ok(9));
    }

    #[test]
    fn overlapping_buffers_get_a_short_read() {
        let mut bytes = memory_with(&[(50, 4), (52, 4)]);
        let mut memory = GuestMemory::new(&mut bytes);
        let lent = memory.with_input(0, 2, |buffers| (buffers.len(), buffers[0].len()));
        assert_eq!(lent, Ok((1, 4)));
    }

    #[test]
    fn buffers_out_of_bounds_are_refused() {
        for buffer in [(64, 1), (63, 2), (u32::MAX, 1), (0, u32::MAX), (65, 0)] {
            let mut bytes = memory_with(&[(32, 4), buffer]);
            let mut memory = GuestMemory::new(&mut bytes);
            assert_eq!(
                memory.with_output(0, 2, |_| ()),
                Err(Errno::Fault),
                "{buffer:?}"
            );
            assert_eq!(
                memory.with_input(0, 2, |_| ()),
                Err(Errno::Fault),
                "{buffer:?}"
            );
            assert_eq!(
                memory.with_input(8, 1, |_| ()),
                Err(Errno::Fault),
                "{buffer:?}"
            );
        }
    }

    #[test]
    fn lists_out_of_bounds_are_refused() {
        let mut bytes = memory_with(&[]);
        let memory = GuestMemory::new(&mut bytes);
        assert_eq!(memory.with_output(60, 1, |_| ()), Err(Errno::Fault));
        assert_eq!(memory.with_output(0, 9, |_| ()), Err(Errno::Fault));
        assert_eq!(memory.with_output(0, u32::MAX, |_| ()), Err(Errno::Inval));
        assert_eq!(memory.array(0, u32::MAX, 48).err(), Some(Errno::Fault));
        assert_eq!(memory.with_output(64, 0, |buffers| buffers.len()), Ok(0));
    }

    #[test]
    fn lengths_that_add_up_to_more_than_a_u32_are_refused() {
        let length = 1 << 22;
        let mut bytes = [0, length].map(u32::to_le_bytes).concat().repeat(1024);
        bytes.resize(length as usize, 0);
        let mut memory = GuestMemory::new(&mut bytes);
        assert_eq!(memory.with_output(0, 1023, |_| ()), Ok(()));
        assert_eq!(memory.with_output(0, 1024, |_| ()), Err(Errno::Inval));
        assert_eq!(memory.with_input(0, 1024, |_| ()), Err(Errno::Inval));
    }

    #[test]
    fn paths_are_checked() {
        let mut bytes = b"a/b\0\xff".to_vec();
        let memory = GuestMemory::new(&mut bytes);
        assert_eq!(memory.path(0, 3), Ok("a/b"));
        assert_eq!(memory.path(0, 0), Err(Errno::Noent));
        assert_eq!(memory.path(0, 4), Err(Errno::Inval));
        assert_eq!(memory.path(4, 1), Err(Errno::Ilseq));
        assert_eq!(memory.path(4, 2), Err(Errno::Fault));
        assert_eq!(memory.path(0, MAX_PATH + 1), Err(Errno::Nametoolong));
    }
}
