//! What the command itself writes to the standard output and error.

use anyhow::{Context, Error, Result};
use std::fmt;
use std::io::{IsTerminal, Write};
use waxwing::WasmBacktrace;

/// Writes `text` to the standard output.
///
/// # Errors
///
/// Fails if it cannot be written, as when the reading end of a pipe is closed.
pub fn print(text: impl fmt::Display) -> Result<()> {
    let mut out = std::io::stdout().lock();
    write!(out, "{text}")
        .and_then(|()| out.flush())
        .context("failed to write the output")
}

/// Writes `error` with its causes to the standard error, then the backtrace of
/// wasm frames if it carries one.
pub fn error(error: &Error) {
    let backtrace = error.downcast_ref::<WasmBacktrace>().map(first_lines);
    let mut causes = Vec::<String>::new();
    for cause in error.chain() {
        // The backtrace is one of the contexts; wrappers often repeat what they wrap.
        let cause = first_lines(&cause);
        if Some(&cause) != backtrace.as_ref() && causes.last() != Some(&cause) {
            causes.push(cause);
        }
    }
    line(Style::ERROR, "error", &causes.join(": "));
    if let Some(backtrace) = backtrace {
        raw(&format!("{}\n", backtrace.trim_end()));
    }
}

/// The text of `value`, cut where it is longer than anyone reads: the backtrace
/// of a stack overflow has a line for each of perhaps a million calls.
fn first_lines(value: &impl fmt::Display) -> String {
    struct Lines(String, usize);

    impl fmt::Write for Lines {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            for piece in text.split_inclusive('\n') {
                self.1 = self
                    .1
                    .checked_sub(usize::from(piece.ends_with('\n')))
                    .ok_or(fmt::Error)?;
                self.0.push_str(piece);
            }
            Ok(())
        }
    }

    const LINES: usize = 100;
    let mut lines = Lines(String::new(), LINES);
    match fmt::write(&mut lines, format_args!("{value}")) {
        Ok(()) => lines.0,
        Err(fmt::Error) => format!("{}\n    …", lines.0.trim_end()),
    }
}

/// Writes `label: message` to the standard error, the label coloured on terminals.
pub fn line(style: Style, label: &str, message: &str) {
    let Style(on, off) = if colours() { style } else { Style("", "") };
    raw(&format!("{on}{label}:{off} {}\n", message.trim_end()));
}

/// The escape sequences around a label.
#[derive(Clone, Copy)]
pub struct Style(&'static str, &'static str);

impl Style {
    pub const ERROR: Style = Style("\x1b[1;31m", "\x1b[0m");
    pub const WARNING: Style = Style("\x1b[1;33m", "\x1b[0m");
}

/// Whether the standard error is a terminal that wants colours.
pub fn colours() -> bool {
    let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    std::io::stderr().is_terminal()
        && !set("NO_COLOR")
        && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

fn raw(text: &str) {
    // There is nowhere left to report that the standard error is closed.
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::first_lines;

    #[test]
    fn long_texts_are_cut() {
        assert_eq!(first_lines(&"one\ntwo\n"), "one\ntwo\n");
        let cut = first_lines(&"line\n".repeat(1_000));
        assert_eq!(cut.lines().count(), 101);
        assert!(cut.ends_with("line\n    …"));
    }
}
