//! Tests of options, alone and together.

use super::*;
use crate::Engine;

/// The error of an engine with a changed default configuration.
fn error(change: impl FnOnce(&mut Config) -> &mut Config) -> String {
    let mut config = Config::new();
    change(&mut config);
    format!("{:#}", Engine::new(&config).unwrap_err())
}

fn accepted(change: impl FnOnce(&mut Config) -> &mut Config) -> Engine {
    let mut config = Config::new();
    change(&mut config);
    Engine::new(&config).unwrap()
}

#[test]
fn contradictions_are_named() {
    assert!(error(|c| c.max_wasm_stack(0)).contains("max_wasm_stack(0)"));
    let message = error(|c| c.wasm_simd(false));
    assert!(message.contains("wasm_relaxed_simd") && message.contains("wasm_simd"));
    accepted(|c| c.wasm_simd(false).wasm_relaxed_simd(false));
    let message = error(|c| c.memory_reservation(u64::MAX));
    assert!(message.contains("memory_reservation"), "{message}");
    assert!(error(|c| c.memory_guard_size(1 << 62)).contains("address space"));
}

#[cfg(all(feature = "gc", feature = "threads"))]
#[test]
fn reference_types_and_threads_need_bulk_memory() {
    let message = error(|c| c.wasm_bulk_memory(false));
    assert!(message.contains("wasm_reference_types"), "{message}");
    let message = error(|c| c.wasm_bulk_memory(false).wasm_reference_types(false));
    assert!(message.contains("wasm_threads"), "{message}");
    accepted(|c| {
        c.wasm_bulk_memory(false)
            .wasm_reference_types(false)
            .wasm_threads(false)
    });
}

#[test]
fn sizes_are_rounded_to_pages() {
    let engine = accepted(|c| c.memory_reservation(1).memory_guard_size(0));
    let tunables = engine.tunables();
    assert_eq!(tunables.memory_reservation, tunables.page_align);
    assert_eq!(tunables.memory_guard_size, 0);
}

#[test]
fn defaults_are_the_documented_ones() {
    let engine = Engine::default();
    let tunables = engine.tunables();
    assert_eq!(tunables.memory_reservation, 4 << 30);
    assert_eq!(tunables.memory_guard_size, 2 << 30);
    assert_eq!(tunables.memory_reservation_for_growth, 2 << 30);
    assert!(tunables.memory_may_move && tunables.guard_before_linear_memory);
    assert!(tunables.memory_init_cow && tunables.table_lazy_init);
    assert!(tunables.generate_address_map && tunables.signals_based_traps);
    assert!(!tunables.relaxed_simd_deterministic);
    assert_eq!(tunables.memory_guaranteed_dense_image_size, 16 << 20);
    assert_eq!(engine.config().max_wasm_stack, 512 << 10);
}

#[test]
#[expect(deprecated, reason = "the former names still act")]
fn former_names_set_the_same() {
    let mut config = Config::new();
    config
        .static_memory_maximum_size(1 << 20)
        .static_memory_forced(true);
    config
        .static_memory_guard_size(2 << 20)
        .dynamic_memory_guard_size(1 << 20);
    config.dynamic_memory_reserved_for_growth(3 << 20);
    assert_eq!(config.memory.reservation, 1 << 20);
    assert!(!config.memory.may_move);
    assert_eq!(config.memory.guard_size, 2 << 20);
    assert_eq!(config.memory.reservation_for_growth, 3 << 20);
    config.dynamic_memory_guard_size(4 << 20);
    assert_eq!(config.memory.guard_size, 4 << 20);
}

#[test]
fn versions_have_a_length() {
    let mut config = Config::new();
    let version = |len| ModuleVersionStrategy::Custom("v".repeat(len));
    assert!(config.module_version(version(256)).is_err());
    assert!(config.module_version(version(255)).is_ok());
    assert_eq!(config.module_version.as_str().len(), 255);
}

#[cfg(all(feature = "cranelift", not(feature = "wmemcheck")))]
#[test]
fn checks_of_memory_errors_take_a_cargo_feature() {
    let message = error(|config| config.wmemcheck(true));
    assert!(message.contains("Cargo feature `wmemcheck`"), "{message}");
    accepted(|config| config.wmemcheck(false));
}

#[cfg(feature = "cranelift")]
mod compiler {
    use super::*;

    fn flag(name: &str, value: &str) -> Config {
        let mut config = Config::new();
        // SAFETY: nothing is run.
        unsafe { config.cranelift_flag_set(name, value) };
        config
    }

    fn flag_error(config: &Config) -> String {
        format!("{:#}", Engine::new(config).unwrap_err())
    }

    #[test]
    fn settings_are_checked() {
        assert!(flag_error(&flag("no_such_flag", "true")).contains("`no_such_flag`"));
        let message = flag_error(&flag("opt_level", "ludicrous"));
        assert!(message.contains("`opt_level`") && message.contains("`ludicrous`"));
        let message = flag_error(&flag("preserve_frame_pointers", "false"));
        assert!(message.contains("preserve_frame_pointers"), "{message}");
        let mut config = Config::new();
        // SAFETY: nothing is run.
        unsafe { config.cranelift_flag_enable("no_such_preset") };
        assert!(flag_error(&config).contains("`no_such_preset`"));
    }

    #[test]
    fn unwind_information_has_one_answer() {
        let mut config = flag("unwind_info", "false");
        assert!(Engine::new(&config).is_ok());
        config.native_unwind_info(true);
        assert!(flag_error(&config).contains("contradicts"));
        config.native_unwind_info(false);
        assert!(Engine::new(&config).is_ok());
    }

    #[test]
    fn explicit_checks_exclude_mitigations_that_fault() {
        let engine = accepted(|c| c.signals_based_traps(false));
        let flags = engine.compiler().shared_flags();
        let off = waxwing_environ::artifact::FlagValue::Bool(false);
        let mitigation = "enable_heap_access_spectre_mitigation".to_string();
        assert!(flags.contains(&(mitigation.clone(), off)));
        let mut config = flag(&mitigation, "true");
        assert!(Engine::new(&config).is_ok());
        config.signals_based_traps(false);
        assert!(flag_error(&config).contains("signals_based_traps(true)"));
        assert!(Engine::new(flag(&mitigation, "no").signals_based_traps(false)).is_ok());
    }

    #[test]
    fn targets_are_parsed_and_drop_settings_of_the_former() {
        let mut config = Config::new();
        let message = config.target("not a triple").unwrap_err().to_string();
        assert!(message.contains("`not a triple`"), "{message}");
        let message = config.target("sparc64-unknown-linux-gnu").unwrap_err();
        assert!(message.to_string().contains("sparc64"), "{message}");
        let host = Triple::host().to_string();
        if host.starts_with("x86_64") {
            // SAFETY: nothing is run.
            unsafe {
                config.cranelift_flag_set("has_avx", "true");
                config.cranelift_flag_set("opt_level", "speed");
            }
            config.target(&host).unwrap();
            let kept: Vec<&str> = config
                .compiler
                .flags
                .iter()
                .map(|(n, _)| n.as_str())
                .collect();
            assert_eq!(kept, ["opt_level"]);
            Engine::new(&config).unwrap();
        }
    }
}
