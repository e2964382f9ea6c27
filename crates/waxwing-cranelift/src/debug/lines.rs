//! Line tables.

use super::Reader;
use super::places::{Function, Places};
use super::writer::code_address;
use gimli::write::{ConvertUnit, FileId, LineProgram, LineString};
use gimli::{ColumnType, Encoding, LineEncoding};

/// A row of the module's line table: from a place in the binary on, code belongs to a line.
#[derive(Clone, Debug)]
struct Row {
    wasm: u64,
    /// Whether no line is known from here on.
    ends: bool,
    file: FileId,
    line: u64,
    column: u64,
    discriminator: u64,
    is_statement: bool,
    ends_prologue: bool,
}

/// The lines of a unit, in the order of the binary.
pub(super) struct Lines {
    rows: Vec<Row>,
    /// For each row, the one that begins the statement which it is part of.
    statements: Vec<Option<usize>>,
}

impl Lines {
    fn new(rows: Vec<Row>) -> Lines {
        let mut statements: Vec<Option<usize>> = Vec::with_capacity(rows.len());
        for (index, row) in rows.iter().enumerate() {
            let before = index.checked_sub(1).map(|before| &rows[before]);
            statements.push(match before {
                _ if row.is_statement => Some(index),
                Some(before) if before.line == row.line && before.file == row.file => {
                    statements[index - 1]
                }
                _ => None,
            });
        }
        Lines { rows, statements }
    }

    /// Writes the line table of a unit for the text, if the unit has one. `encoding` is that of the unit to be written.
    pub(super) fn convert(
        unit: &mut ConvertUnit<'_, Reader<'_>>,
        places: &Places<'_>,
        encoding: Encoding,
    ) -> gimli::Result<Lines> {
        let read_unit = unit.read_skeleton_unit.unwrap_or(unit.read_unit);
        let Some(program) = read_unit.line_program.clone() else {
            return Ok(Lines::new(Vec::new()));
        };
        let header = program.header();
        let mut text = |value| {
            let bytes = read_unit.attr_string(value)?;
            let bytes = bytes.slice();
            // Nothing else can be the name of a file.
            let bytes = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
            let bytes = if bytes.is_empty() { b"?" } else { bytes };
            Ok::<_, gimli::Error>(LineString::new(bytes, encoding, unit.line_strings))
        };
        let working_dir = match (header.directory(0), read_unit.comp_dir) {
            (Some(directory), _) => text(directory)?,
            (None, Some(directory)) => text(gimli::AttributeValue::String(directory))?,
            (None, None) => LineString::String(b".".to_vec()),
        };
        let source = match header.file(0) {
            Some(file) => text(file.path_name())?,
            None => match read_unit.name {
                Some(name) => text(gimli::AttributeValue::String(name))?,
                None => LineString::String(b"?".to_vec()),
            },
        };
        let line_encoding = LineEncoding::default();
        let mut written =
            LineProgram::new(encoding, line_encoding, working_dir, None, source, None);
        let mut directories = Vec::new();
        let mut files = Vec::new();
        if header.version() <= 4 {
            directories.push(written.default_directory());
        }
        for directory in header.include_directories() {
            directories.push(written.add_directory(text(*directory)?));
        }
        for file in header.file_names() {
            let name = text(file.path_name())?;
            let directory = usize::try_from(file.directory_index()).ok();
            let directory = directory.and_then(|index| directories.get(index).copied());
            let directory = directory.unwrap_or(written.default_directory());
            files.push(written.add_file(name, directory, None));
        }
        if header.version() <= 4 {
            // Files are counted from 1.
            let first = files.first().copied();
            files.splice(0..0, first);
        }

        let mut rows = Vec::new();
        let mut read_rows = program.rows();
        while let Some((_, row)) = read_rows.next_row()? {
            let file = usize::try_from(row.file_index()).ok();
            let Some(file) = file.and_then(|index| files.get(index).copied()) else {
                continue;
            };
            rows.push(Row {
                wasm: row.address(),
                ends: row.end_sequence(),
                file,
                // Lines and columns beyond are no such thing.
                line: row.line().map_or(0, |line| line.get().min(u32::MAX.into())),
                column: match row.column() {
                    ColumnType::LeftEdge => 0,
                    ColumnType::Column(column) => column.get().min(u32::MAX.into()),
                },
                discriminator: row.discriminator(),
                is_statement: row.is_stmt(),
                ends_prologue: row.prologue_end(),
            });
        }
        // Where a sequence ends, another may begin.
        rows.sort_by_key(|row| (row.wasm, !row.ends));
        let lines = Lines::new(rows);
        for function in &places.functions {
            lines.write_function(function, &mut written);
        }
        unit.set_line_program(written, files);
        Ok(lines)
    }

    /// The index of the row that a place belongs to.
    fn row_at(&self, wasm: u64) -> Option<usize> {
        let after = self.rows.partition_point(|row| row.wasm <= wasm);
        let index = after.checked_sub(1)?;
        (!self.rows[index].ends).then_some(index)
    }

    fn write_function(&self, function: &Function<'_>, written: &mut LineProgram) {
        let first_of_function = self
            .rows
            .partition_point(|row| row.wasm < function.wasm.start);
        let mut last = None;
        let mut begun = false;
        let mut seen = std::collections::HashSet::new();
        for (code, wasm) in &function.map {
            let index = self
                .row_at(*wasm)
                .filter(|index| *index >= first_of_function);
            let Some(index) = index else {
                continue;
            };
            if last == Some(index) || *code >= function.code.end {
                continue;
            }
            last = Some(index);
            if !begun {
                written.begin_sequence(Some(code_address(function.code.start)));
                begun = true;
            }
            let source = &self.rows[index];
            // What a statement begins with may have no code of its own; code of it that was moved elsewhere is no place to stop.
            let statement = self.statements[index].filter(|begins| *begins >= first_of_function);
            let is_statement = statement.is_some_and(|statement| seen.insert(statement));
            let row = written.row();
            row.address_offset = code - function.code.start;
            row.file = source.file;
            row.line = source.line;
            row.column = source.column;
            row.discriminator = source.discriminator;
            row.is_statement = is_statement;
            row.prologue_end = is_statement && source.ends_prologue;
            written.generate_row();
        }
        if begun {
            written.end_sequence(function.code.end - function.code.start);
        }
    }

    /// Where the variables of a function have values: after its prologue, if the module says where that ends.
    pub(super) fn valid(&self, function: &Function<'_>) -> std::ops::Range<u64> {
        let mut valid = function.valid();
        let first = self
            .rows
            .partition_point(|row| row.wasm < function.wasm.start);
        let mut of_function = self.rows[first..]
            .iter()
            .take_while(|row| row.wasm < function.wasm.end);
        if let Some(end) = of_function.find(|row| row.ends_prologue) {
            let mut after = function.map.iter().filter(|(_, wasm)| *wasm >= end.wasm);
            if let Some((code, _)) = after.next() {
                valid.start = valid.start.max(*code).min(valid.end);
            }
        }
        valid
    }
}
