//! From our trap codes to Cranelift's and back.

use cranelift_codegen::ir::TrapCode;
use waxwing_environ::Trap;

/// Marks instructions that are never reached, such as what follows a call that does not return.
pub(crate) const UNREACHED: TrapCode = TrapCode::unwrap_user(100);

/// Our traps that Cranelift has a code of its own for.
const SHARED: [(Trap, TrapCode); 5] = [
    (Trap::StackOverflow, TrapCode::STACK_OVERFLOW),
    (Trap::IntegerOverflow, TrapCode::INTEGER_OVERFLOW),
    (Trap::MemoryOutOfBounds, TrapCode::HEAP_OUT_OF_BOUNDS),
    (
        Trap::IntegerDivisionByZero,
        TrapCode::INTEGER_DIVISION_BY_ZERO,
    ),
    (
        Trap::BadConversionToInteger,
        TrapCode::BAD_CONVERSION_TO_INTEGER,
    ),
];

/// The code that instructions raising `trap` carry.
pub(crate) fn trap_code(trap: Trap) -> TrapCode {
    match SHARED.iter().find(|(ours, _)| *ours == trap) {
        Some((_, code)) => *code,
        None => TrapCode::unwrap_user(trap as u8),
    }
}

/// The trap that an instruction with `code` raises, if it can be reached at all.
pub(crate) fn trap_of(code: TrapCode) -> Option<Trap> {
    match SHARED.iter().find(|(_, theirs)| *theirs == code) {
        Some((trap, _)) => Some(*trap),
        None => Trap::from_u8(code.as_raw().get()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_go_both_ways() {
        for trap in (0..=u8::MAX).filter_map(Trap::from_u8) {
            assert_eq!(trap_of(trap_code(trap)), Some(trap));
            assert_ne!(trap_code(trap), UNREACHED);
        }
        assert_eq!(trap_of(UNREACHED), None);
    }
}
