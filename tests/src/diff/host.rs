use super::observe::Outcome;
use super::value::{Type, Value};
use crate::rng::Rng;
use std::fmt;
use std::sync::Arc;

/// How deeply host functions call back into the module.
const MAX_DEPTH: u32 = 3;

/// An exported function.
#[derive(Clone, Debug)]
pub struct Function {
    pub name: String,
    pub params: Vec<Type>,
    pub results: Vec<Type>,
}

/// What both engines' host functions do, and what they saw.
pub struct Host {
    seed: u64,
    functions: Arc<[Function]>,
    depth: u32,
    pub calls: Vec<HostCall>,
}

/// One event between a module and its host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostCall {
    /// The module called import `import`.
    Called { import: usize, args: Vec<Value> },
    /// The host called back and this came of it.
    CalledBack { outcome: Outcome },
}

/// What a host function does when it is called.
pub struct Reaction {
    /// An exported function to call first, with these arguments.
    pub call_back: Option<(Function, Vec<Value>)>,
    /// What to answer; `None` to fail, with the error of calling back if there was one.
    pub answer: Option<Vec<Value>>,
}

/// The error with which host functions fail.
#[derive(Clone, Copy, Debug)]
pub struct HostFailure;

impl fmt::Display for HostFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the host function failed on purpose")
    }
}

impl std::error::Error for HostFailure {}
impl wasmi::errors::HostError for HostFailure {}

impl Host {
    pub fn new(functions: &Arc<[Function]>, seed: u64) -> Self {
        Host {
            seed,
            functions: functions.clone(),
            depth: 0,
            calls: Vec::new(),
        }
    }

    /// Import `import` was called with `args` and must answer with values of types `results`.
    /// `instantiated` tells whether there is an instance to call back into.
    pub fn called(
        &mut self,
        import: usize,
        args: Vec<Value>,
        results: &[Type],
        instantiated: bool,
    ) -> Reaction {
        let mut rng = Rng::of(&[self.seed, import as u64, self.calls.len() as u64]);
        self.calls.push(HostCall::Called { import, args });
        let possible = instantiated && self.depth < MAX_DEPTH && !self.functions.is_empty();
        let call_back = if possible && rng.one_in(10) {
            self.depth += 1;
            let function = rng.choose(&self.functions).clone();
            let args = random_values(&mut rng, &function.params);
            Some((function, args))
        } else {
            None
        };
        let answer = (!rng.one_in(20)).then(|| random_values(&mut rng, results));
        Reaction { call_back, answer }
    }

    /// A call back came to `outcome`.
    pub fn called_back(&mut self, outcome: Outcome) {
        self.depth -= 1;
        self.calls.push(HostCall::CalledBack { outcome });
    }
}

/// A value for each of `types`.
pub fn random_values(rng: &mut Rng, types: &[Type]) -> Vec<Value> {
    types.iter().map(|ty| Value::random(rng, *ty)).collect()
}
