//! The option groups, and the command line as a whole.

mod support;

use serde_json::Value;
use support::{Ran, Sandbox};

#[test]
fn each_group_lists_its_keys() {
    let sandbox = Sandbox::new();
    for (letter, keys) in [
        (
            "C",
            &[
                "parallel-compilation",
                "emit-clif",
                "cranelift-FLAG",
                "target",
            ][..],
        ),
        (
            "O",
            &[
                "opt-level=none|speed|speed-and-size",
                "memory-reservation",
                "signals-based-traps",
            ],
        ),
        (
            "W",
            &[
                "simd",
                "tail-call",
                "max-wasm-stack",
                "all-proposals",
                "fuel=N",
                "wmemcheck",
                "timeout=N",
            ],
        ),
        ("S", &["preview1", "inherit-env"]),
        (
            "D",
            &["backtrace", "address-map", "logging", "log-to-files"],
        ),
    ] {
        // Wherever it is asked for, and whatever else is missing.
        for arguments in [
            format!("-{letter} help"),
            format!("run -{letter} help"),
            format!("compile -{letter}help"),
        ] {
            let help = sandbox.run(&arguments).success();
            for key in keys {
                assert!(
                    help.contains(&format!("  -{letter} {key}")),
                    "{arguments}: {key}: {help}"
                );
            }
            assert!(help.contains("(default: "), "{help}");
        }
    }
}

#[test]
fn memory_errors_are_looked_for() {
    let sandbox = Sandbox::new();
    sandbox.file(
        "m.wat",
        r#"(module (memory 1)
            (func $malloc (param i32) (result i32) (i32.const 1024))
            (func (export "_start") (i32.store (call $malloc (i32.const 3)) (i32.const 1))))"#,
    );
    sandbox.run("run m.wat").success();
    let ran = sandbox.run("run -W wmemcheck m.wat");
    // The library may have the feature for other packages, when the command does not say so.
    if ran.stderr.contains("Cargo feature") && !cfg!(feature = "wmemcheck") {
        ran.failure(1, &["`Config::wmemcheck(true)` needs the Cargo feature"]);
    } else {
        ran.failure(134, &["wmemcheck: invalid store of 4 bytes at 0x400"]);
    }
}

#[test]
fn bad_options() {
    let sandbox = Sandbox::new();
    sandbox.file("m.wat", "(module)");
    for (options, text) in [
        (
            "-W smid",
            "there is no key `smid` (did you mean `simd`?); `-W help` lists the keys",
        ),
        ("-W qwertyuiop=1", "there is no key `qwertyuiop`;"),
        ("-W simd=maybe", "`simd` takes `y` or `n`, not `maybe`"),
        (
            "-O opt-level=9",
            "`opt-level` takes =none|speed|speed-and-size, not `9`",
        ),
        ("-O opt-level", "`opt-level` needs a value"),
        (
            "-O memory-reservation=lots",
            "`memory-reservation` takes a number",
        ),
        (
            "-O memory-reservation=99999999999T",
            "`memory-reservation` takes a number",
        ),
        ("-C target=vax", "`-C target=vax`"),
        (
            "-C collector=mark",
            "`collector` takes =auto|copying|drc|null, not `mark`",
        ),
        ("-W gc", "wasm_function_references"),
        ("-C cranelift-", "there is no key `cranelift-`"),
        ("-C cranelift-no_such_flag", "no_such_flag"),
        (
            "-W max-wasm-stack=0",
            "the options do not make a working engine",
        ),
        ("-D logging=[", "`[` is not a log filter"),
        ("--no-such-option", "--no-such-option"),
    ] {
        sandbox
            .run(&format!("run {options} m.wat"))
            .failure(1, &[text]);
    }
    sandbox.run("run").failure(1, &["Usage: waxwing run"]);
    sandbox.run("").failure(1, &["Usage: waxwing"]);
}

#[test]
fn proposals_are_refused_when_off() {
    let sandbox = Sandbox::new();
    sandbox.file("simd.wat", "(module (func (drop (v128.const i64x2 0 0))))");
    sandbox.run("simd.wat").success();
    sandbox
        .run("run -W simd=n,relaxed-simd=n simd.wat")
        .failure(1, &["failed to compile `simd.wat`", "SIMD"]);
    sandbox
        .run("run -W all-proposals=n simd.wat")
        .failure(1, &["`simd.wat`"]);
    // The order in the command does not matter between these: the particular wins.
    sandbox
        .run("run -W simd -W all-proposals=n simd.wat")
        .success();
    // Between equals the last one wins.
    sandbox
        .run("run -W simd=n,simd -W relaxed-simd=n,relaxed-simd simd.wat")
        .success();
}

/// A module that uses a proposal, and what its `f` returns.
const PROPOSALS: &[(&str, &str, &str)] = &[
    (
        "function-references",
        r#"(module (type $t (func (result i32))) (elem declare func $g)
            (func $g (result i32) (i32.const 1))
            (func (export "f") (result i32) (call_ref $t (ref.func $g))))"#,
        "1\n",
    ),
    (
        "gc",
        r#"(module (type $s (struct (field i32)))
            (func (export "f") (result i32) (struct.get $s 0 (struct.new $s (i32.const 2)))))"#,
        "2\n",
    ),
    (
        "exceptions",
        r#"(module (tag $t (param i32))
            (func (export "f") (result i32)
                (block $caught (result i32)
                    (try_table (catch $t $caught) (throw $t (i32.const 3)))
                    (unreachable))))"#,
        "3\n",
    ),
    (
        "threads",
        r#"(module (memory 1 1 shared)
            (func (export "f") (result i32)
                (i32.atomic.store (i32.const 0) (i32.const 4))
                (i32.atomic.rmw.add (i32.const 0) (i32.const 1))))"#,
        "4\n",
    ),
    (
        "memory64",
        r#"(module (memory i64 1)
            (func (export "f") (result i64) (memory.grow (i64.const 0))))"#,
        "1\n",
    ),
    (
        "custom-page-sizes",
        r#"(module (memory 5 (pagesize 1))
            (func (export "f") (result i32) (memory.size)))"#,
        "5\n",
    ),
    (
        "wide-arithmetic",
        r#"(module (func (export "f") (result i64 i64)
            (i64.mul_wide_u (i64.const -1) (i64.const 7))))"#,
        "-7\n6\n",
    ),
];

#[test]
fn every_proposal_has_its_switch() {
    let sandbox = Sandbox::new();
    for (proposal, module, result) in PROPOSALS {
        sandbox.file("m.wat", module);
        // Some build on others that are off by default.
        for on in [
            "all-proposals".to_string(),
            format!("all-proposals,{proposal}"),
        ] {
            let printed = sandbox
                .run(&format!("run -W {on} --invoke f m.wat"))
                .success();
            assert_eq!(printed, *result, "{proposal}");
        }
        // With what builds on it.
        let off = match *proposal {
            "function-references" => "gc=n,function-references=n".to_string(),
            other => format!("{other}=n"),
        };
        sandbox
            .run(&format!("run -W all-proposals,{off} --invoke f m.wat"))
            .failure(1, &["failed to compile `m.wat`"]);
        let config = sandbox.run(&format!("config -W {off}")).success();
        assert!(
            config.contains(&format!("  {proposal} = n  (given)\n")),
            "{config}"
        );
    }
}

#[test]
fn collectors_do_the_same() {
    let sandbox = Sandbox::new();
    // A list of numbers, and their sum, with garbage between them.
    sandbox.file(
        "list.wat",
        r#"(module
            (type $list (struct (field i32) (field (ref null $list))))
            (func (export "sum") (param $n i32) (result i32)
                (local $list (ref null $list)) (local $sum i32)
                (loop $more
                    (local.set $list (struct.new $list (local.get $n) (local.get $list)))
                    (drop (struct.new $list (i32.const -1) (local.get $list)))
                    (local.set $n (i32.sub (local.get $n) (i32.const 1)))
                    (br_if $more (local.get $n)))
                (loop $next
                    (local.set $sum (i32.add (local.get $sum)
                        (struct.get $list 0 (local.get $list))))
                    (local.set $list (struct.get $list 1 (local.get $list)))
                    (br_if $next (i32.eqz (ref.is_null (local.get $list)))))
                (local.get $sum)))"#,
    );
    for options in [
        "",
        "-C collector=auto",
        "-C collector=copying -D gc-stress",
        "-C collector=drc",
        "-C collector=drc -D gc-stress -O opt-level=none",
        "-C collector=null -O signals-based-traps=n",
    ] {
        let sum = sandbox
            .run(&format!(
                "run -W gc,function-references {options} --invoke sum list.wat 100"
            ))
            .success();
        assert_eq!(sum, "5050\n", "{options}");
    }
}

#[test]
fn without_a_collector_there_are_functions_alone() {
    let sandbox = Sandbox::new();
    sandbox.file(
        "func.wat",
        r#"(module (table 1 funcref)
            (func (export "f") (result i32) (ref.is_null (table.get (i32.const 0)))))"#,
    );
    sandbox.file("extern.wat", "(module (table 1 externref))");
    assert_eq!(
        sandbox
            .run("run -W gc-support=n --invoke f func.wat")
            .success(),
        "1\n"
    );
    sandbox.run("run extern.wat").success();
    sandbox
        .run("run -W gc-support=n extern.wat")
        .failure(1, &["failed to compile `extern.wat`"]);
}

#[test]
fn shown_defaults_of_proposals_are_those_in_effect() {
    let sandbox = Sandbox::new();
    let config = sandbox.run("config").success();
    for (proposal, module, result) in PROPOSALS {
        sandbox.file("m.wat", module);
        let ran = sandbox.run("run --invoke f m.wat");
        if config.contains(&format!("  {proposal} = y\n")) {
            assert_eq!(ran.success(), *result, "{proposal}");
        } else {
            assert!(config.contains(&format!("  {proposal} = n\n")), "{config}");
            ran.failure(1, &["failed to compile `m.wat`"]);
        }
    }
}

#[test]
fn tuning_does_not_change_results() {
    let sandbox = Sandbox::new();
    sandbox.file(
        "sum.wat",
        r#"(module (memory 1) (data (i32.const 8) "\01\02\03")
            (func (export "sum") (param i32) (result i32)
                (i32.add (i32.load8_u (local.get 0)) (i32.load16_u offset=1 (local.get 0)))))"#,
    );
    for options in [
        "-O opt-level=none",
        "-O opt-level=speed-and-size -C cranelift-debug-verifier",
        "-O signals-based-traps=n,memory-reservation=0,memory-guard-size=0",
        "-O memory-reservation=64K,memory-guard-size=64K,memory-reservation-for-growth=0",
        "-O memory-init-cow=n,table-lazy-init=n,guard-before-linear-memory=n",
        "-O pooling-allocator",
        "-O pooling-total-memories=1,pooling-memory-keep-resident=64K,pooling-pagemap-scan=n",
        "-O pooling-memory-protection-keys=auto,pooling-max-memory-size=1M",
        "-C nan-canonicalization,native-unwind-info=n,parallel-compilation=n -D address-map=n",
        "-C parallel-compilation=y -C cranelift-regalloc_checker",
    ] {
        let sum = sandbox
            .run(&format!("run {options} --invoke sum sum.wat 8"))
            .success();
        assert_eq!(sum, "771\n", "{options}");
        sandbox
            .run(&format!("run {options} --invoke sum sum.wat 0x10000"))
            .failure(134, &["out of bounds memory access"]);
    }
}

#[test]
fn pools_limit_what_programs_have() {
    let sandbox = Sandbox::new();
    sandbox.file(
        "large.wat",
        "(module (memory 17) (table 3000 funcref) (global i64 (i64.const 0)))",
    );
    sandbox.run("run -O pooling-allocator large.wat").success();
    for (options, text) in [
        ("pooling-max-memory-size=1M", "max_memory_size"),
        (
            "pooling-max-memories-per-module=0",
            "max_memories_per_module",
        ),
        ("pooling-total-memories=0", "total_memories"),
        ("pooling-table-elements=2999", "table_elements"),
        ("pooling-max-tables-per-module=0", "max_tables_per_module"),
        ("pooling-total-tables=0", "total_tables"),
        (
            "pooling-max-core-instance-size=100",
            "max_core_instance_size",
        ),
        ("pooling-total-core-instances=0", "total_core_instances"),
        ("pooling-total-memories=4G", "total_memories"),
    ] {
        sandbox
            .run(&format!("run -O {options} large.wat"))
            .failure(1, &[&format!("`PoolingAllocationConfig::{text}")]);
        // Unless there is no pool.
        sandbox
            .run(&format!("run -O {options},pooling-allocator=n large.wat"))
            .success();
    }
}

#[test]
fn emit_clif() {
    let sandbox = Sandbox::new();
    sandbox.file("m.wat", r#"(module (func (export "_start")))"#);
    sandbox.run("run -C emit-clif=out/clif m.wat").success();
    let files = std::fs::read_dir(sandbox.path().join("out/clif"))
        .unwrap()
        .count();
    assert!(files > 0);
}

#[test]
fn core_dumps() {
    let sandbox = Sandbox::new();
    let wat = r#"(module (memory 1) (data (i32.const 0) "remains")
        (func (export "_start") unreachable))"#;
    sandbox.file("m.wat", wat);
    sandbox
        .run("run -D coredump=core.%p.wasm m.wat")
        .failure(134, &["unreachable", "wasm core dump: modules: 1"]);
    let dumps: Vec<_> = std::fs::read_dir(sandbox.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.file_name() != Some("m.wat".as_ref()))
        .collect();
    let [dump] = &dumps[..] else {
        panic!("{dumps:?}");
    };
    let name = dump.file_name().unwrap().to_str().unwrap();
    let pid = name.strip_prefix("core.").unwrap().strip_suffix(".wasm");
    assert!(pid.unwrap().parse::<u32>().is_ok(), "{name}");
    let bytes = std::fs::read(dump).unwrap();
    assert!(bytes.starts_with(b"\0asm"));
    for part in ["corestack", "coreinstances", "m.wat", "remains"] {
        assert!(
            bytes.windows(part.len()).any(|w| w == part.as_bytes()),
            "{part}"
        );
    }
    sandbox
        .run("run -D coredump=none/core.wasm m.wat")
        .failure(134, &["failed to write the core dump `none/core.wasm`"]);
}

#[test]
fn debug_info() {
    let sandbox = Sandbox::new();
    sandbox.file("m.wat", r#"(module (func (export "_start")))"#);
    let describes = |options: &str| {
        sandbox
            .run(&format!("compile {options} m.wat -o m.cwasm"))
            .success();
        let artifact = std::fs::read(sandbox.path().join("m.cwasm")).unwrap();
        let section = b".waxwing.gdb";
        artifact.windows(section.len()).any(|w| w == section)
    };
    assert!(describes("-D debug-info"));
    assert!(!describes(""));
}

#[test]
fn logging() {
    let sandbox = Sandbox::new();
    sandbox.file("m.wat", "(module)");
    assert_eq!(sandbox.run("run m.wat").stderr, "");
    assert_eq!(sandbox.run("run -D logging=off m.wat").stderr, "");
    assert_eq!(
        sandbox.run("run -D logging=trace,log-to-files m.wat").code,
        Some(0)
    );
    let is_log = |name: &str| name.starts_with("waxwing.") && name.ends_with(".log");
    let logs = std::fs::read_dir(sandbox.path())
        .unwrap()
        .filter(|entry| is_log(&entry.as_ref().unwrap().file_name().to_string_lossy()))
        .count();
    assert_eq!(logs, 1);
}

#[test]
fn config_shows_what_is_in_effect() {
    let sandbox = Sandbox::new();
    let text = sandbox
        .run("config -O opt-level=none -C cranelift-regalloc_checker")
        .success();
    for line in [
        "  opt-level = none  (given)\n",
        "  cranelift-regalloc_checker = y  (given)\n",
        "  memory-reservation = 4G\n",
        "\nhost ",
    ] {
        assert!(text.contains(line), "no {line:?} in {text}");
    }
    let json = sandbox
        .run("config --json -W tail-call=n,all-proposals=y")
        .success();
    let json: Value = serde_json::from_str(&json).expect("the output is JSON");
    let groups = json["groups"].as_array().unwrap();
    let keys = groups.iter().find(|group| group["option"] == "-W").unwrap()["keys"]
        .as_array()
        .unwrap();
    let value = |key: &str| {
        let key = keys.iter().find(|entry| entry["key"] == key).unwrap();
        (
            key["value"].as_str().unwrap(),
            key["given"].as_bool().unwrap(),
        )
    };
    assert_eq!(value("tail-call"), ("n", true));
    assert_eq!(value("simd"), ("y", true));
    assert_eq!(value("max-wasm-stack"), ("512K", false));
    assert_eq!(json["version"], env!("CARGO_PKG_VERSION"));
    sandbox
        .run("config -W max-wasm-stack=0")
        .failure(1, &["error: "]);
}

#[test]
fn help_and_version_are_successes() {
    let sandbox = Sandbox::new();
    assert_eq!(
        sandbox.run("--version").success(),
        concat!("waxwing ", env!("CARGO_PKG_VERSION"), "\n")
    );
    let help = sandbox.run("--help").success();
    for command in [
        "run",
        "compile",
        "validate",
        "wast",
        "inspect",
        "config",
        "completions",
    ] {
        assert!(
            help.contains(&format!("\n  {command} ")),
            "{command} in {help}"
        );
        assert!(
            sandbox
                .run(&format!("{command} --help"))
                .success()
                .contains("Usage: waxwing")
        );
    }
}

#[test]
fn completions() {
    let sandbox = Sandbox::new();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = sandbox.run(&format!("completions {shell}")).success();
        assert!(
            script.contains("waxwing") && script.contains("allow-precompiled"),
            "{shell}"
        );
    }
    sandbox.run("completions cmd").failure(1, &["cmd"]);
}

#[test]
fn no_colours_away_from_terminals() {
    let sandbox = Sandbox::new();
    for arguments in ["run none.wat", "run --bogus", "--help", "validate none.wat"] {
        let Ran { stdout, stderr, .. } = sandbox.run(arguments);
        assert!(
            !stdout.contains('\x1b') && !stderr.contains('\x1b'),
            "{arguments}"
        );
    }
}

#[test]
fn compiled_modules_are_kept_when_asked_for() {
    let sandbox = Sandbox::new();
    sandbox.file(
        "f.wat",
        r#"(module (func (export "f") (result i32) i32.const 5))"#,
    );
    let directory = sandbox.path().join("kept");
    let config = format!("[cache]\ndirectory = '{}'\n", directory.display());
    sandbox.file("cache.toml", config);
    let entries = |directory: &std::path::Path| {
        let list = std::fs::read_dir(directory.join("v1"))
            .into_iter()
            .flatten();
        list.filter(|file| file.as_ref().unwrap().path().extension().is_some())
            .count()
    };
    let home = sandbox.path().join("home");
    let run = |options: &str| {
        let mut command = sandbox.waxwing(&format!("run {options} --invoke f f.wat"));
        command
            .env("HOME", &home)
            .env("XDG_CACHE_HOME", home.join("cache"))
            .env("XDG_CONFIG_HOME", home.join("config"));
        assert_eq!(Ran::from(command.output().unwrap()).success(), "5\n");
    };
    run("");
    run("-C cache=n,cache-config=cache.toml");
    assert!(!directory.exists() && !home.exists());
    run("-C cache-config=cache.toml");
    run("-C cache,cache-config=cache.toml");
    assert_eq!(entries(&directory), 1);
    run("-C cache-config=cache.toml -O opt-level=none");
    assert_eq!(entries(&directory), 2);
    run("-C cache");
    #[cfg(target_os = "linux")]
    assert_eq!(entries(&home.join("cache/waxwing")), 1);

    // The user's own configuration.
    let elsewhere = sandbox.path().join("elsewhere");
    let config = format!("[cache]\ndirectory = '{}'\n", elsewhere.display());
    sandbox.file("home/config/waxwing/config.toml", config);
    run("-C cache");
    #[cfg(target_os = "linux")]
    assert_eq!(entries(&elsewhere), 1);

    sandbox
        .run("run -C cache-config=none.toml f.wat")
        .failure(1, &["`-C cache-config`", "none.toml"]);
    sandbox.file("bad.toml", "[cache]\ndirectory = 5");
    sandbox
        .run("run -C cache-config=bad.toml f.wat")
        .failure(1, &["bad.toml", "directory"]);
}
