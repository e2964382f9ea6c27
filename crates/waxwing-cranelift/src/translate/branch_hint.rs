//! Which code is likely to run, by what the module says of its branches.
//!
//! Blocks that are unlikely to run are cold: they are placed behind all others, so that likely code runs
//! straight on. A block is cold if an unlikely branch leads to it, if it follows one that is, or if
//! nothing but such blocks lead to it.

use super::FuncTranslator;
use cranelift_codegen::ir::Block;

/// Whether the condition of a branch is likely to be true.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum Likelihood {
    Unknown,
    Likely,
    Unlikely,
}

impl FuncTranslator<'_, '_> {
    /// What the module says of the branch that is being translated.
    pub(super) fn branch_likelihood(&mut self) -> Likelihood {
        let position = self.builder.srcloc().bits();
        let Some(offset) = position.checked_sub(self.body_start) else {
            return Likelihood::Unknown;
        };
        // Hints for other instructions, and for those that are not translated, are passed over.
        while let [hint, rest @ ..] = self.branch_hints
            && hint.offset <= offset
        {
            self.branch_hints = rest;
            if hint.offset == offset {
                return match hint.likely {
                    true => Likelihood::Likely,
                    false => Likelihood::Unlikely,
                };
            }
        }
        Likelihood::Unknown
    }

    /// Whether the current block is unlikely to run.
    pub(super) fn is_cold(&self) -> bool {
        let block = self.builder.current_block();
        block.is_some_and(|block| self.builder.func.layout.is_cold(block))
    }

    /// A new block that comes after the current one, and is cold if that is, or if `is_cold`.
    pub(super) fn block_as_cold(&mut self, is_cold: bool) -> Block {
        let block = self.builder.create_block();
        if is_cold || self.is_cold() {
            self.builder.set_cold_block(block);
        }
        block
    }
}
