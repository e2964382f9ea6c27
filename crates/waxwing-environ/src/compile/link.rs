//! From compiled functions to the artifact.

use super::debug_object;
use super::{CompileError, CompiledFunction, Compiler, ModuleTranslation, RelocTarget};
use crate::address_map::encode_address_map;
use crate::artifact::{self, ArtifactHeader, ArtifactInfo, FunctionLoc, FunctionTableBuilder};
use crate::call_sites::{encode_handlers, encode_stack_maps};
use crate::{
    BuiltinFunctionIndex, DefinedFuncIndex, DefinedTableIndex, EntityRef, InlinedFunction,
    ModuleTypeIndex, PrimaryMap, Trap, encode_function_names, encode_inlined, encode_traps,
    is_bytecode,
};
use object::write::{Object, SectionId};
use object::{BinaryFormat, Endianness, FileFlags, SectionKind, elf};
use std::collections::HashMap;
use target_lexicon::{Architecture, Triple};

/// All code of a module.
#[derive(Default)]
pub struct CompiledModule {
    /// The defined functions.
    pub functions: PrimaryMap<DefinedFuncIndex, CompiledFunction>,
    /// Trampolines from the host into wasm, sorted by signature.
    pub array_to_wasm: Vec<(ModuleTypeIndex, CompiledFunction)>,
    /// Trampolines from wasm to the host, sorted by signature.
    pub wasm_to_array: Vec<(ModuleTypeIndex, CompiledFunction)>,
    /// Trampolines from wasm to every builtin that a relocation refers to.
    pub builtins: Vec<(BuiltinFunctionIndex, CompiledFunction)>,
}

/// A finished artifact.
pub struct Artifact {
    /// The bytes of the ELF file.
    pub elf: Vec<u8>,
    /// The facts that are encoded in it.
    pub info: ArtifactInfo,
}

/// Lays out and links all code of a module, and writes the artifact.
pub fn link(
    compiler: &dyn Compiler,
    translation: &ModuleTranslation<'_>,
    compiled: &CompiledModule,
    header: &ArtifactHeader,
) -> Result<Artifact, CompileError> {
    let page_align = translation.tunables.page_align;
    let pieces: Vec<&CompiledFunction> = compiled
        .functions
        .values()
        .chain(compiled.array_to_wasm.iter().map(|(_, f)| f))
        .chain(compiled.wasm_to_array.iter().map(|(_, f)| f))
        .chain(compiled.builtins.iter().map(|(_, f)| f))
        .collect();
    let Placed {
        mut text,
        locations,
        dispatch_tables,
    } = place_code(compiler, translation, compiled, &pieces)?;
    text.resize(text.len().next_multiple_of(UNWIND_ALIGNMENT as usize), 0);

    let mut object = new_object(compiler.triple())?;
    let mut sections = Sections {
        object: &mut object,
    };
    let text_len = text.len() as u64;
    sections.add(artifact::SECTION_TEXT, SectionKind::Text, text, page_align);
    let placed: Vec<_> = locations
        .iter()
        .zip(&pieces)
        .map(|(loc, piece)| (u64::from(loc.start), *piece))
        .collect();
    let unwind = compiler.unwind_section(text_len, &placed)?;
    let engine = postcard::to_allocvec(header).map_err(codegen_error)?;
    let info = ArtifactInfo {
        module: translation.module.clone(),
        types: translation.types.clone(),
        dispatch_tables,
    };
    let info_bytes = postcard::to_allocvec(&info).map_err(codegen_error)?;
    let functions = function_table(compiled, &locations).finish(&translation.functions);
    let unwind_or_none = unwind.as_deref().unwrap_or_default();
    let checksum = artifact::checksum(&[&engine, &info_bytes, &functions, unwind_or_none]);
    if let Some(bytes) = unwind {
        let kind = SectionKind::ReadOnlyData;
        sections.add(artifact::SECTION_EH_FRAME, kind, bytes, UNWIND_ALIGNMENT);
    }
    // What is not for code has no page with it.
    sections.add(
        artifact::SECTION_ENGINE,
        SectionKind::Other,
        engine,
        page_align,
    );
    sections.add_metadata(artifact::SECTION_INFO, info_bytes);
    sections.add_metadata(artifact::SECTION_FUNCTIONS, functions);
    sections.add_metadata(artifact::SECTION_CHECK, checksum.to_le_bytes().to_vec());
    sections.add_metadata(artifact::SECTION_TRAPS, traps(&placed));
    if translation.tunables.generate_address_map {
        sections.add_metadata(artifact::SECTION_ADDRESS_MAP, address_map(&placed));
    }
    if pieces.iter().any(|piece| !piece.stack_maps.is_empty()) {
        let maps = encode_stack_maps(
            placed
                .iter()
                .flat_map(|(start, f)| f.stack_maps.iter().map(|map| (*start as u32, map))),
        );
        sections.add_metadata(artifact::SECTION_STACK_MAPS, maps);
    }
    if pieces.iter().any(|piece| !piece.handlers.is_empty()) {
        let handlers = encode_handlers(
            placed
                .iter()
                .flat_map(|(start, f)| f.handlers.iter().map(|table| (*start as u32, table))),
        );
        sections.add_metadata(artifact::SECTION_HANDLERS, handlers);
    }
    if pieces
        .iter()
        .any(|piece| !piece.inlined.functions.is_empty())
    {
        sections.add_metadata(artifact::SECTION_INLINED, inlined(&placed));
    }
    if !translation.function_names.is_empty() {
        let names = encode_function_names(&translation.function_names);
        sections.add_metadata(artifact::SECTION_NAMES, names);
    }
    if translation.data.len > 0 {
        let mut data = Vec::with_capacity(translation.data.len as usize);
        for piece in &translation.data.pieces {
            data.extend_from_slice(piece);
        }
        let kind = SectionKind::ReadOnlyData;
        sections.add(artifact::SECTION_DATA, kind, data, page_align);
    }
    if translation.keep_debug_sections {
        for (name, bytes) in &translation.debug_sections {
            sections.add(name, SectionKind::Debug, bytes.to_vec(), 1);
        }
        for (name, bytes) in &translation.package_sections {
            sections.add(name, SectionKind::Debug, bytes.to_vec(), 1);
        }
    }
    if translation.tunables.debug_info {
        let debug = compiler.debug_sections(translation, &placed)?;
        let names = names(translation, compiled);
        let symbols = placed.iter().map(|(start, f)| (*start, f.code.len()));
        let symbols: Vec<_> = symbols.zip(names).collect();
        let object = new_object(compiler.triple())?;
        let bytes = debug_object::build(object, text_len, &debug, &symbols)?;
        sections.add_metadata(artifact::SECTION_DEBUG_OBJECT, bytes);
    }
    let mut elf = object.write().map_err(codegen_error)?;
    if is_bytecode(compiler.triple())
        && let Some(machine) = elf.get_mut(E_MACHINE)
    {
        machine.copy_from_slice(&artifact::ELF_MACHINE_BYTECODE.to_le_bytes());
    }
    Ok(Artifact { elf, info })
}

/// The alignment of the section of unwind information in bytes.
const UNWIND_ALIGNMENT: u64 = 8;

/// The alignment of dispatch tables in bytes: that of cache lines.
const DISPATCH_ALIGNMENT: u32 = 64;

/// Where in an ELF header `e_machine` is.
const E_MACHINE: std::ops::Range<usize> = 18..20;

/// The names by which debuggers know all code, in the order of its places.
fn names<'a>(
    translation: &'a ModuleTranslation<'_>,
    compiled: &'a CompiledModule,
) -> impl Iterator<Item = String> + use<'a> {
    let functions = compiled.functions.keys().map(|index| {
        let func = translation.module.func_index(index);
        let names = &translation.function_names;
        match names.binary_search_by_key(&func, |(named, _)| *named) {
            Ok(at) => names[at].1.to_string(),
            Err(_) => format!("wasm_function_{}", func.index()),
        }
    });
    let entries = compiled.array_to_wasm.iter();
    let exits = compiled.wasm_to_array.iter();
    let builtins = compiled.builtins.iter();
    functions
        .chain(entries.map(|(ty, _)| format!("waxwing_host_to_wasm_{}", ty.index())))
        .chain(exits.map(|(ty, _)| format!("waxwing_wasm_to_host_{}", ty.index())))
        .chain(builtins.map(|(builtin, _)| format!("waxwing_builtin_{}", builtin.name())))
}

fn codegen_error(error: impl core::fmt::Display) -> CompileError {
    CompileError::Codegen(format!("failed to write the artifact: {error}"))
}

/// A text section and where in it things are.
struct Placed {
    text: Vec<u8>,
    locations: Vec<FunctionLoc>,
    dispatch_tables: Vec<(DefinedTableIndex, u32)>,
}

/// Appends all code to the text section, and dispatch tables after it, and resolves the references in it.
fn place_code(
    compiler: &dyn Compiler,
    translation: &ModuleTranslation<'_>,
    compiled: &CompiledModule,
    pieces: &[&CompiledFunction],
) -> Result<Placed, CompileError> {
    let too_large =
        || CompileError::ImplementationLimit("more than 4 GiB of machine code".to_string());
    let first_builtin = pieces.len() - compiled.builtins.len();
    let builtin_labels: HashMap<BuiltinFunctionIndex, usize> = compiled
        .builtins
        .iter()
        .enumerate()
        .map(|(i, (builtin, _))| (*builtin, first_builtin + i))
        .collect();
    let tables = translation.dispatch_tables.iter();
    let tables: Vec<_> = tables
        .filter_map(|(index, table)| Some((index, table.as_ref()?)))
        .collect();
    let mut builder = compiler.text_builder(pieces.len() + tables.len());
    let mut locations = Vec::with_capacity(pieces.len());
    for piece in pieces {
        let start = builder.append(&piece.code, piece.alignment, piece.displacement);
        for reloc in &piece.relocations {
            let label = match reloc.target {
                RelocTarget::Function(index) => index.index(),
                RelocTarget::Builtin(builtin) => builtin_labels[&builtin],
            };
            let offset = start + u64::from(reloc.offset);
            if !builder.resolve(offset, reloc.kind, reloc.addend, label) {
                return Err(CompileError::Codegen(format!(
                    "relocation of kind {} cannot be resolved",
                    reloc.kind
                )));
            }
        }
        locations.push(FunctionLoc {
            start: u32::try_from(start).map_err(|_| too_large())?,
            length: u32::try_from(piece.code.len()).map_err(|_| too_large())?,
        });
    }
    let mut dispatch_tables = Vec::with_capacity(tables.len());
    for (index, table) in &tables {
        let start = builder.append(&vec![0; table.size()], DISPATCH_ALIGNMENT, 0);
        let start = u32::try_from(start).map_err(|_| too_large())?;
        dispatch_tables.push((*index, start));
    }
    let mut text = builder.finish();
    for ((_, table), (_, start)) in tables.iter().zip(&dispatch_tables) {
        let place = *start as usize..*start as usize + table.size();
        table.write(&mut text[place], u64::from(*start), &locations)?;
    }
    Ok(Placed {
        text,
        locations,
        dispatch_tables,
    })
}

fn function_table(compiled: &CompiledModule, locations: &[FunctionLoc]) -> FunctionTableBuilder {
    let mut locations = locations.iter().copied();
    let mut builder = FunctionTableBuilder::default();
    for loc in locations.by_ref().take(compiled.functions.len()) {
        builder.code.push(loc);
    }
    for (list, trampolines) in [
        (&mut builder.array_to_wasm, &compiled.array_to_wasm),
        (&mut builder.wasm_to_array, &compiled.wasm_to_array),
    ] {
        let types = trampolines.iter().map(|(ty, _)| *ty);
        list.extend(types.zip(locations.by_ref()));
    }
    builder
}

fn traps(placed: &[(u64, &CompiledFunction)]) -> Vec<u8> {
    let traps: Vec<(u32, Trap)> = placed
        .iter()
        .flat_map(|(start, f)| f.traps.iter().map(|(at, trap)| (*start as u32 + at, *trap)))
        .collect();
    encode_traps(&traps)
}

fn address_map(placed: &[(u64, &CompiledFunction)]) -> Vec<u8> {
    let mut entries: Vec<(u32, u32)> = placed
        .iter()
        .flat_map(|(start, f)| {
            let entries = f.address_map.iter();
            entries.map(|(code, wasm)| (*start as u32 + code, *wasm))
        })
        .collect();
    // An entry that says what the one before says adds nothing.
    entries.dedup_by_key(|(_, wasm)| *wasm);
    encode_address_map(&entries)
}

/// Which code belongs to inlined functions.
fn inlined(placed: &[(u64, &CompiledFunction)]) -> Vec<u8> {
    let (mut functions, mut code) = (Vec::new(), Vec::new());
    let mut push = |offset: u32, place: Option<u32>| match code.last_mut() {
        Some((last, previous)) if *last == offset => *previous = place,
        Some((_, previous)) if *previous == place => {}
        _ => code.push((offset, place)),
    };
    for (start, piece) in placed {
        let first = functions.len() as u32;
        functions.extend(
            piece
                .inlined
                .functions
                .iter()
                .map(|function| InlinedFunction {
                    caller: function.caller.map(|caller| first + caller),
                    ..*function
                }),
        );
        // Code of this piece does not belong to what that of the last one ended with.
        push(*start as u32, None);
        for (offset, place) in &piece.inlined.code {
            push(*start as u32 + offset, place.map(|place| first + place));
        }
    }
    encode_inlined(&functions, &code)
}

fn new_object(triple: &Triple) -> Result<Object<'static>, CompileError> {
    let architecture = match triple.architecture {
        Architecture::X86_64 => object::Architecture::X86_64,
        Architecture::Aarch64(_) => object::Architecture::Aarch64,
        Architecture::Riscv64(_) => object::Architecture::Riscv64,
        Architecture::S390x => object::Architecture::S390x,
        // An ELF file has a form for some machine. Which one this is says `link`.
        _ if is_bytecode(triple) => object::Architecture::Riscv64,
        other => {
            return Err(CompileError::Unsupported(format!(
                "artifacts for the architecture {other}"
            )));
        }
    };
    let endianness = match triple.endianness() {
        Ok(target_lexicon::Endianness::Big) if !is_bytecode(triple) => Endianness::Big,
        _ => Endianness::Little,
    };
    let mut object = Object::new(BinaryFormat::Elf, architecture, endianness);
    object.flags = FileFlags::Elf {
        os_abi: elf::OsAbi(artifact::ELF_OS_ABI),
        abi_version: artifact::ELF_ABI_VERSION,
        e_flags: elf::FileFlags(artifact::ELF_FLAGS_MODULE),
    };
    Ok(object)
}

struct Sections<'a> {
    object: &'a mut Object<'static>,
}

impl Sections<'_> {
    fn add(&mut self, name: &str, kind: SectionKind, data: Vec<u8>, align: u64) -> SectionId {
        let id = self
            .object
            .add_section(Vec::new(), name.as_bytes().to_vec(), kind);
        self.object.set_section_data(id, data, align);
        id
    }

    fn add_metadata(&mut self, name: &str, data: Vec<u8>) {
        self.add(name, SectionKind::Other, data, 8);
    }
}
