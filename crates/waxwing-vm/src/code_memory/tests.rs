use super::*;
use object::write::{Object, StandardSegment};
use object::{Architecture, BinaryFormat, Endianness, FileFlags, SectionKind};
use waxwing_environ::artifact::FunctionTableBuilder;
#[cfg(all(target_os = "linux", feature = "debugger"))]
use waxwing_environ::artifact::debug_object;
use waxwing_environ::{PrimaryMap, encode_function_names, encode_traps};

/// Unwind information for code whose frames are all addressed by rbp: a common information entry,
/// one frame description for all of the text, and the end.
///
/// `text_distance` is what has to be added to the section's address to get the text's.
fn eh_frame(text_distance: i32, text_len: usize) -> Vec<u8> {
    let mut section = Vec::new();
    let mut entry = |body: &[u8]| {
        let len = body.len().next_multiple_of(4);
        section.extend_from_slice(&(len as u32).to_ne_bytes());
        section.extend_from_slice(body);
        // Padding is instructions that do nothing.
        section.resize(section.len() + len - body.len(), 0);
        section.len()
    };
    let second = entry(&[
        0, 0, 0, 0, // this is a common information entry
        1, b'z', b'R', 0, // version, augmentation
        1, 0x78, 16, // code and data alignment, return address register
        1, 0x1b, // addresses are relative, 32 bits
        0x0c, 6, 16, // the frame's address is rbp + 16
        0x86, 2, // rbp is saved 16 bytes below
        0x90, 1, // the return address 8 bytes below
    ]);
    let mut description = (second as u32 + 4).to_ne_bytes().to_vec();
    description.extend((text_distance - (second as i32 + 8)).to_ne_bytes());
    description.extend((text_len as u32).to_ne_bytes());
    description.push(0);
    entry(&description);
    section.extend([0; 4]);
    section
}

/// An artifact with this code and these traps.
pub(crate) fn artifact(text: &[u8], traps: &[(u32, Trap)]) -> Vec<u8> {
    let functions = FunctionTableBuilder::default().finish(&PrimaryMap::new());
    artifact_of(text, traps, &functions, b"data")
}

/// An artifact of these sections, and an eh_frame of one empty list.
pub(crate) fn artifact_of(
    text: &[u8],
    traps: &[(u32, Trap)],
    functions: &[u8],
    data: &[u8],
) -> Vec<u8> {
    artifact_with(text, traps, functions, data, &[])
}

/// As [`artifact_of`], with further sections.
fn artifact_with(
    text: &[u8],
    traps: &[(u32, Trap)],
    functions: &[u8],
    data: &[u8],
    further: &[(&str, &[u8])],
) -> Vec<u8> {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => Architecture::X86_64,
        _ => Architecture::Aarch64,
    };
    let mut object = Object::new(BinaryFormat::Elf, architecture, Endianness::Little);
    object.flags = FileFlags::Elf {
        os_abi: elf::OsAbi(ELF_OS_ABI),
        abi_version: ELF_ABI_VERSION,
        e_flags: elf::FileFlags(ELF_FLAGS_MODULE),
    };
    let page = host_page_size() as u64;
    let mut section = |name: &str, kind, data: &[u8], align| {
        let segment = object.segment_name(StandardSegment::Data).to_vec();
        let id = object.add_section(segment, name.into(), kind);
        object.append_section_data(id, data, align);
    };
    section(SECTION_TEXT, SectionKind::Text, text, page);
    section(SECTION_ENGINE, SectionKind::ReadOnlyData, b"engine", 1);
    section(SECTION_INFO, SectionKind::ReadOnlyData, b"info", 1);
    section(SECTION_FUNCTIONS, SectionKind::ReadOnlyData, functions, 4);
    section(
        SECTION_TRAPS,
        SectionKind::ReadOnlyData,
        &encode_traps(traps),
        4,
    );
    section(
        SECTION_NAMES,
        SectionKind::ReadOnlyData,
        &encode_function_names(&[]),
        4,
    );
    section(SECTION_DATA, SectionKind::ReadOnlyData, data, page);
    section(".debug_line", SectionKind::ReadOnlyData, b"lines", 1);
    for (name, bytes) in further {
        section(name, SectionKind::ReadOnlyData, bytes, 8);
    }
    let unwind = eh_frame(0, text.len());
    section(SECTION_EH_FRAME, SectionKind::ReadOnlyData, &unwind, 8);
    let mut bytes = object.write().expect("a valid object");

    // Where the sections are is known only once they are written.
    let (_, _, sections) = parse(&bytes).expect("a valid artifact");
    let distance = sections.text.start as i32 - sections.eh_frame.start as i32;
    bytes[sections.eh_frame].copy_from_slice(&eh_frame(distance, text.len()));
    bytes
}

/// Pseudo-random numbers that are the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }
}

fn read_everything(code: &CodeMemory) {
    for offset in [0, 1, usize::MAX] {
        code.trap_at(offset);
    }
    code.traps().iter().count();
    code.address_map().map(|map| map.iter().count());
    let functions = code.functions();
    functions.escaped().count();
    functions.find(0);
    for start in [0, u32::MAX] {
        code.code_address(FunctionLoc { start, length: 1 });
    }
    code.image_source(0..1, false);
    code.section(".debug_line");
    assert!(code.engine().len() + code.info().len() < code.image().len());
}

#[test]
fn sections_are_found() {
    let bytes = artifact(&[0xc3; 100], &[(7, Trap::NullReference)]);
    assert_eq!(detect_artifact(&bytes), Some(ArtifactKind::Module));
    let code = CodeMemory::from_bytes(&bytes).unwrap();
    assert_eq!(code.kind(), ArtifactKind::Module);
    assert_eq!(code.text(), [0xc3; 100]);
    assert_eq!(code.text_range().len(), 100);
    assert_eq!((code.engine(), code.info()), (&b"engine"[..], &b"info"[..]));
    assert_eq!(code.wasm_data(), b"data");
    assert_eq!(code.trap_at(7), Some(Trap::NullReference));
    assert_eq!(code.trap_at(8), None);
    assert_eq!(code.section(".debug_line"), Some(&b"lines"[..]));
    assert_eq!(code.section(".debug_str"), None);
    assert!(code.address_map().is_none());
    assert!(code.function_names().is_some());
    let at = |start, length| code.code_address(FunctionLoc { start, length });
    assert_eq!(
        at(3, 97).unwrap().as_ptr() as usize,
        code.text_range().start + 3
    );
    assert_eq!(at(3, 98), None);
    assert!(matches!(
        code.image_source(1..4, false),
        Some(ImageSource::Bytes(b"ata"))
    ));
    assert!(code.image_source(1..5, false).is_none());
    assert_eq!(code.image(), bytes);
    read_everything(&code);
}

#[test]
fn published_code_is_registered_until_it_is_dropped() {
    let bytes = artifact(&[0xc3; 100], &[]);
    // SAFETY: nobody runs the code.
    let code = unsafe { CodeMemory::from_bytes(&bytes).unwrap().publish(false) }.unwrap();
    let pc = code.text_range().start + 99;
    let (found, offset) = code_registry::lookup(pc).unwrap();
    assert!(Arc::ptr_eq(&found, &code));
    assert_eq!(offset, 99);
    assert!(code_registry::lookup(pc + 1).is_none());
    drop((found, code));
    assert!(code_registry::lookup(pc).is_none());
}

#[cfg(all(target_os = "linux", feature = "debugger"))]
#[test]
fn debuggers_know_published_code() {
    // An object with one address: the text's own.
    let object = debug_object::encode(&[0], &[0; 16]);
    let sections = [(SECTION_DEBUG_OBJECT, &object[..])];
    let functions = FunctionTableBuilder::default().finish(&PrimaryMap::new());
    let bytes = artifact_with(&[0xc3; 100], &[], &functions, b"data", &sections);
    let is_known = |at: usize| {
        let files = crate::sys::debugger::tests::listed();
        let address = (at as u64).to_ne_bytes();
        files.iter().any(|file| file.starts_with(&address))
    };
    let load = || CodeMemory::from_bytes(&bytes).unwrap();
    let unpublished = load();
    assert!(!is_known(unpublished.text_range().start));
    // SAFETY: nobody runs the code.
    let code = unsafe { load().publish(false) }.unwrap();
    let at = code.text_range().start;
    assert!(is_known(at));
    drop(code);
    assert!(!is_known(at));
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[test]
fn the_systems_unwinder_knows_published_code() {
    #[repr(C)]
    struct Bases([usize; 3]);
    unsafe extern "C" {
        fn _Unwind_Find_FDE(pc: usize, bases: *mut Bases) -> *const u8;
    }
    let describes = |pc: usize| {
        let mut bases = Bases([0; 3]);
        // SAFETY: the result is written to `bases`.
        let found = unsafe { !_Unwind_Find_FDE(pc, &mut bases).is_null() };
        found.then_some(bases.0[2])
    };
    let bytes = artifact(&[0xc3; 100], &[]);
    // SAFETY: nobody runs the code.
    let code = unsafe { CodeMemory::from_bytes(&bytes).unwrap().publish(false) }.unwrap();
    let text = code.text_range();
    assert_eq!(describes(text.start + 50), None);
    for _ in 0..2 {
        code.register_unwinding();
        assert_eq!(describes(text.start + 50), Some(text.start));
    }
    assert_eq!(describes(text.end + 1), None);
    drop(code);
    assert_eq!(describes(text.start + 50), None);
}

#[test]
fn files_are_used_in_place() {
    // A file that is read where that is faster, and one that is mapped.
    for len in [100, 100_000] {
        let path = std::env::temp_dir().join(format!("waxwing-code-{}", std::process::id()));
        let bytes = artifact(&vec![0xc3; len], &[(7, Trap::NullReference)]);
        std::fs::write(&path, &bytes).unwrap();
        let file = Arc::new(File::open(&path).unwrap());
        std::fs::remove_file(&path).unwrap();
        // SAFETY: the file has no name any more.
        let unpublished = unsafe { CodeMemory::from_file(file).unwrap() };
        assert_eq!(unpublished.text(), vec![0xc3; len]);
        read_everything(&unpublished);
        // SAFETY: the code does not run.
        let code = unsafe { unpublished.publish(false) }.unwrap();
        code.register_unwinding();
        assert_eq!(code.text(), vec![0xc3; len]);
        assert_eq!(code.text_range().start, code.text().as_ptr() as usize);
        assert!(
            code.mapped_image()
                .as_ptr_range()
                .contains(&code.text().as_ptr())
        );
        assert_eq!(code.image(), bytes);
        assert_eq!(code.wasm_data(), b"data");
        assert_eq!(code.trap_at(7), Some(Trap::NullReference));
        let source = code.image_source(0..4, false);
        if cfg!(unix) {
            let page = host_page_size() as u64;
            assert!(matches!(source, Some(ImageSource::File { offset, .. }) if offset % page == 0));
        }
        assert!(matches!(
            code.image_source(0..4, true),
            Some(ImageSource::Bytes(b"data"))
        ));
    }
}

#[test]
fn damaged_artifacts_are_errors_or_harmless() {
    let good = artifact(
        &[0xc3; 100],
        &[(7, Trap::NullReference), (9, Trap::StackOverflow)],
    );
    let load = |bytes: &[u8]| {
        if let Ok(code) = CodeMemory::from_bytes(bytes) {
            read_everything(&code);
        }
    };
    for len in (0..200).chain((200..good.len()).step_by(97)) {
        assert!(
            CodeMemory::from_bytes(&good[..len]).is_err(),
            "length {len}"
        );
    }
    // Damage concentrates on the headers, where it matters: text and padding are most bytes.
    let interesting: Vec<usize> = (0..good.len())
        .filter(|&at| at < 64 || at + 2048 > good.len() || good[at] != 0)
        .collect();
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for _ in 0..4000 {
        let mut bad = good.clone();
        for _ in 0..1 + random.below(4) {
            let at = interesting[random.below(interesting.len())];
            bad[at] = match random.below(3) {
                0 => bad[at] ^ (1 << random.below(8)),
                1 => 0xff,
                _ => random.below(256) as u8,
            };
        }
        load(&bad);
    }
    for len in [1, 16, 63, 64, 65, 4096] {
        let garbage: Vec<u8> = (0..len).map(|_| random.below(256) as u8).collect();
        assert!(CodeMemory::from_bytes(&garbage).is_err());
        assert_eq!(detect_artifact(&garbage), None);
    }
}

#[test]
fn foreign_artifacts_are_refused_by_name() {
    let good = artifact(&[0xc3], &[]);
    let refusal = |at: usize, value: u8| {
        let mut bad = good.clone();
        bad[at] = value;
        format!("{:#}", CodeMemory::from_bytes(&bad).unwrap_err())
    };
    assert!(refusal(7, 0).contains("not a precompiled artifact"));
    assert!(refusal(8, 99).contains("format version 99"));
    assert!(refusal(18, 8).contains("ELF machine 8"));
    assert!(refusal(48, 9).contains("not a precompiled artifact"));
}
