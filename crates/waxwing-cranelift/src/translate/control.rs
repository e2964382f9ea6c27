//! Control instructions: blocks, branches, returns.

use super::FuncTranslator;
use super::branch_hint::Likelihood;
use super::interrupt::Progress;
use super::stack::Values;
use crate::abi;
use cranelift_codegen::ir::{
    Block, BlockArg, BlockCall, InstBuilder, JumpTableData, SourceLoc, Type, Value,
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
    /// Whether all that goes there so far is unlikely.
    exit_is_cold: bool,
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
    Then {
        otherwise: Block,
        params: Values,
        /// Whether `otherwise` can be what follows the `if`, should there be no `else`.
        joins: bool,
    },
    /// A `try_table`, by the place of its first handler in the list.
    Try(usize),
}

/// A conditional branch that was translated, but for the branch itself. Where the next operator goes on to another block, the
/// branch does, and no block comes between.
pub(super) struct PendingBranch {
    condition: Value,
    target: Block,
    args: BlockArgs,
    location: SourceLoc,
}

impl FuncTranslator<'_, '_> {
    pub(super) fn push_function_frame(&mut self, ty: &WasmFuncType) {
        self.control.push(Frame {
            kind: FrameKind::Block,
            height: 0,
            params: Types::new(),
            results: ty.results().iter().map(|ty| abi::value_type(*ty)).collect(),
            exit: None,
            exit_is_cold: true,
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
                let condition = self.pop_condition();
                let likelihood = self.branch_likelihood();
                self.block(*blockty, |t, params| {
                    t.begin_if(condition, params, likelihood)
                })?;
            }
            Operator::Else => self.end_then(),
            Operator::End => self.end(),
            Operator::Br { relative_depth } => self.br(*relative_depth),
            Operator::BrIf { relative_depth } => {
                let condition = self.pop_condition();
                let likelihood = self.branch_likelihood();
                self.br_if_likely(condition, *relative_depth, likelihood);
            }
            Operator::BrTable { targets } => self.br_table(targets)?,
            Operator::Return => {
                let results = self.control[0].results.len();
                let results = self.peek_canonical(results);
                self.leave_known_function(&results);
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
            exit_is_cold: true,
            at_start: self.interruption.progress,
            at_exit: Progress::default(),
        });
        Ok(())
    }

    /// Begins a `try_table` whose handlers are those from `first` on.
    pub(super) fn begin_try(&mut self, ty: BlockType, first: usize) -> Result<(), CompileError> {
        self.block(ty, |_, _| FrameKind::Try(first))
    }

    fn begin_loop(&mut self, params: &[Type]) -> FrameKind {
        let header = self.new_block(params);
        if self.is_cold() {
            self.builder.set_cold_block(header);
        }
        let args = self.pop_canonical(params.len());
        self.prepare_loop();
        self.ins().jump(header, &block_args(&args));
        self.builder.switch_to_block(header);
        self.push_block_params(header);
        self.check_at_loop();
        FrameKind::Loop(header)
    }

    fn begin_if(&mut self, condition: Value, params: &[Type], likelihood: Likelihood) -> FrameKind {
        let then = self.block_as_cold(likelihood == Likelihood::Unlikely);
        let otherwise = self.block_as_cold(likelihood == Likelihood::Likely);
        self.ins().brif(condition, then, &[], otherwise, &[]);
        self.builder.seal_block(then);
        self.extend_scope(then);
        self.builder.switch_to_block(then);
        let start = self.stack.len() - params.len();
        FrameKind::Then {
            otherwise,
            params: Values::from_slice(&self.stack[start..]),
            joins: params.is_empty() && likelihood != Likelihood::Likely && !self.is_interrupted(),
        }
    }

    /// Ends the first part of an `if` and begins the second.
    fn end_then(&mut self) {
        if self.reachable {
            self.jump_to_exit();
        }
        let frame = self.control.last_mut().expect(IN_FRAME);
        let kind = std::mem::replace(&mut frame.kind, FrameKind::Block);
        let FrameKind::Then {
            otherwise, params, ..
        } = kind
        else {
            unreachable!("the validator allows `else` only in an `if`");
        };
        self.stack.truncate(frame.height);
        self.stack.extend(params);
        self.interruption.progress = frame.at_start;
        self.builder.seal_block(otherwise);
        self.builder.switch_to_block(otherwise);
        self.reachable = true;
    }

    fn jump_to_exit(&mut self) {
        let (exit, arity) = self.label(0, LabelOf::End);
        if arity > 0 {
            self.flush_branch();
        }
        let args = self.pop_canonical(arity);
        self.jump(exit, &block_args(&args));
    }

    /// Ends the block with a jump, or with the branch that is pending and a jump where it is not taken.
    fn jump(&mut self, block: Block, args: &[BlockArg]) {
        match self.pending_branch.take() {
            // Both ways lead there.
            Some(branch) if branch.target == block => {
                self.ins().jump(block, args);
            }
            Some(branch) => self.branch(branch, block, args),
            None => {
                self.ins().jump(block, args);
            }
        }
    }

    /// Ends the block with a conditional branch.
    fn branch(&mut self, branch: PendingBranch, otherwise: Block, args: &[BlockArg]) {
        let location = self.builder.srcloc();
        self.builder.set_srcloc(branch.location);
        self.ins().brif(
            branch.condition,
            branch.target,
            &branch.args,
            otherwise,
            args,
        );
        self.builder.set_srcloc(location);
    }

    /// Ends the block with the branch that is pending, if there is one, and goes on in a new one.
    pub(super) fn flush_branch(&mut self) {
        if let Some(branch) = self.pending_branch.take() {
            let next = self.block_as_cold(false);
            self.branch(branch, next, &[]);
            self.go_on(next);
        }
    }

    /// Goes on in a block to which there is one way, from the end of the current one.
    fn go_on(&mut self, next: Block) {
        self.builder.seal_block(next);
        self.extend_scope(next);
        self.builder.switch_to_block(next);
    }

    /// Whether an operator can follow a branch that is pending.
    pub(super) fn takes_pending_branch(op: &Operator<'_>) -> bool {
        matches!(op, Operator::Br { .. } | Operator::Else | Operator::End)
    }

    /// Ends a structured instruction, or the function.
    fn end(&mut self) {
        let frame = self.control.last().expect(IN_FRAME);
        match &frame.kind {
            FrameKind::Then {
                otherwise,
                joins: true,
                ..
            } if frame.exit.is_none() => {
                let next = *otherwise;
                return self.end_if(next);
            }
            FrameKind::Then { .. } => self.end_then(),
            FrameKind::Loop(_) | FrameKind::Try(_) => self.flush_branch(),
            FrameKind::Block => {}
        }
        let frame = self.control.last().expect(IN_FRAME);
        // Landing blocks are filled between the end of the body and what follows.
        let has_landings = matches!(frame.kind, FrameKind::Try(first) if self.has_landings(first));
        if self.reachable && (frame.exit.is_some() || has_landings) {
            self.jump_to_exit();
        }
        let frame = self.control.pop().expect(IN_FRAME);
        match frame.kind {
            FrameKind::Loop(header) => self.builder.seal_block(header),
            FrameKind::Try(first) => self.end_handlers(first),
            FrameKind::Block | FrameKind::Then { .. } => {}
        }
        if let Some(exit) = frame.exit {
            if frame.exit_is_cold {
                self.builder.set_cold_block(exit);
            }
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
            self.flush_branch();
            self.settle();
            let results = self.pop_canonical(frame.results.len());
            self.leave_known_function(&results);
            self.ins().return_(&results);
            self.reachable = false;
        }
    }

    /// Ends an `if` that has no `else`, no parameters and no results, and goes on in `next`, where code went on so far if the
    /// condition was zero.
    fn end_if(&mut self, next: Block) {
        if self.reachable {
            self.jump(next, &[]);
        }
        let frame = self.control.pop().expect(IN_FRAME);
        self.stack.truncate(frame.height);
        self.builder.seal_block(next);
        self.builder.switch_to_block(next);
        self.reachable = true;
    }

    pub(super) fn new_block(&mut self, params: &[Type]) -> Block {
        let block = self.builder.create_block();
        for ty in params {
            self.builder.append_block_param(block, *ty);
        }
        block
    }

    fn push_block_params(&mut self, block: Block) {
        let params = self.builder.block_params(block);
        let n = params.len();
        self.stack.extend_from_slice(params);
        self.track(n);
    }

    /// The block of a label and the number of its arguments. What branches to this label have to do is done here: the
    /// branch has to follow.
    fn label(&mut self, depth: u32, of: LabelOf) -> (Block, usize) {
        self.label_of_frame(self.control.len() - 1 - depth as usize, of)
    }

    /// As [`Self::label`], of the frame at `index`, counted from the outermost.
    pub(super) fn label_of_frame(&mut self, index: usize, of: LabelOf) -> (Block, usize) {
        let is_cold = self.is_cold();
        self.label_as_cold(index, of, is_cold)
    }

    /// Like [`Self::label_of_frame`], for a branch that is perhaps unlikely.
    fn label_as_cold(&mut self, index: usize, of: LabelOf, is_cold: bool) -> (Block, usize) {
        let frame = &mut self.control[index];
        if let (FrameKind::Loop(header), LabelOf::Branch) = (&frame.kind, of) {
            let label = (*header, frame.params.len());
            let at_start = frame.at_start;
            self.prepare_branch(at_start, true);
            return label;
        }
        frame.exit_is_cold &= is_cold;
        let arity = frame.results.len();
        let at_exit = frame.at_exit;
        if let Some(exit) = frame.exit {
            self.prepare_branch(at_exit, false);
            self.control[index].at_exit = self.meet(at_exit);
            return (exit, arity);
        }
        let results = frame.results.clone();
        let exit = self.new_block(&results);
        self.control[index].exit = Some(exit);
        self.control[index].at_exit = self.interruption.progress;
        (exit, arity)
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

    /// Whether a branch goes back to the start of a loop, or out of one.
    fn decides_loop(&self, depth: u32) -> bool {
        let index = self.control.len() - 1 - depth as usize;
        let mut frames = self.control[index..].iter();
        frames.any(|frame| matches!(frame.kind, FrameKind::Loop(_)))
    }

    pub(super) fn br(&mut self, depth: u32) {
        self.jump_to_label(depth);
        self.set_unreachable();
    }

    /// Ends the block with a jump to a label; its arguments stay on the stack.
    pub(super) fn jump_to_label(&mut self, depth: u32) {
        // Code that is on another way goes on from here.
        let progress = self.interruption.progress;
        if self.label_arity(depth) > 0 {
            self.flush_branch();
        }
        let (block, arity) = self.label(depth, LabelOf::Branch);
        let args = self.peek_canonical(arity);
        self.jump(block, &block_args(&args));
        self.interruption.progress = progress;
    }

    /// Branches if `condition` is not zero; the label's arguments stay on the stack.
    pub(super) fn br_if(&mut self, condition: Value, depth: u32) {
        self.br_if_likely(condition, depth, Likelihood::Unknown);
        self.flush_branch();
    }

    fn br_if_likely(&mut self, condition: Value, depth: u32, likelihood: Likelihood) {
        // A loop's branch tells how often the loop runs, not how often what follows it does.
        let likelihood = match self.decides_loop(depth) {
            true => Likelihood::Unknown,
            false => likelihood,
        };
        let is_cold = self.is_cold() || likelihood == Likelihood::Unlikely;
        let index = self.control.len() - 1 - depth as usize;
        let (block, arity) = self.label_as_cold(index, LabelOf::Branch, is_cold);
        let args = self.peek_canonical(arity);
        let branch = PendingBranch {
            condition,
            target: block,
            args: block_args(&args),
            location: self.builder.srcloc(),
        };
        if likelihood == Likelihood::Unknown && !self.is_interrupted() {
            self.pending_branch = Some(branch);
            return;
        }
        let next = self.block_as_cold(likelihood == Likelihood::Likely);
        self.branch(branch, next, &[]);
        self.go_on(next);
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
        let condition = self.pop_condition();
        let (a, b) = self.pop2();
        let (a, b) = (self.canonical(a), self.canonical(b));
        let value = self.ins().select(condition, a, b);
        self.push(value);
        self.track(1);
    }
}

/// Which block of a frame is meant.
#[derive(Copy, Clone)]
pub(super) enum LabelOf {
    /// Where branches to the frame go.
    Branch,
    /// What follows the frame's end.
    End,
}

pub(super) fn block_args(values: &[Value]) -> BlockArgs {
    values.iter().map(|value| BlockArg::Value(*value)).collect()
}

/// Why there is a frame.
const IN_FRAME: &str = "the validator checked that the function has not ended";
