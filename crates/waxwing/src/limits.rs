//! Limits on the resources that a store's instances use: [`ResourceLimiter`] and [`StoreLimits`].

#[cfg(feature = "async")]
use std::pin::Pin;

use anyhow::{Result, bail};

/// How many instances a store holds at most when its limiter does not say otherwise.
pub const DEFAULT_INSTANCE_LIMIT: usize = 10_000;
/// How many tables a store holds at most when its limiter does not say otherwise.
pub const DEFAULT_TABLE_LIMIT: usize = 10_000;
/// How many linear memories a store holds at most when its limiter does not say otherwise.
pub const DEFAULT_MEMORY_LIMIT: usize = 10_000;

/// Decides what the instances of a store may use: how large memories and tables get, and how many
/// instances, memories and tables there are.
///
/// A limiter is installed with [`Store::limiter`](crate::Store::limiter). It is asked before every
/// allocation, that of a module's initial memories and tables included. [`StoreLimits`] is an
/// implementation with fixed limits.
///
/// Only what WebAssembly itself can allocate is covered. What the host needs beside it, such as
/// the code of modules or the records of an instance, is not counted.
pub trait ResourceLimiter {
    /// Decides whether a linear memory may grow from `current` to `desired` bytes.
    ///
    /// Both are multiples of the memory's page size; `current` is zero for a memory that is being
    /// created. `maximum` is the memory's own declared limit in bytes, if it has one. A `desired`
    /// size beyond that may be asked for too, and fails in any case.
    ///
    /// `Ok(false)` makes the growth fail: `memory.grow` returns -1, [`Memory::grow`] and
    /// [`Memory::new`] return an error.
    ///
    /// # Errors
    ///
    /// An error becomes a trap where WebAssembly asks to grow a memory.
    ///
    /// [`Memory::grow`]: crate::Memory::grow
    /// [`Memory::new`]: crate::Memory::new
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool>;

    /// Told that a growth which [`memory_growing`](Self::memory_growing) permitted failed, or
    /// that the size asked for exceeds what the memory can ever have.
    ///
    /// # Errors
    ///
    /// An error becomes a trap. By default the failure is logged at debug level and `Ok(())` lets
    /// the growth fail as WebAssembly defines.
    fn memory_grow_failed(&mut self, error: anyhow::Error) -> Result<()> {
        log::debug!("ignoring a failure to grow a memory: {error:?}");
        Ok(())
    }

    /// Decides whether a table may grow from `current` to `desired` elements.
    ///
    /// As [`memory_growing`](Self::memory_growing), but sizes are in elements.
    ///
    /// # Errors
    ///
    /// An error becomes a trap where WebAssembly asks to grow a table.
    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool>;

    /// Told that a growth which [`table_growing`](Self::table_growing) permitted failed, or that
    /// the size asked for exceeds what the table can ever have.
    ///
    /// # Errors
    ///
    /// As for [`memory_grow_failed`](Self::memory_grow_failed).
    fn table_grow_failed(&mut self, error: anyhow::Error) -> Result<()> {
        log::debug!("ignoring a failure to grow a table: {error:?}");
        Ok(())
    }

    /// The most instances that the store may hold.
    ///
    /// Read once, when the limiter is installed. [`DEFAULT_INSTANCE_LIMIT`] by default.
    fn instances(&self) -> usize {
        DEFAULT_INSTANCE_LIMIT
    }

    /// The most tables that the store may hold.
    ///
    /// Read once, when the limiter is installed. [`DEFAULT_TABLE_LIMIT`] by default.
    fn tables(&self) -> usize {
        DEFAULT_TABLE_LIMIT
    }

    /// The most linear memories that the store may hold.
    ///
    /// Read once, when the limiter is installed. [`DEFAULT_MEMORY_LIMIT`] by default.
    fn memories(&self) -> usize {
        DEFAULT_MEMORY_LIMIT
    }
}

/// A [`ResourceLimiter`] that may wait before it decides, such as for other stores to free memory.
///
/// It is installed with [`Store::limiter_async`](crate::Store::limiter_async). Implementations are easiest to write with the
/// attribute of the crate `async-trait`:
///
/// ```
/// # use waxwing::*;
/// struct Budget;
///
/// #[async_trait::async_trait]
/// impl ResourceLimiterAsync for Budget {
///     async fn memory_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> Result<bool> {
///         Ok(desired < 1 << 20)
///     }
///
///     async fn table_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> Result<bool> {
///         Ok(desired < 1 << 10)
///     }
/// }
/// ```
#[cfg(feature = "async")]
pub trait ResourceLimiterAsync {
    /// Decides whether a linear memory may grow; see [`ResourceLimiter::memory_growing`].
    ///
    /// # Errors
    ///
    /// As for [`ResourceLimiter::memory_growing`].
    fn memory_growing<'life0, 'async_trait>(
        &'life0 mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Pin<Box<dyn Future<Output = Result<bool>> + Send + 'async_trait>>
    where
        'life0: 'async_trait,
        Self: 'async_trait;

    /// Told that a growth failed; see [`ResourceLimiter::memory_grow_failed`].
    ///
    /// # Errors
    ///
    /// As for [`ResourceLimiter::memory_grow_failed`].
    fn memory_grow_failed(&mut self, error: anyhow::Error) -> Result<()> {
        log::debug!("ignoring a failure to grow a memory: {error:?}");
        Ok(())
    }

    /// Decides whether a table may grow; see [`ResourceLimiter::table_growing`].
    ///
    /// # Errors
    ///
    /// As for [`ResourceLimiter::table_growing`].
    fn table_growing<'life0, 'async_trait>(
        &'life0 mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Pin<Box<dyn Future<Output = Result<bool>> + Send + 'async_trait>>
    where
        'life0: 'async_trait,
        Self: 'async_trait;

    /// Told that a growth failed; see [`ResourceLimiter::table_grow_failed`].
    ///
    /// # Errors
    ///
    /// As for [`ResourceLimiter::table_grow_failed`].
    fn table_grow_failed(&mut self, error: anyhow::Error) -> Result<()> {
        log::debug!("ignoring a failure to grow a table: {error:?}");
        Ok(())
    }

    /// The most instances that the store may hold; see [`ResourceLimiter::instances`].
    fn instances(&self) -> usize {
        DEFAULT_INSTANCE_LIMIT
    }

    /// The most tables that the store may hold; see [`ResourceLimiter::tables`].
    fn tables(&self) -> usize {
        DEFAULT_TABLE_LIMIT
    }

    /// The most linear memories that the store may hold; see [`ResourceLimiter::memories`].
    fn memories(&self) -> usize {
        DEFAULT_MEMORY_LIMIT
    }
}

/// Fixed limits for a store: the [`ResourceLimiter`] that suffices for most embeddings.
///
/// Built with [`StoreLimitsBuilder`]. The value has to live in the store's data:
///
/// ```
/// # use waxwing::*;
/// # fn main() -> Result<()> {
/// let engine = Engine::default();
/// let limits = StoreLimitsBuilder::new().memory_size(1 << 20).build();
/// let mut store = Store::new(&engine, limits);
/// store.limiter(|limits| limits);
///
/// // 16 pages are a mebibyte, 17 are too many.
/// Memory::new(&mut store, MemoryType::new(16, None))?;
/// assert!(Memory::new(&mut store, MemoryType::new(17, None)).is_err());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct StoreLimits {
    memory_size: Option<usize>,
    table_elements: Option<usize>,
    instances: usize,
    tables: usize,
    memories: usize,
    trap_on_grow_failure: bool,
}

impl Default for StoreLimits {
    /// The limits of [`StoreLimitsBuilder::new`].
    fn default() -> StoreLimits {
        StoreLimits {
            memory_size: None,
            table_elements: None,
            instances: DEFAULT_INSTANCE_LIMIT,
            tables: DEFAULT_TABLE_LIMIT,
            memories: DEFAULT_MEMORY_LIMIT,
            trap_on_grow_failure: false,
        }
    }
}

/// Builds [`StoreLimits`].
#[derive(Clone, Debug, Default)]
pub struct StoreLimitsBuilder(StoreLimits);

impl StoreLimitsBuilder {
    /// Limits that let every memory and table grow as its type permits, with the default numbers
    /// of instances, tables and memories.
    pub fn new() -> StoreLimitsBuilder {
        StoreLimitsBuilder::default()
    }

    /// The most bytes that each linear memory may have. Unlimited by default.
    pub fn memory_size(mut self, limit: usize) -> StoreLimitsBuilder {
        self.0.memory_size = Some(limit);
        self
    }

    /// The most elements that each table may have. Unlimited by default.
    pub fn table_elements(mut self, limit: usize) -> StoreLimitsBuilder {
        self.0.table_elements = Some(limit);
        self
    }

    /// The most instances of the store. [`DEFAULT_INSTANCE_LIMIT`] by default.
    pub fn instances(mut self, limit: usize) -> StoreLimitsBuilder {
        self.0.instances = limit;
        self
    }

    /// The most tables of the store. [`DEFAULT_TABLE_LIMIT`] by default.
    pub fn tables(mut self, limit: usize) -> StoreLimitsBuilder {
        self.0.tables = limit;
        self
    }

    /// The most linear memories of the store. [`DEFAULT_MEMORY_LIMIT`] by default.
    pub fn memories(mut self, limit: usize) -> StoreLimitsBuilder {
        self.0.memories = limit;
        self
    }

    /// Whether `memory.grow` and `table.grow` trap where they would return -1. Off by default.
    ///
    /// Programs that do not check the result then fail where they run out of memory and not
    /// somewhere later.
    pub fn trap_on_grow_failure(mut self, trap: bool) -> StoreLimitsBuilder {
        self.0.trap_on_grow_failure = trap;
        self
    }

    /// The limits.
    pub fn build(self) -> StoreLimits {
        self.0
    }
}

impl StoreLimits {
    fn refuse(&self, what: &str, desired: usize, unit: &str) -> Result<bool> {
        if self.trap_on_grow_failure {
            bail!("forcing a trap: the store's limits do not let a {what} grow to {desired} {unit}")
        }
        Ok(false)
    }

    fn failed(&self, what: &str, error: anyhow::Error) -> Result<()> {
        if self.trap_on_grow_failure {
            return Err(error.context(format!("forcing a trap because a {what} failed to grow")));
        }
        log::debug!("ignoring a failure to grow a {what}: {error:?}");
        Ok(())
    }
}

impl ResourceLimiter for StoreLimits {
    fn memory_growing(
        &mut self,
        _current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool> {
        let beyond = |limit: Option<usize>| limit.is_some_and(|limit| desired > limit);
        if beyond(self.memory_size) || beyond(maximum) {
            return self.refuse("memory", desired, "bytes");
        }
        Ok(true)
    }

    fn memory_grow_failed(&mut self, error: anyhow::Error) -> Result<()> {
        self.failed("memory", error)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool> {
        let beyond = |limit: Option<usize>| limit.is_some_and(|limit| desired > limit);
        if beyond(self.table_elements) || beyond(maximum) {
            return self.refuse("table", desired, "elements");
        }
        Ok(true)
    }

    fn table_grow_failed(&mut self, error: anyhow::Error) -> Result<()> {
        self.failed("table", error)
    }

    fn instances(&self) -> usize {
        self.instances
    }

    fn tables(&self) -> usize {
        self.tables
    }

    fn memories(&self) -> usize {
        self.memories
    }
}
