//! [`WasmBacktrace`]: the frames of WebAssembly that were on the stack.

use std::fmt;

use waxwing_environ::{DefinedFuncIndex, EntityRef};
use waxwing_vm::RawBacktrace;

use crate::store::StoreOpaque;
use crate::{AsContext, Module};

/// The functions of WebAssembly that were being executed where an error came up, the innermost
/// first.
///
/// Errors of calls carry one as context, unless [`Config::wasm_backtrace`] is off:
///
/// ```
/// # use waxwing::*;
/// # fn main() -> Result<()> {
/// let engine = Engine::default();
/// let module = Module::new(
///     &engine,
///     r#"(module $m
///         (func $inner unreachable)
///         (func (export "outer") (call $inner)))"#,
/// )?;
/// let mut store = Store::new(&engine, ());
/// let instance = Instance::new(&mut store, &module, &[])?;
/// let outer = instance.get_typed_func::<(), ()>(&mut store, "outer")?;
///
/// let error = outer.call(&mut store, ()).unwrap_err();
/// let frames = error.downcast_ref::<WasmBacktrace>().expect("there was wasm on the stack").frames();
/// assert_eq!(frames.len(), 2);
/// assert_eq!(frames[0].func_name(), Some("inner"));
/// assert_eq!(frames[1].func_index(), 1);
/// # Ok(())
/// # }
/// ```
///
/// [`Config::wasm_backtrace`]: crate::Config::wasm_backtrace
#[derive(Debug)]
pub struct WasmBacktrace {
    frames: Vec<FrameInfo>,
}

impl WasmBacktrace {
    /// The frames of WebAssembly on the calling thread's stack that belong to `store`: empty unless
    /// this is called in a host function.
    ///
    /// Empty also if [`Config::wasm_backtrace`](crate::Config::wasm_backtrace) is off.
    pub fn capture(store: impl AsContext) -> WasmBacktrace {
        let store = store.as_context();
        if store.engine().config().wasm_backtrace {
            WasmBacktrace::force_capture(store)
        } else {
            WasmBacktrace { frames: Vec::new() }
        }
    }

    /// As [`capture`](Self::capture), whatever the configuration says.
    pub fn force_capture(store: impl AsContext) -> WasmBacktrace {
        let store = store.as_context().0;
        // SAFETY: the record is valid as long as the store. It is only changed by the thread that
        // runs code of the store; then no other has access to the store.
        let raw = unsafe { RawBacktrace::capture(store.core().vm_store_context().as_ptr()) };
        WasmBacktrace::from_raw(store, &raw, false)
    }

    /// `exact_first_pc` says that the first frame is that of a faulting instruction; other frames
    /// have addresses to return to.
    pub(crate) fn from_raw(
        store: &StoreOpaque,
        raw: &RawBacktrace,
        exact_first_pc: bool,
    ) -> WasmBacktrace {
        let frames = raw
            .frames()
            .iter()
            .enumerate()
            .flat_map(|(i, frame)| {
                // A call may be a function's last instruction: the address before the one to return
                // to is certain to be within the call.
                let exact = exact_first_pc && i == 0;
                FrameInfo::all_at(store, if exact { frame.pc } else { frame.pc - 1 })
            })
            .collect();
        WasmBacktrace { frames }
    }

    /// The frames, the innermost first.
    pub fn frames(&self) -> &[FrameInfo] {
        &self.frames
    }
}

/// One line for each frame: its position, the offset in the module's binary, and the names of module
/// and function.
impl fmt::Display for WasmBacktrace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error while executing at wasm backtrace:")?;
        for (i, frame) in self.frames.iter().enumerate() {
            write!(f, "\n  {i:>3}: ")?;
            if let Some(offset) = frame.module_offset() {
                write!(f, "{offset:#6x} - ")?;
            }
            write!(f, "{}!", frame.module().name().unwrap_or("<unknown>"))?;
            match frame.func_name() {
                Some(name) => write_demangled(f, name)?,
                None => write!(f, "<wasm function {}>", frame.func_index())?,
            }
            for symbol in frame.symbols() {
                write!(f, "\n              at ")?;
                if let Some(name) = symbol.name() {
                    write_demangled(f, name)?;
                    f.write_str(" ")?;
                }
                f.write_str(symbol.file().unwrap_or("<unknown>"))?;
                if let Some(line) = symbol.line() {
                    write!(f, ":{line}")?;
                    if let Some(column) = symbol.column() {
                        write!(f, ":{column}")?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// A function's name as it was in the source, if it is a mangled name of Rust or C++.
#[cfg(feature = "profiling")]
pub(crate) struct Demangled<'a>(pub(crate) &'a str);

#[cfg(feature = "profiling")]
impl fmt::Display for Demangled<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_demangled(f, self.0)
    }
}

/// Writes a function's name as it was in the source, if it is a mangled name of Rust or C++.
#[cfg(feature = "demangle")]
fn write_demangled(f: &mut fmt::Formatter<'_>, name: &str) -> fmt::Result {
    if let Ok(demangled) = rustc_demangle::try_demangle(name) {
        // Without the hash at the end.
        return write!(f, "{demangled:#}");
    }
    // Without the prefix, names such as `f` would be read as types of C++.
    let cpp = name.starts_with("_Z").then(|| {
        let symbol = cpp_demangle::Symbol::new(name).ok()?;
        symbol
            .demangle(&cpp_demangle::DemangleOptions::default())
            .ok()
    });
    f.write_str(cpp.flatten().as_deref().unwrap_or(name))
}

#[cfg(not(feature = "demangle"))]
fn write_demangled(f: &mut fmt::Formatter<'_>, name: &str) -> fmt::Result {
    f.write_str(name)
}

/// A frame of a [`WasmBacktrace`].
#[derive(Debug)]
pub struct FrameInfo {
    module: Module,
    func_index: u32,
    func_name: Option<String>,
    /// In the module's binary.
    func_start: Option<u32>,
    offset: Option<u32>,
    symbols: Vec<FrameSymbol>,
}

impl FrameInfo {
    /// What is executed at an address of code, the innermost first: functions that were inlined in others, and last that whose code it
    /// is.
    fn all_at(store: &StoreOpaque, pc: usize) -> Vec<FrameInfo> {
        let Some(module) = store.module_of_code(pc) else {
            return Vec::new();
        };
        let loaded = module.loaded();
        let Some((func, text_offset, loc)) = loaded.lookup_pc(pc) else {
            return Vec::new();
        };
        let mut offset = loaded.wasm_offset(text_offset);
        let mut frames = Vec::with_capacity(1);
        for inlined in loaded.inlined_at(text_offset) {
            let start = offset.map(|_| inlined.start);
            frames.push(FrameInfo::new(module, inlined.func, start, offset));
            offset = offset.map(|_| inlined.call);
        }
        let start = loaded.wasm_offset(loc.start);
        frames.push(FrameInfo::new(module, func, start, offset));
        frames
    }

    fn new(
        module: &Module,
        func: DefinedFuncIndex,
        func_start: Option<u32>,
        offset: Option<u32>,
    ) -> FrameInfo {
        let loaded = module.loaded();
        let func_index = loaded.module().func_index(func);
        FrameInfo {
            func_index: func_index.index() as u32,
            func_name: loaded.func_name(func_index).map(str::to_string),
            func_start,
            offset,
            #[cfg(feature = "addr2line")]
            symbols: offset.map_or_else(Vec::new, |offset| module.source_of(offset)),
            #[cfg(not(feature = "addr2line"))]
            symbols: Vec::new(),
            module: module.clone(),
        }
    }

    /// The index of the function in its module's index space, imports first.
    pub fn func_index(&self) -> u32 {
        self.func_index
    }

    /// The module that the function belongs to.
    pub fn module(&self) -> &Module {
        &self.module
    }

    /// The name of the function in the module's name section, as it is there: it may be mangled.
    pub fn func_name(&self) -> Option<&str> {
        self.func_name.as_deref()
    }

    /// The offset of the instruction in the module's binary, in bytes.
    ///
    /// `None` if [`Config::generate_address_map`](crate::Config::generate_address_map) is off, or
    /// for code that no instruction of the module stands for.
    pub fn module_offset(&self) -> Option<usize> {
        Some(self.offset? as usize)
    }

    /// The offset of the instruction from the start of the function, in bytes of the module's
    /// binary. `None` as for [`module_offset`](Self::module_offset).
    pub fn func_offset(&self) -> Option<usize> {
        Some(self.offset?.checked_sub(self.func_start?)? as usize)
    }

    /// Where the instruction is in the source, by the module's debugging information: the innermost
    /// inlined function first. Empty where nothing is known.
    pub fn symbols(&self) -> &[FrameSymbol] {
        &self.symbols
    }
}

/// A place in the source of a module, of a [`FrameInfo`].
#[derive(Debug)]
pub struct FrameSymbol {
    name: Option<String>,
    file: Option<String>,
    line: Option<u32>,
    column: Option<u32>,
}

impl FrameSymbol {
    #[cfg(feature = "addr2line")]
    pub(crate) fn new(
        name: Option<String>,
        file: Option<String>,
        line: Option<u32>,
        column: Option<u32>,
    ) -> Self {
        FrameSymbol {
            name,
            file,
            line,
            column,
        }
    }

    /// The name of the function, which may be mangled.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// The file.
    pub fn file(&self) -> Option<&str> {
        self.file.as_deref()
    }

    /// The line in the file, counted from 1.
    pub fn line(&self) -> Option<u32> {
        self.line
    }

    /// The column in the line, counted from 1.
    pub fn column(&self) -> Option<u32> {
        self.column
    }
}
