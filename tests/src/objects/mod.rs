//! Random modules of the proposals that bring references to objects: garbage collection, typed
//! function references and exceptions.
//!
//! A [`Plan`] says what to call in a module, and with what. [`transcribe`] follows it on an engine
//! and writes down all that can be seen from outside, one line an event. Transcripts of one
//! plan must be the same under every collector and every setting of the compiler; a plan for
//! [`Audience::JavaScript`] can be followed by other engines too, as `tests/real/gc-random/follow.mjs`
//! does.

mod plan;
mod transcript;

pub use plan::{Arg, Audience, Call, Exported, Kind, Plan};
pub use transcript::{Transcript, transcribe};

use std::fmt;

/// The first line in which two transcripts differ.
#[derive(Debug)]
pub struct Difference {
    line: usize,
    expected: String,
    actual: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Difference {
            line,
            expected,
            actual,
        } = self;
        write!(f, "line {line}:\n    {expected}\n    {actual}")
    }
}

/// Compares two transcripts up to where an engine reached a limit of its own.
pub fn first_difference(expected: &Transcript, actual: &Transcript) -> Option<Difference> {
    let limits = [expected, actual].map(Transcript::limit);
    let end = limits.into_iter().flatten().min();
    let lines = |transcript: &Transcript| {
        let lines = transcript.lines();
        lines[..end.unwrap_or(lines.len()).min(lines.len())].to_vec()
    };
    let (expected, actual) = (lines(expected), lines(actual));
    let missing = || "(nothing)".to_string();
    (0..expected.len().max(actual.len()))
        .map(|line| (line, expected.get(line), actual.get(line)))
        .find(|(_, expected, actual)| expected != actual)
        .map(|(line, expected, actual)| Difference {
            line: line + 1,
            expected: expected.cloned().unwrap_or_else(missing),
            actual: actual.cloned().unwrap_or_else(missing),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transcript(text: &str) -> Transcript {
        text.lines().map(str::to_string).collect()
    }

    #[test]
    fn what_follows_a_limit_is_not_compared() {
        let same = transcript("call 0: i32:1\ncall 1: i32:2");
        assert!(first_difference(&same, &same.clone()).is_none());
        let other = transcript("call 0: i32:1\ncall 1: i32:3");
        let difference = first_difference(&same, &other).expect("they differ");
        assert_eq!(difference.line, 2);
        let shorter = transcript("call 0: i32:1");
        assert_eq!(first_difference(&same, &shorter).map(|d| d.line), Some(2));
        let limited = transcript("call 0: i32:1\ncall 1: limit");
        assert!(first_difference(&same, &limited).is_none());
        let limited = transcript("call 0: i32:4\ncall 1: limit");
        assert_eq!(first_difference(&same, &limited).map(|d| d.line), Some(1));
    }
}
