//! [`CallHook`]: what transitions between the host and WebAssembly there are.

/// A transition between the host and WebAssembly, of which the hook of `Store::call_hook` is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallHook {
    /// The host calls a function: WebAssembly is about to run.
    CallingWasm,
    /// The function that the host called has returned, or failed.
    ReturningFromWasm,
    /// WebAssembly calls a host function, which is about to run.
    CallingHost,
    /// The host function that WebAssembly called has returned, or failed.
    ReturningFromHost,
}

impl CallHook {
    /// Whether the host goes on after the transition: a host function is called, or WebAssembly
    /// returns to the host.
    pub fn entering_host(&self) -> bool {
        matches!(self, CallHook::ReturningFromWasm | CallHook::CallingHost)
    }

    /// Whether WebAssembly goes on after the transition: it is called, or a host function returns to
    /// it.
    pub fn exiting_host(&self) -> bool {
        matches!(self, CallHook::ReturningFromHost | CallHook::CallingWasm)
    }
}
