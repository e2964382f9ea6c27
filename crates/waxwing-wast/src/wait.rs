//! Waiting for asynchronous calls.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

/// Polls a future until it is ready. Nothing in a script waits for anything else than its turn.
pub(crate) fn wait<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let mut cx = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(result) = future.as_mut().poll(&mut cx) {
            return result;
        }
    }
}
