//! The schedule: engines take turns, so that what disturbs the machine disturbs all.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};

use crate::benchmarks::{Benchmark, Group};
use crate::engine::{Engine, Role, Sample, Session};
use crate::statistics::Summary;

/// How much is measured.
pub struct Effort {
    rounds: usize,
    /// Turns in each round of those whose ratio the goals are about.
    turns: u32,
    /// The time that an engine with one turn in each round may take.
    budget: Duration,
    /// Samples that are taken even when the budget is spent.
    fewest: usize,
    /// The time for which an engine is warmed up, if it is: V8 compiles anew what is called often.
    warm_up: Option<Duration>,
}

impl Effort {
    /// What a group needs, but for what is given. `budget` is in seconds. One that is no time means without limit.
    pub fn new(group: Group, rounds: Option<usize>, budget: Option<f64>) -> Effort {
        let (usual_rounds, usual_budget) = group.effort();
        let budget = Duration::try_from_secs_f64(budget.unwrap_or(usual_budget));
        Effort {
            rounds: rounds.unwrap_or(usual_rounds).max(1),
            turns: if group == Group::Run { 3 } else { 1 },
            budget: budget.unwrap_or(Duration::MAX),
            fewest: if group == Group::Compile { 2 } else { 3 },
            warm_up: match group {
                Group::Compile => None,
                Group::Run | Group::Cold | Group::Scale => Some(Duration::from_millis(100)),
                _ => Some(Duration::from_millis(500)),
            },
        }
    }

    /// How many turns an engine has in each round.
    fn turns_of(&self, engine: &dyn Engine) -> u32 {
        match engine.role() {
            Role::Subject | Role::Rival => self.turns,
            _ => 1,
        }
    }
}

/// What became of a benchmark in an engine.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
pub enum Outcome {
    Measured(Summary),
    Failed { error: String },
}

/// One engine's part in a benchmark.
struct Part<'e> {
    session: Box<dyn Session + 'e>,
    turns: u32,
    samples: Vec<Duration>,
    memory: Vec<u64>,
    spent: Duration,
}

impl Part<'_> {
    fn sample(&mut self, benchmark: &Benchmark) -> Result<Sample> {
        let start = Instant::now();
        let sample = self.session.sample()?;
        self.spent += start.elapsed();
        if sample.checksum != benchmark.checksum {
            bail!(
                "the checksum is {}, expected {}",
                sample.checksum,
                benchmark.checksum
            );
        }
        Ok(sample)
    }

    fn warm_up(&mut self, benchmark: &Benchmark, time: Duration) -> Result<()> {
        for count in 1.. {
            self.sample(benchmark)?;
            if self.spent >= time * 2 || self.spent >= time && count >= 2 {
                break;
            }
        }
        self.spent = Duration::ZERO;
        Ok(())
    }
}

fn failed(error: anyhow::Error) -> Outcome {
    Outcome::Failed {
        error: format!("{error:#}"),
    }
}

/// Compiles, instantiates and warms up.
fn start<'e>(
    benchmark: &Benchmark,
    wasm: &[u8],
    engine: &'e dyn Engine,
    effort: &Effort,
) -> Result<Part<'e>> {
    let session = if benchmark.group.apart() {
        engine.session_apart(benchmark, wasm)
    } else {
        engine.session(benchmark, wasm)
    };
    let mut part = Part {
        session: session?,
        turns: effort.turns_of(engine),
        samples: Vec::new(),
        memory: Vec::new(),
        spent: Duration::ZERO,
    };
    if let Some(time) = effort.warm_up {
        part.warm_up(benchmark, time)?;
    }
    eprint!(".");
    Ok(part)
}

/// The outcomes in the order of the engines; `None` where a benchmark is not for an engine.
pub fn measure(
    benchmark: &Benchmark,
    wasm: &[u8],
    engines: &[&dyn Engine],
    effort: &Effort,
) -> Vec<Option<Outcome>> {
    let mut parts: Vec<Result<Part<'_>, Option<Outcome>>> = engines
        .iter()
        .map(|engine| {
            if !engine.takes(benchmark) {
                return Err(None);
            }
            start(benchmark, wasm, *engine, effort).map_err(|error| Some(failed(error)))
        })
        .collect();

    let count = parts.len();
    for round in 0..effort.rounds {
        for turn in 0..effort.turns {
            for place in 0..count {
                let slot = &mut parts[(round + place) % count];
                let Ok(part) = slot else { continue };
                let is_done = part.samples.len() >= effort.fewest
                    && part.spent >= effort.budget.saturating_mul(part.turns);
                if turn >= part.turns || is_done {
                    continue;
                }
                match part.sample(benchmark) {
                    Ok(sample) => {
                        part.samples.push(sample.time);
                        part.memory.extend(sample.memory);
                    }
                    Err(error) => *slot = Err(Some(failed(error))),
                }
            }
        }
        eprint!(".");
    }

    parts
        .into_iter()
        .map(|part| match part {
            Ok(part) => {
                let summary = Summary::new(&part.samples);
                let summary = summary.expect("each engine has a turn in the first round");
                Some(Outcome::Measured(summary.with_memory(&part.memory)))
            }
            Err(outcome) => outcome,
        })
        .collect()
}
