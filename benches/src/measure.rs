//! The schedule: engines take turns, so that what disturbs the machine disturbs all.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::benchmarks::Benchmark;
use crate::engine::{Engine, Session};
use crate::statistics::Summary;

/// How much is measured.
pub struct Effort {
    rounds: usize,
    budget: Duration,
}

/// The time for which an engine is warmed up: V8 compiles anew what is called often.
const WARM_UP: Duration = Duration::from_millis(500);
/// Samples that are taken even when the budget is spent.
const FEWEST: usize = 3;

impl Effort {
    /// `budget` is in seconds. One that is no time means without limit.
    pub fn new(rounds: usize, budget: f64) -> Effort {
        let budget = Duration::try_from_secs_f64(budget).unwrap_or(Duration::MAX);
        Effort {
            rounds: rounds.max(1),
            budget,
        }
    }
}

/// What became of a benchmark in an engine.
pub enum Outcome {
    Measured(Summary),
    /// It is not for this engine.
    Skipped,
    Failed(String),
}

/// One engine's part in a benchmark.
struct Turn<'e> {
    session: Box<dyn Session + 'e>,
    samples: Vec<Duration>,
    spent: Duration,
}

impl Turn<'_> {
    fn sample(&mut self, benchmark: &Benchmark) -> Result<Duration> {
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
        Ok(sample.time)
    }

    fn warm_up(&mut self, benchmark: &Benchmark) -> Result<()> {
        for count in 1.. {
            self.sample(benchmark)?;
            if self.spent >= WARM_UP * 2 || self.spent >= WARM_UP && count >= 2 {
                break;
            }
        }
        self.spent = Duration::ZERO;
        Ok(())
    }
}

/// The outcomes in the order of the engines.
pub fn measure(
    benchmark: &Benchmark,
    wasm: &[u8],
    engines: &[&dyn Engine],
    effort: &Effort,
) -> Vec<Outcome> {
    let mut turns: Vec<Result<Turn<'_>, Outcome>> = engines
        .iter()
        .map(|engine| {
            if !engine.takes(benchmark) {
                return Err(Outcome::Skipped);
            }
            let turn = engine.session(benchmark, wasm).and_then(|session| {
                let mut turn = Turn {
                    session,
                    samples: Vec::new(),
                    spent: Duration::ZERO,
                };
                turn.warm_up(benchmark)?;
                eprint!(".");
                Ok(turn)
            });
            turn.map_err(|error| Outcome::Failed(format!("{error:#}")))
        })
        .collect();

    let count = turns.len();
    for round in 0..effort.rounds {
        for place in 0..count {
            let slot = &mut turns[(round + place) % count];
            let Ok(turn) = slot else { continue };
            if turn.samples.len() >= FEWEST && turn.spent >= effort.budget {
                continue;
            }
            match turn.sample(benchmark) {
                Ok(time) => turn.samples.push(time),
                Err(error) => *slot = Err(Outcome::Failed(format!("{error:#}"))),
            }
        }
        eprint!(".");
    }

    turns
        .into_iter()
        .map(|turn| match turn {
            Ok(turn) => Outcome::Measured(
                Summary::new(&turn.samples).expect("each engine has a turn in the first round"),
            ),
            Err(outcome) => outcome,
        })
        .collect()
}
