//! The artifact: one ELF file that holds all that a module needs at run time.
//!
//! | section | contents |
//! |---|---|
//! | `.text` | machine code: defined functions in index order, then trampolines, then dispatch tables |
//! | `.waxwing.engine` | the [header](ArtifactHeader): what engine can run this |
//! | `.waxwing.info` | the [module's facts](ArtifactInfo) |
//! | `.waxwing.funcs` | the [function table](FunctionTable) |
//! | `.waxwing.traps` | the [trap table](crate::TrapTable) |
//! | `.waxwing.addrmap` | the [address map](crate::address_map::AddressMap), if configured |
//! | `.waxwing.stackmaps` | the [stack maps](crate::call_sites::StackMaps), if there are any |
//! | `.waxwing.handlers` | the [exception handlers](crate::call_sites::Handlers), if there are any |
//! | `.waxwing.inlined` | the [inlined functions](crate::InlinedFunctions), if there are any |
//! | `.waxwing.names` | the [function names](crate::FunctionNames) |
//! | `.waxwing.data` | data segments and memory images, page-aligned |
//! | `.waxwing.check` | the [checksum] of the sections that loading relies on |
//! | `.debug_*` | the module's DWARF and its DWARF package, if configured |
//! | `.waxwing.gdb` | the [object](debug_object) for native debuggers, if configured |
//! | `.eh_frame` | unwind information, if configured |
//!
//! The file has the byte order of its target, but that of bytecode, which is for hosts of several kinds, is
//! little-endian. All sections of our own are.
//!
//! `.text` and `.waxwing.data` start at multiples of
//! [`Tunables::page_align`](crate::Tunables::page_align) in the file, so that a mapped file can be
//! used in place. `.eh_frame` follows `.text` immediately, and what comes then starts at such a multiple too.

mod check;
pub mod debug_object;
mod function_table;
mod header;

pub use check::checksum;
pub use function_table::{FunctionLoc, FunctionTable, FunctionTableBuilder, TrampolineKind};
pub use header::{ArtifactHeader, ArtifactInfo, FlagValue};

/// The section of machine code.
pub const SECTION_TEXT: &str = ".text";
/// The section of the [`ArtifactHeader`].
pub const SECTION_ENGINE: &str = ".waxwing.engine";
/// The section of the [`ArtifactInfo`].
pub const SECTION_INFO: &str = ".waxwing.info";
/// The section of the [`FunctionTable`].
pub const SECTION_FUNCTIONS: &str = ".waxwing.funcs";
/// The section of the [`TrapTable`](crate::TrapTable).
pub const SECTION_TRAPS: &str = ".waxwing.traps";
/// The section of the [`AddressMap`](crate::address_map::AddressMap).
pub const SECTION_ADDRESS_MAP: &str = ".waxwing.addrmap";
/// The section of the [`StackMaps`](crate::call_sites::StackMaps), absent if there are none.
pub const SECTION_STACK_MAPS: &str = ".waxwing.stackmaps";
/// The section of the [`Handlers`](crate::call_sites::Handlers), absent if there are none.
pub const SECTION_HANDLERS: &str = ".waxwing.handlers";
/// The section of the [`InlinedFunctions`](crate::InlinedFunctions), absent if there are none.
pub const SECTION_INLINED: &str = ".waxwing.inlined";
/// The section of the [`FunctionNames`](crate::FunctionNames).
pub const SECTION_NAMES: &str = ".waxwing.names";
/// The section of data segments and memory images.
pub const SECTION_DATA: &str = ".waxwing.data";
/// The section of the [checksum] of the engine, info and funcs sections and the unwind
/// information, in this order.
pub const SECTION_CHECK: &str = ".waxwing.check";
/// The section of the [object](debug_object) for native debuggers, if configured.
pub const SECTION_DEBUG_OBJECT: &str = ".waxwing.gdb";
/// The section of unwind information, if configured.
pub const SECTION_EH_FRAME: &str = ".eh_frame";

/// `e_ident[EI_OSABI]` of every artifact: the value that ELF leaves to embedded systems.
pub const ELF_OS_ABI: u8 = 255;
/// `e_ident[EI_ABIVERSION]` of every artifact; raised when the format changes.
pub const ELF_ABI_VERSION: u8 = 3;
/// `e_flags` of a core module's artifact.
pub const ELF_FLAGS_MODULE: u32 = 0x5758_0001;
/// `e_flags` of a component's artifact.
pub const ELF_FLAGS_COMPONENT: u32 = 0x5758_0002;

/// `e_machine` of an artifact of bytecode: none.
pub const ELF_MACHINE_BYTECODE: u16 = 0;

/// The `index`-th little-endian `u32` of `bytes`.
pub(crate) fn read_u32(bytes: &[u8], index: usize) -> Option<u32> {
    let (_, rest) = bytes.split_at_checked(index.checked_mul(4)?)?;
    rest.first_chunk().map(|word| u32::from_le_bytes(*word))
}

/// Like `slice::binary_search` over the little-endian `u32`s of `bytes`.
pub(crate) fn binary_search_u32(bytes: &[u8], value: u32) -> Result<usize, usize> {
    let (words, _) = bytes.as_chunks::<4>();
    words.binary_search_by_key(&value, |word| u32::from_le_bytes(*word))
}
