//! The text section, and how references in it are numbered.

use cranelift_codegen::binemit::Reloc;
use cranelift_codegen::isa::TargetIsa;
use cranelift_control::ControlPlane;
use waxwing_environ::compile;

/// The forms of references between functions; `Relocation::kind` is the index.
const KINDS: [Reloc; 5] = [
    Reloc::X86CallPCRel4,
    Reloc::Arm64Call,
    Reloc::RiscvCallPlt,
    Reloc::S390xPLTRel32Dbl,
    Reloc::PulleyPcRel,
];

/// The number of a form of reference.
pub(crate) fn relocation_kind(reloc: Reloc) -> Option<u8> {
    KINDS
        .iter()
        .position(|kind| *kind == reloc)
        .map(|i| i as u8)
}

/// Cranelift's builder of a text section, in the contract's terms.
pub(crate) struct TextBuilder {
    inner: Box<dyn cranelift_codegen::TextSectionBuilder>,
    control: ControlPlane,
}

impl TextBuilder {
    pub(crate) fn new(isa: &dyn TargetIsa, labels: usize) -> Self {
        TextBuilder {
            inner: isa.text_section_builder(labels),
            control: ControlPlane::default(),
        }
    }
}

impl compile::TextBuilder for TextBuilder {
    fn append(&mut self, code: &[u8], alignment: u32, displacement: u32) -> u64 {
        if displacement > 0 {
            let padding = vec![0; displacement as usize];
            self.inner
                .append(false, &padding, alignment, &mut self.control);
            return self.inner.append(true, code, 1, &mut self.control);
        }
        self.inner.append(true, code, alignment, &mut self.control)
    }

    fn resolve(&mut self, offset: u64, kind: u8, addend: i64, target: usize) -> bool {
        match KINDS.get(usize::from(kind)) {
            Some(reloc) => self.inner.resolve_reloc(offset, *reloc, addend, target),
            None => false,
        }
    }

    fn finish(&mut self) -> Vec<u8> {
        self.inner.finish(&mut self.control)
    }
}
