//! Options of asynchronous execution.

use std::fmt;
use std::sync::Arc;

use anyhow::ensure;
use waxwing_vm::Allocator;

use super::Config;
use crate::stack::Creator;
use crate::{Result, StackCreator};

/// The default of [`Config::async_stack_size`].
const DEFAULT_STACK_SIZE: usize = 2 << 20;

/// What was set of asynchronous execution.
#[derive(Clone)]
pub(crate) struct AsyncConfig {
    pub(crate) support: bool,
    stack_size: usize,
    stack_creator: Option<Arc<dyn StackCreator>>,
}

impl Default for AsyncConfig {
    fn default() -> Self {
        AsyncConfig {
            support: false,
            stack_size: DEFAULT_STACK_SIZE,
            stack_creator: None,
        }
    }
}

impl fmt::Debug for AsyncConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncConfig")
            .field("support", &self.support)
            .field("stack_size", &self.stack_size)
            .field("has_stack_creator", &self.stack_creator.is_some())
            .finish()
    }
}

impl AsyncConfig {
    pub(super) fn check(&self, max_wasm_stack: usize) -> Result<()> {
        ensure!(
            max_wasm_stack <= self.stack_size,
            "`Config::max_wasm_stack({max_wasm_stack})` exceeds the stacks of asynchronous calls, of {} bytes: \
             set `Config::async_stack_size` to at least as much",
            self.stack_size
        );
        Ok(())
    }

    /// Tells the engine's allocator where stacks come from.
    pub(super) fn set_stacks(&self, allocator: &mut Allocator) {
        if let Some(creator) = &self.stack_creator {
            allocator.with_stack_creator(Arc::new(Creator(Arc::clone(creator))));
        }
    }
}

impl Config {
    /// Whether stores are asynchronous: whether WebAssembly is called by functions whose names end in `_async`, which
    /// return futures.
    ///
    /// WebAssembly knows nothing of futures: to it, calls of imported functions just take their time. With this
    /// option, the host's functions can be futures nevertheless, see
    /// [`Func::wrap_async`](crate::Func::wrap_async): when one has to wait, so does the WebAssembly that called it, and so does the
    /// future of the call by which the host entered WebAssembly, such as
    /// [`TypedFunc::call_async`](crate::TypedFunc::call_async). Polling that future again goes on where it waits.
    ///
    /// All WebAssembly of the engine has to be called that way: [`Func::call`](crate::Func::call) and other functions that run
    /// WebAssembly panic, and their `_async` counterparts panic if this option is off. Functions of the host
    /// that are not asynchronous can be used either way.
    ///
    /// WebAssembly runs while its future is polled, on the thread that polls it, on a stack of its
    /// own of [`async_stack_size`](Self::async_stack_size) bytes. No threads are created. Futures are `Send` if the store is,
    /// so that an executor can poll them on one thread and later on another one. They can be
    /// dropped before they are ready: what waits is then ended as if it failed, without WebAssembly running
    /// again, and what the host's functions own is dropped.
    ///
    /// # Polling takes as long as WebAssembly runs
    ///
    /// Executors expect polls to return soon. WebAssembly that computes without calling anything that waits keeps its
    /// thread, for ever if it is not trusted. There are two ways to have it give way to other tasks from time to
    /// time:
    ///
    /// - [`epoch_interruption`](Self::epoch_interruption) with
    ///   [`Store::epoch_deadline_async_yield_and_update`](crate::Store::epoch_deadline_async_yield_and_update): a time slice ends when
    ///   the embedder increments the engine's epoch. It costs little.
    /// - [`consume_fuel`](Self::consume_fuel) with
    ///   [`Store::fuel_async_yield_interval`](crate::Store::fuel_async_yield_interval): a slice ends when so much fuel is consumed.
    ///   It depends on nothing but the code, and costs more.
    ///
    /// A time limit can then be imposed by the host: by dropping the future when the time is over.
    ///
    /// Default: `false`.
    pub fn async_support(&mut self, enable: bool) -> &mut Self {
        self.asynchronous.support = enable;
        self
    }

    /// The size in bytes of the stacks that asynchronous calls run on.
    ///
    /// A call has a stack as long as it has begun and is not over. Only the pages of it that are used
    /// take memory; below it is a guard page. On it there are WebAssembly, which may use
    /// [`max_wasm_stack`](Self::max_wasm_stack) bytes, and the functions of the host that it calls, with the futures'
    /// polls: these have the difference, and overflowing the stack ends the process. They have 128 KiB in any
    /// case.
    ///
    /// Default: 2 MiB.
    ///
    /// # Errors
    ///
    /// [`Engine::new`](crate::Engine::new) fails if this is less than `max_wasm_stack`.
    pub fn async_stack_size(&mut self, size: usize) -> &mut Self {
        self.asynchronous.stack_size = size;
        self
    }

    /// Lets the host supply the stacks of asynchronous calls.
    ///
    /// Each call that begins gets a new stack, which is dropped when it is over.
    ///
    /// Default: stacks are mapped, and used again.
    pub fn with_host_stack(&mut self, stack_creator: Arc<dyn StackCreator>) -> &mut Self {
        self.asynchronous.stack_creator = Some(stack_creator);
        self
    }

    /// The size in bytes of the stacks of asynchronous calls.
    pub(crate) fn fiber_stack_size(&self) -> usize {
        waxwing_vm::fiber_stack_size(self.asynchronous.stack_size, self.max_wasm_stack)
    }
}
