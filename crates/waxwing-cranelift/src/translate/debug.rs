//! Variables in frames, for debuggers.
//!
//! In code that is debugged, the frame has a place for the vmctx and for each local. A place is written whenever its local is, and
//! never read by the code itself. So a debugger finds every local at one place, at any time.

use super::{FuncTranslator, Region};
use crate::abi::{self, POINTER};
use crate::debug::SlotKey;
use cranelift_codegen::ir::{InstBuilder, StackSlot, StackSlotData, StackSlotKind, Type, Value};
use waxwing_environ::WasmValType;

/// The places of variables in the frame.
#[derive(Default)]
pub(super) struct FrameSlots {
    /// By the index of the local.
    locals: Vec<Option<StackSlot>>,
}

impl FuncTranslator<'_, '_> {
    /// Keeps the vmctx and all locals in the frame.
    pub(super) fn keep_vmctx(&mut self) {
        self.slots = Some(FrameSlots::default());
        let slot = self.slot(POINTER, SlotKey::VMContext);
        self.keep(slot, self.vmctx);
    }

    /// Makes a place for a local that is about to be declared.
    pub(super) fn declare_slot(&mut self, ty: WasmValType) {
        let Some(slots) = &self.slots else {
            return;
        };
        let local = slots.locals.len() as u32;
        let is_number = matches!(
            ty,
            WasmValType::I32 | WasmValType::I64 | WasmValType::F32 | WasmValType::F64
        );
        let slot = is_number.then(|| {
            let ty = abi::value_type(ty);
            let key = SlotKey::Local {
                local,
                size: ty.bytes() as u8,
                is_float: ty.is_float(),
            };
            self.slot(ty, key)
        });
        if let Some(slots) = &mut self.slots {
            slots.locals.push(slot);
        }
    }

    /// Writes a new value of a local to its place, if it has one.
    pub(super) fn keep_local(&mut self, local: u32, value: Value) {
        let slots = self.slots.as_ref();
        let slot = slots.and_then(|slots| slots.locals.get(local as usize).copied().flatten());
        if let Some(slot) = slot {
            self.keep(slot, value);
        }
    }

    fn slot(&mut self, ty: Type, key: SlotKey) -> StackSlot {
        let size = ty.bytes();
        let mut data = StackSlotData::new(StackSlotKind::ExplicitSlot, size, size.ilog2() as u8);
        data.key = Some(key.encode());
        self.builder.create_sized_stack_slot(data)
    }

    fn keep(&mut self, slot: StackSlot, value: Value) {
        let flags = self.flags(Region::Spill(slot));
        let address = self.ins().stack_addr(POINTER, slot, 0);
        self.ins().store(flags, value, address, 0);
        // Nothing that can be seen moves across it, and what was stored before stays.
        self.ins().sequence_point();
    }
}
