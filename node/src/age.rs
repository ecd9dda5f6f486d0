//! How old things on disk are. The wall clock alone cannot tell: one jump of it would make everything a decade old, and
//! gone.

use std::time::{Duration, Instant};

use crate::clock::millis;

/// What a node that was down may have missed, at most: of that time only the wall clock tells.
const DOWN_MAX: Duration = Duration::from_secs(24 * 3600);

/// One moment, by the clock on the wall and by the one that ages are told by; both in Unix milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moment {
    pub(crate) wall_ms: u64,
    pub(crate) age_ms: u64,
}

impl Moment {
    /// When a ring is opened whose newest line was written at `newest_ms`.
    pub(crate) fn opened(newest_ms: Option<u64>, wall_ms: u64) -> Self {
        let latest = newest_ms.map_or(wall_ms, |newest| newest.saturating_add(millis(DOWN_MAX)));
        Self { wall_ms, age_ms: wall_ms.min(latest) }
    }
}

/// Goes on by as much as both clocks say has passed.
#[derive(Debug)]
pub(crate) struct AgeClock {
    last: Moment,
    at: Instant,
}

impl AgeClock {
    pub(crate) const fn new(opened: Moment, at: Instant) -> Self {
        Self { last: opened, at }
    }

    /// The moment that `wall_ms` and `at` tell of.
    pub(crate) fn moment(&mut self, wall_ms: u64, at: Instant) -> Moment {
        let passed = millis(at.saturating_duration_since(self.at));
        let passed = passed.min(wall_ms.saturating_sub(self.last.wall_ms));
        self.at = at;
        self.last = Moment { wall_ms, age_ms: self.last.age_ms.saturating_add(passed) };
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    const HOUR: u64 = 3_600_000;

    #[test]
    fn a_jump_of_the_wall_clock_ages_nothing() {
        let begun = clock::now();
        let mut age = AgeClock::new(Moment::opened(None, 1000 * HOUR), begun);
        let mut at = begun;
        for (wall_ms, age_ms) in [
            (1000 * HOUR + 1_000, 1000 * HOUR + 1_000),
            (99_000 * HOUR, 1000 * HOUR + 2_000),
            (99_000 * HOUR + 1_000, 1000 * HOUR + 3_000),
            (1, 1000 * HOUR + 3_000),
            (1000 * HOUR + 5_000, 1000 * HOUR + 4_000),
        ] {
            at += Duration::from_secs(1);
            assert_eq!(age.moment(wall_ms, at), Moment { wall_ms, age_ms });
        }
    }

    #[test]
    fn a_restart_counts_a_day_at_most() {
        let opened = |newest_ms, wall_ms| Moment::opened(newest_ms, wall_ms).age_ms;
        assert_eq!(opened(Some(100 * HOUR), 110 * HOUR), 110 * HOUR);
        assert_eq!(opened(Some(100 * HOUR), 90_000 * HOUR), 124 * HOUR, "down for long, or a wrong clock");
        assert_eq!(opened(Some(90_000 * HOUR), 100 * HOUR), 100 * HOUR, "written by a wrong clock");
        assert_eq!(opened(None, 100 * HOUR), 100 * HOUR);
    }
}
