//! What an artifact says of itself.

use crate::{DefinedTableIndex, Module, ModuleTypes, Tunables};
use serde::{Deserialize, Serialize};

/// The value of a code generator's setting.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum FlagValue {
    /// One of several names.
    Enum(String),
    /// A number.
    Num(u8),
    /// On or off.
    Bool(bool),
}

/// What an engine must be to run an artifact. Read before anything else of it is trusted.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ArtifactHeader {
    /// The version by the engine's version strategy; empty when versions are not checked.
    pub version: String,
    /// The target triple.
    pub target: String,
    /// The code generator's settings that do not depend on the target.
    pub shared_flags: Vec<(String, FlagValue)>,
    /// The code generator's settings of the target.
    pub isa_flags: Vec<(String, FlagValue)>,
    /// The settings that generated code relies on.
    pub tunables: Tunables,
    /// The WebAssembly features that were on, by name.
    pub features: Vec<(String, bool)>,
}

/// The facts of a module in its artifact.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ArtifactInfo {
    /// The facts of the module.
    pub module: Module,
    /// Its types.
    pub types: ModuleTypes,
    /// Where in the text section dispatch tables are.
    pub dispatch_tables: Vec<(DefinedTableIndex, u32)>,
}
