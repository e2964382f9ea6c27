//! Room on the native stack.

use anyhow::{Context, Result};

/// How much wasm may use of the stack that a process starts with: what is
/// usual leaves host functions several times this.
const MAIN_THREAD: u64 = 2 << 20;

/// What host functions get beside wasm on a stack of their own.
const HOST: u64 = 2 << 20;

/// Does `work` where `wasm_stack` bytes are there for wasm, on a thread of its
/// own if they are many. `None` is the engine's default, which always fits.
///
/// # Errors
///
/// Fails if the system has no such stack to give.
pub fn with_stack<T: Send>(wasm_stack: Option<u64>, work: impl FnOnce() -> T + Send) -> Result<T> {
    let size = match wasm_stack {
        Some(size) if size > MAIN_THREAD => size,
        _ => return Ok(work()),
    };
    let total = size
        .checked_add(HOST)
        .and_then(|total| usize::try_from(total).ok());
    let total = total.with_context(|| format!("`-W max-wasm-stack={size}` is too large"))?;
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("main".into())
            .stack_size(total)
            .spawn_scoped(scope, work)
            .with_context(|| format!("failed to get a stack of {total} bytes"))?;
        Ok(thread
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
}
