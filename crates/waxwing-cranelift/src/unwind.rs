//! Unwind information as the contents of `.eh_frame`.

use cranelift_codegen::ir::Endianness;
use cranelift_codegen::isa::TargetIsa;
use cranelift_codegen::isa::unwind::UnwindInfo;
use gimli::write::{Address, CommonInformationEntry, EhFrame, EndianVec, FrameTable};
use gimli::{DW_EH_PE_pcrel, DW_EH_PE_sdata8, DwEhPe, RunTimeEndian};
use waxwing_environ::compile::{CompileError, CompiledFunction};

/// Writes the unwind information of `functions`, for a section `text_len` bytes after the start
/// of their text section. `None` when the target has another form of unwind information.
pub(crate) fn eh_frame(
    isa: &dyn TargetIsa,
    text_len: u64,
    functions: &[(u64, &CompiledFunction)],
) -> Result<Option<Vec<u8>>, CompileError> {
    let Some(mut cie) = isa.create_systemv_cie() else {
        return Ok(None);
    };
    cie.fde_address_encoding = DwEhPe(DW_EH_PE_pcrel.0 | DW_EH_PE_sdata8.0);
    // Relative to the section, which the writer then makes relative to the place of the address itself.
    let table = table(cie, functions, |offset| {
        Address::Constant(offset.wrapping_sub(text_len))
    });
    if table.fde_count() == 0 {
        return Ok(None);
    }
    let mut section = EhFrame(EndianVec::new(endian(isa)));
    table.write_eh_frame(&mut section).map_err(|error| {
        CompileError::Codegen(format!("failed to write unwind information: {error}"))
    })?;
    let mut bytes = section.0.into_vec();
    // An empty entry ends the list for those who register it by its address alone.
    bytes.extend_from_slice(&[0; 4]);
    Ok(Some(bytes))
}

/// The frame descriptions of `functions`, each at the address that belongs to its text offset.
pub(crate) fn table(
    cie: CommonInformationEntry,
    functions: &[(u64, &CompiledFunction)],
    address: impl Fn(u64) -> Address,
) -> FrameTable {
    let mut table = FrameTable::default();
    let cie = table.add_cie(cie);
    for (offset, function) in functions {
        let info = function
            .unwind
            .as_deref()
            .and_then(|info| info.downcast_ref());
        if let Some(UnwindInfo::SystemV(info)) = info {
            table.add_fde(cie, info.to_fde(address(*offset)));
        }
    }
    table
}

/// The byte order of the target.
pub(crate) fn endian(isa: &dyn TargetIsa) -> RunTimeEndian {
    match isa.endianness() {
        Endianness::Little => RunTimeEndian::Little,
        Endianness::Big => RunTimeEndian::Big,
    }
}
