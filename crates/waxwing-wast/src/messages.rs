//! Which texts of the specification's scripts name which error.
//!
//! The scripts carry the messages of the reference interpreter, at different
//! times and in different proposals worded differently. They are matched by
//! prefix in both directions, as in `"uninitialized element 7"` for
//! `"uninitialized element"` and `"undefined"` for `"undefined element"`.

use anyhow::Error;
use waxwing::Trap;

/// The texts that scripts use for each kind of trap.
const TRAPS: &[(Trap, &[&str])] = &[
    (
        Trap::StackOverflow,
        &["call stack exhausted", "stack overflow"],
    ),
    (
        Trap::MemoryOutOfBounds,
        &["out of bounds memory access", "data segment does not fit"],
    ),
    (
        Trap::TableOutOfBounds,
        &[
            "out of bounds table access",
            "undefined element",
            "elements segment does not fit",
        ],
    ),
    (
        Trap::IndirectCallToNull,
        &["uninitialized element", "null function reference"],
    ),
    (Trap::BadSignature, &["indirect call type mismatch"]),
    (Trap::IntegerOverflow, &["integer overflow"]),
    (Trap::IntegerDivisionByZero, &["integer divide by zero"]),
    (
        Trap::BadConversionToInteger,
        &["invalid conversion to integer"],
    ),
    (Trap::UnreachableCodeReached, &["unreachable"]),
    (Trap::HeapMisaligned, &["unaligned atomic"]),
    (Trap::AtomicWaitNonSharedMemory, &["expected shared memory"]),
    (
        Trap::NullReference,
        &[
            "null reference",
            "null function reference",
            "null structure reference",
            "null array reference",
            "null i31 reference",
        ],
    ),
    (Trap::ArrayOutOfBounds, &["out of bounds array access"]),
    (Trap::CastFailure, &["cast failure"]),
];

/// Whether one text is a prefix of the other.
fn similar(a: &str, b: &str) -> bool {
    a.starts_with(b) || b.starts_with(a)
}

/// Whether `error` is a trap that a script may call `expected`.
pub(crate) fn is_trap(error: &Error, expected: &str) -> bool {
    error.downcast_ref::<Trap>().is_some_and(|trap| {
        TRAPS
            .iter()
            .filter(|(kind, _)| kind == trap)
            .flat_map(|(_, texts)| *texts)
            .any(|text| similar(text, expected))
    })
}

/// `error`, where a script expected the error `expected`.
pub(crate) fn wrong_error(error: Error, expected: &str) -> Error {
    error.context(format!("expected the error `{expected}`, found another"))
}

/// Whether `error`, from an instantiation, is one that a script may call `expected`.
///
/// Segments that do not fit were link errors before bulk memory operations made
/// them traps, so traps count too.
pub(crate) fn is_link_error(error: &Error, expected: &str) -> bool {
    is_trap(error, expected)
        || error
            .chain()
            .any(|cause| cause.to_string().contains(expected))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trap_texts_match_by_prefix() {
        let error = Error::from(Trap::IndirectCallToNull).context("while calling `f`");
        assert!(is_trap(&error, "uninitialized element"));
        assert!(is_trap(&error, "uninitialized element 7"));
        assert!(is_trap(&error, "uninitialized"));
        assert!(!is_trap(&error, "undefined element"));
        assert!(!is_trap(
            &Error::msg("uninitialized element"),
            "uninitialized element"
        ));
    }

    #[test]
    fn link_errors_match_by_text_or_trap() {
        let error = Error::msg("unknown import: `a::b` has not been defined");
        assert!(is_link_error(&error, "unknown import"));
        assert!(!is_link_error(&error, "incompatible import type"));
        assert!(is_link_error(
            &Trap::MemoryOutOfBounds.into(),
            "data segment does not fit"
        ));
    }
}
