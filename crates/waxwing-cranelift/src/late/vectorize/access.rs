//! What a loop accesses: classes of addresses that advance together, at constant distances.

use super::super::definition;
use super::Heap;
use super::affine::Affine;
use super::pack::{Kind, Packs};
use super::shape::Loop;
use cranelift_codegen::ir::{
    ArgumentPurpose, Function, Inst, InstructionData, MemFlagsData, Opcode, Type, Value, types,
};
use std::collections::HashMap;

/// More copies of an iteration within one are not looked for.
const MOST_COPIES: u32 = 16;
/// The loop on vectors reaches as many bytes at most behind an access, for each copy.
const LONGEST_STRIDE: i64 = 32;

pub(super) struct Accesses {
    /// In the order of the block.
    pub(super) list: Vec<Access>,
    pub(super) classes: Vec<Class>,
    /// The address of the memory.
    pub(super) base: Value,
    /// How many elements each access advances by in an iteration, which is how many copies there are.
    pub(super) copies: u32,
    by_inst: HashMap<Inst, usize>,
    /// Pairs of classes, the first of which is stored to, that must not overlap.
    pub(super) apart: Vec<(usize, usize)>,
}

pub(super) struct Access {
    pub(super) inst: Inst,
    pub(super) opcode: Opcode,
    pub(super) flags: MemFlagsData,
    /// The value's type.
    pub(super) ty: Type,
    pub(super) bytes: u32,
    pub(super) class: usize,
    /// How far behind the class's lowest address.
    pub(super) offset: i64,
    /// What is stored.
    pub(super) stored: Option<Value>,
}

/// Accesses of addresses that differ by constants.
pub(super) struct Class {
    /// The index in the memory that the lowest of the addresses is made of.
    pub(super) lowest: Affine,
    /// The bytes behind that index that are accessed in an iteration, and that are stored to.
    pub(super) accessed: Span,
    pub(super) stored: Option<Span>,
}

#[derive(Copy, Clone)]
pub(super) struct Span {
    pub(super) start: i64,
    pub(super) end: i64,
}

impl Span {
    fn with(self, other: Span) -> Span {
        Span {
            start: self.start.min(other.start),
            end: self.end.max(other.end),
        }
    }
}

impl Accesses {
    /// The accesses of a loop, all of one memory, if all of them advance as they must.
    pub(super) fn new(func: &Function, shape: &Loop, heaps: &[Heap]) -> Option<(Self, Heap)> {
        let mut accesses = Vec::new();
        let mut copies = 0;
        let mut memory = None;
        for inst in func.layout.block_insts(shape.block) {
            let (opcode, address, flags, offset, stored) = match func.dfg.insts[inst] {
                InstructionData::Load {
                    opcode,
                    arg,
                    flags,
                    offset,
                } => (opcode, arg, flags, offset, None),
                InstructionData::Store {
                    opcode,
                    args: [value, address],
                    flags,
                    offset,
                } => (opcode, address, flags, offset, Some(value)),
                _ => continue,
            };
            let (base, index) = index_of(func, address)?;
            match memory {
                None => memory = Some((base, heap(func, heaps, base)?)),
                Some((known, _)) if known == base => {}
                Some(_) => return None,
            }
            let ty = func
                .dfg
                .value_type(stored.unwrap_or_else(|| func.dfg.first_result(inst)));
            let bytes = bytes(opcode, ty)?;
            let affine = Affine::new(func, shape, index)?;
            let advance = affine.step / bytes;
            if affine.step.cast_signed() <= 0
                || affine.step % bytes != 0
                || !advance.is_power_of_two()
                || advance > MOST_COPIES
                || (copies != 0 && copies != advance)
            {
                return None;
            }
            copies = advance;
            let access = Access {
                inst,
                opcode,
                flags: func.dfg.mem_flags[flags],
                ty,
                bytes,
                class: 0,
                offset: offset.into(),
                stored,
            };
            accesses.push((access, affine));
        }
        let (base, heap) = memory?;
        let mut found = Accesses {
            list: Vec::with_capacity(accesses.len()),
            classes: Vec::new(),
            base,
            copies,
            by_inst: HashMap::new(),
            apart: Vec::new(),
        };
        for (access, affine) in accesses {
            found.add(access, affine);
        }
        found.settle_classes();
        let fits = |access: &Access| {
            let end = access.offset + LONGEST_STRIDE * i64::from(found.copies);
            i32::try_from(end).is_ok() && end.cast_unsigned() <= heap.reach
        };
        found.list.iter().all(fits).then_some((found, heap))
    }

    fn add(&mut self, mut access: Access, affine: Affine) {
        let same =
            |class: &Class| class.lowest.terms == affine.terms && class.lowest.step == affine.step;
        access.class = match self.classes.iter().position(same) {
            Some(class) => class,
            None => {
                self.classes.push(Class {
                    lowest: affine.clone(),
                    accessed: Span { start: 0, end: 0 },
                    stored: None,
                });
                self.classes.len() - 1
            }
        };
        let class = &mut self.classes[access.class];
        // For now from the class's first access. Indices wrap around, offsets do not.
        let distance = affine.constant.wrapping_sub(class.lowest.constant);
        let distance = i64::from(distance.cast_signed());
        class.accessed.start = class.accessed.start.min(distance);
        access.offset += distance;
        self.by_inst.insert(access.inst, self.list.len());
        self.list.push(access);
    }

    fn settle_classes(&mut self) {
        for class in &mut self.classes {
            let lowest = class.accessed.start as i32;
            let constant = class.lowest.constant;
            class.lowest.constant = constant.wrapping_add_signed(lowest);
            class.accessed.start = lowest.into();
            class.accessed.end = 0;
        }
        for access in &mut self.list {
            let class = &mut self.classes[access.class];
            let span = access.settle(class.accessed.start);
            class.accessed.end = class.accessed.end.max(span.end);
            if access.stored.is_some() {
                class.stored = Some(class.stored.map_or(span, |stored| stored.with(span)));
            }
        }
        for class in &mut self.classes {
            class.accessed.start = 0;
        }
    }

    /// The access that an instruction is.
    pub(super) fn of(&self, inst: Inst) -> Option<usize> {
        self.by_inst.get(&inst).copied()
    }

    /// Notes what must be checked for the order of accesses not to matter, where it is not certain. Says whether it can be.
    pub(super) fn settle_order(&mut self, shape: &Loop, packs: &Packs) -> bool {
        let loads = packs.list.iter().filter_map(|pack| match &pack.kind {
            Kind::Load(accesses) => Some(accesses),
            _ => None,
        });
        let stores = packs.stores.iter().map(|store| &store.accesses);
        let all: Vec<&Vec<usize>> = stores.clone().chain(loads).collect();
        for (at, store) in stores.enumerate() {
            for other in &all[at + 1..] {
                if !self.settle_pair(shape, packs, store, other) {
                    return false;
                }
            }
        }
        true
    }

    fn settle_pair(
        &mut self,
        shape: &Loop,
        packs: &Packs,
        store: &[usize],
        other: &[usize],
    ) -> bool {
        let (x, y) = (&self.list[store[0]], &self.list[other[0]]);
        if x.class != y.class {
            let pair = (x.class, y.class);
            if !self.apart.contains(&pair) {
                self.apart.push(pair);
            }
            return true;
        }
        let distance = x.offset.abs_diff(y.offset);
        if distance != 0 {
            // Only what is accessed at the same time has another order than in the loop.
            let step = u64::from(self.classes[x.class].lowest.step);
            return distance >= step * u64::from(packs.rounds);
        }
        // All loads come before all stores, which keep their order.
        let position = |access: &usize| shape.position(self.list[*access].inst);
        let is_load = y.stored.is_none();
        let ordered = |(x, y): (&usize, &usize)| is_load == (position(y) < position(x));
        store.iter().zip(other).all(ordered)
    }
}

impl Access {
    fn settle(&mut self, lowest: i64) -> Span {
        self.offset -= lowest;
        Span {
            start: self.offset,
            end: self.offset + i64::from(self.bytes),
        }
    }
}

/// The address of a memory and the index in it that an address is made of.
fn index_of(func: &Function, address: Value) -> Option<(Value, Value)> {
    let InstructionData::Binary {
        opcode: Opcode::Iadd,
        args: [x, y],
    } = func.dfg.insts[definition(func, address)?]
    else {
        return None;
    };
    let extended = |value| match func.dfg.insts[definition(func, value)?] {
        InstructionData::Unary {
            opcode: Opcode::Uextend,
            arg,
        } if func.dfg.value_type(arg) == types::I32 => Some(arg),
        _ => None,
    };
    match extended(y) {
        Some(index) => Some((x, index)),
        None => Some((y, extended(x)?)),
    }
}

/// The memory that is at an address.
fn heap(func: &Function, heaps: &[Heap], base: Value) -> Option<Heap> {
    let InstructionData::Load {
        opcode: Opcode::Load,
        arg,
        flags,
        offset,
    } = func.dfg.insts[definition(func, base)?]
    else {
        return None;
    };
    if !func.dfg.mem_flags[flags].readonly()
        || func.special_param(ArgumentPurpose::VMContext) != Some(arg)
    {
        return None;
    }
    let heap = heaps.iter().find(|heap| heap.base == i32::from(offset));
    heap.copied()
}

/// The bytes that an access of a value accesses.
fn bytes(opcode: Opcode, ty: Type) -> Option<u32> {
    match opcode {
        Opcode::Load | Opcode::Store if ty.is_int() || ty.is_float() => Some(ty.bytes()),
        Opcode::Uload8 | Opcode::Sload8 | Opcode::Istore8 => Some(1),
        Opcode::Uload16 | Opcode::Sload16 | Opcode::Istore16 => Some(2),
        Opcode::Uload32 | Opcode::Sload32 | Opcode::Istore32 => Some(4),
        _ => None,
    }
}
