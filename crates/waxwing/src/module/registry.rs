//! [`ModuleRegistry`].

use crate::Module;
use std::collections::BTreeMap;

/// The modules of a store, by the addresses of their code.
#[derive(Default)]
pub(crate) struct ModuleRegistry {
    /// By the address of the last byte of code. Modules without code are kept alive by their
    /// instances, and no address leads to them.
    modules: BTreeMap<usize, Module>,
}

impl ModuleRegistry {
    /// Adds a module, which is kept alive from now on. Returns whether it is new.
    pub(crate) fn register(&mut self, module: &Module) -> bool {
        let text = module.loaded().code().text_range();
        if text.is_empty() {
            return false;
        }
        self.modules.insert(text.end - 1, module.clone()).is_none()
    }

    /// The module whose code is at the address `pc`, and the offset there.
    pub(crate) fn lookup(&self, pc: usize) -> Option<(&Module, usize)> {
        let (_, module) = self.modules.range(pc..).next()?;
        let offset = pc.checked_sub(module.loaded().code().text_range().start)?;
        Some((module, offset))
    }
}
