//! `run --profile`.

mod support;

use serde_json::Value;
use std::collections::HashMap;
use std::path::Path;
use support::Sandbox;

/// Lua, and a script that computes a Fibonacci number by recursion.
fn lua(sandbox: &Sandbox) {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/lua");
    for name in ["lua.wasm", "fib.lua"] {
        sandbox.file(name, std::fs::read(fixtures.join(name)).unwrap());
    }
}

fn json(sandbox: &Sandbox, name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(sandbox.path().join(name)).unwrap()).unwrap()
}

fn index(value: &Value) -> Option<usize> {
    value.as_u64().map(|index| index as usize)
}

/// Checks that columns have the length that their table says, and gives that length.
#[track_caller]
fn table_len(table: &Value) -> usize {
    let len = index(&table["length"]).expect("a table has a length");
    for (name, column) in table.as_object().unwrap() {
        if let Some(column) = column.as_array() {
            assert_eq!(column.len(), len, "{name}");
        }
    }
    len
}

/// Checks that all entries of a column are indices below `len`, or nothing.
#[track_caller]
fn refers_to(column: &Value, len: usize) {
    for value in column.as_array().expect("a column is an array") {
        assert!(
            index(value).is_none_or(|index| index < len),
            "{value} of {len}"
        );
    }
}

/// The format that `profiler.firefox.com` reads, as far as tables go.
fn check_format(profile: &Value) {
    let meta = &profile["meta"];
    assert!(index(&meta["version"]).unwrap() >= 24, "{meta}");
    assert!(
        index(&meta["preprocessedProfileVersion"]).unwrap() >= 40,
        "{meta}"
    );
    for name in ["interval", "startTime"] {
        assert!(meta[name].as_f64().unwrap() > 0.0, "{name}: {meta}");
    }
    assert!(
        meta["product"].is_string() && meta["symbolicated"] == true,
        "{meta}"
    );
    let categories = meta["categories"].as_array().unwrap().len();
    let libs = profile["libs"].as_array().unwrap().len();
    let threads = profile["threads"].as_array().unwrap();
    assert!(!threads.is_empty());
    for thread in threads {
        let strings = thread["stringArray"].as_array().unwrap();
        assert!(strings.iter().all(Value::is_string));
        let strings = strings.len();
        let (samples, stacks) = (&thread["samples"], &thread["stackTable"]);
        let (frames, functions) = (&thread["frameTable"], &thread["funcTable"]);
        let (resources, markers) = (&thread["resourceTable"], &thread["markers"]);
        table_len(samples);
        table_len(markers);
        let stack_count = table_len(stacks);
        let frame_count = table_len(frames);
        let function_count = table_len(functions);
        let resource_count = table_len(resources);
        refers_to(&samples["stack"], stack_count);
        refers_to(&stacks["prefix"], stack_count);
        refers_to(&stacks["frame"], frame_count);
        refers_to(&frames["func"], function_count);
        refers_to(&frames["category"], categories);
        refers_to(&functions["name"], strings);
        refers_to(&functions["resource"], resource_count);
        refers_to(&resources["lib"], libs);
        refers_to(&resources["name"], strings);
        refers_to(&markers["name"], strings);
        for (i, prefix) in stacks["prefix"].as_array().unwrap().iter().enumerate() {
            assert!(
                index(prefix).is_none_or(|prefix| prefix < i),
                "callers come first"
            );
        }
    }
}

/// How often each function was the innermost one.
fn self_samples(thread: &Value) -> HashMap<&str, i64> {
    let column = |table: &str, name: &str, i: usize| &thread[table][name][i];
    let mut samples = HashMap::new();
    for i in 0..index(&thread["samples"]["length"]).unwrap() {
        let Some(stack) = index(column("samples", "stack", i)) else {
            continue;
        };
        let frame = index(column("stackTable", "frame", stack)).unwrap();
        let function = index(column("frameTable", "func", frame)).unwrap();
        let name = index(column("funcTable", "name", function)).unwrap();
        let weight = column("samples", "weight", i).as_i64().unwrap_or(1);
        *samples
            .entry(thread["stringArray"][name].as_str().unwrap())
            .or_default() += weight;
    }
    samples
}

#[test]
fn guest_profile_shows_the_hot_function() {
    let sandbox = Sandbox::new();
    lua(&sandbox);
    let run = "run --profile=guest,out.json,1ms --dir . lua.wasm fib.lua";
    assert_eq!(sandbox.run(run).success(), "== fib.lua\n832040\n");
    let profile = json(&sandbox, "out.json");
    check_format(&profile);
    assert_eq!(profile["meta"]["product"], "lua.wasm");
    assert_eq!(profile["libs"][0]["name"], "lua.wasm");
    let samples = self_samples(&profile["threads"][0]);
    let total: i64 = samples.values().sum();
    // How many there are depends on how busy the machine is.
    assert!(total >= 3, "{samples:?}");
    assert!(samples["luaV_execute"] * 2 > total, "{samples:?}");
}

#[test]
fn guest_profiles_of_programs_that_fail() {
    let sandbox = Sandbox::new();
    sandbox.file(
        "spin.wat",
        r#"(module (func $spin (export "_start") (loop br 0)))"#,
    );
    sandbox
        .run("run --profile=guest,out.json,1ms -W timeout=100ms spin.wat")
        .failure(134, &["wasm trap: interrupt"]);
    let profile = json(&sandbox, "out.json");
    check_format(&profile);
    let samples = self_samples(&profile["threads"][0]);
    assert!(samples["spin"] > 0, "{samples:?}");

    sandbox
        .run("run --profile=guest,no/such/file.json spin.wat")
        .failure(1, &["`--profile`: failed to make `no/such/file.json`"]);
}

#[test]
fn code_of_preloaded_modules_is_seen() {
    let sandbox = Sandbox::new();
    sandbox.file(
        "library.wat",
        r#"(module
            (func $hot (export "f") (param i32)
                (loop
                    (local.set 0 (i32.sub (local.get 0) (i32.const 1)))
                    (br_if 0 (local.get 0)))))"#,
    );
    sandbox.file(
        "main.wat",
        r#"(module
            (import "library" "f" (func $f (param i32)))
            (func $main (export "_start") (call $f (i32.const 200000000))))"#,
    );
    sandbox
        .run("run --profile=guest,out.json,1ms --preload library=library.wat main.wat")
        .success();
    let profile = json(&sandbox, "out.json");
    check_format(&profile);
    assert_eq!(profile["libs"].as_array().unwrap().len(), 2);
    assert!(self_samples(&profile["threads"][0])["hot"] > 0);
}

#[cfg(target_os = "linux")]
#[test]
fn native_profilers() {
    let sandbox = Sandbox::new();
    sandbox.file("f.wat", r#"(module (func $found (export "_start")))"#);
    sandbox.run("run --profile=jitdump f.wat").success();
    let mut entries = std::fs::read_dir(sandbox.path()).unwrap();
    let dump = entries
        .find_map(|entry| {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let pid = name
                .strip_prefix("jit-")?
                .strip_suffix(".dump")?
                .to_string();
            Some((name, pid))
        })
        .expect("there is a dump");
    let bytes = std::fs::read(sandbox.path().join(dump.0)).unwrap();
    assert!(bytes.windows(6).any(|bytes| bytes == b"found\0"));

    let child = sandbox
        .waxwing("run --profile=perfmap f.wat")
        .spawn()
        .expect("the command starts");
    let map = format!("/tmp/perf-{}.map", child.id());
    assert!(child.wait_with_output().unwrap().status.success());
    assert!(std::fs::read_to_string(&map).unwrap().contains(" found\n"));
    std::fs::remove_file(map).unwrap();

    sandbox
        .run("run --profile=vtune f.wat")
        .failure(1, &["`ProfilingStrategy::VTune` is not possible"]);
    sandbox
        .run("run --profile=perfmap,x f.wat")
        .failure(1, &["`perfmap` has no further values"]);
}
