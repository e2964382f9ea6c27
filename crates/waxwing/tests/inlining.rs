//! Inlined functions do, and are seen to do, what they do when they are called; and calls by way of tables that never change.

use waxwing::*;

type Change = fn(&mut Config) -> &mut Config;

/// Engines that make different code.
const ENGINES: [(&str, Change); 8] = [
    ("default", |c| c),
    ("no signals", |c| c.signals_based_traps(false)),
    ("fuel", |c| c.consume_fuel(true)),
    ("epochs", |c| c.epoch_interruption(true)),
    ("counted references", |c| {
        c.collector(Collector::DeferredReferenceCounting)
            .gc_stress(true)
    }),
    ("collecting", |c| c.gc_stress(true)),
    ("eager tables", |c| c.table_lazy_init(false)),
    #[cfg(feature = "pulley")]
    ("bytecode", |c| c.target("pulley64").unwrap()),
    #[cfg(not(feature = "pulley"))]
    ("small", |c| c.cranelift_opt_level(OptLevel::SpeedAndSize)),
];

fn engine(inlining: Inlining, change: Change) -> Engine {
    let mut config = Config::new();
    config
        .cranelift_opt_level(OptLevel::Speed)
        .compiler_inlining(inlining)
        .wasm_function_references(true)
        .wasm_gc(true)
        .wasm_exceptions(true);
    change(&mut config);
    Engine::new(&config).unwrap()
}

/// A frame: the function, and the offset of the instruction in it.
type Frame = (u32, Option<usize>);

fn frames(backtrace: &WasmBacktrace) -> Vec<Frame> {
    let frames = backtrace.frames().iter();
    frames
        .map(|frame| {
            assert_eq!(
                frame.module_offset().is_some(),
                frame.func_offset().is_some()
            );
            (frame.func_index(), frame.func_offset())
        })
        .collect()
}

/// What a call comes to: its result or trap, the frames of the latter, those at each call of the host, and the fuel that is used.
#[derive(Debug, PartialEq)]
struct Outcome {
    result: Result<i32, (Option<Trap>, Vec<Frame>)>,
    calls: Vec<Vec<Frame>>,
    fuel: Option<u64>,
}

/// Calls the function `f` of `wat`.
fn outcome(engine: &Engine, wat: &str, argument: i32) -> Outcome {
    const FUEL: u64 = 1 << 30;
    let module = Module::new(engine, wat).unwrap_or_else(|e| panic!("{e:?}\n{wat}"));
    let mut store = Store::new(engine, Vec::new());
    store.set_epoch_deadline(u64::MAX);
    let has_fuel = store.set_fuel(FUEL).is_ok();
    let mut linker = Linker::new(engine);
    linker
        .func_wrap("", "host", |mut caller: Caller<'_, Vec<_>>, n: i32| {
            let backtrace = WasmBacktrace::force_capture(&caller);
            caller.data_mut().push(frames(&backtrace));
            match n {
                13 => Err(Error::msg("the host does not like this number")),
                _ => Ok(n + 1),
            }
        })
        .unwrap();
    let instance = linker.instantiate(&mut store, &module).unwrap();
    let f = instance
        .get_typed_func::<i32, i32>(&mut store, "f")
        .unwrap();
    let result = f.call(&mut store, argument).map_err(|error| {
        let backtrace = error.downcast_ref::<WasmBacktrace>().map(frames);
        (error.downcast_ref().copied(), backtrace.unwrap_or_default())
    });
    Outcome {
        result,
        fuel: has_fuel.then(|| FUEL - store.get_fuel().unwrap()),
        calls: store.into_data(),
    }
}

/// Checks that inlining changes nothing that can be seen, and something in the code, and returns what is seen by default.
fn same(wat: &str, argument: i32) -> Outcome {
    let outcomes = ENGINES.map(|(name, change)| {
        let called = outcome(&engine(Inlining::No, change), wat, argument);
        let inlined = outcome(&engine(Inlining::Yes, change), wat, argument);
        assert_eq!(called, inlined, "{name}: {wat}");
        inlined
    });
    let code = |inlining| {
        engine(inlining, |c| c)
            .precompile_module(wat.as_bytes())
            .unwrap()
    };
    assert_ne!(
        code(Inlining::No),
        code(Inlining::Yes),
        "nothing is inlined: {wat}"
    );
    outcomes.into_iter().next().unwrap()
}

/// Functions that are small enough to be inlined, one in the other, and into `f`.
const NESTED: &str = r#"(module
    (import "" "host" (func $host (param i32) (result i32)))
    (memory 1)
    (func $divide (param i32 i32) (result i32) (i32.div_u (local.get 0) (local.get 1)))
    (func $load (param i32) (result i32) (i32.load (i32.mul (local.get 0) (i32.const 0x8000))))
    (func $middle (param i32) (result i32)
        (i32.add (call $divide (i32.const 1000) (local.get 0)) (call $load (local.get 0))))
    (func $tell (param i32) (result i32) (call $host (local.get 0)))
    (func (export "f") (param i32) (result i32)
        (i32.add
            (call $tell (local.get 0))
            (call $middle (call $tell (i32.sub (local.get 0) (i32.const 1)))))))"#;

#[test]
fn frames_of_inlined_functions_are_there() {
    let traps = same(NESTED, 0);
    let (trap, frames) = traps.result.unwrap_err();
    assert_eq!(trap, Some(Trap::IntegerDivisionByZero));
    let functions: Vec<u32> = frames.iter().map(|(func, _)| *func).collect();
    assert_eq!(functions, [1, 3, 5]);
    assert!(frames.iter().all(|(_, offset)| offset.is_some()));
    let functions = |calls: &[Vec<Frame>]| -> Vec<Vec<u32>> {
        let functions = calls
            .iter()
            .map(|frames| frames.iter().map(|(func, _)| *func).collect());
        functions.collect()
    };
    assert_eq!(functions(&traps.calls), [[4, 5], [4, 5]]);
    assert_eq!(traps.calls[0][0], traps.calls[1][0]);
    assert_ne!(traps.calls[0][1], traps.calls[1][1]);
    // Beyond the memory, an error of the host, and nothing of all that.
    assert_eq!(
        same(NESTED, 100).result.unwrap_err().0,
        Some(Trap::MemoryOutOfBounds)
    );
    assert_eq!(same(NESTED, 13).result.unwrap_err().0, None);
    assert_eq!(same(NESTED, 1).result, Ok(1002));
}

#[test]
fn without_an_address_map_there_are_inlined_functions_but_no_places() {
    let engine = engine(Inlining::Yes, |c| c.generate_address_map(false));
    let (_, frames) = outcome(&engine, NESTED, 0).result.unwrap_err();
    assert_eq!(frames, [(1, None), (3, None), (5, None)]);
}

#[test]
fn functions_are_inlined_in_themselves() {
    let recursive = |last: &str| {
        format!(
            r#"(module
                (import "" "host" (func $host (param i32) (result i32)))
                (func $f (export "f") (param i32) (result i32)
                    (if (result i32) (i32.lt_u (local.get 0) (i32.const 2))
                        (then {last})
                        (else (i32.add
                            (call $f (i32.sub (local.get 0) (i32.const 1)))
                            (call $f (i32.sub (local.get 0) (i32.const 2))))))))"#
        )
    };
    assert_eq!(same(&recursive("(local.get 0)"), 15).result, Ok(610));
    let (trap, frames) = same(&recursive("unreachable"), 9).result.unwrap_err();
    assert_eq!(trap, Some(Trap::UnreachableCodeReached));
    assert_eq!(frames.len(), 9);
    let calls = same(&recursive("(call $host (local.get 0))"), 6).calls;
    assert_eq!(calls.len(), 13);
    assert!(calls.iter().all(|frames| (4..=6).contains(&frames.len())));
}

#[test]
fn endless_recursion_overflows_the_stack() {
    let wat = r#"(module
        (func $f (export "f") (param i32) (result i32)
            (i32.add (call $f (i32.add (local.get 0) (i32.const 1))) (i32.const 1))))"#;
    for (name, change) in ENGINES {
        let outcome = outcome(&engine(Inlining::Yes, change), wat, 0);
        let (trap, _) = outcome.result.unwrap_err();
        assert_eq!(trap, Some(Trap::StackOverflow), "{name}");
    }
}

#[test]
fn functions_that_make_tail_calls_are_gone() {
    let wat = |last: &str| {
        format!(
            r#"(module
                (import "" "host" (func $host (param i32) (result i32)))
                (type $i (func (param i32) (result i32)))
                (table funcref (elem $last))
                (func $last (param i32) (result i32)
                    (local i64 i64 i64 i64 i64 i64 i64 i64 i64 i64)
                    (loop (br_if 0 (i32.eqz (i32.const 1))))
                    (drop (i32.mul (i32.const 1000000) (i32.const 1000000)))
                    (drop (i32.mul (i32.const 1000000) (i32.const 1000000)))
                    (drop (i32.mul (i32.const 1000000) (i32.const 1000000)))
                    (drop (i32.mul (i32.const 1000000) (i32.const 1000000)))
                    (drop (i32.mul (i32.const 1000000) (i32.const 1000000)))
                    (drop (i32.mul (i32.const 1000000) (i32.const 1000000)))
                    {last})
                (func $direct (param i32) (result i32) (return_call $last (local.get 0)))
                (func $indirect (param i32) (result i32)
                    (return_call_indirect (type $i) (local.get 0) (i32.const 0)))
                (func (export "f") (param i32) (result i32)
                    (i32.add (call $direct (local.get 0)) (call $indirect (local.get 0)))))"#
        )
    };
    assert_eq!(
        same(&wat("(i32.add (local.get 0) (i32.const 1))"), 5).result,
        Ok(12)
    );
    let (_, frames) = same(&wat("unreachable"), 5).result.unwrap_err();
    assert_eq!(frames.len(), 2);
    let calls = same(&wat("(call $host (local.get 0))"), 5).calls;
    assert_eq!(calls.iter().map(Vec::len).collect::<Vec<_>>(), [2, 2]);
}

#[test]
fn exceptions_go_through_inlined_functions() {
    let wat = r#"(module
        (import "" "host" (func $host (param i32) (result i32)))
        (tag $a (param i32)) (tag $b (param i32))
        (func $throw (param i32)
            (if (i32.eq (local.get 0) (i32.const 1)) (then (throw $a (i32.const 10))))
            (if (i32.eq (local.get 0) (i32.const 2)) (then (throw $b (i32.const 20)))))
        (func $call (param i32) (result i32)
            (call $throw (local.get 0))
            (call $host (local.get 0)))
        (func $catch_a (param i32) (result i32)
            (block $caught (result i32)
                (try_table (result i32) (catch $a $caught) (call $call (local.get 0)))))
        (func (export "f") (param i32) (result i32)
            (block $caught (result i32)
                (try_table (result i32) (catch $b $caught)
                    (i32.add (call $catch_a (local.get 0)) (call $call (i32.const 5)))))))"#;
    assert_eq!(same(wat, 0).result, Ok(7));
    assert_eq!(same(wat, 1).result, Ok(16));
    assert_eq!(same(wat, 2).result, Ok(20));
    assert_eq!(same(wat, 13).result.unwrap_err().0, None);
    assert_eq!(same(wat, 13).calls.len(), 1);
}

#[test]
fn references_are_alive_in_and_around_inlined_functions() {
    let wat = r#"(module
        (import "" "host" (func $host (param i32) (result i32)))
        (type $cell (struct (field i32) (field (ref null $cell))))
        (func $cons (param i32 (ref null $cell)) (result (ref $cell))
            (struct.new $cell (local.get 0) (local.get 1)))
        (func $first (param (ref null $cell)) (result i32) (struct.get $cell 0 (local.get 0)))
        (func $rest (param (ref null $cell)) (result (ref null $cell)) (struct.get $cell 1 (local.get 0)))
        (func (export "f") (param i32) (result i32)
            (local $list (ref null $cell)) (local $sum i32)
            (loop $more
                (local.set $list (call $cons (local.get 0) (local.get $list)))
                (local.set $list (call $cons (call $first (call $cons (i32.const 3) (ref.null $cell))) (local.get $list)))
                (br_if $more (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
            (drop (call $host (i32.const 0)))
            (loop $more
                (local.set $sum (i32.add (local.get $sum) (call $first (local.get $list))))
                (br_if $more (i32.eqz (ref.is_null (local.tee $list (call $rest (local.get $list)))))))
            (if (i32.eq (local.get $sum) (i32.const 4)) (then (return (call $first (local.get $list)))))
            (local.get $sum)))"#;
    assert_eq!(same(wat, 10).result, Ok(85));
    let (trap, frames) = same(wat, 1).result.unwrap_err();
    assert_eq!(trap, Some(Trap::NullReference));
    assert_eq!(
        frames.iter().map(|(func, _)| *func).collect::<Vec<_>>(),
        [2, 4]
    );
}

#[test]
fn fuel_runs_out_in_the_same_place() {
    let engines =
        [Inlining::No, Inlining::Yes].map(|inlining| engine(inlining, |c| c.consume_fuel(true)));
    for fuel in 0..40 {
        let [called, inlined] = engines.each_ref().map(|engine| {
            let module = Module::new(engine, NESTED).unwrap();
            let mut store = Store::new(engine, 0);
            store.set_fuel(fuel).unwrap();
            let host = Func::wrap(&mut store, |mut caller: Caller<'_, i32>, n: i32| {
                *caller.data_mut() += 1;
                n
            });
            let instance = Instance::new(&mut store, &module, &[host.into()]).unwrap();
            let f = instance
                .get_typed_func::<i32, i32>(&mut store, "f")
                .unwrap();
            let trap = f
                .call(&mut store, 1)
                .map_err(|error| error.downcast::<Trap>().unwrap());
            (trap, store.get_fuel().unwrap(), store.into_data())
        });
        assert_eq!(called, inlined, "{fuel}");
    }
}

#[test]
fn what_is_inlined_is_an_option_and_always_the_same() {
    let code = |change: Change| {
        let mut config = Config::new();
        config.cranelift_opt_level(OptLevel::Speed);
        change(&mut config);
        Engine::new(&config)
            .unwrap()
            .precompile_module(NESTED.as_bytes())
            .unwrap()
    };
    let inlined = code(|c| c);
    assert_eq!(inlined, code(|c| c.compiler_inlining(Inlining::Yes)));
    assert_eq!(inlined, code(|c| c.parallel_compilation(false)));
    let hash = |inlining| {
        use std::hash::{DefaultHasher, Hash, Hasher};
        let mut hasher = DefaultHasher::new();
        engine(inlining, |c| c)
            .precompile_compatibility_hash()
            .hash(&mut hasher);
        hasher.finish()
    };
    assert_ne!(hash(Inlining::Yes), hash(Inlining::No));
    // There is nothing that makes objects in the module.
    for inlining in [
        Inlining::No,
        Inlining::Intrinsics,
        Inlining::InterModule,
        Inlining::InterModuleAndIntraGc,
    ] {
        let artifact = engine(inlining, |c| c)
            .precompile_module(NESTED.as_bytes())
            .unwrap();
        assert!(
            artifact
                .windows(17)
                .all(|bytes| bytes != b".waxwing.inlined\0"),
            "{inlining:?}"
        );
    }
    assert!(
        inlined
            .windows(17)
            .any(|bytes| bytes == b".waxwing.inlined\0")
    );
}

/// A module with a table, that can be changed by `others`.
fn with_table(others: &str) -> String {
    format!(
        r#"(module
            (import "" "host" (func $host (param i32) (result i32)))
            (type $int (func (param i32) (result i32)))
            (type $long (func (param i32) (result i64)))
            (type $same (func (param i32) (result i32)))
            (table $t 7 9 funcref)
            (elem (i32.const 0) $one $two $long $one)
            (func $one (type $int) (i32.add (local.get 0) (i32.const 1)))
            (func $two (type $same) (i32.add (local.get 0) (i32.const 2)))
            (func $long (type $long) (i64.const 3))
            {others}
            (func (export "f") (param i32) (result i32)
                (i32.add
                    (call_indirect (type $int) (i32.const 10) (local.get 0))
                    (call_indirect (type $same) (i32.const 100) (local.get 0)))))"#
    )
}

#[test]
fn elements_of_tables_are_called() {
    let changing = [
        "",
        r#"(export "t" (table $t))"#,
        "(func (table.set $t (i32.const 6) (ref.null func)))",
        "(func (drop (table.grow $t (ref.null func) (i32.const 1))))",
    ];
    for others in changing {
        let wat = with_table(others);
        for (name, change) in ENGINES {
            let engine = engine(Inlining::Yes, change);
            let call = |argument| {
                let result = outcome(&engine, &wat, argument).result;
                result.map_err(|(trap, frames)| (trap.unwrap(), frames.len()))
            };
            let context = format!("{name}: {wat}");
            assert_eq!(call(0), Ok(112), "{context}");
            assert_eq!(call(1), Ok(114), "{context}");
            assert_eq!(call(2), Err((Trap::BadSignature, 1)), "{context}");
            assert_eq!(call(3), Ok(112), "{context}");
            for null in 4..7 {
                assert_eq!(call(null), Err((Trap::IndirectCallToNull, 1)), "{context}");
            }
            for out in [7, 8, 9, 15, 16, i32::MAX, i32::MIN, -1] {
                assert_eq!(call(out), Err((Trap::TableOutOfBounds, 1)), "{context}");
            }
        }
    }
}

#[test]
fn tables_that_change_are_seen_to() {
    for (others, expected) in [
        // By the module itself, before or after it is instantiated.
        (
            "(func $s (table.set $t (i32.const 0) (ref.func $two))) (start $s)",
            114,
        ),
        (
            "(func $s (table.copy (i32.const 0) (i32.const 1) (i32.const 1))) (start $s)",
            114,
        ),
        (
            "(func $s (table.fill (i32.const 0) (ref.func $two) (i32.const 1))) (start $s)",
            114,
        ),
        (
            "(elem $e func $two) (func $s (table.init $e (i32.const 0) (i32.const 0) (i32.const 1))) (start $s)",
            114,
        ),
        ("(elem (i32.const 0) $two)", 114),
        ("(elem (i32.const 0) funcref (ref.func $two))", 114),
        (
            "(global $g i32 (i32.const 0)) (elem (global.get $g) $two)",
            114,
        ),
        // By way of a table of the host's functions.
        ("(elem (i32.const 0) $host)", 112),
        // Not at all.
        ("(elem declare func $two)", 112),
        (
            "(table $other 1 funcref) (elem (table $other) (i32.const 0) func $two)",
            112,
        ),
    ] {
        let wat = with_table(others);
        for (name, change) in ENGINES {
            let engine = engine(Inlining::Yes, change);
            assert_eq!(
                outcome(&engine, &wat, 0).result,
                Ok(expected),
                "{name}: {wat}"
            );
        }
    }
}

#[test]
fn the_host_changes_tables_that_it_can_reach() {
    for (name, change) in ENGINES {
        let engine = engine(Inlining::Yes, change);
        let module = Module::new(
            &engine,
            with_table(r#"(export "t" (table $t)) (export "two" (func $two))"#),
        )
        .unwrap();
        let mut store = Store::new(&engine, ());
        store.set_epoch_deadline(u64::MAX);
        let _ = store.set_fuel(1000);
        let host = Func::wrap(&mut store, |n: i32| n);
        let instance = Instance::new(&mut store, &module, &[host.into()]).unwrap();
        let table = instance.get_table(&mut store, "t").unwrap();
        let two = instance.get_func(&mut store, "two").unwrap();
        table.set(&mut store, 5, two.into()).unwrap();
        let f = instance
            .get_typed_func::<i32, i32>(&mut store, "f")
            .unwrap();
        assert_eq!(f.call(&mut store, 5).unwrap(), 114, "{name}");
    }
}
