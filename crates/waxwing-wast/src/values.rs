//! Script constants to values, and results against the script's patterns.

use crate::context::Scope;
use anyhow::{Result, bail};
use std::fmt::Write;
use wast::core::{AbstractHeapType, NanPattern, V128Pattern, WastArgCore, WastRetCore};
use wast::token::{F32, F64};
use waxwing::{AnyRef, AsContext, ExternRef, HeapType, Rooted, Val};

/// The value that an argument of an `invoke` denotes.
pub(crate) fn argument(store: &mut Scope<'_>, arg: &WastArgCore<'_>) -> Result<Val> {
    Ok(match arg {
        WastArgCore::I32(x) => Val::I32(*x),
        WastArgCore::I64(x) => Val::I64(*x),
        WastArgCore::F32(x) => Val::F32(x.bits),
        WastArgCore::F64(x) => Val::F64(x.bits),
        WastArgCore::V128(x) => Val::V128(u128::from_le_bytes(x.to_le_bytes()).into()),
        WastArgCore::RefNull(ty) => Val::null_ref(&heap_type(ty)?),
        WastArgCore::RefExtern(x) => Val::ExternRef(Some(ExternRef::new(store, *x)?)),
        // The host's objects are external; inside they are what converting makes of them.
        WastArgCore::RefHost(x) => {
            let object = ExternRef::new(&mut *store, *x)?;
            Val::AnyRef(Some(AnyRef::convert_extern(store, object)?))
        }
    })
}

fn heap_type(ty: &wast::core::HeapType<'_>) -> Result<HeapType> {
    use wast::core::HeapType as H;
    Ok(match ty {
        H::Abstract { shared: false, ty } => match ty {
            AbstractHeapType::Func => HeapType::Func,
            AbstractHeapType::Extern => HeapType::Extern,
            AbstractHeapType::Any => HeapType::Any,
            AbstractHeapType::Eq => HeapType::Eq,
            AbstractHeapType::Struct => HeapType::Struct,
            AbstractHeapType::Array => HeapType::Array,
            AbstractHeapType::I31 => HeapType::I31,
            AbstractHeapType::Exn => HeapType::Exn,
            AbstractHeapType::NoFunc => HeapType::NoFunc,
            AbstractHeapType::NoExtern => HeapType::NoExtern,
            AbstractHeapType::None => HeapType::None,
            AbstractHeapType::NoExn => HeapType::NoExn,
            other => bail!("null references of type {other:?} are not supported"),
        },
        other => bail!("null references of type {other:?} are not supported"),
    })
}

/// Whether `actual` is what `expected` describes.
///
/// # Errors
///
/// Fails for patterns that this engine has no values for.
pub(crate) fn matches(
    store: &mut Scope<'_>,
    actual: &Val,
    expected: &WastRetCore<'_>,
) -> Result<bool> {
    Ok(match (actual, expected) {
        (_, WastRetCore::Either(patterns)) => {
            for pattern in patterns {
                if matches(store, actual, pattern)? {
                    return Ok(true);
                }
            }
            false
        }
        (Val::I32(a), WastRetCore::I32(e)) => a == e,
        (Val::I64(a), WastRetCore::I64(e)) => a == e,
        (Val::F32(a), WastRetCore::F32(e)) => f32_matches(*a, e),
        (Val::F64(a), WastRetCore::F64(e)) => f64_matches(*a, e),
        (Val::V128(a), WastRetCore::V128(e)) => v128_matches(a.as_u128(), e),
        (
            Val::FuncRef(None) | Val::ExternRef(None) | Val::AnyRef(None) | Val::ExnRef(None),
            WastRetCore::RefNull(None),
        ) => true,
        (Val::FuncRef(None), WastRetCore::RefNull(Some(ty))) => heap_type(ty)?.top().is_func(),
        (Val::ExternRef(None), WastRetCore::RefNull(Some(ty))) => heap_type(ty)?.top().is_extern(),
        (Val::AnyRef(None), WastRetCore::RefNull(Some(ty))) => heap_type(ty)?.top().is_any(),
        (Val::ExnRef(None), WastRetCore::RefNull(Some(ty))) => heap_type(ty)?.top().is_exn(),
        (Val::FuncRef(Some(_)), WastRetCore::RefFunc(None)) => true,
        (Val::FuncRef(_), WastRetCore::RefFunc(Some(_))) => {
            bail!("`ref.func` patterns with an index are not supported")
        }
        (Val::ExternRef(Some(_)), WastRetCore::RefExtern(None)) => true,
        (Val::ExternRef(Some(a)), WastRetCore::RefExtern(Some(e))) => {
            number(store, *a)? == Some(*e)
        }
        (Val::AnyRef(Some(_)), WastRetCore::RefAny) => true,
        (Val::AnyRef(Some(a)), WastRetCore::RefEq) => a.is_eqref(store)?,
        (Val::AnyRef(Some(a)), WastRetCore::RefI31) => a.is_i31(store)?,
        (Val::AnyRef(Some(a)), WastRetCore::RefStruct) => a.is_struct(store)?,
        (Val::AnyRef(Some(a)), WastRetCore::RefArray) => a.is_array(store)?,
        (Val::AnyRef(Some(a)), WastRetCore::RefHost(e)) => {
            let object = ExternRef::convert_any(&mut *store, *a)?;
            number(store, object)? == Some(*e)
        }
        (Val::AnyRef(_), WastRetCore::RefI31Shared) => bail!("shared references are not supported"),
        _ => false,
    })
}

/// The script's number for an object of the host.
fn number(store: &Scope<'_>, object: Rooted<ExternRef>) -> Result<Option<u32>> {
    let data = object.data(store.as_context())?;
    Ok(data.and_then(|data| data.downcast_ref::<u32>()).copied())
}

const F32_CANONICAL_NAN: u32 = 0x7fc0_0000;
const F64_CANONICAL_NAN: u64 = 0x7ff8_0000_0000_0000;

fn f32_matches(actual: u32, expected: &NanPattern<F32>) -> bool {
    match expected {
        // Any sign, and the payload's top bit alone.
        NanPattern::CanonicalNan => actual & 0x7fff_ffff == F32_CANONICAL_NAN,
        // Any sign, and the payload's top bit among others.
        NanPattern::ArithmeticNan => actual & F32_CANONICAL_NAN == F32_CANONICAL_NAN,
        NanPattern::Value(value) => actual == value.bits,
    }
}

fn f64_matches(actual: u64, expected: &NanPattern<F64>) -> bool {
    match expected {
        NanPattern::CanonicalNan => actual & 0x7fff_ffff_ffff_ffff == F64_CANONICAL_NAN,
        NanPattern::ArithmeticNan => actual & F64_CANONICAL_NAN == F64_CANONICAL_NAN,
        NanPattern::Value(value) => actual == value.bits,
    }
}

fn v128_matches(actual: u128, expected: &V128Pattern) -> bool {
    let bytes = actual.to_le_bytes();
    fn all<const WIDTH: usize, E>(
        bytes: &[u8; 16],
        lanes: &[E],
        matches: impl Fn([u8; WIDTH], &E) -> bool,
    ) -> bool {
        let (chunks, _) = bytes.as_chunks::<WIDTH>();
        chunks.iter().zip(lanes).all(|(lane, e)| matches(*lane, e))
    }
    match expected {
        V128Pattern::I8x16(lanes) => all(&bytes, lanes, |a, e| i8::from_le_bytes(a) == *e),
        V128Pattern::I16x8(lanes) => all(&bytes, lanes, |a, e| i16::from_le_bytes(a) == *e),
        V128Pattern::I32x4(lanes) => all(&bytes, lanes, |a, e| i32::from_le_bytes(a) == *e),
        V128Pattern::I64x2(lanes) => all(&bytes, lanes, |a, e| i64::from_le_bytes(a) == *e),
        V128Pattern::F32x4(lanes) => {
            all(&bytes, lanes, |a, e| f32_matches(u32::from_le_bytes(a), e))
        }
        V128Pattern::F64x2(lanes) => {
            all(&bytes, lanes, |a, e| f64_matches(u64::from_le_bytes(a), e))
        }
    }
}

/// A value for a message: floats with their bits, since those are compared.
pub(crate) fn describe(store: &mut Scope<'_>, value: &Val) -> String {
    match value {
        Val::I32(x) => describe_i32(*x),
        Val::I64(x) => describe_i64(*x),
        Val::F32(x) => format!("f32 {} ({x:#010x})", f32::from_bits(*x)),
        Val::F64(x) => format!("f64 {} ({x:#018x})", f64::from_bits(*x)),
        Val::V128(x) => format!("v128 {:#034x}", x.as_u128()),
        Val::FuncRef(x) => describe_ref("func", x.is_none()),
        Val::ExternRef(x) => describe_ref("extern", x.is_none()),
        Val::ExnRef(x) => describe_ref("exn", x.is_none()),
        Val::AnyRef(None) => describe_ref("any", true),
        Val::AnyRef(Some(x)) => match x.ty(store) {
            Ok(ty) => format!("non-null {ty} reference"),
            Err(error) => format!("unreadable reference ({error:#})"),
        },
    }
}

/// Values for a message.
pub(crate) fn describe_all(store: &mut Scope<'_>, values: &[Val]) -> String {
    let values: Vec<String> = values.iter().map(|value| describe(store, value)).collect();
    format!("[{}]", values.join(", "))
}

fn describe_i32(x: i32) -> String {
    format!("i32 {x} ({x:#x})")
}

fn describe_i64(x: i64) -> String {
    format!("i64 {x} ({x:#x})")
}

fn describe_ref(ty: &str, is_null: bool) -> String {
    format!(
        "{} {ty} reference",
        if is_null { "null" } else { "non-null" }
    )
}

/// A pattern for a message.
pub(crate) fn describe_pattern(pattern: &WastRetCore<'_>) -> String {
    match pattern {
        WastRetCore::I32(x) => describe_i32(*x),
        WastRetCore::I64(x) => describe_i64(*x),
        WastRetCore::F32(x) => format!("f32 {}", describe_f32(x)),
        WastRetCore::F64(x) => format!("f64 {}", describe_f64(x)),
        WastRetCore::V128(V128Pattern::F32x4(lanes)) => {
            lanes.iter().fold("f32x4".to_string(), |text, lane| {
                text + " " + &describe_f32(lane)
            })
        }
        WastRetCore::V128(V128Pattern::F64x2(lanes)) => {
            lanes.iter().fold("f64x2".to_string(), |text, lane| {
                text + " " + &describe_f64(lane)
            })
        }
        WastRetCore::Either(patterns) => {
            let mut text = "either".to_string();
            for pattern in patterns {
                let _ = write!(text, " ({})", describe_pattern(pattern));
            }
            text
        }
        other => format!("{other:?}"),
    }
}

fn describe_f32(pattern: &NanPattern<F32>) -> String {
    match pattern {
        NanPattern::CanonicalNan => "nan:canonical".into(),
        NanPattern::ArithmeticNan => "nan:arithmetic".into(),
        NanPattern::Value(x) => format!("{} ({:#010x})", f32::from_bits(x.bits), x.bits),
    }
}

fn describe_f64(pattern: &NanPattern<F64>) -> String {
    match pattern {
        NanPattern::CanonicalNan => "nan:canonical".into(),
        NanPattern::ArithmeticNan => "nan:arithmetic".into(),
        NanPattern::Value(x) => format!("{} ({:#018x})", f64::from_bits(x.bits), x.bits),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nan_patterns() {
        let canonical = NanPattern::CanonicalNan;
        let arithmetic = NanPattern::ArithmeticNan;
        assert!(f32_matches(0x7fc0_0000, &canonical));
        assert!(f32_matches(0xffc0_0000, &canonical));
        assert!(!f32_matches(0x7fc0_0001, &canonical));
        assert!(f32_matches(0x7fc0_0001, &arithmetic));
        assert!(!f32_matches(0x7fa0_0000, &arithmetic));
        assert!(!f32_matches(0x7f80_0000, &arithmetic));
        let canonical = NanPattern::CanonicalNan;
        let arithmetic = NanPattern::ArithmeticNan;
        assert!(f64_matches(0xfff8_0000_0000_0000, &canonical));
        assert!(!f64_matches(0x7ff8_0000_0000_0001, &canonical));
        assert!(f64_matches(0x7ff8_0000_0000_0001, &arithmetic));
        assert!(!f64_matches(0x7ff4_0000_0000_0000, &arithmetic));
    }

    #[test]
    fn vector_patterns() {
        let value = u128::from_le_bytes([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]);
        let lanes = [
            0x0201, 0x0403, 0x0605, 0x0807, 0x0a09, 0x0c0b, 0x0e0d, 0x100f,
        ];
        assert!(v128_matches(value, &V128Pattern::I16x8(lanes)));
        assert!(!v128_matches(
            value ^ (1 << 127),
            &V128Pattern::I16x8(lanes)
        ));
        let lanes = [NanPattern::CanonicalNan, NanPattern::Value(F64 { bits: 1 })];
        let value = u128::from(F64_CANONICAL_NAN) | 1 << 64;
        assert!(v128_matches(value, &V128Pattern::F64x2(lanes)));
        assert!(!v128_matches(value | 1, &V128Pattern::F64x2(lanes)));
    }
}
