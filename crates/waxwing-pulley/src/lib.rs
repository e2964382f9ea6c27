//! An interpreter of Pulley, the portable bytecode that Cranelift generates for the targets `pulley64` and
//! `pulley64be`.
//!
//! The encoding is defined by the crate `pulley-interpreter`, of which the lists of instructions and the
//! decoding of operands are used. What instructions do is here: a [`Machine`] has the registers, and
//! [`Machine::run`] executes until the code calls the host or cannot go on, which is an [`Exit`]. What these
//! mean, and where the code and its stack are, is up to the user.
//!
//! Instructions are generated in two ranges. Those of the first are one byte, and are dispatched by one `match` in
//! a loop; the others are behind one of them, and in a function of their own, to keep the loop small.

#![warn(missing_docs)]

mod control;
mod float;
mod integer;
mod machine;
mod memory;
mod vector;

pub use machine::{Exit, Fault, Machine, host_call};
