//! Branches, calls, frames, traps and calls of the host.

use std::ops::ControlFlow;

use pulley_interpreter::{PcRelOffset, Reg, UpperRegSet, XReg};

use crate::machine::{Cpu, Exit, Fault, Flow, NEXT};

/// The bytes of a pointer in memory. In registers it has 64 bits.
const WORD: u64 = size_of::<usize>() as u64;

/// Branches that compare two operands of a type, of which the second may be a constant of another.
macro_rules! branches {
    ($($name:ident($b:ident) as $ty:ident: $op:tt;)*) => {
        impl Cpu<'_> {
            $(#[inline(always)]
            pub(crate) fn $name(&mut self, a: XReg, b: $b, offset: PcRelOffset) -> Flow {
                if self.get::<$ty>(a) $op operand!(self, $ty, b: $b) {
                    self.jump_by(offset);
                }
                NEXT
            })*
        }
    };
}

macro_rules! operand {
    ($self:ident, $ty:ident, $b:ident: XReg) => {
        $self.get::<$ty>($b)
    };
    ($self:ident, $ty:ident, $b:ident: $constant:ident) => {
        $b as $ty
    };
}

branches! {
    br_if_xeq32(XReg) as u32: ==;
    br_if_xneq32(XReg) as u32: !=;
    br_if_xslt32(XReg) as i32: <;
    br_if_xslteq32(XReg) as i32: <=;
    br_if_xult32(XReg) as u32: <;
    br_if_xulteq32(XReg) as u32: <=;
    br_if_xeq64(XReg) as u64: ==;
    br_if_xneq64(XReg) as u64: !=;
    br_if_xslt64(XReg) as i64: <;
    br_if_xslteq64(XReg) as i64: <=;
    br_if_xult64(XReg) as u64: <;
    br_if_xulteq64(XReg) as u64: <=;
    br_if_xeq32_i8(i8) as i32: ==;
    br_if_xeq32_i32(i32) as i32: ==;
    br_if_xneq32_i8(i8) as i32: !=;
    br_if_xneq32_i32(i32) as i32: !=;
    br_if_xslt32_i8(i8) as i32: <;
    br_if_xslt32_i32(i32) as i32: <;
    br_if_xsgt32_i8(i8) as i32: >;
    br_if_xsgt32_i32(i32) as i32: >;
    br_if_xslteq32_i8(i8) as i32: <=;
    br_if_xslteq32_i32(i32) as i32: <=;
    br_if_xsgteq32_i8(i8) as i32: >=;
    br_if_xsgteq32_i32(i32) as i32: >=;
    br_if_xult32_u8(u8) as u32: <;
    br_if_xult32_u32(u32) as u32: <;
    br_if_xulteq32_u8(u8) as u32: <=;
    br_if_xulteq32_u32(u32) as u32: <=;
    br_if_xugt32_u8(u8) as u32: >;
    br_if_xugt32_u32(u32) as u32: >;
    br_if_xugteq32_u8(u8) as u32: >=;
    br_if_xugteq32_u32(u32) as u32: >=;
    br_if_xeq64_i8(i8) as i64: ==;
    br_if_xeq64_i32(i32) as i64: ==;
    br_if_xneq64_i8(i8) as i64: !=;
    br_if_xneq64_i32(i32) as i64: !=;
    br_if_xslt64_i8(i8) as i64: <;
    br_if_xslt64_i32(i32) as i64: <;
    br_if_xsgt64_i8(i8) as i64: >;
    br_if_xsgt64_i32(i32) as i64: >;
    br_if_xslteq64_i8(i8) as i64: <=;
    br_if_xslteq64_i32(i32) as i64: <=;
    br_if_xsgteq64_i8(i8) as i64: >=;
    br_if_xsgteq64_i32(i32) as i64: >=;
    br_if_xult64_u8(u8) as u64: <;
    br_if_xult64_u32(u32) as u64: <;
    br_if_xulteq64_u8(u8) as u64: <=;
    br_if_xulteq64_u32(u32) as u64: <=;
    br_if_xugt64_u8(u8) as u64: >;
    br_if_xugt64_u32(u32) as u64: >;
    br_if_xugteq64_u8(u8) as u64: >=;
    br_if_xugteq64_u32(u32) as u64: >=;
}

impl Cpu<'_> {
    #[inline(always)]
    pub(crate) fn nop(&mut self) -> Flow {
        NEXT
    }

    #[inline(always)]
    pub(crate) fn jump(&mut self, offset: PcRelOffset) -> Flow {
        self.jump_by(offset);
        NEXT
    }

    #[inline(always)]
    pub(crate) fn xjump(&mut self, reg: XReg) -> Flow {
        self.jump_to(self.get(reg));
        NEXT
    }

    #[inline(always)]
    pub(crate) fn br_if32(&mut self, cond: XReg, offset: PcRelOffset) -> Flow {
        if self.get::<bool>(cond) {
            self.jump_by(offset);
        }
        NEXT
    }

    #[inline(always)]
    pub(crate) fn br_if_not32(&mut self, cond: XReg, offset: PcRelOffset) -> Flow {
        if !self.get::<bool>(cond) {
            self.jump_by(offset);
        }
        NEXT
    }

    /// The entries of the table follow, each relative to its own place, the last one being that of all indices that
    /// have none.
    #[inline(always)]
    pub(crate) fn br_table32(&mut self, idx: XReg, amt: u32) -> Flow {
        let index = self.get::<u32>(idx).min(amt.wrapping_sub(1));
        let entry = self.next_address() + u64::from(index) * 4;
        // SAFETY: the table is part of the code.
        let offset = i32::from_le_bytes(unsafe { Self::read(entry) });
        self.jump_to(entry.wrapping_add_signed(offset.into()));
        NEXT
    }

    #[inline(always)]
    pub(crate) fn ret(&mut self) -> Flow {
        self.jump_to(self.m.lr);
        NEXT
    }

    #[inline(always)]
    pub(crate) fn call(&mut self, offset: PcRelOffset) -> Flow {
        self.m.lr = self.next_address();
        self.jump_by(offset);
        NEXT
    }

    /// Passes arguments and calls.
    #[inline(always)]
    fn call_with<const N: usize>(&mut self, args: [XReg; N], offset: PcRelOffset) -> Flow {
        let values = args.map(|arg| self.get::<u64>(arg));
        self.m.x[..N].copy_from_slice(&values);
        self.call(offset)
    }

    #[inline(always)]
    pub(crate) fn call1(&mut self, arg1: XReg, offset: PcRelOffset) -> Flow {
        self.call_with([arg1], offset)
    }

    #[inline(always)]
    pub(crate) fn call2(&mut self, arg1: XReg, arg2: XReg, offset: PcRelOffset) -> Flow {
        self.call_with([arg1, arg2], offset)
    }

    #[inline(always)]
    pub(crate) fn call3(
        &mut self,
        arg1: XReg,
        arg2: XReg,
        arg3: XReg,
        offset: PcRelOffset,
    ) -> Flow {
        self.call_with([arg1, arg2, arg3], offset)
    }

    #[inline(always)]
    pub(crate) fn call4(
        &mut self,
        arg1: XReg,
        arg2: XReg,
        arg3: XReg,
        arg4: XReg,
        offset: PcRelOffset,
    ) -> Flow {
        self.call_with([arg1, arg2, arg3, arg4], offset)
    }

    #[inline(always)]
    pub(crate) fn call_indirect(&mut self, reg: XReg) -> Flow {
        self.m.lr = self.next_address();
        self.jump_to(self.get(reg));
        NEXT
    }

    #[inline(always)]
    pub(crate) fn call_indirect_host(&mut self, id: u8) -> Flow {
        ControlFlow::Break(Exit::Host(id))
    }

    #[inline(always)]
    pub(crate) fn trap(&mut self) -> Flow {
        Self::fault(Fault::Trap)
    }

    #[inline(always)]
    fn sp(&self) -> u64 {
        self.get(XReg::sp)
    }

    /// Makes a frame: a pair of the caller's frame pointer and, above it, the address to return to, and `size` bytes
    /// below. If there is no room for the bytes, the frame is there without them.
    #[inline(always)]
    fn enter_frame(&mut self, size: u64) -> Result<(), Fault> {
        let fp = self.sp().wrapping_sub(2 * WORD);
        // What there is below the limit is enough for one pair, and nothing goes on below the limit.
        if fp < self.m.floor {
            return Err(Fault::StackOverflow);
        }
        // SAFETY: the pair is within the stack.
        unsafe {
            Self::write(fp, (self.m.fp as usize).to_ne_bytes());
            Self::write(fp + WORD, (self.m.lr as usize).to_ne_bytes());
        }
        self.m.fp = fp;
        self.set(XReg::sp, fp);
        if fp < self.m.limit.saturating_add(size) {
            return Err(Fault::StackOverflow);
        }
        self.set(XReg::sp, fp - size);
        Ok(())
    }

    /// Drops a frame.
    #[inline(always)]
    fn leave_frame(&mut self) {
        let fp = self.m.fp;
        // SAFETY: the pair is that of the frame.
        unsafe {
            self.m.fp = usize::from_ne_bytes(Self::read(fp)) as u64;
            self.m.lr = usize::from_ne_bytes(Self::read(fp + WORD)) as u64;
        }
        self.set(XReg::sp, fp + 2 * WORD);
    }

    #[inline(always)]
    pub(crate) fn push_frame(&mut self) -> Flow {
        match self.enter_frame(0) {
            Ok(()) => NEXT,
            Err(fault) => Self::fault(fault),
        }
    }

    #[inline(always)]
    pub(crate) fn pop_frame(&mut self) -> Flow {
        self.leave_frame();
        NEXT
    }

    #[inline(always)]
    pub(crate) fn push_frame_save(&mut self, amt: u16, regs: UpperRegSet<XReg>) -> Flow {
        if let Err(fault) = self.enter_frame(amt.into()) {
            return Self::fault(fault);
        }
        let mut place = self.m.fp;
        for register in regs {
            place -= 8;
            // SAFETY: there is room for the registers within the frame.
            unsafe { Self::write(place, self.m.x[register.index()].to_ne_bytes()) };
        }
        NEXT
    }

    #[inline(always)]
    pub(crate) fn pop_frame_restore(&mut self, amt: u16, regs: UpperRegSet<XReg>) -> Flow {
        let mut place = self.sp() + u64::from(amt);
        for register in regs {
            place -= 8;
            // SAFETY: this is where `push_frame_save` has put the register.
            self.m.x[register.index()] = u64::from_ne_bytes(unsafe { Self::read(place) });
        }
        self.leave_frame();
        NEXT
    }

    /// What is below the limit may be used here: the next frame is where that is found out.
    #[inline(always)]
    pub(crate) fn stack_alloc32(&mut self, amt: u32) -> Flow {
        match self.sp().checked_sub(amt.into()) {
            Some(sp) if sp >= self.m.floor => {
                self.set(XReg::sp, sp);
                NEXT
            }
            _ => Self::fault(Fault::StackOverflow),
        }
    }

    #[inline(always)]
    pub(crate) fn stack_free32(&mut self, amt: u32) -> Flow {
        let sp = self.sp().wrapping_add(amt.into());
        self.set(XReg::sp, sp);
        NEXT
    }

    #[inline(always)]
    pub(crate) fn xmov_fp(&mut self, dst: XReg) -> Flow {
        self.set(dst, self.m.fp);
        NEXT
    }

    #[inline(always)]
    pub(crate) fn xmov_lr(&mut self, dst: XReg) -> Flow {
        self.set(dst, self.m.lr);
        NEXT
    }

    #[inline(always)]
    pub(crate) fn xpcadd(&mut self, dst: XReg, offset: PcRelOffset) -> Flow {
        let start = self.start.as_ptr().expose_provenance() as u64;
        self.set(dst, start.wrapping_add_signed(i32::from(offset).into()));
        NEXT
    }
}
