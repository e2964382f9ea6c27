//! DWARF packages: the debugging information that compilers write with `-gsplit-dwarf`, of all objects of a program.

use crate::Result;
use anyhow::{Context, bail, ensure};
use object::Endianness;
use object::read::elf::{FileHeader, SectionHeader};
use std::borrow::Cow;
use std::path::{Path, PathBuf};
use wasmparser::{Parser, Payload};

/// The sections of a package that are of use, by name.
pub(super) type Sections<'a> = Vec<(String, Cow<'a, [u8]>)>;

fn is_wanted(name: &str) -> bool {
    let is_index = [".debug_cu_index", ".debug_tu_index"].contains(&name);
    is_index || (name.starts_with(".debug_") && name.ends_with(".dwo"))
}

/// The sections of a package, which is an ELF file or has the form of a WebAssembly module.
///
/// # Errors
///
/// Fails if the bytes are neither, or are damaged.
pub(super) fn sections(bytes: &[u8]) -> Result<Sections<'_>> {
    let sections = if Parser::is_core_wasm(bytes) {
        wasm_sections(bytes)
    } else if bytes.starts_with(b"\x7fELF\x01") {
        elf_sections::<object::elf::FileHeader32<Endianness>>(bytes)
    } else if bytes.starts_with(b"\x7fELF\x02") {
        elf_sections::<object::elf::FileHeader64<Endianness>>(bytes)
    } else {
        bail!("these bytes are no DWARF package: neither an ELF file nor in the form of a module");
    };
    let sections = sections.context("the DWARF package is damaged")?;
    ensure!(
        sections.iter().any(|(name, _)| name == ".debug_cu_index"),
        "these bytes are no DWARF package: there is no section `.debug_cu_index`; `llvm-dwp` makes packages"
    );
    Ok(sections)
}

fn wasm_sections(bytes: &[u8]) -> Result<Sections<'_>> {
    let mut sections = Vec::new();
    for payload in Parser::new(0).parse_all(bytes) {
        if let Payload::CustomSection(section) = payload?
            && is_wanted(section.name())
        {
            sections.push((section.name().to_string(), section.data().into()));
        }
    }
    Ok(sections)
}

fn elf_sections<H: FileHeader<Endian = Endianness>>(bytes: &[u8]) -> Result<Sections<'_>> {
    let header = H::parse(bytes)?;
    let endian = header.endian()?;
    ensure!(endian == Endianness::Little, "it is big-endian");
    let table = header.sections(endian, bytes)?;
    let mut sections = Vec::new();
    for section in table.iter() {
        let Ok(name) = std::str::from_utf8(table.section_name(endian, section)?) else {
            continue;
        };
        if is_wanted(name) {
            ensure!(
                section.compression(endian, bytes)?.is_none(),
                "the section `{name}` is compressed, which is not supported"
            );
            sections.push((name.to_string(), section.data(endian, bytes)?.into()));
        }
    }
    Ok(sections)
}

/// The package that lies beside a module's file, if there is one: `app.dwp` or `app.wasm.dwp` beside `app.wasm`.
pub(super) fn beside(wasm: &Path) -> Option<(PathBuf, Vec<u8>)> {
    let mut longer = wasm.as_os_str().to_os_string();
    longer.push(".dwp");
    [wasm.with_extension("dwp"), longer.into()]
        .into_iter()
        .filter(|path| path != wasm)
        .find_map(|path| {
            let bytes = std::fs::read(&path).ok()?;
            Some((path, bytes))
        })
}
