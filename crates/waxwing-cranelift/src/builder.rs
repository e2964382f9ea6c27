//! The configuration of a compiler.

use crate::compiler::CraneliftCompiler;
use crate::flags;
use anyhow::{Context, Result, anyhow, bail};
use cranelift_codegen::isa::{self, OwnedTargetIsa};
use cranelift_codegen::settings::{self, Configurable, SetError, SettingKind};
use target_lexicon::{Architecture, PointerWidth, Triple};
use waxwing_environ::compile::Compiler;
use waxwing_environ::{Tunables, is_bytecode};

/// Which part of Cranelift a setting belongs to.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum SettingGroup {
    /// Every target.
    Shared,
    /// The target of the builder.
    Target,
}

/// A setting of the code generator.
#[derive(Copy, Clone, Debug)]
pub struct Setting {
    /// Which part of Cranelift it belongs to.
    pub group: SettingGroup,
    /// The name.
    pub name: &'static str,
    /// What it does.
    pub description: &'static str,
    /// Whether it is a named group of settings that can be enabled, not a setting itself.
    pub is_preset: bool,
    /// The values it can have, when they are named.
    pub values: Option<&'static [&'static str]>,
}

/// Configures a compiler for one target.
pub struct CompilerBuilder {
    shared: settings::Builder,
    isa: isa::Builder,
    tunables: Tunables,
    emit_clif: bool,
    #[cfg(feature = "incremental-cache")]
    cache: Option<std::sync::Arc<dyn waxwing_environ::compile::CacheStore>>,
}

impl CompilerBuilder {
    /// A compiler for `triple`, or for the host with all features of its processor when `None`.
    ///
    /// An explicit triple, be it the host's, starts from the target's baseline.
    ///
    /// # Errors
    ///
    /// Fails when the target is unknown or not part of this build.
    pub fn new(triple: Option<Triple>) -> Result<Self> {
        let isa = match triple {
            Some(triple) => {
                isa::lookup(triple.clone()).with_context(|| unsupported_target(&triple))?
            }
            None => cranelift_native::builder()
                .map_err(|reason| anyhow!(reason))
                .with_context(|| unsupported_target(&Triple::host()))?,
        };
        if isa.triple().pointer_width() != Ok(PointerWidth::U64) && !is_bytecode(isa.triple()) {
            bail!(
                "{}: pointers of its machine code are not 64 bits wide",
                unsupported_target(isa.triple())
            );
        }
        Ok(CompilerBuilder {
            shared: flags::shared_builder(),
            isa,
            tunables: Tunables::default(),
            emit_clif: false,
            #[cfg(feature = "incremental-cache")]
            cache: None,
        })
    }

    /// Whether there is a compiler for the host's processor.
    pub fn supports_host() -> bool {
        cranelift_native::builder().is_ok()
    }

    /// The target.
    pub fn triple(&self) -> &Triple {
        self.isa.triple()
    }

    /// Sets the setting `name` to `value`.
    ///
    /// # Errors
    ///
    /// Fails when no setting has this name or the value is none of its.
    pub fn set(&mut self, name: &str, value: &str) -> Result<&mut Self> {
        let result = match self.shared.set(name, value) {
            Err(SetError::BadName(_)) => self.isa.set(name, value),
            other => other,
        };
        result.map_err(|error| match error {
            SetError::BadName(_) => self.unknown_setting(name),
            SetError::BadType | SetError::BadValue(_) => {
                anyhow!("failed to set the Cranelift setting `{name}` to `{value}`: {error}")
            }
        })?;
        Ok(self)
    }

    /// Switches on the setting, or applies the preset, `name`.
    ///
    /// # Errors
    ///
    /// Fails when no setting has this name or it is not one to be switched on.
    pub fn enable(&mut self, name: &str) -> Result<&mut Self> {
        let result = match self.shared.enable(name) {
            Err(SetError::BadName(_)) => self.isa.enable(name),
            other => other,
        };
        result.map_err(|error| match error {
            SetError::BadName(_) => self.unknown_setting(name),
            SetError::BadType | SetError::BadValue(_) => anyhow!(
                "failed to enable the Cranelift setting `{name}`: it is not on or off, set its \
                 value instead"
            ),
        })?;
        Ok(self)
    }

    fn unknown_setting(&self, name: &str) -> anyhow::Error {
        anyhow!(
            "unknown Cranelift setting `{name}` for the target {}",
            self.triple()
        )
    }

    /// All settings, those of every target first.
    pub fn settings(&self) -> Vec<Setting> {
        let shared = self.shared.iter().map(|s| (SettingGroup::Shared, s));
        let target = self.isa.iter().map(|s| (SettingGroup::Target, s));
        let describe = |(group, setting): (_, settings::Setting)| Setting {
            group,
            name: setting.name,
            description: setting.description,
            is_preset: setting.kind == SettingKind::Preset,
            values: setting.values,
        };
        shared.chain(target).map(describe).collect()
    }

    /// The settings that code generation shares with the runtime.
    pub fn tunables(&mut self, tunables: Tunables) -> &mut Self {
        self.tunables = tunables;
        self
    }

    /// Whether compiled functions come with their intermediate representation as text.
    pub fn emit_clif(&mut self, emit: bool) -> &mut Self {
        self.emit_clif = emit;
        self
    }

    /// Where compiled functions are kept from one compilation to the next.
    #[cfg(feature = "incremental-cache")]
    pub fn incremental_cache(
        &mut self,
        store: std::sync::Arc<dyn waxwing_environ::compile::CacheStore>,
    ) -> &mut Self {
        self.cache = Some(store);
        self
    }

    /// The largest page of any host of the target, in bytes: for `Tunables::page_align`.
    ///
    /// # Errors
    ///
    /// Fails when settings contradict each other.
    pub fn page_align(&self) -> Result<u64> {
        Ok(1 << self.finish_isa()?.page_size_align_log2())
    }

    /// The compiler.
    ///
    /// # Errors
    ///
    /// Fails when settings contradict each other or break what the runtime relies on.
    pub fn build(&self) -> Result<Box<dyn Compiler>> {
        let isa = self.finish_isa()?;
        flags::check_required(&*isa, self.has_fuel_register())?;
        let compiler = CraneliftCompiler::new(isa, self.tunables.clone(), self.emit_clif);
        #[cfg(feature = "incremental-cache")]
        let compiler = compiler.with_cache(self.cache.clone());
        Ok(Box::new(compiler))
    }

    /// Whether code keeps fuel in the register that the target can set aside for such things.
    fn has_fuel_register(&self) -> bool {
        let can_pin = matches!(
            self.triple().architecture,
            Architecture::X86_64 | Architecture::Aarch64(_)
        );
        self.tunables.consume_fuel && can_pin
    }

    fn finish_isa(&self) -> Result<OwnedTargetIsa> {
        let mut shared = self.shared.clone();
        if self.has_fuel_register() {
            shared
                .enable("enable_pinned_reg")
                .context("failed to set a register aside for fuel")?;
        }
        self.isa
            .finish(settings::Flags::new(shared))
            .with_context(|| format!("failed to configure the target {}", self.triple()))
    }
}

fn unsupported_target(triple: &Triple) -> String {
    format!("cannot compile for the target {triple}")
}
