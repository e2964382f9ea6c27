//! The text of a module, by function.

use anyhow::Result;
use std::ops::Range;
use wasmparser::{Parser, Payload};

/// The text of a module's functions, with the offset in the binary of each line.
pub struct WasmText {
    text: String,
    lines: Vec<Line>,
    /// The lines of each function that the module defines.
    functions: Vec<Range<usize>>,
}

struct Line {
    offset: u32,
    at: Range<usize>,
}

impl WasmText {
    /// The text of a module in the binary format.
    pub fn of(wasm: &[u8]) -> Result<WasmText> {
        let mut bodies = Vec::new();
        for payload in Parser::new(0).parse_all(wasm) {
            if let Payload::CodeSectionEntry(body) = payload? {
                bodies.push(body.range());
            }
        }
        let mut text = String::new();
        let mut lines = Vec::new();
        let mut places = Vec::new();
        {
            let mut config = wasmprinter::Config::new();
            // Compiled code is nested deeply.
            config.indent_text(" ");
            let printed = config.offsets_and_lines(wasm, &mut text)?;
            let mut at = 0;
            for (offset, line) in printed {
                let end = at + line.len();
                places.push((offset, at..end));
                at = end;
            }
        }
        let first = bodies.first().map_or(u64::MAX, |body| body.start);
        let last = bodies.last().map_or(0, |body| body.end);
        for (offset, at) in places {
            let Some(offset) = offset.filter(|offset| (first..last).contains(offset)) else {
                continue;
            };
            if let Ok(offset) = u32::try_from(offset) {
                lines.push(Line { offset, at });
            }
        }
        let line_of = |offset: u64| lines.partition_point(|line| u64::from(line.offset) < offset);
        let functions = bodies
            .iter()
            .map(|body| line_of(body.start)..line_of(body.end));
        let functions = functions.collect();
        Ok(WasmText {
            text,
            lines,
            functions,
        })
    }

    /// The lines of a function by its index among those that the module defines, each with its offset.
    pub fn function(&self, defined: usize) -> impl Iterator<Item = (u32, &str)> {
        let lines = self.functions.get(defined).cloned().unwrap_or(0..0);
        let lines = self.lines[lines].iter();
        lines.map(|line| (line.offset, self.text[line.at.clone()].trim_end()))
    }
}
