//! Sections that are being written, and where addresses of code are in them.

use gimli::RunTimeEndian;
use gimli::write::{Address, EndianVec, RelocateWriter, Relocation, RelocationTarget, Writer};
use waxwing_environ::compile::DebugSection;

/// The only symbol: the start of the text.
const TEXT: usize = 0;

/// The address of the code at an offset in the text.
pub(super) fn code_address(text_offset: u64) -> Address {
    Address::Symbol {
        symbol: TEXT,
        addend: text_offset as i64,
    }
}

#[derive(Clone)]
pub(super) struct SectionWriter {
    bytes: EndianVec<RunTimeEndian>,
    relocations: Vec<Relocation>,
}

impl SectionWriter {
    pub(super) fn new(endian: RunTimeEndian) -> Self {
        SectionWriter {
            bytes: EndianVec::new(endian),
            relocations: Vec::new(),
        }
    }

    /// The section, with everything resolved as if the text were at address zero; `None` if it is empty.
    pub(super) fn finish(&self, name: &'static str) -> Option<DebugSection> {
        if self.bytes.slice().is_empty() {
            return None;
        }
        let mut bytes = self.bytes.clone();
        let mut addresses = Vec::new();
        for relocation in &self.relocations {
            bytes
                .write_udata_at(relocation.offset, relocation.addend as u64, relocation.size)
                .ok()?;
            if matches!(relocation.target, RelocationTarget::Symbol(_)) {
                addresses.push(u32::try_from(relocation.offset).ok()?);
            }
        }
        Some(DebugSection {
            name,
            data: bytes.into_vec(),
            addresses,
        })
    }
}

impl RelocateWriter for SectionWriter {
    type Writer = EndianVec<RunTimeEndian>;

    fn writer(&self) -> &Self::Writer {
        &self.bytes
    }

    fn writer_mut(&mut self) -> &mut Self::Writer {
        &mut self.bytes
    }

    fn relocate(&mut self, relocation: Relocation) {
        self.relocations.push(relocation);
    }
}
