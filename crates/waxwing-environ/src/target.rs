//! Kinds of targets.

use target_lexicon::{Architecture, Triple};

/// Whether code for the target is bytecode, which an interpreter executes.
pub fn is_bytecode(triple: &Triple) -> bool {
    use Architecture::{Pulley32, Pulley32be, Pulley64, Pulley64be};
    matches!(
        triple.architecture,
        Pulley32 | Pulley32be | Pulley64 | Pulley64be
    )
}

/// The target of bytecode that this host can interpret.
pub fn bytecode_for_host() -> Triple {
    Triple {
        architecture: match (
            cfg!(target_pointer_width = "32"),
            cfg!(target_endian = "big"),
        ) {
            (false, false) => Architecture::Pulley64,
            (false, true) => Architecture::Pulley64be,
            (true, false) => Architecture::Pulley32,
            (true, true) => Architecture::Pulley32be,
        },
        ..Triple::unknown()
    }
}
