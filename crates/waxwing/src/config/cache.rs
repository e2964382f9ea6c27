//! Options of the caches of compiled code.

use super::Config;

#[cfg(feature = "cache")]
use {
    crate::{Cache, CacheConfig, Result},
    std::path::Path,
};

#[cfg(all(feature = "incremental-cache", feature = "cranelift"))]
use {crate::CacheStore, std::sync::Arc};

#[cfg(feature = "cache")]
impl Config {
    /// Keeps compiled modules on disk, as the file at `path` says: see [`CacheConfig`] for what is in it.
    ///
    /// [`Module::new`](crate::Module::new) and whatever else compiles a module to run it, all that end in
    /// [`CodeBuilder::compile_module`](crate::CodeBuilder::compile_module), then look first whether the same bytes were compiled before, by
    /// this program, with the same settings. The cache is trusted: who can write to its directory can have the program run anything.
    ///
    /// Default: nothing is kept.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be read or is not a configuration.
    pub fn cache_config_load(&mut self, path: impl AsRef<Path>) -> Result<&mut Self> {
        self.load_cache(Some(path.as_ref()))
    }

    /// As [`Config::cache_config_load`] for the user's own file, such as `~/.config/waxwing/config.toml`. If it does
    /// not exist, compiled modules are kept in the user's directory for caches, such as `~/.cache/waxwing`, within the default
    /// limits.
    ///
    /// # Errors
    ///
    /// Fails if there is a file and it cannot be read or is not a configuration, or if the user has no directory.
    pub fn cache_config_load_default(&mut self) -> Result<&mut Self> {
        self.load_cache(None)
    }

    fn load_cache(&mut self, path: Option<&Path>) -> Result<&mut Self> {
        let config = CacheConfig::from_file(path)?;
        self.cache = config
            .is_enabled()
            .then(|| Cache::new(config))
            .transpose()?;
        Ok(self)
    }

    /// Keeps nothing, whatever was said before by [`Config::cache_config_load`] and the like.
    pub fn disable_cache(&mut self) -> &mut Self {
        self.cache = None;
        self
    }

    /// Keeps compiled modules in `cache`, or nothing if it is `None`; see [`Config::cache_config_load`].
    ///
    /// Engines can share a cache. [`Cache::cache_hits`] tells whether it is of use.
    ///
    /// Default: `None`.
    pub fn cache(&mut self, cache: Option<Cache>) -> &mut Self {
        self.cache = cache;
        self
    }
}

#[cfg(all(feature = "incremental-cache", feature = "cranelift"))]
impl Config {
    /// Keeps compiled functions in `cache_store`, and takes those from there that were compiled before: in the same form, for the same
    /// target and with the same settings, whatever else is in their module. Compiling a module again of which little has changed is
    /// faster then. What it is compiled to does not change by it.
    ///
    /// The store is trusted: what is in it becomes machine code.
    ///
    /// Default: nothing is kept.
    ///
    /// # Errors
    ///
    /// Does not fail at present.
    pub fn enable_incremental_compilation(
        &mut self,
        cache_store: Arc<dyn CacheStore>,
    ) -> Result<&mut Self, crate::Error> {
        self.compiler.cache_store = Some(cache_store);
        Ok(self)
    }
}
