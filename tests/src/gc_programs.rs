//! Random programs that make, change and drop objects of the GC heap.
//!
//! Everything that a program computes is the same whatever is collected, and when. At its end it walks all
//! that it can reach and returns a checksum of it.

use crate::rng::Rng;
use std::fmt::Write;

/// Types of structs, each a subtype of the one before, and of arrays; what the program's functions share.
const PRELUDE: &str = r#"
  (rec
    (type $s0 (sub (struct (field $id (mut i32)) (field $a (mut (ref null $s0)))
      (field $b (mut anyref)))))
    (type $s1 (sub $s0 (struct (field $id (mut i32)) (field $a (mut (ref null $s0)))
      (field $b (mut anyref)) (field $c (mut (ref null $anys))) (field $d (mut i64))
      (field $e (mut i8)))))
    (type $s2 (sub final $s1 (struct (field $id (mut i32)) (field $a (mut (ref null $s0)))
      (field $b (mut anyref)) (field $c (mut (ref null $anys))) (field $d (mut i64))
      (field $e (mut i8)) (field $f (mut eqref)) (field $g (ref null $s1)) (field $h (mut funcref))
      (field $x (mut externref)) (field $v (mut v128)))))
    (type $anys (array (mut anyref)))
    (type $structs (array (mut (ref null $s0)))))
  (type $other (struct (field $n f64) (field $r anyref)))
  (type $bytes (array (mut i8)))
  (type $longs (array (mut i64)))
  (type $f (func (param i32 anyref (ref null $s0) (ref null $anys)) (result anyref)))

  (tag $t (param anyref i32))

  (global $fuel (mut i32) (i32.const FUEL))
  (global $ga (mut anyref) (ref.null any))
  (global $gb (mut anyref) (ref.i31 (i32.const 7)))
  (global $gs (mut (ref null $s0)) (ref.null $s0))
  (global $gc (ref $s0) (struct.new $s0 (i32.const 5) (ref.null $s0) (ref.i31 (i32.const 6))))
  (global $gx (mut externref) (ref.null extern))
  (table $ta 8 anyref)
  (table $ts 8 (ref null $s0))
  (elem $ea anyref (ref.i31 (i32.const 1)) (global.get $gc)
    (struct.new $other (f64.const 1.5) (ref.null any)) (ref.null any))
  (data $d "some bytes for arrays")

  (func $tick (result i32)
    (global.set $fuel (i32.sub (global.get $fuel) (i32.const 1)))
    (i32.le_s (global.get $fuel) (i32.const 0)))

  ;; A checksum of all that is reachable, down to a depth. It makes garbage on its way.
  (func $hash (param $r anyref) (param $depth i32) (result i32)
    (local $h i32) (local $i i32) (local $s (ref null $s0)) (local $t (ref null $s2))
    (local $arr (ref null $anys)) (local $sarr (ref null $structs))
    (if (i32.or (ref.is_null (local.get $r)) (i32.eqz (local.get $depth)))
      (then (return (i32.const 1))))
    (local.set $depth (i32.sub (local.get $depth) (i32.const 1)))
    (drop (array.new $anys (local.get $r) (i32.const 2)))
    (if (ref.test (ref i31) (local.get $r))
      (then (return (i31.get_s (ref.cast (ref i31) (local.get $r))))))
    (if (ref.test (ref $s0) (local.get $r)) (then
      (local.set $s (ref.cast (ref $s0) (local.get $r)))
      (local.set $h (i32.add (i32.const 10) (struct.get $s0 $id (local.get $s))))
      (local.set $h (i32.add (i32.mul (i32.const 31) (local.get $h))
        (call $hash (struct.get $s0 $a (local.get $s)) (local.get $depth))))
      (local.set $h (i32.add (i32.mul (i32.const 31) (local.get $h))
        (call $hash (struct.get $s0 $b (local.get $s)) (local.get $depth))))
      (if (ref.test (ref $s1) (local.get $s)) (then
        (local.set $h (i32.add (i32.mul (i32.const 31) (local.get $h))
          (call $hash (struct.get $s1 $c (ref.cast (ref $s1) (local.get $s))) (local.get $depth))))
        (local.set $h (i32.add (local.get $h)
          (i32.wrap_i64 (struct.get $s1 $d (ref.cast (ref $s1) (local.get $s))))))
        (local.set $h (i32.add (local.get $h)
          (struct.get_s $s1 $e (ref.cast (ref $s1) (local.get $s)))))))
      (if (ref.test (ref $s2) (local.get $s)) (then
        (local.set $t (ref.cast (ref $s2) (local.get $s)))
        (local.set $h (i32.add (i32.mul (i32.const 31) (local.get $h))
          (call $hash (struct.get $s2 $f (local.get $t)) (local.get $depth))))
        (local.set $h (i32.add (i32.mul (i32.const 31) (local.get $h))
          (call $hash (struct.get $s2 $g (local.get $t)) (local.get $depth))))
        (local.set $h (i32.add (i32.mul (i32.const 31) (local.get $h))
          (call $hash (any.convert_extern (struct.get $s2 $x (local.get $t)))
            (local.get $depth))))
        (local.set $h (i32.add (local.get $h)
          (i32x4.extract_lane 3 (struct.get $s2 $v (local.get $t)))))
        (local.set $h (i32.add (local.get $h)
          (ref.is_null (struct.get $s2 $h (local.get $t)))))))
      (return (local.get $h))))
    (if (ref.test (ref $anys) (local.get $r)) (then
      (local.set $arr (ref.cast (ref $anys) (local.get $r)))
      (local.set $h (i32.const 20))
      (block $done (loop $next
        (br_if $done (i32.ge_u (local.get $i) (array.len (local.get $arr))))
        (local.set $h (i32.add (i32.mul (i32.const 31) (local.get $h))
          (call $hash (array.get $anys (local.get $arr) (local.get $i)) (local.get $depth))))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br $next)))
      (return (local.get $h))))
    (if (ref.test (ref $structs) (local.get $r)) (then
      (local.set $sarr (ref.cast (ref $structs) (local.get $r)))
      (local.set $h (i32.const 30))
      (block $done (loop $next
        (br_if $done (i32.ge_u (local.get $i) (array.len (local.get $sarr))))
        (local.set $h (i32.add (i32.mul (i32.const 31) (local.get $h))
          (call $hash (array.get $structs (local.get $sarr) (local.get $i)) (local.get $depth))))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br $next)))
      (return (local.get $h))))
    (if (ref.test (ref $other) (local.get $r)) (then
      (return (i32.add (i32.const 40) (call $hash
        (struct.get $other $r (ref.cast (ref $other) (local.get $r))) (local.get $depth))))))
    (if (ref.test (ref $bytes) (local.get $r)) (then
      (return (call $sum (ref.cast (ref $bytes) (local.get $r))))))
    (if (ref.test (ref $longs) (local.get $r)) (then
      (return (array.len (ref.cast (ref $longs) (local.get $r))))))
    (i32.const 50))

  (func $sum (param $bytes (ref $bytes)) (result i32)
    (local $i i32) (local $h i32)
    (block $done (loop $next
      (br_if $done (i32.ge_u (local.get $i) (array.len (local.get $bytes))))
      (local.set $h (i32.add (i32.mul (i32.const 7) (local.get $h))
        (array.get_u $bytes (local.get $bytes) (local.get $i))))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br $next)))
    (local.get $h))

  (func $hash_roots (param $h i32) (result i32)
    (local $i i32)
    (local.set $h (i32.add (i32.mul (i32.const 31) (local.get $h))
      (call $hash (global.get $ga) (i32.const 6))))
    (local.set $h (i32.add (i32.mul (i32.const 31) (local.get $h))
      (call $hash (global.get $gb) (i32.const 6))))
    (local.set $h (i32.add (i32.mul (i32.const 31) (local.get $h))
      (call $hash (global.get $gs) (i32.const 6))))
    (local.set $h (i32.add (i32.mul (i32.const 31) (local.get $h))
      (call $hash (any.convert_extern (global.get $gx)) (i32.const 6))))
    (loop $next
      (local.set $h (i32.add (i32.mul (i32.const 31) (local.get $h))
        (call $hash (table.get $ta (local.get $i)) (i32.const 5))))
      (local.set $h (i32.add (i32.mul (i32.const 31) (local.get $h))
        (call $hash (table.get $ts (local.get $i)) (i32.const 5))))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $next (i32.lt_u (local.get $i) (i32.const 8))))
    (local.get $h))
"#;

/// The kinds of values that programs work with.
#[derive(Copy, Clone, PartialEq, Eq)]
enum Ty {
    I32,
    Any,
    /// `(ref null $s0)`
    Struct,
    /// `(ref $s0)`
    NonNull,
    /// `(ref null $anys)`
    Anys,
    /// `(ref null $structs)`
    Structs,
    /// `(ref null $bytes)`
    Bytes,
    Extern,
    /// Only of temporaries.
    Exn,
}

impl Ty {
    fn text(self) -> &'static str {
        match self {
            Ty::I32 => "i32",
            Ty::Any => "anyref",
            Ty::Struct => "(ref null $s0)",
            Ty::NonNull => "(ref $s0)",
            Ty::Anys => "(ref null $anys)",
            Ty::Structs => "(ref null $structs)",
            Ty::Bytes => "(ref null $bytes)",
            Ty::Extern => "externref",
            Ty::Exn => "exnref",
        }
    }
}

/// Types of locals of every function, after its parameters.
const LOCALS: [Ty; 9] = [
    Ty::I32,
    Ty::I32,
    Ty::Any,
    Ty::Any,
    Ty::Struct,
    Ty::Struct,
    Ty::Anys,
    Ty::Structs,
    Ty::Extern,
];
const PARAMS: [Ty; 4] = [Ty::I32, Ty::Any, Ty::Struct, Ty::Anys];

struct Generator<'a> {
    rng: &'a mut Rng,
    functions: usize,
    /// Locals made for single expressions, after the others.
    temporaries: Vec<Ty>,
    labels: usize,
}

/// The program of a seed, as text. Its export `run` returns a checksum; `fuel` bounds its steps.
pub fn program(seed: u64, fuel: u32) -> String {
    let mut rng = Rng::of(&[seed, 3]);
    let functions = 1 + rng.below(4);
    let mut text = String::from("(module");
    text += PRELUDE;
    for index in 0..functions {
        let mut generator = Generator {
            rng: &mut rng,
            functions,
            temporaries: Vec::new(),
            labels: 0,
        };
        text += &generator.function(index);
    }
    let names: Vec<String> = (0..functions).map(|i| format!("$f{i}")).collect();
    text += &format!("\n  (elem declare func {})", names.join(" "));
    text += r#"
  (func (export "run") (result i32)
    (local $h i32)
    (global.set $fuel (i32.const FUEL))
    (loop $again
      (local.set $h (i32.add (i32.mul (i32.const 31) (local.get $h))
        (call $hash
          (block $done (result anyref)
            (block $thrown (result anyref i32)
              (br $done (try_table (result anyref) (catch $t $thrown)
                (call $f0 (local.get $h) (global.get $ga) (global.get $gs) (ref.null $anys)))))
            (drop))
          (i32.const 6))))
      (br_if $again (i32.eqz (call $tick))))
    (call $hash_roots (local.get $h))))"#;
    text.replace("FUEL", &fuel.to_string())
}

impl Generator<'_> {
    fn function(&mut self, index: usize) -> String {
        let body: String = (0..3 + self.rng.below(8))
            .map(|_| self.statement(3))
            .collect();
        let result = self.expr(Ty::Any, 3);
        let mut text = format!("\n  (func $f{index} (type $f)");
        for ty in LOCALS.iter().chain(&self.temporaries) {
            write!(text, " (local {})", ty.text()).expect("a string has room");
        }
        text += "\n (if (call $tick) (then (return (local.get 1))))";
        text + &body + &result + ")"
    }

    fn label(&mut self) -> usize {
        self.labels += 1;
        self.labels
    }

    /// A local of type `ty` that nothing else uses.
    fn temporary(&mut self, ty: Ty) -> usize {
        self.temporaries.push(ty);
        PARAMS.len() + LOCALS.len() + self.temporaries.len() - 1
    }

    /// One of the locals of a type that all code of the function shares.
    fn local(&mut self, ty: Ty) -> Option<usize> {
        let all = PARAMS.iter().chain(&LOCALS).enumerate();
        let fitting: Vec<usize> = all.filter(|(_, t)| **t == ty).map(|(i, _)| i).collect();
        (!fitting.is_empty()).then(|| *self.rng.choose(&fitting))
    }

    fn number(&mut self, depth: usize) -> String {
        if depth == 0 || self.rng.one_in(2) {
            return match self.rng.below(2) {
                0 => format!("(i32.const {})", self.rng.below(100)),
                _ => {
                    let local = self.local(Ty::I32).expect("there are such locals");
                    format!("(local.get {local})")
                }
            };
        }
        let depth = depth - 1;
        match self.rng.below(6) {
            0 => format!("(i32.add {} {})", self.number(depth), self.number(depth)),
            1 => format!(
                "(ref.eq (ref.cast eqref (ref.i31 (i32.const 0))) {})",
                self.eq(depth)
            ),
            2 => format!(
                "(ref.test (ref {}) {})",
                self.rng
                    .choose(&["$s0", "$s1", "$s2", "$anys", "struct", "array", "i31", "eq"]),
                self.expr(Ty::Any, depth)
            ),
            3 => {
                let (ty, field) = *self.rng.choose(&[("$s0", "$id")]);
                format!(
                    "(struct.get {ty} {field} {})",
                    self.expr(Ty::NonNull, depth)
                )
            }
            4 => format!("(ref.is_null {})", self.expr(Ty::Struct, depth)),
            _ => self.guarded(Ty::Bytes, "i32", "(i32.const 3)", depth, |g, array| {
                format!(
                    "(array.get_{} $bytes (local.get {array})
                       (i32.rem_u {} (array.len (local.get {array}))))",
                    g.rng.choose(&["s", "u"]),
                    g.number(depth),
                )
            }),
        }
    }

    fn eq(&mut self, depth: usize) -> String {
        match self.rng.below(3) {
            0 => self.expr(Ty::Struct, depth),
            1 => self.expr(Ty::Anys, depth),
            _ => format!("(ref.i31 {})", self.number(depth)),
        }
    }

    /// What `f` makes of a local that holds an array of type `ty` that is neither null nor empty; otherwise
    /// `default`.
    fn guarded(
        &mut self,
        ty: Ty,
        result: &str,
        default: &str,
        depth: usize,
        f: impl FnOnce(&mut Self, usize) -> String,
    ) -> String {
        let array = self.expr(ty, depth);
        let local = self.temporary(ty);
        let value = f(self, local);
        let result = match result {
            "" => String::new(),
            result => format!("(result {result})"),
        };
        format!(
            "(local.set {local} {array})
             (if {result} (if (result i32) (ref.is_null (local.get {local})) (then (i32.const 1))
                 (else (i32.eqz (array.len (local.get {local})))))
               (then {default}) (else {value}))"
        )
    }

    fn index_in(&mut self, array: usize, depth: usize) -> String {
        format!(
            "(i32.rem_u {} (array.len (local.get {array})))",
            self.number(depth)
        )
    }

    fn call(&mut self, depth: usize) -> String {
        let function = self.rng.below(self.functions);
        let args: Vec<String> = PARAMS.iter().map(|ty| self.expr(*ty, depth)).collect();
        let args = args.join(" ");
        match self.rng.below(3) {
            0 => format!("(call_ref $f {args} (ref.func $f{function}))"),
            _ => format!("(call $f{function} {args})"),
        }
    }

    fn new_struct(&mut self, depth: usize) -> String {
        let base = format!(
            "{} {} {}",
            self.number(depth),
            self.expr(Ty::Struct, depth),
            self.expr(Ty::Any, depth)
        );
        match self.rng.below(5) {
            0 => "(struct.new_default $s1)".to_string(),
            1 | 2 => format!("(struct.new $s0 {base})"),
            3 => format!(
                "(struct.new $s1 {base} {} (i64.const {}) {})",
                self.expr(Ty::Anys, depth),
                self.rng.next_u64(),
                self.number(depth)
            ),
            _ => format!(
                "(struct.new $s2 {base} {} (i64.const {}) {} {} (ref.null $s1) {} {}
                   (i32x4.splat {}))",
                self.expr(Ty::Anys, depth),
                self.rng.next_u64(),
                self.number(depth),
                self.eq(depth),
                self.rng.choose(&["(ref.null func)", "(ref.func $f0)"]),
                self.expr(Ty::Extern, depth),
                self.number(depth),
            ),
        }
    }

    fn expr(&mut self, ty: Ty, depth: usize) -> String {
        if ty == Ty::I32 {
            return self.number(depth);
        }
        let is_leaf = depth == 0 || self.rng.one_in(4);
        if is_leaf && let Some(local) = self.local(ty) {
            return format!("(local.get {local})");
        }
        if depth == 0 {
            return match ty {
                Ty::NonNull => "(struct.new_default $s0)".to_string(),
                Ty::Bytes => "(array.new_default $bytes (i32.const 5))".to_string(),
                _ => unreachable!("there are locals of the other types"),
            };
        }
        let depth = depth - 1;
        match self.rng.below(12) {
            0 => {
                let condition = self.number(depth);
                let (a, b) = (self.expr(ty, depth), self.expr(ty, depth));
                return format!("(select (result {}) {a} {b} {condition})", ty.text());
            }
            1 => {
                let condition = self.number(depth);
                let (a, b) = (self.expr(ty, depth), self.expr(ty, depth));
                return format!(
                    "(if (result {}) {condition} (then {a}) (else {b}))",
                    ty.text()
                );
            }
            2 => {
                let label = self.label();
                let (condition, a, b) = (
                    self.number(depth),
                    self.expr(ty, depth),
                    self.expr(ty, depth),
                );
                return format!(
                    "(block $l{label} (result {}) (drop (br_if $l{label} {a} {condition})) {b})",
                    ty.text()
                );
            }
            _ => {}
        }
        match ty {
            Ty::I32 => unreachable!("numbers are made above"),
            Ty::Exn => unreachable!("exceptions are in temporaries alone"),
            Ty::Any => self.any(depth),
            Ty::Struct => match self.rng.below(6) {
                0 | 1 => self.new_struct(depth),
                2 => format!("(struct.get $s0 $a {})", self.expr(Ty::NonNull, depth)),
                3 => format!(
                    "(table.get $ts (i32.and {} (i32.const 7)))",
                    self.number(depth)
                ),
                4 => "(global.get $gs)".to_string(),
                _ => self.guarded(
                    Ty::Structs,
                    "(ref null $s0)",
                    "(ref.null $s0)",
                    depth,
                    |g, array| {
                        let index = g.index_in(array, depth);
                        format!("(array.get $structs (local.get {array}) {index})")
                    },
                ),
            },
            Ty::NonNull => match self.rng.below(3) {
                0 => self.new_struct(depth),
                1 => "(global.get $gc)".to_string(),
                _ => {
                    let label = self.label();
                    let (value, other) = (self.expr(Ty::Struct, depth), self.new_struct(depth));
                    format!(
                        "(block $l{label} (result (ref $s0))
                           (br_on_non_null $l{label} {value}) {other})"
                    )
                }
            },
            Ty::Anys => match self.rng.below(5) {
                0 => format!(
                    "(array.new $anys {} (i32.rem_u {} (i32.const 40)))",
                    self.expr(Ty::Any, depth),
                    self.number(depth)
                ),
                1 => format!(
                    "(array.new_fixed $anys 3 {} {} {})",
                    self.expr(Ty::Any, depth),
                    self.expr(Ty::Any, depth),
                    self.expr(Ty::Any, depth)
                ),
                2 => format!(
                    "(array.new_default $anys (i32.rem_u {} (i32.const 9)))",
                    self.number(depth)
                ),
                3 => "(array.new_elem $anys $ea (i32.const 1) (i32.const 2))".to_string(),
                _ => {
                    let label = self.label();
                    format!(
                        "(block $l{label} (result (ref null $anys))
                           (drop (br_on_cast $l{label} anyref (ref null $anys) {}))
                           (ref.null $anys))",
                        self.expr(Ty::Any, depth)
                    )
                }
            },
            Ty::Structs => match self.rng.below(2) {
                0 => format!(
                    "(array.new $structs {} (i32.rem_u {} (i32.const 9)))",
                    self.expr(Ty::Struct, depth),
                    self.number(depth)
                ),
                _ => format!(
                    "(array.new_fixed $structs 2 {} {})",
                    self.expr(Ty::Struct, depth),
                    self.expr(Ty::NonNull, depth)
                ),
            },
            Ty::Bytes => match self.rng.below(3) {
                0 => format!(
                    "(array.new $bytes {} (i32.rem_u {} (i32.const 90)))",
                    self.number(depth),
                    self.number(depth)
                ),
                1 => "(array.new_data $bytes $d (i32.const 2) (i32.const 9))".to_string(),
                _ => format!(
                    "(array.new_default $bytes (i32.rem_u {} (i32.const 9)))",
                    self.number(depth)
                ),
            },
            Ty::Extern => match self.rng.below(2) {
                0 => "(global.get $gx)".to_string(),
                _ => format!("(extern.convert_any {})", self.expr(Ty::Any, depth)),
            },
        }
    }

    fn any(&mut self, depth: usize) -> String {
        match self.rng.below(15) {
            13 => self.catch(depth),
            0 => format!("(ref.i31 {})", self.number(depth)),
            1 | 2 => self.new_struct(depth),
            3 => self.call(depth),
            4 => self.expr(Ty::Anys, depth),
            5 => self.expr(Ty::Structs, depth),
            6 => format!("(struct.get $s0 $b {})", self.expr(Ty::NonNull, depth)),
            7 => format!(
                "(table.get $ta (i32.and {} (i32.const 7)))",
                self.number(depth)
            ),
            8 => format!("(global.get {})", self.rng.choose(&["$ga", "$gb"])),
            9 => format!("(any.convert_extern {})", self.expr(Ty::Extern, depth)),
            10 => format!(
                "(struct.new $other (f64.const 2.5) {})",
                self.expr(Ty::Any, depth)
            ),
            11 => self.guarded(Ty::Anys, "anyref", "(ref.null any)", depth, |g, array| {
                let index = g.index_in(array, depth);
                format!("(array.get $anys (local.get {array}) {index})")
            }),
            12 => {
                // What is a struct gets its field, what is none stays.
                let label = self.label();
                let ty = *self.rng.choose(&["$s0", "$s1", "$s2"]);
                format!(
                    "(block $n{label} (result anyref)
                       (block $l{label} (result (ref {ty}))
                         (br $n{label} (br_on_cast $l{label} anyref (ref {ty}) {})))
                       (struct.get {ty} $b))",
                    self.expr(Ty::Any, depth)
                )
            }
            _ => self.expr(Ty::Bytes, depth),
        }
    }

    /// What an expression throws, if it does, or else its value.
    fn catch(&mut self, depth: usize) -> String {
        let label = self.label();
        let value = self.expr(Ty::Any, depth);
        if self.rng.one_in(2) {
            return format!(
                "(block $d{label} (result anyref)
                   (block $h{label} (result anyref i32)
                     (br $d{label} (try_table (result anyref) (catch $t $h{label}) {value})))
                   (drop))"
            );
        }
        // The exception is kept while something else is done, and perhaps thrown again.
        let exception = self.temporary(Ty::Exn);
        let between = self.statement(depth.saturating_sub(1));
        let condition = self.number(0);
        format!(
            "(block $d{label} (result anyref)
               (block $h{label} (result anyref i32 exnref)
                 (br $d{label} (try_table (result anyref) (catch_ref $t $h{label}) {value})))
               (local.set {exception}) (drop) {between}
               (if (i32.and {condition} (i32.const 1))
                 (then (throw_ref (local.get {exception})))))"
        )
    }

    fn statement(&mut self, depth: usize) -> String {
        let next = depth.saturating_sub(1);
        let text = match self.rng.below(17) {
            15 => format!(
                "(if (i32.eqz (i32.and {} (i32.const 3))) (then (throw $t {} {})))",
                self.number(next),
                self.expr(Ty::Any, next),
                self.number(next)
            ),
            0..=3 => {
                let ty = *self.rng.choose(&LOCALS);
                let local = self.local(ty).expect("there are locals of the type");
                format!("(local.set {local} {})", self.expr(ty, depth))
            }
            4 => format!(
                "(global.set {} {})",
                self.rng.choose(&["$ga", "$gb"]),
                self.expr(Ty::Any, depth)
            ),
            5 => format!("(global.set $gs {})", self.expr(Ty::Struct, depth)),
            6 => format!("(global.set $gx {})", self.expr(Ty::Extern, depth)),
            7 => format!(
                "(table.set $ta (i32.and {} (i32.const 7)) {})",
                self.number(next),
                self.expr(Ty::Any, depth)
            ),
            8 => format!(
                "(table.set $ts (i32.and {} (i32.const 7)) {})",
                self.number(next),
                self.expr(Ty::Struct, depth)
            ),
            9 => format!(
                "(struct.set $s0 $a {} {})",
                self.expr(Ty::NonNull, next),
                self.expr(Ty::Struct, depth)
            ),
            10 => format!(
                "(struct.set $s0 $b {} {})",
                self.expr(Ty::NonNull, next),
                self.expr(Ty::Any, depth)
            ),
            11 => self.guarded(Ty::Anys, "", "", next, |g, array| {
                let (index, value) = (g.index_in(array, next), g.expr(Ty::Any, depth));
                match g.rng.below(3) {
                    0 => format!(
                        "(array.fill $anys (local.get {array}) {index} {value} (i32.const 1))"
                    ),
                    1 => format!(
                        "(array.copy $anys $anys (local.get {array}) (i32.const 0)
                           (local.get {array}) {index} (i32.const 1))"
                    ),
                    _ => format!("(array.set $anys (local.get {array}) {index} {value})"),
                }
            }),
            12 => self.guarded(Ty::Structs, "", "", next, |g, array| {
                let (index, value) = (g.index_in(array, next), g.expr(Ty::Struct, depth));
                format!("(array.set $structs (local.get {array}) {index} {value})")
            }),
            13 if depth > 0 => {
                let label = self.label();
                let counter = self.temporary(Ty::I32);
                let body: String = (0..1 + self.rng.below(3))
                    .map(|_| self.statement(next))
                    .collect();
                let times = 1 + self.rng.below(6);
                format!(
                    "(local.set {counter} (i32.const {times}))
                     (loop $l{label} {body}
                       (local.set {counter} (i32.sub (local.get {counter}) (i32.const 1)))
                       (br_if $l{label}
                         (i32.and (i32.ne (local.get {counter}) (i32.const 0))
                           (i32.eqz (call $tick)))))"
                )
            }
            14 if depth > 0 => {
                let condition = self.number(next);
                let (a, b) = (self.statement(next), self.statement(next));
                format!("(if {condition} (then {a}) (else {b}))")
            }
            _ => format!("(drop {})", self.expr(Ty::Any, depth)),
        };
        format!("\n    {text}")
    }
}
