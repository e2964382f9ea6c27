//! The instruction set, chosen once: stack frames, the transfer of control that a trap is, and the switch between stacks.
//!
//! Generated code keeps frame pointers. On both architectures a frame pointer addresses a pair: the
//! caller's frame pointer, and above it the address to return to.

#[cfg(target_arch = "x86_64")]
mod x86_64;
#[cfg(target_arch = "x86_64")]
pub(crate) use x86_64::*;

#[cfg(target_arch = "aarch64")]
mod aarch64;
#[cfg(target_arch = "aarch64")]
pub(crate) use aarch64::*;

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
compile_error!("waxwing-vm runs code of x86_64 and aarch64 alone");
