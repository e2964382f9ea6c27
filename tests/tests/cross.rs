//! Compiling ahead of time for other architectures: the modules of the official suites, which the host cannot run.

#![cfg(feature = "all-arch")]

use rayon::prelude::*;
use waxwing::{Config, Engine, Module, OptLevel, Precompiled};
use waxwing_tests::{corpus, engines};

const TARGETS: [&str; 4] = [
    "aarch64-unknown-linux-gnu",
    "riscv64gc-unknown-linux-gnu",
    "s390x-unknown-linux-gnu",
    "x86_64-unknown-linux-gnu",
];

fn engine(target: &str, parallel: bool) -> Engine {
    let mut config = engines::config();
    config
        .target(target)
        .expect("the target is part of the build")
        .cranelift_opt_level(OptLevel::Speed)
        .parallel_compilation(parallel);
    if target.starts_with("riscv64") {
        // SAFETY: what is compiled is not run.
        unsafe { config.cranelift_flag_enable("has_v") };
    }
    if target.starts_with("x86_64") {
        // SAFETY: as above. The least processor lacks what vectors need.
        unsafe { config.cranelift_flag_enable("x86-64-v3") };
    }
    Engine::new(&config).expect("the engine can be made")
}

#[test]
fn the_suites_compile_for_every_architecture() {
    let modules = corpus::modules(64 << 10);
    assert!(modules.len() > 1_000);
    let host = Engine::new(&engines::config()).expect("the host's engine can be made");
    for target in TARGETS {
        let (engine, other) = (engine(target, false), engine(target, true));
        let is_host = target.starts_with(std::env::consts::ARCH) && cfg!(target_os = "linux");
        let failed: Vec<String> = modules
            .par_iter()
            .filter_map(|wasm| {
                // What the suites have beyond the engine's proposals compiles for no target.
                host.precompile_module(wasm).ok()?;
                let artifact = match engine.precompile_module(wasm) {
                    Ok(artifact) => artifact,
                    Err(error) => return Some(format!("{error:#}")),
                };
                assert_eq!(
                    engine.detect_precompiled(&artifact),
                    Some(Precompiled::Module)
                );
                let again = other.precompile_module(wasm).expect("it compiled before");
                assert!(
                    artifact == again,
                    "{target}: the same bytes on any number of threads"
                );
                if !is_host {
                    // SAFETY: it is this engine's artifact.
                    let loaded = unsafe { Module::deserialize(&host, &artifact) };
                    let error = format!("{:#}", loaded.map(|_| ()).unwrap_err());
                    if !error.contains("compile the module for it") {
                        return Some(format!("loading: {error}"));
                    }
                }
                None
            })
            .collect();
        println!(
            "{target}: {} modules, {} failed",
            modules.len(),
            failed.len()
        );
        assert!(failed.is_empty(), "{target}: {failed:#?}");
        if !is_host {
            let error = Module::new(&engine, "(module)").map(|_| ()).unwrap_err();
            let error = format!("{error:#}");
            assert!(
                error.contains("this engine's code cannot run on this host")
                    && error.contains("architecture"),
                "{error}"
            );
        }
    }
}

#[test]
fn targets_that_cannot_be_are_refused() {
    for target in [
        "armv7-unknown-linux-gnueabi",
        "wasm32-unknown-unknown",
        "no target",
    ] {
        let error = Config::new().target(target).map(|_| ()).unwrap_err();
        let error = format!("{error:#}");
        assert!(error.contains(target.split('-').next().unwrap()), "{error}");
    }
}
