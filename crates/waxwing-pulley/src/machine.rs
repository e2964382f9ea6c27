//! [`Machine`]: registers, and the loop that executes.

use std::ops::ControlFlow;
use std::ptr::{self, NonNull};

use pulley_interpreter::decode::{Decode, UnsafeBytecodeStream};
use pulley_interpreter::{
    AddrG32, AddrG32Bne, AddrO32, AddrZ, BinaryOperands, ExtendedOpcode, FReg, Opcode, PcRelOffset,
    Reg, U6, UpperRegSet, VReg, XReg,
};

/// Why the machine stopped.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Exit {
    /// The code calls the host function with this number. The machine goes on after the call.
    Host(u8),
    /// The instruction at the machine's pc cannot be executed.
    Fault(Fault),
}

/// What is wrong with an instruction.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The instruction traps by its nature, for the reason that its compiler knows: it is a trap, or accesses null.
    Trap,
    /// The address is not within the bounds of a linear memory.
    MemoryOutOfBounds,
    /// Division by zero.
    DivisionByZero,
    /// A quotient or a converted float that the type does not hold.
    IntegerOverflow,
    /// Conversion of NaN to an integer.
    BadConversion,
    /// The stack is used up.
    StackOverflow,
}

/// What an instruction leads to.
pub(crate) type Flow = ControlFlow<Exit>;

/// The machine goes on.
pub(crate) const NEXT: Flow = ControlFlow::Continue(());

/// Bytes of the stack below its limit, for frames that have to be made for the stack to be well formed when it is
/// found to be used up, and for those of the host's trampolines.
const RESERVE: usize = 64 << 10;

/// A vector, its lanes in little-endian order.
#[derive(Copy, Clone)]
#[repr(align(16))]
pub(crate) struct Vector(pub(crate) [u8; 16]);

/// The registers of a program, and where it is.
pub struct Machine {
    pub(crate) x: [u64; 32],
    pub(crate) f: [u64; 32],
    pub(crate) v: [Vector; 32],
    pub(crate) fp: u64,
    pub(crate) lr: u64,
    /// The lowest address that frames may begin at.
    pub(crate) limit: u64,
    /// The lowest address of the stack.
    pub(crate) floor: u64,
    pc: NonNull<u8>,
}

impl Machine {
    /// The bytes of memory that a machine needs for `size` bytes of stack.
    pub fn stack_size(size: usize) -> usize {
        size.saturating_add(RESERVE).next_multiple_of(16)
    }

    /// A machine whose stack is between two addresses, which are multiples of 16 and
    /// [`Machine::stack_size`] bytes apart.
    pub fn new(stack_low: usize, stack_high: usize) -> Machine {
        let mut machine = Machine {
            x: [0; 32],
            f: [0; 32],
            v: [Vector([0; 16]); 32],
            fp: 0,
            lr: 0,
            limit: (stack_low + RESERVE) as u64,
            floor: stack_low as u64,
            pc: NonNull::dangling(),
        };
        machine.set_sp(stack_high);
        machine
    }

    /// Where execution goes on, or the instruction that a fault is of.
    #[inline]
    pub fn pc(&self) -> NonNull<u8> {
        self.pc
    }

    /// Goes on at another instruction.
    #[inline]
    pub fn set_pc(&mut self, pc: NonNull<u8>) {
        self.pc = pc;
    }

    /// The stack pointer.
    #[inline]
    pub fn sp(&self) -> usize {
        self.x[XReg::sp.index()] as usize
    }

    /// Changes the stack pointer.
    #[inline]
    pub fn set_sp(&mut self, sp: usize) {
        self.x[XReg::sp.index()] = sp as u64;
    }

    /// The frame pointer.
    #[inline]
    pub fn fp(&self) -> usize {
        self.fp as usize
    }

    /// Changes the frame pointer.
    #[inline]
    pub fn set_fp(&mut self, fp: usize) {
        self.fp = fp as u64;
    }

    /// The link register: where a function that was just called returns to.
    #[inline]
    pub fn lr(&self) -> usize {
        self.lr as usize
    }

    /// Changes the link register.
    #[inline]
    pub fn set_lr(&mut self, lr: usize) {
        self.lr = lr as u64;
    }

    /// What calls preserve.
    #[inline]
    pub fn preserved(&self) -> Preserved {
        let mut x = [0; PRESERVED];
        x.copy_from_slice(&self.x[FIRST_PRESERVED..][..PRESERVED]);
        Preserved {
            x,
            sp: self.sp(),
            fp: self.fp,
            lr: self.lr,
            pc: self.pc,
        }
    }

    /// Puts back what calls preserve.
    #[inline]
    pub fn restore(&mut self, preserved: &Preserved) {
        self.x[FIRST_PRESERVED..][..PRESERVED].copy_from_slice(&preserved.x);
        self.set_sp(preserved.sp);
        self.fp = preserved.fp;
        self.lr = preserved.lr;
        self.pc = preserved.pc;
    }

    /// An integer register, of the first 16.
    #[inline]
    pub fn x(&self, index: u8) -> u64 {
        self.x[usize::from(index & 15)]
    }

    /// Changes an integer register, of the first 16.
    #[inline]
    pub fn set_x(&mut self, index: u8, value: u64) {
        self.x[usize::from(index & 15)] = value;
    }

    /// The bits of a float register, of the first 16.
    #[inline]
    pub fn f(&self, index: u8) -> u64 {
        self.f[usize::from(index & 15)]
    }

    /// Changes a float register, of the first 16.
    #[inline]
    pub fn set_f(&mut self, index: u8, bits: u64) {
        self.f[usize::from(index & 15)] = bits;
    }
}

/// The first of the integer registers that calls preserve, and their number.
const FIRST_PRESERVED: usize = 16;
const PRESERVED: usize = XReg::SPECIAL_START as usize - FIRST_PRESERVED;

/// What a call preserves of a machine, and where the machine is.
#[derive(Copy, Clone)]
pub struct Preserved {
    x: [u64; PRESERVED],
    sp: usize,
    fp: u64,
    lr: u64,
    pc: NonNull<u8>,
}

/// The code of a call of the host function `id`.
pub const fn host_call(id: u8) -> [u8; 4] {
    let [low, high] = (ExtendedOpcode::CallIndirectHost as u16).to_le_bytes();
    [Opcode::ExtendedOp as u8, low, high, id]
}

/// A machine that executes.
pub(crate) struct Cpu<'m> {
    pub(crate) m: &'m mut Machine,
    /// What is decoded next.
    pub(crate) pc: UnsafeBytecodeStream,
    /// The instruction that is executed.
    pub(crate) start: NonNull<u8>,
}

#[inline(always)]
pub(crate) fn decode<T: Decode>(pc: &mut UnsafeBytecodeStream) -> T {
    let Ok(operand) = T::decode(pc);
    operand
}

impl Cpu<'_> {
    /// Ends execution.
    #[cold]
    fn stop(self, exit: Exit) -> Exit {
        self.m.pc = match exit {
            Exit::Host(_) => self.pc.as_ptr(),
            Exit::Fault(_) => self.start,
        };
        exit
    }

    #[inline(always)]
    pub(crate) fn fault(fault: Fault) -> Flow {
        ControlFlow::Break(Exit::Fault(fault))
    }

    /// The low bits of an integer register.
    #[inline(always)]
    pub(crate) fn get<T: Word>(&self, register: XReg) -> T {
        T::from_bits(self.m.x[register.index()])
    }

    #[inline(always)]
    pub(crate) fn set<T: Word>(&mut self, register: XReg, value: T) {
        self.m.x[register.index()] = value.to_bits();
    }

    /// Goes on at an offset from the instruction.
    #[inline(always)]
    pub(crate) fn jump_by(&mut self, offset: PcRelOffset) {
        let offset = i32::from(offset) as isize;
        // SAFETY: code refers to instructions of its own.
        self.pc = unsafe { UnsafeBytecodeStream::new(self.start).offset(offset) };
    }

    /// Goes on at an address.
    #[inline(always)]
    pub(crate) fn jump_to(&mut self, address: u64) {
        let pc = ptr::with_exposed_provenance_mut(address as usize);
        // SAFETY: code jumps to code, which is not at address zero.
        self.pc = unsafe { UnsafeBytecodeStream::new(NonNull::new_unchecked(pc)) };
    }

    /// The address of what is decoded next.
    #[inline(always)]
    pub(crate) fn next_address(&self) -> u64 {
        self.pc.as_ptr().as_ptr().expose_provenance() as u64
    }

    /// The bytes at an address.
    ///
    /// # Safety
    ///
    /// Code accesses only memory that is there for it to access.
    #[inline(always)]
    pub(crate) unsafe fn read<const N: usize>(address: u64) -> [u8; N] {
        let bytes = ptr::with_exposed_provenance::<[u8; N]>(address as usize);
        // SAFETY: required of the caller. Bytes have no alignment.
        unsafe { bytes.read() }
    }

    /// Replaces the bytes at an address.
    ///
    /// # Safety
    ///
    /// As for [`Self::read`].
    #[inline(always)]
    pub(crate) unsafe fn write<const N: usize>(address: u64, bytes: [u8; N]) {
        let place = ptr::with_exposed_provenance_mut::<[u8; N]>(address as usize);
        // SAFETY: required of the caller.
        unsafe { place.write(bytes) };
    }
}

/// A value of an integer register.
pub(crate) trait Word: Copy {
    fn from_bits(bits: u64) -> Self;
    fn to_bits(self) -> u64;
}

macro_rules! words {
    ($($ty:ident as $($via:ident)*;)*) => {
        $(impl Word for $ty {
            #[inline(always)]
            fn from_bits(bits: u64) -> $ty {
                bits as $ty
            }

            #[inline(always)]
            fn to_bits(self) -> u64 {
                self $(as $via)*
            }
        })*
    };
}

// Values of 32 bits and less are extended to 32, and what is above these is nobody's concern. Zeros there make
// accesses to registers all of one size.
words! {
    u8 as u64;
    u16 as u64;
    u32 as u64;
    u64 as u64;
    i8 as i32 u32 u64;
    i16 as i32 u32 u64;
    i32 as u32 u64;
    i64 as u64;
}

impl Word for bool {
    #[inline(always)]
    fn from_bits(bits: u64) -> bool {
        bits as u32 != 0
    }

    #[inline(always)]
    fn to_bits(self) -> u64 {
        self.into()
    }
}

macro_rules! define_run {
    ($(
        $(#[$doc:meta])*
        $method:ident = $name:ident $({ $($(#[$field_doc:meta])* $field:ident : $ty:ty),* })?;
    )*) => {
        impl Machine {
            /// Executes from the pc on.
            ///
            /// # Safety
            ///
            /// At the pc is bytecode of Cranelift's, and what it accesses of memory is there for it to access. The
            /// stack that the machine was made with is memory that nobody else uses.
            pub unsafe fn run(&mut self) -> Exit {
                // SAFETY: required of the caller.
                let pc = unsafe { UnsafeBytecodeStream::new(self.pc) };
                let mut cpu = Cpu {
                    start: self.pc,
                    pc,
                    m: self,
                };
                loop {
                    cpu.start = cpu.pc.as_ptr();
                    match decode::<Opcode>(&mut cpu.pc) {
                        // Each by itself, so that those that always go on do so without asking.
                        $(Opcode::$name => {
                            $($(let $field = decode::<$ty>(&mut cpu.pc);)*)?
                            if let ControlFlow::Break(exit) = cpu.$method($($($field),*)?) {
                                return cpu.stop(exit);
                            }
                        })*
                        Opcode::ExtendedOp => {
                            if let ControlFlow::Break(exit) = cpu.extended() {
                                return cpu.stop(exit);
                            }
                        }
                    }
                }
            }
        }
    };
}

macro_rules! define_extended {
    ($(
        $(#[$doc:meta])*
        $method:ident = $name:ident $({ $($(#[$field_doc:meta])* $field:ident : $ty:ty),* })?;
    )*) => {
        impl Cpu<'_> {
            /// Executes an instruction of the second range, after its first byte.
            #[inline(always)]
            fn extended(&mut self) -> Flow {
                match decode::<ExtendedOpcode>(&mut self.pc) {
                    $(ExtendedOpcode::$name => {
                        $($(let $field = decode::<$ty>(&mut self.pc);)*)?
                        self.$method($($($field),*)?)
                    })*
                }
            }
        }
    };
}

pulley_interpreter::for_each_op!(define_run);
pulley_interpreter::for_each_extended_op!(define_extended);
