//! A spinner for compiles that take long.

use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

/// How long work may take before somebody wants to know that it goes on.
const PATIENCE: Duration = Duration::from_secs(1);

/// Shows, from the second second on, that something is being done; gone when dropped.
pub struct Progress {
    running: Option<(Sender<()>, JoinHandle<()>)>,
}

impl Progress {
    /// Starts waiting, if the standard error is a terminal.
    pub fn start(message: String) -> Progress {
        if !std::io::stderr().is_terminal() {
            return Progress { running: None };
        }
        let (done, wait) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("progress".into())
            .spawn(move || {
                if wait.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
                    let bar = ProgressBar::new_spinner()
                        .with_elapsed(PATIENCE)
                        .with_message(message)
                        .with_style(
                            ProgressStyle::with_template("{spinner} {msg} ({elapsed})")
                                .unwrap_or_else(|_| ProgressStyle::default_spinner()),
                        );
                    bar.enable_steady_tick(Duration::from_millis(100));
                    // Ends when the sender is dropped.
                    let _ = wait.recv();
                    bar.finish_and_clear();
                }
            });
        // Work goes on without a spinner where no thread can be had.
        Progress {
            running: thread.ok().map(|thread| (done, thread)),
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some((done, thread)) = self.running.take() {
            drop(done);
            // A spinner that panicked must not take the result with it.
            let _ = thread.join();
        }
    }
}
