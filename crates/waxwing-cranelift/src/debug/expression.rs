//! Where variables are: expressions over wasm's locals, globals and memory become expressions over the native frame.
//!
//! An address in the binary's expressions is one in the first linear memory. It becomes native by adding the memory's base, to which the
//! vmctx leads. Arithmetic is done in the address's own size: where more bits could show, they are cut off.

use super::Reader;
use super::places::{Function, Path, Places};
use gimli::write::{Expression, UnitEntryId};
use gimli::{
    DW_OP_abs, DW_OP_and, DW_OP_call_frame_cfa, DW_OP_drop, DW_OP_minus, DW_OP_mul, DW_OP_neg,
    DW_OP_not, DW_OP_or, DW_OP_plus, DW_OP_rot, DW_OP_shl, DW_OP_shr, DW_OP_stack_value,
    DW_OP_swap, DW_OP_xor, DwOp, Encoding, Operation,
};

type Op<'a> = Operation<Reader<'a>>;

/// What surrounds an expression.
pub(super) struct Scope<'a, 'data> {
    pub(super) places: &'a Places<'a>,
    /// The encoding of the unit that the expression is from.
    pub(super) encoding: Encoding,
    /// The function whose frame it is over, if it is in one.
    pub(super) function: Option<&'a Function<'a>>,
    /// The function's frame base.
    pub(super) frame_base: Option<gimli::Expression<Reader<'data>>>,
    /// A procedure that gives the base of the first memory, for expressions that are in no function.
    pub(super) memory_base: Option<UnitEntryId>,
}

/// What an expression leaves.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum Result {
    /// The address of the variable in memory.
    Address,
    /// Its value.
    Value,
    /// What needs no stack.
    Done,
}

/// Whether the expression says where parts of a variable are.
pub(super) fn has_pieces(expression: gimli::Expression<Reader<'_>>, encoding: Encoding) -> bool {
    let mut operations = expression.operations(encoding);
    while let Ok(Some(operation)) = operations.next() {
        if matches!(operation, Operation::Piece { .. }) {
            return true;
        }
    }
    false
}

/// The native expression for where a variable is; `None` if there is none that is certain to be right. With `pointer`, it is one
/// for a native pointer to what the variable points to, or null where it is null.
pub(super) fn location(
    scope: &Scope<'_, '_>,
    expression: gimli::Expression<Reader<'_>>,
    pointer: bool,
) -> Option<Expression> {
    let operations = parse(scope, expression)?;
    let mut writer = Writer::new(scope);
    let mut rest = operations.as_slice();
    loop {
        let end = rest
            .iter()
            .position(|op| matches!(op, Operation::Piece { .. }));
        let (segment, after) = rest.split_at(end.unwrap_or(rest.len()));
        writer.segment(segment, pointer)?;
        let Some((piece, after)) = after.split_first() else {
            return Some(writer.out);
        };
        if let Operation::Piece {
            size_in_bits,
            bit_offset,
        } = piece
        {
            match bit_offset {
                None if size_in_bits % 8 == 0 => writer.out.op_piece(size_in_bits / 8),
                offset => writer.out.op_bit_piece(*size_in_bits, offset.unwrap_or(0)),
            }
        }
        rest = after;
        if rest.is_empty() {
            return Some(writer.out);
        }
    }
}

/// An expression that leaves the native address of the first memory, in `function`.
pub(super) fn memory_base(places: &Places<'_>, function: &Function<'_>) -> Option<Expression> {
    let mut out = Expression::new();
    let path = places.memory()?;
    push_vmctx(&mut out, function)?;
    follow(&mut out, &path);
    Some(out)
}

/// Leaves the native address of the vmctx.
fn push_vmctx(out: &mut Expression, function: &Function<'_>) -> Option<()> {
    push_frame(out, function.variables?.vmctx);
    out.op_deref();
    Some(())
}

/// Leaves the native address of a place in the frame.
fn push_frame(out: &mut Expression, offset: i64) {
    out.op(DW_OP_call_frame_cfa);
    out.op_consts(offset);
    out.op(DW_OP_plus);
}

/// Follows a path from the pointer on the stack, through the last step too.
fn follow(out: &mut Expression, path: &Path) {
    for offset in path {
        out.op_plus_uconst(u64::from(*offset));
        out.op_deref();
    }
}

fn parse<'d>(
    scope: &Scope<'_, '_>,
    expression: gimli::Expression<Reader<'d>>,
) -> Option<Vec<Op<'d>>> {
    /// More than any compiler writes.
    const LONGEST: usize = 1000;
    let mut operations = expression.operations(scope.encoding);
    let mut list = Vec::new();
    while let Some(operation) = operations.next().ok()? {
        if list.len() == LONGEST {
            return None;
        }
        list.push(operation);
    }
    (!list.is_empty()).then_some(list)
}

struct Writer<'a, 'data> {
    scope: &'a Scope<'a, 'data>,
    out: Expression,
    pointer_size: u8,
}

impl<'a, 'data> Writer<'a, 'data> {
    fn new(scope: &'a Scope<'a, 'data>) -> Self {
        Writer {
            scope,
            out: Expression::new(),
            pointer_size: scope.places.pointer_size(),
        }
    }

    /// An expression without pieces, or the part of one before a piece.
    fn segment(&mut self, operations: &[Op<'_>], pointer: bool) -> Option<()> {
        if operations.is_empty() {
            return Some(());
        }
        // Debuggers that look for the address of a static variable take a constant at the beginning for it.
        let is_static = self.scope.function.is_none()
            && !matches!(operations.last(), Some(Operation::StackValue));
        if is_static {
            self.push_memory_base()?;
        }
        let result = self.operations(operations)?;
        if is_static {
            self.out.op(DW_OP_plus);
        } else if result == Result::Address {
            self.make_native()?;
        }
        match (result, pointer) {
            (Result::Address, false) => {}
            (Result::Address, true) => {
                self.out.op_deref_size(self.pointer_size);
                self.make_native_pointer()?;
                self.out.op(DW_OP_stack_value);
            }
            (Result::Value, false) => self.out.op(DW_OP_stack_value),
            (Result::Value, true) => {
                self.cut();
                self.make_native_pointer()?;
                self.out.op(DW_OP_stack_value);
            }
            (Result::Done, false) => {}
            (Result::Done, true) => return None,
        }
        Some(())
    }

    fn operations(&mut self, operations: &[Op<'_>]) -> Option<Result> {
        // A local or global by itself is where the variable is; its value is all that there is of it.
        if let [
            Operation::WasmLocal { .. } | Operation::WasmGlobal { .. },
            rest @ ..,
        ] = operations
            && matches!(rest, [] | [Operation::StackValue])
        {
            self.operation(&operations[0], true)?;
            return Some(Result::Value);
        }
        if let ([Operation::ImplicitValue { data }], Some(_)) = (operations, self.scope.function) {
            self.out.op_implicit_value(data.slice().into());
            return Some(Result::Done);
        }
        let (body, result) = match operations.split_last()? {
            (Operation::StackValue, body) => (body, Result::Value),
            _ => (operations, Result::Address),
        };
        for operation in body {
            self.operation(operation, false)?;
        }
        Some(result)
    }

    /// Writes an operation. `alone` says that nothing is done with the result, so that it may have any size.
    fn operation(&mut self, operation: &Op<'_>, alone: bool) -> Option<()> {
        match *operation {
            Operation::WasmLocal { index } => {
                let local = self.scope.function?.variables?.locals.get(index as usize)?;
                let local = (*local)?;
                if !alone && (local.is_float || local.size > self.pointer_size) {
                    return None;
                }
                push_frame(&mut self.out, local.offset);
                self.out.op_deref_size(local.size);
            }
            Operation::WasmGlobal { index } => {
                let (path, size) = self.scope.places.global(index)?;
                if !alone && size > self.pointer_size {
                    return None;
                }
                push_vmctx(&mut self.out, self.scope.function?)?;
                let (last, pointers) = path.split_last()?;
                follow(&mut self.out, &pointers.to_vec());
                self.out.op_plus_uconst(u64::from(*last));
                self.out.op_deref_size(size);
            }
            Operation::FrameOffset { offset } => {
                self.frame_base()?;
                self.out.op_consts(offset);
                self.out.op(DW_OP_plus);
                self.cut();
            }
            Operation::Address { address } => self.out.op_constu(address),
            Operation::UnsignedConstant { value } => self.out.op_constu(value),
            Operation::SignedConstant { value } => {
                self.out.op_consts(value);
                if value < 0 {
                    self.cut();
                }
            }
            Operation::PlusConstant { value } => {
                self.out.op_plus_uconst(value);
                self.cut();
            }
            Operation::Deref {
                base_type,
                size,
                space: false,
            } if base_type.0 == 0 && size <= self.pointer_size => {
                self.make_native()?;
                self.out.op_deref_size(size);
            }
            Operation::Pick { index } => self.out.op_pick(index),
            Operation::Drop => self.out.op(DW_OP_drop),
            Operation::Swap => self.out.op(DW_OP_swap),
            Operation::Rot => self.out.op(DW_OP_rot),
            Operation::And => self.out.op(DW_OP_and),
            Operation::Or => self.out.op(DW_OP_or),
            Operation::Xor => self.out.op(DW_OP_xor),
            Operation::Shr => self.out.op(DW_OP_shr),
            Operation::Plus => self.cut_after(DW_OP_plus),
            Operation::Minus => self.cut_after(DW_OP_minus),
            Operation::Mul => self.cut_after(DW_OP_mul),
            Operation::Neg => self.cut_after(DW_OP_neg),
            Operation::Not => self.cut_after(DW_OP_not),
            Operation::Shl => self.cut_after(DW_OP_shl),
            // The sign is where the address's size says, which a native debugger does not know.
            Operation::Abs if self.pointer_size == 8 => self.out.op(DW_OP_abs),
            Operation::Nop => {}
            _ => return None,
        }
        Some(())
    }

    /// Leaves the function's frame base, an address in memory.
    fn frame_base(&mut self) -> Option<()> {
        let base = self.scope.frame_base?;
        let operations = parse(self.scope, base)?;
        let operations = match operations.split_last()? {
            (Operation::StackValue, rest) => rest,
            _ => &operations,
        };
        for operation in operations {
            if matches!(operation, Operation::FrameOffset { .. }) {
                return None;
            }
            self.operation(operation, false)?;
        }
        Some(())
    }

    fn cut_after(&mut self, operation: DwOp) {
        self.out.op(operation);
        self.cut();
    }

    /// Cuts the topmost value to the size of an address in memory.
    fn cut(&mut self) {
        if self.pointer_size < 8 {
            self.out.op_constu(u32::MAX.into());
            self.out.op(DW_OP_and);
        }
    }

    /// Makes a native address of the address in memory on the stack.
    fn make_native(&mut self) -> Option<()> {
        self.push_memory_base()?;
        self.out.op(DW_OP_plus);
        Some(())
    }

    /// As [`make_native`](Self::make_native), but null stays null.
    fn make_native_pointer(&mut self) -> Option<()> {
        self.out.op_pick(0);
        let not_null = self.out.op_bra();
        let null = self.out.op_skip();
        self.out.set_target(not_null, self.out.next_index());
        self.make_native()?;
        self.out.set_target(null, self.out.next_index());
        Some(())
    }

    fn push_memory_base(&mut self) -> Option<()> {
        let path = self.scope.places.memory()?;
        match self.scope.function {
            Some(function) => {
                push_vmctx(&mut self.out, function)?;
                follow(&mut self.out, &path);
            }
            None => self.out.op_call(self.scope.memory_base?),
        }
        Some(())
    }
}
