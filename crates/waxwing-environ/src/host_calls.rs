//! Calls of the host by bytecode, which has no addresses of native code to call: each has a number, of one byte.
//!
//! Arguments and results are in the registers of Pulley's calling convention, integers and floats each counted from
//! zero.

use crate::BuiltinFunctionIndex;

/// What bytecode calls of the host.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum HostCall {
    /// A builtin, with its parameters and result.
    Builtin(BuiltinFunctionIndex),
    /// An atomic access to memory: the address, the value, and what replaces it if it is the one expected. The
    /// result is what was there. All three are 64 bits, of which those of the width count.
    Atomic(AtomicOp, AtomicWidth),
    /// A sequentially consistent fence.
    Fence,
    /// A function of the host, by its `array_call`: the code's address, and the four parameters of the array
    /// convention.
    ArrayCall,
    /// Not a call: the end of a call from the host.
    Return,
}

/// An atomic access.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
#[allow(missing_docs, reason = "named as the instructions are")]
pub enum AtomicOp {
    Load,
    Store,
    Add,
    Sub,
    And,
    Or,
    Xor,
    Exchange,
    CompareExchange,
}

/// How much an atomic access reads and writes.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
#[allow(missing_docs, reason = "in bits")]
pub enum AtomicWidth {
    W8,
    W16,
    W32,
    W64,
}

const OPS: [AtomicOp; 9] = [
    AtomicOp::Load,
    AtomicOp::Store,
    AtomicOp::Add,
    AtomicOp::Sub,
    AtomicOp::And,
    AtomicOp::Or,
    AtomicOp::Xor,
    AtomicOp::Exchange,
    AtomicOp::CompareExchange,
];

const WIDTHS: [AtomicWidth; 4] = [
    AtomicWidth::W8,
    AtomicWidth::W16,
    AtomicWidth::W32,
    AtomicWidth::W64,
];

const FIRST_ATOMIC: u8 = 0x80;
const FENCE: u8 = 0xfc;
const ARRAY_CALL: u8 = 0xfd;
const RETURN: u8 = 0xfe;

const _: () = assert!(BuiltinFunctionIndex::ALL.len() <= FIRST_ATOMIC as usize);
const _: () = assert!(OPS.len() * WIDTHS.len() <= (FENCE - FIRST_ATOMIC) as usize);

impl HostCall {
    /// The number.
    pub const fn id(self) -> u8 {
        match self {
            HostCall::Builtin(builtin) => builtin as u8,
            HostCall::Atomic(op, width) => {
                FIRST_ATOMIC + op as u8 * WIDTHS.len() as u8 + width as u8
            }
            HostCall::Fence => FENCE,
            HostCall::ArrayCall => ARRAY_CALL,
            HostCall::Return => RETURN,
        }
    }

    /// What a number stands for.
    #[inline]
    pub fn from_id(id: u8) -> Option<HostCall> {
        Some(match id {
            ARRAY_CALL => HostCall::ArrayCall,
            RETURN => HostCall::Return,
            FENCE => HostCall::Fence,
            id if id < FIRST_ATOMIC => {
                HostCall::Builtin(BuiltinFunctionIndex::from_index(id.into())?)
            }
            id => {
                let index = usize::from(id - FIRST_ATOMIC);
                let op = OPS.get(index / WIDTHS.len())?;
                HostCall::Atomic(*op, WIDTHS[index % WIDTHS.len()])
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_go_both_ways() {
        let calls: Vec<_> = (0..=u8::MAX)
            .filter_map(|id| Some((id, HostCall::from_id(id)?)))
            .collect();
        assert!(calls.iter().all(|(id, call)| call.id() == *id));
        let atomics = OPS.len() * WIDTHS.len();
        assert_eq!(calls.len(), BuiltinFunctionIndex::ALL.len() + atomics + 3);
    }
}
