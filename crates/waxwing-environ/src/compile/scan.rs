//! What is known of function bodies before any of them is compiled.

use super::FunctionBodyData;
use crate::{FuncIndex, TableIndex};
use wasmparser::Operator;

/// A call of a function by its index.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct CallSite {
    /// The offset of the operator in the binary.
    pub offset: u32,
    /// The function, which may be imported.
    pub callee: FuncIndex,
    /// The number of loops around the call.
    pub loop_depth: u32,
}

/// What one function body says of itself. It is read before the body is validated: of one that is not valid it is what
/// comes before the first operator that cannot be read, and indices may be of nothing.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct BodyFacts {
    /// The length in bytes.
    pub len: u32,
    /// The calls that return, in order of their offsets.
    pub calls: Vec<CallSite>,
    /// Whether its end is known not to be reached: it traps, or throws.
    pub never_returns: bool,
    /// The tables that it writes to or grows.
    pub written_tables: Vec<TableIndex>,
}

impl BodyFacts {
    /// Reads a body.
    pub fn new(data: &FunctionBodyData<'_>) -> BodyFacts {
        let range = data.body.range();
        let mut facts = BodyFacts {
            len: u32::try_from(range.end - range.start).unwrap_or(u32::MAX),
            ..BodyFacts::default()
        };
        let Ok(mut operators) = data.body.get_operators_reader() else {
            return facts;
        };
        // Of each block that has begun and not ended, whether it is a loop.
        let mut blocks = Vec::new();
        let mut loop_depth = 0;
        let mut has_return = false;
        let mut ends = false;
        while !operators.eof() {
            let Ok((operator, offset)) = operators.read_with_offset() else {
                break;
            };
            match operator {
                Operator::Call { function_index } => facts.calls.push(CallSite {
                    offset: u32::try_from(offset).unwrap_or(u32::MAX),
                    callee: FuncIndex::from_u32(function_index),
                    loop_depth,
                }),
                Operator::Block { .. } | Operator::If { .. } | Operator::TryTable { .. } => {
                    blocks.push(false);
                }
                Operator::Loop { .. } => {
                    blocks.push(true);
                    loop_depth += 1;
                }
                Operator::End => {
                    if blocks.is_empty() {
                        facts.never_returns = ends && !has_return;
                    }
                    if blocks.pop() == Some(true) {
                        loop_depth -= 1;
                    }
                }
                Operator::TableSet { table }
                | Operator::TableGrow { table }
                | Operator::TableFill { table }
                | Operator::TableInit { table, .. }
                | Operator::TableCopy {
                    dst_table: table, ..
                } => {
                    let table = TableIndex::from_u32(table);
                    if !facts.written_tables.contains(&table) {
                        facts.written_tables.push(table);
                    }
                }
                Operator::Br { relative_depth } | Operator::BrIf { relative_depth }
                    if relative_depth as usize == blocks.len() =>
                {
                    has_return = true;
                }
                Operator::BrTable { .. }
                | Operator::Return
                | Operator::ReturnCall { .. }
                | Operator::ReturnCallIndirect { .. }
                | Operator::ReturnCallRef { .. } => has_return = true,
                _ => {}
            }
            ends = matches!(
                operator,
                Operator::Unreachable | Operator::Throw { .. } | Operator::ThrowRef
            );
        }
        facts
    }
}
