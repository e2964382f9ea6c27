//! Places in the source of a module, by the DWARF that its artifact keeps.

use crate::{FrameSymbol, Module};
use addr2line::{Context, LookupContinuation, LookupResult, SplitDwarfLoad};
use gimli::{Dwarf, DwarfPackage, EndianArcSlice, LittleEndian, SectionId};
use std::sync::{Arc, Mutex, PoisonError};
use waxwing_vm::CodeMemory;

type Reader = EndianArcSlice<LittleEndian>;

/// The debugging information of a module, read as far as it was needed.
pub(super) struct SourceMap {
    context: Mutex<Context<Reader>>,
    /// What the module has in a DWARF package.
    package: Option<DwarfPackage<Reader>>,
    code_section_offset: u64,
}

impl SourceMap {
    /// The debugging information in an artifact, or `None` if there is none that can be read.
    pub(super) fn new(code: &CodeMemory, code_section_offset: u64) -> Option<Self> {
        code.section(SectionId::DebugInfo.name())?;
        let load_named = |name: &str| {
            let bytes = code.section(name).unwrap_or_default();
            Ok::<_, gimli::Error>(Reader::new(Arc::from(bytes), LittleEndian))
        };
        let load_split = |id: SectionId| load_named(id.dwo_name().unwrap_or(id.name()));
        let load = |id: SectionId| load_named(id.name());
        let context = Context::from_dwarf(Dwarf::load(load).ok()?).ok()?;
        let has_package = code.section(SectionId::DebugCuIndex.name()).is_some();
        let package = has_package.then(|| {
            let empty = Reader::new(Arc::from([]), LittleEndian);
            DwarfPackage::load(load_split, empty).ok()
        });
        Some(SourceMap {
            context: Mutex::new(context),
            package: package.flatten(),
            code_section_offset,
        })
    }

    /// A unit's part of the package.
    fn split(&self, load: &SplitDwarfLoad<Reader>) -> Option<Dwarf<Reader>> {
        let package = self.package.as_ref()?;
        package.find_cu(load.dwo_id, &load.parent).ok()?
    }

    /// Where the instruction at an offset in the binary is in the source, the innermost inlined
    /// function first.
    fn symbols(&self, wasm_offset: u32) -> Vec<FrameSymbol> {
        let Some(address) = u64::from(wasm_offset).checked_sub(self.code_section_offset) else {
            return Vec::new();
        };
        let context = self.context.lock().unwrap_or_else(PoisonError::into_inner);
        let mut symbols = Vec::new();
        let mut lookup = context.find_frames(address);
        let found = loop {
            lookup = match lookup {
                LookupResult::Output(found) => break found,
                LookupResult::Load { load, continuation } => {
                    continuation.resume(self.split(&load).map(Arc::new))
                }
            };
        };
        let Ok(mut frames) = found else {
            return symbols;
        };
        // What cannot be read ends the list: debugging information is not validated.
        while let Ok(Some(frame)) = frames.next() {
            let name = frame.function.as_ref().and_then(|f| f.raw_name().ok());
            let location = frame.location;
            symbols.push(FrameSymbol::new(
                name.map(String::from),
                location.as_ref().and_then(|l| l.file).map(str::to_string),
                location.as_ref().and_then(|l| l.line),
                location.as_ref().and_then(|l| l.column),
            ));
        }
        symbols
    }
}

impl Module {
    /// Where the instruction at an offset in the binary is in the source, the innermost inlined
    /// function first. Empty unless backtraces shall have details and the module tells them.
    pub(crate) fn source_of(&self, wasm_offset: u32) -> Vec<FrameSymbol> {
        if !self.engine().backtrace_details() {
            return Vec::new();
        }
        let map = self.inner.source_map.get_or_init(|| {
            let offset = self.env_module().code_section_offset;
            SourceMap::new(self.loaded().code(), offset)
        });
        map.as_ref()
            .map(|map| map.symbols(wasm_offset))
            .unwrap_or_default()
    }
}

#[cfg(all(test, feature = "wat"))]
mod tests {
    use crate::{Config, Engine, Instance, Module, Store, WasmBacktrace, WasmBacktraceDetails};
    use gimli::write::{
        Address, AttributeValue, Dwarf, EndianVec, LineProgram, LineString, Sections, Unit,
    };
    use gimli::{DW_AT_high_pc, DW_AT_low_pc, DW_AT_name, DW_TAG_subprogram};
    use gimli::{Encoding, Format, LineEncoding, LittleEndian};

    /// DWARF that says of the code at 2..5 that it is the function `work` in `src/work.c`, and of
    /// the code from 3 on that it is line 42, column 7.
    fn debug_sections() -> Vec<(&'static str, Vec<u8>)> {
        let encoding = Encoding {
            address_size: 4,
            format: Format::Dwarf32,
            version: 4,
        };
        let string = |text: &[u8]| LineString::String(text.to_vec());
        let mut lines = LineProgram::new(
            encoding,
            LineEncoding::default(),
            string(b"/"),
            None,
            string(b"src/work.c"),
            None,
        );
        let directory = lines.default_directory();
        let file = lines.add_file(string(b"src/work.c"), directory, None);
        lines.begin_sequence(Some(Address::Constant(2)));
        for (address_offset, line) in [(0, 41), (1, 42)] {
            let row = lines.row();
            (row.address_offset, row.file, row.line, row.column) = (address_offset, file, line, 7);
            lines.generate_row();
        }
        lines.end_sequence(3);
        let mut unit = Unit::new(encoding, lines);
        let root = unit.root();
        let function = unit.add(root, DW_TAG_subprogram);
        for die in [root, function] {
            let entry = unit.get_mut(die);
            entry.set(DW_AT_low_pc, AttributeValue::Address(Address::Constant(2)));
            entry.set(DW_AT_high_pc, AttributeValue::Udata(3));
        }
        let name = AttributeValue::String(b"work".to_vec());
        unit.get_mut(function).set(DW_AT_name, name);
        let mut dwarf = Dwarf::new();
        dwarf.units.add(unit);
        let mut sections = Sections::new(EndianVec::new(LittleEndian));
        dwarf.write(&mut sections).unwrap();
        let mut list = Vec::new();
        sections
            .for_each(|id, bytes| {
                list.push((id.name(), bytes.slice().to_vec()));
                Ok::<_, gimli::Error>(())
            })
            .unwrap();
        list
    }

    fn symbols(details: WasmBacktraceDetails) -> String {
        let mut wasm = wat::parse_str(r#"(module (func (export "f") unreachable))"#).unwrap();
        for (name, data) in debug_sections() {
            use wasm_encoder::Encode;
            let section = wasm_encoder::CustomSection {
                name: name.into(),
                data: data.into(),
            };
            wasm.push(0);
            section.encode(&mut wasm);
        }
        let engine = Engine::new(Config::new().wasm_backtrace_details(details)).unwrap();
        let module = Module::new(&engine, &wasm).unwrap();
        let mut store = Store::new(&engine, ());
        let instance = Instance::new(&mut store, &module, &[]).unwrap();
        let function = instance.get_typed_func::<(), ()>(&mut store, "f").unwrap();
        let error = function.call(&mut store, ()).unwrap_err();
        let backtrace = error.downcast_ref::<WasmBacktrace>().unwrap();
        format!("{:?}", backtrace.frames()[0].symbols())
    }

    #[test]
    fn backtraces_name_files_and_lines() {
        let symbols = symbols(WasmBacktraceDetails::Enable);
        for word in ["\"work\"", "src/work.c\"", "Some(42)", "Some(7)"] {
            assert!(symbols.contains(word), "{word}: {symbols}");
        }
    }

    #[test]
    fn details_can_be_left_out() {
        assert_eq!(symbols(WasmBacktraceDetails::Disable), "[]");
    }
}
