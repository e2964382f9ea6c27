//! What native debuggers are told of code, read back. `tests/real/gdb` has a debugger read it.

use gimli::{
    AttributeValue, DW_AT_high_pc, DW_AT_location, DW_AT_low_pc, DW_AT_name, DW_AT_type,
    DW_TAG_subprogram, DebuggingInformationEntry, EndianSlice, EvaluationResult, Expression,
    LittleEndian, Location, Reader as _, UnitRef, UnwindSection, Value,
};
use object::read::elf::ElfFile64;
use object::{Object, ObjectSection, ObjectSymbol};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use waxwing::*;
use waxwing_environ::artifact::SECTION_DEBUG_OBJECT;
use waxwing_environ::artifact::debug_object::DebugObject;

type Reader<'a> = EndianSlice<'a, LittleEndian>;
type Elf<'a> = ElfFile64<'a, object::Endianness>;

fn fixture(name: &str) -> Vec<u8> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/debug");
    std::fs::read(directory.join(name)).unwrap()
}

fn engine() -> Engine {
    let mut config = Config::new();
    // Details would keep the module's own sections, which are not what is tested here.
    config
        .debug_info(true)
        .wasm_backtrace_details(WasmBacktraceDetails::Disable);
    Engine::new(&config).unwrap()
}

/// The object in an artifact, for code at address zero.
fn debug_object(artifact: &[u8]) -> Option<Vec<u8>> {
    let artifact = Elf::parse(artifact).unwrap();
    let section = artifact.section_by_name(SECTION_DEBUG_OBJECT)?;
    let object = DebugObject::new(section.data().unwrap()).expect("well-formed");
    Some(object.elf().to_vec())
}

fn dwarf<'a>(elf: &Elf<'a>) -> gimli::Dwarf<Reader<'a>> {
    dwarf_of(|name| {
        let section = elf.section_by_name(name);
        section.map(|s| s.data().unwrap()).unwrap_or_default()
    })
}

fn dwarf_of<'a>(section: impl Fn(&str) -> &'a [u8]) -> gimli::Dwarf<Reader<'a>> {
    let load =
        |id: gimli::SectionId| Ok::<_, gimli::Error>(Reader::new(section(id.name()), LittleEndian));
    gimli::Dwarf::load(load).unwrap()
}

fn name<'a>(
    unit: UnitRef<'_, Reader<'a>>,
    entry: &DebuggingInformationEntry<Reader<'a>>,
) -> Option<String> {
    // What is malformed may not be text.
    let name = unit.attr_string(entry.attr_value(DW_AT_name)?).ok()?;
    Some(name.to_string_lossy().into_owned())
}

/// Reads all of a module's DWARF: malformed input must not lead to malformed output.
fn read_everything(dwarf: &gimli::Dwarf<Reader<'_>>) {
    let mut units = dwarf.units();
    while let Some(header) = units.next().unwrap() {
        let unit = dwarf.unit(header).unwrap();
        let unit = unit.unit_ref(dwarf);
        let mut entries = unit.entries();
        while let Some(entry) = entries.next_dfs().unwrap() {
            unit.die_ranges(entry).unwrap();
            for attr in entry.attrs() {
                if let AttributeValue::Exprloc(expression) = attr.value() {
                    let mut operations = expression.operations(unit.encoding());
                    while operations.next().unwrap().is_some() {}
                }
                if attr.name() == DW_AT_location
                    && let Some(mut list) = unit.attr_locations(attr.value()).unwrap()
                {
                    while list.next().unwrap().is_some() {}
                }
            }
        }
        if let Some(program) = unit.line_program.clone() {
            let mut rows = program.rows();
            while rows.next_row().unwrap().is_some() {}
        }
    }
}

/// The ranges of functions in the DWARF, by name.
fn subprograms(dwarf: &gimli::Dwarf<Reader<'_>>) -> BTreeMap<String, (u64, u64)> {
    let mut found = BTreeMap::new();
    let mut units = dwarf.units();
    while let Some(header) = units.next().unwrap() {
        let unit = dwarf.unit(header).unwrap();
        let unit = unit.unit_ref(dwarf);
        let mut entries = unit.entries();
        while let Some(entry) = entries.next_dfs().unwrap() {
            if entry.tag() == DW_TAG_subprogram
                && let Some(AttributeValue::Addr(start)) = entry.attr_value(DW_AT_low_pc)
            {
                let len = entry.attr_value(DW_AT_high_pc).unwrap();
                let len = len.udata_value().unwrap();
                found.insert(name(unit, entry).unwrap_or_default(), (start, len));
            }
        }
    }
    found
}

#[test]
fn functions_and_lines_are_where_the_code_is() {
    let engine = engine();
    let wasm = fixture("list.wasm");
    let module = Module::new(&engine, &wasm).unwrap();
    let elf = debug_object(&module.serialize().unwrap()).unwrap();
    let elf = Elf::parse(&*elf).unwrap();
    let dwarf = dwarf(&elf);
    read_everything(&dwarf);

    let code: BTreeMap<String, (u64, u64)> = module
        .functions()
        .map(|f| (f.name.unwrap(), (f.offset as u64, f.len as u64)))
        .collect();
    assert_eq!(subprograms(&dwarf), code);
    for (name, (start, len)) in &code {
        let symbol = elf.symbol_by_name(name).unwrap();
        assert_eq!((symbol.address(), symbol.size()), (*start, *len), "{name}");
    }

    let mut lines: BTreeMap<&str, BTreeSet<u64>> = BTreeMap::new();
    let mut first: BTreeMap<&str, u64> = BTreeMap::new();
    let unit = dwarf.units().next().unwrap().unwrap();
    let unit = dwarf.unit(unit).unwrap();
    let mut rows = unit.line_program.clone().unwrap().rows();
    while let Some((header, row)) = rows.next_row().unwrap() {
        if row.end_sequence() {
            continue;
        }
        let file = row.file(header).unwrap();
        let file = dwarf.attr_string(&unit, file.path_name()).unwrap();
        assert_eq!(file.to_string_lossy(), "list.c");
        let address = row.address();
        let (function, _) = code
            .iter()
            .find(|(_, (start, len))| (*start..start + len).contains(&address))
            .expect("rows are within functions");
        let line = row.line().unwrap().get();
        first.entry(function).or_insert(line);
        if row.is_stmt() {
            lines.entry(function).or_default().insert(line);
        }
    }
    assert_eq!(first["sum"], 20);
    assert_eq!(lines["sum"], BTreeSet::from([20, 21, 22, 23, 24, 26]));
    assert_eq!(lines["crash"], BTreeSet::from([50, 51, 52]));
    assert!(lines["run"].is_superset(&BTreeSet::from([35, 36, 39, 40, 41, 42, 44, 45, 46, 47])));
}

#[test]
fn code_can_be_unwound() {
    for wasm in [
        fixture("list.wasm"),
        wat::parse_str("(module (func $f (call $g)) (func $g))").unwrap(),
    ] {
        let engine = engine();
        let module = Module::new(&engine, &wasm).unwrap();
        let elf = debug_object(&module.serialize().unwrap()).unwrap();
        let elf = Elf::parse(&*elf).unwrap();
        let frames = elf.section_by_name(".debug_frame").unwrap();
        let mut frames = gimli::DebugFrame::new(frames.data().unwrap(), LittleEndian);
        frames.set_address_size(8);
        let bases = gimli::BaseAddresses::default();
        for function in module.functions() {
            let at = function.offset as u64;
            let fde = frames
                .fde_for_address(&bases, at, gimli::DebugFrame::cie_from_offset)
                .unwrap();
            assert_eq!(
                (fde.initial_address(), fde.len()),
                (at, function.len as u64)
            );
            assert!(elf.symbol_by_name(&function.name.unwrap()).is_some());
        }
    }
}

/// Where things are that expressions lead to.
const CFA: u64 = 0x7fff_0000_1000;
const VMCTX: u64 = 0x5555_0000_0000;
const MEMORY: u64 = 0x6666_0000_0000;
/// The value of every local.
const LOCAL: u64 = 0x10_0000;

/// What an expression means.
#[derive(Debug, PartialEq)]
enum Meaning {
    Address(u64),
    Value(u64),
}

/// Evaluates an expression in a frame as the constants above say. Pointers in linear memory are `pointer`. `None` if it
/// asks for what has no place there.
fn evaluate<'a>(
    unit: UnitRef<'_, Reader<'a>>,
    expression: Expression<Reader<'a>>,
    pc: u64,
    pointer: u64,
) -> Option<Meaning> {
    let mut evaluation = expression.evaluation(unit.encoding());
    let mut result = evaluation.evaluate().unwrap();
    loop {
        result = match result {
            EvaluationResult::Complete => break,
            EvaluationResult::RequiresCallFrameCfa => {
                evaluation.resume_with_call_frame_cfa(CFA).unwrap()
            }
            EvaluationResult::RequiresMemory { address, size, .. } => {
                let frame = CFA - 0x100..CFA;
                let value = if frame.contains(&address) && size == 8 {
                    VMCTX
                } else if frame.contains(&address) {
                    LOCAL
                } else if (VMCTX..VMCTX + 0x1000).contains(&address) && size == 8 {
                    MEMORY
                } else {
                    assert!(
                        (MEMORY..MEMORY + (4 << 30)).contains(&address),
                        "{address:#x}"
                    );
                    assert_eq!(size, 4);
                    pointer
                };
                evaluation
                    .resume_with_memory(Value::Generic(value))
                    .unwrap()
            }
            EvaluationResult::RequiresAtLocation(gimli::DieReference::UnitRef(offset)) => {
                let entry = unit.entry(offset).unwrap();
                let code = location(unit, &entry, pc)?;
                evaluation.resume_with_at_location(code.0).unwrap()
            }
            other => panic!("{other:?}"),
        };
    }
    let pieces = evaluation.result();
    let [piece] = &pieces[..] else {
        panic!("{pieces:?}");
    };
    Some(match piece.location {
        Location::Address { address } => Meaning::Address(address),
        Location::Value { value } => Meaning::Value(value.to_u64(u64::MAX).unwrap()),
        ref other => panic!("{other:?}"),
    })
}

/// The expression for where something is when the code at `pc` runs.
fn location<'a>(
    unit: UnitRef<'_, Reader<'a>>,
    entry: &DebuggingInformationEntry<Reader<'a>>,
    pc: u64,
) -> Option<Expression<Reader<'a>>> {
    let value = entry.attr_value(DW_AT_location)?;
    if let AttributeValue::Exprloc(expression) = value {
        return Some(expression);
    }
    let mut list = unit.attr_locations(value).unwrap()?;
    while let Some(entry) = list.next().unwrap() {
        if (entry.range.begin..entry.range.end).contains(&pc) {
            return Some(entry.data);
        }
    }
    None
}

/// What each variable means when the code at `pc` runs, by name.
fn variables(dwarf: &gimli::Dwarf<Reader<'_>>, pc: u64, pointer: u64) -> BTreeMap<String, Meaning> {
    let mut found = BTreeMap::new();
    let mut units = dwarf.units();
    while let Some(header) = units.next().unwrap() {
        let unit = dwarf.unit(header).unwrap();
        let unit = unit.unit_ref(dwarf);
        let mut entries = unit.entries();
        while let Some(entry) = entries.next_dfs().unwrap() {
            if let Some(name) = name(unit, entry)
                && let Some(location) = location(unit, entry, pc)
                && let Some(meaning) = evaluate(unit, location, pc, pointer)
            {
                found.insert(name, meaning);
            }
        }
    }
    found
}

/// The address of a static variable by the module's own DWARF.
fn wasm_address(wasm: &[u8], variable: &str) -> u64 {
    let mut sections = BTreeMap::new();
    for payload in wasmparser::Parser::new(0).parse_all(wasm) {
        if let wasmparser::Payload::CustomSection(section) = payload.unwrap() {
            sections.insert(section.name(), section.data());
        }
    }
    let dwarf = dwarf_of(|name| sections.get(name).copied().unwrap_or_default());
    let unit = dwarf.units().next().unwrap().unwrap();
    let unit = dwarf.unit(unit).unwrap();
    let unit = unit.unit_ref(&dwarf);
    let mut entries = unit.entries();
    while let Some(entry) = entries.next_dfs().unwrap() {
        if name(unit, entry).as_deref() == Some(variable) {
            let Some(AttributeValue::Exprloc(mut expression)) = entry.attr_value(DW_AT_location)
            else {
                panic!("a static variable");
            };
            // DW_OP_addr
            assert_eq!(expression.0.read_u8().unwrap(), 3);
            return expression.0.read_u32().unwrap().into();
        }
    }
    panic!("there is no `{variable}`");
}

#[test]
fn variables_are_where_the_frame_and_memory_have_them() {
    let engine = engine();
    let wasm = fixture("list.wasm");
    let elf = debug_object(&engine.precompile_module(&wasm).unwrap()).unwrap();
    let elf = Elf::parse(&*elf).unwrap();
    let dwarf = dwarf(&elf);
    let functions = subprograms(&dwarf);

    let (start, len) = functions["sum"];
    let end = start + len - 1;
    let in_sum = variables(&dwarf, end, 0x1234);
    // The stack frame in linear memory is where a local says, and `list` is a pointer in it.
    assert_eq!(in_sum["list"], Meaning::Value(MEMORY + 0x1234));
    assert_eq!(in_sum["total"], Meaning::Address(MEMORY + LOCAL + 8));
    assert_eq!(variables(&dwarf, end, 0)["list"], Meaning::Value(0));
    for name in ["nodes", "calls"] {
        let address = MEMORY + wasm_address(&wasm, name);
        assert_eq!(in_sum[name], Meaning::Address(address), "{name}");
    }
    assert_eq!(in_sum["greeting"], Meaning::Value(MEMORY + 0x1234));
    assert_eq!(in_sum["__waxwing_memory"], Meaning::Value(MEMORY));
    assert!(!in_sum.contains_key("pair"));
    // Before the frame is there, nothing is known.
    assert!(!variables(&dwarf, start, 0).contains_key("list"));
    assert!(!variables(&dwarf, start, 0).contains_key("__waxwing_memory"));

    let (start, len) = functions["run"];
    let in_run = variables(&dwarf, start + len - 1, 0x1234);
    assert_eq!(in_run["pair"], Meaning::Address(MEMORY + LOCAL + 24));
    assert_eq!(in_run["wide"], Meaning::Address(MEMORY + LOCAL));
    assert_eq!(in_run["head"], Meaning::Value(MEMORY + 0x1234));
    assert!(!in_run.contains_key("total"));
}

/// A module whose DWARF says of its only function, with an i32, an i64 and an f32 as locals, that variables are at these
/// expressions.
fn module_with_variables(locations: &[(&str, Vec<u8>)]) -> Vec<u8> {
    use gimli::write;
    let mut wasm = wat::parse_str(
        r#"(module (memory 1) (func $f (param i32 i64 f32) (drop (i32.load (local.get 0)))))"#,
    )
    .unwrap();
    let encoding = gimli::Encoding {
        address_size: 4,
        format: gimli::Format::Dwarf32,
        version: 4,
    };
    let mut unit = write::Unit::new(encoding, write::LineProgram::none());
    let root = unit.root();
    let function = unit.add(root, DW_TAG_subprogram);
    for die in [root, function] {
        let entry = unit.get_mut(die);
        let start = write::AttributeValue::Address(write::Address::Constant(2));
        entry.set(DW_AT_low_pc, start);
        entry.set(DW_AT_high_pc, write::AttributeValue::Udata(8));
    }
    for (name, location) in locations {
        let variable = unit.add(function, gimli::DW_TAG_variable);
        let entry = unit.get_mut(variable);
        entry.set(
            DW_AT_name,
            write::AttributeValue::String(name.as_bytes().to_vec()),
        );
        let location = write::Expression::raw(location.clone());
        entry.set(DW_AT_location, write::AttributeValue::Exprloc(location));
    }
    let mut dwarf = write::Dwarf::new();
    dwarf.units.add(unit);
    let mut sections = write::Sections::new(write::EndianVec::new(LittleEndian));
    dwarf.write(&mut sections).unwrap();
    sections
        .for_each(|id, bytes| {
            use wasm_encoder::Encode;
            let section = wasm_encoder::CustomSection {
                name: id.name().into(),
                data: bytes.slice().into(),
            };
            wasm.push(0);
            section.encode(&mut wasm);
            Ok::<_, gimli::Error>(())
        })
        .unwrap();
    wasm
}

#[test]
fn what_cannot_be_expressed_is_left_out() {
    const WASM: u8 = 0xed;
    const STACK_VALUE: u8 = 0x9f;
    let known: [(&str, Vec<u8>, Meaning); 8] = [
        (
            "local",
            vec![WASM, 0, 0, STACK_VALUE],
            Meaning::Value(LOCAL),
        ),
        ("local_alone", vec![WASM, 0, 0], Meaning::Value(LOCAL)),
        // Eight bytes in a frame are taken for the vmctx here.
        ("wide", vec![WASM, 0, 1, STACK_VALUE], Meaning::Value(VMCTX)),
        (
            "float",
            vec![WASM, 0, 2, STACK_VALUE],
            Meaning::Value(LOCAL),
        ),
        // local 0 + 4, in memory
        (
            "pointed_to",
            vec![WASM, 0, 0, 0x23, 4],
            Meaning::Address(MEMORY + LOCAL + 4),
        ),
        // local 0 - 0x100001 wraps around at 32 bits
        (
            "wraps",
            vec![WASM, 0, 0, 0x0c, 1, 0, 0x10, 0, 0x1c, STACK_VALUE],
            Meaning::Value(0xffff_ffff),
        ),
        // the pointer at local 0
        (
            "deref",
            vec![WASM, 0, 0, 0x06],
            Meaning::Address(MEMORY + 0x77),
        ),
        ("constant", vec![0x35, STACK_VALUE], Meaning::Value(5)),
    ];
    let unknown: [(&str, Vec<u8>); 12] = [
        ("no_such_local", vec![WASM, 0, 9, STACK_VALUE]),
        ("no_such_global", vec![WASM, 1, 0, STACK_VALUE]),
        ("operand_stack", vec![WASM, 2, 0, STACK_VALUE]),
        ("wide_sum", vec![WASM, 0, 1, 0x31, 0x22, STACK_VALUE]),
        ("float_sum", vec![WASM, 0, 2, 0x31, 0x22, STACK_VALUE]),
        ("signed", vec![WASM, 0, 0, 0x31, 0x1b, STACK_VALUE]),
        ("register", vec![0x50]),
        ("no_frame_base", vec![0x91, 8]),
        ("entry_value", vec![0xf3, 3, WASM, 0, 0, STACK_VALUE]),
        ("branch", vec![WASM, 0, 0, 0x28, 0, 0, STACK_VALUE]),
        ("truncated", vec![WASM, 0]),
        ("empty", vec![]),
    ];
    let locations: Vec<(&str, Vec<u8>)> = known
        .iter()
        .map(|(name, location, _)| (*name, location.clone()))
        .chain(unknown.iter().cloned())
        .collect();
    let wasm = module_with_variables(&locations);
    let engine = engine();
    let elf = debug_object(&engine.precompile_module(&wasm).unwrap()).unwrap();
    let elf = Elf::parse(&*elf).unwrap();
    let dwarf = dwarf(&elf);
    let (start, len) = subprograms(&dwarf).into_values().next().unwrap_or_else(|| {
        let function = elf.symbol_by_name("f").unwrap();
        (function.address(), function.size())
    });
    let mut found = variables(&dwarf, start + len - 1, 0x77);
    found.remove("__waxwing_memory");
    for (name, _, meaning) in known {
        assert_eq!(found.remove(name), Some(meaning), "{name}");
    }
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn pointer_variables_are_native_pointers() {
    let engine = engine();
    let elf = debug_object(&engine.precompile_module(&fixture("list.wasm")).unwrap()).unwrap();
    let elf = Elf::parse(&*elf).unwrap();
    let dwarf = dwarf(&elf);
    let unit = dwarf.units().next().unwrap().unwrap();
    let unit = dwarf.unit(unit).unwrap();
    let unit = unit.unit_ref(&dwarf);
    let mut sizes = BTreeMap::new();
    let mut entries = unit.entries();
    while let Some(entry) = entries.next_dfs().unwrap() {
        if let Some(AttributeValue::UnitRef(ty)) = entry.attr_value(DW_AT_type)
            && let Some(name) = name(unit, entry)
        {
            let ty = unit.entry(ty).unwrap();
            if ty.tag() == gimli::DW_TAG_pointer_type {
                let size = ty.attr_value(gimli::DW_AT_byte_size).unwrap();
                sizes.insert(name, size.udata_value().unwrap());
            }
        }
    }
    // A member is as wide as in memory.
    for (name, size) in [
        ("list", 8),
        ("head", 8),
        ("text", 8),
        ("greeting", 8),
        ("next", 4),
    ] {
        assert_eq!(sizes[name], size, "{name}");
    }
}

#[test]
fn split_and_newer_dwarf_is_understood() {
    let engine = engine();
    let package = fixture("split.dwp");
    for (name, is_split) in [
        ("split.wasm", true),
        ("shapes.wasm", false),
        ("shapes5.wasm", false),
        ("words.wasm", false),
    ] {
        let wasm = fixture(name);
        let mut builder = CodeBuilder::new(&engine);
        builder.wasm_binary(&wasm, None).unwrap();
        if is_split {
            builder.dwarf_package(&package).unwrap();
        }
        let elf = debug_object(&builder.compile_module_serialized().unwrap()).unwrap();
        let elf = Elf::parse(&*elf).unwrap();
        let dwarf = dwarf(&elf);
        read_everything(&dwarf);
        let functions = subprograms(&dwarf);
        let function = if name == "words.wasm" {
            "letter"
        } else {
            "run"
        };
        assert!(functions.contains_key(function), "{name}: {functions:?}");
        let (start, len) = functions[function];
        let found: Vec<_> = (start..start + len)
            .flat_map(|pc| variables_in_pieces(&dwarf, pc))
            .collect();
        let parameter = if name == "words.wasm" {
            "index"
        } else {
            "side"
        };
        assert!(
            found.iter().any(|name| name == parameter),
            "{name}: {found:?}"
        );
    }
}

/// The names of variables that are anywhere when the code at `pc` runs.
fn variables_in_pieces(dwarf: &gimli::Dwarf<Reader<'_>>, pc: u64) -> Vec<String> {
    let mut found = Vec::new();
    let mut units = dwarf.units();
    while let Some(header) = units.next().unwrap() {
        let unit = dwarf.unit(header).unwrap();
        let unit = unit.unit_ref(dwarf);
        let mut entries = unit.entries();
        while let Some(entry) = entries.next_dfs().unwrap() {
            if location(unit, entry, pc).is_some() {
                found.extend(name(unit, entry));
            }
        }
    }
    found
}

#[test]
fn debugged_programs_do_what_others_do() {
    for level in [OptLevel::None, OptLevel::Speed, OptLevel::SpeedAndSize] {
        let engine =
            Engine::new(Config::new().debug_info(true).cranelift_opt_level(level)).unwrap();
        let plain = Engine::new(Config::new().cranelift_opt_level(level)).unwrap();
        let wasm = fixture("list.wasm");
        let artifact = engine.precompile_module(&wasm).unwrap();
        assert!(debug_object(&artifact).is_some());
        assert!(debug_object(&plain.precompile_module(&wasm).unwrap()).is_none());
        let module = Module::new(&engine, &wasm).unwrap();
        // SAFETY: the artifact is of an engine of this build.
        let loaded = unsafe { Module::deserialize(&engine, &artifact) }.unwrap();
        // SAFETY: as above.
        let elsewhere = unsafe { Module::deserialize(&plain, &artifact) }.unwrap();
        for module in [module, loaded, elsewhere] {
            let mut store = Store::new(module.engine(), ());
            let instance = Instance::new(&mut store, &module, &[]).unwrap();
            let run = instance
                .get_typed_func::<i32, i32>(&mut store, "run")
                .unwrap();
            assert_eq!(run.call(&mut store, 3).unwrap(), 167);
            let crash = instance
                .get_typed_func::<i32, i32>(&mut store, "crash")
                .unwrap();
            assert!(crash.call(&mut store, -8).unwrap_err().is::<Trap>());
        }
    }
}

#[test]
fn debuggers_need_no_address_map_of_the_artifact() {
    let mut config = Config::new();
    config.debug_info(true).generate_address_map(false);
    let engine = Engine::new(&config).unwrap();
    let elf = debug_object(&engine.precompile_module(&fixture("list.wasm")).unwrap()).unwrap();
    let elf = Elf::parse(&*elf).unwrap();
    assert!(subprograms(&dwarf(&elf)).contains_key("sum"));
}

#[test]
fn malformed_dwarf_is_harmless() {
    let engine = engine();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move |bound: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as usize % bound
    };
    let package = fixture("split.dwp");
    let mut understood = 0;
    for name in [
        "list.wasm",
        "shapes.wasm",
        "shapes5.wasm",
        "words.wasm",
        "split.wasm",
    ] {
        let wasm = fixture(name);
        let mut ranges = Vec::new();
        for payload in wasmparser::Parser::new(0).parse_all(&wasm) {
            if let wasmparser::Payload::CustomSection(section) = payload.unwrap()
                && section.name().starts_with(".debug_")
            {
                ranges.push(section.data_offset() as usize..section.range().end as usize);
            }
        }
        for _ in 0..400 {
            let mut bad = wasm.clone();
            let mut bad_package = package.clone();
            for _ in 0..1 + random(4) {
                let range = ranges[random(ranges.len())].clone();
                let at = range.start + random(range.len());
                bad[at] = match random(3) {
                    0 => bad[at] ^ (1 << random(8)),
                    1 => 0xff,
                    _ => random(256) as u8,
                };
                if name == "split.wasm" {
                    let at = 8 + random(bad_package.len() - 8);
                    bad_package[at] = random(256) as u8;
                }
            }
            let mut builder = CodeBuilder::new(&engine);
            builder.wasm_binary(&bad, None).unwrap();
            let _ = name == "split.wasm" && builder.dwarf_package(&bad_package).is_ok();
            let elf = debug_object(&builder.compile_module_serialized().unwrap()).unwrap();
            let elf = Elf::parse(&*elf).unwrap();
            let dwarf = dwarf(&elf);
            read_everything(&dwarf);
            understood += usize::from(!subprograms(&dwarf).is_empty());
        }
    }
    // Most of it still says something.
    assert!(understood > 1000, "{understood}");
}
