//! References that a store manages for WebAssembly and the host: [`ExternRef`], how the host holds
//! on to them, and the types without values.

mod any_ref;
mod bottom;
mod extern_ref;
mod rooting;

pub use any_ref::AnyRef;
pub use bottom::{NoExtern, NoFunc, NoneRef};
pub use extern_ref::ExternRef;
pub use rooting::{GcRef, ManuallyRooted, RootScope, Rooted, RootedGcRef};
pub(crate) use rooting::{RootSet, sealed};
