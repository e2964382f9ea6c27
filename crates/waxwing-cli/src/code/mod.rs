//! Machine code of artifacts beside the WebAssembly that it stems from, for `objdump` and `explore`.
//!
//! Artifacts are read, not loaded: they can be of any target, and their code is never run.

mod disassemble;
mod wasm_text;

pub use disassemble::Instruction;
pub use wasm_text::WasmText;

use crate::load::Source;
use crate::options::Settings;
use anyhow::{Context, Result, anyhow, bail, ensure};
use object::{Object, ObjectSection};
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::path::Path;
use target_lexicon::Triple;
use waxwing_environ::address_map::AddressMap;
use waxwing_environ::artifact::{
    ArtifactHeader, FunctionLoc, FunctionTable, SECTION_ADDRESS_MAP, SECTION_ENGINE,
    SECTION_FUNCTIONS, SECTION_INLINED, SECTION_NAMES, SECTION_TEXT, SECTION_TRAPS, TrampolineKind,
};
use waxwing_environ::{
    DefinedFuncIndex, EntityRef, FuncIndex, FunctionNames, InlinedFunctions, Trap, TrapTable,
};

/// The code of an artifact, and of what it was made from as far as that is known.
pub struct Code {
    pub target: Triple,
    text: Vec<u8>,
    /// In the order of their code.
    pub functions: Vec<Function>,
    /// Pairs of offsets, in the text and in the wasm binary, in the order of the first.
    map: Vec<(u32, Option<u32>)>,
    /// The section of inlined functions, empty if there are none.
    inlined: Vec<u8>,
    traps: BTreeMap<u32, Trap>,
    /// Which function begins where.
    starts: HashMap<u32, usize>,
    /// The text of the module, unless only the artifact is known.
    pub wasm: Option<WasmText>,
}

/// A function or a trampoline.
pub struct Function {
    pub name: String,
    /// The index in the module, and among the functions that it defines; trampolines have none.
    pub index: Option<(u32, usize)>,
    /// Where it is in the text section.
    pub range: Range<u32>,
}

impl Code {
    /// Reads a module or an artifact at `path`; modules are compiled.
    ///
    /// # Errors
    ///
    /// Fails, naming the file, if it cannot be read, compiled or understood.
    pub fn read(path: &Path, settings: &mut Settings) -> Result<Code> {
        match Source::read(path)? {
            Source::Wasm(wasm) => {
                let engine = settings.engine(wasm.len())?;
                let artifact =
                    crate::load::with_progress(path, &wasm, || engine.precompile_module(&wasm))?;
                let text = WasmText::of(&wasm)
                    .with_context(|| format!("failed to print `{}`", path.display()))?;
                Code::of_artifact(&artifact, Some(text))
            }
            Source::Elf => {
                let artifact = std::fs::read(path)
                    .with_context(|| format!("failed to read `{}`", path.display()))?;
                Code::of_artifact(&artifact, None)
                    .with_context(|| format!("failed to read `{}`", path.display()))
            }
        }
    }

    fn of_artifact(artifact: &[u8], wasm: Option<WasmText>) -> Result<Code> {
        let object = object::File::parse(artifact).context("it is damaged")?;
        let section = |name: &str| -> Result<Option<&[u8]>> {
            let section = object.section_by_name(name);
            Ok(section.map(|section| section.data()).transpose()?)
        };
        let damaged =
            |name: &str| anyhow!("it is damaged: its section `{name}` does not make sense");
        let Some(engine) = section(SECTION_ENGINE)? else {
            bail!("it is an ELF file, but not a compiled module");
        };
        let header: ArtifactHeader =
            postcard::from_bytes(engine).map_err(|_| damaged(SECTION_ENGINE))?;
        let target = header.target.parse();
        let target: Triple = target.map_err(|_| damaged(SECTION_ENGINE))?;
        let text = section(SECTION_TEXT)?.unwrap_or_default().to_vec();
        let table = section(SECTION_FUNCTIONS)?.and_then(FunctionTable::new);
        let table = table.ok_or_else(|| damaged(SECTION_FUNCTIONS))?;
        let names = section(SECTION_NAMES)?.and_then(FunctionNames::new);
        let map = section(SECTION_ADDRESS_MAP)?.and_then(AddressMap::new);
        let inlined = section(SECTION_INLINED)?.unwrap_or_default().to_vec();
        let traps = section(SECTION_TRAPS)?.and_then(TrapTable::new);
        let functions = functions(&table, names, &text);
        let functions = functions.ok_or_else(|| damaged(SECTION_FUNCTIONS))?;
        let starts = functions.iter().enumerate();
        Ok(Code {
            starts: starts
                .map(|(i, function)| (function.range.start, i))
                .collect(),
            target,
            text,
            functions,
            map: map.iter().flat_map(AddressMap::iter).collect(),
            inlined,
            traps: traps.iter().flat_map(TrapTable::iter).collect(),
            wasm,
        })
    }

    /// Keeps the functions that `wanted` names, by a part of the name or by index.
    ///
    /// # Errors
    ///
    /// Fails if there is none.
    pub fn filter(&mut self, wanted: &str) -> Result<()> {
        let index = wanted.parse::<u32>().ok();
        let is_wanted = |function: &Function| match (index, function.index) {
            (Some(wanted), Some((index, _))) => index == wanted,
            _ => function.name.contains(wanted),
        };
        self.functions.retain(is_wanted);
        ensure!(
            !self.functions.is_empty(),
            "there is no function `{wanted}`"
        );
        let starts = self.functions.iter().enumerate();
        self.starts = starts
            .map(|(i, function)| (function.range.start, i))
            .collect();
        Ok(())
    }

    /// The instructions of a function, in order.
    pub fn instructions(&self, function: &Function) -> Vec<Instruction> {
        let start = function.range.start as usize;
        let code = &self.text[start..function.range.end as usize];
        disassemble::disassemble(self, function.range.start, code)
    }

    /// The bytes of an instruction.
    pub fn bytes(&self, instruction: &Instruction) -> &[u8] {
        let start = instruction.offset as usize;
        &self.text[start..start + instruction.len as usize]
    }

    /// Where the code at an offset is from, in the wasm binary. The code of inlined functions is that of the call, in
    /// the function whose code it is in.
    pub fn wasm_offset(&self, offset: u32) -> Option<u32> {
        let inlined = InlinedFunctions::new(&self.inlined);
        if let Some(outermost) = inlined.and_then(|inlined| inlined.at(offset).last()) {
            return Some(outermost.call);
        }
        let after = self.map.partition_point(|(text, _)| *text <= offset);
        self.map[after.checked_sub(1)?].1
    }

    /// Whether nothing from `start` to the end of its function stems from an instruction of the module, or traps. Of trampolines that is
    /// not known.
    fn is_data(&self, start: u32, end: u32) -> bool {
        let function = self
            .functions
            .partition_point(|function| function.range.start <= start);
        let function = function.checked_sub(1).map(|i| &self.functions[i]);
        let first = self.map.partition_point(|(text, _)| *text <= start);
        let Some(first) = first.checked_sub(1) else {
            return false;
        };
        let entries = self.map[first..].iter().take_while(|(text, _)| *text < end);
        function.is_some_and(|function| function.index.is_some())
            && entries.into_iter().all(|(_, wasm)| wasm.is_none())
            && self.traps.range(start..end).next().is_none()
    }

    /// The name of the function that begins at an offset.
    fn function_at(&self, offset: u32) -> Option<&str> {
        let function = self.starts.get(&offset)?;
        Some(&self.functions[*function].name)
    }
}

/// What a table of functions says, in the order of their code; `None` if it does not fit the text.
fn functions(
    table: &FunctionTable<'_>,
    names: Option<FunctionNames<'_>>,
    text: &[u8],
) -> Option<Vec<Function>> {
    let imported = table.num_functions() - table.num_defined();
    let range = |loc: FunctionLoc| {
        let end = loc.start.checked_add(loc.length)?;
        text.get(loc.start as usize..end as usize)?;
        Some(loc.start..end)
    };
    let mut functions = Vec::new();
    for i in 0..table.num_defined() {
        let func = FuncIndex::new(imported + i);
        let name = names.and_then(|names| names.get(func));
        functions.push(Function {
            name: match name {
                Some(name) => name.to_string(),
                None => format!("function[{}]", func.index()),
            },
            index: Some((func.index() as u32, i)),
            range: range(table.code(DefinedFuncIndex::new(i)))?,
        });
    }
    for (kind, what) in [
        (TrampolineKind::ArrayToWasm, "entry"),
        (TrampolineKind::WasmToArray, "exit"),
    ] {
        for (ty, loc) in table.trampolines(kind) {
            functions.push(Function {
                name: format!("<{what} trampoline of type {}>", ty.index()),
                index: None,
                range: range(loc)?,
            });
        }
    }
    // The artifact keeps no list of the trampolines to builtins, which come last.
    let end = functions.iter().map(|function| function.range.end).max();
    let end = end.unwrap_or(0);
    let rest = text.get(end as usize..)?;
    if let Some(last) = rest.iter().rposition(|byte| *byte != 0) {
        functions.push(Function {
            name: "<trampolines to builtins>".to_string(),
            index: None,
            range: end..u32::try_from(end as usize + last + 1).ok()?,
        });
    }
    functions.sort_by_key(|function| function.range.start);
    Some(functions)
}
