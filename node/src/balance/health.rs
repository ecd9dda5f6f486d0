//! Whether a node, or a version on it, answers: failures put it aside, single calls try whether it is back.

use std::time::Duration;

/// After the first failure; doubled with each further one.
const ASIDE_MIN: Duration = Duration::from_millis(200);
/// At most: a node that is back is found again within this.
const ASIDE_MAX: Duration = Duration::from_secs(5);
/// After this a call that cannot be moved may be the probe too: others do not come.
const OVERDUE: Duration = Duration::from_secs(5);
/// A probe that came to nothing for so long is forgotten.
const PROBE_MAX: Duration = Duration::from_secs(5);

/// What was seen of a node, or of one version there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Health {
    /// Its last call was answered, or none was made yet.
    #[default]
    Up,
    /// Its last calls failed: no calls before `until`, then one.
    Aside {
        /// In a row.
        failures: u32,
        /// From the clock of the caller.
        until: Duration,
    },
    /// That one call is on its way.
    Probing {
        /// In a row, before the probe.
        failures: u32,
        /// When it was sent.
        since: Duration,
    },
}

impl Health {
    /// Whether it takes calls like any other.
    #[must_use]
    pub const fn is_up(self) -> bool {
        matches!(self, Self::Up)
    }

    /// Whether one call may try it now.
    #[must_use]
    pub fn may_probe(self, now: Duration) -> bool {
        match self {
            Self::Up => false,
            Self::Aside { until, .. } => until <= now,
            Self::Probing { since, .. } => since.saturating_add(PROBE_MAX) <= now,
        }
    }

    /// Whether no call that may be moved came to try it for long.
    #[must_use]
    pub fn is_overdue(self, now: Duration) -> bool {
        !self.is_up() && self.until().saturating_add(OVERDUE) <= now
    }

    /// When it may be tried.
    #[must_use]
    pub const fn until(self) -> Duration {
        match self {
            Self::Up => Duration::ZERO,
            Self::Aside { until, .. } => until,
            Self::Probing { since, .. } => since.saturating_add(PROBE_MAX),
        }
    }

    /// Of something that needs both: the one that keeps it aside for longer.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Up, _) => other,
            (_, Self::Up) => self,
            _ if other.until() > self.until() => other,
            _ => self,
        }
    }

    pub(super) const fn probing(self, now: Duration) -> Self {
        match self {
            Self::Up => Self::Up,
            Self::Aside { failures, .. } | Self::Probing { failures, .. } => {
                Self::Probing { failures, since: now }
            }
        }
    }

    pub(super) fn failed(self, now: Duration) -> Self {
        let before = match self {
            Self::Up => 0,
            // Calls that were on their way when the first one failed tell nothing new.
            Self::Aside { until, .. } if now < until => return self,
            Self::Aside { failures, .. } | Self::Probing { failures, .. } => failures,
        };
        let aside = ASIDE_MIN.saturating_mul(1 << before.min(10)).min(ASIDE_MAX);
        Self::Aside { failures: before.saturating_add(1), until: now.saturating_add(aside) }
    }
}
