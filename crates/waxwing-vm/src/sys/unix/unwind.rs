//! Registering `.eh_frame` with the unwinder that Rust's standard library links.
//!
//! Two unwinders implement `__register_frame` differently: libgcc takes a whole section ended by a
//! zero word, LLVM's libunwind (macOS, Android, and Rust's musl targets) takes one frame description at a time.

use std::ptr;
use std::sync::OnceLock;

use smallvec::SmallVec;
use waxwing_environ::artifact::SECTION_EH_FRAME;

unsafe extern "C" {
    fn __register_frame(begin: *const u8);
    fn __deregister_frame(begin: *const u8);
}

const PER_DESCRIPTION: bool = cfg!(any(
    target_vendor = "apple",
    target_os = "android",
    target_env = "musl"
));

/// A section of unwind information that the system's unwinder can be told of; dropping it makes it unknown again.
#[derive(Debug)]
pub(crate) struct UnwindRegistration {
    /// What `__register_frame` has to be called with, as offsets in the section, in order.
    entries: SmallVec<[usize; 1]>,
    /// Where the section is that was registered.
    registered: OnceLock<usize>,
}

impl UnwindRegistration {
    /// Looks at the contents of a section `.eh_frame`.
    ///
    /// # Errors
    ///
    /// A section that is not a well-formed sequence of entries ended by a zero word is refused: the
    /// unwinder would read past its end.
    pub(crate) fn new(section: &[u8]) -> anyhow::Result<UnwindRegistration> {
        let entries = check(section)?;
        Ok(UnwindRegistration {
            entries,
            registered: OnceLock::new(),
        })
    }

    /// Registers the section, unless that was done before.
    ///
    /// # Safety
    ///
    /// What [`Self::new`] has looked at is at `section`. It and the code that it describes stay mapped there until the value is
    /// dropped, and the descriptions tell the truth.
    pub(crate) unsafe fn register(&self, section: *const u8) {
        self.registered.get_or_init(|| {
            let start = section.expose_provenance();
            for entry in &self.entries {
                // SAFETY: `check` found a chain of entries that ends within the section, and the caller
                // keeps it mapped.
                unsafe { __register_frame(ptr::with_exposed_provenance(start + entry)) };
            }
            start
        });
    }
}

impl Drop for UnwindRegistration {
    fn drop(&mut self) {
        let Some(start) = self.registered.get() else {
            return;
        };
        // libgcc keeps a list and LLVM a cache; both find the latest registration fastest.
        for entry in self.entries.iter().rev() {
            // SAFETY: `register` registered it, and it is deregistered once.
            unsafe { __deregister_frame(ptr::with_exposed_provenance(start + entry)) };
        }
    }
}

/// Walks the entries of the section; returns the offsets of those that have to be registered.
fn check(section: &[u8]) -> anyhow::Result<SmallVec<[usize; 1]>> {
    let word = |at: usize| -> Option<u32> {
        let bytes = section.get(at..at.checked_add(4)?)?;
        Some(u32::from_ne_bytes(bytes.try_into().ok()?))
    };
    let mut entries = SmallVec::new();
    let mut at = 0;
    loop {
        let Some(len) = word(at) else {
            anyhow::bail!(
                "section `{SECTION_EH_FRAME}` of the artifact ends at {:#x} without a terminating \
                 entry; compile the module again",
                section.len(),
            );
        };
        if len == 0 {
            if !PER_DESCRIPTION && section.len() > 4 {
                entries.push(0);
            }
            return Ok(entries);
        }
        // An entry begins with the distance to its common information entry, zero if it is one.
        if PER_DESCRIPTION && word(at + 4).is_some_and(|distance| distance != 0) {
            entries.push(at);
        }
        // 0xffff_ffff introduces 64-bit lengths, which the compiler never writes; as a length it
        // leads past the end and is refused like any other wrong one.
        at = at + 4 + len as usize;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_terminated_chains_are_accepted() {
        let entry = |len: u32| {
            let mut bytes = len.to_ne_bytes().to_vec();
            bytes.resize(4 + len as usize, 0);
            bytes
        };
        let mut section = [entry(16), entry(20)].concat();
        assert!(check(&section).is_err());
        section.extend([0; 4]);
        assert!(check(&section).is_ok());
        assert!(check(&[]).is_err());
        assert!(check(&[0xff; 64]).is_err());
        assert!(check(&section[..section.len() - 1]).is_err());
    }
}
