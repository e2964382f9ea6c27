//! Artifacts hold no unwind tables in the form of this system: nothing is registered.

/// Unwind information known to the system's unwinder.
#[derive(Debug)]
pub(crate) struct UnwindRegistration(());

impl UnwindRegistration {
    /// Ignores the section.
    ///
    /// # Safety
    ///
    /// None.
    pub(crate) unsafe fn new(_section: &[u8]) -> anyhow::Result<UnwindRegistration> {
        Ok(UnwindRegistration(()))
    }
}
