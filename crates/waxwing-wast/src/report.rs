use std::fmt;

/// What happened when scripts ran: counts, and the place of every failure.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Scripts that were run.
    pub files: u64,
    /// Every directive of the scripts, assertions included. A script that does
    /// not parse counts as one failed directive.
    pub directives: Tally,
    /// The directives that are assertions (`assert_…`).
    pub assertions: Tally,
    /// The directives that failed, in the order in which they ran.
    pub failures: Vec<Failure>,
    /// The directives that were not run, with the reason as their message.
    pub skips: Vec<Failure>,
}

/// Numbers of directives by outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Directives that did what they had to.
    pub passed: u64,
    /// Directives that did not.
    pub failed: u64,
    /// Directives that this runner cannot run.
    pub skipped: u64,
}

/// A directive that failed or was skipped, and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The script's name, as given to [`WastContext::run_wast`](crate::WastContext::run_wast).
    pub file: String,
    /// The directive's line, counted from one.
    pub line: usize,
    /// The directive's column, counted from one.
    pub column: usize,
    /// What went wrong.
    pub message: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Failure {
            file,
            line,
            column,
            message,
        } = self;
        write!(f, "{file}:{line}:{column}: {message}")
    }
}

impl Tally {
    fn add(&mut self, other: Tally) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally {
            passed,
            failed,
            skipped,
        } = self;
        write!(f, "{passed} passed, {failed} failed, {skipped} skipped")
    }
}

/// How one directive ended.
pub(crate) enum Outcome {
    Passed,
    Failed(Failure),
    Skipped(Failure),
}

impl Report {
    /// Whether no directive failed.
    pub fn is_success(&self) -> bool {
        self.directives.failed == 0
    }

    /// Adds the counts and failures of `other` to this report.
    pub fn merge(&mut self, other: Report) {
        self.files += other.files;
        self.directives.add(other.directives);
        self.assertions.add(other.assertions);
        self.failures.extend(other.failures);
        self.skips.extend(other.skips);
    }

    pub(crate) fn record(&mut self, is_assertion: bool, outcome: Outcome) {
        let mut one = Tally::default();
        match outcome {
            Outcome::Passed => one.passed = 1,
            Outcome::Failed(failure) => {
                one.failed = 1;
                self.failures.push(failure);
            }
            Outcome::Skipped(skip) => {
                one.skipped = 1;
                self.skips.push(skip);
            }
        }
        self.directives.add(one);
        if is_assertion {
            self.assertions.add(one);
        }
    }
}
