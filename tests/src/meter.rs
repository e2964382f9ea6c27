//! Counting what a program executes by the program itself: an independent opinion on fuel.

use anyhow::{Result, anyhow};
use std::convert::Infallible;
use wasm_encoder::reencode::{Error, Reencode, utils};
use wasm_encoder::{
    CodeSection, ConstExpr, ExportKind, ExportSection, Function, GlobalSection, GlobalType,
    InstructionSink, Module, ValType,
};
use wasmparser::{ExportSectionReader, FunctionBody, GlobalSectionReader, Operator, Parser};
use wasmparser::{ImportSectionReader, TypeRef};

/// The export under which [`metered`] gives access to the count, an `i64` global.
pub const COUNT_EXPORT: &str = "waxwing tests: count";

/// Whether an operator's price depends on its operands.
fn is_priced_by_size(op: &Operator<'_>) -> bool {
    matches!(
        op,
        Operator::MemoryCopy { .. }
            | Operator::MemoryFill { .. }
            | Operator::MemoryInit { .. }
            | Operator::TableCopy { .. }
            | Operator::TableFill { .. }
            | Operator::TableInit { .. }
            | Operator::TableGrow { .. }
            | Operator::ArrayNew { .. }
            | Operator::ArrayNewDefault { .. }
            | Operator::ArrayNewData { .. }
            | Operator::ArrayNewElem { .. }
            | Operator::ArrayCopy { .. }
            | Operator::ArrayFill { .. }
            | Operator::ArrayInitData { .. }
            | Operator::ArrayInitElem { .. }
    )
}

/// What the documentation says that other operators cost.
fn price(op: &Operator<'_>) -> i64 {
    let is_free = matches!(
        op,
        Operator::Nop
            | Operator::Drop
            | Operator::Block { .. }
            | Operator::Loop { .. }
            | Operator::TryTable { .. }
            | Operator::Else
            | Operator::End
            | Operator::Return
            | Operator::Unreachable
    );
    i64::from(!is_free)
}

/// `wasm` with instructions before each operator, and at the start of each function, that add the
/// price to a global. `None` if prices depend on operands, or there is no section to which globals
/// or exports could be added.
///
/// # Errors
///
/// When `wasm` is not well formed.
pub fn metered(wasm: &[u8]) -> Result<Option<Vec<u8>>> {
    let mut meter = Meter::default();
    let mut module = Module::new();
    meter
        .parse_core_module(&mut module, Parser::new(0), wasm)
        .map_err(|error| anyhow!("the module cannot be metered: {error}"))?;
    let is_metered = meter.is_exported && !meter.is_priced_by_size;
    Ok(is_metered.then(|| module.finish()))
}

#[derive(Default)]
struct Meter {
    /// The number of globals, and once there is it, the index of the count.
    count: u32,
    is_exported: bool,
    is_priced_by_size: bool,
}

impl Meter {
    fn add(&self, sink: &mut InstructionSink<'_>, price: i64) {
        if price != 0 {
            sink.global_get(self.count)
                .i64_const(price)
                .i64_add()
                .global_set(self.count);
        }
    }
}

impl Reencode for Meter {
    type Error = Infallible;

    fn parse_import_section(
        &mut self,
        imports: &mut wasm_encoder::ImportSection,
        section: ImportSectionReader<'_>,
    ) -> Result<(), Error<Infallible>> {
        for import in section.clone().into_imports() {
            self.count += u32::from(matches!(import?.ty, TypeRef::Global(_)));
        }
        utils::parse_import_section(self, imports, section)
    }

    fn parse_global_section(
        &mut self,
        globals: &mut GlobalSection,
        section: GlobalSectionReader<'_>,
    ) -> Result<(), Error<Infallible>> {
        self.count += section.count();
        utils::parse_global_section(self, globals, section)?;
        let ty = GlobalType {
            val_type: ValType::I64,
            mutable: true,
            shared: false,
        };
        globals.global(ty, &ConstExpr::i64_const(0));
        Ok(())
    }

    fn parse_export_section(
        &mut self,
        exports: &mut ExportSection,
        section: ExportSectionReader<'_>,
    ) -> Result<(), Error<Infallible>> {
        utils::parse_export_section(self, exports, section)?;
        exports.export(COUNT_EXPORT, ExportKind::Global, self.count);
        self.is_exported = true;
        Ok(())
    }

    fn parse_function_body(
        &mut self,
        code: &mut CodeSection,
        body: FunctionBody<'_>,
    ) -> Result<(), Error<Infallible>> {
        let mut function: Function = self.new_function_with_parsed_locals(&body)?;
        self.add(&mut function.instructions(), 1);
        let mut operators = body.get_operators_reader()?;
        while !operators.eof() {
            let op = operators.read()?;
            self.is_priced_by_size |= is_priced_by_size(&op);
            self.add(&mut function.instructions(), price(&op));
            function.instruction(&self.instruction(op)?);
        }
        code.function(&function);
        Ok(())
    }
}
