//! `waxwing settings`: what the code generator can be told, and what it is told.

use crate::options::GroupArgs;
use crate::output;
use anyhow::{Result, anyhow};
use object::{Object, ObjectSection};
use serde::Serialize;
use std::fmt::Write;
use std::process::ExitCode;
use waxwing_cranelift::{CompilerBuilder, SettingGroup};
use waxwing_environ::artifact::{ArtifactHeader, FlagValue, SECTION_ENGINE};

/// Show the code generator's settings for this host, or for the target of `-C target`
///
/// Each can be changed by `-C cranelift-NAME=VALUE`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    groups: GroupArgs,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Shown {
    target: String,
    /// Settings of every target.
    shared: Vec<Setting>,
    /// Settings of this target: what its processor has, for the most part.
    target_settings: Vec<Setting>,
    /// Groups of the target's settings, by which many are switched on at once.
    presets: Vec<Preset>,
}

#[derive(Serialize)]
struct Setting {
    name: &'static str,
    value: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    values: Option<&'static [&'static str]>,
    description: &'static str,
}

#[derive(Serialize)]
struct Preset {
    name: &'static str,
    description: &'static str,
}

impl Args {
    pub fn execute(self) -> Result<ExitCode> {
        let mut settings = self.groups.settings()?;
        // What an artifact says of itself is what its code was generated with.
        let artifact = settings.engine(0)?.precompile_module(b"\0asm\x01\0\0\0")?;
        let header = header(&artifact).ok_or_else(|| anyhow!("an artifact has no header"))?;
        let target = header.target.parse().map_err(|error| anyhow!("{error}"))?;
        let shown = Shown::new(&header, CompilerBuilder::new(Some(target))?);
        if self.json {
            output::print(serde_json::to_string_pretty(&shown)? + "\n")?;
        } else {
            output::print(text(&shown))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn header(artifact: &[u8]) -> Option<ArtifactHeader> {
    let object = object::File::parse(artifact).ok()?;
    let section = object.section_by_name(SECTION_ENGINE)?;
    postcard::from_bytes(section.data().ok()?).ok()
}

impl Shown {
    fn new(header: &ArtifactHeader, builder: CompilerBuilder) -> Shown {
        let mut shown = Shown {
            target: header.target.clone(),
            shared: Vec::new(),
            target_settings: Vec::new(),
            presets: Vec::new(),
        };
        for setting in builder.settings() {
            let (name, description) = (setting.name, setting.description);
            if setting.is_preset {
                shown.presets.push(Preset { name, description });
                continue;
            }
            let (list, flags) = match setting.group {
                SettingGroup::Shared => (&mut shown.shared, &header.shared_flags),
                SettingGroup::Target => (&mut shown.target_settings, &header.isa_flags),
            };
            let value = flags.iter().find(|(flag, _)| flag == name);
            list.push(Setting {
                name,
                value: value.map_or_else(String::new, |(_, value)| display(value)),
                values: setting.values.filter(|values| !values.is_empty()),
                description,
            });
        }
        shown
    }
}

fn display(value: &FlagValue) -> String {
    match value {
        FlagValue::Enum(name) => name.clone(),
        FlagValue::Num(number) => number.to_string(),
        FlagValue::Bool(on) => on.to_string(),
    }
}

fn text(shown: &Shown) -> String {
    let mut text = format!("target {}\n", shown.target);
    for (title, settings) in [
        ("Settings of this target", &shown.target_settings),
        ("Settings of every target", &shown.shared),
    ] {
        let _ = writeln!(text, "\n{title}");
        for setting in settings {
            let Setting { name, value, .. } = setting;
            let _ = write!(text, "  {name} = {value}");
            if let Some(values) = setting.values {
                let _ = write!(text, "  ({})", values.join(", "));
            }
            let _ = writeln!(text, "\n      {}", setting.description);
        }
    }
    let _ = writeln!(text, "\nPresets, by which many settings are switched on");
    for Preset { name, description } in &shown.presets {
        let _ = writeln!(text, "  {name}: {description}");
    }
    text
}
