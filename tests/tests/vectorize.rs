//! Loops that are vectorized must do what they do as they are: the same results, the same bytes in the memory, the same
//! traps.
//!
//! `WAXWING_LOOPS` (default 400) says how many random loops there are, each of which runs on many arguments.

use anyhow::Result;
use rayon::prelude::*;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use waxwing::{Config, Engine, Instance, Module, OptLevel, Store, Trap, Val};
use waxwing_tests::rng::Rng;
use waxwing_tests::{env_count, with_threads};

const PAGE: u32 = 65536;

/// How elements are accessed: the type of their values, the bytes, the instructions.
struct Element {
    ty: &'static str,
    bytes: u32,
    load: &'static str,
    store: &'static str,
}

const fn element(ty: &'static str, bytes: u32, load: &'static str, store: &'static str) -> Element {
    Element {
        ty,
        bytes,
        load,
        store,
    }
}

const ELEMENTS: &[Element] = &[
    element("f64", 8, "f64.load", "f64.store"),
    element("f32", 4, "f32.load", "f32.store"),
    element("i64", 8, "i64.load", "i64.store"),
    element("i64", 4, "i64.load32_u", "i64.store32"),
    element("i64", 4, "i64.load32_s", "i64.store32"),
    element("i32", 4, "i32.load", "i32.store"),
    element("i32", 2, "i32.load16_u", "i32.store16"),
    element("i32", 2, "i32.load16_s", "i32.store16"),
    element("i32", 1, "i32.load8_u", "i32.store8"),
    element("i32", 1, "i32.load8_s", "i32.store8"),
];

const FLOAT_OPERATORS: &[&str] = &["add", "sub", "mul"];
const INT_OPERATORS: &[&str] = &["add", "sub", "mul", "and", "or", "xor"];
const SHIFTS: &[&str] = &["shl", "shr_u", "shr_s"];
const COMPARISONS: &[&str] = &["eq", "ne", "lt_s", "lt_u", "gt_s", "ge_u"];
const FLOAT_COMPARISONS: &[&str] = &["eq", "ne", "lt", "gt", "le"];

/// A loop over elements, as text.
struct Source<'a> {
    rng: &'a mut Rng,
    element: &'a Element,
    /// The bytes between elements of neighbouring iterations.
    advance: u32,
}

impl Source<'_> {
    fn below(&mut self, end: u32) -> u32 {
        self.rng.below(end as usize) as u32
    }

    fn one_of<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u32) as usize]
    }

    /// The index of the element of a copy in one of three arrays.
    fn index(&mut self, array: u32) -> String {
        match self.below(2) {
            0 => format!("(i32.add (local.get $p{array}) (local.get $i))"),
            _ => format!("(i32.add (local.get $i) (local.get $p{array}))"),
        }
    }

    fn load(&mut self, array: u32, near: u32, copy: u32) -> String {
        let offset = (near + copy) * self.element.bytes;
        let index = self.index(array);
        // Offsets in the instruction do not wrap around, sums do.
        match self.below(2) {
            0 => format!("({} offset={offset} {index})", self.element.load),
            _ => format!(
                "({} (i32.add {index} (i32.const {offset})))",
                self.element.load
            ),
        }
    }

    /// What each copy computes: the same expression, of elements of its own.
    fn expression(&mut self, depth: u32, copies: u32, carried: bool) -> Vec<String> {
        let ty = self.element.ty;
        let all = |text: String| vec![text; copies as usize];
        if depth == 0 || self.below(6) == 0 {
            return match self.below(6) {
                0 => all(format!("(local.get ${ty})")),
                1 => match ty {
                    "f64" | "f32" => all(format!("({ty}.const 1.5)")),
                    _ => {
                        let number = self.one_of(&[-1i64, 1, 3, 15, 255, 256, 70000, -128]);
                        all(format!("({ty}.const {number})"))
                    }
                },
                2 if carried => all("(local.get $before)".to_string()),
                _ => {
                    let (array, near) = (self.below(3), self.one_of(&[0, 0, 0, 1, 2, 40]));
                    let mut texts = Vec::new();
                    for copy in 0..copies {
                        texts.push(self.load(array, near, copy));
                    }
                    texts
                }
            };
        }
        let operands = |source: &mut Self| source.expression(depth - 1, copies, carried);
        let (x, y) = (operands(self), operands(self));
        let combine = |operator: String| {
            let pairs = x.iter().zip(&y);
            pairs
                .map(|(x, y)| format!("({operator} {x} {y})"))
                .collect()
        };
        let is_float = ty.starts_with('f');
        match self.below(9) {
            0 => {
                let operator = self.one_of(match is_float {
                    true => FLOAT_COMPARISONS,
                    false => COMPARISONS,
                });
                let (a, b) = (operands(self), operands(self));
                let conditions = a.iter().zip(&b);
                let conditions = conditions.map(|(a, b)| format!("({ty}.{operator} {a} {b})"));
                let all = conditions.zip(x.iter().zip(&y));
                all.map(|(condition, (x, y))| format!("(select {x} {y} {condition})"))
                    .collect()
            }
            1 if is_float => {
                // Of a number that is none, this gives the one that is the same on all ways.
                x.iter().map(|x| format!("({ty}.sqrt {x})")).collect()
            }
            1 | 2 if !is_float => {
                let operator = self.one_of(SHIFTS);
                let amount = match self.below(4) {
                    0 => format!("(local.get ${ty})"),
                    _ => format!("({ty}.const {})", self.below(36)),
                };
                let shifted = x.iter().map(|x| format!("({ty}.{operator} {x} {amount})"));
                shifted.collect()
            }
            2 => combine(format!("{ty}.mul")),
            _ => {
                let operator = self.one_of(match is_float {
                    true => FLOAT_OPERATORS,
                    false => INT_OPERATORS,
                });
                combine(format!("{ty}.{operator}"))
            }
        }
    }

    /// A function of three addresses, a count, and a value of each type, that gives what its counter and the value carried
    /// between iterations are in the end.
    fn module(&mut self) -> String {
        let copies = self.one_of(&[1, 1, 2, 4]);
        let carried = copies == 1 && self.below(3) == 0;
        let (ty, bytes) = (self.element.ty, self.element.bytes);
        self.advance = bytes * copies;
        let mut body = String::new();
        let stores = 1 + self.below(2);
        for store in 0..stores {
            let depth = 1 + self.below(3);
            let values = self.expression(depth, copies, carried);
            let array = self.below(3);
            let near = self.one_of(&[0, 0, 0, 1, 40]) + 50 * store;
            for (copy, value) in values.iter().enumerate() {
                let offset = (near + copy as u32) * bytes;
                let index = self.index(array);
                let _ = writeln!(
                    body,
                    "({} offset={offset} {index} {value})",
                    self.element.store
                );
            }
        }
        if carried {
            let load = self.load(0, 0, 0);
            let _ = writeln!(body, "(local.set $before {load})");
        }
        let advance = self.advance;
        let next = format!("(local.tee $i (i32.add (local.get $i) (i32.const {advance})))");
        let end = format!("(i32.mul (local.get $n) (i32.const {advance}))");
        let (first, goes_on) = match self.below(5) {
            0 => (
                "(i32.const 0)".to_string(),
                format!("(i32.ne {next} {end})"),
            ),
            1 => (
                "(i32.const 0)".to_string(),
                format!("(i32.lt_u {next} {end})"),
            ),
            2 => (
                "(i32.const 0)".to_string(),
                format!("(i32.gt_s {end} {next})"),
            ),
            // As clang makes it where it can: up to zero, from far below.
            3 => (format!("(i32.sub (i32.const 0) {end})"), next),
            _ => (
                "(i32.const 0)".to_string(),
                format!(
                    "(local.set $i (i32.add (local.get $i) (i32.const {advance})))
                     (local.tee $n (i32.sub (local.get $n) (i32.const 1)))"
                ),
            ),
        };
        format!(
            "(module
               (memory (export \"memory\") 1)
               (func (export \"run\") (param $p0 i32) (param $p1 i32) (param $p2 i32) (param $n i32)
                   (param $f64 f64) (param $f32 f32) (param $i64 i64) (param $i32 i32)
                   (result i32 {ty})
                 (local $i i32) (local $before {ty})
                 (local.set $before (local.get ${ty}))
                 (local.set $i {first})
                 (loop $again {body} (br_if $again {goes_on}))
                 (local.get $i) (local.get $before)))"
        )
    }
}

fn engine(level: OptLevel) -> Result<Engine> {
    let mut config = Config::new();
    config.cranelift_opt_level(level);
    Engine::new(&config)
}

/// What the least processors of an architecture have on which loops are vectorized.
#[cfg(any(target_arch = "x86_64", feature = "all-arch"))]
fn least(triple: &str, level: OptLevel) -> Result<Engine> {
    let mut config = Config::new();
    config.cranelift_opt_level(level).target(triple)?;
    if triple.starts_with("x86_64") {
        for flag in ["has_sse3", "has_ssse3", "has_sse41", "has_avx"] {
            // SAFETY: processors that the tests run on have these.
            unsafe { config.cranelift_flag_enable(flag) };
        }
    }
    Engine::new(&config)
}

/// Engines that vectorize loops, by more and by less of what the processor has.
fn fast_engines() -> Result<Vec<Engine>> {
    let native = engine(OptLevel::Speed)?;
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    if std::is_x86_feature_detected!("avx") {
        return Ok(vec![
            native,
            least("x86_64-unknown-linux-gnu", OptLevel::Speed)?,
        ]);
    }
    Ok(vec![native])
}

/// The loop of a seed, of elements of a type, and the bytes between those of neighbouring iterations.
fn source(seed: u64, rng: &mut Rng) -> (String, &'static Element, u32) {
    let element = &ELEMENTS[seed as usize % ELEMENTS.len()];
    let mut source = Source {
        rng,
        element,
        advance: 0,
    };
    let text = source.module();
    (text, element, source.advance)
}

/// A page of numbers that are exact in sums and products, if there are any of the type.
fn memory(rng: &mut Rng, ty: &str) -> Vec<u8> {
    let mut number = || f64::from(rng.below(65) as i32 - 32) / 4.0;
    match ty {
        "f64" => (0..PAGE / 8).flat_map(|_| number().to_le_bytes()).collect(),
        "f32" => (0..PAGE / 4)
            .flat_map(|_| (number() as f32).to_le_bytes())
            .collect(),
        _ => rng.bytes(PAGE as usize),
    }
}

/// Calls `run`: what it gives, or how it traps, and what is in the memory afterwards.
fn outcome(engine: &Module, bytes: &[u8], arguments: &[Val]) -> Result<(String, Vec<u8>)> {
    let mut store = Store::new(engine.engine(), ());
    let instance = Instance::new(&mut store, engine, &[])?;
    let memory = instance
        .get_memory(&mut store, "memory")
        .expect("it is exported");
    memory.write(&mut store, 0, bytes)?;
    let run = instance
        .get_func(&mut store, "run")
        .expect("it is exported");
    let mut results = [Val::I32(0), Val::I32(0)];
    let result = match run.call(&mut store, arguments, &mut results) {
        Ok(()) => format!("{results:?}"),
        Err(error) => format!("{:?}", error.downcast::<Trap>()?),
    };
    Ok((result, memory.data(&store).to_vec()))
}

/// Three addresses and a count. Addresses of floats are aligned: what is between them may be no number, of which
/// operations give any.
fn places(rng: &mut Rng, element: &Element, advance: u32) -> [u32; 4] {
    let mask = match element.ty.starts_with('f') {
        true => !(element.bytes - 1),
        false => u32::MAX,
    };
    let count = match rng.below(8) {
        0 => 0,
        1..=5 => 1 + rng.below(40) as u32,
        _ => 40 + rng.below(400) as u32,
    };
    let mut any = || match rng.below(10) {
        // So that the end of the memory comes in the middle.
        0 => PAGE - (rng.below(40) as u32 * advance).min(PAGE),
        // So that addresses wrap around.
        1 => 0u32.wrapping_sub(rng.below(60) as u32 * advance),
        // Near others.
        2..=4 => 4096 + rng.below(64) as u32,
        5 => 4096 + rng.below(8) as u32 * advance,
        _ => rng.below(7) as u32 * 8192,
    };
    [any() & mask, any() & mask, any() & mask, count]
}

#[test]
fn random_loops_do_the_same_on_vectors() -> Result<()> {
    let fast = fast_engines()?;
    let plain = engine(OptLevel::None)?;
    // With the same optimizations, but for vectors.
    let small = engine(OptLevel::SpeedAndSize)?;
    let [vectorized, trapped, returned] = [const { AtomicU64::new(0) }; 3];
    let count = env_count("WAXWING_LOOPS", 400);
    with_threads(|| {
        (0..count).into_par_iter().try_for_each(|seed| {
            let mut rng = Rng::of(&[seed, 26]);
            let (text, element, advance) = source(seed, &mut rng);
            let module = |engine| Module::new(engine, &text);
            let other = module(&fast[seed as usize / ELEMENTS.len() % fast.len()])?;
            let (fast, plain, small) = (module(&fast[0])?, module(&plain)?, module(&small)?);
            if fast.text() != small.text() {
                vectorized.fetch_add(1, Relaxed);
            }
            let fast = other;
            for _ in 0..24 {
                let bytes = memory(&mut rng, element.ty);
                let [x, y, z, mut count] = places(&mut rng, element, advance);
                // Counts of zero are the greatest of all, which takes long only where nothing traps.
                if count == 0 {
                    count = 1 << 31;
                }
                let arguments = [x, y, z, count].map(|number| Val::I32(number.cast_signed()));
                let values = [
                    Val::F64(2.5f64.to_bits()),
                    Val::F32(0.5f32.to_bits()),
                    Val::I64(rng.below(1 << 40) as i64 - (1 << 20)),
                    Val::I32(rng.below(1 << 20) as i32 - (1 << 19)),
                ];
                let arguments = [&arguments[..], &values[..]].concat();
                let expected = outcome(&plain, &bytes, &arguments)?;
                let found = outcome(&fast, &bytes, &arguments)?;
                assert_eq!(
                    found.0, expected.0,
                    "seed {seed}, arguments {arguments:?}:\n{text}"
                );
                if let Some(at) = (0..found.1.len()).find(|at| found.1[*at] != expected.1[*at]) {
                    panic!(
                        "seed {seed}, arguments {arguments:?}: the byte at {at} is {} and not {}:\n{text}",
                        found.1[at], expected.1[at]
                    );
                }
                match found.0.starts_with('[') {
                    true => returned.fetch_add(1, Relaxed),
                    false => trapped.fetch_add(1, Relaxed),
                };
            }
            anyhow::Ok(())
        })
    })?;
    let [vectorized, trapped, returned] =
        [vectorized, trapped, returned].map(AtomicU64::into_inner);
    println!(
        "{vectorized} of {count} loops vectorized, {returned} calls returned, {trapped} trapped"
    );
    // Vectors need instructions that not every processor has.
    if cfg!(any(target_arch = "x86_64", target_arch = "aarch64")) {
        assert!(
            vectorized > count / 4,
            "{vectorized} of {count} loops test little"
        );
    }
    assert!(returned > count, "{returned} calls that return test little");
    assert!(trapped > count, "{trapped} calls that trap test little");
    Ok(())
}

#[cfg(feature = "all-arch")]
#[test]
fn random_loops_compile_for_other_processors() -> Result<()> {
    use object::{Object, ObjectSection};
    let count = env_count("WAXWING_LOOPS", 400);
    for triple in ["aarch64-unknown-linux-gnu", "x86_64-unknown-linux-gnu"] {
        let fast = least(triple, OptLevel::Speed)?;
        let small = least(triple, OptLevel::SpeedAndSize)?;
        let vectorized = AtomicU64::new(0);
        (0..count).into_par_iter().try_for_each(|seed| {
            let (text, ..) = source(seed, &mut Rng::of(&[seed, 26]));
            let code = |engine: &Engine| -> Result<Vec<u8>> {
                let artifact = engine.precompile_module(text.as_bytes())?;
                let file = object::File::parse(&artifact[..])?;
                let code = file.section_by_name(".text").expect("artifacts have code");
                Ok(code.data()?.to_vec())
            };
            if code(&fast)? != code(&small)? {
                vectorized.fetch_add(1, Relaxed);
            }
            anyhow::Ok(())
        })?;
        let vectorized = vectorized.into_inner();
        assert!(
            vectorized > count / 4,
            "{triple}: {vectorized} of {count} loops test little"
        );
    }
    Ok(())
}
