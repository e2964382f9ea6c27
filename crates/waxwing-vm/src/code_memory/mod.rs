//! [`CodeMemory`]: an artifact in memory, its code ready to run.
//!
//! Loading does work per section. What the sections hold is read where it lies, when it is asked for.

#[cfg(test)]
pub(crate) mod tests;

use std::fs::File;
use std::ops::Range;
use std::ptr::NonNull;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail, ensure};
use object::LittleEndian;
use object::elf::{self, FileHeader64};
use object::read::elf::{FileHeader, SectionHeader, SectionTable};
use waxwing_environ::address_map::AddressMap;
use waxwing_environ::artifact::debug_object::DebugObject;
use waxwing_environ::artifact::{
    ELF_ABI_VERSION, ELF_FLAGS_COMPONENT, ELF_FLAGS_MODULE, ELF_MACHINE_BYTECODE, ELF_OS_ABI,
    FunctionLoc, FunctionTable, SECTION_ADDRESS_MAP, SECTION_CHECK, SECTION_DATA,
    SECTION_DEBUG_OBJECT, SECTION_EH_FRAME, SECTION_ENGINE, SECTION_FUNCTIONS, SECTION_HANDLERS,
    SECTION_INFO, SECTION_INLINED, SECTION_NAMES, SECTION_STACK_MAPS, SECTION_TEXT, SECTION_TRAPS,
    checksum,
};
use waxwing_environ::call_sites::{Handlers, StackMaps};
use waxwing_environ::{FunctionNames, InlinedFunctions, Trap, TrapTable};

use crate::code_registry;
use crate::memory_image::ImageSource;
use crate::mmap::{Mmap, file_len, host_page_size, round_up_to_host_pages};
#[cfg(feature = "debugger")]
use crate::sys::debugger::DebuggerRegistration;
use crate::sys::unwind::UnwindRegistration;
use crate::sys::vm;

type Header = FileHeader64<LittleEndian>;

/// What is in every error about an artifact that cannot be used.
const REMEDY: &str = "compile the module again";

/// What an artifact was made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArtifactKind {
    /// A core module.
    Module,
    /// A component.
    Component,
}

/// Where in the artifact each section lies; empty if it is absent.
#[derive(Debug, Default)]
struct Sections {
    text: Range<usize>,
    engine: Range<usize>,
    info: Range<usize>,
    check: Range<usize>,
    functions: Range<usize>,
    traps: Range<usize>,
    address_map: Range<usize>,
    stack_maps: Range<usize>,
    handlers: Range<usize>,
    inlined: Range<usize>,
    names: Range<usize>,
    data: Range<usize>,
    eh_frame: Range<usize>,
    debug_object: Range<usize>,
}

/// An artifact in memory. Before it is [published](Self::publish) its code cannot run.
///
/// The lengths and offsets of sections and of the tables in them are checked when it is loaded. The
/// code itself is trusted, as [`publish`](Self::publish) says.
#[derive(Debug)]
pub struct CodeMemory {
    // Dropped before the memory that it describes is unmapped.
    unwind: Option<UnwindRegistration>,
    #[cfg(feature = "debugger")]
    debugger: Option<DebuggerRegistration>,
    published: bool,
    kind: ArtifactKind,
    is_bytecode: bool,
    sections: Sections,
    image: Image,
}

/// Where an artifact is.
#[derive(Debug)]
enum Image {
    /// In the first `len` bytes of a mapping, all of which is readable.
    Mapped { mmap: Mmap, len: usize },
    /// In a copy. `code` is empty at first, and then a mapping of the file's beginning, up to the end of what has to be
    /// where the code is: the text and the unwind information.
    Copied {
        bytes: Vec<u8>,
        file: Arc<File>,
        code: Mmap,
    },
}

impl Image {
    fn bytes(&self, range: &Range<usize>) -> &[u8] {
        match self {
            // SAFETY: the mapping is readable, and nobody writes to it: it is this value's own, or the caller of
            // `from_file` vouches for the file.
            Image::Mapped { mmap, .. } => unsafe { mmap.slice(range.clone()) },
            Image::Copied { bytes, .. } => &bytes[range.clone()],
        }
    }

    /// As [`Self::bytes`], of what has to be where the code is.
    fn code_bytes(&self, range: &Range<usize>) -> &[u8] {
        match self {
            // SAFETY: as above.
            Image::Copied { code, .. } if !code.is_empty() => unsafe { code.slice(range.clone()) },
            _ => self.bytes(range),
        }
    }

    fn len(&self) -> usize {
        match self {
            Image::Mapped { len, .. } => *len,
            Image::Copied { bytes, .. } => bytes.len(),
        }
    }

    fn file(&self) -> Option<&Arc<File>> {
        match self {
            Image::Mapped { mmap, .. } => mmap.file(),
            Image::Copied { file, .. } => Some(file),
        }
    }
}

impl CodeMemory {
    /// Copies an artifact to pages of its own.
    ///
    /// # Errors
    ///
    /// Fails if the bytes are no artifact of this version for this CPU, or memory is lacking.
    pub fn from_bytes(artifact: &[u8]) -> Result<CodeMemory> {
        // What is no artifact is not worth a copy.
        parse_header(artifact)?;
        let mut mmap = Mmap::with_at_least(artifact.len())
            .context("failed to allocate memory for machine code")?;
        // SAFETY: the new mapping is accessible and nobody else's, and read-only afterwards.
        unsafe {
            mmap.slice_mut(0..artifact.len()).copy_from_slice(artifact);
            mmap.make_readonly(0..mmap.len())?;
        }
        let len = artifact.len();
        CodeMemory::new(Image::Mapped { mmap, len })
    }

    /// Maps an artifact's file. Pages are read from it when they are first used, but for a small file, of which all but the
    /// code is read at once.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be mapped, or is no artifact of this version for this CPU.
    ///
    /// # Safety
    ///
    /// Nobody changes or truncates the file as long as the result exists.
    pub unsafe fn from_file(file: Arc<File>) -> Result<CodeMemory> {
        let len = file_len(&file)?;
        if len <= vm::MOST_TO_READ {
            let bytes = vm::read_file(&file, len).context("failed to read a file")?;
            let code = CodeMemory::new(Image::Copied {
                bytes,
                file: Arc::clone(&file),
                code: Mmap::empty(),
            })?;
            // Bytecode is data, and need not be mapped apart from the rest.
            if !code.is_bytecode {
                return Ok(code);
            }
        }
        let mmap = Mmap::from_file(file)?;
        let len = mmap.len();
        CodeMemory::new(Image::Mapped { mmap, len })
    }

    fn new(image: Image) -> Result<CodeMemory> {
        let (kind, is_bytecode, sections) = parse(image.bytes(&(0..image.len())))?;
        Ok(CodeMemory {
            unwind: None,
            #[cfg(feature = "debugger")]
            debugger: None,
            published: false,
            kind,
            is_bytecode,
            sections,
            image,
        })
    }

    /// Makes the code known to the fault handler and, if it is machine code, executable and, if the artifact describes it
    /// to them, known to native debuggers, until the last reference is dropped.
    ///
    /// With `branch_protection`, indirect branches may only land on instructions that allow it, on CPUs
    /// that can enforce it; the code must have been compiled for that.
    ///
    /// # Errors
    ///
    /// Fails if the system forbids executing such memory.
    ///
    /// # Safety
    ///
    /// The artifact is what the compiler made, unchanged, for an engine compatible with this one.
    pub unsafe fn publish(mut self, branch_protection: bool) -> Result<Arc<CodeMemory>> {
        let text = self.sections.text.clone();
        if text.is_empty() {
            return Ok(Arc::new(self));
        }
        if self.is_bytecode {
            // Code has its addresses in registers.
            self.text().as_ptr().expose_provenance();
            return Ok(self.register());
        }
        self.make_executable(branch_protection)?;
        if !self.sections.eh_frame.is_empty() {
            let unwind = UnwindRegistration::new(self.bytes(&self.sections.eh_frame))?;
            self.unwind = Some(unwind);
        }
        #[cfg(feature = "debugger")]
        if let Some(object) = DebugObject::new(self.bytes(&self.sections.debug_object)) {
            let elf = object.at(self.text_range().start as u64);
            self.debugger = Some(DebuggerRegistration::new(elf.into()));
        }
        Ok(self.register())
    }

    /// Makes published code known to the system's unwinder, if it is not. That is only needed when the code is going to run,
    /// and uses its pages.
    pub(crate) fn register_unwinding(&self) {
        if let Some(unwind) = &self.unwind {
            let section = self.image.code_bytes(&self.sections.eh_frame).as_ptr();
            // SAFETY: the section stays mapped as long as `self`, and the caller of `publish` vouched for it.
            unsafe { unwind.register(section) };
        }
    }

    fn make_executable(&mut self, branch_protection: bool) -> Result<()> {
        let text = self.sections.text.clone();
        // The compiler leaves what is neither code nor unwind information out of the pages of code, if they are not larger
        // than those that it knows of. On a host with larger pages, data of the same artifact may become executable with
        // them; all of it stays unwritable.
        let mmap = match &mut self.image {
            Image::Mapped { mmap, .. } => {
                let end = round_up_to_host_pages(text.end)?.min(mmap.len());
                // Before the text there is mostly nothing but the header of the ELF file. A range that begins with the
                // mapping is made executable in less time.
                let start = match text.start == host_page_size() {
                    true => 0,
                    false => text.start,
                };
                // SAFETY: the range is readable and nobody writes to it any more.
                unsafe { mmap.make_executable(start..end, branch_protection)? };
                mmap
            }
            Image::Copied { file, code, .. } => {
                let end = text.end.max(self.sections.eh_frame.end);
                *code = Mmap::code_from_file(Arc::clone(file), end, branch_protection)?;
                code
            }
        };
        // SAFETY: the text is readable.
        unsafe { mmap.synchronize_instructions(text) }
    }

    /// Makes known that code is at the addresses of the text.
    fn register(mut self) -> Arc<CodeMemory> {
        self.published = true;
        let code = Arc::new(self);
        code_registry::register(&code);
        code
    }

    fn bytes(&self, range: &Range<usize>) -> &[u8] {
        self.image.bytes(range)
    }

    /// What the artifact was made from.
    pub fn kind(&self) -> ArtifactKind {
        self.kind
    }

    /// Whether the code is bytecode.
    pub fn is_bytecode(&self) -> bool {
        self.is_bytecode
    }

    /// The whole artifact.
    pub fn image(&self) -> &[u8] {
        self.bytes(&(0..self.image.len()))
    }

    /// What of the artifact is mapped to where its code runs: at least that.
    pub fn mapped_image(&self) -> &[u8] {
        match &self.image {
            Image::Copied { code, .. } if !code.is_empty() => {
                self.image.code_bytes(&(0..code.len()))
            }
            _ => self.image(),
        }
    }

    /// The machine code.
    pub fn text(&self) -> &[u8] {
        self.image.code_bytes(&self.sections.text)
    }

    /// The addresses of the machine code.
    pub fn text_range(&self) -> Range<usize> {
        let text = self.text().as_ptr_range();
        text.start as usize..text.end as usize
    }

    /// The address of a function's code; `None` if the text does not contain it.
    pub fn code_address(&self, loc: FunctionLoc) -> Option<NonNull<u8>> {
        let start = loc.start as usize;
        let end = start.checked_add(loc.length as usize)?;
        NonNull::from(self.text().get(start..end)?)
            .cast::<u8>()
            .into()
    }

    /// The encoded [`ArtifactHeader`](waxwing_environ::artifact::ArtifactHeader).
    pub fn engine(&self) -> &[u8] {
        self.bytes(&self.sections.engine)
    }

    /// The encoded [`ArtifactInfo`](waxwing_environ::artifact::ArtifactInfo).
    pub fn info(&self) -> &[u8] {
        self.bytes(&self.sections.info)
    }

    /// Whether what is relied upon at run time, apart from the code, is as it was made: it has the checksum that the artifact
    /// says.
    pub fn is_intact(&self) -> bool {
        let sections = &self.sections;
        let checked = [
            &sections.engine,
            &sections.info,
            &sections.functions,
            &sections.eh_frame,
        ];
        let found = checksum(&checked.map(|section| self.bytes(section)));
        self.bytes(&sections.check) == found.to_le_bytes()
    }

    /// Where the functions and trampolines are.
    pub fn functions(&self) -> FunctionTable<'_> {
        FunctionTable::new(self.bytes(&self.sections.functions))
            .expect("checked when it was loaded")
    }

    /// Which instructions trap.
    pub fn traps(&self) -> TrapTable<'_> {
        TrapTable::new(self.bytes(&self.sections.traps)).expect("checked when it was loaded")
    }

    /// Why the instruction at this offset in the text traps, if it does.
    ///
    /// May be called in a signal handler.
    pub fn trap_at(&self, text_offset: usize) -> Option<Trap> {
        self.traps().lookup(u32::try_from(text_offset).ok()?)
    }

    /// From machine code to offsets in the wasm binary, if the artifact tells.
    pub fn address_map(&self) -> Option<AddressMap<'_>> {
        AddressMap::new(self.bytes(&self.sections.address_map))
    }

    /// Where frames hold references, if any do.
    pub fn stack_maps(&self) -> Option<StackMaps<'_>> {
        StackMaps::new(self.bytes(&self.sections.stack_maps))
    }

    /// The handlers of exceptions, if there are any.
    pub fn handlers(&self) -> Option<Handlers<'_>> {
        Handlers::new(self.bytes(&self.sections.handlers))
    }

    /// Which code is that of inlined functions, if there is any.
    pub fn inlined_functions(&self) -> Option<InlinedFunctions<'_>> {
        InlinedFunctions::new(self.bytes(&self.sections.inlined))
    }

    /// The names of functions, if the artifact tells.
    pub fn function_names(&self) -> Option<FunctionNames<'_>> {
        FunctionNames::new(self.bytes(&self.sections.names))
    }

    /// The contents of data segments and memory images; empty if the module has none.
    pub fn wasm_data(&self) -> &[u8] {
        self.bytes(&self.sections.data)
    }

    /// A part of [`Self::wasm_data`] as the source of a memory image: in the artifact's file if it was
    /// mapped and `force_copy` is not set, in memory otherwise. `None` if the range is out of bounds.
    pub fn image_source(&self, range: Range<usize>, force_copy: bool) -> Option<ImageSource<'_>> {
        let bytes = self.wasm_data().get(range.clone())?;
        Some(match self.image.file() {
            Some(file) if !force_copy => ImageSource::File {
                file,
                offset: (self.sections.data.start + range.start) as u64,
            },
            _ => ImageSource::Bytes(bytes),
        })
    }

    /// The contents of any section, such as one of debugging information.
    pub fn section(&self, name: &str) -> Option<&[u8]> {
        let image = self.image();
        let (header, table) = parse_header(image).ok()?;
        let endian = header.endian().ok()?;
        let (_, section) = table.section_by_name(endian, name.as_bytes())?;
        section.data(endian, image).ok()
    }
}

impl Drop for CodeMemory {
    fn drop(&mut self) {
        if self.published {
            code_registry::deregister(self);
        }
    }
}

/// Whether `bytes` begin like an artifact, of any version and for any CPU; and what of.
pub fn detect_artifact(bytes: &[u8]) -> Option<ArtifactKind> {
    let header = Header::parse(bytes).ok()?;
    (header.e_ident().os_abi.0 == ELF_OS_ABI).then_some(())?;
    kind(header, header.endian().ok()?)
}

fn kind(header: &Header, endian: LittleEndian) -> Option<ArtifactKind> {
    match header.e_flags(endian).0 {
        ELF_FLAGS_MODULE => Some(ArtifactKind::Module),
        ELF_FLAGS_COMPONENT => Some(ArtifactKind::Component),
        _ => None,
    }
}

fn parse_header(image: &[u8]) -> Result<(&Header, SectionTable<'_, Header>)> {
    let not_an_artifact = || {
        anyhow!(
            "these {:#x} bytes are not a precompiled artifact: no such ELF header",
            image.len()
        )
    };
    if let Some((ident, _)) = image.split_first_chunk::<8>()
        && ident.starts_with(&elf::ELFMAG)
        && ident[5] == elf::ELFDATA2MSB.0
        && ident[7] == ELF_OS_ABI
    {
        bail!(
            "the artifact holds code for a big-endian CPU, this CPU is {}; compile the module for it",
            std::env::consts::ARCH
        );
    }
    let header = Header::parse(image).map_err(|_| not_an_artifact())?;
    let endian = header.endian().map_err(|_| not_an_artifact())?;
    let ident = header.e_ident();
    ensure!(
        ident.os_abi.0 == ELF_OS_ABI && kind(header, endian).is_some(),
        not_an_artifact()
    );
    ensure!(
        ident.abi_version == ELF_ABI_VERSION,
        "the artifact has format version {}, this engine needs {ELF_ABI_VERSION}; {REMEDY}",
        ident.abi_version,
    );
    let machine = header.e_machine(endian);
    if machine.0 == ELF_MACHINE_BYTECODE {
        ensure!(
            cfg!(feature = "pulley"),
            "the artifact holds bytecode, for which this engine has no interpreter: build it with the Cargo feature \
             `pulley`, or compile the module for this CPU"
        );
    } else {
        let host = match std::env::consts::ARCH {
            "x86_64" => elf::EM_X86_64,
            "aarch64" => elf::EM_AARCH64,
            other => bail!("machine code cannot run on {other}; compile the module for `pulley64`"),
        };
        ensure!(
            machine == host,
            "the artifact holds code for the ELF machine {}, this CPU is {} ({}); compile the module for it",
            machine.0,
            host.0,
            std::env::consts::ARCH,
        );
    }
    let table = header
        .sections(endian, image)
        .map_err(|error| anyhow!("the artifact's section table is damaged: {error}; {REMEDY}"))?;
    Ok((header, table))
}

fn parse(image: &[u8]) -> Result<(ArtifactKind, bool, Sections)> {
    let (header, table) = parse_header(image)?;
    let endian = LittleEndian;
    let kind = kind(header, endian).expect("checked by `parse_header`");
    let is_bytecode = header.e_machine(endian).0 == ELF_MACHINE_BYTECODE;
    let mut sections = Sections::default();
    let mut wanted = [
        (SECTION_TEXT, &mut sections.text, false),
        (SECTION_ENGINE, &mut sections.engine, false),
        (SECTION_INFO, &mut sections.info, false),
        (SECTION_FUNCTIONS, &mut sections.functions, false),
        (SECTION_TRAPS, &mut sections.traps, false),
        (SECTION_CHECK, &mut sections.check, false),
        (SECTION_ADDRESS_MAP, &mut sections.address_map, false),
        (SECTION_STACK_MAPS, &mut sections.stack_maps, false),
        (SECTION_HANDLERS, &mut sections.handlers, false),
        (SECTION_INLINED, &mut sections.inlined, false),
        (SECTION_NAMES, &mut sections.names, false),
        (SECTION_DATA, &mut sections.data, false),
        (SECTION_EH_FRAME, &mut sections.eh_frame, false),
        (SECTION_DEBUG_OBJECT, &mut sections.debug_object, false),
    ];
    for (index, section) in table.enumerate() {
        let damaged =
            |error| anyhow!("section {index} of the artifact is damaged: {error}; {REMEDY}");
        let name = table.section_name(endian, section).map_err(damaged)?;
        let Some((name, range, seen)) = wanted.iter_mut().find(|(n, ..)| n.as_bytes() == name)
        else {
            continue;
        };
        ensure!(!*seen, "the artifact has two sections `{name}`; {REMEDY}");
        *seen = true;
        let data = section.data(endian, image).map_err(damaged)?;
        if !data.is_empty() {
            let start = section.sh_offset(endian) as usize;
            **range = start..start + data.len();
        }
    }
    for (name, _, seen) in &wanted[..5] {
        ensure!(*seen, "the artifact has no section `{name}`; {REMEDY}");
    }

    type Fits = fn(&[u8]) -> bool;
    let required: [(&str, &Range<usize>, Fits); 2] = [
        (SECTION_FUNCTIONS, &sections.functions, |bytes| {
            FunctionTable::new(bytes).is_some()
        }),
        (SECTION_TRAPS, &sections.traps, |bytes| {
            TrapTable::new(bytes).is_some()
        }),
    ];
    let optional: [(&str, &Range<usize>, Fits); 6] = [
        (SECTION_ADDRESS_MAP, &sections.address_map, |bytes| {
            AddressMap::new(bytes).is_some()
        }),
        (SECTION_STACK_MAPS, &sections.stack_maps, |bytes| {
            StackMaps::new(bytes).is_some()
        }),
        (SECTION_HANDLERS, &sections.handlers, |bytes| {
            Handlers::new(bytes).is_some()
        }),
        (SECTION_INLINED, &sections.inlined, |bytes| {
            InlinedFunctions::new(bytes).is_some()
        }),
        (SECTION_NAMES, &sections.names, |bytes| {
            FunctionNames::new(bytes).is_some()
        }),
        (SECTION_DEBUG_OBJECT, &sections.debug_object, |bytes| {
            DebugObject::new(bytes).is_some()
        }),
    ];
    let optional = optional
        .into_iter()
        .filter(|(_, range, _)| !range.is_empty());
    for (name, range, fits) in required.into_iter().chain(optional) {
        ensure!(
            fits(&image[range.clone()]),
            "section `{name}` of the artifact is damaged: its length does not fit its counts; {REMEDY}"
        );
    }

    let page = host_page_size();
    for (name, range) in [
        (SECTION_TEXT, &sections.text),
        (SECTION_DATA, &sections.data),
    ] {
        ensure!(
            range.start.is_multiple_of(page),
            "section `{name}` of the artifact begins at {:#x}, which is no multiple of the page size \
             {page:#x}; {REMEDY}",
            range.start,
        );
    }
    Ok((kind, is_bytecode, sections))
}
