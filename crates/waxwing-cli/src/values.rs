//! Values of WebAssembly types, as typed on a command line and printed.
//!
//! Numbers are written as in the text format: decimal or `0x…`, with `_`
//! between digits, integers signed or unsigned; floats also in hexadecimal,
//! `inf`, `nan` and `nan:0x…`. Vectors are `i32x4 1 2 3 4` (as one argument, or
//! any other shape), or one 128-bit number. References can only be `null`.

use anyhow::{Context, Result, bail};
use wast::core::V128Const;
use wast::parser::{self, Parse, ParseBuffer};
use wast::token::{F32, F64};
use waxwing::{Val, ValType};

/// The value of type `ty` that `text` denotes.
///
/// # Errors
///
/// Fails if it denotes none; the message says what would.
pub fn parse(text: &str, ty: &ValType) -> Result<Val> {
    match ty {
        ValType::I32 => token::<i32>(text)
            .map(Val::I32)
            .context("expected a 32-bit integer"),
        ValType::I64 => token::<i64>(text)
            .map(Val::I64)
            .context("expected a 64-bit integer"),
        ValType::F32 => token::<F32>(text)
            .map(|x| x.bits)
            .or_else(|| text.parse().ok().map(f32::to_bits))
            .map(Val::F32)
            .context("expected a number, `inf` or `nan`"),
        ValType::F64 => token::<F64>(text)
            .map(|x| x.bits)
            .or_else(|| text.parse().ok().map(f64::to_bits))
            .map(Val::F64)
            .context("expected a number, `inf` or `nan`"),
        ValType::V128 => parse_v128(text)
            .map(|x| Val::V128(x.into()))
            .context("expected a vector such as `i32x4 1 2 3 4`, or a 128-bit integer"),
        ValType::Ref(ty) if text == "null" => {
            if !ty.is_nullable() {
                bail!("references of type {ty} cannot be null");
            }
            Ok(Val::null_ref(ty.heap_type()))
        }
        ValType::Ref(_) => bail!("references other than `null` cannot be given as arguments"),
    }
}

/// `text` as one token of the text format.
fn token<T: for<'a> Parse<'a>>(text: &str) -> Option<T> {
    // Nothing but the token: no comments, annotations or spaces.
    if text.contains([';', '(', ' ', '\t', '\n', '\r']) {
        return None;
    }
    parser::parse::<T>(&ParseBuffer::new(text).ok()?).ok()
}

fn parse_v128(text: &str) -> Option<u128> {
    let digits = text.replace('_', "");
    let number = match digits.strip_prefix("0x") {
        Some(hex) => u128::from_str_radix(hex, 16).ok(),
        None => digits.parse().ok(),
    };
    number.or_else(|| {
        let buffer = ParseBuffer::new(text).ok()?;
        let value = parser::parse::<V128Const>(&buffer).ok()?;
        Some(u128::from_le_bytes(value.to_le_bytes()))
    })
}

/// `value` as [`parse`] reads it back; a non-null reference as its kind.
pub fn format(value: &Val) -> String {
    match value {
        Val::I32(x) => x.to_string(),
        Val::I64(x) => x.to_string(),
        Val::F32(bits) => {
            let x = f32::from_bits(*bits);
            match bits & 0x7f_ffff {
                payload if x.is_nan() => nan(bits >> 31 != 0, payload.into(), 0x40_0000),
                _ => float(x, f64::from(x)),
            }
        }
        Val::F64(bits) => {
            let x = f64::from_bits(*bits);
            match bits & 0xf_ffff_ffff_ffff {
                payload if x.is_nan() => nan(bits >> 63 != 0, payload, 0x8_0000_0000_0000),
                _ => float(x, x),
            }
        }
        Val::V128(x) => {
            let lanes = x.as_u128().to_le_bytes();
            let (lanes, _) = lanes.as_chunks::<4>();
            lanes.iter().fold("i32x4".to_string(), |text, lane| {
                format!("{text} {:#010x}", u32::from_le_bytes(*lane))
            })
        }
        Val::FuncRef(x) => x.map_or("null", |_| "funcref").into(),
        Val::ExternRef(x) => x.map_or("null", |_| "externref").into(),
        Val::AnyRef(x) => x.map_or("null", |_| "anyref").into(),
        Val::ExnRef(x) => x.map_or("null", |_| "exnref").into(),
    }
}

/// The shortest digits that read back as the same number; very large and very
/// small ones with an exponent.
fn float(x: impl std::fmt::Display + std::fmt::LowerExp, size: f64) -> String {
    if size == 0.0 || size.is_infinite() || (1e-6..1e16).contains(&size.abs()) {
        x.to_string()
    } else {
        format!("{x:e}")
    }
}

fn nan(negative: bool, payload: u64, canonical: u64) -> String {
    let sign = if negative { "-" } else { "" };
    if payload == canonical {
        format!("{sign}nan")
    } else {
        format!("{sign}nan:{payload:#x}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `text` becomes when it is read and printed.
    fn round(text: &str, ty: ValType) -> Option<String> {
        parse(text, &ty).ok().map(|value| format(&value))
    }

    #[test]
    fn integers() {
        for (text, printed) in [
            ("0", Some("0")),
            ("-1", Some("-1")),
            ("4294967295", Some("-1")),
            ("0xffff_ffff", Some("-1")),
            ("-0x80000000", Some("-2147483648")),
            ("+7", Some("7")),
            ("1_000", Some("1000")),
            ("4294967296", None),
            ("-2147483649", None),
            ("", None),
            ("1.5", None),
            ("x", None),
            ("1 ", None),
            ("(;;)1", None),
            ("1;;", None),
        ] {
            assert_eq!(round(text, ValType::I32).as_deref(), printed, "{text:?}");
        }
        assert_eq!(
            round("0xffffffffffffffff", ValType::I64).as_deref(),
            Some("-1")
        );
        assert_eq!(
            round("9223372036854775807", ValType::I64).as_deref(),
            Some("9223372036854775807")
        );
        assert_eq!(round("18446744073709551616", ValType::I64), None);
    }

    #[test]
    fn floats() {
        for (text, printed) in [
            ("1.5", Some("1.5")),
            ("-0", Some("-0")),
            ("3", Some("3")),
            (".5", Some("0.5")),
            ("1e30", Some("1e30")),
            ("0x1.8p1", Some("3")),
            ("inf", Some("inf")),
            ("-inf", Some("-inf")),
            ("nan", Some("nan")),
            ("-nan", Some("-nan")),
            ("nan:0x123", Some("nan:0x123")),
            ("one", None),
            ("", None),
        ] {
            assert_eq!(round(text, ValType::F32).as_deref(), printed, "{text:?}");
            assert_eq!(round(text, ValType::F64).as_deref(), printed, "{text:?}");
        }
        assert_eq!(round("0.1", ValType::F32).as_deref(), Some("0.1"));
        assert_eq!(round("1e-7", ValType::F64).as_deref(), Some("1e-7"));
    }

    #[test]
    fn vectors() {
        let printed = "i32x4 0x00000001 0x00000002 0x00000003 0x00000004";
        for text in [
            "i32x4 1 2 3 4",
            "i64x2 0x200000001 0x400000003",
            "0x4_00000003_00000002_00000001",
            printed,
        ] {
            assert_eq!(
                round(text, ValType::V128).as_deref(),
                Some(printed),
                "{text:?}"
            );
        }
        assert_eq!(round("i32x4 1 2 3", ValType::V128), None);
        assert_eq!(
            round("f32x4 1 2 3 inf", ValType::V128).as_deref(),
            Some("i32x4 0x3f800000 0x40000000 0x40400000 0x7f800000")
        );
    }

    #[test]
    fn references() {
        assert_eq!(round("null", ValType::FUNCREF).as_deref(), Some("null"));
        assert_eq!(round("null", ValType::EXTERNREF).as_deref(), Some("null"));
        assert_eq!(round("1", ValType::EXTERNREF), None);
    }
}
