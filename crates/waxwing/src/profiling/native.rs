//! What the system's profilers are told of modules.

use std::sync::Arc;

use anyhow::bail;
use waxwing_environ::artifact::{FunctionLoc, TrampolineKind};
use waxwing_environ::{DefinedFuncIndex, EntityRef};
use waxwing_vm::profiling::{Agent, JitDump, Line, PerfMap, Symbol};

use crate::backtrace::Demangled;
use crate::{Module, ProfilingStrategy, Result};

/// Who is told of modules, by the strategy. Files are made now.
pub(crate) fn agent(strategy: ProfilingStrategy) -> Result<Option<Arc<dyn Agent>>> {
    Ok(match strategy {
        ProfilingStrategy::None => None,
        ProfilingStrategy::PerfMap => Some(PerfMap::of_process()?),
        ProfilingStrategy::JitDump => Some(JitDump::of_process()?),
        ProfilingStrategy::VTune => bail!(
            "`ProfilingStrategy::VTune` is not possible with this build: VTune's interface is a library in C; \
             `ProfilingStrategy::JitDump` and `ProfilingStrategy::PerfMap` are for `perf`"
        ),
    })
}

/// Tells `agent` of all code of a module.
pub(crate) fn describe(agent: &dyn Agent, module: &Module) -> Result<()> {
    let loaded = module.loaded();
    let code = loaded.code();
    let functions = loaded.functions();
    let prefix = module.name().map(|name| format!("{name}!"));
    let prefix = prefix.as_deref().unwrap_or_default();
    let lines = agent.takes_lines().then(|| Lines::of(module));
    let mut end = 0;

    let defined = (0..functions.num_defined()).map(DefinedFuncIndex::new);
    let defined = defined.map(|index| {
        let loc = functions.code(index);
        let func = loaded.module().func_index(index);
        let name = match loaded.func_name(func) {
            Some(name) => format!("{prefix}{}", Demangled(name)),
            None => format!("{prefix}<wasm function {}>", func.index()),
        };
        (name, loc)
    });
    let trampolines = [
        (TrampolineKind::ArrayToWasm, "entry"),
        (TrampolineKind::WasmToArray, "exit"),
    ];
    let trampolines = trampolines.into_iter().flat_map(|(kind, what)| {
        let list = functions.trampolines(kind);
        list.map(move |(ty, loc)| (format!("{prefix}<{what} trampoline {}>", ty.index()), loc))
    });
    let mut symbols = defined.chain(trampolines).filter_map(|(name, loc)| {
        end = end.max(loc.start as usize + loc.length as usize);
        let code = code.text().get(range(loc))?;
        let lines = lines.as_ref().map(|lines| lines.within(module, loc));
        Some(Symbol {
            name,
            code,
            lines: lines.unwrap_or_default(),
        })
    });
    agent.describe(&mut symbols.by_ref())?;
    drop(symbols);

    // What follows are the trampolines to builtins, of which the artifact keeps no list.
    let rest = code.text().get(end..).unwrap_or_default();
    let len = rest
        .iter()
        .rposition(|byte| *byte != 0)
        .map_or(0, |i| i + 1);
    let mut rest = (len > 0).then(|| Symbol {
        name: format!("{prefix}<builtin trampolines>"),
        code: &rest[..len],
        lines: Vec::new(),
    });
    agent.describe(&mut rest.take().into_iter())
}

fn range(loc: FunctionLoc) -> std::ops::Range<usize> {
    let start = loc.start as usize;
    start..start.saturating_add(loc.length as usize)
}

/// Where the code of a module stems from.
struct Lines {
    /// Pairs of offsets, in the text and in the wasm binary, in the order of the first.
    map: Vec<(usize, Option<u32>)>,
    /// What stands for the file where the source is not known.
    binary: String,
}

impl Lines {
    fn of(module: &Module) -> Lines {
        Lines {
            map: module.address_map().into_iter().flatten().collect(),
            binary: format!("{}.wasm", module.name().unwrap_or("unknown")),
        }
    }

    /// The lines of a function: those of the source, as far as backtraces would have them, or else
    /// offsets in the binary.
    fn within(&self, module: &Module, loc: FunctionLoc) -> Vec<Line> {
        let range = range(loc);
        let first = self.map.partition_point(|(text, _)| *text < range.start);
        let entries = self.map[first..].iter();
        let entries = entries.take_while(|(text, _)| *text < range.end);
        let mut lines: Vec<Line> = Vec::new();
        for (text, wasm) in entries {
            let Some(wasm) = *wasm else { continue };
            let (file, line) = self.place(module, wasm);
            let is_new = lines
                .last()
                .is_none_or(|last| (last.line, &last.file) != (line, &file));
            if is_new {
                let offset = (text - range.start) as u32;
                lines.push(Line { offset, file, line });
            }
        }
        lines
    }

    fn place(&self, module: &Module, wasm: u32) -> (String, u32) {
        #[cfg(feature = "addr2line")]
        if let Some(symbol) = module.source_of(wasm).first()
            && let (Some(file), Some(line)) = (symbol.file(), symbol.line())
        {
            return (file.to_string(), line);
        }
        let _ = module;
        (self.binary.clone(), wasm)
    }
}
