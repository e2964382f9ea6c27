use super::host::{Function, HostCall, random_values};
use super::{Summary, Value};
use crate::rng::Rng;

/// How often each export is called.
const ROUNDS: u64 = 2;

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// With these results.
    Returned(Vec<Value>),
    /// With this trap.
    Trapped(&'static str),
    /// With an error of the host.
    HostFailed,
    /// Instantiation was refused for another reason than a trap.
    Refused,
    /// With an engine's own limit: nothing after it can be compared.
    Limit,
}

/// What an exported or imported item holds at the end.
#[derive(Clone, PartialEq, Eq)]
pub enum State {
    /// The bytes of a memory.
    Memory(Vec<u8>),
    /// The elements of a table.
    Table(Vec<Value>),
    /// The value of a global.
    Global(Value),
}

/// An engine with a module in it.
pub trait Machine {
    /// Makes the imports and instantiates the module.
    fn instantiate(&mut self) -> Outcome;
    /// Exported functions in order.
    fn functions(&self) -> &[Function];
    /// Fills up the fuel.
    fn refuel(&mut self);
    /// Calls an exported function.
    fn call(&mut self, function: &Function, args: &[Value]) -> Outcome;
    /// What imports and exports hold, in order of their names.
    fn state(&mut self) -> Vec<(String, State)>;
    /// All events at host functions.
    fn into_host_calls(self) -> Vec<HostCall>;
}

/// All that was seen of a run.
pub struct Observation {
    instantiated: Outcome,
    calls: Vec<(String, Vec<Value>, Outcome)>,
    state: Vec<(String, State)>,
    host_calls: Vec<HostCall>,
}

/// Instantiates a module and calls all it exports with arguments drawn from `seed`.
pub fn observe<M: Machine>(mut machine: M, seed: u64) -> Observation {
    let instantiated = machine.instantiate();
    let mut calls = Vec::new();
    if let Outcome::Returned(_) = instantiated {
        let functions = machine.functions().to_vec();
        for round in 0..ROUNDS {
            for (index, function) in functions.iter().enumerate() {
                let mut rng = Rng::of(&[seed, round, index as u64]);
                let args = random_values(&mut rng, &function.params);
                machine.refuel();
                let outcome = machine.call(function, &args);
                calls.push((function.name.clone(), args, outcome));
            }
        }
    }
    Observation {
        instantiated,
        calls,
        state: machine.state(),
        host_calls: machine.into_host_calls(),
    }
}

impl Observation {
    fn reached_limit(&self) -> bool {
        let calls_back = self.host_calls.iter().filter_map(|call| match call {
            HostCall::CalledBack { outcome } => Some(outcome),
            HostCall::Called { .. } => None,
        });
        let calls = self.calls.iter().map(|(_, _, outcome)| outcome);
        calls
            .chain(calls_back)
            .chain([&self.instantiated])
            .any(|outcome| *outcome == Outcome::Limit)
    }

    pub fn summary(&self, other: &Observation) -> Summary {
        let returned = |(_, _, outcome): &&(_, _, Outcome)| matches!(outcome, Outcome::Returned(_));
        Summary {
            calls: self.calls.len() as u64,
            returned: self.calls.iter().filter(returned).count() as u64,
            host_calls: self.host_calls.len() as u64,
            inconclusive: self.reached_limit() || other.reached_limit(),
        }
    }

    /// Describes where `other` differs first. What follows an engine's own limit is not compared.
    pub fn first_difference(&self, other: &Observation) -> Option<String> {
        if self.reached_limit() || other.reached_limit() {
            return None;
        }
        for (index, (a, b)) in self.host_calls.iter().zip(&other.host_calls).enumerate() {
            if a != b {
                return Some(format!(
                    "event {index} at the host: wasmi {a:?}, waxwing {b:?}"
                ));
            }
        }
        if self.instantiated != other.instantiated {
            return Some(format!(
                "instantiation: wasmi {:?}, waxwing {:?}",
                self.instantiated, other.instantiated
            ));
        }
        for ((name, args, a), (_, _, b)) in self.calls.iter().zip(&other.calls) {
            if a != b {
                return Some(format!(
                    "call of `{name}` with {args:?}: wasmi {a:?}, waxwing {b:?}"
                ));
            }
        }
        if self.host_calls.len() != other.host_calls.len() {
            return Some(format!(
                "calls at the host: wasmi {}, waxwing {}",
                self.host_calls.len(),
                other.host_calls.len()
            ));
        }
        for ((name, a), (other_name, b)) in self.state.iter().zip(&other.state) {
            if name != other_name {
                return Some(format!(
                    "order of items: wasmi `{name}`, waxwing `{other_name}`"
                ));
            }
            if let Some(difference) = a.first_difference(b) {
                return Some(format!("contents of `{name}`: {difference}"));
            }
        }
        (self.state.len() != other.state.len()).then(|| "number of items differs".to_string())
    }
}

impl State {
    /// A number for the kind of item, by which items of the same name are ordered.
    pub fn kind(&self) -> u8 {
        match self {
            State::Memory(_) => 0,
            State::Table(_) => 1,
            State::Global(_) => 2,
        }
    }

    fn first_difference(&self, other: &State) -> Option<String> {
        fn lists<T: PartialEq + std::fmt::Debug>(a: &[T], b: &[T]) -> Option<String> {
            if a.len() != b.len() {
                return Some(format!("size: wasmi {}, waxwing {}", a.len(), b.len()));
            }
            let at = a.iter().zip(b).position(|(a, b)| a != b)?;
            Some(format!(
                "at {at:#x}: wasmi {:?}, waxwing {:?}",
                a[at], b[at]
            ))
        }
        match (self, other) {
            (State::Memory(a), State::Memory(b)) => lists(a, b),
            (State::Table(a), State::Table(b)) => lists(a, b),
            (State::Global(a), State::Global(b)) => lists(&[*a], &[*b]),
            _ => Some("kind differs".to_string()),
        }
    }
}
