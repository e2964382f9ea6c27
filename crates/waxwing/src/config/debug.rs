//! Options that help to find errors in WebAssembly programs.

use super::Config;

/// What was set of these options.
#[derive(Clone, Debug, Default)]
pub(crate) struct DebugConfig {
    pub(crate) debug_info: bool,
    pub(crate) adapter_modules: bool,
    pub(crate) wmemcheck: bool,
    #[cfg(feature = "runtime")]
    pub(crate) coredump_on_trap: bool,
}

impl Config {
    /// Whether the modules that adapt the values of components to each other check more than they need to, for those who develop
    /// the engine.
    ///
    /// Default: `false`.
    ///
    /// # Errors
    ///
    /// [`Engine::new`](crate::Engine::new) fails if this is on: this crate has no components, and so no such modules.
    pub fn debug_adapter_modules(&mut self, debug: bool) -> &mut Self {
        self.debug.adapter_modules = debug;
        self
    }

    /// Whether native debuggers can debug WebAssembly programs in the process.
    ///
    /// The DWARF debugging information in the wasm binary, which compilers write with `-g`, is turned into DWARF for the machine
    /// code, and native debuggers are told of it when a module is made, and again when it is dropped. gdb then stops at lines of the
    /// program's source, steps, walks its frames and those of the host, and shows its variables:
    ///
    /// - Scalars, structs and arrays are shown as they are.
    /// - A variable that is a pointer is shown as a native pointer into linear memory, to be followed: `print *list` works.
    /// - A pointer within something else is shown as it is in linear memory, as a number that cannot be followed. The variable
    ///   `__waxwing_memory` is where linear memory begins, so that
    ///   `print {struct node}(__waxwing_memory + (unsigned)list->next)` shows what it points to.
    /// - What the wasm compiler has only on the operand stack, and values whose description uses what native debuggers do not offer,
    ///   are shown as optimized out.
    ///
    /// Code keeps its locals in memory for that, which makes it slower. Where a debugger stops is exact with
    /// [`OptLevel::None`](crate::OptLevel::None), the default; with others, code of neighbouring lines is mixed. Changing a
    /// variable that is no more than a WebAssembly local is not possible; what is in linear memory can be changed.
    ///
    /// It takes the Cargo feature `debug-builtins`, which is on by default. Without it artifacts are made as with it, but debuggers
    /// are not told.
    ///
    /// Modules without debugging information are debugged by the names of their functions, and their frames are walked.
    /// [`Config::native_unwind_info`] is what frames are walked by. Debuggers learn of modules by gdb's interface for just-in-time
    /// compilers, on systems with ELF files; artifacts made on others, or loaded there, lack nothing else.
    ///
    /// Tell gdb to pass on the signals by which traps are found: `handle SIGSEGV SIGILL SIGFPE nostop noprint pass`.
    ///
    /// Default: `false`.
    pub fn debug_info(&mut self, enable: bool) -> &mut Self {
        self.debug.debug_info = enable;
        self
    }

    /// Whether errors that come out of WebAssembly carry a [`WasmCoreDump`](crate::WasmCoreDump), for traps as well as for errors of
    /// host functions and exceptions that nobody caught.
    ///
    /// A dump is taken of the whole store when the error comes up: its frames, and handles of what is in it. It is obtained by
    /// `error.downcast_ref::<WasmCoreDump>()`. Nothing is copied before it is
    /// [serialized](crate::WasmCoreDump::serialize).
    ///
    /// Default: `false`.
    #[cfg(feature = "coredump")]
    pub fn coredump_on_trap(&mut self, enable: bool) -> &mut Self {
        self.debug.coredump_on_trap = enable;
        self
    }

    /// Whether programs are checked for memory errors in their heap: each access to it is compared with what the program's allocator
    /// handed out, and an error ends the program as a trap does. Its message, which begins with `wmemcheck`, names the access and the
    /// block that is near, and it comes with a [`WasmBacktrace`](crate::WasmBacktrace).
    ///
    /// The allocator is known by the names of its functions: those of exports, or of the name section, which compilers write unless
    /// told to strip it. They are `malloc`, `calloc`, `realloc`, `free`, `aligned_alloc`, `memalign`, `posix_memalign`, `strdup` and
    /// `strndup`, with the types that they have in C. Programs without them are not checked. Errors in the module's memory at index 0 are:
    ///
    /// - Loads and stores that are not in a block, from the first block that was ever handed out on, to the end of the last one's page of
    ///   64 KiB. An aligned load of up to 16 bytes may go beyond the end of the block that it begins in, as functions on strings do.
    /// - Loads and stores in blocks that were freed.
    /// - Uses of what was loaded from a block and never written there: computing with it, branching on it, passing it to functions,
    ///   returning it. Copying it is no error; copies count as never written.
    /// - Freeing or reallocating what was freed before, or is not a block.
    ///
    /// Not checked are the stack and static data, shared memories, and what the allocator does itself. A block that the host is given a
    /// pointer to, by a call, a result, or in memory that these point to, counts as written. A load counts as never written if none of
    /// its bytes was written. Within a function, loaded values are followed as long as they are not mixed with others where control flow
    /// joins. After a trap within the allocator the memory is not checked any more.
    ///
    /// Programs run many times slower with it. Artifacts that were compiled with it can be loaded only by engines that have it too.
    ///
    /// Default: `false`.
    ///
    /// # Errors
    ///
    /// [`Engine::new`](crate::Engine::new) fails if this is on and the crate is compiled without its Cargo feature `wmemcheck`, which is
    /// off by default.
    #[cfg(feature = "cranelift")]
    pub fn wmemcheck(&mut self, enable: bool) -> &mut Self {
        self.debug.wmemcheck = enable;
        self
    }
}
