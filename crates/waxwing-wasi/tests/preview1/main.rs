//! Every function of WASI preview 1, called by a guest.
//!
//! The guest is a module in the text format that passes calls on: it has an
//! export for each function, which calls the import of that name with its own
//! parameters. The tests lay out the guest's memory and look at it afterwards.

mod clocks;
mod files;
mod guest;
mod paths;
mod poll;
mod process;
mod programs;
#[cfg(unix)]
mod sandbox;
mod snapshot0;
#[cfg(unix)]
mod sockets;
mod streams;
