//! From `key=value,key` to rows of a group's table.

use super::{Apply, Group, Passthrough, Settings};
use anyhow::Result;
use clap::builder::TypedValueParser;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, Command};
use std::ffi::OsStr;
use std::fmt;
use std::time::Duration;
use waxwing::Config;

/// Parses the value of a group's option; `help` prints the group's table.
#[derive(Clone)]
pub struct GroupParser(pub &'static Group);

impl TypedValueParser for GroupParser {
    type Value = Assignments;

    fn parse_ref(
        &self,
        command: &Command,
        _: Option<&Arg>,
        value: &OsStr,
    ) -> Result<Assignments, clap::Error> {
        let group = self.0;
        let fail = |kind, text: String| clap::Error::raw(kind, text).with_cmd(command);
        let Some(text) = value.to_str() else {
            let text = format!("the value of `-{}` is not UTF-8\n", group.letter);
            return Err(fail(ErrorKind::InvalidUtf8, text));
        };
        if text.split(',').any(|item| item == "help") {
            // Not an error, but the way out of parsing that ignores missing arguments.
            let mut help = clap::Error::new(ErrorKind::DisplayHelp);
            help.insert(ContextKind::Custom, ContextValue::String(group.help()));
            return Err(help);
        }
        Assignments::parse(group, text).map_err(|message| {
            let letter = group.letter;
            let text = format!("`-{letter} {text}`: {message}; `-{letter} help` lists the keys\n");
            fail(ErrorKind::InvalidValue, text)
        })
    }
}

/// What one use of a group's option asks for.
#[derive(Clone)]
pub struct Assignments(Vec<Assignment>);

/// A key, its value, and what they do.
#[derive(Clone)]
pub struct Assignment {
    /// The row's index in the group's table, or `None` for a passthrough.
    row: Option<usize>,
    key: String,
    /// The value as it was given.
    text: Option<String>,
    effect: Effect,
}

/// A row's function with the value that it takes.
#[derive(Clone)]
enum Effect {
    Flag(fn(&mut Settings, bool), bool),
    Proposal(fn(&mut Config, bool), bool),
    Size(fn(&mut Settings, u64), u64),
    Time(fn(&mut Settings, Duration), Duration),
    Choice(fn(&mut Settings)),
    Text(fn(&mut Settings, &str) -> Result<()>, String),
    OptionalText(fn(&mut Settings, Option<&str>), Option<String>),
    Passthrough {
        to: &'static Passthrough,
        rest: String,
        value: Option<String>,
    },
}

impl Assignments {
    /// Parses `key[=value][,key[=value]…]`.
    pub fn parse(group: &'static Group, text: &str) -> Result<Assignments, String> {
        let items = text.split(',').map(|item| Assignment::parse(group, item));
        items.collect::<Result<_, _>>().map(Assignments)
    }

    /// The assignments in the order of the group's table, so that keys which
    /// others build on come first; of equal keys in the order in which they
    /// were given, so that the last one wins.
    pub fn in_table_order(given: &[Assignments]) -> Vec<&Assignment> {
        let mut all: Vec<&Assignment> = given.iter().flat_map(|one| &one.0).collect();
        all.sort_by_key(|assignment| assignment.row.unwrap_or(usize::MAX));
        all
    }
}

impl Assignment {
    fn parse(group: &'static Group, item: &str) -> Result<Assignment, String> {
        let (key, text) = match item.split_once('=') {
            Some((key, value)) => (key, Some(value)),
            None => (item, None),
        };
        let row = group.rows.iter().position(|row| row.key == key);
        let effect = match row {
            Some(row) => Effect::of_row(&group.rows[row].apply, text)
                .map_err(|message| format!("`{key}` {message}"))?,
            None => Effect::of_passthrough(group, key, text).ok_or_else(|| unknown(group, key))?,
        };
        Ok(Assignment {
            row,
            key: key.to_string(),
            text: text.map(str::to_string),
            effect,
        })
    }

    /// The key as it was given.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Whether the key is in the group's table.
    pub fn is_listed(&self) -> bool {
        self.row.is_some()
    }

    /// The value as it was given, or what its absence means.
    pub fn value(&self) -> &str {
        match (&self.text, &self.effect) {
            (Some(text), _) => text,
            (None, Effect::OptionalText(..)) => "",
            (None, _) => "y",
        }
    }

    /// Does what was asked for.
    pub fn apply(&self, settings: &mut Settings) -> Result<()> {
        match &self.effect {
            Effect::Flag(apply, on) => apply(settings, *on),
            Effect::Proposal(apply, on) => apply(&mut settings.config, *on),
            Effect::Size(apply, size) => apply(settings, *size),
            Effect::Time(apply, time) => apply(settings, *time),
            Effect::Choice(apply) => apply(settings),
            Effect::Text(apply, text) => apply(settings, text)?,
            Effect::OptionalText(apply, text) => apply(settings, text.as_deref()),
            Effect::Passthrough { to, rest, value } => (to.apply)(settings, rest, value.as_deref()),
        }
        Ok(())
    }
}

impl fmt::Display for Assignment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.key)?;
        match &self.text {
            Some(text) => write!(f, "={text}"),
            None => Ok(()),
        }
    }
}

impl Effect {
    fn of_row(apply: &Apply, text: Option<&str>) -> Result<Effect, String> {
        let needed = || {
            text.filter(|text| !text.is_empty())
                .ok_or_else(|| format!("needs a value: {}", apply.placeholder()))
        };
        Ok(match *apply {
            Apply::Flag(apply) => Effect::Flag(apply, parse_flag(text)?),
            Apply::Proposal(apply) => Effect::Proposal(apply, parse_flag(text)?),
            Apply::Size(apply) => Effect::Size(apply, parse_size(needed()?)?),
            Apply::Time(apply) => Effect::Time(apply, parse_time(needed()?)?),
            Apply::Choice(choices) => {
                let text = needed()?;
                let (_, apply) = choices
                    .iter()
                    .find(|(name, _)| *name == text)
                    .ok_or_else(|| format!("takes {}, not `{text}`", apply.placeholder()))?;
                Effect::Choice(*apply)
            }
            Apply::Text(apply) => Effect::Text(apply, needed()?.to_string()),
            Apply::OptionalText(apply) => Effect::OptionalText(apply, text.map(str::to_string)),
        })
    }

    fn of_passthrough(group: &Group, key: &str, text: Option<&str>) -> Option<Effect> {
        let to = group.passthrough?;
        let rest = key
            .strip_prefix(to.prefix)
            .filter(|rest| !rest.is_empty())?;
        let value = text.map(str::to_string);
        Some(Effect::Passthrough {
            to,
            rest: rest.to_string(),
            value,
        })
    }
}

fn parse_flag(text: Option<&str>) -> Result<bool, String> {
    match text {
        None | Some("y" | "yes" | "true" | "on") => Ok(true),
        Some("n" | "no" | "false" | "off") => Ok(false),
        Some(text) => Err(format!("takes `y` or `n`, not `{text}`")),
    }
}

/// A number with an optional binary suffix.
fn parse_size(text: &str) -> Result<u64, String> {
    let (digits, shift) = match text.split_at_checked(text.len().saturating_sub(1)) {
        Some((digits, "k" | "K")) => (digits, 10),
        Some((digits, "m" | "M")) => (digits, 20),
        Some((digits, "g" | "G")) => (digits, 30),
        Some((digits, "t" | "T")) => (digits, 40),
        _ => (text, 0),
    };
    let digits = digits.replace('_', "");
    let (digits, radix) = match digits.strip_prefix("0x") {
        Some(digits) => (digits, 16),
        None => (digits.as_str(), 10),
    };
    // A sign, which `from_str_radix` takes, is no part of a size.
    let number = if digits.starts_with('+') {
        None
    } else {
        u64::from_str_radix(digits, radix).ok()
    };
    number
        .and_then(|number| number.checked_mul(1 << shift))
        .ok_or_else(|| format!("takes a number such as 4096, 0x1000 or 64K, not `{text}`"))
}

/// A time with an optional unit; seconds without.
pub fn parse_time(text: &str) -> Result<Duration, String> {
    let units = [
        ("ms", 1e-3),
        ("us", 1e-6),
        ("ns", 1e-9),
        ("s", 1.0),
        ("m", 60.0),
        ("h", 3600.0),
    ];
    let (number, unit) = units
        .iter()
        .find_map(|(unit, seconds)| Some((text.strip_suffix(unit)?, *seconds)))
        .unwrap_or((text, 1.0));
    // A sign or an exponent, which `f64` takes, is no part of a time.
    let plain = number
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'.');
    let seconds = number.parse::<f64>().ok().filter(|_| plain);
    seconds
        .and_then(|number| Duration::try_from_secs_f64(number * unit).ok())
        .ok_or_else(|| format!("takes a time such as 2s, 100ms or 1.5m, not `{text}`"))
}

fn unknown(group: &Group, key: &str) -> String {
    let nearest = group
        .rows
        .iter()
        .map(|row| (distance(row.key, key), row.key))
        .min()
        .filter(|(distance, _)| *distance <= key.len().div_ceil(3));
    match nearest {
        Some((_, nearest)) => format!("there is no key `{key}` (did you mean `{nearest}`?)"),
        None => format!("there is no key `{key}`"),
    }
}

/// The number of insertions, deletions and substitutions between two words.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let substituted = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, size) in [
            ("0", Some(0)),
            ("4096", Some(4096)),
            ("0x1000", Some(4096)),
            ("64K", Some(64 << 10)),
            ("2g", Some(2 << 30)),
            ("1_000", Some(1000)),
            ("16777216T", None),
            ("-1", None),
            ("+1", None),
            ("0x+1", None),
            ("K", None),
            ("1.5M", None),
            ("ä", None),
        ] {
            assert_eq!(parse_size(text).ok(), size, "{text:?}");
        }
    }

    #[test]
    fn times() {
        let ms = |n| Some(Duration::from_millis(n));
        for (text, time) in [
            ("2", ms(2000)),
            ("2s", ms(2000)),
            ("100ms", ms(100)),
            ("1.5m", ms(90_000)),
            ("1h", ms(3_600_000)),
            ("0", ms(0)),
            ("500us", Some(Duration::from_micros(500))),
            ("-1", None),
            ("+1s", None),
            ("1e3", None),
            ("inf", None),
            ("s", None),
            ("2 s", None),
            ("2d", None),
            ("99999999999999999999999h", None),
        ] {
            assert_eq!(parse_time(text).ok(), time, "{text:?}");
        }
    }

    #[test]
    fn distances() {
        assert_eq!(distance("simd", "simd"), 0);
        assert_eq!(distance("simd", "smid"), 2);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
