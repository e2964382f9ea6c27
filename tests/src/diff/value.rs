use crate::rng::Rng;

/// The types of [`Value`]s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// `i32`
    I32,
    /// `i64`
    I64,
    /// `f32`
    F32,
    /// `f64`
    F64,
    /// `v128`
    V128,
    /// `funcref`
    Func,
    /// `externref`
    Extern,
}

/// A WebAssembly value as both engines can show it. Floats are compared by their bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value {
    /// An `i32`.
    I32(i32),
    /// An `i64`.
    I64(i64),
    /// The bits of an `f32`.
    F32(u32),
    /// The bits of an `f64`.
    F64(u64),
    /// A `v128`.
    V128(u128),
    /// A `funcref`: how many parameters and results the function has, unless it is null.
    Func(Option<(usize, usize)>),
    /// An `externref`: the host's number for the object, unless it is null.
    Extern(Option<u32>),
}

impl Value {
    /// A value of type `ty`, preferably one with which programs go wrong.
    pub fn random(rng: &mut Rng, ty: Type) -> Self {
        const I32: [i32; 9] = [0, 1, -1, i32::MIN, i32::MAX, 2, 31, 255, 0x8000];
        const I64: [i64; 9] = [
            0,
            1,
            -1,
            i64::MIN,
            i64::MAX,
            63,
            0xffff_ffff,
            1 << 31,
            i32::MIN as i64,
        ];
        let f32s = [
            0.0,
            -0.0,
            1.0,
            -1.5,
            f32::MAX,
            f32::MIN_POSITIVE,
            f32::INFINITY,
            f32::NEG_INFINITY,
            2147483648.0,
            f32::from_bits(1),
            f32::from_bits(0x7fc0_0000),
        ];
        let f64s = [
            0.0,
            -0.0,
            1.0,
            -1.5,
            f64::MAX,
            f64::MIN_POSITIVE,
            f64::INFINITY,
            f64::NEG_INFINITY,
            9223372036854775808.0,
            f64::from_bits(1),
            f64::from_bits(0x7ff8_0000_0000_0000),
        ];
        let any = rng.one_in(3);
        match ty {
            Type::I32 if any => Value::I32(rng.next_u64() as i32),
            Type::I32 => Value::I32(*rng.choose(&I32)),
            Type::I64 if any => Value::I64(rng.next_u64() as i64),
            Type::I64 => Value::I64(*rng.choose(&I64)),
            Type::F32 if any => Value::F32(((rng.next_u64() as i32) as f32).to_bits()),
            Type::F32 => Value::F32(rng.choose(&f32s).to_bits()),
            Type::F64 if any => Value::F64(((rng.next_u64() as i64) as f64).to_bits()),
            Type::F64 => Value::F64(rng.choose(&f64s).to_bits()),
            Type::V128 => {
                let mut half = || match Self::random(rng, Type::I64) {
                    Value::I64(half) => half as u64,
                    _ => 0,
                };
                Value::V128(u128::from(half()) << 64 | u128::from(half()))
            }
            Type::Func => Value::Func(None),
            Type::Extern if any => Value::Extern(None),
            Type::Extern => Value::Extern(Some(rng.next_u64() as u32)),
        }
    }
}
