//! How often processes tell each other what changes all the time. Decides only: no clock, no I/O.

use std::time::{Duration, Instant};

/// At once as long as little was told lately, so that one change is known everywhere within milliseconds; then evenly, so
/// that many together are cheap. The generic cell rate algorithm (ITU-T I.371).
#[derive(Debug, Clone)]
pub struct Pace {
    gap: Duration,
    burst: u32,
    /// When the next turn would come if turns were even.
    even: Option<Instant>,
}

impl Pace {
    /// One turn in each `gap`, of which `burst` may come at once.
    #[must_use]
    pub const fn new(gap: Duration, burst: u32) -> Self {
        Self { gap, burst, even: None }
    }

    /// Takes the next turn: how long it is to be waited for. What comes meanwhile is told with it.
    #[must_use]
    pub fn take(&mut self, now: Instant) -> Duration {
        let even = self.even.map_or(now, |even| even.max(now));
        self.even = even.checked_add(self.gap);
        let early = self.gap.saturating_mul(self.burst.saturating_sub(1));
        even.saturating_duration_since(now).saturating_sub(early)
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a moment to count from")]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_few_come_at_once_and_then_one_in_each_gap() {
        let (mut pace, mut now) = (Pace::new(20 * MS, 3), Instant::now());
        assert_eq!([(); 3].map(|()| pace.take(now)), [Duration::ZERO; 3]);
        for _ in 0..10 {
            let wait = pace.take(now);
            assert_eq!(wait, 20 * MS);
            now += wait;
        }
        now += 20 * MS;
        assert_eq!([pace.take(now), pace.take(now)], [Duration::ZERO, 20 * MS], "one was saved up");
        now += Duration::from_secs(60);
        assert_eq!([(); 3].map(|()| pace.take(now)), [Duration::ZERO; 3], "no more are than at first");
        assert_eq!(pace.take(now), 20 * MS);
    }
}
