//! Exceptions: `try_table`, `throw`, `throw_ref`, and calls from which exceptions may come.
//!
//! A call within reach of handlers is the end of a block, with an edge to a landing block for each
//! handler. The runtime goes on there with the exception in a register; the landing block takes the
//! payload out of it and branches to the handler's label. Which edge is taken is a matter of the
//! artifact's handler tables, so that a call that returns pays for nothing.

use super::FuncTranslator;
use super::control::{LabelOf, block_args};
use super::stack::Values;
use crate::traps::UNREACHED;
use cranelift_codegen::ir::{
    Block, BlockArg, BlockCall, ExceptionTableData, ExceptionTableItem, ExceptionTag, FuncRef,
    InstBuilder, SigRef, Value, types,
};
use smallvec::SmallVec;
use wasmparser::{Catch, Operator, TryTable};
use waxwing_environ::compile::CompileError;
use waxwing_environ::{BuiltinFunctionIndex, TagIndex, Trap};

/// The most handlers in the tables of one function. A call has one for each handler that it is in
/// reach of, so that their number can be the square of the function's size.
const MAX_TABLE_ITEMS: usize = 1 << 20;

/// A clause of a `try_table` that has begun and not ended.
pub(super) struct Handler {
    /// What it handles, `None` for everything.
    tag: Option<TagIndex>,
    /// Whether its label gets the exception itself as its last argument.
    with_reference: bool,
    /// The frame whose label it branches to.
    frame: usize,
    /// Where calls go on, made by the first that the handler is in reach of.
    landing: Option<Block>,
}

/// Code to call.
#[derive(Copy, Clone)]
pub(super) enum Code {
    Direct(FuncRef),
    Indirect(SigRef, Value),
}

impl FuncTranslator<'_, '_> {
    pub(super) fn exception_operator(&mut self, op: &Operator<'_>) -> Result<bool, CompileError> {
        match op {
            Operator::TryTable { try_table } => self.try_table(try_table)?,
            Operator::Throw { tag_index } => self.throw(TagIndex::from_u32(*tag_index))?,
            Operator::ThrowRef => {
                let exception = self.pop();
                self.trapz(exception, Trap::NullReference);
                self.throw_exception(exception)?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn try_table(&mut self, table: &TryTable) -> Result<(), CompileError> {
        let first = self.handlers.len();
        // Labels are counted from outside the `try_table`.
        let outermost = self.control.len() - 1;
        // The clause to try first, that of the innermost `try_table`, is the last in the list.
        let handlers = table.catches.iter().rev().map(|clause| {
            let (tag, label, with_reference) = match *clause {
                Catch::One { tag, label } => (Some(tag), label, false),
                Catch::OneRef { tag, label } => (Some(tag), label, true),
                Catch::All { label } => (None, label, false),
                Catch::AllRef { label } => (None, label, true),
            };
            Handler {
                tag: tag.map(TagIndex::from_u32),
                with_reference,
                frame: outermost - label as usize,
                landing: None,
            }
        });
        self.handlers.extend(handlers);
        self.begin_try(table.ty, first)
    }

    /// Fills the landing blocks of the `try_table` that ends, whose handlers are those from `first` on. The
    /// current block is filled.
    pub(super) fn end_handlers(&mut self, first: usize) {
        for handler in self.handlers.split_off(first) {
            let Some(landing) = handler.landing else {
                continue;
            };
            self.builder.seal_block(landing);
            self.builder.switch_to_block(landing);
            self.land();
            let word = self.builder.block_params(landing)[0];
            let exception = match self.builder.func.dfg.value_type(word) {
                types::I32 => word,
                _ => self.ins().ireduce(types::I32, word),
            };
            let mut args = match handler.tag {
                Some(tag) => self.load_payload(tag, exception),
                None => Values::new(),
            };
            if handler.with_reference {
                args.push(exception);
            }
            self.jump_to_handler(&handler, &args);
        }
    }

    /// Whether handlers of the `try_table` whose handlers begin with `first` are in use.
    pub(super) fn has_landings(&self, first: usize) -> bool {
        let handlers = &self.handlers[first..];
        handlers.iter().any(|handler| handler.landing.is_some())
    }

    fn jump_to_handler(&mut self, handler: &Handler, args: &[Value]) {
        let (label, _) = self.label_of_frame(handler.frame, LabelOf::Branch);
        self.ins().jump(label, &block_args(args));
    }

    /// Throws an exception with the operands as its payload. If the handler is known, which it is if it
    /// is in the same function and no other before it may be meant, that is a branch.
    fn throw(&mut self, tag: TagIndex) -> Result<(), CompileError> {
        let params = self.translation.types.func(self.tag_type(tag)).params();
        self.check_simd(params)?;
        let mut payload = self.pop_canonical(params.len());
        let Some(handler) = self.known_handler(tag) else {
            let exception = self.new_exception(tag, &payload);
            return self.throw_exception(exception);
        };
        let (with_reference, is_all) = {
            let handler = &self.handlers[handler];
            (handler.with_reference, handler.tag.is_none())
        };
        let exception = with_reference.then(|| self.new_exception(tag, &payload));
        if is_all {
            payload.clear();
        }
        payload.extend(exception);
        let (label, _) = self.label_of_frame(self.handlers[handler].frame, LabelOf::Branch);
        self.ins().jump(label, &block_args(&payload));
        self.set_unreachable();
        Ok(())
    }

    /// The handler in this function of an exception with this tag that is thrown here, by its place in the
    /// list; `None` if there is none or it depends on the instance.
    fn known_handler(&self, tag: TagIndex) -> Option<usize> {
        let module = &self.translation.module;
        for (index, handler) in self.handlers.iter().enumerate().rev() {
            match handler.tag {
                None => return Some(index),
                Some(other) if other == tag => return Some(index),
                // Two imports may be one tag, if they are of one type.
                Some(other)
                    if module.is_imported_tag(other)
                        && module.is_imported_tag(tag)
                        && module.tags[other] == module.tags[tag] =>
                {
                    return None;
                }
                Some(_) => {}
            }
        }
        None
    }

    /// Throws an exception that is not null.
    fn throw_exception(&mut self, exception: Value) -> Result<(), CompileError> {
        let throw = self.builtin(BuiltinFunctionIndex::throw_ref);
        let args = [self.vmctx, exception];
        self.call_code(Code::Direct(throw), &args)?;
        self.ins().trap(UNREACHED);
        self.set_unreachable();
        Ok(())
    }

    /// Calls a function from which exceptions may come, and returns its results.
    pub(super) fn call_code(&mut self, code: Code, args: &[Value]) -> Result<Values, CompileError> {
        if self.handlers.is_empty() {
            let call = match code {
                Code::Direct(callee) => self.ins().call(callee, args),
                Code::Indirect(signature, callee) => {
                    self.ins().call_indirect(signature, callee, args)
                }
            };
            return Ok(Values::from_slice(self.builder.inst_results(call)));
        }
        let signature = match code {
            Code::Direct(callee) => self.builder.func.dfg.ext_funcs[callee].signature,
            Code::Indirect(signature, _) => signature,
        };
        let returns = self.builder.func.dfg.signatures[signature].returns.iter();
        let returns: SmallVec<[_; 4]> = returns.map(|param| param.value_type).collect();
        let returned = self.new_block(&returns);
        let items = self.exception_table_items()?;
        let dfg = &mut self.builder.func.dfg;
        let results = (0..returns.len() as u32).map(BlockArg::TryCallRet);
        let on_return = BlockCall::new(returned, results, &mut dfg.value_lists);
        let table = ExceptionTableData::new(signature, on_return, items);
        let table = dfg.exception_tables.push(table);
        match code {
            Code::Direct(callee) => self.ins().try_call(callee, args, table),
            Code::Indirect(_, callee) => self.ins().try_call_indirect(callee, args, table),
        };
        self.builder.seal_block(returned);
        self.builder.switch_to_block(returned);
        Ok(Values::from_slice(self.builder.block_params(returned)))
    }

    /// The handlers that a call here is in reach of, in the order in which they are tried, after what
    /// tells the runtime the instance whose tags they mean.
    fn exception_table_items(&mut self) -> Result<Vec<ExceptionTableItem>, CompileError> {
        let mut items = vec![ExceptionTableItem::Context(self.vmctx)];
        let mut seen = SmallVec::<[TagIndex; 8]>::new();
        for index in (0..self.handlers.len()).rev() {
            let tag = self.handlers[index].tag;
            if let Some(tag) = tag {
                if seen.contains(&tag) {
                    continue;
                }
                seen.push(tag);
            }
            let landing = self.landing(index);
            let lists = &mut self.builder.func.dfg.value_lists;
            let target = BlockCall::new(landing, [BlockArg::TryCallExn(0)], lists);
            items.push(match tag {
                Some(tag) => ExceptionTableItem::Tag(ExceptionTag::from_u32(tag.as_u32()), target),
                None => ExceptionTableItem::Default(target),
            });
            self.table_items += 1;
            if self.table_items > MAX_TABLE_ITEMS {
                return Err(CompileError::ImplementationLimit(format!(
                    "the function has more than {MAX_TABLE_ITEMS} pairs of a call and a handler of \
                     exceptions that it is in reach of"
                )));
            }
            if tag.is_none() {
                break;
            }
        }
        Ok(items)
    }

    fn landing(&mut self, index: usize) -> Block {
        if let Some(landing) = self.handlers[index].landing {
            return landing;
        }
        let landing = self.new_block(&[self.isa().pointer_type()]);
        self.builder.set_cold_block(landing);
        self.handlers[index].landing = Some(landing);
        landing
    }
}
