//! Whether this host can run code that was compiled with given settings.

use crate::Result;
use crate::config::DetectHostFeature;
use anyhow::{bail, ensure};
use target_lexicon::Triple;
use waxwing_environ::artifact::FlagValue;
use waxwing_environ::{bytecode_for_host, is_bytecode};

macro_rules! detect {
    ($arch:literal $is_detected:ident $name:ident: $($feature:tt)*) => {{
        #[cfg(target_arch = $arch)]
        {
            $(if $name == $feature {
                return Some(std::arch::$is_detected!($feature));
            })*
        }
    }};
}

/// Detects features of the processor by the Rust standard library.
pub(crate) fn detect_host_feature(name: &str) -> Option<bool> {
    detect!("x86_64" is_x86_feature_detected name:
        "sse3" "ssse3" "cmpxchg16b" "sse4.1" "sse4.2" "avx" "avx2" "fma" "avxvnni"
        "avx512bitalg" "avx512dq" "avx512vl" "avx512vbmi" "avx512f" "avx512vnni" "popcnt"
        "bmi1" "bmi2" "lzcnt");
    detect!("aarch64" is_aarch64_feature_detected name:
        "lse" "paca" "pacg" "fp16" "bti" "dotprod" "i8mm");
    None
}

/// What Cranelift's switches of target features stand for, by the Rust standard library's names.
const FEATURES: &[(&str, &str)] = &[
    ("has_sse3", "sse3"),
    ("has_ssse3", "ssse3"),
    ("has_cmpxchg16b", "cmpxchg16b"),
    ("has_sse41", "sse4.1"),
    ("has_sse42", "sse4.2"),
    ("has_avx", "avx"),
    ("has_avx2", "avx2"),
    ("has_fma", "fma"),
    ("has_avx_vnni", "avxvnni"),
    ("has_avx512bitalg", "avx512bitalg"),
    ("has_avx512dq", "avx512dq"),
    ("has_avx512vl", "avx512vl"),
    ("has_avx512vbmi", "avx512vbmi"),
    ("has_avx512f", "avx512f"),
    ("has_avx512vnni", "avx512vnni"),
    ("has_popcnt", "popcnt"),
    ("has_bmi1", "bmi1"),
    ("has_bmi2", "bmi2"),
    ("has_lzcnt", "lzcnt"),
    ("has_lse", "lse"),
    ("has_pauth", "paca"),
    ("has_fp16", "fp16"),
    ("has_dotprod", "dotprod"),
    ("has_i8mm", "i8mm"),
];

/// Switches of a target that need no feature: their instructions do nothing on processors that do
/// not know them.
const HINTS: &[&str] = &[
    "sign_return_address",
    "sign_return_address_all",
    "sign_return_address_with_bkey",
    "use_bti",
    "use_csdb",
];

/// Settings of every target with the values that the runtime relies on.
const REQUIRED: &[(&str, &str)] = &[
    ("is_pic", "true"),
    ("preserve_frame_pointers", "true"),
    ("enable_multi_ret_implicit_sret", "true"),
    ("enable_probestack", "true"),
    ("probestack_strategy", "inline"),
    ("libcall_call_conv", "isa_default"),
    ("stack_switch_model", "none"),
    ("tls_model", "none"),
];

/// Fails unless `target` is a platform whose code this process can run.
pub(super) fn check_target(target: &Triple) -> Result<()> {
    if is_bytecode(target) {
        ensure!(
            cfg!(feature = "pulley"),
            "compiled for {target}, for which this build has no interpreter: it needs the Cargo feature `pulley`"
        );
        let portable = bytecode_for_host();
        ensure!(
            target.architecture == portable.architecture,
            "compiled for the architecture {}, but this host interprets {}",
            target.architecture,
            portable.architecture
        );
        return Ok(());
    }
    let host = Triple::host();
    ensure!(
        target.architecture == host.architecture,
        "compiled for the architecture {}, but this host is {}",
        target.architecture,
        host.architecture
    );
    ensure!(
        target.operating_system == host.operating_system,
        "compiled for the operating system {}, but this host is {}",
        target.operating_system,
        host.operating_system
    );
    Ok(())
}

/// Fails unless code with these settings, which do not depend on the target, keeps to what the
/// runtime relies on. `fuel_register` says whether code keeps fuel in the pinned
/// register, as machine code that consumes fuel does.
pub(super) fn check_shared_flags(flags: &[(String, FlagValue)], fuel_register: bool) -> Result<()> {
    let pinned_reg = (
        "enable_pinned_reg",
        if fuel_register { "true" } else { "false" },
    );
    for (name, required) in REQUIRED.iter().chain([&pinned_reg]) {
        let found = flags.iter().find(|(flag, _)| flag == name);
        let value = found.map(|(_, value)| display(value));
        ensure!(
            value.as_deref() == Some(required),
            "compiled with the setting `{name}` as {}, but the engine needs {required}",
            value.as_deref().unwrap_or("nothing")
        );
    }
    Ok(())
}

/// Fails unless the host's processor has every feature that is on.
pub(super) fn check_isa_flags(
    flags: &[(String, FlagValue)],
    detect: DetectHostFeature,
) -> Result<()> {
    for (name, value) in flags {
        match value {
            FlagValue::Bool(false) => {}
            FlagValue::Bool(true) if HINTS.contains(&name.as_str()) => {}
            FlagValue::Bool(true) => {
                let Some((_, feature)) = FEATURES.iter().find(|(flag, _)| flag == name) else {
                    bail!("compiled with the setting `{name}`, which this engine does not know");
                };
                match detect(feature) {
                    Some(true) => {}
                    Some(false) => bail!(
                        "compiled for processors with `{feature}` (setting `{name}`), which this \
                         host's does not have"
                    ),
                    None => bail!(
                        "compiled for processors with `{feature}` (setting `{name}`), and whether \
                         this host's has it is not known"
                    ),
                }
            }
            FlagValue::Enum(_) | FlagValue::Num(_) => bail!(
                "compiled with the setting `{name}` as {}, which this engine does not know",
                display(value)
            ),
        }
    }
    Ok(())
}

fn display(value: &FlagValue) -> String {
    match value {
        FlagValue::Enum(name) => name.clone(),
        FlagValue::Num(number) => number.to_string(),
        FlagValue::Bool(on) => on.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on(name: &str) -> Vec<(String, FlagValue)> {
        vec![(name.to_string(), FlagValue::Bool(true))]
    }

    #[test]
    fn every_feature_is_detectable_on_its_architecture() {
        let here = FEATURES
            .iter()
            .filter(|(_, feature)| detect_host_feature(feature).is_some());
        let expected = match std::env::consts::ARCH {
            "x86_64" => 19,
            "aarch64" => 5,
            _ => 0,
        };
        assert_eq!(here.count(), expected);
        assert_eq!(detect_host_feature("no-such-feature"), None);
    }

    #[test]
    fn features_of_the_processor_are_looked_up() {
        let error = |detect| {
            check_isa_flags(&on("has_avx2"), detect)
                .unwrap_err()
                .to_string()
        };
        assert!(error(|_| Some(false)).contains("`avx2`"));
        assert!(error(|_| None).contains("not known"));
        check_isa_flags(&on("has_avx2"), |name| Some(name == "avx2")).unwrap();
        assert!(check_isa_flags(&on("has_levitation"), |_| Some(true)).is_err());
        check_isa_flags(&on("use_csdb"), |_| None).unwrap();
    }

    #[test]
    fn other_platforms_are_refused() {
        check_target(&Triple::host()).unwrap();
        let mut other = Triple::host();
        other.operating_system = target_lexicon::OperatingSystem::Wasi;
        let error = check_target(&other).unwrap_err().to_string();
        assert!(error.contains("operating system wasi"), "{error}");
    }
}
