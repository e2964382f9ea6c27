//! Artifacts hold no unwind tables in the form of this system: nothing is registered.

/// A section of unwind information.
#[derive(Debug)]
pub(crate) struct UnwindRegistration(());

impl UnwindRegistration {
    /// Ignores the section.
    ///
    /// # Errors
    ///
    /// Never fails.
    pub(crate) fn new(_section: &[u8]) -> anyhow::Result<UnwindRegistration> {
        Ok(UnwindRegistration(()))
    }

    /// Does nothing.
    ///
    /// # Safety
    ///
    /// None.
    pub(crate) unsafe fn register(&self, _section: *const u8) {}
}
