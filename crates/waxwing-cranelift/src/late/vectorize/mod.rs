//! Loops that compute several iterations at a time, in vectors.
//!
//! A loop that is one block, of arithmetic and of loads and stores at addresses that advance evenly, gets a copy in front of
//! it that works on vectors. Code before that (`guard.rs`) proves that no access of the iterations that it stands for
//! traps, and that none of those done at a time touches what another one stores. Where it cannot, and for the last
//! iterations, the loop runs as it is: it is not changed, so that traps, exits, and values that are used after it are its
//! own.
//!
//! | what is found out | where |
//! |---|---|
//! | which blocks are loops, what counts in them, how often they run | `shape.rs` |
//! | numbers that advance by the same amount in each iteration | `affine.rs` |
//! | what is accessed, as classes of addresses that advance together | `access.rs` |
//! | which values are lanes of one vector | `pack.rs` |
//! | how wide lanes must be for numbers | `range.rs` |
//!
//! clang unrolls loops: an iteration has copies of itself, on elements that follow each other. Such copies are
//! lanes as iterations are.

mod access;
mod affine;
mod emit;
mod guard;
mod pack;
mod range;
mod shape;
#[cfg(test)]
mod tests;

use access::Accesses;
use cranelift_codegen::ir::{Block, Function};
use pack::Packs;
use shape::Loop;

/// A linear memory of which loops are vectorized: one that the instance owns, that threads do not share, that does
/// not move, and the guard pages of which catch any access at a 32-bit index.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Heap {
    /// Where in the vmctx its address is.
    pub(crate) base: i32,
    /// Where in the vmctx its length is.
    pub(crate) length: i32,
    /// How far behind an index an access may end for guard pages to catch it.
    pub(crate) reach: u64,
}

/// A loop and all that is needed to make a copy of it on vectors.
struct Plan {
    shape: Loop,
    accesses: Accesses,
    packs: Packs,
    heap: Heap,
}

/// Vectorizes what can be of `func`. Says whether it has new blocks.
pub(super) fn run(func: &mut Function, heaps: &[Heap]) -> bool {
    if heaps.is_empty() {
        return false;
    }
    let mut changed = false;
    let mut next = func.layout.entry_block();
    while let Some(block) = next {
        next = func.layout.next_block(block);
        if let Some(plan) = plan(func, heaps, block) {
            emit::copy(func, &plan);
            changed = true;
        }
    }
    changed
}

fn plan(func: &Function, heaps: &[Heap], block: Block) -> Option<Plan> {
    let branch = shape::candidate(func, block)?;
    let shape = Loop::new(func, block, branch)?;
    let (mut accesses, heap) = Accesses::new(func, &shape, heaps)?;
    let packs = Packs::new(func, &shape, &accesses)?;
    accesses.settle_order(&shape, &packs).then_some(Plan {
        shape,
        accesses,
        packs,
        heap,
    })
}
