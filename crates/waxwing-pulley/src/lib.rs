//! An interpreter of Pulley, the portable bytecode that Cranelift generates: of the target `pulley64`, `pulley64be`,
//! `pulley32` or `pulley32be` that has the host's pointers and endianness.
//!
//! The encoding is defined by the crate `pulley-interpreter`, of which the lists of instructions and the
//! decoding of operands are used. What instructions do is here: a [`Machine`] has the registers, and
//! [`Machine::run`] executes until the code calls the host or cannot go on, which is an [`Exit`]. What these
//! mean, and where the code and its stack are, is up to the user.
//!
//! The loop of [`Machine::run`] is one function, made of the list of all instructions, so that the program counter is in a
//! register of the host's and an instruction is a few of the host's. Instructions are methods of `Cpu`, by kind in the
//! modules of this crate, most of them made by a table.

#![warn(missing_docs)]

mod control;
mod float;
mod integer;
mod machine;
mod memory;
#[cfg(test)]
mod tests;
mod vector;

pub use machine::{Exit, Fault, Machine, Preserved, host_call};
