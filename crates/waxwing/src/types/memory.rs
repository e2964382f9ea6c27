//! [`MemoryType`] and its builder.

use crate::Result;
use anyhow::{Context, ensure};
use waxwing_environ as env;
use waxwing_environ::{IndexType, Limits, WASM32_MAX_PAGES, WASM64_MAX_PAGES};

/// The base-2 logarithm of the bytes of a page, unless the type says otherwise.
const DEFAULT_PAGE_SIZE_LOG2: u8 = 16;

/// The type of a linear memory: its size in pages, how it is indexed and shared.
///
/// A page has 64 KiB, unless [`MemoryTypeBuilder::page_size_log2`] says otherwise.
#[derive(Debug, Clone, Hash, Eq, PartialEq)]
pub struct MemoryType {
    ty: env::Memory,
}

impl MemoryType {
    /// Starts the description of a memory with options that the other constructors do not have.
    pub fn builder() -> MemoryTypeBuilder {
        MemoryTypeBuilder::new()
    }

    /// The type of memories that have `minimum` pages at first and never more than `maximum`,
    /// with 32-bit indices.
    ///
    /// # Panics
    ///
    /// Panics if the maximum is less than the minimum, or either is more than 65536 pages: 4 GiB.
    pub fn new(minimum: u32, maximum: Option<u32>) -> MemoryType {
        MemoryTypeBuilder::default()
            .min(minimum.into())
            .max(maximum.map(u64::from))
            .build()
            .expect("the sizes of a 32-bit memory are valid")
    }

    /// The type of memories that have `minimum` pages at first and never more than `maximum`,
    /// with 64-bit indices, of the memory64 proposal.
    ///
    /// # Panics
    ///
    /// Panics if the maximum is less than the minimum, or either is more than 2^48 pages.
    pub fn new64(minimum: u64, maximum: Option<u64>) -> MemoryType {
        MemoryTypeBuilder::default()
            .memory64(true)
            .min(minimum)
            .max(maximum)
            .build()
            .expect("the sizes of a 64-bit memory are valid")
    }

    /// The type of memories that several threads can access, of the threads proposal, with
    /// 32-bit indices.
    ///
    /// # Panics
    ///
    /// Panics if the maximum is less than the minimum, or either is more than 65536 pages: 4 GiB.
    pub fn shared(minimum: u32, maximum: u32) -> MemoryType {
        MemoryTypeBuilder::default()
            .shared(true)
            .min(minimum.into())
            .max(Some(maximum.into()))
            .build()
            .expect("the sizes of a shared memory are valid")
    }

    /// Whether indices have 64 bits.
    pub fn is_64(&self) -> bool {
        self.ty.idx_type == IndexType::I64
    }

    /// Whether several threads can access the memory.
    pub fn is_shared(&self) -> bool {
        self.ty.shared
    }

    /// The number of pages at first.
    pub fn minimum(&self) -> u64 {
        self.ty.limits.min
    }

    /// The number of pages beyond which the memory cannot grow, if one is declared.
    pub fn maximum(&self) -> Option<u64> {
        self.ty.limits.max
    }

    /// The bytes of a page.
    pub fn page_size(&self) -> u64 {
        self.ty.page_size()
    }

    /// The base-2 logarithm of the bytes of a page.
    pub fn page_size_log2(&self) -> u8 {
        self.ty.page_size_log2
    }

    pub(crate) fn from_wasm(ty: &env::Memory) -> MemoryType {
        MemoryType { ty: *ty }
    }

    pub(crate) fn as_wasm(&self) -> &env::Memory {
        &self.ty
    }
}

/// Describes a [`MemoryType`] step by step. What is not set: no pages, no maximum, 32-bit
/// indices, not shared, pages of 64 KiB.
#[derive(Debug, Clone)]
pub struct MemoryTypeBuilder {
    ty: env::Memory,
}

impl Default for MemoryTypeBuilder {
    fn default() -> Self {
        MemoryTypeBuilder {
            ty: env::Memory {
                idx_type: IndexType::I32,
                limits: Limits { min: 0, max: None },
                shared: false,
                page_size_log2: DEFAULT_PAGE_SIZE_LOG2,
            },
        }
    }
}

impl MemoryTypeBuilder {
    /// Starts a description.
    pub fn new() -> MemoryTypeBuilder {
        MemoryTypeBuilder::default()
    }

    /// The number of pages at first.
    pub fn min(&mut self, minimum: u64) -> &mut Self {
        self.ty.limits.min = minimum;
        self
    }

    /// The number of pages beyond which the memory cannot grow, or `None` for what its indices
    /// can address.
    pub fn max(&mut self, maximum: Option<u64>) -> &mut Self {
        self.ty.limits.max = maximum;
        self
    }

    /// Whether indices have 64 bits, of the memory64 proposal.
    pub fn memory64(&mut self, memory64: bool) -> &mut Self {
        self.ty.idx_type = if memory64 {
            IndexType::I64
        } else {
            IndexType::I32
        };
        self
    }

    /// Whether several threads can access the memory, of the threads proposal. Such a memory
    /// must have a maximum.
    pub fn shared(&mut self, shared: bool) -> &mut Self {
        self.ty.shared = shared;
        self
    }

    /// The base-2 logarithm of the bytes of a page, of the custom-page-sizes proposal: 16, or 0
    /// for pages of one byte.
    pub fn page_size_log2(&mut self, page_size_log2: u8) -> &mut Self {
        self.ty.page_size_log2 = page_size_log2;
        self
    }

    /// The described type.
    ///
    /// # Errors
    ///
    /// Fails if the page size is neither one byte nor 64 KiB, the maximum is less than the
    /// minimum, either is more than indices can address, or a shared memory has no maximum.
    pub fn build(&self) -> Result<MemoryType> {
        let env::Memory {
            idx_type,
            limits,
            shared,
            page_size_log2,
        } = self.ty;
        ensure!(
            page_size_log2 == 0 || page_size_log2 == DEFAULT_PAGE_SIZE_LOG2,
            "a page of 2^{page_size_log2} bytes: only 2^0 and 2^{DEFAULT_PAGE_SIZE_LOG2} are possible"
        );
        let most_pages = match (idx_type, page_size_log2) {
            (IndexType::I32, DEFAULT_PAGE_SIZE_LOG2) => WASM32_MAX_PAGES,
            (IndexType::I32, _) => u32::MAX.into(),
            (IndexType::I64, DEFAULT_PAGE_SIZE_LOG2) => WASM64_MAX_PAGES,
            (IndexType::I64, _) => u64::MAX,
        };
        for (what, pages) in [("minimum", Some(limits.min)), ("maximum", limits.max)] {
            ensure!(
                pages.is_none_or(|pages| pages <= most_pages),
                "a memory's {what} of {} pages: its indices address at most {most_pages}",
                pages.unwrap_or_default()
            );
        }
        if let Some(max) = limits.max {
            ensure!(
                limits.min <= max,
                "a memory's minimum of {} pages is more than its maximum of {max}",
                limits.min
            );
        }
        if shared {
            limits.max.context("a shared memory must have a maximum")?;
        }
        Ok(MemoryType { ty: self.ty })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_checked() {
        let ty = MemoryType::new(1, Some(3));
        assert_eq!((ty.minimum(), ty.maximum()), (1, Some(3)));
        assert_eq!((ty.page_size(), ty.page_size_log2()), (65536, 16));
        assert!(!ty.is_64() && !ty.is_shared());
        assert_eq!(MemoryType::new(65536, None).minimum(), 65536);
        assert!(MemoryType::new64(1 << 48, None).is_64());
        assert!(MemoryType::shared(0, 1).is_shared());

        let error = |f: &dyn Fn(&mut MemoryTypeBuilder) -> &mut MemoryTypeBuilder| {
            let mut builder = MemoryType::builder();
            f(&mut builder).build().unwrap_err().to_string()
        };
        assert!(error(&|b| b.min(65537)).contains("minimum of 65537 pages"));
        assert!(error(&|b| b.max(Some(65537))).contains("maximum of 65537 pages"));
        assert!(error(&|b| b.min(2).max(Some(1))).contains("more than its maximum"));
        assert!(error(&|b| b.shared(true)).contains("must have a maximum"));
        assert!(error(&|b| b.page_size_log2(12)).contains("2^12"));
        assert!(error(&|b| b.memory64(true).min((1 << 48) + 1)).contains("at most"));
        let small = MemoryType::builder()
            .page_size_log2(0)
            .min(70_000)
            .build()
            .unwrap();
        assert_eq!(small.page_size(), 1);
    }
}
