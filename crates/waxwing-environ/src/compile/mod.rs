//! What a compiler is: from a [`ModuleTranslation`] to [`CompiledFunction`]s to an artifact.

mod branch_hints;
mod debug_object;
mod dispatch;
mod inlining;
mod link;
mod memory_image;
mod scan;
mod table_image;
mod translate;
mod types;

pub use branch_hints::{BranchHint, BranchHints};
pub use debug_object::DebugSection;
pub use dispatch::{DISPATCH_ENTRY_SIZE, DISPATCH_ENTRY_TYPE, DISPATCH_NO_TYPE, DispatchTable};
pub use inlining::{InlinedCall, InliningPlan};
pub use link::{Artifact, CompiledModule, link};
pub use scan::{BodyFacts, CallSite};
pub use translate::{FunctionBodyData, ModuleTranslation};
pub use types::TypeConverter;

use crate::artifact::FlagValue;
use crate::call_sites::{HandlerTable, StackMap};
use crate::{BuiltinFunctionIndex, DefinedFuncIndex, InlinedFunction, Trap, WasmFuncType};
use core::any::Any;
use core::fmt;
use core::ops::Range;

/// Why a module could not be compiled.
#[derive(Debug)]
pub enum CompileError {
    /// The module is not valid under the enabled features.
    Invalid {
        /// What is wrong.
        message: String,
        /// Where in the binary.
        offset: u64,
    },
    /// The module uses something that the engine does not offer.
    Unsupported(String),
    /// The module exceeds a limit of this implementation.
    ImplementationLimit(String),
    /// Code generation failed.
    Codegen(String),
}

impl fmt::Display for CompileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CompileError::Invalid { message, offset } => {
                write!(f, "{message} (at offset {offset:#x})")
            }
            CompileError::Unsupported(what) => write!(f, "unsupported: {what}"),
            CompileError::ImplementationLimit(what) => {
                write!(f, "implementation limit exceeded: {what}")
            }
            CompileError::Codegen(what) => write!(f, "code generation failed: {what}"),
        }
    }
}

impl core::error::Error for CompileError {}

impl From<wasmparser::Error> for CompileError {
    fn from(error: wasmparser::Error) -> Self {
        CompileError::Invalid {
            message: error.message().to_string(),
            offset: error.offset(),
        }
    }
}

/// Where compiled functions are kept from one compilation to the next, by keys of the compiler's: for
/// compiling modules again of which little has changed.
///
/// What is stored is trusted: it becomes machine code. It must come back as it was given, or not at all.
pub trait CacheStore: Send + Sync + fmt::Debug {
    /// What is stored under `key`, if anything is.
    fn get(&self, key: &[u8]) -> Option<std::borrow::Cow<'_, [u8]>>;

    /// Stores `value` under `key`. Returns whether it did, which it need not.
    fn insert(&self, key: &[u8], value: Vec<u8>) -> bool;
}

/// What a relocation refers to.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum RelocTarget {
    /// The code of a function of the module.
    Function(DefinedFuncIndex),
    /// The trampoline from wasm to a builtin.
    Builtin(BuiltinFunctionIndex),
}

/// A place in a function's code where the distance to other code belongs.
#[derive(Copy, Clone, Debug)]
pub struct Relocation {
    /// The offset in the function's code.
    pub offset: u32,
    /// The form, as numbered by the compiler that made it.
    pub kind: u8,
    /// What is added to the target's address.
    pub addend: i64,
    /// What is referred to.
    pub target: RelocTarget,
}

/// Where a frame keeps a local: see [`FrameVariables`].
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct FrameLocal {
    /// The offset from the canonical frame address.
    pub offset: i64,
    /// The size in bytes.
    pub size: u8,
    /// Whether the type is one of floats.
    pub is_float: bool,
}

/// Where the frame of a function keeps what debuggers ask for, once [`valid_from`](Self::valid_from) is reached. Places are
/// offsets from the canonical frame address, the caller's stack pointer.
#[derive(Clone, Debug, Default)]
pub struct FrameVariables {
    /// The `VMContext`.
    pub vmctx: i64,
    /// The WebAssembly locals, parameters first; none for those of types that are no numbers.
    pub locals: Vec<Option<FrameLocal>>,
    /// The offset in the code from which on all of it is there.
    pub valid_from: u32,
}

/// The functions that are inlined in one, and which code is theirs: what [`encode_inlined`](crate::encode_inlined) takes, with
/// offsets relative to the code.
#[derive(Clone, Debug, Default)]
pub struct InlinedCode {
    /// The functions.
    pub functions: Vec<InlinedFunction>,
    /// The code.
    pub code: Vec<(u32, Option<u32>)>,
}

/// The code of one function, with all that belongs to it. Offsets are relative to the code.
pub struct CompiledFunction {
    /// The machine code.
    pub code: Vec<u8>,
    /// The alignment that the code needs, in bytes.
    pub alignment: u32,
    /// How many bytes behind a multiple of `alignment` the code is to begin.
    pub displacement: u32,
    /// References to other code.
    pub relocations: Vec<Relocation>,
    /// Instructions that trap, sorted by offset.
    pub traps: Vec<(u32, Trap)>,
    /// Pairs of code offset and offset in the wasm binary
    /// ([`NO_WASM_OFFSET`](crate::address_map::NO_WASM_OFFSET) for none), sorted by code offset.
    pub address_map: Vec<(u32, u32)>,
    /// Calls across which GC references are alive, sorted by offset.
    pub stack_maps: Vec<StackMap>,
    /// Calls within reach of exception handlers, sorted by offset.
    pub handlers: Vec<HandlerTable>,
    /// The functions that are inlined in this one.
    pub inlined: InlinedCode,
    /// Unwind information, in the compiler's own form.
    pub unwind: Option<Box<dyn Any + Send + Sync>>,
    /// Where the body is in the wasm binary, if the function comes from there.
    pub body: Option<Range<u64>>,
    /// Where debuggers find variables, if [`ModuleTranslation::is_debugged`] says that they may ask.
    pub variables: Option<FrameVariables>,
    /// The compiler's intermediate representation as text, when it was asked for.
    pub clif: Option<String>,
}

/// Places code in the text section and resolves references in it.
pub trait TextBuilder {
    /// Appends `code`, `displacement` bytes behind a multiple of `alignment`, and returns its offset. Labels are numbered
    /// from 0 in the order of the calls: each call binds the next.
    fn append(&mut self, code: &[u8], alignment: u32, displacement: u32) -> u64;

    /// Resolves a relocation at `offset` in the text section to the code with label `target`.
    /// Returns whether the compiler knows relocations of this `kind`.
    fn resolve(&mut self, offset: u64, kind: u8, addend: i64, target: usize) -> bool;

    /// The text section.
    fn finish(&mut self) -> Vec<u8>;
}

/// A compiler of functions, configured for one target. Deterministic: the same input gives the
/// same bytes on any number of threads.
pub trait Compiler: Send + Sync {
    /// Validates and compiles the body of a function.
    fn compile_function(
        &self,
        translation: &ModuleTranslation<'_>,
        index: DefinedFuncIndex,
        body: FunctionBodyData<'_>,
    ) -> Result<CompiledFunction, CompileError>;

    /// Compiles the trampoline by which the host calls wasm functions of type `ty`.
    fn compile_array_to_wasm(&self, ty: &WasmFuncType) -> Result<CompiledFunction, CompileError>;

    /// Compiles the trampoline by which wasm calls host functions of type `ty`.
    fn compile_wasm_to_array(&self, ty: &WasmFuncType) -> Result<CompiledFunction, CompileError>;

    /// Compiles the trampoline by which wasm calls a builtin.
    fn compile_wasm_to_builtin(
        &self,
        builtin: BuiltinFunctionIndex,
    ) -> Result<CompiledFunction, CompileError>;

    /// Frees what is kept from one function for the next. Called when a module is compiled.
    fn free_scratch_space(&self);

    /// Begins a text section of `labels` pieces of code.
    fn text_builder(&self, labels: usize) -> Box<dyn TextBuilder>;

    /// The contents of `.eh_frame` for `functions`, pairs of text offset and function in order
    /// of their offset, with addresses relative to a section that follows the text of
    /// `text_len` bytes immediately. `None` when unwind
    /// information is off or the target has another form of it.
    fn unwind_section(
        &self,
        text_len: u64,
        functions: &[(u64, &CompiledFunction)],
    ) -> Result<Option<Vec<u8>>, CompileError>;

    /// DWARF of the target for `functions`, pairs of text offset and function in order of their offset, of which the first are
    /// the module's own: what is there of frames, and what the module's own DWARF says of its functions. What that
    /// says wrong or in a form that cannot be expressed is left out.
    fn debug_sections(
        &self,
        translation: &ModuleTranslation<'_>,
        functions: &[(u64, &CompiledFunction)],
    ) -> Result<Vec<DebugSection>, CompileError>;

    /// The target.
    fn triple(&self) -> &target_lexicon::Triple;

    /// The settings that do not depend on the target.
    fn shared_flags(&self) -> Vec<(String, FlagValue)>;

    /// The settings of the target.
    fn isa_flags(&self) -> Vec<(String, FlagValue)>;
}
