//! Cranelift's settings: our defaults, what must not be changed, and what a build ended up with.

use anyhow::{Result, bail};
use cranelift_codegen::isa::TargetIsa;
use cranelift_codegen::settings::{self, Configurable, SettingKind, Value};
use waxwing_environ::artifact::FlagValue;

/// Settings that differ from Cranelift's defaults.
const DEFAULTS: &[(&str, &str)] = &[
    ("opt_level", "speed"),
    ("is_pic", "true"),
    ("preserve_frame_pointers", "true"),
    ("unwind_info", "true"),
    ("enable_verifier", "false"),
    // Where blocks are, to place loops.
    ("machine_code_cfg_info", "true"),
    // Results that do not fit in registers go through memory of the caller.
    ("enable_multi_ret_implicit_sret", "true"),
    // Touch every page of a big frame, so that none can jump over a guard page.
    ("enable_probestack", "true"),
    ("probestack_strategy", "inline"),
];

/// Settings that the runtime relies on, with the value that they must have.
const REQUIRED: &[(&str, &str)] = &[
    ("is_pic", "true"),
    ("preserve_frame_pointers", "true"),
    ("enable_multi_ret_implicit_sret", "true"),
    ("enable_probestack", "true"),
    ("probestack_strategy", "inline"),
    ("libcall_call_conv", "isa_default"),
    ("tls_model", "none"),
    ("stack_switch_model", "none"),
];

/// A builder with our defaults.
pub(crate) fn shared_builder() -> settings::Builder {
    let mut builder = settings::builder();
    for (name, value) in DEFAULTS {
        builder
            .set(name, value)
            .expect("the defaults name settings that exist");
    }
    builder
}

/// Refuses settings by which generated code would break the contract with the runtime. `fuel_register` says whether
/// code keeps fuel in the pinned register.
pub(crate) fn check_required(isa: &dyn TargetIsa, fuel_register: bool) -> Result<()> {
    let pinned_reg = (
        "enable_pinned_reg",
        if fuel_register { "true" } else { "false" },
    );
    for (name, required) in REQUIRED.iter().chain([&pinned_reg]) {
        let found = isa.flags().iter().find(|value| value.name == *name);
        if let Some(value) = found.map(|value| value.value_string())
            && value != *required
        {
            bail!(
                "the Cranelift setting `{name}` is {value}, but the engine requires {required}: \
                 leave it out"
            );
        }
    }
    Ok(())
}

/// The values of settings in the form that artifacts record, sorted by name.
pub(crate) fn recorded(values: impl IntoIterator<Item = Value>) -> Vec<(String, FlagValue)> {
    let mut flags: Vec<_> = values
        .into_iter()
        .filter_map(|value| {
            let recorded = match value.kind() {
                SettingKind::Enum => FlagValue::Enum(value.as_enum()?.to_string()),
                SettingKind::Num => FlagValue::Num(value.as_num()?),
                SettingKind::Bool => FlagValue::Bool(value.as_bool()?),
                SettingKind::Preset => return None,
            };
            Some((value.name.to_string(), recorded))
        })
        .collect();
    flags.sort_by(|(a, _), (b, _)| a.cmp(b));
    flags
}
