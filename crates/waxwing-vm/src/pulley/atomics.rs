//! Atomic accesses to memory, of which bytecode has none itself.

use std::ptr;
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering::SeqCst};

use waxwing_environ::{AtomicOp, AtomicWidth};

macro_rules! access {
    ($atomic:ident $int:ident, $op:ident, $address:ident, $value:ident, $replacement:ident) => {{
        let place = ptr::with_exposed_provenance_mut($address as usize);
        // SAFETY: required of the caller. The integers in linear memories are little-endian.
        let place = unsafe { $atomic::from_ptr(place) };
        let value = $value as $int;
        let add = |by: $int| {
            let next = |old: $int| Some($int::from_le(old).wrapping_add(by).to_le());
            match place.fetch_update(SeqCst, SeqCst, next) {
                Ok(old) | Err(old) => old,
            }
        };
        let old = match $op {
            AtomicOp::Load => place.load(SeqCst),
            AtomicOp::Store => place.swap(value.to_le(), SeqCst),
            AtomicOp::Add if cfg!(target_endian = "little") => place.fetch_add(value, SeqCst),
            AtomicOp::Sub if cfg!(target_endian = "little") => place.fetch_sub(value, SeqCst),
            AtomicOp::Add => add(value),
            AtomicOp::Sub => add(value.wrapping_neg()),
            AtomicOp::And => place.fetch_and(value.to_le(), SeqCst),
            AtomicOp::Or => place.fetch_or(value.to_le(), SeqCst),
            AtomicOp::Xor => place.fetch_xor(value.to_le(), SeqCst),
            AtomicOp::Exchange => place.swap(value.to_le(), SeqCst),
            AtomicOp::CompareExchange => {
                let replacement = ($replacement as $int).to_le();
                match place.compare_exchange(value.to_le(), replacement, SeqCst, SeqCst) {
                    Ok(old) | Err(old) => old,
                }
            }
        };
        $int::from_le(old).into()
    }};
}

/// Accesses memory and returns what was there, extended with zeros. `replacement` replaces `value` in a comparing
/// exchange.
///
/// # Safety
///
/// The address is a multiple of the width and within a linear memory, of which nobody has references.
pub(super) unsafe fn access(
    op: AtomicOp,
    width: AtomicWidth,
    address: u64,
    value: u64,
    replacement: u64,
) -> u64 {
    match width {
        AtomicWidth::W8 => access!(AtomicU8 u8, op, address, value, replacement),
        AtomicWidth::W16 => access!(AtomicU16 u16, op, address, value, replacement),
        AtomicWidth::W32 => access!(AtomicU32 u32, op, address, value, replacement),
        AtomicWidth::W64 => access!(AtomicU64 u64, op, address, value, replacement),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use AtomicOp::{Add, CompareExchange, Exchange, Load, Store, Sub, Xor};
    use AtomicWidth::{W8, W16, W32, W64};

    #[test]
    fn accesses_are_of_their_width_and_give_what_was_there() {
        let mut memory = 0x8877_6655_4433_2211_u64.to_le();
        let place = ptr::from_mut(&mut memory).expose_provenance() as u64;
        // SAFETY: all accesses are to the aligned word.
        let access = |op, width, at, value, replacement| unsafe {
            access(op, width, place + at, value, replacement)
        };
        assert_eq!(access(Load, W8, 7, 0, 0), 0x88);
        assert_eq!(access(Add, W16, 2, 0xffff, 0), 0x4433);
        assert_eq!(access(Load, W16, 2, 0, 0), 0x4432);
        assert_eq!(access(Sub, W8, 0, 0x12, 0), 0x11);
        assert_eq!(access(Load, W16, 0, 0, 0), 0x22ff);
        assert_eq!(access(Exchange, W32, 4, 0x1_0000_0001, 0), 0x8877_6655);
        assert_eq!(access(CompareExchange, W32, 4, 2, 3), 1);
        assert_eq!(access(CompareExchange, W32, 4, 1, 3), 1);
        assert_eq!(access(Xor, W64, 0, 1, 0), 0x3_4432_22ff);
        access(Store, W64, 0, u64::MAX, 0);
        assert_eq!(access(Load, W64, 0, 0, 0), u64::MAX);
    }
}
