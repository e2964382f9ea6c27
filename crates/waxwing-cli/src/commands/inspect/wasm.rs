use super::types;
use super::{Export, Functions, Import, Item, Producer, Report, Section, Segments, Types};
use anyhow::{Context, Result};
use std::ops::Range;
use std::path::Path;
use wasmparser::{
    CompositeInnerType, CustomSectionReader, ElementItems, ExternalKind, KnownCustom, Name, Parser,
    Payload, TypeRef,
};

/// What the module in the binary format holds. It is not validated, so that
/// modules which this engine cannot run can be looked at too.
pub fn inspect(file: &Path, bytes: &[u8]) -> Result<Report> {
    let mut reader = Reader::default();
    for payload in Parser::new(0).parse_all(bytes) {
        payload
            .and_then(|payload| reader.payload(payload))
            .with_context(|| format!("failed to inspect `{}`", file.display()))?;
    }
    Ok(reader.finish(file, bytes.len()))
}

/// Index spaces, as far as they have been read.
#[derive(Default)]
struct Reader {
    report: Report,
    types: Types,
    /// The types of all functions, by index.
    functions: Vec<String>,
    counts: Functions,
    memories: Vec<Item>,
    tables: Vec<Item>,
    globals: Vec<Item>,
    tags: Vec<Item>,
    exports: Vec<(String, ExternalKind, u32)>,
    data: Segments,
    elements: Segments,
}

impl Reader {
    fn payload(&mut self, payload: Payload<'_>) -> wasmparser::Result<()> {
        match payload {
            Payload::TypeSection(section) => {
                self.section("type", section.range());
                for group in section {
                    let group = group?;
                    self.types.groups += u32::from(group.is_explicit_rec_group());
                    for ty in group.types() {
                        *match &ty.composite_type.inner {
                            CompositeInnerType::Func(_) => &mut self.types.functions,
                            CompositeInnerType::Array(_) => &mut self.types.arrays,
                            CompositeInnerType::Struct(_) => &mut self.types.structs,
                            CompositeInnerType::Cont(_) => &mut self.types.continuations,
                        } += 1;
                        self.types.list.push(types::sub(ty));
                    }
                }
            }
            Payload::ImportSection(section) => {
                self.section("import", section.range());
                for import in section.into_imports() {
                    let import = import?;
                    let ty = self.import(import.ty);
                    self.report.imports.push(Import {
                        module: import.module.to_string(),
                        name: import.name.to_string(),
                        ty,
                    });
                }
            }
            Payload::FunctionSection(section) => {
                self.section("function", section.range());
                for ty in section {
                    let ty = self.type_at(ty?);
                    self.functions.push(ty);
                }
            }
            Payload::TableSection(section) => {
                self.section("table", section.range());
                for entry in section {
                    add(&mut self.tables, false, types::table(&entry?.ty));
                }
            }
            Payload::MemorySection(section) => {
                self.section("memory", section.range());
                for ty in section {
                    add(&mut self.memories, false, types::memory(&ty?));
                }
            }
            Payload::TagSection(section) => {
                self.section("tag", section.range());
                for ty in section {
                    let ty = self.type_at(ty?.func_type_idx);
                    add(&mut self.tags, false, ty);
                }
            }
            Payload::GlobalSection(section) => {
                self.section("global", section.range());
                for entry in section {
                    add(&mut self.globals, false, types::global(&entry?.ty));
                }
            }
            Payload::ExportSection(section) => {
                self.section("export", section.range());
                for export in section {
                    let export = export?;
                    self.exports
                        .push((export.name.to_string(), export.kind, export.index));
                }
            }
            Payload::StartSection { func, range } => {
                self.section("start", range);
                self.report.start = Some(func);
            }
            Payload::ElementSection(section) => {
                self.section("element", section.range());
                for segment in section {
                    self.elements.count += 1;
                    self.elements.size += u64::from(match segment?.items {
                        ElementItems::Functions(items) => items.count(),
                        ElementItems::Expressions(_, items) => items.count(),
                    });
                }
            }
            Payload::DataCountSection { range, .. } => self.section("data count", range),
            Payload::DataSection(section) => {
                self.section("data", section.range());
                for segment in section {
                    self.data.count += 1;
                    self.data.size += segment?.data.len() as u64;
                }
            }
            Payload::CodeSectionStart {
                count,
                unchecked_range,
                ..
            } => {
                self.section("code", unchecked_range);
                self.counts.defined = count;
            }
            Payload::CodeSectionEntry(body) => {
                let size = length(&body.range());
                self.counts.body_bytes += size;
                self.counts.largest_body = self.counts.largest_body.max(size);
            }
            Payload::CustomSection(section) => self.custom(&section),
            Payload::UnknownSection { range, .. } => self.section("unknown", range),
            _ => {}
        }
        Ok(())
    }

    fn section(&mut self, kind: &'static str, range: Range<u64>) {
        self.report.sections.push(Section {
            kind,
            name: None,
            offset: range.start,
            size: length(&range),
        });
    }

    fn custom(&mut self, section: &CustomSectionReader<'_>) {
        self.report.sections.push(Section {
            kind: "custom",
            name: Some(section.name().to_string()),
            offset: section.data_offset(),
            size: length(&section.data_range()),
        });
        // Custom sections do not make a module malformed: what is readable is shown.
        match section.as_known() {
            KnownCustom::Name(names) => {
                for name in names.into_iter().flatten() {
                    if let Name::Module { name, .. } = name {
                        self.report.name = Some(name.to_string());
                    }
                }
            }
            KnownCustom::Producers(fields) => {
                for field in fields.into_iter().flatten() {
                    for value in field.values.into_iter().flatten() {
                        self.report.producers.push(Producer {
                            field: field.name.to_string(),
                            name: value.name.to_string(),
                            version: value.version.to_string(),
                        });
                    }
                }
            }
            _ => {}
        }
    }

    /// Adds an import to its index space, and describes its type.
    fn import(&mut self, ty: TypeRef) -> String {
        match ty {
            TypeRef::Func(index) | TypeRef::FuncExact(index) => {
                let ty = self.type_at(index);
                self.counts.imported += 1;
                self.functions.push(ty.clone());
                format!("func {ty}")
            }
            TypeRef::Table(ty) => {
                format!("table {}", add(&mut self.tables, true, types::table(&ty)))
            }
            TypeRef::Memory(ty) => format!(
                "memory {}",
                add(&mut self.memories, true, types::memory(&ty))
            ),
            TypeRef::Global(ty) => format!(
                "global {}",
                add(&mut self.globals, true, types::global(&ty))
            ),
            TypeRef::Tag(ty) => {
                let ty = self.type_at(ty.func_type_idx);
                format!("tag {}", add(&mut self.tags, true, ty))
            }
        }
    }

    /// The description of a function's type; the index may be out of range, as nothing is validated.
    fn type_at(&self, index: u32) -> String {
        let ty = lookup(&self.types.list, index);
        // What it is is said where it is used; what it is a subtype of does not matter there.
        match ty.split_once("func ") {
            Some((_, signature)) => signature.to_string(),
            None => ty,
        }
    }

    fn finish(mut self, file: &Path, size: usize) -> Report {
        let item = |items: &[Item], index: u32| {
            items
                .get(index as usize)
                .map_or_else(|| "?".to_string(), |item| item.ty.clone())
        };
        self.report.exports = self
            .exports
            .iter()
            .map(|(name, kind, index)| Export {
                name: name.clone(),
                ty: match kind {
                    ExternalKind::Func | ExternalKind::FuncExact => {
                        format!("func {}", lookup(&self.functions, *index))
                    }
                    ExternalKind::Table => format!("table {}", item(&self.tables, *index)),
                    ExternalKind::Memory => format!("memory {}", item(&self.memories, *index)),
                    ExternalKind::Global => format!("global {}", item(&self.globals, *index)),
                    ExternalKind::Tag => format!("tag {}", item(&self.tags, *index)),
                },
            })
            .collect();
        Report {
            file: file.display().to_string(),
            kind: "module",
            size: size as u64,
            functions: Some(self.counts),
            memories: Some(self.memories),
            tables: Some(self.tables),
            globals: Some(self.globals),
            tags: Some(self.tags),
            types: Some(self.types),
            data_segments: Some(self.data),
            element_segments: Some(self.elements),
            ..self.report
        }
    }
}

fn lookup(types: &[String], index: u32) -> String {
    types
        .get(index as usize)
        .cloned()
        .unwrap_or_else(|| "?".to_string())
}

/// Adds an item to an index space, and gives back its type's description.
fn add(items: &mut Vec<Item>, imported: bool, ty: String) -> String {
    items.push(Item {
        index: items.len(),
        imported,
        ty: ty.clone(),
    });
    ty
}

fn length(range: &Range<u64>) -> u64 {
    range.end.saturating_sub(range.start)
}
