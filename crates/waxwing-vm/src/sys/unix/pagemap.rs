//! Which pages of private mappings have contents of their own: the `PAGEMAP_SCAN` of Linux 6.7 and later.

use std::fs::File;
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::sync::OnceLock;

/// The kernel's `struct pm_scan_arg`.
#[repr(C)]
#[derive(Default)]
struct ScanArguments {
    size: u64,
    flags: u64,
    start: u64,
    end: u64,
    walk_end: u64,
    regions: u64,
    regions_len: u64,
    max_pages: u64,
    category_inverted: u64,
    category_mask: u64,
    category_anyof_mask: u64,
    return_mask: u64,
}

/// The kernel's `struct page_region`.
#[repr(C)]
#[derive(Copy, Clone, Default)]
struct Region {
    start: u64,
    end: u64,
    categories: u64,
}

/// `_IOWR('f', 16, struct pm_scan_arg)`.
const PAGEMAP_SCAN: u64 = 3 << 30 | (size_of::<ScanArguments>() as u64) << 16 | 0x66 << 8 | 16;

const PAGE_IS_FILE: u64 = 1 << 2;
const PAGE_IS_PRESENT: u64 = 1 << 3;
const PAGE_IS_SWAPPED: u64 = 1 << 4;
const PAGE_IS_PFNZERO: u64 = 1 << 5;

/// The most regions that one scan looks at.
const MAX_REGIONS: usize = 64;

/// The page map of this process. A child that is forked has another one.
struct PageMap {
    file: File,
    process: u32,
}

impl PageMap {
    fn open() -> Option<PageMap> {
        let map = PageMap {
            file: File::open("/proc/self/pagemap").ok()?,
            process: std::process::id(),
        };
        // Whether the kernel knows the call.
        let mut regions = [Region::default(); 1];
        let start = (&raw const map as usize) & !0xffff;
        map.scan(start..start + 0x1_0000, &mut regions).map(|_| map)
    }

    /// Fills in the regions that have contents of their own from the beginning of the range, and returns how many there are
    /// and where the scan ended.
    fn scan(&self, range: Range<usize>, regions: &mut [Region]) -> Option<(usize, usize)> {
        let mut arguments = ScanArguments {
            size: size_of::<ScanArguments>() as u64,
            start: range.start as u64,
            end: range.end as u64,
            regions: regions.as_mut_ptr() as u64,
            regions_len: regions.len() as u64,
            // Neither the page of a file nor that of all zeros, but there, or swapped out.
            category_inverted: PAGE_IS_FILE | PAGE_IS_PFNZERO,
            category_mask: PAGE_IS_FILE | PAGE_IS_PFNZERO,
            category_anyof_mask: PAGE_IS_PRESENT | PAGE_IS_SWAPPED,
            return_mask: PAGE_IS_PRESENT,
            ..ScanArguments::default()
        };
        // SAFETY: the arguments are those of the call, which writes to them and as many regions as there are.
        let count = unsafe {
            libc::ioctl(
                self.file.as_raw_fd(),
                PAGEMAP_SCAN as libc::Ioctl,
                &raw mut arguments,
            )
        };
        let count = usize::try_from(count).ok()?;
        Some((count.min(regions.len()), arguments.walk_end as usize))
    }
}

fn page_map() -> Option<&'static PageMap> {
    static PAGE_MAP: OnceLock<Option<PageMap>> = OnceLock::new();
    let map = PAGE_MAP.get_or_init(PageMap::open).as_ref()?;
    (map.process == std::process::id()).then_some(map)
}

/// Whether the system tells.
pub(crate) fn available() -> bool {
    page_map().is_some()
}

/// Calls `visit` with ranges of addresses from `start` on, in order, of pages with contents of their own: what else is within
/// `start..end`, in a private mapping, is as it was mapped. Returns up to where that is known: `end`, or where `visit` returned
/// `false`, or where there were too many ranges.
pub(crate) fn scan(start: usize, end: usize, visit: &mut dyn FnMut(Range<usize>) -> bool) -> usize {
    let mut regions = [Region::default(); MAX_REGIONS];
    let Some((count, known)) = page_map().and_then(|map| map.scan(start..end, &mut regions)) else {
        return start;
    };
    for region in &regions[..count] {
        if !visit(region.start as usize..region.end as usize) {
            return region.start as usize;
        }
    }
    known
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mmap::{Mmap, host_page_size};

    #[test]
    fn written_pages_are_found_and_read_ones_are_not() {
        if !available() {
            return;
        }
        let page = host_page_size();
        let mapping = Mmap::with_at_least(300 * page).unwrap();
        let start = mapping.as_mut_ptr();
        let end = start as usize + 300 * page;
        let found = |visit_most: usize| {
            let mut found = Vec::new();
            let known = scan(start as usize, end, &mut |range: Range<usize>| {
                let all = found.len() < visit_most;
                if all {
                    let offset = |address: usize| (address - start as usize) / page;
                    found.push((offset(range.start), offset(range.end)));
                }
                all
            });
            (found, (known - start as usize) / page)
        };
        assert_eq!(found(9), (vec![], 300));
        // SAFETY: the pages are the mapping's, which nothing else uses.
        unsafe {
            start.add(5 * page).read_volatile();
            start.add(7 * page).write_volatile(1);
            start.add(8 * page).write_volatile(1);
            start.add(299 * page).write_volatile(0);
        }
        assert_eq!(found(9), (vec![(7, 9), (299, 300)], 300));
        assert_eq!(found(1), (vec![(7, 9)], 299));
        for even in (0..300).step_by(2) {
            // SAFETY: as above.
            unsafe { start.add(even * page).write_volatile(1) };
        }
        let (ranges, known) = found(usize::MAX);
        assert_eq!(ranges.len(), MAX_REGIONS);
        assert!(ranges.iter().all(|(_, end)| *end <= known) && known < 300);
    }
}
