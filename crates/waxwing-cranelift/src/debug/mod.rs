//! Native debugging information: the DWARF of the wasm binary, said of the machine code.
//!
//! DWARF in a wasm binary speaks of offsets in the code section, of locals and of addresses in linear memory. Here it is written anew for
//! the target, with the same types and names, and with
//!
//! - places in the text, by the address maps of functions ([`places`]),
//! - lines, by the same maps ([`lines`]),
//! - variables as expressions over the frame, the vmctx in it and the memory that the vmctx leads to ([`expression`]).
//!
//! What is malformed or cannot be expressed is left out: a debugger then says that a variable is optimized out.

mod entries;
mod expression;
mod lines;
mod places;
mod pointers;
mod writer;

use crate::unwind;
use cranelift_codegen::ir::StackSlotKey;
use cranelift_codegen::isa::TargetIsa;
use cranelift_codegen::{Final, MachBufferFinalized};
use gimli::write::{self, Sections};
use gimli::{EndianSlice, LittleEndian, SectionId};
use places::Places;
use target_lexicon::Architecture;
use waxwing_environ::address_map::NO_WASM_OFFSET;
use waxwing_environ::compile::{
    CompileError, CompiledFunction, DebugSection, FrameLocal, FrameVariables, ModuleTranslation,
};
use writer::SectionWriter;

/// The DWARF of a wasm binary, which is little-endian.
type Reader<'a> = EndianSlice<'a, LittleEndian>;

/// What a slot of the frame that is there for debuggers holds.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum SlotKey {
    VMContext,
    Local {
        local: u32,
        size: u8,
        is_float: bool,
    },
}

impl SlotKey {
    /// The key by which the compiler's results tell the slot.
    pub(crate) fn encode(self) -> StackSlotKey {
        StackSlotKey::new(match self {
            SlotKey::VMContext => u64::MAX,
            SlotKey::Local {
                local,
                size,
                is_float,
            } => u64::from(local) << 16 | u64::from(size) << 8 | u64::from(is_float),
        })
    }

    fn decode(key: StackSlotKey) -> SlotKey {
        match key.bits() {
            u64::MAX => SlotKey::VMContext,
            bits => SlotKey::Local {
                local: (bits >> 16) as u32,
                size: (bits >> 8) as u8,
                is_float: bits & 1 != 0,
            },
        }
    }
}

/// How far the frame pointer is below the canonical frame address, on targets whose frames are known.
fn frame_pointer_depth(isa: &dyn TargetIsa) -> Option<i64> {
    match isa.triple().architecture {
        // The return address and the caller's frame pointer are in between.
        Architecture::X86_64 | Architecture::Aarch64(_) | Architecture::Riscv64(_) => Some(16),
        _ => None,
    }
}

/// Where a compiled function's frame keeps variables, if it has slots for them. `start` is where the function's body is in
/// the wasm binary.
pub(crate) fn frame_variables(
    isa: &dyn TargetIsa,
    buffer: &MachBufferFinalized<Final>,
    start: u32,
    address_map: &[(u32, u32)],
) -> Option<FrameVariables> {
    let depth = frame_pointer_depth(isa)?;
    let layout = buffer.frame_layout()?;
    // The slots are written before the first operator.
    let mut after = address_map
        .iter()
        .filter(|(_, wasm)| *wasm != NO_WASM_OFFSET && *wasm > start);
    let mut variables = FrameVariables {
        valid_from: after.next()?.0,
        ..FrameVariables::default()
    };
    let mut has_vmctx = false;
    for slot in layout.stackslots.values() {
        let Some(key) = slot.key else {
            continue;
        };
        let offset = i64::from(slot.offset) - i64::from(layout.frame_to_fp_offset) - depth;
        match SlotKey::decode(key) {
            SlotKey::VMContext => {
                variables.vmctx = offset;
                has_vmctx = true;
            }
            SlotKey::Local {
                local,
                size,
                is_float,
            } => {
                let local = local as usize;
                if variables.locals.len() <= local {
                    variables.locals.resize(local + 1, None);
                }
                variables.locals[local] = Some(FrameLocal {
                    offset,
                    size,
                    is_float,
                });
            }
        }
    }
    has_vmctx.then_some(variables)
}

/// The sections that [`Compiler::debug_sections`](waxwing_environ::compile::Compiler::debug_sections) asks for.
pub(crate) fn sections(
    isa: &dyn TargetIsa,
    translation: &ModuleTranslation<'_>,
    functions: &[(u64, &CompiledFunction)],
) -> Result<Vec<DebugSection>, CompileError> {
    let writer = SectionWriter::new(unwind::endian(isa));
    let mut sections = Sections::new(writer.clone());
    if translation.is_debugged() {
        // Failures are of the module's own making, which is allowed to be wrong here.
        let mut dwarf = Sections::new(writer);
        if let Ok(mut written) = native_dwarf(translation, functions)
            && written.write(&mut dwarf).is_ok()
        {
            sections = dwarf;
        }
    }
    if let Some(cie) = isa.create_systemv_cie() {
        let table = unwind::table(cie, functions, writer::code_address);
        if table.fde_count() > 0 {
            table
                .write_debug_frame(&mut sections.debug_frame)
                .map_err(|error| {
                    CompileError::Codegen(format!("failed to write unwind information: {error}"))
                })?;
        }
    }
    let mut list = Vec::new();
    let collected = sections.for_each(|id, section: &SectionWriter| {
        if let Some(section) = section.finish(id.name()) {
            list.push(section);
        }
        Ok::<_, CompileError>(())
    });
    collected.map(|()| list)
}

/// Writes the module's DWARF anew.
fn native_dwarf(
    translation: &ModuleTranslation<'_>,
    functions: &[(u64, &CompiledFunction)],
) -> write::ConvertResult<write::Dwarf> {
    let load = |id: SectionId| {
        let sections = &translation.debug_sections;
        let found = sections.iter().find(|(name, _)| *name == id.name());
        let bytes: &[u8] = found.map(|(_, bytes)| *bytes).unwrap_or_default();
        Ok::<_, gimli::Error>(Reader::new(bytes, LittleEndian))
    };
    let read = gimli::Dwarf::load(load)?;
    let load_package = |id: SectionId| {
        let name = id.dwo_name().unwrap_or(id.name());
        let found = translation.package_sections.iter().find(|(n, _)| n == name);
        let bytes: &[u8] = found.map(|(_, bytes)| bytes.as_ref()).unwrap_or_default();
        Ok::<_, gimli::Error>(Reader::new(bytes, LittleEndian))
    };
    let package = match translation.package_sections.is_empty() {
        true => None,
        false => gimli::DwarfPackage::load(load_package, Reader::new(&[], LittleEndian)).ok(),
    };
    let places = Places::new(translation, functions);
    let mut dwarf = write::Dwarf::new();
    entries::convert(&places, &read, package.as_ref(), &mut dwarf)?;
    Ok(dwarf)
}
