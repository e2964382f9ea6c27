//! Initial contents of memories as images that can be mapped copy-on-write.

use super::CompileError;
use super::translate::DataSection;
use crate::{ConstExpr, MemoryImageFacts, MemoryIndex, Module, PrimaryMap, Tunables};

/// Builds an image of every memory that has active segments and appends it to `section`.
///
/// Returns `None`, leaving `section` alone, where that is not possible or not worth it: an
/// imported memory, an offset that is not constant, a segment out of bounds (which must trap at
/// instantiation), or an image of mostly zeros.
pub(super) fn build(
    module: &Module,
    segments: &[(MemoryIndex, &ConstExpr, &[u8])],
    tunables: &Tunables,
    section: &mut DataSection<'_>,
) -> Result<Option<PrimaryMap<MemoryIndex, Option<MemoryImageFacts>>>, CompileError> {
    if !tunables.memory_init_cow {
        return Ok(None);
    }
    let mut plans: PrimaryMap<MemoryIndex, Plan<'_>> = module
        .memories
        .keys()
        .map(|_| Plan::new(tunables.page_align))
        .collect();
    for (memory, offset, data) in segments {
        let Some(start) = offset.static_offset() else {
            return Ok(None);
        };
        let size = module.memories[*memory].minimum_byte_size();
        let end = start.checked_add(data.len() as u64);
        let in_bounds = end.zip(size).is_some_and(|(end, size)| {
            // A memory of 64-bit indices and small pages may end within the last page of all.
            end <= size && end.checked_next_multiple_of(tunables.page_align).is_some()
        });
        if module.is_imported_memory(*memory) || !in_bounds {
            return Ok(None);
        }
        plans[*memory].add(start, data);
    }
    if !plans.values().all(|plan| plan.is_worth_it(tunables)) {
        return Ok(None);
    }
    let mut images = PrimaryMap::with_capacity(plans.len());
    for plan in plans.values() {
        images.push(plan.write(section)?);
    }
    if images.values().any(Option::is_some) {
        section.align(tunables.page_align as u32)?;
    }
    Ok(Some(images))
}

/// The segments of one memory, all within its initial size.
struct Plan<'a> {
    page_align: u64,
    segments: Vec<(u64, &'a [u8])>,
    data: u64,
    start: u64,
    end: u64,
}

impl<'a> Plan<'a> {
    fn new(page_align: u64) -> Self {
        Plan {
            page_align,
            segments: Vec::new(),
            data: 0,
            start: 0,
            end: 0,
        }
    }

    fn add(&mut self, start: u64, data: &'a [u8]) {
        if data.is_empty() {
            return;
        }
        let end = start + data.len() as u64;
        if self.segments.is_empty() {
            (self.start, self.end) = (start, end);
        }
        self.start = self.start.min(start);
        self.end = self.end.max(end);
        self.data += data.len() as u64;
        self.segments.push((start, data));
    }

    fn range(&self) -> core::ops::Range<u64> {
        let align = self.page_align;
        self.start / align * align..self.end.next_multiple_of(align)
    }

    /// An image is made when it is small enough or at least half of it is data.
    fn is_worth_it(&self, tunables: &Tunables) -> bool {
        let range = self.range();
        let len = range.end - range.start;
        len <= tunables.memory_guaranteed_dense_image_size || self.data >= len / 2
    }

    fn write(
        &self,
        section: &mut DataSection<'_>,
    ) -> Result<Option<MemoryImageFacts>, CompileError> {
        if self.segments.is_empty() {
            return Ok(None);
        }
        section.align(self.page_align as u32)?;
        let range = self.range();
        let mut image = vec![0; (range.end - range.start) as usize];
        for (start, data) in &self.segments {
            let at = (start - range.start) as usize;
            image[at..at + data.len()].copy_from_slice(data);
        }
        Ok(Some(MemoryImageFacts {
            offset: range.start,
            data: section.push(image)?,
        }))
    }
}
