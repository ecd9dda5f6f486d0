//! Time, read at the edge: how much is left, how much has passed.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

#[expect(clippy::disallowed_methods, reason = "a command of a person: this is its edge to the clock")]
fn now() -> Instant {
    Instant::now()
}

/// The time of day, Unix milliseconds.
#[expect(clippy::disallowed_methods, reason = "a command of a person: this is its edge to the clock")]
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// When something must be done.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline {
    at: Instant,
    total: Duration,
}

impl Deadline {
    /// From now on.
    pub(crate) fn after(total: Duration) -> Self {
        Self { at: now() + total, total }
    }

    /// How long it was from the beginning.
    pub(crate) fn total(&self) -> Duration {
        self.total
    }

    /// What is left of it.
    pub(crate) fn left(&self) -> Duration {
        self.at.saturating_duration_since(now())
    }

    /// Whether nothing is left.
    pub(crate) fn is_over(&self) -> bool {
        self.left().is_zero()
    }

    /// What is left of it, or the limit where that is less.
    pub(crate) fn at_most(&self, limit: Duration) -> Duration {
        self.left().min(limit)
    }

    /// A deadline no later than this one and than so long from now.
    pub(crate) fn sooner(&self, limit: Duration) -> Self {
        let left = self.at_most(limit);
        Self { at: now() + left, total: left }
    }

    /// Waits, but not beyond it.
    pub(crate) async fn pause(&self, duration: Duration) {
        tokio::time::sleep(self.at_most(duration)).await;
    }
}

/// Time since the beginning of something.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    /// Begins.
    pub(crate) fn start() -> Self {
        Self(now())
    }

    /// Since the beginning.
    pub(crate) fn elapsed(&self) -> Duration {
        now().saturating_duration_since(self.0)
    }
}
