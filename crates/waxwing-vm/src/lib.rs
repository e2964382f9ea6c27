//! The heart of Waxwing: everything that runs generated code, and that touches the machine to do so.

mod arch;
mod backtrace;
mod code_memory;
mod code_registry;
mod memory_image;
mod mmap;
mod store_context;
mod sys;
pub mod traps;

pub use backtrace::{RawBacktrace, RawFrame};
pub use code_memory::{ArtifactKind, CodeMemory, detect_artifact};
pub use code_registry::lookup as lookup_code;
pub use memory_image::{ImageSource, MemoryImage};
pub use mmap::{Mmap, host_page_size, round_down_to_host_pages, round_up_to_host_pages};
pub use store_context::VMStoreContext;
