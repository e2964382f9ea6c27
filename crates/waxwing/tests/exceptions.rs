//! Exceptions, through the public API.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use waxwing::*;

fn config() -> Config {
    let mut config = Config::new();
    config
        .wasm_function_references(true)
        .wasm_gc(true)
        .wasm_exceptions(true);
    config
}

fn engine() -> Engine {
    Engine::new(&config()).unwrap()
}

fn module(engine: &Engine, wat: &str) -> Module {
    Module::new(engine, wat).unwrap_or_else(|error| panic!("{error:?}\n{wat}"))
}

fn tag_of(store: &mut Store<()>, params: &[ValType]) -> Tag {
    let ty = FuncType::new(store.engine(), params.iter().cloned(), []);
    Tag::new(store, &TagType::new(ty)).unwrap()
}

/// An exception of `tag`.
fn exception(mut store: impl AsContextMut, tag: &Tag, fields: &[Val]) -> Rooted<ExnRef> {
    let ty = ExnType::from_tag_type(&tag.ty(&store)).unwrap();
    let allocator = ExnRefPre::new(&mut store, ty);
    ExnRef::new(&mut store, &allocator, tag, fields).unwrap()
}

fn call(store: &mut Store<()>, instance: &Instance, name: &str, param: i32) -> Result<i32> {
    let func = instance.get_typed_func::<i32, i32>(&mut *store, name)?;
    func.call(store, param)
}

/// The payload, one `i32`, of what `result` threw.
#[track_caller]
fn thrown(store: &mut Store<()>, result: Result<i32>) -> i32 {
    let error = result.unwrap_err();
    assert!(error.is::<ThrownException>(), "{error:?}");
    let exception = store.take_pending_exception().unwrap();
    exception.field(store, 0).unwrap().unwrap_i32()
}

#[test]
fn the_four_kinds_of_clauses_catch() {
    let wat = r#"(module
        (tag $a (param i32 i64 f32 f64 v128))
        (tag $b (param i32))
        (func $throw (param i32)
            (if (i32.eq (local.get 0) (i32.const 1))
                (then (throw $a (i32.const 100) (i64.const 20) (f32.const 3) (f64.const 0.5)
                    (v128.const i32x4 7 0 0 0))))
            (if (i32.eq (local.get 0) (i32.const 2)) (then (throw $b (i32.const 77)))))
        (func $middle (param i32) (call $throw (local.get 0)))
        (func $sum (param i32 i64 f32 f64 v128) (result i32)
            (i32.add (local.get 0)
                (i32.add (i32.wrap_i64 (local.get 1))
                    (i32.add (i32.trunc_f32_s (local.get 2))
                        (i32.add (i32.trunc_f64_s (f64.mul (local.get 3) (f64.const 2)))
                            (i32x4.extract_lane 0 (local.get 4)))))))
        (func (export "catch") (param i32) (result i32)
            (block $a (result i32 i64 f32 f64 v128)
                (block $b (result i32)
                    (try_table (catch $b $b) (catch $a $a) (call $middle (local.get 0)))
                    (return (i32.const -1)))
                (return))
            (call $sum))
        (func (export "catch_ref") (param i32) (result i32)
            (local $exception exnref)
            (block $a (result i32 i64 f32 f64 v128 (ref exn))
                (try_table (catch_ref $a $a) (call $middle (local.get 0)))
                (return (i32.const -1)))
            (local.set $exception)
            (call $sum)
            (block $again (result i32 i64 f32 f64 v128)
                (try_table (catch $a $again) (throw_ref (local.get $exception)))
                (unreachable))
            (call $sum)
            (i32.add))
        (func (export "catch_all") (param i32) (result i32)
            (block $all
                (try_table (catch_all $all) (call $middle (local.get 0)))
                (return (i32.const -1)))
            (i32.const -2))
        (func (export "catch_all_ref") (param i32) (result i32)
            (local $exception exnref)
            (block $all (result (ref exn))
                (try_table (catch_all_ref $all) (call $middle (local.get 0)))
                (return (i32.const -1)))
            (local.set $exception)
            (block $b (result i32)
                (try_table (catch $b $b) (throw_ref (local.get $exception)))
                (unreachable))))"#;
    for collector in [
        Collector::Null,
        Collector::DeferredReferenceCounting,
        Collector::Copying,
    ] {
        for signals in [true, false] {
            let engine = Engine::new(config().collector(collector).signals_based_traps(signals));
            let engine = engine.unwrap();
            let module = module(&engine, wat);
            let mut store = Store::new(&engine, ());
            let instance = Instance::new(&mut store, &module, &[]).unwrap();
            for (name, results) in [
                ("catch", [-1, 131, 77]),
                ("catch_ref", [-1, 262, 0]),
                ("catch_all", [-1, -2, -2]),
                ("catch_all_ref", [-1, 0, 77]),
            ] {
                for (param, expected) in results.into_iter().enumerate() {
                    let result = call(&mut store, &instance, name, param as i32);
                    match (name, param) {
                        ("catch_ref", 2) => assert_eq!(thrown(&mut store, result), 77),
                        ("catch_all_ref", 1) => {
                            assert_eq!(thrown(&mut store, result), 100);
                        }
                        _ => assert_eq!(result.unwrap(), expected, "{name}({param})"),
                    }
                }
            }
        }
    }
}

#[test]
fn inner_handlers_come_first_and_calls_of_all_kinds_throw() {
    let engine = engine();
    let wat = r#"(module
        (type $f (func (param i32)))
        (tag $t (param i32))
        (table funcref (elem $throw))
        (elem declare func $throw)
        (func $throw (param i32) (throw $t (local.get 0)))
        (func $tail (param i32) (try_table (catch_all 0) (return_call $throw (local.get 0))))
        (func (export "direct") (param i32) (result i32)
            (block $h (result i32)
                (block $all
                    (try_table (catch_all $all)
                        (try_table (catch $t $h) (call $throw (local.get 0)))))
                (i32.const 0)))
        (func (export "outer") (param i32) (result i32)
            (block $h (result i32)
                (try_table (catch $t $h)
                    (try_table (call $throw (local.get 0))))
                (i32.const 0)))
        (func (export "indirect") (param i32) (result i32)
            (block $h (result i32)
                (try_table (catch $t $h)
                    (call_indirect (type $f) (local.get 0) (i32.const 0)))
                (i32.const 0)))
        (func (export "ref") (param i32) (result i32)
            (block $h (result i32)
                (try_table (catch $t $h) (call_ref $f (local.get 0) (ref.func $throw)))
                (i32.const 0)))
        (func (export "tail") (param i32) (result i32)
            (block $h (result i32)
                (try_table (catch $t $h) (call $tail (local.get 0)))
                (i32.const 0)))
        (func (export "from_handler") (param i32) (result i32)
            (block $outer (result i32)
                (try_table (catch $t $outer)
                    (block $inner (result i32)
                        (try_table (catch $t $inner) (call $throw (local.get 0)))
                        (i32.const 0))
                    (call $throw (i32.add (i32.const 1))))
                (i32.const 0)))
        (func (export "loop") (param i32) (result i32)
            (local $n i32)
            (i32.const 0)
            (loop $again (param i32) (result i32)
                (local.set $n (i32.add (i32.const 1)))
                (try_table (catch $t $again)
                    (if (i32.lt_s (local.get $n) (local.get 0))
                        (then (call $throw (local.get $n)))))
                (local.get $n))))"#;
    let module = module(&engine, wat);
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    for (name, expected) in [
        ("direct", 1000),
        ("outer", 1000),
        ("indirect", 1000),
        ("ref", 1000),
        ("tail", 1000),
        ("from_handler", 1001),
        ("loop", 1000),
    ] {
        let result = call(&mut store, &instance, name, 1000);
        assert_eq!(result.unwrap(), expected, "{name}");
    }
}

#[test]
fn throws_to_handlers_of_the_same_function() {
    let engine = engine();
    let wat = r#"(module
        (tag $a (param i32 funcref))
        (tag $b)
        (elem declare func $f)
        (func $f)
        (func $throw (param exnref) (throw_ref (local.get 0)))
        (func (export "run") (param i32) (result i32)
            (local $exception exnref)
            (block $catch (result i32 funcref)
                (block $catch_ref (result i32 funcref exnref)
                    (block $all
                        (block $all_ref (result exnref)
                            (try_table (catch $a $catch)
                                (if (i32.eqz (local.get 0))
                                    (then (throw $a (i32.const 10) (ref.func $f)))))
                            (try_table (catch $b $all) (catch_ref $a $catch_ref)
                                (if (i32.eq (local.get 0) (i32.const 1))
                                    (then (throw $a (i32.const 20) (ref.func $f)))))
                            (try_table (catch_all $all)
                                (if (i32.eq (local.get 0) (i32.const 2))
                                    (then (throw $a (i32.const 30) (ref.func $f)))))
                            (try_table (result exnref) (catch_all_ref $all_ref)
                                (throw $a (i32.const 40) (ref.func $f))))
                        (local.set $exception)
                        (block $again (result i32 funcref)
                            (try_table (catch $a $again) (call $throw (local.get $exception)))
                            (unreachable))
                        (br $catch))
                    (return (i32.const 31)))
                (local.set $exception) (drop)
                (block $again (result i32 funcref)
                    (try_table (catch $a $again) (call $throw (local.get $exception)))
                    (unreachable))
                (drop)
                (i32.add)
                (ref.null func))
            (ref.is_null)
            (i32.add))
        (func (export "loop") (param i32) (result i32)
            (local $n i32)
            (i32.const 0) (ref.null func)
            (loop $again (param i32 funcref)
                (drop)
                (local.set $n (i32.add (i32.const 1)))
                (try_table (catch $a $again)
                    (if (i32.lt_s (local.get $n) (local.get 0))
                        (then (throw $a (local.get $n) (ref.null func))))))
            (local.get $n)))"#;
    let module = module(&engine, wat);
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    for (param, expected) in [(0, 10), (1, 41), (2, 31), (3, 40)] {
        let result = call(&mut store, &instance, "run", param);
        assert_eq!(result.unwrap(), expected, "{param}");
    }
    assert_eq!(call(&mut store, &instance, "loop", 100).unwrap(), 100);
}

#[test]
fn what_is_on_the_frame_survives() {
    let engine = engine();
    let wat = r#"(module
        (tag $t (param i32))
        (func $throw (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32 i32 i32 i32)
            (throw $t (local.get 9)))
        (func (export "run") (param i32) (result i32)
            (local $f f64) (local $v v128) (local $l i64)
            (local.set $f (f64.convert_i32_s (local.get 0)))
            (local.set $v (i32x4.splat (local.get 0)))
            (local.set $l (i64.extend_i32_s (local.get 0)))
            (i32.mul (local.get 0) (i32.const 3))
            (block $h (result i32)
                (try_table (catch $t $h)
                    (call $throw (i32.const 1) (i32.const 2) (i32.const 3) (i32.const 4) (i32.const 5)
                        (i32.const 6) (i32.const 7) (i32.const 8) (i32.const 9) (local.get 0))
                    (drop) (drop) (drop) (drop)
                    (local.set $f (f64.const 0)))
                (i32.const 0))
            (i32.add)
            (i32.add (i32.trunc_f64_s (local.get $f)))
            (i32.add (i32x4.extract_lane 3 (local.get $v)))
            (i32.add (i32.wrap_i64 (local.get $l)))))"#;
    let module = module(&engine, wat);
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    assert_eq!(call(&mut store, &instance, "run", 11).unwrap(), 77);
}

#[test]
fn uncaught_exceptions_reach_the_host_with_payload_and_backtrace() {
    let engine = engine();
    let wat = r#"(module
        (tag $t (export "t") (param i32 externref funcref exnref))
        (tag $u)
        (func $inner (param i32) (result i32)
            (throw $t (local.get 0) (global.get 0) (ref.func $inner) (ref.null exn)))
        (global externref (ref.null extern))
        (elem declare func $inner)
        (func $outer (export "run") (param i32) (result i32)
            (block $h
                (try_table (catch $u $h) (return (call $inner (local.get 0)))))
            (i32.const 0)))"#;
    let module = module(&engine, wat);
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    assert!(!store.has_pending_exception());
    let error = call(&mut store, &instance, "run", 42).unwrap_err();
    assert!(error.downcast_ref::<ThrownException>().is_some());
    let names: Vec<_> = error
        .downcast_ref::<WasmBacktrace>()
        .unwrap()
        .frames()
        .iter()
        .map(|frame| frame.func_name().unwrap().to_string())
        .collect();
    assert_eq!(names, ["inner", "outer"]);
    assert!(store.has_pending_exception());
    let exception = store.take_pending_exception().unwrap();
    assert!(!store.has_pending_exception());
    assert!(store.take_pending_exception().is_none());

    let tag = instance.get_tag(&mut store, "t").unwrap();
    let found = exception.tag(&mut store).unwrap();
    assert!(Tag::eq(&tag, &found, &store));
    let fields: Vec<Val> = exception.fields(&mut store).unwrap().collect();
    assert_eq!(fields.len(), 4);
    assert_eq!(fields[0].unwrap_i32(), 42);
    assert!(fields[1].unwrap_externref().is_none());
    let func = fields[2].unwrap_funcref().unwrap();
    assert_eq!(func.ty(&store).params().len(), 1);
    assert!(fields[3].unwrap_exnref().is_none());
    assert!(exception.field(&mut store, 4).is_err());
    let ty = exception.ty(&store).unwrap();
    assert_eq!(
        ty.to_string(),
        "(exn (field i32) (field externref) (field funcref) (field exnref))"
    );
    assert!(exception.matches_ty(&store, &HeapType::Exn).unwrap());
    assert!(!exception.matches_ty(&store, &HeapType::Any).unwrap());
    assert!(!exception.matches_ty(&store, &HeapType::NoExn).unwrap());
    assert!(exception.matches_ty(&store, &ty.into()).unwrap());
    let other = ExnType::new(&engine, [ValType::I32]).unwrap();
    assert!(!exception.matches_ty(&store, &other.into()).unwrap());
}

#[test]
fn backtraces_are_off_when_they_are_switched_off() {
    let engine = Engine::new(config().wasm_backtrace(false)).unwrap();
    let module = module(
        &engine,
        r#"(module (tag $t) (func (export "run") (throw $t)))"#,
    );
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    let run = instance
        .get_typed_func::<(), ()>(&mut store, "run")
        .unwrap();
    let error = run.call(&mut store, ()).unwrap_err();
    assert!(error.is::<ThrownException>() && !error.is::<WasmBacktrace>());
}

/// A module that calls the host between two functions, of which the outer one catches.
const AROUND_HOST: &str = r#"(module
    (import "" "t" (tag $t (param i32)))
    (import "" "host" (func $host (param i32) (result i32)))
    (func (export "throw") (param i32) (result i32)
        (if (local.get 0) (then (throw $t (local.get 0))))
        (i32.const 5))
    (func (export "run") (param i32) (result i32)
        (block $h (result i32)
            (try_table (result i32) (catch $t $h) (return (call $host (local.get 0)))))
        (i32.add (i32.const 1000)))
    (func (export "bare") (param i32) (result i32) (call $host (local.get 0))))"#;

/// Instantiates it with a host function that calls the export `throw` and does `what` with the result.
fn around_host(
    store: &mut Store<()>,
    what: impl Fn(&mut Caller<'_, ()>, &Tag, Result<i32>) -> Result<i32> + Send + Sync + 'static,
) -> Instance {
    let tag = tag_of(store, &[ValType::I32]);
    let module = module(store.engine(), AROUND_HOST);
    let host = Func::wrap(
        &mut *store,
        move |mut caller: Caller<'_, ()>, param: i32| -> Result<i32> {
            let throw = caller.get_export("throw").and_then(Extern::into_func);
            let throw = throw.unwrap().typed::<i32, i32>(&caller)?;
            let result = throw.call(&mut caller, param);
            what(&mut caller, &tag, result)
        },
    );
    Instance::new(store, &module, &[tag.into(), host.into()]).unwrap()
}

#[test]
fn exceptions_cross_host_functions() {
    let mut store = Store::new(&engine(), ());
    let instance = around_host(&mut store, |_, _, result| {
        // Context does not hide what the error is.
        result.map_err(|error| error.context("in the host"))
    });
    assert_eq!(call(&mut store, &instance, "run", 0).unwrap(), 5);
    assert_eq!(call(&mut store, &instance, "run", 7).unwrap(), 1007);
    assert!(!store.has_pending_exception());
    let error = call(&mut store, &instance, "bare", 8).unwrap_err();
    assert!(format!("{error:?}").contains("in the host"), "{error:?}");
    // The backtrace is that of the throw, with the frames on both sides of the host.
    let backtrace = error.downcast_ref::<WasmBacktrace>().unwrap();
    assert_eq!(backtrace.frames().len(), 2);
    assert_eq!(thrown(&mut store, Err(error)), 8);
}

#[test]
fn the_host_swallows_an_exception() {
    let mut store = Store::new(&engine(), ());
    let instance = around_host(&mut store, |caller, _, result| {
        let Err(error) = result else { return result };
        assert!(error.is::<ThrownException>());
        let exception = caller.take_pending_exception().unwrap();
        Ok(exception.field(caller, 0)?.unwrap_i32() + 1)
    });
    assert_eq!(call(&mut store, &instance, "run", 7).unwrap(), 8);
    assert!(!store.has_pending_exception());
}

#[test]
fn the_host_replaces_an_exception() {
    let mut store = Store::new(&engine(), ());
    let instance = around_host(&mut store, |caller, tag, result| {
        let Err(_) = result else { return result };
        let old = caller.take_pending_exception().unwrap();
        let number = old.field(&mut *caller, 0)?.unwrap_i32();
        let new = exception(&mut *caller, tag, &[Val::I32(number * 2)]);
        caller.throw(new)
    });
    assert_eq!(call(&mut store, &instance, "run", 7).unwrap(), 1014);
    let result = call(&mut store, &instance, "bare", 8);
    assert_eq!(thrown(&mut store, result), 16);
}

#[test]
fn an_error_in_place_of_an_exception_is_not_caught() {
    let mut store = Store::new(&engine(), ());
    let instance = around_host(&mut store, |_, _, result| {
        result.map_err(|_| Error::msg("another error"))
    });
    let error = call(&mut store, &instance, "run", 7).unwrap_err();
    assert!(!error.is::<ThrownException>());
    assert!(format!("{error:?}").contains("another error"));
}

#[test]
fn what_was_taken_is_not_thrown() {
    let mut store = Store::new(&engine(), ());
    let instance = around_host(&mut store, |caller, _, result| {
        caller.take_pending_exception();
        result
    });
    let error = call(&mut store, &instance, "run", 7).unwrap_err();
    assert!(error.is::<ThrownException>());
    assert!(!store.has_pending_exception());
}

#[test]
fn the_host_throws_through_untyped_functions_and_without_wasm() {
    let engine = engine();
    let mut store = Store::new(&engine, ());
    let tag = tag_of(&mut store, &[ValType::I32]);
    let ty = FuncType::new(&engine, [ValType::I32], [ValType::I32]);
    let host = Func::new(&mut store, ty, move |mut caller, params, _| {
        let exception = exception(&mut caller, &tag, params);
        caller.throw(exception)
    });
    let module = module(&engine, AROUND_HOST);
    let instance = Instance::new(&mut store, &module, &[tag.into(), host.into()]).unwrap();
    assert_eq!(call(&mut store, &instance, "run", 3).unwrap(), 1003);
    let result = call(&mut store, &instance, "bare", 4);
    assert_eq!(thrown(&mut store, result), 4);
    let host = host.typed::<i32, i32>(&store).unwrap();
    let result = host.call(&mut store, 5);
    assert_eq!(thrown(&mut store, result), 5);
}

#[test]
fn traps_errors_and_panics_are_not_caught() {
    let engine = engine();
    let mut store = Store::new(&engine, ());
    let host = Func::wrap(&mut store, |kind: i32| -> Result<()> {
        match kind {
            0 => panic!("of the host"),
            _ => Err(Error::msg("of the host")),
        }
    });
    let wat = r#"(module
        (import "" "host" (func $host (param i32)))
        (memory 1)
        (func $trap (param i32)
            (if (i32.eq (local.get 0) (i32.const 0)) (then (unreachable)))
            (if (i32.eq (local.get 0) (i32.const 1)) (then (drop (i32.load (i32.const -1)))))
            (if (i32.eq (local.get 0) (i32.const 2))
                (then (drop (i32.div_u (i32.const 1) (i32.const 0)))))
            (if (i32.eq (local.get 0) (i32.const 3)) (then (call $trap (i32.const 3)) (call $trap (i32.const 3))))
            (if (i32.eq (local.get 0) (i32.const 4)) (then (throw_ref (ref.null exn))))
            (if (i32.eq (local.get 0) (i32.const 5))
                (then (memory.fill (i32.const -1) (i32.const 0) (i32.const 9))))
            (if (i32.eq (local.get 0) (i32.const 6)) (then (call $host (i32.const 1))))
            (if (i32.eq (local.get 0) (i32.const 7)) (then (call $host (i32.const 0)))))
        (func (export "run") (param i32) (result i32)
            (block (try_table (catch_all 0) (call $trap (local.get 0)))) (i32.const 1)))"#;
    let module = module(&engine, wat);
    let instance = Instance::new(&mut store, &module, &[host.into()]).unwrap();
    let traps = [
        Trap::UnreachableCodeReached,
        Trap::MemoryOutOfBounds,
        Trap::IntegerDivisionByZero,
        Trap::StackOverflow,
        Trap::NullReference,
        Trap::MemoryOutOfBounds,
    ];
    for (kind, trap) in traps.into_iter().enumerate() {
        let error = call(&mut store, &instance, "run", kind as i32).unwrap_err();
        assert_eq!(*error.downcast_ref::<Trap>().unwrap(), trap, "{kind}");
    }
    let error = call(&mut store, &instance, "run", 6).unwrap_err();
    assert!(format!("{error:?}").contains("of the host"));
    let panic = std::panic::AssertUnwindSafe(|| call(&mut store, &instance, "run", 7));
    assert!(std::panic::catch_unwind(panic).is_err());
    assert_eq!(call(&mut store, &instance, "run", 8).unwrap(), 1);
}

/// Each frame has a handler; those of even depth do not fit, those of odd depth catch and throw again if they
/// are to.
const DEEP: &str = r#"(module
    (tag $t (param i32))
    (tag $other (param i32))
    (global $handled (export "handled") (mut i32) (i32.const 0))
    (func $deep (param $depth i32) (param $again i32)
        (local $exception exnref)
        (if (i32.eqz (local.get $depth)) (then (throw $t (i32.const 9))))
        (block $h (result i32 (ref exn))
            (if (i32.and (local.get $depth) (i32.and (local.get $again) (i32.const 1)))
                (then
                    (try_table (catch_ref $t $h)
                        (call $deep (i32.sub (local.get $depth) (i32.const 1)) (local.get $again))
                        (return)))
                (else
                    (try_table (catch_ref $other $h)
                        (call $deep (i32.sub (local.get $depth) (i32.const 1)) (local.get $again))
                        (return))))
            (return))
        (local.set $exception)
        (drop)
        (global.set $handled (i32.add (global.get $handled) (i32.const 1)))
        (throw_ref (local.get $exception)))
    (func (export "run") (param $depth i32) (param $again i32) (result i32)
        (block $h (result i32)
            (try_table (catch $t $h) (call $deep (local.get $depth) (local.get $again)))
            (i32.const 0))))"#;

#[test]
fn deep_recursion_with_handlers() {
    // Less than the stack of a thread of the tests.
    let engine = Engine::new(config().max_wasm_stack(3 << 19)).unwrap();
    let module = module(&engine, DEEP);
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    let run = instance
        .get_typed_func::<(i32, i32), i32>(&mut store, "run")
        .unwrap();
    let handled = instance.get_global(&mut store, "handled").unwrap();
    let depth = 10_000;
    for (again, expected) in [(0, 0), (1, depth / 2)] {
        assert_eq!(run.call(&mut store, (depth, again)).unwrap(), 9);
        assert_eq!(handled.get(&mut store).unwrap_i32(), expected);
    }
}

#[test]
fn tags_are_what_they_are_in_each_instance() {
    let engine = engine();
    let wat = r#"(module
        (tag $own (export "own") (param i32))
        (func (export "throw") (param i32) (result i32) (throw $own (local.get 0))))"#;
    let thrower = module(&engine, wat);
    let catcher = module(
        &engine,
        r#"(module
            (import "" "a" (tag $a (param i32)))
            (import "" "b" (tag $b (param i32)))
            (import "" "throw" (func $throw (param i32) (result i32)))
            (tag $own (param i32))
            (export "again" (tag $b))
            (func (export "run") (param i32) (result i32)
                (block $a (result i32)
                    (block $b (result i32)
                        (block $own (result i32)
                            (try_table (catch $own $own) (catch $b $b) (catch $a $a)
                                (return (call $throw (local.get 0))))
                            (unreachable))
                        (return (i32.const -1)))
                    (return (i32.add (i32.const 200))))
                (i32.add (i32.const 100))))"#,
    );
    let mut store = Store::new(&engine, ());
    let instances: Vec<Instance> = (0..3)
        .map(|_| Instance::new(&mut store, &thrower, &[]).unwrap())
        .collect();
    let tags: Vec<Tag> = instances
        .iter()
        .map(|instance| instance.get_tag(&mut store, "own").unwrap())
        .collect();
    assert!(Tag::eq(&tags[0], &tags[0], &store));
    assert!(!Tag::eq(&tags[0], &tags[1], &store));
    let mut run = |a: usize, b: usize, throw: usize| {
        let throw = instances[throw].get_func(&mut store, "throw").unwrap();
        let imports = [tags[a].into(), tags[b].into(), throw.into()];
        let instance = Instance::new(&mut store, &catcher, &imports).unwrap();
        let again = instance.get_tag(&mut store, "again").unwrap();
        assert!(Tag::eq(&again, &tags[b], &store));
        let result = call(&mut store, &instance, "run", 7);
        result.map_err(|error| thrown(&mut store, Err(error)))
    };
    assert_eq!(run(0, 1, 0), Ok(107));
    assert_eq!(run(0, 1, 1), Ok(207));
    assert_eq!(run(0, 1, 2), Err(7));
    // Two imports of one tag: the first clause that fits.
    assert_eq!(run(0, 0, 0), Ok(207));
}

#[test]
fn imported_tags_that_are_one() {
    // Whether the first clause fits is not known when the module is compiled.
    let engine = engine();
    let module = module(
        &engine,
        r#"(module
            (import "" "a" (tag $a (param i32)))
            (import "" "b" (tag $b (param i32)))
            (func (export "run") (param i32) (result i32)
                (block $a (result i32)
                    (block $b (result i32)
                        (try_table (catch $b $b) (catch $a $a) (throw $a (local.get 0)))
                        (unreachable))
                    (return (i32.add (i32.const 200))))
                (i32.add (i32.const 100))))"#,
    );
    let mut store = Store::new(&engine, ());
    let (a, b) = (
        tag_of(&mut store, &[ValType::I32]),
        tag_of(&mut store, &[ValType::I32]),
    );
    for (imports, expected) in [([a, b], 107), ([a, a], 207)] {
        let imports = imports.map(Extern::from);
        let instance = Instance::new(&mut store, &module, &imports).unwrap();
        assert_eq!(call(&mut store, &instance, "run", 7).unwrap(), expected);
    }
}

#[test]
fn tags_of_other_types_do_not_link() {
    let engine = engine();
    let module = module(&engine, r#"(module (import "m" "t" (tag (param i32))))"#);
    let ty = module.imports().next().unwrap().ty();
    assert_eq!(ty.unwrap_tag().ty().params().len(), 1);
    let mut store = Store::new(&engine, ());
    let fits = tag_of(&mut store, &[ValType::I32]);
    let other = tag_of(&mut store, &[ValType::I64]);
    Instance::new(&mut store, &module, &[fits.into()]).unwrap();
    let error = Instance::new(&mut store, &module, &[other.into()]).unwrap_err();
    let error = format!("{error:?}");
    assert!(error.contains("m::t") && error.contains("tag"), "{error}");
    let func = Func::wrap(&mut store, |_: i32| {});
    assert!(Instance::new(&mut store, &module, &[func.into()]).is_err());

    let mut linker = Linker::new(&engine);
    linker.define(&store, "m", "t", fits).unwrap();
    linker.instantiate(&mut store, &module).unwrap();
    let found = linker.get(&mut store, "m", "t").unwrap();
    assert!(Tag::eq(&found.into_tag().unwrap(), &fits, &store));
}

#[test]
fn tags_and_exceptions_of_the_host_are_checked() {
    let engine = engine();
    let mut store = Store::new(&engine, ());
    let result = TagType::new(FuncType::new(&engine, [], [ValType::I32]));
    assert!(Tag::new(&mut store, &result).is_err());
    assert!(result.default_value(&mut store).is_err());
    assert!(ExnType::from_tag_type(&result).is_err());
    let tag = tag_of(&mut store, &[ValType::I32, ValType::EXTERNREF]);
    let ty = ExnType::from_tag_type(&tag.ty(&store)).unwrap();
    assert!(ty.matches(&ty));
    assert_eq!(ty.fields().len(), 2);
    assert!(ty.field(1).unwrap().mutability().is_const());
    assert!(ty.field(2).is_none());
    assert_eq!(ty.tag_type().ty().params().len(), 2);
    let allocator = ExnRefPre::new(&mut store, ty);
    let null = Val::null_extern_ref();
    let mut make = |fields: &[Val]| ExnRef::new(&mut store, &allocator, &tag, fields);
    assert!(make(&[Val::I32(1)]).is_err());
    assert!(make(&[Val::I64(1), null]).is_err());
    assert!(make(&[Val::I32(1), null]).is_ok());
    let other = tag_of(&mut store, &[ValType::I32]);
    assert!(ExnRef::new(&mut store, &allocator, &other, &[Val::I32(1)]).is_err());
}

#[test]
fn exceptions_go_through_functions_globals_and_tables() {
    let engine = engine();
    let module = module(
        &engine,
        r#"(module
            (global (export "g") (mut exnref) (ref.null exn))
            (table (export "t") 1 exnref)
            (func (export "id") (param exnref) (result exnref) (local.get 0))
            (func (export "throw") (param exnref) (throw_ref (local.get 0))))"#,
    );
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    let tag = tag_of(&mut store, &[ValType::I32]);
    let exn = exception(&mut store, &tag, &[Val::I32(3)]);
    type Nullable = Option<Rooted<ExnRef>>;
    let id = instance
        .get_typed_func::<Nullable, Nullable>(&mut store, "id")
        .unwrap();
    assert!(id.call(&mut store, None).unwrap().is_none());
    let same = id.call(&mut store, Some(exn)).unwrap().unwrap();
    assert!(Rooted::ref_eq(&store, &same, &exn).unwrap());
    let global = instance.get_global(&mut store, "g").unwrap();
    assert!(global.get(&mut store).unwrap_exnref().is_none());
    global.set(&mut store, exn.into()).unwrap();
    let found = *global.get(&mut store).unwrap_exnref().unwrap();
    assert!(Rooted::ref_eq(&store, &found, &exn).unwrap());
    let table = instance.get_table(&mut store, "t").unwrap();
    table.set(&mut store, 0, exn.into()).unwrap();
    let found = table.get(&mut store, 0).unwrap();
    assert!(found.is_exn() && found.unwrap_exn().is_some());
    assert!(found.matches_ty(&store, &RefType::EXNREF).unwrap());
    assert!(!found.matches_ty(&store, &RefType::ANYREF).unwrap());
    assert!(Val::null_ref(&HeapType::NoExn).unwrap_exnref().is_none());

    let throw = instance
        .get_typed_func::<Nullable, ()>(&mut store, "throw")
        .unwrap();
    let error = throw.call(&mut store, Some(exn)).unwrap_err();
    assert!(error.is::<ThrownException>());
    let pending = store.take_pending_exception().unwrap();
    assert!(Rooted::ref_eq(&store, &pending, &exn).unwrap());
    let error = throw.call(&mut store, None).unwrap_err();
    assert_eq!(*error.downcast_ref::<Trap>().unwrap(), Trap::NullReference);
}

#[test]
fn payloads_are_alive_while_exceptions_are_in_flight() {
    let wat = r#"(module
        (type $box (struct (field (mut i32))))
        (import "" "t" (tag $t (param (ref null $box) externref)))
        (import "" "host" (func $host (param i32)))
        (func $garbage (drop (struct.new $box (i32.const 1))))
        (func (export "throw") (param i32) (result i32)
            (local $mine (ref $box))
            (local.set $mine (struct.new $box (i32.const 5)))
            (call $garbage)
            (throw $t (local.get $mine) (ref.null extern)))
        (func (export "run") (param i32) (result i32)
            (local $kept (ref $box)) (local $caught (ref null $box)) (local $exception exnref)
            (local.set $kept (struct.new $box (i32.const 30)))
            (block $h (result (ref null $box) externref (ref exn))
                (try_table (catch_ref $t $h)
                    (call $garbage)
                    (call $host (i32.const 1)))
                (unreachable))
            (local.set $exception) (drop) (local.set $caught)
            (call $garbage)
            (block $again (result (ref null $box) externref)
                (try_table (catch $t $again)
                    (call $garbage)
                    (throw_ref (local.get $exception)))
                (unreachable))
            (drop)
            (call $garbage)
            (struct.get $box 0)
            (i32.add (struct.get $box 0 (local.get $kept)))
            (i32.add (struct.get $box 0 (local.get $caught)))))"#;
    for collector in [
        Collector::Null,
        Collector::DeferredReferenceCounting,
        Collector::Copying,
    ] {
        let engine = Engine::new(config().collector(collector).gc_stress(true)).unwrap();
        let module = module(&engine, wat);
        let mut store = Store::new(&engine, ());
        let ty = module.imports().next().unwrap().ty();
        let tag = Tag::new(&mut store, ty.unwrap_tag()).unwrap();
        let host = Func::wrap(&mut store, |mut caller: Caller<'_, ()>, param: i32| {
            let throw = caller.get_export("throw").and_then(Extern::into_func);
            let throw = throw.unwrap().typed::<i32, i32>(&caller)?;
            let error = throw.call(&mut caller, param).unwrap_err();
            // Garbage is collected while the exception is pending.
            ExternRef::new(&mut caller, 1)?;
            caller.as_context_mut().gc();
            Err::<(), Error>(error)
        });
        let instance = Instance::new(&mut store, &module, &[tag.into(), host.into()]).unwrap();
        for _ in 0..20 {
            assert_eq!(call(&mut store, &instance, "run", 0).unwrap(), 40);
        }
    }
}

#[test]
fn abandoned_frames_drop_what_the_host_owns() {
    struct Counted(Arc<AtomicUsize>);
    impl Drop for Counted {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let drops = Arc::new(AtomicUsize::new(0));
    let mut store = Store::new(&engine(), ());
    let mine = Arc::clone(&drops);
    let instance = around_host(&mut store, move |_, _, result| {
        let _counted = Counted(Arc::clone(&mine));
        let error = Counted(Arc::clone(&mine));
        // The error of an exception that is caught is dropped before the handler goes on.
        result.map_err(|e| e.context(Context(error)))
    });
    #[derive(Debug)]
    struct Context<T>(T);
    impl<T> std::fmt::Display for Context<T> {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("context")
        }
    }
    impl std::fmt::Debug for Counted {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("Counted")
        }
    }
    assert_eq!(call(&mut store, &instance, "run", 7).unwrap(), 1007);
    assert_eq!(drops.load(Ordering::SeqCst), 2);
    // A store with a pending exception is dropped like any other.
    let error = call(&mut store, &instance, "bare", 7).unwrap_err();
    assert!(store.has_pending_exception());
    drop(store);
    assert!(error.is::<ThrownException>());
    drop(error);
    assert_eq!(drops.load(Ordering::SeqCst), 4);
}

#[test]
fn the_stack_is_usable_after_exceptions() {
    // Every exception leaves the frames of another entry; none of them is lost.
    let mut store = Store::new(&engine(), ());
    let instance = around_host(&mut store, |_, _, result| result);
    for i in 1..20_000 {
        assert_eq!(call(&mut store, &instance, "run", i).unwrap(), 1000 + i);
    }
}

#[test]
fn roots_of_a_host_function_end_with_it() {
    let mut store = Store::new(&engine(), ());
    let tag = tag_of(&mut store, &[]);
    let other = Store::new(store.engine(), ());
    let mut scope = RootScope::new(&mut store);
    let exception = exception(&mut scope, &tag, &[]);
    drop(scope);
    assert!(
        store
            .throw::<()>(exception)
            .unwrap_err()
            .to_string()
            .contains("unrooted")
    );
    assert!(!store.has_pending_exception());
    drop(other);
}

#[test]
fn the_proposal_is_off_by_default_and_needs_others() {
    let wat = "(module (tag))";
    assert!(Module::new(&Engine::default(), wat).is_err());
    // Typed function references are none of them.
    let engine = Engine::new(Config::new().wasm_exceptions(true)).unwrap();
    let module = module(
        &engine,
        r#"(module (tag $t (export "t") (param i32))
            (func (export "run") (param i32) (result i32)
                (block $h (result i32 exnref)
                    (try_table (catch_ref $t $h) (throw $t (local.get 0)))
                    (unreachable))
                (throw_ref)))"#,
    );
    assert!(module.get_export("t").unwrap().tag().is_some());
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    let result = call(&mut store, &instance, "run", 6);
    assert_eq!(thrown(&mut store, result), 6);

    let mut config = Config::new();
    config.wasm_exceptions(true).gc_support(false);
    let error = Engine::new(&config).unwrap_err().to_string();
    assert!(error.contains("wasm_exceptions"), "{error}");
    let mut config = Config::new();
    config.wasm_exceptions(true).wasm_reference_types(false);
    assert!(Engine::new(&config).is_err());
}
