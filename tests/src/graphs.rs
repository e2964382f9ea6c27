//! Random programs that build graphs of objects, change them, and compute a number from what they find.
//!
//! The modules of [`crate::smith::objects`] use every instruction, but what they make is mostly
//! forgotten at once. These use few, and what they make lives on in locals, globals, tables, fields and elements,
//! is overwritten, and is looked at again.

use crate::rng::Rng;
use crate::smith::FUEL_EXPORT;
use std::fmt::Write;

/// Locals of each kind in a function.
const NODES: usize = 6;
const LISTS: usize = 3;
/// Globals that hold nodes.
const GLOBALS: usize = 4;
/// Elements of the table.
const TABLE: usize = 8;

/// What all programs have. `$walk` computes a number from what can be reached from a node.
const COMMON: &str = r#"
    (rec
        (type $node (sub (struct
            (field $id i32)
            (field $left (mut (ref null $node)))
            (field $any (mut anyref)))))
        (type $more (sub $node (struct
            (field $id i32)
            (field $left (mut (ref null $node)))
            (field $any (mut anyref))
            (field $small (mut i8))
            (field $list (mut (ref null $list))))))
        (type $most (sub final $more (struct
            (field $id i32)
            (field $left (mut (ref null $node)))
            (field $any (mut anyref))
            (field $small (mut i8))
            (field $list (mut (ref null $list)))
            (field $number (mut i64))
            (field $extern (mut externref))
            (field $call (mut (ref null $step))))))
        (type $list (array (mut (ref null $node))))
        (type $step (func (param i32 (ref null $node)) (result (ref null $node)))))
    (type $bytes (array (mut i8)))
    (tag $thrown (param (ref null $node) i32))
    (global $fuel (mut i32) (i32.const 600))
    (global $next (mut i32) (i32.const 1))
    (global $hash (mut i32) (i32.const 0))
    ;; How many more nodes are looked at: there are more ways than nodes.
    (global $looks (mut i32) (i32.const 0))
    (table $table 8 (ref null $node))
    (func $add (param i32)
        (global.set $hash (i32.add
            (i32.mul (global.get $hash) (i32.const 31))
            (local.get 0))))
    ;; Whether there is fuel for a call or another round of a loop, which it then takes. Collecting at
    ;; each allocation takes long.
    (func $may-go-on (result i32)
        (if (i32.lt_u (global.get $fuel) (i32.const 8)) (then (return (i32.const 0))))
        (global.set $fuel (i32.sub (global.get $fuel) (i32.const 8)))
        (i32.const 1))
    (func $id (result i32)
        (global.set $next (i32.add (global.get $next) (i32.const 1)))
        (global.get $next))
    (func $look (param $node (ref null $node)) (param $depth i32)
        (global.set $looks (i32.const 100))
        (call $walk (local.get $node) (local.get $depth)))
    (func $walk (param $node (ref null $node)) (param $depth i32)
        (local $list (ref null $list)) (local $more (ref null $more)) (local $i i32)
        (if (ref.is_null (local.get $node)) (then (call $add (i32.const 7)) (return)))
        (if (i32.eqz (global.get $looks)) (then (return)))
        (global.set $looks (i32.sub (global.get $looks) (i32.const 1)))
        (call $add (struct.get $node $id (local.get $node)))
        (if (i32.eqz (local.get $depth)) (then (return)))
        (local.set $depth (i32.sub (local.get $depth) (i32.const 1)))
        (call $walk (struct.get $node $left (local.get $node)) (local.get $depth))
        (block $other
            (block $number (result (ref i31))
                (call $walk
                    (block $is-node (result (ref $node))
                        (struct.get $node $any (local.get $node))
                        (br_on_null $other)
                        (br_on_cast $number (ref any) (ref i31))
                        (br_on_cast $is-node (ref any) (ref $node))
                        (drop)
                        (br $other))
                    (local.get $depth))
                (br $other))
            (call $add (i31.get_s)))
        (block $plain (result (ref null $node))
            (local.set $more (br_on_cast_fail $plain (ref null $node) (ref $more)
                (local.get $node)))
            (call $add (struct.get_s $more $small (local.get $more)))
            (local.set $list (struct.get $more $list (local.get $more)))
            (if (i32.eqz (ref.is_null (local.get $list)))
                (then
                    (loop $next
                        (if (i32.lt_u (local.get $i) (array.len (local.get $list)))
                            (then
                                (call $walk
                                    (array.get $list (local.get $list) (local.get $i))
                                    (local.get $depth))
                                (local.set $i (i32.add (local.get $i) (i32.const 3)))
                                (br $next))))))
            (ref.null $node))
        (drop)
        (if (ref.test (ref $most) (local.get $node))
            (then
                (call $add (i32.wrap_i64 (struct.get $most $number
                    (ref.cast (ref $most) (local.get $node)))))
                (call $add (ref.is_null (struct.get $most $extern
                    (ref.cast (ref $most) (local.get $node))))))))
"#;

/// [`program`] in the binary format.
///
/// # Panics
///
/// When it is not well formed, which no seed causes.
pub fn module(seed: u64) -> Vec<u8> {
    wat::parse_str(program(seed)).expect("programs are well formed")
}

/// The program of `seed`, in the text format. Its functions `f0`, `f1` … take a number and a node and give a
/// node, `look` gives the number for all that globals and the table hold. Nothing traps.
pub fn program(seed: u64) -> String {
    let mut rng = Rng::of(&[seed, 5]);
    let functions = 2 + rng.below(4);
    let mut text = format!("(module {COMMON}");
    for i in 0..GLOBALS {
        let _ = write!(
            text,
            r#"(global $g{i} (export "g{i}") (mut (ref null $node)) (ref.null $node))"#
        );
    }
    let _ = write!(text, r#"(export "{FUEL_EXPORT}" (global $fuel))"#);
    text += r#"(export "table" (table $table)) (export "thrown" (tag $thrown)) (elem declare func"#;
    for i in 0..functions {
        let _ = write!(text, " $f{i}");
    }
    text += ")";
    for i in 0..functions {
        let mut body = Body {
            rng: &mut rng,
            text: String::new(),
            functions,
            loops: 0,
        };
        let statements = 10 + body.rng.below(40);
        body.statements(statements, 3);
        let (statements, loops) = (body.text, body.loops);
        let result = rng.below(NODES);
        let _ = write!(
            text,
            r#"
    (func $f{i} (export "f{i}") (type $step) (param $n i32) (param $p (ref null $node)) (result (ref null $node))
        {} {} {} (local $i i32)
        (if (i32.eqz (call $may-go-on)) (then (return (local.get $p))))
        (call $add (local.get $n))
        (local.set $n0 (local.get $p)) (local.set $n1 (local.get $p))
{statements}        (local.get $n{result}))"#,
            locals("n", NODES, "(ref null $node)"),
            locals("l", LISTS, "(ref null $list)"),
            locals("loop", loops, "i32"),
        );
    }
    text += "\n    (func (export \"look\") (result i32)\n";
    for i in 0..GLOBALS {
        let _ = writeln!(
            text,
            "        (call $look (global.get $g{i}) (i32.const 6))"
        );
    }
    for i in 0..TABLE {
        let _ = writeln!(
            text,
            "        (call $look (table.get $table (i32.const {i})) (i32.const 4))"
        );
    }
    text + "        (global.get $hash)))"
}

fn locals(prefix: &str, count: usize, ty: &str) -> String {
    (0..count).fold(String::new(), |text, i| {
        text + &format!("(local ${prefix}{i} {ty}) ")
    })
}

/// The statements of a function.
struct Body<'a> {
    rng: &'a mut Rng,
    text: String,
    functions: usize,
    /// Locals that count how often loops have run.
    loops: usize,
}

impl Body<'_> {
    fn statements(&mut self, count: usize, depth: usize) {
        for _ in 0..count {
            let statement = self.statement(depth);
            let _ = writeln!(self.text, "        {statement}");
        }
    }

    /// The statements of a block, as text.
    fn block(&mut self, depth: usize) -> String {
        let outer = std::mem::take(&mut self.text);
        let count = 1 + self.rng.below(6);
        self.statements(count, depth - 1);
        std::mem::replace(&mut self.text, outer)
    }

    fn node(&mut self) -> String {
        format!("$n{}", self.rng.below(NODES))
    }

    fn list(&mut self) -> String {
        format!("$l{}", self.rng.below(LISTS))
    }

    /// `text`, done if `local` is not null.
    fn guarded(local: &str, text: &str) -> String {
        format!("(if (i32.eqz (ref.is_null (local.get {local}))) (then {text}))")
    }

    /// An index that is in bounds of the list in `local`, which has elements.
    fn index(&mut self, local: &str) -> String {
        let number = self.rng.below(100);
        format!("(i32.rem_u (i32.const {number}) (array.len (local.get {local})))")
    }

    fn statement(&mut self, depth: usize) -> String {
        let (a, b, l) = (self.node(), self.node(), self.list());
        let global = self.rng.below(GLOBALS);
        let at = self.rng.below(TABLE);
        let number = self.rng.below(2000) as i32 - 1000;
        let function = self.rng.below(self.functions);
        let kinds = if depth > 1 { 29 } else { 26 };
        match self.rng.below(kinds) {
            0 | 1 => format!(
                "(local.set {a} (struct.new $node (call $id) (local.get {b}) (ref.i31 (i32.const {number}))))"
            ),
            2 => format!(
                "(local.set {a} (struct.new $more (call $id) (local.get {b}) (local.get {b}) \
                 (i32.const {number}) (local.get {l})))"
            ),
            3 => format!(
                "(local.set {a} (struct.new $most (call $id) (local.get {b}) (local.get {l}) \
                 (i32.const {number}) (local.get {l}) (i64.const {number}) \
                 (extern.convert_any (local.get {b})) (ref.func $f{function})))"
            ),
            4..=6 => Self::guarded(
                &a,
                &format!("(struct.set $node $left (local.get {a}) (local.get {b}))"),
            ),
            7 => Self::guarded(
                &a,
                &format!("(struct.set $node $any (local.get {a}) (local.get {b}))"),
            ),
            8 => Self::guarded(
                &a,
                &format!("(struct.set $node $any (local.get {a}) (ref.i31 (i32.const {number})))"),
            ),
            9 | 10 => Self::guarded(
                &b,
                &format!("(local.set {a} (struct.get $node $left (local.get {b})))"),
            ),
            11 => Self::guarded(
                &b,
                &format!(
                    "(if (ref.test (ref null $node) (struct.get $node $any (local.get {b}))) (then \
                     (local.set {a} (ref.cast (ref null $node) (struct.get $node $any (local.get {b}))))))"
                ),
            ),
            12 => {
                let len = 1 + self.rng.below(40);
                format!("(local.set {l} (array.new $list (local.get {a}) (i32.const {len})))")
            }
            13 => format!(
                "(local.set {l} (array.new_fixed $list 3 (local.get {a}) (local.get {b}) (local.get {a})))"
            ),
            14 | 15 => {
                let index = self.index(&l);
                Self::guarded(
                    &l,
                    &format!("(array.set $list (local.get {l}) {index} (local.get {a}))"),
                )
            }
            16 => {
                let index = self.index(&l);
                Self::guarded(
                    &l,
                    &format!("(local.set {a} (array.get $list (local.get {l}) {index}))"),
                )
            }
            17 => {
                let from = self.list();
                let count = self.rng.below(3);
                let copy = format!(
                    "(if (i32.and (i32.gt_u (array.len (local.get {l})) (i32.const 2)) \
                     (i32.gt_u (array.len (local.get {from})) (i32.const 2))) (then \
                     (array.copy $list $list (local.get {l}) (i32.const 1) (local.get {from}) \
                     (i32.const 0) (i32.const {count}))))"
                );
                Self::guarded(&l, &Self::guarded(&from, &copy))
            }
            18 => Self::guarded(
                &l,
                &format!(
                    "(array.fill $list (local.get {l}) (i32.const 0) (local.get {a}) \
                     (array.len (local.get {l})))"
                ),
            ),
            19 => Self::guarded(
                &a,
                &format!(
                    "(if (ref.test (ref $more) (local.get {a})) (then (struct.set $more $list \
                     (ref.cast (ref $more) (local.get {a})) (local.get {l}))))"
                ),
            ),
            20 => format!("(global.set $g{global} (local.get {a}))"),
            21 => format!("(local.set {a} (global.get $g{global}))"),
            22 => format!("(table.set $table (i32.const {at}) (local.get {a}))"),
            23 => format!("(local.set {a} (table.get $table (i32.const {at})))"),
            24 => {
                // Garbage, sometimes enough of it to fill what is for new objects.
                let len = 1 << self.rng.below(16);
                format!("(drop (array.new_default $bytes (i32.const {len})))")
            }
            25 => format!("(call $look (local.get {a}) (i32.const 3))"),
            26 => {
                let call = match self.rng.below(3) {
                    0 => format!(
                        "(call_ref $step (i32.const {number}) (local.get {b}) (ref.func $f{function}))"
                    ),
                    1 => {
                        // What another function left in an object, if it did.
                        return Self::guarded(
                            &a,
                            &format!(
                                "(if (ref.test (ref $most) (local.get {a})) (then (local.set {b} (call_ref \
                                 $step (i32.const {number}) (local.get {b}) (ref.as_non_null (struct.get $most \
                                 $call (ref.cast (ref $most) (local.get {a}))))))))"
                            ),
                        );
                    }
                    _ => format!("(call $f{function} (i32.const {number}) (local.get {b}))"),
                };
                format!("(local.set {a} {call})")
            }
            27 => {
                let counter = self.loops;
                self.loops += 1;
                let times = 1 + self.rng.below(8);
                let body = self.block(depth);
                format!(
                    "(local.set $loop{counter} (i32.const {times}))\n(loop $loop{counter}\n{body}\
                     (local.set $loop{counter} (i32.sub (local.get $loop{counter}) (i32.const 1)))\n\
                     (br_if $loop{counter} (i32.and (i32.ne (local.get $loop{counter}) (i32.const 0)) \
                     (call $may-go-on))))"
                )
            }
            _ => {
                // Thrown from here or from a function that is called, with what it carries.
                let body = self.block(depth);
                format!(
                    "(block $caught (result (ref null $node) i32)\n(try_table (catch $thrown $caught)\n\
                     {body}(throw $thrown (local.get {b}) (i32.const {number})))\n(unreachable))\n\
                     (call $add) (local.set {a})"
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objects::{Audience, Plan};

    #[test]
    fn programs_are_valid_and_differ() {
        let mut programs = std::collections::HashSet::new();
        for seed in 0..100 {
            let text = program(seed);
            let wasm = wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
            Plan::new(&wasm, seed, Audience::JavaScript)
                .unwrap_or_else(|error| panic!("seed {seed}: {error:?}\n{text}"));
            assert!(programs.insert(wasm));
        }
    }
}
