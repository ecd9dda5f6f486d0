//! How much a function may log: token buckets, pure.

use std::time::{Duration, Instant};

/// So many bytes in so long, and all of them at once if they are there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rule {
    pub(super) bytes: u64,
    pub(super) within: Duration,
}

/// What the writer and the disk are for.
pub(super) const RATE: Rule = Rule { bytes: 1 << 20, within: Duration::from_secs(1) };
/// Where others log too: a quarter of a node's ring, so that one function at its rate does not push out within a minute what
/// the others have there.
pub(super) const SHARE: Rule = Rule { bytes: 16 << 20, within: Duration::from_secs(3600) };

/// Fills with time, empties with lines.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bucket {
    rule: Rule,
    bytes: u64,
    filled: Instant,
}

impl Bucket {
    pub(super) const fn full(rule: Rule, now: Instant) -> Self {
        Self { rule, bytes: rule.bytes, filled: now }
    }

    /// Takes the bytes if they are there.
    pub(super) fn take(&mut self, bytes: u64, now: Instant) -> bool {
        self.fill(now);
        let enough = bytes <= self.bytes;
        if enough {
            self.bytes -= bytes;
        }
        enough
    }

    /// Whether nothing would be lost by forgetting it.
    pub(super) fn is_full(&mut self, now: Instant) -> bool {
        self.fill(now);
        self.bytes == self.rule.bytes
    }

    fn fill(&mut self, now: Instant) {
        let Rule { bytes, within } = self.rule;
        let elapsed = now.saturating_duration_since(self.filled).min(within);
        let (span, whole) = (within.as_micros(), u128::from(bytes));
        let new = elapsed.as_micros() * whole / span;
        // Time that did not make a whole byte yet is kept.
        let used = Duration::from_micros(u64::try_from((new * span).div_ceil(whole)).unwrap_or(u64::MAX));
        self.bytes = bytes.min(self.bytes.saturating_add(u64::try_from(new).unwrap_or(bytes)));
        self.filled = if elapsed == within { now } else { self.filled + used };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[test]
    fn a_megabyte_a_second_and_no_more() {
        let start = clock::now();
        let mut bucket = Bucket::full(RATE, start);
        let mut kept = 0;
        for millisecond in 0..10_000 {
            for _ in 0..4 {
                if bucket.take(1024, start + Duration::from_millis(millisecond)) {
                    kept += 1024;
                }
            }
        }
        // Ten seconds and the first burst; four times as much was offered.
        assert!((10 * RATE.bytes..=11 * RATE.bytes).contains(&kept), "{kept}");
    }

    #[test]
    fn a_bucket_fills_again() {
        let start = clock::now();
        let mut bucket = Bucket::full(RATE, start);
        assert!(bucket.take(RATE.bytes, start));
        assert!(!bucket.take(1, start));
        assert!(!bucket.is_full(start + Duration::from_millis(500)));
        assert!(bucket.is_full(start + Duration::from_secs(2)));
    }

    #[test]
    fn a_share_fills_within_its_hour() {
        let start = clock::now();
        let mut bucket = Bucket::full(SHARE, start);
        assert!(bucket.take(SHARE.bytes, start) && !bucket.take(1, start));
        let half = start + SHARE.within / 2;
        assert!(bucket.take(SHARE.bytes / 2, half) && !bucket.take(1 << 10, half));
        assert!(bucket.is_full(half + SHARE.within));
    }

    #[test]
    fn looks_that_come_often_lose_no_time() {
        let start = clock::now();
        let mut bucket = Bucket::full(SHARE, start);
        assert!(bucket.take(SHARE.bytes, start));
        for look in 0..36_000 {
            bucket.is_full(start + Duration::from_micros(333) * look);
        }
        let filled = 36_000 * 333 * SHARE.bytes / 3_600_000_000;
        assert!(
            bucket.bytes * 100 > filled * 95 && bucket.bytes <= filled,
            "{} of {filled} bytes",
            bucket.bytes
        );
    }
}
