//! Replacing calls by the bodies of the functions that they call.
//!
//! Where an instruction is in the wasm binary is its source location. In a function with inlined calls, locations are in a
//! space of the function's own: first comes its body, at its place in the binary, and behind it a copy of the body of each
//! inlined function. What is inlined in an inlined function brings its copies along. So a location says where an
//! instruction is and by which calls it came there.

use crate::compiler::{CraneliftCompiler, Scratch, called_function};
use crate::translate;
use cranelift_codegen::inline::{Inline, InlineCommand};
use cranelift_codegen::ir::{Block, FuncRef, Function, Inst, Opcode, SourceLoc, Value};
use std::borrow::Cow;
use std::collections::HashMap;
use waxwing_environ::address_map::NO_WASM_OFFSET;
use waxwing_environ::compile::{CompileError, InlinedCall, InlinedCode, ModuleTranslation};
use waxwing_environ::{DefinedFuncIndex, EntityRef, InlinedFunction};

/// A copy of a body in the space of locations of a function. Numbers are relative to where the function's own body
/// begins.
#[derive(Copy, Clone, Debug)]
struct BodyCopy {
    /// Where the copy begins.
    start: u32,
    /// What is copied.
    func: DefinedFuncIndex,
    /// Where the body itself is in the binary.
    body: u32,
    /// Where the call is.
    call: u32,
}

/// The locations of instructions of a function.
#[derive(Default)]
pub(crate) struct Locations {
    /// Where the function's body begins in the binary.
    body: u32,
    /// How much of the space is taken.
    end: u32,
    /// The copies in order.
    copies: Vec<BodyCopy>,
}

impl Locations {
    pub(crate) fn clear(&mut self, body: u32, len: u32) {
        self.body = body;
        self.end = len;
        self.copies.clear();
    }

    /// Makes room for the body of `callee`, a function with these locations, and returns where it begins. `None` if there is none.
    fn add(&mut self, callee: &Locations, func: DefinedFuncIndex, call: SourceLoc) -> Option<u32> {
        let start = self.end;
        // The greatest number is no location.
        self.end = start
            .checked_add(callee.end)
            .filter(|end| self.body.checked_add(*end).is_some())?;
        self.copies.push(BodyCopy {
            start,
            func,
            body: callee.body,
            call: call.bits().wrapping_sub(self.body),
        });
        self.copies
            .extend(callee.copies.iter().map(|copy| BodyCopy {
                start: start + copy.start,
                call: start + copy.call,
                ..*copy
            }));
        Some(start)
    }

    /// The place in `copies` that a location, relative to the body, belongs to.
    fn copy_of(&self, at: u32) -> Option<usize> {
        self.copies
            .partition_point(|copy| copy.start <= at)
            .checked_sub(1)
    }

    /// Where a location, relative to the body, is in the binary.
    fn in_binary(&self, at: u32) -> u32 {
        match self.copy_of(at) {
            Some(place) => {
                let copy = &self.copies[place];
                copy.body + (at - copy.start)
            }
            None => self.body + at,
        }
    }

    /// Replaces locations by offsets in the binary in a map of a function's code, and returns which code is of inlined
    /// functions.
    pub(crate) fn resolve(&self, map: &mut Vec<(u32, u32)>) -> InlinedCode {
        let mut resolved = Resolved {
            locations: self,
            places: HashMap::new(),
            code: InlinedCode::default(),
        };
        if self.copies.is_empty() {
            return resolved.code;
        }
        for (offset, location) in &mut *map {
            let copy = match *location {
                NO_WASM_OFFSET => None,
                location => self.copy_of(location.wrapping_sub(self.body)),
            };
            let place = copy.map(|copy| resolved.place(copy));
            let code = &mut resolved.code.code;
            if code
                .last()
                .map_or(place.is_some(), |(_, last)| *last != place)
            {
                code.push((*offset, place));
            }
            if *location != NO_WASM_OFFSET {
                *location = self.in_binary(location.wrapping_sub(self.body));
            }
        }
        map.dedup_by_key(|(_, location)| *location);
        resolved.code
    }
}

struct Resolved<'a> {
    locations: &'a Locations,
    /// The places of copies in the list of functions.
    places: HashMap<usize, u32>,
    code: InlinedCode,
}

impl Resolved<'_> {
    fn place(&mut self, copy: usize) -> u32 {
        if let Some(place) = self.places.get(&copy) {
            return *place;
        }
        let BodyCopy {
            func, body, call, ..
        } = self.locations.copies[copy];
        // Calls are in copies that come before.
        let caller = self
            .locations
            .copy_of(call)
            .map(|caller| self.place(caller));
        let functions = &mut self.code.functions;
        let place = functions.len() as u32;
        functions.push(InlinedFunction {
            func,
            start: body,
            call: self.locations.in_binary(call),
            caller,
        });
        self.places.insert(copy, place);
        place
    }
}

/// Inlines calls in the function `index`, which was translated in `scratch`, as planned. With `is_copy` it is to be
/// inlined itself.
pub(crate) fn inline_calls(
    compiler: &CraneliftCompiler,
    translation: &ModuleTranslation<'_>,
    index: DefinedFuncIndex,
    is_copy: bool,
    scratch: &mut Scratch,
) -> Result<(), CompileError> {
    let range = translation.bodies[index].body.range();
    let body = u32::try_from(range.start).unwrap_or(NO_WASM_OFFSET);
    let len = u32::try_from(range.end - range.start).unwrap_or(NO_WASM_OFFSET);
    scratch.locations.clear(body, len);
    let calls = translation.inlining.calls(index);
    let mut inliner = Inliner {
        compiler,
        translation,
        calls,
        is_copy,
        callees: HashMap::new(),
        inlined: Vec::new(),
        locations: &mut scratch.locations,
    };
    if !calls.iter().any(|call| inliner.is_wanted(call)) {
        return Ok(());
    }
    scratch
        .codegen
        .inline(&mut inliner)
        .map_err(|error| CompileError::Codegen(error.to_string()))?;
    let Inliner {
        callees, inlined, ..
    } = inliner;
    for call in &inlined {
        if let Some(Some(callee)) = callees.get(&call.callee) {
            call.locate(
                &mut scratch.codegen.func,
                &callee.codegen.func,
                scratch.locations.body,
                callee.locations.body,
            );
        }
    }
    for callee in callees.into_values().flatten() {
        compiler.give_back(callee);
    }
    Ok(())
}

/// A call that was inlined.
struct Inlined {
    callee: DefinedFuncIndex,
    /// The number of blocks that the function had before: the callee's follow them, in their order.
    first_block: usize,
    /// Where the callee's body is in the space of locations.
    start: u32,
    call: SourceLoc,
    /// Whether the call is in a cold block.
    is_cold: bool,
}

impl Inlined {
    /// Gives the instructions of the copy of `callee` in `func` their locations. Each comes from the body at `body` in the
    /// callee's locations.
    fn locate(&self, func: &mut Function, callee: &Function, func_body: u32, body: u32) {
        for callee_block in callee.layout.blocks() {
            let mut block = Block::from_u32((self.first_block + callee_block.index()) as u32);
            if !func.layout.is_block_inserted(block) {
                // It cannot be reached, and was left out.
                continue;
            }
            if self.is_cold {
                func.layout.set_cold(block);
            }
            let mut next = func.layout.first_inst(block);
            for callee_inst in callee.layout.block_insts(callee_block) {
                // A call within reach of the caller's handlers ends a block, and what follows it is in the next.
                let inst = match next {
                    Some(inst) => inst,
                    None => {
                        let Some(following) = func.layout.next_block(block) else {
                            return;
                        };
                        block = following;
                        if self.is_cold {
                            func.layout.set_cold(block);
                        }
                        let Some(first) = func.layout.first_inst(block) else {
                            return;
                        };
                        first
                    }
                };
                next = func.layout.next_inst(inst);
                let location = callee.srcloc(callee_inst);
                let is_tail_call = matches!(
                    callee.dfg.insts[callee_inst].opcode(),
                    Opcode::ReturnCall | Opcode::ReturnCallIndirect
                );
                if is_tail_call {
                    // The callee is gone when what it calls is executed.
                    func.set_srcloc(inst, self.call);
                } else if !location.is_default() {
                    let at = location.bits().wrapping_sub(body);
                    func.set_srcloc(inst, SourceLoc::new(func_body + self.start + at));
                }
            }
        }
    }
}

struct Inliner<'a, 'data> {
    compiler: &'a CraneliftCompiler,
    translation: &'a ModuleTranslation<'data>,
    /// The calls of the function that may be inlined.
    calls: &'a [InlinedCall],
    /// Whether the function is to be inlined itself.
    is_copy: bool,
    /// The functions that were asked for, or nothing of one that cannot be translated.
    callees: HashMap<DefinedFuncIndex, Option<Box<Scratch>>>,
    inlined: Vec<Inlined>,
    locations: &'a mut Locations,
}

impl Inliner<'_, '_> {
    fn is_wanted(&self, call: &InlinedCall) -> bool {
        !(self.is_copy && call.is_recursive)
    }

    /// Translates a function to be inlined.
    fn translate(&self, index: DefinedFuncIndex) -> Result<Box<Scratch>, CompileError> {
        let mut scratch = self.compiler.take();
        let body = self.translation.bodies[index].clone();
        translate::translate(
            self.compiler,
            self.translation,
            index,
            body,
            true,
            &mut scratch,
        )?;
        inline_calls(self.compiler, self.translation, index, true, &mut scratch)?;
        Ok(scratch)
    }

    /// What to inline in place of a call at a location, if anything is.
    fn plan(&mut self, caller: &Function, inst: Inst, callee: FuncRef) -> Option<DefinedFuncIndex> {
        let location = caller.srcloc(inst);
        let at = self
            .calls
            .binary_search_by_key(&location.bits(), |call| call.offset)
            .ok()?;
        let call = self.calls[at];
        if !self.is_wanted(&call) || called_function(caller, callee) != Some(call.callee) {
            return None;
        }
        if !self.callees.contains_key(&call.callee) {
            // What is wrong with a function is said when it is compiled itself.
            let callee = self.translate(call.callee).ok();
            self.callees.insert(call.callee, callee);
        }
        let callee = self.callees[&call.callee].as_ref()?;
        let start = self
            .locations
            .add(&callee.locations, call.callee, location)?;
        let block = caller.layout.inst_block(inst)?;
        self.inlined.push(Inlined {
            callee: call.callee,
            first_block: caller.dfg.num_blocks(),
            start,
            call: location,
            is_cold: caller.layout.is_cold(block),
        });
        Some(call.callee)
    }
}

impl Inline for Inliner<'_, '_> {
    fn inline(
        &mut self,
        caller: &Function,
        call_inst: Inst,
        call_opcode: Opcode,
        callee: FuncRef,
        _call_args: &[Value],
    ) -> InlineCommand<'_> {
        let planned = match call_opcode {
            Opcode::Call | Opcode::TryCall => self.plan(caller, call_inst, callee),
            _ => None,
        };
        let callee = planned.and_then(|planned| self.callees[&planned].as_ref());
        match callee {
            Some(callee) => InlineCommand::Inline {
                callee: Cow::Borrowed(&callee.codegen.func),
                visit_callee: false,
            },
            None => InlineCommand::KeepCall,
        }
    }
}
