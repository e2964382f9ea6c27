//! Control instructions: blocks, branches, returns.

use super::FuncTranslator;
use super::interrupt::Progress;
use super::stack::Values;
use crate::abi;
use cranelift_codegen::ir::{
    Block, BlockArg, BlockCall, InstBuilder, JumpTableData, Type, Value, types,
};
use smallvec::SmallVec;
use std::collections::HashMap;
use wasmparser::{BlockType, BrTable, Operator};
use waxwing_environ::compile::CompileError;
use waxwing_environ::{Trap, TypeIndex, WasmFuncType};

type Types = SmallVec<[Type; 2]>;
type BlockArgs = SmallVec<[BlockArg; 8]>;

/// A structured instruction that has begun and not ended.
pub(super) struct Frame {
    kind: FrameKind,
    /// The height of the operand stack below the parameters.
    height: usize,
    params: Types,
    results: Types,
    /// Where branches out of the frame go, made at the first.
    exit: Option<Block>,
    /// What is known at the beginning: of an `if` at that of both parts, of a loop at its label.
    at_start: Progress,
    /// What is known at `exit`.
    at_exit: Progress,
}

enum FrameKind {
    /// A block, the function body, or the part of an `if` after its `else`.
    Block,
    /// A loop, whose label is its beginning.
    Loop(Block),
    /// The part of an `if` before its `else`.
    Then { otherwise: Block, params: Values },
}

impl FuncTranslator<'_, '_> {
    pub(super) fn push_function_frame(&mut self, ty: &WasmFuncType) {
        self.control.push(Frame {
            kind: FrameKind::Block,
            height: 0,
            params: Types::new(),
            results: ty.results().iter().map(|ty| abi::value_type(*ty)).collect(),
            exit: None,
            at_start: self.interruption.progress,
            at_exit: Progress::default(),
        });
    }

    pub(super) fn control_operator(&mut self, op: &Operator<'_>) -> Result<bool, CompileError> {
        match op {
            Operator::Nop => {}
            Operator::Unreachable => {
                self.trap(Trap::UnreachableCodeReached);
                self.set_unreachable();
            }
            Operator::Block { blockty } => self.block(*blockty, |_, _| FrameKind::Block)?,
            Operator::Loop { blockty } => self.block(*blockty, Self::begin_loop)?,
            Operator::If { blockty } => {
                let condition = self.pop();
                self.block(*blockty, |t, params| t.begin_if(condition, params))?;
            }
            Operator::Else => self.end_then(),
            Operator::End => self.end(),
            Operator::Br { relative_depth } => self.br(*relative_depth),
            Operator::BrIf { relative_depth } => {
                let condition = self.pop();
                self.br_if(condition, *relative_depth);
            }
            Operator::BrTable { targets } => self.br_table(targets)?,
            Operator::Return => {
                let results = self.control[0].results.len();
                let results = self.peek_canonical(results);
                self.ins().return_(&results);
                self.set_unreachable();
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// What there is to do for an operator that cannot be reached: to find the end of that code.
    pub(super) fn unreachable_operator(&mut self, op: &Operator<'_>) {
        match op {
            Operator::Block { .. }
            | Operator::Loop { .. }
            | Operator::If { .. }
            | Operator::TryTable { .. }
            | Operator::Try { .. } => self.skipped_blocks += 1,
            Operator::End if self.skipped_blocks > 0 => self.skipped_blocks -= 1,
            Operator::End => self.end(),
            Operator::Else if self.skipped_blocks == 0 => self.end_then(),
            _ => {}
        }
    }

    /// Says that the current block has ended and what follows cannot be reached.
    pub(super) fn set_unreachable(&mut self) {
        let height = self.control.last().map_or(0, |frame| frame.height);
        self.stack.truncate(height);
        self.reachable = false;
    }

    fn block_types(&self, ty: BlockType) -> Result<(Types, Types), CompileError> {
        Ok(match ty {
            BlockType::Empty => (Types::new(), Types::new()),
            BlockType::Type(ty) => (Types::new(), SmallVec::from_slice(&[self.clif_type(ty)?])),
            BlockType::FuncType(index) => {
                let types = &self.translation.types;
                let ty = types.func(types.by_index[TypeIndex::from_u32(index)]);
                self.check_simd(ty.params().iter().chain(ty.results()))?;
                let convert = |list: &[_]| list.iter().map(|ty| abi::value_type(*ty)).collect();
                (convert(ty.params()), convert(ty.results()))
            }
        })
    }

    /// Begins a structured instruction; `begin` is given the types of its parameters.
    fn block(
        &mut self,
        ty: BlockType,
        begin: impl FnOnce(&mut Self, &[Type]) -> FrameKind,
    ) -> Result<(), CompileError> {
        let (params, results) = self.block_types(ty)?;
        let height = self.stack.len() - params.len();
        let kind = begin(self, &params);
        self.control.push(Frame {
            kind,
            height,
            params,
            results,
            exit: None,
            at_start: self.interruption.progress,
            at_exit: Progress::default(),
        });
        Ok(())
    }

    fn begin_loop(&mut self, params: &[Type]) -> FrameKind {
        let header = self.new_block(params);
        let args = self.pop_canonical(params.len());
        self.prepare_loop();
        self.ins().jump(header, &block_args(&args));
        self.builder.switch_to_block(header);
        self.push_block_params(header);
        self.check_at_loop();
        FrameKind::Loop(header)
    }

    fn begin_if(&mut self, condition: Value, params: &[Type]) -> FrameKind {
        let then = self.builder.create_block();
        let otherwise = self.builder.create_block();
        self.ins().brif(condition, then, &[], otherwise, &[]);
        self.builder.seal_block(then);
        self.builder.seal_block(otherwise);
        self.builder.switch_to_block(then);
        let start = self.stack.len() - params.len();
        FrameKind::Then {
            otherwise,
            params: Values::from_slice(&self.stack[start..]),
        }
    }

    /// Ends the first part of an `if` and begins the second.
    fn end_then(&mut self) {
        if self.reachable {
            self.jump_to_exit();
        }
        let frame = self.control.last_mut().expect(IN_FRAME);
        let kind = std::mem::replace(&mut frame.kind, FrameKind::Block);
        let FrameKind::Then { otherwise, params } = kind else {
            unreachable!("the validator allows `else` only in an `if`");
        };
        self.stack.truncate(frame.height);
        self.stack.extend(params);
        self.interruption.progress = frame.at_start;
        self.builder.switch_to_block(otherwise);
        self.reachable = true;
    }

    fn jump_to_exit(&mut self) {
        let (exit, arity) = self.label(0, LabelOf::End);
        let args = self.pop_canonical(arity);
        self.ins().jump(exit, &block_args(&args));
    }

    /// Ends a structured instruction, or the function.
    fn end(&mut self) {
        let frame = self.control.last().expect(IN_FRAME);
        if matches!(frame.kind, FrameKind::Then { .. }) {
            self.end_then();
        }
        let frame = self.control.last().expect(IN_FRAME);
        if self.reachable && frame.exit.is_some() {
            self.jump_to_exit();
        }
        let frame = self.control.pop().expect(IN_FRAME);
        if let FrameKind::Loop(header) = frame.kind {
            self.builder.seal_block(header);
        }
        if let Some(exit) = frame.exit {
            self.builder.seal_block(exit);
            self.builder.switch_to_block(exit);
            self.stack.truncate(frame.height);
            self.push_block_params(exit);
            self.interruption.progress = frame.at_exit;
            self.reachable = true;
        } else if !self.reachable {
            self.stack.truncate(frame.height);
        }
        if self.control.is_empty() && self.reachable {
            self.settle();
            let results = self.pop_canonical(frame.results.len());
            self.ins().return_(&results);
            self.reachable = false;
        }
    }

    fn new_block(&mut self, params: &[Type]) -> Block {
        let block = self.builder.create_block();
        for ty in params {
            self.builder.append_block_param(block, *ty);
        }
        block
    }

    fn push_block_params(&mut self, block: Block) {
        let params = self.builder.block_params(block);
        self.stack.extend_from_slice(params);
    }

    /// The block of a label and the number of its arguments. Before the branch to it that follows goes what
    /// branches to this label have to do.
    fn label(&mut self, depth: u32, of: LabelOf) -> (Block, usize) {
        let index = self.control.len() - 1 - depth as usize;
        let frame = &self.control[index];
        match (&frame.kind, frame.exit, of) {
            (FrameKind::Loop(header), _, LabelOf::Branch) => {
                let label = (*header, frame.params.len());
                self.prepare_branch(frame.at_start, true);
                label
            }
            (_, Some(exit), _) => {
                let label = (exit, frame.results.len());
                let at_exit = frame.at_exit;
                self.prepare_branch(at_exit, false);
                self.control[index].at_exit = self.meet(at_exit);
                label
            }
            (_, None, _) => {
                let results = frame.results.clone();
                let exit = self.new_block(&results);
                self.control[index].exit = Some(exit);
                self.control[index].at_exit = self.interruption.progress;
                (exit, results.len())
            }
        }
    }

    /// Whether [`Self::label`] puts nothing before a branch to the label.
    fn is_ready_for_label(&self, depth: u32) -> bool {
        let frame = &self.control[self.control.len() - 1 - depth as usize];
        match (&frame.kind, frame.exit) {
            (FrameKind::Loop(_), _) => self.is_ready_for(frame.at_start, true),
            (_, Some(_)) => self.is_ready_for(frame.at_exit, false),
            (_, None) => true,
        }
    }

    fn is_loop(&self, depth: u32) -> bool {
        let frame = &self.control[self.control.len() - 1 - depth as usize];
        matches!(frame.kind, FrameKind::Loop(_))
    }

    /// The number of a label's arguments.
    fn label_arity(&self, depth: u32) -> usize {
        let frame = &self.control[self.control.len() - 1 - depth as usize];
        match frame.kind {
            FrameKind::Loop(_) => frame.params.len(),
            _ => frame.results.len(),
        }
    }

    fn br(&mut self, depth: u32) {
        let (block, arity) = self.label(depth, LabelOf::Branch);
        let args = self.peek_canonical(arity);
        self.ins().jump(block, &block_args(&args));
        self.set_unreachable();
    }

    /// Branches if `condition` is not zero; the label's arguments stay on the stack.
    pub(super) fn br_if(&mut self, condition: Value, depth: u32) {
        let (block, arity) = self.label(depth, LabelOf::Branch);
        let args = self.peek_canonical(arity);
        let next = self.builder.create_block();
        self.ins()
            .brif(condition, block, &block_args(&args), next, &[]);
        self.builder.seal_block(next);
        self.builder.switch_to_block(next);
        if self.is_loop(depth) {
            self.leave_loop();
        }
    }

    fn br_table(&mut self, targets: &BrTable<'_>) -> Result<(), CompileError> {
        let index = self.pop();
        let arity = self.label_arity(targets.default());
        let args = block_args(&self.peek_canonical(arity));
        // Arguments are passed, and other things done that a branch to the label takes, once for each
        // label, not for each entry of the table: a block for the label stands in the table then.
        let mut forwarders = HashMap::new();
        let mut entry = |t: &mut Self, depth: u32| {
            let block = if arity == 0 && t.is_ready_for_label(depth) {
                t.label(depth, LabelOf::Branch).0
            } else {
                *forwarders
                    .entry(depth)
                    .or_insert_with(|| t.builder.create_block())
            };
            BlockCall::new(block, [], &mut t.builder.func.dfg.value_lists)
        };
        let default = entry(self, targets.default());
        let mut table = Vec::with_capacity(targets.len() as usize);
        for target in targets.targets() {
            table.push(entry(self, target?));
        }
        let table = JumpTableData::new(default, &table);
        let table = self.builder.create_jump_table(table);
        self.ins().br_table(index, table);
        let progress = self.interruption.progress;
        let mut forwarders: Vec<_> = forwarders.into_iter().collect();
        forwarders.sort_by_key(|(_, block)| *block);
        for (depth, block) in forwarders {
            self.builder.seal_block(block);
            self.builder.switch_to_block(block);
            self.interruption.progress = progress;
            let (label, _) = self.label(depth, LabelOf::Branch);
            self.ins().jump(label, &args);
        }
        self.set_unreachable();
        Ok(())
    }

    pub(super) fn select(&mut self) {
        let (a, b, condition) = self.pop3();
        let (a, b) = (self.canonical(a), self.canonical(b));
        debug_assert_eq!(
            self.builder.func.dfg.value_type(condition),
            types::I32,
            "the validator checked the condition"
        );
        let value = self.ins().select(condition, a, b);
        self.push(value);
    }
}

/// Which block of a frame is meant.
#[derive(Copy, Clone)]
enum LabelOf {
    /// Where branches to the frame go.
    Branch,
    /// What follows the frame's end.
    End,
}

fn block_args(values: &[Value]) -> BlockArgs {
    values.iter().map(|value| BlockArg::Value(*value)).collect()
}

/// Why there is a frame.
const IN_FRAME: &str = "the validator checked that the function has not ended";
