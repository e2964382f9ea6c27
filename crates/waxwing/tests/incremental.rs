//! `Config::enable_incremental_compilation`.

#![cfg(all(feature = "incremental-cache", feature = "wat"))]

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use waxwing::{CacheStore, Config, Engine, Inlining, OptLevel};

#[derive(Debug, Default)]
struct Functions {
    map: Mutex<HashMap<Vec<u8>, Vec<u8>>>,
    hits: AtomicUsize,
    misses: AtomicUsize,
}

impl Functions {
    /// How many were found and not found since the last call.
    fn counts(&self) -> (usize, usize) {
        (self.hits.swap(0, Relaxed), self.misses.swap(0, Relaxed))
    }
}

impl CacheStore for Functions {
    fn get(&self, key: &[u8]) -> Option<Cow<'_, [u8]>> {
        let found = self.map.lock().unwrap().get(key).cloned().map(Cow::Owned);
        let counter = if found.is_some() {
            &self.hits
        } else {
            &self.misses
        };
        counter.fetch_add(1, Relaxed);
        found
    }

    fn insert(&self, key: &[u8], value: Vec<u8>) -> bool {
        self.map.lock().unwrap().insert(key.to_vec(), value);
        true
    }
}

/// Functions with loops, traps, calls, references across calls, and handlers of exceptions: what
/// compiled functions are made of. The body of the second is given, and the name of the module, which moves all code.
fn module(name: &str, second: &str) -> String {
    format!(
        r#"(module ${name}
            (import "host" "f" (func $host (param externref)))
            (type $t (func (param i32) (result i32)))
            (memory 1)
            (table 10 funcref)
            (tag $tag (param i32))
            (elem (i32.const 0) $first $second)
            (func $first (param i32) (result i32)
                (local i32)
                (loop
                    (local.set 1 (i32.add (local.get 1) (i32.load offset=8 (local.get 0))))
                    (br_if 0 (i32.lt_u (local.get 1) (i32.const 1000))))
                (i32.div_u (local.get 1) (local.get 0)))
            (func $second (param i32) (result i32) {second})
            (func $third (param externref) (result externref)
                (call $host (local.get 0))
                (local.get 0))
            (func $fourth (export "fourth") (param i32) (result i32)
                (block $h (result i32)
                    (try_table (result i32) (catch $tag $h)
                        (call $second (local.get 0)))))
            (func $fifth (export "fifth") (param i32) (result i32)
                (call_indirect (type $t) (i32.const 7) (local.get 0)))
            (func (export "unused") unreachable))"#
    )
}

fn config() -> Config {
    let mut config = Config::new();
    config
        .wasm_exceptions(true)
        .cranelift_opt_level(OptLevel::Speed);
    config
}

#[test]
fn functions_that_did_not_change_are_not_compiled_again() {
    let functions = Arc::new(Functions::default());
    let mut config = config();
    config.compiler_inlining(Inlining::No);
    let plain = Engine::new(&config).unwrap();
    config
        .enable_incremental_compilation(functions.clone())
        .unwrap();
    let incremental = Engine::new(&config).unwrap();
    let compile = |wat: &str| {
        let artifact = incremental.precompile_module(wat.as_bytes()).unwrap();
        assert!(
            artifact == plain.precompile_module(wat.as_bytes()).unwrap(),
            "the same bytes as without a store"
        );
        functions.counts()
    };
    // Trampolines can be alike.
    let (alike, others) = compile(&module("m", "local.get 0"));
    assert!(alike < 3 && others > 6, "{alike} and {others}");
    let all = alike + others;
    // Nothing changed.
    assert_eq!(compile(&module("m", "local.get 0")), (all, 0));
    // Only where functions are in the binary.
    let longer = "a_longer_name_of_the_module";
    assert_eq!(compile(&module(longer, "local.get 0")), (all, 0));
    // One function changed, and is longer than before.
    let second = "(i32.mul (local.get 0) (i32.const 1000003))";
    assert_eq!(compile(&module("m", second)), (all - 1, 1));
    assert_eq!(compile(&module("m", second)), (all, 0));
    // The name of a function is no part of it.
    let renamed = module("m", second).replace("$third", "$another_name");
    assert_eq!(compile(&renamed), (all, 0));
}

#[test]
fn what_is_inlined_is_part_of_functions() {
    let functions = Arc::new(Functions::default());
    let mut config = config();
    config
        .enable_incremental_compilation(functions.clone())
        .unwrap();
    let incremental = Engine::new(&config).unwrap();
    let compile = |wat: &str| {
        incremental.precompile_module(wat.as_bytes()).unwrap();
        functions.counts()
    };
    let (alike, others) = compile(&module("m", "local.get 0"));
    let second = "(i32.mul (local.get 0) (i32.const 1000003))";
    assert_eq!(compile(&module("m", second)), (alike + others - 2, 2));
}

#[test]
fn other_settings_find_nothing() {
    let functions = Arc::new(Functions::default());
    let compile = |set: fn(&mut Config)| {
        let mut config = config();
        set(&mut config);
        let plain = Engine::new(&config).unwrap();
        config
            .enable_incremental_compilation(functions.clone())
            .unwrap();
        let wat = "(module (memory 1) (func (param i32) (result f32)
            (f32.add (f32.load (local.get 0)) (f32.const 1))))";
        let artifact = Engine::new(&config)
            .unwrap()
            .precompile_module(wat.as_bytes());
        assert!(artifact.unwrap() == plain.precompile_module(wat.as_bytes()).unwrap());
        functions.counts()
    };
    assert_eq!(compile(|_| {}), (0, 1));
    assert_eq!(compile(|_| {}), (1, 0));
    assert_eq!(
        compile(|config| _ = config.cranelift_opt_level(OptLevel::None)),
        (0, 1)
    );
    assert_eq!(
        compile(|config| _ = config.cranelift_nan_canonicalization(true)),
        (0, 1)
    );
    // Not a setting of the compiler's, but of what is compiled.
    assert_eq!(compile(|config| _ = config.memory_reservation(0)), (0, 1));
}

#[test]
fn what_is_no_function_is_not_used() {
    #[derive(Debug)]
    struct Broken;

    impl CacheStore for Broken {
        fn get(&self, _key: &[u8]) -> Option<Cow<'_, [u8]>> {
            Some(Cow::Borrowed(b"not a function"))
        }

        fn insert(&self, _key: &[u8], _value: Vec<u8>) -> bool {
            false
        }
    }

    let mut config = config();
    let wat = module("m", "local.get 0");
    let plain = Engine::new(&config)
        .unwrap()
        .precompile_module(wat.as_bytes())
        .unwrap();
    config
        .enable_incremental_compilation(Arc::new(Broken))
        .unwrap();
    let engine = Engine::new(&config).unwrap();
    assert!(engine.precompile_module(wat.as_bytes()).unwrap() == plain);
}
