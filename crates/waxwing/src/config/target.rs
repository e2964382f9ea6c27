//! What code is compiled for.

use super::Config;
use crate::Result;
use anyhow::anyhow;
use target_lexicon::Triple;
#[cfg(feature = "cranelift")]
use waxwing_cranelift::{CompilerBuilder, SettingGroup};
#[cfg(feature = "cranelift")]
use waxwing_environ::bytecode_for_host;
use waxwing_environ::is_bytecode;

impl Config {
    /// Compiles for the target `target`, a triple such as `aarch64-unknown-linux-gnu`.
    ///
    /// Code for a target starts from the least processor of its architecture, also if the target
    /// is the host's: features are switched on with
    /// [`cranelift_flag_enable`](Self::cranelift_flag_enable). Settings of the target made before this call are
    /// dropped.
    ///
    /// An engine for a platform other than the host's can compile artifacts, with
    /// [`Engine::precompile_module`](crate::Engine::precompile_module), but cannot run them.
    ///
    /// # Portable code
    ///
    /// With the Cargo feature `pulley`, the targets `pulley64`, `pulley64be`, `pulley32` and `pulley32be` are portable
    /// bytecode, which an interpreter executes on every host with such pointers and of this endianness, which is little but
    /// in those that end in `be`. It computes the same as machine code does, with the same limits and traps, but takes many
    /// times as long. It needs neither memory that is executable nor handlers of signals.
    ///
    /// An engine runs either machine code or bytecode. One without a compiler, that is to load artifacts of bytecode, is to
    /// have this target as well.
    ///
    /// Default: the host, with all features that its processor has. On a host for which there is no machine code
    /// it is portable code.
    ///
    /// # Errors
    ///
    /// Fails if `target` is not a triple, or this build cannot compile for it.
    pub fn target(&mut self, target: &str) -> Result<&mut Self> {
        let triple: Triple = target
            .parse()
            .map_err(|error| anyhow!("the target `{target}` is not a triple: {error}"))?;
        #[cfg(feature = "cranelift")]
        {
            CompilerBuilder::new(Some(triple.clone()))?;
            let former = CompilerBuilder::new(self.compiler_target())?.settings();
            let is_of_target = |name: &str| {
                let mut settings = former.iter();
                settings.any(|s| s.name == name && s.group == SettingGroup::Target)
            };
            self.compiler.flags.retain(|(name, _)| !is_of_target(name));
        }
        self.target = Some(triple);
        Ok(self)
    }

    /// The target to compile for, `None` for the host with all its features.
    #[cfg(feature = "cranelift")]
    pub(crate) fn compiler_target(&self) -> Option<Triple> {
        match &self.target {
            None if !runs_machine_code() => Some(bytecode_for_host()),
            target => target.clone(),
        }
    }

    /// Whether code is bytecode.
    pub(crate) fn is_bytecode(&self) -> bool {
        match &self.target {
            Some(target) => is_bytecode(target),
            None => !runs_machine_code(),
        }
    }

    /// Whether code relies on hardware faults.
    pub(crate) fn uses_signals(&self) -> bool {
        self.signals_based_traps && !self.is_bytecode()
    }
}

/// Whether there can be machine code for the host.
fn runs_machine_code() -> bool {
    #[cfg(feature = "runtime")]
    return waxwing_vm::RUNS_MACHINE_CODE;
    #[cfg(all(not(feature = "runtime"), feature = "cranelift"))]
    return CompilerBuilder::supports_host();
    #[cfg(not(any(feature = "runtime", feature = "cranelift")))]
    return true;
}
