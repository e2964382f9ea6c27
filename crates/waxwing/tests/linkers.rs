//! Linkers: names, shadowing, aliases, modules as a whole, and what is missing.

use waxwing::*;

fn message<T>(result: Result<T>) -> String {
    match result {
        Ok(_) => panic!("should have failed"),
        Err(error) => format!("{error:#}"),
    }
}

fn call_i32(store: &mut Store<i32>, item: Option<Extern>) -> i32 {
    let func = item.and_then(Extern::into_func).unwrap();
    let func = func.typed::<(), i32>(&*store).unwrap();
    func.call(store, ()).unwrap()
}

#[test]
fn names_are_taken_once_unless_shadowing_is_allowed() -> Result<()> {
    let engine = Engine::default();
    let mut store = Store::new(&engine, 0);
    let mut linker = Linker::new(&engine);
    linker.func_wrap("m", "f", || 1_i32)?;
    linker.func_wrap("m", "g", || 2_i32)?;
    let error = message(linker.func_wrap("m", "f", || 3_i32));
    assert_eq!(error, "import of `m::f` defined twice");
    let ty = FuncType::new(&engine, [], []);
    assert!(linker.func_new("m", "f", ty, |_, _, _| Ok(())).is_err());
    let memory = Memory::new(&mut store, MemoryType::new(1, None))?;
    assert!(linker.define(&store, "m", "f", memory).is_err());
    linker.allow_shadowing(true);
    linker.func_wrap("m", "f", || 3_i32)?;
    let f = linker.get(&mut store, "m", "f");
    assert_eq!(call_i32(&mut store, f), 3);
    Ok(())
}

#[test]
fn items_are_found_by_name() -> Result<()> {
    let engine = Engine::default();
    let mut store = Store::new(&engine, 0);
    let mut linker = Linker::new(&engine);
    linker.func_wrap("m", "f", |caller: Caller<'_, i32>| *caller.data())?;
    let memory = Memory::new(&mut store, MemoryType::new(1, None))?;
    linker.define(&store, "m", "memory", memory)?;
    linker.define_name(&store, "alone", memory)?;
    assert!(linker.get(&mut store, "m", "nothing").is_none());
    assert!(linker.get(&mut store, "f", "m").is_none());
    assert!(matches!(
        linker.get(&mut store, "", "alone"),
        Some(Extern::Memory(_))
    ));
    let mut items: Vec<_> = linker
        .iter(&mut store)
        .map(|(module, name, item)| (module, name, item.into_func().is_some()))
        .collect();
    items.sort_unstable();
    assert_eq!(
        items,
        [
            ("", "alone", false),
            ("m", "f", true),
            ("m", "memory", false)
        ]
    );

    let module = Module::new(&engine, r#"(module (import "m" "f" (func (result i32))))"#)?;
    let import = module.imports().next().unwrap();
    let found = linker.get_by_import(&mut store, &import);
    *store.data_mut() = 8;
    assert_eq!(call_i32(&mut store, found), 8);

    // A clone is independent.
    let mut clone = linker.clone();
    clone.func_wrap("m", "new", || {})?;
    assert!(clone.get(&mut store, "m", "new").is_some());
    assert!(linker.get(&mut store, "m", "new").is_none());
    Ok(())
}

#[test]
fn aliases_are_further_names() -> Result<()> {
    let engine = Engine::default();
    let mut store = Store::new(&engine, 0);
    let mut linker = Linker::new(&engine);
    linker.func_wrap("a", "one", || 1_i32)?;
    linker.func_wrap("a", "two", || 2_i32)?;
    linker.alias("a", "one", "b", "uno")?;
    linker.alias_module("a", "c")?;
    for (module, name, value) in [
        ("b", "uno", 1),
        ("c", "one", 1),
        ("c", "two", 2),
        ("a", "one", 1),
    ] {
        let item = linker.get(&mut store, module, name);
        assert_eq!(call_i32(&mut store, item), value, "{module}::{name}");
    }
    let error = message(linker.alias("a", "three", "b", "tres"));
    assert_eq!(error, "no item named `a::three` defined");
    assert!(linker.alias_module("a", "c").is_err());
    linker.alias_module("nothing", "d")?;
    Ok(())
}

#[test]
fn missing_and_mistyped_imports_are_named() -> Result<()> {
    let engine = Engine::default();
    let mut store = Store::new(&engine, 0);
    let mut linker = Linker::new(&engine);
    let module = Module::new(&engine, r#"(module (import "env" "f" (func (param i64))))"#)?;
    let error = linker.instantiate(&mut store, &module).unwrap_err();
    assert_eq!(
        error.to_string(),
        "unknown import: `env::f` has not been defined"
    );
    let unknown = error.downcast::<UnknownImportError>()?;
    assert_eq!((unknown.module(), unknown.name()), ("env", "f"));
    assert_eq!(unknown.ty().unwrap_func().params().len(), 1);
    assert!(linker.instantiate_pre(&module).is_err());

    linker.func_wrap("env", "f", |_: i32| {})?;
    let error = message(linker.instantiate(&mut store, &module));
    assert!(
        error.starts_with("incompatible import type for `env::f`: "),
        "{error}"
    );
    assert!(
        error.contains("(param i64)") && error.contains("(param i32)"),
        "{error}"
    );
    Ok(())
}

#[test]
fn instances_are_defined_export_by_export() -> Result<()> {
    let engine = Engine::default();
    let mut store = Store::new(&engine, 0);
    let mut linker = Linker::new(&engine);
    let library = Module::new(
        &engine,
        r#"(module
            (memory (export "memory") 1)
            (func (export "store") (param i32) (i32.store8 (i32.const 7) (local.get 0))))"#,
    )?;
    let instance = linker.instantiate(&mut store, &library)?;
    linker.instance(&mut store, "lib", instance)?;
    assert!(linker.instance(&mut store, "lib", instance).is_err());
    let user = Module::new(
        &engine,
        r#"(module
            (import "lib" "memory" (memory 1))
            (import "lib" "store" (func $store (param i32)))
            (func (export "run") (result i32)
                (call $store (i32.const 42))
                (i32.load8_u (i32.const 7))))"#,
    )?;
    let instance = linker.instantiate(&mut store, &user)?;
    let run = instance.get_typed_func::<(), i32>(&mut store, "run")?;
    assert_eq!(run.call(&mut store, ())?, 42);
    Ok(())
}

#[test]
fn memories_that_grew_satisfy_larger_imports() -> Result<()> {
    let engine = Engine::default();
    let mut store = Store::new(&engine, 0);
    let mut linker = Linker::new(&engine);
    let memory = Memory::new(&mut store, MemoryType::new(1, None))?;
    linker.define(&store, "", "memory", memory)?;
    let module = Module::new(&engine, r#"(module (import "" "memory" (memory 3)))"#)?;
    let error = message(linker.instantiate(&mut store, &module));
    assert!(error.contains("memory types incompatible"), "{error}");
    memory.grow(&mut store, 2)?;
    linker.instantiate(&mut store, &module)?;
    Ok(())
}

const COUNTER: &str = r#"
    (global $n (mut i32) (i32.const 0))
    (func (export "next") (result i32)
        (global.set $n (i32.add (global.get $n) (i32.const 1)))
        (global.get $n))
"#;

#[test]
fn reactors_are_instantiated_once() -> Result<()> {
    let engine = Engine::default();
    let mut store = Store::new(&engine, 0);
    let mut linker = Linker::new(&engine);
    let initialize = r#"(func (export "_initialize") (global.set $n (i32.const 100)))"#;
    let with = Module::new(&engine, format!("(module {COUNTER} {initialize})"))?;
    let without = Module::new(&engine, format!("(module {COUNTER})"))?;
    linker.module(&mut store, "with", &with)?;
    linker.module(&mut store, "without", &without)?;
    let mut next = |module| {
        let next = linker.get(&mut store, module, "next");
        call_i32(&mut store, next)
    };
    assert_eq!((next("with"), next("with")), (101, 102));
    assert_eq!((next("without"), next("without")), (1, 2));

    let traps = Module::new(
        &engine,
        r#"(module (func (export "_initialize") unreachable))"#,
    )?;
    let error = linker.module(&mut store, "traps", &traps).unwrap_err();
    assert_eq!(
        error.downcast_ref::<Trap>(),
        Some(&Trap::UnreachableCodeReached)
    );
    Ok(())
}

#[test]
fn commands_are_instantiated_for_each_call() -> Result<()> {
    let engine = Engine::default();
    let mut store = Store::new(&engine, 0);
    let mut linker = Linker::new(&engine);
    linker.func_wrap("host", "bump", |mut caller: Caller<'_, i32>| {
        *caller.data_mut() += 1
    })?;
    let command = |more: &str| {
        Module::new(
            &engine,
            format!(
                r#"(module
                    (import "host" "bump" (func $bump))
                    {COUNTER}
                    (memory (export "memory") 1)
                    (func (export "_start") (call $bump))
                    {more})"#
            ),
        )
        .unwrap()
    };
    linker.module(&mut store, "command", &command(""))?;
    for _ in 0..2 {
        let next = linker.get(&mut store, "command", "next");
        assert_eq!(call_i32(&mut store, next), 1);
    }
    let start = linker.get_default(&mut store, "command")?;
    start.typed::<(), ()>(&store)?.call(&mut store, ())?;
    assert_eq!(*store.data(), 1);
    assert!(linker.get(&mut store, "command", "memory").is_none());

    let odd = command(r#"(global (export "odd") i32 (i32.const 1))"#);
    let error = message(linker.module(&mut store, "odd", &odd));
    assert!(error.contains("`odd`"), "{error}");
    linker.allow_shadowing(true).allow_unknown_exports(true);
    linker.module(&mut store, "odd", &odd)?;

    let both = command(r#"(func (export "_initialize"))"#);
    let error = message(linker.module(&mut store, "both", &both));
    assert!(error.contains("both a command and a reactor"), "{error}");
    Ok(())
}

#[test]
fn the_default_of_a_module_is_found() -> Result<()> {
    let engine = Engine::default();
    let mut store = Store::new(&engine, 0);
    let mut linker = Linker::new(&engine);
    linker.func_wrap("named", "", || 1_i32)?;
    linker.func_wrap("named", "_start", || 2_i32)?;
    linker.func_wrap("started", "_start", || 3_i32)?;
    let memory = Memory::new(&mut store, MemoryType::new(1, None))?;
    linker.define(&store, "odd", "", memory)?;
    let named = linker.get_default(&mut store, "named")?;
    let started = linker.get_default(&mut store, "started")?;
    assert_eq!(call_i32(&mut store, Some(named.into())), 1);
    assert_eq!(call_i32(&mut store, Some(started.into())), 3);
    assert!(linker.get_default(&mut store, "odd").is_err());
    let nothing = linker.get_default(&mut store, "nothing")?;
    nothing.typed::<(), ()>(&store)?.call(&mut store, ())
}

#[test]
fn unknown_functions_can_be_traps_or_defaults() -> Result<()> {
    let engine = Engine::default();
    let module = Module::new(
        &engine,
        r#"(module
            (import "a" "known" (func $known (result i32)))
            (import "a" "unknown" (func $unknown (param i32) (result i32 f64 externref)))
            (func (export "known") (result i32) (call $known))
            (func (export "unknown") (result i32 f64 externref) (call $unknown (i32.const 1))))"#,
    )?;
    let linker = {
        let mut linker = Linker::new(&engine);
        linker.func_wrap("a", "known", || 5_i32)?;
        linker
    };
    let mut store = Store::new(&engine, 0);
    type Results = (i32, f64, Option<Rooted<ExternRef>>);

    let mut traps = linker.clone();
    traps.define_unknown_imports_as_traps(&module)?;
    let instance = traps.instantiate(&mut store, &module)?;
    let known = instance.get_typed_func::<(), i32>(&mut store, "known")?;
    assert_eq!(known.call(&mut store, ())?, 5);
    let unknown = instance.get_typed_func::<(), Results>(&mut store, "unknown")?;
    let error = unknown.call(&mut store, ()).unwrap_err();
    assert_eq!(
        error.downcast_ref::<UnknownImportError>().unwrap().name(),
        "unknown"
    );

    let mut defaults = linker;
    defaults.define_unknown_imports_as_default_values(&module)?;
    let instance = defaults.instantiate(&mut store, &module)?;
    let unknown = instance.get_typed_func::<(), Results>(&mut store, "unknown")?;
    let (int, float, reference) = unknown.call(&mut store, ())?;
    assert_eq!((int, float), (0, 0.0));
    assert!(reference.is_none());
    Ok(())
}

#[test]
fn prepared_instances_mix_imports_of_the_host_and_of_a_store() -> Result<()> {
    let engine = Engine::default();
    let mut store = Store::new(&engine, 3);
    let mut linker = Linker::new(&engine);
    linker.func_wrap("", "data", |caller: Caller<'_, i32>| *caller.data())?;
    let ty = GlobalType::new(ValType::I32, Mutability::Const);
    let global = Global::new(&mut store, ty, Val::I32(40))?;
    linker.define(&store, "", "global", global)?;
    let of_store = Func::wrap(&mut store, || 500);
    linker.define(&store, "", "of_store", of_store)?;
    let module = Module::new(
        &engine,
        r#"(module
            (import "" "of_store" (func $of_store (result i32)))
            (import "" "global" (global $global i32))
            (import "" "data" (func $data (result i32)))
            (func (export "run") (result i32)
                (i32.add (call $of_store) (i32.add (call $data) (global.get $global)))))"#,
    )?;
    let pre = linker.instantiate_pre(&module)?;
    for _ in 0..3 {
        let instance = pre.instantiate(&mut store)?;
        let run = instance.get_export(&mut store, "run");
        assert_eq!(call_i32(&mut store, run), 543);
    }
    Ok(())
}
