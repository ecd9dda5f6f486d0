//! How much a function may log: a token bucket, pure.

use std::time::{Duration, Instant};

/// Bytes a second of one function that are kept.
pub(super) const RATE_BYTES: u64 = 1 << 20;
/// Bytes that may come at once: one second's worth.
const BURST_BYTES: u64 = RATE_BYTES;

/// Fills with time, empties with lines.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bucket {
    bytes: u64,
    filled: Instant,
}

impl Bucket {
    pub(super) const fn full(now: Instant) -> Self {
        Self { bytes: BURST_BYTES, filled: now }
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
        self.bytes == BURST_BYTES
    }

    fn fill(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.filled).min(Duration::from_secs(1));
        let new = u64::try_from(elapsed.as_micros()).unwrap_or(0) * RATE_BYTES / 1_000_000;
        // Time that did not make a whole byte yet is kept.
        if new > 0 {
            self.bytes = BURST_BYTES.min(self.bytes + new);
            self.filled = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[test]
    fn a_megabyte_a_second_and_no_more() {
        let start = clock::now();
        let mut bucket = Bucket::full(start);
        let mut kept = 0;
        for millisecond in 0..10_000 {
            for _ in 0..4 {
                if bucket.take(1024, start + Duration::from_millis(millisecond)) {
                    kept += 1024;
                }
            }
        }
        // Ten seconds and the first burst; four times as much was offered.
        assert!((10 * RATE_BYTES..=11 * RATE_BYTES).contains(&kept), "{kept}");
    }

    #[test]
    fn a_bucket_fills_again() {
        let start = clock::now();
        let mut bucket = Bucket::full(start);
        assert!(bucket.take(BURST_BYTES, start));
        assert!(!bucket.take(1, start));
        assert!(!bucket.is_full(start + Duration::from_millis(500)));
        assert!(bucket.is_full(start + Duration::from_secs(2)));
    }
}
