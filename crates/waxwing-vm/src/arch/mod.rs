//! The instruction set, chosen once: stack frames, the transfer of control that a trap is, and the switch between stacks.
//!
//! Generated code keeps frame pointers. On all architectures, and in bytecode, a frame pointer addresses a pair: the
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
mod interpreted;
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
pub(crate) use interpreted::*;

#[cfg(all(
    not(any(target_arch = "x86_64", target_arch = "aarch64")),
    not(feature = "pulley")
))]
compile_error!(
    "waxwing-vm runs machine code of x86_64 and aarch64 alone: on other processors it needs the feature `pulley`"
);

/// Whether this host can run machine code.
pub const RUNS_MACHINE_CODE: bool = cfg!(any(target_arch = "x86_64", target_arch = "aarch64"));
