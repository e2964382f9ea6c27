//! Random valid modules.

use crate::objects::Audience;
use crate::rng::Rng;
use anyhow::{Context, Result};
use arbitrary::Unstructured;
use wasm_encoder::{ExportKind, ExportSection, RawSection};
use wasm_smith::{Config, Module};
use wasmparser::{ExternalKind, Parser, Payload, TypeRef};

/// The export under which [`terminating`] gives access to a module's fuel, an `i32` global that
/// every call and loop iteration decrements and whose exhaustion is an `unreachable` trap.
pub const FUEL_EXPORT: &str = "waxwing tests: fuel";

/// The fuel that a module starts with, and that each call is given.
pub const FUEL: u32 = 600;

/// What a module may use such that both Waxwing and wasmi can run it with the same results:
/// deterministic, and small enough that neither meets a limit of its own.
fn comparable(rng: &mut Rng) -> Config {
    let mut config = Config {
        min_types: rng.below(8),
        min_imports: rng.below(4),
        min_funcs: 1 + rng.below(12),
        max_funcs: 24,
        min_globals: rng.below(8),
        min_memories: rng.below(2) as u32,
        min_tables: rng.below(2) as u32,
        min_data_segments: rng.below(3),
        min_element_segments: rng.below(3),
        min_exports: 1 + rng.below(16),
        max_exports: 48,
        export_everything: !rng.one_in(3),
        max_imports: 12,
        max_types: 24,
        max_globals: 16,
        max_instructions: *rng.choose(&[40, 200, 800]),
        max_memories: if rng.one_in(3) { 4 } else { 1 },
        max_tables: if rng.one_in(3) { 4 } else { 1 },
        max_memory32_bytes: 12 << 16,
        max_memory64_bytes: 12 << 16,
        memory_max_size_required: rng.one_in(2),
        max_table_elements: 500,
        table_max_size_required: rng.one_in(2),
        max_data_segments: 8,
        max_element_segments: 8,
        canonicalize_nans: true,
        disallow_traps: rng.one_in(3),
        bulk_memory_enabled: !rng.one_in(8),
        extended_const_enabled: !rng.one_in(4),
        multi_value_enabled: !rng.one_in(6),
        reference_types_enabled: !rng.one_in(6),
        saturating_float_to_int_enabled: !rng.one_in(8),
        sign_extension_ops_enabled: !rng.one_in(8),
        simd_enabled: !rng.one_in(3),
        tail_call_enabled: !rng.one_in(3),
        memory64_enabled: rng.one_in(3),
        custom_page_sizes_enabled: rng.one_in(4),
        wide_arithmetic_enabled: rng.one_in(2),
        allow_start_export: rng.one_in(2),
        generate_custom_sections: rng.one_in(8),
        ..Config::default()
    };
    if !config.reference_types_enabled {
        config.max_tables = 1;
    }
    // What wasmi does not have.
    config.gc_enabled = false;
    config.exceptions_enabled = false;
    config.threads_enabled = false;
    without_later_proposals(&mut config);
    config.relaxed_simd_enabled = false;
    config
}

/// Switches off what the engine does not support.
fn without_later_proposals(config: &mut Config) {
    config.shared_everything_threads_enabled = false;
    config.acquire_release_atomics_enabled = false;
    config.multibyte_array_access_enabled = false;
    config.custom_descriptors_enabled = false;
    config.compact_imports_enabled = false;
}

/// What a module full of references to objects may use. It has no imports, and every growth of its
/// memories and tables is within bounds that the module itself sets.
fn with_objects(rng: &mut Rng, audience: Audience) -> Config {
    let script = audience == Audience::JavaScript;
    Config {
        min_types: 4 + rng.below(12),
        max_types: 32,
        max_type_size: 200,
        max_imports: 0,
        min_imports: 0,
        min_funcs: 2 + rng.below(12),
        max_funcs: 24,
        min_globals: 2 + rng.below(8),
        max_globals: 16,
        min_tags: rng.below(4),
        max_tags: 8,
        min_memories: rng.below(2) as u32,
        max_memories: if rng.one_in(3) { 3 } else { 1 },
        min_tables: rng.below(3) as u32,
        max_tables: 4,
        min_data_segments: rng.below(3),
        max_data_segments: 6,
        min_element_segments: rng.below(4),
        max_element_segments: 8,
        max_elements: 60,
        export_everything: true,
        max_exports: 80,
        max_instructions: *rng.choose(&[60, 200, 600]),
        max_memory32_bytes: 12 << 16,
        max_memory64_bytes: 12 << 16,
        memory_max_size_required: true,
        max_table_elements: 200,
        table_max_size_required: true,
        limit_arrays_in_const_exprs: true,
        canonicalize_nans: true,
        disallow_traps: !rng.one_in(3),
        bulk_memory_enabled: true,
        reference_types_enabled: true,
        multi_value_enabled: true,
        sign_extension_ops_enabled: true,
        saturating_float_to_int_enabled: true,
        extended_const_enabled: true,
        gc_enabled: true,
        exceptions_enabled: !rng.one_in(4),
        memory64_enabled: rng.one_in(2),
        simd_enabled: rng.one_in(4),
        tail_call_enabled: !rng.one_in(4),
        wide_arithmetic_enabled: !script && rng.one_in(3),
        allow_start_export: rng.one_in(4),
        generate_custom_sections: false,
        relaxed_simd_enabled: false,
        threads_enabled: false,
        shared_everything_threads_enabled: false,
        acquire_release_atomics_enabled: false,
        multibyte_array_access_enabled: false,
        custom_page_sizes_enabled: !script && rng.one_in(4),
        custom_descriptors_enabled: false,
        compact_imports_enabled: false,
        ..Config::default()
    }
}

/// The module of `seed` that makes and passes around objects, typed functions and exceptions.
/// Every function terminates. It is for engines that `audience` has.
///
/// # Panics
///
/// When no module can be made, which seeds do not cause.
pub fn objects(seed: u64, audience: Audience) -> Vec<u8> {
    let attempt = |attempt| {
        let mut rng = Rng::of(&[seed, 3, attempt]);
        let config = with_objects(&mut rng, audience);
        let len = *rng.choose(&[8 << 10, 24 << 10, 64 << 10]);
        let bytes = rng.bytes(len);
        terminating_from(config, &mut Unstructured::new(&bytes))
    };
    (0..1000)
        .find_map(attempt)
        .expect("one of a thousand attempts makes a module")
}

/// Like [`objects`], from a fuzzer's bytes.
pub fn objects_arbitrary(u: &mut Unstructured<'_>, audience: Audience) -> Option<Vec<u8>> {
    let config = with_objects(&mut Rng::new(u.arbitrary().ok()?), audience);
    terminating_from(config, u)
}

/// The module of `seed`: every function terminates, and the same program gives the same results on
/// every engine.
///
/// # Panics
///
/// When no module can be made, which seeds do not cause.
pub fn terminating(seed: u64) -> Vec<u8> {
    // What a module shall at least have cannot always be made of the bytes at hand.
    let attempt = |attempt| {
        let mut rng = Rng::of(&[seed, 1, attempt]);
        let config = comparable(&mut rng);
        let len = *rng.choose(&[4 << 10, 16 << 10, 48 << 10]);
        let bytes = rng.bytes(len);
        terminating_from(config, &mut Unstructured::new(&bytes))
    };
    (0..1000)
        .find_map(attempt)
        .expect("one of a thousand attempts makes a module")
}

/// Like [`terminating`], but functions may run for ever; every other module is one of [`objects`].
///
/// # Panics
///
/// As [`terminating`].
pub fn untamed(seed: u64) -> Vec<u8> {
    let attempt = |attempt| {
        let mut rng = Rng::of(&[seed, 5, attempt]);
        let config = match seed % 2 {
            0 => comparable(&mut rng),
            _ => with_objects(&mut rng, Audience::Waxwing),
        };
        let len = *rng.choose(&[4 << 10, 16 << 10, 48 << 10]);
        let bytes = rng.bytes(len);
        let module = Module::new(config, &mut Unstructured::new(&bytes)).ok()?;
        Some(module.to_bytes())
    };
    (0..1000)
        .find_map(attempt)
        .expect("one of a thousand attempts makes a module")
}

/// Like [`untamed`], from a fuzzer's bytes.
pub fn untamed_arbitrary(u: &mut Unstructured<'_>) -> Option<Vec<u8>> {
    let mut rng = Rng::new(u.arbitrary().ok()?);
    let config = match rng.one_in(2) {
        true => comparable(&mut rng),
        false => with_objects(&mut rng, Audience::Waxwing),
    };
    Some(Module::new(config, u).ok()?.to_bytes())
}

/// Like [`terminating`], from a fuzzer's bytes.
pub fn terminating_arbitrary(u: &mut Unstructured<'_>) -> Option<Vec<u8>> {
    let config = comparable(&mut Rng::new(u.arbitrary().ok()?));
    terminating_from(config, u)
}

fn terminating_from(config: Config, u: &mut Unstructured<'_>) -> Option<Vec<u8>> {
    let mut module = Module::new(config, u).ok()?;
    let fuel = module
        .ensure_termination(FUEL)
        .expect("generated bodies can be given fuel");
    Some(export_hidden(&module.to_bytes(), fuel).expect("the module is well formed"))
}

/// A valid module of any shape that the engine supports, not meant to be run.
///
/// # Panics
///
/// When no module can be made, which seeds do not cause.
pub fn any(seed: u64) -> Vec<u8> {
    let attempt = |attempt| {
        let mut rng = Rng::of(&[seed, 2, attempt]);
        let len = *rng.choose(&[256, 1 << 10, 4 << 10, 16 << 10]);
        let bytes = rng.bytes(len);
        any_arbitrary(&mut Unstructured::new(&bytes))
    };
    (0..1000)
        .find_map(attempt)
        .expect("one of a thousand attempts makes a module")
}

/// Like [`any`], from a fuzzer's bytes.
pub fn any_arbitrary(u: &mut Unstructured<'_>) -> Option<Vec<u8>> {
    let mut config: Config = u.arbitrary().ok()?;
    without_later_proposals(&mut config);
    config.max_memories = config.max_memories.min(20);
    config.max_tables = config.max_tables.min(20);
    config.max_memory32_bytes = config.max_memory32_bytes.min(1 << 24);
    config.max_memory64_bytes = config.max_memory64_bytes.min(1 << 24);
    config.max_table_elements = config.max_table_elements.min(10_000);
    config.allow_invalid_funcs = false;
    Some(Module::new(config, u).ok()?.to_bytes())
}

/// `wasm` with its global `fuel`, and all tags that it defines, exported too.
fn export_hidden(wasm: &[u8], fuel: u32) -> Result<Vec<u8>> {
    const EXPORT_SECTION: u8 = 7;
    // Sections that precede the export section: types, imports, functions, tables, memories,
    // globals, tags. Custom sections (0) may stand anywhere.
    const BEFORE: [u8; 8] = [0, 1, 2, 3, 4, 5, 6, 13];

    let mut exports = ExportSection::new();
    let (mut imported_tags, mut tags) = (0, 0);
    for payload in Parser::new(0).parse_all(wasm) {
        match payload? {
            Payload::ImportSection(reader) => {
                for import in reader.into_imports() {
                    imported_tags += u32::from(matches!(import?.ty, TypeRef::Tag(_)));
                }
            }
            Payload::TagSection(reader) => tags = reader.count(),
            Payload::ExportSection(reader) => {
                for export in reader {
                    let export = export?;
                    let kind = match export.kind {
                        ExternalKind::Func => ExportKind::Func,
                        ExternalKind::Table => ExportKind::Table,
                        ExternalKind::Memory => ExportKind::Memory,
                        ExternalKind::Global => ExportKind::Global,
                        ExternalKind::Tag => ExportKind::Tag,
                        other => anyhow::bail!("unexpected export of kind {other:?}"),
                    };
                    exports.export(export.name, kind, export.index);
                }
            }
            _ => {}
        }
    }
    exports.export(FUEL_EXPORT, ExportKind::Global, fuel);
    for tag in 0..tags {
        let name = format!("waxwing tests: tag {tag}");
        exports.export(&name, ExportKind::Tag, imported_tags + tag);
    }

    let mut module = wasm_encoder::Module::new();
    let mut exports = Some(exports);
    for payload in Parser::new(0).parse_all(wasm) {
        let payload = payload?;
        let Some((id, range)) = payload.as_section() else {
            continue;
        };
        if !BEFORE.contains(&id)
            && let Some(exports) = exports.take()
        {
            module.section(&exports);
        }
        if id != EXPORT_SECTION {
            let data = wasm.get(range.start as usize..range.end as usize);
            module.section(&RawSection {
                id,
                data: data.context("a section outside the module")?,
            });
        }
    }
    if let Some(exports) = exports {
        module.section(&exports);
    }
    Ok(module.finish())
}
