//! Tests of engines.

use super::*;
use std::hash::{DefaultHasher, Hash, Hasher};
use waxwing_environ::artifact::{ELF_FLAGS_COMPONENT, ELF_FLAGS_MODULE, ELF_OS_ABI};

fn compatibility(config: &Config) -> u64 {
    let engine = Engine::new(config).unwrap();
    let mut hasher = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    hasher.finish()
}

#[test]
fn weak_handles_do_not_keep_engines() {
    let engine = Engine::default();
    let weak = engine.weak();
    assert!(Engine::same(&engine, &weak.upgrade().unwrap()));
    drop(engine);
    assert!(weak.upgrade().is_none());
}

#[test]
fn compatible_engines_hash_alike() {
    let default = compatibility(&Config::new());
    assert_eq!(default, compatibility(&Config::new()));
    assert_eq!(
        default,
        compatibility(Config::new().max_wasm_stack(1 << 20))
    );
    for other in [
        Config::new().memory_guard_size(0),
        Config::new().wasm_tail_call(false),
        Config::new()
            .module_version(crate::ModuleVersionStrategy::None)
            .unwrap(),
        Config::new().relaxed_simd_deterministic(true),
    ] {
        assert_ne!(default, compatibility(other), "{other:?}");
    }
}

#[test]
fn artifacts_are_told_by_their_header() {
    let engine = Engine::default();
    let mut header = [0; 64];
    header[..4].copy_from_slice(b"\x7fELF");
    (header[4], header[5], header[7]) = (2, 1, ELF_OS_ABI);
    header[48..52].copy_from_slice(&ELF_FLAGS_MODULE.to_le_bytes());
    assert_eq!(
        engine.detect_precompiled(&header),
        Some(Precompiled::Module)
    );
    header[48..52].copy_from_slice(&ELF_FLAGS_COMPONENT.to_le_bytes());
    assert_eq!(
        engine.detect_precompiled(&header),
        Some(Precompiled::Component)
    );
    assert_eq!(engine.detect_precompiled(&header[..63]), None);
    header[7] = 0;
    assert_eq!(engine.detect_precompiled(&header), None);
    assert_eq!(engine.detect_precompiled(b"\0asm\x01\0\0\0"), None);

    let file = tempfile::NamedTempFile::new().unwrap();
    header[7] = ELF_OS_ABI;
    std::fs::write(file.path(), header).unwrap();
    let found = engine.detect_precompiled_file(file.path()).unwrap();
    assert_eq!(found, Some(Precompiled::Component));
    let error = engine.detect_precompiled_file("/no/such/file").unwrap_err();
    assert!(error.to_string().contains("`/no/such/file`"));
}

#[cfg(feature = "cranelift")]
#[test]
fn engines_for_other_platforms_compile_and_do_not_run() {
    let other = match std::env::consts::OS {
        "linux" => "x86_64-pc-windows-msvc",
        _ => "x86_64-unknown-linux-gnu",
    };
    let mut config = Config::new();
    if config.target(other).is_err() {
        return;
    }
    let engine = Engine::new(&config).unwrap();
    let wasm = b"\0asm\x01\0\0\0";
    let artifact = engine.precompile_module(wasm).unwrap();
    assert_eq!(
        engine.detect_precompiled(&artifact),
        Some(Precompiled::Module)
    );
    #[cfg(feature = "runtime")]
    {
        let error = format!("{:#}", crate::Module::new(&engine, wasm).unwrap_err());
        assert!(error.contains("operating system"), "{error}");
    }
}
