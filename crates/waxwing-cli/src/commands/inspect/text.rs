use super::{Item, Report};
use std::fmt::{Display, Write};

/// The report for people.
pub fn format(report: &Report) -> String {
    let mut text = format!("{}: {}, {} bytes", report.file, report.kind, report.size);
    if let Some(name) = &report.name {
        let _ = write!(text, ", named `{name}`");
    }
    text.push('\n');

    list(&mut text, "imports", &report.imports, |i| {
        format!("{}::{}: {}", i.module, i.name, i.ty)
    });
    list(&mut text, "exports", &report.exports, |e| {
        format!("{}: {}", e.name, e.ty)
    });
    let item = |item: &Item| {
        let imported = if item.imported { "  (imported)" } else { "" };
        format!("{}: {}{imported}", item.index, item.ty)
    };
    for (title, items) in [
        ("memories", &report.memories),
        ("tables", &report.tables),
        ("globals", &report.globals),
        ("tags", &report.tags),
    ] {
        list(&mut text, title, items.as_deref().unwrap_or_default(), item);
    }

    text.push('\n');
    if let Some(types) = &report.types {
        let counts: Vec<String> = [
            (types.functions, "of functions"),
            (types.structs, "of structs"),
            (types.arrays, "of arrays"),
            (types.continuations, "of continuations"),
            (types.groups, "recursion groups"),
        ]
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
        if !counts.is_empty() {
            fact(&mut text, "types", counts.join(", "));
        }
    }
    if let Some(functions) = &report.functions {
        fact(
            &mut text,
            "functions",
            format_args!(
                "{} imported, {} defined with {} bytes of code (largest {})",
                functions.imported, functions.defined, functions.body_bytes, functions.largest_body
            ),
        );
    }
    if let Some(start) = report.start {
        fact(&mut text, "start function", start);
    }
    if let Some(data) = &report.data_segments {
        fact(
            &mut text,
            "data segments",
            format_args!("{} with {} bytes", data.count, data.size),
        );
    }
    if let Some(elements) = &report.element_segments {
        let value = format_args!("{} with {} elements", elements.count, elements.size);
        fact(&mut text, "element segments", value);
    }
    if let Some(resources) = &report.resources {
        let largest = |value: Option<u64>, unit| match value {
            Some(value) => format!(", the largest with {value} {unit}"),
            None => String::new(),
        };
        let memory = largest(resources.largest_initial_memory, "pages");
        fact(
            &mut text,
            "memories",
            format_args!("{}{memory}", resources.memories),
        );
        let table = largest(resources.largest_initial_table, "elements");
        fact(
            &mut text,
            "tables",
            format_args!("{}{table}", resources.tables),
        );
    }
    for producer in &report.producers {
        fact(
            &mut text,
            &producer.field,
            format_args!("{} {}", producer.name, producer.version),
        );
    }

    list(&mut text, "sections", &report.sections, |section| {
        let kind = match &section.name {
            Some(name) => format!("{} `{name}`", section.kind),
            None => section.kind.to_string(),
        };
        format!("{kind}: {} bytes at {:#x}", section.size, section.offset)
    });
    text
}

fn fact(text: &mut String, name: &str, value: impl Display) {
    let _ = writeln!(text, "{name}: {value}");
}

fn list<T>(text: &mut String, title: &str, items: &[T], line: impl Fn(&T) -> String) {
    if items.is_empty() {
        return;
    }
    let _ = writeln!(text, "\n{title}:");
    for item in items {
        let _ = writeln!(text, "  {}", line(item));
    }
}
