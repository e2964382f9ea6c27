//! [`ModuleRegistry`].

use crate::Module;
use std::collections::BTreeMap;

/// The modules of a store, by the addresses of their code.
#[derive(Default)]
pub(crate) struct ModuleRegistry {
    /// By the address of the last byte of code.
    modules: BTreeMap<usize, Module>,
}

impl ModuleRegistry {
    /// Adds a module, which is kept alive from now on. Returns whether it is new.
    pub(crate) fn register(&mut self, module: &Module) -> bool {
        let text = module.loaded().code().text_range();
        // Code is never empty: it is padded to whole pages, of which there is one at least when
        // there is an export to call. Without any, no address leads here.
        let last = text.end.saturating_sub(1);
        self.modules.insert(last, module.clone()).is_none()
    }

    /// The module whose code is at the address `pc`, and the offset there.
    pub(crate) fn lookup(&self, pc: usize) -> Option<(&Module, usize)> {
        let (_, module) = self.modules.range(pc..).next()?;
        let offset = pc.checked_sub(module.loaded().code().text_range().start)?;
        Some((module, offset))
    }
}
