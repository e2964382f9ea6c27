//! Objects, types and exceptions at and beyond the limits: each program runs, traps or is refused, and
//! never ends the process.

use std::fmt::Write;
use waxwing::{Engine, Instance, Module, Store, StoreLimits, StoreLimitsBuilder, Trap};
use waxwing_tests::engines::{self, Variant};

/// A store whose heap may have this many bytes.
fn store(engine: &Engine, heap: usize) -> Store<StoreLimits> {
    let limits = StoreLimitsBuilder::new().memory_size(heap).build();
    let mut store = Store::new(engine, limits);
    store.limiter(|limits| limits);
    store
}

#[track_caller]
fn compile(engine: &Engine, text: &str) -> Module {
    Module::new(engine, text).unwrap_or_else(|error| panic!("{error:?}"))
}

/// What `f` returns, called with `param` in a store whose heap may have this many bytes.
fn call(engine: &Engine, module: &Module, heap: usize, param: i32) -> anyhow::Result<i32> {
    let mut store = store(engine, heap);
    let instance = Instance::new(&mut store, module, &[])?;
    let f = instance.get_typed_func::<i32, i32>(&mut store, "f")?;
    f.call(&mut store, param)
}

/// The collectors that free what is not used any more, and each with its name.
fn freeing() -> impl Iterator<Item = Variant> {
    engines::collectors()
        .into_iter()
        .filter(|variant| variant.name != "none")
}

const MIB: usize = 1 << 20;

#[test]
fn a_list_of_a_million_nodes() {
    // Marked, moved and freed without as many frames of the host.
    let text = r#"(module
        (type $list (struct (field $next (mut (ref null $list)))))
        (func $build (param $n i32) (result (ref null $list))
            (local $list (ref null $list))
            (loop $more
                (if (local.get $n)
                    (then
                        (local.set $list (struct.new $list (local.get $list)))
                        (local.set $n (i32.sub (local.get $n) (i32.const 1)))
                        (br $more))))
            (local.get $list))
        (func (export "f") (param $n i32) (result i32)
            (local $list (ref null $list)) (local $count i32)
            (local.set $list (call $build (local.get $n)))
            ;; Another one, that is garbage at once.
            (drop (call $build (local.get $n)))
            (drop (call $build (local.get $n)))
            (loop $more
                (if (ref.is_null (local.get $list)) (then (return (local.get $count))))
                (local.set $count (i32.add (local.get $count) (i32.const 1)))
                (local.set $list (struct.get $list $next (local.get $list)))
                (br $more))
            (unreachable)))"#;
    for Variant { name, engine } in engines::collectors() {
        // Collecting a million times takes too long.
        let nodes = if name.contains("at each") {
            1_000
        } else {
            1_000_000
        };
        let module = compile(&engine, text);
        let count = call(&engine, &module, 512 * MIB, nodes);
        assert_eq!(count.unwrap_or_else(|e| panic!("{name}: {e:?}")), nodes);
    }
}

#[test]
fn garbage_does_not_fill_the_heap() {
    let text = r#"(module
        (type $bytes (array (mut i8)))
        (type $pair (struct (field (ref $bytes)) (field i64)))
        (func (export "f") (param $n i32) (result i32)
            (loop $more
                (drop (struct.new $pair
                    (array.new_default $bytes (i32.const 10_000)) (i64.const 0)))
                (local.set $n (i32.sub (local.get $n) (i32.const 1)))
                (br_if $more (local.get $n)))
            (i32.const 7)))"#;
    for Variant { name, engine } in freeing() {
        let module = compile(&engine, text);
        let result = call(&engine, &module, 16 * MIB, 10_000);
        assert_eq!(result.unwrap_or_else(|e| panic!("{name}: {e:?}")), 7);
    }
}

#[test]
fn a_full_heap_is_a_trap() {
    let text = r#"(module
        (type $list (struct (field (ref null $list)) (field i64 i64 i64 i64)))
        (global $list (mut (ref null $list)) (ref.null $list))
        (func (export "f") (param i32) (result i32)
            (loop $more
                (global.set $list (struct.new $list (global.get $list)
                    (i64.const 1) (i64.const 2) (i64.const 3) (i64.const 4)))
                (br $more))
            (unreachable)))"#;
    for Variant { name, engine } in engines::collectors() {
        let heap = if name.contains("at each") {
            MIB / 8
        } else {
            8 * MIB
        };
        let module = compile(&engine, text);
        let error = call(&engine, &module, heap, 0).expect_err("the heap is bounded");
        assert_eq!(
            error.downcast_ref(),
            Some(&Trap::AllocationTooLarge),
            "{name}: {error:?}"
        );
    }
}

#[test]
fn enormous_arrays_are_traps() {
    for Variant { name, engine } in engines::collectors() {
        for element in ["i8", "i16", "i32", "f64", "v128", "anyref"] {
            let module = compile(
                &engine,
                &format!(
                    r#"(module (type $a (array (mut {element})))
                        (func (export "f") (param i32) (result i32)
                            (array.len (array.new_default $a (local.get 0)))))"#
                ),
            );
            assert_eq!(
                call(&engine, &module, 64 * MIB, 1_000_000).expect("it fits"),
                1_000_000
            );
            for len in [-1, i32::MIN, i32::MAX, 1 << 29, (1 << 28) - 1, 100_000_000] {
                let error = call(&engine, &module, 64 * MIB, len).expect_err("it does not fit");
                assert_eq!(
                    error.downcast_ref(),
                    Some(&Trap::AllocationTooLarge),
                    "{name}: {len} of {element}: {error:?}"
                );
            }
        }
    }
}

#[test]
fn ten_thousand_fields() {
    let fields = "(field (mut i32)) ".repeat(9_999);
    let text = format!(
        r#"(module (type $s (struct {fields} (field (mut anyref))))
            (func (export "f") (param i32) (result i32)
                (local $s (ref $s))
                (local.set $s (struct.new_default $s))
                (struct.set $s 9998 (local.get $s) (local.get 0))
                (struct.set $s 9999 (local.get $s) (local.get $s))
                (struct.get $s 9998 (ref.cast (ref $s) (struct.get $s 9999 (local.get $s))))))"#
    );
    for Variant { name, engine } in engines::collectors() {
        let module = compile(&engine, &text);
        let result = call(&engine, &module, 16 * MIB, 5);
        assert_eq!(result.unwrap_or_else(|e| panic!("{name}: {e:?}")), 5);
    }
    let more = format!(
        "(module (type (struct {} {fields})))",
        "(field i32) ".repeat(2)
    );
    let engine = &engines::collectors()[0].engine;
    assert!(Module::new(engine, more).is_err());
}

#[test]
fn types_that_nest_exponentially() {
    const DEPTH: usize = 500;
    let mut text = "(module (type $t0 (struct))".to_string();
    for i in 1..DEPTH {
        let below = i - 1;
        let _ = write!(
            text,
            "(type $t{i} (struct (field (ref null $t{below})) (field (ref null $t{below}))))"
        );
    }
    let last = DEPTH - 1;
    let exporter = format!(
        r#"{text} (global (export "g") (ref null $t{last}) (ref.null none))
            (func (export "f") (param i32) (result i32) (local.get 0)))"#
    );
    let importer = format!(
        r#"{text} (import "m" "g" (global (ref null $t{})))
            (func (export "f") (param i32) (result i32) (local.get 0)))"#,
        last - 1
    );
    let engine = &engines::collectors()[0].engine;
    let module = compile(engine, &exporter);
    let ty = module.get_export("g").expect("it is exported");
    assert!(format!("{ty:?}").len() < 10_000);
    assert_eq!(call(engine, &module, MIB, 3).expect("it runs"), 3);

    let importing = compile(engine, &importer);
    let mut store = store(engine, MIB);
    let instance = Instance::new(&mut store, &module, &[]).expect("it instantiates");
    let global = instance
        .get_export(&mut store, "g")
        .expect("it is exported");
    let error = Instance::new(&mut store, &importing, &[global])
        .map(|_| ())
        .expect_err("the types differ");
    assert!(format!("{error:?}").len() < 10_000);
}

#[test]
fn a_recursion_group_of_ten_thousand_types() {
    let mut text = "(module (rec".to_string();
    for i in 0..10_000 {
        let _ = write!(
            text,
            "(type $t{i} (struct (field (mut (ref null $t{}))) (field (ref null $t{}))))",
            (i + 1) % 10_000,
            (i * 7) % 10_000
        );
    }
    text += r#")
        (func (export "f") (param i32) (result i32)
            (struct.set $t9999 0
                (struct.new_default $t9999)
                (struct.new_default $t0))
            (ref.test (ref $t5) (struct.new_default $t6))))"#;
    let engine = &engines::collectors()[0].engine;
    // Twice: the second time the types are known already.
    for _ in 0..2 {
        let module = compile(engine, &text);
        assert_eq!(call(engine, &module, MIB, 0).expect("it runs"), 0);
    }
}

#[test]
fn the_longest_chain_of_subtypes() {
    // 63 levels are allowed.
    let chain = |levels: usize| {
        let mut text = "(module (type $t0 (sub (struct)))".to_string();
        for i in 1..=levels {
            let _ = write!(text, "(type $t{i} (sub $t{} (struct)))", i - 1);
        }
        // How many of the types below the parameter's an object of the last type has, and one in the middle.
        let _ = write!(
            text,
            r#"(func (export "f") (param i32) (result i32)
                (local $last anyref) (local $middle anyref) (local $count i32)
                (local.set $last (struct.new $t{levels}))
                (local.set $middle (struct.new $t{}))"#,
            levels / 2
        );
        for i in 0..=levels {
            let _ = write!(
                text,
                r#"(local.set $count (i32.add (local.get $count)
                    (ref.test (ref $t{i}) (local.get $last))))
                (local.set $count (i32.add (local.get $count)
                    (ref.test (ref $t{i}) (local.get $middle))))"#
            );
        }
        text + "(local.get $count)))"
    };
    for Variant { name, engine } in engines::collectors() {
        let module = compile(&engine, &chain(63));
        let count = call(&engine, &module, MIB, 0);
        // All of the last, and from the first to the middle.
        assert_eq!(count.unwrap_or_else(|e| panic!("{name}: {e:?}")), 64 + 32);
        assert!(Module::new(&engine, chain(64)).is_err());
    }
}

#[test]
fn references_in_ten_thousand_frames() {
    let text = r#"(module
        (type $box (struct (field i32)))
        (func $down (param $n i32) (result i32)
            (local $mine (ref $box)) (local $below i32)
            (if (i32.eqz (local.get $n)) (then (return (i32.const 0))))
            (local.set $mine (struct.new $box (local.get $n)))
            (local.set $below (call $down (i32.sub (local.get $n) (i32.const 1))))
            ;; Each frame still has its own.
            (if (i32.ne (struct.get $box 0 (local.get $mine)) (local.get $n)) (then (unreachable)))
            (i32.add (local.get $below) (i32.const 1)))
        (func (export "f") (param i32) (result i32) (call $down (local.get 0))))"#;
    for Variant { name, engine } in engines::collectors() {
        // Each collection looks at all frames.
        let frames = if name.contains("at each") {
            500
        } else {
            10_000
        };
        let module = compile(&engine, text);
        let count = call(&engine, &module, 4 * MIB, frames);
        assert_eq!(count.unwrap_or_else(|e| panic!("{name}: {e:?}")), frames);
    }
}

#[test]
fn exceptions_through_ten_thousand_frames_and_handlers() {
    let text = r#"(module
        (tag $found (param i32 (ref null i31)))
        (tag $other)
        (func $down (param $n i32)
            (if (i32.eqz (local.get $n))
                (then (throw $found (i32.const 42) (ref.i31 (i32.const 1)))))
            (block $never
                (try_table (catch $other $never)
                    (call $down (i32.sub (local.get $n) (i32.const 1))))))
        (func (export "f") (param i32) (result i32)
            (block $caught (result i32 (ref null i31))
                (try_table (catch $found $caught) (call $down (local.get 0)))
                (unreachable))
            (i31.get_s)
            (i32.add)))"#;
    for Variant { name, engine } in engines::collectors() {
        let module = compile(&engine, text);
        let result = call(&engine, &module, MIB, 10_000);
        assert_eq!(result.unwrap_or_else(|e| panic!("{name}: {e:?}")), 43);
    }
}

#[test]
fn five_hundred_nested_handlers() {
    // Each level catches the exception and throws it on.
    const DEPTH: usize = 500;
    let mut body = "(throw $t (local.get 0))".to_string();
    for _ in 0..DEPTH {
        body = format!(
            r#"(block $caught (result i32)
                (try_table (catch $t $caught) {body})
                (unreachable))
            (throw $t (i32.add (i32.const 1)))"#
        );
    }
    let text = format!(
        r#"(module (tag $t (param i32))
            (func (export "f") (param i32) (result i32)
                (block $caught (result i32)
                    (try_table (catch $t $caught) {body})
                    (unreachable))))"#
    );
    for Variant { name, engine } in engines::collectors() {
        let module = compile(&engine, &text);
        let result = call(&engine, &module, MIB, 7);
        assert_eq!(
            result.unwrap_or_else(|e| panic!("{name}: {e:?}")),
            7 + DEPTH as i32
        );
    }
}
