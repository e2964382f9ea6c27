//! Small programs. That all instructions do what they should is shown by the suites of the specification.

use std::ptr::NonNull;

use pulley_interpreter::encode::*;
use pulley_interpreter::{AddrG32, AddrZ, BinaryOperands, PcRelOffset, Reg, XReg};

use crate::{Exit, Fault, Machine, host_call};

const STACK: usize = 4096;
/// What programs end with.
const DONE: Exit = Exit::Host(9);

/// A machine with a stack of its own, and a program that ends by calling the host.
struct Program {
    code: Vec<u8>,
    machine: Machine,
    _stack: Vec<u128>,
}

impl Program {
    fn new(write: impl FnOnce(&mut Vec<u8>)) -> Program {
        let mut code = Vec::new();
        write(&mut code);
        code.extend(host_call(9));
        let mut stack = vec![0_u128; Machine::stack_size(STACK) / 16];
        let low = stack.as_mut_ptr().expose_provenance();
        let mut machine = Machine::new(low, low + stack.len() * 16);
        let start = code.as_ptr().expose_provenance();
        machine.set_pc(NonNull::new(std::ptr::with_exposed_provenance_mut(start)).unwrap());
        Program {
            code,
            machine,
            _stack: stack,
        }
    }

    fn run(&mut self) -> Exit {
        // SAFETY: the programs of the tests access nothing but what the tests give them.
        unsafe { self.machine.run() }
    }

    /// Where in the program the machine is.
    fn offset(&self) -> usize {
        self.machine.pc().as_ptr().addr() - self.code.as_ptr().addr()
    }
}

fn x(index: u8) -> XReg {
    XReg::new(index).unwrap()
}

#[test]
fn results_of_32_bits_clear_the_rest() {
    let mut program = Program::new(|code| {
        xconst8(code, x(1), -1);
        xadd32_u8(code, x(2), x(1), 2);
        xmov(code, x(3), x(1));
        xshr32_s_u6(code, BinaryOperands::new(x(4), x(1), u6(4)));
        sext32(code, x(5), x(4));
    });
    assert_eq!(program.run(), DONE);
    let values = (1..=5).map(|i| program.machine.x(i)).collect::<Vec<_>>();
    let low = u64::from(u32::MAX);
    assert_eq!(values, [u64::MAX, 1, u64::MAX, low, u64::MAX]);
    assert_eq!(program.offset(), program.code.len());
}

fn u6(value: u8) -> pulley_interpreter::U6 {
    pulley_interpreter::U6::new(value).unwrap()
}

#[test]
fn faults_are_at_their_instruction() {
    let divide = |a: i64, b: i64| {
        let mut program = Program::new(|code| {
            xconst64(code, x(0), a);
            xconst64(code, x(1), b);
            xdiv64_s(code, BinaryOperands::new(x(2), x(0), x(1)));
        });
        let exit = program.run();
        (exit, program.offset())
    };
    assert_eq!(divide(7, 2).0, DONE);
    assert_eq!(divide(7, 0), (Exit::Fault(Fault::DivisionByZero), 20));
    let overflow = divide(i64::MIN, -1);
    assert_eq!(overflow, (Exit::Fault(Fault::IntegerOverflow), 20));

    let mut null = Program::new(|code| {
        xzero(code, x(1));
        let address = AddrZ {
            addr: x(1),
            offset: 8,
        };
        xload32le_z(code, x(0), address);
    });
    assert_eq!((null.run(), null.offset()), (Exit::Fault(Fault::Trap), 2));
}

#[test]
fn accesses_are_checked_to_the_last_byte() {
    let memory = [7_u8; 64];
    let load = |position: u32, bound: u64, offset: u16| {
        let mut program = Program::new(|code| {
            let address = AddrG32 {
                host_heap_base: x(1),
                host_heap_bound: x(2),
                wasm_addr: x(3),
                offset,
            };
            xload32le_g32(code, x(0), address);
        });
        let base = memory.as_ptr().expose_provenance() as u64;
        program.machine.set_x(1, base);
        program.machine.set_x(2, bound);
        // What is above 32 bits does not count.
        program.machine.set_x(3, u64::from(position) | 1 << 40);
        let exit = program.run();
        (exit == DONE).then(|| program.machine.x(0))
    };
    assert_eq!(load(0, 4, 0), Some(0x0707_0707));
    assert_eq!(load(56, 64, 4), Some(0x0707_0707));
    assert_eq!(load(57, 64, 4), None);
    assert_eq!(load(0, 3, 0), None);
    assert_eq!(load(u32::MAX, 64, 4), None);
    assert_eq!(load(u32::MAX, 64, u16::MAX), None);
}

#[test]
fn tables_of_branches_end_with_the_default() {
    for (index, expected) in [(0, 1), (1, 2), (2, 3), (3, 3), (u32::MAX, 3)] {
        let mut program = Program::new(|code| {
            br_table32(code, x(0), 3_u32);
            // Three cases of three bytes and a jump of five each, relative to the entries.
            for case in 0..3_i32 {
                let entry = case * 4;
                code.extend((12 + case * 8 - entry).to_le_bytes());
            }
            for case in 0..3_i32 {
                xconst8(code, x(1), 1 + case as i8);
                jump(code, PcRelOffset::from((3 - case) * 8 - 3));
            }
        });
        program.machine.set_x(0, index.into());
        assert_eq!(program.run(), DONE);
        assert_eq!(program.machine.x(1), expected, "index {index}");
    }
}

#[test]
fn a_stack_that_is_used_up_can_be_walked() {
    let mut program = Program::new(|code| {
        push_frame(code);
        call(code, PcRelOffset::from(-1));
    });
    let top = program.machine.sp();
    assert_eq!(program.run(), Exit::Fault(Fault::StackOverflow));
    assert_eq!(program.offset(), 0);
    let (mut fp, mut frames) = (program.machine.fp(), 0);
    while fp != 0 {
        frames += 1;
        // SAFETY: the frames are those that the program made.
        let caller = unsafe { *std::ptr::with_exposed_provenance::<usize>(fp) };
        assert!(caller == 0 || caller == fp + 2 * size_of::<usize>());
        fp = caller;
    }
    // The last one is the one for which there was no room.
    let size = 2 * size_of::<usize>();
    assert_eq!(frames, STACK / size + 1);
    assert_eq!(program.machine.sp(), top - frames * size);
}
