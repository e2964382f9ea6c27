//! Faults of the hardware are left to the process.

use std::io;

/// Nothing, as there is no handler.
pub(crate) fn prepare_thread() -> io::Result<()> {
    Ok(())
}

/// A handler of signals, of which there are none.
#[derive(Debug)]
pub enum SignalHandler {}
