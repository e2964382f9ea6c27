//! References that a store manages for WebAssembly and the host: how the host makes them, looks at
//! what they refer to, and holds on to them.

mod any_ref;
mod array_ref;
mod bottom;
mod eq_ref;
mod exn_ref;
mod extern_ref;
mod i31;
mod object;
mod out_of_memory;
mod rooting;
mod struct_ref;

pub use any_ref::AnyRef;
pub use array_ref::{ArrayRef, ArrayRefPre};
pub use bottom::{NoExtern, NoFunc, NoneRef};
pub use eq_ref::EqRef;
pub(crate) use exn_ref::type_in as exn_type;
pub use exn_ref::{ExnRef, ExnRefPre};
pub use extern_ref::ExternRef;
pub use i31::I31;
pub(crate) use object::is_of_type;
pub use out_of_memory::GcHeapOutOfMemory;
pub use rooting::{GcRef, ManuallyRooted, OwnedRooted, RootScope, Rooted, RootedGcRef};
pub(crate) use rooting::{GcRootIndex, RootSet, sealed};
pub use struct_ref::{StructRef, StructRefPre};
