//! The error that carries `proc_exit` out of a guest.

use std::fmt;
use std::process::ExitCode;

/// The guest ended itself with `proc_exit`.
///
/// A call into a guest returns this as its error; find it with
/// `error.downcast_ref::<I32Exit>()`. The status is whatever the guest passed:
/// zero means success.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct I32Exit(pub i32);

impl I32Exit {
    /// The status as the exit code of this process.
    ///
    /// Operating systems keep eight bits of a status; a status outside of
    /// 0..=255 becomes 1, so that a failure never turns into a success.
    pub fn process_exit_code(&self) -> ExitCode {
        ExitCode::from(u8::try_from(self.0).unwrap_or(1))
    }
}

impl fmt::Display for I32Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "exited with status {}", self.0)
    }
}

impl std::error::Error for I32Exit {}
