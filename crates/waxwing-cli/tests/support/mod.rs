//! Runs the built command on files in a directory of the test's own.

#![allow(dead_code, reason = "each test binary uses a part of this")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

pub struct Sandbox(TempDir);

impl Sandbox {
    pub fn new() -> Sandbox {
        Sandbox(TempDir::new().expect("a temporary directory"))
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Writes a file, and gives back the path that a command run here finds it by.
    pub fn file(&self, name: &str, contents: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a file has a parent")).unwrap();
        std::fs::write(&path, contents).expect("the directory is writable");
        path
    }

    /// The command, to be run in this directory with arguments split at spaces.
    pub fn waxwing(&self, arguments: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_waxwing"));
        command
            .args(arguments.split_whitespace())
            .current_dir(self.path())
            .env_remove("WAXWING_LOG")
            .env_remove("RUST_BACKTRACE");
        command
    }

    pub fn run(&self, arguments: &str) -> Ran {
        Ran::from(
            self.waxwing(arguments)
                .output()
                .expect("the command starts"),
        )
    }
}

/// How a command ended.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Ran {
        Ran {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).expect("output is text"),
            stderr: String::from_utf8(output.stderr).expect("messages are text"),
        }
    }
}

impl Ran {
    /// It succeeded, silently on the standard error; its output.
    #[track_caller]
    pub fn success(self) -> String {
        assert_eq!(
            (self.code, self.stderr.as_str()),
            (Some(0), ""),
            "{self:#?}"
        );
        self.stdout
    }

    /// It failed with `code`, and the standard error has all of `texts` in it.
    #[track_caller]
    pub fn failure(self, code: i32, texts: &[&str]) -> String {
        assert_eq!(self.code, Some(code), "{self:#?}");
        for text in texts {
            assert!(self.stderr.contains(text), "no {text:?} in {self:#?}");
        }
        self.stdout
    }
}
