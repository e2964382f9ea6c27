//! `waxwing inspect`: what is in a module or an artifact.

mod artifact;
mod text;
mod types;
mod wasm;

use crate::load::Source;
use crate::options::GroupArgs;
use crate::output;
use anyhow::Result;
use serde::Serialize;
use std::path::PathBuf;
use std::process::ExitCode;

/// Show what is in a module or an artifact
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    groups: GroupArgs,

    /// Print JSON
    #[arg(long)]
    json: bool,

    /// Load artifacts of `waxwing compile`, whose contents are trusted
    #[arg(long)]
    allow_precompiled: bool,

    /// A module in the binary or text format, or an artifact; `-` is the standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

impl Args {
    pub fn execute(self) -> Result<ExitCode> {
        let mut settings = self.groups.settings()?;
        let report = match Source::read(&self.file)? {
            Source::Wasm(bytes) => wasm::inspect(&self.file, &bytes)?,
            source @ Source::Elf => {
                let engine = settings.engine(0)?;
                let module = source.into_module(&engine, &self.file, self.allow_precompiled)?;
                artifact::inspect(&self.file, &module)
            }
        };
        if self.json {
            output::print(serde_json::to_string_pretty(&report)? + "\n")?;
        } else {
            output::print(text::format(&report))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// What the command prints. What a kind of file does not have is left out.
#[derive(Default, Serialize)]
struct Report {
    file: String,
    /// `module` or `artifact`.
    kind: &'static str,
    /// The size in bytes: of the binary format, or of the mapped artifact.
    size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    imports: Vec<Import>,
    exports: Vec<Export>,
    #[serde(skip_serializing_if = "Option::is_none")]
    types: Option<Types>,
    #[serde(skip_serializing_if = "Option::is_none")]
    functions: Option<Functions>,
    #[serde(skip_serializing_if = "Option::is_none")]
    memories: Option<Vec<Item>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tables: Option<Vec<Item>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    globals: Option<Vec<Item>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tags: Option<Vec<Item>>,
    /// The index of the start function.
    #[serde(skip_serializing_if = "Option::is_none")]
    start: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data_segments: Option<Segments>,
    #[serde(skip_serializing_if = "Option::is_none")]
    element_segments: Option<Segments>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resources: Option<Resources>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    sections: Vec<Section>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    producers: Vec<Producer>,
}

#[derive(Serialize)]
struct Import {
    module: String,
    name: String,
    #[serde(rename = "type")]
    ty: String,
}

#[derive(Serialize)]
struct Export {
    name: String,
    #[serde(rename = "type")]
    ty: String,
}

/// The type section.
#[derive(Default, Serialize)]
struct Types {
    functions: u32,
    structs: u32,
    arrays: u32,
    continuations: u32,
    /// Recursion groups that are written as such.
    groups: u32,
    /// Each type, in the order of the index space.
    list: Vec<String>,
}

#[derive(Default, Serialize)]
struct Functions {
    imported: u32,
    defined: u32,
    /// The sum of the sizes of the function bodies, in bytes.
    body_bytes: u64,
    /// The size of the largest body.
    largest_body: u64,
}

/// A memory, table, global or tag.
#[derive(Serialize)]
struct Item {
    index: usize,
    imported: bool,
    #[serde(rename = "type")]
    ty: String,
}

#[derive(Default, Serialize)]
struct Segments {
    count: u32,
    /// Bytes of data, or numbers of elements.
    size: u64,
}

/// What an instance of an artifact takes.
#[derive(Serialize)]
struct Resources {
    memories: u32,
    tables: u32,
    /// Of the largest memory, in pages of the type's page size.
    largest_initial_memory: Option<u64>,
    largest_initial_table: Option<u64>,
}

#[derive(Serialize)]
struct Section {
    /// The name of the specification, or for custom sections `custom`.
    kind: &'static str,
    /// The name of a custom section.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// Where the contents begin in the binary format.
    offset: u64,
    size: u64,
}

/// An entry of the producers section.
#[derive(Serialize)]
struct Producer {
    /// `language`, `processed-by` or `sdk`.
    field: String,
    name: String,
    version: String,
}
