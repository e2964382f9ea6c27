//! What time it is for a guest.

use crate::sys;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A clock that shows the date and time; it may be set backwards.
pub trait HostWallClock: Send {
    /// The smallest step that the clock makes.
    fn resolution(&self) -> Duration;

    /// The time since 1970-01-01T00:00:00Z.
    fn now(&self) -> Duration;
}

/// A clock that only moves forwards.
pub trait HostMonotonicClock: Send {
    /// The smallest step that the clock makes, in nanoseconds.
    fn resolution(&self) -> u64;

    /// Nanoseconds since a moment that the clock chooses and never changes.
    fn now(&self) -> u64;
}

/// The date and time of the host.
pub(crate) struct SystemWallClock;

impl HostWallClock for SystemWallClock {
    fn resolution(&self) -> Duration {
        sys::wall_clock_resolution()
    }

    fn now(&self) -> Duration {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
    }
}

/// Time since the context was built, so that a guest does not learn how long
/// the host has been running.
pub(crate) struct SystemMonotonicClock {
    start: Instant,
}

impl SystemMonotonicClock {
    pub(crate) fn new() -> Self {
        Self {
            start: Instant::now(),
        }
    }
}

impl HostMonotonicClock for SystemMonotonicClock {
    fn resolution(&self) -> u64 {
        nanoseconds(sys::monotonic_clock_resolution())
    }

    fn now(&self) -> u64 {
        nanoseconds(self.start.elapsed())
    }
}

/// A duration as WASI's `timestamp`, stopping at its largest value (the year 2554).
pub(crate) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
