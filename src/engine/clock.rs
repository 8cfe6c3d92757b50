//! The `Clock` seam: the only place of the engine where time comes from. Wall time is for people; what must be right uses
//! the monotonic one.

use std::time::{Duration, Instant, SystemTime};

/// Tells the time.
pub trait Clock: Send + Sync {
    /// Milliseconds since 1970 (UTC).
    fn wall_ms(&self) -> i64;

    /// Since some fixed moment; never goes back.
    fn monotonic(&self) -> Duration;
}

/// This machine's clock.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    /// Starts counting now.
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the seam that time comes through"
    )]
    pub fn new() -> Self {
        Self {
            start: Instant::now(),
        }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the seam that time comes through"
    )]
    fn wall_ms(&self) -> i64 {
        let since = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }
}

/// A clock that stands still, for tests whose output must be the same every time.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, Default)]
pub struct StillClock {
    /// What it always says.
    pub wall_ms: i64,
}

impl Clock for StillClock {
    fn wall_ms(&self) -> i64 {
        self.wall_ms
    }

    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }
}
