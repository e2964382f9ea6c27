//! Which calls are replaced by the bodies of the functions that they call.
//!
//! It is decided for the whole module before anything is compiled, by the lengths of bodies and by who calls whom, so that
//! functions can be compiled in any order, on any number of threads, to the same code.

use super::{BodyFacts, CallSite};
use crate::{DefinedFuncIndex, EntityRef, FuncIndex, Module, PrimaryMap, SecondaryMap};
use core::cmp::Reverse;

/// Bodies up to so many bytes, with all that is inlined in them, are inlined wherever they are called: a call takes
/// about as much code.
const SMALL: u32 = 20;

/// Bodies up to so many bytes are inlined in loops.
const IN_LOOP: u32 = 64;

/// Bodies up to so many bytes are inlined in the only place that they are called from.
const CALLED_ONCE: u32 = 48;

/// Bodies up to so many bytes are inlined in themselves, but in loops: what a loop needs is spilled if a copy of the loop is in
/// it.
const RECURSIVE: u32 = 160;

/// However short a function is, so many bytes may be inlined in it.
const MIN_BUDGET: u32 = 240;

/// The part of its length that a function may grow by.
const BUDGET_PART: u32 = 12;

/// A call that is inlined.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct InlinedCall {
    /// The offset of the operator in the binary.
    pub offset: u32,
    /// What it calls.
    pub callee: DefinedFuncIndex,
    /// Whether the callee calls the caller, be it by way of others. Such a call is inlined in the function itself, but not
    /// in copies of it, which would not end.
    pub is_recursive: bool,
}

/// The calls that are inlined.
#[derive(Clone, Debug, Default)]
pub struct InliningPlan {
    calls: SecondaryMap<DefinedFuncIndex, Vec<InlinedCall>>,
}

impl InliningPlan {
    /// The calls of a function that are inlined, in order of their offsets.
    pub fn calls(&self, func: DefinedFuncIndex) -> &[InlinedCall] {
        &self.calls[func]
    }

    /// Decides by what is known of all bodies. `escapes` says which functions can be called by others than the module's
    /// own code.
    pub(super) fn new(
        module: &Module,
        bodies: &PrimaryMap<DefinedFuncIndex, BodyFacts>,
        escapes: impl Fn(FuncIndex) -> bool,
    ) -> InliningPlan {
        let own_calls = |facts: &BodyFacts| {
            let calls = facts.calls.iter();
            let calls =
                calls.filter_map(|call| Some((*call, module.defined_func_index(call.callee)?)));
            calls
                .filter(|(_, callee)| callee.index() < bodies.len())
                .collect()
        };
        let calls: PrimaryMap<DefinedFuncIndex, Vec<_>> = bodies.values().map(own_calls).collect();
        let mut callers: SecondaryMap<DefinedFuncIndex, u32> = bodies
            .keys()
            .map(|func| (func, u32::from(escapes(module.func_index(func)))))
            .collect();
        for (_, callee) in calls.values().flatten() {
            callers[*callee] += 1;
        }
        let mut planner = Planner {
            bodies,
            components: Components::new(&calls),
            calls,
            callers,
            lengths: SecondaryMap::new(),
            plan: InliningPlan::default(),
        };
        // Callees come before their callers.
        let members = std::mem::take(&mut planner.components.members);
        for component in members.chunk_by(|a, b| a.0 == b.0) {
            let left: Vec<_> = component
                .iter()
                .map(|(_, func)| planner.inline_others(*func))
                .collect();
            for ((_, func), left) in component.iter().zip(left) {
                planner.inline_recursive(*func, left);
            }
        }
        planner.plan
    }
}

struct Planner<'a> {
    bodies: &'a PrimaryMap<DefinedFuncIndex, BodyFacts>,
    components: Components,
    calls: PrimaryMap<DefinedFuncIndex, Vec<(CallSite, DefinedFuncIndex)>>,
    /// From how many places each function is called.
    callers: SecondaryMap<DefinedFuncIndex, u32>,
    /// The length of a copy of each function.
    lengths: SecondaryMap<DefinedFuncIndex, u32>,
    plan: InliningPlan,
}

impl Planner<'_> {
    /// The length up to which a function is inlined in place of a call.
    fn limit(&self, func: DefinedFuncIndex, call: &CallSite, callee: DefinedFuncIndex) -> u32 {
        if callee == func && call.loop_depth == 0 {
            RECURSIVE
        } else if self.callers[callee] == 1 {
            CALLED_ONCE
        } else if call.loop_depth > 0 {
            IN_LOOP
        } else {
            SMALL
        }
    }

    /// Plans for calls of functions that do not call back, and returns how many bytes more may be inlined.
    fn inline_others(&mut self, func: DefinedFuncIndex) -> u32 {
        let len = self.bodies[func].len;
        let budget = (len / BUDGET_PART).max(MIN_BUDGET);
        let left = self.inline(func, budget, false);
        self.lengths[func] = len.saturating_add(budget - left);
        left
    }

    /// Plans for calls of functions that call back.
    fn inline_recursive(&mut self, func: DefinedFuncIndex, budget: u32) {
        self.inline(func, budget, true);
        self.plan.calls[func].sort_unstable_by_key(|call| call.offset);
    }

    fn inline(&mut self, func: DefinedFuncIndex, mut budget: u32, is_recursive: bool) -> u32 {
        let component = self.components.of[func];
        let mut calls: Vec<_> = self.calls[func]
            .iter()
            .filter(|(_, callee)| (self.components.of[*callee] == component) == is_recursive)
            .filter(|(_, callee)| !self.bodies[*callee].never_returns)
            .filter(|(call, callee)| self.lengths[*callee] <= self.limit(func, call, *callee))
            .collect();
        // What is executed most often comes first, and then what is cheapest.
        calls.sort_by_key(|(call, callee)| {
            (Reverse(call.loop_depth), self.lengths[*callee], call.offset)
        });
        for (call, callee) in calls {
            if let Some(left) = budget.checked_sub(self.lengths[*callee]) {
                budget = left;
                self.plan.calls[func].push(InlinedCall {
                    offset: call.offset,
                    callee: *callee,
                    is_recursive,
                });
            }
        }
        budget
    }
}

/// The strongly connected components of the graph of calls: the functions of one call each other, be it by way of others.
struct Components {
    /// All functions with the numbers of their components, component by component, each after those that it calls.
    members: Vec<(u32, DefinedFuncIndex)>,
    /// The number of each function's component.
    of: SecondaryMap<DefinedFuncIndex, u32>,
}

impl Components {
    /// Finds them by Tarjan's algorithm, without recursion: chains of calls can be as long as a module has functions.
    fn new(calls: &PrimaryMap<DefinedFuncIndex, Vec<(CallSite, DefinedFuncIndex)>>) -> Components {
        const UNSEEN: u32 = u32::MAX;
        let mut found = Components {
            members: Vec::with_capacity(calls.len()),
            of: SecondaryMap::new(),
        };
        // The order in which functions were seen, and the first function seen that each leads back to.
        let mut seen = SecondaryMap::with_default(UNSEEN);
        let mut first = SecondaryMap::with_default(UNSEEN);
        let mut is_open = SecondaryMap::with_default(false);
        let mut open = Vec::new();
        let mut next = 0;
        let mut component = 0;
        for root in calls.keys() {
            if seen[root] != UNSEEN {
                continue;
            }
            let mut path = vec![(root, 0)];
            while let Some((func, position)) = path.last_mut() {
                let func = *func;
                if *position == 0 {
                    (seen[func], first[func]) = (next, next);
                    next += 1;
                    open.push(func);
                    is_open[func] = true;
                }
                if let Some((_, callee)) = calls[func].get(*position) {
                    *position += 1;
                    if seen[*callee] == UNSEEN {
                        path.push((*callee, 0));
                    } else if is_open[*callee] {
                        first[func] = first[func].min(seen[*callee]);
                    }
                    continue;
                }
                path.pop();
                if let Some((caller, _)) = path.last() {
                    first[*caller] = first[*caller].min(first[func]);
                }
                if first[func] == seen[func] {
                    let start = open
                        .iter()
                        .rposition(|member| *member == func)
                        .expect("it is open");
                    for member in open.drain(start..) {
                        is_open[member] = false;
                        found.of[member] = component;
                        found.members.push((component, member));
                    }
                    component += 1;
                }
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A module of functions that are of these lengths and make these calls, in loops or not.
    fn plan(functions: &[(u32, &[(u32, u32)])]) -> InliningPlan {
        let bodies = functions.iter().map(|(len, calls)| BodyFacts {
            len: *len,
            calls: calls
                .iter()
                .enumerate()
                .map(|(i, (callee, loop_depth))| CallSite {
                    offset: i as u32,
                    callee: FuncIndex::from_u32(*callee),
                    loop_depth: *loop_depth,
                })
                .collect(),
            ..BodyFacts::default()
        });
        let module = Module {
            num_functions: functions.len(),
            ..Module::default()
        };
        InliningPlan::new(&module, &bodies.collect(), |_| true)
    }

    fn inlined(plan: &InliningPlan, func: u32) -> Vec<(u32, u32, bool)> {
        let calls = plan.calls(DefinedFuncIndex::from_u32(func)).iter();
        calls
            .map(|call| (call.offset, call.callee.as_u32(), call.is_recursive))
            .collect()
    }

    #[test]
    fn short_functions_are_inlined_and_longer_ones_in_loops() {
        let plan = plan(&[
            (1000, &[(1, 0), (2, 0), (2, 1), (3, 2)]),
            (SMALL, &[]),
            (SMALL + 1, &[]),
            (IN_LOOP + 1, &[]),
        ]);
        assert_eq!(inlined(&plan, 0), [(0, 1, false), (2, 2, false)]);
    }

    #[test]
    fn copies_count_with_all_that_is_inlined_in_them() {
        let plan = plan(&[(100, &[(1, 0)]), (SMALL - 1, &[(2, 0)]), (2, &[])]);
        assert_eq!(inlined(&plan, 0), []);
        assert_eq!(inlined(&plan, 1), [(0, 2, false)]);
    }

    #[test]
    fn functions_do_not_grow_without_bounds() {
        let calls: Vec<_> = (0..100).map(|_| (1, 0)).collect();
        let plan = plan(&[(100, &calls), (SMALL, &[])]);
        assert_eq!(inlined(&plan, 0).len() as u32, MIN_BUDGET / SMALL);
    }

    #[test]
    fn recursion_is_inlined_in_functions_and_not_in_their_copies() {
        let plan = plan(&[(10, &[(1, 0), (2, 0)]), (10, &[(0, 0)]), (5, &[(2, 0)])]);
        assert_eq!(inlined(&plan, 0), [(0, 1, true), (1, 2, false)]);
        assert_eq!(inlined(&plan, 1), [(0, 0, true)]);
        assert_eq!(inlined(&plan, 2), [(0, 2, true)]);
    }

    #[test]
    fn recursion_in_loops_is_inlined_as_other_calls_there() {
        let plan = plan(&[
            (IN_LOOP + 1, &[(0, 0), (0, 1)]),
            (IN_LOOP, &[(1, 1), (1, 1)]),
        ]);
        assert_eq!(inlined(&plan, 0), [(0, 0, true)]);
        assert_eq!(inlined(&plan, 1), [(0, 1, true), (1, 1, true)]);
    }

    #[test]
    fn chains_may_be_as_long_as_the_module() {
        let calls: Vec<[(u32, u32); 1]> = (1..=100_000).map(|i| [(i, 0)]).collect();
        let functions: Vec<_> = calls.iter().map(|calls| (SMALL + 1, &calls[..])).collect();
        assert_eq!(inlined(&plan(&functions), 0), []);
    }
}
