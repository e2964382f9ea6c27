//! The option groups: `-C`, `-O`, `-W`, `-S` and `-D`.
//!
//! A group is one table. Each row has the key, its default, its description and
//! the function that applies it, whose argument's type says what values the key
//! takes. Parsing, `help`, `waxwing config` and the effect all come from the row.

mod codegen;
mod debug;
mod optimize;
mod parse;
mod wasi;
mod wasm;

pub use parse::{Assignments, parse_time};

use anyhow::{Context, Result};
use parse::GroupParser;
use std::fmt::Write;
use std::net::TcpListener;
use std::path::PathBuf;
use std::time::Duration;
use waxwing::{Config, Engine, OptLevel, PoolingAllocationConfig, StoreLimits, StoreLimitsBuilder};

/// A set of keys behind one letter.
pub struct Group {
    pub letter: char,
    /// What the keys are about.
    pub title: &'static str,
    pub rows: &'static [Row],
    /// Keys that are not listed but begin with a prefix.
    pub passthrough: Option<&'static Passthrough>,
}

/// A key of a group.
pub struct Row {
    pub key: &'static str,
    /// The value when the key is not given, as it would be given.
    pub default: &'static str,
    pub help: &'static str,
    pub apply: Apply,
}

/// What a key does, and with what values.
pub enum Apply {
    /// `y` or `n`; the key alone means `y`.
    Flag(fn(&mut Settings, bool)),
    /// A flag for a part of the language: as [`Apply::Flag`], and switched by
    /// `all-proposals` too.
    Proposal(fn(&mut Config, bool)),
    /// A number of bytes or things, also in hexadecimal and with the suffixes K, M, G and T.
    Size(fn(&mut Settings, u64)),
    /// A time, in seconds or with a unit.
    Time(fn(&mut Settings, Duration)),
    /// One of the names, each with its effect.
    Choice(&'static [Choice]),
    /// Any text.
    Text(fn(&mut Settings, &str) -> Result<()>),
    /// Any text, or nothing.
    OptionalText(fn(&mut Settings, Option<&str>)),
}

/// A name that a key takes, and what it does.
pub type Choice = (&'static str, fn(&mut Settings));

/// Keys that go to another library with the prefix taken off.
pub struct Passthrough {
    pub prefix: &'static str,
    /// What follows the prefix, for `help`.
    pub rest: &'static str,
    pub help: &'static str,
    pub apply: fn(&mut Settings, &str, Option<&str>),
}

/// All groups, in the order of their help.
pub const GROUPS: &[&Group] = &[
    &codegen::GROUP,
    &optimize::GROUP,
    &wasm::GROUP,
    &wasi::GROUP,
    &debug::GROUP,
];

/// The option groups as arguments of a command.
#[derive(clap::Args)]
pub struct GroupArgs {
    /// The target to compile for, as `-C target=TRIPLE`: `pulley64` is portable bytecode
    #[arg(long, value_name = "TRIPLE", help_heading = "Option groups")]
    target: Option<String>,

    /// Code generation; `-C help` lists the keys
    #[arg(short = 'C', long = "codegen", value_name = "KEY[=VAL[,…]]", help_heading = "Option groups",
          value_parser = GroupParser(&codegen::GROUP))]
    codegen: Vec<Assignments>,

    /// Optimization and memory tuning; `-O help` lists the keys
    #[arg(short = 'O', long = "optimize", value_name = "KEY[=VAL[,…]]", help_heading = "Option groups",
          value_parser = GroupParser(&optimize::GROUP))]
    optimize: Vec<Assignments>,

    /// The WebAssembly language and its limits; `-W help` lists the keys
    #[arg(short = 'W', long = "wasm", value_name = "KEY[=VAL[,…]]", help_heading = "Option groups",
          value_parser = GroupParser(&wasm::GROUP))]
    wasm: Vec<Assignments>,

    /// WASI; `-S help` lists the keys
    #[arg(short = 'S', long = "wasi", value_name = "KEY[=VAL[,…]]", help_heading = "Option groups",
          value_parser = GroupParser(&wasi::GROUP))]
    wasi: Vec<Assignments>,

    /// Debugging; `-D help` lists the keys
    #[arg(short = 'D', long = "debug", value_name = "KEY[=VAL[,…]]", help_heading = "Option groups",
          value_parser = GroupParser(&debug::GROUP))]
    debug: Vec<Assignments>,
}

impl GroupArgs {
    /// The settings that the options ask for, with logging started if they do.
    ///
    /// # Errors
    ///
    /// Fails if a value is refused; the error names the option.
    pub fn settings(&self) -> Result<Settings> {
        let mut settings = Settings::new();
        if let Some(triple) = &self.target {
            codegen::set_target(&mut settings, triple)
                .with_context(|| format!("`--target {triple}`"))?;
        }
        for (group, given) in self.given() {
            for assignment in Assignments::in_table_order(given) {
                assignment
                    .apply(&mut settings)
                    .with_context(|| format!("`-{} {assignment}`", group.letter))?;
            }
        }
        crate::logging::start(&settings.debug)?;
        Ok(settings)
    }

    /// Each group with what was given for it.
    pub fn given(&self) -> impl Iterator<Item = (&'static Group, &[Assignments])> {
        let given = [
            &self.codegen,
            &self.optimize,
            &self.wasm,
            &self.wasi,
            &self.debug,
        ];
        GROUPS.iter().copied().zip(given.map(Vec::as_slice))
    }
}

/// What the options change.
pub struct Settings {
    pub config: Config,
    /// `None` lets the size of the module decide.
    pub parallel_compilation: Option<bool>,
    /// The native stack that wasm may use, in bytes, if not the default.
    pub max_wasm_stack: Option<u64>,
    /// The fuel of a store, if code consumes any.
    pub fuel: Option<u64>,
    /// How long a program may run.
    pub timeout: Option<Duration>,
    pub cache: CacheSettings,
    pub limits: LimitSettings,
    pub pool: PoolSettings,
    pub wasi: WasiSettings,
    pub debug: DebugSettings,
}

/// Whether compiled modules are kept on disk.
#[derive(Default)]
pub struct CacheSettings {
    /// `None` if only a configuration may say so.
    pub enabled: Option<bool>,
    pub config: Option<PathBuf>,
}

impl CacheSettings {
    fn apply(&self, config: &mut Config) -> Result<()> {
        match (self.enabled, &self.config) {
            (Some(false), _) | (None, None) => {}
            (_, Some(path)) => {
                config
                    .cache_config_load(path)
                    .context("`-C cache-config`")?;
            }
            (Some(true), None) => {
                config.cache_config_load_default().context("`-C cache`")?;
            }
        }
        Ok(())
    }
}

/// Limits on what a store holds.
#[derive(Default)]
pub struct LimitSettings {
    pub memory_size: Option<u64>,
    pub table_elements: Option<u64>,
    pub instances: Option<u64>,
    pub memories: Option<u64>,
    pub tables: Option<u64>,
    pub trap_on_grow_failure: bool,
}

/// Whether instances come from a pool, and what it is like.
#[derive(Default)]
pub struct PoolSettings {
    /// `None` lets the presence of other options decide.
    pub enabled: Option<bool>,
    pub config: Option<PoolingAllocationConfig>,
}

/// What WASI gives to the guest.
pub struct WasiSettings {
    pub preview1: bool,
    pub inherit_env: bool,
    pub inherit_stdin: bool,
    /// Sockets for the guest, in the order of their options.
    pub listeners: Vec<TcpListener>,
    pub random_seed: Option<u64>,
}

impl Default for WasiSettings {
    fn default() -> WasiSettings {
        WasiSettings {
            preview1: true,
            inherit_env: false,
            inherit_stdin: true,
            listeners: Vec::new(),
            random_seed: None,
        }
    }
}

/// Help with finding errors.
#[derive(Default)]
pub struct DebugSettings {
    /// The filter of what is logged.
    pub logging: Option<String>,
    pub log_to_files: bool,
    /// Where to write a core dump when a program traps.
    pub coredump: Option<String>,
}

/// Binary modules smaller than this are compiled on the calling thread: a
/// thread pool costs more than it brings.
const SMALL_MODULE: usize = 16 << 10;

impl Settings {
    fn new() -> Settings {
        let mut config = Config::new();
        // Whoever runs a program wants it fast; `opt-level` says otherwise.
        config.cranelift_opt_level(OptLevel::Speed);
        Settings {
            config,
            parallel_compilation: None,
            max_wasm_stack: None,
            fuel: None,
            timeout: None,
            cache: CacheSettings::default(),
            limits: LimitSettings::default(),
            pool: PoolSettings::default(),
            wasi: WasiSettings::default(),
            debug: DebugSettings::default(),
        }
    }

    /// The options of the pool.
    pub fn pool(&mut self) -> &mut PoolingAllocationConfig {
        self.pool.config.get_or_insert_default()
    }

    /// An engine for modules of `size` bytes in all.
    ///
    /// # Errors
    ///
    /// Fails if the settings contradict each other or the host.
    pub fn engine(&mut self, size: usize) -> Result<Engine> {
        let parallel = self.parallel_compilation.unwrap_or(size >= SMALL_MODULE);
        self.config.parallel_compilation(parallel);
        if self.pool.enabled.unwrap_or(self.pool.config.is_some()) {
            let pool = self.pool.config.clone().unwrap_or_default();
            self.config.allocation_strategy(pool);
        }
        self.cache.apply(&mut self.config)?;
        Engine::new(&self.config).context("the options do not make a working engine")
    }

    /// The limits for a store.
    pub fn store_limits(&self) -> StoreLimits {
        let LimitSettings {
            memory_size,
            table_elements,
            instances,
            memories,
            tables,
            trap_on_grow_failure,
        } = self.limits;
        // Larger than the address space is as good as no limit.
        let size = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
        let mut builder = StoreLimitsBuilder::new().trap_on_grow_failure(trap_on_grow_failure);
        if let Some(n) = memory_size {
            builder = builder.memory_size(size(n));
        }
        if let Some(n) = table_elements {
            builder = builder.table_elements(size(n));
        }
        if let Some(n) = instances {
            builder = builder.instances(size(n));
        }
        if let Some(n) = memories {
            builder = builder.memories(size(n));
        }
        if let Some(n) = tables {
            builder = builder.tables(size(n));
        }
        builder.build()
    }
}

impl Group {
    /// The table of keys, for `-X help`.
    pub fn help(&self) -> String {
        let letter = self.letter;
        let mut text = format!(
            "{} options: -{letter} KEY[=VALUE][,KEY[=VALUE]…], repeatable; later ones win.\n\n",
            self.title
        );
        for row in self.rows {
            let _ = writeln!(
                text,
                "  -{letter} {}{}  (default: {})\n      {}",
                row.key,
                row.apply.placeholder(),
                row.default,
                row.help
            );
        }
        if let Some(Passthrough {
            prefix, rest, help, ..
        }) = self.passthrough
        {
            let _ = writeln!(text, "  -{letter} {prefix}{rest}\n      {help}");
        }
        text
    }
}

impl Apply {
    /// What may follow the key.
    fn placeholder(&self) -> String {
        match self {
            Apply::Flag(_) | Apply::Proposal(_) => "[=y|n]".into(),
            Apply::Size(_) => "=N[K|M|G|T]".into(),
            Apply::Time(_) => "=N[ms|s|m|h]".into(),
            Apply::Choice(choices) => {
                let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
                format!("={}", names.join("|"))
            }
            Apply::Text(_) => "=VALUE".into(),
            Apply::OptionalText(_) => "[=VALUE]".into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_unique_and_described() {
        for group in GROUPS {
            let mut seen = std::collections::HashSet::new();
            for row in group.rows {
                assert!(seen.insert(row.key), "-{} {} twice", group.letter, row.key);
                assert!(
                    !row.help.is_empty() && !row.default.is_empty(),
                    "{}",
                    row.key
                );
                assert!(
                    row.key
                        .chars()
                        .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'),
                    "{}",
                    row.key
                );
            }
        }
    }

    /// What the tables call the default must be accepted as a value, and leave
    /// an engine that works.
    #[test]
    fn defaults_can_be_given() {
        let mut settings = Settings::new();
        for group in GROUPS {
            // "none" and "unlimited" stand for the key not being given.
            for row in group
                .rows
                .iter()
                .filter(|row| !["none", "unlimited"].contains(&row.default))
            {
                let text = format!("{}={}", row.key, row.default);
                let given = Assignments::parse(group, &text).expect("a default is a value");
                for assignment in Assignments::in_table_order(&[given]) {
                    assignment.apply(&mut settings).expect("a default is valid");
                }
            }
        }
        settings.engine(0).expect("the defaults make an engine");
    }
}
