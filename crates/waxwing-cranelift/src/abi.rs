//! Signatures and representations of values in generated code.

use cranelift_codegen::ir::{AbiParam, ArgumentPurpose, Signature, Type, types};
use cranelift_codegen::isa::{CallConv, TargetIsa};
use waxwing_environ::{
    BuiltinFunctionIndex, BuiltinResult, BuiltinType, PtrSize, WasmFuncType, WasmHeapTop,
    WasmHeapType, WasmValType, is_bytecode,
};

/// The type in which code computes with pointers. Where they are smaller in memory, they are extended with zeros
/// when they are loaded.
pub(crate) const POINTER: Type = types::I64;
/// The type of a `v128` at the boundaries of blocks and functions.
pub(crate) const V128: Type = types::I8X16;
/// The bytes of a `ValRaw`.
pub(crate) const VAL_RAW_SIZE: i32 = 16;

/// The layout of fixed records of the target.
pub(crate) fn pointer_size(isa: &dyn TargetIsa) -> PtrSize {
    PtrSize(isa.pointer_bytes())
}

/// The type of references to `heap_type`.
pub(crate) fn reference_type(heap_type: WasmHeapType) -> Type {
    match heap_type.top() {
        WasmHeapTop::Func => POINTER,
        WasmHeapTop::Extern | WasmHeapTop::Any | WasmHeapTop::Exn => types::I32,
    }
}

/// The type of values of type `ty` at the boundaries of blocks and functions.
pub(crate) fn value_type(ty: WasmValType) -> Type {
    match ty {
        WasmValType::I32 => types::I32,
        WasmValType::I64 => types::I64,
        WasmValType::F32 => types::F32,
        WasmValType::F64 => types::F64,
        WasmValType::V128 => V128,
        WasmValType::Ref(ty) => reference_type(ty.heap_type),
    }
}

/// The signature of wasm functions of type `ty`: callee and caller vmctx, then the parameters.
pub(crate) fn wasm_signature(ty: &WasmFuncType) -> Signature {
    let plain = |ty: &WasmValType| AbiParam::new(value_type(*ty));
    let mut signature = Signature::new(CallConv::Tail);
    signature.params.reserve(2 + ty.params().len());
    signature
        .params
        .push(AbiParam::special(POINTER, ArgumentPurpose::VMContext));
    signature.params.push(AbiParam::new(POINTER));
    signature.params.extend(ty.params().iter().map(plain));
    signature.returns.extend(ty.results().iter().map(plain));
    signature
}

/// The signature of `array_call`: callee, caller vmctx, values, their number; whether the call
/// returned normally.
pub(crate) fn array_signature(isa: &dyn TargetIsa) -> Signature {
    let mut signature = Signature::new(isa.default_call_conv());
    signature.params.extend([AbiParam::new(POINTER); 4]);
    signature.returns.push(native_param(isa, types::I8));
    signature
}

/// A parameter or result of the native calling convention.
fn native_param(isa: &dyn TargetIsa, ty: Type) -> AbiParam {
    let mut param = AbiParam::new(ty);
    if ty.is_int() && ty.bits() < POINTER.bits() {
        param.extension = isa.default_argument_extension();
    }
    param
}

/// The type of a builtin's parameter or result.
pub(crate) fn builtin_value_type(ty: BuiltinType) -> Type {
    match ty {
        BuiltinType::VMContext | BuiltinType::Pointer => POINTER,
        BuiltinType::I32 => types::I32,
        BuiltinType::I64 => types::I64,
        BuiltinType::F32 => types::F32,
        BuiltinType::F64 => types::F64,
    }
}

/// The signature by which wasm calls the trampoline to a builtin. Failures do not return, so
/// that only true results are seen.
pub(crate) fn builtin_wasm_signature(
    isa: &dyn TargetIsa,
    builtin: BuiltinFunctionIndex,
) -> Signature {
    // In bytecode it would take an instruction for each register, of which there are many, to preserve it.
    let preserve_all = builtin.is_cold() && !is_bytecode(isa.triple());
    let mut signature = Signature::new(match preserve_all {
        true => CallConv::PreserveAll,
        false => CallConv::Tail,
    });
    let params = builtin.params().iter();
    signature
        .params
        .extend(params.map(|ty| AbiParam::new(builtin_value_type(*ty))));
    match builtin.result() {
        BuiltinResult::Value(ty) | BuiltinResult::TrapIfSentinel(ty) => signature
            .returns
            .push(AbiParam::new(builtin_value_type(ty))),
        BuiltinResult::None | BuiltinResult::TrapIfFalse | BuiltinResult::Never => {}
    }
    signature
}

/// The signature of the builtin itself.
pub(crate) fn builtin_native_signature(
    isa: &dyn TargetIsa,
    builtin: BuiltinFunctionIndex,
) -> Signature {
    let mut signature = Signature::new(isa.default_call_conv());
    let params = builtin.params().iter();
    signature
        .params
        .extend(params.map(|ty| native_param(isa, builtin_value_type(*ty))));
    let result = match builtin.result() {
        BuiltinResult::Value(ty) | BuiltinResult::TrapIfSentinel(ty) => {
            Some(builtin_value_type(ty))
        }
        BuiltinResult::TrapIfFalse => Some(types::I8),
        BuiltinResult::None | BuiltinResult::Never => None,
    };
    signature
        .returns
        .extend(result.map(|ty| native_param(isa, ty)));
    signature
}

/// The signature of atomic accesses by the host: address, value, replacement; what was there.
pub(crate) fn atomic_signature(isa: &dyn TargetIsa) -> Signature {
    let mut signature = Signature::new(isa.default_call_conv());
    signature.params.push(AbiParam::new(POINTER));
    signature.params.extend([AbiParam::new(types::I64); 2]);
    signature.returns.push(AbiParam::new(types::I64));
    signature
}

/// Whether a builtin computes on floats alone: it neither traps nor looks at the stack.
pub(crate) fn is_pure(builtin: BuiltinFunctionIndex) -> bool {
    matches!(
        builtin.result(),
        BuiltinResult::Value(BuiltinType::F32 | BuiltinType::F64)
    )
}
