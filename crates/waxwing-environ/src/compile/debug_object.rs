//! Building the [object](crate::artifact::debug_object) that native debuggers read.

use super::CompileError;
use crate::artifact::debug_object;
use object::elf;
use object::read::elf::{ElfFile64, FileHeader, SectionHeader};
use object::write::{Object, SectionId, Symbol, SymbolSection};
use object::{Endianness, SectionFlags, SectionKind, SymbolFlags, SymbolKind, SymbolScope};

/// A section of DWARF for generated code.
pub struct DebugSection {
    /// The name.
    pub name: &'static str,
    /// The contents, for code at address zero.
    pub data: Vec<u8>,
    /// The offsets of all addresses of code in it, of 8 bytes each.
    pub addresses: Vec<u32>,
}

/// Writes the object. `object` is empty and of the target; `symbols` are pairs of place and name.
pub(super) fn build(
    mut object: Object<'_>,
    text_len: u64,
    sections: &[DebugSection],
    symbols: &[((u64, usize), String)],
) -> Result<Vec<u8>, CompileError> {
    let error = |error: &dyn core::fmt::Display| {
        CompileError::Codegen(format!("failed to describe code to debuggers: {error}"))
    };
    object.flags = object::FileFlags::None;
    // Its contents are where the artifact is: there is but a place for symbols.
    let text = object.add_section(
        Vec::new(),
        b".text".to_vec(),
        SectionKind::UninitializedData,
    );
    object.append_section_bss(text, text_len, 16);
    object.section_mut(text).flags = SectionFlags::Elf {
        sh_type: elf::SHT_NOBITS,
        sh_flags: elf::SHF_ALLOC | elf::SHF_EXECINSTR,
    };
    for section in sections {
        let name = section.name.as_bytes().to_vec();
        let id = object.add_section(Vec::new(), name, SectionKind::Debug);
        object.append_section_data(id, &section.data, 1);
    }
    for ((start, len), name) in symbols {
        add_symbol(&mut object, text, *start, *len, name);
    }
    let mut elf = object.write().map_err(|e| error(&e))?;
    let endian = if object_is_big(&elf) {
        Endianness::Big
    } else {
        Endianness::Little
    };
    // An executable's addresses are final; those of a relocatable file would be changed once more by debuggers.
    let executable = match endian {
        Endianness::Big => elf::ET_EXEC.0.to_be_bytes(),
        Endianness::Little => elf::ET_EXEC.0.to_le_bytes(),
    };
    elf[16..18].copy_from_slice(&executable);
    let offsets = addresses(&elf, sections).map_err(|e| error(&e))?;
    Ok(debug_object::encode(&offsets, &elf))
}

/// Whether the ELF file is in big-endian byte order.
fn object_is_big(elf: &[u8]) -> bool {
    elf.get(5) == Some(&2)
}

fn add_symbol(object: &mut Object<'_>, text: SectionId, start: u64, len: usize, name: &str) {
    object.add_symbol(Symbol {
        // A null byte would end the name early.
        name: name.replace('\0', "?").into_bytes(),
        value: start,
        size: len as u64,
        kind: SymbolKind::Text,
        scope: SymbolScope::Compilation,
        weak: false,
        section: SymbolSection::Section(text),
        flags: SymbolFlags::None,
    });
}

/// The offsets in the file of all addresses of code.
fn addresses(elf: &[u8], sections: &[DebugSection]) -> object::Result<Vec<u32>> {
    let file = ElfFile64::<Endianness>::parse(elf)?;
    let endian = file.endian();
    let header = file.elf_header();
    let table = header.sections(endian, elf)?;
    let start = elf.as_ptr() as usize;
    let position = |field: *const u8| (field as usize - start) as u32;
    let mut offsets = Vec::new();
    for section in table.iter() {
        let name = table.section_name(endian, section)?;
        if name == b".text" {
            offsets.push(position((&raw const section.sh_addr).cast()));
        }
        let Some(described) = sections.iter().find(|s| s.name.as_bytes() == name) else {
            continue;
        };
        let base = section.sh_offset(endian) as u32;
        offsets.extend(described.addresses.iter().map(|at| base + at));
    }
    for symbol in table.symbols(endian, elf, elf::SHT_SYMTAB)?.iter() {
        if symbol.st_type() == elf::STT_FUNC {
            offsets.push(position((&raw const symbol.st_value).cast()));
        }
    }
    Ok(offsets)
}
