//! Where things are unless a configuration says otherwise, by each system's conventions.

use std::path::PathBuf;

/// What a system has for caches and configurations.
struct Places {
    /// The environment variable that names the directory, and what follows.
    variable: &'static str,
    /// What else it is, below the user's own directory.
    otherwise: &'static str,
}

const CACHE: Places = if cfg!(windows) {
    Places {
        variable: "LOCALAPPDATA",
        otherwise: "AppData/Local",
    }
} else if cfg!(target_vendor = "apple") {
    Places {
        variable: "",
        otherwise: "Library/Caches",
    }
} else {
    Places {
        variable: "XDG_CACHE_HOME",
        otherwise: ".cache",
    }
};

const CONFIG: Places = if cfg!(windows) {
    Places {
        variable: "APPDATA",
        otherwise: "AppData/Roaming",
    }
} else if cfg!(target_vendor = "apple") {
    Places {
        variable: "",
        otherwise: "Library/Application Support",
    }
} else {
    Places {
        variable: "XDG_CONFIG_HOME",
        otherwise: ".config",
    }
};

impl Places {
    fn directory(&self) -> Option<PathBuf> {
        let variable = (!self.variable.is_empty()).then(|| std::env::var_os(self.variable));
        // What is not absolute is to be ignored.
        let named = variable.flatten().map(PathBuf::from);
        named
            .filter(|path| path.is_absolute())
            .or_else(|| Some(std::env::home_dir()?.join(self.otherwise)))
            .filter(|path| path.is_absolute())
    }
}

/// The directory of caches, such as `~/.cache/waxwing`; `None` if the user has no directory.
pub(crate) fn cache_directory() -> Option<PathBuf> {
    Some(CACHE.directory()?.join("waxwing"))
}

/// The file of the configuration, such as `~/.config/waxwing/config.toml`, which need not exist.
pub(crate) fn config_file() -> Option<PathBuf> {
    Some(CONFIG.directory()?.join("waxwing/config.toml"))
}
