//! Fuel: what consumes how much, where execution stops, and who sees how much is left.

use waxwing::*;

fn engine(change: impl FnOnce(&mut Config) -> &mut Config) -> Engine {
    let mut config = Config::new();
    config
        .consume_fuel(true)
        .wasm_function_references(true)
        .wasm_gc(true)
        .wasm_exceptions(true);
    change(&mut config);
    Engine::new(&config).unwrap()
}

/// Engines that make different code.
fn engines() -> Vec<(&'static str, Engine)> {
    type Change = fn(&mut Config) -> &mut Config;
    let changes: [(&str, Change); 7] = [
        ("default", |c| c),
        ("unoptimized", |c| c.cranelift_opt_level(OptLevel::None)),
        ("no signals", |c| c.signals_based_traps(false)),
        ("epochs", |c| c.epoch_interruption(true)),
        ("counted references", |c| {
            c.collector(Collector::DeferredReferenceCounting)
        }),
        ("collecting", |c| c.gc_stress(true)),
        ("explicit bounds", |c| {
            c.memory_reservation(0)
                .memory_guard_size(0)
                .table_lazy_init(false)
        }),
    ];
    changes
        .into_iter()
        .map(|(name, change)| (name, engine(change)))
        .collect()
}

fn store(engine: &Engine, fuel: u64) -> Store<()> {
    let mut store = Store::new(engine, ());
    store.set_epoch_deadline(u64::MAX);
    store.set_fuel(fuel).unwrap();
    store
}

/// What the function `f` of `wat` consumes, given an argument, and how it ends; with each engine the same.
fn consumed_with(wat: &str, argument: i32) -> (u64, Option<Trap>) {
    const FUEL: u64 = 1 << 40;
    let outcomes = engines().into_iter().map(|(name, engine)| {
        let module = Module::new(&engine, wat).unwrap_or_else(|e| panic!("{e:?}\n{wat}"));
        let mut store = store(&engine, FUEL);
        let instance = Instance::new(&mut store, &module, &[]).unwrap();
        let started = FUEL - store.get_fuel().unwrap();
        let trap = match instance.get_func(&mut store, "f") {
            None => None,
            Some(f) => {
                let arguments = vec![Val::I32(argument); f.ty(&store).params().len()];
                let mut results = vec![Val::I32(0); f.ty(&store).results().len()];
                let result = f.call(&mut store, &arguments, &mut results);
                result.err().map(|error| error.downcast::<Trap>().unwrap())
            }
        };
        let used = FUEL - store.get_fuel().unwrap();
        assert!(used >= started);
        (name, (used, trap))
    });
    let outcomes: Vec<_> = outcomes.collect();
    let (_, first) = outcomes[0];
    for (name, outcome) in &outcomes {
        assert_eq!(*outcome, first, "{name}:\n{wat}");
    }
    first
}

fn consumed(body: &str) -> u64 {
    let wat = format!(
        r#"(module
            (memory 1) (table $t 10 funcref) (data $d "0123456789") (elem $e func 0)
            (func $one (export "f") {body})
            (func $leaf (param i32) (result i32) (local.get 0))
            (func $two (param i32) (result i32) (call $leaf (local.get 0))))"#
    );
    let (used, trap) = consumed_with(&wat, 0);
    assert_eq!(trap, None, "{body}");
    used
}

#[test]
fn operators_have_their_price() {
    for (body, fuel) in [
        // Entering the function.
        ("", 1),
        ("nop nop", 1),
        ("block nop end loop nop end", 1),
        ("return", 1),
        ("(drop (i32.const 1))", 2),
        ("(drop (i32.add (i32.const 1) (i32.const 2)))", 4),
        ("(i32.store (i32.const 1) (i32.const 2))", 4),
        ("block br 0 end", 2),
        // What is not reached costs nothing.
        ("block br 0 i32.const 1 drop end", 2),
        ("return (drop (i32.const 1))", 1),
        ("(if (i32.const 0) (then nop))", 3),
        ("(if (i32.const 1) (then (drop (i32.const 1))))", 4),
        ("(if (i32.const 0) (then (drop (i32.const 1))))", 3),
        (
            "(if (i32.const 0) (then nop) (else (drop (i32.add (i32.const 1) (i32.const 1)))))",
            6,
        ),
        (
            "(if (i32.const 1) (then (return)) (else (drop (i32.const 1))))",
            3,
        ),
        // The ways to the end of a block cost differently.
        (
            "(block (br_if 0 (i32.const 1)) (drop (i32.const 1)) (br_if 0 (i32.const 1)))",
            3,
        ),
        (
            "(block (br_if 0 (i32.const 0)) (drop (i32.const 1)) (br_if 0 (i32.const 1)))",
            6,
        ),
        (
            "(block (br_if 0 (i32.const 0)) (drop (i32.const 1)) (br_if 0 (i32.const 0)))",
            6,
        ),
        // Calls pay for their instructions, the callee for itself.
        ("(drop (call $leaf (i32.const 1)))", 5),
        ("(drop (call $two (i32.const 1)))", 8),
        (
            "(block (br_if 0 (i32.const 0)) (drop (call $two (i32.const 1))) (br_if 0 (i32.const 1)))",
            12,
        ),
        (
            "(block (br_if 0 (i32.const 1)) (drop (call $two (i32.const 1))) (br_if 0 (i32.const 1)))",
            3,
        ),
        ("(drop (table.grow $t (ref.null func) (i32.const 1)))", 4),
        ("(drop (memory.grow (i32.const 1)))", 3),
        ("(drop (memory.size))", 2),
    ] {
        assert_eq!(consumed(body), fuel, "{body}");
    }
}

#[test]
fn tables_of_branches_have_the_price_of_the_way() {
    let wat = r#"(module (func (export "f") (param i32) (result i32)
        (block $c (result i32)
            (block $b (result i32)
                (block $a (result i32)
                    (i32.const 10)
                    (br_table $a $b $c $a (local.get 0)))
                (i32.add (i32.const 1)))
            (i32.add (i32.const 1)))))"#;
    // Entry, constant, argument, branch; and two operators for each addition.
    let fuel = |argument| consumed_with(wat, argument).0;
    assert_eq!([fuel(0), fuel(1), fuel(2), fuel(3)], [8, 6, 4, 8]);

    let wat = r#"(module (func (export "f") (param i32)
        (local $i i32)
        (loop $again
            (block $out
                (local.set $i (i32.add (local.get $i) (i32.const 1)))
                (if (i32.eq (local.get $i) (i32.const 5)) (then (local.set 0 (i32.const 1))))
                (br_table $again $out (local.get 0))))))"#;
    // Entry; an iteration is 4 + 4 + 2 operators, and the last has 2 more.
    assert_eq!(consumed_with(wat, 0).0, 1 + 5 * 10 + 2);
    assert_eq!(consumed_with(wat, 1).0, 1 + 10);
}

#[test]
fn loops_have_the_price_of_their_iterations() {
    // An iteration: tee(sub(get, const)) and br_if.
    let wat = r#"(module (func (export "f") (param i32)
        (loop (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))))"#;
    assert_eq!(consumed_with(wat, 1).0, 1 + 5);
    assert_eq!(consumed_with(wat, 1000).0, 1 + 5 * 1000);

    // Ways of different price through the loop, and a call on one of them.
    let wat = r#"(module
        (func $g (result i32) (i32.const 1))
        (func (export "f") (param i32)
            (loop $l
                (if (i32.and (local.get 0) (i32.const 1))
                    (then
                        (local.set 0 (i32.sub (local.get 0) (call $g)))
                        (br $l)))
                (local.set 0 (i32.sub (local.get 0) (i32.const 1)))
                (br_if $l (i32.ge_s (local.get 0) (i32.const 0))))))"#;
    // Odd: 4 for the condition, 4, 2 for the callee, 1. Even, zero too: 4, 4, 4.
    assert_eq!(consumed_with(wat, 10).0, 1 + 5 * 11 + 6 * 12);
    assert_eq!(consumed_with(wat, 2).0, 1 + 11 + 2 * 12);
}

#[test]
fn ranges_have_their_price() {
    for (body, fuel) in [
        (
            "(memory.fill (i32.const 0) (i32.const 1) (i32.const 63))",
            5,
        ),
        (
            "(memory.fill (i32.const 0) (i32.const 1) (i32.const 64))",
            6,
        ),
        (
            "(memory.fill (i32.const 0) (i32.const 1) (i32.const 65536))",
            5 + 1024,
        ),
        (
            "(memory.copy (i32.const 0) (i32.const 128) (i32.const 129))",
            7,
        ),
        (
            "(memory.init $d (i32.const 0) (i32.const 0) (i32.const 10))",
            5,
        ),
        (
            "(table.fill $t (i32.const 0) (ref.null func) (i32.const 7))",
            5,
        ),
        (
            "(table.fill $t (i32.const 0) (ref.null func) (i32.const 8))",
            6,
        ),
        ("(table.copy (i32.const 0) (i32.const 1) (i32.const 9))", 6),
        (
            "(table.init $t $e (i32.const 0) (i32.const 0) (i32.const 1))",
            5,
        ),
        (
            "(drop (table.grow $t (ref.null func) (i32.const 80)))",
            4 + 10,
        ),
        // Growth that fails is free.
        ("(drop (table.grow $t (ref.null func) (i32.const -1)))", 4),
    ] {
        assert_eq!(consumed(body), fuel, "{body}");
    }
}

#[test]
fn ranges_out_of_bounds_have_no_price_and_those_without_fuel_no_effect() {
    let wat = r#"(module (memory (export "m") 1)
        (func (export "f") (param i32)
            (memory.fill (i32.const 1) (i32.const 1) (local.get 0))))"#;
    assert_eq!(
        consumed_with(wat, 65536),
        (5, Some(Trap::MemoryOutOfBounds))
    );
    assert_eq!(consumed_with(wat, -1), (5, Some(Trap::MemoryOutOfBounds)));
    let engine = engine(|c| c);
    let module = Module::new(&engine, wat).unwrap();
    for (fuel, success) in [(1027, false), (1028, true)] {
        let mut store = store(&engine, fuel);
        let instance = Instance::new(&mut store, &module, &[]).unwrap();
        let f = instance.get_typed_func::<i32, ()>(&mut store, "f").unwrap();
        assert_eq!(f.call(&mut store, 65535).is_ok(), success);
        assert_eq!(store.get_fuel().unwrap(), 0);
        let memory = instance.get_memory(&mut store, "m").unwrap();
        assert_eq!(memory.data(&store)[1], u8::from(success));
        assert_eq!(memory.data(&store)[65535], u8::from(success));
    }
}

#[test]
fn arrays_have_their_price() {
    let consumed = |body: &str, argument| {
        let wat = format!(
            r#"(module
                (type $bytes (array (mut i8))) (type $longs (array (mut i64)))
                (type $refs (array (mut anyref)))
                (data $d "0123456789012345678901234567890123456789012345678901234567890123456789")
                (func (export "f") (param i32)
                    (local $b (ref null $bytes)) (local $l (ref null $longs))
                    {body}))"#
        );
        consumed_with(&wat, argument)
    };
    for (body, argument, fuel) in [
        ("(drop (array.new_default $bytes (local.get 0)))", 63, 3),
        ("(drop (array.new_default $bytes (local.get 0)))", 64, 4),
        ("(drop (array.new_default $longs (local.get 0)))", 64, 11),
        ("(drop (array.new_default $refs (local.get 0)))", 64, 7),
        (
            "(drop (array.new $bytes (i32.const 1) (local.get 0)))",
            6400,
            104,
        ),
        (
            "(drop (array.new $longs (i64.const 1) (local.get 0)))",
            31,
            4 + 3,
        ),
        (
            "(drop (array.new $longs (i64.const 1) (local.get 0)))",
            33,
            4 + 4,
        ),
        (
            "(drop (array.new $refs (ref.i31 (i32.const 1)) (local.get 0)))",
            32,
            5 + 2,
        ),
        (
            "(drop (array.new_data $bytes $d (i32.const 0) (local.get 0)))",
            64,
            5,
        ),
        (
            "(local.set $b (array.new_default $bytes (local.get 0)))
             (array.fill $bytes (local.get $b) (i32.const 0) (i32.const 1) (local.get 0))
             (array.copy $bytes $bytes (local.get $b) (i32.const 1)
                (local.get $b) (i32.const 0) (i32.sub (local.get 0) (i32.const 1)))",
            256,
            1 + 3 + 4 + 5 + 4 + 8 + 3,
        ),
        (
            "(local.set $l (array.new_default $longs (local.get 0)))
             (array.init_data $longs $d (local.get $l) (i32.const 0) (i32.const 0) (local.get 0))",
            8,
            1 + 3 + 1 + 5 + 1,
        ),
    ] {
        assert_eq!(consumed(body, argument), (fuel, None), "{body}");
    }
    let body = "(array.fill $bytes (array.new_default $bytes (i32.const 1))
        (i32.const 0) (i32.const 1) (local.get 0))";
    assert_eq!(consumed(body, -1), (7, Some(Trap::ArrayOutOfBounds)));
}

#[test]
fn exceptions_have_the_price_of_the_way() {
    let wat = r#"(module
        (tag $t (param i32))
        (func $throw (param i32) (throw $t (local.get 0)))
        (func $maybe (param i32)
            (if (local.get 0) (then (call $throw (local.get 0)))))
        (func (export "f") (param i32) (result i32)
            (drop (i32.const 0))
            (block $caught (result i32)
                (try_table (catch $t $caught)
                    (drop (i32.const 1))
                    (call $maybe (local.get 0))
                    (drop (i32.const 2)))
                (drop (i32.const 3))
                (i32.const 7))
            (i32.add (i32.const 1))))"#;
    // Entry and one, then one, argument, call; entry and two; entry, argument, throw; two.
    let thrown = 1 + 1 + 3 + (1 + 2 + 2) + 3 + 2;
    assert_eq!(consumed_with(wat, 5), (thrown, None));
    // The condition is false, and the rest of the body follows.
    let not_thrown = 1 + 1 + 3 + (1 + 2) + 3 + 2;
    assert_eq!(consumed_with(wat, 0), (not_thrown, None));
}

/// How far a function comes with every amount of fuel up to what it needs.
#[test]
fn execution_stops_at_the_same_place_everywhere() {
    let wat = r#"(module
        (global $steps (export "steps") (mut i32) (i32.const 0))
        (func $step (param i32) (result i32)
            (global.set $steps (i32.add (global.get $steps) (local.get 0)))
            (i32.sub (local.get 0) (i32.const 1)))
        (func $recurse (param i32)
            (if (local.get 0)
                (then
                    (call $recurse (call $step (local.get 0)))
                    (drop (call $step (i32.const 3))))))
        (func (export "f") (param i32)
            (local $i i32)
            (local.set $i (local.get 0))
            (loop $l
                (if (i32.and (local.get $i) (i32.const 1))
                    (then (call $recurse (local.get $i))))
                (local.set $i (call $step (local.get $i)))
                (br_if $l (local.get $i)))))"#;
    let (needed, trap) = consumed_with(wat, 6);
    assert_eq!(trap, None);
    let engines = engines();
    let modules: Vec<Module> = engines
        .iter()
        .map(|(_, engine)| Module::new(engine, wat).unwrap())
        .collect();
    let mut places = Vec::new();
    for fuel in 0..=needed {
        let outcome = |module: &Module| {
            let mut store = store(module.engine(), fuel);
            let instance = Instance::new(&mut store, module, &[]).unwrap();
            let f = instance.get_typed_func::<i32, ()>(&mut store, "f").unwrap();
            let trap = f.call(&mut store, 6).err().map(|error| {
                let frames = error.downcast_ref::<WasmBacktrace>().unwrap().frames();
                let offsets: Vec<_> = frames.iter().map(FrameInfo::func_offset).collect();
                (error.downcast::<Trap>().unwrap(), offsets)
            });
            let steps = instance.get_global(&mut store, "steps").unwrap();
            let steps = steps.get(&mut store).unwrap_i32();
            (steps, trap, store.get_fuel().unwrap())
        };
        let first = outcome(&modules[0]);
        for (module, (name, _)) in modules.iter().zip(&engines) {
            assert_eq!(outcome(module), first, "{name} with {fuel}");
        }
        match &first.1 {
            None => assert!(fuel + 20 >= needed, "{fuel} of {needed}"),
            Some((trap, _)) => assert_eq!((*trap, first.2), (Trap::OutOfFuel, 0)),
        }
        places.push(first.0);
        if fuel == needed {
            assert_eq!((first.1, first.2), (None, 0));
        }
    }
    assert!(places.is_sorted(), "more fuel goes further");
    assert_eq!(places[0], 0);
}

#[test]
fn nothing_goes_on_for_ever() {
    let endless = [
        "(func (export \"f\") (loop (br 0)))",
        "(func (export \"f\") (loop (br_if 0 (i32.const 1))))",
        "(func (export \"f\") (loop (br_table 0 0 (i32.const 0))))",
        "(func (export \"f\") (loop (loop (br 1))))",
        "(func (export \"f\") (loop $a (block $b (loop $c (br_if $c (i32.const 0)) (br $b))) (br $a)))",
        "(func $f (export \"f\") (return_call $f))",
        "(func $g) (func (export \"f\") (loop (call $g) (br 0)))",
        r#"(type $t (func)) (table funcref (elem $f)) (func $f (export "f") (return_call_indirect (type $t) (i32.const 0)))"#,
        r#"(func $f (export "f") (return_call $g)) (func $g (return_call $f))"#,
        "(memory 1) (func (export \"f\") (loop (memory.fill (i32.const 0) (i32.const 0) (i32.const 65536)) (br 0)))",
    ];
    for body in endless {
        for (name, engine) in engines() {
            let module = Module::new(&engine, format!("(module {body})")).unwrap();
            for fuel in [0, 1, 100_000] {
                let mut store = store(&engine, fuel);
                let instance = Instance::new(&mut store, &module, &[]).unwrap();
                let f = instance.get_typed_func::<(), ()>(&mut store, "f").unwrap();
                let error = f.call(&mut store, ()).unwrap_err();
                let trap = error.downcast::<Trap>().unwrap();
                assert_eq!(trap, Trap::OutOfFuel, "{name}: {body}");
                assert_eq!(store.get_fuel().unwrap(), 0);
                // Still none.
                assert!(f.call(&mut store, ()).is_err());
            }
        }
    }
}

#[test]
fn a_store_starts_without_fuel() {
    let engine = engine(|c| c);
    let mut store = Store::new(&engine, ());
    assert_eq!(store.get_fuel().unwrap(), 0);
    let module = Module::new(&engine, r#"(module (func (export "f")))"#).unwrap();
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    let f = instance.get_typed_func::<(), ()>(&mut store, "f").unwrap();
    let error = f.call(&mut store, ()).unwrap_err();
    assert_eq!(error.downcast::<Trap>().unwrap(), Trap::OutOfFuel);
    store.set_fuel(1).unwrap();
    f.call(&mut store, ()).unwrap();

    let module = Module::new(&engine, "(module (func $f) (start $f))").unwrap();
    assert!(Instance::new(&mut store, &module, &[]).is_err());
    store.set_fuel(1).unwrap();
    Instance::new(&mut store, &module, &[]).unwrap();
}

#[test]
fn fuel_has_to_be_configured() {
    let mut store = Store::<()>::default();
    for error in [
        store.get_fuel().unwrap_err(),
        store.set_fuel(1).unwrap_err(),
        store.as_context().get_fuel().unwrap_err(),
        store.as_context_mut().set_fuel(1).unwrap_err(),
    ] {
        let message = error.to_string();
        assert!(message.contains("Config::consume_fuel"), "{message}");
    }
}

#[test]
fn amounts_that_no_counter_holds() {
    for (_, engine) in engines() {
        let wat = r#"(module (memory 1)
            (func (export "f") (loop (br_if 0 (i32.const 0))))
            (func (export "forever") (loop (br 0))))"#;
        let module = Module::new(&engine, wat).unwrap();
        for fuel in [
            u64::MAX,
            u64::MAX - 1,
            1 << 62,
            (1 << 62) + 2,
            1 << 63,
            (1 << 63) - 1,
            (1 << 63) + 1,
        ] {
            let mut store = store(&engine, fuel);
            assert_eq!(store.get_fuel().unwrap(), fuel);
            let instance = Instance::new(&mut store, &module, &[]).unwrap();
            let f = instance.get_typed_func::<(), ()>(&mut store, "f").unwrap();
            f.call(&mut store, ()).unwrap();
            assert_eq!(store.get_fuel().unwrap(), fuel - 3);
            f.call(&mut store, ()).unwrap();
            assert_eq!(store.get_fuel().unwrap(), fuel - 6);
        }
    }
}

#[test]
fn host_functions_see_and_change_what_is_left() {
    for (name, engine) in engines() {
        let wat = r#"(module
            (import "" "look" (func $look (result i64)))
            (import "" "set" (func $set (param i64)))
            (func $inner (result i64) (call $look))
            (func (export "look") (result i64 i64) (call $look) (call $inner))
            (func (export "set") (param i64) (result i64)
                (call $set (local.get 0))
                (loop (result i64) (call $look)))
            (func (export "forever") (param i64) (call $set (local.get 0)) (loop (br 0))))"#;
        let module = Module::new(&engine, wat).unwrap();
        let mut store = store(&engine, 1000);
        let look = Func::wrap(&mut store, |caller: Caller<'_, ()>| {
            assert_eq!(
                caller.get_fuel().unwrap(),
                caller.as_context().get_fuel().unwrap()
            );
            caller.get_fuel()
        });
        let set = Func::wrap(&mut store, |mut caller: Caller<'_, ()>, fuel: u64| {
            caller.set_fuel(fuel)
        });
        let imports = [look.into(), set.into()];
        let instance = Instance::new(&mut store, &module, &imports).unwrap();
        let look = instance.get_typed_func::<(), (u64, u64)>(&mut store, "look");
        let look = look.unwrap();
        // Entry and call; call, entry, call.
        assert_eq!(look.call(&mut store, ()).unwrap(), (998, 995), "{name}");
        assert_eq!(store.get_fuel().unwrap(), 995);
        let set = instance.get_typed_func::<u64, u64>(&mut store, "set");
        let set = set.unwrap();
        assert_eq!(set.call(&mut store, 77).unwrap(), 76);
        assert_eq!(set.call(&mut store, u64::MAX).unwrap(), u64::MAX - 1);
        let forever = instance.get_typed_func::<u64, ()>(&mut store, "forever");
        assert!(forever.unwrap().call(&mut store, 3).is_err());
        assert_eq!(store.get_fuel().unwrap(), 0);
    }
}

#[test]
fn stores_within_stores_have_their_own() {
    for (_, engine) in engines() {
        let wat = r#"(module (import "" "f" (func $f))
            (func (export "g") (call $f) (call $f)))"#;
        let module = Module::new(&engine, wat).unwrap();
        let mut inner = store(&engine, 100);
        let nothing = Func::wrap(&mut inner, || {});
        let instance = Instance::new(&mut inner, &module, &[nothing.into()]).unwrap();
        let g = instance.get_typed_func::<(), ()>(&mut inner, "g").unwrap();
        let inner = std::sync::Arc::new(std::sync::Mutex::new(inner));
        let shared = inner.clone();

        let mut outer = store(&engine, 1000);
        let call_inner = Func::wrap(&mut outer, move || g.call(&mut *shared.lock().unwrap(), ()));
        let instance = Instance::new(&mut outer, &module, &[call_inner.into()]).unwrap();
        let g = instance.get_typed_func::<(), ()>(&mut outer, "g").unwrap();
        g.call(&mut outer, ()).unwrap();
        assert_eq!(outer.get_fuel().unwrap(), 997);
        assert_eq!(inner.lock().unwrap().get_fuel().unwrap(), 94);
        // The inner one runs out, and the outer one has paid up to there.
        inner.lock().unwrap().set_fuel(0).unwrap();
        let error = g.call(&mut outer, ()).unwrap_err();
        assert_eq!(error.downcast::<Trap>().unwrap(), Trap::OutOfFuel);
        assert_eq!(outer.get_fuel().unwrap(), 995);
        assert_eq!(inner.lock().unwrap().get_fuel().unwrap(), 0);
    }
}

#[test]
fn traps_have_been_paid_for() {
    for (body, fuel, trap) in [
        ("unreachable", 1, Trap::UnreachableCodeReached),
        (
            "(drop (i32.const 1)) unreachable",
            2,
            Trap::UnreachableCodeReached,
        ),
        (
            "(local $i i32)
             (loop
                (if (i32.eq (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 1000))
                    (then (drop (i32.load (i32.const -1)))))
                (br 0))",
            1 + 999 * 8,
            Trap::MemoryOutOfBounds,
        ),
        (
            "(local $i i32)
             (loop
                (drop (i32.div_u (i32.const 1) (i32.sub (i32.const 1000) (local.get $i))))
                (local.set $i (i32.add (local.get $i) (i32.const 1)))
                (br 0))",
            1 + 1000 * 10,
            Trap::IntegerDivisionByZero,
        ),
    ] {
        let wat = format!("(module (memory 1) (func (export \"f\") {body}))");
        let (used, found) = consumed_with(&wat, 0);
        assert_eq!(found, Some(trap));
        // Where hardware tells, a few operators may not have been charged.
        assert!(used.abs_diff(fuel) < 20, "{used}, {fuel}: {body}");
    }
}

#[test]
fn artifacts_fit_engines_that_count_alike() {
    let counting = engine(|c| c);
    let other = Engine::default();
    let wat = "(module (func (export \"f\")))";
    let artifact = counting.precompile_module(wat.as_bytes()).unwrap();
    // SAFETY: the artifact is the engine's.
    unsafe {
        Module::deserialize(&counting, &artifact).unwrap();
        let error = Module::deserialize(&other, &artifact).unwrap_err();
        assert!(
            format!("{error:#}").contains("consume_fuel")
                || format!("{error:#}").contains("pinned")
        );
        let artifact = other.precompile_module(wat.as_bytes()).unwrap();
        assert!(Module::deserialize(&counting, &artifact).is_err());
    }
}
