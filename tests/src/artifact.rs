//! Artifacts as damage finds them.

use object::{Object, ObjectSection};

/// Where `artifact` may be damaged: everywhere but in machine code, which nothing could check.
///
/// # Panics
///
/// When `artifact` is not one.
pub fn outside_text(artifact: &[u8]) -> Vec<usize> {
    let file = object::File::parse(artifact).expect("artifacts are ELF files");
    let (start, len) = file
        .section_by_name(".text")
        .and_then(|section| section.file_range())
        .expect("artifacts have machine code");
    (0..artifact.len())
        .filter(|at| !(start..start + len).contains(&(*at as u64)))
        .collect()
}

/// Whether `artifact` has a section.
///
/// # Panics
///
/// When `artifact` is not one.
pub fn has_section(artifact: &[u8], name: &str) -> bool {
    let file = object::File::parse(artifact).expect("artifacts are ELF files");
    file.section_by_name(name).is_some()
}
