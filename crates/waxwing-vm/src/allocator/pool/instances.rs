//! [`InstancePool`]: how many instances there are, and how large.

use std::fmt::Write;
use std::sync::Arc;

use anyhow::{Result, bail};

use super::index::Permits;
use super::{Pool, PoolConcurrencyLimitError, PoolOptions};
use crate::instance::instance_size;
use crate::loaded_module::LoadedModule;

pub(super) struct InstancePool {
    permits: Permits,
    max_size: usize,
}

impl InstancePool {
    pub(super) fn new(options: &PoolOptions) -> InstancePool {
        InstancePool {
            permits: Permits::new(options.total_core_instances as usize),
            max_size: options.max_core_instance_size,
        }
    }

    pub(super) fn in_use(&self) -> usize {
        self.permits.taken()
    }

    /// Fails if instances of the module are too large, and tells of what they consist.
    pub(super) fn check_size(&self, module: &LoadedModule) -> Result<()> {
        let size = instance_size(module);
        if size <= self.max_size {
            return Ok(());
        }
        let facts = module.module();
        let mut parts = String::new();
        for (what, count) in [
            ("imported functions", facts.num_imported_functions),
            ("functions that are referred to", facts.num_escaped_funcs),
            ("globals", facts.globals.len() - facts.num_imported_globals),
            ("imported globals", facts.num_imported_globals),
            ("tables", facts.tables.len()),
            ("linear memories", facts.memories.len()),
        ] {
            if count > 0 {
                let comma = if parts.is_empty() { "" } else { ", " };
                let _ = write!(parts, "{comma}{count} {what}");
            }
        }
        bail!(
            "an instance of the module takes {size} bytes for {parts}, but an engine with this pooling allocator allows {} \
             bytes; `PoolingAllocationConfig::max_core_instance_size` sets it",
            self.max_size
        )
    }
}

/// The right to be an instance.
pub(crate) struct InstancePermit(Arc<Pool>);

impl Pool {
    /// The right to be an instance of this module.
    ///
    /// # Errors
    ///
    /// Fails if there are too many, or the module's are too large.
    pub(crate) fn instance(self: &Arc<Pool>, module: &LoadedModule) -> Result<InstancePermit> {
        if instance_size(module) > self.instances.max_size {
            self.instances.check_size(module)?;
        }
        let error = PoolConcurrencyLimitError {
            what: "core instances",
            limit: self.instances.permits.total(),
            option: "total_core_instances",
        };
        if !self.instances.permits.take() {
            return Err(error.into());
        }
        Ok(InstancePermit(Arc::clone(self)))
    }
}

impl Drop for InstancePermit {
    fn drop(&mut self) {
        self.0.instances.permits.give_back();
    }
}
