use crate::options::{Apply, Assignments, GroupArgs};
use crate::output;
use anyhow::Result;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::process::ExitCode;

/// Show the configuration that the given options make
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    groups: GroupArgs,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// The configuration, in the order in which it is printed.
#[derive(Serialize)]
struct Shown {
    version: &'static str,
    host: String,
    groups: Vec<ShownGroup>,
}

#[derive(Serialize)]
struct ShownGroup {
    option: String,
    title: &'static str,
    keys: Vec<ShownKey>,
}

#[derive(Serialize)]
struct ShownKey {
    key: String,
    value: String,
    /// Whether an option says so; otherwise it is the default.
    given: bool,
}

impl Args {
    pub fn execute(self) -> Result<ExitCode> {
        // What is shown must be something that works.
        self.groups.settings()?.engine(usize::MAX)?;
        let shown = self.show();
        if self.json {
            output::print(serde_json::to_string_pretty(&shown)? + "\n")?;
        } else {
            output::print(text(&shown))?;
        }
        Ok(ExitCode::SUCCESS)
    }

    fn show(&self) -> Shown {
        let groups = self.groups.given().map(|(group, given)| {
            let given = Assignments::in_table_order(given);
            let values: BTreeMap<&str, &str> =
                given.iter().map(|one| (one.key(), one.value())).collect();
            let all_proposals = values.get("all-proposals").copied();
            let listed = group.rows.iter().map(|row| {
                let implied = match row.apply {
                    Apply::Proposal(_) => all_proposals,
                    _ => None,
                };
                let value = values.get(row.key).copied().or(implied);
                ShownKey {
                    key: row.key.to_string(),
                    value: value.unwrap_or(row.default).to_string(),
                    given: value.is_some(),
                }
            });
            let others = given
                .iter()
                .filter(|one| !one.is_listed())
                .map(|one| ShownKey {
                    key: one.key().to_string(),
                    value: one.value().to_string(),
                    given: true,
                });
            ShownGroup {
                option: format!("-{}", group.letter),
                title: group.title,
                keys: listed.chain(others).collect(),
            }
        });
        Shown {
            version: env!("CARGO_PKG_VERSION"),
            host: target_lexicon::HOST.to_string(),
            groups: groups.collect(),
        }
    }
}

fn text(shown: &Shown) -> String {
    let mut text = format!("waxwing {}\nhost {}\n", shown.version, shown.host);
    for group in &shown.groups {
        let _ = writeln!(text, "\n{} ({})", group.title, group.option);
        for ShownKey { key, value, given } in &group.keys {
            let mark = if *given { "  (given)" } else { "" };
            let _ = writeln!(text, "  {key} = {value}{mark}");
        }
    }
    text
}
