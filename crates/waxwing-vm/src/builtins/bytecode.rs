//! How bytecode calls builtins: by their numbers, with operands in the registers of the interpreter.

use super::*;
use waxwing_pulley::Machine;

/// The operands of a call, integers and floats each from the first register on.
struct Operands<'m> {
    machine: &'m Machine,
    integers: u8,
    floats: u8,
}

impl Operands<'_> {
    fn integer(&mut self) -> u64 {
        self.integers += 1;
        self.machine.x(self.integers - 1)
    }

    fn float(&mut self) -> u64 {
        self.floats += 1;
        self.machine.f(self.floats - 1)
    }
}

/// A type of operands.
trait Operand {
    fn take(operands: &mut Operands<'_>) -> Self;
}

impl Operand for u32 {
    fn take(operands: &mut Operands<'_>) -> u32 {
        operands.integer() as u32
    }
}

impl Operand for u64 {
    fn take(operands: &mut Operands<'_>) -> u64 {
        operands.integer()
    }
}

impl Operand for f32 {
    fn take(operands: &mut Operands<'_>) -> f32 {
        f32::from_bits(operands.float() as u32)
    }
}

impl Operand for f64 {
    fn take(operands: &mut Operands<'_>) -> f64 {
        f64::from_bits(operands.float())
    }
}

impl Operand for *mut c_void {
    fn take(operands: &mut Operands<'_>) -> *mut c_void {
        std::ptr::with_exposed_provenance_mut(operands.integer() as usize)
    }
}

/// What a builtin gives back.
trait Answer {
    /// Puts the result in its register, or says where to go on instead.
    fn give(self, machine: &mut Machine) -> Option<Landing>;
}

impl Answer for () {
    fn give(self, _machine: &mut Machine) -> Option<Landing> {
        None
    }
}

macro_rules! integer_answers {
    ($($ty:ident)*) => {
        $(impl Answer for $ty {
            fn give(self, machine: &mut Machine) -> Option<Landing> {
                machine.set_x(0, self.into());
                None
            }
        })*
    };
}

integer_answers! { bool u32 u64 }

impl Answer for f32 {
    fn give(self, machine: &mut Machine) -> Option<Landing> {
        machine.set_f(0, self.to_bits().into());
        None
    }
}

impl Answer for f64 {
    fn give(self, machine: &mut Machine) -> Option<Landing> {
        machine.set_f(0, self.to_bits());
        None
    }
}

impl Answer for *mut c_void {
    fn give(self, machine: &mut Machine) -> Option<Landing> {
        machine.set_x(0, self.expose_provenance() as u64);
        None
    }
}

impl Answer for Landing {
    fn give(self, _machine: &mut Machine) -> Option<Landing> {
        Some(self)
    }
}

/// As `run_body`, but for what never returns, of which it is to be known where to go on.
macro_rules! answer {
    ($body:expr ; never) => {
        $body
    };
    ($body:expr ; $($result:ident)*) => {
        run_body!($body; $($result)*)
    };
}

macro_rules! answer_type {
    (never) => { Landing };
    ($($result:ident)*) => { native_result!($($result)*) };
}

macro_rules! define_calls {
    ($(
        $(#[$doc:meta])*
        $name:ident(vmctx: vmctx $(, $param:ident: $ty:ident)*) $(-> $($result:ident)+)?;
    )*) => {
        /// Calls a builtin with the operands that are in the machine's registers. Returns where to go on, if
        /// that is not after the call.
        ///
        /// # Safety
        ///
        /// The machine is executing code of an instance, which passes its own context and operands of its module.
        /// Nobody uses the machine otherwise but code that the builtin enters.
        pub(crate) unsafe fn call_builtin(
            machine: NonNull<Machine>,
            builtin: BuiltinFunctionIndex,
        ) -> Option<Landing> {
            let mut operands = Operands {
                // SAFETY: required of the caller. The operands are read before the builtin runs.
                machine: unsafe { machine.as_ref() },
                integers: 0,
                floats: 0,
            };
            let vmctx: *mut c_void = Operand::take(&mut operands);
            // SAFETY: required of the caller.
            let caller = unsafe { Caller::new(NonNull::new_unchecked(vmctx.cast())) };
            match builtin {
                $(BuiltinFunctionIndex::$name => {
                    $(let $param: native_type!($ty) = Operand::take(&mut operands);)*
                    let result: answer_type!($($($result)+)?) =
                        answer!(super::$name(caller $(, $param)*); $($($result)+)?);
                    // SAFETY: required of the caller.
                    result.give(unsafe { &mut *machine.as_ptr() })
                })*
            }
        }
    };
}

for_each_builtin!(define_calls);
