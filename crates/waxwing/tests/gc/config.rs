//! Options of garbage collection.

use crate::message;
use waxwing::*;

fn engine_error(change: impl FnOnce(&mut Config) -> &mut Config) -> String {
    let mut config = Config::new();
    change(&mut config);
    message(Engine::new(&config))
}

#[test]
fn the_collector_can_be_chosen() -> Result<()> {
    for (collector, found) in [
        (Collector::default(), Collector::Copying),
        (Collector::Null, Collector::Null),
        (Collector::Copying, Collector::Copying),
        (
            Collector::DeferredReferenceCounting,
            Collector::DeferredReferenceCounting,
        ),
    ] {
        let engine = Engine::new(Config::new().collector(collector))?;
        assert_eq!(engine.get_collector(), Some(found));
    }
    let engine = Engine::new(Config::new().gc_support(false))?;
    assert_eq!(engine.get_collector(), None);
    Ok(())
}

#[test]
fn proposals_need_others() {
    let error = engine_error(|config| config.wasm_gc(true));
    assert!(error.contains("`Config::wasm_gc(true)` needs"), "{error}");
    assert!(error.contains("wasm_function_references(true)"), "{error}");
    let error = engine_error(|config| {
        config
            .wasm_function_references(true)
            .wasm_reference_types(false)
    });
    assert!(
        error.contains("`Config::wasm_function_references(true)` needs"),
        "{error}"
    );
    assert!(error.contains("wasm_reference_types(true)"), "{error}");
    let error = engine_error(|config| {
        config
            .wasm_function_references(true)
            .wasm_gc(true)
            .gc_support(false)
    });
    assert!(
        error.contains("`Config::wasm_gc(true)` needs a collector"),
        "{error}"
    );
    // Neither is on unless it is asked for, and each can be alone as far as it does not build on
    // the other.
    assert!(Engine::new(Config::new().wasm_reference_types(false)).is_ok());
    assert!(Engine::new(Config::new().wasm_function_references(true)).is_ok());
    let engine = Config::new()
        .wasm_function_references(true)
        .gc_support(false)
        .clone();
    assert!(Engine::new(&engine).is_ok());
}

#[test]
fn modules_are_refused_while_a_proposal_is_off() -> Result<()> {
    let typed = "(module (type $f (func)) (func (param (ref $f)) (call_ref $f (local.get 0))))";
    let gc = "(module (type (struct)) (func (result anyref) (ref.i31 (i32.const 1))))";
    let external = "(module (func (param externref)))";
    let plain = Engine::default();
    assert!(message(Module::new(&plain, typed)).contains("function references"));
    assert!(message(Module::new(&plain, gc)).contains("gc"));
    let without = Engine::new(Config::new().gc_support(false))?;
    let error = message(Module::new(&without, external));
    assert!(error.contains("requires gc"), "{error}");
    assert!(Module::new(&without, "(module (func (param funcref)))").is_ok());
    Ok(())
}

#[test]
fn stores_without_a_collector_make_no_objects() -> Result<()> {
    let engine = Engine::new(Config::new().gc_support(false))?;
    let mut store = Store::new(&engine, ());
    let structs = StructRefPre::new(&mut store, crate::struct_type(&engine, []));
    let arrays = ArrayRefPre::new(&mut store, crate::array_type(&engine, StorageType::I8));
    for error in [
        message(StructRef::new(&mut store, &structs, &[])),
        message(ArrayRef::new(&mut store, &arrays, &Val::I32(0), 0)),
        message(ExternRef::new(&mut store, 1)),
    ] {
        assert!(error.contains("Config::gc_support(true)"), "{error}");
    }
    store.gc();
    assert_eq!(store.gc_heap_capacity(), 0);
    Ok(())
}

#[test]
fn artifacts_are_of_one_collector() -> Result<()> {
    let copying = Engine::default();
    let null = Engine::new(Config::new().collector(Collector::Null))?;
    let none = Engine::new(Config::new().gc_support(false))?;
    let artifact = copying.precompile_module(b"(module)")?;
    // SAFETY: made by this version of the engine.
    unsafe {
        assert!(Module::deserialize(&copying, &artifact).is_ok());
        let error = message(Module::deserialize(&null, &artifact));
        assert!(error.contains("Collector::Copying"), "{error}");
        assert!(error.contains("Collector::Null"), "{error}");
        let error = message(Module::deserialize(&none, &artifact));
        assert!(error.contains("gc_support(false)"), "{error}");
    }
    Ok(())
}
